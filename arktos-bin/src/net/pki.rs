//! The region's certificates: an authority made on first start, and what it signs.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

pub use super::subject::Subject;
use super::tls::Credential;

/// How long a certificate is valid, in days.
const VALID_DAYS: i64 = 365;
/// A certificate of which less than this part of its time is left is replaced: the last 91 days of a year.
const RENEW_PART: i64 = 4;
/// How long the authority is valid, in days.
const AUTHORITY_VALID_DAYS: i64 = 3650;

/// The authority that signs the region's certificates. Its files are `ca.crt` and `ca.key` in the `pki` directory.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    directory: PathBuf,
}

impl std::fmt::Debug for Authority {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Authority").field(&self.directory).finish()
    }
}

/// Why a certificate could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A certificate could not be made, or a request holds none.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file holds no certificate, or no key.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rcgen::Error,
    },
    /// The authority's certificate is there, and not its key.
    #[error("{certificate} is there, but {key} is not: put it back from your copy")]
    NoKey {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

impl Authority {
    /// Whether a directory has an authority, or cannot be looked into.
    #[must_use]
    pub fn is_in(directory: &Path) -> bool {
        directory.join("ca.crt").try_exists().unwrap_or(true)
    }

    /// The authority in a directory, made there when it has none yet.
    ///
    /// # Errors
    /// [`PkiError`] when a file cannot be read or written, or does not hold what it should.
    pub fn open(directory: &Path) -> Result<Self, PkiError> {
        let (certificate_path, key_path) = (directory.join("ca.crt"), directory.join("ca.key"));
        if certificate_path.exists() {
            if !key_path.exists() {
                return Err(PkiError::NoKey { certificate: certificate_path, key: key_path });
            }
            let (certificate, key) = (read(&certificate_path)?, read(&key_path)?);
            let unreadable = |path: &Path| {
                let path = path.to_owned();
                move |source| PkiError::Unreadable { path, source }
            };
            let key = KeyPair::from_pem(&key).map_err(unreadable(&key_path))?;
            let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(unreadable(&certificate_path))?;
            return Ok(Self { certificate, issuer, directory: directory.to_owned() });
        }
        private_directory(directory).map_err(|source| PkiError::File { path: directory.to_owned(), source })?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "arktos-ca");
        validity(&mut params, 0, AUTHORITY_VALID_DAYS);
        let certificate = params.self_signed(&key)?.pem();
        write_private(&key_path, &key.serialize_pem())?;
        write_private(&certificate_path, &certificate)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)?;
        Ok(Self { certificate, issuer, directory: directory.to_owned() })
    }

    /// The authority's own certificate, as PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Until when the authority's own certificate is valid, in seconds since 1970.
    #[must_use]
    pub fn ends(&self) -> Option<i64> {
        validity_of(&self.certificate).map(|(_, ends)| ends)
    }

    /// What the holders of the authority's key have in common and nobody else knows, to derive other secrets from.
    #[must_use]
    pub fn secret(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }

    /// A credential for a client, made anew.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] when the subject cannot be written into one.
    pub fn client(&self, subject: &Subject) -> Result<Credential, PkiError> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let Credential { certificate, key } = self.sign(params)?;
        Ok(Credential { certificate: subject.put_in(&certificate, self.issuer.key())?, key })
    }

    /// The credential of a server called `name`, from the files `<name>.crt` and `<name>.key`, made anew when they are
    /// not there, the names it is reached by have changed, or the last quarter of its time has begun.
    ///
    /// # Errors
    /// [`PkiError`] when a file cannot be read or written.
    pub fn server(&self, name: &str, addresses: &[IpAddr], host_names: &[String]) -> Result<Credential, PkiError> {
        if let Some(known) = self.server_files(name, addresses, host_names)?.filter(Credential::lasts) {
            return Ok(known);
        }
        let [certificate_path, key_path, names_path] = self.files(name);
        let mut params = CertificateParams::new(host_names.to_vec())?;
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.distinguished_name.push(DnType::CommonName, name);
        // A role is a server to some and a client to others, under one certificate.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let credential = self.sign(params)?;
        write_private(&key_path, &credential.key)?;
        write_private(&certificate_path, &credential.certificate)?;
        write_private(&names_path, &named(addresses, host_names))?;
        Ok(credential)
    }

    /// A server's certificate that was made so many days ago and ends in so many.
    #[cfg(test)]
    pub(crate) fn server_of(&self, names: &[String], since: i64, days: i64) -> Result<Credential, PkiError> {
        self.sign_for(CertificateParams::new(names.to_vec())?, since, days)
    }

    /// The credential of a server called `name` as its files have it now, whoever has written them; none when they are
    /// not there, or were made for other names.
    ///
    /// # Errors
    /// [`PkiError`] when the certificate or the key cannot be read.
    pub fn server_files(
        &self,
        name: &str,
        addresses: &[IpAddr],
        host_names: &[String],
    ) -> Result<Option<Credential>, PkiError> {
        let [certificate, key, names] = self.files(name);
        let gone = |path: &Path| fs::exists(path).is_ok_and(|there| !there);
        let others = !fs::read_to_string(&names).is_ok_and(|known| known == named(addresses, host_names));
        if others || gone(&certificate) || gone(&key) {
            return Ok(None);
        }
        Ok(Some(Credential { certificate: read(&certificate)?, key: read(&key)? }))
    }

    /// Where its files are, and those of the servers.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the certificate of a server, its key, and the names it was made for are kept.
    fn files(&self, name: &str) -> [PathBuf; 3] {
        ["crt", "key", "names"].map(|what| self.directory.join(format!("{name}.{what}")))
    }

    /// A certificate for the key in a request (PEM), with this subject and the usages that `about` sets. Nothing else
    /// of the request is in it but, where `names`, the names it asks for.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] when the request cannot be read, or is not signed with its own key.
    pub fn sign_request(
        &self,
        request: &str,
        subject: &Subject,
        names: bool,
        about: impl FnOnce(&mut CertificateParams),
    ) -> Result<String, PkiError> {
        let asked = CertificateSigningRequestParams::from_pem(request)?;
        let mut params = CertificateParams::default();
        if names {
            params.subject_alt_names = asked.params.subject_alt_names;
        }
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        about(&mut params);
        let signed = CertificateSigningRequestParams { params, public_key: asked.public_key };
        Ok(subject.put_in(&signed.signed_by(&self.issuer)?.pem(), self.issuer.key())?)
    }

    fn sign(&self, params: CertificateParams) -> Result<Credential, PkiError> {
        self.sign_for(params, 0, VALID_DAYS)
    }

    fn sign_for(&self, mut params: CertificateParams, since: i64, days: i64) -> Result<Credential, PkiError> {
        let key = KeyPair::generate()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        validity(&mut params, since, days);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Credential { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl Credential {
    /// Whether the last quarter of its time is yet to begin. One that cannot be read is of no use.
    #[must_use]
    #[allow(clippy::disallowed_methods)] // certificates are about the time on the wall
    pub fn lasts(&self) -> bool {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(i64::MAX);
        validity_of(&self.certificate).is_some_and(|(begins, ends)| {
            let last = ends.saturating_sub(begins) / RENEW_PART;
            ends > now.saturating_add(last)
        })
    }
}

/// From when until when a certificate (PEM, the first of several) is valid, in seconds since 1970.
fn validity_of(certificate: &str) -> Option<(i64, i64)> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    Some((certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp()))
}

/// What a server is reached by, as its file of names has it.
fn named(addresses: &[IpAddr], host_names: &[String]) -> String {
    format!("{addresses:?} {host_names:?}")
}

/// Valid since so many days and an hour ago, for clocks that are behind, and for so many days from now.
#[allow(clippy::disallowed_methods)] // certificates are about the time on the wall
fn validity(params: &mut CertificateParams, since: i64, days: i64) {
    let day = std::time::Duration::from_secs(24 * 3600);
    let now = std::time::SystemTime::now();
    params.not_before = (now - std::time::Duration::from_secs(3600) - day * u32::try_from(since).unwrap_or(0)).into();
    params.not_after = (now + day * u32::try_from(days).unwrap_or(365)).into();
}

/// Makes a directory that only this user can read; one that is there already stays as it is.
///
/// # Errors
/// What the system answered.
pub fn private_directory(path: &Path) -> io::Result<()> {
    if path.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is a file, not a directory"));
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::File { path: path.to_owned(), source })
}

