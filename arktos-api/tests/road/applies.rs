//! Server-side apply and field managers, beyond what is recorded.

use arktos_api::Identity;
use arktos_core::{GroupResource, ObjectKey, TenantName};
use arktos_store::client::Patch;
use http::Method;
use serde_json::{Value, json};

use crate::{Answer, MAPS, World, map};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

impl World {
    async fn apply(&self, token: &str, path: &str, config: Value) -> Answer {
        self.send_as(token, Method::PATCH, path, "application/apply-patch+yaml", config.to_string()).await
    }
}

fn manager<'a>(body: &'a Value, name: &str) -> &'a Value {
    let entries = body["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().find(|entry| entry["manager"] == name).unwrap_or(&Value::Null)
}

fn config(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "m", "image": "x:1"}]}}}})
}

#[tokio::test]
async fn a_fraction_is_no_whole_number_to_what_reads_an_apply() {
    let world = World::new().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/a?fieldManager=m";
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"},
        "spec": {"leaseDurationSeconds": 1.5}});
    let refused = world.apply("acme", path, lease).await;
    let why = "Kind=Lease: cannot convert float64 to int32";
    assert!(refused.body["message"].as_str().unwrap().ends_with(why), "{}", refused.body);
}

#[tokio::test]
async fn who_may_patch_may_not_therefore_create() {
    let world = World::new().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "p"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}]});
    let binding = json!({"metadata": {"name": "p"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "p"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "clerks"}]});
    assert_eq!(world.post("acme", &format!("{rbac}/roles"), role).await.code, 201);
    assert_eq!(world.post("acme", &format!("{rbac}/rolebindings"), binding).await.code, 201);
    let path = format!("{MAPS}/a?fieldManager=m");
    let refused = world.apply("clerk", &path, config(json!({"x": "1"}))).await;
    assert_eq!((refused.code, &refused.body["reason"]), (403, &json!("Forbidden")));
    assert_eq!(world.apply("acme", &path, config(json!({"x": "1"}))).await.code, 201);
    assert_eq!(world.apply("clerk", &path, config(json!({"x": "2"}))).await.code, 200);
}

#[tokio::test]
async fn what_is_applied_names_its_type_and_no_uid_of_what_is_not_there() {
    let world = World::new().await;
    let path = format!("{MAPS}/a?fieldManager=m");
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    let refused = world.apply("acme", &path, other).await;
    assert_eq!((refused.code, &refused.body["message"]), (400, &json!("invalid object type: /v1, Kind=Secret")));
    let mut ghost = config(json!({}));
    ghost["metadata"]["uid"] = json!("1-2-3");
    let refused = world.apply("acme", &path, ghost).await;
    assert_eq!(refused.code, 409);
    let text = refused.body["message"].as_str().unwrap();
    assert!(text.contains("uid mismatch: the provided object specified uid 1-2-3"), "{text}");
    let status = format!("{DEPLOYMENTS}/a/status?fieldManager=m");
    assert_eq!(world.apply("acme", &status, deployment()).await.code, 404, "a subresource creates nothing");
}

#[tokio::test]
async fn a_scale_is_written_and_applied_by_managers_of_its_own() {
    let world = World::new().await;
    world.apply("acme", &format!("{DEPLOYMENTS}/a?fieldManager=maker"), deployment()).await;
    let path = format!("{DEPLOYMENTS}/a/scale?fieldManager=scaler");
    assert_eq!(world.patch("acme", &path, json!({"spec": {"replicas": 3}})).await.body["spec"]["replicas"], 3);
    let body = world.get("acme", &format!("{DEPLOYMENTS}/a")).await.body;
    let scaler = manager(&body, "scaler");
    assert_eq!((&scaler["subresource"], &scaler["operation"]), (&json!("scale"), &json!("Update")));
    assert_eq!(scaler["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(manager(&body, "maker")["fieldsV1"]["f:spec"].get("f:replicas"), None);
    let scale =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 4}});
    let path = format!("{DEPLOYMENTS}/a/scale?fieldManager=applier");
    let refused = world.apply("acme", &path, scale.clone()).await;
    assert_eq!((refused.code, &refused.body["details"]["causes"][0]["field"]), (409, &json!(".spec.replicas")));
    let forced = world.apply("acme", &format!("{path}&force=true"), scale).await;
    assert_eq!((forced.code, &forced.body["spec"]["replicas"]), (200, &json!(4)));
    let body = world.get("acme", &format!("{DEPLOYMENTS}/a")).await.body;
    assert_eq!(manager(&body, "scaler"), &Value::Null);
    assert_eq!(manager(&body, "applier")["subresource"], "scale");
    // A scale of none says nothing of how many, so that is nobody's any more.
    let path = format!("{DEPLOYMENTS}/a/scale?fieldManager=scaler");
    for replicas in [0, 5] {
        world.patch("acme", &path, json!({"spec": {"replicas": replicas}})).await;
        let body = world.get("acme", &format!("{DEPLOYMENTS}/a")).await.body;
        assert_eq!((&body["spec"]["replicas"], manager(&body, "scaler")), (&json!(replicas), &Value::Null));
    }
}

