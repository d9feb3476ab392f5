//! What is found when the log is opened, and what is made of it.

use std::collections::VecDeque;

use super::append::{End, Full, Open};
use super::disk::{Disk, DiskFile, read_all};
use super::frame::{self, Found, Frame};
use super::header::{
    HEADER, Header, OLD, Role, SPARE, UNFINISHED, damaged, number_of, refuse_unfinished, segment_name,
};
use super::record::{Entry, Reader};
use super::snapshot;
use crate::commit::Change;
use crate::storage::{Group, OpenError, Record, Restore};

/// Restores everything: the oldest snapshot from which the log is whole, then the log. The older the snapshot, the more
/// history comes back with it; what is older than anybody needs was removed.
pub(super) fn load(disk: &dyn Disk, restore: &mut Restore) -> Result<End, OpenError> {
    let names = disk.list().map_err(|source| OpenError::Io { place: disk.place(), source })?;
    refuse_unfinished(&disk.place(), &names)?;
    let files = |role| {
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(role, name)).collect();
        numbers.sort_unstable();
        numbers
    };
    let segments = read_headers(disk, &files(Role::Segment))?;
    restore_snapshot(disk, &names, &segments, restore)?;
    let in_snapshot = files(Role::Snapshot).last().copied().unwrap_or(0);
    let unsure = VecDeque::new();
    let mut loader = Loader { disk, restore, reader: Reader::default(), closed: false, in_snapshot, bytes: 0, unsure };
    let mut full = Vec::new();
    for pair in segments.windows(2) {
        if let [segment, next] = pair {
            loader.full_segment(segment, next.group)?;
            full.push(Full { number: segment.file, last_group: next.group.saturating_sub(1) });
        }
    }
    let open = segments.last().map(|newest| loader.newest_segment(newest)).transpose()?;
    let (closed, bytes) = (loader.closed, loader.bytes);
    if closed {
        restore.closed();
    }
    // a process that was killed may have named a file and not made the name durable
    disk.sync_names().map_err(|source| OpenError::Io { place: disk.place(), source })?;
    for leftover in [SPARE, OLD, UNFINISHED].into_iter().filter(|name| names.iter().any(|known| known == name)) {
        disk.remove(leftover).map_err(|source| OpenError::Io { place: disk.place(), source })?;
    }
    let newest = segments.last().map_or(0, |newest| newest.file);
    Ok(End { open, newest, group: restore.newest_group(), full, bytes })
}

fn read_headers(disk: &dyn Disk, numbers: &[u64]) -> Result<Vec<Header>, OpenError> {
    let mut segments: Vec<Header> = Vec::with_capacity(numbers.len());
    for number in numbers {
        let name = segment_name(*number);
        let place = format!("{}/{name}", disk.place());
        let io = |source| OpenError::Io { place: place.clone(), source };
        let mut bytes = [0; HEADER];
        let read = disk.open(&name).map_err(io)?.read(0, &mut bytes).map_err(io)?;
        let header = Header::read(Role::Segment, &place, bytes.get(..read).unwrap_or_default())?;
        if header.file != *number {
            return Err(damaged(&place, format!("it is number {} by its header", header.file)));
        }
        if let Some(before) = segments.last()
            && (before.file + 1 != header.file || before.group > header.group)
        {
            return Err(damaged(&place, format!("{} does not come right before it", segment_name(before.file))));
        }
        segments.push(header);
    }
    Ok(segments)
}

/// Restores the oldest snapshot after which no group is missing.
fn restore_snapshot(
    disk: &dyn Disk,
    names: &[String],
    segments: &[Header],
    restore: &mut Restore,
) -> Result<(), OpenError> {
    let mut snapshots: Vec<&String> = names.iter().filter(|name| number_of(Role::Snapshot, name).is_some()).collect();
    snapshots.sort_unstable();
    let first_group = segments.first().map_or(u64::MAX, |segment| segment.group);
    if first_group == 1 {
        return Ok(()); // the log is whole by itself
    }
    for name in &snapshots {
        let group = number_of(Role::Snapshot, name).unwrap_or_default();
        if first_group.saturating_sub(1) > group {
            continue; // left over from before the log
        }
        snapshot::read(disk, name, restore)?;
        return match restore.newest_group() {
            found if found == group => Ok(()),
            found => {
                Err(damaged(&format!("{}/{name}", disk.place()), format!("byte 24 says that it is of group {found}")))
            }
        };
    }
    match (segments.is_empty(), snapshots.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(damaged(&disk.place(), "there are snapshots and no log")),
        (false, _) => Err(damaged(&disk.place(), format!("everything before group {first_group} is missing"))),
    }
}

struct Loader<'a> {
    disk: &'a dyn Disk,
    restore: &'a mut Restore,
    reader: Reader,
    closed: bool,
    /// The newest group that is in a snapshot.
    in_snapshot: u64,
    /// How many bytes of log there are after it.
    bytes: u64,
    /// The newest groups of a segment that no later one says were durable, and where they begin.
    unsure: VecDeque<(u64, usize)>,
}

/// A segment: what it is called in messages, the file, and all that is in it.
type Segment = (String, Box<dyn DiskFile>, Vec<u8>);

