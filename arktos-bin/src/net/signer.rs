//! Certificates requested through the API, signed by the region's authority.

use std::time::{Duration, SystemTime};

use arktos_control::certificates::{Asked, Certificate, CertificateSigner};
use arktos_core::Timestamp;
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use super::pki::{Authority, Subject};

impl CertificateSigner for Authority {
    fn read(&self, request: &[u8]) -> Result<Asked, String> {
        let unreadable = |why: &dyn std::fmt::Display| format!("the request cannot be read: {why}");
        let (_, pem) = x509_parser::pem::parse_x509_pem(request).map_err(|error| unreadable(&error))?;
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).map_err(|error| unreadable(&error))?;
        request.verify_signature().map_err(|_| unreadable(&"it is not signed with its own key"))?;
        let subject = &request.certification_request_info.subject;
        let mut asked = Asked {
            user: texts(subject.iter_common_name())?.into_iter().next().unwrap_or_default(),
            groups: texts(subject.iter_organization())?,
            ..Asked::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(name) => asked.dns_names.push((*name).to_owned()),
                    GeneralName::IPAddress(address) => asked.addresses.push(format!("{address:?}")),
                    GeneralName::RFC822Name(name) => asked.mails.push((*name).to_owned()),
                    GeneralName::URI(name) => asked.uris.push((*name).to_owned()),
                    other => return Err(format!("names such as {other} are not signed")),
                }
            }
        }
        Ok(asked)
    }

    fn sign(&self, request: &[u8], certificate: &Certificate) -> Result<String, String> {
        let request = std::str::from_utf8(request).map_err(|error| error.to_string())?;
        let Certificate { user, tenant, groups, .. } = certificate.clone();
        let signed = self.sign_request(request, &Subject { user, tenant, groups }, certificate.serves, |params| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            if certificate.enciphers {
                params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
            }
            params.extended_key_usages = vec![match certificate.serves {
                true => ExtendedKeyUsagePurpose::ServerAuth,
                false => ExtendedKeyUsagePurpose::ClientAuth,
            }];
            params.not_before = moment(certificate.begins).into();
            params.not_after = moment(certificate.ends).into();
        });
        signed.map_err(|error| error.to_string())
    }
}

/// The values of an attribute. One that is no text might be read as another one by somebody else.
fn texts<'a>(values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Result<Vec<String>, String> {
    let text = |value: &AttributeTypeAndValue<'_>| value.as_str().map(str::to_owned).map_err(|error| error.to_string());
    values.map(text).collect()
}

fn moment(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_core::TenantName;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn request(params: CertificateParams) -> String {
        params.serialize_request(&KeyPair::generate().expect("a key")).expect("a request").pem().expect("PEM")
    }

    fn alice(group: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.distinguished_name.push(DnType::OrganizationalUnitName, "system:masters");
        params
    }

    fn certificate(tenant: Option<&str>) -> Certificate {
        Certificate {
            user: "alice".to_owned(),
            tenant: tenant.map(str::to_owned),
            groups: vec!["dev".to_owned()],
            serves: false,
            enciphers: false,
            begins: Timestamp::parse("2026-11-23T10:00:00Z").expect("a time"),
            ends: Timestamp::parse("2026-11-23T11:00:00Z").expect("a time"),
        }
    }

    /// Who an API server takes the holder of a certificate for.
    fn identity(pem: &str) -> arktos_api::Identity {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM");
        let mut parts = http::Request::new(()).into_parts().0;
        parts.extensions.insert(arktos_api::PeerCertificate::new(pem.contents));
        arktos_api::authenticator(arktos_api::TokenTable::default(), false)(&parts).expect("is known")
    }

    #[test]
    fn nothing_of_a_request_but_its_key_is_in_a_certificate() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        let request = request(alice("dev"));
        let asked = authority.read(request.as_bytes()).expect("reads");
        assert_eq!((asked.user.as_str(), asked.groups.as_slice()), ("alice", ["dev".to_owned()].as_slice()));
        let signed = authority.sign(request.as_bytes(), &certificate(Some("acme:77-1"))).expect("signs");
        let who = identity(&signed);
        assert_eq!(who.tenant, Some(TenantName::new("acme").expect("a name")));
        assert_eq!(who.tenant_uid, "77-1");
        assert_eq!(who.groups, ["dev", "system:authenticated"]);
        let signed = authority.sign(request.as_bytes(), &certificate(None)).expect("signs");
        let who = identity(&signed);
        assert!(who.is_system() && !who.is_component());
        let (_, pem) = x509_parser::pem::parse_x509_pem(signed.as_bytes()).expect("PEM");
        let signed = pem.parse_x509().expect("a certificate");
        assert_eq!(signed.validity().not_after.timestamp(), certificate(None).ends.as_micros() / 1_000_000);
        assert!(!signed.is_ca() && signed.extended_key_usage().expect("reads").expect("is there").value.client_auth);
    }

    #[test]
    fn what_cannot_be_read_is_not_signed_and_all_groups_are() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("made");
        assert!(authority.read(b"nonsense").is_err());
        let good = request(alice("dev"));
        let (_, pem) = x509_parser::pem::parse_x509_pem(good.as_bytes()).expect("PEM");
        let mut changed = pem.contents;
        let at = changed.windows(5).position(|bytes| bytes == b"alice").expect("is there");
        changed[at] = b'b';
        let changed = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, changed)
        );
        assert!(authority.read(changed.as_bytes()).expect_err("is not signed so").contains("its own key"));
        assert!(authority.sign(changed.as_bytes(), &certificate(None)).is_err());
        let two = Certificate { groups: vec!["a".to_owned(), "b".to_owned()], ..certificate(None) };
        let signed = authority.sign(good.as_bytes(), &two).expect("signs");
        assert_eq!(identity(&signed).groups, ["a", "b", "system:authenticated"]);
        let mut named = alice("dev");
        named.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        let named = request(named);
        assert_eq!(authority.read(named.as_bytes()).expect("reads").addresses.len(), 1);
        let served = Certificate { serves: true, ..certificate(None) };
        for (certificate, has) in [(certificate(None), false), (served, true)] {
            let signed = authority.sign(named.as_bytes(), &certificate).expect("signs");
            let (_, pem) = x509_parser::pem::parse_x509_pem(signed.as_bytes()).expect("PEM");
            let signed = pem.parse_x509().expect("a certificate");
            assert_eq!(signed.subject_alternative_name().expect("reads").is_some(), has);
        }
    }
}
