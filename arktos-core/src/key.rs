//! What identifies an object, and the revision it was written at.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::kind::GroupResource;
use crate::name::TenantName;

/// A position in the history of one store: strictly increasing in the order in which writes become visible, never
/// used twice. It may jump. Zero is the position before the first write.
///
/// The API calls it `resourceVersion` and writes it as a decimal integer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The position before the first write.
    pub const ZERO: Self = Self(0);

    /// The position right after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Reads what a client sent as `resourceVersion`: decimal, without sign or leading zero (KEP-5504). `0` is legal
    /// here and means "any".
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
        if canonical && !text.is_empty() { text.parse().ok().map(Self) } else { None }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Where an object is among those of its resource: `tenant/namespace/name` in one shared string, so that a path costs
/// one pointer to clone and compares as one string.
///
/// An object without a namespace has an empty middle (`acme//admin`); one that belongs to the region and not to a
/// tenant has an empty first part as well (`//node-7`). No part can contain a slash. Paths order as their strings do,
/// so the objects of a tenant, and of a namespace, are contiguous.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectPath(Arc<str>);

impl ObjectPath {
    /// The path of an object. Empty strings stand for "no tenant" and "no namespace".
    ///
    /// # Panics
    /// In debug builds, when a part contains a slash: whoever reads names from outside checks them first.
    #[must_use]
    pub fn new(tenant: &str, namespace: &str, name: &str) -> Self {
        debug_assert!(![tenant, namespace, name].iter().any(|part| part.contains('/')), "a slash in a key");
        let mut text = String::with_capacity(tenant.len() + namespace.len() + name.len() + 2);
        for (part, end) in [(tenant, "/"), (namespace, "/"), (name, "")] {
            text.push_str(part);
            text.push_str(end);
        }
        Self(text.into())
    }

    /// A path from its string form; `None` when it does not have exactly three parts.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.bytes().filter(|byte| *byte == b'/').count() == 2).then(|| Self(text.into()))
    }

    /// The tenant's name; empty for an object of the region.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.parts().0
    }

    /// The namespace; empty where there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.parts().1
    }

    /// The object's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts().2
    }

    /// Tenant, namespace and name.
    #[must_use]
    pub fn parts(&self) -> (&str, &str, &str) {
        let (tenant, rest) = self.0.split_once('/').unwrap_or(("", &self.0));
        let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
        (tenant, namespace, name)
    }

    /// `tenant/namespace/name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ObjectPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What identifies an object in a store: its resource and its path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The resource, without a version: every version of a kind shares its objects.
    pub resource: GroupResource,
    /// Tenant, namespace and name.
    pub path: ObjectPath,
}

impl ObjectKey {
    /// The key of an object in a tenant and a namespace.
    #[must_use]
    pub fn namespaced(resource: GroupResource, tenant: &TenantName, namespace: &str, name: &str) -> Self {
        Self { resource, path: ObjectPath::new(tenant.as_str(), namespace, name) }
    }

    /// The key of an object in a tenant and no namespace.
    #[must_use]
    pub fn tenant_scoped(resource: GroupResource, tenant: &TenantName, name: &str) -> Self {
        Self { resource, path: ObjectPath::new(tenant.as_str(), "", name) }
    }

    /// The key of an object of the region.
    #[must_use]
    pub fn region_scoped(resource: GroupResource, name: &str) -> Self {
        Self { resource, path: ObjectPath::new("", "", name) }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_give_back_their_parts() {
        for parts in [("acme", "default", "web"), ("acme", "", "admin"), ("", "", "node-7")] {
            let path = ObjectPath::new(parts.0, parts.1, parts.2);
            assert_eq!(path.parts(), parts);
            assert_eq!(ObjectPath::parse(path.as_str()), Some(path));
        }
        assert_eq!(ObjectPath::parse("a/b"), None);
        assert_eq!(ObjectPath::parse("a/b/c/d"), None);
    }

    #[test]
    fn revisions_are_canonical_decimals() {
        assert_eq!(Revision::parse("0"), Some(Revision::ZERO));
        assert_eq!(Revision::parse("120"), Some(Revision(120)));
        for bad in ["", "-1", "+1", "012", "1.0", "0x1", " 1", "99999999999999999999999"] {
            assert_eq!(Revision::parse(bad), None, "{bad}");
        }
    }
}
