//! A resource manager: hosts, their heartbeats, and the ledger of claims on them.

use std::sync::Arc;
use std::time::Duration;

use arktos_api::{ApiConfig, ApiServer, Delegate, Identity, NodeViews, Role, VirtualResource};
use arktos_control::bound_pods::{HostClasses, HostServices, HostViews, Origins, projection};
use arktos_control::election::Term;
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, Object, ObjectKey, Revision, Status};
use arktos_sched::claim::asker::Asker;
use arktos_sched::claim::review::ClaimReviewHandler;
use arktos_store::aggregate::Aggregate;
use arktos_store::client::{Listing, Patch, WatchListStream};
use arktos_store::{Engine, Query, Roster, Stored, Tasks};
use async_trait::async_trait;

use super::{RoleOptions, StartError};
use super::{elected, store};
use crate::edge::BlockingThreads;

/// The lease of whoever runs the controllers.
const CONTROLLERS: &str = "kube-controller-manager";

/// How old a claim may be before its partition is asked whether anything is bound under it.
const CLAIM_DEADLINE: Duration = Duration::from_secs(60);

/// A resource manager that runs.
pub struct ResourceManager {
    engine: Engine,
    pods: Engine,
    services: Engine,
    classes: Vec<Engine>,
    api: ApiServer,
}

impl ResourceManager {
    /// Opens the store, makes what must be there, and gives `tasks` what must run. `partitions` are those whose pods
    /// run on its hosts, a list or a roster of them; they need not answer yet. `removed` are names of partitions that
    /// are gone for good. `following` is given what follows the partitions: `tasks`, or where many hosts are served
    /// those of a thread of its own, so that it need not wait for its turn among what hosts ask.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        options: RoleOptions,
        partitions: impl Into<Roster>,
        removed: Vec<String>,
        tasks: &Tasks,
        following: &Tasks,
    ) -> Result<Self, StartError> {
        let partitions = partitions.into();
        let RoleOptions { name, clock, random, .. } = &options;
        let engine = store::open(&options.store, name, &options.metrics, clock, tasks).await?;
        let pods = bound_pods(&options, &partitions, following);

        let mut config = ApiConfig::new(engine.clone(), clock.clone(), random.clone());
        config.aside = Arc::new(BlockingThreads);
        options.api.apply(&options.name, &mut config);
        config.catalog = options.catalog.clone();
        config.observer = Some(options.metrics.observer(name));
        config.role = Role::ResourceManager;
        let handler = ClaimReviewHandler::new(engine.clone(), &Catalog::builtin(), clock.clone(), random.clone());
        let handler = Arc::new(handler.map_err(|error| StartError::Option(error.to_string()))?.without(removed));
        tasks.add(format!("{name} removed partitions"), forget_removed(partitions.clone(), handler.clone()));
        config.virtuals.insert(super::claim_reviews(), Arc::new(ClaimReviews(handler.clone())));
        config.delegates.insert(GroupResource::core("pods"), pods.clone());
        let (services, beside) = services(&options, &partitions, &pods.engine, following)?;
        let (keeping, own) = (options.store.keeping(), (name.as_str(), &engine));
        let classes = HostClasses::new(own, &partitions, &keeping, clock, random, following);
        let shown = classes.engines();
        let views = HostViews::new(pods.engine.clone(), partitions.clone(), beside, classes);
        config.node_views = Some(Arc::new(Views(views)));
        let api = ApiServer::new(config);
        api.bootstrap().await?;

        let kinds = super::kinds(&options.catalog, name, &api, tasks);
        let controllers = arktos_control::Options::new(kinds).resource_manager(name).signer(options.api.signer.clone());
        let controllers = super::with_controllers(controllers, &options.controllers);
        let client = api.client(Identity::system_component("arktos:resource-manager"));
        let make = {
            let (client, partitions) = (client.clone(), partitions.clone());
            let (clock, random) = (clock.clone(), random.clone());
            move || {
                let (client, partitions) = (client.clone(), partitions.clone());
                arktos_control::resource_manager(client, partitions, clock.clone(), random.clone(), controllers.clone())
            }
        };
        make().map_err(super::unknown_controller)?;
        let owner = name.clone();
        let begin = Box::new(move |_: Option<&Term>, tasks: &Tasks| {
            for (controller, future) in make().into_iter().flatten() {
                tasks.add(format!("{owner} {controller}"), future);
            }
        });
        elected::run(CONTROLLERS, &options, client, tasks, begin);
        let find = move |name: &str| partitions.now().find(name).cloned();
        let asker = Asker::new(name, engine.clone(), handler, Arc::new(find), clock.clone(), CLAIM_DEADLINE);
        tasks.add(format!("{name} claim asker"), asker.run());
        Ok(Self { engine, pods: pods.engine, services, classes: shown, api })
    }

    /// Its API.
    #[must_use]
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// Closes its stores. Its tasks must have been stopped.
    pub async fn close(&self) {
        self.pods.close().await;
        self.services.close().await;
        for classes in &self.classes {
            classes.close().await;
        }
        self.engine.close().await;
    }
}

