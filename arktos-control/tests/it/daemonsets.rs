//! Daemon sets: a pod on each host that fits, rolled out and back.

use arktos_core::{Reason, Revision, Status};
use arktos_store::Within;
use arktos_store::client::Propagation;
use serde_json::{Value, json};

use crate::world::{World, made_for, path_of};

const SETS: &str = "daemonsets.apps";
const REVISIONS: &str = "controllerrevisions.apps";
const LOGS: &str = "acme/default/logs";

fn set() -> Value {
    json!({
        "metadata": {"name": "logs", "annotations": {"team": "ops"}},
        "spec": {
            "selector": {"matchLabels": {"app": "logs"}}, "revisionHistoryLimit": 10,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "template": {
                "metadata": {"labels": {"app": "logs"}},
                "spec": {"containers": [{"name": "logs", "image": "logs:1"}]},
            },
        },
    })
}

fn add_hosts(world: &mut World, hosts: impl IntoIterator<Item = usize>) {
    for host in hosts {
        let node = json!({"metadata": {"name": format!("node-{host}"), "labels": {"disk": "ssd"}}, "spec": {}});
        world.create("nodes", "", "", node).expect("a host");
    }
}

/// So many hosts, and this daemon set, whose pods run.
fn started(hosts: usize, set: Value) -> World {
    let mut world = World::new("daemonset");
    add_hosts(&mut world, 1..=hosts);
    world.create(SETS, "acme", "default", set).expect("created");
    world.run_pods();
    world
}

fn pods(world: &World) -> Vec<Value> {
    world.list("pods", Within::Everywhere)
}

fn is_going(pod: &Value) -> bool {
    pod["metadata"].get("deletionTimestamp").is_some()
}

/// The hosts that pods were made for and that are not being deleted, in order.
fn hosts(world: &World) -> Vec<String> {
    let staying = pods(world).into_iter().filter(|pod| !is_going(pod));
    let mut hosts: Vec<String> = staying.map(|pod| made_for(&pod).expect("a host")).collect();
    hosts.sort_unstable();
    hosts
}

fn status(world: &World, field: &str) -> i64 {
    world.get(SETS, LOGS)["status"][field].as_i64().unwrap_or(0)
}

fn image(world: &mut World, image: &str) {
    world.edit(SETS, LOGS, |set| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image));
}

/// The revisions by their numbers: number, hash, image.
fn revisions(world: &World) -> Vec<(i64, String, String)> {
    let mut all: Vec<_> = world
        .list(REVISIONS, Within::Everywhere)
        .iter()
        .map(|revision| {
            let hash = revision["metadata"]["labels"]["controller-revision-hash"].as_str().expect("a hash");
            let template = &revision["data"]["spec"]["template"];
            assert_eq!(template["$patch"], "replace");
            let image = template["spec"]["containers"][0]["image"].as_str().expect("an image");
            (revision["revision"].as_i64().expect("a number"), hash.to_owned(), image.to_owned())
        })
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn each_host_gets_a_pod_and_so_does_a_new_one() {
    let mut world = started(3, set());
    assert_eq!(hosts(&world), ["node-1", "node-2", "node-3"]);
    assert_eq!(world.api.requests("create", "pods"), 3, "nothing is made twice");
    for field in ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable"] {
        assert_eq!(status(&world, field), 3, "{field}");
    }
    assert_eq!((status(&world, "updatedNumberScheduled"), status(&world, "observedGeneration")), (3, 1));
    assert_eq!((status(&world, "numberMisscheduled"), status(&world, "numberUnavailable")), (0, 0));
    let revision = &world.list(REVISIONS, Within::Everywhere)[0];
    let hash = &revision["metadata"]["labels"]["controller-revision-hash"];
    assert_eq!(revision["metadata"]["name"], format!("logs-{}", hash.as_str().expect("a hash")));
    assert_eq!(revision["metadata"]["labels"]["app"], "logs");
    assert_eq!(revision["metadata"]["annotations"]["team"], "ops");
    assert_eq!(revision["metadata"]["ownerReferences"][0]["kind"], "DaemonSet");
    let pod = &pods(&world)[0];
    assert_eq!(&pod["metadata"]["labels"]["controller-revision-hash"], hash);
    assert!(pod["metadata"]["name"].as_str().expect("a name").starts_with("logs-"));
    assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(6));
    add_hosts(&mut world, [4]);
    world.settle();
    assert_eq!(hosts(&world).last().map(String::as_str), Some("node-4"));
    assert_eq!((status(&world, "desiredNumberScheduled"), status(&world, "numberUnavailable")), (4, 1));
    assert_eq!(world.events("SuccessfulCreate").len(), 4);
    assert!(world.events("SuccessfulCreate").iter().all(|told| told.starts_with("Created pod: logs-")));
}

