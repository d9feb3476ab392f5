//! What a client is told when a request fails: the API's `Status` object.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kind::GroupResource;

/// The answer to a request that failed, as the API writes it. It is this project's error type wherever an error can
/// reach a client.
///
/// ```
/// use arktos_core::{GroupResource, Reason, Status};
///
/// let status = Status::not_found(&GroupResource::new("apps", "deployments"), "web");
/// assert_eq!(status.message, "deployments.apps \"web\" not found");
/// assert_eq!(status.code, 404);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename = "Status", rename_all = "camelCase")]
#[error("{message}")]
#[non_exhaustive]
pub struct Status {
    /// Always `v1`.
    #[serde(default = "v1")]
    pub api_version: String,
    /// Always empty, unless it carries a continue token for a client whose own has expired.
    #[serde(default)]
    pub metadata: StatusMeta,
    /// `Success` or `Failure`.
    #[serde(default)]
    pub status: String,
    /// What happened, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What happened, for a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<StatusDetails>,
    /// The HTTP code; zero, and not written, with success.
    #[serde(default, skip_serializing_if = "is_no_code")]
    pub code: u16,
}

/// A Status's `metadata`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusMeta {
    /// Where a list whose continue token has expired can go on, inconsistently.
    #[serde(rename = "continue", default, skip_serializing_if = "String::is_empty")]
    pub continue_token: String,
    /// The list's revision, beside a continue token.
    #[serde(rename = "resourceVersion", default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
}

/// What a failure happened to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusDetails {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The group of the resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource (or, for invalid objects, the kind).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One entry for each thing that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// How long a client should wait before it tries again, in seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusCause {
    /// What kind of fault, such as `FieldValueRequired`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The fault, for a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field, such as `spec.containers[0].name`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// Why a request failed, for a program. Each has one HTTP code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs)] // the API's own words
pub enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    NotImplemented,
    ServiceUnavailable,
    ServerTimeout,
    Timeout,
    /// A reason this version does not know.
    #[serde(other)]
    Unknown,
}

impl Reason {
    /// The HTTP code of this reason.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Gone | Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::NotImplemented => 501,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
            Self::InternalError | Self::ServerTimeout | Self::Unknown => 500,
        }
    }
}

impl Status {
    /// A failure with a reason and a message, without details.
    #[must_use]
    pub fn failure(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            api_version: v1(),
            metadata: StatusMeta::default(),
            status: "Failure".to_owned(),
            message: message.into(),
            reason: Some(reason),
            details: None,
            code: reason.code(),
        }
    }

    /// Success, as a deletion answers it.
    #[must_use]
    pub fn success(details: Option<StatusDetails>) -> Self {
        Self {
            api_version: v1(),
            metadata: StatusMeta::default(),
            status: "Success".to_owned(),
            message: String::new(),
            reason: None,
            details,
            code: 0,
        }
    }

    /// The same failure with details.
    #[must_use]
    pub fn with_details(mut self, details: StatusDetails) -> Self {
        self.details = Some(details);
        self
    }

    /// The same failure, with a wait that the client is asked to keep before it tries again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// 404 for one object.
    #[must_use]
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::about(Reason::NotFound, resource, name, format!("{resource} \"{name}\" not found"))
    }

    /// 409 for a name that is taken.
    #[must_use]
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::about(Reason::AlreadyExists, resource, name, format!("{resource} \"{name}\" already exists"))
    }

    /// 409 for a write against a state that has moved on; `why` follows the object's name.
    #[must_use]
    pub fn conflict(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::about(Reason::Conflict, resource, name, message)
    }

    /// 403; `why` follows the object's name.
    #[must_use]
    pub fn forbidden(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} \"{name}\" is forbidden: {why}")
        };
        Self::about(Reason::Forbidden, resource, name, message)
    }

    /// 422 for an object with faults, one cause each. `kind` is the object's kind and `group` its group.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<StatusCause>) -> Self {
        let full_kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let (mut faults, mut told) = (Vec::with_capacity(causes.len()), HashSet::with_capacity(causes.len()));
        for cause in &causes {
            let fault = match cause.field.as_str() {
                "" => cause.message.clone(),
                field => format!("{field}: {}", cause.message),
            };
            // What is told twice as a cause is said once.
            if told.insert(fault.clone()) {
                faults.push(fault);
            }
        }
        let summary: String = match faults.as_slice() {
            [one] => String::clone(one),
            many => format!("[{}]", many.join(", ")),
        };
        Self::failure(Reason::Invalid, format!("{full_kind} \"{name}\" is invalid: {summary}")).with_details(
            StatusDetails {
                name: name.to_owned(),
                group: group.to_owned(),
                kind: kind.to_owned(),
                causes,
                ..StatusDetails::default()
            },
        )
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(Reason::BadRequest, message)
    }

    /// 500, for what is this server's own fault.
    #[must_use]
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::failure(Reason::InternalError, format!("Internal error occurred: {message}"))
    }

    /// 500 without a reason: what upstream answers when an error was not made for clients.
    #[must_use]
    pub fn unexplained(message: impl Into<String>) -> Self {
        Self { reason: None, ..Self::failure(Reason::InternalError, message) }
    }

    /// 410, for a revision that history does not reach back to.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(Reason::Expired, message)
    }

    /// Whether the reason is `reason`.
    #[must_use]
    pub fn is(&self, reason: Reason) -> bool {
        self.reason == Some(reason)
    }

    fn about(reason: Reason, resource: &GroupResource, name: &str, message: String) -> Self {
        Self::failure(reason, message).with_details(StatusDetails {
            name: name.to_owned(),
            group: resource.group().to_owned(),
            kind: resource.resource().to_owned(),
            ..StatusDetails::default()
        })
    }
}

fn v1() -> String {
    "v1".to_owned()
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_no_code(code: &u16) -> bool {
    *code == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_as_the_api_writes_it() {
        let status = Status::not_found(&GroupResource::core("pods"), "web");
        let written = serde_json::to_value(&status).expect("a status is json");
        assert_eq!(
            written,
            serde_json::json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "pods \"web\" not found", "reason": "NotFound",
                "details": {"name": "web", "kind": "pods"}, "code": 404,
            })
        );
        assert_eq!(serde_json::from_value::<Status>(written).expect("reads back"), status);
    }
}
