//! Hosts that fall silent: marked, kept free, and left by their pods, each in its own partition. Whoever does not
//! answer loses nothing.

use std::sync::Arc;
use std::time::Duration;

use arktos_control::{Options, resource_manager};
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Reason, Status, Timestamp};
use arktos_store::client::DeleteOptions;
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::{Client, Clock};
use futures::executor::{LocalPool, block_on};
use futures::task::LocalSpawnExt;
use serde_json::{Value, json};

use crate::api::Api;
use crate::world::{condition, kinds};

struct Region {
    manager: Api,
    partitions: Vec<Api>,
    clock: ManualClock,
    pool: LocalPool,
}

fn create(api: &Api, resource: &str, path: &str, kind: &str, mut object: Value) {
    let path = ObjectPath::parse(path).expect("a path");
    object["kind"] = json!(kind);
    object["apiVersion"] = json!("v1");
    object["metadata"]["name"] = json!(path.name());
    let object = Object::from_value(object).expect("an object");
    let resource = GroupResource::from(resource.to_owned());
    block_on(api.create(&resource, path.tenant(), path.namespace(), object)).expect("created");
}

fn key(resource: &str, path: &str) -> ObjectKey {
    ObjectKey { resource: GroupResource::from(resource.to_owned()), path: ObjectPath::parse(path).expect("a path") }
}

fn find(api: &Api, resource: &str, path: &str) -> Option<Value> {
    let stored = block_on(api.get(&key(resource, path))).ok()?;
    Some(stored.object.decode(Some(stored.revision)).expect("decodes").into_value())
}

fn write(api: &Api, resource: &str, path: &str, part: Option<&str>, edit: impl FnOnce(&mut Value)) {
    let mut object = find(api, resource, path).expect("it is there");
    edit(&mut object);
    let object = Object::from_value(object).expect("an object");
    block_on(api.update(&key(resource, path), part, object)).expect("updated");
}

impl Region {
    /// A resource manager with hosts `node-1`… that are ready, and two partitions with the tenant `acme` each.
    fn new(hosts: usize) -> Self {
        let clock = ManualClock::new(Timestamp::parse("2026-11-23T10:00:00Z").expect("a time"));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let random = Arc::new(SeededRandom::new(7));
        let api = || Api::new(shared.clone(), random.clone());
        let (manager, partitions) = (api(), vec![api(), api()]);
        let clients: Vec<(String, Arc<dyn Client>)> = partitions
            .iter()
            .enumerate()
            .map(|(at, partition)| (format!("tp-{at}"), Arc::new(partition.clone()) as Arc<dyn Client>))
            .collect();
        let (_, kinds) = tokio::sync::watch::channel(kinds());
        let (client, options) = (Arc::new(manager.clone()), Options::new(kinds).resource_manager("rm-0"));
        let futures = resource_manager(client, clients, shared.clone(), random.clone(), options).expect("known");
        let pool = LocalPool::new();
        for (_, future) in futures {
            pool.spawner().spawn_local(future).expect("the pool runs");
        }
        create(&manager, "tenants", "//system", "Tenant", json!({"metadata": {}}));
        create(&manager, "namespaces", "system//kube-node-lease", "Namespace", json!({"metadata": {}}));
        for partition in &partitions {
            create(partition, "tenants", "//acme", "Tenant", json!({"metadata": {}}));
            create(partition, "namespaces", "acme//default", "Namespace", json!({"metadata": {}}));
        }
        let mut region = Self { manager, partitions, clock, pool };
        for host in 1..=hosts {
            create(&region.manager, "nodes", &format!("//node-{host}"), "Node", json!({"metadata": {}, "spec": {}}));
            let lease = json!({"metadata": {}, "spec": {"renewTime": "2026-11-23T10:00:00.000000Z"}});
            create(&region.manager, LEASES, &format!("system/kube-node-lease/node-{host}"), "Lease", lease);
            region.report(host, "True");
        }
        region.settle();
        region
    }

