//! The next segment, made ready ahead of time: written full of zeros, so that a full disk shows here and not later, and
//! so that a sync has nothing to do but the data.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded};

use super::disk::{Disk, DiskFile, is_full};
use super::header::{OLD, SPARE};

/// How many zeros are written at a time, and synced: the sync of a commit waits behind what stands in the disk's queue.
const STRIDE: usize = 1 << 20;

type Made = io::Result<(Box<dyn DiskFile>, u64)>;

/// Makes spares, on a thread of its own or when asked.
pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    ahead: Option<Ahead>,
    /// A spare was ordered and not fetched yet.
    ordered: bool,
}

struct Ahead {
    orders: Sender<u64>,
    made: Receiver<Made>,
    thread: Option<JoinHandle<()>>,
}

impl Spares {
    /// With `ahead`, on a thread of its own.
    pub(super) fn new(disk: Arc<dyn Disk>, ahead: bool) -> io::Result<Self> {
        let ahead = ahead.then(|| Ahead::start(disk.clone())).transpose()?;
        Ok(Self { disk, ahead, ordered: false })
    }

    /// Lets a spare of at least this many bytes be made, if none is being made yet.
    pub(super) fn order(&mut self, bytes: u64) {
        if let (Some(ahead), false) = (&self.ahead, self.ordered) {
            self.ordered = ahead.orders.try_send(bytes).is_ok();
        }
    }

    /// A spare of at least this many bytes, and how many it has.
    pub(super) fn fetch(&mut self, bytes: u64) -> Made {
        if let (Some(ahead), true) = (&self.ahead, std::mem::take(&mut self.ordered)) {
            let made = ahead.made.recv().unwrap_or_else(|_| Err(io::Error::other("the preparing thread has ended")));
            match made {
                Ok((_, size)) if size < bytes => {} // ordered before it was known how large the next frame is
                Err(error) if is_full(&error) => {} // that was a while ago: there may be room by now
                made => return made,
            }
        }
        make(&*self.disk, bytes)
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        if let Some(Ahead { orders, made, thread }) = self.ahead.take() {
            drop((orders, made));
            if let Some(thread) = thread {
                let _ = thread.join();
            }
        }
    }
}

impl Ahead {
    fn start(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let (orders, ordered) = bounded::<u64>(1);
        let (make_known, made) = bounded(1);
        let run = move || {
            for bytes in ordered {
                if make_known.send(make(&*disk, bytes)).is_err() {
                    return;
                }
            }
        };
        let thread = Some(std::thread::Builder::new().name("arktos-log-spare".to_owned()).spawn(run)?);
        Ok(Self { orders, made, thread })
    }
}

/// Makes a spare: of an old segment where there is one, which takes no new space. What cannot be finished for want of
/// space takes none.
fn make(disk: &dyn Disk, bytes: u64) -> Made {
    let mut file = match disk.rename(OLD, SPARE) {
        Ok(()) => {
            disk.sync_names()?; // its old name must be gone for good before its content goes
            disk.open(SPARE)?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(SPARE)?,
        Err(error) => return Err(error),
    };
    fill(&mut *file, bytes).map(|size| (file, size)).inspect_err(|error| {
        if is_full(error) {
            let _ = disk.remove(SPARE); // the next one replaces it anyway
        }
    })
}

/// Fills a file with zeros, all of it and at least so many bytes. Gives back how many.
fn fill(file: &mut dyn DiskFile, bytes: u64) -> io::Result<u64> {
    let size = bytes.max(file.size()?);
    let zeros = vec![0; usize::try_from(size).map_or(STRIDE, |size| size.min(STRIDE))];
    let mut at = 0;
    while at < size {
        let stride = usize::try_from(size - at).map_or(STRIDE, |rest| rest.min(STRIDE));
        file.write(at, zeros.get(..stride).unwrap_or_default())?;
        file.sync()?;
        at += stride as u64;
    }
    Ok(size)
}
