//! Takes in objects as another server of the region has written them, without decoding them.
//!
//! Who follows a partition is sent what [`Encoded::write`] wrote there: what is kept here is the same bytes. They are
//! read once, for what a header holds; all else is only checked to be JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::kind::{Kind, SelectableField};
use crate::encoded::{Dialect, Encoded, NOTES};
use crate::header::{OwnerRef, Taken};
use crate::key::{ObjectPath, Revision};
use crate::meta::null_is_default;
use crate::time::Timestamp;

/// An object, where it is, and the revision of its last write.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Its tenant, namespace and name.
    pub path: ObjectPath,
    /// The revision of its last write.
    pub revision: Revision,
    /// The object.
    pub object: Encoded,
}

impl Kind {
    /// Takes an object in as [`Encoded::write`] writes it for [`Dialect::Region`]. `None` for what is written
    /// otherwise, be it as valid: that has to be decoded, and encoded anew.
    #[must_use]
    pub fn take_written(&self, text: &[u8]) -> Option<Written> {
        let in_metadata = |field: &SelectableField| field.path.first().is_some_and(|part| part == "metadata");
        if self.own.is_some() || self.fields.iter().any(in_metadata) || !text.ends_with(b"}") {
            return None;
        }
        let mut input = serde_json::Deserializer::from_slice(text);
        let mut found = Found { metadata: None, values: vec![None; 2 * self.fields.len()] };
        let all = (0..found.values.len()).filter(|at| !path(&self.fields, *at).is_empty());
        let active = all.collect();
        Walk { fields: &self.fields, depth: 0, active, found: &mut found }.deserialize(&mut input).ok()?;
        input.end().ok()?;
        let Found { metadata, values } = found;
        let metadata = metadata?;
        let place = [metadata.tenant, metadata.namespace, metadata.name];
        if metadata.name.is_empty() || place.iter().any(|part| part.contains('/')) {
            return None;
        }
        let revision = Revision::parse(metadata.resource_version)?;
        let begin = metadata.resource_version.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        let begin = begin + metadata.resource_version.len() + "\",".len();
        let (head, tail) = (text.get(..begin)?, text.get(begin..)?);
        let values = self.fields.iter().enumerate().map(|(at, field)| {
            let said = |at: usize| values.get(at).and_then(Option::as_deref).filter(|text| !text.is_empty());
            let noted = match field.path.as_slice() {
                [first, note] if first == NOTES => metadata.arktos_notes.get(note).map(String::as_str),
                _ => None,
            };
            noted.or_else(|| said(2 * at)).or_else(|| said(2 * at + 1)).unwrap_or(field.absent).into()
        });
        let object = Encoded::of_tail(
            &self.type_meta,
            &metadata.taken(),
            &values.collect::<Vec<_>>(),
            &metadata.arktos_notes,
            tail,
        )?;
        // What stands before the tail is exactly what is written there: nothing of it belongs to the object.
        let types = head.starts_with(br#"{"kind":"#).then_some(&*self.type_meta);
        let mut expected = Vec::with_capacity(head.len());
        object.head(&mut expected, types, metadata.tenant, revision, Dialect::Region);
        let path = ObjectPath::new(metadata.tenant, metadata.namespace, metadata.name);
        (expected == head).then_some(Written { path, revision, object })
    }
}

/// What is read of `metadata`. A field that is there twice is a fault.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata<'a> {
    tenant: &'a str,
    arktos_notes: BTreeMap<String, String>,
    resource_version: &'a str,
    /// Never stored.
    self_link: Option<Never>,
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
    deletion_timestamp: Option<Timestamp>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    labels: BTreeMap<&'a str, &'a str>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    finalizers: Vec<&'a str>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    owner_references: Vec<OwnerRef<'a>>,
}

/// What must not be there.
#[derive(Deserialize)]
enum Never {}

impl<'a> Metadata<'a> {
    fn taken(&self) -> Taken<'a> {
        Taken {
            name: self.name,
            uid: self.uid,
            deletion_timestamp: self.deletion_timestamp,
            labels: self.labels.clone(),
            finalizers: self.finalizers.clone(),
            owner_references: self.owner_references.clone(),
        }
    }
}

/// What was found of an object.
struct Found<'a> {
    metadata: Option<Metadata<'a>>,
    /// By twice the field's place: the text where the field stands; next to it, where it stands otherwise.
    values: Vec<Option<Box<str>>>,
}

/// Where a value is looked for.
fn path(fields: &[SelectableField], at: usize) -> &[String] {
    let field = fields.get(at / 2);
    field.map_or(&[], |field| if at.is_multiple_of(2) { &field.path } else { &field.otherwise })
}

/// Reads one value of the object: those values are taken whose paths have led here, or lead on from here.
struct Walk<'w, 'a> {
    fields: &'w [SelectableField],
    depth: usize,
    active: Vec<usize>,
    found: &'w mut Found<'a>,
}

impl Walk<'_, '_> {
    /// Takes a value whose paths end here.
    fn take(self, text: &str) {
        for at in self.active.into_iter().filter(|at| path(self.fields, *at).len() == self.depth) {
            if let Some(value) = self.found.values.get_mut(at) {
                *value = Some(text.into());
            }
        }
    }
}

