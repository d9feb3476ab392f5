//! Over random clusters, the host that is found scores as high as the best that a naive look at every host finds: with
//! every filter and every score, neighbours included, while hosts come, change and go, pods come and go, namespaces
//! change their labels, and words that nobody uses are forgotten.

mod draw;
mod naive;

use std::sync::Arc;

use arktos_core::typed::PodSpec;
use arktos_core::{Encoded, Object, TypeMeta};
use arktos_sched::Pool;
use arktos_sched::hosts::{HostId, Usage};
use arktos_sched::neighbours::Neighbours;
use arktos_sched::plugin::Plugins;
use proptest::prelude::*;
use serde_json::json;

use self::draw::Draw;
use self::naive::{Cluster, Labels, Pod};

/// What is checked, and what it is checked against, in step.
struct Both {
    cluster: Cluster,
    pool: Pool,
    neighbours: Neighbours,
    /// The pods on hosts, as the cluster has them: uid, place, what they take.
    placed: Vec<(Encoded, HostId, Usage)>,
    turn: u32,
    /// Pods of which there may be more than one.
    kinds: Vec<Pod>,
    /// How many pods found a place, and how many none; for how many of them neighbours made a difference between hosts.
    outcomes: (u32, u32),
    graded: u32,
}

/// What rounding to thousandths of a point may cost.
const ROUNDING: f64 = 0.01;

