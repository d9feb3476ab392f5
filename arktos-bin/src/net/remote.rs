//! The API over HTTP, as a component of the region uses it: [`Client`] with a socket in between.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::catalog::{Catalog, Kind};
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Reason, Revision, Scope, Status, TenantName};
use arktos_store::client::{DeleteOptions, Listing, Patch, Propagation, WatchStream};
use arktos_store::{Client, Delivery, Query, Stored, Within};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::kubeconfig::Kubeconfig;
use super::tls::{self, TlsError};

/// How long a request other than a watch may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest line of a watch, in bytes: an event holds one object, and objects have limits.
const EVENT_LENGTH_MAX: usize = 16 << 20;
/// What a path segment or a query value may hold as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The connection pool under a remote client or a gateway's backend.
pub type Http<B> = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, B>;

/// A client of an API server somewhere else. Speaks the region dialect, so that it sees tenants and notes.
#[derive(Clone)]
pub struct Remote {
    http: Http<Full<Bytes>>,
    base: Arc<str>,
    catalog: Arc<Catalog>,
}

/// A connection pool with the certificate and the trust of a kubeconfig.
///
/// # Errors
/// [`TlsError`] when its certificates are unusable.
pub fn connect<B>(config: &Kubeconfig) -> Result<Http<B>, TlsError>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    let tls = tls::client(Some(&config.credential), &config.authority)?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(Duration::from_secs(5)));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(tcp);
    let timer = hyper_util::rt::TokioTimer::new();
    Ok(hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(timer.clone())
        .pool_timer(timer)
        .http2_keep_alive_interval(Some(Duration::from_secs(15)))
        .http2_keep_alive_while_idle(true)
        .build(connector))
}

impl Remote {
    /// A client of the server a kubeconfig names.
    ///
    /// # Errors
    /// [`TlsError`] when its certificates are unusable.
    pub fn new(config: &Kubeconfig, catalog: Arc<Catalog>) -> Result<Self, TlsError> {
        Ok(Self { http: connect(config)?, base: config.server.trim_end_matches('/').into(), catalog })
    }

    fn kind(&self, resource: &GroupResource) -> Result<Arc<Kind>, Status> {
        self.catalog
            .storage(resource)
            .ok_or_else(|| Status::failure(Reason::NotFound, format!("no resource {resource} is known to this client")))
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        media: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, Status> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.base))
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::CONTENT_TYPE, media)
            .header(http::header::USER_AGENT, concat!("arktos/", env!("CARGO_PKG_VERSION")))
            .header("Arktos-Dialect", "region")
            .body(Full::from(body))
            .map_err(Status::internal)?;
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.http.request(request));
        let response = answer.await.map_err(|_| unreachable(&self.base, &"no answer in time"))?;
        let response = response.map_err(|error| unreachable(&self.base, &describe(&error)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status();
        let body = self.read(response).await?;
        Err(serde_json::from_slice(&body).unwrap_or_else(|_| {
            Status::failure(Reason::InternalError, format!("{} answered {code} without a Status", self.base))
        }))
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Bytes, Status> {
        let body = tokio::time::timeout(REQUEST_TIMEOUT, response.into_body().collect()).await;
        let body = body.map_err(|_| unreachable(&self.base, &"the answer did not end in time"))?;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| unreachable(&self.base, &error))
    }

    async fn ask(&self, method: Method, target: &str, media: &str, body: &Value) -> Result<Value, Status> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).map_err(Status::internal)? };
        let response = self.send(method, target, media, body).await?;
        serde_json::from_slice(&self.read(response).await?).map_err(Status::internal)
    }

    async fn ask_for_object(
        &self,
        kind: &Kind,
        method: Method,
        target: &str,
        media: &str,
        body: &Value,
    ) -> Result<Stored, Status> {
        stored(kind, self.ask(method, target, media, body).await?)
    }
}

#[async_trait]
impl Client for Remote {
    async fn get(&self, key: &ObjectKey) -> Result<Stored, Status> {
        let kind = self.kind(&key.resource)?;
        self.ask_for_object(&kind, Method::GET, &object_url(&kind, &key.path, None), JSON, &Value::Null).await
    }

