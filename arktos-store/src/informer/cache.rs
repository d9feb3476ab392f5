//! The local store of an informer: objects by path, and by whatever else they are looked up by.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use arktos_core::{ObjectPath, Revision};
use imbl::OrdSet;
use parking_lot::RwLock;

use super::{Decode, Event, Located};
use crate::select::{Stored, Within};

/// Gives the keys under which an object is found in an index; none, when it is not in it.
pub type IndexFn<T> = Arc<dyn Fn(&ObjectPath, &T) -> Vec<Arc<str>> + Send + Sync>;

/// The local store of an informer. Cloning it shares it.
///
/// Reads take a short lock; [`view`](Self::view) takes a consistent state out of it in O(1), to be read without one.
pub struct Store<T>(Arc<RwLock<View<T>>>); // written by the informer's driver alone

/// One state of an informer's local store. It does not change; taking or cloning it costs O(1).
pub struct View<T> {
    objects: OrdSet<ByPath<T>>,
    indexes: Vec<Index<T>>,
}

/// What is kept of an object, in the order of their paths: it knows its own. Trees are half empty where objects come in
/// order, so a place in one is a pointer and no more.
struct ByPath<T>(Arc<T>);

struct Index<T> {
    name: &'static str,
    keys_of: IndexFn<T>,
    places: OrdSet<(Arc<str>, ObjectPath)>,
}

impl<T: Decode> Store<T> {
    pub(super) fn new(indexes: Vec<(&'static str, IndexFn<T>)>) -> Self {
        let indexes =
            indexes.into_iter().map(|(name, keys_of)| Index { name, keys_of, places: OrdSet::new() }).collect();
        Self(Arc::new(RwLock::new(View { objects: OrdSet::new(), indexes })))
    }

    /// One object.
    #[must_use]
    pub fn get(&self, path: &ObjectPath) -> Option<Arc<T>> {
        self.0.read().get(path)
    }

    /// All objects, in the order of their paths.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<T>> {
        self.view().iter().map(|(_, value)| value.clone()).collect()
    }

    /// The objects within a range of paths, in order.
    #[must_use]
    pub fn within(&self, within: &Within) -> Vec<Arc<T>> {
        self.view().within(within).map(|(_, value)| value.clone()).collect()
    }

    /// The objects under a key of an index, in the order of their paths.
    #[must_use]
    pub fn by(&self, index: &'static str, key: &str) -> Vec<Arc<T>> {
        self.0.read().by(index, key).map(|(_, value)| value.clone()).collect()
    }

    /// The objects under a key of an index that are within a range of paths, in order: what one tenant has under it,
    /// for one.
    #[must_use]
    pub fn by_within(&self, index: &'static str, key: &str, within: &Within) -> Vec<Arc<T>> {
        self.0.read().by_within(index, key, within).map(|(_, value)| value.clone()).collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.read().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The state now, in O(1).
    #[must_use]
    pub fn view(&self) -> View<T> {
        self.0.read().clone()
    }

    /// Takes a new state of an object in and says what has changed.
    pub(super) fn put(&self, stored: &Stored, new: Arc<T>) -> Event<T> {
        let mut state = self.0.write();
        let path = stored.path.clone();
        let old = state.objects.insert(ByPath(new.clone())).map(|ByPath(old)| old);
        for index in &mut state.indexes {
            index.change(&path, old.as_deref(), Some(&new));
        }
        drop(state);
        match old {
            Some(old) => Event::Updated { path, old, new },
            None => Event::Added { path, new },
        }
    }

    /// Takes an object out and says so, if it was there.
    pub(super) fn remove(&self, path: &ObjectPath) -> Option<Event<T>> {
        let mut state = self.0.write();
        let ByPath(old) = state.objects.remove(path.as_str())?;
        for index in &mut state.indexes {
            index.change(path, Some(&old), None);
        }
        drop(state);
        Some(Event::Removed { path: path.clone(), old })
    }

    /// What is here at a path: its revision, and whether it is the same object, of the same uid, as `stored`.
    pub(super) fn stands(&self, stored: &Stored) -> Option<(Revision, bool)> {
        let here = self.get(&stored.path)?;
        let here = here.source();
        Some((here.revision(), here.identity() == stored.identity()))
    }
}

impl<T: Decode> View<T> {
    /// One object.
    #[must_use]
    pub fn get(&self, path: &ObjectPath) -> Option<Arc<T>> {
        self.objects.get(path.as_str()).map(|ByPath(value)| value.clone())
    }

