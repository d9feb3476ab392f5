//! Webhooks, admission policies and events.

use serde_json::{Value, json};

use super::super::fault::{Faults, Site};
use super::Run;
use crate::name::subdomain_fault;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("webhook_name", webhook_name),
    ("webhook_timeout", webhook_timeout),
    ("review_versions", review_versions),
    ("client_config", client_config),
    ("service_port", service_port),
    ("actions", actions),
    ("param_ref", param_ref),
    ("event", event),
    ("event_namespace", event_namespace),
];

fn webhook_name(site: &Site<'_>, faults: &mut Faults) {
    let name = site.value_text();
    if name.is_empty() {
        return;
    }
    let sent = Value::from(name);
    if let Some(fault) = subdomain_fault(name) {
        faults.invalid(&site.path(), &sent, &fault);
    } else if name.split('.').count() < 3 {
        faults.invalid(&site.path(), &sent, "should be a domain with at least three segments separated by dots");
    }
}

fn webhook_timeout(site: &Site<'_>, faults: &mut Faults) {
    if let Some(value) = site.value
        && !value.as_i64().is_some_and(|seconds| (1..=30).contains(&seconds))
    {
        faults.invalid(&site.path(), value, "the timeout value must be between 1 and 30 seconds");
    }
}

fn review_versions(site: &Site<'_>, faults: &mut Faults) {
    let versions = site.items();
    if !versions.is_empty() && !versions.iter().any(|version| version == "v1" || version == "v1beta1") {
        let sent = Value::Array(versions.to_vec());
        faults.invalid(&site.path(), &sent, "must include at least one of v1, v1beta1");
    }
}

fn client_config(site: &Site<'_>, faults: &mut Faults) {
    const FORM: &str = "desired format: https://host[/path]";
    match (site.sets("url"), site.sets("service")) {
        (true, false) => {}
        (false, true) => return,
        _ => return faults.required(&site.path(), "exactly one of url or service is required"),
    }
    let (path, url) = (site.sub("url"), site.text("url"));
    let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
    if scheme != "https" {
        let why = format!("'https' is the only allowed URL scheme; {FORM}");
        // The closing quote is missing in the upstream text, and clients compare texts.
        let shown = if scheme.is_empty() { "\"\"".to_owned() } else { format!("\"{scheme}\"") };
        faults.invalid_text(&path, &shown, &why);
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() {
        faults.invalid(&path, &json!(""), &format!("host must be specified; {FORM}"));
    } else if host.contains('@') {
        faults.invalid(&path, &json!(host), &format!("user information is not permitted in the URL; {FORM}"));
    }
}

fn service_port(site: &Site<'_>, faults: &mut Faults) {
    if let Some(value) = site.value
        && !value.as_i64().is_some_and(|port| (1..=65535).contains(&port))
    {
        faults.invalid(&site.path(), value, "port is not valid: must be between 1 and 65535, inclusive");
    }
}

fn actions(site: &Site<'_>, faults: &mut Faults) {
    let actions = site.items();
    if ["Deny", "Warn"].iter().all(|action| actions.iter().any(|known| known == action)) {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        faults.invalid(&site.path(), &Value::Array(actions.to_vec()), why);
    }
}

fn param_ref(site: &Site<'_>, faults: &mut Faults) {
    match (site.has("name"), site.sets("selector")) {
        (false, false) => faults.required(&site.path(), "one of name or selector must be specified"),
        (true, true) => faults.forbidden(&site.sub("name"), "name and selector are mutually exclusive"),
        _ => {}
    }
}

/// Events of the newer form are checked as the older form, whose field names the messages have.
fn event(site: &Site<'_>, faults: &mut Faults) {
    let mut invalid = |field: &str, why: &str| faults.invalid(field, &json!(""), why);
    let kind = site.text("type");
    if !matches!(kind, "Normal" | "Warning") {
        invalid("type", &format!("has invalid value: {kind}"));
    }
    for (field, most) in [("action", 128), ("reason", 128), ("reportingController", 128), ("reportingInstance", 128)] {
        if site.text(field).len() > most {
            invalid(field, &format!("can have at most {most} characters"));
        }
    }
    if site.text("note").len() > 1024 {
        invalid("message", "can have at most 1024 characters");
    }
    if let Some(count) = site.map.get("series").and_then(|series| series["count"].as_i64())
        && count < 2
    {
        invalid("series.count", "should be at least 2");
    }
    for (field, old_name) in [
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
    ] {
        if site.has(field) {
            invalid(old_name, "needs to be unset");
        }
    }
}

/// An event stands in the namespace of what it is about; one about an object without one, in `default`.
fn event_namespace(site: &Site<'_>, faults: &mut Faults) {
    let text =
        |value: Option<&Value>| value.and_then(|value| value["namespace"].as_str()).unwrap_or_default().to_owned();
    let own = text(site.map.get("metadata"));
    let about = text(site.value);
    let fits = if about.is_empty() { matches!(own.as_str(), "" | "default") } else { own.is_empty() || own == about };
    if !fits && !site.updates {
        faults.invalid("involvedObject.namespace", &Value::from(about), "does not match event.namespace");
    }
}
