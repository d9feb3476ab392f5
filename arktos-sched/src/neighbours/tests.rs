use arktos_core::typed::Node;
use arktos_core::{Object, TypeMeta};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::plugin::Plugins;

fn pool(hosts: &[(&str, &str)]) -> Pool {
    let mut pool = Pool::new(1, Plugins::default());
    pool.set_reachable(0, true);
    for (name, zone) in hosts {
        pool.set_node(0, &node(name, zone));
    }
    pool
}

fn node(name: &str, zone: &str) -> Node {
    let mut labels = json!({"host": name});
    if !zone.is_empty() {
        labels["zone"] = zone.into();
    }
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels},
        "status": {"allocatable": {"cpu": "100", "memory": "100Gi", "pods": "1000"}}}))
    .expect("a node")
}

fn object(name: &str, app: &str) -> Encoded {
    let type_meta = std::sync::Arc::new(TypeMeta::new("", "v1", "Pod"));
    let pod = json!({"metadata": {"name": name, "uid": name, "labels": {"app": app}}});
    Encoded::encode(&type_meta, &Object::from_value(pod).expect("an object"), &[]).expect("it encodes")
}

fn term(app: &str, key: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key})
}

fn spec(near: &[Value], far: &[Value], spread: &[Value]) -> PodSpec {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    serde_json::from_value(json!({
        "containers": [{"name": "c"}],
        "affinity": {"podAffinity": {required: near}, "podAntiAffinity": {required: far}},
        "topologySpreadConstraints": spread,
    }))
    .expect("a spec")
}

fn spread(app: &str, key: &str, skew: u32) -> Value {
    json!({"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": app}}})
}

/// A pool and its neighbours, with one tenant.
struct World {
    pool: Pool,
    neighbours: Neighbours,
}

const AT: (&str, &str) = ("acme", "default");

impl World {
    fn new(hosts: &[(&str, &str)]) -> Self {
        Self { pool: pool(hosts), neighbours: Neighbours::default() }
    }

    fn wishes(&mut self, pod: &Encoded, spec: &PodSpec) -> Wishes {
        let class = self.pool.enter(spec);
        let ask = self.pool.class(class).expect("entered").ask.clone();
        self.neighbours.wishes(&mut self.pool, AT, pod, spec, &ask).expect("supported")
    }

    /// The names of the hosts that are left to a pod.
    fn left(&mut self, name: &str, app: &str, spec: &PodSpec) -> Vec<String> {
        let pod = object(name, app);
        let wishes = self.wishes(&pod, spec);
        let left = self.neighbours.left(&self.pool, AT, &pod, &wishes);
        let hosts = self.pool.hosts().known().iter().filter(|host| left.reason(*host).is_none());
        let names = hosts.map(|host| self.pool.facts(host).name.to_string()).collect();
        self.neighbours.forget_wishes(AT.0, &wishes);
        names
    }

    fn place(&mut self, name: &str, app: &str, node: &str, spec: Option<&PodSpec>) {
        self.neighbours.place(&mut self.pool, AT, &object(name, app), (0, node), spec);
    }
}

const HOSTS: [(&str, &str); 5] = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b"), ("x", "")];

#[test]
fn pods_stay_away_from_those_they_do_not_want_near_and_from_those_that_do_not_want_them() {
    let mut world = World::new(&HOSTS);
    let lonely = spec(&[], &[term("web", "host")], &[]);
    assert_eq!(world.left("w1", "web", &lonely), ["a1", "a2", "b1", "b2", "x"]);
    world.place("w0", "web", "a1", None);
    assert_eq!(world.left("w1", "web", &lonely), ["a2", "b1", "b2", "x"]);
    world.place("l0", "loner", "b1", Some(&spec(&[], &[term("web", "zone")], &[])));
    assert_eq!(world.left("w1", "web", &spec(&[], &[], &[])), ["a1", "a2", "x"], "it does not want them in its zone");
    assert_eq!(world.left("d1", "db", &spec(&[], &[], &[])).len(), 5);
    world.neighbours.displace(&world.pool, AT.0, "l0");
    world.neighbours.displace(&world.pool, AT.0, "w0");
    assert_eq!(world.left("w1", "web", &lonely).len(), 5);
}

#[test]
fn pods_go_where_those_they_want_near_are_and_the_first_of_its_kind_anywhere_that_has_the_label() {
    let mut world = World::new(&HOSTS);
    let near_db = spec(&[term("db", "zone")], &[], &[]);
    assert_eq!(world.left("w", "web", &near_db), Vec::<String>::new());
    assert_eq!(world.left("d0", "db", &near_db), ["a1", "a2", "b1", "b2"]);
    world.place("d0", "db", "b2", None);
    assert_eq!(world.left("w", "web", &near_db), ["b1", "b2"]);
    assert_eq!(world.left("d1", "db", &near_db), ["b1", "b2"]);
}

