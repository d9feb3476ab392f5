//! RFC 6902: a list of operations, as upstream reads it.

use serde_json::{Map, Value};

use crate::media::go_kind;
use crate::status::{Reason, Status, StatusDetails};

/// How many operations a patch may have.
pub const MAX_OPERATIONS: usize = 10_000;
/// How much the `copy` operations of one patch may copy in all. Without it, a short patch could double a document
/// time and again.
pub const MAX_COPIED_BYTES: usize = 3 << 20;
/// How deep a patched document may be nested: what is deeper could not be read back.
pub const MAX_DEPTH: usize = 120;

/// The members of an operation.
const MEMBERS: [&str; 4] = ["op", "path", "from", "value"];

/// What is wrong with how a patch is written, yet does not keep it from being applied. `repeated` are the paths of
/// members that stand twice.
///
/// # Errors
/// 400 when the patch is not a list of operations.
pub fn json_patch_faults(patch: &Value, repeated: &[String]) -> Result<Vec<String>, Status> {
    let cannot = |found: &str, into: &str| {
        Status::bad_request(format!("error decoding patch: json: cannot unmarshal {found} into Go {into}"))
    };
    let operations = match patch {
        Value::Null => &[],
        Value::Array(operations) => operations.as_slice(),
        other => return Err(cannot(go_kind(other), "value of type []handlers.jsonPatchOp")),
    };
    let mut faults = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        let fields = match operation {
            Value::Null => continue,
            Value::Object(fields) => fields,
            other => return Err(cannot(go_kind(other), "value of type handlers.jsonPatchOp")),
        };
        for member in ["op", "path", "from"] {
            match fields.get(member) {
                None | Some(Value::Null | Value::String(_)) => {}
                Some(other) => {
                    let into = format!("struct field jsonPatchOp.{member} of type string");
                    return Err(cannot(go_kind(other), &into));
                }
            }
        }
        let unknown = fields.keys().filter(|name| !MEMBERS.contains(&name.as_str()));
        faults.extend(unknown.map(|name| format!("json patch unknown field \"[{at}].{name}\"")));
        let here = format!("[{at}].");
        let twice = repeated.iter().filter(|path| path.starts_with(&here));
        faults.extend(twice.map(|path| format!("json patch duplicate field {path:?}")));
    }
    Ok(faults)
}

/// Applies a JSON patch. Where upstream differs from the RFC it is followed: list indices below zero count from the
/// end, `replace` sets a field that is not there, and what is copied may be missing (`null` is, then).
///
/// # Errors
/// 400 when the patch is not a list of operations, 413 when it has too many, 422 when one of them does not apply.
pub fn json_patch(document: &mut Value, patch: Value) -> Result<(), Status> {
    let cannot = |found: &str, into: &str| {
        Status::bad_request(format!("json: cannot unmarshal {found} into Go value of type jsonpatch.{into}"))
    };
    let operations = match patch {
        Value::Null => return Ok(()),
        Value::Array(operations) => operations,
        other => return Err(cannot(go_kind(&other), "Patch")),
    };
    if let Some(other) = operations.iter().find(|operation| !operation.is_object() && !operation.is_null()) {
        return Err(cannot(go_kind(other), "Operation"));
    }
    if operations.len() > MAX_OPERATIONS {
        let found = operations.len();
        return Err(Status::failure(
            Reason::RequestEntityTooLarge,
            format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got \
                 {found}"
            ),
        ));
    }
    let mut copied = 0;
    for operation in operations {
        let Value::Object(fields) = operation else { return Err(does_not_apply()) };
        apply(document, fields, &mut copied).ok_or_else(does_not_apply)?;
    }
    Ok(())
}

/// Upstream tells no more than this.
fn does_not_apply() -> Status {
    Status::failure(Reason::Invalid, "the server rejected our request due to an error in our request")
        .with_details(StatusDetails::default())
}

fn apply(document: &mut Value, mut fields: Map<String, Value>, copied: &mut usize) -> Option<()> {
    let value = fields.remove("value");
    let text = |name: &str| fields.get(name)?.as_str();
    let path = text("path");
    match text("op")? {
        "add" => add(document, path?, value.unwrap_or_default()),
        "remove" => remove(document, path?).map(|_| ()),
        "replace" => replace(document, path?, value),
        "test" => {
            let found = if path?.is_empty() { Some(&*document) } else { get(document, path?)? };
            let same = match (found, value) {
                (None | Some(Value::Null), value) => value.is_none_or(|value| value.is_null()),
                (Some(found), value) => value.is_some_and(|value| *found == value),
            };
            same.then_some(())
        }
        "move" => {
            let moved = remove(document, text("from")?)?;
            add(document, path?, moved)
        }
        "copy" => {
            let source = get(document, text("from")?)?.unwrap_or(&Value::Null);
            *copied = size(source, MAX_COPIED_BYTES.checked_sub(*copied)?)?.checked_add(*copied)?;
            let source = source.clone();
            add(document, path?, source)
        }
        _ => None,
    }
}

