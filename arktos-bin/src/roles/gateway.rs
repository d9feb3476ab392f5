//! The gateway: stateless, it sends each request to the partition or the resource manager that answers it.
//!
//! Where a request goes is decided by the tenant of its path or, on short paths, of its identity; what belongs to the
//! region's hosts goes to a resource manager. Which partition has a tenant, and how it is reached, is data, from the
//! [`Directory`].

mod audited;
mod connections;
mod destination;
mod health;
mod measured;
mod missed;
mod one_of_each;
mod tenants;
mod vouched;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use arktos_api::{Answered, ApiServer, Audit, Identity, Shares};
use arktos_core::{GroupResource, Object, Reason, Status, TenantName};
use arktos_store::{Clock, Random};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use self::destination::{Destination, destination, discovered, of_pods};
use self::measured::{may_read_metrics, metrics_of, verb_of};
use self::missed::Missed;
pub use self::one_of_each::OneOfEach;
use self::vouched::Vouched;
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

/// The body of an answer, with something that is kept until all of it has gone out, or nobody wants it any more.
pub(crate) fn until_read<B, T>(body: B, kept: T) -> GatewayBody
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<AnyError>,
    T: Send + 'static,
{
    let error = move |error: B::Error| {
        let _until_read = &kept;
        BodyError::new(error)
    };
    body.map_err(error).boxed_unsync()
}

/// A partition or a resource manager, as the gateway reaches it.
#[derive(Clone)]
pub enum Backend {
    /// In this process. It authenticates the client itself.
    Local(ApiServer),
    /// Somewhere else, over mutual TLS, with the client's identity in headers.
    #[cfg(feature = "net")]
    Remote(Box<crate::net::forward::Forward>),
}

/// What a gateway sends requests to.
#[derive(Clone, Default)]
pub struct Backends {
    /// The partitions, by name.
    pub partitions: Vec<(Arc<str>, Backend)>,
    /// The resource managers.
    pub managers: Vec<Backend>,
    /// The directory, where there is one.
    pub directory: Option<Backend>,
}

/// Where tenants live, and how partitions and resource managers are reached.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// What there is now.
    fn backends(&self) -> Arc<Backends>;

    /// Whether there may be more of it later.
    fn changes(&self) -> bool {
        false
    }

    /// The partition that has a tenant, as far as is known here. That of the tenant `system` stands for the region's.
    fn find(&self, tenant: &str) -> Option<String>;

    /// The same, of whoever knows for certain.
    async fn look_up(&self, tenant: &str) -> Result<Option<String>, Status> {
        Ok(self.find(tenant))
    }

    /// Whether a partition was removed for good.
    fn is_removed(&self, _partition: &str) -> bool {
        false
    }

    /// The partition that a new tenant would be placed in.
    async fn expect(&self, tenant: &Object) -> Result<String, Status>;

    /// Places a new tenant.
    async fn place(&self, tenant: &Object) -> Result<String, Status> {
        self.expect(tenant).await
    }
}

/// The gateway's service. Cloning it shares it.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

#[derive(Clone)]
struct Shared {
    /// Who sees all tenants and all hosts, where there are several partitions or resource managers.
    aggregator: Option<Backend>,
    directory: Arc<dyn Directory>,
    identify: Identify,
    /// Whether discovery goes to the tenant that its query names, as Arktos's own clients have it.
    old_clients: bool,
    /// What it counts, where it runs by itself.
    measures: Option<(Metrics, Arc<dyn Clock>)>,
    /// Who asks for more than its share, where it runs by itself.
    shares: Option<Shares>,
    /// Which partitions were missed.
    missed: Arc<Missed>,
    /// Who was vouched for.
    vouched: Arc<Vouched>,
    /// Where requests are entered, and what gives them an id.
    audit: Option<(Audit, Arc<dyn Random>)>,
}

/// Says who sends a request. Only asked when it decides where the request goes, or must be told to a remote backend.
pub type Identify = Arc<dyn Fn(&http::request::Parts) -> Result<Identity, Status> + Send + Sync>;

