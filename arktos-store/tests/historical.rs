//! Bugs that other watch caches and stores have had, each as a test that this one has it not. The numbers are those of
//! the issues in which they were reported.
//!
//! What was lost in crashes (etcd #13766, #14370, #14685) is in `log_recovery.rs`, which tries every step.

mod faulty;
mod model;
mod played;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arktos_core::{LabelSelector, ObjectPath, Revision, Timestamp};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::commit::{Change, Commit, Expect, Write};
use arktos_store::storage::{AppendError, Group, Journal, OpenError, Restore};
use arktos_store::{Clock, Cursor, Delivery, Engine, EngineConfig, Random, Selection, WatchError, Within};
use faulty::{Fault, FaultyDisk};
use futures::FutureExt;
use model::{key, object, resource};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_micros(0)))
}

fn memory() -> Engine {
    Engine::memory(clock())
}

/// An engine in memory whose resources keep about so many events.
fn with_history(events: usize) -> Engine {
    let mut config = EngineConfig::default();
    config.history_bytes = events * 512;
    Engine::memory_with(config, clock())
}

fn all(number: u8) -> Selection {
    Selection::all(resource(number), Within::Everywhere)
}

async fn put(engine: &Engine, number: u8, value: u8) -> Revision {
    let change = Change::put(object(number, &(value, value)));
    engine.commit(Commit::one(key(0, number), Expect::Anything, change)).await.expect("commits").revision
}

async fn delete(engine: &Engine, number: u8) -> Revision {
    let commit = Commit::one(key(0, number), Expect::Present, Change::Delete);
    engine.commit(commit).await.expect("commits").revision
}

/// What a cursor has to tell now.
fn told(cursor: &mut Cursor) -> Vec<Delivery> {
    std::iter::from_fn(|| cursor.try_next().expect("goes on")).collect()
}

fn revisions(deliveries: &[Delivery]) -> Vec<Revision> {
    deliveries.iter().map(Delivery::revision).collect()
}

/// Kubernetes #24004: a watch from N was told N.
#[tokio::test]
async fn a_watch_from_a_revision_is_told_nothing_up_to_it() {
    let engine = memory();
    let mut written = Vec::new();
    for value in 0..5 {
        written.push(put(&engine, 1, value).await);
    }
    for (place, after) in written.iter().enumerate() {
        let mut cursor = engine.watch(all(0), *after).expect("watches");
        assert_eq!(revisions(&told(&mut cursor)), written[place + 1..]);
    }
}

/// Kubernetes #49956: what came between the list and the start of the watch was lost, by one.
#[tokio::test]
async fn what_is_written_between_a_list_and_the_watch_from_it_is_told() {
    for before in 0..3 {
        let engine = memory();
        for value in 0..before {
            put(&engine, 1, value).await;
        }
        let listed = engine.snapshot().revision();
        let between = put(&engine, 2, 0).await;
        let mut cursor = engine.watch(all(0), listed).expect("watches");
        assert_eq!(revisions(&told(&mut cursor)), [between]);
    }
}

/// Kubernetes #58545, #58547: the deletion carried the revision the object had before; so did what left a selection.
#[tokio::test]
async fn a_deletion_carries_its_own_revision_also_when_an_object_leaves_by_its_labels() {
    let engine = memory();
    let labels = LabelSelector::parse("app=l1").expect("parses");
    let mut selected = engine.watch(all(0).labels(labels), Revision::ZERO).expect("watches");
    let mut everything = engine.watch(all(0), Revision::ZERO).expect("watches");
    let added = put(&engine, 1, 1).await;
    let left = put(&engine, 1, 2).await;
    let back = put(&engine, 1, 1).await;
    let deleted = delete(&engine, 1).await;
    assert_eq!(revisions(&told(&mut selected)), [added, left, back, deleted]);
    let last = told(&mut everything).pop().expect("deliveries");
    assert!(matches!(last, Delivery::Deleted(stored) if stored.revision == deleted && deleted > back));
}

