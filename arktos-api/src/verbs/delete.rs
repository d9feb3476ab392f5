//! Delete: at once, after a grace, after finalizers; one object or a collection.

use std::time::Duration;

use arktos_core::cel::Purse;
use arktos_core::encoded::SHARED;
use arktos_core::status::StatusDetails;
use arktos_core::{GroupResource, Object, Reason, Status, StatusCause};
use arktos_store::client::{DeleteOptions, Propagation};
use arktos_store::{Change, Commit, CommitError, Expect, Stored, Write};
use serde_json::Value;

use super::modify::Part;
use super::{create, elsewhere};
use crate::admission::{self, Review};
use crate::allocate::Allocation;
use crate::call::{Call, commit_fault};
use crate::query::{QueryMap, cause, dry_run, unsupported};

const RETRIES: usize = 32;
/// How many times what one deletion may cost in expressions those of a collection may cost before it breaks off.
const PURSES: u64 = 4;
/// Why it does. A client that tries again goes on where it broke off.
const COSTS: &str = "too many requests, please try again later: what the tenant's policies cost on these deletions is \
                     all that one request may spend; some are done";
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a deletion has come to.
pub(crate) struct Deleted {
    /// The object as it last was.
    pub(crate) stored: Stored,
    /// Whether it is gone already.
    pub(crate) gone: bool,
}

/// Kinds whose deletion answers with the object even when it is gone.
const ANSWER_OBJECT: [&str; 16] = [
    "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "deviceclasses.resource.k8s.io",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "resourceclaims.resource.k8s.io",
    "resourceclaimtemplates.resource.k8s.io",
    "resourcequotas",
    "resourceslices.resource.k8s.io",
    "serviceaccounts",
    "services",
    "storageclasses.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "volumeattributesclasses.storage.k8s.io",
];

/// Whether a deletion of this kind answers with the object.
pub(crate) fn answers_object(resource: &GroupResource) -> bool {
    ANSWER_OBJECT.contains(&resource.as_str())
}

/// What a deletion says when the object is gone.
pub(crate) fn gone_status(call: &Call<'_>, stored: &Stored) -> Status {
    Status::success(Some(StatusDetails {
        name: stored.path.name().to_owned(),
        group: call.kind.group.clone(),
        kind: call.kind.resource.clone(),
        uid: stored.object.header().uid().to_string(),
        ..StatusDetails::default()
    }))
}

/// What a deletion is asked for with.
pub(crate) struct Asked {
    pub(crate) options: DeleteOptions,
    /// Whether it is only tried.
    pub(crate) dry: bool,
    /// Whether dependents are to go along, in the older way to say so: then the answer says whether the object stays.
    pub(crate) along: bool,
}

/// Reads the options of a deletion from its body and, where that is silent, its query.
///
/// # Errors
/// 400 and 422 in upstream's words.
pub(crate) fn options(body: Option<&Object>, query: &QueryMap) -> Result<Asked, Status> {
    let text = |path: &[&str]| body?.at(path)?.as_str().map(str::to_owned);
    let mut faults: Vec<StatusCause> = Vec::new();
    let (policy, orphan, grace, dry) = match body {
        Some(body) => {
            let dry: Vec<&str> = body
                .at(&["dryRun"])
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let orphan = body.at(&["orphanDependents"]).and_then(Value::as_bool);
            let dry = dry_run(dry.into_iter(), &mut faults);
            (text(&["propagationPolicy"]), orphan, body.int_at(&["gracePeriodSeconds"]), dry)
        }
        None => {
            let policy = query.find("propagationPolicy").map(str::to_owned);
            let orphan = query.find("orphanDependents").map(|_| query.flag("orphanDependents"));
            let dry = dry_run(query.all("dryRun"), &mut faults);
            (policy, orphan, query.int("gracePeriodSeconds")?, dry)
        }
    };
    let mut propagation = match policy.as_deref() {
        None => None,
        Some("Orphan") => Some(Propagation::Orphan),
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some(other) => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            faults.push(unsupported("propagationPolicy", &format!("{other:?}"), &supported));
            None
        }
    };
    if let (Some(policy), Some(_)) = (&policy, orphan) {
        let fault = format!("Invalid value: {policy:?}: orphanDependents and deletionPropagation cannot be both set");
        faults.push(cause("FieldValueInvalid", "propagationPolicy", &fault));
    }
    if !faults.is_empty() {
        return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", faults));
    }
    if let Some(orphan) = orphan {
        propagation = Some(if orphan { Propagation::Orphan } else { Propagation::Background });
    }
    let never = arktos_core::Revision(u64::MAX);
    let expected = |field: &str| match body {
        Some(_) => text(&["preconditions", field]),
        None => Some(query.get(field).to_owned()).filter(|value| !value.is_empty()),
    };
    let revision = expected("resourceVersion").map(|text| arktos_core::Revision::parse(&text).unwrap_or(never));
    let uid = expected("uid");
    let mut options = DeleteOptions::default();
    options.grace_period_seconds = grace;
    options.uid = uid;
    options.revision = revision;
    options.propagation = propagation;
    Ok(Asked { options, dry, along: orphan == Some(false) })
}

