//! Types that every group version has under its own name: what a deletion is asked for with, and events of watches.

use serde_json::{Map, Value, json};

use super::schemas::KINDS;

/// The types.
const TYPES: [&str; 2] = ["DeleteOptions", "WatchEvent"];

/// The group versions in which upstream knows them, served or not. The last four are none of its client library's.
const KNOWN: [(&str, &[&str]); 26] = [
    ("", &["v1"]),
    ("admissionregistration.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("apps", &["v1", "v1beta1", "v1beta2"]),
    ("authentication.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("authorization.k8s.io", &["v1", "v1beta1"]),
    ("autoscaling", &["v1", "v2"]),
    ("batch", &["v1", "v1beta1"]),
    ("certificates.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("coordination.k8s.io", &["v1", "v1alpha2", "v1beta1"]),
    ("discovery.k8s.io", &["v1", "v1beta1"]),
    ("events.k8s.io", &["v1", "v1beta1"]),
    ("extensions", &["v1beta1"]),
    ("flowcontrol.apiserver.k8s.io", &["v1", "v1beta1", "v1beta2", "v1beta3"]),
    ("internal.apiserver.k8s.io", &["v1alpha1"]),
    ("networking.k8s.io", &["v1", "v1beta1"]),
    ("node.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("policy", &["v1", "v1beta1"]),
    ("rbac.authorization.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("resource.k8s.io", &["v1", "v1alpha3", "v1beta1", "v1beta2"]),
    ("scheduling.k8s.io", &["v1", "v1alpha2", "v1beta1"]),
    ("storage.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("storagemigration.k8s.io", &["v1beta1"]),
    ("admission.k8s.io", &["v1", "v1beta1"]),
    ("apiextensions.k8s.io", &["v1", "v1beta1"]),
    ("apiregistration.k8s.io", &["v1", "v1beta1"]),
    ("imagepolicy.k8s.io", &["v1alpha1"]),
];

/// The group versions of which documents say that they are known.
pub(super) fn known(to_clients: bool) -> Vec<(&'static str, &'static str)> {
    let count = if to_clients { KNOWN.len() - 4 } else { KNOWN.len() };
    let all = KNOWN.iter().take(count);
    all.flat_map(|(group, versions)| versions.iter().map(move |version| (*group, *version))).collect()
}

/// Says of the types that they are of these group versions.
pub(super) fn say(schemas: &mut Map<String, Value>, versions: &[(&str, &str)]) {
    for name in TYPES {
        if let Some(schema) = schemas.get_mut(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}")) {
            let one = |(group, version): &(&str, &str)| json!({"group": group, "version": version, "kind": name});
            let mut all: Vec<Value> = versions.iter().map(one).collect();
            all.sort_by_cached_key(|one| (one["group"].to_string(), one["version"].to_string()));
            schema[KINDS] = Value::from(all);
        }
    }
}