#[test]
fn another_tenants_pods_are_no_neighbours() {
    let mut world = World::new(&HOSTS);
    let away = spec(&[], &[term("web", "host")], &[]);
    world.neighbours.place(&mut world.pool, ("other", "default"), &object("w0", "web"), (0, "a1"), Some(&away));
    assert_eq!(world.left("w1", "web", &away).len(), 5);
}

#[test]
fn no_domain_gets_more_than_the_skew_above_the_emptiest() {
    let mut world = World::new(&HOSTS);
    let even = spec(&[], &[], &[spread("web", "zone", 1)]);
    assert_eq!(world.left("w", "web", &even), ["a1", "a2", "b1", "b2"], "a host in no domain is out");
    world.place("w0", "web", "a1", None);
    assert_eq!(world.left("w", "web", &even), ["b1", "b2"]);
    world.place("w1", "web", "b1", None);
    assert_eq!(world.left("w", "web", &even).len(), 4);
    world.pool.set_node(0, &node("c1", "c"));
    assert_eq!(world.left("w", "web", &even), ["c1"], "a new zone is the emptiest");
}

#[test]
fn pods_on_a_host_whose_node_is_gone_are_in_no_domain() {
    let mut world = World::new(&HOSTS);
    let lonely = spec(&[], &[term("web", "zone")], &[]);
    world.pool.take(0, "a1", &crate::hosts::Usage::default());
    world.place("w0", "web", "a1", None);
    assert_eq!(world.left("w1", "web", &lonely), ["b1", "b2", "x"]);
    world.pool.remove_node(0, "a1");
    assert_eq!(world.left("w1", "web", &lonely), ["a2", "b1", "b2", "x"]);
}

#[test]
fn what_cannot_be_done_yet_is_said() {
    let mut world = World::new(&HOSTS);
    let mut asks = term("web", "host");
    asks["namespaceSelector"] = json!({"matchLabels": {"a": "b"}});
    let (spec, pod) = (spec(&[asks], &[], &[]), object("w", "web"));
    let class = world.pool.enter(&spec);
    let ask = world.pool.class(class).expect("entered").ask.clone();
    let refused = world.neighbours.wishes(&mut world.pool, AT, &pod, &spec, &ask).expect_err("it is not supported");
    assert!(refused.0.contains("namespaceSelector"));
}

/// What the counters must agree with: a look at every pod and host.
fn allowed_slowly(placed: &[(usize, usize, bool)], app: usize, key: usize, skew: Option<usize>) -> Vec<usize> {
    let domain = |host: usize| if key == 0 { host } else { host % 3 };
    let here = |at: usize| placed.iter().filter(|(host, one, _)| domain(*host) == at && *one == app).count();
    let least = (0..9).map(|host| here(domain(host))).min().unwrap_or(0);
    (0..9)
        .filter(|host| match skew {
            Some(skew) => here(domain(*host)) + 1 - least <= skew,
            None => here(domain(*host)) == 0,
        })
        .filter(|host| placed.iter().all(|(other, one, away)| !away || *one != app || other != host))
        .collect()
}

proptest! {
    #[test]
    fn counters_agree_with_a_look_at_every_pod(
        steps in prop::collection::vec((0usize..9, 0usize..3, any::<bool>(), any::<bool>()), 1..60),
        key in 0usize..2,
        skew in prop::option::of(1usize..3),
    ) {
        const NAMES: [&str; 9] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"];
        const ZONES: [&str; 3] = ["0", "1", "2"];
        let hosts: Vec<(&str, &str)> = (0..9).map(|at| (NAMES[at], ZONES[at % 3])).collect();
        let mut world = World::new(&hosts);
        let label = ["host", "zone"][key];
        let wanting = |app: &str| match skew {
            Some(skew) => spec(&[], &[], &[spread(app, label, u32::try_from(skew).expect("small"))]),
            None => spec(&[], &[term(app, label)], &[]),
        };
        let mut placed: Vec<(usize, usize, bool)> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for (step, (host, app, away, leave)) in steps.into_iter().enumerate() {
            let kind = app.to_string();
            if leave && !placed.is_empty() {
                let at = host % placed.len();
                placed.swap_remove(at);
                world.neighbours.displace(&world.pool, AT.0, &names.swap_remove(at));
            } else {
                let name = format!("p{step}");
                let own = away.then(|| spec(&[], &[term(&kind, "host")], &[]));
                world.place(&name, &kind, NAMES[host], own.as_ref());
                placed.push((host, app, away));
                names.push(name);
            }
            let expected: Vec<&str> = allowed_slowly(&placed, app, key, skew).into_iter().map(|at| NAMES[at]).collect();
            prop_assert_eq!(world.left("w", &kind, &wanting(&kind)), expected);
        }
    }
}
