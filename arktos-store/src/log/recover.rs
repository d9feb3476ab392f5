//! What is found when the log is opened, and what is made of it.

use std::collections::VecDeque;

use super::ahead::{Ahead, read_ahead};
use super::apart::{Decoded, restore_apart};
use super::append::{End, Full, Open};
use super::disk::Disk;
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
    let base = base_snapshot(disk, &names, &segments)?;
    let base_group = base.as_ref().map_or(0, |(_, group)| *group);
    let in_snapshot = files(Role::Snapshot).last().copied().unwrap_or(0);
    // all that is in a segment may be in the snapshot
    let needed = |at: usize| segments.get(at + 1).is_none_or(|next| next.group > base_group + 1);
    let names_needed = segments.iter().enumerate().filter(|(at, _)| needed(*at)).map(|(_, it)| segment_name(it.file));
    let to_read: Vec<String> = base.iter().map(|(name, _)| name.clone()).chain(names_needed).collect();
    let decode = |ahead: &mut Ahead, decoded: &mut Decoded| {
        if let Some((name, group)) = &base {
            read_snapshot(disk, name, *group, ahead, decoded)?;
        }
        let mut loader = Loader::new(disk, ahead, decoded, base_group, in_snapshot);
        let mut full = Vec::new();
        for (at, pair) in segments.windows(2).enumerate() {
            let [segment, next] = pair else { continue };
            if needed(at) {
                loader.full_segment(segment, next.group)?;
            }
            full.push(Full { number: segment.file, last_group: next.group.saturating_sub(1) });
        }
        let open = segments.last().map(|newest| loader.newest_segment(newest)).transpose()?;
        Ok((open, full, loader.closed, loader.bytes))
    };
    let loaded = read_ahead(disk, to_read, |ahead| restore_apart(restore, |decoded| decode(ahead, decoded)));
    let loaded = loaded.and_then(|loaded| loaded).map_err(|source| OpenError::Io { place: disk.place(), source })?;
    let (open, full, closed, bytes) = loaded?;
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

/// The oldest snapshot after which no group is missing, and the group it is of; none where the log is whole by itself.
fn base_snapshot(disk: &dyn Disk, names: &[String], segments: &[Header]) -> Result<Option<(String, u64)>, OpenError> {
    let mut snapshots: Vec<(u64, &String)> =
        names.iter().filter_map(|name| Some((number_of(Role::Snapshot, name)?, name))).collect();
    snapshots.sort_unstable();
    let first_group = segments.first().map_or(u64::MAX, |segment| segment.group);
    if first_group == 1 {
        return Ok(None);
    }
    // one that ends before the log begins is left over
    let base = snapshots.iter().find(|(group, _)| first_group.saturating_sub(1) <= *group);
    match (base, segments.is_empty(), snapshots.is_empty()) {
        (Some((group, name)), ..) => Ok(Some(((*name).clone(), *group))),
        (None, true, true) => Ok(None),
        (None, true, false) => Err(damaged(&disk.place(), "there are snapshots and no log")),
        (None, false, _) => Err(damaged(&disk.place(), format!("everything before group {first_group} is missing"))),
    }
}

fn read_snapshot(
    disk: &dyn Disk,
    name: &str,
    group: u64,
    ahead: &mut Ahead,
    decoded: &mut Decoded,
) -> Result<(), OpenError> {
    let place = format!("{}/{name}", disk.place());
    ahead.next_file().map_err(|source| OpenError::Io { place: place.clone(), source })?;
    let found = snapshot::read_each(&place, ahead, &mut |entry| decoded.entry(entry))?;
    if found.group != group {
        return Err(damaged(&place, format!("byte 24 says that it is of group {}", found.group)));
    }
    decoded.snapshot(found);
    Ok(())
}

struct Loader<'a> {
    disk: &'a dyn Disk,
    ahead: &'a mut Ahead,
    /// The segment that is being read. Its memory is used for all of them.
    buffer: Vec<u8>,
    decoded: &'a mut Decoded,
    /// The newest group that was given.
    newest: u64,
    reader: Reader,
    closed: bool,
    /// The newest group that is in a snapshot.
    in_snapshot: u64,
    /// How many bytes of log there are after it.
    bytes: u64,
    /// The newest groups of a segment that no later one says were durable, and where they begin.
    unsure: VecDeque<(u64, usize)>,
}

