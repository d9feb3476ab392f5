//! How a backend makes writes durable, and how to write one.
//!
//! There are two ways, and the [`Engine`](crate::Engine) above looks the same over both:
//!
//! * A store of this process alone implements [`Journal`]: give back what was written ([`Journal::load`]), append a
//!   group of records durably ([`Journal::append`]). This crate's sequencer checks the commits, numbers them and keeps
//!   the state. Two functions are enough; `examples/own_backend.rs` is a whole one, in 150 lines or so.
//! * A store that several processes share, and that orders and numbers writes itself, implements [`Storage`]: apply a
//!   commit as one transaction, and feed everything that anybody writes. `etcd` is the one there is.
//!
//! [`conformance`](crate::conformance) checks a backend of either kind.
//!
//! # A journal, step by step
//!
//! 1. **Keep** of each group: its number and time, the records in order, the counters, `reserved` and `resumed`. Of an
//!    object that is put: its type (`object.header().type_meta()`), its header in one piece
//!    (`object.header().packed()`), its bytes (`object.tail()`), and when it expires;
//!    [`Encoded::from_parts`](arktos_core::Encoded::from_parts) makes it again. Objects of one type are to share it: it
//!    is an `Arc`. Take [`Group`] apart by name, without `..`: it is not `#[non_exhaustive]` so that a field that is
//!    new to a backend does not compile, rather than get lost.
//! 2. **Order.** What comes back does so in the order in which it was appended. The numbers of groups have no gaps: one
//!    that is missing is damage.
//! 3. **A crash** leaves the last groups that were not synced whole, torn or absent. A torn one is removed by `load`,
//!    with all that follows it; nobody was told of it. Damage before a group that was synced is
//!    [`OpenError::Corrupt`]: what is there is never served around a hole.
//! 4. **History.** With [`Restore::group`] for all of it, watches go on across a restart. A backend that keeps the
//!    newest state alone says [`Restore::object`] for each object, [`Restore::counter`] for each counter,
//!    [`Restore::number`], [`Restore::reserved`], and [`Restore::origin`] last; watches then begin anew.
//! 5. **Space.** A journal grows until a [`Keeper`] writes down the state and removes what lies before its history.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{GroupResource, ObjectKey, Revision, Timestamp};
use async_trait::async_trait;

use crate::commit::{Change, Commit, CommitError, Committed};
use crate::engine::{Publisher, Snapshot};
use crate::select::Stored;

/// What a journal appends as one: everything that was committed while the group before it was being made durable.
/// After a crash all of a group is there, or nothing.
///
/// A journal keeps all of it but `sync`, which is for `append` alone.
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
/// A journal is owned by the engine and called one call at a time; each may block. `load`, then `keeper`, run on the
/// thread that calls [`Engine::open`](crate::Engine::open), and so may the first `append`; all else on the committer
/// thread that `open` starts. No reader and no lock waits for any of it; writers wait for `append`. A journal is never
/// called again after `close`, nor after an `append` that has failed; it is dropped on the committer thread. It reads
/// no clock and draws no random numbers: what it needs of either is in the group.
pub trait Journal: Send + 'static {
    /// Gives back everything that was appended, in order; called once, before anything else. What it gives back is
    /// durable: where that is in doubt (the file may be in the system's memory alone), it syncs first.
    ///
    /// # Errors
    /// [`OpenError`]: the store does not start. The message names what is wrong and says what to do.
    fn load(&mut self, restore: &mut Restore) -> Result<(), OpenError>;

    /// Appends a group. With [`Group::sync`], it and all groups before it are durable on return: not in a buffer of
    /// this process or the system, but where the loss of power does not reach it. Its writes are visible to nobody
    /// before that.
    ///
    /// An empty group ([`Group::is_empty`]) has no number and nothing to be kept. With `sync` it asks to make durable
    /// what was appended before.
    ///
    /// # Errors
    /// [`AppendError::Full`] when there is no room, and nothing of the group was written: it may be tried again.
    /// [`AppendError::Failed`] when nobody knows what was written: the engine takes no more writes and does not call
    /// `append` again.
    fn append(&mut self, group: &Group) -> Result<(), AppendError>;

    /// Called between appends when objects are encrypted with another key from now on: a journal that removes what is
    /// no longer needed piece by piece begins a new piece, so that the key of those before it can go with them.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn renew(&mut self) -> Result<(), AppendError> {
        Ok(())
    }

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

/// What a journal does beside its appends, on a thread of its own that the engine starts and joins. It runs while
/// `append` does: what the two share is theirs to guard, and whatever holds `append` up holds every writer up.
pub trait Keeper: Send + 'static {
    /// Called every so often with the newest state. `history` is the revision after which all events are still kept:
    /// what is needed neither to restore the newest state nor the events since may go.
    ///
    /// An object that cannot be encrypted is not in [`Snapshot::range`], but counted in [`Snapshot::count`]: a state in
    /// which there are fewer than that is not to be written down, and nothing is to go on its word.
    ///
    /// # Errors
    /// [`AppendError`], which is logged; writers are not concerned, and the next call tries again.
    fn keep(&mut self, state: &Snapshot, history: Revision) -> Result<(), AppendError>;

    /// Called before `keep`, and after [`Journal::renew`], when objects are encrypted with another key from now on: a
    /// keeper that writes states down writes this one, so that the older ones, and the key that they need, can go.
    ///
    /// # Errors
    /// As [`keep`](Self::keep); it is called again then.
    fn renew(&mut self, state: &Snapshot) -> Result<(), AppendError> {
        let _ = state;
        Ok(())
    }
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
    /// A restore into it was broken off.
    #[error("{place} was not restored whole: run the restore again, into the same directory")]
    Unfinished {
        /// The directory.
        place: String,
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
    /// An object is encrypted, and cannot be decrypted: the words say which, and what to do.
    #[error("{0}")]
    Encrypted(String),
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
///
/// Functions are called from any task, many at a time. Whoever asked may stop waiting and drop the future of any of
/// them: a commit may then happen or not, and all else must be as good as new for the next call.
///
/// # Revisions
/// Each write has a revision of its own. They rise in the order in which writes become visible, and all processes see
/// the same numbers in the same order. A store that numbers transactions rather than writes makes room below its own
/// numbers for the place in the transaction, and lets a transaction become visible whole.
///
/// # Time
/// Everything ends by itself, whatever the network does: an error in time is worth more than an answer too late. A
/// request that may have been carried out is not sent again: [`CommitError::Unknown`] says that whoever asked must
/// look.
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
    /// it says so with [`Publisher::reset`]. When nothing is written, [`Publisher::progress`] says how far the store is
    /// all the same. Returns when the store was closed. Called once; dropped when the owner ends it, at any await.
    async fn feed(&self, publisher: Publisher);

    /// Applies a commit as one transaction, and answers when the outcome is durable. Each write has a revision of its
    /// own.
    ///
    /// # Errors
    /// [`CommitError`]. Nothing has happened, save with [`CommitError::Unknown`]: where the connection broke before the
    /// answer came. [`CommitError::Unavailable`] where there was certainly nobody to ask.
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError>;

    /// A revision not below any that anyone was told of before this call.
    ///
    /// # Errors
    /// [`CommitError::Unavailable`] when the store cannot be reached.
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

    /// Ends the connection and the feed. Commits that follow are refused with [`CommitError::Closed`].
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
