//! What stands between a valid write and the store: quotas, policies, webhooks, pod security; each tenant has its own.

use std::sync::Arc;

use arktos_api::{ApiConfig, Caller, WebhookTarget};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{MAPS, World, map, pod};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

fn quota(hard: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}})
}

/// Makes a quota that was counted: nothing is used.
async fn counted(world: &World, token: &str, hard: Value) {
    assert_eq!(world.post(token, QUOTAS, quota(hard.clone())).await.code, 201);
    let used: serde_json::Map<String, Value> =
        hard.as_object().unwrap().keys().map(|name| (name.clone(), json!("0"))).collect();
    let status = json!({"status": {"hard": hard, "used": used}});
    assert_eq!(world.patch(token, &format!("{QUOTAS}/q/status"), status).await.code, 200);
}

#[tokio::test]
async fn however_many_write_at_once_no_more_is_made_than_the_quota_allows() {
    let world = World::new().await;
    counted(&world, "acme", json!({"configmaps": "10"})).await;
    let names: Vec<String> = (0..40).map(|number| format!("m{number}")).collect();
    let all = futures::future::join_all(names.iter().map(|name| world.post("acme", MAPS, map(name)))).await;
    assert_eq!(all.iter().filter(|answer| answer.code == 201).count(), 10);
    assert!(all.iter().all(|answer| matches!(answer.code, 201 | 403)));
    let quota = world.get("acme", &format!("{QUOTAS}/q")).await.body;
    assert_eq!(quota["status"]["used"]["configmaps"], "10");
    // A write that fails for another reason costs nothing, and another tenant has nothing to do with it.
    assert_eq!(world.post("umbra", MAPS, map("m1")).await.code, 201);
}

#[tokio::test]
async fn what_is_refused_or_only_tried_costs_nothing() {
    let world = World::new().await;
    counted(&world, "acme", json!({"configmaps": "2"})).await;
    assert_eq!(world.post("acme", &format!("{MAPS}?dryRun=All"), map("a")).await.code, 201);
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 409);
    let quota = world.get("acme", &format!("{QUOTAS}/q")).await.body;
    assert_eq!(quota["status"]["used"]["configmaps"], "1");
    assert_eq!(world.post("acme", MAPS, map("b")).await.code, 201);
    let refused = world.post("acme", &format!("{MAPS}?dryRun=All"), map("c")).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.body["message"],
        "configmaps \"c\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: \
         configmaps=2"
    );
}

pub(crate) const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
pub(crate) const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

pub(crate) fn rules() -> Value {
    json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}])
}

pub(crate) fn policy(extra: Value) -> Value {
    let mut spec = json!({"matchConstraints": {"resourceRules": rules()}});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "p"},
        "spec": spec,
    })
}

pub(crate) fn binding(extra: Value) -> Value {
    let mut spec = json!({"policyName": "p", "validationActions": ["Deny"]});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": spec})
}

pub(crate) async fn made(world: &World, path: &str, body: Value) {
    let answer = world.post("acme", path, body).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
}

