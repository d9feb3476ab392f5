//! Threads that stand behind others for a core.
//!
//! A server may have threads that the kernel runs only when no other wants the core, for work that must not hold others
//! up. Such a thread can lose its core at any moment, and have none again for long. What it must not do meanwhile is
//! hold a lock that others need: so where it commits to an [`Engine`](crate::Engine) with a journal, the committer
//! thread decides the commit in its place.

use crate::engine::sync::thread_local;
use std::cell::Cell;

thread_local! {
    static BEHIND: Cell<bool> = const { Cell::new(false) };
}

/// Says of the calling thread that it stands behind others, for as long as it runs. What the kernel thinks of it, the
/// caller arranges.
pub fn stand() {
    BEHIND.with(|behind| behind.set(true));
}

/// Whether the calling thread stands behind others.
pub(crate) fn stands() -> bool {
    BEHIND.with(Cell::get)
}
