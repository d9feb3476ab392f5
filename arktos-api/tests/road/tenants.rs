//! Two tenants with the same names do not see or touch each other, whatever the path.

use arktos_core::{GroupResource, TenantName};
use arktos_store::Within;
use serde_json::json;

use crate::{MAPS, World, map};

#[tokio::test]
async fn the_same_name_in_two_tenants_is_two_objects() {
    let world = World::new().await;
    assert_eq!(world.post("acme", MAPS, map("shared")).await.code, 201);
    assert_eq!(world.get("umbra", &format!("{MAPS}/shared")).await.code, 404);
    let mut other = map("shared");
    other["data"]["a"] = json!("2");
    assert_eq!(world.post("umbra", MAPS, other).await.code, 201);
    for (token, value) in [("acme", "1"), ("umbra", "2")] {
        assert_eq!(world.get(token, &format!("{MAPS}/shared")).await.body["data"]["a"], value);
        let list = world.get(token, "/api/v1/configmaps").await;
        assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
    }
    assert_eq!(world.delete("umbra", &format!("{MAPS}/shared")).await.code, 200);
    assert_eq!(world.get("acme", &format!("{MAPS}/shared")).await.code, 200);
}

#[tokio::test]
async fn all_three_forms_of_a_path_lead_to_one_object_and_show_the_tenant_as_they_should() {
    let world = World::new().await;
    world.post("acme", MAPS, map("web")).await;
    let paths = [
        ("/api/v1/namespaces/default/configmaps/web", json!("acme")),
        ("/api/v1/tenants/acme/namespaces/default/configmaps/web", json!("acme")),
        ("/tenants/acme/api/v1/namespaces/default/configmaps/web", json!(null)),
    ];
    let uid = world.get("acme", paths[0].0).await.body["metadata"]["uid"].clone();
    for (path, tenant) in paths.clone() {
        let found = world.get("acme", path).await;
        assert_eq!((found.code, &found.body["metadata"]["uid"]), (200, &uid), "{path}");
        assert_eq!(found.body["metadata"]["tenant"], tenant, "{path}");
    }
    for path in [paths[1].0, paths[2].0] {
        let refused = world.get("umbra", path).await;
        assert_eq!(refused.code, 403, "{path}");
        let text = refused.body["message"].as_str().unwrap();
        assert!(text.contains("User \"uma\" cannot get resource \"configmaps\""), "{text}");
        assert!(text.contains("in the tenant \"acme\""), "{text}");
        // What does not exist is refused in the same words.
        let missing = world.get("umbra", &path.replace("web", "nil")).await;
        assert_eq!(missing.body["message"].as_str().unwrap().replace("nil", "web"), text);
    }
}

#[tokio::test]
async fn what_another_tenant_serves_is_not_shown() {
    let world = World::new().await;
    for path in ["/apis", "/api/v1", "/version", "/openapi/v3"] {
        assert_eq!(world.get("acme", &format!("/tenants/acme{path}")).await.code, 200, "{path}");
        assert_eq!(world.get("root", &format!("/tenants/acme{path}")).await.code, 200, "{path}");
        assert_eq!(world.get("umbra", &format!("/tenants/acme{path}")).await.code, 403, "{path}");
    }
    let shown = world.get("acme", "/api/v1").await.body["resources"].to_string();
    assert!(shown.contains("\"pods\"") && !shown.contains("\"nodes\"") && !shown.contains("\"tenants\""));
}

#[tokio::test]
async fn only_system_looks_across_tenants() {
    let world = World::new().await;
    world.post("acme", MAPS, map("a")).await;
    world.post("umbra", MAPS, map("b")).await;
    let all = world.get("root", "/api/v1/tenants/all/configmaps").await;
    assert_eq!(all.code, 200);
    let tenants: Vec<&str> =
        all.body["items"].as_array().unwrap().iter().map(|item| item["metadata"]["tenant"].as_str().unwrap()).collect();
    assert_eq!(tenants, ["acme", "umbra"]);
    assert_eq!(world.get("acme", "/api/v1/tenants/all/configmaps").await.code, 403);
    assert_eq!(world.get("root", "/tenants/acme/api/v1/namespaces/default/configmaps/a").await.code, 200);
    assert_eq!(world.post("root", "/api/v1/tenants/all/namespaces/default/configmaps", map("x")).await.code, 400);
}

