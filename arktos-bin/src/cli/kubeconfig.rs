//! `arktos kubeconfig`: a kubeconfig for somebody.

use std::path::PathBuf;

use arktos_core::TenantName;
use clap::Args;

use super::directory::server_url;
use crate::net::kubeconfig::Kubeconfig;
use crate::net::pki::{Authority, Subject, write_private};

/// Print a kubeconfig for a user of a tenant, an administrator, or a component of the region.
///
/// The certificate is signed by the authority in the PKI directory, which is created if it does not exist. Without
/// --user, --tenant and --group it is for the region's administrator.
#[derive(Debug, Clone, Args)]
pub struct KubeconfigArgs {
    /// Directory of the certificate authority: `pki` in a region's data directory
    #[arg(long, value_name = "DIR", default_value = "./arktos-data/pki")]
    pub pki_dir: PathBuf,
    /// The server's URL, https://host:port; the path of the tenant is added
    #[arg(long, value_name = "URL", default_value = "https://127.0.0.1:6443", value_parser = server_url)]
    pub server: String,
    /// The tenant to which the user belongs. Default: none, the user belongs to the region
    #[arg(long, value_name = "NAME", value_parser = TenantName::new)]
    pub tenant: Option<TenantName>,
    /// The tenant's uid, as `kubectl get tenant NAME -o jsonpath={.metadata.uid}` prints it. The credential is then
    /// valid for that tenant only, and not for a later one of the same name
    #[arg(long, value_name = "UID", requires = "tenant")]
    pub tenant_uid: Option<String>,
    /// The user's name
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub user: String,
    /// A group of the user; may be given more than once
    #[arg(long = "group", value_name = "NAME")]
    pub groups: Vec<String>,
    /// For a component of the region (a partition, a resource manager, hosts, …), which may read and write everything
    #[arg(long, conflicts_with_all = ["tenant", "groups"])]
    pub component: bool,
    /// Write it to a file that only its owner can read, instead of printing it
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The user who needs no group to be the region's administrator.
const ADMIN: &str = "admin";

/// Prints the kubeconfig, or writes it to a file.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn kubeconfig(args: &KubeconfigArgs) -> Result<(), String> {
    let whose = args.tenant.is_some() || !args.groups.is_empty();
    if !whose && !args.component && args.user != ADMIN {
        return Err(format!(
            "which tenant does the user {} belong to? Give --tenant NAME or, for a user of the region, --group NAME \
             (--group system:masters for an administrator of the whole region)",
            args.user
        ));
    }
    if !Authority::is_in(&args.pki_dir) {
        eprintln!("note: there is no certificate authority in {} yet; creating one", args.pki_dir.display());
    }
    let authority = Authority::open(&args.pki_dir).map_err(|error| error.to_string())?;
    let groups = if !whose { vec![arktos_api::identity::MASTERS.to_owned()] } else { args.groups.clone() };
    let tenant = args.tenant.as_ref().map(|tenant| match &args.tenant_uid {
        Some(uid) => format!("{tenant}:{uid}"),
        None => tenant.to_string(),
    });
    let subject = Subject { user: args.user.clone(), tenant, groups };
    let credential = authority.client(&subject).map_err(|error| error.to_string())?;
    let server = match &args.tenant {
        Some(tenant) => format!("{}/tenants/{tenant}", args.server.trim_end_matches('/')),
        None => args.server.clone(),
    };
    let config =
        Kubeconfig { server, authority: authority.certificate().to_owned(), credential: Some(credential), token: None };
    let text = config.render(args.tenant.as_ref().map_or("arktos", TenantName::as_str));
    match &args.output {
        Some(path) => write_private(path, &text).map_err(|error| error.to_string()),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}
