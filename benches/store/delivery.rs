//! From a commit to each of a thousand watchers, at a steady pace, on a disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arktos::core::Revision;
use arktos::store::{Cursor, Engine, Selection, Within};

use crate::fan_out::WATCHERS;
use crate::load::paced;
use crate::pods::{self, Pods};
use crate::report::{Found, Goal, Row, figure, percentile};
use crate::{Bench, Outcome, open_log, process, progress, runtime};

/// Counted from when a write is due, so that sync, queues and lateness are all in it.
pub fn delivery(bench: &Bench) -> Outcome<Found> {
    let time = bench.scale.pick(1, 3, 15);
    let pods = Pods::of(1024);
    let mut rows = Vec::new();
    for (rate, p99) in [(500, 2000.0), (1000, 10_000.0)] {
        let rate = bench.scale.pick(rate / 10, rate, rate);
        let engine = open_log(&bench.directory.join(format!("log-{rate}")))?;
        let (mut times, cpu) = delays(&engine, &pods, rate, rate * time)?;
        let (half, most) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
        progress(format!("at {rate} writes/s: p50 {half:.0} µs, p99 {most:.0} µs"));
        rows.push(
            Row::of(format!("commit → delivery, 1,000 watchers, {rate} writes/s, p99"), figure(most, "µs"))
                .goal(Goal::AtMost(p99)),
        );
        rows.push(Row::of("  p50", figure(half, "µs")));
        rows.push(Row::of("  cores busy meanwhile", figure(cpu, "of 2")));
    }
    let notes = vec!["counted from when the write is due until the watcher has it: the sync is in it".to_owned()];
    Ok(Found { rows, notes })
}

/// All delays in µs, and how many cores were busy.
fn delays(engine: &Engine, pods: &Pods, per_second: usize, writes: usize) -> Outcome<(Vec<f64>, f64)> {
    let runtime = runtime(2)?;
    runtime.block_on(async {
        for commit in pods.before_churn() {
            engine.commit(commit).await.expect("commits");
        }
    });
    let begin = engine.snapshot().revision();
    let start = Instant::now();
    let selection = Selection::all(pods::resource(), Within::Everywhere);
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|_| {
            let cursor = engine.watch(selection.clone(), begin).expect("watches");
            runtime.spawn(arrivals(cursor, writes, start))
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200)); // all of them wait by then
    let cpu = process::cpu();
    let load = pods.clone();
    let commits = (0..writes).map(move |step| load.churn(step));
    let paced = paced(runtime.handle(), engine, per_second, commits, Arc::default()).join().expect("runs");
    let mut due = vec![0.0; writes];
    for (at, revision) in paced {
        let revision: Revision = runtime.block_on(revision)?;
        due[(revision.0 - begin.0 - 1) as usize] = (at - start).as_secs_f64() * 1e6;
    }
    let mut delays = Vec::with_capacity(writes * WATCHERS);
    for watcher in watchers {
        let arrivals = runtime.block_on(watcher)?;
        delays.extend(arrivals.iter().zip(&due).map(|(arrived, due)| f64::from(*arrived) - due));
    }
    let busy = (process::cpu() - cpu) / (writes as f64 / per_second as f64);
    runtime.block_on(engine.close());
    Ok((delays, busy))
}

/// When each event came, in µs after the start: one for every revision, none left out.
async fn arrivals(mut cursor: Cursor, events: usize, start: Instant) -> Vec<u32> {
    let mut arrivals = Vec::with_capacity(events);
    let mut last = cursor.revision();
    for _ in 0..events {
        let delivery = cursor.next().await.expect("delivers");
        arrivals.push(u32::try_from(start.elapsed().as_micros()).expect("within an hour"));
        assert_eq!(delivery.revision().0, last.0 + 1, "every event comes, in order");
        last = delivery.revision();
    }
    arrivals
}
