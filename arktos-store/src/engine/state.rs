//! One state of a store: every object, every counter, and the recent history of each resource.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arktos_core::{Encoded, GroupResource, ObjectKey, ObjectPath, Revision, TenantName, Timestamp};
use imbl::OrdMap;

use super::history::{Event, EventLog, HistoryLimit};
use super::objects::Objects;
use super::samples::Samples;
use crate::commit::Change;
use crate::select::{Stored, Within};

/// One state of a store. Cloning it costs the same however much is in it; a clone shares all that does not change.
#[derive(Clone, Default)]
pub(crate) struct State {
    /// The revision of the newest write.
    pub revision: Revision,
    /// The number of the newest group.
    pub group: u64,
    /// Readers may have been told of revisions up to here before they were durable.
    pub reserved: Revision,
    /// The newest revision that history has dropped an event of: states from here on can be had back.
    pub floor: Revision,
    /// Where what is known begins: of a resource that is not here, nothing is known before.
    pub origin: Revision,
    /// Revisions that were given out and lost, oldest first.
    pub lost: Arc<[Lost]>,
    resources: OrdMap<GroupResource, Arc<Resource>>,
    counters: OrdMap<Arc<str>, i64>,
    /// What is to be deleted, and when: one entry for each such object, however often that is written.
    expiries: OrdMap<(Timestamp, Revision), ObjectKey>,
    /// When what was written at a revision is to be deleted.
    expiring: OrdMap<Revision, Timestamp>,
}

/// What a store keeps of one resource.
#[derive(Clone, Default)]
pub(crate) struct Resource {
    /// The objects.
    pub objects: Objects,
    /// The recent events.
    pub log: EventLog,
    /// What objects are kept as differences from.
    samples: Samples,
}

/// Revisions that readers may have been told of and that a crash has lost: those after `after`, before `resumed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The newest revision before the loss.
    pub after: Revision,
    /// The revision at which the store went on.
    pub resumed: Revision,
}

/// How many losses are remembered one by one.
const LOST_MAX: usize = 64;

