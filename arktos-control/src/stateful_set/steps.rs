//! What is done next for a stateful set.
//!
//! First come the pods that are wanted, by their numbers; then those that are not, from the highest number down; last,
//! where all of these are well, pods of an older template, from the highest number down. Unless the set is parallel,
//! each pod is waited for before the next one is looked at.

use std::sync::Arc;

use arktos_core::{Reason, Status};
use futures::{FutureExt, StreamExt};

use super::work::{Work, is_running_and_ready};
use super::{StatefulSets, identity};
use crate::breath::Breath;
use crate::kinds::PODS;
use crate::pod::{Phase, PodView};
use crate::pods::{AT_ONCE, BURST, at_once};
use crate::reconcile::{shown, stopped};
use crate::write::{amend, delete, is_terminating};

/// What is done to a pod: the reasons of events about it, and the word for it in them.
struct Deed {
    done: &'static str,
    failed: &'static str,
    word: &'static str,
}

const CREATE: Deed = Deed { done: "SuccessfulCreate", failed: "FailedCreate", word: "Create" };
const UPDATE: Deed = Deed { done: "SuccessfulUpdate", failed: "FailedUpdate", word: "Update" };
const DELETE: Deed = Deed { done: "SuccessfulDelete", failed: "FailedDelete", word: "Delete" };

impl StatefulSets {
    /// Does what is next. Says how many pods were deleted for the sake of the newest template.
    pub(super) async fn advance(&self, work: &Work) -> Result<i32, Status> {
        let waits = if work.is_parallel() {
            self.all_replicas(work).await?;
            false
        } else {
            self.next_replica(work).await?
        };
        if waits || self.condemned(work).await? || work.is_on_delete() {
            return Ok(0);
        }
        self.roll(work).await
    }

