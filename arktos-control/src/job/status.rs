//! How a job's pods are doing, counted.

use std::sync::Arc;

use arktos_core::typed::{Condition, Job, JobStatus};

use super::index_of;
use super::indexes::Indexes;
use crate::pod::{Phase, PodView};

/// The pods of a job, counted. Counts of what has ended never fall: a pod that ended and was then deleted stays
/// counted.
pub(super) struct Counts {
    /// Those that run or wait, and are not being deleted.
    pub(super) active: Vec<Arc<PodView>>,
    /// How many are being deleted and have not ended.
    pub(super) going: usize,
    pub(super) succeeded: usize,
    pub(super) failed: usize,
    /// How many failed pods there still are.
    pub(super) failed_pods: usize,
    /// The indexes that have succeeded, for a job that has indexes.
    pub(super) indexes: Indexes,
    indexed: bool,
}

impl Counts {
    pub(super) fn of(job: &Job, pods: Vec<Arc<PodView>>) -> Self {
        let count = |phase: Phase| pods.iter().filter(|pod| pod.phase == phase).count();
        let before = |counted: i32| usize::try_from(counted).unwrap_or(0);
        let (mut succeeded, failed_pods) = (count(Phase::Succeeded), count(Phase::Failed));
        let indexed = job.spec.completion_mode.as_deref() == Some("Indexed");
        let mut indexes = Indexes::default();
        if indexed {
            let completions = usize::try_from(job.spec.completions.unwrap_or(0)).unwrap_or(0);
            let ended = pods.iter().filter(|pod| pod.phase == Phase::Succeeded).filter_map(|pod| index_of(pod));
            indexes = Indexes::read(&job.status.completed_indexes).with(ended).below(completions);
            succeeded = indexes.len();
        } else {
            succeeded = succeeded.max(before(job.status.succeeded));
        }
        Self {
            active: pods.iter().filter(|pod| pod.is_active()).cloned().collect(),
            going: pods.iter().filter(|pod| pod.is_terminating() && !pod.is_finished()).count(),
            succeeded,
            failed: failed_pods.max(before(job.status.failed)),
            failed_pods,
            indexes,
            indexed,
        }
    }

    /// How often containers of active pods were restarted.
    pub(super) fn restarts(&self) -> usize {
        let restarts = |pod: &Arc<PodView>| usize::try_from(pod.restarts).unwrap_or(usize::MAX);
        self.active.iter().map(restarts).fold(0, usize::saturating_add)
    }

    /// The active pods, those that are least far first.
    pub(super) fn least_useful(&self) -> Vec<Arc<PodView>> {
        let mut pods = self.active.clone();
        pods.sort_by_key(|pod| (!pod.node.is_empty(), pod.phase, pod.is_ready(), std::cmp::Reverse(pod.created)));
        pods
    }

    /// Writes the counts into a status.
    pub(super) fn write(&self, status: &mut JobStatus) {
        let size = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        status.active = size(self.active.len());
        status.ready = Some(size(self.active.iter().filter(|pod| pod.is_ready()).count()));
        status.terminating = Some(size(self.going));
        status.succeeded = size(self.succeeded);
        status.failed = size(self.failed);
        if self.indexed {
            status.completed_indexes = self.indexes.to_string();
        }
        status.uncounted_terminated_pods.get_or_insert_default();
    }
}

/// Whether a job has ended, well or not.
pub(super) fn is_finished(status: &JobStatus) -> bool {
    ended(status).is_some()
}

/// The condition that says that a job has ended.
pub(crate) fn ended(status: &JobStatus) -> Option<&Condition> {
    let is_end = |condition: &&Condition| ["Complete", "Failed"].contains(&condition.kind.as_str());
    status.conditions.iter().filter(is_end).find(|condition| condition.status == "True")
}
