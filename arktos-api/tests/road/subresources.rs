//! Parts of objects: what is asked of what runs, what a status may say, how many are wanted.

use http::Method;
use serde_json::json;

use crate::{World, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn what_cannot_be_reached_is_refused_for_what_is_missing() {
    let world = World::new().await;
    let mut two = pod("two");
    two["spec"]["containers"] = json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]);
    for body in [pod("one"), two] {
        assert_eq!(world.post("acme", PODS, body).await.code, 201);
    }
    for (path, code, message) in [
        ("one/exec?command=ls", 400, "pod one does not have a host assigned"),
        ("one/log?container=zz", 400, "container zz is not valid for pod one"),
        ("one/proxy/", 400, "address not allowed"),
        ("http:one:80/proxy/", 400, "address not allowed"),
        ("x:one:80/proxy/", 400, "invalid pod request \"x:one:80\""),
        ("two/attach", 400, "a container name must be specified for pod two, choose one of: [a b]"),
        ("one/portforward?ports=x", 400, "cannot convert to []int32: strconv.ParseUint: parsing \"x\": invalid syntax"),
        (
            "none/log?tailLines=-1",
            422,
            "PodLogOptions \"none\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
        ),
        ("none/log", 404, "pods \"none\" not found"),
    ] {
        let refused = world.get("acme", &format!("{PODS}/{path}")).await;
        assert_eq!((refused.code, refused.body["message"].as_str()), (code, Some(message)), "{path}");
    }
    assert_eq!(world.get("acme", &format!("{PODS}/one/log")).await.code, 204, "nothing was written yet");
}

#[tokio::test]
async fn a_binding_names_a_node() {
    let world = World::new().await;
    world.post("acme", PODS, pod("one")).await;
    let binding =
        |target| json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "one"}, "target": target});
    let path = format!("{PODS}/one/binding");
    let refused = world.post("acme", &path, binding(json!({"kind": "Pod"}))).await;
    let message = "[target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\", \
                   target.name: Required value]";
    assert_eq!((refused.code, &refused.body["message"]), (500, &json!(message)));
    let mut elsewhere = binding(json!({"name": "n"}));
    elsewhere["metadata"]["namespace"] = json!("other");
    assert_eq!(world.post("acme", &path, elsewhere).await.code, 400);
}

#[tokio::test]
async fn custom_kinds_say_what_a_verb_is_not_for() {
    let world = World::new().await;
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}}}]},
    });
    world.post("acme", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    let widgets = "/apis/example.org/v1/namespaces/default/widgets";
    let options = world.send("acme", Method::OPTIONS, widgets, None).await;
    let message = " is not supported on resources of kind \"widgets.example.org\"";
    assert_eq!((options.code, &options.body["message"]), (405, &json!(message)));
    let posted = world.post("acme", &format!("{widgets}/a/status"), json!({})).await;
    assert_eq!((posted.code, &posted.body["message"]), (405, &json!(format!("create{message}"))));
    assert_eq!(posted.body["details"], json!({"group": "example.org", "kind": "widgets"}));
    let nameless = world.put("acme", widgets, json!({})).await;
    assert_eq!((nameless.code, &nameless.body["message"]), (400, &json!("name must be provided")));
    let html = world.get_as("acme", widgets, "text/html").await;
    let only = "only the following media types are accepted: application/json, application/yaml, \
                application/vnd.kubernetes.protobuf";
    assert_eq!((html.code, &html.body["message"]), (406, &json!(only)));
}

#[tokio::test]
async fn a_pods_status_stays_that_of_the_generation_it_was_observed_of() {
    let world = World::new().await;
    world.post("acme", PODS, pod("one")).await;
    let path = format!("{PODS}/one/status");
    let ready = json!([{"type": "Ready", "status": "True", "observedGeneration": 1}]);
    world.patch("acme", &path, json!({"status": {"observedGeneration": 1, "conditions": ready}})).await;
    let unsaid = json!({"status": {"observedGeneration": null, "conditions": [{"type": "Ready", "status": "False"}]}});
    let status = world.patch("acme", &path, unsaid).await.body["status"].clone();
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(
        (&status["conditions"][0]["status"], &status["conditions"][0]["observedGeneration"]),
        (&json!("False"), &json!(1))
    );
}
