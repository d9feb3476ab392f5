//! What Arktos's own clients, which are of Kubernetes 1.15, find otherwise than everybody else: `--arktos-compat`.
//!
//! All of it is on Arktos's own paths, full and short, and nowhere else. The URL prefix of a tenant leads to a plain
//! Kubernetes of today, with this or without.
//!
//! | what | where |
//! |---|---|
//! | old versions (`extensions/v1beta1`, …), and which come first | [`arktos_core::Catalog::with_old_versions`] |
//! | `selfLink` and `hashKey` of objects, `selfLink` of lists | [`write_meta`], [`Links`] |
//! | discovery says of resources that they are `tenanted`; OpenAPI knows `metadata.tenant` | `discovery`, `openapi` |
//! | discovery and OpenAPI of the tenant that `?tenant=` names | [`discover_tenant`] |
//! | lists of a tenant's roles show those that it has, without what all tenants have | [`hides`] |
//! | cluster role bindings of `system` hold in all tenants, for its users; a refusal names the tenant | `authorize`, [`refused`] |
//! | a namespace that may not be deleted is named with its tenant | [`name`] |
//! | the table of tenants has a column for their store | [`shown`] |

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;

use arktos_core::catalog::Kind;
use arktos_core::{Dialect, GroupResource, Scope, Status, TenantName};
use arktos_store::Stored;

use crate::call::Call;
use crate::query::QueryMap;
use crate::request::{RequestInfo, TenantPart, tenant_part};
use crate::server::State;

/// Whether a request is answered as Arktos's own clients want it.
pub(crate) fn serves(state: &State, info: &RequestInfo) -> bool {
    state.config.arktos_compat && info.dialect == Dialect::Arktos
}

/// Discovery takes the tenant from `?tenant=`: as if the path had named it, so that it is authorized like any other.
///
/// # Errors
/// 404 for what is no name of a tenant.
pub(crate) fn discover_tenant(state: &State, info: &mut RequestInfo, query: &QueryMap) -> Result<(), Status> {
    let first = info.path.split('/').nth(1);
    let is_discovery = info.resource.is_none() && matches!(first, Some("api" | "apis" | "openapi"));
    let named = query.get("tenant");
    if is_discovery && info.tenant == TenantPart::Own && !named.is_empty() && serves(state, info) {
        info.tenant = tenant_part(named)?;
    }
    Ok(())
}

/// The kind that the objects of an answer are shown as, and what links there are in it; `path` is what was asked.
pub(crate) fn shown(call: &Call<'_>, path: &str) -> (Arc<Kind>, Option<Links>) {
    let kind = &call.kind;
    let old = call.state.kinds.old().filter(|_| call.old);
    let shown = old.and_then(|old| old.by_path(&kind.group, &kind.version, &kind.resource));
    (shown.unwrap_or_else(|| kind.clone()), call.old.then(|| Links { list: path.into() }))
}

/// Whether a list shows only what the tenant has itself. Arktos gives each tenant roles of its own, and no others.
pub(crate) fn hides(call: &Call<'_>, resource: &GroupResource) -> bool {
    let own = call.tenant.as_ref().is_some_and(|tenant| !tenant.is_system());
    call.old && own && resource.group() == "rbac.authorization.k8s.io"
}

/// A refusal of what is in no namespace names the tenant, and no reasons.
pub(crate) fn refused(state: &State, info: &RequestInfo, tenant: Option<&TenantName>, mut status: Status) -> Status {
    let at = status.message.rfind(" at the cluster scope");
    if let Some(at) = at.filter(|_| serves(state, info)) {
        status.message.truncate(at);
        status.message.push_str(&format!(" in the tenant {:?}", tenant.map_or(TenantName::ALL, TenantName::as_str)));
    }
    status
}

/// The name of an object in a refusal: a namespace's with its tenant.
pub(crate) fn name<'a>(call: &Call<'_>, name: &'a str) -> Cow<'a, str> {
    match &call.tenant {
        Some(tenant) if call.old && call.kind.storage_resource.as_str() == "namespaces" => {
            format!("{tenant}/{name}").into()
        }
        _ => name.into(),
    }
}

/// The links of what a response shows.
#[derive(Debug, Clone)]
pub(crate) struct Links {
    /// The path that was asked.
    pub(crate) list: Arc<str>,
}

/// Writes what Arktos's own clients find in the metadata of an object of a kind, with a comma behind it.
pub(crate) fn write_meta(out: &mut Vec<u8>, kind: &Kind, stored: &Stored) {
    let _ = write!(
        out,
        r#""selfLink":"{}","hashKey":{},"#,
        self_link(kind, stored),
        hash_key(stored.object.header().uid())
    );
}

/// Where an object is. The tenant `system` is not named.
pub(crate) fn self_link(kind: &Kind, stored: &Stored) -> String {
    let (tenant, namespace, name) = stored.path.parts();
    let mut link = if kind.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", kind.group) };
    link = format!("{link}/{}", kind.version);
    if kind.scope != Scope::Region && !matches!(tenant, "" | TenantName::SYSTEM) {
        link = format!("{link}/tenants/{tenant}");
    }
    if kind.scope == Scope::Namespace {
        link = format!("{link}/namespaces/{namespace}");
    }
    format!("{link}/{}/{}", kind.resource, escaped(name))
}

/// A name as it stands in a path.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b':' | b';' | b'=' | b'@' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The hash of a uid by which Arktos's controllers divided objects among themselves: FNV-1a of 64 bits, folded into
/// what a signed number can hold.
pub(crate) fn hash_key(uid: &str) -> u64 {
    const LARGEST: u64 = i64::MAX.unsigned_abs();
    let hash = uid
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    if hash > LARGEST { hash - LARGEST } else { hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_a_link() {
        assert_eq!(escaped("system:node-7"), "system:node-7");
        assert_eq!(escaped("a\"b c"), "a%22b%20c");
    }

    #[test]
    fn the_hash_is_fnv_1a_and_fits_a_signed_number() {
        assert_eq!(hash_key(""), 0xcbf2_9ce4_8422_2325 - i64::MAX.unsigned_abs());
        assert_eq!(hash_key("foobar"), 0x8594_4171_f739_67e8 - i64::MAX.unsigned_abs());
        assert!(i64::try_from(hash_key("a")).is_ok());
    }
}
