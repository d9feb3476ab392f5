//! The objects of one resource, in the order of their paths.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::hint::black_box;
use std::ops::Bound;

use arktos_core::ObjectPath;
use imbl::OrdSet;
use smallvec::SmallVec;

use crate::select::{Stored, Within};

/// The objects of one resource, in the order of their paths. Cloning it costs the same however many there are.
#[derive(Clone, Default)]
pub(crate) struct Objects(OrdSet<ByPath>);

/// An object that stands where its path says: the path is kept once, in the object.
#[derive(Clone)]
struct ByPath(Stored);

impl Objects {
    /// The object at a path.
    pub(crate) fn get(&self, path: &ObjectPath) -> Option<&Stored> {
        self.0.get(path.as_str()).map(|ByPath(stored)| stored)
    }

    /// Puts an object where its path says. Gives back the one that was there.
    pub(crate) fn insert(&mut self, stored: Stored) -> Option<Stored> {
        self.0.insert(ByPath(stored)).map(|ByPath(stored)| stored)
    }

    /// Takes out the object at a path.
    pub(crate) fn remove(&mut self, path: &ObjectPath) -> Option<Stored> {
        self.0.remove(path.as_str()).map(|ByPath(stored)| stored)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Borrow<str> for ByPath {
    fn borrow(&self) -> &str {
        self.0.path.as_str()
    }
}

impl PartialEq for ByPath {
    fn eq(&self, other: &Self) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for ByPath {}

impl PartialOrd for ByPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.path.cmp(&other.0.path)
    }
}

/// Walks a range of paths, a few dozen objects at a time.
pub(crate) struct Range {
    objects: Objects,
    prefix: String,
    exact: bool,
    from: Bound<String>,
    ready: VecDeque<Stored>,
    done: bool,
}

/// Reads the memory in which an object's counts of references are.
fn first_bytes(stored: &Stored) -> usize {
    usize::from(stored.path.as_str().as_bytes().first().copied().unwrap_or(0)) ^ stored.object.tail().len()
}

/// How many objects are taken at a time.
const STRIDE: usize = 64;

impl Range {
    pub(crate) fn new(objects: Objects, within: &Within, after: Option<&ObjectPath>) -> Self {
        let prefix = within.prefix();
        let from = match after {
            Some(after) if after.as_str() >= prefix.as_str() => Bound::Excluded(after.as_str().to_owned()),
            _ => Bound::Included(prefix.clone()),
        };
        let exact = matches!(within, Within::Object(_));
        Self { objects, prefix, exact, from, ready: VecDeque::new(), done: false }
    }

    fn fill(&mut self) {
        let from = match &self.from {
            Bound::Included(path) => Bound::Included(path.as_str()),
            Bound::Excluded(path) => Bound::Excluded(path.as_str()),
            Bound::Unbounded => Bound::Unbounded,
        };
        let inside = |path: &ObjectPath| match self.exact {
            true => path.as_str() == self.prefix,
            false => path.as_str().starts_with(&self.prefix),
        };
        let range = self.objects.0.range::<_, str>((from, Bound::Unbounded)).take(STRIDE).map(|ByPath(stored)| stored);
        let stride: SmallVec<[&Stored; STRIDE]> = range.take_while(|stored| inside(&stored.path)).collect();
        // Counting a reference waits for its memory, one object after the other. Reading all of them first lets the
        // processor fetch them at once.
        black_box(stride.iter().fold(0, |read, stored| read ^ first_bytes(stored)));
        self.ready.extend(stride.into_iter().cloned());
        match self.ready.back() {
            Some(last) if self.ready.len() == STRIDE => self.from = Bound::Excluded(last.path.as_str().to_owned()),
            _ => self.done = true,
        }
    }
}

impl Iterator for Range {
    type Item = Stored;

    fn next(&mut self) -> Option<Stored> {
        if self.ready.is_empty() && !self.done {
            self.fill();
        }
        self.ready.pop_front()
    }
}
