use arktos_core::typed::Node;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A step in the life of a pool.
#[derive(Debug, Clone)]
enum Step {
    Node { host: u8, cpu: u8, memory: u8, gpu: u8, zone: u8, taint: u8, cordoned: bool },
    NoNode { host: u8 },
    Take { host: u8, cpu: u8, memory: u8 },
    GiveBack { at: usize },
    Reach { manager: u8, reachable: bool },
    Place { pod: Pod, named: Option<(u8, bool)>, turn: u32 },
}

#[derive(Debug, Clone)]
struct Pod {
    cpu: u8,
    memory: u8,
    gpu: u8,
    zone: Option<u8>,
    prefers: Option<u8>,
    tolerates: u8,
    port: bool,
}

fn pod() -> impl Strategy<Value = Pod> {
    let asks = (0u8..12, 0u8..12, prop_oneof![4 => Just(0u8), 1 => 1u8..3]);
    let wishes = (prop::option::of(0u8..4), prop::option::of(0u8..4), 0u8..4, prop::bool::weighted(0.1));
    (asks, wishes).prop_map(|((cpu, memory, gpu), (zone, prefers, tolerates, port))| Pod {
        cpu,
        memory,
        gpu,
        zone: zone.filter(|zone| *zone < 2),
        prefers,
        tolerates,
        port,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let amounts = (any::<u8>(), 0u8..32, 0u8..32, 0u8..4);
    let facts = (0u8..4, 0u8..6, prop::bool::weighted(0.1));
    prop_oneof![
        6 => (amounts, facts).prop_map(|((host, cpu, memory, gpu), (zone, taint, cordoned))| {
            Step::Node { host, cpu, memory, gpu, zone, taint, cordoned }
        }),
        1 => any::<u8>().prop_map(|host| Step::NoNode { host }),
        4 => (any::<u8>(), 0u8..8, 0u8..8).prop_map(|(host, cpu, memory)| Step::Take { host, cpu, memory }),
        2 => any::<usize>().prop_map(|at| Step::GiveBack { at }),
        1 => (0u8..2, prop::bool::weighted(0.8)).prop_map(|(manager, reachable)| Step::Reach { manager, reachable }),
        8 => (pod(), prop::option::weighted(0.3, (any::<u8>(), any::<bool>())), any::<u32>())
            .prop_map(|(pod, named, turn)| Step::Place { pod, named, turn }),
    ]
}

const TAINTS: [&str; 4] = ["NoSchedule", "PreferNoSchedule", "NoExecute", "PreferNoSchedule"];

fn name_of(host: u8) -> (ManagerId, String) {
    (ManagerId::from(host % 2), format!("node-{host}"))
}

fn node(name: &str, step: &Step) -> Node {
    let Step::Node { cpu, memory, gpu, zone, taint, cordoned, .. } = step else { panic!("a node") };
    let taints: Vec<_> =
        TAINTS.get(usize::from(*taint)).iter().map(|effect| json!({"key": "t", "effect": effect})).collect();
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"zone": zone.to_string()}},
        "spec": {"unschedulable": cordoned, "taints": taints},
        "status": {"allocatable": {
            "cpu": cpu.to_string(), "memory": format!("{memory}Gi"), "pods": "20", "example.com/gpu": gpu.to_string(),
        }},
    }))
    .expect("a node")
}

fn spec(pod: &Pod) -> PodSpec {
    let mut requests = json!({"cpu": format!("{}", pod.cpu), "memory": format!("{}Gi", pod.memory)});
    if pod.gpu > 0 {
        requests["example.com/gpu"] = pod.gpu.to_string().into();
    }
    let mut container = json!({"name": "c", "resources": {"requests": requests}});
    if pod.port {
        container["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
    }
    let mut spec = json!({"containers": [container]});
    if let Some(zone) = pod.zone {
        spec["nodeSelector"] = json!({"zone": zone.to_string()});
    }
    if let Some(zone) = pod.prefers {
        let term = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone.to_string()]}]});
        spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
            json!([{"weight": 10, "preference": term}]);
    }
    if let Some(effect) = TAINTS.get(usize::from(pod.tolerates)) {
        spec["tolerations"] = json!([{"key": "t", "operator": "Exists", "effect": effect}]);
    }
    serde_json::from_value(spec).expect("a spec")
}

