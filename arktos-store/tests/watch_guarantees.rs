//! The nine guarantees of a watch, on real threads: many writers, and watches that are opened around now, read fast and
//! slowly, left and resumed, while history is dropped every 100 ms of a clock that the test drives.
//!
//! `ARKTOS_WATCH_WRITES=200000 cargo test -p arktos-store --all-features --test watch_guarantees` is the longer run.

mod backends;
#[cfg(feature = "etcd")]
mod etcd_server;
mod model;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arktos_core::{GroupResource, LabelSelector, ObjectKey, Revision, TenantName, Timestamp};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::commit::{Change, Commit, CommitError, Expect, Write};
use arktos_store::conformance::Backend;
use arktos_store::conformance::guarantees::{self, History, Recorder, Tally, Written};
use arktos_store::select::{Field, FieldTest};
use arktos_store::{Clock, Engine, EngineConfig, Random, Selection, WatchError, Within};
use model::object;

const WRITERS: u64 = 4;
const WATCHERS: u64 = 12;
/// How far from now watches are opened, in writes.
const OFFSET: u64 = 100;

/// What everybody works with.
#[derive(Clone)]
struct Run {
    engine: Engine,
    clock: ManualClock,
    start: Revision,
    // Written by the writers.
    written: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
}

fn resource() -> GroupResource {
    GroupResource::new("guarantees.arktos.io", "things")
}

fn key(number: u8) -> ObjectKey {
    ObjectKey { resource: resource(), path: model::path(number) }
}

fn below(random: &SeededRandom, bound: u64) -> u64 {
    random.next() % bound
}

