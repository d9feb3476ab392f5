//! What single faults of a disk may and may not lead to: each of these was once a bug.

mod faulty;
mod matrix;
mod model;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{Encoded, Object, Revision, Timestamp, TypeMeta};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::commit::{Change, Commit, CommitError, Durability, Expect};
use arktos_store::log::{FileState, Inspection, LogJournal, LogOptions, Salvage};
use arktos_store::{Clock, Engine, EngineConfig, Random};
use faulty::{Fault, FaultyDisk, Op, Point, What};
use futures::FutureExt;
use model::{key, object};

fn open_with(disk: &FaultyDisk, options: LogOptions, clock: &Arc<ManualClock>) -> Engine {
    let journal = LogJournal::on(Arc::new(disk.clone()), options).expect("not locked");
    let mut config = EngineConfig::default();
    config.history_window = Duration::from_secs(60);
    Engine::open(Box::new(journal), config, clock.clone()).expect("opens")
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_micros(0)))
}

fn open(disk: &FaultyDisk) -> Engine {
    open_with(disk, matrix::options(false), &clock())
}

fn put(number: u8, value: u8) -> Commit {
    Commit::one(key(0, number), Expect::Anything, Change::put(object(number, &(value, value))))
}

fn large_object() -> Encoded {
    let type_meta = Arc::new(TypeMeta::new("", "v1", "Thing"));
    let value = serde_json::json!({"metadata": {"name": "large"}, "spec": {"text": "x".repeat(5000)}});
    Encoded::encode(&type_meta, &Object::from_value(value).expect("an object"), &[]).expect("encodes")
}

fn relaxed(number: u8, value: u8) -> Commit {
    Commit { durability: Durability::Relaxed, ..put(number, value) }
}

/// A crash that keeps nothing of what was not made durable.
fn lose_everything(disk: &FaultyDisk) -> FaultyDisk {
    struct Odd;
    impl Random for Odd {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(1);
        }
    }
    disk.after_crash(&Odd)
}

fn snapshots(disk: &FaultyDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.starts_with("snapshot-")).collect()
}

fn segments(disk: &FaultyDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.starts_with("log-")).collect()
}

/// The segments with nothing in them that the oldest snapshot has not; never the one that is being written.
fn before_the_snapshot(disk: &FaultyDisk) -> Vec<String> {
    let oldest = snapshots(disk).into_iter().min().expect("there is one");
    let (mut snapshot, mut last) = (0, BTreeMap::new());
    let dumped = Inspection::on(Arc::new(disk.clone())).expect("not in use").dump(|dumped| {
        if dumped.file == oldest {
            snapshot = dumped.group;
        }
        last.insert(dumped.file.to_owned(), dumped.group);
    });
    dumped.expect("is whole");
    let mut segments = segments(disk);
    segments.sort();
    segments.pop();
    let is_covered = |name: &String| last.get(name).is_some_and(|group| *group <= snapshot);
    segments.into_iter().take_while(is_covered).collect()
}

/// Flushes, and waits until the keeper is done: closing joins it.
async fn flush_and_close(engine: Engine) {
    engine.flush().await.expect("flushes");
    engine.close().await;
}

#[tokio::test]
async fn a_snapshot_has_nothing_that_the_log_could_still_lose() {
    let disk = FaultyDisk::default();
    let engine = open(&disk);
    for value in 0..25 {
        engine.commit(put(value % 12, value)).await.expect("commits");
    }
    engine.commit(relaxed(1, 1)).await.expect("commits"); // is synced, with a reservation
    let (mut flush, syncs) = loop {
        engine.commit(relaxed(1, 2)).await.expect("commits");
        let syncs = disk.syncs();
        let mut flush = Box::pin(engine.flush());
        if (&mut flush).now_or_never().is_none() {
            break (flush, syncs); // it waits for the disk: most are slower than this one
        }
    };
    while disk.syncs() == syncs {
        std::thread::yield_now();
    }
    // published while the flush is under way, and never synced
    let told = engine.commit(relaxed(2, 2)).await.expect("commits").revision;
    flush.as_mut().await.expect("flushes");
    drop(flush);
    while snapshots(&disk).is_empty() {
        std::thread::yield_now();
    }
    let crashed = lose_everything(&disk);
    drop(engine);

    let engine = open(&crashed);
    assert!(engine.snapshot().revision() > told);
    let acknowledged = engine.commit(put(3, 77)).await.expect("commits").revision;
    let killed = crashed.after_kill();
    drop(engine);
    // once the log before the snapshot has gone, nothing may be missing
    for name in before_the_snapshot(&killed) {
        killed.remove_file(&name);
    }
    let engine = open(&killed);
    assert_eq!(engine.snapshot().get(&key(0, 3)).map(|stored| stored.revision), Some(acknowledged));
}

