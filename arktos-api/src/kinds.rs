//! Which kinds there are, as a tenant sees them.

use std::sync::Arc;

use arktos_core::catalog::{Catalog, Kind};
use arktos_core::{GroupResource, TenantName};

/// The one place where a kind is looked up. Every look-up names the tenant: built-in kinds are the same for all, a
/// tenant's own kinds are found here as well once there are any.
#[derive(Clone)]
pub(crate) struct Kinds {
    builtin: Arc<Catalog>,
}

impl Kinds {
    pub(crate) fn new(builtin: Arc<Catalog>) -> Self {
        Self { builtin }
    }

    /// The kinds that a tenant sees.
    pub(crate) fn catalog(&self, _tenant: Option<&TenantName>) -> &Arc<Catalog> {
        &self.builtin
    }

    /// The kind that a path names.
    pub(crate) fn find(&self, tenant: &TenantName, group: &str, version: &str, resource: &str) -> Option<Arc<Kind>> {
        let catalog = self.catalog(Some(tenant));
        catalog.by_path(group, version, resource).or_else(|| {
            // Questions of rights may come without a version.
            let any =
                || catalog.group(group)?.versions.iter().find_map(|one| catalog.by_path(group, &one.name, resource));
            if version.is_empty() || version == "*" { any() } else { None }
        })
    }

    /// The kind that a resource is stored as.
    pub(crate) fn stored(&self, tenant: Option<&TenantName>, resource: &GroupResource) -> Option<Arc<Kind>> {
        self.catalog(tenant).storage(resource)
    }
}
