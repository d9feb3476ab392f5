//! What is entered in the audit log.

use std::sync::Arc;

use arktos_api::{Audit, AuditPolicy, AuditSink};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{MAPS, World, map};

#[derive(Debug, Default)]
struct Lines(Mutex<Vec<Value>>);

impl AuditSink for Lines {
    fn take(&self, event: Bytes) {
        self.0.lock().push(serde_json::from_slice(&event).unwrap());
    }
}

async fn world(policy: &str) -> (World, Arc<Lines>) {
    let lines = Arc::new(Lines::default());
    let audit = Audit { policy: Arc::new(AuditPolicy::parse(policy).unwrap()), sink: lines.clone() };
    let world = World::with(move |config| config.audit = Some(audit)).await;
    (world, lines)
}

impl Lines {
    fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.0.lock())
    }
}

const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

#[tokio::test]
async fn an_event_says_who_did_what_where_and_with_what_outcome() {
    let (world, lines) = world(&format!("{HEAD}omitStages: [RequestReceived]\nrules: [{{level: Metadata}}]")).await;
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
    let [event] = lines.take().try_into().unwrap();
    assert_eq!(event["kind"], "Event");
    assert_eq!(event["apiVersion"], "audit.k8s.io/v1");
    assert_eq!((&event["level"], &event["stage"]), (&json!("Metadata"), &json!("ResponseComplete")));
    assert_eq!((&event["verb"], &event["requestURI"]), (&json!("create"), &json!(MAPS)));
    let groups = json!(["system:masters", "system:authenticated"]);
    assert_eq!(event["user"], json!({"username": "alice", "groups": groups}));
    let reference = json!({"resource": "configmaps", "namespace": "default", "apiVersion": "v1"});
    assert_eq!(event["objectRef"], reference);
    assert_eq!(event["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "allow");
    assert_eq!(event["annotations"]["arktos.io/tenant"], "acme");
    assert_eq!(event["annotations"]["arktos.io/user-tenant"], "acme");
    assert_eq!(event["requestReceivedTimestamp"], "2026-11-23T10:00:00.000000Z");
    assert!(event.get("requestObject").is_none());

    assert_eq!(world.get("clerk", MAPS).await.code, 403);
    assert_eq!(world.get("nobody-has-this", MAPS).await.code, 401);
    let [forbidden, unknown] = lines.take().try_into().unwrap();
    assert_eq!(forbidden["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(
        (&forbidden["responseStatus"]["reason"], &forbidden["responseStatus"]["code"]),
        (&json!("Forbidden"), &json!(403))
    );
    assert_eq!((&unknown["responseStatus"]["code"], &unknown["user"]), (&json!(401), &json!({})));
}

#[tokio::test]
async fn bodies_are_entered_where_the_policy_says_and_no_secrets_elsewhere() {
    let policy = format!(
        "{HEAD}omitStages: [RequestReceived]\nrules:\n- level: Metadata\n  resources: [{{resources: [secrets]}}]\n\
         - level: Request\n  verbs: [create]\n- level: RequestResponse\n  omitManagedFields: true\n"
    );
    let (world, lines) = world(&policy).await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}});
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/secrets", secret).await.code, 201);
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
    let patched = world.patch("acme", &format!("{MAPS}/a"), json!({"data": {"a": "2"}})).await;
    assert_eq!(patched.body["data"]["a"], "2", "what is looked at goes out all the same");
    assert_eq!(world.get("acme", MAPS).await.body["items"].as_array().unwrap().len(), 1);
    let [secret, created, patched, listed] = lines.take().try_into().unwrap();
    assert!(!secret.to_string().contains("hunter2"));
    assert_eq!((&created["requestObject"]["data"]["a"], created.get("responseObject")), (&json!("1"), None));
    assert_eq!(patched["requestObject"], json!({"data": {"a": "2"}}));
    assert_eq!(patched["responseObject"]["data"]["a"], "2");
    assert_eq!(patched["responseObject"]["metadata"].get("managedFields"), None);
    assert_eq!(listed["responseObject"]["items"][0]["data"]["a"], "2");
    assert_eq!(listed["responseObject"]["items"][0]["metadata"].get("managedFields"), None);
}

