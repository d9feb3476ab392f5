//! Workloads: what they select, how they are rolled out, and what stays once they run.

use serde_json::{Map, Value};

use super::super::check::check_labels;
use super::super::fault::{Faults, Site, is_empty};
use super::Run;
use crate::selector::{LabelSelectorSpec, label_key_fault, label_value_fault};

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("selects_template", selects_template),
    ("map_selects_template", map_selects_template),
    ("one_bound", one_bound),
    ("percent", percent),
    ("some_movement", some_movement),
    ("daemon_movement", daemon_movement),
    ("rollout", rollout),
    ("management_policy", management_policy),
    ("stateful_template", stateful_template),
    ("service_name", service_name),
    ("stateful_strategy", stateful_strategy),
    ("stateful_update", stateful_update),
    ("revision_data", revision_data),
    ("replica_status", replica_status),
    ("selector_given", selector_given),
    ("later_than_ready", later_than_ready),
];

/// A workload says what it selects, and does not select everything. (A daemon set may leave it out, and then selects
/// nothing.)
fn selector_given(site: &Site<'_>, faults: &mut Faults) {
    let empty =
        |field: &str| site.value.is_none_or(|selector| selector.get(field).is_none_or(super::super::fault::is_empty));
    match site.value.filter(|selector| !selector.is_null()) {
        None if site.root_kind == "DaemonSet" => {}
        None => faults.required(&site.path(), ""),
        Some(selector) if empty("matchLabels") && empty("matchExpressions") => {
            let kind = match site.root_kind {
                "DaemonSet" => "daemonset",
                "StatefulSet" => "statefulset",
                _ => "deployment",
            };
            faults.invalid(&site.path(), selector, &format!("empty selector is invalid for {kind}"));
        }
        Some(_) => {}
    }
}

/// A budget says how many pods must be there, or how many may be missing. Stands at the spec.
fn one_bound(site: &Site<'_>, faults: &mut Faults) {
    let (Some(least), Some(most)) = (site.map.get("minAvailable"), site.map.get("maxUnavailable")) else { return };
    let selector = site.map.get("selector").map_or_else(|| "null".to_owned(), shown_selector);
    let policy = site.map.get("unhealthyPodEvictionPolicy").unwrap_or(&Value::Null);
    let shown = format!(
        "{{\"MinAvailable\":{least},\"Selector\":{selector},\"MaxUnavailable\":{most},\
         \"UnhealthyPodEvictionPolicy\":{policy}}}"
    );
    faults.invalid_text(&site.path(), &shown, "minAvailable and maxUnavailable cannot be both set");
}

/// Whoever waits for progress waits longer than a pod takes to count as available.
fn later_than_ready(site: &Site<'_>, faults: &mut Faults) {
    let ready = site.map.get("minReadySeconds").and_then(Value::as_i64).unwrap_or_default();
    if let Some(seconds) = site.value.filter(|seconds| seconds.as_i64().is_some_and(|seconds| seconds <= ready)) {
        faults.invalid(&site.path(), seconds, "must be greater than minReadySeconds");
    }
}

pub(super) const NO_MATCH: &str = "`selector` does not match template `labels`";

pub(super) fn template_labels(spec: &Map<String, Value>) -> Option<&Value> {
    spec.get("template").and_then(|template| template.pointer("/metadata/labels"))
}

/// Whether a selector selects the labels; none selects nothing.
pub(super) fn selects(selector: Option<&Value>, labels: Option<&Value>) -> bool {
    let spec: Option<LabelSelectorSpec> = selector.and_then(|selector| serde_json::from_value(selector.clone()).ok());
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    spec.and_then(|spec| spec.selector().ok()).is_some_and(|selector| selector.matches(label))
}

