//! An engine as a source of informers: queries by the names clients use, bookmarks, the initial state in the watch.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{GroupResource, Reason, Revision, Status};
use async_trait::async_trait;
use futures::future::{BoxFuture, Either, ready, select};
use futures::{StreamExt, stream};

use super::{Engine, ListWatch};
use crate::client::{Listing, Query, Source, WatchListEvent, WatchListStream, WatchStream};
use crate::clock::Clock;
use crate::select::{Delivery, Field, FieldTest, Selection, WatchError};

/// How often a quiet watch is told how far it has come.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// Where a resource's selectable field is kept, by the field's name.
type Fields = Arc<dyn Fn(&GroupResource, &str) -> Option<Field> + Send + Sync>;

/// An engine as a [`Source`]: what informers need, without an API in between. Nobody is authenticated, nothing is
/// authorized. Cloning it shares it. It keeps its engine alive.
///
/// ```
/// use std::sync::Arc;
///
/// use arktos_core::{GroupResource, Timestamp};
/// use arktos_store::clock::ManualClock;
/// use arktos_store::select::Field;
/// use arktos_store::{Engine, Query, Source};
///
/// # futures::executor::block_on(async {
/// let engine = Engine::memory(Arc::new(ManualClock::new(Timestamp::from_micros(0))));
/// let recipes = GroupResource::new("example.org", "recipes");
/// // Recipes are encoded with `spec.cook` as the first of their selectable fields.
/// let source = engine.source().fields(|_, name| (name == "spec.cook").then_some(Field::At(0)));
/// let by_cook = Query::everywhere(recipes.clone()).field("spec.cook", "ada");
/// assert!(source.list(&by_cook).await?.items.is_empty());
/// assert!(source.list(&Query::everywhere(recipes).field("spec.taste", "good")).await.is_err());
/// # Ok::<(), arktos_core::Status>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct EngineSource {
    engine: Engine,
    clock: Arc<dyn Clock>,
    fields: Fields,
}

impl EngineSource {
    pub(super) fn new(engine: Engine, clock: Arc<dyn Clock>) -> Self {
        Self { engine, clock, fields: Arc::new(|_, _| None) }
    }

    /// The same, with fields to select by: `resolve` says where a field of a resource is kept, by its name.
    /// `metadata.name` and `metadata.namespace` are known without it.
    #[must_use]
    pub fn fields(mut self, resolve: impl Fn(&GroupResource, &str) -> Option<Field> + Send + Sync + 'static) -> Self {
        self.fields = Arc::new(resolve);
        self
    }

    fn selection(&self, query: &Query) -> Result<Selection, Status> {
        let mut selection = Selection::all(query.resource.clone(), query.within.clone());
        selection.labels = query.labels.clone();
        for term in &query.fields.terms {
            let field = match term.field.as_str() {
                "metadata.name" => Field::Name,
                "metadata.namespace" => Field::Namespace,
                name => (self.fields)(&query.resource, name).ok_or_else(|| {
                    Status::bad_request(format!("{} cannot be selected by the field {name:?}", query.resource))
                })?,
            };
            selection.fields.push(FieldTest { field, value: term.value.clone(), equal: term.equal });
        }
        Ok(selection)
    }

    fn follow(&self, opened: Result<ListWatch, WatchError>) -> Result<WatchListStream, Status> {
        let (told, clock) = (opened.map_err(|error| fault(&error))?, self.clock.clone());
        let changes = Changes { told, tick: clock.sleep(BOOKMARK_EVERY), clock, confirmed: false, ended: false };
        let next = |mut changes: Changes| async move { changes.next().await.map(|next| (next, changes)) };
        Ok(stream::unfold(changes, next).boxed())
    }
}

#[async_trait]
impl Source for EngineSource {
    async fn list(&self, query: &Query) -> Result<Listing, Status> {
        let selection = self.selection(query)?;
        let snapshot = self.engine.latest().await.map_err(|error| fault(&error))?;
        let items = snapshot.select(&selection, None).map(Arc::unwrap_or_clone).collect();
        Ok(Listing { revision: snapshot.revision(), items })
    }

    async fn watch(&self, query: &Query, after: Revision) -> Result<WatchStream, Status> {
        let opened = self.engine.watch(self.selection(query)?, after).map(ListWatch::from);
        let changes = self.follow(opened)?.filter_map(|event| {
            ready(match event {
                Ok(WatchListEvent::Delivery(delivery)) => Some(Ok(delivery)),
                Ok(WatchListEvent::InitialEnd(_)) => None, // it has no initial state
                Err(status) => Some(Err(status)),
            })
        });
        Ok(changes.boxed())
    }

    async fn watch_list(&self, query: &Query) -> Result<WatchListStream, Status> {
        let opened = self.engine.list_watch(self.selection(query)?).await;
        self.follow(opened)
    }
}

/// One watch, as its stream pulls it along: nothing that fills up.
struct Changes {
    told: ListWatch,
    clock: Arc<dyn Clock>,
    tick: BoxFuture<'static, ()>,
    /// Whether the watcher has been told that it has caught up. Later, bookmarks come by the clock.
    confirmed: bool,
    ended: bool,
}

impl Changes {
    async fn next(&mut self) -> Option<Result<WatchListEvent, Status>> {
        if self.ended {
            return None;
        }
        let next = match self.told.try_next() {
            Ok(Some(event)) => Ok(event),
            Ok(None) if self.confirmed => self.waited().await,
            Ok(None) => {
                self.confirmed = true;
                Ok(self.bookmark())
            }
            Err(error) => Err(error),
        };
        self.ended = next.is_err();
        match next {
            Err(WatchError::Closed) => None,
            next => Some(next.map_err(|error| fault(&error))),
        }
    }

    /// The next delivery, or a bookmark when it is time for one.
    async fn waited(&mut self) -> Result<WatchListEvent, WatchError> {
        {
            let next = std::pin::pin!(self.told.next());
            if let Either::Left((next, _)) = select(next, &mut self.tick).await {
                return next;
            }
        }
        self.tick = self.clock.sleep(BOOKMARK_EVERY);
        Ok(self.bookmark())
    }

    /// A bookmark; only ever asked for when the initial state has been delivered.
    fn bookmark(&mut self) -> WatchListEvent {
        WatchListEvent::Delivery(Delivery::Bookmark(self.told.bookmark_now().unwrap_or_default()))
    }
}

fn fault(error: &WatchError) -> Status {
    match error {
        WatchError::Compacted { .. } => Status::expired(error.to_string()),
        _ => Status::failure(Reason::ServiceUnavailable, error.to_string()),
    }
}
