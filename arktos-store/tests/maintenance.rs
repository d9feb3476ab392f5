//! What a store does by itself, when its owner runs its maintenance: forget history by age and by bytes, let objects
//! expire.

mod model;

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{GroupResource, ObjectKey, ObjectPath, Revision, Timestamp};
use arktos_store::clock::ManualClock;
use arktos_store::{Change, Clock, Commit, Durability, Engine, EngineConfig, Expect, Selection, WatchError, Within};
use model::{key, object, resource};

fn pods() -> Selection {
    Selection::all(resource(0), Within::Everywhere)
}

async fn put(engine: &Engine, number: u8, value: u8) -> Revision {
    let put = Commit::one(key(0, number), Expect::Anything, Change::put(object(number, &(value, value))));
    engine.commit(put).await.expect("commits").revision
}

/// Lets time pass, and the maintenance have its turn after each second.
async fn pass(clock: &ManualClock, seconds: u64) {
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

fn maintained(config: EngineConfig) -> (Engine, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_micros(1_000_000));
    let engine = Engine::memory_with(config, Arc::new(clock.clone()));
    let running = engine.clone();
    tokio::spawn(async move { running.maintenance().await });
    (engine, clock)
}

#[tokio::test]
async fn history_goes_by_age_and_an_idle_resource_keeps_its_place() {
    let mut config = EngineConfig::default();
    config.history_window = Duration::from_secs(10);
    let (engine, clock) = maintained(config);
    pass(&clock, 1).await;
    let first = put(&engine, 1, 1).await;
    pass(&clock, 5).await;
    let second = put(&engine, 1, 2).await;
    assert!(engine.watch(pods(), Revision::ZERO).is_ok());
    pass(&clock, 8).await;
    let refused = engine.watch(pods(), Revision::ZERO).err();
    assert_eq!(refused, Some(WatchError::Compacted { wanted: Revision::ZERO, oldest: first }));
    assert!(engine.watch(pods(), first).is_ok(), "the second event is young enough");
    let past = engine.exactly_at(first).expect("is reached").get(&key(0, 1)).expect("is there");
    assert_eq!(past.revision, first);
    pass(&clock, 10).await;
    assert!(matches!(engine.exactly_at(first).err(), Some(WatchError::Compacted { .. })));
    pass(&clock, 1_000).await;
    assert!(engine.watch(pods(), second).is_ok(), "however long nothing happens");
}

#[tokio::test]
async fn all_that_is_due_expires_at_once_however_much_it_is() {
    let engine = Engine::memory(Arc::new(ManualClock::new(Timestamp::from_micros(0))));
    let put = Change::Put { object: object(1, &(1, 1)), expires: Some(Timestamp::from_micros(5)) };
    for number in 0..10_000 {
        let path = ObjectPath::new("acme", "default", &format!("event-{number}"));
        let key = ObjectKey { resource: resource(0), path };
        engine.commit(Commit::one(key, Expect::Absent, put.clone())).await.expect("commits");
    }
    assert_eq!(engine.expire(Timestamp::from_micros(5)).await.expect("expires"), 10_000);
    assert_eq!(engine.snapshot().count(&resource(0), &Within::Everywhere), 0);
}

#[tokio::test]
async fn what_is_written_again_and_again_is_to_expire_once() {
    let engine = Engine::memory(Arc::new(ManualClock::new(Timestamp::from_micros(0))));
    let at = Timestamp::from_micros;
    let write = |change| Commit::one(key(0, 1), Expect::Anything, change);
    let expiries = || engine.snapshot().expiries().map(|(at, _)| at).collect::<Vec<_>>();
    for micros in 1..1000 {
        let change = Change::Put { object: object(1, &(1, 1)), expires: Some(at(micros)) };
        engine.commit(write(change)).await.expect("commits");
    }
    assert_eq!(expiries(), [at(999)]);
    assert_eq!(engine.expire(at(998)).await.expect("expires"), 0);
    engine.commit(write(Change::Delete)).await.expect("commits");
    assert!(expiries().is_empty());
}

