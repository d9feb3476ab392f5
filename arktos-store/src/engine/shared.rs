//! The reading side of a store that several processes share: a copy of its state, fed from outside.

use std::sync::Arc;

use arktos_core::{GroupResource, Revision, Timestamp};

use super::history::HistoryLimit;
use super::restore::Restoring;
use super::state::State;
use super::sync::Mutex;
use super::view::View;
use crate::commit::Change;
use crate::storage::{Group, Restore};

/// Where a [`Storage`](crate::storage::Storage) publishes what it is told of. Cloning it shares it.
#[derive(Clone)]
pub struct Publisher(Arc<Feed>);

struct Feed {
    view: Arc<View>,
    limit: HistoryLimit,
    /// The newest state. Written by the feed, and by compaction.
    state: Mutex<State>,
}

impl Publisher {
    pub(crate) fn new(view: Arc<View>, limit: HistoryLimit) -> Self {
        let state = Mutex::new(State::clone(&view.state()));
        Self(Arc::new(Feed { view, limit, state }))
    }

    /// The newest revision that was published: after a lost connection the feed goes on from here.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.0.state.lock().revision
    }

    /// Publishes a group of writes and counters: readers see all of it at once. Records whose revision was published
    /// already are passed over, and the counters of a group that has no others, so that a feed may overlap after it has
    /// reconnected.
    pub fn publish(&self, group: &Group) {
        let mut touched: Vec<GroupResource> = Vec::new();
        self.step(&mut touched, |state, limit, touched| {
            let known = state.revision;
            if !group.records.is_empty() && group.records.iter().all(|record| record.revision <= known) {
                return;
            }
            for record in group.records.iter().filter(|record| record.revision > known) {
                if matches!(record.change, Change::Delete) && state.get(&record.key).is_none() {
                    continue;
                }
                state.write(record.revision, group.time, &record.key, &record.change, limit);
                if !touched.contains(&record.key.resource) {
                    touched.push(record.key.resource.clone());
                }
            }
            for (counter, value) in &group.counters {
                state.set_counter(counter, *value);
            }
        });
    }

    /// Says that there is nothing to publish up to a revision.
    pub fn progress(&self, revision: Revision) {
        self.step(&mut Vec::new(), |state, _, _| state.revision = state.revision.max(revision));
    }

    /// Replaces the whole state, when the store has forgotten what happened in between. Every cursor ends with
    /// [`WatchError::Compacted`](crate::WatchError::Compacted); history begins anew.
    pub fn reset(&self, fill: impl FnOnce(&mut Restore)) {
        let mut restore = Restore(Restoring::new(self.0.limit));
        fill(&mut restore);
        let mut newer = restore.0.into_state();
        newer.begin_at(newer.revision);
        let mut touched: Vec<GroupResource> = Vec::new();
        self.step(&mut touched, |state, _, touched| {
            newer.succeed(state);
            touched.extend(newer.resources().map(|(name, _)| name.clone()));
            *state = newer;
        });
        self.0.view.restart();
    }

    pub(crate) fn compact(&self, now: Timestamp) {
        self.step(&mut Vec::new(), |state, limit, _| drop(state.compact(limit, now)));
    }

    fn step(
        &self,
        touched: &mut Vec<GroupResource>,
        change: impl FnOnce(&mut State, HistoryLimit, &mut Vec<GroupResource>),
    ) {
        let feed = &self.0;
        let mut state = feed.state.lock();
        change(&mut state, feed.limit, touched);
        drop(feed.view.publish(state.clone()));
        drop(state);
        feed.view.notify(touched);
    }
}
