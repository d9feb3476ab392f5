//! Partitions in which tenants are placed but that this gateway does not know: each is logged once.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use arktos_core::{Reason, Status};
use parking_lot::Mutex;

use super::Backends;

/// The partitions that were missed of what there was last. As many as placements name, at the most.
#[derive(Default)]
pub(super) struct Missed(Mutex<(Weak<Backends>, BTreeSet<String>)>);

impl Missed {
    /// What is told of a partition that is missed.
    pub(super) fn fault(&self, backends: &Arc<Backends>, partition: &str, removed: bool) -> Status {
        if self.is_news(backends, partition) {
            tracing::warn!(partition, removed, "tenants are placed in a partition that is not there");
        }
        if removed {
            let text = "the partition of this tenant was removed from the region, with all that the tenant had there; once its \
                        tenantplacement is deleted, it can be made anew in another one";
            return Status::failure(Reason::ServiceUnavailable, text);
        }
        let text = "the partition of this tenant is not known here; try again";
        Status::failure(Reason::ServiceUnavailable, text).retry_after(1)
    }

    /// Whether a partition is missed of these backends for the first time.
    fn is_news(&self, backends: &Arc<Backends>, partition: &str) -> bool {
        let mut missed = self.0.lock();
        if !std::ptr::eq(missed.0.as_ptr(), Arc::as_ptr(backends)) {
            *missed = (Arc::downgrade(backends), BTreeSet::new());
        }
        missed.1.insert(partition.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_missed_once_for_as_long_as_nobody_comes_or_goes() {
        let (missed, first, second) = (Missed::default(), Arc::default(), Arc::default());
        let news = ["tp-1", "tp-2", "tp-1"].map(|partition| missed.is_news(&first, partition));
        assert_eq!(news, [true, true, false]);
        assert!(missed.is_news(&second, "tp-1"));
        assert!(!missed.is_news(&second, "tp-1"));
        let again = |removed| missed.fault(&second, "tp-1", removed).details.map_or(0, |it| it.retry_after_seconds);
        assert_eq!((again(false), again(true)), (1, 0), "one that was removed does not come back");
    }
}
