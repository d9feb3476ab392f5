//! A client that can be passed on before it exists: two roles in one process each need the client of the other.

use std::sync::Arc;

use arktos_core::{GroupResource, Object, ObjectKey, Revision, Status};
use arktos_store::client::{DeleteOptions, Listing, Patch, WatchListStream, WatchStream};
use arktos_store::{Client, Query, Source, Stored, Within};
use async_trait::async_trait;
use tokio::sync::watch;

/// Passes everything on to a client that is given later, and waits until it is. Cloning it shares it.
#[derive(Clone)]
pub struct LateClient(watch::Sender<Option<Arc<dyn Client>>>); // written by `set`

impl LateClient {
    /// A client that waits.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Gives the client.
    pub fn set(&self, client: Arc<dyn Client>) {
        self.0.send_replace(Some(client));
    }

    async fn client(&self) -> Result<Arc<dyn Client>, Status> {
        let mut given = self.0.subscribe();
        let client = given.wait_for(Option::is_some).await.map(|client| client.clone());
        client.ok().flatten().ok_or_else(|| Status::internal("the other side never started"))
    }
}

#[async_trait]
impl Source for LateClient {
    async fn list(&self, query: &Query) -> Result<Listing, Status> {
        self.client().await?.list(query).await
    }

    async fn watch(&self, query: &Query, after: Revision) -> Result<WatchStream, Status> {
        self.client().await?.watch(query, after).await
    }

    async fn watch_list(&self, query: &Query) -> Result<WatchListStream, Status> {
        self.client().await?.watch_list(query).await
    }

    async fn resources(&self, within: &Within) -> Result<Option<Vec<GroupResource>>, Status> {
        self.client().await?.resources(within).await
    }
}

#[async_trait]
impl Client for LateClient {
    async fn get(&self, key: &ObjectKey) -> Result<Stored, Status> {
        self.client().await?.get(key).await
    }

    async fn create(
        &self,
        resource: &GroupResource,
        tenant: &str,
        namespace: &str,
        object: Object,
    ) -> Result<Stored, Status> {
        self.client().await?.create(resource, tenant, namespace, object).await
    }

    async fn update(&self, key: &ObjectKey, subresource: Option<&str>, object: Object) -> Result<Stored, Status> {
        self.client().await?.update(key, subresource, object).await
    }

    async fn patch(&self, key: &ObjectKey, subresource: Option<&str>, patch: Patch) -> Result<Stored, Status> {
        self.client().await?.patch(key, subresource, patch).await
    }

    async fn delete(&self, key: &ObjectKey, options: DeleteOptions) -> Result<(), Status> {
        self.client().await?.delete(key, options).await
    }

    async fn clear(&self, within: &Within) -> Result<(), Status> {
        self.client().await?.clear(within).await
    }

    async fn post(&self, key: &ObjectKey, action: &str, body: Object) -> Result<Object, Status> {
        self.client().await?.post(key, action, body).await
    }

    fn acting_as(&self, user: &str, groups: &[&str]) -> Option<Arc<dyn Client>> {
        self.0.borrow().as_ref()?.acting_as(user, groups)
    }
}
