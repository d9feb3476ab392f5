//! Requests for certificates.

use base64::Engine as _;
use serde_json::Value;

use super::super::fault::{Faults, Site};
use super::Run;
use crate::name::{LABEL_LENGTH_MAX, SUBDOMAIN_LENGTH_MAX, label_faults, subdomain_faults};
use crate::object::Object;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("signer", signer),
    ("signing_request", signing_request),
    ("certificate_life", certificate_life),
    ("request_conditions", request_conditions),
    ("certificate", certificate),
];

/// What has become of a request. Stands at the conditions: those that decide it stay.
fn request_conditions(site: &Site<'_>, faults: &mut Faults) {
    const DECIDE: [&str; 3] = ["Approved", "Denied", "Failed"];
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let mut seen: Vec<String> = Vec::new();
    for (index, condition) in site.items().iter().enumerate() {
        let at = |field: &str| format!("{}[{index}].{field}", site.path());
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        if kind.is_empty() {
            faults.required(&at("type"), "");
        }
        let known: &[&str] = if DECIDE.contains(&&*kind) { &["True"] } else { &["False", "True", "Unknown"] };
        if status.is_empty() {
            faults.required(&at("status"), "");
        } else if !known.contains(&&*status) {
            faults.not_supported(&at("status"), &condition["status"], known);
        }
        let other = if kind == "Approved" { "Denied" } else { "Approved" };
        if matches!(&*kind, "Approved" | "Denied") && seen.iter().any(|known| known == other) {
            let why = "Approved and Denied conditions are mutually exclusive";
            faults.invalid(&site.path(), &condition["type"], why);
        }
        if seen.contains(&kind) {
            faults.duplicate(&at("type"), &condition["type"]);
        }
        seen.push(kind);
    }
    let before = site.old.and_then(Value::as_array).filter(|_| site.updates).map_or(&[][..], Vec::as_slice);
    for kind in DECIDE {
        let had = before.iter().filter(|condition| condition["type"] == kind).count();
        if had > seen.iter().filter(|seen| **seen == kind).count() {
            faults.forbidden(&site.path(), &format!("updates may not remove a condition of type {kind:?}"));
        }
    }
}

/// Refuses decisions on a request from who only reports on it.
pub(in super::super) fn decision_faults(old: &Object, new: &Object, faults: &mut Faults) {
    let of = |object: &Object, kind: &str| {
        let conditions = object.at(&["status", "conditions"]).and_then(Value::as_array);
        conditions.into_iter().flatten().filter(|condition| condition["type"] == kind).count()
    };
    for kind in ["Approved", "Denied"] {
        if of(new, kind) > of(old, kind) {
            faults.forbidden("status.conditions", &format!("updates may not add a condition of type {kind:?}"));
        }
    }
}

fn certificate(site: &Site<'_>, faults: &mut Faults) {
    let bytes = base64::engine::general_purpose::STANDARD.decode(site.value_text()).unwrap_or_default();
    // What was stored so may stay, and be changed.
    let before = site.old.and_then(Value::as_str).filter(|_| site.updates).unwrap_or_default();
    let before = base64::engine::general_purpose::STANDARD.decode(before).unwrap_or_default();
    if certificate_fault(&before).is_none()
        && let Some(why) = certificate_fault(&bytes)
    {
        faults.invalid(&site.path(), &Value::from("<certificate data>"), &why);
    }
    if !before.is_empty() && before != bytes {
        faults.forbidden(&site.path(), "updates may not modify existing certificate content");
    }
}

/// Whether there is a certificate among what stands in a text in base64.
pub(crate) fn has_certificate(encoded: &str) -> bool {
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut rest = &*text;
    std::iter::from_fn(|| next_block(&mut rest))
        .any(|block| block.kind == "CERTIFICATE" && !block.has_headers && sequence(&block.content).is_some())
}

