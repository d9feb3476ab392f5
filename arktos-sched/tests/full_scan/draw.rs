//! Hosts and pods out of a few bytes: the smaller the bytes, the plainer what they make.

use arktos_core::typed::Node;
use serde_json::{Value, json};

use crate::naive::{Host, Labels, Pod};

/// Bytes that are read one after the other; zeros follow.
pub struct Draw<'a>(pub &'a [u8]);

impl Draw<'_> {
    /// One of so many.
    pub fn of(&mut self, many: u8) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first % many
    }

    /// True once in so many times.
    fn once_in(&mut self, many: u8) -> bool {
        self.of(many) == many - 1
    }
}

pub const TENANTS: [&str; 2] = ["acme", "globex"];
const NAMESPACES: [&str; 2] = ["a", "b"];
const ODD: [&str; 6] = ["odd-0", "odd-1", "odd-2", "odd-3", "odd-4", "odd-5"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub fn host(draw: &mut Draw<'_>) -> Host {
    let at = draw.of(150);
    (u16::from(at % 2), format!("node-{at}"))
}

pub fn node(name: &str, draw: &mut Draw<'_>) -> Node {
    let mut labels = json!({"host": name, "size": draw.of(4).to_string()});
    let (zone, rack) = (draw.of(4), draw.of(7));
    if zone < 3 {
        labels["zone"] = zone.to_string().into();
    }
    if rack < 6 {
        labels["rack"] = rack.to_string().into();
    }
    let taints: Vec<Value> = (0..draw.of(8).saturating_sub(5)).map(|_| taint(draw)).collect();
    let mut node = json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"unschedulable": draw.once_in(10), "taints": taints},
        "status": {"allocatable": {
            "cpu": (8 + draw.of(24)).to_string(), "memory": format!("{}Gi", 8 + draw.of(24)),
            "pods": (4 + draw.of(12)).to_string(), "example.com/gpu": draw.of(3).to_string(),
        }},
    });
    // Words that few others have, which come and go.
    if draw.once_in(3) {
        node["metadata"]["labels"][odd(draw)] = odd(draw).into();
        node["status"]["allocatable"][format!("example.com/{}", odd(draw))] = (1 + draw.of(3)).to_string().into();
    }
    serde_json::from_value(node).expect("a node")
}

/// A word that few others have.
fn odd(draw: &mut Draw<'_>) -> &'static str {
    ODD[usize::from(draw.of(6))]
}

fn taint(draw: &mut Draw<'_>) -> Value {
    let (key, value) = (format!("t{}", draw.of(2)), format!("{}", draw.of(2)));
    json!({"key": key, "value": value, "effect": EFFECTS[usize::from(draw.of(3))]})
}

pub fn pod(draw: &mut Draw<'_>) -> Pod {
    let labels: Labels =
        [("app".to_owned(), draw.of(3).to_string()), ("tier".to_owned(), draw.of(2).to_string())].into();
    let spec = spec(draw);
    let (tenant, namespace) = (TENANTS[usize::from(draw.of(2))], NAMESPACES[usize::from(draw.of(2))]);
    Pod { tenant, namespace, labels, spec: serde_json::from_value(spec).expect("a spec") }
}

fn spec(draw: &mut Draw<'_>) -> Value {
    let mut requests = json!({});
    for (resource, unit, most) in [("cpu", "", 6), ("memory", "Gi", 6)] {
        let amount = draw.of(most);
        if amount > 0 {
            requests[resource] = format!("{amount}{unit}").into();
        }
    }
    if draw.once_in(6) {
        requests["example.com/gpu"] = "1".into();
    }
    let mut container = json!({"name": "c", "resources": {"requests": requests}});
    if draw.once_in(6) {
        let address = ["", "10.0.0.1", "10.0.0.2"][usize::from(draw.of(3))];
        container["ports"] = json!([{"containerPort": 80, "hostPort": 80, "hostIP": address, "protocol": "TCP"}]);
    }
    let mut spec = json!({"containers": [container]});
    if draw.once_in(12) {
        spec["nodeName"] = host(draw).1.into();
    }
    if draw.once_in(6) {
        spec["nodeSelector"] = json!({"zone": draw.of(4).to_string()});
    }
    spec["affinity"] = json!({
        "nodeAffinity": node_affinity(draw), "podAffinity": neighbours(draw, 5), "podAntiAffinity": neighbours(draw, 4),
    });
    spec["topologySpreadConstraints"] = spreads(draw);
    spec["tolerations"] = (0..draw.of(6).saturating_sub(2)).map(|_| toleration(draw)).collect::<Vec<_>>().into();
    if draw.once_in(6) {
        spec["nodeSelector"][odd(draw)] = odd(draw).into();
    }
    if draw.once_in(6) {
        let requests = &mut spec["containers"][0]["resources"]["requests"];
        requests[format!("example.com/{}", odd(draw))] = "1".into();
    }
    spec
}

fn toleration(draw: &mut Draw<'_>) -> Value {
    let key = ["t0", "t1", "", "node.kubernetes.io/unschedulable"][usize::from(draw.of(4))];
    let effect = ["", "NoSchedule", "PreferNoSchedule", "NoExecute"][usize::from(draw.of(4))];
    match key.is_empty() || draw.of(2) == 0 {
        true => json!({"key": key, "operator": "Exists", "effect": effect}),
        false => json!({"key": key, "operator": "Equal", "value": draw.of(2).to_string(), "effect": effect}),
    }
}

fn node_affinity(draw: &mut Draw<'_>) -> Value {
    let mut affinity = json!({});
    if draw.once_in(4) {
        let terms: Vec<Value> = (0..=draw.of(2)).map(|_| node_term(draw)).collect();
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = json!({"nodeSelectorTerms": terms});
    }
    let preferred: Vec<Value> = (0..draw.of(5).saturating_sub(2))
        .map(|_| json!({"weight": 1 + draw.of(100), "preference": node_term(draw)}))
        .collect();
    affinity["preferredDuringSchedulingIgnoredDuringExecution"] = preferred.into();
    affinity
}

fn node_term(draw: &mut Draw<'_>) -> Value {
    if draw.once_in(8) {
        let values = [host(draw).1, host(draw).1, host(draw).1];
        return json!({"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": values}]});
    }
    let requirements: Vec<Value> = (0..=draw.of(2))
        .map(|_| {
            let key = ["zone", "rack", "size"][usize::from(draw.of(3))];
            match draw.of(6) {
                0 => json!({"key": key, "operator": "Exists"}),
                1 => json!({"key": key, "operator": "In", "values": [draw.of(3).to_string(), draw.of(3).to_string()]}),
                2 => json!({"key": key, "operator": "NotIn", "values": [draw.of(3).to_string()]}),
                3 => json!({"key": key, "operator": "DoesNotExist"}),
                4 => json!({"key": key, "operator": "Gt", "values": [draw.of(2).to_string()]}),
                _ => json!({"key": key, "operator": "Lt", "values": [draw.of(4).to_string()]}),
            }
        })
        .collect();
    json!({"matchExpressions": requirements})
}

