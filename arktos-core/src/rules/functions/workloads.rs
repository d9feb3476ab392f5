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
    ("daemon_strategy", daemon_strategy),
    ("management_policy", management_policy),
    ("stateful_strategy", stateful_strategy),
    ("stateful_update", stateful_update),
    ("revision_data", revision_data),
    ("replica_status", replica_status),
    ("job_restart", job_restart),
    ("needs_index", needs_index),
    ("failure_rule", failure_rule),
    ("generated_selector", generated_selector),
    ("own_selector", own_selector),
    ("completions_kept", completions_kept),
    ("job_template_kept", job_template_kept),
    ("start_time_kept", start_time_kept),
    ("indexed_job", indexed_job),
    ("exit_codes", exit_codes),
    ("failure_policy", failure_policy),
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

/// The most pods of an indexed job that run at once.
const INDEXED_PARALLELISM_MAX: i64 = 100_000;

/// What indexed jobs need, and what only they may have. Stands at the job's spec.
fn indexed_job(site: &Site<'_>, faults: &mut Faults) {
    let number = |field: &str| site.map.get(field).and_then(Value::as_i64);
    if site.text("completionMode") == "Indexed" {
        if number("completions").is_none() {
            faults.required(&site.sub("completions"), "when completion mode is Indexed");
        }
        if let Some(count) = number("parallelism").filter(|count| *count > INDEXED_PARALLELISM_MAX) {
            let why =
                format!("must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
            faults.invalid(&site.sub("parallelism"), &Value::from(count), &why);
        }
    }
    if let Some(most) = number("maxFailedIndexes") {
        if number("backoffLimitPerIndex").is_none() {
            faults.required(&site.sub("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
        }
        if number("completions").is_some_and(|count| most > count) {
            let why = "must be less than or equal to completions";
            faults.invalid(&site.sub("maxFailedIndexes"), &Value::from(most), why);
        }
    }
}

/// How many exit codes, and how many rules, a failure policy may name.
const EXIT_CODES_MAX: usize = 255;
const FAILURE_RULES_MAX: usize = 20;

fn exit_codes(site: &Site<'_>, faults: &mut Faults) {
    let (codes, path) = (site.list("values"), site.sub("values"));
    if codes.is_empty() {
        return faults.invalid(&path, &Value::from(codes), "at least one value is required");
    }
    if codes.len() > EXIT_CODES_MAX {
        faults.too_many(&path, codes.len() as u64, EXIT_CODES_MAX as u64);
    }
    let number = |code: &Value| code.as_i64().unwrap_or_default();
    let mut ordered = true;
    for (index, code) in codes.iter().enumerate() {
        let at = format!("{path}[{index}]");
        if number(code) == 0 && site.text("operator") == "In" {
            faults.invalid(&at, code, "must not be 0 for the In operator");
        }
        let before = codes.get(..index).unwrap_or_default();
        if before.iter().any(|other| number(other) == number(code)) {
            faults.duplicate(&at, code);
        } else if before.last().is_some_and(|last| number(last) > number(code)) {
            ordered = false;
        }
    }
    if !ordered {
        faults.invalid(&path, &Value::from(codes), "must be ordered");
    }
}

/// Stands at the spec of a job that has a failure policy.
fn failure_policy(site: &Site<'_>, faults: &mut Faults) {
    let Some(policy) = site.map.get("podFailurePolicy").filter(|policy| !policy.is_null()) else { return };
    let restarts = site.map.get("template").and_then(|template| template.pointer("/spec/restartPolicy"));
    if let Some(restarts) = restarts.filter(|restarts| *restarts != "Never") {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        faults.invalid(&site.sub("template.spec.restartPolicy"), restarts, why);
    }
    let rules = policy["rules"].as_array().map_or(0, Vec::len);
    if rules > FAILURE_RULES_MAX {
        faults.too_many(&site.sub("podFailurePolicy.rules"), rules as u64, FAILURE_RULES_MAX as u64);
    }
    if let Some(replaces) = site.map.get("podReplacementPolicy").filter(|replaces| *replaces == "TerminatingOrFailed") {
        faults.not_supported(&site.sub("podReplacementPolicy"), replaces, &["Failed"]);
    }
}

const NO_MATCH: &str = "`selector` does not match template `labels`";

fn template_labels(spec: &Map<String, Value>) -> Option<&Value> {
    spec.get("template").and_then(|template| template.pointer("/metadata/labels"))
}

/// Whether a selector selects the labels; none selects nothing.
fn selects(selector: Option<&Value>, labels: Option<&Value>) -> bool {
    let spec: Option<LabelSelectorSpec> = selector.and_then(|selector| serde_json::from_value(selector.clone()).ok());
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    spec.and_then(|spec| spec.selector().ok()).is_some_and(|selector| selector.matches(label))
}

/// A workload's selector selects the pods of its template. Stands at the spec.
fn selects_template(site: &Site<'_>, faults: &mut Faults) {
    let labels = template_labels(site.map);
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

fn daemon_strategy(site: &Site<'_>, faults: &mut Faults) {
    if let Some(kind) = strategy_type(site).filter(|kind| !matches!(*kind, "RollingUpdate" | "OnDelete")) {
        let shown = format!("{{\"Type\":\"{kind}\",\"RollingUpdate\":null}}");
        faults.not_supported_text(&site.sub("updateStrategy"), &shown, &["RollingUpdate", "OnDelete"]);
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

fn job_restart(site: &Site<'_>, faults: &mut Faults) {
    if !matches!(site.value_text(), "OnFailure" | "Never") {
        faults.required(&site.path(), "valid values: \"OnFailure\", \"Never\"");
    }
}

fn needs_index(site: &Site<'_>, faults: &mut Faults) {
    if let Some(value) = site.value
        && site.text("completionMode") != "Indexed"
    {
        faults.invalid(&site.path(), value, "requires indexed completion mode");
    }
}

fn failure_rule(site: &Site<'_>, faults: &mut Faults) {
    let (codes, conditions) = (site.sets("onExitCodes"), site.has("onPodConditions"));
    let why = match (codes, conditions) {
        (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
        (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
        _ => return,
    };
    faults.invalid_bare(&site.path(), why);
}

/// A job's selector is its own; the pods of its template carry its labels.
fn generated_selector(site: &Site<'_>, faults: &mut Faults) {
    let Some(Value::Object(spec)) = site.map.get("spec") else { return };
    let selector = spec.get("selector");
    let manual = spec.get("manualSelector") == Some(&Value::Bool(true));
    if !manual
        && let Some(uid) = site.map.get("metadata").and_then(|metadata| metadata["uid"].as_str())
        && let Some(selector) = selector
    {
        let own = serde_json::json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } });
        let older = serde_json::json!({ "matchLabels": { "controller-uid": uid } });
        if *selector != own && *selector != older {
            faults.invalid("spec.selector", selector, "`selector` not auto-generated");
        }
    }
}

fn own_selector(site: &Site<'_>, faults: &mut Faults) {
    let Some(Value::Object(spec)) = site.map.get("spec") else { return };
    let labels = template_labels(spec);
    let selector = spec.get("selector");
    if !selects(selector, labels) {
        faults.invalid("spec.template.metadata.labels", labels.unwrap_or(&Value::Null), NO_MATCH);
    }
}

/// How often an indexed job succeeds may change together with how many run at once; of others it may not.
fn completions_kept(site: &Site<'_>, faults: &mut Faults) {
    if !site.updates || site.old == site.value {
        return;
    }
    let spec = |field: &str| site.map.get("spec").and_then(|spec| spec.get(field));
    let elastic = spec("completionMode").is_some_and(|mode| mode == "Indexed")
        && site.value.is_some()
        && spec("parallelism") == site.value;
    if !elastic {
        faults.invalid(&site.path(), site.value.unwrap_or(&Value::Null), "field is immutable");
    }
}

/// A job's template stays, but for where a suspended job's pods may go.
fn job_template_kept(site: &Site<'_>, faults: &mut Faults) {
    let (Some(old), Some(new), true) = (site.old, site.value, site.updates) else { return };
    let spec = |field: &str| site.old_map.and_then(|map| map.get("spec")).and_then(|spec| spec.get(field)).cloned();
    let started = site.old_map.and_then(|map| map.get("status")).is_some_and(|status| !status["startTime"].is_null());
    let mut new = new.clone();
    let mut old = old.clone();
    if spec("suspend") == Some(Value::Bool(true)) && !started {
        for template in [&mut old, &mut new] {
            for field in ["affinity", "nodeSelector", "tolerations", "schedulingGates"] {
                template["spec"].as_object_mut().and_then(|spec| spec.remove(field));
            }
            for field in ["labels", "annotations"] {
                template["metadata"].as_object_mut().and_then(|metadata| metadata.remove(field));
            }
        }
    }
    if old != new {
        faults.invalid(&site.path(), &new, "field is immutable");
    }
}

fn start_time_kept(site: &Site<'_>, faults: &mut Faults) {
    let suspended = site.map.get("spec").is_some_and(|spec| spec["suspend"] == true);
    let old = site.old.filter(|old| !old.is_null());
    if site.updates && !suspended && old.is_some() && old != site.value {
        let why = "field is immutable for unsuspended job once set";
        faults.invalid(&site.path(), site.value.unwrap_or(&Value::Null), why);
    }
}
