//! Tokens of service accounts: signed JWTs, for audiences, for a time, and bound to objects.
//!
//! | question | module |
//! |---|---|
//! | what signs a token, and what shows who signed it | [`keys`] |
//! | what a token says | `issue` |
//! | whose token it is, and whether it still counts | `check` |
//! | where others learn what to check with | `discovery` |
//!
//! Each tenant has keys of its own: what another tenant's accounts are called is no concern of whoever trusts this
//! one's.

pub(crate) mod check;
pub(crate) mod discovery;
pub(crate) mod issue;
pub mod keys;

use arktos_core::{GroupResource, ObjectKey, TenantName};

/// Where a token says whose it is: upstream's claim.
const KUBERNETES: &str = "kubernetes.io";
/// Where it says which tenant's.
const ARKTOS: &str = "arktos.io";

/// What tokens can be bound to, by kind.
const BINDABLE: [(&str, &str); 3] = [("Pod", "pods"), ("Node", "nodes"), ("Secret", "secrets")];

/// The key of something that a token is about.
fn key_of(tenant: &TenantName, namespace: &str, resource: &str, name: &str) -> Option<ObjectKey> {
    if name.is_empty() || name.contains('/') || namespace.contains('/') {
        return None;
    }
    let resource = GroupResource::core(resource);
    Some(match resource.as_str() {
        "nodes" => ObjectKey::region_scoped(resource, name),
        _ => ObjectKey::namespaced(resource, tenant, namespace, name),
    })
}