    /// All objects, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectPath, &Arc<T>)> {
        self.objects.iter().map(|ByPath(value)| (value.source().path(), value))
    }

    /// The objects within a range of paths, in order.
    pub fn within(&self, within: &Within) -> impl Iterator<Item = (&ObjectPath, &Arc<T>)> + use<'_, T> {
        let (prefix, exact) = (within.prefix(), matches!(within, Within::Object(_)));
        let from = self.objects.range::<_, str>((Bound::Included(&*prefix), Bound::Unbounded));
        let inside = move |path: &str| if exact { path == prefix } else { path.starts_with(&*prefix) };
        let here = from.map(|ByPath(value)| (value.source().path(), value));
        here.take_while(move |(path, _)| inside(path.as_str()))
    }

    /// The tenants that have objects here, in order; an empty name stands for objects that belong to none. Costs a
    /// look-up a tenant, however many objects there are.
    pub fn tenants(&self) -> impl Iterator<Item = &str> + use<'_, T> {
        let first = self.objects.get_min().map(|ByPath(value)| value.source().path().tenant());
        std::iter::successors(first, move |tenant| {
            let beyond = format!("{tenant}0"); // '0' comes right after '/', which ends a tenant's name in a path
            let mut rest = self.objects.range::<_, str>((Bound::Included(&*beyond), Bound::Unbounded));
            rest.next().map(|ByPath(value)| value.source().path().tenant())
        })
    }

    /// The objects under a key of an index that are within a range of paths, in order: what one tenant has under it,
    /// for one.
    pub fn by_within(
        &self,
        index: &'static str,
        key: &str,
        within: &Within,
    ) -> impl Iterator<Item = (&ObjectPath, &Arc<T>)> + use<'_, T> {
        let found = self.indexes.iter().find(|candidate| candidate.name == index);
        debug_assert!(found.is_some(), "no index {index}");
        let (key, within): (Arc<str>, _) = (key.into(), within.clone());
        let first = (key.clone(), within.first());
        found
            .into_iter()
            .flat_map(move |index| index.places.range(first.clone()..))
            .take_while(move |(place, path)| *place == key && within.contains(path))
            .filter_map(|(_, path)| self.objects.get(path.as_str()).map(|ByPath(value)| (path, value)))
    }

    /// The objects under a key of an index, in the order of their paths. An index nobody made has none.
    pub fn by(&self, index: &'static str, key: &str) -> impl Iterator<Item = (&ObjectPath, &Arc<T>)> + use<'_, T> {
        self.by_within(index, key, &Within::Everywhere)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

impl<T> Index<T> {
    fn change(&mut self, path: &ObjectPath, old: Option<&T>, new: Option<&T>) {
        let before = old.map_or_else(Vec::new, |value| (self.keys_of)(path, value));
        let after = new.map_or_else(Vec::new, |value| (self.keys_of)(path, value));
        for key in before.iter().filter(|key| !after.contains(key)) {
            self.places.remove(&(key.clone(), path.clone()));
        }
        for key in after {
            if !before.contains(&key) {
                self.places.insert((key, path.clone()));
            }
        }
    }
}

impl<T: Decode> Borrow<str> for ByPath<T> {
    fn borrow(&self) -> &str {
        self.0.source().path().as_str()
    }
}

impl<T: Decode> PartialEq for ByPath<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.source().path() == other.0.source().path()
    }
}

impl<T: Decode> Eq for ByPath<T> {}

impl<T: Decode> PartialOrd for ByPath<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Decode> Ord for ByPath<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.source().path().cmp(other.0.source().path())
    }
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for View<T> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), indexes: self.indexes.clone() }
    }
}

impl<T> Clone for ByPath<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for Index<T> {
    fn clone(&self) -> Self {
        Self { name: self.name, keys_of: self.keys_of.clone(), places: self.places.clone() }
    }
}
