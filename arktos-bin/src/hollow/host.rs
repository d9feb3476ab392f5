//! One hollow host as a plain state machine: what it is told goes in, what it does comes out.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use arktos_core::{Encoded, Object, ObjectPath, Timestamp};
use arktos_store::{Delivery, Stored};
use serde_json::Value;

use super::report;

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
                if pod.object.is_some() {
                    pod.object = Some(stored.object.clone());
                }
                return;
            }
            _ => {}
        }
        let Ok(object) = stored.object.decode(None) else { return };
        let (stage, next) = match object.str_at(&["status", "phase"]) {
            _ if header.deletion().is_some() => (Stage::Stopping, Some(now.later(stop_time(&object)))),
            // Not seen before: a new pod, or one from before the host started.
            "Running" => (Stage::Running, run_time(&object, self.commands_end).map(|run| now.later(run))),
            "Succeeded" | "Failed" => (Stage::Finished, None),
            _ => (Stage::Starting, Some(now.later(self.start_delay))),
        };
        let address = self.pods.get(path).and_then(|pod| pod.address);
        let address = address.or_else(|| self.claim_address(&object, stage));
        let reports = stage == Stage::Starting || (stage == Stage::Running && next.is_some());
        let object = reports.then(|| stored.object.clone());
        self.pods
            .insert(path.clone(), Pod { uid: header.uid().into(), object, stage, address, next: None, untaken: None });
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
        let object = pod.object.as_ref().and_then(|object| object.decode(None).ok());
        let runs_until = object.as_ref().and_then(|pod| run_time(pod, self.commands_end)).map(|run| now.later(run));
        if let Some(action) = pod.untaken.take() {
            let ends = runs_until.filter(|_| pod.stage == Stage::Running);
            self.schedule(path, ends);
            return Some(action);
        }
        if pod.stage == Stage::Stopping {
            return Some(Action::Remove { path: path.clone(), uid: pod.uid.to_string() });
        }
        let object = object?;
        let (stage, next, patch) = match pod.stage {
            Stage::Starting if report::is_unpullable(&object) => {
                (Stage::Unpullable, None, report::unpullable(&object, address))
            }
            Stage::Starting => {
                let Some(last) = pod.address else {
                    // Every address is taken: try again when a pod may have gone.
                    self.schedule_retry(path, now);
                    return None;
                };
                let patch = report::running(&object, address, self.pod_address(last), now);
                (Stage::Running, runs_until, patch)
            }
            Stage::Running => (Stage::Finished, None, report::finished(&object, now)),
            Stage::Finished | Stage::Unpullable | Stage::Stopping => return None,
        };
        if let Some(pod) = self.pods.get_mut(path) {
            pod.stage = stage;
            if next.is_none() {
                pod.object = None;
            }
        }
        self.schedule(path, next);
        Some(Action::Report { path: path.clone(), patch })
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

