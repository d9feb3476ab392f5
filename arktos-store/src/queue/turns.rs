//! Keys that wait, one tenant after the other.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Key;

/// Keys in the order in which they are worked on: each tenant's in the order they came, and of the tenants that have
/// some each in turn. Whatever one tenant has waiting, the next key of another is never further away than there are
/// tenants. Keeps nothing of a tenant that has none.
pub(super) struct Turns<K> {
    keys: HashMap<Arc<str>, VecDeque<K>>,
    /// The tenants that have keys, by whose turn it is.
    turns: VecDeque<Arc<str>>,
    len: usize,
}

impl<K: Key> Turns<K> {
    pub(super) fn new() -> Self {
        Self { keys: HashMap::new(), turns: VecDeque::new(), len: 0 }
    }

    pub(super) fn push(&mut self, key: K) {
        self.len += 1;
        if let Some(waiting) = self.keys.get_mut(key.tenant()) {
            waiting.push_back(key);
            return;
        }
        let tenant: Arc<str> = key.tenant().into();
        self.turns.push_back(tenant.clone());
        self.keys.insert(tenant, VecDeque::from([key]));
    }

    pub(super) fn pop(&mut self) -> Option<K> {
        self.pop_of(|_| true)
    }

    /// The next key of a tenant that `may` have one handed out. Those that may not keep their turns.
    pub(super) fn pop_of(&mut self, may: impl Fn(&str) -> bool) -> Option<K> {
        let at = self.turns.iter().position(|tenant| may(tenant))?;
        let tenant = self.turns.remove(at)?;
        let waiting = self.keys.get_mut(&*tenant)?;
        let key = waiting.pop_front()?;
        self.len -= 1;
        if waiting.is_empty() {
            self.keys.remove(&*tenant);
        } else {
            self.turns.push_back(tenant);
        }
        Some(key)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }
}

impl<K> Turns<K> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}
