use proptest::prelude::*;
use serde_json::{Value, json};

use super::{MAX_OPERATIONS, json_patch, json_patch_faults, merge_patch, merge_patch_unchecked, strategic};
use crate::schema::builtin;

fn patched(kind: &str, mut document: Value, patch: Value) -> Value {
    strategic(&builtin(kind).expect("a built-in type"), &mut document, patch).expect("the patch applies");
    document
}

fn refused(kind: &str, mut document: Value, patch: Value) -> (u16, String) {
    let error = strategic(&builtin(kind).expect("a built-in type"), &mut document, patch).expect_err("refused");
    (error.code, error.message)
}

const POD_SPEC: &str = "io.k8s.api.core.v1.PodSpec";
const SERVICE_SPEC: &str = "io.k8s.api.core.v1.ServiceSpec";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const DEPLOYMENT_SPEC: &str = "io.k8s.api.apps.v1.DeploymentSpec";
const NODE_SPEC: &str = "io.k8s.api.core.v1.NodeSpec";
const INGRESS_SPEC: &str = "io.k8s.api.networking.v1.IngressSpec";

#[test]
fn lists_merge_by_key_and_new_items_come_first() {
    let before =
        json!({"containers": [{"name": "one", "image": "1", "env": [{"name": "A", "value": "1"}]}, {"name": "two"}]});
    let after = patched(
        POD_SPEC,
        before,
        json!({"containers": [{"name": "three", "env": null}, {"name": "one", "image": "2", "env": [{"name": "B", "value": "2"}]}]}),
    );
    assert_eq!(
        after,
        json!({"containers": [
            {"name": "three"},
            {"name": "one", "image": "2", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]},
            {"name": "two"},
        ]})
    );
}

#[test]
fn the_order_that_is_asked_for_is_kept() {
    let before = json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "injected"}]});
    let after = patched(
        POD_SPEC,
        before,
        json!({
            "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
            "containers": [{"name": "b", "image": "2"}, {"name": "c"}],
        }),
    );
    let names: Vec<&Value> = after["containers"].as_array().expect("a list").iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["b", "c", "a", "injected"]);
    let (code, _) = refused(
        POD_SPEC,
        json!({"containers": [{"name": "a"}]}),
        json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "x"}]}),
    );
    assert_eq!(code, 500);
    assert_eq!(
        refused(POD_SPEC, json!({}), json!({"$setElementOrder/containers": {}})),
        (400, "invalid patch format of setElementOrder list".to_owned())
    );
}

#[test]
fn a_list_within_a_list_is_unlike_what_stands_before_it() {
    let (code, message) = refused(POD_SPEC, json!({"containers": [{"name": "a"}]}), json!({"containers": [[1]]}));
    assert_eq!((code, message.as_str()), (500, "list element types are not identical: [[map[name:a]] [[1]]]"));
    let (code, _) = refused(META, json!({"finalizers": []}), json!({"finalizers": [["a"]]}));
    assert_eq!(code, 422, "where nothing does, no lists of lists are merged");
}

#[test]
fn items_are_deleted_and_lists_replaced_by_directives() {
    let ports = json!({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]});
    assert_eq!(
        patched(SERVICE_SPEC, ports.clone(), json!({"ports": [{"port": 81, "$patch": "delete"}, {"port": 82}]})),
        json!({"ports": [{"port": 82}, {"port": 80, "name": "a"}]})
    );
    assert_eq!(
        patched(SERVICE_SPEC, ports.clone(), json!({"ports": [{"$patch": "replace"}, {"port": 90}]})),
        json!({"ports": [{"port": 90}]})
    );
    assert_eq!(refused(SERVICE_SPEC, ports.clone(), json!({"ports": [{"$patch": "merge", "port": 80}]})).0, 500);
    assert_eq!(refused(SERVICE_SPEC, ports.clone(), json!({"ports": [{"$patch": "odd", "port": 80}]})).0, 500);
    assert_eq!(refused(SERVICE_SPEC, ports.clone(), json!({"ports": [{"name": "keyless"}]})).0, 500);
    assert_eq!(refused(SERVICE_SPEC, ports.clone(), json!({"ports": [1]})).0, 500);
    assert_eq!(refused(SERVICE_SPEC, ports, json!({"ports": [[]]})).0, 500);
}

