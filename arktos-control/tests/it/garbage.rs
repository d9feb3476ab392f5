//! Garbage: what is owned goes with its last owner, and only then.

use arktos_core::{Reason, Status};
use arktos_store::client::Propagation;
use serde_json::{Value, json};

use crate::world::{World, deployment};

fn owned(name: &str, owner: &Value, kind: &str, block: bool) -> Value {
    let reference = json!({
        "apiVersion": "v1", "kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": block,
    });
    json!({"metadata": {"name": name, "ownerReferences": [reference]}})
}

fn world() -> (World, Value) {
    let mut world = World::new("garbage-collector");
    let owner = world.create("configmaps", "acme", "default", json!({"metadata": {"name": "owner"}})).expect("created");
    (world, owner)
}

#[test]
fn a_deployment_that_is_deleted_takes_its_pods_along() {
    let mut world = World::new("deployment,replicaset,garbage-collector");
    world.create("deployments.apps", "acme", "default", deployment(3, "web:1")).expect("created");
    world.run_pods();
    assert_eq!(world.names("pods").len(), 3);
    world.delete("deployments.apps", "acme/default/web", Some(Propagation::Background));
    world.run_pods();
    assert_eq!(world.names("replicasets.apps"), Vec::<String>::new());
    assert_eq!(world.names("pods"), Vec::<String>::new());
}

#[test]
fn in_the_foreground_the_owner_goes_last() {
    let mut world = World::new("deployment,replicaset,garbage-collector");
    world.create("deployments.apps", "acme", "default", deployment(3, "web:1")).expect("created");
    world.run_pods();
    world.delete("deployments.apps", "acme/default/web", Some(Propagation::Foreground));
    world.settle();
    assert!(world.find("deployments.apps", "acme/default/web").is_some(), "its pods are still going");
    assert_eq!(world.names("replicasets.apps").len(), 1);
    assert!(
        world
            .list("pods", arktos_store::Within::Everywhere)
            .iter()
            .all(|pod| pod["metadata"].get("deletionTimestamp").is_some())
    );
    world.run_pods();
    assert_eq!(world.names("deployments.apps"), Vec::<String>::new());
    assert_eq!(world.names("replicasets.apps"), Vec::<String>::new());
    assert_eq!(world.names("pods"), Vec::<String>::new());
}

#[test]
fn orphans_lose_their_owner_and_stay() {
    let mut world = World::new("deployment,replicaset,garbage-collector");
    world.create("deployments.apps", "acme", "default", deployment(2, "web:1")).expect("created");
    world.run_pods();
    world.delete("deployments.apps", "acme/default/web", Some(Propagation::Orphan));
    world.run_pods();
    assert_eq!(world.names("deployments.apps"), Vec::<String>::new());
    let sets = world.list("replicasets.apps", arktos_store::Within::Everywhere);
    assert_eq!(sets.len(), 1);
    assert_eq!(sets[0]["metadata"].get("ownerReferences"), None);
    assert_eq!(world.names("pods").len(), 2);
}

#[test]
fn an_object_of_an_owner_that_never_was_is_garbage() {
    let (mut world, mut owner) = world();
    owner["metadata"]["uid"] = json!("another");
    world.create("configmaps", "acme", "default", owned("child", &owner, "ConfigMap", false)).expect("created");
    world.settle();
    assert_eq!(world.find("configmaps", "acme/default/child"), None, "the uid counts, not the name");
}

#[test]
fn the_last_owner_counts() {
    let (mut world, owner) = world();
    let other = world.create("configmaps", "acme", "default", json!({"metadata": {"name": "other"}})).expect("created");
    let mut child = owned("child", &owner, "ConfigMap", false);
    let second = owned("child", &other, "ConfigMap", false)["metadata"]["ownerReferences"][0].clone();
    child["metadata"]["ownerReferences"].as_array_mut().expect("a list").push(second);
    world.create("configmaps", "acme", "default", child).expect("created");
    world.settle();
    world.delete("configmaps", "acme/default/owner", None);
    world.settle();
    let left = world.get("configmaps", "acme/default/child");
    assert_eq!(left["metadata"]["ownerReferences"].as_array().map(Vec::len), Some(1));
    world.delete("configmaps", "acme/default/other", None);
    world.settle();
    assert_eq!(world.find("configmaps", "acme/default/child"), None);
}

