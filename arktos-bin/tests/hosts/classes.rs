//! What says what is installed on hosts: the region's classes, and no tenant's.

use std::collections::BTreeSet;

use arktos_api::Identity;
use arktos_core::GroupResource;
use serde_json::{Value, json};

use crate::world::{World, names, next, object, runtime, until};

fn class(name: &str, handler: &str) -> Value {
    json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": handler})
}

fn driver(name: &str) -> Value {
    let spec = json!({"podInfoOnMount": true, "attachRequired": false});
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": name}, "spec": spec})
}

const PATH: &str = "/apis/node.k8s.io/v1/runtimeclasses";
const DRIVERS: &str = "/apis/storage.k8s.io/v1/csidrivers";

#[test]
fn a_host_is_shown_the_classes_of_the_region_wherever_they_were_made() {
    runtime().block_on(async {
        let world = World::new().await;
        let classes = GroupResource::new("node.k8s.io", "runtimeclasses");
        let drivers = GroupResource::new("storage.k8s.io", "csidrivers");
        let here = world.manager.api().client(Identity::system_component("test"));
        here.create(&classes, "system", "", object(class("own", "one"))).await.expect("created");
        world.there.create(&classes, "system", "", object(class("region", "two"))).await.expect("created");
        world.there.create(&drivers, "system", "", object(driver("d.example"))).await.expect("created");
        // What tenants say of hosts is theirs alone: it would hold for the pods of others, too.
        for (tenant, handler) in [("acme", "three"), ("globex", "four")] {
            for name in ["region", "mine"] {
                world.there.create(&classes, tenant, "", object(class(name, handler))).await.expect("created");
            }
            world.there.create(&drivers, tenant, "", object(driver("mine.example"))).await.expect("created");
        }
        world.pod("acme", "a", "n1", json!({})).await;

        let all = |of: &[&str]| of.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        until("the classes", async || names(&world.get("n1", PATH).await.body) == all(&["own", "region"])).await;
        until("the drivers", async || names(&world.get("n1", DRIVERS).await.body) == all(&["d.example"])).await;
        let found = world.get("n1", &format!("{PATH}/region")).await;
        assert_eq!((found.code, &found.body["handler"]), (200, &json!("two")), "{}", found.body);
        assert_eq!(world.get("n1", &format!("{PATH}/mine")).await.code, 404);
        let found = world.get("n1", &format!("{DRIVERS}/d.example")).await;
        assert_eq!(found.body["spec"]["podInfoOnMount"], json!(true), "{}", found.body);

        let mut events = world.watch("n1", &format!("{PATH}?watch=1&fieldSelector=metadata.name%3Dlate")).await;
        world.there.create(&classes, "acme", "", object(class("late", "three"))).await.expect("created");
        world.there.create(&classes, "system", "", object(class("late", "five"))).await.expect("created");
        let (kind, late) = next(&mut events).await;
        assert_eq!((kind.as_str(), &late["handler"]), ("ADDED", &json!("five")), "{late}");
        world.stop().await;
    });
}
