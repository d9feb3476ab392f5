//! What an unmodified kube-controller-manager and kube-scheduler ask for, when they start and from then on.

use std::collections::BTreeSet;

use arktos_api::{Delegate, Identity, TokenTable};
use arktos_core::media::protobuf;
use arktos_core::{GroupResource, TypeMeta};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::certificates::signing_request;
use crate::{World, pod};

const MANAGER: &str = "manager";
const SCHEDULER: &str = "scheduler";
const SYSTEM: &str = "/api/v1/namespaces/kube-system";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

async fn world() -> World {
    let world = World::with(|config| {
        let tokens = "root,admin,,system:masters\nacme,alice,,system:masters,,acme\n\
                      manager,system:kube-controller-manager,,,,acme\nscheduler,system:kube-scheduler,,,,acme\n\
                      umbra,uma,,system:masters,,umbra\nregion,system:kube-scheduler,,,,system\n";
        config.tokens = TokenTable::parse(tokens).unwrap();
    })
    .await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}});
    assert_eq!(world.post("acme", "/api/v1/namespaces", namespace).await.code, 201);
    world
}

/// The answer to a GET with an Accept header of client-go's.
async fn ask(world: &World, token: &str, path: &str, accept: &str) -> (u16, http::HeaderMap, Bytes) {
    let request = Request::builder().uri(path).header("accept", accept);
    let request = request.header("authorization", format!("Bearer {token}")).body(Full::new(Bytes::new())).unwrap();
    let response = world.api.clone().oneshot(request).await.unwrap();
    let (code, headers) = (response.status().as_u16(), response.headers().clone());
    (code, headers, response.into_body().collect().await.unwrap().to_bytes())
}

const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                         application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
const METADATA: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                        application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// Paths of all resources of the preferred versions that have these verbs, as `ServerPreferredResources` finds them.
async fn resources(world: &World, verbs: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in ["/api", "/apis"] {
        let (code, _, body) = ask(world, MANAGER, root, DISCOVERY).await;
        assert_eq!(code, 200);
        let list: Value = serde_json::from_slice(&body).unwrap();
        for group in list["items"].as_array().unwrap() {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            let version = &group["versions"][0];
            for resource in version["resources"].as_array().unwrap() {
                let has = |verb: &&str| resource["verbs"].as_array().unwrap().contains(&json!(verb));
                if verbs.iter().all(has) {
                    let (at, kind) = (version["version"].as_str().unwrap(), resource["resource"].as_str().unwrap());
                    let path =
                        if name.is_empty() { format!("/api/{at}/{kind}") } else { format!("/apis/{name}/{at}/{kind}") };
                    found.insert(path);
                }
            }
        }
    }
    found
}

