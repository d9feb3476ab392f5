//! What no schema says: defaults that depend on other fields, what is set at creation, what may not change, and how
//! the fields of an object must fit together.
//!
//! The road calls, in this order:
//!
//! | request | calls |
//! |---|---|
//! | create | [`crate::schema::read`], name, uid and time, admission plugins, [`admit_create`] |
//! | update | [`crate::schema::read`], [`refuse_unconditional`], admission plugins, [`admit_update`] |
//! | patch | [`crate::schema::decode`] of what it made, [`refuse_patched`], then as an update |
//! | update or patch of `status` | the same, then [`admit_status`] |
//! | all | [`convert::to_storage`], [`Kind::encode`]; on the way out [`convert::from_storage`] |
//!
//! Each `admit_` function does the whole rest: defaults once more (plugins may have added to the object), what the
//! server sets or keeps, validation. What comes out can be encoded. The rules themselves are data: `table` reads
//! them.

pub mod addresses;
pub mod armor;
#[cfg(test)]
mod changes_test;
mod check;
pub mod convert;
mod defaults;
mod disabled;
pub(crate) mod fault;
mod functions;
mod hooks;
#[cfg(test)]
mod kept_test;
pub mod meta;
mod prepare;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod validate;

use serde_json::Value;

use crate::catalog::Kind;
use crate::object::Object;
use crate::schema;
use crate::status::{Status, StatusCause};

pub(crate) use check::label_1035_fault;
pub use check::qualified_name_faults;
pub(crate) use defaults::qos_class;
pub use functions::PORTS_MAX;
pub(crate) use functions::{has_certificate, webhook_service_faults, webhook_url_faults};
pub use hooks::date_taints;
pub use prepare::{prepare_create, prepare_status_update, prepare_update};
pub use validate::{validate, validate_status};

/// Makes a new object ready to be stored: what creation sets, defaults, validation.
///
/// The road has set `metadata.name`, `namespace`, `uid` and `creationTimestamp` before.
///
/// # Errors
/// 422 with a cause for each fault; 400 when a plugin has left a value of the wrong type.
pub fn admit_create(kind: &Kind, mut object: Object) -> Result<Object, Status> {
    prepare_create(kind, &mut object);
    schema::complete(kind, &mut object)?;
    let causes = validate(kind, &object, None);
    refuse(kind, object, causes)
}

/// Makes the new state of an object ready to be stored: what only the server sets, and what another path writes
/// (`status`), stays as it was; the generation grows with the desired state.
///
/// # Errors
/// As [`admit_create`].
pub fn admit_update(kind: &Kind, old: &Object, mut new: Object) -> Result<Object, Status> {
    schema::complete(kind, &mut new)?;
    prepare_update(kind, old, &mut new);
    let causes = validate(kind, &new, Some(old));
    refuse(kind, new, causes)
}

/// What the rules of a custom kind say of what an update has left as it was: the client is warned of it, and not
/// refused.
#[must_use]
pub fn kept_faults(kind: &Kind, old: &Object, new: &Object) -> Vec<String> {
    kind.schema.structural().map_or_else(Vec::new, |schema| crate::custom::kept_faults(schema, old, new))
}

/// The note on a revision of a controller whose data was not written as Go writes JSON: sorted, without spaces.
pub const DATA_AS_WRITTEN: &str = "data-as-written";

/// The note on a new job that has no labels of its own: it shares its template's, and what is added to them.
pub const LABELS_OF_TEMPLATE: &str = "labels-of-template";

/// Refuses what a patch has made of an object that cannot be patched. `old` is what the object was.
///
/// # Errors
/// 422 for revisions of controllers that have the note [`DATA_AS_WRITTEN`]: upstream keeps the data as the bytes that
/// it was sent, and a patch writes them anew, so that it finds them changed, whatever the patch says. Those that Go
/// programs made, as the controllers of stateful and daemon sets are, can be patched. An update that leaves the data
/// alone is taken.
pub fn refuse_patched(kind: &Kind, old: &Object, patched: &Object) -> Result<(), Status> {
    let is_revision = (kind.group.as_str(), kind.kind.as_str()) == ("apps", "ControllerRevision");
    if !is_revision || !old.notes.contains_key(DATA_AS_WRITTEN) {
        return Ok(());
    }
    let mut new = patched.clone();
    schema::complete(kind, &mut new)?;
    prepare_update(kind, old, &mut new);
    let mut faults = fault::Faults::default();
    faults.invalid("data", new.at(&["data"]).unwrap_or(&Value::Null), "field is immutable");
    faults.0.extend(validate(kind, &new, Some(old)).into_iter().filter(|fault| fault.field != "data"));
    Err(Status::invalid(&kind.group, &kind.kind, patched.name(), faults.0))
}

/// As [`admit_update`], for new resources of a pod's containers: they are not an update's to change, and must leave the
/// pod in the class it is in.
///
/// # Errors
/// As [`admit_create`].
pub fn admit_resize(kind: &Kind, old: &Object, new: Object) -> Result<Object, Status> {
    if let Some(why) = functions::never_resized(old) {
        let mut faults = fault::Faults::default();
        faults.forbidden("[]", why);
        return refuse(kind, new, faults.0);
    }
    let class = |pod: &Object| pod.at(&["spec"]).and_then(Value::as_object).map(qos_class);
    let was = class(old);
    // To the rules of an update the resources are as they were.
    let (before, mut admitted) = (new.clone(), new);
    schema::complete(kind, &mut admitted)?;
    prepare_update(kind, &before, &mut admitted);
    let mut faults = fault::Faults::default();
    faults.0.extend(validate(kind, &admitted, Some(&before)));
    if was != class(&admitted) {
        let class = Value::from(admitted.str_at(&["status", "qosClass"]));
        faults.invalid("spec", &class, "Pod QOS Class may not change as a result of resizing");
    }
    functions::resize_faults(old, &admitted, &mut faults);
    refuse(kind, admitted, faults.0)
}

