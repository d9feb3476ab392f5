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
    assert_eq!(ask("text/html").expect_err("no such form").code, 406);
}

#[test]
fn version_2_says_nothing_that_its_clients_misread() {
    let schema = |fields: Value| {
        let mut all = json!({"type": "object", "x-kubernetes-group-version-kind": []});
        all.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
        let document = json!({"components": {"schemas": {"a": all}}}).to_string();
        v2::document(std::iter::once(document.as_bytes()))["definitions"]["a"].clone()
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
