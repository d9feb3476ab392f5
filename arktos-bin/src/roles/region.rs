//! A whole region in one process: a partition, a resource manager, the gateway, and hollow hosts.

use std::sync::Arc;

use arktos_api::Identity;
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, Object, ObjectPath, Reason, TenantName, TypeMeta};
use arktos_store::tasks::Spawn;
use arktos_store::{Client, Clock, Delivery, Query, Random, Tasks};
use futures::StreamExt;

use super::gateway::{Backend, Gateway, OneOfEach};
use super::late::LateClient;
use super::partition::Partition;
use super::resource_manager::ResourceManager;
use super::store::StoreArgs;
use super::{ApiOptions, MakePlugins, RoleOptions, StartError};
use crate::hollow::{self, HollowOptions};
use crate::metrics::Metrics;

/// The name of the one partition.
pub(crate) const PARTITION: &str = "partition-0";
/// The name of the one resource manager.
pub(crate) const MANAGER: &str = "resource-manager-0";

/// What a region is made of.
pub struct RegionOptions {
    /// What keeps its objects.
    pub store: StoreArgs,
    /// What can be set of its API.
    pub api: ApiOptions,
    /// The kinds that are served.
    pub catalog: Arc<Catalog>,
    /// Its hosts.
    pub hosts: HollowOptions,
    /// Which controllers run, as `--controllers` has it; `scheduler` counts as one.
    pub controllers: Vec<String>,
    /// Tenants to create.
    pub tenants: Vec<TenantName>,
    /// Makes the plugins that decide where pods go.
    pub plugins: MakePlugins,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives uids and jitter.
    pub random: Arc<dyn Random>,
    /// Runs a future on whatever the owner runs its futures on.
    pub spawn: Spawn,
}

/// A region that runs.
pub struct Region {
    partition: Partition,
    manager: ResourceManager,
    gateway: Gateway,
    metrics: Metrics,
    tasks: Tasks,
}

impl Region {
    /// Starts every role, and creates the tenants that were asked for.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left running.
    pub async fn start(options: RegionOptions) -> Result<Self, StartError> {
        let tasks = Tasks::spawning(options.spawn.clone());
        match Self::start_roles(options, &tasks).await {
            Ok(region) => Ok(region),
            Err(error) => {
                tasks.stop().await;
                Err(error)
            }
        }
    }

    async fn start_roles(options: RegionOptions, tasks: &Tasks) -> Result<Self, StartError> {
        let RegionOptions { clock, random, .. } = &options;
        let (late, metrics) = (LateClient::new(), Metrics::new());
        let role = |name: &str| RoleOptions {
            name: name.to_owned(),
            store: options.store.clone(),
            api: options.api.clone(),
            catalog: options.catalog.clone(),
            controllers: options.controllers.clone(),
            elect: None,     // nobody shares these stores
            directory: None, // and nobody else is there
            plugins: options.plugins.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let partitions: Vec<(String, Arc<dyn Client>)> = vec![(PARTITION.to_owned(), Arc::new(late.clone()))];
        let manager = ResourceManager::start(role(MANAGER), partitions, Vec::new(), tasks, tasks).await?;
        let manager_client = manager.api().client(Identity::system_component(PARTITION));
        let managers = vec![(MANAGER.to_owned(), manager_client.clone())];
        let partition = Partition::start(role(PARTITION), managers, tasks).await?;
        late.set(partition.api().client(Identity::system_component(MANAGER)));

        let admin = partition.api().client(Identity::system_component("arktos:region"));
        for tenant in &options.tenants {
            create_tenant(&admin, tenant).await?;
        }
        if partition.makes_tenants_usable() {
            for tenant in &options.tenants {
                until_usable(&admin, tenant).await?;
            }
        }
        for (host, future) in hollow::hosts(&options.hosts, &manager_client, clock, random) {
            tasks.add(host, future);
        }
        let identify = arktos_api::authenticator(options.api.tokens.clone(), options.api.anonymous_auth);
        let (one, other) = (Backend::Local(partition.api().clone()), Backend::Local(manager.api().clone()));
        let gateway = Gateway::new(OneOfEach::new(one, other), identify);
        Ok(Self { partition, manager, gateway, metrics, tasks: tasks.clone() })
    }

    /// The service that answers every request.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// What it counts; more may be added.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What it runs; more may be added.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The partition's API, in process, as an identity.
    #[must_use]
    pub fn client(&self, identity: Identity) -> Arc<dyn Client> {
        self.partition.api().client(identity)
    }

    /// Ends everything, joins it, and closes the stores.
    pub async fn stop(self) {
        self.tasks.stop().await;
        self.partition.close().await;
        self.manager.close().await;
    }
}

async fn create_tenant(admin: &Arc<dyn Client>, tenant: &TenantName) -> Result<(), StartError> {
    let object = Object::new(&TypeMeta::new("", "v1", "Tenant"), tenant.as_str());
    match admin.create(&GroupResource::core("tenants"), "", "", object).await {
        Err(error) if !error.is(Reason::AlreadyExists) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Waits until a tenant has what every tenant begins with. Its phase does not say so: a tenant is active from creation.
async fn until_usable(admin: &Arc<dyn Client>, tenant: &TenantName) -> Result<(), StartError> {
    let path = ObjectPath::new(tenant.as_str(), "", arktos_control::ADMIN_BINDING);
    let query = Query::object(GroupResource::new("rbac.authorization.k8s.io", "clusterrolebindings"), path);
    let listing = admin.list(&query).await?;
    if !listing.items.is_empty() {
        return Ok(());
    }
    let mut changes = admin.watch(&query, listing.revision).await?;
    while let Some(delivery) = changes.next().await {
        if matches!(delivery?, Delivery::Added(_) | Delivery::Modified(_)) {
            return Ok(());
        }
    }
    Err(StartError::Option(format!("the store closed before tenant {tenant} was ready")))
}
