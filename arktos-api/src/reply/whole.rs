//! Lists that are made whole before they go out, and how large they may be.

use arktos_core::{Reason, Status};

/// How large a list is made, in bytes, where it must be whole before it goes out: in YAML, in lines, or after a webhook
/// has converted it.
pub(crate) const WHOLE_MAX: usize = 64 << 20;

/// The refusal of a list that is larger.
pub(crate) fn too_large() -> Status {
    let why = format!("the list is larger than {WHOLE_MAX} bytes: ask for it in parts (limit), or as JSON");
    Status::failure(Reason::RequestEntityTooLarge, why)
}
