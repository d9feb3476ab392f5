//! Versions of custom kinds that a webhook converts between.

use std::sync::Arc;

use arktos_api::{Caller, WebhookTarget};
use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::World;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const OLD: &str = "/apis/example.org/v1/namespaces/default/links";
const NEW: &str = "/apis/example.org/v2/namespaces/default/links";

/// Links have `spec.host` and `spec.port` in v1, and `spec.address` in v2.
#[derive(Debug, Default)]
struct Links {
    asked: Mutex<Vec<Value>>,
    /// What to answer in place of the truth.
    lie: Mutex<Option<Value>>,
}

fn converted(mut object: Value, wanted: &str) -> Value {
    let spec = object["spec"].take();
    object["spec"] = match (object["apiVersion"].as_str().unwrap(), wanted) {
        ("example.org/v1", "example.org/v2") => {
            json!({"address": format!("{}:{}", spec["host"].as_str().unwrap(), spec["port"].as_str().unwrap())})
        }
        ("example.org/v2", "example.org/v1") => {
            let (host, port) = spec["address"].as_str().unwrap().split_once(':').unwrap();
            json!({"host": host, "port": port})
        }
        _ => spec.clone(),
    };
    object["spec"]["replicas"] = spec["replicas"].clone();
    object["apiVersion"] = json!(wanted);
    object["metadata"]["annotations"] = json!({"converted": "yes"});
    object["metadata"]["finalizers"] = json!(["a.webhook/cannot-add-this"]);
    object
}

#[async_trait]
impl Caller for Links {
    async fn call(&self, target: &WebhookTarget, body: Bytes) -> Result<Bytes, String> {
        assert_eq!(target.url, "https://hooks.example.com/convert");
        let review: Value = serde_json::from_slice(&body).unwrap();
        self.asked.lock().push(review.clone());
        let wanted = review["request"]["desiredAPIVersion"].as_str().unwrap();
        let objects = review["request"]["objects"].as_array().unwrap();
        let objects: Vec<Value> = objects.iter().map(|object| converted(object.clone(), wanted)).collect();
        let mut response = json!({"result": {"status": "Success"}, "convertedObjects": objects});
        if let Some(Value::Object(lie)) = self.lie.lock().clone() {
            response.as_object_mut().unwrap().extend(lie);
        }
        response["uid"] = review["request"]["uid"].clone();
        let answer = json!({"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response});
        Ok(Bytes::from(answer.to_string()))
    }
}

fn definition(stored: &str) -> Value {
    let version = |name: &str, fields: &[&str]| {
        let text = json!({"type": "string"});
        let mut properties: serde_json::Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), text.clone())).collect();
        properties.insert("replicas".to_owned(), json!({"type": "integer", "default": 1}));
        json!({
            "name": name, "served": true, "storage": name == stored,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": properties},
            }}},
            "subresources": {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "links.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced", "names": {"plural": "links", "kind": "Link"},
            "versions": [version("v1", &["host", "port"]), version("v2", &["address"])],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://hooks.example.com/convert"},
            }},
        },
    })
}

fn link(version: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("example.org/{version}"), "kind": "Link", "metadata": {"name": name}, "spec": spec})
}

async fn world() -> (World, Arc<Links>) {
    let links = Arc::new(Links::default());
    let caller = links.clone();
    let world = World::with(move |config| config.webhooks = Some(caller)).await;
    assert_eq!(world.post("acme", DEFINITIONS, definition("v1")).await.code, 201);
    (world, links)
}

#[tokio::test]
async fn what_is_written_in_one_version_is_read_in_the_other() {
    let (world, links) = world().await;
    let made = world.post("acme", NEW, link("v2", "a", json!({"address": "h:1"}))).await;
    assert_eq!((made.code, &made.body["spec"]["address"]), (201, &json!("h:1")), "{}", made.body);
    let stored = world.get("acme", &format!("{OLD}/a")).await.body;
    assert_eq!((&stored["spec"]["host"], &stored["spec"]["port"]), (&json!("h"), &json!("1")));
    // The webhook changes annotations and nothing else of the metadata.
    assert_eq!(stored["metadata"]["annotations"], json!({"converted": "yes"}));
    assert_eq!(stored["metadata"].get("finalizers"), None);
    assert_eq!(stored["metadata"]["uid"], made.body["metadata"]["uid"]);
    let patched = world.patch("acme", &format!("{NEW}/a"), json!({"spec": {"address": "h:2"}})).await;
    assert_eq!((patched.code, &patched.body["spec"]["address"]), (200, &json!("h:2")), "{}", patched.body);
    assert_eq!(world.get("acme", &format!("{OLD}/a")).await.body["spec"]["port"], "2");
    // Nobody is asked for what is stored in the version that is asked for.
    let before = links.asked.lock().len();
    assert_eq!(world.post("acme", OLD, link("v1", "b", json!({"host": "x", "port": "9"}))).await.code, 201);
    assert_eq!(world.get("acme", OLD).await.body["items"].as_array().unwrap().len(), 2);
    assert_eq!(links.asked.lock().len(), before);
}

