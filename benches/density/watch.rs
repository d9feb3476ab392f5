//! The pods of all partitions as a client sees them: when each was first seen, and when it was running.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use arktos::core::catalog::Catalog;
use arktos::core::{GroupResource, ObjectPath};
use arktos::store::informer::{Decode, DecodeError, Event, Origin};
use arktos::store::{Informer, Query, Stored, Tasks};
use arktos::{Client, Clock, Random};
use parking_lot::Mutex;

/// What the test keeps of a pod.
pub struct Pod {
    runs: bool,
    origin: Origin,
}

/// What the test keeps of a host: nothing, it counts them.
pub struct Host(Origin);

impl Decode for Pod {
    type Source = Origin;

    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        let kind = Catalog::builtin().storage(&GroupResource::core("pods"));
        let phase = kind.and_then(|kind| kind.field("status.phase"));
        Ok(Self {
            runs: phase.is_some_and(|field| stored.object.header().field(field) == "Running"),
            origin: Origin::of(stored),
        })
    }

    fn source(&self) -> &Origin {
        &self.origin
    }
}

impl Decode for Host {
    type Source = Origin;

    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        Ok(Self(Origin::of(stored)))
    }

    fn source(&self) -> &Origin {
        &self.0
    }
}

/// What is known of all pods. Written by the watches. No two pods have one name: Deployments make the names up.
#[derive(Default)]
pub struct Pods {
    waiting: HashMap<ObjectPath, Instant>,
    /// Pods that came to run and were not chosen for deletion yet, oldest first.
    oldest: VecDeque<ObjectPath>,
    /// How long each pod took from being seen to being seen running, in seconds, since somebody last took them.
    pub starts: Vec<f64>,
    /// How many pods were seen to come to run, ever.
    pub started: usize,
    /// How many pods run.
    pub running: usize,
    /// How many pods there are.
    pub known: usize,
}

impl Pods {
    /// The oldest of those that run and were not given out.
    pub fn take_oldest(&mut self) -> Option<ObjectPath> {
        self.oldest.pop_front()
    }

    fn observe(&mut self, event: &Event<Pod>) {
        let (path, before, after) = match event {
            Event::Added { path, new } => (path, None, Some(new.runs)),
            Event::Updated { path, old, new } => (path, Some(old.runs), Some(new.runs)),
            Event::Removed { path, old } => (path, Some(old.runs), None),
        };
        self.known = self.known + usize::from(before.is_none()) - usize::from(after.is_none());
        match (before.unwrap_or(false), after) {
            (false, Some(true)) => self.start(path),
            (true, Some(false) | None) => self.running -= 1,
            (false, Some(false)) => {
                self.waiting.entry(path.clone()).or_insert_with(Instant::now);
            }
            (false, None) => {
                self.waiting.remove(path);
            }
            (true, Some(true)) => {}
        }
    }

    fn start(&mut self, path: &ObjectPath) {
        let since = self.waiting.remove(path);
        self.starts.push(since.map_or(0.0, |since| since.elapsed().as_secs_f64()));
        self.started += 1;
        self.running += 1;
        self.oldest.push_back(path.clone());
    }
}

/// Watches the pods of a partition.
pub fn pods(
    client: Arc<dyn Client>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
    pods: &Arc<Mutex<Pods>>,
    tasks: &Tasks,
) {
    let (pods, query) = (pods.clone(), Query::everywhere(GroupResource::core("pods")));
    let informer = Informer::<Pod>::builder(client, query, clock.clone(), random.clone());
    let (informer, driver) = informer.handler(move |event| pods.lock().observe(event)).build();
    tasks.add("pods", async move {
        driver.await;
        drop(informer);
    });
}

/// Watches the hosts of a resource manager.
pub fn nodes(
    client: &Arc<dyn Client>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
    tasks: &Tasks,
) -> Informer<Host> {
    let query = Query::everywhere(GroupResource::core("nodes"));
    let (informer, driver) = Informer::new(client.clone(), query, clock.clone(), random.clone());
    tasks.add("nodes", driver);
    informer
}