#[test]
fn nothing_is_deleted_while_the_owner_cannot_be_asked_for() {
    let (mut world, mut owner) = world();
    owner["metadata"]["uid"] = json!("another");
    world.api.fail("get", "configmaps", Status::failure(Reason::ServiceUnavailable, "not now"));
    world.create("pods", "acme", "default", owned("child", &owner, "ConfigMap", false)).expect("created");
    world.pass(60);
    assert!(world.find("pods", "acme/default/child").is_some(), "unreachable is not gone");
    world.api.heal();
    world.pass(120);
    assert_eq!(world.find("pods", "acme/default/child"), None);
}

#[test]
fn owners_of_other_tenants_own_nothing() {
    let (mut world, owner) = world();
    world.create("tenants", "", "", json!({"metadata": {"name": "rival"}})).expect("created");
    world.create("namespaces", "rival", "", json!({"metadata": {"name": "default"}})).expect("created");
    let same_name = json!({"metadata": {"name": "owner"}});
    world.create("configmaps", "rival", "default", same_name).expect("created");
    // The rival's object names an owner by the uid of acme's.
    world.create("configmaps", "rival", "default", owned("spy", &owner, "ConfigMap", true)).expect("created");
    world.settle();
    assert_eq!(world.find("configmaps", "rival/default/spy"), None, "in its own tenant there is no such owner");
    world.delete("configmaps", "acme/default/owner", Some(Propagation::Foreground));
    world.settle();
    assert_eq!(world.find("configmaps", "acme/default/owner"), None, "nobody else holds it up");
}

#[test]
fn an_owner_in_another_namespace_is_none_and_said_so() {
    let (mut world, owner) = world();
    world.create("namespaces", "acme", "", json!({"metadata": {"name": "shop"}})).expect("created");
    world.settle();
    world.create("configmaps", "acme", "shop", owned("child", &owner, "ConfigMap", false)).expect("created");
    world.settle();
    assert_eq!(world.find("configmaps", "acme/shop/child"), None);
    let uid = owner["metadata"]["uid"].as_str().expect("a uid");
    let expected = format!(
        "ownerRef [v1/ConfigMap, namespace: shop, name: owner, uid: {uid}] does not exist in namespace \"shop\""
    );
    assert_eq!(world.events("OwnerRefInvalidNamespace"), [expected]);
}

#[test]
fn what_owns_itself_in_a_circle_goes_when_it_is_deleted() {
    let (mut world, owner) = world();
    let child =
        world.create("configmaps", "acme", "default", owned("child", &owner, "ConfigMap", true)).expect("created");
    let back = owned("owner", &child, "ConfigMap", true)["metadata"]["ownerReferences"].clone();
    world.edit("configmaps", "acme/default/owner", |owner| owner["metadata"]["ownerReferences"] = back);
    world.settle();
    world.delete("configmaps", "acme/default/owner", Some(Propagation::Foreground));
    world.pass(30);
    assert_eq!(world.names("configmaps"), Vec::<String>::new());
}

#[test]
fn what_belongs_to_a_host_is_not_garbage_where_hosts_are_not_kept() {
    let (mut world, _) = world();
    let node = json!({"metadata": {"name": "node-1", "uid": "n"}});
    world.create("pods", "acme", "default", owned("mirror", &node, "Node", false)).expect("created");
    world.pass(30);
    assert!(world.find("pods", "acme/default/mirror").is_some());
}

