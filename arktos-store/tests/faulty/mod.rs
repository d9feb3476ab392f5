//! A disk in memory that fails as disks do: what was written and what is durable are two things, and a crash keeps any
//! part of the difference, sector by sector.
#![allow(dead_code)] // each test uses its own part

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use arktos_store::Random;
use arktos_store::clock::SeededRandom;
use arktos_store::log::{Disk, DiskFile};

const SECTOR: usize = 512;

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyDisk(Arc<Mutex<Image>>);

#[derive(Default)]
struct Image {
    /// Files by number, whether or not they still have a name.
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// What was done to the names since they were durable, in order.
    changes: Vec<Vec<(String, Option<usize>)>>,
    /// No file may make the disk hold more than this.
    capacity: Option<usize>,
    /// No write goes through, not even in the place of another: as on file systems that never overwrite.
    no_room: bool,
    fuse: Option<Fuse>,
    fired: bool,
    locked: bool,
    crashed: bool,
    /// How often something was made durable.
    syncs: u64,
    /// Decides which part of a write is done, and which sectors a failed sync has written.
    dice: u64,
    /// What the newest name is of.
    named: Option<What>,
}

#[derive(Default, Clone)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    /// It was made empty, and that may not be durable.
    emptied: bool,
    /// A header was written last.
    header: bool,
}

/// What makes something go wrong: counts down with each operation that it is about; at zero the fault happens.
#[derive(Clone, Copy)]
struct Fuse {
    left: u64,
    at: Point,
    fault: Fault,
}

/// What is done to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Create,
    Write,
    Sync,
    Rename,
    Remove,
    SyncNames,
}

/// What it is done to: for a rename, what it becomes; for a sync of the names, what was named last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Segment,
    Snapshot,
    Spare,
    /// The header of a segment to be.
    Header,
    Old,
    Unfinished,
}

/// A step at which something goes wrong. What is not said is any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    pub op: Option<Op>,
    pub what: Option<What>,
    /// It goes wrong after it was done.
    pub after: bool,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops: nothing more happens.
    Crash,
    /// A part of a write is done, and then the machine stops.
    TornWrite,
    /// The operation fails with an error of the device. A sync that fails has written any part, and the rest is taken
    /// for written.
    Error,
    /// There is no room, until somebody makes some.
    Full,
}

/// What comes of an operation.
#[derive(PartialEq, Eq)]
enum Verdict {
    Done,
    Part,
    DoneAndThen(Fault),
}

impl FaultyDisk {
    fn image(&self) -> MutexGuard<'_, Image> {
        self.0.lock().expect("no test panics with it")
    }

    /// Lets something go wrong at the `operations`th change from now.
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        self.fail_at(Point::default(), operations, fault, 0);
    }

    /// Lets something go wrong at a step, after so many times at which it did not.
    pub fn fail_at(&self, at: Point, times: u64, fault: Fault, seed: u64) {
        let mut image = self.image();
        image.fuse = Some(Fuse { left: times, at, fault });
        (image.fired, image.dice) = (false, seed);
    }

    /// Whether what was to go wrong did.
    pub fn has_fired(&self) -> bool {
        self.image().fired
    }

    /// The machine stops now.
    pub fn stop(&self) {
        self.image().crashed = true;
    }

    /// There is room again.
    pub fn make_room(&self) {
        let mut image = self.image();
        (image.capacity, image.no_room) = (None, false);
    }

    /// How much all files together hold.
    pub fn used(&self) -> usize {
        self.image().used()
    }

    /// Limits what all files together may hold.
    pub fn set_capacity(&self, capacity: Option<usize>) {
        self.image().capacity = capacity;
    }

    pub fn syncs(&self) -> u64 {
        self.image().syncs
    }

    pub fn has_crashed(&self) -> bool {
        self.image().crashed
    }

    /// The disk as it is found after a crash now.
    pub fn after_crash(&self, random: &dyn Random) -> Self {
        let image = self.image();
        let mut files = image.files.clone();
        for content in &mut files {
            let lost = content.emptied && random.next().is_multiple_of(2);
            let mut kept = if lost { Vec::new() } else { content.durable.clone() };
            for sector in &content.dirty {
                let range = sector * SECTOR..content.live.len().min((sector + 1) * SECTOR);
                if random.next().is_multiple_of(2) && range.start < range.end {
                    if kept.len() < range.end {
                        kept.resize(range.end, 0);
                    }
                    kept[range.clone()].copy_from_slice(&content.live[range]);
                }
            }
            *content = Content { live: kept.clone(), durable: kept, ..Content::default() };
        }
        let mut names = image.durable_names.clone();
        let kept = usize::try_from(random.next()).expect("64 bits") % (image.changes.len() + 1);
        for (name, file) in image.changes[..kept].iter().flatten() {
            match file {
                Some(file) => names.insert(name.clone(), *file),
                None => names.remove(name),
            };
        }
        let image = Image { files, durable_names: names.clone(), names, ..Image::default() };
        Self(Arc::new(Mutex::new(image)))
    }

    /// The disk as it is found when the process was killed now: all that was written is there.
    pub fn after_kill(&self) -> Self {
        let image = self.image();
        let image = Image {
            files: image.files.clone(),
            names: image.names.clone(),
            durable_names: image.durable_names.clone(),
            changes: image.changes.clone(),
            ..Image::default()
        };
        Self(Arc::new(Mutex::new(image)))
    }

    pub fn names(&self) -> Vec<String> {
        self.image().names.keys().cloned().collect()
    }

    pub fn content(&self, name: &str) -> Vec<u8> {
        let image = self.image();
        image.files[image.names[name]].live.clone()
    }

    /// Changes a file behind everybody's back, durably.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut image = self.image();
        let file = image.names[name];
        let content = &mut image.files[file];
        change(&mut content.live);
        content.durable = content.live.clone();
        content.dirty.clear();
    }

    pub fn remove_file(&self, name: &str) {
        let mut image = self.image();
        image.names.remove(name);
        image.durable_names.remove(name);
    }
}

