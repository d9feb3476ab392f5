//! Two tenants with the same names do not see or touch each other, whatever they say: against the real program.

mod process;

use process::http::{Caller, names};
use process::world::World;
use process::{PATIENCE, pause};
use serde_json::{Value, json};

fn start() -> World {
    World::start(&["--tenants", "acme,globex", "--hosts=3"])
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, of: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"of": of}})
}

fn make(caller: &Caller<'_>, path: &str, object: &Value) -> Value {
    let (code, made) = caller.post(path, object);
    assert_eq!(code, 201, "{path}: {made}");
    made
}

/// Asks until the answer is as expected.
fn until(caller: &Caller<'_>, path: &str, fits: impl Fn(u16, &Value) -> bool) -> Value {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let (code, answer) = caller.get(path);
        if fits(code, &answer) {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "{path} never came to what was expected: {code} {answer}");
        pause();
    }
}

#[test]
fn the_same_names_are_different_objects_by_every_form_of_path() {
    let world = start();
    for (caller, tenant) in [(world.acme(), "acme"), (world.globex(), "globex")] {
        make(&caller, MAPS, &map("same", tenant));
        let forms = [
            format!("{MAPS}/same"),
            format!("/api/v1/tenants/{tenant}/namespaces/default/configmaps/same"),
            format!("/tenants/{tenant}/api/v1/namespaces/default/configmaps/same"),
        ];
        for form in &forms {
            let (code, same) = caller.get(form);
            assert_eq!((code, &same["data"]["of"]), (200, &json!(tenant)), "{form}");
        }
        let (_, all) = caller.get("/api/v1/configmaps");
        assert!(names(&all).iter().all(|name| name.starts_with(&format!("{tenant}/"))), "{all}");
        for form in &forms[1..] {
            assert_eq!(world.root().get(form).1["data"]["of"], tenant, "the administrator reads {form}");
        }
    }
    let (code, all) = world.root().get("/api/v1/tenants/all/configmaps?fieldSelector=metadata.name%3Dsame");
    assert_eq!((code, names(&all)), (200, vec!["acme/default/same".into(), "globex/default/same".into()]));
    let (code, _) = world.acme().delete(&format!("{MAPS}/same"));
    assert_eq!(code, 200);
    assert_eq!(world.globex().get(&format!("{MAPS}/same")).1["data"]["of"], "globex", "the other's stays");
    assert!(world.region.stop().success());
}

#[test]
fn a_tenants_user_gets_to_nothing_outside_the_tenant() {
    let world = start();
    make(&world.globex(), MAPS, &map("theirs", "globex"));
    for path in [
        "/api/v1/tenants/globex/configmaps",
        "/api/v1/tenants/%67lobex/configmaps",
        "/tenants/globex/api/v1/configmaps",
        "/tenants/globex/version",
        "/tenants/globex/api/v1",
        "/tenants/globex/tenants/acme/api/v1/configmaps",
        "/tenants/acme/api/v1/tenants/globex/configmaps",
        "/apis/apps/v1/tenants/globex/deployments",
        "/api/v1/tenants/nobody/configmaps",
        "/api/v1/tenants/system/configmaps",
        "/api/v1/tenants/all/configmaps",
        "/tenants/all/api/v1/configmaps",
        "/api/v1/tenants/globex/configmaps?watch=true",
        "/api/v1/tenants",
        "/api/v1/tenants/acme",
        "/api/v1/nodes",
        "/api/v1/%6eodes",
        "/api/v1/nodes/hollow-0/status",
        "/tenants/acme/api/v1/nodes",
        "/apis/storage.k8s.io/v1/csinodes",
        "/apis/region.arktos.io/v1/claims",
        "/apis/region.arktos.io/v1/claimfences",
        "/apis/coordination.k8s.io/v1/tenants/system/namespaces/kube-node-lease/leases",
    ] {
        let (code, answer) = world.acme().get(path);
        assert_eq!(code, 403, "{path}: {answer}");
        assert!(!answer.to_string().contains("theirs"), "{answer}");
    }
    for path in ["/api/v1/tenants/acme/../globex/configmaps", "//api/v1/tenants/globex/configmaps"] {
        assert_eq!(world.acme().get(path).0, 404, "{path}");
    }
    let tenant = json!({"apiVersion": "v1", "kind": "Tenant", "metadata": {"name": "mine"}});
    assert_eq!(world.acme().post("/api/v1/tenants", &tenant).0, 403);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "mine"}});
    assert_eq!(world.acme().post("/api/v1/nodes", &node).0, 403);
    assert_eq!(world.acme().delete("/api/v1/tenants/globex").0, 403);
    let (code, _) = world.acme().post("/api/v1/tenants/globex/namespaces/default/configmaps", &map("x", "acme"));
    assert_eq!(code, 403);
    let mut forged = map("forged", "acme");
    forged["metadata"]["tenant"] = json!("globex");
    assert_eq!(world.acme().post(MAPS, &forged).0, 400, "a body cannot name another tenant");
}

