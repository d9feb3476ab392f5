//! The engine's own code under a scheduler that tries interleavings, thousands of them: no wake-up is lost, no bookmark
//! is early, and every commit is answered, whoever goes on at which moment.
//!
//! Built and run by `cargo xtask test`; see CONTRIBUTING.md. A wake-up that is lost shows as a deadlock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, Revision, Timestamp, TypeMeta};
use shuttle::future::block_on;
use shuttle::thread;

use super::at_rest::AtRest;
use super::cursor::Cursor;
use super::history::HistoryLimit;
use super::shared::Publisher;
use super::state::State;
use super::view::View;
use super::{Engine, EngineConfig};
use crate::clock::ManualClock;
use crate::commit::{Change, Commit, CommitError, Expect};
use crate::encryption::Encryption;
use crate::select::{Field, FieldTest, Selection, WatchError, Within};
use crate::storage::{AppendError, Group, Journal, OpenError, Record, Restore};

/// Runs a test under many schedules: random ones, and such with few changes of who goes on.
fn try_all(test: impl Fn() + Send + Sync + 'static) {
    let asked = std::env::var("ARKTOS_INTERLEAVINGS").ok().and_then(|tries| tries.parse().ok());
    let tries = asked.unwrap_or(1500);
    let test = Arc::new(test);
    let again = test.clone();
    shuttle::check_random(move || test(), tries);
    shuttle::check_pct(move || again(), tries, 3);
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_micros(0)))
}

fn resource() -> GroupResource {
    GroupResource::core("things")
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { resource: resource(), path: ObjectPath::new("acme", "default", name) }
}

fn object(name: &str) -> Encoded {
    let type_meta = Arc::new(TypeMeta::new("", "v1", "Thing"));
    let object = Object::new(&type_meta, name);
    Encoded::encode(&type_meta, &object, &[&["metadata", "name"]]).expect("encodes")
}

fn put(name: &str, expect: Expect) -> Commit {
    Commit::one(key(name), expect, Change::put(object(name)))
}

fn everything() -> Selection {
    Selection::all(resource(), Within::Everywhere)
}

/// Only the object of this name, by a field: filed under it in the index.
fn only(name: &str) -> Selection {
    let test = FieldTest { field: Field::At(0), value: name.to_owned(), equal: true };
    Selection { fields: vec![test], ..everything() }
}

/// Commits to each of these names, one after the other.
fn write(engine: &Engine, names: &'static [&'static str]) -> thread::JoinHandle<Vec<Revision>> {
    let engine = engine.clone();
    thread::spawn(move || write_all(&engine, names))
}

fn write_all(engine: &Engine, names: &[&str]) -> Vec<Revision> {
    let commits = names.iter().map(|name| block_on(engine.commit(put(name, Expect::Anything))));
    let committed: Vec<_> = commits.filter_map(Result::ok).collect();
    assert!(committed.iter().all(|it| engine.snapshot().revision() >= it.revision), "a writer reads its write");
    committed.into_iter().map(|it| it.revision).collect()
}

/// The same, from a thread that stands behind others.
fn write_behind(engine: &Engine, names: &'static [&'static str]) -> thread::JoinHandle<Vec<Revision>> {
    let engine = engine.clone();
    thread::spawn(move || {
        crate::behind::stand();
        write_all(&engine, names)
    })
}

#[test]
fn a_cursor_that_waits_is_woken_and_told_everything_in_order() {
    try_all(|| {
        let engine = Engine::memory(clock());
        let mut all = engine.watch(everything(), Revision::ZERO).expect("watches");
        let mut one = engine.watch(only("b"), Revision::ZERO).expect("watches");
        let writers = [write(&engine, &["a", "b"]), write(&engine, &["c", "d"])];
        let reader = thread::spawn(move || {
            for revision in 1..=4 {
                assert_eq!(block_on(all.next()).expect("goes on").revision(), Revision(revision));
            }
        });
        assert_eq!(block_on(one.next()).expect("goes on").stored().expect("an object").path, key("b").path);
        reader.join().expect("reads");
        writers.into_iter().for_each(|writer| drop(writer.join().expect("writes")));
        assert_eq!(one.try_next(), Ok(None));
        assert_eq!(one.bookmark_now(), Revision(4));
    });
}

