//! RFC 6902: a list of operations, as upstream reads it.

use serde_json::{Map, Value};

use crate::media::go_kind;
use crate::status::{Reason, Status, StatusDetails};

/// How many operations a patch may have.
pub const MAX_OPERATIONS: usize = 10_000;
/// How much the `copy` operations of one patch may copy in all. Without it, a short patch could double a document
/// time and again.
pub const MAX_COPIED_BYTES: usize = 3 << 20;
/// How many values the operations of one patch may move and look through in all: what is put into a list moves all that
/// comes after it.
pub const MAX_MOVED_VALUES: usize = 20_000_000;
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
    let mut work = Work::default();
    for operation in operations {
        let Value::Object(fields) = operation else { return Err(does_not_apply()) };
        if apply(document, fields, &mut work).is_none() {
            return Err(if work.is_over() { too_much() } else { does_not_apply() });
        }
    }
    Ok(())
}

/// What the operations of one patch have done so far.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// How many bytes were copied.
    copied: usize,
    /// How many values were moved or looked through.
    moved: usize,
}

impl Work {
    /// Whether it is more than one patch may do.
    pub(super) fn is_over(&self) -> bool {
        self.moved > MAX_MOVED_VALUES
    }

    fn moves(&mut self, values: usize) -> Option<()> {
        self.moved = self.moved.saturating_add(values);
        (!self.is_over()).then_some(())
    }
}

fn too_much() -> Status {
    Status::failure(
        Reason::RequestEntityTooLarge,
        format!("Request entity too large: a JSON patch may move at most {MAX_MOVED_VALUES} values"),
    )
}

/// Upstream tells no more than this.
fn does_not_apply() -> Status {
    Status::failure(Reason::Invalid, "the server rejected our request due to an error in our request")
        .with_details(StatusDetails::default())
}

/// Applies one operation; `None` where it does not apply.
pub(super) fn apply(document: &mut Value, mut fields: Map<String, Value>, work: &mut Work) -> Option<()> {
    let value = fields.remove("value");
    let text = |name: &str| fields.get(name)?.as_str();
    let path = text("path");
    match text("op")? {
        "add" => add(document, path?, value.unwrap_or_default(), work),
        "remove" => remove(document, path?, work).map(|_| ()),
        "replace" => replace(document, path?, value, work),
        "test" => {
            let found = if path?.is_empty() { Some(&*document) } else { get(document, path?)? };
            let same = match (found, value) {
                (None | Some(Value::Null), value) => value.is_none_or(|value| value.is_null()),
                (Some(found), value) => value.is_some_and(|value| *found == value),
            };
            same.then_some(())
        }
        "move" => {
            let moved = remove(document, text("from")?, work)?;
            add(document, path?, moved, work)
        }
        "copy" => {
            let source = get(document, text("from")?)?.unwrap_or(&Value::Null);
            let copied = size(source, MAX_COPIED_BYTES.checked_sub(work.copied)?)?;
            work.copied = work.copied.checked_add(copied)?;
            let source = source.clone();
            add(document, path?, source, work)
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
pub(super) fn above<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
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

fn add(document: &mut Value, path: &str, value: Value, work: &mut Work) -> Option<()> {
    fits(path, &value, work)?;
    match above(document, path)? {
        (Value::Object(fields), name) => {
            fields.insert(name, value);
        }
        (Value::Array(items), step) if step == "-" => items.push(value),
        (Value::Array(items), step) => {
            let index = index(&step, items.len() + 1)?;
            work.moves(items.len() - index)?;
            items.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(document: &mut Value, path: &str, work: &mut Work) -> Option<Value> {
    match above(document, path)? {
        (Value::Object(fields), name) => fields.remove(&name),
        (Value::Array(items), step) => {
            let index = index(&step, items.len())?;
            work.moves(items.len() - index)?;
            Some(items.remove(index))
        }
        _ => None,
    }
}

fn replace(document: &mut Value, path: &str, value: Option<Value>, work: &mut Work) -> Option<()> {
    if path.is_empty() {
        let value = value.filter(|value| value.is_object() || value.is_array())?;
        fits(path, &value, work)?;
        *document = value;
        return Some(());
    }
    let value = value.unwrap_or_default();
    fits(path, &value, work)?;
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
fn fits(path: &str, value: &Value, work: &mut Work) -> Option<()> {
    let above = path.bytes().filter(|byte| *byte == b'/').count();
    let room = MAX_DEPTH.checked_sub(above)?;
    work.moves(values(value, room)?)
}

pub(crate) fn is_shallow(value: &Value, room: usize) -> bool {
    values(value, room).is_some()
}

/// How many values there are in one; `None` where it is deeper than there is room.
fn values(value: &Value, room: usize) -> Option<usize> {
    let room = room.checked_sub(1)?;
    let mut sum = 1;
    match value {
        Value::Array(items) => {
            for item in items {
                sum += values(item, room)?;
            }
        }
        Value::Object(fields) => {
            for field in fields.values() {
                sum += values(field, room)?;
            }
        }
        _ => {}
    }
    Some(sum)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_move_only_so_many_values() {
        let long = json!({"list": vec![0; 100_000], "deep": {"list": vec![json!({"a": 1}); 50_000]}});
        let refused = |operation: Value| {
            let mut document = long.clone();
            let fault = json_patch(&mut document, Value::Array(vec![operation; 500])).expect_err("too much");
            (fault.code, fault.message)
        };
        let why = "Request entity too large: a JSON patch may move at most 20000000 values".to_owned();
        for operation in [
            json!({"op": "add", "path": "/list/0", "value": 1}),
            json!({"op": "remove", "path": "/list/0"}),
            json!({"op": "move", "from": "/deep", "path": "/deep"}),
        ] {
            assert_eq!(refused(operation.clone()), (413, why.clone()), "{operation}");
        }
        let mut document = long.clone();
        let fine = json!({"op": "add", "path": "/list/-", "value": 1});
        json_patch(&mut document, Value::Array(vec![fine; 5000])).expect("nothing is moved");
        assert_eq!(document["list"].as_array().map(Vec::len), Some(105_000));
    }
}
