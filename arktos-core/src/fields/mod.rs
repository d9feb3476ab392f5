//! Sets of fields: which parts of an object somebody owns, as `metadata.managedFields` writes them down (`FieldsV1`).
//!
//! ```
//! use arktos_core::fields::FieldSet;
//! use serde_json::json;
//!
//! let set = FieldSet::parse(&json!({"f:spec": {"f:ports": {"k:{\"port\":80}": {".": {}, "f:name": {}}}}}))?;
//! let paths: Vec<String> = set.paths().iter().map(ToString::to_string).collect();
//! assert_eq!(paths, [".spec.ports[port=80]", ".spec.ports[port=80].name"]);
//! # Ok::<(), arktos_core::fields::FieldsFault>(())
//! ```

mod element;
mod set;

pub use element::{Element, FieldPath, Scalar};
pub use set::FieldSet;

/// Why a value is no set of fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FieldsFault(pub String);

#[cfg(test)]
mod tests;
