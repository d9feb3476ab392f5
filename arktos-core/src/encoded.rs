//! An object as it is stored, cached and sent: encoded once, shared by everyone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::header::{Header, Taken};
use crate::key::Revision;
use crate::kind::TypeMeta;
use crate::managed::{Apart, MANAGED_FIELDS, Managed};
use crate::meta::ObjectMeta;
use crate::object::Object;

/// How much of an object beyond plain Kubernetes a reader is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Nothing: what Kubernetes shows.
    #[default]
    Plain,
    /// `metadata.tenant`, as Arktos shows it on its own paths.
    Arktos,
    /// `metadata.tenant`, and the control plane's notes as `metadata.arktosNotes`: for the region's own components.
    Region,
}

/// As the first part of a selectable field's path: the field is a note of the control plane's, not part of the object.
pub const NOTES: &str = "$notes";

/// As a note: every tenant sees the object, and none has it. It is not deleted with a tenant.
pub const SHARED: &str = "shared";

/// An object, encoded. Cloning it shares it.
///
/// The bytes are JSON and hold all that follows `"metadata":{`; what depends on who reads it is written in front as the
/// bytes go out: `apiVersion` and `kind` (absent in the items of a list), the tenant, and the revision, which nobody
/// knows before the write is committed.
///
/// ```text
///   {"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7",   "name":"web",…},"spec":{…}}
///   └───────────────── written by `head` ────────────────────────────┘   └────── shared bytes ──────┘
/// ```
///
/// The header beside the bytes is what lists, watches and controllers ask of every object, so that nobody decodes to
/// filter. How the two are kept is not part of the interface.
#[derive(Clone)]
pub struct Encoded(Arc<Header>);

impl Encoded {
    /// Encodes an object.
    ///
    /// `fields` are the paths of the kind's selectable fields, in declared order; a field that is absent counts as the
    /// empty string, numbers and booleans count as their text. A path that begins with [`NOTES`] names a note.
    ///
    /// # Errors
    /// When a field of `metadata` that the header takes has the wrong type, or there is no name.
    pub fn encode(type_meta: &Arc<TypeMeta>, object: &Object, fields: &[&[&str]]) -> Result<Self, EncodeError> {
        let values = fields.iter().map(|path| match path {
            [NOTES, note] => object.notes.get(*note).map_or("", String::as_str).into(),
            path => field_text(object.at(path)),
        });
        Self::encode_with(type_meta, object, values.collect())
    }

