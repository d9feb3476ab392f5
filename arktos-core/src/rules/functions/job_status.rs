//! What may be said of how a job goes: it ends once, for one reason, and counts of what has ended do not fall.
//!
//! What stays as it was is not looked at: a status that was well before its job was changed can still be written.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::fault::{Faults, Site, is_empty};
use super::Run;
use super::jobs::{index_count, index_interval};
use crate::time::Timestamp;

pub(super) const CHECKS: &[(&str, Run)] = &[("job_status", job_status), ("start_time_kept", start_time_kept)];

/// The status of a job before and after.
struct Change<'a> {
    spec: &'a Value,
    old: &'a Value,
    new: &'a Value,
}

fn is(status: &Value, condition: &str) -> bool {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == condition && one["status"] == "True")
}

fn is_finished(status: &Value) -> bool {
    is(status, "Complete") || is(status, "Failed")
}

impl Change<'_> {
    fn has(&self, condition: &str) -> bool {
        is(self.new, condition)
    }

    fn turns(&self, condition: &str) -> bool {
        is(self.old, condition) != is(self.new, condition)
    }

    fn changes(&self, field: &str) -> bool {
        self.old[field] != self.new[field]
    }

    fn count(&self, field: &str) -> i64 {
        self.new[field].as_i64().unwrap_or_default()
    }
}

/// Stands at the status of a job.
fn job_status(site: &Site<'_>, faults: &mut Faults) {
    let (old, new) = (site.old.unwrap_or(&Value::Null), site.value.unwrap_or(&Value::Null));
    if !site.updates || old == new {
        return;
    }
    let change = Change { spec: site.map.get("spec").unwrap_or(&Value::Null), old, new };
    conditions(&change, faults);
    times(&change, faults);
    counts(&change, faults);
    indexes(&change, faults);
}

