//! Backups of a running store, and stores made of them, as they were at any moment since.
//!
//! ```no_run
//! # fn example(engine: &arktos_store::Engine, now: arktos_core::Timestamp) -> Result<(), Box<dyn std::error::Error>> {
//! use std::fs::File;
//! use arktos_store::backup::{self, RestoreOptions};
//!
//! let file = File::create("monday.backup")?;
//! engine.backup(&mut &file, &mut |_| {})?; // blocks; writers and readers go on
//! file.sync_all()?;
//!
//! let mut options = RestoreOptions::new(now);
//! options.backup = Some("monday.backup".into());
//! backup::restore(&options, "data/new".as_ref(), &mut |_| {})?;
//! # Ok(())
//! # }
//! ```
//!
//! Whoever is told a revision never meets it again: a restored store gives every object a revision above all that
//! anyone was ever told, and whoever stands at an older one lists anew
//! ([`WatchError::Compacted`](crate::WatchError::Compacted)). The format, and why all this is safe, is in
//! `docs/design/0003-backup.md`.

mod restore;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use arktos_core::{Revision, Timestamp};
use crossbeam::sync::{Parker, Unparker};

use crate::engine::{Engine, HistoryLimit, Restoring, Snapshot};
use crate::log::pieces::{Piece, Pieces};
use crate::log::snapshot;
use crate::storage::{OpenError, Restore};

pub use self::restore::{RestoreError, RestoreOptions, Restored, Until, restore, restore_on};

/// What a backup has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// The revision of the state.
    pub revision: Revision,
    /// The number of the last group in it: the log goes on with the next.
    pub group: u64,
    /// When it was taken.
    pub time: Timestamp,
    /// How many objects it has.
    pub objects: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

/// How far a long piece of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The state from which to go on is being read.
    Reading,
    /// The log is being read; so many groups were.
    Replaying(u64),
    /// The state is being written: so many objects of so many are.
    Writing(u64, u64),
}

impl Engine {
    /// Writes a backup of the newest state, once that is durable: a group that the log could still lose would have its
    /// number given out again, and another in its place be passed over when the log is replayed on top.
    ///
    /// The state is taken in O(1); writers and readers go on meanwhile. It is written in pieces of about 1 MiB, and
    /// needs no more memory than that.
    ///
    /// It blocks while `out` does: call it where that does no harm. What `out` holds is durable only when its owner has
    /// made it so. A backup that was not written whole is known by that, and refused.
    ///
    /// # Errors
    /// Those of `out`; and that the state cannot be made durable, since the disk is full or has failed.
    pub fn backup(&self, out: &mut dyn Write, progress: &mut dyn FnMut(Progress)) -> io::Result<Backup> {
        let state = self.kept();
        wait(self.flush()).map_err(io::Error::other)?;
        write(&state, self.now(), out, progress)
    }
}

/// Blocks until a future is done, also on a thread of somebody's executor, where an executor of our own would panic.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Unparker);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let parker = Parker::new();
    let waker = Waker::from(Arc::new(Unpark(parker.unparker().clone())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => parker.park(),
        }
    }
}

/// Reads a backup from the first byte to the last, and says what is in it.
///
/// # Errors
/// [`OpenError`]: it is no backup, of a later version, or damaged, and where.
pub fn inspect(file: &Path) -> Result<Backup, OpenError> {
    let place = file.display().to_string();
    let mut input = File::open(file).map_err(|source| OpenError::Io { place: place.clone(), source })?;
    inspect_from(&place, &mut input)
}

/// As [`inspect`], from anywhere; `place` is what messages call it. It holds a piece of about 1 MiB at a time.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_from(place: &str, input: &mut dyn Read) -> Result<Backup, OpenError> {
    let found = snapshot::read_each(place, input, &mut |_| {}).map_err(not_a_backup)?;
    Ok(Backup::from(&found))
}