/// Whether a selector can be evaluated at all: its keys are names, its values labels, its operators known.
pub(super) fn is_evaluable(selector: Option<&Value>) -> bool {
    let Some(selector) = selector.filter(|selector| !selector.is_null()) else { return true };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_key = |key: &str| label_key_fault(key).is_none();
    let is_value = |value: &Value| label_value_fault(&text(value)).is_none();
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let wanted = selector["matchExpressions"].as_array().into_iter().flatten();
    let spec = serde_json::from_value::<LabelSelectorSpec>(selector.clone());
    let is_known = |wanted: &Value| match wanted["operator"].as_str() {
        Some("In" | "NotIn") => true,
        Some("Exists" | "DoesNotExist") => is_empty(&wanted["values"]),
        _ => false,
    };
    spec.is_ok_and(|spec| spec.selector().is_ok())
        && labels.into_iter().all(|(key, value)| is_key(key) && is_value(value))
        && wanted.into_iter().all(|wanted| {
            is_known(wanted)
                && is_key(&text(&wanted["key"]))
                && wanted["values"].as_array().into_iter().flatten().all(is_value)
        })
}

/// A selector of labels, as messages show it.
pub(in crate::rules) fn shown_selector(selector: &Value) -> String {
    let labels = selector.get("matchLabels").filter(|labels| !is_empty(labels));
    let labels = labels.map(|labels| format!("\"matchLabels\":{labels}"));
    let expressions = selector["matchExpressions"].as_array().filter(|list| !list.is_empty());
    let expressions = expressions.map(|list| {
        let shown = list.iter().map(|one| {
            let text = |field: &str| Value::from(one[field].as_str().unwrap_or_default());
            let values = one.get("values").filter(|values| !is_empty(values));
            let values = values.map_or_else(String::new, |values| format!(",\"values\":{values}"));
            format!("{{\"key\":{},\"operator\":{}{values}}}", text("key"), text("operator"))
        });
        format!("\"matchExpressions\":[{}]", shown.collect::<Vec<_>>().join(","))
    });
    let parts: Vec<String> = labels.into_iter().chain(expressions).collect();
    format!("{{{}}}", parts.join(","))
}

/// A workload's selector selects the pods of its template. Stands at the spec.
fn selects_template(site: &Site<'_>, faults: &mut Faults) {
    let labels = template_labels(site.map);
    let selector = site.map.get("selector").filter(|selector| !selector.is_null());
    if !is_evaluable(selector) {
        let shown = selector.map_or_else(|| "null".to_owned(), shown_selector);
        return match site.root_kind {
            "DaemonSet" => {}
            "StatefulSet" => faults.invalid_text(&site.sub("selector"), &shown, ""),
            _ => faults.invalid_text(&site.sub("selector"), &shown, "invalid label selector"),
        };
    }
    let all =
        selector.is_some_and(|selector| ["matchLabels", "matchExpressions"].iter().all(|of| is_empty(&selector[*of])));
    let fits = selects(selector, labels) || all && site.root_kind == "StatefulSet";
    if !fits {
        faults.invalid(&site.sub("template.metadata.labels"), labels.unwrap_or(&Value::Null), NO_MATCH);
    }
}

/// As `selects_template`, for a selector that is a map of labels.
fn map_selects_template(site: &Site<'_>, faults: &mut Faults) {
    let labels = template_labels(site.map);
    let wanted = site.map.get("selector").and_then(Value::as_object);
    let fits = wanted.is_some_and(|wanted| {
        wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    });
    if wanted.is_some_and(|wanted| !wanted.is_empty()) && !fits {
        faults.invalid(&site.sub("template.metadata.labels"), labels.unwrap_or(&Value::Null), NO_MATCH);
    }
}

fn percent(site: &Site<'_>, faults: &mut Faults) {
    match site.value {
        Some(value @ Value::String(text)) => {
            let number = text.strip_suffix('%').and_then(|number| number.parse::<u32>().ok());
            match number {
                None => {
                    let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  \
                               or '93%', regex used for validation is '[0-9]+%')";
                    faults.invalid(&site.path(), value, why);
                }
                Some(number)
                    if number > 100 && !(site.field.ends_with("maxSurge") && site.root_kind == "Deployment") =>
                {
                    faults.invalid(&site.path(), value, "must not be greater than 100%");
                }
                Some(_) => {}
            }
        }
        Some(value @ Value::Number(number)) if number.as_i64().is_some_and(|number| number < 0) => {
            faults.invalid(&site.path(), value, "must be greater than or equal to 0");
        }
        _ => {}
    }
}

