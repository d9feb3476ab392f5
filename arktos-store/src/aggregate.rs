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
//!   again,
//!   only what has changed becomes an event.
//! * Where two partitions show an object at the same path (a tenant that is being moved), the first keeps the path
//!   until it lets go of it.

mod mailbox;
mod merge;
mod shown;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arktos_core::{Revision, Timestamp};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use self::mailbox::{Mail, Mailbox};
use self::merge::Merge;
use self::shown::Shown;
use crate::client::{Query, Source};
use crate::clock::{Clock, Random};
use crate::engine::{Engine, EngineConfig};
use crate::informer::{Informer, Progress, Stopped};
use crate::select::Stored;

/// Makes of a partition's object what the aggregate shows, where it shows it; `None` for what it does not show.
pub type Project = Arc<dyn Fn(&str, &Stored) -> Option<Stored> + Send + Sync>;

/// Several partitions' objects in one store. Cloning it shares it.
#[derive(Clone)]
pub struct Aggregate(Arc<Shared>);

struct Shared {
    engine: Engine,
    sources: Arc<[Part]>,
    mailbox: Arc<Mailbox>,
}

/// One partition's objects.
struct Part {
    name: String,
    informer: Informer<Shown>,
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
        let running = FuturesUnordered::<BoxFuture<'static, ()>>::new();
        let mut sources = Vec::new();
        for (place, (name, source)) in partitions.into_iter().enumerate() {
            let (post, partition, project) = (mailbox.clone(), name.clone(), project.clone());
            let (informer, driver) = Informer::<Shown>::builder(source, query.clone(), clock.clone(), random.clone())
                .handler(move |event| {
                    let old = event.before().and_then(|old| old.at());
                    let new = event.after().and_then(|new| new.show(|stored| project(&partition, stored)));
                    post.post(Mail { source: place, old, new });
                })
                .gate(mailbox.clone())
                .build();
            running.push(driver);
            sources.push(Part { name, informer });
        }
        let sources: Arc<[Part]> = sources.into();
        let merge = Merge::new(engine.clone(), query.resource.clone(), mailbox.clone(), clock, commit_bytes);
        running.push(Box::pin(merge.run()));
        running.push({
            let engine = engine.clone();
            Box::pin(async move { engine.maintenance().await })
        });
        let driver = Box::pin(async move { running.for_each(|()| async {}).await });
        (Self(Arc::new(Shared { engine, sources, mailbox })), driver)
    }

    /// The store to read and watch. Nobody but the aggregate writes to it.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// How far each partition's part is, by the partition's name. The revisions in it are the partitions' own.
    #[must_use]
    pub fn progress(&self) -> Vec<(String, Progress)> {
        self.0.sources.iter().map(|source| (source.name.clone(), source.informer.progress())).collect()
    }

    /// Completes when the store has had a complete list of every partition. Cancel safe.
    ///
    /// # Errors
    /// [`Stopped`] when the driver was dropped before that.
    pub async fn synced(&self) -> Result<(), Stopped> {
        for source in &*self.0.sources {
            source.informer.synced().await?;
        }
        self.0.mailbox.drained().await
    }
}

/// Where the revisions of an aggregate that is made now begin: far enough above those of any that was made before for
/// four million writes in each second of its life.
fn epoch(now: Timestamp) -> Revision {
    Revision(u64::try_from(now.as_seconds()).unwrap_or(0) << 22)
}
