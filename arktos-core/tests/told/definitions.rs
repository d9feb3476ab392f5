//! Definitions of custom kinds, and their objects.

use arktos_core::catalog::Kind;
use arktos_core::rules::kept_faults;
use arktos_core::{Object, Scope};
use serde_json::{Value, json};

use crate::{created, said, with_status};

fn definition(versions: &Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "wheels.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "versions": versions,
            "names": {"plural": "wheels", "kind": "Wheel"}}})
}

fn version(name: &str, schema: Value) -> Value {
    json!({"name": name, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}})
}

/// What is said of a schema with these fields, without the path to it.
fn said_of_fields(fields: &Value) -> Vec<String> {
    let told = said(&definition(&json!([version("v1", json!({"type": "object", "properties": fields}))])));
    told.iter().map(|fault| fault.replace("spec.validation.openAPIV3Schema.", "")).collect()
}

#[test]
fn a_definition_stores_each_version_once() {
    let plain = || json!({"type": "object"});
    let stored = |versions: &Value| {
        let told = said(&definition(versions));
        told.into_iter().filter(|fault| fault.starts_with("status")).collect::<Vec<_>>()
    };
    let why =
        |name: &str| format!("status.storedVersions: Invalid value: [\"v1\"]: must have the storage version {name}");
    assert_eq!(stored(&json!([version("v1", plain()), version("v1", plain())])), [why("v1")]);
    assert_eq!(stored(&json!([version("v1", plain()), version("v2", plain())])), [why("v2")]);
    let old = created(&definition(&json!([version("v1", plain())]))).expect("a good definition");
    let new = with_status(&old, &json!({"storedVersions": []})).expect("is filled in");
    assert_eq!(new.at(&["status", "storedVersions"]), Some(&json!(["v1"])));
}

#[test]
fn a_definition_without_a_kind_has_no_name_for_lists() {
    let mut nameless = definition(&json!([version("v1", json!({"type": "object"}))]));
    nameless["spec"]["names"] = json!({"plural": "wheels"});
    let required: Vec<_> =
        ["singular", "kind", "listKind"].iter().map(|name| format!("spec.names.{name}: Required value")).collect();
    assert_eq!(said(&nameless), required);
}

#[test]
fn a_scale_looks_at_any_path_with_a_dot() {
    let mut one = version("v1", json!({"type": "object"}));
    one["subresources"] = json!({"scale": {"specReplicasPath": ".spec.x[0]", "statusReplicasPath": ".status.y"}});
    assert!(said(&definition(&json!([one]))).is_empty());
}

