//! Informers over a bare engine: what they have in the end is what the engine has, whatever happens in between, and a
//! stalled one costs nobody else anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, Revision, Status, TenantName, Timestamp};
use arktos_core::{Reason, TypeMeta};
use arktos_store::client::{Listing, WatchListStream, WatchStream};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::engine::EngineSource;
use arktos_store::informer::{Builder, Event, Gate};
use arktos_store::select::Field;
use arktos_store::{
    Change, Clock, Commit, Engine, EngineConfig, Expect, Informer, Query, Random, Source, Stored, Within, WorkQueue,
};
use async_trait::async_trait;
use futures::executor::LocalPool;
use futures::future::BoxFuture;
use futures::task::LocalSpawnExt;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

const TENANTS: [&str; 3] = ["acme", "umbra", "zeta"];

fn pods() -> GroupResource {
    GroupResource::core("pods")
}

fn key(tenant: &str, name: &str) -> ObjectKey {
    ObjectKey::namespaced(pods(), &TenantName::new(tenant).expect("a name"), "default", name)
}

fn pod(name: &str, node: &str, padding: usize) -> Encoded {
    let value =
        json!({"metadata": {"name": name, "uid": name}, "spec": {"nodeName": node, "pad": "x".repeat(padding)}});
    let object = Object::from_value(value).expect("an object");
    Encoded::encode(&Arc::new(TypeMeta::new("", "v1", "Pod")), &object, &[&["spec", "nodeName"]]).expect("encodes")
}

/// An engine, and informers that run until nothing wakes them any more.
struct World {
    engine: Engine,
    clock: ManualClock,
    pool: LocalPool,
}

/// What one informer's handler was told, replayed: it checks that each event follows from those before.
type Told = Arc<Mutex<(usize, BTreeMap<ObjectPath, Revision>)>>;

impl World {
    fn new(history_bytes: usize) -> Self {
        let clock = ManualClock::new(Timestamp::from_micros(0));
        let mut config = EngineConfig::default();
        config.history_bytes = history_bytes;
        let engine = Engine::memory_with(config, Arc::new(clock.clone()));
        Self { engine, clock, pool: LocalPool::new() }
    }

    fn put(&self, tenant: &str, name: &str, node: &str, padding: usize) {
        let change = Change::put(pod(name, node, padding));
        let commit = Commit::one(key(tenant, name), Expect::Anything, change);
        futures::executor::block_on(self.engine.commit(commit)).expect("committed");
    }

    fn delete(&self, tenant: &str, name: &str) {
        let commit = Commit::one(key(tenant, name), Expect::Present, Change::Delete);
        let _ = futures::executor::block_on(self.engine.commit(commit)); // it need not be there
    }

    fn compact(&self) {
        futures::executor::block_on(self.engine.compact(self.clock.now())).expect("compacted");
    }

    fn start(
        &self,
        source: Arc<dyn Source>,
        query: Query,
        set_up: impl FnOnce(Builder<Stored>) -> Builder<Stored>,
    ) -> (Informer<Stored>, Told) {
        let told = Told::default();
        let replay = told.clone();
        let random = Arc::new(SeededRandom::new(3));
        let builder =
            Informer::<Stored>::builder(source, query, Arc::new(self.clock.clone()), random).handler(move |event| {
                let (count, state) = &mut *replay.lock();
                *count += 1;
                let before = match event {
                    Event::Added { path, new } | Event::Updated { path, new, .. } => {
                        state.insert(path.clone(), new.revision)
                    }
                    Event::Removed { path, .. } => state.remove(path),
                };
                assert_eq!(before, event.before().map(|old| old.revision), "{event:?}");
            });
        let (informer, driver) = set_up(builder).build();
        self.pool.spawner().spawn_local(driver).expect("it runs");
        (informer, told)
    }

    fn settle(&mut self) {
        self.pool.run_until_stalled();
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            self.settle();
        }
    }

    fn check(&self, informer: &Informer<Stored>, told: &Told) {
        let snapshot = self.engine.snapshot();
        let there = snapshot.range(&pods(), &Within::Everywhere, None);
        let there: BTreeMap<ObjectPath, Revision> = there.map(|it| (it.path.clone(), it.revision)).collect();
        let kept = informer.store().list();
        let kept: BTreeMap<ObjectPath, Revision> = kept.iter().map(|it| (it.path.clone(), it.revision)).collect();
        assert_eq!(kept, there);
        assert_eq!(told.lock().1, there);
    }
}

