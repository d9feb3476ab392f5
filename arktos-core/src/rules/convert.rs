//! Between the versions of a kind: objects are stored in one, and shown in each.
//!
//! Objects of custom kinds are the same in all versions but for what a version's schema does not know. Two built-in
//! resources have more than one form: events (stored as core events, shown by `events.k8s.io` as well) and
//! horizontal pod autoscalers (stored in `v2`, shown in `v1`, which keeps what it has no fields for in annotations).
//! Versions that only Arktos's own clients ask for are in `old`.

mod old;

use serde_json::{Map, Value, json};

use crate::catalog::{Catalog, Kind};
use crate::custom;
use crate::object::Object;
use crate::schema;

/// Field names of a core event and of an `events.k8s.io` one, where they differ.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// The object in the stored form of its resource; `from` is the kind it is in. Nothing to do for most kinds.
#[must_use]
pub fn to_storage(from: &Kind, mut object: Object) -> Object {
    if !from.builtin {
        custom::to_stored(from, &mut object);
        return object;
    }
    if from.storage {
        return object;
    }
    let Some(to) = Catalog::builtin().storage(&from.storage_resource) else { return object };
    convert(from, &to, object)
}

/// A stored object as `to` shows it.
#[must_use]
pub fn from_storage(to: &Kind, mut object: Object) -> Object {
    if !to.builtin {
        let _ = custom::stored_form(to, &mut object);
        return object;
    }
    if to.storage {
        return object;
    }
    let Some(from) = Catalog::builtin().storage(&to.storage_resource) else { return object };
    convert(&from, to, object)
}

fn convert(from: &Kind, to: &Kind, mut object: Object) -> Object {
    match (from.group.as_str(), to.group.as_str(), to.version.as_str()) {
        ("", "events.k8s.io", _) => rename(&mut object.fields, |(core, new)| (core, new)),
        ("events.k8s.io", "", _) => rename(&mut object.fields, |(core, new)| (new, core)),
        ("autoscaling", _, "v1") => autoscaler_to_v1(&mut object),
        ("autoscaling", _, _) => autoscaler_from_v1(&mut object),
        _ if to.storage => old::to_today(from, &mut object),
        _ => old::from_today(to, &mut object),
    }
    object.set(&["apiVersion"], to.type_meta.api_version.as_str());
    object.set(&["kind"], to.type_meta.kind.as_str());
    // What was stored was complete, so it has no type faults; and what a request brought is checked by its own kind.
    let _ = schema::complete(to, &mut object);
    object
}

fn rename(
    fields: &mut Map<String, Value>,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    for (before, after) in EVENT_FIELDS.into_iter().map(direction) {
        if let Some(value) = fields.remove(before) {
            fields.insert(after.to_owned(), value);
        }
    }
}

/// Whether a metric is the one that `v1` has a field for.
fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn annotate(object: &mut Object, annotation: &str, value: &Value) {
    if !super::fault::is_empty(value) {
        object.set(&["metadata", "annotations", annotation], value.to_string());
    }
}

fn autoscaler_to_v1(object: &mut Object) {
    let list = |value: Option<Value>| match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let (cpu, others): (Vec<Value>, Vec<Value>) = list(object.remove(&["spec", "metrics"]))
        .into_iter()
        .partition(|metric| is_cpu(metric) && metric["resource"]["target"]["averageUtilization"].is_number());
    if let Some(target) = cpu.first().map(|metric| metric["resource"]["target"]["averageUtilization"].clone()) {
        object.set(&["spec", "targetCPUUtilizationPercentage"], target);
    }
    annotate(object, METRICS, &Value::Array(others));
    let behavior = object.remove(&["spec", "behavior"]).unwrap_or_default();
    annotate(object, BEHAVIOR, &behavior);
    let current = list(object.remove(&["status", "currentMetrics"]));
    let used = current
        .iter()
        .find(|metric| is_cpu(metric))
        .map(|metric| metric["resource"]["current"]["averageUtilization"].clone());
    if let Some(used) = used.filter(Value::is_number) {
        object.set(&["status", "currentCPUUtilizationPercentage"], used);
    }
    let others = current.into_iter().filter(|metric| !is_cpu(metric)).collect();
    annotate(object, CURRENT_METRICS, &Value::Array(others));
    let conditions = object.remove(&["status", "conditions"]).unwrap_or_default();
    annotate(object, CONDITIONS, &conditions);
}

fn autoscaler_from_v1(object: &mut Object) {
    let mut kept = |annotation: &str| -> Option<Value> {
        let text = object.remove(&["metadata", "annotations", annotation])?;
        serde_json::from_str(text.as_str()?).ok()
    };
    let (metrics, behavior) = (kept(METRICS), kept(BEHAVIOR));
    let (current, conditions) = (kept(CURRENT_METRICS), kept(CONDITIONS));
    let mut metrics = match metrics {
        Some(Value::Array(metrics)) => metrics,
        _ => Vec::new(),
    };
    if let Some(target) = object.remove(&["spec", "targetCPUUtilizationPercentage"]) {
        let target = json!({ "type": "Utilization", "averageUtilization": target });
        metrics.insert(0, json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } }));
    }
    if !metrics.is_empty() {
        object.set(&["spec", "metrics"], metrics);
    }
    let mut current = match current {
        Some(Value::Array(metrics)) => metrics,
        _ => Vec::new(),
    };
    if let Some(used) = object.remove(&["status", "currentCPUUtilizationPercentage"]) {
        let used = json!({ "averageUtilization": used, "averageValue": "0" });
        current.push(json!({ "type": "Resource", "resource": { "name": "cpu", "current": used } }));
    }
    if !current.is_empty() {
        object.set(&["status", "currentMetrics"], current);
    }
    for (field, value) in
        [("spec", behavior.map(|value| ("behavior", value))), ("status", conditions.map(|value| ("conditions", value)))]
    {
        if let Some((name, value)) = value {
            object.set(&[field, name], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(group: &str, version: &str, resource: &str, object: Value) {
        let kind = Catalog::builtin().by_path(group, version, resource).expect("a built-in kind");
        let mut object = Object::from_value(object).expect("an object");
        schema::complete(&kind, &mut object).expect("fits its type");
        let stored = to_storage(&kind, object.clone());
        assert_ne!(stored.type_meta(), object.type_meta());
        assert_eq!(from_storage(&kind, stored), object);
    }

    #[test]
    fn an_event_is_the_same_after_storage() {
        there_and_back(
            "events.k8s.io",
            "v1",
            "events",
            json!({"kind": "Event", "apiVersion": "events.k8s.io/v1", "metadata": {"name": "e"}, "note": "hello",
                "regarding": {"kind": "Pod", "name": "p"}, "reportingController": "c", "deprecatedCount": 3}),
        );
    }

    #[test]
    fn an_autoscaler_keeps_what_its_older_form_has_no_field_for() {
        there_and_back(
            "autoscaling",
            "v1",
            "horizontalpodautoscalers",
            json!({"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v1", "metadata": {"name": "a"},
                "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                    "targetCPUUtilizationPercentage": 70}}),
        );
    }
}
