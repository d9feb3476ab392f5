//! What the log gives back after restarts, crashes and damage.

mod faulty;
mod model;

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::{ObjectKey, Revision, Timestamp};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::commit::{Change, Commit, CommitError, CounterChange, Durability, Expect};
use arktos_store::log::{LogJournal, LogOptions};
use arktos_store::storage::OpenError;
use arktos_store::{Delivery, Engine, EngineConfig, Random, Selection, WatchError, Within};
use faulty::{Fault, FaultyDisk};
use model::{key, object, resource};

fn options() -> LogOptions {
    let mut options = LogOptions::default();
    options.first_segment_bytes = 2048;
    options.segment_bytes = 8192;
    options.snapshot_bytes = 6000;
    options.prepare_ahead = false;
    options
}

fn open(disk: &FaultyDisk) -> Result<Engine, OpenError> {
    open_at(disk, Arc::new(ManualClock::new(Timestamp::from_micros(0))))
}

fn open_at(disk: &FaultyDisk, clock: Arc<ManualClock>) -> Result<Engine, OpenError> {
    let journal = LogJournal::on(Arc::new(disk.clone()), options())?;
    Engine::open(Box::new(journal), EngineConfig::default(), clock)
}

fn put(number: u8, value: u8) -> Commit {
    Commit::one(key(0, number), Expect::Anything, Change::put(object(number, &(value, value))))
}

fn relaxed(number: u8, value: u8) -> Commit {
    Commit { durability: Durability::Relaxed, ..put(number, value) }
}

fn everything() -> Selection {
    Selection::all(resource(0), Within::Everywhere)
}

/// What there is, by key, with its revision.
fn contents(engine: &Engine) -> BTreeMap<ObjectKey, (Revision, String)> {
    let snapshot = engine.snapshot();
    let mut all = BTreeMap::new();
    for resource in snapshot.resources() {
        for stored in snapshot.range(&resource, &Within::Everywhere, None) {
            let text = format!("{:?}{:?}", stored.object.header(), stored.object.tail());
            all.insert(ObjectKey { resource: resource.clone(), path: stored.path.clone() }, (stored.revision, text));
        }
    }
    all
}

#[tokio::test]
async fn a_restart_brings_back_state_counters_and_history() {
    let disk = FaultyDisk::default();
    let engine = open(&disk).expect("opens");
    let first = engine.commit(put(1, 1)).await.expect("commits").revision;
    for value in 2..40 {
        engine.commit(put(value, value)).await.expect("commits");
    }
    engine.commit(Commit::one(key(0, 3), Expect::Present, Change::Delete)).await.expect("commits");
    let counters = vec![CounterChange { counter: "ips".into(), delta: 7, limit: None }];
    engine.commit(Commit { counters, ..Commit::default() }).await.expect("commits");
    let before = (engine.snapshot().revision(), contents(&engine));
    let mut events = Vec::new();
    let mut cursor = engine.watch(everything(), first).expect("watches");
    while let Some(delivery) = cursor.try_next().expect("delivers") {
        events.push(delivery);
    }
    assert_eq!(events.len(), 39);
    engine.close().await;
    drop((engine, cursor));

    let engine = open(&disk).expect("opens again");
    assert_eq!((engine.snapshot().revision(), contents(&engine)), before);
    assert_eq!(engine.counter("ips"), 7);
    let mut cursor = engine.watch(everything(), first).expect("resumes");
    for event in &events {
        assert_eq!(cursor.try_next().expect("delivers").as_ref(), Some(event));
    }
    assert_eq!(cursor.try_next().expect("delivers"), None);
    assert_eq!(engine.commit(put(1, 9)).await.expect("commits").revision, before.0.next());
}

