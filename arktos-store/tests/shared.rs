//! The engine over a store that several processes share, played by a list of groups.

mod model;
mod played;

use arktos_core::Revision;
use arktos_store::commit::{Change, Commit, Expect};
use arktos_store::storage::Group;
use arktos_store::{Selection, Stored, WatchError, Within};
use futures::FutureExt;
use model::{key, object, path, resource};
use played::{everything, group, open};

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
    publisher.publish(&group(20, 2)).expect("publishes");
    assert_eq!(answer.await.expect("commits").revision, Revision(20));
    assert_eq!(latest.await.expect("reads").get(&key(0, 2)).map(|stored| stored.revision), Some(Revision(20)));
    assert_eq!(engine.counter("ips"), 3);
}

#[tokio::test]
async fn a_feed_that_overlaps_tells_nothing_twice_and_progress_moves_bookmarks() {
    let (engine, publisher) = open().await;
    let mut cursor = engine.watch(everything(), Revision(10)).expect("watches");
    publisher.publish(&group(12, 2)).expect("publishes");
    publisher.publish(&group(12, 2)).expect("publishes");
    publisher.publish(&group(15, 3)).expect("publishes");
    assert_eq!(cursor.next().await.expect("delivers").revision(), Revision(12));
    assert_eq!(cursor.next().await.expect("delivers").revision(), Revision(15));
    assert_eq!(cursor.try_next().expect("waits"), None);
    let newer = Group { counters: vec![("ips".into(), 7)], ..group(20, 2) };
    publisher.publish(&newer).expect("publishes");
    publisher.publish(&group(15, 3)).expect("publishes");
    assert_eq!(engine.counter("ips"), 7, "what comes a second time counts nothing back");
    assert_eq!(cursor.next().await.expect("delivers").revision(), Revision(20));
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
    publisher.publish(&group(12, 2)).expect("publishes");
    let reset = publisher.reset(|restore| {
        let stored = Stored { path: path(3), revision: Revision(50), object: object(3, &(3, 3)) };
        restore.object(&resource(0), stored, None);
        restore.revision(Revision(60));
    });
    reset.expect("resets");
    assert!(matches!(waiting.await, Err(WatchError::Compacted { .. })));
    assert!(matches!(reading.next().await, Err(WatchError::Compacted { .. })));
    let snapshot = engine.snapshot();
    assert_eq!(snapshot.revision(), Revision(60));
    assert_eq!(snapshot.range(&resource(0), &Within::Everywhere, None).count(), 1);
    let mut anew = engine.watch(everything(), Revision(60)).expect("watches");
    publisher.publish(&group(61, 4)).expect("publishes");
    assert_eq!(anew.next().await.expect("delivers").revision(), Revision(61));
}
