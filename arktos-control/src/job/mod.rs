//! The `job` controller: pods that are to run to their end, so and so many of them.
//!
//! Pods carry no tracking finalizer (`batch.kubernetes.io/job-tracking`): a pod that is deleted after it has ended
//! stays counted, as it is remembered which pods are, but one that ends and is gone before it was seen is run again.
//! Who has just begun to work does not know which are: until it has counted, one that is gone hides one that is new.

mod indexes;
mod policy;
mod status;
mod ttl;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{Condition, Job, JobStatus, KindOf};
use arktos_core::{Object, ObjectPath, Reason, Status, Timestamp};
use arktos_store::informer::Event;
use arktos_store::{Client, Clock, Informer, Outcome, Stored, WorkQueue};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};

use self::indexes::Indexes;
use self::policy::{FailedPod, Verdict, enough};
use self::status::{Counts, Ended};
use crate::events::Teller;
use crate::kinds::JOBS;
use crate::owner::controller_reference;
use crate::pod::PodView;
use crate::pods::{BURST, PodControl, from_template};
use crate::reconcile::{Reconcile, queue, run, shown, synced};
use crate::setup::{Setup, beside};
use crate::write::{is_terminating, set_status, tree, unreadable};

pub(crate) use status::ended;
pub(crate) use ttl::start as start_ttl;

/// The label and annotation that say which of a job's indexes a pod works on.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The first wait after a pod failed; it doubles with each one.
const BACKOFF_FIRST: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// Why jobs fail.
const FAILURES: [&str; 5] =
    ["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "MaxFailedIndexesExceeded", "FailedIndexes"];

/// How much is left, after the last of so and so many failures, of the time until a failed pod is replaced.
fn left_after(failures: usize, last: Timestamp, now: Timestamp) -> Option<Duration> {
    let doubled = u32::try_from(failures.checked_sub(1)?).unwrap_or(u32::MAX).min(10);
    let wait = BACKOFF_FIRST.saturating_mul(1 << doubled).min(BACKOFF_MAX);
    let left = wait.saturating_sub(now.since(last));
    (!left.is_zero()).then_some(left)
}

pub(crate) struct Jobs {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    jobs: Informer<Stored>,
    control: PodControl,
    events: Teller,
    /// How many failures of each job were seen, and when the last one was. Written by the worker that has the job.
    failures: Mutex<HashMap<ObjectPath, (usize, Timestamp)>>,
    /// The ended pods that the status of each job counts; absent where that is not known. Written by the same.
    counted: Mutex<HashMap<ObjectPath, Ended>>,
}

/// A job in hand.
struct Work {
    stored: Stored,
    job: Job,
    counts: Counts,
    status: JobStatus,
    now: Timestamp,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (jobs, pods) = (setup.informer(&JOBS.resource), setup.pods());
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    jobs.handle(move |event| {
        adds.add(event.path().clone());
    });
    let adds = queue.clone();
    pods.handle(move |event| pod_changed(&adds, event));
    let events = setup.events.teller("job-controller");
    let informers = vec![synced(&jobs), synced(&pods)];
    let control = PodControl::new(setup.client.clone(), pods, events.clone());
    let (client, clock) = (setup.client.clone(), setup.clock.clone());
    let controller =
        Jobs { client, clock, jobs, control, events, failures: Mutex::default(), counted: Mutex::default() };
    run(controller, queue, setup.options.workers, informers)
}

fn pod_changed(queue: &WorkQueue<ObjectPath>, event: &Event<PodView>) {
    for pod in event.before().into_iter().chain(event.after()) {
        if let Some(owner) = pod.controller()
            && owner.kind == "Job"
        {
            queue.add(beside(event.path(), owner.name));
        }
    }
}

impl Reconcile for Jobs {
    type Key = ObjectPath;
    const NAME: &'static str = "job";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        self.control.caught_up(path).await?;
        let Some(stored) = self.jobs.store().get(path) else {
            self.forget(path);
            return Ok(Outcome::Done);
        };
        let job = Job::from_encoded(&stored.object, Some(stored.revision)).map_err(unreadable)?;
        let others = job.spec.managed_by.as_deref().is_some_and(|by| by != "kubernetes.io/job-controller");
        if others || status::is_finished(&job.status) {
            self.forget(path);
            return Ok(Outcome::Done);
        }
        let selector = job.spec.selector.clone().unwrap_or_default();
        let pods = self.control.claim(&JOBS, &stored, &selector).await?;
        let known = self.counted.lock().remove(path); // back again once the status says so
        let (counts, status, now) = (Counts::of(&job, pods, known.as_ref()), job.status.clone(), self.clock.now());
        let mut work = Work { stored: (*stored).clone(), job, counts, status, now };
        let going = work.job.metadata.deletion_timestamp.is_some();
        let outcome = if going { Ok(Outcome::Done) } else { self.advance(&mut work).await };
        work.counts.write(&mut work.status);
        if work.status != work.job.status {
            let written = set_status(&*self.client, &JOBS.key(path), &work.stored, &work.status).await;
            if let (Err(status), Some(known)) = (&written, known)
                && status.is(Reason::Conflict)
            {
                self.counted.lock().insert(path.clone(), known); // the status is as it was
            }
            shown(&self.jobs, written?.revision).await?;
            self.tell_changes(&work);
        }
        self.counted.lock().insert(path.clone(), work.counts.ended);
        outcome
    }
}