    fn settle(&mut self) {
        self.pool.run_until_stalled();
    }

    fn report(&mut self, host: usize, ready: &str) {
        write(&self.manager, "nodes", &format!("//node-{host}"), Some("status"), |node| {
            node["status"] = json!({"conditions": [{"type": "Ready", "status": ready, "reason": "KubeletReady"}]});
        });
    }

    /// Lets time pass while these hosts renew their leases.
    fn pass(&mut self, seconds: u64, hosts: &[usize]) {
        for second in 0..seconds {
            if second % 10 == 0 {
                let now = self.clock.now().to_micro_string();
                for host in hosts {
                    let path = format!("system/kube-node-lease/node-{host}");
                    write(&self.manager, LEASES, &path, None, |lease| lease["spec"]["renewTime"] = json!(now));
                }
            }
            self.clock.advance(Duration::from_secs(1));
            self.settle();
        }
    }

    /// A pod that is ready on a host, and puts up with its silence for a time.
    fn pod(&self, partition: usize, name: &str, host: usize, patience: Option<i64>) {
        let tolerations: Vec<Value> = patience
            .into_iter()
            .flat_map(|seconds| ["not-ready", "unreachable"].map(|key| (key, seconds)))
            .map(|(key, seconds)| {
                let key = format!("node.kubernetes.io/{key}");
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})
            })
            .collect();
        let pod = json!({"metadata": {}, "spec": {"nodeName": format!("node-{host}"), "tolerations": tolerations}});
        let path = format!("acme/default/{name}");
        create(&self.partitions[partition], "pods", &path, "Pod", pod);
        write(&self.partitions[partition], "pods", &path, Some("status"), |pod| {
            pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        });
    }

    fn node(&self, host: usize) -> Value {
        find(&self.manager, "nodes", &format!("//node-{host}")).expect("a node")
    }

    fn taints(&self, host: usize) -> Vec<String> {
        let node = self.node(host);
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let text = |taint: &Value| {
            let key = taint["key"].as_str().expect("a key").trim_start_matches("node.kubernetes.io/");
            format!("{key}:{}", taint["effect"].as_str().expect("an effect"))
        };
        let mut taints: Vec<String> = taints.iter().map(text).collect();
        taints.sort_unstable();
        taints
    }

    fn is_going(&self, partition: usize, name: &str) -> bool {
        let pod = find(&self.partitions[partition], "pods", &format!("acme/default/{name}")).expect("a pod");
        pod["metadata"].get("deletionTimestamp").is_some()
    }
}

const LEASES: &str = "leases.coordination.k8s.io";

