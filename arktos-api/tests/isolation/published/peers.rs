//! Those of others that serve many tenants (kcp, Capsule and its proxy), and of etcd where a server could have the
//! like.

use arktos_api::PeerCertificate;
use base64::Engine as _;
use http::Method;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;

use super::{ADMISSION, DEFINITIONS, definition, give, patch, refuse_unless};
use crate::world::{MAPS, RBAC, World, map, request};

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

/// kcp CVE-2025-29922: a view of many tenants through which objects were made and deleted in any of them.
#[tokio::test]
async fn kcp_cve_2025_29922_nothing_is_written_through_the_view_of_all_tenants() {
    let world = World::new().await;
    assert_eq!(world.post("umbra", MAPS, map("m")).await.code, 201);
    let before = (world.of_tenant("acme"), world.of_tenant("umbra"));
    for who in ["acme", "root", ""] {
        for place in ["/api/v1/tenants/all", "/tenants/all/api/v1"] {
            for tail in
                ["/configmaps", "/namespaces/default/configmaps", "/namespaces/default/configmaps/m", "/namespaces"]
            {
                for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                    let path = format!("{place}{tail}");
                    let answer = world.answer(request(who, method.clone(), &path, &map("m").to_string())).await;
                    assert!((400..500).contains(&answer.code), "{who} {method} {path}: {}", answer.text);
                }
            }
        }
    }
    assert_eq!((world.of_tenant("acme"), world.of_tenant("umbra")), before);
}

/// kcp CVE-2026-39429, etcd CVE-2026-33413: a part of the server that was reached before anybody asked who it is.
#[tokio::test]
async fn kcp_cve_2026_39429_and_etcd_cve_2026_33413_whatever_is_served_is_served_to_whom_it_may() {
    let world = World::new().await;
    assert_eq!(world.post("umbra", MAPS, map("of-umbra-alone")).await.code, 201);
    let before = world.engine.snapshot().revision();
    for path in [
        "/services/cache/shards/root/clusters/root/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/services/apiexport/root/things/clusters/umbra/api/v1/configmaps",
        "/clusters/umbra/api/v1/namespaces/default/configmaps",
        "/v3/kv/range",
        "/v3/maintenance/snapshot",
        "/v3/cluster/member/list",
        "/store",
        "/backup",
        "/arktos",
        "/internal",
        "/debug/pprof/heap",
        "/debug/requests",
        "/debug/flags/v",
        "/logs/",
        "/configz",
        "/metrics",
        "/metrics/cadvisor",
        "/apis/region.arktos.io/v1/claims",
        "/apis/region.arktos.io/v1/claimfences",
        "/api/v1/nodes",
        "/api/v1/tenants",
    ] {
        for who in ["", "acme"] {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                for prefix in ["", "/tenants/umbra", "/tenants/all"] {
                    let path = format!("{prefix}{path}");
                    let mut request = request(who, method.clone(), &path, "{}");
                    request.headers_mut().insert("arktos-dialect", "region".parse().unwrap());
                    let answer = world.answer(request).await;
                    let told = matches!(answer.code, 403..=405) && (who == "acme" || answer.code == 403);
                    assert!(told, "{who:?} {method} {path}: {} {}", answer.code, answer.text);
                    assert!(!answer.text.contains("of-umbra-alone"), "{}", answer.text);
                }
            }
        }
    }
    assert_eq!(world.engine.snapshot().revision(), before, "something was written");
}

/// Capsule CVE-2022-46167: an account that may edit its own namespace takes it out of its tenant.
#[tokio::test]
async fn capsule_cve_2022_46167_a_namespace_stays_its_tenants_whatever_is_written_of_its_owner() {
    let world = World::new().await;
    let robot = world.account("acme", "robot").await;
    give(&world, "robot", ("ClusterRole", "cluster-admin")).await;
    let umbra = world.get("root", "/api/v1/tenants/umbra").await.json();
    let owner = json!([{"apiVersion": "v1", "kind": "Tenant", "name": "umbra", "uid": umbra["metadata"]["uid"]}]);
    let before = world.of_tenant("umbra");
    for metadata in [
        json!({ "ownerReferences": owner }),
        json!({"ownerReferences": null}),
        json!({"labels": {"tenant": "umbra", "arktos.io/tenant": "umbra", "capsule.clastix.io/tenant": "umbra"}}),
        json!({"annotations": {"tenant": "umbra", "arktos.io/tenant": "umbra"}}),
    ] {
        let changed = patch(&world, &robot, "/api/v1/namespaces/default", &json!({ "metadata": metadata })).await;
        assert_eq!(changed.code, 200, "{metadata}: {}", changed.text);
        assert_eq!(changed.json()["metadata"]["tenant"], "acme");
        for path in ["/tenants/umbra/api/v1/namespaces/default", "/api/v1/namespaces", "/api/v1/nodes"] {
            assert_eq!(world.get(&robot, path).await.code, 403, "{metadata} {path}");
        }
        assert_eq!(world.get("umbra", &format!("/tenants/acme{MAPS}")).await.code, 403, "{metadata}");
    }
    assert_eq!(world.of_tenant("umbra"), before);
}

