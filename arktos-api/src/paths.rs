//! Paths that are no resource's: health, discovery, OpenAPI.

use std::borrow::Cow;

use arktos_core::catalog::Catalog;
use arktos_core::{Dialect, Reason, Status};
use http::header::{CONNECTION, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Response, StatusCode, Uri};

use crate::body::Body;
use crate::compat;
use crate::discovery::View;
use crate::health;
use crate::query::method_not_allowed;
use crate::reply;
use crate::request::{RequestInfo, TenantPart, not_found};
use crate::server::{Head, State};

/// Answers.
///
/// # Errors
/// 404 for a path that nothing is at.
pub(crate) async fn handle(state: &State, head: &Head) -> Result<Response<Body>, Status> {
    let path = head.info.path.as_str();
    if let Some(answer) = health::answer(state, head) {
        return Ok(answer);
    }
    if let (Some(observer), "/metrics") = (&state.config.observer, path) {
        return match head.method {
            // Whoever may read all paths of a tenant may not look at all tenants.
            _ if !head.identity.is_system() => Err(not_for_tenants(head)),
            Method::GET | Method::HEAD => Ok(metrics(observer.metrics())),
            _ => Err(method_not_allowed()),
        };
    }
    if let Some(answer) = crate::tokens::discovery::answer(state, head) {
        return answer;
    }
    let view = view(head);
    let tenant = match &head.info.tenant {
        TenantPart::Named(tenant) => Some(tenant),
        TenantPart::Own => head.identity.tenant.as_ref(),
        TenantPart::All => None,
    };
    let told = state.kinds.described_to(tenant, compat::serves(state, &head.info));
    if let Some(answer) = told.discovery.answer(view, &head.method, path, &head.headers) {
        return answer;
    }
    if !path.starts_with("/openapi") {
        return absent(path);
    }
    // Documents are found by their paths as they are.
    let path = if head.path.ends_with('/') { Cow::from(format!("{path}/")) } else { path.into() };
    let whose = tenant.map_or("", |tenant| tenant.as_str());
    state.builds.ready(&told.openapi, whose, (view, &path, &head.headers)).await;
    told.openapi.answer(view, &path, head.raw_query.as_deref(), &head.headers).unwrap_or_else(|| absent(&path))
}

/// What upstream's HTTP library answers by itself, before anybody is asked who it is.
pub(crate) fn answered_by_go(parts: &http::request::Parts) -> Option<Response<Body>> {
    let path = parts.uri.path();
    if path == "*" && parts.method == Method::OPTIONS {
        return Some(Response::new(Body::empty()));
    }
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let broken = |rest: &str| !(is_hex(rest.as_bytes().first()) && is_hex(rest.as_bytes().get(1)));
    if !path.split('%').skip(1).any(broken) {
        return None;
    }
    let mut answer = Response::new(Body::full("400 Bad Request"));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if parts.version < http::Version::HTTP_2 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Some(answer)
}

/// The answer to a path of which nothing could be read.
///
/// # Errors
/// Why it could not, where that is said by the API.
pub(crate) fn unread(uri: &Uri, read: Result<RequestInfo, Status>) -> Result<Response<Body>, Status> {
    let Err(why) = read else { return Ok(nothing_there()) };
    if why.code == 500 {
        let asked = uri.path_and_query().map_or("", PathAndQuery::as_str);
        let own = without_tenant(asked);
        let text = format!("Internal Server Error: {own:?}: failed to create RequestInfo: {}, {own}", why.message);
        return Ok(reply::text(500, text));
    }
    if why.is(Reason::NotFound) {
        return Err(why).or_else(|why| absent(without_tenant(uri.path())).map_err(|_| why));
    }
    Err(why)
}

/// A path without the prefix of a tenant, as it was sent.
fn without_tenant(path: &str) -> &str {
    let rest = path.strip_prefix("/tenants/").and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)));
    rest.unwrap_or(path)
}

/// 404, where nothing is: said by the API below what is built in, and on a page elsewhere, as upstream has it.
///
/// # Errors
/// 404.
pub(crate) fn absent(path: &str) -> Result<Response<Body>, Status> {
    const ROOTS: [&str; 4] = ["/api", "/version", "/.well-known/openid-configuration", "/openid/v1/jwks"];
    let is_below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let group = path.strip_prefix("/apis/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let is_builtin = !group.is_empty() && Catalog::builtin().group(group).is_some();
    if is_builtin || ROOTS.into_iter().any(is_below) { Err(not_found()) } else { Ok(nothing_there()) }
}

fn not_for_tenants(head: &Head) -> Status {
    let user = &head.identity.user;
    let text = format!("forbidden: User {user:?} cannot get path \"/metrics\": metrics are about all tenants");
    Status::failure(Reason::Forbidden, text)
}

fn metrics(text: String) -> Response<Body> {
    let mut response = reply::text(200, text);
    let format = http::HeaderValue::from_static(METRICS_TYPE);
    response.headers_mut().insert(http::header::CONTENT_TYPE, format);
    response
}

/// Prometheus's text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// 404, as text, as upstream answers outside of the API.
pub(crate) fn nothing_there() -> Response<Body> {
    reply::text(404, "404 page not found\n")
}

/// What of the kinds there are a client is shown: the tenant's own, unless it is `system` that asks.
pub(crate) fn view(head: &Head) -> View {
    let system = match &head.info.tenant {
        TenantPart::Named(tenant) => tenant.is_system() && head.identity.is_system(),
        TenantPart::Own | TenantPart::All => head.identity.is_system(),
    };
    match (system, head.info.dialect) {
        (false, _) => View::Tenant,
        (true, Dialect::Plain) => View::Cluster,
        (true, _) => View::Region,
    }
}
