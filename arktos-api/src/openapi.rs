//! OpenAPI: what objects look like and which operations there are, one document a group version.
//!
//! Documents are made from the catalog when the first client asks for any, and kept compressed. They are named by their
//! hash: a client that has one never asks for it again. OpenAPI v2 is there for old clients alone (kubectl up to 1.28).
//! What takes long is made apart from requests (`builds`).

pub(crate) mod builds;
mod packed;
mod paths;
mod protobuf;
mod routes;
mod schemas;
mod v2;
mod versions;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use arktos_core::Status;
use arktos_core::catalog::{Catalog, Kind};
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, LOCATION, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::discovery::{View, page_not_found, response};
use crate::negotiate::{self, JSON};
use packed::Packed;

const ROOT: &str = "/openapi/v3";
/// What documents of what is built in are called.
const TITLE: &str = "Kubernetes";
const VERSION: &str = "1.36";
/// How answers that may change are kept.
const PRIVATE: &str = "no-cache, private";
/// The form in which clients ask for v2, and the one they are answered in: `@` may not stand in a media type.
const V2_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const V2_ANSWERED: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The same for a document of v3.
const V3_ASKED: &str = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
const V3_ANSWERED: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

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
    by_path: BTreeMap<String, Arc<Document>>,
    index: Bytes,
    // Written by a client that is so old, and taken away when many others were there since.
    v2: Mutex<Option<Arc<Document>>>,
}

/// A document in both its encodings. They have one name, since either has what the other has.
struct Document {
    json: Packed,
    // Written once, by whoever first asks for it.
    protobuf: OnceLock<Packed>,
}

impl Document {
    fn new(json: Packed) -> Arc<Self> {
        Arc::new(Self { json, protobuf: OnceLock::new() })
    }

    /// A document of v3 in protobuf.
    fn v3(&self) -> &Packed {
        self.protobuf.get_or_init(|| {
            // These bytes were made from a value right here.
            let document: Value = serde_json::from_slice(&self.json.body()).unwrap_or_default();
            Packed::named(&protobuf::v3::document(&document), self.json.hash().to_owned())
        })
    }
}