/// The last step of a path, and the path to what it is a step in. What stands before the first `/` does not count.
fn split(path: &str) -> Option<(std::str::Split<'_, char>, String)> {
    let (_, path) = path.split_once('/')?;
    let (above, last) = path.rsplit_once('/').map_or((None, path), |(above, last)| (Some(above), last));
    let mut steps = above.unwrap_or("").split('/');
    if above.is_none() {
        steps.next();
    }
    Some((steps, name(last)))
}

/// A step as it is meant.
fn name(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// A place in a list that has `room` for it.
fn index(step: &str, room: usize) -> Option<usize> {
    let index: i64 = step.parse().ok()?;
    let index = if index < 0 { index.checked_add(i64::try_from(room).ok()?)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < room)
}

/// What is at a path; `Some(None)` is a field that is not there.
fn get<'a>(document: &'a Value, path: &str) -> Option<Option<&'a Value>> {
    let (steps, last) = split(path)?;
    let child = |at: &'a Value, step: &str| match at {
        Value::Object(fields) => Some(fields.get(step)),
        Value::Array(items) => Some(items.get(index(step, items.len())?)),
        _ => None,
    };
    let mut at = document;
    for step in steps {
        at = child(at, &name(step))??;
    }
    child(at, &last)
}

/// What a path's last step is a step in, with that step.
fn above<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (steps, last) = split(path)?;
    let mut at = document;
    for step in steps {
        at = match at {
            Value::Object(fields) => fields.get_mut(&name(step))?,
            Value::Array(items) => {
                let index = index(&name(step), items.len())?;
                items.get_mut(index)?
            }
            _ => return None,
        };
    }
    Some((at, last))
}

fn add(document: &mut Value, path: &str, value: Value) -> Option<()> {
    fits(path, &value)?;
    match above(document, path)? {
        (Value::Object(fields), name) => {
            fields.insert(name, value);
        }
        (Value::Array(items), step) if step == "-" => items.push(value),
        (Value::Array(items), step) => items.insert(index(&step, items.len() + 1)?, value),
        _ => return None,
    }
    Some(())
}

fn remove(document: &mut Value, path: &str) -> Option<Value> {
    match above(document, path)? {
        (Value::Object(fields), name) => fields.remove(&name),
        (Value::Array(items), step) => Some(items.remove(index(&step, items.len())?)),
        _ => None,
    }
}

fn replace(document: &mut Value, path: &str, value: Option<Value>) -> Option<()> {
    if path.is_empty() {
        let value = value.filter(|value| value.is_object() || value.is_array())?;
        fits(path, &value)?;
        *document = value;
        return Some(());
    }
    let value = value.unwrap_or_default();
    fits(path, &value)?;
    match above(document, path)? {
        (Value::Object(fields), name) => {
            fields.insert(name, value);
        }
        (Value::Array(items), step) => {
            let index = index(&step, items.len())?;
            *items.get_mut(index)? = value;
        }
        _ => return None,
    }
    Some(())
}

/// Whether a value may stand at a path without making the document too deep.
fn fits(path: &str, value: &Value) -> Option<()> {
    let above = path.bytes().filter(|byte| *byte == b'/').count();
    let room = MAX_DEPTH.checked_sub(above)?;
    is_shallow(value, room).then_some(())
}

pub(crate) fn is_shallow(value: &Value, room: usize) -> bool {
    let Some(room) = room.checked_sub(1) else { return false };
    match value {
        Value::Array(items) => items.iter().all(|item| is_shallow(item, room)),
        Value::Object(fields) => fields.values().all(|field| is_shallow(field, room)),
        _ => true,
    }
}

/// About how many bytes the value takes as JSON; `None` when it is more than `limit`.
pub(crate) fn size(value: &Value, limit: usize) -> Option<usize> {
    let own = match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => {
            let mut sum = 2;
            for item in items {
                sum += size(item, limit.checked_sub(sum)?)? + 1;
            }
            sum
        }
        Value::Object(fields) => {
            let mut sum = 2;
            for (name, field) in fields {
                sum += name.len() + 4;
                sum += size(field, limit.checked_sub(sum)?)?;
            }
            sum
        }
        _ => 5,
    };
    (own <= limit).then_some(own)
}