fn is_none(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        // What is no number counts as none.
        Some(Value::String(text)) => text.trim_end_matches('%').parse::<u32>().unwrap_or_default() == 0,
        _ => true,
    }
}

fn some_movement(site: &Site<'_>, faults: &mut Faults) {
    if is_none(site.map.get("maxUnavailable")) && is_none(site.map.get("maxSurge")) {
        let sent = site.value.cloned().unwrap_or_else(|| Value::from(0));
        faults.invalid(&site.path(), &sent, "may not be 0 when `maxSurge` is 0");
    }
}

fn daemon_movement(site: &Site<'_>, faults: &mut Faults) {
    match (is_none(site.map.get("maxUnavailable")), is_none(site.map.get("maxSurge"))) {
        (true, true) => faults.required(&site.path(), "cannot be 0 when maxSurge is 0"),
        (false, false) => {
            let path = site.path().replace("maxUnavailable", "maxSurge");
            let sent = site.map.get("maxSurge").cloned().unwrap_or_default();
            faults.invalid(&path, &sent, "may not be set when maxUnavailable is non-zero");
        }
        _ => {}
    }
}

fn strategy_type<'a>(site: &Site<'a>) -> Option<&'a str> {
    site.map.get("updateStrategy").and_then(|strategy| strategy["type"].as_str())
}

/// How a deployment or a daemon set is rolled out. A way that nobody knows is told with all that was said of it.
fn rollout(site: &Site<'_>, faults: &mut Faults) {
    let daemons = ["RollingUpdate", "OnDelete"];
    let known = if site.root_kind == "DaemonSet" { daemons } else { ["Recreate", "RollingUpdate"] };
    let Some(strategy) = site.value.filter(|strategy| strategy["type"].is_string()) else { return };
    if !known.iter().any(|known| strategy["type"] == *known) {
        let rolling = match &strategy["rollingUpdate"] {
            Value::Null => "null".to_owned(),
            by => format!("{{\"MaxUnavailable\":{},\"MaxSurge\":{}}}", by["maxUnavailable"], by["maxSurge"]),
        };
        let shown = format!("{{\"Type\":{},\"RollingUpdate\":{rolling}}}", strategy["type"]);
        faults.not_supported_text(&site.path(), &shown, &known);
    }
}

fn management_policy(site: &Site<'_>, faults: &mut Faults) {
    let policy = site.value_text();
    if !matches!(policy, "OrderedReady" | "Parallel") {
        faults.invalid(&site.path(), &Value::from(policy), "must be 'OrderedReady' or 'Parallel'");
    }
}

fn stateful_strategy(site: &Site<'_>, faults: &mut Faults) {
    if strategy_type(site).is_some_and(|kind| !matches!(kind, "RollingUpdate" | "OnDelete")) {
        let sent = site.map.get("updateStrategy").unwrap_or(&Value::Null);
        let rolling = match &sent["rollingUpdate"] {
            Value::Null => "null".to_owned(),
            by => format!("{{\"Partition\":{},\"MaxUnavailable\":{}}}", by["partition"], by["maxUnavailable"]),
        };
        let shown = format!("{{\"Type\":{},\"RollingUpdate\":{rolling}}}", sent["type"]);
        faults.invalid_text(&site.sub("updateStrategy"), &shown, "must be 'RollingUpdate' or 'OnDelete'");
    }
    let rolling = site.map.get("updateStrategy").map(|strategy| &strategy["rollingUpdate"]);
    if let Some(rolling) = rolling.filter(|rolling| !rolling.is_null() && strategy_type(site) == Some("OnDelete")) {
        let why = "only allowed for updateStrategy 'RollingUpdate'";
        let shown =
            format!("{{\"Partition\":{},\"MaxUnavailable\":{}}}", rolling["partition"], rolling["maxUnavailable"]);
        faults.invalid_text(&site.sub("updateStrategy.rollingUpdate"), &shown, why);
    }
}

