//! The API over HTTP: [`Client`] with a socket in between, to a region or to any other Kubernetes server.
//!
//! An informer over either, in a program of one's own:
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use arktos_bin::edge::{SystemClock, SystemRandom};
//! use arktos_bin::net::kubeconfig::Kubeconfig;
//! use arktos_bin::net::remote::Remote;
//! use arktos_core::catalog::Catalog;
//! use arktos_core::{GroupResource, TenantName};
//! use arktos_store::{Informer, Query, Stored};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Kubeconfig::read(Path::new("kubeconfig"))?;
//! // A server that knows no tenants: here, all it has belongs to `acme`. For a region: `Remote::new`.
//! let remote = Remote::plain(&config, Catalog::builtin(), TenantName::new("acme")?)?;
//! let pods = Query::everywhere(GroupResource::core("pods"));
//! let (informer, driver) =
//!     Informer::<Stored>::new(Arc::new(remote), pods, Arc::new(SystemClock::default()), Arc::new(SystemRandom));
//! tokio::spawn(driver);
//! informer.synced().await?;
//! println!("{} pods", informer.store().len());
//! # Ok(())
//! # }
//! ```

mod urls;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use arktos_control::directory::Contact;
use arktos_core::catalog::{Catalog, Kind};
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Reason, Revision, Status, TenantName};
use arktos_store::client::{DeleteOptions, Listing, Patch, Propagation, WatchListEvent, WatchListStream, WatchStream};
use arktos_store::{Client, Delivery, Query, Source, Stored};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::watch;

use self::wire::{Lines, Page, Reader, Server};
use super::kubeconfig::Kubeconfig;
use super::route::{Home, Protocols, Route, Trust};
use super::tls::{Shown, TlsError};

/// How long a request other than a watch may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer about one object, in bytes.
const ANSWER_LENGTH_MAX: usize = 64 << 20;
/// The longest page of a list, and the longest list of a server that has forgotten what was paged through, in bytes.
const LIST_LENGTH_MAX: usize = 1 << 30;
/// How many objects are asked for at once.
const PAGE: &str = "500";
/// How long a connection of HTTP/1.1 is kept idle: for less than a server of the region keeps it. A request that meets
/// the server's closing it fails.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of one stream may be under way unread, in bytes, on a connection that is shared by many.
const STREAM_WINDOW: u32 = 512 << 10;
/// How much of all streams of a connection may be: so much that streams which nobody reads never hold up the others.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// The connection pool under a remote client.
pub type Http<B> = hyper_util::client::legacy::Client<Route, B>;

/// A client of an API server somewhere else: of a region ([`new`](Self::new)), or of any Kubernetes server
/// ([`plain`](Self::plain)). Cloning it shares its connections.
///
/// It knows the kinds of its catalog, and reads and writes their stored version. It needs a tokio runtime.
#[derive(Clone)]
pub struct Remote {
    http: Http<Full<Bytes>>,
    /// What lists and watches go through: a connection of their own, that runs where they are read.
    reading: Http<Full<Bytes>>,
    /// What lists and watches of those go through in whose name it asks: a connection each, so that however many there
    /// are, they do not use up the streams that its own need.
    others: Http<Full<Bytes>>,
    base: Arc<str>,
    authorization: Option<Arc<str>>,
    /// In whose name it asks, where that is not its own.
    acts_as: Option<Arc<ActsAs>>,
    catalog: Arc<Catalog>,
    server: Server,
}

/// Somebody in whose name a client asks.
struct ActsAs {
    user: String,
    groups: Vec<String>,
}

/// A connection pool with the certificate and the trust of a kubeconfig. Where the server speaks HTTP/2, all requests
/// share one connection, and so the number of streams that the server allows on it.
///
/// # Errors
/// [`TlsError`] when its certificates are unusable.
pub fn connect<B>(config: &Kubeconfig) -> Result<Http<B>, TlsError>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    Ok(pool(Route::fixed(config, config.shown()?, Protocols::All)?))
}

fn pool<B>(route: Route) -> Http<B>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    builder().build(route)
}

