//! Limit ranges: bounds and defaults that fit together.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site, join};
use super::Run;
use super::containers;
use crate::quantity::Quantity;

pub(super) const CHECKS: &[(&str, Run)] = &[("limits", limits)];

const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

/// Stands at the list of limits.
fn limits(site: &Site<'_>, faults: &mut Faults) {
    let mut seen: HashSet<&Value> = HashSet::new();
    for (index, limit) in site.items().iter().enumerate() {
        let (at, kind) = (format!("{}[{index}]", site.path()), limit["type"].as_str().unwrap_or_default());
        kind_faults(&join(&at, "type"), kind, faults);
        if !seen.insert(&limit["type"]) {
            faults.duplicate(&join(&at, "type"), &limit["type"]);
        }
        let Some(limit) = limit.as_object() else { continue };
        one(&Limit { at: &at, kind, fields: limit }, faults);
    }
}

fn kind_faults(path: &str, kind: &str, faults: &mut Faults) {
    let sent = Value::from(kind);
    let found = qualified_name_faults(kind);
    for fault in &found {
        faults.invalid(path, &sent, fault);
    }
    if found.is_empty() && !kind.contains('/') && !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim") {
        faults.invalid(path, &sent, "must be a standard limit type or fully qualified");
    }
}

struct Limit<'a> {
    at: &'a str,
    kind: &'a str,
    fields: &'a Map<String, Value>,
}

impl Limit<'_> {
    fn amounts(&self, list: &str) -> Option<&Map<String, Value>> {
        self.fields.get(list).and_then(Value::as_object)
    }

    /// An amount, as it is written and as it is.
    fn amount(&self, list: &str, name: &str) -> Option<(&Value, Quantity)> {
        let value = self.amounts(list)?.get(name)?;
        Some((value, Quantity::parse(value.as_str()?).ok()?))
    }

    fn path(&self, list: &str, name: &str) -> String {
        join(&self.at, &format!("{list}[{name}]"))
    }
}

fn one(limit: &Limit<'_>, faults: &mut Faults) {
    let mut names: Vec<&String> = Vec::new();
    for list in LISTS {
        for name in limit.amounts(list).into_iter().flatten().map(|(name, _)| name) {
            let contained = matches!(limit.kind, "Pod" | "Container");
            containers::resource_name_faults(&limit.path(list, name), name, contained, faults);
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if limit.kind == "Pod" {
        for list in ["default", "defaultRequest"] {
            if limit.amounts(list).is_some_and(|amounts| !amounts.is_empty()) {
                faults.forbidden(&join(&limit.at, list), "may not be specified when `type` is 'Pod'");
            }
        }
    }
    let bounded = |list: &str| limit.amounts(list).is_some_and(|amounts| amounts.contains_key("storage"));
    if limit.kind == "PersistentVolumeClaim" && !bounded("min") && !bounded("max") {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        faults.required(&join(&limit.at, "limits"), why);
    }
    for name in names {
        ordered(limit, name, faults);
        ratio(limit, name, faults);
        not_shared(limit, name, faults);
    }
}

/// Of what is never given out more than once, a request is a limit.
fn not_shared(limit: &Limit<'_>, name: &str, faults: &mut Faults) {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    if native && !name.starts_with("hugepages-") {
        return;
    }
    let (Some((most, one)), Some((asked, other))) =
        (limit.amount("default", name), limit.amount("defaultRequest", name))
    else {
        return;
    };
    if one != other {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (most, shown) = (text(most), text(asked));
        let why = format!("default value {most} must equal to defaultRequest value {shown} in {name}");
        faults.invalid(&limit.path("defaultRequest", name), asked, &why);
    }
}

/// Which list must not have more of a resource than which other, what is said then, and of which it is said with
/// which amount.
const ORDER: [(&str, &str, &str, &str, &str); 6] = [
    ("min", "max", "min value {} is greater than max value {}", "min", "min"),
    (
        "min",
        "defaultRequest",
        "min value {} is greater than default request value {}",
        "defaultRequest",
        "defaultRequest",
    ),
    (
        "defaultRequest",
        "max",
        "default request value {} is greater than max value {}",
        "defaultRequest",
        "defaultRequest",
    ),
    (
        "defaultRequest",
        "default",
        "default request value {} is greater than default limit value {}",
        "defaultRequest",
        "defaultRequest",
    ),
    ("min", "default", "min value {} is greater than default value {}", "default", "min"),
    ("default", "max", "default value {} is greater than max value {}", "default", "max"),
];

fn ordered(limit: &Limit<'_>, name: &str, faults: &mut Faults) {
    for (low, high, why, told, shown) in ORDER {
        let (Some((low, less)), Some((high, more))) = (limit.amount(low, name), limit.amount(high, name)) else {
            continue;
        };
        if less > more {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let why = why.replacen("{}", &text(low), 1).replacen("{}", &text(high), 1);
            let shown = limit.amount(shown, name).map_or(&Value::Null, |(value, _)| value);
            faults.invalid(&limit.path(told, name), shown, &why);
        }
    }
}

fn ratio(limit: &Limit<'_>, name: &str, faults: &mut Faults) {
    let Some((value, ratio)) = limit.amount("maxLimitRequestRatio", name) else { return };
    let (path, shown) = (limit.path("maxLimitRequestRatio", name), value.as_str().unwrap_or_default());
    if ratio < Quantity::from_value(1) {
        faults.invalid(&path, value, &format!("ratio {shown} is less than 1"));
    }
    let (Some((_, min)), Some((_, max))) = (limit.amount("min", name), limit.amount("max", name)) else { return };
    #[allow(clippy::cast_precision_loss)] // it is a ratio, and upstream computes it so
    let (ratio, most) = (ratio.milli() as f64 / 1000.0, max.milli() as f64 / min.milli() as f64);
    if ratio > most {
        faults.invalid(&path, value, &format!("ratio {shown} is greater than max/min = {most:.6}"));
    }
}
