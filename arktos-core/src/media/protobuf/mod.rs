//! Objects in protobuf, as Go clients send them: the bytes `k8s\0`, then a message that names the type and holds the
//! object.
//!
//! ```text
//!   k8s\0   { typeMeta { apiVersion "v1", kind "Pod" }, raw { …the Pod message… }, contentType "" }
//! ```
//!
//! There are no generated message types here: a table of fields (`data/schemas/proto.json`, with the tags that Arktos
//! added) drives one decoder from the wire to a tree and one encoder back. The result of decoding is what the same Go
//! client would have sent as JSON, but for one thing: Go writes the zero value of every field that is not a pointer,
//! and the table cannot tell those from a zero that was meant. They are in the tree, and the schema's knowledge of the
//! type ([`crate::schema`]) drops them.

mod decode;
mod encode;
mod list;
mod special;
mod table;

use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Map, Value};

use crate::kind::TypeMeta;
use decode::Reader;
pub use list::ListWriter;
use table::TABLE;

/// What every message begins with.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// How deep a message may be nested: what is deeper could not be read back once it is stored.
const MAX_DEPTH: usize = 100;

/// Why bytes are not an object, or a value cannot be written as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtobufError {
    /// The bytes do not begin with [`MAGIC`].
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    /// The bytes are [`MAGIC`] and nothing else.
    #[error("empty body")]
    Empty,
    /// The bytes name no type.
    #[error("Object 'Kind' is missing in protobuf message")]
    NoType,
    /// There is no message for the type: it can travel as JSON only.
    #[error("no kind \"{kind}\" is registered for version \"{version}\" in protobuf")]
    UnknownType {
        /// The `apiVersion`.
        version: String,
        /// The `kind`.
        kind: String,
    },
    /// The bytes are not what the type's message looks like.
    #[error("proto: {0}")]
    Malformed(&'static str),
    /// A field has a value that its type cannot hold.
    #[error("field \"{field}\" cannot be written as protobuf: {why}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong.
        why: &'static str,
    },
}

/// Whether there is a message for a type. Arktos's own kinds and custom resources have none.
#[must_use]
pub fn knows(type_meta: &TypeMeta) -> bool {
    TABLE.message(type_meta).is_some()
}

/// Reads an object, its envelope included. `apiVersion` and `kind` are put into the tree.
///
/// # Errors
/// When the bytes are malformed, or the type has no message.
pub fn decode(bytes: &[u8]) -> Result<(TypeMeta, Value), ProtobufError> {
    decode_within(bytes, MAX_DEPTH)
}

fn decode_within(bytes: &[u8], depth: usize) -> Result<(TypeMeta, Value), ProtobufError> {
    let envelope = Envelope::read(bytes)?;
    let type_meta = envelope.type_meta;
    let mut fields = if envelope.content_type == b"application/json" {
        match special::json(envelope.raw, depth)? {
            Value::Object(fields) => fields,
            _ => return Err(ProtobufError::Malformed("the JSON within is not an object")),
        }
    } else {
        decode_bare(&type_meta, envelope.raw, depth)?
    };
    fields.insert("apiVersion".to_owned(), Value::from(type_meta.api_version.as_str()));
    fields.insert("kind".to_owned(), Value::from(type_meta.kind.as_str()));
    Ok((type_meta, Value::Object(fields)))
}

fn decode_bare(type_meta: &TypeMeta, raw: &[u8], depth: usize) -> Result<Map<String, Value>, ProtobufError> {
    let message = TABLE.message(type_meta).ok_or_else(|| unknown(type_meta))?;
    let mut fields = Map::new();
    decode::message(message, raw, &mut fields, depth)?;
    Ok(fields)
}

/// Writes an object, its envelope included. `apiVersion` and `kind` in the tree are not looked at; fields that the
/// message does not have are left out.
///
/// # Errors
/// When the type has no message, or a field holds a value of the wrong type.
pub fn encode(type_meta: &TypeMeta, value: &Value) -> Result<Vec<u8>, ProtobufError> {
    let message = TABLE.message(type_meta).ok_or_else(|| unknown(type_meta))?;
    let Value::Object(fields) = value else {
        return Err(ProtobufError::Field { field: String::new(), why: "an object is expected" });
    };
    let mut raw = Vec::new();
    encode::message(message, fields, &mut raw)?;
    Ok(in_envelope(type_meta, &raw))
}

/// Writes an event of a watch, as one frame of the stream: its length in four bytes, then the message `WatchEvent`.
/// `object` is what [`encode`] wrote.
#[must_use]
pub fn watch_event(event: &str, object: &[u8]) -> Vec<u8> {
    let mut held = Vec::with_capacity(object.len() + 8);
    put_bytes(&mut held, 1, object);
    let mut out = vec![0; 4];
    put_bytes(&mut out, 1, event.as_bytes());
    put_bytes(&mut out, 2, &held);
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX); // objects are a few MiB at most
    if let Some(head) = out.first_chunk_mut() {
        *head = length.to_be_bytes();
    }
    out
}

/// Puts a message into the envelope that says its type.
fn in_envelope(type_meta: &TypeMeta, raw: &[u8]) -> Vec<u8> {
    let mut type_bytes = Vec::new();
    put_bytes(&mut type_bytes, 1, type_meta.api_version.as_bytes());
    put_bytes(&mut type_bytes, 2, type_meta.kind.as_bytes());
    let mut out = Vec::with_capacity(raw.len() + type_bytes.len() + 24);
    out.extend_from_slice(MAGIC);
    put_bytes(&mut out, 1, &type_bytes);
    put_bytes(&mut out, 2, raw);
    put_bytes(&mut out, 3, b"");
    put_bytes(&mut out, 4, b"");
    out
}

fn unknown(type_meta: &TypeMeta) -> ProtobufError {
    ProtobufError::UnknownType { version: type_meta.api_version.clone(), kind: type_meta.kind.clone() }
}

/// Writes a field that has a length.
fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// What stands around every object (`runtime.Unknown`).
struct Envelope<'a> {
    type_meta: TypeMeta,
    raw: &'a [u8],
    content_type: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ProtobufError> {
        let body = bytes.strip_prefix(MAGIC.as_slice()).ok_or(ProtobufError::NoMagic)?;
        if body.is_empty() {
            return Err(ProtobufError::Empty);
        }
        let mut reader = Reader::new(body);
        let (mut type_bytes, mut raw, mut content_type): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
        while let Some((tag, wire)) = reader.key()? {
            match tag {
                1 => type_bytes = reader.bytes(wire)?,
                2 => raw = reader.bytes(wire)?,
                4 => content_type = reader.bytes(wire)?,
                _ => reader.skip(wire)?,
            }
        }
        let mut reader = Reader::new(type_bytes);
        let (mut api_version, mut kind) = ("", "");
        while let Some((tag, wire)) = reader.key()? {
            match tag {
                1 => api_version = reader.text(wire)?,
                2 => kind = reader.text(wire)?,
                _ => reader.skip(wire)?,
            }
        }
        if kind.is_empty() {
            return Err(ProtobufError::NoType);
        }
        let type_meta = TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() };
        Ok(Self { type_meta, raw, content_type })
    }
}
