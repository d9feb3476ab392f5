//! Where pods may be placed: tolerations, affinity, and how pods are spread.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site};
use super::Run;
use crate::name::{label_faults, subdomain_faults};
use crate::selector::label_value_fault;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("toleration", toleration),
    ("preemption", preemption),
    ("tolerated_twice", tolerated_twice),
    ("spread", spread),
    ("spread_how", spread_how),
    ("spread_twice", spread_twice),
    ("node_labels", node_labels),
    ("node_field", node_field),
    ("affinity_term", affinity_term),
];

fn toleration(site: &Site<'_>, faults: &mut Faults) {
    let (key, operator) = (site.text("key"), site.text("operator"));
    let path = site.sub("operator");
    if key.is_empty() && operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        faults.invalid(&path, &Value::from(operator), why);
    }
    match operator {
        "" | "Equal" => {
            if let Some(fault) = label_value_fault(site.text("value")) {
                faults.invalid(&path, &site.map["value"], &fault);
            }
        }
        "Exists" => {}
        // Comparisons are known, and switched off.
        "Lt" | "Gt" => faults.not_supported(&path, &site.map["operator"], &["Equal", "Exists", "Lt", "Gt"]),
        _ => faults.not_supported(&path, &site.map["operator"], &["Equal", "Exists"]),
    }
    if operator == "Exists" && site.has("value") {
        faults.invalid(&path, &site.map["value"], "value must be empty when `operator` is 'Exists'");
    }
    if site.sets("tolerationSeconds") && site.text("effect") != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        faults.invalid(&site.sub("effect"), &Value::from(site.text("effect")), why);
    }
}

/// Whether a pod takes the place of others.
fn preemption(site: &Site<'_>, faults: &mut Faults) {
    if site.updates && site.root_kind == "PriorityClass" {
        return; // it stays as it was
    }
    match site.value.and_then(Value::as_str) {
        None | Some("PreemptLowerPriority" | "Never") => {}
        Some("") => faults.required(&site.path(), ""),
        Some(other) => {
            faults.not_supported(&site.path(), &Value::from(other), &["PreemptLowerPriority", "Never"]);
        }
    }
}

/// Tolerations of a class differ in more than how long they last. Stands at the list.
fn tolerated_twice(site: &Site<'_>, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (index, one) in site.items().iter().enumerate() {
        let parts = ["key", "operator", "value", "effect"].map(|field| one[field].as_str().unwrap_or_default());
        if !seen.insert(parts) {
            let [key, operator, value, effect] = parts.map(Value::from);
            let shown = format!(
                "{{\"Key\":{key},\"Operator\":{operator},\"Value\":{value},\"Effect\":{effect},\
                 \"TolerationSeconds\":{}}}",
                one["tolerationSeconds"]
            );
            faults.duplicate_text(&format!("{}[{index}]", site.path()), &shown);
        }
    }
}

/// Stands at one constraint of how pods are spread.
fn spread(site: &Site<'_>, faults: &mut Faults) {
    if let (Some(count), how) = (site.map.get("minDomains"), site.text("whenUnsatisfiable"))
        && how != "DoNotSchedule"
        && !count.is_null()
    {
        let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {how}");
        faults.invalid(&site.sub("minDomains"), count, &why);
    }
    match_label_keys(site, &["matchLabelKeys"], faults);
    said_twice(site, faults);
}

/// Keys whose values a pod shares with those that it is placed beside, or does not. Stands at what has them.
fn match_label_keys(site: &Site<'_>, lists: &[&str], faults: &mut Faults) {
    for list in lists {
        let keys = site.list(list);
        if !keys.is_empty() && !site.sets("labelSelector") {
            faults.forbidden(&site.sub(list), "must not be specified when labelSelector is not set");
            continue;
        }
        for (index, key) in keys.iter().enumerate() {
            for fault in qualified_name_faults(key.as_str().unwrap_or_default()) {
                faults.invalid(&site.sub(&format!("{list}[{index}]")), key, &fault);
            }
        }
    }
}

/// What the keys make of the selector is in it already; what else it says of them is said twice. Upstream says that the
/// term is a list.
fn said_twice(site: &Site<'_>, faults: &mut Faults) {
    let keys = site.list("matchLabelKeys");
    let Some(selector) = site.map.get("labelSelector") else { return };
    let mut seen: HashSet<&str> =
        selector["matchLabels"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    for wanted in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = wanted["key"].as_str().unwrap_or_default();
        if let Some(index) = keys.iter().rposition(|known| known == key)
            && seen.contains(key)
        {
            let path = format!("{}[{index}]", site.path());
            faults.invalid(&path, &Value::from(key), "exists in both matchLabelKeys and labelSelector");
        }
        seen.insert(key);
    }
}

