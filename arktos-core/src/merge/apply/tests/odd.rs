//! What the types of a version do not know, and items that nothing tells apart.

use super::*;

#[test]
fn items_that_nothing_tells_apart_have_no_managers_and_nothing_is_applied_to_them() {
    let mut world = own(ListKind::Map, false);
    world.update("maker", json!({"list": [{"name": "a", "v": 1}]}));
    world.patch("other", "", json!({"list": [{"v": 1}]}));
    assert_eq!(world.at("/metadata/managedFields"), Value::Null);
    let status = world.try_apply("alice", "", json!({"object": {"x": 1}}), true).expect_err("is refused");
    assert_eq!(status.code, 500);
    let why = "failed to create manager for existing fields: failed to convert new object (/a; example.com/v1, \
               Kind=) to smd typed: .list: element 0: associative list with keys has an element that omits all key fields \
               [\"name\"] (and doesn't have default values for any key fields)";
    assert_eq!(status.message, why);
    let mut account = World::of("", "serviceaccounts");
    account.update("maker", json!({"secrets": [{"name": "a"}]}));
    account.patch("other", "", json!({"secrets": [{}]}));
    assert_eq!(account.at("/metadata/managedFields"), Value::Null);
}

/// Another version of the same fields, which has no `object`.
struct Fewer(Schema);

impl Versions for Fewer {
    fn at(&self, object: &Value, api_version: &str) -> Option<(Value, Schema)> {
        let mut object = object.clone();
        object["apiVersion"] = json!(api_version);
        Some((object, self.0.clone()))
    }
}

#[test]
fn what_another_version_does_not_know_is_said_to_who_applies_and_is_nobodys_after_an_update() {
    let mut world = own(ListKind::Map, false);
    world.apply("alice", json!({"list": [{"name": "a", "v": 1}]}));
    let mut live = world.live.clone().expect("live");
    live["metadata"]["managedFields"][0]["apiVersion"] = json!("example.com/v2");
    let meta = schema::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("built in");
    let fields = vec![
        Field::optional("apiVersion", Schema::of(Shape::String)),
        Field::optional("metadata", meta),
        Field::optional("list", world.schema.field("list").expect("a list").clone()),
    ];
    let versions = Fewer(struct_of(fields, false));
    let reach = Reach::AllBut(FieldSet::default());
    let writer = Writer {
        manager: "bob",
        api_version: "example.com/v1",
        subresource: "",
        now: "2021-01-01T00:00:00Z",
        reach: &reach,
        schema: &world.schema,
        fixed: false,
        versions: &versions,
    };
    let config = json!({"apiVersion": "example.com/v1", "metadata": {"name": "a"}, "object": {"x": 1}});
    let status = World::applied(&writer, Some(&live), &config, false).expect_err("is refused");
    assert_eq!(status.message, "failed to convert new object: .object: field not declared in schema");
    let kept = track::take_managed_fields(&mut live).as_ref().map(Managed::of);
    let mut new = live.clone();
    new["object"] = json!({"x": 1});
    let managed = update(&writer, Some(Live { object: &live, managed: kept.as_ref() }), &new, None);
    assert_eq!(managed, None);
}

#[test]
fn the_note_of_client_side_apply_is_written_as_go_writes_it() {
    let note = "kubectl.kubernetes.io/last-applied-configuration";
    let mut map = World::of("", "configmaps");
    map.update("maker", json!({"metadata": {"annotations": {note: "{}"}}, "data": {"a": "1"}}));
    map.force("kubectl", json!({"data": {"a": "<&>"}}));
    let noted = map.at("/metadata/annotations")[note].clone();
    assert!(noted.as_str().expect("a text").contains("\"a\":\"\\u003c\\u0026\\u003e\""), "{noted}");
}
