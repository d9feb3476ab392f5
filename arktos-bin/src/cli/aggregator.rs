//! `arktos-aggregator`: all partitions and all resource managers as one.

use std::path::PathBuf;
use std::sync::Arc;

use arktos_core::catalog::Catalog;
use arktos_store::Tasks;
use clap::Args;

use super::logging::LoggingArgs;
use super::serving::{ApiArgs, ListenArgs, Peer, RoleServer, peers};
use crate::edge::{SystemClock, SystemRandom};
use crate::metrics::Metrics;
use crate::net::serve::Stop;
use crate::roles::aggregator::{Aggregator, AggregatorOptions};

/// Run an aggregator: it shows what all tenants have in all partitions, and the hosts of all resource managers, as one
/// API, to the region's administrators.
///
/// It keeps nothing on disk: after a restart, whoever watched lists again. It has in memory what it was ever asked for.
#[derive(Debug, Clone, Args)]
pub struct AggregatorArgs {
    /// Its name, unique in the region
    #[arg(long, value_name = "NAME", default_value = "aggregator")]
    pub name: String,
    /// Where the region's certificate authority is
    #[arg(long, value_name = "DIR")]
    pub pki_dir: PathBuf,
    /// A partition; may be given more than once. The first one's tenant `system` is shown
    #[arg(long = "partition", value_name = "NAME=KUBECONFIG", required = true)]
    pub partitions: Vec<Peer>,
    /// A resource manager; may be given more than once
    #[arg(long = "resource-manager", value_name = "NAME=KUBECONFIG", required = true)]
    pub managers: Vec<Peer>,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    logging: LoggingArgs,
}

/// Runs an aggregator until told to stop.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn aggregator(args: AggregatorArgs, stop: Stop) -> Result<(), String> {
    args.logging.start()?;
    let server = RoleServer::open(&args.name, None, &args.pki_dir, &args.listen).await?;
    let mut api = args.api.options()?;
    api.secret = Some(server.authority().secret());
    let options = AggregatorOptions {
        name: args.name,
        partitions: peers(&args.partitions, &Catalog::builtin())?,
        managers: peers(&args.managers, &Catalog::builtin())?,
        api,
        metrics: Metrics::new(),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
    };
    let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
    let aggregator = Aggregator::start(options, &tasks).await.map_err(|error| error.to_string())?;
    println!("The aggregator serves at https://{}", server.address());
    let wind_up = async {
        tasks.stop().await;
        aggregator.close().await;
    };
    server.serve(aggregator.clone(), stop, wind_up).await;
    Ok(())
}