/// The name of the service that governs a stateful set. An update keeps it, whatever it is.
fn service_name(site: &Site<'_>, faults: &mut Faults) {
    let name = site.value_text();
    for fault in crate::name::label_faults(name).into_iter().filter(|_| !site.updates && !name.is_empty()) {
        faults.invalid(&site.path(), &Value::from(name), &fault);
    }
}

/// Labels and annotations of a stateful set's template are looked at twice, and told of as if they were the template's
/// own. Stands at the template.
fn stateful_template(site: &Site<'_>, faults: &mut Faults) {
    let Some(metadata) = site.value.and_then(|template| template["metadata"].as_object()) else { return };
    if let Some(labels) = metadata.get("labels").and_then(Value::as_object) {
        check_labels(faults, &site.sub("labels"), labels);
    }
    if let Some(annotations) = metadata.get("annotations").and_then(Value::as_object) {
        let spec = site.value.map(|template| &template["spec"]);
        super::pods::annotation_keys(faults, &site.sub("annotations"), annotations);
        super::pods::own_annotations(faults, &site.sub("annotations"), annotations, spec);
    }
}

fn stateful_update(site: &Site<'_>, faults: &mut Faults) {
    const FREE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    const WHY: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                       'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                       'minReadySeconds' are forbidden";
    let fixed = |spec: Option<&Value>| -> Vec<(String, Value)> {
        let fields = spec.and_then(Value::as_object).into_iter().flatten();
        let fields = fields.filter(|(field, _)| !FREE.contains(&field.as_str()));
        fields.map(|(field, value)| (field.clone(), value.clone())).collect()
    };
    if site.updates && fixed(site.old) != fixed(site.value) {
        faults.forbidden(&site.path(), WHY);
    }
}

fn revision_data(site: &Site<'_>, faults: &mut Faults) {
    match (site.value.filter(|data| !data.is_null()), site.updates) {
        (None, true) => faults.invalid(&site.path(), &Value::Null, "field is immutable"),
        (None, false) => faults.required(&site.path(), "data is mandatory"),
        (Some(data), false) if !data.is_object() => {
            faults.required(&site.path(), "data must be a valid JSON object");
        }
        (Some(data), true) if site.old != Some(data) => faults.invalid(&site.path(), data, "field is immutable"),
        _ => {}
    }
}

/// Counts of a status are not negative, and none is greater than that of all; that of collisions only grows.
fn replica_status(site: &Site<'_>, faults: &mut Faults) {
    const COUNTS: [(&str, &str); 7] = [
        ("updatedReplicas", "DeploymentStatefulSet"),
        ("readyReplicas", "DeploymentStatefulSetReplicaSetReplicationController"),
        ("availableReplicas", "DeploymentStatefulSetReplicaSetReplicationController"),
        ("unavailableReplicas", ""),
        ("terminatingReplicas", ""),
        ("currentReplicas", "StatefulSet"),
        ("fullyLabeledReplicas", "ReplicaSetReplicationController"),
    ];
    let Some(Value::Object(status)) = site.value else { return };
    if !site.updates {
        return;
    }
    let count = |field: &str| status.get(field).and_then(Value::as_i64).unwrap_or_default();
    let total = count("replicas");
    for field in std::iter::once("replicas").chain(COUNTS.map(|(field, _)| field)) {
        if count(field) < 0 {
            faults.invalid(&site.sub(field), &Value::from(count(field)), "must be greater than or equal to 0");
        }
    }
    for (field, kinds) in COUNTS {
        if kinds.contains(site.root_kind) && count(field) > total {
            faults.invalid(&site.sub(field), &Value::from(count(field)), "cannot be greater than status.replicas");
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        let (path, found) = (site.sub("availableReplicas"), Value::from(count("availableReplicas")));
        let of = if site.root_kind == "StatefulSet" { "status." } else { "" };
        faults.invalid(&path, &found, &format!("cannot be greater than {of}readyReplicas"));
    }
    let collisions = |status: Option<&Value>| status?.get("collisionCount")?.as_i64();
    let (before, now) = (collisions(site.old), collisions(site.value));
    if before.is_some_and(|before| now.is_none_or(|now| now < before)) {
        faults.invalid(&site.sub("collisionCount"), &Value::from(now.unwrap_or(0)), "cannot be decremented");
    }
}
