//! Decides commits: a plain state machine, stepped by whoever owns it.

use std::sync::Arc;

use arktos_core::{GroupResource, ObjectKey, Revision, Timestamp};

use super::history::HistoryLimit;
use super::state::State;
use crate::commit::{Change, Commit, CommitError, Committed, Durability, Write};
use crate::storage::{Group, Record};

/// How far ahead revisions are reserved for relaxed writes.
const RESERVE: u64 = 1 << 20;

/// What commits are checked against and numbered by.
///
/// It keeps two states apart: the *staged* one, which has every commit that was accepted and which the next commit is
/// checked against, and the *published* one, kept elsewhere, which readers see. [`seal`](Self::seal) hands out what was
/// accepted since the last call, together with the state to publish once that is durable;
/// [`roll_back`](Self::roll_back) forgets what was staged and never became durable. Revisions are given out here and
/// only here, and never twice.
pub(crate) struct Sequencer {
    staged: State,
    /// The highest revision given out; may be above the staged state's after a roll-back.
    given: Revision,
    limits: Limits,
    group: Group,
    touched: Vec<GroupResource>,
    compacted: bool,
    /// Groups were handed out that need not be durable yet.
    unsynced: bool,
}

/// What a sequencer keeps to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// History of each resource.
    pub history: HistoryLimit,
    /// The most bytes one commit may have.
    pub commit_bytes: usize,
    /// Whether groups are appended to a journal at all.
    pub journal: bool,
}

/// What was accepted and is not durable yet.
pub(crate) struct Sealed {
    /// What is appended.
    pub group: Group,
    /// The state when that is durable.
    pub state: State,
    /// The resources whose logs have grown.
    pub touched: Vec<GroupResource>,
}

impl Sequencer {
    /// Goes on from a state that is durable.
    pub(crate) fn new(state: State, limits: Limits) -> Self {
        Self {
            given: state.revision,
            staged: state,
            limits,
            group: Group::default(),
            touched: Vec::new(),
            compacted: false,
            unsynced: false,
        }
    }

    /// Whether nothing is staged that [`seal`](Self::seal) has not handed out.
    pub(crate) fn is_idle(&self) -> bool {
        self.touched.is_empty() && self.group.is_empty() && !self.group.sync && !self.compacted
    }

    /// The answer to what changes nothing.
    pub(crate) fn nothing(&self) -> Committed {
        Committed { revisions: Vec::new(), revision: self.staged.revision }
    }

    /// Decides a commit against the staged state.
    pub(crate) fn stage(&mut self, commit: &Commit, now: Timestamp) -> Result<Committed, CommitError> {
        self.check(commit)?;
        let counters = self.count(commit)?;
        for (counter, value) in counters {
            self.staged.set_counter(&counter, value);
            self.group.counters.push((counter, value));
        }
        let mut revisions = Vec::with_capacity(commit.writes.len());
        for write in &commit.writes {
            revisions.push(self.write(&write.key, &write.change, now));
        }
        let changes = !commit.writes.is_empty() || !commit.counters.is_empty();
        if changes {
            self.group.time = now;
            self.durability(commit.durability);
        }
        Ok(Committed { revisions, revision: self.staged.revision })
    }

    /// Deletes what has expired by now, at most `limit` objects. Gives back how many it deleted.
    pub(crate) fn stage_expired(&mut self, now: Timestamp, limit: usize) -> usize {
        let due = self.staged.take_expired(now, limit);
        let expired = due.len();
        for key in due {
            self.write(&key, &Change::Delete, now);
        }
        if expired > 0 {
            self.group.time = now;
            self.durability(Durability::Relaxed);
        }
        expired
    }

    /// Drops history that is beyond its limits.
    pub(crate) fn stage_compaction(&mut self, now: Timestamp) {
        self.compacted |= !self.staged.compact(self.limits.history, now).is_empty();
    }

    /// Makes the next group durable, and with it everything before it.
    pub(crate) fn stage_flush(&mut self) {
        self.group.sync |= self.limits.journal && (self.unsynced || !self.group.is_empty());
    }

