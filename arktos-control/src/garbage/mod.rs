//! The `garbage-collector`: what is owned goes when its last owner is gone.
//!
//! An object is deleted only when the API itself says, for each of its owners, that no object of that name and uid is
//! there. What the informers know decides only whom to ask about, and what is owned by what is being deleted.
//!
//! ```text
//!  owner removed ───────────► its dependents are looked at: owners asked for by a live GET, uid included
//!  owner waits (foreground) ─► its dependents are deleted first, then its finalizer is taken off
//!  owner waits (orphan) ────► its dependents lose their reference, then its finalizer is taken off
//! ```

mod graph;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arktos_core::custom::is_forced;
use arktos_core::{GroupResource, ObjectKey, ObjectPath, OwnerRef, OwnerReference, Scope, Status, TenantName};
use arktos_store::client::{DeleteOptions, Propagation};
use arktos_store::informer::Driver;
use arktos_store::{Client, Clock, Outcome, Query, Random, Stored, WorkQueue};
use futures::StreamExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::FuturesUnordered;
use tokio::sync::oneshot;

use self::graph::{FOREGROUND, Graph, Member, ORPHAN, Owner, named, of_resource, waits};
use crate::breath::Breath;
use crate::events::Teller;
use crate::kinds::{CUSTOM_RESOURCE_DEFINITIONS, EVENTS, Kinds, PODS, SERVICES, StoredKind};
use crate::owner::remove_owners;
use crate::reconcile::{Reconcile, queue, run};
use crate::setup::{Setup, watch_all};
use crate::write::{amend, found};

/// What it takes to look for an owner, in bytes read: an object may name tens of thousands.
const OWNER: usize = 4 << 10;
/// Of so many absent owners of one object it is found out whether they are elsewhere in the tenant, which is a search.
const TOLD: usize = 4;

pub(crate) struct Garbage {
    client: Arc<dyn Client>,
    graph: Arc<Graph>,
    events: Teller,
    reach: Reach,
}

/// Whose absence means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Tenants' objects, in a partition. Hosts are kept elsewhere: what names one as its owner is left alone.
    Tenants,
    /// The region's objects, in a resource manager. Pods are shown there but kept elsewhere, as are their owners.
    Region,
}

impl Reach {
    /// Whether objects of a kind may be garbage, or own anything, here.
    fn covers(self, kind: &StoredKind) -> bool {
        let events = kind.resource == EVENTS.resource;
        match self {
            Self::Tenants => kind.scope != Scope::Region && !events,
            Self::Region => kind.resource != PODS.resource && !events,
        }
    }

    /// Whether it is known here that an owner of a kind is not there.
    fn knows(self, owner: &StoredKind, dependent: &Stored) -> bool {
        match self {
            Self::Tenants => owner.scope != Scope::Region,
            Self::Region => owner.scope == Scope::Region && dependent.path.tenant() == TenantName::SYSTEM,
        }
    }
}

pub(crate) fn start(setup: &mut Setup, reach: Reach) -> BoxFuture<'static, ()> {
    let graph = Arc::new(Graph::default());
    let queue = queue(&setup.clock);
    let kinds = setup.options.kinds.clone();
    let known = kinds.borrow().clone();
    let mut seen = BTreeSet::new();
    for kind in known.iter().filter(|kind| reach.covers(kind) && seen.insert(&kind.resource)) {
        let watched: Arc<dyn graph::Watched> = if kind.resource == PODS.resource {
            Arc::new(setup.pods())
        } else if kind.resource == SERVICES.resource {
            Arc::new(setup.services())
        } else {
            Arc::new(setup.informer(&kind.resource))
        };
        let kinds = of_resource(&known, &kind.resource);
        join(&graph, &queue, Member { resource: kind.resource.clone(), kinds, watched });
    }
    let synced: Vec<_> = graph.members().iter().map(|member| member.watched.synced()).collect();
    let synced = Box::pin(async move { futures::future::try_join_all(synced).await.map(drop) });
    let newcomers = Newcomers {
        client: setup.client.clone(),
        clock: setup.clock.clone(),
        random: setup.random.clone(),
        graph: graph.clone(),
        queue: queue.clone(),
        reach,
    };
    let events = setup.events.teller("garbage-collector-controller");
    let garbage = Garbage { client: setup.client.clone(), graph, events, reach };
    let work = run(garbage, queue, setup.options.workers, vec![synced]);
    let follow = newcomers.follow(kinds, known);
    Box::pin(async move {
        futures::future::join(work, follow).await;
    })
}

