//! Copies of full segments in another directory, so that a backup can be carried on to any later moment.

use std::io;
use std::sync::Arc;

use super::append::Full;
use super::disk::{Disk, DiskFile};
use super::header::{HEADER, Header, Role, UNFINISHED, archived_name, segment_name};

/// How many bytes are copied at a time.
const STRIDE: usize = 1 << 20;

/// Where full segments are copied to. Written by the keeper alone.
pub(super) struct Archive {
    disk: Arc<dyn Disk>,
    /// Segments up to this number have their copy.
    copied: u64,
}

impl Archive {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, copied: 0 }
    }

    /// Whether a segment has its copy.
    pub(super) fn has(&self, number: u64) -> bool {
        number <= self.copied
    }

    /// Copies the segments that have none yet, oldest first. A copy and not a link: the file becomes a new segment.
    pub(super) fn copy(&mut self, log: &dyn Disk, full: &[Full]) -> io::Result<()> {
        for full in full.iter().filter(|full| full.number > self.copied).collect::<Vec<_>>() {
            self.copy_one(log, full).map_err(|error| {
                let what = format!("the archive {} cannot take {}", self.disk.place(), segment_name(full.number));
                io::Error::other(format!("{what}: {error}"))
            })?;
            self.copied = full.number;
        }
        Ok(())
    }

    fn copy_one(&self, log: &dyn Disk, full: &Full) -> io::Result<()> {
        let mut from = log.open(&segment_name(full.number))?;
        let mut start = [0; HEADER];
        let read = from.read(0, &mut start)?;
        let header = Header::read(Role::Segment, &segment_name(full.number), start.get(..read).unwrap_or_default());
        let header = header.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        let name = archived_name(header.group);
        // one without a group has the first group of the one after it
        if full.last_group < header.group {
            return Ok(());
        }
        if self.disk.list()?.contains(&name) {
            return match is_same(&mut *from, &mut *self.disk.open(&name)?)? {
                true => Ok(()),
                false => Err(io::Error::other(format!("{name} is there, of another store: each needs its own"))),
            };
        }
        let mut to = self.disk.create(UNFINISHED)?;
        copy_bytes(&mut *from, &mut *to)?;
        to.sync()?;
        drop(to);
        self.disk.rename(UNFINISHED, &name)?;
        self.disk.sync_names()
    }
}

fn copy_bytes(from: &mut dyn DiskFile, to: &mut dyn DiskFile) -> io::Result<()> {
    let mut buffer = vec![0; STRIDE];
    let mut at = 0;
    loop {
        let read = from.read(at, &mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        to.write(at, buffer.get(..read).unwrap_or_default())?;
        at += read as u64;
    }
}

fn is_same(one: &mut dyn DiskFile, other: &mut dyn DiskFile) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; STRIDE], vec![0; STRIDE]);
    let mut at = 0;
    loop {
        let (read, also) = (one.read(at, &mut left)?, other.read(at, &mut right)?);
        if left.get(..read) != right.get(..also) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
        at += read as u64;
    }
}
