//! Where a server keeps what a client asks for.

use arktos_core::catalog::Kind;
use arktos_core::{FieldSelector, ObjectPath, Scope};
use arktos_store::{Query, Within};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a path segment or a query value may hold as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a query selects, of a tenant as the URL names it (empty: it names none), with more parameters.
pub(super) fn query(kind: &Kind, tenant: &str, query: &Query, more: &[(&str, &str)]) -> String {
    let mut fields = query.fields.clone();
    let namespace = match &query.within {
        Within::Everywhere | Within::Tenant(_) => "",
        Within::Namespace(_, namespace) => namespace,
        Within::Object(path) => {
            fields.terms.extend(FieldSelector::equal("metadata.name", path.name()).terms);
            path.namespace()
        }
    };
    let mut url = collection(kind, tenant, namespace);
    let (labels, fields) = (query.labels.to_string(), fields.to_string());
    let selectors = [("labelSelector", labels.as_str()), ("fieldSelector", fields.as_str())];
    add_parameters(&mut url, &selectors);
    add_parameters(&mut url, more);
    url
}

/// Adds parameters to a URL, but for those without a value.
pub(super) fn add_parameters(url: &mut String, parameters: &[(&str, &str)]) {
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(name);
        url.push('=');
        url.extend(utf8_percent_encode(value, PLAIN));
    }
}

/// The objects of a kind in a tenant and a namespace (empty: all of them).
pub(super) fn collection(kind: &Kind, tenant: &str, namespace: &str) -> String {
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

/// One object, or a subresource of it.
pub(super) fn object(kind: &Kind, tenant: &str, path: &ObjectPath, subresource: Option<&str>) -> String {
    let mut url = collection(kind, tenant, path.namespace());
    for part in std::iter::once(path.name()).chain(subresource) {
        url.push('/');
        url.extend(utf8_percent_encode(part, PLAIN));
    }
    url
}
