//! Kinds that tenants define.

use arktos_core::{GroupResource, Scope};
use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::World;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.org/v1/namespaces/default/widgets";

fn definition(size: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {
                    "type": "object",
                    "properties": {
                        "size": {"type": size},
                        "color": {"type": "string", "default": "red"},
                        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                            "items": {"type": "object", "required": ["name"], "properties": {
                                "name": {"type": "string"}, "count": {"type": "integer"},
                            }}},
                    },
                }}}},
                "selectableFields": [{"jsonPath": ".spec.color"}],
            }],
        },
    })
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

impl World {
    /// Drives what looks after definitions for as long as the test lasts.
    fn looks_after(&self) -> Arc<Mutex<Vec<arktos_api::DefinedKind>>> {
        let told: Arc<Mutex<Vec<arktos_api::DefinedKind>>> = Arc::default();
        let hears = told.clone();
        tokio::spawn(self.api.clone().look_after(move |kinds| *hears.lock() = kinds));
        told
    }

    async fn eventually(&self, path: &str, code: u16) {
        for _ in 0..200 {
            if self.get("acme", path).await.code == code {
                return;
            }
            self.advance(1);
            tokio::task::yield_now().await;
        }
        panic!("{path} never answers {code}");
    }
}

#[tokio::test]
async fn a_definition_that_goes_has_a_finalizer_of_its_own_alone() {
    let world = World::new().await;
    assert_eq!(world.post("acme", DEFINITIONS, definition("integer")).await.code, 201);
    let path = format!("{DEFINITIONS}/widgets.example.org");
    let other = Some(json!({"preconditions": {"uid": "u"}}));
    let refused = world.send("acme", Method::DELETE, &path, other).await;
    assert_eq!((refused.code, &refused.body["details"]["kind"]), (409, &json!("customresourcedefinitions")));
    let marked = world.send("acme", Method::DELETE, &path, Some(json!({"propagationPolicy": "Orphan"}))).await.body;
    assert_eq!(marked["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]), "{marked}");
}

#[tokio::test]
async fn what_a_scale_counts_is_written_as_a_whole_number() {
    let world = World::new().await;
    let mut counted = definition("integer");
    counted["spec"]["versions"][0]["subresources"] =
        json!({"scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}});
    assert_eq!(world.post("acme", DEFINITIONS, counted).await.code, 201);
    for (written, shown) in [(json!(1.0), "1"), (json!(1e2), "100"), (json!(1.5), "1.5")] {
        let refused = world.post("acme", WIDGETS, widget("a", json!({"size": written}))).await;
        let why = format!(".spec.size accessor error: {shown} is of the type float64, expected int64");
        let message = refused.body["message"].as_str().unwrap();
        assert_eq!((refused.code, message.contains(&why)), (422, true), "{message}");
    }
    let parts = json!([{"name": "p", "count": 2.0}]);
    let made = world.post("acme", WIDGETS, widget("a", json!({"size": 1, "parts": parts}))).await;
    assert_eq!((made.code, made.body["spec"]["parts"][0]["count"].to_string()), (201, "2".to_owned()));
    let patched = world.patch("acme", &format!("{WIDGETS}/a"), json!({"spec": {"size": 2.0}})).await;
    assert_eq!(patched.code, 422, "{}", patched.body);
    let yaml = "apiVersion: example.org/v1\nkind: Widget\nmetadata:\n  name: b\nspec:\n  size: 1.0\n".to_owned();
    let read = world.send_as("acme", Method::POST, WIDGETS, "application/yaml", yaml).await;
    assert_eq!(read.code, 201, "numbers in YAML are made JSON first: {}", read.body);
}

#[tokio::test]
async fn a_format_that_nobody_knows_is_warned_of_once() {
    let world = World::new().await;
    let mut formatted = definition("integer");
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let mut fields = formatted.pointer(spec).unwrap().clone();
    fields["at"] = json!({"type": "string", "format": "date-time"});
    fields["odd"] = json!({"type": "string", "format": "foo"});
    *formatted.pointer_mut(spec).unwrap() = fields;
    let made = world.post("acme", DEFINITIONS, formatted.clone()).await;
    assert_eq!((made.code, made.warnings), (201, vec!["299 - \"unrecognized format \\\"foo\\\"\"".to_owned()]));
    let path = format!("{DEFINITIONS}/widgets.example.org");
    let labelled = world.patch("acme", &path, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!((labelled.code, labelled.warnings), (200, Vec::new()));
    *formatted.pointer_mut(&format!("{spec}/at/format")).unwrap() = json!("bar");
    let changed = world.patch("acme", &path, json!({"spec": formatted["spec"]})).await;
    assert_eq!((changed.code, changed.warnings), (200, vec!["299 - \"unrecognized format \\\"bar\\\"\"".to_owned()]));
}

#[tokio::test]
async fn a_kind_is_served_from_the_answer_on_and_only_in_its_tenant() {
    let world = World::new().await;
    assert_eq!(world.get("acme", WIDGETS).await.code, 404);
    assert_eq!(world.post("acme", DEFINITIONS, definition("integer")).await.code, 201);
    let made = world.post("acme", WIDGETS, widget("a", json!({"size": 1, "odd": 2}))).await;
    assert_eq!((made.code, &made.body["spec"]), (201, &json!({"size": 1, "color": "red"})));
    assert_eq!(made.warnings, ["299 - \"unknown field \\\"spec.odd\\\"\""]);
    let groups = world.get("acme", "/apis").await.body["groups"].to_string();
    assert!(groups.contains("example.org"));
    for path in [WIDGETS, "/apis/example.org/v1", "/openapi/v3/apis/example.org/v1"] {
        assert_eq!(world.get("acme", path).await.code, 200, "{path}");
        assert_eq!(world.get("umbra", path).await.code, 404, "{path}");
    }
    assert!(!world.get("umbra", "/apis").await.body["groups"].to_string().contains("example.org"));
}

#[tokio::test]
async fn two_tenants_may_mean_different_things_by_one_name() {
    let world = World::new().await;
    world.post("acme", DEFINITIONS, definition("integer")).await;
    world.post("umbra", DEFINITIONS, definition("string")).await;
    for (token, good, bad) in [("acme", json!(1), json!("x")), ("umbra", json!("x"), json!(1))] {
        assert_eq!(world.post(token, WIDGETS, widget("a", json!({"size": good}))).await.code, 201, "{token}");
        assert_eq!(world.post(token, WIDGETS, widget("b", json!({"size": bad}))).await.code, 422, "{token}");
    }
}

#[tokio::test]
async fn each_way_in_which_tenants_define_a_resource_is_told_of() {
    let world = World::new().await;
    let told = world.looks_after();
    let widgets = |kind: &str, scope| (GroupResource::new("example.org", "widgets"), kind.to_owned(), scope);
    let hears = async |expected: &[arktos_api::DefinedKind]| {
        for _ in 0..200 {
            if *told.lock() == expected {
                return;
            }
            world.advance(1);
            tokio::task::yield_now().await;
        }
        assert_eq!(*told.lock(), expected);
    };
    let mut others = definition("integer");
    others["spec"]["scope"] = json!("Cluster");
    others["spec"]["names"]["kind"] = json!("Gadget");
    world.post("umbra", DEFINITIONS, others).await;
    world.post("acme", DEFINITIONS, definition("integer")).await;
    hears(&[widgets("Gadget", Scope::Tenant), widgets("Widget", Scope::Namespace)]).await;
    world.delete("umbra", &format!("{DEFINITIONS}/widgets.example.org")).await;
    hears(&[widgets("Widget", Scope::Namespace)]).await;
}

#[tokio::test]
async fn names_that_another_definition_of_the_group_has_are_waited_for() {
    let world = World::new().await;
    world.post("acme", DEFINITIONS, definition("integer")).await;
    let mut second = definition("integer");
    second["metadata"]["name"] = json!("wds.example.org");
    second["spec"]["names"] = json!({"plural": "wds", "singular": "wd", "kind": "Wd"});
    let answer = world.post("acme", DEFINITIONS, second).await;
    assert_eq!(answer.code, 201);
    let path = format!("{DEFINITIONS}/wds.example.org");
    let read = world.get("acme", &path).await.body;
    assert_eq!(read["status"]["acceptedNames"]["singular"], Value::Null, "widgets are called wd for short: {read}");
    world.delete("acme", &format!("{DEFINITIONS}/widgets.example.org")).await;
    world.looks_after();
    for _ in 0..200 {
        if world.get("acme", &path).await.body["status"]["acceptedNames"]["singular"] == "wd" {
            return;
        }
        world.advance(1);
        tokio::task::yield_now().await;
    }
    panic!("{}", world.get("acme", &path).await.body);
}

#[tokio::test]
async fn a_definition_goes_when_its_objects_are_gone_and_takes_them_along() {
    let world = World::new().await;
    let told = world.looks_after();
    world.post("acme", DEFINITIONS, definition("integer")).await;
    world.post("acme", WIDGETS, widget("free", json!({}))).await;
    let mut held = widget("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.org/hold"]);
    assert_eq!(world.post("acme", WIDGETS, held).await.code, 201);
    let path = format!("{DEFINITIONS}/widgets.example.org");
    let marked = world.delete("acme", &path).await;
    assert_eq!(marked.body["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(world.post("acme", WIDGETS, widget("late", json!({}))).await.code, 403);
    world.eventually(&format!("{WIDGETS}/free"), 404).await;
    assert_eq!(*told.lock(), [(GroupResource::new("example.org", "widgets"), "Widget".to_owned(), Scope::Namespace)]);
    assert_eq!(world.get("acme", &path).await.code, 200, "what holds an object holds its definition");
    let released = world.patch("acme", &format!("{WIDGETS}/held"), json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(released.code, 200);
    world.eventually(&path, 404).await;
    assert_eq!(world.get("acme", WIDGETS).await.code, 404);
    world.eventually(WIDGETS, 404).await;
    assert!(told.lock().is_empty());
}

#[tokio::test]
async fn a_deletion_that_was_cut_off_goes_on() {
    let world = World::new().await;
    world.post("acme", DEFINITIONS, definition("integer")).await;
    world.post("acme", WIDGETS, widget("a", json!({}))).await;
    let path = format!("{DEFINITIONS}/widgets.example.org");
    world.delete("acme", &path).await; // and nobody looks after it, until a server starts anew
    assert_eq!(world.get("acme", &format!("{WIDGETS}/a")).await.code, 200);
    world.looks_after();
    world.eventually(&path, 404).await;
}

#[tokio::test]
async fn lists_are_applied_item_by_item_as_the_schema_says() {
    let world = World::new().await;
    world.post("acme", DEFINITIONS, definition("integer")).await;
    let path = format!("{WIDGETS}/a");
    let apply = async |manager: &str, parts: Value| {
        let config = widget("a", json!({"parts": parts}));
        let path = format!("{path}?fieldManager={manager}");
        world.send_as("acme", Method::PATCH, &path, "application/apply-patch+yaml", config.to_string()).await
    };
    assert_eq!(apply("one", json!([{"name": "x", "count": 1}])).await.code, 201);
    let both = apply("two", json!([{"name": "y", "count": 2}])).await;
    let parts = json!([{"name": "x", "count": 1}, {"name": "y", "count": 2}]);
    assert_eq!((both.code, &both.body["spec"]["parts"]), (200, &parts));
    assert_eq!(apply("two", json!([{"name": "x", "count": 3}])).await.code, 409);
}

#[tokio::test]
async fn custom_kinds_know_neither_protobuf_nor_strategic_patches() {
    let world = World::new().await;
    world.post("acme", DEFINITIONS, definition("integer")).await;
    world.post("acme", WIDGETS, widget("a", json!({}))).await;
    let path = format!("{WIDGETS}/a");
    let strategic = "application/strategic-merge-patch+json";
    assert_eq!(world.send_as("acme", Method::PATCH, &path, strategic, "{}".to_owned()).await.code, 415);
    let protobuf = "application/vnd.kubernetes.protobuf";
    assert_eq!(world.send_as("acme", Method::POST, WIDGETS, protobuf, "k8s\0".to_owned()).await.code, 415);
}

#[tokio::test]
async fn fields_stay_selectable_where_they_were_when_others_join_them() {
    let world = World::new().await;
    world.post("acme", DEFINITIONS, definition("string")).await;
    world.post("acme", WIDGETS, widget("a", json!({"size": "big"}))).await;
    let patch = json!({"spec": {"versions": [{
        "name": "v1", "served": true, "storage": true,
        "schema": definition("string")["spec"]["versions"][0]["schema"],
        "selectableFields": [{"jsonPath": ".spec.size"}, {"jsonPath": ".spec.color"}],
    }]}});
    let path = format!("{DEFINITIONS}/widgets.example.org");
    assert_eq!(world.patch("acme", &path, patch).await.code, 200);
    let found = async |selector: &str| {
        let list = world.get("acme", &format!("{WIDGETS}?fieldSelector={selector}")).await.body;
        list["items"].as_array().map_or(99, Vec::len)
    };
    assert_eq!(found("spec.color=red").await, 1);
    assert_eq!(found("spec.size=red").await, 0);
    world.patch("acme", &format!("{WIDGETS}/a"), json!({"spec": {"size": "small"}})).await;
    assert_eq!(found("spec.size=small").await, 1);
}
