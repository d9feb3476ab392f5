//! What is asked of every object without decoding it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::alike::{self, Sample};
use crate::kind::TypeMeta;
use crate::meta::{OwnerReference, null_is_default};
use crate::packed::{Input, write_length, write_text, write_time};
use crate::time::Timestamp;

/// What is known of an encoded object without decoding it.
///
/// It is kept as the log writes it, in one piece with the object's bytes, so that an object costs two allocations
/// whatever is in it, and loading one is a copy:
///
/// ```text
///   uid text │ deletion time │ labels │ fields │ finalizers │ owners │ notes ┃ tail …
///            list of (text, text) ─┘  list of text, twice ┘       │     └─ list of (text, text)
///                  list of (apiVersion, kind, name, uid, flag byte) ┘
/// ```
///
/// [`packed`](crate::packed) says how each is written. Labels and notes are sorted by their keys.
///
/// In place of the object's bytes there may stand what they differ in from those of another one.
pub struct Header {
    type_meta: Arc<TypeMeta>,
    bytes: Box<[u8]>,
    /// The object that this one is alike to, if it is kept so; that one is not.
    like: Option<Arc<Header>>,
    /// Where in `bytes` the labels begin, and so on.
    labels: u32,
    fields: u32,
    finalizers: u32,
    tail: u32,
}

/// What a header takes of `metadata`, borrowed from it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Taken<'a> {
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) deletion_timestamp: Option<Timestamp>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) labels: BTreeMap<&'a str, &'a str>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) finalizers: Vec<&'a str>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) owner_references: Vec<OwnerRef<'a>>,
}

/// An owner reference, as a header has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerRef<'a> {
    /// Group and version of the owner's kind.
    pub api_version: &'a str,
    /// The owner's kind.
    pub kind: &'a str,
    /// The owner's name.
    pub name: &'a str,
    /// The owner's uid.
    pub uid: &'a str,
    /// Whether the owner is the one that manages this object.
    pub controller: Option<bool>,
    /// Whether a foreground deletion of the owner waits for this object.
    pub block_owner_deletion: Option<bool>,
}

impl Header {
    /// Packs what `metadata` says, the values of the selectable fields, and the notes, with the object's bytes after
    /// them. `None` when it is 4 GiB or more.
    pub(crate) fn pack(
        type_meta: Arc<TypeMeta>,
        meta: &Taken<'_>,
        fields: &[Box<str>],
        notes: &BTreeMap<String, String>,
        tail: &[u8],
    ) -> Option<Self> {
        let mut out = Vec::with_capacity(256);
        write_text(&mut out, meta.uid);
        write_time(&mut out, meta.deletion_timestamp);
        write_pairs(&mut out, &meta.labels);
        write_length(&mut out, fields.len());
        fields.iter().for_each(|value| write_text(&mut out, value));
        write_length(&mut out, meta.finalizers.len());
        meta.finalizers.iter().for_each(|name| write_text(&mut out, name));
        write_length(&mut out, meta.owner_references.len());
        meta.owner_references.iter().for_each(|owner| write_owner(&mut out, owner));
        write_pairs(&mut out, notes);
        Self::unpack(type_meta, &out, tail)
    }

    /// The same header with other notes and other bytes after it. `None` as [`pack`](Self::pack).
    pub(crate) fn renoted(&self, notes: &BTreeMap<&str, &str>, tail: &[u8]) -> Option<Self> {
        let mut owners = self.owners();
        owners.by_ref().for_each(drop);
        let kept = self.packed().len().checked_sub(owners.0.input.0.len())?;
        let mut out = self.packed().get(..kept)?.to_vec();
        write_pairs(&mut out, notes);
        Self::unpack(self.type_meta.clone(), &out, tail)
    }

    /// A header, and the object's bytes, as [`packed`](Self::packed) and [`tail`](Self::tail) gave them. `None` when
    /// `packed` is not exactly what a header packs to, or both are 4 GiB or more.
    pub(crate) fn unpack(type_meta: Arc<TypeMeta>, packed: &[u8], tail: &[u8]) -> Option<Self> {
        let mut input = Input(packed);
        let [labels, fields, finalizers] = skip(&mut input, packed.len())?;
        if !input.0.is_empty() {
            return None;
        }
        u32::try_from(packed.len() + tail.len()).ok()?;
        let bytes = [packed, tail].concat().into_boxed_slice();
        Some(Self { type_meta, bytes, like: None, labels, fields, finalizers, tail: u32::try_from(packed.len()).ok()? })
    }