/// What may be done is asked of who makes the request, in the tenant of the policy.
#[tokio::test]
async fn a_policy_may_ask_what_else_somebody_may_do() {
    let world = World::new().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "clerk"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get"]}]});
    made(&world, &format!("{rbac}/clusterroles"), role).await;
    let bound = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
    "metadata": {"name": "clerk"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "clerk"},
    "subjects": [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "clerks"},
        {"kind": "ServiceAccount", "namespace": "default", "name": "robot"},
    ]});
    made(&world, &format!("{rbac}/clusterrolebindings"), bound).await;
    let validations = json!([
        {"expression": "authorizer.group('').resource('configmaps').namespace('default').check('delete').allowed()",
            "message": "may not delete"},
        {"expression": "authorizer.requestResource.check('create').reason().contains('clerk') || true"},
        {"expression": "authorizer.serviceAccount('default', 'robot').group('').resource('configmaps').check('get').allowed()",
            "message": "the robot may not read"},
        {"expression": "!authorizer.serviceAccount('default', 'other').group('').resource('configmaps').check('get').allowed()",
            "message": "the other may read"},
    ]);
    let conditions = json!([{"name": "not-get", "expression": "authorizer.requestResource.check('get').allowed()"}]);
    made(&world, POLICIES, policy(json!({"validations": validations, "matchConditions": conditions}))).await;
    made(&world, BINDINGS, binding(json!({}))).await;
    let refused = world.post("clerk", MAPS, map("a")).await;
    assert_eq!(refused.code, 422, "{}", refused.body);
    assert!(refused.body["message"].as_str().unwrap().contains("may not delete"), "{}", refused.body);
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
    // Where nobody may read, the policy is not about it.
    let role = json!({"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]});
    assert_eq!(world.patch("acme", &format!("{rbac}/clusterroles/clerk"), role).await.code, 200);
    assert_eq!(world.post("clerk", MAPS, map("b")).await.code, 201);
    assert_eq!(world.post("acme", MAPS, map("c")).await.code, 422, "the robot may no longer read");
}

#[tokio::test]
async fn a_policy_holds_in_its_own_tenant_for_every_way_to_write() {
    let world = World::new().await;
    made(&world, MAPS, map("a")).await;
    let validations = json!([
        {"expression": "request.operation != 'DELETE'", "message": "no deletions", "reason": "Forbidden"},
        {"expression": "request.operation == 'DELETE' || object.data.size() < 2"},
    ]);
    made(&world, POLICIES, policy(json!({"validations": validations}))).await;
    made(&world, BINDINGS, binding(json!({}))).await;
    let path = format!("{MAPS}/a");
    let patched = world.patch("acme", &path, json!({"data": {"b": "2"}})).await;
    assert_eq!((patched.code, patched.body["reason"].as_str()), (422, Some("Invalid")));
    let deleted = world.delete("acme", &path).await;
    assert_eq!(deleted.code, 403);
    assert_eq!(
        deleted.body["message"],
        "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no deletions"
    );
    assert_eq!(world.post("umbra", MAPS, map("a")).await.code, 201);
    assert_eq!(world.delete("umbra", &path).await.code, 200);
}

#[tokio::test]
async fn a_policy_is_parametrized_by_objects_and_says_what_becomes_of_a_missing_one() {
    let world = World::new().await;
    let validations = json!([{"expression": "object.metadata.name.size() <= int(params.data.most)"}]);
    let kind = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    let conditions = json!([{"name": "other", "expression": "object.metadata.name != 'limits'"}]);
    let spec = json!({"paramKind": kind, "validations": validations, "matchConditions": conditions});
    made(&world, POLICIES, policy(spec)).await;
    let reference = json!({"name": "limits", "parameterNotFoundAction": "Deny"});
    made(&world, BINDINGS, binding(json!({"paramRef": reference}))).await;
    let missing = world.post("acme", MAPS, map("a")).await;
    assert_eq!(missing.code, 422);
    assert!(missing.body["message"].as_str().unwrap().contains("no params found"), "{}", missing.body);
    world.delete("acme", &format!("{BINDINGS}/b")).await;
    let mut limits = map("limits");
    limits["data"] = json!({"most": "3"});
    made(&world, MAPS, limits).await;
    made(&world, BINDINGS, binding(json!({"paramRef": reference}))).await;
    assert_eq!(world.post("acme", MAPS, map("abc")).await.code, 201);
    assert_eq!(world.post("acme", MAPS, map("abcd")).await.code, 422);
}

#[tokio::test]
async fn what_a_request_costs_in_policies_ends_however_many_parameters_there_are() {
    let world = World::new().await;
    let validations = json!([{"expression": "lists.range(900000).size() > int(params.data.x)"}]);
    let kind = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"]}]);
    let spec = json!({
        "paramKind": kind, "validations": validations, "matchConstraints": {"resourceRules": rules},
    });
    made(&world, POLICIES, policy(spec)).await;
    let reference = json!({"selector": {}, "parameterNotFoundAction": "Deny"});
    made(&world, BINDINGS, binding(json!({"paramRef": reference}))).await;
    let with = |count: std::ops::Range<u32>| {
        count.map(|at| {
            let mut params = map(&format!("m{at:03}"));
            params["data"] = json!({"x": "1"});
            params
        })
    };
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    let path = "/api/v1/namespaces/default/secrets?dryRun=All";
    for params in with(0..20) {
        made(&world, MAPS, params).await;
    }
    assert_eq!(world.post("acme", path, secret.clone()).await.code, 201);
    for params in with(20..60) {
        made(&world, MAPS, params).await;
    }
    let refused = world.post("acme", path, secret.clone()).await;
    assert_eq!(refused.code, 422);
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("running out of cost budget"), "{message}");
    for params in with(60..101) {
        made(&world, MAPS, params).await;
    }
    let refused = world.post("acme", path, secret).await;
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("failed to configure binding: paramRef selects more than 100 objects"), "{message}");
}