    async fn list(&self, query: &Query) -> Result<Listing, Status> {
        let kind = self.kind(&query.resource)?;
        let answer = self.ask(Method::GET, &query_url(&kind, query, &[]), JSON, &Value::Null).await?;
        let Value::Object(mut list) = answer else { return Err(Status::internal("the list is not an object")) };
        let revision = list.get("metadata").and_then(|meta| meta["resourceVersion"].as_str()).and_then(Revision::parse);
        let revision = revision.ok_or_else(|| Status::internal("the list has no resourceVersion"))?;
        let items = match list.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let items = items.into_iter().map(|item| stored(&kind, item)).collect::<Result<_, _>>()?;
        Ok(Listing { revision, items })
    }

    async fn watch(&self, query: &Query, after: Revision) -> Result<WatchStream, Status> {
        let kind = self.kind(&query.resource)?;
        let after = after.to_string();
        let parameters = [("watch", "1"), ("allowWatchBookmarks", "true"), ("resourceVersion", after.as_str())];
        let response = self.send(Method::GET, &query_url(&kind, query, &parameters), JSON, Vec::new()).await?;
        let lines = Lines { body: response.into_body(), pending: BytesMut::new(), base: self.base.clone() };
        let deliveries = futures::stream::unfold((lines, kind), |(mut lines, kind)| async move {
            let line = lines.next().await?;
            let delivery = line.and_then(|line| delivery(&kind, &line));
            Some((delivery, (lines, kind)))
        });
        Ok(deliveries.boxed())
    }

    async fn create(
        &self,
        resource: &GroupResource,
        tenant: &str,
        namespace: &str,
        object: Object,
    ) -> Result<Stored, Status> {
        let kind = self.kind(resource)?;
        let url = collection_url(&kind, tenant, namespace);
        self.ask_for_object(&kind, Method::POST, &url, JSON, &with_notes(object)).await
    }

    async fn update(&self, key: &ObjectKey, subresource: Option<&str>, object: Object) -> Result<Stored, Status> {
        let kind = self.kind(&key.resource)?;
        let url = object_url(&kind, &key.path, subresource);
        self.ask_for_object(&kind, Method::PUT, &url, JSON, &with_notes(object)).await
    }

    async fn patch(&self, key: &ObjectKey, subresource: Option<&str>, patch: Patch) -> Result<Stored, Status> {
        let kind = self.kind(&key.resource)?;
        let (media, body) = match &patch {
            Patch::Json(body) => ("application/json-patch+json", body),
            Patch::Merge(body) => ("application/merge-patch+json", body),
            Patch::Strategic(body) => ("application/strategic-merge-patch+json", body),
        };
        self.ask_for_object(&kind, Method::PATCH, &object_url(&kind, &key.path, subresource), media, body).await
    }

    async fn delete(&self, key: &ObjectKey, options: DeleteOptions) -> Result<(), Status> {
        let kind = self.kind(&key.resource)?;
        let url = object_url(&kind, &key.path, None);
        self.ask(Method::DELETE, &url, JSON, &delete_options(&options)).await.map(drop)
    }

    async fn post(&self, key: &ObjectKey, action: &str, body: Object) -> Result<Object, Status> {
        let kind = match self.kind(&key.resource) {
            Ok(kind) => kind,
            // What only answers has no storage: it is found by its type.
            Err(error) => self.catalog.by_type(&body.type_meta()).ok_or(error)?,
        };
        let url = if action.is_empty() {
            collection_url(&kind, key.path.tenant(), key.path.namespace())
        } else {
            object_url(&kind, &key.path, Some(action))
        };
        let answer = self.ask(Method::POST, &url, JSON, &with_notes(body)).await?;
        Object::from_value(answer).ok_or_else(|| Status::internal("the answer is not an object"))
    }
}

const JSON: &str = "application/json";

/// The lines of a streamed response.
struct Lines {
    body: Incoming,
    pending: BytesMut,
    base: Arc<str>,
}

impl Lines {
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.pending[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.pending.split_to(searched + at + 1).freeze();
                return Some(Ok(line));
            }
            searched = self.pending.len();
            if searched > EVENT_LENGTH_MAX {
                return Some(Err(Status::internal("an event of the watch is too long")));
            }
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Some(data) = frame.data_ref() {
                        self.pending.extend_from_slice(data);
                    }
                }
                Err(error) => return Some(Err(unreachable(&self.base, &error))),
            }
        }
    }
}

