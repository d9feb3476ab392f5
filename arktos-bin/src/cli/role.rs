//! What the commands that run one role with a store have in common.

use std::path::PathBuf;
use std::sync::Arc;

use arktos_core::catalog::Catalog;
use arktos_store::{Clock, Random, Tasks};
use clap::Args;

use super::directory::DirectoryAddress;
use super::election::ElectionArgs;
use super::logging::LoggingArgs;
use super::serving::{ApiArgs, ListenArgs, RoleServer};
use super::storing::StoringArgs;
use super::token_keys;
use crate::edge::{SystemClock, SystemRandom};
use crate::metrics::Metrics;
use crate::net::address::found_at;
use crate::roles::RoleOptions;
use crate::roles::directory::membership::Membership;
use crate::roles::store::{Begun, StoreKind};

/// The flags of a role that has a store.
#[derive(Debug, Clone, Args)]
pub struct RoleArgs {
    /// The role's name, unique in the region
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Where the store is kept
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where the region's certificate authority is
    #[arg(long, value_name = "DIR")]
    pub pki_dir: PathBuf,
    /// Which controllers run: `*` for all, `name` for one more, `-name` for one less
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "*", allow_hyphen_values = true)]
    pub controllers: Vec<String>,
    /// The region's directory: there the role says that it is there, and finds the others. NAME is that of the role
    /// that is the directory (default: `directory`)
    #[arg(long, value_name = "[NAME=]URL[,URL…]")]
    pub directory: Option<DirectoryAddress>,
    /// Where the other roles reach this one, as the directory tells them. Default: the address of --listen
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_address: Option<String>,
    #[command(flatten)]
    election: ElectionArgs,
    #[command(flatten)]
    storing: StoringArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    logging: LoggingArgs,
}

/// A role that is ready to start: its sockets are bound, its directory is taken.
pub struct Opened {
    /// Serves its API.
    pub server: RoleServer,
    /// What it is made of.
    pub options: RoleOptions,
    /// Runs what it runs.
    pub tasks: Tasks,
    /// Its ties with the region's directory, where there is one.
    pub membership: Option<Membership>,
    /// Where others reach it.
    pub url: String,
    /// Its data directory.
    pub begun: Begun,
}

impl RoleArgs {
    /// Starts logging as this role, binds the sockets, takes the data directory.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn open(self, role: &str) -> Result<Opened, String> {
        self.logging.start(role, &self.name)?;
        let store = self.storing.options(&self.data_dir)?;
        let elect = self.election.timing(matches!(store.kind, StoreKind::Etcd(_)))?;
        let server = RoleServer::open(&self.name, Some(&self.data_dir), &self.pki_dir, &self.listen).await?;
        let server = server.for_old_clients(self.api.callers.arktos_compat)?;
        let begun = Begun::check(&self.data_dir, &store.kind, &[&self.name])?;
        let mut api = self.api.options()?;
        api.advertise = Some(server.address());
        api.endpoint = Some(found_at(server.address()));
        server.authority().certificate().clone_into(&mut api.ca_certificate);
        api.secret = Some(server.authority().secret());
        api.signer = Some(server.authority().clone());
        let key_file = self.data_dir.join(token_keys::FILE);
        let keys = token_keys::open(&key_file, &SystemRandom)?;
        api.token_keys = Some(keys.clone());
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
        let join = |directory: &DirectoryAddress| directory.membership(&self.name, &server, &clock, &random);
        let membership = self.directory.as_ref().map(join).transpose()?;
        let url = match &self.advertise_address {
            Some(address) => format!("https://{address}"),
            None if membership.is_some() && server.address().ip().is_unspecified() => {
                return Err(format!("others cannot reach {}: say where with --advertise-address", server.address()));
            }
            None => format!("https://{}", server.address()),
        };
        let metrics = Metrics::new();
        server.measure(&metrics);
        let options = RoleOptions {
            name: self.name,
            store,
            api,
            catalog: Catalog::builtin(),
            controllers: self.controllers,
            metrics,
            elect,
            directory: membership.as_ref().map(|membership| membership.directory.clone()),
            clock,
            random,
        };
        let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
        token_keys::follow(&key_file, keys, options.clock.clone(), &tasks);
        self.storing.follow_keys(&options.store, &options.clock, &tasks);
        Ok(Opened { server, options, tasks, membership, url, begun })
    }
}
