//! The `cronjob` controller: jobs of a template, at the times of a schedule.
//!
//! A job is named after the time it is for, so that none is made twice, however often it is tried.

mod history;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::schedule::{Schedule, Zone};
use arktos_core::typed::{CronJob, CronJobStatus, Job, KindOf, ObjectReference};
use arktos_core::{Object, ObjectPath, Reason, Status, Timestamp};
use arktos_store::client::Propagation;
use arktos_store::{Client, Clock, Informer, Outcome, Stored};
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use crate::breath::Breath;
use crate::events::Teller;
use crate::job::ended;
use crate::kinds::{CRON_JOBS, JOBS};
use crate::owner::controller_reference;
use crate::reconcile::{Reconcile, queue, run, shown, synced};
use crate::setup::{BY_OWNER, Setup, beside};
use crate::write::{delete, found, is_terminating, set_status, tree, unreadable};

/// The annotation of a job that says which time of the schedule it is for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// So many missed times are told.
const MANY_MISSED: u64 = 100;

pub(crate) struct CronJobs {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    crons: Informer<Stored>,
    jobs: Informer<Stored>,
    events: Teller,
}

/// A cron job in hand.
struct Work {
    stored: Arc<Stored>,
    cron: CronJob,
    /// Its jobs, by name.
    jobs: Vec<(Arc<Stored>, Job)>,
    status: CronJobStatus,
    now: Timestamp,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (crons, jobs) = (setup.informer(&CRON_JOBS.resource), setup.informer(&JOBS.resource));
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    crons.handle(move |event| {
        adds.add(event.path().clone());
    });
    let adds = queue.clone();
    jobs.handle(move |event| {
        for job in event.before().into_iter().chain(event.after()) {
            if let Some(owner) = job.object.header().controller()
                && owner.kind == "CronJob"
            {
                adds.add(beside(event.path(), owner.name));
            }
        }
    });
    let informers = vec![synced(&crons), synced(&jobs)];
    let events = setup.events.teller("cronjob-controller");
    let (client, clock) = (setup.client.clone(), setup.clock.clone());
    run(CronJobs { client, clock, crons, jobs, events }, queue, setup.options.workers, informers)
}

impl Reconcile for CronJobs {
    type Key = ObjectPath;
    const NAME: &'static str = "cronjob";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(stored) = self.crons.store().get(path) else { return Ok(Outcome::Done) };
        let cron = CronJob::from_encoded(&stored.object, Some(stored.revision)).map_err(unreadable)?;
        let (status, jobs) = (cron.status.clone(), self.jobs_of(&stored).await?);
        let mut work = Work { stored, cron, jobs, status, now: self.clock.now() };
        self.note_ended(&mut work);
        let outcome = match work.cron.metadata.deletion_timestamp {
            Some(_) => Ok(Outcome::Done),
            None => {
                history::prune(&*self.client, &self.events, &work).await;
                self.advance(&mut work).await
            }
        };
        if work.status != work.cron.status {
            let written = set_status(&*self.client, &CRON_JOBS.key(path), &work.stored, &work.status).await?;
            shown(&self.crons, written.revision).await?;
        }
        outcome
    }
}

impl CronJobs {
    async fn jobs_of(&self, cron: &Stored) -> Result<Vec<(Arc<Stored>, Job)>, Status> {
        let uid = cron.object.header().uid();
        let owned = self.jobs.store().by(BY_OWNER, uid).into_iter().filter(|job| {
            let mine = job.object.header().controller().is_some_and(|owner| owner.uid == uid);
            mine && job.path.tenant() == cron.path.tenant() && job.path.namespace() == cron.path.namespace()
        });
        let (mut jobs, mut breath) = (Vec::new(), Breath::default());
        for job in owned {
            breath.after(job.object.tail_length()).await;
            let object = Job::from_encoded(&job.object, Some(job.revision)).map_err(unreadable)?;
            jobs.push((job, object));
        }
        Ok(jobs)
    }

