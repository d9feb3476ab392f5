//! What is kept from going while it is in use, and goes when it no longer is.

use serde_json::{Value, json};

use crate::world::World;

const CLASSES: &str = "volumeattributesclasses.storage.k8s.io";

fn class(name: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttributesClass",
        "metadata": {"name": name},
        "driverName": "example.org",
        "parameters": {"iops": "1"},
    })
}

fn claim(class: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeAttributesClassName": class,
        },
    })
}

#[test]
fn a_class_of_attributes_that_nobody_uses_goes() {
    let mut world = World::on_the_road();
    world.create(CLASSES, "acme", "", class("fast")).expect("created");
    assert_eq!(world.get(CLASSES, "acme//fast")["metadata"]["finalizers"], json!(["kubernetes.io/vac-protection"]));
    world.delete(CLASSES, "acme//fast", None);
    world.settle();
    assert_eq!(world.find(CLASSES, "acme//fast"), None);
}

#[test]
fn a_class_of_attributes_goes_with_the_last_that_uses_it() {
    let mut world = World::on_the_road();
    for name in ["fast", "next"] {
        world.create(CLASSES, "acme", "", class(name)).expect("created");
    }
    world.create("persistentvolumeclaims", "acme", "default", claim(Some("fast"))).expect("created");
    world.edit_status("persistentvolumeclaims", "acme/default/c", |claim| {
        claim["status"]["modifyVolumeStatus"] =
            json!({"status": "InProgress", "targetVolumeAttributesClassName": "next"});
    });
    world.settle();
    for name in ["fast", "next"] {
        world.delete(CLASSES, &format!("acme//{name}"), None);
    }
    world.settle();
    for name in ["fast", "next"] {
        assert!(world.find(CLASSES, &format!("acme//{name}")).is_some(), "{name} is in use");
    }
    world.edit_status("persistentvolumeclaims", "acme/default/c", |claim| {
        claim["status"]["modifyVolumeStatus"] = Value::Null;
    });
    world.settle();
    assert!(world.find(CLASSES, "acme//fast").is_some() && world.find(CLASSES, "acme//next").is_none());
    world.delete("persistentvolumeclaims", "acme/default/c", None);
    world.settle();
    assert_eq!(world.find(CLASSES, "acme//fast"), None);
}

#[test]
fn a_tenant_that_has_a_class_of_attributes_goes() {
    let mut world = World::on_the_road();
    world.create(CLASSES, "acme", "", class("fast")).expect("created");
    world.delete("tenants", "//acme", None);
    world.pass(60);
    assert_eq!(world.find("tenants", "//acme"), None);
}
