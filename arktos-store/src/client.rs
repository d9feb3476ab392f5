//! How controllers and schedulers reach the API.
//!
//! ```text
//!  Source: list, watch                                    what an informer needs
//!    ├── EngineSource     a bare engine                   this crate
//!    └── Client: get, create, update, patch, delete, …    what a controller needs
//!          ├── InProcessClient   without encoding         arktos-api
//!          └── Remote            over HTTP                arktos-bin
//! ```
//!
//! A client is a source as well: an `Arc<dyn Client>` can be given wherever an `Arc<dyn Source>` is asked for.

use std::sync::Arc;

use arktos_core::{
    FieldSelector, GroupResource, LabelSelector, Object, ObjectKey, ObjectPath, Reason, Revision, Status,
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde_json::Value;

use crate::select::{Delivery, Stored, Within};

/// What a list or a watch selects, by the names clients use.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Query {
    /// The resource.
    pub resource: GroupResource,
    /// The range of paths.
    pub within: Within,
    /// What must hold for the labels.
    pub labels: LabelSelector,
    /// What must hold for fields.
    pub fields: FieldSelector,
}

/// The answer to a list: one consistent state.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Listing {
    /// The revision of the state; a watch goes on from here.
    pub revision: Revision,
    /// The objects, in the order of their paths.
    pub items: Vec<Stored>,
}

/// A patch, by its media type.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Patch {
    /// `application/json-patch+json`: a list of operations.
    Json(Value),
    /// `application/merge-patch+json`.
    Merge(Value),
    /// `application/strategic-merge-patch+json`.
    Strategic(Value),
    /// `application/apply-patch+yaml`: what a manager wants of the object, which is made where it is not there.
    Apply {
        /// The fields the manager wants, with `apiVersion`, `kind` and the name.
        config: Value,
        /// Who manages them.
        manager: String,
        /// Whether fields that others manage are taken from them; else the answer is a conflict.
        force: bool,
    },
}

/// How an object is to be deleted.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Seconds it may take to end; the kind's own when absent.
    pub grace_period_seconds: Option<i64>,
    /// The uid it must have.
    pub uid: Option<String>,
    /// The revision it must be at.
    pub revision: Option<Revision>,
    /// What happens to what it owns; the kind's own when absent.
    pub propagation: Option<Propagation>,
}

/// What a deletion does to the objects that the deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They lose their owner and stay.
    Orphan,
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
}

/// A stream of what a watcher is told. It ends after an error, and when the server ends the watch: then the watcher
/// goes on from the last revision it has seen.
pub type WatchStream = BoxStream<'static, Result<Delivery, Status>>;

/// A stream that begins with what there is, and goes on with what changes.
pub type WatchListStream = BoxStream<'static, Result<WatchListEvent, Status>>;

/// What a watcher is told that is told everything from the start.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchListEvent {
    /// An object that is there, or a change. Changes may come before the end of the initial state, too.
    Delivery(Delivery),
    /// Whatever there was when the stream was opened has been delivered, and all up to this revision: the bookmark that
    /// is annotated with `k8s.io/initial-events-end`.
    InitialEnd(Revision),
}

/// What can be listed and watched: the half of the API that an informer needs.
///
/// Whoever implements it keeps to what the API promises: a watch after a revision delivers every change after it, in
/// order, each once, or ends with an error; a list is one consistent state.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Lists what a query selects, at its newest.
    async fn list(&self, query: &Query) -> Result<Listing, Status>;

    /// Watches what a query selects, for everything after a revision. Bookmarks come from time to time. A revision
    /// that history no longer reaches answers, or yields, a status with reason `Expired` or `Gone`.
    async fn watch(&self, query: &Query, after: Revision) -> Result<WatchStream, Status>;

    /// A list and a watch in one stream: each object there is, as added, then
    /// [`InitialEnd`](WatchListEvent::InitialEnd), then what changes. The state it begins with is not older than the
    /// call.
    ///
    /// A source that has no such streams says `Invalid`, `BadRequest`, `MethodNotAllowed` or `NotImplemented`, and is
    /// then listed and watched. That is what this method does where it is not overridden.
    async fn watch_list(&self, query: &Query) -> Result<WatchListStream, Status> {
        let _ = query;
        Err(Status::failure(Reason::NotImplemented, "this source does not stream its initial state"))
    }

    /// The resources that have objects within a range of paths, at the newest state; others have none there. Whoever
    /// empties a range asks for these alone, and not for every kind there is.
    ///
    /// `None` where the source cannot tell. That is what this method says where it is not overridden.
    async fn resources(&self, within: &Within) -> Result<Option<Vec<GroupResource>>, Status> {
        let _ = within;
        Ok(None)
    }
}

