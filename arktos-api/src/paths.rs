//! Paths that are no resource's: health, discovery, OpenAPI.

use arktos_core::{Dialect, Reason, Status};
use http::{Method, Response};

use crate::body::Body;
use crate::compat;
use crate::discovery::View;
use crate::health;
use crate::query::method_not_allowed;
use crate::reply;
use crate::request::TenantPart;
use crate::server::{Head, State};

/// Answers.
///
/// # Errors
/// 404 for a path that nothing is at.
pub(crate) fn handle(state: &State, head: &Head) -> Result<Response<Body>, Status> {
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
    let discovered = told.discovery.answer(view, &head.method, path, &head.headers);
    let described = || told.openapi.answer(view, path, head.raw_query.as_deref(), &head.headers);
    discovered.or_else(described).unwrap_or_else(|| Ok(nothing_there()))
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
