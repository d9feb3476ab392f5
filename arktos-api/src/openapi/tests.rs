//! The OpenAPI documents of the built-in kinds.

use super::*;

fn get(path: &str, query: Option<&str>) -> Response<Body> {
    let openapi = OpenApi::of(&Catalog::builtin());
    openapi.answer(View::Region, path, query, &HeaderMap::new()).expect("mine").expect("answered")
}

fn json(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().into_bytes().expect("bytes")).expect("json")
}

fn index(view: View) -> Value {
    let openapi = OpenApi::of(&Catalog::builtin());
    json(openapi.answer(view, "/openapi/v3", None, &HeaderMap::new()).expect("mine").expect("answered"))
}

#[test]
fn the_index_names_every_group_version_by_its_hash() {
    let index = index(View::Tenant);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("an address").to_owned();
    let (path, query) = url.split_once('?').expect("a hash");
    assert_eq!(path, "/openapi/v3/apis/apps/v1");
    let document = get(path, Some(query));
    assert_eq!(document.headers()[CACHE_CONTROL], "public, immutable, max-age=31536000");
    assert_eq!(document.status(), StatusCode::OK);
    let stale = get(path, Some("hash=0"));
    assert_eq!(
        (stale.status(), &stale.headers()[LOCATION]),
        (StatusCode::MOVED_PERMANENTLY, &url.parse().expect("a value"))
    );
    assert_eq!(get("/openapi/v3/apis/none.example.com/v1", None).status(), StatusCode::NOT_FOUND);
}

#[test]
fn every_reference_can_be_followed() {
    for path in index(View::Region)["paths"].as_object().expect("paths").keys() {
        let text = get(&format!("/openapi/v3/{path}"), None).into_body().into_bytes().expect("bytes");
        let document: Value = serde_json::from_slice(&text).expect("json");
        let schemas = document["components"]["schemas"].as_object();
        let text = String::from_utf8(text.to_vec()).expect("text");
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().expect("a name");
            assert!(schemas.is_some_and(|schemas| schemas[name].is_object()), "{path}: {name}");
        }
    }
}

#[test]
fn patches_say_what_kubectl_asks_for() {
    let apps = json(get("/openapi/v3/apis/apps/v1", None));
    let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let parameters = patch["parameters"].as_array().expect("parameters");
    for wanted in ["fieldValidation", "dryRun", "fieldManager", "force"] {
        assert!(parameters.iter().any(|parameter| parameter["name"] == wanted), "{wanted}");
    }
    let scale = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"];
    assert_eq!(scale["x-kubernetes-group-version-kind"]["group"], "autoscaling");
}

#[test]
fn schemas_say_how_lists_are_merged() {
    let core = json(get("/openapi/v3/api/v1", None));
    let schemas = &core["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(schemas["io.k8s.api.core.v1.PodSpec"]["required"], json!(["containers"]));
    let pod = &schemas["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod["x-kubernetes-group-version-kind"], json!([{"group": "", "version": "v1", "kind": "Pod"}]));
    assert!(schemas["io.k8s.api.core.v1.PodList"]["properties"]["items"].is_object());
}

#[test]
fn tenants_are_not_told_of_the_region() {
    let openapi = OpenApi::of(&Catalog::builtin());
    let core = openapi.answer(View::Tenant, "/openapi/v3/api/v1", None, &HeaderMap::new());
    let core = json(core.expect("mine").expect("answered"));
    assert!(core["paths"].get("/api/v1/nodes").is_none() && core["paths"].get("/api/v1/tenants").is_none());
    assert!(core["paths"].get("/api/v1/namespaces/{name}").is_some());
    assert!(index(View::Tenant)["paths"].get("apis/region.arktos.io/v1").is_none());
    let apps = |view| index(view)["paths"]["apis/apps/v1"].clone();
    assert_eq!(apps(View::Tenant), apps(View::Region));
}

#[test]
fn old_clients_get_version_2_in_protobuf() {
    let openapi = OpenApi::of(&Catalog::builtin());
    let ask = |accept: &str| {
        let headers = HeaderMap::from_iter([(http::header::ACCEPT, accept.parse().expect("a header value"))]);
        openapi.answer(View::Tenant, "/openapi/v2", None, &headers).expect("mine")
    };
    let old = ask(V2_ASKED).expect("answered");
    assert_eq!(old.headers()[http::header::CONTENT_TYPE], V2_ANSWERED);
    let bytes = old.into_body().into_bytes().expect("bytes");
    assert_eq!(bytes[..5], *b"\x0a\x032.0");
    let whole = json(ask("application/json").expect("answered"));
    let template = "/definitions/io.k8s.api.apps.v1.DeploymentSpec/properties/template/$ref";
    assert_eq!(whole.pointer(template), Some(&Value::from("#/definitions/io.k8s.api.core.v1.PodTemplateSpec")));
    let patch = &whole["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    let parameters = patch["parameters"].as_array().expect("parameters");
    let validation = parameters.iter().find(|parameter| parameter["name"] == "fieldValidation").expect("there");
    assert_eq!((&validation["in"], &validation["type"]), (&Value::from("query"), &Value::from("string")));
    assert!(!whole.to_string().contains("#/components/"));
    assert_eq!(ask("text/html").expect("answered").status(), StatusCode::NOT_ACCEPTABLE);
}

#[test]
fn version_2_says_nothing_that_its_clients_misread() {
    let schema = |fields: Value| {
        let mut all = json!({"type": "object", "x-kubernetes-group-version-kind": []});
        all.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
        v2::schema(all)
    };
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"x": {}}});
    let whole = schema(open.clone());
    assert_eq!(whole, json!({"type": "object", "x-kubernetes-group-version-kind": []}));
    let text = json!({"type": "string"});
    let inner =
        json!({"open": open, "null": {"type": "string", "nullable": true}, "any": {"type": "array"}, "text": text});
    let told = schema(json!({"properties": inner, "required": ["null", "text"]}));
    let wanted = json!({"open": {"x-kubernetes-preserve-unknown-fields": true}, "null": {}, "any": {}, "text": text});
    assert_eq!((&told["properties"], &told["required"]), (&wanted, &json!(["text"])));
}

