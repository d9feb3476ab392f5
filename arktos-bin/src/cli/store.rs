//! `arktos store`: looking at what the embedded store has written, backups, and stores made of them.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arktos_store::encryption::{self, Encryption};
use arktos_store::log::{Directory, Disk, Dumped, DumpedEntry, FileState, Inspection, LogJournal, LogOptions, Salvage};
use arktos_store::{Engine, EngineConfig};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::backup::{self, BackupArgs, CheckArgs, RestoreArgs};
use crate::edge::SystemClock;
use crate::roles::store::lock;

/// Inspect, repair, back up and restore the stores in a data directory (`--store log`).
///
/// No process may be using the data directory, except for `backup`, which works beside a running one.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Read every file and print its state; fail if one is damaged. Changes nothing
    Verify(Place),
    /// Make a damaged store open again, and say what is lost
    ///
    /// An unfinished write that a crash has left is removed, as opening the store does. Of a store with damaged files,
    /// everything before the damage is saved; the damaged directory is kept beside the new one.
    Repair(Repair),
    /// Print every entry of every file as one line of JSON, oldest first, including secrets. Changes nothing
    Dump(Place),
    /// Write each store to a backup file, also while a process is using it
    ///
    /// The backup has everything that was acknowledged before. Only the store's files are read: the process is not
    /// disturbed and nothing is changed. It takes as much memory as the store. The file contains secrets.
    Backup(BackupArgs),
    /// Read a whole backup, and say what is in it; fail if it is damaged
    CheckBackup(CheckArgs),
    /// Create a new store from a backup, and from the log after it if given
    ///
    /// Stop the store's process first, restore into an empty directory, put that in the place of the old one, and start
    /// again. Revisions continue far above any that a client has seen, so that clients list again.
    Restore(RestoreArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct Place {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "./arktos-data")]
    pub(super) data_dir: PathBuf,
    /// Only the store of this role, such as partition-0
    #[arg(long, value_name = "NAME")]
    pub(super) role: Option<String>,
}

#[derive(Debug, Clone, Args)]
struct Repair {
    #[command(flatten)]
    place: Place,
    /// Give up what cannot be saved of a damaged store. Without this flag, nothing is changed if anything would be lost
    #[arg(long)]
    accept_loss: bool,
}

/// Does what `arktos store` was asked for.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn store(args: StoreArgs) -> Result<(), String> {
    let place = match &args.what {
        What::Backup(args) => return backup::backup(args),
        What::CheckBackup(args) => return backup::check(args),
        What::Restore(args) => return backup::restore(args),
        What::Verify(place) | What::Repair(Repair { place, .. }) | What::Dump(place) => place,
    };
    let stores = stores(place)?;
    let _lock = lock(&place.data_dir)?;
    let mut outcome = Ok(());
    for (name, directory) in stores {
        let done = match &args.what {
            What::Verify(_) => verify(&name, &directory),
            What::Repair(Repair { accept_loss, .. }) => repair(&name, &directory, *accept_loss).await,
            _ => dump(&name, &directory),
        };
        outcome = outcome.and(done);
    }
    outcome
}

/// The stores in a data directory, by the names of their roles.
pub(super) fn stores(place: &Place) -> Result<Vec<(String, PathBuf)>, String> {
    let entries = std::fs::read_dir(&place.data_dir)
        .map_err(|error| format!("--data-dir {}: {error}", place.data_dir.display()))?;
    let mut stores: Vec<(String, PathBuf)> = entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, path)| match &place.role {
            Some(role) => role == name && Inspection::has_log(path),
            None => !is_kept_damage(name) && Inspection::has_log(path),
        })
        .collect();
    stores.sort_unstable();
    if stores.is_empty() && Inspection::has_log(&place.data_dir) {
        let (path, name) = (place.data_dir.display(), place.data_dir.file_name().unwrap_or_default());
        return Err(format!(
            "{path} is itself a store: give its parent directory with --data-dir, and --role {}",
            name.to_string_lossy()
        ));
    }
    if stores.is_empty() {
        let role = place.role.as_ref().map(|role| format!(" for {role}")).unwrap_or_default();
        return Err(format!(
            "there is no store{role} in {} (only stores with --store log are found)",
            place.data_dir.display()
        ));
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
    match damaged {
        0 => Ok(()),
        _ => Err(format!(
            "{name} has damaged files ({damaged}): check the disk, and restore the store from a backup or see what \
             `arktos store repair` can save"
        )),
    }
}