/// Kubernetes #73845: what had gathered before a slow start was sent again after it, and time went back.
#[tokio::test]
async fn what_was_told_before_a_slow_reader_went_on_is_not_told_again() {
    let engine = memory();
    let mut cursor = engine.watch(all(0), Revision::ZERO).expect("watches");
    let mut told = Vec::new();
    for round in 0..20 {
        for value in 0..10 {
            put(&engine, value % 3, value).await;
        }
        for _ in 0..round {
            told.extend(cursor.try_next().expect("goes on"));
        }
    }
    told.extend(std::iter::from_fn(|| cursor.try_next().expect("goes on")));
    assert_eq!(revisions(&told), (1..=200).map(Revision).collect::<Vec<_>>());
}

/// Kubernetes #116122, #116172: a watch that was open while the cache was filled anew went on as if nothing had been.
#[tokio::test]
async fn a_watch_that_is_open_while_the_copy_is_made_anew_ends_and_says_so() {
    let (engine, publisher) = played::open().await;
    let mut parked = engine.watch(all(0), Revision(10)).expect("watches");
    let mut of_nothing = engine.watch(all(1), Revision(10)).expect("watches");
    assert!(parked.next().now_or_never().is_none() && of_nothing.next().now_or_never().is_none());
    publisher.reset(|restore| restore.revision(Revision(60))).expect("resets");
    for cursor in [&mut parked, &mut of_nothing] {
        assert_eq!(cursor.bookmark_now(), Revision(10), "a bookmark passes over what was forgotten");
    }
    let mut late = played::group(61, 4);
    late.records[0].key = key(1, 4);
    publisher.publish(&late).expect("publishes");
    for cursor in [&mut parked, &mut of_nothing] {
        let ended = cursor.try_next();
        let expected = WatchError::Compacted { wanted: Revision(10), oldest: Revision(60) };
        assert_eq!(ended, Err(expected), "what was written and deleted meanwhile is not known");
    }
}

/// The same from the other side: a commit larger than the history kept, of which a waiting watch saw only the end.
#[tokio::test]
async fn a_watch_that_waits_is_told_when_what_came_has_left_the_history_at_once() {
    let engine = with_history(4);
    let one = Selection::all(resource(0), Within::Object(key(0, 1).path));
    let mut parked = engine.watch(one, Revision::ZERO).expect("watches");
    assert!(parked.next().now_or_never().is_none());
    let write = |number: u8| Write {
        key: key(0, number),
        expect: Expect::Anything,
        change: Change::put(object(number, &(1, 1))),
    };
    let mut writes = vec![write(1)];
    writes.extend((2..18).map(write));
    engine.commit(Commit { writes, ..Commit::default() }).await.expect("commits");
    assert_eq!(parked.bookmark_now(), Revision::ZERO, "a bookmark passes over what was not delivered");
    assert!(matches!(parked.next().now_or_never(), Some(Err(WatchError::Compacted { .. }))));
}

