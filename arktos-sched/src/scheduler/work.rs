//! The workers: carry out what the planner decides, claim first, then bind.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{Binding, ClaimResult, ClaimReview, ClaimReviewStatus, KindOf, Pod};
use arktos_core::{Encoded, ObjectKey, Reason, Status};
use arktos_store::{Client, Clock};
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::{Notify, mpsc};

use super::managers::Managers;
use super::report::{Report, gone};
use super::state::{Placement, State};
use crate::claim::fence::{Fence, Held};
use crate::claim::{CLAIM_ANNOTATION, TERM_ANNOTATION, post};
use crate::hosts::ManagerId;

/// How long a resource manager may take to answer a review of claims. One that is gone without a word must not keep the
/// workers from the hosts of others.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many requests of one job are under way at once.
const AT_ONCE: usize = 32;

/// Where all workers take their jobs from.
pub(super) type Jobs = Arc<tokio::sync::Mutex<mpsc::Receiver<Job>>>;

/// What a worker is given to do: to claim at a resource manager, and to bind.
pub(super) struct Job(pub(super) ManagerId, pub(super) Vec<Placement>);

/// Carries out jobs, one at a time. Any number of workers share what they work with.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) changed: Arc<Notify>,
    pub(super) partition: Arc<dyn Client>,
    pub(super) managers: Managers,
    pub(super) fence: Arc<Fence>,
    pub(super) term: Option<Arc<str>>,
    pub(super) report: Report,
    pub(super) clock: Arc<dyn Clock>,
}

impl Worker {
    /// Works until there is nobody left to give it jobs.
    pub(super) async fn run(self, jobs: Jobs) {
        loop {
            let next = jobs.lock().await.recv().await;
            match next {
                None => return,
                Some(Job(manager, placements)) => self.place(manager, placements).await,
            }
            self.changed.notify_one();
        }
    }

    async fn place(&self, manager: ManagerId, placements: Vec<Placement>) {
        let Some((name, client)) = self.managers.get(manager) else { return };
        let (claimed, unclaimed): (Vec<_>, Vec<_>) = placements.into_iter().partition(|placement| placement.claimed);
        let mut granted = claimed;
        if !unclaimed.is_empty() {
            granted.extend(self.claim(manager, &*client, unclaimed).await);
        }
        let bind = |placement| self.bind(manager, &name, &*client, placement).boxed();
        at_once(granted.into_iter().map(bind).collect()).await;
    }

    /// Claims, and gives back the placements whose claims were accepted.
    async fn claim(&self, manager: ManagerId, client: &dyn Client, placements: Vec<Placement>) -> Vec<Placement> {
        let mut review = ClaimReview::default();
        review.spec.partition = self.state.lock().partition.clone();
        review.spec.claims = placements.iter().map(|placement| placement.request.clone()).collect();
        let results = match post_in_time(client, &review, &*self.clock).await {
            Ok(answer) => answer.results,
            Err(status) => {
                tracing::info!(manager, %status, "a resource manager did not answer a review of claims");
                let silent = status.is(Reason::Timeout);
                self.state.lock().unanswered(manager, &placements, silent, self.clock.now());
                return Vec::new();
            }
        };
        let now = self.clock.now();
        let mut granted = Vec::with_capacity(placements.len());
        let mut state = self.state.lock();
        state.answered(manager);
        for (at, placement) in placements.into_iter().enumerate() {
            let result = results.get(at).filter(|result| result.name == placement.request.name);
            match result {
                Some(ClaimResult { accepted: true, .. }) => granted.push(placement),
                Some(refusal) => {
                    tracing::debug!(pod = %placement.pod, refusal.reason, refusal.message, "a claim was refused");
                    state.refused(manager, &placement, &refusal.reason, now);
                }
                None => state.unanswered(manager, &[placement], false, now),
            }
        }
        granted
    }

    async fn bind(&self, manager: ManagerId, name: &str, client: &dyn Client, placement: Placement) {
        let request = &placement.request;
        let mut binding = Binding::named(&request.pod);
        binding.metadata.namespace.clone_from(&request.namespace);
        binding.metadata.uid.clone_from(&request.pod_uid);
        // What was claimed is what this state of the pod asks for: one that was resized since is not bound under it.
        binding.metadata.generation = placement.object.as_ref().map_or(0, generation);
        let under = format!("{name}/{}", request.name);
        binding.metadata.annotations.insert(CLAIM_ANNOTATION.to_owned(), under);
        if let Some(term) = &self.term {
            binding.metadata.annotations.insert(TERM_ANNOTATION.to_owned(), term.as_ref().to_owned());
        }
        binding.target.api_version = "v1".to_owned();
        binding.target.kind = "Node".to_owned();
        binding.target.name.clone_from(&request.node);
        let key = ObjectKey { resource: Pod::resource(), path: placement.pod.clone() };
        let status = match self.partition.post(&key, "binding", binding.to_object()).await {
            Ok(_) => {
                self.state.lock().bound(&placement, self.clock.now());
                self.report.scheduled(&placement.pod, &request.pod_uid, &request.node);
                return;
            }
            Err(status) => status,
        };
        tracing::debug!(pod = %placement.pod, %status, "a bind failed");
        if is_final(&status) {
            self.give_up(manager, name, client, &placement).await;
        } else {
            self.state.lock().unbound(manager, &placement, self.clock.now());
        }
    }

    /// A bind was refused for good: the pod is gone, is bound already, or its claim has ended. Ends the claim unless
    /// the pod is bound under it, and gives it back.
    async fn give_up(&self, manager: ManagerId, name: &str, client: &dyn Client, placement: &Placement) {
        match self.fence.end(name, &placement.request).await {
            Ok(Held::Bound) => return, // an earlier attempt had come through
            Ok(Held::Ended) => {}
            Err(status) => {
                tracing::info!(pod = %placement.pod, %status, "a claim could not be ended yet");
                self.state.lock().unbound(manager, placement, self.clock.now());
                return;
            }
        }
        let mut review = ClaimReview::default();
        review.spec.partition = self.state.lock().partition.clone();
        review.spec.releases = vec![placement.request.name.clone()];
        if let Err(status) = post_in_time(client, &review, &*self.clock).await {
            tracing::info!(claim = placement.request.name, %status, "the resource manager will ask about a claim");
        }
        self.state.lock().ended(manager, placement, self.clock.now());
    }
}

/// Posts a review to a resource manager, and gives back what it answers, if it does so in time.
pub(super) async fn post_in_time(
    manager: &dyn Client,
    review: &ClaimReview,
    clock: &dyn Clock,
) -> Result<ClaimReviewStatus, Status> {
    match select(std::pin::pin!(post(manager, review)), clock.sleep(PATIENCE)).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Err(Status::failure(Reason::Timeout, "no answer in time")),
    }
}

/// How often what a pod asks for has changed.
pub(super) fn generation(pod: &Encoded) -> i64 {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        metadata: Meta,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Meta {
        generation: i64,
    }
    pod.parse().map_or(0, |body: Body| body.metadata.generation)
}

/// Completes when all of them have, some at a time.
async fn at_once(futures: Vec<BoxFuture<'_, ()>>) {
    stream::iter(futures).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// Whether trying the same bind again can only fail again.
fn is_final(status: &Status) -> bool {
    let refused = [Reason::Forbidden, Reason::Invalid, Reason::BadRequest, Reason::AlreadyExists];
    gone(status) || refused.into_iter().any(|reason| status.is(reason))
}
