//! Which pods of a daemon set are to be made and which are to go. Nothing here reads or writes.

use std::cmp::Ordering;
use std::sync::Arc;

use arktos_core::Timestamp;
use arktos_core::typed::{DaemonSet, IntOrString};

use super::fits::Verdict;
use super::template::{self, GENERATION};
use crate::history::REVISION;
use crate::pod::PodView;

/// A host, and the pods of a daemon set that are there or were made for it.
pub(super) struct Place {
    pub(super) host: Box<str>,
    pub(super) verdict: Verdict,
    pub(super) pods: Vec<Arc<PodView>>,
}

/// What the pods of a daemon set are held against.
pub(super) struct Newest {
    hash: String,
    generation: Option<String>,
    min_ready_seconds: u32,
    now: Timestamp,
    rolling: bool,
    max_unavailable: Option<IntOrString>,
    max_surge: Option<IntOrString>,
}

/// What is to be done.
#[derive(Default)]
pub(super) struct Plan {
    /// The hosts that get a pod.
    pub(super) create: Vec<Box<str>>,
    /// The pods that go.
    pub(super) delete: Vec<Arc<PodView>>,
    /// Pods that have ended where one is to run, with their hosts: these go as well, some of them not at once.
    pub(super) ended: Vec<(Box<str>, Arc<PodView>)>,
}

impl Newest {
    /// What a daemon set asks for now. `hash` is that of the revision of its template.
    pub(super) fn new(set: &DaemonSet, hash: &str, now: Timestamp) -> Self {
        let strategy = &set.spec.update_strategy;
        let rolling = strategy.kind == "RollingUpdate";
        let bounds = strategy.rolling_update.as_ref().filter(|_| rolling);
        Self {
            hash: hash.to_owned(),
            generation: template::generation(set),
            min_ready_seconds: u32::try_from(set.spec.min_ready_seconds).unwrap_or(0),
            now,
            rolling,
            max_unavailable: bounds.and_then(|bounds| bounds.max_unavailable.clone()),
            max_surge: bounds.and_then(|bounds| bounds.max_surge.clone()),
        }
    }

    /// Whether pods of older templates are replaced.
    pub(super) fn rolls(&self) -> bool {
        self.rolling
    }

    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// Whether a pod was made from the newest template.
    pub(super) fn made(&self, pod: &PodView) -> bool {
        let counted = pod.object().header().label(GENERATION);
        self.has_hash(pod) || (counted.is_some() && counted == self.generation.as_deref())
    }

    fn has_hash(&self, pod: &PodView) -> bool {
        pod.object().header().label(REVISION) == Some(self.hash.as_str())
    }

    pub(super) fn available(&self, pod: &PodView) -> bool {
        self.available_at(pod).is_some_and(|at| at <= self.now)
    }

    /// When a pod becomes available, where that is yet to come.
    pub(super) fn becomes_available(&self, pod: &PodView) -> Option<Timestamp> {
        self.available_at(pod).filter(|at| *at > self.now)
    }

    fn available_at(&self, pod: &PodView) -> Option<Timestamp> {
        pod.available_at(self.min_ready_seconds)
    }

    /// Whether a host may have a new pod beside an old one.
    fn surges(&self) -> bool {
        scaled(self.max_surge.as_ref(), 1) > 0
    }

    /// How many hosts may be without an available pod, and how many may have two, of so many.
    fn bounds(&self, desired: usize) -> (usize, usize) {
        let (unavailable, surge) =
            (scaled(self.max_unavailable.as_ref(), desired), scaled(self.max_surge.as_ref(), desired));
        if unavailable == 0 && surge == 0 { (1, 0) } else { (unavailable, surge) }
    }
}