#[tokio::test]
async fn a_list_is_converted_at_once_and_a_watch_event_by_event() {
    let (world, links) = world().await;
    let mut events = world.watch("acme", &format!("{NEW}?watch=1")).await;
    for name in ["a", "b", "c"] {
        world.post("acme", OLD, link("v1", name, json!({"host": name, "port": "1"}))).await;
    }
    let before = links.asked.lock().len();
    let list = world.get("acme", NEW).await.body;
    let addresses: Vec<&Value> =
        list["items"].as_array().unwrap().iter().map(|item| &item["spec"]["address"]).collect();
    assert_eq!(addresses, ["a:1", "b:1", "c:1"]);
    assert_eq!(links.asked.lock().len(), before + 1);
    let page = world.get("acme", &format!("{NEW}?limit=2")).await.body;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["metadata"]["remainingItemCount"]), (2, &json!(1)));
    for name in ["a", "b", "c"] {
        let event = events.next().await.unwrap();
        assert_eq!((&event["type"], &event["object"]["apiVersion"]), (&json!("ADDED"), &json!("example.org/v2")));
        assert_eq!(event["object"]["spec"]["address"], format!("{name}:1"));
    }
}

#[tokio::test]
async fn objects_of_an_earlier_stored_version_are_read_scaled_rewritten_and_deleted() {
    let (world, _) = world().await;
    for name in ["a", "b"] {
        world.post("acme", OLD, link("v1", name, json!({"host": "h", "port": "1"}))).await;
    }
    let path = format!("{DEFINITIONS}/links.example.org");
    let versions = json!({"spec": {"versions": definition("v2")["spec"]["versions"]}});
    assert_eq!(world.patch("acme", &path, versions).await.code, 200);
    assert_eq!(world.get("acme", &path).await.body["status"]["storedVersions"], json!(["v1", "v2"]));
    assert_eq!(world.get("acme", &format!("{NEW}/a")).await.body["spec"]["address"], "h:1");
    assert_eq!(world.get("acme", &format!("{OLD}/a")).await.body["spec"]["host"], "h");
    let scaled = world.patch("acme", &format!("{OLD}/a/scale"), json!({"spec": {"replicas": 3}})).await;
    assert_eq!((scaled.code, &scaled.body["spec"]["replicas"]), (200, &json!(3)), "{}", scaled.body);
    assert_eq!(world.delete("acme", &format!("{NEW}/a")).await.code, 200);
    assert_eq!(world.send("acme", Method::DELETE, OLD, None).await.code, 200);
    assert_eq!(world.get("acme", NEW).await.body["items"], json!([]));
}

#[tokio::test]
async fn a_webhook_that_fails_or_lies_is_named_and_nothing_is_written() {
    let (world, links) = world().await;
    world.post("acme", OLD, link("v1", "a", json!({"host": "h", "port": "1"}))).await;
    let head = "conversion webhook for example.org/v1, Kind=Link";
    let other = |edit: fn(&mut Value)| {
        let mut object = link("v2", "a", json!({"address": "h:1"}));
        object["metadata"]["namespace"] = json!("default");
        edit(&mut object);
        json!({"convertedObjects": [object]})
    };
    for (lie, why) in [
        (json!({"result": {"status": "Failure", "message": "not today"}}), "failed: not today"),
        (json!({"convertedObjects": []}), "returned 0 objects, expected 1"),
        (
            other(|object| object["apiVersion"] = json!("example.org/v1")),
            "returned invalid converted object at index 0: invalid groupVersion (expected example.org/v2, received \
             example.org/v1)",
        ),
        (
            other(|object| object["kind"] = json!("Other")),
            "returned invalid converted object at index 0: invalid kind (expected Link, received Other)",
        ),
        (
            other(|object| object["metadata"]["name"] = json!("b")),
            "returned invalid metadata in object at index 0: metadata.name: must have the same name: \"b\" != \"a\"",
        ),
    ] {
        *links.lie.lock() = Some(lie);
        let answer = world.get("acme", &format!("{NEW}/a")).await;
        assert_eq!((answer.code, answer.body["message"].as_str().unwrap()), (500, &*format!("{head} {why}")));
        assert_eq!(world.get("acme", NEW).await.code, 500);
    }
    assert_eq!(world.post("acme", NEW, link("v2", "late", json!({"address": "h:1"}))).await.code, 500);
    *links.lie.lock() = None;
    assert_eq!(world.get("acme", &format!("{OLD}/late")).await.code, 404);
    // What is asked of metadata alone goes on.
    assert_eq!(world.get("acme", &format!("{OLD}/a")).await.code, 200);
}

