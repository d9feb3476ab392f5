//! The log's format, read by a reader that knows nothing but `docs/design/0001-log-format.md`, and a store of version 1
//! that every later release must read.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, Timestamp, TypeMeta};
use arktos_store::clock::ManualClock;
use arktos_store::commit::{Change, Commit, CounterChange, Durability, Expect};
use arktos_store::log::{LogJournal, LogOptions};
use arktos_store::{Clock, Delivery, Engine, EngineConfig, Selection, Within};

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_767_225_600_000_000;

/// Checksums as the document says: CRC-32, IEEE 802.3, reflected.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take(&mut self, count: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("four"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("eight"))
    }

    fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.take(8).try_into().expect("eight"))
    }

    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return number;
            }
        }
    }

    fn text(&mut self) -> String {
        let length = usize::try_from(self.number()).expect("small");
        String::from_utf8(self.take(length).to_vec()).expect("UTF-8")
    }

    fn time(&mut self) -> Option<i64> {
        (self.byte() == 1).then(|| self.i64())
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.number()).map(|_| item(self)).collect()
    }
}

/// What is read of a store.
#[derive(Default)]
struct Read {
    objects: BTreeMap<(String, String), String>,
    counters: BTreeMap<String, i64>,
    /// The first bytes of all entries.
    kinds: BTreeMap<u8, usize>,
    group: u64,
    /// The last frame said that all is well.
    closed: bool,
}

struct FileHeader {
    number: u64,
    group: u64,
    revision: u64,
}

fn header(bytes: &[u8], magic: &[u8]) -> FileHeader {
    let mut input = Bytes(&bytes[..64]);
    assert_eq!(input.take(8), magic);
    assert_eq!((input.u32(), input.u32()), (1, 0), "the version");
    let header = FileHeader { number: input.u64(), group: input.u64(), revision: input.u64() };
    assert_eq!(input.take(20), [0; 20]);
    assert_eq!(input.u32(), checksum(&bytes[..60]));
    header
}

impl Read {
    /// A directory, as the document says under "Opening".
    fn directory(directory: &Path) -> Self {
        let mut read = Self::default();
        let files = |prefix: &str| {
            let names = std::fs::read_dir(directory).expect("reads").flatten();
            let named = names.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
            let mut paths: Vec<PathBuf> = named.map(|entry| entry.path()).collect();
            paths.sort();
            paths.into_iter().map(|path| std::fs::read(path).expect("reads")).collect::<Vec<_>>()
        };
        let segments = files("log-");
        let first = header(&segments[0], b"ARKTOS-L").group;
        if first > 1 {
            let snapshots = files("snapshot-");
            let chosen = snapshots.iter().find(|bytes| first <= header(bytes, b"ARKTOS-S").group + 1);
            let snapshot = chosen.expect("a snapshot from which the log is whole");
            let header = header(snapshot, b"ARKTOS-S");
            assert_eq!(header.number, 0);
            assert!(header.revision > 0);
            assert!(read.frames(snapshot, 0, 1), "the last frame says that it is");
            read.group = header.group;
        }
        for (place, bytes) in segments.iter().enumerate() {
            let header = header(bytes, b"ARKTOS-L");
            assert_eq!(header.revision, 0);
            read.closed = read.frames(bytes, header.number, header.group);
            assert!(place + 1 == segments.len() || !read.closed);
        }
        read
    }

    /// The frames of a file. Says whether nothing comes after and all is well.
    fn frames(&mut self, bytes: &[u8], file: u64, first: u64) -> bool {
        let (mut at, mut number, mut last) = (64, first, false);
        while let Some(head) = bytes.get(at..at + 44).filter(|head| head.iter().any(|byte| *byte != 0)) {
            let mut input = Bytes(head);
            let length = usize::try_from(input.u32()).expect("small");
            assert_eq!(u64::from(input.u32()), file & 0xffff_ffff);
            assert_eq!(input.u64(), number, "at byte {at}");
            assert!(input.u64() < number, "what was durable");
            let time = input.i64();
            last = match input.byte() {
                flag @ 0..=1 => flag == 1,
                other => panic!("flags {other}"),
            };
            assert!(file == 0 || last || time >= NEW_YEAR, "{time}");
            assert_eq!(input.take(3), [0; 3]);
            let payload = &bytes[at + 44..at + 44 + length];
            assert_eq!(input.u32(), checksum(payload));
            assert_eq!(input.u32(), checksum(&head[..40]));
            assert_eq!(bytes[at + 44 + length..][..4], [0xe7, 0x3b, 0x91, 0xd5]);
            at += 48 + length;
            if file == 0 || number > self.group {
                self.entries(payload);
            }
            if !last {
                self.group = if file == 0 { 0 } else { self.group.max(number) };
                number += 1;
            }
        }
        assert!(bytes[at.min(bytes.len())..].iter().all(|byte| *byte == 0), "the rest is zeros");
        last
    }