    /// Encodes an object whose selectable fields have these values, in declared order.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_with(
        type_meta: &Arc<TypeMeta>,
        object: &Object,
        fields: Box<[Box<str>]>,
    ) -> Result<Self, EncodeError> {
        let meta = match object.fields.get("metadata") {
            None | Some(Value::Null) => Taken::default(),
            Some(metadata) => Taken::deserialize(metadata)?,
        };
        if meta.name.is_empty() {
            return Err(EncodeError::NoName);
        }
        let header = Header::pack(type_meta.clone(), &meta, &fields, &object.notes, &write_tail(object)?);
        header.map(|header| Self(Arc::new(header))).ok_or(EncodeError::TooLarge)
    }

    /// An object of which all that is asked of its header is known, over its bytes. `None` when it is too large.
    pub(crate) fn of_tail(
        type_meta: &Arc<TypeMeta>,
        meta: &Taken<'_>,
        fields: &[Box<str>],
        notes: &BTreeMap<String, String>,
        tail: &[u8],
    ) -> Option<Self> {
        Header::pack(type_meta.clone(), meta, fields, notes, tail).map(|header| Self(Arc::new(header)))
    }

    /// An encoded object from its parts, as [`Header::packed`] and [`tail`](Self::tail) gave them: for stores that read
    /// back what they wrote. `None` when `header` is not exactly a header.
    #[must_use]
    pub fn from_parts(type_meta: Arc<TypeMeta>, header: &[u8], tail: &[u8]) -> Option<Self> {
        Header::unpack(type_meta, header, tail).map(|header| Self(Arc::new(header)))
    }

    /// The same object in another namespace, with these notes beside it as well as its own, without decoding it. The
    /// values of its selectable fields stay as they are, so none of them may be the namespace or one of these notes.
    /// `None` when its bytes are not as they were written, or it becomes too large.
    #[must_use]
    pub fn moved(&self, namespace: &str, notes: &[(&str, &str)]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Place<'a> {
            #[serde(borrow, default)]
            namespace: Option<&'a RawValue>,
        }
        let opened = [b"{", &*self.tail()].concat();
        let place: Place<'_> = serde_json::Deserializer::from_slice(&opened).into_iter().next()?.ok()?;
        let said = place.namespace?.get();
        let begin = said.as_ptr().addr().checked_sub(opened.as_ptr().addr())?;
        let mut tail = Vec::with_capacity(opened.len() + namespace.len());
        tail.extend_from_slice(opened.get(1..begin)?);
        serde_json::to_writer(&mut tail, namespace).ok()?;
        tail.extend_from_slice(opened.get(begin + said.len()..)?);
        let mut noted: BTreeMap<&str, &str> = self.0.notes().collect();
        noted.extend(notes.iter().copied());
        self.0.renoted(&noted, &tail).map(|header| Self(Arc::new(header)))
    }

    /// What is known without decoding.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.0
    }

    /// The shared bytes: all that follows `"metadata":{`, to the object's last brace. A copy, where the object is kept
    /// as what it differs in from [another](Self::like).
    #[must_use]
    pub fn tail(&self) -> Cow<'_, [u8]> {
        self.0.tail()
    }

    /// How many bytes [`tail`](Self::tail) has.
    #[must_use]
    pub fn tail_length(&self) -> usize {
        self.0.tail_length()
    }

    /// Writes [`tail`](Self::tail).
    pub fn write_tail(&self, out: &mut Vec<u8>) {
        self.0.write_tail(out);
    }

    /// The same object, kept as what it differs in from another, or from what that one is kept so from: for objects
    /// that are alike but for a few texts, of which there are many. It keeps the other one in memory. `None` where they
    /// are not alike, and where the other one is more than twice as long.
    #[must_use]
    pub fn like(&self, other: &Self) -> Option<Self> {
        self.0.like(&other.0).map(|header| Self(Arc::new(header)))
    }

    /// Whether it is kept [so](Self::like).
    #[must_use]
    pub fn is_like(&self) -> bool {
        self.0.is_like()
    }

    /// About how many bytes it takes up in memory, with what it shares with nobody.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.0.weight()
    }

    /// Whether two handles share one encoding.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Writes what comes before the shared bytes. `type_meta` is absent for the items of a list of a built-in kind.
    /// `tenant` is the tenant part of the object's path, shown as the dialect says.
    pub fn head(
        &self,
        out: &mut Vec<u8>,
        type_meta: Option<&TypeMeta>,
        tenant: &str,
        revision: Revision,
        dialect: Dialect,
    ) {
        out.push(b'{');
        if let Some(type_meta) = type_meta {
            out.extend_from_slice(b"\"kind\":\"");
            out.extend_from_slice(type_meta.kind.as_bytes());
            out.extend_from_slice(b"\",\"apiVersion\":\"");
            out.extend_from_slice(type_meta.api_version.as_bytes());
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(b"\"metadata\":{");
        if dialect != Dialect::Plain && !tenant.is_empty() {
            out.extend_from_slice(b"\"tenant\":\"");
            out.extend_from_slice(tenant.as_bytes());
            out.extend_from_slice(b"\",");
        }
        if dialect == Dialect::Region && self.0.notes().len() > 0 {
            out.extend_from_slice(b"\"arktosNotes\":");
            out.extend_from_slice(serde_json::to_string(&self.notes()).unwrap_or_default().as_bytes());
            out.push(b',');
        }
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(itoa::Buffer::new().format(revision.0).as_bytes());
        out.extend_from_slice(b"\",");
    }

    /// Writes the whole object: [`head`](Self::head), then the shared bytes.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        type_meta: Option<&TypeMeta>,
        tenant: &str,
        revision: Revision,
        dialect: Dialect,
    ) {
        self.head(out, type_meta, tenant, revision, dialect);
        self.write_tail(out);
    }

    /// The object decoded to a tree, with its type, notes and, where `revision` is given, its `resourceVersion`. The
    /// tenant is not in it: it is in the key.
    ///
    /// # Errors
    /// When the bytes are not JSON, which only a store that gave back something else than it was given can cause.
    pub fn decode(&self, revision: Option<Revision>) -> Result<Object, serde_json::Error> {
        Ok(self.decoded(self.parse()?, None, revision))
    }

    /// As [`decode`](Self::decode), but for who manages its fields, which is left as text: see [`Object::managed`].
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_apart(&self, revision: Option<Revision>) -> Result<Object, serde_json::Error> {
        let Apart { fields, managed } = self.parse()?;
        Ok(self.decoded(fields, managed, revision))
    }

    fn decoded(&self, mut fields: Map<String, Value>, managed: Option<Managed>, revision: Option<Revision>) -> Object {
        fields.insert("kind".to_owned(), Value::from(self.0.type_meta().kind.as_str()));
        fields.insert("apiVersion".to_owned(), Value::from(self.0.type_meta().api_version.as_str()));
        if let (Some(revision), Some(Value::Object(meta))) = (revision, fields.get_mut("metadata")) {
            meta.insert("resourceVersion".to_owned(), Value::from(revision.to_string()));
        }
        Object { fields, notes: self.notes(), managed }
    }

    /// What the control plane notes beside it.
    fn notes(&self) -> BTreeMap<String, String> {
        self.0.notes().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The object decoded as a type of the caller's, without `apiVersion`, `kind`, tenant and revision.
    ///
    /// # Errors
    /// When the object does not have the type's shape.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.text())
    }

    /// The object's JSON, without `apiVersion`, `kind`, tenant and revision.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.tail_length() + 13);
        text.extend_from_slice(b"{\"metadata\":{");
        self.write_tail(&mut text);
        text
    }

    /// `metadata`, decoded, without tenant and revision.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn meta(&self) -> Result<ObjectMeta, serde_json::Error> {
        #[derive(Deserialize)]
        struct OnlyMeta {
            metadata: ObjectMeta,
        }
        self.parse::<OnlyMeta>().map(|only| only.metadata)
    }
}

