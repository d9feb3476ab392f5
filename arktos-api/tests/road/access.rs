//! Who may do what.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::ServiceExt;

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
    assert_eq!(world.get("", "/openid/v1/jwks").await.code, 403);
    let asked = world.get("viv", "/nosuch/").await;
    let why = "forbidden: User \"viv\" cannot get path \"/nosuch/\"";
    assert_eq!((asked.code, &asked.body["message"]), (403, &json!(why)), "as it is asked for");
    let refused = world.get("", "/apis").await;
    assert_eq!(refused.body["message"], "forbidden: User \"system:anonymous\" cannot get path \"/apis\"");
}

#[tokio::test]
async fn a_path_that_leads_too_far_is_refused_to_who_may_not_ask() {
    let world = World::new().await;
    let path = format!("{MAPS}/a/b/c");
    let refused = world.get("clerk", &path).await;
    assert_eq!(refused.code, 403);
    assert!(refused.body["message"].as_str().unwrap().contains("cannot get resource \"configmaps/b\""));
    assert_eq!(world.get("acme", &path).await.code, 404);
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

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Makes a cluster role, and gives it to a subject.
async fn role_for(world: &World, name: &str, rules: serde_json::Value, subject: (&str, &str)) {
    let role = json!({"metadata": {"name": name}, "rules": rules});
    assert_eq!(world.post("acme", CLUSTER_ROLES, role).await.code, 201);
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": subject.0, "apiGroup": "rbac.authorization.k8s.io", "name": subject.1}],
    });
    assert_eq!(world.post("acme", &format!("{RBAC}/clusterrolebindings"), binding).await.code, 201);
}

/// Asks in another's name; the code, and what is said.
async fn acting(world: &World, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = Request::builder().method(Method::GET).uri(path).header("authorization", "Bearer clerk");
    for (name, value) in headers {
        request = request.header(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let response = world.api.clone().oneshot(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    (code, body["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn who_may_act_as_somebody_may_be_held_to_one_user_and_to_what_is_done() {
    let world = World::new().await;
    let maps = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "get"]}]);
    role_for(&world, "bobs", maps, ("User", "bob")).await;
    let bob = [("impersonate-user", "bob")];
    let refused = acting(&world, MAPS, &bob).await;
    assert_eq!(refused.0, 403);
    assert!(
        refused.1.contains("User \"clara\" cannot impersonate-on:user-info:list resource \"configmaps\""),
        "{}",
        refused.1
    );
    let on = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["impersonate-on:user-info:list"]}]);
    role_for(&world, "on", on, ("Group", "clerks")).await;
    let refused = acting(&world, MAPS, &bob).await;
    assert!(refused.1.contains("users.authentication.k8s.io \"bob\" is forbidden"), "{}", refused.1);
    assert!(refused.1.contains("cannot impersonate:user-info resource \"users\""), "{}", refused.1);
    let of = json!([
        {"apiGroups": ["authentication.k8s.io"], "resources": ["users"], "resourceNames": ["bob"],
            "verbs": ["impersonate:user-info"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["groups"], "verbs": ["impersonate:user-info"]},
    ]);
    role_for(&world, "as", of, ("Group", "clerks")).await;
    assert_eq!(acting(&world, MAPS, &bob).await.0, 200);
    assert_eq!(acting(&world, MAPS, &[("impersonate-user", "eve")]).await.0, 403, "another user");
    assert_eq!(acting(&world, &format!("{MAPS}/a"), &bob).await.0, 403, "something else");
    let masters = acting(&world, MAPS, &[bob[0], ("impersonate-group", "system:masters")]).await;
    assert!(masters.1.ends_with("impersonating the system:masters group is not allowed"), "{}", masters.1);
    let node = acting(&world, MAPS, &[("impersonate-user", "system:node:n1")]).await;
    assert!(node.1.contains("cannot impersonate-on:arbitrary-node:list"), "{}", node.1);
}

/// Upstream tries first what was right last, and tells of that.
#[tokio::test]
async fn who_was_let_act_as_of_old_is_told_of_that() {
    let world = World::new().await;
    let bob = json!([{"apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"], "verbs": ["impersonate"]}]);
    role_for(&world, "legacy", bob, ("Group", "clerks")).await;
    let as_eve = [("impersonate-user", "eve")];
    let first = acting(&world, MAPS, &as_eve).await.1;
    assert!(first.contains("cannot impersonate-on:user-info:list resource \"configmaps\""), "{first}");
    let bobs = acting(&world, MAPS, &[("impersonate-user", "bob")]).await.1;
    assert!(bobs.contains("User \"bob\" cannot list"), "{bobs}");
    let then = acting(&world, MAPS, &as_eve).await.1;
    assert!(then.starts_with("users \"eve\" is forbidden: User \"clara\" cannot impersonate resource"), "{then}");
}

