//! The forms in which objects travel beside JSON.
//!
//! | form | module |
//! |---|---|
//! | `application/vnd.kubernetes.protobuf`: what typed Go clients send, kubectl's `create` among them | [`protobuf`] |
//! | `application/yaml`, and files that people write | [`yaml`]; written by [`to_yaml`] |
//!
//! What the Go decoder says of JSON that is none, clients know ([`go_json_fault`]), and how Go prints values
//! ([`go_printed`]).

mod go_json;
mod go_print;
pub mod protobuf;
pub mod yaml;
mod yaml_json;
mod yaml_keys;
mod yaml_told;
mod yaml_words;
mod yaml_write;

pub use go_json::go_json_fault;
pub use go_print::{go_base64_fault, go_escaped, go_kind, go_printed, go_quoted, go_spelled};
pub use yaml_write::write as to_yaml;