impl Both {
    fn new(packing: bool) -> Self {
        let mut pool = Pool::new(2, if packing { Plugins::packing() } else { Plugins::default() });
        pool.set_reachable(0, true);
        pool.set_reachable(1, true);
        Self {
            cluster: Cluster { reachable: [true; 2], packing, ..Cluster::default() },
            pool,
            neighbours: Neighbours::default(),
            placed: Vec::new(),
            turn: 0,
            kinds: Vec::new(),
            outcomes: (0, 0),
            graded: 0,
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<(), TestCaseError> {
        let mut draw = Draw(bytes);
        match draw.of(18) {
            0..=3 => {
                self.kinds.push(draw::pod(&mut draw));
                self.place(self.kinds.len() - 1)
            }
            4..=7 => {
                // Some more of two kinds in turns: what is counted for one changes as the other's pods come.
                let (one, other, many) = (usize::from(draw.of(255)), usize::from(draw.of(255)), draw.of(6));
                let known = self.kinds.len();
                let turns = (0..usize::from(many)).map(|turn| if turn % 2 == 0 { one } else { other });
                turns.filter(|_| known > 0).try_for_each(|kind| self.place(kind % known))
            }
            8..=12 => {
                let host = draw::host(&mut draw);
                let node = draw::node(&host.1, &mut draw);
                self.pool.set_node(host.0, &node);
                self.cluster.nodes.insert(host, node);
                Ok(())
            }
            13 => {
                let host = draw::host(&mut draw);
                self.pool.remove_node(host.0, &host.1);
                self.cluster.nodes.remove(&host);
                Ok(())
            }
            14 => {
                self.remove(usize::from(draw.of(255)));
                Ok(())
            }
            15 => {
                let (tenant, name, labels) = draw::namespace(&mut draw);
                let pairs = labels.iter().map(|(key, value)| (&**key, &**value));
                self.neighbours.namespace(tenant, name, pairs);
                self.cluster.namespaces.insert((tenant, name), labels);
                Ok(())
            }
            16 => {
                self.forget_unused();
                Ok(())
            }
            _ => {
                let (manager, reachable) = (draw.of(2), draw.of(4) < 3);
                self.pool.set_reachable(u16::from(manager), reachable);
                self.cluster.reachable[usize::from(manager)] = reachable;
                Ok(())
            }
        }
    }

    fn place(&mut self, kind: usize) -> Result<(), TestCaseError> {
        let pod = &self.kinds[kind].clone();
        let at = (pod.tenant, pod.namespace);
        self.turn = self.turn.wrapping_mul(0x9e37_79b9).wrapping_add(1);
        let object = encoded(pod, self.turn);
        let class = self.pool.enter(&pod.spec);
        let ask = self.pool.class(class).expect("entered").ask.clone();
        let wishes = self.neighbours.wishes(&mut self.pool, at, &object, &pod.spec, &ask);
        let left = self.neighbours.left(&self.pool, at, &object, &wishes);
        self.graded += u32::from(left.grades.is_some_and(|grades| grades.iter().count() > 1));
        let found = self.pool.find(class, &left, self.turn);
        let scores = self.cluster.scores(pod);
        let best = scores.values().copied().reduce(f64::max);
        prop_assert_eq!(found.is_some(), best.is_some(), "{:?}: found {:?}, the best has {:?}", pod, found, best);
        if let (Some(found), Some(best)) = (found, best) {
            let facts = self.pool.facts(found.host);
            let host = (facts.manager, facts.name.to_string());
            let score = scores.get(&host).copied();
            prop_assert!(score.is_some(), "{:?} does not fit on {:?}", pod, host);
            let score = score.unwrap_or_default();
            prop_assert!((score - best).abs() < ROUNDING, "{:?}: {:?} has {}, the best {}", pod, host, score, best);
            let said = found.score as f64 / 1000.0;
            prop_assert!((said - score).abs() < ROUNDING, "{:?}: {} is said of {:?}, it is {}", pod, said, host, score);
            self.neighbours.expect(&self.pool, at, &object, (host.0, &host.1), &wishes);
            self.pool.take_at(found.host, &ask.usage);
            self.placed.push((object, found.host, ask.usage.clone()));
            self.cluster.placed.push((pod.clone(), host));
            self.outcomes.0 += 1;
        } else {
            self.outcomes.1 += 1;
        }
        self.neighbours.forget_wishes(pod.tenant, &wishes);
        self.pool.leave(class);
        Ok(())
    }

    /// Forgets all words that nobody uses, after what is kept for a while has made way for other kinds of pods.
    fn forget_unused(&mut self) {
        for milli in 1..600 {
            let requests = json!({"requests": {"cpu": format!("{milli}m")}});
            let spec = json!({"containers": [{"name": "c", "resources": requests}]});
            let class = self.pool.note(&serde_json::from_value(spec).expect("a spec"));
            self.pool.leave(class);
        }
        let terms: Vec<_> = (0..70)
            .map(|at| json!({"labelSelector": {"matchLabels": {"at": at.to_string()}}, "topologyKey": "zone"}))
            .collect();
        let spreads: Vec<_> = (0..70)
            .map(|at| json!({"maxSkew": at + 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}))
            .collect();
        let spec: PodSpec = serde_json::from_value(json!({
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
            "topologySpreadConstraints": spreads, "containers": [],
        }))
        .expect("a spec");
        for tenant in draw::TENANTS {
            let pod = Pod { tenant, namespace: "a", labels: Labels::new(), spec: spec.clone() };
            let object = encoded(&pod, 0);
            let class = self.pool.note(&spec);
            let ask = self.pool.class(class).expect("noted").ask.clone();
            let wishes = self.neighbours.wishes(&mut self.pool, (tenant, "a"), &object, &spec, &ask);
            self.neighbours.forget_wishes(tenant, &wishes);
            self.pool.leave(class);
        }
        self.neighbours.forget_unused();
        self.pool.forget_unused(|words| self.neighbours.mark(words));
    }

    /// Takes away all pods and hosts. Says how many words and names of resources are left.
    fn end(mut self) -> (usize, usize) {
        while !self.placed.is_empty() {
            self.remove(0);
        }
        for (manager, name) in self.cluster.nodes.keys() {
            self.pool.remove_node(*manager, name);
        }
        self.forget_unused();
        self.pool.words_and_names()
    }

    fn remove(&mut self, which: usize) {
        if self.placed.is_empty() {
            return;
        }
        let at = which % self.placed.len();
        let (object, host, usage) = self.placed.swap_remove(at);
        let (pod, _) = self.cluster.placed.swap_remove(at);
        self.neighbours.displace(&self.pool, pod.tenant, object.header().uid());
        self.pool.give_back(host, &usage);
    }
}

fn encoded(pod: &Pod, number: u32) -> Encoded {
    let uid = format!("uid-{number}");
    let object = json!({"metadata": {"name": uid, "uid": uid, "namespace": pod.namespace, "labels": pod.labels}});
    let object = Object::from_value(object).expect("an object");
    Encoded::encode(&Arc::new(TypeMeta::new("", "v1", "Pod")), &object, &[]).expect("it encodes")
}

/// Lives through the steps, from a cluster that has hosts to begin with.
fn live(steps: &[Vec<u8>], packing: bool) -> Result<Both, TestCaseError> {
    let mut both = Both::new(packing);
    for step in steps {
        both.step(step)?;
    }
    Ok(both)
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 60), 1..most)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn the_host_that_is_found_is_as_good_as_the_best_of_a_look_at_all(steps in steps(200), packing: bool) {
        let (words, names) = live(&steps, packing)?.end();
        prop_assert!(words <= 1 && names == 3, "{} words and {} names are left of nothing", words, names);
    }
}

#[test]
fn both_outcomes_are_seen_in_a_large_cluster() {
    let random = arktos_store::clock::SeededRandom::new(11);
    let steps: Vec<Vec<u8>> = (0..800)
        .map(|_| {
            let mut bytes = vec![0; 60];
            arktos_store::Random::fill(&random, &mut bytes);
            bytes
        })
        .collect();
    let both = live(&steps, false).expect("both agree");
    let (placed, unplaced) = both.outcomes;
    assert!(placed > 100 && unplaced > 20, "{placed} found a place, {unplaced} none");
    assert!(both.graded > 50, "{} had hosts of several grades", both.graded);
}
