//! `arktos store`: looking at what the embedded store has written, while no process uses it.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arktos_store::log::{Dumped, DumpedEntry, FileState, Inspection, LogJournal, LogOptions};
use arktos_store::{Engine, EngineConfig};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::edge::SystemClock;
use crate::roles::store::lock;

/// Look at the stores in a data directory (`--store log`), check them, or remove what a crash has left.
///
/// No process may be using the data directory.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Read every file, and say in one line each how it is; fails when one is damaged. Changes nothing
    Verify(Place),
    /// Remove what a crash has left of an unfinished write, as opening the store does; refuses when anything is damaged
    Repair(Place),
    /// Print every entry of every file as one JSON object a line, oldest first. Changes nothing
    Dump(Place),
}

#[derive(Debug, Clone, Args)]
struct Place {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "./arktos-data")]
    data_dir: PathBuf,
    /// One store alone, by the name of its role, such as partition-0
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
}

/// Does what `arktos store` was asked for.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn store(args: StoreArgs) -> Result<(), String> {
    let (What::Verify(place) | What::Repair(place) | What::Dump(place)) = &args.what;
    let stores = stores(place)?;
    let _lock = lock(&place.data_dir)?;
    let mut outcome = Ok(());
    for (name, directory) in stores {
        let done = match &args.what {
            What::Verify(_) => verify(&name, &directory),
            What::Repair(_) => repair(&name, &directory).await,
            What::Dump(_) => dump(&name, &directory),
        };
        outcome = outcome.and(done);
    }
    outcome
}

/// The stores in a data directory, by the names of their roles.
fn stores(place: &Place) -> Result<Vec<(String, PathBuf)>, String> {
    let entries =
        std::fs::read_dir(&place.data_dir).map_err(|error| format!("{}: {error}", place.data_dir.display()))?;
    let mut stores: Vec<(String, PathBuf)> = entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, path)| place.role.as_ref().is_none_or(|role| role == name) && Inspection::has_log(path))
        .collect();
    stores.sort_unstable();
    if stores.is_empty() {
        let role = place.role.as_ref().map(|role| format!(" for {role}")).unwrap_or_default();
        return Err(format!("there is no log{role} in {}", place.data_dir.display()));
    }
    Ok(stores)
}

fn verify(name: &str, directory: &Path) -> Result<(), String> {
    let inspection = Inspection::open(directory).map_err(|error| error.to_string())?;
    let mut damaged = 0;
    for finding in inspection.verify().map_err(|error| error.to_string())? {
        let said = match finding.state {
            FileState::Whole { groups, entries } => format!("whole: {groups} groups, {entries} entries"),
            FileState::Torn { groups, entries, at } => format!(
                "whole: {groups} groups, {entries} entries; then, at byte {at}, an unfinished write that a crash has \
                 left (opening the store removes it)"
            ),
            FileState::Damaged(what) => {
                damaged += 1;
                format!("DAMAGED: {what}")
            }
            other => format!("{other:?}"),
        };
        println!("{name}/{}: {said}", finding.file);
    }
    if damaged == 0 { Ok(()) } else { Err(format!("{name} has damaged files ({damaged}): restore it from a backup")) }
}

async fn repair(name: &str, directory: &Path) -> Result<(), String> {
    let inspection = Inspection::open(directory).map_err(|error| error.to_string())?;
    let findings = inspection.verify().map_err(|error| error.to_string())?;
    drop(inspection);
    if let Some((file, what)) = findings.iter().find_map(|finding| match &finding.state {
        FileState::Damaged(what) => Some((&finding.file, what)),
        _ => None,
    }) {
        return Err(format!(
            "{name}/{file} is damaged: {what}. Nothing was changed: acknowledged writes cannot be told from damage. \
             Restore the directory from a backup"
        ));
    }
    if findings.iter().all(|finding| !matches!(finding.state, FileState::Torn { .. })) {
        println!("{name}: nothing to repair");
        return Ok(());
    }
    let journal = LogJournal::open(directory, LogOptions::default()).map_err(|error| error.to_string())?;
    let engine = Engine::open(Box::new(journal), EngineConfig::default(), Arc::new(SystemClock::new()));
    engine.map_err(|error| error.to_string())?.close().await;
    println!("{name}: the unfinished write was removed");
    Ok(())
}

