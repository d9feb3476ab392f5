//! What objects look like: types of fields, and what the API does with a body before anybody looks at it.
//!
//! A [`Schema`] says what a value is; a [`Struct`] is an object with named fields. Built-in types come from the data
//! files ([`builtin`]) and are built when they are first asked for; a custom resource brings its own.
//!
//! | step | function |
//! |---|---|
//! | a JSON body: repeated and unknown fields, type faults, the form in which the API writes it, defaults | [`read`] |
//! | the same for a body that is a tree already (YAML, protobuf, a patched object) | [`decode`] |
//! | the same once more, after admission plugins | [`complete`] |
//! | bytes to a tree, seeing repeated fields, without a schema | [`read_json`] |
//! | what no schema says | [`rules`](crate::rules) |

pub(crate) mod builtin;
mod complete;
mod decode;
mod json;
mod model;
mod moment;
mod places;

pub use builtin::{builtin, builtin_type, is_named_text, written};
pub(crate) use complete::Path;
pub use decode::{Decoded, Faults, complete, decode, decode_applied, decode_as, read, read_as};
pub(crate) use decode::{cannot_be_handled, metadata};
pub use json::{JsonFault, read_json};
pub use model::{Field, ListKind, Merge, Schema, Shape, Struct, StructRef};
