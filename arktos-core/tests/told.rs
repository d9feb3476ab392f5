//! What a real API server said of objects and patches, asked the same.

#![allow(missing_docs, clippy::unwrap_used)] // a test fails by panicking

use std::sync::Arc;

use arktos_core::catalog::{Catalog, Kind};
use arktos_core::quota::Quota;
use arktos_core::rules::{admit_create, admit_status, admit_update, kept_faults, refuse_as_sent};
use arktos_core::{Dialect, GroupResource, Object, Scope, Status, Timestamp, TypeMeta, media, merge, schema};
use serde_json::{Value, json};

fn read(object: &Value) -> (Arc<Kind>, Object) {
    let text = |field: &str| object[field].as_str().expect("a text").to_owned();
    let type_meta = TypeMeta { api_version: text("apiVersion"), kind: text("kind") };
    let kind = Catalog::builtin().by_type(&type_meta).expect("a built-in kind");
    let read = schema::read(&kind, object.to_string().as_bytes(), Dialect::Plain).expect("fits its type").object;
    (kind, read)
}

fn created(object: &Value) -> Result<Object, Status> {
    let (kind, mut new) = read(object);
    if new.name().is_empty() {
        new.set(&["metadata", "name"], "a");
    }
    new.set(&["metadata", "uid"], "11111111-2222-3333-4444-555555555555");
    new.set(&["metadata", "creationTimestamp"], "2026-01-02T03:04:05Z");
    admit_create(&kind, new)
}

fn with_status(old: &Object, status: &Value) -> Result<Object, Status> {
    let mut new = old.clone().into_value();
    new["status"] = status.clone();
    let (kind, new) = read(&new);
    admit_status(&kind, old, new)
}

fn told(result: Result<Object, Status>) -> Vec<String> {
    let Err(status) = result else { return Vec::new() };
    let causes = status.details.unwrap_or_default().causes;
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

fn said(object: &Value) -> Vec<String> {
    told(created(object))
}

#[test]
fn a_report_of_a_pod_keeps_its_class_and_names_the_hosts_address_alike() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    let old = created(&pod).expect("a good pod");
    let said = |status: Value| told(with_status(&old, &status));
    assert_eq!(
        said(json!({"qosClass": "Guaranteed"})),
        ["status.qosClass: Invalid value: \"Guaranteed\": field is immutable"]
    );
    let other = "status.hostIPs[0].ip: Invalid value: \"9.9.9.9\": must be equal to `hostIP`";
    assert_eq!(said(json!({"hostIPs": [{"ip": "9.9.9.9"}]})), [other]);
    let bound = "status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node";
    assert_eq!(said(json!({"nominatedNodeName": "m"})), [bound]);
    let new =
        with_status(&old, &json!({"hostIP": "9.9.9.9", "hostIPs": [{"ip": "9.9.9.9"}], "podIPs": [{"ip": "1.2.3.4"}]}));
    assert_eq!(new.expect("a good report").str_at(&["status", "podIP"]), "1.2.3.4");
}

#[test]
fn the_old_name_of_a_pods_account_follows_the_new_one() {
    let account = ["spec", "template", "spec", "serviceAccount"];
    let old = created(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"serviceAccountName": "one", "containers": [{"name": "c", "image": "i"}]}}}}));
    let old = old.expect("a good deployment");
    assert_eq!(old.str_at(&account), "one");
    let mut new = old.clone().into_value();
    new["spec"]["template"]["spec"]["serviceAccountName"] = json!("two");
    let (kind, new) = read(&new);
    let new = admit_update(&kind, &old, new).expect("a good update");
    assert_eq!(new.str_at(&account), "two");
}

#[test]
fn a_window_of_a_scaler_begins_at_zero() {
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {"maxReplicas": 2,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"},
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": -1}}}});
    let at = "spec.behavior.scaleDown.stabilizationWindowSeconds";
    assert_eq!(said(&scaler), [format!("{at}: Invalid value: -1: must be greater than or equal to zero")]);
}

#[test]
fn what_cannot_be_read_is_told_where_it_stands() {
    let said = |object: &Value| {
        let text = |field: &str| object[field].as_str().expect("a text").to_owned();
        let type_meta = TypeMeta { api_version: text("apiVersion"), kind: text("kind") };
        let kind = Catalog::builtin().by_type(&type_meta).expect("a built-in kind");
        schema::read(&kind, object.to_string().as_bytes(), Dialect::Plain).expect_err("does not fit").message
    };
    let controller = json!({"apiVersion": "v1", "kind": "ReplicationController",
        "spec": {"template": {"metadata": {"labels": 5}}}});
    let field = "Go struct field ObjectMeta.spec.template.metadata.labels of type map[string]string";
    assert!(said(&controller).ends_with(&format!("json: cannot unmarshal number into {field}")));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "binaryData": {"c": [1, {}]}});
    let field = "Go struct field ConfigMap.binaryData of type uint8";
    assert!(said(&map).ends_with(&format!("json: cannot unmarshal object into {field}")));
}

