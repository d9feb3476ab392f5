//! Volumes, claims, storage classes, quotas, and what secrets and config maps hold.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde_json::{Map, Value};

use super::super::check::{config_key_faults, qualified_name_faults};
use super::super::fault::{Faults, Site};
use super::Run;
use super::containers::WHOLE;
use crate::quantity::Quantity;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("data_keys", data_keys),
    ("secret_type", secret_type),
    ("immutable_data", immutable_data),
    ("quota", quota),
    ("quota_status", quota_status),
    ("scopes_kept", scopes_kept),
    ("parameter_keys", parameter_keys),
    ("not_negative", not_negative),
];

fn not_negative(site: &Site<'_>, faults: &mut Faults) {
    if let Some(amount) = site.value.filter(|amount| amount.as_str().is_some_and(|text| text.starts_with('-'))) {
        faults.invalid(&site.path(), amount, "must be greater than or equal to 0");
    }
}

pub(super) fn not_positive(amount: &Value) -> bool {
    amount.as_str().and_then(|text| Quantity::parse(text).ok()).is_none_or(|amount| amount <= Quantity::from_value(0))
}

/// The most that a secret or a config map may hold, in bytes.
const DATA_MAX: usize = 1024 * 1024;

fn data_keys(site: &Site<'_>, faults: &mut Faults) {
    let mut length = 0;
    for (key, value) in site.value.and_then(Value::as_object).into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let encoded = site.root_kind == "Secret" || site.field == "binaryData";
        let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
        length += if encoded { (text.len() / 4 * 3).saturating_sub(padding) } else { text.len() };
        for fault in config_key_faults(key) {
            faults.invalid(&format!("{}[{key}]", site.path()), &Value::from(key.as_str()), &fault);
        }
        if site.field == "binaryData" && site.map.get("data").is_some_and(|data| data.get(key).is_some()) {
            faults.invalid(
                &format!("data[{key}]"),
                &Value::from(key.as_str()),
                "duplicate of key present in binaryData",
            );
        }
    }
    if length > DATA_MAX {
        let path = if site.root_kind == "Secret" { "data" } else { "" };
        faults.too_long(path, DATA_MAX);
    }
}

fn secret_type(site: &Site<'_>, faults: &mut Faults) {
    let has = |key: &str| site.map.get("data").is_some_and(|data| data.get(key).is_some());
    let needed: &[&str] = match site.text("type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => &["username", "password"],
        "kubernetes.io/service-account-token" => {
            let annotations = site.map.get("metadata").map(|metadata| &metadata["annotations"]);
            let account = annotations.and_then(|known| known["kubernetes.io/service-account.name"].as_str());
            if account.is_none_or(str::is_empty) {
                faults.required("metadata.annotations[kubernetes.io/service-account.name]", "");
            }
            &[]
        }
        _ => &[],
    };
    // A key for a shell is looked at, the others need only be there.
    let empty = |key: &str| key == "ssh-privatekey" && site.map.get("data").is_some_and(|data| data[key] == "");
    for key in needed.iter().filter(|key| !has(key) || empty(key)) {
        faults.required(&format!("data[{key}]"), "");
    }
    for key in needed.iter().filter(|key| key.starts_with(".docker")) {
        let data = site.map.get("data").and_then(|data| data[*key].as_str());
        let bytes = data.and_then(|data| base64::engine::general_purpose::STANDARD.decode(data).ok());
        if let Some(fault) = bytes.and_then(|bytes| crate::media::go_json_fault(&bytes)) {
            faults.invalid(&format!("data[{key}]"), &Value::from("<secret contents redacted>"), &fault);
        }
    }
}

fn immutable_data(site: &Site<'_>, faults: &mut Faults) {
    const WHY: &str = "field is immutable when `immutable` is set";
    let Some(old) = site.old_map.filter(|old| old.get("immutable") == Some(&Value::Bool(true))) else { return };
    if site.map.get("immutable") != Some(&Value::Bool(true)) {
        faults.forbidden("immutable", WHY);
    }
    for field in ["data", "binaryData"] {
        if site.map.get(field) != old.get(field) {
            faults.forbidden(field, WHY);
        }
    }
}

/// What a quota may count that is not of a form of its own.
const COUNTED: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// How many requests a second a tenant may make, in its quota: less than one, too.
const RATE: &str = "rate/requests";

/// The amounts of a quota: what it limits, or how much of that is used.
fn counted(site: &Site<'_>, list: &str, faults: &mut Faults) {
    for (name, amount) in site.map.get(list).and_then(Value::as_object).into_iter().flatten() {
        let path = site.sub(&format!("{list}[{name}]"));
        let known = COUNTED.contains(&name.as_str()) || name.contains('/') || name.contains("hugepages-");
        let sent = Value::from(name.as_str());
        for fault in qualified_name_faults(name) {
            faults.invalid(&path, &sent, &fault);
        }
        if !known && name != "storage" && qualified_name_faults(name).is_empty() {
            faults.invalid(&path, &sent, "must be a standard resource type or fully qualified");
        }
        if !known {
            faults.invalid(&path, &sent, "must be a standard resource for quota");
        }
        let Some(quantity) = amount.as_str().and_then(|text| Quantity::parse(text).ok()) else { continue };
        if quantity < Quantity::from_value(0) {
            faults.invalid(&path, amount, "must be greater than or equal to 0");
        }
        let extended = name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.");
        let extended = extended && name != RATE;
        let whole = WHOLE.contains(&name.as_str()) || extended;
        if whole && quantity.milli() % 1000 != 0 {
            faults.invalid(&path, amount, "must be an integer");
        }
    }
}