#[tokio::test]
async fn what_a_failed_sync_has_dropped_is_written_again_by_the_next_process() {
    for seed in 0..40 {
        let disk = FaultyDisk::default();
        let mut options = matrix::options(false);
        options.first_segment_bytes = 16 << 10;
        let engine = open_with(&disk, options, &clock());
        engine.commit(put(1, 1)).await.expect("commits");
        let sync = Point { op: Some(Op::Sync), what: Some(What::Segment), after: false };
        disk.fail_at(sync, 0, Fault::Error, seed);
        // over several sectors: the last one is written again with what comes after it
        let large = Change::put(large_object());
        let large = engine.commit(Commit::one(key(0, 2), Expect::Anything, large)).await;
        assert!(matches!(large, Err(CommitError::Unknown(_))));
        // the machine goes on: the next process finds the write in the system's memory
        let killed = disk.after_kill();
        drop(engine);
        let engine = open(&killed);
        assert!(engine.snapshot().get(&key(0, 2)).is_some(), "the system still has it");
        let shown = engine.snapshot().revision();
        let acknowledged = engine.commit(put(3, 3)).await.expect("commits").revision;
        let crashed = lose_everything(&killed);
        drop(engine);
        let engine = open(&crashed);
        assert!(engine.snapshot().get(&key(0, 2)).is_some_and(|stored| stored.revision == shown), "seed {seed}");
        assert!(engine.snapshot().get(&key(0, 3)).is_some_and(|stored| stored.revision == acknowledged));
    }
}

#[tokio::test]
async fn a_snapshot_that_finds_no_room_gives_back_what_it_took() {
    let disk = FaultyDisk::default();
    let engine = open(&disk);
    for value in 0..25 {
        engine.commit(put(value % 12, value)).await.expect("commits");
    }
    let used = disk.used();
    let write = Point { op: Some(Op::Write), what: Some(What::Unfinished), after: false };
    disk.fail_at(write, 1, Fault::Full, 3);
    flush_and_close(engine).await;
    assert!(disk.has_fired() && snapshots(&disk).is_empty());
    assert_eq!(disk.used(), used, "{:?}", disk.names());
}

#[tokio::test]
async fn a_snapshot_that_finds_no_room_does_not_keep_old_segments() {
    let disk = FaultyDisk::default();
    let clock = clock();
    let engine = open_with(&disk, matrix::options(false), &clock);
    for value in 0..25 {
        engine.commit(put(value % 12, value)).await.expect("commits");
    }
    flush_and_close(engine).await;
    assert_eq!(snapshots(&disk).len(), 1);
    // by now nobody needs what is before the snapshot, and the next one finds no room
    let engine = open_with(&disk, matrix::options(false), &clock);
    for value in 0..25 {
        engine.commit(put(value % 12, value)).await.expect("commits");
    }
    clock.advance(Duration::from_secs(100));
    engine.compact(clock.now()).await.expect("compacts");
    let create = Point { op: Some(Op::Create), what: Some(What::Unfinished), after: false };
    disk.fail_at(create, 0, Fault::Full, 0);
    flush_and_close(engine).await;
    assert!(disk.has_fired());
    assert!(!segments(&disk).contains(&"log-0000000000000001".to_owned()), "{:?}", disk.names());
}

