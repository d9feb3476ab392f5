//! Subresources with rules of their own: finalize, approval, resize, ephemeral containers; binding.

use std::borrow::Cow;

use arktos_core::catalog::Kind;
use arktos_core::opened::{Opened, Text};
use arktos_core::{GroupResource, Object, ObjectKey, Reason, Status, rules};
use arktos_store::{Change, Commit, CommitError, Expect, Stored, Write};
use serde_json::{Value, json};

use super::modify;
use crate::admission::{node_restriction, topology};
use crate::call::{Call, commit_fault};

/// The annotation by which a scheduler says under which claim it binds: `resource manager/claim`.
pub(crate) const CLAIM: &str = "arktos.io/claim";
/// The annotation by which a scheduler that was elected says in which term it binds: `lease/transitions/holder`.
pub(crate) const TERM: &str = "arktos.io/term";
/// The note that names the claim.
pub(crate) const CLAIM_NOTE: &str = "claim";
/// The note that names the resource manager.
pub(crate) const MANAGER_NOTE: &str = "resource-manager";

/// The new state of an object after a write to one of its subresources: only what that stands for changes.
///
/// # Errors
/// 422.
pub(crate) fn admit(call: &Call<'_>, name: &str, kind: &Kind, old: &Object, new: Object) -> Result<Object, Status> {
    let mut merged = old.clone();
    let mut take = |path: &[&str]| match new.at(path).cloned() {
        Some(value) => merged.set(path, value),
        None => {
            merged.remove(path);
        }
    };
    match name {
        "finalize" => {
            take(&["spec", "finalizers"]);
            take(&["metadata"]);
            if merged.at(&["spec"]).is_none() {
                merged.set(&["spec"], json!({}));
            }
            rules::refuse_finalizers(kind, &merged)?;
            // By the rules of an update of all else: the finalizers are as they were.
            let mut before = old.clone();
            if let Some(spec) = merged.at(&["spec"]).cloned() {
                before.set(&["spec"], spec);
            }
            rules::admit_update(kind, &before, merged)
        }
        "approval" => {
            take(&["status", "conditions"]);
            take(&["metadata"]);
            rules::admit_approval(kind, old, merged)
        }
        "ephemeralcontainers" => {
            take(&["spec", "ephemeralContainers"]);
            let mut admitted = rules::admit_ephemeral(kind, old, merged)?;
            bump(old, &mut admitted);
            Ok(admitted)
        }
        "resize" => {
            resize(&mut merged, &new);
            within_claim(call, old, &merged)?;
            let mut admitted = rules::admit_resize(kind, old, merged)?;
            bump(old, &mut admitted);
            Ok(admitted)
        }
        _ => Err(Status::not_found(&call.kind.group_resource, &call.name)),
    }
}

fn bump(old: &Object, new: &mut Object) {
    if old.at(&["spec"]) != new.at(&["spec"])
        && let Some(generation) = old.int_at(&["metadata", "generation"])
    {
        new.set(&["metadata", "generation"], generation + 1);
    }
}

/// Takes over what a resize may say of a pod and its containers. Containers that are others than before, or in another
/// order, are taken whole: they are refused as they are.
fn resize(merged: &mut Object, new: &Object) {
    match new.at(&["spec", "resources"]).cloned() {
        Some(resources) => merged.set(&["spec", "resources"], resources),
        None => {
            merged.remove(&["spec", "resources"]);
        }
    }
    let items = |pod: &Object, list| pod.at(&["spec", list]).and_then(Value::as_array).cloned().unwrap_or_default();
    for list in ["containers", "initContainers"] {
        let (mut containers, wanted) = (items(merged, list), items(new, list));
        let names = |all: &[Value]| all.iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
        if names(&containers) != names(&wanted) {
            merged.set(&["spec", list], wanted);
            continue;
        }
        for (container, wanted) in containers.iter_mut().zip(&wanted) {
            let Some(fields) = container.as_object_mut() else { continue };
            for field in ["resources", "resizePolicy"] {
                match wanted.get(field) {
                    Some(value) => fields.insert(field.to_owned(), value.clone()),
                    None => fields.remove(field),
                };
            }
        }
        if !containers.is_empty() {
            merged.set(&["spec", list], containers);
        }
    }
}