#[test]
fn the_name_of_a_cron_job_may_be_wrong_in_two_ways_and_its_prefix_is_not_counted() {
    let job = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    let mut cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "A".repeat(53)},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job}}});
    let faults = said(&cron);
    assert!(faults.len() == 2 && faults[1].ends_with("must be no more than 52 characters"), "{faults:?}");
    cron["metadata"] = json!({"name": "a", "generateName": "a".repeat(60)});
    assert_eq!(said(&cron), Vec::<String>::new());
}

#[test]
fn what_a_quotas_status_says_is_checked_as_what_it_limits() {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"pods": "1"}}});
    let old = created(&quota).expect("a good quota");
    let said = |status: Value| told(with_status(&old, &status));
    assert_eq!(
        said(json!({"used": {"pods": "-1", "zz": "1"}})),
        [
            "status.used[pods]: Invalid value: \"-1\": must be greater than or equal to 0",
            "status.used[zz]: Invalid value: \"zz\": must be a standard resource type or fully qualified",
            "status.used[zz]: Invalid value: \"zz\": must be a standard resource for quota",
        ]
    );
    assert_eq!(said(json!({"hard": {"pods": "1500m"}})).len(), 1);
    assert!(said(json!({"hard": {"pods": "2"}, "used": {"count/a.b": "1"}})).is_empty());
}

#[test]
fn what_is_not_shared_is_asked_for_as_it_is_limited() {
    let range = |name: &str, asked: &str| {
        said(&json!({"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": [
            {"type": "Container", "default": {name: "2Mi"}, "defaultRequest": {name: asked}}]}}))
    };
    let why = "default value 2Mi must equal to defaultRequest value 1Mi in hugepages-2Mi";
    assert_eq!(
        range("hugepages-2Mi", "1Mi"),
        [format!("spec.limits[0].defaultRequest[hugepages-2Mi]: Invalid value: \"1Mi\": {why}")]
    );
    assert!(range("hugepages-2Mi", "2Mi").is_empty());
    assert!(range("memory", "1Mi").is_empty());
    assert_eq!(range("example.com/gpu", "1Mi").len(), 1);
}

fn definition(versions: &Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "wheels.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "versions": versions,
            "names": {"plural": "wheels", "kind": "Wheel"}}})
}

fn version(name: &str, schema: Value) -> Value {
    json!({"name": name, "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}})
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

/// What is said of a schema with these fields, without the path to it.
fn said_of_fields(fields: &Value) -> Vec<String> {
    let told = said(&definition(&json!([version("v1", json!({"type": "object", "properties": fields}))])));
    told.iter().map(|fault| fault.replace("spec.validation.openAPIV3Schema.", "")).collect()
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
fn a_job_that_says_nothing_any_more_runs_as_often_as_before() {
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": {
        "manualSelector": true, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let old = created(&job).expect("a good job");
    assert_eq!(old.at(&["spec", "completions"]), Some(&json!(1)));
    for spec in [Value::Null, json!({})] {
        job["spec"] = spec;
        let (kind, mut new) = read(&job);
        new.set(&["metadata"], old.fields["metadata"].clone());
        let told = told(admit_update(&kind, &old, new));
        assert!(told.contains(&"spec.selector: Required value".to_owned()), "{told:?}");
        assert!(!told.iter().any(|fault| fault.starts_with("spec.completions")), "{told:?}");
    }
}

#[test]
fn what_a_policy_says_is_one_line() {
    let policy = |message: &str| {
        said(&json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "a"}, "spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["CREATE"], "resources": ["configmaps"]}]},
                "validations": [{"expression": "true", "message": message}]}}))
    };
    let at = "spec.validations[0].message: Invalid value:";
    assert_eq!(policy("a\nb"), [format!("{at} \"a\\nb\": must not contain line breaks")]);
    assert_eq!(policy(" "), [format!("{at} \" \": must be non-empty if specified")]);
}

