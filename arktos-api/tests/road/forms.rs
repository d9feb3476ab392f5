//! In which form things are answered, when it is found out that they cannot be, and what is said where nothing is.

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{MAPS, World, map, pod};

const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// The status, the content type and the body of an answer.
async fn ask(world: &World, method: Method, path: &str, accept: &str, body: Value) -> (u16, String, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", "Bearer acme")
        .header("accept", accept)
        .header("content-type", "application/json");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let response = world.api.clone().oneshot(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let kind = response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, kind, String::from_utf8_lossy(&bytes).into_owned())
}

/// The status of an answer, and what it says.
async fn said(world: &World, method: Method, path: &str, accept: &str, body: Value) -> (u16, String) {
    let (code, _, text) = ask(world, method, path, accept, body).await;
    let value: Value = serde_json::from_str(&text).unwrap();
    (code, value["message"].as_str().unwrap_or("").to_owned())
}

#[tokio::test]
async fn a_form_that_does_not_fit_is_refused_when_all_else_is_done() {
    let world = World::new().await;
    let not_a_list =
        "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)";
    let refused = |text: &str| (406, text.to_owned());
    assert_eq!(said(&world, Method::POST, MAPS, LIST, map("a")).await, refused(not_a_list));
    let path = format!("{MAPS}/a");
    assert_eq!(world.get("acme", &path).await.code, 200, "it was made all the same");
    assert_eq!(said(&world, Method::GET, &path, LIST, Value::Null).await, refused(not_a_list));
    let missing = (404, "configmaps \"none\" not found".to_owned());
    assert_eq!(said(&world, Method::GET, &format!("{MAPS}/none"), LIST, Value::Null).await, missing);
    let a_list = "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)";
    assert_eq!(said(&world, Method::GET, MAPS, METADATA, Value::Null).await, refused(a_list));
    let odd = said(&world, Method::GET, &format!("{MAPS}?limit=x"), METADATA, Value::Null).await;
    assert_eq!(odd, (400, "strconv.ParseInt: parsing \"x\": invalid syntax".to_owned()));
    let missing = said(&world, Method::GET, &format!("{MAPS}/none?includeObject=x"), TABLE, Value::Null).await;
    assert_eq!(missing.0, 404);
    let include = said(&world, Method::GET, &format!("{path}?includeObject=x"), TABLE, Value::Null).await;
    assert!(include.0 == 400 && include.1.starts_with("Unable to convert to Table as requested"), "{include:?}");
    // That something is gone is no object.
    let gone = said(&world, Method::DELETE, &path, LIST, Value::Null).await;
    assert_eq!(gone.0, 200, "{}", gone.1);
}

#[tokio::test]
async fn a_table_of_all_tenants_names_the_tenant_of_each_row() {
    let world = World::new().await;
    assert_eq!(said(&world, Method::POST, MAPS, "application/json", map("a")).await.0, 201);
    let tenants = |path: &'static str| {
        let table = world.get_as("root", path, TABLE);
        async move {
            let body = table.await.body;
            let at = body["columnDefinitions"].as_array().unwrap().iter().position(|it| it["name"] == "Tenant");
            at.map(|at| body["rows"].as_array().unwrap().iter().map(|row| row["cells"][at].clone()).collect::<Vec<_>>())
        }
    };
    assert!(tenants("/tenants/all/api/v1/configmaps").await.unwrap().contains(&json!("acme")));
    assert_eq!(tenants("/tenants/acme/api/v1/configmaps").await, None, "one tenant is a plain Kubernetes");
    assert_eq!(tenants("/api/v1/tenants/all/configmaps").await, None, "Arktos's own clients have a column themselves");
}

