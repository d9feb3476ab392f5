//! The objects of one resource, in the order of their paths.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::hint::black_box;
use std::ops::{Bound, ControlFlow};

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

    /// Shows the objects within a range of paths, in order, after a path where one is given, until it is told to stop.
    pub(crate) fn walk(
        &self,
        within: &Within,
        after: Option<&ObjectPath>,
        mut visit: impl FnMut(&Stored) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let bounds = Bounds::new(within, after);
        let mut inside = bounds.of(&self.0);
        loop {
            let stride: SmallVec<[&Stored; STRIDE]> = inside.by_ref().take(STRIDE).collect();
            fetch(&stride, |stored| stored.object.tail_length());
            if stride.is_empty() {
                return ControlFlow::Continue(());
            }
            stride.into_iter().try_for_each(&mut visit)?;
        }
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

/// A range of paths.
struct Bounds {
    prefix: String,
    exact: bool,
    from: Bound<String>,
}

impl Bounds {
    fn new(within: &Within, after: Option<&ObjectPath>) -> Self {
        let prefix = within.prefix();
        let from = match after {
            Some(after) if after.as_str() >= prefix.as_str() => Bound::Excluded(after.as_str().to_owned()),
            _ => Bound::Included(prefix.clone()),
        };
        Self { exact: matches!(within, Within::Object(_)), prefix, from }
    }

    /// The objects inside.
    fn of<'a>(&'a self, objects: &'a OrdSet<ByPath>) -> impl Iterator<Item = &'a Stored> {
        let inside = |path: &ObjectPath| match self.exact {
            true => path.as_str() == self.prefix,
            false => self.prefix.is_empty() || path.as_str().starts_with(&self.prefix),
        };
        let from = self.from.as_ref().map(String::as_str);
        let range = objects.range::<_, str>((from, Bound::Unbounded)).map(|ByPath(stored)| stored);
        range.take_while(move |stored| inside(&stored.path))
    }
}

/// Walks a range of paths, a few dozen objects at a time, and hands them out to keep.
pub(crate) struct Range {
    objects: Objects,
    bounds: Bounds,
    ready: VecDeque<Stored>,
    done: bool,
}

/// How many objects are taken at a time.
const STRIDE: usize = 64;

/// Whoever looks at objects one after the other waits for the memory of each. Looking at all of them first lets the
/// processor fetch it for all of them at once.
fn fetch(stride: &[&Stored], look: impl Fn(&Stored) -> usize) {
    black_box(stride.iter().fold(0, |seen, stored| seen ^ look(stored)));
}

impl Range {
    pub(crate) fn new(objects: Objects, within: &Within, after: Option<&ObjectPath>) -> Self {
        Self { objects, bounds: Bounds::new(within, after), ready: VecDeque::new(), done: false }
    }

    fn fill(&mut self) {
        let stride: SmallVec<[&Stored; STRIDE]> = self.bounds.of(&self.objects.0).take(STRIDE).collect();
        fetch(&stride, |it| {
            it.object.tail_length() ^ it.path.as_str().as_bytes().first().map_or(0, |b| usize::from(*b))
        });
        self.ready.extend(stride.into_iter().cloned());
        match self.ready.back() {
            Some(last) if self.ready.len() == STRIDE => {
                self.bounds.from = Bound::Excluded(last.path.as_str().to_owned());
            }
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