#[test]
fn directives_that_nobody_knows_or_that_have_no_place() {
    let spec = schema::builtin("io.k8s.api.core.v1.PodSpec").expect("a built-in type");
    let patched = |patch: Value| {
        let mut document = json!({"containers": [{"name": "e"}]});
        merge::strategic(&spec, &mut document, patch).map(|()| document)
    };
    let told = |patch: Value| patched(patch).expect_err("refused").message;
    assert_eq!(told(json!({"$patch": "bogus"})), "unknown patch type: bogus in map: map[$patch:bogus]");
    assert_eq!(
        told(json!({"$setElementOrder/containers": ["e"], "containers": [{"name": "e", "image": "i"}]})),
        "expected a map[string]interface {}, but received a string"
    );
    // In an item that is new, it stays: it is a field that nobody knows.
    let port = json!({"containerPort": 1, "$patch": "delete"});
    let new = json!({"containers": [{"name": "n", "ports": [port], "image": null}]});
    let after = patched(new).expect("applies");
    assert_eq!(after["containers"][0], json!({"name": "n", "ports": [port]}));
}

#[test]
fn what_is_not_shown_is_an_escape_in_quotes() {
    assert_eq!(media::go_quoted("a\0b\u{1}\u{7f}\u{85}\u{7}\t\"\\é"), r#""a\x00b\x01\x7f\u0085\a\t\"\\é""#);
}

#[test]
fn a_pod_that_says_as_a_whole_what_it_takes_is_asked_for_no_more() {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "status": {"hard": {"cpu": "500m", "memory": "1Gi"}, "used": {"cpu": "0", "memory": "0"}}});
    let quota = read(&quota).1;
    let charge = |spec: Value| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
        let now = Timestamp::parse("2026-01-02T03:04:05Z").expect("a time");
        let charged = Quota::of(&quota).charge(&GroupResource::core("pods"), None, &read(&pod).1, now);
        charged.map(|_| ()).map_err(|why| why.to_string())
    };
    let containers = json!([{"name": "c", "image": "i"}]);
    let silent = charge(json!({"containers": containers}));
    assert_eq!(silent, Err("failed quota: q: must specify cpu for: c; memory for: c".to_owned()));
    let more = charge(json!({"containers": containers, "resources": {"requests": {"cpu": "2"}}}));
    let why = "exceeded quota: q, requested: cpu=2, used: cpu=0, limited: cpu=500m";
    assert_eq!(more, Err(why.to_owned()));
    assert_eq!(charge(json!({"containers": containers, "resources": {"requests": {"cpu": "200m"}}})), Ok(()));
}

#[test]
fn what_is_not_read_because_of_another_fault_is_not_told_of() {
    let level = |spec: Value| {
        said(&json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
            "spec": spec}))
    };
    let unread = json!({"borrowingLimitPercent": -1, "limitResponse": {"type": "Odd"}});
    assert_eq!(
        level(json!({"type": "Odd", "limited": unread, "exempt": {"lendablePercent": -1}})),
        ["spec.type: Unsupported value: \"Odd\": supported values: \"Exempt\", \"Limited\""]
    );
    let response = json!({"limitResponse": {"type": "Reject"}});
    assert_eq!(
        level(json!({"type": "Limited", "limited": response, "exempt": {"lendablePercent": -1}})),
        ["spec.exempt: Forbidden: must be nil if the type is Limited"]
    );
    let set = |kind: &str| {
        let odd = json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist", "values": ["b"]}]});
        let told = said(&json!({"apiVersion": "apps/v1", "kind": kind, "spec": {"selector": odd,
            "template": {"spec": {"containers": []}}}}));
        told.iter().all(|fault| fault.starts_with("spec.selector"))
    };
    assert!(set("Deployment") && set("ReplicaSet") && set("StatefulSet") && !set("DaemonSet"));
    let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "spec": {"devices": {"requests": [
        {"name": "r", "exactly": {"count": -1}, "firstAvailable": [{"name": "B!"}]}]}}});
    assert_eq!(said(&claim).len(), 1, "{:?}", said(&claim));
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
fn a_policy_that_changes_something_is_read_without_what_stands_around_and_knows_of_variables() {
    let said = |expression: &str| {
        let mutation = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
        let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
        said(&json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "spec": {
            "reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": [rule]}, "mutations": [mutation]}}))
    };
    let at = "spec.mutations[0].applyConfiguration.expression";
    assert_eq!(said(" \n"), [format!("{at}: Required value")]);
    assert_eq!(
        said(" variables.x "),
        [format!(
            "{at}: Invalid value: \"variables.x\": compilation failed: ERROR: <input>:1:10: undefined field 'x'\n | \
             variables.x\n | .........^"
        )]
    );
}