/// A pod on a host has what was claimed for it, and a claim does not grow.
///
/// # Errors
/// 403 for a pod that would take more of its host than its claim.
fn within_claim(call: &Call<'_>, old: &Object, new: &Object) -> Result<(), Status> {
    if !old.notes.contains_key(CLAIM_NOTE) {
        return Ok(());
    }
    let usage = |pod| arktos_core::quota::usage(&call.kind.storage_resource, pod, call.state.config.clock.now());
    let had = usage(old);
    let more = usage(new)
        .into_iter()
        .find(|(name, amount)| name.starts_with("requests.") && had.get(name).is_none_or(|had| amount > had));
    let Some((name, amount)) = more else { return Ok(()) };
    let text = format!("{name} of {amount} is more than what was claimed of the pod's host: a claim does not grow");
    Err(Status::forbidden(&call.kind.group_resource, &call.name, text))
}

/// Success of an action.
pub(super) fn done() -> Status {
    let mut status = Status::success(None);
    status.code = 201;
    status
}

/// Binds a pod to a host.
///
/// # Errors
/// 404, 409 when it is bound or may not be, 400.
pub(crate) async fn bind(call: &Call<'_>, mut binding: Object) -> Result<Status, Status> {
    if binding.name() != call.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    let node = binding.str_at(&["target", "name"]).to_owned();
    let kind = binding.str_at(&["target", "kind"]);
    let not_a_node = (!matches!(kind, "" | "Node"))
        .then(|| format!("target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\""));
    let nameless = node.is_empty().then(|| "target.name: Required value".to_owned());
    match (not_a_node, nameless) {
        (Some(one), Some(other)) => return Err(Status::unexplained(format!("[{one}, {other}]"))),
        (Some(one), None) | (None, Some(one)) => return Err(Status::unexplained(one)),
        (None, None) if call.name.is_empty() => return Err(Status::bad_request("Name parameter required.")),
        (None, None) => {}
    }
    let mut take = |annotation| match binding.map_mut(&["metadata"]).get_mut("annotations") {
        Some(Value::Object(annotations)) => annotations.remove(annotation)?.as_str().map(str::to_owned),
        _ => None,
    };
    let (claim, term) = (take(CLAIM), take(TERM));
    let key = call.key()?;
    let host = topology::host(call, &node);
    for _ in 0..16 {
        let old = call.found().await?;
        // A pod that was stored is valid, and nearly all of it stays as it is: it is not decoded.
        let text = Text::of(&old.object);
        let mut pod = Opened::of(&text).map_err(Status::internal)?;
        node_restriction::act(call, "binding", "")?;
        bindable(call, &old, &mut pod, &binding)?;
        bound(&mut pod, &binding, (&node, host.as_ref()), &call.state.config.clock.now().to_string());
        let mut commit = Commit { ..Commit::default() };
        let whole = || {
            let mut pod = old.object.decode(Some(old.revision)).map_err(Status::internal)?;
            pod.set(&["spec", "nodeName"], node.as_str());
            Ok(Cow::Owned(pod))
        };
        if let Some(claim) = claimed(call, whole, claim.as_deref(), &mut commit).await? {
            pod.note(MANAGER_NOTE, claim.manager);
            pod.note(CLAIM_NOTE, claim.whole);
        }
        if let Some(term) = &term {
            commit.guards.push(elected(call, term).await?);
        }
        let object = pod.encode(&call.stored_kind()).map_err(Status::internal)?;
        if call.options.dry_run {
            return Ok(done());
        }
        commit.writes.push(Write { key: key.clone(), expect: Expect::At(old.revision), change: Change::put(object) });
        match call.state.config.engine.commit(commit).await {
            Ok(_) => return Ok(done()),
            Err(CommitError::Conflict { .. }) => {}
            Err(CommitError::Guarded { key, .. }) if key.resource == leases() => {} // renewed, or lost: look again
            Err(CommitError::Guarded { .. }) => {
                return Err(conflict(call, format!("the claim {} has ended", claim.unwrap_or_default())));
            }
            Err(error) => return Err(commit_fault(&error)),
        }
    }
    Err(modify::modified(call))
}

