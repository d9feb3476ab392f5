//! Which of several processes works.

use std::sync::Arc;
use std::time::Duration;

use arktos_api::{ApiConfig, ApiServer, Identity};
use arktos_control::election::{Election, Office, Term, Timing};
use arktos_core::typed::{KindOf, Lease};
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Reason, Revision, Status, Timestamp};
use arktos_store::client::{DeleteOptions, Listing, Patch, WatchStream};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::{Client, Engine, Query, Source, Stored, Tasks};
use async_trait::async_trait;
use parking_lot::Mutex;

/// Who works, and in which terms somebody has.
#[derive(Default)]
struct Works {
    now: Vec<&'static str>,
    terms: Vec<i32>,
}

struct Desk {
    who: &'static str,
    works: Arc<Mutex<Works>>,
}

#[async_trait]
impl Office for Desk {
    fn begin(&mut self, term: &Term) {
        let mut works = self.works.lock();
        works.now.push(self.who);
        works.terms.push(term.transitions);
        assert_eq!(works.now.len(), 1, "two at once");
        assert_eq!(term.to_string(), format!("kube-scheduler/{}/{}", term.transitions, self.who));
    }

    async fn end(&mut self) {
        self.works.lock().now.retain(|who| *who != self.who);
    }
}

/// An API that can be cut off.
struct Cable {
    client: Arc<dyn Client>,
    cut: Mutex<bool>,
}

impl Cable {
    fn check(&self) -> Result<(), Status> {
        if *self.cut.lock() { Err(Status::failure(Reason::ServiceUnavailable, "nobody answers")) } else { Ok(()) }
    }
}

#[async_trait]
impl Source for Cable {
    async fn list(&self, query: &Query) -> Result<Listing, Status> {
        self.client.list(query).await
    }

    async fn watch(&self, query: &Query, after: Revision) -> Result<WatchStream, Status> {
        self.client.watch(query, after).await
    }
}

#[async_trait]
impl Client for Cable {
    async fn get(&self, key: &ObjectKey) -> Result<Stored, Status> {
        self.check()?;
        self.client.get(key).await
    }

    async fn create(&self, what: &GroupResource, tenant: &str, at: &str, object: Object) -> Result<Stored, Status> {
        self.check()?;
        self.client.create(what, tenant, at, object).await
    }

    async fn update(&self, key: &ObjectKey, part: Option<&str>, object: Object) -> Result<Stored, Status> {
        self.check()?;
        self.client.update(key, part, object).await
    }

    async fn patch(&self, key: &ObjectKey, part: Option<&str>, patch: Patch) -> Result<Stored, Status> {
        self.client.patch(key, part, patch).await
    }

    async fn delete(&self, key: &ObjectKey, options: DeleteOptions) -> Result<(), Status> {
        self.client.delete(key, options).await
    }

    async fn post(&self, key: &ObjectKey, action: &str, body: Object) -> Result<Object, Status> {
        self.client.post(key, action, body).await
    }
}

struct Region {
    clock: ManualClock,
    client: Arc<dyn Client>,
    works: Arc<Mutex<Works>>,
    candidates: Vec<(&'static str, Arc<Cable>, Tasks)>,
    seed: u64,
}

impl Region {
    async fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
        let engine = Engine::memory(Arc::new(clock.clone()));
        let server = ApiServer::new(ApiConfig::new(engine, Arc::new(clock.clone()), Arc::new(SeededRandom::new(1))));
        server.bootstrap().await.expect("bootstraps");
        let client = server.client(Identity::system_component("test"));
        Self { clock, client, works: Arc::default(), candidates: Vec::new(), seed: 2 }
    }

    fn join(&mut self, who: &'static str) {
        let cable = Arc::new(Cable { client: self.client.clone(), cut: Mutex::new(false) });
        let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
        self.seed += 1;
        let (clock, random) = (Arc::new(self.clock.clone()), Arc::new(SeededRandom::new(self.seed)));
        let election = Election::new(cable.clone(), "kube-scheduler", who.to_owned(), clock, random, Timing::default());
        let desk = Desk { who, works: self.works.clone() };
        tasks.add_graceful(who, |stopping| election.run(desk, stopping));
        self.candidates.push((who, cable, tasks));
    }

    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds * 4 {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            self.clock.advance(Duration::from_millis(250));
        }
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    fn leader(&self) -> Option<&'static str> {
        self.works.lock().now.first().copied()
    }

    fn candidate(&self, who: &str) -> &(&'static str, Arc<Cable>, Tasks) {
        self.candidates.iter().find(|(name, ..)| *name == who).expect("it stands")
    }
}

#[tokio::test]
async fn one_at_a_time_works_and_another_takes_over_when_it_is_cut_off() {
    let mut region = Region::new().await;
    for who in ["a", "b", "c"] {
        region.join(who);
    }
    region.pass(60).await;
    let first = region.leader().expect("one leads");
    assert_eq!(region.works.lock().terms, [0], "it leads for as long as it can renew");
    *region.candidate(first).1.cut.lock() = true;
    let timing = Timing::default();
    region.pass(timing.renew_within.as_secs()).await;
    assert_eq!(region.leader(), None, "it stops before anybody else may begin");
    region.pass((timing.takeover() - timing.renew_within).as_secs()).await;
    let second = region.leader().expect("another one leads");
    assert_ne!(first, second);
    assert_eq!(region.works.lock().terms, [0, 1]);
    *region.candidate(first).1.cut.lock() = false;
    region.pass(60).await;
    assert_eq!(region.leader(), Some(second), "whoever comes back stands by");
}

#[tokio::test]
async fn a_leader_that_is_stopped_leaves_no_gap() {
    let mut region = Region::new().await;
    region.join("a");
    region.pass(1).await;
    region.join("b");
    region.pass(10).await;
    assert_eq!(region.leader(), Some("a"));
    region.candidate("a").2.stop().await;
    assert_eq!(region.leader(), None);
    region.pass(2).await;
    assert_eq!(region.leader(), Some("b"));
}

#[tokio::test]
async fn a_leader_whose_lease_was_taken_from_it_stops() {
    let mut region = Region::new().await;
    region.join("a");
    region.pass(5).await;
    let key =
        ObjectKey { resource: Lease::resource(), path: ObjectPath::new("system", "kube-system", "kube-scheduler") };
    let stored = region.client.get(&key).await.expect("a lease");
    let mut lease: Lease = stored.object.parse().expect("it reads");
    lease.metadata.resource_version = stored.revision.to_string();
    lease.spec.holder_identity = Some("somebody".to_owned());
    lease.spec.lease_transitions = Some(1);
    region.client.update(&key, None, lease.to_object()).await.expect("it is taken");
    region.pass(3).await;
    assert_eq!(region.leader(), None);
    region.pass(20).await;
    assert_eq!(
        (region.leader(), &*region.works.lock().terms),
        (Some("a"), &[0, 2][..]),
        "who took it did not renew it"
    );
}
