//! When what decides rights has last changed, in each tenant: roles, bindings, definitions, and tenants themselves.
//!
//! Nobody has to run for it: whoever asks reads the event logs on, from where the last one stopped.

use std::collections::HashMap;

use arktos_core::{GroupResource, Revision, TenantName};
use arktos_store::{Cursor, Delivery, Engine, Selection, Within};
use parking_lot::Mutex;

use crate::kinds::DEFINITION;

/// Of how many tenants it is kept. With more, nothing is known of any, and all ask once more.
const TENANTS_MAX: usize = 1 << 16;
const ROLES: [&str; 4] = ["clusterrolebindings", "clusterroles", "rolebindings", "roles"];

/// Follows what decides rights.
pub(super) struct Changed {
    engine: Engine,
    followed: Mutex<Followed>,
}

/// Written by whoever asks.
struct Followed {
    logs: Vec<Log>,
    /// The last change in each tenant that has had any since it is known.
    at: HashMap<Box<str>, Revision>,
    /// Since when it is known. In all other tenants nothing has changed since.
    since: Revision,
}

/// The event log of one resource. Without a place in it, nothing is known.
struct Log {
    resource: GroupResource,
    place: Option<Cursor>,
}

impl Changed {
    pub(super) fn new(engine: Engine) -> Self {
        let roles = ROLES.into_iter().map(|name| GroupResource::new("rbac.authorization.k8s.io", name));
        let all = roles.chain([DEFINITION.clone(), GroupResource::core("tenants")]);
        let logs = all.map(|resource| Log { resource, place: None }).collect();
        Self { engine, followed: Mutex::new(Followed { logs, at: HashMap::new(), since: Revision::ZERO }) }
    }

    /// A revision after which nothing has changed that decides rights in any of these tenants. As long as it is the
    /// same, so are their rights. None where that is not known.
    pub(super) fn last<'a>(&self, tenants: impl Iterator<Item = &'a TenantName>) -> Option<Revision> {
        let mut followed = self.followed.lock();
        followed.follow(&self.engine)?;
        tenants.map(|tenant| followed.at.get(tenant.as_str()).copied().unwrap_or(followed.since)).max()
    }
}

impl Followed {
    /// Reads on. None where the logs cannot be read.
    fn follow(&mut self, engine: &Engine) -> Option<()> {
        if self.logs.iter().any(|log| log.place.is_none()) || self.at.len() > TENANTS_MAX {
            self.begin(engine)?;
        }
        let read = self.logs.iter_mut().all(|log| log.read(&mut self.at));
        if read { Some(()) } else { self.begin(engine) }
    }

    /// Begins anew, at the newest revision.
    fn begin(&mut self, engine: &Engine) -> Option<()> {
        let newest = engine.snapshot().revision();
        for log in &mut self.logs {
            let all = Selection::all(log.resource.clone(), Within::Everywhere);
            log.place = Some(engine.watch(all, newest).ok()?);
        }
        self.at.clear();
        self.since = newest;
        Some(())
    }
}

impl Log {
    /// Reads on. Says whether it could.
    fn read(&mut self, at: &mut HashMap<Box<str>, Revision>) -> bool {
        let Some(place) = &mut self.place else { return false };
        loop {
            let stored = match place.try_next() {
                Ok(Some(Delivery::Added(stored) | Delivery::Modified(stored) | Delivery::Deleted(stored))) => stored,
                Ok(Some(Delivery::Bookmark(_))) => continue,
                Ok(None) => return true,
                Err(_) => {
                    self.place = None;
                    return false;
                }
            };
            // A tenant is of the region, and named by its object.
            let tenant = match stored.path.tenant() {
                "" => stored.path.name(),
                tenant => tenant,
            };
            let last = place.revision();
            match at.get_mut(tenant) {
                Some(known) => *known = last.max(*known),
                None => {
                    at.insert(tenant.into(), last);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arktos_core::{Encoded, Object, ObjectKey, Timestamp, TypeMeta};
    use arktos_store::clock::ManualClock;
    use arktos_store::{Change, Commit, Expect};
    use futures::FutureExt;

    use super::*;

    fn write(engine: &Engine, key: ObjectKey) {
        let object = Object::new(&TypeMeta::new("", "v1", "Any"), key.path.name());
        let object = Encoded::encode(&Arc::new(TypeMeta::new("", "v1", "Any")), &object, &[]).expect("it encodes");
        let commit = Commit::one(key, Expect::Absent, Change::put(object));
        engine.commit(commit).now_or_never().expect("at once").expect("it is written");
    }

    #[test]
    fn what_changes_in_one_tenant_is_no_change_in_another() {
        let engine = Engine::memory(Arc::new(ManualClock::new(Timestamp::from_micros(0))));
        let changed = Changed::new(engine.clone());
        let [acme, umbra] = ["acme", "umbra"].map(|name| TenantName::new(name).expect("a name"));
        let last = |tenant| changed.last([tenant].into_iter()).expect("it is known");
        let before = (last(&acme), last(&umbra));
        let maps = GroupResource::core("configmaps");
        write(&engine, ObjectKey::namespaced(maps, &acme, "default", "any"));
        assert_eq!((last(&acme), last(&umbra)), before, "it decides no rights");
        for resource in ROLES.map(|name| GroupResource::new("rbac.authorization.k8s.io", name)) {
            let before = (last(&acme), last(&umbra));
            write(&engine, ObjectKey::tenant_scoped(resource, &acme, "any"));
            assert!(last(&acme) > before.0);
            assert_eq!(last(&umbra), before.1);
            assert_eq!(changed.last([&acme, &umbra].into_iter()), Some(last(&acme)), "the newest of several");
        }
        let before = (last(&acme), last(&umbra));
        write(&engine, ObjectKey::region_scoped(GroupResource::core("tenants"), "umbra"));
        write(&engine, ObjectKey::tenant_scoped(DEFINITION.clone(), &acme, "any"));
        assert!(last(&acme) > before.0 && last(&umbra) > before.1);
    }
}
