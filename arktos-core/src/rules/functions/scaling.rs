//! Horizontal pod autoscalers.

use serde_json::Value;

use super::super::fault::{Faults, Site};
use super::Run;
use crate::name::path_segment_faults;
use crate::quantity::Quantity;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("scale_bounds", scale_bounds),
    ("scale_group", scale_group),
    ("metric", metric),
    ("policy_kind", policy_kind),
    ("window", window),
    ("tolerance", tolerance),
];

fn scale_bounds(site: &Site<'_>, faults: &mut Faults) {
    let number = |field: &str| site.map.get(field).and_then(Value::as_i64).unwrap_or_default();
    let (least, most) = (number("minReplicas"), number("maxReplicas"));
    if most == 0 {
        faults.required(&site.sub("maxReplicas"), "must be set and greater than 0");
    } else if most < 0 {
        faults.invalid(&site.sub("maxReplicas"), &Value::from(most), "must be greater than or equal to 1");
    }
    if most < least {
        faults.invalid(&site.sub("maxReplicas"), &Value::from(most), "must be greater than or equal to `minReplicas`");
    }
    let outside = site.list("metrics").iter().any(|metric| metric["type"] == "Object" || metric["type"] == "External");
    if least == 0 && !outside && site.sets("minReplicas") {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        faults.forbidden(&site.sub("metrics"), why);
    }
}

/// What an autoscaler scales is of a group. What it measures need not be.
fn scale_group(site: &Site<'_>, faults: &mut Faults) {
    group_faults(&site.path(), site.value_text(), true, faults);
}

fn group_faults(path: &str, version: &str, needed: bool, faults: &mut Faults) {
    let parts = version.split('/').count();
    if parts > 2 {
        let why = format!("unexpected GroupVersion string: {version}");
        faults.invalid(path, &Value::from(version), &why);
    } else if needed && (parts < 2 || version.starts_with('/')) {
        faults.invalid(path, &Value::from(version), "apiVersion must specify API group");
    }
}

/// In which order sources are looked for: the first is looked at, whatever the metric's type.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

fn metric(site: &Site<'_>, faults: &mut Faults) {
    const KINDS: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
    let kind = site.text("type");
    if kind.is_empty() {
        faults.required(&site.sub("type"), "must specify a metric source type");
    }
    let known = SOURCES.into_iter().find(|(known, _)| *known == kind);
    let present: Vec<_> = SOURCES.into_iter().filter(|(_, field)| site.sets(field)).collect();
    if let Some((kind, field)) = present.first() {
        metric_source(kind, site.map.get(*field).unwrap_or(&Value::Null), &site.sub(field), faults);
    }
    match known {
        Some((_, field)) if !site.sets(field) => {
            faults.required(&site.sub(field), "must populate information for the given metric source");
        }
        Some(_) => {}
        // It is none of the known ones, and there is no source for it: two faults with the same words.
        None => (0..2).for_each(|_| faults.not_supported(&site.sub("type"), &Value::from(kind), &KINDS)),
    }
    if present.len() != 1 {
        for (_, field) in present.into_iter().filter(|(own, _)| *own != kind) {
            faults.forbidden(&site.sub(field), "must populate the given metric source only");
        }
    }
}