/// Why bytes are not certificates, one below the other; absent where there are none at all.
fn certificate_fault(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = &*text;
    let mut found = false;
    while let Some(block) = next_block(&mut rest) {
        if block.kind != "CERTIFICATE" {
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.kind));
        }
        if block.has_headers {
            return Some("no PEM block headers are permitted".to_owned());
        }
        let Some(whole) = sequence(&block.content) else { return Some("x509: malformed certificate".to_owned()) };
        if sequence(whole).is_none() {
            return Some("x509: malformed tbs certificate".to_owned());
        }
        found = true;
    }
    (!found && !bytes.is_empty()).then(|| "must contain at least one CERTIFICATE PEM block".to_owned())
}

/// A piece of a text between two lines that say what it is.
struct Block<'a> {
    kind: &'a str,
    has_headers: bool,
    content: Vec<u8>,
}

/// The next piece; those that cannot be read are passed over.
fn next_block<'a>(rest: &mut &'a str) -> Option<Block<'a>> {
    loop {
        let (_, after) = rest.split_once("-----BEGIN ")?;
        let (kind, body) = after.split_once("-----")?;
        *rest = body;
        let Some((body, after)) = body.split_once(&format!("-----END {kind}-----")) else { continue };
        let has_headers = body.contains(": ");
        let lines = body.lines().filter(|line| !line.contains(": "));
        let letters: String = lines.flat_map(|line| line.chars().filter(|letter| !letter.is_whitespace())).collect();
        if let Ok(content) = base64::engine::general_purpose::STANDARD.decode(letters) {
            *rest = after;
            return Some(Block { kind, has_headers, content });
        }
    }
}

/// What a sequence in DER holds, which the bytes begin with.
fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    let [0x30, length, rest @ ..] = bytes else { return None };
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.get(..length)
}

/// How long a signer's name may be: a domain, and a path that may be as long as a label and a domain.
const SIGNER_LENGTH_MAX: usize = SUBDOMAIN_LENGTH_MAX + 1 + SUBDOMAIN_LENGTH_MAX + LABEL_LENGTH_MAX + 1;

fn signer(site: &Site<'_>, faults: &mut Faults) {
    let (name, path) = (site.value_text(), site.path());
    if name.is_empty() {
        return; // told elsewhere
    }
    if name == "kubernetes.io/legacy-unknown" {
        return faults.invalid(&path, &Value::from(name), "the legacy signerName is not allowed via this API version");
    }
    let [domain, rest] = name.split('/').collect::<Vec<_>>()[..] else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return faults.invalid(&path, &Value::from(name), why);
    };
    if domain.len() > SUBDOMAIN_LENGTH_MAX {
        faults.too_long(&path, SUBDOMAIN_LENGTH_MAX);
    }
    first_label_faults(&path, domain, label_faults, faults);
    if !domain.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        faults.invalid(&path, &Value::from(domain), why);
    }
    first_label_faults(&path, rest, subdomain_faults, faults);
    if name.len() > SIGNER_LENGTH_MAX {
        faults.too_long(&path, SIGNER_LENGTH_MAX);
    }
}

/// What is wrong with the first label of a part that has faults: those of others are not told.
fn first_label_faults(path: &str, part: &str, label_faults: fn(&str) -> Vec<String>, faults: &mut Faults) {
    let found = part.split('.').map(|label| (label, label_faults(label))).find(|(_, found)| !found.is_empty());
    let Some((label, found)) = found else { return };
    for fault in found {
        faults.invalid(path, &Value::from(part), &format!("validating label {label:?}: {fault}"));
    }
}

fn signing_request(site: &Site<'_>, faults: &mut Faults) {
    let Some(sent) = site.value.filter(|_| !site.updates) else { return };
    let bytes = base64::engine::general_purpose::STANDARD.decode(site.value_text()).unwrap_or_default();
    if !String::from_utf8_lossy(&bytes).contains("-----BEGIN CERTIFICATE REQUEST-----") {
        faults.invalid(&site.path(), sent, "PEM block type must be CERTIFICATE REQUEST");
    }
}

