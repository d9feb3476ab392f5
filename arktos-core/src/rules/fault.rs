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
    /// The object that the field stood in before the update.
    pub(super) old_map: Option<&'a Map<String, Value>>,
    /// The kind of the whole object.
    pub(super) root_kind: &'a str,
    /// The name of the whole object.
    pub(super) root_name: &'a str,
    /// Whether this is an update of the object.
    pub(super) updates: bool,
}

impl Site<'_> {
    /// The field's whole path.
    pub(super) fn path(&self) -> String {
        join(self.at, &self.field)
    }

    /// The path of something below the field.
    pub(super) fn sub(&self, field: &str) -> String {
        join(&self.path(), field)
    }

    /// A text field of the object that the field stands in; empty when there is none.
    pub(super) fn text(&self, field: &str) -> &str {
        self.map.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The items of a list field of the object that the field stands in.
    pub(super) fn list(&self, field: &str) -> &[Value] {
        self.map.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Whether the object that the field stands in has another field that is not empty.
    pub(super) fn has(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(|value| !is_empty(value))
    }

    /// Whether the object that the field stands in has another field at all.
    pub(super) fn sets(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(|value| !value.is_null())
    }

    /// The field as text; empty when it is none.
    pub(super) fn value_text(&self) -> &str {
        self.value.and_then(Value::as_str).unwrap_or_default()
    }

    /// The field as a list; empty when it is none.
    pub(super) fn items(&self) -> &[Value] {
        self.value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
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

    /// As [`duplicate`](Self::duplicate), for a value that messages show in a form of its own.
    pub(super) fn duplicate_text(&mut self, field: &str, value: &str) {
        self.add("FieldValueDuplicate", field, format!("Duplicate value: {value}"));
    }

    /// As [`invalid`](Self::invalid), for a value that messages do not show.
    pub(super) fn invalid_bare(&mut self, field: &str, why: &str) {
        self.add("FieldValueInvalid", field, format!("Invalid value: {why}"));
    }

    /// A value is none of those there are.
    pub(super) fn not_supported(&mut self, field: &str, value: &Value, options: &[&str]) {
        self.not_supported_text(field, &value.to_string(), options);
    }

    /// As [`not_supported`](Self::not_supported), for a value that messages show in a form of its own.
    pub(super) fn not_supported_text(&mut self, field: &str, value: &str, options: &[&str]) {
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
