//! Patch: a change that is described, made on whatever the object is now.

use arktos_core::media::{go_json_fault, yaml};
use arktos_core::schema::{self, Schema};
use arktos_core::{Dialect, Object, Reason, Status, merge, rules};
use arktos_store::client::Patch;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::modify::{self, Changed, Part, Source};
use super::unreadable::{Outcome, restored};
use super::{elsewhere, managers, node_view};
use crate::call::Call;
use crate::negotiate::PatchType;
use crate::query::FieldValidation;
use crate::warnings::Warnings;

/// Patches an object, or a part of it. `faults` is what is wrong with how the patch is written.
///
/// # Errors
/// 400 and 422 for patches that do not apply; else as an update.
pub(crate) async fn patch(
    call: &Call<'_>,
    part: Part<'_>,
    patch: &Patch,
    faults: &[String],
) -> Result<Changed, Status> {
    if let Some(changed) = elsewhere::send_on(call, part, patch).await? {
        return Ok(changed);
    }
    if let Some(stored) = node_view::tell_more(call, part, patch).await? {
        return Ok(Changed { stored, created: false });
    }
    let warned: Mutex<Warnings> = Mutex::default();
    let make = |old: &Object| {
        let made = |mut value: Value| {
            match patch {
                Patch::Merge(patch) if call.options.field_validation == FieldValidation::Ignore => {
                    merge::merge_patch_unchecked(&mut value, patch.clone())?;
                }
                _ => apply(&call.kind.schema, call.kind.builtin, &mut value, patch)?,
            }
            Ok(value)
        };
        // What is refused is shown whole.
        let whole = || made(old.clone().into_value());
        let outcome = Outcome { patch, whole: &whole };
        read(call, old, made(patched(old, patch))?, faults, &warned, &outcome)
    };
    let changed = modify::modify(call, part, Source::Made(&make)).await;
    call.warnings.lock().take_from(&mut warned.lock());
    changed
}

/// What a patch is made on. Who manages what is half of most objects, and left out where the patch does not concern it:
/// what is not said of it stays as it was.
fn patched(old: &Object, patch: &Patch) -> Value {
    let concerned = match patch {
        Patch::Json(patch) => concerns_managers(patch, true),
        Patch::Merge(patch) | Patch::Strategic(patch) => concerns_managers(patch, false),
        _ => true,
    };
    if concerned { old.clone().into_value() } else { Value::Object(old.fields.clone()) }
}

const MANAGED_FIELDS: &str = "managedFields";

/// Whether a patch says anything of an object's managers; where it has pointers, also whether they name what those
/// are in.
fn concerns_managers(patch: &Value, pointers: bool) -> bool {
    match patch {
        Value::Object(fields) => {
            fields.iter().any(|(field, value)| field == MANAGED_FIELDS || concerns_managers(value, pointers))
        }
        Value::Array(items) => items.iter().any(|item| concerns_managers(item, pointers)),
        Value::String(text) => text.contains(MANAGED_FIELDS) || (pointers && matches!(text.as_str(), "" | "/metadata")),
        _ => false,
    }
}

/// Reads a patch; with it comes what is wrong with how it is written.
///
/// # Errors
/// 400.
pub(crate) fn asked(call: &Call<'_>, form: PatchType, bytes: &[u8]) -> Result<(Patch, Vec<String>), Status> {
    let ignored = call.options.field_validation == FieldValidation::Ignore;
    let (mut value, repeated) = schema::read_json(bytes).map_err(|fault| {
        let why = go_json_fault(bytes).unwrap_or_else(|| fault.to_string());
        Status::bad_request(match form {
            PatchType::Merge if ignored => "Invalid JSON Patch".to_owned(),
            PatchType::Json | PatchType::Merge if !ignored => format!("error decoding patch: {why}"),
            _ => why,
        })
    })?;
    if form == PatchType::Json {
        let faults = if ignored { Vec::new() } else { merge::json_patch_faults(&value, &repeated)? };
        return Ok((Patch::Json(value), faults));
    }
    let repeated = repeated.into_iter().map(|path| format!("duplicate field {path:?}")).collect();
    Ok(match form {
        PatchType::Merge => (Patch::Merge(value), repeated),
        _ => {
            // Go reads it into fields of integers by their value, and bodies by how they are written.
            yaml::make_whole(&mut value);
            (Patch::Strategic(value), repeated)
        }
    })
}

