//! Jobs.

use super::Typed;
use super::condition::{Condition, ObjectReference};
use super::kind;
use super::placement::LabelSelectorSpec;
use super::pod::PodTemplate;
use super::record::record;
use crate::time::Timestamp;
use serde_json::{Map, Value};

/// Pods that are to run to their end.
pub type Job = Typed<JobSpec, JobStatus>;
kind!(Job, "jobs.batch", "batch/v1", "Job");

/// Jobs of one template, at times of a schedule.
pub type CronJob = Typed<CronJobSpec, CronJobStatus>;
kind!(CronJob, "cronjobs.batch", "batch/v1", "CronJob");

record! {
    /// What is to run when.
    pub struct CronJobSpec {
        /// Five fields, or a descriptor.
        schedule: String,
        /// The zone of the schedule's times; UTC without one.
        time_zone: Option<String>,
        /// How late a job may still be started, in seconds.
        starting_deadline_seconds: Option<i64>,
        /// `Allow`, `Forbid` or `Replace`.
        concurrency_policy: String,
        /// Whether it is held.
        suspend: Option<bool>,
        /// How many jobs that have succeeded are kept.
        successful_jobs_history_limit: Option<i32>,
        /// How many jobs that have failed are kept.
        failed_jobs_history_limit: Option<i32>,
    }
}

record! {
    /// How a cron job is doing.
    pub struct CronJobStatus {
        /// The jobs that run.
        active: Vec<ObjectReference>,
        /// The time of the schedule that the last job was made for.
        last_schedule_time: Option<Timestamp>,
        /// When a job last succeeded.
        last_successful_time: Option<Timestamp>,
    }
}

record! {
    /// What a job is to run.
    pub struct JobSpec {
        /// How many pods run at once.
        parallelism: Option<i32>,
        /// How many must succeed.
        completions: Option<i32>,
        /// How long it may be active, in seconds.
        active_deadline_seconds: Option<i64>,
        /// How many failures are one too many.
        backoff_limit: Option<i32>,
        /// How many failures of one index are one too many.
        backoff_limit_per_index: Option<i32>,
        /// How many failed indexes are one too many.
        max_failed_indexes: Option<i32>,
        /// The pods it owns.
        selector: Option<LabelSelectorSpec>,
        /// Whether the selector was made by the user.
        manual_selector: Option<bool>,
        /// How long a finished job is kept, in seconds.
        ttl_seconds_after_finished: Option<i32>,
        /// `NonIndexed` or `Indexed`.
        completion_mode: Option<String>,
        /// Whether it is held.
        suspend: Option<bool>,
        /// What failed pods mean, by how they failed.
        pod_failure_policy: Option<PodFailurePolicy>,
        /// When enough indexes have succeeded, though not all.
        success_policy: Option<SuccessPolicy>,
        /// When a failed pod is replaced.
        pod_replacement_policy: Option<String>,
        /// Who looks after it, when that is not the job controller.
        managed_by: Option<String>,
    } always {
        /// What the pods are made from.
        template: PodTemplate,
    }
}

record! {
    /// What failed pods mean: the first rule that a pod matches says.
    pub struct PodFailurePolicy {
        /// The rules.
        rules: Vec<PodFailureRule>,
    }
}

record! {
    /// What some failed pods mean.
    pub struct PodFailureRule {
        /// `FailJob`, `FailIndex`, `Ignore` or `Count`.
        action: String,
        /// Pods of which a container ended with one of some codes.
        on_exit_codes: Option<ExitCodes>,
        /// Pods with one of some conditions.
        on_pod_conditions: Vec<PodConditionPattern>,
    }
}

record! {
    /// Codes that containers end with, other than 0.
    pub struct ExitCodes {
        /// The container; any without one.
        container_name: Option<String>,
        /// `In` or `NotIn`.
        operator: String,
        /// The codes.
        values: Vec<i32>,
    }
}

record! {
    /// A condition of a pod.
    pub struct PodConditionPattern {
        /// Its status.
        status: String,
    } always {
        /// Its type.
        #[serde(rename = "type")]
        kind: String,
    }
}

record! {
    /// When enough indexes of a job have succeeded: one of the rules holds.
    pub struct SuccessPolicy {
        /// The rules.
        rules: Vec<SuccessRule>,
    }
}

record! {
    /// Which, or how many, indexes are enough.
    pub struct SuccessRule {
        /// All of these, or as many of them as the count says.
        succeeded_indexes: Option<String>,
        /// How many.
        succeeded_count: Option<i32>,
    }
}

record! {
    /// How a job is doing.
    pub struct JobStatus {
        /// Observed facts.
        conditions: Vec<Condition>,
        /// When it was started.
        start_time: Option<Timestamp>,
        /// When it was complete.
        completion_time: Option<Timestamp>,
        /// How many pods run or wait.
        active: i32,
        /// How many succeeded.
        succeeded: i32,
        /// How many failed.
        failed: i32,
        /// How many are going.
        terminating: Option<i32>,
        /// The indexes that are complete.
        completed_indexes: String,
        /// The indexes that failed.
        failed_indexes: Option<String>,
        /// Pods that have ended and are not yet counted.
        uncounted_terminated_pods: Option<Map<String, Value>>,
        /// How many are ready.
        ready: Option<i32>,
    }
}
