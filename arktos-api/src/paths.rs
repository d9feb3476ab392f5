//! Paths that are no resource's: health, discovery, OpenAPI.

use std::collections::BTreeSet;

use arktos_core::{Dialect, Reason, Status};
use futures::FutureExt;
use http::{Method, Response};

use crate::body::Body;
use crate::compat;
use crate::discovery::View;
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
    if let Some(answer) = health(state, head, path) {
        return answer;
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

/// What is checked, by upstream's names. What it does after it has started is done here before anything is served.
const CHECKS: [&str; 7] = [
    "ping",
    "log",
    STORE,
    "poststarthook/crd-informer-synced",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/start-system-namespaces-controller",
];
/// The store, whichever it is.
const STORE: &str = "etcd";
/// What `/readyz` checks beside.
const STORE_READY: &str = "etcd-readiness";

fn checks(name: &str) -> impl Iterator<Item = &'static str> {
    let ready = (name == "readyz").then_some(STORE_READY);
    CHECKS.iter().copied().flat_map(move |check| [Some(check), ready.filter(|_| check == STORE)]).flatten()
}

/// Whether a request asks how the server is doing: that waits for nobody.
pub(crate) fn is_health(head: &Head) -> bool {
    let first = head.info.path.split('/').nth(1);
    head.info.resource.is_none() && matches!(first, Some("healthz" | "livez" | "readyz"))
}

fn health(state: &State, head: &Head, path: &str) -> Option<Result<Response<Body>, Status>> {
    let rest = path.strip_prefix('/')?;
    let (name, check) = rest.split_once('/').map_or((rest, None), |(name, check)| (name, Some(check)));
    if !matches!(name, "healthz" | "livez" | "readyz") {
        return None;
    }
    if head.path.ends_with('/') {
        return Some(Ok(nothing_there()));
    }
    Some(Ok(match check {
        Some(check) if checks(name).any(|known| known == check) => one_check(state, check),
        Some(_) => nothing_there(),
        None => all_checks(state, head, name),
    }))
}

fn one_check(state: &State, check: &str) -> Response<Body> {
    if !passes(state, check) {
        return reply::text(500, "internal server error: failed");
    }
    let mut fine = reply::text(200, "ok");
    fine.headers_mut().remove(http::header::X_CONTENT_TYPE_OPTIONS); // of one check upstream does not say it
    fine
}

fn passes(state: &State, check: &str) -> bool {
    // Where the newest state is at hand at once (or is waited for), the store is there.
    !matches!(check, STORE | STORE_READY) || !matches!(state.config.engine.latest().now_or_never(), Some(Err(_)))
}

fn all_checks(state: &State, head: &Head, name: &str) -> Response<Body> {
    let mut excluded: BTreeSet<&str> = head.query.all("exclude").collect();
    let mut lines = String::new();
    let mut failed = false;
    for check in checks(name) {
        if excluded.remove(check) {
            lines.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if passes(state, check) {
            lines.push_str(&format!("[+]{check} ok\n"));
        } else {
            failed = true;
            lines.push_str(&format!("[-]{check} failed: reason withheld\n"));
        }
    }
    if !excluded.is_empty() {
        let unknown = excluded.iter().map(|check| format!("{check:?}")).collect::<Vec<_>>().join(",");
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {unknown}\n"));
    }
    if failed {
        return reply::text(500, format!("{lines}{name} check failed\n"));
    }
    if head.query.find("verbose").is_some() {
        return reply::text(200, format!("{lines}{name} check passed\n"));
    }
    reply::text(200, "ok")
}