fn scaled(bound: Option<&IntOrString>, total: usize) -> usize {
    let total = i32::try_from(total).unwrap_or(i32::MAX);
    bound.and_then(|bound| bound.scaled(total, true)).and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

/// The order in which pods of a host stay: those that are bound first, then by age.
pub(super) fn by_age(one: &PodView, other: &PodView) -> Ordering {
    let age = |pod: &PodView| (pod.node.is_empty(), pod.created);
    age(one).cmp(&age(other)).then_with(|| one.name().cmp(other.name()))
}

/// A pod where one is to run, and none where none is to be.
pub(super) fn manage(places: &[Place], newest: &Newest) -> Plan {
    let mut plan = Plan::default();
    for place in places {
        match place.verdict {
            Verdict::Run if place.pods.is_empty() => plan.create.push(place.host.clone()),
            Verdict::Run | Verdict::Stay => plan.settle(place, newest),
            Verdict::Go => plan.delete.extend(staying(place)),
        }
    }
    plan
}

/// The pods of a host that are not being deleted.
fn staying(place: &Place) -> impl Iterator<Item = Arc<PodView>> + '_ {
    place.pods.iter().filter(|pod| !pod.is_terminating()).cloned()
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty()
    }

    /// A host that has pods and may keep them: the oldest stays, or where new ones may be beside old ones, the oldest
    /// of each for as long as they need.
    fn settle(&mut self, place: &Place, newest: &Newest) {
        let (ended, mut running): (Vec<_>, Vec<_>) = staying(place).partition(|pod| pod.is_finished());
        self.ended.extend(ended.into_iter().map(|pod| (place.host.clone(), pod)));
        running.sort_by(|one, other| by_age(one, other));
        if !newest.surges() {
            self.delete.extend(running.into_iter().skip(1));
            return;
        }
        if running.is_empty() && place.verdict == Verdict::Run {
            self.create.push(place.host.clone()); // beside one that is going
        }
        if running.len() < 2 {
            return;
        }
        let (mut new, mut old) = (None, None);
        for pod in running {
            let kept = if newest.has_hash(&pod) { &mut new } else { &mut old };
            if kept.is_none() {
                *kept = Some(pod);
            } else {
                self.delete.push(pod);
            }
        }
        if let (Some(new), Some(old)) = (new, old)
            && (!old.is_ready() || newest.available(&new))
        {
            self.delete.push(old);
        }
    }
}

/// One step of a rolling update.
pub(super) fn roll(places: &[Place], newest: &Newest) -> Plan {
    let desired = places.iter().filter(|place| place.verdict == Verdict::Run).count();
    match newest.bounds(desired) {
        (unavailable, 0) => replace(places, newest, unavailable),
        (_, surge) => overlap(places, newest, surge, desired),
    }
}

/// The new and the old pod of a host.
type Pair<'a> = (Option<&'a Arc<PodView>>, Option<&'a Arc<PodView>>);

/// The two pods of a host; nothing where there are several of a sort.
fn pair<'a>(place: &'a Place, newest: &Newest) -> Option<Pair<'a>> {
    let (mut new, mut old) = (None, None);
    for pod in place.pods.iter().filter(|pod| !pod.is_terminating()) {
        let sort = if newest.made(pod) { &mut new } else { &mut old };
        if sort.is_some() {
            return None;
        }
        *sort = Some(pod);
    }
    Some((new, old))
}

/// Old pods go, no more of them than may be missing, and make room for new ones.
fn replace(places: &[Place], newest: &Newest, most: usize) -> Plan {
    let (mut plan, mut missing, mut candidates) = (Plan::default(), 0, Vec::new());
    for place in places {
        match pair(place, newest) {
            Some((Some(new), None)) => missing += usize::from(!newest.available(new)),
            Some((None, Some(old))) if newest.available(old) => candidates.push(old.clone()),
            Some((None, Some(old))) => {
                missing += 1;
                plan.delete.push(old.clone());
            }
            // There is none, or there are too many: that is seen to first.
            _ => missing += 1,
        }
    }
    plan.delete.extend(candidates.into_iter().take(most.saturating_sub(missing)));
    plan
}

