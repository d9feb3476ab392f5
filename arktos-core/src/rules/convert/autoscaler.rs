//! Horizontal pod autoscalers: stored in `v2`, shown in `v1`, which keeps what it has no fields for in annotations.
//!
//! What stands in those is written as `v1` says it, field by field in upstream's order: clients read it, and compare
//! texts. The behavior alone is written as upstream has it in memory.

use serde_json::{Map, Value, json};

use crate::object::Object;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
/// All annotations that no more than stand for a field of `v2`.
const ANNOTATIONS: [&str; 6] = [
    METRICS,
    CURRENT_METRICS,
    CONDITIONS,
    BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

/// How much of its CPU a pod may use where an autoscaler of `v1` does not say what it looks at.
const DEFAULT_CPU: i64 = 80;

/// A field of what an annotation says: its name there, its path in `v2`, and what is written where it is not set, if
/// anything is.
type Field = (&'static str, &'static [&'static str], Option<&'static str>);

const NOTHING: Option<&str> = Some("\"\"");
const ZERO: Option<&str> = Some("\"0\"");
const NULL: Option<&str> = Some("null");

/// What a metric is about, by its source: as it is asked for, and as it was last seen.
const ASKED: [(&str, &[Field]); 5] = [
    (
        "object",
        &[
            ("target", &["describedObject"], Some(r#"{"kind":"","name":""}"#)),
            ("metricName", &["metric", "name"], NOTHING),
            ("targetValue", &["target", "value"], ZERO),
            ("selector", &["metric", "selector"], None),
            ("averageValue", &["target", "averageValue"], None),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"], NOTHING),
            ("targetAverageValue", &["target", "averageValue"], ZERO),
            ("selector", &["metric", "selector"], None),
        ],
    ),
    (
        "resource",
        &[
            ("name", &["name"], NOTHING),
            ("targetAverageUtilization", &["target", "averageUtilization"], None),
            ("targetAverageValue", &["target", "averageValue"], None),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", &["name"], NOTHING),
            ("targetAverageUtilization", &["target", "averageUtilization"], None),
            ("targetAverageValue", &["target", "averageValue"], None),
            ("container", &["container"], NOTHING),
        ],
    ),
    (
        "external",
        &[
            ("metricName", &["metric", "name"], NOTHING),
            ("metricSelector", &["metric", "selector"], None),
            ("targetValue", &["target", "value"], None),
            ("targetAverageValue", &["target", "averageValue"], None),
        ],
    ),
];
const SEEN: [(&str, &[Field]); 5] = [
    (
        "object",
        &[
            ("target", &["describedObject"], Some(r#"{"kind":"","name":""}"#)),
            ("metricName", &["metric", "name"], NOTHING),
            ("currentValue", &["current", "value"], ZERO),
            ("selector", &["metric", "selector"], None),
            ("averageValue", &["current", "averageValue"], None),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"], NOTHING),
            ("currentAverageValue", &["current", "averageValue"], ZERO),
            ("selector", &["metric", "selector"], None),
        ],
    ),
    (
        "resource",
        &[
            ("name", &["name"], NOTHING),
            ("currentAverageUtilization", &["current", "averageUtilization"], None),
            ("currentAverageValue", &["current", "averageValue"], ZERO),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", &["name"], NOTHING),
            ("currentAverageUtilization", &["current", "averageUtilization"], None),
            ("currentAverageValue", &["current", "averageValue"], ZERO),
            ("container", &["container"], NOTHING),
        ],
    ),
    (
        "external",
        &[
            ("metricName", &["metric", "name"], NOTHING),
            ("metricSelector", &["metric", "selector"], None),
            ("currentValue", &["current", "value"], ZERO),
            ("currentAverageValue", &["current", "averageValue"], None),
        ],
    ),
];
const CONDITION: &[Field] = &[
    ("type", &["type"], NOTHING),
    ("status", &["status"], NOTHING),
    ("lastTransitionTime", &["lastTransitionTime"], NULL),
    ("reason", &["reason"], None),
    ("message", &["message"], None),
];
const BEHAVIORS: [(&str, &str); 2] = [("ScaleUp", "scaleUp"), ("ScaleDown", "scaleDown")];
const RULES: &[Field] = &[
    ("StabilizationWindowSeconds", &["stabilizationWindowSeconds"], NULL),
    ("SelectPolicy", &["selectPolicy"], NULL),
    ("Policies", &["policies"], NULL),
    ("Tolerance", &["tolerance"], NULL),
];
const POLICY: &[Field] =
    &[("Type", &["type"], NOTHING), ("Value", &["value"], Some("0")), ("PeriodSeconds", &["periodSeconds"], Some("0"))];

/// The fields of objects within, which are written in upstream's order as well.
const ORDER: [&str; 5] = ["kind", "name", "apiVersion", "matchLabels", "matchExpressions"];

/// A value as a text, as Go writes it.
fn text(name: &str, value: &Value) -> String {
    match value {
        Value::Object(fields) if matches!(name, "target" | "selector" | "metricSelector") => {
            let place = |name: &&String| ORDER.iter().position(|known| known == name);
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_by_key(place);
            let one = |name: &String| fields.get(name).map(|value| format!("{}:{}", json!(name), text("", value)));
            format!("{{{}}}", names.into_iter().filter_map(one).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) if name == "Policies" => listed(items, |policy| said(policy, POLICY)),
        value => value.to_string().replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e"),
    }
}

fn listed(items: &[Value], one: impl Fn(&Value) -> String) -> String {
    format!("[{}]", items.iter().map(one).collect::<Vec<_>>().join(","))
}

/// What is set at a path of field names.
fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name)).filter(|value| !value.is_null())
}

fn said(value: &Value, fields: &[Field]) -> String {
    let one = |(name, path, unset): &Field| {
        let written = at(value, path).map(|value| text(name, value)).or_else(|| unset.map(str::to_owned))?;
        Some(format!("\"{name}\":{written}"))
    };
    format!("{{{}}}", fields.iter().filter_map(one).collect::<Vec<_>>().join(","))
}

fn said_metric(metric: &Value, sources: &[(&str, &[Field])]) -> String {
    let mut parts = vec![format!("\"type\":{}", metric.get("type").unwrap_or(&json!("")))];
    for (source, fields) in sources {
        if let Some(value) = at(metric, &[source]) {
            parts.push(format!("\"{source}\":{}", said(value, fields)));
        }
    }
    format!("{{{}}}", parts.join(","))
}

/// What an annotation says, in the words of `v2`.
fn heard(said: &Value, fields: &[Field]) -> Value {
    let mut value = Map::new();
    for (name, path, unset) in fields {
        let found = said.get(*name).filter(|found| !found.is_null()).cloned();
        let Some(found) = found.or_else(|| unset.and_then(|unset| serde_json::from_str(unset).ok())) else { continue };
        match path {
            [] => {}
            [field] => drop(value.insert((*field).to_owned(), found)),
            [parent, field, ..] => {
                let parent = value.entry(*parent).or_insert_with(|| json!({}));
                parent[*field] = found;
            }
        }
    }
    Value::Object(value)
}

fn heard_metric(said: &Value, sources: &[(&str, &[Field])]) -> Value {
    let mut metric = json!({ "type": said.get("type").cloned().unwrap_or_default() });
    for (source, fields) in sources {
        if let Some(found) = at(said, &[source]) {
            metric[*source] = heard(found, fields);
        }
    }
    metric
}

/// Says of a target what sort it is, which `v1` does not: the field that it has tells.
fn name_target(metric: &mut Value) {
    for source in ["object", "pods", "resource", "containerResource", "external"] {
        let Some(found) = metric.get_mut(source) else { continue };
        let target = found.as_object_mut().map(|found| found.entry("target").or_insert_with(|| json!({})));
        let Some(target) = target else { continue };
        let has = |field: &str| target.get(field).is_some();
        let sort = match source {
            "object" if !has("averageValue") => "Value",
            "external" if has("value") => "Value",
            "resource" | "containerResource" if has("averageUtilization") => "Utilization",
            _ => "AverageValue",
        };
        if sort == "AverageValue"
            && source == "object"
            && target["value"] == "0"
            && let Some(fields) = target.as_object_mut()
        {
            fields.remove("value"); // written because `v1` cannot leave it out
        }
        target["type"] = Value::from(sort);
    }
}

/// Whether a metric is the one that `v1` has a field for.
fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn taken(object: &mut Object, path: &[&str]) -> Vec<Value> {
    match object.remove(path) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn drop_annotations(object: &mut Object) {
    for annotation in ANNOTATIONS {
        object.remove(&["metadata", "annotations", annotation]);
    }
    if object.at(&["metadata", "annotations"]).and_then(Value::as_object).is_some_and(Map::is_empty) {
        object.remove(&["metadata", "annotations"]);
    }
}

/// From `v2`.
pub(super) fn to_v1(object: &mut Object) {
    drop_annotations(object);
    let uses = |metric: &Value, field: &str| metric["resource"][field]["averageUtilization"].clone();
    let (cpu, others): (Vec<Value>, Vec<Value>) = taken(object, &["spec", "metrics"])
        .into_iter()
        .partition(|metric| is_cpu(metric) && uses(metric, "target").is_number());
    if let Some(metric) = cpu.first() {
        object.set(&["spec", "targetCPUUtilizationPercentage"], uses(metric, "target"));
    }
    if !others.is_empty() {
        let text = listed(&others, |metric| said_metric(metric, &ASKED));
        object.set(&["metadata", "annotations", METRICS], text);
    }
    let current = taken(object, &["status", "currentMetrics"]);
    if let Some(used) = current.iter().filter(|metric| is_cpu(metric)).map(|metric| uses(metric, "current")).next_back()
        && used.is_number()
    {
        object.set(&["status", "currentCPUUtilizationPercentage"], used);
    }
    if !current.is_empty() {
        let text = listed(&current, |metric| said_metric(metric, &SEEN));
        object.set(&["metadata", "annotations", CURRENT_METRICS], text);
    }
    if let Some(behavior) = object.remove(&["spec", "behavior"]).filter(Value::is_object) {
        let rules = |(name, field): &(&str, &str)| {
            let rules = at(&behavior, &[field]).map_or_else(|| "null".to_owned(), |rules| said(rules, RULES));
            format!("\"{name}\":{rules}")
        };
        let text = BEHAVIORS.iter().map(rules).collect::<Vec<_>>().join(",");
        object.set(&["metadata", "annotations", BEHAVIOR], format!("{{{text}}}"));
    }
    let conditions = taken(object, &["status", "conditions"]);
    if !conditions.is_empty() {
        let text = listed(&conditions, |condition| said(condition, CONDITION));
        object.set(&["metadata", "annotations", CONDITIONS], text);
    }
}

/// To `v2`.
pub(super) fn from_v1(object: &mut Object) {
    let kept = |annotation: &str| -> Option<Value> {
        serde_json::from_str(object.at(&["metadata", "annotations", annotation])?.as_str()?).ok()
    };
    let list = |value: Option<Value>| match value {
        Some(Value::Array(items)) => Some(items),
        _ => None,
    };
    let (asked, seen, conditions) = (list(kept(METRICS)), list(kept(CURRENT_METRICS)), list(kept(CONDITIONS)));
    let behavior = kept(BEHAVIOR).filter(Value::is_object);
    drop_annotations(object);
    let mut metrics: Vec<Value> = asked.into_iter().flatten().map(|metric| heard_metric(&metric, &ASKED)).collect();
    metrics.iter_mut().for_each(name_target);
    let target = object.remove(&["spec", "targetCPUUtilizationPercentage"]).filter(Value::is_number);
    if let Some(target) = target.or_else(|| metrics.is_empty().then(|| Value::from(DEFAULT_CPU))) {
        let target = json!({ "type": "Utilization", "averageUtilization": target });
        metrics.push(json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } }));
    }
    object.set(&["spec", "metrics"], metrics);
    let used = object.remove(&["status", "currentCPUUtilizationPercentage"]).filter(Value::is_number);
    let current: Vec<Value> = match seen {
        Some(seen) => seen.iter().map(|metric| heard_metric(metric, &SEEN)).collect(),
        None => used.map(cpu_used).into_iter().collect(),
    };
    if !current.is_empty() {
        object.set(&["status", "currentMetrics"], current);
    }
    if let Some(behavior) = behavior {
        let mut rules = Map::new();
        for (name, field) in BEHAVIORS {
            if let Some(found) = either(&behavior, name, field) {
                rules.insert(field.to_owned(), heard_rules(found));
            }
        }
        if !rules.is_empty() {
            object.set(&["spec", "behavior"], rules);
        }
    }
    if let Some(conditions) = conditions.filter(|conditions| !conditions.is_empty()) {
        let all: Vec<Value> = conditions.iter().map(|condition| heard(condition, CONDITION)).collect();
        object.set(&["status", "conditions"], all);
    }
}

fn cpu_used(used: Value) -> Value {
    let current = json!({ "averageUtilization": used });
    json!({ "type": "Resource", "resource": { "name": "cpu", "current": current } })
}

/// A field, whichever way its name begins: Go reads both.
fn either<'a>(value: &'a Value, name: &str, field: &str) -> Option<&'a Value> {
    at(value, &[name]).or_else(|| at(value, &[field]))
}

fn heard_rules(said: &Value) -> Value {
    let mut rules = Map::new();
    for (name, path, _) in RULES {
        let field = path.first().copied().unwrap_or_default();
        let Some(found) = either(said, name, field) else { continue };
        let value = match found {
            Value::Array(policies) => policies.iter().map(heard_policy).collect(),
            found => found.clone(),
        };
        rules.insert(field.to_owned(), value);
    }
    Value::Object(rules)
}

fn heard_policy(said: &Value) -> Value {
    let one = |(name, path, _): &Field| {
        let field = path.first().copied().unwrap_or_default();
        either(said, name, field).map(|found| (field.to_owned(), found.clone()))
    };
    Value::Object(POLICY.iter().filter_map(one).collect())
}
