//! The search alone: what one pod costs over ever more hosts, in a pool that fills up. No API, no log.

use arktos::core::typed::{Node, PodSpec};
use arktos::sched::Pool;
use arktos::sched::neighbours::Left;
use arktos::sched::plugin::Plugins;
use serde_json::json;

use crate::report::{Found, Goal, Row, figure, median};
use crate::{Bench, Outcome, process, progress};

/// Finds and takes a place for so many pods of four sizes, a few times over; the processor time of each, in ns.
fn cost(hosts: u32, pods: u32, rounds: usize) -> Outcome<f64> {
    progress(format!("{hosts} hosts"));
    let mut pool = Pool::new(1, Plugins::default());
    pool.set_reachable(0, true);
    for at in 0..hosts {
        pool.set_node(0, &host(at)?);
    }
    let mut classes = Vec::new();
    for size in 1..=4 {
        let requests = json!({"cpu": format!("{}m", size * 100), "memory": format!("{}Mi", size * 250)});
        let container = json!({"name": "c", "resources": {"requests": requests}});
        let spec: PodSpec = serde_json::from_value(json!({"containers": [container]}))?;
        classes.push(pool.enter(&spec));
    }
    let mut costs = Vec::new();
    let mut turn = 0u32;
    for _ in 0..rounds {
        let begun = process::thread_cpu();
        for pod in 0..pods {
            let class = classes[pod as usize % classes.len()];
            turn = turn.wrapping_add(0x9e37_79b9);
            let found = pool.find(class, &Left::default(), turn).ok_or("the pool is full")?;
            let usage = pool.class(class).map(|class| class.ask.usage.clone()).unwrap_or_default();
            pool.take_at(found.host, &usage);
        }
        costs.push((process::thread_cpu() - begun) / f64::from(pods) * 1e9);
    }
    Ok(median(costs))
}

/// Hosts of seven sizes, so that neighbours in the tree differ.
fn host(at: u32) -> Outcome<Node> {
    let size = 16 + 8 * (at % 7);
    Ok(serde_json::from_value(json!({
        "metadata": {"name": format!("node-{at}")},
        "status": {"allocatable": {"cpu": size.to_string(), "memory": format!("{size}Gi"), "pods": "110"}},
    }))?)
}

pub fn search(bench: &Bench) -> Outcome<Found> {
    let sizes = bench.scale.pick(vec![1_000, 5_000], vec![5_000, 100_000], vec![5_000, 100_000, 1_000_000]);
    let (pods, rounds) = bench.scale.pick((500, 1), (10_000, 3), (20_000, 5));
    let mut rows = Vec::new();
    let mut least = None;
    for hosts in sizes {
        let each = figure(cost(hosts, pods, rounds)?, "ns");
        let row = Row::of(format!("search and take, {hosts} hosts, CPU of a pod"), each);
        let first = *least.get_or_insert(each);
        rows.push(if first == each { row } else { row.goal(Goal::TimesAtMost(2.0)).limit(first) });
    }
    Ok(Found { rows, notes: vec!["the limit is the same over the fewest hosts; one thread".to_owned()] })
}