#[test]
fn no_bookmark_is_given_before_what_it_promises() {
    try_all(|| {
        let engine = Engine::memory(clock());
        let writers = [write(&engine, &["a", "b"]), write(&engine, &["b", "c"])];
        let readers = [everything(), only("b")].map(|selection| {
            let mut cursor = engine.watch(selection, Revision::ZERO).expect("watches");
            thread::spawn(move || {
                let mut promised = Revision::ZERO;
                let mut told = 0;
                for _ in 0..5 {
                    if let Some(delivery) = cursor.try_next().expect("goes on") {
                        assert!(delivery.revision() > promised, "{} after {promised}", delivery.revision());
                        told += 1;
                    }
                    promised = cursor.bookmark_now();
                }
                (cursor, promised, told)
            })
        });
        writers.into_iter().for_each(|writer| drop(writer.join().expect("writes")));
        for (reader, due) in readers.into_iter().zip([4, 2]) {
            let (mut cursor, promised, mut told) = reader.join().expect("reads");
            while let Some(delivery) = cursor.try_next().expect("goes on") {
                assert!(delivery.revision() > promised, "{} after {promised}", delivery.revision());
                told += 1;
            }
            assert_eq!((told, cursor.bookmark_now()), (due, Revision(4)));
        }
    });
}

#[test]
fn a_cursor_that_is_opened_while_others_write_misses_nothing_after_its_list() {
    try_all(|| {
        let engine = Engine::memory(clock());
        let writers = [write(&engine, &["a"]), write(&engine, &["b"])];
        let listed = engine.snapshot();
        let mut cursor = engine.watch(everything(), listed.revision()).expect("watches");
        let seen = listed.count(&resource(), &Within::Everywhere);
        for _ in seen..2 {
            assert!(block_on(cursor.next()).expect("goes on").revision() > listed.revision());
        }
        writers.into_iter().for_each(|writer| drop(writer.join().expect("writes")));
        assert_eq!(cursor.try_next(), Ok(None));
    });
}

#[test]
fn whoever_waits_for_a_revision_sees_it_or_the_end() {
    try_all(|| {
        let engine = Engine::memory(clock());
        let waiting = [Revision(2), Revision(3)].map(|revision| {
            let engine = engine.clone();
            thread::spawn(move || (revision, block_on(engine.not_older_than(revision)).map(|it| it.revision())))
        });
        let written = write(&engine, &["a", "b"]).join().expect("writes");
        assert_eq!(written.len(), 2);
        block_on(engine.close());
        for waiting in waiting {
            match waiting.join().expect("is answered") {
                (wanted, Ok(seen)) => assert!(seen >= wanted),
                (wanted, Err(error)) => assert!(error == WatchError::Closed && wanted == Revision(3)),
            }
        }
    });
}

#[test]
fn a_watch_of_an_engine_that_is_closed_is_told_everything_before_the_end() {
    try_all(|| {
        let engine = Engine::memory(clock());
        let mut cursor = engine.watch(everything(), Revision::ZERO).expect("watches");
        let writer = write(&engine, &["a", "b"]);
        let reader = thread::spawn(move || {
            let mut told = Vec::new();
            loop {
                match block_on(cursor.next()) {
                    Ok(delivery) => told.push(delivery.revision()),
                    Err(error) => return (told, error),
                }
            }
        });
        block_on(engine.close());
        let written = writer.join().expect("writes");
        assert_eq!(reader.join().expect("reads"), (written, WatchError::Closed));
    });
}

#[test]
fn one_who_asks_a_watch_over_and_over_is_told_everything_before_the_end() {
    try_all(|| {
        let engine = Engine::memory(clock());
        let mut cursor = engine.watch(only("b"), Revision::ZERO).expect("watches");
        assert_eq!(cursor.try_next(), Ok(None)); // from here on it is told what concerns it
        let writer = write(&engine, &["a", "b", "c"]);
        let reader = thread::spawn(move || {
            let mut told = 0;
            for _ in 0..20 {
                match cursor.try_next() {
                    Ok(Some(_)) => told += 1,
                    Ok(None) => thread::yield_now(),
                    Err(error) => return (told, error),
                }
            }
            loop {
                match block_on(cursor.next()) {
                    Ok(_) => told += 1,
                    Err(error) => return (told, error),
                }
            }
        });
        let written = writer.join().expect("writes").len();
        block_on(engine.close());
        assert_eq!(reader.join().expect("reads"), (written / 3, WatchError::Closed));
    });
}

