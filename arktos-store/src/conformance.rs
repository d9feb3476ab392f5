//! A test kit for backends: what the [`Engine`] promises, checked over whatever keeps its data.
//!
//! Whoever writes a backend implements [`Backend`] for it, a few lines that open an engine over it, and lets [`run`]
//! check it in a test of their own:
//!
//! ```
//! use std::sync::Arc;
//!
//! use arktos_store::conformance::{self, Backend, Keeps, Opened};
//! use arktos_store::storage::OpenError;
//! use arktos_store::{Clock, Engine, EngineConfig};
//!
//! struct Memory;
//!
//! #[async_trait::async_trait]
//! impl Backend for Memory {
//!     fn keeps(&self) -> Keeps {
//!         Keeps::Nothing
//!     }
//!
//!     async fn open(&self, config: EngineConfig, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
//!         Ok(Opened::new(Engine::memory_with(config, clock)))
//!     }
//! }
//!
//! # futures::executor::block_on(async {
//! conformance::run(&Memory).await.expect("the memory backend keeps what the engine promises");
//! # });
//! ```
//!
//! The checks do not sleep and do not depend on time; a commit that was answered must be visible at once. Each check
//! keeps to a resource of its own, so the store need not be empty when it begins. What a watch guarantees, and how to
//! check one that you have recorded yourself, is in [`guarantees`].

pub mod guarantees;
mod reads;
mod restarts;
mod shared;
mod streams;
mod watches;
mod writers;
mod writes;

use std::future::Future;
use std::sync::Arc;

use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, Revision, Timestamp, TypeMeta};
use async_trait::async_trait;
use futures::future::{BoxFuture, Either, join_all, select};
use serde_json::json;

use crate::clock::{Clock, ManualClock};
use crate::commit::{Change, Commit, CommitError, Committed, Expect};
use crate::engine::{Cursor, Engine, EngineConfig};
use crate::select::{Delivery, Selection, Stored, WatchError, Within};
use crate::storage::OpenError;
use crate::tasks::give_way;

/// What is still there when an engine is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keeps {
    /// Nothing: the store lives as long as its engine.
    Nothing,
    /// The objects and counters; watches must list anew.
    State,
    /// The recent history as well: watches go on where they were.
    History,
}

/// A backend, as the kit needs it.
#[async_trait]
pub trait Backend: Send + Sync {
    /// What is still there when an engine is opened again.
    fn keeps(&self) -> Keeps;

    /// Whether several engines can have the store open at the same time.
    fn is_shared(&self) -> bool {
        false
    }

    /// Opens an engine over what the engines before it have written. Unless the backend is shared, the one before was
    /// closed, or dropped.
    ///
    /// # Errors
    /// [`OpenError`], which fails the check.
    async fn open(&self, config: EngineConfig, clock: Arc<dyn Clock>) -> Result<Opened, OpenError>;
}

/// An engine that was opened, and what must run for it to work.
pub struct Opened {
    engine: Engine,
    running: Vec<BoxFuture<'static, ()>>,
}

impl Opened {
    /// An engine that works by itself.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, running: Vec::new() }
    }

    /// The same engine, with a future that the kit runs while it works with the engine.
    #[must_use]
    pub fn running(mut self, future: BoxFuture<'static, ()>) -> Self {
        self.running.push(future);
        self
    }

    /// The engine, and the futures that must run for it to work: for tests of one's own over a [`Backend`].
    #[must_use]
    pub fn into_parts(self) -> (Engine, Vec<BoxFuture<'static, ()>>) {
        (self.engine, self.running)
    }
}

/// A promise that was not kept.
#[derive(Debug, thiserror::Error)]
#[error("{check}: {what}")]
#[non_exhaustive]
pub struct Failure {
    /// The check that failed.
    pub check: &'static str,
    /// What was found.
    pub what: String,
}

/// Checks all promises. Stops at the first that is not kept.
///
/// # Errors
/// [`Failure`]: the promise, and what was found in its place.
pub async fn run(backend: &dyn Backend) -> Result<(), Failure> {
    let kit = Kit { backend, clock: ManualClock::new(START) };
    named("writes", kit.with(writes::check)).await?;
    named("guards", kit.with(writes::check_guards)).await?;
    named("counters", kit.with(writes::check_counters)).await?;
    named("expiry", kit.with(writes::check_expiry)).await?;
    named("reads", kit.with(reads::check)).await?;
    named("past states", kit.with(reads::check_past)).await?;
    named("watches", kit.with(watches::check)).await?;
    named("selections", kit.with(watches::check_selections)).await?;
    named("resuming", kit.with(watches::check_resuming)).await?;
    named("compaction", kit.with(watches::check_compaction)).await?;
    named("the nine guarantees of a watch", streams::check(&kit)).await?;
    named("concurrent writers", kit.with(writers::check)).await?;
    named("concurrent counters", kit.with(writers::check_counters)).await?;
    if backend.keeps() != Keeps::Nothing {
        named("restart in order", restarts::check(&kit, "closed", true)).await?;
        named("restart without notice", restarts::check(&kit, "dropped", false)).await?;
    }
    if backend.is_shared() {
        named("several engines", shared::check(&kit)).await?;
    }
    Ok(())
}

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// What a check found in place of what was promised.
#[derive(Debug)]
struct Fault(String);

type Checked = Result<(), Fault>;

async fn named(check: &'static str, checked: impl Future<Output = Checked>) -> Result<(), Failure> {
    tracing::debug!(check, "a check begins");
    checked.await.map_err(|fault| Failure { check, what: fault.0 })
}

