//! Hollow hosts: node agents that run nothing and report everything.
//!
//! Each registers its Node, renews its Lease, watches the pods bound to it at its resource manager, and plays their
//! lives: pending, running with an address, ready, changed meanwhile, ended, gone. [`Host`](host::Host) is the plain
//! state machine of one; [`agent`] drives it over a client.
//!
//! A pod's annotations steer the play: `hollow.arktos.io/run-seconds` ends it after that time,
//! `hollow.arktos.io/exit-code` says how, `hollow.arktos.io/stop-seconds` says how long it takes to stop, within its
//! grace. Pods of Jobs end by themselves: after the time that they `sleep`, if that is their command, else after one
//! second. An image with the tag `404` cannot be pulled.

pub mod agent;
pub mod host;
mod node;
pub use node::LEASE_NAMESPACE;
mod report;
mod times;

use std::sync::Arc;
use std::time::Duration;

use arktos_store::{Client, Clock, Random};
use futures::future::BoxFuture;

/// What a set of hollow hosts is like.
#[derive(Debug, Clone)]
pub struct HollowOptions {
    /// How many.
    pub count: usize,
    /// What their names begin with; a number follows.
    pub prefix: String,
    /// The number of the first, so that several processes can share a prefix.
    pub first: usize,
    /// CPU cores of each.
    pub cpu_cores: u64,
    /// Memory of each, in GiB.
    pub memory_gib: u64,
    /// Pods each takes.
    pub pods_max: u64,
    /// How long a pod takes from being placed to running.
    pub start_delay: Duration,
    /// How often each renews its Lease.
    pub lease_period: Duration,
    /// Whether a pod that is not to be restarted, and says which command it runs, ends after a second, as those of Jobs
    /// do.
    pub commands_end: bool,
}

impl Default for HollowOptions {
    fn default() -> Self {
        Self {
            count: 10,
            prefix: "hollow".to_owned(),
            first: 0,
            cpu_cores: 16,
            memory_gib: 64,
            pods_max: 110,
            start_delay: Duration::from_millis(100),
            lease_period: Duration::from_secs(10),
            commands_end: false,
        }
    }
}

/// One future for each host, to be run by the owner; a dropped future is a host that has lost its power.
#[must_use]
pub fn hosts(
    options: &HollowOptions,
    resource_manager: &Arc<dyn Client>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Vec<(String, BoxFuture<'static, ()>)> {
    (options.first..options.first + options.count)
        .map(|number| {
            let host = host::Host::new(format!("{}-{number}", options.prefix), number, options.start_delay);
            let host = if options.commands_end { host.whose_commands_end() } else { host };
            let agent =
                agent::Agent::new(host, options.clone(), resource_manager.clone(), clock.clone(), random.clone());
            (format!("host {}-{number}", options.prefix), Box::pin(agent.run()) as BoxFuture<'static, ()>)
        })
        .collect()
}
