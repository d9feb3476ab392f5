//! Keep and watch: the storage trait and its backends, the list-watch engine, informers.
//!
//! This crate knows nothing of HTTP and of no particular kind: an object is an [`arktos_core::Encoded`] under an
//! [`arktos_core::ObjectKey`]. It spawns nothing on anybody's runtime: what must run is handed to its owner.
//!
//! | question | module |
//! |---|---|
//! | what is a write, and why may it be refused | [`commit`] |
//! | which objects does a reader mean, and what does a watcher see | [`select`] |
//! | the engine: commit, snapshot, watch | [`engine`] |
//! | how a backend makes writes durable | [`storage`] |
//! | how controllers and schedulers reach the API, and what informers read from | [`client`] |
//! | a local, indexed, current copy of what a query selects, over whatever can be listed and watched | [`informer`] |
//! | where a list goes on: tokens that cannot be forged | [`token`] |
//! | backups, and stores made of them | [`backup`] |
//! | one view over several partitions | [`aggregate`] |
//! | what a controller is still to look at | [`queue`] |
//! | who runs what, and stops it | [`tasks`] |
//! | does a backend keep what the engine promises | [`conformance`] |
//! | time, randomness | [`clock`] |

#![deny(missing_docs)]

pub mod aggregate;
#[cfg(feature = "log")]
pub mod backup;
pub mod client;
pub mod clock;
#[cfg(any(feature = "sled", feature = "etcd"))]
mod codec;
pub mod commit;
pub mod conformance;
pub mod engine;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod informer;
#[cfg(feature = "log")]
pub mod log;
pub mod queue;
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
pub use select::{Delivery, Selection, Stored, WatchError, Within};
pub use tasks::Tasks;
