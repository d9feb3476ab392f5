//! Drivers of volumes: what they are called, what nodes say of them, and what they attach.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site};
use super::Run;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("driver", driver),
    ("driver_name", driver_name),
    ("secret_reference", secret_reference),
    ("token_life", token_life),
    ("attach_kept", attach_kept),
    ("attach_source", attach_source),
    ("node_drivers", node_drivers),
    ("secret_tokens", secret_tokens),
    ("allocatable_period", allocatable_period),
    ("topology_terms", topology_terms),
];

/// The longest name of a driver, and the longest that a driver calls a node by, in characters.
const DRIVER_NAME_MAX: usize = 63;
const NODE_ID_MAX: usize = 256;

/// The name of a driver of the container storage interface.
fn driver_name(site: &Site<'_>, faults: &mut Faults) {
    driver_name_faults(&site.path(), site.value_text(), faults);
}

/// A secret that a driver is given, in a namespace.
fn secret_reference(site: &Site<'_>, faults: &mut Faults) {
    let Some(secret) = site.value.filter(|secret| secret.is_object()) else { return };
    for (field, fault) in
        [("name", crate::name::subdomain_fault as fn(&str) -> Option<String>), ("namespace", crate::name::label_fault)]
    {
        match secret[field].as_str().unwrap_or_default() {
            "" => faults.required(&site.sub(field), ""),
            text => fault(text).into_iter().for_each(|why| faults.invalid(&site.sub(field), &Value::from(text), &why)),
        }
    }
}

pub(super) fn driver_name_faults(path: &str, name: &str, faults: &mut Faults) {
    if name.is_empty() {
        return faults.required(path, "");
    }
    if name.len() > DRIVER_NAME_MAX {
        faults.too_long(path, DRIVER_NAME_MAX);
    }
    if let Some(fault) = crate::name::subdomain_fault(&name.to_lowercase()) {
        faults.invalid(path, &Value::from(name), &fault);
    }
}

/// Drivers are named without regard to case.
fn driver(site: &Site<'_>, faults: &mut Faults) {
    let name = site.value_text().to_lowercase();
    for fault in qualified_name_faults(&name).into_iter().filter(|_| !name.is_empty()) {
        faults.invalid(&site.path(), &Value::from(name.as_str()), &fault);
    }
}

fn token_life(site: &Site<'_>, faults: &mut Faults) {
    let Some(value) = site.value else { return };
    let Some(seconds) = value.as_i64() else { return };
    if seconds < 600 {
        faults.invalid(&site.path(), value, "may not specify a duration less than 10 minutes");
    } else if seconds > 1 << 32 {
        faults.invalid(&site.path(), value, "may not specify a duration larger than 2^32 seconds");
    }
}

fn attach_source(site: &Site<'_>, faults: &mut Faults) {
    const WHY: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let source = site.map.get("source").and_then(Value::as_object);
    let sets = |field: &str| source.is_some_and(|source| source.contains_key(field));
    match (sets("persistentVolumeName"), sets("inlineVolumeSpec")) {
        (false, false) => faults.required(&site.sub("source"), WHY),
        (true, true) => faults.forbidden(&site.sub("source"), WHY),
        (true, false) => {
            let path = site.sub("source.persistentVolumeName");
            let name = source.and_then(|source| source["persistentVolumeName"].as_str()).unwrap_or_default();
            if name.is_empty() {
                faults.required(&path, "must specify non empty persistentVolumeName");
            }
            if let Some(fault) = crate::name::subdomain_fault(name) {
                faults.invalid(&path, &Value::from(name), &fault);
            }
        }
        (false, true) => {}
    }
}

/// Whether a driver attaches stays as it is. Upstream has another name for the field here.
fn attach_kept(site: &Site<'_>, faults: &mut Faults) {
    if site.updates && site.old != site.value {
        let now = site.value.cloned().unwrap_or_default();
        faults.invalid("spec.attachedRequired", &now, "field is immutable");
    }
}

