//! The API in process: the verbs without HTTP.

use std::sync::Arc;

use arktos_core::{GroupResource, Object, ObjectKey, Revision, Status, TenantName, schema};
use arktos_store::client::{DeleteOptions, Listing, Patch, WatchListEvent, WatchListStream, WatchStream};
use arktos_store::{Client, Query, Stored, Within};
use async_trait::async_trait;
use futures::StreamExt;

use crate::call::{Call, read_fault};
use crate::identity::Identity;
use crate::query::ReadOptions;
use crate::request::not_found;
use crate::resource::{self, Verb};
use crate::reviews;
use crate::server::ApiServer;
use crate::verbs::modify::{self, Part, Source};
use crate::verbs::watch::Frame;
use crate::verbs::{clear, create, delete, evict, node_view, patch, read, scale, subresource, watch};

/// The API as one identity, in process.
pub struct InProcessClient {
    server: ApiServer,
    identity: Identity,
}

impl InProcessClient {
    pub(crate) fn new(server: ApiServer, identity: Identity) -> Self {
        Self { server, identity }
    }

    /// A call about one object, authorized.
    fn about<'a>(&'a self, verb: Verb, key: &'a ObjectKey, subresource: &str) -> Result<Call<'a>, Status> {
        let (tenant, namespace, name) = key.path.parts();
        let place = (&key.resource, tenant_of(tenant)?, namespace, name, subresource);
        resource::call(&self.server.0, &self.identity, verb, place)
    }

    /// A call about what a query selects, authorized.
    fn selecting<'a>(&'a self, verb: Verb, query: &'a Query) -> Result<(Call<'a>, ReadOptions), Status> {
        let mut options =
            ReadOptions { labels: query.labels.clone(), fields: query.fields.clone(), ..ReadOptions::default() };
        let (tenant, namespace, name) = match &query.within {
            Within::Everywhere => (None, "", ""),
            Within::Tenant(tenant) => (Some(tenant.clone()), "", ""),
            Within::Namespace(tenant, namespace) => (Some(tenant.clone()), namespace.as_str(), ""),
            Within::Object(path) => {
                let (tenant, namespace, name) = path.parts();
                (tenant_of(tenant)?, namespace, name)
            }
        };
        options.bookmarks = true;
        let place = (&query.resource, tenant, namespace, name, "");
        Ok((resource::call(&self.server.0, &self.identity, verb, place)?, options))
    }
}

fn tenant_of(name: &str) -> Result<Option<TenantName>, Status> {
    if name.is_empty() {
        return Ok(None);
    }
    TenantName::new(name).map(Some).map_err(|error| Status::bad_request(error.to_string()))
}

/// Types are checked and defaults set as for a body that came over HTTP; what nobody knows is dropped.
fn read_body(call: &Call<'_>, body: Object) -> Result<Object, Status> {
    let notes = body.notes.clone();
    let decoded = schema::decode(&call.kind, body.into_value(), arktos_core::Dialect::Region)?;
    Ok(Object { notes, ..decoded.object })
}

#[async_trait]
impl arktos_store::Source for InProcessClient {
    async fn list(&self, query: &Query) -> Result<Listing, Status> {
        let (call, options) = self.selecting(Verb::List, query)?;
        if let Some(listing) = node_view::list(&call, &options).await? {
            return Ok(listing);
        }
        let page = read::list(&call, &options).await?;
        Ok(Listing::new(page.revision, page.items(None).map(Arc::unwrap_or_clone).collect()))
    }

    async fn watch(&self, query: &Query, after: Revision) -> Result<WatchStream, Status> {
        let (call, mut options) = self.selecting(Verb::Watch, query)?;
        options.version = after.to_string();
        options.version_match = Some(crate::query::VersionMatch::NotOlderThan);
        options.send_initial_events = Some(false);
        let frames = watch::watch(&call, &options, None).await?;
        Ok(Box::pin(frames.filter_map(|frame| async move {
            match frame {
                Frame::Delivery(delivery) => Some(Ok(delivery)),
                Frame::InitialEnd(_) => None,
                Frame::Fault(status) => Some(Err(*status)),
            }
        })))
    }

    async fn watch_list(&self, query: &Query) -> Result<WatchListStream, Status> {
        let (call, mut options) = self.selecting(Verb::Watch, query)?;
        options.version_match = Some(crate::query::VersionMatch::NotOlderThan);
        options.send_initial_events = Some(true);
        let frames = watch::watch(&call, &options, None).await?;
        Ok(Box::pin(frames.map(|frame| match frame {
            Frame::Delivery(delivery) => Ok(WatchListEvent::Delivery(delivery)),
            Frame::InitialEnd(revision) => Ok(WatchListEvent::InitialEnd(revision)),
            Frame::Fault(status) => Err(*status),
        })))
    }