/// Capsule CVE-2025-55205: labels that choose the namespaces of others.
#[tokio::test]
async fn capsule_cve_2025_55205_labels_choose_among_a_tenants_own_namespaces() {
    let world = World::new().await;
    let label = json!({"metadata": {"labels": {"chosen": "yes"}}});
    for path in ["/tenants/system/api/v1/namespaces/kube-system", "/api/v1/tenants/umbra/namespaces/default"] {
        assert_eq!(patch(&world, "acme", path, &label).await.code, 403, "{path}");
    }
    let spaces = "/api/v1/namespaces";
    assert_eq!(world.post("acme", spaces, json!({"metadata": {"name": "kube-system"}})).await.code, 201);
    // The same label, on namespaces of the same names.
    for (who, name) in [("acme", "kube-system"), ("root", "kube-system"), ("umbra", "default")] {
        assert_eq!(patch(&world, who, &format!("{spaces}/{name}"), &label).await.code, 200, "{who}");
    }
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]);
    let constraints = json!({"resourceRules": rules, "namespaceSelector": {"matchLabels": {"chosen": "yes"}}});
    let spec = json!({"matchConstraints": constraints, "validations": [{"expression": "false"}]});
    refuse_unless(&world, "acme", "none", spec).await;
    for (who, name, code) in [
        ("acme", "kube-system", 422),
        ("acme", "default", 201),
        ("root", "kube-system", 201),
        ("umbra", "default", 201),
    ] {
        let made = world.post(who, &format!("{spaces}/{name}/configmaps"), map("m")).await;
        assert_eq!(made.code, code, "{who} {name}: {}", made.text);
    }
}