    /// Takes jobs that have ended, or are gone, off the list of those that run.
    fn note_ended(&self, work: &mut Work) {
        let all: HashSet<String> = work.status.active.iter().map(|active| active.uid.clone()).collect();
        let mut over: HashSet<&str> = HashSet::new();
        for (stored, job) in &work.jobs {
            let name = stored.path.name();
            let uid = stored.object.header().uid();
            let listed = all.contains(uid);
            match ended(&job.status) {
                Some(end) if listed => {
                    over.insert(uid);
                    let text = format!("Saw completed job: {name}, condition: {}", end.kind);
                    self.events.normal(&work.stored, "SawCompletedJob", text);
                }
                None if !listed => {
                    let text = format!("Saw a job that the controller did not create or forgot: {name}");
                    self.events.warning(&work.stored, "UnexpectedJob", text);
                }
                _ => {}
            }
            let completed = ended(&job.status).filter(|end| end.kind == "Complete").and(job.status.completion_time);
            work.status.last_successful_time = work.status.last_successful_time.max(completed);
        }
        work.status.active.retain(|active| !over.contains(active.uid.as_str()));
        let known: HashSet<&str> = work.jobs.iter().map(|(job, _)| job.object.header().uid()).collect();
        let (gone, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut work.status.active).into_iter().partition(|it| !known.contains(it.uid.as_str()));
        work.status.active = left;
        for active in gone {
            let text = format!("Active job went missing: {}", active.name);
            self.events.normal(&work.stored, "MissingJob", text);
        }
    }

    /// Makes the job whose time has come, and says when to look again.
    async fn advance(&self, work: &mut Work) -> Result<Outcome, Status> {
        let Some((schedule, zone)) = self.read_schedule(work) else { return Ok(Outcome::Done) };
        if work.cron.spec.suspend == Some(true) {
            return Ok(Outcome::Done);
        }
        let next = schedule.after(work.now, &zone).map_or(Outcome::Done, |at| Outcome::After(until(work.now, at)));
        let Some(at) = self.due(work, &schedule, &zone) else { return Ok(next) };
        let deadline = work.cron.spec.starting_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        if deadline.is_some_and(|deadline| at.later(Duration::from_secs(deadline)) < work.now) {
            let text = format!("Missed scheduled time to start a job: {at}");
            self.events.warning(&work.stored, "MissSchedule", text);
            return Ok(next);
        }
        let name = job_name(&work.stored, at);
        if work.status.active.iter().any(|active| active.name == name) || work.status.last_schedule_time == Some(at) {
            return Ok(next);
        }
        match work.cron.spec.concurrency_policy.as_str() {
            "Forbid" if !work.status.active.is_empty() => {
                let text =
                    "Not starting job because prior execution is running and concurrency policy is Forbid".to_owned();
                self.events.normal(&work.stored, "JobAlreadyActive", text);
                return Ok(next);
            }
            "Replace" => self.end_active(work).await?,
            _ => {}
        }
        if let Some(active) = self.start_job(work, &name, at, &zone).await? {
            work.status.active.push(active);
            work.status.last_schedule_time = Some(at);
        }
        Ok(next)
    }

    fn read_schedule(&self, work: &Work) -> Option<(Schedule, Zone)> {
        let spec = &work.cron.spec;
        let zone = match &spec.time_zone {
            None => Some(Zone::default()),
            Some(name) => Zone::named(name),
        };
        let Some(zone) = zone else {
            let text = format!("invalid timeZone: {:?}", spec.time_zone.as_deref().unwrap_or_default());
            self.events.warning(&work.stored, "UnknownTimeZone", text);
            return None;
        };
        match Schedule::parse(&spec.schedule) {
            Ok(schedule) => Some((schedule, zone)),
            Err(why) => {
                let text = format!("unparseable schedule: {:?} : {why}", spec.schedule);
                self.events.warning(&work.stored, "UnparseableCronJobSchedule", text);
                None
            }
        }
    }

