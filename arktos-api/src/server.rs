//! From request to response.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arktos_core::{GroupResource, Reason, Status, TenantName, time};
use arktos_store::Client;
use futures::future::{BoxFuture, Either, join, select};
use http::{HeaderMap, HeaderValue, Request, Response};

use crate::admission::decoded::Decoded;
use crate::admission::expressions::Expressions;
use crate::audit::record::{Origin, Record};
use crate::authorize::{Attributes, Authorizer, Nodes};
use crate::body::Body;
use crate::client::InProcessClient;
use crate::config::ApiConfig;
use crate::definitions::{self, DefinedKind};
use crate::fairness::{self, Asks, Failures, PeerRefusals, Rates, Turns};
use crate::identity::{Identity, network};
use crate::impersonate::{self, Acting, Modes};
use crate::kinds::Kinds;
use crate::lines::Lines;
use crate::negotiate;
use crate::observed::{Asked, Turn};
use crate::openapi::builds::Builds;
use crate::query::QueryMap;
use crate::request::{RequestInfo, ResourceInfo, TenantPart};
use crate::shared::Shared;
use crate::standing::{Credentials, Standings};
use crate::trace::TraceParent;
use crate::{authenticate, bootstrap, compat, compress, health, input, paths, reply, resource};

/// How long a request may take that is no watch.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The header in which who asks, or passes something on, gives a request its id; and in which that is answered.
const AUDIT_ID: &str = "audit-id";

/// One API server: a [`tower::Service`] from HTTP request to HTTP response. Cloning it shares it.
#[derive(Clone)]
pub struct ApiServer(pub(crate) Arc<State>);

/// What all requests share. Nobody writes it but for what is gathered in it.
pub(crate) struct State {
    pub(crate) config: Arc<ApiConfig>,
    pub(crate) kinds: Kinds,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) standings: Arc<Standings>,
    pub(crate) shared: Shared,
    pub(crate) decoded: Decoded,
    pub(crate) expressions: Expressions,
    pub(crate) turns: Turns,
    pub(crate) rates: Rates,
    pub(crate) failures: Failures,
    pub(crate) modes: Modes,
    pub(crate) lines: Arc<Lines>,
    pub(crate) builds: Builds,
}

/// A request whose head is read: who, where, how.
pub(crate) struct Head {
    pub(crate) method: http::Method,
    pub(crate) info: RequestInfo,
    /// The path as it was sent.
    pub(crate) path: String,
    pub(crate) query: QueryMap,
    pub(crate) raw_query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) identity: Identity,
    /// What is entered of it in the audit log, where there is one.
    pub(crate) record: Option<Arc<Record>>,
    /// Who sent it, before impersonation.
    pub(crate) credentials: Credentials,
}

impl ApiServer {
    /// A server. Call [`bootstrap`](Self::bootstrap) before the first request is served, and drive
    /// [`look_after`](Self::look_after) for as long as it serves.
    #[must_use]
    pub fn new(config: ApiConfig) -> Self {
        let kinds = Kinds::new(config.catalog.clone(), config.engine.clone(), config.advertise, config.arktos_compat);
        let pods = GroupResource::core("pods");
        let place = config.catalog.by_path("", "v1", "pods").and_then(|kind| kind.field("spec.nodeName"));
        let pods = config.delegates.get(&pods).map_or(&config.engine, |delegate| &delegate.engine).clone();
        let nodes = Nodes::new(config.engine.clone(), pods, place.unwrap_or(usize::MAX), config.node_views.is_some());
        Self(Arc::new(State {
            authorizer: Arc::new(Authorizer::new(config.engine.clone(), kinds.clone(), nodes, config.arktos_compat)),
            shared: Shared::new(&config.catalog, config.clock.now(), &config.service_cidr),
            decoded: Decoded::default(),
            expressions: Expressions::default(),
            standings: Arc::new(Standings::new(&config)),
            turns: Turns::new(config.fairness, config.clock.clone()),
            rates: Rates::default(),
            failures: Failures::default(),
            modes: Modes::default(),
            lines: Arc::default(),
            builds: Builds::new(config.aside.clone()),
            kinds,
            config: Arc::new(config),
        }))
    }