/// New pods are made beside old ones, no more than may be too many, and old ones go when the new ones are available.
fn overlap(places: &[Place], newest: &Newest, most: usize, desired: usize) -> Plan {
    let (mut plan, mut surging, mut available) = (Plan::default(), 0, 0);
    let (mut candidates, mut unwanted) = (Vec::new(), Vec::new());
    for place in places {
        let Some((new, old)) = pair(place, newest) else {
            surging += 1;
            continue;
        };
        available += usize::from(old.or(new).is_some_and(|pod| newest.available(pod)));
        let Some(old) = old else { continue };
        match (new, newest.available(old), place.verdict) {
            (Some(new), ..) if newest.available(new) => plan.delete.push(old.clone()),
            (Some(_), ..) => surging += 1,
            (None, false, Verdict::Run) => plan.create.push(place.host.clone()),
            (None, false, _) => plan.delete.push(old.clone()),
            (None, true, Verdict::Run) => candidates.push(place.host.clone()),
            (None, true, _) => unwanted.push(old.clone()),
        }
    }
    // Where none is to run any more, one goes when another runs elsewhere instead.
    plan.delete.extend(unwanted.into_iter().take(available.saturating_sub(desired)));
    plan.create.extend(candidates.into_iter().take(most.saturating_sub(surging)));
    plan
}

#[cfg(test)]
pub(super) mod tests {
    use arktos_core::typed::KindOf;
    use arktos_core::{Encoded, Object, ObjectPath, Revision};
    use arktos_store::Stored;
    use arktos_store::informer::Decode;
    use serde_json::{Value, json};

    use super::*;
    use crate::kinds::PODS;

    /// A pod from its object.
    pub(crate) fn pod(name: &str, object: Value) -> Arc<PodView> {
        let object = Object::from_value(object).expect("an object");
        let object = Encoded::encode(&Arc::new(PODS.type_meta.clone()), &object, &[]).expect("encodes");
        let stored = Stored { path: ObjectPath::new("t", "n", name), revision: Revision(1), object };
        Arc::new(PodView::decode(&stored).expect("a pod"))
    }