    /// The last time of the schedule that has come and that no job was made for.
    fn due(&self, work: &Work, schedule: &Schedule, zone: &Zone) -> Option<Timestamp> {
        let created = work.cron.metadata.creation_timestamp.unwrap_or(work.now);
        let mut from = work.status.last_schedule_time.unwrap_or(created);
        if let Some(deadline) = work.cron.spec.starting_deadline_seconds {
            let back = deadline.saturating_mul(1_000_000);
            from = from.max(Timestamp::from_micros(work.now.as_micros().saturating_sub(back)));
        }
        let first = schedule.after(from, zone).filter(|at| *at <= work.now)?;
        if let Some(second) = schedule.after(first, zone) {
            let turn = until(first, second).as_secs().max(1);
            if work.now.since(first).as_secs() / turn > MANY_MISSED {
                let text =
                    "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
                self.events.warning(&work.stored, "TooManyMissedTimes", text.to_owned());
            }
        }
        schedule.last(from, work.now, zone)
    }

    /// Deletes the jobs that run.
    async fn end_active(&self, work: &mut Work) -> Result<(), Status> {
        for active in std::mem::take(&mut work.status.active) {
            let key = JOBS.key(&beside(&work.stored.path, &active.name));
            delete(&*self.client, &key, &active.uid, Some(Propagation::Background)).await?;
            self.events.normal(&work.stored, "SuccessfulDelete", format!("Deleted job {}", active.name));
        }
        Ok(())
    }

    /// Makes a job, and says how it is listed. One that is there already is listed when it is this cron job's and runs.
    async fn start_job(
        &self,
        work: &Work,
        name: &str,
        at: Timestamp,
        zone: &Zone,
    ) -> Result<Option<ObjectReference>, Status> {
        let path = &work.stored.path;
        let job = new_job(work, name, &zone.rfc3339(at))?;
        let made = match self.client.create(&JOBS.resource, path.tenant(), path.namespace(), job).await {
            Ok(made) => {
                self.events.normal(&work.stored, "SuccessfulCreate", format!("Created job {name}"));
                made
            }
            Err(status) if is_terminating(&status) => return Ok(None),
            Err(status) if status.is(Reason::AlreadyExists) => {
                let Some(there) = found(self.client.get(&JOBS.key(&beside(path, name))).await)? else {
                    return Err(status);
                };
                let owner = there.object.header().controller().map(|owner| owner.uid.to_owned());
                let job = Job::from_encoded(&there.object, None).map_err(unreadable)?;
                if owner.as_deref() != Some(work.stored.object.header().uid()) || ended(&job.status).is_some() {
                    return Ok(None);
                }
                there
            }
            Err(status) => {
                self.events.warning(&work.stored, "FailedCreate", format!("Error creating job: {status}"));
                return Err(status);
            }
        };
        shown(&self.jobs, made.revision).await?;
        Ok(Some(ObjectReference {
            kind: JOBS.type_meta.kind.clone(),
            namespace: path.namespace().to_owned(),
            name: name.to_owned(),
            uid: made.object.header().uid().to_string(),
            api_version: JOBS.type_meta.api_version.clone(),
            resource_version: made.revision.to_string(),
            ..ObjectReference::default()
        }))
    }
}

fn job_name(cron: &Stored, at: Timestamp) -> String {
    format!("{}-{}", cron.path.name(), at.as_seconds() / 60)
}

fn new_job(work: &Work, name: &str, scheduled: &str) -> Result<Object, Status> {
    let object = tree(&work.stored)?;
    let template = object.at(&["spec", "jobTemplate"]).cloned().unwrap_or_default();
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), Value::from(name));
    for field in ["labels", "annotations"] {
        if let Some(value) = template["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    metadata.insert("ownerReferences".to_owned(), json!([controller_reference(&CRON_JOBS, &work.stored)]));
    let mut job = Object::new(&JOBS.type_meta, name);
    job.fields.insert("metadata".to_owned(), Value::Object(metadata));
    job.set(&["metadata", "annotations", SCHEDULED], scheduled);
    job.set(&["spec"], template["spec"].clone());
    Ok(job)
}

/// How long until a moment; at least a moment, so that a queue comes back after it.
fn until(now: Timestamp, at: Timestamp) -> Duration {
    at.since(now).max(Duration::from_millis(1))
}