#[test]
fn a_pod_for_a_host_that_goes_before_it_is_bound_goes_too_and_a_bound_one_is_left() {
    let mut world = World::new("daemonset");
    add_hosts(&mut world, 1..=2);
    world.create(SETS, "acme", "default", set()).expect("created");
    world.settle();
    world.delete("nodes", "//node-2", None);
    world.settle();
    assert_eq!(hosts(&world), ["node-1"]);
    world.run_pods();
    world.delete("nodes", "//node-1", None);
    world.settle();
    assert_eq!(hosts(&world), ["node-1"], "its resource manager removes it");
    assert_eq!(status(&world, "desiredNumberScheduled"), 0);
}

/// Unreachable is not gone.
#[test]
fn hosts_that_nobody_has_told_of_yet_are_not_taken_for_gone() {
    let (shown, hosts_shown) = tokio::sync::watch::channel(None);
    let mut world = World::with_options(|options| options.controllers("daemonset").hosts(Some(hosts_shown)));
    add_hosts(&mut world, [1]);
    let made = world.create(SETS, "acme", "default", set()).expect("created");
    let uid = &made["metadata"]["uid"];
    let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "logs", "uid": uid, "controller": true});
    let by_name = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-9"]}]}]);
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": by_name}});
    let pod = json!({
        "metadata": {"name": "far", "labels": {"app": "logs"}, "ownerReferences": [owner]},
        "spec": {"affinity": {"nodeAffinity": required}},
    });
    world.create("pods", "acme", "default", pod).expect("created");
    world.settle();
    assert_eq!(hosts(&world), ["node-1", "node-9"], "hosts that are known get theirs");
    assert_eq!(status(&world, "desiredNumberScheduled"), 0, "nothing is counted");
    shown.send_replace(Some(Revision(1)));
    world.settle();
    assert_eq!(hosts(&world), ["node-1"]);
    assert_eq!(status(&world, "desiredNumberScheduled"), 1);
}

