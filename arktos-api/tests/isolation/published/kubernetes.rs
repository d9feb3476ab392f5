//! Those of Kubernetes' API server.

use std::sync::Arc;

use arktos_api::{Audit, AuditPolicy, AuditSink, Identity, TokenAuthenticator};
use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{DEFINITIONS, PODS, definition, give, patch, pod, refuse_unless, send};
use crate::world::{MAPS, World, map, request};

/// A request to become something else than HTTP is answered by the server itself, after it has asked whether it may.
#[tokio::test]
async fn cve_2018_1002105_and_2020_8559_upgrades_open_no_way_past_the_server() {
    let world = World::new().await;
    assert_eq!(world.post("acme", PODS, pod("p")).await.code, 201);
    // The pod is on no host: there is nobody to reach, and nothing in its log.
    for (part, own) in
        [("exec", 400), ("attach", 400), ("portforward", 400), ("proxy", 400), ("proxy/healthz", 400), ("log", 204)]
    {
        for (who, path, code) in [
            ("acme", format!("{PODS}/p/{part}?command=sh"), own),
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
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"]}]);
    let spec = json!({"matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "object.data.a == oldObject.data.a"}]});
    refuse_unless(&world, "acme", "keep", spec).await;
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

/// What is asked of the images and the rights of a pod is asked of containers that come to it later.
#[tokio::test]
async fn cve_2023_2727_a_debugging_container_gets_no_more_than_the_pod() {
    let world = World::new().await;
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    assert_eq!(patch(&world, "acme", "/api/v1/namespaces/default", &label).await.code, 200);
    assert_eq!(world.post("acme", PODS, pod("p")).await.code, 201);
    let container = json!({"name": "d", "image": "registry.example/a:1", "securityContext": {"privileged": true}});
    let path = format!("{PODS}/p/ephemeralcontainers");
    let refused = patch(&world, "acme", &path, &json!({"spec": {"ephemeralContainers": [container]}})).await;
    assert_eq!(refused.code, 403, "{}", refused.text);
    assert!(refused.text.contains("privileged"), "{}", refused.text);
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["pods", "pods/ephemeralcontainers"]}]);
    let known = "!has(object.spec.ephemeralContainers) || \
                 object.spec.ephemeralContainers.all(c, c.image.startsWith('registry.example/'))";
    let spec = json!({"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": known}]});
    refuse_unless(&world, "acme", "images", spec).await;
    for (image, code) in [("elsewhere.example/b:1", 422), ("registry.example/b:1", 200)] {
        let added = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": image}]}});
        let answer = patch(&world, "acme", &path, &added).await;
        assert_eq!(answer.code, code, "{image}: {}", answer.text);
    }
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

/// YAML that nests, multiplies and repeats itself; aliases in `bombs` as well. On a stack as the programs' threads have
/// it: what nests as deeply as it may takes more than a test's thread has where nothing is optimised.
#[test]
fn cve_2019_11253_and_2019_11254_yaml_that_is_work_to_read_is_refused() {
    let tried = || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(hard_yaml());
    std::thread::Builder::new().stack_size(16 << 20).spawn(tried).unwrap().join().unwrap();
}

async fn hard_yaml() {
    let world = World::new().await;
    let steps: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let anchors: String = (0..50_000).map(|number| format!("- &a{number} x\n")).collect();
    let merged: String = (0..2_000).map(|number| format!("m{number}: {{<<: [*a, *a, *a, *a]}}\n")).collect();
    for body in [
        "- ".repeat(200_000),
        "? ".repeat(200_000),
        "a: ".repeat(200_000),
        "!!str ".repeat(100_000),
        "--- x\n".repeat(100_000),
        "#".repeat(1_000_000),
        format!("\"{}", "\\\n".repeat(200_000)),
        format!("a: {}", "{a: [".repeat(100_000)),
        format!("a: &a {{{}}}\n{merged}", "k: v, ".repeat(200)),
        "a: &a [*a, *a]\n".to_owned(),
        steps,
        anchors,
    ] {
        let answer = send(&world, "acme", (Method::POST, MAPS), "application/yaml", &body).await;
        assert!((400..500).contains(&answer.code), "{:.20}: {} {:.300}", body, answer.code, answer.text);
        let path = format!("{MAPS}/m?fieldManager=x");
        let answer = send(&world, "acme", (Method::PATCH, &path), "application/apply-patch+yaml", &body).await;
        assert!((400..500).contains(&answer.code), "{:.20}: {} {:.300}", body, answer.code, answer.text);
    }
    assert_eq!(world.get("acme", MAPS).await.json()["items"], json!([]));
}

/// An authenticator that is not well.
#[derive(Debug)]
struct Unwell;

#[async_trait]
impl TokenAuthenticator for Unwell {
    async fn authenticate(&self, _: &str) -> Result<Option<Identity>, String> {
        Err("nobody there answers".to_owned())
    }
}

/// All that is logged on this thread, and all that is entered in an audit log.
#[derive(Debug, Default, Clone)]
struct Logged(Arc<Mutex<String>>);

impl AuditSink for Logged {
    fn take(&self, event: Bytes) {
        self.0.lock().push_str(&String::from_utf8_lossy(&event));
    }
}

impl tracing::field::Visit for &Logged {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().push_str(&format!("{field}={value:?}\n"));
    }
}

