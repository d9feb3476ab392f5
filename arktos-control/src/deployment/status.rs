//! What a deployment's status says.

use std::time::Duration;

use arktos_core::Timestamp;
use arktos_core::typed::{Condition, Deployment, DeploymentStatus};

use super::plan::Bounds;
use super::set::{Set, actual, available, replicas, total};

/// The counts of a deployment, and whether enough of it is available. Its other conditions stay as they are.
pub(super) fn counted(deployment: &Deployment, new: Option<&Set>, old: &[&Set], now: Timestamp) -> DeploymentStatus {
    let all = || old.iter().copied().chain(new);
    let bounds = Bounds::of(deployment);
    let available = available(all());
    let going = |set: &Set| set.object.status.terminating_replicas;
    let mut status = deployment.status.clone();
    status.observed_generation = deployment.metadata.generation;
    status.replicas = actual(all());
    status.updated_replicas = actual(new);
    status.ready_replicas = total(all(), |set| set.object.status.ready_replicas);
    status.available_replicas = available;
    status.unavailable_replicas = replicas(all()).saturating_sub(available).max(0);
    status.terminating_replicas = all().map(going).try_fold(0, |sum: i32, going| Some(sum.saturating_add(going?)));
    let enough = available >= bounds.replicas - bounds.max_unavailable;
    let (value, reason, message) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut status.conditions, condition("Available", value, reason, message, now));
    status
}

/// The whole status of a deployment that is rolling out: the counts, how it progresses, and what fails.
pub(super) fn rolling(deployment: &Deployment, new: Option<&Set>, old: &[&Set], now: Timestamp) -> DeploymentStatus {
    let mut status = counted(deployment, new, old, now);
    let subject = new.map_or_else(
        || format!("Deployment \"{}\"", deployment.metadata.name),
        |new| format!("ReplicaSet \"{}\"", new.name()),
    );
    let progressing = Condition::find(&deployment.status.conditions, "Progressing");
    let was_complete = status.replicas == status.updated_replicas
        && progressing.is_some_and(|progressing| progressing.reason == "NewReplicaSetAvailable");
    if deadline(deployment).is_none() {
        status.conditions.retain(|condition| condition.kind != "Progressing");
    } else if !was_complete {
        let say = |value, reason, message: &str| condition("Progressing", value, reason, message, now);
        if is_complete(deployment, &status) {
            let message = format!("{subject} has successfully progressed.");
            set(&mut status.conditions, say("True", "NewReplicaSetAvailable", &message));
        } else if has_progressed(&deployment.status, &status) {
            let mut told = say("True", "ReplicaSetUpdated", &format!("{subject} is progressing."));
            if let Some(before) = progressing.filter(|before| before.status == "True") {
                told.last_transition_time = before.last_transition_time;
            }
            status.conditions.retain(|condition| condition.kind != "Progressing");
            status.conditions.push(told);
        } else if time_left(deployment, now) == Some(Duration::ZERO) {
            let message = format!("{subject} has timed out progressing.");
            set(&mut status.conditions, say("False", "ProgressDeadlineExceeded", &message));
        }
    }
    match failure(new, old) {
        Some(failure) => set(&mut status.conditions, failure),
        None => status.conditions.retain(|condition| condition.kind != "ReplicaFailure"),
    }
    status
}

/// Whether everything a deployment asks for is there.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

/// How long it may still take until the roll-out counts as failed; zero when it does. `None` when nothing is waited
/// for.
pub(super) fn time_left(deployment: &Deployment, now: Timestamp) -> Option<Duration> {
    let deadline = deadline(deployment)?;
    let progressing = Condition::find(&deployment.status.conditions, "Progressing")?;
    match progressing.reason.as_str() {
        "NewReplicaSetAvailable" => None,
        "ProgressDeadlineExceeded" => Some(Duration::ZERO),
        _ => Some(deadline.saturating_sub(now.since(progressing.last_update_time?))),
    }
}

/// The deadline, unless there is none.
pub(super) fn deadline(deployment: &Deployment) -> Option<Duration> {
    let seconds = deployment.spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// A condition of a deployment, written now.
pub(super) fn condition(kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> Condition {
    Condition {
        last_update_time: Some(now),
        last_transition_time: Some(now),
        reason: reason.to_owned(),
        message: message.to_owned(),
        ..Condition::new(kind, status)
    }
}

/// Puts a condition among others, unless it says the same as before.
pub(super) fn set(conditions: &mut Vec<Condition>, mut new: Condition) {
    if let Some(old) = Condition::find(conditions, &new.kind) {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time = old.last_transition_time;
        }
    }
    conditions.retain(|condition| condition.kind != new.kind);
    conditions.push(new);
}

fn has_progressed(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    now.updated_replicas > before.updated_replicas
        || now.replicas.saturating_sub(now.updated_replicas) < before.replicas.saturating_sub(before.updated_replicas)
        || now.ready_replicas > before.ready_replicas
        || now.available_replicas > before.available_replicas
}

/// What a replica set could not do, the newest one first.
fn failure(new: Option<&Set>, old: &[&Set]) -> Option<Condition> {
    let sets = new.into_iter().chain(old.iter().copied());
    let mut failures = sets.filter_map(|set| Condition::find(&set.object.status.conditions, "ReplicaFailure")).cloned();
    failures.next().map(|failure| Condition { last_update_time: failure.last_transition_time, ..failure })
}
