//! One hollow host as a plain state machine: what it is told goes in, what it does comes out.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use arktos_core::{Encoded, Object, ObjectPath, Timestamp};
use arktos_store::{Delivery, Stored};
use serde_json::Value;

use super::{report, times};

/// Addresses of one host: a /24 without its network, gateway and broadcast addresses.
const ADDRESSES: std::ops::RangeInclusive<u8> = 2..=254;

/// A host and the pods it plays.
pub struct Host {
    name: String,
    number: usize,
    start_delay: Duration,
    commands_end: bool,
    pods: HashMap<ObjectPath, Pod>,
    due: BTreeSet<(Timestamp, ObjectPath)>,
    free: BTreeSet<u8>,
}

struct Pod {
    uid: Box<str>,
    /// As it was last seen, for as long as there is something left to report of it: a host has many pods that just run.
    object: Option<Encoded>,
    /// The generation that was reported of it.
    generation: i64,
    /// Of one with readiness gates: whether it was reported ready.
    gated: Option<bool>,
    stage: Stage,
    address: Option<u8>,
    next: Option<Timestamp>,
    untaken: Option<Action>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Unpullable,
    Running,
    Finished,
    Stopping,
}

/// What a host wants done at its resource manager.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Report a pod's status: a strategic merge patch.
    Report {
        /// The pod.
        path: ObjectPath,
        /// The patch.
        patch: Value,
    },
    /// Say that a pod has ended for good: delete it without further grace.
    Remove {
        /// The pod.
        path: ObjectPath,
        /// Its uid.
        uid: String,
    },
}

impl Host {
    /// A host without pods. Its number decides its addresses.
    #[must_use]
    pub fn new(name: String, number: usize, start_delay: Duration) -> Self {
        let (pods, due, free) = (HashMap::new(), BTreeSet::new(), ADDRESSES.collect());
        Self { name, number, start_delay, commands_end: false, pods, due, free }
    }

    /// The same, on which a pod that is not to be restarted and says which command it runs ends, as those of Jobs do.
    #[must_use]
    pub fn whose_commands_end(self) -> Self {
        Self { commands_end: true, ..self }
    }

