//! What there is, then what happens, in one stream.

mod model;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{LabelSelector, ObjectPath, Revision, Timestamp};
use arktos_store::client::WatchListEvent;
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::{
    Change, Commit, Delivery, Engine, EngineConfig, Expect, ListWatch, Random, Selection, Stored, WatchError, Within,
};
use model::{key, object, resource};

type Contents = BTreeMap<ObjectPath, (Revision, Vec<u8>)>;

fn engine() -> (Engine, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_micros(0));
    (Engine::memory(Arc::new(clock.clone())), clock)
}

fn pods() -> Selection {
    Selection::all(resource(0), Within::Everywhere)
}

async fn put(engine: &Engine, number: u8, value: u8) -> Revision {
    let put = Commit::one(key(0, number), Expect::Anything, Change::put(object(number, &(value, value))));
    engine.commit(put).await.expect("commits").revision
}

async fn delete(engine: &Engine, number: u8) {
    let _ = engine.commit(Commit::one(key(0, number), Expect::Present, Change::Delete)).await; // it may be gone
}

fn line(stored: &Stored) -> (Revision, Vec<u8>) {
    (stored.revision, stored.object.tail().to_vec())
}

fn fold(state: &mut Contents, delivery: Delivery) {
    match delivery {
        Delivery::Added(stored) => {
            assert!(state.insert(stored.path.clone(), line(&stored)).is_none(), "{} was there", stored.path);
        }
        Delivery::Modified(stored) => {
            assert!(state.insert(stored.path.clone(), line(&stored)).is_some(), "{} was not there", stored.path);
        }
        Delivery::Deleted(stored) => {
            assert!(state.remove(&stored.path).is_some(), "{} was not there", stored.path);
        }
        Delivery::Bookmark(_) => {}
    }
}

fn contents(engine: &Engine, selection: &Selection, at: Revision) -> Contents {
    let snapshot = engine.exactly_at(at).expect("history reaches back");
    let all = snapshot.range(&selection.resource, &selection.within, None);
    let all = all.filter(|stored| selection.matches(&stored.path, &stored.object));
    all.map(|stored| (stored.path.clone(), line(&stored))).collect()
}

