//! `arktos-partition`: a tenant partition.

use arktos_core::typed::MemberKind;
use clap::Args;

use super::role::{Opened, RoleArgs};
use super::serving::{Peer, peers};
use crate::net::serve::Stop;
use crate::roles::partition::Partition;

/// Run a tenant partition: the store and the API of its tenants, their controllers and their scheduler.
#[derive(Debug, Clone, Args)]
pub struct PartitionArgs {
    /// A resource manager on whose hosts pods are placed, without a --directory; may be given more than once
    #[arg(long = "resource-manager", value_name = "NAME=KUBECONFIG", required_unless_present = "directory")]
    #[arg(conflicts_with = "directory")]
    pub managers: Vec<Peer>,
    #[command(flatten)]
    role: RoleArgs,
}

/// Runs a partition until told to stop.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn partition(args: PartitionArgs, stop: Stop) -> Result<(), String> {
    let opened = args.role.open("partition", Some(MemberKind::Partition)).await?;
    let Opened { server, options, tasks, membership, url, begun } = opened;
    let managers = match &membership {
        Some(membership) => membership.follow(MemberKind::ResourceManager, &tasks),
        None => peers(&args.managers, &options.catalog, &tasks)?.into(),
    };
    let name = options.name.clone();
    let partition = Partition::start(options, managers, &tasks).await.map_err(|error| error.to_string())?;
    begun.remember()?;
    if let Some(membership) = membership {
        membership.register(MemberKind::Partition, &name, url, &tasks);
    }
    server.announce(&format!("Partition {name}"));
    let wind_up = async {
        tasks.stop().await;
        partition.close().await;
    };
    server.serve(partition.api().clone(), stop, wind_up).await;
    Ok(())
}
