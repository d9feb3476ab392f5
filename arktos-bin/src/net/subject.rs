//! The subject of a client certificate: who its holder is.
//!
//! The library that makes certificates keeps one value of each attribute, but a user may be in several groups. So the
//! subject is written here, put into a certificate that is otherwise finished, and that is signed again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{Error, KeyPair, SigningKey};

/// The tags of DER that are written here.
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The identifiers of attributes.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const ORGANIZATION: [u8; 3] = [0x55, 0x04, 0x0a];
const ORGANIZATIONAL_UNIT: [u8; 3] = [0x55, 0x04, 0x0b];

/// Whom a client certificate is for.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The user: the certificate's common name.
    pub user: String,
    /// The tenant the user belongs to, as `NAME` or `NAME:UID`; absent for users of the region, who are in tenant
    /// `system`.
    pub tenant: Option<String>,
    /// The user's groups.
    pub groups: Vec<String>,
}

impl Subject {
    /// A certificate (PEM) with this subject in place of its own, signed by the authority.
    pub(super) fn put_in(&self, certificate: &str, authority: &KeyPair) -> Result<String, Error> {
        let unreadable = || Error::CouldNotParseCertificate;
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).map_err(|_| unreadable())?;
        let read = pem.parse_x509().map_err(|_| unreadable())?;
        let (signed, subject) = (read.tbs_certificate.as_ref(), read.subject().as_raw());
        // What is signed is a sequence, in which the subject begins here, and behind which the algorithm stands.
        let begins = subject.as_ptr().addr().checked_sub(signed.as_ptr().addr()).ok_or_else(unreadable)?;
        let (before, after) = signed.split_at_checked(begins).ok_or_else(unreadable)?;
        let after = after.get(subject.len()..).ok_or_else(unreadable)?;
        let before = before.get(header(signed).ok_or_else(unreadable)?..).ok_or_else(unreadable)?;
        let outer = header(&pem.contents).ok_or_else(unreadable)?;
        let algorithm = pem.contents.get(outer + signed.len()..).ok_or_else(unreadable)?;
        let length = header(algorithm).zip(algorithm.get(1)).ok_or_else(unreadable)?;
        let algorithm = algorithm.get(..length.0 + usize::from(*length.1)).ok_or_else(unreadable)?;

        let signed = element(SEQUENCE, &[before, &self.written(), after]);
        let signature = element(BIT_STRING, &[&[0], &authority.sign(&signed)?]);
        let certificate = STANDARD.encode(element(SEQUENCE, &[&signed, algorithm, &signature]));
        let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
        for line in certificate.as_bytes().chunks(64) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
        Ok(text)
    }

    /// The name. With a tenant the organization names it and the groups are organizational units, as Arktos has it;
    /// without one the organizations are the groups, as Kubernetes has it.
    fn written(&self) -> Vec<u8> {
        let mut parts = vec![attribute(COMMON_NAME, &self.user)];
        if let Some(tenant) = &self.tenant {
            parts.push(attribute(ORGANIZATION, &format!("tenant:{tenant}")));
        }
        let group = if self.tenant.is_some() { ORGANIZATIONAL_UNIT } else { ORGANIZATION };
        parts.extend(self.groups.iter().map(|name| attribute(group, name)));
        element(SEQUENCE, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}

fn attribute(identifier: [u8; 3], value: &str) -> Vec<u8> {
    let (identifier, value) = (element(OBJECT_IDENTIFIER, &[&identifier]), element(UTF8_STRING, &[value.as_bytes()]));
    element(SET, &[&element(SEQUENCE, &[&identifier, &value])])
}

/// An element of DER: tag, length, content.
fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut bytes = vec![tag];
    match length {
        [] => bytes.push(0),
        [short @ 0..0x80] => bytes.push(*short),
        long => {
            bytes.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            bytes.extend_from_slice(long);
        }
    }
    bytes.extend(content);
    bytes
}

/// How long the tag and the length of an element are together.
fn header(element: &[u8]) -> Option<usize> {
    match element.get(1)? {
        0..0x80 => Some(2),
        long => Some(2 + usize::from(long & 0x7f)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::pki::Authority;
    use rustls::RootCertStore;
    use rustls::pki_types::{CertificateDer, UnixTime};
    use rustls::server::WebPkiClientVerifier;
    use x509_parser::prelude::{FromDer, X509Certificate};

    #[test]
    fn a_certificate_with_any_number_of_groups_is_read_and_verified_by_others() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        let der = |pem: &str| x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM").1.contents;
        let root = der(authority.certificate());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(root.clone())).expect("a root");
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().expect("a verifier");
        let many: Vec<String> = (0..40).map(|number| format!("group-{number}")).collect();
        for groups in [Vec::new(), vec!["dev".to_owned()], vec!["ä".repeat(100), "ops".to_owned()], many] {
            for tenant in [None, Some("acme".to_owned())] {
                let subject = Subject { user: "alice".to_owned(), tenant: tenant.clone(), groups: groups.clone() };
                let made = der(&authority.client(&subject).expect("made").certificate);
                let (rest, read) = X509Certificate::from_der(&made).expect("a certificate");
                assert!(rest.is_empty());
                let name = read.subject();
                let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| value.as_str().map(str::to_owned);
                let names: Vec<String> = name.iter_common_name().flat_map(text).collect();
                let organizations: Vec<String> = name.iter_organization().flat_map(text).collect();
                let units: Vec<String> = name.iter_organizational_unit().flat_map(text).collect();
                assert_eq!(names, ["alice"]);
                match tenant {
                    None => assert_eq!((organizations, units), (groups.clone(), Vec::new())),
                    Some(_) => assert_eq!((organizations, units), (vec!["tenant:acme".to_owned()], groups.clone())),
                }
                let (_, issuer) = X509Certificate::from_der(&root).expect("a certificate");
                read.verify_signature(Some(issuer.public_key())).expect("is signed");
                verifier.verify_client_cert(&made.into(), &[], UnixTime::now()).expect("is verified");
            }
        }
    }

    #[test]
    fn elements_of_any_length_are_written_as_der_has_it() {
        for (length, expected) in
            [(0, vec![4, 0]), (127, vec![4, 127]), (128, vec![4, 0x81, 128]), (300, vec![4, 0x82, 1, 44])]
        {
            let written = element(4, &[&vec![7; length]]);
            assert_eq!(header(&written), Some(expected.len()));
            assert_eq!(written[..expected.len()], expected);
            assert_eq!(written.len(), expected.len() + length);
        }
        assert_eq!(header(&[4]), None);
    }
}