impl Gateway {
    /// A gateway in front of what a directory knows.
    #[must_use]
    pub fn new(directory: impl Directory, identify: Identify) -> Self {
        let (directory, aggregator, old_clients) = (Arc::new(directory), None, false);
        let (measures, shares, missed, vouched, audit) = (None, None, Arc::default(), Arc::default(), None);
        let shared = Shared { aggregator, directory, identify, old_clients, measures, shares, missed, vouched, audit };
        Self(Arc::new(shared))
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

    /// The same, counting its requests and who asks for how many, and answering `/metrics`, and how it is doing, by
    /// itself. (In one process with its backends, they do.)
    #[must_use]
    pub fn measured(self, metrics: Metrics, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::unwrap_or_clone(self.0);
        let shares = Some(Shares::new(clock.clone()));
        Self(Arc::new(Shared { measures: Some((metrics, clock)), shares, ..shared }))
    }

    /// The same, entering each request in an audit log, where it runs by itself. Backends enter it under the same id.
    #[must_use]
    pub fn audited(self, audit: Audit, random: Arc<dyn Random>) -> Self {
        let shared = Arc::unwrap_or_clone(self.0);
        Self(Arc::new(Shared { audit: Some((audit, random)), ..shared }))
    }

    async fn answer<B>(self, request: Request<B>) -> Response<GatewayBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let Some((metrics, clock)) = self.0.measures.clone() else { return self.pass_on(request).await };
        let Some((audit, random)) = self.0.audit.clone() else { return self.counted(request, (metrics, clock)).await };
        let (mut parts, body) = request.into_parts();
        let id = audited::id_of(&mut parts, &*random);
        let who = (self.0.identify)(&parts).ok();
        let passing = audit.passing(&clock, &id, &parts, who.as_ref());
        let response = self.counted(Request::from_parts(parts, body), (metrics, clock)).await;
        audited::entered(passing, response, &id)
    }

