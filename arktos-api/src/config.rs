//! What a server needs, and what can be switched.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, Object, ObjectKey, Revision, Status, TenantName};
use arktos_store::client::{Listing, Patch, WatchListStream};
use arktos_store::token::TokenKey;
use arktos_store::{Client, Clock, Engine, Query, Random, Stored};
use async_trait::async_trait;
use bytes::Bytes;

use crate::audit::Audit;
use crate::fairness::Fairness;
use crate::identity::{Identity, TokenTable};
use crate::tokens::keys::TokenKeys;

/// What an API server is made of. [`ApiConfig::new`] has the defaults; every field can be changed before the server
/// is made.
#[derive(Clone)]
#[non_exhaustive]
pub struct ApiConfig {
    /// The partition's store.
    pub engine: Engine,
    /// The kinds that are served. Default: the built-in ones.
    pub catalog: Arc<Catalog>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives uids, name suffixes and keys.
    pub random: Arc<dyn Random>,
    /// Which part of a region this server is. Default: a tenant partition.
    pub role: Role,
    /// Bearer tokens and whose they are. Default: none.
    pub tokens: TokenTable,
    /// Who is asked whose a bearer token is that is neither in the table nor a service account's, in order. Default:
    /// nobody.
    pub authenticators: Vec<Arc<dyn TokenAuthenticator>>,
    /// Whether a request without credentials is `system:anonymous` (else 401). Default: yes.
    pub anonymous_auth: bool,
    /// Which admission plugins run. Default: upstream's.
    pub admission: AdmissionConfig,
    /// Where service addresses come from. Default: 10.0.0.0/16.
    pub service_cidr: ServiceCidr,
    /// Where node ports come from. Default: 30000-32767.
    pub node_ports: NodePorts,
    /// The keys that sign service account tokens. All servers of one store need the same, and tokens live as long as
    /// they do. Default: random.
    pub token_keys: TokenKeys,
    /// The issuer of service account tokens. Default: `https://kubernetes.default.svc`.
    pub issuer: String,
    /// The address under which clients find this server. Default: 127.0.0.1:6443.
    pub advertise: std::net::SocketAddr,
    /// The address to which the `kubernetes` service leads. Default: `advertise`, and none if that is this machine's
    /// alone.
    pub endpoint: Option<std::net::SocketAddr>,
    /// A resource manager's API. Where there is one, hosts are claimed before they are used: bindings without a claim
    /// are refused unless there is a `claimer`. Default: none; bindings then need no claim.
    pub resource_manager: Option<Arc<dyn Client>>,
    /// Claims hosts for bindings that come without a claim. Default: none; bindings then need none.
    pub claimer: Option<Arc<dyn Claimer>>,
    /// Calls the webhooks that tenants configure. Default: none; a webhook that must be asked then refuses.
    pub webhooks: Option<Arc<dyn Caller>>,
    /// The audit log. Default: none.
    pub audit: Option<Audit>,
    /// Resources served from another engine, whose writes go elsewhere. Default: none.
    pub delegates: HashMap<GroupResource, Delegate>,
    /// Answers nodes for what their pods name and others keep. Default: nobody; nodes read what is here.
    pub node_views: Option<Arc<dyn NodeViews>>,
    /// Resources that are answered and not stored. Default: none beside the built-in reviews.
    pub virtuals: HashMap<GroupResource, Arc<dyn VirtualResource>>,
    /// The key that seals continue tokens. All servers of one store need the same; with one that stays across restarts,
    /// lists go on across them where the store does. Default: random, so that tokens of an earlier life are expired.
    pub continue_key: TokenKey,
    /// Is told of every request over HTTP, and answers `/metrics`. Default: nobody; there are no metrics then.
    pub observer: Option<Arc<dyn Observer>>,
    /// How many requests are worked on at a time, and how tenants share them. Default: [`Fairness::default`].
    pub fairness: Fairness,
    /// Does what takes long. Default: [`InPlace`].
    pub aside: Arc<dyn Aside>,
    /// Whether Arktos's own clients, which are of Kubernetes 1.15, find on Arktos's own paths what only they need.
    /// Default: no.
    pub arktos_compat: bool,
}

impl ApiConfig {
    /// The defaults, over a store.
    #[must_use]
    pub fn new(engine: Engine, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            continue_key: TokenKey::random(&*random),
            engine,
            catalog: Catalog::builtin(),
            clock,
            token_keys: TokenKeys::random(&*random),
            random,
            role: Role::Partition,
            tokens: TokenTable::default(),
            authenticators: Vec::new(),
            anonymous_auth: true,
            admission: AdmissionConfig::default(),
            service_cidr: ServiceCidr::default(),
            node_ports: NodePorts::default(),
            issuer: "https://kubernetes.default.svc".to_owned(),
            advertise: std::net::SocketAddr::from(([127, 0, 0, 1], 6443)),
            endpoint: None,
            resource_manager: None,
            claimer: None,
            webhooks: None,
            audit: None,
            delegates: HashMap::new(),
            node_views: None,
            virtuals: HashMap::new(),
            observer: None,
            fairness: Fairness::default(),
            aside: Arc::new(InPlace),
            arktos_compat: false,
        }
    }
}

