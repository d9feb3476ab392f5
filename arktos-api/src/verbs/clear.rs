//! Clearing a namespace or a tenant that is being deleted: what can go at once goes by its range of keys, many objects
//! a commit, where [`delete`](super::delete) would take a commit for each. It leaves to that one whatever a deletion
//! must wait for or ask.

use std::collections::HashSet;
use std::ops::ControlFlow;

use arktos_core::{GroupResource, ObjectKey, ObjectPath, Status, TenantName};
use arktos_store::tasks::give_way;
use arktos_store::{Change, Commit, CommitError, CounterChange, Expect, Snapshot, Stored, Within, Write};
use serde_json::Value;

use super::create::{namespace_key, tenant_key};
use crate::admission;
use crate::allocate::Allocation;
use crate::call::{Call, commit_fault, read_fault};
use crate::identity::Identity;
use crate::resource::{self, Verb};
use crate::server::State;

/// How often it looks anew after somebody else wrote what it was about to delete.
const RETRIES: usize = 8;
/// How many objects it looks at before others go on.
const STEP: usize = 1024;
/// What a commit may weigh. A shared store makes one transaction of it, of at most 128 operations; others wait for no
/// more than that.
const COMMIT_WEIGHT: usize = 120;
/// The finalizer of namespaces that is the control plane's own.
const OWN_FINALIZER: &str = "kubernetes";
/// Comes after all names of a namespace.
const LAST: &str = "\u{10ffff}";

/// An object that goes at once, and what it gives back.
struct Doomed {
    write: Write,
    counters: Vec<CounterChange>,
}

/// One way through what there is: what is in namespaces first, then what a tenant has outside of them and they
/// themselves, if nothing stays inside.
struct Pass<'a> {
    tenant: &'a TenantName,
    within: &'a Within,
    /// The namespaces that have pods: what their pods may need goes after them.
    busy: HashSet<String>,
    /// The resources that are yet to be looked at, the next one last, and up to where that was.
    resources: Vec<GroupResource>,
    after: Option<ObjectPath>,
    outside: bool,
    /// Whether a namespace stays, or something in one.
    held: bool,
}

/// Clears a namespace or tenant. Does nothing where it is not being deleted: nothing new can come while it is.
///
/// # Errors
/// 503 and what else a commit may fail with that has nothing to do with the objects.
pub(crate) async fn clear(state: &State, identity: &Identity, within: &Within) -> Result<(), Status> {
    let (tenant, home) = match within {
        Within::Tenant(tenant) => (tenant, tenant_key(tenant)),
        Within::Namespace(tenant, namespace) => (tenant, namespace_key(tenant, namespace)),
        _ => return Ok(()),
    };
    let (mut retries, mut pass) = (0, None);
    loop {
        let snapshot = state.config.engine.latest().await.map_err(|error| read_fault(&error))?;
        let going = snapshot.get(&home).is_some_and(|home| home.object.header().deletion().is_some());
        if !going || admission::reviews_deletions(state, &snapshot, tenant) {
            return Ok(());
        }
        let on = pass.get_or_insert_with(|| Pass::begin(&snapshot, tenant, within));
        let found = on.step(state, identity, &snapshot);
        match remove(state, found).await {
            Ok(()) if on.goes_on(&snapshot) => {}
            Ok(()) => return Ok(()),
            Err(CommitError::Conflict { .. }) if retries < RETRIES => (retries, pass) = (retries + 1, None),
            // deleted one by one, it is said which of them cannot be
            Err(CommitError::Conflict { .. } | CommitError::Limit { .. } | CommitError::TooLarge { .. }) => {
                return Ok(());
            }
            Err(error) => return Err(commit_fault(&error)),
        }
        give_way().await;
    }
}

impl<'a> Pass<'a> {
    fn begin(snapshot: &Snapshot, tenant: &'a TenantName, within: &'a Within) -> Self {
        let (busy, resources) = (with_pods(snapshot, within), left(snapshot, within));
        Self { tenant, within, held: !busy.is_empty(), busy, resources, after: None, outside: false }
    }

    /// Whether there is more to look at.
    fn goes_on(&mut self, snapshot: &Snapshot) -> bool {
        if self.resources.is_empty() && !self.outside && !self.held && matches!(self.within, Within::Tenant(_)) {
            (self.outside, self.resources) = (true, left(snapshot, self.within));
        }
        !self.resources.is_empty()
    }

