//! One view over several partitions: their streams merged into one store with one comparable revision.
//!
//! ```text
//!  partition a ─ informer ─┐  project   ┌─────────┐
//!  partition b ─ informer ─┼──────────► │ mailbox │ ──► Engine (in memory) ──► lists, watches
//!  partition c ─ informer ─┘            └─────────┘
//! ```
//!
//! A resource manager shows its hosts the pods of all partitions this way, and a gateway shows `tenants/all`.
//!
//! * The revisions are the aggregate's own, and say nothing about any partition's. They begin at the moment the
//!   aggregate was made, so that one that is made anew never gives a revision that an earlier one has given, and
//!   answers whoever stands at an earlier one's revision with 410.
//! * What a partition showed stays while it does not answer, and [`Aggregate::progress`] says so. When it answers
//!   again, only what has changed becomes an event.
//! * Sources may join and leave while it runs, by hand or as a [`Roster`] says. What one that has left had shown is
//!   deleted: leaving is somebody's word, and not answering never is.
//! * Where two partitions show an object at the same path (a tenant that is being moved), the first keeps the path
//!   until it lets go of it.

mod mailbox;
mod merge;
mod shown;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arktos_core::{Revision, Timestamp};
use futures::future::{AbortHandle, BoxFuture, abortable, join, select_all};
use parking_lot::Mutex;
use tokio::sync::watch;

use self::mailbox::{Mail, Mailbox};
use self::merge::Merge;
use self::shown::Shown;
use crate::client::{Query, Source};
use crate::clock::{Clock, Random};
use crate::engine::{Engine, EngineConfig};
use crate::informer::{Informer, Progress, Stopped};
use crate::roster::Roster;
use crate::select::Stored;
use crate::tasks::Tasks;

/// Makes of a partition's object what the aggregate shows, where it shows it; `None` for what it does not show.
pub type Project = Arc<dyn Fn(&str, &Stored) -> Option<Stored> + Send + Sync>;

/// Several partitions' objects in one store. Cloning it shares it.
#[derive(Clone)]
pub struct Aggregate(Arc<Shared>);

struct Shared {
    engine: Engine,
    query: Query,
    project: Project,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    mailbox: Arc<Mailbox>,
    /// Runs the informers, inside the aggregate's driver.
    tasks: Tasks,
    sources: Mutex<Sources>, // written by `join` and `leave`
    /// Whether all sources there are have joined. Written by whoever follows a roster.
    complete: watch::Sender<bool>,
}

#[derive(Default)]
struct Sources {
    joined: Vec<Part>,
    /// How many have ever joined: each has a number of its own.
    count: usize,
}

/// One partition's objects.
struct Part {
    name: String,
    informer: Informer<Shown>,
    end: AbortHandle,
}

