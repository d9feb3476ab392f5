//! Writes of projected pods, on their way to the partitions they came from.

use std::sync::Arc;

use arktos_core::{GroupResource, Object, ObjectKey, Reason, Revision, Status};
use arktos_store::aggregate::Project;
use arktos_store::client::{DeleteOptions, Listing, Patch, WatchStream};
use arktos_store::{Client, Engine, Query, Roster, Source, Stored};
use async_trait::async_trait;

use super::Origin;

/// A client for projected pods that sends each write to the partition the pod came from, and gives back what it
/// answers, projected again. Reads come from the engine and not from here.
#[derive(Clone)]
pub struct Origins {
    engine: Engine,
    partitions: Roster,
    project: Project,
}

impl Origins {
    /// A client over the engine that holds the projected pods, and the partitions that they come from.
    pub fn new(
        engine: Engine,
        partitions: impl Into<Roster>,
        project: impl Fn(&str, &Stored) -> Option<Stored> + Send + Sync + 'static,
    ) -> Self {
        Self { engine, partitions: partitions.into(), project: Arc::new(project) }
    }

    fn origin(&self, key: &ObjectKey) -> Result<(Origin, Arc<dyn Client>), Status> {
        let found = self.engine.snapshot().get(key);
        let origin = found.and_then(|stored| Origin::of(key, stored.object.header()));
        let origin = origin.ok_or_else(|| Status::not_found(&key.resource, key.path.name()))?;
        let client = self.partitions.now().find(&origin.partition).cloned().ok_or_else(|| {
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