#[test]
fn what_headers_say_of_the_sender_counts_for_nothing() {
    let world = start();
    make(&world.globex(), MAPS, &map("theirs", "globex"));
    let remote = "X-Remote-User: root\r\nX-Remote-Group: system:masters\r\nX-Remote-Extra-Arktos-Tenant: system\r\n";
    let impersonate = "Impersonate-User: root\r\nImpersonate-Group: system:masters\r\n\
                       Impersonate-Extra-Arktos-Tenant: system\r\n";
    for headers in [remote, impersonate] {
        for token in ["", "dev-token", "acme-token"] {
            let caller = world.region.caller(token).saying(headers);
            for path in ["/api/v1/nodes", "/api/v1/tenants/all/configmaps", "/api/v1/tenants/globex/configmaps"] {
                assert_eq!(caller.get(path).0, 403, "{token:?} {headers:?} {path}");
            }
        }
        assert_eq!(world.region.caller("dev-token").saying(headers).get(MAPS).0, 403, "nor within the tenant");
        assert_eq!(world.region.caller("no-such-token").saying(headers).get(MAPS).0, 401);
    }
    assert_eq!(world.acme().saying(impersonate).get(MAPS).0, 200, "within it, those may who may");
    let (_, own) = world.acme().saying(impersonate).get("/api/v1/configmaps");
    assert!(names(&own).iter().all(|name| name.starts_with("acme/")), "{own}");
}

#[test]
fn selectors_pages_and_rights_stay_inside_the_tenant() {
    let world = start();
    for (caller, tenant) in [(world.acme(), "acme"), (world.globex(), "globex")] {
        for name in ["a", "b", "c"] {
            make(&caller, MAPS, &map(name, tenant));
        }
    }
    for selector in ["metadata.namespace%3Dglobex%2Fdefault", "metadata.name%3D..%2F..%2Fglobex%2Fdefault%2Fa"] {
        let (_, found) = world.acme().get(&format!("/api/v1/configmaps?fieldSelector={selector}"));
        assert_eq!(names(&found), Vec::<String>::new(), "{selector}");
    }
    assert_eq!(world.acme().get("/api/v1/configmaps?fieldSelector=metadata.tenant%3Dglobex").0, 400);
    for of_all in [true, false] {
        let (path, reader) = match of_all {
            true => ("/api/v1/tenants/all/configmaps", world.root()),
            false => ("/api/v1/configmaps", world.globex()),
        };
        let (_, page) = reader.get(&format!("{path}?limit=1"));
        let next = page["metadata"]["continue"].as_str().expect("there is more");
        let (code, page) = world.acme().get(&format!("/api/v1/configmaps?limit=500&continue={next}"));
        assert_eq!(code, 400, "another's place in a list is no place: {page}");
    }
    // The same user name in another tenant is somebody else.
    let dana = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "dana"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dana"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let dana_reads = |expected| until(&world.region.caller("dev-token"), MAPS, |code, _| code == expected);
    make(&world.globex(), bindings, &dana);
    assert_eq!(world.region.caller("dev-token").get(MAPS).0, 403);
    make(&world.acme(), bindings, &dana);
    dana_reads(200);
    assert_eq!(world.region.caller("dev-token").get("/api/v1/nodes").0, 403);
    assert_eq!(world.region.caller("dev-token").get("/api/v1/tenants/globex/configmaps").0, 403);
}

#[test]
fn owners_are_looked_for_in_the_tenant_alone() {
    let world = start();
    let owner = make(&world.globex(), MAPS, &map("owner", "globex"));
    let mut owned = map("owned", "acme");
    owned["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": true,
    }]);
    make(&world.globex(), MAPS, &owned);
    make(&world.acme(), MAPS, &owned);
    until(&world.acme(), &format!("{MAPS}/owned"), |code, _| code == 404);
    assert_eq!(world.globex().get(&format!("{MAPS}/owned")).0, 200, "there its owner is");
    assert_eq!(world.globex().get(&format!("{MAPS}/owner")).0, 200);
    // One that cannot go yet holds up nobody in another tenant.
    owned["metadata"]["name"] = json!("held");
    owned["metadata"]["finalizers"] = json!(["example.com/hold"]);
    make(&world.acme(), MAPS, &owned);
    assert_eq!(world.globex().delete(&format!("{MAPS}/owner?propagationPolicy=Foreground")).0, 200);
    until(&world.globex(), &format!("{MAPS}/owner"), |code, _| code == 404);
}