#[test]
fn plain_values_merge_as_sets() {
    let meta = json!({"finalizers": ["x/one", "x/two"]});
    assert_eq!(
        patched(META, meta.clone(), json!({"finalizers": ["x/three", "x/two"]})),
        json!({"finalizers": ["x/three", "x/one", "x/two"]})
    );
    assert_eq!(
        patched(META, meta.clone(), json!({"$deleteFromPrimitiveList/finalizers": ["x/one", "x/none"]})),
        json!({"finalizers": ["x/two"]})
    );
    assert_eq!(patched(META, json!({}), json!({"$deleteFromPrimitiveList/finalizers": ["x"]})), json!({}));
    assert_eq!(
        patched(META, meta.clone(), json!({"$setElementOrder/finalizers": ["x/two", "x/one"]})),
        json!({"finalizers": ["x/two", "x/one"]})
    );
    assert_eq!(patched(META, meta.clone(), json!({"finalizers": null})), json!({}));
    assert_eq!(
        refused(META, meta, json!({"$deleteFromPrimitiveList": ["x"]})),
        (400, "invalid patch format of primitive list".to_owned())
    );
}

#[test]
fn objects_are_replaced_emptied_and_kept_to_keys() {
    let labels = json!({"labels": {"a": "1"}, "annotations": {"b": "2"}});
    assert_eq!(
        patched(META, labels, json!({"labels": {"$patch": "replace", "q": "2"}, "annotations": {"$patch": "delete"}})),
        json!({"labels": {"q": "2"}, "annotations": {}})
    );
    let rolling = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}});
    assert_eq!(
        patched(DEPLOYMENT_SPEC, rolling.clone(), json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}})),
        json!({"strategy": {"type": "Recreate"}})
    );
    assert_eq!(
        refused(DEPLOYMENT_SPEC, rolling, json!({"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}})),
        (400, "invalid patch format of retainKeys".to_owned())
    );
    assert_eq!(patched(META, json!({}), json!({"labels": {"$patch": "delete"}})), json!({}));
}

#[test]
fn lists_without_a_merge_key_are_replaced() {
    assert_eq!(
        patched(INGRESS_SPEC, json!({"rules": [{"host": "a"}]}), json!({"rules": [{"host": "b"}]})),
        json!({"rules": [{"host": "b"}]})
    );
    assert_eq!(
        patched(NODE_SPEC, json!({"taints": [{"key": "a"}]}), json!({"taints": [{"key": "b"}]})),
        json!({"taints": [{"key": "b"}]})
    );
}

#[test]
fn bodies_of_the_wrong_form_are_refused_in_upstreams_words() {
    let go_map = "Go value of type map[string]interface {}";
    assert_eq!(refused(META, json!({}), json!([])).1, format!("json: cannot unmarshal array into {go_map}"));
    let mut document = json!({});
    let error = merge_patch(&mut document, json!([])).expect_err("refused");
    assert_eq!(error.message, format!("error decoding patch: json: cannot unmarshal array into {go_map}"));
    assert_eq!(merge_patch(&mut document, Value::Null).expect_err("refused").message, "Invalid JSON Patch");
    let error = json_patch_faults(&json!({}), &[]).expect_err("refused");
    assert_eq!(
        error.message,
        "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
    );
    let error = json_patch_faults(&json!([{"op": 1}]), &[]).expect_err("refused");
    assert_eq!(
        error.message,
        "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"
    );
    let error = json_patch(&mut document, json!({})).expect_err("refused");
    assert_eq!(error.message, "json: cannot unmarshal object into Go value of type jsonpatch.Patch");
    let many = Value::Array(vec![json!({"op": "test", "path": "/x"}); MAX_OPERATIONS + 1]);
    assert_eq!(json_patch(&mut document, many).expect_err("refused").code, 413);
}

#[test]
fn operations_with_members_of_their_own_are_noticed() {
    let patch = json!([null, {"op": "add", "path": "/a", "value": 1, "OP": "add"}]);
    let faults = json_patch_faults(&patch, &["[1].value".to_owned()]).expect("a patch");
    assert_eq!(faults, ["json patch unknown field \"[1].OP\"", "json patch duplicate field \"[1].value\""]);
    assert_eq!(json_patch_faults(&Value::Null, &[]), Ok(Vec::new()));
}

#[test]
fn json_patches_differ_from_the_rfc_where_upstream_does() {
    let mut document = json!({"list": [1], "map": {}});
    let patch = json!([
        {"op": "replace", "path": "/map/new", "value": 1},
        {"op": "copy", "from": "/map/none", "path": "/map/copied"},
        {"op": "add", "path": "ignored/first", "value": true},
        {"op": "add", "path": "/", "value": "unnamed"},
        {"op": "test", "path": "/map/copied"},
        {"op": "replace", "path": "/list/00", "value": 2},
    ]);
    json_patch(&mut document, patch).expect("the patch applies");
    assert_eq!(document, json!({"list": [2], "map": {"new": 1, "copied": null}, "first": true, "": "unnamed"}));
    json_patch(&mut document, Value::Null).expect("nothing to do");
    json_patch(&mut document, json!([{"op": "replace", "path": "", "value": []}])).expect("the patch applies");
    assert_eq!(document, json!([]));
}

#[test]
fn a_merge_patch_leaves_no_null_in_the_lists_it_brings() {
    let mut document = json!({"list": [1], "map": {}});
    let lists = json!({"list": [null, {"a": null, "b": 1}], "new": [{"a": null}], "map": [{"a": null}]});
    merge_patch(&mut document, lists).expect("the patch applies");
    assert_eq!(document, json!({"list": [null, {"b": 1}], "new": [{}], "map": [{"a": null}]}));
    merge_patch_unchecked(&mut document, json!([{"a": null}])).expect("the patch applies");
    assert_eq!(document, json!([{}]));
}

#[test]
fn merge_patches_follow_rfc_7386() {
    for (document, patch, expected) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [1, 2]}), json!({"a": {"b": {"c": null}}}), json!({"a": {"b": {}}})),
    ] {
        let mut document = document;
        merge_patch(&mut document, patch).expect("the patch applies");
        assert_eq!(document, expected);
    }
}

