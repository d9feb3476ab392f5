//! Access to devices as an administrator's: only in namespaces that a label opens to it.

use arktos_core::{Object, Status};
use serde_json::Value;

use super::{Part, Review};
use crate::call::Call;
use crate::query::cause;
use crate::verbs::create::namespace_key;

const LABEL: &str = "resource.kubernetes.io/admin-access";

/// Whether an admission concerns claims or their templates.
pub(super) fn concerns(call: &Call<'_>) -> bool {
    matches!(
        call.kind.storage_resource.as_str(),
        "resourceclaims.resource.k8s.io" | "resourceclaimtemplates.resource.k8s.io"
    )
}

/// What is asked for in a new claim or template, or given in a claim's status, needs the label of the namespace.
///
/// # Errors
/// 422.
pub(super) fn validate(call: &Call<'_>, review: &Review<'_>) -> Result<(), Status> {
    let Some(new) = review.new else { return Ok(()) };
    let path = match (review.old, review.part) {
        (None, _) => requested(new),
        (Some(old), Part::Status) if granted(old).is_none() => granted(new),
        _ => None,
    };
    let Some(path) = path else { return Ok(()) };
    let namespace = call.state.config.engine.snapshot().get(&namespace_key(call.one_tenant()?, &call.namespace));
    if namespace.is_some_and(|found| found.object.header().label(LABEL) == Some("true")) {
        return Ok(());
    }
    let why =
        format!("Forbidden: admin access to devices requires the `{LABEL}: true` label on the containing namespace");
    let causes = vec![cause("FieldValueForbidden", &path, &why)];
    Err(Status::invalid(&call.kind.group, &call.kind.kind, new.name(), causes))
}

/// Where a claim, or the claim in a template, asks for such access.
fn requested(object: &Object) -> Option<String> {
    let of = |path: &[&str]| object.at(path).and_then(Value::as_array);
    let requests = of(&["spec", "devices", "requests"]).or_else(|| of(&["spec", "spec", "devices", "requests"]))?;
    let at = requests.iter().position(|request| request["exactly"]["adminAccess"] == true)?;
    Some(format!("spec.devices.requests[{at}].adminAccess"))
}

/// Where a claim's status gives it.
fn granted(claim: &Object) -> Option<String> {
    let results = claim.at(&["status", "allocation", "devices", "results"])?.as_array()?;
    let at = results.iter().position(|result| result["adminAccess"] == true)?;
    Some(format!("status.allocation.devices.results[{at}].adminAccess"))
}
