//! Keys, values, revisions and errors: ours and etcd's.

use std::sync::Arc;

use arktos_core::{Encoded, GroupResource, ObjectKey, ObjectPath, Revision, Timestamp};
use etcd_client::KeyValue;

use crate::codec::{Damaged, Reader, write_object};
use crate::select::Stored;

/// How many bits of a revision are the place in the transaction.
const PLACE_BITS: u32 = 8;
/// How many object writes a transaction can have.
pub(super) const PLACES: usize = 1 << PLACE_BITS;

/// The keys of a store.
pub(super) struct Keys {
    prefix: String,
}

/// What a key is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A counter.
    Counter(Arc<str>),
    /// An object.
    Object(ObjectKey),
    /// The last transaction.
    Last,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.trim_end_matches('/').to_owned() }
    }

    pub(super) fn counter(&self, counter: &str) -> String {
        format!("{}/c/{counter}", self.prefix)
    }

    pub(super) fn object(&self, key: &ObjectKey) -> String {
        format!("{}/o/{}/{}", self.prefix, key.resource, key.path)
    }

    pub(super) fn deleting(&self, key: &ObjectKey) -> String {
        format!("{}/x/{}/{}", self.prefix, key.resource, key.path)
    }

    pub(super) fn last(&self) -> String {
        format!("{}/r", self.prefix)
    }

    pub(super) fn version(&self) -> String {
        format!("{}/v", self.prefix)
    }

    /// The range of everything that is read back and watched: counters, objects, and the last transaction.
    pub(super) fn watched(&self) -> (String, String) {
        (format!("{}/c/", self.prefix), format!("{}/s", self.prefix))
    }

    /// What a key in that range is about.
    pub(super) fn about(&self, key: &[u8]) -> Result<About, Damaged> {
        let key = std::str::from_utf8(key).map_err(|_| Damaged("a key"))?;
        let name = key.strip_prefix(&self.prefix).ok_or(Damaged("a key"))?;
        if name == "/r" {
            return Ok(About::Last);
        }
        if let Some(counter) = name.strip_prefix("/c/") {
            return Ok(About::Counter(counter.into()));
        }
        let object = name.strip_prefix("/o/").and_then(|name| name.split_once('/'));
        let (resource, path) = object.ok_or(Damaged("a key"))?;
        let path = ObjectPath::parse(path).ok_or(Damaged("a path"))?;
        Ok(About::Object(ObjectKey { resource: GroupResource::from(resource.to_owned()), path }))
    }
}

/// Our revision for a write at a place of the transaction at a revision of etcd.
pub(super) fn revision(of_etcd: i64, place: u8) -> Revision {
    Revision((of_etcd.max(0).cast_unsigned() << PLACE_BITS) | u64::from(place))
}

/// The last of our revisions that belongs to a revision of etcd.
pub(super) fn last_revision(of_etcd: i64) -> Revision {
    revision(of_etcd, u8::MAX)
}

/// The revision of etcd that a revision of ours belongs to; `None` for those that no write can have.
pub(super) fn of_etcd(revision: Revision) -> Option<i64> {
    i64::try_from(revision.0 >> PLACE_BITS).ok().filter(|of_etcd| *of_etcd > 0)
}

/// The value of an object that is the `place`th written in its transaction.
pub(super) fn object_value(place: u8, object: &Encoded, expires: Option<Timestamp>) -> Vec<u8> {
    let mut value = vec![place];
    write_object(&mut value, object, expires);
    value
}

/// The object that an entry holds.
pub(super) fn stored(
    reader: &mut Reader,
    path: ObjectPath,
    entry: &KeyValue,
) -> Result<(Stored, Option<Timestamp>), Damaged> {
    let (place, object) = entry.value().split_first().ok_or(Damaged("an object"))?;
    let (object, expires) = reader.object(object)?;
    Ok((Stored { path, revision: revision(entry.mod_revision(), *place), object }, expires))
}

/// The number that an entry holds: a counter's value, a time.
pub(super) fn number(value: &[u8]) -> Result<i64, Damaged> {
    value.try_into().map(i64::from_le_bytes).map_err(|_| Damaged("a number"))
}