/// Reads an applied configuration: YAML, of which JSON is a part. With it come, unless they are ignored, the keys that
/// stand twice in it.
///
/// # Errors
/// 400.
pub(crate) fn read_config(call: &Call<'_>, bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    let refused = |why: String| Err(Status::bad_request(format!("error decoding YAML: {why}")));
    let ignored = call.options.field_validation == FieldValidation::Ignore;
    let read = if ignored { yaml::parse(bytes).map(|config| (config, Vec::new())) } else { yaml::parse_told(bytes) };
    let kind = match read {
        Ok((mut config @ Value::Object(_), repeated)) => {
            // As of any body: the tenant may be said, and must be the one that is asked.
            let meta = config.get_mut("metadata").and_then(Value::as_object_mut);
            let said = meta.and_then(|meta| meta.remove("tenant"));
            super::create::agree(call, said.as_ref())?;
            return Ok((config, repeated));
        }
        Ok((Value::Null, _)) => return Ok((Value::Object(Map::new()), Vec::new())),
        Ok((Value::Array(_), _)) => "array",
        Ok((Value::String(_), _)) => "string",
        Ok((Value::Number(_), _)) => "number",
        Ok(_) => "bool",
        // Upstream's reader has words of its own for text that ends where a value was to come.
        Err(_) if matches!(bytes.trim_ascii_end().last(), Some(b'{' | b'[' | b',')) => {
            let line = 1 + bytes.trim_ascii_end().iter().filter(|byte| **byte == b'\n').count();
            let why = format!("yaml: line {line}: did not find expected node content");
            return refused(format!("error converting YAML to JSON: {why}"));
        }
        Err(why) => return refused(why.to_string()),
    };
    refused(format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type \
         map[string]interface {{}}"
    ))
}

/// Applies a configuration to an object, or a part of it, and creates it where it is not there. `repeated` is what
/// stands twice in it.
///
/// # Errors
/// 409 for conflicts; else as an update or a creation.
pub(crate) async fn apply_config(
    call: &Call<'_>,
    part: Part<'_>,
    config: &Value,
    repeated: Vec<String>,
) -> Result<Changed, Status> {
    let has_nulls = has_null(config);
    let make = |old: Option<&Object>| {
        let (value, managed) = managers::applied(call, part, old, config, call.options.force)?;
        if call.options.field_validation == FieldValidation::Strict && !repeated.is_empty() {
            let fault = format!("error converting YAML to JSON: yaml: unmarshal errors:\n  {}", repeated.join("\n  "));
            return Err(Status::bad_request(format!("error strict decoding YAML: {fault}")));
        }
        // What nothing is applied to stays as it is, and is not written anew.
        let is_same = old.is_some_and(|old| value.as_object() == Some(&old.fields));
        let decode = if has_nulls { schema::decode_applied } else { schema::decode };
        let mut decoded = decode(&call.kind, value, Dialect::Region).map_err(|status| unread(call, config, status))?;
        if let Some(old) = old.filter(|_| !is_same) {
            rules::refuse_patched(&call.kind, old, &decoded.object)?;
        }
        decoded.object.notes = old.map(|old| old.notes.clone()).unwrap_or_default();
        decoded.object.managed = managed;
        Ok(decoded.object)
    };
    let changed = modify::modify(call, part, Source::Applied(&make)).await?;
    repeated.into_iter().for_each(|fault| call.warn(fault));
    Ok(changed)
}

/// What is wrong with what an apply has made of an object of a built-in kind.
fn unread(call: &Call<'_>, config: &Value, status: Status) -> Status {
    let why = unhandled(call, &status.message);
    if why.len() == status.message.len() {
        return status;
    }
    let meta = |field: &str| config["metadata"][field].as_str().unwrap_or_default();
    let whole = format!("{}/{}; {}", meta("namespace"), meta("name"), kind_of(call));
    let why = unconverted(call, why);
    Status::unexplained(format!("failed to convert new object ({whole}) to proper version: {why}"))
}

/// What is wrong with an object, without what is said of its kind in front.
pub(crate) fn unhandled<'m>(call: &Call<'_>, message: &'m str) -> &'m str {
    let kind = &call.kind.kind;
    let begin = format!("{kind} in version {:?} cannot be handled as a {kind}: ", call.kind.version);
    message.strip_prefix(&begin).unwrap_or(message)
}

