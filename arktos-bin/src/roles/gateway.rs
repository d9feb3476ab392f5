//! The gateway: stateless, it sends each request to the partition or the resource manager that answers it.
//!
//! Where a request goes is decided by the tenant of its path or, on short paths, of its identity; what belongs to the
//! region's hosts goes to a resource manager. Which partition has a tenant is data, from the [`Directory`].

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use arktos_api::{Answered, ApiServer, Identity};
use arktos_core::{GroupResource, Reason, Status, TenantName};
use arktos_store::Clock;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::metrics::Metrics;

/// Whatever a body can fail with, of a request or of an answer.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A body that broke off on its way through.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(#[source] AnyError);

impl BodyError {
    /// What it failed with.
    pub fn new(error: impl Into<AnyError>) -> Self {
        Self(error.into())
    }
}

/// The body of an answer, from this process or another one.
pub type GatewayBody = UnsyncBoxBody<Bytes, BodyError>;

/// A partition or a resource manager, as the gateway reaches it.
#[derive(Clone)]
pub enum Backend {
    /// In this process. It authenticates the client itself.
    Local(ApiServer),
    /// Somewhere else, over mutual TLS, with the client's identity in headers.
    #[cfg(feature = "net")]
    Remote(Box<crate::net::forward::Forward>),
}

/// Where tenants live.
pub trait Directory: Send + Sync + 'static {
    /// The number of the partition that has a tenant; `None` for a tenant nobody knows.
    fn find(&self, tenant: &str) -> Option<usize>;

    /// The number of the partition that a new tenant is to be made in.
    fn place(&self, tenant: &str) -> usize;
}

/// The directory of a region with one partition: whoever it is, that partition knows.
pub struct OnePartition;

impl Directory for OnePartition {
    fn find(&self, _: &str) -> Option<usize> {
        Some(0)
    }

    fn place(&self, _: &str) -> usize {
        0
    }
}

/// The gateway's service. Cloning it shares it.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

#[derive(Clone)]
struct Shared {
    partitions: Vec<Backend>,
    managers: Vec<Backend>,
    /// Who sees all tenants and all hosts, where there are several partitions or resource managers.
    aggregator: Option<Backend>,
    directory: Arc<dyn Directory>,
    identify: Identify,
    /// Whether discovery goes to the tenant that its query names, as Arktos's own clients have it.
    old_clients: bool,
    /// What it counts, where it runs by itself.
    measures: Option<(Metrics, Arc<dyn Clock>)>,
}

/// Says who sends a request. Only asked when it decides where the request goes, or must be told to a remote backend.
pub type Identify = Arc<dyn Fn(&http::request::Parts) -> Result<Identity, Status> + Send + Sync>;

impl Gateway {
    /// A gateway in front of partitions and resource managers, at least one of each.
    #[must_use]
    pub fn new(
        partitions: Vec<Backend>,
        managers: Vec<Backend>,
        directory: impl Directory,
        identify: Identify,
    ) -> Self {
        let directory = Arc::new(directory);
        let (aggregator, old_clients, measures) = (None, false, None);
        Self(Arc::new(Shared { partitions, managers, aggregator, directory, identify, old_clients, measures }))
    }

    /// The same, for Arktos's own clients as well: they ask for the discovery of a tenant by `?tenant=`.
    #[must_use]
    pub fn for_old_clients(self) -> Self {
        let shared = Arc::unwrap_or_clone(self.0);
        Self(Arc::new(Shared { old_clients: true, ..shared }))
    }

    /// The same, asking an aggregator about all tenants, and about all hosts, where several roles have them.
    #[must_use]
    pub fn aggregated(self, aggregator: Backend) -> Self {
        let shared = Arc::unwrap_or_clone(self.0);
        Self(Arc::new(Shared { aggregator: Some(aggregator), ..shared }))
    }

    /// The same, counting its requests and answering `/metrics` by itself. (In one process with its backends, they do.)
    #[must_use]
    pub fn measured(self, metrics: Metrics, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::unwrap_or_clone(self.0);
        Self(Arc::new(Shared { measures: Some((metrics, clock)), ..shared }))
    }

