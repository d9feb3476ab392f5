//! A tenant partition: the store and the API of its tenants, their controllers and their scheduler.

use std::sync::Arc;
use std::time::Duration;

use arktos_api::{ApiConfig, ApiServer, Claimer, Delegate, Identity, VirtualResource};
use arktos_control::election::Term;
use arktos_control::pool::{self, Pool};
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, Object, Revision, Status, TenantName};
use arktos_sched::claim::{DirectClaimer, Fence};
use arktos_store::aggregate::Aggregate;
use arktos_store::{Engine, Query, Roster, Tasks};
use async_trait::async_trait;
use tokio::sync::watch;

use super::late::LateClient;
use super::{RoleOptions, StartError};
use super::{elected, presence, store};
use crate::edge::BlockingThreads;

/// The lease of whoever runs the controllers, and of whoever runs the scheduler: named as upstream names them.
const CONTROLLERS: &str = "kube-controller-manager";
const SCHEDULER: &str = "kube-scheduler";
/// How long deployments and replica sets rest between two looks: what becomes of a pod in its first moments, from its
/// creation to its running, is then looked at once. Not where old clients are served: what they ask for next is what
/// has become of it.
const REST: Duration = Duration::from_millis(500);

/// A partition that runs.
pub struct Partition {
    engine: Engine,
    nodes: Engine,
    api: ApiServer,
    tenant_controller: bool,
}

impl Partition {
    /// Opens the store, makes what must be there, and gives `tasks` what must run. `managers` are the resource
    /// managers on whose hosts pods are placed, a list or a roster of them; they need not answer yet.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(options: RoleOptions, managers: impl Into<Roster>, tasks: &Tasks) -> Result<Self, StartError> {
        let managers = managers.into();
        let RoleOptions { name, clock, random, .. } = &options;
        let engine = store::open(&options.store, name, &options.metrics, clock, tasks).await?;
        // What `system` sees of the hosts: those of all resource managers.
        let kind = Catalog::builtin().storage(&GroupResource::core("nodes"));
        let kind = kind.ok_or_else(|| StartError::Option("the catalog has no nodes".to_owned()))?;
        let (nodes, driver) = Aggregate::following(
            [managers.clone()],
            &Query::everywhere(kind.storage_resource.clone()),
            Arc::new(pool::projection(kind)),
            options.store.keeping(),
            clock.clone(),
            random.clone(),
        );
        tasks.add(format!("{name} nodes"), driver);
        options.metrics.view(name, "nodes", &nodes);

