//! The roles of a region.
//!
//! | role | consists of |
//! |---|---|
//! | [`partition`] | a store, the API of its tenants, their controllers and scheduler |
//! | [`resource_manager`] | a store, the API of its hosts, the ledger of claims, the hosts' life cycle |
//! | [`aggregator`] | a view of all partitions and all resource managers as one |
//! | [`directory`] | a store and an API: who is part of the region, and where tenants live |
//! | [`gateway`] | a route from each request to the partition or resource manager that answers it |
//! | [`region`] | one of each, and hollow hosts, in one process |

pub mod aggregator;
pub mod directory;
mod elected;
pub mod gateway;
mod late;
pub mod partition;
mod presence;
pub mod region;
pub mod resource_manager;
pub mod store;

use std::net::SocketAddr;
use std::sync::Arc;

use arktos_api::{
    AdmissionConfig, ApiConfig, ApiServer, Audit, Caller, Identity, NodePorts, ServiceCidr, TokenAuthenticator,
    TokenKeys, TokenTable,
};
use arktos_control::certificates::CertificateSigner;
use arktos_control::election::Timing;
use arktos_control::{NetworkTemplate, StoredKind};
use arktos_core::catalog::{Catalog, Kind};
use arktos_core::{GroupResource, Status};
use arktos_sched::plugin::Plugins;
use arktos_store::token::TokenKey;
use arktos_store::{Client, Clock, Random, Tasks};

use crate::metrics::Metrics;

/// Makes the plugins of a scheduler.
pub type MakePlugins = Arc<dyn Fn() -> Plugins + Send + Sync>;

/// What a partition or a resource manager is made of.
pub struct RoleOptions {
    /// Its name, unique in the region.
    pub name: String,
    /// What keeps its objects.
    pub store: store::StoreArgs,
    /// What can be set of its API.
    pub api: ApiOptions,
    /// The kinds that are served.
    pub catalog: Arc<Catalog>,
    /// Which controllers run, as `--controllers` has it; `scheduler` counts as one.
    pub controllers: Vec<String>,
    /// How this process is elected to run controllers and scheduler, where several share a store; it runs them at once
    /// when absent.
    pub elect: Option<Timing>,
    /// The region's directory, where there is one: a partition tells it which tenants it has.
    pub directory: Option<Arc<dyn Client>>,
    /// Makes the plugins by which a partition's scheduler decides where pods go, each time the scheduler starts.
    pub plugins: MakePlugins,
    /// What its process counts and measures.
    pub metrics: Metrics,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives uids and jitter.
    pub random: Arc<dyn Random>,
}

/// What can be set of the API of a partition or a resource manager.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Bearer tokens and whose they are.
    pub tokens: TokenTable,
    /// Whether requests without credentials are `system:anonymous` rather than refused.
    pub anonymous_auth: bool,
    /// Which admission plugins run.
    pub admission: AdmissionConfig,
    /// Where services' addresses come from.
    pub service_cidr: ServiceCidr,
    /// Where services' node ports come from.
    pub node_ports: NodePorts,
    /// The issuer of service account tokens.
    pub issuer: String,
    /// The keys that sign them; new ones when absent.
    pub token_keys: Option<TokenKeys>,
    /// Calls the webhooks that tenants configure; none are called when absent.
    pub webhooks: Option<Arc<dyn Caller>>,
    /// Who is asked whose a bearer token is that nobody here has given out.
    pub authenticators: Vec<Arc<dyn TokenAuthenticator>>,
    /// The audit log; none when absent.
    pub audit: Option<Audit>,
    /// Where clients reach the API; the default when absent.
    pub advertise: Option<SocketAddr>,
    /// Where pods reach the API, for the `kubernetes` service; the default when absent.
    pub endpoint: Option<SocketAddr>,
    /// The authority that signed the server's certificate, as PEM, for the `kube-root-ca.crt` ConfigMaps.
    pub ca_certificate: String,
    /// Signs the certificates that are asked for through the API; nobody does when absent.
    pub signer: Option<Arc<dyn CertificateSigner>>,
    /// The network that each tenant is given; none when absent.
    pub network: Option<NetworkTemplate>,
    /// What the processes of the region have in common and nobody else knows: the keys of continue tokens come from it.
    /// They are drawn at the start when absent.
    pub secret: Option<Vec<u8>>,
    /// Whether Arktos's own old clients are served.
    pub arktos_compat: bool,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            tokens: TokenTable::default(),
            anonymous_auth: true,
            admission: AdmissionConfig::default(),
            service_cidr: ServiceCidr::default(),
            node_ports: NodePorts::default(),
            issuer: "https://kubernetes.default.svc".to_owned(),
            token_keys: None,
            webhooks: None,
            authenticators: Vec::new(),
            audit: None,
            advertise: None,
            endpoint: None,
            ca_certificate: String::new(),
            signer: None,
            network: None,
            secret: None,
            arktos_compat: false,
        }
    }
}

