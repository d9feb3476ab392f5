//! `arktos-directory`: who is part of a region, and where its tenants live; and how every other role finds it.

use std::str::FromStr;
use std::sync::Arc;

use arktos_control::directory::Contact;
use arktos_core::catalog::Catalog;
use arktos_core::name::subdomain_fault;
use arktos_store::{Client, Clock, Random};
use clap::Args;
use tokio::sync::watch;

use super::role::{Opened, RoleArgs};
use super::serving::{Peer, RoleServer};
use crate::net::remote::Remote;
use crate::net::route::Trust;
use crate::net::serve::Stop;
use crate::roles::directory::DirectoryServer;
use crate::roles::directory::membership::Membership;

/// Run the directory of a region: a store and an API where partitions and resource managers register, and which knows
/// where each tenant lives.
///
/// Every role that is given --directory finds the others there. Over etcd, any number of these processes can share a
/// store. A partition or a resource manager can be the directory as well: name it in --directory.
#[derive(Debug, Clone, Args)]
pub struct DirectoryArgs {
    #[command(flatten)]
    role: RoleArgs,
}

/// Runs a directory until told to stop.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn directory(args: DirectoryArgs, stop: Stop) -> Result<(), String> {
    if args.role.directory.is_some() {
        return Err("this role is the directory itself: give --directory to the other roles".to_owned());
    }
    let Opened { server, options, tasks, begun, .. } = args.role.open("directory", None).await?;
    let name = options.name.clone();
    let directory = DirectoryServer::start(options, &tasks).await.map_err(|error| error.to_string())?;
    begun.remember()?;
    server.announce(&format!("Directory {name}"));
    let wind_up = async {
        tasks.stop().await;
        directory.close().await;
    };
    server.serve(directory.api().clone(), stop, wind_up).await;
    Ok(())
}

/// The partitions and resource managers that a role works with.
#[derive(Debug, Clone, Args)]
pub struct MembersArgs {
    /// The region's directory, where the role finds the others. NAME is the name of the role that is the directory
    /// (default: `directory`)
    #[arg(long, value_name = "[NAME=]URL[,URL…]")]
    pub directory: Option<DirectoryAddress>,
    /// A partition, without a --directory; may be given more than once. The tenant `system` of the first one stands for
    /// the region's
    #[arg(long = "partition", value_name = "NAME=KUBECONFIG", conflicts_with = "directory")]
    pub partitions: Vec<Peer>,
    /// A resource manager, without a --directory; may be given more than once
    #[arg(long = "resource-manager", value_name = "NAME=KUBECONFIG", conflicts_with = "directory")]
    pub managers: Vec<Peer>,
}

impl MembersArgs {
    /// Refuses a command line that names nobody.
    ///
    /// # Errors
    /// A sentence that says what to add.
    pub fn check(&self) -> Result<(), String> {
        if self.directory.is_some() || !(self.partitions.is_empty() || self.managers.is_empty()) {
            return Ok(());
        }
        let what = "there is nobody to send requests to: give --directory URL or, without a directory, at least one \
                    --partition and one --resource-manager";
        Err(what.to_owned())
    }
}

/// Where the directory is, as the command line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryAddress {
    /// The name of the role that is the directory, for which its certificate is valid.
    pub name: String,
    /// Where its processes serve.
    pub servers: Vec<String>,
}

impl FromStr for DirectoryAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, urls) = match text.split_once('=') {
            Some((name, urls)) => (name, urls),
            None => ("directory", text),
        };
        let fault = || format!("{text:?} is not [NAME=]https://host:port[,https://host:port…]");
        let servers: Result<Vec<String>, String> = urls.split(',').map(server_url).collect();
        if subdomain_fault(name).is_some() {
            return Err(fault());
        }
        Ok(Self { name: name.to_owned(), servers: servers.map_err(|_| fault())? })
    }
}

/// Reads where a process serves, as others of the region reach it: `https://host:port`, and no path.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn server_url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let good = url.parse::<http::Uri>().is_ok_and(|uri| {
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        uri.scheme_str() == Some("https") && uri.authority().is_some() && bare
    });
    if good { Ok(url.to_owned()) } else { Err(format!("{text:?} is not https://host:port")) }
}

impl DirectoryAddress {
    /// How the directory is reached.
    #[must_use]
    pub fn contact(&self) -> watch::Receiver<Contact> {
        let (name, servers) = (self.name.clone(), self.servers.clone());
        watch::channel(Contact { name, servers, ca_bundle: String::new() }).1
    }

    /// The ties of a role with the directory.
    ///
    /// # Errors
    /// A sentence that says why the role's certificate could not be made.
    pub fn membership(
        &self,
        name: &str,
        server: &RoleServer,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Result<Membership, String> {
        let trust = server.member_trust(name)?;
        let reach = move |contact: watch::Receiver<Contact>| -> Arc<dyn Client> {
            Arc::new(Remote::member(contact, &trust, Catalog::builtin()))
        };
        let directory = reach(self.contact());
        Ok(Membership { directory, reach: Arc::new(reach), clock: clock.clone(), random: random.clone() })
    }
}

impl RoleServer {
    /// As whom a role comes to others: a component of the region, under its name.
    ///
    /// # Errors
    /// A sentence that says why it could not be made.
    pub fn member_trust(&self, name: &str) -> Result<Trust, String> {
        let shown = self.member_certificate(name)?;
        Ok(Trust { shown, authority: self.authority().certificate().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_named_by_its_urls_and_may_be_another_role() {
        let address: DirectoryAddress = "https://127.0.0.1:1,https://b:2/".parse().expect("an address");
        assert_eq!((&*address.name, address.servers.len()), ("directory", 2));
        assert_eq!(address.servers[1], "https://b:2");
        let other: DirectoryAddress = "tp-1=https://127.0.0.1:1".parse().expect("an address");
        assert_eq!(other.name, "tp-1");
        for bad in ["", "http://a:1", "https://a:1/x", "a:1", "T P=https://a:1", "https://a:1,,"] {
            assert!(bad.parse::<DirectoryAddress>().is_err(), "{bad}");
        }
    }
}