impl Aggregate {
    /// An aggregate of what a query selects in each of the partitions, and the future that keeps it current, which its
    /// owner runs.
    pub fn new(
        partitions: impl IntoIterator<Item = (String, Arc<dyn Source>)>,
        query: &Query,
        project: Project,
        config: EngineConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> (Self, BoxFuture<'static, ()>) {
        let config = EngineConfig { origin: epoch(clock.now()), ..config };
        let commit_bytes = config.commit_bytes;
        let engine = Engine::memory_with(config, clock.clone());
        let mailbox = Arc::new(Mailbox::new());
        let (tasks, driver) = Tasks::new();
        let merge = Merge::new(engine.clone(), query.resource.clone(), mailbox.clone(), clock.clone(), commit_bytes);
        tasks.add("merge", merge.run());
        tasks.add("maintenance", {
            let engine = engine.clone();
            async move { engine.maintenance().await }
        });
        let (query, sources, complete) = (query.clone(), Mutex::default(), watch::Sender::new(true));
        let aggregate =
            Self(Arc::new(Shared { engine, query, project, clock, random, mailbox, tasks, sources, complete }));
        for (name, source) in partitions {
            aggregate.join(&name, source);
        }
        (aggregate, driver)
    }

    /// An aggregate of those who are on a few rosters, whoever they are at a time. It is complete
    /// ([`synced`](Self::synced)) no sooner than the rosters.
    pub fn following(
        rosters: impl IntoIterator<Item = Roster>,
        query: &Query,
        project: Project,
        config: EngineConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> (Self, BoxFuture<'static, ()>) {
        let (aggregate, driver) = Self::new([], query, project, config, clock, random);
        let mut rosters: Vec<Roster> = rosters.into_iter().collect();
        aggregate.follow(&rosters);
        let follower = aggregate.clone();
        let follow = async move {
            while !rosters.is_empty() {
                select_all(rosters.iter_mut().map(|roster| Box::pin(roster.changed()))).await;
                follower.follow(&rosters);
            }
        };
        let both = async move {
            join(follow, driver).await;
        };
        (aggregate, Box::pin(both))
    }

    fn follow(&self, rosters: &[Roster]) {
        let mut complete = true;
        for members in rosters.iter().map(Roster::now) {
            for (name, client) in &members.present {
                self.join(name, client.clone());
            }
            for name in &members.removed {
                self.leave(name);
            }
            complete &= members.complete;
        }
        self.0.complete.send_if_modified(|known| std::mem::replace(known, complete) != complete);
    }

    /// Takes a source in. Nothing happens when it is there already.
    pub fn join(&self, name: &str, source: Arc<dyn Source>) {
        let shared = &self.0;
        let mut sources = shared.sources.lock();
        if sources.joined.iter().any(|part| part.name == name) {
            return;
        }
        let number = sources.count;
        sources.count += 1;
        let (post, project, partition) = (shared.mailbox.clone(), shared.project.clone(), name.to_owned());
        let (clock, random) = (shared.clock.clone(), shared.random.clone());
        let (informer, driver) = Informer::<Shown>::builder(source, shared.query.clone(), clock, random)
            .handler(move |event| {
                let old = event.before().and_then(|old| old.at());
                let new = event.after().and_then(|new| new.show(|stored| project(&partition, stored)));
                post.post(Mail::Change { source: number, old, new });
            })
            .gate(shared.mailbox.clone())
            .build();
        let (driver, end) = abortable(driver);
        let mailbox = shared.mailbox.clone();
        shared.tasks.add(name, async move {
            let _ = driver.await; // it ends only when it is told to, and nothing comes from it after that
            mailbox.post(Mail::Gone(number));
        });
        sources.joined.push(Part { name: name.to_owned(), informer, end });
    }

    /// Lets a source go, and deletes what it has shown. Nothing happens when it is not there.
    pub fn leave(&self, name: &str) {
        let mut sources = self.0.sources.lock();
        if let Some(at) = sources.joined.iter().position(|part| part.name == name) {
            sources.joined.remove(at).end.abort();
        }
    }

    /// The store to read and watch. Nobody but the aggregate writes to it.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// How far each partition's part is, by the partition's name. The revisions in it are the partitions' own.
    #[must_use]
    pub fn progress(&self) -> Vec<(String, Progress)> {
        let sources = self.0.sources.lock();
        sources.joined.iter().map(|part| (part.name.clone(), part.informer.progress())).collect()
    }

    /// Completes when the store has had a complete list of every partition. Cancel safe.
    ///
    /// # Errors
    /// [`Stopped`] when the driver was dropped before that.
    pub async fn synced(&self) -> Result<(), Stopped> {
        let mut complete = self.0.complete.subscribe();
        complete.wait_for(|complete| *complete).await.map_err(|_| Stopped)?;
        while let Some(informer) = self.unsynced() {
            let synced = informer.synced().await;
            // one that has left meanwhile is waited for no more
            if self.unsynced().is_some_and(|still| still.is(&informer)) {
                synced?;
            }
        }
        self.0.mailbox.drained().await
    }

    /// The first source of which there was no complete list yet.
    fn unsynced(&self) -> Option<Informer<Shown>> {
        let sources = self.0.sources.lock();
        let mut informers = sources.joined.iter().map(|part| &part.informer);
        informers.find(|informer| !informer.progress().synced).cloned()
    }
}

/// Where the revisions of an aggregate that is made now begin: far enough above those of any that was made before for
/// four million writes in each second of its life.
fn epoch(now: Timestamp) -> Revision {
    Revision(u64::try_from(now.as_micros() / 1000).unwrap_or(0) << 12)
}
