//! `arktos-gateway`: the way in.

use std::path::PathBuf;
use std::sync::Arc;

use arktos_core::catalog::Catalog;
use arktos_store::{Clock, Random, Tasks};
use clap::Args;

use super::logging::LoggingArgs;
use super::serving::{ApiArgs, ListenArgs, Peer, RoleServer, peers};
use crate::edge::{SystemClock, SystemRandom};
use crate::metrics::Metrics;
use crate::net::forward::Forward;
use crate::net::kubeconfig::Kubeconfig;
use crate::net::serve::Stop;
use crate::roles::directory::TenantDirectory;
use crate::roles::gateway::{Backend, Gateway};

/// Run a gateway: it sends each request to the partition of its tenant, and hosts' requests to a resource manager.
///
/// A gateway keeps nothing: run as many as you like. Where tenants live it learns from the partitions.
#[derive(Debug, Clone, Args)]
pub struct GatewayArgs {
    /// Where the region's certificate authority is
    #[arg(long, value_name = "DIR")]
    pub pki_dir: PathBuf,
    /// A partition; may be given more than once
    #[arg(long = "partition", value_name = "NAME=KUBECONFIG", required = true)]
    pub partitions: Vec<Peer>,
    /// A resource manager; may be given more than once
    #[arg(long = "resource-manager", value_name = "NAME=KUBECONFIG", required = true)]
    pub managers: Vec<Peer>,
    /// The aggregator that is asked about all tenants, and about the hosts of several resource managers
    #[arg(long, value_name = "NAME=KUBECONFIG")]
    pub aggregator: Option<Peer>,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    logging: LoggingArgs,
}

/// Runs a gateway until told to stop.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn gateway(args: GatewayArgs, stop: Stop) -> Result<(), String> {
    args.logging.start()?;
    let server = RoleServer::open("gateway", None, &args.pki_dir, &args.listen).await?;
    let server = server.for_old_clients(args.api.arktos_compat)?;
    let credential = server.gateway_credential()?;
    let backends = |peers: &[Peer]| -> Result<Vec<Backend>, String> {
        peers
            .iter()
            .map(|peer| {
                let config = Kubeconfig { credential: Some(credential.clone()), ..peer.kubeconfig()? };
                Forward::new(&config)
                    .map(Box::new)
                    .map(Backend::Remote)
                    .map_err(|error| format!("{}: {error}", peer.name))
            })
            .collect()
    };
    let (partitions, managers) = (backends(&args.partitions)?, backends(&args.managers)?);
    let aggregator = backends(args.aggregator.as_slice())?.pop();
    let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
    let clients = peers(&args.partitions, &Catalog::builtin())?;
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
    let directory = TenantDirectory::start(clients, &clock, &random, &tasks);
    let options = args.api.options()?;
    let old_clients = options.arktos_compat;
    let identify = arktos_api::authenticator(options.tokens, options.anonymous_auth);
    let mut gateway = Gateway::new(partitions, managers, directory, identify).measured(Metrics::new(), clock);
    if let Some(aggregator) = aggregator {
        gateway = gateway.aggregated(aggregator);
    }
    if old_clients {
        gateway = gateway.for_old_clients();
    }
    println!("The gateway serves at https://{}", server.address());
    server.serve(gateway, stop, tasks.stop()).await;
    Ok(())
}
