//! Tenants and namespaces that are deleted, on the real API server: what nothing holds goes many objects a commit.

use std::collections::BTreeMap;

use arktos_core::catalog::Catalog;
use serde_json::json;

use crate::world::{World, condition, deletions};

const ROLES: &str = "clusterroles.rbac.authorization.k8s.io";

/// All resources whose objects tenants have.
fn resources() -> Vec<String> {
    let kinds = Catalog::builtin();
    let kept = kinds.kinds().filter(|kind| kind.storage && kind.can("list") && kind.can("watch"));
    kept.map(|kind| kind.storage_resource.as_str().to_owned()).collect()
}

/// What there is, by resource, of the tenants that are asked for.
fn objects_of(world: &World, asked: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<String>> {
    let of = |resource: &String| {
        let names = world.names(resource).into_iter();
        let names: Vec<String> = names.filter(|path| asked(path.split('/').next().unwrap_or_default())).collect();
        (!names.is_empty()).then(|| (resource.clone(), names))
    };
    resources().iter().filter_map(of).collect()
}

#[test]
fn watchers_see_all_that_a_tenant_had_go_and_nothing_of_others() {
    let mut world = World::on_the_road();
    for neighbour in ["acm", "acme-2", "acmee"] {
        world.create("tenants", "", "", json!({"metadata": {"name": neighbour}})).expect("created");
    }
    world.settle();
    for number in 0..200 {
        for tenant in ["acme", "acme-2"] {
            let map = json!({"metadata": {"name": format!("map-{number:03}")}});
            world.create("configmaps", tenant, "default", map).expect("created");
        }
        let spec = json!({"ports": [{"port": 80, "nodePort": 30_100 + number}], "type": "NodePort"});
        let service = json!({"metadata": {"name": format!("web-{number:03}")}, "spec": spec});
        world.create("services", "acme", "default", service).expect("created");
    }
    world.settle();
    let is_neighbour = |tenant: &str| !["acme", ""].contains(&tenant);
    let (had, others) = (objects_of(&world, |it| it == "acme"), objects_of(&world, is_neighbour));
    assert!(had["configmaps"].len() > 200 && had["services"].len() > 200 && others["configmaps"].len() > 200);
    let mut watches: Vec<_> = resources().into_iter().map(|it| (world.watch(&it), it)).collect();
    world.delete("tenants", "//acme", None);
    world.pass(60);
    assert_eq!(world.find("tenants", "//acme"), None);
    for (watch, resource) in &mut watches {
        let (mut gone, mut expected) = (deletions(watch), had.get(resource).cloned().unwrap_or_default());
        if resource == "tenants" {
            expected.push("//acme".to_owned());
        }
        gone.retain(|path| resource != "events" || !path.starts_with("system/"));
        gone.sort();
        assert_eq!(gone, expected, "{resource}");
    }
    assert_eq!(objects_of(&world, |it| it == "acme"), BTreeMap::new());
    assert_eq!(objects_of(&world, is_neighbour), others);

    world.create("tenants", "", "", json!({"metadata": {"name": "acme"}})).expect("created");
    world.settle();
    let spec = json!({"ports": [{"port": 80, "nodePort": 30_299}], "type": "NodePort"});
    let service = json!({"metadata": {"name": "web"}, "spec": spec});
    world.create("services", "acme", "default", service).expect("the ports are free");
}

#[test]
fn while_something_in_its_namespaces_is_held_a_tenant_keeps_what_is_outside_them() {
    let mut world = World::on_the_road();
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    world.create("configmaps", "acme", "kube-public", held).expect("created");
    world.create("configmaps", "acme", "kube-public", json!({"metadata": {"name": "free"}})).expect("created");
    world.delete("tenants", "//acme", None);
    world.pass(60);
    assert!(world.find("configmaps", "acme/kube-public/free").is_none());
    assert!(world.find("configmaps", "acme/kube-public/held").is_some());
    assert!(world.find(ROLES, "acme//admin-role").is_some(), "whoever is to take the finalizer away has a role");
    let remaining = condition(&world.get("tenants", "//acme"), "TenantContentRemaining");
    assert_eq!(
        remaining["message"],
        "Some resources are remaining: namespaces. has 1 resource instances; namespace kube-public: Some content in the \
         namespace has finalizers remaining: example.com/hold in 1 resource instances"
    );
    world.edit("configmaps", "acme/kube-public/held", |map| map["metadata"]["finalizers"] = json!([]));
    world.pass(120);
    assert_eq!(world.find("tenants", "//acme"), None);
}

#[test]
fn a_namespace_that_somebody_else_holds_is_waited_for() {
    let mut world = World::on_the_road();
    let held = json!({"metadata": {"name": "shop", "finalizers": ["example.com/hold"]}});
    world.create("namespaces", "acme", "", held).expect("created");
    world.settle();
    world.delete("tenants", "//acme", None);
    world.pass(60);
    assert_eq!(world.get("namespaces", "acme//shop")["status"]["phase"], "Terminating");
    assert!(world.find("tenants", "//acme").is_some());
    assert!(world.find(ROLES, "acme//admin-role").is_some(), "whoever holds the namespace has a role");
    world.edit("namespaces", "acme//shop", |shop| shop["metadata"]["finalizers"] = json!([]));
    world.pass(120);
    assert_eq!(world.find("tenants", "//acme"), None);
}

#[test]
fn what_beside_pods_they_may_use_stays_while_there_are_pods() {
    let mut world = World::on_the_road();
    world.create("configmaps", "acme", "default", json!({"metadata": {"name": "settings"}})).expect("created");
    world.create("configmaps", "acme", "kube-public", json!({"metadata": {"name": "other"}})).expect("created");
    let spec = json!({"containers": [{"name": "main", "image": "x"}]});
    world.create("pods", "acme", "default", json!({"metadata": {"name": "till"}, "spec": spec})).expect("created");
    world.run_pods();
    world.delete("tenants", "//acme", None);
    world.settle();
    assert!(world.find("pods", "acme/default/till").is_some());
    assert!(world.find("configmaps", "acme/default/settings").is_some());
    assert!(world.find("configmaps", "acme/kube-public/other").is_none());
    for _ in 0..20 {
        world.run_pods();
        world.pass(5);
    }
    assert_eq!(world.find("tenants", "//acme"), None);
}

#[test]
fn whom_a_tenant_has_asked_about_deletions_is_asked_about_each() {
    let mut world = World::on_the_road();
    world.create("namespaces", "acme", "", json!({"metadata": {"name": "shop"}})).expect("created");
    world.settle();
    for name in ["kept", "let-go"] {
        world.create("configmaps", "acme", "shop", json!({"metadata": {"name": name}})).expect("created");
    }
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]});
    let group = "admissionregistration.k8s.io/v1";
    let policy = json!({"kind": "ValidatingAdmissionPolicy", "apiVersion": group, "metadata": {"name": "keep"}, "spec": {
        "failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "oldObject.metadata.name != 'kept'"}]}});
    let spec = json!({"policyName": "keep", "validationActions": ["Deny"]});
    let binding = json!({"kind": "ValidatingAdmissionPolicyBinding", "apiVersion": group,
        "metadata": {"name": "keep"}, "spec": spec});
    let of = |what: &str| format!("validatingadmission{what}.admissionregistration.k8s.io");
    world.create(&of("policies"), "acme", "", policy).expect("created");
    world.create(&of("policybindings"), "acme", "", binding).expect("created");
    world.delete("namespaces", "acme//shop", None);
    world.pass(30);
    assert!(world.find("configmaps", "acme/shop/let-go").is_none());
    assert!(world.find("configmaps", "acme/shop/kept").is_some());
    let failure = condition(&world.get("namespaces", "acme//shop"), "NamespaceDeletionContentFailure");
    assert_eq!(failure["status"], "True");
    world.delete(&of("policybindings"), "acme//keep", None);
    world.pass(120);
    assert_eq!(world.find("namespaces", "acme//shop"), None);
}

/// Whatever a tenant refuses of its deletion, its conditions say so.
#[test]
fn what_a_tenant_refuses_of_its_own_deletion_is_said() {
    let mut world = World::on_the_road();
    world.create("namespaces", "acme", "", json!({"metadata": {"name": "shop"}})).expect("created");
    world.settle();
    world.create("configmaps", "acme", "shop", json!({"metadata": {"name": "kept"}})).expect("created");
    let group = "admissionregistration.k8s.io/v1";
    let of = |what: &str| format!("validatingadmission{what}.admissionregistration.k8s.io");
    // One that refuses whatever becomes of namespaces, and one that keeps what is in them.
    for (name, operations, resources) in [
        ("stay", json!(["UPDATE", "DELETE"]), json!(["namespaces", "namespaces/*"])),
        ("keep", json!(["DELETE"]), json!(["configmaps"])),
    ] {
        let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": resources});
        let validations = json!([{"expression": "false", "message": format!("as {name} has it")}]);
        let policy = json!({"kind": "ValidatingAdmissionPolicy", "apiVersion": group, "metadata": {"name": name},
            "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": validations}});
        let spec = json!({"policyName": name, "validationActions": ["Deny"]});
        let binding = json!({"kind": "ValidatingAdmissionPolicyBinding", "apiVersion": group,
            "metadata": {"name": name}, "spec": spec});
        world.create(&of("policies"), "acme", "", policy).expect("created");
        world.create(&of("policybindings"), "acme", "", binding).expect("created");
    }
    world.delete("tenants", "//acme", None);
    world.pass(60);
    let failure = condition(&world.get("tenants", "//acme"), "TenantDeletionContentFailure");
    assert_eq!(failure["status"], "True");
    let message = failure["message"].as_str().expect("a text");
    assert!(message.contains("namespace shop:") && message.contains("as stay has it"), "{message}");
    // That one gone, it is what is in the namespace; which the namespace could be told to say.
    let rule =
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["namespaces/*"]});
    world.edit(&of("policies"), "acme//stay", |policy| {
        policy["spec"]["matchConstraints"]["resourceRules"] = json!([rule]);
    });
    world.pass(120);
    let said = world.get("tenants", "//acme");
    let remaining = condition(&said, "TenantContentRemaining");
    let message = remaining["message"].as_str().expect("a text");
    assert!(message.contains("namespace shop:") && message.contains("as keep has it"), "{said}");
    world.delete(&of("policybindings"), "acme//keep", None);
    world.pass(180);
    assert_eq!(world.find("tenants", "//acme"), None);
}