#[test]
fn json_patches_apply_in_order() {
    let mut document = json!({"data": {"x": "1", "y": "2"}, "list": [1, 2, 3], "a/b": {"~": 1}});
    let patch = json!([
        {"op": "add", "path": "/data/new", "value": "v"},
        {"op": "replace", "path": "/data/x", "value": "9"},
        {"op": "move", "from": "/data/x", "path": "/data/moved"},
        {"op": "copy", "from": "/data/moved", "path": "/data/copied"},
        {"op": "test", "path": "/data/moved", "value": "9"},
        {"op": "test", "path": "/data/absent", "value": null},
        {"op": "remove", "path": "/data/y"},
        {"op": "add", "path": "/list/-", "value": 4},
        {"op": "add", "path": "/list/-1", "value": 5},
        {"op": "replace", "path": "/list/-2", "value": 44},
        {"op": "remove", "path": "/list/-5"},
        {"op": "replace", "path": "/a~1b/~0", "value": 2},
        {"op": "add", "path": "/empty"},
    ]);
    json_patch(&mut document, patch).expect("the patch applies");
    assert_eq!(
        document,
        json!({"data": {"new": "v", "moved": "9", "copied": "9"}, "list": [2, 3, 44, 5], "a/b": {"~": 2}, "empty": null})
    );
}

