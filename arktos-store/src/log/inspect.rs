//! Looking at a log without changing it: what is whole, what is not, what is in it.

use std::path::Path;
use std::sync::Arc;

use arktos_core::{ObjectKey, Revision, Timestamp};

use super::disk::{Directory, Disk, read_all};
use super::frame::{self, Found, Frame};
use super::header::{HEADER, Header, RESTORING, Role, SPARE, number_of, refuse_unfinished};
use super::record::{Entry, Reader};
use crate::select::Stored;
use crate::storage::OpenError;

/// What was found out about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// What there is to say of it.
    pub state: FileState,
}

/// How a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileState {
    /// Whole.
    Whole {
        /// How many groups (of a snapshot: frames) it has.
        groups: u64,
        /// How many entries they have.
        entries: u64,
    },
    /// Whole but for what a crash has left of an unfinished write at its end. Opening the log removes it; nothing that
    /// was durable is lost.
    Torn {
        /// How many groups are whole.
        groups: u64,
        /// How many entries they have.
        entries: u64,
        /// Where the unfinished write begins.
        at: u64,
    },
    /// What was read is not what was written. The log does not open.
    Damaged(String),
}

/// One entry of a file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dumped<'a> {
    /// The file's name.
    pub file: &'a str,
    /// The number of the group; of a snapshot, of the last group in it.
    pub group: u64,
    /// When the group was appended; none in a snapshot.
    pub time: Option<Timestamp>,
    /// The entry.
    pub entry: DumpedEntry,
}

/// What an entry says.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DumpedEntry {
    /// An object has this state.
    Put {
        /// Which.
        key: ObjectKey,
        /// Its revision and content.
        stored: Stored,
        /// When it expires.
        expires: Option<Timestamp>,
    },
    /// An object was deleted.
    Delete {
        /// Which.
        key: ObjectKey,
        /// At which revision.
        revision: Revision,
    },
    /// A counter has this value.
    Counter(Arc<str>, i64),
    /// Bookkeeping of revisions: a word for it, and the revisions it names.
    Revisions(&'static str, Vec<Revision>),
}

/// A log that is looked at. It stays locked, so that no process appends to it, until this is dropped.
pub struct Inspection {
    disk: Arc<dyn Disk>,
    names: Vec<String>,
    _lock: Box<dyn Send>,
}

impl Inspection {
    /// Whether a directory has a log in it.
    #[must_use]
    pub fn has_log(directory: &Path) -> bool {
        let names = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.into_iter().any(|name| role(&name).is_some() || name == SPARE || name == RESTORING)
    }

