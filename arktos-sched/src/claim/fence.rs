//! The partition's side: what it answers when a resource manager asks whether a claim still holds.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{ClaimFence, ClaimRequest, ClaimReview, KindOf, Pod};
use arktos_core::{Object, ObjectKey, ObjectPath, Reason, Status};
use arktos_store::client::DeleteOptions;
use arktos_store::{Client, Clock, Query};

use super::ledger::{accepted, refused};
use super::{CLAIM_NOTE, REVIEW_MAX};

/// How old a fence must be before it is looked at for removal.
const FENCE_KEPT: Duration = Duration::from_secs(3600);

/// Ends claims of a partition for good, or confirms them.
///
/// The order is what makes it safe: the fence is durable first, and bindings are guarded by its absence, so that what
/// is read of the pod afterwards cannot change any more.
pub struct Fence {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
}

/// What a claim turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A pod is bound under it.
    Bound,
    /// It is over, and nothing can be bound under it any more.
    Ended,
}

impl Fence {
    /// A fence over the partition's API.
    #[must_use]
    pub fn new(client: Arc<dyn Client>, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock }
    }

    /// Answers a resource manager that asks about claims. A claim whose state cannot be told is left out.
    ///
    /// # Errors
    /// A status when the object is not a review, or is too large.
    pub async fn review(&self, object: Object) -> Result<Object, Status> {
        let mut review = ClaimReview::from_object(&object)
            .map_err(|error| Status::bad_request(format!("this is not a review of claims: {error}")))?;
        if review.spec.asks.len() > REVIEW_MAX {
            return Err(Status::bad_request(format!("{REVIEW_MAX} questions at most in one review")));
        }
        for ask in &review.spec.asks {
            let answer = match self.end(&review.spec.resource_manager, ask).await {
                Ok(Held::Bound) => accepted(ask),
                Ok(Held::Ended) => refused(&ask.name, "Ended", "nothing is or will be bound under it".to_owned()),
                Err(status) => {
                    tracing::warn!(claim = ask.name, %status, "cannot tell whether a claim still holds");
                    continue;
                }
            };
            review.status.answers.push(answer);
        }
        Ok(review.to_object())
    }

    /// Ends a claim, unless a pod is bound under it. What it answers stays so.
    ///
    /// # Errors
    /// When the partition cannot tell now. The claim then holds.
    pub async fn end(&self, resource_manager: &str, claim: &ClaimRequest) -> Result<Held, Status> {
        if let Some(held) = self.binding(resource_manager, claim).await? {
            return Ok(held);
        }
        let mut fence = ClaimFence::named(&claim.name);
        fence.spec.resource_manager = resource_manager.to_owned();
        fence.spec.claim = claim.name.clone();
        fence.spec.epoch = claim.epoch;
        fence.metadata.annotations.insert(POD_ANNOTATION.to_owned(), pod_path(claim).as_str().to_owned());
        fence.metadata.annotations.insert(POD_UID_ANNOTATION.to_owned(), claim.pod_uid.clone());
        match self.client.create(&ClaimFence::resource(), "", "", fence.to_object()).await {
            Ok(_) => {}
            Err(status) if status.is(Reason::AlreadyExists) => {}
            Err(status) => return Err(status),
        }
        Ok(self.binding(resource_manager, claim).await?.unwrap_or(Held::Ended))
    }

    /// What a pod's binding says of a claim; nothing when the pod is gone or not bound under it.
    async fn binding(&self, resource_manager: &str, claim: &ClaimRequest) -> Result<Option<Held>, Status> {
        let stored = match self.client.get(&pod_key(claim)).await {
            Ok(stored) => stored,
            Err(status) if status.is(Reason::NotFound) => return Ok(None),
            Err(status) => return Err(status),
        };
        let header = stored.object.header();
        let under = header.note(CLAIM_NOTE).and_then(|note| note.split_once('/'));
        if *header.uid() != *claim.pod_uid || under != Some((resource_manager, &claim.name)) {
            return Ok(None);
        }
        let pod: Pod = stored.object.parse().map_err(Status::internal)?;
        Ok(Some(if pod.status.is_finished() { Held::Ended } else { Held::Bound }))
    }

    /// Removes fences that nothing can run into any more: old ones, of pods that are gone.
    ///
    /// # Errors
    /// When the fences cannot be listed.
    pub async fn sweep(&self) -> Result<(), Status> {
        let now = self.clock.now();
        for stored in self.client.list(&Query::everywhere(ClaimFence::resource())).await?.items {
            let Ok(meta) = stored.object.meta() else { continue };
            let old = meta.creation_timestamp.is_some_and(|made| now.since(made) > FENCE_KEPT);
            let pod = meta.annotations.get(POD_ANNOTATION).and_then(|path| ObjectPath::parse(path));
            let (true, Some(path)) = (old, pod) else { continue };
            let gone = match self.client.get(&ObjectKey { resource: Pod::resource(), path }).await {
                Ok(pod) => {
                    Some(pod.object.header().uid()) != meta.annotations.get(POD_UID_ANNOTATION).map(|uid| &**uid)
                }
                Err(status) => status.is(Reason::NotFound),
            };
            if gone {
                let key = ObjectKey { resource: ClaimFence::resource(), path: stored.path.clone() };
                let options = DeleteOptions::default().uid(meta.uid);
                if let Err(status) = self.client.delete(&key, options).await {
                    tracing::debug!(%key, %status, "a fence stays for now");
                }
            }
        }
        Ok(())
    }
}

const POD_ANNOTATION: &str = "region.arktos.io/pod";
const POD_UID_ANNOTATION: &str = "region.arktos.io/pod-uid";

fn pod_path(claim: &ClaimRequest) -> ObjectPath {
    ObjectPath::new(&claim.tenant, &claim.namespace, &claim.pod)
}

fn pod_key(claim: &ClaimRequest) -> ObjectKey {
    ObjectKey { resource: Pod::resource(), path: pod_path(claim) }
}