impl PartialEq for Encoded {
    fn eq(&self, other: &Self) -> bool {
        self.same(other) || (self.0 == other.0 && self.tail() == other.tail())
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("kind", &self.0.type_meta().kind)
            .field("uid", &self.0.uid())
            .field("bytes", &self.tail_length())
            .finish()
    }
}

/// Why an object could not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The object has no name.
    #[error("the object has no metadata.name")]
    NoName,
    /// The object has 4 GiB or more.
    #[error("the object is too large")]
    TooLarge,
    /// A field of `metadata` has the wrong type, or the object is not JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// All that follows `"metadata":{`. Revision, tenant and notes are left out: they are written as the bytes go out.
fn write_tail(object: &Object) -> Result<Vec<u8>, serde_json::Error> {
    const SPLICED: [&str; 4] = ["resourceVersion", "tenant", "arktosNotes", "selfLink"];
    let mut tail = Vec::with_capacity(1024);
    if let Some(Value::Object(meta)) = object.fields.get("metadata") {
        match &object.managed {
            None => write_fields(&mut tail, meta, &SPLICED, None)?,
            Some(managed) => {
                let except = [&SPLICED[..], &[MANAGED_FIELDS]].concat();
                write_fields(&mut tail, meta, &except, Some((MANAGED_FIELDS, managed.text())))?;
            }
        }
    }
    tail.push(b'}');
    let before_rest = tail.len();
    tail.push(b',');
    let before = tail.len();
    write_fields(&mut tail, &object.fields, &["apiVersion", "kind", "metadata"], None)?;
    if tail.len() == before {
        tail.truncate(before_rest);
    }
    tail.push(b'}');
    Ok(tail)
}

