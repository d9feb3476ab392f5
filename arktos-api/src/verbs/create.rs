//! Create.

use std::time::Duration;

use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Revision, Scope, Status, Timestamp, rules};
use arktos_store::{Change, Commit, CommitError, Durability, Expect, Stored};
use serde_json::Value;

use super::modify::Part;
use super::{elsewhere, managers, node_view};
use crate::admission::{self, Review};
use crate::allocate::Allocation;
use crate::call::{Call, commit_fault};
use crate::identity::COMPONENTS;

/// How often a generated name is made anew when it is taken.
const GENERATE_TRIES: usize = 8;
/// How long an Event is kept.
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// Creates an object; the body is in the version of the call's kind, decoded.
///
/// # Errors
/// What upstream answers: 409, 403, 404, 422.
pub(crate) async fn create(call: &Call<'_>, mut body: Object) -> Result<Stored, Status> {
    if let Some(delegate) = call.writes_elsewhere()? {
        return elsewhere::create(call, delegate, body).await;
    }
    place(call, &mut body)?;
    if let Some(stored) = node_view::tell(call, &body).await? {
        return Ok(stored);
    }
    super::owners::distinct(call, &mut body);
    // What only the server says is gone before anybody is noted as its manager.
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        body.remove(&["metadata", field]);
    }
    if call.kind.storage_resource.as_str() == "limitranges"
        && body.name().is_empty()
        && body.str_at(&["metadata", "generateName"]).is_empty()
    {
        body.set(&["metadata", "name"], call.state.config.random.uid());
    }
    // What is not stored may say one.
    if !call.options.dry_run && !body.str_at(&["metadata", "resourceVersion"]).is_empty() {
        return Err(Status::unexplained("resourceVersion should not be set on objects to be created"));
    }
    let generated = body.name().is_empty() && !body.str_at(&["metadata", "generateName"]).is_empty();
    if !(call.identity.is_system() && call.identity.is_in(COMPONENTS)) {
        body.notes.clear();
    }
    if call.options.data_as_written {
        body.notes.insert(rules::DATA_AS_WRITTEN.to_owned(), "true".to_owned());
    }
    if call.options.labels_of_template {
        body.notes.insert(rules::LABELS_OF_TEMPLATE.to_owned(), "true".to_owned());
    }
    if !generated {
        return create_one(call, body).await;
    }
    let snapshot = call.engine().snapshot();
    for _ in 0..GENERATE_TRIES {
        let mut random = [0; 5];
        call.state.config.random.fill(&mut random);
        let name = rules::meta::generated_name(body.str_at(&["metadata", "generateName"]), random);
        let taken = call.key_of(&name).is_ok_and(|key| snapshot.get(&key).is_some());
        body.set(&["metadata", "name"], name);
        if !taken {
            break;
        }
    }
    create_one(call, body).await
}

async fn create_one(call: &Call<'_>, mut object: Object) -> Result<Stored, Status> {
    crate::forced::check_write(call, object.name(), false)?;
    let now = call.state.config.clock.now();
    // What is not stored keeps the revision that it says.
    let said = object.str_at(&["metadata", "resourceVersion"]).parse().map_or(Revision::ZERO, Revision);
    let managed = managers::noted(call, Part::Whole, None, &mut object)?;
    stamp(call, &mut object, now);
    rules::refuse_as_sent(&call.kind, &object)?;
    let admitted = call.admitted_kind();
    let mut object = call.to_admit(object);
    crate::offered::fill(call, None, &mut object);

    let mut commit = Commit::default();
    admission::guard_place(call, &object, &mut commit)?;
    admission::create(call, &mut object).await?;
    let mut allocation = Allocation::of_create(call, &mut object)?;
    crate::warnings::of_sent(call, &object);
    let mut object = rules::admit_create(&admitted, object)?;
    managers::set(&mut object, managed);
    crate::warnings::of_object(call, &object, None);
    let review = Review { part: Part::Whole, old: None, new: Some(&object) };
    admission::validate(call, &review).await?;
    // What a quota refuses must not have claimed a host.
    admission::quota::charge(call, &review, &mut Commit::default())?;
    let key = call.key_of(object.name())?;
    crate::verbs::subresource::claim_at_creation(call, &key, &mut object, &mut commit).await?;
    commit.durability = durability(&key);
    let mut tries = admission::quota::TRIES;
    loop {
        allocation.apply(&mut object);
        let encoded = call.encode(&object).await?;
        let mut attempt = commit.clone();
        admission::quota::charge(call, &Review { part: Part::Whole, old: None, new: Some(&object) }, &mut attempt)?;
        if call.options.dry_run {
            let snapshot = call.engine().snapshot();
            return match snapshot.get(&key) {
                Some(found) => Err(exists(call, &key, &found)),
                None => Ok(Stored { path: key.path, revision: said, object: encoded }),
            };
        }
        let change = Change::Put { object: encoded.clone(), expires: expiry(&key, now) };
        attempt.writes.insert(0, arktos_store::Write { key: key.clone(), expect: Expect::Absent, change });
        attempt.counters.extend(allocation.counters());
        if allocation.is_tried_once(&attempt) {
            object = Object::default(); // freed where it was made, not by whoever goes on after the commit
        }
        match call.state.config.engine.commit(attempt).await {
            Ok(done) => {
                let revision = done.revisions.first().copied().unwrap_or(done.revision);
                let stored = Stored { path: key.path, revision, object: encoded };
                super::settle::settle(call, &stored).await;
                return Ok(stored);
            }
            Err(CommitError::Conflict { found: Some(found), key: at }) if at == key => {
                return Err(exists(call, &key, &found));
            }
            Err(CommitError::Limit { counter, .. }) if allocation.owns(&counter) => allocation.taken(call, &counter)?,
            Err(CommitError::Conflict { key: at, .. }) if admission::quota::is_quota(&at) && tries > 0 => {
                tries -= 1;
                admission::quota::caught_up(call).await?;
            }
            Err(error) => {
                return Err(admission::refusal(call, key.path.name(), &error).unwrap_or_else(|| commit_fault(&error)));
            }
        }
    }
}

