//! What a pod says of when it does what, and of which generation it is.

use std::time::Duration;

use arktos_core::{Object, Timestamp};
use arktos_store::Stored;
use serde::Deserialize;
use serde_json::Value;

/// Whether a container of a pod says which command it runs.
fn runs_command(pod: &Object) -> bool {
    let containers = pod.at(&["spec", "containers"]).and_then(Value::as_array);
    let says = |container: &Value| container["command"].as_array().is_some_and(|command| !command.is_empty());
    containers.is_some_and(|containers| containers.iter().any(says))
}

/// How long a pod takes to stop when nothing says otherwise.
const STOP_DEFAULT: Duration = Duration::from_millis(200);
/// How long the pods of Jobs run.
const JOB_RUN: Duration = Duration::from_secs(1);
/// The generation of a pod as it is stored, without all else of it.
pub fn generation(stored: &Stored) -> i64 {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Meta {
        generation: i64,
    }
    #[derive(Deserialize)]
    struct OnlyMeta {
        metadata: Meta,
    }
    stored.object.parse().map_or(0, |pod: OnlyMeta| pod.metadata.generation)
}

/// The generation that a pod's status is of.
pub fn observed(pod: &Object) -> i64 {
    pod.int_at(&["status", "observedGeneration"]).unwrap_or(0)
}

/// Since when a pod is on its host, as its status says.
pub fn started(pod: &Object) -> Option<Timestamp> {
    Timestamp::parse(pod.str_at(&["status", "startTime"]))
}

/// How long a pod may be on its host.
pub fn active_time(pod: &Object) -> Option<Duration> {
    let seconds = pod.int_at(&["spec", "activeDeadlineSeconds"])?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// When a pod has been on its host for as long as it may be; it is there since `now`, where it does not say.
pub fn deadline(pod: &Object, now: Timestamp) -> Option<Timestamp> {
    active_time(pod).map(|longest| started(pod).unwrap_or(now).later(longest))
}

/// How long a pod runs before it ends by itself; `None` for ever.
pub fn run_time(pod: &Object, commands_end: bool) -> Option<Duration> {
    if let Some(told) = annotated_seconds(pod, "hollow.arktos.io/run-seconds") {
        return Some(told);
    }
    let owners = pod.at(&["metadata", "ownerReferences"]).and_then(Value::as_array);
    let of_job = owners.is_some_and(|owners| owners.iter().any(|owner| owner["kind"] == "Job"));
    let once = || pod.str_at(&["spec", "restartPolicy"]) == "Never" && runs_command(pod);
    (of_job || commands_end && once()).then(|| asleep(pod).unwrap_or(JOB_RUN))
}

/// How long a pod sleeps whose containers do nothing else: `command: ["sleep", "300"]`.
fn asleep(pod: &Object) -> Option<Duration> {
    let containers = pod.at(&["spec", "containers"])?.as_array()?;
    let times = containers.iter().filter_map(|container| {
        let words = ["command", "args"].iter().filter_map(|field| container[field].as_array()).flatten();
        match words.map(Value::as_str).collect::<Option<Vec<_>>>()?[..] {
            ["sleep" | "/bin/sleep", time] => time.parse().ok().map(Duration::from_secs),
            _ => None,
        }
    });
    times.max()
}

/// How long a pod takes to stop: its own word, within its grace.
pub fn stop_time(pod: &Object) -> Duration {
    let grace = pod.int_at(&["metadata", "deletionGracePeriodSeconds"]).unwrap_or(30);
    let told = annotated_seconds(pod, "hollow.arktos.io/stop-seconds").unwrap_or(STOP_DEFAULT);
    told.min(Duration::from_secs(u64::try_from(grace).unwrap_or(0)))
}

fn annotated_seconds(pod: &Object, annotation: &str) -> Option<Duration> {
    let seconds: f64 = pod.str_at(&["metadata", "annotations", annotation]).parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