    fn entries(&mut self, payload: &[u8]) {
        let mut input = Bytes(payload);
        while !input.0.is_empty() {
            let kind = input.byte();
            *self.kinds.entry(kind).or_default() += 1;
            match kind {
                1 => {
                    let (revision, resource, path) = (input.number(), input.text(), input.text());
                    let put = put(&mut input, revision, &resource, &path);
                    self.objects.insert((resource, path), put);
                }
                2 => {
                    let _revision = input.number();
                    let key = (input.text(), input.text());
                    assert!(self.objects.remove(&key).is_some(), "{key:?} is deleted and not there");
                }
                3 => match (input.text(), input.i64()) {
                    (name, 0) => drop(self.counters.remove(&name)),
                    (name, value) => drop(self.counters.insert(name, value)),
                },
                4 | 5 => drop(input.number()),
                6 => drop((input.text(), input.number())),
                7 => assert!(input.number() < input.number()),
                other => panic!("an entry of kind {other}"),
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        let counters = self.counters.iter().map(|(name, value)| format!("counter {name} {value}"));
        self.objects.values().cloned().chain(counters).collect()
    }
}

fn put(input: &mut Bytes<'_>, revision: u64, resource: &str, path: &str) -> String {
    let expires = input.time();
    let (api_version, kind, uid) = (input.text(), input.text(), input.text());
    let deletion = input.time();
    let labels = input.list(|input| (input.text(), input.text()));
    let (fields, finalizers) = (input.list(Bytes::text), input.list(Bytes::text));
    let owners = input.list(|input| {
        let of = [input.text(), input.text(), input.text(), input.text()];
        let flags = input.byte();
        let [controller, block] = [flags % 3, flags / 3].map(|flag| [None, Some(false), Some(true)][usize::from(flag)]);
        (of, controller, block)
    });
    let notes = input.list(|input| (input.text(), input.text()));
    let tail = input.text();
    format!(
        "{resource} {path} @{revision} expires {expires:?}, {api_version} {kind} {uid}, deleted {deletion:?}, \
         {labels:?} {fields:?} {finalizers:?} {owners:?} {notes:?} {tail}"
    )
}

/// What an engine has, in the words of the reader above.
fn lines(engine: &Engine) -> Vec<String> {
    let snapshot = engine.snapshot();
    let expiries: BTreeMap<_, _> = snapshot.expiries().map(|(at, revision)| (revision, at.as_micros())).collect();
    let mut lines = Vec::new();
    for resource in snapshot.resources() {
        for stored in snapshot.range(&resource, &Within::Everywhere, None) {
            let header = stored.object.header();
            let owner = |owner: arktos_core::OwnerReference| {
                ([owner.api_version, owner.kind, owner.name, owner.uid], owner.controller, owner.block_owner_deletion)
            };
            let owners: Vec<_> = header.owners().map(|reference| owner(reference.to_reference())).collect();
            lines.push(format!(
                "{resource} {} @{} expires {:?}, {} {} {}, deleted {:?}, {:?} {:?} {:?} {owners:?} {:?} {}",
                stored.path,
                stored.revision,
                expiries.get(&stored.revision),
                header.type_meta().api_version,
                header.type_meta().kind,
                header.uid(),
                header.deletion().map(Timestamp::as_micros),
                header.labels().collect::<Vec<_>>(),
                header.fields().collect::<Vec<_>>(),
                header.finalizers().collect::<Vec<_>>(),
                header.notes().collect::<Vec<_>>(),
                std::str::from_utf8(&stored.object.tail()).expect("JSON"),
            ));
        }
    }
    lines.extend(snapshot.counters().map(|(name, value)| format!("counter {name} {value}")));
    lines
}

fn open(directory: &Path, clock: &Arc<ManualClock>) -> Engine {
    let mut options = LogOptions::default();
    options.first_segment_bytes = 2048;
    options.segment_bytes = 4096;
    options.snapshot_bytes = 2000;
    options.prepare_ahead = false;
    let mut config = EngineConfig::default();
    config.history_window = Duration::from_secs(60);
    let journal = LogJournal::open(directory, options).expect("opens");
    Engine::open(Box::new(journal), config, clock.clone()).expect("opens")
}

fn rich(name: &str, round: u32) -> Encoded {
    let type_meta = Arc::new(TypeMeta::new("apps", "v1", "Thing"));
    let mut object = Object::from_value(serde_json::json!({
        "metadata": {
            "name": name, "uid": format!("uid-{name}"), "labels": {"round": round.to_string(), "empty": ""},
            "finalizers": ["example.org/wait"], "deletionTimestamp": "2026-01-02T03:04:05Z",
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "A", "name": "n", "uid": "u", "controller": true},
                {"apiVersion": "v1", "kind": "B", "name": "m", "uid": "v", "blockOwnerDeletion": false},
            ],
        },
        "spec": {"nodeName": "n1", "text": "gr\u{fc}n"},
    }))
    .expect("an object");
    object.notes.insert("claim".to_owned(), "rm/1".to_owned());
    Encoded::encode(&type_meta, &object, &[&["spec", "nodeName"]]).expect("encodes")
}

