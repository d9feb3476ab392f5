//! From the wire to a tree.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};
use serde_json::{Map, Number, Value};

use super::ProtobufError;
use super::special;
use super::table::{Field, Form, Label, Message, TABLE, Type};
use crate::media::yaml::whole;

/// The bytes of a message that are not yet read.
pub(super) struct Reader<'a>(&'a [u8]);

const WRONG_WIRE_TYPE: ProtobufError = ProtobufError::Malformed("wrong wireType");
const TRUNCATED: ProtobufError = ProtobufError::Malformed("unexpected EOF");
const TOO_DEEP: ProtobufError = ProtobufError::Malformed("the message is nested too deep");

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next field's tag; `None` at the end.
    pub(super) fn key(&mut self) -> Result<Option<(u32, WireType)>, ProtobufError> {
        if self.is_empty() {
            return Ok(None);
        }
        decode_key(&mut self.0).map(Some).map_err(|_| ProtobufError::Malformed("illegal tag"))
    }

    pub(super) fn varint(&mut self, wire: WireType) -> Result<u64, ProtobufError> {
        if wire != WireType::Varint {
            return Err(WRONG_WIRE_TYPE);
        }
        decode_varint(&mut self.0).map_err(|_| ProtobufError::Malformed("integer overflow"))
    }

    fn double(&mut self, wire: WireType) -> Result<f64, ProtobufError> {
        if wire != WireType::SixtyFourBit {
            return Err(WRONG_WIRE_TYPE);
        }
        self.0.try_get_f64_le().map_err(|_| TRUNCATED)
    }

    pub(super) fn bytes(&mut self, wire: WireType) -> Result<&'a [u8], ProtobufError> {
        if wire != WireType::LengthDelimited {
            return Err(WRONG_WIRE_TYPE);
        }
        let length = decode_varint(&mut self.0).map_err(|_| ProtobufError::Malformed("integer overflow"))?;
        let length = usize::try_from(length).map_err(|_| TRUNCATED)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self, wire: WireType) -> Result<&'a str, ProtobufError> {
        std::str::from_utf8(self.bytes(wire)?).map_err(|_| ProtobufError::Malformed("a string is not UTF-8"))
    }

    /// Leaves out a field that the table does not know.
    pub(super) fn skip(&mut self, wire: WireType) -> Result<(), ProtobufError> {
        let length = match wire {
            WireType::Varint => return self.varint(wire).map(drop),
            WireType::LengthDelimited => return self.bytes(wire).map(drop),
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::StartGroup | WireType::EndGroup => return Err(ProtobufError::Malformed("groups are not read")),
        };
        self.0 = self.0.get(length..).ok_or(TRUNCATED)?;
        Ok(())
    }
}

/// Reads a message into an object. Fields it has already are replaced, merged or added to, as protobuf has it.
pub(super) fn message(
    message: &Message,
    bytes: &[u8],
    into: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.key()? {
        match message.fields.binary_search_by_key(&tag, |field| field.tag).ok().and_then(|at| message.fields.get(at)) {
            None => reader.skip(wire)?,
            Some(field) => one_field(field, &mut reader, wire, into, depth)?,
        }
    }
    Ok(())
}

fn one_field(
    field: &Field,
    reader: &mut Reader<'_>,
    wire: WireType,
    into: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    match field.label {
        Label::Inline => {
            let bytes = reader.bytes(wire)?;
            match field.ty {
                Type::Message(at) => message(get(at)?, bytes, into, depth),
                _ => Err(WRONG_WIRE_TYPE),
            }
        }
        Label::One => {
            let old = into.remove(field.json.as_ref());
            if let Some(new) = value(field.ty, reader, wire, old, depth)? {
                into.insert(field.json.clone().into_owned(), new);
            }
            Ok(())
        }
        Label::Repeated => {
            let list = into.entry(field.json.as_ref()).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(items) = list else { return Ok(()) };
            if is_packed(field.ty, wire) {
                let mut packed = Reader::new(reader.bytes(wire)?);
                while !packed.is_empty() {
                    items.extend(value(field.ty, &mut packed, WireType::Varint, None, depth)?);
                }
                return Ok(());
            }
            items.push(value(field.ty, reader, wire, None, depth)?.unwrap_or(Value::Null));
            Ok(())
        }
        Label::Map => {
            let map = into.entry(field.json.as_ref()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(entries) = map else { return Ok(()) };
            let (key, value) = entry(field.ty, reader.bytes(wire)?, depth)?;
            entries.insert(key, value);
            Ok(())
        }
    }
}

fn is_packed(ty: Type, wire: WireType) -> bool {
    wire == WireType::LengthDelimited && matches!(ty, Type::Bool | Type::Int32 | Type::Int64)
}

fn entry(ty: Type, bytes: &[u8], depth: usize) -> Result<(String, Value), ProtobufError> {
    let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
    let mut reader = Reader::new(bytes);
    let (mut key, mut found) = (String::new(), None);
    while let Some((tag, wire)) = reader.key()? {
        match tag {
            1 => key = reader.text(wire)?.to_owned(),
            2 => found = value(ty, &mut reader, wire, found, depth)?,
            _ => reader.skip(wire)?,
        }
    }
    let value = match (found, ty) {
        (Some(value), _) => value,
        (None, Type::String | Type::Bytes) => Value::from(""),
        (None, Type::Message(at)) => empty(get(at)?),
        (None, _) => Value::Null,
    };
    Ok((key, value))
}

fn empty(message: &Message) -> Value {
    match message.form {
        Form::Object => Value::Object(Map::new()),
        Form::Quantity => Value::from("0"),
        Form::List => Value::Array(Vec::new()),
        _ => Value::Null,
    }
}

/// One value. A message is merged into the one that was there before. `None` is an absent one: the zero time.
fn value(
    ty: Type,
    reader: &mut Reader<'_>,
    wire: WireType,
    old: Option<Value>,
    depth: usize,
) -> Result<Option<Value>, ProtobufError> {
    Ok(Some(match ty {
        Type::Bool => Value::Bool(reader.varint(wire)? != 0),
        Type::Int64 => Value::from(reader.varint(wire)?.cast_signed()),
        #[allow(clippy::cast_possible_truncation)] // as protobuf has it: the upper bits of an int32 do not count
        Type::Int32 => Value::from(reader.varint(wire)? as u32 as i32),
        Type::Double => {
            let number = Number::from_f64(reader.double(wire)?);
            Value::Number(whole(number.ok_or(ProtobufError::Malformed("a number is not finite"))?))
        }
        Type::String => Value::from(reader.text(wire)?),
        Type::Bytes => Value::from(STANDARD.encode(reader.bytes(wire)?)),
        Type::Message(at) => {
            let found = get(at)?;
            let bytes = reader.bytes(wire)?;
            if found.form != Form::Object {
                return special::decode(found, bytes, depth);
            }
            let mut fields = match old {
                Some(Value::Object(fields)) => fields,
                _ => Map::new(),
            };
            message(found, bytes, &mut fields, depth)?;
            Value::Object(fields)
        }
    }))
}

fn get(at: usize) -> Result<&'static Message, ProtobufError> {
    TABLE.get(at).ok_or(ProtobufError::Malformed("unknown message"))
}