    /// The same header, kept as what it differs in from another. `None` where that is not worth it.
    pub(crate) fn like(&self, other: &Arc<Self>) -> Option<Self> {
        let other = other.like.as_ref().unwrap_or(other);
        if self.is_like() || *self.type_meta != *other.type_meta || other.kept().len() > 2 * self.kept().len() {
            return None;
        }
        let sample = Sample { bytes: other.kept(), uid: other.uid() };
        let differences = alike::differences(sample, self.kept(), self.uid())?;
        let bytes = [self.packed(), &differences].concat().into_boxed_slice();
        let Self { labels, fields, finalizers, tail, .. } = *self;
        Some(Self {
            type_meta: self.type_meta.clone(),
            bytes,
            like: Some(other.clone()),
            labels,
            fields,
            finalizers,
            tail,
        })
    }

    /// Whether it is kept as what it differs in from another.
    pub(crate) fn is_like(&self) -> bool {
        self.like.is_some()
    }

    /// The header in one piece.
    #[must_use]
    pub fn packed(&self) -> &[u8] {
        self.bytes.get(..self.tail as usize).unwrap_or_default()
    }

    /// How many of these bytes are a header; `None` when they do not begin with one.
    #[must_use]
    pub fn measure(bytes: &[u8]) -> Option<usize> {
        let mut input = Input(bytes);
        skip(&mut input, bytes.len())?;
        Some(bytes.len() - input.0.len())
    }

    /// How many bytes the object has beside its header.
    pub(crate) fn tail_length(&self) -> usize {
        if self.like.is_some() { alike::length(self.kept()) } else { self.kept().len() }
    }

    /// The object's bytes: a copy where they are kept as differences.
    pub(crate) fn tail(&self) -> Cow<'_, [u8]> {
        if self.like.is_none() {
            return Cow::Borrowed(self.kept());
        }
        let mut tail = Vec::with_capacity(self.tail_length());
        self.write_tail(&mut tail);
        Cow::Owned(tail)
    }

    /// Writes the object's bytes.
    pub(crate) fn write_tail(&self, out: &mut Vec<u8>) {
        match &self.like {
            None => out.extend_from_slice(self.kept()),
            Some(other) => alike::write(out, other.kept(), self.kept(), self.uid()),
        }
    }

    /// About how many bytes it takes up with what is kept of its object.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }

    fn kept(&self) -> &[u8] {
        self.bytes.get(self.tail as usize..).unwrap_or_default()
    }

    /// `apiVersion` and `kind` it is stored as.
    #[must_use]
    pub fn type_meta(&self) -> &Arc<TypeMeta> {
        &self.type_meta
    }

    /// The object's identity across time.
    #[must_use]
    pub fn uid(&self) -> &str {
        Input(&self.bytes).text().unwrap_or_default()
    }

    /// Since when it is being deleted.
    #[must_use]
    pub fn deletion(&self) -> Option<Timestamp> {
        let mut input = Input(&self.bytes);
        input.bytes()?;
        input.time()?
    }

    /// The labels, sorted by key.
    #[must_use]
    pub fn labels(&self) -> Pairs<'_> {
        Pairs(self.list(self.labels))
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().value(key)
    }

    /// The values of the kind's selectable fields, in the order in which the kind declares them.
    #[must_use]
    pub fn fields(&self) -> Texts<'_> {
        Texts(self.list(self.fields))
    }

    /// The value of the selectable field at a place; empty when there is none.
    #[must_use]
    pub fn field(&self, place: usize) -> &str {
        self.fields().nth(place).unwrap_or_default()
    }

    /// What must be done before it may go.
    #[must_use]
    pub fn finalizers(&self) -> Texts<'_> {
        Texts(self.list(self.finalizers))
    }

    /// The objects this one lives and dies with.
    #[must_use]
    pub fn owners(&self) -> Owners<'_> {
        let mut finalizers = self.finalizers();
        finalizers.by_ref().for_each(drop);
        Owners(List::begin(finalizers.0.input))
    }

    /// The reference that says who manages the object, if any does.
    #[must_use]
    pub fn controller(&self) -> Option<OwnerRef<'_>> {
        self.owners().find(|owner| owner.controller == Some(true))
    }

    /// What the control plane notes beside it, sorted by key.
    #[must_use]
    pub fn notes(&self) -> Pairs<'_> {
        let mut owners = self.owners();
        owners.by_ref().for_each(drop);
        Pairs(List::begin(owners.0.input))
    }

    /// One of the control plane's notes.
    #[must_use]
    pub fn note(&self, key: &str) -> Option<&str> {
        self.notes().value(key)
    }

    fn list(&self, at: u32) -> List<'_> {
        List::begin(Input(self.packed().get(at as usize..).unwrap_or_default()))
    }
}