impl Jobs {
    fn forget(&self, path: &ObjectPath) {
        self.failures.lock().remove(path);
        self.counted.lock().remove(path);
    }

    /// One step: decides whether the job has ended, and makes or deletes pods.
    async fn advance(&self, work: &mut Work) -> Result<Outcome, Status> {
        let suspended = work.job.spec.suspend == Some(true);
        work.note_start(suspended);
        // What was decided before stands. What has failed has not succeeded.
        let decided = work.decided("SuccessCriteriaMet");
        if let (None, Some((reason, message))) = (&decided, work.failure()) {
            work.end("FailureTarget", "Failed", &reason, &message);
            return self.end_pods(work).await;
        }
        if let Some((reason, message)) = decided.or_else(|| work.success()) {
            work.end("SuccessCriteriaMet", "Complete", &reason, &message);
            return self.end_pods(work).await;
        }
        if suspended {
            return self.end_pods(work).await;
        }
        let wanted = work.wanted();
        let active = work.counts.active.len();
        if active > wanted {
            let surplus: Vec<Arc<PodView>> = work.counts.least_useful().into_iter().take(active - wanted).collect();
            return self.control.delete(&work.stored, &surplus).await.map_or(Ok(work.next_look()), Err);
        }
        let there = active + if work.replaces_failed_only() { work.counts.going.len() } else { 0 };
        if there < wanted {
            let per_index = work.counts.failed_indexes.is_some();
            if let Some(wait) = (!per_index).then(|| self.backoff(work)).flatten() {
                return Ok(Outcome::After(wait));
            }
            let (pods, wait) = work.new_pods((wanted - there).min(BURST))?;
            let (_, failure) = self.control.create(&work.stored, pods).await;
            if let Some(failure) = failure.filter(|failure| !is_terminating(failure)) {
                return Err(failure);
            }
            if let Some(wait) = wait {
                return Ok(Outcome::After(work.deadline_left().map_or(wait, |left| left.min(wait))));
            }
        }
        Ok(work.next_look())
    }

    async fn end_pods(&self, work: &Work) -> Result<Outcome, Status> {
        let failure = self.control.delete(&work.stored, &work.counts.active).await;
        failure.map_or(Ok(Outcome::Done), Err)
    }

    /// How long to wait before a failed pod is replaced.
    fn backoff(&self, work: &Work) -> Option<Duration> {
        let failed = work.counts.failed_pods.len().max(work.counts.failed); // some may be gone
        let mut failures = self.failures.lock();
        let entry = failures.entry(work.stored.path.clone()).or_insert((0, work.now));
        if entry.0 != failed {
            *entry = (failed, work.now);
        }
        left_after(failed, entry.1, work.now)
    }

    fn tell_changes(&self, work: &Work) {
        let is = |status: &JobStatus, kind: &str| Condition::is_true(&status.conditions, kind);
        let new = |kind: &str| is(&work.status, kind) && !is(&work.job.status, kind);
        if new("Complete") {
            self.events.normal(&work.stored, "Completed", "Job completed");
        }
        if new("Failed")
            && let Some(failed) = Condition::find(&work.status.conditions, "Failed")
        {
            let reason = FAILURES.into_iter().find(|reason| *reason == failed.reason).unwrap_or("BackoffLimitExceeded");
            self.events.warning(&work.stored, reason, failed.message.clone());
        }
        if new("Suspended") {
            self.events.normal(&work.stored, "Suspended", "Job suspended");
        } else if is(&work.job.status, "Suspended") && !is(&work.status, "Suspended") {
            self.events.normal(&work.stored, "Resumed", "Job resumed");
        }
    }
}

