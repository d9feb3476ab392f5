//! Discovery: which groups, versions and resources there are.
//!
//! All documents are made once for each [`View`] of a catalog, and then copied.

mod documents;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use arktos_core::catalog::{Catalog, Kind};
use arktos_core::status::StatusDetails;
use arktos_core::{Reason, Scope, Status};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Method, Response, StatusCode};

use crate::body::Body;
use crate::negotiate::{self, Clause, Endpoint, JSON};

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
    aggregated: HashMap<(&'static str, AggregatedVersion), Aggregated>,
}

struct Aggregated {
    body: Bytes,
    etag: String,
}

/// The versions of aggregated discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum AggregatedVersion {
    V2,
    V2beta1,
}

impl AggregatedVersion {
    const fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2beta1 => "v2beta1",
        }
    }
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
            ["" | "api" | "apis" | "version"] | ["api", _] | ["apis", _] | ["apis", _, _]
        );
        if !mine {
            return None;
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(Err(method_not_allowed()));
        }
        Some(self.document(view, path, &segments, headers))
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
            && let Some((name, version)) = wanted_aggregate(segments[0], headers)
            && let Some(aggregated) = documents.aggregated.get(&(name, version))
        {
            return Ok(aggregated_response(aggregated, version, headers));
        }
        if let Some(body) = documents.plain.get(path) {
            check_json(headers)?;
            return Ok(response(StatusCode::OK, JSON, body.clone()));
        }
        match segments {
            ["apis", group, ..] if !documents.plain.contains_key(&format!("/apis/{group}")) => Ok(page_not_found()),
            _ => Err(resource_not_found()),
        }
    }

    fn documents(&self, view: View) -> &Documents {
        self.views[view as usize].get_or_init(|| documents::build(&self.catalog, view, &self.address, self.tenanted))
    }
}

/// 404 for a path that belongs to nobody: a page, not a Status, as upstream has it.
#[must_use]
pub fn page_not_found() -> Response<Body> {
    response(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n")
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

/// Which aggregated document a request for `/api` or `/apis` wants before the plain one, if any.
fn wanted_aggregate(name: &str, headers: &HeaderMap) -> Option<(&'static str, AggregatedVersion)> {
    let header = negotiate::header_text(headers, http::header::ACCEPT);
    let version = negotiate::clauses(&header).iter().find_map(|clause| match form(clause) {
        Form::Plain => Some(None),
        Form::Aggregated(version) => Some(Some(version)),
        Form::Unknown => None,
    });
    Some((if name == "api" { "api" } else { "apis" }, version??))
}

enum Form {
    Plain,
    Aggregated(AggregatedVersion),
    Unknown,
}

/// The form that a clause of an Accept header asks for.
fn form(clause: &Clause<'_>) -> Form {
    if !clause.takes(JSON) {
        return Form::Unknown;
    }
    match (clause.get("g"), clause.get("v"), clause.get("as")) {
        (None, None, None) => Form::Plain,
        (Some("apidiscovery.k8s.io"), Some("v2"), Some("APIGroupDiscoveryList")) => {
            Form::Aggregated(AggregatedVersion::V2)
        }
        (Some("apidiscovery.k8s.io"), Some("v2beta1"), Some("APIGroupDiscoveryList")) => {
            Form::Aggregated(AggregatedVersion::V2beta1)
        }
        _ => Form::Unknown,
    }
}

fn aggregated_response(document: &Aggregated, version: AggregatedVersion, headers: &HeaderMap) -> Response<Body> {
    let known = negotiate::header_text(headers, IF_NONE_MATCH);
    let unchanged = known.split(',').any(|tag| matches!(tag.trim(), "*") || tag.trim() == document.etag);
    let version = version.name();
    let content_type = format!("{JSON};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let mut answer = if unchanged {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        response(StatusCode::OK, &content_type, document.body.clone())
    };
    if let Ok(etag) = http::HeaderValue::try_from(&document.etag) {
        answer.headers_mut().insert(ETAG, etag);
    }
    answer.headers_mut().insert(VARY, http::HeaderValue::from_static("Accept"));
    answer.headers_mut().insert(CACHE_CONTROL, http::HeaderValue::from_static("public"));
    answer
}

/// Discovery speaks JSON.
fn check_json(headers: &HeaderMap) -> Result<(), Status> {
    let header = negotiate::header_text(headers, http::header::ACCEPT);
    if header.is_empty() || negotiate::clauses(&header).iter().any(|clause| matches!(form(clause), Form::Plain)) {
        return Ok(());
    }
    // Whoever does not take JSON is told what there is; whoever takes everything in a form unknown here, too.
    negotiate::accept(headers, Endpoint::default()).map(|_| ())
}

pub(crate) fn response(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::full(body));
    *answer.status_mut() = status;
    if let Ok(content_type) = http::HeaderValue::try_from(content_type) {
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    answer
}

#[cfg(test)]
mod tests;