/// The pods that partitions have bound to this resource manager's hosts, as the hosts see them.
fn bound_pods(options: &RoleOptions, partitions: &Roster, tasks: &Tasks) -> Delegate {
    let RoleOptions { name, clock, random, .. } = options;
    // Pods carry the name of their resource manager from the binding on: one filtered stream a partition.
    let query = Query::everywhere(GroupResource::core("pods")).field("arktos.resourceManager", name);
    let (aggregate, driver) = Aggregate::following(
        [partitions.clone()],
        &query,
        Arc::new(projection),
        options.store.keeping(),
        clock.clone(),
        random.clone(),
    );
    tasks.add(format!("{name} bound pods"), driver);
    options.metrics.view(name, "pods", &aggregate);
    let origins = Origins::new(aggregate.engine().clone(), partitions.clone(), projection);
    Delegate { engine: aggregate.engine().clone(), writes: Arc::new(origins) }
}

/// The services of partitions in the namespaces that hosts see, and those of them that are shown to each.
fn services(
    options: &RoleOptions,
    partitions: &Roster,
    pods: &Engine,
    tasks: &Tasks,
) -> Result<(Engine, HostServices), StartError> {
    let RoleOptions { clock, random, .. } = options;
    let kind = |resource: &str| Catalog::builtin().storage(&GroupResource::core(resource));
    let place = kind("pods").and_then(|kind| kind.field("spec.nodeName"));
    let (Some(place), Some(kind)) = (place, kind("services")) else {
        return Err(StartError::Option("the catalog does not know the hosts of pods, or services".to_owned()));
    };
    let (aggregate, driver) = Aggregate::following(
        [partitions.clone()],
        &Query::everywhere(GroupResource::core("services")),
        Arc::new(projection),
        options.store.keeping(),
        clock.clone(),
        random.clone(),
    );
    let engine = aggregate.engine().clone();
    Ok((engine, HostServices::new((pods.clone(), place), (kind, aggregate, driver), tasks, clock.clone())))
}

/// Gives back what partitions had claimed that are removed from a roster. For ever.
async fn forget_removed(mut partitions: Roster, handler: Arc<ClaimReviewHandler>) {
    loop {
        for name in &partitions.now().removed {
            handler.remove(name);
        }
        partitions.changed().await;
    }
}

/// What hosts read of partitions, as the API asks for it.
struct Views(HostViews);

#[async_trait]
impl NodeViews for Views {
    fn covers(&self, resource: &GroupResource, namespace: &str) -> bool {
        self.0.covers(resource, namespace)
    }

    async fn get(&self, node: &str, key: &ObjectKey) -> Result<Stored, Status> {
        self.0.get(node, key).await
    }

    async fn list(&self, node: &str, query: &Query) -> Result<Listing, Status> {
        self.0.list(node, query).await
    }

    async fn watch(&self, node: &str, query: &Query, after: Option<Revision>) -> Result<WatchListStream, Status> {
        self.0.watch(node, query, after).await
    }

    async fn token(&self, node: &str, account: &ObjectKey, request: Object) -> Result<Object, Status> {
        self.0.token(node, account, request).await
    }

    async fn tell(&self, node: &str, namespace: &str, event: Object) -> Result<Stored, Status> {
        self.0.tell(node, namespace, event).await
    }

    async fn tell_more(&self, node: &str, of: &ObjectKey, patch: Patch) -> Result<Stored, Status> {
        self.0.tell_more(node, of, patch).await
    }
}

/// Reviews of claims, as the API asks for them.
struct ClaimReviews(Arc<ClaimReviewHandler>);

#[async_trait]
impl VirtualResource for ClaimReviews {
    async fn create(&self, identity: &Identity, object: Object) -> Result<Object, Status> {
        super::components_only(identity)?;
        self.0.review(object).await
    }
}
