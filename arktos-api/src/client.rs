//! The API in process: the verbs without HTTP.

use arktos_core::{GroupResource, Object, ObjectKey, Reason, Revision, Status};
use arktos_store::client::{DeleteOptions, Listing, Patch, WatchStream};
use arktos_store::{Client, Query, Stored};
use async_trait::async_trait;

use crate::identity::Identity;
use crate::server::ApiServer;

/// The API as one identity, in process.
pub struct InProcessClient {
    server: ApiServer,
    identity: Identity,
}

impl InProcessClient {
    pub(crate) fn new(server: ApiServer, identity: Identity) -> Self {
        Self { server, identity }
    }
}

fn not_yet() -> Status {
    Status::failure(Reason::NotImplemented, "not served yet")
}

#[async_trait]
impl Client for InProcessClient {
    async fn get(&self, _key: &ObjectKey) -> Result<Stored, Status> {
        let _ = (&self.server.0.config, &self.identity);
        Err(not_yet())
    }

    async fn list(&self, _query: &Query) -> Result<Listing, Status> {
        Err(not_yet())
    }

    async fn watch(&self, _query: &Query, _after: Revision) -> Result<WatchStream, Status> {
        Err(not_yet())
    }

    async fn create(&self, _: &GroupResource, _: &str, _: &str, _: Object) -> Result<Stored, Status> {
        Err(not_yet())
    }

    async fn update(&self, _: &ObjectKey, _: Option<&str>, _: Object) -> Result<Stored, Status> {
        Err(not_yet())
    }

    async fn patch(&self, _: &ObjectKey, _: Option<&str>, _: Patch) -> Result<Stored, Status> {
        Err(not_yet())
    }

    async fn delete(&self, _: &ObjectKey, _: DeleteOptions) -> Result<(), Status> {
        Err(not_yet())
    }

    async fn post(&self, _: &ObjectKey, _: &str, _: Object) -> Result<Object, Status> {
        Err(not_yet())
    }
}
