//! Informers: a local, indexed copy of what a query selects, kept current over any [`Source`], and the events of its
//! changes.
//!
//! ```text
//!   an engine · the API in process · any Kubernetes API over HTTP
//!                            │
//!                         Source            list, watch, or both in one stream
//!                            │
//!        gates ─────────► driver            run by the owner; waits while a gate is closed
//!                            ├─────────────► Store      objects by path (so by tenant) and by indexes
//!                            └─────────────► handlers   Added, Updated, Removed, in order, each change once
//!                                               │
//!                                           WorkQueue   each key once, tenants in turn ──► workers
//! ```
//!
//! # What it does
//!
//! * **It opens with one stream** that begins with everything there is and goes on with what changes
//!   ([`Source::watch_list`]), where the source has such streams; else it lists, then watches.
//! * **A new state replaces the old one when it is complete, never before.** While it comes in, the store and the
//!   handlers have the old one. Then the difference is told, each object once: what is new, what has changed, what is
//!   gone; an object that was made anew under the same name is removed and added. The store goes in step with what the
//!   handlers are told.
//! * **A watch that ends is opened anew where it left off**; bookmarks carry that place forward while nothing happens.
//!   When history does not reach back to it (410), a new state is taken in.
//! * **A source that fails, is silent, or hangs up at once is asked again** after a wait that doubles, up to half a
//!   minute, with jitter, and not before it wants to be (`Retry-After`).
//! * **Unreachable is not gone.** While the source does not answer, nothing is removed; [`Informer::progress`] says
//!   whether what is here is complete and current, and controllers that act on absence ask it first.
//! * **A slow consumer costs nobody else anything.** It closes a [`Gate`], and the informer stops reading. Over an
//!   engine all it holds then is a place in the event log. It goes on where it was or, when history has passed it by,
//!   with the difference to a new state. What lies in its hands is bounded: what it keeps, and during a new state that
//!   state.
//!
//! # Over an engine, alone
//!
//! ```
//! use std::sync::Arc;
//!
//! use arktos_core::{Encoded, GroupResource, Object, ObjectKey, TenantName, Timestamp, TypeMeta};
//! use arktos_store::clock::{ManualClock, SeededRandom};
//! use arktos_store::{Change, Commit, Engine, Expect, Informer, Outcome, Query, Stored, WorkQueue};
//!
//! # futures::executor::block_on(async {
//! let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
//! let engine = Engine::memory(clock.clone());
//! let recipes = GroupResource::new("example.org", "recipes");
//!
//! // What changes goes into a queue, by path; while the queue is full, the informer does not read on.
//! let queue = WorkQueue::new(clock.clone());
//! let random = Arc::new(SeededRandom::new(7));
//! let source = Arc::new(engine.source());
//! let (informer, driver) = Informer::<Stored>::builder(source, Query::everywhere(recipes.clone()), clock, random)
//!     .index("uid", |_, recipe| vec![recipe.object.header().uid().to_owned()])
//!     .feed(&queue, |event| vec![event.path().clone()])
//!     .build();
//!
//! let application = async {
//!     let acme = TenantName::new("acme")?;
//!     let key = ObjectKey::namespaced(recipes, &acme, "kitchen", "soup");
//!     let type_meta = Arc::new(TypeMeta::new("example.org", "v1", "Recipe"));
//!     let object = serde_json::json!({"metadata": {"name": "soup", "uid": "u-1"}, "servings": 4});
//!     let object = Object::from_value(object).ok_or("not an object")?;
//!     let change = Change::put(Encoded::encode(&type_meta, &object, &[])?);
//!     let written = engine.commit(Commit::one(key.clone(), Expect::Absent, change)).await?;
//!
//!     informer.reached(written.revision).await?;
//!     assert!(informer.store().get(&key.path).is_some());
//!     assert_eq!(informer.store().by("uid", "u-1").len(), 1);
//!     assert_eq!(informer.store().view().tenants().collect::<Vec<_>>(), ["acme"]);
//!     let taken = queue.get().await.ok_or("the queue is shut down")?;
//!     assert_eq!(*taken, key.path);
//!     taken.finish(Outcome::Done);
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! };
//! // Nothing runs by itself: the owner runs the driver, here beside the application.
//! futures::pin_mut!(application);
//! match futures::future::select(application, driver).await {
//!     futures::future::Either::Left((outcome, _)) => outcome,
//!     futures::future::Either::Right(_) => unreachable!("a driver never ends by itself"),
//! }
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Over a remote API
//!
//! `arktos_bin::net::remote::Remote` (in the façade: `arktos::remote`, with the feature of that name) is a source over
//! HTTP: of a region, or of any Kubernetes server, whose objects it puts under a tenant of one's choice.

mod cache;
mod decode;
mod reflector;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectPath, Revision, Timestamp};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

