//! The embedded default: a log of groups, appended with one sync each, and snapshots beside it.
//!
//! ```no_run
//! # async fn example(clock: std::sync::Arc<dyn arktos_store::Clock>) -> Result<(), Box<dyn std::error::Error>> {
//! use arktos_store::log::{LogJournal, LogOptions};
//! use arktos_store::{Engine, EngineConfig};
//!
//! let journal = LogJournal::open("data".as_ref(), LogOptions::default())?;
//! let engine = Engine::open(Box::new(journal), EngineConfig::default(), clock)?;
//! let looked_after = engine.clone();
//! let keeper = tokio::spawn(async move { looked_after.maintenance().await });
//! // …
//! engine.close().await;
//! keeper.await?;
//! # Ok(())
//! # }
//! ```
//!
//! The format is written down byte by byte in `docs/design/0001-log-format.md`. What it relies on: a sync that returns
//! has made everything written before it durable; a sector of 512 bytes is written whole or not at all; a file's old
//! content is never given back after a newer one was synced.

mod ahead;
mod apart;
mod append;
mod archive;
mod disk;
mod frame;
mod header;
mod inspect;
mod keeper;
pub(crate) mod pieces;
mod record;
mod recover;
pub(crate) mod restore;
mod salvage;
pub(crate) mod snapshot;
mod spare;

use std::path::Path;
use std::sync::Arc;

use arktos_core::Revision;

use self::append::Appender;
use self::archive::Archive;
use self::header::{Role, number_of};
use self::keeper::{Kept, LogKeeper};
use crate::storage::{AppendError, Group, Journal, Keeper, OpenError, Restore};

pub use self::disk::{Directory, Disk, DiskFile};
pub use self::inspect::{Dumped, DumpedEntry, FileState, Finding, Inspection};
pub use self::salvage::{Loss, Salvage};

/// What a log keeps to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogOptions {
    /// How large a segment may be. The disk always has room for one more of them. 64 MiB.
    pub segment_bytes: u64,
    /// How large the first segment is; each one after it is twice as large, up to `segment_bytes`. 1 MiB.
    pub first_segment_bytes: u64,
    /// After how many appended bytes a snapshot is taken; later, when the last one was larger. 64 MiB.
    pub snapshot_bytes: u64,
    /// Whether the next segment is made ready on a thread of its own while this one fills. True.
    pub prepare_ahead: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, first_segment_bytes: 1 << 20, snapshot_bytes: 64 << 20, prepare_ahead: true }
    }
}

/// A journal in a directory of its own.
pub struct LogJournal {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    archive: Option<Arc<dyn Disk>>,
    appender: Option<Appender>,
    last: Group,
    /// Keeps other processes out; given back last.
    _lock: Box<dyn Send>,
}

impl LogJournal {
    /// Opens the log in a directory, which is made if it is not there. It stays locked until the journal is dropped.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when another process has it open; [`OpenError::Io`].
    pub fn open(directory: &Path, options: LogOptions) -> Result<Self, OpenError> {
        let place = directory.display().to_string();
        let disk = Directory::new(directory).map_err(|source| OpenError::Io { place, source })?;
        Self::on(Arc::new(disk), options)
    }

    /// As [`open`](Self::open), on a disk of one's own.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn on(disk: Arc<dyn Disk>, options: LogOptions) -> Result<Self, OpenError> {
        let place = disk.place();
        match disk.lock() {
            Ok(Some(lock)) => {
                Ok(Self { disk, options, archive: None, appender: None, last: Group::default(), _lock: lock })
            }
            Ok(None) => Err(OpenError::InUse { place }),
            Err(source) => Err(OpenError::Io { place, source }),
        }
    }

    /// Lets each segment be copied to an archive as soon as it is full: with a backup and the archive, the store can be
    /// restored as it was at any moment since ([`backup`](crate::backup)). Nothing is ever removed from the archive,
    /// and no segment from the log before it has its copy.
    #[must_use]
    pub fn with_archive(mut self, archive: Arc<dyn Disk>) -> Self {
        self.archive = Some(archive);
        self
    }

    fn snapshots(&self) -> Vec<Kept> {
        let names = self.disk.list().unwrap_or_default(); // what is not seen is not removed
        let mut kept = Vec::new();
        for name in &names {
            let Some(group) = number_of(Role::Snapshot, name) else { continue };
            match snapshot::read_header(&*self.disk, name) {
                Ok(header) => kept.push(Kept { group, revision: Revision(header.revision), damaged: false }),
                Err(error) => {
                    tracing::error!(%error, "a snapshot that is not needed cannot be read");
                    kept.push(Kept { group, revision: Revision::ZERO, damaged: true });
                }
            }
        }
        kept.sort_unstable_by_key(|kept| kept.group);
        kept
    }
}

impl Journal for LogJournal {
    fn load(&mut self, restore: &mut Restore) -> Result<(), OpenError> {
        let found = recover::load(&*self.disk, restore)?;
        self.last.number = found.group;
        let appender = Appender::new(self.disk.clone(), self.options.clone(), found);
        self.appender = Some(appender.map_err(|source| OpenError::Io { place: self.disk.place(), source })?);
        Ok(())
    }

    fn append(&mut self, group: &Group) -> Result<(), AppendError> {
        let Some(appender) = &mut self.appender else {
            return Err(AppendError::Failed("the log was not loaded".to_owned()));
        };
        appender.append(group)?;
        if !group.is_empty() {
            self.last = Group { number: group.number, time: group.time, ..Group::default() };
        }
        Ok(())
    }

    fn renew(&mut self) -> Result<(), AppendError> {
        self.appender.as_mut().map_or(Ok(()), Appender::renew)
    }

    fn keeper(&mut self) -> Option<Box<dyn Keeper>> {
        let progress = self.appender.as_ref()?.progress().clone();
        let (disk, options, snapshots) = (self.disk.clone(), self.options.clone(), self.snapshots());
        let newest = snapshots.last().map(|kept| snapshot::size(&*self.disk, kept.group));
        let size = newest.and_then(Result::ok).unwrap_or(0); // only says when the next one is worth its while
        let archive = self.archive.take().map(Archive::new);
        Some(Box::new(LogKeeper { disk, options, progress, archive, snapshots, taken_at: 0, size, checked: 0 }))
    }

    fn close(&mut self) -> Result<(), AppendError> {
        let after = Group { number: self.last.number + 1, time: self.last.time, ..Group::default() };
        self.appender.as_mut().map_or(Ok(()), |appender| appender.finish(&after))
    }
}
