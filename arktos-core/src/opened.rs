//! A stored object in which a few fields are set, and of which nothing else is decoded.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::catalog::Kind;
use crate::encoded::{EncodeError, Encoded, NOTES, field_text};
use crate::header::Taken;

/// An object as it is stored, opened: of what it is made of, `spec` or `status` say, the fields right below can be read
/// and set, and all else stays the text that it is. What cannot be set so: what the header takes of `metadata`, but
/// for labels.
pub struct Opened<'a> {
    object: &'a Encoded,
    parts: BTreeMap<Name<'a>, Part<'a>>,
    labels: BTreeMap<&'a str, &'a str>,
    notes: BTreeMap<String, String>,
    set: Vec<([&'a str; 2], Box<str>)>,
}

/// The whole JSON of a stored object, for [`Opened::of`].
pub struct Text<'a>(&'a Encoded, Vec<u8>);

/// The name of a field.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What is below a field of the object.
enum Part<'a> {
    Closed(&'a RawValue),
    Open(Fields<'a>),
}

type Fields<'a> = BTreeMap<Name<'a>, Cow<'a, str>>;

impl<'a> Text<'a> {
    /// The text of an object.
    #[must_use]
    pub fn of(object: &'a Encoded) -> Self {
        Self(object, object.text())
    }
}

impl<'a> Opened<'a> {
    /// Opens an object.
    ///
    /// # Errors
    /// When its bytes are not JSON, as [`Encoded::decode`] has it.
    pub fn of(Text(object, text): &'a Text<'a>) -> Result<Self, serde_json::Error> {
        let closed: BTreeMap<Name<'a>, &'a RawValue> = serde_json::from_slice(text)?;
        let parts = closed.into_iter().map(|(name, value)| (name, Part::Closed(value))).collect();
        let header = object.header();
        let notes = header.notes().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { object, parts, labels: header.labels().collect(), notes, set: Vec::new() })
    }

    /// The value of a field right below a part of the object.
    #[must_use]
    pub fn get(&mut self, part: &str, field: &str) -> Option<Value> {
        let text = self.parts.get_mut(part)?.fields()?.get(field)?;
        serde_json::from_str(text).ok()
    }

    /// Sets a field right below a part of the object, which becomes an object if it is none.
    pub fn set(&mut self, part: &'a str, field: &'a str, value: &Value) {
        let place = self.parts.entry(Name(Cow::Borrowed(part))).or_insert_with(|| Part::Open(Fields::new()));
        if place.fields().is_none() {
            *place = Part::Open(Fields::new());
        }
        if let Some(fields) = place.fields() {
            fields.insert(Name(Cow::Borrowed(field)), Cow::Owned(value.to_string()));
        }
        self.set.push(([part, field], field_text(Some(value))));
    }

    /// Sets labels, beside those that there are.
    pub fn label(&mut self, more: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.labels.extend(more);
        let labels = serde_json::to_value(&self.labels).unwrap_or_default();
        self.set("metadata", "labels", &labels);
    }

    /// Notes something beside the object.
    pub fn note(&mut self, name: &str, value: String) {
        self.notes.insert(name.to_owned(), value);
    }

    /// The object encoded anew, as one of its kind: as if it had been decoded, and the same fields set. The kind is
    /// built in, and the object in the version that is stored.
    ///
    /// # Errors
    /// When it is too large.
    pub fn encode(self, kind: &Kind) -> Result<Encoded, EncodeError> {
        let header = self.object.header();
        let (fields, notes, set) = (header.fields().map(Box::from), &self.notes, &self.set);
        let fields = fields.zip(&kind.fields).map(|(known, field)| match field.path.as_slice() {
            [first, note] if first == NOTES => notes.get(note).map_or("", String::as_str).into(),
            path => {
                let newest = set.iter().rev().find(|(set, _)| set[..] == *path);
                newest.map_or(known, |(_, text)| text.clone())
            }
        });
        let taken = Taken {
            name: "",
            uid: header.uid(),
            deletion_timestamp: header.deletion(),
            finalizers: header.finalizers().collect(),
            owner_references: header.owners().collect(),
            labels: self.labels,
        };
        let fields: Vec<Box<str>> = fields.collect();
        let tail = write(&self.parts);
        Encoded::of_tail(header.type_meta(), &taken, &fields, &self.notes, &tail).ok_or(EncodeError::TooLarge)
    }
}

/// Writes all that follows `"metadata":{`.
fn write(parts: &BTreeMap<Name<'_>, Part<'_>>) -> Vec<u8> {
    const METADATA: &str = "metadata";
    let mut out = Vec::with_capacity(2048);
    let metadata = parts.get(METADATA);
    match metadata {
        Some(part) => part.write(&mut out),
        None => out.extend_from_slice(b"{}"),
    }
    out.remove(0);
    for (name, part) in parts.iter().filter(|(name, _)| name.0 != METADATA) {
        out.push(b',');
        name.write(&mut out);
        part.write(&mut out);
    }
    out.push(b'}');
    out
}