#[tokio::test]
async fn whoever_goes_away_before_it_is_answered_leaves_an_entry() {
    let (world, lines) = world(&format!("{HEAD}omitStages: [RequestReceived]\nrules: [{{level: Metadata}}]")).await;
    let endless = futures::stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
    let request = Request::builder().method(Method::POST).uri(MAPS).header("authorization", "Bearer acme");
    let request = request.header("content-type", "application/json").body(StreamBody::new(endless)).unwrap();
    let mut answer = Box::pin(world.api.clone().oneshot(request));
    assert!(futures::poll!(answer.as_mut()).is_pending());
    assert!(lines.take().is_empty());
    drop(answer);
    let [event] = lines.take().try_into().unwrap();
    assert_eq!((&event["stage"], &event["verb"]), (&json!("ResponseComplete"), &json!("create")));
    assert_eq!((&event["user"]["username"], &event["responseStatus"]["code"]), (&json!("alice"), &json!(499)));
}

#[tokio::test]
async fn a_watch_is_entered_when_it_begins_and_when_it_ends_and_an_impersonation_with_both_names() {
    let (world, lines) = world(&format!("{HEAD}rules: [{{level: Metadata}}]")).await;
    let mut events = world.watch("acme", &format!("{MAPS}?watch=1")).await;
    world.post("acme", MAPS, map("a")).await;
    assert_eq!(events.short().await, "ADDED a");
    let stages = |lines: &Lines| -> Vec<String> {
        let stage = |event: Value| format!("{} {}", event["verb"].as_str().unwrap(), event["stage"].as_str().unwrap());
        lines.take().into_iter().map(stage).collect()
    };
    assert_eq!(
        stages(&lines),
        ["watch RequestReceived", "watch ResponseStarted", "create RequestReceived", "create ResponseComplete",]
    );
    drop(events);
    assert_eq!(stages(&lines), ["watch ResponseComplete"]);

    let request = Request::builder().method(Method::GET).uri(MAPS).header("authorization", "Bearer acme");
    let request = request.header("impersonate-user", "bob").body(Full::new(Bytes::new())).unwrap();
    let response = world.api.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 403);
    let id = response.headers()["audit-id"].to_str().unwrap().to_owned();
    response.into_body().collect().await.unwrap();
    let event = lines.take().pop().unwrap();
    assert_eq!((&event["user"]["username"], &event["impersonatedUser"]["username"]), (&json!("alice"), &json!("bob")));
    assert_eq!(event["annotations"]["arktos.io/user-tenant"], "acme");
    assert_eq!(event["auditID"], id.as_str(), "clients are told under which number they are entered");

    let request = Request::builder().method(Method::GET).uri(MAPS).header("authorization", "Bearer acme");
    let request = request.header("audit-id", "mine").body(Full::new(Bytes::new())).unwrap();
    let response = world.api.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["audit-id"], "mine");
    response.into_body().collect().await.unwrap();
    assert_eq!(lines.take().pop().unwrap()["auditID"], "mine", "and may choose it");
}

#[tokio::test]
async fn what_policies_note_and_which_validations_failed_is_entered_beside_the_request() {
    let (world, lines) = world(&format!("{HEAD}omitStages: [RequestReceived]\nrules: [{{level: Metadata}}]")).await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
    let spec = json!({
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "true"}, {"expression": "!has(object.data.secret)", "message": "no secrets"}],
        "auditAnnotations": [
            {"key": "size", "valueExpression": "string(size(object.data))"},
            {"key": "odd", "valueExpression": "size(object.data) > 1 ? 'many' : ''"},
        ],
    });
    let policy = json!({"metadata": {"name": "watchful"}, "spec": spec});
    assert_eq!(world.post("acme", &format!("{group}/validatingadmissionpolicies"), policy).await.code, 201);
    let spec = json!({"policyName": "watchful", "validationActions": ["Audit"]});
    let binding = json!({"metadata": {"name": "all"}, "spec": spec});
    assert_eq!(world.post("acme", &format!("{group}/validatingadmissionpolicybindings"), binding).await.code, 201);
    lines.take();
    assert_eq!(world.post("acme", MAPS, map("plain")).await.code, 201);
    let mut telling = map("telling");
    telling["data"]["secret"] = json!("x");
    assert_eq!(world.post("acme", MAPS, telling).await.code, 201, "it is noted, and not refused");
    let [plain, telling] = lines.take().try_into().unwrap();
    assert_eq!(plain["annotations"]["watchful/size"], "1");
    assert_eq!(plain["annotations"].get("watchful/odd"), None);
    assert_eq!(plain["annotations"].get("validation.policy.admission.k8s.io/validation_failure"), None);
    assert_eq!(telling["annotations"]["watchful/odd"], "many");
    let failed = telling["annotations"]["validation.policy.admission.k8s.io/validation_failure"].as_str().unwrap();
    let failed: Value = serde_json::from_str(failed).unwrap();
    let expected = json!([{"message": "no secrets", "policy": "watchful", "binding": "all", "expressionIndex": 1,
        "validationActions": ["Audit"]}]);
    assert_eq!(failed, expected);
}

