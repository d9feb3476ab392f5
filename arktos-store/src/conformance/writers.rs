//! Many writers at once: each sees what it builds on, and limits hold.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::{Checked, Fault, deliveries, ensure, everything, expect, key, put, value};
use crate::clock::ManualClock;
use crate::commit::{Commit, CommitError, CounterChange, Expect};
use crate::engine::Engine;

const WRITERS: usize = 8;
const ROUNDS: usize = 10;

pub(super) async fn check(engine: Engine, _clock: ManualClock) -> Checked {
    const AT: &str = "writers";
    let start = engine.commit(put(AT, "sum", Expect::Absent, "0")?).await?.revision;
    let mut cursor = engine.watch(everything(AT), start)?;
    let mut written = BTreeSet::new();
    for outcome in join_all((0..WRITERS).map(|_| add(&engine))).await {
        for revision in outcome? {
            ensure!(written.insert(revision), "{revision} was given out twice");
        }
    }
    let sum = engine.snapshot().get(&key(AT, "sum"));
    expect("the sum", sum.as_ref().map(value).transpose()?, Some((WRITERS * ROUNDS).to_string()))?;
    let told = deliveries(&engine, &mut cursor).await?;
    let expected: Vec<String> =
        written.iter().zip(1..).map(|(revision, sum)| format!("~sum={sum}@{revision}")).collect();
    expect("what a watcher was told", told, expected)
}

/// Adds one, again and again, each time to what it has read.
async fn add(engine: &Engine) -> Result<Vec<u64>, Fault> {
    let mut revisions = Vec::new();
    let mut read = engine.snapshot().get(&key("writers", "sum"));
    while revisions.len() < ROUNDS {
        let stored = read.take().ok_or_else(|| Fault("the object is gone".to_owned()))?;
        let sum: usize = value(&stored)?.parse().map_err(|_| Fault("not a number".to_owned()))?;
        let commit = put("writers", "sum", Expect::At(stored.revision), &(sum + 1).to_string())?;
        match engine.commit(commit).await {
            Ok(committed) => {
                revisions.push(committed.revision.0);
                read = engine.snapshot().get(&key("writers", "sum"));
            }
            Err(CommitError::Conflict { found, .. }) => read = found,
            Err(CommitError::Busy) => read = Some(stored),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(revisions)
}

pub(super) async fn check_counters(engine: Engine, _clock: ManualClock) -> Checked {
    const LIMIT: usize = 30;
    let change = |delta| CounterChange { counter: "conformance/many".into(), delta, limit: Some(LIMIT as i64) };
    let take = |name: String| {
        let engine = &engine;
        let counters = vec![change(1)];
        async move {
            loop {
                let commit = Commit { counters: counters.clone(), ..put("many", &name, Expect::Absent, "1")? };
                match engine.commit(commit).await {
                    Ok(_) => return Ok(true),
                    Err(CommitError::Limit { .. }) => return Ok(false),
                    Err(CommitError::Busy) => {}
                    Err(error) => return Err(Fault::from(error)),
                }
            }
        }
    };
    let mut taken = 0;
    for outcome in join_all((0..LIMIT + 10).map(|number| take(format!("taker-{number}")))).await {
        taken += usize::from(outcome?);
    }
    expect("how many were let through", taken, LIMIT)?;
    expect("the counter", engine.counter("conformance/many"), LIMIT as i64)?;
    engine.commit(Commit { counters: vec![change(-(LIMIT as i64))], ..Commit::default() }).await?;
    expect("the counter, given back", engine.counter("conformance/many"), 0)
}
