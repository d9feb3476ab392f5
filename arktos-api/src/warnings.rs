//! What a client is warned of though its object is taken: fields that are on their way out, or do not do what they say.

use arktos_core::Object;
use serde_json::Value;

use crate::call::Call;

/// Warns of what a new or changed object says.
pub(crate) fn of_object(call: &Call<'_>, object: &Object) {
    match call.kind.storage_resource.as_str() {
        "services" => service(call, object),
        "csidrivers.storage.k8s.io" => csi_driver(call, object),
        "endpointslices.discovery.k8s.io" if object.str_at(&["addressType"]) == "FQDN" => {
            call.warn("spec.addressType: FQDN endpoints are deprecated");
        }
        "pods" => pull_secrets(call, object, &["spec", "imagePullSecrets"]),
        "deployments.apps" | "replicasets.apps" | "statefulsets.apps" | "daemonsets.apps" | "jobs.batch" => {
            pull_secrets(call, object, &["spec", "template", "spec", "imagePullSecrets"]);
        }
        _ => {}
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    value.and_then(Value::as_array).is_none_or(Vec::is_empty)
}

fn service(call: &Call<'_>, service: &Object) {
    if !is_empty(service.at(&["spec", "externalIPs"])) {
        call.warn("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
    if service.str_at(&["spec", "trafficDistribution"]) == "PreferClose" {
        call.warn("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
    }
}

fn csi_driver(call: &Call<'_>, driver: &Object) {
    let unset = driver.at(&["spec", "serviceAccountTokenInSecrets"]).is_none();
    if unset && !is_empty(driver.at(&["spec", "tokenRequests"])) {
        call.warn(
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent \
             possible logging of tokens in volume attributes",
        );
    }
}

fn pull_secrets(call: &Call<'_>, object: &Object, path: &[&str]) {
    let secrets = object.at(path).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (index, secret) in secrets.iter().enumerate() {
        if secret.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            call.warn(format!("{}[{index}].name: invalid empty name \"\"", path.join(".")));
        }
    }
}