impl Name<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        // Writing to memory fails for nothing that is a name.
        let _ = serde_json::to_writer(&mut *out, &self.0);
        out.push(b':');
    }
}

impl<'a> Part<'a> {
    /// What is below, when it is an object.
    fn fields(&mut self) -> Option<&mut Fields<'a>> {
        if let Self::Closed(text) = self {
            let fields: BTreeMap<Name<'a>, &'a RawValue> = serde_json::from_str(text.get()).ok()?;
            *self = Self::Open(fields.into_iter().map(|(name, value)| (name, Cow::Borrowed(value.get()))).collect());
        }
        match self {
            Self::Open(fields) => Some(fields),
            Self::Closed(_) => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let fields = match self {
            Self::Closed(text) => return out.extend_from_slice(text.get().as_bytes()),
            Self::Open(fields) => fields,
        };
        out.push(b'{');
        for (at, (name, value)) in fields.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            name.write(out);
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::catalog::Catalog;
    use crate::kind::GroupResource;
    use crate::object::Object;

    fn pods() -> std::sync::Arc<Kind> {
        Catalog::builtin().storage(&GroupResource::core("pods")).expect("pods are built in")
    }

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\\u{e9}\n]{0,6}".prop_map(Value::from),
            Just(json!([{"type": "Ready", "b": [1.5, {}]}])),
            Just(json!({"z": {"a": "}"}, "a": []})),
        ]
    }

    fn fields() -> impl Strategy<Value = Value> {
        let names = prop_oneof![Just("nodeName"), Just("conditions"), Just("a\"b"), Just("zz"), Just("phase")];
        let map = proptest::collection::btree_map(names.prop_map(str::to_owned), values(), 0..5);
        prop_oneof![9 => map.prop_map(|map| json!(map)), 1 => Just(Value::Null)]
    }

    fn objects() -> impl Strategy<Value = Object> {
        let labels = proptest::collection::btree_map("[a-c]{1,2}", "[a-c]{0,2}", 0..3);
        let whole = (labels, fields(), proptest::option::of(fields()), proptest::option::of(fields()), any::<bool>());
        whole.prop_map(|(labels, annotations, spec, status, noted)| {
            let owner = json!({"apiVersion": "v1", "kind": "A\"B", "name": "o", "uid": "u", "controller": true});
            let mut object = Object::from_value(json!({"metadata": {
                "name": "web", "uid": "u1", "labels": labels, "annotations": annotations, "ownerReferences": [owner],
                "finalizers": ["a/b"], "deletionTimestamp": "2026-01-02T03:04:05Z",
            }}))
            .expect("an object");
            for (part, fields) in [("spec", spec), ("status", status)] {
                if let Some(fields) = fields {
                    object.set(&[part], fields);
                }
            }
            if noted {
                object.notes.insert("claim".to_owned(), "old".to_owned());
            }
            object
        })
    }

    proptest! {
        #[test]
        fn setting_fields_of_an_opened_object_is_setting_them_in_the_decoded_one(
            object in objects(), node in values(), conditions in values(), more in any::<[bool; 2]>(),
        ) {
            let kind = pods();
            let stored = kind.encode(&object).expect("encodes");
            let mut decoded = stored.decode(None).expect("decodes");
            let text = Text::of(&stored);
            let mut opened = Opened::of(&text).expect("opens");
            for (part, field) in [("spec", "nodeName"), ("status", "conditions"), ("data", "x")] {
                prop_assert_eq!(opened.get(part, field), decoded.at(&[part, field]).cloned());
            }
            for (part, field, value) in [("spec", "nodeName", node), ("status", "conditions", conditions)] {
                opened.set(part, field, &value);
                decoded.set(&[part, field], value);
            }
            let [labels, note] = more;
            if labels {
                opened.label([("b", "new"), ("x", "")]);
                let more = [("b", "new"), ("x", "")].map(|(name, value)| (name.to_owned(), value.into()));
                decoded.map_mut(&["metadata", "labels"]).extend(more);
            }
            if note {
                opened.note("resource-manager", "rm".to_owned());
                decoded.notes.insert("resource-manager".to_owned(), "rm".to_owned());
            }
            prop_assert_eq!(opened.encode(&kind).expect("encodes"), kind.encode(&decoded).expect("encodes"));
        }
    }

    #[test]
    fn an_object_that_is_opened_and_left_alone_stays_as_it_is() {
        let mut object = Object::new(&crate::kind::TypeMeta::new("", "v1", "Pod"), "empty");
        for spec in [None, Some(json!({"nodeName": "n", "hostNetwork": true}))] {
            spec.into_iter().for_each(|spec| object.set(&["spec"], spec));
            let stored = pods().encode(&object).expect("encodes");
            let text = Text::of(&stored);
            assert_eq!(Opened::of(&text).expect("opens").encode(&pods()).expect("encodes"), stored);
        }
    }
}
