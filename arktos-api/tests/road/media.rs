//! Bodies in every encoding, answers in the one that was asked for.

use arktos_core::TypeMeta;
use arktos_core::media::protobuf;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::ServiceExt;

use crate::{MAPS, World, map};

#[tokio::test]
async fn yaml_and_protobuf_bodies_make_the_same_object_as_json() {
    let world = World::new().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yam\ndata:\n  a: \"1\"\n".to_owned();
    let made = world.send_as("acme", Method::POST, MAPS, "application/yaml", yaml).await;
    assert_eq!((made.code, &made.body["data"]), (201, &json!({"a": "1"})), "{:?}", made.body);

    let types = TypeMeta::new("", "v1", "ConfigMap");
    let body = protobuf::encode(&types, &map("p")).unwrap();
    let request = Request::builder()
        .method(Method::POST)
        .uri(MAPS)
        .header("authorization", "Bearer acme")
        .header("content-type", "application/vnd.kubernetes.protobuf")
        .header("accept", "application/vnd.kubernetes.protobuf,application/json")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let response = world.api.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let (found, value) = protobuf::decode(&bytes).unwrap();
    assert_eq!((found, &value["data"]), (types, &json!({"a": "1"})));
    assert_eq!(world.get("acme", &format!("{MAPS}/p")).await.body["data"], json!({"a": "1"}));
}

#[tokio::test]
async fn bodies_of_other_kinds_are_refused() {
    let world = World::new().await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    let refused = world.post("acme", MAPS, secret).await;
    assert_eq!(refused.code, 400);
    let text = "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to \
                (core.ConfigMap): unknown conversion";
    assert_eq!(refused.body["message"], text);
    let plain = world.send_as("acme", Method::POST, MAPS, "text/plain", "{}".to_owned()).await;
    assert_eq!(plain.code, 415);
    let path = format!("{MAPS}/a?fieldManager=me");
    let apply = world.send_as("acme", Method::PATCH, &path, "application/apply-patch+yaml", "{}".to_owned()).await;
    assert!((400..500).contains(&apply.code), "{apply:?}");
}