impl tracing::Subscriber for Logged {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut &*self);
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut &*self);
    }
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut &*self);
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn cve_2019_11250_no_credential_and_no_secret_is_logged() {
    let logged = Logged::default();
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]";
    let audit = Audit { policy: Arc::new(AuditPolicy::parse(policy).unwrap()), sink: Arc::new(logged.clone()) };
    let world = World::with(|config| {
        config.authenticators = vec![Arc::new(Unwell)];
        config.audit = Some(audit);
    })
    .await;
    let _logging = tracing::subscriber::set_default(logged.clone());
    let robot = world.account("acme", "robot").await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "unheard-of"}});
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/secrets", secret).await.code, 201);
    assert_eq!(world.get("acme", "/api/v1/namespaces/default/secrets/s").await.code, 200);
    assert_eq!(world.get(&robot, MAPS).await.code, 403);
    let review = json!({"spec": {"token": "asked-about"}});
    assert_eq!(world.post("acme", "/apis/authentication.k8s.io/v1/tokenreviews", review).await.code, 201);
    let refused = world.get("made-up-token", MAPS).await;
    assert_eq!(refused.code, 401);
    assert!(!refused.text.contains("made-up-token"), "{}", refused.text);
    let logged = logged.0.lock().clone();
    for told in ["nobody there answers", "\"requestURI\":\"/api/v1/namespaces/default/secrets/s\""] {
        assert!(logged.contains(told), "it is not looked at what is logged: {logged}");
    }
    let password = "dW5oZWFyZC1vZg"; // as Secrets have it
    for credential in [robot.as_str(), "made-up-token", "asked-about", "unheard-of", password, "Bearer"] {
        assert!(!logged.contains(credential), "{credential}: {logged}");
    }
}

