//! The nine guarantees of a watch, each a function over what was recorded of one and what is known to be written.
//!
//! They are those that etcd gives its watchers, in this store's terms: every write has a revision of its own, and the
//! writes of one commit become visible together.
//!
//! | guarantee | says |
//! |---|---|
//! | [`filter`] | only what is selected is told |
//! | [`ordered`] | revisions rise, from the one the watch was opened after |
//! | [`unique`] | nothing is told twice, reconnects included |
//! | [`atomic`] | where one write of a commit can be read, the others can |
//! | [`bookmarkable`] | everything up to a bookmark was told before it, and nothing after it |
//! | [`resumable`] | who goes on from the last revision or bookmark misses nothing |
//! | [`create_flag`] | new to the selection is told as new, and nothing else is |
//! | [`reliable`] | nothing in between is left out |
//! | [`previous_value`] | an object that leaves is told as it last was inside; one that stays, as it was written |
//!
//! A [`Recorder`] records a watch: it reads, asks for bookmarks and reconnects as it is told to. A watch whose place
//! has left the history is recorded as ended, and a new one begins at the edge that was named. [`check`] runs all nine
//! and counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arktos_core::{Encoded, ObjectPath, Revision};
use parking_lot::Mutex;

use crate::engine::{Cursor, Engine};
use crate::select::{Delivery, Selection, Stored, WatchError};

/// One write that was answered.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its revision.
    pub revision: Revision,
    /// The commit: the revision of its first write.
    pub commit: Revision,
    /// The object.
    pub path: ObjectPath,
    /// What it became; absent for a deletion.
    pub object: Option<Encoded>,
}

/// All writes of one resource, in the order of their revisions.
#[derive(Debug, Default)]
pub struct History {
    writes: Vec<Written>,
    /// What there was to tell of each selection that was asked about. Written by the guarantees.
    told: Mutex<Vec<(Selection, Arc<[Delivery]>)>>,
}

/// What was recorded of one watch, from its opening until its place was gone or nobody read on.
#[derive(Debug)]
pub struct Recording {
    /// What was selected.
    pub selection: Selection,
    /// The cursors, one after the other: each was opened where the one before was left.
    pub pieces: Vec<Piece>,
}

/// What one cursor has told.
#[derive(Debug)]
pub struct Piece {
    /// The revision it was opened after.
    pub after: Revision,
    /// What it said.
    pub steps: Vec<Step>,
}

/// What a cursor said.
#[derive(Debug)]
pub enum Step {
    /// This.
    Told(Delivery),
    /// There was nothing to tell.
    Waited,
}

/// How much was checked. A run in which one of these is zero has checked less than it seems.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Watches.
    pub watches: usize,
    /// Events that were told.
    pub events: usize,
    /// Events that followed another of the same commit.
    pub of_one_commit: usize,
    /// Objects that were told as new.
    pub created: usize,
    /// Objects that were told as gone.
    pub gone: usize,
    /// Bookmarks.
    pub bookmarks: usize,
    /// Reconnects.
    pub reconnects: usize,
}

/// What a guarantee found in place of what it promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{guarantee}: {what}")]
#[non_exhaustive]
pub struct Broken {
    /// The guarantee.
    pub guarantee: &'static str,
    /// What was found.
    pub what: String,
}

impl Tally {
    /// Adds what another watch has counted.
    pub fn add(&mut self, other: &Self) {
        self.watches += other.watches;
        self.events += other.events;
        self.of_one_commit += other.of_one_commit;
        self.created += other.created;
        self.gone += other.gone;
        self.bookmarks += other.bookmarks;
        self.reconnects += other.reconnects;
    }

    /// Whether there was something of everything to check.
    #[must_use]
    pub fn is_worth_something(&self) -> bool {
        let all = [self.watches, self.events, self.of_one_commit, self.created, self.gone, self.bookmarks];
        all.iter().all(|count| *count > 0) && self.reconnects > 0
    }
}

impl History {
    /// A history of these writes, in any order.
    #[must_use]
    pub fn new(mut writes: Vec<Written>) -> Self {
        writes.sort_unstable_by_key(|written| written.revision);
        Self { writes, told: Mutex::default() }
    }

    /// The writes, in order.
    #[must_use]
    pub fn writes(&self) -> &[Written] {
        &self.writes
    }

    /// What a watch of a selection from the beginning would be told.
    fn expected(&self, selection: &Selection) -> Arc<[Delivery]> {
        let mut told = self.told.lock();
        if let Some((_, known)) = told.iter().find(|(known, _)| known == selection) {
            return known.clone();
        }
        let expected: Arc<[Delivery]> = self.replay(selection).into();
        told.push((selection.clone(), expected.clone()));
        expected
    }

