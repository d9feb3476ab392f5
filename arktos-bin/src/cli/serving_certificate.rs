//! The certificate that a role serves with, from its files, which may be replaced while it runs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::pki::Authority;
use crate::net::tls::{Credential, Shown};

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_secs(10);

/// A certificate of the region's authority, and what shows it.
pub(super) struct ServingCertificate {
    authority: Arc<Authority>,
    name: String,
    addresses: Vec<IpAddr>,
    names: Vec<String>,
    shown: Arc<Shown>,
    /// What was read last, used or not.
    seen: Credential,
}

impl ServingCertificate {
    /// The certificate of a role, made when there is none for these names.
    pub(super) fn open(
        authority: &Arc<Authority>,
        name: &str,
        addresses: &[IpAddr],
        names: &[String],
    ) -> Result<Self, String> {
        let seen = authority.server(name, addresses, names).map_err(|error| error.to_string())?;
        let shown = Shown::new(&seen).map_err(|error| error.to_string())?;
        let (authority, name) = (authority.clone(), name.to_owned());
        Ok(Self { authority, name, addresses: addresses.to_vec(), names: names.to_vec(), shown, seen })
    }

    /// What shows it.
    pub(super) fn shown(&self) -> Arc<Shown> {
        self.shown.clone()
    }

    /// Follows the files, for ever.
    pub(super) async fn follow(mut self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            self.look();
        }
    }

    /// Shows what the files have, if that is news. Of two files one is written first: until they fit each other, the
    /// old certificate stays. Files that another process of the role has made for other names are none of ours.
    fn look(&mut self) {
        let read = self.authority.server_files(&self.name, &self.addresses, &self.names);
        let Ok(Some(read)) = read else { return };
        if read.certificate == self.seen.certificate && read.key == self.seen.key {
            return;
        }
        match self.shown.replace(&read) {
            Ok(()) => tracing::info!(name = self.name, "the serving certificate was read anew"),
            Err(error) => {
                tracing::warn!(name = self.name, %error, "the new serving certificate is of no use; the old one stays");
            }
        }
        self.seen = read;
    }
}
