//! The objects of one resource, in the order of their paths; of pods, by their host as well.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use arktos_core::{GroupResource, ObjectPath};
use imbl::OrdSet;
use smallvec::SmallVec;

use crate::select::{Field, FieldTest, Selection, Stored, Within};

/// The objects of one resource, in the order of their paths. Cloning it costs the same however many there are.
#[derive(Clone, Default)]
pub(crate) struct Objects {
    all: OrdSet<ByPath>,
    /// Where those are that have a value in one field.
    index: Option<Index>,
}

/// What is looked for by a field so often that looking through all would not do: pods by their host, which each host
/// does. (The resource, and the field's place in the header.)
const INDEXED: [(&str, usize); 1] = [("pods", 0)];

/// The paths of the objects that have a value in a field, by the value. As upstream's `spec.nodeName` index.
#[derive(Clone)]
struct Index {
    /// The field's place in the header.
    place: usize,
    paths: OrdSet<(u64, ObjectPath)>,
}

impl Index {
    /// A value as it is filed: values of the same digest are told apart by who looks.
    fn digest(value: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    }

    /// An object was put in a place, where another one may have been.
    fn replace(&mut self, path: &ObjectPath, old: Option<&Stored>, new: Option<&Stored>) {
        let place = self.place;
        let value =
            |stored: Option<&Stored>| stored.map_or_else(String::new, |it| it.object.header().field(place).into());
        let (old, new) = (value(old), value(new));
        if old == new {
            return;
        }
        if !old.is_empty() {
            self.paths.remove(&(Self::digest(&old), path.clone()));
        }
        if !new.is_empty() {
            self.paths.insert((Self::digest(&new), path.clone()));
        }
    }
}

/// An object that stands where its path says: the path is kept once, in the object. Trees are half empty where objects
/// come in order, so a place in one is a pointer and no more; readers, history and informers share what it points to.
#[derive(Clone)]
struct ByPath(Arc<Stored>);

impl Objects {
    /// No objects of a resource yet.
    pub(crate) fn of(resource: &GroupResource) -> Self {
        let indexed = INDEXED.iter().find(|(name, _)| *name == resource.as_str());
        let index = indexed.map(|(_, place)| Index { place: *place, paths: OrdSet::new() });
        Self { all: OrdSet::new(), index }
    }

    /// The object at a path.
    pub(crate) fn get(&self, path: &ObjectPath) -> Option<&Arc<Stored>> {
        self.all.get(path.as_str()).map(|ByPath(stored)| stored)
    }

    /// Puts an object where its path says. Gives back the one that was there.
    pub(crate) fn insert(&mut self, stored: Arc<Stored>) -> Option<Arc<Stored>> {
        if let Some(index) = &mut self.index {
            let old = self.all.get(stored.path.as_str()).map(|ByPath(old)| &**old);
            index.replace(&stored.path, old, Some(&stored));
        }
        self.all.insert(ByPath(stored)).map(|ByPath(stored)| stored)
    }

    /// Takes out the object at a path.
    pub(crate) fn remove(&mut self, path: &ObjectPath) -> Option<Arc<Stored>> {
        let old = self.all.remove(path.as_str()).map(|ByPath(stored)| stored);
        if let Some(index) = &mut self.index {
            index.replace(path, old.as_deref(), None);
        }
        old
    }

    /// Of those that a selection sees after a path, in order, the first few, where an index tells where they are; and
    /// the path after which there may be more.
    pub(crate) fn found(
        &self,
        selection: &Selection,
        after: Option<&ObjectPath>,
    ) -> Option<(Vec<Arc<Stored>>, Option<ObjectPath>)> {
        let index = self.index.as_ref()?;
        let asks = |test: &&FieldTest| test.field == Field::At(index.place) && test.equal && !test.value.is_empty();
        let digest = Index::digest(&selection.fields.iter().find(asks)?.value);
        let first = selection.within.first();
        let from = (digest, after.filter(|after| **after > first).cloned().unwrap_or(first));
        let inside = index.paths.range(from..).map(|(of, path)| (*of, path));
        let inside = inside.take_while(|(of, path)| *of == digest && selection.within.contains(path));
        let later = inside.map(|(_, path)| path).filter(|path| after.is_none_or(|after| *path > after));
        let looked: SmallVec<[&ObjectPath; STRIDE]> = later.take(STRIDE).collect();
        let more = looked.last().filter(|_| looked.len() == STRIDE).map(|last| (*last).clone());
        let found = looked.iter().filter_map(|path| self.get(path));
        Some((found.filter(|it| selection.matches(&it.path, &it.object)).cloned().collect(), more))
    }