/// What a tenant writes of servers that serve a group is kept, and no request goes there.
#[tokio::test]
async fn cve_2022_3172_no_request_is_sent_on_to_a_server_that_somebody_names() {
    let world = World::new().await;
    for (group, name) in [("stolen.example.org", "v1.stolen.example.org"), ("apps", "v1.apps")] {
        let spec = json!({"group": group, "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 10,
            "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "evil", "port": 443}});
        for who in ["acme", "root"] {
            let body = json!({"metadata": {"name": name}, "spec": spec});
            let answer = world.post(who, "/apis/apiregistration.k8s.io/v1/apiservices", body).await;
            assert!(matches!(answer.code, 201 | 403 | 404 | 409), "{who}: {}", answer.text);
        }
    }
    for who in ["acme", "root"] {
        for path in ["", "/things", "/namespaces/default/things/x", "/namespaces/default/things/x/proxy"] {
            let answer = world.get(who, &format!("/apis/stolen.example.org/v1{path}")).await;
            assert_eq!((answer.code, answer.headers.get("location")), (404, None), "{who} {path}: {}", answer.text);
        }
        assert_eq!(world.get(who, "/apis/apps/v1/namespaces/default/deployments").await.code, 200);
    }
}

#[tokio::test]
async fn cve_2021_25737_no_endpoint_is_at_an_address_of_whoever_sends_there() {
    let world = World::new().await;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slice = |family: &str, address: &str| {
        json!({"metadata": {"generateName": "s-"}, "addressType": family, "endpoints": [{"addresses": [address]}],
            "ports": [{"port": 80}]})
    };
    let made = world.post("acme", slices, slice("IPv4", "10.1.2.3")).await.json();
    let made = format!("{slices}/{}", made["metadata"]["name"].as_str().unwrap());
    for (family, address) in [
        ("IPv4", "127.0.0.1"),
        ("IPv4", "169.254.169.254"),
        ("IPv4", "224.0.0.1"),
        ("IPv4", "0.0.0.0"),
        ("IPv6", "::1"),
        ("IPv6", "fe80::1"),
        ("IPv6", "ff02::1"),
        ("IPv6", "::"),
        ("IPv6", "::ffff:127.0.0.1"),
        ("IPv6", "::ffff:169.254.169.254"),
        ("IPv6", "::ffff:10.1.2.3"),
    ] {
        let answer = world.post("acme", slices, slice(family, address)).await;
        assert_eq!(answer.code, 422, "{address}: {}", answer.text);
        let change = json!({"endpoints": [{"addresses": [address]}]});
        assert_eq!(patch(&world, "acme", &made, &change).await.code, 422, "{address}");
        if address != "::ffff:10.1.2.3" {
            let subsets = json!([{"addresses": [{"ip": address}], "ports": [{"port": 80}]}]);
            let body = json!({"metadata": {"generateName": "e-"}, "subsets": subsets});
            let answer = world.post("acme", "/api/v1/namespaces/default/endpoints", body).await;
            assert_eq!(answer.code, 422, "{address}: {}", answer.text);
        }
    }
    assert_eq!(world.post("acme", slices, slice("IPv6", "2001:db8::1")).await.code, 201);
}

/// Endpoints lead traffic past what keeps namespaces apart, so the roles that are given out for one do not write them.
#[tokio::test]
async fn cve_2021_25740_who_edits_a_namespace_does_not_write_its_endpoints() {
    let world = World::new().await;
    let robot = world.account("acme", "robot").await;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let subsets = json!([{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]);
    let there = json!({"metadata": {"name": "there"}, "subsets": subsets});
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/endpoints", there.clone()).await.code, 201);
    for role in ["edit", "admin"] {
        give(&world, "robot", ("ClusterRole", role)).await;
        assert_eq!(world.post(&robot, MAPS, map(role)).await.code, 201, "{role}");
        for path in ["/api/v1/namespaces/default/endpoints", slices] {
            assert_eq!(world.get(&robot, path).await.code, 200, "{role} {path}");
            assert_eq!(world.post(&robot, path, there.clone()).await.code, 403, "{role} {path}");
            assert_eq!(patch(&world, &robot, &format!("{path}/there"), &there).await.code, 403, "{role} {path}");
            assert_eq!(world.delete(&robot, &format!("{path}/there")).await.code, 403, "{role} {path}");
            assert_eq!(world.delete(&robot, path).await.code, 403, "{role} {path}");
        }
    }
}

#[tokio::test]
async fn cve_2023_2728_and_2024_3177_an_account_keeps_its_pods_to_the_secrets_it_lists() {
    let world = World::with(|config| config.admission.disabled.clear()).await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    for (name, asks) in [("strict", "true"), ("lax", "false")] {
        let asked = json!({"kubernetes.io/enforce-mountable-secrets": asks});
        let account = json!({"metadata": {"name": name, "annotations": asked},
            "secrets": [{"name": "own"}], "imagePullSecrets": [{"name": "pull"}]});
        assert_eq!(world.post("acme", accounts, account).await.code, 201);
    }
    let variable = |secret: &str| json!({"name": "V", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}});
    let by_name = |secret: &str| json!({"name": "c", "image": "registry.example/a:1", "env": [variable(secret)]});
    let source = |secret: &str| json!({"secretRef": {"name": secret}});
    let whole = |secret: &str| json!({"name": "c", "image": "registry.example/a:1", "envFrom": [source(secret)]});
    let plain = || json!({"name": "main", "image": "registry.example/a:1"});
    let projected = |secret: &str| json!({"name": "v", "projected": {"sources": [{"secret": {"name": secret}}]}});
    let specs = |secret: &str, pull: &str| {
        [
            json!({"containers": [by_name(secret)]}),
            json!({"containers": [whole(secret)]}),
            json!({"containers": [plain()], "initContainers": [by_name(secret)]}),
            json!({"containers": [plain()], "initContainers": [whole(secret)]}),
            json!({"containers": [plain()], "volumes": [{"name": "v", "secret": {"secretName": secret}}]}),
            json!({"containers": [plain()], "volumes": [projected(secret)]}),
            json!({"containers": [plain()], "imagePullSecrets": [{"name": pull}]}),
        ]
    };
    let make = async |account: &str, mut spec: Value| {
        spec["serviceAccountName"] = json!(account);
        world.post("acme", PODS, json!({"metadata": {"generateName": "p-"}, "spec": spec})).await
    };
    for spec in specs("other", "other") {
        let refused = make("strict", spec.clone()).await;
        assert_eq!(refused.code, 403, "{spec}: {}", refused.text);
        assert!(refused.text.contains("other"), "{}", refused.text);
        assert_eq!(make("lax", spec.clone()).await.code, 201, "{spec}");
    }
    let mut made = Value::Null;
    for spec in specs("own", "pull") {
        let answer = make("strict", spec.clone()).await;
        assert_eq!(answer.code, 201, "{spec}: {}", answer.text);
        made = answer.json();
    }
    let path = format!("{PODS}/{}/ephemeralcontainers", made["metadata"]["name"].as_str().unwrap());
    for container in [by_name("other"), whole("other")] {
        let refused = patch(&world, "acme", &path, &json!({"spec": {"ephemeralContainers": [container]}})).await;
        assert_eq!(refused.code, 403, "{}", refused.text);
    }
    let added = patch(&world, "acme", &path, &json!({"spec": {"ephemeralContainers": [whole("own")]}})).await;
    assert_eq!(added.code, 200, "{}", added.text);
}