/// Warns of what is left behind by a deletion that does not say what is to become of dependents.
pub(crate) fn warn(call: &Call<'_>, options: &DeleteOptions) {
    if call.kind.storage_resource.as_str() == "jobs.batch" && options.propagation.is_none() {
        call.warn(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove \
             them or set propagationPolicy=Orphan to suppress this warning",
        );
    }
}

/// Deletes an object, or marks it for deletion.
///
/// # Errors
/// 404, 409, 403.
pub(crate) async fn delete(call: &Call<'_>, options: &DeleteOptions) -> Result<Deleted, Status> {
    if let Some(delegate) = call.writes_elsewhere()? {
        return elsewhere::delete(call, delegate, options).await;
    }
    crate::forced::check_write(call, &call.name, true)?;
    for _ in 0..RETRIES {
        let old = call.found().await?;
        preconditions(call, &old, options)?;
        admission::delete(call, &old)?;
        if is_shared(&old) {
            let why = "every tenant has it, and none can delete it";
            return Err(Status::forbidden(&call.kind.group_resource, &call.name, why));
        }
        let object = old.object.decode(Some(old.revision)).map_err(Status::internal)?;
        admission::node_restriction::write(call, Part::Whole, Some(&object), None)?;
        admission::validate(call, &Review { part: Part::Whole, old: Some(&object), new: None }).await?;
        if let Some(deleted) = attempt(call, &old, options).await? {
            return Ok(deleted);
        }
    }
    Err(super::modify::modified(call))
}

/// One attempt on one state. Absent when somebody else wrote in between.
async fn attempt(call: &Call<'_>, old: &Stored, options: &DeleteOptions) -> Result<Option<Deleted>, Status> {
    let shown = crate::conversion::as_stored(call, old.clone()).await?;
    let mut object = shown.object.decode(Some(old.revision)).map_err(Status::internal)?;
    if !call.kind.builtin {
        object = arktos_core::rules::convert::from_storage(&call.stored_kind(), object);
    }
    let pods = call.kind.storage_resource.as_str() == "pods";
    let now = call.state.config.clock.now();
    let mut grace = 0;
    if pods {
        match graceful(&mut object, options, now) {
            Grace::Pending => return Ok(Some(Deleted { stored: old.clone(), gone: false })),
            Grace::Set(seconds) => grace = seconds,
        }
    }
    let definition = crate::definitions::is_definition(call) && old.object.header().deletion().is_none();
    if !definition {
        propagate(call, &mut object, options.propagation);
    }
    let own = matches!(call.kind.storage_resource.as_str(), "namespaces" | "tenants");
    let some = |path: &[&str]| object.at(path).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let waits = some(&["metadata", "finalizers"]) || (own && some(&["spec", "finalizers"]));
    let waits = waits || definition;
    if definition {
        arktos_core::custom::mark_terminating(&mut object, now);
    } else if waits && !pods {
        mark(&mut object, own, now);
    }
    if call.options.dry_run {
        let stored = encoded(call, old, &object, old.revision)?;
        return Ok(Some(Deleted { stored, gone: !waits && grace == 0 }));
    }
    if !waits && !pods {
        return remove(call, old, &object).await;
    }
    let Some(marked) = put(call, old, &object).await? else { return Ok(None) };
    if waits || grace > 0 {
        return Ok(Some(Deleted { stored: marked, gone: false }));
    }
    match remove(call, &marked, &object).await? {
        Some(deleted) => Ok(Some(deleted)),
        None => Ok(Some(Deleted { stored: marked, gone: true })),
    }
}

/// Whether every tenant has it and none owns it.
fn is_shared(stored: &Stored) -> bool {
    stored.object.header().note(SHARED).is_some()
}

