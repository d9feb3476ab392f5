//! Lists: pages of one state, tokens that cannot be forged, selectors.

use serde_json::{Value, json};

use crate::{MAPS, World, map};

#[tokio::test]
async fn pages_show_one_state_whatever_is_written_between_them() {
    let world = World::new().await;
    for at in 0..7 {
        world.post("acme", MAPS, map(&format!("m{at}"))).await;
    }
    let mut names = Vec::new();
    let mut token = String::new();
    let mut revisions = Vec::new();
    loop {
        let page = world.get("acme", &format!("{MAPS}?limit=3&continue={token}")).await;
        assert_eq!(page.code, 200, "{:?}", page.body);
        let items = page.body["items"].as_array().unwrap().clone();
        names.extend(items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()));
        revisions.push(page.body["metadata"]["resourceVersion"].clone());
        world.post("acme", MAPS, map(&format!("m3x{}", names.len()))).await;
        world.delete("acme", &format!("{MAPS}/m6")).await;
        let Some(next) = page.body["metadata"]["continue"].as_str() else { break };
        assert_eq!(page.body["metadata"]["remainingItemCount"], 7 - names.len());
        token = next.to_owned();
    }
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]);
    revisions.dedup();
    assert_eq!(revisions.len(), 1);
}

/// Upstream has not looked at what comes after a full page by then.
#[tokio::test]
async fn a_full_page_goes_on_where_anything_comes_after_it() {
    let world = World::new().await;
    for (name, label) in [("a", "b"), ("b", "b"), ("c", "c")] {
        let labelled = json!({"metadata": {"name": name, "labels": {"a": label}}});
        assert_eq!(world.post("acme", MAPS, labelled).await.code, 201);
    }
    let page = world.get("acme", &format!("{MAPS}?limit=2&labelSelector=a%3Db")).await.body;
    let token = page["metadata"]["continue"].as_str().expect("a token");
    let rest = world.get("acme", &format!("{MAPS}?limit=2&labelSelector=a%3Db&continue={token}")).await.body;
    assert_eq!((&rest["items"], rest["metadata"]["continue"].is_string()), (&json!([]), false), "{rest}");
    for query in
        ["limit=1&labelSelector=a%3Dc", "limit=3&labelSelector=a%3Db", "limit=1&fieldSelector=metadata.name%3Da"]
    {
        let page = world.get("acme", &format!("{MAPS}?{query}")).await.body;
        assert!(!page["metadata"]["continue"].is_string(), "{query}: {page}");
    }
}

#[tokio::test]
async fn tokens_are_good_only_where_they_were_given_out() {
    let world = World::new().await;
    for token in ["acme", "umbra"] {
        for name in ["a", "b"] {
            world.post(token, MAPS, map(name)).await;
        }
    }
    let page = world.get("acme", &format!("{MAPS}?limit=1")).await;
    let token = page.body["metadata"]["continue"].as_str().unwrap();
    assert_eq!(world.get("acme", &format!("{MAPS}?limit=1&continue={token}")).await.code, 200);
    for others in ["&labelSelector=a%3Db", "&fieldSelector=metadata.name%3Da"] {
        let refused = world.get("acme", &format!("{MAPS}?limit=1&continue={token}{others}")).await;
        assert_eq!((refused.code, refused.body["reason"].as_str()), (400, Some("BadRequest")));
        assert!(
            refused.body["message"].as_str().unwrap().starts_with("invalid continue token: continue key is not valid")
        );
    }
    assert_eq!(world.get("umbra", &format!("{MAPS}?limit=1&continue={token}")).await.code, 400);
    for forged in ["x", "eyJyIjo1LCJzIjoiYSJ9", &format!("{token}AA"), &token[1..]] {
        assert_eq!(world.get("acme", &format!("{MAPS}?limit=1&continue={forged}")).await.code, 400, "{forged}");
    }
}

#[tokio::test]
async fn a_token_of_an_earlier_life_of_the_server_has_expired() {
    let world = World::new().await;
    for name in ["a", "b"] {
        world.post("acme", MAPS, map(name)).await;
    }
    let page = world.get("acme", &format!("{MAPS}?limit=1")).await;
    let token = page.body["metadata"]["continue"].as_str().unwrap();
    let refused = world.restarted().get("acme", &format!("{MAPS}?limit=1&continue={token}")).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (410, Some("Expired")));
    assert!(refused.body["metadata"]["continue"].is_null(), "what cannot be believed is not gone on from");
}