fn join(graph: &Arc<Graph>, queue: &WorkQueue<ObjectKey>, member: Member) {
    let (known, adds, resource) = (graph.clone(), queue.clone(), member.resource.clone());
    member.watched.handle(Box::new(move |before, after| changed(&known, &adds, &resource, before, after)));
    graph.add(member);
}

/// Queues what a change of an object may have made garbage, or may have let go on.
fn changed(
    graph: &Graph,
    queue: &WorkQueue<ObjectKey>,
    resource: &GroupResource,
    before: Option<&Stored>,
    after: Option<&Stored>,
) {
    if let Some(new) = after {
        let header = new.object.header();
        let waiting = waits(header, FOREGROUND) || waits(header, ORPHAN);
        let owners_changed = before.is_none_or(|old| old.object.header().owners() != header.owners());
        let unsure = || !header.owners().all(|owner| is_solid(graph, new, &owner));
        if waiting || (header.deletion().is_none() && owners_changed && unsure()) {
            queue.add(ObjectKey { resource: resource.clone(), path: new.path.clone() });
        }
    }
    let Some(old) = before else { return };
    let still = |owner: &OwnerRef<'_>| after.is_some_and(|new| new.object.header().owners().any(|it| it == *owner));
    for owner in old.object.header().owners().filter(|owner| !still(owner)) {
        for candidate in graph.candidates(&old.path, &owner) {
            if candidate.known(owner.uid) == Owner::Waiting {
                queue.add(candidate.key);
            }
        }
    }
    if after.is_none() {
        for (key, _) in graph.dependents(old) {
            queue.add(key);
        }
    }
}

fn is_solid(graph: &Graph, object: &Stored, owner: &OwnerRef<'_>) -> bool {
    graph.candidates(&object.path, owner).iter().any(|candidate| candidate.known(owner.uid) == Owner::Solid)
}

impl Reconcile for Garbage {
    type Key = ObjectKey;
    const NAME: &'static str = "garbage-collector";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, Status> {
        let Some(object) = found(self.client.get(key).await)? else { return Ok(Outcome::Done) };
        let header = object.object.header();
        if waits(header, ORPHAN) {
            return self.orphan(key, &object).await;
        }
        if waits(header, FOREGROUND) {
            return self.foreground(key, &object).await;
        }
        if header.deletion().is_some() || header.owners().len() == 0 {
            return Ok(Outcome::Done);
        }
        self.collect(key, &object).await
    }
}

impl Garbage {
    /// Deletes an object whose owners are all gone, or waiting; takes off it the owners that are, when others are left.
    async fn collect(&self, key: &ObjectKey, object: &Stored) -> Result<Outcome, Status> {
        let (mut solid, mut waiting, mut absent) = (false, Vec::new(), Vec::new());
        let (mut had, mut breath) = (Vec::new(), Breath::default());
        for owner in object.object.header().owners() {
            breath.after(OWNER).await;
            match self.state(object, &owner, &mut had).await? {
                Owner::Solid | Owner::Foreign => solid = true,
                Owner::Waiting => waiting.push(owner.uid),
                Owner::Missing => {
                    if absent.len() < TOLD {
                        self.tell_if_elsewhere(object, &owner);
                    }
                    absent.push(owner.uid);
                }
            }
        }
        if solid {
            let gone: Vec<&str> = waiting.into_iter().chain(absent).collect();
            if !gone.is_empty() {
                let uid = object.object.header().uid();
                amend(&*self.client, key, None, |edited| edited.uid() == uid && remove_owners(edited, &gone)).await?;
            }
            return Ok(Outcome::Done);
        }
        let dependents = if waiting.is_empty() { Vec::new() } else { self.graph.dependents(object) };
        let owns = !dependents.is_empty();
        if dependents.iter().any(|(_, dependent)| waits(dependent.object.header(), FOREGROUND)) {
            // It waits for what waits for it: somebody must let go first.
            return self.unblock(key, object).await;
        }
        let propagation = if owns { Propagation::Foreground } else { Propagation::Background };
        tracing::debug!(%key, ?propagation, "garbage is deleted");
        let options = DeleteOptions::default()
            .uid(object.object.header().uid())
            .revision(object.revision)
            .propagation(propagation);
        found(self.client.delete(key, options).await)?;
        Ok(Outcome::Done)
    }

