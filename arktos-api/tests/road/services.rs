//! Ports of hosts that services have: which are shared, reserved, kept and given back.

use serde_json::{Value, json};

use crate::World;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
    if service["spec"]["type"].is_null() {
        service["spec"]["type"] = json!("NodePort");
    }
    service
}

fn node_ports(service: &Value) -> Vec<i64> {
    let ports = service["spec"]["ports"].as_array().unwrap();
    ports.iter().map(|port| port["nodePort"].as_i64().unwrap_or(0)).collect()
}

fn dns(node_port: Option<i64>) -> Value {
    let mut ports = json!([
        {"name": "tcp", "port": 53, "protocol": "TCP"},
        {"name": "udp", "port": 53, "protocol": "UDP"},
        {"name": "metrics", "port": 9153, "protocol": "TCP"},
    ]);
    if let Some(node_port) = node_port {
        ports[1]["nodePort"] = json!(node_port);
    }
    json!({ "ports": ports })
}

#[tokio::test]
async fn a_service_whose_name_is_no_part_of_a_path_gets_no_address() {
    let world = World::new().await;
    let spec = json!({"type": "ClusterIP", "ports": [{"port": 80}]});
    for (name, why) in [("", "Required value"), ("a/b", "Invalid value: \"a/b\": may not contain '/'")] {
        let refused = world.post("acme", SERVICES, service(name, spec.clone())).await;
        let causes = refused.body["details"]["causes"].as_array().unwrap();
        assert_eq!((refused.code, causes.len(), &causes[0]["field"]), (422, 1, &json!("spec.clusterIPs")));
        let message = causes[0]["message"].as_str().unwrap();
        assert!(message.starts_with("Invalid value: [\"\"]: failed to allocate IP: IPAddress.networking"), "{message}");
        assert!(message.ends_with(&format!("is invalid: spec.parentRef.name: {why}")), "{message}");
        let tried = world.post("acme", &format!("{SERVICES}?dryRun=All"), service(name, spec.clone())).await;
        assert_eq!(tried.body["details"]["causes"][0]["field"], "metadata.name", "{}", tried.body);
    }
}

#[tokio::test]
async fn what_a_new_service_asks_for_is_taken_before_its_name_is() {
    let world = World::new().await;
    let ports = json!([{"port": 80, "nodePort": 30_077}]);
    let (address, port) = (json!({"type": "ClusterIP", "clusterIP": "10.0.0.77"}), json!({ "ports": ports }));
    for (name, mut spec, field) in [("a", address, "spec.clusterIPs"), ("b", port, "spec.ports[0].nodePort")] {
        if spec["ports"].is_null() {
            spec["ports"] = json!([{"port": 80}]);
        }
        let made = world.post("acme", SERVICES, service(name, spec.clone())).await;
        assert_eq!(made.code, 201, "{}", made.body);
        let again = world.post("acme", SERVICES, service(name, spec.clone())).await;
        assert_eq!((again.code, &again.body["details"]["causes"][0]["field"]), (422, &json!(field)), "{name}");
        spec["ports"][0]["port"] = json!(0);
        let wrong = world.post("acme", SERVICES, service("c", spec)).await;
        assert_eq!(wrong.body["details"]["causes"].as_array().unwrap().len(), 1, "{}", wrong.body);
    }
    let again = world.post("acme", SERVICES, service("a", json!({"ports": [{"port": 80}]}))).await;
    assert_eq!(again.code, 409, "{}", again.body);
}

#[tokio::test]
async fn one_port_under_two_protocols_has_one_port_of_the_hosts() {
    let world = World::new().await;
    let given = world.post("acme", SERVICES, service("given", dns(None))).await;
    assert_eq!(given.code, 201, "{}", given.body);
    let ports = node_ports(&given.body);
    assert!(ports[0] == ports[1] && ports[0] != ports[2] && !ports.contains(&0), "{ports:?}");
    let tried = world.post("acme", &format!("{SERVICES}?dryRun=All"), service("tried", dns(None))).await;
    let ports = node_ports(&tried.body);
    assert!(ports[0] == ports[1] && ports[0] != ports[2], "{ports:?}");
    // Taken and given back once, however many ports have it.
    for _ in 0..2 {
        let asked = world.post("acme", SERVICES, service("asked", dns(Some(30_053)))).await;
        assert_eq!(node_ports(&asked.body)[..2], [30_053, 30_053], "{}", asked.body);
        let refused = world.post("acme", SERVICES, service("late", dns(Some(30_053)))).await;
        assert_eq!(refused.code, 422, "{}", refused.body);
        assert_eq!(
            refused.body["message"],
            "Service \"late\" is invalid: spec.ports[0].nodePort: Invalid value: 30053: provided port is already \
             allocated"
        );
        assert_eq!(world.delete("acme", &format!("{SERVICES}/asked")).await.code, 200);
    }
    let other = json!({"ports": [
        {"name": "a", "port": 80, "nodePort": 30_053}, {"name": "b", "port": 81, "protocol": "UDP", "nodePort": 30_053},
    ]});
    assert_eq!(world.post("acme", SERVICES, service("other", other)).await.code, 422, "these are two ports");
}

