//! From JSON to values of CEL and back.

use std::collections::HashMap;
use std::sync::Arc;

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
            for (key, value) in map.map.iter() {
                fields.insert(key.to_string(), from_cel(value)?);
            }
            Value::Object(fields)
        }
        CelValue::Opaque(opaque) => match opaque.downcast_ref::<OptionalValue>() {
            Some(optional) => optional.value().map_or(Ok(Value::Null), from_cel)?,
            None => return Err(format!("{} has no form in JSON", value.type_of())),
        },
        CelValue::Duration(duration) => Value::from(format!("{}s", duration.num_seconds())),
        CelValue::Timestamp(moment) => Value::from(moment.to_rfc3339()),
        CelValue::Function(name, _) => return Err(format!("{name} is a function")),
    })
}
