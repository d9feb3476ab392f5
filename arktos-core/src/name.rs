//! Names: what the API accepts as one, and the names of tenants.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest DNS label, in bytes.
pub const LABEL_LENGTH_MAX: usize = 63;
/// The longest DNS subdomain, in bytes.
pub const SUBDOMAIN_LENGTH_MAX: usize = 253;

/// Why a string is not a DNS label (RFC 1123), in the API's words; `None` when it is one.
#[must_use]
pub fn label_fault(name: &str) -> Option<String> {
    label_faults(name).into_iter().next()
}

/// All that keeps a string from being a DNS label: its length, and its form.
#[must_use]
pub fn label_faults(name: &str) -> Vec<String> {
    let long = name.len() > LABEL_LENGTH_MAX;
    let long = long.then(|| format!("must be no more than {LABEL_LENGTH_MAX} characters"));
    long.into_iter().chain(label_form_fault(name)).collect()
}

fn label_form_fault(name: &str) -> Option<String> {
    if is_label(name) {
        return None;
    }
    if name.split('.').all(is_label) {
        return Some("must not contain dots".to_owned());
    }
    Some(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
         with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            .to_owned(),
    )
}

/// Why a string is not a DNS subdomain (RFC 1123), in the API's words; `None` when it is one.
#[must_use]
pub fn subdomain_fault(name: &str) -> Option<String> {
    subdomain_faults(name).into_iter().next()
}

/// All that keeps a string from being a DNS subdomain: its length, and its form.
#[must_use]
pub fn subdomain_faults(name: &str) -> Vec<String> {
    let long = name.len() > SUBDOMAIN_LENGTH_MAX;
    let long = long.then(|| format!("must be no more than {SUBDOMAIN_LENGTH_MAX} characters"));
    long.into_iter().chain(subdomain_form_fault(name)).collect()
}

fn subdomain_form_fault(name: &str) -> Option<String> {
    if !name.is_empty() && name.split('.').all(is_label) {
        return None;
    }
    Some(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
         and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .to_owned(),
    )
}

/// All that keeps a string from being one segment of a URL path, as which names of the laxest kinds (RBAC) are used.
#[must_use]
pub fn path_segment_faults(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    let illegal = ["/", "%"].into_iter().filter(|illegal| name.contains(illegal));
    illegal.map(|illegal| format!("may not contain '{illegal}'")).collect()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            alphanumeric(first) && alphanumeric(last) && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        }
        _ => false,
    }
}

/// The name of a tenant: a DNS label. Cheap to clone.
///
/// `system` owns the region itself and may look across tenants. `all` is a word of the API (`/tenants/all/`), never a
/// tenant's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantName(Arc<str>);

impl TenantName {
    /// The tenant that owns the region.
    pub const SYSTEM: &'static str = "system";
    /// The word that stands for every tenant in a path.
    pub const ALL: &'static str = "all";

    /// A tenant's name.
    ///
    /// # Errors
    /// [`InvalidTenantName`] when it is not a DNS label, or is the reserved word `all`.
    pub fn new(name: &str) -> Result<Self, InvalidTenantName> {
        if name == Self::ALL {
            return Err(InvalidTenantName { name: name.to_owned(), fault: "'all' stands for every tenant".to_owned() });
        }
        match label_fault(name) {
            None => Ok(Self(name.into())),
            Some(fault) => Err(InvalidTenantName { name: name.to_owned(), fault }),
        }
    }

    /// The tenant `system`.
    #[must_use]
    pub fn system() -> Self {
        Self(Self::SYSTEM.into())
    }

    /// Whether this is the tenant `system`.
    #[must_use]
    pub fn is_system(&self) -> bool {
        &*self.0 == Self::SYSTEM
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for TenantName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TenantName {
    type Error = InvalidTenantName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl From<TenantName> for String {
    fn from(name: TenantName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// A string that cannot name a tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot name a tenant: {fault}")]
pub struct InvalidTenantName {
    /// The string.
    pub name: String,
    /// What is wrong with it.
    pub fault: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_not_a_tenant() {
        assert!(TenantName::new("all").is_err());
        assert!(TenantName::new("All").is_err());
        assert!(TenantName::new("acme").is_ok());
    }

    #[test]
    fn labels_and_subdomains_follow_rfc_1123() {
        for good in ["a", "a-b", "0", "x1"] {
            assert_eq!(label_fault(good), None, "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)] {
            assert!(label_fault(bad).is_some(), "{bad}");
        }
        assert_eq!(subdomain_fault("a.b-c.d"), None);
        for bad in ["", ".", "a..b", "a.", &"a.".repeat(127)] {
            assert!(subdomain_fault(bad).is_some(), "{bad}");
        }
    }
}
