//! Engines over etcd, and what they are to keep.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, Timestamp, TypeMeta};
use arktos_store::commit::{Change, Commit, Expect};
use arktos_store::etcd::{Etcd, EtcdOptions};
use arktos_store::storage::OpenError;
use arktos_store::{Clock, Cursor, Delivery, Engine, EngineConfig, Selection, Within};
use futures::future::BoxFuture;

/// A clock that goes with the runtime's.
pub struct RuntimeClock(tokio::time::Instant);

impl RuntimeClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000).later(self.0.elapsed())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// An engine, and what feeds it.
pub async fn open(options: &EtcdOptions) -> Result<(Engine, BoxFuture<'static, ()>), OpenError> {
    let clock = RuntimeClock::new();
    let storage = Etcd::connect(options, clock.clone()).await?;
    Engine::shared(Arc::new(storage), EngineConfig::default(), clock).await
}

pub fn key(name: &str) -> ObjectKey {
    ObjectKey { resource: GroupResource::core("pods"), path: ObjectPath::new("acme", "default", name) }
}

/// Writes a pod with a field of some size.
pub fn put(name: &str, expect: Expect, filler: usize) -> Commit {
    let type_meta = Arc::new(TypeMeta::new("", "v1", "Pod"));
    let mut object = Object::new(&type_meta, name);
    object.set(&["spec", "filler"], "x".repeat(filler));
    let object = Encoded::encode(&type_meta, &object, &[]).expect("encodes");
    Commit::one(key(name), expect, Change::put(object))
}

pub fn pods() -> Selection {
    Selection::all(GroupResource::core("pods"), Within::Everywhere)
}

/// An engine that is fed for as long as the test runs.
pub async fn fed(options: &EtcdOptions) -> Engine {
    let (engine, feed) = open(options).await.expect("opens");
    tokio::spawn(feed);
    engine
}

/// What a cursor tells until it comes to an object: name and revision of each event. Fails unless revisions rise.
pub async fn told_until(cursor: &mut Cursor, last: &str) -> Vec<(String, u64)> {
    let mut told: Vec<(String, u64)> = Vec::new();
    while told.last().is_none_or(|(name, _)| name != last) {
        let delivery = cursor.next().await.expect("goes on");
        if matches!(delivery, Delivery::Bookmark(_)) {
            continue;
        }
        let stored = delivery.stored().expect("an object");
        let event = (stored.path.name().to_owned(), delivery.revision().0);
        assert!(told.last().is_none_or(|(_, before)| *before < event.1), "{event:?} after {:?}", told.last());
        told.push(event);
    }
    told
}

/// The pods there are now, with their revisions.
pub async fn listed(engine: &Engine) -> Vec<(String, u64)> {
    let latest = engine.latest().await.expect("reads");
    let pods = GroupResource::core("pods");
    latest.range(&pods, &Within::Everywhere, None).map(|it| (it.path.name().to_owned(), it.revision.0)).collect()
}