/// What is wrong with a tree that was to become an object.
pub(crate) fn unconverted(call: &Call<'_>, why: &str) -> String {
    let other = ["illegal base64", "json: cannot unmarshal number "].iter().any(|begin| why.starts_with(begin));
    let why = if other { restored(why) } else { why.to_owned() };
    format!("unable to convert unstructured object to {}: {why}", kind_of(call))
}

fn kind_of(call: &Call<'_>) -> String {
    let types = &call.kind.type_meta;
    let core = if types.api_version.contains('/') { "" } else { "/" };
    format!("{core}{}, Kind={}", types.api_version, types.kind)
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

/// Applies a patch to a tree.
///
/// # Errors
/// As the patch's own rules say.
pub(crate) fn apply(schema: &Schema, builtin: bool, value: &mut Value, patch: &Patch) -> Result<(), Status> {
    match patch {
        Patch::Json(operations) => merge::json_patch(value, operations.clone()),
        Patch::Merge(patch) => merge::merge_patch(value, patch.clone()),
        Patch::Strategic(patch) if builtin => merge::strategic(schema, value, patch.clone()),
        Patch::Strategic(_) => {
            let text = "strategic merge patch is not supported for custom resources";
            Err(Status::failure(Reason::UnsupportedMediaType, text))
        }
        _ => Err(Status::failure(Reason::UnsupportedMediaType, "this is no patch of what there is")),
    }
}

/// Reads what a patch has made, as a body would be read.
fn read(
    call: &Call<'_>,
    old: &Object,
    value: Value,
    faults: &[String],
    warned: &Mutex<Warnings>,
    outcome: &Outcome<'_>,
) -> Result<Object, Status> {
    outcome.check_kind(call, old, &value)?;
    let decoded = schema::decode(&call.kind, value, Dialect::Region)
        .map_err(|refusal| outcome.refused(&call.kind.type_meta, &refusal))?;
    told(call, faults.iter().cloned().chain(decoded.faults.list).collect(), warned, outcome)?;
    rules::refuse_patched(&call.kind, old, &decoded.object)?;
    Ok(decoded.object)
}

/// Refuses what a patch says that nobody knows, or keeps it to be warned of, as the call wants it.
///
/// # Errors
/// 422.
pub(super) fn told(
    call: &Call<'_>,
    faults: Vec<String>,
    warned: &Mutex<Warnings>,
    outcome: &Outcome<'_>,
) -> Result<(), Status> {
    warned.lock().clear();
    match call.options.field_validation {
        FieldValidation::Strict if !faults.is_empty() => {
            return Err(outcome.refusal(&format!("strict decoding error: {}", faults.join(", "))));
        }
        FieldValidation::Warn => {
            let mut warned = warned.lock();
            faults.into_iter().for_each(|fault| warned.add(fault));
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arktos_core::Managed;

    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_sees_the_managers_where_it_concerns_them_and_only_there() {
        let fields = json!({"metadata": {"name": "a", "labels": {}, "managedFields": [{"manager": "m"}]}, "data": {}});
        let without = json!({"metadata": {"name": "a", "labels": {}}, "data": {}});
        let managed = Managed::of(&json!([{"manager": "m"}]));
        let old = Object { managed: Some(managed), ..Object::from_value(without.clone()).unwrap_or_default() };
        let operation = |op: &str, path: &str| Patch::Json(json!([{"op": op, "path": path}]));
        let copied = Patch::Json(json!([{"op": "copy", "from": "/metadata", "path": "/data/x"}]));
        for patch in [
            operation("remove", "/metadata/managedFields/0"),
            operation("test", "/metadata"),
            operation("test", ""),
            copied,
            Patch::Merge(json!({"metadata": {"managedFields": []}})),
            Patch::Strategic(json!({"metadata": {"$patch": "delete", "managedFields": null}})),
        ] {
            assert_eq!(patched(&old, &patch), fields, "{patch:?}");
        }
        let label = json!({"metadata": {"labels": {"a": ""}}});
        for patch in [
            operation("remove", "/metadata/labels"),
            Patch::Merge(label.clone()),
            Patch::Strategic(label),
            Patch::Merge(json!({"metadata": null})),
        ] {
            assert_eq!(patched(&old, &patch), without, "{patch:?}");
        }
    }
}
