//! Who may approve and who may sign requests for certificates: by the signer that they are for. (CertificateApproval,
//! CertificateSigning)

use arktos_core::{Object, Status};
use serde_json::{Map, Value, json};

use super::Review;
use crate::call::Call;
use crate::request::ResourceInfo;
use crate::verbs::modify::Part;

/// The resource of requests for certificates.
pub(super) const RESOURCE: &str = "certificatesigningrequests.certificates.k8s.io";
const GROUP: &str = "certificates.k8s.io";

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
/// 403.
pub(super) fn validate(call: &Call<'_>, review: &Review<'_>) -> Result<(), Status> {
    let (Some(old), Some(new)) = (review.old, review.new) else { return Ok(()) };
    let plugins = &call.state.config.admission;
    match review.part {
        Part::Other("approval") if plugins.runs("CertificateApproval") => signer(call, new, "approve"),
        Part::Status if plugins.runs("CertificateSigning") => {
            let same = |field: &str| old.at(&["status", field]) == new.at(&["status", field]);
            if same("certificate") && same("conditions") { Ok(()) } else { signer(call, new, "sign") }
        }
        _ => Ok(()),
    }
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
