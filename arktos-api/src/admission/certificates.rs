//! Who may approve and who may sign requests for certificates: by the signer that they are for; and what nobody may ask
//! for. (CertificateApproval, CertificateSigning, CertificateSubjectRestriction)

use arktos_core::{Object, Status};
use serde_json::{Map, Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::{Review, certificate_requests};
use crate::call::Call;
use crate::identity::{COMPONENTS, MASTERS};
use crate::query::cause;
use crate::request::ResourceInfo;
use crate::verbs::modify::Part;

/// The resource of requests for certificates.
pub(super) const RESOURCE: &str = "certificatesigningrequests.certificates.k8s.io";
const GROUP: &str = "certificates.k8s.io";
/// The signer of clients of the API.
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// Says of conditions that do not when they were written, and since when they are so: as long as they were before.
pub(super) fn condition_times(call: &Call<'_>, old: &Object, new: &mut Object) {
    let now = json!(call.state.config.clock.now().to_string());
    let Some(Value::Array(mut conditions)) = new.at(&["status", "conditions"]).cloned() else { return };
    for condition in &mut conditions {
        let Value::Object(condition) = condition else { continue };
        let unset = |condition: &Map<String, Value>, field: &str| condition.get(field).is_none_or(Value::is_null);
        if unset(condition, "lastUpdateTime") {
            condition.insert("lastUpdateTime".to_owned(), now.clone());
        }
        if unset(condition, "lastTransitionTime") {
            let same =
                |other: &&Value| ["type", "status"].iter().all(|field| other.get(field) == condition.get(*field));
            let mut known = old.at(&["status", "conditions"]).and_then(Value::as_array).into_iter().flatten();
            let before = known.find(same);
            let since = before.and_then(|before| before.get("lastTransitionTime")).filter(|since| !since.is_null());
            condition.insert("lastTransitionTime".to_owned(), since.cloned().unwrap_or_else(|| now.clone()));
        }
    }
    new.set(&["status", "conditions"], conditions);
}

/// Judges a write to a request for a certificate.
///
/// # Errors
/// 403, and 422 for what is no request.
pub(super) fn validate(call: &Call<'_>, review: &Review<'_>) -> Result<(), Status> {
    let plugins = &call.state.config.admission;
    let (Some(old), Some(new)) = (review.old, review.new) else {
        let Some(created) = review.new else { return Ok(()) };
        is_one(created)?;
        return if plugins.runs("CertificateSubjectRestriction") { subject(call, created) } else { Ok(()) };
    };
    match review.part {
        Part::Other("approval") if plugins.runs("CertificateApproval") => signer(call, new, "approve"),
        Part::Status if plugins.runs("CertificateSigning") => {
            let same = |field: &str| old.at(&["status", field]) == new.at(&["status", field]);
            if same("certificate") && same("conditions") { Ok(()) } else { signer(call, new, "sign") }
        }
        _ => Ok(()),
    }
}

/// What is asked with is a request for a certificate.
fn is_one(created: &Object) -> Result<(), Status> {
    let sent = created.str_at(&["spec", "request"]);
    certificate_requests::check(sent).map_err(|why| {
        let cause = cause("FieldValueInvalid", "spec.request", &format!("Invalid value: {sent:?}: {why}"));
        Status::invalid(GROUP, "CertificateSigningRequest", created.name(), vec![cause])
    })
}

/// A client's certificate may be asked for, but for no group that may do everything.
fn subject(call: &Call<'_>, request: &Object) -> Result<(), Status> {
    let signer = request.str_at(&["spec", "signerName"]);
    if signer != CLIENT_SIGNER {
        return Ok(());
    }
    let groups = organizations(request.str_at(&["spec", "request"])).unwrap_or_default(); // who signs reads it again
    let Some(group) = groups.into_iter().find(|group| [MASTERS, COMPONENTS].contains(&group.as_str())) else {
        return Ok(());
    };
    let why = format!("use of {signer} signer with {group} group is not allowed");
    Err(Status::forbidden(&call.kind.group_resource, request.name(), why))
}

/// The organizations that a request (PEM, in base64) is for; none where it cannot be read.
fn organizations(request: &str) -> Option<Vec<String>> {
    let all = |subject: &X509Name<'_>| {
        subject.iter_organization().filter_map(|value| value.as_str().ok().map(str::to_owned)).collect()
    };
    of_subject(request, all).ok()
}

/// The common name that a request (PEM, in base64) is for.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn common_name(request: &str) -> Result<String, &'static str> {
    // Of several some take the first one and others the last: they have to be the same.
    of_subject(request, |subject| {
        let mut names = subject.iter_common_name().map(|name| name.as_str().ok());
        let first = names.next().flatten().unwrap_or_default();
        if names.all(|name| name == Some(first)) {
            Ok(first.to_owned())
        } else {
            Err("x509: more than one common name")
        }
    })?
}

/// What the subject of a request (PEM, in base64) says.
fn of_subject<T>(request: &str, read: impl FnOnce(&X509Name<'_>) -> T) -> Result<T, &'static str> {
    let der = certificate_requests::der(request)?;
    let (_, request) = X509CertificationRequest::from_der(&der).map_err(|_| "x509: malformed certificate request")?;
    Ok(read(&request.certification_request_info.subject))
}

/// Whether who makes a call may do this for the signer of a request, by its name or all of its domain.
fn signer(call: &Call<'_>, request: &Object, verb: &str) -> Result<(), Status> {
    let signer = request.str_at(&["spec", "signerName"]);
    let domain = signer.split('/').next().unwrap_or_default();
    let may = |name: String| {
        let info = ResourceInfo {
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: "signers".to_owned(),
            name,
            ..ResourceInfo::default()
        };
        call.state.authorize(call.identity, call.tenant.as_ref(), verb, &info).is_ok()
    };
    if may(signer.to_owned()) || may(format!("{domain}/*")) {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(Status::forbidden(&call.kind.group_resource, request.name(), why))
}
