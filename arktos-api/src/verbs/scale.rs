//! The scale subresource: how many replicas, seen apart from the rest.

use arktos_core::custom::Scale;
use arktos_core::selector::LabelSelectorSpec;
use arktos_core::{GroupResource, LabelSelector, Object, Reason, Status, TypeMeta};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::modify::{self, Part, Source, named};
use super::unreadable::Outcome;
use super::{managers, patch};
use crate::call::Call;
use crate::input;
use crate::warnings::Warnings;
use arktos_store::client::Patch;

/// The type of a scale.
pub(crate) fn type_meta() -> TypeMeta {
    TypeMeta::new("autoscaling", "v1", "Scale")
}

/// An object's scale.
///
/// # Errors
/// 404.
pub(crate) async fn get(call: &Call<'_>) -> Result<Object, Status> {
    let stored = call.found().await?;
    let object = modify::decoded(call, stored).await?;
    if let Some(scale) = custom_scale(call)
        && scale.wanted.find(&Value::Object(object.fields.clone())).is_none()
    {
        let why = format!("the spec replicas field {:?} does not exist", scale.wanted.text);
        let mut status = Status::internal(&why);
        status.details.get_or_insert_default().causes.push(crate::query::cause("", "", &why));
        return Err(status);
    }
    Ok(shown(call, &object))
}

/// Where the scale of a custom kind finds its values.
fn custom_scale<'a>(call: &'a Call<'_>) -> Option<&'a Scale> {
    call.kind.own.as_ref()?.scale.as_ref()
}

/// The path of the replicas that are wanted.
fn wanted_path<'a>(call: &'a Call<'_>) -> Vec<&'a str> {
    match custom_scale(call) {
        Some(scale) => scale.wanted.fields.iter().map(String::as_str).collect(),
        None => vec!["spec", "replicas"],
    }
}

/// Replaces the scale.
///
/// # Errors
/// As an update.
pub(crate) async fn update(call: &Call<'_>, scale: Object) -> Result<Object, Status> {
    named(call, scale.name())?;
    super::create::in_namespace(call, scale.namespace())?;
    let make = |old: &Object| {
        modify::same_uid(call, scale.uid(), old.uid())?;
        scaled(call, old, &scale, scale.str_at(&["metadata", "resourceVersion"]))
    };
    write(call, &make).await
}

/// What is said of a body that cannot be read as the scale of an object of a custom kind: upstream does not know there
/// what it wanted to read.
pub(crate) fn unread(call: &Call<'_>, refusal: Status) -> Status {
    if custom_scale(call).is_none() || !refusal.is(Reason::BadRequest) {
        return refusal;
    }
    Status::bad_request(
        "no kind is registered for the type v1.Scale in scheme \
         \"k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go:781\"",
    )
}

/// Patches the scale. `faults` is what is wrong with how the patch is written.
///
/// # Errors
/// As a patch.
pub(crate) async fn patch(call: &Call<'_>, asked: &Patch, faults: &[String]) -> Result<Object, Status> {
    let schema = arktos_core::schema::builtin_type(&type_meta())
        .ok_or_else(|| Status::internal("autoscaling/v1 Scale is not known"))?;
    let warned: Mutex<Warnings> = Mutex::default();
    let make = |old: &Object| {
        let made = || {
            let mut value = shown(call, old).into_value();
            patch::apply(&schema, true, &mut value, asked).map(|()| value)
        };
        let outcome = Outcome { patch: asked, whole: &made };
        let value = made()?;
        // A strategic patch changes a scale, whatever it says.
        if call.kind.builtin
            && !matches!(asked, Patch::Strategic(_))
            && let Some(why) = input::unlike(call, &type_meta(), &input::type_of(&value))
        {
            return Err(outcome.refusal(&why));
        }
        let decoded = arktos_core::schema::decode_as(&schema, &type_meta(), value, arktos_core::Dialect::Region)
            .map_err(|refusal| outcome.refused(&type_meta(), &refusal))?;
        let faults = faults.iter().cloned().chain(decoded.faults.list).collect();
        patch::told(call, faults, &warned, &outcome)?;
        scaled(call, old, &decoded.object, decoded.object.str_at(&["metadata", "resourceVersion"]))
    };
    let scale = write(call, &make).await;
    call.warnings.lock().take_from(&mut warned.lock());
    scale
}

