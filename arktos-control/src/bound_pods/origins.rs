//! Writes of projected pods, on their way to the partitions they came from.

use std::sync::Arc;

use arktos_core::{GroupResource, Object, ObjectKey, Reason, Revision, Status};
use arktos_store::aggregate::Project;
use arktos_store::client::{DeleteOptions, Listing, Patch, WatchStream};
use arktos_store::{Client, Engine, Query, Source, Stored};
use async_trait::async_trait;
use parking_lot::RwLock;

use super::Origin;

/// A partition's name, and its API.
type Partition = (String, Arc<dyn Client>);

/// A client for projected pods that sends each write to the partition the pod came from, and gives back what it
/// answers, projected again. Reads come from the engine and not from here.
#[derive(Clone)]
pub struct Origins {
    engine: Engine,
    // Written by `join` and `leave`.
    partitions: Arc<RwLock<Vec<Partition>>>,
    project: Project,
}

impl Origins {
    /// A client over the engine that holds the projected pods.
    pub fn new(engine: Engine, project: impl Fn(&str, &Stored) -> Option<Stored> + Send + Sync + 'static) -> Self {
        Self { engine, partitions: Arc::default(), project: Arc::new(project) }
    }

    /// From now on, writes of a partition's pods go to this client.
    pub fn join(&self, partition: &str, client: Arc<dyn Client>) {
        let mut partitions = self.partitions.write();
        partitions.retain(|(name, _)| name != partition);
        partitions.push((partition.to_owned(), client));
    }

    /// From now on, a partition's pods cannot be written.
    pub fn leave(&self, partition: &str) {
        self.partitions.write().retain(|(name, _)| name != partition);
    }

    fn origin(&self, key: &ObjectKey) -> Result<(Origin, Arc<dyn Client>), Status> {
        let found = self.engine.snapshot().get(key);
        let origin = found.and_then(|stored| Origin::of(key, stored.object.header()));
        let origin = origin.ok_or_else(|| Status::not_found(&key.resource, key.path.name()))?;
        let partitions = self.partitions.read();
        let client = partitions.iter().find(|(name, _)| *name == origin.partition).map(|(_, client)| client.clone());
        let client = client.ok_or_else(|| {
            let message = format!("the partition {} of this pod has not joined", origin.partition);
            Status::failure(Reason::ServiceUnavailable, message).retry_after(1)
        })?;
        Ok((origin, client))
    }

    fn back(&self, origin: &Origin, stored: &Stored) -> Result<Stored, Status> {
        (self.project)(&origin.partition, stored).ok_or_else(|| Status::internal("the pod cannot be shown to its host"))
    }
}

/// An object on its way back to its partition: under its own namespace.
fn unprojected(origin: &Origin, mut object: Object) -> Object {
    object.set(&["metadata", "namespace"], origin.key.path.namespace());
    object.remove(&["metadata", "tenant"]);
    object.remove(&["metadata", "resourceVersion"]); // a revision of this view means nothing there
    object
}

#[async_trait]
impl Source for Origins {
    async fn list(&self, _: &Query) -> Result<Listing, Status> {
        Err(writes_only())
    }

    async fn watch(&self, _: &Query, _: Revision) -> Result<WatchStream, Status> {
        Err(writes_only())
    }
}

#[async_trait]
impl Client for Origins {
    async fn get(&self, key: &ObjectKey) -> Result<Stored, Status> {
        self.engine.snapshot().get(key).ok_or_else(|| Status::not_found(&key.resource, key.path.name()))
    }

    async fn create(&self, resource: &GroupResource, _: &str, _: &str, object: Object) -> Result<Stored, Status> {
        Err(Status::forbidden(resource, object.name(), "hosts do not create pods"))
    }

    async fn update(&self, key: &ObjectKey, subresource: Option<&str>, object: Object) -> Result<Stored, Status> {
        let (origin, client) = self.origin(key)?;
        let stored = client.update(&origin.key, subresource, unprojected(&origin, object)).await?;
        self.back(&origin, &stored)
    }

    async fn patch(&self, key: &ObjectKey, subresource: Option<&str>, patch: Patch) -> Result<Stored, Status> {
        let (origin, client) = self.origin(key)?;
        let stored = client.patch(&origin.key, subresource, patch).await?;
        self.back(&origin, &stored)
    }

    async fn delete(&self, key: &ObjectKey, mut options: DeleteOptions) -> Result<(), Status> {
        let (origin, client) = self.origin(key)?;
        options.revision = None;
        client.delete(&origin.key, options).await
    }

    async fn post(&self, key: &ObjectKey, action: &str, body: Object) -> Result<Object, Status> {
        let (origin, client) = self.origin(key)?;
        client.post(&origin.key, action, unprojected(&origin, body)).await
    }
}

fn writes_only() -> Status {
    Status::internal("projected pods are read from the resource manager's engine")
}
