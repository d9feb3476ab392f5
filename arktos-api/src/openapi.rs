//! OpenAPI: what objects look like and which operations there are, one document a group version.
//!
//! Documents are made from the catalog when the first client asks for any, and kept as bytes. They are named by their
//! hash: a client that has one never asks for it again. OpenAPI v2 is there for old clients alone (kubectl up to 1.28).

mod paths;
mod protobuf;
mod schemas;
mod v2;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use arktos_core::Status;
use arktos_core::catalog::{Catalog, Kind};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::body::Body;
use crate::discovery::{View, page_not_found, response};
use crate::negotiate::{self, Endpoint, JSON};

const ROOT: &str = "/openapi/v3";
/// The form in which clients ask for v2, and the one they are answered in: `@` may not stand in a media type.
const V2_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const V2_ANSWERED: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The OpenAPI documents of one catalog.
pub struct OpenApi {
    catalog: Arc<Catalog>,
    /// The one whose kinds are all in this one too: what they have in common exists once.
    base: Option<Arc<OpenApi>>,
    /// Whether objects are said to have what Arktos's own clients know of them.
    arktos: bool,
    // Each written once, by whoever first asks for the view.
    views: [OnceLock<Documents>; 3],
}

/// The documents of one view, by the path that they describe, such as `apis/apps/v1`.
struct Documents {
    by_path: BTreeMap<String, Document>,
    index: Bytes,
    // Written once, by the first client that is so old.
    v2: OnceLock<(Document, Document)>,
}

#[derive(Clone)]
struct Document {
    body: Bytes,
    hash: String,
}

impl OpenApi {
    /// OpenAPI of a catalog. For the built-in catalog all servers of a process share one.
    #[must_use]
    pub fn of(catalog: &Arc<Catalog>) -> Arc<Self> {
        static BUILTIN: LazyLock<Arc<OpenApi>> = LazyLock::new(|| Arc::new(OpenApi::new(Catalog::builtin())));
        if Arc::ptr_eq(catalog, &BUILTIN.catalog) { BUILTIN.clone() } else { Arc::new(Self::new(catalog.clone())) }
    }

    /// OpenAPI of a catalog that has all kinds of another, and more.
    #[must_use]
    pub fn beside(base: &Arc<Self>, catalog: &Arc<Catalog>) -> Arc<Self> {
        Arc::new(Self { base: Some(base.clone()), arktos: base.arktos, ..Self::new(catalog.clone()) })
    }

    /// OpenAPI of a catalog for Arktos's own clients, which find the tenant in the metadata of objects.
    #[must_use]
    pub fn with_tenant(catalog: &Arc<Catalog>) -> Arc<Self> {
        Arc::new(Self { arktos: true, ..Self::new(catalog.clone()) })
    }

    fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog, base: None, arktos: false, views: Default::default() }
    }

    /// The answer to a request below `/openapi`; `None` for other paths. Paths are without the prefix of a tenant, and
    /// so are the addresses in the index: clients put the prefix back.
    #[must_use]
    pub fn answer(
        &self,
        view: View,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Option<Result<Response<Body>, Status>> {
        let rest = path.strip_prefix("/openapi")?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        match rest {
            "/v2" => return Some(self.v2(view, headers)),
            "/v3" => {}
            "/v3/" => return Some(Ok(empty(StatusCode::NOT_FOUND))),
            _ if rest.starts_with("/v3/") => {}
            _ => return Some(Ok(page_not_found())),
        }
        let name = path.strip_prefix(ROOT).unwrap_or_default();
        Some(self.document(view, name.trim_matches('/'), query, headers))
    }

    fn document(
        &self,
        view: View,
        name: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Status> {
        let documents = self.documents(view);
        if name.is_empty() {
            return Ok(response(StatusCode::OK, "text/plain; charset=utf-8", documents.index.clone()));
        }
        let Some(document) = documents.by_path.get(name) else {
            return Ok(empty(StatusCode::NOT_FOUND));
        };
        negotiate::accept(headers, Endpoint::default())?;
        let asked = query.into_iter().flat_map(|query| query.split('&')).find_map(|part| part.strip_prefix("hash="));
        if asked.is_some_and(|hash| hash != document.hash) {
            let mut answer = empty(StatusCode::MOVED_PERMANENTLY);
            set(&mut answer, LOCATION, &address(name, &document.hash));
            return Ok(answer);
        }
        let mut answer = document.answer(JSON, headers);
        let caching = if asked.is_some() { "public, immutable, max-age=31536000" } else { "no-cache, private" };
        set(&mut answer, CACHE_CONTROL, caching);
        Ok(answer)
    }

    fn v2(&self, view: View, headers: &HeaderMap) -> Result<Response<Body>, Status> {
        let documents = self.documents(view);
        let accepted = negotiate::header_text(headers, http::header::ACCEPT);
        let protobuf = [V2_ASKED, V2_ANSWERED].iter().any(|form| accepted.contains(form));
        if !protobuf {
            negotiate::accept(headers, Endpoint::default())?;
        }
        let (json, binary) = documents.v2.get_or_init(|| {
            let versions = documents.by_path.values().map(|document| &*document.body);
            let content = v2::document(versions);
            (document(content.to_string()), document(v2::encode(&content)))
        });
        Ok(if protobuf { binary.answer(V2_ANSWERED, headers) } else { json.answer(JSON, headers) })
    }

    fn documents(&self, view: View) -> &Documents {
        self.views[view as usize].get_or_init(|| {
            let base = self.base.as_ref().map(|base| (&*base.catalog, view, base.documents(view)));
            if base.is_some() {
                return self.build(view, base);
            }
            // What two views have in common exists once.
            let whole = (view != View::Region).then(|| (&*self.catalog, View::Region, self.documents(View::Region)));
            self.build(view, whole)
        })
    }

    fn build(&self, view: View, made: Option<(&Catalog, View, &Documents)>) -> Documents {
        let mut by_path = BTreeMap::new();
        for (path, about) in [
            (".well-known/openid-configuration", "OpenID configuration"),
            ("openid/v1/jwks", "keys"),
            ("version", "version"),
        ] {
            by_path.insert(path.to_owned(), document(paths::plain_path(&format!("/{path}"), about).to_string()));
        }
        for root in ["api", "apis"] {
            by_path.insert(
                root.to_owned(),
                document(paths::plain_path(&format!("/{root}/"), "available versions").to_string()),
            );
        }
        for group in self.catalog.groups() {
            let root = if group.name.is_empty() { "api".to_owned() } else { format!("apis/{}", group.name) };
            let mut any = false;
            for version in &group.versions {
                let path = format!("{root}/{}", version.name);
                let kinds: Vec<&Arc<Kind>> = version.kinds.iter().filter(|kind| view.shows(kind)).collect();
                if kinds.is_empty() {
                    continue;
                }
                any = true;
                // A document of the same kinds is the same document.
                let shared = made.filter(|(other, view, _)| has(other, *view, (&group.name, &version.name), &kinds));
                let shared = shared.and_then(|(_, _, made)| made.by_path.get(&path));
                let made = shared.cloned().unwrap_or_else(|| document(self.group_version(&path, &kinds).to_string()));
                by_path.insert(path, made);
            }
            if any && !group.name.is_empty() {
                by_path.insert(
                    root.clone(),
                    document(paths::plain_path(&format!("/{root}/"), "information of a group").to_string()),
                );
            }
        }
        let index: serde_json::Map<String, Value> = by_path
            .iter()
            .map(|(path, document)| (path.clone(), json!({"serverRelativeURL": address(path, &document.hash)})))
            .collect();
        Documents { by_path, index: Bytes::from(json!({"paths": index}).to_string()), v2: OnceLock::new() }
    }

    /// The document of one group version.
    fn group_version(&self, path: &str, kinds: &[&Arc<Kind>]) -> Value {
        let mut components = schemas::Components::new(&self.catalog);
        let mut operations = serde_json::Map::new();
        for kind in kinds {
            paths::add(&mut operations, &mut components, &format!("/{path}"), kind);
        }
        let mut schemas = components.finish();
        if self.arktos {
            schemas::add_tenant(&mut schemas);
        }
        json!({
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.36.2"},
            "paths": operations,
            "components": {"schemas": schemas},
        })
    }
}

/// Whether a view of a catalog shows these kinds, and no others, of a group version.
fn has(catalog: &Catalog, view: View, (group, version): (&str, &str), kinds: &[&Arc<Kind>]) -> bool {
    let versions = catalog.group(group).map_or(&[][..], |group| &group.versions);
    let Some(version) = versions.iter().find(|known| known.name == version) else { return false };
    let shown = version.kinds.iter().filter(|kind| view.shows(kind));
    shown.clone().count() == kinds.len() && shown.zip(kinds).all(|(one, other)| Arc::ptr_eq(one, other))
}

impl Document {
    /// The document, unless the client says that it has it.
    fn answer(&self, content_type: &str, headers: &HeaderMap) -> Response<Body> {
        let etag = format!("\"{}\"", self.hash);
        let known = negotiate::header_text(headers, http::header::IF_NONE_MATCH);
        let mut answer = if known.split(',').any(|tag| tag.trim() == etag) {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            response(StatusCode::OK, content_type, self.body.clone())
        };
        set(&mut answer, ETAG, &etag);
        answer
    }
}

fn document(body: impl Into<Bytes>) -> Document {
    let body = body.into();
    let hash = Sha256::digest(&body).iter().map(|byte| format!("{byte:02X}")).collect();
    Document { body, hash }
}

fn address(path: &str, hash: &str) -> String {
    format!("{ROOT}/{path}?hash={hash}")
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

fn set(answer: &mut Response<Body>, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        answer.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests;