fn certificate_life(site: &Site<'_>, faults: &mut Faults) {
    if let Some(seconds) = site.value.filter(|seconds| seconds.as_i64().is_some_and(|seconds| seconds < 600)) {
        faults.invalid(&site.path(), seconds, "may not specify a duration less than 600 seconds (10 minutes)");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_reports_decides_nothing() {
        let with = |kinds: &[&str]| {
            let conditions: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
            Object::from_value(json!({"status": {"conditions": conditions}})).expect("an object")
        };
        for (before, after, faults) in
            [(&[][..], &["Denied"][..], 1), (&["Denied"], &["Denied", "Failed"], 0), (&[], &["Failed"], 0)]
        {
            let mut found = Faults::default();
            decision_faults(&with(before), &with(after), &mut found);
            assert_eq!(found.0.len(), faults, "{after:?}");
        }
    }

    #[test]
    fn a_certificate_is_one_and_stays() {
        let pem = |kind: &str, bytes: &[u8]| {
            let letters = base64::engine::general_purpose::STANDARD.encode(bytes);
            format!("-----BEGIN {kind}-----\n{letters}\n-----END {kind}-----\n")
        };
        let good = pem("CERTIFICATE", &[0x30, 2, 0x30, 0]);
        for (text, why) in [
            (String::new(), None),
            (good.clone(), None),
            (format!("{good}{good}"), None),
            ("x".to_owned(), Some("must contain at least one CERTIFICATE PEM block")),
            (pem("PUBLIC KEY", &[0x30, 0]), Some("only CERTIFICATE PEM blocks are allowed, found \"PUBLIC KEY\"")),
            (pem("CERTIFICATE", b"x"), Some("x509: malformed certificate")),
            (pem("CERTIFICATE", &[0x30, 1, 0]), Some("x509: malformed tbs certificate")),
            (good.replace("E-----\nM", "E-----\na: b\n\nM"), Some("no PEM block headers are permitted")),
        ] {
            assert_eq!(certificate_fault(text.as_bytes()).as_deref(), why, "{text}");
        }
    }

    #[test]
    fn a_signer_is_a_path_of_a_domain_and_has_an_end() {
        let told = |name: &str| {
            let request = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
                "spec": {"request": "", "signerName": name, "usages": ["client auth"]}});
            let told = super::super::super::tests::told(super::super::super::tests::created(&request));
            told.into_iter()
                .filter_map(|told| told.strip_prefix("spec.signerName: ").map(str::to_owned))
                .collect::<Vec<_>>()
        };
        let long = |label: usize, count: usize| vec!["a".repeat(label); count].join(".");
        let none: [&str; 0] = [];
        assert_eq!(told(&format!("{}/{}", long(62, 4), long(62, 5))), none);
        assert_eq!(told(&format!("a.b/{}.c", "c".repeat(253))), none, "a label of a path may be as long as a domain");
        let domain = format!("{}.b/c", long(62, 4));
        assert_eq!(told(&domain), none, "253 letters");
        assert_eq!(told(&format!("a{domain}"))[0], "Too long: may not be more than 253 bytes");
        let path = |length: usize| format!("{}.b/{}.{}", long(62, 4), "c".repeat(length), "d".repeat(160));
        assert_eq!(told(&path(156)), none, "571 letters");
        assert_eq!(told(&path(157)), ["Too long: may not be more than 571 bytes"]);
        let label = "must start and end with an alphanumeric character";
        for (name, faults, why) in [
            ("a.b", 1, "must be a fully qualified domain and path of the form 'example.com/signer-name'"),
            ("a.b/c/d", 1, "must be a fully qualified domain and path of the form 'example.com/signer-name'"),
            ("a/b", 1, "should be a domain with at least two segments separated by dots"),
            ("A.B/c", 1, label),
            ("a.b/C.D", 1, "a lowercase RFC 1123 subdomain must consist of"),
            ("A/C", 3, label),
            ("kubernetes.io/legacy-unknown", 1, "the legacy signerName is not allowed via this API version"),
        ] {
            let told = told(name);
            assert!(told.len() == faults && told[0].contains(why), "{name}: {told:?}");
        }
    }
}
