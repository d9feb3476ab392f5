//! Between the versions of a kind: objects are stored in one, and shown in each.

use crate::catalog::Kind;
use crate::object::Object;

/// The object in the stored form of its resource; `from` is the kind it is in. Nothing to do for most kinds.
#[must_use]
pub fn to_storage(from: &Kind, object: Object) -> Object {
    let _ = from;
    object
}

/// A stored object as `to` shows it.
#[must_use]
pub fn from_storage(to: &Kind, object: Object) -> Object {
    let _ = to;
    object
}
