//! Place: which host a pod goes to, and the protocol by which many schedulers share one pool of hosts.
//!
//! A scheduler belongs to a tenant partition, and places its pods on the hosts of every resource manager. It proposes
//! placements as *claims* to the resource manager that owns the host, which accepts or refuses each atomically; only
//! then does it bind. So schedulers may race as they like: no host is ever over-committed.
//!
//! | question | module |
//! |---|---|
//! | what runs, and how it is wired | [`scheduler`] |
//! | which pod is next, and what the others wait for | [`queue`] |
//! | which host is best, without looking at all of them | [`pool`], [`tree`] |
//! | what is known about hosts | [`hosts`], [`resources`], [`ports`] |
//! | what a pod asks for, and classes of pods that ask for the same | [`ask`], [`selector`], [`class`] |
//! | plugins that decide where pods may and should go | [`plugin`], [`builtin`] |
//! | pod affinity, anti-affinity and topology spread | [`neighbours`] |
//! | how capacity is claimed and given back | [`claim`] |
//! | labels as small numbers, sets of hosts as bits | [`intern`], [`set`] |
//!
//! ## The search
//!
//! Hosts are columns. Pods that ask for the same thing are one *class*, whose static filters are kept as a bit for each
//! host. Free capacity and load are in one *tournament tree*, with bounds for every block of 64: a search goes where
//! the bound is highest and stops when no bound is above the best host found. The host it finds scores as high as the
//! best of a look at every host (a property test holds it to that), and a bind changes one path of the tree.
//!
//! Required neighbours are further bits. Preferred ones, and spreading that is only preferred, make
//! [grades](neighbours::grades) of hosts that are worth the same by it, of which the search finds the best host each.
//!
//! ## Parts that are plain state machines
//!
//! [`Pool`], [`Queue`](queue::Queue), [`Neighbours`](neighbours::Neighbours), [`Ledger`](claim::Ledger) and
//! [`Reaper`](claim::Reaper) do no I/O, hold no lock and read no clock: they are told, and asked. The futures that
//! [`Scheduler::new`] hands to its owner do the rest.
//!
//! ```
//! use arktos_core::typed::{Node, PodSpec};
//! use arktos_sched::neighbours::Left;
//! use arktos_sched::plugin::Plugins;
//! use arktos_sched::Pool;
//!
//! let mut pool = Pool::new(1, Plugins::default());
//! pool.set_reachable(0, true);
//! for (name, cpu) in [("small", "2"), ("large", "8")] {
//!     let node: Node = serde_json::from_value(serde_json::json!({
//!         "metadata": {"name": name},
//!         "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}},
//!     }))?;
//!     pool.set_node(0, &node);
//! }
//! let spec: PodSpec = serde_json::from_value(serde_json::json!({
//!     "containers": [{"name": "c", "resources": {"requests": {"cpu": "4"}}}],
//! }))?;
//! let class = pool.enter(&spec);
//! let found = pool.find(class, &Left::default(), 0).ok_or("no place")?;
//! assert_eq!(&*pool.facts(found.host).name, "large");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ## What it does not do yet
//!
//! Preemption, gangs, volumes, dynamic resources, the images that hosts have, and spreading of pods that do not ask for
//! it.

#![deny(missing_docs)]

pub mod ask;
pub mod builtin;
pub mod claim;
pub mod class;
pub mod hosts;
pub mod intern;
pub mod neighbours;
pub mod plugin;
pub mod pool;
pub mod ports;
pub mod queue;
pub mod resources;
pub mod scheduler;
pub mod selector;
pub mod set;
#[cfg(test)]
mod testing;
pub mod tree;
mod uid;

pub use pool::Pool;
pub use scheduler::{Options, Scheduler};