fn dump(name: &str, directory: &Path) -> Result<(), String> {
    let inspection = Inspection::open(directory).map_err(|error| error.to_string())?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    let dumped = inspection.dump(|dumped| {
        if written.is_ok() {
            written = writeln!(out, "{}", line(name, dumped));
        }
    });
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()), // the reader has seen enough
        Err(error) => Err(format!("cannot write: {error}")),
        Ok(()) => dumped.map_err(|error| error.to_string()),
    }
}

fn line(store: &str, dumped: Dumped<'_>) -> Value {
    let mut line = json!({"store": store, "file": dumped.file, "group": dumped.group});
    if let Some(time) = dumped.time {
        line["time"] = Value::from(time.to_micro_string());
    }
    let more = match dumped.entry {
        DumpedEntry::Put { key, stored, expires } => json!({
            "put": key.resource.as_str(),
            "path": key.path.as_str(),
            "revision": stored.revision.0,
            "expires": expires.map(|time| time.to_micro_string()),
            "notes": stored.object.header().notes().collect::<BTreeMap<_, _>>(),
            "object": match stored.object.decode(None) {
                Ok(object) => Value::Object(object.fields),
                Err(error) => Value::from(error.to_string()),
            },
        }),
        DumpedEntry::Delete { key, revision } => {
            json!({"delete": key.resource.as_str(), "path": key.path.as_str(), "revision": revision.0})
        }
        DumpedEntry::Counter(counter, value) => json!({"counter": &*counter, "value": value}),
        DumpedEntry::Revisions(word, revisions) => {
            json!({word: revisions.iter().map(|revision| revision.0).collect::<Vec<_>>()})
        }
        other => json!({"other": format!("{other:?}")}),
    };
    if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
        line.extend(more);
    }
    line
}

#[cfg(test)]
mod tests {
    use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, TypeMeta};
    use arktos_store::{Change, Commit, Expect};

    use super::*;

    async fn write(directory: &Path) {
        let journal = LogJournal::open(directory, LogOptions::default()).expect("opens");
        let engine = Engine::open(Box::new(journal), EngineConfig::default(), Arc::new(SystemClock::new()));
        let engine = engine.expect("opens");
        let type_meta = TypeMeta::new("", "v1", "ConfigMap");
        let object = Object::new(&type_meta, "settings");
        let object = Encoded::encode(&Arc::new(type_meta), &object, &[]).expect("encodes");
        let key =
            ObjectKey { resource: GroupResource::core("configmaps"), path: ObjectPath::new("acme", "a", "settings") };
        engine.commit(Commit::one(key, Expect::Absent, Change::put(object))).await.expect("commits");
        engine.close().await;
    }

    async fn ask(what: fn(Place) -> What, data_dir: &Path) -> Result<(), String> {
        store(StoreArgs { what: what(Place { data_dir: data_dir.to_owned(), role: None }) }).await
    }

    #[tokio::test]
    async fn what_is_whole_passes_and_what_is_damaged_is_named_and_left_alone() {
        let data = tempfile::tempdir().expect("a directory");
        assert!(ask(What::Verify, data.path()).await.expect_err("nothing is there").contains("there is no log"));
        let role = data.path().join("partition-0");
        write(&role).await;
        for what in [What::Verify, What::Repair, What::Dump] {
            ask(what, data.path()).await.expect("is whole");
        }
        let file = role.join("log-0000000000000001");
        let mut bytes = std::fs::read(&file).expect("reads");
        bytes[120] ^= 1;
        std::fs::write(&file, &bytes).expect("writes");
        for what in [What::Verify, What::Repair, What::Dump] {
            assert!(ask(what, data.path()).await.expect_err("is damaged").contains("partition-0"));
        }
        assert_eq!(std::fs::read(&file).expect("reads"), bytes);
    }

    #[tokio::test]
    async fn a_data_directory_in_use_is_left_alone() {
        let data = tempfile::tempdir().expect("a directory");
        write(&data.path().join("partition-0")).await;
        let _used = lock(data.path()).expect("locks");
        assert!(ask(What::Verify, data.path()).await.expect_err("is in use").contains("another process"));
    }
}