#[test]
fn operations_are_named_and_take_what_upstream_has() {
    let apps = json(get("/openapi/v3/apis/apps/v1", None));
    let one = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    let delete = &apps["paths"][one]["delete"];
    assert_eq!(
        (&delete["operationId"], &delete["tags"]),
        (&json!("deleteAppsV1NamespacedDeployment"), &json!(["apps_v1"]))
    );
    let codes: Vec<&String> = delete["responses"].as_object().expect("answers").keys().collect();
    assert_eq!(codes, ["200", "202", "401"]);
    let watch = &apps["paths"]["/apis/apps/v1/watch/namespaces/{namespace}/deployments"];
    assert_eq!(watch["get"]["x-kubernetes-action"], "watchlist");
    // What all operations of a path take is said once.
    assert!(watch["get"].get("parameters").is_none() && watch["parameters"].to_string().contains("shardSelector"));
    let root = &apps["paths"]["/apis/apps/v1/"]["get"];
    assert_eq!(root["operationId"], "getAppsV1APIResources");
    let core = json(get("/openapi/v3/api/v1", None));
    let exec = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"];
    assert_eq!(exec["post"]["operationId"], "connectCoreV1PostNamespacedPodExec");
    assert!(exec["parameters"].to_string().contains("\"command\""));
    let proxy = &core["paths"]["/api/v1/nodes/{name}/proxy/{path}"];
    assert_eq!(proxy["head"]["operationId"], "connectCoreV1HeadNodeProxyWithPath");
    let deleted = "/paths/~1api~1v1~1namespaces~1{namespace}~1pods~1{name}/delete/responses/200/content";
    assert!(core.pointer(deleted).expect("an answer").to_string().contains("core.v1.Pod\""));
    let group = json(get("/openapi/v3/apis/apps", None));
    assert_eq!(group["paths"]["/apis/apps/"]["get"]["operationId"], "getAppsAPIGroup");
}

#[test]
fn schemas_say_what_upstream_has() {
    let core = json(get("/openapi/v3/api/v1", None));
    let schemas = &core["components"]["schemas"];
    let selector = &schemas["io.k8s.api.core.v1.ConfigMapKeySelector"];
    assert_eq!((&selector["x-kubernetes-map-type"], &selector["required"]), (&json!("atomic"), &json!(["key"])));
    assert!(schemas["io.k8s.api.core.v1.SeccompProfile"]["x-kubernetes-unions"].is_array());
    assert!(schemas["io.k8s.api.core.v1.PodList"]["properties"]["items"].get("x-kubernetes-list-type").is_none());
    let apps = json(get("/openapi/v3/apis/apps/v1", None));
    let options = &apps["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"];
    let groups: Vec<&Value> =
        options[schemas::KINDS].as_array().expect("types").iter().map(|one| &one["group"]).collect();
    assert_eq!(groups, ["", "apps"]);
    assert_eq!(apps["components"]["securitySchemes"]["BearerToken"]["type"], "apiKey");
}

/// The v3 document, and the definition in v2, of a kind with a schema.
fn custom(schema: &Value) -> (Value, Value) {
    let kind = Kind::custom("example.org", "v1", "Dish", "dishes", arktos_core::Scope::Namespace);
    let catalog = Catalog::builtin().with([kind.with_schema(schema).expect("a schema").with_field("spec.a")]);
    let openapi = OpenApi::beside(&OpenApi::of(&Catalog::builtin()), &catalog.expect("a catalog"));
    let ask = |path: &str| {
        json(openapi.answer(View::Tenant, path, None, &HeaderMap::new()).expect("mine").expect("answered"))
    };
    let index = ask("/openapi/v3");
    assert!(index["paths"].get("apis/example.org").is_none(), "groups of custom kinds alone have no document");
    (ask("/openapi/v3/apis/example.org/v1"), ask("/openapi/v2")["definitions"]["org.example.v1.Dish"].clone())
}

