//! Field validation: unknown and repeated fields, as the client asks to be told of them.

use http::Method;
use serde_json::{Value, json};

use super::{fine, machinery};
use crate::World;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
        "spec": {
            "unknownField": 1, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    })
}

async fn patched(world: &World, path: &str, kind: &str, body: &str) -> crate::Answer {
    world.send_as("acme", Method::PATCH, path, kind, body.to_owned()).await
}

#[tokio::test]
async fn should_detect_unknown_and_duplicate_fields_of_a_typed_object() {
    let world = World::new().await;
    let strict = format!("{DEPLOYMENTS}?fieldValidation=Strict");
    let refused = world.post("acme", &strict, deployment()).await;
    assert_eq!(refused.code, 400);
    assert!(refused.body["message"].as_str().unwrap().contains("unknown field \"spec.unknownField\""));
    let twice = deployment().to_string().replace("\"unknownField\":1", "\"replicas\":1,\"replicas\":2");
    let refused = world.send_as("acme", Method::POST, &strict, "application/json", twice.clone()).await;
    assert!(
        refused.body["message"].as_str().unwrap().contains("duplicate field \"spec.replicas\""),
        "{}",
        refused.body
    );
    let warned = world.send_as("acme", Method::POST, DEPLOYMENTS, "application/json", twice).await;
    assert_eq!(
        (warned.code, warned.warnings),
        (201, vec!["299 - \"duplicate field \\\"spec.replicas\\\"\"".to_owned()])
    );
}

#[tokio::test]
async fn should_create_apply_a_valid_cr_for_crd_with_validation_schema() {
    let world = World::new().await;
    let path = machinery::define(&world, machinery::schema()).await;
    fine(world.post("acme", &format!("{path}?fieldValidation=Strict"), machinery::custom("a")).await, 201);
    let mut config = machinery::custom("b");
    config["metadata"]["finalizers"] = json!(["test-finalizer"]); // only kinds of Kubernetes ask for a domain
    let apply = format!("{path}/b?fieldManager=f&fieldValidation=Strict");
    fine(patched(&world, &apply, "application/apply-patch+yaml", &config.to_string()).await, 201);
}

#[tokio::test]
async fn should_create_apply_a_cr_with_unknown_fields_for_crd_with_no_validation_schema() {
    let world = World::new().await;
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let path = machinery::define(&world, open).await;
    let mut object = machinery::custom("a");
    object["spec"] = json!({"anything": {"goes": [1, 2]}});
    object["metadata"]["finalizers"] = json!(["test-finalizer"]);
    let made = fine(world.post("acme", &format!("{path}?fieldValidation=Strict"), object).await, 201);
    assert_eq!(made["spec"]["anything"]["goes"], json!([1, 2]));
    assert_eq!(made["metadata"]["finalizers"], json!(["test-finalizer"]));
}

#[tokio::test]
async fn should_create_apply_an_invalid_cr_with_extra_properties_for_crd_with_validation_schema() {
    let world = World::new().await;
    let path = machinery::define(&world, machinery::schema()).await;
    let mut object = machinery::custom("a");
    object["spec"]["extra"] = json!(1);
    let refused = world.post("acme", &format!("{path}?fieldValidation=Strict"), object).await;
    assert_eq!(refused.code, 400);
    assert!(refused.body["message"].as_str().unwrap().contains("unknown field \"spec.extra\""), "{}", refused.body);
}

#[tokio::test]
async fn should_detect_unknown_metadata_fields_of_a_typed_object() {
    let world = World::new().await;
    let mut object = deployment();
    object["spec"].as_object_mut().unwrap().remove("unknownField");
    object["metadata"]["unknownMeta"] = json!("x");
    let refused = world.post("acme", &format!("{DEPLOYMENTS}?fieldValidation=Strict"), object).await;
    assert!(refused.body["message"].as_str().unwrap().contains("unknown field \"metadata.unknownMeta\""));
}

#[tokio::test]
async fn should_detect_unknown_metadata_fields_in_both_the_root_and_embedded_object_of_a_cr() {
    let world = World::new().await;
    let mut schema = machinery::schema();
    schema["properties"]["template"] = json!({
        "type": "object", "x-kubernetes-embedded-resource": true, "properties": {"a": {"type": "string"}},
    });
    let path = machinery::define(&world, schema).await;
    let mut object = machinery::custom("a");
    object["metadata"]["unknownMeta"] = json!("x");
    object["template"] = json!({"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "t", "unknownSub": 1}});
    let refused = world.post("acme", &format!("{path}?fieldValidation=Strict"), object).await;
    let message = refused.body["message"].as_str().unwrap();
    assert_eq!(refused.code, 400);
    assert!(message.contains("metadata.unknownMeta") && message.contains("template.metadata.unknownSub"), "{message}");
}

#[tokio::test]
async fn should_detect_duplicates_in_a_cr_when_preserving_unknown_fields() {
    let world = World::new().await;
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let path = machinery::define(&world, open).await;
    let body = machinery::custom("a").to_string().replace("\"kind\"", "\"twice\":1,\"twice\":2,\"kind\"");
    let strict = format!("{path}?fieldValidation=Strict");
    let refused = world.send_as("acme", Method::POST, &strict, "application/json", body).await;
    assert_eq!(refused.code, 400);
    assert!(refused.body["message"].as_str().unwrap().contains("duplicate field \"twice\""), "{}", refused.body);
}
