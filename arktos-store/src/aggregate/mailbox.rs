//! What the informers have seen and the aggregate is yet to take in, in order.

use std::collections::VecDeque;

use arktos_core::ObjectPath;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::informer::{Gate, Stopped};
use crate::select::Stored;

/// How many changes may wait before the informers are held back.
const CAPACITY: usize = 1024;

/// What a source has to say.
pub(super) enum Mail {
    /// One of its objects is shown otherwise than before.
    Change {
        /// Which source.
        source: usize,
        /// Where the object was shown, if it was.
        old: Option<ObjectPath>,
        /// What is shown now, if it is.
        new: Option<Stored>,
    },
    /// The source has left, and says nothing more.
    Gone(usize),
}

/// Changes on their way from the informers to the merge.
pub(super) struct Mailbox {
    /// Written by the informers' handlers (in) and the merge (out).
    state: Mutex<State>,
    arrived: Notify,
    room: Notify,
    /// How many changes the merge has taken in; closed when it is gone.
    done: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Mail>,
    posted: u64,
    ended: bool,
}

impl Mailbox {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), room: Notify::new(), done: watch::Sender::new(0) }
    }

    pub(super) fn post(&self, mail: Mail) {
        let mut state = self.state.lock();
        state.posted += 1;
        state.waiting.push_back(mail);
        drop(state);
        self.arrived.notify_one();
    }

    /// Everything that waits, once something does. Cancel safe.
    pub(super) async fn take(&self) -> VecDeque<Mail> {
        loop {
            let arrived = self.arrived.notified();
            let waiting = std::mem::take(&mut self.state.lock().waiting);
            if !waiting.is_empty() {
                self.room.notify_waiters();
                return waiting;
            }
            arrived.await;
        }
    }

    /// Notes that the merge has taken in so many changes more.
    pub(super) fn settle(&self, changes: usize) {
        self.done.send_modify(|done| *done += changes as u64);
    }

    /// Notes that nothing will be taken in any more.
    pub(super) fn end(&self) {
        self.state.lock().ended = true;
        self.done.send_modify(|_| {});
    }

    /// Completes when all that was posted until now has been taken in.
    pub(super) async fn drained(&self) -> Result<(), Stopped> {
        let posted = self.state.lock().posted;
        let mut done = self.done.subscribe();
        let ended = || self.state.lock().ended;
        let reached = done.wait_for(|done| *done >= posted || ended()).await.is_ok_and(|done| *done >= posted);
        if reached { Ok(()) } else { Err(Stopped) }
    }
}

impl Gate for Mailbox {
    fn is_open(&self) -> bool {
        self.state.lock().waiting.len() < CAPACITY
    }

    fn opened(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let room = self.room.notified();
            if !self.is_open() {
                room.await;
            }
        })
    }
}
