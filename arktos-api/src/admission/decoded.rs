//! What is read with the writes of a tenant: its policies and webhooks, its limits and classes. Each object is decoded
//! once, and found again for as long as it is stored so.

use std::any::Any;
use std::collections::HashMap;
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;

use arktos_core::{GroupResource, ObjectPath, Revision, TenantName};
use arktos_store::{Snapshot, Stored, Within};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::kept::Kept;

/// What is kept of one tenant and of all, in bytes, about.
const BYTES: (usize, usize) = (8 << 20, 64 << 20);
/// What an object takes beside what it says, about.
const AROUND: usize = 512;

/// What is looked at of an object.
pub(super) trait Declared: DeserializeOwned + Send + Sync + 'static {
    /// How many times as much memory it takes as its text, about.
    const TIMES: usize = 2;

    /// By what it is found in a list, if not by its name.
    fn found_by(&self) -> &str {
        ""
    }
}

/// What an object says, as it is stored.
#[derive(Debug)]
pub(super) struct One<T> {
    path: ObjectPath,
    revision: Revision,
    said: T,
}

impl<T> One<T> {
    pub(super) fn name(&self) -> &str {
        self.path.name()
    }
}

impl<T> Deref for One<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.said
    }
}

/// The objects of a kind that a tenant has, or one of its namespaces: by what they are found by, and then by name.
pub(super) struct List<T> {
    state: Tally,
    all: Vec<Arc<One<T>>>,
}

/// Tells one state of some objects from all others. Revisions rise: where nothing was written since, nothing came, and
/// where there are as many, nothing went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    count: usize,
    newest: Revision,
}

impl<T: Declared> List<T> {
    /// What is stored, of which that need not be decoded which an earlier list has.
    fn read(stored: impl Iterator<Item = Arc<Stored>>, state: Tally, earlier: Option<&Self>) -> (Self, usize) {
        let earlier = earlier.into_iter().flat_map(|list| &list.all);
        let earlier: HashMap<&ObjectPath, &Arc<One<T>>> = earlier.map(|one| (&one.path, one)).collect();
        let (mut all, mut weight) = (Vec::with_capacity(state.count), AROUND);
        for stored in stored {
            weight += AROUND + T::TIMES * stored.object.tail_length();
            let known = earlier.get(&stored.path).filter(|known| known.revision == stored.revision);
            match known {
                Some(known) => all.push(Arc::clone(known)),
                None => match stored.object.parse() {
                    Ok(said) => {
                        let (path, revision) = (stored.path.clone(), stored.revision);
                        all.push(Arc::new(One { path, revision, said }));
                    }
                    Err(why) => tracing::error!(path = %stored.path, %why, "what is stored cannot be read"),
                },
            }
        }
        all.sort_by(|one, other| one.found_by().cmp(other.found_by()));
        (Self { state, all }, weight)
    }

    /// Those that are found by this.
    pub(super) fn found_by(&self, what: &str) -> &[Arc<One<T>>] {
        let from = self.all.partition_point(|one| one.found_by() < what);
        let count = self.all[from..].partition_point(|one| one.found_by() == what);
        &self.all[from..from + count]
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { state: Tally::default(), all: Vec::new() }
    }
}

