//! The write that is most frequent: a manager changes what it alone manages already. Nothing is new in `managedFields`
//! but its time, and the sets need not be read for that.

use serde_json::Value;

use super::Writer;
use super::compare::Change;
use super::managers::{Manager, sort, text};
use crate::fields::FieldSet;

/// `managedFields` after such a write; `None` when the write is another one.
///
/// The result is what reading, moving and printing the sets would come to, for sets that the types of today do not
/// read otherwise: those of a schema that never changes.
pub(super) fn renewed(writer: &Writer<'_>, kept: Option<&Value>, change: &Change) -> Option<Value> {
    let entries = kept?.as_array()?;
    if !change.removed.is_empty() {
        return None;
    }
    let manager = writer.manager(false);
    let mut own = None;
    for (at, entry) in entries.iter().enumerate() {
        let set = entry.get("fieldsV1").filter(|set| set.as_object().is_some_and(|set| !set.is_empty()))?;
        if text(entry, "apiVersion") != writer.api_version {
            return None;
        }
        if is(entry, &manager) {
            own = covers(set, &change.written).then_some(at);
            own?;
        } else if touches(set, &change.written) {
            return None;
        }
    }
    let mut entries = entries.clone();
    entries.get_mut(own?)?.as_object_mut()?.insert("time".to_owned(), Value::from(writer.now));
    sort(&mut entries);
    Some(Value::Array(entries))
}

fn is(entry: &Value, manager: &Manager) -> bool {
    text(entry, "operation") == "Update"
        && text(entry, "manager") == manager.name
        && text(entry, "subresource") == manager.subresource
}

/// Whether a path that ends here is in the set.
fn is_member(set: &Value) -> bool {
    set.as_object().is_some_and(|map| map.is_empty() || map.contains_key("."))
}

/// Whether all of a set of paths is in one that is written as `FieldsV1`.
fn covers(set: &Value, paths: &FieldSet) -> bool {
    paths.steps().all(|(step, member, below)| {
        let found = set.get(step.text());
        found.is_some_and(|set| (!member || is_member(set)) && covers(set, below))
    })
}

/// Whether any of it is.
fn touches(set: &Value, paths: &FieldSet) -> bool {
    paths.steps().any(|(step, member, below)| {
        let found = set.get(step.text());
        found.is_some_and(|set| (member && is_member(set)) || touches(set, below))
    })
}
