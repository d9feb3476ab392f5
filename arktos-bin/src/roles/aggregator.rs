//! The aggregator: what `all` tenants have in all partitions, and the hosts of all resource managers, as one API.
//!
//! For each resource there is a view ([`Aggregate`]): a store in memory that merges the streams of all partitions (or
//! resource managers), with one revision. An [`ApiServer`] reads it as it reads any store, so lists, pages, watches,
//! selectors and tables are those of every other role. A view begins to follow its sources when it is asked for first.
//!
//! * Its revisions begin anew, and higher, with each start: who stands at an older one is told 410 and lists again.
//! * A partition that does not answer keeps what it showed, and answers say so in a `Warning`. One that was never heard
//!   of since the start makes the answer a 503: a list without it would look complete.
//! * Each partition has a tenant `system` of its own; the first partition's is shown.
//! * It is for the region's administrators: it has no rules of rights that say what anybody else may see.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arktos_api::{ApiConfig, ApiServer, Delegate};
use arktos_control::pool::{self, Pool};
use arktos_core::catalog::{Catalog, Kind};
use arktos_core::{GroupResource, Object, ObjectKey, Reason, Revision, Scope, Status, TenantName};
use arktos_store::aggregate::{Aggregate, Project};
use arktos_store::client::{DeleteOptions, Listing, Patch, WatchStream};
use arktos_store::engine::EngineConfig;
use arktos_store::{Client, Clock, Engine, Query, Random, Roster, Source, Stored, Tasks};
use async_trait::async_trait;
use futures::future::{BoxFuture, Either, select};
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;

use super::gateway::{AnyError, GatewayBody, Identify, is_of_the_region, refuse};
use super::{ApiOptions, StartError};
use crate::edge::BlockingThreads;
use crate::hollow::LEASE_NAMESPACE;
use crate::metrics::Metrics;

/// How long a request waits for partitions that were not heard of yet.
const PATIENCE: Duration = Duration::from_secs(10);

/// What anybody else is told.
const REGIONS_OWN: &str = "all tenants are shown to the region's own users alone";

/// What an aggregator is made of.
pub struct AggregatorOptions {
    /// Its name, unique in the region.
    pub name: String,
    /// The partitions, a list or a roster of them.
    pub partitions: Roster,
    /// The partition whose tenant `system` stands for the region's.
    pub first: String,
    /// The resource managers, a list or a roster of them.
    pub managers: Roster,
    /// How each view keeps history.
    pub keeping: EngineConfig,
    /// What can be set of its API.
    pub api: ApiOptions,
    /// What its process counts and measures.
    pub metrics: Metrics,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives jitter.
    pub random: Arc<dyn Random>,
}

/// An aggregator that runs. Cloning it shares it.
#[derive(Clone)]
pub struct Aggregator {
    api: ApiServer,
    identify: Identify,
    views: Arc<Views>,
}

struct Views {
    by_resource: HashMap<GroupResource, View>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    name: String,
    metrics: Metrics,
}