#[test]
fn the_root_of_a_schema_and_what_excludes_each_other() {
    let said = |schema: Value| said(&definition(&json!([version("v1", schema)])));
    let below = "spec.validation.openAPIV3Schema";
    let field = |a: Value| json!({"type": "object", "properties": {"a": a}});
    let at_root = format!("{below}.additionalProperties: Forbidden: must not be used at the root");
    assert_eq!(said(json!({"type": "object", "additionalProperties": false})), std::slice::from_ref(&at_root));
    let mut both = field(json!({"type": "string"}));
    both["additionalProperties"] = json!({"type": "string"});
    let exclusive = "additionalProperties and properties are mutual exclusive";
    assert_eq!(said(both), [at_root, format!("{below}.additionalProperties: Forbidden: {exclusive}")]);
    assert!(said(field(json!({"type": "string", "x-kubernetes-int-or-string": true}))).is_empty());
    assert_eq!(
        said(field(json!({"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true}))),
        [format!(
            "{below}.properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if \
             x-kubernetes-int-or-string is true"
        )]
    );
    let embedded = said(field(json!({"x-kubernetes-embedded-resource": true})));
    let why = "must be object if x-kubernetes-embedded-resource is true";
    assert_eq!(embedded.len(), 2, "{embedded:?}");
    assert_eq!(embedded[0], format!("{below}.properties[a].type: Required value: {why}"));
    assert_eq!(
        said(json!({"type": "object", "properties": {"metadata": {"type": "object", "default": {}}}})),
        [format!("{below}.properties[metadata].default: Forbidden: must not be set in top-level metadata")]
    );
}

#[test]
fn what_no_schema_may_say_hides_whether_it_is_structural_and_its_defaults() {
    let text = json!({"type": "string"});
    let bad = json!({"type": "string", "default": 5});
    let told = "properties[b].default: Invalid value: \"integer\":  in body must be of type string: \"integer\"";
    assert_eq!(said_of_fields(&json!({"b": bad})), [told]);
    let untyped = "properties[a].type: Required value: must not be empty for specified object fields";
    assert_eq!(said_of_fields(&json!({"a": {}, "b": bad})), [untyped]);
    for (word, value) in [
        ("$ref", json!("#/x")),
        ("id", json!("x")),
        ("definitions", json!({"x": text})),
        ("dependencies", json!({"x": ["a"]})),
        ("patternProperties", json!({"x": text})),
    ] {
        let why = format!("{word}: Forbidden: {word} is not supported");
        let one = json!({"type": "string", word: value});
        assert_eq!(said_of_fields(&json!({"a": {}, "b": bad, "r": one})), [format!("properties[r].{why}")]);
        let within = json!({"type": "string", "anyOf": [{word: value}]});
        assert_eq!(said_of_fields(&json!({"a": {}, "r": within})), [format!("properties[r].anyOf[0].{why}")]);
    }
    // What is wrong in what may not be there is told as well.
    let within = json!({"type": "string", "definitions": {"x": {"type": "string", "id": "y"}}});
    let found = said_of_fields(&json!({"r": within}));
    let id = "properties[r].definitions[x].id: Forbidden: id is not supported";
    assert!(found.iter().any(|found| found == id), "{found:?}");
    let list = json!({"type": "array", "items": [text]});
    let why = "items must be a schema object and not an array";
    assert_eq!(said_of_fields(&json!({"a": {}, "r": list})), [format!("properties[r].items: Forbidden: {why}")]);
    // Other words leave it in sight.
    let unique = json!({"type": "array", "uniqueItems": true, "items": text});
    assert_eq!(said_of_fields(&json!({"a": {}, "r": unique})).len(), 2);
    assert_eq!(said_of_fields(&json!({"b": bad, "r": unique}))[0], told);
    let odd = json!({"type": "string", "not": {"type": "zz"}, "anyOf": [{"pattern": "("}]});
    let told = said_of_fields(&json!({"a": odd}));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[2].starts_with("properties[a].not.type: Unsupported value: \"zz\": "), "{told:?}");
}

#[test]
fn what_alternatives_speak_of_is_asked_for_at_the_root_alone() {
    let long = json!([{"properties": {"z": {"minLength": 1}}}]);
    let text = json!({"type": "string"});
    for fine in [
        json!({"type": "object", "anyOf": long}),
        json!({"type": "object", "properties": {"b": text}, "allOf": long}),
        json!({"type": "object", "additionalProperties": text, "not": long[0]}),
        json!({"type": "array", "items": {"type": "object"}, "anyOf": [{"items": long[0]}]}),
    ] {
        assert_eq!(said_of_fields(&json!({"a": fine})), [""; 0], "{fine}");
    }
    let typed = json!({"type": "object", "anyOf": [{"properties": {"z": {"type": "string"}}}]});
    let told = "properties[a].anyOf[0].properties[z].type: Forbidden: must be empty to be structural";
    assert_eq!(said_of_fields(&json!({"a": typed})), [told]);
    let root = said(&definition(&json!([version("v1", json!({"type": "object", "anyOf": long}))])));
    let below = "spec.validation.openAPIV3Schema";
    let why = format!("because it is defined in {below}.anyOf[0].properties[z]");
    assert_eq!(root, [format!("{below}.properties[z]: Required value: {why}")]);
}

#[test]
fn the_default_of_a_whole_object_is_one() {
    let said = |default: Value| {
        let schema = json!({"type": "object", "default": default, "properties": {"a": {"type": "string"}}});
        let told = said(&definition(&json!([version("v1", schema)])));
        told.iter().map(|fault| fault.replace("spec.validation.openAPIV3Schema.", "")).collect::<Vec<_>>()
    };
    assert!(said(json!({"apiVersion": "v1", "kind": "Foo", "metadata": {"name": "x"}, "a": "b"})).is_empty());
    let required = ["default.apiVersion: Required value", "default.kind: Required value"];
    assert_eq!(said(json!({})), required);
    let unknown = "default: Invalid value: {\"b\":1}: must not have unknown fields";
    assert_eq!(said(json!({"b": 1})), [unknown, required[0], required[1]]);
    assert_eq!(said(json!(5)), ["default: Invalid value: \"integer\":  in body must be of type object: \"integer\""]);
    assert_eq!(
        said(json!({"apiVersion": 5, "kind": "Foo"})),
        ["default.apiVersion: Invalid value: 5: must be a string"]
    );
    let why = "json: cannot unmarshal number into Go value of type v1.ObjectMeta";
    assert_eq!(
        said(json!({"apiVersion": "v1", "kind": "Foo", "metadata": 5})),
        [format!("default.metadata: Invalid value: 5: {why}")]
    );
    let any = json!({"type": "object", "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true});
    let list = json!({"type": "array", "items": any, "default": [{"x": 1}]});
    assert_eq!(
        said_of_fields(&json!({"a": list})),
        ["properties[a].default[0].apiVersion: Required value", "properties[a].default[0].kind: Required value"]
    );
    assert!(said(Value::Null).is_empty());
}

#[test]
fn what_an_update_leaves_as_it_was_is_warned_of_where_a_rule_is_against_it() {
    let small = json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self < 3", "message": "is large"}]});
    let schema = json!({"type": "object", "properties": {
        "a": small, "l": {"type": "array", "maxItems": 3, "items": small},
    }});
    let kind = Kind::custom("example.org", "v1", "Thing", "things", Scope::Tenant).with_schema(&schema);
    let kind = kind.expect("a structural schema");
    let thing =
        |a: u32, l: Value| Object::from_value(json!({"metadata": {"name": "x"}, "a": a, "l": l})).expect("an object");
    let old = thing(9, json!([9, 1]));
    let all = ["a: Invalid value: 9: is large", "l[0]: Invalid value: 9: is large"];
    assert_eq!(kept_faults(&kind, &old, &old), all);
    assert_eq!(kept_faults(&kind, &old, &thing(8, json!([9]))), Vec::<String>::new());
}

#[test]
fn a_message_that_cannot_be_made_is_told_of_in_its_own_words() {
    let rules = json!([{"rule": "true", "messageExpression": "string(int('x'))"}]);
    let field = json!({"type": "string", "x-kubernetes-validations": rules});
    let told = said(&definition(&json!([version("v1", json!({"type": "object", "properties": {"a": field}}))])));
    let why = ": messageExpression instantiation failed: type conversion error from 'string' to 'int'";
    assert!(told.len() == 1 && told[0].ends_with(why), "{told:?}");
}

#[test]
fn selectable_fields_stand_beside_their_schema() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let of = |versions: &[(&str, bool, Option<&Value>)]| {
        let made = versions.iter().map(|(name, selects, schema)| {
            let mut made = json!({"name": name, "served": true, "storage": *name == "v1"});
            if *selects {
                made["selectableFields"] = json!([{"jsonPath": ".a"}]);
            }
            if let Some(schema) = schema {
                made["schema"] = json!({"openAPIV3Schema": schema});
            }
            made
        });
        let told = said(&definition(&made.collect()));
        told.into_iter().filter(|fault| fault.contains("selectableFields")).collect::<Vec<_>>()
    };
    let why = "spec.selectableFields: Invalid value: \"\": may only be set when validations.schema is included";
    let (same, other) = (Some(&schema), json!({"type": "object"}));
    assert_eq!(of(&[("v1", true, None)]), [why]);
    assert_eq!(of(&[("v1", true, same), ("v2", true, Some(&other))]), [why]);
    assert!(of(&[("v1", true, same), ("v2", true, same)]).is_empty());
    assert_eq!(of(&[("v1", true, same), ("v2", false, same)]).len(), 1);
}

#[test]
fn what_cannot_be_said_of_items_is_refused_even_when_it_says_nothing() {
    let said = |schema: Value| said(&definition(&json!([version("v1", schema)])));
    let why = "spec.validation.openAPIV3Schema.additionalItems: Forbidden: additionalItems is not supported";
    assert_eq!(said(json!({"type": "object", "additionalItems": {}})), [why]);
    assert!(said(json!({"type": "object", "definitions": {}})).is_empty());
}
