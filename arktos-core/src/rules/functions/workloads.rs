//! Workloads: what they select, how they are rolled out, and what stays once they run.

use serde_json::{Map, Value};

use super::super::fault::{Faults, Site};
use super::Run;
use crate::selector::LabelSelectorSpec;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("selects_template", selects_template),
    ("map_selects_template", map_selects_template),
    ("percent", percent),
    ("some_movement", some_movement),
    ("daemon_movement", daemon_movement),
    ("rollout", rollout),
    ("management_policy", management_policy),
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
fn is_evaluable(selector: Option<&Value>) -> bool {
    let spec = selector.filter(|selector| !selector.is_null());
    let spec = spec.map(|selector| serde_json::from_value::<LabelSelectorSpec>(selector.clone()));
    spec.is_none_or(|spec| spec.is_ok_and(|spec| spec.selector().is_ok()))
}

/// A workload's selector selects the pods of its template. Stands at the spec.
fn selects_template(site: &Site<'_>, faults: &mut Faults) {
    let labels = template_labels(site.map);
    let selector = site.map.get("selector");
    if !is_evaluable(selector) {
        let shown = selector.unwrap_or(&Value::Null);
        return match site.root_kind {
            "DaemonSet" => {}
            "StatefulSet" => faults.invalid(&site.sub("selector"), shown, ""),
            _ => faults.invalid(&site.sub("selector"), shown, "invalid label selector"),
        };
    }
    if !selects(site.map.get("selector"), labels) {
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
                Some(number) if number > 100 && !site.field.ends_with("maxSurge") => {
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
        Some(Value::String(text)) => text.trim_end_matches('%').parse::<u32>() == Ok(0),
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
        let sent = site.map.get("updateStrategy").cloned().unwrap_or_default();
        faults.invalid(&site.sub("updateStrategy"), &sent, "must be 'RollingUpdate' or 'OnDelete'");
    }
    let rolling = site.map.get("updateStrategy").map(|strategy| &strategy["rollingUpdate"]);
    if let Some(rolling) = rolling.filter(|rolling| !rolling.is_null() && strategy_type(site) == Some("OnDelete")) {
        let why = "only allowed for updateStrategy 'RollingUpdate'";
        faults.invalid(&site.sub("updateStrategy.rollingUpdate"), rolling, why);
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
        (None, _) => faults.required(&site.path(), "data is mandatory"),
        (Some(data), true) if site.old != Some(data) => faults.invalid(&site.path(), data, "field is immutable"),
        _ => {}
    }
}

/// Counts of a status are not negative, and none is greater than that of all.
fn replica_status(site: &Site<'_>, faults: &mut Faults) {
    const COUNTS: [(&str, &str); 6] = [
        ("updatedReplicas", "DeploymentStatefulSet"),
        ("readyReplicas", "DeploymentStatefulSetReplicaSetReplicationController"),
        ("availableReplicas", "DeploymentStatefulSetReplicaSetReplicationController"),
        ("unavailableReplicas", ""),
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
        let path = site.sub("availableReplicas");
        faults.invalid(&path, &Value::from(count("availableReplicas")), "cannot be greater than readyReplicas");
    }
}