#[tokio::test]
async fn the_garbage_collector_can_watch_the_metadata_of_everything_that_can_be_deleted() {
    let world = world().await;
    let all = resources(&world, &["delete", "list", "watch"]).await;
    assert!(all.len() > 50, "{all:?}");
    for path in &all {
        let (code, headers, body) =
            ask(&world, MANAGER, &format!("{path}?limit=500&resourceVersion=0"), METADATA).await;
        assert_eq!(code, 200, "{path}: {}", String::from_utf8_lossy(&body));
        assert_eq!(headers["content-type"], "application/vnd.kubernetes.protobuf", "{path}");
        let (types, in_protobuf) = protobuf::decode(&body).unwrap();
        assert_eq!(types, TypeMeta::new("meta.k8s.io", "v1", "PartialObjectMetadataList"), "{path}");
        let listed: Value = {
            let (_, _, body) =
                ask(&world, MANAGER, path, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await;
            serde_json::from_slice(&body).unwrap()
        };
        assert_eq!(listed["kind"], "PartialObjectMetadataList", "{path}");
        let names = |list: &Value| -> Vec<Value> {
            list["items"].as_array().into_iter().flatten().map(|item| item["metadata"]["uid"].clone()).collect()
        };
        assert_eq!(names(&in_protobuf), names(&listed), "{path}");
        let version = listed["metadata"]["resourceVersion"].as_str().unwrap();
        let query = format!("{path}?allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=1&watch=true");
        let response = world.respond(MANAGER, Method::GET, &query, "application/json", String::new()).await;
        assert_eq!(response.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_component_leads_by_a_lease_and_tells_what_happens() {
    let world = world().await;
    for (token, name) in [(MANAGER, "kube-controller-manager"), (SCHEDULER, "kube-scheduler")] {
        assert_eq!(world.get(token, &format!("{LEASES}/{name}")).await.code, 404, "{name}");
        let spec = json!({"holderIdentity": "host_1", "leaseDurationSeconds": 15, "leaseTransitions": 0,
            "acquireTime": "2026-11-23T10:00:00.000000Z", "renewTime": "2026-11-23T10:00:00.000000Z"});
        let lease =
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec});
        assert_eq!(world.post(token, LEASES, lease).await.code, 201);
        let mut held = world.get(token, &format!("{LEASES}/{name}")).await.body;
        held["spec"]["renewTime"] = json!("2026-11-23T10:00:02.000000Z");
        assert_eq!(world.put(token, &format!("{LEASES}/{name}"), held).await.code, 200);
        assert_eq!(world.delete(token, &format!("{LEASES}/{name}")).await.code, 403, "it may not");
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": format!("{name}.18a")},
            "eventTime": "2026-11-23T10:00:00.000000Z", "action": "LeaderElection", "reason": "LeaderElection", "type": "Normal",
            "reportingController": name, "reportingInstance": "host_1", "note": "host_1 became leader",
            "regarding": {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": name, "namespace": "kube-system"},
        });
        let told = world.post(token, "/apis/events.k8s.io/v1/namespaces/kube-system/events", event).await;
        assert_eq!(told.code, 201, "{}", told.body);
    }
}

/// What the manager does with `--use-service-account-credentials`: an account for a controller, and a token of it.
async fn account(world: &World, name: &str) -> String {
    let accounts = format!("{SYSTEM}/serviceaccounts");
    assert_eq!(world.get(MANAGER, &format!("{accounts}/{name}")).await.code, 404);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    assert_eq!(world.post(MANAGER, &accounts, account).await.code, 201);
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
    let answer = world.post(MANAGER, &format!("{accounts}/{name}/token"), request).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    answer.body["status"]["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn controllers_work_with_accounts_of_their_own_and_may_do_their_work_alone() {
    let world = world().await;
    let deployments = account(&world, "deployment-controller").await;
    assert_eq!(world.get(&deployments, "/apis/apps/v1/deployments").await.code, 200);
    drop(world.watch(&deployments, "/apis/apps/v1/replicasets?watch=1").await);
    assert_eq!(world.get(&deployments, "/api/v1/secrets").await.code, 403);
    assert_eq!(world.get(&deployments, "/tenants/umbra/apis/apps/v1/deployments").await.code, 403);
    let namespaces = account(&world, "namespace-controller").await;
    assert_eq!(world.get(&namespaces, "/api/v1/secrets").await.code, 200);
    let garbage = account(&world, "generic-garbage-collector").await;
    assert_eq!(world.get(&garbage, "/apis/rbac.authorization.k8s.io/v1/clusterroles").await.code, 200);
    // Another account of the namespace has nothing, and so has one of the same name elsewhere.
    let other = account(&world, "nobody").await;
    assert_eq!(world.get(&other, "/apis/apps/v1/deployments").await.code, 403);
    let elsewhere = "/api/v1/namespaces/default/serviceaccounts";
    let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployment-controller"}});
    assert_eq!(world.post("acme", elsewhere, object).await.code, 201);
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let token = world.post("acme", &format!("{elsewhere}/deployment-controller/token"), request).await;
    let token = token.body["status"]["token"].as_str().unwrap().to_owned();
    assert_eq!(world.get(&token, "/apis/apps/v1/deployments").await.code, 403);
}

#[tokio::test]
async fn certificates_are_approved_and_signed_by_who_may() {
    let world = world().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let pem = signing_request();
    let spec = json!({"signerName": "example.com/signer", "usages": ["client auth"], "request": pem});
    let request = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "r"}, "spec": spec});
    let made = world.post("acme", path, request).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let signer = account(&world, "certificate-controller").await;
    let mut object = world.get(&signer, &format!("{path}/r")).await.body;
    object["status"] =
        json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Test", "message": "fine"}]});
    let approved = world.put(&signer, &format!("{path}/r/approval"), object.clone()).await;
    assert_eq!(approved.code, 403, "another signer's: {}", approved.body);
    let why = approved.body["message"].as_str().unwrap();
    assert!(why.ends_with("user not permitted to approve requests with signerName \"example.com/signer\""), "{why}");
    let approved = world.put("acme", &format!("{path}/r/approval"), object).await;
    assert_eq!(approved.code, 200, "{}", approved.body);
    let condition = &approved.body["status"]["conditions"][0];
    assert!(condition["lastUpdateTime"].is_string() && condition["lastTransitionTime"].is_string(), "{condition}");
    let mut signed = world.get(&signer, &format!("{path}/r")).await.body;
    signed["status"]["certificate"] =
        json!(STANDARD.encode("-----BEGIN CERTIFICATE-----\nMAIwAA==\n-----END CERTIFICATE-----\n"));
    let refused = world.put(&signer, &format!("{path}/r/status"), signed).await;
    assert_eq!(refused.code, 403, "{}", refused.body);
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "user": "alice", "groups": ["system:masters"], "resourceAttributes": {"verb": "create",
        "group": "certificates.k8s.io", "resource": "certificatesigningrequests", "subresource": "nodeclient"}}});
    let answer = world.post(&signer, "/apis/authorization.k8s.io/v1/subjectaccessreviews", review).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
}