/// Stands at one term of an affinity between pods.
fn affinity_term(site: &Site<'_>, faults: &mut Faults) {
    for namespace in site.list("namespaces") {
        for fault in label_faults(namespace.as_str().unwrap_or_default()) {
            faults.invalid(&site.sub("namespace"), namespace, &fault);
        }
    }
    match_label_keys(site, &["matchLabelKeys", "mismatchLabelKeys"], faults);
    said_twice(site, faults);
    for (index, key) in site.list("matchLabelKeys").iter().enumerate() {
        if site.list("mismatchLabelKeys").contains(key) {
            let why = "exists in both matchLabelKeys and mismatchLabelKeys";
            faults.invalid(&site.sub(&format!("matchLabelKeys[{index}]")), key, why);
        }
    }
}

/// What becomes of a pod that cannot be spread as asked.
fn spread_how(site: &Site<'_>, faults: &mut Faults) {
    const KNOWN: [&str; 2] = ["DoNotSchedule", "ScheduleAnyway"];
    if !KNOWN.contains(&site.value_text()) {
        faults.not_supported(&site.path(), &Value::from(site.value_text()), &KNOWN);
    }
}

fn spread_twice(site: &Site<'_>, faults: &mut Faults) {
    let items = site.items();
    let mut last = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        last.insert((&item["topologyKey"], &item["whenUnsatisfiable"]), index);
    }
    for (index, item) in items.iter().enumerate() {
        if last.get(&(&item["topologyKey"], &item["whenUnsatisfiable"])) != Some(&index) {
            let text = |field: &str| item[field].as_str().unwrap_or_default();
            let both = format!("{{{}, {}}}", text("topologyKey"), text("whenUnsatisfiable"));
            let path = format!("{}[{index}].{{topologyKey, whenUnsatisfiable}}", site.path());
            faults.duplicate(&path, &Value::from(both));
        }
    }
}

/// What a pod asks for of its node's labels. Stands at the list; of what is preferred, the values are not looked at.
fn node_labels(site: &Site<'_>, faults: &mut Faults) {
    let path = site.path();
    let preferred = path.ends_with(".preference.matchExpressions");
    for (index, wanted) in site.items().iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        let values = wanted["values"].as_array().map_or(&[][..], Vec::as_slice);
        match wanted["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" if values.is_empty() => {
                faults.required(&at("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                faults.forbidden(&at("values"), why);
            }
            "Gt" | "Lt" if values.len() != 1 => {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                faults.required(&at("values"), why);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => faults.invalid(&at("operator"), &Value::from(other), "not a valid selector operator"),
        }
        let key = wanted["key"].as_str().unwrap_or_default();
        for fault in qualified_name_faults(key) {
            faults.invalid(&at("key"), &Value::from(key), &fault);
        }
        for (index, value) in values.iter().enumerate().filter(|_| !preferred) {
            if let Some(fault) = label_value_fault(value.as_str().unwrap_or_default()) {
                faults.invalid(&at(&format!("values[{index}]")), value, &fault);
            }
        }
    }
}

/// Of a node's fields, a pod may ask for its name. Stands at the fields that are asked for.
fn node_field(site: &Site<'_>, faults: &mut Faults) {
    for (index, wanted) in site.items().iter().enumerate() {
        let at = |field: &str| format!("{}[{index}].{field}", site.path());
        let values = wanted["values"].as_array().map_or(&[][..], Vec::as_slice);
        if !matches!(wanted["operator"].as_str(), Some("In" | "NotIn")) {
            let sent = Value::from(wanted["operator"].as_str().unwrap_or_default());
            faults.invalid(&at("operator"), &sent, "not a valid selector operator");
        } else if values.len() != 1 {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            faults.required(&at("values"), why);
        }
        if wanted["key"] != "metadata.name" {
            let sent = Value::from(wanted["key"].as_str().unwrap_or_default());
            faults.invalid(&at("key"), &sent, "not a valid field selector key");
            continue;
        }
        for (index, value) in values.iter().enumerate() {
            for fault in subdomain_faults(value.as_str().unwrap_or_default()) {
                faults.invalid(&at(&format!("values[{index}]")), value, &fault);
            }
        }
    }
}
