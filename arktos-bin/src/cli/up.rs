//! `arktos up`: a whole region in one process.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arktos_api::identity::MASTERS;
use arktos_core::TenantName;
use arktos_core::catalog::Catalog;
use arktos_sched::plugin::Plugins;
use clap::Args;

use super::logging::LoggingArgs;
use super::serving::{ApiArgs, ListenArgs, RoleServer};
use super::storing::StoringArgs;
use super::token_keys;
use crate::edge::{SystemClock, SystemRandom};
use crate::hollow::HollowOptions;
use crate::net::kubeconfig::Kubeconfig;
use crate::net::pki::{Subject, private_directory, write_private};
use crate::net::serve::Stop;
use crate::roles::region::{MANAGER, PARTITION, Region, RegionOptions};
use crate::roles::store::{Begun, StoreArgs};

/// Run a whole region in this process: a tenant partition, a resource manager, the gateway and hollow hosts.
///
/// Everything is kept in the data directory: start it again with the same directory, and all objects are still there.
/// Stop it with ctrl-C or SIGTERM.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// Directory for everything: the store, certificates, kubeconfigs
    #[arg(long, value_name = "DIR", default_value = "./arktos-data")]
    pub data_dir: PathBuf,
    /// How many hollow hosts to simulate
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub hosts: usize,
    /// Tenants to create at the start, separated by commas; each gets a kubeconfig
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = TenantName::new)]
    pub tenants: Vec<TenantName>,
    /// Controllers to run: `*` for all, `name` to add one, `-name` to leave one out; `scheduler` counts as one
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "*", allow_hyphen_values = true)]
    pub controllers: Vec<String>,
    #[command(flatten)]
    storing: StoringArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    logging: LoggingArgs,
}

/// Runs `arktos up` until told to stop.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn up(args: UpArgs, stop: Stop) -> Result<(), String> {
    let started = Instant::now();
    args.logging.start("up", "region")?;
    let store = args.storing.options(&args.data_dir)?;
    let server = RoleServer::open("gateway", Some(&args.data_dir), &args.data_dir.join("pki"), &args.listen).await?;
    let server = server.for_old_clients(args.api.callers.arktos_compat)?;
    let begun = Begun::check(&args.data_dir, &store.kind, &[PARTITION, MANAGER])?;
    let region = start(&args, store, &server).await?;
    begun.remember()?;
    let files = write_kubeconfigs(&args, &server)?;
    announce(&args, server.address(), server.insecure_address(), &files, started.elapsed());
    let service = region.gateway().clone();
    server.serve(service, stop, region.stop()).await;
    Ok(())
}

async fn start(args: &UpArgs, store: StoreArgs, server: &RoleServer) -> Result<Region, String> {
    let key_file = args.data_dir.join(token_keys::FILE);
    let keys = token_keys::open(&key_file, &SystemRandom)?;
    let api = server.api_options(&args.api, &keys)?;
    let commands_end = api.arktos_compat;
    let options = RegionOptions {
        store,
        api,
        catalog: Catalog::builtin(),
        hosts: HollowOptions { count: args.hosts, commands_end, ..HollowOptions::default() },
        controllers: args.controllers.clone(),
        tenants: args.tenants.clone(),
        plugins: Arc::new(Plugins::default),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        spawn: Arc::new(|future| drop(tokio::spawn(future))),
    };
    let (clock, store) = (options.clock.clone(), options.store.clone());
    let region = Region::start(options).await.map_err(|error| error.to_string())?;
    server.measure(region.metrics());
    args.storing.follow_keys(&store, &clock, region.tasks());
    token_keys::follow(&key_file, keys, clock, region.tasks());
    Ok(region)
}

struct Files {
    admin: PathBuf,
    tenants: Vec<(TenantName, PathBuf)>,
}

/// Writes a kubeconfig for the administrator and one for each tenant that is named now, or was at an earlier start.
/// Existing ones are rewritten: the address may have changed.
fn write_kubeconfigs(args: &UpArgs, server: &RoleServer) -> Result<Files, String> {
    let (authority, address) = (server.authority(), server.address());
    let reachable = match address.ip() {
        ip if ip.is_unspecified() => std::net::SocketAddr::from(([127, 0, 0, 1], address.port())),
        _ => address,
    };
    let write = |path: &Path, name: &str, server: String, subject: &Subject| -> Result<(), String> {
        let credential = authority.client(subject).map_err(|error| error.to_string())?;
        let config = Kubeconfig {
            server,
            authority: authority.certificate().to_owned(),
            credential: Some(credential),
            token: None,
        };
        write_private(path, &config.render(name)).map_err(|error| error.to_string())
    };
    let admin = args.data_dir.join("admin.kubeconfig");
    let subject = Subject { user: "admin".to_owned(), tenant: None, groups: vec![MASTERS.to_owned()] };
    write(&admin, "arktos-admin", format!("https://{reachable}"), &subject)?;
    let directory = args.data_dir.join("kubeconfigs");
    private_directory(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut tenants = Vec::new();
    let earlier = std::fs::read_dir(&directory).into_iter().flatten().flatten().filter_map(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        TenantName::new(name.strip_suffix(".kubeconfig")?).ok()
    });
    let named: BTreeSet<TenantName> = args.tenants.iter().cloned().chain(earlier).collect();
    for tenant in &named {
        let path = directory.join(format!("{tenant}.kubeconfig"));
        let subject = Subject { user: "admin".to_owned(), tenant: Some(tenant.to_string()), groups: Vec::new() };
        write(&path, tenant.as_str(), format!("https://{reachable}/tenants/{tenant}"), &subject)?;
        tenants.push((tenant.clone(), path));
    }
    Ok(Files { admin, tenants })
}

fn announce(
    args: &UpArgs,
    address: std::net::SocketAddr,
    insecure: Option<std::net::SocketAddr>,
    files: &Files,
    took: Duration,
) {
    let hosts = if args.hosts == 1 { "1 hollow host".to_owned() } else { format!("{} hollow hosts", args.hosts) };
    println!(
        "The region is up at https://{address} after {} ms: 1 partition, 1 resource manager, {hosts}.",
        took.as_millis()
    );
    if let Some(insecure) = insecure {
        println!("Plain HTTP, for this machine only: http://{insecure}");
    }
    println!("Data: {} (store: {})", args.data_dir.display(), args.storing.store);
    println!("Administrator: {}", files.admin.display());
    for (tenant, path) in &files.tenants {
        println!("Tenant {tenant}: {}", path.display());
    }
    let (path, what) = match files.tenants.first() {
        Some((_, path)) => (path, "create deployment web --image=nginx --replicas=3"),
        None => (&files.admin, "get nodes"),
    };
    println!("\nTry:\n  kubectl --kubeconfig {} {what}", path.display());
    if !files.tenants.is_empty() {
        println!("  kubectl --kubeconfig {} get pods -o wide", path.display());
    }
    println!("\nStop it with ctrl-C.");
}