fn delivery(kind: &Kind, line: &[u8]) -> Result<Delivery, Status> {
    let mut event: Value = serde_json::from_slice(line).map_err(Status::internal)?;
    let object = event["object"].take();
    Ok(match event["type"].as_str() {
        Some("ADDED") => Delivery::Added(stored(kind, object)?),
        Some("MODIFIED") => Delivery::Modified(stored(kind, object)?),
        Some("DELETED") => Delivery::Deleted(stored(kind, object)?),
        Some("BOOKMARK") => {
            let revision = object["metadata"]["resourceVersion"].as_str().and_then(Revision::parse);
            Delivery::Bookmark(revision.ok_or_else(|| Status::internal("a bookmark has no resourceVersion"))?)
        }
        Some("ERROR") => return Err(serde_json::from_value(object).map_err(Status::internal)?),
        other => return Err(Status::internal(format!("the watch holds an event of type {other:?}"))),
    })
}

/// An object as the region dialect writes it: the tenant, the notes and the revision are taken out of its metadata.
fn stored(kind: &Kind, value: Value) -> Result<Stored, Status> {
    let mut object = Object::from_value(value).ok_or_else(|| Status::internal("not an object"))?;
    let meta = object.meta_mut();
    let tenant = meta.remove("tenant");
    let notes = meta.remove("arktosNotes");
    let revision = meta.remove("resourceVersion");
    let revision = revision.as_ref().and_then(Value::as_str).and_then(Revision::parse).unwrap_or_default();
    if let Some(notes) = notes {
        object.notes = serde_json::from_value(notes).map_err(Status::internal)?;
    }
    let tenant = tenant.as_ref().and_then(Value::as_str).unwrap_or("");
    let path = ObjectPath::new(tenant, object.namespace(), object.name());
    let object = kind.encode(&object).map_err(Status::internal)?;
    Ok(Stored { path, revision, object })
}

fn with_notes(mut object: Object) -> Value {
    if !object.notes.is_empty() {
        let notes = serde_json::to_value(std::mem::take(&mut object.notes)).unwrap_or_default();
        object.meta_mut().insert("arktosNotes".to_owned(), notes);
    }
    object.into_value()
}

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

fn query_url(kind: &Kind, query: &Query, more: &[(&str, &str)]) -> String {
    let mut fields = query.fields.clone();
    let mut url = match &query.within {
        Within::Everywhere => collection_url(kind, TenantName::ALL, ""),
        Within::Tenant(tenant) => collection_url(kind, tenant.as_str(), ""),
        Within::Namespace(tenant, namespace) => collection_url(kind, tenant.as_str(), namespace),
        Within::Object(path) => {
            fields.terms.extend(arktos_core::FieldSelector::equal("metadata.name", path.name()).terms);
            collection_url(kind, path.tenant(), path.namespace())
        }
    };
    let (labels, fields) = (query.labels.to_string(), fields.to_string());
    let selectors = [("labelSelector", labels.as_str()), ("fieldSelector", fields.as_str())];
    let parameters = selectors.iter().filter(|(_, value)| !value.is_empty()).chain(more);
    for (at, (name, value)) in parameters.enumerate() {
        url.push(if at == 0 { '?' } else { '&' });
        url.push_str(name);
        url.push('=');
        url.extend(utf8_percent_encode(value, PLAIN));
    }
    url
}

fn collection_url(kind: &Kind, tenant: &str, namespace: &str) -> String {
    let mut url = match kind.group.as_str() {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    let mut part = |name: &str, value: &str| {
        url.push_str(name);
        url.extend(utf8_percent_encode(value, PLAIN));
    };
    if kind.scope != Scope::Region && !tenant.is_empty() {
        part("/tenants/", tenant);
    }
    if kind.scope == Scope::Namespace && !namespace.is_empty() {
        part("/namespaces/", namespace);
    }
    part("/", &kind.resource);
    url
}

fn object_url(kind: &Kind, path: &ObjectPath, subresource: Option<&str>) -> String {
    let (tenant, namespace, name) = path.parts();
    let mut url = collection_url(kind, tenant, namespace);
    for part in std::iter::once(name).chain(subresource) {
        url.push('/');
        url.extend(utf8_percent_encode(part, PLAIN));
    }
    url
}

fn unreachable(base: &str, why: &dyn std::fmt::Display) -> Status {
    Status::failure(Reason::ServiceUnavailable, format!("{base} cannot be reached: {why}"))
}

/// The whole chain of causes: the first alone says next to nothing.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