    /// Shows the objects within a range of paths, in order, after a path where one is given, until it is told to stop.
    pub(crate) fn walk(
        &self,
        within: &Within,
        after: Option<&ObjectPath>,
        mut visit: impl FnMut(&Stored) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let bounds = Bounds::new(within, after);
        let mut inside = bounds.of(&self.all);
        loop {
            let stride: SmallVec<[&Arc<Stored>; STRIDE]> = inside.by_ref().take(STRIDE).collect();
            fetch(&stride, |stored| stored.object.tail_length());
            if stride.is_empty() {
                return ControlFlow::Continue(());
            }
            stride.into_iter().try_for_each(|stored| visit(stored))?;
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
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
    fn of<'a>(&'a self, objects: &'a OrdSet<ByPath>) -> impl Iterator<Item = &'a Arc<Stored>> {
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
    ready: VecDeque<Arc<Stored>>,
    done: bool,
}

/// How many objects are taken at a time.
const STRIDE: usize = 64;

/// Whoever looks at objects one after the other waits for the memory of each. Looking at all of them first lets the
/// processor fetch it for all of them at once: first what a place points to, then what that does.
fn fetch(stride: &[&Arc<Stored>], look: impl Fn(&Stored) -> usize) {
    black_box(stride.iter().fold(0, |seen, stored| seen ^ stored.revision.0));
    black_box(stride.iter().fold(0, |seen, stored| seen ^ look(stored)));
}

impl Range {
    pub(crate) fn new(objects: Objects, within: &Within, after: Option<&ObjectPath>) -> Self {
        Self { objects, bounds: Bounds::new(within, after), ready: VecDeque::new(), done: false }
    }

    fn fill(&mut self) {
        let stride: SmallVec<[&Arc<Stored>; STRIDE]> = self.bounds.of(&self.objects.all).take(STRIDE).collect();
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
    type Item = Arc<Stored>;

    fn next(&mut self) -> Option<Arc<Stored>> {
        if self.ready.is_empty() && !self.done {
            self.fill();
        }
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use arktos_core::catalog::Catalog;
    use arktos_core::{Encoded, Object, Revision, TypeMeta};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_indexed_is_where_the_catalog_says() {
        let catalog = Catalog::builtin();
        let pods = catalog.by_path("", "v1", "pods").expect("a kind");
        assert_eq!(pods.field("spec.nodeName"), Some(INDEXED[0].1));
    }

    fn pod(tenant: u8, name: u8, host: u8) -> Arc<Stored> {
        let host = if host == 0 { String::new() } else { format!("host-{host}") };
        let meta = json!({"name": format!("p{name}"), "namespace": "default"});
        let pod = json!({"metadata": meta, "spec": {"nodeName": host}});
        let (pod, types) = (Object::from_value(pod).expect("an object"), Arc::new(TypeMeta::new("", "v1", "Pod")));
        let object = Encoded::encode(&types, &pod, &[&["spec", "nodeName"]]).expect("encodes");
        let path = ObjectPath::new(&format!("t{tenant}"), "default", &format!("p{name}"));
        Arc::new(Stored { path, revision: Revision(1), object })
    }

    proptest! {
        #[test]
        fn an_index_finds_what_looking_through_all_finds(
            writes in prop::collection::vec((0u8..3, 0u8..200, 0u8..3, any::<bool>()), 0..600),
            after in prop::option::of((0u8..3, 0u8..200)),
        ) {
            let mut objects = Objects::of(&GroupResource::core("pods"));
            for (tenant, name, host, gone) in writes {
                let pod = pod(tenant, name, host);
                if gone { objects.remove(&pod.path) } else { objects.insert(pod) };
            }
            let after = after.map(|(tenant, name)| pod(tenant, name, 0).path.clone());
            let test = FieldTest { field: Field::At(0), value: "host-1".to_owned(), equal: true };
            for within in [Within::Everywhere, Within::Tenant(arktos_core::TenantName::new("t1").expect("a name"))] {
                let selection = Selection::all(GroupResource::core("pods"), within.clone()).field(test.clone());
                let all = Range::new(objects.clone(), &within, after.as_ref());
                let all: Vec<_> = all.filter(|it| selection.matches(&it.path, &it.object)).collect();
                let (mut found, mut next) = (Vec::new(), Some(after.clone()));
                while let Some(from) = next {
                    let (some, more) = objects.found(&selection, from.as_ref()).expect("an index");
                    found.extend(some);
                    next = more.map(Some);
                }
                prop_assert_eq!(found, all);
            }
        }
    }
}
