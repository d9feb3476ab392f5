//! Reconcile: the controllers of a tenant partition and of a resource manager.
//!
//! One set of controllers serves all tenants of a partition: each resource has one informer across tenants, keys are
//! paths with the tenant in them, and what a controller does for an object stays inside the object's tenant. Nothing is
//! spawned: [`partition`] and [`resource_manager`] give futures, each with a name, that their owner runs.
//!
//! | controller | module |
//! |---|---|
//! | `tenant` | `tenant` |
//! | `namespace` | `namespace`, `content` |
//! | `serviceaccount`, `root-ca-certificate-publisher` | `defaults` |
//! | `serviceaccount-token` | `account_tokens` |
//! | `deployment` | `deployment` |
//! | `replicaset`, `replicationcontroller` | `replicaset` |
//! | `statefulset` | `stateful_set` |
//! | `daemonset` | `daemon_set` |
//! | `cronjob` | `cronjob` |
//! | `disruption` | `disruption` |
//! | `job`, `ttl-after-finished` | `job` |
//! | `endpointslice`, `endpointslicemirroring`, `endpoints` | `endpoints` |
//! | `resourcequota` | `quota` |
//! | `clusterrole-aggregation` | `aggregation` |
//! | `validatingadmissionpolicy-status` | `policies` |
//! | `persistentvolumeclaim-protection`, `persistentvolume-protection` | `protection` |
//! | `volumeattributesclass-protection` | `protection` |
//! | `garbage-collector` | `garbage` |
//! | `nodelifecycle` | `node` |
//! | `csrapproving`, `csrsigning`, `csrcleaner` | [`certificates`] |
//! | the default network of a tenant | `network` |
//! | hosts of all resource managers as one pool | [`pool`] |
//! | how a resource manager shows its hosts the pods bound to them | [`bound_pods`] |
//! | the members of the region, and where tenants live | [`directory`] |
//! | which controllers run | [`options`] |
//! | leader election among several processes | [`election`] |
//! | which kinds exist | [`kinds`] |

#![deny(missing_docs)]

mod account_tokens;
mod aggregation;
pub mod bound_pods;
mod breath;
pub mod certificates;
mod content;
mod cronjob;
mod daemon_set;
mod defaults;
mod deployment;
pub mod directory;
mod disruption;
pub mod election;
mod endpoints;
mod events;
mod found;
mod garbage;
mod history;
mod job;
pub mod kinds;
mod namespace;
mod network;
mod node;
pub mod options;
mod owner;
mod pod;
mod pods;
mod policies;
pub mod pool;
mod protection;
mod quota;
mod reconcile;
mod replicaset;
mod selecting;
mod service;
mod setup;
mod stateful_set;
mod tenant;
mod write;

use std::sync::Arc;

use arktos_store::{Client, Clock, Random, Roster};
use futures::future::BoxFuture;

pub use kinds::{Kinds, StoredKind};
pub use network::{NetworkTemplate, TemplateError};
pub use options::{Options, UnknownController};
pub use tenant::ADMIN_BINDING;

use setup::Setup;

/// Futures for the owner to run, each with a name for its logs. They end only by being dropped.
pub type Futures = Vec<(String, BoxFuture<'static, ()>)>;

/// The controllers of a tenant partition, and the informers they share. `client` acts in all tenants.
///
/// # Errors
/// [`UnknownController`] when the options name one that does not exist.
pub fn partition(
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    options: Options,
) -> Result<Futures, UnknownController> {
    let selected = options.selected(options::PARTITION)?;
    let mut setup = Setup::new(client, clock, random, options);
    let mut futures = Futures::new();
    for name in selected {
        let controller = match name {
            "tenant" => tenant::start(&mut setup),
            "namespace" => namespace::start(&mut setup),
            "serviceaccount" => defaults::start_accounts(&mut setup),
            "serviceaccount-token" => account_tokens::start(&mut setup),
            "root-ca-certificate-publisher" => defaults::start_root_ca(&mut setup),
            "deployment" => deployment::start(&mut setup),
            "replicaset" => replicaset::start::<replicaset::Sets>(&mut setup),
            "replicationcontroller" => replicaset::start::<replicaset::Controllers>(&mut setup),
            "statefulset" => stateful_set::start(&mut setup),
            "daemonset" => daemon_set::start(&mut setup),
            "cronjob" => cronjob::start(&mut setup),
            "disruption" => disruption::start(&mut setup),
            "garbage-collector" => garbage::start(&mut setup, garbage::Reach::Tenants),
            "endpointslice" => endpoints::start_slices(&mut setup),
            "endpointslicemirroring" => endpoints::start_mirror(&mut setup),
            "endpoints" => endpoints::start_legacy(&mut setup),
            "persistentvolumeclaim-protection" => protection::start_claims(&mut setup),
            "persistentvolume-protection" => protection::start_volumes(&mut setup),
            "volumeattributesclass-protection" => protection::start_classes(&mut setup),
            "resourcequota" => quota::start(&mut setup),
            "clusterrole-aggregation" => aggregation::start(&mut setup),
            "validatingadmissionpolicy-status" => policies::start(&mut setup),
            "job" => job::start(&mut setup),
            "ttl-after-finished" => job::start_ttl(&mut setup),
            "csrapproving" => certificates::start_approving(&mut setup),
            "csrsigning" => certificates::start_signing(&mut setup),
            "csrcleaner" => certificates::start_cleaning(&mut setup),
            _ => continue,
        };
        futures.push((name.to_owned(), controller));
    }
    futures.extend(setup.into_drivers());
    Ok(futures)
}

/// The controllers of a resource manager. `client` acts on the manager itself; `partitions` are those whose pods may be
/// on its hosts.
///
/// # Errors
/// [`UnknownController`] when the options name one that does not exist.
pub fn resource_manager(
    client: Arc<dyn Client>,
    partitions: impl Into<Roster>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    options: Options,
) -> Result<Futures, UnknownController> {
    let selected = options.selected(options::RESOURCE_MANAGER)?;
    let partitions = partitions.into();
    let mut setup = Setup::new(client, clock, random, options);
    let mut futures = Futures::new();
    for name in selected {
        let controller = match name {
            "nodelifecycle" => node::start(&mut setup, partitions.clone()),
            "garbage-collector" => garbage::start(&mut setup, garbage::Reach::Region),
            "csrapproving" => certificates::start_approving(&mut setup),
            "csrsigning" => certificates::start_signing(&mut setup),
            "csrcleaner" => certificates::start_cleaning(&mut setup),
            _ => continue,
        };
        futures.push((name.to_owned(), controller));
    }
    futures.extend(setup.into_drivers());
    Ok(futures)
}
