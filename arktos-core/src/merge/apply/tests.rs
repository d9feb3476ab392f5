//! The rules of ownership, on built-in types and on one of our own.

mod odd;

use serde_json::{Value, json};

use super::*;
use crate::catalog::{Catalog, Kind};
use crate::encoded::Dialect;
use crate::schema::{self, Field, ListKind, Shape, Struct, StructRef};
use std::sync::Arc;

/// An object that is written again and again, each time a second later.
struct World {
    schema: Schema,
    kind: Option<Arc<Kind>>,
    api_version: String,
    live: Option<Value>,
    now: u32,
}

impl World {
    fn of(group: &str, resource: &str) -> Self {
        let kind = Catalog::builtin().by_path(group, "v1", resource).expect("a built-in kind");
        let api_version = kind.type_meta.api_version.clone();
        Self { schema: kind.schema.clone(), kind: Some(kind), api_version, live: None, now: 0 }
    }

    fn own(schema: Schema) -> Self {
        Self { schema, kind: None, api_version: "example.com/v1".to_owned(), live: None, now: 0 }
    }

    fn whole(&self, mut value: Value) -> Value {
        value["apiVersion"] = json!(self.api_version);
        value["metadata"]["name"] = json!("a");
        if let Some(kind) = &self.kind {
            value["kind"] = json!(kind.type_meta.kind);
        }
        value
    }

    fn stored(&self, value: Value) -> Value {
        match &self.kind {
            None => value,
            Some(kind) => schema::decode(kind, value, Dialect::Plain).expect("decodes").object.into_value(),
        }
    }

