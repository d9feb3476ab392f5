//! The rows of access, admission and flow control.

use arktos_store::Stored;
use serde_json::Value;

use super::age::human_duration;
use super::row::{Cells, NONE, Row, UNSET, cells, printed_selector, text};

pub fn role_binding(row: &Row<'_>) -> Cells {
    let subjects = |kind: &str| {
        let named = row.list("/subjects").iter().filter(|subject| text(subject, "/kind") == kind);
        let names = named.map(|subject| match kind {
            "ServiceAccount" => format!("{}/{}", text(subject, "/namespace"), text(subject, "/name")),
            _ => text(subject, "/name").to_owned(),
        });
        names.collect::<Vec<_>>().join(", ")
    };
    cells![
        row.name(),
        format!("{}/{}", row.text("/roleRef/kind"), row.text("/roleRef/name")),
        row.age(),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

pub fn signing_request(row: &Row<'_>) -> Cells {
    let has = |condition: &str| row.condition(condition).is_some();
    let mut state = if has("Denied") {
        "Denied".to_owned()
    } else if has("Approved") {
        "Approved".to_owned()
    } else {
        "Pending".to_owned()
    };
    if has("Failed") {
        state += ",Failed";
    }
    if !row.text("/status/certificate").is_empty() {
        state += ",Issued";
    }
    let duration = row.at("/spec/expirationSeconds").and_then(Value::as_i64);
    cells![
        row.name(),
        row.age(),
        row.text_or("/spec/signerName", NONE),
        row.text("/spec/username"),
        duration.map_or_else(|| NONE.to_owned(), human_duration),
        state,
    ]
}

pub fn webhooks(row: &Row<'_>) -> Cells {
    cells![row.name(), row.count("/webhooks"), row.age()]
}

pub fn validating_policy(row: &Row<'_>) -> Cells {
    cells![row.name(), row.count("/spec/validations"), parameter_kind(row), row.age()]
}

pub fn mutating_policy(row: &Row<'_>) -> Cells {
    cells![row.name(), row.count("/spec/mutations"), parameter_kind(row), row.age()]
}

fn parameter_kind(row: &Row<'_>) -> String {
    row.at("/spec/paramKind")
        .map_or_else(|| UNSET.to_owned(), |kind| format!("{}/{}", text(kind, "/apiVersion"), text(kind, "/kind")))
}

pub fn policy_binding(row: &Row<'_>) -> Cells {
    let parameter = row.at("/spec/paramRef").map_or_else(
        || UNSET.to_owned(),
        |parameter| match (text(parameter, "/namespace"), text(parameter, "/name")) {
            ("", "") => parameter.get("selector").map_or_else(|| UNSET.to_owned(), printed_selector),
            // Whether it has a namespace cannot be seen from here.
            ("", name) => format!("*/{name}"),
            (namespace, name) => format!("{namespace}/{name}"),
        },
    );
    cells![row.name(), row.text("/spec/policyName"), parameter, row.age()]
}

pub fn api_service(row: &Row<'_>) -> Cells {
    let service = row.at("/spec/service").map_or_else(
        || "Local".to_owned(),
        |service| format!("{}/{}", text(service, "/namespace"), text(service, "/name")),
    );
    let available = row.condition("Available").map_or_else(
        || "Unknown".to_owned(),
        |condition| match text(condition, "/status") {
            "True" => "True".to_owned(),
            status => format!("{status} ({})", text(condition, "/reason")),
        },
    );
    cells![row.name(), service, available, row.age()]
}

pub fn flow_schema(row: &Row<'_>) -> Cells {
    let dangling = row.condition("Dangling").map_or("?", |condition| text(condition, "/status"));
    cells![
        row.name(),
        row.text("/spec/priorityLevelConfiguration/name"),
        row.int("/spec/matchingPrecedence"),
        row.text_or("/spec/distinguisherMethod/type", NONE),
        row.age(),
        dangling,
    ]
}

/// Which flow schema is looked at first: what is less comes before.
pub fn precedence(stored: &Stored) -> i64 {
    let schema = stored.object.decode(None).unwrap_or_default();
    schema.at(&["spec", "matchingPrecedence"]).and_then(Value::as_i64).unwrap_or_default()
}

pub fn priority_level(row: &Row<'_>) -> Cells {
    let limited = |field: &str| row.at(&format!("/spec/limited/{field}")).cloned().unwrap_or_else(|| NONE.into());
    cells![
        row.name(),
        row.text("/spec/type"),
        limited("nominalConcurrencyShares"),
        limited("limitResponse/queuing/queues"),
        limited("limitResponse/queuing/handSize"),
        limited("limitResponse/queuing/queueLengthLimit"),
        row.age(),
    ]
}