pub use self::cache::{IndexFn, Store, View};
pub use self::decode::{Decode, DecodeError, Located, Origin, Parsed, Passing};
use crate::client::{Query, Source};
use crate::clock::{Clock, Random};
use crate::queue::{Key, WorkQueue};

/// A change of an informer's local store.
#[derive(Debug)]
pub enum Event<T> {
    /// The object is new.
    Added {
        /// Where it is.
        path: ObjectPath,
        /// The object.
        new: Arc<T>,
    },
    /// The object has changed or, where the informer tells everything again from time to time
    /// ([`Builder::resync`]), is as it was: then `old` and `new` are the same.
    Updated {
        /// Where it is.
        path: ObjectPath,
        /// The object as it was.
        old: Arc<T>,
        /// The object as it is.
        new: Arc<T>,
    },
    /// The object is gone, or is no longer what the query selects.
    Removed {
        /// Where it was.
        path: ObjectPath,
        /// The object as it was last seen.
        old: Arc<T>,
    },
}

/// What is called with each event, in order, by the informer's driver. It must not block; what takes time goes through
/// a [`crate::WorkQueue`].
pub type Handler<T> = Box<dyn FnMut(&Event<T>) + Send>;

/// Holds an informer back while whoever its handlers feed has no room: it stops reading its source, which costs nobody
/// else anything.
pub trait Gate: Send + Sync + 'static {
    /// Whether there is room for one more event.
    fn is_open(&self) -> bool;

    /// Completes when there may be room again.
    fn opened(&self) -> BoxFuture<'_, ()>;
}

/// The future that keeps an informer current. It never ends by itself: its owner runs it and drops it.
pub type Driver = BoxFuture<'static, ()>;

/// How far an informer is, and whether it can be relied on for what is *not* there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// A complete list has been taken in, and all handlers have been told of it, at some time.
    pub synced: bool,
    /// What is here is complete, and changes are being received as they happen. After a broken watch this holds again
    /// as soon as the source has confirmed that what was missed has been delivered.
    pub current: bool,
    /// Everything up to here has been taken in.
    pub revision: Revision,
    /// When the source was last heard of.
    pub last_contact: Option<Timestamp>,
}

/// The informer's driver has been dropped, so what was waited for will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the informer was stopped")]
#[non_exhaustive]
pub struct Stopped;

/// A local copy of what a query selects. Cloning it shares it.
pub struct Informer<T>(Arc<Shared<T>>);

struct Shared<T> {
    store: Store<T>,
    /// Written by the driver.
    progress: watch::Receiver<Progress>,
    /// Handlers that the driver is yet to take over. Written by whoever adds one.
    newcomers: Arc<Newcomers<T>>,
}

struct Newcomers<T> {
    handlers: Mutex<Vec<Handler<T>>>,
    arrived: Notify,
}

/// How an informer is set up.
pub struct Builder<T> {
    source: Arc<dyn Source>,
    query: Query,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    indexes: Vec<(&'static str, IndexFn<T>)>,
    handlers: Vec<Handler<T>>,
    gates: Vec<Arc<dyn Gate>>,
    silence: Duration,
    resync: Option<Duration>,
}

impl<T: Decode> Informer<T> {
    /// An informer without indexes, and the future that keeps it current, which its owner runs.
    pub fn new(
        source: Arc<dyn Source>,
        query: Query,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> (Self, Driver) {
        Self::builder(source, query, clock, random).build()
    }

    /// An informer to be set up with indexes and handlers.
    pub fn builder(
        source: Arc<dyn Source>,
        query: Query,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Builder<T> {
        let silence = Duration::from_secs(180);
        Builder {
            source,
            query,
            clock,
            random,
            indexes: Vec::new(),
            handlers: Vec::new(),
            gates: Vec::new(),
            silence,
            resync: None,
        }
    }

    /// The local store.
    #[must_use]
    pub fn store(&self) -> &Store<T> {
        &self.0.store
    }

    /// How far it is, and whether it is complete and current.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.0.progress.borrow()
    }

    /// Whether what is here is complete and current, and the source was heard of within `age`: only then may absence
    /// be acted on.
    #[must_use]
    pub fn is_current(&self, now: Timestamp, age: Duration) -> bool {
        let progress = self.progress();
        progress.current && progress.last_contact.is_some_and(|contact| now.since(contact) <= age)
    }

    /// Completes when a complete list has been taken in and all handlers have been told of it. Cancel safe.
    ///
    /// # Errors
    /// [`Stopped`] when the driver was dropped before that.
    pub async fn synced(&self) -> Result<(), Stopped> {
        self.until(|progress| progress.synced).await
    }

    /// Completes when everything up to a revision has been taken in: after a write of one's own, for one. Cancel safe.
    ///
    /// # Errors
    /// [`Stopped`] when the driver was dropped before that.
    pub async fn reached(&self, revision: Revision) -> Result<(), Stopped> {
        self.until(|progress| progress.synced && progress.revision >= revision).await
    }

    /// Completes when a condition on the progress holds. Cancel safe.
    ///
    /// # Errors
    /// [`Stopped`] when the driver was dropped before that.
    pub async fn until(&self, condition: impl FnMut(&Progress) -> bool) -> Result<(), Stopped> {
        let mut progress = self.0.progress.clone();
        let outcome = progress.wait_for(condition).await;
        outcome.map(|_| ()).map_err(|_| Stopped)
    }

    /// Whether the other one shares what this one has.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Adds a handler. It is told of everything that is here already as added, then of each change.
    pub fn handle(&self, handler: impl FnMut(&Event<T>) + Send + 'static) {
        self.0.newcomers.handlers.lock().push(Box::new(handler));
        self.0.newcomers.arrived.notify_one();
    }
}

impl<T: Decode> Builder<T> {
    /// Adds an index: `keys_of` gives the keys under which an object is found (none: it is not in the index).
    #[must_use]
    pub fn index<K: Into<Arc<str>>>(
        mut self,
        name: &'static str,
        keys_of: impl Fn(&ObjectPath, &T) -> Vec<K> + Send + Sync + 'static,
    ) -> Self {
        let keys_of: IndexFn<T> =
            Arc::new(move |path, value| keys_of(path, value).into_iter().map(Into::into).collect());
        self.indexes.push((name, keys_of));
        self
    }

