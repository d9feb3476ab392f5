//! The engine: commit, snapshot, watch.

mod at_rest;
mod cursor;
mod history;
#[cfg(all(test, shuttle))]
mod interleavings;
mod keep;
mod left;
mod list_watch;
mod local;
mod lookout;
mod objects;
mod restore;
mod samples;
mod sequencer;
mod shared;
mod snapshot;
mod source;
mod state;
pub(crate) mod sync;
mod view;
mod wakes;

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{GroupResource, Revision, Timestamp};
use futures::future::BoxFuture;

pub(crate) use self::at_rest::AtRest;
pub(crate) use self::history::HistoryLimit;
use self::keep::Keep;
use self::local::Local;
use self::sequencer::{Limits, Sequencer};
use self::state::State;
use self::view::View;
use crate::clock::Clock;
use crate::commit::{Commit, CommitError, Committed};
use crate::encryption::Encryption;
use crate::select::{Selection, WatchError};
use crate::storage::{Journal, OpenError, Restore, Storage};

pub use self::cursor::Cursor;
pub use self::list_watch::ListWatch;
pub(crate) use self::restore::Restoring;
pub(crate) use self::sequencer::write_bytes;
pub use self::shared::Publisher;
pub use self::snapshot::Snapshot;
pub use self::source::EngineSource;

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
    /// How long a writer or a reader of a shared store waits until this process was told of what it has written, or
    /// must see. Ten seconds.
    pub feed_timeout: Duration,
    /// Where the revisions of a store in memory begin, which no other has counted: whoever stands before it, or beyond
    /// the newest, was told of by another and must list anew. Zero: nobody was.
    pub origin: Revision,
    /// How objects are kept at rest. Plain.
    pub encryption: Encryption,
    /// Is told of every commit. Nobody.
    pub observer: Option<CommitObserver>,
}

/// Is told how long each commit took, from the call until it was answered, and whether it happened.
#[derive(Clone)]
pub struct CommitObserver(Arc<dyn Fn(Duration, bool) + Send + Sync>);

impl CommitObserver {
    /// Tells a function, which must be quick.
    #[must_use]
    pub fn new(tell: impl Fn(Duration, bool) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl std::fmt::Debug for CommitObserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CommitObserver")
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            history_window: Duration::from_secs(300),
            history_bytes: 256 << 20,
            commit_bytes: 8 << 20,
            waiting_bytes: 256 << 20,
            maintenance_interval: Duration::from_secs(1),
            feed_timeout: Duration::from_secs(10),
            origin: Revision::ZERO,
            encryption: Encryption::Plain,
            observer: None,
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
    at_rest: Arc<AtRest>,
    writer: Writer,
}

/// Who decides commits.
enum Writer {
    /// This process, with a journal or without.
    Local { local: Local, keep: Option<Keep> },
    /// The store.
    Shared { storage: Arc<dyn Storage>, publisher: Publisher },
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
        let mut state = State::default();
        state.begin_at(config.origin);
        let view = Arc::new(View::new(state.clone()));
        let sequencer = Sequencer::new(state, config.limits(false));
        let local = Local::memory(view.clone(), clock.clone(), sequencer);
        let at_rest = Arc::new(AtRest::new(Encryption::Plain)); // nothing rests anywhere
        Self(Arc::new(Inner { view, clock, config, at_rest, writer: Writer::Local { local, keep: None } }))
    }

