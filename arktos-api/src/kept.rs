//! What is kept of what tenants have, so that it need not be made again: by tenant, so that what one has, or has anew
//! all the time, forgets no other's.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

/// Values by tenant and key, each of which weighs something. A tenant that has more than its part begins anew; where
/// all have more than there is room for together, whoever asked for nothing the longest is forgotten.
pub(crate) struct Kept<K, V> {
    by_tenant: HashMap<Box<str>, Share<K, V>>,
    /// What those of one tenant may weigh, and those of all.
    most: (usize, usize),
    weight: usize,
    /// How often something was asked for.
    asked: u64,
}

struct Share<K, V> {
    /// Each with its weight.
    values: HashMap<K, (V, usize)>,
    weight: usize,
    /// When something was asked for last.
    asked: u64,
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    /// Nothing is kept yet, and never more than so much of one tenant and of all.
    pub(crate) fn new(most: (usize, usize)) -> Self {
        Self { by_tenant: HashMap::new(), most, weight: 0, asked: 0 }
    }

    pub(crate) fn get<Q>(&mut self, tenant: &str, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.asked += 1;
        let share = self.by_tenant.get_mut(tenant)?;
        share.asked = self.asked;
        share.values.get(key).map(|(value, _)| value.clone())
    }

    /// Keeps a value, unless it alone weighs more than a tenant's part.
    pub(crate) fn keep(&mut self, tenant: &str, key: K, value: V, weight: usize) {
        self.forget(tenant, &key);
        if weight > self.most.0 {
            return;
        }
        if !self.by_tenant.contains_key(tenant) {
            self.by_tenant.insert(tenant.into(), Share { values: HashMap::new(), weight: 0, asked: 0 });
        }
        let Some(share) = self.by_tenant.get_mut(tenant) else { return };
        if share.weight + weight > self.most.0 {
            self.weight -= share.weight;
            (share.values, share.weight) = (HashMap::new(), 0);
        }
        share.asked = self.asked;
        share.values.insert(key, (value, weight));
        share.weight += weight;
        self.weight += weight;
        if self.weight > self.most.1 {
            self.make_room(tenant);
        }
    }

    fn forget(&mut self, tenant: &str, key: &K) {
        let Some(share) = self.by_tenant.get_mut(tenant) else { return };
        let weight = share.values.remove(key).map_or(0, |(_, weight)| weight);
        share.weight -= weight;
        self.weight -= weight;
    }

    /// Forgets all that others have who asked for nothing the longest, until an eighth is free: whoever finds no room
    /// looks at all tenants, which is not to be for each value.
    fn make_room(&mut self, tenant: &str) {
        let others = self.by_tenant.iter().filter(|(other, _)| &***other != tenant);
        let mut others: Vec<(u64, usize)> = others.map(|(_, share)| (share.asked, share.weight)).collect();
        others.sort_unstable();
        let (mut left, mut until) = (self.weight, 0);
        for (asked, weight) in others {
            if left <= self.most.1 - self.most.1 / 8 {
                break;
            }
            left -= weight;
            until = asked;
        }
        self.by_tenant.retain(|other, share| share.asked > until || &**other == tenant);
        self.weight = self.by_tenant.values().map(|share| share.weight).sum();
    }

    /// What all that is kept weighs.
    #[cfg(test)]
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}

/// Notes what is made of a content, for others that have the same, for as long as anybody has it. `most` may be had.
pub(crate) fn note<K: Eq + Hash, V>(by_content: &mut HashMap<K, Weak<V>>, content: K, made: &Arc<V>, most: usize) {
    if by_content.len() >= 2 * most {
        by_content.retain(|_, made| made.strong_count() > 0);
    }
    by_content.insert(content, Arc::downgrade(made));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there<V>(kept: &Kept<i32, V>) -> usize {
        kept.by_tenant.values().flat_map(|share| share.values.values()).map(|(_, weight)| weight).sum()
    }

    #[test]
    fn what_one_tenant_has_forgets_no_others() {
        let mut kept = Kept::new((4, 8));
        kept.keep("quiet", 0, "a", 1);
        for key in 0..100 {
            kept.keep("noisy", key, "b", 1);
            assert!(kept.by_tenant["noisy"].values.len() <= 4);
        }
        assert_eq!((kept.get("noisy", &99), kept.get("noisy", &0)), (Some("b"), None), "its own are only so many");
        assert_eq!(kept.get("quiet", &0), Some("a"));
        for tenant in ["one", "two", "three"] {
            for key in 0..4 {
                kept.keep(tenant, key, "c", 1);
            }
            assert_eq!(kept.get("quiet", &0), Some("a"), "who was not asked for the longest goes first");
        }
        assert!(kept.weight == there(&kept) && kept.weight <= 8);
        kept.keep("quiet", 0, "d", 1);
        assert_eq!(kept.get("quiet", &0), Some("d"));
    }

    #[test]
    fn what_weighs_more_takes_more_of_the_room() {
        let mut kept = Kept::new((40, 100));
        kept.keep("one", 0, "a", 30);
        kept.keep("one", 1, "b", 10);
        kept.keep("one", 1, "b", 5);
        assert_eq!((kept.weight, kept.get("one", &0)), (35, Some("a")));
        kept.keep("one", 1, "b", 41);
        assert_eq!((kept.weight, kept.get("one", &1), kept.get("one", &0)), (30, None, Some("a")), "too much for one");
        kept.keep("one", 2, "c", 11);
        assert_eq!((kept.weight, kept.get("one", &0)), (11, None), "it begins anew");
        for tenant in 0..1000 {
            kept.keep(&tenant.to_string(), 0, "d", 9);
            assert!(kept.weight == there(&kept) && kept.weight <= 100);
            assert!(kept.get(&tenant.to_string(), &0).is_some());
        }
        assert!(kept.by_tenant.len() >= 9 && kept.get("one", &2).is_none());
    }
}
