//! Deletions: what is said of them, and when what stays goes.

use http::Method;
use serde_json::{Value, json};

use crate::{MAPS, World, map, pod};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

fn job(name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}},
    })
}

#[tokio::test]
async fn who_deletes_jobs_and_does_not_say_what_becomes_of_their_pods_is_warned() {
    let world = World::new().await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(world.post("acme", JOBS, job(name)).await.code, 201);
    }
    let warning = "299 - \"child pods are preserved by default when jobs are deleted; set \
                   propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this \
                   warning\"";
    let said = |options: Value, path: String| {
        let world = &world;
        async move { world.send("acme", Method::DELETE, &path, Some(options)).await.warnings }
    };
    assert_eq!(said(json!({}), format!("{JOBS}/a")).await, [warning]);
    assert_eq!(said(json!({"propagationPolicy": "Background"}), format!("{JOBS}/b")).await, [""; 0]);
    assert_eq!(said(json!({"orphanDependents": false}), format!("{JOBS}/c")).await, [""; 0]);
    assert_eq!(said(json!({}), format!("{JOBS}?fieldSelector=nosuch%3D1")).await, [""; 0], "nothing is selected");
    assert_eq!(said(json!({}), JOBS.to_owned()).await, [warning]);
}

/// Only for those who say `orphanDependents: false`: others, upstream says, could not cope with it.
#[tokio::test]
async fn who_wants_dependents_to_go_is_told_that_the_object_stays() {
    let world = World::new().await;
    let along = || json!({"orphanDependents": false});
    let held = |name: &str| {
        let mut held = map(name);
        held["metadata"]["finalizers"] = json!(["example.com/held"]);
        held
    };
    for body in [held("held"), map("free"), held("other")] {
        assert_eq!(world.post("acme", MAPS, body).await.code, 201);
    }
    let code = |path: String, options: Value| {
        let world = &world;
        async move { world.send("acme", Method::DELETE, &path, Some(options)).await.code }
    };
    assert_eq!(code(format!("{MAPS}/held"), along()).await, 202);
    assert_eq!(code(format!("{MAPS}/held"), along()).await, 202, "it still stays");
    assert_eq!(code(format!("{MAPS}/free"), along()).await, 200);
    assert_eq!(code(format!("{MAPS}/other"), json!({"propagationPolicy": "Background"})).await, 200);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going"}});
    assert_eq!(world.post("acme", "/api/v1/namespaces", namespace).await.code, 201);
    assert_eq!(code("/api/v1/namespaces/going".to_owned(), along()).await, 202);
    // In the query, too.
    assert_eq!(code(format!("{MAPS}/other?orphanDependents=false"), json!({})).await, 200, "a body counts alone");
    assert_eq!(world.delete("acme", &format!("{MAPS}/other?orphanDependents=false")).await.code, 202);
}

#[tokio::test]
async fn a_grace_is_never_less_than_nothing_and_does_not_end_before_it_is_asked_for() {
    let world = World::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    for name in ["a", "b"] {
        let mut placed = pod(name);
        placed["spec"]["nodeName"] = json!("node-1");
        assert_eq!(world.post("acme", pods, placed).await.code, 201);
    }
    let deleted = async |name: &str, seconds: Option<i64>| {
        let options = json!({"gracePeriodSeconds": seconds});
        let answer = world.send("acme", Method::DELETE, &format!("{pods}/{name}"), Some(options)).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
        let meta = &answer.body["metadata"];
        (meta["deletionGracePeriodSeconds"].clone(), meta["deletionTimestamp"].clone())
    };
    assert_eq!(deleted("a", Some(-5)).await, (json!(1), json!("2026-11-23T10:00:01Z")));
    assert_eq!(deleted("b", None).await, (json!(30), json!("2026-11-23T10:00:30Z")));
    world.advance(10);
    assert_eq!(deleted("b", Some(40)).await, (json!(30), json!("2026-11-23T10:00:30Z")));
    assert_eq!(deleted("b", Some(20)).await, (json!(20), json!("2026-11-23T10:00:20Z")));
    assert_eq!(deleted("b", Some(5)).await, (json!(5), json!("2026-11-23T10:00:10Z")));
}

