//! RFC 6902: a list of operations.

use json_patch::PatchOperation;
use serde_json::{Map, Value};

use super::merge_patch::go_type;
use crate::status::{Reason, Status, StatusDetails};

/// How many operations a patch may have.
pub const MAX_OPERATIONS: usize = 10_000;
/// How much the `copy` operations of one patch may copy in all. Without it, a short patch could double a document
/// time and again.
pub const MAX_COPIED_BYTES: usize = 3 << 20;
/// How deep a patched document may be nested: what is deeper could not be read back.
pub const MAX_DEPTH: usize = 120;

/// Applies a JSON patch. List indices below zero count from the end, as upstream has it.
///
/// # Errors
/// 400 when the patch is not a list of operations, 413 when it has too many, 422 when one of them does not apply.
pub fn json_patch(document: &mut Value, patch: Value) -> Result<(), Status> {
    let Value::Array(operations) = patch else {
        let found = go_type(&patch);
        let message = format!(
            "error decoding patch: json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp"
        );
        return Err(Status::bad_request(message));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(Status::failure(
            Reason::RequestEntityTooLarge,
            format!(
                "Request entity is too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                operations.len()
            ),
        ));
    }
    let mut copied = 0;
    for operation in operations {
        let Value::Object(fields) = operation else {
            let found = go_type(&operation);
            return Err(Status::bad_request(format!(
                "error decoding patch: json: cannot unmarshal {found} into Go value of type handlers.jsonPatchOp"
            )));
        };
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
    let kind = fields.get("op")?.as_str()?.to_owned();
    let path = fields.get("path").map_or(Some(""), Value::as_str)?;
    if path.is_empty() && kind != "test" {
        return None;
    }
    let path = resolved(document, path, kind == "add" || kind == "move" || kind == "copy")?;
    if let Some(from) = fields.get("from") {
        let from = resolved(document, from.as_str()?, false)?;
        if kind == "copy" {
            let source = document.pointer(&from)?;
            *copied = size(source, MAX_COPIED_BYTES.checked_sub(*copied)?)?.checked_add(*copied)?;
        }
        let moved = if kind == "copy" || kind == "move" { document.pointer(&from) } else { None };
        fits(&path, moved)?;
        fields.insert("from".to_owned(), Value::from(from));
    }
    if kind == "add" || kind == "replace" {
        fits(&path, fields.get("value"))?;
    }
    if kind == "test" && is_absent(document, &path) {
        return fields.get("value").is_none_or(Value::is_null).then_some(());
    }
    fields.insert("path".to_owned(), Value::from(path));
    fields.entry("value").or_insert(Value::Null);
    let operation: PatchOperation = serde_json::from_value(Value::Object(fields)).ok()?;
    json_patch::patch_unsafe(document, &[operation]).ok()
}

/// The path with plain list indices. `inserting` says whether its last step may stand behind the list's end.
fn resolved(document: &Value, path: &str, inserting: bool) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut at = Some(document);
    let mut steps = path.split('/').peekable();
    if !steps.next()?.is_empty() {
        return None;
    }
    while let Some(step) = steps.next() {
        out.push('/');
        let Some(Value::Array(items)) = at else {
            at = at.and_then(|value| value.get(step.replace("~1", "/").replace("~0", "~")));
            out.push_str(step);
            continue;
        };
        if step == "-" {
            out.push('-');
            at = None;
            continue;
        }
        let room = items.len() + usize::from(inserting && steps.peek().is_none());
        let index: i64 = step.parse().ok()?;
        let index = if index < 0 { index.checked_add(i64::try_from(room).ok()?)? } else { index };
        let index = usize::try_from(index).ok().filter(|index| *index < room)?;
        out.push_str(itoa::Buffer::new().format(index));
        at = items.get(index);
    }
    Some(out)
}

fn is_absent(document: &Value, path: &str) -> bool {
    document.pointer(path).is_none()
}

/// Whether a value may stand at a path without making the document too deep.
fn fits(path: &str, value: Option<&Value>) -> Option<()> {
    let above = path.bytes().filter(|byte| *byte == b'/').count();
    let room = MAX_DEPTH.checked_sub(above)?;
    value.is_none_or(|value| is_shallow(value, room)).then_some(())
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
fn size(value: &Value, limit: usize) -> Option<usize> {
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