    fn replay(&self, selection: &Selection) -> Vec<Delivery> {
        let mut inside: BTreeMap<&ObjectPath, &Encoded> = BTreeMap::new();
        let mut told = Vec::new();
        for written in &self.writes {
            let stored = |object: &Encoded| {
                let (path, revision) = (written.path.clone(), written.revision);
                Arc::new(Stored { path, revision, object: object.clone() })
            };
            let new = written.object.as_ref().filter(|object| selection.matches(&written.path, object));
            let old = match new {
                Some(object) => inside.insert(&written.path, object),
                None => inside.remove(&written.path),
            };
            told.extend(match (old, new) {
                (None, Some(new)) => Some(Delivery::Added(stored(new))),
                (Some(_), Some(new)) => Some(Delivery::Modified(stored(new))),
                (Some(old), None) => Some(Delivery::Deleted(stored(old))),
                (None, None) => None,
            });
        }
        told
    }

    /// The commit that a revision is of.
    fn commit_of(&self, revision: Revision) -> Option<Revision> {
        let at = self.writes.binary_search_by_key(&revision, |written| written.revision).ok()?;
        Some(self.writes[at].commit)
    }
}

impl Recording {
    /// Where the watch began.
    fn after(&self) -> Revision {
        self.pieces.first().map_or(Revision::ZERO, |piece| piece.after)
    }

    fn told(&self) -> impl Iterator<Item = &Delivery> {
        let steps = self.pieces.iter().flat_map(|piece| &piece.steps);
        steps.filter_map(|step| if let Step::Told(delivery) = step { Some(delivery) } else { None })
    }

    fn events(&self) -> impl Iterator<Item = &Delivery> {
        self.told().filter(|delivery| !matches!(delivery, Delivery::Bookmark(_)))
    }

    /// The part of what is expected that lies after one revision and not after another.
    fn between(expected: &[Delivery], after: Revision, until: Revision) -> &[Delivery] {
        let from = expected.partition_point(|delivery| delivery.revision() <= after);
        let to = expected.partition_point(|delivery| delivery.revision() <= until);
        expected.get(from..to).unwrap_or_default()
    }
}

type Kept = Result<(), Broken>;

fn broken(guarantee: &'static str, what: String) -> Kept {
    Err(Broken { guarantee, what })
}

/// Checks all nine guarantees of a recorded watch, and counts what there was to check.
///
/// # Errors
/// [`Broken`]: the first that does not hold.
pub fn check(history: &History, watch: &Recording) -> Result<Tally, Broken> {
    for guarantee in [filter, ordered, unique, atomic, bookmarkable, resumable, create_flag, reliable, previous_value] {
        guarantee(history, watch)?;
    }
    let commits: Vec<_> = watch.events().map(|event| history.commit_of(event.revision())).collect();
    Ok(Tally {
        watches: 1,
        events: commits.len(),
        of_one_commit: commits.windows(2).filter(|pair| pair[0] == pair[1]).count(),
        created: watch.told().filter(|told| matches!(told, Delivery::Added(_))).count(),
        gone: watch.told().filter(|told| matches!(told, Delivery::Deleted(_))).count(),
        bookmarks: watch.told().filter(|told| matches!(told, Delivery::Bookmark(_))).count(),
        reconnects: watch.pieces.len().saturating_sub(1),
    })
}

/// Only what is selected is told: what is there matches, and what leaves has matched.
///
/// # Errors
/// [`Broken`].
pub fn filter(_: &History, watch: &Recording) -> Kept {
    let foreign = watch.events().filter_map(Delivery::stored).find(|it| !watch.selection.matches(&it.path, &it.object));
    foreign.map_or(Ok(()), |it| broken("filter", format!("{} at {} is not selected", it.path, it.revision)))
}

/// Revisions never fall, and none is at or below the revision that its cursor was opened after: not of the past, and
/// not before what is yet to come.
///
/// # Errors
/// [`Broken`].
pub fn ordered(_: &History, watch: &Recording) -> Kept {
    let mut last = Revision::ZERO;
    for piece in &watch.pieces {
        for step in &piece.steps {
            let Step::Told(told) = step else { continue };
            let early = match told {
                Delivery::Bookmark(revision) => *revision < piece.after,
                event => event.revision() <= piece.after,
            };
            if early {
                return broken("ordered", format!("{} on a watch after {}", told.revision(), piece.after));
            }
            if told.revision() < last {
                return broken("ordered", format!("{} after {last}", told.revision()));
            }
            last = told.revision();
        }
    }
    Ok(())
}