#[tokio::test]
async fn of_what_is_only_answered_the_metadata_can_be_had() {
    let world = World::new().await;
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let (code, _, text) = ask(&world, Method::POST, reviews, METADATA, review.clone()).await;
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &shown["kind"], shown.get("status")), (201, &json!("PartialObjectMetadata"), None), "{text}");
    let (code, text) = said(&world, Method::POST, reviews, LIST, review.clone()).await;
    assert!(code == 406 && text.ends_with("(*authorization.SelfSubjectAccessReview)"), "{text}");
    assert_eq!(said(&world, Method::POST, reviews, TABLE, review).await.0, 406);
    let token = "/api/v1/namespaces/default/serviceaccounts/none/token";
    assert_eq!(said(&world, Method::POST, token, METADATA, json!({"spec": {}})).await.0, 404);
    world.post("acme", "/api/v1/namespaces/default/pods", pod("p")).await;
    let log = "/api/v1/namespaces/default/pods/p/log";
    let (code, text) = said(&world, Method::GET, log, METADATA, Value::Null).await;
    assert_eq!((code, text.as_str()), (500, "object does not implement the Object interfaces"));
    assert!(said(&world, Method::GET, log, LIST, Value::Null).await.1.ends_with("(*rest.LocationStreamer)"));
}

#[tokio::test]
async fn json_is_indented_for_those_who_read_it() {
    let world = World::new().await;
    world.post("acme", MAPS, map("a")).await;
    let path = format!("{MAPS}/a?pretty=true");
    let (_, _, text) = ask(&world, Method::GET, &path, "application/json", Value::Null).await;
    let begin = "{\n  \"kind\": \"ConfigMap\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {\n    \"";
    assert!(text.starts_with(begin), "{text}");
    let (_, _, text) = ask(&world, Method::GET, &format!("{MAPS}/none"), "text/html", Value::Null).await;
    assert!(text.starts_with("{\n  \"kind\": \"Status\","), "what is taken by nobody is for people: {text}");
}

