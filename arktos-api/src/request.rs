//! What a request is about: the path, read once.

use std::borrow::Cow;

use arktos_core::{Dialect, FieldSelector, Reason, Status, TenantName};

/// What a path says. Nothing in it has been authorized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// Whose objects.
    pub(crate) tenant: TenantPart,
    /// What readers are shown beyond plain Kubernetes.
    pub(crate) dialect: Dialect,
    /// The path without its tenant, decoded, as non-resource rules and discovery see it.
    pub(crate) path: String,
    /// The resource; absent for discovery, health and other paths that are no resource's.
    pub(crate) resource: Option<ResourceInfo>,
}

/// The tenant that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TenantPart {
    /// None: the identity's.
    Own,
    /// This one.
    Named(TenantName),
    /// `all`: every tenant.
    All,
}

/// The resource that a path names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourceInfo {
    pub(crate) group: String,
    pub(crate) version: String,
    /// The namespace; a Namespace object counts as inside itself, as in upstream's rules.
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// What follows the subresource, as a proxy would pass it on.
    pub(crate) rest: Vec<String>,
    /// Whether the path is one of the old ones on which things are watched.
    pub(crate) watched: bool,
    /// The node whose objects alone are asked for, by a field selector.
    pub(crate) node: String,
}

impl ResourceInfo {
    /// Whether the path goes on where no resource does, or is that of a watch of a part: who may ask is told that
    /// nothing is there.
    pub(crate) fn is_beyond(&self) -> bool {
        self.watched && !self.subresource.is_empty() || self.subresource != "proxy" && !self.rest.is_empty()
    }

    /// What a request with a field selector is about. A list or a watch of one object counts as being about that
    /// object.
    pub(crate) fn selected<'a>(&'a self, verb: &str, selector: &str) -> Cow<'a, Self> {
        let (true, Ok(fields)) =
            (matches!(verb, "list" | "watch" | "deletecollection"), FieldSelector::parse(selector))
        else {
            return Cow::Borrowed(self);
        };
        let name = fields.required("metadata.name").filter(|_| verb != "deletecollection");
        let node = fields.required("spec.nodeName");
        if name.is_none() && node.is_none() {
            return Cow::Borrowed(self);
        }
        let or = |found: Option<&str>, own: &String| found.map_or_else(|| own.clone(), str::to_owned);
        Cow::Owned(Self { name: or(name, &self.name), node: or(node, &self.node), ..self.clone() })
    }
}

impl RequestInfo {
    /// What is known of a request of which nothing could be read.
    pub(crate) fn nothing() -> Self {
        Self::plain(&[])
    }

    /// Reads a path, still percent-encoded.
    ///
    /// # Errors
    /// 404 or 400 for a path that can name nothing.
    pub(crate) fn parse(path: &str) -> Result<Self, Status> {
        let (mut segments, mut illegal) = (segments(path)?, Vec::new());
        for segment in &mut segments {
            if is_illegal(segment) {
                illegal.push(std::mem::replace(segment, Cow::Borrowed(ILLEGAL)));
            }
        }
        let parts: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let info = match parts.as_slice() {
            ["tenants", tenant, rest @ ..] => {
                let info = Self { tenant: tenant_part(tenant)?, ..Self::plain(rest) };
                Self { resource: info.api_path(rest).map(resource).transpose()?, ..info }
            }
            rest => Self::arktos(rest)?,
        };
        match illegal.as_slice() {
            [] => Ok(info),
            [one] if info.resource.is_some_and(|resource| is_named_so(&resource)) => Err(bad_name(one)),
            _ => Err(not_found()),
        }
    }

    fn plain(parts: &[&str]) -> Self {
        let path = format!("/{}", parts.join("/"));
        Self { tenant: TenantPart::Own, dialect: Dialect::Plain, path, resource: None }
    }

