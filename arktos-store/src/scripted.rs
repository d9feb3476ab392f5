//! A source that does what a test says.

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::{Encoded, Object, ObjectPath, Revision, Status, TypeMeta};
use async_trait::async_trait;
use futures::StreamExt;
use futures::channel::mpsc;
use parking_lot::Mutex;
use serde_json::json;

use crate::client::{Listing, Query, Source, WatchListEvent, WatchListStream, WatchStream};
use crate::select::{Delivery, Stored};

type Feed = mpsc::UnboundedSender<Result<WatchListEvent, Status>>;

/// A source of pods that does what the test says.
#[derive(Default)]
pub(crate) struct Scripted(pub(crate) Mutex<State>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<ObjectPath, Stored>,
    pub(crate) history: Vec<Delivery>,
    pub(crate) revision: u64,
    /// History up to here is forgotten.
    compacted: u64,
    /// Whether it answers at all.
    unreachable: bool,
    /// Whether it streams its initial state, and how.
    pub(crate) streams: Streams,
    feeds: Vec<Feed>,
    lists: usize,
    watches: usize,
    pub(crate) watch_lists: usize,
}

/// How a source answers who wants the initial state in the watch.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Streams {
    /// It does not.
    #[default]
    Refused,
    /// Whole, with its end.
    Whole,
    /// All of it, without saying where it ends.
    Endless,
}

impl Scripted {
    pub(crate) fn put(&self, name: &str, uid: &str, node: &str) -> Revision {
        let mut state = self.0.lock();
        state.revision += 1;
        let path = ObjectPath::new("acme", "default", name);
        let stored = Stored { path: path.clone(), revision: Revision(state.revision), object: pod(name, uid, node) };
        let delivery = match state.objects.insert(path, stored.clone()) {
            None => Delivery::Added(Arc::new(stored)),
            Some(_) => Delivery::Modified(Arc::new(stored)),
        };
        state.deliver(delivery);
        Revision(state.revision)
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.0.lock();
        if let Some(stored) = state.objects.remove(&ObjectPath::new("acme", "default", name)) {
            state.revision += 1;
            let gone = Stored { revision: Revision(state.revision), ..stored };
            state.deliver(Delivery::Deleted(Arc::new(gone)));
        }
    }

    pub(crate) fn bookmark(&self) {
        let state = self.0.lock();
        state.say(Ok(WatchListEvent::Delivery(Delivery::Bookmark(Revision(state.revision)))));
    }

    /// Says that the initial state has ended.
    pub(crate) fn end_initial(&self) {
        let state = self.0.lock();
        state.say(Ok(WatchListEvent::InitialEnd(Revision(state.revision))));
    }

    /// Ends all watches, with an error if one is given.
    pub(crate) fn hang_up(&self, error: Option<Status>) {
        let mut state = self.0.lock();
        if let Some(status) = error {
            state.say(Err(status));
        }
        state.feeds.clear();
    }

    pub(crate) fn compact(&self) {
        let mut state = self.0.lock();
        state.compacted = state.revision;
    }

    pub(crate) fn set_unreachable(&self, unreachable: bool) {
        self.0.lock().unreachable = unreachable;
    }

    pub(crate) fn calls(&self) -> (usize, usize) {
        let state = self.0.lock();
        (state.lists, state.watches)
    }
}

impl State {
    pub(crate) fn deliver(&mut self, delivery: Delivery) {
        self.history.push(delivery.clone());
        self.say(Ok(WatchListEvent::Delivery(delivery)));
    }

    fn say(&self, what: Result<WatchListEvent, Status>) {
        for feed in &self.feeds {
            let _ = feed.unbounded_send(what.clone());
        }
    }
}

#[async_trait]
impl Source for Scripted {
    async fn list(&self, _query: &Query) -> Result<Listing, Status> {
        let mut state = self.0.lock();
        state.lists += 1;
        if state.unreachable {
            return Err(Status::internal("unreachable"));
        }
        Ok(Listing { revision: Revision(state.revision), items: state.objects.values().cloned().collect() })
    }

    async fn watch(&self, _query: &Query, after: Revision) -> Result<WatchStream, Status> {
        let mut state = self.0.lock();
        state.watches += 1;
        if state.unreachable {
            return Err(Status::internal("unreachable"));
        }
        if after.0 < state.compacted {
            return Err(Status::expired("too old resource version"));
        }
        let (feed, stream) = mpsc::unbounded();
        for delivery in state.history.iter().filter(|delivery| delivery.revision() > after) {
            let _ = feed.unbounded_send(Ok(WatchListEvent::Delivery(delivery.clone())));
        }
        state.feeds.push(feed);
        let deliveries = stream.filter_map(|event| async move {
            match event {
                Ok(WatchListEvent::Delivery(delivery)) => Some(Ok(delivery)),
                Ok(WatchListEvent::InitialEnd(_)) => None,
                Err(status) => Some(Err(status)),
            }
        });
        Ok(deliveries.boxed())
    }

    async fn watch_list(&self, _query: &Query) -> Result<WatchListStream, Status> {
        let mut state = self.0.lock();
        state.watch_lists += 1;
        if state.streams == Streams::Refused {
            return Err(Status::failure(arktos_core::Reason::Invalid, "sendInitialEvents is forbidden"));
        }
        if state.unreachable {
            return Err(Status::internal("unreachable"));
        }
        let (feed, stream) = mpsc::unbounded();
        for stored in state.objects.values().cloned() {
            let _ = feed.unbounded_send(Ok(WatchListEvent::Delivery(Delivery::Added(Arc::new(stored)))));
        }
        if state.streams == Streams::Whole {
            let _ = feed.unbounded_send(Ok(WatchListEvent::InitialEnd(Revision(state.revision))));
        }
        state.feeds.push(feed);
        Ok(stream.boxed())
    }
}

pub(crate) fn pod(name: &str, uid: &str, node: &str) -> Encoded {
    let type_meta = Arc::new(TypeMeta::new("", "v1", "Pod"));
    let value = json!({"metadata": {"name": name, "uid": uid}, "spec": {"nodeName": node}});
    let object = Object::from_value(value).expect("an object");
    Encoded::encode(&type_meta, &object, &[&["spec", "nodeName"]]).expect("encodes")
}
