//! sled: what survives when the process is killed, and what damage comes to.
#![cfg(feature = "sled")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, Timestamp, TypeMeta};
use arktos_store::clock::ManualClock;
use arktos_store::sled::{SledJournal, SledOptions};
use arktos_store::storage::OpenError;
use arktos_store::{Change, Commit, Engine, EngineConfig, Expect, Within};

const DIRECTORY: &str = "ARKTOS_TEST_SLED";

fn open(directory: &Path) -> Result<Engine, OpenError> {
    let journal = SledJournal::open(directory, &SledOptions::default())?;
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
    Engine::open(Box::new(journal), EngineConfig::default(), clock)
}

fn put(name: &str) -> Commit {
    let type_meta = Arc::new(TypeMeta::new("", "v1", "ConfigMap"));
    let mut object = Object::new(&type_meta, name);
    object.set(&["data", "filler"], "x".repeat(500));
    let object = Encoded::encode(&type_meta, &object, &[]).expect("encodes");
    let key = ObjectKey { resource: resource(), path: ObjectPath::new("acme", "default", name) };
    Commit::one(key, Expect::Absent, Change::put(object))
}

fn resource() -> GroupResource {
    GroupResource::core("configmaps")
}

/// Waits until sled has let go of a directory, which it does in threads of its own: until then its files may change.
fn is_let_go_of(directory: &Path) {
    std::fs::File::open(directory.join("db")).expect("is there").lock().expect("is free in the end");
}

fn names(engine: &Engine) -> BTreeSet<String> {
    let snapshot = engine.snapshot();
    snapshot.range(&resource(), &Within::Everywhere, None).map(|it| it.path.name().to_owned()).collect()
}

/// What the test below runs in a process of its own: writes, and says so after each answer, until it is killed.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let engine = open(Path::new(&directory)).expect("opens");
    let first = names(&engine).len();
    for number in first..first + 100_000 {
        let name = format!("object-{number:06}");
        engine.commit(put(&name)).await.expect("is there");
        writeln!(std::io::stdout(), "acknowledged {name}").expect("is read");
    }
}

#[test]
fn what_was_acknowledged_survives_the_death_of_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut acknowledged = BTreeSet::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "writes_until_it_is_killed", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let mut written =
            lines.map_while(Result::ok).filter_map(|it| it.split_once("acknowledged ").map(|it| it.1.to_owned()));
        acknowledged.extend(written.by_ref().take(50 + round * 37));
        child.kill().expect("is killed");
        child.wait().expect("ends");
        acknowledged.extend(written);
        let engine = open(directory.path()).expect("opens after it");
        let there = names(&engine);
        let lost: Vec<&String> = acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
        assert!(there.len() <= acknowledged.len() + 1, "only what was under way may be there beside it");
        acknowledged = there;
        drop(engine);
    }
}

#[tokio::test]
async fn damage_is_never_served_as_if_it_were_what_was_written() {
    let whole = tempfile::tempdir().expect("a directory");
    let engine = open(whole.path()).expect("opens");
    for number in 0..200 {
        engine.commit(put(&format!("object-{number:06}"))).await.expect("is there");
    }
    let before = names(&engine);
    engine.close().await;
    drop(engine);
    is_let_go_of(whole.path());
    let length = std::fs::metadata(whole.path().join("db")).expect("is there").len();
    let mut refused = 0;
    for part in 0..24 {
        let copy = tempfile::tempdir().expect("a directory");
        let copied: PathBuf = copy.path().join("copy");
        assert!(Command::new("cp").arg("-r").arg(whole.path()).arg(&copied).status().expect("copies").success());
        let mut bytes = std::fs::read(copied.join("db")).expect("reads");
        let at = usize::try_from(length * part / 24 + 40).expect("fits");
        if bytes[at..at + 8].iter().all(|byte| *byte == 0) {
            continue; // nothing is kept there
        }
        bytes[at..at + 8].iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::write(copied.join("db"), &bytes).expect("writes");
        match open(&copied) {
            Err(error) => {
                assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
                assert!(error.to_string().contains(&copied.display().to_string()), "it is named: {error}");
                refused += 1;
            }
            Ok(engine) => assert_eq!(names(&engine), before, "byte {at}"),
        }
    }
    assert!(refused > 15, "{refused}");
}

#[tokio::test]
async fn what_is_cut_off_is_missed() {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = open(directory.path()).expect("opens");
    for number in 0..200 {
        engine.commit(put(&format!("object-{number:06}"))).await.expect("is there");
    }
    engine.close().await;
    drop(engine);
    is_let_go_of(directory.path());
    let file = std::fs::OpenOptions::new().write(true).open(directory.path().join("db")).expect("opens");
    file.set_len(file.metadata().expect("is there").len() / 2).expect("cuts");
    let refused = open(directory.path()).err().expect("is refused").to_string();
    assert!(refused.contains("200 groups were acknowledged") || refused.contains("Restore a backup"), "{refused}");
}
