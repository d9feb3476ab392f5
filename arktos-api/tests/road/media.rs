//! Bodies in every encoding, answers in the one that was asked for.

use arktos_core::TypeMeta;
use arktos_core::media::protobuf;
use bytes::Bytes;
use http::{Method, Request, Response};
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
async fn answers_in_yaml_are_blocks() {
    let world = World::new().await;
    world.post("acme", MAPS, map("a")).await;
    for (path, text) in [
        (format!("{MAPS}/a"), "apiVersion: v1\ndata:\n  a: \"1\"\nkind: ConfigMap\nmetadata:\n"),
        (
            format!("{MAPS}/none"),
            "apiVersion: v1\ncode: 404\ndetails:\n  kind: configmaps\n  name: none\nkind: Status\n",
        ),
        ("/apis/apps".to_owned(), "apiVersion: v1\nkind: APIGroup\nname: apps\npreferredVersion:\n"),
    ] {
        let request =
            Request::builder().uri(&path).header("authorization", "Bearer acme").header("accept", "application/yaml");
        let response = world.api.clone().oneshot(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-cache, private");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert!(bytes.starts_with(text.as_bytes()), "{path}: {}", String::from_utf8_lossy(&bytes));
    }
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_takes_that_and_watches_are_not() {
    let world = World::new().await;
    let long = |name: &str| json!({"metadata": {"name": name}, "data": {"a": "x".repeat(100_000)}});
    for name in ["a", "b", "c", "d"] {
        assert_eq!(world.post("acme", MAPS, long(name)).await.code, 201);
    }
    let ask = |path: String, takes: &'static str, accept: &'static str| {
        let request = Request::get(path).header("authorization", "Bearer acme").header("accept", accept);
        let request = request.header("accept-encoding", takes).body(Full::new(Bytes::new())).unwrap();
        let api = world.api.clone();
        async move {
            let response = api.oneshot(request).await.unwrap();
            let encoding = response.headers().get("content-encoding").map(|said| said.to_str().unwrap().to_owned());
            assert_eq!(response.headers().contains_key("vary"), encoding.is_some());
            (encoding, response.into_body().collect().await.unwrap().to_bytes())
        }
    };
    let (json, protobuf) = ("application/json", "application/vnd.kubernetes.protobuf");
    for accept in [json, protobuf, "application/yaml"] {
        let (encoding, plain) = ask(MAPS.to_owned(), "identity", accept).await;
        assert_eq!(encoding, None);
        let (encoding, packed) = ask(MAPS.to_owned(), "br, gzip", accept).await;
        assert_eq!(encoding.as_deref(), Some("gzip"));
        assert!(packed.len() < plain.len() / 10);
        let mut whole = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*packed), &mut whole).unwrap();
        assert!(whole == plain, "{accept}");
    }
    let one = format!("{MAPS}/a");
    assert_eq!(ask(one, "gzip", json).await.0, None, "it is short");
    assert_eq!(ask(MAPS.to_owned(), "gzip;q=1", json).await.0, None, "weights are not read");
    assert_eq!(ask(format!("{MAPS}?limit=1"), "gzip", json).await.0, None);
    assert_eq!(ask(format!("{MAPS}?limit=2"), "gzip", json).await.0.as_deref(), Some("gzip"));
    assert_eq!(ask(format!("{MAPS}?watch=1&timeoutSeconds=-1"), "gzip", json).await.0, None);
}

/// The answer to a GET in protobuf alone.
async fn in_protobuf(world: &World, path: &str, accept: &str) -> Response<arktos_api::Body> {
    let request = Request::builder().uri(path).header("authorization", "Bearer acme").header("accept", accept);
    let response = world.api.clone().oneshot(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response
}

#[tokio::test]
async fn lists_come_in_protobuf_page_by_page() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        assert_eq!(world.post("acme", MAPS, map(name)).await.code, 201);
    }
    let accept = "application/vnd.kubernetes.protobuf";
    let response = in_protobuf(&world, &format!("{MAPS}?limit=2"), accept).await;
    assert_eq!(response.headers()["content-type"], accept);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let (types, list) = protobuf::decode(&bytes).unwrap();
    assert_eq!(types, TypeMeta::new("", "v1", "ConfigMapList"));
    let as_json = world.get("acme", &format!("{MAPS}?limit=2")).await.body;
    for field in ["resourceVersion", "continue", "remainingItemCount"] {
        assert_eq!(list["metadata"][field], as_json["metadata"][field], "{field}");
    }
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    for (item, json) in list["items"].as_array().unwrap().iter().zip(as_json["items"].as_array().unwrap()) {
        assert_eq!(item["data"], json["data"]);
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            assert_eq!(item["metadata"][field], json["metadata"][field], "{field}");
        }
    }
}

/// The fields of a message that have a length, by tag.
fn fields(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((key, rest)) = bytes.split_first() {
        assert_eq!(key & 7, 2, "a field with a length");
        let end = rest.iter().position(|byte| byte & 0x80 == 0).unwrap();
        let length = rest[..=end].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        found.push((key >> 3, rest[end + 1..end + 1 + length].to_vec()));
        bytes = &rest[end + 1 + length..];
    }
    found
}

#[tokio::test]
async fn watches_come_in_protobuf_each_event_with_its_length() {
    let world = World::new().await;
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    for (as_what, kind) in
        [("", "ConfigMap"), (";as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "PartialObjectMetadata")]
    {
        let accept = format!("application/vnd.kubernetes.protobuf{as_what},application/json{as_what}");
        let response = in_protobuf(&world, &format!("{MAPS}?{query}"), &accept).await;
        assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
        let (mut body, mut read, mut events) = (response.into_body(), Vec::new(), Vec::new());
        while events.len() < 2 {
            while read.len() < 4 || read.len() < 4 + u32::from_be_bytes(read[..4].try_into().unwrap()) as usize {
                read.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            let length = u32::from_be_bytes(read[..4].try_into().unwrap()) as usize;
            let event = fields(&read[4..4 + length]);
            read.drain(..4 + length);
            assert_eq!(event.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), [1, 2]);
            let (types, object) = protobuf::decode(&fields(&event[1].1)[0].1).unwrap();
            assert_eq!(types.kind, kind);
            events.push((String::from_utf8(event[0].1.clone()).unwrap(), object["metadata"].clone()));
        }
        assert_eq!((events[0].0.as_str(), &events[0].1["name"]), ("ADDED", &json!("a")));
        assert_eq!(events[1].0, "BOOKMARK");
        assert_eq!(events[1].1["annotations"]["k8s.io/initial-events-end"], "true");
        assert!(events[1].1["resourceVersion"].as_str().unwrap() >= events[0].1["resourceVersion"].as_str().unwrap());
    }
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
    // Definitions are read beside no other kinds.
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let refused = world.post("acme", definitions, map).await;
    let text = "ConfigMap in version \"v1\" cannot be handled as a CustomResourceDefinition: no kind \"ConfigMap\" is \
                registered for version \"v1\" in scheme \
                \"k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:55\"";
    assert_eq!((refused.code, &refused.body["message"]), (400, &json!(text)));
    let plain = world.send_as("acme", Method::POST, MAPS, "text/plain", "{}".to_owned()).await;
    assert_eq!(plain.code, 415);
    let path = format!("{MAPS}/a?fieldManager=me");
    let apply = world.send_as("acme", Method::PATCH, &path, "application/apply-patch+yaml", "{}".to_owned()).await;
    assert!((400..500).contains(&apply.code), "{apply:?}");
}
