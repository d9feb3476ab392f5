//! A request for a certificate, as far as controllers read it.

use std::collections::BTreeMap;

use arktos_core::{Object, Status, Timestamp};
use arktos_store::Stored;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::write::unreadable;

/// A CertificateSigningRequest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    pub(super) spec: Spec,
    pub(super) status: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) signer_name: String,
    request: String,
    pub(super) usages: Vec<String>,
    pub(super) expiration_seconds: Option<i64>,
    pub(super) username: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub(super) conditions: Vec<Condition>,
    pub(super) certificate: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    pub(super) last_update_time: Option<Timestamp>,
}

impl Request {
    pub(super) fn read(stored: &Stored) -> Result<Self, Status> {
        stored.object.parse().map_err(unreadable)
    }

    /// The request itself, PEM.
    pub(super) fn pem(&self) -> Vec<u8> {
        STANDARD.decode(&self.spec.request).unwrap_or_default()
    }

    /// A condition that holds.
    pub(super) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.kind == kind && condition.status != "False")
    }
}

/// Adds a condition to a request's.
pub(super) fn add_condition(object: &mut Object, kind: &str, reason: &str, message: &str) {
    let mut conditions = object.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.push(json!({"type": kind, "status": "True", "reason": reason, "message": message}));
    object.set(&["status", "conditions"], conditions);
}