#[tokio::test]
async fn a_lost_relaxed_write_leaves_a_gap_that_no_reader_steps_into() {
    let disk = FaultyDisk::default();
    let engine = open(&disk).expect("opens");
    engine.commit(relaxed(1, 1)).await.expect("commits");
    let synced = engine.commit(put(2, 2)).await.expect("commits").revision;
    let syncs = disk.syncs();
    let told = engine.commit(relaxed(1, 2)).await.expect("commits").revision;
    assert_eq!(disk.syncs(), syncs, "a relaxed write does not wait for the disk");
    assert_eq!(engine.snapshot().revision(), told);

    // the machine stops, and loses what was not synced
    let nothing_kept = (0..).map(SeededRandom::new).find(|random| random.next() % 2 == 1).expect("one of them");
    let mut crashed = disk.after_crash(&nothing_kept);
    for seed in 0..50 {
        crashed = disk.after_crash(&SeededRandom::new(seed));
        let engine = open(&crashed.after_kill()).expect("opens");
        if contents(&engine)[&key(0, 1)].0 != told {
            break;
        }
    }
    let engine = open(&crashed).expect("opens");
    let resumed = engine.snapshot().revision();
    assert!(resumed > told, "no revision is used twice");
    let refused = engine.watch(everything(), told).err();
    assert_eq!(refused, Some(WatchError::Compacted { wanted: told, oldest: resumed }));
    let mut cursor = engine.watch(everything(), synced).expect("goes on from before the loss");
    let next = engine.commit(put(3, 3)).await.expect("commits").revision;
    assert!(next > resumed);
    assert!(matches!(cursor.next().await.expect("delivers"), Delivery::Added(stored) if stored.revision == next));
    engine.close().await;
    drop(engine);
    let engine = open(&crashed).expect("opens");
    assert!(engine.watch(everything(), told).is_err(), "the gap is remembered");
    assert_eq!(engine.snapshot().revision(), next, "nothing was lost this time");
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_off_and_written_over() {
    let disk = FaultyDisk::default();
    let engine = open(&disk).expect("opens");
    let mut lengths = Vec::new();
    for value in 1..=3 {
        engine.commit(put(value, value)).await.expect("commits");
        let bytes = disk.content("log-0000000000000001");
        lengths.push(bytes.iter().rposition(|byte| *byte != 0).expect("written") + 1);
    }
    for cut in lengths[1]..lengths[2] {
        let torn = disk.after_kill();
        torn.tamper("log-0000000000000001", |bytes| bytes[cut..].fill(0));
        let engine = open(&torn).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(contents(&engine).len(), 2, "cut at {cut}");
        let revision = engine.commit(put(4, 4)).await.expect("commits").revision;
        assert_eq!(revision, Revision(3));
        engine.close().await;
        drop(engine);
        assert_eq!(contents(&open(&torn).expect("opens")).len(), 3, "cut at {cut}");
    }
}

#[tokio::test]
async fn every_flipped_bit_is_either_harmless_or_named() {
    let disk = FaultyDisk::default();
    let engine = open(&disk).expect("opens");
    for value in 1..=6 {
        engine.commit(put(value, value)).await.expect("commits");
    }
    let expected = contents(&engine);
    for name in disk.names() {
        let bytes = disk.content(&name);
        for bit in (0..bytes.len() * 8).step_by(5) {
            let flipped = disk.after_kill();
            flipped.tamper(&name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            match open(&flipped) {
                Ok(engine) => assert_eq!(contents(&engine), expected, "{name}, bit {bit}"),
                Err(OpenError::Corrupt { place, .. }) => assert!(place.contains(&name), "{place}"),
                Err(other) => panic!("{name}, bit {bit}: {other}"),
            }
        }
    }
}

#[tokio::test]
async fn a_missing_piece_is_named() {
    let disk = FaultyDisk::default();
    let engine = open(&disk).expect("opens");
    for value in 0..60 {
        engine.commit(put(value, value)).await.expect("commits");
    }
    engine.close().await;
    drop(engine);
    let segments: Vec<String> = disk.names().into_iter().filter(|name| name.starts_with("log-")).collect();
    assert!(segments.len() >= 3, "{segments:?}");
    for missing in &segments[..segments.len() - 1] {
        let damaged = disk.after_kill();
        damaged.remove_file(missing);
        assert!(matches!(open(&damaged), Err(OpenError::Corrupt { .. })), "{missing}");
    }
}

#[tokio::test]
async fn a_failed_sync_stops_the_writers_and_not_the_readers() {
    let disk = FaultyDisk::default();
    let engine = open(&disk).expect("opens");
    let before = engine.commit(put(1, 1)).await.expect("commits").revision;
    disk.fail_after(1, Fault::Error); // the write goes through, its sync does not
    assert!(matches!(engine.commit(put(2, 2)).await, Err(CommitError::Unknown(_))));
    assert!(matches!(engine.commit(put(3, 3)).await, Err(CommitError::Poisoned(_))));
    assert_eq!(engine.snapshot().revision(), before, "what is not durable is not shown");
    assert!(engine.watch(everything(), Revision::ZERO).expect("watches").try_next().expect("delivers").is_some());
    let syncs = disk.syncs();
    engine.close().await;
    assert_eq!(disk.syncs(), syncs, "a failed sync is not tried again");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_space() {
    let disk = FaultyDisk::default();
    let engine = open(&disk).expect("opens");
    engine.commit(put(0, 0)).await.expect("commits");
    assert!(!engine.is_full());
    disk.set_capacity(Some(5000));
    let mut written = 1;
    let refused = loop {
        match engine.commit(put(written, written)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CommitError::DiskFull), "{refused}");
    assert!(matches!(engine.commit(put(100, 1)).await, Err(CommitError::DiskFull)));
    assert!(engine.is_full());
    let before = contents(&engine);
    let last = engine.snapshot().revision();
    disk.set_capacity(None);
    let revision = engine.commit(put(101, 1)).await.expect("there is space again").revision;
    assert!(!engine.is_full());
    assert!(revision > last);
    assert_eq!(engine.snapshot().revision(), revision);
    let after = contents(&engine);
    engine.close().await;
    drop(engine);
    assert_eq!(contents(&open(&disk).expect("opens")), after);
    assert!(before.keys().all(|key| after.contains_key(key)));
}

#[tokio::test]
async fn snapshots_let_old_segments_go_and_bring_the_same_back() {
    let disk = FaultyDisk::default();
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let open = || {
        let journal = LogJournal::on(Arc::new(disk.clone()), options()).expect("not locked");
        Engine::open(Box::new(journal), EngineConfig::default(), clock.clone()).expect("opens")
    };
    let mut engine = open();
    for round in 0..12_u8 {
        for value in 0..20 {
            engine.commit(put(value, round.wrapping_add(value))).await.expect("commits");
        }
        let expires = Some(Timestamp::from_micros(i64::MAX));
        let change = Change::Put { object: object(round, &(1, 1)), expires };
        engine.commit(Commit::one(key(1, round), Expect::Anything, change)).await.expect("commits");
        let counters = vec![CounterChange { counter: "rounds".into(), delta: 1, limit: None }];
        engine.commit(Commit { counters, ..Commit::default() }).await.expect("commits");
        clock.advance(std::time::Duration::from_secs(100));
        engine.compact(arktos_store::Clock::now(&*clock)).await.expect("compacts");
        engine.flush().await.expect("flushes");
        let floor = engine.snapshot();
        let before = (floor.revision(), contents(&engine), engine.counter("rounds"));
        let oldest = match engine.watch(everything(), Revision::ZERO) {
            Err(WatchError::Compacted { oldest, .. }) => oldest,
            _ => Revision::ZERO,
        };
        engine.close().await;
        drop((engine, floor));
        engine = open();
        assert_eq!((engine.snapshot().revision(), contents(&engine), engine.counter("rounds")), before);
        engine.watch(everything(), oldest).expect("the window is as wide as before");
    }
    let names = disk.names();
    assert!(names.iter().any(|name| name.starts_with("snapshot-")), "{names:?}");
    assert!(!names.contains(&"log-0000000000000001".to_owned()), "{names:?}");
    assert!(names.len() < 20, "{names:?}");
    let later = Timestamp::from_micros(i64::MAX);
    assert_eq!(
        engine.expire(later).await.expect("expires"),
        engine.snapshot().count(&resource(1), &Within::Everywhere) + 12
    );
}

#[tokio::test]
async fn a_second_process_is_told_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = LogJournal::open(directory.path(), LogOptions::default()).expect("opens");
    let second = LogJournal::open(directory.path(), LogOptions::default()).err().expect("is refused");
    assert!(second.to_string().contains("in use by another process"), "{second}");
    drop(first);
    LogJournal::open(directory.path(), LogOptions::default()).expect("opens now");
}

/// Random work, a crash at a random operation, and what must be true afterwards.
async fn crash_run(seed: u64) {
    let random = SeededRandom::new(seed);
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let mut disk = FaultyDisk::default();
    let mut told = Revision::ZERO;
    let mut acknowledged: BTreeMap<ObjectKey, Vec<(Revision, u8, bool)>> = BTreeMap::new();
    for life in 0..5 {
        let opened = open_at(&disk, clock.clone());
        let engine = opened.unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"));
        let revision = engine.snapshot().revision();
        assert!(revision >= told, "seed {seed}, life {life}: revisions fell from {told} to {revision}");
        check(&engine, &acknowledged, seed);
        // what was lost is settled now
        let snapshot = engine.snapshot();
        for (key, outcomes) in &mut acknowledged {
            outcomes.clear();
            if let Some(stored) = snapshot.get(key) {
                outcomes.push((stored.revision, value_of(&stored.object), true));
            }
        }
        let fault = [Fault::Crash, Fault::TornWrite, Fault::Error][usize::try_from(random.next() % 3).expect("small")];
        disk.fail_after(random.next() % 90, fault);
        let mut refused = false;
        for _ in 0..40 {
            let (number, value) = ((random.next() % 12) as u8, (random.next() % 200) as u8);
            let synced = !random.next().is_multiple_of(4);
            let commit = if synced { put(number, value) } else { relaxed(number, value) };
            match engine.commit(commit).await {
                Ok(committed) => {
                    assert!(!refused, "seed {seed}: a write after a failure");
                    assert!(committed.revision > told, "seed {seed}: a revision was used twice");
                    told = committed.revision;
                    acknowledged.entry(key(0, number)).or_default().push((told, value, synced));
                }
                Err(_) if refused => {}
                Err(_) => {
                    refused = true;
                    // it may have happened: at a revision that nobody was told
                    acknowledged.entry(key(0, number)).or_default().push((Revision(u64::MAX), value, false));
                }
            }
            if random.next().is_multiple_of(10) {
                let _ = engine.flush().await;
            }
            if random.next().is_multiple_of(12) {
                clock.advance(std::time::Duration::from_secs(random.next() % 200));
                let _ = engine.compact(arktos_store::Clock::now(&*clock)).await;
                let _ = engine.flush().await;
            }
        }
        told = told.max(engine.snapshot().revision());
        let crashed = if random.next().is_multiple_of(3) { disk.after_kill() } else { disk.after_crash(&random) };
        drop(engine);
        disk = crashed;
    }
}

fn value_of(object: &arktos_core::Encoded) -> u8 {
    let label = object.header().label("value").expect("has one");
    label.parse().expect("a number")
}

/// Every object is as it was acknowledged last, or as something later made it that was never sure.
fn check(engine: &Engine, acknowledged: &BTreeMap<ObjectKey, Vec<(Revision, u8, bool)>>, seed: u64) {
    let snapshot = engine.snapshot();
    for (key, outcomes) in acknowledged {
        let newest_synced = outcomes.iter().rposition(|(_, _, synced)| *synced);
        let allowed = &outcomes[newest_synced.unwrap_or(0)..];
        match snapshot.get(key) {
            Some(stored) => {
                let value = value_of(&stored.object);
                let fits = |(revision, known, _): &(Revision, u8, bool)| {
                    *known == value && (*revision == stored.revision || revision.0 == u64::MAX)
                };
                assert!(allowed.iter().any(fits), "seed {seed}: {key} is {value} at {}: {allowed:?}", stored.revision);
            }
            None => assert!(newest_synced.is_none(), "seed {seed}: {key} is lost, of {allowed:?}"),
        }
    }
    // and history leads from any state it still has to this one
    let list = |snapshot: &arktos_store::Snapshot| -> BTreeMap<_, _> {
        let all = snapshot.range(&resource(0), &Within::Everywhere, None);
        all.map(|stored| (stored.path.clone(), stored.revision)).collect()
    };
    let edge = match engine.watch(everything(), Revision::ZERO) {
        Err(WatchError::Compacted { oldest, .. }) => oldest,
        _ => Revision::ZERO,
    };
    let mut believed = match engine.exactly_at(edge) {
        Ok(past) => list(&past),
        Err(error) => panic!("seed {seed}: no state at the edge of history, {edge}: {error}"),
    };
    let mut cursor = engine.watch(everything(), edge).expect("the edge is clean");
    while let Some(delivery) = cursor.try_next().expect("delivers") {
        let stored = delivery.stored().expect("an object").clone();
        believed.insert(stored.path, stored.revision);
    }
    assert_eq!(believed, list(&snapshot), "seed {seed}");
}

#[tokio::test]
async fn no_crash_loses_what_was_acknowledged() {
    for seed in 0..200 {
        crash_run(seed).await;
    }
}