#[tokio::test]
async fn versions_choose_the_state() {
    let world = World::new().await;
    let first = world.post("acme", MAPS, map("a")).await.body;
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    world.patch("acme", &format!("{MAPS}/a"), json!({"data": {"a": "2"}})).await;
    let list = async |query: &str| world.get("acme", &format!("{MAPS}?{query}")).await;
    let exact = list(&format!("resourceVersion={revision}&resourceVersionMatch=Exact")).await;
    assert_eq!(exact.body["items"][0]["data"]["a"], "1");
    assert_eq!(exact.body["metadata"]["resourceVersion"], revision.as_str());
    let newer = list(&format!("resourceVersion={revision}&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(newer.body["items"][0]["data"]["a"], "2");
    assert_eq!(list("resourceVersion=0&resourceVersionMatch=Exact").await.code, 422);
    assert_eq!(list("resourceVersionMatch=NotOlderThan").await.code, 422);
    assert_eq!(list("resourceVersion=abc").await.code, 400);
    let future = list("resourceVersion=999999999999");
    let mut future = std::pin::pin!(future);
    assert!(futures::poll!(&mut future).is_pending());
    world.advance(4);
    let future = future.await;
    assert_eq!((future.code, future.body["details"]["retryAfterSeconds"].as_u64()), (504, Some(1)));
}

#[tokio::test]
async fn long_lists_are_sent_piece_by_piece_and_whole() {
    let world = World::new().await;
    let filling = "x".repeat(4000);
    for at in 0..120 {
        let mut body = map(&format!("m{at:03}"));
        body["data"]["filling"] = json!(filling);
        assert_eq!(world.post("acme", MAPS, body).await.code, 201);
    }
    let response = world.respond("acme", http::Method::GET, MAPS, "", String::new()).await;
    assert!(http_body::Body::size_hint(response.body()).exact().is_none(), "it is streamed");
    let list = world.get("acme", MAPS).await;
    let items = list.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 120);
    assert!(items.windows(2).all(|two| two[0]["metadata"]["name"].as_str() < two[1]["metadata"]["name"].as_str()));
}

#[tokio::test]
async fn who_takes_any_state_gets_all_of_it() {
    let world = World::new().await;
    let events = "/api/v1/namespaces/default/events";
    for name in ["a", "b", "c"] {
        world.post("acme", MAPS, map(name)).await;
        let event = json!({"metadata": {"name": name}, "involvedObject": {"namespace": "default"}});
        assert_eq!(world.post("acme", events, event).await.code, 201);
    }
    for (path, version, count) in [
        (MAPS, "resourceVersion=0", 3),
        (MAPS, "resourceVersion=0&resourceVersionMatch=NotOlderThan", 3),
        (MAPS, "resourceVersion=1&resourceVersionMatch=NotOlderThan", 2),
        (MAPS, "resourceVersion=", 2),
        (events, "resourceVersion=0", 2),
    ] {
        let page = world.get("acme", &format!("{path}?limit=2&{version}")).await.body;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(count), "{path} {version}: {page}");
        assert_eq!(page["metadata"]["continue"].is_string(), count < 3, "{path} {version}");
    }
}

#[tokio::test]
async fn a_request_may_say_how_long_it_is_to_take() {
    let world = World::new().await;
    for good in ["3m", "1.5s", "0", ""] {
        assert_eq!(world.get("acme", &format!("{MAPS}?timeout={good}")).await.code, 200, "{good}");
    }
    let bad = world.get("acme", &format!("{MAPS}?timeout=invalid")).await;
    let why = r#"invalid timeout specified in the request URL - time: invalid duration "invalid""#;
    assert_eq!((bad.code, bad.body["message"].as_str().unwrap()), (400, why));
}

#[tokio::test]
async fn component_statuses_are_made_when_they_are_asked_for() {
    let world = World::new().await;
    let path = "/tenants/acme/api/v1/componentstatuses";
    let conditions = json!([{"type": "Healthy", "status": "True", "message": "ok"}]);
    let whole = json!({"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": "etcd-0"}, "conditions": conditions});
    let one = world.get("acme", &format!("{path}/etcd-0")).await;
    assert_eq!((one.code, &one.body), (200, &whole));
    assert_eq!(one.warnings, ["299 - \"v1 ComponentStatus is deprecated in v1.19+\""]);
    let none = world.get("acme", &format!("{path}/scheduler")).await;
    assert_eq!((none.code, &none.body["message"]), (404, &json!("componentstatus \"scheduler\" not found")));
    let list =
        |items: Value| json!({"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": items});
    let item = json!({"metadata": {"name": "etcd-0"}, "conditions": conditions});
    for (query, items) in [
        ("", json!([item])),
        ("?limit=1&resourceVersion=7", json!([item])),
        ("?fieldSelector=metadata.name%3Detcd-0", json!([item])),
        ("?fieldSelector=metadata.name%3Dx", json!([])),
        ("?labelSelector=a", json!([])),
    ] {
        assert_eq!(world.get("acme", &format!("{path}{query}")).await.body, list(items), "{query}");
    }
    let table = world.get_as("acme", path, "application/json;as=Table;v=v1;g=meta.k8s.io").await.body;
    assert_eq!(table["rows"][0]["cells"], json!(["etcd-0", "Healthy", "ok", ""]));
    let watched = world.get("acme", &format!("{path}?watch=1")).await;
    let why = "watch is not supported on resources of kind \"componentstatuses\"";
    assert_eq!((watched.code, &watched.body["message"]), (405, &json!(why)));
    assert_eq!(world.get("clerk", path).await.code, 403);
}
