//! What can be saved of a damaged log, and what is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::Revision;

use super::disk::{Disk, read_all};
use super::frame::{self, Found};
use super::header::{HEADER, Header, Role, SPARE, number_of, segment_name};
use super::inspect::Inspection;
use super::record::{Entry, Reader};
use super::recover::read_group;
use super::snapshot;
use crate::engine::{HistoryLimit, Restoring, Snapshot};
use crate::select::Within;
use crate::storage::{Group, OpenError, Restore};

/// Above everything that is known to have been given out, so much more is left out: relaxed writes are told before they
/// are durable, from a reservation that may be among what is lost.
const MARGIN: u64 = 1 << 21;

/// What can be saved of a log: the newest state that its whole groups lead to without a gap. It is a state that there
/// was, even if it is the empty one.
///
/// Nothing is changed where it comes from. History is not saved: whoever watches lists anew, or goes on from the newest
/// revision that was saved.
#[non_exhaustive]
pub struct Salvage {
    state: Snapshot,
    /// What is lost; none when all damage is in what the rest does not need.
    pub lost: Option<Loss>,
    /// The store goes on above this revision: no reader can have been told of a higher one.
    pub resumes_above: Revision,
}

/// What is lost of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The first group that is lost, with everything after it.
    pub first_group: u64,
    /// The newest group that is known to be lost; there may have been more.
    pub last_group: u64,
    /// The newest revision that is known to be lost; there may have been more.
    pub last_revision: Option<Revision>,
}

impl Salvage {
    /// Reads everything that is whole in a log.
    ///
    /// # Errors
    /// [`OpenError::Io`] when a file cannot be read at all; [`OpenError::Format`] when a later version has written it.
    pub fn of(log: &Inspection) -> Result<Self, OpenError> {
        let pieces = Pieces::read(log)?;
        let mut saved: Option<Restoring> = None;
        for start in log.names(Role::Snapshot).map(Some).chain([None]) {
            let Some(restored) = pieces.restore(log, start)? else { continue };
            // the oldest of those that come as far says the most about its deletions
            if saved.as_ref().is_none_or(|saved| saved.newest_group() < restored.newest_group()) {
                saved = Some(restored);
            }
        }
        let saved = saved.unwrap_or_else(empty);
        let lost = pieces.loss(saved.newest_group());
        let group = saved.newest_group().max(pieces.newest).max(1); // no number is used twice
        let told = saved.told().max(pieces.told);
        let resumes_above = Revision(told.0.saturating_add(pieces.bytes).saturating_add(MARGIN));
        let mut restore = Restore(saved);
        restore.number(group);
        restore.reserved(resumes_above);
        Ok(Self { state: restore.0.into_snapshot(), lost, resumes_above })
    }

    /// The newest revision that is saved.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.state.revision()
    }

    /// How many objects are saved.
    #[must_use]
    pub fn objects(&self) -> usize {
        let everywhere = &Within::Everywhere;
        self.state.resources().iter().map(|resource| self.state.count(resource, everywhere)).sum()
    }

    /// Writes what is saved as a log of its own. Its place must be empty.
    ///
    /// # Errors
    /// [`OpenError::Io`]; then what was written is to be removed.
    pub fn write(&self, to: &Arc<dyn Disk>) -> Result<(), OpenError> {
        let written = snapshot::write(&**to, &self.state).and_then(|_| {
            let mut file = to.create(SPARE)?;
            let header = Header { role: Role::Segment, file: 1, group: self.state.group() + 1, revision: 0 };
            file.write(0, &header.write())?;
            file.sync()?;
            to.rename(SPARE, &segment_name(1))?;
            to.sync_names()
        });
        written.map_err(|source| OpenError::Io { place: to.place(), source })
    }
}

/// Everything in the segments of a log that is whole.
struct Pieces {
    groups: BTreeMap<u64, Group>,
    /// The newest group that the segments speak of, whether it is whole or not.
    newest: u64,
    /// No reader was told of a revision above this one by anything that is whole.
    told: Revision,
    /// How many bytes the segments have. Each revision takes more than one.
    bytes: u64,
}

