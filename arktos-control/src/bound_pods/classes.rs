//! The classes that say what is installed on hosts: RuntimeClasses and CSIDrivers.
//!
//! They describe the region's hosts, whose handlers and drivers have one name for all pods. So hosts see the region's
//! own, those of the tenant `system`, at their resource manager and at all partitions, as one list; what a tenant has
//! made under such a name says something to its own scheduler, and nothing to a host that runs the pods of others.
//! Nobody follows them before the first host asks.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{GroupResource, ObjectKey, Revision, Status, TenantName};
use arktos_store::aggregate::Aggregate;
use arktos_store::client::{Listing, WatchListEvent, WatchListStream};
use arktos_store::engine::EngineConfig;
use arktos_store::{Clock, Engine, Query, Random, Roster, Source, Stored, Tasks, Within};
use futures::StreamExt;
use futures::future::{BoxFuture, select};
use parking_lot::Mutex;

use super::views::unavailable;

/// What is shown.
const CLASSES: [(&str, &str); 2] = [("node.k8s.io", "runtimeclasses"), ("storage.k8s.io", "csidrivers")];
/// How long a host waits for partitions that were not heard of yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// The region's classes, as hosts see them.
pub struct HostClasses {
    views: Vec<View>,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
}

struct View {
    resource: GroupResource,
    aggregate: Aggregate,
    /// What keeps it current, until somebody asks, and what runs it from then on.
    driver: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl HostClasses {
    /// Those that an engine has, which is a resource manager's own, and those of partitions. `tasks` is given what
    /// keeps them current once somebody asks for them.
    #[must_use]
    pub fn new(
        own: (&str, &Engine),
        partitions: &Roster,
        config: &EngineConfig,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
        tasks: &Tasks,
    ) -> Self {
        let view = |(group, name): (&str, &str)| {
            let resource = GroupResource::new(group, name);
            let (aggregate, driver) = Aggregate::following(
                [partitions.clone()],
                &Query::all(resource.clone(), Within::Tenant(TenantName::system())),
                Arc::new(|_, stored| Some(stored.clone())),
                config.clone(),
                clock.clone(),
                random.clone(),
            );
            aggregate.join(own.0, Arc::new(own.1.source()));
            View { resource, aggregate, driver: Mutex::new(Some(driver)) }
        };
        Self { views: CLASSES.into_iter().map(view).collect(), tasks: tasks.clone(), clock: clock.clone() }
    }

    /// Where they are; whoever owns this closes them once its tasks have stopped.
    #[must_use]
    pub fn engines(&self) -> Vec<Engine> {
        self.views.iter().map(|view| view.aggregate.engine().clone()).collect()
    }

    /// Whether a resource is one of them.
    pub(super) fn has(&self, resource: &GroupResource) -> bool {
        self.views.iter().any(|view| view.resource == *resource)
    }

    /// One of them.
    ///
    /// # Errors
    /// 404; 503 while one of some partitions was not heard of.
    pub(super) async fn get(&self, key: &ObjectKey, needed: &[String]) -> Result<Stored, Status> {
        let found = self.engine(&key.resource, needed).await?.snapshot().get(key);
        found.ok_or_else(|| Status::not_found(&key.resource, key.path.name()))
    }

    /// Those that a query selects.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(super) async fn list(&self, query: &Query, needed: &[String]) -> Result<Listing, Status> {
        self.engine(&query.resource, needed).await?.source().list(query).await
    }

    /// What happens to them after a revision; without one, what there is first.
    ///
    /// # Errors
    /// As [`get`](Self::get), also in the stream.
    pub(super) async fn watch(
        &self,
        query: &Query,
        after: Option<Revision>,
        needed: &[String],
    ) -> Result<WatchListStream, Status> {
        let source = self.engine(&query.resource, needed).await?.source();
        let Some(after) = after else { return source.watch_list(query).await };
        let changes = source.watch(query, after).await?;
        Ok(changes.map(|change| change.map(WatchListEvent::Delivery)).boxed())
    }

    /// Where those of a resource are, once the resource manager's own are there and those of some partitions. Others
    /// may be away: what they have comes later.
    async fn engine(&self, resource: &GroupResource, needed: &[String]) -> Result<&Engine, Status> {
        let view = self.views.iter().find(|view| view.resource == *resource);
        let view = view.ok_or_else(|| Status::internal("hosts are not shown this"))?;
        if let Some(driver) = view.driver.lock().take() {
            self.tasks.add(format!("{resource} of hosts"), driver);
        }
        let silent = || {
            let progress = view.aggregate.progress();
            let mut silent = progress.into_iter().filter(|(_, progress)| !progress.synced);
            silent.find(|(name, _)| needed.contains(name)).map(|(name, _)| name)
        };
        if view.aggregate.progress().iter().any(|(_, progress)| !progress.synced) {
            let synced = std::pin::pin!(view.aggregate.synced());
            let _ = select(synced, self.clock.sleep(PATIENCE)).await; // it may be another one that is silent
        }
        match silent() {
            Some(partition) => Err(unavailable(format!("the {resource} of {partition} are not known yet"))),
            None => Ok(view.aggregate.engine()),
        }
    }
}