    /// The host's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host's own address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        let number = u32::try_from(self.number).unwrap_or(u32::MAX) & 0x000f_ffff;
        Ipv4Addr::from(0xac10_0000 | number) // 172.16.0.0/12
    }

    /// The range its pods' addresses come from.
    #[must_use]
    pub fn pod_range(&self) -> String {
        format!("{}/24", self.pod_address(0))
    }

    fn pod_address(&self, last: u8) -> Ipv4Addr {
        // 10.128.0.0/9: the lower half of 10.0.0.0/8 is where service addresses come from.
        let range = u32::try_from(self.number).unwrap_or(u32::MAX) & 0x7fff;
        Ipv4Addr::from(0x0a80_0000 | (range << 8) | u32::from(last))
    }

    /// When the host next does something by itself.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.due.first().map(|(moment, _)| *moment)
    }

    /// Takes in what the watch of its pods says.
    pub fn observe(&mut self, delivery: &Delivery, now: Timestamp) -> Vec<Action> {
        match delivery {
            Delivery::Added(stored) | Delivery::Modified(stored) => self.see(stored, now),
            Delivery::Deleted(stored) => self.forget(&stored.path),
            Delivery::Bookmark(_) => {}
        }
        self.wake(now)
    }

    /// Takes in a complete list of its pods, after it lost touch.
    pub fn resync(&mut self, pods: &[Stored], now: Timestamp) -> Vec<Action> {
        let listed: std::collections::HashSet<&ObjectPath> = pods.iter().map(|stored| &stored.path).collect();
        let gone: Vec<ObjectPath> = self.pods.keys().filter(|path| !listed.contains(path)).cloned().collect();
        gone.iter().for_each(|path| self.forget(path));
        pods.iter().for_each(|stored| self.see(stored, now));
        self.wake(now)
    }

    /// Does what is due.
    pub fn wake(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some((moment, path)) = self.due.first().cloned() {
            if moment > now {
                break;
            }
            self.due.pop_first();
            actions.extend(self.advance(&path, now));
        }
        actions
    }

    /// Takes back what the resource manager did not take, to try again in a while.
    pub fn retry(&mut self, action: Action, now: Timestamp) {
        let (Action::Report { path, .. } | Action::Remove { path, .. }) = &action;
        let path = path.clone();
        if let Some(pod) = self.pods.get_mut(&path) {
            pod.untaken = Some(action);
            self.schedule(&path, Some(now.later(Duration::from_secs(1))));
        }
    }

    fn see(&mut self, stored: &Stored, now: Timestamp) {
        let (header, path) = (stored.object.header(), &stored.path);
        match self.pods.get_mut(path) {
            Some(pod) if *pod.uid != *header.uid() => self.forget(path),
            // It stops already, or is told nothing that a host acts on.
            Some(pod) if pod.stage == Stage::Stopping || header.deletion().is_none() => {
                let opened = || {
                    let object = pod.gated.and_then(|_| stored.object.decode(None).ok());
                    object.is_some_and(|object| report::gates_are_open(&object) != pod.gated)
                };
                let changed = pod.stage.lasts() && (times::generation(stored) != pod.generation || opened());
                if changed || pod.object.is_some() {
                    pod.object = Some(stored.object.clone());
                }
                if changed {
                    self.schedule(path, Some(now));
                }
                return;
            }
            _ => {}
        }
        let Ok(object) = stored.object.decode(None) else { return };
        let (stage, next) = match object.str_at(&["status", "phase"]) {
            _ if header.deletion().is_some() => (Stage::Stopping, Some(now.later(times::stop_time(&object)))),
            // Not seen before: a new pod, or one from before the host started.
            "Running" if times::observed(&object) != report::generation(&object) => (Stage::Running, Some(now)),
            "Running" => (Stage::Running, self.end(&object, now)),
            "Succeeded" | "Failed" => (Stage::Finished, None),
            _ => (Stage::Starting, Some(now.later(self.start_delay))),
        };
        let address = self.pods.get(path).and_then(|pod| pod.address);
        let address = address.or_else(|| self.claim_address(&object, stage));
        let reports = stage == Stage::Starting || (stage == Stage::Running && next.is_some());
        let (uid, generation) = (header.uid().into(), times::observed(&object));
        let gated = report::gates_are_open(&object).map(|_| report::is_ready(&object));
        let object = reports.then(|| stored.object.clone());
        let pod = Pod { uid, object, generation, gated, stage, address, next: None, untaken: None };
        self.pods.insert(path.clone(), pod);
        self.schedule(path, next);
    }

    /// The address the pod says it has, or a free one for a pod about to start.
    fn claim_address(&mut self, object: &Object, stage: Stage) -> Option<u8> {
        let told: Option<Ipv4Addr> = object.str_at(&["status", "podIP"]).parse().ok();
        let told = told.filter(|address| self.pod_address(address.octets()[3]) == *address).map(|ip| ip.octets()[3]);
        match told.or_else(|| (stage == Stage::Starting).then(|| self.free.first().copied()).flatten()) {
            Some(last) if self.free.remove(&last) => Some(last),
            _ => None,
        }
    }

    fn schedule(&mut self, path: &ObjectPath, next: Option<Timestamp>) {
        let Some(pod) = self.pods.get_mut(path) else { return };
        if let Some(old) = std::mem::replace(&mut pod.next, next) {
            self.due.remove(&(old, path.clone()));
        }
        self.due.retain(|(_, due)| due != path);
        if let Some(moment) = next {
            self.due.insert((moment, path.clone()));
        }
    }

    fn forget(&mut self, path: &ObjectPath) {
        self.due.retain(|(_, due)| due != path);
        if let Some(address) = self.pods.remove(path).and_then(|pod| pod.address) {
            self.free.insert(address);
        }
    }

    fn advance(&mut self, path: &ObjectPath, now: Timestamp) -> Option<Action> {
        let address = self.address();
        let pod = self.pods.get_mut(path)?;
        pod.next = None;
        let untaken = pod.untaken.take();
        let (stage, given, reported, gated) = (pod.stage, pod.address, pod.generation, pod.gated);
        let object = pod.object.as_ref().and_then(|object| object.decode(None).ok());
        if let Some(action) = untaken {
            let behind = |pod: &Object| {
                stage.lasts() && (report::generation(pod) != reported || report::gates_are_open(pod) != gated)
            };
            let next = object.and_then(|pod| if behind(&pod) { Some(now) } else { self.end(&pod, now) });
            self.schedule(path, next.filter(|_| stage.lasts()));
            return Some(action);
        }
        if stage == Stage::Stopping {
            return Some(Action::Remove { path: path.clone(), uid: pod.uid.to_string() });
        }
        let object = object?;
        let changed = report::generation(&object) != reported || report::gates_are_open(&object) != gated;
        let (stage, next, patch) = match stage {
            Stage::Starting if report::is_unpullable(&object) => {
                (Stage::Unpullable, times::deadline(&object, now), report::unpullable(&object, address, now))
            }
            Stage::Starting => {
                let Some(last) = given else {
                    // Every address is taken: try again when a pod may have gone.
                    self.schedule_retry(path, now);
                    return None;
                };
                let patch = report::running(&object, address, self.pod_address(last), now);
                (Stage::Running, self.end(&object, now), patch)
            }
            Stage::Running if changed => {
                let since = times::started(&object).unwrap_or(now);
                (Stage::Running, self.end(&object, since), report::followed(&object, now))
            }
            Stage::Unpullable if changed => {
                // It may have another image now.
                self.pods.get_mut(path)?.stage = Stage::Starting;
                self.schedule(path, Some(now.later(self.start_delay)));
                return None;
            }
            Stage::Running if self.ends_by_itself(&object) => (Stage::Finished, None, report::finished(&object, now)),
            Stage::Running | Stage::Unpullable => (Stage::Finished, None, report::overdue(&object, now)),
            Stage::Finished | Stage::Stopping => return None,
        };
        if let Some(pod) = self.pods.get_mut(path) {
            pod.stage = stage;
            pod.generation = report::generation(&object);
            pod.gated = report::gates_are_open(&object);
            if next.is_none() {
                pod.object = None;
            }
        }
        self.schedule(path, next);
        Some(Action::Report { path: path.clone(), patch })
    }

    /// When a pod ends that has run since some moment: by itself, or because it may not be there for longer.
    fn end(&self, pod: &Object, since: Timestamp) -> Option<Timestamp> {
        let by_itself = times::run_time(pod, self.commands_end).map(|run| since.later(run));
        by_itself.into_iter().chain(times::deadline(pod, since)).min()
    }

    /// Whether a pod ends by itself before it has to.
    fn ends_by_itself(&self, pod: &Object) -> bool {
        let run = times::run_time(pod, self.commands_end);
        run.is_some_and(|run| times::active_time(pod).is_none_or(|longest| run <= longest))
    }

    fn schedule_retry(&mut self, path: &ObjectPath, now: Timestamp) {
        let free = self.free.pop_first();
        if let Some(pod) = self.pods.get_mut(path) {
            pod.address = free;
            pod.next = None;
        }
        self.schedule(path, Some(now.later(Duration::from_secs(1))));
    }
}