/// Does work that takes long apart from those who answer requests. Little is given to it at a time.
pub trait Aside: Send + Sync + 'static {
    /// Sees to it that some work is done. Does not wait for it.
    fn run(&self, work: Box<dyn FnOnce() + Send>);
}

/// Does all work at once, where it is given.
pub struct InPlace;

impl Aside for InPlace {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// Is told of requests, and shows what it counted.
pub trait Observer: Send + Sync + 'static {
    /// A request over HTTP was answered; of a watch, the head of the answer.
    fn answered(&self, request: &Answered<'_>);

    /// All metrics, in the text format of Prometheus. Whoever asks has been authorized.
    fn metrics(&self) -> String;
}

/// A request that was answered. None of it is as a client wrote it: what is not known is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered<'a> {
    /// The verb, as rules of rights name it; `other` for a method that means none.
    pub verb: &'static str,
    /// The group of the resource; empty for the core group.
    pub group: &'a str,
    /// A built-in resource, `custom` for those that tenants define, empty for what is no resource.
    pub resource: &'a str,
    /// A subresource that the kind has; empty otherwise.
    pub subresource: &'a str,
    /// The HTTP status.
    pub code: u16,
    /// From the head of the request to the head of the answer.
    pub took: Duration,
    /// For how long it waited for its turn; absent for what takes none, and for what was refused before.
    pub waited: Option<Duration>,
    /// The tenant of whoever asked, as they were authenticated; absent for the region's own components, for who came
    /// without credentials, and for who was not let in.
    pub tenant: Option<&'a str>,
    /// The seats that it had, times how long it had them.
    pub seat_time: Duration,
}

/// Which part of a region a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Tenants and what belongs to them.
    Partition,
    /// Hosts, their heartbeats and the claims on them.
    ResourceManager,
}

/// Which admission plugins run, by upstream's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdmissionConfig {
    /// Plugins that run beside the default ones.
    pub enabled: BTreeSet<String>,
    /// Default plugins that do not run.
    pub disabled: BTreeSet<String>,
}

impl AdmissionConfig {
    /// The plugins that run unless they are disabled.
    pub const DEFAULT: [&'static str; 22] = [
        "CertificateApproval",
        "CertificateSigning",
        "CertificateSubjectRestriction",
        "DefaultIngressClass",
        "DefaultStorageClass",
        "DefaultTolerationSeconds",
        "LimitRanger",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionWebhook",
        "NamespaceLifecycle",
        "NodeRestriction",
        "PersistentVolumeClaimResize",
        "PodSecurity",
        "PodTopologyLabels",
        "Priority",
        "ResourceQuota",
        "RuntimeClass",
        "ServiceAccount",
        "StorageObjectInUseProtection",
        "TaintNodesByCondition",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionWebhook",
    ];

    /// The other plugins that upstream has. Naming them is no mistake; what they would do is not done.
    pub const NOT_BUILT: [&'static str; 15] = [
        "AlwaysAdmit",
        "AlwaysDeny",
        "AlwaysPullImages",
        "ClusterTrustBundleAttest",
        "DenyServiceExternalIPs",
        "EventRateLimit",
        "ExtendedResourceToleration",
        "ImagePolicyWebhook",
        "LimitPodHardAntiAffinityTopology",
        "NamespaceAutoProvision",
        "NamespaceExists",
        "NodeDeclaredFeatureValidator",
        "OwnerReferencesPermissionEnforcement",
        "PodNodeSelector",
        "PodTolerationRestriction",
    ];

    /// Whether a plugin runs.
    #[must_use]
    pub fn runs(&self, plugin: &str) -> bool {
        !self.disabled.contains(plugin) && (self.enabled.contains(plugin) || Self::DEFAULT.contains(&plugin))
    }
}

/// A range of IPv4 addresses for services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceCidr {
    base: Ipv4Addr,
    prefix: u8,
}

/// A string that is not a range of IPv4 addresses with room for services.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 range with a prefix of at most /30, such as 10.0.0.0/16")]
pub struct InvalidServiceCidr(String);