    /// Lets the owners of an object go before it, and comes back to it.
    async fn unblock(&self, key: &ObjectKey, object: &Stored) -> Result<Outcome, Status> {
        let uid = object.object.header().uid();
        let unblocked = amend(&*self.client, key, None, |edited| {
            let Ok(mut meta) = edited.meta() else { return false };
            let blocks = |owner: &OwnerReference| owner.block_owner_deletion == Some(true);
            let any = meta.owner_references.iter().any(blocks);
            meta.owner_references.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
            edited.set(&["metadata", "ownerReferences"], serde_json::json!(meta.owner_references));
            any && edited.uid() == uid
        })
        .await?;
        if unblocked.is_some() {
            return Ok(Outcome::Done); // the change wakes the owners up, and their going wakes this up
        }
        let options = DeleteOptions::default().uid(uid).revision(object.revision).propagation(Propagation::Foreground);
        found(self.client.delete(key, options).await)?;
        Ok(Outcome::Done)
    }

    /// What an owner is: as the informers know it when they do, otherwise as the API says. It is missing only where the
    /// object's own tenant has the kind that the reference names: what others define says nothing of it. `had` is what
    /// was found out about kinds for the same object.
    async fn state(
        &self,
        object: &Stored,
        owner: &OwnerRef<'_>,
        had: &mut Vec<(StoredKind, bool)>,
    ) -> Result<Owner, Status> {
        let mut candidates = self.graph.candidates(&object.path, owner);
        candidates.retain(|candidate| self.reach.knows(&candidate.kind, object));
        let known = candidates.iter().map(|candidate| candidate.known(owner.uid));
        if let Some(known) = known.into_iter().find(|known| *known != Owner::Missing) {
            return Ok(known);
        }
        for candidate in &candidates {
            let live = Owner::of(found(self.client.get(&candidate.key).await)?.as_ref(), owner.uid);
            if live != Owner::Missing {
                return Ok(live);
            }
        }
        for candidate in &candidates {
            let has = match had.iter().find(|(kind, _)| *kind == candidate.kind) {
                Some((_, has)) => *has,
                None => {
                    let has = self.has(object.path.tenant(), &candidate.kind).await?;
                    had.push((candidate.kind.clone(), has));
                    has
                }
            };
            if has {
                return Ok(Owner::Missing);
            }
        }
        Ok(Owner::Foreign)
    }

    /// Whether a tenant has a kind: all have what no definition defines, and what one of `system` forces on them.
    async fn has(&self, tenant: &str, kind: &StoredKind) -> Result<bool, Status> {
        if !kind.defined {
            return Ok(true);
        }
        let of_tenant = |tenant| CUSTOM_RESOURCE_DEFINITIONS.key(&ObjectPath::new(tenant, "", kind.resource.as_str()));
        let forced = found(self.client.get(&of_tenant(TenantName::SYSTEM)).await)?;
        let forced = forced.filter(|stored| tenant == TenantName::SYSTEM || is_forced(stored.object.header()));
        let definition = match forced {
            Some(forced) => forced,
            None => match found(self.client.get(&of_tenant(tenant)).await)? {
                Some(own) => own,
                None => return Ok(false),
            },
        };
        let definition = definition.object.decode(None).map_err(Status::internal)?;
        let namespaced = definition.str_at(&["spec", "scope"]) == "Namespaced";
        let named = definition.str_at(&["spec", "names", "kind"]) == kind.kind;
        Ok(named && namespaced == (kind.scope == Scope::Namespace))
    }

