//! Client certificates of X.509 version 1, for Arktos's old set-up: its script makes them, and the usual
//! verifier takes the third alone.
//!
//! Such a certificate has no extensions, so nothing says what it may be used for. It counts here when the region's own
//! authority has signed it itself and its time has come and has not passed; never as an authority over others.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{ASN1Time, FromDer, X509Version};

/// Takes what another verifier takes, and certificates of the first version.
#[derive(Debug)]
pub struct FirstVersionToo {
    usual: Arc<dyn ClientCertVerifier>,
    authorities: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl FirstVersionToo {
    /// Beside `usual`, for certificates that one of `authorities` has signed.
    #[must_use]
    pub fn new(
        usual: Arc<dyn ClientCertVerifier>,
        authorities: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self { usual, authorities, provider }
    }

    fn is_signed(&self, certificate: &X509Certificate<'_>) -> bool {
        self.authorities.iter().any(|authority| {
            X509Certificate::from_der(authority).is_ok_and(|(_, authority)| {
                authority.subject().as_raw() == certificate.issuer().as_raw()
                    && certificate.verify_signature(Some(authority.public_key())).is_ok()
            })
        })
    }
}

/// The certificate, where it is of the first version.
fn of_first_version<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, certificate) = X509Certificate::from_der(certificate).ok()?;
    (rest.is_empty() && certificate.version() == X509Version::V1).then_some(certificate)
}

impl ClientCertVerifier for FirstVersionToo {
    fn offer_client_auth(&self) -> bool {
        self.usual.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.usual.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.usual.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Some(first) = of_first_version(certificate) else {
            return self.usual.verify_client_cert(certificate, intermediates, now);
        };
        let now = i64::try_from(now.as_secs()).ok().and_then(|now| ASN1Time::from_timestamp(now).ok());
        let refused = if !self.is_signed(&first) {
            CertificateError::UnknownIssuer
        } else if now.is_none_or(|now| now < first.validity().not_before) {
            CertificateError::NotValidYet
        } else if now.is_none_or(|now| now > first.validity().not_after) {
            CertificateError::Expired
        } else {
            return Ok(ClientCertVerified::assertion());
        };
        Err(Error::InvalidCertificate(refused))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if of_first_version(certificate).is_some() {
            return Err(Error::General("certificates of X.509 version 1 are accepted only with TLS 1.3".to_owned()));
        }
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Some(first) = of_first_version(certificate) else {
            return self.usual.verify_tls13_signature(message, certificate, signature);
        };
        let key = SubjectPublicKeyInfoDer::from(first.public_key().raw);
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::RootCertStore;
    use rustls::pki_types::pem::PemObject;
    use rustls::server::WebPkiClientVerifier;

    use super::*;

    /// An authority, another one of the same name, and what the first signed for a client: made with openssl, as
    /// Arktos's script does.
    const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBejCCAR+gAwIBAgIUeuAgu16on2udgbtVKHnv4abXyg4wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGcmVnaW9uMCAXDTI2MTEyNjIyNTI1NVoYDzIxMjYxMTAyMjI1
MjU1WjARMQ8wDQYDVQQDDAZyZWdpb24wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAQF5YbW0yHm0Mg92Yu6vNR6CH8Nd5W5xgPtzArNPuLF2XF7tQD+IQw1RDnDVsZT
o8UzhtYGhuxYgItWfxTPUWy0o1MwUTAdBgNVHQ4EFgQUH5c6kfdSD3hHu0q3+dYa
vK+80DwwHwYDVR0jBBgwFoAUH5c6kfdSD3hHu0q3+dYavK+80DwwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEApr4d73oef6pRKuz5qrfKEUen3NqK
0UxNNylj674ivGACIQDQKOQg8YGf4azU/rUIknrncuxExriYQ/30SA4/b1uFSg==
-----END CERTIFICATE-----
";
    const OTHER: &str = "\
-----BEGIN CERTIFICATE-----
MIIBeTCCAR+gAwIBAgIUdTgRMGWTT3JKJxK4eGb1sKmykd8wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGcmVnaW9uMCAXDTI2MTEyNjIyNTI1NVoYDzIxMjYxMTAyMjI1
MjU1WjARMQ8wDQYDVQQDDAZyZWdpb24wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AASM2uAxORAAMfNUt1oQlYsMcf3S90QciVmYmTLZHKC4cGtPxGHQFcHN6bookz3t
mlz2NkPKBVBFCvMkUPXPn59ho1MwUTAdBgNVHQ4EFgQUCJw6M10iuIzOVZuAHZCN
jYX9JBwwHwYDVR0jBBgwFoAUCJw6M10iuIzOVZuAHZCNjYX9JBwwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiBAuKqKPkYK1gQQud5V3HItoPEoY3wj
Y0rAh9Hn5ba+lgIhAIqPVIUVThi78YQ3Fa7MKqj/HnhjqYpWLYI4wp7tfHzf
-----END CERTIFICATE-----
";
    const CLIENT: &str = "\
-----BEGIN CERTIFICATE-----
MIIBRjCB7QIUYT6p6xs/VUj4k9u8eK6zkB5uMV8wCgYIKoZIzj0EAwIwETEPMA0G
A1UEAwwGcmVnaW9uMB4XDTI2MTEyNjIyNTI1NVoXDTI4MDQwOTIyNTI1NVowOzEO
MAwGA1UEAwwFYWxpY2UxFDASBgNVBAoMC3RlbmFudDphY21lMRMwEQYDVQQLDAph
Y21lLWdyb3VwMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPemTDnHo7uc4S8fM
KwyhLlYaucXOnSmk0JoXx0d0IZVNa31MxVi9WOHao4pMwQylV5x6sbuyPuFeDqH2
mLEZpzAKBggqhkjOPQQDAgNIADBFAiAZC+TJ8LPrOpDh5CZKY5yehqxzMBYO52K6
nN4Z0mIVLgIhAPbD0SQ0EhYHN4GaLxfa/BgOeNFUYdHY6jIHJutZtDGF
-----END CERTIFICATE-----
";

    fn certificate(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")
    }

    fn verifier(authority: &str) -> FirstVersionToo {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate(authority)).expect("an authority");
        let usual = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        FirstVersionToo::new(usual.expect("a verifier"), vec![certificate(authority)], provider)
    }

    fn verified(authority: &str, day: u64) -> Result<(), Error> {
        let client = certificate(CLIENT);
        let begins = of_first_version(&client).expect("the first version").validity().not_before.timestamp();
        let begins = u64::try_from(begins).expect("after 1970");
        let now = UnixTime::since_unix_epoch(Duration::from_secs(begins - 86_400 + day * 86_400));
        verifier(authority).verify_client_cert(&client, &[], now).map(drop)
    }

    #[test]
    fn what_the_authority_signed_counts_in_its_time() {
        assert_eq!(verified(AUTHORITY, 2), Ok(()));
        assert_eq!(verified(AUTHORITY, 0), Err(CertificateError::NotValidYet.into()));
        assert_eq!(verified(AUTHORITY, 600), Err(CertificateError::Expired.into()));
        assert_eq!(verified(OTHER, 2), Err(CertificateError::UnknownIssuer.into()));
    }

    #[test]
    fn the_usual_verifier_still_judges_all_others() {
        let (authority, now) = (certificate(AUTHORITY), UnixTime::since_unix_epoch(Duration::from_secs(0)));
        assert!(verifier(AUTHORITY).verify_client_cert(&authority, &[], now).is_err());
    }
}
