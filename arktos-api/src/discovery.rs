//! Discovery: which groups, versions and resources there are.
//!
//! All documents are made once for each [`View`] of a catalog, and then copied.

mod documents;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use arktos_core::catalog::{Catalog, Kind};
use arktos_core::media::to_yaml;
use arktos_core::status::StatusDetails;
use arktos_core::{Reason, Scope, Status, TypeMeta};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::Value;

use crate::body::Body;
use crate::etag;
use crate::negotiate::{self, Clause, Encoding, Endpoint, JSON};

/// Which part of the catalog a client is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// What a tenant has: everything but what describes the region and its pool of hosts.
    Tenant,
    /// A cluster as upstream knows it, nodes included, and nothing of Arktos: `system` under the URL prefix.
    Cluster,
    /// Everything: `system` on Arktos's own paths.
    Region,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tenant, Self::Cluster, Self::Region];

    /// Whether a kind is part of it.
    #[must_use]
    pub fn shows(self, kind: &Kind) -> bool {
        match self {
            Self::Tenant => kind.scope != Scope::Region,
            Self::Cluster => !is_own(kind),
            Self::Region => true,
        }
    }
}

/// Whether a kind is Arktos's own, not upstream's nor a tenant's.
fn is_own(kind: &Kind) -> bool {
    kind.builtin && kind.schema.as_struct().is_some_and(|schema| schema.name.starts_with("io.arktos."))
}

/// The discovery documents of one catalog.
pub struct Discovery {
    catalog: Arc<Catalog>,
    address: String,
    /// Whether resources are said to be a tenant's, as Arktos's own clients want it.
    tenanted: bool,
    // Each written once, by whoever first asks for the view.
    views: [OnceLock<Documents>; 3],
}

/// The documents of one view.
struct Documents {
    /// By path, without the slash at its end.
    plain: HashMap<String, Bytes>,
    /// The aggregated forms of `/api` and `/apis`.
    aggregated: HashMap<&'static str, Aggregated>,
}

struct Aggregated {
    body: Bytes,
    etag: String,
}

