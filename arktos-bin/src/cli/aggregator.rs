//! `arktos-aggregator`: all partitions and all resource managers as one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::catalog::Catalog;
use arktos_core::typed::{KindOf, MemberKind, TenantPlacement};
use arktos_core::{ObjectKey, TenantName};
use arktos_store::engine::EngineConfig;
use arktos_store::{Clock, Random, Tasks};
use clap::Args;
use futures::future::{Either, select};

use super::directory::MembersArgs;
use super::logging::LoggingArgs;
use super::serving::{ApiArgs, ListenArgs, RoleServer, peers, role_name};
use super::storing::HistoryArgs;
use crate::edge::{SystemClock, SystemRandom};
use crate::metrics::Metrics;
use crate::net::serve::{Stop, stopped};
use crate::roles::aggregator::{Aggregator, AggregatorOptions};
use crate::roles::directory::membership::Membership;

/// How often the directory is asked whether a first partition has registered.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Run an aggregator: it shows the region's administrators the objects of all tenants in all partitions, and the hosts
/// of all resource managers, as one API.
///
/// It keeps nothing on disk: after a restart, clients that watched list again. It has in memory every kind that it was
/// ever asked for.
#[derive(Debug, Clone, Args)]
pub struct AggregatorArgs {
    /// The role's name, unique in the region
    #[arg(long, value_name = "NAME", default_value = "aggregator", value_parser = role_name)]
    pub name: String,
    /// Directory of the region's certificate authority, which all roles share
    #[arg(long, value_name = "DIR")]
    pub pki_dir: PathBuf,
    /// Whose objects it shows. Of the partitions, the tenant `system` of the first one is shown.
    #[command(flatten)]
    pub members: MembersArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    history: HistoryArgs,
    #[command(flatten)]
    logging: LoggingArgs,
}

/// Runs an aggregator until told to stop.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn aggregator(args: AggregatorArgs, stop: Stop) -> Result<(), String> {
    args.members.check()?;
    args.logging.start("aggregator", &args.name)?;
    let server = RoleServer::open(&args.name, None, &args.pki_dir, &args.listen).await?;
    let mut api = args.api.options()?;
    api.secret = Some(server.authority().secret());
    let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
    let (partitions, first, managers) = match &args.members.directory {
        Some(directory) => {
            let membership = directory.membership(&args.name, &server, &clock, &random)?;
            let Some(first) = first_partition(&membership, stop.clone()).await else { return Ok(()) };
            let follow = |kind| membership.follow(kind, &tasks);
            (follow(MemberKind::Partition), first, follow(MemberKind::ResourceManager))
        }
        None => {
            let MembersArgs { partitions, managers, .. } = &args.members;
            let first = partitions.first().map(|peer| peer.name.clone()).unwrap_or_default();
            let clients = |list| peers(list, &Catalog::builtin(), &tasks);
            (clients(partitions)?.into(), first, clients(managers)?.into())
        }
    };
    let (name, metrics) = (args.name, Metrics::new());
    server.measure(&metrics);
    let mut keeping = EngineConfig::default();
    (keeping.history_window, keeping.history_bytes) = (args.history.history_window, args.history.history_memory);
    let options = AggregatorOptions { name, partitions, first, managers, keeping, api, metrics, clock, random };
    let aggregator = Aggregator::start(options, &tasks).await.map_err(|error| error.to_string())?;
    server.announce("The aggregator");
    let wind_up = async {
        tasks.stop().await;
        aggregator.close().await;
    };
    server.serve(aggregator.clone(), stop, wind_up).await;
    Ok(())
}

/// The partition whose tenant `system` stands for the region's: waits until there is one. None when told to stop.
async fn first_partition(membership: &Membership, mut stop: Stop) -> Option<String> {
    let key = ObjectKey::region_scoped(TenantPlacement::resource(), TenantName::SYSTEM);
    let mut said = false;
    loop {
        match membership.directory.get(&key).await.map(|stored| stored.object.parse::<TenantPlacement>()) {
            Ok(Ok(placement)) => return Some(placement.spec.partition),
            Ok(Err(error)) => tracing::warn!(%error, "the directory's first placement cannot be read"),
            Err(status) if !said => {
                said = true;
                tracing::info!(%status, "waiting for a first partition to register");
            }
            Err(_) => {}
        }
        let again = membership.clock.sleep(LOOK_AGAIN);
        if let Either::Left(_) = select(std::pin::pin!(stopped(&mut stop)), again).await {
            return None;
        }
    }
}
