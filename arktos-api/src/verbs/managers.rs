//! Field managers: who manages which field is noted at every write, and asked at every apply.

use arktos_core::catalog::Kind;
use arktos_core::fields::FieldSet;
use arktos_core::media::go_quoted;
use arktos_core::merge::apply::{self, Applied, Live, Reach, Versions, Writer};
use arktos_core::schema::Schema;
use arktos_core::{Managed, Object, Status, TypeMeta, rules};
use serde_json::Value;

use super::modify::Part;
use crate::call::Call;
use crate::query::cause;

/// The object as the other versions of its resource show it.
struct Others<'a>(&'a Call<'a>);

impl Versions for Others<'_> {
    fn at(&self, object: &Value, api_version: &str) -> Option<(Value, Schema)> {
        let call = self.0;
        let own = &call.kind;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let known = call.state.kinds.find(call.tenant.as_ref()?, group, version, &own.resource);
        let other = known.filter(|kind| !version.is_empty() && kind.storage_resource == own.storage_resource)?;
        // What is shown in two groups of today, as events are, is not told from one to the other.
        if own.group != other.group && !own.is_old() && !other.is_old() {
            return None;
        }
        let mut object = Object::from_value(object.clone())?;
        // Between two versions the way leads through the stored one.
        let said = object.type_meta().api_version;
        if !own.builtin {
            // The same fields in all versions; what a version does not know is said to whoever asks.
            object.set(&["apiVersion"], other.type_meta.api_version.as_str());
        } else if said != other.type_meta.api_version {
            let from = if said == own.type_meta.api_version { own.clone() } else { call.stored_kind() };
            object = rules::convert::from_storage(&other, rules::convert::to_storage(&from, object));
        }
        Some((object.into_value(), other.schema.clone()))
    }
}

/// Which fields a write to this part can change, as upstream's strategies reset the others.
fn reach(call: &Call<'_>, part: Part<'_>) -> Reach {
    let kind = &*call.kind;
    match part {
        Part::Whole if call.options.scale && kind.builtin => Reach::Only(&[&["spec", "replicas"]]),
        // What is asked to be signed is nobody's to change.
        Part::Whole if is_signing_request(kind) => Reach::AllBut(FieldSet::of(&[&["spec"], &["status"]])),
        Part::Other("approval") => Reach::AllBut(FieldSet::of(&[&["spec"], &["status", "certificate"]])),
        Part::Whole if kind.subresource("status").is_some() => Reach::AllBut(FieldSet::of(&[&["status"]])),
        Part::Whole => Reach::AllBut(FieldSet::default()),
        // Upstream notes whatever these say as managed by them, also what they then leave as it was.
        Part::Other("ephemeralcontainers" | "resize") => Reach::AllBut(FieldSet::default()),
        Part::Other("finalize") => Reach::AllBut(FieldSet::of(&[&["status"]])),
        Part::Status | Part::Other(_) => Reach::AllBut(reset_by_status(kind)),
    }
}

fn is_signing_request(kind: &Kind) -> bool {
    kind.builtin && kind.kind == "CertificateSigningRequest"
}

fn reset_by_status(kind: &Kind) -> FieldSet {
    match kind.kind.as_str() {
        _ if kind.status_keeps_metadata() => FieldSet::of(&[&["spec"], &["metadata"]]),
        "Pod" => FieldSet::of(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]),
        "Deployment" => FieldSet::of(&[&["spec"], &["metadata", "labels"]]),
        "CertificateSigningRequest" => FieldSet::of(&[&["spec"], &["status", "conditions"]]),
        _ => FieldSet::of(&[&["spec"]]),
    }
}