/// Reads up to the mark; gives back the state so far and the mark's revision.
async fn initial(stream: &mut ListWatch) -> (Contents, Revision) {
    let mut state = Contents::new();
    loop {
        assert_eq!(stream.bookmark_now(), None, "nobody may go on from among the initial objects");
        match stream.next().await.expect("goes on") {
            WatchListEvent::Delivery(delivery) => {
                assert!(matches!(delivery, Delivery::Added(_)), "{delivery:?}");
                fold(&mut state, delivery);
            }
            WatchListEvent::InitialEnd(revision) => return (state, revision),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_state_folded_from_the_stream_is_the_stores_at_every_point() {
    let (engine, _) = engine();
    let mut selections = [pods(), pods(), pods()];
    selections[1].labels = LabelSelector::parse("app=l1").expect("parses");
    selections[2].within = Within::Namespace(arktos_core::TenantName::new("acme").expect("a name"), "default".into());
    let writers: Vec<_> = (0..3_u64)
        .map(|seed| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let random = SeededRandom::new(seed);
                for _ in 0..500 {
                    let (number, value) = (random.next() as u8 % 18, random.next() as u8);
                    if value % 4 == 0 {
                        delete(&engine, number).await;
                    } else {
                        let _ = put(&engine, number, value).await;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..12)
        .map(|at| (engine.clone(), selections[at % 3].clone()))
        .map(|(engine, selection)| {
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                let asked_at = engine.snapshot().revision();
                let mut stream = engine.list_watch(selection.clone()).await.expect("opens");
                let (mut state, mut at) = initial(&mut stream).await;
                assert!(at >= asked_at, "not older than the newest at the time of the request");
                assert_eq!(state, contents(&engine, &selection, at));
                for _ in 0..100 {
                    let Ok(next) = tokio::time::timeout(Duration::from_secs(1), stream.next()).await else { break };
                    let Ok(WatchListEvent::Delivery(delivery)) = next else { panic!("{next:?}") };
                    assert!(delivery.revision() > at, "in order, and nothing twice");
                    at = delivery.revision();
                    fold(&mut state, delivery);
                    assert_eq!(state, contents(&engine, &selection, at));
                }
            })
        })
        .collect();
    for task in writers.into_iter().chain(readers) {
        task.await.expect("no assertion fails");
    }
}

/// kubernetes #122830: a watch with initial events was served from a cache that was behind.
#[tokio::test]
async fn k8s_122830_the_initial_state_is_not_older_than_the_newest_at_the_time_of_the_request() {
    let (engine, _) = engine();
    for value in 0..200 {
        let written = put(&engine, 1, value).await;
        let mut stream = engine.list_watch(pods()).await.expect("opens");
        let (state, revision) = initial(&mut stream).await;
        assert!(revision >= written);
        assert_eq!(state[&key(0, 1).path].0, written);
    }
}

/// kubernetes #126958: the mark at the end of the initial events came late, as long as nothing was written.
#[tokio::test]
async fn k8s_126958_the_mark_comes_at_once_in_an_idle_store_and_with_its_newest_revision() {
    let (engine, _) = engine();
    put(&engine, 1, 1).await;
    let other = Commit::one(key(1, 1), Expect::Anything, Change::put(object(1, &(1, 1))));
    let newest = engine.commit(other).await.expect("commits").revision;
    for selection in [
        pods(),
        Selection::all(resource(1), Within::Everywhere),
        Selection::all("none".to_owned().into(), Within::Everywhere),
    ] {
        let mut stream = engine.list_watch(selection).await.expect("opens");
        let mut ready = 0;
        loop {
            // nothing is waited for
            match futures::poll!(std::pin::pin!(stream.next())) {
                std::task::Poll::Ready(Ok(WatchListEvent::Delivery(_))) => ready += 1,
                std::task::Poll::Ready(Ok(WatchListEvent::InitialEnd(revision))) => break assert_eq!(revision, newest),
                other => panic!("{other:?} after {ready}"),
            }
        }
        assert!(futures::poll!(std::pin::pin!(stream.next())).is_pending(), "the mark comes once");
        assert_eq!(stream.bookmark_now(), Some(newest));
    }
}

#[tokio::test]
async fn a_consumer_whom_history_has_passed_by_is_told_so_and_never_skips() {
    let clock = ManualClock::new(Timestamp::from_micros(0));
    let mut config = EngineConfig::default();
    config.history_window = Duration::from_secs(10);
    let engine = Engine::memory_with(config, Arc::new(clock.clone()));
    for number in 0..18 {
        put(&engine, number, 1).await;
    }
    let mut slow = engine.list_watch(pods()).await.expect("opens");
    let mut patient = engine.list_watch(pods()).await.expect("opens");
    initial(&mut patient).await;
    for _ in 0..5 {
        assert!(matches!(slow.next().await, Ok(WatchListEvent::Delivery(Delivery::Added(_)))));
    }
    let first = engine.snapshot().revision();
    for value in 0..100 {
        put(&engine, value % 18, value).await;
    }
    clock.advance(Duration::from_secs(60));
    engine.compact(arktos_store::Clock::now(&clock)).await.expect("compacts");
    put(&engine, 3, 9).await;
    // what it was promised of the first state is still there; what came then is not, and it is told
    let mut rest = 0;
    loop {
        match slow.next().await {
            Ok(WatchListEvent::Delivery(Delivery::Added(_))) => rest += 1,
            Ok(WatchListEvent::InitialEnd(revision)) => break assert_eq!((rest, revision), (13, first)),
            other => panic!("{other:?}"),
        }
    }
    for stream in [&mut slow, &mut patient] {
        for _ in 0..2 {
            let ended = stream.next().await;
            assert!(matches!(ended, Err(WatchError::Compacted { wanted, .. }) if wanted == first), "{ended:?}");
        }
    }
}

#[tokio::test]
async fn objects_from_elsewhere_come_in_their_place_and_once() {
    let (engine, _) = engine();
    for number in 0..18 {
        put(&engine, number, 1).await;
    }
    let beside = |name: &str| Stored {
        path: ObjectPath::new("acme", "default", name),
        revision: Revision(1),
        object: object(1, &(0, 0)),
    };
    for stream in [engine.list_watch(pods()).await, engine.list_watch_from(engine.snapshot(), pods())] {
        let mut stream = stream.expect("opens").beside(vec![beside("zz"), beside("aa")]);
        let mut paths = Vec::new();
        while let WatchListEvent::Delivery(Delivery::Added(stored)) = stream.next().await.expect("goes on") {
            paths.push(stored.path.clone());
        }
        assert_eq!(paths.len(), 20);
        assert!(paths.windows(2).all(|two| two[0] < two[1]), "{paths:?}");
    }
}
