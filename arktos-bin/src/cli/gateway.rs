//! `arktos-gateway`: the entry point of a region.

use std::path::PathBuf;
use std::sync::Arc;

use arktos_control::directory::Contact;
use arktos_core::catalog::Catalog;
use arktos_store::{Clock, Random, Tasks};
use clap::Args;
use tokio::sync::watch;

use super::audit::AuditArgs;
use super::directory::{MembersArgs, server_url};
use super::logging::LoggingArgs;
use super::serving::{CallerArgs, ListenArgs, Peer, RoleServer, peers};
use crate::edge::{SystemClock, SystemRandom};
use crate::metrics::Metrics;
use crate::net::forward::Forward;
use crate::net::route::Trust;
use crate::net::serve::Stop;
use crate::net::tls::Shown;
use crate::roles::directory::fixed::TenantDirectory;
use crate::roles::directory::followed::FollowedDirectory;
use crate::roles::gateway::{Backend, Backends, Gateway};

/// Run a gateway: it sends each request to the partition of its tenant, and hosts' requests to a resource manager.
///
/// A gateway keeps no state: run as many as you like. It learns from the directory where tenants live or, without one,
/// from the partitions.
#[derive(Debug, Clone, Args)]
pub struct GatewayArgs {
    /// Directory of the region's certificate authority, which all roles share
    #[arg(long, value_name = "DIR")]
    pub pki_dir: PathBuf,
    /// Whom it sends requests to.
    #[command(flatten)]
    pub members: MembersArgs,
    /// The aggregator, for requests about all tenants, and about the hosts of several resource managers
    #[arg(long, value_name = "NAME=KUBECONFIG")]
    pub aggregator: Option<Peer>,
    /// Where the processes of the aggregator serve, when there are several of its name: whichever answers is asked, and
    /// stayed with. The kubeconfig's own server then counts for nothing
    #[arg(long = "aggregator-server", value_name = "URL", value_delimiter = ',', value_parser = server_url)]
    #[arg(requires = "aggregator")]
    pub aggregators: Vec<String>,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    callers: CallerArgs,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    logging: LoggingArgs,
}

/// Runs a gateway until told to stop.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn gateway(args: GatewayArgs, stop: Stop) -> Result<(), String> {
    args.members.check()?;
    args.logging.start("gateway", "gateway")?;
    let audit = args.audit.open()?;
    let server = RoleServer::open("gateway", None, &args.pki_dir, &args.listen).await?;
    let server = server.for_old_clients(args.callers.arktos_compat)?;
    let shown = server.gateway_certificate()?;
    let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
    let old_clients = args.callers.arktos_compat;
    let identify = arktos_api::authenticator(args.callers.tokens()?, args.callers.anonymous_auth);
    let MembersArgs { directory, partitions, managers } = &args.members;
    let gateway = match directory {
        Some(address) => {
            let trust = Trust { shown: shown.clone(), authority: server.authority().certificate().to_owned() };
            let itself = Forward::member(address.contact(), &trust).called("the region's directory");
            let itself = Backend::Remote(Box::new(itself));
            let membership = address.membership("gateway", &server, &clock, &random)?;
            let directory = FollowedDirectory::start(&membership.directory, itself, &trust, &clock, &random, &tasks);
            Gateway::new(directory, identify)
        }
        None => {
            let clients = peers(partitions, &Catalog::builtin(), &tasks)?;
            let partition = |peer: &Peer| Ok((peer.name.as_str().into(), backend(forward(peer, &shown)?)));
            let manager = |peer: &Peer| {
                Ok::<_, String>(backend(forward(peer, &shown)?.called("the resource manager of these hosts")))
            };
            let (partitions, managers) = (partitions.iter().map(partition), managers.iter().map(manager));
            let (partitions, managers) =
                (partitions.collect::<Result<_, String>>()?, managers.collect::<Result<_, _>>()?);
            let backends = Backends { partitions, managers, directory: None };
            Gateway::new(TenantDirectory::start(backends, clients, &clock, &random, &tasks), identify)
        }
    };
    let metrics = Metrics::new();
    server.measure(&metrics);
    let mut gateway = gateway.measured(metrics, clock);
    let aggregator = args.aggregator.as_ref().map(|peer| one_of(peer, &args.aggregators, &shown)).transpose()?;
    if let Some(aggregator) = aggregator {
        gateway = gateway.aggregated(backend(aggregator.called("the aggregator")));
    }
    if old_clients {
        gateway = gateway.for_old_clients();
    }
    if let Some(audit) = audit {
        gateway = gateway.audited(audit, random);
    }
    server.announce("The gateway");
    server.serve(gateway, stop, tasks.stop()).await;
    Ok(())
}

/// How a gateway sends requests on to whichever of a role's processes answers; to its one server, where none are named.
fn one_of(peer: &Peer, servers: &[String], shown: &Arc<Shown>) -> Result<Forward, String> {
    if servers.is_empty() {
        return forward(peer, shown);
    }
    let contact = Contact { name: peer.name.clone(), servers: servers.to_vec(), ca_bundle: String::new() };
    let trust = Trust { shown: shown.clone(), authority: peer.kubeconfig()?.authority };
    Ok(Forward::member(watch::channel(contact).1, &trust))
}

/// How a gateway sends requests on to a role.
fn forward(peer: &Peer, shown: &Arc<Shown>) -> Result<Forward, String> {
    Forward::showing(&peer.kubeconfig()?, Some(shown.clone())).map_err(|error| format!("{}: {error}", peer.name))
}

fn backend(forward: Forward) -> Backend {
    Backend::Remote(Box::new(forward))
}