/// Does something as the manager that the call names.
fn as_manager<T>(call: &Call<'_>, part: Part<'_>, act: impl FnOnce(&Writer<'_>) -> T) -> T {
    let subresource = match part {
        Part::Whole if call.options.scale => "scale",
        Part::Whole => "",
        Part::Status => "status",
        Part::Other(name) => name,
    };
    act(&Writer {
        manager: &call.options.manager,
        api_version: &call.kind.type_meta.api_version,
        subresource,
        now: &call.state.config.clock.now().to_string(),
        reach: &reach(call, part),
        schema: &call.kind.schema,
        fixed: call.kind.builtin,
        versions: &Others(call),
    })
}

/// The `managedFields` of an object that is written by an update (or created, where there is no old one); they are
/// taken out of the new one, so that nothing that comes after can change them. Those of an applied one are made. The
/// old one, which has its own apart, is as it was when this returns.
///
/// # Errors
/// 422 when what was sent names managers as none may be named.
pub(crate) fn noted(
    call: &Call<'_>,
    part: Part<'_>,
    old: Option<&mut Object>,
    new: &mut Object,
) -> Result<Option<Managed>, Status> {
    // Of custom kinds, what is there and empty is as good as absent.
    let says = |sent: &Value| call.kind.builtin || sent.as_array().is_none_or(|entries| !entries.is_empty());
    let sent = new.remove(&["metadata", "managedFields"]).filter(says);
    let made = new.managed.take();
    if call.options.applies {
        return Ok(made);
    }
    let name = new.name().to_owned();
    let managed = updated(call, part, old, new, sent.as_ref());
    if sent.is_some()
        && let Some(managed) = &managed
    {
        check_names(call, &name, &managed.tree())?;
    }
    Ok(managed)
}

/// Refuses managers that are named as none may be.
fn check_names(call: &Call<'_>, name: &str, entries: &Value) -> Result<(), Status> {
    const MANAGER_MAX: usize = 128;
    const SUBRESOURCE_MAX: usize = 256;
    const CAUSES_MAX: usize = 100;
    let mut causes = Vec::new();
    for (at, entry) in entries.as_array().into_iter().flatten().enumerate() {
        if causes.len() >= CAUSES_MAX {
            break;
        }
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or("");
        for (field, max) in [("manager", MANAGER_MAX), ("subresource", SUBRESOURCE_MAX)] {
            if text(field).len() > max {
                let why = format!("Too long: may not be more than {max} bytes");
                causes.push(cause("FieldValueTooLong", &format!("metadata.managedFields[{at}].{field}"), &why));
            }
        }
        // What is too long is not told letter by letter as well.
        let manager = Some(text("manager")).filter(|manager| manager.len() <= MANAGER_MAX).unwrap_or_default();
        for (place, letter) in manager.char_indices().filter(|(_, letter)| letter.is_control()) {
            let why = format!(
                "Invalid value: {}: invalid character U+{:04X} (at position {place})",
                go_quoted(manager),
                u32::from(letter)
            );
            causes.push(cause("FieldValueInvalid", &format!("metadata.managedFields[{at}].manager"), &why));
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid(&call.kind.group, &call.kind.kind, name, causes)) }
}

fn updated(
    call: &Call<'_>,
    part: Part<'_>,
    old: Option<&mut Object>,
    new: &mut Object,
    sent: Option<&Value>,
) -> Option<Managed> {
    if call.kind.storage_resource.as_str() == "namespaces" {
        // Upstream has it as a default, so whoever writes the namespace sets it.
        crate::admission::namespace_label(new);
    }
    const TEMPLATES: [&str; 3] = ["metadata", "annotations", "deprecated.daemonset.template.generation"];
    if call.kind.storage_resource.as_str() == "daemonsets.apps" && new.at(&TEMPLATES).is_none() {
        // So is this count, whoever writes a daemon set.
        new.set(&TEMPLATES, "0");
    }
    let mut said;
    let is_autoscaler = call.kind.storage_resource.as_str() == "horizontalpodautoscalers.autoscaling";
    let new = if is_autoscaler && !call.kind.storage {
        // And what this version says in annotations is its own, whoever has said it otherwise.
        said = rules::convert::from_storage(&call.kind, rules::convert::to_storage(&call.kind, new.clone()));
        &mut said
    } else {
        new
    };
    let update =
        |live: Option<Live<'_>>, new: &Value| as_manager(call, part, |writer| apply::update(writer, live, new, sent));
    if let (true, Some(old)) = (call.options.scale, old.as_deref()) {
        // A scale of none says nothing of how many.
        let (live, new) = (super::scale::said(call, old), super::scale::said(call, new));
        let live = Live { object: &live.into_value(), managed: old.managed.as_ref() };
        return update(Some(live), &new.into_value());
    }
    as_value(new, |new| match old {
        Some(old) => {
            let managed = old.managed.take();
            let noted = as_value(old, |object| update(Some(Live { object, managed: managed.as_ref() }), new));
            old.managed = managed;
            noted
        }
        None => update(None, new),
    })
}

/// The `managedFields` of what is asked through a subresource, and kept nowhere. Absent for what is not known.
pub(crate) fn of_asked(call: &Call<'_>, subresource: &str, types: &TypeMeta, asked: &Object) -> Option<Managed> {
    let writer = Writer {
        manager: &call.options.manager,
        api_version: &types.api_version,
        subresource,
        now: &call.state.config.clock.now().to_string(),
        reach: &Reach::AllBut(FieldSet::default()),
        schema: &call.state.kinds.builtin().schema(types)?,
        fixed: true,
        versions: &Others(call),
    };
    apply::update(&writer, None, &Value::Object(asked.fields.clone()), None)
}

/// Shows an object as one value, without copying it.
fn as_value<T>(object: &mut Object, act: impl FnOnce(&Value) -> T) -> T {
    let value = Value::Object(std::mem::take(&mut object.fields));
    let done = act(&value);
    if let Value::Object(fields) = value {
        object.fields = fields;
    }
    done
}

/// Sets `managedFields` of an object that is ready to be written. When nothing but their times would change, nothing
/// does.
pub(crate) fn settle(old: &Object, new: &mut Object, managed: Option<Managed>) {
    let same = match (&old.managed, &managed) {
        (Some(before), Some(now)) => before.is_but_for_times(now),
        (before, now) => before == now,
    };
    let nothing = same && same_but_for_managers(old, new);
    set(new, if nothing { old.managed.clone() } else { managed });
}

/// Whether a new object, which has no `managedFields` yet, differs from the old one in nothing else.
fn same_but_for_managers(old: &Object, new: &Object) -> bool {
    let meta = |object| {
        let Object { fields, .. }: &Object = object;
        let meta = fields.get("metadata").and_then(Value::as_object).into_iter().flatten();
        meta.filter(|(name, _)| *name != "managedFields")
    };
    let rest = |object| {
        let Object { fields, .. }: &Object = object;
        fields.iter().filter(|(name, _)| *name != "metadata")
    };
    rest(old).eq(rest(new)) && meta(old).eq(meta(new))
}

/// Sets `managedFields`, apart.
pub(crate) fn set(object: &mut Object, managed: Option<Managed>) {
    object.remove(&["metadata", "managedFields"]);
    object.managed = managed;
}

/// The object with a configuration applied, and who manages it now; what there was before is absent for a creation.
///
/// # Errors
/// 400 for a configuration of another kind, 409 for conflicts, 500 for one that the schema does not allow.
pub(crate) fn applied(
    call: &Call<'_>,
    part: Part<'_>,
    old: Option<&Object>,
    config: &Value,
    force: bool,
) -> Result<Applied, Status> {
    let text = |field: &str| config.get(field).and_then(Value::as_str).unwrap_or("");
    let (version, kind) = (text("apiVersion"), text("kind"));
    if (version, kind) != (&call.kind.type_meta.api_version, &call.kind.type_meta.kind) {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        return Err(Status::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")));
    }
    let object = old.map(|old| Value::Object(old.fields.clone()));
    let managed = old.and_then(|old| old.managed.as_ref());
    let live = object.as_ref().map(|object| Live { object, managed });
    as_manager(call, part, |writer| apply::apply(writer, live, config, force))
}
