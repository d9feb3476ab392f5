//! JSON to a tree, seeing what a plain reader does not: fields that stand twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::complete::{Extra, Path};
use super::model::Schema;

/// How many fields are told of that are unknown or stand twice, as many as upstream's reader tells of.
pub(super) const FAULTS_MAX: usize = 100;

/// Why bytes are not JSON.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct JsonFault(pub String);

/// Reads one JSON value and the paths of fields that stand more than once in their object (`spec.foo`,
/// `spec.ports[0].name`), in the order in which the repetitions were met. Of a repeated field the last one counts.
/// Values nested deeper than 128 levels are refused.
///
/// # Errors
/// When the bytes are not one JSON value.
pub fn read_json(bytes: &[u8]) -> Result<(Value, Vec<String>), JsonFault> {
    let Read { value, faults } = read(bytes, None, Extra::All)?;
    let path = |fault: String| {
        fault.strip_prefix("duplicate field \"").map_or(fault.clone(), |rest| rest.trim_end_matches('"').to_owned())
    };
    Ok((value, faults.into_iter().map(path).collect()))
}

/// A value that was read, and what was wrong with it.
pub(super) struct Read {
    pub(super) value: Value,
    /// Repeated and unknown fields, in the order of the text, in the API's words.
    pub(super) faults: Vec<String>,
}

/// Reads one JSON value. Where a schema is given, fields that it does not know are dropped.
pub(super) fn read(bytes: &[u8], schema: Option<&Schema>, extra: Extra) -> Result<Read, JsonFault> {
    let mut faults = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed { path: Path::Root, schema, extra, faults: &mut faults }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| JsonFault(error.to_string()))?;
    Ok(Read { value, faults })
}

struct Seed<'a> {
    path: Path<'a>,
    schema: Option<&'a Schema>,
    extra: Extra,
    faults: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Self { path, schema, extra, faults } = self;
        let schema = schema.and_then(Schema::items);
        let mut list = Vec::new();
        loop {
            let seed = Seed { path: Path::Item(&path, list.len()), schema, extra, faults: &mut *faults };
            match items.next_element_seed(seed)? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let Self { path, schema, extra, faults } = self;
        let object = schema.and_then(Schema::as_struct);
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let path = Path::Field(&path, &name);
            let known =
                object.is_none_or(|object| object.open || object.field(&name).is_some() || extra.knows(object, &name));
            if !known {
                if faults.len() < FAULTS_MAX {
                    faults.push(format!("unknown field \"{path}\""));
                }
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            if faults.len() < FAULTS_MAX && map.contains_key(&name) {
                faults.push(format!("duplicate field \"{path}\""));
            }
            let schema = schema.and_then(|schema| schema.field(&name));
            let value = entries.next_value_seed(Seed { path, schema, extra, faults: &mut *faults })?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn repeated_fields_are_seen_and_the_last_one_counts() {
        let (value, duplicates) =
            read_json(br#"{"a":1,"b":[{"c":1,"c":2}],"a":{"d":[],"d":null},"a":3}"#).expect("json");
        assert_eq!(value, json!({"a": 3, "b": [{"c": 2}]}));
        assert_eq!(duplicates, ["b[0].c", "a", "a.d", "a"]);
    }

    #[test]
    fn what_is_not_one_value_of_sane_depth_is_refused() {
        for bad in ["", "{", "{} {}", "nul", "[1,]"] {
            assert!(read_json(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(read_json("[".repeat(100_000).as_bytes()).is_err());
    }
}
