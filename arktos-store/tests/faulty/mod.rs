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
    changes: Vec<(String, Option<usize>)>,
    /// No file may make the disk hold more than this.
    capacity: Option<usize>,
    /// Counts down with each operation that changes something; at zero the fault happens.
    fuse: Option<(u64, Fault)>,
    locked: bool,
    crashed: bool,
    /// How often something was made durable.
    syncs: u64,
}

#[derive(Default, Clone)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops: nothing more happens.
    Crash,
    /// A part of a write is done, and then the machine stops.
    TornWrite,
    /// The operation fails with an error of the device.
    Error,
}

impl FaultyDisk {
    fn image(&self) -> MutexGuard<'_, Image> {
        self.0.lock().expect("no test panics with it")
    }

    /// Lets something go wrong at the `operations`th change from now.
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        self.image().fuse = Some((operations, fault));
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
    pub fn after_crash(&self, random: &SeededRandom) -> Self {
        let image = self.image();
        let mut files = image.files.clone();
        for content in &mut files {
            let mut kept = content.durable.clone();
            for sector in &content.dirty {
                let range = sector * SECTOR..content.live.len().min((sector + 1) * SECTOR);
                if random.next().is_multiple_of(2) && range.start < range.end {
                    if kept.len() < range.end {
                        kept.resize(range.end, 0);
                    }
                    kept[range.clone()].copy_from_slice(&content.live[range]);
                }
            }
            *content = Content { live: kept.clone(), durable: kept, dirty: BTreeSet::new() };
        }
        let mut names = image.durable_names.clone();
        let kept = usize::try_from(random.next()).expect("64 bits") % (image.changes.len() + 1);
        for (name, file) in &image.changes[..kept] {
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
    /// Counts an operation. Says what goes wrong with it, if anything does.
    fn operation(&mut self) -> io::Result<Option<Fault>> {
        if self.crashed {
            return Err(io::Error::other("the machine has stopped"));
        }
        let Some((left, fault)) = &mut self.fuse else { return Ok(None) };
        if *left > 0 {
            *left -= 1;
            return Ok(None);
        }
        let fault = *fault;
        self.fuse = None;
        match fault {
            Fault::Error => Err(io::Error::other("input/output error")),
            Fault::Crash => {
                self.crashed = true;
                Err(io::Error::other("the machine has stopped"))
            }
            Fault::TornWrite => {
                self.crashed = true;
                Ok(Some(fault))
            }
        }
    }

    fn used(&self) -> usize {
        self.names.values().map(|file| self.files[*file].live.len()).sum()
    }

    fn name(&mut self, name: &str, file: Option<usize>) {
        match file {
            Some(file) => self.names.insert(name.to_owned(), file),
            None => self.names.remove(name),
        };
        self.changes.push((name.to_owned(), file));
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
        if image.operation()?.is_some() {
            return Err(io::Error::other("the machine has stopped"));
        }
        image.files.push(Content::default());
        let file = image.files.len() - 1;
        image.name(name, Some(file));
        Ok(Box::new(FaultyFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut image = self.image();
        let file = image.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        if image.operation()?.is_some() {
            return Err(io::Error::other("the machine has stopped"));
        }
        image.name(from, None);
        image.name(to, Some(file));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut image = self.image();
        if image.operation()?.is_some() {
            return Err(io::Error::other("the machine has stopped"));
        }
        image.name(name, None);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut image = self.image();
        if image.operation()?.is_some() {
            return Err(io::Error::other("the machine has stopped"));
        }
        image.durable_names = image.names.clone();
        image.changes.clear();
        Ok(())
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
        let fault = image.operation()?;
        let from = usize::try_from(offset).expect("small");
        let length = if fault.is_some() { bytes.len() / 2 } else { bytes.len() };
        let grows = (from + length).saturating_sub(image.files[self.file].live.len());
        if grows > 0 && image.capacity.is_some_and(|capacity| image.used() + grows > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = &mut image.files[self.file];
        content.live.resize(content.live.len() + grows, 0);
        content.live[from..from + length].copy_from_slice(&bytes[..length]);
        content.dirty.extend(from / SECTOR..(from + length).div_ceil(SECTOR));
        if fault.is_some() { Err(io::Error::other("the machine has stopped")) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut image = self.disk.image();
        if image.operation()?.is_some() {
            return Err(io::Error::other("the machine has stopped"));
        }
        image.syncs += 1;
        let content = &mut image.files[self.file];
        content.durable.clone_from(&content.live);
        content.dirty.clear();
        Ok(())
    }
}
