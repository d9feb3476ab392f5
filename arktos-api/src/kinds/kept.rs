//! What is kept of what tenants have, so that it need not be made again: by tenant, so that what one has, or has anew
//! all the time, forgets no other's.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

/// Values by tenant and key. A tenant that has more than its part begins anew; where all have more than there is room
/// for together, whoever was not asked for the longest is forgotten.
pub(super) struct Kept<K, V> {
    by_tenant: HashMap<Box<str>, Share<K, V>>,
    /// How many of one tenant there may be, and of all.
    most: (usize, usize),
    count: usize,
    /// How often something was asked for.
    asked: u64,
}

struct Share<K, V> {
    values: HashMap<K, V>,
    /// When something was asked for last.
    asked: u64,
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    /// Nothing is kept yet, and never more than so much of one tenant and of all.
    pub(super) fn new(most: (usize, usize)) -> Self {
        Self { by_tenant: HashMap::new(), most, count: 0, asked: 0 }
    }

    pub(super) fn get(&mut self, tenant: &str, key: &K) -> Option<V> {
        self.asked += 1;
        let share = self.by_tenant.get_mut(tenant)?;
        share.asked = self.asked;
        share.values.get(key).cloned()
    }

    pub(super) fn keep(&mut self, tenant: &str, key: K, value: V) {
        if !self.by_tenant.contains_key(tenant) {
            self.by_tenant.insert(tenant.into(), Share { values: HashMap::new(), asked: 0 });
        }
        let Some(share) = self.by_tenant.get_mut(tenant) else { return };
        if share.values.len() >= self.most.0 && !share.values.contains_key(&key) {
            self.count -= share.values.len();
            share.values = HashMap::new();
        }
        share.asked = self.asked;
        if share.values.insert(key, value).is_none() {
            self.count += 1;
        }
        while self.count > self.most.1 {
            let others = self.by_tenant.iter().filter(|(other, _)| &***other != tenant);
            let Some(oldest) = others.min_by_key(|(_, share)| share.asked).map(|(other, _)| other.clone()) else {
                return;
            };
            self.count -= self.by_tenant.remove(&oldest).map_or(0, |share| share.values.len());
        }
    }
}

/// Notes what is made of a content, for others that have the same, for as long as anybody has it. `most` may be had.
pub(super) fn note<K: Eq + Hash, V>(by_content: &mut HashMap<K, Weak<V>>, content: K, made: &Arc<V>, most: usize) {
    if by_content.len() >= 2 * most {
        by_content.retain(|_, made| made.strong_count() > 0);
    }
    by_content.insert(content, Arc::downgrade(made));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_tenant_has_forgets_no_others() {
        let mut kept = Kept::new((4, 8));
        kept.keep("quiet", 0, "a");
        for key in 0..100 {
            kept.keep("noisy", key, "b");
            assert!(kept.by_tenant["noisy"].values.len() <= 4);
        }
        assert_eq!((kept.get("noisy", &99), kept.get("noisy", &0)), (Some("b"), None), "its own are only so many");
        assert_eq!(kept.get("quiet", &0), Some("a"));
        for tenant in ["one", "two", "three"] {
            for key in 0..4 {
                kept.keep(tenant, key, "c");
            }
            assert_eq!(kept.get("quiet", &0), Some("a"), "who was not asked for the longest goes first");
        }
        let there: usize = kept.by_tenant.values().map(|share| share.values.len()).sum();
        assert!(kept.count == there && there <= 8);
        kept.keep("quiet", 0, "d");
        assert_eq!(kept.get("quiet", &0), Some("d"));
    }
}