/// The same of a pod that asks for a host by its name: as its node, or else as a field.
fn naming(mut spec: PodSpec, host: &str, as_node: bool) -> PodSpec {
    if as_node {
        spec.node_name = host.to_owned();
        return spec;
    }
    let field = json!({"key": "metadata.name", "operator": "In", "values": [host]});
    let required = serde_json::from_value(json!({"nodeSelectorTerms": [{"matchFields": [field]}]}));
    spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution =
        Some(required.expect("a node selector"));
    spec
}

/// Takes the steps, and holds every search against a look at all hosts.
fn live(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut pool = Pool::new(2, Plugins::default());
    let mut taken: Vec<(HostId, Usage)> = Vec::new();
    pool.set_reachable(0, true);
    pool.set_reachable(1, true);
    for step in steps {
        match &step {
            Step::Node { host, .. } => {
                let (manager, name) = name_of(*host);
                pool.set_node(manager, &node(&name, &step));
            }
            Step::NoNode { host } => pool.remove_node(name_of(*host).0, &name_of(*host).1),
            Step::Take { host, cpu, memory } => {
                let (manager, name) = name_of(*host);
                let requests = Requests {
                    cpu: i64::from(*cpu) * 1000,
                    memory: i64::from(*memory) << 30,
                    pods: 1,
                    ..Requests::default()
                };
                let usage = pool.usage_of(&ClaimSpec { requests, ..ClaimSpec::default() });
                let host = pool.take(manager, &name, &usage).expect("room for hosts");
                taken.push((host, usage));
            }
            Step::GiveBack { at } => {
                if !taken.is_empty() {
                    let (host, usage) = taken.swap_remove(at % taken.len());
                    pool.give_back(host, &usage);
                }
            }
            Step::Reach { manager, reachable } => pool.set_reachable(ManagerId::from(*manager), *reachable),
            Step::Place { pod, named, turn } => {
                let spec = spec(pod);
                let spec = match named {
                    Some((host, as_node)) => naming(spec, &name_of(*host).1, *as_node),
                    None => spec,
                };
                let class = pool.enter(&spec);
                let (found, best) =
                    (pool.find(class, &Left::default(), *turn), pool.find_slowly(class, &Left::default()));
                prop_assert_eq!(found.map(|found| found.score), best.map(|best| best.score));
                if let Some(found) = found {
                    prop_assert!(pool.room(class, found.host) > 0);
                    let usage = pool.class(class).expect("entered").ask.usage.clone();
                    pool.take_at(found.host, &usage);
                    taken.push((found.host, usage));
                } else {
                    let words = pool.explain(class, &Left::default());
                    prop_assert!(words.starts_with("0/") || words.starts_with("no nodes"), "{}", words);
                }
                pool.leave(class);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_found_scores_as_high_as_a_look_at_every_host(steps in prop::collection::vec(step(), 1..250)) {
        live(steps)?;
    }
}

fn filled(hosts: u32) -> Pool {
    let mut pool = Pool::new(1, Plugins::default());
    pool.set_reachable(0, true);
    for host in 0..hosts {
        let step = Step::Node { host: 0, cpu: 16, memory: 16, gpu: 0, zone: 0, taint: 9, cordoned: false };
        pool.set_node(0, &node(&format!("node-{host}"), &step));
    }
    pool
}

#[test]
fn schedulers_that_see_the_same_hosts_do_not_all_choose_the_same() {
    let mut pool = filled(1000);
    let pod = Pod { cpu: 1, memory: 1, gpu: 0, zone: None, prefers: None, tolerates: 9, port: false };
    let class = pool.enter(&spec(&pod));
    let turns = (0..100u32).map(|turn| turn.wrapping_mul(0x9e37_79b9));
    let found: std::collections::BTreeSet<HostId> =
        turns.filter_map(|turn| pool.find(class, &Left::default(), turn)).map(|found| found.host).collect();
    assert!(found.len() > 50, "{}", found.len());
}

#[test]
fn a_pod_that_asks_for_a_host_by_its_name_looks_at_no_other() {
    let mut pool = filled(300);
    let mut other = Pool::new(2, Plugins::default());
    other.set_reachable(0, true);
    other.set_reachable(1, true);
    let host = |cpu| Step::Node { host: 0, cpu, memory: 16, gpu: 0, zone: 0, taint: 9, cordoned: false };
    for as_node in [true, false] {
        let class = pool.note(&naming(asking(json!({})), "node-277", as_node));
        let looked = pool.classes.prepare(class, usize::MAX, &pool.hosts, &pool.plugins, &pool.words);
        assert_eq!(looked, (1, true));
        let found = pool.find(class, &Left::default(), 7).expect("it is there");
        assert_eq!(&*pool.facts(found.host).name, "node-277");
        let (words, looked) = pool.explain_and_count(class, &Left::default());
        assert!(words.starts_with("0/300 nodes are available: 299 node(s) didn't ") && looked == 1, "{words}");
        pool.leave(class);
        // It is found when it comes, whichever resource manager has it, and not when it is gone.
        let class = other.enter(&naming(asking(json!({})), "late", as_node));
        assert_eq!(other.find(class, &Left::default(), 7), None);
        other.set_node(0, &node("early", &host(32)));
        other.set_node(0, &node("late", &host(1)));
        other.set_node(1, &node("late", &host(16)));
        let again = other.enter(&naming(asking(json!({"nodeSelector": {"zone": "0"}})), "late", as_node));
        for class in [class, again] {
            let found = other.find(class, &Left::default(), 7).expect("it has come");
            assert_eq!((other.facts(found.host).manager, &*other.facts(found.host).name), (1, "late"));
        }
        other.remove_node(0, "late");
        other.remove_node(1, "late");
        assert_eq!(other.find(class, &Left::default(), 7), None);
    }
}

#[test]
fn only_allowed_hosts_are_found() {
    let mut pool = filled(300);
    let pod = Pod { cpu: 1, memory: 1, gpu: 0, zone: None, prefers: None, tolerates: 9, port: false };
    let class = pool.enter(&spec(&pod));
    let mut allowed = HostSet::new();
    allowed.insert(277);
    assert_eq!(
        pool.find(class, &Left { allowed: vec![&allowed], ..Left::default() }, 5).map(|found| found.host),
        Some(277)
    );
    let nothing = HostSet::new();
    assert_eq!(pool.find(class, &Left { allowed: vec![&allowed, &nothing], ..Left::default() }, 5), None);
    assert_eq!(
        pool.find(class, &Left { allowed: vec![&allowed], denied: vec![(&allowed, "no")], ..Left::default() }, 5),
        None
    );
}

#[test]
fn reasons_are_counted_by_host_in_upstreams_words() {
    let mut pool = Pool::new(2, Plugins::default());
    pool.set_reachable(0, true);
    let plain = |cpu| Step::Node { host: 0, cpu, memory: 1, gpu: 0, zone: 0, taint: 9, cordoned: false };
    pool.set_node(0, &node("a", &plain(1)));
    pool.set_node(0, &node("b", &plain(1)));
    let tainted = Step::Node { host: 0, cpu: 9, memory: 9, gpu: 0, zone: 0, taint: 0, cordoned: false };
    pool.set_node(0, &node("c", &tainted));
    let cordoned = Step::Node { host: 0, cpu: 9, memory: 9, gpu: 0, zone: 0, taint: 9, cordoned: true };
    pool.set_node(0, &node("d", &cordoned));
    let elsewhere = Step::Node { host: 0, cpu: 9, memory: 9, gpu: 0, zone: 1, taint: 9, cordoned: false };
    pool.set_node(0, &node("e", &elsewhere));
    pool.set_node(1, &node("a", &plain(9)));
    let pod = Pod { cpu: 4, memory: 4, gpu: 0, zone: Some(0), prefers: None, tolerates: 9, port: false };
    let class = pool.enter(&spec(&pod));
    assert_eq!(
        pool.explain(class, &Left::default()),
        "0/6 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
         1 node(s) had a resource manager that does not answer, 1 node(s) had untolerated taint(s), \
         1 node(s) were unschedulable, 2 Insufficient cpu, 2 Insufficient memory."
    );
}

#[test]
fn the_same_holds_over_many_blocks_while_a_pool_fills_up() {
    let random = arktos_store::clock::SeededRandom::new(5);
    let draw = |below: u64| u8::try_from(arktos_store::Random::next(&random) % below).expect("small");
    let mut pool = Pool::new(1, Plugins::default());
    pool.set_reachable(0, true);
    for host in 0..1000 {
        let (cpu, memory, zone) = (2 + draw(6), 2 + draw(6), draw(3));
        let step = Step::Node { host: 0, cpu, memory, gpu: draw(2), zone, taint: draw(40), cordoned: false };
        pool.set_node(0, &node(&format!("node-{host}"), &step));
    }
    let mut placed = 0;
    for turn in 0..6_000u32 {
        let zone = Some(draw(6)).filter(|zone| *zone < 3);
        let pod = Pod { cpu: draw(3), memory: draw(3), gpu: draw(2), zone, prefers: None, tolerates: 9, port: false };
        let class = pool.enter(&spec(&pod));
        let found = pool.find(class, &Left::default(), turn);
        if turn % 50 == 0 {
            let best = pool.find_slowly(class, &Left::default());
            assert_eq!(found.map(|found| found.score), best.map(|best| best.score), "pod {turn}");
        }
        if let Some(found) = found {
            let usage = pool.class(class).expect("entered").ask.usage.clone();
            pool.take_at(found.host, &usage);
            placed += 1;
        }
        pool.leave(class);
    }
    assert!((2_000..5_900).contains(&placed), "it filled up on the way: {placed}");
}

fn asking(more: serde_json::Value) -> PodSpec {
    let mut spec = json!({"containers": [{"name": "c"}]});
    for (field, value) in more.as_object().expect("fields of a spec") {
        spec[field] = value.clone();
    }
    serde_json::from_value(spec).expect("a spec")
}

#[test]
fn kinds_of_pods_that_have_gone_leave_nothing() {
    let mut pool = filled(100);
    let (words, names) = pool.words_and_names();
    let of_its_own = |at: usize| {
        let resources = json!({"requests": {format!("example.com/{at}"): "1"}});
        asking(json!({
            "nodeSelector": {format!("key-{at}"): format!("value-{at}")},
            "tolerations": [{"key": format!("taint-{at}"), "value": "x"}],
            "containers": [{"name": "c", "resources": resources}],
        }))
    };
    for round in 0..4 {
        let waiting: Vec<ClassId> = (0..5000).map(|at| pool.enter(&of_its_own(round * 5000 + at))).collect();
        let (classes, ready) = pool.classes.counts();
        assert!(classes >= 5000 && ready <= 1024, "{classes} classes, {ready} with bits");
        for class in waiting {
            pool.leave(class);
        }
        assert!(pool.classes.counts().0 <= 512);
        if pool.is_littered() {
            pool.forget_unused(|_| ());
        }
    }
    pool.forget_unused(|_| ());
    let (more_words, more_names) = pool.words_and_names();
    assert!(more_words <= words + 3 * 513 + 1 && more_names <= names + 512, "{more_words} words, {more_names} names");
}

#[test]
fn names_of_resources_that_pods_make_up_keep_no_place_from_those_of_hosts() {
    let mut pool = filled(10);
    let made_up: serde_json::Value = (0..5000).map(|at| (format!("example.com/{at}"), json!("1"))).collect();
    let waits = pool.enter(&asking(json!({"containers": [{"name": "c", "resources": {"requests": made_up}}]})));
    assert_eq!(pool.find(waits, &Left::default(), 0), None);
    let devices =
        asking(json!({"containers": [{"name": "c", "resources": {"requests": {"example.org/device": "2"}}}]}));
    let before = pool.enter(&devices);
    assert_eq!(pool.find(before, &Left::default(), 0), None);
    let mut node =
        node("device", &Step::Node { host: 0, cpu: 1, memory: 1, gpu: 0, zone: 0, taint: 9, cordoned: false });
    node.status.allocatable.insert("example.org/device".to_owned(), arktos_core::Quantity::from_value(3));
    pool.set_node(0, &node);
    let found = pool.find(before, &Left::default(), 0).expect("there is a place now");
    assert_eq!(&*pool.facts(found.host).name, "device");
    assert_eq!(pool.hosts().resources(), 4, "what no host has has no column");
    let usage = pool.class(before).expect("entered").ask.usage.clone();
    pool.take_at(found.host, &usage);
    assert_eq!(pool.find(before, &Left::default(), 0), None, "one is left");
    pool.leave(before);
    pool.remove_node(0, "device");
    pool.forget_unused(|_| ());
    assert_eq!(pool.request(before).0.extended.keys().collect::<Vec<_>>(), ["example.org/device"]);
    pool.give_back(found.host, &usage);
    assert_eq!(pool.hosts().resources(), 4);
    assert!(pool.hosts().columns().at(3).is_none(), "and what no host has any more has none any more");
}

#[test]
fn a_class_that_looks_at_much_is_looked_out_in_parts_and_answers_as_any_other() {
    let mut pool = Pool::new(1, Plugins::default());
    pool.set_reachable(0, true);
    let set = |pool: &mut Pool, host: usize, zone: u8| {
        let cordoned = host % 7 == 3;
        let step = Step::Node { host: 0, cpu: 4, memory: 4, gpu: 0, zone, taint: 9, cordoned };
        pool.set_node(0, &node(&format!("node-{host}"), &step));
    };
    (0..300).for_each(|host| set(&mut pool, host, u8::try_from(host % 200).expect("small")));
    let terms = |from: u32| -> Vec<_> {
        let zones = (from..from + 1000).map(|zone| zone.to_string());
        zones.map(|zone| json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]})).collect()
    };
    let large = |from| {
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms(from)}});
        asking(json!({"affinity": {"nodeAffinity": required}}))
    };
    let class = pool.note(&large(150));
    let mut steps = 0u8;
    while let (looked, false) = pool.prepare(class, 1000) {
        assert!((1000..1100).contains(&looked), "{looked}");
        steps += 1;
        // What changes on the way is seen, whether it was looked at already or not.
        set(&mut pool, 0, 150 + (steps % 2));
        set(&mut pool, 299, 149 + (steps % 2));
    }
    assert!(steps > 10, "{steps}");
    let found = pool.find(class, &Left::default(), 3).expect("there are such zones");
    assert_eq!(Some(found.score), pool.find_slowly(class, &Left::default()).map(|best| best.score));
    assert!(pool.room(class, found.host) > 0);
    let before = pool.explain(class, &Left::default());
    assert!(before.contains("node(s) were unschedulable") && before.contains("affinity/selector"), "{before}");
    let others: Vec<ClassId> = (0..16).map(|at| pool.enter(&large(170 + at))).collect();
    assert_eq!(pool.classes.counts(), (17, 16), "only some large ones have bits");
    assert!(pool.room(class, found.host) > 0, "it is asked without bits");
    assert_eq!(pool.explain(class, &Left::default()), before);
    let (one, two) = (pool.note(&large(1)), pool.note(&large(2)));
    let both = (0..50).position(|_| pool.prepare(one, 1000).1 & pool.prepare(two, 1000).1);
    assert!(both.is_some(), "those that are on the way do not take the bits from each other");
    for class in others.into_iter().chain([class, one, two]) {
        pool.leave(class);
    }
    assert_eq!(pool.classes.counts(), (0, 0), "and none stays without pods");
}