impl Pieces {
    fn read(log: &Inspection) -> Result<Self, OpenError> {
        let mut pieces = Self { groups: BTreeMap::new(), newest: 0, told: Revision::ZERO, bytes: 0 };
        let read = |name: &str| {
            let place = format!("{}/{name}", log.disk().place());
            let file = log.disk().open(name).and_then(|mut file| read_all(&mut *file));
            file.map_err(|source| OpenError::Io { place: place.clone(), source }).map(|bytes| (place, bytes))
        };
        for name in log.names(Role::Snapshot) {
            pieces.snapshot(name, &read(name)?.1);
        }
        for name in log.names(Role::Segment) {
            let (place, bytes) = read(name)?;
            pieces.bytes += bytes.len() as u64;
            // where the header is damaged, the name says which number it has, and the frames whether they belong to it
            match Header::read(Role::Segment, &place, &bytes) {
                Ok(header) => pieces.newest = pieces.newest.max(header.group.saturating_sub(1)),
                Err(error @ OpenError::Format { .. }) => return Err(error),
                Err(_) => {}
            }
            pieces.segment(&place, number_of(Role::Segment, name).unwrap_or(0), &bytes);
        }
        Ok(pieces)
    }

    /// Takes every whole frame of a segment, also those after a broken one.
    fn segment(&mut self, place: &str, file: u64, bytes: &[u8]) {
        let (mut at, mut end) = (HEADER, HEADER);
        let mut reader = Reader::default();
        while at < bytes.len() {
            let Found::Frame(frame) = frame::find(bytes, at, file) else {
                at = frame::next_mark(bytes, at + 1, file);
                continue;
            };
            (at, end) = (frame.range.end, frame.range.end);
            self.newest =
                self.newest.max(frame.head.number.saturating_sub(frame.head.last.into())).max(frame.head.durable);
            let Ok(group) = read_group(&mut reader, place, &frame) else { continue };
            for record in &group.records {
                self.told = self.told.max(record.revision);
            }
            self.told = self.told.max(group.reserved.unwrap_or_default()).max(group.resumed.unwrap_or_default());
            if !frame.head.last {
                self.groups.insert(group.number, group);
            }
        }
        while matches!(frame::find(bytes, end, file), Found::Broken) && !frame::is_torn(bytes, end, file) {
            let Some((number, next)) = frame::head_at(bytes, end, file) else {
                self.newest += 1; // nobody can tell what it was, nor what came after it
                return;
            };
            (end, self.newest) = (next, self.newest.max(number));
        }
    }

    /// Takes from a snapshot, whole or not, how far revisions and groups have come.
    fn snapshot(&mut self, name: &str, bytes: &[u8]) {
        self.newest = self.newest.max(number_of(Role::Snapshot, name).unwrap_or(0));
        let field = bytes.get(32..40).and_then(|field| field.first_chunk()).map(|field| u64::from_le_bytes(*field));
        // not believed where it is beyond all measure: then it is the header that is damaged
        self.told = self.told.max(Revision(field.filter(|revision| *revision < 1 << 53).unwrap_or(0)));
        let (mut at, mut reader) = (HEADER, Reader::default());
        while at < bytes.len() {
            let Found::Frame(frame) = frame::find(bytes, at, 0) else {
                at = frame::next_mark(bytes, at + 1, 0);
                continue;
            };
            at = frame.range.end;
            for entry in reader.entries(frame.payload).unwrap_or_default() {
                self.told = self.told.max(revision_of(&entry));
            }
        }
    }

    /// The state that a snapshot, or nothing, and the groups after it lead to; none where the snapshot is damaged.
    fn restore(&self, log: &Inspection, start: Option<&str>) -> Result<Option<Restoring>, OpenError> {
        let mut restore = Restore(empty());
        match start.map(|name| snapshot::read(log.disk(), name, &mut restore)) {
            Some(Err(error @ (OpenError::Io { .. } | OpenError::Format { .. }))) => return Err(error),
            Some(Err(_)) => return Ok(None),
            None | Some(Ok(())) => {}
        }
        while let Some(group) = self.groups.get(&(restore.newest_group() + 1)) {
            restore.group(group);
        }
        Ok(Some(restore.0))
    }

    fn loss(&self, saved: u64) -> Option<Loss> {
        let lost = self.groups.range(saved + 1..).flat_map(|(_, group)| &group.records);
        let last_revision = lost.map(|record| record.revision).max();
        (self.newest > saved).then_some(Loss { first_group: saved + 1, last_group: self.newest, last_revision })
    }
}

fn empty() -> Restoring {
    Restoring::new(HistoryLimit { window: Duration::ZERO, bytes: 0 })
}

fn revision_of(entry: &Entry) -> Revision {
    match entry {
        Entry::Put { revision, .. } | Entry::Delete { revision, .. } => *revision,
        Entry::Reserved(revision) | Entry::Resumed(revision) => *revision,
        Entry::LastEvent(_, revision) | Entry::Lost(_, revision) => *revision,
        Entry::Counter(..) => Revision::ZERO,
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "group {} and everything after it, at least to group {}", self.first_group, self.last_group)?;
        self.last_revision.map_or(Ok(()), |revision| write!(f, " and revision {revision}"))
    }
}