    async fn resources(&self, within: &Within) -> Result<Option<Vec<GroupResource>>, Status> {
        if !self.identity.is_component() {
            return Ok(None); // who may not list a resource is not told either whether there is anything of it
        }
        let config = &self.server.0.config;
        let snapshot = config.engine.latest().await.map_err(|error| read_fault(&error))?;
        let mut resources = snapshot.resources_within(within);
        resources.extend(config.delegates.keys().cloned()); // those are kept elsewhere: whoever asks finds out
        Ok(Some(resources))
    }
}

#[async_trait]
impl Client for InProcessClient {
    async fn get(&self, key: &ObjectKey) -> Result<Stored, Status> {
        read::get(&self.about(Verb::Get, key, "")?, "").await
    }

    async fn create(
        &self,
        resource: &GroupResource,
        tenant: &str,
        namespace: &str,
        object: Object,
    ) -> Result<Stored, Status> {
        let place = (resource, tenant_of(tenant)?, namespace, "", "");
        let call = resource::call(&self.server.0, &self.identity, Verb::Create, place)?;
        let body = read_body(&call, object)?;
        create::create(&call, body).await
    }

    async fn update(&self, key: &ObjectKey, subresource: Option<&str>, object: Object) -> Result<Stored, Status> {
        let mut call = self.about(Verb::Update, key, subresource.unwrap_or(""))?;
        if subresource == Some("scale") {
            call.options.scale = true;
            scale::update(&call, object).await?;
            return call.found().await;
        }
        let body = read_body(&call, object)?;
        Ok(modify::modify(&call, part(subresource), Source::Body(body)).await?.stored)
    }

    async fn patch(&self, key: &ObjectKey, subresource: Option<&str>, asked: Patch) -> Result<Stored, Status> {
        let mut call = self.about(Verb::Patch, key, subresource.unwrap_or(""))?;
        call.options.scale = subresource == Some("scale");
        if let Patch::Apply { config, manager, force } = &asked {
            call.options.applied_by(manager, *force)?;
            if call.options.scale {
                scale::apply(&call, config).await?;
                return call.found().await;
            }
            return Ok(patch::apply_config(&call, part(subresource), config, Vec::new()).await?.stored);
        }
        if call.options.scale {
            scale::patch(&call, &asked, &[]).await?;
            return call.found().await;
        }
        Ok(patch::patch(&call, part(subresource), &asked, &[]).await?.stored)
    }

    async fn delete(&self, key: &ObjectKey, options: DeleteOptions) -> Result<(), Status> {
        let call = self.about(Verb::Delete, key, "")?;
        delete::delete(&call, &options).await.map(|_| ())
    }

    async fn clear(&self, within: &Within) -> Result<(), Status> {
        if !self.identity.is_component() {
            return Ok(()); // anybody else deletes what they know of, object by object
        }
        clear::clear(&self.server.0, &self.identity, within).await
    }

    async fn post(&self, key: &ObjectKey, action: &str, body: Object) -> Result<Object, Status> {
        let call = self.about(Verb::Create, key, action)?;
        let done = match action {
            "" => {
                if let Some(handler) = call.state.config.virtuals.get(&call.kind.storage_resource) {
                    return handler.create(&self.identity, body).await;
                }
                return if reviews::answers(&call) { reviews::answer(&call, body).await } else { Err(not_found()) };
            }
            "binding" => subresource::bind(&call, body).await?,
            "eviction" => evict::evict(&call, &body).await?,
            "token" => return crate::tokens::issue::request(&call, body).await,
            _ => return Err(not_found()),
        };
        Object::encode(&done).ok_or_else(|| Status::internal("a status is an object"))
    }

    fn acting_as(&self, user: &str, groups: &[&str]) -> Option<Arc<dyn Client>> {
        let tenant = self.identity.tenant.as_ref().filter(|_| self.identity.is_component())?;
        Some(self.server.client(Identity::user(user, groups, tenant)))
    }
}

fn part(subresource: Option<&str>) -> Part<'_> {
    match subresource {
        None | Some("") => Part::Whole,
        Some("status") => Part::Status,
        Some(other) => Part::Other(other),
    }
}
