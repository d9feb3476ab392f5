//! From a tree to the wire.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Map, Value};

use super::table::{Field, Form, Label, Message, TABLE, Type};
use super::{ProtobufError, put_bytes, special};

/// Writes an object's fields, in the order of their tags. `null` is not written.
pub(super) fn message(message: &Message, fields: &Map<String, Value>, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    for field in &message.fields {
        if field.label == Label::Inline {
            inline(field, fields, out)?;
        } else if let Some(value) = fields.get(field.json.as_ref()).filter(|value| !value.is_null()) {
            one_field(field, value, out)?;
        }
    }
    Ok(())
}

fn inline(field: &Field, fields: &Map<String, Value>, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    let Type::Message(at) = field.ty else { return Ok(()) };
    let Some(inner) = TABLE.get(at) else { return Ok(()) };
    let mut bytes = Vec::new();
    message(inner, fields, &mut bytes)?;
    put_bytes(out, field.tag, &bytes);
    Ok(())
}

fn one_field(field: &Field, value: &Value, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    let wrong = |why| ProtobufError::Field { field: field.json.clone().into_owned(), why };
    match field.label {
        Label::Repeated => {
            for item in value.as_array().ok_or_else(|| wrong("a list is expected"))? {
                one(field, field.tag, item, out)?;
            }
        }
        Label::Map => {
            for (key, item) in value.as_object().ok_or_else(|| wrong("a map is expected"))? {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                one(field, 2, item, &mut entry)?;
                put_bytes(out, field.tag, &entry);
            }
        }
        Label::One | Label::Inline => one(field, field.tag, value, out)?,
    }
    Ok(())
}

fn one(field: &Field, tag: u32, value: &Value, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    let wrong = |why| ProtobufError::Field { field: field.json.clone().into_owned(), why };
    match field.ty {
        Type::Bool => put_varint(out, tag, u64::from(value.as_bool().ok_or_else(|| wrong("a boolean is expected"))?)),
        Type::Int32 => {
            let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
            let number = number.ok_or_else(|| wrong("an integer of 32 bits is expected"))?;
            put_varint(out, tag, i64::from(number).cast_unsigned());
        }
        Type::Int64 => {
            let number = value.as_i64().ok_or_else(|| wrong("an integer is expected"))?;
            put_varint(out, tag, number.cast_unsigned());
        }
        Type::Double => {
            let number = value.as_f64().ok_or_else(|| wrong("a number is expected"))?;
            encode_key(tag, WireType::SixtyFourBit, out);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Type::String => {
            put_bytes(out, tag, value.as_str().ok_or_else(|| wrong("a string is expected"))?.as_bytes());
        }
        Type::Bytes => {
            let text = value.as_str().ok_or_else(|| wrong("bytes in base64 are expected"))?;
            put_bytes(out, tag, &STANDARD.decode(text).map_err(|_| wrong("bytes in base64 are expected"))?);
        }
        Type::Message(at) => {
            let Some(inner) = TABLE.get(at) else { return Ok(()) };
            let mut bytes = Vec::new();
            if inner.form == Form::Object {
                // A null item of a list or map is an empty message.
                match value {
                    Value::Object(fields) => message(inner, fields, &mut bytes)?,
                    Value::Null => {}
                    _ => return Err(wrong("an object is expected")),
                }
            } else {
                special::encode(inner, value, &mut bytes).map_err(|error| match error {
                    ProtobufError::Malformed(why) => wrong(why),
                    other => other,
                })?;
            }
            put_bytes(out, tag, &bytes);
        }
    }
    Ok(())
}

/// Writes a number.
pub(super) fn put_varint(out: &mut Vec<u8>, tag: u32, number: u64) {
    encode_key(tag, WireType::Varint, out);
    encode_varint(number, out);
}
