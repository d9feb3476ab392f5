//! Rights inside a tenant: whoever has few gets no more by another way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::world::{RBAC, World, request};

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// The token of a new account of `acme` that may do in all of the tenant what some rules say.
async fn account_with(world: &World, name: &str, rules: Value) -> String {
    let token = world.account("acme", name).await;
    let role = json!({"metadata": {"name": name}, "rules": rules});
    made(world, "acme", &format!("{RBAC}/clusterroles"), role).await;
    bind(world, &format!("{RBAC}/clusterrolebindings"), name, ("ClusterRole", name)).await;
    token
}

/// Gives an account of `acme` a role, by a binding at a path.
async fn bind(world: &World, path: &str, account: &str, (kind, role): (&str, &str)) {
    let subjects = json!([{"kind": "ServiceAccount", "name": account, "namespace": "default"}]);
    let role = json!({"kind": kind, "name": role, "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"generateName": "b-"}, "subjects": subjects, "roleRef": role});
    made(world, "acme", path, binding).await;
}

async fn made(world: &World, who: &str, path: &str, body: Value) -> Value {
    let answer = world.post(who, path, body).await;
    assert_eq!(answer.code, 201, "{path}: {}", answer.text);
    answer.json()
}

/// Has a policy of `acme` change what is created and updated of a resource.
async fn change(world: &World, who: &str, name: &str, resource: &str, steps: &str) {
    let rule = json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
        "resources": [resource]});
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": steps}});
    let spec = json!({"reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": [rule]},
        "mutations": [mutation]});
    let policy = json!({"metadata": {"name": name}, "spec": spec});
    made(world, who, &format!("{ADMISSION}/mutatingadmissionpolicies"), policy).await;
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name}});
    made(world, who, &format!("{ADMISSION}/mutatingadmissionpolicybindings"), binding).await;
}

#[tokio::test]
async fn a_namespace_is_reached_through_no_other_one() {
    let world = World::new().await;
    let robot = world.account("acme", "robot").await;
    made(&world, "acme", "/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await;
    let all = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let role = json!({"metadata": {"name": "all"}, "rules": all});
    made(&world, "acme", &format!("{RBAC}/namespaces/default/roles"), role).await;
    bind(&world, &format!("{RBAC}/namespaces/default/rolebindings"), "robot", ("Role", "all")).await;
    assert_eq!(world.get(&robot, "/api/v1/namespaces/default").await.code, 200);
    let through = "/api/v1/namespaces/default/namespaces";
    let body = json!({"metadata": {"name": "other"}}).to_string();
    for (method, path) in [
        (Method::GET, through.to_owned()),
        (Method::POST, through.to_owned()),
        (Method::DELETE, through.to_owned()),
        (Method::GET, format!("{through}/other")),
        (Method::PUT, format!("{through}/other")),
        (Method::PATCH, format!("{through}/other")),
        (Method::PUT, format!("{through}/other/finalize")),
        (Method::DELETE, format!("{through}/other")),
    ] {
        let answer = world.answer(request(&robot, method.clone(), &path, &body)).await;
        assert_eq!(answer.code, 404, "{method} {path}: {}", answer.text);
    }
    let other = world.get("acme", "/api/v1/namespaces/other").await.json();
    assert_eq!(other["metadata"]["deletionTimestamp"], Value::Null, "{other}");
}

#[tokio::test]
async fn what_a_policy_makes_of_a_role_its_writer_must_have() {
    let world = World::new().await;
    let rules = json!([
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["create", "patch"]},
        {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["create"]},
    ]);
    let robot = account_with(&world, "robot", rules).await;
    let roles = format!("{RBAC}/clusterroles");
    made(&world, &robot, &roles, json!({"metadata": {"name": "old"}, "rules": []})).await;
    let all = "[{'apiGroups': ['*'], 'resources': ['*'], 'verbs': ['*']}]";
    let steps = format!("[JSONPatch{{op: 'add', path: '/rules', value: {all}}}]");
    change(&world, &robot, "more", "clusterroles", &steps).await;
    let created = world.post(&robot, &roles, json!({"metadata": {"name": "new"}, "rules": []})).await;
    let label = json!({"metadata": {"labels": {"a": "b"}}}).to_string();
    let patched = world.answer(request(&robot, Method::PATCH, &format!("{roles}/old"), &label)).await;
    for refused in [created, patched] {
        assert_eq!(refused.code, 403, "{}", refused.text);
        assert!(refused.text.contains("attempting to grant RBAC permissions not currently held"), "{}", refused.text);
    }
    assert_eq!(world.get("acme", &format!("{roles}/new")).await.code, 404);
    let by_the_administrator = made(&world, "acme", &roles, json!({"metadata": {"name": "new"}, "rules": []})).await;
    assert_eq!(by_the_administrator["rules"][0]["verbs"], json!(["*"]), "the policy does change it");
}