/// Writes the fields of a map, in their order, with a further one whose value is JSON already.
fn write_fields(
    out: &mut Vec<u8>,
    fields: &Map<String, Value>,
    except: &[&str],
    mut further: Option<(&str, &str)>,
) -> Result<(), serde_json::Error> {
    let begin = out.len();
    let open = |out: &mut Vec<u8>, name: &str| {
        if out.len() > begin {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        Ok(())
    };
    let write_further = |out: &mut Vec<u8>, (name, json): (&str, &str)| {
        open(out, name)?;
        out.extend_from_slice(json.as_bytes());
        Ok::<_, serde_json::Error>(())
    };
    for (name, value) in fields.iter().filter(|(name, _)| !except.contains(&name.as_str())) {
        if let Some(further) = further.take_if(|(further, _)| *further < name.as_str()) {
            write_further(out, further)?;
        }
        open(out, name)?;
        serde_json::to_writer(&mut *out, value)?;
    }
    further.map_or(Ok(()), |further| write_further(out, further))
}

/// A selectable field's value as text; empty when there is none.
pub(crate) fn field_text(value: Option<&Value>) -> Box<str> {
    match value {
        Some(Value::String(text)) => text.as_str().into(),
        Some(Value::Bool(flag)) => flag.to_string().into(),
        Some(Value::Number(number)) => number.to_string().into(),
        _ => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> (Arc<TypeMeta>, Object) {
        let object = Object::from_value(json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "web", "uid": "u1", "labels": {"b": "2", "a": "1"}, "resourceVersion": "3", "tenant": "x"},
            "spec": {"nodeName": "n1"}
        }));
        (Arc::new(TypeMeta::new("", "v1", "Pod")), object.expect("an object"))
    }

    #[test]
    fn what_is_kept_as_its_differences_is_the_same_object() {
        let map = |name: &str, uid: &str| {
            let data = json!({"ca.crt": "-----BEGIN CERTIFICATE-----".repeat(8)});
            let map = json!({"metadata": {"name": name, "uid": uid, "labels": {"a": uid}}, "data": data});
            let types = Arc::new(TypeMeta::new("", "v1", "ConfigMap"));
            Encoded::encode(&types, &Object::from_value(map).expect("an object"), &[]).expect("encodes")
        };
        let (one, other) = (map("ca", "u1"), map("ca", "of another length"));
        let kept = other.like(&one).expect("alike");
        assert!(kept.weight() + 200 < other.weight());
        assert_eq!((&kept, kept.tail_length()), (&other, other.tail_length()));
        assert_eq!((kept.tail(), kept.header()), (other.tail(), other.header()));
        assert_eq!(kept.decode(None).expect("decodes"), other.decode(None).expect("decodes"));
        let mut out = Vec::new();
        kept.write(&mut out, None, "", Revision(1), Dialect::Plain);
        assert!(out.ends_with(&other.tail()));
        let third = map("b", "u2");
        assert_eq!(third.like(&kept).expect("like what that one is like"), third);
        assert!(kept.like(&third).is_none(), "it is kept so already");
        assert!(pod_of_nobody().like(&one).is_none(), "another kind");
    }

    fn pod_of_nobody() -> Encoded {
        let (types, object) = pod();
        Encoded::encode(&types, &object, &[]).expect("encodes")
    }

    #[test]
    fn what_goes_out_is_what_came_in_with_the_revision_of_the_write() {
        let (type_meta, object) = pod();
        let encoded =
            Encoded::encode(&type_meta, &object, &[&["spec", "nodeName"], &["status", "phase"]]).expect("encodes");
        assert_eq!(encoded.header().label("a"), Some("1"));
        assert_eq!(encoded.header().fields().collect::<Vec<_>>(), ["n1", ""]);
        let mut out = Vec::new();
        encoded.write(&mut out, Some(&type_meta), "acme", Revision(9), Dialect::Plain);
        let plain: Value = serde_json::from_slice(&out).expect("json");
        assert_eq!(plain["metadata"]["resourceVersion"], "9");
        assert_eq!(plain["metadata"].get("tenant"), None);
        assert_eq!(plain["kind"], "Pod");
        out.clear();
        encoded.write(&mut out, None, "acme", Revision(9), Dialect::Arktos);
        let arktos: Value = serde_json::from_slice(&out).expect("json");
        assert_eq!(arktos["metadata"]["tenant"], "acme");
        assert_eq!(arktos.get("kind"), None);
        assert_eq!(arktos["spec"], json!({"nodeName": "n1"}));
        assert_eq!(encoded.decode(Some(Revision(9))).expect("decodes").fields, {
            let Value::Object(fields) = plain else { panic!("an object") };
            fields
        });
    }

    #[test]
    fn who_manages_an_object_is_left_as_text_and_comes_back_in_its_place() {
        let type_meta = Arc::new(TypeMeta::new("", "v1", "ConfigMap"));
        let managers = json!([{"manager": "m", "fieldsV1": {"f:data": {}}}]);
        for meta in [json!({"name": "a"}), json!({"name": "a", "labels": {"x": "y"}, "uid": "u"}), json!({"name": "n"})]
        {
            let mut whole = Object::from_value(json!({"metadata": meta, "data": {"a": "b"}})).expect("an object");
            whole.set(&["metadata", MANAGED_FIELDS], managers.clone());
            let encoded = Encoded::encode(&type_meta, &whole, &[]).expect("encodes");
            let mut apart = encoded.decode_apart(Some(Revision(3))).expect("decodes");
            assert_eq!(apart.at(&["metadata", MANAGED_FIELDS]), None);
            assert_eq!(Encoded::encode(&type_meta, &apart, &[]).expect("encodes").tail(), encoded.tail());
            apart.gather();
            assert_eq!(apart, encoded.decode(Some(Revision(3))).expect("decodes"));
        }
        let without = Encoded::encode(&type_meta, &Object::new(&type_meta, "a"), &[]).expect("encodes");
        assert_eq!(without.decode_apart(None).expect("decodes").managed, None);
    }

    #[test]
    fn an_object_of_nothing_but_a_name_is_still_json() {
        let type_meta = Arc::new(TypeMeta::new("", "v1", "ConfigMap"));
        let encoded = Encoded::encode(&type_meta, &Object::new(&type_meta, "empty"), &[]).expect("encodes");
        let mut out = Vec::new();
        encoded.write(&mut out, Some(&type_meta), "", Revision(1), Dialect::Region);
        assert_eq!(
            String::from_utf8(out).expect("utf-8"),
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"1","name":"empty"}}"#
        );
    }

    #[test]
    fn notes_can_be_selected_by_and_only_the_region_sees_them() {
        let (type_meta, mut object) = pod();
        object.notes.insert("resource-manager".to_owned(), "rm-0".to_owned());
        let encoded = Encoded::encode(&type_meta, &object, &[&[NOTES, "resource-manager"]]).expect("encodes");
        assert_eq!(encoded.header().field(0), "rm-0");
        for (dialect, seen) in [(Dialect::Plain, false), (Dialect::Arktos, false), (Dialect::Region, true)] {
            let mut out = Vec::new();
            encoded.write(&mut out, None, "acme", Revision(1), dialect);
            assert_eq!(String::from_utf8(out).expect("utf-8").contains("rm-0"), seen, "{dialect:?}");
        }
    }

    #[test]
    fn one_that_is_moved_is_as_if_it_had_been_encoded_there() {
        let (type_meta, mut object) = pod();
        object.set(&["metadata", "annotations"], json!({"namespace": "\"namespace\":\"no\"", "b": {"namespace": 1}}));
        let fields: &[&[&str]] = &[&["spec", "nodeName"], &[NOTES, "kept"]];
        assert!(Encoded::encode(&type_meta, &object, fields).expect("encodes").moved("there", &[]).is_none());
        object.set(&["metadata", "namespace"], "here");
        object.notes.insert("kept".to_owned(), "1".to_owned());
        let encoded = Encoded::encode(&type_meta, &object, fields).expect("encodes");
        object.set(&["metadata", "namespace"], "there");
        object.notes.insert("a".to_owned(), "2".to_owned());
        let there = Encoded::encode(&type_meta, &object, fields).expect("encodes");
        assert_eq!(encoded.moved("there", &[("a", "2")]), Some(there));
    }

    #[test]
    fn an_object_without_a_name_is_refused() {
        let type_meta = Arc::new(TypeMeta::new("", "v1", "ConfigMap"));
        let nameless = Object::from_value(json!({"metadata": {}})).expect("an object");
        assert!(matches!(Encoded::encode(&type_meta, &nameless, &[]), Err(EncodeError::NoName)));
    }
}
