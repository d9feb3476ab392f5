//! A new store, made of a backup and the log after it.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use arktos_core::{Revision, Timestamp};

use super::{EVERY, Progress, count, empty, not_a_backup, read_base};
use crate::log::pieces::{Piece, Pieces};
use crate::log::snapshot::Contents;
use crate::log::{Directory, Disk, restore as target};
use crate::storage::{Group, OpenError, Restore};

/// How far above everything that anyone may have been told a restored store goes on.
const JUMP: u64 = 1_000_000_000;
/// The highest revision a store may go on at: there must be room above it for all that is still to be written.
const HIGHEST: u64 = 1 << 62;

/// What is restored, and how far.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// The backup. Without one, the oldest state in `logs` is where to begin.
    pub backup: Option<PathBuf>,
    /// Directories with the log: archives, stores that no process writes to, or copies of them. They may overlap.
    pub logs: Vec<PathBuf>,
    /// How far to go.
    pub until: Until,
    /// A revision that someone may have been told, where it is known better than from what is restored.
    pub above: Revision,
    /// The time now.
    pub now: Timestamp,
}

impl RestoreOptions {
    /// Nothing yet, to be restored up to the end.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { backup: None, logs: Vec::new(), until: Until::End, above: Revision::ZERO, now }
    }
}

/// How far to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Until {
    /// To the end of what there is.
    #[default]
    End,
    /// Exactly the writes up to this revision.
    Revision(Revision),
    /// Everything that was put together up to this time, by the store's clock.
    Time(Timestamp),
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The revision, in the old store, of the state that was restored.
    pub from: Revision,
    /// When the last group in it was put together; none where nothing of the log was needed.
    pub time: Option<Timestamp>,
    /// The state ends between writes that became durable together: a commit of several writes may be cut in two.
    pub in_group: bool,
    /// How many objects there are.
    pub objects: u64,
    /// The revision at which the new store goes on; every earlier one is answered with 410.
    pub revision: Revision,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// What was to be restored cannot be read.
    #[error(transparent)]
    Source(#[from] OpenError),
    /// There is no state to begin with.
    #[error("{place} has no state to begin with: give a backup as well")]
    Nothing {
        /// The directories.
        place: String,
    },
    /// The directory is not empty.
    #[error("{place} is not empty: restore into an empty directory, then move it to where the store is to be")]
    NotEmpty {
        /// The directory.
        place: String,
    },
    /// Another process is at work in the directory.
    #[error("{place} is in use by another process")]
    InUse {
        /// The directory.
        place: String,
    },
    /// The state to begin with is later than what was asked for.
    #[error("{place} is of revision {revision}, taken at {time}, later than asked for: begin with an earlier backup")]
    TooLate {
        /// The file.
        place: String,
        /// Its revision.
        revision: Revision,
        /// When it was taken.
        time: String,
    },
    /// What there is does not go so far.
    #[error(
        "revision {wanted} is not reached: the newest there is is {newest}. Give the directories with the log after \
         it, the store's own as well"
    )]
    NotReached {
        /// The revision that was asked for.
        wanted: Revision,
        /// The newest revision there is.
        newest: Revision,
    },
    /// There is no room for revisions above.
    #[error("a store cannot go on above revision {told}: that leaves no room for revisions to come")]
    NoRoom {
        /// The highest revision that was told, or the one that was given.
        told: Revision,
    },
    /// The new store, or the backup, cannot be written.
    #[error("{place} cannot be written: {source}. Make room, and run it again")]
    Write {
        /// The directory.
        place: String,
        /// Why.
        source: io::Error,
    },
}

