//! Namespaces: what each of them has, and that all of it goes with them.

use arktos_core::{Reason, Status};
use serde_json::json;

use crate::world::{World, condition};

#[test]
fn every_namespace_gets_an_account_and_the_root_certificate() {
    let mut world = World::new("serviceaccount,root-ca-certificate-publisher");
    assert!(world.find("serviceaccounts", "acme/default/default").is_some());
    let map = world.get("configmaps", "acme/default/kube-root-ca.crt");
    assert_eq!(map["data"]["ca.crt"], "-----BEGIN CERTIFICATE-----");
    world.delete("serviceaccounts", "acme/default/default", None);
    world.edit("configmaps", "acme/default/kube-root-ca.crt", |map| map["data"]["ca.crt"] = json!("forged"));
    world.settle();
    assert!(world.find("serviceaccounts", "acme/default/default").is_some(), "it is made anew");
    assert_eq!(
        world.get("configmaps", "acme/default/kube-root-ca.crt")["data"]["ca.crt"],
        "-----BEGIN CERTIFICATE-----"
    );
}

#[test]
fn a_namespace_goes_with_everything_in_it() {
    let mut world = World::new("namespace,serviceaccount,root-ca-certificate-publisher");
    world.create("namespaces", "acme", "", json!({"metadata": {"name": "shop"}})).expect("created");
    world.settle();
    world.create("configmaps", "acme", "shop", json!({"metadata": {"name": "settings"}})).expect("created");
    world.create("pods", "acme", "shop", json!({"metadata": {"name": "till"}, "spec": {}})).expect("created");
    world.run_pods();
    world.delete("namespaces", "acme//shop", None);
    world.settle();
    let shop = world.get("namespaces", "acme//shop");
    assert_eq!(shop["status"]["phase"], "Terminating");
    let remaining = condition(&shop, "NamespaceContentRemaining");
    assert_eq!(remaining["message"], "Some resources are remaining: pods. has 1 resource instances");
    assert!(world.find("configmaps", "acme/shop/settings").is_some(), "pods go first");
    world.run_pods();
    assert_eq!(world.find("namespaces", "acme//shop"), None);
    let left: Vec<String> = ["configmaps", "serviceaccounts", "pods", "events"]
        .iter()
        .flat_map(|resource| world.names(resource))
        .filter(|path| path.starts_with("acme/shop/"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    assert!(world.find("serviceaccounts", "acme/default/default").is_some(), "other namespaces keep theirs");
}

#[test]
fn a_finalizer_holds_the_namespace_and_is_named() {
    let mut world = World::new("namespace");
    world.create("namespaces", "acme", "", json!({"metadata": {"name": "shop"}})).expect("created");
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    world.create("configmaps", "acme", "shop", held).expect("created");
    world.delete("namespaces", "acme//shop", None);
    world.pass(30);
    let shop = world.get("namespaces", "acme//shop");
    let finalizers = condition(&shop, "NamespaceFinalizersRemaining");
    assert_eq!(finalizers["status"], "True");
    assert_eq!(
        finalizers["message"],
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    );
    world.edit("configmaps", "acme/shop/held", |map| map["metadata"]["finalizers"] = json!([]));
    world.pass(60);
    assert_eq!(world.find("namespaces", "acme//shop"), None);
}

#[test]
fn a_kind_that_cannot_be_listed_holds_the_namespace() {
    let mut world = World::new("namespace");
    world.create("namespaces", "acme", "", json!({"metadata": {"name": "shop"}})).expect("created");
    world.api.fail("list", "endpoints", Status::failure(Reason::ServiceUnavailable, "not now"));
    world.delete("namespaces", "acme//shop", None);
    world.pass(30);
    let failure = condition(&world.get("namespaces", "acme//shop"), "NamespaceDeletionContentFailure");
    assert_eq!((&failure["status"], &failure["reason"]), (&json!("True"), &json!("ContentDeletionFailed")));
    world.api.heal();
    world.pass(60);
    assert_eq!(world.find("namespaces", "acme//shop"), None);
}
