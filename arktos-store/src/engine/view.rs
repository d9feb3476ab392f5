//! What readers see: the newest published state, and who waits for the next.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use arktos_core::{GroupResource, Revision};
use tokio::sync::watch;

use super::snapshot::Past;
use super::state::State;
use super::sync::{ArcSwap, Mutex};
use super::wakes::Wakes;
use crate::select::WatchError;

/// How many past states are kept ready for readers that come back for the next page.
const PASTS: usize = 16;

/// The reading side of an engine, shared by the engine, its writer, its snapshots and its cursors.
pub(crate) struct View {
    /// The newest published state. Written by the one writer; read by anyone, without locks.
    root: ArcSwap<State>,
    /// The cursors of each resource that is watched. Entries are made by the first watcher and stay.
    wakes: Mutex<HashMap<GroupResource, Arc<Mutex<Wakes>>>>,
    /// The newest published revision, for those who wait for one. Written by the one writer, after `root`.
    head: watch::Sender<Revision>,
    /// Written once, by whoever closes the engine.
    closed: AtomicBool,
    /// Past states that were asked for lately. Written by readers.
    pasts: Mutex<VecDeque<Arc<Past>>>,
}

impl View {
    pub(crate) fn new(state: State) -> Self {
        let head = watch::Sender::new(state.revision);
        Self {
            root: ArcSwap::from_pointee(state),
            wakes: Mutex::default(),
            head,
            closed: AtomicBool::new(false),
            pasts: Mutex::default(),
        }
    }

    /// The newest published state.
    pub(crate) fn state(&self) -> Arc<State> {
        self.root.load_full()
    }

    /// Runs a short reading of the newest state without counting a reference.
    pub(crate) fn with<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.root.load())
    }

    /// Publishes a state. Only the one writer calls this, in order; [`notify`](Self::notify) must follow. Gives back
    /// the state before, which takes a while to drop where nobody else holds it: not while somebody waits.
    pub(crate) fn publish(&self, state: State) -> Arc<State> {
        self.root.swap(Arc::new(state))
    }

    /// Wakes those whom the newest state concerns, given the resources whose logs have grown.
    pub(crate) fn notify(&self, touched: &[GroupResource]) {
        let mut wake = Vec::new();
        for resource in touched {
            let Some(wakes) = self.wakes.lock().get(resource).cloned() else { continue };
            let state = self.root.load();
            if let Some(kept) = state.resource(resource) {
                wakes.lock().note(&kept.log, state.revision, &mut wake);
            }
        }
        let revision = self.root.load().revision;
        self.head.send_if_modified(|head| {
            let newer = *head < revision;
            *head = revision.max(*head);
            newer
        });
        wake.into_iter().for_each(Waker::wake);
    }

    /// The index of a resource's cursors.
    pub(crate) fn wakes(&self, resource: &GroupResource) -> Arc<Mutex<Wakes>> {
        let mut wakes = self.wakes.lock();
        if let Some(known) = wakes.get(resource) {
            return known.clone();
        }
        let state = self.root.load(); // within the lock: whoever publishes later will find the entry
        let noted = state.resource(resource).map_or(0, |kept| kept.log.end());
        let made = Arc::new(Mutex::new(Wakes::new(noted, state.revision, self.is_closed())));
        wakes.insert(resource.clone(), made.clone());
        made
    }

    /// How many cursors each resource has that has any.
    pub(crate) fn watchers(&self) -> Vec<(GroupResource, usize)> {
        let all: Vec<_> = self.wakes.lock().iter().map(|(resource, wakes)| (resource.clone(), wakes.clone())).collect();
        let counted = all.into_iter().map(|(resource, wakes)| (resource, wakes.lock().cursors()));
        counted.filter(|(_, cursors)| *cursors > 0).collect()
    }

    /// Waits until a revision is published.
    pub(crate) async fn reached(&self, revision: Revision) -> Result<(), WatchError> {
        if self.root.load().revision >= revision {
            return Ok(());
        }
        let mut head = self.head.subscribe();
        let reached = head.wait_for(|head| *head >= revision || self.is_closed()).await.map(|head| *head);
        match reached {
            Ok(head) if head >= revision => Ok(()),
            _ => Err(WatchError::Closed),
        }
    }

    /// Ends all waiting.
    pub(crate) fn close(&self) {
        let watched: Vec<GroupResource> = self.wakes.lock().keys().cloned().collect();
        self.notify(&watched); // so that whoever waits is told what was published before it is told of the end
        self.closed.store(true, Ordering::SeqCst);
        self.each_wakes(Wakes::close);
        self.head.send_modify(|_| {});
    }

    /// Lets every cursor look anew, after the logs were replaced.
    pub(crate) fn restart(&self) {
        self.each_wakes(Wakes::unpark);
        self.pasts.lock().clear();
    }

    fn each_wakes(&self, take: impl Fn(&mut Wakes, &mut Vec<Waker>)) {
        let all: Vec<Arc<Mutex<Wakes>>> = self.wakes.lock().values().cloned().collect();
        let mut wake = Vec::new();
        for wakes in all {
            take(&mut wakes.lock(), &mut wake);
        }
        wake.into_iter().for_each(Waker::wake);
    }

    /// Completes when the engine is closed.
    pub(crate) async fn closing(&self) {
        let _ = self.head.subscribe().wait_for(|_| self.is_closed()).await; // the sender is in `self`
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The past state at a revision, kept ready for the next who asks.
    pub(crate) fn past(&self, revision: Revision, state: &Arc<State>) -> Arc<Past> {
        let mut pasts = self.pasts.lock();
        if let Some(known) = pasts.iter().find(|past| past.revision() == revision) {
            return known.clone();
        }
        let past = Arc::new(Past::new(revision, state.clone()));
        if pasts.len() == PASTS {
            pasts.pop_front();
        }
        pasts.push_back(past.clone());
        past
    }

    /// Lets go of the past states that history no longer reaches.
    pub(crate) fn forget_pasts(&self) {
        let floor = self.root.load().floor;
        self.pasts.lock().retain(|past| past.revision() >= floor);
    }
}
