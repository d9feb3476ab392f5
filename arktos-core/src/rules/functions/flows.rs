//! Priority levels: how many requests run at once, and where the others wait.

use serde_json::Value;

use super::super::fault::{Faults, Site};
use super::Run;
use crate::name::{label_fault, subdomain_fault};

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("level", level),
    ("limit_response", limit_response),
    ("queuing", queuing),
    ("shares", shares),
    ("flow_subject", flow_subject),
    ("flow_rule", flow_rule),
];

/// Whom a rule is about: what its kind says, and nothing else. Stands at the subject.
fn flow_subject(site: &Site<'_>, faults: &mut Faults) {
    const KINDS: [(&str, &str); 3] = [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];
    let kind = site.text("kind");
    if !KINDS.iter().any(|(known, _)| *known == kind) {
        let known = KINDS.map(|(known, _)| known);
        return faults.not_supported(&site.sub("kind"), &Value::from(kind), &known);
    }
    for (known, field) in KINDS {
        let path = site.sub(field);
        match site.map.get(field).filter(|value| !value.is_null()) {
            Some(_) if known != kind => {
                faults.forbidden(&path, &format!("{field} is forbidden when subject kind is not '{known}'"));
            }
            None if known == kind => {
                faults.required(&path, &format!("{field} is required when subject kind is '{known}'"));
            }
            Some(account) if known == "ServiceAccount" => flow_account(&path, account, faults),
            Some(named) if named["name"].as_str().is_none_or(str::is_empty) => {
                faults.required(&format!("{path}.name"), "");
            }
            _ => {}
        }
    }
}

fn flow_account(path: &str, account: &Value, faults: &mut Faults) {
    let text = |field: &str| account[field].as_str().unwrap_or_default();
    match text("name") {
        "" => faults.required(&format!("{path}.name"), ""),
        "*" => {}
        name => {
            if let Some(fault) = subdomain_fault(name) {
                faults.invalid(&format!("{path}.name"), &account["name"], &fault);
            }
        }
    }
    if text("namespace").is_empty() {
        faults.required(&format!("{path}.namespace"), "must specify namespace for service account");
    } else if let Some(fault) = label_fault(text("namespace")) {
        faults.invalid(&format!("{path}.namespace"), &account["namespace"], &fault);
    }
}

/// What a rule is about that names resources, or paths.
fn flow_rule(site: &Site<'_>, faults: &mut Faults) {
    const VERBS: [&str; 9] =
        ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
    let wild = |field: &str| site.list(field).iter().any(|item| item == "*");
    for (field, what) in [
        ("verbs", "verbs"),
        ("apiGroups", "api groups"),
        ("resources", "resources"),
        ("namespaces", "namespaces"),
        ("nonResourceURLs", "non-resource URLs"),
    ] {
        if site.list(field).len() > 1 && wild(field) {
            let why = format!("if '*' is present, must not specify other {what}");
            faults.invalid(&site.sub(field), &Value::from(site.list(field)), &why);
        }
    }
    let verbs = site.list("verbs");
    if !wild("verbs") && verbs.iter().any(|verb| !VERBS.contains(&verb.as_str().unwrap_or_default())) {
        faults.not_supported(&site.sub("verbs"), &Value::from(verbs), &VERBS);
    }
    for (index, namespace) in site.list("namespaces").iter().enumerate().filter(|_| !wild("namespaces")) {
        if let Some(fault) = label_fault(namespace.as_str().unwrap_or_default()) {
            let why = format!("each member of this list must be '*' or a DNS-1123 label; {fault}");
            faults.invalid(&site.sub(&format!("namespaces[{index}]")), namespace, &why);
        }
    }
    for (index, url) in site.list("nonResourceURLs").iter().enumerate().filter(|_| !wild("nonResourceURLs")) {
        if let Some(why) = url_fault(url.as_str().unwrap_or_default()) {
            faults.invalid(&site.sub(&format!("nonResourceURLs[{index}]")), url, why);
        }
    }
}

