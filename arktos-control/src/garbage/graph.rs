//! Who owns whom: one informer for each kind, each with an index by owner.

use std::sync::Arc;

use arktos_core::typed::ObjectReference;
use arktos_core::{GroupResource, Header, ObjectKey, ObjectPath, OwnerRef, Scope};
use arktos_store::informer::{Decode, Stopped};
use arktos_store::{Informer, Stored};
use futures::future::BoxFuture;
use parking_lot::RwLock;

use crate::kinds::StoredKind;
use crate::reconcile::synced;
use crate::setup::BY_OWNER;

/// The finalizer of an object that waits for what it owns to be deleted first.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object that waits for what it owns to be let go first.
pub(super) const ORPHAN: &str = "orphan";

/// Told of each change of an object: as it was, as it is.
pub(super) type Change = Box<dyn FnMut(Option<&Stored>, Option<&Stored>) + Send>;

/// The informer of one kind, whatever it keeps.
pub(super) trait Watched: Send + Sync {
    fn get(&self, path: &ObjectPath) -> Option<Stored>;
    fn owned_by(&self, uid: &str) -> Vec<Stored>;
    fn any(&self, tenant: &str, holds: &dyn Fn(&Stored) -> bool) -> bool;
    fn is_current(&self) -> bool;
    fn handle(&self, change: Change);
    fn synced(&self) -> BoxFuture<'static, Result<(), Stopped>>;
}

impl<T: Decode<Source = Stored>> Watched for Informer<T> {
    fn get(&self, path: &ObjectPath) -> Option<Stored> {
        self.store().get(path).map(|value| value.source().clone())
    }

    fn owned_by(&self, uid: &str) -> Vec<Stored> {
        self.store().by(BY_OWNER, uid).iter().map(|value| value.source().clone()).collect()
    }

    fn any(&self, tenant: &str, holds: &dyn Fn(&Stored) -> bool) -> bool {
        let Ok(tenant) = arktos_core::TenantName::new(tenant) else { return false };
        let view = self.store().view();
        view.within(&arktos_store::Within::Tenant(tenant)).any(|(_, value)| holds(value.source()))
    }

    fn is_current(&self) -> bool {
        self.progress().synced && self.progress().current
    }

    fn handle(&self, mut change: Change) {
        Self::handle(self, move |event| {
            let stored = |value: Option<&Arc<T>>| value.map(|value| value.source().clone());
            change(stored(event.before()).as_ref(), stored(event.after()).as_ref());
        });
    }

    fn synced(&self) -> BoxFuture<'static, Result<(), Stopped>> {
        synced(self)
    }
}

/// A resource and its informer.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) resource: GroupResource,
    /// What its objects are: in each tenant one of these.
    pub(super) kinds: Vec<StoredKind>,
    pub(super) watched: Arc<dyn Watched>,
}

/// What an owner reference may mean: tenants can define a kind of one name as other resources, and with other scopes.
pub(super) struct Candidate {
    pub(super) kind: StoredKind,
    pub(super) key: ObjectKey,
    watched: Arc<dyn Watched>,
}

impl Candidate {
    /// What the owner is, as the informer knows it, given the uid it must have.
    pub(super) fn known(&self, uid: &str) -> Owner {
        Owner::of(self.watched.get(&self.key.path).as_ref(), uid)
    }
}

/// All kinds and who owns whom among their objects.
#[derive(Default)]
pub(super) struct Graph {
    /// Written when kinds come and go.
    members: RwLock<Vec<Member>>,
}

/// An owner, as an owner reference names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is there.
    Solid,
    /// It is there, and waits for what it owns to be deleted.
    Waiting,
    /// It is not here; whether it is anywhere must be asked.
    Missing,
    /// The reference names what cannot own this object, or what is not known here: it is left alone.
    Foreign,
}

impl Owner {
    /// What an owner is that was found, given the uid it must have.
    pub(super) fn of(found: Option<&Stored>, uid: &str) -> Self {
        match found.map(|found| found.object.header()) {
            Some(header) if header.uid() == uid && waits(header, FOREGROUND) => Self::Waiting,
            Some(header) if header.uid() == uid => Self::Solid,
            _ => Self::Missing,
        }
    }
}

/// Whether an object is being deleted and waits for a finalizer.
pub(super) fn waits(header: &Header, finalizer: &str) -> bool {
    header.deletion().is_some() && header.finalizers().any(|held| held == finalizer)
}

impl Graph {
    pub(super) fn add(&self, member: Member) {
        self.members.write().push(member);
    }

    /// Keeps the resources that some kind has, with the kinds they are now.
    pub(super) fn keep(&self, kinds: &[StoredKind]) {
        self.members.write().retain_mut(|member| {
            member.kinds = of_resource(kinds, &member.resource);
            !member.kinds.is_empty()
        });
    }

    pub(super) fn members(&self) -> Vec<Member> {
        self.members.read().clone()
    }