#[tokio::test]
async fn who_names_somebody_in_odd_letters_does_not_act_as_its_own() {
    let world = World::new().await;
    let refused = acting(&world, "/api", &[("impersonate-user", "b\u{f6}b")]).await;
    assert_eq!(refused.0, 403, "{}", refused.1);
}

#[tokio::test]
async fn who_acts_as_somebody_not_authenticated_is_that() {
    let world = World::new().await;
    let all = json!([
        {"apiGroups": [""], "resources": ["users", "groups", "serviceaccounts"], "verbs": ["impersonate"]},
    ]);
    role_for(&world, "legacy", all, ("Group", "clerks")).await;
    let known = json!([{"nonResourceURLs": ["/known"], "verbs": ["get"]}]);
    role_for(&world, "known", known, ("Group", "system:authenticated")).await;
    let bob = ("impersonate-user", "bob");
    assert_eq!(acting(&world, "/known", &[bob]).await.0, 404, "it is in no group, and so in that of all who are known");
    for group in ["system:unauthenticated", "dev"] {
        let code = acting(&world, "/known", &[bob, ("impersonate-group", group)]).await.0;
        assert_eq!(code, if group == "dev" { 404 } else { 403 }, "{group}");
    }
}

#[tokio::test]
async fn roles_that_are_bound_and_not_there_are_told_to_who_may_not() {
    let world = World::new().await;
    for (kind, path) in [("ClusterRole", "clusterrolebindings"), ("Role", "namespaces/default/rolebindings")] {
        let binding = json!({
            "metadata": {"name": "lost"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "gone"},
            "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "clerks"}],
        });
        assert_eq!(world.post("acme", &format!("{RBAC}/{path}"), binding).await.code, 201);
    }
    let lost = "[clusterrole.rbac.authorization.k8s.io \"gone\" not found, role.rbac.authorization.k8s.io \"gone\" not \
                found]";
    let refused = world.get("clerk", MAPS).await;
    assert!(refused.body["message"].as_str().unwrap().ends_with(&format!(": RBAC: {lost}")), "{}", refused.body);
    let own = "/apis/authorization.k8s.io/v1";
    let asked =
        json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "configmaps", "namespace": "default"}}});
    let answer = world.post("clerk", &format!("{own}/selfsubjectaccessreviews"), asked).await;
    assert_eq!(answer.body["status"], json!({"allowed": false, "reason": format!("RBAC: {lost}")}));
    let asked = json!({"metadata": {"name": "x"}, "spec": {"namespace": "default"}});
    let answer = world.post("clerk", &format!("{own}/selfsubjectrulesreviews"), asked).await;
    assert_eq!(answer.body["status"]["evaluationError"], lost);
    assert_eq!((&answer.body["metadata"], &answer.body["spec"]), (&json!({}), &json!({})));
}

#[tokio::test]
async fn selectors_of_a_question_that_cannot_be_read_are_told_and_left_out() {
    let world = World::new().await;
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let asked = |field: serde_json::Value| {
        let about = json!({"verb": "list", "resource": "pods", "fieldSelector": {"requirements": field}});
        json!({"spec": {"user": "u", "resourceAttributes": about}})
    };
    let one = json!({"key": "a", "operator": "In", "values": ["x"]});
    let two = json!({"key": "a", "operator": "Odd", "values": ["x", "y"]});
    for (terms, error) in [
        (json!([one]), json!(null)),
        (json!([two]), json!("spec.resourceAttributes.fieldSelector ignored due to parse error")),
        (json!([one, two]), json!("spec.resourceAttributes.fieldSelector partially ignored due to parse error")),
    ] {
        let answer = world.post("acme", path, asked(terms)).await;
        assert_eq!((answer.code, &answer.body["status"]["evaluationError"]), (201, &error), "{}", answer.body);
    }
    let path = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    let asked = json!({"spec": {"user": "u", "nonResourceAttributes": {"path": "/x", "verb": "get"}}});
    let refused = world.post("acme", path, asked).await;
    let shown = "Invalid value: {\"Path\":\"/x\",\"Verb\":\"get\"}: disallowed on this kind of request";
    assert_eq!(refused.body["details"]["causes"][0]["message"], shown);
}
