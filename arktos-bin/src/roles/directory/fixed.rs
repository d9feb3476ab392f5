//! Where tenants live, as the partitions of a fixed list say it.

use std::sync::Arc;

use arktos_core::{GroupResource, Object, ObjectPath, Reason, Status, TenantName};
use arktos_store::{Client, Clock, Informer, Query, Random, Stored, Tasks};
use async_trait::async_trait;

use crate::roles::gateway::{Backends, Directory};

/// The tenants of each partition, kept current by a watch of each.
pub struct TenantDirectory {
    backends: Arc<Backends>,
    partitions: Vec<(String, Informer<Stored>)>,
}

impl TenantDirectory {
    /// A directory of these partitions; it knows a tenant as soon as the partition's watch has said so.
    #[must_use]
    pub fn start(
        backends: Backends,
        partitions: Vec<(String, Arc<dyn Client>)>,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
        tasks: &Tasks,
    ) -> Self {
        let follow = |(name, client): (String, Arc<dyn Client>)| {
            let query = Query::everywhere(GroupResource::core("tenants"));
            let (informer, driver) = Informer::new(client, query, clock.clone(), random.clone());
            tasks.add(format!("directory of {name}"), driver);
            (name, informer)
        };
        Self { backends: Arc::new(backends), partitions: partitions.into_iter().map(follow).collect() }
    }
}

#[async_trait]
impl Directory for TenantDirectory {
    fn backends(&self) -> Arc<Backends> {
        self.backends.clone()
    }

    fn find(&self, tenant: &str) -> Option<String> {
        let mut partitions = self.partitions.iter();
        let path = ObjectPath::new("", "", tenant);
        let found = match tenant {
            TenantName::SYSTEM => partitions.next(),
            _ => partitions.find(|(_, partition)| partition.store().get(&path).is_some()),
        };
        found.map(|(name, _)| name.clone())
    }

    /// The partition with the fewest tenants; the first among equals.
    async fn expect(&self, tenant: &Object) -> Result<String, Status> {
        let fewest = || self.partitions.iter().min_by_key(|(_, partition)| partition.store().len());
        let found = self.find(tenant.name()).or_else(|| fewest().map(|(name, _)| name.clone()));
        found.ok_or_else(|| Status::failure(Reason::ServiceUnavailable, "there is no partition"))
    }
}