    /// An engine over a journal, with everything that is in it. Blocks while it loads. It has a thread of its own that
    /// appends, and another where the journal has a [`Keeper`](crate::storage::Keeper); [`close`](Self::close) joins
    /// them.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub fn open(mut journal: Box<dyn Journal>, config: EngineConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let limits = config.limits(true);
        let at_rest = Arc::new(AtRest::new(config.encryption.clone()));
        let mut restore = Restore(Restoring::new(limits.history).shown_by(at_rest.clone()));
        journal.load(&mut restore)?;
        at_rest::refused(restore.0.refused())?;
        let (mut sequencer, resumed) = restore.0.into_sequencer(limits);
        if let Some(resumed) = resumed {
            sequencer.stage_resumption(resumed, clock.now());
        }
        sequencer.stage_compaction(clock.now());
        let sealed = sequencer.seal();
        if !sealed.group.is_empty() {
            journal.append(&sealed.group).map_err(|error| OpenError::Other(error.to_string()))?;
        }
        let view = Arc::new(View::new(sealed.state));
        let keep = journal.keeper().map(Keep::start).transpose()?;
        let journal = (journal, at_rest.clone());
        let local = Local::journaled(view.clone(), clock.clone(), sequencer, journal, config.waiting_bytes)?;
        Ok(Self(Arc::new(Inner { view, clock, config, at_rest, writer: Writer::Local { local, keep } })))
    }

    /// An engine over a store that other processes share. The future keeps it up to date: the owner runs it; it ends
    /// when the engine is closed.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub async fn shared(
        storage: Arc<dyn Storage>,
        config: EngineConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, BoxFuture<'static, ()>), OpenError> {
        let limits = config.limits(false);
        let at_rest = Arc::new(AtRest::new(config.encryption.clone()));
        let mut restore = Restore(Restoring::new(limits.history).shown_by(at_rest.clone()));
        storage.load(&mut restore).await?;
        at_rest::refused(restore.0.refused())?;
        let view = Arc::new(View::new(restore.0.into_state()));
        let publisher = Publisher::new(view.clone(), limits.history, at_rest.clone());
        let (feeding, feed) = (storage.clone(), publisher.clone());
        let driver = Box::pin(async move { feeding.feed(feed).await });
        let writer = Writer::Shared { storage, publisher };
        Ok((Self(Arc::new(Inner { view, clock, config, at_rest, writer })), driver))
    }

    /// Applies a commit, and answers when its outcome is durable (or, relaxed, decided). Whoever is answered finds the
    /// outcome in every snapshot taken from then on. When the future is dropped, the commit may happen all the same.
    ///
    /// # Errors
    /// [`CommitError`]: why nothing happened.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let Some(CommitObserver(tell)) = &self.0.config.observer else { return self.decide(commit).await };
        let begun = self.0.clock.now();
        let outcome = self.decide(commit).await;
        tell(self.0.clock.now().since(begun), outcome.is_ok());
        outcome
    }

    async fn decide(&self, commit: Commit) -> Result<Committed, CommitError> {
        match &self.0.writer {
            Writer::Local { local, .. } => local.commit(commit).await,
            Writer::Shared { storage, .. } => {
                let at_rest = &self.0.at_rest;
                let outcome = storage.commit(at_rest.hide_commit(commit)?).await;
                let outcome = outcome.map_err(|error| at_rest.show_found(error));
                match told(&outcome) {
                    // closed meanwhile: the outcome stands all the same
                    Some(seen) => match self.fed(seen).await {
                        Err(WatchError::Unreachable(why)) if outcome.is_ok() => {
                            Err(CommitError::Unknown(format!("it is written at {seen}, but {why}").into()))
                        }
                        _ => outcome,
                    },
                    None => outcome,
                }
            }
        }
    }

    /// Why the store takes no more writes until the process starts anew, where that is so. It goes on to answer reads.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<str>> {
        match &self.0.writer {
            Writer::Local { local, .. } => local.failure(),
            Writer::Shared { .. } => None,
        }
    }

    /// Whether the last write that takes room on the disk found none. Writes are refused until one finds some. Of a
    /// shared store its own server knows.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match &self.0.writer {
            Writer::Local { local, .. } => local.is_full(),
            Writer::Shared { .. } => false,
        }
    }

    /// How many cursors stand in each resource's event log, for the resources that have any.
    #[must_use]
    pub fn watchers(&self) -> Vec<(GroupResource, usize)> {
        self.0.view.watchers()
    }

    /// The newest published state, in O(1): everything in it is durable but relaxed writes.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::newest(self.0.view.state())
    }

    /// The newest state that anyone could have been told of before this call: what a read without a resourceVersion
    /// means. Immediate on a local store; on a shared one it confirms its progress first.
    ///
    /// # Errors
    /// [`WatchError::Closed`] when the engine was stopped, [`WatchError::Unreachable`] when a shared store does not
    /// answer.
    pub async fn latest(&self) -> Result<Snapshot, WatchError> {
        if self.0.view.is_closed() {
            return Err(WatchError::Closed);
        }
        if let Writer::Shared { storage, .. } = &self.0.writer {
            let confirmed =
                storage.confirm().await.map_err(|error| WatchError::Unreachable(error.to_string().into()))?;
            self.fed(confirmed).await?;
        }
        Ok(self.snapshot())
    }

    /// Waits until a shared store has told of a revision.
    async fn fed(&self, revision: Revision) -> Result<(), WatchError> {
        tokio::select! {
            reached = self.0.view.reached(revision) => reached,
            () = self.0.clock.sleep(self.0.config.feed_timeout) => {
                Err(WatchError::Unreachable("it does not tell this process of what is written".into()))
            }
        }
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
        self.past(revision, |state| state.floor)
    }

    /// As [`exactly_at`](Self::exactly_at), for who looks at one resource alone. Where much has changed of another one,
    /// whose history is then shorter, this is had all the same; what the snapshot has of that one may be of later.
    ///
    /// # Errors
    /// As [`exactly_at`](Self::exactly_at), for the history of that resource.
    pub fn past_of(&self, resource: &GroupResource, revision: Revision) -> Result<Snapshot, WatchError> {
        self.past(revision, |state| state.floor_of(resource))
    }

    fn past(&self, revision: Revision, floor: impl Fn(&State) -> Revision) -> Result<Snapshot, WatchError> {
        let state = self.0.view.state();
        if revision == state.revision {
            return Ok(Snapshot::newest(state));
        }
        if revision > state.revision {
            return Err(WatchError::Future { wanted: revision, newest: state.revision });
        }
        let floor = floor(&state);
        if let Some(oldest) = state.lost_at(revision).or((revision < floor).then_some(floor)) {
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
        let newest = self.0.view.state().revision;
        if self.0.config.origin > Revision::ZERO && after > newest {
            return Err(WatchError::Compacted { wanted: after, oldest: newest });
        }
        Cursor::open(&self.0.view, selection, after)
    }

    /// The engine as something that informers read from.
    #[must_use]
    pub fn source(&self) -> EngineSource {
        EngineSource::new(self.clone(), self.0.clock.clone())
    }

    /// Everything that a selection sees, then everything that happens to it, in one stream: from the newest state that
    /// anyone could have been told of before this call.
    ///
    /// # Errors
    /// As [`latest`](Self::latest).
    pub async fn list_watch(&self, selection: Selection) -> Result<ListWatch, WatchError> {
        let snapshot = self.latest().await?;
        self.list_watch_from(snapshot, selection)
    }

    /// As [`list_watch`](Self::list_watch), from a snapshot of this engine.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] when history does not reach back to it.
    pub fn list_watch_from(&self, snapshot: Snapshot, selection: Selection) -> Result<ListWatch, WatchError> {
        let cursor = self.watch(selection.clone(), snapshot.revision())?;
        Ok(ListWatch::new(snapshot, selection, cursor))
    }

    /// The time by the engine's clock.
    #[cfg(feature = "log")]
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
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
        match &self.0.writer {
            Writer::Local { local, .. } => local.expire(now).await,
            Writer::Shared { storage, .. } => {
                let deleted = storage.expire(now).await?;
                if deleted > 0 {
                    let _ = self.fed(storage.confirm().await?).await; // or not: they are gone all the same
                }
                Ok(deleted)
            }
        }
    }

    /// Drops the history that has left the window by now. [`maintenance`](Self::maintenance) calls it.
    ///
    /// # Errors
    /// [`CommitError`], as [`commit`](Self::commit).
    pub async fn compact(&self, now: Timestamp) -> Result<(), CommitError> {
        match &self.0.writer {
            Writer::Local { local, .. } => local.compact(now).await?,
            Writer::Shared { storage, publisher } => {
                publisher.compact(now);
                storage.compact(self.0.config.history_window).await;
            }
        }
        self.0.view.forget_pasts();
        Ok(())
    }

    /// The newest state, its objects as they are to be kept.
    pub(crate) fn kept(&self) -> Snapshot {
        self.snapshot().hidden_by(self.0.at_rest.clone())
    }

    /// Whether an object that was last written at a revision may be kept otherwise than it would be today: with another
    /// key, or with none. Who writes it as it is changes that.
    #[must_use]
    pub fn is_stale(&self, resource: &GroupResource, revision: Revision) -> bool {
        self.0.at_rest.is_stale(resource, revision)
    }

    /// Says that the cipher encrypts some resources otherwise from now on. Objects of theirs then count as
    /// [stale](Self::is_stale); a journal that keeps snapshots takes a new one, so that an older key is not needed any
    /// more once the history window has passed.
    ///
    /// # Errors
    /// [`CommitError`], as [`commit`](Self::commit): what was under way with the older key may not be durable yet.
    pub async fn keys_changed(&self, changed: impl Fn(&GroupResource) -> bool) -> Result<(), CommitError> {
        if let Writer::Local { local, keep } = &self.0.writer {
            self.0.at_rest.renew();
            local.renew().await?; // what was encrypted with an older key is now in the pieces before
            if let Some(keep) = keep {
                keep.renew();
            }
        }
        let state = self.snapshot();
        for resource in state.resources().iter().filter(|resource| changed(resource)) {
            self.0.at_rest.note_stale(resource, state.revision());
        }
        self.flush().await
    }

    /// Makes relaxed writes durable, and lets the backend write snapshots and drop what it no longer needs.
    /// [`maintenance`](Self::maintenance) calls it.
    ///
    /// # Errors
    /// [`CommitError`], as [`commit`](Self::commit).
    pub async fn flush(&self) -> Result<(), CommitError> {
        let Writer::Local { local, keep } = &self.0.writer else { return Ok(()) };
        let state = self.kept(); // before the flush: nothing is kept that the log could still lose
        local.flush().await?;
        if let Some(keep) = keep {
            keep.offer(state);
        }
        Ok(())
    }

    /// Looks after the store until it is closed: expiry, compaction, snapshots. The owner runs it, once. Without it the
    /// store works, but nothing expires and a journal only grows.
    pub async fn maintenance(&self) {
        loop {
            tokio::select! {
                () = self.0.view.closing() => return,
                () = self.0.clock.sleep(self.0.config.maintenance_interval) => {}
            }
            let now = self.0.clock.now();
            for outcome in [self.expire(now).await.map(drop), self.compact(now).await, self.flush().await] {
                match outcome {
                    Ok(()) => {}
                    Err(CommitError::Closed) => return,
                    Err(CommitError::Poisoned(_)) => return, // said already; there is nothing left to look after
                    Err(error) => tracing::warn!(%error, "maintenance of the store failed"),
                }
            }
        }
    }

    /// Ends it: commits are refused, what waits for the disk is appended and answered, cursors and waiting readers end,
    /// threads are joined. Snapshots that are held can still be read. Dropping the last handle does the same, and
    /// blocks meanwhile.
    pub async fn close(&self) {
        match &self.0.writer {
            Writer::Local { local, keep } => {
                if let Some(keep) = keep {
                    keep.close().await;
                }
                local.close().await;
            }
            Writer::Shared { storage, .. } => storage.close().await,
        }
        self.0.view.close();
    }
}

/// The revision that an outcome speaks of.
fn told(outcome: &Result<Committed, CommitError>) -> Option<Revision> {
    match outcome {
        Ok(committed) => Some(committed.revision),
        Err(CommitError::Conflict { found: Some(found), .. } | CommitError::Guarded { found: Some(found), .. }) => {
            Some(found.revision)
        }
        Err(_) => None,
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Writer::Local { local, keep } = &self.writer {
            if let Some(keep) = keep {
                keep.close_blocking();
            }
            local.close_blocking();
        }
        self.view.close();
    }
}
