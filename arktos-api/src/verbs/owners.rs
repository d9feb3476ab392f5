//! Owners that an object names more than once.

use std::collections::HashSet;

use arktos_core::Object;
use serde_json::Value;

use crate::call::Call;

/// Keeps one of the owners that are alike, and warns of the others.
pub(super) fn distinct(call: &Call<'_>, object: &mut Object) {
    let Some(owners) = object.at(&["metadata", "ownerReferences"]).and_then(Value::as_array) else { return };
    if owners.len() < 2 {
        return;
    }
    let (mut kept, mut twice): (Vec<Value>, Vec<String>) = (Vec::with_capacity(owners.len()), Vec::new());
    let mut seen = HashSet::new();
    for owner in owners {
        if seen.insert(owner) {
            kept.push(owner.clone());
        } else {
            twice.push(owner["uid"].as_str().unwrap_or_default().to_owned());
        }
    }
    if !twice.is_empty() {
        call.warn(format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may \
             reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            twice.join(", ")
        ));
        object.set(&["metadata", "ownerReferences"], Value::Array(kept));
    }
}
