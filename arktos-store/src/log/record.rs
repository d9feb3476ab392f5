//! The entries of a frame, byte by byte. `docs/design/0001-log-format.md` has the tables.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arktos_core::{
    Encoded, GroupResource, Header, ObjectKey, ObjectPath, OwnerReference, Revision, Timestamp, TypeMeta,
};
use bytes::Bytes;

use crate::commit::Change;
use crate::storage::{Group, Record};

/// What an entry is.
mod kind {
    pub const PUT: u8 = 1;
    pub const DELETE: u8 = 2;
    pub const COUNTER: u8 = 3;
    pub const RESERVED: u8 = 4;
    pub const RESUMED: u8 = 5;
    pub const LAST_EVENT: u8 = 6;
    pub const LOST: u8 = 7;
}

/// An entry as it was read.
#[derive(Debug, PartialEq)]
pub(super) enum Entry {
    Put { revision: Revision, key: ObjectKey, object: Encoded, expires: Option<Timestamp> },
    Delete { revision: Revision, key: ObjectKey },
    Counter(Arc<str>, i64),
    Reserved(Revision),
    Resumed(Revision),
    LastEvent(GroupResource, Revision),
    Lost(Revision, Revision),
}

/// Writes all entries of a group.
pub(super) fn write_group(out: &mut Vec<u8>, group: &Group) {
    if let Some(resumed) = group.resumed {
        out.push(kind::RESUMED);
        write_number(out, resumed.0);
    }
    if let Some(reserved) = group.reserved {
        write_reserved(out, reserved);
    }
    for Record { revision, key, change } in &group.records {
        match change {
            Change::Put { object, expires } => {
                write_put(out, *revision, &key.resource, &key.path, object, *expires);
            }
            Change::Delete => {
                out.push(kind::DELETE);
                write_number(out, revision.0);
                write_text(out, key.resource.as_str());
                write_text(out, key.path.as_str());
            }
        }
    }
    for (counter, value) in &group.counters {
        write_counter(out, counter, *value);
    }
}

pub(super) fn write_put(
    out: &mut Vec<u8>,
    revision: Revision,
    resource: &GroupResource,
    path: &ObjectPath,
    object: &Encoded,
    expires: Option<Timestamp>,
) {
    out.push(kind::PUT);
    write_number(out, revision.0);
    write_text(out, resource.as_str());
    write_text(out, path.as_str());
    write_time(out, expires);
    write_header(out, object.header());
    write_bytes(out, object.tail());
}