    /// Where the owner may be that a reference on an object names; nowhere for a kind that is not known, and for a
    /// namespaced owner of what has no namespace.
    pub(super) fn candidates(&self, object: &ObjectPath, owner: &OwnerRef<'_>) -> Vec<Candidate> {
        let (tenant, namespace) = (object.tenant(), object.namespace());
        let mut found = Vec::new();
        for member in self.members.read().iter() {
            for kind in member.kinds.iter().filter(|kind| kind.is(owner.api_version, owner.kind)) {
                let path = match kind.scope {
                    Scope::Namespace if namespace.is_empty() => continue,
                    Scope::Namespace => ObjectPath::new(tenant, namespace, owner.name),
                    Scope::Tenant => ObjectPath::new(tenant, "", owner.name),
                    Scope::Region => ObjectPath::new("", "", owner.name),
                };
                let key = ObjectKey { resource: member.resource.clone(), path };
                found.push(Candidate { kind: kind.clone(), key, watched: member.watched.clone() });
            }
        }
        found
    }

    /// What an object owns, in its own tenant. What belongs to the region may own what is in the tenant `system`.
    pub(super) fn dependents(&self, owner: &Stored) -> Vec<(ObjectKey, Stored)> {
        let uid = owner.object.header().uid();
        let home = if owner.path.tenant().is_empty() { arktos_core::TenantName::SYSTEM } else { owner.path.tenant() };
        let mut found = Vec::new();
        for member in self.members.read().iter() {
            for dependent in member.watched.owned_by(uid) {
                if dependent.path.tenant() == home {
                    let key = ObjectKey { resource: member.resource.clone(), path: dependent.path.clone() };
                    found.push((key, dependent));
                }
            }
        }
        found
    }

    /// What an object owns, and whether that is certainly all: only then does "it owns nothing more" count.
    pub(super) fn all_dependents(&self, owner: &Stored) -> (Vec<(ObjectKey, Stored)>, bool) {
        // Asked first: what a kind shows from now on is not among what is found.
        let complete = self.members.read().iter().all(|member| member.watched.is_current());
        (self.dependents(owner), complete)
    }

    /// Whether an object of this uid is somewhere else in the tenant than a reference says.
    pub(super) fn is_elsewhere(&self, object: &ObjectPath, owner: &OwnerRef<'_>) -> bool {
        let members = self.members.read();
        let same = |stored: &Stored| stored.object.header().uid() == owner.uid;
        let mut named =
            members.iter().filter(|member| member.kinds.iter().any(|kind| kind.is(owner.api_version, owner.kind)));
        named.any(|member| member.watched.any(object.tenant(), &same))
    }
}

/// The kinds that a resource is.
pub(super) fn of_resource(kinds: &[StoredKind], resource: &GroupResource) -> Vec<StoredKind> {
    kinds.iter().filter(|kind| kind.resource == *resource).cloned().collect()
}

/// An owner as upstream's events name it.
pub(super) fn named(owner: &OwnerRef<'_>, namespace: &str) -> String {
    let reference = ObjectReference { namespace: namespace.to_owned(), ..ObjectReference::default() };
    format!(
        "[{}/{}, namespace: {}, name: {}, uid: {}]",
        owner.api_version, owner.kind, reference.namespace, owner.name, owner.uid
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use arktos_core::catalog::Catalog;
    use arktos_core::{Object, Revision};
    use serde_json::json;

    use super::*;

    /// One that becomes current while it is looked into.
    #[derive(Default)]
    struct Late(AtomicBool);

    impl Watched for Late {
        fn get(&self, _: &ObjectPath) -> Option<Stored> {
            None
        }

        fn owned_by(&self, _: &str) -> Vec<Stored> {
            self.0.store(true, Ordering::SeqCst);
            Vec::new()
        }

        fn any(&self, _: &str, _: &dyn Fn(&Stored) -> bool) -> bool {
            false
        }

        fn is_current(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }

        fn handle(&self, _: Change) {}

        fn synced(&self) -> BoxFuture<'static, Result<(), Stopped>> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn what_a_kind_shows_only_after_dependents_were_looked_for_is_not_taken_for_seen() {
        let kind = Catalog::builtin().storage(&GroupResource::core("configmaps")).expect("is built in");
        let owner = Object::from_value(json!({"metadata": {"name": "o", "namespace": "default", "uid": "u"}}));
        let object = kind.encode(&owner.expect("an object")).expect("encodes");
        let owner = Stored { path: ObjectPath::new("acme", "default", "o"), revision: Revision(5), object };
        let graph = Graph::default();
        let watched = Arc::new(Late::default());
        graph.add(Member { resource: GroupResource::core("pods"), kinds: Vec::new(), watched });
        assert!(!graph.all_dependents(&owner).1);
        assert!(graph.all_dependents(&owner).1, "it is current from the beginning now");
    }
}