    fn with<T>(&mut self, manager: &str, part: &str, act: impl FnOnce(&Self, &Writer<'_>) -> T) -> T {
        self.now += 1;
        let now = format!("2020-01-01T00:00:{:02}Z", self.now);
        let fields = if part == "status" { FieldSet::of(&[&["spec"]]) } else { FieldSet::of(&[&["status"]]) };
        let reach = Reach::AllBut(fields);
        let writer = Writer {
            manager,
            api_version: &self.api_version,
            subresource: part,
            now: &now,
            reach: &reach,
            schema: &self.schema,
            fixed: false,
            versions: &OneVersion,
        };
        act(self, &writer)
    }

    /// What is there is not copied for it, and managers are not made a tree: here they are.
    fn applied(writer: &Writer<'_>, live: Option<&Value>, config: &Value, force: bool) -> Result<Value, Status> {
        let mut live = live.cloned();
        let kept = live.as_mut().and_then(track::take_managed_fields).as_ref().map(Managed::of);
        let live = live.as_ref().map(|object| Live { object, managed: kept.as_ref() });
        let (mut new, managed) = apply(writer, live, config, force)?;
        managed.into_iter().for_each(|managed| new["metadata"]["managedFields"] = managed.tree());
        Ok(new)
    }

    fn try_apply(&mut self, manager: &str, part: &str, config: Value, force: bool) -> Result<(), Status> {
        let config = self.whole(config);
        let apply = |world: &Self, writer: &Writer<'_>| Self::applied(writer, world.live.as_ref(), &config, force);
        let new = self.with(manager, part, apply)?;
        self.live = Some(self.stored(new));
        Ok(())
    }

    fn apply(&mut self, manager: &str, config: Value) {
        self.try_apply(manager, "", config, false).expect("applies");
    }

    fn force(&mut self, manager: &str, config: Value) {
        self.try_apply(manager, "", config, true).expect("applies by force");
    }

    fn conflicts(&mut self, manager: &str, config: Value) -> Vec<String> {
        let status = self.try_apply(manager, "", config, false).expect_err("conflicts");
        assert_eq!(status.code, 409);
        let causes = status.details.expect("details").causes;
        assert!(causes.iter().all(|cause| cause.reason == "FieldManagerConflict"));
        causes.into_iter().map(|cause| cause.field).collect()
    }

    fn update(&mut self, manager: &str, value: Value) {
        let mut new = self.stored(self.whole(value));
        self.with(manager, "", |world, writer| world.updated(writer, &mut new));
        self.live = Some(new);
    }

    /// The update, of which it must make no difference whether the schema never changes.
    fn updated(&self, writer: &Writer<'_>, new: &mut Value) {
        let mut live = self.live.clone();
        let kept = live.as_mut().and_then(track::take_managed_fields).as_ref().map(Managed::of);
        let live = live.as_ref().map(|object| Live { object, managed: kept.as_ref() });
        let sent = track::take_managed_fields(new);
        let quick = update(&Writer { fixed: true, ..*writer }, live, new, sent.as_ref());
        let managed = update(writer, live, new, sent.as_ref());
        assert_eq!(quick, managed);
        managed.into_iter().for_each(|managed| new["metadata"]["managedFields"] = managed.tree());
    }

    fn patch(&mut self, manager: &str, part: &str, patch: Value) {
        let mut new = self.live.clone().expect("there is an object");
        crate::merge::merge_patch(&mut new, patch).expect("patches");
        let mut new = self.stored(new);
        self.with(manager, part, |world, writer| world.updated(writer, &mut new));
        self.live = Some(new);
    }

    fn at(&self, pointer: &str) -> Value {
        self.live.as_ref().and_then(|live| live.pointer(pointer)).cloned().unwrap_or_default()
    }

    fn entry(&self, manager: &str) -> Option<Value> {
        let entries = self.at("/metadata/managedFields");
        entries.as_array()?.iter().find(|entry| entry["manager"] == manager).cloned()
    }

    fn owns(&self, manager: &str) -> Value {
        self.entry(manager).map_or(Value::Null, |entry| entry["fieldsV1"].clone())
    }
}

#[test]
fn who_applies_owns_what_is_said() {
    let mut map = World::of("", "configmaps");
    map.apply("alice", json!({"metadata": {"labels": {"l": "1"}}, "data": {"x": "1"}}));
    let entry = map.entry("alice").expect("a manager");
    assert_eq!(entry["operation"], "Apply");
    assert_eq!(entry["apiVersion"], "v1");
    assert_eq!(entry["fieldsV1"], json!({"f:data": {"f:x": {}}, "f:metadata": {"f:labels": {"f:l": {}}}}));
}

#[test]
fn applying_the_same_again_keeps_the_time() {
    let mut map = World::of("", "configmaps");
    map.apply("alice", json!({"data": {"x": "1"}}));
    let first = map.live.clone();
    map.apply("alice", json!({"data": {"x": "1"}}));
    assert_eq!(map.live, first);
    map.apply("alice", json!({"data": {"x": "2"}}));
    assert_ne!(map.entry("alice").expect("a manager")["time"], json!("2020-01-01T00:00:01Z"));
}

#[test]
fn who_agrees_co_owns_without_a_time() {
    let mut map = World::of("", "configmaps");
    map.apply("alice", json!({"data": {"x": "1", "y": "1"}}));
    map.apply("bob", json!({"data": {"y": "1"}}));
    let bob = map.entry("bob").expect("a manager");
    assert_eq!(bob.get("time"), None);
    map.apply("alice", json!({"data": {}}));
    assert_eq!(map.at("/data"), json!({"y": "1"}), "x went, y has another owner");
    map.apply("bob", json!({}));
    assert_eq!(map.at("/data"), Value::Null);
    assert_eq!(map.owns("bob"), Value::Null, "who owns nothing is no manager");
}

#[test]
fn another_value_is_a_conflict_unless_by_force() {
    let mut map = World::of("", "configmaps");
    map.apply("alice", json!({"data": {"x": "1", "y": "1"}}));
    let status = map.try_apply("bob", "", map.whole(json!({"data": {"x": "2"}})), false).expect_err("conflict");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"alice\": .data.x");
    assert_eq!(map.conflicts("bob", json!({"data": {"x": "2", "y": "2"}})), [".data.x", ".data.y"]);
    map.force("bob", json!({"data": {"x": "2"}}));
    assert_eq!(map.at("/data/x"), "2");
    assert_eq!(map.owns("alice"), json!({"f:data": {"f:y": {}}}));
}