/// Capsule CVE-2026-65834: a pattern that is none, met when it is used; those of schemas are in `bombs`.
#[tokio::test]
async fn capsule_cve_2026_65834_a_pattern_that_is_none_refuses_what_it_judges_and_no_more() {
    let world = World::new().await;
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
    let spec = json!({"matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "object.data.a.matches(object.data.pattern)"}]});
    refuse_unless(&world, "acme", "matches", spec).await;
    for (pattern, code) in [
        ("^1$", 201),
        ("^2$", 422),
        ("(", 422),
        ("[", 422),
        ("*", 422),
        ("\\", 422),
        ("a{2,1}", 422),
        ("(?=1)1", 422),
        ("(?P<n>1)(?P<n>1)", 422),
        ("\\p{Nothing}", 422),
        ("((1{1,1000}){1,1000}){1,1000}", 422),
    ] {
        let mut body = map("m");
        body["metadata"] = json!({"generateName": "m-"});
        body["data"]["pattern"] = json!(pattern);
        let answer = world.post("acme", MAPS, body).await;
        assert_eq!(answer.code, code, "{pattern}: {}", answer.text);
    }
    for pattern in ["(", "a{2,1}", "((1{1,1000}){1,1000}){1,1000}"] {
        let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"]}]);
        let spec = json!({"matchConstraints": {"resourceRules": rules},
            "validations": [{"expression": format!("object.metadata.name.matches('{pattern}')")}]});
        let policy = json!({"metadata": {"generateName": "p-"}, "spec": spec});
        let answer = world.post("acme", &format!("{ADMISSION}/validatingadmissionpolicies"), policy).await;
        assert!(answer.code < 500, "{pattern}: {}", answer.text);
    }
    assert_eq!(world.get("umbra", MAPS).await.code, 200);
}

/// The certificate of a peer, of no tenant where none is among its organizations.
fn certificate(user: &str, organization: &str) -> PeerCertificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    PeerCertificate::new(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec())
}

/// A partition says of what may count elsewhere that it does not here, and whether it has the tenant it does not say.
#[tokio::test]
async fn what_is_of_another_partition_is_told_so_and_nothing_of_who_is_here() {
    let world = World::new().await;
    let ask = async |shown: Option<&str>, token: &str| {
        let mut request = request(token, Method::GET, MAPS, "");
        if let Some(tenant) = shown {
            request.extensions_mut().insert(certificate("alice", &format!("tenant:{tenant}:some-uid")));
        }
        let answer = world.answer(request).await;
        assert_eq!(answer.code, 401, "{}", answer.text);
        answer.text
    };
    let token = |tenant: &str| {
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let claims = json!({"arktos.io": {"tenant": tenant}}).to_string();
        format!("{}.{}.{}", encode(r#"{"alg":"ES256"}"#), encode(&claims), encode("signature"))
    };
    let there = ask(Some("acme"), "").await;
    assert!(there.contains("a gateway of the region"), "{there}");
    assert_eq!(there.replace("acme", "nobody"), ask(Some("nobody"), "").await);
    let there = ask(None, &token("acme")).await;
    assert!(there.contains("a gateway of the region"), "{there}");
    assert_eq!(there.replace("acme", "nobody"), ask(None, &token("nobody")).await);
    assert!(!ask(None, "no-token").await.contains("gateway"));
}

/// etcd CVE-2018-16886, capsule-proxy CVE-2022-23652: a request without its sender's name, which a proxy has left out
/// or was made to leave out, has the rights of the proxy.
#[tokio::test]
async fn etcd_cve_2018_16886_and_capsule_proxy_cve_2022_23652_a_gateway_has_no_rights_of_its_own() {
    let world = World::new().await;
    let gateway = certificate("arktos:gateway", "arktos:components");
    let remote =
        [("x-remote-user", "alice"), ("x-remote-group", "system:masters"), ("x-remote-extra-arktos-tenant", "acme")];
    let hops = ("connection", "x-remote-user, x-remote-group, x-remote-extra-arktos-tenant, impersonate-user");
    let to_be = [("impersonate-user", "root"), ("impersonate-group", "system:masters")];
    let ask = async |certificate: &PeerCertificate, path: &str, headers: &[(&'static str, &str)]| {
        let mut request = request("", Method::GET, path, "");
        request.extensions_mut().insert(certificate.clone());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        world.answer(request).await.code
    };
    let nodes = "/api/v1/nodes";
    assert_eq!(ask(&gateway, MAPS, &remote).await, 200, "it speaks for its clients");
    let hopping = [&remote[..], &[hops][..]].concat();
    assert_eq!(ask(&gateway, MAPS, &hopping).await, 200, "as whom they are");
    assert_eq!(ask(&gateway, nodes, &hopping).await, 403);
    let nameless = [&remote[1..], &to_be[..], &[hops][..]].concat();
    for headers in [Vec::new(), vec![hops], to_be.to_vec(), remote[1..].to_vec(), nameless] {
        for path in [MAPS, nodes, "/api/v1/tenants", "/tenants/acme/api/v1/pods"] {
            assert_eq!(ask(&gateway, path, &headers).await, 403, "{headers:?} {path}");
        }
    }
    // A tenant that calls its own user so, and a user of the region who is no component, speak for nobody.
    let region = [("x-remote-user", "root"), ("x-remote-group", "system:masters")];
    for other in [certificate("arktos:gateway", "tenant:acme"), certificate("arktos:gateway", "dev")] {
        assert_eq!(ask(&other, nodes, &region).await, 403);
    }
}

/// etcd CVE-2026-73499: the right to watch one key, asked for as a watch of all that come after it.
#[tokio::test]
async fn etcd_cve_2026_73499_who_may_watch_one_name_watches_no_other() {
    let world = World::new().await;
    let robot = world.account("acme", "robot").await;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"],
        "verbs": ["get", "list", "watch"]}]);
    let role = json!({"metadata": {"name": "one"}, "rules": rules});
    assert_eq!(world.post("acme", &format!("{RBAC}/namespaces/default/roles"), role).await.code, 201);
    give(&world, "robot", ("Role", "one")).await;
    for refused in [
        "",
        "&fieldSelector=",
        "&fieldSelector=metadata.name=",
        "&fieldSelector=metadata.name!=a",
        "&fieldSelector=metadata.name%3E=a",
        "&fieldSelector=metadata.name=b",
        "&fieldSelector=metadata.name=b,metadata.name=a",
        "&fieldSelector=metadata.name=b&fieldSelector=metadata.name=a",
        "&fieldSelector=metadata.namespace=default",
        "&labelSelector=metadata.name=a",
        "&name=a&metadata.name=a",
        "&resourceVersion=0&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        "&continue=a&limit=1",
    ] {
        for watch in ["watch=true", "watch=1", "limit=500"] {
            let answer = world.get(&robot, &format!("{MAPS}?{watch}{refused}")).await;
            assert_eq!(answer.code, 403, "{watch}{refused}: {}", answer.text);
        }
    }
    let everywhere = "/api/v1/configmaps?watch=true&fieldSelector=metadata.name=a";
    assert_eq!(world.get(&robot, everywhere).await.code, 403);
    assert_eq!(world.get(&robot, &format!("{MAPS}/b?watch=true")).await.code, 403);
    for allowed in [
        "fieldSelector=metadata.name=a",
        "fieldSelector=metadata.name%3D%3Da",
        "fieldSelector=metadata.name=a&fieldSelector=metadata.name=b",
        "fieldSelector=metadata.name=a,metadata.namespace=default",
    ] {
        let mut events = world.watch(&robot, &format!("{MAPS}?watch=true&{allowed}")).await;
        for name in ["b", "a", "c"] {
            assert_eq!(world.post("acme", MAPS, map(name)).await.code, 201);
        }
        assert_eq!(events.next().await.unwrap()["object"]["metadata"]["name"], "a", "{allowed}");
        assert!(events.is_quiet().await, "{allowed}");
        for name in ["a", "b", "c"] {
            assert_eq!(world.delete("acme", &format!("{MAPS}/{name}")).await.code, 200);
        }
    }
}
