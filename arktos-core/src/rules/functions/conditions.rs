//! Conditions, as most statuses have them: each of a type, with the moment of its last change, and a reason.

use std::collections::HashSet;

use serde_json::Value;

use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site};
use super::Run;

pub(super) const CHECKS: &[(&str, Run)] =
    &[("conditions", conditions), ("typed_conditions", typed_conditions), ("stated_conditions", stated_conditions)];

const REASON_MAX: usize = 1024;
const MESSAGE_MAX: usize = 32 * 1024;

/// Stands at a list of conditions.
fn conditions(site: &Site<'_>, faults: &mut Faults) {
    condition_faults(&site.path(), site.items(), faults);
}

/// What is wrong with conditions that stand at a path.
pub(super) fn condition_faults(path: &str, all: &[Value], faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (index, condition) in all.iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        for fault in qualified_name_faults(text("type")) {
            faults.invalid(&at("type"), &Value::from(text("type")), &fault);
        }
        if !seen.insert(&condition["type"]) {
            faults.duplicate(&at("type"), &condition["type"]);
        }
        if !matches!(text("status"), "True" | "False" | "Unknown") {
            faults.not_supported(&at("status"), &Value::from(text("status")), &["False", "True", "Unknown"]);
        }
        if condition["observedGeneration"].as_i64().is_some_and(|generation| generation < 0) {
            faults.invalid(
                &at("observedGeneration"),
                &condition["observedGeneration"],
                "must be greater than or equal to zero",
            );
        }
        if condition["lastTransitionTime"].as_str().is_none_or(str::is_empty) {
            faults.required(&at("lastTransitionTime"), "");
        }
        reason(&at("reason"), text("reason"), faults);
        if text("message").len() > MESSAGE_MAX {
            faults.too_long(&at("message"), MESSAGE_MAX);
        }
    }
}

/// Conditions of which nothing is asked but that each is of another type. Stands at the list.
fn typed_conditions(site: &Site<'_>, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (index, condition) in site.items().iter().enumerate() {
        let (kind, path) = (condition["type"].as_str().unwrap_or_default(), format!("{}[{index}].type", site.path()));
        if !seen.insert(kind) {
            faults.duplicate(&path, &Value::from(kind));
        }
        if kind.is_empty() {
            faults.required(&path, "");
        }
    }
}

/// Conditions of which nothing is asked but that each holds, or does not. Stands at the list.
fn stated_conditions(site: &Site<'_>, faults: &mut Faults) {
    for (index, condition) in site.items().iter().enumerate() {
        let status = condition["status"].as_str().unwrap_or_default();
        if !matches!(status, "True" | "False" | "Unknown") {
            let path = format!("{}[{index}].status", site.path());
            faults.not_supported(&path, &Value::from(status), &["True", "False", "Unknown"]);
        }
    }
}

fn reason(at: &str, reason: &str, faults: &mut Faults) {
    const WHY: &str = "a condition reason must start with alphabetic character, optionally followed by a string of \
                       alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. \
                       'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used \
                       for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let fits = reason.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && reason.ends_with(word)
        && reason.chars().all(|letter| word(letter) || matches!(letter, ',' | ':'));
    if reason.is_empty() {
        return faults.required(at, "");
    }
    if !fits {
        faults.invalid(at, &Value::from(reason), WHY);
    }
    if reason.len() > REASON_MAX {
        faults.too_long(at, REASON_MAX);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::tests::{changed, created, told};
    use super::super::super::{admit_status, fault::Faults};
    use super::*;

    #[test]
    fn conditions_are_told_as_texts() {
        let mut faults = Faults::default();
        let one = json!({"type": "A!", "status": "True", "reason": "R", "lastTransitionTime": "2026-01-02T03:04:05Z"});
        condition_faults("c", &[one.clone(), one], &mut faults);
        let messages: Vec<&str> = faults.0.iter().map(|fault| fault.message.as_str()).collect();
        assert!(messages[0].starts_with("Invalid value: \"A!\": name part must"), "{messages:?}");
        assert!(messages.contains(&"Duplicate value: \"A!\""), "{messages:?}");
    }

    #[test]
    fn a_version_without_a_service_is_available_since_it_was_made() {
        let mut object = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1.a.b"},
            "spec": {"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}});
        let made = created(&object).expect("a good one");
        let condition = &made.at(&["status", "conditions"]).expect("conditions")[0];
        assert_eq!((&condition["reason"], &condition["status"]), (&json!("Local"), &json!("True")), "{condition}");
        object["spec"]["service"] = json!({"namespace": "default", "name": "a"});
        let made = created(&object).expect("a good one");
        assert!(made.at(&["status", "conditions"]).is_none());
    }

    #[test]
    fn statuses_of_policies_flows_and_services_have_conditions_of_their_own() {
        let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
            "spec": {"priorityLevelConfiguration": {"name": "a"}, "matchingPrecedence": 9}});
        let service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.a.b"},
            "spec": {"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}});
        let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "spec": {"validations": [{"expression": "true"}], "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}]}}});
        for (object, condition, wanted) in [
            (&schema, json!({"status": "True"}), &["status.conditions[0].type: Required value"][..]),
            (&schema, json!({"type": "A", "status": "odd"}), &[]),
            (
                &service,
                json!({"type": "A", "status": "odd"}),
                &["status.conditions[0].status: Unsupported value: \"odd\": supported values: \"True\", \
                      \"False\", \"Unknown\""],
            ),
            (
                &policy,
                json!({"type": "A", "status": "True"}),
                &[
                    "status.conditions[0].lastTransitionTime: Required value",
                    "status.conditions[0].reason: Required value",
                ],
            ),
        ] {
            let object = created(object).expect("a good object");
            let reported = changed(admit_status, &object, &json!({"status": {"conditions": [condition]}}));
            assert_eq!(told(reported), wanted);
        }
    }
}
