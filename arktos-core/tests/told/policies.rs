//! Policies, webhooks, and what selects devices.

use serde_json::{Value, json};

use crate::said;

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
