//! The resource manager's side: answers reviews of claims against its store.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arktos_core::catalog::Catalog;
use arktos_core::typed::{ClaimRequest, ClaimResult, ClaimReview, ClaimReviewStatus, KindOf};
use arktos_core::{Object, Revision, Status};
use arktos_store::{Clock, CommitError, Engine, Random, Snapshot, Stored};
use futures::future::join_all;
use parking_lot::{Mutex, RwLock};

use super::ledger::{Allocatable, InvalidClaim, Ledger, accepted, refused};

/// How often a claim is tried while its host changes.
const ATTEMPTS: usize = 10;
/// The most claims, releases or questions in one review.
pub const REVIEW_MAX: usize = 1000;

/// Answers reviews of claims: each placement is accepted or refused by itself, in one commit.
///
/// Whoever registers it must have made sure that the caller may speak for the partition that the review names.
pub struct ClaimReviewHandler {
    engine: Engine,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// What each host can give, as of a revision of its node. Written by reviews; never more than there are hosts.
    hosts: Mutex<HashMap<Box<str>, Known>>,
    removed: RwLock<BTreeSet<String>>, // written by `remove`
}

/// What a host can give, as of a revision of its node.
type Known = (Revision, Arc<Allocatable>);

impl ClaimReviewHandler {
    /// A handler over a resource manager's store.
    ///
    /// # Errors
    /// [`InvalidClaim`] when the catalog has no claims.
    pub fn new(
        engine: Engine,
        catalog: &Catalog,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, InvalidClaim> {
        let ledger = Ledger::new(catalog)?;
        let hosts = Mutex::new(HashMap::new());
        Ok(Self { engine, ledger, clock, random, hosts, removed: RwLock::default() })
    }

    /// The same, with partitions that are part of the region no more ([`remove`](Self::remove)).
    #[must_use]
    pub fn without(self, removed: impl IntoIterator<Item = String>) -> Self {
        self.removed.write().extend(removed);
        self
    }

    /// From now on, a partition is part of the region no more, by its operator's word: it claims nothing, and what it
    /// held is anybody's ([`Asker`](super::Asker) gives it back). There is no way back.
    pub fn remove(&self, partition: &str) {
        self.removed.write().insert(partition.to_owned());
    }

    /// Whether a partition was removed from the region.
    #[must_use]
    pub fn is_removed(&self, partition: &str) -> bool {
        self.removed.read().contains(partition)
    }

    /// Answers a review. Asking the same again is harmless: a claim that is there already is accepted again, one that
    /// is gone already is released again. Not cancel safe in that a dropped review may have made some of its claims.
    ///
    /// # Errors
    /// A status when the object is not a review, is too large, or the store is closed.
    pub async fn review(&self, mut object: Object) -> Result<Object, Status> {
        let review = ClaimReview::from_object(&object)
            .map_err(|error| Status::bad_request(format!("this is not a review of claims: {error}")))?;
        let size = review.spec.claims.len() + review.spec.releases.len();
        if size > REVIEW_MAX {
            return Err(Status::bad_request(format!("{size} claims in one review: {REVIEW_MAX} at most")));
        }
        let snapshot = self.engine.latest().await.map_err(|error| Status::internal(error.to_string()))?;
        let spec = &review.spec;
        let releases = spec.releases.iter().map(|name| self.release(&snapshot, &spec.partition, name));
        let mut status = ClaimReviewStatus { releases: join_all(releases).await, ..ClaimReviewStatus::default() };
        status.results = self.claims(&snapshot, &spec.partition, &spec.claims).await;
        object.set(&["status"], serde_json::to_value(&status).map_err(Status::internal)?);
        Ok(object)
    }

    /// Ends a claim by the word of its partition, and gives back what it took.
    pub async fn release(&self, snapshot: &Snapshot, partition: &str, name: &str) -> ClaimResult {
        let done = || ClaimResult { name: name.to_owned(), accepted: true, ..ClaimResult::default() };
        let mut found = snapshot.get(&self.ledger.key(name));
        while let Some(stored) = found {
            let owner = stored.object.header().label(super::PARTITION_LABEL);
            if owner != Some(partition) {
                return refused(name, "Taken", format!("{name} is not a claim of {partition}"));
            }
            let commit = match self.ledger.close(&stored) {
                Ok(commit) => commit,
                Err(error) => return refused(name, "Invalid", error.to_string()),
            };
            match self.engine.commit(commit).await {
                Ok(_) => return done(),
                Err(CommitError::Conflict { found: newer, .. }) => found = newer,
                Err(error) => return refused(name, "Unavailable", error.to_string()),
            }
        }
        done()
    }

    /// Makes claims, or says why not: those on one host in the order in which they are asked for. What a host can give
    /// counts as it is in the moment of the claim; where that has changed meanwhile, all that meet it are made anew
    /// together.
    pub(super) async fn claims(
        &self,
        snapshot: &Snapshot,
        partition: &str,
        requests: &[ClaimRequest],
    ) -> Vec<ClaimResult> {
        if self.is_removed(partition) {
            let why = format!("{partition} was removed from the region");
            return requests.iter().map(|request| refused(&request.name, "Removed", why.clone())).collect();
        }
        let mut results: Vec<Option<ClaimResult>> = vec![None; requests.len()];
        let hosts = requests.iter().map(|request| snapshot.get(&self.ledger.host_key(&request.node)));
        let mut left: Vec<_> = hosts.enumerate().collect();
        for _ in 0..ATTEMPTS {
            let tries =
                left.drain(..).map(|(at, node)| async move { (at, self.open(partition, &requests[at], node).await) });
            for (at, tried) in join_all(tries).await {
                match tried {
                    Ok(result) => results[at] = Some(result),
                    Err(changed) => left.push((at, changed)),
                }
            }
            if left.is_empty() {
                break;
            }
        }
        let changes = |request: &ClaimRequest| {
            refused(&request.name, "Unavailable", format!("the host {} changes all the time", request.node))
        };
        let results = results.into_iter().zip(requests);
        results.map(|(result, request)| result.unwrap_or_else(|| changes(request))).collect()
    }

    /// Makes a claim on a host as it was, or says why not; or what has become of the host, where it has changed.
    async fn open(
        &self,
        partition: &str,
        request: &ClaimRequest,
        host: Option<Stored>,
    ) -> Result<ClaimResult, Option<Stored>> {
        let Some(host) = host else {
            return Ok(refused(&request.name, "HostGone", format!("there is no host {}", request.node)));
        };
        let opened = self.allocatable(&request.node, &host).and_then(|can| {
            let (uid, now) = (self.random.uid(), self.clock.now());
            self.ledger.open(partition, request, (&can, host.revision), uid, now)
        });
        let commit = match opened {
            Ok(commit) => commit,
            Err(error) => return Ok(refused(&request.name, "Invalid", error.to_string())),
        };
        match self.engine.commit(commit).await {
            Ok(_) => Ok(accepted(request)),
            Err(CommitError::Guarded { found, .. }) => Err(found),
            Err(error) if self.is_there(partition, request, &error).await => Ok(accepted(request)),
            Err(error) => Ok(self.ledger.refusal(request, &error)),
        }
    }

    /// Whether a claim was refused only because it was made before.
    async fn is_there(&self, partition: &str, request: &ClaimRequest, error: &CommitError) -> bool {
        let found = match error {
            CommitError::Conflict { found, .. } => found.clone(),
            CommitError::Limit { .. } => match self.engine.latest().await {
                Ok(snapshot) => snapshot.get(&self.ledger.key(&request.name)),
                Err(_) => None,
            },
            _ => None,
        };
        found.is_some_and(|found| self.ledger.is(&found, partition, request))
    }

    fn allocatable(&self, name: &str, node: &Stored) -> Result<Arc<Allocatable>, InvalidClaim> {
        if let Some((revision, known)) = self.hosts.lock().get(name)
            && *revision == node.revision
        {
            return Ok(known.clone());
        }
        let known = Arc::new(Allocatable::of(&node.object).map_err(|error| InvalidClaim::node(name, &error))?);
        self.hosts.lock().insert(name.into(), (node.revision, known.clone()));
        Ok(known)
    }
}
