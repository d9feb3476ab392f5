//! Objects and groups as bytes, for backends that keep them in somebody else's store.
//!
//! ```text
//!  object   2u8 │ expires i64, MIN: never │ apiVersion text │ kind text │ header text (packed) │ tail text
//!  group    2u8 │ number u64 │ time i64 │ reserved u64, 0: none │ resumed u64, 0: none │ sync u8 │ records list │
//!  counters list record   revision u64 │ resource text │ path text │ 0u8 (deleted), or 1u8 and an object
//!  counter  name text │ value i64
//!  text     length u32 │ bytes            list     length u32 │ its parts
//! ```
//!
//! Numbers are little-endian. Integrity is the store's business.

use std::collections::HashSet;
use std::sync::Arc;

use arktos_core::{Encoded, Timestamp, TypeMeta};
#[cfg(feature = "sled")]
use arktos_core::{GroupResource, ObjectKey, ObjectPath, Revision};

#[cfg(feature = "sled")]
use crate::commit::Change;
#[cfg(feature = "sled")]
use crate::storage::{Group, Record};

const VERSION: u8 = 2;
const NEVER: i64 = i64::MIN;

/// What was read is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not read as {0}")]
pub(crate) struct Damaged(pub &'static str);

/// Writes an object.
pub(crate) fn write_object(out: &mut Vec<u8>, object: &Encoded, expires: Option<Timestamp>) {
    out.push(VERSION);
    out.extend_from_slice(&expires.map_or(NEVER, Timestamp::as_micros).to_le_bytes());
    let header = object.header();
    for text in [header.type_meta().api_version.as_bytes(), header.type_meta().kind.as_bytes()] {
        write_text(out, text);
    }
    write_text(out, header.packed());
    write_text(out, &object.tail());
}

/// Writes a group.
#[cfg(feature = "sled")]
pub(crate) fn write_group(group: &Group) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&group.number.to_le_bytes());
    out.extend_from_slice(&group.time.as_micros().to_le_bytes());
    for revision in [group.reserved, group.resumed] {
        out.extend_from_slice(&revision.unwrap_or_default().0.to_le_bytes());
    }
    out.push(u8::from(group.sync));
    write_length(&mut out, group.records.len());
    for record in &group.records {
        out.extend_from_slice(&record.revision.0.to_le_bytes());
        write_text(&mut out, record.key.resource.as_str().as_bytes());
        write_text(&mut out, record.key.path.as_str().as_bytes());
        match &record.change {
            Change::Delete => out.push(0),
            Change::Put { object, expires } => {
                out.push(1);
                write_object(&mut out, object, *expires);
            }
        }
    }
    write_length(&mut out, group.counters.len());
    for (counter, value) in &group.counters {
        write_text(&mut out, counter.as_bytes());
        out.extend_from_slice(&value.to_le_bytes());
    }
    out
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    write_length(out, text.len());
    out.extend_from_slice(text);
}

/// Reads what was written, and lets objects share the types they have in common.
#[derive(Default)]
pub(crate) struct Reader {
    types: HashSet<Arc<TypeMeta>>,
}

impl Reader {
    /// Reads an object that takes up all of `bytes`.
    pub(crate) fn object(&mut self, bytes: &[u8]) -> Result<(Encoded, Option<Timestamp>), Damaged> {
        let mut input = Input(bytes);
        let object = self.read_object(&mut input)?;
        if input.0.is_empty() { Ok(object) } else { Err(Damaged("an object")) }
    }

    /// Reads a group that takes up all of `bytes`.
    #[cfg(feature = "sled")]
    pub(crate) fn group(&mut self, bytes: &[u8]) -> Result<Group, Damaged> {
        let mut input = Input(bytes);
        input.version()?;
        let number = input.u64()?;
        let time = Timestamp::from_micros(input.i64()?);
        let mut revision = || input.u64().map(|revision| Some(Revision(revision)).filter(|it| *it != Revision::ZERO));
        let (reserved, resumed) = (revision()?, revision()?);
        let sync = input.u8()? != 0;
        let mut records = Vec::new();
        for _ in 0..input.u32()? {
            records.push(self.read_record(&mut input)?);
        }
        let mut counters = Vec::new();
        for _ in 0..input.u32()? {
            counters.push((Arc::from(input.str()?), input.i64()?));
        }
        if !input.0.is_empty() {
            return Err(Damaged("a group"));
        }
        Ok(Group { number, time, records, counters, reserved, resumed, sync })
    }