impl Stage {
    /// Whether a pod stays in it, and may be changed meanwhile.
    fn lasts(self) -> bool {
        matches!(self, Self::Running | Self::Unpullable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arktos_core::{Encoded, Revision, TypeMeta};
    use serde_json::json;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn added(stored: Stored) -> Delivery {
        Delivery::Added(stored.into())
    }

    fn modified(stored: Stored) -> Delivery {
        Delivery::Modified(stored.into())
    }

    fn deleted(stored: Stored) -> Delivery {
        Delivery::Deleted(stored.into())
    }

    fn stored(fields: Value) -> Stored {
        let object = Object::from_value(fields).expect("an object");
        let path = ObjectPath::new("system", "ns", object.name());
        let encoded = Encoded::encode(&Arc::new(TypeMeta::new("", "v1", "Pod")), &object, &[]).expect("encodes");
        Stored { path, revision: Revision(1), object: encoded }
    }

    fn pod(name: &str, more: Value) -> Stored {
        let mut fields = json!({
            "metadata": {"name": name, "uid": format!("uid-{name}")},
            "spec": {"containers": [{"name": "main", "image": "app:1"}]}, "status": {"phase": "Pending"},
        });
        merge(&mut fields, more);
        stored(fields)
    }

    fn merge(into: &mut Value, more: Value) {
        let Value::Object(more) = more else { return *into = more };
        for (key, value) in more {
            merge(&mut into[key], value);
        }
    }

    fn reported(actions: &[Action]) -> &Value {
        match actions {
            [Action::Report { patch, .. }] => &patch["status"],
            other => panic!("expected one report, got {other:?}"),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        START.later(Duration::from_secs(seconds))
    }

    #[test]
    fn a_pod_runs_with_an_address_after_its_start_delay() {
        let mut host = Host::new("h-0".to_owned(), 0, Duration::from_secs(2));
        assert_eq!(host.observe(&added(pod("web", json!({}))), START), []);
        assert_eq!(host.next_wake(), Some(at(2)));
        let actions = host.wake(at(2));
        assert_eq!(reported(&actions)["phase"], "Running");
        assert_eq!(reported(&actions)["podIP"], "10.128.0.2");
        assert_eq!(host.next_wake(), None);
    }

    #[test]
    fn two_pods_never_share_an_address_and_a_gone_one_gives_its_back() {
        let mut host = Host::new("h-1".to_owned(), 1, Duration::ZERO);
        let first = host.observe(&added(pod("a", json!({}))), START);
        let second = host.observe(&added(pod("b", json!({}))), START);
        assert_ne!(reported(&first)["podIP"], reported(&second)["podIP"]);
        host.observe(&deleted(pod("a", json!({}))), START);
        let third = host.observe(&added(pod("c", json!({}))), START);
        assert_eq!(reported(&third)["podIP"], reported(&first)["podIP"]);
    }

    #[test]
    fn a_deleted_pod_stops_within_its_grace_and_is_removed() {
        let mut host = Host::new("h-2".to_owned(), 2, Duration::ZERO);
        let slow = json!({"metadata": {"annotations": {"hollow.arktos.io/stop-seconds": "60"}}});
        host.observe(&added(pod("web", slow.clone())), START);
        let mut ending = slow;
        merge(
            &mut ending,
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5}}),
        );
        let ending = pod("web", ending);
        assert_eq!(host.observe(&modified(ending.clone()), START), []);
        assert_eq!(host.wake(at(4)), []);
        assert_eq!(host.wake(at(5)), [Action::Remove { path: ending.path, uid: "uid-web".to_owned() }]);
    }

