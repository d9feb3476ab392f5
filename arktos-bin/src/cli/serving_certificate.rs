//! The certificate that a role serves with, from its files, which may be replaced while it runs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::credentials::{Followed, HOUR};
use super::followed_file::PERIOD;
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

    /// Follows the files, and makes another certificate in time, for ever.
    pub(super) async fn follow(mut self) {
        let mut since = Duration::ZERO;
        loop {
            tokio::time::sleep(PERIOD).await;
            self.look();
            since += PERIOD;
            if since >= HOUR {
                since = Duration::ZERO;
                self.renew();
            }
        }
    }

    /// Makes another one in place of one that ends. Somebody else may have done so already.
    fn renew(&mut self) {
        if self.followed.lasts() {
            return;
        }
        match self.authority.server(&self.name, &self.addresses, &self.names) {
            Ok(made) => self.followed.take_in(made, &self.name),
            Err(error) => tracing::warn!(name = self.name, %error, "the serving certificate could not be renewed"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_ends_is_made_anew_while_the_role_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Arc::new(Authority::open(directory.path()).expect("made"));
        let names = ["tp-1".to_owned()];
        let mut serving = ServingCertificate::open(&authority, "tp-1", &[], &names).expect("made");
        let first = serving.shown().certificate();
        serving.renew();
        assert_eq!(serving.shown().certificate(), first, "it lasts");
        let old = authority.server_of(&names, 300, 65).expect("signed");
        crate::net::pki::write_private(&directory.path().join("tp-1.crt"), &old.certificate).expect("written");
        crate::net::pki::write_private(&directory.path().join("tp-1.key"), &old.key).expect("written");
        serving.look();
        let second = serving.shown().certificate();
        assert_ne!(second, first, "files are taken as they are");
        serving.renew();
        assert_ne!(serving.shown().certificate(), second);
        let kept = authority.server_files("tp-1", &[], &names).expect("reads").expect("is there");
        assert_eq!(Shown::new(&kept).expect("usable").certificate(), serving.shown().certificate());
    }
}
