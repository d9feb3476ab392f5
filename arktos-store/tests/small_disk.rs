//! The engine on a real file system that is full: one of 512 KiB in memory, which the test mounts for itself where the
//! system lets it (in a user namespace of its own).
#![cfg(target_os = "linux")]

mod model;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectKey, ObjectPath, Revision, Timestamp};
use arktos_store::clock::ManualClock;
use arktos_store::commit::{Change, Commit, CommitError, Expect};
use arktos_store::log::{FileState, Inspection, LogJournal, LogOptions};
use arktos_store::{Clock, Engine, EngineConfig, Selection, Within};
use model::{object, resource};

const DIRECTORY: &str = "ARKTOS_SMALL_DISK";

fn open(directory: &Path, clock: &Arc<ManualClock>) -> Engine {
    let mut options = LogOptions::default();
    options.first_segment_bytes = 16 << 10;
    options.segment_bytes = 64 << 10;
    options.snapshot_bytes = 32 << 10;
    let mut config = EngineConfig::default();
    config.history_window = Duration::from_secs(60);
    let journal = LogJournal::open(&directory.join("store"), options).expect("opens");
    Engine::open(Box::new(journal), config, clock.clone()).expect("opens")
}

fn put(number: u32) -> Commit {
    let key = ObjectKey { resource: resource(0), path: ObjectPath::new("acme", "default", &format!("o{number}")) };
    Commit::one(key, Expect::Absent, Change::put(object(0, &(1, 1))))
}

#[test]
fn a_real_file_system_that_is_full_refuses_writes_until_there_is_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let script =
        format!("mount -t tmpfs -o size=512k none \"${DIRECTORY}\" || exit 77; exec \"$0\" child --exact --nocapture");
    let ran = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script.replace("child", "child_on_a_small_disk")])
        .arg(std::env::current_exe().expect("this test"))
        .env(DIRECTORY, directory.path())
        .output();
    match ran {
        Ok(ran) if ran.status.success() => {
            let said = String::from_utf8_lossy(&ran.stdout);
            assert!(said.contains("was full"), "the child did nothing: {said}");
            println!("{said}");
        }
        Ok(ran) if ran.status.code() != Some(101) => {
            println!("skipped: nothing can be mounted here ({}): {}", ran.status, String::from_utf8_lossy(&ran.stderr));
        }
        Ok(ran) => panic!("{}", String::from_utf8_lossy(&ran.stderr)),
        Err(error) => println!("skipped: no unshare: {error}"),
    }
}

/// Commits until there is no room. Gives back the numbers of what was acknowledged.
async fn fill(engine: &Engine, from: u32) -> Vec<u32> {
    let mut written = Vec::new();
    for number in from..from + 20_000 {
        match engine.commit(put(number)).await {
            Ok(_) => written.push(number),
            Err(CommitError::DiskFull) => return written,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk is never full");
}

/// Runs in the child, where the small disk is mounted.
#[tokio::test]
async fn child_on_a_small_disk() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return }; // not the child
    let directory = Path::new(&directory);
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let ballast = directory.join("ballast");
    std::fs::write(&ballast, vec![1; 200 << 10]).expect("there is room");
    let engine = open(directory, &clock);
    let mut written = fill(&engine, 0).await;
    for round in 1..4 {
        let before = engine.snapshot().revision();
        assert!(matches!(engine.commit(put(round * 100_000)).await, Err(CommitError::DiskFull)));
        // housekeeping that finds no room takes none
        clock.advance(Duration::from_secs(100));
        engine.compact(clock.now()).await.expect("needs no room");
        let _ = engine.flush().await;
        assert_eq!(engine.snapshot().revision(), before);
        assert_eq!(engine.snapshot().count(&resource(0), &Within::Everywhere), written.len());
        let selection = Selection::all(resource(0), Within::Everywhere);
        let mut cursor = engine.watch(selection, before).expect("watches go on");
        assert_eq!(cursor.try_next().expect("is at the head"), None);

        match round {
            1 => std::fs::remove_file(&ballast).expect("makes room"),
            _ => {
                // the operator gives it a larger disk
                let size = format!("remount,size={}k", 512 + 256 * round);
                let mounted = Command::new("mount").args(["-o", &size]).arg(directory).status();
                assert!(mounted.is_ok_and(|status| status.success()));
            }
        }
        let more = fill(&engine, round * 100_000).await;
        assert!(!more.is_empty(), "writes go on by themselves");
        assert!(cursor.try_next().expect("delivers").is_some());
        written.extend(more);
    }
    engine.close().await;
    drop(engine);
    let inspection = Inspection::open(&directory.join("store")).expect("not in use");
    let findings = inspection.verify().expect("reads");
    assert!(findings.iter().all(|finding| matches!(finding.state, FileState::Whole { .. })), "{findings:?}");
    drop(inspection);
    // a start needs a little room where the last one could not close in order
    let mounted = Command::new("mount").args(["-o", "remount,size=2m"]).arg(directory).status();
    assert!(mounted.is_ok_and(|status| status.success()));
    let engine = open(directory, &clock);
    assert_eq!(engine.snapshot().count(&resource(0), &Within::Everywhere), written.len());
    assert!(engine.snapshot().revision() > Revision::ZERO);
    println!("the disk was full four times, and {} acknowledged writes are there", written.len());
}
