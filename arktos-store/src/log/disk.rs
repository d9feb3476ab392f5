//! The disk, as the log uses it: a seam at which tests inject faults, and at which others may bring a disk of their
//! own.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One directory with files in it.
///
/// What is written is durable after [`DiskFile::sync`], names are durable after [`Disk::sync_names`]; before that, any
/// part of it may be lost in a crash, sector by sector and in any order.
pub trait Disk: Send + Sync + 'static {
    /// What the directory is called, for messages.
    fn place(&self) -> String;

    /// Keeps every other process out until the guard is dropped; none when another process is in.
    ///
    /// # Errors
    /// What the system says.
    fn lock(&self) -> io::Result<Option<Box<dyn Send>>>;

    /// The names of the files.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Makes a new, empty file, in the place of one with that name.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in the place of one that has it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_names(&self) -> io::Result<()>;
}

/// One open file.
pub trait DiskFile: Send {
    /// Its size in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Reads at an offset; gives back how many bytes there were.
    ///
    /// # Errors
    /// What the system says.
    fn read(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at an offset.
    ///
    /// # Errors
    /// What the system says; then any part of it may be written.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the system says; then nobody knows what is durable, and asking again does not help.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the file system.
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// A directory, made if it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        if let Some(parent) = path.canonicalize()?.parent() {
            sync_directory(parent)?;
        }
        Ok(Self { path: path.to_owned() })
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

impl Disk for Directory {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Send>>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.path.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(Lock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(Handle(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(Handle(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }
}

/// Keeps other processes out. The lock is given back by word, as closing the file does not do it while a process that
/// another thread is just starting still has its copy of it.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock(); // else the end of the last copy does it
    }
}

struct Handle(File);

impl DiskFile for Handle {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < into.len() {
            match self.0.read_at(&mut into[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(some) => read += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// All of a file.
pub(super) fn read_all(file: &mut dyn DiskFile) -> io::Result<Vec<u8>> {
    let size = usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; size];
    let read = file.read(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Whether an error says that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_go_of_is_free_whoever_has_a_copy_of_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = Directory::new(directory.path()).expect("is there");
        let file = File::create(directory.path().join("lock")).expect("is made");
        file.try_lock().expect("is free");
        let copy = file.try_clone().expect("as a process being started has one");
        let lock = Lock(file);
        assert!(disk.lock().expect("can be asked").is_none());
        drop(lock);
        assert!(disk.lock().expect("can be asked").is_some());
        drop(copy);
    }
}
