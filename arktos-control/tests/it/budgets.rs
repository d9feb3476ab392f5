//! Disruption budgets: what may be evicted, and what is granted until it is seen to have happened.

use arktos_core::Reason;
use arktos_store::Within;
use serde_json::{Value, json};

use crate::world::{World, condition, deployment, path_of};

const BUDGET: &str = "acme/default/web";

fn world(budget: &Value, replicas: i32) -> World {
    let mut world = World::on_the_road();
    world.create("deployments.apps", "acme", "default", deployment(replicas, "web:1")).expect("created");
    let mut object = json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}});
    for (field, value) in budget.as_object().expect("a map") {
        object["spec"][field] = value.clone();
    }
    world.create("poddisruptionbudgets.policy", "acme", "default", object).expect("created");
    world.run_pods();
    world
}

fn pods(world: &World) -> Vec<String> {
    let pods = world.list("pods", Within::Everywhere);
    pods.iter().filter(|pod| pod["metadata"].get("deletionTimestamp").is_none()).map(path_of).collect()
}

fn numbers(world: &World) -> [i64; 4] {
    let status = world.get("poddisruptionbudgets.policy", BUDGET)["status"].clone();
    ["expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"]
        .map(|field| status[field].as_i64().unwrap_or_else(|| panic!("{field} in {status}")))
}

#[test]
fn what_is_allowed_follows_from_what_is_wanted_and_what_is_healthy() {
    for (budget, expected) in [
        (json!({"minAvailable": 2}), [4, 2, 4, 2]),
        (json!({"minAvailable": "30%"}), [4, 2, 4, 2]),
        (json!({"maxUnavailable": 1}), [4, 3, 4, 1]),
        (json!({"maxUnavailable": "30%"}), [4, 2, 4, 2]),
        (json!({"minAvailable": 7}), [4, 7, 4, 0]),
    ] {
        assert_eq!(numbers(&world(&budget, 4)), expected, "{budget}");
    }
    let mut world = world(&json!({"maxUnavailable": 1}), 4);
    let sick = pods(&world)[0].clone();
    world.set_pod(&sick, "Running", false);
    world.settle();
    assert_eq!(numbers(&world), [4, 3, 3, 0]);
    world.edit("deployments.apps", BUDGET, |web| web["spec"]["replicas"] = json!(2));
    world.run_pods();
    assert_eq!(numbers(&world), [2, 1, 2, 1], "the sick one went first");
}

#[test]
fn an_eviction_takes_off_the_budget_until_it_has_happened() {
    let mut world = world(&json!({"maxUnavailable": 1}), 3);
    let all = pods(&world);
    world.evict(&all[0]).expect("allowed");
    // Nothing was seen to happen yet, and the next one is refused all the same.
    let refused = world.evict(&all[1]).expect_err("one at a time");
    assert!(refused.is(Reason::TooManyRequests), "{refused}");
    assert_eq!(refused.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    let cause = refused.details.expect("details").causes.remove(0);
    assert_eq!(cause.reason, "DisruptionBudget");
    assert_eq!(cause.message, "The disruption budget web does not allow evicting pods currently");
    world.run_pods();
    assert_eq!(numbers(&world), [3, 2, 3, 1], "another one runs in its place");
    let status = world.get("poddisruptionbudgets.policy", BUDGET)["status"].clone();
    assert_eq!(status.get("disruptedPods"), None, "{status}");
    world.evict(&all[1]).expect("allowed again");
}

#[test]
fn a_grant_that_comes_to_nothing_is_void_after_two_minutes() {
    let mut world = world(&json!({"maxUnavailable": 1}), 3);
    let granted = pods(&world)[0].clone();
    let name = granted.rsplit('/').next().expect("a name").to_owned();
    let now = "2026-11-23T10:00:00Z";
    world.edit_status("poddisruptionbudgets.policy", BUDGET, |budget| {
        budget["status"]["disruptedPods"] = json!({name: now});
    });
    world.settle();
    assert_eq!(numbers(&world), [3, 2, 2, 0]);
    world.pass(121);
    assert_eq!(numbers(&world), [3, 2, 3, 1]);
}

#[test]
fn pods_that_are_not_healthy_go_by_policy() {
    for (policy, goes) in [("IfHealthyBudget", false), ("AlwaysAllow", true)] {
        let mut world = world(&json!({"minAvailable": 3, "unhealthyPodEvictionPolicy": policy}), 3);
        let all = pods(&world);
        world.set_pod(&all[0], "Running", false);
        world.settle();
        assert_eq!(numbers(&world), [3, 3, 2, 0]);
        assert_eq!(world.evict(&all[0]).is_ok(), goes, "{policy}");
        let refused = world.evict(&all[1]).expect_err("it is healthy, and needed");
        let why = &refused.details.expect("details").causes[0].message;
        assert_eq!(why, "The disruption budget web needs 3 healthy pods and has 2 currently", "{policy}");
    }
    // There are enough without it.
    let mut world = world(&json!({"minAvailable": 2}), 3);
    let all = pods(&world);
    world.set_pod(&all[0], "Running", false);
    world.settle();
    assert_eq!(numbers(&world), [3, 2, 2, 0]);
    world.evict(&all[0]).expect("not among those that count");
}

#[test]
fn what_cannot_be_counted_allows_nothing() {
    let mut world = World::on_the_road();
    let job = json!({"metadata": {"name": "sum"}, "spec": {"template": {
        "metadata": {"labels": {"app": "sum"}},
        "spec": {"containers": [{"name": "sum", "image": "sum"}], "restartPolicy": "Never"}}}});
    world.create("jobs.batch", "acme", "default", job).expect("created");
    let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": {"app": "sum"}}});
    world
        .create("poddisruptionbudgets.policy", "acme", "default", json!({"metadata": {"name": "web"}, "spec": spec}))
        .expect("created");
    world.run_pods();
    let budget = world.get("poddisruptionbudgets.policy", BUDGET);
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    let said = condition(&budget, "DisruptionAllowed");
    assert_eq!((&said["status"], &said["reason"]), (&json!("False"), &json!("SyncFailed")));
    assert!(said["message"].as_str().is_some_and(|text| text.starts_with("found no controllers for pod")), "{said}");
    let pod = pods(&world)[0].clone();
    let refused = world.evict(&pod).expect_err("nothing is known");
    assert!(
        refused.details.expect("details").causes[0].message.contains("because it failed sync: found no controllers")
    );
}
