//! Access control: roles, bindings, priorities and the rules of flow control.

use serde_json::Value;

use super::super::check::{label_1035_fault, port_faults};
use super::super::fault::{Faults, Site};
use super::Run;
use super::workloads::is_evaluable;
use crate::name::path_segment_faults;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("resource_rule", resource_rule),
    ("role_kind", role_kind),
    ("role_kept", role_kept),
    ("subject", subject),
    ("role_selector", role_selector),
    ("priority", priority),
    ("precedence", precedence),
    ("distinguisher", distinguisher),
    ("some_rules", some_rules),
    ("api_service", api_service),
];

fn namespaced(site: &Site<'_>) -> bool {
    site.root_kind == "Role" || site.root_kind == "RoleBinding"
}

fn resource_rule(site: &Site<'_>, faults: &mut Faults) {
    let urls = site.map.get("nonResourceURLs").filter(|_| site.has("nonResourceURLs"));
    if let Some(urls) = urls {
        if namespaced(site) {
            faults.invalid(&site.sub("nonResourceURLs"), urls, "namespaced rules cannot apply to non-resource URLs");
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|field| site.has(field)) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            faults.invalid(&site.sub("nonResourceURLs"), urls, why);
        }
        return;
    }
    if !site.has("apiGroups") {
        faults.required(&site.sub("apiGroups"), "resource rules must supply at least one api group");
    }
    if !site.has("resources") {
        faults.required(&site.sub("resources"), "resource rules must supply at least one resource");
    }
}

fn role_kind(site: &Site<'_>, faults: &mut Faults) {
    let kinds: &[&str] = if namespaced(site) { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&site.value_text()) {
        faults.not_supported(&site.path(), &Value::from(site.value_text()), kinds);
    }
}

/// What cannot be selected by is told as a whole, too.
fn role_selector(site: &Site<'_>, faults: &mut Faults) {
    if !is_evaluable(site.value) {
        faults.invalid(&site.path(), &Value::Null, "invalid label selector.");
    }
}

fn role_kept(site: &Site<'_>, faults: &mut Faults) {
    if site.updates && site.old != site.value {
        faults.invalid(&site.path(), site.value.unwrap_or(&Value::Null), "cannot change roleRef");
    }
}

fn subject(site: &Site<'_>, faults: &mut Faults) {
    let kind = site.text("kind");
    let group = match kind {
        "ServiceAccount" => "",
        "User" | "Group" => "rbac.authorization.k8s.io",
        _ => {
            let kind = Value::from(kind);
            return faults.not_supported(&site.sub("kind"), &kind, &["ServiceAccount", "User", "Group"]);
        }
    };
    if site.text("apiGroup") != group {
        faults.not_supported(&site.sub("apiGroup"), &Value::from(site.text("apiGroup")), &[group]);
    }
    if kind == "ServiceAccount" {
        if let Some(fault) = crate::name::subdomain_fault(site.text("name")).filter(|_| site.has("name")) {
            faults.invalid(&site.sub("name"), &Value::from(site.text("name")), &fault);
        }
        if !site.has("namespace") && !namespaced(site) {
            faults.required(&site.sub("namespace"), "");
        }
    }
}

/// The highest priority that users may define.
const PRIORITY_MAX: i64 = 1_000_000_000;

fn priority(site: &Site<'_>, faults: &mut Faults) {
    const SYSTEM: [(&str, i64); 2] =
        [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
    let name = site.map.get("metadata").and_then(|metadata| metadata["name"].as_str()).unwrap_or_default();
    let value = site.map.get("value").and_then(Value::as_i64).unwrap_or_default();
    if site.updates {
        // What a class was made with is told of no more.
    } else if name.starts_with("system-") {
        if !SYSTEM.contains(&(name, value)) {
            let why = match SYSTEM.iter().find(|(known, _)| *known == name) {
                Some((_, right)) => format!("value of {name} PriorityClass must be {right}"),
                None => format!("{name} is not a known system priority class"),
            };
            let why =
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}");
            faults.forbidden("metadata.name", &why);
        }
    } else if value > PRIORITY_MAX {
        faults.forbidden("value", &format!("maximum allowed value of a user defined priority is {PRIORITY_MAX}"));
    }
    let before = site.old_map.and_then(|old| old.get("value")).and_then(Value::as_i64);
    if site.updates && before.unwrap_or_default() != value {
        faults.forbidden("value", "may not be changed in an update.");
    }
}

