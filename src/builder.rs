//! Building a control plane in process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arktos_api::Identity;
use arktos_bin::edge::{SystemClock, SystemRandom};
use arktos_bin::hollow::HollowOptions;
use arktos_bin::roles::region::{Region, RegionOptions};
use arktos_bin::roles::store::{OwnJournal, StoreArgs, StoreKind};
use arktos_bin::roles::{ApiOptions, MakePlugins};
use arktos_control::NetworkTemplate;
use arktos_core::TenantName;
use arktos_core::catalog::{Catalog, Kind};
use arktos_sched::plugin::Plugins;
use arktos_store::storage::{Journal, OpenError};
use arktos_store::{Client, Clock, Random, Tasks};

use crate::service::TenantService;

pub use arktos_bin::roles::StartError;

/// What a control plane shall be made of. See [`ControlPlane::builder`].
#[must_use]
pub struct Builder {
    store: StoreArgs,
    hosts: HollowOptions,
    tenants: Vec<TenantName>,
    kinds: Vec<Kind>,
    controllers: Vec<String>,
    api: ApiOptions,
    plugins: MakePlugins,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// A control plane that runs in this process. End it with [`stop`](Self::stop), which waits for everything it started.
/// If it is dropped instead, its tasks go on until the tokio runtime ends.
pub struct ControlPlane {
    region: Region,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl ControlPlane {
    /// Begins with a control plane that keeps its objects in memory, has no hosts and no tenant but `system`, runs all
    /// controllers, and uses the system's clock and randomness. The methods of [`Builder`] change that.
    pub fn builder() -> Builder {
        Builder {
            store: StoreArgs::default(),
            hosts: HollowOptions { count: 0, start_delay: Duration::ZERO, ..HollowOptions::default() },
            tenants: Vec::new(),
            kinds: Vec::new(),
            controllers: vec!["*".to_owned()],
            api: ApiOptions::default(),
            plugins: Arc::new(Plugins::default),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
        }
    }

    /// The API as a tenant's administrator sees it: a whole cluster. It is a `tower::Service`, and can be given to
    /// `kube::Client::new`.
    #[must_use]
    pub fn service(&self, tenant: &TenantName) -> TenantService {
        self.service_as(tenant, Identity::user("admin", &[], tenant))
    }

    /// The API of a tenant, as another identity sees it: for example `Identity::user("bob", &["dev"], &tenant)`.
    #[must_use]
    pub fn service_as(&self, tenant: &TenantName, identity: Identity) -> TenantService {
        TenantService::new(self.region.gateway().clone(), tenant, identity)
    }

    /// The API without HTTP, as an identity; with [`Identity::system_component`], for all tenants. Controllers
    /// ([`arktos_store::Informer`]) use it.
    #[must_use]
    pub fn client(&self, identity: Identity) -> Arc<dyn Client> {
        self.region.client(identity)
    }

    /// What this control plane runs. Tasks of your own, such as controllers, can be added: [`stop`](Self::stop) ends
    /// them with everything else.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        self.region.tasks()
    }

    /// The clock of this control plane, for controllers of your own.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// The randomness of this control plane, for controllers of your own.
    #[must_use]
    pub fn random(&self) -> Arc<dyn Random> {
        self.random.clone()
    }

    /// Ends everything this control plane started, and waits until it has ended. Watches end.
    pub async fn stop(self) {
        self.region.stop().await;
    }
}

impl Builder {
    /// Creates a tenant at the start. May be called more than once.
    pub fn tenant(mut self, tenant: &TenantName) -> Self {
        self.tenants.push(tenant.clone());
        self
    }

    /// Serves a kind of your own beside the built-in ones, to all tenants: [`Kind::custom`] makes one. May be called
    /// more than once.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Simulates this many hosts, which report pods placed on them as running at once.
    pub fn hosts(mut self, count: usize) -> Self {
        self.hosts.count = count;
        self
    }

    /// Keeps the objects in a durable log in a directory, and continues with what an earlier control plane left there.
    /// Default: in memory.
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.store.kind = StoreKind::Log;
        self.store.data_dir = directory.into();
        self
    }

    /// Keeps the objects in a backend of your own. `open` opens a journal for each role that has a store, by the role's
    /// name: `partition-0` and `resource-manager-0`. [`arktos_store::storage`] says how to write one, and
    /// [`arktos_store::conformance`] checks it. Default: in memory.
    pub fn journal(
        mut self,
        open: impl Fn(&str) -> Result<Box<dyn Journal>, OpenError> + Send + Sync + 'static,
    ) -> Self {
        self.store.kind = StoreKind::Own(OwnJournal::new(open));
        self
    }

    /// Which controllers run, in the syntax of kube-controller-manager's `--controllers`: for example
    /// `*,-job,-scheduler`. Default: `*`, all.
    pub fn controllers(mut self, list: &str) -> Self {
        self.controllers = list.split(',').map(|name| name.trim().to_owned()).collect();
        self
    }

    /// Options of the API: admission plugins, bearer tokens, webhooks, audit, addresses of services and others, as the
    /// flags of `arktos up` set them. Replaces an earlier [`network`](Self::network). Default: [`ApiOptions::default`].
    pub fn api(mut self, options: ApiOptions) -> Self {
        self.api = options;
        self
    }

    /// The plugins by which the scheduler decides where pods go. `make` is called whenever a scheduler starts, and is
    /// usually the built-in [`Plugins`] with some of one's own added. Default: the built-in ones.
    ///
    /// ```
    /// use arktos::ControlPlane;
    /// use arktos::sched::plugin::Plugins;
    ///
    /// let builder = ControlPlane::builder().hosts(3).plugins(Plugins::packing); // fills one host after the other
    /// ```
    pub fn plugins(mut self, make: impl Fn() -> Plugins + Send + Sync + 'static) -> Self {
        self.plugins = Arc::new(make);
        self
    }

    /// A network that each tenant gets, of a kind that a definition in `system` forces on all tenants. Default: none.
    pub fn network(mut self, template: NetworkTemplate) -> Self {
        self.api.network = Some(template);
        self
    }

    /// Another clock, such as [`arktos_store::clock::ManualClock`]. Default: the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Another source of randomness, such as [`arktos_store::clock::SeededRandom`]. Default: the system's.
    pub fn random(mut self, random: impl Random) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Starts the control plane, whose tasks are spawned on the current tokio runtime. When this returns its tenants
    /// can be used: they have their first namespaces and an administrator.
    ///
    /// # Errors
    /// [`StartError`], and then nothing is left running.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    pub async fn start(self) -> Result<ControlPlane, StartError> {
        let catalog = match self.kinds.is_empty() {
            true => Catalog::builtin(),
            false => Catalog::builtin().with(self.kinds).map_err(|error| StartError::Option(error.to_string()))?,
        };
        let (clock, random) = (self.clock.clone(), self.random.clone());
        let options = RegionOptions {
            catalog,
            store: self.store,
            api: self.api,
            plugins: self.plugins,
            hosts: self.hosts,
            controllers: self.controllers,
            tenants: self.tenants,
            clock: self.clock,
            random: self.random,
            spawn: Arc::new(|future| drop(tokio::spawn(future))),
        };
        Ok(ControlPlane { region: Region::start(options).await?, clock, random })
    }
}
