//! Backups, and the stores that are made of them.
#![cfg(feature = "log")]

mod faulty;
mod model;
mod turns;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arktos_core::{ObjectKey, Revision, Timestamp};
use arktos_store::backup::{self, Backup, RestoreError, RestoreOptions, Restored, Until};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::log::{Directory, Disk, LogJournal, LogOptions};
use arktos_store::storage::OpenError;
use arktos_store::{
    Change, Clock, Commit, CounterChange, Engine, EngineConfig, Expect, Random, Selection, Snapshot, WatchError,
    Within, Write,
};
use faulty::{Fault, FaultyDisk};
use model::{key, object, resource};
use turns::Turns;

/// By key: the content, and the place of the object in the order in which objects were last written.
type Contents = BTreeMap<ObjectKey, (usize, Vec<u8>)>;

fn options() -> LogOptions {
    let mut options = LogOptions::default();
    options.first_segment_bytes = 2048;
    options.segment_bytes = 4096;
    options.snapshot_bytes = 6000;
    options.prepare_ahead = false;
    options
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_micros(1_000_000)))
}

fn open(directory: &Path, clock: Arc<ManualClock>, config: EngineConfig) -> (Engine, Turns) {
    let (journal, turns) = Turns::of(LogJournal::open(directory, options()).expect("opens"));
    (Engine::open(journal, config, clock).expect("opens"), turns)
}

fn open_with(directory: &Path, archive: Arc<dyn Disk>, clock: Arc<ManualClock>, window: Duration) -> (Engine, Turns) {
    let mut config = EngineConfig::default();
    config.history_window = window;
    let journal = LogJournal::open(directory, options()).expect("opens").with_archive(archive);
    let (journal, turns) = Turns::of(journal);
    (Engine::open(journal, config, clock).expect("opens"), turns)
}

/// Lets the keeper have its turn.
async fn kept(engine: &Engine, clock: &ManualClock, turns: &mut Turns) {
    engine.compact(clock.now()).await.expect("compacts");
    turns.next(async { engine.flush().await.expect("flushes") }).await;
}

fn open_on(disk: &FaultyDisk) -> Result<Engine, OpenError> {
    Engine::open(Box::new(LogJournal::on(Arc::new(disk.clone()), options())?), EngineConfig::default(), clock())
}

fn counted(writes: Vec<(u8, Option<u8>)>) -> Commit {
    let delta = i64::try_from(writes.len()).expect("few");
    let write = |(number, value): (u8, Option<u8>)| Write {
        key: key(number % 2, number),
        expect: if value.is_some() { Expect::Anything } else { Expect::Present },
        change: value.map_or(Change::Delete, |value| Change::put(object(number, &(value, value)))),
    };
    let counters = vec![CounterChange { counter: "writes".into(), delta, limit: None }];
    Commit { writes: writes.into_iter().map(write).collect(), counters, ..Commit::default() }
}

fn contents(snapshot: &Snapshot) -> Contents {
    let mut all = Vec::new();
    for resource in snapshot.resources() {
        for stored in snapshot.range(&resource, &Within::Everywhere, None) {
            let key = ObjectKey { resource: resource.clone(), path: stored.path.clone() };
            all.push((stored.revision, key, stored.object.tail().to_vec()));
        }
    }
    all.sort_unstable_by_key(|(revision, ..)| *revision);
    all.into_iter().enumerate().map(|(place, (_, key, tail))| (key, (place, tail))).collect()
}

fn from(backup: &Path) -> RestoreOptions {
    let mut options = RestoreOptions::new(Timestamp::from_micros(2_000_000));
    options.backup = Some(backup.to_owned());
    options
}

fn restore(options: &RestoreOptions) -> Result<(FaultyDisk, Restored), RestoreError> {
    let disk = FaultyDisk::default();
    let restored = backup::restore_on(options, &disk, &mut |_| {})?;
    Ok((disk, restored))
}

fn refusal(options: &RestoreOptions) -> RestoreError {
    restore(options).err().expect("is refused")
}

fn save(engine: &Engine, path: &Path) -> Backup {
    let mut file = std::fs::File::create(path).expect("a file");
    engine.backup(&mut file, &mut |_| {}).expect("writes")
}