    /// Arktos's own paths: the tenant stands before the namespace, or is the identity's.
    fn arktos(parts: &[&str]) -> Result<Self, Status> {
        let mut info = Self { dialect: Dialect::Arktos, ..Self::plain(parts) };
        let Some(mut api) = info.api_path(parts) else { return Ok(info) };
        match api.rest {
            ["tenants"] | ["tenants", _] | ["tenants", _, "status" | "finalize"] if api.group.is_empty() => {}
            ["tenants", tenant, rest @ ..] => {
                info.tenant = tenant_part(tenant)?;
                api.rest = rest;
                let without = parts.len() - rest.len() - 2;
                info.path = format!("/{}/{}", parts[..without].join("/"), rest.join("/"));
            }
            _ => {}
        }
        info.resource = Some(resource(api)?);
        Ok(info)
    }

    /// `/api/v1/…` and `/apis/group/version/…`, when something follows the version.
    #[allow(clippy::unused_self)] // reads better as a step of parsing
    fn api_path<'a>(&self, parts: &'a [&'a str]) -> Option<ApiPath<'a>> {
        match parts {
            ["api", version, rest @ ..] if !rest.is_empty() => Some(ApiPath { group: "", version, rest }),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => Some(ApiPath { group, version, rest }),
            _ => None,
        }
    }
}

/// The group, the version and the resource that a path names, as a server reads it; nothing for a path that names none:
/// for whoever must know before the server is asked.
#[must_use]
pub fn resource_in(path: &str) -> Option<(String, String, String)> {
    let resource = RequestInfo::parse(path).ok()?.resource?;
    Some((resource.group, resource.version, resource.resource))
}

struct ApiPath<'a> {
    group: &'a str,
    version: &'a str,
    rest: &'a [&'a str],
}

fn resource(api: ApiPath<'_>) -> Result<ResourceInfo, Status> {
    let (namespace, rest) = match api.rest {
        ["watch", inner, ..] if !matches!(*inner, "watch" | "proxy") => {
            let watched = resource(ApiPath { rest: &api.rest[1..], ..api })?;
            return Ok(ResourceInfo { watched: true, ..watched });
        }
        ["watch" | "proxy", _, ..] => return Err(not_found()),
        ["watch" | "proxy"] => return Err(Status::unexplained("unable to determine kind and namespace from url")),
        ["namespaces", name] | ["namespaces", name, "status" | "finalize"] => (*name, api.rest),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let mut parts = rest.iter().map(|part| (*part).to_owned());
    let mut next = || parts.next().unwrap_or_default();
    let info = ResourceInfo {
        group: api.group.to_owned(),
        version: api.version.to_owned(),
        namespace: namespace.to_owned(),
        resource: next(),
        name: next(),
        subresource: next(),
        ..ResourceInfo::default()
    };
    Ok(ResourceInfo { rest: parts.collect(), ..info })
}

pub(crate) fn tenant_part(name: &str) -> Result<TenantPart, Status> {
    if name == TenantName::ALL {
        return Ok(TenantPart::All);
    }
    TenantName::new(name).map(TenantPart::Named).map_err(|_| not_found())
}

/// The segments of a path, each percent-decoded once.
fn segments(path: &str) -> Result<Vec<Cow<'_, str>>, Status> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    inner.split('/').map(segment).collect()
}

fn segment(raw: &str) -> Result<Cow<'_, str>, Status> {
    percent_decode(raw, false).ok_or_else(not_found) // no name has other bytes
}

/// What stands for a segment that may not be one.
const ILLEGAL: &str = "\0";

fn is_illegal(text: &str) -> bool {
    matches!(text, "" | "." | "..") || text.bytes().any(|byte| matches!(byte, b'/' | b'%' | b'\\' | 0))
}

/// Parts of objects. A path with another one names nothing, whatever name it has.
const PARTS: [&str; 14] = [
    "approval",
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "finalize",
    "log",
    "portforward",
    "proxy",
    "resize",
    "scale",
    "status",
    "token",
];

