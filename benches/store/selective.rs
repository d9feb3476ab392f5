//! Watchers that each see the pods of one node: what an event costs beside ever more of them, and what they weigh.

use arktos::core::Revision;
use arktos::store::select::{Field, FieldTest};
use arktos::store::{Change, Commit, Cursor, Expect, Selection, Within};
use futures::executor::block_on;
use serde_json::{Value, json};

use crate::callgrind::{counted, instructions_each};
use crate::part::child;
use crate::pods::{self, Pods};
use crate::report::{Figure, Found, Goal, Row, figure, median};
use crate::{Bench, Outcome, open_memory, process, progress};

/// Beyond this valgrind takes too long.
const COUNTED_AT_MOST: usize = 1_000_000;

pub fn selective(bench: &Bench) -> Outcome<Found> {
    let numbers: &[usize] = bench.scale.pick(&[100, 1000], &[1000, 100_000], &[1000, 10_000, 100_000, 1_000_000]);
    let events = bench.scale.pick(100, 50_000, 100_000);
    let rounds = bench.scale.pick(1, 3, 5);
    let mut times = vec![Vec::new(); numbers.len()];
    let mut weights = times.clone();
    for _ in 0..rounds {
        for (at, watchers) in numbers.iter().enumerate() {
            let found = child(&["selective", &watchers.to_string(), &events.to_string()])?;
            times[at].push(found["ns_each"].as_f64().unwrap_or(f64::NAN));
            weights[at].push(found["bytes_each"].as_f64().unwrap_or(f64::NAN));
        }
    }
    let mut found = Found::default();
    let mut first: [Option<Figure>; 2] = [None, None];
    for (at, watchers) in numbers.iter().enumerate() {
        let time = figure(median(times[at].iter().copied()), "ns");
        let weight = figure(median(weights[at].iter().copied()), "B");
        progress(format!("{watchers} watchers: {:.0} ns an event, {:.0} bytes each", time.value, weight.value));
        let counted = *watchers <= bench.scale.pick(0, 10_000, COUNTED_AT_MOST);
        let instructions = counted.then(|| instructions_each(&["selective", &watchers.to_string()], 2000));
        if let Some(instructions) = instructions.flatten() {
            let instructions = figure(instructions, "instr.");
            let row = Row::of(format!("event beside {watchers} selective watchers"), instructions);
            found.rows.push(row.limit(*first[0].get_or_insert(instructions)).goal(Goal::TimesAtMost(1.2)));
        }
        // The goal is one of instructions: what this has beyond them are misses of the caches.
        let row = Row::of(format!("  CPU of it beside {watchers}"), time);
        found.rows.push(row.limit(*first[1].get_or_insert(time)));
        let row = Row::of("  memory of a watcher", weight);
        found.rows.push(if at + 1 == numbers.len() { row.goal(Goal::AtMost(2048.0)) } else { row });
    }
    found.notes.push("an event is a commit in memory and its delivery to the one it concerns".to_owned());
    found.notes.push("the limit is the same beside the fewest watchers".to_owned());
    found
        .notes
        .push(format!("instructions are counted with valgrind, beside {COUNTED_AT_MOST} at most; nowhere without it"));
    found.notes.push("memory is what the process grows by, the cursor and its selection included".to_owned());
    Ok(found)
}

/// How many watchers, and how many events.
pub fn part(arguments: &[String]) -> Outcome<Value> {
    let [watchers, events] = arguments else { return Err("selective WATCHERS EVENTS".into()) };
    let (watchers, events): (usize, usize) = (watchers.parse()?, events.parse()?);
    let engine = open_memory();
    let pods = Pods::of(1024);
    let whose = |number: usize| number.wrapping_mul(7919) % watchers; // all over, so that caches do not help
    let commits: Vec<Commit> = (0..events)
        .map(|number| Commit::one(pods::key(number), Expect::Absent, Change::put(pods.on_node(number, whose(number)))))
        .collect();
    let before = process::resident();
    let mut cursors: Vec<Cursor> = Vec::with_capacity(watchers);
    for number in 0..watchers {
        let test = FieldTest { field: Field::At(0), value: pods::node(number), equal: true };
        let selection = Selection::all(pods::resource(), Within::Everywhere).field(test);
        let mut cursor = engine.watch(selection, Revision::ZERO)?;
        assert!(cursor.try_next()?.is_none(), "it waits");
        cursors.push(cursor);
    }
    let bytes_each = (process::resident() - before) / watchers as f64;
    let cpu = process::thread_cpu();
    counted(|| {
        for (number, commit) in commits.into_iter().enumerate() {
            block_on(engine.commit(commit))?;
            let cursor = &mut cursors[whose(number)];
            assert!(cursor.try_next()?.is_some() && cursor.try_next()?.is_none(), "one event concerns it");
        }
        Outcome::Ok(())
    })?;
    let ns_each = (process::thread_cpu() - cpu) * 1e9 / events as f64;
    Ok(json!({"ns_each": ns_each, "bytes_each": bytes_each}))
}