#[tokio::test]
async fn the_expressions_of_a_policy_are_only_so_long_together() {
    let world = World::new().await;
    let long = format!("'{}' != ''", "x".repeat(60 * 1024));
    let validations = |count| json!(vec![json!({"expression": long, "message": "long"}); count]);
    made(&world, POLICIES, policy(json!({"validations": validations(4)}))).await;
    let mut other = policy(json!({"validations": validations(5)}));
    other["metadata"]["name"] = json!("q");
    let refused = world.post("acme", POLICIES, other).await;
    assert_eq!(refused.code, 422);
    let message = refused.body["message"].as_str().unwrap();
    let why = "spec.validations[4].expression: Forbidden: all expressions together may not be longer than 262144 bytes";
    assert!(message.contains(why), "{message}");
}

#[tokio::test]
async fn a_policy_that_cannot_be_asked_refuses_unless_it_says_to_ignore_that() {
    let world = World::new().await;
    let validations = json!([{"expression": "object.data.nothing.deep == 1"}]);
    made(&world, POLICIES, policy(json!({"validations": validations}))).await;
    made(&world, BINDINGS, binding(json!({}))).await;
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 422);
    let path = format!("{POLICIES}/p");
    assert_eq!(world.patch("acme", &path, json!({"spec": {"failurePolicy": "Ignore"}})).await.code, 200);
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
}

#[tokio::test]
async fn mutating_policies_patch_and_apply_and_are_asked_again_when_they_ask_for_it() {
    let world = World::new().await;
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies";
    let bindings = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings";
    let mutation = |name: &str, again: &str, mutation: Value| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": rules()}, "reinvocationPolicy": again, "mutations": [mutation],
            },
        })
    };
    let bound = |name: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name}})
    };
    let count = "[JSONPatch{op: 'add', path: '/data/seen', value: has(object.data.late) ? 'late' : 'early'}]";
    let first = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": count}});
    let late = "Object{data: {'late': object.metadata.name}}";
    let second = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": late}});
    for (name, again, change) in [("one", "IfNeeded", first), ("two", "Never", second)] {
        made(&world, path, mutation(name, again, change)).await;
        made(&world, bindings, bound(name)).await;
    }
    let made = world.post("acme", MAPS, map("a")).await;
    assert_eq!(made.body["data"], json!({"a": "1", "late": "a", "seen": "late"}), "{}", made.body);
}

type Answer = Box<dyn Fn(&Value) -> Result<Value, String> + Send + Sync>;

/// Answers reviews as a function says, and keeps what it was asked.
struct Fake {
    answer: Answer,
    asked: Mutex<Vec<Value>>,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

#[async_trait]
impl Caller for Fake {
    async fn call(&self, target: &WebhookTarget, body: Bytes) -> Result<Bytes, String> {
        if target.url.ends_with("/slow?timeout=3s") {
            return std::future::pending().await;
        }
        let review: Value = serde_json::from_slice(&body).unwrap();
        self.asked.lock().push(review.clone());
        let mut response = (self.answer)(&review["request"])?;
        response["uid"] = review["request"]["uid"].clone();
        let answer = json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response});
        Ok(Bytes::from(answer.to_string()))
    }
}

async fn world_with(answer: impl Fn(&Value) -> Result<Value, String> + Send + Sync + 'static) -> (World, Arc<Fake>) {
    let fake = Arc::new(Fake { answer: Box::new(answer), asked: Mutex::default() });
    let caller = fake.clone();
    let world = World::with(move |config: &mut ApiConfig| config.webhooks = Some(caller)).await;
    (world, fake)
}

pub(crate) fn hook(kind: &str, extra: Value) -> (String, Value) {
    let mut webhook = json!({"name": "v.example.com", "clientConfig": {"url": "https://hooks.example.com/x"},
        "rules": rules(), "sideEffects": "None", "admissionReviewVersions": ["v1"]});
    webhook.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let path = format!("/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations", kind.to_lowercase());
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1",
        "kind": format!("{kind}WebhookConfiguration"), "metadata": {"name": "w"}, "webhooks": [webhook]});
    (path, configuration)
}