fn plain(name: &str) -> Encoded {
    let type_meta = Arc::new(TypeMeta::new("", "v1", "ConfigMap"));
    Encoded::encode(&type_meta, &Object::new(&type_meta, name), &[]).expect("encodes")
}

fn key(resource: GroupResource, name: &str) -> ObjectKey {
    ObjectKey { resource, path: ObjectPath::new("acme", "default", name) }
}

/// Writes a store that has everything in it that there is, and gives it back as it is open.
async fn write(directory: &Path) -> (Engine, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(NEW_YEAR)));
    let (things, maps) = (GroupResource::new("apps", "things"), GroupResource::core("configmaps"));
    let mut engine = open(directory, &clock);
    for round in 0..14_u32 {
        let name = format!("thing-{}", round % 5);
        let put = Commit::one(key(things.clone(), &name), Expect::Anything, Change::put(rich(&name, round)));
        let counters = vec![
            CounterChange { counter: "rounds".into(), delta: 1, limit: None },
            CounterChange {
                counter: format!("of/{}", round % 3).into(),
                delta: if round < 3 { 5 } else { 0 },
                limit: None,
            },
        ];
        engine.commit(Commit { counters, ..put }).await.expect("commits");
        let expires = Some(Timestamp::from_micros(NEW_YEAR + 3_600_000_000 + i64::from(round)));
        let event = Change::Put { object: plain(&format!("event-{round}")), expires };
        let event = Commit::one(key(maps.clone(), &format!("event-{round}")), Expect::Absent, event);
        engine.commit(Commit { durability: Durability::Relaxed, ..event }).await.expect("commits");
        if round % 4 == 3 {
            let deleted = key(maps.clone(), &format!("event-{}", round - 2));
            engine.commit(Commit::one(deleted, Expect::Present, Change::Delete)).await.expect("commits");
            clock.advance(Duration::from_secs(50));
            engine.compact(clock.now()).await.expect("compacts");
            engine.flush().await.expect("flushes");
        }
        if round == 5 {
            // as if it had been killed: relaxed revisions may be lost, and it goes on above them
            let killed = directory.with_extension("killed");
            copy(directory, &killed);
            engine.close().await;
            std::fs::remove_dir_all(directory).expect("removes");
            std::fs::rename(&killed, directory).expect("renames");
            engine = open(directory, &clock);
        }
    }
    let counters = vec![CounterChange { counter: "of/0".into(), delta: -5, limit: None }];
    engine.commit(Commit { counters, ..Commit::default() }).await.expect("commits");
    (engine, clock)
}

