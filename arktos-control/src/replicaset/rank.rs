//! Which pods go first when there are too many.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use arktos_core::Timestamp;

use crate::pod::{Phase, PodView};

/// The pods to delete, as upstream chooses them: first those without a host, then by phase, readiness, deletion cost,
/// how crowded their host is, how lately they became ready, restarts, and age.
pub(super) fn to_delete(
    active: &[Arc<PodView>],
    on_host: &HashMap<Box<str>, usize>,
    count: usize,
    now: Timestamp,
) -> Vec<Arc<PodView>> {
    let mut ranked: Vec<&Arc<PodView>> = active.iter().collect();
    ranked.sort_by(|one, other| order(one, other, on_host, now));
    ranked.into_iter().take(count).cloned().collect()
}

fn order(one: &PodView, other: &PodView, on_host: &HashMap<Box<str>, usize>, now: Timestamp) -> Ordering {
    let phase = |pod: &PodView| match pod.phase {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        _ => 2,
    };
    let by_state = |pod: &PodView| {
        let crowd = on_host.get(&pod.node).copied().unwrap_or(0);
        (!pod.node.is_empty(), phase(pod), pod.is_ready(), pod.deletion_cost, Reverse(crowd))
    };
    // Times are compared by their order of magnitude, so that age alone does not always hit the same host.
    let age = |since: Timestamp| now.since(since).as_secs().max(1).ilog2();
    let by_time = |pod: &PodView| (pod.ready_since.map(age), Reverse(pod.restarts), age(pod.created));
    by_state(one)
        .cmp(&by_state(other))
        .then_with(|| by_time(one).cmp(&by_time(other)))
        .then_with(|| one.uid().cmp(other.uid()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arktos_core::{Encoded, Object, ObjectPath, Revision};
    use arktos_store::Stored;
    use arktos_store::informer::Decode;
    use serde_json::json;

    use super::*;
    use crate::kinds::PODS;

    fn pod(name: &str, node: &str, phase: &str, ready: Option<&str>, cost: i32, restarts: u32) -> Arc<PodView> {
        let mut object = Object::from_value(json!({
            "metadata": {
                "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"controller.kubernetes.io/pod-deletion-cost": cost.to_string()},
            },
            "spec": {"nodeName": node},
            "status": {"phase": phase, "containerStatuses": [{"restartCount": restarts}]},
        }))
        .expect("an object");
        if let Some(since) = ready {
            object.set(
                &["status", "conditions"],
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]),
            );
        }
        let type_meta = Arc::new(PODS.type_meta.clone());
        let object = Encoded::encode(&type_meta, &object, &[]).expect("encodes");
        let stored = Stored { path: ObjectPath::new("t", "n", name), revision: Revision(1), object };
        Arc::new(PodView::decode(&stored).expect("a pod"))
    }

    #[test]
    fn pods_go_in_upstreams_order() {
        let early = Some("2026-01-01T00:01:00Z");
        let late = Some("2026-01-01T09:59:00Z");
        let expected = [
            pod("unassigned", "", "Pending", None, 0, 0),
            pod("pending", "n1", "Pending", None, 0, 0),
            pod("unready", "n1", "Running", None, 0, 0),
            pod("cheap", "n1", "Running", early, -5, 0),
            pod("crowded", "n2", "Running", early, 0, 0),
            pod("newly-ready", "n1", "Running", late, 0, 0),
            pod("restarted", "n1", "Running", early, 0, 3),
            pod("steady", "n1", "Running", early, 0, 0),
        ];
        let mut shuffled = expected.to_vec();
        shuffled.reverse();
        shuffled.swap(1, 5);
        let on_host = HashMap::from([("n1".into(), 1), ("n2".into(), 2)]);
        let now = Timestamp::parse("2026-01-01T10:00:00Z").expect("a time").later(Duration::ZERO);
        let names = |pods: &[Arc<PodView>]| pods.iter().map(|pod| pod.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&to_delete(&shuffled, &on_host, 8, now)), names(&expected));
        assert_eq!(to_delete(&shuffled, &on_host, 2, now).len(), 2);
    }
}
