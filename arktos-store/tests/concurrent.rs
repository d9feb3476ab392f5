//! Many writers and watchers at once, on several threads: every watcher sees every write once, in order.

mod model;

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::{Revision, Timestamp};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::commit::{Change, Commit, CommitError, Expect};
use arktos_store::log::{LogJournal, LogOptions};
use arktos_store::select::{Field, FieldTest};
use arktos_store::{Cursor, Delivery, Engine, EngineConfig, Random, Selection, Snapshot, WatchError, Within};
use model::{key, object, resource};

type Listed = BTreeMap<String, Revision>;

fn list(snapshot: &Snapshot, selection: &Selection) -> Listed {
    snapshot
        .range(&selection.resource, &selection.within, None)
        .filter(|stored| selection.matches(&stored.path, &stored.object))
        .map(|stored| (stored.path.to_string(), stored.revision))
        .collect()
}

/// Watches until the engine is closed. Gives back what is then believed to be there.
async fn follow(engine: Engine, mut cursor: Cursor) -> Listed {
    let mut believed = Listed::new();
    let mut last = Revision::ZERO;
    loop {
        let delivery = match cursor.next().await {
            Ok(delivery) => delivery,
            Err(WatchError::Closed) => return believed,
            Err(other) => panic!("{other}"),
        };
        assert!(delivery.revision() > last, "in order and once");
        last = delivery.revision();
        assert!(engine.snapshot().revision() >= last, "what is delivered can be read");
        let bookmark = cursor.bookmark_now();
        assert!(bookmark >= last);
        let stored = delivery.stored().expect("an object").clone();
        let before = match delivery {
            Delivery::Deleted(_) => believed.remove(stored.path.as_str()),
            _ => believed.insert(stored.path.to_string(), stored.revision),
        };
        assert_eq!(before.is_none(), matches!(delivery, Delivery::Added(_)), "at {last}");
    }
}

async fn write(engine: Engine, seed: u64) -> u64 {
    let random = SeededRandom::new(seed);
    let mut committed = 0;
    for _ in 0..300 {
        let (number, value) = ((random.next() % 18) as u8, (random.next() % 9) as u8);
        let found = engine.snapshot().get(&key(0, number));
        let expect = found.as_ref().map_or(Expect::Absent, |stored| Expect::At(stored.revision));
        let change = match found.is_some() && random.next().is_multiple_of(3) {
            true => Change::Delete,
            false => Change::put(object(number, &(value, value))),
        };
        match engine.commit(Commit::one(key(0, number), expect, change)).await {
            Ok(outcome) => {
                assert!(engine.snapshot().revision() >= outcome.revision, "a writer reads its write");
                committed += 1;
            }
            Err(CommitError::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    committed
}

fn selections() -> Vec<Selection> {
    let all = Selection::all(resource(0), Within::Everywhere);
    let mut selections = vec![all.clone(), all.clone()];
    for value in ["n0", "n1", "n2"] {
        let test = FieldTest { field: Field::At(0), value: value.to_owned(), equal: true };
        selections.push(all.clone().field(test));
    }
    selections.extend((0..6).map(|number| Selection::all(resource(0), Within::Object(model::path(number)))));
    selections
}

async fn run(engine: Engine) {
    let watchers: Vec<_> = selections()
        .into_iter()
        .map(|selection| {
            let cursor = engine.watch(selection.clone(), Revision::ZERO).expect("watches");
            (selection, tokio::spawn(follow(engine.clone(), cursor)))
        })
        .collect();
    let writers: Vec<_> = (0..8).map(|seed| tokio::spawn(write(engine.clone(), seed))).collect();
    let mut committed = 0;
    for writer in writers {
        committed += writer.await.expect("writes");
    }
    assert_eq!(engine.snapshot().revision(), Revision(committed), "one revision a write, and no gaps without a loss");
    engine.close().await;
    for (selection, watcher) in watchers {
        assert_eq!(watcher.await.expect("watches"), list(&engine.snapshot(), &selection), "{selection:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_memory() {
    run(Engine::memory(Arc::new(ManualClock::new(Timestamp::from_micros(0))))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_the_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = LogJournal::open(directory.path(), LogOptions::default()).expect("opens");
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    run(Engine::open(Box::new(journal), EngineConfig::default(), clock).expect("opens")).await;
}
