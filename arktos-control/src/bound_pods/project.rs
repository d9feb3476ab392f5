//! The pods of partitions as their hosts see them.

use arktos_core::{Header, ObjectKey, ObjectPath, TenantName};
use arktos_store::Stored;
use sha2::{Digest, Sha256};

const PARTITION: &str = "origin-partition";
const TENANT: &str = "origin-tenant";
const NAMESPACE: &str = "origin-namespace";

/// How many characters of a projected namespace are the hash; the rest is for people.
const HASH_LENGTH: usize = 26;

/// Where a projected pod came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The partition.
    pub partition: String,
    /// The pod's key there.
    pub key: ObjectKey,
}

impl Origin {
    /// Where a projected pod came from; `None` for one that was not projected.
    #[must_use]
    pub fn of(key: &ObjectKey, header: &Header) -> Option<Self> {
        let note = |name: &str| header.note(name);
        let path = ObjectPath::new(note(TENANT)?, note(NAMESPACE)?, key.path.name());
        let key = ObjectKey { resource: key.resource.clone(), path };
        Some(Self { partition: note(PARTITION)?.to_owned(), key })
    }
}

/// The namespace that stands for a namespace of a tenant of a partition: a DNS label that begins with the namespace's
/// own name, for people, and ends with 130 bits of a hash over all three, which make it unique.
#[must_use]
pub fn projected_namespace(partition: &str, tenant: &str, namespace: &str) -> String {
    let mut text: String = namespace.chars().take(63 - 1 - HASH_LENGTH).collect();
    text.push('-');
    text.push_str(&hash(&format!("{partition}/{tenant}/{namespace}")));
    text
}

/// The namespace of a tenant of a partition that a projected one stands for, where it is one of that tenant's and short
/// enough to be there whole.
pub(super) fn original_namespace<'a>(projected: &'a str, partition: &str, tenant: &str) -> Option<&'a str> {
    let (namespace, _) = projected.rsplit_once('-')?;
    (projected_namespace(partition, tenant, namespace) == projected).then_some(namespace)
}

/// Whether a namespace looks as projected ones do.
pub(super) fn is_projected(namespace: &str) -> bool {
    let hash = namespace.rsplit_once('-').map_or("", |(_, hash)| hash);
    hash.len() == HASH_LENGTH && hash.bytes().all(|byte| DIGITS.contains(&byte))
}

const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// 130 bits of a hash, as a part of a name.
pub(super) fn hash(of: &str) -> String {
    let (digest, mut text) = (Sha256::digest(of), String::with_capacity(HASH_LENGTH));
    for place in 0..HASH_LENGTH {
        let (byte, shift) = (place * 5 / 8, place * 5 % 8);
        let pair = u16::from_be_bytes([digest[byte], digest[byte + 1]]);
        text.push(char::from(DIGITS[usize::from(pair >> (11 - shift) & 31)]));
    }
    text
}

/// Turns what a partition has in a namespace, a pod or what pods name, into what hosts see.
///
/// An object that is not as the store writes it is left out: its partition could not have stored it.
pub fn projection(partition: &str, stored: &Stored) -> Option<Stored> {
    let (tenant, namespace, name) = stored.path.parts();
    let projected = projected_namespace(partition, tenant, namespace);
    let object =
        stored.object.moved(&projected, &[(PARTITION, partition), (TENANT, tenant), (NAMESPACE, namespace)])?;
    let path = ObjectPath::new(TenantName::SYSTEM, &projected, name);
    Some(Stored { path, revision: stored.revision, object })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_core::catalog::Catalog;
    use arktos_core::{GroupResource, Object, Revision};
    use serde_json::json;

    #[test]
    fn different_namespaces_never_share_a_projection_and_all_are_labels() {
        let long = "n".repeat(63);
        let names =
            [("tp-1", "acme", "default"), ("tp-2", "acme", "default"), ("tp-1", "acm", "edefault"), ("a", "b", &long)];
        let projected: std::collections::BTreeSet<_> = names
            .iter()
            .map(|(partition, tenant, namespace)| projected_namespace(partition, tenant, namespace))
            .collect();
        assert_eq!(projected.len(), names.len());
        for name in projected {
            assert_eq!(arktos_core::name::label_fault(&name), None, "{name}");
            assert!(is_projected(&name));
        }
        let shown = projected_namespace("tp-1", "acme", "a-b");
        assert_eq!(original_namespace(&shown, "tp-1", "acme"), Some("a-b"));
        assert_eq!(original_namespace(&shown, "tp-2", "acme"), None);
        assert!(!is_projected("kube-system"));
    }

    #[test]
    fn a_projected_pod_knows_where_it_came_from() {
        let kind = Catalog::builtin().storage(&GroupResource::core("pods")).expect("pods are built in");
        let pod = Object::from_value(json!({"metadata": {"name": "web", "namespace": "default", "uid": "u"}}));
        let object = kind.encode(&pod.expect("an object")).expect("encodes");
        let path = ObjectPath::new("acme", "default", "web");
        let stored = Stored { path: path.clone(), revision: Revision(5), object };
        let seen = projection("tp-1", &stored).expect("projects");
        assert_eq!(seen.path.tenant(), "system");
        assert_eq!(seen.object.meta().expect("decodes").namespace, seen.path.namespace());
        let key = ObjectKey { resource: GroupResource::core("pods"), path: seen.path.clone() };
        let origin = Origin::of(&key, seen.object.header()).expect("has an origin");
        assert_eq!((origin.partition.as_str(), origin.key.path), ("tp-1", path));
        assert_eq!(Origin::of(&key, stored.object.header()), None);
    }
}
