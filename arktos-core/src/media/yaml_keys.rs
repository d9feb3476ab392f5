//! Keys of maps in YAML. They are texts in the end, and read as any plain scalar before: `y`, `on` and `true` are one
//! key, and `'y'` is another.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A key, as it is written in JSON.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) text: String,
    /// Whether it was something else than a text.
    is_other: bool,
}

impl Key {
    fn text(text: String) -> Self {
        Self { text, is_other: false }
    }

    fn other(value: &dyn fmt::Display) -> Self {
        Self { text: value.to_string(), is_other: true }
    }
}

/// As Go prints what it was.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_other { f.write_str(&self.text) } else { write!(f, "{:?}", self.text) }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key of a map")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Key, E> {
        Ok(Key::other(&value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Key, E> {
        Ok(Key::other(&value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Key, E> {
        Ok(Key::other(&value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Key, E> {
        Ok(match value {
            f64::INFINITY => Key::other(&".inf"),
            f64::NEG_INFINITY => Key::other(&"-.inf"),
            value if value.is_nan() => Key::other(&".nan"),
            value => Key::other(&value),
        })
    }

    fn visit_str<E>(self, text: &str) -> Result<Key, E> {
        Ok(Key::text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Key, E> {
        Ok(Key::text(text))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Key, E> {
        Err(E::custom("unsupported map key of type: %!s(<nil>), key: <nil>"))
    }
}

/// A document as JSON.
pub(super) struct Json(pub(super) Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json(value.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json(text.into()))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(Json(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Json(list.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut map = Map::new();
        while let Some((key, Json(value))) = entries.next_entry::<Key, Json>()? {
            map.insert(key.text, value);
        }
        Ok(Json(map.into()))
    }
}