/// No event is told twice, reconnects included.
///
/// # Errors
/// [`Broken`].
pub fn unique(_: &History, watch: &Recording) -> Kept {
    let mut seen = BTreeSet::new();
    let twice = watch.events().find(|event| !seen.insert(event.revision()));
    twice.map_or(Ok(()), |event| broken("unique", format!("{} is told twice", event.revision())))
}

/// Where one write of a commit can be read, the others can: a reader never waits in the middle of a commit.
///
/// # Errors
/// [`Broken`].
pub fn atomic(history: &History, watch: &Recording) -> Kept {
    let mut last = None;
    let mut waited = false;
    for step in watch.pieces.iter().flat_map(|piece| &piece.steps) {
        match step {
            Step::Waited => waited = true,
            Step::Told(Delivery::Bookmark(_)) => {}
            Step::Told(event) => {
                let commit = history.commit_of(event.revision());
                if waited && commit.is_some() && commit == last {
                    return broken("atomic", format!("{} came later than its commit", event.revision()));
                }
                (last, waited) = (commit, false);
            }
        }
    }
    Ok(())
}

/// Everything up to a bookmark was told before it, and nothing up to it comes after it.
///
/// # Errors
/// [`Broken`].
pub fn bookmarkable(history: &History, watch: &Recording) -> Kept {
    let expected = history.expected(&watch.selection);
    let (mut told, mut marked) = (0, Revision::ZERO);
    for delivery in watch.told() {
        match delivery {
            Delivery::Bookmark(revision) => {
                marked = marked.max(*revision);
                let due = Recording::between(&expected, watch.after(), *revision).len();
                if told != due {
                    return broken("bookmarkable", format!("{told} told of {due} at the bookmark {revision}"));
                }
            }
            event if event.revision() <= marked => {
                return broken("bookmarkable", format!("{} after the bookmark {marked}", event.revision()));
            }
            _ => told += 1,
        }
    }
    Ok(())
}

/// Who goes on from the last revision or bookmark that was told is told first what comes next.
///
/// # Errors
/// [`Broken`].
pub fn resumable(history: &History, watch: &Recording) -> Kept {
    let expected = history.expected(&watch.selection);
    for piece in watch.pieces.iter().skip(1) {
        let first = piece.steps.iter().find_map(|step| match step {
            Step::Told(Delivery::Bookmark(_)) | Step::Waited => None,
            Step::Told(event) => Some(event.revision()),
        });
        let Some(first) = first else { continue };
        let next = expected.iter().map(Delivery::revision).find(|revision| *revision > piece.after);
        if next != Some(first) {
            return broken("resumable", format!("{first} came first after {}, and {next:?} is next", piece.after));
        }
    }
    Ok(())
}

/// What is new to the selection is told as new, and nothing else is.
///
/// # Errors
/// [`Broken`].
pub fn create_flag(history: &History, watch: &Recording) -> Kept {
    let expected = history.expected(&watch.selection);
    let is_new: BTreeMap<Revision, bool> =
        expected.iter().map(|it| (it.revision(), matches!(it, Delivery::Added(_)))).collect();
    for event in watch.events() {
        let told_as_new = matches!(event, Delivery::Added(_));
        if is_new.get(&event.revision()) != Some(&told_as_new) {
            return broken("create flag", format!("{} is told as new: {told_as_new}", event.revision()));
        }
    }
    Ok(())
}

/// Nothing is left out between the opening of the watch and the last that it told, bookmarks included; and nothing is
/// told that was not written.
///
/// # Errors
/// [`Broken`].
pub fn reliable(history: &History, watch: &Recording) -> Kept {
    let expected = history.expected(&watch.selection);
    let until = watch.told().map(Delivery::revision).max().unwrap_or(watch.after());
    let due = Recording::between(&expected, watch.after(), until).iter().map(Delivery::revision);
    let told: Vec<Revision> = watch.events().map(Delivery::revision).collect();
    let due: Vec<Revision> = due.collect();
    if told == due {
        return Ok(());
    }
    let differs = told.iter().zip(&due).position(|(told, due)| told != due).unwrap_or(told.len().min(due.len()));
    let (told, due) = (told.get(differs), due.get(differs));
    broken("reliable", format!("event {differs} after {} is {told:?}, and {due:?} is due", watch.after()))
}