#[tokio::test]
async fn a_validating_webhook_is_asked_about_its_tenants_writes_and_its_words_are_passed_on() {
    let (world, fake) = world_with(|request| {
        let fine = request["object"]["data"]["a"] == "1";
        let status = json!({"message": "a must be 1", "code": 403, "reason": "Forbidden"});
        Ok(json!({"allowed": fine, "warnings": ["seen"], "status": status}))
    })
    .await;
    let (path, configuration) = hook("Validating", json!({}));
    made(&world, &path, configuration).await;
    let allowed = world.post("acme", MAPS, map("a")).await;
    assert_eq!((allowed.code, allowed.warnings.as_slice()), (201, &["299 - \"seen\"".to_owned()][..]));
    let refused = world.patch("acme", &format!("{MAPS}/a"), json!({"data": {"a": "2"}})).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (403, Some("Forbidden")));
    assert_eq!(refused.body["message"], "admission webhook \"v.example.com\" denied the request: a must be 1");
    let asked = fake.asked.lock().clone();
    assert_eq!(asked[1]["request"]["oldObject"]["data"]["a"], "1");
    assert_eq!(asked[1]["request"]["userInfo"]["username"], "alice");
    // Another tenant's writes, other kinds, and the configuration itself are none of its business.
    assert_eq!(world.post("umbra", MAPS, map("a")).await.code, 201);
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/pods", pod("p")).await.code, 201);
    assert_eq!(world.delete("acme", &format!("{path}/w")).await.code, 200);
    assert_eq!(fake.asked.lock().len(), 2);
}

#[tokio::test]
async fn webhooks_and_policies_are_asked_before_anything_is_reached() {
    let (world, fake) = world_with(|request| {
        let status = json!({"message": format!("attaching to {} is not allowed", request["name"]), "code": 403});
        Ok(json!({"allowed": request["subResource"] != "attach", "status": status}))
    })
    .await;
    let rules = |part: &str| json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"], "resources": [format!("pods/{part}")]}]);
    let (path, configuration) = hook("Validating", json!({"rules": rules("*")}));
    made(&world, &path, configuration).await;
    let refuses = json!({"matchConstraints": {"resourceRules": rules("exec")},
        "validations": [{"expression": "'ls' in object.command", "message": "list, and nothing else"}]});
    made(&world, POLICIES, policy(refuses)).await;
    made(&world, BINDINGS, binding(json!({}))).await;
    let mut placed = pod("p");
    placed["spec"]["nodeName"] = json!("n1");
    made(&world, "/api/v1/namespaces/default/pods", placed).await;
    let at = |part: &str| format!("/api/v1/namespaces/default/pods/p/{part}");
    let refused = world.get("acme", &at("attach?stdin=true&container=c")).await;
    let why = "admission webhook \"v.example.com\" denied the request: attaching to \"p\" is not allowed";
    assert_eq!((refused.code, refused.body["message"].as_str()), (403, Some(why)));
    let asked = fake.asked.lock()[0]["request"].clone();
    assert_eq!(asked["kind"], json!({"group": "", "version": "v1", "kind": "PodAttachOptions"}));
    assert_eq!((asked["operation"].as_str(), &asked["options"]), (Some("CONNECT"), &Value::Null));
    let options = json!({"apiVersion": "v1", "kind": "PodAttachOptions", "stdin": true, "container": "c"});
    assert_eq!((&asked["object"], &asked["oldObject"]), (&options, &Value::Null));
    let refused = world.get("acme", &at("exec?command=rm")).await;
    assert_eq!(refused.code, 422, "{}", refused.body);
    assert!(refused.body["message"].as_str().unwrap().ends_with("list, and nothing else"), "{}", refused.body);
    for allowed in ["exec?command=ls", "portforward?ports=80", "log"] {
        let reached = world.get("acme", &at(allowed)).await;
        assert!(![403, 422].contains(&reached.code), "{allowed}: {}", reached.body);
    }
    assert_eq!(fake.asked.lock().len(), 3, "a log is read, and not connected to");
}