fn bindable(call: &Call<'_>, stored: &Stored, pod: &mut Opened<'_>, binding: &Object) -> Result<(), Status> {
    let (name, header, uid) = (&call.name, stored.object.header(), binding.uid());
    if !uid.is_empty() && uid != header.uid() {
        let why = format!("UID in precondition: {uid}, UID in object meta: {}", header.uid());
        return Err(failed_precondition(call, &why));
    }
    let (expected, revision) = (binding.str_at(&["metadata", "resourceVersion"]), stored.revision.to_string());
    if !expected.is_empty() && expected != revision {
        let why = format!("ResourceVersion in precondition: {expected}, ResourceVersion in object meta: {revision}");
        return Err(failed_precondition(call, &why));
    }
    let generation = binding.int_at(&["metadata", "generation"]).filter(|generation| *generation != 0);
    if generation.is_some() && generation != pod.get("metadata", "generation").and_then(|it| it.as_i64()) {
        return Err(conflict(call, format!("pod {name} has changed since its place was found")));
    }
    if header.deletion().is_some() {
        return Err(conflict(call, format!("pod {name} is being deleted, cannot be assigned to a host")));
    }
    let node = pod.get("spec", "nodeName");
    if let Some(node) = node.as_ref().and_then(Value::as_str).filter(|node| !node.is_empty()) {
        return Err(conflict(call, format!("pod {name} is already assigned to node {node:?}")));
    }
    let gates = pod.get("spec", "schedulingGates");
    if gates.as_ref().and_then(Value::as_array).is_some_and(|gates| !gates.is_empty()) {
        return Err(conflict(call, format!("pod {name} has non-empty .spec.schedulingGates")));
    }
    Ok(())
}

fn failed_precondition(call: &Call<'_>, why: &str) -> Status {
    let place = if call.options.dry_run { "" } else { "/registry" };
    super::modify::failed_precondition(call, &format!("{place}/pods/{}/{}", call.namespace, call.name), why)
}

fn conflict(call: &Call<'_>, why: String) -> Status {
    let mut status = Status::conflict(&GroupResource::core("pods/binding"), &call.name, why);
    status.details.get_or_insert_default().kind = "pods/binding".to_owned();
    status
}

/// What a binding changes of a pod.
fn bound<'a>(pod: &mut Opened<'a>, binding: &'a Object, (node, host): (&str, Option<&'a Stored>), now: &str) {
    pod.set("spec", "nodeName", &Value::from(node));
    let more = |field| {
        let more = binding.at(&["metadata", field]).and_then(Value::as_object);
        more.filter(|more| !more.is_empty())
    };
    if let Some(more) = more("annotations") {
        let mut annotations = match pod.get("metadata", "annotations") {
            Some(Value::Object(annotations)) => annotations,
            _ => serde_json::Map::new(),
        };
        annotations.extend(more.clone());
        pod.set("metadata", "annotations", &Value::Object(annotations));
    }
    if let Some(more) = more("labels") {
        pod.label(more.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))));
    }
    let of_host: Vec<(&str, &str)> = host.into_iter().flat_map(topology::labels).collect();
    if !of_host.is_empty() {
        pod.label(of_host);
    }
    let mut conditions = match pod.get("status", "conditions") {
        Some(Value::Array(conditions)) => conditions,
        _ => Vec::new(),
    };
    conditions.retain(|condition| condition.get("type").and_then(Value::as_str) != Some("PodScheduled"));
    conditions.push(json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
    }));
    pod.set("status", "conditions", &Value::Array(conditions));
}

/// The claim that a pod is bound under.
struct Claimed {
    manager: String,
    /// `resource manager/claim`.
    whole: String,
}