#[tokio::test]
async fn an_update_may_have_one_number_under_two_protocols_and_keeps_numbers_by_name() {
    let world = World::new().await;
    let first = json!({"ports": [{"name": "a", "port": 80}]});
    let made = world.post("acme", SERVICES, service("a", first)).await;
    let kept = node_ports(&made.body)[0];
    let path = format!("{SERVICES}/a");
    let moved = json!({"ports": [{"name": "a", "port": 8080, "targetPort": 80}]});
    let moved = world.put("acme", &path, service("a", moved)).await;
    assert_eq!((moved.code, node_ports(&moved.body)), (200, vec![kept]), "{}", moved.body);
    let both = json!({"ports": [
        {"name": "a", "port": 80, "nodePort": 30_090}, {"name": "b", "port": 81, "protocol": "UDP", "nodePort": 30_090},
    ]});
    let both = world.put("acme", &path, service("a", both)).await;
    assert_eq!((both.code, node_ports(&both.body)), (200, vec![30_090, 30_090]), "{}", both.body);
    // What another port of it asks for is not kept by name.
    let swapped = json!({"ports": [
        {"name": "a", "port": 80}, {"name": "c", "port": 82, "nodePort": 30_090},
    ]});
    let swapped = world.put("acme", &path, service("a", swapped)).await;
    assert_eq!((swapped.code, node_ports(&swapped.body)[1]), (200, 30_090), "{}", swapped.body);
    assert!(![0, 30_090].contains(&node_ports(&swapped.body)[0]), "{}", swapped.body);
}

#[tokio::test]
async fn a_port_that_is_asked_for_is_reserved_where_none_are_given() {
    let world = World::new().await;
    let balancer = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
        "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 443, "nodePort": 30_443}]});
    let made = world.post("acme", SERVICES, service("a", balancer)).await;
    assert_eq!((made.code, node_ports(&made.body)), (201, vec![0, 30_443]), "{}", made.body);
    let asked = || json!({"ports": [{"port": 443, "nodePort": 30_443}]});
    assert_eq!(world.post("acme", SERVICES, service("b", asked())).await.code, 422);
    assert_eq!(world.delete("acme", &format!("{SERVICES}/a")).await.code, 200);
    assert_eq!(world.post("acme", SERVICES, service("b", asked())).await.code, 201);
    assert_eq!(world.post("acme", SERVICES, service("c", asked())).await.code, 422);
}

#[tokio::test]
async fn a_service_keeps_its_policy_of_families_where_an_update_does_not_say_one() {
    let world = World::new().await;
    let wanted = json!({"type": "ClusterIP", "ports": [{"port": 80}], "ipFamilyPolicy": "PreferDualStack"});
    assert_eq!(world.post("acme", SERVICES, service("a", wanted)).await.code, 201);
    let path = format!("{SERVICES}/a");
    let replaced = world.put("acme", &path, service("a", json!({"type": "ClusterIP", "ports": [{"port": 81}]}))).await;
    assert_eq!(replaced.body["spec"]["ipFamilyPolicy"], "PreferDualStack", "{}", replaced.body);
    let patched = world.patch("acme", &path, json!({"spec": {"ipFamilyPolicy": null}})).await;
    assert_eq!(patched.body["spec"]["ipFamilyPolicy"], "PreferDualStack", "{}", patched.body);
    assert_eq!(patched.body["metadata"]["resourceVersion"], replaced.body["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_balancer_without_ports_of_hosts_gives_back_those_it_had() {
    let world = World::new().await;
    let path = format!("{SERVICES}/a");
    let bare = || json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}]});
    for name in [None, Some("web")] {
        let mut ports = json!([{"port": 80, "nodePort": 30_099}]);
        if let Some(name) = name {
            ports[0]["name"] = json!(name);
        }
        let made = world.post("acme", SERVICES, service("a", json!({ "ports": ports }))).await;
        assert_eq!((made.code, node_ports(&made.body)), (201, vec![30_099]), "{}", made.body);
        let bared = world.put("acme", &path, service("a", bare())).await;
        assert_eq!((bared.code, node_ports(&bared.body)), (200, vec![0]), "{}", bared.body);
        assert_eq!(world.delete("acme", &path).await.code, 200);
    }
}

#[tokio::test]
async fn ports_of_hosts_go_with_the_type_however_the_ports_are_numbered() {
    let world = World::new().await;
    let path = format!("{SERVICES}/a");
    for _ in 0..2 {
        let ports = json!({"ports": [{"port": 80, "nodePort": 30_098}]});
        assert_eq!(world.post("acme", SERVICES, service("a", ports)).await.code, 201);
        let inner = json!({"type": "ClusterIP", "ports": [{"port": 81, "nodePort": 30_098}]});
        let inner = world.put("acme", &path, service("a", inner)).await;
        assert_eq!((inner.code, node_ports(&inner.body)), (200, vec![0]), "{}", inner.body);
        assert_eq!(world.delete("acme", &path).await.code, 200);
    }
}