#[test]
fn a_webhook_is_asked_on_64_conditions_at_most() {
    let of = |count: usize| {
        let condition = |at: usize| json!({"name": format!("c{at}"), "expression": "true"});
        let conditions: Vec<Value> = (0..count).map(condition).collect();
        said(&json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "webhooks": [{"name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": "https://example.com"}, "matchConditions": conditions}]}))
    };
    assert_eq!(of(65), ["webhooks[0].matchConditions: Too many: 65: must have at most 64 items"]);
    assert!(of(64).is_empty());
}

#[test]
fn what_was_not_told_of_nodes_drivers_classes_and_owners_is_told() {
    let ranges = |list: Value| {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"podCIDRs": list}});
        said(&node).into_iter().filter(|fault| fault.starts_with("spec.podCIDRs:")).collect::<Vec<_>>()
    };
    let check = "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[1]: <nil> (invalid CIDR \
                 address: x)";
    let why = "may specify no more than one CIDR for each IP family";
    assert_eq!(
        ranges(json!(["10.0.0.0/24", "x"])),
        [
            format!("spec.podCIDRs: Internal error: {check}"),
            format!("spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"x\"]: {why}"),
        ]
    );
    assert_eq!(ranges(json!(["10.0.0.0/24", "10.0.1.0/24"])).len(), 1);
    assert!(ranges(json!(["10.0.0.0/24", "fd00::/64"])).is_empty());
    let driver = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver",
        "spec": {"serviceAccountTokenInSecrets": false}});
    assert_eq!(said(&driver).len(), 1);
    let class = |parameters: Value| {
        said(&json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass", "driverName": "a.b",
            "parameters": parameters}))
    };
    assert_eq!(class(json!({"k": "x".repeat(262_144)})), ["parameters: Too long: may not be more than 262144 bytes"]);
    let many: serde_json::Map<String, Value> = (0..513).map(|at| (format!("k{at}"), json!("v"))).collect();
    assert_eq!(class(Value::Object(many)), ["parameters: Too long: may not be more than 512 bytes"]);
    let owned = |version: &str| {
        let owner = json!({"apiVersion": version, "kind": "K", "name": "n", "uid": "u"});
        said(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "ownerReferences": [owner]}}))
    };
    let why = "metadata.ownerReferences.apiVersion: Invalid value: \"a/b/c\": version must not be empty";
    assert_eq!(owned("a/b/c"), [why]);
    assert!(owned("a/b").is_empty() && owned("v1").is_empty());
}

#[test]
fn what_was_not_told_of_pods_is_told() {
    let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "spec": spec});
    let one = json!([{"name": "a", "image": "i"}]);
    let huge = json!({"containers": one, "overhead": {"hugepages-2Mi": "2Mi"}});
    assert_eq!(said(&pod(huge)), ["spec.overhead: Forbidden: HugePages require cpu or memory"]);
    let nameless = json!({"containers": [{"name": "", "image": "i"}, {"name": "", "image": "i"}]});
    assert!(said(&pod(nameless)).contains(&"spec.containers[1].name: Duplicate value: \"\"".to_owned()));
    let gated = json!({"containers": one, "nodeName": "n", "schedulingGates": [{"name": "a.b/c"}]});
    assert_eq!(said(&pod(gated.clone())).len(), 1);
    let template = json!({"apiVersion": "v1", "kind": "PodTemplate", "template": {"spec": gated}});
    assert_eq!(said(&template), Vec::<String>::new());
    let bound = created(&pod(json!({"containers": one, "nodeName": "n"}))).expect("a good pod");
    assert_eq!(
        told(with_status(&bound, &json!({"phase": "Running", "qosClass": "BestEffort", "nominatedNodeName": "m"}))),
        ["status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node"]
    );
}

