//! Webhooks, admission policies and events.

use serde_json::{Map, Value, json};

use super::super::fault::{Faults, Site, is_empty};
use super::{Run, urls};
use crate::name::subdomain_fault;
use crate::rules::check::{label_1035_fault, qualified_name_faults};

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("webhook_name", webhook_name),
    ("webhook_timeout", webhook_timeout),
    ("review_versions", review_versions),
    ("client_config", client_config),
    ("rule_resources", rule_resources),
    ("rule_versions", rule_versions),
    ("actions", actions),
    ("param_ref", param_ref),
    ("whole_or_parts", whole_or_parts),
    ("identifier", identifier),
    ("param_kind", param_kind),
    ("mutation", mutation),
    ("param_version", param_version),
    ("validation", validation),
    ("message_expression", message_expression),
    ("audit_key", audit_key),
    ("mutating_operations", mutating_operations),
    ("some_validation", some_validation),
    ("new_event", new_event),
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
    for (index, version) in versions.iter().enumerate() {
        let path = format!("{}[{index}]", site.path());
        if versions.iter().take(index).any(|other| other == version) {
            faults.invalid(&path, version, "duplicate version");
        } else if let Some(fault) = label_1035_fault(version.as_str().unwrap_or_default()) {
            faults.invalid(&path, version, &fault);
        }
    }
    if !versions.is_empty() && !versions.iter().any(|version| version == "v1" || version == "v1beta1") {
        let sent = Value::Array(versions.to_vec());
        faults.invalid(&site.path(), &sent, "must include at least one of v1, v1beta1");
    }
}

fn client_config(site: &Site<'_>, faults: &mut Faults) {
    match (site.sets("url"), site.sets("service")) {
        (true, false) => {}
        (false, true) => {
            let service = site.map.get("service").unwrap_or(&Value::Null);
            return webhook_service_faults(&site.sub("service"), service, faults);
        }
        _ => return faults.required(&site.path(), "exactly one of url or service is required"),
    }
    webhook_url_faults(&site.sub("url"), site.text("url"), faults);
}

/// Checks which service a webhook is behind.
pub(crate) fn webhook_service_faults(at: &str, service: &Value, faults: &mut Faults) {
    // Upstream takes the one for the other.
    for (field, told) in [("name", "namespace"), ("namespace", "name")] {
        if is_empty(&service[field]) {
            faults.required(&format!("{at}.{told}"), "");
        }
    }
    let (path, port) = (service["path"].as_str(), service.get("port"));
    for fault in service_path_faults(path.unwrap_or_default()) {
        faults.invalid(&format!("{at}.path"), &path.into(), &fault);
    }
    if let Some(port) = port.filter(|port| !port.as_i64().is_some_and(|port| (1..=65535).contains(&port))) {
        let why = "port is not valid: must be between 1 and 65535, inclusive";
        faults.invalid(&format!("{at}.port"), port, why);
    }
}