impl Run {
    async fn write(self, seed: u64, writes: u64) -> Vec<Written> {
        let random = SeededRandom::new(seed);
        let mut written = Vec::new();
        while self.written.load(Ordering::SeqCst) < writes {
            let first = u8::try_from(below(&random, 18)).expect("small");
            let count = if below(&random, 4) == 0 { 3 } else { 1 };
            let changes: Vec<_> = (0..count)
                .map(|at| {
                    let (number, value) = ((first + at) % 18, u8::try_from(below(&random, 9)).expect("small"));
                    (number, (below(&random, 4) > 0).then(|| object(number, &(value, value / 2))))
                })
                .collect();
            let commit = changes.iter().map(|(number, object)| Write {
                key: key(*number),
                expect: if object.is_some() { Expect::Anything } else { Expect::Present },
                change: object.clone().map_or(Change::Delete, Change::put),
            });
            let revisions = match self.engine.commit(Commit { writes: commit.collect(), ..Commit::default() }).await {
                Ok(committed) => committed.revisions,
                Err(CommitError::Conflict { .. } | CommitError::Busy) => continue,
                Err(other) => panic!("{other}"),
            };
            self.written.fetch_add(revisions.len() as u64, Ordering::SeqCst);
            let commit = revisions[0];
            let wrote = revisions.iter().zip(changes).map(|(revision, (number, object))| Written {
                revision: *revision,
                commit,
                path: model::path(number),
                object,
            });
            written.extend(wrote);
            if below(&random, 4) == 0 {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        }
        written
    }

    /// Lets time pass, as long as there are writes: about as many in a window as the offsets reach back.
    async fn pass(self) -> usize {
        let (mut compactions, mut seen) = (0, 0);
        while !self.done.load(Ordering::SeqCst) {
            let written = self.written.load(Ordering::SeqCst);
            self.clock.advance(Duration::from_millis((written - seen) * 10));
            if written >= seen + 10 {
                self.engine.compact(self.clock.now()).await.expect("compacts");
                compactions += 1;
                seen = written;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        compactions
    }

    /// A revision around now: ±100 writes.
    fn near(&self, random: &SeededRandom) -> Revision {
        let newest = self.engine.snapshot().revision();
        let stride = ((newest.0 - self.start.0) / self.written.load(Ordering::SeqCst).max(1)).max(1);
        let distance = below(random, OFFSET) * stride + below(random, stride);
        match below(random, 3) {
            0 => Revision(newest.0 + distance),
            _ => Revision(newest.0.saturating_sub(distance).max(self.start.0)),
        }
    }

    /// Watches until all is written and told; opens a new watch every now and then.
    async fn watch(self, seed: u64) -> Result<Vec<Recorder>, WatchError> {
        let random = SeededRandom::new(seed);
        let (slow, mut all) = (seed.is_multiple_of(3), Vec::new());
        while !self.done.load(Ordering::SeqCst) {
            let mut watch = Recorder::open(&self.engine, selection(below(&random, 7)), self.near(&random))?;
            for _ in 0..100 {
                if slow {
                    tokio::time::sleep(Duration::from_millis(below(&random, 30))).await;
                    watch.read(1)?;
                } else {
                    let wait = Duration::from_millis(1 + below(&random, 3));
                    if let Ok(ended) = tokio::time::timeout(wait, watch.next()).await {
                        ended?;
                    }
                    watch.read(usize::try_from(below(&random, 20)).expect("small"))?;
                }
                match below(&random, 16) {
                    0 | 1 => drop(watch.bookmark()),
                    2 => watch.reconnect()?,
                    3 => {
                        watch.bookmark();
                        watch.reconnect()?;
                    }
                    _ => {}
                }
                if self.done.load(Ordering::SeqCst) {
                    break;
                }
            }
            all.push(watch);
        }
        // history is not dropped any more: what is still there is told to the end
        for watch in all.iter_mut().rev().take(3) {
            let newest = self.engine.latest().await?.revision();
            while watch.bookmark() < newest {
                watch.read(usize::MAX)?;
                tokio::task::yield_now().await;
            }
            watch.read(usize::MAX)?;
        }
        Ok(all)
    }
}

fn selection(number: u64) -> Selection {
    let acme = TenantName::new("acme").expect("a name");
    let everywhere = Selection::all(resource(), Within::Everywhere);
    let labels = |labels| LabelSelector::parse(labels).expect("parses");
    let field = |equal| FieldTest { field: Field::At(0), value: "n1".to_owned(), equal };
    match number {
        0 => everywhere.labels(labels("app=l1")),
        1 => everywhere.labels(labels("app notin (l0)")),
        2 => everywhere.field(field(true)),
        3 => everywhere.field(field(false)),
        4 => Selection::all(resource(), Within::Object(model::path(4))),
        5 => Selection::all(resource(), Within::Tenant(acme)).field(field(true)),
        _ => everywhere,
    }
}

async fn run(backend: &dyn Backend, usual: u64) {
    let asked = std::env::var("ARKTOS_WATCH_WRITES").ok().and_then(|writes| writes.parse().ok());
    let writes: u64 = asked.unwrap_or(usual);
    let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
    let mut config = EngineConfig::default();
    config.history_window = Duration::from_secs(1);
    let (engine, feeds) = backend.open(config, Arc::new(clock.clone())).await.expect("opens").into_parts();
    feeds.into_iter().for_each(|feed| drop(tokio::spawn(feed)));
    let start = engine.latest().await.expect("reads").revision();
    let run = Run { engine: engine.clone(), clock, start, written: Arc::default(), done: Arc::default() };
    let passing = tokio::spawn(run.clone().pass());
    let watching: Vec<_> = (0..WATCHERS).map(|seed| tokio::spawn(run.clone().watch(seed))).collect();
    let writing: Vec<_> = (0..WRITERS).map(|seed| tokio::spawn(run.clone().write(100 + seed, writes))).collect();
    let mut written = Vec::new();
    for writer in writing {
        written.extend(writer.await.expect("writes"));
    }
    run.done.store(true, Ordering::SeqCst);
    let compactions = passing.await.expect("passes");
    let history = History::new(written);
    let (mut tally, mut left_behind) = (Tally::default(), 0);
    for watcher in watching {
        for watch in watcher.await.expect("watches").expect("the edges are clean") {
            let (recordings, behind) = watch.into_recordings();
            left_behind += behind;
            for recording in recordings {
                tally.add(&guarantees::check(&history, &recording).unwrap_or_else(|broken| panic!("{broken}")));
            }
        }
    }
    engine.close().await;
    println!("{} writes, {compactions} compactions, {left_behind} left behind, {tally:?}", history.writes().len());
    assert!(history.writes().len() as u64 >= writes && compactions > 10 && left_behind > 5);
    assert!(tally.is_worth_something() && tally.events > 1000 && tally.reconnects > 50 && tally.bookmarks > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_in_memory_keeps_the_nine_guarantees() {
    run(&backends::Memory, 6000).await;
}

#[cfg(feature = "log")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_keeps_the_nine_guarantees() {
    run(&backends::Log(tempfile::tempdir().expect("a directory")), 4000).await;
}

#[cfg(feature = "sled")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sled_keeps_the_nine_guarantees() {
    run(&backends::Sled(tempfile::tempdir().expect("a directory")), 3000).await;
}

#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn etcd_keeps_the_nine_guarantees() {
    let Some(server) = etcd_server::EtcdServer::start() else { return };
    run(&backends::Etcd(server), 3000).await;
}

mod broken {
    //! Each guarantee can fail: a stream that keeps all nine, and what each says when it is spoilt.

    use arktos_store::conformance::guarantees::{Broken, Piece, Recording, Step, check};
    use arktos_store::{Delivery, Stored};

    use super::*;

    fn written(revision: u64, commit: u64, number: u8, value: Option<u8>) -> Written {
        let object = value.map(|value| object(number, &(value, value)));
        let (revision, commit) = (Revision(revision), Revision(commit));
        Written { revision, commit, path: model::path(number), object }
    }

    fn stored(revision: u64, number: u8, value: u8) -> Arc<Stored> {
        let object = object(number, &(value, value));
        Arc::new(Stored { path: model::path(number), revision: Revision(revision), object })
    }

    fn told(delivery: Delivery) -> Step {
        Step::Told(delivery)
    }

    /// Two writes of one commit, a change that leaves the selection, one that is never in it, and a new object.
    fn history() -> History {
        History::new(vec![
            written(1, 1, 1, Some(1)),
            written(2, 1, 2, Some(1)),
            written(3, 3, 1, Some(2)),
            written(4, 4, 3, Some(2)),
            written(5, 5, 4, Some(1)),
        ])
    }

    fn recording() -> Recording {
        let first = vec![
            Step::Waited,
            told(Delivery::Added(stored(1, 1, 1))),
            told(Delivery::Added(stored(2, 2, 1))),
            told(Delivery::Bookmark(Revision(2))),
            Step::Waited,
            told(Delivery::Deleted(stored(3, 1, 1))),
            told(Delivery::Bookmark(Revision(4))),
        ];
        let second = vec![Step::Waited, told(Delivery::Added(stored(5, 4, 1)))];
        Recording {
            selection: selection(0),
            pieces: vec![Piece { after: Revision(0), steps: first }, Piece { after: Revision(4), steps: second }],
        }
    }

    fn spoilt(spoil: impl FnOnce(&mut Recording)) -> Broken {
        let mut recording = recording();
        spoil(&mut recording);
        check(&history(), &recording).expect_err("is spoilt")
    }

    #[test]
    fn every_guarantee_notices_when_it_is_not_kept() {
        let tally = check(&history(), &recording()).expect("nothing is wrong with it");
        assert!(tally.is_worth_something() && (tally.events, tally.of_one_commit) == (4, 1), "{tally:?}");
        let says = |broken: Broken| broken.guarantee;
        let other = LabelSelector::parse("app=l0").expect("parses");
        assert_eq!(says(spoilt(|it| it.selection.labels = other)), "filter");
        assert_eq!(says(spoilt(|it| it.pieces[0].steps.swap(1, 2))), "ordered");
        assert_eq!(says(spoilt(|it| it.pieces[0].after = Revision(1))), "ordered");
        assert_eq!(says(spoilt(|it| it.pieces[0].steps.insert(2, told(Delivery::Added(stored(1, 1, 1)))))), "unique");
        assert_eq!(says(spoilt(|it| it.pieces[0].steps.insert(2, Step::Waited))), "atomic");
        assert_eq!(says(spoilt(|it| it.pieces[0].steps[3] = told(Delivery::Bookmark(Revision(3))))), "bookmarkable");
        let early = |it: &mut Recording| it.pieces[0].steps.insert(2, told(Delivery::Bookmark(Revision(2))));
        assert_eq!(says(spoilt(early)), "bookmarkable");
        let resumed_late = |it: &mut Recording| {
            it.pieces[0].steps.truncate(4);
            it.pieces[1].after = Revision(2);
        };
        assert_eq!(says(spoilt(resumed_late)), "resumable");
        let modified = |it: &mut Recording| it.pieces[0].steps[2] = told(Delivery::Modified(stored(2, 2, 1)));
        assert_eq!(says(spoilt(modified)), "create flag");
        let left_out = |it: &mut Recording| drop(it.pieces[0].steps.drain(1..4));
        assert_eq!(says(spoilt(left_out)), "bookmarkable");
        let left_out = |it: &mut Recording| {
            it.pieces[0].steps.remove(5);
            it.pieces[0].steps.remove(5);
            it.pieces.truncate(1);
            it.pieces[0].steps.push(told(Delivery::Added(stored(5, 4, 1))));
        };
        assert_eq!(says(spoilt(left_out)), "reliable");
        let newer = |it: &mut Recording| {
            let leaves = stored(3, 1, 4); // selected as well, and not what it was
            it.pieces[0].steps[5] = told(Delivery::Deleted(leaves));
        };
        assert_eq!(says(spoilt(newer)), "previous value");
    }
}
