//! Between the versions of a kind: objects are stored in one, and shown in each.
//!
//! Objects of custom kinds are the same in all versions but for what a version's schema does not know. Two built-in
//! resources have more than one form: events (stored as core events, shown by `events.k8s.io` as well) and
//! horizontal pod autoscalers (stored in `v2`, shown in `v1`, which keeps what it has no fields for in annotations).
//! Versions that only Arktos's own clients ask for are in `old`.

mod autoscaler;
mod old;

use serde_json::{Map, Value};

use super::hooks::TEMPLATE_GENERATION;
use crate::catalog::{Catalog, Kind};
use crate::custom;
use crate::encoded::Encoded;
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

/// A stored object of a built-in kind without what is no metadata of its own, but written among it in whole objects
/// alone; absent where there is no such thing.
#[must_use]
pub fn for_metadata(kind: &Kind, stored: &Encoded) -> Option<Object> {
    if kind.storage_resource.as_str() != "daemonsets.apps" {
        return None;
    }
    let mut object = stored.decode(None).ok()?;
    object.remove(&["metadata", "annotations", TEMPLATE_GENERATION])?;
    if object.at(&["metadata", "annotations"]).and_then(Value::as_object).is_some_and(Map::is_empty) {
        object.remove(&["metadata", "annotations"]);
    }
    Some(object)
}

fn convert(from: &Kind, to: &Kind, mut object: Object) -> Object {
    match (from.group.as_str(), to.group.as_str(), to.version.as_str()) {
        ("", "events.k8s.io", _) => rename(&mut object.fields, |(core, new)| (core, new)),
        ("events.k8s.io", "", _) => rename(&mut object.fields, |(core, new)| (new, core)),
        ("autoscaling", _, "v1") => autoscaler::to_v1(&mut object),
        ("autoscaling", _, _) => autoscaler::from_v1(&mut object),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    /// What `v1` shows of an autoscaler that is stored in `v2`.
    fn in_v1(spec: Value, status: Value) -> (Value, Object) {
        let catalog = Catalog::builtin();
        let of = |version| catalog.by_path("autoscaling", version, "horizontalpodautoscalers").expect("built in");
        let object = json!({"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2",
            "metadata": {"name": "a"}, "spec": spec, "status": status});
        let mut object = Object::from_value(object).expect("an object");
        schema::complete(&of("v2"), &mut object).expect("fits its type");
        let shown = from_storage(&of("v1"), object.clone());
        assert_eq!(to_storage(&of("v1"), shown.clone()), object, "the same again");
        (shown.at(&["metadata", "annotations"]).cloned().unwrap_or_default(), shown)
    }

    #[test]
    fn what_older_autoscalers_have_no_field_for_is_said_as_upstream_says_it() {
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 70}}});
        let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "metrics": [
            {"type": "Object", "object": {"describedObject": {"apiVersion": "v1", "kind": "Service", "name": "s"},
                "metric": {"name": "hits", "selector": {"matchLabels": {"a": "b"}}},
                "target": {"type": "Value", "value": "100"}}},
            {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "main",
                "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
            {"type": "External", "external": {"metric": {"name": "queue"},
                "target": {"type": "AverageValue", "averageValue": "5"}}},
            cpu,
        ], "behavior": {"scaleDown": {"selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}});
        let status = json!({"desiredReplicas": 2, "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
            "current": {"averageUtilization": 30, "averageValue": "20m"}}}],
            "conditions": [{"type": "AbleToScale", "status": "True", "reason": "a<b",
                "lastTransitionTime": "2026-07-01T12:00:00Z"}]});
        let (annotations, shown) = in_v1(spec, status);
        let said = |name: &str| annotations[format!("autoscaling.alpha.kubernetes.io/{name}")].clone();
        let metrics = [
            r#"{"type":"Object","object":{"target":{"kind":"Service","name":"s","apiVersion":"v1"},"#,
            r#""metricName":"hits","targetValue":"100","selector":{"matchLabels":{"a":"b"}}}},"#,
            r#"{"type":"ContainerResource","containerResource":{"name":"memory","targetAverageValue":"1Gi","#,
            r#""container":"main"}},"#,
            r#"{"type":"External","external":{"metricName":"queue","targetAverageValue":"5"}}"#,
        ];
        assert_eq!(said("metrics"), format!("[{}]", metrics.concat()));
        let seen = [
            r#"[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":30,"#,
            r#""currentAverageValue":"20m"}}]"#,
        ];
        assert_eq!(said("current-metrics"), seen.concat());
        let behavior = [
            r#"{"ScaleUp":{"StabilizationWindowSeconds":0,"SelectPolicy":"Max","Policies":[{"Type":"Pods","Value":4,"#,
            r#""PeriodSeconds":15},{"Type":"Percent","Value":100,"PeriodSeconds":15}],"Tolerance":null},"#,
            r#""ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Max","#,
            r#""Policies":[{"Type":"Pods","Value":1,"PeriodSeconds":60}],"Tolerance":null}}"#,
        ];
        assert_eq!(said("behavior"), behavior.concat());
        let conditions = [
            r#"[{"type":"AbleToScale","status":"True","lastTransitionTime":"2026-07-01T12:00:00Z","#,
            r#""reason":"a\u003cb"}]"#,
        ];
        assert_eq!(said("conditions"), conditions.concat());
        assert_eq!(shown.at(&["spec", "targetCPUUtilizationPercentage"]), Some(&json!(70)));
        assert_eq!(shown.at(&["status", "currentCPUUtilizationPercentage"]), Some(&json!(30)));
    }

    #[test]
    fn an_older_autoscaler_that_says_nothing_looks_at_the_cpu() {
        let kind = Catalog::builtin().by_path("autoscaling", "v1", "horizontalpodautoscalers").expect("built in");
        let object = json!({"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v1",
            "metadata": {"name": "a"}, "spec": {"maxReplicas": 3}, "status": {"currentCPUUtilizationPercentage": 30}});
        let stored = to_storage(&kind, Object::from_value(object).expect("an object"));
        let target = stored.at(&["spec", "metrics"]).map(|metrics| metrics[0]["resource"]["target"].clone());
        assert_eq!(target, Some(json!({"type": "Utilization", "averageUtilization": 80})));
        let current = stored.at(&["status", "currentMetrics"]).map(|all| all[0]["resource"]["current"].clone());
        assert_eq!(current, Some(json!({"averageUtilization": 30})));
    }

    #[test]
    fn the_metadata_of_a_daemon_set_does_not_count_its_templates() {
        let kind = Catalog::builtin().by_path("apps", "v1", "daemonsets").expect("built in");
        let shown = |annotations: Value| {
            let object = json!({"metadata": {"name": "a", "annotations": annotations}});
            let stored = kind.encode(&Object::from_value(object).expect("an object")).expect("encodes");
            let object = for_metadata(&kind, &stored)?;
            Some(object.at(&["metadata", "annotations"]).cloned())
        };
        assert_eq!(shown(json!({TEMPLATE_GENERATION: "1", "a": "b"})), Some(Some(json!({"a": "b"}))));
        assert_eq!(shown(json!({TEMPLATE_GENERATION: "1"})), Some(None));
        assert_eq!(shown(json!({"a": "b"})), None);
    }
}
