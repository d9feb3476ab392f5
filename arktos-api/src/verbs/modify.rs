//! Update, and what every change of an object shares: preconditions, what stays, the no-op, the last finalizer.

use arktos_core::encoded::SHARED;
use arktos_core::{Managed, Object, Reason, Status, rules};
use arktos_store::{Change, Commit, CommitError, Expect, Stored, Write};
use serde_json::Value;

use super::{create, elsewhere, managers};
use crate::admission::{self, Review};
use crate::allocate::Allocation;
use crate::call::{Call, commit_fault};
use crate::conversion;
use crate::resource::Verb;

/// How often a change is made anew on a newer state before the client is told of the conflict.
const RETRIES: usize = 32;

/// Which part of an object a write changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// All but the status.
    Whole,
    /// The status.
    Status,
    /// What another subresource stands for; its own rules decide.
    Other(&'a str),
}

/// Where the new state comes from.
pub(crate) enum Source<'a> {
    /// It was sent whole.
    Body(Object),
    /// It is made from the old one, which is given in the version of the call's kind.
    Made(&'a (dyn Fn(&Object) -> Result<Object, Status> + Send + Sync)),
    /// As that, but made also where there is no old one.
    Applied(&'a (dyn Fn(Option<&Object>) -> Result<Object, Status> + Send + Sync)),
}

/// What came of a write.
pub(crate) struct Changed {
    pub(crate) stored: Stored,
    /// Whether the object was not there before.
    pub(crate) created: bool,
}

/// Writes a new state over an object.
///
/// # Errors
/// What upstream answers: 404, 409, 422.
pub(crate) async fn modify(call: &Call<'_>, part: Part<'_>, mut source: Source<'_>) -> Result<Changed, Status> {
    let key = call.key()?;
    if let Some(delegate) = call.writes_elsewhere()? {
        return elsewhere::modify(call, delegate, &key, part, source).await;
    }
    crate::forced::check_write(call, &call.name, false)?;
    // What is said of one revision is tried once.
    let once = matches!(&source, Source::Body(body) if !body.str_at(&["metadata", "resourceVersion"]).is_empty());
    for _ in 0..RETRIES {
        let snapshot = call.engine().latest().await.map_err(|error| crate::call::read_fault(&error))?;
        let own = snapshot.get(&key);
        let Some(old) = own.clone().or_else(|| call.state.shared.get(&key)) else {
            match created_by_update(call, part, &source).await {
                // An apply that found nothing, and then was not the first, goes on from what is there.
                Err(status) if matches!(source, Source::Applied(_)) && status.is(Reason::AlreadyExists) => continue,
                created => return created,
            }
        };
        let expect = if own.is_some() { Expect::At(old.revision) } else { Expect::Absent };
        let mut seen = decoded(call, old.clone()).await?;
        let (mut new, sent) = match &mut source {
            Source::Body(body) if once => (std::mem::take(body), true),
            Source::Body(body) => (body.clone(), true),
            Source::Made(make) => (make(&seen)?, false),
            Source::Applied(make) => (make(Some(&seen))?, false),
        };
        named_alike(call, &mut new)?;
        preconditions(call, &old, &new, sent)?;
        crate::forced::check_label(call, &old, &new)?;
        super::owners::distinct(call, &mut new);
        let managed = managers::noted(call, part, Some(&mut seen), &mut new)?;
        match write(call, part, (&old, seen), (new, managed), expect).await? {
            Some(stored) => return Ok(Changed { stored, created: false }),
            None if once => return Err(modified(call)),
            None => {}
        }
    }
    Err(modified(call))
}

/// The object as the version of the call's kind shows it, with who manages it apart.
///
/// # Errors
/// 500 where only a webhook can tell, and does not.
pub(crate) async fn decoded(call: &Call<'_>, stored: Stored) -> Result<Object, Status> {
    let stored = conversion::shown(call, stored).await?;
    let object = stored.object.decode_apart(Some(stored.revision)).map_err(Status::internal)?;
    if call.kind.shows_as_stored(&stored.object) {
        return Ok(object);
    }
    let mut shown = rules::convert::from_storage(&call.kind, object);
    shown.set(&["apiVersion"], call.kind.type_meta.api_version.as_str());
    shown.set(&["kind"], call.kind.type_meta.kind.as_str());
    Ok(shown)
}

/// The new state as it can be stored, and what it takes of addresses and ports.
async fn admitted(
    call: &Call<'_>,
    part: Part<'_>,
    before: &Object,
    (mut new, managed): (Object, Option<Managed>),
) -> Result<(Object, Allocation), Status> {
    let kind = call.admitted_kind();
    carry(before, &mut new);
    if part == Part::Whole {
        rules::refuse_changed_as_sent(&call.kind, before, &new)?;
    }
    let mut new = call.to_admit(new);
    new.notes.clone_from(&before.notes);
    if part == Part::Whole {
        crate::offered::fill(call, Some(before), &mut new);
    }
    admission::update(call, part, before, &mut new).await?;
    // What is wrong with a service is told before what it cannot have.
    let asked = (part == Part::Whole && call.kind.storage_resource.as_str() == "services").then(|| new.clone());
    let allocation = match (Allocation::of_update(call, before, &mut new), asked) {
        (Err(refused), Some(asked)) => return Err(rules::admit_update(&kind, before, asked).err().unwrap_or(refused)),
        (allocation, _) => allocation?,
    };
    let mut new = match part {
        Part::Whole => rules::admit_update(&kind, before, new)?,
        Part::Status => rules::admit_status(&kind, before, new)?,
        Part::Other(name) => super::subresource::admit(call, name, &kind, before, new)?,
    };
    managers::settle(before, &mut new, managed);
    if part == Part::Whole {
        crate::warnings::of_object(call, &new, Some(before));
    }
    rules::kept_faults(&kind, before, &new).into_iter().for_each(|fault| call.warn(fault));
    admission::validate(call, &Review { part, old: Some(before), new: Some(&new) }).await?;
    Ok((new, allocation))
}

/// Writes the new state. Absent when somebody else wrote in between.
async fn write(
    call: &Call<'_>,
    part: Part<'_>,
    (old, seen): (&Stored, Object),
    (new, managed): (Object, Option<Managed>),
    expect: Expect,
) -> Result<Option<Stored>, Status> {
    let key = call.key()?;
    // The new state is compared with the old one in the version that it is admitted in.
    let stored_form = || old.object.decode_apart(Some(old.revision)).map_err(Status::internal);
    let mut before = if call.kind.builtin && !call.kind.storage { stored_form()? } else { seen };
    let mut commit = Commit::default();
    if expect == Expect::Absent {
        // A copy of what all tenants have is new in its tenant.
        admission::guard_place(call, &new, &mut commit)?;
    }
    let (mut new, mut allocation) = admitted(call, part, &before, (new, managed)).await?;
    let mut tries = admission::quota::TRIES;
    loop {
        allocation.apply(&mut new);
        let encoded = call.encode(&new).await?;
        let gone = is_finished(&new, &key.resource);
        if encoded == old.object && !gone && !call.state.config.engine.is_stale(&key.resource, old.revision) {
            return Ok(Some(old.clone())); // unless it is kept with an older key: then it is written all the same
        }
        if new.notes.remove(SHARED).is_some() {
            continue; // from here on the object is the tenant's own
        }
        let stored = |revision| Stored { path: key.path.clone(), revision, object: encoded.clone() };
        let mut attempt = commit.clone();
        admission::quota::charge(call, &Review { part, old: Some(&before), new: Some(&new) }, &mut attempt)?;
        if call.options.dry_run {
            return Ok(Some(stored(old.revision)));
        }
        let change = if gone {
            Change::Delete
        } else {
            Change::Put { object: encoded.clone(), expires: create::expiry(&key, call.state.config.clock.now()) }
        };
        attempt.writes.insert(0, Write { key: key.clone(), expect, change });
        attempt.durability = create::durability(&key);
        attempt.counters.extend(allocation.counters());
        if gone {
            attempt.counters.extend(Allocation::released_by(call, &new));
        }
        if allocation.is_tried_once(&attempt) {
            // Freed where they were made, not by whoever goes on after the commit.
            (before, new) = (Object::default(), Object::default());
        }
        return match call.state.config.engine.commit(attempt).await {
            Ok(_) if gone => Ok(Some(stored(old.revision))),
            Ok(done) => {
                let stored = stored(done.revisions.first().copied().unwrap_or(done.revision));
                super::settle::settle(call, &stored).await;
                Ok(Some(stored))
            }
            Err(CommitError::Conflict { key: at, .. }) if at == key => Ok(None),
            Err(CommitError::Conflict { key: at, .. }) if admission::quota::is_quota(&at) && tries > 0 => {
                tries -= 1;
                admission::quota::caught_up(call).await?;
                continue;
            }
            Err(CommitError::Limit { counter, .. }) if allocation.owns(&counter) => {
                allocation.taken(call, &counter)?;
                continue;
            }
            Err(error) => Err(admission::refusal(call, &call.name, &error).unwrap_or_else(|| commit_fault(&error))),
        };
    }
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(crate) fn is_finished(object: &Object, resource: &arktos_core::GroupResource) -> bool {
    let some = |path: &[&str]| object.at(path).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let own = matches!(resource.as_str(), "namespaces" | "tenants");
    object.at(&["metadata", "deletionTimestamp"]).is_some_and(|time| !time.is_null())
        && !some(&["metadata", "finalizers"])
        && object.int_at(&["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0) == 0
        && !(own && some(&["spec", "finalizers"]))
}

/// What only the server says stays as it was where the new state does not say it.
fn carry(old: &Object, new: &mut Object) {
    let kept = ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"];
    for field in kept {
        let silent = new.at(&["metadata", field]).is_none_or(|value| value.is_null() || value == "");
        if let (true, Some(value)) = (silent, old.at(&["metadata", field])) {
            let value = value.clone();
            new.meta_mut().insert(field.to_owned(), value);
        }
    }
    for field in ["creationTimestamp", "generation", "selfLink", "resourceVersion"] {
        match old.at(&["metadata", field]).cloned() {
            Some(value) => new.meta_mut().insert(field.to_owned(), value),
            None => new.meta_mut().remove(field),
        };
    }
}

fn named_alike(call: &Call<'_>, new: &mut Object) -> Result<(), Status> {
    create::place(call, new)?;
    named(call, new.name())
}

/// 400 for a body of another name than the path's, or of none.
pub(super) fn named(call: &Call<'_>, name: &str) -> Result<(), Status> {
    if name.is_empty() {
        let text =
            format!("the name of the object ({} based on URL) was undeterminable: name must be provided", call.name);
        return Err(Status::bad_request(text));
    }
    if name != call.name {
        let text = format!("the name of the object ({name}) does not match the name on the URL ({})", call.name);
        return Err(Status::bad_request(text));
    }
    Ok(())
}

fn preconditions(call: &Call<'_>, old: &Stored, new: &Object, sent: bool) -> Result<(), Status> {
    if sent {
        same_uid(call, new.uid(), old.object.header().uid())?;
    }
    match said_revision(new)? {
        None => rules::refuse_unconditional(&call.kind, new),
        Some(arktos_core::Revision::ZERO) if call.kind.allows_unconditional_update() => Ok(()),
        Some(revision) if revision == old.revision => Ok(()),
        Some(_) => Err(modified(call)),
    }
}

/// The revision that a new state says it is of.
fn said_revision(new: &Object) -> Result<Option<arktos_core::Revision>, Status> {
    let revision = new.str_at(&["metadata", "resourceVersion"]);
    if revision.is_empty() {
        return Ok(None);
    }
    let unread = || Status::unexplained(format!("strconv.ParseUint: parsing {revision:?}: invalid syntax"));
    arktos_core::Revision::parse(revision).map(Some).ok_or_else(unread)
}

/// Refuses what is sent for an object with another uid.
///
/// # Errors
/// 409.
pub(super) fn same_uid(call: &Call<'_>, uid: &str, found: &str) -> Result<(), Status> {
    if uid.is_empty() || uid == found {
        return Ok(());
    }
    let why = format!("UID in precondition: {uid}, UID in object meta: {found}");
    Err(failed_precondition(call, &stored_at(call), &why))
}

/// 409 for an object that is not the one that is meant; `at` is where upstream keeps it.
pub(super) fn failed_precondition(call: &Call<'_>, at: &str, why: &str) -> Status {
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {at}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: \
         {why}"
    );
    Status::conflict(&call.kind.group_resource, &call.name, why)
}

/// Where upstream keeps an object, as it says of one that is not the one that was meant.
fn stored_at(call: &Call<'_>) -> String {
    let of = &call.kind.storage_resource;
    let (group, resource) = (of.group(), of.resource());
    let kept = match resource {
        "endpoints" | "services" if group.is_empty() => {
            format!("services/{}", if resource == "services" { "specs" } else { resource })
        }
        "ingresses" if call.kind.builtin => "ingress".to_owned(),
        "nodes" if group.is_empty() => "minions".to_owned(),
        "replicationcontrollers" if group.is_empty() => "controllers".to_owned(),
        _ if !call.kind.builtin || matches!(group, "apiextensions.k8s.io" | "apiregistration.k8s.io") => {
            format!("{group}/{resource}")
        }
        _ => resource.to_owned(),
    };
    let namespace = if call.namespace.is_empty() { String::new() } else { format!("{}/", call.namespace) };
    let place = if call.options.dry_run { "" } else { "/registry" };
    format!("{place}/{kept}/{namespace}{}", call.name)
}

/// 409 for a write against a state that has moved on.
pub(crate) fn modified(call: &Call<'_>) -> Status {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    Status::conflict(&call.kind.group_resource, &call.name, why)
}

/// Creates what was written where there was nothing, of the kinds that allow it. Who may change something may not
/// therefore create it.
async fn created_by_update(call: &Call<'_>, part: Part<'_>, source: &Source<'_>) -> Result<Changed, Status> {
    let applied = matches!(source, Source::Applied(_));
    let (allowed, subresource) = match part {
        Part::Whole => (applied || call.kind.allows_create_on_update(), ""),
        Part::Status => (call.kind.status_creates(applied), "status"),
        Part::Other(_) => (false, ""),
    };
    let mut object = match source {
        Source::Body(body) => body.clone(),
        Source::Applied(make) if allowed => {
            let object = make(None)?;
            let uid = object.uid();
            if !uid.is_empty() {
                let why =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(Status::conflict(&call.kind.group_resource, &call.name, why));
            }
            object
        }
        Source::Made(_) | Source::Applied(_) => return Err(call.not_found(&call.name)),
    };
    named_alike(call, &mut object)?;
    if !allowed {
        return Err(call.not_found(&call.name));
    }
    same_uid(call, object.uid(), "")?;
    said_revision(&object)?;
    object.remove(&["metadata", "resourceVersion"]); // it is of nothing that is there
    crate::resource::authorize_one(call, Verb::Create, subresource)?;
    super::create::create(call, object).await.map(|stored| Changed { stored, created: true })
}