/// Writes what one document says that is about no kind: its paths and the schemas these need, below a root.
type Plain<'a> = dyn Fn(&mut Map<String, Value>, &mut schemas::Components<'_>, &str) + 'a;

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
    /// so are the addresses in the index: clients put the prefix back. Documents go out compressed to who takes that.
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
            "/v2" => return Some(Ok(self.v2(view, headers))),
            "/v3" => {}
            "/v3/" => return Some(Ok(empty(StatusCode::NOT_FOUND))),
            _ if rest.starts_with("/v3/") => {}
            _ => return Some(Ok(page_not_found())),
        }
        let name = path.strip_prefix(ROOT).unwrap_or_default();
        Some(Ok(self.document(view, name.trim_start_matches('/'), query, headers)))
    }

    /// Whether all is there that an answer needs. Where it is not, [`answer`](Self::answer) makes it, which takes long.
    pub(crate) fn is_made(&self, view: View, path: &str, headers: &HeaderMap) -> bool {
        let Some(name) = path.strip_prefix("/openapi/") else { return true };
        let Some(documents) = self.views[view as usize].get() else { return false };
        match name {
            "v2" => documents.v2.lock().is_some(),
            name => {
                let found = name.strip_prefix("v3/").and_then(|name| documents.by_path.get(name));
                let in_protobuf = wanted(headers, &V3_FORMS) == Some(true);
                found.is_none_or(|document| !in_protobuf || document.protobuf.get().is_some())
            }
        }
    }

    /// Lets go of the document that only old clients want.
    pub(crate) fn forget_v2(&self, view: View) {
        if let Some(documents) = self.views[view as usize].get() {
            documents.v2.lock().take();
        }
    }

    fn document(&self, view: View, name: &str, query: Option<&str>, headers: &HeaderMap) -> Response<Body> {
        let documents = self.documents(view);
        if name.is_empty() {
            let mut answer = response(StatusCode::OK, "text/plain; charset=utf-8", documents.index.clone());
            set(&mut answer, CACHE_CONTROL, PRIVATE);
            return answer;
        }
        let Some(document) = documents.by_path.get(name) else {
            return empty(StatusCode::NOT_FOUND);
        };
        let Some(in_protobuf) = wanted(headers, &V3_FORMS) else {
            return varied(empty(StatusCode::NOT_ACCEPTABLE));
        };
        let asked = query.into_iter().flat_map(|query| query.split('&')).find_map(|part| part.strip_prefix("hash="));
        if asked.is_some_and(|hash| hash != document.json.hash()) {
            let mut answer = empty(StatusCode::MOVED_PERMANENTLY);
            set(&mut answer, LOCATION, &address(name, document.json.hash()));
            return answer;
        }
        let mut answer = varied(if in_protobuf {
            document.v3().answer(V3_ANSWERED, headers)
        } else {
            document.json.answer(JSON, headers)
        });
        let caching = if asked.is_some() { "public, immutable, max-age=31536000" } else { PRIVATE };
        set(&mut answer, CACHE_CONTROL, caching);
        answer
    }

    fn v2(&self, view: View, headers: &HeaderMap) -> Response<Body> {
        let Some(protobuf) = wanted(headers, &[(JSON, false), (V2_ASKED, true), (V2_ANSWERED, true)]) else {
            return varied(empty(StatusCode::NOT_ACCEPTABLE));
        };
        let documents = self.documents(view);
        let kept = documents.v2.lock().clone();
        let whole = kept.unwrap_or_else(|| {
            let made = whole(documents);
            *documents.v2.lock() = Some(made.clone());
            made
        });
        let in_protobuf = whole.protobuf.get().filter(|_| protobuf);
        let mut answer = varied(match in_protobuf {
            Some(binary) => binary.answer(V2_ANSWERED, headers),
            None => whole.json.answer(JSON, headers),
        });
        set(&mut answer, CACHE_CONTROL, PRIVATE);
        answer
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
        let mut plain = |path: String, make: &Plain<'_>| {
            let root = format!("/{path}/");
            let shared = made.and_then(|(_, _, made)| made.by_path.get(&path));
            let made = shared.cloned().unwrap_or_else(|| {
                let (mut paths, mut components) = (Map::new(), schemas::Components::new(&self.catalog));
                make(&mut paths, &mut components, &root);
                Document::new(packed(&document(false, paths, components.finish(&[]))))
            });
            by_path.insert(path, made);
        };
        for (path, name, media, type_name) in paths::PLAIN {
            plain(path.trim_matches('/').to_owned(), &|paths, components, path| {
                let text = || json!({"type": "string"});
                let answer = type_name.map_or_else(text, |type_name| components.builtin(type_name));
                paths::add_plain(paths, path, name, vec![media], answer);
            });
        }
        for (root, about) in [("api", ("APIVersions", "APIVersions")), ("apis", ("APIGroupList", "APIVersions"))] {
            plain(root.to_owned(), &|paths, components, path| paths::add_discovery(paths, components, path, about));
        }
        let shown = |kinds: &[Arc<Kind>]| kinds.iter().any(|kind| kind.builtin && view.shows(kind));
        for group in self.catalog.groups().iter().filter(|group| !group.name.is_empty()) {
            if group.versions.iter().any(|version| shown(&version.kinds)) {
                let about = ("APIGroup", "APIGroup");
                plain(format!("apis/{}", group.name), &|paths, components, path| {
                    paths::add_discovery(paths, components, path, about);
                });
            }
        }
        for group in self.catalog.groups() {
            let root = if group.name.is_empty() { "api".to_owned() } else { format!("apis/{}", group.name) };
            for version in &group.versions {
                let kinds: Vec<&Arc<Kind>> = version.kinds.iter().filter(|kind| view.shows(kind)).collect();
                if kinds.is_empty() {
                    continue;
                }
                let path = format!("{root}/{}", version.name);
                // A document of the same kinds is the same document.
                let named = (group.name.as_str(), version.name.as_str());
                let shared = made.filter(|(other, view, _)| has(other, *view, named, &kinds));
                let shared = shared.and_then(|(_, _, made)| made.by_path.get(&path));
                let made =
                    shared.cloned().unwrap_or_else(|| Document::new(packed(&self.group_version(&path, named, &kinds))));
                by_path.insert(path, made);
            }
        }
        let index: Map<String, Value> = by_path
            .iter()
            .map(|(path, document)| (path.clone(), json!({"serverRelativeURL": address(path, document.json.hash())})))
            .collect();
        Documents { by_path, index: Bytes::from(json!({"paths": index}).to_string()), v2: Mutex::default() }
    }

    /// The document of one group version.
    fn group_version(&self, path: &str, named: (&str, &str), kinds: &[&Arc<Kind>]) -> Value {
        let mut components = schemas::Components::new(&self.catalog);
        let mut operations = Map::new();
        for kind in kinds {
            paths::add(&mut operations, &mut components, &format!("/{path}"), kind);
        }
        let custom = kinds.iter().all(|kind| !kind.builtin);
        let mut schemas = if custom {
            components.finish(&versions::known(true))
        } else {
            let about = ("APIResourceList", "APIResources");
            paths::add_discovery(&mut operations, &mut components, &format!("/{path}/"), about);
            let mut all = vec![("", "v1"), named];
            all.dedup();
            components.finish(&all)
        };
        if self.arktos {
            schemas::add_tenant(&mut schemas);
        }
        document(custom, operations, schemas)
    }
}

