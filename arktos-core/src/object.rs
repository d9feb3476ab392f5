//! An object as a tree that can be read and edited.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::kind::TypeMeta;
use crate::managed::Managed;
use crate::meta::ObjectMeta;

/// An object of any kind, decoded: what handlers edit before it is encoded once and stored as
/// [`Encoded`](crate::Encoded).
///
/// `fields` is the whole JSON object, `apiVersion`, `kind` and `metadata` included, but that who manages its fields may
/// stand in `managed` instead. `notes` is what the control plane keeps beside the object and never shows to a tenant:
/// the claim a binding was made under, for one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object {
    /// The JSON object.
    pub fields: Map<String, Value>,
    /// What the control plane notes beside the object. Stored with it; only the region dialect writes it.
    pub notes: BTreeMap<String, String>,
    /// `metadata.managedFields`, where it is left out of `fields`:
    /// [`Encoded::decode_apart`](crate::Encoded::decode_apart) leaves it out, [`gather`](Self::gather) puts it in.
    pub managed: Option<Managed>,
}

impl Object {
    /// An object of a kind, with nothing but its type and name.
    #[must_use]
    pub fn new(type_meta: &TypeMeta, name: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("apiVersion".to_owned(), Value::from(type_meta.api_version.as_str()));
        fields.insert("kind".to_owned(), Value::from(type_meta.kind.as_str()));
        fields.insert("metadata".to_owned(), serde_json::json!({ "name": name }));
        Self { fields, ..Self::default() }
    }

    /// An object from JSON; `None` when the value is not a JSON object.
    #[must_use]
    pub fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(fields) => Some(Self { fields, ..Self::default() }),
            _ => None,
        }
    }

    /// The whole object as JSON, notes left out.
    #[must_use]
    pub fn into_value(mut self) -> Value {
        self.gather();
        Value::Object(self.fields)
    }

    /// Puts into `fields` who manages them, where that was left out.
    pub fn gather(&mut self) {
        if let Some(managed) = self.managed.take() {
            self.set(&["metadata", "managedFields"], managed.tree());
        }
    }

    /// `kind` and `apiVersion`; empty strings where the object does not say.
    #[must_use]
    pub fn type_meta(&self) -> TypeMeta {
        TypeMeta { api_version: self.str_at(&["apiVersion"]).to_owned(), kind: self.str_at(&["kind"]).to_owned() }
    }

    /// `metadata`, decoded.
    ///
    /// # Errors
    /// When a field of it has the wrong type.
    pub fn meta(&self) -> Result<ObjectMeta, serde_json::Error> {
        match self.fields.get("metadata") {
            None | Some(Value::Null) => Ok(ObjectMeta::default()),
            Some(metadata) => ObjectMeta::deserialize(metadata),
        }
    }

    /// Replaces `metadata`.
    pub fn set_meta(&mut self, meta: &ObjectMeta) {
        let value = serde_json::to_value(meta).unwrap_or_default();
        self.fields.insert("metadata".to_owned(), value);
    }

    /// `metadata` as a map, made when it is not there.
    pub fn meta_mut(&mut self) -> &mut Map<String, Value> {
        self.map_mut(&["metadata"])
    }

    /// The value at a path of field names.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.fields.get(*first)?, |value, field| value.get(*field))
    }

    /// The string at a path; empty when there is none.
    #[must_use]
    pub fn str_at(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or("")
    }

    /// The integer at a path.
    #[must_use]
    pub fn int_at(&self, path: &[&str]) -> Option<i64> {
        self.at(path).and_then(Value::as_i64)
    }

    /// The map at a path of field names, made (in place of anything that is not a map) when it is not there.
    pub fn map_mut(&mut self, path: &[&str]) -> &mut Map<String, Value> {
        let mut map = &mut self.fields;
        for field in path {
            let value = map.entry(*field).or_insert_with(|| Value::Object(Map::new()));
            if !value.is_object() {
                *value = Value::Object(Map::new());
            }
            let Value::Object(inner) = value else { unreachable!("made a map right above") };
            map = inner;
        }
        map
    }

    /// Sets the value at a path of field names, making maps on the way. An empty path changes nothing.
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        if let Some((last, parents)) = path.split_last() {
            self.map_mut(parents).insert((*last).to_owned(), value.into());
        }
    }

    /// Takes the value at a path of field names away.
    pub fn remove(&mut self, path: &[&str]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        let Some((first, rest)) = parents.split_first() else { return self.fields.remove(*last) };
        let mut value = self.fields.get_mut(*first)?;
        for field in rest {
            value = value.get_mut(*field)?;
        }
        value.as_object_mut()?.remove(*last)
    }

    /// The object decoded as a type of the caller's.
    ///
    /// # Errors
    /// When the object does not have the type's shape.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.fields)
    }

    /// An object from a value that serializes to one; `None` when it serializes to anything else.
    pub fn encode<T: serde::Serialize>(value: &T) -> Option<Self> {
        serde_json::to_value(value).ok().and_then(Self::from_value)
    }

    /// The object's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.str_at(&["metadata", "name"])
    }

    /// The object's namespace; empty where there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.str_at(&["metadata", "namespace"])
    }

    /// The object's uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.str_at(&["metadata", "uid"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_and_taken_away() {
        let mut object = Object::new(&TypeMeta::new("", "v1", "Pod"), "web");
        object.set(&["spec", "nodeName"], "node-1");
        assert_eq!(object.str_at(&["spec", "nodeName"]), "node-1");
        assert_eq!(object.remove(&["spec", "nodeName"]), Some(Value::from("node-1")));
        assert_eq!(object.at(&["spec", "nodeName"]), None);
        assert_eq!(object.remove(&["status", "phase"]), None);
        assert_eq!(object.name(), "web");
        assert_eq!(object.type_meta().kind, "Pod");
    }
}