#[test]
fn labels_and_taints_say_where_pods_are() {
    let mut chosen = set();
    chosen["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    let mut world = started(3, chosen);
    world.create("nodes", "", "", json!({"metadata": {"name": "node-4"}, "spec": {}})).expect("a host");
    world.settle();
    assert_eq!(hosts(&world), ["node-1", "node-2", "node-3"]);
    world.edit("nodes", "//node-1", |node| node["metadata"]["labels"] = json!({"disk": "hdd"}));
    world.edit("nodes", "//node-4", |node| node["metadata"]["labels"] = json!({"disk": "ssd"}));
    world.run_pods();
    assert_eq!(hosts(&world), ["node-2", "node-3", "node-4"]);
    let taint = |effect: &str| json!([{"key": "mine", "effect": effect}]);
    world.edit("nodes", "//node-2", |node| node["spec"]["taints"] = taint("NoSchedule"));
    world.run_pods();
    assert_eq!(hosts(&world), ["node-2", "node-3", "node-4"], "what runs stays");
    assert_eq!((status(&world, "desiredNumberScheduled"), status(&world, "numberMisscheduled")), (2, 1));
    world.edit("nodes", "//node-3", |node| node["spec"]["taints"] = taint("NoExecute"));
    world.run_pods();
    assert_eq!(hosts(&world), ["node-2", "node-4"]);
    let stays = pods(&world).into_iter().find(|pod| made_for(pod).as_deref() == Some("node-2")).expect("a pod");
    world.delete("pods", &path_of(&stays), None);
    world.run_pods();
    assert_eq!(hosts(&world), ["node-4"], "no new one comes");
    for host in ["//node-2", "//node-3"] {
        world.edit("nodes", host, |node| node["spec"]["taints"] = json!([]));
    }
    world.run_pods();
    assert_eq!(hosts(&world), ["node-2", "node-3", "node-4"]);
}

#[test]
fn a_new_template_is_rolled_out_with_no_more_missing_than_allowed_and_back() {
    let mut bounded = set();
    bounded["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!("40%");
    let mut world = started(4, bounded);
    let first = revisions(&world)[0].1.clone();
    image(&mut world, "logs:2");
    world.settle();
    assert_eq!(pods(&world).iter().filter(|pod| is_going(pod)).count(), 2, "40% of four, rounded up");
    assert_eq!(status(&world, "updatedNumberScheduled"), 0);
    world.run_pods();
    assert_eq!(status(&world, "updatedNumberScheduled"), 4);
    let all = revisions(&world);
    assert_eq!(
        all.iter().map(|(number, _, image)| (*number, image.as_str())).collect::<Vec<_>>(),
        [(1, "logs:1"), (2, "logs:2")]
    );
    image(&mut world, "logs:1");
    world.run_pods();
    let back = revisions(&world);
    assert_eq!(back.len(), 2, "the old revision is used again");
    assert_eq!((back[1].0, &back[1].1), (3, &first));
    let hash = |pod: &Value| pod["metadata"]["labels"]["controller-revision-hash"].as_str() == Some(&*first);
    assert!(pods(&world).iter().all(hash));
    assert_eq!((pods(&world).len(), status(&world, "observedGeneration")), (4, 3));
}

#[test]
fn with_a_surge_old_pods_go_when_new_ones_are_available() {
    let mut surging = set();
    surging["spec"]["updateStrategy"]["rollingUpdate"] = json!({"maxUnavailable": 0, "maxSurge": 1});
    let mut world = started(2, surging);
    image(&mut world, "logs:2");
    world.settle();
    assert_eq!(hosts(&world), ["node-1", "node-1", "node-2"], "one beside an old one");
    assert_eq!(status(&world, "numberAvailable"), 2);
    world.run_pods();
    assert_eq!(hosts(&world), ["node-1", "node-2"]);
    assert_eq!((status(&world, "updatedNumberScheduled"), status(&world, "numberAvailable")), (2, 2));
}

#[test]
fn where_pods_are_replaced_on_deletion_only_that_replaces_them() {
    let mut patient = set();
    patient["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let mut world = started(2, patient);
    image(&mut world, "logs:2");
    world.run_pods();
    assert_eq!(status(&world, "updatedNumberScheduled"), 0);
    let first = path_of(&pods(&world)[0]);
    world.delete("pods", &first, None);
    world.run_pods();
    assert_eq!((status(&world, "updatedNumberScheduled"), status(&world, "currentNumberScheduled")), (1, 2));
    let images: Vec<String> = revisions(&world).into_iter().map(|(_, _, image)| image).collect();
    assert_eq!(images, ["logs:1", "logs:2"]);
}

#[test]
fn old_revisions_are_kept_up_to_the_limit() {
    let mut short = set();
    short["spec"]["revisionHistoryLimit"] = json!(1);
    let mut world = started(1, short);
    for version in 2..5 {
        image(&mut world, &format!("logs:{version}"));
        world.run_pods();
    }
    let kept: Vec<i64> = revisions(&world).into_iter().map(|(number, ..)| number).collect();
    assert_eq!(kept, [3, 4]);
}

#[test]
fn a_name_that_is_taken_by_another_template_is_avoided() {
    let mut world = World::new("daemonset");
    world.create(SETS, "acme", "default", set()).expect("created");
    world.settle();
    let (_, taken, _) = revisions(&world)[0].clone();
    world.delete(SETS, LOGS, None);
    world.edit(REVISIONS, &format!("acme/default/logs-{taken}"), |revision| {
        revision["metadata"].as_object_mut().expect("a map").remove("ownerReferences");
        revision["metadata"]["labels"] = json!({});
        revision["data"]["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    });
    world.create(SETS, "acme", "default", set()).expect("created");
    world.pass(2);
    assert_eq!(world.get(SETS, LOGS)["status"]["collisionCount"], 1);
    assert_eq!(world.list(REVISIONS, Within::Everywhere).len(), 2);
}

#[test]
fn a_failed_pod_is_made_anew_and_not_too_often() {
    let mut world = started(1, set());
    let fail = |world: &mut World| {
        let path = path_of(&pods(world)[0]);
        world.set_pod(&path, "Failed", false);
        world.settle();
    };
    fail(&mut world);
    let told = world.events("FailedDaemonPod");
    assert!(told[0].starts_with("Found failed daemon pod default/logs-"), "{told:?}");
    assert!(told[0].ends_with(" on node node-1, will try to kill it"), "{told:?}");
    world.run_pods();
    assert_eq!((pods(&world).len(), status(&world, "numberReady")), (1, 1));
    fail(&mut world);
    assert!(pods(&world).iter().all(|pod| !is_going(pod)), "too soon");
    world.pass(1);
    world.run_pods();
    assert_eq!((pods(&world).len(), status(&world, "numberReady")), (1, 1));
    assert_eq!(world.events("FailedDaemonPod").len(), 2);
    let path = path_of(&pods(&world)[0]);
    world.set_pod(&path, "Succeeded", false);
    world.settle();
    assert!(world.events("SucceededDaemonPod")[0].ends_with(" on node node-1, will try to delete it"));
}

#[test]
fn a_pod_that_fits_is_taken_and_the_older_of_two_stays() {
    let mut world = started(1, set());
    world.pass(1);
    let stray = json!({"metadata": {"name": "a-stray", "labels": {"app": "logs"}}, "spec": {"nodeName": "node-1"}});
    world.create("pods", "acme", "default", stray).expect("created");
    world.settle();
    let stray = world.get("pods", "acme/default/a-stray");
    assert_eq!(stray["metadata"]["ownerReferences"][0]["name"], "logs");
    assert!(is_going(&stray), "it is the younger one");
    world.run_pods();
    assert_eq!(hosts(&world), ["node-1"]);
    let path = path_of(&pods(&world)[0]);
    world.edit("pods", &path, |pod| pod["metadata"]["labels"]["app"] = json!("other"));
    world.run_pods();
    assert_eq!(world.get("pods", &path)["metadata"].get("ownerReferences"), None, "it was let go");
    assert_eq!(pods(&world).len(), 2);
}

#[test]
fn a_pod_that_was_taken_counts_before_it_shows_as_taken() {
    let mut world = World::new("daemonset");
    add_hosts(&mut world, [1]);
    let stray = json!({"metadata": {"name": "stray", "labels": {"app": "logs"}}, "spec": {"nodeName": "node-1"}});
    world.create("pods", "acme", "default", stray).expect("created");
    world.settle();
    world.api.fail("watching", "pods", Status::failure(Reason::ServiceUnavailable, "away"));
    world.create(SETS, "acme", "default", set()).expect("created");
    world.settle();
    let taken = world.get("pods", "acme/default/stray");
    assert_eq!(taken["metadata"]["ownerReferences"][0]["name"], "logs");
    world.edit(SETS, LOGS, |set| set["metadata"]["annotations"]["look"] = json!("again"));
    world.settle();
    world.api.heal();
    world.pass(60);
    assert_eq!(world.api.requests("create", "pods"), 1, "none but the one that was there");
    assert_eq!(pods(&world).len(), 1);
    assert_eq!(status(&world, "currentNumberScheduled"), 1);
}

#[test]
fn a_daemon_set_that_is_being_deleted_makes_nothing() {
    let mut world = started(2, set());
    world.delete(SETS, LOGS, Some(Propagation::Foreground));
    for pod in pods(&world) {
        world.delete("pods", &path_of(&pod), None);
    }
    world.run_pods();
    assert_eq!(pods(&world), Vec::<Value>::new());
}

#[test]
fn what_is_refused_is_tried_carefully_and_again() {
    let mut world = World::new("daemonset");
    add_hosts(&mut world, 1..=10);
    world.settle();
    world.api.fail("create", "pods", Status::failure(Reason::Forbidden, "exceeded quota"));
    world.create(SETS, "acme", "default", set()).expect("created");
    world.settle();
    assert_eq!(world.api.requests("create", "pods"), 1, "one is tried");
    assert_eq!(world.events("FailedCreate")[0], "Error creating: exceeded quota");
    world.api.heal();
    world.pass(120);
    assert_eq!(hosts(&world).len(), 10);
}

#[test]
fn a_pod_counts_as_available_after_it_was_ready_for_long_enough() {
    let mut slow = set();
    slow["spec"]["minReadySeconds"] = json!(10);
    let mut world = started(1, slow);
    assert_eq!((status(&world, "numberReady"), status(&world, "numberAvailable")), (1, 0));
    world.pass(9);
    assert_eq!(status(&world, "numberAvailable"), 0);
    world.pass(1);
    assert_eq!((status(&world, "numberAvailable"), status(&world, "numberUnavailable")), (1, 0));
}

#[test]
fn a_selector_that_selects_everything_is_refused() {
    let mut all = set();
    all["spec"]["selector"] = json!({});
    let world = started(1, all);
    assert_eq!(pods(&world), Vec::<Value>::new());
    let told = "This daemon set is selecting all pods. A non-empty selector is required.";
    assert_eq!(world.events("SelectingAll"), [told]);
}

/// On the real API server: what is written is valid, and pods are counted by their templates.
#[test]
fn a_daemon_set_of_the_real_api_is_rolled_out_and_goes_with_its_history() {
    let mut world = World::on_the_road();
    add_hosts(&mut world, 1..=2);
    world.create(SETS, "acme", "default", set()).expect("created");
    world.run_pods();
    assert_eq!(pods(&world), Vec::<Value>::new(), "hosts that are not ready yet get none");
    for host in ["//node-1", "//node-2"] {
        world.edit("nodes", host, |node| node["spec"]["taints"] = json!([]));
    }
    world.run_pods();
    assert_eq!((hosts(&world).len(), status(&world, "numberAvailable")), (2, 2));
    image(&mut world, "logs:2");
    world.run_pods();
    assert_eq!((status(&world, "updatedNumberScheduled"), status(&world, "observedGeneration")), (2, 2));
    let counted = |pod: &Value| pod["metadata"]["labels"]["pod-template-generation"] == "2";
    assert!(pods(&world).iter().all(counted));
    image(&mut world, "logs:1");
    world.run_pods();
    let all = revisions(&world);
    assert_eq!(
        all.iter().map(|(number, _, image)| (*number, image.as_str())).collect::<Vec<_>>(),
        [(2, "logs:2"), (3, "logs:1")]
    );
    world.delete(SETS, LOGS, Some(Propagation::Foreground));
    world.run_pods();
    for resource in [SETS, REVISIONS, "pods"] {
        assert_eq!(world.names(resource), Vec::<String>::new(), "{resource}");
    }
}