    #[cfg(feature = "sled")]
    fn read_record(&mut self, input: &mut Input<'_>) -> Result<Record, Damaged> {
        let revision = Revision(input.u64()?);
        let resource = GroupResource::from(input.str()?.to_owned());
        let path = ObjectPath::parse(input.str()?).ok_or(Damaged("a path"))?;
        let change = if input.u8()? == 0 {
            Change::Delete
        } else {
            let (object, expires) = self.read_object(input)?;
            Change::Put { object, expires }
        };
        Ok(Record { revision, key: ObjectKey { resource, path }, change })
    }

    fn read_object(&mut self, input: &mut Input<'_>) -> Result<(Encoded, Option<Timestamp>), Damaged> {
        input.version()?;
        let expires = Some(input.i64()?).filter(|at| *at != NEVER).map(Timestamp::from_micros);
        let type_meta = TypeMeta { api_version: input.str()?.to_owned(), kind: input.str()?.to_owned() };
        let type_meta = self.share(Arc::new(type_meta));
        let object = Encoded::from_parts(type_meta, input.text()?, input.text()?);
        Ok((object.ok_or(Damaged("an object's header"))?, expires))
    }

    fn share(&mut self, type_meta: Arc<TypeMeta>) -> Arc<TypeMeta> {
        if let Some(shared) = self.types.get(&type_meta) {
            return shared.clone();
        }
        self.types.insert(type_meta.clone());
        type_meta
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Damaged("whole"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Damaged> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Damaged> {
        self.take().map(u32::from_le_bytes)
    }

    #[cfg(feature = "sled")]
    fn u64(&mut self) -> Result<u64, Damaged> {
        self.take().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, Damaged> {
        self.take().map(i64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a [u8], Damaged> {
        let length = usize::try_from(self.u32()?).map_err(|_| Damaged("whole"))?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Damaged("whole"))?;
        self.0 = rest;
        Ok(text)
    }

    fn str(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.text()?).map_err(|_| Damaged("text"))
    }

    fn version(&mut self) -> Result<(), Damaged> {
        if self.u8()? == VERSION { Ok(()) } else { Err(Damaged("a version that is known")) }
    }
}

#[cfg(all(test, feature = "sled"))]
mod tests {
    use arktos_core::Object;
    use serde_json::json;

    use super::*;

    fn group() -> Group {
        let type_meta = Arc::new(TypeMeta::new("", "v1", "Pod"));
        let value = json!({"metadata": {"name": "web", "uid": "u1", "labels": {"app": "web"}}, "spec": {"n": 1}});
        let object = Object::from_value(value).expect("an object");
        let object = Encoded::encode(&type_meta, &object, &[&["spec", "n"]]).expect("encodes");
        let key = ObjectKey { resource: GroupResource::core("pods"), path: ObjectPath::new("acme", "default", "web") };
        let expires = Some(Timestamp::from_micros(5));
        let put = Record { revision: Revision(7), key: key.clone(), change: Change::Put { object, expires } };
        let delete = Record { revision: Revision(8), key, change: Change::Delete };
        Group {
            number: 9,
            time: Timestamp::from_micros(-3),
            records: vec![put, delete],
            counters: vec![("a/b".into(), -1), ("c".into(), i64::MAX)],
            reserved: Some(Revision(100)),
            resumed: None,
            sync: true,
        }
    }

    #[test]
    fn what_was_written_reads_back() {
        let bytes = write_group(&group());
        let mut reader = Reader::default();
        let read = reader.group(&bytes).expect("reads back");
        assert_eq!(format!("{read:?}"), format!("{:?}", group()));
        let Change::Put { object, .. } = &read.records[0].change else { panic!("a put") };
        let Change::Put { object: written, .. } = &group().records[0].change else { panic!("a put") };
        assert_eq!(object, written);
        let Change::Put { object: again, .. } = reader.group(&bytes).expect("reads back").records[0].change.clone()
        else {
            panic!("a put")
        };
        assert!(Arc::ptr_eq(object.header().type_meta(), again.header().type_meta()));
    }

    #[test]
    fn what_was_cut_off_is_an_error() {
        let bytes = write_group(&group());
        for length in 0..bytes.len() {
            assert!(Reader::default().group(&bytes[..length]).is_err(), "{length} of {}", bytes.len());
        }
    }
}
