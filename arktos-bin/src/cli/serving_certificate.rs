//! The certificate that a role serves with, from its files, which may be replaced while it runs.

use std::net::IpAddr;
use std::sync::Arc;

use super::credentials::{Followed, PERIOD};
use crate::net::pki::Authority;
use crate::net::tls::Shown;

/// A certificate of the region's authority, and what shows it.
pub(super) struct ServingCertificate {
    authority: Arc<Authority>,
    name: String,
    addresses: Vec<IpAddr>,
    names: Vec<String>,
    followed: Followed,
}

impl ServingCertificate {
    /// The certificate of a role, made when there is none for these names.
    pub(super) fn open(
        authority: &Arc<Authority>,
        name: &str,
        addresses: &[IpAddr],
        names: &[String],
    ) -> Result<Self, String> {
        let made = authority.server(name, addresses, names).map_err(|error| error.to_string())?;
        let followed = Followed::new(made).map_err(|error| {
            let directory = authority.directory().display();
            format!("{directory}/{name}.crt, {name}.key: {error}. Remove both, and they are made anew")
        })?;
        let (authority, name) = (authority.clone(), name.to_owned());
        Ok(Self { authority, name, addresses: addresses.to_vec(), names: names.to_vec(), followed })
    }

    /// What shows it.
    pub(super) fn shown(&self) -> Arc<Shown> {
        self.followed.shown()
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
        self.followed.take_in(read, &self.name);
    }
}