#[tokio::test]
async fn versions_of_one_resource_share_their_managers() {
    let world = World::new().await;
    let spec = json!({"minReplicas": 1, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}});
    let path = |version: &str, manager: &str| {
        format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/a?fieldManager={manager}")
    };
    let kind = "HorizontalPodAutoscaler";
    let one = json!({"apiVersion": "autoscaling/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec});
    assert_eq!(world.apply("acme", &path("v1", "alice"), one).await.code, 201);
    let two =
        json!({"apiVersion": "autoscaling/v2", "kind": kind, "metadata": {"name": "a"}, "spec": {"maxReplicas": 9}});
    let refused = world.apply("acme", &path("v2", "bob"), two).await;
    assert_eq!(refused.code, 409, "{}", refused.body);
    assert_eq!(refused.body["details"]["causes"][0]["field"], ".spec.maxReplicas");
}

#[tokio::test]
async fn writes_in_process_have_managers_as_well() {
    let world = World::new().await;
    world.post("acme", &format!("{MAPS}?fieldManager=maker"), map("a")).await;
    let client = world.api.client(Identity::system_component("writer"));
    let tenant = TenantName::new("acme").unwrap();
    let key = ObjectKey::namespaced(GroupResource::core("configmaps"), &tenant, "default", "a");
    client.patch(&key, None, Patch::Merge(json!({"data": {"a": "2"}}))).await.unwrap();
    let body = world.get("acme", &format!("{MAPS}/a")).await.body;
    let entries = body["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(manager(&body, "maker")["fieldsV1"], json!({"f:data": {}}));
    assert!(entries.iter().any(|entry| entry["fieldsV1"] == json!({"f:data": {"f:a": {}}})));
}

#[tokio::test]
async fn a_scale_that_nobody_manages_is_not_taken_by_an_apply_without_force() {
    let world = World::new().await;
    let path = format!("{DEPLOYMENTS}/a");
    let mut unsaid = deployment();
    unsaid["spec"].as_object_mut().unwrap().remove("replicas");
    assert_eq!(world.apply("acme", &format!("{path}?fieldManager=m"), unsaid).await.code, 201);
    let scale = |replicas: i64| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"},
            "spec": {"replicas": replicas}})
    };
    let refused = world.apply("acme", &format!("{path}/scale?fieldManager=s"), scale(3)).await;
    let why = "Apply failed with 1 conflict: conflict with \"before-first-apply\" with subresource \"scale\" using \
               autoscaling/v1: .spec.replicas";
    assert_eq!((refused.code, &refused.body["message"]), (409, &json!(why)));
    let forced = world.apply("acme", &format!("{path}/scale?fieldManager=s&force=true"), scale(3)).await;
    assert_eq!((forced.code, &forced.body["spec"]["replicas"]), (200, &json!(3)), "{}", forced.body);
    let found = world.get("acme", &path).await.body;
    assert_eq!(manager(&found, "s")["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(manager(&found, "before-first-apply"), &Value::Null);
}

#[tokio::test]
async fn what_is_shown_in_two_groups_has_managers_in_the_one_that_it_was_written_in() {
    let world = World::new().await;
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "r",
        "involvedObject": {"namespace": "default"}});
    let old = "/api/v1/namespaces/default/events/e?fieldManager=one";
    assert_eq!(world.apply("acme", old, event).await.code, 201);
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": "e", "labels": {"a": "b"}}});
    let new = "/apis/events.k8s.io/v1/namespaces/default/events/e?fieldManager=two";
    let applied = world.apply("acme", new, event).await;
    assert_eq!((applied.code, &applied.body["reason"]), (200, &json!("r")), "{}", applied.body);
    assert_eq!((manager(&applied.body, "one"), manager(&applied.body, "two").is_object()), (&Value::Null, true));
}

#[tokio::test]
async fn the_revision_in_what_is_applied_says_nothing_where_there_is_nothing() {
    let world = World::new().await;
    let mut first = config(json!({"x": "1"}));
    first["metadata"]["resourceVersion"] = json!("7");
    let path = format!("{MAPS}/a?fieldManager=m");
    assert_eq!(world.apply("acme", &path, first.clone()).await.code, 201);
    assert_eq!(world.apply("acme", &path, first).await.code, 409, "now it does");
}