#[tokio::test]
async fn no_policy_says_who_has_asked_for_a_certificate() {
    let world = World::new().await;
    let steps = "[JSONPatch{op: 'add', path: '/spec/username', value: 'system:node:n1'}, \
                 JSONPatch{op: 'add', path: '/spec/groups', value: ['system:nodes']}, \
                 JSONPatch{op: 'add', path: '/spec/expirationSeconds', value: 3600}]";
    change(&world, "acme", "who", "certificatesigningrequests", steps).await;
    let request = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let spec = json!({"request": STANDARD.encode(request.pem().unwrap()), "signerName": "example.com/own",
        "usages": ["client auth"]});
    let asked = made(&world, "acme", REQUESTS, json!({"metadata": {"name": "r"}, "spec": spec})).await;
    assert_eq!(asked["spec"]["expirationSeconds"], 3600, "the policy does change it");
    assert_eq!(asked["spec"]["username"], "alice");
    assert_eq!(asked["spec"]["groups"], json!(["system:masters", "system:authenticated"]));
}

#[tokio::test]
async fn who_has_policies_read_something_may_read_it() {
    let world = World::new().await;
    let writes =
        json!({"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["create", "patch"]});
    let secrets = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]});
    let blind = account_with(&world, "blind", json!([writes])).await;
    let reader = account_with(&world, "reader", json!([writes, secrets])).await;
    let (policies, bindings) = ("validatingadmissionpolicies", "validatingadmissionpolicybindings");
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]});
    let policy = |name: &str| {
        let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "Secret"},
            "matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    let binding = |name: &str, param: Value| {
        let mut param = param;
        param["parameterNotFoundAction"] = json!("Deny");
        let spec = json!({"policyName": "read", "paramRef": param, "validationActions": ["Deny"]});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    made(&world, &reader, &format!("{ADMISSION}/{policies}"), policy("read")).await;
    let one = || json!({"name": "s", "namespace": "default"});
    made(&world, &reader, &format!("{ADMISSION}/{bindings}"), binding("read", one())).await;
    for (who, path, body, field) in [
        (&blind, policies, policy("other"), "spec.paramKind"),
        (&blind, bindings, binding("other", one()), "spec.paramRef"),
        (&reader, bindings, binding("other", json!({"selector": {}})), "spec.paramRef"),
    ] {
        let refused = world.post(who, &format!("{ADMISSION}/{path}"), body).await;
        let cause = refused.json()["details"]["causes"][0].clone();
        assert_eq!((refused.code, &cause["field"]), (422, &json!(field)), "{}", refused.text);
    }
    // What it reads already, it goes on to read, whoever changes something else of it.
    let label = json!({"metadata": {"labels": {"a": "b"}}}).to_string();
    for path in [policies, bindings] {
        let patched = world.answer(request(&blind, Method::PATCH, &format!("{ADMISSION}/{path}/read"), &label)).await;
        assert_eq!(patched.code, 200, "{}", patched.text);
    }
}

