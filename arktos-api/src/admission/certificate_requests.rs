//! Whether what is sent as a request for a certificate is one, in the words of upstream's reader where these are short.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

/// What is said of what is no PEM, or PEM of something else.
const TYPE: &str = "PEM block type must be CERTIFICATE REQUEST";
const END: &[u8] = b"-----END CERTIFICATE REQUEST-----";
const MALFORMED: &str = "x509: malformed certificate request";

/// Keys on elliptic curves, the curves that upstream knows, and the one that signatures are checked of here.
const EC_KEY: &str = "1.2.840.10045.2.1";
const CURVES: [&str; 4] = [P256, "1.3.132.0.33", "1.3.132.0.34", "1.3.132.0.35"];
const P256: &str = "1.2.840.10045.3.1.7";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const MD5_RSA: &str = "1.2.840.113549.1.1.4";

/// Checks a request (PEM, in base64). Signatures are checked of the keys that there is code for here; whoever signs the
/// certificate checks them all.
///
/// # Errors
/// Why it is none.
pub(super) fn check(request: &str) -> Result<(), String> {
    let der = der(request)?;
    header(&der)?;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| MALFORMED)?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".to_owned());
    }
    let info = &request.certification_request_info;
    let curve = curve(&info.subject_pki);
    if curve.as_ref().is_some_and(|curve| !CURVES.contains(&curve.as_str())) {
        return Err("x509: unsupported elliptic curve".to_owned());
    }
    let algorithm = request.signature_algorithm.algorithm.to_id_string();
    if algorithm == MD5_RSA {
        return Err("x509: cannot verify signature: insecure algorithm MD5-RSA".to_owned());
    }
    if curve.as_deref() != Some(P256) || algorithm != ECDSA_SHA256 {
        return Ok(());
    }
    let key = VerifyingKey::from_sec1_bytes(&info.subject_pki.subject_public_key.data);
    let key = key.map_err(|_| "x509: failed to unmarshal elliptic curve point")?;
    let signature = Signature::from_der(&request.signature_value.data);
    let is_signed = signature.is_ok_and(|signature| key.verify(info.raw, &signature).is_ok());
    if is_signed { Ok(()) } else { Err("x509: ECDSA verification failure".to_owned()) }
}

/// The bytes of a request (PEM, in base64).
///
/// # Errors
/// What is said where it is none.
pub(super) fn der(request: &str) -> Result<Vec<u8>, &'static str> {
    let pem = STANDARD.decode(request).map_err(|_| TYPE)?;
    let ends = pem.windows(END.len()).any(|text| text == END);
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).map_err(|_| TYPE)?;
    if ends && pem.label == "CERTIFICATE REQUEST" { Ok(pem.contents) } else { Err(TYPE) }
}

/// Checks that there is one sequence, with something in it.
fn header(der: &[u8]) -> Result<(), String> {
    let truncated = || Err("asn1: syntax error: sequence truncated".to_owned());
    let (Some(tag), Some(size)) = (der.first(), der.get(1)) else { return truncated() };
    let more = if *size < 0x80 { 0 } else { usize::from(*size & 0x7f) };
    let Some(bytes) = der.get(2..2 + more).filter(|_| *size != 0x80 && more <= 4) else {
        return Err(MALFORMED.to_owned());
    };
    let length = match more {
        0 => usize::from(*size),
        _ => bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)),
    };
    let (class, number, compound) = (tag >> 6, tag & 0x1f, tag & 0x20 != 0);
    if *tag != 0x30 && number != 0x1f {
        return Err(format!(
            "asn1: structure error: tags don't match (16 vs {{class:{class} tag:{number} length:{length} \
             isCompound:{compound}}}) {{optional:false explicit:false application:false private:false \
             defaultValue:<nil> tag:<nil> stringType:0 timeType:0 set:false omitEmpty:false}} certificateRequest @{}",
            2 + more
        ));
    }
    if der.len() - 2 - more < length {
        return Err("asn1: syntax error: data truncated".to_owned());
    }
    if length == 0 { truncated() } else { Ok(()) }
}

/// The curve that a key is on, of one on a curve that is named.
fn curve(key: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    let of_curve = key.algorithm.algorithm.to_id_string() == EC_KEY;
    let named = key.algorithm.parameters.as_ref().filter(|_| of_curve)?;
    Some(named.as_oid().ok()?.to_id_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn pem(label: &str, der: &[u8]) -> String {
        STANDARD.encode(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)))
    }

    #[test]
    fn what_is_no_request_is_told_what_it_is() {
        let made = CertificateParams::default().serialize_request(&KeyPair::generate().expect("a key")).expect("made");
        let der = made.der().to_vec();
        let of = |der: &[u8]| check(&pem("CERTIFICATE REQUEST", der));
        assert_eq!(of(&der), Ok(()));
        let good = made.pem().expect("text");
        for fine in [format!("hello\n{good}"), format!("{good}hello"), good.replace('\n', "\r\n")] {
            assert_eq!(check(&STANDARD.encode(&fine)), Ok(()), "{fine}");
        }
        for none in [String::new(), "hello".to_owned(), format!("  {good}"), good[..good.len() - 20].to_owned()] {
            assert_eq!(check(&STANDARD.encode(&none)), Err(TYPE.to_owned()), "{none}");
        }
        assert_eq!(check(&pem("NEW CERTIFICATE REQUEST", &der)), Err(TYPE.to_owned()));
        let told = |der: &[u8]| of(der).expect_err("none");
        let start = "asn1: structure error: tags don't match (16 vs {class:1 tag:7 length:97 isCompound:true}) ";
        let garbage = told(b"garbage");
        assert!(garbage.starts_with(start) && garbage.ends_with("} certificateRequest @2"), "{garbage}");
        assert_eq!(told(&[0x30, 0]), "asn1: syntax error: sequence truncated");
        assert_eq!(told(&der[..der.len() - 5]), "asn1: syntax error: data truncated");
        assert_eq!(told(&[&der[..], &[0]].concat()), "asn1: syntax error: trailing data");
        assert_eq!(told(&[0x30, 3, 2, 1, 0]), MALFORMED);
        for damaged in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x89], &[0x30, 0x80]] {
            assert!(of(damaged).is_err(), "{damaged:?}");
        }
        let mut forged = der;
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(told(&forged), "x509: ECDSA verification failure");
    }
}