impl Work {
    fn is_indexed(&self) -> bool {
        self.job.spec.completion_mode.as_deref() == Some("Indexed")
    }

    fn completions(&self) -> Option<usize> {
        self.job.spec.completions.map(|completions| usize::try_from(completions).unwrap_or(0))
    }

    /// Whether a pod that is being deleted is replaced only when it is gone.
    fn replaces_failed_only(&self) -> bool {
        self.job.spec.pod_failure_policy.is_some() || self.job.spec.pod_replacement_policy.as_deref() == Some("Failed")
    }

    /// The reason and the message of a condition that holds.
    fn decided(&self, kind: &str) -> Option<(String, String)> {
        let said = Condition::find(&self.status.conditions, kind).filter(|said| said.status == "True")?;
        Some((said.reason.clone(), said.message.clone()))
    }

    /// Why the job has succeeded, if it has.
    fn success(&self) -> Option<(String, String)> {
        if self.is_indexed()
            && let completions = self.completions().unwrap_or(0)
            && let Some(rule) = enough(self.job.spec.success_policy.as_ref(), completions, &self.counts.indexes)
        {
            return Some(("SuccessPolicy".to_owned(), rule));
        }
        let complete = match self.completions() {
            Some(completions) => self.counts.succeeded >= completions,
            None => self.counts.succeeded > 0 && self.counts.active.is_empty(),
        };
        let why = ("CompletionsReached".to_owned(), "Reached expected number of succeeded pods".to_owned());
        complete.then_some(why)
    }

    /// How many pods are to be active.
    fn wanted(&self) -> usize {
        let parallelism = usize::try_from(self.job.spec.parallelism.unwrap_or(1)).unwrap_or(0);
        match self.completions() {
            Some(completions) => parallelism.min(completions.saturating_sub(self.counts.succeeded)),
            None if self.counts.succeeded > 0 => self.counts.active.len(),
            None => parallelism,
        }
    }

    fn note_start(&mut self, suspended: bool) {
        let was = Condition::find(&self.status.conditions, "Suspended").map(|it| it.status == "True");
        if suspended {
            self.status.start_time = None;
            if was != Some(true) {
                self.say("Suspended", "True", "JobSuspended", "Job suspended");
            }
            return;
        }
        self.status.start_time.get_or_insert(self.now);
        if was == Some(true) {
            self.say("Suspended", "False", "JobResumed", "Job resumed");
        }
    }