    async fn answer<B>(self, request: Request<B>) -> Response<GatewayBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let Some((metrics, clock)) = self.0.measures.clone() else { return self.pass_on(request).await };
        let verb = verb_of(request.method());
        let begun = clock.now();
        let response = if request.uri().path() == "/metrics" {
            let (parts, _) = request.into_parts();
            let allowed = (self.0.identify)(&parts).and_then(|identity| may_read_metrics(&identity));
            allowed.map_or_else(|status| refuse(&status), |()| metrics_of(&metrics))
        } else {
            self.pass_on(request).await
        };
        let (code, took) = (response.status().as_u16(), clock.now().since(begun));
        let answered = Answered { verb, group: "", resource: "", subresource: "", code, took };
        metrics.answered(&"gateway".into(), &answered);
        response
    }

    async fn pass_on<B>(self, request: Request<B>) -> Response<GatewayBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        match self.choose(request).await {
            Ok((backend, request, _identity)) => match backend {
                Backend::Local(mut server) => {
                    let Ok(response) = tower::Service::call(&mut server, request).await;
                    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
                }
                #[cfg(feature = "net")]
                Backend::Remote(forward) => forward.send(request, _identity).await,
            },
            Err(status) => refuse(&status),
        }
    }

    /// The backend for a request. The body of a request that creates a tenant is read for the tenant's name.
    async fn choose<B>(&self, request: Request<B>) -> Result<(Backend, Request<RequestBody>, Option<Identity>), Status>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let shared = &self.0;
        let (parts, body) = request.into_parts();
        let destination = destination(&parts.method, parts.uri.path());
        let destination = match discovered(&parts.uri).filter(|_| shared.old_clients) {
            Some(tenant) if destination == Destination::Identity => Destination::Tenant(tenant.to_owned()),
            _ => destination,
        };
        let only_local = shared.partitions.len() == 1 && matches!(shared.partitions[0], Backend::Local(_));
        let of_hosts = destination == Destination::Hosts;
        let identity = if only_local && !of_hosts { None } else { Some((shared.identify)(&parts)?) };
        // What is the hosts' for the region's own users is, under the same short path, the tenant's for a tenant's.
        // A token that only a partition can check goes there as well: partitions show `system` the hosts.
        let elsewhere = |identity: &Identity| !identity.is_system() || identity.user.is_empty();
        let of_tenant = of_hosts && identity.as_ref().is_some_and(elsewhere);
        let destination = if of_tenant { Destination::Identity } else { destination };
        let body = body.map_err(BodyError::new).boxed_unsync();
        let tenant_of_identity = || identity.as_ref().and_then(|identity| identity.tenant.clone());
        let backend = match destination {
            Destination::Hosts => self.manager()?,
            Destination::Tenant(tenant) => self.partition_for(&tenant, identity.as_ref())?,
            Destination::Identity => match tenant_of_identity() {
                Some(tenant) => self.partition_for(tenant.as_str(), identity.as_ref())?,
                None => shared.partitions[0].clone(),
            },
            Destination::AllTenants if shared.partitions.len() > 1 => shared.aggregator.clone().ok_or_else(|| {
                Status::failure(
                    Reason::NotImplemented,
                    "this gateway knows no aggregator (--aggregator): ask for one tenant, as /tenants/{name}/…",
                )
            })?,
            Destination::AllTenants => shared.partitions[0].clone(),
            Destination::NewTenant if shared.partitions.len() > 1 => {
                let (name, bytes) = tenant_in(body).await?;
                let place = shared.directory.find(&name).unwrap_or_else(|| shared.directory.place(&name));
                let body = Full::from(bytes).map_err(|never| match never {}).boxed_unsync();
                return Ok((shared.partitions[place].clone(), Request::from_parts(parts, body), identity));
            }
            Destination::NewTenant => shared.partitions[0].clone(),
        };
        Ok((backend, Request::from_parts(parts, body), identity))
    }

    /// The partition that answers who asks about a tenant. Whether there is such a tenant, only the region's own are
    /// told: for anybody else the partition that they belong to refuses what is not theirs, there or not.
    fn partition_for(&self, tenant: &str, identity: Option<&Identity>) -> Result<Backend, Status> {
        let found = self.partition(tenant);
        match identity.filter(|identity| found.is_err() && !is_of_the_region(identity)) {
            Some(identity) => {
                let own = identity.tenant.as_ref().and_then(|own| self.partition(own.as_str()).ok());
                Ok(own.unwrap_or_else(|| self.0.partitions[0].clone()))
            }
            None => found,
        }
    }

    fn partition(&self, tenant: &str) -> Result<Backend, Status> {
        if tenant == TenantName::SYSTEM {
            return Ok(self.0.partitions[0].clone()); // each partition has its own; the first stands for the region's
        }
        let found = self.0.directory.find(tenant).and_then(|number| self.0.partitions.get(number));
        found.cloned().ok_or_else(|| Status::not_found(&GroupResource::core("tenants"), tenant))
    }

    fn manager(&self) -> Result<Backend, Status> {
        match self.0.managers.as_slice() {
            [one] => Ok(one.clone()),
            // Without an aggregator: a partition shows the nodes of all resource managers.
            _ => Ok(self.0.aggregator.as_ref().unwrap_or(&self.0.partitions[0]).clone()),
        }
    }
}