/// Kubernetes #123072, #76624, #111387: deletions were lost from the cache when its feed was cut.
#[tokio::test]
async fn no_deletion_is_lost_and_the_copy_equals_the_store_however_the_feed_is_cut() {
    for seed in 0..50 {
        let random = SeededRandom::new(seed);
        let (engine, publisher) = played::open().await;
        let mut cursor = engine.watch(all(0), Revision(10)).expect("watches");
        let mut believed: BTreeMap<ObjectPath, Revision> = BTreeMap::from([(model::path(1), Revision(7))]);
        let mut store = believed.clone();
        let mut groups: Vec<Group> = Vec::new();
        for revision in 11..60 {
            let number = u8::try_from(random.next() % 5).expect("small");
            let mut group = played::group(revision, number);
            if random.next().is_multiple_of(2) && store.remove(&model::path(number)).is_some() {
                group.records[0].change = Change::Delete;
            } else {
                store.insert(model::path(number), Revision(revision));
            }
            groups.push(group);
            // the feed is cut, and begins again a little before the cut
            let again = usize::try_from(random.next() % 4).expect("small").min(groups.len() - 1);
            groups[groups.len() - 1 - again..].iter().for_each(|group| publisher.publish(group).expect("publishes"));
            if random.next().is_multiple_of(3) {
                for delivery in told(&mut cursor) {
                    let stored = delivery.stored().expect("an object").clone();
                    match delivery {
                        Delivery::Deleted(_) => believed.remove(&stored.path),
                        _ => believed.insert(stored.path, stored.revision),
                    };
                }
                assert_eq!(believed, store, "what a watcher believes, at {revision} of {seed}");
            }
            let snapshot = engine.snapshot();
            let copy = snapshot.range(&resource(0), &Within::Everywhere, None);
            let copy: BTreeMap<ObjectPath, Revision> = copy.map(|it| (it.path.clone(), it.revision)).collect();
            assert_eq!(copy, store, "the copy, at {revision} of {seed}");
        }
    }
}

/// Kubernetes #94002: the pages of a filtered list were of different revisions.
#[tokio::test]
async fn the_pages_of_a_filtered_list_are_of_one_revision() {
    let engine = memory();
    for number in 0..18 {
        put(&engine, number, number % 3).await;
    }
    let labels = LabelSelector::parse("app=l1").expect("parses");
    let selection = all(0).labels(labels);
    let first = engine.snapshot();
    let matching = |stored: &Arc<arktos_store::Stored>| selection.matches(&stored.path, &stored.object);
    let whole: Vec<_> = first.range(&resource(0), &Within::Everywhere, None).filter(matching).collect();
    let (mut pages, mut last): (Vec<_>, Option<ObjectPath>) = (Vec::new(), None);
    loop {
        let page = engine.exactly_at(first.revision()).expect("is kept");
        let found: Vec<_> =
            page.range(&resource(0), &Within::Everywhere, last.as_ref()).filter(matching).take(2).collect();
        let Some(end) = found.last() else { break };
        last = Some(end.path.clone());
        pages.extend(found);
        for number in 0..18 {
            put(&engine, number, (number + 1) % 3).await; // everything moves in or out of the selection
        }
        delete(&engine, 17).await;
    }
    assert_eq!(pages, whole);
}

/// Kubernetes #87292 (KEP-1904), #59848: a resource that nobody writes was too old to watch after others were written.
#[tokio::test]
async fn an_idle_resource_can_be_watched_from_where_it_was_however_much_others_are_written() {
    let engine = with_history(100);
    let idle = Commit::one(key(1, 1), Expect::Absent, Change::put(object(1, &(1, 1))));
    let last = engine.commit(idle).await.expect("commits").revision;
    let mut waiting = engine.watch(all(1), last).expect("watches");
    assert!(waiting.next().now_or_never().is_none());
    // a million writes of the busy one
    let busy: Vec<_> = (0..18).map(|number| (key(0, number), Change::put(object(number, &(1, 1))))).collect();
    for (key, change) in busy.iter().cycle().take(1_000_000) {
        let commit = Commit::one(key.clone(), Expect::Anything, change.clone());
        engine.commit(commit).await.expect("commits");
    }
    assert!(matches!(engine.watch(all(0), last), Err(WatchError::Compacted { .. })), "the busy one has forgotten");
    let mut resumed = engine.watch(all(1), last).expect("the idle one has not");
    let gone = engine.commit(Commit::one(key(1, 1), Expect::At(last), Change::Delete)).await.expect("commits");
    assert_eq!(revisions(&told(&mut resumed)), [gone.revision]);
    assert_eq!(revisions(&told(&mut waiting)), [gone.revision]);
}

