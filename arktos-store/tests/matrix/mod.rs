//! Random work on a log, what it was told, and what must be true of the log afterwards.
#![allow(dead_code)] // each test uses its own part

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use arktos_core::packed::write_text;
use arktos_core::{Encoded, GroupResource, ObjectKey, ObjectPath, Revision, Timestamp, TypeMeta};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::commit::{Change, Commit, CommitError, CounterChange, Durability, Expect};
use arktos_store::log::{LogJournal, LogOptions};
use arktos_store::storage::{AppendError, Group, Journal, Keeper, OpenError, Restore};
use arktos_store::{
    Clock, Delivery, Engine, EngineConfig, Random, Selection, Snapshot, Stored, WatchError, Within, Write,
};
use futures::future::join_all;

use crate::faulty::FaultyDisk;

/// How many things there are. Each is an object of two resources and a counter, which change together.
const SLOTS: u8 = 6;

/// An object's number, and whether that it has it was acknowledged after a sync.
type Outcome = (Option<u32>, bool);

/// What was done to a store over its lives, and what it has said.
pub struct World {
    pub seed: u64,
    pub random: SeededRandom,
    clock: Arc<ManualClock>,
    /// What each thing may be: as it was last sure to be, and what was tried since.
    slots: Vec<Vec<Outcome>>,
    /// The newest revision that anybody was told of.
    pub told: Revision,
    acknowledged: BTreeMap<Revision, (ObjectKey, Option<u32>)>,
    /// How many writes were acknowledged.
    pub writes: usize,
    next: u32,
    ahead: bool,
    type_meta: Arc<TypeMeta>,
}

/// A journal that lets the disk stop between an append and what comes after it, and says when its keeper is done.
struct Seam {
    inner: LogJournal,
    disk: FaultyDisk,
    handle: Handle,
}

/// What a test holds of a seam.
#[derive(Clone)]
pub struct Handle {
    /// After so many groups the disk stops; never, when it is below zero.
    pub stop_after_append: Arc<AtomicI64>,
    kept: Arc<(Mutex<u64>, Condvar)>,
}

struct SeamKeeper(Box<dyn Keeper>, Handle);

impl Journal for Seam {
    fn load(&mut self, restore: &mut Restore) -> Result<(), OpenError> {
        self.inner.load(restore)
    }

    fn append(&mut self, group: &Group) -> Result<(), AppendError> {
        self.inner.append(group)?;
        if self.handle.stop_after_append.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.disk.stop();
        }
        Ok(())
    }

    fn keeper(&mut self) -> Option<Box<dyn Keeper>> {
        Some(Box::new(SeamKeeper(self.inner.keeper()?, self.handle.clone())))
    }

    fn close(&mut self) -> Result<(), AppendError> {
        self.inner.close()
    }
}

impl Keeper for SeamKeeper {
    fn keep(&mut self, state: &Snapshot, history: Revision) -> Result<(), AppendError> {
        let kept = self.0.keep(state, history);
        *self.1.kept.0.lock().expect("no panic") += 1;
        self.1.kept.1.notify_all();
        kept
    }
}

impl Handle {
    fn kept(&self) -> u64 {
        *self.kept.0.lock().expect("no panic")
    }

    fn wait_for_keeper(&self, before: u64) {
        let kept = self.kept.0.lock().expect("no panic");
        let wait = self.kept.1.wait_timeout_while(kept, Duration::from_secs(120), |kept| *kept == before);
        assert!(!wait.expect("no panic").1.timed_out(), "the keeper is stuck");
    }
}

pub fn options(ahead: bool) -> LogOptions {
    let mut options = LogOptions::default();
    options.first_segment_bytes = 2048;
    options.segment_bytes = 4096;
    options.snapshot_bytes = 2000;
    options.prepare_ahead = ahead;
    options
}

fn key(resource: u8, slot: u8) -> ObjectKey {
    let resource = GroupResource::new("", ["pods", "nodes"][usize::from(resource)]);
    ObjectKey { resource, path: ObjectPath::new("acme", "default", &format!("s{slot}")) }
}

fn counter(slot: u8) -> Arc<str> {
    format!("slot/{slot}").into()
}

/// An object whose label says which one it is.
fn object(type_meta: &Arc<TypeMeta>, number: u32, filler: usize) -> Encoded {
    let mut header = vec![0, 0, 1]; // no uid, not being deleted, one label
    write_text(&mut header, "number");
    write_text(&mut header, &number.to_string());
    header.extend([0; 4]); // no fields, finalizers, owners, notes
    Encoded::from_parts(type_meta.clone(), &header, &vec![b'x'; filler]).expect("a header")
}