    /// Why the job has failed, if it has.
    fn failure(&self) -> Option<(String, String)> {
        if let Some(decided) = self.decided("FailureTarget") {
            return Some(decided);
        }
        let why = |reason: &str, message: &str| Some((reason.to_owned(), message.to_owned()));
        if let Some(message) = self.counts.failed_pods.iter().find_map(|pod| match &pod.verdict {
            Verdict::FailsJob(message) => Some(message),
            _ => None,
        }) {
            return why("PodFailurePolicy", message);
        }
        let limit = usize::try_from(self.job.spec.backoff_limit.unwrap_or(6)).unwrap_or(usize::MAX);
        let restarts = self.job.spec.template.spec.restart_policy == "OnFailure" && {
            let restarts = self.counts.restarts();
            if limit == 0 { restarts > 0 } else { restarts >= limit }
        };
        if self.counts.failed > limit || restarts {
            return why("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }
        if self.deadline_left() == Some(Duration::ZERO) {
            return why("DeadlineExceeded", "Job was active longer than specified deadline");
        }
        let failed = self.counts.failed_indexes.as_ref()?.len();
        let most = self.job.spec.max_failed_indexes.and_then(|most| usize::try_from(most).ok());
        if most.is_some_and(|most| failed > most) {
            return why("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
        }
        if failed > 0 && failed + self.counts.succeeded >= self.completions().unwrap_or(0) {
            return why("FailedIndexes", "Job has failed indexes");
        }
        None
    }

    fn deadline_left(&self) -> Option<Duration> {
        let deadline = u64::try_from(self.job.spec.active_deadline_seconds?).ok().map(Duration::from_secs)?;
        Some(deadline.saturating_sub(self.now.since(self.status.start_time?)))
    }

    fn next_look(&self) -> Outcome {
        self.deadline_left().map_or(Outcome::Done, Outcome::After)
    }

    /// Notes that the job ends; that it has ended only when its last pod has.
    fn end(&mut self, target: &str, ended: &str, reason: &str, message: &str) {
        self.say(target, "True", reason, message);
        if self.counts.active.is_empty() && self.counts.going.is_empty() {
            self.say(ended, "True", reason, message);
            self.status.start_time.get_or_insert(self.now); // one that was suspended has none
            if ended == "Complete" {
                self.status.completion_time.get_or_insert(self.now);
            }
        }
    }

    fn say(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let conditions = &mut self.status.conditions;
        if Condition::find(conditions, kind).is_some_and(|said| said.status == status && said.reason == reason) {
            return;
        }
        let condition = Condition {
            last_probe_time: Some(self.now),
            last_transition_time: Some(self.now),
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..Condition::new(kind, status)
        };
        condition.set(conditions);
    }

    /// Pods to make, each for an index of its own where the job has indexes; and how long until an index may be tried
    /// again, where each has its own time.
    fn new_pods(&self, count: usize) -> Result<(impl Iterator<Item = Object> + Send, Option<Duration>), Status> {
        let object = tree(&self.stored)?;
        let template = object.at(&["spec", "template"]).cloned().unwrap_or_default();
        let owner = controller_reference(&JOBS, &self.stored);
        let name = self.stored.path.name();
        let (indexes, soonest) = self.indexes_to_try(count);
        let pods = indexes.into_iter().map(move |index| match index {
            None => from_template(&template, name, &owner),
            Some(index) => self.numbered(from_template(&template, &format!("{name}-{index}"), &owner), index),
        });
        Ok((pods, soonest))
    }

    /// For which indexes to make pods, none of which has one; or as many times no index.
    fn indexes_to_try(&self, count: usize) -> (Vec<Option<usize>>, Option<Duration>) {
        if !self.is_indexed() {
            return (vec![None; count], None);
        }
        let going = self.counts.going.iter().filter(|_| self.replaces_failed_only());
        let busy = self.counts.active.iter().chain(going).filter_map(|pod| index_of(pod));
        let taken = self.counts.indexes.with(busy);
        let taken = self.counts.failed_indexes.iter().fold(taken, Indexes::and);
        let (mut indexes, mut soonest) = (Vec::new(), None);
        for index in taken.missing(self.completions().unwrap_or(0)).take(count) {
            let before = self.counts.last_failed(index).filter(|_| self.counts.failed_indexes.is_some());
            match before.and_then(|last| left_after(last.times(), last.ended, self.now)) {
                Some(wait) => soonest = Some(soonest.map_or(wait, |known: Duration| known.min(wait))),
                None => indexes.push(Some(index)),
            }
        }
        (indexes, soonest)
    }

    /// A pod, for an index.
    fn numbered(&self, mut pod: Object, index: usize) -> Object {
        if self.counts.failed_indexes.is_some() {
            FailedPod::note(self.counts.last_failed(index), &mut pod);
        }
        pod.set(&["metadata", "labels", INDEX], index.to_string());
        pod.set(&["metadata", "annotations", INDEX], index.to_string());
        pod.set(&["spec", "hostname"], format!("{}-{index}", self.stored.path.name()));
        tell_containers(&mut pod);
        pod
    }
}

/// The index a pod works on.
fn index_of(pod: &PodView) -> Option<usize> {
    pod.object().header().label(INDEX)?.parse().ok()
}

/// Gives every container its pod's index in the environment.
fn tell_containers(pod: &mut Object) {
    let from = json!({"fieldRef": {"fieldPath": format!("metadata.labels['{INDEX}']")}});
    let spec = pod.map_mut(&["spec"]);
    for field in ["initContainers", "containers"] {
        let containers = spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            let env = container.entry("env").or_insert_with(|| json!([]));
            if let Some(env) = env.as_array_mut() {
                env.retain(|variable| variable["name"] != "JOB_COMPLETION_INDEX");
                env.push(json!({"name": "JOB_COMPLETION_INDEX", "valueFrom": from}));
            }
        }
    }
}
