//! The client certificates of a role, renewed while it runs: those that it makes for itself, before they end; those of
//! kubeconfigs, when their files change. Open connections stay; the next one shows the new certificate.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::followed_file::PERIOD;
use crate::net::kubeconfig::Kubeconfig;
use crate::net::pki::{Authority, Subject};
use crate::net::tls::{Credential, Shown, TlsError};

/// How often the end of a certificate is looked at. It is renewed months before.
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// A certificate that a role makes for itself with the authority's key.
pub(super) struct OwnCertificate {
    authority: Arc<Authority>,
    subject: Subject,
    shown: Arc<Shown>,
    /// What is shown.
    credential: Credential,
}

impl OwnCertificate {
    pub(super) fn make(authority: &Arc<Authority>, subject: Subject) -> Result<Self, String> {
        let credential = authority.client(&subject).map_err(|error| error.to_string())?;
        let shown = Shown::new(&credential).map_err(|error| error.to_string())?;
        Ok(Self { authority: authority.clone(), subject, shown, credential })
    }

    /// What shows it.
    pub(super) fn shown(&self) -> Arc<Shown> {
        self.shown.clone()
    }

    /// Looks at it for ever.
    pub(super) async fn renew(mut self) {
        loop {
            tokio::time::sleep(HOUR).await;
            if !self.credential.lasts() {
                self.replace();
            }
        }
    }

    /// Shows a new one from now on.
    fn replace(&mut self) {
        let made = self.authority.client(&self.subject).map_err(|error| error.to_string());
        let replaced = made.and_then(|credential| {
            self.shown.replace(&credential).map_err(|error| error.to_string())?;
            Ok(credential)
        });
        match replaced {
            Ok(credential) => self.credential = credential,
            Err(error) => tracing::warn!(user = self.subject.user, error, "a certificate could not be renewed"),
        }
    }
}

/// A certificate that is shown as files have it, which may be replaced.
pub(super) struct Followed {
    shown: Arc<Shown>,
    /// What was read last, used or not.
    seen: Credential,
}

impl Followed {
    pub(super) fn new(seen: Credential) -> Result<Self, TlsError> {
        Ok(Self { shown: Shown::new(&seen)?, seen })
    }

    /// What shows it.
    pub(super) fn shown(&self) -> Arc<Shown> {
        self.shown.clone()
    }

    /// Whether the last quarter of what is shown is yet to begin.
    pub(super) fn lasts(&self) -> bool {
        self.seen.lasts()
    }

    /// Shows what was read, if that is news and of use. `of` says whose it is.
    pub(super) fn take_in(&mut self, read: Credential, of: &dyn Display) {
        if read == self.seen {
            return;
        }
        match self.shown.replace(&read) {
            Ok(()) => tracing::info!(%of, "a certificate was reloaded"),
            Err(error) => tracing::warn!(%of, %error, "a new certificate cannot be used; the old one stays"),
        }
        self.seen = read;
    }
}

/// The certificate of a kubeconfig, as its file has it.
pub(super) struct FollowedKubeconfig {
    path: PathBuf,
    followed: Followed,
}

impl FollowedKubeconfig {
    /// What shows the certificate of a kubeconfig that was read from a file, and who follows that; nothing where it has
    /// no certificate. Its server and its authority are not followed, nor a token.
    pub(super) fn of(path: PathBuf, config: &Kubeconfig) -> Result<Option<Self>, TlsError> {
        let Some(seen) = config.credential.clone() else { return Ok(None) };
        Ok(Some(Self { path, followed: Followed::new(seen)? }))
    }

    /// What shows it.
    pub(super) fn shown(&self) -> Arc<Shown> {
        self.followed.shown()
    }

    /// Follows the file, for ever.
    pub(super) async fn follow(mut self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            self.look();
        }
    }

    /// Takes in what the file has. One that is just being written is read again the next time.
    fn look(&mut self) {
        if let Some(read) = Kubeconfig::read(&self.path).ok().and_then(|config| config.credential) {
            self.followed.take_in(read, &self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(user: &str) -> Subject {
        Subject { user: user.to_owned(), tenant: None, groups: Vec::new() }
    }

    #[test]
    fn a_certificate_of_ones_own_is_replaced_by_one_for_the_same_user() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Arc::new(Authority::open(directory.path()).expect("made"));
        let mut own = OwnCertificate::make(&authority, subject("arktos:member:tp-1")).expect("made");
        let before = own.shown().certificate();
        assert!(own.credential.lasts());
        own.replace();
        assert_ne!(own.shown().certificate(), before);
        assert_eq!(own.shown().certificate(), Shown::new(&own.credential).expect("usable").certificate());
    }

    #[test]
    fn a_kubeconfig_is_followed_while_what_it_has_is_of_use() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        let [first, second] = ["a", "b"].map(|user| authority.client(&subject(user)).expect("made"));
        let path = directory.path().join("kubeconfig");
        let config = |credential: Credential| Kubeconfig {
            server: "https://127.0.0.1:1".to_owned(),
            authority: authority.certificate().to_owned(),
            credential: Some(credential),
            token: None,
        };
        let mut followed =
            FollowedKubeconfig::of(path.clone(), &config(first.clone())).expect("usable").expect("it has");
        let certificate = |credential: &Credential| Shown::new(credential).expect("usable").certificate();
        let torn = Credential { key: first.key.clone(), ..second.clone() };
        for (text, shown) in [
            (String::new(), &first),
            ("not a kubeconfig".to_owned(), &first),
            (config(torn).render("a"), &first),
            (config(second.clone()).render("a"), &second),
        ] {
            std::fs::write(&path, text).expect("written");
            followed.look();
            assert_eq!(followed.shown().certificate(), certificate(shown));
        }
        let none = Kubeconfig { credential: None, ..config(first) };
        assert!(FollowedKubeconfig::of(path, &none).expect("fine").is_none());
    }
}