    /// Makes what must be there before anyone asks: the tenant `system`, its namespaces, the `kubernetes` service.
    /// Idempotent.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn bootstrap(&self) -> Result<(), Status> {
        bootstrap::run(self).await
    }

    /// Looks after what the server has read of its store, until that is closed: deletes the objects of definitions that
    /// are being deleted, settles what a crash has left open, and follows the tenants' rates of requests. `tell` is
    /// told which kinds there are beside the built-in ones, in any tenant, at first and whenever one comes or goes.
    ///
    /// Without it, definitions that are deleted stay, and no rate holds. Dropping the future is safe at any point;
    /// several at once, over the same store, do no harm.
    pub async fn look_after(self, tell: impl Fn(Vec<DefinedKind>) + Send + Sync) {
        join(definitions::look_after(&self.0, tell), fairness::follow(&self.0)).await;
    }

    /// The same API in process, as an identity: no HTTP, no encoding but the one for the store. What it does is
    /// authorized and admitted as over HTTP.
    #[must_use]
    pub fn client(&self, identity: Identity) -> Arc<dyn Client> {
        Arc::new(InProcessClient::new(self.clone(), identity))
    }

    async fn answer<B>(self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        if let Some(answer) = paths::answered_by_go(&parts) {
            return answer;
        }
        let is_head = parts.method == http::Method::HEAD;
        let is_packed = compress::is_taken(&parts.headers);
        let config = &self.0.config;
        let clock = config.clock.clone();
        let (info, query) = (RequestInfo::parse(parts.uri.path()), QueryMap::parse(parts.uri.query().unwrap_or("")));
        let accept = negotiate::accept_error(&parts.headers, &query);
        let verb =
            info.as_ref().ok().and_then(|info| resource::Verb::on(info.resource.as_ref()?, &parts.method, &query));
        let seen = config.observer.as_ref().map(|observer| {
            let resource = info.as_ref().ok().and_then(|info| info.resource.as_ref());
            (observer, Asked::of(config, &parts.method, &query, resource), clock.now())
        });
        let told = parts.headers.get(AUDIT_ID).filter(|id| !id.is_empty()).cloned();
        let id = match told.as_ref().and_then(|id| id.to_str().ok()) {
            Some(told) => told.to_owned(),
            None => config.random.uid(),
        };
        let record = config.audit.as_ref().map(|audit| {
            let agent = parts.headers.get(http::header::USER_AGENT);
            let source = authenticate::source(&parts);
            let trace = TraceParent::of(&parts.headers);
            Record::begin(audit, &clock, &Origin { id: &id, uri: &parts.uri, agent, source, trace })
        });
        let turn = Turn::default();
        let answer = match time_limit(&query) {
            Ok(limit) => {
                let handled = std::pin::pin!(self.0.handle(parts, (info, query), body, record.clone(), &turn));
                match select(handled, clock.sleep(limit)).await {
                    Either::Left((answer, _)) => answer,
                    Either::Right(_) => Err(timed_out()),
                }
            }
            Err(refused) => Err(refused),
        };
        let (mut response, failure) = match answer {
            Ok(mut response) => {
                let failure = response.extensions_mut().remove::<Status>();
                (response, failure)
            }
            Err(status) => (reply::status(&status, accept), Some(status)),
        };
        if let Some(record) = record {
            response = record.answered(response, failure.as_ref()).await;
        }
        if is_packed && verb != Some(resource::Verb::Watch) {
            response = compress::compressed(response).await;
        }
        if let Some((observer, asked, begun)) = seen {
            let now = clock.now();
            observer.answered(&asked.answered(response.status().as_u16(), now.since(begun), &turn, now));
        }
        if is_head {
            *response.body_mut() = Body::empty();
        }
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(AUDIT_ID, id);
        }
        response
    }
}

/// Enters who asks, as whom, and for what.
pub(crate) fn enter(
    record: &Record,
    (who, acts_as): (&Identity, &Identity),
    info: &RequestInfo,
    method: &http::Method,
    query: &QueryMap,
) {
    let resource = info.resource.as_ref();
    let verb = resource.and_then(|asked| resource::Verb::on(asked, method, query)).map(resource::Verb::name);
    let method = method.as_str().to_ascii_lowercase();
    let tenant = match &info.tenant {
        TenantPart::Named(tenant) => Some(tenant),
        TenantPart::Own => acts_as.tenant.as_ref(),
        TenantPart::All => None,
    };
    record.asked(who, acts_as, info, verb.unwrap_or(&method), tenant);
}

