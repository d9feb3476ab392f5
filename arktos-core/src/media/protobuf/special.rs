//! Messages that stand for something else than an object in JSON.

use serde_json::{Map, Value};

use super::decode::Reader;
use super::encode::put_varint;
use super::table::{Form, Message};
use super::{MAGIC, ProtobufError, decode as decode_message, put_bytes};
use crate::merge::is_shallow;
use crate::time::Timestamp;

/// The years 1 to 9999, in seconds: what RFC 3339 can write.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Reads a message that is no object. `None` is the zero time.
pub(super) fn decode(message: &Message, bytes: &[u8], depth: usize) -> Result<Option<Value>, ProtobufError> {
    match message.form {
        Form::Time | Form::MicroTime => time(bytes, message.form == Form::MicroTime),
        Form::Quantity => Ok(Some(Value::from(fields(bytes)?.text.unwrap_or("0")))),
        Form::IntOrString => int_or_string(bytes).map(Some),
        Form::Raw => raw(bytes, depth).map(Some),
        Form::Object | Form::List | Form::SchemaOrList | Form::SchemaOrBool | Form::SchemaOrNames => {
            let mut fields = Map::new();
            decode_message::message(message, bytes, &mut fields, depth)?;
            Ok(Some(unwrapped(message.form, fields)))
        }
    }
}

fn unwrapped(form: Form, mut fields: Map<String, Value>) -> Value {
    let schema = fields.remove("schema");
    match form {
        Form::List => fields.remove("items").unwrap_or_else(|| Value::Array(Vec::new())),
        Form::SchemaOrList => fields.remove("jSONSchemas").or(schema).unwrap_or_default(),
        Form::SchemaOrBool => schema.or_else(|| fields.remove("allows")).unwrap_or(Value::Bool(false)),
        Form::SchemaOrNames => fields.remove("property").or(schema).unwrap_or_default(),
        _ => Value::Object(fields),
    }
}

/// Writes a value as a message that is no object.
pub(super) fn encode(message: &Message, value: &Value, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    let wrap = |name: &str, value: &Value| Map::from_iter([(name.to_owned(), value.clone())]);
    let fields = match (message.form, value) {
        (_, Value::Null) => return Ok(()),
        (Form::Time | Form::MicroTime, Value::String(text)) => return put_time(text, out),
        (Form::Quantity, Value::String(text)) => {
            put_bytes(out, 1, text.as_bytes());
            return Ok(());
        }
        (Form::Quantity, Value::Number(number)) => {
            put_bytes(out, 1, number.to_string().as_bytes());
            return Ok(());
        }
        (Form::IntOrString, value) => return put_int_or_string(value, out),
        (Form::Raw, value) => {
            put_bytes(out, 1, value.to_string().as_bytes());
            return Ok(());
        }
        (Form::List, Value::Array(_)) => wrap("items", value),
        (Form::SchemaOrList, Value::Array(_)) => wrap("jSONSchemas", value),
        (Form::SchemaOrBool, Value::Bool(_)) => wrap("allows", value),
        (Form::SchemaOrBool, Value::Object(_)) => {
            Map::from_iter([("allows".to_owned(), Value::Bool(true)), ("schema".to_owned(), value.clone())])
        }
        (Form::SchemaOrNames, Value::Array(_)) => wrap("property", value),
        (Form::SchemaOrList | Form::SchemaOrNames, Value::Object(_)) => wrap("schema", value),
        _ => return Err(ProtobufError::Malformed("a value of another type is expected")),
    };
    super::encode::message(message, &fields, out)
}

/// The scalar fields that these messages have: two numbers and a text or bytes.
#[derive(Default)]
struct Scalars<'a> {
    first: u64,
    second: u64,
    text: Option<&'a str>,
}

/// Reads scalars: numbers at tags 1 and 2, text at tag 1 or 3.
fn fields(bytes: &[u8]) -> Result<Scalars<'_>, ProtobufError> {
    let mut out = Scalars::default();
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.key()? {
        match (tag, wire) {
            (1 | 3, prost::encoding::WireType::LengthDelimited) => out.text = Some(reader.text(wire)?),
            (1, _) => out.first = reader.varint(wire)?,
            (2, _) => out.second = reader.varint(wire)?,
            _ => reader.skip(wire)?,
        }
    }
    Ok(out)
}

fn time(bytes: &[u8], micro: bool) -> Result<Option<Value>, ProtobufError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let scalars = fields(bytes)?;
    let seconds = scalars.first.cast_signed();
    if !SECONDS.contains(&seconds) {
        return Err(ProtobufError::Malformed("a time is out of range"));
    }
    if !micro {
        return Ok(Some(Value::from(Timestamp::from_micros(seconds * 1_000_000).to_string())));
    }
    let micros = i64::try_from(scalars.second / 1000).ok().filter(|micros| *micros < 1_000_000);
    let micros = micros.ok_or(ProtobufError::Malformed("a time is out of range"))?;
    Ok(Some(Value::from(Timestamp::from_micros(seconds * 1_000_000 + micros).to_micro_string())))
}

fn put_time(text: &str, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    let moment = Timestamp::parse(text).ok_or(ProtobufError::Malformed("a time in RFC 3339 is expected"))?;
    let nanos = moment.as_micros().rem_euclid(1_000_000) * 1000;
    put_varint(out, 1, moment.as_seconds().cast_unsigned());
    put_varint(out, 2, nanos.cast_unsigned());
    Ok(())
}

#[allow(clippy::cast_possible_truncation)] // as protobuf has it: the upper bits of an int32 do not count
fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let scalars = fields(bytes)?;
    match scalars.first {
        0 => Ok(Value::from(scalars.second as u32 as i32)),
        1 => Ok(Value::from(scalars.text.unwrap_or_default())),
        _ => Err(ProtobufError::Malformed("impossible IntOrString.Type")),
    }
}

fn put_int_or_string(value: &Value, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    let (kind, number, text) = match value {
        Value::String(text) => (1, 0, text.as_str()),
        other => {
            let number = other.as_i64().and_then(|number| i32::try_from(number).ok());
            (0, number.ok_or(ProtobufError::Malformed("an integer or a string is expected"))?, "")
        }
    };
    put_varint(out, 1, kind);
    put_varint(out, 2, i64::from(number).cast_unsigned());
    put_bytes(out, 3, text.as_bytes());
    Ok(())
}

/// Bytes that hold JSON, or an object with an envelope of its own.
fn raw(bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    let mut reader = Reader::new(bytes);
    let mut found: &[u8] = &[];
    while let Some((tag, wire)) = reader.key()? {
        match tag {
            1 => found = reader.bytes(wire)?,
            _ => reader.skip(wire)?,
        }
    }
    if found.starts_with(MAGIC) {
        let depth = depth.checked_sub(1).ok_or(ProtobufError::Malformed("the message is nested too deep"))?;
        return super::decode_within(found, depth).map(|(_, value)| value);
    }
    if found.is_empty() { Ok(Value::Null) } else { json(found, depth) }
}

/// JSON within protobuf.
pub(super) fn json(bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    let value = serde_json::from_slice(bytes).map_err(|_| ProtobufError::Malformed("the bytes within are not JSON"))?;
    if is_shallow(&value, depth) { Ok(value) } else { Err(ProtobufError::Malformed("the message is nested too deep")) }
}