fn builder() -> hyper_util::client::legacy::Builder {
    let home = Home::here();
    let mut builder = hyper_util::client::legacy::Client::builder(home.clone());
    builder
        .timer(home.clone())
        .pool_timer(home)
        .http2_keep_alive_interval(Some(Duration::from_secs(15)))
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

/// A pool of connections with one request each (HTTP/1.1).
fn one_each(route: Route) -> Http<Full<Bytes>> {
    builder().pool_idle_timeout(IDLE_TIMEOUT).build(route)
}

impl Remote {
    /// A client of the region's server that a kubeconfig names. It sees every tenant that its identity may see, and
    /// the control plane's notes.
    ///
    /// # Errors
    /// [`TlsError`] when its certificates are unusable.
    pub fn new(config: &Kubeconfig, catalog: Arc<Catalog>) -> Result<Self, TlsError> {
        Self::showing(config, config.shown()?, catalog)
    }

    /// The same, with a certificate that can be replaced in the place of the kubeconfig's.
    ///
    /// # Errors
    /// [`TlsError`] when the authority's certificate is unusable.
    pub fn showing(config: &Kubeconfig, shown: Option<Arc<Shown>>, catalog: Arc<Catalog>) -> Result<Self, TlsError> {
        Self::of(config, shown, catalog, Server::Region)
    }

    /// A client of a member of the region's directory, wherever its processes are at a time.
    #[must_use]
    pub fn member(contact: watch::Receiver<Contact>, trust: &Trust, catalog: Arc<Catalog>) -> Self {
        let base = format!("https://{}", contact.borrow().name).into();
        let http = pool(Route::member(contact.clone(), trust.clone(), Protocols::All));
        let reading = pool(Route::member(contact.clone(), trust.clone(), Protocols::All));
        let others = one_each(Route::member(contact, trust.clone(), Protocols::One));
        let (authorization, acts_as) = (None, None);
        Self { http, reading, others, base, authorization, acts_as, catalog, server: Server::Region }
    }

    /// A client of any Kubernetes server, which knows no tenants (a region below `/tenants/{tenant}` is such a server,
    /// too). What it has is put under `tenant` here: queries and keys name it, and objects come back as its own. The
    /// nodes and what else is of no tenant in a region are of none here, either.
    ///
    /// # Errors
    /// [`TlsError`] when its certificates are unusable.
    pub fn plain(config: &Kubeconfig, catalog: Arc<Catalog>, tenant: TenantName) -> Result<Self, TlsError> {
        Self::of(config, config.shown()?, catalog, Server::Plain(tenant))
    }

    fn of(
        config: &Kubeconfig,
        shown: Option<Arc<Shown>>,
        catalog: Arc<Catalog>,
        server: Server,
    ) -> Result<Self, TlsError> {
        let base = config.server.trim_end_matches('/').into();
        let authorization = config.token.as_ref().map(|token| format!("Bearer {token}").into());
        let http = pool(Route::fixed(config, shown.clone(), Protocols::All)?);
        let reading = pool(Route::fixed(config, shown.clone(), Protocols::All)?);
        let others = one_each(Route::fixed(config, shown, Protocols::One)?);
        Ok(Self { http, reading, others, base, authorization, acts_as: None, catalog, server })
    }

    fn kind(&self, resource: &GroupResource) -> Result<Arc<Kind>, Status> {
        self.catalog
            .storage(resource)
            .ok_or_else(|| Status::failure(Reason::NotFound, format!("no resource {resource} is known to this client")))
    }

    fn reader(&self, resource: &GroupResource) -> Result<Reader, Status> {
        Ok(Reader { kind: self.kind(resource)?, server: self.server.clone() })
    }

    /// The tenant that a URL names for a tenant of ours: a plain server's names none.
    fn tenant<'a>(&self, tenant: &'a str) -> Result<&'a str, Status> {
        match &self.server {
            Server::Region => Ok(tenant),
            Server::Plain(own) if tenant.is_empty() || tenant == own.as_str() => Ok(""),
            Server::Plain(own) => {
                let text = format!("{} has nothing of the tenant {tenant}: all it has is under {own}", self.base);
                Err(Status::failure(Reason::NotFound, text))
            }
        }
    }

    fn query_url(&self, kind: &Kind, query: &Query, more: &[(&str, &str)]) -> Result<String, Status> {
        let tenant = match (query.within.tenant(), &self.server) {
            (None, Server::Region) => TenantName::ALL,
            (tenant, _) => self.tenant(tenant.unwrap_or(""))?,
        };
        Ok(urls::query(kind, tenant, query, more))
    }

    fn object_url(&self, kind: &Kind, path: &ObjectPath, subresource: Option<&str>) -> Result<String, Status> {
        Ok(urls::object(kind, self.tenant(path.tenant())?, path, subresource))
    }

    fn collection_url(&self, kind: &Kind, tenant: &str, namespace: &str) -> Result<String, Status> {
        Ok(urls::collection(kind, self.tenant(tenant)?, namespace))
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        media: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, Status> {
        self.send_through(&self.http, method, target, (media, body)).await
    }

    /// Sends what many objects are read with.
    async fn send_reading(&self, target: &str) -> Result<Response<Incoming>, Status> {
        let http = if self.acts_as.is_some() { &self.others } else { &self.reading };
        self.send_through(http, Method::GET, target, (JSON, Vec::new())).await
    }

    async fn send_through(
        &self,
        http: &Http<Full<Bytes>>,
        method: Method,
        target: &str,
        (media, body): (&str, Vec<u8>),
    ) -> Result<Response<Incoming>, Status> {
        #[cfg(feature = "traces")]
        let mut call = crate::traces::Call::begin(&method, &self.base, target);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.base))
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::CONTENT_TYPE, media)
            .header(http::header::USER_AGENT, concat!("arktos/", env!("CARGO_PKG_VERSION")));
        if let Server::Region = self.server {
            request = request.header("Arktos-Dialect", "region");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(http::header::AUTHORIZATION, &**authorization);
        }
        if let Some(other) = &self.acts_as {
            request = request.header("impersonate-user", &*other.user);
            request = other.groups.iter().fold(request, |request, group| request.header("impersonate-group", &**group));
        }
        #[cfg(feature = "traces")]
        if let Some((name, value)) = call.header() {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(body)).map_err(Status::internal)?;
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, http.request(request));
        let response = answer.await.map_err(|_| unreachable(&self.base, &"no answer in time"))?;
        let response = response.map_err(|error| unreachable(&self.base, &describe(&error)))?;
        #[cfg(feature = "traces")]
        call.answered(response.status());
        if response.status().is_success() {
            return Ok(response);
        }
        let (code, headers) = (response.status(), response.headers().clone());
        let body = self.read(response, ANSWER_LENGTH_MAX).await?;
        Err(wire::failure(&self.base, code, &headers, &body))
    }

    /// Reads an answer of at most so many bytes, as long as they keep coming.
    async fn read(&self, response: Response<Incoming>, length_max: usize) -> Result<Bytes, Status> {
        let (mut body, mut read) = (response.into_body(), BytesMut::new());
        loop {
            let frame = tokio::time::timeout(REQUEST_TIMEOUT, body.frame()).await;
            let frame = frame.map_err(|_| unreachable(&self.base, &"the answer did not end in time"))?;
            let Some(frame) = frame else { return Ok(read.freeze()) };
            let frame = frame.map_err(|error| unreachable(&self.base, &describe(&error)))?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            if read.len() + data.len() > length_max {
                let text = format!("the answer of {} is longer than {length_max} bytes: refused", self.base);
                return Err(Status::internal(text));
            }
            read.extend_from_slice(data);
        }
    }

    async fn answer(&self, method: Method, target: &str, media: &str, body: &Value) -> Result<Bytes, Status> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).map_err(Status::internal)? };
        let response = self.send(method, target, media, body).await?;
        self.read(response, ANSWER_LENGTH_MAX).await
    }

    async fn ask(&self, method: Method, target: &str, media: &str, body: &Value) -> Result<Value, Status> {
        serde_json::from_slice(&self.answer(method, target, media, body).await?).map_err(Status::internal)
    }

    async fn ask_for_object(
        &self,
        resource: &GroupResource,
        method: Method,
        target: &str,
        media: &str,
        body: &Value,
    ) -> Result<Stored, Status> {
        self.reader(resource)?.object(&self.answer(method, target, media, body).await?)
    }

    /// An object as it is written: with its notes, where the server knows of notes.
    fn written(&self, mut object: Object) -> Value {
        let notes = std::mem::take(&mut object.notes);
        if let (Server::Region, false) = (&self.server, notes.is_empty()) {
            object.meta_mut().insert("arktosNotes".to_owned(), serde_json::to_value(notes).unwrap_or_default());
        }
        object.into_value()
    }

    /// One page of a list; all of it, without a limit.
    async fn page(&self, reader: &Reader, query: &Query, limit: &str, next: &str) -> Result<Page, Status> {
        let url = self.query_url(&reader.kind, query, &[("limit", limit), ("continue", next)])?;
        let response = self.send_reading(&url).await?;
        reader.page(&self.read(response, LIST_LENGTH_MAX).await?)
    }

    async fn events(&self, query: &Query, parameters: &[(&str, &str)]) -> Result<WatchListStream, Status> {
        let reader = self.reader(&query.resource)?;
        let url = self.query_url(&reader.kind, query, parameters)?;
        let response = self.send_reading(&url).await?;
        let lines = Lines::new(response.into_body(), self.base.clone());
        let events = futures::stream::unfold((lines, reader), |(mut lines, reader)| async move {
            let line = lines.next().await?;
            let event = line.and_then(|line| reader.event(&line));
            Some((event, (lines, reader)))
        });
        Ok(events.boxed())
    }
}

