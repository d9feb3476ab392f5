//! Is what several clients have seen of a store at the same time what one store, asked one thing after the other, could
//! have told them?
//!
//! # What is promised
//!
//! The order is not looked for, as a general checker must: the store names it. Every write has a revision, and a watch
//! from the beginning gives back all writes in the order of their revisions ([`Entry`]). That order is the witness, and
//! it is checked, not believed: whoever invents, loses, repeats or reorders a write cannot at the same time fit it to
//! what was answered to clients. With `p` for a place in that order (after `p` writes), the documents promise:
//!
//! * **A commit that was accepted** is in the order, all its writes next to each other, each at the revision that was
//!   answered, and at no other; its expectations, guards and limits hold right before it. One that changes nothing (a
//!   deletion of what is not there, a commit of guards alone) holds at the revision it was answered.
//! * **A refusal** (conflict, guard, limit) is explained by some place within the call: there the object is as reported
//!   and what was asked does not hold.
//! * **Any other refusal** has not happened: nothing of it is in the order.
//! * **An unknown outcome** (the connection or the disk broke, the caller gave up) has happened whole, at any time
//!   after the call began, or not at all.
//! * **Real time**: what had ended before something else began has no later place.
//! * **A read** says at which revision it looks, and everything it sees is as it was there. `latest` obeys real time in
//!   both directions whoever asks. So do `snapshot` and `not_older_than` on a store of this process; on a store that is
//!   shared they may be behind what other engines have written, but never behind what the same engine has answered or
//!   shown. `not_older_than(r)` is not older than `r`.
//!
//! Relaxed writes are left out: they may be lost after they were answered, and the documents say so. So are commits of
//! counters alone, which have no place of their own in the order.
#![allow(dead_code)] // each test uses its own part

mod check;
pub mod load;
mod refuted;

use arktos_store::Expect;

pub use self::check::{Counted, Why, check};

/// An object's number.
pub type Key = u8;

/// An object as it was seen: its revision, and its value, which no two writes have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub revision: u64,
    pub value: u64,
}

/// One thing that a client did. Times are tickets: no two alike, in the order in which they were drawn.
#[derive(Debug, Clone)]
pub struct Op {
    /// The engine that was asked.
    pub engine: usize,
    pub call: u64,
    /// None where nobody waited for the end.
    pub ended: Option<u64>,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    Commit(Plan, Outcome),
    Read(Read),
}

/// A commit. Of several writes, the first is not a deletion, and all deletions ask that the object is there.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub writes: Vec<PlannedWrite>,
    pub guards: Vec<(Key, Expect)>,
    /// Counter, change, limit.
    pub counters: Vec<(u8, i64, Option<i64>)>,
}

#[derive(Debug, Clone, Copy)]
pub struct PlannedWrite {
    pub key: Key,
    pub expect: Expect,
    /// None deletes.
    pub value: Option<u64>,
}

#[derive(Debug, Clone)]
pub enum Outcome {
    Committed {
        revisions: Vec<u64>,
        revision: u64,
    },
    Conflict {
        key: Key,
        found: Option<Seen>,
    },
    Guarded {
        key: Key,
        found: Option<Seen>,
    },
    Limit {
        counter: u8,
        value: i64,
    },
    /// For another reason, which says that nothing happened.
    Refused,
    Unknown,
}

/// What a reader asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Latest,
    Snapshot,
    NotOlderThan(u64),
}

/// What was found in one snapshot.
#[derive(Debug, Clone)]
pub struct Read {
    pub how: How,
    pub revision: u64,
    pub objects: Vec<(Key, Option<Seen>)>,
    /// How many objects there are of which of the two resources.
    pub count: Option<(u8, usize)>,
    pub counters: Vec<(u8, i64)>,
}

/// A write in the order that the store names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub revision: u64,
    pub key: Key,
    pub change: Written,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Put(u64),
    /// The object that was deleted had this value.
    Deleted(u64),
}

/// Which of the two resources an object is of.
pub fn resource_of(key: Key) -> u8 {
    key % 2
}