#[tokio::test]
async fn who_writes_an_autoscaler_in_its_older_form_manages_what_that_says_in_annotations() {
    let world = World::new().await;
    let path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let body = json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    assert_eq!(world.post("acme", path, body).await.code, 201);
    let status = json!({"status": {"currentReplicas": 1, "desiredReplicas": 2, "currentCPUUtilizationPercentage": 30}});
    let answer = world.patch("acme", &format!("{path}/a/status"), status).await;
    let (name, metadata) = ("autoscaling.alpha.kubernetes.io/current-metrics", &answer.body["metadata"]);
    let seen =
        r#"[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":30,"currentAverageValue":"0"}}]"#;
    assert_eq!(metadata["annotations"][name], seen, "{}", answer.body);
    let managed = metadata["managedFields"].as_array().unwrap();
    let of_status = managed.iter().find(|entry| entry["subresource"] == "status").unwrap();
    let annotations = &of_status["fieldsV1"]["f:metadata"]["f:annotations"];
    assert_eq!(annotations[format!("f:{name}")], json!({}), "{of_status}");
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let alone = world.get_as("acme", &format!("{path}/a"), partial).await;
    assert_eq!(alone.body["metadata"]["annotations"].get(name), None, "no part of what is stored");
}

#[tokio::test]
async fn objects_are_selected_by_the_fields_of_the_version_that_is_asked_for() {
    let (world, links) = world().await;
    let mut versions = definition("v1")["spec"]["versions"].take();
    versions[0]["selectableFields"] = json!([{"jsonPath": ".spec.host"}]);
    versions[1]["selectableFields"] = json!([{"jsonPath": ".spec.address"}]);
    let path = format!("{DEFINITIONS}/links.example.org");
    assert_eq!(world.patch("acme", &path, json!({"spec": {"versions": versions}})).await.code, 200);
    let mut events = world.watch("acme", &format!("{NEW}?watch=1&fieldSelector=spec.address=h:1")).await;
    assert_eq!(world.post("acme", NEW, link("v2", "a", json!({"address": "h:1"}))).await.code, 201);
    for (name, host) in [("b", "h"), ("c", "x")] {
        assert_eq!(world.post("acme", OLD, link("v1", name, json!({"host": host, "port": "1"}))).await.code, 201);
    }
    let found = async |path: &str, selector: &str| {
        let list = world.get("acme", &format!("{path}?fieldSelector={selector}")).await.body;
        let names = list["items"].as_array().unwrap_or_else(|| panic!("{list}")).iter();
        names.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(NEW, "spec.address=h:1").await, ["a", "b"]);
    assert_eq!(found(NEW, "spec.address=x:1").await, ["c"]);
    assert_eq!(found(OLD, "spec.host=h").await, ["a", "b"]);
    assert_eq!(world.get("acme", &format!("{NEW}?fieldSelector=spec.host=h")).await.code, 400);
    // A status, a scale and a patch of another version keep it so; what changes the field moves the object out.
    world.patch("acme", &format!("{OLD}/a/scale"), json!({"spec": {"replicas": 3}})).await;
    assert_eq!(found(NEW, "spec.address=h:1").await, ["a", "b"]);
    assert_eq!(world.patch("acme", &format!("{OLD}/b"), json!({"spec": {"port": "2"}})).await.code, 200);
    assert_eq!(found(NEW, "spec.address=h:1").await, ["a"]);
    for (what, name) in [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")] {
        let event = events.next().await.unwrap();
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!(what), &json!(name)), "{event}");
    }
    let selected = format!("{NEW}?fieldSelector=spec.address=h:1");
    assert_eq!(world.send("acme", Method::DELETE, &selected, None).await.code, 200);
    assert_eq!(found(OLD, "spec.host!=none").await, ["b", "c"]);
    // Nobody would find what is written while nobody converts; it can go.
    *links.lie.lock() = Some(json!({"result": {"status": "Failure", "message": "not today"}}));
    assert_eq!(world.patch("acme", &format!("{OLD}/b"), json!({"spec": {"port": "3"}})).await.code, 500);
    assert_eq!(world.delete("acme", &format!("{OLD}/b")).await.code, 200);
}

/// An answer that is larger than a request may be is not read; and what is sent is in memory several times.
#[tokio::test]
async fn large_objects_are_converted_a_few_at_a_time() {
    let (world, links) = world().await;
    for at in 0..6 {
        let made =
            world.post("acme", OLD, link("v1", &format!("l{at}"), json!({"host": "h".repeat(400_000), "port": "1"})));
        assert_eq!(made.await.code, 201);
    }
    links.asked.lock().clear();
    let list = world.get("acme", NEW).await;
    assert_eq!((list.code, list.body["items"].as_array().map(Vec::len)), (200, Some(6)));
    let asked = links.asked.lock();
    let counts: Vec<usize> =
        asked.iter().map(|review| review["request"]["objects"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(counts, [2, 2, 2]);
}