impl<'a> DeserializeSeed<'a> for Walk<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Walk<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { fields, depth, active, found } = self;
        while let Some(step) = map.next_key_seed(Step { fields, depth, active: &active })? {
            match step {
                Next::Metadata if found.metadata.is_some() => {
                    return Err(serde::de::Error::duplicate_field("metadata"));
                }
                Next::Metadata => found.metadata = Some(map.next_value()?),
                Next::On(active) if active.is_empty() => drop(map.next_value::<IgnoredAny>()?),
                Next::On(active) => {
                    map.next_value_seed(Walk { fields, depth: depth + 1, active, found: &mut *found })?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.take(text);
        Ok(())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<(), E> {
        self.take(if flag { "true" } else { "false" });
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.take(itoa::Buffer::new().format(number));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.take(itoa::Buffer::new().format(number));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.take(&serde_json::Number::from_f64(number).map_or_else(String::new, |number| number.to_string()));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a key of an object: where the paths lead that have it next.
struct Step<'w> {
    fields: &'w [SelectableField],
    depth: usize,
    active: &'w [usize],
}

enum Next {
    Metadata,
    On(Vec<usize>),
}

impl<'a> DeserializeSeed<'a> for Step<'_> {
    type Value = Next;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Next, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Step<'_> {
    type Value = Next;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Next, E> {
        if self.depth == 0 && key == "metadata" {
            return Ok(Next::Metadata);
        }
        let leads = |at: &usize| path(self.fields, *at).get(self.depth).is_some_and(|part| part == key);
        Ok(Next::On(self.active.iter().copied().filter(leads).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::kind::GroupResource;
    use crate::object::Object;
    use serde_json::{Value, json};

    fn pods() -> std::sync::Arc<Kind> {
        Catalog::builtin().storage(&GroupResource::core("pods")).expect("pods are built in")
    }

    fn pod() -> Object {
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r", "controller": true});
        let object = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {
                "name": "web-1", "namespace": "default", "uid": "u1", "labels": {"app": "web"}, "finalizers": ["a/b"],
                "ownerReferences": [owner], "deletionTimestamp": "2026-01-02T03:04:05Z",
                "annotations": {"said": "\"resourceVersion\":\"1\", \u{e9}\n"},
            },
            "spec": {"nodeName": "n1", "hostNetwork": true, "containers": [{"name": "c", "nodeName": "not this one"}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1"},
        });
        let mut object = Object::from_value(object).expect("an object");
        object.notes.insert("resource-manager".to_owned(), "rm-1".to_owned());
        object.notes.insert("claim".to_owned(), "rm-1/\"x".to_owned());
        object
    }

    fn written(object: &Encoded, typed: bool, tenant: &str) -> Vec<u8> {
        let (mut out, types) = (Vec::new(), object.header().type_meta().clone());
        object.write(&mut out, typed.then_some(&types), tenant, Revision(7), Dialect::Region);
        out
    }

    #[test]
    fn what_was_written_is_taken_in_as_it_was_stored() {
        let (kind, mut plain) = (pods(), pod());
        plain.notes.clear();
        plain.set(&["status"], Value::Null);
        for object in [pod(), plain] {
            let object = kind.encode(&object).expect("encodes");
            for typed in [true, false] {
                let taken = kind.take_written(&written(&object, typed, "acme")).expect("is as it was written");
                let path = ObjectPath::new("acme", "default", "web-1");
                assert_eq!(taken, Written { path, revision: Revision(7), object: object.clone() });
            }
        }
    }

    #[test]
    fn every_builtin_kind_has_its_fields_taken_as_they_are_encoded() {
        for kind in Catalog::builtin().kinds() {
            let mut object = json!({"metadata": {"name": "x", "namespace": "y", "uid": "u"}});
            for (at, field) in kind.fields.iter().enumerate() {
                let values = [json!("text"), json!(7), json!(false), json!(-1.5), json!({"a": 1}), json!(null)];
                let mut object = Object::from_value(object.clone()).expect("an object");
                let path: Vec<&str> = field.path.iter().map(String::as_str).collect();
                if path[0] != NOTES {
                    object.set(&path, values[at % values.len()].clone());
                }
                let encoded = kind.encode(&object).expect("encodes");
                let taken = kind.take_written(&written(&encoded, true, "")).map(|taken| taken.object);
                assert_eq!(taken, Some(encoded), "{} {}", kind.resource, field.name);
            }
            object["spec"] = json!([1, {"a": []}]);
            let encoded = kind.encode(&Object::from_value(object).expect("an object")).expect("encodes");
            assert!(kind.take_written(&written(&encoded, true, "")).is_some(), "{}", kind.resource);
        }
    }

    #[test]
    fn what_is_written_otherwise_is_left_to_be_decoded() {
        let kind = pods();
        let text = String::from_utf8(written(&kind.encode(&pod()).expect("encodes"), true, "acme")).expect("text");
        let otherwise = [
            text.replace(r#""tenant":"acme","#, r#""tenant":"acme", "#),
            text.replace(r#""name":"web-1""#, r#""selfLink":"/x","name":"web-1""#),
            text.replace(r#""name":"web-1""#, r#""resourceVersion":"8","name":"web-1""#),
            text.replace(r#""name":"web-1""#, r#""name":"web\u002d1""#),
            text.replace(r#""name":"web-1""#, r#""name":"web/1""#),
            text.replace(r#""kind":"Pod","apiVersion":"v1""#, r#""apiVersion":"v1","kind":"Pod""#),
            text.replace(r#""kind":"Pod","#, r#""kind":"Node","#),
            text.replace(r#""resourceVersion":"7""#, r#""resourceVersion":"07""#),
            format!("{text} x"),
            format!("{text}\n"),
            text[..text.len() - 1].to_owned(),
            "[]".to_owned(),
        ];
        for (at, otherwise) in otherwise.iter().enumerate() {
            assert!(*otherwise != text && kind.take_written(otherwise.as_bytes()).is_none(), "{at}: {otherwise}");
        }
    }
}
