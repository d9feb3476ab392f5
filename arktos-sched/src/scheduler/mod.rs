//! The scheduler of a partition: wires informers, queue, pool and claims together.
//!
//! ```text
//!  informers ──► State ◄── plan ── planner ── jobs ──► workers ──► ClaimReview, binding, events
//!  (pods, namespaces; nodes and                           │
//!   claims of each           ▲                            │
//!   resource manager)        │                            │
//!                             └────── what came of it ────┘
//! ```
//!
//! Nothing here is spawned: [`Scheduler::new`] hands its owner the futures to run.

mod managers;
mod reap;
mod report;
mod state;
mod tally;
mod work;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::GroupResource;
use arktos_core::typed::{Claim, KindOf, Node, Pod};
use arktos_store::informer::{Decode, Event, Passing, Stopped};
use arktos_store::tasks::give_way;
use arktos_store::{Client, Clock, Informer, Query, Random, Roster, Stored};
use futures::future::{BoxFuture, Either, select};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use self::managers::{Following, Managers};
use self::reap::Reaping;
use self::report::{REPORTER, Report};
use self::state::{Plan, State};
pub use self::tally::{Latencies, Tally};
use self::work::{Job, Worker};
use crate::claim::fence::Fence;
use crate::hosts::ManagerId;
use crate::plugin::Plugins;
use crate::queue::Backoff;

/// How long a resource manager's watches may be broken before its hosts are no longer chosen.
const GRACE: Duration = Duration::from_secs(10);

/// How a scheduler is set up.
pub struct Options {
    /// The name of the partition, as its claims carry it. Default: `partition`.
    pub partition: String,
    /// The `spec.schedulerName`s of the pods it places. Default: `default-scheduler`.
    pub names: Vec<String>,
    /// What decides where pods go. Default: the built-in plugins.
    pub plugins: Plugins,
    /// How long pods wait after attempts that failed. Default: upstream's.
    pub backoff: Backoff,
    /// How many workers claim and bind side by side. Default: 4.
    pub workers: usize,
    /// How many pods are placed in one go. Default: 128.
    pub batch: usize,
    /// The term that it was elected for, which every binding carries: `lease/transitions/holder`. Default: none.
    pub term: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            partition: "partition".to_owned(),
            names: vec![REPORTER.to_owned()],
            plugins: Plugins::default(),
            backoff: Backoff::default(),
            workers: 4,
            batch: 128,
            term: None,
        }
    }
}

/// A scheduler at work. Cloning it shares it; the futures do the work.
#[derive(Clone)]
pub struct Scheduler {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

/// The futures of a scheduler, with their names. The owner runs all of them, and drops them to stop.
pub type Drivers = Vec<(String, BoxFuture<'static, ()>)>;

impl Scheduler {
    /// A scheduler over a partition's API and those of the resource managers: a fixed list of them, or whoever is on a
    /// roster at a time.
    #[must_use]
    pub fn new(
        partition: Arc<dyn Client>,
        managers: impl Into<Roster>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        options: Options,
    ) -> (Self, Drivers) {
        let Options { partition: name, names, plugins, backoff, workers, batch, term } = options;
        let state = State::new(&name, names, plugins, backoff, random.next());
        let state = Arc::new(Mutex::new(state));
        let (changed, reaping) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let notify = Notifies { changed: changed.clone(), reaping: reaping.clone() };
        let watches = Watches { state: state.clone(), notify, clock: clock.clone(), random: random.clone() };

        let mut drivers = Drivers::new();
        let namespaces = watches.namespaces(partition.clone(), &mut drivers);
        let pods = watches.pods(partition.clone(), &mut drivers);
        let (managers, roster) = (Managers::default(), managers.into());
        let (watched, met) = (HashMap::new(), HashMap::new());
        let mut following = Following { watches, managers: managers.clone(), roster: roster.clone(), watched, met };
        drivers.extend(following.look());
        let hosts = following.hosts();
        drivers.push(("managers".to_owned(), Box::pin(following.run())));
        let fence = Arc::new(Fence::new(partition.clone(), clock.clone()));
        let (report, writing) = Report::new(partition.clone(), clock.clone(), random);
        drivers.push(("reports".to_owned(), writing));
        let worker = Worker {
            state: state.clone(),
            changed: changed.clone(),
            partition: partition.clone(),
            managers: managers.clone(),
            fence: fence.clone(),
            term: term.map(Arc::from),
            report: report.clone(),
            clock: clock.clone(),
        };
        let (jobs, take) = mpsc::channel(1);
        let take = Arc::new(tokio::sync::Mutex::new(take));
        for at in 0..workers.max(1) {
            drivers.push((format!("worker-{at}"), Box::pin(worker.clone().run(take.clone()))));
        }
        let reaper = Reaping {
            state: state.clone(),
            wanted: reaping,
            pods: pods.clone(),
            partition,
            managers,
            fence,
            clock: clock.clone(),
        };
        drivers.push(("reaper".to_owned(), Box::pin(reaper.run())));
        let scheduler = Self { state, changed };
        let begin = begin((namespaces, pods), roster, hosts, clock.clone());
        let planner = scheduler.clone();
        let planner = async move {
            if begin.await.is_ok() {
                planner.run(jobs, report, clock, batch.max(1)).await;
            }
        };
        drivers.push(("planner".to_owned(), Box::pin(planner)));
        (scheduler, drivers)
    }

    /// How large a tenant's share of the scheduler is beside the others'. Default: 1.
    pub fn set_weight(&self, tenant: &str, weight: u32) {
        self.state.lock().queue.set_weight(tenant, weight);
    }

    /// How many pods are active, back off, and fit nowhere.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize, usize) {
        self.state.lock().queue.counts()
    }

    /// What it has done since it was started.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.state.lock().tally
    }

