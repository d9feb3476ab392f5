//! The `tenant` controller: a new tenant gets its namespaces and its admin's role; a deleted one takes everything it
//! has along.

use std::collections::BTreeSet;
use std::sync::Arc;

use arktos_core::typed::{KindOf, Namespace, Tenant};
use arktos_core::{GroupResource, Object, ObjectPath, Scope, Status, TenantName};
use arktos_store::{Client, Clock, Informer, Outcome, Query, Stored, Within};
use futures::future::BoxFuture;
use serde_json::json;

use crate::content::{Left, delete_all};
use crate::found::Found;
use crate::kinds::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Kinds, NAMESPACES, Resource, TENANT_QUOTAS, TENANTS};
use crate::network::NetworkTemplate;
use crate::reconcile::{Reconcile, resting_queue, run, synced};
use crate::setup::Setup;
use crate::write::{amend, delete, found, is_terminating, unless_there, unreadable};

/// The namespaces that every tenant has, in the order in which they are made.
const NAMESPACES_OF_ALL: [&str; 3] = ["default", "kube-system", "kube-public"];
/// How many namespaces of a tenant that is going are said to hold it up.
const TOLD: usize = 8;
const ADMIN_ROLE: &str = "admin-role";
/// The cluster role binding that gives a tenant to its user `admin`: the last thing that is made of what every tenant
/// begins with, so that a tenant that has it can be used.
pub const ADMIN_BINDING: &str = "admin-role-binding";
/// Finalizers in `spec.finalizers` that are this controller's.
const FINALIZERS: [&str; 2] = ["arktos", "kubernetes"];

pub(crate) struct Tenants {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    kinds: Kinds,
    tenants: Informer<Stored>,
    namespaces: Informer<Stored>,
    roles: Informer<Stored>,
    bindings: Informer<Stored>,
    api: Found,
    network: Option<NetworkTemplate>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let tenants = setup.informer(&TENANTS.resource);
    let namespaces = setup.informer(&NAMESPACES.resource);
    let roles = setup.informer(&CLUSTER_ROLES.resource);
    let bindings = setup.informer(&CLUSTER_ROLE_BINDINGS.resource);
    let queue = resting_queue(&setup.clock, setup.options.rest);
    let adds = queue.clone();
    tenants.handle(move |event| {
        adds.add(event.path().clone());
    });
    let adds = queue.clone();
    namespaces.handle(move |event| {
        // What a namespace that is going waits for is what its tenant waits for.
        if event.after().is_some_and(|namespace| namespace.object.header().deletion().is_some()) {
            adds.add(ObjectPath::new("", "", event.path().tenant()));
        }
    });
    for (informer, names) in [(&namespaces, &[][..]), (&roles, &[ADMIN_ROLE][..]), (&bindings, &[ADMIN_BINDING])] {
        let adds = queue.clone();
        informer.handle(move |event| {
            // What every tenant has is made anew; the last namespace lets a deleted tenant go.
            if event.after().is_none() && (names.is_empty() || names.contains(&event.path().name())) {
                adds.add(ObjectPath::new("", "", event.path().tenant()));
            }
        });
    }
    let api = Found::new(setup, &queue);
    let mut informers = api.synced();
    informers.extend([&tenants, &namespaces, &roles, &bindings].into_iter().map(synced));
    let (client, clock, kinds) = (setup.client.clone(), setup.clock.clone(), setup.options.kinds.clone());
    let network = setup.options.network.clone();
    let controller = Tenants { client, clock, kinds, tenants, namespaces, roles, bindings, api, network };
    run(controller, queue, setup.options.workers, informers)
}

