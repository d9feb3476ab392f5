//! An engine as a source of informers: queries by the names clients use, bookmarks, the initial state in the watch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{GroupResource, ObjectPath, Reason, Revision, Status};
use async_trait::async_trait;
use futures::future::{BoxFuture, Either, select};
use futures::{Stream, StreamExt, stream};

use super::{Cursor, Engine, Snapshot};
use crate::client::{Listing, Query, Source, WatchListEvent, WatchListStream, WatchStream};
use crate::clock::Clock;
use crate::select::{Delivery, Field, FieldTest, Selection, Stored, WatchError};

/// How often a quiet watch is told how far it has come.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How many objects of the initial state are taken from the snapshot at once.
const INITIAL_CHUNK: usize = 256;

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

    fn changes(&self, selection: Selection, after: Revision) -> Result<Changes, Status> {
        let cursor = self.engine.watch(selection, after).map_err(|error| fault(&error))?;
        let clock = self.clock.clone();
        Ok(Changes { cursor, tick: clock.sleep(BOOKMARK_EVERY), clock, confirmed: false, ended: false })
    }
}

#[async_trait]
impl Source for EngineSource {
    async fn list(&self, query: &Query) -> Result<Listing, Status> {
        let selection = self.selection(query)?;
        let snapshot = self.engine.latest().await.map_err(|error| fault(&error))?;
        let found = snapshot.range(&selection.resource, &selection.within, None);
        let items = found.filter(|stored| selection.matches(&stored.path, &stored.object)).collect();
        Ok(Listing { revision: snapshot.revision(), items })
    }

    async fn watch(&self, query: &Query, after: Revision) -> Result<WatchStream, Status> {
        Ok(self.changes(self.selection(query)?, after)?.into_stream().boxed())
    }

    async fn watch_list(&self, query: &Query) -> Result<WatchListStream, Status> {
        let selection = self.selection(query)?;
        let snapshot = self.engine.latest().await.map_err(|error| fault(&error))?;
        let revision = snapshot.revision();
        let changes = self.changes(selection.clone(), revision)?;
        let initial = Initial { snapshot, selection, last: None, ready: VecDeque::new(), done: false };
        let initial = stream::iter(initial).map(|stored| Ok(WatchListEvent::Delivery(Delivery::Added(stored))));
        let end = stream::iter([Ok(WatchListEvent::InitialEnd(revision))]);
        let changes = changes.into_stream().map(|delivery| delivery.map(WatchListEvent::Delivery));
        Ok(initial.chain(end).chain(changes).boxed())
    }
}

/// What a snapshot has of a selection, some at a time.
struct Initial {
    snapshot: Snapshot,
    selection: Selection,
    last: Option<ObjectPath>,
    ready: VecDeque<Stored>,
    done: bool,
}

impl Iterator for Initial {
    type Item = Stored;

    fn next(&mut self) -> Option<Stored> {
        if self.ready.is_empty() && !self.done {
            let selection = &self.selection;
            let found = self.snapshot.range(&selection.resource, &selection.within, self.last.as_ref());
            let found = found.filter(|stored| selection.matches(&stored.path, &stored.object));
            self.ready = found.take(INITIAL_CHUNK).collect();
            self.done = self.ready.len() < INITIAL_CHUNK;
            self.last = self.ready.back().map(|stored| stored.path.clone());
        }
        self.ready.pop_front()
    }
}

/// One watch, as its stream pulls it along: a cursor, and nothing that fills up.
struct Changes {
    cursor: Cursor,
    clock: Arc<dyn Clock>,
    tick: BoxFuture<'static, ()>,
    /// Whether the watcher has been told that it has caught up. Later, bookmarks come by the clock.
    confirmed: bool,
    ended: bool,
}

impl Changes {
    fn into_stream(self) -> impl Stream<Item = Result<Delivery, Status>> + Send + 'static {
        stream::unfold(self, |mut changes| async move { changes.next().await.map(|next| (next, changes)) })
    }

    async fn next(&mut self) -> Option<Result<Delivery, Status>> {
        if self.ended {
            return None;
        }
        let next = match self.cursor.try_next() {
            Ok(Some(delivery)) => Ok(delivery),
            Ok(None) if self.confirmed => self.waited().await,
            Ok(None) => {
                self.confirmed = true;
                Ok(Delivery::Bookmark(self.cursor.bookmark_now()))
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
    async fn waited(&mut self) -> Result<Delivery, WatchError> {
        {
            let next = std::pin::pin!(self.cursor.next());
            if let Either::Left((next, _)) = select(next, &mut self.tick).await {
                return next;
            }
        }
        self.tick = self.clock.sleep(BOOKMARK_EVERY);
        Ok(Delivery::Bookmark(self.cursor.bookmark_now()))
    }
}

fn fault(error: &WatchError) -> Status {
    match error {
        WatchError::Compacted { .. } => Status::expired(error.to_string()),
        _ => Status::failure(Reason::ServiceUnavailable, error.to_string()),
    }
}