/// Kubernetes #117014: a bookmark was sent once and never again. Kine #577: an idle store gave none at all.
#[tokio::test]
async fn a_cursor_gives_bookmarks_again_and_again_and_never_before_what_they_promise() {
    let engine = memory();
    let mut idle = engine.watch(all(1), Revision::ZERO).expect("watches");
    let mut slow = engine.watch(all(0), Revision::ZERO).expect("watches");
    assert!(idle.next().now_or_never().is_none());
    for value in 0..20 {
        let written = put(&engine, 1, value).await;
        assert_eq!(idle.bookmark_now(), written, "nothing of it was its business");
        let read = slow.revision();
        assert_eq!(slow.bookmark_now(), read, "it has not read what was written");
        if value % 3 == 2 {
            told(&mut slow);
            assert_eq!(slow.bookmark_now(), written);
        }
    }
}

/// etcd #15220: progress was told before the events that it covers. etcd #15271: a watch went back in time.
#[tokio::test]
async fn progress_neither_overtakes_events_nor_goes_back() {
    let (engine, publisher) = played::open().await;
    let mut reading = engine.watch(all(0), Revision(10)).expect("watches");
    let mut parked = engine.watch(all(0), Revision(10)).expect("watches");
    assert!(parked.next().now_or_never().is_none());
    publisher.publish(&played::group(15, 2)).expect("publishes");
    publisher.progress(Revision(30));
    for cursor in [&mut reading, &mut parked] {
        assert!(cursor.bookmark_now() < Revision(15), "an event that is not delivered lies before it");
        assert_eq!(revisions(&told(cursor)), [Revision(15)]);
        assert_eq!(cursor.bookmark_now(), Revision(30));
    }
    // a member that was cut off tells what is old
    publisher.progress(Revision(12));
    publisher.publish(&played::group(14, 3)).expect("publishes");
    assert_eq!((publisher.revision(), engine.snapshot().revision()), (Revision(30), Revision(30)));
    for cursor in [&mut reading, &mut parked] {
        assert_eq!((told(cursor), cursor.bookmark_now()), (vec![], Revision(30)));
    }
}

/// etcd #17247: an event was delivered twice after a reconnect.
#[tokio::test]
async fn a_watch_that_is_opened_again_after_each_delivery_repeats_nothing() {
    let engine = memory();
    for value in 0..30 {
        put(&engine, value % 4, value).await;
    }
    let (mut after, mut seen) = (Revision::ZERO, BTreeSet::new());
    while let Some(delivery) = engine.watch(all(0), after).expect("watches").try_next().expect("goes on") {
        assert!(seen.insert(delivery.revision()), "told twice");
        after = delivery.revision();
    }
    assert_eq!(seen, (1..=30).map(Revision).collect());
}

/// etcd #17529: a watcher that was starved lost events. Here it gets all, or is told that it cannot.
#[tokio::test]
async fn a_reader_that_is_starved_gets_everything_or_is_told_that_it_cannot() {
    for (kept, written) in [(1000, 900_u32), (100, 900)] {
        let engine = with_history(kept);
        let mut starved = engine.watch(all(0), Revision::ZERO).expect("watches");
        put(&engine, 0, 0).await;
        starved.next().await.expect("goes on");
        for round in 0..written {
            put(&engine, (round % 18) as u8, 1).await;
        }
        if kept > 900 {
            assert_eq!(told(&mut starved).len(), 900);
        } else {
            assert!(matches!(starved.try_next(), Err(WatchError::Compacted { wanted: Revision(1), .. })));
        }
    }
}