#[async_trait]
impl Source for Remote {
    /// Lists page by page, so that neither side has more than one page in hand beside the objects. When the server has
    /// forgotten the state that is paged through, everything is asked for at once.
    async fn list(&self, query: &Query) -> Result<Listing, Status> {
        let reader = self.reader(&query.resource)?;
        let first = self.page(&reader, query, PAGE, "").await?;
        let (revision, mut items, mut next) = (first.revision, first.items, first.next);
        while !next.is_empty() {
            match self.page(&reader, query, PAGE, &next).await {
                Ok(page) if page.revision == revision => {
                    items.extend(page.items);
                    next = page.next;
                }
                Err(status) if status.code != Reason::Expired.code() => return Err(status),
                _ => {
                    drop(items);
                    let Page { revision, items, next } = self.page(&reader, query, "", "").await?;
                    if !next.is_empty() {
                        return Err(Status::internal(format!("{} does not give out whole lists", self.base)));
                    }
                    return Ok(Listing::new(revision, items));
                }
            }
        }
        Ok(Listing::new(revision, items))
    }

    async fn watch(&self, query: &Query, after: Revision) -> Result<WatchStream, Status> {
        let after = after.to_string();
        let parameters = [("watch", "1"), ("allowWatchBookmarks", "true"), ("resourceVersion", after.as_str())];
        let events = self.events(query, &parameters).await?;
        let deliveries = events.map(|event| {
            event.map(|event| match event {
                WatchListEvent::Delivery(delivery) => delivery,
                WatchListEvent::InitialEnd(revision) => Delivery::Bookmark(revision),
            })
        });
        Ok(deliveries.boxed())
    }

