//! Replica sets: as many pods as are wanted, never one too many.

use std::time::Duration;

use arktos_core::{Reason, Status};
use arktos_store::Within;
use serde_json::{Value, json};

use crate::world::{World, condition, path_of};

fn set(replicas: i32) -> Value {
    let spec = json!({"containers": [{"name": "db", "image": "db"}]});
    json!({
        "metadata": {"name": "db"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": spec},
        },
    })
}

fn pods(world: &World) -> Vec<Value> {
    world.list("pods", Within::Everywhere)
}

#[test]
fn pods_are_made_once_and_counted() {
    let mut world = World::new("replicaset");
    world.create("replicasets.apps", "acme", "default", set(40)).expect("created");
    world.settle();
    assert_eq!(pods(&world).len(), 40);
    assert_eq!(world.api.requests("create", "pods"), 40, "nothing is made twice");
    world.run_pods();
    let found = world.get("replicasets.apps", "acme/default/db");
    assert_eq!(found["status"]["readyReplicas"], 40);
    assert_eq!(found["status"]["availableReplicas"], 40);
    assert_eq!(found["status"]["fullyLabeledReplicas"], 40);
    assert_eq!(found["status"]["observedGeneration"], 1);
    let pod = &pods(&world)[0];
    let owner = &pod["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["controller"], &owner["uid"]),
        (&json!("ReplicaSet"), &json!(true), &found["metadata"]["uid"])
    );
    assert!(pod["metadata"]["name"].as_str().expect("a name").starts_with("db-"));
    assert_eq!(world.events("SuccessfulCreate").len(), 25, "the events of one object are held to a budget");
}

#[test]
fn pods_that_come_to_run_while_a_set_rests_are_counted_together() {
    let mut world = World::with_rest("replicaset", Duration::from_millis(200));
    world.create("replicasets.apps", "acme", "default", set(10)).expect("created");
    world.settle();
    assert_eq!(pods(&world).len(), 10, "the first look is not held up");
    let writes = |world: &World| world.api.requests("update", "replicasets.apps");
    let before = writes(&world);
    for pod in &pods(&world) {
        world.set_pod(&path_of(pod), "Running", true);
        world.settle();
    }
    assert_eq!(writes(&world), before);
    world.pass(1);
    assert_eq!(writes(&world), before + 1, "one write for all of them, and none for having seen it");
    assert_eq!(world.get("replicasets.apps", "acme/default/db")["status"]["readyReplicas"], 10);
    world.pass(1);
    world.set_pod(&path_of(&pods(&world)[0]), "Running", false);
    world.settle();
    assert_eq!(writes(&world), before + 2, "it has rested, and looks at once");
}

#[test]
fn pods_that_are_not_ready_go_first_when_it_shrinks() {
    let mut world = World::new("replicaset");
    world.create("replicasets.apps", "acme", "default", set(4)).expect("created");
    world.run_pods();
    let sick: Vec<String> = pods(&world).iter().take(2).map(path_of).collect();
    for pod in &sick {
        world.set_pod(pod, "Running", false);
    }
    world.edit("replicasets.apps", "acme/default/db", |set| set["spec"]["replicas"] = json!(2));
    world.run_pods();
    let left: Vec<String> = pods(&world).iter().map(path_of).collect();
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|pod| !sick.contains(pod)), "{left:?} {sick:?}");
}

#[test]
fn a_pod_that_fails_is_replaced() {
    let mut world = World::new("replicaset");
    world.create("replicasets.apps", "acme", "default", set(2)).expect("created");
    world.run_pods();
    let failed = path_of(&pods(&world)[0]);
    world.set_pod(&failed, "Failed", false);
    world.run_pods();
    assert_eq!(pods(&world).len(), 3, "the failed one stays to be looked at");
    assert_eq!(world.get("replicasets.apps", "acme/default/db")["status"]["readyReplicas"], 2);
}

#[test]
fn orphans_are_adopted_and_strays_are_let_go() {
    let mut world = World::new("replicaset");
    let orphan = json!({"metadata": {"name": "orphan", "labels": {"app": "db"}}, "spec": {}});
    world.create("pods", "acme", "default", orphan).expect("created");
    world.create("replicasets.apps", "acme", "default", set(2)).expect("created");
    world.settle();
    assert_eq!(pods(&world).len(), 2);
    assert_eq!(world.get("pods", "acme/default/orphan")["metadata"]["ownerReferences"][0]["name"], "db");
    world.edit("pods", "acme/default/orphan", |pod| pod["metadata"]["labels"] = json!({"app": "other"}));
    world.settle();
    assert_eq!(world.get("pods", "acme/default/orphan")["metadata"].get("ownerReferences"), None);
    assert_eq!(pods(&world).len(), 3);
}

#[test]
fn other_tenants_pods_are_none_of_its_business() {
    let mut world = World::new("replicaset");
    world.create("tenants", "", "", json!({"metadata": {"name": "rival"}})).expect("created");
    world.create("namespaces", "rival", "", json!({"metadata": {"name": "default"}})).expect("created");
    let orphan = json!({"metadata": {"name": "orphan", "labels": {"app": "db"}}, "spec": {}});
    world.create("pods", "rival", "default", orphan).expect("created");
    world.create("replicasets.apps", "acme", "default", set(2)).expect("created");
    world.settle();
    assert_eq!(pods(&world).len(), 3);
    assert_eq!(world.get("pods", "rival/default/orphan")["metadata"].get("ownerReferences"), None);
}

#[test]
fn what_cannot_be_made_is_said_and_tried_again() {
    let mut world = World::new("replicaset");
    world.api.fail("create", "pods", Status::failure(Reason::Forbidden, "exceeded quota"));
    world.create("replicasets.apps", "acme", "default", set(10)).expect("created");
    world.settle();
    assert!(world.api.requests("create", "pods") < 10, "it starts slowly");
    let found = world.get("replicasets.apps", "acme/default/db");
    let failure = condition(&found, "ReplicaFailure");
    assert_eq!((&failure["status"], &failure["reason"]), (&json!("True"), &json!("FailedCreate")));
    assert_eq!(world.events("FailedCreate")[0], "Error creating: exceeded quota");
    world.api.heal();
    world.pass(120);
    assert_eq!(pods(&world).len(), 10);
    assert_eq!(condition(&world.get("replicasets.apps", "acme/default/db"), "ReplicaFailure"), Value::Null);
}

#[test]
fn a_pod_counts_as_available_after_it_was_ready_for_long_enough() {
    let mut world = World::new("replicaset");
    let mut set = set(1);
    set["spec"]["minReadySeconds"] = json!(10);
    world.create("replicasets.apps", "acme", "default", set).expect("created");
    world.run_pods();
    let available =
        |world: &World| world.get("replicasets.apps", "acme/default/db")["status"].get("availableReplicas").cloned();
    assert_eq!(available(&world), None);
    world.pass(9);
    assert_eq!(available(&world), None);
    world.pass(1);
    assert_eq!(available(&world), Some(json!(1)));
}

/// What a webhook says may be megabytes, and thousands of events wait and are remembered.
#[test]
fn what_is_told_is_cut_off_where_it_is_long() {
    let mut world = World::new("replicaset");
    let why = "\u{fc}".repeat(500_000);
    world.api.fail("create", "pods", Status::failure(Reason::Forbidden, why));
    world.create("replicasets.apps", "acme", "default", set(2)).expect("created");
    world.settle();
    let told = world.events("FailedCreate");
    assert!(
        !told.is_empty() && told.iter().all(|told| told.len() <= 1024 && told.ends_with("\u{fc}...")),
        "{}",
        told.len()
    );
}
