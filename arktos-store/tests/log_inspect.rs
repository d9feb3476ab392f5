//! What an inspection says of a log, and that it changes nothing.

mod faulty;
mod model;

use std::sync::Arc;

use arktos_core::Timestamp;
use arktos_store::clock::ManualClock;
use arktos_store::commit::{Change, Commit, Expect};
use arktos_store::log::{DumpedEntry, FileState, Inspection, LogJournal, LogOptions};
use arktos_store::storage::OpenError;
use arktos_store::{Engine, EngineConfig};
use faulty::FaultyDisk;
use model::{key, object};

/// A log with several segments and at least one snapshot, as it is found after its process was killed.
async fn written() -> FaultyDisk {
    let disk = FaultyDisk::default();
    let mut options = LogOptions::default();
    options.first_segment_bytes = 2048;
    options.segment_bytes = 4096;
    options.prepare_ahead = false;
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let journal = LogJournal::on(Arc::new(disk.clone()), options).expect("opens");
    let engine = Engine::open(Box::new(journal), EngineConfig::default(), clock).expect("opens");
    for value in 0..60 {
        let put = Commit::one(key(0, value), Expect::Anything, Change::put(object(value, &(value, value))));
        engine.commit(put).await.expect("commits");
    }
    engine.commit(Commit::one(key(0, 7), Expect::Present, Change::Delete)).await.expect("commits");
    let killed = disk.after_kill();
    engine.close().await;
    killed
}

fn segments(disk: &FaultyDisk) -> Vec<String> {
    let mut names: Vec<String> = disk.names().into_iter().filter(|name| name.starts_with("log-")).collect();
    names.sort_unstable();
    names
}

fn state(disk: &FaultyDisk, name: &str) -> FileState {
    let inspection = Inspection::on(Arc::new(disk.clone())).expect("opens");
    let findings = inspection.verify().expect("reads");
    findings.into_iter().find(|finding| finding.file == name).expect("is there").state
}

#[tokio::test]
async fn every_entry_is_given_and_nothing_is_changed() {
    let disk = written().await;
    let before: Vec<_> = disk.names().iter().map(|name| (name.clone(), disk.content(name))).collect();
    let inspection = Inspection::on(Arc::new(disk.clone())).expect("opens");
    let (mut puts, mut deletes) = (0, 0);
    inspection
        .dump(|dumped| match dumped.entry {
            DumpedEntry::Put { .. } => puts += 1,
            DumpedEntry::Delete { key: deleted, .. } => {
                assert_eq!(deleted, key(0, 7));
                deletes += 1;
            }
            _ => {}
        })
        .expect("dumps");
    assert_eq!((puts, deletes), (60, 1));
    let whole = |state: &FileState| matches!(state, FileState::Whole { .. });
    assert!(inspection.verify().expect("reads").iter().all(|finding| whole(&finding.state)));
    drop(inspection);
    let after: Vec<_> = disk.names().iter().map(|name| (name.clone(), disk.content(name))).collect();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_torn_end_is_told_from_damage() {
    let disk = written().await;
    let names = segments(&disk);
    assert!(names.len() > 2, "{names:?}");
    let (first, newest) = (&names[0], &names[names.len() - 1]);
    let whole = disk.content(newest);
    let end = whole.iter().rposition(|byte| *byte != 0).expect("something was written") + 1;

    let torn = disk.after_kill();
    torn.tamper(newest, |bytes| bytes[end - 3..].fill(0));
    assert!(matches!(state(&torn, newest), FileState::Torn { .. }));

    for (name, at) in [(newest, end - 10), (newest, 100), (first, 100), (first, 3)] {
        let damaged = disk.after_kill();
        damaged.tamper(name, |bytes| bytes[at] ^= 4);
        assert!(matches!(state(&damaged, name), FileState::Damaged(_)), "{name} at {at}");
    }
    let gap = disk.after_kill();
    gap.remove_file(&names[1]);
    assert!(matches!(state(&gap, &names[2]), FileState::Damaged(_)));
    gap.remove_file(first);
    assert!(matches!(state(&gap, &names[2]), FileState::Damaged(_)));
}

#[tokio::test]
async fn a_log_that_is_in_use_is_not_looked_at() {
    let disk = written().await;
    let _journal = LogJournal::on(Arc::new(disk.clone()), LogOptions::default()).expect("opens");
    assert!(matches!(Inspection::on(Arc::new(disk)), Err(OpenError::InUse { .. })));
}

#[test]
fn a_directory_without_a_log_is_told_and_not_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let absent = directory.path().join("absent");
    assert!(matches!(Inspection::open(&absent), Err(OpenError::Other(_))));
    assert!(!absent.exists());
}