enum Grace {
    /// It is being deleted already, and not slower than asked for now.
    Pending,
    /// So many seconds, as the object now says.
    Set(i64),
}

/// A pod's grace: its own or the one asked for; none where nothing runs yet, or runs no more.
fn graceful(pod: &mut Object, options: &DeleteOptions, now: arktos_core::Timestamp) -> Grace {
    // Less than nothing stands for a second.
    let at_least = |seconds: i64| if seconds < 0 { 1 } else { seconds };
    let asked = options.grace_period_seconds.map(at_least);
    let seconds_of = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let deletion = arktos_core::Timestamp::parse(pod.str_at(&["metadata", "deletionTimestamp"]));
    if let Some(deletion) = deletion {
        let current = pod.int_at(&["metadata", "deletionGracePeriodSeconds"]).map_or(0, at_least);
        return match asked {
            _ if current == 0 => Grace::Set(0), // marked, and not removed: it is made up for
            Some(seconds) if seconds < current => {
                let start =
                    arktos_core::Timestamp::from_micros(deletion.as_micros() - current.saturating_mul(1_000_000));
                // Who shortens it to a moment that has passed ends it now.
                let end = start.later(seconds_of(seconds)).max(now);
                pod.set(&["metadata", "deletionTimestamp"], end.to_string());
                pod.set(&["metadata", "deletionGracePeriodSeconds"], seconds);
                Grace::Set(seconds)
            }
            _ => Grace::Pending,
        };
    }
    let own = at_least(pod.int_at(&["spec", "terminationGracePeriodSeconds"]).unwrap_or(0));
    let idle = pod.str_at(&["spec", "nodeName"]).is_empty()
        || matches!(pod.str_at(&["status", "phase"]), "Succeeded" | "Failed");
    let seconds = if idle { 0 } else { asked.unwrap_or(own) };
    pod.set(&["metadata", "deletionTimestamp"], now.later(seconds_of(seconds)).to_string());
    pod.set(&["metadata", "deletionGracePeriodSeconds"], seconds);
    bump_generation(pod);
    Grace::Set(seconds)
}

/// Marks what finalizers keep.
fn mark(object: &mut Object, own: bool, now: arktos_core::Timestamp) {
    if object.str_at(&["metadata", "deletionTimestamp"]).is_empty() {
        object.set(&["metadata", "deletionTimestamp"], now.to_string());
        bump_generation(object);
    }
    if own {
        object.set(&["status", "phase"], "Terminating");
    } else {
        object.set(&["metadata", "deletionGracePeriodSeconds"], 0);
    }
}

fn bump_generation(object: &mut Object) {
    if let Some(generation) = object.int_at(&["metadata", "generation"]).filter(|generation| *generation > 0) {
        object.set(&["metadata", "generation"], generation + 1);
    }
}