        let mut config = ApiConfig::new(engine.clone(), clock.clone(), random.clone());
        config.aside = Arc::new(BlockingThreads);
        options.api.apply(&options.name, &mut config);
        config.catalog = options.catalog.clone();
        config.observer = Some(options.metrics.observer(name));
        // The partition's word on claims; it reads and writes through the API that is made right below.
        let late = LateClient::new();
        let members = managers.now();
        let mut hosts = None;
        if !members.present.is_empty() || !members.complete {
            let (shown, from) = watch::channel(None);
            tasks.add(format!("{name} hosts"), all_shown(nodes.clone(), shown));
            hosts = Some(from);
            let writes = Arc::new(Pool::new(nodes.engine().clone(), managers.clone(), clock.clone()));
            let delegate = Delegate { engine: nodes.engine().clone(), writes };
            config.delegates.insert(GroupResource::core("nodes"), delegate);
            let claimer = DirectClaimer::new(name, managers.clone()).fenced(Arc::new(late.clone()));
            config.claimer = Some(Arc::new(Claims(claimer)));
        }
        let fence = Fence::new(Arc::new(late.clone()), clock.clone());
        config.virtuals.insert(super::claim_reviews(), Arc::new(ClaimQuestions(fence)));
        let api = ApiServer::new(config);
        late.set(api.client(Identity::system_component("arktos:claims")));
        api.bootstrap().await?;
        let client = api.client(Identity::system_component("arktos:presence"));
        tasks.add(format!("{name} presence"), presence::show(client, clock.clone(), name.clone()));
        let counted = options.metrics.clone().count_stored(name.clone(), engine.clone(), clock.clone());
        tasks.add(format!("{name} usage"), counted);
        let mut partition = Self { engine, nodes: nodes.engine().clone(), api, tenant_controller: false };
        partition.run_controllers(&options, hosts, tasks)?;
        partition.run_scheduler(&options, managers, tasks);
        Ok(partition)
    }

    fn run_controllers(
        &mut self,
        options: &RoleOptions,
        hosts: Option<watch::Receiver<Option<Revision>>>,
        tasks: &Tasks,
    ) -> Result<(), StartError> {
        let kinds = super::kinds(&options.catalog, &options.name, &self.api, tasks);
        let controllers = arktos_control::Options::new(kinds);
        let controllers = controllers.root_ca(options.api.ca_certificate.clone()).signer(options.api.signer.clone());
        let controllers = controllers.token_secrets(options.api.arktos_compat).network(options.api.network.clone());
        let rest = if options.api.arktos_compat { Duration::ZERO } else { REST };
        let controllers = super::with_controllers(controllers.rest(rest).hosts(hosts), &options.controllers);
        let client = self.api.client(Identity::system_component("arktos:controllers"));
        let (name, clock, random) = (options.name.clone(), options.clock.clone(), options.random.clone());
        let make = {
            let client = client.clone();
            move || arktos_control::partition(client.clone(), clock.clone(), random.clone(), controllers.clone())
        };
        let first = make().map_err(super::unknown_controller)?;
        self.tenant_controller = first.iter().any(|(controller, _)| controller == "tenant");
        let (directory, tenants) = (options.directory.clone(), client.clone());
        let (clock, random) = (options.clock.clone(), options.random.clone());
        let begin = Box::new(move |_: Option<&Term>, tasks: &Tasks| {
            for (controller, future) in make().into_iter().flatten() {
                tasks.add(format!("{name} {controller}"), future);
            }
            if let Some(directory) = &directory {
                let (directory, tenants) = (directory.clone(), tenants.clone());
                let keeper =
                    arktos_control::directory::keeper(&name, tenants, directory, clock.clone(), random.clone());
                tasks.add(format!("{name} placements"), keeper);
            }
        });
        elected::run(CONTROLLERS, options, client, tasks, begin);
        Ok(())
    }

    fn run_scheduler(&self, options: &RoleOptions, managers: Roster, tasks: &Tasks) {
        let client = self.api.client(Identity::system_component("system:kube-scheduler"));
        let (name, clock, random) = (options.name.clone(), options.clock.clone(), options.random.clone());
        let (metrics, plugins) = (options.metrics.clone(), options.plugins.clone());
        let (places, scheduled) = (super::schedules(&options.controllers), client.clone());
        let begin = Box::new(move |term: Option<&Term>, tasks: &Tasks| {
            let mut settings =
                arktos_sched::Options { partition: name.clone(), plugins: plugins(), ..Default::default() };
            settings.term = term.map(Term::to_string);
            if !places {
                settings.names.clear(); // it places nothing, and still gives claims back when their pods are gone
            }
            let (client, managers) = (scheduled.clone(), managers.clone());
            let (scheduler, drivers) =
                arktos_sched::Scheduler::new(client, managers, clock.clone(), random.clone(), settings);
            metrics.scheduler(&name, &scheduler);
            for (driver, future) in drivers {
                tasks.add(format!("{name} scheduler {driver}"), future);
            }
        });
        elected::run(SCHEDULER, options, client, tasks, begin);
    }

    /// Whether a controller gives new tenants what every tenant begins with.
    #[must_use]
    pub fn makes_tenants_usable(&self) -> bool {
        self.tenant_controller
    }

    /// Its API.
    #[must_use]
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// Closes its stores. Its tasks must have been stopped.
    pub async fn close(&self) {
        self.nodes.close().await;
        self.engine.close().await;
    }
}

/// Says from which revision of the pool on the hosts of all resource managers are in it.
async fn all_shown(nodes: Aggregate, shown: watch::Sender<Option<Revision>>) {
    if nodes.synced().await.is_ok() {
        shown.send_replace(Some(nodes.engine().snapshot().revision()));
    }
}

/// Claims for pods whose host is named by somebody else than the scheduler.
struct Claims(DirectClaimer);

#[async_trait]
impl Claimer for Claims {
    async fn claim(&self, tenant: &TenantName, pod: &Object) -> Result<String, Status> {
        self.0.claim(tenant.as_str(), pod).await
    }
}

/// Questions about claims, as resource managers ask them.
struct ClaimQuestions(Fence);

#[async_trait]
impl VirtualResource for ClaimQuestions {
    async fn create(&self, identity: &Identity, object: Object) -> Result<Object, Status> {
        super::components_only(identity)?;
        self.0.review(object).await
    }
}
