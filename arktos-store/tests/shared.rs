//! The engine over a store that several processes share, played by a list of groups.

mod model;

use std::sync::Arc;

use arktos_core::{Revision, Timestamp};
use arktos_store::clock::ManualClock;
use arktos_store::commit::{Change, Commit, CommitError, Committed, Expect};
use arktos_store::engine::Publisher;
use arktos_store::storage::{Group, OpenError, Record, Restore, Storage};
use arktos_store::{Engine, EngineConfig, Selection, Stored, WatchError, Within};
use async_trait::async_trait;
use futures::FutureExt;
use model::{key, object, path, resource};
use tokio::sync::{Mutex, oneshot};

/// A store at revision 10 with one object, which answers every commit at once with revision 20. What it feeds is up to
/// the test.
#[derive(Default)]
struct Played {
    publisher: Mutex<Option<oneshot::Sender<Publisher>>>,
}

#[async_trait]
impl Storage for Played {
    async fn load(&self, restore: &mut Restore) -> Result<(), OpenError> {
        let stored = Stored { path: path(1), revision: Revision(7), object: object(1, &(1, 1)) };
        restore.object(&resource(0), stored, None);
        restore.origin(Revision(10));
        Ok(())
    }

    async fn feed(&self, publisher: Publisher) {
        if let Some(publishers) = self.publisher.lock().await.take() {
            let _ = publishers.send(publisher);
        }
    }

    async fn commit(&self, _: Commit) -> Result<Committed, CommitError> {
        Ok(Committed { revisions: vec![Revision(20)], revision: Revision(20) })
    }

    async fn confirm(&self) -> Result<Revision, CommitError> {
        Ok(Revision(20))
    }
}

async fn open() -> (Engine, Publisher) {
    let (send, publisher) = oneshot::channel();
    let storage = Arc::new(Played { publisher: Mutex::new(Some(send)) });
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let (engine, driver) = Engine::shared(storage, EngineConfig::default(), clock).await.expect("opens");
    driver.await;
    (engine, publisher.await.expect("is fed"))
}

fn group(revision: u64, number: u8) -> Group {
    let change = Change::put(object(number, &(2, 2)));
    let record = Record { revision: Revision(revision), key: key(0, number), change };
    Group { records: vec![record], counters: vec![("ips".into(), 3)], ..Group::default() }
}

fn everything() -> Selection {
    Selection::all(resource(0), Within::Everywhere)
}

#[tokio::test]
async fn nobody_goes_on_from_before_what_was_loaded() {
    let (engine, _) = open().await;
    for resource in [resource(0), resource(1)] {
        let selection = Selection::all(resource, Within::Everywhere);
        let refused = engine.watch(selection.clone(), Revision(9)).err();
        assert_eq!(refused, Some(WatchError::Compacted { wanted: Revision(9), oldest: Revision(10) }));
        engine.watch(selection, Revision(10)).expect("the edge is clean");
    }
    assert!(matches!(engine.exactly_at(Revision(9)), Err(WatchError::Compacted { .. })));
}

#[tokio::test]
async fn a_writer_is_answered_when_it_can_read_what_it_wrote() {
    let (engine, publisher) = open().await;
    let commit = Commit::one(key(0, 2), Expect::Absent, Change::put(object(2, &(2, 2))));
    let mut answer = Box::pin(engine.commit(commit));
    let mut latest = Box::pin(engine.latest());
    assert!(answer.as_mut().now_or_never().is_none());
    assert!(latest.as_mut().now_or_never().is_none());
    publisher.publish(&group(20, 2));
    assert_eq!(answer.await.expect("commits").revision, Revision(20));
    assert_eq!(latest.await.expect("reads").get(&key(0, 2)).map(|stored| stored.revision), Some(Revision(20)));
    assert_eq!(engine.counter("ips"), 3);
}

#[tokio::test]
async fn a_feed_that_overlaps_tells_nothing_twice_and_progress_moves_bookmarks() {
    let (engine, publisher) = open().await;
    let mut cursor = engine.watch(everything(), Revision(10)).expect("watches");
    publisher.publish(&group(12, 2));
    publisher.publish(&group(12, 2));
    publisher.publish(&group(15, 3));
    assert_eq!(cursor.next().await.expect("delivers").revision(), Revision(12));
    assert_eq!(cursor.next().await.expect("delivers").revision(), Revision(15));
    assert_eq!(cursor.try_next().expect("waits"), None);
    publisher.progress(Revision(100));
    assert_eq!(cursor.bookmark_now(), Revision(100));
    assert_eq!(publisher.revision(), Revision(100));
}

#[tokio::test]
async fn after_a_reset_every_cursor_lists_anew() {
    let (engine, publisher) = open().await;
    let mut parked = engine.watch(everything(), Revision(10)).expect("watches");
    let mut waiting = Box::pin(parked.next());
    assert!(waiting.as_mut().now_or_never().is_none());
    let mut reading = engine.watch(everything(), Revision(10)).expect("watches");
    publisher.publish(&group(12, 2));
    publisher.reset(|restore| {
        let stored = Stored { path: path(3), revision: Revision(50), object: object(3, &(3, 3)) };
        restore.object(&resource(0), stored, None);
        restore.revision(Revision(60));
    });
    assert!(matches!(waiting.await, Err(WatchError::Compacted { .. })));
    assert!(matches!(reading.next().await, Err(WatchError::Compacted { .. })));
    let snapshot = engine.snapshot();
    assert_eq!(snapshot.revision(), Revision(60));
    assert_eq!(snapshot.range(&resource(0), &Within::Everywhere, None).count(), 1);
    let mut anew = engine.watch(everything(), Revision(60)).expect("watches");
    publisher.publish(&group(61, 4));
    assert_eq!(anew.next().await.expect("delivers").revision(), Revision(61));
}
