//! Quotas: what is used is counted, and what goes is given back.

use serde_json::json;

use crate::world::World;

fn used(world: &World) -> serde_json::Value {
    world.get("resourcequotas", "acme/default/q")["status"]["used"].clone()
}

#[test]
fn a_quota_counts_what_is_there_and_gives_back_what_goes() {
    let mut world = World::new("resourcequota");
    world.create("configmaps", "acme", "default", json!({"metadata": {"name": "a"}})).expect("created");
    world.create("configmaps", "acme", "default", json!({"metadata": {"name": "b"}})).expect("created");
    let asks = json!([{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]);
    for name in ["p", "r"] {
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": asks}});
        world.create("pods", "acme", "default", pod).expect("created");
    }
    let hard =
        json!({"configmaps": "5", "requests.cpu": "1", "pods": "5", "count/secrets": "1", "example.com/odd": "1"});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    world.create("resourcequotas", "acme", "default", quota).expect("created");
    world.settle();
    assert_eq!(used(&world), json!({"configmaps": "2", "requests.cpu": "200m", "pods": "2", "count/secrets": "0"}));
    assert_eq!(world.get("resourcequotas", "acme/default/q")["status"]["hard"], hard);
    world.delete("configmaps", "acme/default/a", None);
    world.set_pod("acme/default/p", "Succeeded", false);
    world.settle();
    assert_eq!(used(&world), json!({"configmaps": "1", "requests.cpu": "100m", "pods": "1", "count/secrets": "0"}));
}

#[test]
fn a_tenants_quota_counts_in_all_its_namespaces_and_outside_of_them() {
    let mut world = World::on_the_road();
    for namespace in ["default", "kube-public"] {
        let object = json!({"metadata": {"name": "a"}, "data": {}});
        world.create("secrets", "acme", namespace, object).expect("created");
    }
    let hard = json!({"count/secrets": "3", "count/namespaces": "4", "pods": "9"});
    let quota = json!({"metadata": {"name": "acme"}, "spec": {"hard": hard}});
    world.create("tenantquotas.region.arktos.io", "", "", quota).expect("created");
    world.settle();
    let used = |world: &World| world.get("tenantquotas.region.arktos.io", "//acme")["status"]["used"].clone();
    assert_eq!(used(&world), json!({"count/secrets": "2", "count/namespaces": "3", "pods": "0"}));
    world.create("secrets", "acme", "default", json!({"metadata": {"name": "b"}})).expect("created");
    let refused = world.create("secrets", "acme", "kube-public", json!({"metadata": {"name": "b"}}));
    assert!(refused.expect_err("too many").message.contains("exceeded quota: TenantQuota acme"));
    world.delete("secrets", "acme/default/a", None);
    world.pass(2);
    assert_eq!(used(&world)["count/secrets"], "2");
    world.create("secrets", "acme", "kube-public", json!({"metadata": {"name": "b"}})).expect("created");
}

#[test]
fn a_pod_that_is_given_a_deadline_moves_from_one_scope_to_the_other() {
    let mut world = World::on_the_road();
    let selects = |scope: &str| json!({"matchExpressions": [{"scopeName": scope, "operator": "Exists"}]});
    for (name, scope) in [("ending", "Terminating"), ("lasting", "NotTerminating")] {
        let spec = json!({"hard": {"pods": "1"}, "scopeSelector": selects(scope)});
        let quota = json!({"metadata": {"name": name}, "spec": spec});
        world.create("resourcequotas", "acme", "default", quota).expect("created");
    }
    world.settle();
    let pod = |name: &str, deadline: Option<u32>| {
        let containers = json!([{"name": "c", "image": "c:1"}]);
        json!({"metadata": {"name": name}, "spec": {"containers": containers, "activeDeadlineSeconds": deadline}})
    };
    world.create("pods", "acme", "default", pod("p", None)).expect("created");
    let used = |world: &World, name: &str| {
        world.get("resourcequotas", &format!("acme/default/{name}"))["status"]["used"]["pods"].clone()
    };
    assert_eq!((used(&world, "ending"), used(&world, "lasting")), (json!("0"), json!("1")));
    world.edit("pods", "acme/default/p", |pod| pod["spec"]["activeDeadlineSeconds"] = json!(3600));
    let refused = world.create("pods", "acme", "default", pod("q", Some(3600)));
    assert!(refused.expect_err("too many").message.contains("exceeded quota: ending"));
    world.settle();
    assert_eq!((used(&world, "ending"), used(&world, "lasting")), (json!("1"), json!("0")));
}

#[test]
fn a_charge_alone_brings_no_count_and_a_new_limit_does() {
    let mut world = World::new("resourcequota");
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "5"}}});
    world.create("resourcequotas", "acme", "default", quota).expect("created");
    world.settle();
    world.edit_status("resourcequotas", "acme/default/q", |quota| quota["status"]["used"]["configmaps"] = json!("3"));
    world.settle();
    assert_eq!(used(&world), json!({"configmaps": "3"}), "as the API has charged it");
    world.edit("resourcequotas", "acme/default/q", |quota| quota["spec"]["hard"] = json!({"configmaps": "6"}));
    world.settle();
    assert_eq!(used(&world), json!({"configmaps": "0"}));
}