#[tokio::test]
async fn a_mutating_webhook_changes_the_object_before_it_is_checked_but_not_whose_it_is() {
    let (world, _) = world_with(|_| {
        let patch = json!([
            {"op": "add", "path": "/data/added", "value": "yes"},
            {"op": "replace", "path": "/metadata/uid", "value": "other"},
        ]);
        Ok(json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string())}))
    })
    .await;
    let (path, configuration) = hook("Mutating", json!({}));
    made(&world, &path, configuration).await;
    let made = world.post("acme", MAPS, map("a")).await;
    assert_eq!(made.body["data"], json!({"a": "1", "added": "yes"}));
    assert_ne!(made.body["metadata"]["uid"], "other");
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_refuses_or_is_passed_over_as_it_says() {
    let (world, fake) = world_with(|_| Err("nobody there".to_owned())).await;
    let (path, configuration) = hook("Validating", json!({}));
    made(&world, &path, configuration).await;
    let refused = world.post("acme", MAPS, map("a")).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (500, Some("InternalError")));
    let why = "failed calling webhook \"v.example.com\": failed to call webhook: nobody there";
    assert!(refused.body["message"].as_str().unwrap().contains(why), "{}", refused.body);
    let lenient = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    let kind = "application/json-patch+json";
    world.send_as("acme", http::Method::PATCH, &format!("{path}/w"), kind, lenient.to_string()).await;
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
    // Match conditions keep it from being asked at all.
    let before = fake.asked.lock().len();
    let conditions = json!([{"name": "b", "expression": "object.metadata.name == 'b'"}]);
    let strict = json!([
        {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"},
        {"op": "add", "path": "/webhooks/0/matchConditions", "value": conditions},
    ]);
    world.send_as("acme", http::Method::PATCH, &format!("{path}/w"), kind, strict.to_string()).await;
    assert_eq!(world.post("acme", MAPS, map("c")).await.code, 201);
    assert_eq!(fake.asked.lock().len(), before);
    assert_eq!(world.post("acme", MAPS, map("b")).await.code, 500);
}

#[tokio::test]
async fn a_slow_webhook_is_given_up_when_its_time_is_over() {
    let (world, _) = world_with(|_| Ok(json!({"allowed": true}))).await;
    let client = json!({"clientConfig": {"url": "https://hooks.example.com/slow"}, "timeoutSeconds": 3});
    let (path, configuration) = hook("Validating", client);
    made(&world, &path, configuration).await;
    let mut request = Box::pin(world.post("acme", MAPS, map("a")));
    assert!(futures::poll!(&mut request).is_pending());
    world.advance(4);
    let refused = request.await;
    assert_eq!(refused.code, 500);
    assert!(refused.body["message"].as_str().unwrap().contains("deadline exceeded"), "{}", refused.body);
}

#[tokio::test]
async fn a_namespace_that_becomes_stricter_tells_which_of_its_pods_it_would_refuse() {
    let world = World::new().await;
    let mut privileged = pod("strong");
    privileged["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(world.post("acme", pods, privileged).await.code, 201);
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    let stricter = world.patch("acme", "/api/v1/namespaces/default", labels).await;
    assert_eq!(stricter.code, 200);
    assert_eq!(
        stricter.warnings,
        [
            "299 - \"existing pods in namespace \\\"default\\\" violate the new PodSecurity enforce level \
             \\\"baseline:latest\\\"\"",
            "299 - \"strong: privileged\"",
        ]
    );
    // What is there may go on being changed, as long as nothing else runs in it.
    assert_eq!(
        world.patch("acme", &format!("{pods}/strong"), json!({"metadata": {"labels": {"a": "b"}}})).await.code,
        200
    );
    let image = json!({"spec": {"containers": [{"name": "main", "image": "other"}]}});
    let kind = "application/strategic-merge-patch+json";
    let changed = world.send_as("acme", http::Method::PATCH, &format!("{pods}/strong"), kind, image.to_string()).await;
    assert_eq!(changed.code, 403);
}

#[tokio::test]
async fn one_priority_class_alone_is_the_default() {
    let world = World::new().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str, default: bool| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1,
            "globalDefault": default})
    };
    made(&world, classes, class("first", true)).await;
    made(&world, classes, class("second", false)).await;
    let why = "PriorityClass first is already marked as default. Only one default can exist";
    for name in ["first", "third"] {
        let refused = world.post("acme", classes, class(name, true)).await;
        assert_eq!(refused.code, 403);
        let said = format!("priorityclasses.scheduling.k8s.io {name:?} is forbidden: {why}");
        assert_eq!(refused.body["message"], said);
    }
    let second = format!("{classes}/second");
    assert_eq!(world.patch("acme", &second, json!({"globalDefault": true})).await.code, 403);
    let first = json!({"description": "still the default"});
    assert_eq!(world.patch("acme", &format!("{classes}/first"), first).await.code, 200);
}

