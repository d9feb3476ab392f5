//! The `resourcequota` controller: counts what a namespace uses of its quotas, and a tenant of its own.
//!
//! The API charges a quota in the commit that makes an object. What is given back, when objects go or pods end, is
//! found here: the quota is counted anew. The count is written over the quota as it was before counting, so it never
//! takes back what was charged meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::encoded::SHARED;
use arktos_core::quota::{Amounts, Quota, to_value};
use arktos_core::{GroupResource, ObjectPath, Quantity, Scope, Status, TenantName};
use arktos_store::informer::{Decode, Event};
use arktos_store::{Client, Clock, Informer, Outcome, Query, Stored, Within, WorkQueue};
use futures::future::BoxFuture;
use serde_json::json;

use crate::breath::Breath;
use crate::kinds::{EVENTS, PERSISTENT_VOLUME_CLAIMS, PODS, RESOURCE_QUOTAS, Resource, SERVICES, TENANT_QUOTAS};
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::setup::{Setup, namespace_key, namespace_of};
use crate::write::{found, tree};

/// How often a quota on kinds whose objects are not seen to go is counted: kinds that came after the start.
const PERIOD: Duration = Duration::from_secs(20);
/// How often a tenant is counted: what it has outside its namespaces is not seen to go.
const PERIOD_OF_TENANTS: Duration = Duration::from_secs(60);
/// How soon a tenant is counted after something of it has gone: what goes meanwhile is counted along.
const GATHER: Duration = Duration::from_secs(1);
/// The index of quotas by namespace.
const BY_NAMESPACE: &str = "namespace";

pub(crate) struct Quotas {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    /// Resources whose objects are seen to go. Quotas on others are counted every so often.
    seen: BTreeSet<GroupResource>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let quotas = setup.quotas();
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    let tenants = setup.informer(&TENANT_QUOTAS.resource);
    for informer in [&quotas, &tenants] {
        let adds = adds.clone();
        informer.handle(move |event| match event {
            // Charges change the quota all the time, and need no count.
            Event::Updated { old, new, .. } if limits(old) == limits(new) => {}
            Event::Added { path, .. } | Event::Updated { path, .. } => {
                adds.add(path.clone());
            }
            Event::Removed { .. } => {}
        });
    }
    let again = Again { quotas: quotas.clone(), tenants: tenants.clone(), queue: queue.clone() };
    let (pods, of_pods) = (setup.pods(), again.clone());
    pods.handle(move |event| match event {
        Event::Updated { path, old, new } if old.is_finished() != new.is_finished() || old.ends != new.ends => {
            of_pods.count(path);
        }
        Event::Removed { path, .. } => of_pods.count(path),
        _ => {}
    });
    again.clone().follow(&setup.services());
    again.clone().follow(&setup.informer(&PERSISTENT_VOLUME_CLAIMS.resource));
    let mut seen: BTreeSet<GroupResource> = [&PODS, &SERVICES, &PERSISTENT_VOLUME_CLAIMS, &RESOURCE_QUOTAS]
        .map(|resource| resource.resource.clone())
        .into();
    let kinds = setup.options.kinds.borrow().clone();
    for kind in kinds.iter().filter(|kind| kind.scope == Scope::Namespace && kind.resource != EVENTS.resource) {
        if seen.insert(kind.resource.clone()) {
            again.clone().follow_to_the_end(&setup.informer(&kind.resource));
        }
    }
    let informers = vec![synced(&quotas), synced(&tenants)];
    let quotas = Quotas { client: setup.client.clone(), clock: setup.clock.clone(), seen };
    run(quotas, queue, setup.options.workers, informers)
}

/// What a quota is to limit, and what it says that it limits: somebody else may have written that.
fn limits(quota: &Stored) -> Option<[Option<serde_json::Value>; 2]> {
    let quota = tree(quota).ok()?;
    Some([quota.at(&["spec"]).cloned(), quota.at(&["status", "hard"]).cloned()])
}

/// Brings the quotas of a namespace, and its tenant's, back to be counted.
#[derive(Clone)]
struct Again {
    quotas: Informer<Stored>,
    tenants: Informer<Stored>,
    queue: WorkQueue<ObjectPath>,
}

