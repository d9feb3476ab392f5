//! How a partition keeps the directory in step with the tenants it has.
//!
//! A tenant without a placement (made at the partition itself, or before there was a directory) gets one. A placement
//! without its tenant is taken back, once nobody has set out to make that tenant for a while.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{KindOf, TenantPlacement};
use arktos_core::{ObjectKey, ObjectPath, Reason, Status, TenantName};
use arktos_store::client::DeleteOptions;
use arktos_store::{Client, Clock, Informer, Outcome, Query, Random, Stored};
use futures::future::BoxFuture;

use crate::kinds::TENANTS;
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::write::{found, unless_there, unreadable};

/// How long after somebody set out to make a tenant that is not there its placement is taken back. Far longer than any
/// request takes, and than clocks differ: a tenant that is made after all must find its name still placed here.
const GRACE: Duration = Duration::from_secs(600);

struct Keeper {
    partition: String,
    tenants: Arc<dyn Client>,
    directory: Arc<dyn Client>,
    placements: Informer<Stored>,
    clock: Arc<dyn Clock>,
}

/// The future that keeps a partition's placements. `tenants` acts on the partition itself. The owner runs it; one
/// process of a partition at a time is enough.
pub fn keeper(
    partition: &str,
    tenants: Arc<dyn Client>,
    directory: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> BoxFuture<'static, ()> {
    let queue = queue(&clock);
    let own = Query::everywhere(TenantPlacement::resource()).field("spec.partition", partition);
    let adds = queue.clone();
    let (placements, one) = Informer::<Stored>::builder(directory.clone(), own, clock.clone(), random.clone())
        .handler(move |event| {
            adds.add(event.path().clone());
        })
        .build();
    let adds = queue.clone();
    let all = Query::everywhere(TENANTS.resource.clone());
    let (there, other) = Informer::<Stored>::builder(tenants.clone(), all, clock.clone(), random)
        .handler(move |event| {
            if event.before().is_none() || event.after().is_none() {
                adds.add(event.path().clone());
            }
        })
        .build();
    let waits = vec![synced(&placements), synced(&there)];
    let keeper = Keeper { partition: partition.to_owned(), tenants, directory, placements, clock };
    let work = run(keeper, queue, 2, waits);
    Box::pin(async move {
        let _there = there; // its handler feeds the queue
        futures::future::join3(one, other, work).await;
    })
}

impl Reconcile for Keeper {
    type Key = ObjectPath;
    const NAME: &'static str = "tenant-placement";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        if path.name() == TenantName::SYSTEM {
            return Ok(Outcome::Done);
        }
        let placed = self.placements.store().get(path);
        let there = found(self.tenants.get(&TENANTS.key(path)).await)?.is_some();
        match (there, placed) {
            (true, None) => self.place(path.name()).await,
            (false, Some(stored)) => self.take_back(path.name(), &stored).await,
            (true, Some(_)) | (false, None) => Ok(Outcome::Done),
        }
    }
}

impl Keeper {
    async fn place(&self, tenant: &str) -> Result<Outcome, Status> {
        let first = TenantPlacement::first(tenant, &self.partition).to_object();
        let made = self.directory.create(&TenantPlacement::resource(), "", "", first).await;
        if unless_there(made)?.is_some() {
            return Ok(Outcome::Done);
        }
        let Some(stored) = found(self.directory.get(&key(tenant)).await)? else { return Ok(Outcome::Retry) };
        let placement: TenantPlacement = stored.object.parse().map_err(unreadable)?;
        if placement.spec.partition != self.partition {
            let (here, there) = (&self.partition, &placement.spec.partition);
            tracing::error!(
                tenant,
                here,
                there,
                "a tenant exists here that is placed elsewhere: no requests are sent to it"
            );
        }
        Ok(Outcome::Done)
    }

    async fn take_back(&self, tenant: &str, stored: &Stored) -> Result<Outcome, Status> {
        let placement: TenantPlacement = stored.object.parse().map_err(unreadable)?;
        let made = placement.metadata.creation_timestamp;
        let asked = made.into_iter().chain(placement.status.asked_time.map(|asked| asked.0)).max();
        let age = asked.map_or(Duration::ZERO, |asked| self.clock.now().since(asked));
        if age < GRACE {
            return Ok(Outcome::After(GRACE - age));
        }
        // Whoever asks for the tenant now changes the placement, and then it stays.
        let options = DeleteOptions::default().uid(stored.object.header().uid()).revision(stored.revision);
        match self.directory.delete(&key(tenant), options).await {
            Err(status) if status.is(Reason::Conflict) || status.is(Reason::NotFound) => Ok(Outcome::Done),
            outcome => outcome.map(|()| Outcome::Done),
        }
    }
}

fn key(tenant: &str) -> ObjectKey {
    ObjectKey::region_scoped(TenantPlacement::resource(), tenant)
}