const RANGES: &str = "/api/v1/namespaces/default/limitranges";

fn range(name: &str, limit: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": name}, "spec": {"limits": [limit]}})
}

#[tokio::test]
async fn limits_of_a_namespace_hold_for_what_changes_as_well() {
    let world = World::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let cpu = |amount: &str| json!({"requests": {"cpu": amount}, "limits": {"cpu": amount}});
    let mut small = pod("small");
    small["spec"]["containers"][0]["resources"] = cpu("100m");
    made(&world, pods, small).await;
    made(&world, RANGES, range("cpu", json!({"type": "Container", "max": {"cpu": "500m"}}))).await;
    let resized = async |amount: &str| {
        let body = json!({"spec": {"containers": [{"name": "main", "resources": cpu(amount)}]}}).to_string();
        let kind = "application/strategic-merge-patch+json";
        world.send_as("acme", http::Method::PATCH, &format!("{pods}/small/resize"), kind, body).await
    };
    let refused = resized("1").await;
    assert_eq!(refused.code, 403, "{}", refused.body);
    assert_eq!(
        refused.body["message"],
        "pods \"small\" is forbidden: maximum cpu usage per Container is 500m, but limit is 1"
    );
    assert_eq!(resized("200m").await.code, 200);

    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    for name in ["a", "b"] {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        made(&world, claims, claim).await;
    }
    assert_eq!(world.delete("acme", &format!("{claims}/b")).await.code, 200);
    made(&world, RANGES, range("storage", json!({"type": "PersistentVolumeClaim", "min": {"storage": "2Gi"}}))).await;
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let refused = world.patch("acme", &format!("{claims}/a"), label.clone()).await;
    assert_eq!(refused.code, 403, "{}", refused.body);
    assert_eq!(
        refused.body["message"],
        "persistentvolumeclaims \"a\" is forbidden: minimum storage usage per PersistentVolumeClaim is 2Gi, but \
         request is 1Gi"
    );
    assert_eq!(world.patch("acme", &format!("{claims}/b"), label).await.code, 200, "it waits to be gone");
}

#[tokio::test]
async fn a_pod_is_limited_by_what_runs_together_in_it() {
    let world = World::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    made(&world, RANGES, range("cpu", json!({"type": "Pod", "max": {"cpu": "1"}}))).await;
    let cpu = |amount: &str| json!({"limits": {"cpu": amount}});
    let with = |name: &str, init: Value| {
        let mut pod = pod(name);
        pod["spec"]["containers"][0]["resources"] = cpu("700m");
        pod["spec"]["initContainers"] = init;
        pod
    };
    let first =
        |policy: Value| json!([{"name": "init", "image": "i:1", "resources": cpu("400m"), "restartPolicy": policy}]);
    made(&world, pods, with("before", first(Value::Null))).await;
    let beside = world.post("acme", pods, with("beside", first(json!("Always")))).await;
    assert_eq!(beside.code, 403, "{}", beside.body);
    let why = "maximum cpu usage per Pod is 1, but limit is 1100m";
    assert!(beside.body["message"].as_str().unwrap().contains(why), "{}", beside.body);
}

#[tokio::test]
async fn a_claim_grows_once_it_is_bound_if_its_class_lets_it() {
    let world = World::new().await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fixed"},
        "provisioner": "p.example.com"});
    made(&world, "/apis/storage.k8s.io/v1/storageclasses", class).await;
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a"}, "spec": {
        "storageClassName": "fixed", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    made(&world, claims, claim).await;
    let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    assert_eq!(world.patch("acme", &format!("{claims}/a/status"), bound).await.code, 200);
    let grow = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    let refused = world.patch("acme", &format!("{claims}/a"), grow.clone()).await;
    assert_eq!(refused.code, 403, "{}", refused.body);
    assert_eq!(
        refused.body["message"],
        "persistentvolumeclaims \"a\" is forbidden: only dynamically provisioned pvc can be resized and the \
         storageclass that provisions the pvc must support resize"
    );
    let class = "/apis/storage.k8s.io/v1/storageclasses/fixed";
    assert_eq!(world.patch("acme", class, json!({"allowVolumeExpansion": true})).await.code, 200);
    assert_eq!(world.patch("acme", &format!("{claims}/a"), grow).await.code, 200);
}