fn number_of(stored: &Stored) -> u32 {
    stored.object.header().label("number").expect("has one").parse().expect("a number")
}

/// What one state says of each thing, which must be one and the same of all its parts.
pub fn observed(snapshot: &Snapshot, seed: u64) -> Vec<Option<u32>> {
    let counters: BTreeMap<Arc<str>, i64> = snapshot.counters().map(|(name, value)| (name.clone(), value)).collect();
    let whole = |slot| {
        let [first, second] =
            [0, 1].map(|resource| snapshot.get(&key(resource, slot)).map(|stored| number_of(&stored)));
        let count = counters.get(&counter(slot)).copied().unwrap_or(0);
        assert_eq!(first, second, "seed {seed}: half a commit is visible");
        assert_eq!(count, i64::from(first.unwrap_or(0)), "seed {seed}: a commit is visible without its counter");
        first
    };
    (0..SLOTS).map(whole).collect()
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            random: SeededRandom::new(seed),
            clock: Arc::new(ManualClock::new(Timestamp::from_micros(0))),
            slots: vec![vec![(None, true)]; usize::from(SLOTS)],
            told: Revision::ZERO,
            acknowledged: BTreeMap::new(),
            writes: 0,
            next: 0,
            ahead: seed % 4 == 3,
            type_meta: Arc::new(TypeMeta::new("", "v1", "Thing")),
        }
    }

    pub fn roll(&self, sides: u64) -> u64 {
        self.random.next() % sides
    }

    pub fn open(&self, disk: &FaultyDisk) -> Result<(Engine, Handle), OpenError> {
        let handle = Handle { stop_after_append: Arc::new(AtomicI64::new(-1)), kept: Arc::default() };
        let inner = LogJournal::on(Arc::new(disk.clone()), options(self.ahead))?;
        let seam = Seam { inner, disk: disk.clone(), handle: handle.clone() };
        let mut config = EngineConfig::default();
        config.history_window = Duration::from_secs(60);
        Ok((Engine::open(Box::new(seam), config, self.clock.clone())?, handle))
    }

    fn commit(&mut self, engine: &Engine, slot: u8) -> (Commit, Option<u32>) {
        let now = engine.counter(&counter(slot));
        let deletes = self.roll(5) == 0;
        self.next += 1;
        let number = (!deletes).then_some(self.next);
        let filler = usize::try_from(self.roll(500)).expect("small");
        let change = number.map_or(Change::Delete, |number| Change::put(object(&self.type_meta, number, filler)));
        let write = |resource| Write { key: key(resource, slot), expect: Expect::Anything, change: change.clone() };
        let writes = [0, 1].map(write);
        let delta = i64::from(number.unwrap_or(0)) - now;
        let counters = vec![CounterChange { counter: counter(slot), delta, limit: None }];
        let durability = if self.roll(4) == 0 { Durability::Relaxed } else { Durability::Synced };
        (Commit { writes: writes.into(), counters, durability, ..Commit::default() }, number)
    }

    /// One to three commits at the same time. Gives back why some were refused.
    pub async fn batch(&mut self, engine: &Engine) -> Vec<CommitError> {
        let first = self.roll(u64::from(SLOTS));
        let many = 1 + self.roll(3);
        let slots = (first..first + many).map(|slot| u8::try_from(slot % u64::from(SLOTS)).expect("small"));
        let planned: Vec<_> = slots.map(|slot| (slot, self.commit(engine, slot))).collect();
        let outcomes = join_all(planned.iter().map(|(_, (commit, _))| engine.commit(commit.clone()))).await;
        let mut refused = Vec::new();
        for ((slot, (commit, number)), outcome) in planned.into_iter().zip(outcomes) {
            let synced = commit.durability == Durability::Synced;
            match outcome {
                Ok(committed) => {
                    let nothing = number.is_none() && commit.counters[0].delta == 0; // it was not there
                    for (write, revision) in commit.writes.iter().zip(&committed.revisions).filter(|_| !nothing) {
                        let before = self.acknowledged.insert(*revision, (write.key.clone(), number));
                        assert_eq!(before, None, "seed {}: a revision was used twice", self.seed);
                        assert!(*revision > self.told, "seed {}: revisions fell", self.seed);
                        self.told = *revision;
                        self.writes += 1;
                    }
                    self.slots[usize::from(slot)].push((number, synced));
                }
                Err(error) => {
                    if matches!(error, CommitError::Unknown(_)) {
                        self.slots[usize::from(slot)].push((number, false));
                    }
                    refused.push(error);
                }
            }
        }
        let snapshot = engine.snapshot();
        if self.roll(3) == 0 {
            observed(&snapshot, self.seed);
        }
        self.told = self.told.max(snapshot.revision());
        refused
    }

    /// What the owner of a store does now and then: time passes, history is dropped, snapshots are taken.
    pub async fn look_after(&mut self, engine: &Engine, handle: &Handle) -> Result<(), CommitError> {
        if self.roll(2) == 0 {
            self.clock.advance(Duration::from_secs(20 + self.roll(60)));
            engine.compact(self.clock.now()).await?;
        }
        if self.roll(2) == 0 {
            let before = handle.kept();
            engine.flush().await?;
            if self.roll(4) != 0 {
                handle.wait_for_keeper(before);
            }
        }
        Ok(())
    }

    /// History is dropped while a commit is under way.
    pub async fn compact_while_committing(&mut self, engine: &Engine, handle: &Handle) {
        self.clock.advance(Duration::from_secs(40));
        let (compacting, clock) = (engine.clone(), self.clock.clone());
        let compaction = async move { compacting.compact(clock.now()).await };
        let _ = futures::join!(self.batch(engine), compaction);
        let before = handle.kept();
        if engine.flush().await.is_ok() {
            handle.wait_for_keeper(before);
        }
    }

    /// What must be true of a store that was just opened; from then on, what it says is what is so.
    pub fn check(&mut self, engine: &Engine) {
        let (seed, snapshot) = (self.seed, engine.snapshot());
        let revision = snapshot.revision();
        assert!(revision >= self.told, "seed {seed}: revisions fell from {} to {revision}", self.told);
        self.told = revision;
        for ((slot, outcomes), found) in self.slots.iter().enumerate().zip(observed(&snapshot, seed)) {
            let sure = outcomes.iter().rposition(|(_, synced)| *synced).unwrap_or(0);
            let allowed = &outcomes[sure..];
            let fits = allowed.iter().any(|(number, _)| *number == found);
            assert!(fits, "seed {seed}: thing {slot} is {found:?}, and not of {allowed:?}");
        }
        self.check_history(engine);
        self.settle(engine);
    }

    /// Takes what a store says for what is so.
    pub fn settle(&mut self, engine: &Engine) {
        let found = observed(&engine.snapshot(), self.seed);
        self.slots = found.into_iter().map(|number| vec![(number, true)]).collect();
    }

    /// History leads from any state that it has to the newest, and says what was acknowledged.
    fn check_history(&self, engine: &Engine) {
        let seed = self.seed;
        let mut edge = Revision::ZERO;
        while let Err(error) = engine.exactly_at(edge) {
            match error {
                WatchError::Compacted { oldest, .. } if oldest > edge => edge = oldest,
                other => panic!("seed {seed}: no state at the edge of history, {edge}: {other}"),
            }
        }
        let newest = engine.snapshot();
        for from in [edge, Revision(edge.0 + self.roll(newest.revision().0 - edge.0 + 1))] {
            let Ok(past) = engine.exactly_at(from) else { continue }; // lost in a crash
            for resource in [0, 1].map(|number| key(number, 0).resource) {
                let mut believed = list(&past, &resource);
                let selection = Selection::all(resource.clone(), Within::Everywhere);
                let Ok(mut cursor) = engine.watch(selection, from) else {
                    panic!("seed {seed}: there is a state at {from}, and no history after it")
                };
                let mut last = from;
                while let Some(delivery) = cursor.try_next().expect("delivers") {
                    let stored = delivery.stored().expect("an object").clone();
                    assert!(stored.revision > last, "seed {seed}: events out of order");
                    last = stored.revision;
                    let gone = matches!(delivery, Delivery::Deleted(_));
                    let number = (!gone).then(|| number_of(&stored));
                    let of = ObjectKey { resource: resource.clone(), path: stored.path.clone() };
                    let told = self.acknowledged.get(&stored.revision);
                    assert!(told.is_none_or(|told| *told == (of, number)), "seed {seed}: revision {last} is another");
                    match number {
                        Some(number) => believed.insert(stored.path, (stored.revision, number)),
                        None => believed.remove(&stored.path),
                    };
                }
                assert_eq!(believed, list(&newest, &resource), "seed {seed}: from {from} on");
            }
        }
    }
}

fn list(snapshot: &Snapshot, resource: &GroupResource) -> BTreeMap<ObjectPath, (Revision, u32)> {
    let all = snapshot.range(resource, &Within::Everywhere, None);
    all.map(|stored| (stored.path.clone(), (stored.revision, number_of(&stored)))).collect()
}
