//! Devices: where those of a slice are, and what claims ask for.

use std::collections::HashSet;

use serde_json::Value;

use super::super::fault::{Faults, Site, is_empty};
use super::Run;
use crate::name::label_fault;
use crate::selector::label_value_fault;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("slice_place", slice_place),
    ("device_names", device_names),
    ("one_device", one_device),
    ("no_count", no_count),
    ("device_constraint", device_constraint),
    ("device_toleration", device_toleration),
    ("named_requests", named_requests),
];

/// Devices of a slice are on one host, on those that are selected, on all, or it is said for each.
fn slice_place(site: &Site<'_>, faults: &mut Faults) {
    let set: Vec<String> = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"]
        .into_iter()
        .filter(|field| site.map.get(*field).is_some_and(|value| !is_empty(value) && *value != false))
        .map(|field| format!("`{field}`"))
        .collect();
    let why = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.as_slice() {
        [] => faults.required(&site.path(), why),
        [_] => {}
        several => {
            let shown = Value::from(format!("{{{}}}", several.join(", ")));
            faults.invalid(&site.path(), &shown, &format!("{why}, but multiple fields are set"));
        }
    }
}

fn device_names(site: &Site<'_>, faults: &mut Faults) {
    let mut names = HashSet::new();
    for (index, item) in site.items().iter().enumerate() {
        if !names.insert(&item["name"]) {
            faults.duplicate(&format!("{}[{index}]", site.path()), &item["name"]);
        }
    }
}

fn one_device(site: &Site<'_>, faults: &mut Faults) {
    match (site.sets("exactly"), site.has("firstAvailable")) {
        (false, false) => {
            faults.required(&site.path(), "exactly one of `exactly` or `firstAvailable` is required");
        }
        (true, true) => {
            faults.invalid(
                &site.path(),
                &Value::Null,
                "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
            );
        }
        _ => {}
    }
}

/// Who asks for all devices does not count them.
fn no_count(site: &Site<'_>, faults: &mut Faults) {
    if let Some(count) = site.value.filter(|count| count.as_i64().is_some_and(|count| count != 0)) {
        faults.invalid(&site.path(), count, "must not be specified when allocationMode is 'All'");
    }
}

/// Devices are alike in something, or differ in something.
fn device_constraint(site: &Site<'_>, faults: &mut Faults) {
    if !site.sets("matchAttribute") && !site.sets("distinctAttribute") {
        let why = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
        faults.required(&site.path(), why);
    }
}

fn device_toleration(site: &Site<'_>, faults: &mut Faults) {
    let (path, value) = (site.sub("value"), site.text("value"));
    match site.text("operator") {
        "Exists" if !value.is_empty() => {
            faults.invalid(&path, &Value::from(value), "must be empty for operator `Exists`");
        }
        "Equal" => {
            let fault = label_value_fault(value);
            fault.into_iter().for_each(|fault| faults.invalid(&path, &Value::from(value), &fault));
        }
        _ => {}
    }
}

/// What constraints and settings of a claim are for: requests of the claim, or choices of one. Stands at the claim's
/// devices.
fn named_requests(site: &Site<'_>, faults: &mut Faults) {
    const WHY: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated by \
                       '/'";
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut known: HashSet<String> = HashSet::new();
    for request in site.list("requests") {
        let name = text(&request["name"]);
        let choices = request["firstAvailable"].as_array().into_iter().flatten();
        known.extend(choices.map(|choice| format!("{name}/{}", text(&choice["name"]))));
        known.insert(name);
    }
    for list in ["constraints", "config"] {
        for (index, of) in site.list(list).iter().enumerate() {
            for (at, named) in of["requests"].as_array().into_iter().flatten().enumerate() {
                let (path, name) = (site.sub(&format!("{list}[{index}].requests[{at}]")), text(named));
                let parts: Vec<&str> = name.split('/').filter(|_| name.matches('/').count() < 2).collect();
                for part in parts {
                    let fault = label_fault(part);
                    fault.into_iter().for_each(|fault| faults.invalid(&path, &Value::from(part), &fault));
                }
                if !known.contains(&name) {
                    faults.invalid(&path, named, WHY);
                }
            }
        }
    }
}