/// Where a metric comes from: what it is called, and what it is to be.
fn metric_source(kind: &str, source: &Value, path: &str, faults: &mut Faults) {
    let at = |part: &str| format!("{path}.{part}");
    let target = &source["target"];
    let sets = |field: &str| !target[field].is_null();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let segment = |path: &str, value: &Value, missing: &str, faults: &mut Faults| match text(value).as_str() {
        "" => faults.required(path, missing),
        name => {
            for fault in path_segment_faults(name) {
                faults.invalid(path, value, &fault);
            }
        }
    };
    if kind == "Object" {
        let object = &source["describedObject"];
        for field in ["kind", "name"] {
            segment(&at(&format!("describedObject.{field}")), &object[field], "", faults);
        }
        group_faults(&at("describedObject.apiVersion"), &text(&object["apiVersion"]), false, faults);
    }
    let by_resource = matches!(kind, "Resource" | "ContainerResource");
    let name = text(&source["name"]);
    if by_resource && name.is_empty() {
        faults.required(&at("name"), "must specify a resource name");
    } else if kind == "ContainerResource" {
        super::containers::resource_name_faults(&at("name"), &name, true, faults);
    }
    if kind == "ContainerResource" {
        match text(&source["container"]).as_str() {
            "" => faults.required(&at("container"), "must specify a container"),
            name => {
                for fault in crate::name::label_faults(name) {
                    faults.invalid(&at("container"), &source["container"], &fault);
                }
            }
        }
    }
    if !by_resource {
        segment(&at("metric.name"), &source["metric"]["name"], "must specify a metric name", faults);
    }
    metric_target(target, &at("target"), faults);
    match kind {
        "Pods" if !sets("averageValue") => {
            faults.required(&at("target.averageValue"), "must specify a positive target averageValue");
        }
        "Object" if !sets("value") && !sets("averageValue") => {
            faults.required(&at("target.averageValue"), "must set either a target value or averageValue");
        }
        "External" if !sets("value") && !sets("averageValue") => {
            let why = "must set either a target value for metric or a per-pod target";
            faults.required(&at("target.averageValue"), why);
        }
        "External" if sets("value") && sets("averageValue") => {
            let why = "may not set both a target value for metric and a per-pod target";
            faults.forbidden(&at("target.value"), why);
        }
        _ if by_resource && !sets("averageUtilization") && !sets("averageValue") => {
            let why = "must set either a target raw value or a target utilization";
            faults.required(&at("target.averageUtilization"), why);
        }
        _ if by_resource && sets("averageUtilization") && sets("averageValue") => {
            let why = "may not set both a target raw value and a target utilization";
            faults.forbidden(&at("target.averageValue"), why);
        }
        _ => {}
    }
}

fn metric_target(target: &Value, path: &str, faults: &mut Faults) {
    let kind = target["type"].as_str().unwrap_or_default();
    if kind.is_empty() {
        faults.required(&format!("{path}.type"), "must specify a metric target type");
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let why = "must be either Utilization, Value, or AverageValue";
        faults.invalid(&format!("{path}.type"), &Value::from(kind), why);
    }
    for field in ["value", "averageValue"] {
        let amount = target[field].as_str().and_then(|text| Quantity::parse(text).ok());
        if amount.is_some_and(|amount| amount <= Quantity::from_value(0)) {
            faults.invalid(&format!("{path}.{field}"), &target[field], "must be positive");
        }
    }
    if target["averageUtilization"].as_i64().is_some_and(|percent| percent < 1) {
        faults.invalid(&format!("{path}.averageUtilization"), &target["averageUtilization"], "must be greater than 0");
    }
}

/// For how long what was recommended counts.
fn window(site: &Site<'_>, faults: &mut Faults) {
    if let Some(seconds) = site.value.filter(|value| value.as_i64().is_some_and(|seconds| seconds < 0)) {
        faults.invalid(&site.path(), seconds, "must be greater than or equal to zero");
    }
}

/// By how much what is measured may differ from what is wanted.
fn tolerance(site: &Site<'_>, faults: &mut Faults) {
    let is_less = |text: &str| Quantity::parse(text).is_ok_and(|amount| amount < Quantity::from_value(0));
    if let Some(amount) = site.value.filter(|amount| amount.as_str().is_some_and(is_less)) {
        faults.invalid(&site.path(), amount, "must be greater than or equal to 0");
    }
}

/// What a policy counts.
fn policy_kind(site: &Site<'_>, faults: &mut Faults) {
    if !matches!(site.value_text(), "Percent" | "Pods") {
        faults.not_supported(&site.path(), &Value::from(site.value_text()), &["Percent", "Pods"]);
    }
}
