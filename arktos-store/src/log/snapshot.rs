//! Snapshot files: one state, written beside the log while it is appended to.

use std::collections::HashMap;
use std::io;

use arktos_core::{Revision, Timestamp};

use super::disk::{Disk, DiskFile, read_all};
use super::frame::{self, Found};
use super::header::{HEADER, Header, Role, UNFINISHED, damaged, snapshot_name};
use super::record::{self, Entry, Reader};
use crate::engine::Snapshot;
use crate::select::Within;
use crate::storage::{OpenError, Restore};

/// About how large the frames of a snapshot are.
const FRAME: usize = 1 << 20;

/// Writes a state as a snapshot. Gives back how many bytes it has.
pub(super) fn write(disk: &dyn Disk, state: &Snapshot) -> io::Result<u64> {
    let header = Header { role: Role::Snapshot, file: 0, group: state.group(), revision: state.revision().0 };
    let mut file = disk.create(UNFINISHED)?;
    file.write(0, &header.write())?;
    let mut writer = Writer { file, at: HEADER as u64, number: 1, buffer: Vec::new() };
    frame::begin(&mut writer.buffer);
    let expiries: HashMap<Revision, Timestamp> = state.expiries().map(|(at, revision)| (revision, at)).collect();
    record::write_reserved(&mut writer.buffer, state.reserved());
    for (after, resumed) in state.lost() {
        record::write_lost(&mut writer.buffer, after, resumed);
    }
    for (counter, value) in state.counters() {
        record::write_counter(&mut writer.buffer, counter, value);
        writer.flush_when_full()?;
    }
    for (resource, last) in state.last_events() {
        record::write_last_event(&mut writer.buffer, resource, last);
        for stored in state.range(resource, &Within::Everywhere, None) {
            let expires = expiries.get(&stored.revision).copied();
            record::write_put(&mut writer.buffer, stored.revision, resource, &stored.path, &stored.object, expires);
            writer.flush_when_full()?;
        }
    }
    writer.flush(true)?;
    writer.file.sync()?;
    drop(writer.file);
    disk.rename(UNFINISHED, &snapshot_name(state.group()))?;
    disk.sync_names()?;
    Ok(writer.at)
}

struct Writer {
    file: Box<dyn DiskFile>,
    at: u64,
    number: u64,
    buffer: Vec<u8>,
}

impl Writer {
    fn flush_when_full(&mut self) -> io::Result<()> {
        if self.buffer.len() < FRAME { Ok(()) } else { self.flush(false) }
    }

    fn flush(&mut self, last: bool) -> io::Result<()> {
        let head = frame::Head { file: 0, number: self.number, durable: 0, time: Timestamp::default(), last };
        frame::end(&mut self.buffer, head);
        self.file.write(self.at, &self.buffer)?;
        self.at += self.buffer.len() as u64;
        self.number += 1;
        frame::begin(&mut self.buffer);
        Ok(())
    }
}

/// How many bytes a snapshot has.
pub(super) fn size(disk: &dyn Disk, group: u64) -> io::Result<u64> {
    disk.open(&snapshot_name(group))?.size()
}

/// Reads all of a snapshot, a frame at a time. Gives back the byte at which it is not as it was written, if there is
/// one.
pub(super) fn damage(disk: &dyn Disk, name: &str) -> io::Result<Option<u64>> {
    let mut file = disk.open(name)?;
    let size = file.size()?;
    let mut bytes = vec![0; HEADER];
    let read = file.read(0, &mut bytes)?;
    if Header::read(Role::Snapshot, name, bytes.get(..read).unwrap_or_default()).is_err() {
        return Ok(Some(0));
    }
    let mut at = HEADER as u64;
    for number in 1.. {
        bytes.resize(frame::HEAD, 0);
        file.read(at, &mut bytes)?;
        let length = frame::rest_of(&bytes, 0).map(|rest| rest + frame::HEAD as u64);
        let Some(length) = length.filter(|length| at + length <= size) else { return Ok(Some(at)) };
        bytes.resize(usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?, 0);
        file.read(at, &mut bytes)?;
        match frame::find(&bytes, 0, 0) {
            Found::Frame(frame) if frame.head.number == number && frame.head.last => break,
            Found::Frame(frame) if frame.head.number == number => at += length,
            _ => return Ok(Some(at)),
        }
    }
    Ok(None)
}

/// Reads a snapshot's header alone.
pub(super) fn read_header(disk: &dyn Disk, name: &str) -> Result<Header, OpenError> {
    let place = format!("{}/{name}", disk.place());
    let io = |source| OpenError::Io { place: place.clone(), source };
    let mut bytes = [0; HEADER];
    let read = disk.open(name).map_err(io)?.read(0, &mut bytes).map_err(io)?;
    Header::read(Role::Snapshot, &place, bytes.get(..read).unwrap_or_default())
}

/// Restores the state that a snapshot has.
pub(super) fn read(disk: &dyn Disk, name: &str, restore: &mut Restore) -> Result<(), OpenError> {
    let place = format!("{}/{name}", disk.place());
    let bytes = disk
        .open(name)
        .and_then(|mut file| read_all(&mut *file))
        .map_err(|source| OpenError::Io { place: place.clone(), source })?;
    let header = Header::read(Role::Snapshot, &place, &bytes)?;
    let mut reader = Reader::default();
    let (mut at, mut number) = (HEADER, 1);
    loop {
        let Found::Frame(frame) = frame::find(&bytes, at, 0) else {
            return Err(damaged(&place, format!("the frame at byte {at} is not whole")));
        };
        if frame.head.number != number {
            return Err(damaged(&place, format!("frame {number} is missing at byte {at}")));
        }
        let entries = reader.entries(frame.payload);
        for entry in entries.ok_or_else(|| damaged(&place, format!("the frame at byte {at} has unknown entries")))? {
            take(restore, entry);
        }
        (at, number) = (frame.range.end, number + 1);
        if frame.head.last {
            break;
        }
    }
    restore.revision(Revision(header.revision));
    restore.number(header.group);
    Ok(())
}

fn take(restore: &mut Restore, entry: Entry) {
    match entry {
        Entry::Put { revision, key, object, expires } => {
            let stored = crate::select::Stored { path: key.path, revision, object };
            restore.object(&key.resource, stored, expires);
        }
        Entry::Counter(counter, value) => restore.counter(&counter, value),
        Entry::Reserved(reserved) => restore.reserved(reserved),
        Entry::LastEvent(resource, revision) => restore.last_event(&resource, revision),
        Entry::Lost(after, resumed) => restore.lost(after, resumed),
        Entry::Delete { .. } | Entry::Resumed(_) => {} // not in snapshots
    }
}