/// Applies a scale: the number of replicas, applied to the object that has it.
///
/// # Errors
/// As an apply.
pub(crate) async fn apply(call: &Call<'_>, config: &Value) -> Result<Object, Status> {
    let text = |field: &str| config.get(field).and_then(Value::as_str).unwrap_or("");
    let (version, kind) = (text("apiVersion"), text("kind"));
    if (version, kind) != ("autoscaling/v1", "Scale") {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        return Err(Status::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")));
    }
    if custom_scale(call).is_some() {
        let why = "failed to create manager for existing fields: failed to convert live object (/; autoscaling/v1, \
                   Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1";
        return Err(Status::unexplained(why));
    }
    let name = config.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
    if !name.is_empty() {
        named(call, name)?;
    }
    let types = &call.kind.type_meta;
    let mut parent = json!({"apiVersion": types.api_version, "kind": types.kind});
    parent["metadata"] = config.get("metadata").cloned().unwrap_or_else(|| json!({}));
    if let Some(replicas) = config.get("spec").and_then(|spec| spec.get("replicas")) {
        let mut wanted = Object::default();
        wanted.set(&wanted_path(call), replicas.clone());
        for (field, value) in wanted.fields {
            parent[field] = value;
        }
    }
    let make = |old: Option<&Object>| {
        let old = old.ok_or_else(|| call.not_found(&call.name))?;
        let (value, managed) = managers::applied(call, Part::Whole, Some(old), &parent, call.options.force)
            .map_err(|refusal| of_scale(call, refusal))?;
        let made = arktos_core::schema::decode(&call.kind, value, arktos_core::Dialect::Region)?.object;
        let mut new = scaled(call, old, &shown(call, &made), made.str_at(&["metadata", "resourceVersion"]))?;
        managers::set(&mut new, managed);
        Ok(new)
    };
    let changed = modify::modify(call, Part::Whole, Source::Applied(&make)).await?;
    Ok(shown(call, &modify::decoded(call, changed.stored).await?))
}

/// What is said of managers that an apply of a scale is in the way of: to it, they are managers of the scale.
fn of_scale(call: &Call<'_>, mut refusal: Status) -> Status {
    let using = format!(" using {}", call.kind.type_meta.api_version);
    let told = |text: &str| text.replace(&using, &format!(" using {}", type_meta().api_version));
    refusal.message = told(&refusal.message);
    for cause in refusal.details.iter_mut().flat_map(|details| &mut details.causes) {
        cause.message = told(&cause.message);
    }
    refusal
}

async fn write(
    call: &Call<'_>,
    make: &(dyn Fn(&Object) -> Result<Object, Status> + Send + Sync),
) -> Result<Object, Status> {
    let changed = modify::modify(call, Part::Whole, Source::Made(make)).await?;
    Ok(shown(call, &modify::decoded(call, changed.stored).await?))
}

/// The object as far as a scale says something of it: no replicas are not said.
pub(super) fn said(call: &Call<'_>, object: &Object) -> Object {
    let (mut said, path) = (object.clone(), wanted_path(call));
    said.managed = None;
    if said.int_at(&path) == Some(0) {
        said.remove(&path);
    }
    said
}

/// The object with the replicas of a scale.
fn scaled(call: &Call<'_>, old: &Object, scale: &Object, revision: &str) -> Result<Object, Status> {
    let name = scale.name();
    named(call, name)?;
    let replicas = scale.int_at(&["spec", "replicas"]).unwrap_or(0);
    if replicas < 0 && custom_scale(call).is_none() {
        let fault = format!("Invalid value: {replicas}: must be greater than or equal to 0");
        let cause = crate::query::cause("FieldValueInvalid", "spec.replicas", &fault);
        return Err(Status::invalid("autoscaling", "Scale", name, vec![cause]));
    }
    let (uid, found) = (scale.uid(), old.uid());
    if !uid.is_empty() && uid != found && custom_scale(call).is_none() {
        let of = GroupResource::new(&call.kind.group, &format!("{}/scale", call.kind.resource));
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
        return Err(Status::conflict(&of, name, why));
    }
    let mut new = old.clone();
    new.set(&wanted_path(call), replicas);
    if revision.is_empty() {
        return Ok(new);
    }
    new.set(&["metadata", "resourceVersion"], revision);
    Ok(new)
}

/// The scale that an object shows.
fn shown(call: &Call<'_>, object: &Object) -> Object {
    let mut scale = Object::new(&type_meta(), &call.name);
    for field in ["namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.at(&["metadata", field]) {
            scale.set(&["metadata", field], value.clone());
        }
    }
    let found = custom_scale(call).map(|paths| {
        let whole = Value::Object(object.fields.clone());
        let selector = paths.selector.as_ref().and_then(|path| path.find(&whole)?.as_str().map(str::to_owned));
        (paths.found.find(&whole).and_then(Value::as_i64), selector.unwrap_or_default())
    });
    let replicas = object.int_at(&wanted_path(call)).unwrap_or(0);
    scale.fields.insert("spec".to_owned(), if replicas == 0 { json!({}) } else { json!({ "replicas": replicas }) });
    let (found, selector) =
        found.unwrap_or_else(|| (object.int_at(&["status", "replicas"]), selector(object.at(&["spec", "selector"]))));
    scale.set(&["status", "replicas"], found.unwrap_or(0));
    if !selector.is_empty() {
        scale.set(&["status", "selector"], selector);
    }
    scale
}

/// A selector as text, from either of its two forms.
fn selector(value: Option<&Value>) -> String {
    let Some(value) = value else { return String::new() };
    let is_spec = value.get("matchLabels").is_some() || value.get("matchExpressions").is_some();
    let selector: Option<LabelSelector> = if is_spec {
        serde_json::from_value::<LabelSelectorSpec>(value.clone()).ok().and_then(|spec| spec.selector().ok())
    } else {
        serde_json::from_value(value.clone()).ok().map(|labels| LabelSelector::equal_to(&labels))
    };
    selector.map(|selector| selector.to_string()).unwrap_or_default()
}
