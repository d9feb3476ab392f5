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

    /// A tenant that no partition has shown may be in one that was not heard of yet.
    async fn look_up(&self, tenant: &str) -> Result<Option<String>, Status> {
        if let Some(found) = self.find(tenant) {
            return Ok(Some(found));
        }
        match self.partitions.iter().find(|(_, partition)| !partition.progress().synced) {
            Some((name, _)) => {
                let text = format!("it is not known yet which tenants are in {name}, which does not answer; try again");
                Err(Status::failure(Reason::ServiceUnavailable, text).retry_after(1))
            }
            None => Ok(None),
        }
    }

    /// The partition with the fewest tenants; the first among equals.
    async fn expect(&self, tenant: &Object) -> Result<String, Status> {
        let fewest = || self.partitions.iter().min_by_key(|(_, partition)| partition.store().len());
        let found = self.look_up(tenant.name()).await?.or_else(|| fewest().map(|(name, _)| name.clone()));
        found.ok_or_else(|| Status::failure(Reason::ServiceUnavailable, "there is no partition"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_api::{ApiConfig, ApiServer, Identity};
    use arktos_core::TypeMeta;
    use arktos_store::Engine;
    use arktos_store::clock::{ManualClock, SeededRandom};

    use crate::roles::late::LateClient;

    #[tokio::test]
    async fn a_tenant_that_may_be_where_nobody_has_answered_yet_is_neither_missing_nor_placed_elsewhere() {
        let clock = ManualClock::new(arktos_core::Timestamp::from_micros(0));
        let (shared, random): (Arc<dyn Clock>, Arc<dyn Random>) =
            (Arc::new(clock.clone()), Arc::new(SeededRandom::new(1)));
        let client = || {
            let engine = Engine::memory(shared.clone());
            let server = ApiServer::new(ApiConfig::new(engine, shared.clone(), random.clone()));
            server.client(Identity::system_component("test"))
        };
        let tenant = |name: &str| Object::new(&TypeMeta::new("", "v1", "Tenant"), name);
        let (here, there, late) = (client(), client(), LateClient::new());
        there.create(&GroupResource::core("tenants"), "", "", tenant("acme")).await.expect("it is made");
        let partitions =
            vec![("tp-1".to_owned(), here), ("tp-2".to_owned(), Arc::new(late.clone()) as Arc<dyn Client>)];
        let (tasks, driver) = Tasks::new();
        tokio::spawn(driver);
        let directory = TenantDirectory::start(Backends::default(), partitions, &shared, &random, &tasks);
        let settle = async || {
            for _ in 0..500 {
                tokio::task::yield_now().await;
            }
        };
        settle().await;
        for refused in [directory.look_up("acme").await.map(drop), directory.expect(&tenant("acme")).await.map(drop)] {
            let refused = refused.expect_err("nobody knows");
            assert!(refused.is(Reason::ServiceUnavailable) && refused.message.contains("tp-2"), "{refused}");
        }
        late.set(there);
        settle().await;
        assert_eq!(directory.look_up("acme").await, Ok(Some("tp-2".to_owned())));
        assert_eq!(directory.look_up("nobody").await, Ok(None));
        assert_eq!(directory.expect(&tenant("new")).await.as_deref(), Ok("tp-1"));
    }
}
