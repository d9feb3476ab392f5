//! What an unmodified kube-controller-manager and kube-scheduler ask for, when they start and from then on.

use std::collections::BTreeSet;

use arktos_api::TokenTable;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{World, pod};

const MANAGER: &str = "manager";
const SCHEDULER: &str = "scheduler";

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
        let kind = headers["content-type"].to_str().unwrap();
        assert!(kind.starts_with("application/vnd.kubernetes.protobuf") || kind.starts_with("application/json"));
        let listed: Value = {
            let (_, _, body) =
                ask(&world, MANAGER, path, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await;
            serde_json::from_slice(&body).unwrap()
        };
        assert_eq!(listed["kind"], "PartialObjectMetadataList", "{path}");
        let version = listed["metadata"]["resourceVersion"].as_str().unwrap();
        let query = format!("{path}?allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=1&watch=true");
        let response = world.respond(MANAGER, Method::GET, &query, "application/json", String::new()).await;
        assert_eq!(response.status(), 200, "{path}");
    }
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
