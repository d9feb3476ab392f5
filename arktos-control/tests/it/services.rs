//! Services: what is behind them follows the pods.

use arktos_store::Within;
use serde_json::{Value, json};

use crate::world::World;

fn service(target: Value) -> Value {
    json!({
        "metadata": {"name": "web", "labels": {"team": "shop"}},
        "spec": {
            "clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"], "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": target, "protocol": "TCP"}],
        },
    })
}

fn pod(name: &str) -> Value {
    let ports = json!([{"name": "web", "containerPort": 8080, "protocol": "TCP"}]);
    json!({
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web", "ports": ports}]},
    })
}

fn world(pods: &[&str]) -> World {
    let mut world = World::new("endpointslice,endpoints,garbage-collector");
    for name in pods {
        world.create("pods", "acme", "default", pod(name)).expect("created");
    }
    world
}

fn slices(world: &World) -> Vec<Value> {
    world.list("endpointslices.discovery.k8s.io", Within::Everywhere)
}

#[test]
fn slices_and_endpoints_follow_readiness() {
    let mut world = world(&["a", "b"]);
    world.create("services", "acme", "default", service(json!("web"))).expect("created");
    world.settle();
    assert_eq!(slices(&world)[0]["endpoints"], json!([]), "no pod has an address yet");
    world.run_pods();
    let slice = slices(&world).remove(0);
    assert_eq!(slice["ports"], json!([{"name": "http", "protocol": "TCP", "port": 8080}]));
    assert_eq!(slice["addressType"], "IPv4");
    let labels = &slice["metadata"]["labels"];
    assert_eq!(labels["kubernetes.io/service-name"], "web");
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!(labels["team"], "shop");
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    let endpoints = slice["endpoints"].as_array().expect("a list");
    assert_eq!(endpoints.len(), 2);
    assert_eq!(endpoints[0]["conditions"], json!({"ready": true, "serving": true, "terminating": false}));
    assert_eq!((&endpoints[0]["nodeName"], &endpoints[0]["targetRef"]["name"]), (&json!("node-1"), &json!("a")));
    let subsets = &world.get("endpoints", "acme/default/web")["subsets"];
    assert_eq!(subsets[0]["addresses"].as_array().map(Vec::len), Some(2));
    assert_eq!(subsets[0]["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));

    world.set_pod("acme/default/a", "Running", false);
    world.settle();
    assert_eq!(
        slices(&world)[0]["endpoints"][0]["conditions"],
        json!({"ready": false, "serving": false, "terminating": false})
    );
    let subsets = &world.get("endpoints", "acme/default/web")["subsets"];
    assert_eq!(subsets[0]["notReadyAddresses"][0]["targetRef"]["name"], "a");
    assert_eq!(subsets[0]["addresses"].as_array().map(Vec::len), Some(1));

    world.delete("pods", "acme/default/b", None);
    world.settle();
    let going = slices(&world)[0]["endpoints"][1]["conditions"].clone();
    assert_eq!(going, json!({"ready": false, "serving": true, "terminating": true}));
    world.run_pods();
    assert_eq!(slices(&world)[0]["endpoints"].as_array().map(Vec::len), Some(1));
}

#[test]
fn no_slice_has_more_than_a_hundred_endpoints_and_none_moves() {
    let names: Vec<String> = (0..230).map(|at| format!("p{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = world(&names);
    world.create("services", "acme", "default", service(json!(8080))).expect("created");
    world.run_pods();
    let sizes = |world: &World| -> Vec<usize> {
        slices(world).iter().map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len)).collect()
    };
    let mut before = sizes(&world);
    before.sort_unstable();
    assert_eq!(before, [30, 100, 100]);
    let full = slices(&world).into_iter().find(|slice| slice["endpoints"].as_array().map(Vec::len) == Some(100));
    let full = full.expect("a full slice");
    let name = full["endpoints"][0]["targetRef"]["name"].as_str().expect("a name").to_owned();
    world.delete("pods", &format!("acme/default/{name}"), None);
    world.run_pods();
    let mut after = sizes(&world);
    after.sort_unstable();
    assert_eq!(after, [30, 99, 100], "the others stay where they are");
}

#[test]
fn a_service_that_is_deleted_leaves_nothing_and_one_made_anew_starts_over() {
    let mut world = world(&["a"]);
    world.create("services", "acme", "default", service(json!(8080))).expect("created");
    world.run_pods();
    world.delete("services", "acme/default/web", None);
    world.create("services", "acme", "default", service(json!(8080))).expect("created");
    world.settle();
    world.pass(10);
    let slices = slices(&world);
    assert_eq!(slices.len(), 1);
    let uid = world.get("services", "acme/default/web")["metadata"]["uid"].clone();
    assert_eq!(slices[0]["metadata"]["ownerReferences"][0]["uid"], uid);
    world.delete("services", "acme/default/web", None);
    world.settle();
    assert_eq!(world.names("endpointslices.discovery.k8s.io"), Vec::<String>::new());
    assert_eq!(world.names("endpoints"), Vec::<String>::new());
}

#[test]
fn a_service_of_another_namespace_or_tenant_does_not_see_the_pods() {
    let mut world = world(&["a"]);
    world.create("tenants", "", "", json!({"metadata": {"name": "rival"}})).expect("created");
    world.create("namespaces", "rival", "", json!({"metadata": {"name": "default"}})).expect("created");
    world.create("namespaces", "acme", "", json!({"metadata": {"name": "shop"}})).expect("created");
    world.create("services", "rival", "default", service(json!(8080))).expect("created");
    world.create("services", "acme", "shop", service(json!(8080))).expect("created");
    world.run_pods();
    assert!(slices(&world).iter().all(|slice| slice["endpoints"] == json!([])));
}

#[test]
fn services_without_a_selector_are_left_alone() {
    let mut world = world(&["a"]);
    let mut manual = service(json!(8080));
    manual["spec"].as_object_mut().expect("a map").remove("selector");
    world.create("services", "acme", "default", manual).expect("created");
    world.create("endpoints", "acme", "default", json!({"metadata": {"name": "web"}, "subsets": []})).expect("created");
    world.run_pods();
    assert_eq!(slices(&world), Vec::<Value>::new());
    assert_eq!(world.get("endpoints", "acme/default/web")["subsets"], json!([]));
}

/// Each slice has all labels, annotations and ports of the endpoints: two requests would fill the memory of the server.
#[test]
fn what_is_mirrored_of_one_object_is_bounded() {
    let mut world = World::new("endpointslicemirroring");
    let service = json!({"metadata": {"name": "big"}, "spec": {"ports": [{"port": 80}]}});
    world.create("services", "acme", "default", service).expect("created");
    let subsets: Vec<Value> = (1..=1000)
        .map(|port| json!({"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": port, "protocol": "TCP"}]}))
        .collect();
    let metadata = json!({"name": "big", "annotations": {"big": "x".repeat(200_000)}});
    world.create("endpoints", "acme", "default", json!({"metadata": metadata, "subsets": subsets})).expect("created");
    world.settle();
    let made = world.list("endpointslices.discovery.k8s.io", Within::Everywhere).len();
    assert!((50..=100).contains(&made), "{made}");
}