/// etcd #17780: the revision fell after a crash in the middle of a compaction.
#[tokio::test]
async fn no_crash_while_the_log_drops_what_is_old_lets_the_revision_fall() {
    let mut options = arktos_store::log::LogOptions::default();
    (options.first_segment_bytes, options.segment_bytes) = (4096, 4096);
    (options.snapshot_bytes, options.prepare_ahead) = (4096, false);
    let mut crashes = 0;
    for step in 0..60 {
        let (disk, clock, random) = (FaultyDisk::default(), clock(), SeededRandom::new(step));
        let open = |disk: &FaultyDisk| {
            let journal = arktos_store::log::LogJournal::on(Arc::new(disk.clone()), options.clone()).expect("opens");
            Engine::open(Box::new(journal), EngineConfig::default(), clock.clone()).expect("opens")
        };
        let engine = open(&disk);
        let mut newest = Revision::ZERO;
        for round in 0..60 {
            newest = put(&engine, round % 18, round).await;
        }
        clock.advance(Duration::from_secs(3600));
        disk.fail_after(step, Fault::Crash);
        let _ = engine.compact(clock.now()).await;
        let _ = engine.flush().await;
        engine.close().await;
        crashes += u32::from(disk.has_crashed());
        let engine = open(&disk.after_crash(&random));
        assert!(engine.snapshot().revision() >= newest, "it fell from {newest}");
        assert_eq!(engine.snapshot().count(&resource(0), &Within::Everywhere), 18);
        assert!(put(&engine, 0, 0).await > newest);
        engine.close().await;
    }
    assert!(crashes > 5, "the machine has stopped {crashes} times");
}

/// etcd #18089, #19179: a deletion was lost when the history was compacted right at it.
#[tokio::test]
async fn a_deletion_at_the_edge_of_what_is_kept_is_told() {
    for rest in 0..8 {
        let clock = clock();
        let engine = Engine::memory(clock.clone());
        for number in 0..3 {
            put(&engine, number, 0).await;
            delete(&engine, number).await;
        }
        clock.advance(Duration::from_secs(200));
        for number in 0..rest {
            put(&engine, number / 2, 0).await;
            if number % 2 == 1 {
                delete(&engine, number / 2).await;
            }
        }
        let before = told(&mut engine.watch(all(0), Revision::ZERO).expect("watches"));
        clock.advance(Duration::from_secs(200));
        engine.compact(clock.now()).await.expect("compacts");
        let refused = engine.watch(all(0), Revision::ZERO).err();
        let Some(WatchError::Compacted { oldest, .. }) = refused else { panic!("{refused:?}") };
        let mut edge = engine.watch(all(0), oldest).expect("the edge is clean");
        let expected: Vec<_> = before.into_iter().filter(|it| it.revision() > oldest).collect();
        assert_eq!(told(&mut edge), expected);
        assert_eq!(oldest, Revision(6), "what is left are the last events");
        let one_earlier = engine.watch(all(0), Revision(oldest.0 - 1)).err();
        assert!(matches!(one_earlier, Some(WatchError::Compacted { .. })), "the deletion there is not kept");
    }
}

/// etcd #20221: a watch from a revision to come was told of what was before it.
#[tokio::test]
async fn a_watch_from_a_revision_to_come_is_told_only_of_what_is_after_it() {
    for ahead in [1, 5, 50] {
        let engine = memory();
        let now = put(&engine, 1, 0).await;
        let after = Revision(now.0 + ahead);
        let mut read_late = engine.watch(all(0), after).expect("watches");
        let mut parked = engine.watch(all(0), after).expect("watches");
        let mut unwritten = engine.watch(all(1), after).expect("watches");
        assert!(parked.next().now_or_never().is_none() && unwritten.next().now_or_never().is_none());
        for value in 0..60 {
            put(&engine, value % 18, value).await;
            assert!(told(&mut parked).iter().all(|it| it.revision() > after));
        }
        let expected: Vec<Revision> = (after.0 + 1..=now.0 + 60).map(Revision).collect();
        assert_eq!(revisions(&told(&mut read_late)), expected);
        assert!(told(&mut unwritten).is_empty());
    }
}

/// The same: nor does it end because what is before it, and none of its business, was dropped.
#[tokio::test]
async fn a_watch_from_a_revision_to_come_outlives_what_is_dropped_before_it() {
    let engine = with_history(6);
    put(&engine, 1, 0).await;
    let mut read_late = engine.watch(all(0), Revision(95)).expect("watches");
    for value in 0..99 {
        put(&engine, value % 18, value).await;
    }
    assert!(matches!(engine.watch(all(0), Revision(80)), Err(WatchError::Compacted { .. })));
    let expected: Vec<Revision> = (96..=100).map(Revision).collect();
    assert_eq!(revisions(&told(&mut read_late)), expected);
}

