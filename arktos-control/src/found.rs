//! What a tenant's programs need to find the API: `default/kubernetes`, a Service with its slice and endpoints, as the
//! tenant `system` has it; and the config map in `kube-system` that components of Kubernetes look for.

use std::sync::Arc;

use arktos_core::{Object, ObjectPath, Status, TenantName};
use arktos_store::{Client, Clock, Informer, Stored, WorkQueue};

use crate::kinds::{CONFIG_MAPS, ENDPOINT_SLICES, ENDPOINTS, Resource, SERVICES};
use crate::service::ServiceView;
use crate::setup::Setup;
use crate::write::{tree, unless_there};

const NAME: &str = "kubernetes";
/// It says whose client certificates components may trust. It says nothing here: the users of all tenants have
/// certificates of one authority, and a component of one tenant must not take another's user for its own.
const AUTHENTICATION: &str = "extension-apiserver-authentication";
/// It says since when the use of tokens in Secrets is noted. The cleaner of such tokens does nothing until a year
/// after.
const TOKEN_TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";

/// What is copied of the service, the slice and the endpoints: what they were made with. All else of a service has its
/// usual value, which every copy is given as well. So nobody manages more of a copy than of what `system` has, and the
/// store keeps copies as the little that they differ in.
const COPIED: [&[&str]; 8] = [
    &["spec", "type"],
    &["spec", "clusterIP"],
    &["spec", "clusterIPs"],
    &["spec", "ports"],
    &["addressType"],
    &["endpoints"],
    &["ports"],
    &["subsets"],
];

/// Where the API is found, in all tenants.
pub(crate) struct Found {
    client: Arc<dyn Client>,
    services: Informer<ServiceView>,
    others: [(&'static Resource, Informer<Stored>); 2],
    maps: Informer<Stored>,
    clock: Arc<dyn Clock>,
}

impl Found {
    /// Tenants that lose any of it are queued.
    pub(crate) fn new(setup: &mut Setup, queue: &WorkQueue<ObjectPath>) -> Self {
        let services = setup.services();
        let adds = queue.clone();
        services.handle(move |event| {
            if event.after().is_none() && is_api(event.path()) {
                adds.add(ObjectPath::new("", "", event.path().tenant()));
            }
        });
        let kinds: [&'static Resource; 2] = [&ENDPOINT_SLICES, &ENDPOINTS];
        let others = kinds.map(|kind| (kind, setup.informer(&kind.resource)));
        let maps = setup.informer(&CONFIG_MAPS.resource);
        Self { client: setup.client.clone(), services, others, maps, clock: setup.clock.clone() }
    }

    /// Completes when all of it has been seen once.
    pub(crate) fn synced(
        &self,
    ) -> Vec<futures::future::BoxFuture<'static, Result<(), arktos_store::informer::Stopped>>> {
        let others = self.others.iter().map(|(_, informer)| informer).chain([&self.maps]);
        let mut all: Vec<_> = others.map(crate::reconcile::synced).collect();
        all.push(crate::reconcile::synced(&self.services));
        all
    }

    /// Makes what a tenant does not have of it.
    pub(crate) async fn equip(&self, tenant: &TenantName) -> Result<(), Status> {
        self.equip_components(tenant).await?;
        if tenant.is_system() {
            return Ok(());
        }
        let (of_all, own) = (path("system"), path(tenant.as_str()));
        if self.services.store().get(&own).is_none()
            && let Some(service) = self.services.store().get(&of_all)
        {
            self.copy(&SERVICES, &service.stored, tenant).await?;
        }
        for (kind, informer) in &self.others {
            if informer.store().get(&own).is_none()
                && let Some(found) = informer.store().get(&of_all)
            {
                self.copy(kind, &found, tenant).await?;
            }
        }
        Ok(())
    }

    /// Makes the config maps that components of Kubernetes look for.
    async fn equip_components(&self, tenant: &TenantName) -> Result<(), Status> {
        for name in [AUTHENTICATION, TOKEN_TRACKING] {
            if self.maps.store().get(&ObjectPath::new(tenant.as_str(), "kube-system", name)).is_some() {
                continue;
            }
            let mut map = Object::new(&CONFIG_MAPS.type_meta, name);
            if name == TOKEN_TRACKING {
                let today: String = self.clock.now().to_string().chars().take_while(|letter| *letter != 'T').collect();
                map.set(&["data", "since"], today);
            }
            unless_there(self.client.create(&CONFIG_MAPS.resource, tenant.as_str(), "kube-system", map).await)?;
        }
        Ok(())
    }

    async fn copy(&self, kind: &Resource, from: &Stored, tenant: &TenantName) -> Result<(), Status> {
        let there = tree(from)?;
        let mut object = Object::new(&kind.type_meta, NAME);
        for field in COPIED {
            if let Some(value) = there.at(field) {
                object.set(field, value.clone());
            }
        }
        if let Some(labels) = there.at(&["metadata", "labels"]) {
            object.set(&["metadata", "labels"], labels.clone());
        }
        unless_there(self.client.create(&kind.resource, tenant.as_str(), "default", object).await).map(drop)
    }
}

fn path(tenant: &str) -> ObjectPath {
    ObjectPath::new(tenant, "default", NAME)
}

fn is_api(path: &ObjectPath) -> bool {
    path.namespace() == "default" && path.name() == NAME
}