#[test]
fn a_silent_host_is_marked_and_its_pods_leave_when_their_patience_is_over() {
    let mut region = Region::new(3);
    region.pod(0, "a", 1, Some(30));
    region.pod(1, "b", 1, Some(60));
    region.pod(1, "other", 2, Some(30));
    region.pass(40, &[2, 3]);
    assert_eq!(condition(&region.node(1), "Ready")["status"], "True", "its grace is not over");
    region.pass(10, &[2, 3]);
    let ready = condition(&region.node(1), "Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("Unknown"), &json!("NodeStatusUnknown")));
    assert_eq!(ready["message"], "Kubelet stopped posting node status.");
    assert_eq!(region.taints(1), ["unreachable:NoExecute", "unreachable:NoSchedule"]);
    assert_eq!(region.taints(2), Vec::<String>::new());
    let pod = find(&region.partitions[0], "pods", "acme/default/a").expect("a pod");
    assert_eq!(condition(&pod, "Ready")["status"], "False");
    assert!(!region.is_going(0, "a"));
    region.pass(30, &[2, 3]);
    assert!(region.is_going(0, "a"));
    assert!(!region.is_going(1, "b"));
    region.pass(40, &[2, 3]);
    assert!(region.is_going(1, "b"));
    assert!(!region.is_going(1, "other"));
    let pod = find(&region.partitions[0], "pods", "acme/default/a").expect("a pod");
    assert_eq!(condition(&pod, "DisruptionTarget")["reason"], "DeletionByTaintManager");
}

#[test]
fn a_host_that_comes_back_keeps_its_pods() {
    let mut region = Region::new(3);
    region.pod(0, "a", 1, Some(300));
    region.pass(60, &[2, 3]);
    assert_eq!(region.taints(1).len(), 2);
    region.report(1, "True");
    region.pass(20, &[1, 2, 3]);
    assert_eq!(region.taints(1), Vec::<String>::new());
    region.pass(600, &[1, 2, 3]);
    assert!(!region.is_going(0, "a"));
}

#[test]
fn a_host_that_says_it_is_not_ready_is_left_too() {
    let mut region = Region::new(3);
    region.pod(0, "a", 1, None);
    region.report(1, "False");
    region.pass(10, &[1, 2, 3]);
    assert_eq!(region.taints(1), ["not-ready:NoExecute", "not-ready:NoSchedule"]);
    assert!(region.is_going(0, "a"), "without a toleration it leaves at once");
}

#[test]
fn a_taint_that_does_not_say_since_when_it_is_there_is_put_up_with_for_as_long_as_a_pod_says() {
    let mut region = Region::new(2);
    let pod = |region: &Region, name: &str| {
        let bears = json!({"key": "mine", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30});
        let pod = json!({"metadata": {}, "spec": {"nodeName": "node-1", "tolerations": [bears]}});
        create(&region.partitions[0], "pods", &format!("acme/default/{name}"), "Pod", pod);
    };
    pod(&region, "first");
    write(&region.manager, "nodes", "//node-1", None, |node| {
        node["spec"]["taints"] = json!([{"key": "mine", "effect": "NoExecute"}]);
    });
    region.pass(25, &[1, 2]);
    assert!(!region.is_going(0, "first"));
    pod(&region, "second");
    region.pass(15, &[1, 2]);
    assert!(region.is_going(0, "first"));
    assert!(!region.is_going(0, "second"), "it came later");
    region.pass(30, &[1, 2]);
    assert!(region.is_going(0, "second"));
}

#[test]
fn when_nobody_is_heard_of_nobody_is_driven_out() {
    let mut region = Region::new(3);
    region.pod(0, "a", 1, Some(10));
    region.pass(300, &[]);
    assert_eq!(condition(&region.node(1), "Ready")["status"], "Unknown");
    assert_eq!(region.taints(1), ["unreachable:NoSchedule"]);
    assert!(!region.is_going(0, "a"));
}

#[test]
fn while_the_manager_does_not_answer_no_time_counts() {
    let mut region = Region::new(3);
    region.pod(0, "a", 1, None);
    region.pass(10, &[1, 2, 3]);
    region.manager.fail("list", LEASES, Status::failure(Reason::ServiceUnavailable, "not now"));
    region.pass(600, &[2, 3]);
    assert_eq!(condition(&region.node(1), "Ready")["status"], "True");
    region.manager.heal();
    region.pass(30, &[2, 3]);
    assert_eq!(condition(&region.node(1), "Ready")["status"], "True", "its grace begins anew");
    assert!(!region.is_going(0, "a"));
    region.pass(30, &[2, 3]);
    assert!(region.is_going(0, "a"));
}

#[test]
fn a_manager_that_was_held_up_gives_pods_on_silent_hosts_their_whole_time_anew() {
    let mut region = Region::new(3);
    region.pod(0, "a", 1, Some(100));
    region.pod(1, "b", 1, Some(100));
    region.pass(60, &[2, 3]);
    assert_eq!(region.taints(1).len(), 2);
    region.clock.advance(Duration::from_secs(3600));
    region.settle();
    region.pass(80, &[2, 3]);
    assert!(!region.is_going(0, "a") && !region.is_going(1, "b"), "the host could tell nobody that it is back");
    region.report(1, "True");
    region.pass(20, &[1, 2, 3]);
    assert_eq!(region.taints(1), Vec::<String>::new());
    region.pass(300, &[1, 2, 3]);
    assert!(!region.is_going(0, "a"));

    region.pass(60, &[2, 3]);
    region.clock.advance(Duration::from_secs(3600));
    region.settle();
    region.pass(120, &[2, 3]);
    assert!(region.is_going(0, "a") && region.is_going(1, "b"), "it had its time, and was not heard of");
}

#[test]
fn a_partition_that_does_not_answer_holds_up_no_other() {
    let mut region = Region::new(3);
    region.pod(0, "a", 1, None);
    region.pod(1, "b", 1, None);
    region.partitions[0].fail("list", "pods", Status::failure(Reason::ServiceUnavailable, "not now"));
    region.pass(60, &[2, 3]);
    assert!(region.is_going(1, "b"));
    assert!(!region.is_going(0, "a"));
    region.partitions[0].heal();
    region.pass(120, &[2, 3]);
    assert!(region.is_going(0, "a"));
}

#[test]
fn a_partition_that_is_held_holds_up_no_other_however_many_hosts_are_silent() {
    // More hosts than workers are silent, and not so many of all that nobody is driven out; each has pods in both.
    let (silent, all) = (40, 120);
    let mut region = Region::new(all);
    let heard: Vec<usize> = (silent + 1..=all).collect();
    for host in 1..=silent {
        region.pod(0, &format!("a-{host}"), host, Some(0));
        region.pod(1, &format!("b-{host}"), host, Some(0));
    }
    region.pass(10, &(1..=all).collect::<Vec<_>>());
    region.partitions[0].pause(true);
    region.pass(60, &heard);
    let first = region.partitions[0].requests("list", "pods");
    // One host of a zone after the other is left, every ten seconds.
    region.pass(10 * silent as u64, &heard);
    let still: Vec<usize> = (1..=silent).filter(|host| !region.is_going(1, &format!("b-{host}"))).collect();
    assert_eq!(still, Vec::<usize>::new(), "they are where everybody answers");
    assert!((1..=silent).all(|host| !region.is_going(0, &format!("a-{host}"))));
    let asked = region.partitions[0].requests("list", "pods") - first;
    assert!(asked <= silent + 10, "a partition that does not answer is asked {asked} times");
    region.partitions[0].heal();
    region.pass(60, &heard);
    assert!((1..=silent).all(|host| region.is_going(0, &format!("a-{host}"))), "it answers again");
}

#[test]
fn pods_on_another_managers_host_of_the_same_name_are_left_alone() {
    let mut region = Region::new(3);
    region.pod(0, "a", 1, None);
    let path = ObjectPath::parse("acme/default/a").expect("a path");
    let pod = ObjectKey { resource: GroupResource::core("pods"), path };
    let stored = block_on(region.partitions[0].get(&pod)).expect("a pod");
    let mut object = stored.object.decode(Some(stored.revision)).expect("decodes");
    object.notes.insert("resource-manager".to_owned(), "rm-1".to_owned());
    object.set(&["metadata", "labels"], json!({"changed": "yes"}));
    block_on(region.partitions[0].update(&pod, None, object)).expect("updated");
    region.pass(120, &[2, 3]);
    assert_eq!(region.taints(1).len(), 2);
    assert!(!region.is_going(0, "a"));
}

/// Notes on a pod whose host it was bound to.
fn bound_by(region: &Region, partition: usize, name: &str, manager: &str) {
    let path = ObjectPath::new("acme", "default", name);
    let pod = ObjectKey { resource: GroupResource::core("pods"), path };
    let stored = block_on(region.partitions[partition].get(&pod)).expect("a pod");
    let mut object = stored.object.decode(Some(stored.revision)).expect("decodes");
    object.notes.insert("resource-manager".to_owned(), manager.to_owned());
    object.set(&["metadata", "labels"], json!({"changed": "yes"}));
    block_on(region.partitions[partition].update(&pod, None, object)).expect("updated");
}

#[test]
fn the_pods_of_a_host_that_was_deleted_go_in_all_partitions_and_no_others() {
    let mut region = Region::new(3);
    for (partition, name, host, manager) in [
        (0, "a", 1, "rm-0"),
        (1, "b", 1, "rm-0"),
        (0, "stays", 2, "rm-0"),
        (1, "theirs", 1, "rm-1"),
        (1, "back", 3, "rm-0"),
    ] {
        region.pod(partition, name, host, None);
        bound_by(&region, partition, name, manager);
    }
    region.pod(0, "unknown", 1, None);
    let is_there = |region: &Region, partition: usize, name: &str| {
        find(&region.partitions[partition], "pods", &format!("acme/default/{name}")).is_some()
            && !region.is_going(partition, name)
    };
    for host in [1, 3] {
        block_on(region.manager.delete(&key("nodes", &format!("//node-{host}")), DeleteOptions::default()))
            .expect("deleted");
    }
    region.pass(30, &[2]);
    assert!(is_there(&region, 0, "a") && is_there(&region, 1, "b"), "it may register anew");
    create(&region.manager, "nodes", "//node-3", "Node", json!({"metadata": {}, "spec": {}}));
    region.report(3, "True");
    region.partitions[1].fail("list", "pods", Status::failure(Reason::ServiceUnavailable, "away"));
    region.pass(20, &[2, 3]);
    assert!(!is_there(&region, 0, "a"));
    assert!(is_there(&region, 1, "b"), "its partition does not answer");
    region.partitions[1].heal();
    region.pass(60, &[2, 3]);
    assert!(!is_there(&region, 1, "b"));
    for (partition, name) in [(0, "stays"), (1, "theirs"), (1, "back"), (0, "unknown")] {
        assert!(is_there(&region, partition, name), "{name}");
    }
}

#[test]
fn a_host_that_was_deleted_while_nobody_looked_is_found_by_its_pods() {
    let mut region = Region::new(1);
    region.pod(0, "a", 9, None);
    bound_by(&region, 0, "a", "rm-0");
    create(&region.manager, "namespaces", "system//default-abc", "Namespace", json!({"metadata": {}}));
    create(
        &region.manager,
        "pods",
        "system/default-abc/a",
        "Pod",
        json!({"metadata": {}, "spec": {"nodeName": "node-9"}}),
    );
    region.pass(50, &[1]);
    assert!(!region.is_going(0, "a"));
    region.pass(60, &[1]);
    let is_left = |region: &Region, partition: usize, name: &str| {
        let left = find(&region.partitions[partition], "pods", &format!("acme/default/{name}"));
        left.is_some_and(|pod| pod["metadata"].get("deletionTimestamp").is_none())
    };
    assert!(!is_left(&region, 0, "a"));

    // Those of a partition that was away at first are shown later.
    region.pod(1, "b", 8, None);
    bound_by(&region, 1, "b", "rm-0");
    let shown = json!({"metadata": {}, "spec": {"nodeName": "node-8"}});
    create(&region.manager, "pods", "system/default-abc/b", "Pod", shown);
    region.pass(200, &[1]);
    assert!(!is_left(&region, 1, "b"));
}

#[test]
fn pods_that_are_shown_here_are_nobodys_garbage() {
    let mut region = Region::new(1);
    create(&region.manager, "namespaces", "system//default-abc", "Namespace", json!({"metadata": {}}));
    let reference = |kind: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "web", "uid": "u"}]);
    for (name, kind) in [("of-a-set", "ReplicaSet"), ("of-nothing-known", "Rocket")] {
        let pod = json!({"metadata": {"ownerReferences": reference(kind)}, "spec": {"nodeName": "node-1"}});
        create(&region.manager, "pods", &format!("system/default-abc/{name}"), "Pod", pod);
        let map = json!({"metadata": {"ownerReferences": reference(kind)}});
        create(&region.manager, "configmaps", &format!("system/default-abc/{name}"), "ConfigMap", map);
    }
    region.pass(30, &[1]);
    for name in ["of-a-set", "of-nothing-known"] {
        let path = format!("system/default-abc/{name}");
        assert!(find(&region.manager, "pods", &path).is_some(), "its owner is in a partition");
        assert!(find(&region.manager, "configmaps", &path).is_some());
    }
    assert_eq!(region.manager.requests("delete", "pods"), 0);
}