    #[test]
    fn pods_of_jobs_end_and_say_how() {
        let mut host = Host::new("h-3".to_owned(), 3, Duration::ZERO);
        let owner = json!([{"kind": "Job", "name": "j", "uid": "u", "apiVersion": "batch/v1"}]);
        host.observe(&added(pod("j-1", json!({"metadata": {"ownerReferences": &owner}}))), START);
        assert_eq!(reported(&host.wake(at(1)))["phase"], "Succeeded");
        let mut sleeping = json!({"metadata": {"ownerReferences": owner}});
        sleeping["spec"] = json!({"containers": [{"name": "c", "image": "app:1", "command": ["sleep", "300"]}]});
        host.observe(&added(pod("j-2", sleeping)), START);
        assert_eq!(host.wake(at(299)), []);
        assert_eq!(reported(&host.wake(at(300)))["phase"], "Succeeded");
        let mut host = Host::new("h-3".to_owned(), 3, Duration::ZERO);
        let failing = json!({"metadata": {"annotations":
            {"hollow.arktos.io/exit-code": "3", "hollow.arktos.io/run-seconds": "1"}}});
        host.observe(&added(pod("f", failing)), START);
        let actions = host.wake(at(2));
        assert_eq!(reported(&actions)["phase"], "Failed");
        assert_eq!(reported(&actions)["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
    }

    /// The pod as its host's report leaves it.
    fn followed(base: &Value, patch: &Value, more: Value) -> Stored {
        let mut fields = json!({"status": patch});
        merge(&mut fields, base.clone());
        merge(&mut fields, more);
        fields["status"]["phase"] = patch["phase"].clone();
        pod("web", fields)
    }

    #[test]
    fn a_change_of_a_pod_that_runs_is_followed_once() {
        let mut host = Host::new("h-8".to_owned(), 8, Duration::ZERO);
        let first = json!({"metadata": {"generation": 1},
            "status": {"conditions": [{"type": "PodScheduled", "status": "True"}]}});
        let actions = host.observe(&added(pod("web", first)), START);
        let status = reported(&actions).clone();
        let scheduled = json!({"type": "PodScheduled", "observedGeneration": 1});
        assert_eq!(status["conditions"].as_array().and_then(|all| all.last()), Some(&scheduled));
        let first = json!({"metadata": {"generation": 1}});
        assert_eq!(
            (&status["observedGeneration"], &status["conditions"][0]["observedGeneration"]),
            (&json!(1), &json!(1))
        );
        let echo = modified(followed(&first, &status, json!({})));
        assert_eq!(host.observe(&echo, at(1)), [], "its own report is no change");

        let resources = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}});
        let changed = modified(followed(
            &first,
            &status,
            json!({"metadata": {"generation": 2}, "spec": {
                "containers": [{"name": "main", "image": "app:1", "resources": resources}, {"name": "more", "image": "b:1"}],
                "ephemeralContainers": [{"name": "debug", "image": "tools:1"}],
            }}),
        ));
        let actions = host.observe(&changed, at(2));
        let now = reported(&actions);
        assert_eq!((&now["observedGeneration"], &now["conditions"][0]["observedGeneration"]), (&json!(2), &json!(2)));
        let main = &now["containerStatuses"][0];
        assert_eq!((&main["resources"], &main["allocatedResources"]), (&resources, &json!({"cpu": "1"})));
        assert_eq!(now["containerStatuses"][1]["resources"], json!({}), "none, and it can be given some");
        assert_eq!((&main["restartCount"], &main["state"]), (&json!(0), &status["containerStatuses"][0]["state"]));
        assert!(now["ephemeralContainerStatuses"][0]["state"]["running"].is_object(), "{now}");
        assert_eq!(host.observe(&changed, at(3)), [], "it is reported already");