    async fn watch_list(&self, query: &Query) -> Result<WatchListStream, Status> {
        let parameters = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("sendInitialEvents", "true"),
            ("resourceVersionMatch", "NotOlderThan"),
        ];
        self.events(query, &parameters).await
    }
}

#[async_trait]
impl Client for Remote {
    async fn get(&self, key: &ObjectKey) -> Result<Stored, Status> {
        let kind = self.kind(&key.resource)?;
        let url = self.object_url(&kind, &key.path, None)?;
        self.ask_for_object(&key.resource, Method::GET, &url, JSON, &Value::Null).await
    }

    async fn create(
        &self,
        resource: &GroupResource,
        tenant: &str,
        namespace: &str,
        object: Object,
    ) -> Result<Stored, Status> {
        let kind = self.kind(resource)?;
        let url = self.collection_url(&kind, tenant, namespace)?;
        self.ask_for_object(resource, Method::POST, &url, JSON, &self.written(object)).await
    }

    async fn update(&self, key: &ObjectKey, subresource: Option<&str>, object: Object) -> Result<Stored, Status> {
        let kind = self.kind(&key.resource)?;
        let url = self.object_url(&kind, &key.path, subresource)?;
        self.ask_for_object(&key.resource, Method::PUT, &url, JSON, &self.written(object)).await
    }

