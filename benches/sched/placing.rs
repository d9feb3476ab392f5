//! Pods that wait are placed by a scheduler that starts: claims in the log of the resource manager, binds and events in
//! the partition's. The shapes are those of upstream's `scheduler_perf`.

use serde_json::{Value, json};

use crate::region::{Placed, Region};
use crate::report::{Found, Goal, Row, figure};
use crate::{Bench, Outcome};

/// How many pods, on how many hosts.
struct Load {
    hosts: usize,
    pods: usize,
}

/// A host as upstream's benchmark has them, in one of three zones.
fn host(at: usize) -> Value {
    json!({
        "kind": "Node",
        "metadata": {"name": format!("node-{at:07}"), "labels": {
            "kubernetes.io/hostname": format!("node-{at:07}"), "topology.kubernetes.io/zone": format!("zone-{}", at % 3),
        }},
        "status": {
            "capacity": {"cpu": "4", "memory": "32Gi", "pods": "110"},
            "allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// A pod as upstream's benchmark has them, with something more.
fn pod(at: usize, more: Value) -> Value {
    let mut spec = json!({
        "containers": [{"name": "pause", "image": "registry.k8s.io/pause:3.10",
            "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}],
    });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    let metadata = json!({"name": format!("pod-{at:07}"), "namespace": "default", "labels": {"color": "green"}});
    json!({"kind": "Pod", "metadata": metadata, "spec": spec})
}

fn near_or_far(which: &str, key: &str) -> Value {
    let term = json!({"labelSelector": {"matchLabels": {"color": "green"}}, "topologyKey": key});
    json!({"affinity": {which: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

fn rather_near_or_far(which: &str, key: &str) -> Value {
    let term = json!({"labelSelector": {"matchLabels": {"color": "green"}}, "topologyKey": key});
    let weighted = json!({"weight": 100, "podAffinityTerm": term});
    json!({"affinity": {which: {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}}})
}

fn over_zones(otherwise: &str) -> Value {
    json!({"topologySpreadConstraints": [{
        "maxSkew": 5, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": otherwise,
        "labelSelector": {"matchLabels": {"color": "green"}},
    }]})
}

fn place(bench: &Bench, load: &Load, more: &Value) -> Outcome<Placed> {
    let region = Region::new(&bench.directory)?;
    region.hosts(load.hosts, host)?;
    region.pods(load.pods, |at| pod(at, more.clone()))?;
    let placed = region.place(load.pods)?;
    region.close();
    Ok(placed)
}

fn rates(what: &str, load: &Load, placed: &Placed, goal: f64) -> Found {
    let pods = load.pods as f64;
    let what = format!("{what}, {} hosts, {} pods", load.hosts, load.pods);
    let rows = vec![
        Row::of(what, figure(pods / placed.elapsed.as_secs_f64(), "/s")).goal(Goal::AtLeast(goal)),
        Row::of("  CPU of a placement, all parts", figure(placed.cpu / pods * 1e6, "µs")),
    ];
    let (asked, refused) = placed.claims;
    Found { rows, notes: vec![format!("{asked} claims were asked for and {refused} of them refused")] }
}

/// Pods that ask for resources and no more.
pub fn basic(bench: &Bench) -> Outcome<Found> {
    let (hosts, pods) = bench.scale.pick((50, 500), (1_000, 10_000), (5_000, 50_000));
    let load = Load { hosts, pods };
    Ok(rates("placements made durable", &load, &place(bench, &load, &json!({}))?, 10_000.0))
}

/// Pods that keep each other off their hosts, within each tenant.
pub fn anti_affinity(bench: &Bench) -> Outcome<Found> {
    let (hosts, pods) = bench.scale.pick((50, 200), (1_000, 5_000), (5_000, 20_000));
    let load = Load { hosts, pods };
    let more = near_or_far("podAntiAffinity", "kubernetes.io/hostname");
    Ok(rates("required anti-affinity by host", &load, &place(bench, &load, &more)?, 2_000.0))
}

/// Pods that want to be in one zone with their like.
pub fn affinity(bench: &Bench) -> Outcome<Found> {
    let (hosts, pods) = bench.scale.pick((50, 200), (1_000, 5_000), (5_000, 20_000));
    let load = Load { hosts, pods };
    let more = near_or_far("podAffinity", "topology.kubernetes.io/zone");
    Ok(rates("required affinity by zone", &load, &place(bench, &load, &more)?, 2_000.0))
}

/// Pods that are spread over the zones.
pub fn spread(bench: &Bench) -> Outcome<Found> {
    let (hosts, pods) = bench.scale.pick((50, 200), (1_000, 5_000), (5_000, 20_000));
    let load = Load { hosts, pods };
    let placed = place(bench, &load, &over_zones("DoNotSchedule"))?;
    Ok(rates("required spread over zones", &load, &placed, 2_000.0))
}

/// Pods that would rather not share a host with their like, within each tenant.
pub fn preferred_anti_affinity(bench: &Bench) -> Outcome<Found> {
    let (hosts, pods) = bench.scale.pick((50, 200), (1_000, 5_000), (5_000, 20_000));
    let load = Load { hosts, pods };
    let more = rather_near_or_far("podAntiAffinity", "kubernetes.io/hostname");
    Ok(rates("preferred anti-affinity by host", &load, &place(bench, &load, &more)?, 2_000.0))
}

/// Pods that would rather be in one zone with their like.
pub fn preferred_affinity(bench: &Bench) -> Outcome<Found> {
    let (hosts, pods) = bench.scale.pick((50, 200), (1_000, 5_000), (5_000, 20_000));
    let load = Load { hosts, pods };
    let more = rather_near_or_far("podAffinity", "topology.kubernetes.io/zone");
    Ok(rates("preferred affinity by zone", &load, &place(bench, &load, &more)?, 2_000.0))
}

/// Pods that are spread over the zones as well as may be.
pub fn soft_spread(bench: &Bench) -> Outcome<Found> {
    let (hosts, pods) = bench.scale.pick((50, 200), (1_000, 5_000), (5_000, 20_000));
    let load = Load { hosts, pods };
    let placed = place(bench, &load, &over_zones("ScheduleAnyway"))?;
    Ok(rates("soft spread over zones", &load, &placed, 2_000.0))
}

/// As many hosts as pods.
pub fn large(bench: &Bench) -> Outcome<Found> {
    let hosts = bench.scale.pick(500, 5_000, 100_000);
    let load = Load { hosts, pods: hosts };
    let placed = place(bench, &load, &json!({}))?;
    let what = format!("{hosts} pods on {hosts} hosts, until the last is bound");
    let rows = vec![
        Row::of(what, figure(placed.elapsed.as_secs_f64(), "s")).goal(Goal::AtMost(10.0)),
        Row::of("  CPU of a placement, all parts", figure(placed.cpu / hosts as f64 * 1e6, "µs")),
    ];
    Ok(Found { rows, notes: vec!["the scheduler's own start, with all hosts and pods, is in it".to_owned()] })
}