fn precedence(site: &Site<'_>, faults: &mut Faults) {
    let Some(value) = site.value.and_then(Value::as_i64) else { return };
    let sent = Value::from(value);
    if value > 10_000 {
        faults.invalid(&site.path(), &sent, "must not be greater than 10000");
    }
    if value == 1 && site.root_name != "exempt" {
        faults.invalid(&site.path(), &sent, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
}

fn distinguisher(site: &Site<'_>, faults: &mut Faults) {
    let Some(method) = site.value.and_then(|value| value.get("type")).and_then(Value::as_str) else { return };
    if !matches!(method, "ByNamespace" | "ByUser") {
        let shown = serde_json::json!({ "Type": method });
        faults.not_supported(&site.sub("type"), &shown, &["ByNamespace", "ByUser"]);
    }
}

fn some_rules(site: &Site<'_>, faults: &mut Faults) {
    if !site.has("resourceRules") && !site.has("nonResourceRules") {
        faults.required(&site.path(), "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
}

/// Who serves a group and version, and before whom it is asked.
fn api_service(site: &Site<'_>, faults: &mut Faults) {
    let empty = Value::Null;
    let spec = site.map.get("spec").unwrap_or(&empty);
    let text = |field: &str| spec[field].as_str().unwrap_or_default();
    let (group, version) = (text("group"), text("version"));
    let name = format!("{version}.{group}");
    let prefix = site.map.get("metadata").and_then(|metadata| metadata["generateName"].as_str()).unwrap_or_default();
    for (field, said) in [("metadata.generateName", prefix), ("metadata.name", site.root_name)] {
        // What is no part of a path is refused as that.
        if !said.is_empty() && said != name && path_segment_faults(said).is_empty() {
            let why = format!("must be `spec.version+\".\"+spec.group`: \"{name}\"");
            faults.invalid(field, &Value::from(said), &why);
        }
    }
    if group.is_empty() && version != "v1" {
        faults.required("spec.group", "only v1 may have an empty group and it better be legacy kube");
    }
    if let Some(fault) = crate::name::subdomain_fault(group).filter(|_| !group.is_empty()) {
        faults.invalid("spec.group", &Value::from(group), &fault);
    }
    if let Some(fault) = label_1035_fault(version) {
        faults.invalid("spec.version", &Value::from(version), &fault);
    }
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let number = spec[field].as_i64().unwrap_or_default();
        if !(1..=most).contains(&number) {
            let why = format!("must be positive and less than {most}");
            faults.invalid(&format!("spec.{field}"), &Value::from(number), &why);
        }
    }
    served_by(spec, faults);
}

fn served_by(spec: &Value, faults: &mut Faults) {
    let bundle = spec["caBundle"].as_str().unwrap_or_default();
    let bundle = bundle.len() / 4 * 3 - bundle.bytes().rev().take_while(|byte| *byte == b'=').count().min(2);
    let unverified = spec["insecureSkipTLSVerify"] == true;
    let service = &spec["service"];
    if service.is_null() {
        if bundle > 0 {
            let shown = Value::from(format!("{bundle} bytes"));
            faults.invalid("spec.caBundle", &shown, "local APIServices may not have a caBundle");
        }
        if unverified {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            faults.invalid("spec.insecureSkipTLSVerify", &Value::Bool(true), why);
        }
        return;
    }
    for field in ["namespace", "name"] {
        if service[field].as_str().is_none_or(str::is_empty) {
            faults.required(&format!("spec.service.{field}"), "");
        }
    }
    for fault in port_faults(&service["port"]) {
        faults.invalid("spec.service.port", &service["port"], &format!("port is not valid: {fault}"));
    }
    if unverified && bundle > 0 {
        let why = "may not be true if caBundle is present";
        faults.invalid("spec.insecureSkipTLSVerify", &Value::Bool(true), why);
    }
}