#[test]
fn conflicts_are_told_by_manager() {
    let mut map = World::of("", "configmaps");
    map.apply("alice", json!({"data": {"x": "1"}}));
    map.patch("bob", "", json!({"data": {"y": "1", "z": "1"}}));
    let config = json!({"data": {"x": "2", "y": "2", "z": "2"}});
    let status = map.try_apply("carol", "", config, false).expect_err("conflict");
    assert_eq!(
        status.message,
        "Apply failed with 3 conflicts: conflicts with \"alice\":\n- .data.x\n\
         conflicts with \"bob\" using v1:\n- .data.y\n- .data.z"
    );
}

#[test]
fn who_applies_is_told_of_before_who_updates_under_the_same_name() {
    let mut map = World::of("", "configmaps");
    map.apply("alice", json!({"data": {"x": "1"}}));
    map.patch("alice", "", json!({"data": {"a": "1"}}));
    let status = map.try_apply("bob", "", json!({"data": {"a": "2", "x": "2"}}), false).expect_err("conflict");
    assert!(
        status.message.ends_with("\"alice\":\n- .data.x\nconflicts with \"alice\" using v1:\n- .data.a"),
        "{status}"
    );
}

#[test]
fn what_loses_all_that_it_held_is_empty() {
    let mut world = own(ListKind::Atomic, false);
    world.apply("alice", json!({"object": {"x": 1}}));
    world.apply("bob", json!({"object": {"y": 1}}));
    world.apply("alice", json!({"object": {}}));
    world.apply("bob", json!({"any": 1}));
    assert_eq!(world.live.as_ref().expect("an object")["object"], json!({}));
}

#[test]
fn updates_own_what_they_change_and_release_what_they_remove() {
    let mut map = World::of("", "configmaps");
    map.update("maker", json!({"data": {"a": "1", "b": "1"}}));
    assert_eq!(map.owns("maker"), json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}}));
    map.patch("other", "", json!({"data": {"a": "2", "b": null, "c": "1"}}));
    assert_eq!(map.owns("maker"), json!({"f:data": {}}));
    assert_eq!(map.owns("other"), json!({"f:data": {"f:a": {}, "f:c": {}}}));
    let before = map.live.clone();
    map.patch("third", "", json!({"data": {"a": "2"}}));
    assert_eq!(map.live, before, "what changes nothing leaves no trace");
}

#[test]
fn structs_that_are_always_written_are_not_owned_by_a_creation() {
    let mut deployment = World::of("apps", "deployments");
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "x:1"}]}});
    deployment.update("maker", json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}));
    let owned = deployment.owns("maker");
    assert_eq!(owned["f:spec"].get("."), None);
    assert_eq!(owned["f:spec"]["f:selector"], json!({}), "a selector is owned as one");
    assert_eq!(owned["f:spec"]["f:template"]["f:metadata"], json!({"f:labels": {".": {}, "f:a": {}}}));
    assert_eq!(owned["f:spec"]["f:strategy"]["f:rollingUpdate"]["."], json!({}));
    assert_eq!(owned["f:spec"]["f:template"]["f:spec"]["f:containers"].get("."), None, "it is written as null");
    assert_eq!(owned["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"main\"}"]["."], json!({}));
}

#[test]
fn items_are_told_apart_by_keys_and_absent_keys_have_their_default() {
    let mut service = World::of("", "services");
    service.apply("alice", json!({"spec": {"ports": [{"name": "a", "port": 80}]}}));
    let tcp = "k:{\"port\":80,\"protocol\":\"TCP\"}";
    assert_eq!(service.owns("alice"), json!({"f:spec": {"f:ports": {tcp: {".": {}, "f:name": {}, "f:port": {}}}}}));
    service.apply("bob", json!({"spec": {"ports": [{"name": "b", "port": 80, "protocol": "UDP"}]}}));
    assert_eq!(service.at("/spec/ports").as_array().map(Vec::len), Some(2));
    let taken = service.conflicts("bob", json!({"spec": {"ports": [{"name": "c", "port": 80}]}}));
    assert_eq!(taken, [".spec.ports[port=80,protocol=\"TCP\"].name"]);
    service.apply("bob", json!({"spec": {"ports": []}}));
    assert_eq!(service.at("/spec/ports/0/name"), "a");
    assert_eq!(service.at("/spec/ports/1"), Value::Null);
    assert_eq!(service.owns("bob"), Value::Null);
}

