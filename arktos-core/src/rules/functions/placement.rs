//! Where pods may be placed: tolerations, affinity, and how pods are spread.

use std::collections::HashMap;

use serde_json::Value;

use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site};
use super::Run;
use crate::name::{label_fault, subdomain_fault};
use crate::selector::label_value_fault;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("toleration", toleration),
    ("spread", spread),
    ("spread_twice", spread_twice),
    ("node_operator", node_operator),
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
    if let Some(fault) = label_value_fault(site.text("value")).filter(|_| matches!(operator, "" | "Equal")) {
        faults.invalid(&path, &site.map["value"], &fault);
    }
    if operator == "Exists" && site.has("value") {
        faults.invalid(&path, &site.map["value"], "value must be empty when `operator` is 'Exists'");
    }
    if site.sets("tolerationSeconds") && site.text("effect") != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        faults.invalid(&site.sub("effect"), &Value::from(site.text("effect")), why);
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
}

/// Keys whose values a pod shares with those that it is placed beside, or does not. Stands at what has them.
fn match_label_keys(site: &Site<'_>, lists: &[&str], faults: &mut Faults) {
    for list in lists {
        let keys = site.list(list);
        if !keys.is_empty() && !site.sets("labelSelector") {
            faults.forbidden(&site.sub(list), "must not be specified when labelSelector is not set");
        }
        for (index, key) in keys.iter().enumerate() {
            for fault in qualified_name_faults(key.as_str().unwrap_or_default()) {
                faults.invalid(&site.sub(&format!("{list}[{index}]")), key, &fault);
            }
        }
    }
}

/// Stands at one term of an affinity between pods.
fn affinity_term(site: &Site<'_>, faults: &mut Faults) {
    for namespace in site.list("namespaces") {
        if let Some(fault) = label_fault(namespace.as_str().unwrap_or_default()) {
            faults.invalid(&site.sub("namespace"), namespace, &fault);
        }
    }
    match_label_keys(site, &["matchLabelKeys", "mismatchLabelKeys"], faults);
    for (index, key) in site.list("matchLabelKeys").iter().enumerate() {
        if site.list("mismatchLabelKeys").contains(key) {
            let why = "exists in both matchLabelKeys and mismatchLabelKeys";
            faults.invalid(&site.sub(&format!("matchLabelKeys[{index}]")), key, why);
        }
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

fn node_operator(site: &Site<'_>, faults: &mut Faults) {
    match site.value_text() {
        "Gt" | "Lt" if site.list("values").len() != 1 => {
            let path = site.path().replace("operator", "values");
            faults.required(&path, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => faults.invalid(&site.path(), &Value::from(other), "not a valid selector operator"),
    }
}

/// Of a node's fields, a pod may ask for its name. Stands at the fields that are asked for.
fn node_field(site: &Site<'_>, faults: &mut Faults) {
    for (index, wanted) in site.items().iter().enumerate() {
        let at = |field: &str| format!("{}[{index}].{field}", site.path());
        let values = wanted["values"].as_array().map_or(&[][..], Vec::as_slice);
        if !matches!(wanted["operator"].as_str(), Some("In" | "NotIn")) {
            faults.invalid(&at("operator"), &wanted["operator"], "not a valid selector operator");
        } else if values.len() != 1 {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            faults.required(&at("values"), why);
        }
        if wanted["key"] != "metadata.name" {
            faults.invalid(&at("key"), &wanted["key"], "not a valid field selector key");
            continue;
        }
        for (index, value) in values.iter().enumerate() {
            if let Some(fault) = subdomain_fault(value.as_str().unwrap_or_default()) {
                faults.invalid(&at(&format!("values[{index}]")), value, &fault);
            }
        }
    }
}
