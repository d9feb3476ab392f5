//! Building a control plane in process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arktos_api::Identity;
use arktos_bin::edge::{SystemClock, SystemRandom};
use arktos_bin::hollow::HollowOptions;
use arktos_bin::roles::ApiOptions;
use arktos_bin::roles::region::{Region, RegionOptions};
use arktos_bin::roles::store::{StoreArgs, StoreKind};
use arktos_control::NetworkTemplate;
use arktos_core::TenantName;
use arktos_core::catalog::{Catalog, Kind};
use arktos_store::{Client, Clock, Random};

use crate::service::TenantService;

pub use arktos_bin::roles::StartError;

/// What a control plane will be made of. See [`ControlPlane::builder`].
#[must_use]
pub struct Builder {
    store: StoreArgs,
    hosts: HollowOptions,
    tenants: Vec<TenantName>,
    kinds: Vec<Kind>,
    controllers: Vec<String>,
    network: Option<NetworkTemplate>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// A control plane that runs in this process. End it with [`stop`](Self::stop), which joins everything it started;
/// dropped without, its tasks end with the runtime they were started on.
pub struct ControlPlane {
    region: Region,
}

impl ControlPlane {
    /// A control plane that keeps its objects in memory, with no hosts, no tenants but `system`, all controllers, and
    /// the system's clock and randomness.
    pub fn builder() -> Builder {
        Builder {
            store: StoreArgs::default(),
            hosts: HollowOptions { count: 0, start_delay: Duration::ZERO, ..HollowOptions::default() },
            tenants: Vec::new(),
            kinds: Vec::new(),
            controllers: vec!["*".to_owned()],
            network: None,
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
        }
    }

    /// The API as a tenant's administrator sees it: a whole cluster. A `tower::Service`, as `kube::Client::new` takes
    /// one.
    #[must_use]
    pub fn service(&self, tenant: &TenantName) -> TenantService {
        self.service_as(tenant, Identity::user("admin", &[], tenant))
    }

    /// The API as somebody sees it who asks for a tenant.
    #[must_use]
    pub fn service_as(&self, tenant: &TenantName, identity: Identity) -> TenantService {
        TenantService::new(self.region.gateway().clone(), tenant, identity)
    }

    /// The API without HTTP, as somebody. With [`Identity::system_component`], all tenants.
    #[must_use]
    pub fn client(&self, identity: Identity) -> Arc<dyn Client> {
        self.region.client(identity)
    }

    /// Ends everything this control plane started, and joins it. Watches end.
    pub async fn stop(self) {
        self.region.stop().await;
    }
}

impl Builder {
    /// Creates a tenant at the start.
    pub fn tenant(mut self, tenant: &TenantName) -> Self {
        self.tenants.push(tenant.clone());
        self
    }

    /// Serves a kind of one's own beside the built-in ones, to all tenants: [`Kind::custom`] makes one.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Simulates so many hosts, which run whatever is placed on them at once.
    pub fn hosts(mut self, count: usize) -> Self {
        self.hosts.count = count;
        self
    }

    /// Keeps the objects in a durable log in a directory, and finds there what an earlier control plane has left.
    /// Default: in memory.
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.store.kind = StoreKind::Log;
        self.store.data_dir = directory.into();
        self
    }

    /// Which controllers run, as kube-controller-manager's `--controllers` has it; `scheduler` counts as one.
    /// Default: `*`, all.
    pub fn controllers(mut self, list: &str) -> Self {
        self.controllers = list.split(',').map(|name| name.trim().to_owned()).collect();
        self
    }

    /// A network that each tenant is given, of a kind that a definition in `system` forces on all tenants. Default:
    /// none.
    pub fn network(mut self, template: NetworkTemplate) -> Self {
        self.network = Some(template);
        self
    }

    /// A clock of its own, such as [`arktos_store::clock::ManualClock`]. Default: the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Randomness of its own, such as [`arktos_store::clock::SeededRandom`]. Default: the system's.
    pub fn random(mut self, random: impl Random) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Starts the control plane: its tasks are spawned on the current tokio runtime. Its tenants can be used at once:
    /// they have their first namespaces, and an administrator.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left running.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    pub async fn start(self) -> Result<ControlPlane, StartError> {
        let catalog = match self.kinds.is_empty() {
            true => Catalog::builtin(),
            false => Catalog::builtin().with(self.kinds).map_err(|error| StartError::Option(error.to_string()))?,
        };
        let options = RegionOptions {
            catalog,
            store: self.store,
            api: ApiOptions { network: self.network, ..ApiOptions::default() },
            hosts: self.hosts,
            controllers: self.controllers,
            tenants: self.tenants,
            clock: self.clock,
            random: self.random,
            spawn: Arc::new(|future| drop(tokio::spawn(future))),
        };
        Ok(ControlPlane { region: Region::start(options).await? })
    }
}
