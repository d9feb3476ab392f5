//! From JSON to values of CEL and back.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::SecondsFormat;
use kube_cel::cel::Value as CelValue;
use kube_cel::cel::objects::{Key, Map as CelMap, OptionalValue};
use serde_json::{Map, Number, Value};

pub(super) fn to_cel(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => CelValue::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => CelValue::Int(number),
            (None, Some(number)) => CelValue::UInt(number),
            (None, None) => CelValue::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let fields: HashMap<Key, CelValue> =
                fields.iter().map(|(name, value)| (Key::String(Arc::new(name.clone())), to_cel(value))).collect();
            CelValue::Map(CelMap { map: Arc::new(fields) })
        }
    }
}

/// What it costs to make a value of a JSON one.
pub(super) fn weight(value: &Value) -> u64 {
    const NODE: u64 = 4;
    let text = |text: &str| text.len() as u64 / 64;
    NODE + match value {
        Value::String(own) => text(own),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(fields) => fields.iter().map(|(name, field)| text(name) + weight(field)).sum(),
        _ => 0,
    }
}

/// The key under which an object that is made has the name of its type. No JSON object has it.
pub(super) const TYPE: &str = "\u{0}type";

/// # Errors
/// For values that JSON does not know.
pub(super) fn from_cel(value: &CelValue) -> Result<Value, String> {
    Ok(match value {
        CelValue::Null => Value::Null,
        CelValue::Bool(flag) => Value::Bool(*flag),
        CelValue::Int(number) => Value::from(*number),
        CelValue::UInt(number) => Value::from(*number),
        CelValue::Float(number) => {
            Value::Number(Number::from_f64(*number).ok_or_else(|| format!("{number} is not a number"))?)
        }
        CelValue::String(text) => Value::from(text.as_str()),
        CelValue::Bytes(bytes) => {
            use base64::Engine as _;
            Value::from(base64::engine::general_purpose::STANDARD.encode(bytes.as_slice()))
        }
        CelValue::List(items) => items.iter().map(from_cel).collect::<Result<Vec<Value>, String>>()?.into(),
        CelValue::Map(map) => {
            let mut fields = Map::new();
            for (key, value) in map.map.iter().filter(|(key, _)| !is_type(key)) {
                fields.insert(key.to_string(), from_cel(value)?);
            }
            Value::Object(fields)
        }
        CelValue::Opaque(opaque) => match opaque.downcast_ref::<OptionalValue>() {
            Some(optional) => optional.value().map_or(Ok(Value::Null), from_cel)?,
            None => return Err(format!("{} has no form in JSON", value.type_of())),
        },
        CelValue::Duration(duration) => Value::from(format!("{}s", duration.num_seconds())),
        CelValue::Timestamp(moment) => Value::from(moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        CelValue::Function(name, _) => return Err(format!("{name} is a function")),
    })
}

fn is_type(key: &Key) -> bool {
    matches!(key, Key::String(name) if name.as_str() == TYPE)
}

/// The name of the type of an object that is made.
fn type_name(value: &CelValue) -> Option<&str> {
    match value {
        CelValue::Map(map) => match map.map.get(&Key::from(TYPE)) {
            Some(CelValue::String(name)) => Some(name.as_str()),
            _ => None,
        },
        _ => None,
    }
}

/// The value of a step of a patch.
pub(super) fn of_step(step: &CelValue) -> Option<&CelValue> {
    match step {
        CelValue::Map(map) => map.map.get(&Key::from("value")),
        _ => None,
    }
}

/// What is said of objects whose types' names do not say where they stand.
pub(super) fn misplaced(value: &CelValue) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(name) = type_name(value) {
        misplaced_in(value, name, &mut faults);
    }
    faults
}

fn misplaced_in(value: &CelValue, place: &str, faults: &mut Vec<String>) {
    const MOST: usize = 100;
    if faults.len() >= MOST {
        return;
    }
    match value {
        CelValue::List(items) => items.iter().for_each(|item| misplaced_in(item, place, faults)),
        CelValue::Map(map) => {
            let name = type_name(value);
            if let Some(name) = name.filter(|name| *name != place) {
                faults.push(format!(
                    "unexpected type name {name:?}, expected {place:?}, which matches field name path from root \
                     Object type"
                ));
            }
            for (key, inner) in map.map.iter().filter(|(key, _)| !is_type(key)) {
                match name {
                    Some(_) => misplaced_in(inner, &format!("{place}.{key}"), faults),
                    None => misplaced_in(inner, place, faults),
                }
            }
        }
        _ => {}
    }
}

/// A value as part of a change: numbers are what they come to, and what JSON has no form for is none that a field has.
///
/// # Errors
/// As [`from_cel`].
pub(super) fn changed(value: &CelValue, applied: bool) -> Result<Value, String> {
    #[allow(clippy::cast_possible_truncation)]
    Ok(match value {
        CelValue::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Value::from(*number as i64),
        CelValue::Bytes(bytes) if applied => bytes.iter().map(|byte| Value::from(*byte)).collect(),
        CelValue::Timestamp(moment) if applied => Value::from(moment.timestamp()),
        CelValue::Duration(duration) if applied => Value::from(duration.num_nanoseconds().unwrap_or(i64::MAX)),
        CelValue::List(items) => {
            items.iter().map(|item| changed(item, applied)).collect::<Result<Vec<Value>, String>>()?.into()
        }
        CelValue::Map(map) => {
            let mut fields = Map::new();
            for (key, value) in map.map.iter().filter(|(key, _)| !is_type(key)) {
                fields.insert(key.to_string(), changed(value, applied)?);
            }
            Value::Object(fields)
        }
        other => from_cel(other)?,
    })
}
