//! The nine guarantees, of watches that are opened, read, left and resumed in every way while history is dropped.

use std::time::Duration;

use arktos_core::{Encoded, LabelSelector, Revision};
use futures::future::join_all;

use super::guarantees::{self, History, Recorder, Tally, Written};
use super::{Checked, Fault, Kit, ensure, everything, key, object};
use crate::clock::{Clock, ManualClock, Random, SeededRandom};
use crate::commit::{Change, Commit, CommitError, Expect, Write};
use crate::engine::{Engine, EngineConfig};
use crate::select::{Field, FieldTest, Selection, Within};
use crate::tasks::give_way;

const AT: &str = "streams";
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const ROUNDS: usize = 240;
/// How much time passes in a round, of the history window below.
const ROUND: Duration = Duration::from_millis(25);
/// After how many rounds history is dropped: every 100 ms.
const COMPACTION: usize = 4;
const WINDOW: Duration = Duration::from_secs(1);
/// How far from now watches are opened, in writes.
const OFFSET: u64 = 100;

pub(super) async fn check(kit: &Kit<'_>) -> Checked {
    let config = EngineConfig { history_window: WINDOW, ..EngineConfig::default() };
    kit.configured(config, |engine, clock| async move { run(&engine, &clock).await }).await
}

async fn run(engine: &Engine, clock: &ManualClock) -> Checked {
    let random = SeededRandom::new(9);
    let start = engine.snapshot().revision();
    let mut writes: Vec<Written> = Vec::new();
    let mut watches: Vec<Recorder> = Vec::new();
    let mut left_behind = 0;
    for round in 0..ROUNDS {
        let commits: Vec<Vec<Changed>> = (0..1 + random.next() % 3).map(|_| plan(&random)).collect();
        for written in join_all(commits.iter().map(|commit| write(engine, commit))).await {
            writes.extend(written?);
        }
        clock.advance(ROUND);
        if round % COMPACTION == 0 {
            engine.compact(clock.now()).await?;
        }
        if round % 3 == 0 {
            let newest = engine.snapshot().revision();
            let after = near(&random, newest, start, writes.len());
            watches.push(Recorder::open(engine, selection(&random)?, after)?);
        }
        for (number, watch) in watches.iter_mut().enumerate() {
            act(watch, &random, number % 3 == 2)?;
        }
        give_way().await;
    }
    ensure!(engine.snapshot().revision() > start, "nothing was written");
    let history = History::new(writes);
    let mut tally = Tally::default();
    for mut watch in watches {
        finish(engine, &mut watch).await?;
        let (recordings, behind) = watch.into_recordings();
        left_behind += behind;
        for recording in recordings {
            let more = guarantees::check(&history, &recording).map_err(|broken| Fault(broken.to_string()))?;
            tally.add(&more);
        }
    }
    ensure!(
        tally.is_worth_something() && left_behind > 0,
        "too little was checked: {tally:?}, {left_behind} left behind"
    );
    Ok(())
}

/// A revision up to about a hundred writes from now, before or after.
fn near(random: &SeededRandom, newest: Revision, start: Revision, written: usize) -> Revision {
    let stride = (newest.0 - start.0) / u64::try_from(written.max(1)).unwrap_or(u64::MAX);
    let distance = random.next() % OFFSET * stride.max(1) + random.next() % stride.max(1);
    match random.next() % 3 {
        0 => Revision(newest.0 + distance),
        _ => Revision(newest.0.saturating_sub(distance).max(start.0)),
    }
}

/// What one watch does in a round: a slow one mostly nothing.
fn act(watch: &mut Recorder, random: &SeededRandom, slow: bool) -> Result<(), Fault> {
    if slow && !random.next().is_multiple_of(24) {
        return Ok(());
    }
    if random.next().is_multiple_of(4) {
        watch.bookmark();
    }
    let most = if slow { 1 } else { random.next() % 8 };
    watch.read(usize::try_from(most).unwrap_or(0))?;
    match random.next() % 12 {
        0 => watch.reconnect()?,
        1 => {
            watch.bookmark();
            watch.reconnect()?;
        }
        _ => {}
    }
    Ok(())
}

/// Reads until everything that was written has been told.
async fn finish(engine: &Engine, watch: &mut Recorder) -> Checked {
    let newest = engine.snapshot().revision();
    loop {
        let until = watch.bookmark();
        watch.read(usize::MAX)?;
        if until >= newest {
            return Ok(());
        }
        give_way().await;
    }
}

/// One object to change: its name, and its value or nothing.
type Changed = (&'static str, Option<Encoded>);

fn plan(random: &SeededRandom) -> Vec<Changed> {
    let first = usize::try_from(random.next() % 6).unwrap_or(0);
    let writes = if random.next().is_multiple_of(4) { 3 } else { 1 };
    let change = |at: usize| {
        let name = NAMES[(first + at) % NAMES.len()];
        let value = ["in", "out", "elsewhere"][usize::try_from(random.next() % 3).unwrap_or(0)];
        let deletes = random.next().is_multiple_of(4);
        (name, if deletes { None } else { object(name, value, false).ok() })
    };
    (0..writes).map(change).collect()
}

/// Writes; gives back what happened. A deletion of what is not there refuses the whole commit.
async fn write(engine: &Engine, changes: &[Changed]) -> Result<Vec<Written>, Fault> {
    let write = |(name, object): &Changed| {
        let (expect, change) = match object {
            Some(object) => (Expect::Anything, Change::put(object.clone())),
            None => (Expect::Present, Change::Delete),
        };
        Write { key: key(AT, name), expect, change }
    };
    let commit = Commit { writes: changes.iter().map(write).collect(), ..Commit::default() };
    let revisions = match engine.commit(commit).await {
        Ok(committed) => committed.revisions,
        Err(CommitError::Conflict { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let written = |(revision, (name, object)): (&Revision, &Changed)| Written {
        revision: *revision,
        commit: revisions.first().copied().unwrap_or_default(),
        path: key(AT, name).path,
        object: object.clone(),
    };
    Ok(revisions.iter().zip(changes).map(written).collect())
}

fn selection(random: &SeededRandom) -> Result<Selection, Fault> {
    let labels = |labels| LabelSelector::parse(labels).map_err(|error| Fault(error.to_string()));
    let field = |equal| vec![FieldTest { field: Field::At(0), value: "in".to_owned(), equal }];
    Ok(match random.next() % 6 {
        0 => Selection { labels: labels("value=in")?, ..everything(AT) },
        1 => Selection { labels: labels("value notin (in)")?, ..everything(AT) },
        2 => Selection { fields: field(true), ..everything(AT) },
        3 => Selection { fields: field(false), ..everything(AT) },
        4 => Selection { within: Within::Object(key(AT, "b").path), ..everything(AT) },
        _ => everything(AT),
    })
}
