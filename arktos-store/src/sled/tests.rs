//! What sled keeps, beyond what every backend does.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{Encoded, Object, ObjectKey, Timestamp, TypeMeta};

use super::*;
use crate::clock::ManualClock;
use crate::engine::{Engine, EngineConfig};
use crate::select::{Selection, WatchError, Within};
use crate::storage::Record;

fn key(name: &str) -> ObjectKey {
    ObjectKey { resource: GroupResource::core("pods"), path: ObjectPath::new("acme", "default", name) }
}

fn put(revision: u64, name: &str) -> Record {
    let type_meta = Arc::new(TypeMeta::new("", "v1", "Pod"));
    let object = Encoded::encode(&type_meta, &Object::new(&type_meta, name), &[]).expect("encodes");
    Record { revision: Revision(revision), key: key(name), change: Change::put(object) }
}

fn delete(revision: u64, name: &str) -> Record {
    Record { revision: Revision(revision), key: key(name), change: Change::Delete }
}

fn engine(directory: &Path) -> Engine {
    let journal = SledJournal::open(directory, &SledOptions::default()).expect("opens");
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let config = EngineConfig { history_window: Duration::from_secs(1 << 40), ..EngineConfig::default() };
    Engine::open(Box::new(journal), config, clock).expect("opens")
}

fn names(engine: &Engine) -> Vec<String> {
    let (snapshot, pods) = (engine.snapshot(), GroupResource::core("pods"));
    let items = snapshot.range(&pods, &Within::Everywhere, None);
    items.map(|it| format!("{}@{}", it.path.name(), it.revision)).collect()
}

#[test]
fn what_the_keeper_moves_is_still_there_and_history_begins_after_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = SledJournal::open(directory.path(), &SledOptions::default()).expect("opens");
    let group = |records: Vec<Record>, counters: &[(&str, i64)]| Group {
        records,
        counters: counters.iter().map(|(name, value)| ((*name).into(), *value)).collect(),
        sync: true,
        ..Group::default()
    };
    for group in [
        group(vec![put(1, "a"), put(2, "b")], &[("kept", 3), ("gone", 1)]),
        group(vec![delete(3, "a")], &[("gone", 0)]),
        Group { resumed: Some(Revision(10)), ..group(vec![put(11, "c")], &[]) },
        group(vec![put(12, "b")], &[("later", 1)]),
        group(vec![put(13, "d")], &[]),
    ] {
        journal.append(&group).expect("appends");
    }
    let nothing = Engine::memory(Arc::new(ManualClock::new(Timestamp::from_micros(0)))).snapshot();
    let mut keeper = journal.keeper().expect("sled has one");
    keeper.keep(&nothing, Revision(11)).expect("moves the first three");
    keeper.keep(&nothing, Revision(11)).expect("has nothing more to move");
    assert_eq!(journal.db.scan_prefix(b"l").count(), 2);
    journal.close().expect("closes");
    drop((keeper, journal));

    let engine = engine(directory.path());
    assert_eq!(names(&engine), ["b@12", "c@11", "d@13"]);
    assert_eq!((engine.counter("kept"), engine.counter("gone"), engine.counter("later")), (3, 0, 1));
    let pods = Selection::all(GroupResource::core("pods"), Within::Everywhere);
    let mut cursor = engine.watch(pods.clone(), Revision(11)).expect("history begins here");
    let mut told = Vec::new();
    while let Some(delivery) = cursor.try_next().expect("goes on") {
        told.push(delivery.revision().0);
    }
    assert_eq!(told, [12, 13]);
    for (after, why) in [(3, "moved"), (7, "lost")] {
        let outcome = engine.watch(pods.clone(), Revision(after)).err();
        assert!(matches!(outcome, Some(WatchError::Compacted { .. })), "{why}: {outcome:?}");
    }
}

#[test]
fn what_only_makes_durable_keeps_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = SledJournal::open(directory.path(), &SledOptions::default()).expect("opens");
    journal.append(&Group { records: vec![put(1, "a")], ..Group::default() }).expect("appends");
    journal.append(&Group { sync: true, ..Group::default() }).expect("flushes");
    assert_eq!(journal.db.scan_prefix(b"l").count(), 1);
    drop(journal);
    assert_eq!(names(&engine(directory.path())), ["a@1"]);
}

#[test]
fn a_second_user_is_told_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = SledJournal::open(directory.path(), &SledOptions::default()).expect("opens");
    let second = SledJournal::open(directory.path(), &SledOptions::default());
    assert!(matches!(second.err(), Some(OpenError::InUse { .. })));
    drop(first);
    SledJournal::open(directory.path(), &SledOptions::default()).expect("is free again");
}

#[test]
fn one_that_is_being_let_go_of_is_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut first = SledJournal::open(directory.path(), &SledOptions::default()).ok();
    let mut asked = 0;
    let opened = once_free(|| {
        asked += 1;
        first.take_if(|_| asked == 3);
        ::sled::open(directory.path()).map_err(|error| open_error(directory.path(), error))
    });
    opened.expect("is free in the end");
    assert!(asked >= 3);

    let mut asked = 0;
    let outcome: Result<(), OpenError> = once_free(|| {
        asked += 1;
        Err(OpenError::Other("it is on fire".to_owned()))
    });
    assert!(matches!((outcome, asked), (Err(OpenError::Other(_)), 1)), "nothing else is waited for");
}

#[test]
fn what_a_later_version_wrote_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = SledJournal::open(directory.path(), &SledOptions::default()).expect("opens");
    journal.db.insert(b"v", &[FORMAT + 1]).expect("writes");
    drop(journal);
    let outcome = SledJournal::open(directory.path(), &SledOptions::default());
    assert!(matches!(outcome.err(), Some(OpenError::Format { .. })));
}

#[test]
fn damage_is_named_and_not_served() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = SledJournal::open(directory.path(), &SledOptions::default()).expect("opens");
    journal.append(&Group { records: vec![put(1, "a")], sync: true, ..Group::default() }).expect("appends");
    let bytes = journal.db.get(log_key(0)).expect("reads").expect("is there");
    journal.db.insert(log_key(0), &bytes[..bytes.len() - 1]).expect("writes");
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let outcome = Engine::open(Box::new(journal), EngineConfig::default(), clock);
    assert!(matches!(outcome.err(), Some(OpenError::Corrupt { .. })));
}
