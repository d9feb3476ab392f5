//! Where a request goes, as its path says.

use arktos_core::TenantName;
use http::Method;

/// The resources of the region's directory.
const DIRECTORY: [&str; 3] = ["tenantpartitions", "resourcemanagers", "tenantplacements"];

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// To the partition of the tenant that its path names.
    Tenant(String),
    /// To the partition of the tenant that its identity belongs to.
    Identity,
    /// To whoever sees all tenants.
    AllTenants,
    /// To whoever sees all tenants or, as no other can be meant, to the partition of the tenant that its field selector
    /// names.
    OneOfAll {
        /// Its name.
        tenant: String,
        /// Whether it is asked what becomes of it, and not how it is.
        watches: bool,
    },
    /// To the partition in which a new tenant is placed.
    NewTenant,
    /// To the partition of the tenant whose quota its body is to create.
    NewQuota,
    /// To the partition of the tenant whose quota its path names.
    Quota(String),
    /// To a resource manager.
    Hosts,
    /// To the directory.
    Directory,
}

/// Reads as much of a request's target as decides where it goes. What is wrong with the rest, the backend says.
pub(super) fn destination(method: &Method, uri: &http::Uri) -> Destination {
    match by_path(method, uri.path()) {
        Destination::AllTenants if of_tenants(uri.path()) => {
            let one = |tenant| Destination::OneOfAll { tenant, watches: watches(uri) };
            uri.query().and_then(selected).map_or(Destination::AllTenants, one)
        }
        destination => destination,
    }
}

/// Whether a path is that of all tenants, or of all their quotas: objects that are named as tenants are.
fn of_tenants(path: &str) -> bool {
    matches!(path.rsplit('/').find(|part| !part.is_empty()), Some("tenants" | "tenantquotas"))
}

/// Whether a request for a list is one for a watch.
pub(super) fn watches(uri: &http::Uri) -> bool {
    let wanted = |part: &str| match part.strip_prefix("watch") {
        Some("") => true,
        Some(rest) => rest.strip_prefix('=').is_some_and(|value| !matches!(value, "false" | "0")),
        None => false,
    };
    uri.path().contains("/watch/") || uri.query().is_some_and(|query| query.split('&').any(wanted))
}

/// The name that a field selector in a query asks for, where it asks for one.
fn selected(query: &str) -> Option<String> {
    let selector = query.split('&').find_map(|part| part.strip_prefix("fieldSelector="))?;
    // Nothing else has to be encoded in a selector of one tenant; what is, asks for no tenant.
    let selector = selector.replace("%3D", "=").replace("%3d", "=").replace("%2C", ",").replace("%2c", ",");
    let name = selector.split(',').find_map(|term| term.strip_prefix("metadata.name="))?;
    let name = name.strip_prefix('=').unwrap_or(name);
    TenantName::new(name).ok().map(|name| name.to_string())
}

fn by_path(method: &Method, path: &str) -> Destination {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if let ["tenants", tenant, ..] = parts.as_slice() {
        return named(tenant);
    }
    let (group, rest) = match parts.as_slice() {
        ["api", _version, rest @ ..] => ("", rest),
        ["apis", group, _version, rest @ ..] => (*group, rest),
        _ => return Destination::Identity,
    };
    // The old paths of watches are about the same.
    let rest = match rest {
        ["watch", rest @ ..] if !rest.is_empty() && method == Method::GET => rest,
        rest => rest,
    };
    match rest {
        ["tenants"] if method == Method::POST => Destination::NewTenant,
        ["tenants"] => Destination::AllTenants,
        ["tenants", tenant, rest @ ..] if *tenant == TenantName::SYSTEM && of_hosts(group, rest) => Destination::Hosts,
        ["tenants", tenant, ..] => named(tenant),
        rest if of_hosts(group, rest) => Destination::Hosts,
        [resource, ..] if group == "region.arktos.io" && DIRECTORY.contains(resource) => Destination::Directory,
        ["tenantquotas"] if group == "region.arktos.io" && method == Method::POST => Destination::NewQuota,
        ["tenantquotas"] if group == "region.arktos.io" => Destination::AllTenants,
        ["tenantquotas", tenant, ..] if group == "region.arktos.io" => Destination::Quota((*tenant).to_owned()),
        _ => Destination::Identity,
    }
}

fn named(tenant: &str) -> Destination {
    if tenant == TenantName::ALL { Destination::AllTenants } else { Destination::Tenant(tenant.to_owned()) }
}

/// The tenant whose discovery is asked for in a query.
pub(super) fn discovered(uri: &http::Uri) -> Option<&str> {
    let tenant = uri.query()?.split('&').find_map(|part| part.strip_prefix("tenant="))?;
    let first = uri.path().split('/').nth(1);
    let is_discovery =
        matches!(first, Some("api" | "apis" | "openapi")) && arktos_api::resource_in(uri.path()).is_none();
    (is_discovery && !matches!(tenant, "" | TenantName::ALL)).then_some(tenant)
}

/// Whether a path is about what a node has at its resource manager: pods, and what they name.
pub(super) fn of_pods(path: &str) -> bool {
    path.starts_with("/api/v1/") || path.starts_with("/apis/resource.k8s.io/")
}