/// Makes a new store in a directory, which is made where it is not there and must be empty. When it returns the store
/// is durable; when it does not, the directory is empty, or refuses to be opened until the restore was run again. Needs
/// as much memory as the state takes.
///
/// # Errors
/// [`RestoreError`], which says what to do.
pub fn restore(
    options: &RestoreOptions,
    into: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Restored, RestoreError> {
    let place = into.display().to_string();
    let disk = Directory::new(into).map_err(|source| RestoreError::Write { place, source })?;
    restore_on(options, &disk, progress)
}

/// As [`restore`], on a disk of one's own.
///
/// # Errors
/// As [`restore`].
pub fn restore_on(
    options: &RestoreOptions,
    into: &dyn Disk,
    progress: &mut dyn FnMut(Progress),
) -> Result<Restored, RestoreError> {
    let place = into.place();
    let write = |source| RestoreError::Write { place: place.clone(), source };
    let Some(_lock) = into.lock().map_err(write)? else { return Err(RestoreError::InUse { place }) };
    if !target::is_free(into).map_err(write)? {
        return Err(RestoreError::NotEmpty { place });
    }
    let found = Found::read(options, progress)?;
    let told = found.told.max(options.above);
    let clock = u64::try_from(options.now.as_micros()).unwrap_or(0);
    let base = told.0.saturating_add(JUMP).max(clock);
    if base > HIGHEST {
        return Err(RestoreError::NoRoom { told });
    }
    let from = found.restore.0.newest();
    let group = found.groups.saturating_add(JUMP).max(clock);
    let state = found.restore.0.into_new(Revision(base), group);
    let objects = count(&state);
    target::make(into, &state, &mut |written| progress(Progress::Writing(written, objects))).map_err(write)?;
    Ok(Restored { from, time: found.time, in_group: found.in_group, objects, revision: state.revision() })
}

/// What was read.
struct Found {
    /// The state that was asked for.
    restore: Restore,
    /// The highest revision that anyone may have been told, as far as there is anything to read.
    told: Revision,
    /// The number of the newest group there is.
    groups: u64,
    /// When the last group of the state was put together.
    time: Option<Timestamp>,
    in_group: bool,
}

impl Found {
    fn read(options: &RestoreOptions, progress: &mut dyn FnMut(Progress)) -> Result<Self, RestoreError> {
        let pieces = Pieces::find(&options.logs)?;
        let mut restore = empty();
        let base = base(options, &pieces)?;
        let contents = match &base {
            Some(piece) => Some(read_base(piece, &mut restore, progress).map_err(|error| match error {
                RestoreError::Source(error) => RestoreError::Source(not_a_backup(error)),
                other => other,
            })?),
            None => None,
        };
        let told = restore.0.told();
        let mut found = Self { groups: restore.0.newest_group(), restore, told, time: None, in_group: false };
        let reached = found.replay(options, &pieces, progress)?;
        if let (Some(piece), Some(contents)) = (&base, &contents) {
            found.not_too_late(options.until, piece, contents)?;
        }
        match options.until {
            Until::Revision(wanted) if !reached && found.restore.0.newest() < wanted => {
                Err(RestoreError::NotReached { wanted, newest: found.restore.0.newest() })
            }
            _ => Ok(found),
        }
    }

    /// Reads the log: up to the goal into the state, and beyond it for what was told. Says whether the goal was
    /// reached.
    fn replay(
        &mut self,
        options: &RestoreOptions,
        pieces: &Pieces,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, RestoreError> {
        let (mut reached, mut count) = (false, 0);
        let replayed = pieces.replay(self.groups, &mut |group| {
            count += 1;
            if count % EVERY == 0 {
                progress(Progress::Replaying(count));
            }
            self.groups = group.number;
            let newest = group.records.last().map(|record| record.revision);
            for told in [newest, group.reserved, group.resumed].into_iter().flatten() {
                self.told = self.told.max(told);
            }
            reached = reached || self.take(group, options.until);
            Ok(ControlFlow::Continue(()))
        });
        match replayed {
            // what is beyond the goal only helps to know how high revisions have been
            Err(_) if reached => Ok(true),
            other => other.map(|_| reached).map_err(RestoreError::from),
        }
    }

    /// Takes as much of a group as belongs to the state. Says whether the goal lies before its end.
    fn take(&mut self, mut group: Group, until: Until) -> bool {
        let state = &mut self.restore.0;
        let beyond = match until {
            Until::End => false,
            Until::Time(time) => group.time > time,
            Until::Revision(wanted) => {
                let first = group.resumed.or(group.records.first().map(|record| record.revision));
                first.is_some_and(|first| first > wanted)
            }
        };
        if beyond {
            return true;
        }
        self.time = Some(group.time);
        if let Until::Revision(wanted) = until {
            let all = group.records.len();
            group.records.retain(|record| record.revision <= wanted);
            self.in_group = group.records.len() < all;
            if self.in_group {
                // no revision says when a counter changed: the highest value never gives anything out twice
                for at in 0..group.counters.len() {
                    let (name, _) = group.counters[at].clone();
                    let values = group.counters.iter().filter(|(known, _)| *known == name).map(|(_, value)| *value);
                    let highest = values.max().unwrap_or(0).max(state.counter_now(&name));
                    group.counters[at].1 = highest;
                }
            }
        }
        state.group(&group);
        self.in_group
    }

    /// The state to begin with must not be later than the goal.
    fn not_too_late(&self, until: Until, piece: &Piece, contents: &Contents) -> Result<(), RestoreError> {
        let unknown = contents.time == Timestamp::default();
        let late = match until {
            Until::End => false,
            Until::Revision(wanted) => contents.revision > wanted,
            // a state of the store's own does not say when it was; the group after it does
            Until::Time(time) => contents.time > time || (unknown && self.time.is_none()),
        };
        if !late {
            return Ok(());
        }
        let time = if unknown { "a time it does not say".to_owned() } else { contents.time.to_micro_string() };
        Err(RestoreError::TooLate { place: piece.path.display().to_string(), revision: contents.revision, time })
    }
}

/// The state to begin with: the backup, or what the directories have. None for the empty one.
fn base(options: &RestoreOptions, pieces: &Pieces) -> Result<Option<Piece>, RestoreError> {
    if let Some(backup) = &options.backup {
        return Ok(Some(Piece::of_backup(backup)?));
    }
    if pieces.is_from_the_first() {
        return Ok(None);
    }
    let nothing = || {
        let places: Vec<String> = options.logs.iter().map(|place| place.display().to_string()).collect();
        RestoreError::Nothing { place: places.join(", ") }
    };
    pieces.snapshots.first().cloned().map(Some).ok_or_else(nothing)
}