#[test]
fn a_watch_never_passes_over_what_a_store_that_was_taken_in_anew_has_forgotten() {
    let group = |revision: u64| {
        let record = Record { revision: Revision(revision), key: key("a"), change: Change::put(object("a")) };
        Group { records: vec![record], ..Group::default() }
    };
    try_all(move || {
        let view = Arc::new(View::new(State::default()));
        let limit = HistoryLimit { window: Duration::from_secs(300), bytes: usize::MAX };
        let publisher = Publisher::new(view.clone(), limit, Arc::new(AtRest::new(Encryption::Plain)));
        let unwritten = Selection::all(GroupResource::core("others"), Within::Everywhere);
        let readers = [everything(), only("a"), unwritten].map(|selection| {
            let mut cursor = Cursor::open(&view, selection, Revision::ZERO).expect("watches");
            thread::spawn(move || {
                loop {
                    assert!(cursor.bookmark_now() < Revision(60), "a bookmark passes over what is forgotten");
                    match block_on(cursor.next()) {
                        Ok(delivery) => assert_eq!(delivery.revision(), Revision(11)),
                        Err(error) => return error,
                    }
                }
            })
        });
        publisher.publish(&group(11)).expect("publishes");
        publisher.reset(|restore| restore.revision(Revision(60))).expect("resets");
        publisher.publish(&group(61)).expect("publishes");
        for reader in readers {
            let ended = reader.join().expect("reads");
            assert!(matches!(ended, WatchError::Compacted { oldest: Revision(60), .. }), "{ended:?}");
        }
    });
}

#[test]
fn a_watch_never_passes_over_what_was_dropped_before_it_looked() {
    try_all(|| {
        let view = Arc::new(View::new(State::default()));
        let limit = HistoryLimit { window: Duration::from_secs(1), bytes: usize::MAX };
        let publisher = Publisher::new(view.clone(), limit, Arc::new(AtRest::new(Encryption::Plain)));
        let mut cursor = Cursor::open(&view, only("a"), Revision::ZERO).expect("watches");
        let reader = thread::spawn(move || {
            let told = block_on(cursor.next());
            (told.map(|it| it.revision()), cursor.bookmark_now())
        });
        let compacting = publisher.clone();
        let compaction =
            thread::spawn(move || compacting.compact(Timestamp::from_micros(0).later(Duration::from_secs(3600))));
        let record = Record { revision: Revision(11), key: key("a"), change: Change::put(object("a")) };
        publisher.publish(&Group { records: vec![record], ..Group::default() }).expect("publishes");
        compaction.join().expect("compacts");
        match reader.join().expect("reads") {
            (Ok(revision), bookmark) => assert_eq!((revision, bookmark), (Revision(11), Revision(11))),
            (Err(error), bookmark) => {
                let expected = WatchError::Compacted { wanted: Revision::ZERO, oldest: Revision(11) };
                assert_eq!((error, bookmark), (expected, Revision::ZERO));
            }
        }
    });
}

/// A journal in memory, which fails in its own way at one append.
#[derive(Clone, Default)]
struct Kept {
    // Written by the committer thread. Held over no choice of the scheduler's.
    groups: Arc<Mutex<Vec<Group>>>,
    /// The number of the append that fails, and whether for good.
    fails: Option<(usize, bool)>,
    appends: usize,
}

impl Kept {
    fn revisions(&self) -> Vec<Revision> {
        let groups = self.groups.lock().expect("no panic");
        groups.iter().flat_map(|group| group.records.iter().map(|record| record.revision)).collect()
    }
}

impl Journal for Kept {
    fn load(&mut self, _: &mut Restore) -> Result<(), OpenError> {
        Ok(())
    }

