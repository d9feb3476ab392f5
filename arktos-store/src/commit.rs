//! What a write is, what it depends on, and why it may be refused.

use std::fmt;
use std::sync::Arc;

use arktos_core::{Encoded, ObjectKey, Revision, Timestamp};

use crate::select::Stored;

/// One atomic change: all of it happens, or none.
///
/// The partition's one committer checks every expectation, guard and limit against the newest state, staged writes
/// included, and answers when the outcome is durable. Each write gets a revision of its own, in order.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The objects to change. Often one; never two of the same key.
    pub writes: Vec<Write>,
    /// Other objects that must be in a certain state.
    pub guards: Vec<Guard>,
    /// Counters to change within their limits: quota, addresses, capacity.
    pub counters: Vec<CounterChange>,
    /// Whether the answer waits for the disk.
    pub durability: Durability,
}

/// One object to change.
#[derive(Debug, Clone)]
pub struct Write {
    /// The object.
    pub key: ObjectKey,
    /// The state it must be in.
    pub expect: Expect,
    /// What becomes of it.
    pub change: Change,
}

/// What becomes of an object.
#[derive(Debug, Clone)]
pub enum Change {
    /// It is stored, and forgotten again at `expires` where that is given.
    Put {
        /// The object.
        object: Encoded,
        /// When the store deletes it by itself.
        expires: Option<Timestamp>,
    },
    /// It is deleted. The event of a deletion carries the object as it was, at the revision of the deletion.
    Delete,
}

/// The state an object must be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Any.
    Anything,
    /// Not there.
    Absent,
    /// There, at any revision.
    Present,
    /// There, and not marked for deletion.
    Live,
    /// There, at exactly this revision.
    At(Revision),
}

/// An object that is not changed but must be in a certain state, such as a namespace that must not be terminating.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The object.
    pub key: ObjectKey,
    /// The state it must be in.
    pub expect: Expect,
}

/// A change of a counter. Counters start at zero and one that returns to zero is forgotten; none falls below zero.
///
/// An address is a counter with limit 1, a quota one with the quota's limit, a host's free CPU one with what the host
/// can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterChange {
    /// The counter's name; by convention `what/whose/which`, such as `claim/node-7/cpu`.
    pub counter: Arc<str>,
    /// What is added.
    pub delta: i64,
    /// What the counter may not exceed afterwards. Checked only when `delta` is positive.
    pub limit: Option<i64>,
}

/// Whether the answer to a commit waits for the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// It does. What is answered is never lost.
    #[default]
    Synced,
    /// It does not: for events and the heartbeats of hosts alone.
    Relaxed,
}

/// The outcome of a commit that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The revision of each write, in order.
    pub revisions: Vec<Revision>,
    /// The newest revision; for a commit without writes, the revision it was checked at.
    pub revision: Revision,
}

/// Why a commit was refused. None of it happened, save where [`CommitError::Unknown`] says that nobody can tell.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A write found its object in another state than expected.
    #[error("{key} is not as expected")]
    Conflict {
        /// The object.
        key: ObjectKey,
        /// The object as it is; absent when it is not there.
        found: Option<Stored>,
    },
    /// A guard did not hold.
    #[error("{key} does not allow it")]
    Guarded {
        /// The object the guard is about.
        key: ObjectKey,
        /// The object as it is; absent when it is not there.
        found: Option<Stored>,
    },
    /// A counter would leave its bounds.
    #[error("{counter} is at {value} and cannot change by {delta} (limit {limit:?})")]
    Limit {
        /// The counter.
        counter: Arc<str>,
        /// Its value now.
        value: i64,
        /// The change that was asked for.
        delta: i64,
        /// The limit that was given.
        limit: Option<i64>,
    },
    /// The commit is larger than the store takes.
    #[error("the write of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// There is no room on the disk. Reads go on; writes work again when there is.
    #[error("the disk is full: writes are refused until there is space")]
    DiskFull,
    /// Too many commits wait already.
    #[error("too many writes are waiting")]
    Busy,
    /// The store has failed and takes no more writes until the process starts anew.
    #[error("the store has failed and takes no writes: {0}")]
    Poisoned(Arc<str>),
    /// The engine was stopped.
    #[error("the store is closed")]
    Closed,
    /// A store that is shared with other processes cannot be reached, or does not take the commit as things are
    /// (no leader, no right to write): nothing happened, and it may be tried again.
    #[error("the store cannot be reached: {0}")]
    Unavailable(Arc<str>),
    /// The connection broke while the commit was under way: it may have happened or not. Whoever tries again must look
    /// first.
    #[error("the outcome of the write is unknown: {0}")]
    Unknown(Arc<str>),
}

impl Commit {
    /// A commit of one write.
    #[must_use]
    pub fn one(key: ObjectKey, expect: Expect, change: Change) -> Self {
        Self { writes: vec![Write { key, expect, change }], ..Self::default() }
    }

    /// The same commit with one more guard.
    #[must_use]
    pub fn guarded(mut self, key: ObjectKey, expect: Expect) -> Self {
        self.guards.push(Guard { key, expect });
        self
    }
}

impl CounterChange {
    /// The counter after this change, if that keeps it within its bounds.
    ///
    /// # Errors
    /// [`CommitError::Limit`].
    pub(crate) fn apply(&self, value: i64) -> Result<i64, CommitError> {
        let after = value.checked_add(self.delta).filter(|after| *after >= 0);
        let within = |after: &i64| self.delta <= 0 || self.limit.is_none_or(|limit| *after <= limit);
        after.filter(within).ok_or_else(|| CommitError::Limit {
            counter: self.counter.clone(),
            value,
            delta: self.delta,
            limit: self.limit,
        })
    }
}

impl Change {
    /// Stores an object for good.
    #[must_use]
    pub fn put(object: Encoded) -> Self {
        Self::Put { object, expires: None }
    }
}

impl Expect {
    /// Whether an object (or its absence) is in this state.
    #[must_use]
    pub fn holds(self, found: Option<&Stored>) -> bool {
        match (self, found) {
            (Self::Anything, _) | (Self::Absent, None) | (Self::Present, Some(_)) => true,
            (Self::Live, Some(stored)) => stored.object.header().deletion().is_none(),
            (Self::At(revision), Some(stored)) => stored.revision == revision,
            _ => false,
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => f.write_str("in any state"),
            Self::Absent => f.write_str("absent"),
            Self::Present => f.write_str("present"),
            Self::Live => f.write_str("present and not being deleted"),
            Self::At(revision) => write!(f, "at revision {revision}"),
        }
    }
}