fn of_hosts(group: &str, rest: &[&str]) -> bool {
    match (group, rest) {
        ("", ["nodes", ..]) | ("storage.k8s.io", ["csinodes", ..]) => true,
        ("coordination.k8s.io", ["namespaces", namespace, "leases", ..]) => {
            *namespace == crate::hollow::LEASE_NAMESPACE
        }
        ("region.arktos.io", ["claims" | "claimreviews", ..]) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_clients_name_the_tenant_of_their_discovery_in_the_query() {
        let tenant = |text: &'static str| discovered(&http::Uri::from_static(text)).map(str::to_owned);
        assert_eq!(tenant("/apis/apps/v1?timeout=32s&tenant=acme"), Some("acme".to_owned()));
        assert_eq!(tenant("/api?tenant=acme"), Some("acme".to_owned()));
        assert_eq!(tenant("/openapi/v2?tenant=acme"), Some("acme".to_owned()));
        for path in ["/api/v1/pods?tenant=acme", "/apis?tenant=", "/apis?tenant=all", "/apis", "/version?tenant=acme"] {
            assert_eq!(tenant(path), None, "{path}");
        }
    }

    #[test]
    fn paths_decide_where_requests_go() {
        let tenant = |name: &str| Destination::Tenant(name.to_owned());
        for (method, path, expected) in [
            (Method::GET, "/api/v1/pods", Destination::Identity),
            (Method::GET, "/version", Destination::Identity),
            (Method::GET, "/tenants/acme/api/v1/pods", tenant("acme")),
            (Method::GET, "/api/v1/tenants/acme/namespaces/x/pods", tenant("acme")),
            (Method::GET, "/apis/apps/v1/tenants/acme/deployments", tenant("acme")),
            (Method::GET, "/api/v1/tenants/acme", tenant("acme")),
            (Method::PUT, "/api/v1/tenants/acme/status", tenant("acme")),
            (Method::POST, "/api/v1/tenants", Destination::NewTenant),
            (Method::GET, "/api/v1/tenants", Destination::AllTenants),
            (Method::GET, "/api/v1/tenants/all/pods", Destination::AllTenants),
            (Method::GET, "/api/v1/nodes/n1/status", Destination::Hosts),
            (Method::GET, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", Destination::Hosts),
            (
                Method::GET,
                "/apis/coordination.k8s.io/v1/tenants/system/namespaces/kube-node-lease/leases",
                Destination::Hosts,
            ),
            (
                Method::GET,
                "/apis/coordination.k8s.io/v1/tenants/acme/namespaces/kube-node-lease/leases",
                tenant("acme"),
            ),
            (Method::GET, "/tenants/acme/api/v1/nodes", tenant("acme")),
            (Method::GET, "/api/v1/watch/nodes", Destination::Hosts),
            (Method::GET, "/api/v1/watch/tenants", Destination::AllTenants),
            (Method::GET, "/api/v1/watch/pods", Destination::Identity),
            (Method::POST, "/apis/region.arktos.io/v1/claimreviews", Destination::Hosts),
            (Method::GET, "/apis/region.arktos.io/v1/tenantpartitions/tp-1", Destination::Directory),
            (Method::GET, "/apis/region.arktos.io/v1/tenantquotas", Destination::AllTenants),
            (Method::POST, "/apis/region.arktos.io/v1/tenantquotas", Destination::NewQuota),
            (Method::PATCH, "/apis/region.arktos.io/v1/tenantquotas/acme", Destination::Quota("acme".to_owned())),
        ] {
            assert_eq!(destination(&method, &path.parse().expect("a target")), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_field_selector_may_name_the_only_tenant_that_is_meant() {
        let to = |target: &'static str| destination(&Method::GET, &http::Uri::from_static(target));
        let one_of = |watches| move |name: &str| Destination::OneOfAll { tenant: name.to_owned(), watches };
        let (one, watched) = (one_of(false), one_of(true));
        assert_eq!(to("/api/v1/tenants?fieldSelector=metadata.name%3Dacme&limit=500"), one("acme"));
        assert_eq!(to("/api/v1/tenants?watch=true&fieldSelector=a%3Db%2Cmetadata.name%3D%3Dacme"), watched("acme"));
        assert_eq!(to("/api/v1/watch/tenants?fieldSelector=metadata.name=acme"), watched("acme"));
        assert_eq!(to("/api/v1/tenants?watch=0&fieldSelector=metadata.name=acme"), one("acme"));
        assert_eq!(to("/apis/region.arktos.io/v1/tenantquotas?fieldSelector=metadata.name%3Dacme"), one("acme"));
        for other in [
            "/api/v1/tenants",
            "/api/v1/tenants?fieldSelector=metadata.name%21%3Dacme",
            "/api/v1/tenants?fieldSelector=status.phase%3DActive",
            "/api/v1/tenants?fieldSelector=metadata.name%3Dall",
            "/api/v1/tenants/all/pods?fieldSelector=metadata.name%3Dacme",
        ] {
            assert_eq!(to(other), Destination::AllTenants, "{other}");
        }
    }
}