/// An object that leaves the selection is told as it last was inside; one that is inside, as it was written.
///
/// # Errors
/// [`Broken`].
pub fn previous_value(history: &History, watch: &Recording) -> Kept {
    let expected = history.expected(&watch.selection);
    let due: BTreeMap<Revision, &Delivery> = expected.iter().map(|it| (it.revision(), it)).collect();
    for event in watch.events() {
        let due = due.get(&event.revision()).and_then(|due| due.stored());
        if due != event.stored() {
            return broken("previous value", format!("at {}: {event:?}", event.revision()));
        }
    }
    Ok(())
}

/// Watches, and writes down what it is told.
pub struct Recorder {
    engine: Engine,
    cursor: Cursor,
    recording: Recording,
    ended: Vec<Recording>,
    /// How often its place had left the history.
    left_behind: usize,
}

/// How often the edge of history may move on while a watch is opened at it.
const EDGES: usize = 100;

impl Recorder {
    /// Opens a watch after a revision. Where that has left the history, at the edge that is named.
    ///
    /// # Errors
    /// [`WatchError`], except for a clean edge.
    pub fn open(engine: &Engine, selection: Selection, after: Revision) -> Result<Self, WatchError> {
        let (cursor, opened) = at_or_after(engine, &selection, after)?;
        let (moved, after) = (opened != after, opened);
        let recording = Recording { selection, pieces: vec![Piece { after, steps: Vec::new() }] };
        Ok(Self { engine: engine.clone(), cursor, recording, ended: Vec::new(), left_behind: usize::from(moved) })
    }

    /// Takes what there is, at most so many events.
    ///
    /// # Errors
    /// [`WatchError`], except for a place that has left the history with a clean edge: then a new watch begins there.
    pub fn read(&mut self, most: usize) -> Result<(), WatchError> {
        for _ in 0..most {
            let next = self.cursor.try_next();
            let waits = matches!(next, Ok(None));
            self.note(next)?;
            if waits {
                break;
            }
        }
        Ok(())
    }

    /// Waits for the next event. Cancel safe.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn next(&mut self) -> Result<(), WatchError> {
        let next = self.cursor.next().await;
        self.note(next.map(Some))
    }

    /// Asks for a bookmark; gives it back.
    pub fn bookmark(&mut self) -> Revision {
        let revision = self.cursor.bookmark_now();
        self.step(Step::Told(Delivery::Bookmark(revision)));
        revision
    }

    /// Lets go of the cursor, and opens another after the last revision or bookmark that was told.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn reconnect(&mut self) -> Result<(), WatchError> {
        let told = self.recording.told().map(Delivery::revision).max();
        let after = told.unwrap_or(self.recording.after());
        let (cursor, opened) = at_or_after(&self.engine, &self.recording.selection, after)?;
        self.cursor = cursor;
        if opened == after {
            self.recording.pieces.push(Piece { after, steps: Vec::new() });
        } else {
            self.begin(opened);
        }
        Ok(())
    }

    /// All that was recorded, and how often the place of the watch had left the history.
    #[must_use]
    pub fn into_recordings(mut self) -> (Vec<Recording>, usize) {
        self.ended.push(self.recording);
        (self.ended, self.left_behind)
    }

    fn note(&mut self, next: Result<Option<Delivery>, WatchError>) -> Result<(), WatchError> {
        match next {
            Ok(Some(delivery)) => self.step(Step::Told(delivery)),
            Ok(None) => self.step(Step::Waited),
            Err(WatchError::Compacted { wanted, oldest }) if oldest > wanted => {
                let (cursor, after) = at_or_after(&self.engine, &self.recording.selection, oldest)?;
                self.cursor = cursor;
                self.begin(after);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn begin(&mut self, after: Revision) {
        self.left_behind += 1;
        let selection = self.recording.selection.clone();
        let anew = Recording { selection, pieces: vec![Piece { after, steps: Vec::new() }] };
        self.ended.push(std::mem::replace(&mut self.recording, anew));
    }

    fn step(&mut self, step: Step) {
        if let Some(piece) = self.recording.pieces.last_mut() {
            piece.steps.push(step);
        }
    }
}

/// A cursor after a revision, or after the edge that is named where that revision has left the history.
fn at_or_after(engine: &Engine, selection: &Selection, after: Revision) -> Result<(Cursor, Revision), WatchError> {
    let mut from = after;
    for _ in 0..EDGES {
        match engine.watch(selection.clone(), from) {
            Err(WatchError::Compacted { wanted, oldest }) if wanted == from && oldest > wanted => from = oldest,
            other => return other.map(|cursor| (cursor, from)),
        }
    }
    Err(WatchError::Compacted { wanted: after, oldest: from })
}