fn neighbours(draw: &mut Draw<'_>, once_in: u8) -> Value {
    let (mut required, mut preferred) = (Vec::new(), Vec::new());
    if draw.once_in(once_in) {
        required = (0..=draw.of(2)).map(|_| pod_term(draw)).collect();
    }
    if draw.once_in(once_in) {
        let weighted = |draw: &mut Draw<'_>| json!({"weight": 1 + draw.of(100), "podAffinityTerm": pod_term(draw)});
        preferred = (0..=draw.of(2)).map(|_| weighted(draw)).collect();
    }
    json!({"requiredDuringSchedulingIgnoredDuringExecution": required,
        "preferredDuringSchedulingIgnoredDuringExecution": preferred})
}

fn pod_term(draw: &mut Draw<'_>) -> Value {
    let mut term = json!({"labelSelector": selector(draw), "topologyKey": key(draw)});
    match draw.of(8) {
        0..=3 => {}
        4 => term["namespaces"] = json!(["a", "b"]),
        5 => term["namespaceSelector"] = json!({}),
        6 => term["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "b"}}),
        _ => {
            term["namespaces"] = json!(["a"]);
            term["namespaceSelector"] = namespace_selector(draw);
        }
    }
    term
}

fn namespace_selector(draw: &mut Draw<'_>) -> Value {
    let team = draw.of(2).to_string();
    match draw.of(2) {
        0 => json!({"matchLabels": {"team": team}}),
        _ => json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": [team]}]}),
    }
}

/// A namespace, and its labels.
pub fn namespace(draw: &mut Draw<'_>) -> (&'static str, &'static str, Labels) {
    let (tenant, name) = (TENANTS[usize::from(draw.of(2))], NAMESPACES[usize::from(draw.of(2))]);
    let team = draw.of(3);
    let labels = if team < 2 { [("team".to_owned(), team.to_string())].into() } else { Labels::new() };
    (tenant, name, labels)
}

fn spreads(draw: &mut Draw<'_>) -> Value {
    let many = draw.of(6).saturating_sub(3);
    let constraints = (0..many).map(|_| {
        let soft = draw.of(2) == 1;
        let otherwise = if soft { "ScheduleAnyway" } else { "DoNotSchedule" };
        let mut one = json!({"maxSkew": 1 + draw.of(2), "topologyKey": key(draw), "whenUnsatisfiable": otherwise,
            "labelSelector": selector(draw)});
        if draw.once_in(4) && !soft {
            one["minDomains"] = (1 + draw.of(4)).into();
        }
        if draw.once_in(4) {
            one["nodeAffinityPolicy"] = "Ignore".into();
        }
        if draw.once_in(4) {
            one["nodeTaintsPolicy"] = "Honor".into();
        }
        one
    });
    constraints.collect::<Vec<_>>().into()
}

fn key(draw: &mut Draw<'_>) -> &'static str {
    match draw.of(8) {
        0..=6 => ["zone", "rack", "host"][usize::from(draw.of(3))],
        _ => odd(draw),
    }
}

fn selector(draw: &mut Draw<'_>) -> Value {
    let app = draw.of(3).to_string();
    match draw.of(4) {
        0 => json!({"matchLabels": {"app": app}}),
        1 => json!({"matchLabels": {"app": app, "tier": draw.of(2).to_string()}}),
        2 => json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": [app]}]}),
        _ => json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
    }
}