#[test]
fn an_autoscaler_is_checked_as_it_is_stored() {
    let (kind, sent) = read(&json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a", "annotations": {"a b": "c"}}, "spec": {"maxReplicas": 0, "scaleTargetRef": {}}}));
    assert!(refuse_as_sent(&kind, &sent).is_ok());
}

#[test]
fn a_service_that_is_a_name_has_no_policy_for_traffic_from_outside() {
    let service = |spec: Value| created(&json!({"apiVersion": "v1", "kind": "Service", "spec": spec}));
    let policy = |spec: Value| service(spec).expect("good").str_at(&["spec", "externalTrafficPolicy"]).to_owned();
    let ports = json!([{"port": 80}]);
    let named = json!({"type": "ExternalName", "externalName": "a.b", "externalIPs": ["1.2.3.4"]});
    assert_eq!(policy(named.clone()), "");
    assert_eq!(policy(json!({"ports": ports})), "");
    assert_eq!(policy(json!({"ports": ports, "externalIPs": ["1.2.3.4"]})), "Cluster");
    assert_eq!(policy(json!({"ports": ports, "type": "NodePort"})), "Cluster");
    let mut said = named;
    said["externalTrafficPolicy"] = json!("Local");
    let why =
        "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services";
    assert_eq!(told(service(said)), [why]);
}

#[test]
fn what_selects_devices_is_read_with_the_fields_that_devices_have() {
    let said = |spec: Value| said(&json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "spec": spec}));
    let selects = |expression: &str| said(json!({"selectors": [{"cel": {"expression": expression}}]}));
    let at = "spec.selectors[0].cel.expression";
    for fine in [
        "device.driver == 'a.b'",
        "device.attributes['a.b'].model == 'x' && device.attributes['a.b'].cores > 2",
        "device.capacity['a.b'].memory.isGreaterThan(quantity('1Gi'))",
        "device.allowMultipleAllocations",
        "device.attributes['a.b'].ready",
    ] {
        assert_eq!(selects(fine), Vec::<String>::new(), "{fine}");
    }
    let why = "must evaluate to bool or the unknown type, not string";
    assert_eq!(selects("device.driver"), [format!("{at}: Invalid value: \"device.driver\": {why}")]);
    assert!(selects("device.none == 1")[0].contains("<input>:1:7: undefined field 'none'"));
    assert_eq!(selects(&"x".repeat(10_241)), [format!("{at}: Too long: may not be more than 10240 bytes")]);
    let many = vec![json!({"cel": {"expression": "true"}}); 33];
    assert_eq!(said(json!({"selectors": many})), ["spec.selectors: Too many: 33: must have at most 32 items"]);
    let opaque = |parameters: Value| said(json!({"config": [{"opaque": {"driver": "a.b", "parameters": parameters}}]}));
    assert_eq!(
        opaque(json!({"k": "x".repeat(11_000)})),
        ["spec.config[0].opaque.parameters: Too long: may not be more than 10240 bytes"]
    );
    assert!(opaque(json!({"k": "x"})).is_empty());
}

#[test]
fn sets_of_counters_differ_in_their_names() {
    let set = json!({"name": "c", "counters": {"m": {"value": "1"}}});
    let pool = json!({"name": "p", "generation": 1, "resourceSliceCount": 1});
    let slice = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
        "spec": {"driver": "a.b", "nodeName": "n", "pool": pool, "sharedCounters": [set, set]}});
    assert_eq!(said(&slice), ["spec.sharedCounters[1]: Duplicate value: \"c\""]);
}

#[test]
fn what_was_not_told_of_quotas_policies_and_budgets_is_told() {
    let quota = |name: &str| {
        let hard = json!({name: "1500m"});
        said(&json!({"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": hard}}))
    };
    let why = "spec.hard[example.com/gpu]: Invalid value: \"1500m\": must be an integer";
    assert_eq!(quota("example.com/gpu"), [why]);
    assert!(quota("requests.example.com/gpu").is_empty());
    let types = json!(["Ingress", "Egress", "Odd"]);
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "spec": {"podSelector": {}, "policyTypes": types}});
    assert_eq!(said(&policy).len(), 1);
    let budget = |spec: Value| {
        said(&json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "a", "labels": {"a b": "c"}}, "spec": spec}))
    };
    assert!(budget(json!({"minAvailable": 1}))[0].starts_with("metadata.labels"));
    let odd = budget(json!({"minAvailable": -1}));
    assert!(odd.iter().all(|fault| fault.starts_with("spec.minAvailable")) && !odd.is_empty(), "{odd:?}");
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

#[test]
fn a_role_that_gathers_by_what_cannot_be_read_is_told_so() {
    let odd = json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist", "values": ["b"]}]});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "aggregationRule": {"clusterRoleSelectors": [odd]}});
    let why = "aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector.";
    assert!(said(&role).contains(&why.to_owned()), "{:?}", said(&role));
}