/// The claim that a pod is bound under: the one that is named, or a new one. Makes the commit depend on its not having
/// ended. `None` where there is nothing to be claimed. `pod` is asked for where somebody claims for it.
async fn claimed<'p>(
    call: &Call<'_>,
    pod: impl FnOnce() -> Result<Cow<'p, Object>, Status> + Send,
    claim: Option<&str>,
    commit: &mut Commit,
) -> Result<Option<Claimed>, Status> {
    let whole = match claim {
        Some(claim) if call.identity.is_component() => claim.to_owned(),
        Some(_) => {
            return Err(Status::forbidden(&call.kind.group_resource, &call.name, "only a scheduler may name a claim"));
        }
        None if call.options.dry_run => return Ok(None), // a claim would be real
        None => match &call.state.config.claimer {
            Some(claimer) => match claimer.claim(call.one_tenant()?, &*pod()?).await {
                // Nobody knows the host, so there is nothing of it to be claimed. The pod is never shown to a host,
                // even if one of that name comes later: that would take a claim.
                Err(status) if status.is(Reason::NotFound) => return Ok(None),
                claim => claim?,
            },
            None if call.state.config.resource_manager.is_some() => {
                let text = "hosts cannot be claimed here: leave the binding to the scheduler";
                return Err(Status::failure(Reason::ServiceUnavailable, text));
            }
            None => return Ok(None),
        },
    };
    let Some((manager, name)) = whole.split_once('/').filter(|(manager, name)| !manager.is_empty() && !name.is_empty())
    else {
        return Err(Status::bad_request(format!(
            "{whole:?} does not name a claim: resource manager/claim is expected"
        )));
    };
    if name.contains('/') {
        return Err(Status::bad_request(format!("{whole:?} does not name a claim")));
    }
    let fence = ObjectKey::region_scoped(GroupResource::new("region.arktos.io", "claimfences"), name);
    commit.guards.push(arktos_store::Guard { key: fence, expect: Expect::Absent });
    Ok(Some(Claimed { manager: manager.to_owned(), whole }))
}

fn leases() -> GroupResource {
    GroupResource::new("coordination.k8s.io", "leases")
}

/// What a commit must depend on so that it is made within a term: the lease as it was when it was still of that term.
///
/// # Errors
/// 409 when another term has begun.
async fn elected(call: &Call<'_>, term: &str) -> Result<arktos_store::Guard, Status> {
    let over = || conflict(call, format!("the term {term} is over: another scheduler leads"));
    let mut parts = term.splitn(3, '/');
    let (Some(lease), Some(transitions), Some(holder)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Status::bad_request(format!("{term:?} is no term: lease/transitions/holder is expected")));
    };
    let path = arktos_core::ObjectPath::new("system", "kube-system", lease);
    let key = ObjectKey { resource: leases(), path };
    let snapshot = call.engine().latest().await.map_err(Status::internal)?;
    let stored = snapshot.get(&key).ok_or_else(over)?;
    let object = stored.object.decode(None).map_err(Status::internal)?;
    let held = object.str_at(&["spec", "holderIdentity"]) == holder;
    if !held || object.int_at(&["spec", "leaseTransitions"]).unwrap_or(0).to_string() != transitions {
        return Err(over());
    }
    Ok(arktos_store::Guard { key, expect: Expect::At(stored.revision) })
}

/// A pod that is created with a node name needs a claim as a binding does.
///
/// # Errors
/// What the resource manager answers.
pub(crate) async fn claim_at_creation(
    call: &Call<'_>,
    key: &ObjectKey,
    object: &mut Object,
    commit: &mut Commit,
) -> Result<(), Status> {
    let bound = call.kind.storage_resource.as_str() == "pods" && !object.str_at(&["spec", "nodeName"]).is_empty();
    if !bound || call.options.dry_run {
        return Ok(());
    }
    // What cannot be made must not claim: each claim that comes to nothing has to be ended, and that is kept for long.
    if let Some(found) = call.engine().snapshot().get(key) {
        return Err(super::create::exists(call, key, &found));
    }
    let claim = object.notes.get(CLAIM_NOTE).cloned();
    if let Some(claim) = claimed(call, || Ok(Cow::Borrowed(&*object)), claim.as_deref(), commit).await? {
        object.notes.insert(MANAGER_NOTE.to_owned(), claim.manager);
        object.notes.insert(CLAIM_NOTE.to_owned(), claim.whole);
    }
    Ok(())
}