impl Image {
    /// Counts an operation. Says what comes of it.
    fn operation(&mut self, op: Op, what: Option<What>) -> io::Result<Verdict> {
        if self.crashed {
            return Err(stopped());
        }
        let Some(fuse) = &mut self.fuse else { return Ok(Verdict::Done) };
        let here = fuse.at.op.is_none_or(|at| at == op) && (fuse.at.what.is_none() || fuse.at.what == what);
        if !here {
            return Ok(Verdict::Done);
        }
        if fuse.left > 0 {
            fuse.left -= 1;
            return Ok(Verdict::Done);
        }
        let Fuse { at, fault, .. } = *fuse;
        (self.fuse, self.fired) = (None, true);
        if fault == Fault::Full {
            self.capacity = Some(self.used());
            self.no_room = what == Some(What::Segment);
        }
        match fault {
            _ if at.after => Ok(Verdict::DoneAndThen(fault)),
            Fault::TornWrite => Ok(Verdict::Part),
            Fault::Full if op == Op::Write => Ok(Verdict::Part),
            fault => Err(self.happens(fault)),
        }
    }

    /// The error that an operation fails with.
    fn happens(&mut self, fault: Fault) -> io::Error {
        match fault {
            Fault::Error => io::Error::other("input/output error"),
            Fault::Full => io::ErrorKind::StorageFull.into(),
            Fault::Crash | Fault::TornWrite => {
                self.crashed = true;
                stopped()
            }
        }
    }

    /// What is left to say after an operation was done, or a part of it.
    fn ends(&mut self, verdict: &Verdict) -> io::Result<()> {
        match verdict {
            Verdict::Done => Ok(()),
            Verdict::Part if self.capacity.is_some() => Err(self.happens(Fault::Full)),
            Verdict::Part => Err(self.happens(Fault::TornWrite)),
            Verdict::DoneAndThen(fault) => Err(self.happens(*fault)),
        }
    }

    /// What a file is, by its name.
    fn what(&self, file: usize) -> Option<What> {
        let (name, _) = self.names.iter().find(|(_, known)| **known == file)?;
        match what_is(name)? {
            What::Spare if self.files[file].header => Some(What::Header),
            what => Some(what),
        }
    }

    fn roll(&mut self, sides: usize) -> usize {
        let random = SeededRandom::new(self.dice);
        self.dice = random.next();
        usize::try_from(self.dice >> 1).expect("63 bits") % sides.max(1)
    }

    fn used(&self) -> usize {
        self.names.values().map(|file| self.files[*file].live.len()).sum()
    }

    /// Changes names, all of them or none.
    fn name(&mut self, changes: &[(&str, Option<usize>)]) {
        for (name, file) in changes {
            match file {
                Some(file) => self.names.insert((*name).to_owned(), *file),
                None => self.names.remove(*name),
            };
            self.named = what_is(name);
        }
        self.changes.push(changes.iter().map(|(name, file)| ((*name).to_owned(), *file)).collect());
    }
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

fn what_is(name: &str) -> Option<What> {
    match name {
        "spare" => Some(What::Spare),
        "old" => Some(What::Old),
        "unfinished" => Some(What::Unfinished),
        name if name.starts_with("log-") => Some(What::Segment),
        name if name.starts_with("snapshot-") => Some(What::Snapshot),
        _ => None,
    }
}

struct Unlock(FaultyDisk);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.image().locked = false;
    }
}

