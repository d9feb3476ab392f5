//! Clearing a namespace or a tenant that is being deleted: what can go at once goes by its range of keys, many objects
//! a commit, where [`delete`](super::delete) would take a commit for each. It leaves to that one whatever a deletion
//! must wait for or ask.

use std::collections::HashSet;
use std::ops::ControlFlow;

use arktos_core::{GroupResource, ObjectKey, Status, TenantName};
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
/// How many objects it looks out at a time.
const ROUND: usize = 4096;
/// What a commit may weigh. A shared store makes one transaction of it, of at most 128 operations.
const COMMIT_WEIGHT: usize = 120;
/// The finalizer of namespaces that is the control plane's own.
const OWN_FINALIZER: &str = "kubernetes";

/// An object that goes at once, and what it gives back.
struct Doomed {
    write: Write,
    counters: Vec<CounterChange>,
}

/// What is found to go.
#[derive(Default)]
struct Found {
    /// What is in namespaces.
    inside: Vec<Doomed>,
    /// What a tenant has outside of them, and they themselves.
    outside: Vec<Doomed>,
    /// Whether a namespace stays, or something in one.
    held: bool,
    /// Whether there is more in namespaces.
    more_inside: bool,
    /// Whether there is more outside of them.
    more_outside: bool,
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
    let mut retries = 0;
    loop {
        let snapshot = state.config.engine.latest().await.map_err(|error| read_fault(&error))?;
        let going = snapshot.get(&home).is_some_and(|home| home.object.header().deletion().is_some());
        if !going || admission::reviews_deletions(state, &snapshot, tenant) {
            return Ok(());
        }
        let found = find(state, identity, &snapshot, (tenant, within));
        let more = found.more_inside || (found.more_outside && !found.held);
        match remove(state, found).await {
            Ok(()) if more => {}
            Ok(()) => return Ok(()),
            Err(CommitError::Conflict { .. }) if retries < RETRIES => retries += 1,
            // deleted one by one, it is said which of them cannot be
            Err(CommitError::Conflict { .. } | CommitError::Limit { .. } | CommitError::TooLarge { .. }) => {
                return Ok(());
            }
            Err(error) => return Err(commit_fault(&error)),
        }
    }
}

/// Looks out what goes, of a tenant or one of its namespaces.
fn find(state: &State, identity: &Identity, snapshot: &Snapshot, (tenant, within): (&TenantName, &Within)) -> Found {
    let busy = with_pods(snapshot, within);
    let mut found = Found { held: !busy.is_empty(), ..Found::default() };
    for resource in snapshot.resources_within(within) {
        // Whoever holds a namespace needs the rights that it has in the tenant as much as who holds what is in one.
        let are_namespaces = resource.as_str() == "namespaces";
        let call = resource::call(state, identity, Verb::Delete, (&resource, Some(tenant.clone()), "", "", ""));
        let call = call.ok().filter(|call| call.kind.can("delete") && !state.config.delegates.contains_key(&resource));
        let _ = snapshot.walk(&resource, within, None, |stored| {
            let inside = !stored.path.namespace().is_empty();
            let (list, more) = match inside {
                true => (&mut found.inside, &mut found.more_inside),
                false => (&mut found.outside, &mut found.more_outside),
            };
            if list.len() == ROUND {
                *more = true;
                return ControlFlow::Break(());
            }
            let spared = inside && busy.contains(stored.path.namespace());
            let doomed = call.as_ref().filter(|_| !spared).and_then(|call| doomed(call, &resource, stored));
            found.held |= (inside || are_namespaces) && doomed.is_none();
            list.extend(doomed);
            ControlFlow::Continue(())
        });
    }
    found
}

/// The namespaces that have pods.
fn with_pods(snapshot: &Snapshot, within: &Within) -> HashSet<String> {
    let mut namespaces = HashSet::new();
    let _ = snapshot.walk(&GroupResource::core("pods"), within, None, |pod| {
        if !namespaces.contains(pod.path.namespace()) {
            namespaces.insert(pod.path.namespace().to_owned());
        }
        ControlFlow::Continue(())
    });
    namespaces
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

/// Deletes what was found, in the order in which it may go.
async fn remove(state: &State, found: Found) -> Result<(), CommitError> {
    let empty = !found.held && !found.more_inside;
    let after = found.outside.into_iter().filter(|_| empty);
    let (mut commit, mut weight) = (Commit::default(), 0);
    for doomed in found.inside.into_iter().chain(after) {
        let more = 2 + doomed.counters.len();
        if weight + more > COMMIT_WEIGHT && weight > 0 {
            state.config.engine.commit(std::mem::take(&mut commit)).await?;
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
