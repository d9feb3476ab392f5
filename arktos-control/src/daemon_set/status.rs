//! What a daemon set's status says.

use arktos_core::typed::{DaemonSet, DaemonSetStatus};

use super::fits::Verdict;
use super::plan::{Newest, Place, by_age};

/// The status of a daemon set with these hosts. Of several pods on one host the oldest counts.
pub(super) fn status(set: &DaemonSet, places: &[Place], newest: &Newest) -> DaemonSetStatus {
    let mut status = set.status.clone();
    let (mut desired, mut current, mut astray) = (0, 0, 0);
    let (mut ready, mut available, mut updated) = (0, 0, 0);
    for place in places {
        if place.verdict != Verdict::Run {
            astray += i32::from(!place.pods.is_empty());
            continue;
        }
        desired += 1;
        let Some(pod) = place.pods.iter().min_by(|one, other| by_age(one, other)) else { continue };
        current += 1;
        ready += i32::from(pod.is_ready());
        available += i32::from(newest.available(pod));
        updated += i32::from(newest.made(pod));
    }
    status.desired_number_scheduled = desired;
    status.current_number_scheduled = current;
    status.number_misscheduled = astray;
    status.number_ready = ready;
    status.number_available = available;
    status.number_unavailable = desired - available;
    status.updated_number_scheduled = updated;
    status.observed_generation = set.metadata.generation;
    status
}