impl State {
    /// An object.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Arc<Stored>> {
        self.resources.get(&key.resource)?.objects.get(&key.path)
    }

    /// What is kept of a resource, if it was ever written.
    pub(crate) fn resource(&self, resource: &GroupResource) -> Option<&Arc<Resource>> {
        self.resources.get(resource)
    }

    /// The revision from which on states of a resource can be had back.
    pub(crate) fn floor_of(&self, resource: &GroupResource) -> Revision {
        self.resource(resource).map_or(self.origin, |kept| kept.log.floor())
    }

    /// All resources that were ever written.
    pub(crate) fn resources(&self) -> impl Iterator<Item = (&GroupResource, &Arc<Resource>)> {
        self.resources.iter()
    }

    /// The value of a counter.
    pub(crate) fn counter(&self, counter: &str) -> i64 {
        self.counters.get(counter).copied().unwrap_or(0)
    }

    /// All counters that are not zero.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&Arc<str>, i64)> {
        self.counters.iter().map(|(counter, value)| (counter, *value))
    }

    /// Sets a counter.
    pub(crate) fn set_counter(&mut self, counter: &Arc<str>, value: i64) {
        if value == 0 {
            self.counters.remove(counter.as_ref());
        } else {
            self.counters.insert(counter.clone(), value);
        }
    }

    /// Applies one write. Its revision must be above all before it.
    pub(crate) fn write(
        &mut self,
        revision: Revision,
        time: Timestamp,
        key: &ObjectKey,
        change: &Change,
        limit: HistoryLimit,
    ) {
        debug_assert!(revision > self.revision, "revisions rise");
        self.revision = revision;
        let object = match change {
            Change::Put { object, expires } => {
                self.expires(*expires, revision, key);
                Some(self.kept(&key.resource, &key.path, object))
            }
            Change::Delete => None,
        };
        let resource = self.resource_mut(&key.resource);
        let (old, stored, deleted) = match object {
            Some(object) => {
                let stored = Arc::new(Stored { path: key.path.clone(), revision, object });
                (resource.objects.insert(stored.clone()), Some(stored), false)
            }
            None => {
                let old = resource.remove(&key.path);
                let gone = old.as_deref().map(|old| Arc::new(Stored { revision, ..old.clone() }));
                (old, gone, true)
            }
        };
        let old = old.map(|old| (old.revision, old.object.clone()));
        let replaced = old.as_ref().map(|(revision, _)| *revision);
        resource.log.push(Event { revision, previous: Revision::ZERO, time, stored, deleted, old });
        if resource.log.wants_compaction(limit, time) && resource.log.compact(limit, time) {
            let floor = resource.log.floor();
            self.floor = self.floor.max(floor);
        }
        if let Some(replaced) = replaced {
            self.expires_no_more(replaced);
        }
    }

    /// An object as it is kept: whole, or as what it differs in from one that it is like.
    fn kept(&mut self, resource: &GroupResource, path: &ObjectPath, object: &Encoded) -> Encoded {
        if let Some(alike) = self.like_systems(resource, path, object) {
            return alike;
        }
        let resource = self.resource_mut(resource);
        resource.samples.keep(path, object, resource.objects.len())
    }

    /// What every tenant has, `system` has too: such an object is kept as what it differs in from the one of its
    /// namespace and name there. Absent where it is not alike.
    fn like_systems(&self, resource: &GroupResource, path: &ObjectPath, object: &Encoded) -> Option<Encoded> {
        let (tenant, namespace, name) = path.parts();
        if tenant.is_empty() || tenant == TenantName::SYSTEM {
            return None;
        }
        let systems = ObjectPath::new(TenantName::SYSTEM, namespace, name);
        object.like(&self.resource(resource)?.objects.get(&systems)?.object)
    }

    /// Keeps what was restored as [`write`](Self::write) does: what is restored may come before what it is alike to.
    pub(crate) fn share(&mut self) {
        let mut shared = Vec::new();
        for (resource, kept) in &self.resources {
            let system = Within::Tenant(TenantName::system());
            let mut names = HashSet::new();
            let _ = kept.objects.walk(&system, None, |stored| {
                names.insert(place(&stored.path).to_owned());
                ControlFlow::Continue(())
            });
            let _ = kept.objects.walk(&Within::Everywhere, None, |stored| {
                if names.contains(place(&stored.path))
                    && let Some(object) = self.like_systems(resource, &stored.path, &stored.object)
                {
                    shared.push((resource.clone(), Stored { object, ..stored.clone() }));
                }
                ControlFlow::Continue(())
            });
        }
        for (resource, stored) in shared {
            self.resource_mut(&resource).objects.insert(Arc::new(stored));
        }
    }

    /// Notes when an object expires, if it does.
    fn expires(&mut self, at: Option<Timestamp>, revision: Revision, key: &ObjectKey) {
        if let Some(at) = at {
            self.expiries.insert((at, revision), key.clone());
            self.expiring.insert(revision, at);
        }
    }

    /// Notes that what was written at a revision is no longer there.
    fn expires_no_more(&mut self, revision: Revision) {
        if let Some(at) = self.expiring.remove(&revision) {
            self.expiries.remove(&(at, revision));
        }
    }

    /// When what was written at a revision expires.
    pub(crate) fn expires_at(&self, revision: Revision) -> Option<Timestamp> {
        self.expiring.get(&revision).copied()
    }

    /// When objects expire: the time, and the revision of the write that said so.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = (Timestamp, Revision)> {
        self.expiries.keys().copied()
    }

    /// Takes out what has expired by now and is still there, at most `limit` objects.
    pub(crate) fn take_expired(&mut self, now: Timestamp, limit: usize) -> Vec<ObjectKey> {
        let mut due = Vec::new();
        while due.len() < limit {
            let Some(entry) = self.expiries.get_min().map(|(entry, _)| *entry).filter(|(at, _)| *at <= now) else {
                break;
            };
            let Some(key) = self.expiries.remove(&entry) else { break };
            self.expiring.remove(&entry.1);
            // nothing else is deleted, whatever a backend has given back
            if self.get(&key).is_some_and(|stored| stored.revision == entry.1) {
                due.push(key);
            }
        }
        due
    }

    /// Takes an object as it was read back, without an event.
    pub(crate) fn restore(&mut self, resource: &GroupResource, stored: Stored, expires: Option<Timestamp>) {
        self.revision = self.revision.max(stored.revision);
        if expires.is_some() {
            let key = ObjectKey { resource: resource.clone(), path: stored.path.clone() };
            self.expires(expires, stored.revision, &key);
        }
        let kept = self.resource_mut(resource);
        let object = kept.samples.keep(&stored.path, &stored.object, kept.objects.len());
        kept.objects.insert(Arc::new(Stored { object, ..stored }));
    }

    /// Notes that a resource's last event, which is not kept, was at a revision.
    pub(crate) fn restore_last(&mut self, resource: &GroupResource, last: Revision) {
        self.revision = self.revision.max(last);
        self.floor = self.floor.max(last);
        let entry = self.resource_mut(resource);
        entry.log = EventLog::after(last.max(entry.log.last()));
    }

    /// Notes that nothing is known before a revision, not even of resources that are not there.
    pub(crate) fn begin_at(&mut self, origin: Revision) {
        self.origin = self.origin.max(origin);
        self.revision = self.revision.max(origin);
        self.forget_before(origin);
    }

    /// Goes on at `resumed`, which nobody has ever been told of, as what came after the newest revision is lost.
    pub(crate) fn jump(&mut self, resumed: Revision) {
        self.note_lost(self.revision, resumed);
        self.revision = self.revision.max(resumed);
    }

    /// Notes that the revisions after `after` and before `resumed` are lost.
    pub(crate) fn note_lost(&mut self, after: Revision, resumed: Revision) {
        let mut lost = self.lost.to_vec();
        lost.push(Lost { after, resumed });
        if lost.len() > LOST_MAX {
            let forgotten = lost.remove(0).resumed;
            self.forget_before(forgotten);
        }
        self.lost = lost.into();
    }

    /// Whether a reader who stands at this revision has seen what is lost; then where it can go on.
    pub(crate) fn lost_at(&self, revision: Revision) -> Option<Revision> {
        let lost = self.lost.iter().find(|lost| revision > lost.after && revision < lost.resumed)?;
        Some(lost.resumed)
    }

    /// The revision from which on all kept events were written: what is older is needed by nobody who watches.
    pub(crate) fn history_begins(&self) -> Revision {
        let oldest =
            self.resources.values().filter_map(|kept| kept.log.get(kept.log.base())).map(|event| event.revision);
        oldest.min().map_or(self.revision, |oldest| Revision(oldest.0.saturating_sub(1)))
    }

    /// Drops the history that is beyond the limit. Says which resources have lost events.
    pub(crate) fn compact(&mut self, limit: HistoryLimit, now: Timestamp) -> Vec<GroupResource> {
        let due: Vec<GroupResource> = self
            .resources
            .iter()
            .filter(|(_, resource)| {
                let log = &resource.log;
                log.bytes() > limit.bytes || log.get(log.base()).is_some_and(|e| now.since(e.time) > limit.window)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in &due {
            let resource = self.resource_mut(name);
            if resource.log.compact(limit, now) {
                let floor = resource.log.floor();
                self.floor = self.floor.max(floor);
            }
        }
        due
    }

    /// Forgets all history up to a revision: nobody can go on from before it.
    pub(crate) fn forget_before(&mut self, revision: Revision) {
        let names: Vec<GroupResource> = self.resources.keys().cloned().collect();
        for name in names {
            self.resource_mut(&name).log.raise_floor(revision);
        }
        self.floor = self.floor.max(revision);
    }

    /// Takes the place of an older state that was published, with no history in between: every cursor of the older one
    /// finds its place gone.
    pub(crate) fn succeed(&mut self, older: &Self) {
        let mut names: Vec<GroupResource> = older.resources.keys().cloned().collect();
        names.extend(self.resources.keys().cloned());
        for name in names {
            // One more, also for who waits for the first event.
            let after = older.resource(&name).map_or(0, |kept| kept.log.end()) + 1;
            self.resource_mut(&name).log.move_to(after);
        }
    }

    fn resource_mut(&mut self, name: &GroupResource) -> &mut Resource {
        let origin = self.origin;
        let fresh = || {
            let (objects, log) = (Objects::of(name), EventLog::after(origin));
            Arc::new(Resource { objects, log, ..Resource::default() })
        };
        Arc::make_mut(self.resources.entry(name.clone()).or_insert_with(fresh))
    }
}

impl Resource {
    /// Takes out an object.
    fn remove(&mut self, path: &ObjectPath) -> Option<Arc<Stored>> {
        let old = self.objects.remove(path);
        self.samples.gone(path, self.objects.len());
        old
    }
}

/// A path without its tenant.
fn place(path: &ObjectPath) -> &str {
    path.as_str().split_once('/').map_or("", |(_, place)| place)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arktos_core::{Object, TypeMeta};
    use serde_json::json;

    use super::*;

    fn map(tenant: &str, uid: &str) -> (ObjectKey, Encoded) {
        let data = json!({"ca.crt": "-----BEGIN CERTIFICATE-----".repeat(8)});
        let map = json!({"metadata": {"name": "ca", "namespace": "default", "uid": uid}, "data": data});
        let types = Arc::new(TypeMeta::new("", "v1", "ConfigMap"));
        let object = Encoded::encode(&types, &Object::from_value(map).expect("an object"), &[]).expect("encodes");
        let path = ObjectPath::new(tenant, "default", "ca");
        (ObjectKey { resource: GroupResource::core("configmaps"), path }, object)
    }

    /// Whether it is there as it was written, in less than half of the memory.
    fn is_small(state: &State, (key, object): &(ObjectKey, Encoded)) -> bool {
        let found = &state.get(key).expect("is there").object;
        assert_eq!(found, object);
        found.weight() * 2 < object.weight()
    }

    #[test]
    fn what_every_tenant_has_is_kept_as_what_it_differs_in_from_systems() {
        let limit = HistoryLimit { window: Duration::from_secs(300), bytes: 1 << 20 };
        let all = [map("system", "u1"), map("acme", "u2"), map("globex", "u3")];
        let (mut state, mut restored) = (State::default(), State::default());
        for (at, (key, object)) in all.iter().enumerate() {
            let revision = Revision(at as u64 + 1);
            state.write(revision, Timestamp::from_micros(0), key, &Change::put(object.clone()), limit);
        }
        assert_eq!(all.each_ref().map(|one| is_small(&state, one)), [false, true, true]);
        let event = state.resource(&all[0].0.resource).and_then(|kept| kept.log.get(1).cloned()).expect("an event");
        assert_eq!(event.after(), Some(&all[1].1));

        for (at, (key, object)) in all.iter().rev().enumerate() {
            let stored = Stored { path: key.path.clone(), revision: Revision(at as u64 + 1), object: object.clone() };
            restored.restore(&key.resource, stored, None);
        }
        restored.share();
        assert_eq!(all.each_ref().map(|one| is_small(&restored, one)), [false, true, true]);

        state.write(Revision(9), Timestamp::from_micros(0), &all[0].0, &Change::Delete, limit);
        assert!(is_small(&state, &all[1]), "it outlives what it is like");
    }
}