/// A consumer that can stall.
#[derive(Default)]
struct Valve {
    closed: AtomicBool,
    turned: Notify,
}

impl Valve {
    fn set(&self, closed: bool) {
        self.closed.store(closed, Ordering::SeqCst);
        self.turned.notify_waiters();
    }
}

impl Gate for Valve {
    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::SeqCst)
    }

    fn opened(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let turned = self.turned.notified();
            if !self.is_open() {
                turned.await;
            }
        })
    }
}

/// Counts how often the whole state was asked for; refuses to stream it, if told so.
struct Counted {
    inner: EngineSource,
    states: AtomicUsize,
    streams: bool,
}

impl Counted {
    fn new(engine: &Engine, streams: bool) -> Arc<Self> {
        Arc::new(Self { inner: engine.source(), states: AtomicUsize::new(0), streams })
    }

    fn states(&self) -> usize {
        self.states.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Source for Counted {
    async fn list(&self, query: &Query) -> Result<Listing, Status> {
        self.states.fetch_add(1, Ordering::SeqCst);
        self.inner.list(query).await
    }

    async fn watch(&self, query: &Query, after: Revision) -> Result<WatchStream, Status> {
        self.inner.watch(query, after).await
    }

    async fn watch_list(&self, query: &Query) -> Result<WatchListStream, Status> {
        if !self.streams {
            return Err(Status::failure(Reason::Invalid, "no such streams"));
        }
        self.states.fetch_add(1, Ordering::SeqCst);
        self.inner.watch_list(query).await
    }
}

#[test]
fn what_an_informer_keeps_is_what_the_store_has_and_no_copy() {
    let mut world = World::new(1 << 20);
    world.put("acme", "there-before", "n1", 0);
    let (informer, _) = world.start(Arc::new(world.engine.source()), Query::everywhere(pods()), |builder| builder);
    world.settle();
    world.put("acme", "made", "n1", 0);
    world.put("umbra", "changed", "n1", 0);
    world.put("umbra", "changed", "n2", 0);
    world.settle();
    let (kept, snapshot) = (informer.store().list(), world.engine.snapshot());
    assert_eq!(kept.len(), 3);
    for (kept, stored) in kept.iter().zip(snapshot.range(&pods(), &Within::Everywhere, None)) {
        assert!(Arc::ptr_eq(kept, &stored), "{}", kept.path);
    }
}

#[test]
fn an_engine_alone_is_enough() {
    let mut world = World::new(1 << 20);
    for number in 0..1000 {
        world.put(TENANTS[number % 3], &format!("p-{number}"), &format!("n-{}", number % 10), 0);
    }
    let source = Arc::new(world.engine.source().fields(|_, name| (name == "spec.nodeName").then_some(Field::At(0))));
    let (all, told) = world.start(source.clone(), Query::everywhere(pods()), |builder| builder);
    let on_node = Query::everywhere(pods()).field("spec.nodeName", "n-3");
    let (on_node, _) = world.start(source.clone(), on_node, |builder| builder);
    let umbra = Within::Tenant(TenantName::new("umbra").expect("a name"));
    let (umbra, _) = world.start(source.clone(), Query::all(pods(), umbra), |builder| builder);
    let unknown = Query::everywhere(pods()).field("spec.taste", "good");
    let (unknown, _) = world.start(source, unknown, |builder| builder);
    world.settle();
    assert!(all.progress().current && told.lock().0 == 1000);
    assert_eq!((on_node.store().len(), umbra.store().len()), (100, 333));
    assert!(!unknown.progress().synced, "what cannot be selected is an error, not everything");
    world.put("umbra", "p-3", "n-4", 0);
    world.delete("acme", "p-3");
    world.settle();
    assert_eq!((on_node.store().len(), umbra.store().len()), (99, 334));
    assert_eq!(all.store().view().tenants().collect::<Vec<_>>(), TENANTS);
    world.check(&all, &told);
}

#[test]
fn a_stalled_informer_costs_nobody_else_anything() {
    let mut world = World::new(64 << 10);
    for number in 0..100 {
        world.put("acme", &format!("p-{number}"), "n", 0);
    }
    let valve = Arc::new(Valve::default());
    let (slow, quick) = (Counted::new(&world.engine, true), Counted::new(&world.engine, true));
    let gate = valve.clone();
    let (stalled, stalled_told) = world.start(slow.clone(), Query::everywhere(pods()), |builder| builder.gate(gate));
    let others: Vec<_> =
        (0..3).map(|_| world.start(quick.clone(), Query::everywhere(pods()), |builder| builder)).collect();
    world.settle();
    valve.set(true);
    // Two megabytes of changes, through a window of 64 KiB.
    for number in 0..2000 {
        world.put("acme", &format!("p-{}", number % 120), "n", 1000);
        if number % 3 == 0 {
            world.delete("acme", &format!("p-{}", number % 50));
        }
        world.settle();
        if number % 100 == 0 {
            world.compact();
        }
    }
    let newest = world.engine.snapshot().revision();
    for (other, told) in &others {
        assert!(other.progress().current && other.progress().revision == newest);
        world.check(other, told);
    }
    assert_eq!(quick.states(), 3, "nobody was cut off");
    assert!(stalled.progress().revision < newest && stalled_told.lock().0 <= 101);
    valve.set(false);
    world.wait(2);
    world.check(&stalled, &stalled_told);
    assert_eq!(slow.states(), 2, "its place had left the window");
    let differences = stalled_told.lock().0 - 101;
    assert!(differences <= 120, "only what is different is told, not what happened: {differences}");
}

#[test]
fn a_consumer_that_stalls_within_the_window_misses_nothing() {
    let mut world = World::new(64 << 20);
    let (valve, source) = (Arc::new(Valve::default()), Counted::new(&world.engine, true));
    let gate = valve.clone();
    let (informer, told) = world.start(source.clone(), Query::everywhere(pods()), |builder| builder.gate(gate));
    world.settle();
    valve.set(true);
    for number in 0..500 {
        world.put("acme", &format!("p-{}", number % 7), "n", 10);
    }
    world.wait(600); // longer than a source may be silent: it is not the source that is
    assert!(told.lock().0 <= 1, "the one that was waited for when the gate closed");
    valve.set(false);
    world.wait(1);
    assert_eq!(told.lock().0, 500, "each change by itself");
    assert_eq!(source.states(), 1);
    world.check(&informer, &told);
}

#[test]
fn one_queue_serves_all_tenants_in_turn() {
    let mut world = World::new(64 << 20);
    let queue: WorkQueue<ObjectPath> = WorkQueue::new(Arc::new(world.clock.clone()));
    let into = queue.clone();
    let source = Arc::new(world.engine.source());
    world.start(source, Query::everywhere(pods()), move |builder| {
        builder.feed(&into, |event| vec![event.path().clone()])
    });
    for number in 0..3000 {
        world.put("acme", &format!("p-{number}"), "n", 0);
    }
    world.put("umbra", "only", "n", 0);
    world.settle();
    assert_eq!(queue.len(), 3001);
    let next = || futures::executor::block_on(queue.get()).expect("a key").tenant().to_owned();
    assert_eq!([next(), next()], ["acme", "umbra"]);
}

#[test]
fn informers_end_with_what_the_engine_has_whatever_happens_in_between() {
    for seed in 0..60 {
        let mut world = World::new(2 << 10);
        let random = SeededRandom::new(seed);
        let pick = |count: u64| random.next() % count;
        let name = |number: u64| format!("p-{number}");
        let valves: Vec<Arc<Valve>> = (0..4).map(|_| Arc::default()).collect();
        let mut running = Vec::new();
        for (number, valve) in valves.iter().enumerate() {
            let (source, gate) = (Counted::new(&world.engine, number % 2 == 0), valve.clone());
            running.push(world.start(source, Query::everywhere(pods()), |builder| builder.gate(gate)));
        }
        for _ in 0..400 {
            match pick(12) {
                0..=4 => world.put(TENANTS[pick(3) as usize], &name(pick(8)), "n", 50),
                5..=6 => world.delete(TENANTS[pick(3) as usize], &name(pick(8))),
                7 => world.compact(),
                8 => valves[pick(4) as usize].set(pick(2) == 0),
                9 => world.wait(1),
                _ => world.settle(),
            }
        }
        valves.iter().for_each(|valve| valve.set(false));
        world.wait(70);
        let newest = world.engine.snapshot().revision();
        for (informer, told) in &running {
            assert!(informer.progress().current && informer.progress().revision == newest, "seed {seed}");
            world.check(informer, told);
        }
    }
}
