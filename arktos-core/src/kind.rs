//! Kinds and resources: what an object is called, and where objects of a kind live.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A resource without its version, written `deployments.apps` (or `pods` in the core group). Cheap to clone.
///
/// This is what stores and informers know of a kind: all versions of it share one set of objects.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct GroupResource(Arc<str>);

impl GroupResource {
    /// The resource `resource` (plural, lower case) of a group; the core group is the empty string.
    #[must_use]
    pub fn new(group: &str, resource: &str) -> Self {
        if group.is_empty() { Self(resource.into()) } else { Self(format!("{resource}.{group}").into()) }
    }

    /// A resource of the core group.
    #[must_use]
    pub fn core(resource: &str) -> Self {
        Self(resource.into())
    }

    /// The group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, group)| group)
    }

    /// The plural resource name, without the group.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.0.split_once('.').map_or(&self.0, |(resource, _)| resource)
    }

    /// `resource.group`, or `resource` in the core group.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for GroupResource {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<GroupResource> for String {
    fn from(resource: GroupResource) -> Self {
        resource.0.as_ref().to_owned()
    }
}

impl std::borrow::Borrow<str> for GroupResource {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A kind without its version, written `Deployment.apps`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKind {
    /// The group; empty for the core group.
    pub group: String,
    /// The kind, in camel case.
    pub kind: String,
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.kind) } else { write!(f, "{}.{}", self.kind, self.group) }
    }
}

/// `apiVersion` and `kind`, the two fields that say what an object is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeMeta {
    /// `group/version`, or `version` in the core group.
    pub api_version: String,
    /// The kind, in camel case.
    pub kind: String,
}

impl TypeMeta {
    /// The type of a kind in a group and version.
    #[must_use]
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        Self { api_version, kind: kind.to_owned() }
    }

    /// The group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(&self.api_version, |(_, version)| version)
    }
}

/// Where the objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// In the region: the shared pool of hosts, and the tenants themselves. No tenant, no namespace.
    Region,
    /// In a tenant, without a namespace. What Kubernetes calls cluster-scoped is this, as each tenant sees a cluster.
    Tenant,
    /// In a namespace of a tenant.
    Namespace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_split_at_the_first_dot() {
        let apps = GroupResource::new("rbac.authorization.k8s.io", "roles");
        assert_eq!((apps.group(), apps.resource()), ("rbac.authorization.k8s.io", "roles"));
        let core = GroupResource::core("pods");
        assert_eq!((core.group(), core.resource()), ("", "pods"));
    }

    #[test]
    fn the_core_group_has_no_slash_in_its_version() {
        assert_eq!(TypeMeta::new("", "v1", "Pod").api_version, "v1");
        assert_eq!(TypeMeta::new("apps", "v1", "Deployment").group(), "apps");
        assert_eq!(TypeMeta::new("", "v1", "Pod").version(), "v1");
    }
}
