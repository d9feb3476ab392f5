//! The end of the log, where groups are appended.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile, is_full};
use super::frame::{self, OVERHEAD};
use super::header::{HEADER, Header, Role, SPARE, segment_name};
use super::spare::Spares;
use super::{LogOptions, record};
use crate::storage::{AppendError, Group};

/// What the appender lets the keeper know.
#[derive(Default)]
pub(super) struct Progress {
    /// The segments that are full, oldest first. Written by the appender, which adds, and the keeper, which removes.
    pub full: Mutex<Vec<Full>>,
    /// Bytes that were appended since the newest snapshot that was there at the start. Written by the appender.
    pub bytes: AtomicU64,
}

/// A segment that nothing is appended to any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Full {
    pub number: u64,
    /// The number of its last group.
    pub last_group: u64,
}

/// The segment that is appended to.
pub(super) struct Open {
    pub file: Box<dyn DiskFile>,
    pub number: u64,
    pub size: u64,
    /// Where the next frame goes.
    pub end: u64,
}

/// Appends groups to the newest segment, and starts the next when it is full.
pub(super) struct Appender {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    spares: Spares,
    open: Option<Open>,
    /// The number of the newest segment.
    newest: u64,
    /// The number of the newest group.
    group: u64,
    /// The newest group that is durable.
    durable: u64,
    /// Something may be in the file that does not count, or the next one may be there: nothing more goes into this
    /// segment.
    spoiled: bool,
    failed: Option<String>,
    buffer: Vec<u8>,
    progress: Arc<Progress>,
}

/// What was found when the log was opened.
pub(super) struct End {
    pub open: Option<Open>,
    pub newest: u64,
    pub group: u64,
    pub full: Vec<Full>,
    /// Bytes since the newest snapshot.
    pub bytes: u64,
}

impl Appender {
    pub(super) fn new(disk: Arc<dyn Disk>, options: LogOptions, found: End) -> io::Result<Self> {
        let progress = Arc::new(Progress { full: Mutex::new(found.full), bytes: AtomicU64::new(found.bytes) });
        Ok(Self {
            spares: Spares::new(disk.clone(), options.prepare_ahead)?,
            disk,
            options,
            open: found.open,
            newest: found.newest,
            group: found.group,
            durable: found.group,
            spoiled: false,
            failed: None,
            buffer: Vec::new(),
            progress,
        })
    }

    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Appends a group.
    pub(super) fn append(&mut self, group: &Group) -> Result<(), AppendError> {
        if group.is_empty() {
            return if group.sync { self.sync() } else { Ok(()) };
        }
        frame::begin(&mut self.buffer);
        record::write_group(&mut self.buffer, group);
        self.write(group, false)?;
        self.group = group.number;
        if group.sync { self.sync() } else { Ok(()) }
    }

    /// Begins the next segment now.
    pub(super) fn renew(&mut self) -> Result<(), AppendError> {
        self.usable()?;
        if self.open.is_some() { self.rotate(self.group + 1, 0) } else { Ok(()) }
    }

    /// Says that nothing comes after, and that all is well.
    pub(super) fn finish(&mut self, group: &Group) -> Result<(), AppendError> {
        if self.open.is_none() {
            return Ok(()); // nothing was ever appended
        }
        self.sync()?;
        frame::begin(&mut self.buffer);
        self.write(group, true)?;
        self.sync()
    }

    /// Makes durable what is not yet.
    fn sync(&mut self) -> Result<(), AppendError> {
        self.usable()?;
        if let Some(open) = &mut self.open
            && let Err(error) = open.file.sync()
        {
            let place = format!("{}/{}", self.disk.place(), segment_name(open.number));
            return Err(self.fail(format!("{place} cannot be made durable: {error}")));
        }
        self.durable = self.group;
        Ok(())
    }

    /// Writes the frame whose payload is in the buffer.
    fn write(&mut self, group: &Group, last: bool) -> Result<(), AppendError> {
        self.usable()?;
        let length = (self.buffer.len() - frame::HEAD + OVERHEAD) as u64;
        if self.buffer.len() > u32::MAX as usize {
            return Err(self.fail("a group of more than 4 GiB".to_owned()));
        }
        let fits = self.open.as_ref().is_some_and(|open| !self.spoiled && open.end + length <= open.size);
        if !fits {
            self.rotate(group.number, length)?;
        }
        let Some(open) = &mut self.open else { return Err(self.fail("no segment is open".to_owned())) };
        let (number, durable, time) = (group.number, self.durable, group.time);
        frame::end(&mut self.buffer, frame::Head { file: open.number, number, durable, time, last });
        if let Err(error) = open.file.write(open.end, &self.buffer) {
            let place = format!("{}/{}", self.disk.place(), segment_name(open.number));
            if !is_full(&error) {
                return Err(self.fail(format!("{place} cannot be written: {error}")));
            }
            self.spoiled = true; // a file system that takes new space for every write, zeros or not
            return Err(AppendError::Full { place });
        }
        open.end += length;
        self.progress.bytes.fetch_add(length, Ordering::Relaxed);
        if open.end > open.size / 2 {
            self.spares.order(next_size(&self.options, open.size));
        }
        if self.buffer.capacity() > BUFFER_MAX {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Starts the next segment, with room for a frame of this length.
    fn rotate(&mut self, first_group: u64, length: u64) -> Result<(), AppendError> {
        self.sync()?;
        let size =
            self.open.as_ref().map_or(self.options.first_segment_bytes, |open| next_size(&self.options, open.size));
        let number = self.newest + 1;
        let least = HEADER as u64 + length;
        let mut started = self.start(number, first_group, size.max(least));
        if started.as_ref().is_err_and(is_full) && size > self.options.first_segment_bytes {
            // a small one may still fit
            started = self.start(number, first_group, self.options.first_segment_bytes.max(least));
        }
        match started {
            Ok(open) => {
                if let Some(full) = self.open.replace(open) {
                    self.progress.full.lock().push(Full { number: full.number, last_group: self.group });
                }
                self.newest = number;
                self.spoiled = false;
                Ok(())
            }
            Err(error) if is_full(&error) => Err(AppendError::Full { place: self.disk.place() }),
            Err(error) => {
                let place = self.disk.place();
                Err(self.fail(format!("{place}: the next piece of the log cannot be started: {error}")))
            }
        }
    }

    fn start(&mut self, number: u64, group: u64, bytes: u64) -> io::Result<Open> {
        let (mut file, size) = self.spares.fetch(bytes)?;
        file.write(0, &Header { role: Role::Segment, file: number, group, revision: 0 }.write())?;
        file.sync()?;
        // Once it may have its name, what comes next must be in it: a start would look for it there.
        self.spoiled = true;
        self.disk.rename(SPARE, &segment_name(number))?;
        self.disk.sync_names()?;
        Ok(Open { file, number, size, end: HEADER as u64 })
    }

    fn usable(&self) -> Result<(), AppendError> {
        self.failed.clone().map_or(Ok(()), |why| Err(AppendError::Failed(why)))
    }

    fn fail(&mut self, why: String) -> AppendError {
        self.failed = Some(why.clone());
        AppendError::Failed(why)
    }
}

/// A buffer larger than this is not kept for the next group.
const BUFFER_MAX: usize = 16 << 20;

/// Segments double until they are as large as they may be: a small store stays small.
fn next_size(options: &LogOptions, size: u64) -> u64 {
    size.saturating_mul(2).min(options.segment_bytes).max(options.first_segment_bytes)
}