#[tokio::test]
async fn a_role_of_few_words_that_give_very_much_is_refused_in_a_few_words() {
    let world = World::new().await;
    let rules =
        json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["create"]}]);
    let robot = account_with(&world, "robot", rules).await;
    let many = |letter: &str, count: usize| -> Vec<String> { (0..count).map(|at| format!("{letter}{at}")).collect() };
    let rule = json!({"verbs": many("v", 20), "apiGroups": many("g", 20), "resources": many("r", 20),
        "resourceNames": many("n", 20)});
    let role = json!({"metadata": {"name": "wide"}, "rules": [rule]});
    let refused = world.post(&robot, &format!("{RBAC}/clusterroles"), role).await;
    assert_eq!(refused.code, 403, "{:.300}", refused.text);
    assert!(refused.text.contains("too many to compare"), "{:.300}", refused.text);
    let rule = json!({"verbs": many("v", 2000), "apiGroups": ["g"], "resources": many("r", 40)});
    let role = json!({"metadata": {"name": "long"}, "rules": [rule]});
    let refused = world.post(&robot, &format!("{RBAC}/clusterroles"), role).await;
    assert_eq!(refused.code, 403, "{:.300}", refused.text);
    assert!(refused.text.len() < 256 << 10, "{}", refused.text.len());
}

#[tokio::test]
async fn of_very_many_rules_the_first_are_told() {
    let world = World::new().await;
    let names: Vec<String> = (0..70_000).map(|at| format!("n{at}")).collect();
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": names}]);
    let robot = account_with(&world, "robot", rules).await;
    let review = async || {
        let asked = json!({"spec": {"namespace": "default"}});
        made(&world, &robot, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", asked).await
    };
    assert_eq!(review().await["status"].get("evaluationError"), None);
    for _ in 0..7 {
        bind(&world, &format!("{RBAC}/clusterrolebindings"), "robot", ("ClusterRole", "robot")).await;
    }
    let told = review().await;
    assert_eq!(told["status"]["evaluationError"], "there are more rules than can be told");
    assert!(told["status"]["resourceRules"].as_array().unwrap().len() >= 7);
}

#[tokio::test]
async fn who_says_that_a_pod_is_a_mirror_gets_nothing_of_an_account_with_it() {
    let world = World::with(|config| config.admission.disabled.clear()).await;
    let account = json!({"metadata": {"name": "strict",
        "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}});
    made(&world, "acme", "/api/v1/namespaces/default/serviceaccounts", account).await;
    let source = json!({"envFrom": [{"secretRef": {"name": "s"}}]});
    let token = json!({"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]});
    let secret = json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]});
    for (of_pod, of_container, code, why) in [
        (json!({"serviceAccountName": "strict"}), json!({}), 403, "a mirror pod may not reference service accounts"),
        (json!({}), source, 403, "a mirror pod may not reference secrets"),
        (secret, json!({}), 403, "a mirror pod may not reference secrets"),
        (token, json!({}), 422, "must not be specified when serviceAccountName is not set"),
        (json!({}), json!({}), 201, ""),
    ] {
        let mut container = json!({"name": "main", "image": "registry.example/a:1"});
        container.as_object_mut().unwrap().extend(of_container.as_object().unwrap().clone());
        let mut spec = json!({"nodeName": "n1", "containers": [container]});
        spec.as_object_mut().unwrap().extend(of_pod.as_object().unwrap().clone());
        let metadata = json!({"generateName": "p-", "annotations": {"kubernetes.io/config.mirror": "hash"}});
        let answer =
            world.post("acme", "/api/v1/namespaces/default/pods", json!({"metadata": metadata, "spec": spec})).await;
        assert_eq!(answer.code, code, "{spec}: {}", answer.text);
        assert!(answer.text.contains(why), "{}", answer.text);
    }
}