/// A node's drivers come and go; what one says stays.
fn node_drivers(site: &Site<'_>, faults: &mut Faults) {
    let without_room = |driver: &Value| {
        let mut driver = driver.clone();
        driver.as_object_mut().and_then(|driver| driver.remove("allocatable"));
        driver
    };
    for old in site.old.and_then(Value::as_array).into_iter().flatten() {
        let new = site.items().iter().find(|new| new["name"] == old["name"]);
        if new.is_some_and(|new| without_room(new) != without_room(old)) {
            faults.invalid(&site.path(), &Value::Array(site.items().to_vec()), "field is immutable");
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, driver) in site.items().iter().enumerate() {
        let name = driver["name"].as_str().unwrap_or_default();
        let path = format!("{}[{index}]", site.path());
        let at = |field: &str| format!("{path}.{field}");
        driver_name_faults(&at("name"), name, faults);
        let node = driver["nodeID"].as_str().unwrap_or_default();
        if node.is_empty() {
            faults.required(&at("nodeID"), "");
        }
        if node.len() > NODE_ID_MAX {
            let why = format!("must be {NODE_ID_MAX} characters or less");
            faults.invalid(&at("nodeID"), &driver["nodeID"], &why);
        }
        let count = &driver["allocatable"]["count"];
        if count.as_i64().is_some_and(|count| count < 0) {
            faults.invalid(&at("allocatable.count"), count, "must be greater than or equal to 0");
        }
        if seen.contains(&name) {
            faults.duplicate(&at("name"), &driver["name"]);
        }
        seen.push(name);
        topology_keys(&path, driver, faults);
    }
}

/// How often a driver says anew how much it can attach.
fn allocatable_period(site: &Site<'_>, faults: &mut Faults) {
    if let Some(seconds) = site.value.filter(|value| value.as_i64().is_some_and(|seconds| seconds < 10)) {
        faults.invalid(&site.path(), seconds, "must be greater than or equal to 10 seconds");
    }
}

/// Tokens among a driver's secrets are those that it asks for. Stands at the driver's spec.
fn secret_tokens(site: &Site<'_>, faults: &mut Faults) {
    let Some(sent) = site.map.get("serviceAccountTokenInSecrets").filter(|sent| sent.is_boolean()) else { return };
    if !site.has("tokenRequests") {
        let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        faults.invalid(&site.sub("serviceAccountTokenInSecrets"), sent, why);
    }
}

/// Terms, the keys of one of them, and the values of a key differ from one another. Stands at the terms.
fn topology_terms(site: &Site<'_>, faults: &mut Faults) {
    // Upstream begins with as many terms that say nothing as there are terms.
    let mut terms = BTreeMap::from([(BTreeMap::new(), site.items().len())]);
    for (index, term) in site.items().iter().enumerate() {
        let at = format!("{}[{index}].matchLabelExpressions", site.path());
        let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (index, expression) in term["matchLabelExpressions"].as_array().into_iter().flatten().enumerate() {
            let (at, key) = (format!("{at}[{index}]"), expression["key"].as_str().unwrap_or_default());
            let mut values = BTreeSet::new();
            for (index, value) in expression["values"].as_array().into_iter().flatten().enumerate() {
                if !values.insert(value.as_str().unwrap_or_default()) {
                    faults.duplicate(&format!("{at}.values[{index}]"), value);
                }
            }
            if keys.contains_key(key) {
                faults.duplicate(&format!("{at}.key"), &Value::from(key));
            }
            keys.insert(key, values);
        }
        let known = terms.entry(keys).or_default();
        for _ in 0..*known {
            if faults.is_full() {
                return;
            }
            faults.duplicate(&at, &Value::from(""));
        }
        *known += 1;
    }
}

fn topology_keys(path: &str, driver: &Value, faults: &mut Faults) {
    let mut seen: Vec<&Value> = Vec::new();
    for key in driver["topologyKeys"].as_array().into_iter().flatten() {
        let text = key.as_str().unwrap_or_default();
        if text.is_empty() {
            faults.required(path, "");
        }
        if seen.contains(&key) {
            faults.duplicate(path, key);
        }
        seen.push(key);
        for fault in qualified_name_faults(text) {
            faults.invalid(path, key, &fault);
        }
    }
}
