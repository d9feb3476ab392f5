//! Watches that outlive the right to watch: within a minute of its end, they end.

use http::Method;
use serde_json::json;

use crate::world::{Events, MAPS, RBAC, World, map, request};

/// What a watch that was alive says when a minute has passed.
async fn after_a_minute(world: &World, events: &mut Events) -> (i64, bool) {
    assert!(events.is_quiet().await);
    world.advance(61);
    let last = events.next().await.expect("an event");
    assert_eq!(last["type"], "ERROR", "{last}");
    (last["object"]["code"].as_i64().unwrap(), events.next().await.is_none())
}

#[tokio::test]
async fn a_watch_ends_when_the_role_that_allowed_it_is_taken_away() {
    let world = World::new().await;
    let mut events = world.watch("plain", &format!("{MAPS}?watch=true&resourceVersion=0")).await;
    let bindings = world.get("acme", &format!("{RBAC}/clusterrolebindings?limit=500")).await.json();
    let ours = bindings["items"].as_array().unwrap().iter().find(|item| item["metadata"]["generateName"] == "b-");
    let name = ours.unwrap()["metadata"]["name"].as_str().unwrap();
    assert_eq!(world.delete("root", &format!("/tenants/acme{RBAC}/clusterrolebindings/{name}")).await.code, 200);
    assert_eq!(after_a_minute(&world, &mut events).await, (403, true));
}

#[tokio::test]
async fn a_watch_ends_with_the_token_it_was_opened_with() {
    let world = World::new().await;
    world.bind("acme", json!([{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}])).await;
    let robot = world.account("acme", "robot").await;
    let mut deleted = world.watch(&robot, &format!("{MAPS}?watch=true")).await;
    assert_eq!(world.delete("acme", "/api/v1/namespaces/default/serviceaccounts/robot").await.code, 200);
    assert_eq!(after_a_minute(&world, &mut deleted).await, (401, true));
}

#[tokio::test]
async fn a_watch_in_anothers_name_ends_with_the_right_to_act_for_them() {
    let world = World::new().await;
    let mut request = request("plain", Method::GET, &format!("{MAPS}?watch=true"), "");
    request.headers_mut().insert("impersonate-user", "boss".parse().unwrap());
    request.headers_mut().insert("impersonate-group", "dev".parse().unwrap());
    let mut events = Events::of(world.respond(request).await);
    let bindings = world.get("acme", &format!("{RBAC}/clusterrolebindings")).await.json();
    let ours = bindings["items"].as_array().unwrap().iter().find(|item| item["metadata"]["generateName"] == "b-");
    let name = ours.unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
    // `boss` keeps the right to watch; `paul` loses the one to be `boss`.
    world.bind("acme", json!([{"kind": "User", "name": "boss", "apiGroup": "rbac.authorization.k8s.io"}])).await;
    world.delete("root", &format!("/tenants/acme{RBAC}/clusterrolebindings/{name}")).await;
    assert_eq!(after_a_minute(&world, &mut events).await, (403, true));
}

#[tokio::test]
async fn a_watch_ends_with_its_tenant_even_when_the_name_is_made_anew() {
    let world = World::new().await;
    let mut events = world.watch("acme", &format!("{MAPS}?watch=true")).await;
    world.remove_tenant("acme").await;
    world.make_tenant("acme").await;
    assert_eq!(world.post("acme", MAPS, map("news")).await.code, 201);
    // What comes within the minute is the name's, and the credential still opens it: it names the tenant alone.
    assert_eq!(events.next().await.unwrap()["object"]["metadata"]["name"], "news");
    assert_eq!(after_a_minute(&world, &mut events).await, (401, true));
}

#[tokio::test]
async fn a_watch_on_which_much_happens_ends_no_later() {
    let world = World::new().await;
    world.bind("acme", json!([{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}])).await;
    let robot = world.account("acme", "robot").await;
    let mut events = world.watch(&robot, &format!("{MAPS}?watch=true")).await;
    world.delete("acme", "/api/v1/namespaces/default/serviceaccounts/robot").await;
    for number in 0..5 {
        assert_eq!(world.post("acme", MAPS, map(&format!("m-{number}"))).await.code, 201);
    }
    world.advance(61);
    assert_eq!(events.next().await.unwrap()["type"], "ERROR");
}

#[tokio::test]
async fn who_may_still_watch_is_not_disturbed() {
    let world = World::new().await;
    let robot = world.account("acme", "robot").await;
    world.bind("acme", json!([{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}])).await;
    for who in ["acme", "plain", "root", &robot] {
        let mut events = world.watch(who, &format!("{MAPS}?watch=true&timeoutSeconds=600")).await;
        for _ in 0..4 {
            assert!(events.is_quiet().await, "{who}");
            world.advance(61);
        }
        assert!(events.is_quiet().await, "{who}");
    }
}

#[tokio::test]
async fn a_watch_tells_nothing_of_another_tenant() {
    let world = World::new().await;
    let mut events = world.watch("acme", "/api/v1/configmaps?watch=true").await;
    assert_eq!(world.post("umbra", MAPS, map("theirs")).await.code, 201);
    assert_eq!(world.delete("umbra", &format!("{MAPS}/theirs")).await.code, 200);
    assert!(events.is_quiet().await);
    assert_eq!(world.post("acme", MAPS, map("ours")).await.code, 201);
    assert_eq!(events.next().await.unwrap()["object"]["metadata"]["name"], "ours");
}
