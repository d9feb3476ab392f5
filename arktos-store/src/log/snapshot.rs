//! Snapshot files: one state, written beside the log while it is appended to.

use std::io::{self, Read, Write};

use arktos_core::{Revision, Timestamp};

use super::disk::{Disk, DiskFile};
use super::frame::{self, Found};
use super::header::{HEADER, Header, Role, UNFINISHED, damaged, snapshot_name};
use super::record::{self, Entry, Reader};
use crate::engine::Snapshot;
use crate::select::Within;
use crate::storage::{OpenError, Restore};

/// About how large the frames of a snapshot are. Each is flushed by itself: the sync of a commit waits behind what
/// stands in the disk's queue.
const FRAME: usize = 1 << 20;

/// Writes a state as a snapshot. Gives back how many bytes it has.
pub(super) fn write(disk: &dyn Disk, state: &Snapshot) -> io::Result<u64> {
    let mut out = Whole::new(disk.create(UNFINISHED)?);
    write_to(&mut out, state, Timestamp::default(), &mut |_| {})?;
    let bytes = out.at;
    drop(out);
    disk.rename(UNFINISHED, &snapshot_name(state.group()))?;
    disk.sync_names()?;
    Ok(bytes)
}

/// Writes a state, frame by frame, to anything that takes bytes, and flushes each. Says after each frame how many
/// objects were written so far. `time` stands in every frame: a backup says when it was taken.
pub(crate) fn write_to(
    out: &mut dyn Write,
    state: &Snapshot,
    time: Timestamp,
    written: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let header = Header { role: Role::Snapshot, file: 0, group: state.group(), revision: state.revision().0 };
    out.write_all(&header.write())?;
    let mut writer = Writer { out, time, number: 1, objects: 0, buffer: Vec::new(), written };
    frame::begin(&mut writer.buffer);
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
        let before = writer.objects;
        for stored in state.range(resource, &Within::Everywhere, None) {
            let expires = state.expires(stored.revision);
            record::write_put(&mut writer.buffer, stored.revision, resource, &stored.path, &stored.object, expires);
            writer.objects += 1;
            writer.flush_when_full()?;
        }
        if writer.objects - before < state.count(resource, &Within::Everywhere) as u64 {
            // on the word of this file the log goes, and with it the only copy
            return Err(io::Error::other(format!("not all {resource} can be encrypted: the state is not whole")));
        }
    }
    writer.flush(true)
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    time: Timestamp,
    number: u64,
    objects: u64,
    buffer: Vec<u8>,
    written: &'a mut dyn FnMut(u64),
}

impl Writer<'_> {
    fn flush_when_full(&mut self) -> io::Result<()> {
        if self.buffer.len() < FRAME { Ok(()) } else { self.flush(false) }
    }

    fn flush(&mut self, last: bool) -> io::Result<()> {
        let head = frame::Head { file: 0, number: self.number, durable: 0, time: self.time, last };
        frame::end(&mut self.buffer, head);
        self.out.write_all(&self.buffer)?;
        self.out.flush()?;
        self.number += 1;
        frame::begin(&mut self.buffer);
        (self.written)(self.objects);
        Ok(())
    }
}

/// A file, written or read from its beginning.
pub(super) struct Whole {
    file: Box<dyn DiskFile>,
    at: u64,
}

impl Whole {
    pub(super) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, at: 0 }
    }
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// Makes it durable.
    fn flush(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Read for Whole {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(self.at, into)?;
        self.at += read as u64;
        Ok(read)
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
            Found::Frame(frame) if frame.head.number == number && frame.head.last => {
                return Ok((at + length < size).then_some(at + length)); // nothing may follow it
            }
            Found::Frame(frame) if frame.head.number == number => at += length,
            _ => return Ok(Some(at)),
        }
    }
    Ok(Some(at))
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
    let file = disk.open(name).map_err(|source| OpenError::Io { place: place.clone(), source })?;
    read_from(&place, &mut Whole::new(file), restore).map(drop)
}

/// What was read of a snapshot.
pub(crate) struct Contents {
    pub group: u64,
    pub revision: Revision,
    /// When it was taken; zero where it does not say.
    pub time: Timestamp,
    pub objects: u64,
    pub bytes: u64,
}

/// Restores the state that a snapshot or a backup has.
pub(crate) fn read_from(place: &str, input: &mut dyn Read, restore: &mut Restore) -> Result<Contents, OpenError> {
    let found = read_each(place, input, &mut |entry| take(restore, entry))?;
    taken(restore, &found);
    Ok(found)
}

/// Gives each entry of a snapshot or a backup to a function, holding one frame of it at a time. Every byte of it is
/// checked.
pub(crate) fn read_each(place: &str, input: &mut dyn Read, each: &mut dyn FnMut(Entry)) -> Result<Contents, OpenError> {
    let io = |source| OpenError::Io { place: place.to_owned(), source };
    let mut bytes = Vec::new();
    (&mut *input).take(HEADER as u64).read_to_end(&mut bytes).map_err(io)?;
    let header = Header::read(Role::Snapshot, place, &bytes)?;
    let (group, revision) = (header.group, Revision(header.revision));
    let mut found = Contents { group, revision, time: Timestamp::default(), objects: 0, bytes: HEADER as u64 };
    let mut reader = Reader::default();
    for number in 1.. {
        let at = found.bytes;
        read_frame(input, &mut bytes).map_err(io)?;
        let Found::Frame(frame) = frame::find(&bytes, 0, 0) else {
            return Err(damaged(place, format!("the frame at byte {at} is not whole")));
        };
        if frame.head.number != number {
            return Err(damaged(place, format!("frame {number} is missing at byte {at}")));
        }
        let entries = reader.entries(frame.payload);
        for entry in entries.ok_or_else(|| damaged(place, format!("the frame at byte {at} has unknown entries")))? {
            found.objects += u64::from(matches!(entry, Entry::Put { .. }));
            each(entry);
        }
        found.bytes += frame.range.len() as u64;
        found.time = frame.head.time;
        if frame.head.last {
            break;
        }
    }
    if input.read(&mut [0]).map_err(io)? > 0 {
        return Err(damaged(place, format!("something follows its last frame at byte {}", found.bytes)));
    }
    Ok(found)
}

/// Reads as many bytes as the frame that begins here says it has, or what there is of them.
fn read_frame(input: &mut dyn Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    (&mut *input).take(frame::HEAD as u64).read_to_end(bytes)?;
    if let Some(rest) = frame::rest_of(bytes, 0) {
        (&mut *input).take(rest).read_to_end(bytes)?; // a length that lies ends with the file
    }
    Ok(())
}

/// Restores what a snapshot says beside its entries, after all of them.
pub(super) fn taken(restore: &mut Restore, found: &Contents) {
    restore.revision(found.revision);
    restore.number(found.group);
}

/// Restores an entry of a snapshot.
pub(super) fn take(restore: &mut Restore, entry: Entry) {
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
