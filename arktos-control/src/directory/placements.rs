//! Which partition has a tenant, and the placing of new ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{KindOf, MicroTime, TenantPlacement};
use arktos_core::{ObjectKey, ObjectPath, Reason, Status, TenantName};
use arktos_store::informer::{Decode, DecodeError, Event, Origin};
use arktos_store::{Client, Clock, Informer, Query, Random, Stored};
use futures::future::{BoxFuture, Either, select};
use parking_lot::Mutex;

use crate::write::{found, unreadable};

/// How often somebody who was overtaken looks again.
const ATTEMPTS: usize = 5;
/// How long the directory may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where tenants live, followed. Cloning it shares it.
#[derive(Clone)]
pub struct Placements {
    placed: Informer<Placed>,
    counts: Arc<Mutex<Counts>>,
    directory: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
}

/// How many tenants each partition has. Written by the informer's handler.
type Counts = BTreeMap<Box<str>, usize>;

/// What is kept of a placement: there may be a million of them.
struct Placed {
    partition: Box<str>,
    origin: Origin,
}

impl Decode for Placed {
    type Source = Origin;

    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        let placement: TenantPlacement = stored.object.parse()?;
        Ok(Self { partition: placement.spec.partition.into(), origin: Origin::of(stored) })
    }

    fn source(&self) -> &Origin {
        &self.origin
    }
}

impl Placements {
    /// Follows the placements of a directory. The future keeps it current; the owner runs it.
    pub fn follow(
        directory: Arc<dyn Client>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> (Self, BoxFuture<'static, ()>) {
        let counts = Arc::new(Mutex::new(Counts::new()));
        let counted = counts.clone();
        let query = Query::everywhere(TenantPlacement::resource());
        let (placed, driver) = Informer::<Placed>::builder(directory.clone(), query, clock.clone(), random)
            .handler(move |event| count(&mut counted.lock(), event))
            .build();
        (Self { placed, counts, directory, clock }, driver)
    }

    /// The partition that has a tenant, as far as is known here.
    #[must_use]
    pub fn find(&self, tenant: &str) -> Option<String> {
        let placed = self.placed.store().get(&ObjectPath::new("", "", tenant));
        placed.map(|placed| placed.partition.to_string())
    }

    /// The partition that has a tenant, as the directory says now: for one that is not known here.
    ///
    /// # Errors
    /// 503 when the directory does not answer.
    pub async fn look_up(&self, tenant: &str) -> Result<Option<String>, Status> {
        if let Some(known) = self.find(tenant) {
            return Ok(Some(known));
        }
        Ok(self.read(tenant).await?.map(|(_, placement)| placement.spec.partition))
    }

    /// How many tenants a partition has.
    #[must_use]
    pub fn tenants_of(&self, partition: &str) -> usize {
        self.counts.lock().get(partition).copied().unwrap_or(0)
    }

    /// Places a tenant that is about to be made, in the partition that `choose` gives unless it is placed already.
    /// However many do so at a time, all are given the same partition.
    ///
    /// # Errors
    /// What `choose` fails with; 503 when the directory does not answer, or others are forever faster.
    pub async fn place(
        &self,
        tenant: &TenantName,
        choose: impl Fn() -> Result<String, Status> + Send,
    ) -> Result<String, Status> {
        let (key, resource) = (key(tenant.as_str()), TenantPlacement::resource());
        for _ in 0..ATTEMPTS {
            let Some((stored, placement)) = self.read(tenant.as_str()).await? else {
                let placement = TenantPlacement::first(tenant.as_str(), &choose()?).to_object();
                let made = self.directory.create(&resource, "", "", placement);
                match self.patient(made).await {
                    Ok(stored) => return Ok(placement_of(&stored)?.spec.partition),
                    Err(status) if status.is(Reason::AlreadyExists) => continue,
                    Err(status) => return Err(status),
                }
            };
            // Its partition takes back what nobody asks for: so it is told that somebody does.
            let mut asked = placement;
            asked.metadata.resource_version = stored.revision.to_string();
            asked.status.asked_time = Some(MicroTime(self.clock.now()));
            let written = self.directory.update(&key, Some("status"), asked.to_object());
            match self.patient(written).await {
                Ok(_) => return Ok(asked.spec.partition),
                Err(status) if status.is(Reason::Conflict) || status.is(Reason::NotFound) => {}
                Err(status) => return Err(status),
            }
        }
        Err(Status::failure(Reason::ServiceUnavailable, "others place the same tenant; try again").retry_after(1))
    }

    async fn read(&self, tenant: &str) -> Result<Option<(Stored, TenantPlacement)>, Status> {
        let key = key(tenant);
        let Some(stored) = found(self.patient(self.directory.get(&key)).await)? else { return Ok(None) };
        let placement = placement_of(&stored)?;
        Ok(Some((stored, placement)))
    }

    /// What the directory answers, or that it does not.
    async fn patient<T>(&self, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let silent = |why: &dyn std::fmt::Display| {
            let text = format!("the directory of tenants cannot be reached now: {why}");
            Status::failure(Reason::ServiceUnavailable, text).retry_after(1)
        };
        match select(std::pin::pin!(answer), self.clock.sleep(PATIENCE)).await {
            Either::Left((Err(status), _)) if status.code >= 500 => Err(silent(&status.message)),
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(silent(&"it does not answer")),
        }
    }
}

fn key(tenant: &str) -> ObjectKey {
    ObjectKey::region_scoped(TenantPlacement::resource(), tenant)
}

fn placement_of(stored: &Stored) -> Result<TenantPlacement, Status> {
    stored.object.parse().map_err(unreadable)
}

fn count(counts: &mut Counts, event: &Event<Placed>) {
    if let Some(before) = event.before()
        && let Some(count) = counts.get_mut(&*before.partition)
    {
        *count -= 1;
        if *count == 0 {
            counts.remove(&*before.partition);
        }
    }
    if let Some(after) = event.after() {
        *counts.entry(after.partition.clone()).or_default() += 1;
    }
}