#[tokio::test]
async fn where_there_is_no_room_for_a_large_segment_a_small_one_is_used() {
    let disk = FaultyDisk::default();
    let mut options = matrix::options(false);
    options.segment_bytes = 64 << 10;
    options.snapshot_bytes = u64::MAX;
    let engine = open_with(&disk, options, &clock());
    let mut value = 0;
    while segments(&disk).len() < 4 {
        engine.commit(put(value % 12, value)).await.expect("commits");
        value = (value + 1) % 200;
    }
    // the next one would have 32 KiB
    disk.set_capacity(Some(disk.used() + (5 << 10)));
    let mut refused = false;
    for value in 0..200 {
        match engine.commit(put(value % 12, value)).await {
            Ok(_) => assert!(!refused),
            Err(CommitError::DiskFull) => refused = true,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused && segments(&disk).len() >= 6, "{:?}", disk.names());
    assert!(!disk.names().contains(&"spare".to_owned()), "what is of no use takes no room");
    disk.set_capacity(None);
    engine.commit(put(1, 1)).await.expect("there is room");
}

#[tokio::test]
async fn a_damaged_snapshot_takes_no_log_with_it() {
    for (at, header) in [(100, false), (20, true)] {
        let disk = FaultyDisk::default();
        let clock = clock();
        let engine = open_with(&disk, matrix::options(false), &clock);
        for value in 0..25 {
            engine.commit(put(value % 12, value)).await.expect("commits");
        }
        let before = engine.snapshot().revision();
        flush_and_close(engine).await;
        let name = snapshots(&disk).pop().expect("one was taken");
        disk.tamper(&name, |bytes| bytes[at] ^= 1);
        // the log is whole without it, and must stay so
        let engine = open_with(&disk, matrix::options(false), &clock);
        assert_eq!(engine.snapshot().revision(), before);
        clock.advance(Duration::from_secs(100));
        engine.compact(clock.now()).await.expect("compacts");
        flush_and_close(engine).await;
        assert!(segments(&disk).contains(&"log-0000000000000001".to_owned()), "header: {header}");
        let engine = open_with(&disk, matrix::options(false), &clock);
        assert_eq!(engine.snapshot().revision(), before);
        // another takes its place in time, by the keeper's own thread
        while snapshots(&disk).contains(&name) || segments(&disk).contains(&"log-0000000000000001".to_owned()) {
            engine.commit(put(1, 1)).await.expect("commits");
            clock.advance(Duration::from_secs(100));
            engine.compact(clock.now()).await.expect("compacts");
            engine.flush().await.expect("flushes");
            std::thread::yield_now();
        }
        engine.close().await;
    }
}

#[tokio::test]
async fn a_write_that_found_no_room_is_not_called_damage() {
    let disk = FaultyDisk::default();
    let engine = open(&disk);
    engine.commit(put(1, 1)).await.expect("commits");
    let write = Point { op: Some(Op::Write), what: Some(What::Segment), after: false };
    disk.fail_at(write, 0, Fault::Full, 5); // a part of it is written
    assert!(matches!(engine.commit(put(2, 2)).await, Err(CommitError::DiskFull)));
    disk.make_room();
    engine.commit(put(3, 3)).await.expect("there is room again");
    engine.close().await;
    drop(engine);
    assert_eq!(segments(&disk).len(), 2);
    let inspection = Inspection::on(Arc::new(disk.clone())).expect("not in use");
    for finding in inspection.verify().expect("reads") {
        assert!(matches!(finding.state, FileState::Whole { .. }), "{finding:?}");
    }
    drop(inspection);
    open(&disk);
}

#[tokio::test]
async fn nothing_is_appended_to_a_segment_after_the_next_one_has_its_name() {
    let disk = FaultyDisk::default();
    let engine = open(&disk);
    engine.commit(put(1, 1)).await.expect("commits");
    let sync = Point { op: Some(Op::SyncNames), what: Some(What::Segment), after: false };
    disk.fail_at(sync, 0, Fault::Full, 0);
    let large = Commit::one(key(0, 2), Expect::Anything, Change::put(large_object()));
    assert!(matches!(engine.commit(large).await, Err(CommitError::DiskFull)));
    assert_eq!(segments(&disk).len(), 2);
    disk.make_room();
    // this one would fit into the first
    let acknowledged = engine.commit(put(3, 3)).await.expect("commits").revision;
    let killed = disk.after_kill();
    drop(engine);
    assert_eq!(open(&killed).snapshot().get(&key(0, 3)).map(|stored| stored.revision), Some(acknowledged));
}

#[tokio::test]
async fn a_flush_after_a_refused_write_makes_durable_what_came_before() {
    let disk = FaultyDisk::default();
    let engine = open(&disk);
    engine.commit(relaxed(1, 1)).await.expect("commits"); // is synced, with a reservation
    let told = engine.commit(relaxed(1, 2)).await.expect("commits").revision;
    let write = Point { op: Some(Op::Write), what: Some(What::Segment), after: false };
    disk.fail_at(write, 0, Fault::Full, 5);
    assert!(matches!(engine.commit(put(2, 2)).await, Err(CommitError::DiskFull)));
    engine.flush().await.expect("needs no room");
    let crashed = lose_everything(&disk);
    drop(engine);
    assert_eq!(open(&crashed).snapshot().get(&key(0, 1)).map(|stored| stored.revision), Some(told));
}

#[tokio::test]
async fn what_takes_no_room_is_done_on_a_full_disk_however_many_go_on_writing() {
    let disk = FaultyDisk::default();
    let engine = open(&disk);
    engine.commit(put(1, 1)).await.expect("commits");
    disk.set_capacity(Some(disk.used()));
    let large = || Commit::one(key(0, 2), Expect::Anything, Change::put(large_object()));
    for _ in 0..100 {
        // four come together, whatever the committer is at
        let now = Timestamp::from_micros(1);
        let all = futures::join!(engine.commit(large()), engine.commit(large()), engine.flush(), engine.compact(now));
        assert!(matches!(all.0, Err(CommitError::DiskFull)) && matches!(all.1, Err(CommitError::DiskFull)));
        assert!(all.2.is_ok() && all.3.is_ok(), "{all:?}");
    }
    disk.make_room();
    engine.commit(large()).await.expect("there is room again");
}

#[tokio::test]
async fn a_spare_that_found_no_room_a_while_ago_refuses_no_write() {
    let disk = FaultyDisk::default();
    let mut options = matrix::options(true);
    options.segment_bytes = options.first_segment_bytes;
    let engine = open_with(&disk, options, &clock());
    engine.commit(put(0, 0)).await.expect("commits");
    let write = Point { op: Some(Op::Write), what: Some(What::Spare), after: false };
    disk.fail_at(write, 0, Fault::Full, 0);
    for value in 0..20 {
        engine.commit(put(value % 12, value)).await.expect("there is room in this segment");
        for _ in 0..5 {
            if !disk.has_fired() {
                tokio::time::sleep(Duration::from_millis(20)).await; // a thread of its own makes the spare
            }
        }
        if disk.has_fired() {
            break;
        }
    }
    assert!(disk.has_fired(), "a spare was ordered");
    disk.make_room();
    for value in 0..20 {
        engine.commit(put(value % 12, value)).await.expect("there is room again");
    }
    assert!(segments(&disk).len() > 1);
}

#[tokio::test]
async fn a_write_that_is_refused_does_not_say_that_there_is_room() {
    let disk = FaultyDisk::default();
    let engine = open(&disk);
    engine.commit(put(1, 1)).await.expect("commits");
    disk.set_capacity(Some(disk.used()));
    let large = || Commit::one(key(0, 2), Expect::Anything, Change::put(large_object()));
    let taken = || put(1, 2).guarded(key(0, 1), Expect::Absent);
    for _ in 0..100 {
        assert!(matches!(engine.commit(large()).await, Err(CommitError::DiskFull)));
        // the flush is under way, or about to be
        let (flushed, refused) = futures::join!(engine.flush(), engine.commit(taken()));
        assert!(flushed.is_ok(), "{flushed:?}");
        assert!(matches!(refused, Err(CommitError::Guarded { .. })), "{refused:?}");
        assert!(engine.is_full(), "nothing was written");
    }
    disk.make_room();
    engine.commit(large()).await.expect("there is room again");
    assert!(!engine.is_full());
}

#[tokio::test]
async fn a_backup_has_nothing_that_the_log_could_still_lose() {
    let disk = FaultyDisk::default();
    let engine = open(&disk);
    engine.commit(relaxed(1, 1)).await.expect("commits"); // is synced, with a reservation
    let told = engine.commit(relaxed(1, 2)).await.expect("commits").revision;
    let mut backup = Vec::new();
    assert_eq!(engine.backup(&mut backup, &mut |_| {}).expect("writes").revision, told);
    let crashed = lose_everything(&disk);
    drop(engine);
    assert_eq!(open(&crashed).snapshot().get(&key(0, 1)).map(|stored| stored.revision), Some(told));
}

#[test]
fn a_backup_can_be_made_on_a_thread_of_an_executor() {
    futures::executor::block_on(async {
        let engine = open(&FaultyDisk::default());
        engine.commit(relaxed(1, 1)).await.expect("commits");
        engine.commit(relaxed(1, 2)).await.expect("commits");
        engine.backup(&mut Vec::new(), &mut |_| {}).expect("writes");
    });
}

#[tokio::test]
async fn snapshots_without_a_log_are_called_damage_as_opening_does() {
    let disk = FaultyDisk::default();
    let engine = open(&disk);
    for value in 0..25 {
        engine.commit(put(value % 12, value)).await.expect("commits");
    }
    let expected = engine.snapshot().revision();
    flush_and_close(engine).await;
    for name in segments(&disk) {
        disk.remove_file(&name);
    }
    assert!(
        LogJournal::on(Arc::new(disk.clone()), matrix::options(false))
            .is_ok_and(|journal| { Engine::open(Box::new(journal), EngineConfig::default(), clock()).is_err() })
    );
    let inspection = Inspection::on(Arc::new(disk.clone())).expect("not in use");
    let findings = inspection.verify().expect("reads");
    assert!(findings.iter().any(|finding| matches!(finding.state, FileState::Damaged(_))), "{findings:?}");
    let salvage = Salvage::of(&inspection).expect("the snapshot is whole");
    assert!(salvage.revision() <= expected && salvage.resumes_above > expected);
}

#[tokio::test]
async fn a_group_missing_in_the_middle_is_lost_with_all_after_it_and_that_is_said() {
    let disk = FaultyDisk::default();
    let mut options = matrix::options(false);
    options.snapshot_bytes = u64::MAX;
    let engine = open_with(&disk, options, &clock());
    let mut revisions = vec![Revision::ZERO];
    for value in 0..40 {
        revisions.push(engine.commit(put(value % 12, value)).await.expect("commits").revision);
    }
    let newest = engine.snapshot().revision();
    engine.close().await;
    drop(engine);
    let name = segments(&disk)[1].clone();
    disk.tamper(&name, |bytes| bytes[150] ^= 1);
    let inspection = Inspection::on(Arc::new(disk.clone())).expect("not in use");
    let salvage = Salvage::of(&inspection).expect("the first segment is whole");
    let lost = salvage.lost.clone().expect("something is lost");
    assert_eq!((lost.last_group, lost.last_revision), (40, Some(newest)));
    let kept = usize::try_from(lost.first_group - 1).expect("small");
    assert!(kept > 0 && salvage.revision() == revisions[kept]);
    assert!(salvage.resumes_above > newest);
    let repaired = FaultyDisk::default();
    salvage.write(&(Arc::new(repaired.clone()) as Arc<_>)).expect("writes");
    let engine = open(&repaired);
    assert!(engine.snapshot().revision() > newest, "no revision is used twice");
    let random = SeededRandom::new(1);
    let committed = engine.commit(put(1, (random.next() % 100) as u8)).await.expect("goes on");
    let crashed = lose_everything(&repaired);
    drop(engine);
    assert_eq!(open(&crashed).snapshot().revision(), committed.revision);
}
