//! How controllers write: read, edit, write back, and never over what somebody else wrote in between.

use std::fmt::Display;

use arktos_core::{Object, ObjectKey, Reason, Status};
use arktos_store::client::{DeleteOptions, Propagation};
use arktos_store::{Client, Stored};
use serde::Serialize;

/// How often an edit is tried against an object that others write too, before the queue's back-off takes over.
const ATTEMPTS: usize = 5;

/// The object as a tree, with its revision in it.
pub(crate) fn tree(stored: &Stored) -> Result<Object, Status> {
    stored.object.decode(Some(stored.revision)).map_err(unreadable)
}

/// The failure of an object that does not have its kind's shape.
pub(crate) fn unreadable(error: impl Display) -> Status {
    Status::internal(format!("an object cannot be read: {error}"))
}

/// Replaces the status of an object, unless it has changed since it was read.
pub(crate) async fn set_status(
    client: &dyn Client,
    key: &ObjectKey,
    read: &Stored,
    status: &impl Serialize,
) -> Result<Stored, Status> {
    let mut object = tree(read)?;
    object.set(&["status"], serde_json::to_value(status).map_err(Status::internal)?);
    client.update(key, Some("status"), object).await
}

/// Edits the newest state of an object. `edit` says whether there is anything to write. `None`: the object is gone, or
/// there was nothing to write.
pub(crate) async fn amend(
    client: &dyn Client,
    key: &ObjectKey,
    subresource: Option<&str>,
    mut edit: impl FnMut(&mut Object) -> bool + Send,
) -> Result<Option<Stored>, Status> {
    let mut attempt = 0;
    loop {
        let Some(stored) = found(client.get(key).await)? else { return Ok(None) };
        let mut object = tree(&stored)?;
        if !edit(&mut object) {
            return Ok(None);
        }
        attempt += 1;
        match client.update(key, subresource, object).await {
            Err(status) if status.is(Reason::Conflict) && attempt < ATTEMPTS => {}
            outcome => return found(outcome),
        }
    }
}

/// Deletes exactly the object that was read: one of the same name but another uid stays. One that is gone already is
/// as good as deleted.
pub(crate) async fn delete(
    client: &dyn Client,
    key: &ObjectKey,
    uid: &str,
    propagation: Option<Propagation>,
) -> Result<(), Status> {
    let mut options = DeleteOptions::default().uid(uid);
    options.propagation = propagation;
    found(client.delete(key, options).await).map(drop)
}

/// An answer, or `None` when the object is not there.
pub(crate) fn found<T>(answer: Result<T, Status>) -> Result<Option<T>, Status> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.is(Reason::NotFound) => Ok(None),
        Err(status) => Err(status),
    }
}

/// An answer, or `None` when an object of the name is there already.
pub(crate) fn unless_there<T>(answer: Result<T, Status>) -> Result<Option<T>, Status> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.is(Reason::AlreadyExists) => Ok(None),
        Err(status) => Err(status),
    }
}

/// Whether a creation was refused because the namespace (or the tenant) is going: there is nothing to try again.
pub(crate) fn is_terminating(status: &Status) -> bool {
    let namespace = |cause: &arktos_core::StatusCause| cause.reason == "NamespaceTerminating";
    status.details.as_ref().is_some_and(|details| details.causes.iter().any(namespace))
        || (status.is(Reason::Forbidden) && status.message.contains("being terminated"))
}
