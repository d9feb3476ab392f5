//! Commits that are left for the committer thread to decide.
//!
//! Whoever commits decides by itself, under the desk's lock. A thread that [stands behind](crate::behind) others leaves
//! its commit here instead, where nobody waits for it: see there. The committer decides what was left when it takes the
//! next group.

use std::sync::atomic::{AtomicUsize, Ordering, fence};

use arktos_core::Timestamp;
use crossbeam::queue::SegQueue;
use tokio::sync::oneshot;

use super::sync::AtomicBool;
use crate::commit::{Commit, CommitError, Committed};

/// A commit, and who waits for its outcome.
pub(super) struct Left {
    pub(super) commit: Commit,
    /// How many bytes it counts.
    pub(super) bytes: usize,
    /// When it was left.
    pub(super) now: Timestamp,
    pub(super) answer: oneshot::Sender<Result<Committed, CommitError>>,
}

/// What was left, in order. Written by whoever leaves something; taken by the committer thread.
#[derive(Default)]
pub(super) struct LeftCommits {
    queue: SegQueue<Left>,
    bytes: AtomicUsize,
    /// The committer sleeps, or is about to. Written by it, under the desk's lock.
    asleep: AtomicBool,
    /// The committer takes no more.
    ended: AtomicBool,
}

impl LeftCommits {
    /// Leaves a commit, and says whether the committer is to be woken.
    ///
    /// # Errors
    /// [`CommitError::Busy`] where there are others, and all together would have more bytes than that.
    pub(super) fn leave(&self, left: Left, bytes_max: usize) -> Result<bool, CommitError> {
        let before = self.bytes.fetch_add(left.bytes, Ordering::Relaxed);
        if before > 0 && before.saturating_add(left.bytes) > bytes_max {
            self.bytes.fetch_sub(left.bytes, Ordering::Relaxed);
            return Err(CommitError::Busy);
        }
        self.queue.push(left);
        // Either the committer sees what was left before it sleeps or ends, or this sees that it does.
        fence(Ordering::SeqCst);
        if self.ended.load(Ordering::SeqCst) {
            self.end();
        }
        Ok(self.asleep.load(Ordering::SeqCst))
    }

    /// The committer is about to sleep, which it may if nothing is left.
    pub(super) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.queue.is_empty()
    }

    /// It does not sleep.
    pub(super) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// The next one.
    pub(super) fn take(&self) -> Option<Left> {
        let left = self.queue.pop()?;
        self.bytes.fetch_sub(left.bytes, Ordering::Relaxed);
        Some(left)
    }

    /// Refuses what is left, and what will be.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        while let Some(left) = self.take() {
            let _ = left.answer.send(Err(CommitError::Closed)); // whoever dropped the future does not ask
        }
    }
}