        let image =
            json!({"metadata": {"generation": 3}, "spec": {"containers": [{"name": "main", "image": "app:2"}]}});
        let actions = host.observe(&modified(followed(&first, &status, image)), at(4));
        let main = &reported(&actions)["containerStatuses"][0];
        assert_eq!((&main["image"], &main["restartCount"]), (&json!("app:2"), &json!(1)));
        assert_eq!(host.next_wake(), None);
    }

    #[test]
    fn a_pod_is_ready_when_its_readiness_gates_are_open() {
        let mut host = Host::new("h-11".to_owned(), 11, Duration::ZERO);
        let gated = json!({"spec": {"readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]}});
        let status = reported(&host.observe(&added(pod("web", gated.clone())), START)).clone();
        let ready = |status: &Value| {
            let conditions = status["conditions"].as_array().expect("conditions");
            conditions.iter().find(|condition| condition["type"] == "Ready").expect("it is said")["status"].clone()
        };
        assert_eq!(ready(&status), "False");
        let told = |conditions: &[(&str, &str)]| {
            let said = |(kind, status): &(&str, &str)| json!({"type": kind, "status": status});
            let conditions: Vec<Value> = conditions.iter().map(said).collect();
            let mut more = gated.clone();
            more["status"] = json!({"phase": "Running", "conditions": conditions});
            modified(pod("web", more))
        };
        assert_eq!(host.observe(&told(&[("Ready", "False"), ("a", "True")]), at(1)), [], "one of two");
        let both = told(&[("Ready", "False"), ("a", "True"), ("b", "True")]);
        assert_eq!(ready(reported(&host.observe(&both, at(2)))), "True");
        assert_eq!(host.observe(&told(&[("Ready", "True"), ("a", "True"), ("b", "True")]), at(3)), []);
        let closed = told(&[("Ready", "True"), ("a", "False"), ("b", "True")]);
        assert_eq!(ready(reported(&host.observe(&closed, at(4)))), "False");
    }

    #[test]
    fn a_pod_ends_when_it_has_been_there_for_as_long_as_it_may() {
        let mut host = Host::new("h-9".to_owned(), 9, Duration::ZERO);
        let first = json!({"metadata": {"generation": 1}});
        let actions = host.observe(&added(pod("web", first.clone())), START);
        let status = reported(&actions).clone();
        let limited = json!({"metadata": {"generation": 2}, "spec": {"activeDeadlineSeconds": 5}});
        let actions = host.observe(&modified(followed(&first, &status, limited)), at(2));
        assert_eq!(reported(&actions)["observedGeneration"], 2);
        assert_eq!(host.wake(at(4)), []);
        let actions = host.wake(at(5));
        assert_eq!(
            (&reported(&actions)["phase"], &reported(&actions)["reason"]),
            (&json!("Failed"), &json!("DeadlineExceeded"))
        );
        let late = json!({"spec": {"activeDeadlineSeconds": 5, "containers": [{"name": "c", "image": "app:404"}]}});
        let actions = host.observe(&added(pod("late", late)), START);
        assert_eq!(reported(&actions)["phase"], "Pending");
        assert_eq!(reported(&host.wake(at(5)))["reason"], "DeadlineExceeded");
    }

    #[test]
    fn a_pod_that_was_changed_while_its_host_was_away_is_followed() {
        let mut host = Host::new("h-10".to_owned(), 10, Duration::ZERO);
        let behind = json!({"metadata": {"generation": 3}, "status": {"phase": "Running", "observedGeneration": 2}});
        let actions = host.resync(&[pod("old", behind)], START);
        assert_eq!(reported(&actions)["observedGeneration"], 3);
        let told = json!({"metadata": {"generation": 3}, "status": {"phase": "Running", "observedGeneration": 3}});
        assert_eq!(host.observe(&modified(pod("old", told)), START), []);
    }

    #[test]
    fn after_a_restart_running_pods_keep_their_addresses() {
        let mut host = Host::new("h-4".to_owned(), 4, Duration::ZERO);
        let running = pod("old", json!({"status": {"phase": "Running", "podIP": "10.128.4.2"}}));
        assert_eq!(host.resync(&[running], START), []);
        let actions = host.observe(&added(pod("new", json!({}))), START);
        assert_eq!(reported(&actions)["podIP"], "10.128.4.3");
    }

    #[test]
    fn what_was_not_taken_is_sent_again() {
        let mut host = Host::new("h-6".to_owned(), 6, Duration::ZERO);
        let actions = host.observe(&added(pod("web", json!({}))), START);
        host.retry(actions[0].clone(), START);
        assert_eq!(host.wake(START), []);
        assert_eq!(host.wake(at(1)), actions);
        assert_eq!(host.next_wake(), None);
    }

    #[test]
    fn a_pod_that_is_deleted_while_its_report_waits_is_removed() {
        let mut host = Host::new("h-7".to_owned(), 7, Duration::ZERO);
        let actions = host.observe(&added(pod("web", json!({}))), START);
        host.retry(actions[0].clone(), START);
        let deletion = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0});
        let ending = pod("web", json!({"metadata": deletion}));
        let removed = host.observe(&modified(ending.clone()), START);
        assert_eq!(removed, [Action::Remove { path: ending.path, uid: "uid-web".to_owned() }]);
    }

    #[test]
    fn a_pod_that_is_not_in_a_complete_list_is_forgotten() {
        let mut host = Host::new("h-5".to_owned(), 5, Duration::from_secs(5));
        host.observe(&added(pod("web", json!({}))), START);
        assert_eq!(host.resync(&[], START), []);
        assert_eq!(host.next_wake(), None);
    }
}