/// One resource, merged.
struct View {
    aggregate: Aggregate,
    /// What keeps it current; taken when it is asked for first.
    driver: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Aggregator {
    /// Makes the views. `tasks` is given what keeps each current, once it is asked for.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(options: AggregatorOptions, tasks: &Tasks) -> Result<Self, StartError> {
        let AggregatorOptions { name, partitions, first, managers, keeping, api, metrics, clock, random } = options;
        let catalog = Catalog::builtin();
        let engine = Engine::memory(clock.clone());
        let mut config = ApiConfig::new(engine, clock.clone(), random.clone());
        config.aside = Arc::new(BlockingThreads);
        api.apply(&name, &mut config);
        config.observer = Some(metrics.observer(&name));
        // The tenant that its own users belong to; the views are put in front of it right after.
        ApiServer::new(config.clone()).bootstrap().await?;

        let identify = arktos_api::authenticator(api.tokens.clone(), api.anonymous_auth);
        let mut by_resource = HashMap::new();
        for kind in catalog.kinds().filter(|kind| is_shown(kind)) {
            let part = Part::of(kind);
            let of_tenants = Some(&partitions).filter(|_| part != Part::Pool);
            let of_hosts = Some(&managers).filter(|_| part != Part::Tenants);
            let (aggregate, driver) = Aggregate::following(
                of_tenants.into_iter().chain(of_hosts).cloned(),
                &Query::everywhere(kind.storage_resource.clone()),
                part.projection(kind, &first, &managers),
                keeping.clone(),
                clock.clone(),
                random.clone(),
            );
            let engine = aggregate.engine().clone();
            let writes: Arc<dyn Client> = match part {
                Part::Pool => Arc::new(Pool::new(engine.clone(), managers.clone(), clock.clone())),
                Part::Tenants | Part::Leases => Arc::new(OneTenantAtATime),
            };
            config.delegates.insert(kind.storage_resource.clone(), Delegate { engine, writes });
            let view = View { aggregate, driver: Mutex::new(Some(driver)) };
            by_resource.insert(kind.storage_resource.clone(), view);
        }
        let views = Views { by_resource, catalog, clock, tasks: tasks.clone(), name, metrics };
        Ok(Self { api: ApiServer::new(config), identify, views: Arc::new(views) })
    }

    /// Closes its stores. Its tasks must have been stopped.
    pub async fn close(&self) {
        for view in self.views.by_resource.values() {
            view.aggregate.engine().close().await;
        }
    }

    async fn answer<B>(mut self, request: Request<B>) -> Response<GatewayBody>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let resource = self.views.resource_of(request.uri().path());
        let view = resource.and_then(|resource| self.views.by_resource.get_key_value(&resource));
        let (parts, body) = request.into_parts();
        if let Some((resource, view)) = view {
            match (self.identify)(&parts) {
                Ok(identity) if is_of_the_region(&identity) => {}
                // A token that only a partition could check: nobody is known to ask.
                Ok(identity) if identity.user.is_empty() => {
                    return refuse(&Status::failure(Reason::Unauthorized, "Unauthorized"));
                }
                Ok(_) => return refuse(&Status::forbidden(resource, "", REGIONS_OWN)),
                Err(status) => return refuse(&status),
            }
            if let Err(status) = self.views.awake(resource, view).await {
                return refuse(&status);
            }
        }
        let Ok(response) = tower::Service::call(&mut self.api, Request::from_parts(parts, body)).await;
        let mut response = response.map(|body| body.map_err(|never| match never {}).boxed_unsync());
        for source in view.into_iter().flat_map(|(_, view)| view.silent()) {
            let text = format!("299 - \"{source} does not answer: its objects may be out of date\"");
            if let Ok(text) = HeaderValue::from_str(&text) {
                response.headers_mut().append(http::header::WARNING, text);
            }
        }
        response
    }
}

impl Views {
    /// The resource that a path is about, as its objects are stored.
    fn resource_of(&self, path: &str) -> Option<GroupResource> {
        let (group, version, resource) = arktos_api::resource_in(path)?;
        self.catalog.by_path(&group, &version, &resource).map(|kind| kind.storage_resource.clone())
    }

    /// Returns when the view has had a complete list of every source.
    async fn awake(&self, resource: &GroupResource, view: &View) -> Result<(), Status> {
        if let Some(driver) = view.driver.lock().take() {
            self.tasks.add(format!("view of {resource}"), driver);
            self.metrics.view(&self.name, resource.as_str(), &view.aggregate);
        }
        let synced = std::pin::pin!(view.aggregate.synced());
        if let Either::Left((Ok(()), _)) = select(synced, self.clock.sleep(PATIENCE)).await {
            return Ok(());
        }
        let progress = view.aggregate.progress();
        let unheard: Vec<String> = progress.into_iter().filter(|(_, one)| !one.synced).map(|(name, _)| name).collect();
        let text = format!("{} cannot be reached: without it the view would not be complete", unheard.join(", "));
        Err(Status::failure(Reason::ServiceUnavailable, text).retry_after(5))
    }
}