    /// Sees to the wanted pods one after the other. Says whether one of them has to be waited for.
    async fn next_replica(&self, work: &Work) -> Result<bool, Status> {
        let mut breath = Breath::default();
        for ordinal in work.wanted() {
            breath.after(work.weight()).await;
            if self.replica(work, ordinal).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sees to all wanted pods: to one, then twice as many, and so on, so that what fails fails cheaply.
    async fn all_replicas(&self, work: &Work) -> Result<(), Status> {
        let missing = work.wanted().filter(|ordinal| !work.replicas.contains_key(ordinal)).take(BURST);
        let mut ordinals: Vec<i64> = missing.chain(work.replicas.keys().copied()).collect();
        ordinals.sort_unstable();
        let most = at_once(&work.stored);
        let (mut rest, mut batch, mut breath) = (ordinals.as_slice(), 1_usize, Breath::default());
        while !rest.is_empty() {
            let (next, later) = rest.split_at(batch.min(rest.len()));
            let tries: Vec<_> = next.iter().map(|ordinal| self.replica(work, *ordinal).boxed()).collect();
            for outcome in futures::future::join_all(tries).await {
                outcome?;
            }
            breath.after(next.len().saturating_mul(work.weight())).await;
            (rest, batch) = (later, batch.saturating_mul(2).min(most));
        }
        Ok(())
    }

    /// Sees to the wanted pod of a number. Says whether those after it have to wait for it.
    async fn replica(&self, work: &Work, ordinal: i64) -> Result<bool, Status> {
        let in_order = !work.is_parallel();
        let Some(pod) = work.replicas.get(&ordinal) else {
            self.make(work, ordinal).await?;
            return Ok(in_order);
        };
        if pod.is_finished() {
            // Another one is made when it is gone.
            if !pod.is_terminating() {
                self.remove(work, pod).await?;
            }
            return Ok(in_order);
        }
        if pod.phase == Phase::Pending {
            self.make_claims(work, ordinal).await?;
            self.keep_claims_or_tell(work, ordinal, pod).await?;
        }
        let well = !pod.is_terminating() && is_running_and_ready(pod) && work.is_available(pod);
        if in_order && !well {
            return Ok(true);
        }
        self.repair(work, ordinal, pod).await?;
        Ok(false)
    }

    /// Makes the pod of a number, and its claims before.
    async fn make(&self, work: &Work, ordinal: i64) -> Result<(), Status> {
        if self.has_stale_claim(work, ordinal) {
            return Ok(()); // that it goes brings the set back
        }
        let (path, name) = (&work.stored.path, work.pod_name(ordinal));
        let made = match self.make_claims(work, ordinal).await {
            Ok(()) => {
                let pod = work.draft(ordinal);
                self.client.create(&PODS.resource, path.tenant(), path.namespace(), pod).await
            }
            Err(status) => Err(status),
        };
        match made {
            Ok(created) => {
                self.tell(work, &CREATE, &name, None);
                shown(&self.pods, created.revision).await
            }
            Err(status) => {
                if !status.is(Reason::AlreadyExists) && !is_terminating(&status) {
                    self.tell(work, &CREATE, &name, Some(&status));
                }
                Err(status)
            }
        }
    }

    /// Gives a pod what makes it one of the set's, where somebody took that away, or it was made by somebody else.
    async fn repair(&self, work: &Work, ordinal: i64, pod: &PodView) -> Result<(), Status> {
        let volumes = work.volumes(ordinal);
        let stores = identity::has_volumes(pod, &volumes);
        if !stores && let Err(status) = self.make_claims(work, ordinal).await {
            self.tell(work, &UPDATE, pod.name(), Some(&status));
            return Err(status);
        }
        self.keep_claims_or_tell(work, ordinal, pod).await?;
        if stores && identity::is_labelled(pod) {
            return Ok(());
        }
        let updated = amend(&*self.client, &PODS.key(&pod.stored.path), None, |edited| {
            identity::label(edited, pod.name(), ordinal);
            if !stores {
                identity::put_volumes(edited, &volumes);
            }
            edited.uid() == pod.uid()
        })
        .await;
        self.tell(work, &UPDATE, pod.name(), updated.as_ref().err());
        match updated? {
            Some(written) => shown(&self.pods, written.revision).await,
            None => Ok(()),
        }
    }

    async fn keep_claims_or_tell(&self, work: &Work, ordinal: i64, pod: &PodView) -> Result<(), Status> {
        let kept = self.keep_claims(work, ordinal, pod).await;
        if let Err(status) = &kept {
            self.tell(work, &UPDATE, pod.name(), Some(status));
        }
        kept
    }

    /// Deletes pods whose numbers are not wanted. Says whether one of them has to be waited for.
    async fn condemned(&self, work: &Work) -> Result<bool, Status> {
        let mut breath = Breath::default();
        for (ordinal, pod) in &work.condemned {
            breath.after(work.weight()).await;
            self.keep_claims(work, *ordinal, pod).await?;
        }
        if work.is_parallel() {
            let doomed = work.condemned.iter().filter(|(_, pod)| !pod.is_terminating()).take(BURST);
            let removals: Vec<_> = doomed.map(|(_, pod)| self.remove(work, pod).boxed()).collect();
            let outcomes: Vec<_> = futures::stream::iter(removals).buffered(AT_ONCE).collect().await;
            return outcomes.into_iter().find_map(Result::err).map_or(Ok(false), Err);
        }
        let Some((_, highest)) = work.condemned.first() else { return Ok(false) };
        if !highest.is_terminating() && may_go(work, highest) {
            self.remove(work, highest).await?;
        }
        Ok(true)
    }

    /// Deletes the next pod that is not of the newest template. Says how many were.
    async fn roll(&self, work: &Work) -> Result<i32, Status> {
        for ordinal in work.updated().rev() {
            let Some(pod) = work.replicas.get(&ordinal) else { break };
            if !pod.is_terminating() && identity::revision(pod) != work.versions.update.name {
                self.remove(work, pod).await?;
                return Ok(1);
            }
            if pod.is_terminating() || !work.is_available(pod) {
                break;
            }
        }
        Ok(0)
    }

    /// Deletes a pod, and waits until that shows.
    async fn remove(&self, work: &Work, pod: &PodView) -> Result<(), Status> {
        let deleted = delete(&*self.client, &PODS.key(&pod.stored.path), pod.uid(), None).await;
        self.tell(work, &DELETE, pod.name(), deleted.as_ref().err());
        deleted?;
        let shows = || {
            let now = self.pods.store().get(&pod.stored.path);
            now.is_none_or(|now| now.uid() != pod.uid() || now.is_terminating())
        };
        self.pods.until(|_| shows()).await.map_err(stopped)
    }

    fn tell(&self, work: &Work, deed: &Deed, pod: &str, failure: Option<&Status>) {
        let text = format!("{} Pod {pod} in StatefulSet {}", deed.word, work.name());
        match failure {
            None => self.events.normal(&work.stored, deed.done, format!("{text} successful")),
            Some(why) => self.events.warning(&work.stored, deed.failed, format!("{text} failed error: {why}")),
        }
    }
}

/// Whether a pod whose number is not wanted may go before others that are not well: one that is well may, and the first
/// of those that are not.
fn may_go(work: &Work, pod: &Arc<PodView>) -> bool {
    let is_unavailable = |pod: &PodView| pod.is_terminating() || !work.is_available(pod);
    let first = work.condemned.iter().rev().map(|(_, pod)| pod).find(|pod| is_unavailable(pod));
    let is_first = first.is_some_and(|first| Arc::ptr_eq(first, pod));
    is_first || (is_running_and_ready(pod) && work.is_available(pod))
}
