//! Who may do what.

use http::Method;
use serde_json::json;

use crate::{MAPS, World, map};

#[tokio::test]
async fn wrong_tokens_are_refused_and_no_token_is_anonymous() {
    let world = World::new().await;
    assert_eq!(world.get("wrong", MAPS).await.code, 401);
    let anonymous = world.get("", MAPS).await;
    assert_eq!(anonymous.code, 403);
    assert!(anonymous.body["message"].as_str().unwrap().contains("User \"system:anonymous\" cannot list"));
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(world.get("", path).await.code, 200, "{path}");
    }
    let refused = world.get("", "/apis").await;
    assert_eq!(refused.body["message"], "forbidden: User \"system:anonymous\" cannot get path \"/apis\"");
}

#[tokio::test]
async fn rules_come_from_the_roles_of_the_tenant_that_is_asked() {
    let world = World::new().await;
    world.post("acme", MAPS, map("a")).await;
    assert_eq!(world.get("clerk", MAPS).await.code, 403);
    let role = json!({
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}],
    });
    let binding = json!({
        "metadata": {"name": "clerks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "clerks"}],
    });
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    // The same grant in another tenant changes nothing here.
    for token in ["umbra", "acme"] {
        assert_eq!(world.get("clerk", MAPS).await.code, 403);
        assert_eq!(world.post(token, &format!("{rbac}/roles"), role.clone()).await.code, 201);
        assert_eq!(world.post(token, &format!("{rbac}/rolebindings"), binding.clone()).await.code, 201);
    }
    assert_eq!(world.get("clerk", MAPS).await.code, 200);
    assert_eq!(world.get("clerk", "/api/v1/configmaps").await.code, 403);
    assert_eq!(world.delete("clerk", &format!("{MAPS}/a")).await.code, 403);
    assert_eq!(world.delete("acme", &format!("{rbac}/rolebindings/clerks")).await.code, 200);
    assert_eq!(world.get("clerk", MAPS).await.code, 403);
}

#[tokio::test]
async fn nobody_gives_away_what_they_do_not_have() {
    let world = World::new().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let admin = json!({
        "metadata": {"name": "clara"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "clara"}],
    });
    let path = format!("{rbac}/namespaces/default/rolebindings");
    assert_eq!(world.post("acme", &path, admin.clone()).await.code, 201);
    let mut more = admin.clone();
    more["metadata"]["name"] = json!("more");
    assert_eq!(world.post("clerk", &path, more.clone()).await.code, 201);
    more["roleRef"]["name"] = json!("cluster-admin");
    more["metadata"]["name"] = json!("most");
    let refused = world.post("clerk", &path, more).await;
    assert_eq!(refused.code, 403);
    assert!(refused.body["message"].as_str().unwrap().contains("is attempting to grant RBAC permissions"));
}

const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// Gives the group of clerks a cluster role everywhere.
async fn given(world: &World, role: &str) {
    let binding = json!({
        "metadata": {"name": format!("clerks-{role}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "clerks"}],
    });
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(world.post("acme", path, binding).await.code, 201);
}

/// Whoever writes a role that gathers others, or what is gathered, would else have what these have.
#[tokio::test]
async fn a_role_that_gathers_others_takes_all_rights_to_write() {
    let world = World::new().await;
    let keeper = json!({
        "metadata": {"name": "keeper"},
        "rules": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
            "verbs": ["get", "create", "update", "patch"]}],
    });
    let secrets = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    let secret = json!({"metadata": {"name": "secret"}, "rules": secrets});
    let aggregation = json!({"clusterRoleSelectors": [{"matchLabels": {"gather": "me"}}]});
    let gathers = |name: &str| json!({"metadata": {"name": name}, "aggregationRule": aggregation, "rules": []});
    for role in [keeper, secret, gathers("theirs")] {
        assert_eq!(world.post("acme", CLUSTER_ROLES, role).await.code, 201);
    }
    given(&world, "keeper").await;
    let refused = world.post("clerk", CLUSTER_ROLES, gathers("mine")).await;
    assert_eq!(refused.code, 403, "{}", refused.body);
    assert_eq!(
        refused.body["message"],
        "clusterroles.rbac.authorization.k8s.io \"mine\" is forbidden: must have cluster-admin privileges to use the \
         aggregationRule"
    );
    // The old state counts as well, and so does what has nothing to do with rules.
    let theirs = format!("{CLUSTER_ROLES}/theirs");
    for change in [json!({"aggregationRule": null}), json!({"metadata": {"labels": {"a": "b"}}})] {
        let refused = world.patch("clerk", &theirs, change).await;
        assert_eq!(refused.code, 403, "{}", refused.body);
        assert!(refused.body["message"].as_str().unwrap().contains("aggregationRule"), "{}", refused.body);
    }
    // A label would have a role gathered whose rights they do not have.
    let label = json!({"metadata": {"labels": {"gather": "me"}}});
    let refused = world.patch("clerk", &format!("{CLUSTER_ROLES}/secret"), label).await;
    assert_eq!(refused.code, 403, "{}", refused.body);
    assert!(refused.body["message"].as_str().unwrap().contains("not currently held"), "{}", refused.body);
    // A role without aggregation, of rights that they have, is theirs to write; so is what the collector goes by.
    let own = json!({"metadata": {"name": "own"}, "rules": []});
    assert_eq!(world.post("clerk", CLUSTER_ROLES, own).await.code, 201);
    for finalizers in [json!(["example.com/held"]), json!([])] {
        let held = world.patch("clerk", &theirs, json!({"metadata": {"finalizers": finalizers}})).await;
        assert_eq!(held.code, 200, "{}", held.body);
    }
    given(&world, "cluster-admin").await;
    assert_eq!(world.post("clerk", CLUSTER_ROLES, gathers("mine")).await.code, 201);
}

