//! Horizontal pod autoscalers.

use serde_json::Value;

use super::super::fault::{Faults, Site};
use super::Run;
use crate::quantity::Quantity;

pub(super) const CHECKS: &[(&str, Run)] =
    &[("scale_bounds", scale_bounds), ("scale_group", scale_group), ("metric", metric)];

fn scale_bounds(site: &Site<'_>, faults: &mut Faults) {
    let number = |field: &str| site.map.get(field).and_then(Value::as_i64).unwrap_or_default();
    let (least, most) = (number("minReplicas"), number("maxReplicas"));
    if most < 1 {
        faults.required(&site.sub("maxReplicas"), "must be set and greater than 0");
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

fn scale_group(site: &Site<'_>, faults: &mut Faults) {
    let version = site.value_text();
    if version.split('/').count() > 2 {
        let why = format!("unexpected GroupVersion string: {version}");
        faults.invalid(&site.path(), &Value::from(version), &why);
    } else if version.is_empty() {
        faults.invalid(&site.path(), &Value::from(""), "apiVersion must specify API group");
    }
}

const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

fn metric(site: &Site<'_>, faults: &mut Faults) {
    let kind = site.text("type");
    if kind.is_empty() {
        faults.required(&site.sub("type"), "must specify a metric source type");
    }
    let known = SOURCES.into_iter().find(|(known, _)| *known == kind);
    let present: Vec<&str> = SOURCES.into_iter().map(|(_, field)| field).filter(|field| site.sets(field)).collect();
    if present.len() != 1 {
        for field in present.into_iter().filter(|field| known.is_none_or(|(_, own)| own != *field)) {
            faults.forbidden(&site.sub(field), "must populate the given metric source only");
        }
    }
    let Some((_, field)) = known else {
        let kinds = SOURCES.map(|(kind, _)| kind);
        // It is none of the known ones, and there is no source for it: two faults with the same words.
        faults.not_supported(&site.sub("type"), &Value::from(kind), &kinds);
        return faults.not_supported(&site.sub("type"), &Value::from(kind), &kinds);
    };
    let Some(source) = site.map.get(field) else {
        return faults.required(&site.sub(field), "must populate information for the given metric source");
    };
    metric_source(kind, source, &site.sub(field), faults);
}

/// Where a metric comes from: what it is called, and what it is to be.
fn metric_source(kind: &str, source: &Value, path: &str, faults: &mut Faults) {
    let at = |part: &str| format!("{path}.{part}");
    let target = &source["target"];
    let sets = |field: &str| !target[field].is_null();
    if kind == "Object" {
        for field in ["kind", "name"] {
            if source["describedObject"][field].as_str().is_none_or(str::is_empty) {
                faults.required(&at(&format!("describedObject.{field}")), "");
            }
        }
    }
    let by_resource = matches!(kind, "Resource" | "ContainerResource");
    if by_resource {
        if source["name"].as_str().is_none_or(str::is_empty) {
            faults.required(&at("name"), "must specify a resource name");
        }
        if kind == "ContainerResource" && source["container"].as_str().is_none_or(str::is_empty) {
            faults.required(&at("container"), "must specify a container");
        }
    } else if source["metric"]["name"].as_str().is_none_or(str::is_empty) {
        faults.required(&at("metric.name"), "must specify a metric name");
    }
    metric_target(target, &at("target"), faults);
    match kind {
        "Pods" if !sets("averageValue") => {
            faults.required(&at("target.averageValue"), "must specify a positive target averageValue");
        }
        "Object" | "External" if !sets("value") && !sets("averageValue") => {
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