impl ServiceCidr {
    /// Reads `10.0.0.0/16`.
    ///
    /// # Errors
    /// [`InvalidServiceCidr`] when it is not one, or has no room for services.
    pub fn parse(text: &str) -> Result<Self, InvalidServiceCidr> {
        let invalid = || InvalidServiceCidr(text.to_owned());
        let (base, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let base: Ipv4Addr = base.parse().map_err(|_| invalid())?;
        let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
        if !(1..=30).contains(&prefix) {
            return Err(invalid());
        }
        let mask = u32::MAX << (32 - u32::from(prefix));
        Ok(Self { base: Ipv4Addr::from(u32::from(base) & mask), prefix })
    }

    /// The address of the range itself.
    #[must_use]
    pub fn base(&self) -> Ipv4Addr {
        self.base
    }

    /// How many addresses can be given out: all but the network's own and the last.
    #[must_use]
    pub fn size(&self) -> u32 {
        (1 << (32 - u32::from(self.prefix))) - 2
    }

    /// The address number `index`, from 0; the first is the `kubernetes` service's.
    #[must_use]
    pub fn address(&self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base).wrapping_add(1).wrapping_add(index % self.size()))
    }

    /// Whether an address can be given out.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address).checked_sub(u32::from(self.base)).is_some_and(|at| at >= 1 && at <= self.size())
    }
}

impl std::fmt::Display for ServiceCidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl Default for ServiceCidr {
    /// 10.0.0.0/16.
    fn default() -> Self {
        Self { base: Ipv4Addr::new(10, 0, 0, 0), prefix: 16 }
    }
}

/// A range of node ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePorts {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Default for NodePorts {
    fn default() -> Self {
        Self { first: 30_000, last: 32_767 }
    }
}

/// A resource that is read from one place and written in another: how a resource manager shows the pods that
/// partitions have bound to its hosts.
#[derive(Clone)]
pub struct Delegate {
    /// Where it is read and watched.
    pub engine: Engine,
    /// Where writes go.
    pub writes: Arc<dyn Client>,
}

/// What nodes read of what others keep, because pods that are bound to them name it: how a resource manager answers
/// for the secrets and config maps of partitions. Whether a node may was judged before; who keeps it judges again.
#[async_trait]
pub trait NodeViews: Send + Sync + 'static {
    /// Whether nodes are answered so for a resource in a namespace (in all, where it is empty).
    fn covers(&self, resource: &GroupResource, namespace: &str) -> bool;

    /// One object, at its newest.
    async fn get(&self, node: &str, key: &ObjectKey) -> Result<Stored, Status>;

    /// What a query selects, at its newest.
    async fn list(&self, node: &str, query: &Query) -> Result<Listing, Status>;

    /// What happens to what a query selects after a revision; without one, all there is, and then what happens. It
    /// ends with an error, `ServiceUnavailable` where the watcher may go on from where it stands.
    async fn watch(&self, node: &str, query: &Query, after: Option<Revision>) -> Result<WatchListStream, Status>;

    /// A token of a service account.
    async fn token(&self, node: &str, account: &ObjectKey, request: Object) -> Result<Object, Status>;

    /// Keeps an Event that a node tells, as it is stored.
    async fn tell(&self, node: &str, namespace: &str, event: Object) -> Result<Stored, Status>;

    /// Patches an Event that a node has told, or the status of a volume's claim.
    async fn tell_more(&self, node: &str, of: &ObjectKey, patch: Patch) -> Result<Stored, Status>;
}

/// A resource that is answered and not stored, such as a review of claims.
#[async_trait]
pub trait VirtualResource: Send + Sync + 'static {
    /// Answers a create. The caller has been authorized.
    async fn create(&self, identity: &Identity, object: Object) -> Result<Object, Status>;
}

/// Says whose a bearer token is that somebody else has given out.
#[async_trait]
pub trait TokenAuthenticator: std::fmt::Debug + Send + Sync + 'static {
    /// Whose it is; absent when it is none of those that are known here.
    ///
    /// # Errors
    /// A sentence for the log: why it cannot be told, or what is wrong with it. The client is told 401 and no more.
    async fn authenticate(&self, token: &str) -> Result<Option<Identity>, String>;
}

/// Calls webhooks: there are no sockets in this crate.
///
/// Tenants say where their webhooks are, so an implementation must not reach what the tenant could not reach itself,
/// and must not follow redirects.
#[async_trait]
pub trait Caller: std::fmt::Debug + Send + Sync + 'static {
    /// Posts JSON over HTTPS and gives back the body of a successful answer. The caller of this stops waiting after the
    /// target's time; dropping the future ends the attempt.
    ///
    /// # Errors
    /// A sentence that the client is told.
    async fn call(&self, target: &WebhookTarget, body: Bytes) -> Result<Bytes, String>;
}

/// Where a webhook is, and what shows that it is the right one.
#[derive(Debug, Clone)]
pub struct WebhookTarget {
    /// An `https` URL. Its host is the name in the webhook's certificate.
    pub url: String,
    /// Where to connect, when the host's name does not say it.
    pub address: Option<SocketAddr>,
    /// The authorities that may have signed the webhook's certificate, PEM; empty for those that everybody trusts.
    pub ca_bundle: Vec<u8>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Claims hosts for pods that are bound by somebody who does not claim.
#[async_trait]
pub trait Claimer: Send + Sync + 'static {
    /// Claims the host that the pod names in `spec.nodeName`. Gives back `resource manager/claim`.
    async fn claim(&self, tenant: &TenantName, pod: &Object) -> Result<String, Status>;
}