/// A document, of custom kinds or of what is built in.
fn document(custom: bool, paths: Map<String, Value>, schemas: Map<String, Value>) -> Value {
    let (title, version) = if custom { ("Kubernetes CRD Swagger", "v0.1.0") } else { (TITLE, VERSION) };
    let mut components = Map::new();
    if !schemas.is_empty() {
        components.insert("schemas".to_owned(), Value::Object(schemas));
    }
    if !custom {
        components.insert("securitySchemes".to_owned(), security());
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": components,
    })
}

/// How clients say who they are.
fn security() -> Value {
    json!({"BearerToken": {
        "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
    }})
}

/// The v2 document of all that these say.
fn whole(documents: &Documents) -> Arc<Document> {
    let whole = v2::Whole::of(documents.by_path.values().map(|document| document.json.body()));
    let json = Packed::new(whole.json().as_bytes());
    let protobuf = OnceLock::from(Packed::named(&whole.protobuf(), json.hash().to_owned()));
    Arc::new(Document { json, protobuf })
}

fn packed(document: &Value) -> Packed {
    Packed::new(document.to_string().as_bytes())
}

/// The forms of a document of v3, and whether they are protobuf.
const V3_FORMS: [(&str, bool); 3] = [(JSON, false), (V3_ASKED, true), (V3_ANSWERED, true)];

/// What a client wants most of what there is.
fn wanted<T: Copy>(headers: &HeaderMap, available: &[(&str, T)]) -> Option<T> {
    let header = negotiate::header_text(headers, ACCEPT);
    let all = negotiate::clauses(if header.is_empty() { "*/*" } else { &header });
    all.iter().find_map(|clause| available.iter().find(|(form, _)| clause.takes(form)).map(|(_, what)| *what))
}

/// Whether a view of a catalog shows these kinds, and no others, of a group version.
fn has(catalog: &Catalog, view: View, (group, version): (&str, &str), kinds: &[&Arc<Kind>]) -> bool {
    let versions = catalog.group(group).map_or(&[][..], |group| &group.versions);
    let Some(version) = versions.iter().find(|known| known.name == version) else { return false };
    let shown = version.kinds.iter().filter(|kind| view.shows(kind));
    shown.clone().count() == kinds.len() && shown.zip(kinds).all(|(one, other)| Arc::ptr_eq(one, other))
}

fn address(path: &str, hash: &str) -> String {
    format!("{ROOT}/{path}?hash={hash}")
}

fn varied(mut answer: Response<Body>) -> Response<Body> {
    set(&mut answer, VARY, "Accept-Encoding");
    answer.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    answer
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    set(&mut answer, CACHE_CONTROL, PRIVATE);
    answer
}

fn set(answer: &mut Response<Body>, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        answer.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests;
