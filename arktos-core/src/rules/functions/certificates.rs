//! Requests for certificates.

use base64::Engine as _;
use serde_json::Value;

use super::super::fault::{Faults, Site};
use super::Run;
use crate::name::label_fault;

pub(super) const CHECKS: &[(&str, Run)] =
    &[("signer", signer), ("signing_request", signing_request), ("certificate_life", certificate_life)];

fn signer(site: &Site<'_>, faults: &mut Faults) {
    let (name, path) = (site.value_text(), site.path());
    if name.is_empty() {
        return; // told elsewhere
    }
    let [domain, rest] = name.split('/').collect::<Vec<_>>()[..] else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return faults.invalid(&path, &Value::from(name), why);
    };
    let labels: Vec<&str> = domain.split('.').collect();
    for label in &labels {
        if let Some(fault) = label_fault(label) {
            faults.invalid(&path, &Value::from(domain), &format!("validating label {label:?}: {fault}"));
        }
    }
    if labels.len() < 2 {
        let why = "should be a domain with at least two segments separated by dots";
        faults.invalid(&path, &Value::from(domain), why);
    }
    for label in rest.split('.') {
        if let Some(fault) = label_fault(label) {
            faults.invalid(&path, &Value::from(rest), &format!("validating label {label:?}: {fault}"));
        }
    }
    if name == "kubernetes.io/legacy-unknown" {
        faults.invalid(&path, &Value::from(name), "the legacy signerName is not allowed via this API version");
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
