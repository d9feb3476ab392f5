//! What objects look like: types of fields, and what the API does with a body before anybody looks at it.
//!
//! A [`Schema`] says what a value is; a [`Struct`] is an object with named fields. Built-in types come from the data
//! files ([`builtin`]) and are built when they are first asked for; a custom resource brings its own.
//!
//! | step | function |
//! |---|---|
//! | bytes to a tree, seeing duplicate fields | [`read_json`] |
//! | unknown fields, type faults, what a round trip through Go drops or adds | [`decode`] |
//! | what no schema says | [`rules`](crate::rules) |

mod builtin;
mod decode;
mod json;
mod model;

pub use builtin::{builtin, builtin_type};
pub use decode::{Decoded, Faults, decode, decode_as, normalise};
pub use json::{JsonFault, read_json};
pub use model::{Field, ListKind, Merge, Schema, Shape, Struct, StructRef};