impl ApiOptions {
    fn apply(&self, name: &str, config: &mut ApiConfig) {
        config.tokens = self.tokens.clone();
        config.anonymous_auth = self.anonymous_auth;
        config.admission = self.admission.clone();
        config.arktos_compat = self.arktos_compat;
        config.service_cidr = self.service_cidr;
        config.node_ports = self.node_ports;
        config.issuer.clone_from(&self.issuer);
        config.webhooks.clone_from(&self.webhooks);
        config.authenticators.clone_from(&self.authenticators);
        config.audit.clone_from(&self.audit);
        if let Some(keys) = &self.token_keys {
            config.token_keys = keys.clone();
        }
        if let Some(advertise) = self.advertise {
            config.advertise = advertise;
        }
        config.endpoint = self.endpoint;
        if let Some(secret) = &self.secret {
            // each store has a key of its own: a revision means something else in another
            config.continue_key = TokenKey::of_secret(&[secret, name.as_bytes()].concat());
        }
    }
}

/// Why a role did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its store could not be opened.
    #[error("{0}")]
    Store(#[from] store::StoreError),
    /// What must be there from the start could not be made.
    #[error("cannot prepare the store: {0}")]
    Bootstrap(#[source] Box<Status>),
    /// An option has a value that means nothing.
    #[error("{0}")]
    Option(String),
}

impl From<Status> for StartError {
    fn from(status: Status) -> Self {
        Self::Bootstrap(Box::new(status))
    }
}

/// The name by which `--controllers` knows the scheduler.
const SCHEDULER: &str = "scheduler";

/// The kinds controllers look after: those of a catalog that are stored and can be deleted, and those that tenants
/// define, which come and go. `tasks` is given what looks after definitions, and tells of them.
fn kinds(catalog: &Catalog, name: &str, api: &ApiServer, tasks: &Tasks) -> arktos_control::Kinds {
    let stored = |kind: &&Arc<Kind>| kind.storage && kind.can("delete") && kind.can("list");
    let kinds = catalog.kinds().filter(stored);
    let builtin: Vec<StoredKind> =
        kinds.map(|kind| StoredKind::new(&kind.storage_resource, &kind.kind, kind.scope)).collect();
    let first: Arc<[StoredKind]> = builtin.clone().into();
    let (sender, receiver) = tokio::sync::watch::channel(first);
    let tell = move |defined: Vec<arktos_api::DefinedKind>| {
        let defined = defined.iter().map(|(resource, kind, scope)| StoredKind::defined(resource, kind, *scope));
        let all: Arc<[StoredKind]> = builtin.iter().cloned().chain(defined).collect();
        sender.send_if_modified(|known| {
            let news = **known != *all;
            *known = all;
            news
        });
    };
    tasks.add(format!("{name} definitions"), api.clone().look_after(tell));
    receiver
}

/// The options with a list of controllers; the scheduler, which is none, is left out.
fn with_controllers(options: arktos_control::Options, list: &[String]) -> arktos_control::Options {
    let names: Vec<&str> =
        list.iter().map(String::as_str).filter(|name| name.trim_start_matches('-') != SCHEDULER).collect();
    options.controllers(&names.join(","))
}

/// What is said of a list of controllers that names one nobody knows.
fn unknown_controller(mut error: arktos_control::UnknownController) -> StartError {
    error.known.push(SCHEDULER.to_owned());
    StartError::Option(error.to_string())
}

/// Whether a list of controllers says that the scheduler runs.
fn schedules(list: &[String]) -> bool {
    let listed = |name: &str| list.iter().any(|entry| entry == name);
    !listed("-scheduler") && (listed(SCHEDULER) || listed("*"))
}

/// The resource through which claims are asked for, and asked about.
fn claim_reviews() -> GroupResource {
    GroupResource::new("region.arktos.io", "claimreviews")
}

/// 403 for anyone but the region's own components.
fn components_only(identity: &Identity) -> Result<(), Status> {
    if identity.is_component() {
        return Ok(());
    }
    Err(Status::forbidden(&claim_reviews(), "", "only the region's own components claim hosts"))
}