    /// Plans, for ever: whenever a worker is free and a pod is ready.
    async fn run(self, jobs: mpsc::Sender<Job>, report: Report, clock: Arc<dyn Clock>, batch: usize) {
        loop {
            let plan = self.state.lock().plan(clock.now(), batch);
            let idle = plan.placements.is_empty();
            if !give_out(plan, &jobs, &report).await {
                return;
            }
            let (ready, due) = {
                let state = self.state.lock();
                (state.is_ready(), state.next_due())
            };
            if ready {
                if idle {
                    give_way().await;
                }
                continue;
            }
            let changed = std::pin::pin!(self.changed.notified());
            match due {
                Some(due) => {
                    let wait = due.since(clock.now()).max(Duration::from_millis(1));
                    select(changed, clock.sleep(wait)).await;
                }
                None => changed.await,
            }
        }
    }
}

/// Gives the workers what was planned. Says whether there are workers left.
async fn give_out(plan: Plan, jobs: &mpsc::Sender<Job>, report: &Report) -> bool {
    for failure in plan.failures {
        report.unschedulable(failure);
    }
    for (manager, placements) in plan.placements {
        if jobs.send(Job(manager, placements)).await.is_err() {
            return false;
        }
    }
    true
}

#[derive(Clone)]
struct Notifies {
    changed: Arc<Notify>,
    reaping: Arc<Notify>,
}

/// What is watched of a resource manager: nodes and claims.
type Hosts = (Informer<Stored>, Informer<Passing>);

