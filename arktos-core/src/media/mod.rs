//! The forms in which objects travel beside JSON.
//!
//! | form | module |
//! |---|---|
//! | `application/vnd.kubernetes.protobuf`: what typed Go clients send, kubectl's `create` among them | [`protobuf`] |
//! | `application/yaml`, and files that people write | [`yaml`] |
//!
//! What the Go decoder says of JSON that is none, clients know ([`go_json_fault`]), and how Go prints values
//! ([`go_printed`]).

mod go_json;
mod go_print;
pub mod protobuf;
pub mod yaml;

pub use go_json::go_json_fault;
pub use go_print::{go_kind, go_printed, go_spelled};
