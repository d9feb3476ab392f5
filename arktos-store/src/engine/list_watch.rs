//! What there is, then what happens, in one stream.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use arktos_core::{ObjectPath, Revision};

use super::cursor::Cursor;
use super::snapshot::Snapshot;
use crate::client::WatchListEvent;
use crate::select::{Delivery, Selection, Stored, WatchError};

/// How many objects are taken from the snapshot at once.
const CHUNK: usize = 128;

/// What there is, then what happens, in one stream: every object of one snapshot, a mark, and every change after that
/// snapshot, exactly once and without a gap.
///
/// The mark ([`WatchListEvent::InitialEnd`]) comes once, with the revision of the snapshot; what follows are changes
/// after it. It holds the snapshot until the mark, a hundred-odd objects at a time beside it, and then is no more than
/// a [`Cursor`]. One that is read so slowly that history passes it by ends with [`WatchError::Compacted`], be it in the
/// middle of the initial objects or later.
pub struct ListWatch {
    cursor: Cursor,
    /// Until all of it was handed over.
    initial: Option<Initial>,
}

struct Initial {
    snapshot: Snapshot,
    selection: Selection,
    /// Objects from elsewhere that are shown as well, in the order of their paths.
    beside: VecDeque<Arc<Stored>>,
    ready: VecDeque<Arc<Stored>>,
    /// The last object that was taken from the snapshot.
    taken: Option<ObjectPath>,
    exhausted: bool,
}

impl ListWatch {
    /// A stream of the state of a snapshot, and of a cursor that was opened after its revision.
    pub(crate) fn new(snapshot: Snapshot, selection: Selection, cursor: Cursor) -> Self {
        let (beside, ready) = (VecDeque::new(), VecDeque::new());
        let initial = Initial { snapshot, selection, beside, ready, taken: None, exhausted: false };
        Self { cursor, initial: Some(initial) }
    }

    /// Shows objects that the store does not have among the initial ones, in the order of their paths.
    #[must_use]
    pub fn beside(mut self, mut objects: Vec<Stored>) -> Self {
        objects.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        if let Some(initial) = &mut self.initial {
            initial.beside = objects.into_iter().map(Arc::new).collect();
        }
        self
    }

    /// What comes next. Cancel safe.
    ///
    /// # Errors
    /// [`WatchError`], after which it has ended.
    pub async fn next(&mut self) -> Result<WatchListEvent, WatchError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Self::next), for those who poll.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<WatchListEvent, WatchError>> {
        if let Some(initial) = &mut self.initial {
            if let Some(stored) = initial.next() {
                return Poll::Ready(Ok(WatchListEvent::Delivery(Delivery::Added(stored))));
            }
            let revision = initial.snapshot.revision();
            self.initial = None; // lets go of the snapshot
            return Poll::Ready(Ok(WatchListEvent::InitialEnd(revision)));
        }
        self.cursor.poll_next(context).map_ok(WatchListEvent::Delivery)
    }

    /// What comes next, if it is there already; never waits.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<WatchListEvent>, WatchError> {
        match self.poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(next) => next.map(Some),
            Poll::Pending => Ok(None),
        }
    }

    /// The revision of a bookmark that may be sent now, as [`Cursor::bookmark_now`]. None before the mark: a bookmark
    /// among the initial objects would let a watcher go on from there without having seen the rest.
    pub fn bookmark_now(&mut self) -> Option<Revision> {
        self.initial.is_none().then(|| self.cursor.bookmark_now())
    }
}

/// Changes alone.
impl From<Cursor> for ListWatch {
    fn from(cursor: Cursor) -> Self {
        Self { cursor, initial: None }
    }
}

impl Initial {
    fn next(&mut self) -> Option<Arc<Stored>> {
        if self.ready.is_empty() && !self.exhausted {
            self.fill();
        }
        self.ready.pop_front()
    }

    fn fill(&mut self) {
        let Self { snapshot, selection, .. } = self;
        let chunk: Vec<Arc<Stored>> = snapshot.select(selection, self.taken.as_ref()).take(CHUNK).collect();
        self.exhausted = chunk.len() < CHUNK;
        for item in chunk {
            while self.beside.front().is_some_and(|next| next.path < item.path) {
                self.ready.extend(self.beside.pop_front());
            }
            self.taken = Some(item.path.clone());
            self.ready.push_back(item);
        }
        if self.exhausted {
            self.ready.append(&mut self.beside);
        }
    }
}