/// Whether a path names an object, or a part of one, by what may be no name.
fn is_named_so(resource: &ResourceInfo) -> bool {
    let part = resource.subresource.as_str();
    resource.name == ILLEGAL && (part.is_empty() || PARTS.contains(&part)) && !resource.is_beyond()
}

/// The refusal of a path that ends in a name that may be none.
fn bad_name(name: &str) -> Status {
    let why = match name {
        "." | ".." => format!("may not be '{name}'"),
        _ if name.contains('%') => "may not contain '%'".to_owned(),
        _ => return not_found(),
    };
    Status::bad_request(format!("Name parameter invalid: {name:?}: {why}"))
}

/// Decodes `%xx` once (and, in queries, `+`). Absent when the result is not UTF-8.
pub(crate) fn percent_decode(raw: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    let encoded = raw.contains('%') || (plus_is_space && raw.contains('+'));
    if !encoded {
        return Some(Cow::Borrowed(raw));
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(raw.len()), raw.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                bytes.push(digit(high)? << 4 | digit(low)?);
                rest = after;
            }
            (b'+', after) if plus_is_space => {
                bytes.push(b' ');
                rest = after;
            }
            (byte, after) => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// 404 for a path that names nothing.
pub(crate) fn not_found() -> Status {
    let mut status = Status::failure(Reason::NotFound, "the server could not find the requested resource");
    status.details = Some(arktos_core::status::StatusDetails::default());
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(path: &str) -> RequestInfo {
        RequestInfo::parse(path).expect(path)
    }

    fn named(tenant: &str) -> TenantPart {
        TenantPart::Named(TenantName::new(tenant).expect("a tenant"))
    }

    #[test]
    fn three_forms_of_a_path_name_the_same_object() {
        let short = info("/apis/apps/v1/namespaces/default/deployments/web/scale");
        assert_eq!((short.tenant.clone(), short.dialect), (TenantPart::Own, Dialect::Arktos));
        let full = info("/apis/apps/v1/tenants/acme/namespaces/default/deployments/web/scale");
        assert_eq!((full.tenant.clone(), full.dialect), (named("acme"), Dialect::Arktos));
        let prefixed = info("/tenants/acme/apis/apps/v1/namespaces/default/deployments/web/scale");
        assert_eq!((prefixed.tenant.clone(), prefixed.dialect), (named("acme"), Dialect::Plain));
        assert_eq!(short.resource, full.resource);
        assert_eq!(short.resource, prefixed.resource);
        assert_eq!((&short.path, &short.path), (&full.path, &prefixed.path));
        let resource = short.resource.expect("a resource");
        assert_eq!((resource.group.as_str(), resource.version.as_str()), ("apps", "v1"));
        assert_eq!((resource.namespace.as_str(), resource.resource.as_str()), ("default", "deployments"));
        assert_eq!((resource.name.as_str(), resource.subresource.as_str()), ("web", "scale"));
    }

    #[test]
    fn a_tenant_is_an_object_and_a_prefix() {
        for (path, name, subresource) in [
            ("/api/v1/tenants", "", ""),
            ("/api/v1/tenants/acme", "acme", ""),
            ("/api/v1/tenants/acme/finalize", "acme", "finalize"),
        ] {
            let tenant = info(path);
            assert_eq!(tenant.tenant, TenantPart::Own, "{path}");
            let resource = tenant.resource.expect("a resource");
            let found = (resource.resource.as_str(), resource.name.as_str(), resource.subresource.as_str());
            assert_eq!(found, ("tenants", name, subresource));
        }
        assert_eq!(info("/api/v1/tenants/all/pods").tenant, TenantPart::All);
        let inner = info("/tenants/acme/api/v1/tenants/other/pods").resource.expect("a resource");
        assert_eq!((inner.resource.as_str(), inner.subresource.as_str()), ("tenants", "pods"));
    }

    #[test]
    fn a_namespace_is_inside_itself() {
        let namespace = info("/api/v1/namespaces/default").resource.expect("a resource");
        assert_eq!((namespace.namespace.as_str(), namespace.name.as_str()), ("default", "default"));
        let status = info("/api/v1/namespaces/default/status").resource.expect("a resource");
        assert_eq!((status.resource.as_str(), status.subresource.as_str()), ("namespaces", "status"));
        let all = info("/api/v1/namespaces").resource.expect("a resource");
        assert_eq!((all.namespace.as_str(), all.resource.as_str()), ("", "namespaces"));
    }

    #[test]
    fn paths_that_hide_something_name_nothing() {
        for path in [
            "/api/v1/watch/watch/pods",
            "/api/v1/proxy/namespaces/x/pods/y",
            "/api/v1/namespaces/a%2fb/pods",
            "/api/v1/namespaces/a%252fb/pods",
            "/api/v1/namespaces/../pods",
            "/api/v1/namespaces/%2e%2e/pods",
            "/api/v1//pods",
            "/api/v1/namespaces/x%00/pods",
            "/api/v1/namespaces/x/pods/../status/more",
            "/tenants/A/api/v1/pods",
        ] {
            assert!(RequestInfo::parse(path).is_err(), "{path}");
        }
        assert!(RequestInfo::parse("/api/v1/namespaces/%ff/pods").is_err_and(|status| status.code == 404));
    }

    #[test]
    fn a_name_that_may_be_none_is_told_apart_from_nothing() {
        for (path, why) in [
            ("/api/v1/namespaces/x/pods/..", "\"..\": may not be '..'"),
            ("/api/v1/namespaces/x/pods/a%252fb", "\"a%2fb\": may not contain '%'"),
            ("/apis/apps/v1/namespaces/x/deployments/%2e/scale", "\".\": may not be '.'"),
        ] {
            let refusal = RequestInfo::parse(path).expect_err(path);
            assert_eq!((refusal.code, refusal.message), (400, format!("Name parameter invalid: {why}")));
        }
        for path in [
            "/api/v1/namespaces/x/pods/a%2fb",
            "/apis/apps/v1/namespaces/x/deployments/a%2fb/scale",
            "/api/v1/namespaces/x/pods/../configmaps",
            "/api/v1/namespaces/x/pods/./a",
        ] {
            assert_eq!(RequestInfo::parse(path).expect_err(path).code, 404, "a part of a path, not of a name: {path}");
        }
        assert_eq!(RequestInfo::parse("/api/v1/watch").expect_err("names nothing").code, 500);
    }

    #[test]
    fn old_paths_are_watched() {
        let pods = info("/api/v1/watch/namespaces/x/pods").resource.expect("a resource");
        assert!(pods.watched);
        assert_eq!((pods.namespace.as_str(), pods.resource.as_str(), pods.name.as_str()), ("x", "pods", ""));
        let one = info("/apis/apps/v1/watch/namespaces/x/deployments/a").resource.expect("a resource");
        assert_eq!((one.watched, one.name.as_str()), (true, "a"));
        assert!(!info("/api/v1/namespaces/watch/pods").resource.expect("a resource").watched);
    }

    #[test]
    fn what_goes_on_where_no_resource_does_is_read_and_names_nothing() {
        for (path, is_beyond) in [
            ("/api/v1/nodes/x/y", false),
            ("/api/v1/nodes/x/y/z", true),
            ("/api/v1/namespaces/a/pods/b/proxy/x/y", false),
            ("/apis/apps/v1/namespaces/a/deployments/b/status/c", true),
            ("/api/v1/watch/nodes/x", false),
            ("/api/v1/watch/nodes/x/status", true),
        ] {
            let resource = info(path).resource.expect(path);
            assert_eq!((resource.is_beyond(), resource.name.is_empty()), (is_beyond, false), "{path}");
        }
    }

    #[test]
    fn what_is_no_resource_keeps_its_path() {
        for (path, seen) in [("/", "/"), ("/apis", "/apis"), ("/tenants/acme/version", "/version"), ("/api/", "/api")] {
            let info = info(path);
            assert_eq!((info.resource, info.path.as_str()), (None, seen));
        }
    }
}
