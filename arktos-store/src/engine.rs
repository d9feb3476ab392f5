//! The engine: commit, snapshot, watch.

mod cursor;
mod history;
mod local;
mod restore;
mod sequencer;
mod shared;
mod snapshot;
mod state;
mod view;
mod wakes;

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{Revision, Timestamp};

use self::history::HistoryLimit;
use self::local::Local;
use self::sequencer::{Limits, Sequencer};
use self::state::State;
use self::view::View;
use crate::clock::Clock;
use crate::commit::{Commit, CommitError, Committed};
use crate::select::{Selection, WatchError};

pub use self::cursor::Cursor;
pub(crate) use self::restore::Restoring;
pub use self::shared::Publisher;
pub use self::snapshot::Snapshot;

/// What an engine keeps to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EngineConfig {
    /// How long past revisions are kept: for watches to go on from, and for reads of past states. Five minutes.
    pub history_window: Duration,
    /// The most bytes of history that are kept of one resource, whatever its age. 256 MiB.
    pub history_bytes: usize,
    /// The most bytes one commit may have. 8 MiB.
    pub commit_bytes: usize,
    /// The most bytes of commits that wait for the disk; more are refused with [`CommitError::Busy`]. 256 MiB.
    pub waiting_bytes: usize,
    /// How often [`Engine::maintenance`] looks after the store. One second.
    pub maintenance_interval: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            history_window: Duration::from_secs(300),
            history_bytes: 256 << 20,
            commit_bytes: 8 << 20,
            waiting_bytes: 256 << 20,
            maintenance_interval: Duration::from_secs(1),
        }
    }
}

impl EngineConfig {
    fn limits(&self, journal: bool) -> Limits {
        let history = HistoryLimit { window: self.history_window, bytes: self.history_bytes };
        Limits { history, commit_bytes: self.commit_bytes, journal }
    }
}

/// A store with its history: what one partition keeps. Cloning it shares it.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    view: Arc<View>,
    clock: Arc<dyn Clock>,
    config: EngineConfig,
    writer: Local,
}

impl Engine {
    /// An empty engine that keeps everything in memory and nothing on a disk. It has no thread; a commit is done when
    /// its future is first polled.
    #[must_use]
    pub fn memory(clock: Arc<dyn Clock>) -> Self {
        Self::memory_with(EngineConfig::default(), clock)
    }

    /// As [`memory`](Self::memory), with limits of one's own.
    #[must_use]
    pub fn memory_with(config: EngineConfig, clock: Arc<dyn Clock>) -> Self {
        let view = Arc::new(View::new(State::default()));
        let sequencer = Sequencer::new(State::default(), Revision::ZERO, config.limits(false));
        let writer = Local::new(view.clone(), clock.clone(), sequencer);
        Self(Arc::new(Inner { view, clock, config, writer }))
    }

    /// Applies a commit, and answers when its outcome is durable (or, relaxed, decided). Whoever is answered finds the
    /// outcome in every snapshot taken from then on. When the future is dropped, the commit may happen all the same.
    ///
    /// # Errors
    /// [`CommitError`]: why nothing happened.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.0.writer.commit(&commit)
    }

    /// The newest durable state, in O(1).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::newest(self.0.view.state())
    }

    /// The newest state that anyone could have been told of before this call: what a read without a resourceVersion
    /// means. Immediate on a local store; on a shared one it confirms its progress first.
    ///
    /// # Errors
    /// [`WatchError::Closed`] when the engine was stopped.
    pub async fn latest(&self) -> Result<Snapshot, WatchError> {
        if self.0.view.is_closed() {
            return Err(WatchError::Closed);
        }
        Ok(self.snapshot())
    }

    /// A state not older than a revision, waiting for it when it is yet to come. Cancel safe.
    ///
    /// # Errors
    /// [`WatchError::Closed`] when the engine was stopped.
    pub async fn not_older_than(&self, revision: Revision) -> Result<Snapshot, WatchError> {
        self.0.view.reached(revision).await?;
        Ok(self.snapshot())
    }

    /// The state at exactly a past revision. What it takes to make it is paid when it is read.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] when history does not reach back to it, [`WatchError::Future`] when it is yet to come.
    pub fn exactly_at(&self, revision: Revision) -> Result<Snapshot, WatchError> {
        let state = self.0.view.state();
        if revision == state.revision {
            return Ok(Snapshot::newest(state));
        }
        if revision > state.revision {
            return Err(WatchError::Future { wanted: revision, newest: state.revision });
        }
        if let Some(oldest) = state.lost_at(revision).or((revision < state.floor).then_some(state.floor)) {
            return Err(WatchError::Compacted { wanted: revision, oldest });
        }
        Ok(Snapshot::past(self.0.view.past(revision, &state)))
    }

    /// A cursor for everything a selection sees after a revision.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] when history does not reach back to it.
    pub fn watch(&self, selection: Selection, after: Revision) -> Result<Cursor, WatchError> {
        if self.0.view.is_closed() {
            return Err(WatchError::Closed);
        }
        Cursor::open(&self.0.view, selection, after)
    }

    /// A counter's value in the newest state; zero when nobody has changed it.
    #[must_use]
    pub fn counter(&self, counter: &str) -> i64 {
        self.0.view.with(|state| state.counter(counter))
    }

    /// Deletes what has expired by now. Gives back how many objects it deleted. [`maintenance`](Self::maintenance)
    /// calls it; a test with a clock of its own may.
    ///
    /// # Errors
    /// [`CommitError`], as [`commit`](Self::commit).
    pub async fn expire(&self, now: Timestamp) -> Result<usize, CommitError> {
        self.0.writer.expire(now)
    }

    /// Drops the history that has left the window by now. [`maintenance`](Self::maintenance) calls it.
    ///
    /// # Errors
    /// [`CommitError`], as [`commit`](Self::commit).
    pub async fn compact(&self, now: Timestamp) -> Result<(), CommitError> {
        self.0.writer.compact(now)?;
        self.0.view.forget_pasts();
        Ok(())
    }

    /// Looks after the store until it is closed: expiry, compaction. The owner runs it, once.
    pub async fn maintenance(&self) {
        loop {
            tokio::select! {
                () = self.0.view.closing() => return,
                () = self.0.clock.sleep(self.0.config.maintenance_interval) => {}
            }
            let now = self.0.clock.now();
            for outcome in [self.expire(now).await.map(drop), self.compact(now).await] {
                match outcome {
                    Ok(()) => {}
                    Err(CommitError::Closed) => return,
                    Err(error) => tracing::warn!(%error, "the store could not be looked after"),
                }
            }
        }
    }

    /// Ends it: commits are refused, cursors and waiting readers end, threads are joined. What was answered is durable.
    /// Snapshots that are held can still be read.
    pub async fn close(&self) {
        self.0.view.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.view.close();
    }
}