#[tokio::test]
async fn the_scheduler_sees_what_it_decides_by_and_binds() {
    let world = world().await;
    for path in [
        "/api/v1/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&limit=500&resourceVersion=0",
        "/api/v1/services",
        "/api/v1/replicationcontrollers",
        "/apis/apps/v1/replicasets",
        "/apis/apps/v1/statefulsets",
        "/apis/policy/v1/poddisruptionbudgets",
        "/api/v1/persistentvolumes",
        "/api/v1/persistentvolumeclaims",
        "/api/v1/namespaces",
        "/apis/storage.k8s.io/v1/storageclasses",
        "/apis/storage.k8s.io/v1/csidrivers",
        "/apis/storage.k8s.io/v1/csistoragecapacities",
        "/apis/storage.k8s.io/v1/volumeattachments",
        "/apis/resource.k8s.io/v1/resourceclaims",
        "/apis/resource.k8s.io/v1/resourceslices",
        "/apis/resource.k8s.io/v1/deviceclasses",
    ] {
        let answer = world.get(SCHEDULER, path).await;
        assert_eq!(answer.code, 200, "{path}: {}", answer.body);
    }
    for path in ["/api/v1/nodes", "/apis/storage.k8s.io/v1/csinodes"] {
        assert_eq!(world.get("region", path).await.code, 200, "{path}: the region's own sees hosts");
        assert_eq!(world.get(SCHEDULER, path).await.code, 403, "{path}: a tenant's does not");
    }
    for (name, code) in [("extension-apiserver-authentication", 200), ("other", 403)] {
        let map = json!({"metadata": {"name": name}});
        assert_eq!(world.post("acme", &format!("{SYSTEM}/configmaps"), map).await.code, 201);
        let selected = format!("{SYSTEM}/configmaps?fieldSelector=metadata.name%3D{name}");
        let watched = format!("{selected}&watch=1&timeoutSeconds=1");
        for path in [format!("{SYSTEM}/configmaps/{name}"), selected, watched] {
            let answer = world.respond(SCHEDULER, Method::GET, &path, "application/json", String::new()).await;
            assert_eq!(answer.status(), code, "{path}");
        }
    }
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(world.post("acme", pods, pod("a")).await.code, 201);
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no host"});
    let patch = json!({"status": {"conditions": [condition]}}).to_string();
    let kind = "application/strategic-merge-patch+json";
    let said = world.send_as(SCHEDULER, Method::PATCH, &format!("{pods}/a/status"), kind, patch).await;
    assert_eq!(said.code, 200, "{}", said.body);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a", "namespace": "default"},
        "target": {"kind": "Node", "name": "node-1"}});
    let bound = world.post(SCHEDULER, &format!("{pods}/a/binding"), binding).await;
    assert_eq!(bound.code, 201, "{}", bound.body);
    assert_eq!(world.get(SCHEDULER, &format!("{pods}/a")).await.body["spec"]["nodeName"], "node-1");
}

#[tokio::test]
async fn revisions_of_controllers_are_adopted_by_patch_when_a_go_program_wrote_them() {
    let world = World::new().await;
    let path = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let data = r#"{"spec":{"template":{"$patch":"replace","command":"a \u003c b"}}}"#;
    let body = |name: &str, data: &str| format!(r#"{{"metadata":{{"name":"{name}"}},"data":{data},"revision":1}}"#);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    for (name, data, code) in [("go", data, 200), ("spaced", &data.replace("{", "{ "), 422)] {
        let made = world.send_as("acme", Method::POST, path, "application/json", body(name, data)).await;
        assert_eq!(made.code, 201, "{}", made.body);
        let patched = world.patch("acme", &format!("{path}/{name}"), label.clone()).await;
        assert_eq!(patched.code, code, "{}", patched.body);
    }
    let strategic = "application/strategic-merge-patch+json";
    let path = format!("{path}/go");
    let patched = world.send_as("acme", Method::PATCH, &path, strategic, label.to_string()).await;
    assert_eq!((patched.code, &patched.body["data"]["spec"]["template"]["$patch"]), (200, &json!("replace")));
    let changed = world.patch("acme", &path, json!({"data": {"spec": 1}})).await;
    assert_eq!(changed.code, 422, "{}", changed.body);
}