/// Checks where a webhook is.
pub(crate) fn webhook_url_faults(path: &str, url: &str, faults: &mut Faults) {
    const FORM: &str = "; desired format: https://host[/path]";
    let url = match urls::parse(url) {
        Ok(url) => url,
        Err(why) => return faults.required(path, &format!("url must be a valid URL: {why}{FORM}")),
    };
    if url.scheme != "https" {
        faults.invalid(path, &json!(url.scheme), &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if url.host.is_empty() {
        faults.invalid(path, &json!(""), &format!("host must be specified{FORM}"));
    }
    if let Some(user) = url.user {
        faults.invalid(path, &json!(user), "user information is not permitted in the URL");
    }
    if !url.fragment.is_empty() {
        faults.invalid(path, &json!(url.fragment), "fragments are not permitted in the URL");
    }
    if !url.query.is_empty() {
        faults.invalid(path, &json!(url.query), "query parameters are not permitted in the URL");
    }
}

/// Why a text is not the path at which a service is called.
fn service_path_faults(path: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if matches!(path, "" | "/") {
        return faults;
    }
    if path == "//" {
        return vec!["segment[0] may not be empty".to_owned()];
    }
    if !path.starts_with('/') {
        faults.push("must start with a '/'".to_owned());
    }
    let inner = path.get(1..).unwrap_or_default();
    for (index, step) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if step.is_empty() {
            faults.push(format!("segment[{index}] may not be empty"));
        } else if let Some(fault) = subdomain_fault(step) {
            faults.push(format!("segment[{index}]: {fault}"));
        }
    }
    faults
}

/// The versions of what a rule is about have names.
fn rule_versions(site: &Site<'_>, faults: &mut Faults) {
    for (index, _) in site.items().iter().enumerate().filter(|(_, version)| *version == "") {
        faults.required(&format!("{}[{index}]", site.path()), "");
    }
}

/// What a rule is about is said once: not by a wildcard and by name.
fn rule_resources(site: &Site<'_>, faults: &mut Faults) {
    let (path, resources) = (site.path(), site.items());
    let mut whole: Vec<&str> = Vec::new();
    let mut everywhere: Vec<&str> = Vec::new();
    let mut plain = false;
    for (index, resource) in resources.iter().enumerate() {
        let (text, at) = (resource.as_str().unwrap_or_default(), format!("{path}[{index}]"));
        let Some((name, subresource)) = text.split_once('/') else {
            if text.is_empty() {
                faults.required(&at, "");
            } else {
                plain = text != "*";
            }
            continue;
        };
        if whole.contains(&name) {
            faults.invalid(&at, resource, &format!("if '{name}/*' is present, must not specify {text}"));
        }
        if everywhere.contains(&subresource) {
            faults.invalid(&at, resource, &format!("if '*/{subresource}' is present, must not specify {text}"));
        }
        if subresource == "*" {
            whole.push(name);
        }
        if name == "*" {
            everywhere.push(subresource);
        }
    }
    let has = |wanted: &str| resources.iter().any(|resource| resource == wanted);
    if resources.len() > 1 && has("*/*") {
        faults.invalid(&path, &Value::from(resources), "if '*/*' is present, must not specify other resources");
    }
    if has("*") && plain {
        let why = "if '*' is present, must not specify other resources without subresources";
        faults.invalid(&path, &Value::from(resources), why);
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
        (true, true) => {
            for field in ["name", "selector"] {
                faults.forbidden(&site.sub(field), "name and selector are mutually exclusive");
            }
        }
        _ => {}
    }
}

/// What a policy enters in the audit log has the policy's name before its own.
fn audit_key(site: &Site<'_>, faults: &mut Faults) {
    let whole = format!("{}/{}", site.root_name, site.value_text());
    for fault in qualified_name_faults(&whole) {
        faults.invalid(&site.path(), &json!(whole), &fault);
    }
}

/// What is changed is made or updated. Stands at rules; upstream does not tell which of them.
fn mutating_operations(site: &Site<'_>, faults: &mut Faults) {
    const KNOWN: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
    for operation in site.items().iter().flat_map(|rule| rule["operations"].as_array().into_iter().flatten()) {
        if !KNOWN.contains(&operation.as_str().unwrap_or_default()) {
            faults.not_supported(&site.sub("operations"), operation, &KNOWN);
        }
    }
}

fn message_expression(site: &Site<'_>, faults: &mut Faults) {
    if site.value.is_some() && site.value_text().trim().is_empty() && !site.value_text().is_empty() {
        faults.invalid(&site.path(), &Value::from(site.value_text()), "must be non-empty if specified");
    }
}

/// What a policy asks for, and what it says when it is not so.
fn validation(site: &Site<'_>, faults: &mut Faults) {
    let text = site.text("expression");
    if text.trim().is_empty() {
        faults.required(&site.sub("expression"), "expression is not specified");
    }
    let message = site.text("message");
    if !message.is_empty() && message.trim().is_empty() {
        faults.invalid(&site.sub("message"), &json!(message), "must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        faults.invalid(&site.sub("message"), &json!(message), "must not contain line breaks");
    }
}

fn some_validation(site: &Site<'_>, faults: &mut Faults) {
    if !site.has("validations") && !site.has("auditAnnotations") {
        let why = "validations or auditAnnotations must contain at least one item";
        faults.required(&site.sub("validations"), why);
        faults.required(&site.sub("auditAnnotations"), why);
    }
}

/// A list that has `*` has nothing else.
fn whole_or_parts(site: &Site<'_>, faults: &mut Faults) {
    let what = match &*site.field {
        "apiGroups" => "API groups",
        "apiVersions" => "API versions",
        _ => "operations",
    };
    let items = site.items();
    if items.len() > 1 && items.iter().any(|item| item == "*") {
        let why = format!("if '*' is present, must not specify other {what}");
        faults.invalid(&site.path(), &Value::Array(items.to_vec()), &why);
    }
}

/// A name that an expression can use.
fn identifier(site: &Site<'_>, faults: &mut Faults) {
    let name = site.value_text();
    let letter = |one: char| one.is_ascii_alphanumeric() || one == '_';
    let fine = name.chars().all(letter) && !name.starts_with(|first: char| first.is_ascii_digit());
    let reserved = matches!(name, "true" | "false" | "null" | "in");
    if !name.is_empty() && (!fine || reserved) {
        faults.invalid(&site.path(), &json!(name), "must be a valid CEL identifier");
    }
}

fn param_kind(site: &Site<'_>, faults: &mut Faults) {
    let kind = site.value_text();
    if let Some(fault) = label_1035_fault(&kind.to_lowercase()).filter(|_| !kind.is_empty()) {
        let why = format!("may have mixed case, but should otherwise match: {fault}");
        faults.invalid(&site.path(), &json!(kind), &why);
    }
}

/// A mutation is written in one of two ways, and says in which.
fn mutation(site: &Site<'_>, faults: &mut Faults) {
    const WAYS: [(&str, &str); 2] = [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")];
    let kind = site.text("patchType");
    for (known, field) in WAYS {
        let Some(one) = site.map.get(field).filter(|one| one.is_object()) else { continue };
        if known == kind {
            if one["expression"].as_str().is_none_or(|text| text.trim().is_empty()) {
                faults.required(&site.sub(&format!("{field}.expression")), "");
            }
        } else if WAYS.iter().any(|(known, _)| *known == kind) {
            let why = format!("must not be specified when patchType is {kind}");
            faults.invalid(&site.sub(field), &json!(format!("{{{field}}}")), &why);
        }
    }
}

fn param_version(site: &Site<'_>, faults: &mut Faults) {
    let sent = site.value_text();
    let (group, version) = sent.split_once('/').unwrap_or(("", sent));
    if version.contains('/') {
        faults.invalid(&site.path(), &json!(sent), &format!("unexpected GroupVersion string: {sent}"));
        return;
    }
    if let Some(fault) = subdomain_fault(group).filter(|_| !group.is_empty()) {
        faults.invalid(&site.path(), &json!(group), &fault);
    }
    match label_1035_fault(version) {
        _ if sent.is_empty() => {}
        _ if version.is_empty() => faults.invalid(&site.path(), &json!(sent), "version must be specified"),
        Some(fault) => faults.invalid(&site.path(), &json!(version), &fault),
        None => {}
    }
}

/// What every event with an `eventTime` says, in either form; messages have the field names of the older one.
fn new_event(site: &Site<'_>, faults: &mut Faults) {
    if !site.has("eventTime") {
        return;
    }
    let older = site.sets("involvedObject");
    let controller = if older { ("reportingComponent", "reportingComponent") } else { NEW_CONTROLLER };
    let name = site.text(controller.0);
    if name.is_empty() {
        faults.required(controller.1, "");
    }
    for fault in qualified_name_faults(name) {
        faults.invalid(controller.1, &json!(name), &fault);
    }
    for field in ["reportingInstance", "action", "reason"] {
        if site.text(field).is_empty() {
            faults.required(field, "");
        }
        if site.text(field).len() > 128 {
            faults.invalid(field, &json!(""), "can have at most 128 characters");
        }
    }
    if site.text(if older { "message" } else { "note" }).len() > 1024 {
        faults.invalid("message", &json!(""), "can have at most 1024 characters");
    }
}

const NEW_CONTROLLER: (&str, &str) = ("reportingController", "reportingController");

/// What an event of the newer form must say, and must leave to the older one.
fn event(site: &Site<'_>, faults: &mut Faults) {
    if let Some(old) = site.old_map.filter(|_| site.updates) {
        event_series(site, old.get("series"), faults);
        return event_kept(site, old, faults);
    }
    if !site.has("eventTime") {
        faults.required("eventTime", "");
    }
    let mut invalid = |field: &str, why: &str| faults.invalid(field, &json!(""), why);
    let kind = site.text("type");
    if !matches!(kind, "Normal" | "Warning") {
        invalid("type", &format!("has invalid value: {kind}"));
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
    event_series(site, None, faults);
}

/// How often a thing has happened, if that is new.
fn event_series(site: &Site<'_>, before: Option<&Value>, faults: &mut Faults) {
    let series = site.map.get("series").filter(|series| series.is_object() && Some(*series) != before);
    let Some(series) = series else { return };
    if series["count"].as_i64().unwrap_or(0) < 2 {
        faults.invalid("series.count", &json!(""), "should be at least 2");
    }
    if series["lastObservedTime"].is_null() {
        faults.required("series.lastObservedTime", "");
    }
}

/// An event of the newer form stays as it was made, but for its series.
fn event_kept(site: &Site<'_>, old: &Map<String, Value>, faults: &mut Faults) {
    for (field, old_name) in [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("reason", "reason"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        let same = |map: &Map<String, Value>| map.get(field).filter(|value| !is_empty(value)).cloned();
        let (before, after) = (same(old), same(site.map));
        if before != after {
            let gone = match before {
                Some(Value::String(_)) if !field.ends_with("stamp") && field != "eventTime" => json!(""),
                Some(Value::Number(_)) => json!(0),
                _ => Value::Null,
            };
            faults.invalid(old_name, &after.unwrap_or(gone), "field is immutable");
        }
    }
}

/// An event stands in the namespace of what it is about; one about an object without one, in `default`.
fn event_namespace(site: &Site<'_>, faults: &mut Faults) {
    let text =
        |value: Option<&Value>| value.and_then(|value| value["namespace"].as_str()).unwrap_or_default().to_owned();
    let own = text(site.map.get("metadata"));
    let about = text(site.value);
    let old = !site.has("eventTime");
    let fits = match about.as_str() {
        "" => own.is_empty() || own == "default" || (!old && own == "kube-system"),
        about => !old || own.is_empty() || own == about,
    };
    if !fits {
        faults.invalid("involvedObject.namespace", &Value::from(about), "does not match event.namespace");
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{changed, created, told};
    use crate::rules::admit_update;
    use serde_json::{Value, json};

    /// An object as an older version stored it, which took what is not taken today.
    fn stored(mut fine: Value, path: &str, odd: &str) -> crate::Object {
        let mut object = created(&fine).expect("a good object").into_value();
        *object.pointer_mut(path).expect("is there") = json!(odd);
        fine = object;
        crate::Object::from_value(fine).expect("an object")
    }

    #[test]
    fn expressions_that_were_taken_once_keep_nothing_else_from_being_changed() {
        let rules =
            json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
        let version = "admissionregistration.k8s.io/v1";
        let policy = json!({"apiVersion": version, "kind": "ValidatingAdmissionPolicy", "spec": {
            "matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "true"}],
            "matchConditions": [{"name": "c", "expression": "true"}],
        }});
        let webhook = json!({"apiVersion": version, "kind": "ValidatingWebhookConfiguration", "webhooks": [{
            "name": "a.example.com", "clientConfig": {"url": "https://a.example.com"}, "rules": rules,
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "matchConditions": [{"name": "c", "expression": "true"}],
        }]});
        let odd = "int('x') == 1";
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        for (object, path) in [
            (&policy, "/spec/validations/0/expression"),
            (&policy, "/spec/matchConditions/0/expression"),
            (&webhook, "/webhooks/0/matchConditions/0/expression"),
        ] {
            let old = stored(object.clone(), path, odd);
            assert_eq!(told(changed(admit_update, &old, &label)), [""; 0], "{path}");
            let fresh = created(object).expect("a good object");
            let mut new = fresh.clone().into_value();
            *new.pointer_mut(path).expect("is there") = json!(odd);
            assert_eq!(told(changed(admit_update, &fresh, &new)).len(), 1, "{path} is looked at when it is new");
        }
        // It must know what it knew.
        let old = stored(policy, "/spec/validations/0/expression", odd);
        let params = json!({"spec": {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}});
        assert_eq!(told(changed(admit_update, &old, &params)).len(), 1);
    }
}
