//! sled as a backend: for those who have it in use already. Not for production.
//!
//! # Limits
//!
//! * **The loss of power.** A group is flushed before it is acknowledged, but `flush` of sled 0.34 asks the system to
//!   write (`sync_file_range`) and not the disk to keep: it syncs neither the file's metadata nor the drive's cache.
//!   What was acknowledged survives the death of the process, and may be lost with the machine.
//! * **Damage.** sled takes what it cannot read for the end of its file, and goes on from there as if nothing had been.
//!   So this journal counts its groups in a file beside it, `acknowledged`, and does not open when some are missing.
//!   What lies before the history (objects and counters in keys of their own) is not counted.
//! * **Cost.** About 13 times the processor time of the log backend for the same writes, and about twice the space.
//! * **A full disk.** sled does not say whether anything was written: the store takes no more writes until it is opened
//!   again.
//!
//! The log backend is the default for these reasons.
//!
//! # What is kept
//!
//! ```text
//!  "l" number of the group (u64, big-endian)   ─► the group        appended by every commit
//!  "o" resource "\0" path                      ─► revision (u64), object     ┐
//!  "c" counter                                 ─► value (i64)                │ the state before the
//!  "e" resource                                ─► revision of its last event ├ first group that is
//!  "x" resumed (u64, big-endian)               ─► after (u64), resumed (u64) │ still kept
//!  "m"                                         ─► revision, reserved, number │
//!                                                 of the first group (u64)   ┘
//!  "v"                                         ─► format (u8)
//!  "z"                                         ─► present when closed in order
//! ```
//!
//! The file `acknowledged` holds the number of the group that follows the last one that was acknowledged (u64,
//! little-endian); it is written after each flush.
//!
//! One group is one entry, so that it is there whole or not at all. The keeper moves groups that nobody's watch can
//! need any more into the state before them; so watches go on across a restart, as with the log.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::sled::{Batch, Db, IVec};
use arktos_core::{GroupResource, ObjectPath, Revision};

use crate::codec::{Damaged, Reader, write_group, write_object};
use crate::commit::Change;
use crate::engine::Snapshot;
use crate::select::Stored;
use crate::storage::{AppendError, Group, Journal, Keeper, OpenError, Restore};

const FORMAT: u8 = 1;
/// The file that counts what was acknowledged.
const ACKNOWLEDGED: &str = "acknowledged";
/// How many groups the keeper moves at once.
const MOVE: usize = 512;
/// How often a database that is in use is asked again before somebody else has it.
const ASKED_AGAIN: usize = 100;
/// How long to wait in between. Two seconds in all: what is waited for is done in milliseconds, on a machine that is
/// slow or busy in a good part of a second; and who really comes second can wait as long for the answer.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// A journal in a sled database.
pub struct SledJournal {
    db: Db,
    place: PathBuf,
    /// The number of the next group.
    next: u64,
    /// Holds that number for the groups that were acknowledged.
    acknowledged: File,
}

/// How a sled database is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SledOptions {
    /// The most bytes sled keeps of the file in memory. Default: 64 MiB, as nothing is read after the start.
    pub cache_bytes: u64,
    /// How often what was written without waiting is flushed, in milliseconds. Default: 200.
    pub flush_every_ms: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, flush_every_ms: 200 }
    }
}

/// Moves old groups into the state before them.
struct SledKeeper {
    db: Db,
}

/// The state before the first group that is kept, as far as it is not objects and counters.
#[derive(Clone, Copy, Default)]
struct Base {
    revision: u64,
    reserved: u64,
    /// The number of the first group that is still kept.
    first: u64,
}

impl SledJournal {
    /// Opens the database in a directory, which is made when it is not there.
    ///
    /// sled lets go of a database in threads of its own, some time after its last user has dropped it. So one that is
    /// in use is waited for, for two seconds.
    ///
    /// # Errors
    /// [`OpenError`]: another process has it open, it is damaged, or a later version has written it.
    pub fn open(directory: impl AsRef<Path>, options: &SledOptions) -> Result<Self, OpenError> {
        let place = directory.as_ref().to_owned();
        let config = ::sled::Config::new()
            .path(&place)
            .cache_capacity(options.cache_bytes)
            .flush_every_ms(Some(options.flush_every_ms.max(1)));
        let db = once_free(|| config.open().map_err(|error| open_error(&place, error)))?;
        let opened =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(place.join(ACKNOWLEDGED));
        let acknowledged = opened.map_err(|error| open_error(&place, error.into()))?;
        let journal = Self { db, place, next: 0, acknowledged };
        match journal.get(b"v")? {
            None => {
                journal.db.insert(b"v", &[FORMAT]).map_err(|error| open_error(&journal.place, error))?;
            }
            Some(found) if *found == [FORMAT] => {}
            Some(found) => {
                return Err(OpenError::Format {
                    place: journal.place.display().to_string(),
                    found: found.first().map_or_else(String::new, u8::to_string),
                    known: FORMAT.to_string(),
                });
            }
        }
        Ok(journal)
    }