impl Reconcile for Tenants {
    type Key = ObjectPath;
    const NAME: &'static str = "tenant";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(stored) = self.tenants.store().get(path) else { return Ok(Outcome::Done) };
        let Ok(tenant) = TenantName::new(path.name()) else { return Ok(Outcome::Done) };
        if stored.object.header().deletion().is_some() {
            return if tenant.is_system() { Ok(Outcome::Done) } else { self.remove(path, &tenant).await };
        }
        match self.equip(&tenant).await {
            Err(status) if is_terminating(&status) => return Ok(Outcome::Done),
            outcome => outcome?,
        }
        let phase = stored.object.parse::<Tenant>().map_err(unreadable)?.status.phase;
        if phase.is_empty() {
            self.note(path, stored.object.header().uid(), |status| status.phase = "Active".to_owned()).await?;
        }
        // Last: a tenant can be used before anybody has defined what a network is.
        if let Some(network) = &self.network {
            network.give(&*self.client, &self.kinds, &tenant).await?;
        }
        Ok(Outcome::Done)
    }
}

impl Tenants {
    /// Makes what every tenant has.
    async fn equip(&self, tenant: &TenantName) -> Result<(), Status> {
        for name in NAMESPACES_OF_ALL {
            let namespace = Object::new(&NAMESPACES.type_meta, name);
            self.make(tenant, &NAMESPACES, &self.namespaces, namespace).await?;
        }
        self.api.equip(tenant).await?;
        let mut role = Object::new(&CLUSTER_ROLES.type_meta, ADMIN_ROLE);
        let everything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        role.set(&["rules"], json!([everything, {"verbs": ["*"], "nonResourceURLs": ["*"]}]));
        self.make(tenant, &CLUSTER_ROLES, &self.roles, role).await?;
        let group = "rbac.authorization.k8s.io";
        let mut binding = Object::new(&CLUSTER_ROLE_BINDINGS.type_meta, ADMIN_BINDING);
        binding.set(&["subjects"], json!([{"kind": "User", "apiGroup": group, "name": "admin"}]));
        binding.set(&["roleRef"], json!({"apiGroup": group, "kind": "ClusterRole", "name": ADMIN_ROLE}));
        self.make(tenant, &CLUSTER_ROLE_BINDINGS, &self.bindings, binding).await
    }

    async fn make(
        &self,
        tenant: &TenantName,
        resource: &Resource,
        known: &Informer<Stored>,
        object: Object,
    ) -> Result<(), Status> {
        if known.store().get(&ObjectPath::new(tenant.as_str(), "", object.name())).is_some() {
            return Ok(());
        }
        unless_there(self.client.create(&resource.resource, tenant.as_str(), "", object).await).map(drop)
    }

    /// One step of a deletion: what can go at once, then namespaces, each of which empties itself, then all else.
    async fn remove(&self, path: &ObjectPath, tenant: &TenantName) -> Result<Outcome, Status> {
        let Some(stored) = found(self.client.get(&TENANTS.key(path)).await)? else { return Ok(Outcome::Done) };
        let uid = stored.object.header().uid().to_owned();
        let going = stored.object.parse::<Tenant>().map_err(unreadable)?;
        if stored.object.header().deletion().is_none() || !going.spec.finalizers.iter().any(|it| is_ours(it)) {
            return Ok(Outcome::Done);
        }
        let now = self.clock.now();
        let within = Within::Tenant(tenant.clone());
        let mut content = match self.client.clear(&within).await {
            Ok(()) => self.remove_namespaces(&within).await?,
            Err(status) => Left { failures: vec![status.to_string()], ..Left::default() },
        };
        let waits = !content.is_nothing();
        if !waits {
            content = delete_all(&*self.client, &within, &self.resources_of_a_tenant(), now).await;
        }
        let others = going.spec.finalizers.iter().any(|finalizer| !is_ours(finalizer));
        let held = others || stored.object.header().finalizers().len() > 0;
        if held || !content.is_nothing() {
            self.note(path, &uid, |status| {
                status.phase = "Terminating".to_owned();
                content.note("Tenant", &mut status.conditions, now);
            })
            .await?; // else it goes now, and nobody could read it
        }
        if content.is_nothing() {
            self.finalize(path, &uid).await?;
            return Ok(Outcome::Done);
        }
        // The last namespace to go wakes this up; everything else is looked at again.
        Ok(if waits && content.failures.is_empty() { Outcome::Done } else { Outcome::Retry })
    }