    /// As [`stage_flush`](Self::stage_flush), also where nothing is left to be made durable: the journal is called.
    pub(crate) fn stage_renewal(&mut self) {
        self.group.sync |= self.limits.journal;
    }

    /// Goes on above everything that readers may have been told of and that is lost.
    pub(crate) fn stage_resumption(&mut self, resumed: Revision, now: Timestamp) {
        self.staged.jump(resumed);
        self.given = self.given.max(resumed);
        self.group.resumed = Some(resumed);
        self.group.time = now;
        self.group.sync = true;
    }

    /// Hands out what was staged since the last call.
    pub(crate) fn seal(&mut self) -> Sealed {
        self.compacted = false;
        if !self.group.is_empty() {
            self.staged.group += 1;
            self.group.number = self.staged.group;
            self.unsynced = true;
        }
        self.unsynced &= !self.group.sync;
        Sealed {
            group: std::mem::take(&mut self.group),
            state: self.staged.clone(),
            touched: std::mem::take(&mut self.touched),
        }
    }

    /// Forgets what was staged: the published state is the newest again. Its revisions are not given out anew.
    pub(crate) fn roll_back(&mut self, published: State) {
        self.staged = published;
        self.group = Group::default();
        self.touched.clear();
        self.compacted = false;
        self.unsynced = true; // what would have made earlier groups durable was not appended
    }

    fn check(&self, commit: &Commit) -> Result<(), CommitError> {
        let size: usize = commit.writes.iter().map(write_bytes).sum();
        if size > self.limits.commit_bytes {
            return Err(CommitError::TooLarge { size, limit: self.limits.commit_bytes });
        }
        for guard in &commit.guards {
            let found = self.staged.get(&guard.key).map(|found| &**found);
            if !guard.expect.holds(found) {
                return Err(CommitError::Guarded { key: guard.key.clone(), found: found.cloned() });
            }
        }
        for write in &commit.writes {
            let found = self.staged.get(&write.key).map(|found| &**found);
            if !write.expect.holds(found) {
                return Err(CommitError::Conflict { key: write.key.clone(), found: found.cloned() });
            }
        }
        Ok(())
    }

    /// The counters as the commit leaves them.
    fn count(&self, commit: &Commit) -> Result<Vec<(Arc<str>, i64)>, CommitError> {
        let mut values: Vec<(Arc<str>, i64)> = Vec::with_capacity(commit.counters.len());
        for change in &commit.counters {
            let known = values.iter().position(|(counter, _)| *counter == change.counter);
            let value = known.map_or_else(|| self.staged.counter(&change.counter), |place| values[place].1);
            let after = change.apply(value)?;
            match known {
                Some(place) => values[place].1 = after,
                None => values.push((change.counter.clone(), after)),
            }
        }
        Ok(values)
    }

    /// Stages one write. The deletion of what is not there is nothing, and happens at the newest revision.
    fn write(&mut self, key: &ObjectKey, change: &Change, now: Timestamp) -> Revision {
        if matches!(change, Change::Delete) && self.staged.get(key).is_none() {
            return self.staged.revision;
        }
        self.given = self.given.max(self.staged.revision).next();
        let revision = self.given;
        self.staged.write(revision, now, key, change, self.limits.history);
        if !self.touched.contains(&key.resource) {
            self.touched.push(key.resource.clone());
        }
        if self.limits.journal {
            self.group.records.push(Record { revision, key: key.clone(), change: change.clone() });
        }
        revision
    }

    /// A relaxed write may be told to readers before it is durable, so its revision must be reserved first, durably.
    fn durability(&mut self, durability: Durability) {
        if durability == Durability::Synced {
            self.group.sync = self.limits.journal;
        } else if self.limits.journal && self.given > self.staged.reserved {
            self.staged.reserved = Revision(self.given.0 + RESERVE);
            self.group.reserved = Some(self.staged.reserved);
            self.group.sync = true;
        }
    }
}

/// What a write weighs.
pub(crate) fn write_bytes(write: &Write) -> usize {
    let path = write.key.path.as_str().len();
    match &write.change {
        Change::Put { object, .. } => path + object.tail_length(),
        Change::Delete => path,
    }
}