impl<'a> Loader<'a> {
    fn new(disk: &'a dyn Disk, ahead: &'a mut Ahead, decoded: &'a mut Decoded, newest: u64, in_snapshot: u64) -> Self {
        let (reader, unsure) = (Reader::default(), VecDeque::new());
        let buffer = Vec::new();
        Self { disk, ahead, buffer, decoded, newest, reader, closed: false, in_snapshot, bytes: 0, unsure }
    }

    /// Reads all of the next segment, and lets `take` look at it under the name it has in messages.
    fn segment<R>(
        &mut self,
        number: u64,
        take: impl FnOnce(&mut Self, &str, &[u8]) -> Result<R, OpenError>,
    ) -> Result<R, OpenError> {
        let place = format!("{}/{}", self.disk.place(), segment_name(number));
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let read = self.ahead.next_file().and_then(|()| self.ahead.take_all(&mut buffer));
        read.map_err(|source| OpenError::Io { place: place.clone(), source })?;
        let taken = take(self, &place, &buffer);
        self.buffer = buffer;
        taken
    }

    /// Reads a segment that another one follows: it is durable from end to end, so that nothing in it may be broken
    /// before the group with which the next one begins.
    fn full_segment(&mut self, segment: &Header, next_group: u64) -> Result<(), OpenError> {
        self.segment(segment.file, |loader, place, bytes| {
            let (at, number) = loader.frames(segment, place, bytes, Some(next_group))?;
            if number == next_group {
                return Ok(());
            }
            let what = format!("groups {number} to {} are missing or broken from byte {at} on", next_group - 1);
            Err(damaged(place, what))
        })
    }

    /// Reads the newest segment. What a crash has left of groups that were never durable is removed.
    fn newest_segment(&mut self, segment: &Header) -> Result<Open, OpenError> {
        self.segment(segment.file, |loader, place, bytes| loader.newest(segment, place, bytes))
    }

    fn newest(&mut self, segment: &Header, place: &str, bytes: &[u8]) -> Result<Open, OpenError> {
        let (at, number) = self.frames(segment, place, bytes, None)?;
        if let Some(witness) = frame::later_witness(bytes, at, segment.file, number) {
            let what = format!("group {number} at byte {at} is broken, and group {witness} says that it was durable");
            return Err(damaged(place, what));
        }
        if matches!(frame::find(bytes, at, segment.file), Found::Broken) && !frame::is_torn(bytes, at, segment.file) {
            let what = format!("group {number} at byte {at} was written whole, and its checksum does not fit");
            return Err(damaged(place, what));
        }
        let io = |source| OpenError::Io { place: place.to_owned(), source };
        let mut file = self.disk.open(&segment_name(segment.file)).map_err(io)?;
        let rest = bytes.get(at..).unwrap_or_default();
        if let Some(last) = last_not_zero(rest) {
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
        if frame.head.number <= self.newest {
            return Ok(()); // in the snapshot
        }
        self.newest = frame.head.number;
        self.decoded.group(read_group(&mut self.reader, place, frame)?);
        Ok(())
    }
}

/// Where the last byte that is not zero stands. Looks at many bytes at a time: most of a segment may be zeros.
fn last_not_zero(bytes: &[u8]) -> Option<usize> {
    let mut end = bytes.len();
    for piece in bytes.rchunks(4096) {
        let start = end - piece.len();
        if piece.iter().fold(0, |all, byte| all | byte) != 0 {
            return piece.iter().rposition(|byte| *byte != 0).map(|at| start + at);
        }
        end = start;
    }
    None
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

#[cfg(test)]
mod tests {
    use super::last_not_zero;

    #[test]
    fn the_last_byte_is_found_wherever_it_stands() {
        for length in [0, 1, 4095, 4096, 4097, 10_000] {
            let mut bytes = vec![0; length];
            assert_eq!(last_not_zero(&bytes), None);
            for at in [0, 1, 1807, 4095, 4096, 9999].into_iter().filter(|at| *at < length) {
                bytes[at] = 1;
                assert_eq!(last_not_zero(&bytes), Some(at), "of {length}");
            }
        }
    }
}