impl Disk for FaultyDisk {
    fn place(&self) -> String {
        "disk".to_owned()
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Send>>> {
        let before = std::mem::replace(&mut self.image().locked, true);
        Ok((!before).then(|| Box::new(Unlock(self.clone())) as Box<dyn Send>))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.image().names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(FaultyFile { disk: self.clone(), file }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut image = self.image();
        let verdict = image.operation(Op::Create, what_is(name))?;
        let known = image.names.get(name).copied();
        let file = known.unwrap_or(image.files.len());
        match known {
            // the same file, which may be found under another name after a crash
            Some(file) => {
                let content = &mut image.files[file];
                content.live.clear();
                content.dirty.clear();
                content.emptied = true;
            }
            None => {
                image.files.push(Content::default());
                image.name(&[(name, Some(file))]);
            }
        }
        image.ends(&verdict)?;
        Ok(Box::new(FaultyFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut image = self.image();
        let file = image.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        let verdict = image.operation(Op::Rename, what_is(to))?;
        image.name(&[(from, None), (to, Some(file))]);
        image.ends(&verdict)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut image = self.image();
        let verdict = image.operation(Op::Remove, what_is(name))?;
        if !image.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        image.name(&[(name, None)]);
        image.ends(&verdict)
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut image = self.image();
        let named = image.named;
        let verdict = image.operation(Op::SyncNames, named)?;
        image.durable_names = image.names.clone();
        image.changes.clear();
        image.ends(&verdict)
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    file: usize,
}

impl DiskFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.image().files[self.file].live.len() as u64)
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let image = self.disk.image();
        let live = &image.files[self.file].live;
        let from = usize::try_from(offset).expect("small").min(live.len());
        let length = into.len().min(live.len() - from);
        into[..length].copy_from_slice(&live[from..from + length]);
        Ok(length)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut image = self.disk.image();
        let from = usize::try_from(offset).expect("small");
        image.files[self.file].header = from == 0 && bytes.len() == 64;
        let what = image.what(self.file);
        let verdict = image.operation(Op::Write, what)?;
        if image.no_room && verdict != Verdict::Part {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut length = if verdict == Verdict::Part { image.roll(bytes.len()) } else { bytes.len() };
        let live = &image.files[self.file].live;
        if length < bytes.len() && live.get(from..).is_some_and(|old| old.iter().take(length).any(|byte| *byte != 0)) {
            // a sector of what was there is the old one or the new one
            length = ((from + length) / SECTOR * SECTOR).saturating_sub(from);
        }
        let grows = (from + length).saturating_sub(image.files[self.file].live.len());
        if grows > 0 && image.capacity.is_some_and(|capacity| image.used() + grows > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = &mut image.files[self.file];
        content.live.resize(content.live.len() + grows, 0);
        content.live[from..from + length].copy_from_slice(&bytes[..length]);
        content.dirty.extend(from / SECTOR..(from + length).div_ceil(SECTOR));
        image.ends(&verdict)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut image = self.disk.image();
        let what = image.what(self.file);
        let errs = image.fuse.is_some_and(|fuse| fuse.fault == Fault::Error && !fuse.at.after);
        let verdict = image.operation(Op::Sync, what);
        let lossy = verdict.is_err() && errs && !image.crashed;
        if verdict.is_err() && !lossy {
            return verdict.map(drop);
        }
        image.syncs += 1;
        if image.files[self.file].emptied && !lossy {
            image.files[self.file].durable.clear();
        }
        let sectors = std::mem::take(&mut image.files[self.file].dirty);
        for sector in sectors {
            if lossy && image.roll(2) == 0 {
                continue; // it is lost, and nobody will write it again
            }
            let content = &mut image.files[self.file];
            let range = sector * SECTOR..content.live.len().min((sector + 1) * SECTOR);
            if content.durable.len() < range.end {
                content.durable.resize(range.end, 0);
            }
            content.durable[range.clone()].copy_from_slice(&content.live[range]);
        }
        if !lossy {
            let content = &mut image.files[self.file];
            let size = content.live.len();
            content.durable.resize(size, 0);
            content.emptied = false;
        }
        let verdict = verdict?;
        image.ends(&verdict)
    }
}