#[test]
fn custom_kinds_are_told_of_as_upstream_does() {
    let embedded =
        json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}});
    let spec = json!({"type": "object", "required": ["a", "null"], "properties": {
        "a": {"type": "string", "default": "x"}, "null": {"type": "integer", "nullable": true},
        "either": {"x-kubernetes-int-or-string": true}, "whole": embedded,
    }});
    let (document, old) = custom(&json!({"type": "object", "properties": {"spec": spec}}));
    let paths = &document["paths"];
    assert!(paths.get("/apis/example.org/v1/").is_none() && paths.get("/apis/example.org/v1/watch/dishes").is_none());
    let one = &paths["/apis/example.org/v1/namespaces/{namespace}/dishes/{name}"];
    assert_eq!(one["put"]["operationId"], "replaceExampleOrgV1NamespacedDish");
    assert_eq!(one["get"]["parameters"][0]["name"], "resourceVersion");
    assert!(!one.to_string().contains("protobuf") && !one.to_string().contains("strategic"));
    let dish = &document["components"]["schemas"]["org.example.v1.Dish"];
    assert_eq!(dish["x-kubernetes-selectable-fields"], json!([{"fieldPath": "spec.a"}]));
    let fields = &dish["properties"]["spec"]["properties"];
    assert_eq!(fields["either"]["anyOf"], json!([{"type": "integer"}, {"type": "string"}]));
    assert_eq!(fields["whole"]["required"], json!(["kind", "apiVersion"]));
    assert!(fields["whole"]["properties"]["metadata"].is_object());
    let told = &old["properties"]["spec"];
    assert_eq!(told["required"], json!(["a"]));
    assert_eq!(told["properties"]["a"], json!({"type": "string"}), "no defaults");
    assert_eq!(told["properties"]["either"], json!({"x-kubernetes-int-or-string": true}));
    assert_eq!(told["properties"]["null"], json!({}));
}

#[test]
fn parameters_that_are_shared_are_said_once() {
    let openapi = OpenApi::of(&Catalog::builtin());
    let whole =
        json(openapi.answer(View::Tenant, "/openapi/v2", None, &HeaderMap::new()).expect("mine").expect("answered"));
    let list = &whole["paths"]["/api/v1/namespaces/{namespace}/pods"]["get"];
    let first = list["parameters"][0]["$ref"].as_str().expect("a reference");
    let name = first.strip_prefix("#/parameters/").expect("a shared parameter");
    assert_eq!(whole["parameters"][name]["name"], "allowWatchBookmarks");
    assert_eq!(list["consumes"], json!(["*/*"]));
    let put = &whole["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["put"]["parameters"];
    assert_eq!((&put[0]["name"], &put[1]["name"]), (&json!("body"), &json!("dryRun")), "said where they are");
    assert_eq!(whole["security"], json!([{"BearerToken": []}]));
}

#[test]
fn documents_of_v3_are_there_in_protobuf_too() {
    let openapi = OpenApi::of(&Catalog::builtin());
    let ask = |accept: &str| {
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().expect("a value"))]);
        openapi.answer(View::Tenant, "/openapi/v3/version", None, &headers).expect("mine").expect("answered")
    };
    let plain = ask(JSON);
    for accept in
        [V3_ASKED, V3_ANSWERED, "application/com.github.proto-openapi.spec.v3@v1.0+protobuf, application/json"]
    {
        let answer = ask(accept);
        assert_eq!(
            (answer.status(), answer.headers()["content-type"].as_bytes()),
            (StatusCode::OK, V3_ANSWERED.as_bytes())
        );
        assert_eq!(answer.headers()["etag"], plain.headers()["etag"], "one name for both");
        let bytes = answer.into_body().into_bytes().expect("bytes");
        assert_eq!(&bytes[..7], b"\x0a\x053.0.0");
        assert!(bytes.windows(13).any(|part| part == b"getCodeVersio".as_slice()), "its operations");
    }
    assert_eq!(ask("text/html").status(), StatusCode::NOT_ACCEPTABLE);
}

#[test]
fn paths_are_as_they_are_named() {
    for path in ["/openapi/v3/", "/openapi/v3/apis/apps/v1/", "/openapi/v3/none", "/openapi/v2/"] {
        assert_eq!(get(path, None).status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(get("/openapi/v3/none", None).headers()[CACHE_CONTROL], PRIVATE);
    let varies: Vec<_> = get("/openapi/v3/version", None).headers().get_all(VARY).iter().cloned().collect();
    assert_eq!(varies, ["Accept-Encoding", "Accept"]);
}