/// A copy of a store that is open: what a kill would leave. The store drops files that it no longer needs in the
/// background, and a copy across such a moment is of no moment at all: it is begun again.
fn copy(from: &Path, to: &Path) {
    for _ in 0..100 {
        let before = names(from);
        std::fs::create_dir_all(to).expect("makes it");
        let copied = before.iter().all(|name| std::fs::copy(from.join(name), to.join(name)).is_ok());
        if copied && names(from) == before {
            return;
        }
        std::fs::remove_dir_all(to).expect("removes");
    }
    panic!("the files of {} never stay the same for as long as a copy takes", from.display());
}

fn names(directory: &Path) -> BTreeSet<OsString> {
    let entries = std::fs::read_dir(directory).expect("reads");
    entries.flatten().map(|entry| entry.file_name()).filter(|name| name != "lock").collect()
}

#[tokio::test]
async fn what_is_written_is_what_the_document_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let (place, killed) = (directory.path().join("store"), directory.path().join("killed"));
    let (engine, _) = write(&place).await;
    let expected = lines(&engine);
    copy(&place, &killed);
    engine.close().await;
    assert!(expected.len() > 15, "{expected:#?}");
    for (place, closed) in [(&place, true), (&killed, false)] {
        let read = Read::directory(place);
        assert_eq!((read.lines(), read.closed), (expected.clone(), closed));
        let missing: Vec<u8> = (1..=7).filter(|kind| !read.kinds.contains_key(kind)).collect();
        // a resumption is in the snapshot as a loss by now
        assert!(missing.iter().all(|kind| *kind == 5), "no entry of these kinds: {missing:?}");
    }
}

#[test]
fn the_readers_checksum_is_the_one_that_everybody_knows() {
    assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
}

fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/format-1")
}

/// Everything that is known to be in the frozen store: what it has, and what happened.
fn everything(engine: &Engine) -> String {
    let mut all = vec![format!("revision {}", engine.snapshot().revision())];
    all.extend(lines(engine));
    for resource in engine.snapshot().resources() {
        let last = engine.snapshot().last_events().find(|(name, _)| **name == resource).map(|(_, last)| last);
        all.push(format!("last event of {resource} {last:?}"));
        let selection = Selection::all(resource.clone(), Within::Everywhere);
        let oldest = match engine.watch(selection.clone(), arktos_core::Revision::ZERO) {
            Err(arktos_store::WatchError::Compacted { oldest, .. }) => oldest,
            _ => arktos_core::Revision::ZERO,
        };
        let mut cursor = engine.watch(selection, oldest).expect("watches");
        while let Some(delivery) = cursor.try_next().expect("delivers") {
            let what = match &delivery {
                Delivery::Added(_) => "added",
                Delivery::Modified(_) => "modified",
                _ => "deleted",
            };
            let stored = delivery.stored().expect("an object");
            all.push(format!("event {} {resource} {} {what}", stored.revision, stored.path));
        }
    }
    all.join("\n") + "\n"
}

#[tokio::test]
async fn a_store_of_format_version_1_is_read_by_every_later_release() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("store");
    copy(&frozen(), &place);
    let known = std::fs::read_to_string(place.join("known.txt")).expect("reads");
    let read = Read::directory(&place).lines();
    assert!(read.len() > 15);
    assert!(read.iter().all(|line| known.lines().any(|known| known == line)), "the document's reader finds the same");
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(NEW_YEAR)));
    let engine = open(&place, &clock);
    assert_eq!(everything(&engine), known);
    // and it can be gone on with
    let thing = key(GroupResource::core("configmaps"), "later");
    engine.commit(Commit::one(thing.clone(), Expect::Absent, Change::put(plain("later")))).await.expect("commits");
    engine.close().await;
    drop(engine);
    assert!(open(&place, &clock).snapshot().get(&thing).is_some());
}

/// Writes the frozen store of a new version of the format; those of older versions stay as they are.
#[tokio::test]
#[ignore = "only for a new version of the format: writes the directory that ARKTOS_FROZEN names"]
async fn freeze_a_store() {
    let frozen = PathBuf::from(std::env::var("ARKTOS_FROZEN").expect("names a directory"));
    let directory = tempfile::tempdir().expect("a directory");
    let (place, again) = (directory.path().join("store"), directory.path().join("again"));
    let (engine, clock) = write(&place).await;
    copy(&place, &frozen);
    engine.close().await;
    copy(&frozen, &again);
    std::fs::write(frozen.join("known.txt"), everything(&open(&again, &clock))).expect("writes");
}
