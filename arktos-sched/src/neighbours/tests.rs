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
        self.neighbours.wishes(&mut self.pool, AT, pod, spec, &ask)
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

    /// The host that a pod goes to.
    fn chosen(&mut self, name: &str, app: &str, spec: &PodSpec) -> String {
        let pod = object(name, app);
        let (wishes, class) = (self.wishes(&pod, spec), self.pool.enter(spec));
        let left = self.neighbours.left(&self.pool, AT, &pod, &wishes);
        let found = self.pool.find(class, &left, 0).expect("there is room");
        assert_eq!(Some(found.score), self.pool.find_slowly(class, &left).map(|best| best.score));
        self.neighbours.forget_wishes(AT.0, &wishes);
        self.pool.facts(found.host).name.to_string()
    }

    /// How many grades of hosts there are for a pod.
    fn grades(&mut self, name: &str, app: &str, spec: &PodSpec) -> usize {
        let pod = object(name, app);
        let wishes = self.wishes(&pod, spec);
        let left = self.neighbours.left(&self.pool, AT, &pod, &wishes);
        let grades = left.grades.map_or(0, |grades| grades.iter().count());
        self.neighbours.forget_wishes(AT.0, &wishes);
        grades
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
fn namespaces_are_found_by_their_labels_as_these_change_and_within_the_tenant() {
    let mut world = World::new(&HOSTS);
    let mut asks = term("web", "zone");
    asks["namespaceSelector"] = json!({"matchLabels": {"team": "red"}});
    let away = spec(&[], &[asks], &[]);
    let place = |world: &mut World, tenant: &str, namespace: &str, node: &str| {
        let pod = object(&format!("{tenant}-{namespace}"), "web");
        world.neighbours.place(&mut world.pool, (tenant, namespace), &pod, (0, node), None);
    };
    place(&mut world, AT.0, "red", "a1");
    place(&mut world, "other", "blue", "b1");
    assert!(!world.neighbours.namespace("other", "blue", [("team", "red")].into_iter()));
    assert_eq!(world.left("w", "web", &away).len(), 5, "nobody has the label");
    assert!(world.neighbours.namespace(AT.0, "red", [("team", "red")].into_iter()), "a term asks for it");
    assert_eq!(world.left("w", "web", &away), ["b1", "b2", "x"]);
    assert!(world.neighbours.namespace(AT.0, "red", std::iter::empty()));
    assert_eq!(world.left("w", "web", &away).len(), 5);
    world.place("own", "web", "b2", None);
    assert_eq!(world.left("w", "web", &away).len(), 5, "a selector takes the place of the pod's own namespace");
}

/// A spec with preferences, each a weight and a term, and constraints that keep it off no host.
fn rather(near: &[(i32, Value)], far: &[(i32, Value)], spread: &[Value]) -> PodSpec {
    let weighted = |(weight, term): &(i32, Value)| json!({"weight": weight, "podAffinityTerm": term});
    let all = |terms: &[(i32, Value)]| terms.iter().map(weighted).collect::<Vec<_>>();
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let soft = spread.iter().cloned().map(|mut one| {
        one["whenUnsatisfiable"] = "ScheduleAnyway".into();
        one
    });
    serde_json::from_value(json!({
        "containers": [{"name": "c"}],
        "affinity": {"podAffinity": {preferred: all(near)}, "podAntiAffinity": {preferred: all(far)}},
        "topologySpreadConstraints": soft.collect::<Vec<_>>(),
    }))
    .expect("a spec")
}

#[test]
fn pods_go_rather_where_those_are_that_they_like_and_that_like_them() {
    let mut world = World::new(&HOSTS);
    world.place("d0", "db", "b1", None);
    let near_db = rather(&[(10, term("db", "zone"))], &[], &[]);
    assert!(world.chosen("w", "web", &near_db).starts_with('b'));
    let far_from_db = rather(&[], &[(10, term("db", "zone"))], &[]);
    assert!(!world.chosen("w", "web", &far_from_db).starts_with('b'));
    let both = rather(&[(10, term("db", "zone"))], &[(100, term("db", "host"))], &[]);
    assert_eq!(world.chosen("w", "web", &both), "b2", "near it, and not on its host");

    let plain = spec(&[], &[], &[]);
    world.place("fan", "fan", "a2", Some(&rather(&[(1, term("web", "host"))], &[], &[])));
    assert_eq!(world.chosen("w", "web", &plain), "a2", "one that is there would like it near");
    world.place("shy", "shy", "a2", Some(&rather(&[], &[(2, term("web", "host"))], &[])));
    assert_ne!(world.chosen("w", "web", &plain), "a2", "another one minds more");
    world.neighbours.displace(&world.pool, AT.0, "shy");
    assert_eq!(world.chosen("w", "web", &plain), "a2");
    world.place("needy", "needy", "b2", Some(&spec(&[term("web", "host"), term("web", "zone")], &[], &[])));
    assert!(world.chosen("w", "web", &plain).starts_with('b'), "one that must be near such draws by each of its terms");
}

#[test]
fn pods_go_rather_where_fewer_of_their_like_are_and_anywhere_if_they_must() {
    let mut world = World::new(&HOSTS);
    let even = rather(&[], &[], &[spread("web", "zone", 1)]);
    assert_ne!(world.chosen("w", "web", &even), "x", "a host in no domain is liked least");
    for (pod, node) in [("w0", "a1"), ("w1", "a2"), ("w2", "b1")] {
        world.place(pod, "web", node, None);
    }
    assert!(world.chosen("w", "web", &even).starts_with('b'));
    let evener = rather(&[], &[], &[spread("web", "zone", 1), spread("web", "host", 1)]);
    assert_eq!(world.chosen("w", "web", &evener), "b2", "the emptier host of the emptier zone");
    world.place("w3", "web", "b2", None);
    world.place("w4", "web", "b2", None);
    assert!(world.chosen("w", "web", &even).starts_with('a'));
    assert_eq!(world.left("w", "web", &even).len(), 5, "no host is out of the question");
}

#[test]
fn where_neighbours_make_too_many_hosts_differ_they_make_no_difference() {
    let mut world = World::new(&HOSTS);
    let near_db = rather(&[(10, term("db", "host"))], &[], &[]);
    world.place("d0", "db", "b1", None);
    assert_eq!(world.chosen("w", "web", &near_db), "b1");
    world.neighbours.tenants.get_mut(AT.0).expect("it is there").grades[0].words = usize::MAX;
    world.place("d1", "db", "b2", None);
    assert_eq!(world.grades("w", "web", &near_db), 0);
    let plain = spec(&[], &[], &[]);
    assert_eq!(world.chosen("w", "web", &near_db), world.chosen("w", "web", &plain));
    world.pool.set_node(0, &node("c1", "c"));
    assert_eq!(world.grades("w", "web", &near_db), 2, "all is counted anew with the hosts");
}

#[test]
fn pods_that_are_on_their_way_out_are_not_counted_for_spreading() {
    let mut world = World::new(&HOSTS);
    let even = spec(&[], &[], &[spread("web", "zone", 1)]);
    world.place("w0", "web", "a1", None);
    assert_eq!(world.left("w", "web", &even), ["b1", "b2"]);
    let type_meta = std::sync::Arc::new(TypeMeta::new("", "v1", "Pod"));
    let metadata = json!({"name": "w0", "uid": "w0", "labels": {"app": "web"},
        "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let going = Object::from_value(json!({"metadata": metadata})).expect("an object");
    let going = Encoded::encode(&type_meta, &going, &[]).expect("it encodes");
    world.neighbours.place(&mut world.pool, AT, &going, (0, "a1"), None);
    assert_eq!(world.left("w", "web", &even), ["a1", "a2", "b1", "b2"]);
}

/// What a placement costs beside its neighbours: `cargo test --release -p arktos-sched -- --ignored --nocapture speed`.
#[test]
#[ignore = "prints numbers; needs an optimized build"]
#[allow(clippy::disallowed_methods, clippy::print_stdout)]
fn speed_beside_neighbours() {
    let (green, plain) = (|key| term("green", key), spec(&[], &[], &[]));
    let even = spread("green", "zone", 5);
    let kinds = [
        ("nothing asked", plain),
        ("required anti-affinity by host", spec(&[], &[green("host")], &[])),
        ("required affinity by zone", spec(&[green("zone")], &[], &[])),
        ("required spread over zones", spec(&[], &[], std::slice::from_ref(&even))),
        ("preferred anti-affinity by host", rather(&[], &[(100, green("host"))], &[])),
        ("preferred affinity by zone", rather(&[(100, green("zone"))], &[], &[])),
        ("soft spread over zones", rather(&[], &[], std::slice::from_ref(&even))),
        ("soft spread over zones and hosts", rather(&[], &[], &[even.clone(), spread("green", "host", 3)])),
    ];
    for (hosts, pods) in [(5_000usize, 4_000usize), (100_000, 4_000)] {
        for (what, spec) in &kinds {
            let mut world = World::new(&[]);
            for host in 0..hosts {
                world.pool.set_node(0, &node(&format!("n{host}"), &(host % 3).to_string()));
            }
            let objects: Vec<Encoded> = (0..pods).map(|pod| object(&format!("p{pod}"), "green")).collect();
            let begin = std::time::Instant::now();
            for (turn, pod) in (0u32..).zip(&objects) {
                let class = world.pool.enter(spec);
                let ask = world.pool.class(class).expect("entered").ask.clone();
                let wishes = world.neighbours.wishes(&mut world.pool, AT, pod, spec, &ask);
                let left = world.neighbours.left(&world.pool, AT, pod, &wishes);
                let found = world.pool.find(class, &left, turn.wrapping_mul(0x9e37_79b9)).expect("there is room");
                let name = world.pool.facts(found.host).name.clone();
                world.neighbours.expect(&world.pool, AT, pod, (0, &name), &wishes);
                world.pool.take_at(found.host, &ask.usage);
                world.neighbours.forget_wishes(AT.0, &wishes);
            }
            println!("{hosts} hosts, {what}: {} ns each", begin.elapsed().as_nanos() / pods as u128);
        }
    }
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