impl View {
    /// The sources that do not answer now.
    fn silent(&self) -> impl Iterator<Item = String> + use<> {
        let progress = self.aggregate.progress().into_iter();
        progress.filter(|(_, progress)| progress.synced && !progress.current).map(|(name, _)| name)
    }
}

/// Whether there is a view of a kind: of what is stored, and can be listed and watched.
fn is_shown(kind: &Kind) -> bool {
    kind.storage && kind.can("list") && kind.can("watch")
}

/// Which part of the region has the objects of a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The partitions.
    Tenants,
    /// The resource managers.
    Pool,
    /// Both: heartbeats of hosts are at the resource managers, all other leases in the partitions.
    Leases,
}

impl Part {
    fn of(kind: &Kind) -> Self {
        match kind.storage_resource.as_str() {
            "nodes" | "csinodes.storage.k8s.io" | "claims.region.arktos.io" => Self::Pool,
            "leases.coordination.k8s.io" => Self::Leases,
            _ => Self::Tenants,
        }
    }

    /// What a view shows of an object: what is of hosts with notes of whose it is; of the tenants `system` and of what
    /// belongs to no tenant, that of the first partition.
    fn projection(self, kind: &Arc<Kind>, first: &str, managers: &Roster) -> Project {
        if self == Self::Pool {
            return Arc::new(pool::projection(kind.clone()));
        }
        let (first, managers) = (first.to_owned(), managers.clone());
        // Those of a tenant's name are in its partition.
        let named = ["tenants", "tenantquotas.region.arktos.io"].contains(&kind.storage_resource.as_str());
        let of_no_tenant = kind.scope == Scope::Region && !named;
        Arc::new(move |source, stored| {
            let tenant = if named { stored.path.name() } else { stored.path.tenant() };
            let shown = if managers.now().find(source).is_some() {
                stored.path.namespace() == LEASE_NAMESPACE
            } else if tenant == TenantName::SYSTEM || of_no_tenant {
                *source == *first && stored.path.namespace() != LEASE_NAMESPACE
            } else {
                true
            };
            shown.then(|| stored.clone())
        })
    }
}

impl<B> tower::Service<Request<B>> for Aggregator
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<AnyError>,
{
    type Response = Response<GatewayBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let aggregator = self.clone();
        Box::pin(async move { Ok(aggregator.answer(request).await) })
    }
}

/// Refuses writes: what is written belongs to one tenant, and so to one partition.
struct OneTenantAtATime;

fn refused<T>() -> Result<T, Status> {
    let text = "all tenants cannot be written to at once: name one, as in /tenants/{name}/…";
    Err(Status::failure(Reason::MethodNotAllowed, text))
}

#[async_trait]
impl Source for OneTenantAtATime {
    async fn list(&self, _: &Query) -> Result<Listing, Status> {
        refused()
    }

    async fn watch(&self, _: &Query, _: Revision) -> Result<WatchStream, Status> {
        refused()
    }
}

#[async_trait]
impl Client for OneTenantAtATime {
    async fn get(&self, _: &ObjectKey) -> Result<Stored, Status> {
        refused()
    }

    async fn create(&self, _: &GroupResource, _: &str, _: &str, _: Object) -> Result<Stored, Status> {
        refused()
    }

    async fn update(&self, _: &ObjectKey, _: Option<&str>, _: Object) -> Result<Stored, Status> {
        refused()
    }

    async fn patch(&self, _: &ObjectKey, _: Option<&str>, _: Patch) -> Result<Stored, Status> {
        refused()
    }

    async fn delete(&self, _: &ObjectKey, _: DeleteOptions) -> Result<(), Status> {
        refused()
    }

    async fn post(&self, _: &ObjectKey, _: &str, _: Object) -> Result<Object, Status> {
        refused()
    }
}

#[cfg(test)]
mod tests;
