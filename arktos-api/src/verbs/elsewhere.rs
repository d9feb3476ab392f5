//! Writes to objects that another role owns: a resource manager shows the pods of partitions, a partition the hosts of
//! resource managers. What is shown here may be behind its owner's.

use arktos_core::{Object, ObjectKey, Reason, Status};
use arktos_store::Stored;
use arktos_store::client::{DeleteOptions, Patch};
use serde_json::Value;

use super::delete::Deleted;
use super::modify::{self, Changed, Part, Source};
use crate::admission::node_restriction;
use crate::call::Call;
use crate::config::Delegate;
use crate::resource::Verb;

/// How often a patch is made anew on what the owner has.
const RETRIES: usize = 4;

/// Directives of a strategic merge that concern all that they stand in.
const WHOLE: [&str; 2] = ["$patch", "$retainKeys"];

/// Creates an object at its owner.
///
/// # Errors
/// What the owner answers.
pub(super) async fn create(call: &Call<'_>, delegate: &Delegate, body: Object) -> Result<Stored, Status> {
    node_restriction::write(call, Part::Whole, None, Some(&body))?;
    let tenant = call.tenant.as_ref().map_or("", |tenant| tenant.as_str());
    delegate.writes.create(&call.kind.storage_resource, tenant, &call.namespace, body).await
}

/// Deletes an object at its owner; gives back what is shown of it, or was.
///
/// # Errors
/// As [`create`].
pub(super) async fn delete(call: &Call<'_>, delegate: &Delegate, options: &DeleteOptions) -> Result<Deleted, Status> {
    let stored = call.found().await?;
    node_restriction::write_elsewhere(call, Part::Whole, None).await?;
    delegate.writes.delete(&call.key()?, options.clone()).await?;
    Ok(match call.found().await {
        Ok(now) if now.object.header().uid() == stored.object.header().uid() => Deleted { stored: now, gone: false },
        _ => Deleted { stored, gone: true },
    })
}

/// Changes an object at its owner. A patch that meets a conflict is made anew, on what the owner has.
///
/// # Errors
/// As [`create`].
pub(super) async fn modify(
    call: &Call<'_>,
    delegate: &Delegate,
    key: &ObjectKey,
    part: Part<'_>,
    source: Source<'_>,
) -> Result<Changed, Status> {
    let made = !matches!(source, Source::Body(_));
    let (mut found, mut tries) = (None, RETRIES);
    if let Source::Body(body) = &source {
        super::create::place(call, &mut body.clone())?;
        modify::named(call, body.name())?;
    }
    let applies = matches!(source, Source::Applied(_)) && part == Part::Whole;
    let is_new = applies && call.found().await.is_err_and(|status| status.is(Reason::NotFound));
    if let (Source::Applied(make), true) = (&source, is_new) {
        let mut object = make(None)?;
        super::create::place(call, &mut object)?;
        modify::named(call, object.name())?;
        crate::resource::authorize_one(call, Verb::Create, "")?;
        return Ok(Changed { stored: create(call, delegate, object).await?, created: true });
    }
    loop {
        let body = match &source {
            Source::Body(body) => body.clone(),
            Source::Made(make) => make(&shown(call, found.take()).await?)?,
            Source::Applied(make) => make(Some(&shown(call, found.take()).await?))?,
        };
        node_restriction::write_elsewhere(call, part, Some(&body)).await?;
        match delegate.writes.update(key, subresource(part), body).await {
            Err(status) if made && tries > 0 && status.is(Reason::Conflict) => {
                tries -= 1;
                found = Some(delegate.writes.get(key).await?);
            }
            stored => return Ok(Changed { stored: stored?, created: false }),
        }
    }
}

/// Sends a patch on to the owner, where it says the same there as here: hosts report on their pods all the time, and
/// nothing need be read for it. `None` for one that must be made here.
///
/// # Errors
/// As [`create`].
pub(super) async fn send_on(call: &Call<'_>, part: Part<'_>, patch: &Patch) -> Result<Option<Changed>, Status> {
    let Some(delegate) = call.writes_elsewhere()? else { return Ok(None) };
    if part != Part::Status || !is_of_status_alone(patch) {
        return Ok(None);
    }
    node_restriction::status_elsewhere(call).await?;
    let stored = delegate.writes.patch(&call.key()?, subresource(part), patch.clone()).await?;
    Ok(Some(Changed { stored, created: false }))
}

/// Whether a patch speaks of nothing but the status, and the uid it is meant for; and in the status of nothing that
/// nodes may not write.
fn is_of_status_alone(patch: &Patch) -> bool {
    let (Patch::Merge(patch) | Patch::Strategic(patch)) = patch else { return false };
    let Some(fields) = patch.as_object() else { return false };
    fields.iter().all(|(field, value)| match (field.as_str(), value) {
        ("metadata", Value::Object(metadata)) => metadata.keys().all(|field| field == "uid"),
        ("status", Value::Object(status)) => {
            status.keys().all(|field| !field.contains("resourceClaimStatuses") && !WHOLE.contains(&field.as_str()))
        }
        _ => false,
    })
}

fn subresource<'a>(part: Part<'a>) -> Option<&'a str> {
    match part {
        Part::Whole => None,
        Part::Status => Some("status"),
        Part::Other(name) => Some(name),
    }
}

/// What was found at an object's owner, or else what is shown of it here.
async fn shown(call: &Call<'_>, found: Option<Stored>) -> Result<Object, Status> {
    let stored = match found {
        Some(stored) => stored,
        None => call.found().await?,
    };
    modify::decoded(call, stored).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_speaks_of_the_status_alone_is_sent_on() {
        let says = |patch: Value| is_of_status_alone(&Patch::Strategic(patch));
        assert!(says(json!({"status": {"phase": "Running", "conditions": [{"type": "Ready"}]}})));
        let ordered = json!({"$setElementOrder/conditions": [{"type": "Ready"}], "conditions": [{"type": "Ready"}]});
        assert!(says(json!({"metadata": {"uid": "u"}, "status": ordered})));
        assert!(says(json!({"metadata": {"uid": "u"}, "status": {"phase": null}})));
        for kept_here in [
            json!({"metadata": {"labels": {}}, "status": {}}),
            json!({"metadata": {"resourceVersion": "1"}, "status": {}}),
            json!({"metadata": {"namespace": "default"}, "status": {}}),
            json!({"status": {"resourceClaimStatuses": []}}),
            json!({"status": {"$patch": "replace"}}),
            json!({"status": null}),
            json!({"$patch": "delete"}),
            json!({"spec": {}}),
            json!([]),
        ] {
            assert!(!says(kept_here.clone()), "{kept_here}");
        }
        assert!(!is_of_status_alone(&Patch::Json(json!([{"op": "remove", "path": "/status"}]))));
    }
}
