//! Files read from end to end by a thread of their own, while what was read is made something of.

use std::io::{self, Read};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};

use super::disk::Disk;

/// How much is read at once, in bytes: a segment of the usual size as a whole, which then need not be copied. A large
/// store takes a few times as much memory while it opens.
const BLOCK: usize = 64 << 20;
/// How many blocks wait to be taken, beside the one that is being read and the one that is being looked at.
const WAITING: usize = 1;

/// The files, one after the other. Reading ends at the end of each; [`next_file`](Self::next_file) goes on.
pub(super) struct Ahead {
    /// Blocks as they were read; an empty one ends a file.
    full: Receiver<io::Result<Vec<u8>>>,
    /// Blocks that were taken, to be read into again: memory that is new is slow.
    taken: Sender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
    ended: bool,
}

/// Begins to read files, in this order, and lets `take` make something of them.
///
/// # Errors
/// When there is no thread to be had. Errors of reading come out of [`Ahead`].
pub(super) fn read_ahead<R>(disk: &dyn Disk, names: Vec<String>, take: impl FnOnce(&mut Ahead) -> R) -> io::Result<R> {
    let (fill, full) = bounded(WAITING);
    let (taken, again) = bounded(WAITING + 2);
    thread::scope(|scope| {
        let run = move || names.iter().all(|name| read_file(disk, name, &fill, &again));
        thread::Builder::new().name("arktos-log-reader".to_owned()).spawn_scoped(scope, run)?;
        let mut ahead = Ahead { full, taken, block: Vec::new(), at: 0, ended: true };
        Ok(take(&mut ahead)) // which drops it, and so ends the thread
    })
}

/// Reads one file. Says whether it was read to its end and somebody still takes the blocks.
fn read_file(disk: &dyn Disk, name: &str, fill: &Sender<io::Result<Vec<u8>>>, again: &Receiver<Vec<u8>>) -> bool {
    let (mut file, size) = match disk.open(name).and_then(|file| file.size().map(|size| (file, size))) {
        Ok(found) => found,
        Err(error) => {
            let _ = fill.send(Err(error)); // nobody takes it: nobody asks
            return false;
        }
    };
    let mut offset = 0;
    loop {
        let mut block = again.try_recv().unwrap_or_default();
        // no larger than what is left: zeroing what a small file never fills is most of a small store's start
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(BLOCK);
        block.resize(left.min(BLOCK), 0);
        let read = file.read(offset, &mut block).map(|length| block.truncate(length));
        let (failed, ended) = (read.is_err(), block.is_empty());
        offset += block.len() as u64;
        if fill.send(read.map(|()| block)).is_err() || failed {
            return false;
        }
        if ended {
            return true;
        }
    }
}

impl Ahead {
    /// Goes on with the next file.
    ///
    /// # Errors
    /// What the system says of what is left of the file before.
    pub(super) fn next_file(&mut self) -> io::Result<()> {
        while !self.ended {
            self.at = self.block.len();
            self.fill()?;
        }
        self.ended = false;
        Ok(())
    }

    /// Adds what is left of the file to a buffer.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn take_all(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        while !self.ended {
            if into.is_empty() && self.at == 0 {
                std::mem::swap(into, &mut self.block);
            } else {
                into.extend_from_slice(self.block.get(self.at..).unwrap_or_default());
            }
            self.fill()?;
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        let _ = self.taken.try_send(std::mem::take(&mut self.block)); // one too many is let go
        self.at = 0;
        self.block = self.full.recv().map_err(|_| io::Error::other("the reading thread has ended"))??;
        self.ended = self.block.is_empty();
        Ok(())
    }
}

impl Read for Ahead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            if self.ended {
                return Ok(0);
            }
            self.fill()?;
        }
        let rest = self.block.get(self.at..).unwrap_or_default();
        let length = rest.len().min(into.len());
        if let (Some(into), Some(rest)) = (into.get_mut(..length), rest.get(..length)) {
            into.copy_from_slice(rest);
        }
        self.at += length;
        Ok(length)
    }
}