#[tokio::test]
async fn the_range_of_services_is_there_and_can_be_protected() {
    let world = World::new().await;
    let path = "/apis/networking.k8s.io/v1/servicecidrs/kubernetes";
    let range = world.get("acme", path).await;
    assert_eq!((range.code, &range.body["spec"]["cidrs"]), (200, &json!(["10.0.0.0/16"])), "{}", range.body);
    let types = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR"});
    let apply = |what: Value| {
        let mut object = types.clone();
        object.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        object.to_string()
    };
    let kind = "application/apply-patch+yaml";
    let finalizer = apply(json!({"metadata": {"finalizers": ["networking.k8s.io/service-cidr-finalizer"]}}));
    let applied =
        world.send_as("acme", Method::PATCH, &format!("{path}?fieldManager=c&force=true"), kind, finalizer).await;
    assert_eq!(applied.code, 200, "{}", applied.body);
    assert_eq!(applied.body["spec"]["cidrs"], json!(["10.0.0.0/16"]));
    let other = world.get("umbra", path).await;
    assert!(other.body["metadata"]["finalizers"].is_null(), "{}", other.body);
}

#[tokio::test]
async fn a_patch_of_a_host_that_is_shown_late_does_not_meet_a_conflict() {
    let (shown, owner) = (World::new().await, World::new().await);
    let (path, node) = ("/api/v1/nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}));
    for world in [&shown, &owner] {
        assert_eq!(world.post("root", path, node.clone()).await.code, 201);
    }
    let path = "/api/v1/nodes/n1";
    let taint = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
    assert_eq!(owner.patch("root", path, taint).await.code, 200);
    let writes = owner.api.client(Identity::system_component("pool"));
    let world = World::with(|config| {
        let delegate = Delegate { engine: shown.engine.clone(), writes };
        config.delegates.insert(GroupResource::core("nodes"), delegate);
    })
    .await;
    let mut label = json!({"metadata": {"labels": {"a": "b"}}});
    let patched = world.patch("root", path, label.clone()).await;
    assert_eq!((patched.code, &patched.body["spec"]["taints"][0]["key"]), (200, &json!("a")), "{}", patched.body);
    label["metadata"]["resourceVersion"] = shown.get("root", path).await.body["metadata"]["resourceVersion"].clone();
    label["metadata"]["labels"]["a"] = json!("c");
    assert_eq!(world.patch("root", path, label).await.code, 409, "who says a revision means it");
}

#[tokio::test]
async fn components_have_roles_in_namespaces_that_every_tenant_has_and_none_stores() {
    let world = world().await;
    let map = |name: &str| format!("{SYSTEM}/configmaps/{name}");
    assert_eq!(world.get(SCHEDULER, &map("extension-apiserver-authentication")).await.code, 404, "it may look");
    assert_eq!(world.get(SCHEDULER, &format!("{LEASES}/other")).await.code, 404);
    assert_eq!(world.get(SCHEDULER, &map("other")).await.code, 403);
    let elsewhere = map("extension-apiserver-authentication").replace("kube-system", "default");
    assert_eq!(world.get(SCHEDULER, &elsewhere).await.code, 403);

    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let roles = format!("{rbac}/namespaces/kube-system/roles");
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let listed = world.get("acme", &roles).await.body;
    assert_eq!(
        names(&listed),
        [
            "extension-apiserver-authentication-reader",
            "system::leader-locking-kube-controller-manager",
            "system::leader-locking-kube-scheduler",
            "system:controller:bootstrap-signer",
            "system:controller:cloud-provider",
            "system:controller:token-cleaner",
        ]
    );
    assert_eq!(listed["items"][0]["metadata"]["namespace"], "kube-system");
    assert_eq!(listed["items"][0]["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    let bindings = world.get("acme", &format!("{rbac}/rolebindings")).await.body;
    assert_eq!(bindings["items"].as_array().unwrap().len(), 7, "{:?}", names(&bindings));
    assert_eq!(names(&bindings)[0], "system:controller:bootstrap-signer", "of kube-public");
    let reader =
        format!("{rbac}/namespaces/kube-system/rolebindings/system::extension-apiserver-authentication-reader");
    let reader = world.get("acme", &reader).await.body;
    assert_eq!(reader["roleRef"]["name"], "extension-apiserver-authentication-reader");
    assert_eq!(reader["subjects"][1]["name"], "system:kube-scheduler");

    let lock = world.get("acme", &format!("{roles}/system::leader-locking-kube-scheduler")).await.body;
    assert_eq!(lock["rules"][0]["resources"], json!(["leases"]), "{lock}");

    // What one tenant makes of a role is its own, and none can delete what all have.
    let role = format!("{roles}/extension-apiserver-authentication-reader");
    assert_eq!(world.delete("acme", &role).await.code, 403);
    assert_eq!(world.patch("acme", &role, json!({"rules": []})).await.code, 200);
    assert_eq!(world.get(SCHEDULER, &map("extension-apiserver-authentication")).await.code, 403);
    assert_eq!(world.get("umbra", &role).await.body["rules"].as_array().unwrap().len(), 1);
    assert_eq!(names(&world.get("acme", &roles).await.body).len(), 6);
}
