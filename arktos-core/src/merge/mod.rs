//! Patches: what a client sends to change an object without sending it whole.
//!
//! | content type | function |
//! |---|---|
//! | `application/json-patch+json` (RFC 6902) | [`json_patch`] |
//! | `application/merge-patch+json` (RFC 7386) | [`merge_patch`] |
//! | `application/strategic-merge-patch+json` | [`strategic`] |
//!
//! [`apply`] is server-side apply (`application/apply-patch+yaml`), which is about who owns which field.
//!
//! The functions work on JSON values and know nothing of the rest of the control plane. What a strategic patch has to
//! know of a type it asks through [`MergeSchema`], which the built-in schemas implement.
//!
//! A failed patch leaves the document half changed: whoever may have to go on with it keeps a copy.
//!
//! ```
//! use serde_json::json;
//!
//! let mut document = json!({"data": {"a": "1", "b": "2"}});
//! arktos_core::merge::merge_patch(&mut document, json!({"data": {"a": null, "c": "3"}}))?;
//! arktos_core::merge::json_patch(&mut document, json!([{"op": "move", "from": "/data/b", "path": "/data/d"}]))?;
//! assert_eq!(document, json!({"data": {"c": "3", "d": "2"}}));
//! # Ok::<(), arktos_core::Status>(())
//! ```

pub mod apply;
mod json_patch;
mod json_patch_told;
mod merge_patch;
mod order;
mod strategic;

use crate::schema::Schema;

pub use json_patch::{MAX_COPIED_BYTES, MAX_DEPTH, MAX_OPERATIONS, json_patch, json_patch_faults};
pub(crate) use json_patch::{is_shallow, size};
pub use json_patch_told::{Patched, json_patch_told};
pub use merge_patch::{merge_patch, merge_patch_unchecked};
pub use strategic::strategic;

/// What a strategic merge patch asks of a type.
pub trait MergeSchema {
    /// The schema of a field of an object, or of the values of a map.
    fn field(&self, name: &str) -> Option<&Self>;

    /// The schema of the items of a list.
    fn items(&self) -> Option<&Self>;

    /// How a patch treats this value.
    fn strategy(&self) -> Strategy<'_>;
}

/// How a strategic merge patch treats a value (`x-kubernetes-patch-strategy`, `x-kubernetes-patch-merge-key`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strategy<'a> {
    /// Whether a list is merged and not replaced.
    pub merge_list: bool,
    /// The field that tells the items of a merged list apart; absent when they are plain values.
    pub merge_key: Option<&'a str>,
    /// Whether an object is replaced and not merged.
    pub replace: bool,
}

impl MergeSchema for Schema {
    fn field(&self, name: &str) -> Option<&Self> {
        Self::field(self, name)
    }

    fn items(&self) -> Option<&Self> {
        Self::items(self)
    }

    fn strategy(&self) -> Strategy<'_> {
        Strategy {
            merge_list: self.merge.patch_merge,
            merge_key: self.merge.patch_key.as_deref(),
            replace: self.merge.patch_replace,
        }
    }
}

#[cfg(test)]
mod tests;
