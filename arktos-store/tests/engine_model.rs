//! The engine against a model that is too simple to be wrong: a list of all states there ever were.

mod model;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectPath, Revision, Timestamp};
use arktos_store::clock::ManualClock;
use arktos_store::commit::{Change, Commit, CommitError, CounterChange, Expect, Guard, Write};
use arktos_store::{Cursor, Delivery, Engine, EngineConfig, Selection, Stored, WatchError};
use model::{Model, Step, key, object, steps};
use proptest::prelude::*;

/// A cursor beside what its watcher believes to be there.
struct Watcher {
    cursor: Cursor,
    selection: Selection,
    opened: Revision,
    believed: BTreeMap<ObjectPath, Stored>,
    last: Revision,
}

impl Watcher {
    /// Takes everything there is, and checks each delivery against what was believed.
    fn drain(&mut self) -> Result<(), WatchError> {
        while let Some(delivery) = self.cursor.try_next()? {
            assert!(delivery.revision() > self.last.max(self.opened), "in order, once, and after the start");
            self.last = delivery.revision();
            let stored = delivery.stored().expect("not a bookmark").clone();
            let before = match &delivery {
                Delivery::Deleted(_) => self.believed.remove(&stored.path),
                _ => self.believed.insert(stored.path.clone(), stored.clone()),
            };
            match delivery {
                Delivery::Added(_) => assert_eq!(before, None),
                Delivery::Modified(_) => assert!(before.is_some()),
                Delivery::Deleted(_) => assert_eq!(before.expect("was there").object, stored.object),
                _ => unreachable!("no bookmarks unless asked"),
            }
        }
        Ok(())
    }
}

fn run(steps: Vec<Step>, history_bytes: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let mut config = EngineConfig::default();
    config.history_window = Duration::from_secs(60);
    config.history_bytes = history_bytes;
    let engine = Engine::memory_with(config, clock.clone());
    let mut model = Model::default();
    let mut watchers: Vec<Watcher> = Vec::new();
    for step in steps {
        match step {
            Step::Commit(plan) => commit(&runtime, &engine, &mut model, &plan),
            Step::Watch(selection, back) => {
                let after = Revision(model.revision().0.saturating_sub(back));
                match engine.watch(selection.clone(), after) {
                    Ok(cursor) => {
                        let believed = model.list(after, &selection);
                        watchers.push(Watcher { cursor, selection, opened: after, believed, last: Revision::ZERO });
                    }
                    Err(WatchError::Compacted { wanted, oldest }) => {
                        assert_eq!(wanted, after);
                        assert!(oldest > after && oldest <= model.revision());
                        engine.watch(selection, oldest).expect("the edge is clean");
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Drain(which) => {
                let Some(at) = (!watchers.is_empty()).then(|| which % watchers.len()) else { continue };
                let watcher = &mut watchers[at];
                match watcher.drain() {
                    Ok(()) => {
                        assert_eq!(watcher.believed, model.list(model.revision(), &watcher.selection));
                        assert_eq!(watcher.cursor.bookmark_now(), model.revision());
                    }
                    Err(WatchError::Compacted { .. }) => drop(watchers.swap_remove(at)),
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Bookmark(which) => {
                let Some(at) = (!watchers.is_empty()).then(|| which % watchers.len()) else { continue };
                let watcher = &mut watchers[at];
                let bookmark = watcher.cursor.bookmark_now();
                assert!(bookmark >= watcher.last && bookmark <= model.revision());
                // nothing that is selected lies between what was delivered and the bookmark
                let seen = model.list(bookmark, &watcher.selection);
                assert_eq!(watcher.believed, seen, "a bookmark at {bookmark} skips something");
            }
            Step::Read(selection, back) => {
                let at = Revision(model.revision().0.saturating_sub(back));
                match engine.exactly_at(at) {
                    Ok(snapshot) => {
                        assert_eq!(snapshot.revision(), at);
                        let listed = snapshot.range(&selection.resource, &selection.within, None);
                        let listed: Vec<Stored> = listed.map(Arc::unwrap_or_clone).collect();
                        let all = Selection::all(selection.resource.clone(), selection.within.clone());
                        assert_eq!(listed, model.list(at, &all).into_values().collect::<Vec<_>>());
                        assert_eq!(snapshot.count(&selection.resource, &selection.within), listed.len());
                        let mut walked = Vec::new();
                        let stopped = snapshot.walk(&selection.resource, &selection.within, None, |stored| {
                            walked.push(stored.clone());
                            if walked.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                        });
                        assert_eq!(walked, listed[..listed.len().min(3)]);
                        assert_eq!(stopped.is_break(), listed.len() >= 3);
                        if let Some(middle) = listed.get(listed.len() / 2) {
                            let rest = snapshot.range(&selection.resource, &selection.within, Some(&middle.path));
                            let rest = rest.map(Arc::unwrap_or_clone);
                            assert_eq!(rest.collect::<Vec<_>>(), listed[listed.len() / 2 + 1..]);
                        }
                    }
                    Err(WatchError::Compacted { oldest, .. }) => assert!(oldest > at),
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Pass(seconds) => {
                clock.advance(Duration::from_secs(seconds));
                runtime.block_on(engine.compact(arktos_store::Clock::now(&*clock))).expect("compacts");
            }
        }
    }
}

/// Commits to both, and compares the outcome.
fn commit(runtime: &tokio::runtime::Runtime, engine: &Engine, model: &mut Model, plan: &model::Plan) {
    let newest = model.revision();
    let expect = |(key, kind): &(arktos_core::ObjectKey, u8)| match kind % 6 {
        0 | 1 => Expect::Anything,
        2 => Expect::Absent,
        3 => Expect::Present,
        4 => Expect::Live,
        _ => Expect::At(model.get(newest, key).map_or(Revision(7), |stored| stored.revision)),
    };
    let writes: Vec<Write> = plan
        .writes
        .iter()
        .map(|write| Write {
            key: key(write.resource, write.path),
            expect: expect(&(key(write.resource, write.path), write.expect)),
            change: write.labels.as_ref().map_or(Change::Delete, |labels| Change::put(object(write.path, labels))),
        })
        .collect();
    let guards: Vec<Guard> = plan
        .guard
        .iter()
        .map(|(resource, path, kind)| Guard {
            key: key(*resource, *path),
            expect: expect(&(key(*resource, *path), *kind)),
        })
        .collect();
    let counters: Vec<CounterChange> = plan
        .counter
        .iter()
        .map(|(delta, limit)| CounterChange { counter: "ips".into(), delta: *delta, limit: *limit })
        .collect();
    let commit = Commit { writes, guards, counters, ..Commit::default() };
    let outcome = runtime.block_on(engine.commit(commit.clone()));
    match (model.commit(&commit), outcome) {
        (Ok(expected), Ok(committed)) => assert_eq!(committed.revisions, expected),
        (Err(expected), Err(refused)) => {
            let found = match refused {
                CommitError::Guarded { .. } => "guarded",
                CommitError::Conflict { .. } => "conflict",
                CommitError::Limit { .. } => "limit",
                other => panic!("{other}"),
            };
            assert_eq!(found, expected);
        }
        (expected, found) => panic!("{expected:?} and {found:?}"),
    }
    assert_eq!(engine.snapshot().revision(), model.revision());
    assert_eq!(engine.counter("ips"), model.counter());
    for write in &commit.writes {
        assert_eq!(engine.snapshot().get(&write.key), model.get(model.revision(), &write.key));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_engine_does_what_the_model_does(steps in steps(120), small in any::<bool>()) {
        run(steps, if small { 256 * 12 } else { usize::MAX });
    }
}