#[test]
fn kinds_that_come_later_are_collected_too() {
    let mut world = World::with_kinds("garbage-collector", &["configmaps", "services"]);
    let owner = world.create("configmaps", "acme", "default", json!({"metadata": {"name": "owner"}})).expect("created");
    for name in ["first", "second"] {
        let child = owned(name, &owner, "ConfigMap", false);
        world.create("jobs.batch", "acme", "default", child).expect("created");
    }
    world.delete("configmaps", "acme/default/owner", None);
    world.settle();
    assert_eq!(world.names("jobs.batch").len(), 2, "nobody knows of jobs yet");
    world.set_kinds(&["configmaps", "services", "jobs.batch"]);
    world.pass(5);
    assert_eq!(world.names("jobs.batch"), Vec::<String>::new());
    world.set_kinds(&["configmaps", "services"]);
    world.settle();
    world.create("jobs.batch", "acme", "default", owned("third", &owner, "ConfigMap", false)).expect("created");
    world.settle();
    assert_eq!(world.names("jobs.batch").len(), 1);
}

fn definition(plural: &str, kind: &str, scope: &str) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.gc.example.com")},
        "spec": {
            "group": "gc.example.com", "scope": scope,
            "names": {"plural": plural, "singular": plural, "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    })
}

/// A world in which `acme` has widgets in namespaces, one of which owns a config map, and that knows no kinds of
/// tenants yet.
fn with_widget() -> World {
    let mut world = World::on_the_road();
    world.create("tenants", "", "", json!({"metadata": {"name": "umbra"}})).expect("a tenant");
    world.settle();
    const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
    world.create(DEFINITIONS, "acme", "", definition("widgets", "Widget", "Namespaced")).expect("defined");
    let widget = json!({"apiVersion": "gc.example.com/v1", "kind": "Widget", "metadata": {"name": "owner"}});
    let owner = world.create("widgets.gc.example.com", "acme", "default", widget).expect("created");
    let mut child = owned("child", &owner, "Widget", false);
    child["metadata"]["ownerReferences"][0]["apiVersion"] = json!("gc.example.com/v1");
    child["apiVersion"] = json!("v1");
    child["kind"] = json!("ConfigMap");
    world.create("configmaps", "acme", "default", child).expect("created");
    world
}

#[test]
fn what_another_tenant_defines_deletes_nothing() {
    let own = ("widgets.gc.example.com", "Widget", arktos_core::Scope::Namespace);
    // The same resource with another scope, and the same kind under another resource.
    let others = [
        ("widgets.gc.example.com", "Widget", arktos_core::Scope::Tenant),
        ("aaas.gc.example.com", "Widget", arktos_core::Scope::Namespace),
    ];
    for other in others {
        for known in [vec![other], vec![other, own], vec![own, other]] {
            let mut world = with_widget();
            world.define_kinds(&known);
            world.pass(5);
            assert!(world.find("configmaps", "acme/default/child").is_some(), "{known:?}");
            world.delete("widgets.gc.example.com", "acme/default/owner", None);
            world.pass(5);
            let left = world.find("configmaps", "acme/default/child").is_some();
            assert_eq!(left, known.len() == 1, "it goes with its owner where its kind is known: {known:?}");
        }
    }
}

#[test]
fn an_owner_of_a_kind_that_the_tenant_does_not_have_is_not_missing() {
    let mut world = with_widget();
    world.define_kinds(&[("widgets.gc.example.com", "Widget", arktos_core::Scope::Namespace)]);
    world.settle();
    let owner = json!({"metadata": {"name": "never", "uid": "never"}});
    let mut child = owned("stranger", &owner, "Widget", false);
    child["metadata"]["ownerReferences"][0]["apiVersion"] = json!("gc.example.com/v1");
    for tenant in ["acme", "umbra"] {
        let mut child = child.clone();
        child["apiVersion"] = json!("v1");
        child["kind"] = json!("ConfigMap");
        world.create("configmaps", tenant, "default", child).expect("created");
    }
    world.pass(5);
    assert_eq!(world.find("configmaps", "acme/default/stranger"), None, "acme knows that there is no such widget");
    assert!(world.find("configmaps", "umbra/default/stranger").is_some(), "umbra has no widgets");
}