#[test]
fn operations_that_do_not_apply_are_refused() {
    for operation in [
        json!({"op": "frob", "path": "/a"}),
        json!({"path": "/a"}),
        json!({"op": "add", "path": "", "value": 1}),
        json!({"op": "add", "path": "a", "value": 1}),
        json!({"op": "replace", "path": "", "value": 1}),
        json!({"op": "replace", "path": "/list/2", "value": 1}),
        json!({"op": "test", "path": "/list/0", "value": 1.0}),
        json!(null),
        json!({"op": "add", "path": "/none/a", "value": 1}),
        json!({"op": "add", "path": "/list/3", "value": 1}),
        json!({"op": "add", "path": "/list/x", "value": 1}),
        json!({"op": "remove", "path": "/list/2"}),
        json!({"op": "remove", "path": "/list/-3"}),
        json!({"op": "remove", "path": "/none"}),
        json!({"op": "test", "path": "/list/0", "value": 2}),
        json!({"op": "move", "path": "/b"}),
        json!({"op": "move", "from": "/none", "path": "/b"}),
        json!({"op": "copy", "from": "/none/a", "path": "/b"}),
    ] {
        let mut document = json!({"list": [1, 2]});
        let error = json_patch(&mut document, json!([operation])).expect_err("refused");
        assert_eq!(error.message, "the server rejected our request due to an error in our request", "{operation}");
        assert_eq!(serde_json::to_value(&error).expect("json")["details"], json!({}));
        assert_eq!(error.code, 422);
    }
}

#[test]
fn a_short_patch_cannot_make_a_huge_or_a_deep_document() {
    let mut document = json!({"a": {"text": "x".repeat(1000)}});
    let doubling = (0..64).map(|i| json!({"op": "copy", "from": "/a", "path": format!("/a/{i}")})).collect();
    assert_eq!(json_patch(&mut document, Value::Array(doubling)).expect_err("refused").code, 422);
    let mut document = json!({"a": {}});
    let nesting = vec![json!({"op": "copy", "from": "/a", "path": "/a/a"}); 1000];
    assert_eq!(json_patch(&mut document, Value::Array(nesting)).expect_err("refused").code, 422);
    assert!(serde_json::from_str::<Value>(&document.to_string()).is_ok());
}

fn value() -> impl Strategy<Value = Value> {
    let name =
        || prop_oneof![Just("name"), Just("a"), Just("$patch"), Just("$retainKeys"), Just("containers"), Just("env")];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        prop_oneof![Just("a"), Just("b"), Just("delete"), Just("replace")].prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..5)
                .prop_map(|fields| fields.into_iter().map(|(name, field)| (name.to_owned(), field)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_patch_applies_or_is_refused(document in value(), patch in value(), path in "(/(a|name|0|-1|-|~0|~1|env)){0,4}") {
        let schema = builtin(POD_SPEC).expect("a built-in type");
        let _ = strategic(&schema, &mut document.clone(), patch.clone());
        let _ = merge_patch(&mut document.clone(), patch.clone());
        for op in ["add", "remove", "replace", "test", "move", "copy"] {
            let operation = json!([{"op": op, "path": path.clone(), "from": "/a", "value": patch.clone()}]);
            let _ = json_patch(&mut document.clone(), operation);
        }
    }

    #[test]
    fn a_merge_patch_that_was_applied_twice_changes_nothing_more(document in value(), patch in value()) {
        let mut twice = document;
        if merge_patch(&mut twice, patch.clone()).is_ok() {
            // The second time takes the nulls out of a list that came where an object was, and the first does not.
            merge_patch(&mut twice, patch.clone()).expect("it applied before");
            let mut thrice = twice.clone();
            merge_patch(&mut thrice, patch).expect("it applied before");
            prop_assert_eq!(twice, thrice);
        }
    }
}
