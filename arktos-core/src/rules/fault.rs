//! Faults of fields, in the API's words.

use std::fmt;

use serde_json::{Map, Value};

use crate::schema::Path;
use crate::status::StatusCause;

/// The faults found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<StatusCause>);

/// A field that is being checked.
pub(super) struct Site<'a> {
    /// The object that the field stands in.
    pub(super) map: &'a Map<String, Value>,
    /// Where that object stands.
    pub(super) at: &'a Path<'a>,
    /// The field's path within the object.
    pub(super) field: String,
    /// The field.
    pub(super) value: Option<&'a Value>,
    /// The field before the update.
    pub(super) old: Option<&'a Value>,
    /// Whether this is an update of the object.
    pub(super) updates: bool,
    /// The whole object.
    pub(super) root: &'a Map<String, Value>,
}

impl Site<'_> {
    /// The field's whole path.
    pub(super) fn path(&self) -> String {
        join(self.at, &self.field)
    }
}

/// A path and what follows it.
pub(super) fn join(at: &dyn fmt::Display, field: &str) -> String {
    let at = at.to_string();
    match (at.is_empty(), field.is_empty() || field.starts_with('[')) {
        (true, _) => field.to_owned(),
        (false, true) => format!("{at}{field}"),
        (false, false) => format!("{at}.{field}"),
    }
}

/// Whether a value is as good as none.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Faults {
    fn add(&mut self, reason: &str, field: &str, message: String) {
        self.0.push(StatusCause { reason: reason.to_owned(), message, field: field.to_owned() });
    }

    /// A value that must be there is not.
    pub(super) fn required(&mut self, field: &str, detail: &str) {
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        self.add("FieldValueRequired", field, format!("Required value{detail}"));
    }

    /// A value is not as it must be.
    pub(super) fn invalid(&mut self, field: &str, value: &Value, why: &str) {
        self.add("FieldValueInvalid", field, format!("Invalid value: {value}: {why}"));
    }

    /// As [`invalid`](Self::invalid), for a value that messages show in a form of its own.
    pub(super) fn invalid_text(&mut self, field: &str, value: &str, why: &str) {
        self.add("FieldValueInvalid", field, format!("Invalid value: {value}: {why}"));
    }

    /// A value is there that must not be.
    pub(super) fn forbidden(&mut self, field: &str, why: &str) {
        self.add("FieldValueForbidden", field, format!("Forbidden: {why}"));
    }

    /// A value stands twice.
    pub(super) fn duplicate(&mut self, field: &str, value: &Value) {
        self.add("FieldValueDuplicate", field, format!("Duplicate value: {value}"));
    }

    /// A value is none of those there are.
    pub(super) fn not_supported(&mut self, field: &str, value: &Value, options: &[&str]) {
        let options: Vec<String> = options.iter().map(|option| format!("\"{option}\"")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", options.join(", "));
        self.add("FieldValueNotSupported", field, message);
    }

    /// A text is too long.
    pub(super) fn too_long(&mut self, field: &str, most: usize) {
        self.add("FieldValueTooLong", field, format!("Too long: may not be more than {most} bytes"));
    }

    /// What a value names is not there.
    pub(super) fn not_found(&mut self, field: &str, value: &Value) {
        self.add("FieldValueNotFound", field, format!("Not found: {value}"));
    }
}
