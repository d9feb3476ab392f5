//! When cron jobs run: schedules of five fields, and time zones.

use serde_json::{Value, json};

use super::super::fault::{Faults, Site};
use super::Run;

pub(super) const CHECKS: &[(&str, Run)] =
    &[("schedule", schedule), ("time_zone", time_zone), ("job_selector", job_selector)];

/// Stands at the schedule.
fn schedule(site: &Site<'_>, faults: &mut Faults) {
    let (text, sent) = (site.value_text(), Value::from(site.value_text()));
    if text.is_empty() {
        return; // told elsewhere
    }
    if let Err(why) = parse(text) {
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
        faults.invalid(&site.sub("selector"), selector, "`selector` will be auto-generated");
    }
    if spec.get("manualSelector") == Some(&json!(true)) {
        faults.not_supported(&site.sub("manualSelector"), &json!(true), &["nil", "false"]);
    }
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The least and the greatest value of a field, and names for values from the least on.
struct Bounds(u64, u64, &'static [&'static str]);

const FIELDS: [Bounds; 5] =
    [Bounds(0, 59, &[]), Bounds(0, 23, &[]), Bounds(1, 31, &[]), Bounds(1, 12, &MONTHS), Bounds(0, 6, &DAYS)];

fn parse(text: &str) -> Result<(), String> {
    let text = match text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) {
        Some(rest) => rest.split_once(' ').map_or("", |(_, rest)| rest.trim()),
        None => text,
    };
    if let Some(word) = text.strip_prefix('@') {
        return descriptor(word);
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (field, bounds) in fields.iter().zip(&FIELDS) {
        for range in field.split(',').filter(|range| !range.is_empty()) {
            one_range(range, bounds)?;
        }
    }
    Ok(())
}

fn descriptor(word: &str) -> Result<(), String> {
    const KNOWN: [&str; 7] = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
    let is_duration = |text: &str| {
        let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        unit.len() < text.len() && unit.starts_with(['n', 'u', 'm', 's', 'h'])
    };
    match word.strip_prefix("every ") {
        Some(duration) if is_duration(duration) => Ok(()),
        Some(duration) => {
            Err(format!("failed to parse duration @every {duration}: time: invalid duration \"{duration}\""))
        }
        None if KNOWN.contains(&word) => Ok(()),
        None => Err(format!("unrecognized descriptor: @{word}")),
    }
}

fn one_range(text: &str, bounds: &Bounds) -> Result<(), String> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts.first().copied().unwrap_or_default().split('-').collect();
    let first = ends.first().copied().unwrap_or_default();
    let (start, mut end) = match (first, ends.get(1)) {
        ("*" | "?", _) => (bounds.0, bounds.1),
        (_, _) if ends.len() > 2 => return Err(format!("too many hyphens: {text}")),
        (first, None) => {
            let value = number_or_name(first, bounds)?;
            (value, value)
        }
        (first, Some(last)) => (number_or_name(first, bounds)?, number_or_name(last, bounds)?),
    };
    let step = match parts.as_slice() {
        [_] => 1,
        [_, step] => {
            if ends.len() == 1 {
                end = bounds.1;
            }
            number(step)?
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if start < bounds.0 {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.0));
    }
    if end > bounds.1 {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.1));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok(())
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let lower = text.to_lowercase();
    match bounds.2.iter().position(|name| *name == lower) {
        Some(at) => Ok(bounds.0 + u64::try_from(at).unwrap_or_default()),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u64, String> {
    match text.parse::<i64>() {
        Ok(value) => u64::try_from(value).map_err(|_| format!("negative number ({value}) not allowed: {text}")),
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
    }
}

/// The areas of time zones that have two parts, and zones that have one.
const AREAS: [&str; 16] = [
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Brazil",
    "Canada",
    "Chile",
    "Etc",
    "Europe",
    "Indian",
    "Mexico",
    "Pacific",
    "US",
];
const ZONES: [&str; 42] = [
    "CET",
    "CST6CDT",
    "Cuba",
    "EET",
    "EST",
    "EST5EDT",
    "Egypt",
    "Eire",
    "GB",
    "GB-Eire",
    "GMT",
    "GMT+0",
    "GMT-0",
    "GMT0",
    "Greenwich",
    "HST",
    "Hongkong",
    "Iceland",
    "Iran",
    "Israel",
    "Jamaica",
    "Japan",
    "Kwajalein",
    "Libya",
    "MET",
    "MST",
    "MST7MDT",
    "NZ",
    "NZ-CHAT",
    "Navajo",
    "PRC",
    "PST8PDT",
    "Poland",
    "Portugal",
    "ROC",
    "ROK",
    "Singapore",
    "Turkey",
    "UCT",
    "UTC",
    "Universal",
    "WET",
];

/// There is no list of all zones here: what is in an area that exists is taken to be one.
fn time_zone(site: &Site<'_>, faults: &mut Faults) {
    let Some(Value::String(zone)) = site.value else { return };
    let plain = |part: &str| {
        !part.is_empty()
            && part.len() <= 14
            && !part.starts_with('-')
            && !matches!(part, "." | "..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+'))
    };
    let known = |zone: &str| match zone.split_once('/') {
        Some((area, _)) => AREAS.contains(&area),
        None => ZONES.contains(&zone) || zone == "Zulu" || zone == "W-SU" || zone == "GMT0",
    };
    let why = if zone.is_empty() {
        "timeZone must be nil or non-empty string".to_owned()
    } else if zone.eq_ignore_ascii_case("local") {
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned()
    } else if !zone.split('/').all(plain) || !known(zone) {
        format!("unknown time zone {zone}")
    } else {
        return;
    };
    faults.invalid(&site.path(), &Value::from(zone.as_str()), &why);
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn schedules_are_read_as_the_library_of_upstream_reads_them() {
        for good in
            ["* * * * *", "*/5 0-23/2 1,15 JAN-jun mon", "@hourly", "@every 1h30m", "0 0 ? * 6", "TZ=UTC 0 0 * * *"]
        {
            assert_eq!(parse(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* 5-3 * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("@often", "unrecognized descriptor: @often"),
        ] {
            assert_eq!(parse(bad), Err(why.to_owned()), "{bad}");
        }
    }
}