/// Writes a backup of the store in a directory, also while a process is using it: its files are read, nothing is
/// changed or locked, but that the newest piece of the log is synced: what is in a backup, the log must not lose. Needs
/// as much memory as the state takes. What was acknowledged before the call is in it.
///
/// # Errors
/// [`RestoreError`]: the store is damaged, or `out` does not take it.
pub fn of_directory(
    directory: &Path,
    time: Timestamp,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Backup, RestoreError> {
    let state = while_it_changes(|| newest_of(directory, progress))?;
    let place = directory.display().to_string();
    write(&state.into_snapshot(), time, out, progress).map_err(|source| RestoreError::Write { place, source })
}

/// How often a directory that changes under our hands is read.
const ATTEMPTS: usize = 10;

/// Reads a directory that may change meanwhile: a file that went while it was read has a successor, and a list of names
/// that was made just then may have neither.
fn while_it_changes<T>(mut read: impl FnMut() -> Result<T, RestoreError>) -> Result<T, RestoreError> {
    for _ in 1..ATTEMPTS {
        match read() {
            Err(
                RestoreError::Source(OpenError::Io { .. } | OpenError::Corrupt { .. }) | RestoreError::Nothing { .. },
            ) => {}
            outcome => return outcome,
        }
    }
    read()
}

fn newest_of(directory: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Restoring, RestoreError> {
    let pieces = Pieces::find(&[directory.to_owned()])?;
    let mut restore = empty();
    match pieces.snapshots.last() {
        Some(newest) => {
            read_base(newest, &mut restore, progress)?;
        }
        None if pieces.is_from_the_first() => {}
        None => return Err(RestoreError::Nothing { place: directory.display().to_string() }),
    }
    let after = restore.0.newest_group();
    let mut count = 0;
    pieces.replay(after, &mut |group| {
        restore.0.group(&group);
        count += 1;
        if count % EVERY == 0 {
            progress(Progress::Replaying(count));
        }
        Ok(std::ops::ControlFlow::Continue(()))
    })?;
    pieces.make_durable()?;
    Ok(restore.0)
}

/// After how many groups progress is told of.
const EVERY: u64 = 4096;

/// Takes a state back without its history.
fn empty() -> Restore {
    Restore(Restoring::new(HistoryLimit { window: std::time::Duration::ZERO, bytes: 0 }))
}

/// Reads a state from a file.
fn read_base(
    piece: &Piece,
    restore: &mut Restore,
    progress: &mut dyn FnMut(Progress),
) -> Result<snapshot::Contents, RestoreError> {
    progress(Progress::Reading);
    let place = piece.path.display().to_string();
    let mut input = File::open(&piece.path).map_err(|source| OpenError::Io { place: place.clone(), source })?;
    Ok(snapshot::read_from(&place, &mut input, restore)?)
}

fn write(
    state: &Snapshot,
    time: Timestamp,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<Backup> {
    let objects = count(state);
    let mut counted = Counted { out, bytes: 0 };
    snapshot::write_to(&mut counted, state, time, &mut |written| progress(Progress::Writing(written, objects)))?;
    counted.out.flush()?;
    Ok(Backup { revision: state.revision(), group: state.group(), time, objects, bytes: counted.bytes })
}

fn count(state: &Snapshot) -> u64 {
    let everywhere = crate::select::Within::Everywhere;
    state.resources().iter().map(|resource| state.count(resource, &everywhere) as u64).sum()
}

impl From<&snapshot::Contents> for Backup {
    fn from(found: &snapshot::Contents) -> Self {
        let snapshot::Contents { group, revision, time, objects, bytes } = *found;
        Self { revision, group, time, objects, bytes }
    }
}

fn not_a_backup(error: OpenError) -> OpenError {
    match error {
        OpenError::Corrupt { place, what, .. } => {
            OpenError::Corrupt { place, what, advice: "It is no good as a backup: take another one".to_owned() }
        }
        other => other,
    }
}

/// Counts what is written.
struct Counted<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_whose_names_change_while_they_are_listed_is_read_again() {
        let mut read = 0;
        let outcome = while_it_changes(|| {
            read += 1;
            if read < 3 { Err(RestoreError::Nothing { place: "here".to_owned() }) } else { Ok(read) }
        });
        assert_eq!(outcome.ok(), Some(3));
        let nothing: Result<(), _> = while_it_changes(|| Err(RestoreError::Nothing { place: "here".to_owned() }));
        assert!(matches!(nothing, Err(RestoreError::Nothing { .. })), "it is empty");
    }
}
