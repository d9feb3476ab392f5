//! Conditions, as most statuses have them: each of a type, with the moment of its last change, and a reason.

use serde_json::Value;

use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site};
use super::Run;

pub(super) const CHECKS: &[(&str, Run)] = &[("conditions", conditions)];

const REASON_MAX: usize = 1024;
const MESSAGE_MAX: usize = 32 * 1024;

/// Stands at a list of conditions.
fn conditions(site: &Site<'_>, faults: &mut Faults) {
    let all = site.items();
    for (index, condition) in all.iter().enumerate() {
        let at = |field: &str| format!("{}[{index}].{field}", site.path());
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        for fault in qualified_name_faults(text("type")) {
            faults.invalid_text(&at("type"), text("type"), &fault);
        }
        if all[..index].iter().any(|before| before["type"] == condition["type"]) {
            faults.duplicate_text(&at("type"), text("type"));
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