/// Writes until told to stop; every commit has one write and adds one to a counter, so that the counter is the
/// revision.
fn storm(engine: &Engine, writers: u64, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<()>> {
    let writer = |seed| {
        let (engine, stop) = (engine.clone(), stop.clone());
        tokio::spawn(async move {
            let random = SeededRandom::new(seed);
            while !stop.load(Ordering::Relaxed) {
                let (number, value) = (random.next() as u8 % 18, random.next() as u8);
                let write = counted(vec![(number, (value % 5 > 0).then_some(value))]);
                let _ = engine.commit(write).await; // it may be gone
                tokio::task::yield_now().await;
            }
        })
    };
    (0..writers).map(writer).collect()
}

async fn backups_under_a_storm(engine: Engine) {
    let directory = tempfile::tempdir().expect("a directory");
    let stop = Arc::new(AtomicBool::new(false));
    let writers = storm(&engine, 3, &stop);
    for round in 0..12 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let before = engine.snapshot().revision();
        let path = directory.path().join(format!("{round}.backup"));
        let taken = save(&engine, &path);
        assert!(taken.revision >= before);
        assert_eq!(backup::inspect(&path).expect("is whole"), taken);
        let exact = contents(&engine.exactly_at(taken.revision).expect("history reaches back"));
        let (disk, restored) = restore(&from(&path)).expect("restores");
        assert_eq!(restored.from, taken.revision);
        let again = open_on(&disk).expect("opens");
        assert_eq!(contents(&again.snapshot()), exact, "one exact state");
        assert_eq!(again.counter("writes"), i64::try_from(taken.revision.0).expect("small"));
        assert_eq!(taken.objects, exact.len() as u64);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("no panic");
    }
    assert!(engine.snapshot().revision().0 > 100, "writers were not held up");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_backup_in_a_storm_of_writes_is_one_exact_state_of_a_store_in_memory() {
    backups_under_a_storm(Engine::memory(clock())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_backup_in_a_storm_of_writes_is_one_exact_state_of_a_log() {
    let directory = tempfile::tempdir().expect("a directory");
    backups_under_a_storm(open(directory.path(), clock(), EngineConfig::default()).0).await;
}

#[cfg(feature = "sled")]
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_backup_in_a_storm_of_writes_is_one_exact_state_of_sled() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = arktos_store::sled::SledJournal::open(directory.path(), &Default::default()).expect("opens");
    backups_under_a_storm(Engine::open(Box::new(journal), EngineConfig::default(), clock()).expect("opens")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_files_of_a_running_store_give_a_backup_with_all_that_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = clock();
    let mut config = EngineConfig::default();
    config.history_window = Duration::from_millis(1); // so that segments go all the time
    let (engine, mut turns) = open(directory.path(), clock.clone(), config);
    let stop = Arc::new(AtomicBool::new(false));
    let writers = storm(&engine, 2, &stop);
    for round in 0..15 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        clock.advance(Duration::from_secs(1));
        kept(&engine, &clock, &mut turns).await;
        let acknowledged = engine.snapshot().revision();
        let path = directory.path().join(format!("{round}.backup"));
        let mut file = std::fs::File::create(&path).expect("a file");
        let taken = backup::of_directory(directory.path(), clock.now(), &mut file, &mut |_| {}).expect("is written");
        assert!(taken.revision >= acknowledged);
        let (disk, _) = restore(&from(&path)).expect("restores");
        let again = open_on(&disk).expect("opens");
        assert_eq!(again.counter("writes"), i64::try_from(taken.revision.0).expect("small"));
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("no panic");
    }
    engine.close().await;
    assert!(!directory.path().join("log-0000000000000001").exists(), "segments did go");
}

/// A log with an archive, a backup from its middle, and what there was at each revision.
struct Past {
    directory: tempfile::TempDir,
    states: BTreeMap<Revision, Contents>,
    taken: Backup,
    newest: Revision,
}

impl Past {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (log, archive) = (directory.path().join("log"), directory.path().join("archive"));
        let clock = clock();
        let archive = Arc::new(Directory::new(&archive).expect("a directory"));
        let (engine, mut turns) = open_with(&log, archive, clock.clone(), Duration::from_secs(20));
        let mut states = BTreeMap::new();
        let (random, mut taken) = (SeededRandom::new(3), None);
        for round in 0..60_u8 {
            clock.advance(Duration::from_secs(1));
            let first = random.next() as u8 % 15;
            let commit = match round % 6 {
                5 => counted(vec![(first, Some(round)), (first + 1, Some(round)), (first + 2, Some(round))]),
                4 => counted(vec![(states_key(&engine, first), None)]),
                _ => counted(vec![(first, Some(round))]),
            };
            let committed = engine.commit(commit).await.expect("commits");
            for revision in committed.revisions {
                states.insert(revision, contents(&engine.exactly_at(revision).expect("is kept")));
            }
            kept(&engine, &clock, &mut turns).await;
            if round == 20 {
                taken = Some(save(&engine, &directory.path().join("backup")));
            }
        }
        let newest = engine.snapshot().revision();
        engine.close().await;
        Self { directory, states, taken: taken.expect("was taken"), newest }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn options(&self, until: Until) -> RestoreOptions {
        let mut options = from(&self.path("backup"));
        options.logs = vec![self.path("archive"), self.path("log")];
        options.until = until;
        options
    }
}

/// An object that is there, to be deleted.
fn states_key(engine: &Engine, from: u8) -> u8 {
    let there = |number: &u8| engine.snapshot().get(&key(number % 2, *number)).is_some();
    (from..36).find(there).or_else(|| (0..from).find(there)).expect("one of them")
}

#[tokio::test]
async fn every_revision_since_a_backup_can_be_gone_back_to() {
    let past = Past::new().await;
    assert!(!past.path("log").join("log-0000000000000001").exists(), "the log alone does not reach back");
    let mut cut = 0;
    for (revision, state) in past.states.range(past.taken.revision..) {
        let (disk, restored) = restore(&past.options(Until::Revision(*revision))).expect("restores");
        assert_eq!(restored.from, *revision);
        let engine = open_on(&disk).expect("opens");
        assert_eq!(&contents(&engine.snapshot()), state, "at {revision}");
        cut += u64::from(restored.in_group);
        let written = i64::try_from(revision.0).expect("small");
        let counter = engine.counter("writes");
        assert!(counter == written || (restored.in_group && counter > written && counter <= written + 2));
        assert!(restored.revision.0 >= past.newest.0 + 1_000_000_000, "above all that was told, beyond the goal too");
    }
    assert!(cut >= 10, "some revisions lie within a group");
    let (disk, restored) = restore(&past.options(Until::End)).expect("restores");
    assert_eq!(restored.from, past.newest);
    assert_eq!(contents(&open_on(&disk).expect("opens").snapshot()), past.states[&past.newest]);
}

#[tokio::test]
async fn a_moment_can_be_gone_back_to_and_what_cannot_be_reached_is_said() {
    let past = Past::new().await;
    // one second passed before each commit
    let (_, restored) = restore(&past.options(Until::Time(Timestamp::from_micros(41_500_000)))).expect("restores");
    assert_eq!(restored.time, Some(Timestamp::from_micros(41_000_000)));
    let too_late = [
        past.options(Until::Time(Timestamp::from_micros(21_000_000))),
        past.options(Until::Revision(Revision(past.taken.revision.0 - 1))),
    ];
    for options in too_late {
        let refused = refusal(&options);
        assert!(matches!(refused, RestoreError::TooLate { .. }), "{refused}");
    }
    let wanted = Revision(past.newest.0 + 1);
    let refused = refusal(&past.options(Until::Revision(wanted)));
    assert!(matches!(refused, RestoreError::NotReached { newest, .. } if newest == past.newest), "{refused}");
    let mut without_archive = past.options(Until::End);
    without_archive.logs.remove(0);
    let refused = refusal(&without_archive).to_string();
    assert!(refused.contains("are missing before it"), "{refused}");
    // a directory of a store is a backup of its own
    let mut copy = past.options(Until::End);
    copy.backup = None;
    copy.logs.remove(0);
    let (disk, _) = restore(&copy).expect("restores");
    assert_eq!(contents(&open_on(&disk).expect("opens").snapshot()), past.states[&past.newest]);
    copy.logs = vec![past.path("archive")];
    let (_, restored) = restore(&copy).expect("the archive begins with the first group");
    assert!(restored.from < past.newest && restored.from > past.taken.revision);
}

#[tokio::test]
async fn two_lives_of_a_store_are_never_mixed_up() {
    let past = Past::new().await;
    let second = past.path("second");
    backup::restore(&past.options(Until::End), &second, &mut |_| {}).expect("restores");
    let (engine, _) = open(&second, clock(), EngineConfig::default());
    engine.commit(counted(vec![(1, Some(1))])).await.expect("commits");
    engine.close().await;
    let mut mixed = past.options(Until::End);
    mixed.logs = vec![second];
    let refused = refusal(&mixed).to_string();
    assert!(refused.contains("of a later life"), "{refused}");
}

#[tokio::test]
async fn a_damaged_backup_is_refused_by_name_whatever_is_wrong_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = Engine::memory(clock());
    for number in 0..3 {
        engine.commit(counted(vec![(number, Some(number))])).await.expect("commits");
    }
    let path = directory.path().join("small.backup");
    save(&engine, &path);
    let whole = std::fs::read(&path).expect("reads");
    let refuses = |bytes: &[u8], how: String| {
        std::fs::write(&path, bytes).expect("writes");
        let said = backup::inspect(&path).expect_err(&how).to_string();
        assert!(said.contains("small.backup") && !said.contains('\n'), "{how}: {said}");
        let said = restore(&from(&path)).err().expect(&how).to_string();
        assert!(said.contains("small.backup"), "{how}: {said}");
    };
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        refuses(&bytes, format!("byte {at} flipped"));
        refuses(&whole[..at], format!("cut off at {at}"));
    }
    refuses(&[whole.as_slice(), &[0]].concat(), "with a byte more".to_owned());
    refuses(&[whole.as_slice(), &whole].concat(), "twice".to_owned());
    std::fs::write(&path, &whole).expect("writes");
    restore(&from(&path)).expect("is whole again");
}