/// Kine #238: a watch from before what is kept was told some events, and then that it cannot be.
#[tokio::test]
async fn a_watch_from_before_what_is_kept_is_told_so_and_nothing_else() {
    let engine = with_history(10);
    let mut late = engine.watch(all(0), Revision::ZERO).expect("watches");
    for value in 0..100 {
        put(&engine, value % 18, value).await;
    }
    assert!(matches!(engine.watch(all(0), Revision(5)), Err(WatchError::Compacted { .. })));
    let ended = late.try_next().expect_err("its place is gone");
    assert!(matches!(ended, WatchError::Compacted { wanted: Revision::ZERO, .. }));
    assert_eq!(late.try_next(), Err(ended), "and it stays so");
}

/// Kine #676: a revision was given out before another and seen after it, so that a watch passed it over.
#[test]
fn nothing_appears_at_or_below_a_revision_that_was_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = arktos_store::log::LogJournal::open(directory.path(), Default::default()).expect("opens");
    let engine = Engine::open(Box::new(journal), EngineConfig::default(), clock()).expect("opens");
    let done = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let engine = &engine;
                scope.spawn(move || {
                    for value in 0..50 {
                        futures::executor::block_on(put(engine, writer, value));
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut seen: Vec<(Revision, u64)> = Vec::new();
            while !done.load(Ordering::SeqCst) {
                let snapshot = engine.snapshot();
                let objects = snapshot.range(&resource(0), &Within::Everywhere, None);
                seen.push((snapshot.revision(), objects.map(|it| it.revision.0).max().unwrap_or(0)));
            }
            seen
        });
        writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
        done.store(true, Ordering::SeqCst);
        reader.join().expect("no panic")
    });
    let whole = revisions(&told(&mut engine.watch(all(0), Revision::ZERO).expect("watches")));
    assert_eq!(whole, (1..=200).map(Revision).collect::<Vec<_>>(), "no gap that is filled later");
    // every write has a revision of its own: a state that says N and lacks N was passed by it
    assert!(looks.iter().all(|(revision, newest)| revision.0 == *newest), "a state lacked a write below its revision");
}

/// A journal that looks, while it appends, at what readers see.
#[derive(Clone, Default)]
struct Looking {
    engine: Arc<OnceLock<Engine>>,
    looked: Arc<AtomicU64>,
}

impl Journal for Looking {
    fn load(&mut self, _: &mut Restore) -> Result<(), OpenError> {
        Ok(())
    }

    fn append(&mut self, group: &Group) -> Result<(), AppendError> {
        if let (Some(engine), Some(record)) = (self.engine.get(), group.records.first()) {
            let mut cursor = engine.watch(all(0), Revision::ZERO).map_err(|it| AppendError::Failed(it.to_string()))?;
            let seen = told(&mut cursor).iter().any(|it| it.revision() >= record.revision);
            if seen || engine.snapshot().revision() >= record.revision || cursor.bookmark_now() >= record.revision {
                return Err(AppendError::Failed("a reader has seen what is not durable".to_owned()));
            }
            self.looked.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Kine #391: a write was read before it was there to stay.
#[tokio::test]
async fn nobody_reads_or_watches_what_is_not_durable_yet() {
    let journal = Looking::default();
    let engine = Engine::open(Box::new(journal.clone()), EngineConfig::default(), clock()).expect("opens");
    let looking = Engine::clone(&engine);
    assert!(journal.engine.set(looking).is_ok());
    for value in 0..20 {
        put(&engine, value % 3, value).await;
    }
    engine.close().await;
    assert_eq!(journal.looked.load(Ordering::SeqCst), 20);
}