    /// Takes the log in a directory, which must be there.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when a process has it open; [`OpenError::Other`] when there is none; [`OpenError::Io`].
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let place = directory.display().to_string();
        if !Self::has_log(directory) {
            return Err(OpenError::Other(format!("there is no log in {place}")));
        }
        let disk = Directory::new(directory).map_err(|source| OpenError::Io { place, source })?;
        Self::on(Arc::new(disk))
    }

    /// As [`open`](Self::open), on a disk of one's own.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn on(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { place: disk.place(), source };
        let lock = disk.lock().map_err(io)?.ok_or_else(|| OpenError::InUse { place: disk.place() })?;
        let mut names = disk.list().map_err(io)?;
        refuse_unfinished(&disk.place(), &names)?;
        names.retain(|name| role(name).is_some());
        // snapshots first, then the log, each from the oldest on
        names.sort_unstable_by_key(|name| (role(name) == Some(Role::Segment), name.clone()));
        Ok(Self { disk, names, _lock: lock })
    }

    /// The disk that is looked at.
    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// The names of the files of a role, oldest first.
    pub(super) fn names(&self, of: Role) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(move |name| role(name) == Some(of))
    }

    /// Reads every file, and says of each how it is.
    ///
    /// # Errors
    /// [`OpenError::Io`] when a file cannot be read at all.
    pub fn verify(&self) -> Result<Vec<Finding>, OpenError> {
        let mut findings = Vec::with_capacity(self.names.len());
        let mut before: Option<After> = None;
        let mut in_snapshots = 0;
        for (at, name) in self.names.iter().enumerate() {
            let mut ignore = |_: Dumped<'_>| {};
            let until = self.names.get(at + 1).and_then(|next| self.first_group(next));
            let state = match self.file(name, until, &mut ignore)? {
                Read { state, header: Some(header), next } if header.role == Role::Segment => {
                    let state = follows(before.as_ref(), in_snapshots, &header).map_or(state, FileState::Damaged);
                    before = Some(After { file: header.file, group: next });
                    state
                }
                Read { state, .. } if at + 1 == self.names.len() && role(name) == Some(Role::Snapshot) => match state {
                    FileState::Damaged(what) => FileState::Damaged(what),
                    _ => FileState::Damaged("there are snapshots and no log".to_owned()),
                },
                Read { state, header: Some(header), .. } => {
                    in_snapshots = header.group;
                    state
                }
                read => read.state,
            };
            findings.push(Finding { file: name.clone(), state });
        }
        Ok(findings)
    }

    /// Gives every entry of every file to a function: snapshots first, then the log, each from the oldest on.
    ///
    /// # Errors
    /// [`OpenError::Io`] when a file cannot be read; [`OpenError::Corrupt`] at the first damage. What comes before it
    /// was given.
    pub fn dump(&self, mut each: impl FnMut(Dumped<'_>)) -> Result<(), OpenError> {
        for name in &self.names {
            if let FileState::Damaged(what) = self.file(name, None, &mut each)?.state {
                return Err(super::header::damaged(&format!("{}/{name}", self.disk.place()), what));
            }
        }
        Ok(())
    }

    /// The first group of a segment, if that can be read.
    fn first_group(&self, name: &str) -> Option<u64> {
        let mut bytes = [0; HEADER];
        let read = self.disk.open(name).ok()?.read(0, &mut bytes).ok()?;
        Some(Header::read(Role::Segment, name, bytes.get(..read)?).ok()?.group)
    }

    fn file(&self, name: &str, until: Option<u64>, each: &mut dyn FnMut(Dumped<'_>)) -> Result<Read, OpenError> {
        let place = format!("{}/{name}", self.disk.place());
        let io = |source| OpenError::Io { place: place.clone(), source };
        let bytes = read_all(&mut *self.disk.open(name).map_err(io)?).map_err(io)?;
        let role = role(name).unwrap_or(Role::Segment);
        match Header::read(role, &place, &bytes) {
            Err(error) => Ok(Read { state: FileState::Damaged(reason(error)), header: None, next: 0 }),
            Ok(header) if number_of(role, name) != Some(header.number()) => {
                let what = format!("it is number {} by its header", header.number());
                Ok(Read { state: FileState::Damaged(what), header: None, next: 0 })
            }
            Ok(header) => Ok(walk(name, &bytes, header, until, each)),
        }
    }
}

/// A file that was read.
struct Read {
    state: FileState,
    /// None when it is not whole.
    header: Option<Header>,
    /// The group that was expected after the last whole one.
    next: u64,
}

/// Where a segment ended.
struct After {
    file: u64,
    group: u64,
}

fn role(name: &str) -> Option<Role> {
    [Role::Segment, Role::Snapshot].into_iter().find(|role| number_of(*role, name).is_some())
}

fn reason(error: OpenError) -> String {
    match error {
        OpenError::Corrupt { what, .. } => what,
        other => other.to_string(),
    }
}

/// Why a segment cannot come right after another, or after the newest snapshot when it is the first, if it cannot.
fn follows(before: Option<&After>, in_snapshots: u64, header: &Header) -> Option<String> {
    let (file, group) = match before {
        Some(before) => (Some(before.file), before.group),
        None => (None, in_snapshots + 1),
    };
    match file {
        Some(file) if file + 1 != header.file => {
            Some(format!("the files between number {file} and this one are missing"))
        }
        _ if group < header.group => Some(format!("groups {group} to {} are missing before it", header.group - 1)),
        _ => None,
    }
}

/// Reads a file's frames while they are whole, and says what comes after them. `until` is the group with which the
/// next segment begins: everything before it must be there, and what comes after may be a write that found no room.
fn walk(name: &str, bytes: &[u8], header: Header, until: Option<u64>, each: &mut dyn FnMut(Dumped<'_>)) -> Read {
    let snapshot = header.role == Role::Snapshot;
    let (mut at, mut next) = (HEADER, if snapshot { 1 } else { header.group });
    let (mut groups, mut entries, mut closed) = (0, 0, false);
    let mut reader = Reader::default();
    let damaged = |what: String, next| Read { state: FileState::Damaged(what), header: Some(header), next };
    while until.is_none_or(|until| next < until || snapshot)
        && let Found::Frame(frame) = frame::find(bytes, at, header.file)
    {
        if frame.head.number != next {
            return damaged(format!("group {next} is missing: byte {at} has group {}", frame.head.number), next);
        }
        let Some(read) = reader.entries(frame.payload) else {
            return damaged(format!("the group at byte {at} has unknown entries"), next);
        };
        (at, closed) = (frame.range.end, frame.head.last);
        if !frame.head.last || snapshot {
            (groups, entries, next) = (groups + 1, entries + read.len() as u64, next + 1);
        }
        give(name, &header, &frame, read, each);
        if closed && snapshot {
            break;
        }
    }
    if snapshot && !closed {
        return damaged(format!("the frame at byte {at} is not whole"), next);
    }
    if let Some(until) = until.filter(|until| !snapshot && next < *until) {
        return damaged(format!("groups {next} to {} are missing or broken from byte {at} on", until - 1), next);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    if snapshot || until.is_some() || rest.iter().all(|byte| *byte == 0) {
        return Read { state: FileState::Whole { groups, entries }, header: Some(header), next };
    }
    if let Some(witness) = frame::later_witness(bytes, at, header.file, next) {
        return damaged(
            format!("group {next} at byte {at} is broken, and group {witness} says that it was durable"),
            next,
        );
    }
    if matches!(frame::find(bytes, at, header.file), Found::Broken) && !frame::is_torn(bytes, at, header.file) {
        return damaged(format!("group {next} at byte {at} was written whole, and its checksum does not fit"), next);
    }
    Read { state: FileState::Torn { groups, entries, at: at as u64 }, header: Some(header), next }
}

fn give(name: &str, header: &Header, frame: &Frame<'_>, entries: Vec<Entry>, each: &mut dyn FnMut(Dumped<'_>)) {
    let (group, time) = match header.role {
        Role::Snapshot => (header.group, None),
        Role::Segment => (frame.head.number, Some(frame.head.time)),
    };
    for entry in entries {
        let entry = match entry {
            Entry::Put { revision, key, object, expires } => {
                let stored = Stored { path: key.path.clone(), revision, object };
                DumpedEntry::Put { key, stored, expires }
            }
            Entry::Delete { revision, key } => DumpedEntry::Delete { key, revision },
            Entry::Counter(counter, value) => DumpedEntry::Counter(counter, value),
            Entry::Reserved(revision) => DumpedEntry::Revisions("reserved", vec![revision]),
            Entry::Resumed(revision) => DumpedEntry::Revisions("resumed", vec![revision]),
            Entry::LastEvent(_, revision) => DumpedEntry::Revisions("last-event", vec![revision]),
            Entry::Lost(after, resumed) => DumpedEntry::Revisions("lost", vec![after, resumed]),
        };
        each(Dumped { file: name, group, time, entry });
    }
}