    /// Adds a handler, which sees everything from the first object on.
    #[must_use]
    pub fn handler(mut self, handler: impl FnMut(&Event<T>) + Send + 'static) -> Self {
        self.handlers.push(Box::new(handler));
        self
    }

    /// Holds the informer back whenever the gate is closed.
    #[must_use]
    pub fn gate(mut self, gate: Arc<dyn Gate>) -> Self {
        self.gates.push(gate);
        self
    }

    /// Adds what `keys_of` makes of each event to a work queue, and holds the informer back while the queue is full, so
    /// that no key is ever refused.
    #[must_use]
    pub fn feed<K: Key + Sync>(
        self,
        queue: &WorkQueue<K>,
        keys_of: impl Fn(&Event<T>) -> Vec<K> + Send + 'static,
    ) -> Self {
        let into = queue.clone();
        let builder = self.handler(move |event| keys_of(event).into_iter().for_each(|key| into.add_beyond(key)));
        builder.gate(Arc::new(queue.clone()))
    }

    /// How long the source may say nothing at all, bookmarks included, before the watch is opened anew. Default: three
    /// minutes.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// How often everything that is here is handed to the handlers again, as updated from what it is to what it is: for
    /// consumers that look after something outside, which changes without anybody's word. Default: never. Zero is
    /// never, too.
    #[must_use]
    pub fn resync(mut self, every: Duration) -> Self {
        self.resync = (!every.is_zero()).then_some(every);
        self
    }

    /// The informer, and the future that keeps it current, which its owner runs.
    #[must_use]
    pub fn build(self) -> (Informer<T>, Driver) {
        let store = Store::new(self.indexes);
        let (report, progress) = watch::channel(Progress::default());
        let newcomers = Arc::new(Newcomers { handlers: Mutex::new(self.handlers), arrived: Notify::new() });
        let reflector = reflector::Reflector {
            source: self.source,
            query: self.query,
            clock: self.clock,
            random: self.random,
            silence: self.silence,
            resync: self.resync.map(|every| reflector::Resync { every, next: None }),
            store: store.clone(),
            handlers: Vec::new(),
            gates: self.gates,
            newcomers: newcomers.clone(),
            report,
        };
        (Informer(Arc::new(Shared { store, progress, newcomers })), Box::pin(reflector.run()))
    }
}

impl<T> Event<T> {
    /// Where the object is, or was.
    #[must_use]
    pub fn path(&self) -> &ObjectPath {
        match self {
            Self::Added { path, .. } | Self::Updated { path, .. } | Self::Removed { path, .. } => path,
        }
    }

    /// The object as it was, if it was there.
    #[must_use]
    pub fn before(&self) -> Option<&Arc<T>> {
        match self {
            Self::Added { .. } => None,
            Self::Updated { old, .. } | Self::Removed { old, .. } => Some(old),
        }
    }

    /// The object as it is, if it is there.
    #[must_use]
    pub fn after(&self) -> Option<&Arc<T>> {
        match self {
            Self::Added { new, .. } | Self::Updated { new, .. } => Some(new),
            Self::Removed { .. } => None,
        }
    }

    /// The object as it is or, when it is gone, as it was last seen.
    #[must_use]
    pub fn newest(&self) -> &Arc<T> {
        match self {
            Self::Added { new, .. } | Self::Updated { new, .. } => new,
            Self::Removed { old, .. } => old,
        }
    }
}

impl<T> Clone for Informer<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
