//! How a backend makes writes durable.
//!
//! There are two ways to write a backend, and the [`Engine`](crate::Engine) above looks the same over both:
//!
//! * A store of this process alone implements [`Journal`]: give back what was written ([`Journal::load`]), append a
//!   group
//!   of records durably ([`Journal::append`]). This crate's sequencer checks the commits, numbers them and keeps the
//!   state.
//! * A store that several processes share, and that orders and numbers writes itself, implements [`Storage`]: apply a
//!   commit as one transaction, and feed everything that anybody writes.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{GroupResource, ObjectKey, Revision, Timestamp};
use async_trait::async_trait;

use crate::commit::{Change, Commit, CommitError, Committed};
use crate::engine::{Publisher, Snapshot};
use crate::select::Stored;

/// What a journal appends as one: everything that was committed while the group before it was being made durable.
/// After a crash all of a group is there, or nothing.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Its number: one more than that of the group before.
    pub number: u64,
    /// When it was put together.
    pub time: Timestamp,
    /// The writes, in the order of their revisions.
    pub records: Vec<Record>,
    /// Counters and their new values, in order; zero stands for a counter that is forgotten.
    pub counters: Vec<(Arc<str>, i64)>,
    /// Revisions up to here may be told to readers before they are durable: after a crash the store goes on above it.
    pub reserved: Option<Revision>,
    /// The store goes on at this revision: those since the record before are lost.
    pub resumed: Option<Revision>,
    /// Whether it, and everything before it, must be durable when `append` returns.
    pub sync: bool,
}

/// One write, numbered.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its revision.
    pub revision: Revision,
    /// The object.
    pub key: ObjectKey,
    /// What becomes of it. A deletion is only ever of an object that is there.
    pub change: Change,
}

impl Group {
    /// Whether there is nothing to append. Such a group has no number; with `sync` it asks to make durable what is not
    /// yet, and else it is not appended at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.counters.is_empty() && self.reserved.is_none() && self.resumed.is_none()
    }
}

/// A store of this process alone: what was appended comes back, in order, whatever happens in between.
///
/// A journal is owned and called by the engine's committer thread, one call at a time; it may block. It reads no clock
/// and draws no random numbers. An implementation that keeps objects by key rather than a log may give back the newest
/// state alone; watches then do not resume across a restart.
pub trait Journal: Send + 'static {
    /// Gives back everything that was appended, in order; called once, before anything else. What it gives back is
    /// durable: where that is in doubt (the file may be in the system's memory alone), it syncs first.
    ///
    /// # Errors
    /// [`OpenError`]: the store does not start. The message names what is wrong and says what to do.
    fn load(&mut self, restore: &mut Restore) -> Result<(), OpenError>;

    /// Appends a group. With [`Group::sync`], it and all groups before it are durable on return.
    ///
    /// # Errors
    /// [`AppendError::Full`] when there is no room, and nothing of the group was written: it may be tried again.
    /// [`AppendError::Failed`] when nobody knows what was written: the engine takes no more writes and does not call
    /// `append` again.
    fn append(&mut self, group: &Group) -> Result<(), AppendError>;

    /// The part of the journal that works beside it, on a thread of its own: snapshots, the removal of what is no
    /// longer needed. Called once, after `load`. None if there is no such work.
    fn keeper(&mut self) -> Option<Box<dyn Keeper>> {
        None
    }

    /// Called last, when the engine was closed and everything was appended. A journal that was closed loses nothing,
    /// and says so in the next `load` ([`Restore::closed`]).
    ///
    /// # Errors
    /// [`AppendError`]; the engine logs it.
    fn close(&mut self) -> Result<(), AppendError> {
        Ok(())
    }
}

/// What a journal does beside its appends.
pub trait Keeper: Send + 'static {
    /// Called every so often with the newest state. `history` is the revision after which all events are still kept:
    /// what is needed neither to restore the newest state nor the events since may go.
    ///
    /// # Errors
    /// [`AppendError`], which is logged; writers are not concerned, and the next call tries again.
    fn keep(&mut self, state: &Snapshot, history: Revision) -> Result<(), AppendError>;
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("{place} is in use by another process: stop that process, or give this one a directory of its own")]
    InUse {
        /// The directory or address.
        place: String,
    },
    /// What was read is not what was written.
    #[error("{place} is damaged: {what}. {advice}")]
    Corrupt {
        /// The file, and the position in it.
        place: String,
        /// What does not fit.
        what: String,
        /// What to do.
        advice: String,
    },
    /// It was written by a later version, or is something else.
    #[error(
        "{place} has the format {found}, this version reads {known}: run the version that wrote it, or a later one"
    )]
    Format {
        /// The file.
        place: String,
        /// What was found.
        found: String,
        /// What is known.
        known: String,
    },
    /// The system refused.
    #[error("{place}: {source}")]
    Io {
        /// The file or address.
        place: String,
        /// Why.
        source: std::io::Error,
    },
    /// A backend's own reason.
    #[error("{0}")]
    Other(String),
}