/// As [`admit_update`], for containers that are added to a pod while it runs.
///
/// # Errors
/// As [`admit_create`].
pub fn admit_ephemeral(kind: &Kind, old: &Object, mut new: Object) -> Result<Object, Status> {
    const AT: [&str; 2] = ["spec", "ephemeralContainers"];
    schema::complete(kind, &mut new)?;
    // To the rules of an update they are as they were.
    let mut before = old.clone();
    match new.at(&AT).cloned() {
        Some(list) => before.set(&AT, list),
        None => {
            before.remove(&AT);
        }
    }
    prepare_update(kind, &before, &mut new);
    let mut faults = fault::Faults::default();
    faults.0.extend(validate(kind, &new, Some(&before)));
    functions::ephemeral_kept(old, &new, &mut faults);
    refuse(kind, new, faults.0)
}

/// Refuses a namespace whose finalizers are no names.
///
/// # Errors
/// 422 with a cause for each fault.
pub fn refuse_finalizers(kind: &Kind, namespace: &Object) -> Result<(), Status> {
    let mut faults = fault::Faults::default();
    let finalizers = namespace.at(&["spec", "finalizers"]).and_then(Value::as_array);
    for (index, finalizer) in finalizers.into_iter().flatten().enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        functions::namespace_finalizer_faults(&format!("spec.finalizers[{index}]"), name, &mut faults);
    }
    if faults.0.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&kind.group, &kind.kind, namespace.name(), faults.0))
}

/// Refuses a new Event of the newer form for what only that asks for. What all versions ask for is checked in the
/// stored one, as is all that is asked of other kinds.
///
/// # Errors
/// 422 with a cause for each fault.
pub fn refuse_as_sent(kind: &Kind, object: &Object) -> Result<(), Status> {
    if !is_new_event(kind) {
        return Ok(());
    }
    let causes = validate(kind, object, None);
    if causes.is_empty() {
        return Ok(());
    }
    // The kind is named as it is stored.
    Err(Status::invalid(kind.storage_resource.group(), &kind.kind, object.name(), causes))
}

fn is_new_event(kind: &Kind) -> bool {
    kind.builtin && !kind.is_old() && (&*kind.group, &*kind.kind) == ("events.k8s.io", "Event")
}

/// As [`refuse_as_sent`], for the new state of an object: Events of the newer form stay as they were made.
/// `old` is as it is stored, and what `new` does not say of its metadata is as in `old`.
///
/// # Errors
/// 422 with a cause for each fault.
pub fn refuse_changed_as_sent(kind: &Kind, old: &Object, new: &Object) -> Result<(), Status> {
    if !is_new_event(kind) {
        return Ok(());
    }
    let old = convert::from_storage(kind, old.clone());
    let causes = validate(kind, new, Some(&old));
    if causes.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(kind.storage_resource.group(), &kind.kind, old.name(), causes))
}

/// As [`admit_update`], for a write to `status`: everything but the status and a few fields of `metadata` stays.
///
/// # Errors
/// As [`admit_create`].
pub fn admit_status(kind: &Kind, old: &Object, new: Object) -> Result<Object, Status> {
    admit_reported(kind, old, new, functions::decision_faults)
}

/// As [`admit_status`], for who decides on a request: that is no other's to say.
///
/// # Errors
/// As [`admit_create`].
pub fn admit_approval(kind: &Kind, old: &Object, new: Object) -> Result<Object, Status> {
    admit_reported(kind, old, new, |_, _, _| {})
}

fn admit_reported(
    kind: &Kind,
    old: &Object,
    mut new: Object,
    more: fn(&Object, &Object, &mut fault::Faults),
) -> Result<Object, Status> {
    schema::complete(kind, &mut new)?;
    prepare_status_update(kind, old, &mut new);
    let mut causes = validate_status(kind, &new, old);
    if kind.builtin && kind.kind == "CertificateSigningRequest" {
        let mut faults = fault::Faults::default();
        more(old, &new, &mut faults);
        causes.extend(faults.0);
    }
    refuse(kind, new, causes)
}

/// Refuses an update that does not say which revision it changes, of the kinds that ask for it.
///
/// # Errors
/// 422 that names the resource where others name the kind, as upstream's does.
pub fn refuse_unconditional(kind: &Kind, new: &Object) -> Result<(), Status> {
    if kind.allows_unconditional_update() || !new.str_at(&["metadata", "resourceVersion"]).is_empty() {
        return Ok(());
    }
    let mut faults = fault::Faults::default();
    faults.invalid("metadata.resourceVersion", &0.into(), "must be specified for an update");
    let (group, name) = (kind.group_resource.group(), kind.group_resource.resource());
    Err(Status::invalid(group, name, new.name(), faults.0))
}

fn refuse(kind: &Kind, object: Object, causes: Vec<StatusCause>) -> Result<Object, Status> {
    if causes.is_empty() {
        return Ok(object);
    }
    Err(Status::invalid(&kind.group, &kind.kind, object.name(), causes))
}
