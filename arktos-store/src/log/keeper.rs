//! Snapshots while writers go on, and the removal of what is no longer needed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arktos_core::Revision;

use super::append::Progress;
use super::disk::{Disk, is_full};
use super::header::{OLD, segment_name, snapshot_name};
use super::{LogOptions, snapshot};
use crate::engine::Snapshot;
use crate::storage::{AppendError, Keeper};

/// A snapshot that is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub group: u64,
    pub revision: Revision,
}

/// Keeps a log's directory small.
pub(super) struct LogKeeper {
    pub disk: Arc<dyn Disk>,
    pub options: LogOptions,
    pub progress: Arc<Progress>,
    /// The snapshots that are there, oldest first.
    pub snapshots: Vec<Kept>,
    /// How many bytes had been appended when the last one was taken.
    pub taken_at: u64,
    /// How many bytes it has.
    pub size: u64,
}

impl LogKeeper {
    fn keep(&mut self, state: &Snapshot, history: Revision) -> io::Result<()> {
        let appended = self.progress.bytes.load(Ordering::Relaxed);
        let newer = self.snapshots.last().is_none_or(|newest| newest.group < state.group());
        if newer && appended - self.taken_at >= self.options.snapshot_bytes.max(self.size) {
            self.size = snapshot::write(&*self.disk, state)?;
            self.taken_at = appended;
            self.snapshots.push(Kept { group: state.group(), revision: state.revision() });
        }
        self.remove(history)
    }

    /// Removes what lies before the newest snapshot that is old enough to bring the whole history back: segments first,
    /// so that a snapshot which is there and misses its log is known to be left over.
    fn remove(&mut self, history: Revision) -> io::Result<()> {
        let Some(base) = self.snapshots.iter().rposition(|kept| kept.revision <= history) else { return Ok(()) };
        let base_group = self.snapshots.get(base).map_or(0, |kept| kept.group);
        loop {
            let oldest = self.progress.full.lock().first().copied();
            let Some(oldest) = oldest.filter(|full| full.last_group <= base_group) else { break };
            self.disk.rename(&segment_name(oldest.number), OLD)?;
            self.progress.full.lock().remove(0);
        }
        for left in self.snapshots.drain(..base).collect::<Vec<_>>() {
            self.disk.remove(&snapshot_name(left.group))?;
        }
        Ok(())
    }
}

impl Keeper for LogKeeper {
    fn keep(&mut self, state: &Snapshot, history: Revision) -> Result<(), AppendError> {
        LogKeeper::keep(self, state, history).map_err(|error| match is_full(&error) {
            true => AppendError::Full { place: self.disk.place() },
            false => AppendError::Failed(format!("{}: {error}", self.disk.place())),
        })
    }
}