#[test]
fn the_lease_of_a_host_goes_with_it() {
    let mut region = Region::new(2);
    let uid = region.node(1)["metadata"]["uid"].clone();
    write(&region.manager, LEASES, "system/kube-node-lease/node-1", None, |lease| {
        let node = json!({"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": uid});
        lease["metadata"]["ownerReferences"] = json!([node]);
    });
    region.settle();
    block_on(region.manager.delete(&key("nodes", "//node-1"), DeleteOptions::default())).expect("deleted");
    region.settle();
    assert_eq!(find(&region.manager, LEASES, "system/kube-node-lease/node-1"), None);
    assert!(find(&region.manager, LEASES, "system/kube-node-lease/node-2").is_some());
}

#[test]
fn a_host_that_is_cordoned_is_tainted() {
    let mut region = Region::new(1);
    write(&region.manager, "nodes", "//node-1", None, |node| node["spec"]["unschedulable"] = json!(true));
    region.settle();
    assert_eq!(region.taints(1), ["unschedulable:NoSchedule"]);
    write(&region.manager, "nodes", "//node-1", None, |node| {
        node["spec"].as_object_mut().expect("a map").remove("unschedulable");
    });
    region.settle();
    assert_eq!(region.taints(1), Vec::<String>::new());
}

#[test]
fn hosts_fall_one_after_the_other() {
    let mut region = Region::new(6);
    region.pass(70, &[3, 4, 5, 6]);
    let out = |region: &Region| (1..=2).filter(|host| region.taints(*host).len() == 2).count();
    assert!(out(&region) >= 1);
    let mut region = Region::new(6);
    region.pass(47, &[3, 4, 5, 6]);
    assert_eq!(out(&region), 1, "the second one waits");
    region.pass(13, &[3, 4, 5, 6]);
    assert_eq!(out(&region), 2);
}