/// Why a group was not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// There is no room. Nothing was written.
    #[error("there is no space left for {place}")]
    Full {
        /// The file.
        place: String,
    },
    /// The disk failed. Nobody knows what was written.
    #[error("{0}")]
    Failed(String),
}

/// A store that several processes share. It orders and numbers the writes of all of them.
///
/// The engine keeps a copy of the state, fed by [`feed`](Self::feed), and serves reads and watches from it. After a
/// commit it waits until the feed has come to the commit's revision, so that a writer reads what it wrote.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Gives the whole state at one revision; called once, before anything else. Where the store has history, the
    /// events before it as well, as [`Journal::load`] does.
    ///
    /// # Errors
    /// [`OpenError`]: the engine does not open.
    async fn load(&self, restore: &mut Restore) -> Result<(), OpenError>;

    /// Publishes what is written after the loaded state, by anyone, in order and without gaps, for as long as it is
    /// polled: the engine's owner runs it. It reconnects by itself. Where the store has forgotten what lies between,
    /// it says so with [`Publisher::reset`]. Returns when the store was closed.
    async fn feed(&self, publisher: Publisher);

    /// Applies a commit as one transaction, and answers when the outcome is durable. Each write has a revision of its
    /// own.
    ///
    /// # Errors
    /// [`CommitError`]; [`CommitError::Unknown`] where the connection broke before the answer came.
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError>;

    /// A revision not below any that anyone was told of before this call.
    ///
    /// # Errors
    /// [`CommitError::Unknown`] when the store cannot be reached.
    async fn confirm(&self) -> Result<Revision, CommitError>;

    /// Deletes what has expired by now, if the store does not do so by itself. Gives back how many objects it deleted.
    ///
    /// # Errors
    /// [`CommitError`].
    async fn expire(&self, now: Timestamp) -> Result<usize, CommitError> {
        let _ = now;
        Ok(0)
    }

    /// Lets the store forget history older than a window, if it does not do so by itself.
    async fn compact(&self, window: Duration) {
        let _ = window;
    }

    /// Ends the connection and the feed.
    async fn close(&self) {}
}

/// Takes what a backend gives back when it opens, and makes the engine's state of it.
pub struct Restore(pub(crate) crate::engine::Restoring);

impl Restore {
    /// An object of the state that the rest builds on, without history.
    pub fn object(&mut self, resource: &GroupResource, stored: Stored, expires: Option<Timestamp>) {
        self.0.object(resource, stored, expires);
    }

    /// The revision of a resource's last event in that state: watches of the resource can go on from there.
    pub fn last_event(&mut self, resource: &GroupResource, revision: Revision) {
        self.0.last_event(resource, revision);
    }

    /// The revision of that state.
    pub fn revision(&mut self, revision: Revision) {
        self.0.revision(revision);
    }

    /// The number of the last group in that state.
    pub fn number(&mut self, group: u64) {
        self.0.number(group);
    }

    /// The number of the newest group so far.
    #[must_use]
    pub fn newest_group(&self) -> u64 {
        self.0.newest_group()
    }

    /// Nothing is known before this revision, the revision of that state: for backends that keep the newest state
    /// alone. Watches that stand before it end with [`WatchError::Compacted`](crate::WatchError::Compacted).
    pub fn origin(&mut self, revision: Revision) {
        self.0.origin(revision);
    }

    /// A counter, with its value.
    pub fn counter(&mut self, counter: &Arc<str>, value: i64) {
        self.0.counter(counter, value);
    }

    /// A group as it was appended, after all that came before it.
    pub fn group(&mut self, group: &Group) {
        self.0.group(group);
    }

    /// A loss of an earlier life: revisions after `after` and before `resumed` were given out and lost.
    pub fn lost(&mut self, after: Revision, resumed: Revision) {
        self.0.lost(after, resumed);
    }

    /// Revisions up to here may have been told to readers.
    pub fn reserved(&mut self, reserved: Revision) {
        self.0.reserved(reserved);
    }

    /// The store was closed in order: nothing is lost.
    pub fn closed(&mut self) {
        self.0.closed();
    }
}
