//! What was decoded becomes the state on a thread of its own, while what follows is decoded.
//!
//! Objects are made where they are decoded: on the thread that opens the store. The allocator gives memory to a
//! process's first thread in larger pieces than to the others, and this is nearly all the memory there will be.

use std::thread;

use crossbeam::channel::{Sender, bounded};

use super::record::Entry;
use super::snapshot;
use crate::storage::{Group, Restore};

/// How many entries and records are handed over at a time.
const BATCH: usize = 256;
/// How many of those wait to be taken.
const WAITING: usize = 4;

/// A part of the state, decoded.
enum Part {
    /// An entry of a snapshot.
    Entry(Entry),
    /// What else a snapshot says, when all of its entries were given.
    Snapshot(snapshot::Contents),
    /// A group of the log.
    Group(Group),
}

/// Takes what was decoded, in order.
pub(super) struct Decoded {
    parts: Sender<Vec<Part>>,
    batch: Vec<Part>,
    /// How many entries and records are in the batch.
    size: usize,
}

/// Restores what `decode` gives, on a thread of its own. Gives back what `decode` returns, when all is restored.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn restore_apart<R>(restore: &mut Restore, decode: impl FnOnce(&mut Decoded) -> R) -> std::io::Result<R> {
    let (parts, taken) = bounded::<Vec<Part>>(WAITING);
    thread::scope(|scope| {
        let run = move || {
            for part in taken.into_iter().flatten() {
                match part {
                    Part::Entry(entry) => snapshot::take(restore, entry),
                    Part::Snapshot(found) => snapshot::taken(restore, &found),
                    Part::Group(group) => restore.group(&group),
                }
            }
        };
        thread::Builder::new().name("arktos-log-restorer".to_owned()).spawn_scoped(scope, run)?;
        let mut decoded = Decoded { parts, batch: Vec::new(), size: 0 };
        let outcome = decode(&mut decoded);
        decoded.hand_over();
        Ok(outcome) // `decoded` is dropped, which ends the thread, and the scope waits for that
    })
}

impl Decoded {
    /// An entry of a snapshot.
    pub(super) fn entry(&mut self, entry: Entry) {
        self.give(Part::Entry(entry), 1);
    }

    /// All entries of a snapshot were given.
    pub(super) fn snapshot(&mut self, found: snapshot::Contents) {
        self.give(Part::Snapshot(found), 1);
    }

    /// A group of the log, after all before it.
    pub(super) fn group(&mut self, group: Group) {
        let size = group.records.len() + 1;
        self.give(Part::Group(group), size);
    }

    fn give(&mut self, part: Part, size: usize) {
        self.batch.push(part);
        self.size += size;
        if self.size >= BATCH {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.size = 0;
        let _ = self.parts.send(std::mem::take(&mut self.batch)); // the thread takes them until the end
    }
}