/// Placements a second in the core alone: `cargo test --release -p arktos-sched -- --ignored --nocapture speed`.
#[test]
#[ignore = "prints numbers; needs an optimized build"]
#[allow(clippy::disallowed_methods, clippy::print_stdout)]
fn speed() {
    for (hosts, pods) in [(5_000u32, 50_000u32), (100_000, 100_000), (1_000_000, 100_000)] {
        for mixed in [false, true] {
            let mut pool = Pool::new(1, Plugins::default());
            pool.set_reachable(0, true);
            for host in 0..hosts {
                let grow = if mixed { u8::try_from(host % 7).expect("small") * 8 } else { 0 };
                let step = Step::Node {
                    host: 0,
                    cpu: 16 + grow,
                    memory: 16 + grow / 2,
                    gpu: 0,
                    zone: 0,
                    taint: 9,
                    cordoned: false,
                };
                pool.set_node(0, &node(&format!("node-{host}"), &step));
            }
            let size = |size| Pod {
                cpu: size % 3,
                memory: size,
                gpu: 0,
                zone: None,
                prefers: None,
                tolerates: 9,
                port: false,
            };
            let sizes: Vec<ClassId> = (1..=4u8).map(|one| pool.enter(&spec(&size(one)))).collect();
            let begin = std::time::Instant::now();
            let mut placed = 0u32;
            for pod in 0..pods {
                let class = sizes[pod as usize % sizes.len()];
                let Some(found) = pool.find(class, &Left::default(), pod.wrapping_mul(0x9e37_79b9)) else { continue };
                let usage = pool.class(class).expect("entered").ask.usage.clone();
                pool.take_at(found.host, &usage);
                placed += 1;
            }
            let each = begin.elapsed().as_nanos() / u128::from(pods);
            println!("{hosts} hosts, mixed {mixed}: {placed} of {pods} pods placed, {each} ns each");
        }
    }
}
