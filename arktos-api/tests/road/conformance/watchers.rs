//! Watchers.

use serde_json::{Value, json};

use super::fine;
use crate::{MAPS, World, map};

fn labelled(name: &str, label: &str) -> Value {
    let mut object = map(name);
    object["metadata"]["labels"] = json!({"watch-this-configmap": label});
    object
}

fn watching(label: &str) -> String {
    format!("{MAPS}?watch=1&labelSelector=watch-this-configmap%3D{label}")
}

fn revision(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().expect("a revision")
}

#[tokio::test]
async fn should_observe_add_update_and_delete_watch_notifications_on_configmaps() {
    let world = World::new().await;
    let (mut a, mut b) = (world.watch("acme", &watching("A")).await, world.watch("acme", &watching("B")).await);
    fine(world.post("acme", MAPS, labelled("one", "A")).await, 201);
    for number in ["2", "3"] {
        fine(world.patch("acme", &format!("{MAPS}/one"), json!({"data": {"a": number}})).await, 200);
    }
    fine(world.delete("acme", &format!("{MAPS}/one")).await, 200);
    for expected in ["ADDED one", "MODIFIED one", "MODIFIED one", "DELETED one"] {
        assert_eq!(a.short().await, expected);
    }
    assert!(b.is_quiet().await);
    fine(world.post("acme", MAPS, labelled("two", "B")).await, 201);
    assert_eq!(b.short().await, "ADDED two");
    assert!(a.is_quiet().await);
}

#[tokio::test]
async fn should_be_able_to_start_watching_from_a_specific_resource_version() {
    let world = World::new().await;
    fine(world.post("acme", MAPS, labelled("one", "A")).await, 201);
    let first = fine(world.patch("acme", &format!("{MAPS}/one"), json!({"data": {"a": "2"}})).await, 200);
    fine(world.patch("acme", &format!("{MAPS}/one"), json!({"data": {"a": "3"}})).await, 200);
    fine(world.delete("acme", &format!("{MAPS}/one")).await, 200);
    let mut events = world.watch("acme", &format!("{}&resourceVersion={}", watching("A"), revision(&first))).await;
    assert_eq!(events.short().await, "MODIFIED one");
    assert_eq!(events.short().await, "DELETED one");
}

#[tokio::test]
async fn should_be_able_to_restart_watching_from_the_last_resource_version_observed_by_the_previous_watch() {
    let world = World::new().await;
    let mut events = world.watch("acme", &watching("A")).await;
    fine(world.post("acme", MAPS, labelled("one", "A")).await, 201);
    let seen = events.next().await.unwrap();
    drop(events);
    fine(world.patch("acme", &format!("{MAPS}/one"), json!({"data": {"a": "2"}})).await, 200);
    fine(world.delete("acme", &format!("{MAPS}/one")).await, 200);
    let last = revision(&seen["object"]).to_owned();
    let mut events = world.watch("acme", &format!("{}&resourceVersion={last}", watching("A"))).await;
    assert_eq!(events.short().await, "MODIFIED one");
    assert_eq!(events.short().await, "DELETED one");
}

#[tokio::test]
async fn should_observe_an_object_deletion_if_it_stops_meeting_the_requirements_of_the_selector() {
    let world = World::new().await;
    let mut events = world.watch("acme", &watching("A")).await;
    fine(world.post("acme", MAPS, labelled("one", "A")).await, 201);
    let at = format!("{MAPS}/one");
    let label = |label: &str| json!({"metadata": {"labels": {"watch-this-configmap": label}}});
    fine(world.patch("acme", &at, label("other")).await, 200);
    fine(world.patch("acme", &at, json!({"data": {"a": "unseen"}})).await, 200);
    fine(world.patch("acme", &at, label("A")).await, 200);
    fine(world.delete("acme", &at).await, 200);
    for expected in ["ADDED one", "DELETED one", "ADDED one", "DELETED one"] {
        assert_eq!(events.short().await, expected);
    }
}

#[tokio::test]
async fn should_receive_events_on_concurrent_watches_in_same_order() {
    let world = World::new().await;
    let start = fine(world.get("acme", MAPS).await, 200);
    let mut revisions = vec![revision(&start).to_owned()];
    for number in 0..20 {
        let made = fine(world.post("acme", MAPS, map(&format!("m-{number}"))).await, 201);
        revisions.push(revision(&made).to_owned());
    }
    let mut seen: Vec<Vec<String>> = Vec::new();
    for (skipped, from) in revisions.iter().enumerate().take(20) {
        let mut events = world.watch("acme", &format!("{MAPS}?watch=1&resourceVersion={from}")).await;
        let mut order = Vec::new();
        for _ in skipped..20 {
            order.push(revision(&events.next().await.unwrap()["object"]).to_owned());
        }
        seen.push(order);
    }
    for (skipped, order) in seen.iter().enumerate() {
        assert_eq!(order[..], seen[0][skipped..]);
    }
}
