//! Discovery of the built-in kinds.

use serde_json::Value;

use super::*;

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn discovery() -> Discovery {
    Discovery::new(Catalog::builtin(), ([127, 0, 0, 1], 6443).into())
}

fn get(view: View, path: &str, accept: &str) -> Response<Body> {
    let mut headers = HeaderMap::new();
    if !accept.is_empty() {
        headers.insert(http::header::ACCEPT, accept.parse().expect("a header value"));
    }
    discovery().answer(view, &Method::GET, path, &headers).expect("a document's path").expect("answered")
}

fn json(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().into_bytes().expect("bytes")).expect("json")
}

fn names(view: View, path: &str) -> Vec<String> {
    let document = json(get(view, path, ""));
    let resources = document["resources"].as_array().expect("resources");
    resources.iter().map(|resource| resource["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn tenants_are_not_shown_the_region() {
    let has = |view, name: &str| names(view, "/api/v1").iter().any(|known| known == name);
    assert!(has(View::Tenant, "pods") && !has(View::Tenant, "nodes") && !has(View::Tenant, "tenants"));
    assert!(has(View::Cluster, "nodes") && !has(View::Cluster, "tenants"));
    assert!(has(View::Region, "nodes") && has(View::Region, "tenants"));
    let groups = |view| json(get(view, "/apis", ""))["groups"].to_string();
    assert!(!groups(View::Cluster).contains("arktos") && groups(View::Region).contains("region.arktos.io"));
    assert_eq!(get(View::Tenant, "/apis/region.arktos.io", "").status(), 404);
}

#[test]
fn resources_say_what_clients_need() {
    let core = json(get(View::Cluster, "/api/v1/", ""));
    let find = |name: &str| {
        let resources = core["resources"].as_array().expect("resources");
        resources.iter().find(|resource| resource["name"] == name).expect("listed").clone()
    };
    assert_eq!(find("pods")["storageVersionHash"], "xPOwRZ+Yhw8=");
    assert_eq!(find("pods")["shortNames"], serde_json::json!(["po"]));
    let eviction = find("pods/eviction");
    assert_eq!(
        (&eviction["group"], &eviction["version"], &eviction["kind"]),
        (&Value::from("policy"), &Value::from("v1"), &Value::from("Eviction"))
    );
    assert_eq!(find("pods/status").get("group"), None);
}

#[test]
fn the_preferred_version_comes_first() {
    let group = json(get(View::Tenant, "/apis/autoscaling", ""));
    assert_eq!(group["preferredVersion"]["groupVersion"], "autoscaling/v2");
    assert_eq!(group["versions"].as_array().map(Vec::len), Some(2));
}

#[test]
fn aggregated_documents_are_asked_for_by_form_and_not_sent_twice() {
    let first = get(View::Tenant, "/apis", &format!("{V2},application/json"));
    assert_eq!(first.headers()[CONTENT_TYPE], V2);
    let etag = first.headers()[ETAG].clone();
    assert_eq!(json(first)["items"][0]["versions"][0]["freshness"], "Current");
    let mut headers = HeaderMap::new();
    headers.insert(http::header::ACCEPT, V2.parse().expect("a header value"));
    headers.insert(http::header::IF_NONE_MATCH, etag);
    let again = discovery().answer(View::Tenant, &Method::GET, "/apis", &headers).expect("mine").expect("answered");
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let other = discovery().answer(View::Region, &Method::GET, "/apis", &headers).expect("mine").expect("answered");
    assert_eq!(other.status(), StatusCode::OK);
    let unknown = get(View::Tenant, "/api", "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,*/*");
    assert_eq!(json(unknown)["kind"], "APIVersions");
}

#[test]
fn what_is_not_there_is_said_as_upstream_says_it() {
    let unknown_group = get(View::Tenant, "/apis/none.example.com/v1", "");
    assert_eq!(unknown_group.into_body().into_bytes().expect("bytes"), "404 page not found\n");
    let none = HeaderMap::new();
    let version = discovery().answer(View::Tenant, &Method::GET, "/apis/apps/v99", &none).expect("mine");
    assert_eq!(version.expect_err("unknown").message, "the server could not find the requested resource");
    let post = discovery().answer(View::Tenant, &Method::POST, "/api", &none).expect("mine");
    assert_eq!(post.expect_err("not allowed").code, 405);
    assert!(discovery().answer(View::Tenant, &Method::GET, "/api/v1/pods", &none).is_none());
    assert!(discovery().answer(View::Tenant, &Method::GET, "/healthz", &none).is_none());
    let mut html = HeaderMap::new();
    html.insert(http::header::ACCEPT, http::HeaderValue::from_static("text/html"));
    let refused = discovery().answer(View::Tenant, &Method::GET, "/api/v1", &html).expect("mine");
    assert_eq!(refused.expect_err("not acceptable").code, 406);
}

#[test]
fn the_version_is_the_apis() {
    let version = json(get(View::Tenant, "/version", ""));
    assert_eq!((&version["major"], &version["minor"]), (&Value::from("1"), &Value::from("36")));
    assert!(version["gitVersion"].as_str().is_some_and(|text| text.starts_with("v1.36.")));
}

#[test]
fn aggregated_discovery_is_there_in_every_encoding() {
    for media in ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"] {
        let asked = format!("{media}{AGGREGATED}");
        let answer = get(View::Tenant, "/apis", &asked);
        assert_eq!(answer.headers()[CONTENT_TYPE], asked.as_str());
        let bytes = answer.into_body().into_bytes().expect("bytes");
        assert_eq!(bytes.starts_with(b"k8s\0"), media.ends_with("protobuf"));
        assert!(bytes.windows(4).any(|part| part == b"apps"));
    }
}

#[test]
fn what_is_not_stored_has_no_version_that_it_is_stored_in() {
    let core = json(get(View::Tenant, "/api/v1", ""));
    let of = |name: &str| {
        let all = core["resources"].as_array().expect("resources");
        all.iter().find(|one| one["name"] == name).expect("a resource").get("storageVersionHash").is_some()
    };
    assert_eq!((of("configmaps"), of("componentstatuses")), (true, false));
}
