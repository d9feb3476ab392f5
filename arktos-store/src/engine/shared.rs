//! The reading side of a store that several processes share: a copy of its state, fed from outside.

use std::borrow::Cow;
use std::sync::Arc;

use arktos_core::{GroupResource, Revision, Timestamp};

use super::at_rest::{AtRest, refused};
use super::history::HistoryLimit;
use super::restore::Restoring;
use super::state::State;
use super::sync::Mutex;
use super::view::View;
use crate::commit::Change;
use crate::storage::{Group, OpenError, Restore};

/// Where a [`Storage`](crate::storage::Storage) publishes what it is told of. Cloning it shares it.
#[derive(Clone)]
pub struct Publisher(Arc<Feed>);

struct Feed {
    view: Arc<View>,
    limit: HistoryLimit,
    at_rest: Arc<AtRest>,
    /// The newest state. Written by the feed, and by compaction.
    state: Mutex<State>,
}

impl Publisher {
    pub(crate) fn new(view: Arc<View>, limit: HistoryLimit, at_rest: Arc<AtRest>) -> Self {
        let state = Mutex::new(State::clone(&view.state()));
        Self(Arc::new(Feed { view, limit, at_rest, state }))
    }

    /// The newest revision that was published: after a lost connection the feed goes on from here.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.0.state.lock().revision
    }

    /// Publishes a group of writes and counters: readers see all of it at once. Records whose revision was published
    /// already are passed over, and the counters of a group that has no others, so that a feed may overlap after it has
    /// reconnected.
    ///
    /// # Errors
    /// [`OpenError::Encrypted`]: an object cannot be decrypted. Nothing was published; the feed is to try again.
    pub fn publish(&self, group: &Group) -> Result<(), OpenError> {
        self.publish_shown(&*self.show(group)?);
        Ok(())
    }

    /// A group as it is, from how it is kept.
    pub(crate) fn show<'a>(&self, group: &'a Group) -> Result<Cow<'a, Group>, OpenError> {
        self.0.at_rest.show_group(group).map_err(OpenError::Encrypted)
    }

    /// As [`publish`](Self::publish), of what [`show`](Self::show) gave.
    pub(crate) fn publish_shown(&self, group: &Group) {
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
    ///
    /// # Errors
    /// As [`publish`](Self::publish): the state stays as it is.
    pub fn reset(&self, fill: impl FnOnce(&mut Restore)) -> Result<(), OpenError> {
        let mut restore = Restore(Restoring::new(self.0.limit).shown_by(self.0.at_rest.clone()));
        fill(&mut restore);
        refused(restore.0.refused())?;
        let mut newer = restore.0.into_state();
        newer.begin_at(newer.revision);
        let mut touched: Vec<GroupResource> = Vec::new();
        self.step(&mut touched, |state, _, touched| {
            newer.succeed(state);
            touched.extend(newer.resources().map(|(name, _)| name.clone()));
            *state = newer;
        });
        self.0.view.restart();
        Ok(())
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
