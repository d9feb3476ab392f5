//! Tenants: what a new one has, and that nothing stays of a deleted one.

use serde_json::json;

use crate::world::{World, condition};

fn with_rival() -> World {
    let mut world = World::new("*,-garbage-collector");
    world.create("tenants", "", "", json!({"metadata": {"name": "rival"}})).expect("created");
    world.settle();
    world
}

#[test]
fn a_new_tenant_is_ready_to_be_used() {
    let world = with_rival();
    let names = world.names("namespaces");
    for namespace in ["rival//default", "rival//kube-system", "rival//kube-public"] {
        assert!(names.contains(&namespace.to_owned()), "{names:?}");
        let account = format!("{}/default", namespace.replace("//", "/"));
        assert!(world.find("serviceaccounts", &account).is_some(), "{account}");
    }
    let role = world.get("clusterroles.rbac.authorization.k8s.io", "rival//admin-role");
    assert_eq!(role["rules"][0]["resources"], json!(["*"]));
    let binding = world.get("clusterrolebindings.rbac.authorization.k8s.io", "rival//admin-role-binding");
    assert_eq!(binding["subjects"][0]["name"], "admin");
    assert_eq!(binding["roleRef"]["name"], "admin-role");
    assert_eq!(world.get("tenants", "//rival")["status"]["phase"], "Active");
}

#[test]
fn what_every_tenant_has_is_made_anew() {
    let mut world = with_rival();
    world.delete("clusterrolebindings.rbac.authorization.k8s.io", "rival//admin-role-binding", None);
    world.delete("namespaces", "rival//kube-public", None);
    world.pass(30);
    assert!(world.find("clusterrolebindings.rbac.authorization.k8s.io", "rival//admin-role-binding").is_some());
    assert!(world.get("namespaces", "rival//kube-public")["metadata"].get("deletionTimestamp").is_none());
}

#[test]
fn a_deleted_tenant_takes_everything_along_and_nothing_else() {
    let mut world = with_rival();
    world.create("configmaps", "rival", "default", json!({"metadata": {"name": "secret-sauce"}})).expect("created");
    world.create("pods", "rival", "default", json!({"metadata": {"name": "till"}, "spec": {}})).expect("created");
    world.run_pods();
    world.delete("tenants", "//rival", None);
    world.settle();
    let rival = world.get("tenants", "//rival");
    assert_eq!(rival["status"]["phase"], "Terminating");
    assert_eq!(condition(&rival, "TenantContentRemaining")["status"], "True");
    for _ in 0..10 {
        world.run_pods();
        world.pass(5);
    }
    assert_eq!(world.find("tenants", "//rival"), None);
    for kind in crate::world::kinds().iter() {
        let left: Vec<String> =
            world.names(kind.resource.as_str()).into_iter().filter(|path| path.starts_with("rival/")).collect();
        assert_eq!(left, Vec::<String>::new(), "{}", kind.resource);
    }
    assert!(world.find("namespaces", "acme//default").is_some());
    assert!(world.find("clusterroles.rbac.authorization.k8s.io", "acme//admin-role").is_some());
}

#[test]
fn what_holds_a_namespace_of_a_deleted_tenant_is_said_of_the_tenant() {
    let mut world = with_rival();
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    world.create("configmaps", "rival", "kube-public", held).expect("created");
    world.delete("tenants", "//rival", None);
    world.pass(60);
    let remaining = condition(&world.get("tenants", "//rival"), "TenantContentRemaining");
    assert_eq!(
        remaining["message"],
        "Some resources are remaining: namespaces. has 1 resource instances; namespace kube-public: Some content in the \
         namespace has finalizers remaining: example.com/hold in 1 resource instances"
    );
    world.edit("configmaps", "rival/kube-public/held", |map| map["metadata"]["finalizers"] = json!([]));
    world.pass(120);
    assert_eq!(world.find("tenants", "//rival"), None);
}

#[test]
fn what_holds_a_deleted_tenant_is_said() {
    let mut world = with_rival();
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    world.create("clusterroles.rbac.authorization.k8s.io", "rival", "", held).expect("created");
    world.delete("tenants", "//rival", None);
    world.pass(60);
    let finalizers = condition(&world.get("tenants", "//rival"), "TenantFinalizersRemaining");
    assert_eq!(
        finalizers["message"],
        "Some content in the tenant has finalizers remaining: example.com/hold in 1 resource instances"
    );
    let path = "rival//held";
    world.edit("clusterroles.rbac.authorization.k8s.io", path, |role| role["metadata"]["finalizers"] = json!([]));
    world.pass(120);
    assert_eq!(world.find("tenants", "//rival"), None);
}
