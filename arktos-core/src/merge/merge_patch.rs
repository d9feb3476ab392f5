//! RFC 7386: a tree laid over another, `null` takes away.

use serde_json::{Map, Value};

use crate::media::go_kind;
use crate::status::Status;

/// Applies a merge patch.
///
/// # Errors
/// 400 when the patch is not an object.
pub fn merge_patch(document: &mut Value, patch: Value) -> Result<(), Status> {
    match patch {
        Value::Object(fields) => merge(document, fields),
        Value::Null => return Err(invalid()),
        other => {
            let found = go_kind(&other);
            let message =
                format!("error decoding patch: json: cannot unmarshal {found} into Go value of type {GO_MAP}");
            return Err(Status::bad_request(message));
        }
    }
    Ok(())
}

/// 400 for what is no merge patch at all.
fn invalid() -> Status {
    Status::bad_request("Invalid JSON Patch")
}

/// As [`merge_patch`], without a look at the patch's type first: a list takes the document's place.
///
/// # Errors
/// 400 when the patch is neither an object nor a list.
pub fn merge_patch_unchecked(document: &mut Value, patch: Value) -> Result<(), Status> {
    match patch {
        Value::Object(fields) => merge(document, fields),
        mut list @ Value::Array(_) => {
            prune(&mut list);
            *document = list;
        }
        _ => return Err(invalid()),
    }
    Ok(())
}

/// How upstream's decoder calls a JSON object in its messages.
pub(super) const GO_MAP: &str = "map[string]interface {}";

fn merge(target: &mut Value, patch: Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        match value {
            Value::Null => {
                fields.remove(&name);
            }
            Value::Object(inner) => merge(fields.entry(name).or_insert(Value::Null), inner),
            mut other => {
                // Where an object was, upstream takes what comes as it is.
                if !fields.get(&name).is_some_and(Value::is_object) {
                    prune(&mut other);
                }
                fields.insert(name, other);
            }
        }
    }
}

/// Takes the `null`s out of the objects in a value; those in lists stay.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}