    /// A pod of a template, made at a second of the minute, in one of a few states.
    fn made(name: &str, hash: &str, second: u32, state: &str) -> Arc<PodView> {
        let created = format!("2026-01-01T00:00:{second:02}Z");
        let mut object = json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": created, "labels": {REVISION: hash}},
            "spec": {"nodeName": "n"}, "status": {"phase": "Running"},
        });
        match state {
            "ready" => {
                let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": created}]);
                object["status"]["conditions"] = ready;
            }
            "failed" => object["status"]["phase"] = json!("Failed"),
            "going" => object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:10:00Z"),
            _ => {}
        }
        pod(name, object)
    }

    fn place(host: &str, verdict: Verdict, pods: &[Arc<PodView>]) -> Place {
        Place { host: host.into(), verdict, pods: pods.to_vec() }
    }

    fn newest(unavailable: Value, surge: Value) -> Newest {
        let strategy = json!({
            "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge},
        });
        let set = json!({"metadata": {"name": "d"}, "spec": {"updateStrategy": strategy}});
        let set = DaemonSet::from_object(&Object::from_value(set).expect("an object")).expect("a daemon set");
        Newest::new(&set, "new", Timestamp::parse("2026-01-01T01:00:00Z").expect("a time"))
    }

    fn shown(plan: &Plan) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
        (
            plan.create.iter().map(|host| &**host).collect(),
            plan.delete.iter().map(|pod| pod.name()).collect(),
            plan.ended.iter().map(|(_, pod)| pod.name()).collect(),
        )
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn each_host_gets_one_pod_and_keeps_the_oldest() {
        let places = [
            place("empty", Verdict::Run, &[]),
            place("tainted", Verdict::Stay, &[made("stays", "new", 1, "")]),
            place("going", Verdict::Run, &[made("g", "new", 1, "going")]),
            place("two", Verdict::Run, &[made("young", "new", 9, "ready"), made("old", "new", 1, "")]),
            place("failed", Verdict::Run, &[made("f", "new", 1, "failed")]),
            place("out", Verdict::Go, &[made("o", "new", 1, "ready"), made("p", "new", 1, "going")]),
        ];
        let plan = manage(&places, &newest(json!(1), json!(0)));
        assert_eq!(shown(&plan), (vec!["empty"], vec!["young", "o"], vec!["f"]));
        let plan = manage(&places, &newest(json!(0), json!(1)));
        assert_eq!(plan.create.iter().map(|host| &**host).collect::<Vec<_>>(), ["empty", "going", "failed"]);
    }

    #[test]
    fn a_new_pod_beside_an_old_one_takes_over_when_it_is_available() {
        let surge = newest(json!(0), json!(1));
        let gone = |old: &str, new: &str| {
            let pods = [made("old", "old", 1, old), made("new", "new", 2, new)];
            let plan = manage(&[place("n", Verdict::Run, &pods)], &surge);
            plan.delete.iter().map(|pod| pod.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(gone("ready", ""), NONE);
        assert_eq!(gone("ready", "ready"), ["old"]);
        assert_eq!(gone("", ""), ["old"]);
    }

    #[test]
    fn old_pods_go_no_more_than_may_be_missing() {
        let places = [
            place("a", Verdict::Run, &[made("a", "old", 1, "ready")]),
            place("b", Verdict::Run, &[made("b", "old", 1, "")]),
            place("c", Verdict::Run, &[made("c", "new", 1, "")]),
            place("d", Verdict::Run, &[made("d", "old", 1, "ready")]),
            place("e", Verdict::Run, &[]),
            place("f", Verdict::Run, &[made("f", "new", 1, "ready")]),
        ];
        let deleted = |unavailable: Value| {
            let plan = roll(&places, &newest(unavailable, json!(0)));
            assert!(plan.create.is_empty());
            plan.delete.iter().map(|pod| pod.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(deleted(json!(1)), ["b"], "what is not available goes first");
        assert_eq!(deleted(json!(3)), ["b"], "three are missing: of b, c and e");
        assert_eq!(deleted(json!(4)), ["b", "a"]);
        assert_eq!(deleted(json!("60%")), ["b", "a"]);
        assert_eq!(deleted(json!("100%")), ["b", "a", "d"]);
        assert_eq!(deleted(json!(0)), ["b"], "one, where neither is allowed");
    }

    #[test]
    fn new_pods_come_beside_old_ones_no_more_than_may_be_too_many() {
        let places = [
            place("a", Verdict::Run, &[made("a", "old", 1, "ready")]),
            place("b", Verdict::Run, &[made("b", "old", 1, "")]),
            place("c", Verdict::Run, &[made("c", "old", 1, "ready"), made("c2", "new", 2, "")]),
            place("d", Verdict::Run, &[made("d", "old", 1, "ready"), made("d2", "new", 2, "ready")]),
            place("e", Verdict::Run, &[made("e", "old", 1, "ready")]),
            place("f", Verdict::Stay, &[made("f", "old", 1, "ready")]),
        ];
        let shown = |places: &[Place], surge: i32| {
            let plan = roll(places, &newest(json!(0), json!(surge)));
            let hosts: Vec<String> = plan.create.iter().map(|host| host.to_string()).collect();
            (hosts, plan.delete.iter().map(|pod| pod.name().to_owned()).collect::<Vec<_>>())
        };
        let text = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(shown(&places, 1), (text(&["b"]), text(&["d"])), "c surges; b has nothing to lose");
        assert_eq!(shown(&places, 2), (text(&["b", "a"]), text(&["d"])));
        let enough = [
            place("a", Verdict::Run, &[made("a", "new", 1, "ready")]),
            place("f", Verdict::Stay, &[made("f", "old", 1, "ready")]),
        ];
        assert_eq!(shown(&enough, 1), (text(&[]), text(&["f"])), "another runs instead");
    }
}
