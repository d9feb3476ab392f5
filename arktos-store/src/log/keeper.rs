//! Snapshots while writers go on, and the removal of what is no longer needed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arktos_core::Revision;

use super::append::{Full, Progress};
use super::archive::Archive;
use super::disk::{Disk, is_full};
use super::header::{OLD, UNFINISHED, segment_name, snapshot_name};
use super::{LogOptions, snapshot};
use crate::engine::Snapshot;
use crate::storage::{AppendError, Keeper};

/// A snapshot that is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub group: u64,
    pub revision: Revision,
    /// It is not as it was written. Nothing is removed on its word, and it goes once a newer one is old enough.
    pub damaged: bool,
}

/// Keeps a log's directory small.
pub(super) struct LogKeeper {
    pub disk: Arc<dyn Disk>,
    pub options: LogOptions,
    pub progress: Arc<Progress>,
    /// Where full segments are copied to before they may go, if anywhere.
    pub archive: Option<Archive>,
    /// The snapshots that are there, oldest first.
    pub snapshots: Vec<Kept>,
    /// How many bytes had been appended when the last one was taken.
    pub taken_at: u64,
    /// How many bytes it has.
    pub size: u64,
    /// The group of the snapshot that was read back and found whole: what it replaces may go.
    pub checked: u64,
}

impl LogKeeper {
    fn keep(&mut self, state: &Snapshot, history: Revision) -> io::Result<()> {
        let archived = self.archive();
        let appended = self.progress.bytes.load(Ordering::Relaxed);
        let newer = self.snapshots.last().is_none_or(|newest| newest.group < state.group());
        let mut written = Ok(());
        let damaged = self.snapshots.last().is_some_and(|newest| newest.damaged);
        if newer && (damaged || appended - self.taken_at >= self.options.snapshot_bytes.max(self.size)) {
            written = self.write(state, appended);
        }
        self.remove(history)?; // also when there was no room: this makes some
        written.and(archived)
    }

    /// Copies what is full. That it cannot keeps segments here, and nothing else waits for it.
    fn archive(&mut self) -> io::Result<()> {
        let Some(archive) = &mut self.archive else { return Ok(()) };
        let full = self.progress.full.lock().clone();
        archive.copy(&*self.disk, &full)
    }

    fn write(&mut self, state: &Snapshot, appended: u64) -> io::Result<()> {
        self.size = snapshot::write(&*self.disk, state).inspect_err(|error| {
            if is_full(error) {
                let _ = self.disk.remove(UNFINISHED); // the log needs the room more
            }
        })?;
        self.taken_at = appended;
        if self.snapshots.last().is_some_and(|newest| newest.group == state.group()) {
            self.snapshots.pop(); // its file was replaced
            self.checked = 0;
        }
        self.snapshots.push(Kept { group: state.group(), revision: state.revision(), damaged: false });
        Ok(())
    }

    /// Removes what lies before the newest snapshot that is old enough to bring the whole history back: older snapshots
    /// first, as a start would take the oldest, and nobody has looked whether that is whole.
    fn remove(&mut self, history: Revision) -> io::Result<()> {
        let old_enough = |kept: &Kept| kept.revision <= history && !kept.damaged;
        let Some(base) = self.snapshots.iter().rposition(old_enough) else { return Ok(()) };
        let base_group = self.snapshots.get(base).map_or(0, |kept| kept.group);
        let due = |full: &Full| full.last_group <= base_group;
        let removes = base > 0 || self.progress.full.lock().first().is_some_and(due);
        if removes && self.checked != base_group {
            let name = snapshot_name(base_group);
            if let Some(at) = snapshot::damage(&*self.disk, &name)? {
                tracing::error!(place = self.disk.place(), name, at, "a snapshot is damaged: what it replaces is kept");
                self.snapshots.iter_mut().filter(|kept| kept.group == base_group).for_each(|kept| kept.damaged = true);
                return Ok(());
            }
            self.checked = base_group;
        }
        // the oldest last: it is the one that a start would take, and has taken
        for at in (0..base).rev() {
            gone(self.disk.remove(&snapshot_name(self.snapshots.get(at).map_or(0, |kept| kept.group))))?;
            self.snapshots.remove(at);
        }
        loop {
            let oldest = self.progress.full.lock().first().copied();
            let Some(oldest) = oldest.filter(due) else { break };
            if self.archive.as_ref().is_some_and(|archive| !archive.has(oldest.number)) {
                break;
            }
            gone(self.disk.rename(&segment_name(oldest.number), OLD))?;
            self.disk.sync_names()?; // before the next: after a loss of power none may be missing in the middle
            self.progress.full.lock().remove(0);
        }
        Ok(())
    }
}

/// What is gone already, although an error was reported for it, need not go again.
fn gone(outcome: io::Result<()>) -> io::Result<()> {
    outcome.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

impl LogKeeper {
    fn told(&self, outcome: io::Result<()>) -> Result<(), AppendError> {
        outcome.map_err(|error| match is_full(&error) {
            true => AppendError::Full { place: self.disk.place() },
            false => AppendError::Failed(format!("{}: {error}", self.disk.place())),
        })
    }
}

impl Keeper for LogKeeper {
    fn keep(&mut self, state: &Snapshot, history: Revision) -> Result<(), AppendError> {
        let kept = LogKeeper::keep(self, state, history);
        self.told(kept)
    }

    fn renew(&mut self, state: &Snapshot) -> Result<(), AppendError> {
        let written = self.write(state, self.progress.bytes.load(Ordering::Relaxed));
        self.told(written)
    }
}