impl<T> Deref for List<T> {
    type Target = [Arc<One<T>>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

/// The lists that were asked for last, by tenant. Written by whoever finds that one is not there, or not any more.
pub(crate) struct Decoded(Mutex<Kept<Place, Arc<dyn Any + Send + Sync>>>);

/// A resource, and a namespace.
type Place = (GroupResource, Box<str>);

impl Default for Decoded {
    fn default() -> Self {
        Self(Mutex::new(Kept::new(BYTES)))
    }
}

impl Decoded {
    /// What a tenant has of a resource in a namespace (empty: in none, or in all) in a state of the store.
    pub(super) fn list<T: Declared>(
        &self,
        snapshot: &Snapshot,
        resource: &GroupResource,
        tenant: &TenantName,
        namespace: &str,
    ) -> Arc<List<T>> {
        let within = match namespace {
            "" => Within::Tenant(tenant.clone()),
            namespace => Within::Namespace(tenant.clone(), namespace.to_owned()),
        };
        let mut state = Tally::default();
        let _ = snapshot.walk(resource, &within, None, |stored| {
            state = Tally { count: state.count + 1, newest: state.newest.max(stored.revision) };
            ControlFlow::Continue(())
        });
        if state.count == 0 {
            return Arc::default();
        }
        let place = (resource.clone(), Box::from(namespace));
        let known = self.0.lock().get(tenant.as_str(), &place);
        let known: Option<Arc<List<T>>> = known.and_then(|known| known.downcast().ok());
        match known {
            Some(known) if known.state == state => known,
            earlier => {
                // Two who decode it at once do no harm.
                let stored = snapshot.range(resource, &within, None);
                let (list, weight) = List::read(stored, state, earlier.as_deref());
                let list = Arc::new(list);
                self.0.lock().keep(tenant.as_str(), place, list.clone(), weight);
                list
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arktos_core::{Encoded, Object, ObjectKey, Timestamp, TypeMeta};
    use arktos_store::clock::ManualClock;
    use arktos_store::{Change, Commit, Engine, Expect, Write};
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Map {
        data: HashMap<String, String>,
    }

    impl Declared for Map {}

    struct World {
        engine: Engine,
        maps: GroupResource,
        decoded: Decoded,
    }

    impl World {
        /// Writes a map, or deletes it.
        async fn write(&self, tenant: &TenantName, name: &str, says: Option<&str>) {
            let types = Arc::new(TypeMeta::new("", "v1", "ConfigMap"));
            let change = says.map_or(Change::Delete, |says| {
                let map = json!({"metadata": {"name": name}, "data": {"says": says}});
                let object = Object::from_value(map).expect("an object");
                Change::put(Encoded::encode(&types, &object, &[]).expect("encodes"))
            });
            let key = ObjectKey::namespaced(self.maps.clone(), tenant, "default", name);
            let mut commit = Commit::default();
            commit.writes.push(Write { key, expect: Expect::Anything, change });
            self.engine.commit(commit).await.expect("a commit");
        }

        fn list(&self, tenant: &TenantName) -> Arc<List<Map>> {
            self.decoded.list(&self.engine.snapshot(), &self.maps, tenant, "default")
        }

        fn says(&self, tenant: &TenantName) -> String {
            self.list(tenant).iter().map(|one| format!("{}={} ", one.name(), one.data["says"])).collect()
        }
    }

    #[tokio::test]
    async fn what_is_stored_is_decoded_once_and_found_again_only_as_it_is() {
        let engine = Engine::memory(Arc::new(ManualClock::new(Timestamp::from_micros(0))));
        let world = World { engine, maps: GroupResource::core("configmaps"), decoded: Decoded::default() };
        let [acme, umbra] = ["acme", "umbra"].map(|name| TenantName::new(name).expect("a name"));
        assert_eq!(world.says(&acme), "");
        world.write(&acme, "a", Some("1")).await;
        world.write(&acme, "b", Some("2")).await;
        let first = world.list(&acme);
        world.write(&umbra, "c", Some("3")).await;
        assert!(Arc::ptr_eq(&first, &world.list(&acme)), "another tenant's changes nothing");
        let earlier = world.engine.snapshot();
        world.write(&acme, "b", Some("4")).await;
        assert_eq!((world.says(&acme), world.says(&umbra)), ("a=1 b=4 ".to_owned(), "c=3 ".to_owned()));
        assert!(Arc::ptr_eq(&first[0], &world.list(&acme)[0]), "what did not change is not decoded anew");
        let then = world.decoded.list::<Map>(&earlier, &world.maps, &acme, "default");
        assert_eq!(then[1].data["says"], "2", "who judges by an earlier state judges by that");
        world.write(&acme, "a", None).await;
        assert_eq!(world.says(&acme), "b=4 ");
        world.write(&acme, "c", Some("5")).await;
        world.write(&acme, "b", None).await;
        assert_eq!(world.says(&acme), "c=5 ", "as many as before");
        world.write(&acme, "c", None).await;
        assert_eq!(world.says(&acme), "");
    }
}
