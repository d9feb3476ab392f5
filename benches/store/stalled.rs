//! One of a thousand watchers stops reading: what the others pay for it, and whether it is cut off.

use std::sync::Arc;

use arktos::store::{Cursor, Engine, Selection, Within};
use futures::executor::block_on;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::callgrind::{counted, instructions_each};
use crate::fan_out::WATCHERS;
use crate::load::paced;
use crate::pods::{self, Pods};
use crate::report::{Found, Goal, Row, figure};
use crate::{Bench, Outcome, open_memory, process, progress, runtime};

const PER_SECOND: usize = 500;

pub fn stalled(bench: &Bench) -> Outcome<Found> {
    let (without, with) = bench.scale.pick((1, 1), (3, 10), (20, 60));
    let runtime = runtime(2)?;
    let (engine, pods) = (open_memory(), Pods::of(1024));
    for commit in pods.before_churn() {
        block_on(engine.commit(commit))?;
    }
    let mut load = Load { runtime, engine, pods, step: 0, cut_off: 0 };
    let before = load.run(without, false)?;
    let meanwhile = load.run(with, true)?;
    let after = load.run(without, false)?;
    let nobody = (before + after) / 2.0;
    progress(format!("ns of CPU an event: {before:.0} before, {meanwhile:.0} meanwhile, {after:.0} after"));
    let mut rows = vec![
        Row::of(format!("one of 1,000 watchers stalled {with} s: CPU of an event"), figure(meanwhile, "ns"))
            .limit(figure(nobody, "ns"))
            .goal(Goal::TimesAtMost(1.1)),
        Row::of("  watchers cut off, or that missed something", figure(f64::from(load.cut_off), ""))
            .goal(Goal::AtMost(0.0)),
    ];
    let mut notes = vec!["the limit is the same with nobody stalled, before and after".to_owned()];
    let events = bench.scale.pick(0, 20, 100);
    let count = |stalled: &str| instructions_each(&["stalled", stalled], events);
    match (events > 0).then(|| count("1").zip(count("0"))).flatten() {
        Some((with, without)) => rows.push(
            Row::of("  instructions of an event", figure(with / (WATCHERS - 1) as f64, "instr."))
                .limit(figure(without / WATCHERS as f64, "instr."))
                .goal(Goal::TimesAtMost(1.1)),
        ),
        None if events == 0 => {}
        None => notes.push("no valgrind here to count instructions".to_owned()),
    }
    Ok(Found { rows, notes })
}

struct Load {
    runtime: Runtime,
    engine: Engine,
    pods: Pods,
    step: usize,
    cut_off: u32,
}

impl Load {
    /// The processor time of each event that was delivered, in ns.
    fn run(&mut self, seconds: usize, one_stalls: bool) -> Outcome<f64> {
        let (first, writes) = (self.step, seconds * PER_SECOND);
        self.step += writes;
        let begin = self.engine.snapshot().revision();
        let selection = Selection::all(pods::resource(), Within::Everywhere);
        let mut cursors: Vec<Cursor> =
            (0..WATCHERS).map(|_| self.engine.watch(selection.clone(), begin)).collect::<Result<_, _>>()?;
        let mut idle = if one_stalls { cursors.pop() } else { None };
        let readers = cursors.len();
        let cpu = process::cpu();
        let watchers: Vec<_> = cursors.into_iter().map(|cursor| self.runtime.spawn(read(cursor, writes))).collect();
        let pods = self.pods.clone();
        let commits = (first..first + writes).map(move |step| pods.churn(step));
        let paced = paced(self.runtime.handle(), &self.engine, PER_SECOND, commits, Arc::default());
        if let Some(idle) = &mut idle {
            self.runtime.block_on(idle.next())?; // one event, and then no more
        }
        for (_, write) in paced.join().expect("runs") {
            self.runtime.block_on(write)?;
        }
        for watcher in watchers {
            self.cut_off += u32::from(self.runtime.block_on(watcher)? != writes);
        }
        let used = process::cpu() - cpu;
        if let Some(idle) = idle {
            self.cut_off += u32::from(self.runtime.block_on(read(idle, writes - 1)) != writes - 1);
        }
        Ok(used * 1e9 / (readers * writes) as f64)
    }
}

/// Reads this many events, or to the end of what it is given.
async fn read(mut cursor: Cursor, events: usize) -> usize {
    let mut read = 0;
    while read < events && cursor.next().await.is_ok() {
        read += 1;
    }
    read
}

/// For valgrind: whether one is stalled, and how many events.
pub fn part(arguments: &[String]) -> Outcome<Value> {
    let [stalled, events] = arguments else { return Err("stalled 0|1 EVENTS".into()) };
    let (events, readers): (usize, usize) = (events.parse()?, WATCHERS - usize::from(stalled == "1"));
    let (engine, pods) = (open_memory(), Pods::of(1024));
    for commit in pods.before_churn() {
        block_on(engine.commit(commit))?;
    }
    let begin = engine.snapshot().revision();
    let selection = Selection::all(pods::resource(), Within::Everywhere);
    let mut cursors: Vec<Cursor> =
        (0..WATCHERS).map(|_| engine.watch(selection.clone(), begin)).collect::<Result<_, _>>()?;
    for cursor in &mut cursors {
        assert!(cursor.try_next()?.is_none(), "it waits");
    }
    let commits: Vec<_> = (0..events).map(|step| pods.churn(step)).collect();
    let delivered = counted(|| {
        let mut delivered = 0;
        for commit in commits {
            block_on(engine.commit(commit))?;
            for cursor in &mut cursors[..readers] {
                while cursor.try_next()?.is_some() {
                    delivered += 1;
                }
            }
        }
        Outcome::Ok(delivered)
    })?;
    Ok(json!({"delivered": delivered}))
}
