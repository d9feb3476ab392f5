//! The engine: commit, snapshot, watch.

use std::sync::Arc;

use arktos_core::{GroupResource, ObjectKey, ObjectPath, Revision};

use crate::commit::{Commit, CommitError, Committed};
use crate::select::{Delivery, Selection, Stored, WatchError, Within};

/// A store with its history: what one partition keeps. Cloning it shares it.
#[derive(Clone)]
pub struct Engine(Arc<()>);

/// One state of a store, held without locks for as long as it is read.
#[derive(Clone)]
pub struct Snapshot(Arc<()>);

/// A watcher's place in a resource's event log.
pub struct Cursor(Arc<()>);

impl Engine {
    /// Applies a commit, and answers when its outcome is durable (or, relaxed, decided).
    ///
    /// # Errors
    /// [`CommitError`]: why nothing happened.
    pub async fn commit(&self, _commit: Commit) -> Result<Committed, CommitError> {
        unimplemented!()
    }

    /// The newest durable state, in O(1).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        unimplemented!()
    }

    /// The newest state that anyone could have been told of before this call: what a read without a resourceVersion
    /// means. Immediate on a local store; on a shared one it confirms its progress first.
    ///
    /// # Errors
    /// [`WatchError::Closed`] when the engine was stopped.
    pub async fn latest(&self) -> Result<Snapshot, WatchError> {
        unimplemented!()
    }

    /// A state not older than a revision, waiting for it when it is yet to come. Cancel safe.
    ///
    /// # Errors
    /// [`WatchError::Closed`] when the engine was stopped.
    pub async fn not_older_than(&self, _revision: Revision) -> Result<Snapshot, WatchError> {
        unimplemented!()
    }

    /// The state at exactly a past revision.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] when history does not reach back to it.
    pub fn exactly_at(&self, _revision: Revision) -> Result<Snapshot, WatchError> {
        unimplemented!()
    }

    /// A cursor for everything a selection sees after a revision.
    ///
    /// # Errors
    /// [`WatchError::Compacted`] when history does not reach back to it.
    pub fn watch(&self, _selection: Selection, _after: Revision) -> Result<Cursor, WatchError> {
        unimplemented!()
    }

    /// A counter's value in the newest state; zero when nobody has changed it.
    #[must_use]
    pub fn counter(&self, _counter: &str) -> i64 {
        unimplemented!()
    }
}

impl Snapshot {
    /// The revision of the state.
    #[must_use]
    pub fn revision(&self) -> Revision {
        unimplemented!()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, _key: &ObjectKey) -> Option<Stored> {
        unimplemented!()
    }

    /// The objects of a resource within a range of paths, in order, after a path where one is given.
    pub fn range<'a>(
        &'a self,
        _resource: &GroupResource,
        _within: &'a Within,
        _after: Option<&ObjectPath>,
    ) -> Box<dyn Iterator<Item = Stored> + Send + 'a> {
        unimplemented!()
    }
}

impl Cursor {
    /// The next delivery. Cancel safe: nothing is lost by dropping the future.
    ///
    /// # Errors
    /// [`WatchError`], after which the cursor has ended.
    pub async fn next(&mut self) -> Result<Delivery, WatchError> {
        unimplemented!()
    }

    /// Everything up to here has been delivered.
    #[must_use]
    pub fn revision(&self) -> Revision {
        unimplemented!()
    }
}