fn url_fault(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        url if !url.starts_with('/') => Some("must start with slash"),
        url if url.contains(' ') => Some("must not contain white-space"),
        url if url.contains("//") => Some("must not contain double slash"),
        url if stars > 1 || stars == 1 && !url.ends_with("/*") => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}

/// Stands at the spec of a priority level.
fn level(site: &Site<'_>, faults: &mut Faults) {
    let kind = site.text("type");
    if (site.root_name == "exempt") != (kind == "Exempt") {
        let why = "must be 'Exempt' if and only if `name` is 'exempt'";
        faults.invalid(&site.sub("type"), &Value::from(kind), why);
    }
    match kind {
        "Exempt" if site.sets("limited") => {
            faults.forbidden(&site.sub("limited"), "must be nil if the type is not Limited");
        }
        "Exempt" => {}
        "Limited" => {
            if site.sets("exempt") {
                faults.forbidden(&site.sub("exempt"), "must be nil if the type is Limited");
            }
            if !site.sets("limited") {
                faults.required(&site.sub("limited"), "must not be empty when type is Limited");
            }
        }
        other => faults.not_supported(&site.sub("type"), &Value::from(other), &["Exempt", "Limited"]),
    }
}

/// Stands at what is said of either sort of priority level.
fn shares(site: &Site<'_>, faults: &mut Faults) {
    let negative = |value: &&Value| value.as_i64().is_some_and(|value| value < 0);
    for (field, why) in [
        ("nominalConcurrencyShares", "must be a non-negative integer"),
        ("borrowingLimitPercent", "if specified, must be a non-negative integer"),
    ] {
        if let Some(value) = site.map.get(field).filter(negative) {
            faults.invalid(&site.sub(field), value, why);
        }
    }
    if let Some(value) =
        site.map.get("lendablePercent").filter(|value| !(0..=100).contains(&value.as_i64().unwrap_or(0)))
    {
        faults.invalid(&site.sub("lendablePercent"), value, "must be between 0 and 100, inclusive");
    }
}

fn limit_response(site: &Site<'_>, faults: &mut Faults) {
    match site.text("type") {
        "Reject" if site.sets("queuing") => {
            faults.forbidden(&site.sub("queuing"), "must be nil if limited.limitResponse.type is not Limited");
        }
        "Queue" if !site.sets("queuing") => {
            faults.required(&site.sub("queuing"), "must not be empty if limited.limitResponse.type is Limited");
        }
        "Reject" | "Queue" => {}
        other => faults.not_supported(&site.sub("type"), &Value::from(other), &["Queue", "Reject"]),
    }
}

/// The most queues that a priority level may have.
const QUEUES_MAX: i64 = 10_000_000;
/// The most bits of a hash that dealing a hand of queues may take.
const HASH_BITS: f64 = 60.0;

fn queuing(site: &Site<'_>, faults: &mut Faults) {
    let number = |field: &str| site.map.get(field).and_then(Value::as_i64).unwrap_or_default();
    let (length, queues, hand) = (number("queueLengthLimit"), number("queues"), number("handSize"));
    let mut tell = |field: &str, value: i64, why: &str| faults.invalid(&site.sub(field), &Value::from(value), why);
    if length <= 0 {
        tell("queueLengthLimit", length, "must be positive");
    }
    if queues <= 0 {
        tell("queues", queues, "must be positive");
    } else if queues > QUEUES_MAX {
        tell("queues", queues, &format!("must not be greater than {QUEUES_MAX}"));
    }
    if hand <= 0 {
        tell("handSize", hand, "must be positive");
    } else if hand > queues {
        tell("handSize", hand, &format!("should not be greater than queues ({queues})"));
    } else {
        // As many bits as it takes to tell all the ways apart to draw a hand in order.
        #[allow(clippy::cast_precision_loss)]
        let bits: f64 = (0..hand.min(64)).map(|drawn| ((queues - drawn) as f64).log2()).sum::<f64>().ceil();
        if bits > HASH_BITS || hand > 64 {
            let why = format!(
                "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
            );
            tell("handSize", hand, &why);
        }
    }
}
