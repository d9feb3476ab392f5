//! When cron jobs run: schedules of five fields, and time zones.

use serde_json::{Value, json};

use super::super::fault::{Faults, Site};
use super::Run;
use super::workloads::shown_selector;
use crate::schedule::{Schedule, Zone};

pub(super) const CHECKS: &[(&str, Run)] =
    &[("schedule", schedule), ("time_zone", time_zone), ("job_selector", job_selector)];

/// Stands at the schedule.
fn schedule(site: &Site<'_>, faults: &mut Faults) {
    let (text, sent) = (site.value_text(), Value::from(site.value_text()));
    if text.is_empty() {
        return; // told elsewhere
    }
    if let Err(why) = Schedule::parse(text) {
        faults.invalid(&site.path(), &sent, &why);
    }
    let was_there = site.old.and_then(Value::as_str).is_some_and(|old| old.contains("TZ"));
    if text.contains("TZ") && was_there && site.sets("timeZone") {
        faults.invalid(&site.path(), &sent, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    } else if text.contains("TZ") && !was_there {
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        faults.invalid(&site.path(), &sent, why);
    }
}

/// The jobs of a cron job select their pods by themselves. Stands at the job's spec within the template.
fn job_selector(site: &Site<'_>, faults: &mut Faults) {
    let Some(Value::Object(spec)) = site.value else { return };
    if let Some(selector) = spec.get("selector").filter(|selector| !selector.is_null()) {
        faults.invalid_text(&site.sub("selector"), &shown_selector(selector), "`selector` will be auto-generated");
    }
    if spec.get("manualSelector") == Some(&json!(true)) {
        faults.not_supported(&site.sub("manualSelector"), &json!(true), &["nil", "false"]);
    }
}

fn time_zone(site: &Site<'_>, faults: &mut Faults) {
    let Some(Value::String(zone)) = site.value else { return };
    let why = if zone.is_empty() {
        "timeZone must be nil or non-empty string".to_owned()
    } else if zone.eq_ignore_ascii_case("local") {
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned()
    } else if Zone::named(zone).is_none() {
        format!("unknown time zone {zone}")
    } else {
        return;
    };
    faults.invalid(&site.path(), &Value::from(zone.as_str()), &why);
}