impl Discovery {
    /// Discovery of a catalog. `address` is what clients are told to reach the server under.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, address: SocketAddr) -> Self {
        Self { catalog, address: address.to_string(), tenanted: false, views: Default::default() }
    }

    /// The same, for Arktos's own clients: it says of each resource whether it is a tenant's.
    #[must_use]
    pub fn with_tenanted(catalog: Arc<Catalog>, address: SocketAddr) -> Self {
        Self { tenanted: true, ..Self::new(catalog, address) }
    }

    /// Discovery of another catalog, for the same clients.
    pub(crate) fn of(&self, catalog: Arc<Catalog>) -> Self {
        Self { catalog, address: self.address.clone(), tenanted: self.tenanted, views: Default::default() }
    }

    /// The answer to a request for a discovery document; `None` when the path is not one of discovery's.
    ///
    /// Paths are those of a whole API server: without the prefix of a tenant.
    #[must_use]
    pub fn answer(
        &self,
        view: View,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Result<Response<Body>, Status>> {
        let path = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let mine = matches!(
            segments.as_slice(),
            ["" | "api" | "apis" | "version" | "index.html"] | ["api", _] | ["apis", _] | ["apis", _, _]
        );
        if !mine {
            return None;
        }
        // What lists groups answers whatever the method is.
        let lists = match segments.as_slice() {
            ["" | "apis" | "index.html"] | ["apis", _] => true,
            ["apis", group, _] => is_defined(group),
            _ => false,
        };
        if lists || *method == Method::GET {
            return Some(self.document(view, path, &segments, headers));
        }
        let found = self.document(view, path, &segments, &HeaderMap::new());
        Some(
            found
                .and_then(|found| if found.status() == StatusCode::OK { Err(method_not_allowed()) } else { Ok(found) }),
        )
    }

    fn document(
        &self,
        view: View,
        path: &str,
        segments: &[&str],
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Status> {
        let documents = self.documents(view);
        if let ["api" | "apis"] = segments
            && let Some((name, encoding)) = wanted_aggregate(segments[0], headers)
            && let Some(aggregated) = documents.aggregated.get(name)
        {
            return aggregated_response(aggregated, encoding, headers);
        }
        let path = if path == "/index.html" { "/" } else { path };
        if let Some(body) = documents.plain.get(path) {
            return written(body, segments, headers);
        }
        match segments {
            ["apis", group, ..] if is_defined(group) || !documents.plain.contains_key(&format!("/apis/{group}")) => {
                Ok(page_not_found())
            }
            _ => Err(resource_not_found()),
        }
    }

    fn documents(&self, view: View) -> &Documents {
        self.views[view as usize].get_or_init(|| documents::build(&self.catalog, view, &self.address, self.tenanted))
    }
}

/// Whether a group is that of definitions alone, which have no routes of their own.
fn is_defined(group: &str) -> bool {
    Catalog::builtin().group(group).is_none()
}

/// 404 for a path that belongs to nobody: a page, not a Status, as upstream has it.
#[must_use]
pub fn page_not_found() -> Response<Body> {
    crate::reply::text(404, "404 page not found\n")
}

/// 404 for a resource or version that a known group does not have.
#[must_use]
pub fn resource_not_found() -> Status {
    Status::failure(Reason::NotFound, "the server could not find the requested resource")
        .with_details(StatusDetails::default())
}

/// 405 for a path that does not know the method.
#[must_use]
pub fn method_not_allowed() -> Status {
    let message = "the server does not allow this method on the requested resource";
    Status::failure(Reason::MethodNotAllowed, message).with_details(StatusDetails::default())
}

/// What is said behind the media type of aggregated discovery.
const AGGREGATED: &str = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Which aggregated document a request for `/api` or `/apis` wants before the plain one, if any, and how it is written.
fn wanted_aggregate(name: &str, headers: &HeaderMap) -> Option<(&'static str, Encoding)> {
    let header = negotiate::header_text(headers, http::header::ACCEPT);
    let encoding = negotiate::clauses(&header).iter().find_map(|clause| match form(clause) {
        Form::Plain => Some(None),
        Form::Aggregated(encoding) => Some(Some(encoding)),
        Form::Unknown => None,
    });
    encoding?.map(|encoding| (if name == "api" { "api" } else { "apis" }, encoding))
}

enum Form {
    Plain,
    Aggregated(Encoding),
    Unknown,
}

/// The form that a clause of an Accept header asks for.
fn form(clause: &Clause<'_>) -> Form {
    let mut encodings = [Encoding::Json, Encoding::Yaml, Encoding::Protobuf].into_iter();
    let Some(encoding) = encodings.find(|encoding| clause.takes(encoding.content_type())) else {
        return Form::Unknown;
    };
    match (clause.get("g"), clause.get("v"), clause.get("as")) {
        (None, None, None) => Form::Plain,
        (Some("apidiscovery.k8s.io"), Some("v2"), Some("APIGroupDiscoveryList")) => Form::Aggregated(encoding),
        _ => Form::Unknown,
    }
}

fn aggregated_response(
    document: &Aggregated,
    encoding: Encoding,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let mut answer = if etag::is(headers, &document.etag) {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        let content_type = format!("{}{AGGREGATED}", encoding.content_type());
        response(StatusCode::OK, &content_type, encoded(&document.body, encoding)?)
    };
    if let Ok(etag) = http::HeaderValue::try_from(&document.etag) {
        answer.headers_mut().insert(ETAG, etag);
    }
    answer.headers_mut().insert(VARY, http::HeaderValue::from_static("Accept"));
    answer.headers_mut().insert(CACHE_CONTROL, http::HeaderValue::from_static("public"));
    Ok(answer)
}

/// A document in what the client takes.
fn written(body: &Bytes, segments: &[&str], headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let endpoint = Endpoint { protobuf: true, ..Endpoint::default() };
    let encoding = match segments {
        ["" | "index.html"] => Encoding::Json,
        ["version"] => negotiate::produces(headers, &[JSON]).map(|()| Encoding::Json)?,
        ["apis"] | ["apis", _] => negotiate::negotiated(headers, endpoint)?.encoding,
        ["apis", group, _] if is_defined(group) => negotiate::negotiated(headers, endpoint)?.encoding,
        _ => negotiate::accept(headers, endpoint)?.encoding,
    };
    Ok(response(StatusCode::OK, encoding.content_type(), encoded(body, encoding)?))
}

fn encoded(body: &Bytes, encoding: Encoding) -> Result<Bytes, Status> {
    Ok(match encoding {
        Encoding::Json => body.clone(),
        Encoding::Yaml => to_yaml(&serde_json::from_slice(body).map_err(Status::internal)?).into(),
        Encoding::Protobuf => {
            let value: Value = serde_json::from_slice(body).map_err(Status::internal)?;
            let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
            let types = TypeMeta { api_version: text("apiVersion"), kind: text("kind") };
            arktos_core::media::protobuf::encode(&types, &value).map_err(Status::internal)?.into()
        }
    })
}

pub(crate) fn response(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::full(body));
    *answer.status_mut() = status;
    if let Ok(content_type) = http::HeaderValue::try_from(content_type) {
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    answer.headers_mut().insert(CACHE_CONTROL, http::HeaderValue::from_static("no-cache, private"));
    answer
}

#[cfg(test)]
mod tests;
