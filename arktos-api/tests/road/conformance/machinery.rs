//! Discovery, namespaces, lists in pieces, tables, definitions and what is published of them, policies.

use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Subject, fine, names, operations};
use crate::{MAPS, World, map};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const CUSTOM: &str = "/apis/e2e.example.com/v1/namespaces/default/foos";

pub fn schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1}}},
    }})
}

pub fn custom(name: &str) -> Value {
    json!({"apiVersion": "e2e.example.com/v1", "kind": "Foo", "metadata": {"name": name}, "spec": {"size": 1}})
}

fn definition(schema: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "foos.e2e.example.com"},
        "spec": {
            "group": "e2e.example.com", "scope": "Namespaced", "names": {"plural": "foos", "kind": "Foo"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

/// Defines a kind; gives back where its objects are.
pub async fn define(world: &World, schema: Value) -> &'static str {
    fine(world.post("acme", DEFINITIONS, definition(schema)).await, 201);
    CUSTOM
}

async fn accepting(world: &World, path: &str, accept: &str) -> (u16, String, Value) {
    let request = Request::builder().uri(path).header("authorization", "Bearer acme").header("accept", accept);
    let response = world.api.clone().oneshot(request.body(Full::<bytes::Bytes>::default()).unwrap()).await.unwrap();
    let (code, kind) = (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap().to_owned());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, kind, serde_json::from_slice(&body).unwrap_or_default())
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn group<'a>(document: &'a Value, name: &str) -> Option<&'a Value> {
    document["items"].as_array()?.iter().find(|group| group["metadata"]["name"] == name)
}

#[tokio::test]
async fn should_support_aggregated_discovery_interface() {
    let world = World::new().await;
    let (code, _, core) = accepting(&world, "/api", AGGREGATED).await;
    assert_eq!((code, &core["items"][0]["versions"][0]["version"]), (200, &json!("v1")));
    let (_, _, groups) = accepting(&world, "/apis", AGGREGATED).await;
    assert!(group(&groups, "apps").is_some() && group(&groups, "batch").is_some());
}

#[tokio::test]
async fn should_support_aggregated_discovery_interface_for_crds() {
    let world = World::new().await;
    define(&world, schema()).await;
    let (_, _, groups) = accepting(&world, "/apis", AGGREGATED).await;
    let resources = &group(&groups, "e2e.example.com").expect("it is there")["versions"][0]["resources"];
    assert_eq!(resources[0]["resource"], "foos");
}

#[tokio::test]
async fn should_support_raw_aggregated_discovery_endpoint_accept_headers() {
    let world = World::new().await;
    for path in ["/api", "/apis"] {
        let (code, kind, body) = accepting(&world, path, AGGREGATED).await;
        assert_eq!((code, kind.as_str(), &body["kind"]), (200, AGGREGATED, &json!("APIGroupDiscoveryList")));
        let (_, kind, body) = accepting(&world, path, "application/json").await;
        assert_eq!(kind, "application/json");
        assert_ne!(body["kind"], "APIGroupDiscoveryList");
    }
}

#[tokio::test]
async fn should_support_raw_aggregated_discovery_request_for_crds() {
    let world = World::new().await;
    define(&world, schema()).await;
    let (code, kind, groups) = accepting(&world, "/apis", AGGREGATED).await;
    assert_eq!((code, kind.as_str()), (200, AGGREGATED));
    assert_eq!(group(&groups, "e2e.example.com").expect("it is there")["versions"][0]["version"], "v1");
}

#[tokio::test]
async fn should_validate_preferred_version_for_each_api_group() {
    let world = World::new().await;
    for group in world.get("acme", "/apis").await.body["groups"].as_array().unwrap() {
        let versions: Vec<&Value> = group["versions"].as_array().unwrap().iter().map(|one| &one["version"]).collect();
        assert!(versions.contains(&&group["preferredVersion"]["version"]), "{group}");
    }
}

#[tokio::test]
async fn should_locate_the_group_version_and_a_resource_within_each_api_group() {
    let world = World::new().await;
    for group in world.get("acme", "/apis").await.body["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            let version = version["groupVersion"].as_str().unwrap();
            let list = fine(world.get("acme", &format!("/apis/{version}")).await, 200);
            assert_eq!((&list["groupVersion"], &list["kind"]), (&json!(version), &json!("APIResourceList")));
            assert!(!list["resources"].as_array().unwrap().is_empty(), "{version}");
        }
    }
}

