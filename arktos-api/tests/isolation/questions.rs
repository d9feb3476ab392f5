//! Questions that could answer more than they should.

use arktos_core::Revision;
use http::Method;
use serde_json::{Value, json};

use crate::world::{MAPS, World, map, request};

#[tokio::test]
async fn a_continue_token_is_good_for_the_list_it_was_given_out_for_alone() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        for who in ["acme", "umbra"] {
            assert_eq!(world.post(who, MAPS, map(name)).await.code, 201);
        }
    }
    let token_of = async |who: &str, path: &str| {
        let page = world.get(who, &format!("{path}?limit=1")).await.json();
        page["metadata"]["continue"].as_str().unwrap().to_owned()
    };
    let theirs = token_of("umbra", MAPS).await;
    let all = token_of("root", "/api/v1/tenants/all/configmaps").await;
    let ours = token_of("acme", MAPS).await;
    for token in [theirs.as_str(), all.as_str()] {
        let refused = world.get("acme", &format!("{MAPS}?limit=1&continue={token}")).await;
        assert_eq!(refused.code, 400, "{}", refused.text);
    }
    let other = world.get("acme", &format!("/api/v1/namespaces/default/secrets?limit=1&continue={ours}")).await;
    assert_eq!(other.code, 400, "{}", other.text);
    // One that is made up, as upstream's tokens are made.
    let made_up = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi91bWJyYS9kZWZhdWx0L2EifQ";
    let refused = world.get("acme", &format!("{MAPS}?limit=1&continue={made_up}")).await;
    assert!(matches!(refused.code, 400 | 410), "{}", refused.text);
    let mut flipped = ours.clone().into_bytes();
    let last = flipped.len() - 2;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let refused = world.get("acme", &format!("{MAPS}?limit=1&continue={flipped}")).await;
    assert!(matches!(refused.code, 400 | 410), "{}", refused.text);
    assert_eq!(world.get("acme", &format!("{MAPS}?limit=1&continue={ours}")).await.code, 200);
}

#[tokio::test]
async fn selectors_choose_among_what_is_ones_own() {
    let world = World::new().await;
    let mut theirs = map("theirs");
    theirs["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(world.post("umbra", MAPS, theirs).await.code, 201);
    for selector in [
        "fieldSelector=metadata.name=theirs",
        "fieldSelector=metadata.namespace=default",
        "fieldSelector=metadata.namespace!=default",
        "fieldSelector=metadata.tenant=umbra",
        "fieldSelector=metadata.namespace=umbra/default",
        "labelSelector=a=b",
        "labelSelector=a",
        "labelSelector=",
    ] {
        let answer = world.get("acme", &format!("/api/v1/configmaps?{selector}")).await;
        let nothing = answer.json()["items"].as_array().is_some_and(Vec::is_empty);
        assert!(answer.code == 400 || nothing, "{selector}: {}", answer.text);
    }
    let counted = world.get("acme", "/api/v1/configmaps?limit=1").await.json();
    assert_eq!(counted["metadata"]["remainingItemCount"], Value::Null);
}

#[tokio::test]
async fn no_version_of_another_tenants_object_opens_it() {
    let world = World::new().await;
    let theirs = world.post("umbra", MAPS, map("theirs")).await.json();
    let version = theirs["metadata"]["resourceVersion"].as_str().unwrap();
    let version = Revision::parse(version).unwrap();
    for version in [version, Revision(version.0 - 1)] {
        for exact in ["Exact", "NotOlderThan"] {
            let query = format!("resourceVersion={version}&resourceVersionMatch={exact}");
            let answer = world.get("acme", &format!("{MAPS}?{query}")).await;
            assert!(!answer.text.contains("theirs"), "{query}: {}", answer.text);
        }
        let mut events = world.watch("acme", &format!("{MAPS}?watch=true&resourceVersion={version}")).await;
        assert!(events.is_quiet().await);
    }
    // Its uid is a precondition on one's own objects, and matches none.
    assert_eq!(world.post("acme", MAPS, map("theirs")).await.code, 201);
    let options = json!({"preconditions": {"uid": theirs["metadata"]["uid"]}}).to_string();
    let refused = world.answer(request("acme", Method::DELETE, &format!("{MAPS}/theirs"), &options)).await;
    assert_eq!(refused.code, 409, "{}", refused.text);
    assert_eq!(world.get("umbra", &format!("{MAPS}/theirs")).await.code, 200);
}

#[tokio::test]
async fn reviews_answer_about_ones_own_tenant() {
    let world = World::new().await;
    world.bind("umbra", json!([{"kind": "User", "name": "paul", "apiGroup": "rbac.authorization.k8s.io"}])).await;
    let group = "/apis/authorization.k8s.io/v1";
    let about = json!({"verb": "get", "resource": "secrets", "namespace": "default"});
    let subject = json!({"spec": {"user": "somebody", "groups": [], "resourceAttributes": about}});
    for review in ["subjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"] {
        for path in [format!("/tenants/umbra{group}/{review}"), format!("{group}/tenants/umbra/{review}")] {
            assert_eq!(world.post("acme", &path, subject.clone()).await.code, 403, "{path}");
        }
    }
    // Whom `umbra` has given rights to is not to be found out from here.
    let asked = json!({"spec": {"user": "paula", "resourceAttributes": about}});
    let told = world.post("acme", &format!("{group}/subjectaccessreviews"), asked).await.json();
    assert_eq!(told["status"]["allowed"], false, "{told}");
    let others = json!({"spec": {"user": "uma", "groups": ["system:masters"],
        "resourceAttributes": {"verb": "list", "resource": "nodes"}}});
    let told = world.post("acme", &format!("{group}/subjectaccessreviews"), others).await.json();
    assert_eq!(told["status"]["allowed"], false, "{told}");
}

#[tokio::test]
async fn what_another_tenant_serves_and_how_it_is_doing_is_not_told() {
    let world = World::new().await;
    for path in
        ["/api", "/apis", "/api/v1", "/version", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/nothing", "/"]
    {
        let (there, nobody) = (
            world.get("acme", &format!("/tenants/umbra{path}")).await,
            world.get("acme", &format!("/tenants/nobod{path}")).await,
        );
        assert_eq!((there.code, nobody.code), (403, 403), "{path}: {}", there.text);
        assert_eq!(there.text.replace("umbra", "nobod"), nobody.text, "{path}");
    }
}