impl Loader<'_> {
    fn open(&self, number: u64) -> Result<Segment, OpenError> {
        let name = segment_name(number);
        let place = format!("{}/{name}", self.disk.place());
        let io = |source| OpenError::Io { place: place.clone(), source };
        let mut file = self.disk.open(&name).map_err(io)?;
        let bytes = read_all(&mut *file).map_err(io)?;
        Ok((place, file, bytes))
    }

    /// Reads a segment that another one follows: it is durable from end to end, so that nothing in it may be broken
    /// before the group with which the next one begins.
    fn full_segment(&mut self, segment: &Header, next_group: u64) -> Result<(), OpenError> {
        if next_group <= self.restore.newest_group() + 1 {
            return Ok(()); // all of it is in the snapshot
        }
        let (place, _, bytes) = self.open(segment.file)?;
        let (at, number) = self.frames(segment, &place, &bytes, Some(next_group))?;
        if number == next_group {
            return Ok(());
        }
        Err(damaged(&place, format!("groups {number} to {} are missing or broken from byte {at} on", next_group - 1)))
    }

    /// Reads the newest segment. What a crash has left of groups that were never durable is removed.
    fn newest_segment(&mut self, segment: &Header) -> Result<Open, OpenError> {
        let (place, mut file, bytes) = self.open(segment.file)?;
        let (at, number) = self.frames(segment, &place, &bytes, None)?;
        if let Some(witness) = frame::later_witness(&bytes, at, segment.file, number) {
            let what = format!("group {number} at byte {at} is broken, and group {witness} says that it was durable");
            return Err(damaged(&place, what));
        }
        if matches!(frame::find(&bytes, at, segment.file), Found::Broken) && !frame::is_torn(&bytes, at, segment.file) {
            let what = format!("group {number} at byte {at} was written whole, and its checksum does not fit");
            return Err(damaged(&place, what));
        }
        let io = |source| OpenError::Io { place: place.clone(), source };
        let rest = bytes.get(at..).unwrap_or_default();
        if let Some(last) = rest.iter().rposition(|byte| *byte != 0) {
            self.closed = false;
            tracing::info!(place, at, bytes = last + 1, "removing what a crash has left of an unfinished write");
            file.write(at as u64, &vec![0; last + 1]).map_err(io)?;
        }
        // What was read may be in the system's memory alone. After a sync that failed the system may hold it for clean:
        // only what is written again is sure to be written.
        let unsure = self.unsure.front().map_or(at, |(_, start)| *start);
        file.write(unsure as u64, bytes.get(unsure..at).unwrap_or_default()).map_err(io)?;
        file.sync().map_err(io)?;
        Ok(Open { file, number: segment.file, size: bytes.len() as u64, end: at as u64 })
    }

    /// Reads frames while they are whole. Gives back where they end, and which group was expected there.
    fn frames(
        &mut self,
        segment: &Header,
        place: &str,
        bytes: &[u8],
        until: Option<u64>,
    ) -> Result<(usize, u64), OpenError> {
        let (mut at, mut number) = (HEADER, segment.group);
        self.unsure.clear(); // everything before a segment is durable
        while until.is_none_or(|until| number < until) {
            let Found::Frame(frame) = frame::find(bytes, at, segment.file) else { break };
            if frame.head.number != number {
                let what = format!("group {number} is missing: byte {at} has group {}", frame.head.number);
                return Err(damaged(place, what));
            }
            while self.unsure.front().is_some_and(|(group, _)| *group <= frame.head.durable) {
                self.unsure.pop_front();
            }
            self.unsure.push_back((number, at));
            at = frame.range.end;
            if number > self.in_snapshot {
                self.bytes += frame.range.len() as u64;
            }
            self.closed = frame.head.last;
            if !frame.head.last {
                self.group(place, &frame)?;
                number += 1;
            }
        }
        Ok((at, number))
    }

    fn group(&mut self, place: &str, frame: &Frame<'_>) -> Result<(), OpenError> {
        if frame.head.number <= self.restore.newest_group() {
            return Ok(()); // in the snapshot
        }
        let group = read_group(&mut self.reader, place, frame)?;
        self.restore.group(&group);
        Ok(())
    }
}

/// The group that a frame at a byte of a segment holds.
pub(super) fn read_group(reader: &mut Reader, place: &str, frame: &Frame<'_>) -> Result<Group, OpenError> {
    let at = frame.range.start;
    let entries = reader.entries(frame.payload);
    let entries = entries.ok_or_else(|| damaged(place, format!("the group at byte {at} has unknown entries")))?;
    let mut group = Group { number: frame.head.number, time: frame.head.time, ..Group::default() };
    for entry in entries {
        match entry {
            Entry::Put { revision, key, object, expires } => {
                group.records.push(Record { revision, key, change: Change::Put { object, expires } });
            }
            Entry::Delete { revision, key } => {
                group.records.push(Record { revision, key, change: Change::Delete });
            }
            Entry::Counter(counter, value) => group.counters.push((counter, value)),
            Entry::Reserved(reserved) => group.reserved = Some(reserved),
            Entry::Resumed(resumed) => group.resumed = Some(resumed),
            Entry::LastEvent(..) | Entry::Lost(..) => {} // not in the log
        }
    }
    Ok(group)
}