/// The API as a component of the region uses it. A client acts as one identity, and is authorized as such.
///
/// All methods are cancel safe in that a dropped future leaves the object either changed or not; whether a write whose
/// future was dropped has happened is unknown.
#[async_trait]
pub trait Client: Source {
    /// Reads one object, at its newest.
    async fn get(&self, key: &ObjectKey) -> Result<Stored, Status>;

    /// Creates an object in a tenant and namespace (empty strings where the kind's scope has none). Its name is in it,
    /// or is generated from `generateName`.
    async fn create(
        &self,
        resource: &GroupResource,
        tenant: &str,
        namespace: &str,
        object: Object,
    ) -> Result<Stored, Status>;

    /// Replaces an object, or the part of it that a subresource (`status`, …) stands for. With a `resourceVersion` in
    /// it, only when nobody else wrote in between.
    async fn update(&self, key: &ObjectKey, subresource: Option<&str>, object: Object) -> Result<Stored, Status>;

    /// Patches an object, or the part of it that a subresource stands for.
    async fn patch(&self, key: &ObjectKey, subresource: Option<&str>, patch: Patch) -> Result<Stored, Status>;

    /// Deletes an object. Succeeds as soon as the deletion is decided: finalizers and grace may keep the object a
    /// while.
    async fn delete(&self, key: &ObjectKey, options: DeleteOptions) -> Result<(), Status>;

    /// Deletes, many objects a commit, what can go at once in a namespace or tenant that is being deleted. Whatever
    /// must be waited for or asked about stays, to be deleted object by object: what has finalizers, pods, and what is
    /// beside pods in a namespace. What a tenant has outside its namespaces, and these themselves, go only once the
    /// namespaces are empty and nobody holds one.
    ///
    /// Nothing goes where the server does not do this. That is what this method says where it is not overridden.
    async fn clear(&self, within: &Within) -> Result<(), Status> {
        let _ = within;
        Ok(())
    }

    /// Posts to a subresource that is an action (`binding`, `eviction`, `token`, …), or to a resource that only answers
    /// (`subjectaccessreviews`, …; then `key` has an empty name and `action` is empty). Gives back what it answered.
    async fn post(&self, key: &ObjectKey, action: &str, body: Object) -> Result<Object, Status>;

    /// The same API, asked in somebody else's name: a user of the same tenant, with these groups. It is authorized as
    /// that user, by a server that this client's own identity may speak for others to.
    ///
    /// `None` where it cannot be. That is what this method says where it is not overridden.
    fn acting_as(&self, user: &str, groups: &[&str]) -> Option<Arc<dyn Client>> {
        let _ = (user, groups);
        None
    }
}

impl Query {
    /// All objects of a resource within a range of paths.
    #[must_use]
    pub fn all(resource: GroupResource, within: Within) -> Self {
        Self { resource, within, labels: LabelSelector::everything(), fields: FieldSelector::everything() }
    }

    /// All objects of a resource, in every tenant.
    #[must_use]
    pub fn everywhere(resource: GroupResource) -> Self {
        Self::all(resource, Within::Everywhere)
    }

    /// One object.
    #[must_use]
    pub fn object(resource: GroupResource, path: ObjectPath) -> Self {
        Self::all(resource, Within::Object(path))
    }

    /// The same query, for objects whose labels a selector matches, in place of the selector before.
    #[must_use]
    pub fn labels(mut self, labels: LabelSelector) -> Self {
        self.labels = labels;
        self
    }

    /// The same query, for objects whose field has a value.
    #[must_use]
    pub fn field(mut self, field: &str, value: &str) -> Self {
        self.fields.terms.extend(FieldSelector::equal(field, value).terms);
        self
    }
}

impl Listing {
    /// The objects of one consistent state, in the order of their paths.
    #[must_use]
    pub fn new(revision: Revision, items: Vec<Stored>) -> Self {
        Self { revision, items }
    }
}

impl DeleteOptions {
    /// The same, with so many seconds to end in.
    #[must_use]
    pub fn grace_period_seconds(mut self, seconds: i64) -> Self {
        self.grace_period_seconds = Some(seconds);
        self
    }

    /// The same, for the object of this uid alone.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = Some(uid.into());
        self
    }

    /// The same, for the object at this revision alone.
    #[must_use]
    pub fn revision(mut self, revision: Revision) -> Self {
        self.revision = Some(revision);
        self
    }

    /// The same, with this for what the object owns.
    #[must_use]
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = Some(propagation);
        self
    }
}
