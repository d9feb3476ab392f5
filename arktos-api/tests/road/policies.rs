//! Policies that change something, and what expressions of policies know and may cost.

use serde_json::{Value, json};

use crate::admissions::{BINDINGS, POLICIES, binding, made, policy, rules};
use crate::{MAPS, World, map};

const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies";

/// Makes a policy that changes config maps, and binds it.
async fn changes(world: &World, name: &str, spec: Value) {
    let mut whole = json!({"matchConstraints": {"resourceRules": rules()}, "reinvocationPolicy": "Never"});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": whole});
    made(world, MUTATING, policy).await;
    let bindings = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings";
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name}});
    made(world, bindings, binding).await;
}

fn applied(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn patched(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

#[tokio::test]
async fn whoever_wants_to_is_asked_again_after_any_change_and_once() {
    let world = World::new().await;
    for (name, again) in [("a", "IfNeeded"), ("b", "Never"), ("c", "IfNeeded")] {
        let log = applied(&format!("Object{{data: {{'log': object.data.?log.orValue('') + '{name}'}}}}"));
        changes(&world, name, json!({"reinvocationPolicy": again, "mutations": [log]})).await;
    }
    let made = world.post("acme", MAPS, map("m")).await;
    assert_eq!(made.body["data"]["log"], "abcac", "{}", made.body);
}

#[tokio::test]
async fn a_policy_that_cannot_change_what_it_wants_to_says_why() {
    let world = World::new().await;
    let failing = applied("Object{data: {'x': object.data.none}}");
    let fine = applied("Object{data: {'y': '1'}}");
    changes(&world, "ignored", json!({"failurePolicy": "Ignore", "mutations": [failing, fine]})).await;
    let answer = world.post("acme", MAPS, map("m")).await;
    assert_eq!((answer.code, answer.body["data"]["y"].as_str()), (201, Some("1")), "{}", answer.body);
    for (name, mutation, code, message) in [
        (
            "one",
            failing,
            403,
            "expression 'Object{data: {'x': object.data.none}}' resulted in error: no such key: none",
        ),
        ("two", applied("Object{data: Object.other{}}"), 403, "type mismatch: unexpected type name"),
        ("three", applied("Object{none: 1}"), 403, "error applying patch: failed to convert patch object to typed"),
        (
            "four",
            applied("Object{metadata: Object.metadata{ownerReferences: [Object.metadata.ownerReferences{uid: 'u'}]}}"),
            403,
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .metadata.ownerReferences[0]",
        ),
        ("five", patched("[JSONPatch{op: 'remove', path: '/data/none'}]"), 403, "JSON Patch: error in remove for path"),
        ("six", patched("[JSONPatch{op: 'add', path: '/none', value: 1}]"), 500, "unknown field \"none\""),
        (
            "seven",
            applied("Object{metadata: Object.metadata{namespace: 'other'}}"),
            400,
            "does not match the namespace",
        ),
    ] {
        changes(&world, name, json!({"mutations": [mutation]})).await;
        let answer = world.post("acme", MAPS, map("n")).await;
        assert_eq!(answer.code, code, "{name}: {}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains(message), "{name}: {}", answer.body);
        world.delete("acme", &format!("{MUTATING}/{name}")).await;
    }
    let test = "[JSONPatch{op: 'test', path: '/data/a', value: 'z'}, JSONPatch{op: 'remove', path: '/data/a'}]";
    changes(&world, "tested", json!({"mutations": [patched(test)]})).await;
    let answer = world.post("acme", MAPS, map("n")).await;
    assert_eq!((answer.code, answer.body["data"]["a"].as_str()), (201, Some("1")), "{}", answer.body);
}

#[tokio::test]
async fn conditions_know_no_namespace_and_have_a_budget_of_their_own() {
    let world = World::new().await;
    let holds = |expression: &str| json!([{"name": "c", "expression": expression}]);
    let never = json!([{"expression": "false", "message": "is asked"}]);
    let spec = json!({"validations": never, "matchConditions": holds("namespaceObject == null")});
    made(&world, POLICIES, policy(spec)).await;
    made(&world, BINDINGS, binding(json!({}))).await;
    assert_eq!(world.post("acme", MAPS, map("m")).await.code, 422);
    let dear: Vec<Value> = (0..8)
        .map(|at| json!({"name": format!("c{at}"), "expression": "lists.range(150000).all(n, n >= 0)"}))
        .collect();
    let path = format!("{POLICIES}/p");
    assert_eq!(world.patch("acme", &path, json!({"spec": {"matchConditions": dear}})).await.code, 200);
    let answer = world.post("acme", MAPS, map("m")).await;
    assert!(answer.body["message"].as_str().unwrap().contains("running out of cost budget"), "{}", answer.body);
}

#[tokio::test]
async fn what_a_policy_was_allowed_to_say_keeps_nothing_else_from_being_changed() {
    let world = World::new().await;
    let validations = json!([{"expression": "[object.a, 1].size() > 0"}]);
    let answer = world.post("acme", POLICIES, policy(json!({"validations": validations}))).await;
    assert_eq!(answer.code, 422, "{}", answer.body);
    let constant = json!([{"expression": "int('x') == 1"}]);
    let answer = world.post("acme", POLICIES, policy(json!({"validations": constant}))).await;
    let why = "spec.validations[0].expression: Internal error: program instantiation failed: type conversion error \
               from 'string' to 'int'";
    assert!(answer.body["message"].as_str().unwrap().contains(why), "{}", answer.body);
    let long = |at: usize| json!({"expression": format!("'{at}' != '{}'", "x".repeat(60_000))});
    let of = |count: usize| json!({"spec": {"validations": (0..count).map(long).collect::<Vec<Value>>()}});
    made(&world, POLICIES, policy(json!({"validations": of(4)["spec"]["validations"]}))).await;
    let path = format!("{POLICIES}/p");
    assert_eq!(world.patch("acme", &path, json!({"metadata": {"labels": {"a": "b"}}})).await.code, 200);
    let answer = world.patch("acme", &path, of(5)).await;
    assert_eq!(answer.code, 422, "what is kept counts: {}", answer.body["message"]);
}

/// What was read of policies for earlier writes says nothing about those that come after a change, whatever changed.
#[tokio::test]
async fn a_policy_holds_as_it_is_stored_when_it_is_asked() {
    let world = World::new().await;
    let demands = |expression: &str| json!({"validations": [{"expression": expression}]});
    let tried = |token: &'static str| {
        let world = world.clone();
        async move { world.post(token, &format!("{MAPS}?dryRun=All"), map("m")).await.code }
    };
    assert_eq!(tried("acme").await, 201);
    made(&world, POLICIES, policy(demands("false"))).await;
    assert_eq!(tried("acme").await, 201, "it is not bound");
    made(&world, BINDINGS, binding(json!({}))).await;
    assert_eq!((tried("acme").await, tried("acme").await, tried("umbra").await), (422, 422, 201));
    let (path, binding_path) = (format!("{POLICIES}/p"), format!("{BINDINGS}/b"));
    for (path, spec, code) in [
        (&path, demands("true"), 201),
        (&path, demands("false"), 422),
        (&binding_path, json!({"validationActions": ["Warn"]}), 201),
        (&binding_path, json!({"validationActions": ["Deny"], "policyName": "q"}), 201),
        (&binding_path, json!({"policyName": "p"}), 422),
        (&path, json!({"matchConstraints": {"excludeResourceRules": rules()}}), 201),
        (&path, json!({"matchConstraints": {"excludeResourceRules": null}}), 422),
    ] {
        let answer = world.patch("acme", path, json!({"spec": spec})).await;
        assert_eq!((answer.code, tried("acme").await), (200, code), "{path} {}", answer.body["spec"]);
    }
    // One goes and one comes: there are as many as before.
    world.delete("acme", &path).await;
    assert_eq!(tried("acme").await, 201);
    let mut other = policy(demands("false"));
    other["metadata"]["name"] = json!("a");
    made(&world, POLICIES, other).await;
    assert_eq!(tried("acme").await, 201, "it is not bound");
    assert_eq!(world.patch("acme", &binding_path, json!({"spec": {"policyName": "a"}})).await.code, 200);
    assert_eq!(tried("acme").await, 422);
    world.delete("acme", &binding_path).await;
    assert_eq!(tried("acme").await, 201);
}

#[tokio::test]
async fn a_request_has_no_subresource_where_it_is_about_a_whole_object() {
    let world = World::new().await;
    let says = |expression: &str| json!({"validations": [{"expression": expression}]});
    let silent = "!has(request.subResource) && has(request.name) && has(request.namespace)";
    made(&world, POLICIES, policy(says(silent))).await;
    made(&world, BINDINGS, binding(json!({}))).await;
    let answer = world.post("acme", MAPS, map("m")).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    let path = format!("{POLICIES}/p");
    assert_eq!(world.patch("acme", &path, json!({"spec": says("request.subResource == ''")})).await.code, 200);
    let answer = world.post("acme", MAPS, map("n")).await;
    assert!(answer.body["message"].as_str().unwrap().contains("no such key: subResource"), "{}", answer.body);
}
