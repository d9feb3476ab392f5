//! The thread on which a journal's keeper works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Sender, bounded};
use tokio::sync::watch;

use super::snapshot::Snapshot;
use super::sync::Mutex;
use super::sync::thread::{self, JoinHandle};
use crate::storage::{Keeper, OpenError};

/// Runs a keeper beside the committer.
pub(crate) struct Keep {
    /// Where the next state to keep is left; dropped to end the thread. At most one waits: the next will be newer.
    offers: Mutex<Option<Sender<Snapshot>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The next state is to be written anew whatever is there. Written by whoever changes keys, and by the thread.
    renew: Arc<AtomicBool>,
    /// Becomes true when the thread has ended.
    ended: watch::Receiver<bool>,
}

impl Keep {
    pub(crate) fn start(mut keeper: Box<dyn Keeper>) -> Result<Self, OpenError> {
        let (offers, offered) = bounded::<Snapshot>(1);
        let (end, ended) = watch::channel(false);
        let renew = Arc::new(AtomicBool::new(false));
        let due = renew.clone();
        let run = move || {
            for snapshot in offered {
                let history = snapshot.history_begins();
                let renewed = match due.swap(false, Ordering::AcqRel) {
                    true => keeper.renew(&snapshot).inspect_err(|_| due.store(true, Ordering::Release)),
                    false => Ok(()),
                };
                for error in [renewed, keeper.keep(&snapshot, history)].into_iter().filter_map(Result::err) {
                    tracing::warn!(%error, "the store's housekeeping failed and will be tried again");
                }
            }
            end.send_replace(true);
        };
        let thread = thread::Builder::new().name("arktos-keeper".to_owned()).spawn(run);
        let thread = thread.map_err(|source| OpenError::Io { place: "the keeper thread".to_owned(), source })?;
        Ok(Self { offers: Mutex::new(Some(offers)), thread: Mutex::new(Some(thread)), renew, ended })
    }

    /// Lets the next state be written anew.
    pub(crate) fn renew(&self) {
        self.renew.store(true, Ordering::Release);
    }

    /// Leaves a state for the keeper, unless it still has one.
    pub(crate) fn offer(&self, snapshot: Snapshot) {
        if let Some(offers) = &*self.offers.lock() {
            let _ = offers.try_send(snapshot);
        }
    }

    /// Lets the keeper finish what it does, and ends the thread.
    pub(crate) async fn close(&self) {
        self.offers.lock().take();
        let _ = self.ended.clone().wait_for(|ended| *ended).await; // an error: it panicked, and has ended as well
        self.close_blocking();
    }

    /// As [`close`](Self::close), for a thread that may block.
    pub(crate) fn close_blocking(&self) {
        self.offers.lock().take();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the keeper thread panicked");
        }
    }
}
