//! From a body to an object: unknown and repeated fields, type faults, and the form in which the API writes it.

use serde_json::Value;

use super::complete::{Complete, Extra};
use super::json::{self, Read};
use super::model::Schema;
use crate::catalog::Kind;
use crate::encoded::Dialect;
use crate::kind::TypeMeta;
use crate::object::Object;
use crate::status::Status;

/// What is wrong with a body, yet does not keep it from being read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Faults in the API's words, such as `unknown field "spec.foo"`, in the API's order.
    pub list: Vec<String>,
}

impl Faults {
    /// The text of a strict refusal, such as `strict decoding error: unknown field "spec.foo"`.
    #[must_use]
    pub fn strict_text(&self) -> String {
        format!("strict decoding error: {}", self.list.join(", "))
    }

    /// The refusal of a body with these faults: 400. `None` when there are none.
    #[must_use]
    pub fn refusal(&self, type_meta: &TypeMeta) -> Option<Status> {
        (!self.list.is_empty()).then(|| cannot_be_handled(type_meta, &self.strict_text()))
    }
}

/// A body that was read.
#[derive(Debug)]
pub struct Decoded {
    /// The object: unknown fields gone, values as the API writes them, defaults set.
    pub object: Object,
    /// Unknown and repeated fields: the road refuses, warns of, or ignores them, as `fieldValidation` asks.
    pub faults: Faults,
}

/// Reads a JSON body of a kind, seeing repeated fields.
///
/// `dialect` says which fields of `metadata` beyond plain Kubernetes the body may have (`tenant`, `arktosNotes`); they
/// are left where they are.
///
/// # Errors
/// 400 when the bytes are not JSON, or a value has the wrong type, in the Go decoder's words.
pub fn read(kind: &Kind, bytes: &[u8], dialect: Dialect) -> Result<Decoded, Status> {
    read_as(&kind.schema, &kind.type_meta, bytes, dialect)
}

/// As [`read`], for a type that need not be a kind's, such as that of a subresource.
///
/// # Errors
/// As [`read`].
pub fn read_as(schema: &Schema, type_meta: &TypeMeta, bytes: &[u8], dialect: Dialect) -> Result<Decoded, Status> {
    let Read { value, faults } = json::read(bytes, Some(schema), dialect.into())
        .map_err(|fault| cannot_be_handled(type_meta, &fault.to_string()))?;
    let mut decoded = decode_as(schema, type_meta, value, dialect)?;
    decoded.faults.list.splice(0..0, faults);
    Ok(decoded)
}

/// Reads a body that is a tree already (patched, or from another encoding): unknown fields are found, repeated ones
/// are the reader's business.
///
/// # Errors
/// As [`read`].
pub fn decode(kind: &Kind, value: Value, dialect: Dialect) -> Result<Decoded, Status> {
    decode_as(&kind.schema, &kind.type_meta, value, dialect)
}

/// As [`decode`], for a type that need not be a kind's.
///
/// # Errors
/// As [`read`].
pub fn decode_as(schema: &Schema, type_meta: &TypeMeta, mut value: Value, dialect: Dialect) -> Result<Decoded, Status> {
    let mut complete = Complete::new(dialect.into());
    complete.root(schema, &mut value).map_err(|fault| cannot_be_handled(type_meta, &fault))?;
    let faults = Faults { list: complete.faults };
    let mut object = Object::from_value(value).ok_or_else(|| Status::bad_request("the body is not an object"))?;
    for (field, text) in [("apiVersion", &type_meta.api_version), ("kind", &type_meta.kind)] {
        if object.str_at(&[field]).is_empty() {
            object.set(&[field], text.as_str());
        }
    }
    Ok(Decoded { object, faults })
}

/// Brings an object into the form in which the API writes it, and sets defaults: what [`decode`] does to a body, once
/// more, after admission plugins had their say. Unknown fields are dropped.
///
/// # Errors
/// As [`decode`].
pub fn complete(kind: &Kind, object: &mut Object) -> Result<(), Status> {
    let mut value = Value::Object(std::mem::take(&mut object.fields));
    let done = Complete::new(Extra::All).root(&kind.schema, &mut value);
    if let Value::Object(fields) = value {
        object.fields = fields;
    }
    done.map_err(|fault| cannot_be_handled(&kind.type_meta, &fault))
}

fn cannot_be_handled(type_meta: &TypeMeta, why: &str) -> Status {
    let TypeMeta { kind, .. } = type_meta;
    Status::bad_request(format!("{kind} in version \"{}\" cannot be handled as a {kind}: {why}", type_meta.version()))
}

impl From<Dialect> for Extra {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Plain => Self::None,
            Dialect::Arktos => Self::Tenant,
            Dialect::Region => Self::All,
        }
    }
}