impl PartialEq for Header {
    fn eq(&self, other: &Self) -> bool {
        self.type_meta == other.type_meta && self.packed() == other.packed()
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("type_meta", &self.type_meta)
            .field("uid", &self.uid())
            .field("deletion", &self.deletion())
            .field("labels", &self.labels().collect::<Vec<_>>())
            .field("fields", &self.fields().collect::<Vec<_>>())
            .field("finalizers", &self.finalizers().collect::<Vec<_>>())
            .field("owners", &self.owners().collect::<Vec<_>>())
            .field("notes", &self.notes().collect::<Vec<_>>())
            .finish()
    }
}

impl OwnerRef<'_> {
    /// The reference as metadata has it.
    #[must_use]
    pub fn to_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.api_version.to_owned(),
            kind: self.kind.to_owned(),
            name: self.name.to_owned(),
            uid: self.uid.to_owned(),
            controller: self.controller,
            block_owner_deletion: self.block_owner_deletion,
        }
    }
}

fn write_pairs<T: AsRef<str>>(out: &mut Vec<u8>, pairs: &BTreeMap<T, T>) {
    write_length(out, pairs.len());
    for (key, value) in pairs {
        write_text(out, key.as_ref());
        write_text(out, value.as_ref());
    }
}

fn write_owner(out: &mut Vec<u8>, owner: &OwnerRef<'_>) {
    for text in [owner.api_version, owner.kind, owner.name, owner.uid] {
        write_text(out, text);
    }
    let flag = |value: Option<bool>| value.map_or(0, |value| 1 + u8::from(value));
    out.push(flag(owner.controller) + 3 * flag(owner.block_owner_deletion));
}

fn read_owner<'a>(input: &mut Input<'a>) -> Option<OwnerRef<'a>> {
    let (api_version, kind, name, uid) = (input.text()?, input.text()?, input.text()?, input.text()?);
    let flags = input.byte()?;
    let flag = |value: u8| match value {
        0 => Some(None),
        1 => Some(Some(false)),
        2 => Some(Some(true)),
        _ => None,
    };
    let (controller, block_owner_deletion) = (flag(flags % 3)?, flag(flags / 3)?);
    Some(OwnerRef { api_version, kind, name, uid, controller, block_owner_deletion })
}

/// Reads over a header, all of it. Says where labels, fields and finalizers begin.
fn skip(input: &mut Input<'_>, length: usize) -> Option<[u32; 3]> {
    let at = |input: &Input<'_>| u32::try_from(length - input.0.len()).ok();
    input.text()?;
    input.time()?;
    let labels = at(input)?;
    skip_texts(input, 2)?;
    let fields = at(input)?;
    skip_texts(input, 1)?;
    let finalizers = at(input)?;
    skip_texts(input, 1)?;
    for _ in 0..input.number()? {
        read_owner(input)?;
    }
    skip_texts(input, 2)?;
    Some([labels, fields, finalizers])
}

/// Reads over a list whose parts have so many texts each. A length that lies runs out of bytes.
fn skip_texts(input: &mut Input<'_>, each: usize) -> Option<()> {
    for _ in 0..input.number()? {
        for _ in 0..each {
            input.text()?;
        }
    }
    Some(())
}

/// What is left of a list.
#[derive(Debug, Clone, Copy)]
struct List<'a> {
    left: usize,
    input: Input<'a>,
}