#[tokio::test]
async fn nobody_sees_a_revision_fall_or_meets_one_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backup");
    let engine = Engine::memory(clock());
    for number in 0..40 {
        engine.commit(counted(vec![(number % 6, Some(number))])).await.expect("commits");
    }
    let expiring = Change::Put { object: object(2, &(1, 1)), expires: Some(Timestamp::from_micros(3_000_000)) };
    engine.commit(Commit::one(key(1, 2), Expect::Anything, expiring)).await.expect("commits");
    let taken = save(&engine, &path);
    // what happens then is in no backup, and was told
    let lost = engine.commit(counted(vec![(0, Some(1))])).await.expect("commits").revision;

    let (disk, restored) = restore(&from(&path)).expect("restores");
    let again = open_on(&disk).expect("opens");
    assert!(again.snapshot().revision().0 >= lost.0 + 999_999_999);
    assert_eq!(again.snapshot().revision(), restored.revision);
    for resource in [resource(0), resource(1), "never-there".to_owned().into()] {
        let selection = Selection::all(resource, Within::Everywhere);
        for told in (1..=lost.0).chain([lost.0 + 5_000, restored.revision.0 - 1]) {
            let (selection, told) = (selection.clone(), Revision(told));
            let refused = again.watch(selection, told).err();
            assert_eq!(refused, Some(WatchError::Compacted { wanted: told, oldest: restored.revision }));
            assert!(matches!(again.exactly_at(told).err(), Some(WatchError::Compacted { .. })));
        }
        again.watch(selection, restored.revision).expect("goes on from what was restored");
    }
    let snapshot = again.snapshot();
    for stored in snapshot.range(&resource(0), &Within::Everywhere, None) {
        assert!(stored.revision > lost, "the revision of an object does not fall either");
    }
    let stale = Commit::one(key(0, 0), Expect::At(taken.revision), Change::Delete);
    again.commit(stale).await.expect_err("what was expected before is not so any more");
    assert!(again.commit(counted(vec![(1, Some(1))])).await.expect("commits").revision > restored.revision);
    assert_eq!(again.counter("writes"), 41);
    assert_eq!(again.expire(Timestamp::from_micros(2_999_999)).await.expect("expires"), 0);
    assert_eq!(again.expire(Timestamp::from_micros(3_000_000)).await.expect("expires"), 1);

    // the same backup once more, later: the revisions of the life in between do not come again
    let mut once_more = from(&path);
    once_more.now = Timestamp::from_micros(1_800_000_000_000_000);
    let (_, later) = restore(&once_more).expect("restores");
    assert!(later.revision.0 > restored.revision.0 + 1_000_000_000);
    once_more.above = Revision(3_000_000_000_000_000);
    let (_, above) = restore(&once_more).expect("restores");
    assert!(above.revision.0 >= 3_000_001_000_000_000);
    once_more.above = Revision(u64::MAX);
    assert!(matches!(restore(&once_more).err(), Some(RestoreError::NoRoom { .. })));
}