#[tokio::test]
async fn every_tenant_has_the_bootstrap_roles_and_may_have_its_own_instead() {
    let world = World::new().await;
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let list = world.get("acme", path).await;
    let names: Vec<&str> =
        list.body["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"cluster-admin") && names.contains(&"view"), "{names:?}");
    let view = world.get("acme", &format!("{path}/view")).await.body;
    let label = |into: &str| format!("rbac.authorization.k8s.io/aggregate-to-{into}");
    let selector = json!({"matchLabels": {label("view"): "true"}});
    assert_eq!(view["aggregationRule"], json!({"clusterRoleSelectors": [selector]}));
    assert_eq!(view["metadata"]["labels"][label("edit")], "true");
    let part = world.get("acme", &format!("{path}/system:aggregate-to-view")).await.body;
    assert_eq!((&part["metadata"]["labels"][label("view")], &part["rules"]), (&json!("true"), &view["rules"]));
    let changed = world.patch("acme", &format!("{path}/view"), json!({"metadata": {"labels": {"own": "yes"}}})).await;
    assert_eq!(changed.code, 200, "{:?}", changed.body);
    assert_eq!(world.get("acme", &format!("{path}/view")).await.body["metadata"]["labels"]["own"], "yes");
    assert_eq!(world.get("umbra", &format!("{path}/view")).await.body["metadata"]["labels"]["own"], json!(null));
    let again = world.get("acme", path).await.body["items"].as_array().unwrap().len();
    assert_eq!(again, names.len());
    assert_eq!(world.delete("acme", &format!("{path}/edit")).await.code, 403);
    assert_eq!(world.delete("acme", path).await.code, 200);
    let left = world.get("acme", &format!("{path}/view")).await.body;
    assert_eq!(left["metadata"]["labels"]["own"], json!(null), "its own is gone, the shared one is back");
}

#[tokio::test]
async fn paths_and_methods_that_nothing_is_at() {
    let world = World::new().await;
    for (method, path, code) in [
        (Method::GET, "/api/v1/nosuch", 404),
        (Method::GET, "/apis/none.example.com/v1/things", 404),
        (Method::GET, "/api/v1/watch/nosuch?timeoutSeconds=1", 404),
        (Method::POST, "/api/v1/watch/pods", 405),
        (Method::GET, "/api/v1/namespaces/default%2fx/configmaps", 404),
        (Method::PUT, MAPS, 405),
        (Method::POST, "/api/v1/namespaces/default/configmaps/x", 405),
        (Method::OPTIONS, MAPS, 405),
        (Method::GET, "/api/v1/namespaces/default/configmaps/x/status", 404),
    ] {
        assert_eq!(world.send("root", method.clone(), path, None).await.code, code, "{method} {path}");
    }
}

#[tokio::test]
async fn health_is_asked_as_upstreams_whole_or_by_its_checks() {
    let world = World::new().await;
    for path in
        ["/healthz/etcd", "/livez/etcd", "/readyz/etcd", "/readyz/etcd-readiness", "/livez/ping", "/healthz/log"]
    {
        let one = world.get("root", path).await;
        assert_eq!((one.code, one.body), (200, json!("ok")), "{path}");
    }
    assert_eq!(world.get("root", "/readyz/poststarthook/rbac/bootstrap-roles").await.code, 200);
    for path in ["/healthz/store", "/livez/etcd-readiness"] {
        assert_eq!(world.get("root", path).await.code, 404, "{path}");
    }
    assert_eq!(world.get("root", "/healthz?exclude=x").await.body, "ok");
    let said = world.get("root", "/livez?verbose&exclude=y&exclude=x&exclude=etcd&exclude=x").await.body;
    let said = said.as_str().unwrap();
    assert!(
        said.starts_with("[+]ping ok\n[+]log ok\n[+]loopback-serving-certificate ok\n[+]etcd excluded: ok\n"),
        "{said}"
    );
    let end = "warn: some health checks cannot be excluded: no matches for \"x\",\"y\"\nlivez check passed\n";
    assert!(said.ends_with(end), "{said}");
    let ready = world.get("root", "/readyz?verbose").await.body;
    assert!(ready.as_str().unwrap().contains("[+]etcd ok\n[+]etcd-readiness ok\n"), "{ready}");
}
