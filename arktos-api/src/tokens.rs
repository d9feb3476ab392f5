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
use arktos_store::Engine;

pub(crate) use keys::Life;

/// Where a token says whose it is: upstream's claim.
const KUBERNETES: &str = "kubernetes.io";
/// Where it says which tenant's.
const ARKTOS: &str = "arktos.io";

/// What begins what an authenticator knows of an account beside its name.
const EXTRA: &str = "authentication.kubernetes.io/";
/// Under which the token itself is named.
const CREDENTIAL_ID: &str = "credential-id";
/// The same, whole: under which `extra` names the credential that somebody comes with, where that has a name.
pub const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// What tokens can be bound to, by kind.
const BINDABLE: [(&str, &str); 3] = [("Pod", "pods"), ("Node", "nodes"), ("Secret", "secrets")];

/// The tenant of a name that there is now.
pub(crate) fn life(engine: &Engine, tenant: TenantName) -> Option<Life> {
    let found = engine.snapshot().get(&crate::verbs::create::tenant_key(&tenant))?;
    Some(Life { tenant, uid: found.object.header().uid().to_owned() })
}

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
