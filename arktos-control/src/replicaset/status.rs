//! What a replica set's status says.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{Condition, ReplicaSet, ReplicaSetStatus};
use arktos_core::{Status, Timestamp};

use crate::pod::PodView;

/// The pods of a replica set at a moment.
pub(super) struct Observed<'a> {
    /// Those that count.
    pub(super) active: &'a [Arc<PodView>],
    /// How many of them have the labels of the template.
    pub(super) labelled: usize,
    /// How many are being deleted.
    pub(super) going: usize,
    pub(super) now: Timestamp,
    /// Whether the kind's status says how many are being deleted.
    pub(super) tells_going: bool,
}

impl Observed<'_> {
    /// The status of the replica set.
    pub(super) fn status(&self, set: &ReplicaSet, wanted: usize, failure: Option<&Status>) -> ReplicaSetStatus {
        let count = |holds: &dyn Fn(&PodView) -> bool| size(self.active.iter().filter(|pod| holds(pod)).count());
        let mut status = set.status.clone();
        status.replicas = size(self.active.len());
        status.fully_labeled_replicas = size(self.labelled);
        status.ready_replicas = count(&PodView::is_ready);
        status.available_replicas =
            count(&|pod| pod.available_at(wait(set)).is_some_and(|available| available <= self.now));
        status.terminating_replicas = self.tells_going.then(|| size(self.going));
        status.observed_generation = set.metadata.generation;
        match failure {
            Some(why) => {
                let reason = if self.active.len() < wanted { "FailedCreate" } else { "FailedDelete" };
                if Condition::find(&status.conditions, "ReplicaFailure").is_none() {
                    status.conditions.push(Condition {
                        reason: reason.to_owned(),
                        message: why.message.clone(),
                        last_transition_time: Some(self.now),
                        ..Condition::new("ReplicaFailure", "True")
                    });
                }
            }
            None => status.conditions.retain(|condition| condition.kind != "ReplicaFailure"),
        }
        status
    }

    /// How long until the next pod becomes available by being ready for long enough.
    pub(super) fn next_available(&self, set: &ReplicaSet) -> Option<Duration> {
        let moments = self.active.iter().filter_map(|pod| pod.available_at(wait(set)));
        moments.filter(|moment| *moment > self.now).min().map(|moment| moment.since(self.now))
    }
}

fn wait(set: &ReplicaSet) -> u32 {
    u32::try_from(set.spec.min_ready_seconds).unwrap_or(0)
}

fn size(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