    /// One step of a deletion that waits for what the object owns.
    async fn foreground(&self, key: &ObjectKey, object: &Stored) -> Result<Outcome, Status> {
        let uid = object.object.header().uid();
        let blocks = |owner: OwnerRef<'_>| owner.uid == uid && owner.block_owner_deletion == Some(true);
        let (dependents, complete) = self.graph.all_dependents(object);
        let blocking = dependents.iter().filter(|(_, it)| it.object.header().owners().any(blocks));
        let mut blocked = false;
        for (dependent, stored) in blocking {
            blocked = true;
            if stored.object.header().deletion().is_none() {
                self.delete_dependent(dependent).await?;
            }
        }
        if blocked {
            return Ok(Outcome::Done); // whatever of it goes wakes this up
        }
        if !complete {
            return Ok(Outcome::Retry); // "owns nothing" is not known while a kind cannot be watched
        }
        self.release(key, object, FOREGROUND).await
    }

    async fn delete_dependent(&self, key: &ObjectKey) -> Result<(), Status> {
        match found(self.client.get(key).await)? {
            Some(live) if live.object.header().deletion().is_none() => self.collect(key, &live).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Lets go what a deleted object owns.
    async fn orphan(&self, key: &ObjectKey, object: &Stored) -> Result<Outcome, Status> {
        let uid = object.object.header().uid();
        let (dependents, complete) = self.graph.all_dependents(object);
        for (dependent, _) in dependents {
            amend(&*self.client, &dependent, None, |edited| remove_owners(edited, &[uid])).await?;
        }
        if !complete {
            return Ok(Outcome::Retry);
        }
        self.release(key, object, ORPHAN).await
    }

    async fn release(&self, key: &ObjectKey, object: &Stored, finalizer: &str) -> Result<Outcome, Status> {
        let uid = object.object.header().uid();
        amend(&*self.client, key, None, |edited| {
            let Ok(mut meta) = edited.meta() else { return false };
            let before = meta.finalizers.len();
            meta.finalizers.retain(|held| held != finalizer);
            let changed = meta.finalizers.len() != before;
            edited.set(&["metadata", "finalizers"], meta.finalizers);
            changed && edited.uid() == uid
        })
        .await?;
        Ok(Outcome::Done)
    }

    /// Tells when an owner is in another namespace than the object: such an owner counts as absent.
    fn tell_if_elsewhere(&self, object: &Stored, owner: &OwnerRef<'_>) {
        if self.graph.is_elsewhere(&object.path, owner) {
            let namespace = object.path.namespace();
            let message = format!("ownerRef {} does not exist in namespace {namespace:?}", named(owner, namespace));
            self.events.warning(object, "OwnerRefInvalidNamespace", message);
        }
    }
}

/// Takes kinds in that come later, and lets go those that leave.
struct Newcomers {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    graph: Arc<Graph>,
    queue: WorkQueue<ObjectKey>,
    reach: Reach,
}

impl Newcomers {
    async fn follow(self, mut kinds: Kinds, known: Arc<[StoredKind]>) {
        let mut drivers: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        let mut running: HashMap<GroupResource, oneshot::Sender<()>> = HashMap::new();
        drivers.push(Box::pin(std::future::pending()));
        loop {
            let changed = {
                let change = std::pin::pin!(kinds.changed());
                match select(change, drivers.next()).await {
                    Either::Left((changed, _)) => changed,
                    Either::Right(_) => continue,
                }
            };
            if changed.is_err() {
                break; // nobody tells of kinds any more
            }
            let now = kinds.borrow_and_update().clone();
            running.retain(|resource, _| now.iter().any(|kind| kind.resource == *resource));
            self.graph.keep(&now);
            for kind in now.iter().filter(|kind| self.reach.covers(kind)) {
                let first = known.iter().any(|first| first.resource == kind.resource);
                if first || running.contains_key(&kind.resource) {
                    continue;
                }
                let (stop, stopped) = oneshot::channel();
                running.insert(kind.resource.clone(), stop);
                let driver = self.watch(&kind.resource, &now);
                drivers.push(Box::pin(async move {
                    select(driver, stopped).await;
                }));
            }
        }
        while drivers.next().await.is_some() {}
    }

    fn watch(&self, resource: &GroupResource, kinds: &[StoredKind]) -> Driver {
        let query = Query::everywhere(resource.clone());
        let builder = watch_all::<Stored>(self.client.clone(), query, self.clock.clone(), self.random.clone());
        let (informer, driver) = builder.build();
        let kinds = of_resource(kinds, resource);
        let member = Member { resource: resource.clone(), kinds, watched: Arc::new(informer) };
        join(&self.graph, &self.queue, member);
        driver
    }
}