impl Again {
    fn count(&self, path: &ObjectPath) {
        for quota in self.quotas.store().by(BY_NAMESPACE, &namespace_key(path)) {
            self.queue.add(quota.path.clone());
        }
        let of_tenant = ObjectPath::new("", "", path.tenant());
        if self.tenants.store().get(&of_tenant).is_some() {
            self.queue.add_after(of_tenant, GATHER);
        }
    }

    /// Counts when an object is gone, or has changed: a service may need fewer ports, a claim less space.
    fn follow<T: Decode<Source = Stored>>(self, informer: &Informer<T>) {
        informer.handle(move |event| match event {
            Event::Updated { path, .. } | Event::Removed { path, .. } => self.count(path),
            Event::Added { .. } => {}
        });
    }

    /// Counts when an object is gone: of most kinds only the number is limited.
    fn follow_to_the_end<T: Decode<Source = Stored>>(self, informer: &Informer<T>) {
        informer.handle(move |event| {
            if let Event::Removed { path, .. } = event {
                self.count(path);
            }
        });
    }
}

/// The resources whose objects a quota counts.
fn counted(wanted: &Amounts) -> BTreeSet<GroupResource> {
    wanted.keys().filter_map(|name| arktos_core::quota::resource_of(name)).collect()
}

impl Reconcile for Quotas {
    type Key = ObjectPath;
    const NAME: &'static str = "resourcequota";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let (kind, within) = counts(path);
        let key = kind.key(path);
        // Read before the objects are: what is charged from now on makes the write below fail.
        let Some(stored) = found(self.client.get(&key).await)? else { return Ok(Outcome::Done) };
        let mut object = tree(&stored)?;
        let (wanted, used) = {
            let quota = Quota::of(&object);
            let wanted = quota.wanted();
            let resources = counted(&wanted);
            let known = |name: &&String| arktos_core::quota::resource_of(name).is_some();
            let mut used: Amounts =
                wanted.keys().filter(known).map(|name| (name.clone(), Quantity::from_value(0))).collect();
            for resource in &resources {
                self.add(&quota, resource, &within, &mut used).await?;
            }
            (wanted, used)
        };
        let again = match within {
            Within::Tenant(_) => Some(PERIOD_OF_TENANTS),
            _ => (!counted(&wanted).is_subset(&self.seen)).then_some(PERIOD),
        };
        let status = json!({"hard": to_value(&wanted), "used": to_value(&used)});
        if object.at(&["status"]) != Some(&status) {
            object.set(&["status"], status);
            self.client.update(&key, Some("status"), object).await?;
        }
        Ok(again.map_or(Outcome::Done, Outcome::After))
    }
}

/// The kind of a quota, and what it counts in: a namespace, or the whole tenant that it is called after.
fn counts(path: &ObjectPath) -> (&'static Resource, Within) {
    match TenantName::new(path.name()) {
        Ok(tenant) if path.tenant().is_empty() => (&TENANT_QUOTAS, Within::Tenant(tenant)),
        _ => (&RESOURCE_QUOTAS, namespace_of(path)),
    }
}

impl Quotas {
    /// Adds what the objects of a resource use.
    async fn add(
        &self,
        quota: &Quota<'_>,
        resource: &GroupResource,
        within: &Within,
        used: &mut Amounts,
    ) -> Result<(), Status> {
        let listed = match self.client.list(&Query::all(resource.clone(), within.clone())).await {
            // A kind that is not there has no objects.
            Err(status) if status.is(arktos_core::Reason::NotFound) => return Ok(()),
            listed => listed?,
        };
        let (now, mut breath) = (self.clock.now(), Breath::default());
        // What every tenant sees is no tenant's own.
        for stored in listed.items.iter().filter(|stored| stored.object.header().note(SHARED).is_none()) {
            breath.after(stored.object.tail_length()).await;
            for (name, amount) in quota.counts(resource, &tree(stored)?, now) {
                if let Some(sum) = used.get_mut(&name) {
                    *sum = sum.plus(&amount);
                }
            }
        }
        Ok(())
    }
}
