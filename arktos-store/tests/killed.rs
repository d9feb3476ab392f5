//! A real process that commits as fast as it can is killed again and again, and what it has acknowledged is there.

mod model;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectKey, ObjectPath, Revision, Timestamp};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::commit::{Change, Commit, CounterChange, Expect};
use arktos_store::log::{LogJournal, LogOptions};
use arktos_store::{Engine, EngineConfig, Random, Write};
use model::{object, resource};

/// Where the child finds its directory.
const DIRECTORY: &str = "ARKTOS_KILLED_DIRECTORY";
/// Which life of the store it is.
const ROUND: &str = "ARKTOS_KILLED_ROUND";

const WRITERS: usize = 32;

fn open(directory: &Path) -> Engine {
    let mut options = LogOptions::default();
    // small, so that segments and snapshots come and go while it is killed
    options.first_segment_bytes = 64 << 10;
    options.segment_bytes = 256 << 10;
    options.snapshot_bytes = 128 << 10;
    let mut config = EngineConfig::default();
    config.history_window = Duration::from_secs(1);
    let journal = LogJournal::open(directory, options).expect("opens");
    Engine::open(Box::new(journal), config, Arc::new(ManualClock::new(Timestamp::from_micros(0)))).expect("opens")
}

fn key(number: u8, name: &str) -> ObjectKey {
    ObjectKey { resource: resource(number), path: ObjectPath::new("acme", "default", name) }
}

/// Two objects and a counter, which are there together or not at all.
fn creation(name: &str) -> Commit {
    let put =
        |number| Write { key: key(number, name), expect: Expect::Absent, change: Change::put(object(0, &(1, number))) };
    let counters = vec![CounterChange { counter: "created".into(), delta: 1, limit: None }];
    Commit { writes: vec![put(0), put(1)], counters, ..Commit::default() }
}

/// The child: commits until it is killed, and says on its standard output what was acknowledged.
#[test]
fn child_that_commits_until_it_is_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return }; // not the child
    let round = std::env::var(ROUND).expect("is set");
    let engine = open(directory.as_ref());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for writer in 0..WRITERS {
            let (engine, round) = (engine.clone(), round.clone());
            tokio::spawn(async move {
                for number in 0_u64.. {
                    let name = format!("r{round}-w{writer}-{number}");
                    let committed = engine.commit(creation(&name)).await.expect("commits");
                    let line = format!("\n@{name} {}.\n", committed.revision);
                    std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent reads");
                }
            });
        }
        // bounded, should the parent be gone
        for _ in 0..2000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            engine.compact(Timestamp::from_micros(1 << 50)).await.expect("compacts");
            engine.flush().await.expect("flushes");
        }
    });
}

fn start(directory: &Path, round: u64) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["child_that_commits_until_it_is_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let out = child.stdout.take().expect("is piped");
    (child, BufReader::new(out))
}

/// Reads acknowledgements until the child is gone, which it is once so many were read.
fn kill_after(mut child: Child, out: BufReader<ChildStdout>, acknowledgements: usize) -> BTreeMap<String, Revision> {
    let mut told = BTreeMap::new();
    for line in out.split(b'\n') {
        let line = String::from_utf8(line.expect("reads")).expect("text");
        // the last line may be half a line
        let line = line.strip_prefix('@').and_then(|line| line.strip_suffix('.'));
        if let Some((name, revision)) = line.and_then(|line| line.split_once(' ')) {
            if told.len() == acknowledgements {
                child.kill().expect("is killed"); // what it has written is still read
            }
            told.insert(name.to_owned(), Revision(revision.parse().expect("a revision")));
        }
    }
    child.wait().expect("is waited for");
    told
}

#[test]
fn a_process_killed_at_any_moment_has_lost_nothing_that_it_acknowledged() {
    let rounds = std::env::var("ARKTOS_ROUNDS").map_or(20, |rounds| rounds.parse().expect("a number"));
    let directory = tempfile::tempdir().expect("a directory");
    let random = SeededRandom::new(7);
    let mut told: BTreeMap<String, Revision> = BTreeMap::new();
    for round in 0..rounds {
        let (child, out) = start(directory.path(), round);
        let acknowledged = kill_after(child, out, 50 + usize::try_from(random.next() % 1500).expect("small"));
        assert!(acknowledged.len() >= 50, "round {round}: only {} acknowledgements", acknowledged.len());
        told.extend(acknowledged);
        check(directory.path(), &told, round);
    }
    let names = std::fs::read_dir(directory.path()).expect("is there").flatten();
    let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|name| name.starts_with("snapshot-")), "no snapshot was ever taken: {names:?}");
    assert!(!names.contains(&"log-0000000000000001".to_owned()), "no segment ever went: {names:?}");
    println!("{rounds} kills, {} acknowledged commits", told.len());
}

/// Everything that was acknowledged is there as it was, both halves of it, and nothing is there twice.
fn check(directory: &Path, told: &BTreeMap<String, Revision>, round: u64) {
    let engine = open(directory);
    let snapshot = engine.snapshot();
    for (name, revision) in told {
        let second = snapshot.get(&key(1, name)).map(|stored| stored.revision);
        assert_eq!(second, Some(*revision), "round {round}: {name} was acknowledged");
        let first = snapshot.get(&key(0, name)).map(|stored| stored.revision.next());
        assert_eq!(first, Some(*revision), "round {round}: {name} is half there");
    }
    let [first, second] = [0, 1].map(|number| snapshot.count(&resource(number), &arktos_store::Within::Everywhere));
    assert_eq!(first, second, "round {round}: half a commit is there");
    let counted = usize::try_from(engine.counter("created")).expect("small");
    assert_eq!(first, counted, "round {round}: a commit and its counter");
    assert!(counted >= told.len());
    let newest = told.values().max().copied().unwrap_or_default();
    assert!(snapshot.revision() >= newest, "round {round}: revisions fell");
}
