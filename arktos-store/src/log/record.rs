//! The entries of a frame, byte by byte. `docs/design/0001-log-format.md` has the tables.

use std::collections::HashSet;
use std::sync::Arc;

use arktos_core::packed::{Input, write_bytes, write_number, write_text, write_time};
use arktos_core::{Encoded, GroupResource, Header, ObjectKey, ObjectPath, Revision, Timestamp, TypeMeta};

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
pub(crate) enum Entry {
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
    write_bytes(out, &object.tail());
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
    write_text(out, &header.type_meta().api_version);
    write_text(out, &header.type_meta().kind);
    out.extend_from_slice(header.packed());
}

/// Reads entries, and lets objects share the types and resources they have in common.
#[derive(Default)]
pub(super) struct Reader {
    types: HashSet<Arc<TypeMeta>>,
    resources: HashSet<GroupResource>,
    /// Those of the entry before: most often they are the next one's as well.
    last_type: Option<Arc<TypeMeta>>,
    last_resource: Option<GroupResource>,
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
                let type_meta = self.type_meta(input)?;
                let (header, rest) = input.0.split_at_checked(Header::measure(input.0)?)?;
                input.0 = rest;
                let object = Encoded::from_parts(type_meta, header, input.bytes()?)?;
                Entry::Put { revision, key, object, expires }
            }
            kind::DELETE => {
                let (revision, key) = self.key(input)?;
                Entry::Delete { revision, key }
            }
            kind::COUNTER => Entry::Counter(input.text()?.into(), input.long()?),
            kind::RESERVED => Entry::Reserved(revision(input)?),
            kind::RESUMED => Entry::Resumed(revision(input)?),
            kind::LAST_EVENT => Entry::LastEvent(self.resource(input)?, revision(input)?),
            kind::LOST => Entry::Lost(revision(input)?, revision(input)?),
            _ => return None,
        })
    }

    fn key(&mut self, input: &mut Input<'_>) -> Option<(Revision, ObjectKey)> {
        let revision = revision(input)?;
        let resource = self.resource(input)?;
        Some((revision, ObjectKey { resource, path: ObjectPath::parse(input.text()?)? }))
    }

    fn resource(&mut self, input: &mut Input<'_>) -> Option<GroupResource> {
        let name = input.text()?;
        if let Some(last) = self.last_resource.as_ref().filter(|last| last.as_str() == name) {
            return Some(last.clone());
        }
        let known = self.resources.get(name).cloned();
        let resource = known.unwrap_or_else(|| GroupResource::from(name.to_owned()));
        self.resources.insert(resource.clone());
        self.last_resource = Some(resource.clone());
        Some(resource)
    }

    fn type_meta(&mut self, input: &mut Input<'_>) -> Option<Arc<TypeMeta>> {
        let (version, kind) = (input.text()?, input.text()?);
        if let Some(last) = self.last_type.as_ref().filter(|last| last.api_version == version && last.kind == kind) {
            return Some(last.clone());
        }
        let read = TypeMeta { api_version: version.to_owned(), kind: kind.to_owned() };
        let shared = self.types.get(&read).cloned().unwrap_or_else(|| Arc::new(read));
        self.types.insert(shared.clone());
        self.last_type = Some(shared.clone());
        Some(shared)
    }
}

fn revision(input: &mut Input<'_>) -> Option<Revision> {
    input.number().map(Revision)
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