#[tokio::test]
async fn a_restored_store_keeps_its_restart_promises() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backup");
    let engine = Engine::memory(clock());
    engine.commit(counted(vec![(1, Some(1))])).await.expect("commits");
    save(&engine, &path);
    let (disk, restored) = restore(&from(&path)).expect("restores");
    let mut newest = restored.revision;
    for round in 0..40 {
        let engine = open_on(&disk.after_kill()).expect("opens after a kill");
        assert_eq!(engine.snapshot().revision(), newest);
        engine.close().await;
        let engine = open_on(&disk).expect("opens");
        newest = engine.commit(counted(vec![(round % 9, Some(round))])).await.expect("commits").revision;
        engine.flush().await.expect("flushes");
        let watch = engine.watch(Selection::all(resource(0), Within::Everywhere), Revision(7));
        assert!(watch.is_err(), "who stood before the restore is still refused");
        engine.close().await;
    }
}

#[tokio::test]
async fn a_restore_that_was_broken_off_leaves_nothing_that_opens() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backup");
    let engine = Engine::memory(clock());
    for number in 0..9 {
        engine.commit(counted(vec![(number, Some(number))])).await.expect("commits");
    }
    save(&engine, &path);
    let whole = contents(&engine.snapshot());
    let (mut refused, mut complete) = (0, 0);
    for (after, fault) in (0..40).flat_map(|at| [Fault::Crash, Fault::TornWrite, Fault::Error].map(|fault| (at, fault)))
    {
        let disk = FaultyDisk::default();
        disk.fail_after(after, fault);
        let outcome = backup::restore_on(&from(&path), &disk, &mut |_| {});
        for seed in 0..6 {
            let found = if seed == 0 { disk.after_kill() } else { disk.after_crash(&SeededRandom::new(seed)) };
            let empty = found.names().iter().all(|name| name == "lock");
            match open_on(&found.after_kill()) {
                _ if empty => assert!(outcome.is_err(), "a restore that succeeded is durable"),
                Ok(engine) => {
                    assert_eq!(contents(&engine.snapshot()), whole, "after {after} {fault:?} {seed}");
                    complete += 1;
                    continue;
                }
                Err(error) => {
                    assert!(outcome.is_err(), "a restore that succeeded opens: {error}");
                    assert!(error.to_string().contains("run the restore again"), "{error}");
                    refused += 1;
                }
            }
            backup::restore_on(&from(&path), &found, &mut |_| {}).expect("can be run again");
            assert_eq!(contents(&open_on(&found).expect("opens").snapshot()), whole);
        }
    }
    assert!(refused > 50 && complete > 50, "{refused} {complete}");
}