#[tokio::test]
async fn a_rule_for_one_resource_in_system_is_none_for_everybodys() {
    let world = World::new().await;
    world.post("acme", MAPS, map("a")).await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]);
    let role = json!({"metadata": {"name": "maps"}, "rules": rules});
    assert_eq!(world.post("root", &format!("{rbac}/clusterroles"), role).await.code, 201);
    let subjects = json!([{"kind": "User", "name": "viv", "apiGroup": "rbac.authorization.k8s.io"}]);
    let role = json!({"kind": "ClusterRole", "name": "maps", "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"name": "maps"}, "subjects": subjects, "roleRef": role});
    assert_eq!(world.post("root", &format!("{rbac}/clusterrolebindings"), binding).await.code, 201);
    assert_eq!(world.get("viv", "/api/v1/configmaps").await.code, 200, "system's own");
    assert_eq!(world.get("viv", "/api/v1/tenants/acme/configmaps").await.code, 403);
    assert_eq!(world.get("viv", "/api/v1/tenants/all/configmaps").await.code, 403);
}

#[tokio::test]
async fn what_belongs_to_the_region_is_refused_to_tenants_by_rule() {
    let world = World::new().await;
    for path in ["/api/v1/nodes", "/api/v1/tenants", "/api/v1/tenants/acme", "/apis/region.arktos.io/v1/claims"] {
        assert_eq!(world.get("acme", path).await.code, 403, "{path}");
        assert_eq!(world.get("root", path).await.code, 200, "{path}");
    }
    assert_eq!(world.get("acme", "/tenants/acme/api/v1/nodes").await.code, 403);
    assert_eq!(world.delete("acme", "/api/v1/tenants/umbra").await.code, 403);
}

#[tokio::test]
async fn bodies_cannot_name_another_tenant() {
    let world = World::new().await;
    let mut body = map("web");
    body["metadata"]["tenant"] = json!("umbra");
    let refused = world.post("acme", MAPS, body.clone()).await;
    assert_eq!(refused.code, 400);
    let text = "the tenant of the provided object does not match the tenant sent on the request";
    assert_eq!(refused.body["message"], text);
    body["metadata"]["tenant"] = json!("acme");
    let made = world.post("acme", &format!("{MAPS}?fieldValidation=Strict"), body).await;
    assert_eq!(made.code, 201, "{:?}", made.body);
}

#[tokio::test]
async fn tenants_that_are_not_there_or_end_take_nothing_new() {
    let world = World::new().await;
    let missing = world.post("root", "/api/v1/tenants/nobody/namespaces/default/configmaps", map("a")).await;
    assert_eq!((missing.code, missing.body["message"].as_str()), (404, Some("tenants \"nobody\" not found")));
    assert_eq!(world.delete("root", "/api/v1/tenants/system").await.code, 403);
    let ending = world.delete("root", "/api/v1/tenants/acme").await;
    assert_eq!(ending.code, 200);
    assert_eq!(ending.body["status"]["phase"], "Terminating");
    let refused = world.post("acme", MAPS, map("a")).await;
    assert_eq!(refused.code, 403);
    let text = refused.body["message"].as_str().unwrap();
    assert!(text.contains("unable to create new content in tenant acme because it is being terminated"), "{text}");
}

#[tokio::test]
async fn what_all_tenants_have_is_copied_for_none_that_ends_or_is_not_there() {
    let world = World::new().await;
    let role = "/apis/rbac.authorization.k8s.io/v1/tenants/acme/clusterroles/view";
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(world.delete("root", "/api/v1/tenants/acme").await.code, 200);
    let refused = world.patch("root", role, labels.clone()).await;
    assert_eq!(refused.code, 403, "{:?}", refused.body);
    assert!(refused.body["message"].as_str().unwrap().ends_with("in tenant acme because it is being terminated"));
    let missing = world.patch("root", &role.replace("acme", "nobody"), labels).await;
    assert_eq!((missing.code, &missing.body["message"]), (404, &json!("tenants \"nobody\" not found")));
    let roles = GroupResource::new("rbac.authorization.k8s.io", "clusterroles");
    for tenant in ["acme", "nobody"] {
        let within = Within::Tenant(TenantName::new(tenant).unwrap());
        assert_eq!(world.engine.snapshot().count(&roles, &within), 0, "nothing would clear it away");
    }
}

#[tokio::test]
async fn every_tenant_sees_the_flow_schemas_that_upstream_has_from_the_start() {
    let world = World::new().await;
    let path = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
    let all = world.get("acme", path).await.body;
    let names: Vec<&str> =
        all["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "catch-all",
            "endpoint-controller",
            "exempt",
            "global-default",
            "kube-controller-manager",
            "kube-scheduler",
            "kube-system-service-accounts",
            "probes",
            "service-accounts",
            "system-leader-election",
            "system-node-high",
            "system-nodes",
            "workload-leader-election",
        ]
    );
    let probes = world.get("umbra", &format!("{path}/probes")).await.body;
    assert_eq!(probes["spec"]["priorityLevelConfiguration"]["name"], "exempt");
    assert_eq!(probes["metadata"]["annotations"]["apf.kubernetes.io/autoupdate-spec"], "true");
    assert_eq!(probes["status"]["conditions"][0]["reason"], "Found");
    // What is written back is valid, and the tenant's own from then on.
    let mut own = world.get("acme", &format!("{path}/probes")).await.body;
    own["spec"]["matchingPrecedence"] = json!(3);
    let changed = world.put("acme", &format!("{path}/probes"), own).await;
    assert_eq!(changed.code, 200, "{}", changed.body);
    assert_eq!(world.get("umbra", &format!("{path}/probes")).await.body["spec"]["matchingPrecedence"], 2);
}
