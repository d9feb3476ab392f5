//! A backend of one's own: a journal that appends each group as a line of JSON, and syncs it.
//!
//!     cargo run -p arktos-store --example own_backend
//!
//! A torn end is removed, damage is named, a full disk survived, a second process refused, and the conformance kit has
//! nothing to say. What it lacks: checksums, and a [`Keeper`](arktos_store::storage::Keeper), so it only grows.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arktos_core::{Encoded, GroupResource, ObjectKey, ObjectPath, Revision, Timestamp, TypeMeta};
use arktos_store::conformance::{self, Backend, Keeps, Opened};
use arktos_store::storage::{AppendError, Group, Journal, OpenError, Record, Restore};
use arktos_store::{Change, Clock, Engine, EngineConfig};
use serde::{Deserialize, Serialize};

/// A group as it is written: one line. One without a number says that the journal was closed.
#[derive(Default, Serialize, Deserialize)]
struct Line {
    number: u64,
    time: i64,
    marks: (Option<Revision>, Option<Revision>),
    sync: bool,
    /// Revision, resource, path, and the object unless it is deleted.
    records: Vec<(Revision, GroupResource, String, Option<Put>)>,
    counters: Vec<(Arc<str>, i64)>,
}

/// An object: its type, what is known of it, its bytes (which are JSON), and when it expires.
type Put = (Arc<TypeMeta>, Vec<u8>, String, Option<i64>);

impl Line {
    fn of(group: &Group) -> Self {
        // by name: a field that is new here does not compile, rather than get lost
        let Group { number, time, records, counters, reserved, resumed, sync } = group;
        let records = records.iter().map(|Record { revision, key, change }| {
            let put = match change {
                Change::Delete => None,
                Change::Put { object, expires } => {
                    let (header, bytes) = (object.header(), String::from_utf8_lossy(&object.tail()).into_owned());
                    let expires = expires.map(Timestamp::as_micros);
                    Some((header.type_meta().clone(), header.packed().to_vec(), bytes, expires))
                }
            };
            (*revision, key.resource.clone(), key.path.as_str().to_owned(), put)
        });
        let (records, counters, marks) = (records.collect(), counters.clone(), (*reserved, *resumed));
        Self { number: *number, time: time.as_micros(), marks, sync: *sync, records, counters }
    }

    fn group(self) -> Option<Group> {
        let mut group = Group { number: self.number, counters: self.counters, sync: self.sync, ..Group::default() };
        group.time = Timestamp::from_micros(self.time);
        (group.reserved, group.resumed) = self.marks;
        for (revision, resource, path, put) in self.records {
            let change = match put {
                None => Change::Delete,
                Some((type_meta, header, bytes, expires)) => Change::Put {
                    object: Encoded::from_parts(type_meta, &header, bytes.as_bytes())?,
                    expires: expires.map(Timestamp::from_micros),
                },
            };
            let key = ObjectKey { resource, path: ObjectPath::parse(&path)? };
            group.records.push(Record { revision, key, change });
        }
        Some(group)
    }
}

fn failed(error: impl std::fmt::Display) -> AppendError {
    AppendError::Failed(error.to_string())
}

/// The journal: a file, and how much of it is whole.
struct JsonLines(PathBuf, File, u64);

impl JsonLines {
    fn open(path: &Path) -> Result<Self, OpenError> {
        let place = path.display().to_string();
        let failed = |source| OpenError::Io { place: place.clone(), source };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        file.try_lock().map_err(|_| OpenError::InUse { place: place.clone() })?;
        // a new file's name must be as durable as what will be in it
        File::open(path.parent().unwrap_or(Path::new("."))).and_then(|it| it.sync_all()).map_err(failed)?;
        Ok(Self(path.to_owned(), file, 0))
    }

    fn write(&mut self, line: &Line) -> Result<(), AppendError> {
        let mut bytes = serde_json::to_vec(line).map_err(failed)?;
        bytes.push(b'\n');
        let written = self.1.write_all(&bytes);
        if written.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull) {
            self.1.set_len(self.2).map_err(failed)?; // nothing of it was written: now that is true
            return Err(AppendError::Full { place: self.0.display().to_string() });
        }
        written.map_err(failed)?;
        self.2 += bytes.len() as u64;
        if line.sync { self.1.sync_data().map_err(failed) } else { Ok(()) }
    }
}

impl Journal for JsonLines {
    fn load(&mut self, restore: &mut Restore) -> Result<(), OpenError> {
        let place = self.0.display().to_string();
        let failed = |source| OpenError::Io { place: place.clone(), source };
        self.1.seek(SeekFrom::Start(0)).map_err(failed)?;
        let (mut input, mut bytes, mut next, mut torn) = (BufReader::new(&self.1), Vec::new(), None, false);
        while input.read_until(b'\n', &mut bytes).map_err(failed)? > 0 {
            let whole = Some(&bytes).filter(|bytes| bytes.ends_with(b"\n"));
            let line = whole.and_then(|bytes| serde_json::from_slice::<Line>(bytes).ok());
            let synced = line.as_ref().is_some_and(|line| line.sync);
            match line.and_then(Line::group).filter(|it| it.number == 0 || next.is_none_or(|next| next == it.number)) {
                Some(group) if !torn => {
                    self.2 += bytes.len() as u64;
                    if group.number == 0 {
                        restore.closed();
                    } else {
                        next = Some(group.number + 1);
                        restore.group(&group);
                    }
                }
                // what was being written when the power went may be half there; what was synced after it cannot be
                _ if synced => {
                    let (what, advice) = (format!("the line at byte {}", self.2), "Restore a backup".to_owned());
                    return Err(OpenError::Corrupt { place, what, advice });
                }
                _ => torn = true,
            }
            bytes.clear();
        }
        self.1.set_len(self.2).and_then(|()| self.1.sync_all()).map_err(failed)
    }

    fn append(&mut self, group: &Group) -> Result<(), AppendError> {
        match group.is_empty() {
            true => self.1.sync_data().map_err(failed), // it asks to make durable what is not yet
            false => self.write(&Line::of(group)),
        }
    }

    fn close(&mut self) -> Result<(), AppendError> {
        self.write(&Line { sync: true, ..Line::default() })
    }
}

struct Kept(tempfile::TempDir);

#[async_trait::async_trait]
impl Backend for Kept {
    fn keeps(&self) -> Keeps {
        Keeps::History
    }

    async fn open(&self, config: EngineConfig, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
        let journal = JsonLines::open(&self.0.path().join("journal"))?;
        Ok(Opened::new(Engine::open(Box::new(journal), config, clock)?))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backend = Kept(tempfile::tempdir()?);
    futures::executor::block_on(conformance::run(&backend))?;
    println!("it keeps what the engine promises");
    Ok(())
}