/// What the checks work with.
struct Kit<'a> {
    backend: &'a dyn Backend,
    clock: ManualClock,
}

impl Kit<'_> {
    /// Opens an engine, runs a check on it, and closes it.
    async fn with<F: Future<Output = Checked>>(&self, check: impl FnOnce(Engine, ManualClock) -> F) -> Checked {
        self.configured(EngineConfig::default(), check).await
    }

    /// The same, with limits of the check's own.
    async fn configured<F: Future<Output = Checked>>(
        &self,
        config: EngineConfig,
        check: impl FnOnce(Engine, ManualClock) -> F,
    ) -> Checked {
        let opened = self.backend.open(config, Arc::new(self.clock.clone())).await?;
        let engine = opened.engine.clone();
        let closing = engine.clone();
        let checked = async {
            let checked = check(engine, self.clock.clone()).await;
            closing.close().await;
            checked
        };
        opened.run(checked).await
    }

    async fn open(&self) -> Result<Opened, Fault> {
        Ok(self.backend.open(EngineConfig::default(), Arc::new(self.clock.clone())).await?)
    }
}

impl Opened {
    /// Runs a future, and beside it what must run for the engine to work.
    async fn run<R>(self, future: impl Future<Output = R>) -> R {
        let running = std::pin::pin!(join_all(self.running));
        match select(std::pin::pin!(future), running).await {
            Either::Left((result, _)) => result,
            Either::Right((_, future)) => future.await,
        }
    }
}

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        Self(format!("a commit was refused: {error}"))
    }
}

impl From<WatchError> for Fault {
    fn from(error: WatchError) -> Self {
        Self(format!("a read or a watch failed: {error}"))
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        Self(format!("the store did not open: {error}"))
    }
}

/// Fails the check unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Fault(format!($($what)+)));
        }
    };
}
use ensure;

/// Fails the check unless something is as expected.
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Checked {
    ensure!(found == expected, "{what}: found {found:?}, expected {expected:?}");
    Ok(())
}

/// The resource a check keeps to.
fn resource(check: &str) -> GroupResource {
    GroupResource::new("conformance.arktos.io", check)
}

fn key(check: &str, name: &str) -> ObjectKey {
    ObjectKey { resource: resource(check), path: ObjectPath::new("acme", "default", name) }
}

/// An object with a value (its selectable field, and its label `value`); `deleting` if it is marked for deletion.
fn object(name: &str, value: &str, deleting: bool) -> Result<Encoded, Fault> {
    let type_meta = Arc::new(TypeMeta::new("conformance.arktos.io", "v1", "Thing"));
    let mut tree = json!({
        "metadata": {"name": name, "uid": format!("uid-of-{name}"), "labels": {"value": value}},
        "spec": {"value": value},
    });
    if deleting {
        tree["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        tree["metadata"]["finalizers"] = json!(["conformance.arktos.io/stay"]);
    }
    let object = Object::from_value(tree).ok_or_else(|| Fault("not an object".to_owned()))?;
    Encoded::encode(&type_meta, &object, &[&["spec", "value"]]).map_err(|error| Fault(error.to_string()))
}

fn put(check: &str, name: &str, expect: Expect, value: &str) -> Result<Commit, Fault> {
    Ok(Commit::one(key(check, name), expect, Change::put(object(name, value, false)?)))
}

fn delete(check: &str, name: &str, expect: Expect) -> Commit {
    Commit::one(key(check, name), expect, Change::Delete)
}

/// The revision of a commit of one write.
fn revision(committed: &Committed) -> Result<Revision, Fault> {
    match committed.revisions.as_slice() {
        [revision] if committed.revision == *revision => Ok(*revision),
        _ => Err(Fault(format!("one write, and these revisions: {committed:?}"))),
    }
}

fn everything(check: &str) -> Selection {
    Selection::all(resource(check), Within::Everywhere)
}

/// What an object's value is, in the stored bytes.
fn value(stored: &Stored) -> Result<String, Fault> {
    let object = stored.object.decode(None).map_err(|error| Fault(format!("the bytes are damaged: {error}")))?;
    Ok(object.str_at(&["spec", "value"]).to_owned())
}

/// All that a cursor has to deliver up to the newest revision: `+name=value@revision`, `~…` for changes, `-…` for
/// deletions. A commit that was answered is in every snapshot; cursors may hear of it a moment later.
async fn deliveries(engine: &Engine, cursor: &mut Cursor) -> Result<Vec<String>, Fault> {
    let newest = engine.snapshot().revision();
    let mut told = Vec::new();
    loop {
        let until = cursor.bookmark_now();
        while let Some(delivery) = cursor.try_next()? {
            let (sign, stored) = match &delivery {
                Delivery::Added(stored) => ('+', stored),
                Delivery::Modified(stored) => ('~', stored),
                Delivery::Deleted(stored) => ('-', stored),
                Delivery::Bookmark(_) => continue,
            };
            told.push(format!("{sign}{}={}@{}", stored.path.name(), value(stored)?, stored.revision));
        }
        if until >= newest {
            return Ok(told);
        }
        give_way().await;
    }
}

/// What there is of a check's resource now: `name=value@revision`.
fn listing(engine: &Engine, check: &str) -> Result<Vec<String>, Fault> {
    let (snapshot, resource) = (engine.snapshot(), resource(check));
    let items = snapshot.range(&resource, &Within::Everywhere, None);
    items.map(|it| Ok(format!("{}={}@{}", it.path.name(), value(&it)?, it.revision))).collect()
}