impl<'a> List<'a> {
    fn begin(mut input: Input<'a>) -> Self {
        let left = input.number().and_then(|left| usize::try_from(left).ok()).unwrap_or(0);
        Self { left, input }
    }

    fn next<T>(&mut self, read: impl FnOnce(&mut Input<'a>) -> Option<T>) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        read(&mut self.input)
    }
}

/// Texts of a header, in order.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a>(List<'a>);

/// Keys and values of a header, sorted by key.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a>(List<'a>);

/// Owner references of a header, in order.
#[derive(Debug, Clone, Copy)]
pub struct Owners<'a>(List<'a>);

impl<'a> Pairs<'a> {
    /// The value under a key.
    #[must_use]
    pub fn value(mut self, key: &str) -> Option<&'a str> {
        while self.0.left > 0 {
            let (found, value) = self.0.next(|input| Some((input.bytes()?, input.bytes()?)))?;
            if found == key.as_bytes() {
                return std::str::from_utf8(value).ok();
            }
        }
        None
    }
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.next(Input::text)
    }

    fn nth(&mut self, place: usize) -> Option<&'a str> {
        for _ in 0..place {
            self.0.next(Input::bytes)?;
        }
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.left, Some(self.0.left))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next(|input| Some((input.text()?, input.text()?)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.left, Some(self.0.left))
    }
}

impl<'a> Iterator for Owners<'a> {
    type Item = OwnerRef<'a>;

    fn next(&mut self) -> Option<OwnerRef<'a>> {
        self.0.next(read_owner)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.left, Some(self.0.left))
    }
}

impl PartialEq for Texts<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl PartialEq for Pairs<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl PartialEq for Owners<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl ExactSizeIterator for Texts<'_> {}
impl ExactSizeIterator for Pairs<'_> {}
impl ExactSizeIterator for Owners<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let owner = |name, uid, controller, block_owner_deletion| {
            let (api_version, kind) = ("apps/v1", "ReplicaSet");
            OwnerRef { api_version, kind, name, uid, controller, block_owner_deletion }
        };
        let meta = Taken {
            name: "web",
            uid: "u1",
            deletion_timestamp: Some(Timestamp::from_micros(5)),
            labels: BTreeMap::from([("app", "web"), ("tier", "")]),
            finalizers: vec!["a/b"],
            owner_references: vec![owner("x", "uid-of-x", None, Some(false)), owner("y", "uid-of-y", Some(true), None)],
        };
        let notes = BTreeMap::from([("claim".to_owned(), "c".to_owned())]);
        let type_meta = Arc::new(TypeMeta::new("", "v1", "Pod"));
        Header::pack(type_meta, &meta, &["n1".into(), "".into()], &notes, b"}").expect("small")
    }

    #[test]
    fn everything_is_found_again() {
        let header = header();
        assert_eq!((header.uid(), header.deletion()), ("u1", Some(Timestamp::from_micros(5))));
        assert_eq!(header.labels().collect::<Vec<_>>(), [("app", "web"), ("tier", "")]);
        assert_eq!((header.label("tier"), header.label("ap")), (Some(""), None));
        assert_eq!((header.field(0), header.field(1), header.field(2)), ("n1", "", ""));
        assert_eq!(header.finalizers().collect::<Vec<_>>(), ["a/b"]);
        assert_eq!(header.owners().map(|owner| owner.name).collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(header.owners().next().and_then(|owner| owner.block_owner_deletion), Some(false));
        assert_eq!(header.controller().map(|owner| owner.uid), Some("uid-of-y"));
        assert_eq!((header.note("claim"), header.notes().len()), (Some("c"), 1));
        assert_eq!(*header.tail(), *b"}");
    }

    #[test]
    fn only_whole_headers_are_taken() {
        let (whole, type_meta) = (header(), header().type_meta().clone());
        assert_eq!(Header::measure(whole.packed()), Some(whole.packed().len()));
        for cut in 0..whole.packed().len() {
            assert!(Header::unpack(type_meta.clone(), &whole.packed()[..cut], b"}").is_none(), "{cut}");
        }
        assert!(Header::unpack(type_meta.clone(), &[whole.packed(), b"x"].concat(), b"}").is_none());
        assert_eq!(Header::unpack(type_meta, whole.packed(), b"}"), Some(whole));
    }
}