pub(super) fn write_counter(out: &mut Vec<u8>, counter: &str, value: i64) {
    out.push(kind::COUNTER);
    write_text(out, counter);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn write_reserved(out: &mut Vec<u8>, reserved: Revision) {
    out.push(kind::RESERVED);
    write_number(out, reserved.0);
}

pub(super) fn write_last_event(out: &mut Vec<u8>, resource: &GroupResource, revision: Revision) {
    out.push(kind::LAST_EVENT);
    write_text(out, resource.as_str());
    write_number(out, revision.0);
}

pub(super) fn write_lost(out: &mut Vec<u8>, after: Revision, resumed: Revision) {
    out.push(kind::LOST);
    write_number(out, after.0);
    write_number(out, resumed.0);
}

fn write_header(out: &mut Vec<u8>, header: &Header) {
    write_text(out, &header.type_meta.api_version);
    write_text(out, &header.type_meta.kind);
    write_text(out, &header.uid);
    write_time(out, header.deletion);
    write_length(out, header.labels.len());
    for (key, value) in &header.labels {
        write_text(out, key);
        write_text(out, value);
    }
    for list in [&header.fields, &header.finalizers] {
        write_length(out, list.len());
        list.iter().for_each(|text| write_text(out, text));
    }
    write_length(out, header.owners.len());
    for owner in &header.owners {
        for text in [&owner.api_version, &owner.kind, &owner.name, &owner.uid] {
            write_text(out, text);
        }
        let flag = |value: Option<bool>| value.map_or(0, |value| 1 + u8::from(value));
        out.push(flag(owner.controller) + 3 * flag(owner.block_owner_deletion));
    }
    write_length(out, header.notes.len());
    for (key, value) in &header.notes {
        write_text(out, key);
        write_text(out, value);
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    write_number(out, length as u64);
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_bytes(out, text.as_bytes());
}

fn write_time(out: &mut Vec<u8>, time: Option<Timestamp>) {
    match time {
        None => out.push(0),
        Some(time) => {
            out.push(1);
            out.extend_from_slice(&time.as_micros().to_le_bytes());
        }
    }
}

/// Reads entries, and lets objects share the types and resources they have in common.
#[derive(Default)]
pub(super) struct Reader {
    types: HashSet<Arc<TypeMeta>>,
    resources: HashSet<GroupResource>,
}

impl Reader {
    /// Reads all entries of a frame; none when they are not what a writer writes.
    pub(super) fn entries(&mut self, payload: &[u8]) -> Option<Vec<Entry>> {
        let mut input = Input(payload);
        let mut entries = Vec::new();
        while !input.0.is_empty() {
            entries.push(self.entry(&mut input)?);
        }
        Some(entries)
    }

    fn entry(&mut self, input: &mut Input<'_>) -> Option<Entry> {
        Some(match input.byte()? {
            kind::PUT => {
                let (revision, key) = self.key(input)?;
                let expires = input.time()?;
                let header = self.header(input)?;
                let object = Encoded::from_parts(header, Bytes::copy_from_slice(input.bytes()?));
                Entry::Put { revision, key, object, expires }
            }
            kind::DELETE => {
                let (revision, key) = self.key(input)?;
                Entry::Delete { revision, key }
            }
            kind::COUNTER => Entry::Counter(input.text()?.into(), input.long()?),
            kind::RESERVED => Entry::Reserved(input.revision()?),
            kind::RESUMED => Entry::Resumed(input.revision()?),
            kind::LAST_EVENT => Entry::LastEvent(self.resource(input)?, input.revision()?),
            kind::LOST => Entry::Lost(input.revision()?, input.revision()?),
            _ => return None,
        })
    }

    fn key(&mut self, input: &mut Input<'_>) -> Option<(Revision, ObjectKey)> {
        let revision = input.revision()?;
        let resource = self.resource(input)?;
        Some((revision, ObjectKey { resource, path: ObjectPath::parse(input.text()?)? }))
    }

    fn resource(&mut self, input: &mut Input<'_>) -> Option<GroupResource> {
        let name = input.text()?;
        if let Some(known) = self.resources.get(name) {
            return Some(known.clone());
        }
        let resource = GroupResource::from(name.to_owned());
        self.resources.insert(resource.clone());
        Some(resource)
    }

    fn type_meta(&mut self, input: &mut Input<'_>) -> Option<Arc<TypeMeta>> {
        let read = TypeMeta { api_version: input.text()?.to_owned(), kind: input.text()?.to_owned() };
        if let Some(known) = self.types.get(&read) {
            return Some(known.clone());
        }
        let shared = Arc::new(read);
        self.types.insert(shared.clone());
        Some(shared)
    }

    fn header(&mut self, input: &mut Input<'_>) -> Option<Header> {
        let mut header = Header::bare(self.type_meta(input)?);
        header.uid = input.text()?.into();
        header.deletion = input.time()?;
        header.labels = input.list(|input| Some((input.text()?.into(), input.text()?.into())))?.into();
        header.fields = input.list(|input| Some(input.text()?.into()))?.into();
        header.finalizers = input.list(|input| Some(input.text()?.into()))?.into();
        header.owners = input.list(read_owner)?.into();
        let notes = input.list(|input| Some((input.text()?.to_owned(), input.text()?.to_owned())))?;
        header.notes = notes.into_iter().collect::<BTreeMap<_, _>>();
        Some(header)
    }
}

fn read_owner(input: &mut Input<'_>) -> Option<OwnerReference> {
    let mut text = || input.text().map(str::to_owned);
    let (api_version, kind, name, uid) = (text()?, text()?, text()?, text()?);
    let flags = input.byte()?;
    let flag = |value: u8| match value {
        0 => Some(None),
        1 => Some(Some(false)),
        2 => Some(Some(true)),
        _ => None,
    };
    let (controller, block_owner_deletion) = (flag(flags % 3)?, flag(flags / 3)?);
    Some(OwnerReference { api_version, kind, name, uid, controller, block_owner_deletion })
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn revision(&mut self) -> Option<Revision> {
        self.number().map(Revision)
    }

    fn long(&mut self) -> Option<i64> {
        let (long, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_le_bytes(*long))
    }

    fn time(&mut self) -> Option<Option<Timestamp>> {
        match self.byte()? {
            0 => Some(None),
            1 => self.long().map(|micros| Some(Timestamp::from_micros(micros))),
            _ => None,
        }
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.number()?;
        // a length that lies runs out of bytes before it runs out of memory
        let mut items = Vec::with_capacity(usize::try_from(length).ok()?.min(self.0.len()));
        for _ in 0..length {
            items.push(item(self)?);
        }
        Some(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_core::Object;

    fn object() -> Encoded {
        let type_meta = Arc::new(TypeMeta::new("apps", "v1", "Thing"));
        let mut object = Object::from_value(serde_json::json!({
            "metadata": {
                "name": "web", "uid": "u1", "labels": {"a": "1", "b": ""}, "finalizers": ["x/y"],
                "deletionTimestamp": "2026-01-02T03:04:05Z",
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "A", "name": "n", "uid": "u", "controller": true},
                    {"apiVersion": "v1", "kind": "B", "name": "m", "uid": "v", "blockOwnerDeletion": false},
                ],
            },
            "spec": {"nodeName": "n1", "text": "\u{fc}"},
        }))
        .expect("an object");
        object.notes.insert("claim".to_owned(), "rm/1".to_owned());
        Encoded::encode(&type_meta, &object, &[&["spec", "nodeName"]]).expect("encodes")
    }

    fn group() -> Group {
        let key = ObjectKey { resource: GroupResource::new("apps", "things"), path: ObjectPath::new("t", "n", "web") };
        let put = |revision, expires| Record {
            revision: Revision(revision),
            key: key.clone(),
            change: Change::Put { object: object(), expires },
        };
        let delete = Record { revision: Revision(1 << 40), key: key.clone(), change: Change::Delete };
        Group {
            records: vec![put(1, None), put(200, Some(Timestamp::from_micros(-5))), delete],
            counters: vec![("ips/10".into(), i64::MAX), ("zero".into(), 0)],
            reserved: Some(Revision(u64::MAX)),
            resumed: Some(Revision(127)),
            ..Group::default()
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        write_group(&mut out, &group());
        write_last_event(&mut out, &GroupResource::core("pods"), Revision(128));
        write_lost(&mut out, Revision(3), Revision(5));
        let entries = Reader::default().entries(&out).expect("reads");
        let [Entry::Resumed(resumed), Entry::Reserved(reserved), first, second, third, .., last, lost] = &entries[..]
        else {
            panic!("{entries:?}")
        };
        assert_eq!((resumed.0, reserved.0), (127, u64::MAX));
        let key = group().records[0].key.clone();
        let put = |revision, expires| Entry::Put { revision, key: key.clone(), object: object(), expires };
        assert_eq!(*first, put(Revision(1), None));
        assert_eq!(*second, put(Revision(200), Some(Timestamp::from_micros(-5))));
        assert_eq!(*third, Entry::Delete { revision: Revision(1 << 40), key: key.clone() });
        assert_eq!(entries[5..7], [Entry::Counter("ips/10".into(), i64::MAX), Entry::Counter("zero".into(), 0)]);
        assert_eq!(*last, Entry::LastEvent(GroupResource::core("pods"), Revision(128)));
        assert_eq!(*lost, Entry::Lost(Revision(3), Revision(5)));
    }

    #[test]
    fn no_bytes_can_make_a_reader_panic_or_read_half_an_entry() {
        let mut out = Vec::new();
        write_group(&mut out, &group());
        let whole = Reader::default().entries(&out).expect("reads").len();
        for cut in 0..out.len() {
            assert!(Reader::default().entries(&out[..cut]).is_none_or(|entries| entries.len() < whole), "{cut}");
        }
        for at in 0..out.len() {
            let mut flipped = out.clone();
            flipped[at] ^= 0x80;
            let _ = Reader::default().entries(&flipped);
        }
    }
}