    /// Deletes the namespaces. Gives how many there are still, and what the first few wait for.
    async fn remove_namespaces(&self, within: &Within) -> Result<Left, Status> {
        let namespaces = self.client.list(&Query::all(NAMESPACES.resource.clone(), within.clone())).await?.items;
        let mut left = Left::default();
        for namespace in &namespaces {
            let header = namespace.object.header();
            if header.deletion().is_none() {
                let deleted = delete(&*self.client, &NAMESPACES.key(&namespace.path), header.uid(), None).await;
                if let Err(status) = deleted
                    && left.failures.len() < TOLD
                {
                    // by what the tenant has that judges deletions: it is said, and the others go
                    left.failures.push(format!("namespace {}: {status}", namespace.path.name()));
                }
            } else if left.reasons.len() < TOLD {
                left.reasons.extend(reason(namespace));
            }
        }
        if !namespaces.is_empty() {
            left.objects.insert(NAMESPACES.resource.clone(), namespaces.len());
        }
        Ok(left)
    }

    /// What a tenant has outside its namespaces. What is in namespaces is gone with them, and counted all the same.
    fn resources_of_a_tenant(&self) -> BTreeSet<GroupResource> {
        let kinds = self.kinds.borrow();
        kinds.iter().filter(|kind| kind.scope != Scope::Region).map(|kind| kind.resource.clone()).collect()
    }

    async fn note(
        &self,
        path: &ObjectPath,
        uid: &str,
        mut edit: impl FnMut(&mut arktos_core::typed::TenantStatus) + Send,
    ) -> Result<(), Status> {
        amend(&*self.client, &TENANTS.key(path), Some("status"), |object| {
            let Ok(mut tenant) = Tenant::from_object(object) else { return false };
            let before = tenant.status.clone();
            edit(&mut tenant.status);
            object.set(&["status"], serde_json::to_value(&tenant.status).unwrap_or_default());
            object.uid() == uid && tenant.status != before
        })
        .await
        .map(drop)
    }

    async fn finalize(&self, path: &ObjectPath, uid: &str) -> Result<(), Status> {
        // A tenant that is made anew under the name is given a quota of its own, or none.
        let quota = TENANT_QUOTAS.key(path);
        if let Some(found) = found(self.client.get(&quota).await)? {
            delete(&*self.client, &quota, found.object.header().uid(), None).await?;
        }
        let key = TENANTS.key(path);
        amend(&*self.client, &key, Some("finalize"), |object| {
            let others: Vec<String> = match Tenant::from_object(object) {
                Ok(tenant) => tenant.spec.finalizers.into_iter().filter(|it| !is_ours(it)).collect(),
                Err(_) => return false,
            };
            object.set(&["spec", "finalizers"], json!(others));
            object.uid() == uid
        })
        .await?;
        match found(self.client.get(&key).await)? {
            Some(held) if held.object.header().finalizers().len() == 0 => delete(&*self.client, &key, uid, None).await,
            _ => Ok(()),
        }
    }
}

/// What a namespace that is going says it waits for.
fn reason(namespace: &Stored) -> Option<String> {
    const SAY_WHY: [&str; 3] = ["DeletionContentFailure", "FinalizersRemaining", "ContentRemaining"];
    let conditions = namespace.object.parse::<Namespace>().ok()?.status.conditions;
    let why = SAY_WHY.iter().find_map(|kind| {
        let kind = format!("Namespace{kind}");
        conditions.iter().find(|condition| condition.kind == kind && condition.status == "True")
    })?;
    Some(format!("namespace {}: {}", namespace.path.name(), why.message))
}

fn is_ours(finalizer: &str) -> bool {
    FINALIZERS.contains(&finalizer)
}