#[test]
fn the_administrator_reads_all_tenants_and_writes_to_one_at_a_time() {
    let world = start();
    make(&world.acme(), MAPS, &map("same", "acme"));
    make(&world.globex(), MAPS, &map("same", "globex"));
    let all = "/api/v1/tenants/all/namespaces/default/configmaps";
    for (method, path) in [("POST", all.to_owned()), ("DELETE", all.to_owned()), ("DELETE", format!("{all}/same"))] {
        let (code, answer) = world.root().send(method, &path, (method == "POST").then(|| map("x", "all")).as_ref());
        assert_eq!(code, 400, "{method} {path}: {answer}");
    }
    let (_, everywhere) = world.root().get("/api/v1/tenants/all/configmaps?fieldSelector=metadata.name%3Dsame");
    assert_eq!(names(&everywhere).len(), 2, "{everywhere}");
}

#[test]
fn a_namespace_is_the_tenants_own_whatever_its_name() {
    let world = start();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-node-lease"}});
    make(&world.acme(), "/api/v1/namespaces", &namespace);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "hollow-0"}});
    make(&world.acme(), leases, &lease);
    let (_, by_prefix) = world.acme().get(&format!("/tenants/acme{leases}"));
    assert_eq!(by_prefix["items"].as_array().map(Vec::len), Some(1), "one place by every form of path: {by_prefix}");
    // The hosts' own are the region's, and not touched.
    until(&world.root(), leases, |_, hosts| {
        names(hosts).iter().filter(|name| name.starts_with("system/")).count() == 3
    });
}

#[test]
fn a_tenant_goes_with_all_it_has_and_leaves_the_others() {
    let world = start();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}},
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "disk"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let pods = |list: &Value| {
        list["items"]
            .as_array()
            .map_or(0, |items| items.iter().filter(|pod| pod["status"]["phase"] == "Running").count())
    };
    for caller in [world.acme(), world.globex()] {
        make(&caller, "/apis/apps/v1/namespaces/default/deployments", &deployment);
        make(&caller, "/api/v1/namespaces/default/persistentvolumeclaims", &claim);
        until(&caller, "/api/v1/pods", |_, list| pods(list) == 2);
    }
    assert_eq!(world.root().delete("/api/v1/tenants/acme").0, 200);
    until(&world.root(), "/api/v1/tenants/acme", |code, _| code == 404);
    for path in ["/api/v1/tenants/all/pods", "/api/v1/tenants/all/persistentvolumeclaims"] {
        let (_, left) = world.root().get(path);
        assert!(names(&left).iter().all(|name| name.starts_with("globex/")), "{left}");
    }
    until(&world.root(), "/apis/region.arktos.io/v1/claims", |_, claims| names(claims).len() == 2);
    assert_eq!(pods(&world.globex().get("/api/v1/pods").1), 2);
    assert_eq!(world.acme().post(MAPS, &map("late", "acme")).0 / 100, 4, "nobody is left to write");
    assert_eq!(world.root().delete("/api/v1/tenants/system").0, 403);
    assert!(world.region.stop().success());
}

#[test]
fn a_tenants_rate_of_requests_holds_without_a_restart_for_as_long_as_its_quota_says() {
    let world = start();
    let quotas = "/apis/region.arktos.io/v1/tenantquotas";
    // One in a thousand seconds: however slow the machine, the second one comes too soon.
    let quota = json!({"metadata": {"name": "acme"}, "spec": {"hard": {"rate/requests": "1m"}}});
    make(&world.root(), quotas, &quota);
    let refused = until(&world.acme(), MAPS, |code, _| code == 429);
    assert_eq!(refused["reason"], "TooManyRequests");
    assert!(refused["details"]["retryAfterSeconds"].as_u64() > Some(1), "{refused}");
    for caller in [world.globex(), world.root()] {
        assert_eq!(caller.get(MAPS).0, 200);
    }
    // The region's own components work on: the quota is counted, and a namespace gets what it begins with.
    let hard = |quota: &Value| quota["status"]["hard"]["rate/requests"] == "1m";
    let counted = until(&world.root(), &format!("{quotas}/acme"), |_, quota| hard(quota));
    assert!(counted["status"]["used"].get("rate/requests").is_none(), "it is not counted: {counted}");
    make(&world.root(), "/tenants/acme/api/v1/namespaces", &json!({"metadata": {"name": "web"}}));
    let account = "/tenants/acme/api/v1/namespaces/web/serviceaccounts/default";
    until(&world.root(), account, |code, _| code == 200);
    assert_eq!(world.root().delete(&format!("{quotas}/acme")).0, 200);
    until(&world.acme(), MAPS, |code, _| code == 200);
    assert!(world.region.stop().success());
}
