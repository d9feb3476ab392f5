//! Claims that count for nothing: paths that hide a tenant, bodies, queries and headers that name one.

use http::Method;
use serde_json::json;

use crate::world::{MAPS, World, map, request};

const SECRET: &str = "of-umbra-alone";

async fn world() -> World {
    let world = World::new().await;
    let mut body = map("secret");
    body["data"]["a"] = json!(SECRET);
    assert_eq!(world.post("umbra", MAPS, body).await.code, 201);
    world
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_into_another_tenant() {
    let world = world().await;
    let before = world.of_tenant("umbra");
    let rest = "namespaces/default/configmaps/secret";
    let spelled = [
        format!("/api/v1/tenants/acme/../umbra/{rest}"),
        format!("/api/v1/tenants/acme/%2e%2e/umbra/{rest}"),
        format!("/api/v1/tenants/acme%2f..%2fumbra/{rest}"),
        format!("/api/v1/tenants/acme%252f..%252fumbra/{rest}"),
        format!("/api/v1/tenants/acme;umbra/{rest}"),
        format!("/api/v1/tenants/acme;/tenants/umbra/{rest}"),
        format!("/api/v1/tenants/acme%00umbra/{rest}"),
        format!("/api/v1/tenants/%75mbra/{rest}"),
        format!("/api/v1/tenants/umbr%61/{rest}"),
        format!("/api/v1/tenants/umbra%20/{rest}"),
        format!("/api/v1/tenants/UMBRA/{rest}"),
        format!("/api/v1/tenants/%c0%af/{rest}"),
        format!("/api/v1/tenants//umbra/{rest}"),
        format!("/api/v1//tenants/umbra/{rest}"),
        format!("//api/v1/tenants/umbra/{rest}"),
        format!("/api/v1/watch/tenants/umbra/{rest}"),
        format!("/api/v1/proxy/tenants/umbra/{rest}"),
        format!("/api/v1/tenants/acme/tenants/umbra/{rest}"),
        format!("/tenants/acme/tenants/umbra/api/v1/{rest}"),
        format!("/tenants/acme/api/v1/tenants/umbra/{rest}"),
        format!("/tenants/acme/../umbra/api/v1/{rest}"),
        format!("/tenants/acme/%2e%2e/%2e%2e/tenants/umbra/api/v1/{rest}"),
        format!("/tenants/umbra/tenants/acme/api/v1/{rest}"),
        format!("/tenants/umbra/api/v1/tenants/acme/{rest}"),
        format!("/tenants/all/api/v1/{rest}"),
        format!("/api/v1/tenants/all/{rest}"),
        format!("/api/v1/namespaces/default/../../tenants/umbra/{rest}"),
        "/api/v1/namespaces/umbra%2fdefault/configmaps/secret".to_owned(),
        "/api/v1/namespaces/default/configmaps/..%2f..%2f..%2fumbra%2fdefault%2fsecret".to_owned(),
        "/api/v1/namespaces/default/configmaps/umbra%2fdefault%2fsecret".to_owned(),
    ];
    for path in &spelled {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = world.answer(request("acme", method.clone(), path, &map("secret").to_string())).await;
            assert!(matches!(answer.code, 400 | 403 | 404 | 405), "{method} {path}: {} {}", answer.code, answer.text);
            assert!(!answer.text.contains(SECRET), "{method} {path}");
        }
    }
    // The whole address in the request line: what stands before the path decides nothing.
    for path in ["http://umbra.example/api/v1/namespaces/default/configmaps", "https://umbra/tenants/umbra/api/v1/pods"]
    {
        let mut request = request("acme", Method::GET, path, "");
        request.headers_mut().insert("host", "umbra.example".parse().unwrap());
        let answer = world.answer(request).await;
        assert!(!answer.text.contains(SECRET), "{path}");
    }
    assert_eq!(world.of_tenant("umbra"), before);
}

#[tokio::test]
async fn no_header_of_a_client_says_who_it_is_or_where() {
    let world = world().await;
    let headers = [
        ("x-remote-user", "uma"),
        ("x-remote-group", "system:masters"),
        ("x-remote-uid", "1"),
        ("x-remote-extra-arktos-tenant", "umbra"),
        ("x-forwarded-client-cert", "Subject=\"CN=uma,O=tenant:umbra\""),
        ("x-forwarded-user", "uma"),
        ("x-forwarded-prefix", "/tenants/umbra"),
        ("x-original-url", "/tenants/umbra/api/v1/namespaces/default/configmaps/secret"),
        ("x-rewrite-url", "/tenants/umbra/api/v1/namespaces/default/configmaps/secret"),
        ("x-http-method-override", "DELETE"),
        ("x-tenant", "umbra"),
        ("tenant", "umbra"),
        ("arktos-tenant", "umbra"),
        ("arktos-dialect", "region"),
        ("host", "umbra"),
    ];
    for (who, code) in [("acme", 404), ("", 403)] {
        let mut request = request(who, Method::GET, &format!("{MAPS}/secret"), "");
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = world.answer(request).await;
        assert_eq!(answer.code, code, "{}", answer.text);
    }
}

#[tokio::test]
async fn no_body_writes_into_another_tenant() {
    let world = world().await;
    let before = world.of_tenant("umbra");
    let merge = json!({"metadata": {"tenant": "umbra"}}).to_string();
    let json_patch = json!([{"op": "add", "path": "/metadata/tenant", "value": "umbra"}]).to_string();
    let mut body = map("mine");
    assert_eq!(world.post("acme", MAPS, body.clone()).await.code, 201);
    body["metadata"]["tenant"] = json!("umbra");
    let refused = world.answer(request("acme", Method::PUT, &format!("{MAPS}/mine"), &body.to_string())).await;
    assert_eq!(refused.code, 400, "{}", refused.text);
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "tenant": "umbra"}});
    for (kind, patch) in [
        ("application/merge-patch+json", merge.clone()),
        ("application/strategic-merge-patch+json", merge),
        ("application/json-patch+json", json_patch),
        ("application/apply-patch+yaml", apply.to_string()),
    ] {
        let mut request = request("acme", Method::PATCH, &format!("{MAPS}/mine?fieldManager=x"), &patch);
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        let answer = world.answer(request).await;
        assert!(answer.code == 400 || answer.json()["metadata"]["tenant"] == "acme", "{kind}: {}", answer.text);
    }
    // Parts of a namespace, which are written by paths of their own.
    for part in ["finalize", "status"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "default", "tenant": "umbra", "labels": {"stolen": "yes"}},
            "spec": {"finalizers": []}});
        let path = format!("/api/v1/namespaces/default/{part}");
        let answer = world.answer(request("acme", Method::PUT, &path, &namespace.to_string())).await;
        assert!(answer.code == 400 || answer.json()["metadata"]["tenant"] == "acme", "{part}: {}", answer.text);
    }
    assert_eq!(world.of_tenant("umbra"), before);
    assert_eq!(world.get("acme", &format!("{MAPS}/mine")).await.code, 200);
}
