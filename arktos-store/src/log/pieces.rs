//! The groups of a log, read in order from the files of any directories: stores, also such as a process is using, and
//! archives. Nothing is changed and nothing is locked.

use std::fs::{self, File};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::frame::{self, Found};
use super::header::{HEADER, Header, Role, damaged, number_of, refuse_unfinished};
use super::record::Reader;
use super::recover::read_group;
use crate::storage::{Group, OpenError};

/// A file with a piece of a log, or with a state of it.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub path: PathBuf,
    pub header: Header,
}

/// What directories have of a log.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// In the order of their first groups.
    pub segments: Vec<Piece>,
    /// Oldest first.
    pub snapshots: Vec<Piece>,
}

impl Pieces {
    /// Looks for pieces in directories.
    pub(crate) fn find(directories: &[PathBuf]) -> Result<Self, OpenError> {
        let mut found = Self::default();
        for directory in directories {
            let io = |source| OpenError::Io { place: directory.display().to_string(), source };
            let mut names = Vec::new();
            for entry in fs::read_dir(directory).map_err(io)? {
                names.extend(entry.map_err(io)?.file_name().into_string());
            }
            refuse_unfinished(&directory.display().to_string(), &names)?;
            for name in &names {
                let path = directory.join(name);
                if is_segment(name) {
                    found.segments.extend(Piece::read(Role::Segment, path)?);
                } else if number_of(Role::Snapshot, name).is_some() {
                    found.snapshots.extend(Piece::read(Role::Snapshot, path)?);
                }
            }
        }
        found.segments.sort_unstable_by_key(|piece| (piece.header.group, piece.header.file));
        found.snapshots.sort_unstable_by_key(|piece| piece.header.group);
        Ok(found)
    }

    /// Whether the log is there from its very beginning.
    pub(crate) fn is_from_the_first(&self) -> bool {
        self.segments.first().is_some_and(|piece| piece.header.group == 1)
    }

    /// Makes durable what was read: a process that is using the log may not have done so yet with its newest piece.
    pub(crate) fn make_durable(&self) -> Result<(), OpenError> {
        let Some(newest) = self.segments.last() else { return Ok(()) };
        let synced = File::open(&newest.path).and_then(|file| file.sync_data());
        synced.map_err(|source| OpenError::Io { place: newest.path.display().to_string(), source })
    }

    /// Gives the groups after a group to a function, in order, until it has enough or nothing whole follows. Gives back
    /// the number of the group that would have been next.
    pub(crate) fn replay(
        &self,
        after: u64,
        take: &mut dyn FnMut(Group) -> Result<ControlFlow<()>, OpenError>,
    ) -> Result<u64, OpenError> {
        let mut next = after + 1;
        let mut reader = Reader::default();
        let mut broken = String::new();
        for (at, piece) in self.segments.iter().enumerate() {
            let later = self.segments.get(at + 1..).unwrap_or_default();
            let begins = piece.header.group;
            if later.iter().any(|later| later.header.group > begins && later.header.group <= next) {
                continue; // all that is in it was read, or comes before
            }
            if begins > next {
                let what = format!(
                    "groups {next} to {} are missing before it{broken}. They are in another directory, or this piece \
                     is of another store, or of a later life of this one",
                    begins - 1
                );
                return Err(damaged(&piece.path.display().to_string(), what));
            }
            let last = later.iter().all(|later| later.header.group == begins);
            match piece.groups(&mut next, last, &mut reader, take)? {
                ControlFlow::Break(()) => return Ok(next),
                ControlFlow::Continue(None) => {}
                ControlFlow::Continue(Some(at)) => {
                    broken = format!(" ({} is not whole from byte {at} on)", piece.path.display());
                }
            }
        }
        Ok(next)
    }
}

impl Piece {
    /// A backup.
    pub(crate) fn of_backup(path: &Path) -> Result<Self, OpenError> {
        let gone = || OpenError::Io { place: path.display().to_string(), source: std::io::ErrorKind::NotFound.into() };
        Self::read(Role::Snapshot, path.to_owned())?.ok_or_else(gone)
    }

    /// Reads a file's header. None when the file has gone meanwhile.
    fn read(role: Role, path: PathBuf) -> Result<Option<Self>, OpenError> {
        let place = path.display().to_string();
        let mut start = Vec::with_capacity(HEADER);
        match File::open(&path).and_then(|file| file.take(HEADER as u64).read_to_end(&mut start)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::Io { place, source }),
            Ok(_) => {}
        }
        let header = Header::read(role, &place, &start)?;
        Ok(Some(Self { path, header }))
    }

    /// Gives the groups of a segment from the `next` one on. `last` says that no other segment begins after it. Says
    /// from which byte on it is not whole, if it is not.
    fn groups(
        &self,
        next: &mut u64,
        last: bool,
        reader: &mut Reader,
        take: &mut dyn FnMut(Group) -> Result<ControlFlow<()>, OpenError>,
    ) -> Result<ControlFlow<(), Option<usize>>, OpenError> {
        let place = self.path.display().to_string();
        let bytes = fs::read(&self.path).map_err(|source| OpenError::Io { place: place.clone(), source })?;
        if bytes.get(..HEADER) != Some(self.header.write().as_slice()) {
            return Err(damaged(&place, "it has become another segment while it was read"));
        }
        let (mut at, mut number, file) = (HEADER, self.header.group, self.header.file);
        while let Found::Frame(frame) = frame::find(&bytes, at, file) {
            if frame.head.number != number {
                return Err(damaged(&place, format!("group {number} is missing at byte {at}")));
            }
            at = frame.range.end;
            if frame.head.last {
                continue;
            }
            number += 1;
            if frame.head.number < *next {
                continue;
            }
            let group = read_group(reader, &place, &frame)?;
            *next = number;
            if take(group)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if last {
            self.end_is_sound(&place, &bytes, at, number)?;
        }
        let broken = matches!(frame::find(&bytes, at, file), Found::Broken);
        Ok(ControlFlow::Continue(broken.then_some(at)))
    }

    /// What is not whole at the end of the newest segment is a write that was not finished, or damage.
    fn end_is_sound(&self, place: &str, bytes: &[u8], at: usize, number: u64) -> Result<(), OpenError> {
        let file = self.header.file;
        if let Some(witness) = frame::later_witness(bytes, at, file, number) {
            let what = format!("group {number} at byte {at} is broken, and group {witness} says that it was durable");
            return Err(damaged(place, what));
        }
        if matches!(frame::find(bytes, at, file), Found::Broken) && !frame::is_torn(bytes, at, file) {
            let what = format!("group {number} at byte {at} was written whole, and its checksum does not fit");
            return Err(damaged(place, what));
        }
        Ok(())
    }
}

fn is_segment(name: &str) -> bool {
    number_of(Role::Segment, name).is_some() || name.strip_prefix("segment-").is_some_and(|digits| digits.len() == 16)
}
