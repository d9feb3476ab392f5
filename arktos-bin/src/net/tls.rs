//! TLS on both sides of a connection: who is asked for a certificate, and which authority is trusted.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

/// A certificate and its key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate or key is not PEM.
    #[error("not PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// There is no certificate.
    #[error("no certificate is in it")]
    Empty,
    /// A certificate or key is not acceptable.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// The verifier of client certificates could not be built.
    #[error("{0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The certificate that a server shows to those who connect, or a client to those it connects to. It can be replaced
/// while they run: whoever is connected stays so. Written by whoever follows where it comes from.
#[derive(Debug)]
pub struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    /// Shows this certificate.
    ///
    /// # Errors
    /// [`TlsError`] when the certificate or the key is unusable, or one is not of the other.
    pub fn new(credential: &Credential) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(RwLock::new(certified(credential)?))))
    }

    /// Shows another one from now on.
    ///
    /// # Errors
    /// As [`new`](Self::new); the one that was shown stays.
    pub fn replace(&self, credential: &Credential) -> Result<(), TlsError> {
        let certified = certified(credential)?;
        *self.0.write() = certified;
        Ok(())
    }

    /// Until when what is shown now is valid, in seconds since 1970.
    #[cfg(feature = "net")]
    #[must_use]
    pub fn ends(&self) -> Option<i64> {
        let shown = self.certificate();
        let (_, certificate) = x509_parser::parse_x509_certificate(&shown).ok()?;
        Some(certificate.validity().not_after.timestamp())
    }

    /// The certificate that is shown now, without those that vouch for it.
    #[must_use]
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.read().cert.first().cloned().unwrap_or_else(|| CertificateDer::from_slice(&[])) // there is always one
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified(credential: &Credential) -> Result<Arc<CertifiedKey>, TlsError> {
    let (chain, key) = parse(credential)?;
    if chain.is_empty() {
        return Err(TlsError::Empty);
    }
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
}

/// A server that asks clients for a certificate of `authority` and lets those in that have none: what they may do is
/// the API's decision.
///
/// # Errors
/// [`TlsError`] when a certificate or key is unusable.
pub fn server(credential: &Credential, authority: &str) -> Result<Arc<ServerConfig>, TlsError> {
    server_showing(Shown::new(credential)?, authority)
}

/// The same server, with a certificate that can be replaced.
///
/// # Errors
/// [`TlsError`] when the authority's certificate is unusable.
pub fn server_showing(shown: Arc<Shown>, authority: &str) -> Result<Arc<ServerConfig>, TlsError> {
    serving(shown, verifier(authority)?)
}

/// The same server, which takes client certificates of the first version of X.509 as well: Arktos's old clients have
/// such.
///
/// # Errors
/// [`TlsError`] when the authority's certificate is unusable.
#[cfg(feature = "net")]
pub fn server_for_old_clients(shown: Arc<Shown>, authority: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let authorities = CertificateDer::pem_slice_iter(authority.as_bytes()).collect::<Result<_, _>>()?;
    let verifier = super::first_version::FirstVersionToo::new(verifier(authority)?, authorities, provider());
    serving(shown, Arc::new(verifier))
}

fn verifier(authority: &str) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)?), provider());
    Ok(verifier.allow_unauthenticated().build()?)
}

fn serving(shown: Arc<Shown>, verifier: Arc<dyn ClientCertVerifier>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client that trusts `authority` alone and shows a certificate where it has one.
///
/// # Errors
/// [`TlsError`] when a certificate or key is unusable.
pub fn client(credential: Option<&Credential>, authority: &str) -> Result<ClientConfig, TlsError> {
    client_showing(credential.map(Shown::new).transpose()?, authority)
}

/// The same client, with a certificate that can be replaced.
///
/// # Errors
/// [`TlsError`] when the authority's certificate is unusable.
pub fn client_showing(shown: Option<Arc<Shown>>, authority: &str) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authority)?);
    Ok(match shown {
        Some(shown) => builder.with_client_cert_resolver(shown),
        None => builder.with_no_client_auth(),
    })
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(authority: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

/// The authorities that the machine trusts, as PEM; nothing where it has none.
#[cfg(feature = "traces")]
pub(crate) fn machines_authorities() -> String {
    use base64::Engine as _;
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some authorities that this machine trusts cannot be read");
    }
    let usable = found.certs.iter().filter(|certificate| RootCertStore::empty().add((*certificate).clone()).is_ok());
    let pem = |certificate: &CertificateDer<'_>| {
        let text = base64::engine::general_purpose::STANDARD.encode(certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    usable.map(pem).collect()
}

fn parse(credential: &Credential) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = CertificateDer::pem_slice_iter(credential.certificate.as_bytes()).collect::<Result<_, _>>()?;
    Ok((chain, PrivateKeyDer::from_pem_slice(credential.key.as_bytes())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::pki::Authority;

    #[cfg(feature = "traces")]
    #[test]
    fn what_the_machine_trusts_is_usable_whatever_that_is() {
        assert!(client(None, &machines_authorities()).is_ok());
    }

    #[test]
    fn a_certificate_is_replaced_by_one_that_has_its_key_and_by_no_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        let [first, second, third] =
            ["a", "b", "c"].map(|name| authority.server(name, &[], &[name.to_owned()]).expect("made"));
        let shown = Shown::new(&first).expect("usable");
        let now = || shown.certificate().to_vec();
        let der = |credential: &Credential| parse(credential).expect("parses").0.remove(0).to_vec();
        let torn = Credential { certificate: second.certificate.clone(), key: third.key };
        let empty = Credential { certificate: String::new(), key: second.key.clone() };
        assert!(shown.replace(&empty).is_err_and(|error| error.to_string().contains("no certificate")));
        for unusable in [torn, empty] {
            assert!(shown.replace(&unusable).is_err());
            assert_eq!(now(), der(&first));
        }
        shown.replace(&second).expect("usable");
        assert_eq!(now(), der(&second));
    }
}
