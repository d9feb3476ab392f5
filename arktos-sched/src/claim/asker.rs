//! The resource manager's side: asks partitions about claims that are old and not known to be bound.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{Claim, ClaimRequest, ClaimReview, ClaimSpec, KindOf};
use arktos_core::{Revision, Status};
use arktos_store::{Client, Clock, Engine, Stored, Within};
use futures::FutureExt;
use futures::future::join_all;

use super::post;
use super::review::ClaimReviewHandler;

/// How many claims are asked about at once.
const BATCH: usize = 500;

/// The partitions of the region, by name: how a resource manager reaches them. None for one that is not there (any
/// more), whose claims then stay.
pub type Partitions = Arc<dyn Fn(&str) -> Option<Arc<dyn Client>> + Send + Sync>;

/// Asks about claims, and ends those that their partition says have ended. Run by its owner.
pub struct Asker {
    name: String,
    engine: Engine,
    handler: Arc<ClaimReviewHandler>,
    partitions: Partitions,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    /// Claims that are known to be bound, by name and revision.
    bound: HashSet<(Box<str>, Revision)>,
}

impl Asker {
    /// An asker for the resource manager `name`. A claim older than `deadline` that is not known to be bound is asked
    /// about.
    #[must_use]
    pub fn new(
        name: &str,
        engine: Engine,
        handler: Arc<ClaimReviewHandler>,
        partitions: Partitions,
        clock: Arc<dyn Clock>,
        deadline: Duration,
    ) -> Self {
        Self { name: name.to_owned(), engine, handler, partitions, clock, deadline, bound: HashSet::new() }
    }

    /// Asks for ever. The owner drops it to end it.
    pub async fn run(mut self) {
        loop {
            self.clock.sleep(self.deadline / 2).await;
            if let Err(status) = self.round().await {
                tracing::warn!(%status, "claims could not be checked");
            }
        }
    }

    /// Asks once about every claim that is due, and ends those of partitions that were removed.
    ///
    /// # Errors
    /// When the store is closed. A partition that does not answer is not an error: its claims stay.
    pub async fn round(&mut self) -> Result<(), Status> {
        let snapshot = self.engine.latest().await.map_err(|error| Status::internal(error.to_string()))?;
        let (mut seen, mut due) = (HashSet::new(), BTreeMap::<String, Vec<(ClaimRequest, Revision)>>::new());
        for stored in snapshot.range(&Claim::resource(), &Within::Everywhere, None) {
            let key = (stored.path.name().into(), stored.revision);
            let owner = stored.object.header().label(super::PARTITION_LABEL).unwrap_or_default();
            if self.handler.is_removed(owner) {
                let released = self.handler.release(&snapshot, owner, stored.path.name()).await;
                tracing::info!(claim = stored.path.name(), owner, released = released.accepted, "a claim has no owner");
            } else if self.bound.contains(&key) {
                seen.insert(key);
            } else if let Some((partition, ask)) = self.due(&stored) {
                due.entry(partition).or_default().push((ask, stored.revision));
            }
        }
        self.bound = seen;
        // Side by side: one that does not answer holds up what the others say.
        let asked = due.iter().map(|(partition, asks)| self.ask_all(partition, asks).boxed());
        let bound = join_all(asked.collect::<Vec<_>>()).await;
        self.bound.extend(bound.into_iter().flatten());
        Ok(())
    }

    /// Asks a partition about its claims, until it does not answer. Gives back those that are bound.
    async fn ask_all(&self, partition: &str, asks: &[(ClaimRequest, Revision)]) -> Vec<(Box<str>, Revision)> {
        let mut bound = Vec::new();
        for batch in asks.chunks(BATCH) {
            match self.ask(partition, batch).await {
                Ok(found) => bound.extend(found),
                Err(status) => {
                    tracing::info!(partition, %status, "a partition does not answer: its claims stay");
                    break;
                }
            }
        }
        bound
    }

    async fn ask(
        &self,
        partition: &str,
        batch: &[(ClaimRequest, Revision)],
    ) -> Result<Vec<(Box<str>, Revision)>, Status> {
        let mut bound = Vec::new();
        let Some(client) = (self.partitions)(partition) else { return Ok(bound) };
        let mut review = ClaimReview::default();
        review.spec.partition = partition.to_owned();
        review.spec.resource_manager.clone_from(&self.name);
        review.spec.asks = batch.iter().map(|(ask, _)| ask.clone()).collect();
        let answers = post(&*client, &review).await?.answers;
        let snapshot = self.engine.latest().await.map_err(|error| Status::internal(error.to_string()))?;
        for answer in answers {
            let Some((ask, revision)) = batch.iter().find(|(ask, _)| ask.name == answer.name) else { continue };
            if answer.accepted {
                bound.push((ask.name.as_str().into(), *revision));
            } else if answer.reason == "Ended" {
                let released = self.handler.release(&snapshot, partition, &ask.name).await;
                tracing::info!(claim = ask.name, partition, released = released.accepted, "a claim has ended");
            }
        }
        Ok(bound)
    }

    fn due(&self, stored: &Stored) -> Option<(String, ClaimRequest)> {
        let claim: Claim = stored.object.parse().ok()?;
        let made = claim.metadata.creation_timestamp?;
        let old = self.clock.now().since(made) >= self.deadline;
        old.then(|| (claim.spec.partition.clone(), request_of(stored.path.name(), claim.spec)))
    }
}

/// The request that asked for a claim.
#[must_use]
pub fn request_of(name: &str, spec: ClaimSpec) -> ClaimRequest {
    ClaimRequest {
        name: name.to_owned(),
        tenant: spec.tenant,
        namespace: spec.namespace,
        pod: spec.pod,
        pod_uid: spec.pod_uid,
        node: spec.node,
        requests: spec.requests,
        ports: spec.ports,
        epoch: spec.epoch,
        ..ClaimRequest::default()
    }
}
