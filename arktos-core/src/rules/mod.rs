//! What no schema says: defaults that depend on other fields, what is set at creation, what may not change, and how
//! the fields of an object must fit together.
//!
//! The road calls, in this order:
//!
//! | request | calls |
//! |---|---|
//! | create | [`schema::decode`](crate::schema::decode), name and identity from the road, admission plugins, [`admit_create`] |
//! | update, patch | [`schema::decode`](crate::schema::decode), admission plugins, [`admit_update`] |
//! | update or patch of `status` | [`schema::decode`](crate::schema::decode), [`admit_status`] |
//!
//! Each of the three does the whole rest: defaults once more (plugins may have added to the object), what is set or
//! kept by the server, validation. What comes out can be encoded.

pub mod convert;
pub mod meta;

use crate::catalog::Kind;
use crate::object::Object;
use crate::status::Status;

/// Makes a new object ready to be stored: defaults, what creation sets, validation.
///
/// The road has set `metadata.name`, `namespace`, `uid` and `creationTimestamp` before.
///
/// # Errors
/// 422 with a cause for each fault.
pub fn admit_create(kind: &Kind, object: Object) -> Result<Object, Status> {
    let _ = kind;
    Ok(object)
}

/// Makes the new state of an object ready to be stored: what only the server sets, and what another path writes
/// (`status`), stays as it was; the generation grows with the desired state.
///
/// # Errors
/// 422 with a cause for each fault.
pub fn admit_update(kind: &Kind, old: &Object, new: Object) -> Result<Object, Status> {
    let _ = (kind, old);
    Ok(new)
}

/// As [`admit_update`], for a write to `status`: everything but the status and a few fields of `metadata` stays.
///
/// # Errors
/// 422 with a cause for each fault.
pub fn admit_status(kind: &Kind, old: &Object, new: Object) -> Result<Object, Status> {
    let _ = (kind, old);
    Ok(new)
}