#[tokio::test]
async fn should_find_the_server_version() {
    let version = fine(World::new().await.get("acme", "/version").await, 200);
    for field in ["major", "minor"] {
        assert!(version[field].as_str().unwrap().parse::<u32>().is_ok(), "{version}");
    }
}

#[tokio::test]
async fn should_return_a_406_for_a_backend_which_does_not_implement_metadata() {
    let world = World::new().await;
    let review = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}).to_string();
    let request = Request::builder()
        .method(Method::POST)
        .uri("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        .header("authorization", "Bearer acme")
        .header("content-type", "application/json")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let request = request.body(Full::new(bytes::Bytes::from(review))).unwrap();
    assert_eq!(world.api.clone().oneshot(request).await.unwrap().status(), 406);
}

#[tokio::test]
async fn should_return_chunks_of_results_for_list_calls() {
    let world = World::new().await;
    for number in 0..40 {
        fine(world.post("acme", MAPS, map(&format!("m-{number:02}"))).await, 201);
    }
    let (mut next, mut seen, mut revision) = (String::new(), Vec::new(), None);
    loop {
        let page = fine(world.get("acme", &format!("{MAPS}?limit=17&continue={next}")).await, 200);
        let at = page["metadata"]["resourceVersion"].clone();
        assert_eq!(*revision.get_or_insert(at.clone()), at, "all pages are of one moment");
        seen.extend(names(&page));
        next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        let left = page["metadata"]["remainingItemCount"].as_u64().unwrap_or_default();
        assert_eq!(seen.len() as u64 + left, 40);
        if next.is_empty() {
            break;
        }
    }
    assert_eq!(seen, names(&fine(world.get("acme", MAPS).await, 200)));
}

#[tokio::test]
async fn should_continue_listing_from_the_last_key_if_the_original_version_has_been_compacted_away() {
    let world = World::new().await;
    for number in 0..6 {
        fine(world.post("acme", MAPS, map(&format!("m-{number}"))).await, 201);
    }
    let first = fine(world.get("acme", &format!("{MAPS}?limit=2")).await, 200);
    let next = first["metadata"]["continue"].as_str().unwrap();
    fine(world.patch("acme", &format!("{MAPS}/m-0"), json!({"data": {"a": "later"}})).await, 200);
    // Until the history that the first page is of has been forgotten.
    for _ in 0..3 {
        world.advance(3600);
        world.engine.compact(arktos_store::Clock::now(&world.clock)).await.unwrap();
        fine(world.patch("acme", &format!("{MAPS}/m-0"), json!({"metadata": {"labels": {"a": "b"}}})).await, 200);
    }
    let answer = world.get("acme", &format!("{MAPS}?limit=2&continue={next}")).await;
    assert_eq!((answer.code, &answer.body["reason"]), (410, &json!("Expired")));
    let next = answer.body["metadata"]["continue"].as_str().expect("a token to go on with").to_owned();
    let both = world.get("acme", &format!("{MAPS}?continue={next}&resourceVersion=1")).await;
    assert_eq!(both.body["message"], "specifying resource version is not allowed when using continue");
    let rest = fine(world.get("acme", &format!("{MAPS}?continue={next}")).await, 200);
    assert_eq!(names(&rest), ["m-2", "m-3", "m-4", "m-5"]);
}

