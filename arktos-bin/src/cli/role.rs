//! What the commands that run one role with a store share: their flags, and the steps before the role starts.

use std::path::PathBuf;
use std::sync::Arc;

use arktos_core::catalog::Catalog;
use arktos_core::typed::MemberKind;
use arktos_sched::plugin::Plugins;
use arktos_store::{Clock, Random, Tasks};
use clap::Args;

use super::directory::DirectoryAddress;
use super::election::ElectionArgs;
use super::logging::LoggingArgs;
use super::serving::{ApiArgs, ListenArgs, RoleServer, role_name};
use super::storing::StoringArgs;
use super::token_keys;
use crate::edge::{SystemClock, SystemRandom};
use crate::metrics::Metrics;
use crate::roles::RoleOptions;
use crate::roles::directory::membership::Membership;
use crate::roles::store::Begun;

/// The flags of a role that has a store.
#[derive(Debug, Clone, Args)]
pub struct RoleArgs {
    /// The role's name, unique in the region, such as tp-1
    #[arg(long, value_name = "NAME", value_parser = role_name)]
    pub name: String,
    /// Directory of the role's store
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Directory of the region's certificate authority, which all roles share
    #[arg(long, value_name = "DIR")]
    pub pki_dir: PathBuf,
    /// Controllers to run: `*` for all, `name` to add one, `-name` to leave one out; `scheduler` counts as one
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "*", allow_hyphen_values = true)]
    pub controllers: Vec<String>,
    /// The region's directory, where the role registers and finds the others. NAME is the name of the role that is the
    /// directory (default: `directory`)
    #[arg(long, value_name = "[NAME=]URL[,URL…]")]
    pub directory: Option<DirectoryAddress>,
    /// The address at which other roles reach this one, as entered in the directory. Default: that of --listen
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
    /// Starts logging as this role, binds the sockets, takes the data directory. `kind` is what it is in a region with
    /// a directory.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn open(self, role: &str, kind: Option<MemberKind>) -> Result<Opened, String> {
        self.logging.start(role, &self.name)?;
        let store = self.storing.options(&self.data_dir)?;
        let elect = self.election.timing(store.kind.is_shared())?;
        let server = RoleServer::open(&self.name, Some(&self.data_dir), &self.pki_dir, &self.listen).await?;
        let server = server.for_old_clients(self.api.callers.arktos_compat)?;
        let begun = Begun::check(&self.data_dir, &store.kind, &[&self.name])?;
        let key_file = self.data_dir.join(token_keys::FILE);
        let keys = token_keys::open(&key_file, &SystemRandom)?;
        let api = server.api_options(&self.api, &keys)?;
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
        let join = |directory: &DirectoryAddress| directory.membership(&self.name, &server, &clock, &random);
        let membership = self.directory.as_ref().map(join).transpose()?;
        let url = match &self.advertise_address {
            Some(address) => format!("https://{address}"),
            None if membership.is_some() && server.address().ip().is_unspecified() => {
                return Err(format!(
                    "other roles cannot connect to {}: give the address that they can use with --advertise-address \
                     HOST:PORT",
                    server.address()
                ));
            }
            None => format!("https://{}", server.address()),
        };
        // one that is the directory itself cannot ask it yet
        let itself = self.directory.as_ref().is_some_and(|directory| directory.name == self.name);
        if let (Some(membership), Some(kind), false) = (&membership, kind, itself || store.kind.is_shared()) {
            membership.alone(kind, &self.name, &url).await?;
        }
        let metrics = Metrics::new();
        server.measure(&metrics);
        let options = RoleOptions {
            name: self.name,
            store,
            api,
            catalog: Catalog::builtin(),
            controllers: self.controllers,
            plugins: Arc::new(Plugins::default),
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