/// One host has the pods of many tenants, and each has policies and webhooks of its own.
#[test]
fn what_one_tenant_refuses_keeps_nobody_elses_pods_on_a_host() {
    let mut region = Region::new(3);
    let partition = region.partitions[0].clone();
    create(&partition, "tenants", "//aaa", "Tenant", json!({"metadata": {}}));
    create(&partition, "namespaces", "aaa//default", "Namespace", json!({"metadata": {}}));
    let pod = json!({"metadata": {}, "spec": {"nodeName": "node-1"}, "status": {"phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}]}});
    create(&partition, "pods", "aaa/default/first", "Pod", pod);
    let denied = Status::forbidden(&GroupResource::core("pods"), "first", "denied by a policy");
    partition.fail_in("aaa", "update", "pods", denied);
    region.pod(0, "a", 1, None);
    region.pass(60, &[2, 3]);
    let pod = find(&region.partitions[0], "pods", "acme/default/a").expect("a pod");
    assert_eq!(condition(&pod, "Ready")["status"], "False");
    assert!(region.is_going(0, "a"));
}

/// A host writes its own object and lease.
#[test]
fn what_one_host_has_written_keeps_no_other_from_being_looked_at() {
    let mut region = Region::new(3);
    let lease = "system/kube-node-lease/node-2";
    write(&region.manager, LEASES, lease, None, |lease| lease["spec"]["renewTime"] = json!("never"));
    write(&region.manager, "nodes", "//node-3", None, |node| node["spec"]["taints"] = json!("none"));
    region.pass(60, &[]);
    assert_eq!(condition(&region.node(1), "Ready")["status"], "Unknown");
    assert_eq!(condition(&region.node(2), "Ready")["status"], "Unknown");
}