/// Writes a file that only its owner can read, whole or not at all.
///
/// # Errors
/// [`PkiError::File`].
pub fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    let attempt = || -> io::Result<()> {
        let beside = path.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    attempt().map_err(|source| PkiError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn an_authority_is_made_once_and_its_files_are_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Authority::open(directory.path()).expect("made");
        let again = Authority::open(directory.path()).expect("read back");
        assert_eq!(first.certificate(), again.certificate());
        let mode = fs::metadata(directory.path().join("ca.key")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_damaged_or_gone_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let (certificate, key) = (directory.path().join("ca.crt"), directory.path().join("ca.key"));
        Authority::open(directory.path()).expect("made");
        let kept = fs::read(&key).expect("is there");
        let said = || Authority::open(directory.path()).expect_err("is refused").to_string();
        fs::write(&key, "not a key").expect("written");
        assert!(said().contains("ca.key cannot be read"), "{}", said());
        fs::remove_file(&key).expect("is there");
        assert!(said().contains("ca.key is not: put it back"), "{}", said());
        fs::write(&key, kept).expect("written");
        fs::write(&certificate, "not a certificate").expect("written");
        assert!(said().contains("ca.crt cannot be read"), "{}", said());
    }

    #[test]
    fn a_certificate_names_its_tenant_and_which_one_of_the_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        let identify = arktos_api::authenticator(arktos_api::TokenTable::default(), false);
        for (tenant, name, uid) in [("acme", "acme", ""), ("acme:77-1", "acme", "77-1")] {
            let groups = vec!["dev".to_owned(), "ops".to_owned()];
            let subject = Subject { user: "alice".to_owned(), tenant: Some(tenant.to_owned()), groups };
            let credential = authority.client(&subject).expect("made");
            let der = pem_bytes(&credential.certificate);
            let mut parts = http::Request::new(()).into_parts().0;
            parts.extensions.insert(arktos_api::PeerCertificate::new(der));
            let identity = identify(&parts).expect("known");
            assert_eq!(identity.tenant.as_ref().map(arktos_core::TenantName::as_str), Some(name));
            assert_eq!((identity.tenant_uid.as_str(), identity.user.as_str()), (uid, "alice"));
            assert_eq!(identity.groups, ["dev", "ops", "system:authenticated"]);
        }
    }

    #[test]
    fn where_a_request_comes_from_only_a_gateway_may_say() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        for (user, expected) in [(arktos_api::identity::GATEWAY, "192.0.2.7"), ("arktos:member:tp-1", "127.0.0.1")] {
            let groups = vec![arktos_api::identity::COMPONENTS.to_owned()];
            let subject = Subject { user: user.to_owned(), tenant: None, groups };
            let der = pem_bytes(&authority.client(&subject).expect("made").certificate);
            let said = http::Request::builder().header(arktos_api::SOURCE, "192.0.2.7");
            let mut parts = said.body(()).expect("a request").into_parts().0;
            parts.extensions.insert(arktos_api::PeerCertificate::new(der));
            parts.extensions.insert(arktos_api::PeerAddress("127.0.0.1:80".parse().expect("an address")));
            assert_eq!(arktos_api::source(&parts).map(|it| it.to_string()).as_deref(), Some(expected), "{user}");
        }
    }

    fn pem_bytes(pem: &str) -> Vec<u8> {
        use rustls::pki_types::pem::PemObject;
        rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate").to_vec()
    }

    /// Whether a client and a server with these take each other for who they are.
    fn meet(server: &Arc<rustls::ServerConfig>, client: rustls::ClientConfig) -> Result<(), rustls::Error> {
        let name = rustls::pki_types::ServerName::try_from("tp-1").expect("a name");
        let mut client = rustls::ClientConnection::new(Arc::new(client), name)?;
        let mut server = rustls::ServerConnection::new(server.clone())?;
        for _ in 0..5 {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            client.write_tls(&mut there).expect("memory takes it");
            server.read_tls(&mut &*there).expect("memory gives it");
            server.process_new_packets()?;
            server.write_tls(&mut back).expect("memory takes it");
            client.read_tls(&mut &*back).expect("memory gives it");
            client.process_new_packets()?;
        }
        assert!(!client.is_handshaking() && !server.is_handshaking() && server.peer_certificates().is_some());
        Ok(())
    }

    #[test]
    fn an_authority_is_replaced_while_all_trust_each_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let places = ["old", "new", "both", "next"].map(|name| directory.path().join(name));
        let [old, new] = [0, 1].map(|at| Authority::open(&places[at]).expect("made"));
        let bundle = |at: usize, first: &Authority, second: &Authority, key: usize| {
            private_directory(&places[at]).expect("made");
            let both = format!("{}{}", first.certificate(), second.certificate());
            fs::write(places[at].join("ca.crt"), both).expect("written");
            fs::copy(places[key].join("ca.key"), places[at].join("ca.key")).expect("copied");
            Authority::open(&places[at]).expect("reads")
        };
        // First all trust both, then all are signed for by the new one, then it alone is trusted.
        let steps = [bundle(2, &old, &new, 0), bundle(3, &new, &old, 1)];
        let steps = [&old, &steps[0], &steps[1], &new];
        let subject = Subject { user: "arktos:member:rm-1".to_owned(), tenant: None, groups: Vec::new() };
        let made = steps.map(|authority| {
            let serving = authority.server("tp-1", &[], &["tp-1".to_owned()]).expect("made");
            let client = authority.client(&subject).expect("made");
            (serving, client, authority.certificate())
        });
        for (at, (serving, _, trusted)) in made.iter().enumerate() {
            let server = super::super::tls::server(serving, trusted).expect("usable");
            for (other, (_, client, trusts)) in made.iter().enumerate() {
                let client = super::super::tls::client(Some(client), trusts).expect("usable");
                assert_eq!(meet(&server, client).is_ok(), at.abs_diff(other) < 2, "{at} and {other}");
            }
        }
    }

    #[test]
    fn a_server_whose_files_were_removed_has_others_made() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        let names = ["localhost".to_owned()];
        let mut last = authority.server("tp-1", &[], &names).expect("made");
        for gone in ["crt", "key"] {
            fs::remove_file(directory.path().join(format!("tp-1.{gone}"))).expect("is there");
            assert!(authority.server_files("tp-1", &[], &names).expect("reads").is_none());
            let next = authority.server("tp-1", &[], &names).expect("made anew");
            assert_ne!(next.certificate, last.certificate);
            last = next;
        }
    }

    #[test]
    fn a_server_keeps_its_certificate_until_its_names_change() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        let names = ["localhost".to_owned()];
        let first = authority.server("gateway", &[], &names).expect("made");
        assert_eq!(authority.server("gateway", &[], &names).expect("read").certificate, first.certificate);
        let other = authority.server("gateway", &["127.0.0.1".parse().expect("an address")], &names).expect("made");
        assert_ne!(other.certificate, first.certificate);
    }

    #[test]
    fn a_certificate_that_ends_soon_is_made_anew_at_the_next_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        let names = ["localhost".to_owned()];
        authority.server("gateway", &[], &names).expect("made");
        for (since, days, stays) in [(280, 85, false), (270, 95, true), (365, 0, false), (0, 30, true), (24, 6, false)]
        {
            let old = authority.server_of(&names, since, days).expect("signed");
            write_private(&directory.path().join("gateway.crt"), &old.certificate).expect("written");
            write_private(&directory.path().join("gateway.key"), &old.key).expect("written");
            let next = authority.server("gateway", &[], &names).expect("one");
            assert_eq!(next.certificate == old.certificate, stays, "{days} days of {}", since + days);
            assert!(next.lasts());
        }
    }
}