    async fn counted<B>(self, request: Request<B>, (metrics, clock): (Metrics, Arc<dyn Clock>)) -> Response<GatewayBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let verb = verb_of(request.method());
        let begun = clock.now();
        let (parts, body) = request.into_parts();
        let response = if parts.uri.path() == "/metrics" {
            let allowed = (self.0.identify)(&parts).and_then(|identity| may_read_metrics(&identity));
            allowed.map_or_else(|status| refuse(&status), |()| metrics_of(&metrics))
        } else if let Some(question) = health::asked(&parts) {
            let known = (self.0.identify)(&parts).map(|_| self.first().is_ok());
            known.map_or_else(|status| refuse(&status), |knows| health::answer(&question, knows))
        } else {
            self.pass_on(Request::from_parts(parts, body)).await
        };
        let (code, took) = (response.status().as_u16(), clock.now().since(begun));
        // Whose it was, the partition tells.
        let (tenant, seat_time) = (None, std::time::Duration::ZERO);
        let (group, resource, subresource, waited) = ("", "", "", None);
        let answered = Answered { verb, group, resource, subresource, code, took, waited, tenant, seat_time };
        metrics.answered(&"gateway".into(), &answered);
        response
    }

    async fn pass_on<B>(self, request: Request<B>) -> Response<GatewayBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        match self.route(request).await {
            Ok(response) => response,
            Err(status) => refuse(&status),
        }
    }

    async fn route<B>(&self, request: Request<B>) -> Result<Response<GatewayBody>, Status>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let shared = &self.0;
        let (parts, body) = request.into_parts();
        let destination = destination(&parts.method, &parts.uri);
        let destination = match discovered(&parts.uri).filter(|_| shared.old_clients) {
            Some(tenant) if destination == Destination::Identity => Destination::Tenant(tenant.to_owned()),
            _ => destination,
        };
        let backends = shared.directory.backends();
        let only_local = matches!(backends.partitions.as_slice(), [(_, Backend::Local(_))]);
        let mut identity = if only_local { None } else { Some((shared.identify)(&parts)?) };
        let at_home = self.is_at_home(&destination, &parts, &backends, identity.as_ref());
        let destination = if at_home { Destination::Hosts } else { destination };
        let of_the_region = matches!(destination, Destination::Hosts | Destination::Directory);
        if of_the_region && identity.is_none() {
            identity = Some((shared.identify)(&parts)?);
        }
        // What is the region's for its own users is, under the same short path, the tenant's for a tenant's.
        // A token that only a partition can check goes there as well: partitions show `system` the hosts.
        let hosts = destination == Destination::Hosts;
        let elsewhere = |identity: &Identity| !identity.is_system() || (hosts && identity.user.is_empty());
        let of_tenant = of_the_region && identity.as_ref().is_some_and(elsewhere);
        let destination = if of_tenant { Destination::Identity } else { destination };
        if let Some(refusal) = self.vouch(&mut identity, (&parts, &destination, &backends)).await? {
            return Ok(refusal);
        }
        let body = body.map_err(BodyError::new).boxed_unsync();
        let several = backends.partitions.len() > 1 || shared.directory.changes();
        let backend = match destination {
            Destination::Hosts => self.manager(&backends)?,
            Destination::Directory => backends.directory.clone().map_or_else(|| self.first(), Ok)?,
            Destination::Tenant(tenant) => match self.partition_for(&tenant, identity.as_ref()).await {
                Err(status) if status.is(Reason::NotFound) && several && tenants::applies_tenant(&parts, &tenant) => {
                    let identity = identity.ok_or(status)?;
                    return self.make_tenant(parts, body, identity).await;
                }
                found => found?,
            },
            Destination::Identity => match identity.as_ref().and_then(|identity| identity.tenant.clone()) {
                Some(tenant) => self.partition_for(tenant.as_str(), identity.as_ref()).await?,
                None => self.first()?,
            },
            Destination::AllTenants => self.all(&backends)?,
            Destination::OneOfAll { tenant, watches } => {
                self.one_of_all(&tenant, identity.as_ref(), (&backends, watches)).await?
            }
            Destination::NewTenant | Destination::NewQuota if !several => self.first()?,
            new @ (Destination::NewTenant | Destination::NewQuota) => {
                let identity = match identity {
                    Some(identity) if may_be_of_the_region(&identity) => identity,
                    identity => return self.refuse_tenant(Request::from_parts(parts, body), identity).await,
                };
                return match new {
                    Destination::NewQuota => self.make_quota(parts, body, identity).await,
                    _ => self.make_tenant(parts, body, identity).await,
                };
            }
            Destination::Quota(tenant) => match self.partition_for(&tenant, identity.as_ref()).await {
                // One that its tenant has left behind; it is not to be made there.
                Err(status) if status.is(Reason::NotFound) && !tenants::applies(&parts) => self.first()?,
                found => found?,
            },
        };
        Ok(self.send_on(backend, Request::from_parts(parts, body), identity).await)
    }

    /// Whether a node, by its certificate, asks for what it has at its resource manager, and that is the only one.
    fn is_at_home(
        &self,
        destination: &Destination,
        parts: &http::request::Parts,
        backends: &Backends,
        known: Option<&Identity>,
    ) -> bool {
        let is_node = |identity: &Identity| identity.is_system() && identity.node().is_some();
        *destination == Destination::Identity
            && backends.managers.len() == 1
            && !self.0.directory.changes()
            && of_pods(parts.uri.path())
            && !parts.headers.contains_key(http::header::AUTHORIZATION)
            && match known {
                Some(identity) => is_node(identity),
                None => (self.0.identify)(parts).is_ok_and(|identity| is_node(&identity)),
            }
    }

    /// The partition that answers who asks about a tenant. Whether there is such a tenant, only the region's own are
    /// told: for anybody else the partition that they belong to refuses what is not theirs, there or not.
    async fn partition_for(&self, tenant: &str, identity: Option<&Identity>) -> Result<Backend, Status> {
        let Some(identity) = identity.filter(|identity| !is_of_the_region(identity)) else {
            return self.partition(tenant).await;
        };
        if let Some(partition) = self.0.directory.find(tenant) {
            return self.backend(&partition);
        }
        match &identity.tenant {
            Some(own) => match self.partition(own.as_str()).await {
                Err(status) if status.is(Reason::NotFound) => self.first(),
                own => own,
            },
            None => self.first(),
        }
    }

    /// Who answers what is asked of all tenants, and can be about one alone.
    async fn one_of_all(
        &self,
        tenant: &str,
        identity: Option<&Identity>,
        (backends, watches): (&Backends, bool),
    ) -> Result<Backend, Status> {
        if let Ok(all) = self.all(backends) {
            return Ok(all);
        }
        match self.partition_for(tenant, identity).await {
            // There is none: that is what any partition lists. Where it comes to be a watch cannot know.
            Err(status) if status.is(Reason::NotFound) && watches => self.all(backends),
            Err(status) if status.is(Reason::NotFound) => self.first(),
            found => found,
        }
    }

    async fn partition(&self, tenant: &str) -> Result<Backend, Status> {
        let found = match self.0.directory.find(tenant) {
            Some(found) => Some(found),
            None => self.0.directory.look_up(tenant).await?,
        };
        let found = found.ok_or_else(|| match tenant {
            TenantName::SYSTEM => nobody_yet(),
            _ => Status::not_found(&GroupResource::core("tenants"), tenant),
        })?;
        self.backend(&found)
    }

    /// The partition whose tenant `system` stands for the region's: each has its own.
    fn first(&self) -> Result<Backend, Status> {
        let first = self.0.directory.find(TenantName::SYSTEM);
        self.backend(&first.ok_or_else(nobody_yet)?)
    }

    fn backend(&self, partition: &str) -> Result<Backend, Status> {
        let backends = self.0.directory.backends();
        let found = backends.partitions.iter().find(|(name, _)| **name == *partition);
        let missed = || self.0.missed.fault(&backends, partition, self.0.directory.is_removed(partition));
        found.map(|(_, backend)| backend.clone()).ok_or_else(missed)
    }

    /// Who sees all tenants.
    fn all(&self, backends: &Backends) -> Result<Backend, Status> {
        match (&self.0.aggregator, backends.partitions.as_slice()) {
            // What was watched at one partition could not go on at the aggregator when there are two.
            (Some(aggregator), [_]) if self.0.directory.changes() => Ok(aggregator.clone()),
            (_, [(_, only)]) => Ok(only.clone()),
            (Some(aggregator), _) => Ok(aggregator.clone()),
            (None, _) => Err(Status::failure(
                Reason::NotImplemented,
                "this gateway knows no aggregator (--aggregator): ask for one tenant, as /tenants/{name}/…",
            )),
        }
    }

    /// Who has all hosts.
    fn manager(&self, backends: &Backends) -> Result<Backend, Status> {
        match (&self.0.aggregator, backends.managers.as_slice()) {
            (Some(aggregator), [_]) if self.0.directory.changes() => Ok(aggregator.clone()),
            (_, [only]) => Ok(only.clone()),
            (Some(aggregator), _) => Ok(aggregator.clone()),
            // Without an aggregator: a partition shows the nodes of all resource managers.
            (None, _) => self.first(),
        }
    }
}

/// What is told before a first partition has joined: the region's own tenant comes with that.
fn nobody_yet() -> Status {
    Status::failure(Reason::ServiceUnavailable, "no partition is known here yet; try again").retry_after(1)
}

/// Whether somebody is one of the region's own users, or says so with a token that a partition is yet to check.
fn may_be_of_the_region(identity: &Identity) -> bool {
    identity.is_system() && !identity.is_in("system:unauthenticated")
}

/// Whether somebody is one of the region's own users, and is known to be: what a token says of itself, which only a
/// partition can check, does not count.
pub(super) fn is_of_the_region(identity: &Identity) -> bool {
    may_be_of_the_region(identity) && !identity.user.is_empty()
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

/// A status as an answer.
pub fn refuse(status: &Status) -> Response<GatewayBody> {
    let body = serde_json::to_vec(status).unwrap_or_default();
    let mut response = Response::new(Full::from(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response.extensions_mut().insert(status.clone());
    let wait = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if wait > 0 {
        response.headers_mut().insert(http::header::RETRY_AFTER, wait.into());
    }
    response
}

#[cfg(test)]
mod tests;
