//! Patch: a change that is described, made on whatever the object is now.

use arktos_core::schema::{self, Schema};
use arktos_core::{Dialect, Object, Reason, Status, merge, rules};
use arktos_store::client::Patch;
use parking_lot::Mutex;
use serde_json::Value;

use super::modify::{self, Changed, Part, Source};
use crate::call::Call;
use crate::query::{FieldValidation, cause};

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
    let warned: Mutex<Vec<String>> = Mutex::default();
    let make = |old: &Object| {
        let mut value = Value::Object(old.fields.clone());
        apply(&call.kind.schema, call.kind.builtin, &mut value, patch)?;
        read(call, value, faults, &warned)
    };
    let changed = modify::modify(call, part, Source::Made(&make)).await;
    call.warnings.lock().append(&mut warned.lock());
    changed
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
    }
}

/// Reads what a patch has made, as a body would be read.
fn read(call: &Call<'_>, value: Value, faults: &[String], warned: &Mutex<Vec<String>>) -> Result<Object, Status> {
    let made = value.to_string();
    let decoded = schema::decode(&call.kind, value, Dialect::Region)?;
    rules::refuse_patched(&call.kind, &decoded.object)?;
    let faults: Vec<String> = faults.iter().cloned().chain(decoded.faults.list).collect();
    warned.lock().clear();
    match call.options.field_validation {
        FieldValidation::Strict if !faults.is_empty() => {
            let why = format!("Invalid value: {made:?}: strict decoding error: {}", faults.join(", "));
            Err(Status::invalid("", "", "", vec![cause("FieldValueInvalid", "patch", &why)]))
        }
        FieldValidation::Warn => {
            warned.lock().extend(faults);
            Ok(decoded.object)
        }
        _ => Ok(decoded.object),
    }
}