#[tokio::test]
async fn namespace_should_patch_a_namespace() {
    let world = World::new().await;
    fine(world.post("acme", "/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await, 201);
    let label = json!({"metadata": {"labels": {"testLabel": "testValue"}}});
    fine(world.patch("acme", "/api/v1/namespaces/n", label).await, 200);
    let found = fine(world.get("acme", "/api/v1/namespaces/n").await, 200);
    assert_eq!(found["metadata"]["labels"]["testLabel"], "testValue");
}

#[tokio::test]
async fn namespace_should_apply_an_update_to_a_namespace() {
    let world = World::new().await;
    let mut made = fine(world.post("acme", "/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await, 201);
    made["metadata"]["labels"]["n"] = json!("updated");
    assert_eq!(fine(world.put("acme", "/api/v1/namespaces/n", made).await, 200)["metadata"]["labels"]["n"], "updated");
}

#[tokio::test]
async fn namespace_should_apply_changes_to_a_namespace_status() {
    let world = World::new().await;
    fine(world.post("acme", "/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await, 201);
    let at = "/api/v1/namespaces/n/status";
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "E2E", "message": "by a test"});
    let patched =
        fine(world.patch("acme", at, json!({"status": {"conditions": [condition("StatusPatch")]}})).await, 200);
    assert_eq!(patched["status"]["conditions"][0]["type"], "StatusPatch");
    let mut shown = fine(world.get("acme", at).await, 200);
    shown["status"]["conditions"].as_array_mut().unwrap().push(condition("StatusUpdate"));
    assert_eq!(fine(world.put("acme", at, shown).await, 200)["status"]["conditions"][1]["type"], "StatusUpdate");
}

#[tokio::test]
async fn namespace_should_apply_a_finalizer_to_a_namespace() {
    let world = World::new().await;
    fine(world.post("acme", "/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await, 201);
    let mut shown = fine(world.get("acme", "/api/v1/namespaces/n").await, 200);
    shown["spec"]["finalizers"].as_array_mut().unwrap().push(json!("e2e.example.com/fake"));
    let held = fine(world.put("acme", "/api/v1/namespaces/n/finalize", shown).await, 200);
    assert_eq!(held["spec"]["finalizers"], json!(["kubernetes", "e2e.example.com/fake"]));
    let mut free = held;
    free["spec"]["finalizers"] = json!(["kubernetes"]);
    let free = fine(world.put("acme", "/api/v1/namespaces/n/finalize", free).await, 200);
    assert_eq!(free["spec"]["finalizers"], json!(["kubernetes"]));
}

#[tokio::test]
async fn creating_and_deleting_custom_resource_definition_objects_works() {
    let world = World::new().await;
    define(&world, schema()).await;
    fine(world.delete("acme", &format!("{DEFINITIONS}/foos.e2e.example.com")).await, 200);
}

#[tokio::test]
async fn getting_updating_and_patching_custom_resource_definition_status_sub_resource_works() {
    let world = World::new().await;
    define(&world, schema()).await;
    let at = format!("{DEFINITIONS}/foos.e2e.example.com/status");
    let mut shown = fine(world.get("acme", &at).await, 200);
    let condition = json!({"type": "E2E", "status": "True", "reason": "Test", "message": "by a test"});
    shown["status"]["conditions"].as_array_mut().unwrap().push(condition.clone());
    let updated = fine(world.put("acme", &at, shown).await, 200);
    let has = |object: &Value| object["status"]["conditions"].to_string().contains("E2E");
    assert!(has(&updated));
    let patched = json!({"status": {"conditions": updated["status"]["conditions"]}});
    assert!(has(&fine(world.patch("acme", &at, patched).await, 200)));
}

#[tokio::test]
async fn listing_custom_resource_definition_objects_works() {
    let world = World::new().await;
    for plural in ["as", "bs", "cs"] {
        let mut one = definition(schema());
        one["metadata"] = json!({"name": format!("{plural}.e2e.example.com"), "labels": {"e2e": "list"}});
        one["spec"]["names"] = json!({"plural": plural, "kind": plural.to_uppercase()});
        fine(world.post("acme", DEFINITIONS, one).await, 201);
    }
    let selected = format!("{DEFINITIONS}?labelSelector=e2e%3Dlist");
    assert_eq!(names(&fine(world.get("acme", &selected).await, 200)).len(), 3);
    fine(world.send("acme", Method::DELETE, &selected, None).await, 200);
}

#[tokio::test]
async fn should_include_custom_resource_definition_resources_in_discovery_documents() {
    let world = World::new().await;
    let groups = world.get("acme", "/apis").await.body.to_string();
    assert!(groups.contains("apiextensions.k8s.io"));
    let group = fine(world.get("acme", "/apis/apiextensions.k8s.io").await, 200).to_string();
    assert!(group.contains("apiextensions.k8s.io/v1"));
    let resources = fine(world.get("acme", "/apis/apiextensions.k8s.io/v1").await, 200).to_string();
    assert!(resources.contains("customresourcedefinitions"));
}

#[tokio::test]
async fn custom_resource_defaulting_for_requests_and_from_storage_works() {
    let world = World::new().await;
    let path = define(&world, schema()).await;
    fine(world.post("acme", path, custom("before")).await, 201);
    let mut with_default = schema();
    with_default["properties"]["spec"]["properties"]["color"] = json!({"type": "string", "default": "red"});
    let versions =
        json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": with_default}}]);
    let at = format!("{DEFINITIONS}/foos.e2e.example.com");
    fine(world.patch("acme", &at, json!({"spec": {"versions": versions}})).await, 200);
    assert_eq!(fine(world.get("acme", &format!("{path}/before")).await, 200)["spec"]["color"], "red");
    assert_eq!(fine(world.post("acme", path, custom("after")).await, 201)["spec"]["color"], "red");
}

#[tokio::test]
async fn watch_on_custom_resource_definition_objects() {
    let world = World::new().await;
    let path = define(&world, schema()).await;
    let mut events = world.watch("acme", &format!("{path}?watch=1")).await;
    fine(world.post("acme", path, custom("a")).await, 201);
    fine(world.patch("acme", &format!("{path}/a"), json!({"spec": {"size": 2}})).await, 200);
    fine(world.delete("acme", &format!("{path}/a")).await, 200);
    for expected in ["ADDED a", "MODIFIED a", "DELETED a"] {
        assert_eq!(events.short().await, expected);
    }
}

/// What is published of the kind `Foo`; nothing where it is not served.
async fn published(world: &World, version: &str) -> Option<Value> {
    let answer = world.get("acme", &format!("/openapi/v3/apis/e2e.example.com/{version}")).await;
    if answer.code != 200 {
        return None;
    }
    let schemas = answer.body["components"]["schemas"].as_object()?.clone();
    schemas.into_iter().find(|(name, _)| name.ends_with(&format!(".{version}.Foo"))).map(|(_, schema)| schema)
}

#[tokio::test]
async fn publish_openapi_works_for_crd_with_validation_schema() {
    let world = World::new().await;
    define(&world, schema()).await;
    let found = published(&world, "v1").await.expect("it is published");
    assert_eq!(found["properties"]["spec"]["properties"]["size"]["minimum"], 1);
    // `kubectl explain` is looked at, too.
    for (field, begins) in [("apiVersion", "APIVersion defines"), ("metadata", "Standard object's metadata")] {
        let text = found["properties"][field]["description"].as_str().unwrap_or_default();
        assert!(text.starts_with(begins), "{field}: {text}");
    }
    assert_eq!(
        world
            .post("acme", CUSTOM, {
                let mut bad = custom("a");
                bad["spec"]["size"] = json!(0);
                bad
            })
            .await
            .code,
        422
    );
}

#[tokio::test]
async fn publish_openapi_works_for_crd_preserving_unknown_fields_at_the_schema_root() {
    let world = World::new().await;
    define(&world, json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})).await;
    let found = published(&world, "v1").await.expect("it is published");
    assert_eq!(found["x-kubernetes-preserve-unknown-fields"], true);
}

#[tokio::test]
async fn publish_openapi_works_for_crd_preserving_unknown_fields_in_an_embedded_object() {
    let world = World::new().await;
    let embedded =
        json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true});
    define(&world, json!({"type": "object", "properties": {"spec": embedded}})).await;
    let found = published(&world, "v1").await.expect("it is published");
    assert_eq!(found["properties"]["spec"]["x-kubernetes-embedded-resource"], true);
}

#[tokio::test]
async fn publish_openapi_works_for_crd_without_validation_schema() {
    let world = World::new().await;
    let open = json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    define(&world, open).await;
    let found = published(&world, "v1").await.expect("it is published");
    assert_eq!(found["properties"]["spec"]["x-kubernetes-preserve-unknown-fields"], true);
}

#[tokio::test]
async fn publish_openapi_works_for_multiple_crds_of_different_groups() {
    let world = World::new().await;
    define(&world, schema()).await;
    let mut other = definition(schema());
    other["metadata"]["name"] = json!("foos.other.example.com");
    other["spec"]["group"] = json!("other.example.com");
    fine(world.post("acme", DEFINITIONS, other).await, 201);
    assert!(published(&world, "v1").await.is_some());
    assert_eq!(world.get("acme", "/openapi/v3/apis/other.example.com/v1").await.code, 200);
}

#[tokio::test]
async fn publish_openapi_works_for_multiple_crds_of_same_group_but_different_versions() {
    let world = World::new().await;
    let mut both = definition(schema());
    let mut second = both["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    both["spec"]["versions"].as_array_mut().unwrap().push(second);
    fine(world.post("acme", DEFINITIONS, both).await, 201);
    assert!(published(&world, "v1").await.is_some() && published(&world, "v2").await.is_some());
}

#[tokio::test]
async fn publish_openapi_works_for_multiple_crds_of_same_group_and_version_but_different_kinds() {
    let world = World::new().await;
    define(&world, schema()).await;
    let mut other = definition(schema());
    other["metadata"]["name"] = json!("bars.e2e.example.com");
    other["spec"]["names"] = json!({"plural": "bars", "kind": "Bar"});
    fine(world.post("acme", DEFINITIONS, other).await, 201);
    let document = world.get("acme", "/openapi/v3/apis/e2e.example.com/v1").await.body.to_string();
    assert!(document.contains(".v1.Foo\"") && document.contains(".v1.Bar\""));
}

async fn with_second_version(world: &World) -> (String, Value) {
    let mut both = definition(schema());
    let mut second = both["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    both["spec"]["versions"].as_array_mut().unwrap().push(second);
    let made = fine(world.post("acme", DEFINITIONS, both).await, 201);
    (format!("{DEFINITIONS}/foos.e2e.example.com"), made["spec"]["versions"].clone())
}

#[tokio::test]
async fn publish_openapi_updates_the_published_spec_when_one_version_gets_renamed() {
    let world = World::new().await;
    let (at, mut versions) = with_second_version(&world).await;
    versions[1]["name"] = json!("v4");
    fine(world.patch("acme", &at, json!({"spec": {"versions": versions}})).await, 200);
    assert!(published(&world, "v4").await.is_some() && published(&world, "v1").await.is_some());
    assert!(published(&world, "v2").await.is_none());
}

#[tokio::test]
async fn publish_openapi_removes_definition_from_spec_when_one_version_gets_changed_to_not_be_served() {
    let world = World::new().await;
    let (at, mut versions) = with_second_version(&world).await;
    versions[1]["served"] = json!(false);
    fine(world.patch("acme", &at, json!({"spec": {"versions": versions}})).await, 200);
    assert!(published(&world, "v2").await.is_none());
    assert!(published(&world, "v1").await.is_some());
}

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

fn policy(expression: &str) -> Value {
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
    json!({"spec": {"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": expression}]}})
}

#[tokio::test]
async fn should_support_validating_admission_policy_api_operations() {
    operations(&World::new().await, &Subject::new(POLICIES, policy("true")).with_status()).await;
}

#[tokio::test]
async fn should_support_validating_admission_policy_binding_api_operations() {
    let spec = json!({"policyName": "p", "validationActions": ["Deny"]});
    operations(&World::new().await, &Subject::new(BINDINGS, json!({"spec": spec}))).await;
}

#[tokio::test]
async fn should_validate_against_a_deployment() {
    let world = World::new().await;
    let rules =
        json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]);
    let mut one = policy("object.spec.replicas > 1");
    one["spec"]["matchConstraints"]["resourceRules"] = rules;
    one["metadata"] = json!({"name": "p"});
    fine(world.post("acme", POLICIES, one).await, 201);
    let bound = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    fine(world.post("acme", BINDINGS, bound).await, 201);
    let deployment = |replicas: u32| {
        json!({"metadata": {"name": format!("d{replicas}")}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        }})
    };
    let path = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(world.post("acme", path, deployment(1)).await.code, 422);
    fine(world.post("acme", path, deployment(2)).await, 201);
}

#[tokio::test]
async fn should_allow_expressions_to_refer_variables() {
    let world = World::new().await;
    let mut one = policy("variables.count > 1");
    one["metadata"] = json!({"name": "p"});
    one["spec"]["variables"] = json!([{"name": "count", "expression": "object.data.size()"}]);
    fine(world.post("acme", POLICIES, one).await, 201);
    let bound = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    fine(world.post("acme", BINDINGS, bound).await, 201);
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 422);
    let mut two = map("b");
    two["data"] = json!({"a": "1", "b": "2"});
    fine(world.post("acme", MAPS, two).await, 201);
}