async fn repair(name: &str, directory: &Path, accept_loss: bool) -> Result<(), String> {
    let inspection = Inspection::open(directory).map_err(|error| error.to_string())?;
    let findings = inspection.verify().map_err(|error| error.to_string())?;
    if let Some((file, what)) = findings.iter().find_map(|finding| match &finding.state {
        FileState::Damaged(what) => Some((&finding.file, what)),
        _ => None,
    }) {
        let damage = format!("{name}/{file} is damaged: {what}");
        return save(name, directory, &inspection, &damage, accept_loss);
    }
    drop(inspection);
    if findings.iter().all(|finding| !matches!(finding.state, FileState::Torn { .. })) {
        println!("{name}: nothing to repair");
        return Ok(());
    }
    let journal = LogJournal::open(directory, LogOptions::default()).map_err(|error| error.to_string())?;
    let mut config = EngineConfig::default();
    config.encryption = Encryption::AsFound; // what is encrypted is no matter here
    let engine = Engine::open(Box::new(journal), config, Arc::new(SystemClock::new()));
    engine.map_err(|error| error.to_string())?.close().await;
    println!("{name}: the unfinished write was removed; nothing that was acknowledged is lost");
    Ok(())
}

/// Puts what is whole of a damaged store in its place, and keeps the damaged one beside it.
fn save(name: &str, directory: &Path, log: &Inspection, damage: &str, accept_loss: bool) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| format!("{damage}. Nothing was changed: {error}");
    let salvage = Salvage::of(log).map_err(|error| said(&error))?;
    let lost = match &salvage.lost {
        None => "nothing is lost: the rest of the store has all of it".to_owned(),
        Some(loss) => format!("{loss} are lost"),
    };
    if salvage.lost.is_some() && !accept_loss {
        return Err(format!(
            "{damage}. Nothing was changed. {} objects at revision {} can be saved, and {lost}: restore the directory \
             from a backup, or run this again with --accept-loss",
            salvage.objects(),
            salvage.revision()
        ));
    }
    let beside = |word: &str| directory.with_file_name(format!("{name}{word}"));
    let (repaired, mut kept) = (beside(REPAIRED), beside(DAMAGED));
    for number in 2.. {
        if !kept.exists() {
            break;
        }
        kept = beside(&format!("{DAMAGED}-{number}"));
    }
    if repaired.exists() {
        std::fs::remove_dir_all(&repaired).map_err(|error| said(&format!("{}: {error}", repaired.display())))?;
    }
    let disk: Arc<dyn Disk> = Arc::new(Directory::new(&repaired).map_err(|error| said(&error))?);
    salvage.write(&disk).map_err(|error| said(&error))?;
    std::fs::rename(directory, &kept)
        .and_then(|()| std::fs::rename(&repaired, directory))
        .and_then(|()| Directory::new(directory))
        .map_err(|error| {
            format!("{damage}. It is saved in {}, and cannot be put in place: {error}", repaired.display())
        })?;
    println!(
        "{damage}. {} objects at revision {} were saved; {lost}. Revisions go on above {}, watches list anew. The \
         damaged store is kept in {}",
        salvage.objects(),
        salvage.revision(),
        salvage.resumes_above,
        kept.display()
    );
    Ok(())
}

/// What a store that is being put together is called, after its name.
const REPAIRED: &str = ".repaired";

/// What a damaged store is called, after its name.
const DAMAGED: &str = ".damaged";

