//! How a job's pods are doing, counted.

use std::collections::HashSet;
use std::sync::Arc;

use arktos_core::typed::{Condition, Job, JobStatus};

use super::index_of;
use super::indexes::Indexes;
use super::policy::{FailedPod, Verdict};
use crate::pod::{Phase, PodView};

/// Pods that have ended and are counted in their job's status, by uid.
pub(super) type Ended = HashSet<Box<str>>;

/// The pods of a job, counted. Counts of what has ended never fall: a pod that ended and was then deleted stays
/// counted.
pub(super) struct Counts {
    /// Those that run or wait, and are not being deleted.
    pub(super) active: Vec<Arc<PodView>>,
    /// Those that are being deleted and have not ended.
    pub(super) going: Vec<Arc<PodView>>,
    pub(super) succeeded: usize,
    pub(super) failed: usize,
    /// The failed pods that there still are.
    pub(super) failed_pods: Vec<FailedPod>,
    /// The indexes that have succeeded, for a job that has indexes.
    pub(super) indexes: Indexes,
    /// The indexes that have failed, for a job in which each may fail so and so often.
    pub(super) failed_indexes: Option<Indexes>,
    /// The pods that there still are of those that have ended.
    pub(super) ended: Ended,
    indexed: bool,
}

impl Counts {
    /// Counts them. `known`: those that the job's status counts; where that is not known, it counts as many of them as
    /// it says.
    pub(super) fn of(job: &Job, pods: Vec<Arc<PodView>>, known: Option<&Ended>) -> Self {
        let of_phase = |phase: Phase| pods.iter().filter(move |pod| pod.phase == phase);
        let before = |counted: i32| usize::try_from(counted).unwrap_or(0);
        let is_new = |pod: &PodView| known.is_none_or(|known| !known.contains(pod.uid()));
        // Beside those that the status counts: where these are not known, it may count any of all.
        let total = |new: usize, counted: usize| if known.is_some() { counted + new } else { counted.max(new) };
        let mut succeeded = of_phase(Phase::Succeeded).filter(|pod| is_new(pod)).count();
        let (policy, limit) = (job.spec.pod_failure_policy.as_ref(), job.spec.backoff_limit_per_index);
        // A pod is read only where more than its phase matters.
        let judged = policy.is_some() || limit.is_some();
        let judge = |pod: &Arc<PodView>| if judged { FailedPod::of(pod, policy) } else { FailedPod::default() };
        let failed_pods: Vec<FailedPod> = of_phase(Phase::Failed).map(judge).collect();
        let failed = of_phase(Phase::Failed).zip(&failed_pods);
        let failed = failed.filter(|(pod, failed)| failed.verdict != Verdict::Ignored && is_new(pod)).count();
        let indexed = job.spec.completion_mode.as_deref() == Some("Indexed");
        let (mut indexes, mut failed_indexes) = (Indexes::default(), None);
        if indexed {
            let completions = usize::try_from(job.spec.completions.unwrap_or(0)).unwrap_or(0);
            failed_indexes = limit.map(|limit| {
                let failed = failed_pods.iter().filter(|pod| pod.ends_index(before(limit)));
                let known = Indexes::read(job.status.failed_indexes.as_deref().unwrap_or_default());
                known.with(failed.filter_map(|pod| pod.index)).below(completions)
            });
            let ended = of_phase(Phase::Succeeded).filter_map(|pod| index_of(pod));
            indexes = Indexes::read(&job.status.completed_indexes).with(ended).below(completions);
            succeeded = indexes.len();
        } else {
            succeeded = total(succeeded, before(job.status.succeeded));
        }
        Self {
            active: pods.iter().filter(|pod| pod.is_active()).cloned().collect(),
            going: pods.iter().filter(|pod| pod.is_terminating() && !pod.is_finished()).cloned().collect(),
            succeeded,
            failed: total(failed, before(job.status.failed)),
            failed_pods,
            indexes,
            failed_indexes,
            ended: pods.iter().filter(|pod| pod.is_finished()).map(|pod| pod.uid().into()).collect(),
            indexed,
        }
    }

    /// The pod of an index that failed last.
    pub(super) fn last_failed(&self, index: usize) -> Option<&FailedPod> {
        self.failed_pods.iter().filter(|pod| pod.index == Some(index)).max_by_key(|pod| pod.times())
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
        status.terminating = Some(size(self.going.len()));
        status.succeeded = size(self.succeeded);
        status.failed = size(self.failed);
        if self.indexed {
            status.completed_indexes = self.indexes.to_string();
            status.failed_indexes = self.failed_indexes.as_ref().map(ToString::to_string);
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