    /// Looks out what goes, of the next objects.
    fn step(&mut self, state: &State, identity: &Identity, snapshot: &Snapshot) -> Vec<Doomed> {
        let (mut found, mut looked) = (Vec::new(), 0);
        let outside = Within::Namespace(self.tenant.clone(), String::new());
        let within = if self.outside { &outside } else { self.within };
        while let Some(resource) = self.resources.last().cloned() {
            // Whoever holds a namespace needs the rights that it has in the tenant as much as who holds what is in one.
            let are_namespaces = resource.as_str() == "namespaces";
            let call =
                resource::call(state, identity, Verb::Delete, (&resource, Some(self.tenant.clone()), "", "", ""));
            let call =
                call.ok().filter(|call| call.kind.can("delete") && !state.config.delegates.contains_key(&resource));
            let after = self.after.take();
            let _ = snapshot.walk(&resource, within, after.as_ref(), |stored| {
                let inside = !stored.path.namespace().is_empty();
                if inside || self.outside || are_namespaces {
                    let spared = inside && self.busy.contains(stored.path.namespace());
                    let doomed = call.as_ref().filter(|_| !spared).and_then(|call| doomed(call, &resource, stored));
                    self.held |= (inside || are_namespaces) && doomed.is_none();
                    found.extend(doomed.filter(|_| inside || self.outside));
                }
                looked += 1;
                if looked < STEP {
                    return ControlFlow::Continue(());
                }
                self.after = Some(stored.path.clone());
                ControlFlow::Break(())
            });
            if self.after.is_some() {
                break;
            }
            self.resources.pop();
        }
        found
    }
}

/// The resources of which there is anything, the first one last.
fn left(snapshot: &Snapshot, within: &Within) -> Vec<GroupResource> {
    let mut resources = snapshot.resources_within(within);
    resources.reverse();
    resources
}

/// The namespaces that have pods.
fn with_pods(snapshot: &Snapshot, within: &Within) -> HashSet<String> {
    let (mut namespaces, mut after) = (HashSet::new(), None);
    loop {
        let mut next = None;
        let _ = snapshot.walk(&GroupResource::core("pods"), within, after.as_ref(), |pod| {
            next = Some(pod.path.clone());
            ControlFlow::Break(())
        });
        let Some(pod) = next else { return namespaces };
        after = Some(ObjectPath::new(pod.tenant(), pod.namespace(), LAST));
        namespaces.insert(pod.namespace().to_owned());
    }
}

/// An object's deletion, if that is all there is to it.
fn doomed(call: &Call<'_>, resource: &GroupResource, stored: &Stored) -> Option<Doomed> {
    let decoded = || stored.object.decode(Some(stored.revision)).ok();
    let mut counters = Vec::new();
    match resource.as_str() {
        // these go in steps
        "pods" | "customresourcedefinitions.apiextensions.k8s.io" => return None,
        // the system's classes stay for as long as anybody can use them
        "priorityclasses.scheduling.k8s.io" => admission::delete(call, stored).ok()?,
        "namespaces" => {
            let namespace = decoded()?;
            let finalizers = namespace.at(&["spec", "finalizers"]).and_then(Value::as_array);
            if finalizers.into_iter().flatten().any(|finalizer| finalizer != OWN_FINALIZER) {
                return None;
            }
        }
        "services" => counters = Allocation::released_by(call, &decoded()?),
        _ => {}
    }
    let key = ObjectKey { resource: resource.clone(), path: stored.path.clone() };
    let write = Write { key, expect: Expect::At(stored.revision), change: Change::Delete };
    (stored.object.header().finalizers().len() == 0).then_some(Doomed { write, counters })
}

/// Deletes what was found, some in a commit, and lets others go on after each.
async fn remove(state: &State, found: Vec<Doomed>) -> Result<(), CommitError> {
    let (mut commit, mut weight) = (Commit::default(), 0);
    for doomed in found {
        let more = 2 + doomed.counters.len();
        if weight + more > COMMIT_WEIGHT && weight > 0 {
            state.config.engine.commit(std::mem::take(&mut commit)).await?;
            give_way().await;
            weight = 0;
        }
        weight += more;
        commit.writes.push(doomed.write);
        commit.counters.extend(doomed.counters);
    }
    if !commit.writes.is_empty() {
        state.config.engine.commit(commit).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
