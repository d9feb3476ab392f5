//! RFC 7386: a tree laid over another, `null` takes away.

use serde_json::{Map, Value};

use crate::status::Status;

/// Applies a merge patch.
///
/// # Errors
/// 400 when the patch is not an object.
pub fn merge_patch(document: &mut Value, patch: Value) -> Result<(), Status> {
    match patch {
        Value::Object(fields) => merge(document, fields),
        Value::Null => return Err(Status::bad_request("Invalid JSON Patch")),
        other => {
            let found = go_type(&other);
            let message =
                format!("error decoding patch: json: cannot unmarshal {found} into Go value of type {GO_MAP}");
            return Err(Status::bad_request(message));
        }
    }
    Ok(())
}

/// How upstream's decoder calls a JSON object in its messages.
pub(super) const GO_MAP: &str = "map[string]interface {}";

/// How upstream's decoder calls a value in its messages.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

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
            other => {
                fields.insert(name, other);
            }
        }
    }
}