/// Whether a directory was left by a repair: it is looked at only when it is asked for by name.
fn is_kept_damage(name: &str) -> bool {
    name.ends_with(REPAIRED)
        || name.rsplit_once(DAMAGED).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('-'))
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
        DumpedEntry::Put { key, stored, expires } if encryption::key_of(&stored.object).is_some() => json!({
            "put": key.resource.as_str(),
            "path": key.path.as_str(),
            "revision": stored.revision.0,
            "expires": expires.map(|time| time.to_micro_string()),
            "encrypted": encryption::key_of(&stored.object),
        }),
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
pub(super) mod tests {
    use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, TypeMeta};
    use arktos_store::{Change, Commit, Expect};

    use super::*;

    pub(in crate::cli) async fn write(directory: &Path) {
        let journal = LogJournal::open(directory, LogOptions::default()).expect("opens");
        let engine = Engine::open(Box::new(journal), EngineConfig::default(), Arc::new(SystemClock::new()));
        let engine = engine.expect("opens");
        let type_meta = TypeMeta::new("", "v1", "ConfigMap");
        for name in ["settings", "more"] {
            let object = Object::new(&type_meta, name);
            let object = Encoded::encode(&Arc::new(type_meta.clone()), &object, &[]).expect("encodes");
            engine.commit(Commit::one(map(name), Expect::Absent, Change::put(object))).await.expect("commits");
        }
        engine.close().await;
    }

    fn map(name: &str) -> ObjectKey {
        ObjectKey { resource: GroupResource::core("configmaps"), path: ObjectPath::new("acme", "a", name) }
    }

    /// Changes a bit in a byte of the log; says what the log was before.
    fn flip(role: &Path, at: usize) -> Vec<u8> {
        let file = role.join("log-0000000000000001");
        let before = std::fs::read(&file).expect("reads");
        let mut bytes = before.clone();
        bytes[at] ^= 1;
        std::fs::write(&file, &bytes).expect("writes");
        before
    }

    async fn ask(what: fn(Place) -> What, data_dir: &Path) -> Result<(), String> {
        store(StoreArgs { what: what(Place { data_dir: data_dir.to_owned(), role: None }) }).await
    }

    fn careful(place: Place) -> What {
        What::Repair(Repair { place, accept_loss: false })
    }

    fn bold(place: Place) -> What {
        What::Repair(Repair { place, accept_loss: true })
    }

    #[tokio::test]
    async fn what_is_whole_passes_and_what_is_damaged_is_named_and_left_alone() {
        let data = tempfile::tempdir().expect("a directory");
        assert!(ask(What::Verify, data.path()).await.expect_err("nothing is there").contains("there is no store"));
        let role = data.path().join("partition-0");
        write(&role).await;
        for what in [What::Verify, careful, What::Dump] {
            ask(what, data.path()).await.expect("is whole");
        }
        let refused = ask(What::Verify, &role).await.expect_err("is one of them itself");
        assert!(refused.contains("--role partition-0"), "{refused}");
        let file = role.join("log-0000000000000001");
        let mut bytes = std::fs::read(&file).expect("reads");
        bytes[120] ^= 1;
        std::fs::write(&file, &bytes).expect("writes");
        for what in [What::Verify, careful, What::Dump] {
            let said = ask(what, data.path()).await.expect_err("is damaged");
            assert!(said.contains("partition-0") && !said.contains('\n'), "{said}");
        }
        assert_eq!(std::fs::read(&file).expect("reads"), bytes);
    }

    #[tokio::test]
    async fn what_is_whole_of_a_damaged_store_is_saved_when_the_loss_is_accepted() {
        let data = tempfile::tempdir().expect("a directory");
        let role = data.path().join("partition-0");
        write(&role).await;
        // the first group is needed for all that follows
        let whole = flip(&role, 120);
        let refused = ask(careful, data.path()).await.expect_err("everything would be lost");
        assert!(refused.contains("0 objects") && refused.contains("Nothing was changed"), "{refused}");
        let file = role.join("log-0000000000000001");
        std::fs::write(&file, &whole).expect("writes");

        let second = 64 + 48 + usize::from(u16::from_le_bytes([whole[64], whole[65]]));
        flip(&role, second + 60);
        let damaged = std::fs::read(&file).expect("reads");
        let refused = ask(careful, data.path()).await.expect_err("something would be lost");
        assert!(refused.contains("--accept-loss") && refused.contains("group 2"), "{refused}");
        assert_eq!(std::fs::read(&file).expect("reads"), damaged);
        ask(bold, data.path()).await.expect("is saved");
        for what in [What::Verify, careful, What::Dump] {
            ask(what, data.path()).await.expect("is whole");
        }
        let kept = data.path().join("partition-0.damaged/log-0000000000000001");
        assert_eq!(std::fs::read(kept).expect("is kept"), damaged);
        let journal = LogJournal::open(&role, LogOptions::default()).expect("opens");
        let engine = Engine::open(Box::new(journal), EngineConfig::default(), Arc::new(SystemClock::new()));
        let snapshot = engine.expect("opens").snapshot();
        assert!(snapshot.get(&map("settings")).is_some() && snapshot.get(&map("more")).is_none());
        assert!(snapshot.revision().0 > 2, "no revision is used twice");
    }

    #[tokio::test]
    async fn a_data_directory_in_use_is_left_alone() {
        let data = tempfile::tempdir().expect("a directory");
        write(&data.path().join("partition-0")).await;
        let _used = lock(data.path()).expect("locks");
        assert!(ask(What::Verify, data.path()).await.expect_err("is in use").contains("another process"));
    }
}
