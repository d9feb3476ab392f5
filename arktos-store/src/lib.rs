//! Keep and watch: the storage trait and its backends, the list-watch engine, informers.
//!
//! Objects are written under conditions, read as they were at one revision, and watched from one on. That is all a
//! control plane needs of a store, and this crate is that store: inside your process, at the price of one disk sync a
//! write, or shared with other processes over etcd.
//!
//! It knows nothing of HTTP and of no particular kind: an object is an [`arktos_core::Encoded`] under an
//! [`arktos_core::ObjectKey`]. It spawns nothing on anybody's runtime: what must run is handed to its owner.
//!
//! # A first program
//!
//! ```
//! use std::sync::Arc;
//!
//! use arktos_core::{Encoded, GroupResource, Object, ObjectKey, TenantName, Timestamp, TypeMeta};
//! use arktos_store::clock::ManualClock;
//! use arktos_store::{Change, Commit, Delivery, Engine, Expect, Selection, Within};
//!
//! # futures::executor::block_on(async {
//! let engine = Engine::memory(Arc::new(ManualClock::new(Timestamp::from_micros(0))));
//! let recipes = GroupResource::new("example.org", "recipes");
//! let key = ObjectKey::namespaced(recipes.clone(), &TenantName::new("acme")?, "kitchen", "soup");
//!
//! // A state is taken in O(1) and never changes; a watch tells what comes after it, in order, each write once.
//! let before = engine.snapshot();
//! let mut watch = engine.watch(Selection::all(recipes.clone(), Within::Everywhere), before.revision())?;
//!
//! let object = Object::from_value(serde_json::json!({"metadata": {"name": "soup"}, "servings": 4})).ok_or("no
//! object")?; let object = Encoded::encode(&Arc::new(TypeMeta::new("example.org", "v1", "Recipe")), &object, &[])?;
//! let written = engine.commit(Commit::one(key.clone(), Expect::Absent, Change::put(object))).await?;
//!
//! assert!(matches!(watch.next().await?, Delivery::Added(recipe) if recipe.revision == written.revision));
//! assert_eq!(before.count(&recipes, &Within::Everywhere), 0);
//! assert!(engine.snapshot().get(&key).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which store
//!
//! | for | open with | feature |
//! |---|---|---|
//! | tests, caches, what may be lost | [`Engine::memory`] | none |
//! | one process, everything kept: **the usual one** | [`Engine::open`] over [`log::LogJournal`] | `log` (default) |
//! | the same over a sled database, within its limits | [`Engine::open`] over `sled::SledJournal` | `sled` |
//! | several processes that share one store | [`Engine::shared`] over `etcd::Etcd` | `etcd` |
//! | one of your own | either, over your [`storage::Journal`] or [`storage::Storage`] | none |
//!
//! A store that keeps something must be looked after: its owner runs [`Engine::maintenance`], once, for as long as it
//! is open; and, where it is shared, the future that [`Engine::shared`] gives it. At the end, [`Engine::close`].
//! `examples/kept_store.rs` does all of it, `examples/own_backend.rs` is a backend in 150 lines.
//!
//! # In which order to read
//!
//! Above the line is what every user meets; below, what some do.
//!
//! | question | module |
//! |---|---|
//! | what is a write, and why may it be refused | [`commit`] |
//! | which objects does a reader mean, and what does a watcher see | [`select`] |
//! | the engine: commit, snapshot, watch | [`engine`] |
//! | a local, indexed, current copy of the objects that a query selects | [`informer`] |
//! | work queues for controllers | [`queue`] |
//! | time and randomness, which you hand in | [`clock`] |
//! | | |
//! | the embedded log | [`log`] |
//! | backups, and restoring them | [`backup`] |
//! | how a backend makes writes durable, and how to write one | [`storage`] |
//! | how objects are encrypted at rest | [`encryption`] |
//! | a test kit for backends | [`conformance`] |
//! | how controllers and schedulers reach the API, and what informers read from | [`client`] |
//! | continue tokens of lists, which cannot be forged | [`token`] |
//! | one view over several partitions | [`aggregate`] |
//! | the members of the region that a role works with, as they come and go | [`roster`] |
//! | tasks with an owner that runs and stops them | [`tasks`] |
//! | threads that the kernel runs after others | [`behind`] |

#![deny(missing_docs)]

pub mod aggregate;
#[cfg(feature = "log")]
pub mod backup;
pub mod behind;
pub mod client;
pub mod clock;
#[cfg(any(feature = "sled", feature = "etcd"))]
mod codec;
pub mod commit;
pub mod conformance;
pub mod encryption;
pub mod engine;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod informer;
#[cfg(feature = "log")]
pub mod log;
pub mod queue;
pub mod roster;
#[cfg(test)]
mod scripted;
pub mod select;
#[cfg(feature = "sled")]
pub mod sled;
#[cfg(test)]
mod step;
pub mod storage;
pub mod tasks;
pub mod token;

pub use aggregate::Aggregate;
pub use client::{Client, Query, Source};
pub use clock::{Clock, Random};
pub use commit::{Change, Commit, CommitError, Committed, CounterChange, Durability, Expect, Guard, Write};
pub use engine::{CommitObserver, Cursor, Engine, EngineConfig, EngineSource, ListWatch, Snapshot};
pub use informer::Informer;
pub use queue::{Outcome, WorkQueue};
pub use roster::Roster;
pub use select::{Delivery, Selection, Stored, WatchError, Within};
pub use tasks::Tasks;
