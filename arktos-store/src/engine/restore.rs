//! The state as it was, put together from what a backend gives back.

use std::borrow::Cow;
use std::sync::Arc;

use arktos_core::{GroupResource, Revision, Timestamp};

use super::at_rest::AtRest;
use super::history::HistoryLimit;
use super::sequencer::{Limits, Sequencer};
use super::snapshot::Snapshot;
use super::state::State;
use crate::select::{Stored, Within};
use crate::storage::Group;

/// What was given back so far.
pub(crate) struct Restoring {
    state: State,
    limit: HistoryLimit,
    closed: bool,
    /// Decrypts what comes back. None where it stays as it was kept.
    at_rest: Option<Arc<AtRest>>,
    /// Why something could not be decrypted.
    refused: Option<String>,
}

#[cfg_attr(not(feature = "log"), expect(dead_code, reason = "a part of it is for logs and backups alone"))]
impl Restoring {
    pub(crate) fn new(limit: HistoryLimit) -> Self {
        Self { state: State::default(), limit, closed: false, at_rest: None, refused: None }
    }

    /// Decrypts what comes back.
    pub(crate) fn shown_by(self, at_rest: Arc<AtRest>) -> Self {
        Self { at_rest: Some(at_rest), ..self }
    }

    /// Why the state is not whole, if it is not: the first object that could not be decrypted.
    pub(crate) fn refused(&mut self) -> Option<String> {
        self.refused.take()
    }

    pub(crate) fn object(&mut self, resource: &GroupResource, stored: Stored, expires: Option<Timestamp>) {
        let shown = match &self.at_rest {
            Some(at_rest) => at_rest.show(resource, &stored.path, stored.revision, &stored.object),
            None => Ok(None),
        };
        match shown {
            Ok(None) => self.state.restore(resource, stored, expires),
            Ok(Some(object)) => self.state.restore(resource, Stored { object, ..stored }, expires),
            Err(why) => drop(self.refused.get_or_insert(why)),
        }
    }

    pub(crate) fn last_event(&mut self, resource: &GroupResource, revision: Revision) {
        self.state.restore_last(resource, revision);
    }

    pub(crate) fn revision(&mut self, revision: Revision) {
        self.state.revision = self.state.revision.max(revision);
    }

    pub(crate) fn number(&mut self, group: u64) {
        self.state.group = self.state.group.max(group);
    }

    /// The number of the newest group.
    pub(crate) fn newest_group(&self) -> u64 {
        self.state.group
    }

    pub(crate) fn origin(&mut self, revision: Revision) {
        self.state.begin_at(revision);
    }

    pub(crate) fn counter(&mut self, counter: &Arc<str>, value: i64) {
        self.state.set_counter(counter, value);
    }

    pub(crate) fn group(&mut self, group: &Group) {
        self.closed = false;
        self.number(group.number);
        if let Some(resumed) = group.resumed {
            self.state.jump(resumed);
        }
        let shown = match &self.at_rest {
            Some(at_rest) => at_rest.show_group(group),
            None => Ok(Cow::Borrowed(group)),
        };
        match shown {
            Ok(group) => {
                for record in &group.records {
                    self.state.write(record.revision, group.time, &record.key, &record.change, self.limit);
                }
            }
            Err(why) => drop(self.refused.get_or_insert(why)),
        }
        for (counter, value) in &group.counters {
            self.state.set_counter(counter, *value);
        }
        self.reserved(group.reserved.unwrap_or_default());
    }

    pub(crate) fn lost(&mut self, after: Revision, resumed: Revision) {
        self.state.note_lost(after, resumed);
    }

    pub(crate) fn reserved(&mut self, reserved: Revision) {
        self.state.reserved = self.state.reserved.max(reserved);
    }

    pub(crate) fn closed(&mut self) {
        self.closed = true;
    }

    /// The newest revision so far.
    pub(crate) fn newest(&self) -> Revision {
        self.state.revision
    }

    /// The highest revision that a reader may have been told of so far.
    pub(crate) fn told(&self) -> Revision {
        self.state.revision.max(self.state.reserved)
    }

    /// The value of a counter so far.
    pub(crate) fn counter_now(&self, counter: &str) -> i64 {
        self.state.counter(counter)
    }

    /// The state as it is.
    pub(crate) fn into_snapshot(self) -> Snapshot {
        Snapshot::newest(Arc::new(self.state))
    }

    /// The state as a new store begins with it: each object has a revision of its own above `base`, in the order in
    /// which they were last written, and every earlier revision is lost. `group` is the number of the last group.
    pub(crate) fn into_new(self, base: Revision, group: u64) -> Snapshot {
        let old = self.into_snapshot();
        let resources = old.resources();
        let everywhere = Within::Everywhere;
        let all = |resource| old.range(resource, &everywhere, None);
        let mut order: Vec<Revision> = resources.iter().flat_map(all).map(|stored| stored.revision).collect();
        order.sort_unstable();
        let newest = Revision(base.0 + 1 + order.len() as u64);
        let mut new = State::default();
        (new.group, new.revision) = (group, newest);
        new.note_lost(Revision::ZERO, newest);
        for resource in &resources {
            for stored in all(resource) {
                let place = order.partition_point(|known| *known < stored.revision) as u64;
                let expires = old.expires(stored.revision);
                let stored = Stored { revision: Revision(base.0 + 1 + place), ..Arc::unwrap_or_clone(stored) };
                new.restore(resource, stored, expires);
            }
            new.restore_last(resource, newest);
        }
        for (counter, value) in old.counters() {
            new.set_counter(counter, value);
        }
        Snapshot::newest(Arc::new(new))
    }

    /// The state.
    pub(crate) fn into_state(mut self) -> State {
        self.state.share();
        self.state
    }

    /// A sequencer that goes on from the state, and the revision it must jump to first: where readers may have been
    /// told of revisions that are lost, it goes on above all of them.
    pub(crate) fn into_sequencer(mut self, limits: Limits) -> (Sequencer, Option<Revision>) {
        let unsure = !self.closed && self.state.reserved > self.state.revision;
        let resumed = unsure.then(|| self.state.reserved.next());
        // what was reserved in an earlier life is settled: relaxed writes of this one make their own reservation
        self.state.reserved = self.state.reserved.min(self.state.revision);
        self.state.share();
        let sequencer = Sequencer::new(self.state, limits);
        (sequencer, resumed)
    }
}
