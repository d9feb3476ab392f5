//! `arktos-resource-manager`: the hosts' side of a region.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::catalog::Catalog;
use arktos_store::Tasks;
use clap::Args;

use super::logging::LoggingArgs;
use super::serving::{ApiArgs, ListenArgs, Peer, RoleServer, duration, peers};
use crate::edge::{SystemClock, SystemRandom};
use crate::net::serve::Stop;
use crate::roles::resource_manager::{ResourceManager, ResourceManagerOptions};
use crate::roles::store::{StoreArgs, StoreKind};

/// Run a resource manager: hosts, their heartbeats, and the ledger of claims on them.
#[derive(Debug, Clone, Args)]
pub struct ResourceManagerArgs {
    /// The resource manager's name, unique in the region
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Where the store is kept
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where the region's certificate authority is
    #[arg(long, value_name = "DIR")]
    pub pki_dir: PathBuf,
    /// A partition whose pods run on the hosts; may be given more than once
    #[arg(long = "partition", value_name = "NAME=KUBECONFIG", required = true)]
    pub partitions: Vec<Peer>,
    /// What keeps the objects: log, memory, sled, or etcd:URL
    #[arg(long, value_name = "STORE", default_value = "log")]
    pub store: StoreKind,
    /// How long past revisions are kept for watches and lists that go on from them
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub history_window: Duration,
    /// Which controllers run: `*` for all, `name` for one more, `-name` for one less
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "*", allow_hyphen_values = true)]
    pub controllers: Vec<String>,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    logging: LoggingArgs,
}

/// Runs a resource manager until told to stop.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn resource_manager(args: ResourceManagerArgs, stop: Stop) -> Result<(), String> {
    args.logging.start()?;
    let server = RoleServer::open(&args.name, &args.data_dir, &args.pki_dir, &args.listen).await?;
    let partitions = peers(&args.partitions, &Catalog::builtin())?;
    let mut api = args.api.options()?;
    api.advertise = Some(server.address());
    let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
    let options = ResourceManagerOptions {
        name: args.name.clone(),
        store: StoreArgs { kind: args.store, data_dir: args.data_dir, history_window: args.history_window },
        api,
        catalog: Catalog::builtin(),
        controllers: args.controllers,
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
    };
    let manager = ResourceManager::start(options, partitions, &tasks).await.map_err(|error| error.to_string())?;
    println!("Resource manager {} serves at https://{}", args.name, server.address());
    let wind_up = async {
        tasks.stop().await;
        manager.close().await;
    };
    server.serve(manager.api().clone(), stop, wind_up).await;
    Ok(())
}