/// Whether somebody is one of the region's own users, and said who it is.
pub(super) fn is_of_the_region(identity: &Identity) -> bool {
    identity.is_system() && !identity.is_in("system:unauthenticated")
}

/// The body of a request on its way to a backend.
pub type RequestBody = UnsyncBoxBody<Bytes, BodyError>;

impl<B> tower::Service<Request<B>> for Gateway
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<AnyError>,
{
    type Response = Response<GatewayBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let gateway = self.clone();
        Box::pin(async move { Ok(gateway.answer(request).await) })
    }
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
enum Destination {
    /// To the partition of the tenant that its path names.
    Tenant(String),
    /// To the partition of the tenant that its identity belongs to.
    Identity,
    /// To whoever sees all tenants.
    AllTenants,
    /// To the partition in which a new tenant is placed.
    NewTenant,
    /// To a resource manager.
    Hosts,
}

/// Reads as much of a path as decides where it goes. What is wrong with the rest, the backend says.
fn destination(method: &Method, path: &str) -> Destination {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if let ["tenants", tenant, ..] = parts.as_slice() {
        return named(tenant);
    }
    let (group, rest) = match parts.as_slice() {
        ["api", _version, rest @ ..] => ("", rest),
        ["apis", group, _version, rest @ ..] => (*group, rest),
        _ => return Destination::Identity,
    };
    match rest {
        ["tenants"] if method == Method::POST => Destination::NewTenant,
        ["tenants"] => Destination::AllTenants,
        ["tenants", tenant, rest @ ..] if *tenant == TenantName::SYSTEM && of_hosts(group, rest) => Destination::Hosts,
        ["tenants", tenant, ..] => named(tenant),
        rest if of_hosts(group, rest) => Destination::Hosts,
        _ => Destination::Identity,
    }
}

/// The tenant whose discovery is asked for in a query.
fn discovered(uri: &http::Uri) -> Option<&str> {
    let tenant = uri.query()?.split('&').find_map(|part| part.strip_prefix("tenant="))?;
    let first = uri.path().split('/').nth(1);
    let is_discovery =
        matches!(first, Some("api" | "apis" | "openapi")) && arktos_api::resource_in(uri.path()).is_none();
    (is_discovery && !matches!(tenant, "" | TenantName::ALL)).then_some(tenant)
}

fn named(tenant: &str) -> Destination {
    if tenant == TenantName::ALL { Destination::AllTenants } else { Destination::Tenant(tenant.to_owned()) }
}

fn of_hosts(group: &str, rest: &[&str]) -> bool {
    match (group, rest) {
        ("", ["nodes", ..]) | ("storage.k8s.io", ["csinodes", ..]) => true,
        ("coordination.k8s.io", ["namespaces", namespace, "leases", ..]) => {
            *namespace == crate::hollow::LEASE_NAMESPACE
        }
        ("region.arktos.io", ["claims" | "claimreviews", ..]) => true,
        _ => false,
    }
}

/// The name of the tenant that a body is to create, and the body.
async fn tenant_in(body: RequestBody) -> Result<(String, Bytes), Status> {
    const LENGTH_MAX: usize = 1 << 20;
    let body = http_body_util::Limited::new(body, LENGTH_MAX).collect().await;
    let bytes = body.map_err(|error| Status::bad_request(format!("the body cannot be read: {error}")))?.to_bytes();
    let value: serde_json::Value = serde_json::from_slice(&bytes).or_else(|_| {
        arktos_core::media::yaml::parse(&bytes)
            .map_err(|_| Status::bad_request("a tenant is created at a gateway with a JSON or YAML body"))
    })?;
    Ok((value["metadata"]["name"].as_str().unwrap_or_default().to_owned(), bytes))
}

/// What a method is counted as.
fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// 403 for all but the region's administrators, its own components, and those who monitor it: a gateway that runs by
/// itself has no rules to look into.
fn may_read_metrics(identity: &Identity) -> Result<(), Status> {
    let groups = ["system:masters", "system:monitoring"];
    if identity.is_component() || (identity.is_system() && groups.into_iter().any(|group| identity.is_in(group))) {
        return Ok(());
    }
    let text = format!("forbidden: User {:?} cannot get path \"/metrics\"", identity.user);
    Err(Status::failure(Reason::Forbidden, text))
}

fn metrics_of(metrics: &Metrics) -> Response<GatewayBody> {
    let mut response = Response::new(Full::from(metrics.text()).map_err(|never| match never {}).boxed_unsync());
    let format = http::HeaderValue::from_static(crate::metrics::CONTENT_TYPE);
    response.headers_mut().insert(http::header::CONTENT_TYPE, format);
    response
}