    async fn patch(&self, key: &ObjectKey, subresource: Option<&str>, patch: Patch) -> Result<Stored, Status> {
        let kind = self.kind(&key.resource)?;
        let mut url = self.object_url(&kind, &key.path, subresource)?;
        let (media, body) = match &patch {
            Patch::Json(body) => ("application/json-patch+json", body),
            Patch::Merge(body) => ("application/merge-patch+json", body),
            Patch::Strategic(body) => ("application/strategic-merge-patch+json", body),
            Patch::Apply { config, manager, force } => {
                urls::add_parameters(&mut url, &[("fieldManager", manager), ("force", &force.to_string())]);
                ("application/apply-patch+yaml", config)
            }
            _ => return Err(Status::failure(Reason::NotImplemented, "this client does not know such patches")),
        };
        self.ask_for_object(&key.resource, Method::PATCH, &url, media, body).await
    }

    async fn delete(&self, key: &ObjectKey, options: DeleteOptions) -> Result<(), Status> {
        let kind = self.kind(&key.resource)?;
        let url = self.object_url(&kind, &key.path, None)?;
        self.answer(Method::DELETE, &url, JSON, &delete_options(&options)).await.map(drop)
    }

    async fn post(&self, key: &ObjectKey, action: &str, body: Object) -> Result<Object, Status> {
        let kind = match self.kind(&key.resource) {
            Ok(kind) => kind,
            // What only answers has no storage: it is found by its type.
            Err(error) => self.catalog.by_type(&body.type_meta()).ok_or(error)?,
        };
        let url = if action.is_empty() {
            self.collection_url(&kind, key.path.tenant(), key.path.namespace())?
        } else {
            self.object_url(&kind, &key.path, Some(action))?
        };
        let answer = self.ask(Method::POST, &url, JSON, &self.written(body)).await?;
        Object::from_value(answer).ok_or_else(|| Status::internal("the answer is not an object"))
    }

    fn acting_as(&self, user: &str, groups: &[&str]) -> Option<Arc<dyn Client>> {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let acts_as = Some(Arc::new(ActsAs { user: user.to_owned(), groups }));
        Some(Arc::new(Self { acts_as, ..self.clone() }))
    }
}

const JSON: &str = "application/json";

fn delete_options(options: &DeleteOptions) -> Value {
    let mut body = serde_json::json!({"kind": "DeleteOptions", "apiVersion": "v1"});
    if let Some(seconds) = options.grace_period_seconds {
        body["gracePeriodSeconds"] = Value::from(seconds);
    }
    if let Some(uid) = &options.uid {
        body["preconditions"]["uid"] = Value::from(uid.as_str());
    }
    if let Some(revision) = options.revision {
        body["preconditions"]["resourceVersion"] = Value::from(revision.to_string());
    }
    if let Some(propagation) = options.propagation {
        body["propagationPolicy"] = Value::from(match propagation {
            Propagation::Orphan => "Orphan",
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
        });
    }
    body
}

fn unreachable(base: &str, why: &dyn std::fmt::Display) -> Status {
    Status::failure(Reason::ServiceUnavailable, format!("{base} cannot be reached: {why}"))
}

/// The whole chain of causes: the first alone says next to nothing.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
