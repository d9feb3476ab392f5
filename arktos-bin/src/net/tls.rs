//! TLS on both sides of a connection: who is asked for a certificate, and which authority is trusted.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate and its key, both as PEM.
#[derive(Clone)]
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
    /// A certificate or key is not acceptable.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// The verifier of client certificates could not be built.
    #[error("{0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A server that asks clients for a certificate of `authority` and lets those in that have none: what they may do is
/// the API's decision.
///
/// # Errors
/// [`TlsError`] when a certificate or key is unusable.
pub fn server(credential: &Credential, authority: &str) -> Result<Arc<ServerConfig>, TlsError> {
    serving(credential, verifier(authority)?)
}

/// The same server, which takes client certificates of the first version of X.509 as well: Arktos's old clients have
/// such.
///
/// # Errors
/// [`TlsError`] when a certificate or key is unusable.
#[cfg(feature = "net")]
pub fn server_for_old_clients(credential: &Credential, authority: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let authorities = CertificateDer::pem_slice_iter(authority.as_bytes()).collect::<Result<_, _>>()?;
    let verifier = super::first_version::FirstVersionToo::new(verifier(authority)?, authorities, provider());
    serving(credential, Arc::new(verifier))
}

fn verifier(authority: &str) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)?), provider());
    Ok(verifier.allow_unauthenticated().build()?)
}

fn serving(credential: &Credential, verifier: Arc<dyn ClientCertVerifier>) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = parse(credential)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client that trusts `authority` alone and shows a certificate where it has one.
///
/// # Errors
/// [`TlsError`] when a certificate or key is unusable.
pub fn client(credential: Option<&Credential>, authority: &str) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authority)?);
    Ok(match credential {
        Some(credential) => {
            let (chain, key) = parse(credential)?;
            builder.with_client_auth_cert(chain, key)?
        }
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

fn parse(credential: &Credential) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = CertificateDer::pem_slice_iter(credential.certificate.as_bytes()).collect::<Result<_, _>>()?;
    Ok((chain, PrivateKeyDer::from_pem_slice(credential.key.as_bytes())?))
}