    fn append(&mut self, group: &Group) -> Result<(), AppendError> {
        thread::yield_now();
        self.appends += 1;
        match self.fails {
            Some((at, false)) if at == self.appends => Err(AppendError::Full { place: "memory".to_owned() }),
            Some((at, true)) if at == self.appends => Err(AppendError::Failed("broken".to_owned())),
            _ => {
                self.groups.lock().expect("no panic").push(group.clone());
                Ok(())
            }
        }
    }
}

fn over(journal: &Kept) -> Engine {
    Engine::open(Box::new(journal.clone()), EngineConfig::default(), clock()).expect("opens")
}

#[test]
fn every_commit_is_answered_and_is_in_the_journal_before_it_is() {
    try_all(|| {
        let journal = Kept::default();
        let engine = over(&journal);
        let mut cursor = engine.watch(everything(), Revision::ZERO).expect("watches");
        let racing: Vec<_> = (0..3)
            .map(|racer| {
                let (engine, journal) = (engine.clone(), journal.clone());
                let commit = move |engine: &Engine| {
                    if racer == 0 {
                        crate::behind::stand();
                    }
                    block_on(engine.commit(put("a", Expect::Absent)))
                };
                thread::spawn(move || match commit(&engine) {
                    Ok(committed) => {
                        assert!(journal.revisions().contains(&committed.revision), "told before it is there to stay");
                        assert!(engine.snapshot().revision() >= committed.revision);
                        1
                    }
                    Err(CommitError::Conflict { found: Some(found), .. }) => {
                        assert!(journal.revisions().contains(&found.revision), "refused for what is not there to stay");
                        assert!(engine.snapshot().revision() >= found.revision);
                        0
                    }
                    Err(other) => panic!("{other}"),
                })
            })
            .collect();
        assert_eq!(block_on(cursor.next()).expect("goes on").revision(), Revision(1));
        assert_eq!(racing.into_iter().map(|it| it.join().expect("is answered")).sum::<u32>(), 1);
        block_on(engine.close());
        assert_eq!(journal.revisions(), [Revision(1)]);
    });
}

#[test]
fn a_store_that_is_closed_answers_whoever_still_waits() {
    try_all(|| {
        let journal = Kept::default();
        let engine = over(&journal);
        let writers = [write(&engine, &["a", "b"]), write_behind(&engine, &["c"])];
        block_on(engine.close());
        let mut accepted: Vec<_> = writers.into_iter().flat_map(|it| it.join().expect("is answered")).collect();
        accepted.sort_unstable();
        assert_eq!(journal.revisions(), accepted);
    });
}

#[test]
fn a_full_disk_takes_back_what_was_staged_and_nobody_saw_it() {
    try_all(|| {
        let journal = Kept { fails: Some((1, false)), ..Kept::default() };
        let engine = over(&journal);
        let writers = [write(&engine, &["a", "a"]), write_behind(&engine, &["b"])];
        let seen = engine.snapshot().revision();
        assert!(seen == Revision::ZERO || journal.revisions().contains(&seen), "{seen} was seen");
        let mut accepted: Vec<_> = writers.into_iter().flat_map(|it| it.join().expect("is answered")).collect();
        accepted.sort_unstable();
        assert_eq!(journal.revisions(), accepted);
        let next = block_on(engine.commit(put("c", Expect::Absent))).expect("there is space again").revision;
        assert!(accepted.iter().all(|revision| *revision < next));
        block_on(engine.close());
    });
}

#[test]
fn a_disk_that_fails_leaves_nobody_waiting_and_nothing_half_told() {
    try_all(|| {
        let journal = Kept { fails: Some((2, true)), ..Kept::default() };
        let engine = over(&journal);
        let writers = [write(&engine, &["a", "a"]), write_behind(&engine, &["b", "b"])];
        let mut accepted: Vec<_> = writers.into_iter().flat_map(|it| it.join().expect("is answered")).collect();
        accepted.sort_unstable();
        assert_eq!(journal.revisions(), accepted);
        let last = accepted.last().copied().unwrap_or_default();
        assert_eq!(engine.snapshot().revision(), last, "what is on no disk is not shown");
        block_on(engine.close());
    });
}