fn conditions(change: &Change<'_>, faults: &mut Faults) {
    let mut refuse = |why: &str| faults.invalid_bare("status.conditions", why);
    let [complete, failed, target, success] =
        ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"].map(|condition| change.has(condition));
    let completes = change.turns("Complete");
    if complete && failed && (completes || change.turns("Failed")) {
        refuse("cannot set Complete=True and Failed=true conditions");
    }
    if complete && target && (completes || change.turns("FailureTarget")) {
        refuse("cannot set Complete=True and FailureTarget=true conditions");
    }
    if failed && !target && change.turns("Failed") {
        refuse("cannot set Failed=True condition without the FailureTarget=true condition");
    }
    if complete && !success && completes {
        refuse("cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    }
    for (other, name) in [(failed, "Failed"), (target, "FailureTarget")] {
        if success && other {
            refuse(&format!("cannot set SuccessCriteriaMet=True and {name}=true conditions"));
        }
    }
    if !change.spec["successPolicy"].is_null() && complete && !success {
        refuse("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
    }
    for (condition, what) in [
        ("Failed", "terminal Failed=True"),
        ("Complete", "terminal Complete=True"),
        ("FailureTarget", "terminal FailureTarget=True"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet=True"),
    ] {
        if is(change.old, condition) && !change.has(condition) {
            refuse(&format!("cannot disable the {what} condition"));
        }
    }
    if is(change.old, "Complete") && success && change.turns("SuccessCriteriaMet") {
        refuse("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
    }
}

fn times(change: &Change<'_>, faults: &mut Faults) {
    let (start, end) = (&change.new["startTime"], &change.new["completionTime"]);
    let ends = change.changes("completionTime");
    if ends || change.turns("Complete") {
        match (end.is_null(), change.has("Complete")) {
            (false, false) => {
                let why = "cannot set completionTime when there is no Complete=True condition";
                faults.invalid("status.completionTime", end, why);
            }
            (true, true) => faults.required("status.completionTime", "completionTime is required for Complete jobs"),
            _ => {}
        }
    }
    let time = |value: &Value| value.as_str().and_then(Timestamp::parse);
    let backwards = time(end).zip(time(start)).is_some_and(|(end, start)| end < start);
    if backwards && (ends || change.changes("startTime")) {
        faults.invalid("status.completionTime", end, "must be equal to or after `startTime`");
    }
    if ends && !end.is_null() && !change.old["completionTime"].is_null() {
        faults.invalid("status.completionTime", end, "completionTime cannot be mutated");
    }
    let never_ran = change.spec["suspend"] == true && change.spec["completions"] == 0;
    let finishes = is_finished(change.old) != is_finished(change.new);
    if start.is_null() && is_finished(change.new) && !never_ran && (finishes || change.changes("startTime")) {
        faults.required("status.startTime", "startTime is required for finished job");
    }
}

fn counts(change: &Change<'_>, faults: &mut Faults) {
    let finishes = is_finished(change.old) != is_finished(change.new);
    for field in ["active", "terminating"] {
        if change.count(field) > 0 && is_finished(change.new) && (finishes || change.changes(field)) {
            let why = format!("{field}>0 is invalid for finished job");
            faults.invalid(&format!("status.{field}"), &change.new[field], &why);
        }
    }
    let more = change.new["ready"].as_i64().is_some_and(|ready| ready > change.count("active"));
    if more && (change.changes("ready") || change.changes("active")) {
        faults.invalid("status.ready", &change.new["ready"], "cannot set more ready pods than active");
    }
    let elastic =
        change.spec["completionMode"] == "Indexed" && change.spec["completions"] == change.spec["parallelism"];
    for field in ["failed", "succeeded"] {
        let before = change.old[field].as_i64().unwrap_or_default();
        if change.count(field) < before && (field == "failed" || !elastic) {
            let why = format!("cannot decrease the {field} counter");
            faults.invalid(&format!("status.{field}"), &json!(change.count(field)), &why);
        }
    }
    uncounted(change, finishes, faults);
}

fn uncounted(change: &Change<'_>, finishes: bool, faults: &mut Faults) {
    let (uncounted, path) = (&change.new["uncountedTerminatedPods"], "status.uncountedTerminatedPods");
    let mut seen: HashSet<&Value> = HashSet::new();
    for list in ["succeeded", "failed"] {
        for (index, uid) in uncounted[list].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            if *uid == "" {
                faults.invalid(&path, uid, "must not be empty");
            } else if !seen.insert(uid) {
                faults.duplicate(&path, uid);
            }
        }
    }
    let any = ["succeeded", "failed"].iter().any(|list| !is_empty(&uncounted[*list]));
    if any && is_finished(change.new) && (finishes || change.changes("uncountedTerminatedPods")) {
        let shown = format!("{{\"Succeeded\":{},\"Failed\":{}}}", uncounted["succeeded"], uncounted["failed"]);
        faults.invalid_text(path, &shown, "must be empty for finished job");
    }
}

/// The indexes that have succeeded, and those that have failed.
fn indexes(change: &Change<'_>, faults: &mut Faults) {
    let completions = change.spec["completions"].as_i64();
    let by_index = !change.spec["backoffLimitPerIndex"].is_null();
    for (field, counted) in [("completedIndexes", true), ("failedIndexes", by_index)] {
        let (sent, path) = (&change.new[field], format!("status.{field}"));
        let Some(text) = sent.as_str().filter(|_| change.changes(field)) else { continue };
        if let Some(Err(fault)) = completions.filter(|_| counted).map(|completions| index_count(text, completions)) {
            faults.invalid(&path, sent, &format!("error parsing {field}: {fault}"));
        }
        if field == "failedIndexes" && !by_index {
            faults.invalid(&path, sent, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
        }
        if field == "completedIndexes" && !text.is_empty() && change.spec["completionMode"] != "Indexed" {
            let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
            faults.invalid(&path, sent, why);
        }
    }
    let changed = change.changes("completedIndexes") || change.changes("failedIndexes");
    let both = completions.zip(change.new["completedIndexes"].as_str()).zip(change.new["failedIndexes"].as_str());
    if let Some(((completions, completed), failed)) = both.filter(|_| changed)
        && let Some(index) = first_in_both(completed, failed, completions)
    {
        let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
        faults.invalid("status.failedIndexes", &json!(failed), &why);
    }
}

/// The first index that two texts name. What is no interval names none.
fn first_in_both(one: &str, other: &str, completions: i64) -> Option<i64> {
    let intervals = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|interval| index_interval(interval, completions).ok()).collect()
    };
    let (one, other) = (intervals(one), intervals(other));
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    while let (Some((from, to)), Some((start, end))) = (one.peek(), other.peek()) {
        if from <= end && start <= to {
            return Some(*from.max(start));
        }
        if from <= start {
            one.next()
        } else {
            other.next()
        };
    }
    None
}

fn start_time_kept(site: &Site<'_>, faults: &mut Faults) {
    let suspended = site.map.get("spec").is_some_and(|spec| spec["suspend"] == true);
    let old = site.old.filter(|old| !old.is_null());
    if site.updates && !suspended && old.is_some() && old != site.value {
        let why = "field is immutable for unsuspended job once set";
        faults.invalid(&site.path(), site.value.unwrap_or(&Value::Null), why);
    }
}
