//! Lists, written item by item: the tree of a whole list would be many times as large as its bytes.

use serde_json::{Map, Value};

use super::table::{Message, TABLE, Type};
use super::{ProtobufError, encode, in_envelope, put_bytes, unknown};
use crate::kind::TypeMeta;

/// The tags that every list's message has.
const METADATA: u32 = 1;
const ITEMS: u32 = 2;

/// Writes a list.
pub struct ListWriter {
    types: TypeMeta,
    item: &'static Message,
    raw: Vec<u8>,
}

impl ListWriter {
    /// A list of a type, `PodList` say, with its metadata and no items.
    ///
    /// # Errors
    /// When the type has no message, or is no list, or the metadata has a value of the wrong type.
    pub fn new(types: TypeMeta, metadata: &Value) -> Result<Self, ProtobufError> {
        let message = TABLE.message(&types).ok_or_else(|| unknown(&types))?;
        let of = |tag| {
            let field = message.fields.iter().find(|field| field.tag == tag)?;
            if let Type::Message(at) = field.ty { TABLE.get(at) } else { None }
        };
        let (Some(of_metadata), Some(item)) = (of(METADATA), of(ITEMS)) else { return Err(unknown(&types)) };
        let mut bytes = Vec::new();
        encode::message(of_metadata, metadata.as_object().unwrap_or(&Map::new()), &mut bytes)?;
        let mut raw = Vec::new();
        put_bytes(&mut raw, METADATA, &bytes);
        Ok(Self { types, item, raw })
    }

    /// Adds an item.
    ///
    /// # Errors
    /// When a field holds a value of the wrong type.
    pub fn push(&mut self, item: &Value) -> Result<(), ProtobufError> {
        let Value::Object(fields) = item else {
            return Err(ProtobufError::Field { field: "items".to_owned(), why: "an object is expected" });
        };
        let mut bytes = Vec::new();
        encode::message(self.item, fields, &mut bytes)?;
        put_bytes(&mut self.raw, ITEMS, &bytes);
        Ok(())
    }

    /// The list, its envelope included.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        in_envelope(&self.types, &self.raw)
    }
}