#[tokio::test]
async fn history_goes_by_bytes_whatever_its_age() {
    let mut config = EngineConfig::default();
    config.history_bytes = 20_000;
    let (engine, clock) = maintained(config);
    for value in 0..200 {
        put(&engine, 1, value).await;
    }
    pass(&clock, 2).await;
    let newest = engine.snapshot().revision();
    let kept = (0..newest.0).filter(|back| engine.exactly_at(Revision(newest.0 - back)).is_ok()).count();
    assert!((20..100).contains(&kept), "{kept} states are kept of 20,000 bytes");
    assert!(matches!(engine.watch(pods(), Revision(1)).err(), Some(WatchError::Compacted { .. })));
}

#[tokio::test]
async fn the_past_of_a_resource_does_not_go_because_much_changes_of_another() {
    let mut config = EngineConfig::default();
    config.history_bytes = 20_000;
    let (engine, clock) = maintained(config);
    let then = put(&engine, 1, 1).await;
    put(&engine, 1, 2).await;
    for value in 0..200 {
        let change = Change::put(object(value, &(value, value)));
        engine.commit(Commit::one(key(1, 1), Expect::Anything, change)).await.expect("commits");
    }
    pass(&clock, 2).await;
    for gone in [engine.exactly_at(then), engine.past_of(&resource(1), then)] {
        assert!(matches!(gone.err(), Some(WatchError::Compacted { .. })));
    }
    let past = engine.past_of(&resource(0), then).expect("its own history reaches back");
    assert_eq!((past.revision(), past.get(&key(0, 1)).map(|stored| stored.revision)), (then, Some(then)));
    let never = GroupResource::core("services");
    assert_eq!(engine.past_of(&never, then).expect("was never there").count(&never, &Within::Everywhere), 0);
}

#[cfg(feature = "log")]
#[tokio::test]
async fn what_is_to_expire_does_so_after_a_restart_written_synced_or_relaxed() {
    use arktos_store::log::LogJournal;

    let directory = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::new(Timestamp::from_micros(1_000_000));
    let open = || {
        let journal = LogJournal::open(directory.path(), Default::default()).expect("opens");
        Engine::open(Box::new(journal), EngineConfig::default(), Arc::new(clock.clone())).expect("opens")
    };
    let expiring = |number: u8, seconds: u64, durability| {
        let expires = Some(clock.now().later(Duration::from_secs(seconds)));
        let change = Change::Put { object: object(number, &(1, 1)), expires };
        Commit { durability, ..Commit::one(key(0, number), Expect::Anything, change) }
    };
    let engine = open();
    for (number, seconds, durability) in [
        (1, 10, Durability::Synced),
        (2, 10, Durability::Relaxed),
        (3, 60, Durability::Relaxed),
        (4, 10, Durability::Relaxed),
    ] {
        engine.commit(expiring(number, seconds, durability)).await.expect("commits");
    }
    put(&engine, 4, 2).await; // written anew, for good
    engine.close().await;
    drop(engine);

    clock.advance(Duration::from_secs(20));
    let engine = open();
    let before = engine.snapshot().revision();
    let mut watch = engine.watch(pods(), before).expect("goes on");
    assert_eq!(engine.expire(clock.now()).await.expect("expires"), 2);
    let there = |number| engine.snapshot().get(&key(0, number)).is_some();
    assert_eq!([1, 2, 3, 4].map(there), [false, false, true, true]);
    for number in [1, 2] {
        let told = watch.try_next().expect("goes on").expect("is told");
        assert_eq!(told.stored().expect("an object").path, key(0, number).path);
    }
    engine.close().await;
    drop(engine);
    let engine = open();
    assert_eq!(engine.expire(clock.now()).await.expect("expires"), 0, "what has gone stays away");
    clock.advance(Duration::from_secs(60));
    assert_eq!(engine.expire(clock.now()).await.expect("expires"), 1);
    assert!(engine.snapshot().get(&key(0, 4)).is_some());
}