/// A status as an answer.
pub fn refuse(status: &Status) -> Response<GatewayBody> {
    let body = serde_json::to_vec(status).unwrap_or_default();
    let mut response = Response::new(Full::from(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(status.code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two partitions; the first has `acme`, the second `globex`, and nobody has any other.
    struct Two;

    impl Directory for Two {
        fn find(&self, tenant: &str) -> Option<usize> {
            ["acme", "globex"].iter().position(|known| *known == tenant)
        }

        fn place(&self, _: &str) -> usize {
            0
        }
    }

    fn server(seed: u64) -> ApiServer {
        use arktos_store::clock::{ManualClock, SeededRandom};
        let clock = Arc::new(ManualClock::new(arktos_core::Timestamp::from_micros(0)));
        let engine = arktos_store::Engine::memory(clock.clone());
        ApiServer::new(arktos_api::ApiConfig::new(engine, clock, Arc::new(SeededRandom::new(seed))))
    }

    #[test]
    fn whether_there_is_a_tenant_is_not_told() {
        let partitions = vec![Backend::Local(server(1)), Backend::Local(server(2))];
        let identify: Identify = Arc::new(|parts| Ok(parts.extensions.get::<Identity>().cloned().unwrap_or_default()));
        let gateway = Gateway::new(partitions, vec![Backend::Local(server(3))], Two, identify);
        let ask = |identity: &Identity, tenant: &str| {
            let path = format!("/tenants/{tenant}/api/v1/namespaces/default/secrets");
            let mut request = Request::get(path).body(Full::new(Bytes::new())).expect("a request");
            request.extensions_mut().insert(identity.clone());
            let answer = futures::executor::block_on(gateway.clone().answer(request));
            let code = answer.status().as_u16();
            let body = futures::executor::block_on(answer.into_body().collect()).expect("a body").to_bytes();
            (code, String::from_utf8_lossy(&body).replace(tenant, "…"))
        };
        let globex = Identity::user("carol", &["system:masters"], &TenantName::new("globex").expect("a name"));
        for identity in [globex, Identity::anonymous()] {
            let (there, nobody) = (ask(&identity, "acme"), ask(&identity, "nobody"));
            assert_eq!(there.0, 403, "{}", there.1);
            assert_eq!(there, nobody);
        }
        assert_eq!(ask(&Identity::system_component("root"), "nobody").0, 404);
    }

    #[test]
    fn old_clients_name_the_tenant_of_their_discovery_in_the_query() {
        let tenant = |text: &'static str| discovered(&http::Uri::from_static(text)).map(str::to_owned);
        assert_eq!(tenant("/apis/apps/v1?timeout=32s&tenant=acme"), Some("acme".to_owned()));
        assert_eq!(tenant("/api?tenant=acme"), Some("acme".to_owned()));
        assert_eq!(tenant("/openapi/v2?tenant=acme"), Some("acme".to_owned()));
        for path in ["/api/v1/pods?tenant=acme", "/apis?tenant=", "/apis?tenant=all", "/apis", "/version?tenant=acme"] {
            assert_eq!(tenant(path), None, "{path}");
        }
    }

    #[test]
    fn paths_decide_where_requests_go() {
        let tenant = |name: &str| Destination::Tenant(name.to_owned());
        for (method, path, expected) in [
            (Method::GET, "/api/v1/pods", Destination::Identity),
            (Method::GET, "/version", Destination::Identity),
            (Method::GET, "/tenants/acme/api/v1/pods", tenant("acme")),
            (Method::GET, "/api/v1/tenants/acme/namespaces/x/pods", tenant("acme")),
            (Method::GET, "/apis/apps/v1/tenants/acme/deployments", tenant("acme")),
            (Method::GET, "/api/v1/tenants/acme", tenant("acme")),
            (Method::PUT, "/api/v1/tenants/acme/status", tenant("acme")),
            (Method::POST, "/api/v1/tenants", Destination::NewTenant),
            (Method::GET, "/api/v1/tenants", Destination::AllTenants),
            (Method::GET, "/api/v1/tenants/all/pods", Destination::AllTenants),
            (Method::GET, "/api/v1/nodes/n1/status", Destination::Hosts),
            (Method::GET, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", Destination::Hosts),
            (
                Method::GET,
                "/apis/coordination.k8s.io/v1/tenants/system/namespaces/kube-node-lease/leases",
                Destination::Hosts,
            ),
            (
                Method::GET,
                "/apis/coordination.k8s.io/v1/tenants/acme/namespaces/kube-node-lease/leases",
                tenant("acme"),
            ),
            (Method::GET, "/tenants/acme/api/v1/nodes", tenant("acme")),
            (Method::POST, "/apis/region.arktos.io/v1/claimreviews", Destination::Hosts),
        ] {
            assert_eq!(destination(&method, path), expected, "{method} {path}");
        }
    }
}
