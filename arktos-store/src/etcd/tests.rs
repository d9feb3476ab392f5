//! Keys, revisions, and what is known of a store.

use arktos_core::{Encoded, GroupResource, Object, ObjectPath, TypeMeta};

use super::convert::{About, Keys, last_revision, of_etcd, revision};
use super::*;
use crate::storage::{Group, Record};

#[test]
fn keys_read_back() {
    let keys = Keys::new("/region/tp1/");
    for path in ["acme/default/web", "acme//admin:x", "//node-7"] {
        let path = arktos_core::ObjectPath::parse(path).expect("a path");
        let key = ObjectKey { resource: arktos_core::GroupResource::new("apps", "deployments"), path };
        assert_eq!(keys.about(keys.object(&key).as_bytes()).expect("reads back"), About::Object(key.clone()));
    }
    let counter = keys.counter("claim/node-7/cpu");
    assert_eq!(keys.about(counter.as_bytes()).expect("reads back"), About::Counter("claim/node-7/cpu".into()));
    assert_eq!(keys.about(keys.last().as_bytes()).expect("reads back"), About::Last);
    let (first, end) = keys.watched();
    for inside in [counter, keys.last()] {
        assert!(first <= inside && inside < end, "{inside}");
    }
    let key = ObjectKey {
        resource: arktos_core::GroupResource::core("pods"),
        path: arktos_core::ObjectPath::new("", "", "a"),
    };
    assert!(keys.object(&key) > first && keys.object(&key) < end);
    for outside in [keys.deleting(&key), keys.version()] {
        assert!(outside >= end, "{outside}");
    }
    assert!(keys.about(b"/region/tp2/r").is_err());
}

#[test]
fn revisions_rise_with_etcds_and_with_the_place() {
    assert!(revision(7, 0) < revision(7, 1) && revision(7, 1) < last_revision(7) && last_revision(7) < revision(8, 0));
    assert_eq!(of_etcd(revision(7, 3)), Some(7));
    assert_eq!(of_etcd(Revision(3)), None);
}

#[test]
fn what_has_left_the_window_can_be_compacted_once() {
    let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
    let window = Duration::from_secs(160);
    let mut known = Known::default();
    assert_eq!(known.compactable(at(0), window), None);
    let mut compacted = Vec::new();
    for second in 0..400 {
        known.position = second;
        if let Some(revision) = known.compactable(at(second), window) {
            compacted.push((second, revision));
        }
    }
    assert_eq!(compacted.first(), Some(&(162, 1)));
    assert!(compacted.windows(2).all(|pair| pair[0].1 < pair[1].1), "{compacted:?}");
    assert!(compacted.iter().all(|(second, revision)| second - revision > 160), "{compacted:?}");
}

#[test]
fn what_is_written_again_and_again_is_to_expire_once_and_what_is_gone_never() {
    let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
    let type_meta = Arc::new(TypeMeta::new("", "v1", "Event"));
    let event = Encoded::encode(&type_meta, &Object::new(&type_meta, "e"), &[]).expect("encodes");
    let key = ObjectKey { resource: GroupResource::core("events"), path: ObjectPath::new("acme", "default", "e") };
    let written = |revision: u64, change: Change| {
        let record = Record { revision: Revision(revision), key: key.clone(), change };
        Group { records: vec![record], ..Group::default() }
    };
    let mut known = Known::default();
    for (revision, seconds) in (1..=100).zip(1..) {
        let change = Change::Put { object: event.clone(), expires: Some(at(seconds)) };
        known.note(&written(revision, change), 1);
    }
    assert_eq!(known.expiries.len(), 1);
    assert!(known.due(at(99), 10).is_empty());
    known.settled(&[(key.clone(), Revision(99))]);
    assert_eq!(known.due(at(100), 10), [(key.clone(), Revision(100))], "what was written since");
    known.note(&written(101, Change::Delete), 2);
    assert!(known.expiries.is_empty() && known.expiring.is_empty());
}
