//! Templates: when two are the same, and the hash by which a replica set is named.

use arktos_core::typed::PodTemplate;
use serde_json::Value;

use super::set::HASH;

/// Whether two templates are the same, the hash label left out.
pub(super) fn same(one: &PodTemplate, other: &PodTemplate) -> bool {
    let plain = |template: &PodTemplate| {
        let mut template = template.clone();
        template.metadata.labels.remove(HASH);
        template.metadata.creation_timestamp = None;
        template
    };
    plain(one) == plain(other)
}

/// A short name for a template: the same for the same content, whatever the order of its fields. `collisions` makes
/// another of it when the name is taken by another template.
pub(crate) fn hash(template: &Value, collisions: Option<i32>) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = Fnv(0x811c_9dc5);
    hasher.value(template);
    if let Some(collisions) = collisions {
        hasher.bytes(&collisions.to_le_bytes());
    }
    let digits = hasher.0.to_string();
    digits.bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

/// FNV-1a over a canonical form.
struct Fnv(u32);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                let mut names: Vec<&String> = fields.keys().collect();
                names.sort_unstable();
                self.bytes(b"{");
                for name in names {
                    self.bytes(name.as_bytes());
                    self.bytes(b":");
                    self.value(&fields[name]);
                }
                self.bytes(b"}");
            }
            Value::Array(values) => {
                self.bytes(b"[");
                for value in values {
                    self.value(value);
                    self.bytes(b",");
                }
                self.bytes(b"]");
            }
            leaf => self.bytes(leaf.to_string().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hash_is_that_of_the_content() {
        let one = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"x": 1}});
        let same = json!({"spec": {"x": 1}, "metadata": {"labels": {"b": "2", "a": "1"}}});
        assert_eq!(hash(&one, None), hash(&same, None));
        assert_ne!(hash(&one, None), hash(&one, Some(1)));
        assert_ne!(hash(&one, None), hash(&json!({"spec": {"x": 2}}), None));
        assert!(hash(&one, None).len() <= 10);
    }
}