/// Makes the informers that feed the state.
struct Watches {
    state: Arc<Mutex<State>>,
    notify: Notifies,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Watches {
    fn pods(&self, client: Arc<dyn Client>, drivers: &mut Drivers) -> Informer<Stored> {
        let clock = self.clock.clone();
        let feed = move |state: &mut State, event: &Event<Stored>| match event {
            Event::Added { new, .. } | Event::Updated { new, .. } => state.pod(new, clock.now()),
            Event::Removed { old, .. } => state.pod_gone(old),
        };
        self.informer("pods", client, Query::everywhere(Pod::resource()), feed, drivers)
    }

    /// The labels of namespaces, of which most have none but their name.
    fn namespaces(&self, client: Arc<dyn Client>, drivers: &mut Drivers) -> Informer<Stored> {
        let feed = move |state: &mut State, event: &Event<Stored>| match event {
            Event::Added { new, .. } | Event::Updated { new, .. } => {
                state.namespace(&new.path, new.object.header().labels());
            }
            Event::Removed { path, .. } => state.namespace(path, std::iter::empty()),
        };
        let query = Query::everywhere(GroupResource::core("namespaces"));
        self.informer("namespaces", client, query, feed, drivers)
    }

    fn manager(&self, manager: ManagerId, client: Arc<dyn Client>, drivers: &mut Drivers) -> Hosts {
        let feed = move |state: &mut State, event: &Event<Stored>| match event {
            Event::Added { new, .. } | Event::Updated { new, .. } => state.node(manager, new),
            Event::Removed { path, .. } => state.pool.remove_node(manager, path.name()),
        };
        let query = Query::everywhere(Node::resource());
        let nodes = self.informer(&format!("nodes-{manager}"), client.clone(), query, feed, drivers);
        // There are as many claims as pods in the whole region: what is needed of them, the state keeps.
        let feed = move |state: &mut State, event: &Event<Passing>| match event {
            Event::Added { new, .. } | Event::Updated { new, .. } => {
                if let Some(claim) = new.take() {
                    state.claim(manager, &claim);
                }
            }
            Event::Removed { path, .. } => state.claim_gone(manager, path.name()),
        };
        let query = Query::everywhere(Claim::resource());
        let claims = self.informer(&format!("claims-{manager}"), client, query, feed, drivers);
        let (state, changed) = (self.state.clone(), self.notify.changed.clone());
        let follow = follow(manager, nodes.clone(), claims.clone(), state, changed, self.clock.clone());
        drivers.push((format!("reachability-{manager}"), Box::pin(follow)));
        (nodes, claims)
    }

    fn informer<T: Decode>(
        &self,
        name: &str,
        client: Arc<dyn Client>,
        query: Query,
        feed: impl Fn(&mut State, &Event<T>) + Send + 'static,
        drivers: &mut Drivers,
    ) -> Informer<T> {
        let (state, notify) = (self.state.clone(), self.notify.clone());
        let (informer, driver) = Informer::builder(client, query, self.clock.clone(), self.random.clone())
            .handler(move |event| {
                let mut state = state.lock();
                feed(&mut state, event);
                let reap = !state.reaper.is_idle();
                drop(state);
                notify.changed.notify_one();
                if reap {
                    notify.reaping.notify_one();
                }
            })
            .build();
        drivers.push((format!("informer-{name}"), driver));
        informer
    }
}

/// Completes when there is something to plan with: all pods, and all hosts of the resource managers that answer.
async fn begin(
    (namespaces, pods): (Informer<Stored>, Informer<Stored>),
    roster: Roster,
    hosts: Vec<Hosts>,
    clock: Arc<dyn Clock>,
) -> Result<(), Stopped> {
    namespaces.synced().await?;
    pods.synced().await?;
    let all = async {
        roster.complete().await;
        managers::known(hosts).await
    };
    match select(std::pin::pin!(all), clock.sleep(GRACE)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Ok(()),
    }
}

/// Tells the state whether a resource manager can be relied on: its hosts and claims are known, and current.
async fn follow(
    manager: ManagerId,
    nodes: Informer<Stored>,
    claims: Informer<Passing>,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    clock: Arc<dyn Clock>,
) {
    loop {
        let current = nodes.progress().current && claims.progress().current;
        state.lock().set_current(manager, current);
        changed.notify_one();
        let news = if current {
            lost(&nodes, &claims, &*clock).await
        } else {
            match nodes.until(|progress| progress.current).await {
                Ok(()) => claims.until(|progress| progress.current).await,
                stopped => stopped,
            }
        };
        if news.is_err() {
            return; // the informers were dropped, and so are we
        }
    }
}

/// Completes when one of two informers has not been current for a while. A watch that is merely opened anew costs
/// nothing: what is out of date here is refused by the ledger.
async fn lost(nodes: &Informer<Stored>, claims: &Informer<Passing>, clock: &dyn Clock) -> Result<(), Stopped> {
    loop {
        let either = (nodes.until(|progress| !progress.current), claims.until(|progress| !progress.current));
        match select(std::pin::pin!(either.0), std::pin::pin!(either.1)).await {
            Either::Left((outcome, _)) | Either::Right((outcome, _)) => outcome?,
        }
        let regained = async {
            nodes.until(|progress| progress.current).await?;
            claims.until(|progress| progress.current).await
        };
        match select(std::pin::pin!(regained), clock.sleep(GRACE)).await {
            Either::Left((outcome, _)) => outcome?,
            Either::Right(_) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod joins;
#[cfg(test)]
mod storms;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod turns;