    fn get(&self, key: &[u8]) -> Result<Option<IVec>, OpenError> {
        self.db.get(key).map_err(|error| open_error(&self.place, error))
    }

    fn damaged(&self, key: &[u8], damage: Damaged) -> OpenError {
        OpenError::Corrupt {
            place: format!("{} at key {}", self.place.display(), String::from_utf8_lossy(key)),
            what: damage.to_string(),
            advice: "Restore a backup".to_owned(),
        }
    }

    /// Gives each entry of a kind, without the letter its key begins with, to `take`.
    fn each(&self, letter: &[u8], mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Damaged>) -> Result<(), OpenError> {
        for entry in self.db.scan_prefix(letter) {
            let (key, value) = entry.map_err(|error| open_error(&self.place, error))?;
            let name = key.get(letter.len()..).unwrap_or_default();
            take(name, &value).map_err(|damage| self.damaged(&key, damage))?;
        }
        Ok(())
    }

    /// Refuses a database in which groups are missing that were acknowledged.
    fn check_whole(&self) -> Result<(), OpenError> {
        let mut bytes = [0; 8];
        let acknowledged = match self.acknowledged.read_exact_at(&mut bytes, 0) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()), // it is new
            Err(error) => return Err(open_error(&self.place, error.into())),
        };
        if self.next >= acknowledged {
            return Ok(());
        }
        Err(OpenError::Corrupt {
            place: self.place.display().to_string(),
            what: format!("{acknowledged} groups were acknowledged, and {} can be read", self.next),
            advice: "Restore a backup".to_owned(),
        })
    }

    fn load_base(&self, base: Base, restore: &mut Restore, reader: &mut Reader) -> Result<(), OpenError> {
        self.each(b"o", |name, value| {
            let (resource, path) = object_name(name)?;
            let (revision, object) = split_u64(value)?;
            let (object, expires) = reader.object(object)?;
            restore.object(&resource, Stored { path, revision: Revision(revision), object }, expires);
            Ok(())
        })?;
        self.each(b"e", |name, value| {
            restore.last_event(&GroupResource::from(text(name)?.to_owned()), Revision(split_u64(value)?.0));
            Ok(())
        })?;
        self.each(b"c", |name, value| {
            restore.counter(&text(name)?.into(), split_u64(value)?.0.cast_signed());
            Ok(())
        })?;
        self.each(b"x", |_, value| {
            let (after, rest) = split_u64(value)?;
            restore.lost(Revision(after), Revision(split_u64(rest)?.0));
            Ok(())
        })?;
        restore.revision(Revision(base.revision));
        restore.reserved(Revision(base.reserved));
        Ok(())
    }
}

/// Opens what may still be let go of by who had it before.
fn once_free<T>(mut open: impl FnMut() -> Result<T, OpenError>) -> Result<T, OpenError> {
    for _ in 0..ASKED_AGAIN {
        match open() {
            Err(OpenError::InUse { .. }) => {}
            outcome => return outcome,
        }
        #[allow(clippy::disallowed_methods)] // it is sled's threads that are waited for: no clock of ours moves them
        std::thread::sleep(ASK_EVERY);
    }
    open()
}

impl Journal for SledJournal {
    fn load(&mut self, restore: &mut Restore) -> Result<(), OpenError> {
        let mut reader = Reader::default();
        let base = read_base(&self.db).map_err(|error| open_error(&self.place, error))?;
        self.load_base(base, restore, &mut reader)?;
        let mut next = base.first;
        self.each(b"l", |name, value| {
            let number = u64::from_be_bytes(name.try_into().map_err(|_| Damaged("a group's number"))?);
            if next != number {
                return Err(Damaged("the group after the one before it: there are some missing"));
            }
            next = number + 1;
            restore.group(&reader.group(value)?);
            Ok(())
        })?;
        self.next = next;
        self.check_whole()?;
        if self.get(b"z")?.is_some() {
            restore.closed();
            self.db.remove(b"z").map_err(|error| open_error(&self.place, error))?;
        }
        self.db.flush().map_err(|error| open_error(&self.place, error))?;
        Ok(())
    }

    fn append(&mut self, group: &Group) -> Result<(), AppendError> {
        if !group.is_empty() {
            self.db.insert(log_key(self.next), write_group(group)).map_err(append_error)?;
            self.next += 1;
        }
        if group.sync {
            self.db.flush().map_err(append_error)?;
            let counted = self.acknowledged.write_all_at(&self.next.to_le_bytes(), 0);
            counted.map_err(|error| append_error(error.into()))?;
        }
        Ok(())
    }

