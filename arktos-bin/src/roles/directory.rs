//! Where tenants live, as the partitions say it.

use std::sync::Arc;

use arktos_core::{GroupResource, ObjectPath};
use arktos_store::{Client, Clock, Informer, Query, Random, Stored, Tasks};

use super::gateway::Directory;

/// The tenants of each partition, kept current by a watch of each.
pub struct TenantDirectory {
    partitions: Vec<Informer<Stored>>,
}

impl TenantDirectory {
    /// A directory of these partitions; it knows a tenant as soon as the partition's watch has said so.
    #[must_use]
    pub fn start(
        partitions: Vec<(String, Arc<dyn Client>)>,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
        tasks: &Tasks,
    ) -> Self {
        let follow = |(name, client): (String, Arc<dyn Client>)| {
            let query = Query::everywhere(GroupResource::core("tenants"));
            let (informer, driver) = Informer::new(client, query, clock.clone(), random.clone());
            tasks.add(format!("directory of {name}"), driver);
            informer
        };
        Self { partitions: partitions.into_iter().map(follow).collect() }
    }
}

impl Directory for TenantDirectory {
    fn find(&self, tenant: &str) -> Option<usize> {
        let path = ObjectPath::new("", "", tenant);
        self.partitions.iter().position(|partition| partition.store().get(&path).is_some())
    }

    /// The partition with the fewest tenants; the first among equals.
    fn place(&self, _: &str) -> usize {
        let count = |place: &usize| self.partitions[*place].store().len();
        (0..self.partitions.len()).min_by_key(count).unwrap_or(0)
    }
}
