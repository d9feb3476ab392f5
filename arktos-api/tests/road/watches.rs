//! Watches: what enters and leaves a selection, bookmarks, ends.

use std::sync::Arc;

use arktos_api::{CREDENTIAL, Identity, TokenAuthenticator};
use arktos_core::TenantName;
use async_trait::async_trait;
use serde_json::json;

use crate::{MAPS, World, map};

fn labelled(name: &str, label: &str) -> serde_json::Value {
    let mut body = map(name);
    body["metadata"]["labels"] = json!({"x": label});
    body
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let world = World::new().await;
    let from = world.get("acme", MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let path = format!("{MAPS}?watch=1&resourceVersion={from}&labelSelector=x=yes");
    let mut events = world.watch("acme", &path).await;
    world.post("acme", MAPS, labelled("a", "no")).await;
    world.post("umbra", MAPS, labelled("b", "yes")).await;
    assert!(events.is_quiet().await);
    let label = |value: &str| json!({"metadata": {"labels": {"x": value}}});
    world.patch("acme", &format!("{MAPS}/a"), label("yes")).await;
    world.patch("acme", &format!("{MAPS}/a"), json!({"data": {"b": "2"}})).await;
    let left = world.patch("acme", &format!("{MAPS}/a"), label("no")).await.body;
    assert_eq!(events.short().await, "ADDED a");
    assert_eq!(events.short().await, "MODIFIED a");
    let event = events.next().await.unwrap();
    assert_eq!(
        (event["type"].as_str(), event["object"]["metadata"]["labels"]["x"].as_str()),
        (Some("DELETED"), Some("yes"))
    );
    assert_eq!(event["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn the_initial_state_ends_with_a_bookmark_that_says_so() {
    let world = World::new().await;
    world.post("acme", MAPS, map("a")).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = world.watch("acme", &format!("{MAPS}?{query}")).await;
    assert_eq!(events.short().await, "ADDED a");
    let mark = events.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    world.post("acme", MAPS, map("b")).await;
    assert_eq!(events.short().await, "ADDED b");
}

#[tokio::test]
async fn a_bookmark_is_an_object_of_which_nothing_is_said() {
    let world = World::new().await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&\
                 labelSelector=none";
    let template = json!({"metadata": {}, "spec": {"containers": null}});
    for (path, wanted) in [
        ("api/v1/namespaces/default/configmaps", json!({})),
        ("api/v1/namespaces/default/pods", json!({"spec": {"containers": null}, "status": {}})),
        ("api/v1/namespaces/default/services", json!({"spec": {}, "status": {"loadBalancer": {}}})),
        ("api/v1/namespaces/default/limitranges", json!({"spec": {"limits": null}})),
        (
            "apis/apps/v1/namespaces/default/deployments",
            json!({"spec": {"replicas": 0, "selector": null, "strategy": {}, "template": template}, "status": {}}),
        ),
        (
            "apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
            json!({"spec": {"maxReplicas": 0, "scaleTargetRef": {"kind": "", "name": ""}},
                "status": {"currentReplicas": 0, "desiredReplicas": 0}}),
        ),
        ("apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", json!({"rules": null})),
        ("apis/coordination.k8s.io/v1/namespaces/default/leases", json!({"spec": {}})),
        (
            "apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            json!({"addressType": "", "endpoints": null, "ports": null}),
        ),
        (
            "apis/policy/v1/namespaces/default/poddisruptionbudgets",
            json!({"spec": {}, "status": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0,
                "expectedPods": 0}}),
        ),
    ] {
        let mut events = world.watch("acme", &format!("/{path}?{query}")).await;
        let mut mark = events.next().await.unwrap()["object"].take();
        let said = mark.as_object_mut().unwrap();
        for field in ["kind", "apiVersion", "metadata"] {
            assert!(said.remove(field).is_some(), "{path}");
        }
        assert_eq!(mark, wanted, "{path}");
    }
}

#[tokio::test]
async fn who_begins_with_what_there_is_is_told_where_it_ends() {
    let world = World::new().await;
    world.post("acme", MAPS, map("a")).await;
    let mut events = world.watch("acme", &format!("{MAPS}?watch=1&resourceVersion=0&allowWatchBookmarks=true")).await;
    assert_eq!(events.short().await, "ADDED a");
    let mark = events.next().await.unwrap();
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let far = "watch=1&resourceVersion=999999&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let (path, clock) = (format!("{MAPS}?{far}"), world.clone());
    let passes = tokio::spawn(async move {
        loop {
            tokio::task::yield_now().await;
            clock.advance(1);
        }
    });
    let mut events = world.watch("acme", &path).await;
    passes.abort();
    let fault = events.next().await.unwrap();
    assert_eq!((&fault["type"], &fault["object"]["code"]), (&json!("ERROR"), &json!(504)));
}

#[tokio::test]
async fn quiet_watches_are_told_how_far_they_have_come() {
    let world = World::new().await;
    let made = world.post("acme", MAPS, map("a")).await.body;
    let revision = made["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{MAPS}?watch=1&resourceVersion={revision}&allowWatchBookmarks=true&timeoutSeconds=90");
    let mut events = world.watch("acme", &path).await;
    assert!(events.is_quiet().await);
    world.post("umbra", MAPS, map("elsewhere")).await;
    assert!(events.is_quiet().await);
    world.advance(61);
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let reached: u64 = bookmark["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(reached > revision.parse().unwrap());
    world.advance(30);
    assert_eq!(events.next().await.unwrap()["type"], "BOOKMARK");
    assert!(events.next().await.is_none(), "it has timed out");
}

#[tokio::test]
async fn a_watch_without_bookmarks_gets_none_and_ends_in_time() {
    let world = World::new().await;
    world.post("acme", MAPS, map("a")).await;
    let mut events = world.watch("acme", &format!("{MAPS}?watch=1&timeoutSeconds=120")).await;
    assert_eq!(events.short().await, "ADDED a");
    assert!(events.is_quiet().await);
    world.advance(119);
    assert!(events.is_quiet().await);
    world.advance(1);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_place_that_history_has_left_is_told_inside_the_stream() {
    let world = World::new().await;
    let mut events = world.watch("acme", &format!("{MAPS}?watch=1&resourceVersion=1")).await;
    // Revision 1 is reachable as long as nothing was forgotten.
    assert!(events.is_quiet().await);
    world.post("acme", MAPS, map("a")).await;
    world.advance(3600);
    for at in 0..3 {
        world.patch("acme", &format!("{MAPS}/a"), json!({"data": {"a": at.to_string()}})).await;
        world.advance(3600);
    }
    world.engine.compact(arktos_store::Clock::now(&world.clock)).await.unwrap();
    let mut late = world.watch("acme", &format!("{MAPS}?watch=1&resourceVersion=1")).await;
    let event = late.next().await.unwrap();
    assert_eq!((event["type"].as_str(), event["object"]["code"].as_u64()), (Some("ERROR"), Some(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(late.next().await.is_none());
}

#[tokio::test]
async fn a_watch_that_nobody_reads_holds_a_place_and_nothing_else() {
    let world = World::new().await;
    let from = world.get("acme", MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let path = format!("{MAPS}?watch=1&resourceVersion={from}&allowWatchBookmarks=true");
    let mut unread = world.watch("acme", &path).await;
    let mut patient = world.watch("acme", &path).await;
    let mut reader = world.watch("acme", &path).await;
    for number in 0..50 {
        world.post("acme", MAPS, map(&format!("m-{number:02}"))).await;
        assert_eq!(reader.short().await, format!("ADDED m-{number:02}"), "the others go on");
        if number == 25 {
            // Whoever comes back within the window finds all of it, in order.
            for number in 0..=25 {
                assert_eq!(patient.short().await, format!("ADDED m-{number:02}"));
            }
        }
    }
    // What had been put aside for the unread one would still be there when history is not.
    world.advance(3600);
    for at in 0..2 {
        world.patch("acme", &format!("{MAPS}/m-00"), json!({"data": {"a": at.to_string()}})).await;
        world.advance(3600);
    }
    world.engine.compact(arktos_store::Clock::now(&world.clock)).await.unwrap();
    let event = unread.next().await.unwrap();
    assert_eq!((event["type"].as_str(), event["object"]["code"].as_u64()), (Some("ERROR"), Some(410)));
    assert!(unread.next().await.is_none());
}

/// Judges tokens of others, which have names of their own.
#[derive(Debug)]
struct Others;

#[async_trait]
impl TokenAuthenticator for Others {
    async fn authenticate(&self, token: &str) -> Result<Option<Identity>, String> {
        let tenant = TenantName::new("acme").map_err(|error| error.to_string())?;
        let extra = [(CREDENTIAL.to_owned(), vec![format!("JTI={token}")])].into();
        Ok(Some(Identity { extra, ..Identity::user("ann", &["system:masters"], &tenant) }))
    }
}

#[tokio::test]
async fn a_watch_goes_on_for_who_came_with_a_token_of_others() {
    let world = World::with(|config| config.authenticators.push(Arc::new(Others))).await;
    let mut events = world.watch("of-others", &format!("{MAPS}?watch=1&timeoutSeconds=300")).await;
    assert!(events.is_quiet().await);
    world.advance(121);
    assert!(events.is_quiet().await, "it is asked again every minute, and there is no service account to be gone");
    world.post("acme", MAPS, map("a")).await;
    assert_eq!(events.short().await, "ADDED a");
}