#[tokio::test]
async fn only_an_empty_directory_is_restored_into() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backup");
    let engine = Engine::memory(clock());
    save(&engine, &path);
    let refused = backup::restore(&from(&path), directory.path(), &mut |_| {}).expect_err("is not empty");
    assert!(matches!(refused, RestoreError::NotEmpty { .. }), "{refused}");
    backup::restore(&from(&path), &directory.path().join("new/store"), &mut |_| {}).expect("is made");
}

#[tokio::test]
async fn segments_stay_until_the_archive_has_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let archive = FaultyDisk::default();
    archive.set_capacity(Some(0));
    let clock = clock();
    let disk = Arc::new(archive.clone());
    let (engine, mut turns) = open_with(directory.path(), disk, clock.clone(), Duration::from_millis(1));
    let first = directory.path().join("log-0000000000000001");
    let mut turn = async |rounds: u8| {
        for round in 0..rounds {
            engine.commit(counted(vec![(round % 9, Some(round))])).await.expect("writers are not concerned");
            clock.advance(Duration::from_secs(1));
            kept(&engine, &clock, &mut turns).await;
            if !first.exists() {
                return;
            }
        }
    };
    turn(80).await;
    assert!(first.exists(), "it has no copy");
    archive.set_capacity(None);
    turn(200).await;
    assert!(!first.exists(), "it may go now");
    assert!(archive.names().contains(&"segment-0000000000000001".to_owned()));
    engine.close().await;
}
