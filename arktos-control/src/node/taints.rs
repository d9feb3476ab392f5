//! Taints: which a host is to have, and how long a pod puts up with them.

use std::time::Duration;

use arktos_core::typed::{Condition, Node, Taint, Toleration};
use arktos_core::{Object, Timestamp};

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep new pods away while they are true.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];

/// Whether a host is ready, as its `Ready` condition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    NotReady,
    Unknown,
}

pub(super) fn readiness(node: &Node) -> Readiness {
    match Condition::find(&node.status.conditions, "Ready").map(|ready| ready.status.as_str()) {
        Some("True") => Readiness::Ready,
        Some("False") => Readiness::NotReady,
        _ => Readiness::Unknown,
    }
}

/// The key of the taint for a readiness.
pub(super) fn key(readiness: Readiness) -> Option<&'static str> {
    match readiness {
        Readiness::Ready => None,
        Readiness::NotReady => Some(NOT_READY),
        Readiness::Unknown => Some(UNREACHABLE),
    }
}

/// Sets the taints that keep new pods away, as the host's conditions ask; says whether any changed.
pub(super) fn keep_away(node: &mut Node, now: Timestamp) -> bool {
    let mut wanted: Vec<&str> = Vec::new();
    let has_ready = Condition::find(&node.status.conditions, "Ready").is_some();
    wanted.extend(key(readiness(node)).filter(|_| has_ready));
    for (condition, key) in PRESSURES {
        if Condition::is_true(&node.status.conditions, condition) {
            wanted.push(key);
        }
    }
    if node.spec.unschedulable {
        wanted.push(UNSCHEDULABLE);
    }
    let ours: Vec<&str> =
        PRESSURES.iter().map(|(_, key)| *key).chain([NOT_READY, UNREACHABLE, UNSCHEDULABLE]).collect();
    set(node, "NoSchedule", &ours, &wanted, now)
}

/// Sets the taint that makes pods go, for a readiness; says whether any changed.
pub(super) fn drive_out(node: &mut Node, readiness: Readiness, now: Timestamp) -> bool {
    let wanted: Vec<&str> = key(readiness).into_iter().collect();
    set(node, "NoExecute", &[NOT_READY, UNREACHABLE], &wanted, now)
}

/// Whether the host has the taint that makes pods go, for a readiness.
pub(super) fn drives_out(node: &Node, readiness: Readiness) -> bool {
    let key = key(readiness);
    node.spec.taints.iter().any(|taint| taint.effect == "NoExecute" && Some(taint.key.as_str()) == key)
}

fn set(node: &mut Node, effect: &str, ours: &[&str], wanted: &[&str], now: Timestamp) -> bool {
    let before = node.spec.taints.len();
    let taints = &mut node.spec.taints;
    let stays = |taint: &Taint| taint.effect != effect || !ours.contains(&&*taint.key) || wanted.contains(&&*taint.key);
    taints.retain(stays);
    let mut changed = taints.len() != before;
    for key in wanted {
        if !taints.iter().any(|taint| taint.effect == effect && taint.key == *key) {
            taints.push(Taint {
                key: (*key).to_owned(),
                effect: effect.to_owned(),
                time_added: Some(now),
                ..Taint::default()
            });
            changed = true;
        }
    }
    changed
}

/// Writes a host's taints into its object.
pub(super) fn set_taints(object: &mut Object, node: &Node) {
    if node.spec.taints.is_empty() {
        object.remove(&["spec", "taints"]);
    } else {
        object.set(&["spec", "taints"], serde_json::json!(node.spec.taints));
    }
}

/// When a pod must leave a host with these taints: `None` when it puts up with all of them for good. Of several
/// tolerations of one taint the first counts. A host can show that it is there only to who has been `listening`, since
/// then; and a pod puts up with nothing before it is `there`.
pub(super) fn leaves_at(
    taints: &[Taint],
    tolerations: &[Toleration],
    (listening, there): (Timestamp, Timestamp),
    now: Timestamp,
) -> Option<Timestamp> {
    let until = |taint: &Taint| {
        let added = taint.time_added.unwrap_or(now).max(there);
        let since = if [NOT_READY, UNREACHABLE].contains(&&*taint.key) { added.max(listening) } else { added };
        let Some(bearing) = tolerations.iter().find(|it| tolerates(it, taint)) else { return Some(now) };
        let seconds = bearing.toleration_seconds?;
        Some(since.later(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
    };
    taints.iter().filter(|taint| taint.effect == "NoExecute").filter_map(until).min()
}

/// Whether a toleration is about a taint.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.is_empty() || toleration.effect == taint.effect;
    let key = toleration.key.is_empty() || toleration.key == taint.key;
    let value = match toleration.operator.as_str() {
        "Exists" => true,
        "" | "Equal" => !toleration.key.is_empty() && toleration.value == taint.value,
        _ => false,
    };
    effect && key && value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, added: i64) -> Taint {
        let time_added = Some(Timestamp::from_micros(added * 1_000_000));
        Taint { key: key.to_owned(), effect: "NoExecute".to_owned(), time_added, ..Taint::default() }
    }

    fn toleration(key: &str, seconds: Option<i64>) -> Toleration {
        let (key, operator) = (key.to_owned(), "Exists".to_owned());
        Toleration { key, operator, toleration_seconds: seconds, ..Toleration::default() }
    }

    #[test]
    fn a_pod_leaves_when_its_shortest_patience_is_over() {
        let now = Timestamp::from_micros(1_000_000_000);
        let leaves_at = |taints: &[Taint], bears: &[Toleration], now| {
            super::leaves_at(taints, bears, (Timestamp::from_micros(800_000_000), Timestamp::default()), now)
        };
        let at = |seconds: i64| Some(Timestamp::from_micros(seconds * 1_000_000));
        let gone = [taint(UNREACHABLE, 900)];
        assert_eq!(leaves_at(&[], &[], now), None);
        assert_eq!(leaves_at(&gone, &[], now), Some(now));
        assert_eq!(leaves_at(&gone, &[toleration(NOT_READY, None)], now), Some(now));
        assert_eq!(leaves_at(&gone, &[toleration(UNREACHABLE, None)], now), None);
        assert_eq!(leaves_at(&gone, &[toleration("", None)], now), None);
        assert_eq!(leaves_at(&gone, &[toleration(UNREACHABLE, Some(300))], now), at(1200));
        let mut two = [toleration(UNREACHABLE, Some(300)), toleration("", Some(20))];
        assert_eq!(leaves_at(&gone, &two, now), at(1200), "the first of two counts");
        two.reverse();
        assert_eq!(leaves_at(&gone, &two, now), at(920));
        let for_good = [toleration("", None), toleration(UNREACHABLE, Some(20))];
        assert_eq!(leaves_at(&gone, &for_good, now), None);
        let both = [taint(UNREACHABLE, 900), taint("mine", 910)];
        assert_eq!(leaves_at(&both, &[toleration(UNREACHABLE, Some(300))], now), Some(now));

        let late = |taint: Taint| {
            let bears = [toleration(&taint.key, Some(30))];
            super::leaves_at(&[taint], &bears, (Timestamp::from_micros(990_000_000), Timestamp::default()), now)
        };
        assert_eq!(late(taint(UNREACHABLE, 900)), at(1020), "nobody has listened for long");
        assert_eq!(late(taint("mine", 900)), at(930), "that says nothing of the host");
        let there = (Timestamp::default(), Timestamp::from_micros(950_000_000));
        let bears = [toleration("mine", Some(100))];
        assert_eq!(super::leaves_at(&[taint("mine", 900)], &bears, there, now), at(1050), "it came later");
    }
}