pub(super) fn exists(call: &Call<'_>, key: &ObjectKey, found: &Stored) -> Status {
    let mut status = Status::already_exists(&call.kind.group_resource, key.path.name());
    if found.object.header().deletion().is_some() {
        status.message = format!("object is being deleted: {}", status.message);
    }
    status
}

/// Makes the body's place agree with the path's.
///
/// # Errors
/// 400 when they differ.
pub(crate) fn place(call: &Call<'_>, body: &mut Object) -> Result<(), Status> {
    body.set(&["apiVersion"], call.kind.type_meta.api_version.as_str());
    body.set(&["kind"], call.kind.type_meta.kind.as_str());
    agree(call, body.remove(&["metadata", "tenant"]).as_ref())?;
    if call.kind.scope != Scope::Namespace {
        body.remove(&["metadata", "namespace"]);
        return Ok(());
    }
    let namespace = body.str_at(&["metadata", "namespace"]);
    if namespace.is_empty() {
        body.set(&["metadata", "namespace"], call.namespace.as_ref());
        return Ok(());
    }
    in_namespace(call, namespace)
}

/// 400 for a body of another namespace.
pub(crate) fn in_namespace(call: &Call<'_>, namespace: &str) -> Result<(), Status> {
    if namespace.is_empty() || namespace == call.namespace {
        return Ok(());
    }
    Err(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"))
}

/// The tenant that a body says must be the one that is asked.
///
/// # Errors
/// 400 when it is another one.
pub(super) fn agree(call: &Call<'_>, said: Option<&Value>) -> Result<(), Status> {
    let tenant = said.and_then(Value::as_str).unwrap_or("");
    if call.kind.scope != Scope::Region && !tenant.is_empty() && tenant != call.one_tenant()?.as_str() {
        return Err(Status::bad_request(
            "the tenant of the provided object does not match the tenant sent on the request",
        ));
    }
    Ok(())
}

/// What the server alone says of a new object.
fn stamp(call: &Call<'_>, object: &mut Object, now: Timestamp) {
    let uid = call.state.config.random.uid();
    let meta = object.meta_mut();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields"] {
        meta.remove(field);
    }
    meta.remove("resourceVersion");
    meta.insert("uid".to_owned(), Value::from(uid));
    meta.insert("creationTimestamp".to_owned(), Value::from(now.to_string()));
}

/// When the store forgets the object by itself.
pub(crate) fn expiry(key: &ObjectKey, now: Timestamp) -> Option<Timestamp> {
    (key.resource.as_str() == "events").then(|| now.later(EVENT_TTL))
}

/// Events and the heartbeats of hosts are not waited for.
pub(crate) fn durability(key: &ObjectKey) -> Durability {
    let heartbeat = key.resource.as_str() == "leases.coordination.k8s.io" && key.path.namespace() == "kube-node-lease";
    if heartbeat || key.resource.as_str() == "events" { Durability::Relaxed } else { Durability::Synced }
}

/// The key of a namespace.
pub(crate) fn namespace_key(tenant: &arktos_core::TenantName, name: &str) -> ObjectKey {
    ObjectKey { resource: GroupResource::core("namespaces"), path: ObjectPath::new(tenant.as_str(), "", name) }
}

/// The key of a tenant.
pub(crate) fn tenant_key(tenant: &arktos_core::TenantName) -> ObjectKey {
    ObjectKey::region_scoped(GroupResource::core("tenants"), tenant.as_str())
}