#[tokio::test]
async fn the_first_event_of_a_watch_as_tables_names_the_columns_whatever_it_is() {
    let world = World::new().await;
    let query = "watch=1&timeoutSeconds=1&resourceVersion=0&allowWatchBookmarks=true&labelSelector=none";
    let request =
        Request::get(format!("{MAPS}?{query}")).header("authorization", "Bearer acme").header("accept", TABLE);
    let response = world.api.clone().oneshot(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    let frame = response.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(frame.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(event["type"], "BOOKMARK");
    assert_eq!(event["object"]["columnDefinitions"][0]["name"], "Name", "{event}");
}

#[tokio::test]
async fn a_table_of_flow_schemas_comes_in_the_order_in_which_they_match() {
    let world = World::new().await;
    let path = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
    for (name, precedence) in [("a", 9000), ("b", 10), ("c", 9000)] {
        let spec = json!({"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": "x"}});
        let schema = json!({"metadata": {"name": name, "labels": {"mine": "yes"}}, "spec": spec});
        assert_eq!(world.post("acme", path, schema).await.code, 201);
    }
    let table = world.get_as("acme", &format!("{path}?labelSelector=mine"), TABLE).await.body;
    let names = table["rows"].as_array().unwrap().iter().map(|row| row["cells"][0].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["b", "a", "c"]);
}

#[tokio::test]
async fn options_of_a_watch_are_judged_before_its_form() {
    let world = World::new().await;
    let ask = |query: &str| {
        let path = format!("{MAPS}?watch=1&{query}");
        let world = &world;
        async move { ask(world, Method::GET, &path, "application/yaml", Value::Null).await.0 }
    };
    assert_eq!(ask("limit=x").await, 400);
    assert_eq!(ask("resourceVersionMatch=Exact").await, 422);
    assert_eq!(ask("resourceVersion=0").await, 406);
    let begins = world.get("acme", &format!("{MAPS}?watch=1&continue=x")).await;
    assert_eq!(begins.code, 422);
    assert_eq!(begins.body["details"]["causes"][0]["field"], "resourceVersionMatch");
}

#[tokio::test]
async fn a_watch_of_less_than_no_time_ends_and_zeros_before_a_revision_say_nothing() {
    let world = World::new().await;
    world.post("acme", MAPS, map("a")).await;
    let mut events = world.watch("acme", &format!("{MAPS}?watch=1&timeoutSeconds=-1")).await;
    assert_eq!(events.next().await, None);
    let mut events = world.watch("acme", &format!("{MAPS}?watch=1&resourceVersion=00")).await;
    assert_eq!(events.short().await, "ADDED a");
    for path in [format!("{MAPS}?resourceVersion=00"), format!("{MAPS}/a?resourceVersion=01")] {
        assert_eq!(world.get("acme", &path).await.code, 200, "{path}");
    }
    assert_eq!(world.get("acme", &format!("{MAPS}?resourceVersion=0x1")).await.code, 400);
}

#[tokio::test]
async fn where_nothing_is_the_api_says_so_below_what_is_built_in_and_a_page_elsewhere() {
    let world = World::new().await;
    for (path, by_the_api) in [
        ("/apis/apps/V1/deployments", true),
        ("/apis/policy/v1beta1/podsecuritypolicies", true),
        ("/api/v1//namespaces", true),
        ("/api/v1/namespaces/default/pods/a%2Fb", true),
        ("/version/x", true),
        ("/tenants/acme/apis/apps//v1", true),
        ("//api", false),
        ("/apis//apps/v1", false),
        ("/apis/none.example.com/v1/foos", false),
        ("/tenants/acme/apis/none.example.com/v1//foos", false),
        ("/healthz/x", false),
    ] {
        let (code, kind, text) = ask(&world, Method::GET, path, "application/json", Value::Null).await;
        let wanted = if by_the_api { "application/json" } else { "text/plain; charset=utf-8" };
        assert_eq!((code, kind.as_str()), (404, wanted), "{path}: {text}");
    }
    let (code, kind, text) = ask(&world, Method::GET, "/tenants/acme/api/v1/watch", "*/*", Value::Null).await;
    assert_eq!((code, kind.as_str()), (500, "text/plain; charset=utf-8"));
    let why = "failed to create RequestInfo: unable to determine kind and namespace from url, /api/v1/watch";
    assert_eq!(text, format!("Internal Server Error: \"/api/v1/watch\": {why}"));
}

#[tokio::test]
async fn what_is_no_path_is_answered_before_anybody_is_asked_who_it_is() {
    let world = World::new().await;
    for (version, closes) in [(Version::HTTP_11, true), (Version::HTTP_2, false)] {
        let request = Request::get("/api/v1/namespaces/%zz").version(version);
        let response = world.api.clone().oneshot(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers().contains_key("connection")), (400, closes));
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    }
    let request = Request::builder().method(Method::OPTIONS).uri("*").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(world.api.clone().oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn some_parts_of_objects_have_no_columns() {
    let world = World::new().await;
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/pods", pod("p")).await.code, 201);
    for (part, code) in [("status", 200), ("ephemeralcontainers", 406), ("resize", 406)] {
        let path = format!("/api/v1/namespaces/default/pods/p/{part}");
        assert_eq!(world.get_as("acme", &path, TABLE).await.code, code, "{part}");
        let plain = world.get_as("acme", &path, &format!("{TABLE},application/json")).await;
        assert_eq!((plain.code, plain.body["kind"] == "Table"), (200, code == 200), "{part}");
    }
}

#[tokio::test]
async fn versions_that_a_kind_once_had_are_known_and_not_taken() {
    let world = World::new().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let scalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    for (path, kind, version, wanted) in [
        (deployments, "Deployment", "apps/v1beta1", "apps/v1"),
        (deployments, "Deployment", "extensions/v1beta1", "apps/v1"),
        (scalers, "HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling/v2"),
    ] {
        let body = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}});
        let refused = world.post("acme", path, body).await;
        let why = format!("the API version in the data ({version}) does not match the expected API version ({wanted})");
        assert_eq!((refused.code, &refused.body["message"]), (400, &json!(why)));
    }
    let odd = json!({"apiVersion": "a/b/c", "kind": "ConfigMap"});
    let refused = world.post("acme", MAPS, odd).await;
    let begin =
        "the object provided is unrecognized (must be of type ConfigMap): unexpected GroupVersion string: a/b/c (";
    assert_eq!(refused.code, 400);
    assert!(refused.body["message"].as_str().unwrap().starts_with(begin), "{}", refused.body);
}