/// A policy's name stands before what it enters, and a tenant may call one as the server's own annotations begin.
#[tokio::test]
async fn no_policy_says_of_which_tenant_a_request_was_or_whether_it_was_allowed() {
    let (world, lines) = world(&format!("{HEAD}omitStages: [RequestReceived]\nrules: [{{level: Metadata}}]")).await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
    for (name, key, value) in [
        ("arktos.io", "tenant", "umbra"),
        ("authorization.k8s.io", "decision", "forbid"),
        ("own.example", "key", "mine"),
    ] {
        let notes = json!([{"key": key, "valueExpression": format!("'{value}'")}]);
        let spec = json!({"matchConstraints": {"resourceRules": rules}, "auditAnnotations": notes});
        let policy = json!({"metadata": {"name": name}, "spec": spec});
        let made = world.post("acme", &format!("{group}/validatingadmissionpolicies"), policy).await;
        assert_eq!(made.code, 201, "{}", made.body);
        let spec = json!({"policyName": name, "validationActions": ["Audit"]});
        let binding = json!({"metadata": {"name": name}, "spec": spec});
        assert_eq!(world.post("acme", &format!("{group}/validatingadmissionpolicybindings"), binding).await.code, 201);
    }
    lines.take();
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
    let [event] = lines.take().try_into().unwrap();
    let notes = &event["annotations"];
    assert_eq!(notes["own.example/key"], "mine");
    assert_eq!(
        (&notes["arktos.io/tenant"], &notes["authorization.k8s.io/decision"]),
        (&json!("acme"), &json!("allow"))
    );
}

#[tokio::test]
async fn what_breaks_the_standard_for_the_log_is_entered() {
    let (world, lines) = world(&format!("{HEAD}omitStages: [RequestReceived]\nrules: [{{level: Metadata}}]")).await;
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/audit": "baseline"}}});
    assert_eq!(world.patch("acme", "/api/v1/namespaces/default", labels).await.code, 200);
    lines.take();
    let mut pod = crate::pod("p");
    pod["spec"]["hostNetwork"] = json!(true);
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/pods", pod).await.code, 201);
    let [event] = lines.take().try_into().unwrap();
    let said = &event["annotations"]["pod-security.kubernetes.io/audit-violations"];
    assert_eq!(said, "would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)");
    assert_eq!(event["annotations"]["pod-security.kubernetes.io/enforce-policy"], "privileged:latest");
}

#[tokio::test]
async fn a_token_is_named_where_it_is_given_out_and_where_it_is_used_after_its_time() {
    let (world, lines) = world(&format!("{HEAD}omitStages: [RequestReceived]\nrules: [{{level: Metadata}}]")).await;
    let core = "/api/v1/namespaces/default";
    let account = json!({"metadata": {"name": "robot"}});
    assert_eq!(world.post("acme", &format!("{core}/serviceaccounts"), account).await.code, 201);
    let mut pod = crate::pod("p");
    pod["spec"]["serviceAccountName"] = json!("robot");
    assert_eq!(world.post("acme", &format!("{core}/pods"), pod).await.code, 201);
    lines.take();
    let bound = json!({"spec": {"expirationSeconds": 3607, "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}}});
    let given = world.post("acme", &format!("{core}/serviceaccounts/robot/token"), bound).await;
    let token = given.body["status"]["token"].as_str().unwrap();
    let [event] = lines.take().try_into().unwrap();
    let id = event["annotations"]["authentication.kubernetes.io/issued-credential-id"].clone();
    assert!(id.as_str().unwrap().starts_with("JTI="), "{event}");
    let stale = "authentication.k8s.io/stale-token";
    assert_eq!(world.get(token, MAPS).await.code, 403);
    let [event] = lines.take().try_into().unwrap();
    assert_eq!(event["user"]["extra"]["authentication.kubernetes.io/credential-id"], json!([id]));
    assert_eq!(event["annotations"].get(stale), None);
    world.advance(3617);
    assert_eq!(world.get(token, MAPS).await.code, 403);
    let [event] = lines.take().try_into().unwrap();
    let told = "subject: system:serviceaccount:default:robot, seconds after warning threshold: 10";
    assert_eq!(event["annotations"][stale], told);
}
