//! `arktos store backup`, `check-backup` and `restore`.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arktos_core::{Revision, Timestamp};
use arktos_store::Clock;
use arktos_store::backup::{self, Progress, RestoreOptions, Until};
use clap::Args;

use super::store::{Place, stores};
use crate::edge::SystemClock;

/// How often long work says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// The flags of `arktos store backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    place: Place,
    /// Directory for the backups: one file per store, named after its role and the time
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// The flags of `arktos store check-backup`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// The flags of `arktos store restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The backup to start from. Default: the oldest state in the --log directories
    #[arg(long, value_name = "FILE", required_unless_present = "log")]
    backup: Option<PathBuf>,
    /// A directory with the log after the backup: an archive, or the store's own directory (which no process may be
    /// using). May be given more than once; they may overlap
    #[arg(long, value_name = "DIR")]
    log: Vec<PathBuf>,
    /// The new store's directory, such as ./new/partition-0. It must be empty, or not exist
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// Restore exactly this revision (of the old store). Default: the newest state
    #[arg(long, value_name = "N", conflicts_with = "to_time")]
    to_revision: Option<u64>,
    /// Restore the state at this time, in RFC 3339, such as 2026-03-01T12:00:00Z. Default: the newest state
    #[arg(long, value_name = "TIME", value_parser = time)]
    to_time: Option<Timestamp>,
    /// A revision that clients may have seen, if you know of a higher one than what is restored
    #[arg(long, value_name = "N", default_value_t = 0)]
    above: u64,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "not a time such as 2026-03-01T12:00:00Z".to_owned())
}

/// Writes backups.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub(super) fn backup(args: &BackupArgs) -> Result<(), String> {
    let stores = stores(&args.place)?;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&args.to);
    made.map_err(|error| format!("--to {}: {error}", args.to.display()))?;
    for (name, directory) in stores {
        let now = SystemClock::new().now();
        let stamp: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
        backup_one(&directory, &args.to.join(format!("{name}-{stamp}.backup")), now)?;
    }
    Ok(())
}

/// Writes one file. It has its name only when it is whole and durable.
fn backup_one(directory: &Path, path: &Path, now: Timestamp) -> Result<(), String> {
    let unfinished = path.with_extension("unfinished");
    let place = |error: std::io::Error| format!("{}: {error}", unfinished.display());
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
    let mut out = BufWriter::new(file.map_err(place)?);
    let mut report = Report::new();
    let taken = backup::of_directory(directory, now, &mut out, &mut |progress| report.say(progress));
    let taken = taken.map_err(|error| {
        let _ = fs::remove_file(&unfinished); // it is no good to anybody
        error.to_string()
    })?;
    out.flush().and_then(|()| out.get_ref().sync_all()).map_err(place)?;
    fs::rename(&unfinished, path).map_err(place)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(place)?;
    println!("{}: {} objects at revision {}, {} bytes", path.display(), taken.objects, taken.revision, taken.bytes);
    Ok(())
}

/// Reads a backup from end to end.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub(super) fn check(args: &CheckArgs) -> Result<(), String> {
    let found = backup::inspect(&args.file).map_err(|error| error.to_string())?;
    println!(
        "{}: whole: {} objects at revision {}, taken at {}, {} bytes",
        args.file.display(),
        found.objects,
        found.revision,
        found.time.to_micro_string(),
        found.bytes
    );
    Ok(())
}

/// Makes a new store.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub(super) fn restore(args: &RestoreArgs) -> Result<(), String> {
    let mut options = RestoreOptions::new(SystemClock::new().now());
    options.backup.clone_from(&args.backup);
    options.logs.clone_from(&args.log);
    options.above = Revision(args.above);
    options.until = match (args.to_revision, args.to_time) {
        (Some(revision), _) => Until::Revision(Revision(revision)),
        (None, Some(time)) => Until::Time(time),
        (None, None) => Until::End,
    };
    if let Some(file) = &args.backup {
        // what is no backup leaves nothing behind
        backup::inspect(file).map_err(|error| error.to_string())?;
    }
    if let Some(parent) = args.into.parent() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.and_then(|()| fs::DirBuilder::new().recursive(true).mode(0o700).create(&args.into))
            .map_err(|error| format!("--into {}: {error}", args.into.display()))?;
    }
    let mut report = Report::new();
    let restored = backup::restore(&options, &args.into, &mut |progress| report.say(progress));
    let restored = restored.map_err(|error| error.to_string())?;
    let at = restored.time.map(|time| format!(", last written at {}", time.to_micro_string())).unwrap_or_default();
    println!(
        "{}: {} objects as they were at revision {}{at}; the store goes on at revision {}",
        args.into.display(),
        restored.objects,
        restored.from,
        restored.revision
    );
    if restored.in_group {
        println!(
            "note: revision {} lies between writes that became durable together; a commit of several writes may be cut \
             in two there",
            restored.from
        );
    }
    Ok(())
}

/// Says on standard error how far long work is; short work says nothing.
struct Report {
    last: Instant,
}

impl Report {
    fn new() -> Self {
        Self { last: Instant::now() }
    }

    fn say(&mut self, progress: Progress) {
        if self.last.elapsed() < REPORT_EVERY {
            return;
        }
        self.last = Instant::now();
        match progress {
            Progress::Reading => eprintln!("reading the state to begin with"),
            Progress::Replaying(groups) => eprintln!("reading the log: {groups} groups"),
            Progress::Writing(done, all) => eprintln!("writing: {done} of {all} objects"),
            other => eprintln!("{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(data_dir: &Path) -> Place {
        Place { data_dir: data_dir.to_owned(), role: None }
    }

    fn restoring(backup: &Path, into: &Path) -> RestoreArgs {
        let (backup, into) = (Some(backup.to_owned()), into.to_owned());
        RestoreArgs { backup, log: Vec::new(), into, to_revision: None, to_time: None, above: 0 }
    }

    #[tokio::test]
    async fn a_store_is_backed_up_beside_its_process_checked_and_restored() {
        let data = tempfile::tempdir().expect("a directory");
        crate::cli::store::tests::write(&data.path().join("partition-0")).await;
        let _used = crate::roles::store::lock(data.path()).expect("locks");
        let to = data.path().join("backups");
        backup(&BackupArgs { place: place(data.path()), to: to.clone() }).expect("is written");
        let file = fs::read_dir(&to).expect("lists").flatten().next().expect("a file").path();
        check(&CheckArgs { file: file.clone() }).expect("is whole");
        let into = data.path().join("again/partition-0");
        restore(&restoring(&file, &into)).expect("restores");
        assert!(restore(&restoring(&file, &into)).expect_err("is not empty").contains("is not empty"));

        let mut bytes = fs::read(&file).expect("reads");
        bytes[70] ^= 1;
        fs::write(&file, &bytes).expect("writes");
        let said = check(&CheckArgs { file: file.clone() }).expect_err("is damaged");
        assert!(said.contains("partition-0") && said.contains("take another one"), "{said}");
        let nowhere = data.path().join("nowhere/partition-0");
        assert_eq!(restore(&restoring(&file, &nowhere)).expect_err("is damaged"), said);
        assert!(!data.path().join("nowhere").exists());
    }
}
