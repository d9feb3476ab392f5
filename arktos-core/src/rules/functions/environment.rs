//! The environment of containers: where variables come from, and which fields and resources may be named.

use serde_json::{Value, json};

use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site};
use super::Run;
use super::containers::set_fields;
use crate::name::{subdomain_fault, subdomain_faults};

pub(super) const CHECKS: &[(&str, Run)] =
    &[("env_source", env_source), ("env_from", env_from), ("field_sources", field_sources)];

fn env_source(site: &Site<'_>, faults: &mut Faults) {
    const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    let Some(source) = site.map.get("valueFrom").and_then(Value::as_object) else { return };
    let path = site.sub("valueFrom");
    let why = match set_fields(source, &SOURCES).len() {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if site.has("value") => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    faults.invalid(&path, &json!(""), why);
}

fn env_from(site: &Site<'_>, faults: &mut Faults) {
    for (index, source) in site.items().iter().enumerate() {
        let Some(source) = source.as_object() else { continue };
        for field in ["configMapRef", "secretRef"] {
            let Some(name) = source.get(field).map(|source| source["name"].as_str().unwrap_or_default()) else {
                continue;
            };
            let path = format!("{}[{index}].{field}.name", site.path());
            match subdomain_fault(name) {
                _ if name.is_empty() => faults.required(&path, ""),
                Some(_) => {
                    for fault in subdomain_faults(name) {
                        faults.invalid(&path, &Value::from(name), &fault);
                    }
                }
                None => {}
            }
        }
        let why = match set_fields(source, &["configMapRef", "secretRef"]).len() {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        faults.invalid(&site.path(), &json!(""), why);
    }
}

/// The fields of a pod that the environment of its containers may have.
const ENVIRONMENT_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// The fields that can be named at all.
const POD_FIELDS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];

/// Where a variable's value comes from. Stands at the source.
fn field_sources(site: &Site<'_>, faults: &mut Faults) {
    if let Some(field) = site.map.get("fieldRef") {
        pod_field(&site.sub("fieldRef"), field, &ENVIRONMENT_FIELDS, faults);
    }
    if let Some(resource) = site.map.get("resourceFieldRef") {
        resource_field(&site.sub("resourceFieldRef"), resource, false, faults);
    }
}

/// The faults of a reference to a field of the pod, of those that may be named there.
pub(super) fn pod_field(at: &str, reference: &Value, allowed: &[&str], faults: &mut Faults) {
    let named = reference["fieldPath"].as_str().unwrap_or_default();
    let path = format!("{at}.fieldPath");
    let version = reference["apiVersion"].as_str().unwrap_or("v1");
    if version.is_empty() {
        return faults.required(&format!("{at}.apiVersion"), "");
    }
    if named.is_empty() {
        return faults.required(&path, "");
    }
    let sent = Value::from(named);
    if version != "v1" {
        let why = format!("error converting fieldPath: unsupported pod version: {version}");
        return faults.invalid(&path, &sent, &why);
    }
    let keyed = named.strip_suffix("']").and_then(|named| named.split_once("['"));
    if !POD_FIELDS.contains(&keyed.map_or(named, |(field, _)| field)) {
        let why = format!("error converting fieldPath: field label not supported: {named}");
        return faults.invalid(&path, &sent, &why);
    }
    match keyed {
        Some(("metadata.annotations", key)) => key_faults(at, &key.to_lowercase(), faults),
        Some(("metadata.labels", key)) => key_faults(at, key, faults),
        Some((field, _)) => {
            let why = format!("error converting fieldPath: field label does not support subscript: {field}");
            faults.invalid(&path, &sent, &why);
        }
        None if !allowed.contains(&named) => faults.not_supported(&path, &sent, allowed),
        None => {}
    }
}

fn key_faults(at: &str, key: &str, faults: &mut Faults) {
    for fault in qualified_name_faults(key) {
        faults.invalid(at, &Value::from(key), &fault);
    }
}

/// The faults of a reference to what a container requests, or is limited to. A file says of which container.
pub(super) fn resource_field(at: &str, reference: &Value, of_file: bool, faults: &mut Faults) {
    const PLAIN: [&str; 6] = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let resource = reference["resource"].as_str().unwrap_or_default();
    let path = format!("{at}.resource");
    let unnamed = of_file && reference["containerName"].as_str().is_none_or(str::is_empty);
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|prefix| resource.starts_with(prefix));
    if unnamed {
        faults.required(&format!("{at}.containerName"), "");
    } else if resource.is_empty() {
        faults.required(&path, "");
    } else if !PLAIN.contains(&resource) && !huge {
        faults.not_supported(&path, &reference["resource"], &PLAIN);
    }
    if !PLAIN.contains(&resource) && !huge {
        return;
    }
    let units: &[&str] = match resource.split_once('.').map(|(_, resource)| resource) {
        Some("cpu") => &["1m", "1"],
        _ => &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"],
    };
    let divisor = reference["divisor"].as_str().unwrap_or("0");
    if divisor != "0" && !units.contains(&divisor) {
        let what = match units.len() {
            2 => "only divisor's values 1m and 1 are supported with the cpu resource",
            _ if resource.ends_with("memory") => {
                "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the \
                 memory resource"
            }
            _ if huge => {
                "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the \
                 hugepages resource"
            }
            _ => {
                "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the \
                 local ephemeral storage resource"
            }
        };
        faults.invalid(&format!("{at}.divisor"), &reference["resource"], what);
    }
}