#[tokio::test]
async fn what_a_deletion_expects_is_told_by_the_kind_that_upstream_keeps() {
    let world = World::new().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}});
    assert_eq!(world.post("acme", "/api/v1/namespaces", namespace).await.code, 201);
    let event = json!({"metadata": {"name": "a"}, "involvedObject": {"namespace": "default"}});
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/events", event).await.code, 201);
    let expected = || Some(json!({"preconditions": {"uid": "x"}}));
    let told = world.send("acme", Method::DELETE, "/api/v1/namespaces/mine", expected()).await;
    let begin =
        "Operation cannot be fulfilled on namespaces \"mine\": Precondition failed: UID in precondition: x, UID";
    assert_eq!((told.code, &told.body["details"]["kind"]), (409, &json!("namespaces")));
    assert!(told.body["message"].as_str().unwrap().starts_with(begin), "{}", told.body);
    let newer = "/apis/events.k8s.io/v1/namespaces/default/events/a";
    let told = world.send("acme", Method::DELETE, newer, expected()).await;
    assert_eq!((told.code, &told.body["details"]["kind"]), (409, &json!("Event")));
    assert!(told.body["details"]["group"].is_null(), "{}", told.body);
    let class = json!({"metadata": {"name": "c"}, "driverName": "x.example.com", "parameters": {"a": "b"}});
    let classes = "/apis/storage.k8s.io/v1/volumeattributesclasses";
    assert_eq!(world.post("acme", classes, class).await.code, 201);
    let one = format!("{classes}/c");
    world.patch("acme", &one, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(world.delete("acme", &one).await.body["kind"], "VolumeAttributesClass");
    assert_eq!(world.get("acme", &one).await.code, 404);
}

#[tokio::test]
async fn a_deleted_collection_has_pages() {
    let world = World::new().await;
    let path = "/api/v1/namespaces/default/configmaps?labelSelector=a%3Db";
    for name in ["a", "b", "c"] {
        let labelled = json!({"metadata": {"name": name, "labels": {"a": "b"}}});
        assert_eq!(world.post("acme", "/api/v1/namespaces/default/configmaps", labelled).await.code, 201);
    }
    let page = world.delete("acme", &format!("{path}&limit=2")).await;
    let next = page.body["metadata"]["continue"].as_str().unwrap_or_default();
    assert_eq!((page.code, page.body["items"].as_array().map(Vec::len), next.is_empty()), (200, Some(2), false));
    let left = world.get("acme", path).await.body;
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_collection_is_deleted_as_it_was_at_a_revision() {
    let world = World::new().await;
    let first = world.post("acme", MAPS, map("a")).await.body;
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap();
    assert_eq!(world.post("acme", MAPS, map("b")).await.code, 201);
    let path = format!("{MAPS}?resourceVersion={revision}");
    let too_new = path.replace(revision, "99999999999");
    assert_eq!(world.send("acme", Method::DELETE, &too_new, Some(json!({}))).await.code, 504);
    let deleted = world.send("acme", Method::DELETE, &path, Some(json!({}))).await;
    assert_eq!((deleted.code, deleted.body["items"].as_array().map(Vec::len)), (200, Some(1)), "{}", deleted.body);
    assert_eq!(world.get("acme", &format!("{MAPS}/a")).await.code, 404);
    assert_eq!(world.get("acme", &format!("{MAPS}/b")).await.code, 200, "it was not there yet");
}

#[tokio::test]
async fn a_deletion_by_query_is_of_what_is_meant() {
    let world = World::new().await;
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
    for query in ["uid=x", "resourceVersion=1", "resourceVersion=0"] {
        for path in [format!("{MAPS}/a"), MAPS.to_owned()] {
            // A collection is read as of the revision first.
            if path != MAPS || query != "resourceVersion=1" {
                assert_eq!(world.delete("acme", &format!("{path}?{query}")).await.code, 409, "{path} {query}");
            }
        }
    }
    let meta = world.get("acme", &format!("{MAPS}/a")).await.body["metadata"].clone();
    let (uid, revision) = (meta["uid"].as_str().unwrap(), meta["resourceVersion"].as_str().unwrap());
    let deleted = world.delete("acme", &format!("{MAPS}/a?uid={uid}&resourceVersion={revision}")).await;
    assert_eq!(deleted.code, 200, "{:?}", deleted.body);
}
