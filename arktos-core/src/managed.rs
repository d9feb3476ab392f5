//! `metadata.managedFields` as text: a third of most objects, which hardly any write looks into.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The field of `metadata`.
pub(crate) const MANAGED_FIELDS: &str = "managedFields";

/// Who manages which fields of an object: `metadata.managedFields`, as it is stored. Made and read as a tree only where
/// somebody looks into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed(Box<str>);

/// One manager, as it is written down. What is asked of the set of fields is asked of its text.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Entry<'a> {
    pub(crate) api_version: &'a str,
    pub(crate) fields_type: &'a str,
    #[serde(borrow)]
    pub(crate) fields_v1: &'a RawValue,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) manager: Option<Name<'a>>,
    pub(crate) operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subresource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<&'a str>,
}

/// A manager's name, which clients choose: of all texts the one in which quotes and backslashes are to be expected.
#[derive(Deserialize, Serialize, PartialEq)]
#[serde(transparent)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Entry<'_> {
    /// The manager's name; empty where there is none.
    pub(crate) fn name(&self) -> &str {
        self.manager.as_ref().map_or("", |name| &name.0)
    }

    fn place(&self) -> (bool, &str, &str, &str, &str) {
        let (time, subresource) = (self.time.unwrap_or(""), self.subresource.unwrap_or(""));
        (self.operation != "Apply", time, self.name(), self.api_version, subresource)
    }

    fn is_but_for_its_time(&self, other: &Self) -> bool {
        (self.operation, self.api_version, self.fields_type) == (other.operation, other.api_version, other.fields_type)
            && (&self.manager, self.subresource) == (&other.manager, other.subresource)
            && self.fields_v1.get() == other.fields_v1.get()
    }
}

impl Managed {
    /// The managers that a value of `managedFields` names.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    /// These managers, put in the order in which `managedFields` has them.
    pub(crate) fn of_entries(mut entries: Vec<Entry<'_>>) -> Self {
        entries.sort_by(|one, other| one.place().cmp(&other.place()));
        Self(serde_json::to_string(&entries).unwrap_or_default().into())
    }

    /// The JSON.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The managers as a tree.
    #[must_use]
    pub fn tree(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// The managers one by one; `None` where something is not written as we write it.
    pub(crate) fn entries(&self) -> Option<Vec<Entry<'_>>> {
        serde_json::from_str(&self.0).ok()
    }

    /// Whether a value says the same.
    pub(crate) fn is(&self, value: &Value) -> bool {
        value.is_array() && (*self.0 == *value.to_string() || self.tree() == *value)
    }

    /// Whether two differ at most in their times, and so in their order.
    #[must_use]
    pub fn is_but_for_times(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let (Some(one), Some(mut other)) = (self.entries(), other.entries()) else { return false };
        one.len() == other.len()
            && one.iter().all(|entry| {
                let same = other.iter().position(|known| entry.is_but_for_its_time(known));
                same.map(|at| other.swap_remove(at)).is_some()
            })
    }
}

/// An object's fields, read but for who manages them.
pub(crate) struct Apart {
    pub(crate) fields: Map<String, Value>,
    pub(crate) managed: Option<Managed>,
}

impl<'de> Deserialize<'de> for Apart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Apart;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Apart, A::Error> {
                let mut apart = Apart { fields: Map::new(), managed: None };
                while let Some(name) = map.next_key::<String>()? {
                    let value = if name == "metadata" {
                        let Meta(meta, managed) = map.next_value()?;
                        apart.managed = managed;
                        Value::Object(meta)
                    } else {
                        map.next_value()?
                    };
                    apart.fields.insert(name, value);
                }
                Ok(apart)
            }
        }
        deserializer.deserialize_map(Read)
    }
}

struct Meta(Map<String, Value>, Option<Managed>);

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Meta;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("metadata")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Meta, A::Error> {
                let mut meta = Meta(Map::new(), None);
                while let Some(name) = map.next_key::<String>()? {
                    if name == MANAGED_FIELDS {
                        let managed: Box<RawValue> = map.next_value()?;
                        meta.1 = Some(Managed(managed.into()));
                    } else {
                        meta.0.insert(name, map.next_value()?);
                    }
                }
                Ok(meta)
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn managers_that_wrote_the_same_at_other_times_are_the_same_but_for_these() {
        let entry = |name: &str, time: &str, field: &str| {
            json!({"manager": name, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "time": time,
                "fieldsV1": {field: {}}})
        };
        let of = |entries: Vec<Value>| Managed::of(&Value::from(entries));
        let one = of(vec![entry("a", "2020-01-01T00:00:00Z", "f:x"), entry("b", "2020-01-01T00:00:01Z", "f:y")]);
        let later = of(vec![entry("b", "2020-01-01T00:00:01Z", "f:y"), entry("a", "2020-01-01T00:00:02Z", "f:x")]);
        let other = of(vec![entry("b", "2020-01-01T00:00:01Z", "f:y"), entry("a", "2020-01-01T00:00:02Z", "f:z")]);
        assert!(one.is_but_for_times(&one) && one.is_but_for_times(&later));
        assert!(!one.is_but_for_times(&other));
        assert!(!one.is_but_for_times(&of(vec![entry("a", "2020-01-01T00:00:00Z", "f:x")])));
        assert!(one.is(&one.tree()) && !one.is(&later.tree()) && !one.is(&Value::Null));
        let quoted = |time: &str| of(vec![entry("the \"best\" one", time, "f:x")]);
        assert!(quoted("2020-01-01T00:00:00Z").is_but_for_times(&quoted("2020-01-01T00:00:01Z")));
    }
}
