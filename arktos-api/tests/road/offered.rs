//! Definitions that `system` offers to tenants: who takes one, what it then has, and what becomes of it when either
//! side changes its mind.

use arktos_core::{GroupResource, TenantName};
use arktos_store::Within;
use serde_json::{Value, json};

use crate::{Answer, World};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GADGET: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.example.org";
const GADGETS: &str = "/apis/example.org/v1/namespaces/default/gadgets";
const LABEL: &str = "arktos.futurewei.com/crd-sharing-policy";

fn version(name: &str, size: &str, storage: bool) -> Value {
    json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"size": {"type": size}},
    }}})
}

/// A definition whose objects have a size of this type.
fn definition(labels: Value, size: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.example.org", "labels": labels},
        "spec": {
            "group": "example.org", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [version("v1", size, true)],
        },
    })
}

fn optional() -> Value {
    json!({LABEL: "optional"})
}

/// A tenant's word that it takes what `system` offers, and nothing else.
fn taken() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.example.org", "labels": optional()}})
}

fn gadget(name: &str, size: Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Gadget", "metadata": {"name": name}, "size": size})
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().expect("a list").iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

/// A region whose definitions are looked after.
async fn world() -> World {
    let world = World::new().await;
    tokio::spawn(world.api.clone().look_after(|_| {}));
    world
}

async fn made(world: &World, token: &str, path: &str, object: Value) -> Value {
    let answer = world.post(token, path, object).await;
    assert_eq!(answer.code, 201, "{:?}", answer.body);
    answer.body
}

/// Asks until the answer is as expected.
async fn until(world: &World, token: &str, path: &str, fits: impl Fn(&Answer) -> bool) -> Value {
    for _ in 0..2000 {
        let answer = world.get(token, path).await;
        if fits(&answer) {
            return answer.body;
        }
        world.advance(1);
        tokio::task::yield_now().await;
    }
    panic!("{path} never came to what was expected: {:?}", world.get(token, path).await.body)
}

fn condition(definition: &Value) -> Option<&Value> {
    definition["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "FollowsSystem")
}

#[tokio::test]
async fn who_takes_an_offer_has_it_and_nobody_else() {
    let world = world().await;
    made(&world, "root", DEFINITIONS, definition(optional(), "integer")).await;
    for token in ["acme", "umbra"] {
        assert_eq!(
            names(&world.get(token, DEFINITIONS).await.body),
            Vec::<&str>::new(),
            "an offer is forced on nobody"
        );
        assert_eq!(world.get(token, GADGETS).await.code, 404);
    }
    let mut events = world.watch("acme", &format!("{DEFINITIONS}?watch=true")).await;
    let one = made(&world, "acme", DEFINITIONS, taken()).await;
    assert_eq!(one["spec"], world.get("root", GADGET).await.body["spec"]);
    assert_eq!(events.next().await.expect("an event")["object"]["spec"], one["spec"]);
    assert_eq!(names(&world.get("acme", DEFINITIONS).await.body), ["gadgets.example.org"]);
    assert!(world.get("acme", "/apis").await.body.to_string().contains("example.org"));
    assert_eq!(world.get("acme", "/openapi/v3/apis/example.org/v1").await.code, 200);
    made(&world, "acme", GADGETS, gadget("one", json!(1))).await;
    assert_eq!(world.post("acme", GADGETS, gadget("odd", json!("x"))).await.code, 422, "the schema is system's");
    assert_eq!(world.get("umbra", GADGETS).await.code, 404);
    assert!(!world.get("umbra", "/apis").await.body.to_string().contains("example.org"));
}

#[tokio::test]
async fn what_is_taken_says_what_the_offer_says_whatever_the_tenant_writes() {
    let world = world().await;
    let nothing = world.post("acme", DEFINITIONS, taken()).await;
    assert_eq!(nothing.code, 422, "what nobody offers has to be said: {:?}", nothing.body);
    // One that the tenant had before is its own until it says otherwise.
    made(&world, "acme", DEFINITIONS, definition(json!({}), "string")).await;
    made(&world, "acme", GADGETS, gadget("old", json!("x"))).await;
    made(&world, "root", DEFINITIONS, definition(optional(), "integer")).await;
    made(&world, "acme", GADGETS, gadget("still", json!("x"))).await;
    let taken = world.patch("acme", GADGET, json!({"metadata": {"labels": optional()}})).await;
    assert_eq!(taken.code, 200, "{:?}", taken.body);
    let offered = world.get("root", GADGET).await.body["spec"].clone();
    assert_eq!(taken.body["spec"], offered);
    assert_eq!(world.post("acme", GADGETS, gadget("odd", json!("x"))).await.code, 422);
    let own = json!({"spec": {"versions": [version("v1", "string", true)]}});
    let changed = world.patch("acme", GADGET, own.clone()).await;
    assert_eq!((changed.code, &changed.body["spec"]), (200, &offered));
    // Its own again.
    assert_eq!(world.patch("acme", GADGET, json!({"metadata": {"labels": {LABEL: null}}})).await.code, 200);
    let changed = world.patch("acme", GADGET, own).await;
    assert_ne!(changed.body["spec"], offered, "{:?}", changed.body);
    made(&world, "acme", GADGETS, gadget("again", json!("x"))).await;
}

#[tokio::test]
async fn those_who_took_an_offer_follow_it_as_far_as_their_objects_let_them() {
    let world = world().await;
    made(&world, "root", DEFINITIONS, definition(optional(), "integer")).await;
    made(&world, "acme", DEFINITIONS, taken()).await;
    made(&world, "umbra", DEFINITIONS, definition(json!({}), "string")).await;
    made(&world, "acme", GADGETS, gadget("one", json!(1))).await;
    let both = json!({"spec": {"versions": [version("v1", "integer", false), version("v2", "integer", true)]}});
    assert_eq!(world.patch("root", GADGET, both).await.code, 200);
    let newer = GADGETS.replace("v1", "v2");
    until(&world, "acme", &newer, |answer| answer.code == 200).await;
    let followed = world.get("acme", GADGET).await.body;
    assert_eq!((&followed["metadata"]["generation"], condition(&followed)), (&json!(2), None));
    assert_eq!(followed["status"]["storedVersions"], json!(["v1", "v2"]));
    assert_eq!(world.get("umbra", &newer).await.code, 404, "who defines it itself is left alone");

    // `system` has moved its own objects; those of a tenant are still stored in the version that is to go.
    let moved = json!({"status": {"storedVersions": ["v2"]}});
    assert_eq!(world.patch("root", &format!("{GADGET}/status"), moved.clone()).await.code, 200);
    let last = json!({"spec": {"versions": [version("v2", "integer", true)]}});
    assert_eq!(world.patch("root", GADGET, last).await.code, 200);
    let held = until(&world, "acme", GADGET, |answer| condition(&answer.body).is_some()).await;
    let why = condition(&held).expect("there");
    assert_eq!((&why["status"], &why["reason"]), (&json!("False"), &json!("NotCompatible")));
    assert!(why["message"].as_str().is_some_and(|text| text.contains("storedVersions")), "{why}");
    assert_eq!(names(&world.get("acme", GADGETS).await.body), ["one"]);
    let annotated = world.patch("acme", GADGET, json!({"metadata": {"annotations": {"a": "b"}}})).await;
    assert_eq!(annotated.code, 200, "what it holds up holds up nothing else: {:?}", annotated.body);
    // The tenant says that it has moved, too. (Its `status` is written after its `spec` was held.)
    assert_eq!(world.patch("acme", &format!("{GADGET}/status"), moved).await.code, 200);
    let told = |answer: &Answer| condition(&answer.body).is_some_and(|condition| condition["status"] == "True");
    let followed = until(&world, "acme", GADGET, told).await;
    assert_eq!(followed["spec"], world.get("root", GADGET).await.body["spec"]);
    assert_eq!(world.get("acme", GADGETS).await.code, 404);
}

#[tokio::test]
async fn either_side_can_end_it_and_no_tenant_loses_what_it_has_by_another_s_word() {
    let world = world().await;
    made(&world, "root", DEFINITIONS, definition(optional(), "integer")).await;
    for token in ["acme", "umbra"] {
        made(&world, token, DEFINITIONS, taken()).await;
        made(&world, token, GADGETS, gadget("one", json!(1))).await;
    }
    let count = |tenant: &str| {
        let within = Within::Tenant(TenantName::new(tenant).expect("a name"));
        world.engine.snapshot().count(&GroupResource::new("example.org", "gadgets"), &within)
    };
    assert_eq!(world.delete("acme", GADGET).await.code, 200);
    until(&world, "acme", GADGET, |answer| answer.code == 404).await;
    assert_eq!((world.get("acme", GADGETS).await.code, count("acme")), (404, 0), "as with any definition");
    assert_eq!(names(&world.get("umbra", GADGETS).await.body), ["one"]);
    made(&world, "acme", DEFINITIONS, taken()).await;
    assert_eq!(names(&world.get("acme", GADGETS).await.body), Vec::<&str>::new());

    // `system` takes it back, and deletes it: who took it keeps it.
    assert_eq!(world.patch("root", GADGET, json!({"metadata": {"labels": {LABEL: null}}})).await.code, 200);
    let other = json!({"spec": {"versions": [version("v1", "string", true)]}});
    assert_eq!(world.patch("root", GADGET, other).await.code, 200);
    assert_eq!(world.delete("root", GADGET).await.code, 200);
    until(&world, "root", GADGET, |answer| answer.code == 404).await;
    made(&world, "umbra", GADGETS, gadget("two", json!(2))).await;
    assert_eq!(world.post("umbra", GADGETS, gadget("odd", json!("x"))).await.code, 422, "as it was last");
    assert_eq!((names(&world.get("umbra", GADGETS).await.body), count("umbra")), (vec!["one", "two"], 2));
}

#[tokio::test]
async fn what_is_forced_goes_before_what_is_taken() {
    let world = world().await;
    made(&world, "root", DEFINITIONS, definition(optional(), "integer")).await;
    made(&world, "acme", DEFINITIONS, taken()).await;
    assert_eq!(world.patch("root", GADGET, json!({"metadata": {"labels": {LABEL: "forced"}}})).await.code, 200);
    for token in ["acme", "umbra"] {
        made(&world, token, GADGETS, gadget("one", json!(1))).await;
        assert_eq!(world.delete(token, GADGET).await.code, 403);
    }
    assert_eq!(world.delete("root", GADGET).await.code, 200);
    until(&world, "umbra", GADGETS, |answer| answer.code == 404).await;
    assert_eq!(names(&world.get("acme", GADGETS).await.body), ["one"], "what a tenant took is its own");
}