#[test]
fn an_item_that_an_update_made_stays_when_an_applier_leaves() {
    let mut pod = World::of("", "pods");
    pod.update("maker", json!({"spec": {"containers": [{"name": "a", "image": "x:1"}]}}));
    pod.apply("alice", json!({"spec": {"containers": [{"name": "a", "env": [{"name": "E", "value": "1"}]}]}}));
    assert_eq!(pod.at("/spec/containers/0/env/0/value"), "1");
    pod.apply("alice", json!({}));
    assert_eq!(pod.at("/spec/containers/0/image"), "x:1");
    assert_eq!(pod.at("/spec/containers/0/env"), Value::Null);
}

#[test]
fn sets_are_owned_value_by_value() {
    let mut map = World::of("", "configmaps");
    map.apply("alice", json!({"metadata": {"finalizers": ["x/a", "x/c"]}}));
    map.apply("bob", json!({"metadata": {"finalizers": ["x/b", "x/c"]}}));
    assert_eq!(map.at("/metadata/finalizers"), json!(["x/a", "x/b", "x/c"]));
    map.apply("alice", json!({}));
    assert_eq!(map.at("/metadata/finalizers"), json!(["x/b", "x/c"]));
}

#[test]
fn an_item_may_not_stand_twice_and_fields_must_exist() {
    let mut pod = World::of("", "pods");
    for (config, text) in [
        (json!({"metadata": {"finalizers": ["x/a", "x/a"]}}), "duplicate entries for key [=\"x/a\"]"),
        (json!({"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}), "duplicate entries for key [name=\"a\"]"),
        (json!({"spec": {"bogus": 1}}), ".spec.bogus: field not declared in schema"),
        (json!({"spec": {"hostname": 1}}), ".spec.hostname: expected string"),
        (json!({"spec": {"containers": [null]}}), "may not have a null element"),
    ] {
        let status = pod.try_apply("alice", "", config, false).expect_err("refused");
        assert!(status.code == 500 && status.message.contains(text), "{}", status.message);
    }
}

#[test]
fn an_item_without_its_keys_is_refused() {
    let mut world = own(ListKind::Map, false);
    let status = world.try_apply("alice", "", json!({"list": [{"v": 1}]}), false).expect_err("refused");
    assert!(status.message.contains("omits all key fields [\"name\"]"), "{}", status.message);
}

#[test]
fn the_configuration_says_its_version_and_no_managers() {
    let mut map = World::of("", "configmaps");
    let status = map.try_apply("a", "", json!({"metadata": {"managedFields": [{}]}}), false).expect_err("refused");
    assert_eq!((status.code, status.message.as_str()), (400, "metadata.managedFields must be nil"));
    let act = |_: &World, writer: &Writer<'_>| apply(writer, None, &json!({"apiVersion": "v2"}), false);
    let status = map.with("a", "", act).expect_err("refused");
    assert_eq!(status.code, 400);
}

#[test]
fn what_was_there_before_anybody_kept_track_is_somebodys() {
    let mut map = World::of("", "configmaps");
    map.update("maker", json!({"data": {"a": "1"}}));
    map.patch("x", "", json!({"metadata": {"managedFields": [{}]}}));
    assert_eq!(map.at("/metadata/managedFields"), Value::Null);
    map.patch("x", "", json!({"data": {"b": "1"}}));
    assert_eq!(map.at("/metadata/managedFields"), Value::Null, "an update does not begin to track");
    let status = map.try_apply("alice", "", json!({"data": {"a": "2"}}), false).expect_err("conflict");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a");
}

#[test]
fn managers_that_cannot_be_read_or_are_left_out_stay_as_they_were() {
    let mut map = World::of("", "configmaps");
    map.apply("alice", json!({"data": {"a": "1"}}));
    let before = map.live.clone();
    map.patch("x", "", json!({"metadata": {"managedFields": null}}));
    assert_eq!(map.live, before);
    let odd = json!([{"manager": "m", "operation": "Odd", "apiVersion": "v1", "fieldsType": "FieldsV1"}]);
    map.patch("x", "", json!({"metadata": {"managedFields": odd}}));
    assert_eq!(map.live, before);
}

#[test]
fn the_status_has_managers_of_its_own() {
    let mut pod = World::of("", "pods");
    pod.update(
        "maker",
        json!({"spec": {"containers": [{"name": "a", "image": "x:1"}]}, "status": {"phase": "Running"}}),
    );
    assert_eq!(pod.owns("maker").get("f:status"), None, "a creation cannot set it");
    let status = json!({"conditions": [{"type": "x/One", "status": "True"}]});
    pod.try_apply("one", "status", json!({"status": status, "spec": {"hostname": "h"}}), false).expect("applies");
    let entry = pod.entry("one").expect("a manager");
    assert_eq!(entry["subresource"], "status");
    assert_eq!(entry["fieldsV1"].get("f:spec"), None);
    let other = json!({"status": {"conditions": [{"type": "x/One", "status": "False"}]}});
    let refused = pod.try_apply("two", "status", other, false).expect_err("conflict");
    assert_eq!(
        refused.message,
        "Apply failed with 1 conflict: conflict with \"one\" with subresource \"status\": \
         .status.conditions[type=\"x/One\"].status"
    );
    pod.try_apply("one", "status", json!({"status": {}}), false).expect("applies");
    assert_eq!(pod.at("/status/conditions"), Value::Null);
}

#[test]
fn kubectl_moves_from_client_side_apply_without_conflicts() {
    let last =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1", "y": "1"}});
    let note = json!({"kubectl.kubernetes.io/last-applied-configuration": last.to_string()});
    let mut map = World::of("", "configmaps");
    map.update("kubectl-client-side-apply", json!({"metadata": {"annotations": note}, "data": {"x": "1", "y": "1"}}));
    map.patch("other", "", json!({"data": {"y": "2"}}));
    assert_eq!(map.conflicts("kubectl", json!({"data": {"x": "5", "y": "5"}})), [".data.y"]);
    assert_eq!(map.conflicts("tool", json!({"data": {"x": "5"}})), [".data.x"], "only kubectl knows the annotation");
    map.apply("kubectl", json!({"data": {"x": "5"}}));
    let annotation = map.at("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration");
    let noted: Value = serde_json::from_str(annotation.as_str().expect("text")).expect("json");
    assert_eq!(noted["data"], json!({"x": "5"}));
}

#[test]
fn old_managers_of_updates_become_one() {
    let mut map = World::of("", "configmaps");
    map.update("m0", json!({"data": {"k0": "1"}}));
    for at in 1..13 {
        map.patch(&format!("m{at}"), "", json!({"data": {format!("k{at}"): "1"}}));
    }
    let entries = map.at("/metadata/managedFields");
    assert_eq!(entries.as_array().map(Vec::len), Some(10));
    assert_eq!(
        map.owns("ancient-changes"),
        json!({"f:data": {".": {}, "f:k0": {}, "f:k1": {}, "f:k2": {}, "f:k3": {}}})
    );
    assert_eq!(map.owns("m3"), Value::Null);
}

#[test]
fn managers_are_told_apart_by_operation() {
    let mut map = World::of("", "configmaps");
    map.update("same", json!({"data": {"x": "1"}}));
    map.apply("same", json!({"data": {"x": "1"}}));
    assert_eq!(map.at("/metadata/managedFields").as_array().map(Vec::len), Some(2));
    assert_eq!(map.conflicts("same", json!({"data": {"x": "2"}})), [".data.x"]);
}

fn struct_of(fields: Vec<Field>, open: bool) -> Schema {
    Schema::of(Shape::Struct(StructRef::Own(Arc::new(Struct::new("Own", fields, open)))))
}

fn list_of(kind: ListKind) -> Schema {
    let item = struct_of(
        vec![Field::optional("name", Schema::of(Shape::String)), Field::optional("v", Schema::of(Shape::Int64))],
        false,
    );
    let mut list = Schema::of(Shape::List(Box::new(item)));
    list.merge.list = kind;
    if kind == ListKind::Map {
        list.merge.keys = ["name".into()].into();
    }
    list
}

fn own(list: ListKind, atomic: bool) -> World {
    let meta = schema::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("built in");
    let mut object = struct_of(
        vec![Field::optional("x", Schema::of(Shape::Int64)), Field::optional("y", Schema::of(Shape::Int64))],
        false,
    );
    object.merge.atomic = atomic;
    World::own(struct_of(
        vec![
            Field::optional("apiVersion", Schema::of(Shape::String)),
            Field::optional("metadata", meta),
            Field::optional("list", list_of(list)),
            Field::optional("object", object),
            Field::optional("any", Schema::of(Shape::Any)),
        ],
        false,
    ))
}

fn names(list: &Value) -> String {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

#[test]
fn items_take_the_order_that_was_applied() {
    let list = |names: &str| -> Value { names.chars().map(|name| json!({"name": name.to_string()})).collect() };
    for (live, applied, merged) in [
        ("abc", "c", "abc"),
        ("abc", "ca", "bca"),
        ("abc", "acb", "acb"),
        ("abc", "xa", "xabc"),
        ("abc", "ax", "abcx"),
        ("abc", "bxa", "bcxa"),
        ("", "cab", "cab"),
        ("abc", "", "abc"),
    ] {
        let mut world = own(ListKind::Map, false);
        world.update("maker", json!({"list": list(live)}));
        world.apply("alice", json!({"list": list(applied)}));
        assert_eq!(names(&world.at("/list")), merged, "{live} {applied}");
    }
}

#[test]
fn atomic_lists_and_objects_have_one_owner() {
    let mut world = own(ListKind::Atomic, true);
    world.apply("alice", json!({"list": [{"name": "a"}], "object": {"x": 1}}));
    assert_eq!(world.owns("alice"), json!({"f:list": {}, "f:object": {}}));
    let taken = world.conflicts("bob", json!({"list": [{"name": "b"}], "object": {"y": 1}}));
    assert_eq!(taken, [".list", ".object"]);
    world.force("bob", json!({"object": {"y": 1}}));
    assert_eq!(world.at("/object"), json!({"y": 1}), "replaced as one");
}

#[test]
fn what_no_schema_says_is_owned_field_by_field_and_lists_as_one() {
    let mut world = own(ListKind::Map, false);
    world.apply("alice", json!({"any": {"a": {"b": 1}, "l": [1, 2]}}));
    world.apply("bob", json!({"any": {"a": {"c": 1}}}));
    assert_eq!(world.at("/any"), json!({"a": {"b": 1, "c": 1}, "l": [1, 2]}));
    assert_eq!(world.conflicts("bob", json!({"any": {"l": [3]}})), [".any.l"]);
    world.force("bob", json!({"any": {"a": 5}}));
    assert_eq!(world.at("/any/a"), 5);
}

#[test]
fn a_type_that_becomes_atomic_keeps_its_owners() {
    let mut world = own(ListKind::Map, false);
    world.apply("alice", json!({"list": [{"name": "a", "v": 1}], "object": {"x": 1}}));
    world.schema = own(ListKind::Atomic, true).schema;
    let taken = world.conflicts("bob", json!({"list": [{"name": "b"}], "object": {"x": 2}}));
    assert_eq!(taken, [".list", ".object"]);
    world.apply("alice", json!({"object": {"x": 1}}));
    assert_eq!(world.at("/list"), Value::Null);
    assert_eq!(world.owns("alice"), json!({"f:object": {}}));
}

#[test]
fn managers_of_a_version_that_is_gone_are_forgotten() {
    let mut world = own(ListKind::Map, false);
    world.apply("alice", json!({"object": {"x": 1}}));
    world.api_version = "example.com/v2".to_owned();
    world.apply("bob", json!({"object": {"x": 2}}));
    assert_eq!(world.owns("alice"), Value::Null);
    assert_eq!(world.at("/object/x"), 2);
}

#[test]
fn an_item_that_stands_twice_can_be_lived_with() {
    let mut world = own(ListKind::Map, false);
    world.update("maker", json!({"list": [{"name": "a", "v": 1}, {"name": "a", "v": 2}, {"name": "b", "v": 1}]}));
    assert_eq!(world.owns("maker")["f:list"]["k:{\"name\":\"a\"}"], json!({}));
    world.apply("alice", json!({"list": [{"name": "b", "v": 1}]}));
    assert_eq!(world.at("/list").as_array().map(Vec::len), Some(3), "others are not touched");
    world.force("alice", json!({"list": [{"name": "a", "v": 3}]}));
    assert_eq!(names(&world.at("/list")), "ab");
}

/// Two versions of one type: `y` is called `z` in the other.
struct Renamed(Schema);

impl Versions for Renamed {
    fn at(&self, object: &Value, api_version: &str) -> Option<(Value, Schema)> {
        let mut object = object.clone();
        let (from, to) = if api_version == "example.com/v2" { ("y", "z") } else { ("z", "y") };
        if let Some(fields) = object.get_mut("object").and_then(Value::as_object_mut)
            && let Some(value) = fields.remove(from)
        {
            fields.insert(to.to_owned(), value);
        }
        let schema = if to == "y" { own(ListKind::Map, false).schema } else { self.0.clone() };
        matches!(api_version, "example.com/v1" | "example.com/v2").then_some((object, schema))
    }
}

#[test]
fn fields_are_followed_into_other_versions() {
    let mut world = own(ListKind::Map, false);
    world.apply("alice", json!({"object": {"x": 1, "y": 1}}));
    let meta = schema::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("built in");
    let int = |name: &str| Field::optional(name, Schema::of(Shape::Int64));
    let v2 = struct_of(
        vec![
            Field::optional("apiVersion", Schema::of(Shape::String)),
            Field::optional("metadata", meta),
            Field::optional("object", struct_of(vec![int("x"), int("z")], false)),
        ],
        false,
    );
    let versions = Renamed(v2.clone());
    let (live, _) = versions.at(world.live.as_ref().expect("live"), "example.com/v2").expect("a version");
    let reach = Reach::AllBut(FieldSet::default());
    let writer = |manager| Writer {
        manager,
        api_version: "example.com/v2",
        subresource: "",
        now: "2021-01-01T00:00:00Z",
        reach: &reach,
        schema: &v2,
        fixed: false,
        versions: &versions,
    };
    let config = json!({"apiVersion": "example.com/v2", "object": {"z": 2}});
    let status = World::applied(&writer("bob"), Some(&live), &config, false).expect_err("conflict");
    assert_eq!(status.details.expect("details").causes[0].field, ".object.y", "as its owner calls it");
    let config = json!({"apiVersion": "example.com/v2", "object": {"x": 1}});
    let new = World::applied(&writer("alice"), Some(&live), &config, false).expect("applies");
    assert_eq!(new["object"], json!({"x": 1}), "what was applied as y goes as z");
}

#[test]
fn a_write_that_renews_a_time_alone_is_noted_as_any_other() {
    let patches = [
        ("one", json!({"data": {"a": "1"}})),
        ("one", json!({"data": {"a": "2"}})),
        ("two", json!({"data": {"a": "3", "b": "1"}})),
        ("one", json!({"data": {"b": null}})),
        ("two", json!({"metadata": {"finalizers": ["x.com/a"], "labels": {"l": "1"}}})),
        ("one", json!({"metadata": {"finalizers": ["x.com/a", "x.com/b"]}, "binaryData": {}})),
    ];
    let places = patches.len();
    for order in 0..places.pow(4) {
        let mut map = World::of("", "configmaps");
        map.update("zero", json!({"data": {"a": "0"}}));
        map.apply("one", json!({"data": {"c": "1"}}));
        for step in 0..4 {
            let (manager, patch) = &patches[order / places.pow(step) % places];
            map.patch(manager, "", patch.clone());
        }
    }
}