/// How long a pod runs before it ends by itself; `None` for ever.
fn run_time(pod: &Object, commands_end: bool) -> Option<Duration> {
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
fn stop_time(pod: &Object) -> Duration {
    let grace = pod.int_at(&["metadata", "deletionGracePeriodSeconds"]).unwrap_or(30);
    let told = annotated_seconds(pod, "hollow.arktos.io/stop-seconds").unwrap_or(STOP_DEFAULT);
    told.min(Duration::from_secs(u64::try_from(grace).unwrap_or(0)))
}

fn annotated_seconds(pod: &Object, annotation: &str) -> Option<Duration> {
    let seconds: f64 = pod.str_at(&["metadata", "annotations", annotation]).parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arktos_core::{Encoded, Revision, TypeMeta};
    use serde_json::json;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

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
        assert_eq!(host.observe(&Delivery::Added(pod("web", json!({}))), START), []);
        assert_eq!(host.next_wake(), Some(at(2)));
        let actions = host.wake(at(2));
        assert_eq!(reported(&actions)["phase"], "Running");
        assert_eq!(reported(&actions)["podIP"], "10.128.0.2");
        assert_eq!(host.next_wake(), None);
    }

    #[test]
    fn two_pods_never_share_an_address_and_a_gone_one_gives_its_back() {
        let mut host = Host::new("h-1".to_owned(), 1, Duration::ZERO);
        let first = host.observe(&Delivery::Added(pod("a", json!({}))), START);
        let second = host.observe(&Delivery::Added(pod("b", json!({}))), START);
        assert_ne!(reported(&first)["podIP"], reported(&second)["podIP"]);
        host.observe(&Delivery::Deleted(pod("a", json!({}))), START);
        let third = host.observe(&Delivery::Added(pod("c", json!({}))), START);
        assert_eq!(reported(&third)["podIP"], reported(&first)["podIP"]);
    }

    #[test]
    fn a_deleted_pod_stops_within_its_grace_and_is_removed() {
        let mut host = Host::new("h-2".to_owned(), 2, Duration::ZERO);
        let slow = json!({"metadata": {"annotations": {"hollow.arktos.io/stop-seconds": "60"}}});
        host.observe(&Delivery::Added(pod("web", slow.clone())), START);
        let mut deleted = slow;
        merge(
            &mut deleted,
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5}}),
        );
        let deleted = pod("web", deleted);
        assert_eq!(host.observe(&Delivery::Modified(deleted.clone()), START), []);
        assert_eq!(host.wake(at(4)), []);
        assert_eq!(host.wake(at(5)), [Action::Remove { path: deleted.path, uid: "uid-web".to_owned() }]);
    }

    #[test]
    fn pods_of_jobs_end_and_say_how() {
        let mut host = Host::new("h-3".to_owned(), 3, Duration::ZERO);
        let owner = json!([{"kind": "Job", "name": "j", "uid": "u", "apiVersion": "batch/v1"}]);
        host.observe(&Delivery::Added(pod("j-1", json!({"metadata": {"ownerReferences": &owner}}))), START);
        assert_eq!(reported(&host.wake(at(1)))["phase"], "Succeeded");
        let mut sleeping = json!({"metadata": {"ownerReferences": owner}});
        sleeping["spec"] = json!({"containers": [{"name": "c", "image": "app:1", "command": ["sleep", "300"]}]});
        host.observe(&Delivery::Added(pod("j-2", sleeping)), START);
        assert_eq!(host.wake(at(299)), []);
        assert_eq!(reported(&host.wake(at(300)))["phase"], "Succeeded");
        let mut host = Host::new("h-3".to_owned(), 3, Duration::ZERO);
        let failing = json!({"metadata": {"annotations":
            {"hollow.arktos.io/exit-code": "3", "hollow.arktos.io/run-seconds": "1"}}});
        host.observe(&Delivery::Added(pod("f", failing)), START);
        let actions = host.wake(at(2));
        assert_eq!(reported(&actions)["phase"], "Failed");
        assert_eq!(reported(&actions)["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
    }

    #[test]
    fn after_a_restart_running_pods_keep_their_addresses() {
        let mut host = Host::new("h-4".to_owned(), 4, Duration::ZERO);
        let running = pod("old", json!({"status": {"phase": "Running", "podIP": "10.128.4.2"}}));
        assert_eq!(host.resync(&[running], START), []);
        let actions = host.observe(&Delivery::Added(pod("new", json!({}))), START);
        assert_eq!(reported(&actions)["podIP"], "10.128.4.3");
    }

    #[test]
    fn what_was_not_taken_is_sent_again() {
        let mut host = Host::new("h-6".to_owned(), 6, Duration::ZERO);
        let actions = host.observe(&Delivery::Added(pod("web", json!({}))), START);
        host.retry(actions[0].clone(), START);
        assert_eq!(host.wake(START), []);
        assert_eq!(host.wake(at(1)), actions);
        assert_eq!(host.next_wake(), None);
    }

    #[test]
    fn a_pod_that_is_deleted_while_its_report_waits_is_removed() {
        let mut host = Host::new("h-7".to_owned(), 7, Duration::ZERO);
        let actions = host.observe(&Delivery::Added(pod("web", json!({}))), START);
        host.retry(actions[0].clone(), START);
        let deletion = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0});
        let deleted = pod("web", json!({"metadata": deletion}));
        let removed = host.observe(&Delivery::Modified(deleted.clone()), START);
        assert_eq!(removed, [Action::Remove { path: deleted.path, uid: "uid-web".to_owned() }]);
    }

    #[test]
    fn a_pod_that_is_not_in_a_complete_list_is_forgotten() {
        let mut host = Host::new("h-5".to_owned(), 5, Duration::from_secs(5));
        host.observe(&Delivery::Added(pod("web", json!({}))), START);
        assert_eq!(host.resync(&[], START), []);
        assert_eq!(host.next_wake(), None);
    }
}
