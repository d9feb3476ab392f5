//! `arktos-resource-manager`: the hosts' side of a region.

use arktos_core::typed::MemberKind;
use clap::Args;

use super::following::Following;
use super::role::{Opened, RoleArgs};
use super::serving::{Peer, peers};
use crate::net::serve::Stop;
use crate::roles::resource_manager::ResourceManager;

/// Run a resource manager: hosts, their heartbeats, and the ledger of claims on them.
#[derive(Debug, Clone, Args)]
pub struct ResourceManagerArgs {
    /// A partition whose pods may run on the hosts, without a --directory; may be given more than once
    #[arg(long = "partition", value_name = "NAME=KUBECONFIG", required_unless_present = "directory")]
    #[arg(conflicts_with = "directory")]
    pub partitions: Vec<Peer>,
    /// A partition that is gone for good: its claims on hosts are released, and new ones refused. Its name must never
    /// be used again. May be given more than once
    #[arg(long = "removed-partition", value_name = "NAME")]
    pub removed: Vec<String>,
    #[command(flatten)]
    role: RoleArgs,
}

/// Runs a resource manager until told to stop.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn resource_manager(args: ResourceManagerArgs, stop: Stop) -> Result<(), String> {
    if let Some(both) = args.partitions.iter().find(|peer| args.removed.contains(&peer.name)) {
        return Err(format!(
            "{} is given both as --partition and as --removed-partition: remove one of them",
            both.name
        ));
    }
    let opened = args.role.open("resource-manager", Some(MemberKind::ResourceManager)).await?;
    let Opened { server, options, tasks, membership, url, begun } = opened;
    let partitions = match &membership {
        Some(membership) => membership.follow(MemberKind::Partition, &tasks),
        None => peers(&args.partitions, &options.catalog, &tasks)?.into(),
    };
    let name = options.name.clone();
    let following = Following::start()?;
    let manager = ResourceManager::start(options, partitions, args.removed, &tasks, following.tasks()).await;
    let manager = manager.map_err(|error| error.to_string())?;
    begun.remember()?;
    if let Some(membership) = membership {
        membership.register(MemberKind::ResourceManager, &name, url, &tasks);
    }
    server.announce(&format!("Resource manager {name}"));
    let wind_up = async {
        following.stop().await;
        tasks.stop().await;
        manager.close().await;
    };
    server.serve(manager.api().clone(), stop, wind_up).await;
    Ok(())
}