/// Puts or takes away the finalizers by which the garbage collector knows what to do with dependents.
fn propagate(call: &Call<'_>, object: &mut Object, asked: Option<Propagation>) {
    let resource = call.kind.storage_resource.as_str();
    if resource == "events" {
        return;
    }
    let mut finalizers: Vec<String> = object
        .at(&["metadata", "finalizers"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let had = |name: &str| finalizers.iter().any(|one| one == name);
    let policy = match asked {
        Some(policy) => policy,
        None if had(ORPHAN) => Propagation::Orphan,
        None if had(FOREGROUND) => Propagation::Foreground,
        None if matches!(resource, "replicationcontrollers" | "jobs.batch") => Propagation::Orphan,
        None => Propagation::Background,
    };
    let before = finalizers.clone();
    finalizers.retain(|name| match name.as_str() {
        ORPHAN => policy == Propagation::Orphan,
        FOREGROUND => policy == Propagation::Foreground,
        _ => true,
    });
    let wanted = match policy {
        Propagation::Orphan => Some(ORPHAN),
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Background => None,
    };
    if let Some(wanted) = wanted.filter(|wanted| !finalizers.iter().any(|one| one == wanted)) {
        finalizers.push(wanted.to_owned());
    }
    if finalizers == before {
        return;
    }
    if finalizers.is_empty() {
        object.remove(&["metadata", "finalizers"]);
    } else {
        object.set(&["metadata", "finalizers"], finalizers);
    }
}

async fn put(call: &Call<'_>, old: &Stored, object: &Object) -> Result<Option<Stored>, Status> {
    let key = call.key()?;
    let new = encoded(call, old, object, old.revision)?;
    if new.object == old.object {
        return Ok(Some(old.clone()));
    }
    let change =
        Change::Put { object: new.object.clone(), expires: create::expiry(&key, call.state.config.clock.now()) };
    match call.state.config.engine.commit(Commit::one(key.clone(), Expect::At(old.revision), change)).await {
        Ok(done) => Ok(Some(Stored { revision: done.revisions.first().copied().unwrap_or(done.revision), ..new })),
        Err(CommitError::Conflict { .. }) => Ok(None),
        Err(error) => Err(commit_fault(&error)),
    }
}

async fn remove(call: &Call<'_>, old: &Stored, object: &Object) -> Result<Option<Deleted>, Status> {
    let key = call.key()?;
    let mut commit = Commit { durability: create::durability(&key), ..Commit::default() };
    commit.writes.push(Write { key, expect: Expect::At(old.revision), change: Change::Delete });
    commit.counters.extend(Allocation::released_by(call, object));
    match call.state.config.engine.commit(commit).await {
        Ok(done) => {
            let revision = done.revisions.first().copied().unwrap_or(done.revision);
            Ok(Some(Deleted { stored: Stored { revision, ..old.clone() }, gone: true }))
        }
        Err(CommitError::Conflict { .. }) => Ok(None),
        Err(error) => Err(commit_fault(&error)),
    }
}

fn encoded(call: &Call<'_>, old: &Stored, object: &Object, revision: arktos_core::Revision) -> Result<Stored, Status> {
    let encoded = call.stored_kind().encode(object).map_err(Status::internal)?;
    Ok(Stored { path: old.path.clone(), revision, object: encoded })
}

pub(super) fn preconditions(call: &Call<'_>, old: &Stored, options: &DeleteOptions) -> Result<(), Status> {
    let uid = old.object.header().uid();
    if call.kind.storage_resource.as_str() == "namespaces" || crate::definitions::is_definition(call) {
        return of_owner(call, old, options);
    }
    let why = match (&options.uid, options.revision) {
        (Some(wanted), _) if **wanted != *uid => format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have \
             been deleted and then recreated"
        ),
        (_, Some(wanted)) if wanted != old.revision => format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({}). The \
             object might have been modified",
            old.revision
        ),
        _ => return Ok(()),
    };
    // Told is the group that upstream's own type is of: all events are of the core.
    let kind = GroupResource::new(call.kind.storage_resource.group(), &call.kind.kind);
    Err(Status::conflict(&kind, old.path.name(), why))
}

/// What is expected of a namespace, or of a definition, in the words that upstream has for them alone.
fn of_owner(call: &Call<'_>, old: &Stored, options: &DeleteOptions) -> Result<(), Status> {
    let uid = old.object.header().uid();
    let why = match (&options.uid, options.revision) {
        (Some(wanted), _) if **wanted != *uid => {
            format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}")
        }
        (_, Some(wanted)) if wanted != old.revision => format!(
            "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {}",
            old.revision
        ),
        _ => return Ok(()),
    };
    Err(Status::conflict(&call.kind.group_resource, old.path.name(), why))
}

/// Deletes everything that a selection sees, one after the other. Gives back what there was.
///
/// # Errors
/// The first fault that is not "it is gone already"; 429 with some still there, where what judges them costs much.
pub(crate) async fn delete_all(
    call: &Call<'_>,
    items: Vec<Stored>,
    options: &DeleteOptions,
) -> Result<Vec<Stored>, Status> {
    let (whole, mut spent) = (Purse::default().left(), 0);
    for item in items.iter().filter(|item| !is_shared(item)) {
        if spent >= PURSES * whole {
            return Err(Status::failure(Reason::TooManyRequests, COSTS).retry_after(1));
        }
        let purse = Purse::default();
        let (tenant, namespace, name) = item.path.parts();
        let one = Call {
            state: call.state,
            identity: call.identity,
            kind: call.kind.clone(),
            tenant: arktos_core::TenantName::new(tenant).ok(),
            namespace: namespace.into(),
            name: name.into(),
            options: call.options.clone(),
            warnings: parking_lot::Mutex::default(),
            old: call.old,
            record: call.record.clone(),
            purse: purse.clone(),
        };
        let deleted = delete(&one, options).await;
        spent += whole - purse.left();
        match deleted {
            Ok(_) => {}
            Err(status) if status.is(Reason::NotFound) => {}
            Err(status) => return Err(status),
        }
    }
    Ok(items)
}