/// How long a request may take: as long as it says, within bounds. A watch has other words for that.
fn time_limit(query: &QueryMap) -> Result<Duration, Status> {
    let Some(asked) = query.find("timeout").filter(|asked| !asked.is_empty() && !query.flag("watch")) else {
        return Ok(TIMEOUT);
    };
    let asked = time::parse_duration(asked)
        .map_err(|why| Status::bad_request(format!("invalid timeout specified in the request URL - {why}")))?;
    Ok(if asked.is_zero() { TIMEOUT } else { asked.min(TIMEOUT) })
}

fn timed_out() -> Status {
    let text = "Timeout: request did not complete within the allotted timeout";
    Status::failure(Reason::Timeout, text)
}

impl State {
    async fn handle<B>(
        &self,
        parts: http::request::Parts,
        (info, query): (Result<RequestInfo, Status>, QueryMap),
        body: B,
        record: Option<Arc<Record>>,
        turn: &Turn,
    ) -> Result<Response<Body>, Status>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Ok(mut info) = info else { return paths::unread(&parts.uri, info) };
        let (large, connection) = (fairness::is_large(&body), parts.extensions.get());
        let asks = Asks { weight: 1, large, connection };
        compat::discover_tenant(self, &mut info, &query)?;
        let identity = self.identify(&parts, asks).await?;
        let credentials = Credentials::of(&self.config, &identity, &parts.headers);
        let stale = || credentials.stale(self.config.clock.now());
        if let Some((record, stale)) = record.as_ref().and_then(|record| Some((record, stale()?))) {
            record.annotate("authentication.k8s.io/stale-token", &stale);
        }
        let enter = |acts_as: &Identity| {
            if let Some(record) = &record {
                enter(record, (&identity, acts_as), &info, &parts.method, &query);
            }
        };
        let acting = self.acting(&identity, &parts, (&info, &query), asks).await.inspect_err(|status| {
            if status.is(Reason::Forbidden) {
                enter(&identity);
            }
        })?;
        record.iter().for_each(|record| record.constrained(acting.constraint));
        let acts_as = acting.identity;
        enter(&acts_as);
        let (path, raw_query) = (parts.uri.path().to_owned(), parts.uri.query().map(str::to_owned));
        let (method, headers) = (parts.method, parts.headers);
        let with_token = authenticate::bearer(&headers).is_some();
        let head = Head { method, info, path, query, raw_query, headers, identity: acts_as, record, credentials };
        // The answer may go on for long; what is made of it from here on is the reader's to wait for.
        let permit = match fairness::flow(&head.identity).filter(|_| !health::is_health(&head)) {
            Some(flow) => {
                let _ = turn.flow.set(flow.clone()); // nobody else sets it, nor the seats
                self.rates.take(&flow, self.config.clock.now())?;
                let seats = fairness::seats(self, &head);
                let asks = Asks { weight: fairness::weight(&head.method, seats), ..asks };
                let asked = self.config.clock.now();
                let permit = self.turns.take(&flow, seats, asks).await?;
                let now = self.config.clock.now();
                let _ = turn.seats.set((permit.seats(), now));
                let _ = turn.waited.set(now.since(asked));
                Some(permit)
            }
            None => {
                // Who comes with a certificate is known by that already.
                let unnamed = asks.connection.filter(|_| with_token && head.identity.is_component());
                unnamed.inspect(|connection| connection.answered_elsewhere(&TenantName::system()));
                None
            }
        };
        match permit {
            Some(permit) => permit.work(self.answer(&head, body)).await,
            None => self.answer(&head, body).await,
        }
    }

    /// The answer to who is known, and whose turn it is.
    async fn answer<B>(&self, head: &Head, body: B) -> Result<Response<Body>, Status>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Some(resource) = &head.info.resource else {
            self.authorize_path(head)?;
            head.record.iter().for_each(|record| record.allowed());
            // Nobody looks at it, but who still sends may not hear an answer that is cut off.
            let _ = input::bytes(body, &*self.config.clock).await;
            return paths::handle(self, head).await;
        };
        resource::handle(self, head, resource, body).await
    }

    /// Who asks.
    async fn identify(&self, parts: &http::request::Parts, asks: Asks<'_>) -> Result<Identity, Status> {
        // A program that calls the service itself may have decided who asks; nothing on a socket can say so.
        if let Some(identity) = parts.extensions.get::<Identity>() {
            return Ok(identity.clone());
        }
        let tries = self.tries(parts)?;
        match (authenticate::authenticate(&self.config, &parts.headers, parts.extensions.get()).await, tries) {
            (Ok(identity), tries) => {
                tries.inspect(|(_, token)| self.failures.counted(token));
                Ok(identity)
            }
            (Err(status), tries) => {
                tries.inspect(|(address, _)| self.failures.failed(*address, self.config.clock.now()));
                Err(self.turned_away(status, parts.extensions.get(), asks).await)
            }
        }
    }

    /// The token that a request comes with, and from where, where it takes work to find out whose it is.
    ///
    /// # Errors
    /// 429 where too many that did not count have come from there.
    fn tries<'a>(&self, parts: &'a http::request::Parts) -> Result<Option<(IpAddr, &'a str)>, Status> {
        let token = authenticate::bearer(&parts.headers).filter(|token| self.config.tokens.find(token).is_none());
        let Some((token, address)) = token.zip(authenticate::source(parts)) else { return Ok(None) };
        let address = network(address);
        self.failures.may_try(address, token, self.config.clock.now())?;
        Ok(Some((address, token)))
    }

    /// The answer to somebody who is not known, when it is the turn of those: whoever tries one token after another is
    /// not served before tenants who wait, and less and less often.
    async fn turned_away(&self, why: Status, refusals: Option<&PeerRefusals>, asks: Asks<'_>) -> Status {
        let clock = &self.config.clock;
        let wait = refusals.map(|refusals| refusals.count(clock.now())).unwrap_or_default();
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
        self.turns.take(&fairness::nobody(), 1, asks).await.err().unwrap_or(why)
    }

    /// In whose name a request acts. Whether somebody may act in another's is looked for in all bindings of the tenant,
    /// once for each name that is said: that has a turn of its own.
    async fn acting(
        &self,
        identity: &Identity,
        parts: &http::request::Parts,
        (info, query): (&RequestInfo, &QueryMap),
        asks: Asks<'_>,
    ) -> Result<Acting, Status> {
        let names = impersonate::names_asked(&parts.headers);
        if names == 0 {
            return Ok(Acting { identity: identity.clone(), constraint: "" });
        }
        let _seat = match fairness::flow(identity) {
            Some(flow) => Some(self.turns.take(&flow, 1, Asks { weight: names, ..asks }).await?),
            None => None,
        };
        let tenant = identity.tenant.as_ref();
        let method = parts.method.as_str().to_ascii_lowercase();
        let asked = match &info.resource {
            Some(resource) => {
                resource::Verb::on(resource, &parts.method, query).map(|verb| Attributes::on(verb.name(), resource))
            }
            None => Some(Attributes { verb: &method, path: &info.path, ..Attributes::default() }),
        };
        let asked = asked.map(|asked| Attributes { tenant, ..asked });
        impersonate::acting(&self.authorizer, Some(&self.modes), identity.clone(), &parts.headers, asked.as_ref())
    }

    fn authorize_path(&self, head: &Head) -> Result<(), Status> {
        let verb = head.method.as_str().to_ascii_lowercase();
        let tenant = match &head.info.tenant {
            TenantPart::Named(tenant) => Some(tenant.clone()),
            _ => head.identity.tenant.clone(),
        };
        // Rights are to a path as it is asked for.
        let path = match head.info.path.as_str() {
            path if head.path.ends_with('/') && !path.ends_with('/') => Cow::from(format!("{path}/")),
            path => Cow::from(path),
        };
        let asked = Attributes { verb: &verb, path: &path, tenant: tenant.as_ref(), ..Attributes::default() };
        self.authorizer.check(&head.identity, &asked)
    }

    /// Whether the identity may do this to a resource.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn authorize(
        &self,
        identity: &Identity,
        tenant: Option<&arktos_core::TenantName>,
        verb: &str,
        resource: &ResourceInfo,
    ) -> Result<(), Status> {
        self.authorizer.check(identity, &Attributes { tenant, ..Attributes::on(verb, resource) })
    }
}

impl<B> tower::Service<Request<B>> for ApiServer
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { Ok(server.answer(request).await) })
    }
}