fn quota_status(site: &Site<'_>, faults: &mut Faults) {
    counted(site, "hard", faults);
    counted(site, "used", faults);
}

fn quota(site: &Site<'_>, faults: &mut Faults) {
    counted(site, "hard", faults);
    let hard = site.map.get("hard").and_then(Value::as_object);
    let scopes = site.list("scopes");
    if !scopes.is_empty() {
        quota_scopes(site, scopes, hard, faults);
    }
    let expressions = site.map.get("scopeSelector").and_then(|selector| selector["matchExpressions"].as_array());
    let path = site.sub("scopeSelector.matchExpressions");
    let mut seen: Vec<&str> = Vec::new();
    for expression in expressions.into_iter().flatten() {
        scope_expression(&path, expression, faults);
        let scope = expression["scopeName"].as_str().unwrap_or_default();
        for _ in hard.into_iter().flatten().filter(|(name, _)| !can_be_scoped(scope, name)) {
            let shown = shown_scopes(expressions.map_or(&[][..], Vec::as_slice));
            faults.invalid_text(&path, &shown, "unsupported scope applied to resource");
        }
        seen.push(scope);
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if seen.contains(&one) && seen.contains(&other) {
            let shown = site.map.get("scopes").unwrap_or(&Value::Null);
            faults.invalid(&path, shown, "conflicting scopes");
        }
    }
}

/// What a quota selects by, as messages show it.
fn shown_scopes(expressions: &[Value]) -> String {
    let shown = expressions.iter().map(|one| {
        let text = |field: &str| Value::from(one[field].as_str().unwrap_or_default());
        format!(
            "{{\"ScopeName\":{},\"Operator\":{},\"Values\":{}}}",
            text("scopeName"),
            text("operator"),
            one["values"]
        )
    });
    format!("{{\"MatchExpressions\":[{}]}}", shown.collect::<Vec<_>>().join(","))
}

/// What a quota's selector says of one scope. Upstream does not tell which of them.
fn scope_expression(path: &str, expression: &Value, faults: &mut Faults) {
    let (scope, operator) = (&expression["scopeName"], expression["operator"].as_str().unwrap_or_default());
    let name = scope.as_str().unwrap_or_default();
    if !SCOPES.contains(&name) {
        faults.invalid(&format!("{path}.scopeName"), &Value::from(name), "unsupported scope");
    }
    let plain = SCOPES.contains(&name) && !matches!(name, "PriorityClass" | "VolumeAttributesClass");
    if plain && operator != "Exists" {
        let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
                   ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                   ResourceQuotaScopeCrossNamespacePodAffinity";
        faults.invalid(&format!("{path}.operator"), &Value::from(operator), why);
    }
    let values = expression["values"].as_array().map_or(&[][..], Vec::as_slice);
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            faults.required(&format!("{path}.values"), why);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            faults.invalid(&format!("{path}.values"), &Value::from(values), why);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => faults.invalid(&format!("{path}.operator"), &Value::from(other), "not a valid selector operator"),
    }
}

fn quota_scopes(site: &Site<'_>, scopes: &[Value], hard: Option<&Map<String, Value>>, faults: &mut Faults) {
    let (path, sent) = (site.sub("scopes"), Value::Array(scopes.to_vec()));
    let has = |name: &str| scopes.iter().any(|scope| scope == name);
    for scope in scopes.iter().map(|scope| scope.as_str().unwrap_or_default()) {
        if !SCOPES.contains(&scope) {
            faults.invalid(&path, &sent, "unsupported scope");
        }
        for _ in hard.into_iter().flatten().filter(|(name, _)| !can_be_scoped(scope, name)) {
            faults.invalid(&path, &sent, "unsupported scope applied to resource");
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if has(one) && has(other) {
            faults.invalid(&path, &sent, "conflicting scopes");
        }
    }
}

/// Whether a quota with a scope can count a resource. Of what it does not know, it counts all the same.
fn can_be_scoped(scope: &str, name: &str) -> bool {
    const AMOUNTS: [&str; 6] = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    let known = COUNTED.contains(&name) || name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
    !known
        || match scope {
            "BestEffort" => name == "pods",
            "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
            _ if SCOPES.contains(&scope) => name == "pods" || AMOUNTS.contains(&name),
            _ => true,
        }
}

/// A quota counts what it counted from the start, in whatever order it says so.
fn scopes_kept(site: &Site<'_>, faults: &mut Faults) {
    let set = |scopes: Option<&Value>| -> BTreeSet<String> {
        let scopes = scopes.and_then(Value::as_array).into_iter().flatten();
        scopes.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if site.updates && set(site.old) != set(site.value) {
        faults.invalid(&site.path(), site.value.unwrap_or(&Value::Null), "field is immutable");
    }
}

/// How many parameters a class may have, and how many bytes together.
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_LENGTH_MAX: usize = 256 * 1024;

fn parameter_keys(site: &Site<'_>, faults: &mut Faults) {
    let Some(parameters) = site.value.and_then(Value::as_object) else { return };
    if parameters.len() > PARAMETERS_MAX {
        return faults.too_long(&site.path(), PARAMETERS_MAX);
    }
    if parameters.contains_key("") {
        faults.invalid(&site.path(), &Value::from(""), "field can not be empty.");
    }
    let length = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if parameters.iter().map(length).sum::<usize>() > PARAMETERS_LENGTH_MAX {
        faults.too_long(&site.path(), PARAMETERS_LENGTH_MAX);
    }
}
