//! Published vulnerabilities of API servers and of multi-tenancy on top of them, by number: what made them is tried
//! here.

use http::Method;
use serde_json::{Value, json};

use crate::world::{MAPS, World, map, request};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "registry.example/a:1"}]}})
}

/// A request to become something else than HTTP is answered by the server itself, after it has asked whether it may.
#[tokio::test]
async fn cve_2018_1002105_and_2020_8559_upgrades_open_no_way_past_the_server() {
    let world = World::new().await;
    assert_eq!(world.post("acme", PODS, pod("p")).await.code, 201);
    for part in ["exec", "attach", "portforward", "proxy", "proxy/healthz", "log"] {
        for (who, path, code) in [
            ("acme", format!("{PODS}/p/{part}?command=sh"), 501),
            ("umbra", format!("/tenants/acme{PODS}/p/{part}?command=sh"), 403),
            ("acme", format!("/api/v1/nodes/n/{part}"), 403),
        ] {
            let mut request = request(who, Method::GET, &path, "");
            request.headers_mut().insert("connection", "Upgrade".parse().unwrap());
            request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
            let answer = world.answer(request).await;
            assert_eq!(answer.code, code, "{who} {path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn cve_2015_5305_no_name_climbs_out_of_its_place() {
    let world = World::new().await;
    let before = world.of_tenant("umbra");
    for name in ["..", "../..", "../../umbra/default/x", "a/b", "a%2fb", ".", "", "a\u{0}b", "umbra/default/x"] {
        let answer = world.post("acme", MAPS, map(name)).await;
        assert!(matches!(answer.code, 400 | 422), "{name:?}: {}", answer.text);
        let namespace = json!({"metadata": {"name": name}});
        let answer = world.post("acme", "/api/v1/namespaces", namespace).await;
        assert!(matches!(answer.code, 400 | 422), "{name:?}: {}", answer.text);
        let tenant = json!({"metadata": {"name": name}});
        let answer = world.post("root", "/api/v1/tenants", tenant).await;
        assert!(matches!(answer.code, 400 | 422), "{name:?}: {}", answer.text);
    }
    assert_eq!(world.post("root", "/api/v1/tenants", json!({"metadata": {"name": "all"}})).await.code, 422);
    assert_eq!(world.of_tenant("umbra"), before);
}

fn definition(scope: &str, plural: &str, kind: &str, parts: Value) -> Value {
    let names = json!({"plural": plural, "kind": kind, "listKind": format!("{kind}List")});
    let size = json!({"type": "object", "properties": {"size": {"type": "integer", "maximum": 3}}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": size, "status": size}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": parts});
    json!({"metadata": {"name": format!("{plural}.example.org")},
        "spec": {"group": "example.org", "scope": scope, "names": names, "versions": [version]}})
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

#[tokio::test]
async fn cve_2019_11247_what_has_no_namespace_is_not_reached_through_one() {
    let world = World::new().await;
    assert_eq!(world.post("acme", DEFINITIONS, definition("Cluster", "wides", "Wide", json!({}))).await.code, 201);
    let wide = json!({"apiVersion": "example.org/v1", "kind": "Wide", "metadata": {"name": "w"}});
    assert_eq!(world.post("acme", "/apis/example.org/v1/wides", wide.clone()).await.code, 201);
    let through = "/apis/example.org/v1/namespaces/default/wides";
    for (method, path) in [
        (Method::GET, format!("{through}/w")),
        (Method::GET, through.to_owned()),
        (Method::DELETE, format!("{through}/w")),
        (Method::PUT, format!("{through}/w")),
        (Method::POST, through.to_owned()),
        (Method::GET, "/api/v1/namespaces/default/persistentvolumes".to_owned()),
        (Method::GET, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/clusterroles/cluster-admin".to_owned()),
    ] {
        let answer = world.answer(request("acme", method.clone(), &path, &wide.to_string())).await;
        assert_eq!(answer.code, 404, "{method} {path}: {}", answer.text);
    }
    assert_eq!(world.get("acme", "/apis/example.org/v1/wides/w").await.code, 200);
}

#[tokio::test]
async fn cve_2022_3162_the_list_of_one_kind_shows_no_other() {
    let world = World::new().await;
    for (plural, kind) in [("ones", "One"), ("onesecrets", "Onesecret")] {
        assert_eq!(world.post("acme", DEFINITIONS, definition("Namespaced", plural, kind, json!({}))).await.code, 201);
        let body = json!({"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": format!("of-{plural}")}});
        let path = format!("/apis/example.org/v1/namespaces/default/{plural}");
        assert_eq!(world.post("acme", &path, body).await.code, 201);
    }
    for namespace in ["default%2f..%2f..%2fonesecrets%2fdefault", "..%2fonesecrets", "..", "%2e%2e"] {
        let answer = world.get("acme", &format!("/apis/example.org/v1/namespaces/{namespace}/ones")).await;
        assert!(!answer.text.contains("of-onesecrets"), "{}", answer.text);
        assert!(matches!(answer.code, 400 | 404), "{}", answer.text);
    }
    assert!(!world.get("acme", "/apis/example.org/v1/ones").await.text.contains("onesecrets"));
}

/// What a policy is shown as the old object is what is stored, whatever the client says of it.
#[tokio::test]
async fn cve_2021_25735_a_policy_sees_the_object_as_it_was() {
    let world = World::new().await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"]}]);
    let policy = json!({"metadata": {"name": "keep"}, "spec": {"matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "object.data.a == oldObject.data.a"}]}});
    let binding = json!({"metadata": {"name": "keep"}, "spec": {"policyName": "keep", "validationActions": ["Deny"]}});
    assert_eq!(world.post("acme", &format!("{group}/validatingadmissionpolicies"), policy).await.code, 201);
    assert_eq!(world.post("acme", &format!("{group}/validatingadmissionpolicybindings"), binding).await.code, 201);
    assert_eq!(world.post("acme", MAPS, map("m")).await.code, 201);
    let path = format!("{MAPS}/m");
    let mut changed = map("m");
    changed["data"]["a"] = json!("2");
    let put = world.answer(request("acme", Method::PUT, &path, &changed.to_string())).await;
    assert_eq!(put.code, 422, "{}", put.text);
    for (kind, patch) in [
        ("application/merge-patch+json", json!({"data": {"a": "2"}})),
        ("application/json-patch+json", json!([{"op": "replace", "path": "/data/a", "value": "2"}])),
        ("application/apply-patch+yaml", json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "2"}})),
    ] {
        let mut request =
            request("acme", Method::PATCH, &format!("{path}?fieldManager=x&force=true"), &patch.to_string());
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        if kind.contains("merge") || kind.contains("json-patch") {
            *request.uri_mut() = format!("{path}?fieldManager=x").parse().unwrap();
        }
        let answer = world.answer(request).await;
        assert_eq!(answer.code, 422, "{kind}: {}", answer.text);
    }
    assert_eq!(world.get("acme", &path).await.json()["data"]["a"], "1");
}

#[tokio::test]
async fn cve_2023_2728_and_2024_3177_a_debugging_container_gets_no_more_than_the_pod() {
    let world = World::new().await;
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    let namespace = request("acme", Method::PATCH, "/api/v1/namespaces/default", &label.to_string());
    assert_eq!(world.answer(namespace).await.code, 200);
    assert_eq!(world.post("acme", PODS, pod("p")).await.code, 201);
    let container = json!({"name": "d", "image": "registry.example/a:1", "securityContext": {"privileged": true}});
    let patch = json!({"spec": {"ephemeralContainers": [container]}});
    let refused = request("acme", Method::PATCH, &format!("{PODS}/p/ephemeralcontainers"), &patch.to_string());
    let refused = world.answer(refused).await;
    assert_eq!(refused.code, 403, "{}", refused.text);
    assert!(refused.text.contains("privileged"), "{}", refused.text);
}

#[tokio::test]
async fn cve_2024_0793_a_patch_that_leaves_a_scaler_half_empty_is_no_crash() {
    let world = World::new().await;
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let scaler = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    assert_eq!(world.post("acme", path, scaler).await.code, 201);
    for spec in [
        json!({"metrics": [{"type": "Resource"}]}),
        json!({"metrics": [null]}),
        json!({"metrics": [{}], "behavior": {"scaleDown": null, "scaleUp": {"policies": [null]}}}),
        json!({"scaleTargetRef": null}),
        json!(null),
    ] {
        let patch = json!({ "spec": spec }).to_string();
        for version in ["v1", "v2"] {
            let path = format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/h");
            let answer = world.answer(request("acme", Method::PATCH, &path, &patch)).await;
            assert!(answer.code < 500, "{patch}: {} {}", answer.code, answer.text);
        }
    }
}

/// Resources of a host that it grants to itself, and hosts that delete themselves by an owner: no tenant has a host.
#[tokio::test]
async fn cve_2025_4563_and_2025_5187_no_tenant_touches_a_host() {
    let world = World::new().await;
    let node = json!({"metadata": {"name": "n", "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}]}});
    assert_eq!(world.post("root", "/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.code, 201);
    for (method, path) in [
        (Method::PUT, "/api/v1/nodes/n"),
        (Method::PATCH, "/api/v1/nodes/n/status"),
        (Method::POST, "/api/v1/nodes"),
        (Method::DELETE, "/api/v1/nodes/n"),
    ] {
        for prefix in ["", "/tenants/acme", "/tenants/system"] {
            let path = format!("{prefix}{path}");
            let answer = world.answer(request("acme", method.clone(), &path, &node.to_string())).await;
            assert_eq!(answer.code, 403, "{method} {path}");
        }
    }
}

/// kcp GHSA-c7xh-gjv4-4jgv: impersonation into a group that means something everywhere.
#[tokio::test]
async fn kcp_ghsa_c7xh_gjv4_4jgv_no_group_reaches_beyond_the_tenant() {
    let world = World::new().await;
    assert_eq!(world.post("umbra", MAPS, map("secret")).await.code, 201);
    for group in [
        "system:masters",
        "arktos:components",
        "system:kube-controller-manager",
        "system:nodes",
        "system:authenticated",
    ] {
        for user in ["arktos:gateway", "system:kube-scheduler", "system:node:n", "admin"] {
            for path in [
                format!("/tenants/umbra{MAPS}"),
                "/api/v1/tenants/all/configmaps".into(),
                "/api/v1/nodes".into(),
                "/tenants/system/api/v1/namespaces".into(),
            ] {
                let mut request = request("acme", Method::GET, &path, "");
                request.headers_mut().insert("impersonate-user", user.parse().unwrap());
                request.headers_mut().insert("impersonate-group", group.parse().unwrap());
                let answer = world.answer(request).await;
                assert_eq!(answer.code, 403, "{user} {group} {path}: {}", answer.text);
            }
        }
    }
}

/// kcp GHSA-q6hv-wcjr-wp8h: the status of a custom resource, written by patch, is held to the schema.
#[tokio::test]
async fn kcp_ghsa_q6hv_wcjr_wp8h_a_patched_status_is_checked() {
    let world = World::new().await;
    let parts = json!({"status": {}});
    assert_eq!(world.post("acme", DEFINITIONS, definition("Namespaced", "sizes", "Size", parts)).await.code, 201);
    let path = "/apis/example.org/v1/namespaces/default/sizes";
    let size = json!({"apiVersion": "example.org/v1", "kind": "Size", "metadata": {"name": "s"}, "spec": {"size": 1}});
    assert_eq!(world.post("acme", path, size).await.code, 201);
    let patch = json!({"status": {"size": 9}}).to_string();
    let answer = world.answer(request("acme", Method::PATCH, &format!("{path}/s/status"), &patch)).await;
    assert_eq!(answer.code, 422, "{}", answer.text);
    let patch = json!({"spec": {"size": 2}, "status": {"size": 2}}).to_string();
    let answer = world.answer(request("acme", Method::PATCH, &format!("{path}/s/status"), &patch)).await.json();
    assert_eq!((&answer["spec"]["size"], &answer["status"]["size"]), (&json!(1), &json!(2)));
}

/// Capsule CVE-2024-39690, CVE-2026-30963: a namespace that changes hands by a subresource.
#[tokio::test]
async fn capsule_cve_2024_39690_and_2026_30963_no_part_of_a_namespace_moves_it() {
    let world = World::new().await;
    let namespace = world.get("umbra", "/api/v1/namespaces/default").await.json();
    let before = world.of_tenant("umbra");
    for part in ["", "/status", "/finalize"] {
        for method in [Method::PUT, Method::PATCH] {
            for prefix in ["/api/v1/tenants/umbra", "/tenants/umbra/api/v1"] {
                let path = format!("{prefix}/namespaces/default{part}");
                let answer = world.answer(request("acme", method.clone(), &path, &namespace.to_string())).await;
                assert_eq!(answer.code, 403, "{method} {path}");
            }
            let mut own = namespace.clone();
            own["metadata"]["labels"]["stolen"] = json!("yes");
            let path = format!("/api/v1/namespaces/default{part}");
            let answer = world.answer(request("acme", method.clone(), &path, &own.to_string())).await;
            assert!((400..500).contains(&answer.code), "{method} {path}: {} {}", answer.code, answer.text);
        }
    }
    assert_eq!(world.of_tenant("umbra"), before);
}

/// capsule-proxy CVE-2023-46254: an account of the same name in two tenants.
#[tokio::test]
async fn capsule_proxy_cve_2023_46254_an_account_is_its_own_tenants() {
    let world = World::new().await;
    let subjects = json!([{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]);
    world.bind("umbra", subjects).await;
    let (ours, theirs) = (world.account("acme", "robot").await, world.account("umbra", "robot").await);
    assert_eq!(world.get(&theirs, MAPS).await.code, 200);
    assert_eq!(world.get(&ours, MAPS).await.code, 403);
    assert_eq!(world.get(&ours, &format!("/tenants/umbra{MAPS}")).await.code, 403);
}

/// capsule-proxy CVE-2023-48312: no token, and a token that is empty.
#[tokio::test]
async fn capsule_proxy_cve_2023_48312_an_empty_token_is_nobodys() {
    let world = World::new().await;
    let mut request = request("", Method::GET, MAPS, "");
    request.headers_mut().insert("authorization", "Bearer ".parse().unwrap());
    assert_eq!(world.answer(request).await.code, 401);
    assert_eq!(world.get("", MAPS).await.code, 403);
}

/// CVE-2020-8554: what a tenant says of addresses outside reaches no further than its own objects.
#[tokio::test]
async fn cve_2020_8554_outer_addresses_are_the_tenants_own() {
    let world = World::new().await;
    let service =
        json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 443}], "externalIPs": ["203.0.113.7"]}});
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/services", service).await.code, 201);
    assert!(!world.get("umbra", "/api/v1/services").await.text.contains("203.0.113.7"));
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}}).to_string();
    let path = "/api/v1/namespaces/default/services/s/status";
    assert!(world.answer(request("umbra", Method::PATCH, path, &status)).await.code == 404);
}