    fn keeper(&mut self) -> Option<Box<dyn Keeper>> {
        Some(Box::new(SledKeeper { db: self.db.clone() }))
    }

    fn close(&mut self) -> Result<(), AppendError> {
        self.db.flush().map_err(append_error)?;
        self.db.insert(b"z", &[]).map_err(append_error)?;
        self.db.flush().map_err(append_error)?;
        Ok(())
    }
}

impl Keeper for SledKeeper {
    fn keep(&mut self, _state: &Snapshot, floor: Revision) -> Result<(), AppendError> {
        let mut reader = Reader::default();
        loop {
            let mut moved = Batch::default();
            let mut base = read_base(&self.db).map_err(append_error)?;
            let mut count = 0;
            for entry in self.db.scan_prefix(b"l").take(MOVE) {
                let (key, value) = entry.map_err(append_error)?;
                let group = reader.group(&value).map_err(|damage| AppendError::Failed(damage.to_string()))?;
                if group.records.last().is_some_and(|record| record.revision > floor) {
                    break;
                }
                move_group(&mut moved, &mut base, &group);
                moved.remove(key);
                base.first += 1;
                count += 1;
            }
            if count == 0 {
                return Ok(());
            }
            let marks = [base.revision, base.reserved, base.first].map(u64::to_le_bytes);
            moved.insert(b"m".as_slice(), marks.concat());
            self.db.apply_batch(moved).map_err(append_error)?;
            if count < MOVE {
                return Ok(());
            }
        }
    }
}

/// Makes a group part of the state before the groups.
fn move_group(moved: &mut Batch, base: &mut Base, group: &Group) {
    if let Some(resumed) = group.resumed {
        let name = [b"x".as_slice(), &resumed.0.to_be_bytes()].concat();
        moved.insert(name, [base.revision.to_le_bytes(), resumed.0.to_le_bytes()].concat());
        base.revision = base.revision.max(resumed.0);
    }
    base.reserved = base.reserved.max(group.reserved.unwrap_or_default().0);
    for record in &group.records {
        base.revision = record.revision.0;
        let revision = record.revision.0.to_le_bytes();
        let resource = record.key.resource.as_str().as_bytes();
        let name = [b"o", resource, b"\0", record.key.path.as_str().as_bytes()].concat();
        match &record.change {
            Change::Delete => moved.remove(name),
            Change::Put { object, expires } => {
                let mut value = revision.to_vec();
                write_object(&mut value, object, *expires);
                moved.insert(name, value);
            }
        }
        moved.insert([b"e", resource].concat(), &revision);
    }
    for (counter, value) in &group.counters {
        let name = [b"c", counter.as_bytes()].concat();
        if *value == 0 { moved.remove(name) } else { moved.insert(name, &value.to_le_bytes()) }
    }
}

fn read_base(db: &Db) -> ::sled::Result<Base> {
    let Some(value) = db.get(b"m")? else { return Ok(Base::default()) };
    let marks = |bytes| -> Result<Base, Damaged> {
        let (revision, rest) = split_u64(bytes)?;
        let (reserved, rest) = split_u64(rest)?;
        Ok(Base { revision, reserved, first: split_u64(rest)?.0 })
    };
    marks(&value).map_err(|_| ::sled::Error::Corruption { at: None, bt: () })
}

fn log_key(number: u64) -> [u8; 9] {
    let mut key = [b'l'; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn object_name(name: &[u8]) -> Result<(GroupResource, ObjectPath), Damaged> {
    let (resource, path) = text(name)?.split_once('\0').ok_or(Damaged("an object's name"))?;
    Ok((GroupResource::from(resource.to_owned()), ObjectPath::parse(path).ok_or(Damaged("a path"))?))
}

fn split_u64(value: &[u8]) -> Result<(u64, &[u8]), Damaged> {
    let (number, rest) = value.split_first_chunk().ok_or(Damaged("a number"))?;
    Ok((u64::from_le_bytes(*number), rest))
}

fn text(bytes: &[u8]) -> Result<&str, Damaged> {
    std::str::from_utf8(bytes).map_err(|_| Damaged("text"))
}

fn open_error(place: &Path, error: ::sled::Error) -> OpenError {
    let place = place.display().to_string();
    match error {
        ::sled::Error::Io(source) if source.to_string().contains("could not acquire lock") => {
            OpenError::InUse { place }
        }
        ::sled::Error::Io(source) => OpenError::Io { place, source },
        ::sled::Error::Corruption { .. } => {
            OpenError::Corrupt { place, what: error.to_string(), advice: "Restore a backup".to_owned() }
        }
        other => OpenError::Other(format!("{place}: {other}")),
    }
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn append_error(error: ::sled::Error) -> AppendError {
    // sled does not say whether anything was written before the disk was full
    AppendError::Failed(error.to_string())
}

#[cfg(test)]
mod tests;
