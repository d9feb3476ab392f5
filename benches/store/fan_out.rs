//! What a thousand watchers of one kind are told, as fast as it goes.

use std::time::Instant;

use arktos::core::Revision;
use arktos::store::{Commit, Engine, Selection, Within};

use crate::pods::{self, Pods};
use crate::report::{Found, Goal, Row, figure, median};
use crate::{Bench, Outcome, open_memory, process, progress, runtime};

pub const WATCHERS: usize = 1000;

/// Creates, updates and deletes mixed; the watchers get their turns after every commit, or after every group of 16, as
/// the log publishes them under load.
pub fn fan_out(bench: &Bench) -> Outcome<Found> {
    let events = bench.scale.pick(60, 1000, 3000);
    let rounds = bench.scale.pick(1, 3, 5);
    let pods = Pods::of(1024);
    let mut rows = Vec::new();
    for group in [1, 16] {
        let mut rates = Vec::new();
        let mut costs = Vec::new();
        for _ in 0..rounds {
            let commits: Vec<Commit> = (0..events).map(|step| pods.churn(step)).collect();
            let engine = open_memory();
            let runtime = runtime(2)?;
            let (rate, cost) = runtime.block_on(async {
                for commit in pods.before_churn() {
                    engine.commit(commit).await.expect("commits");
                }
                told(&engine, commits, group).await
            });
            rates.push(rate);
            costs.push(cost);
        }
        progress(format!("in groups of {group}: {:.0} events/s", median(rates.iter().copied())));
        let what = match group {
            1 => "events to 1,000 watchers, each commit published alone".to_owned(),
            group => format!("events to 1,000 watchers, commits in groups of {group}"),
        };
        rows.push(Row::of(what, figure(median(rates), "/s")).goal(Goal::AtLeast(1_000_000.0)));
        rows.push(Row::of("  CPU of an event, for each watcher", figure(median(costs), "ns")));
    }
    Ok(Found { rows, notes: vec!["the store is in memory: no disk waits between the commits".to_owned()] })
}

/// Events a second, and processor time of each in ns.
async fn told(engine: &Engine, commits: Vec<Commit>, group: usize) -> (f64, f64) {
    let begin = engine.snapshot().revision();
    let end = Revision(begin.0 + commits.len() as u64);
    let events = (commits.len() * WATCHERS) as f64;
    let selection = Selection::all(pods::resource(), Within::Everywhere);
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|_| {
            let mut cursor = engine.watch(selection.clone(), begin).expect("watches");
            tokio::spawn(async move {
                while cursor.revision() < end {
                    cursor.next().await.expect("delivers");
                }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let (start, cpu) = (Instant::now(), process::cpu());
    let engine = engine.clone();
    let writer = tokio::spawn(async move {
        for (at, commit) in commits.into_iter().enumerate() {
            engine.commit(commit).await.expect("commits");
            if (at + 1) % group == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    writer.await.expect("runs");
    for watcher in watchers {
        watcher.await.expect("runs");
    }
    (events / start.elapsed().as_secs_f64(), (process::cpu() - cpu) * 1e9 / events)
}
