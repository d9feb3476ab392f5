//! Faults of fields, in the API's words.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::schema::Path;
use crate::status::StatusCause;

/// How many faults are told of. An object of megabytes can have a million, which nobody reads.
const FAULTS_MAX: usize = 1000;
/// How much is said of them, in bytes: each can show a value of megabytes.
const SAID_MAX: usize = 4 << 20;

/// How long all expressions of one policy, or webhook configuration, may be together, in bytes.
const EXPRESSIONS_MAX: usize = 256 * 1024;

/// The faults found so far; and those that are told alone, found before the rest is looked at.
#[derive(Debug, Default)]
pub(crate) struct Faults(pub(crate) Vec<StatusCause>, pub(crate) Vec<StatusCause>, pub(crate) Looked);

/// What of the object's expressions has been looked at: that costs far more than other fields do.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// How long they are together.
    length: usize,
    /// How many regular expressions were compiled.
    pub(crate) patterns: Rc<Cell<usize>>,
}

/// A field that is being checked.
pub(crate) struct Site<'a> {
    /// The object that the field stands in.
    pub(crate) map: &'a Map<String, Value>,
    /// Where that object stands.
    pub(crate) at: &'a Path<'a>,
    /// The field's path within the object.
    pub(crate) field: Cow<'a, str>,
    /// The field.
    pub(crate) value: Option<&'a Value>,
    /// The field before the update.
    pub(crate) old: Option<&'a Value>,
    /// The object that the field stood in before the update.
    pub(crate) old_map: Option<&'a Map<String, Value>>,
    /// The kind of the whole object.
    pub(crate) root_kind: &'a str,
    /// The name of the whole object.
    pub(crate) root_name: &'a str,
    /// The claims that each pod of a stateful set is given.
    pub(crate) templates: &'a [Value],
    /// Whether this is an update of the object.
    pub(crate) updates: bool,
}

impl Site<'_> {
    /// The field's whole path.
    pub(crate) fn path(&self) -> String {
        join(self.at, &self.field)
    }

    /// The path of something below the field.
    pub(crate) fn sub(&self, field: &str) -> String {
        join(&self.path(), field)
    }

    /// A text field of the object that the field stands in; empty when there is none.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.map.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The items of a list field of the object that the field stands in.
    pub(crate) fn list(&self, field: &str) -> &[Value] {
        self.map.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Whether the object that the field stands in has another field that is not empty.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(|value| !is_empty(value))
    }

    /// Whether the object that the field stands in has another field at all.
    pub(crate) fn sets(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(|value| !value.is_null())
    }

    /// The field as text; empty when it is none.
    pub(crate) fn value_text(&self) -> &str {
        self.value.and_then(Value::as_str).unwrap_or_default()
    }

    /// The field as a list; empty when it is none.
    pub(crate) fn items(&self) -> &[Value] {
        self.value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// A path and what follows it.
pub(crate) fn join(at: &dyn fmt::Display, field: &str) -> String {
    let at = at.to_string();
    match (at.is_empty(), field.is_empty() || field.starts_with('[')) {
        (true, _) => field.to_owned(),
        (false, true) => format!("{at}{field}"),
        (false, false) => format!("{at}.{field}"),
    }
}

/// Whether a value is as good as none.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a field stands below one that is not read because another one is set, and is not a volume's.
fn below_unread(field: &str, refused: &[String]) -> bool {
    let below = |at: &String| field.strip_prefix(at.as_str()).is_some_and(|rest| rest.starts_with('.'));
    !field.ends_with(".serviceAccountToken") && refused.iter().any(below)
}

/// What upstream does not look at where it has found this.
fn unread_because_of(cause: &StatusCause) -> Vec<String> {
    let (field, message) = (cause.field.as_str(), cause.message.as_str());
    let beside = |names: &[&str]| {
        let at = field.rsplit_once('.').map_or("", |(at, _)| at);
        names.iter().map(|name| join(&at, name)).collect()
    };
    let first = message.starts_with("Forbidden: must be nil if the type is ");
    if first || message.ends_with(": may not specify more than two policyTypes") {
        vec![field.to_owned()]
    } else if message.ends_with("supported values: \"Exempt\", \"Limited\"") {
        beside(&["exempt", "limited"])
    } else if message.ends_with("supported values: \"Queue\", \"Reject\"") {
        beside(&["queuing"])
    } else if message.ends_with("`firstAvailable` is required, but multiple fields are set") {
        ["exactly", "firstAvailable"].map(|name| join(&field, name)).to_vec()
    } else if field == "spec.selector"
        && message.starts_with("Invalid value: ")
        && (message.ends_with('}') || message.ends_with(": invalid label selector"))
    {
        beside(&["template"])
    } else {
        Vec::new()
    }
}

impl Faults {
    /// Drops what is told of fields that are not read because of another fault.
    pub(crate) fn forget_unread(&mut self) {
        let unread: Vec<String> = self.0.iter().flat_map(unread_because_of).collect();
        if unread.is_empty() {
            return;
        }
        let below = |field: &str| {
            let mut rests = unread.iter().filter_map(|at| field.strip_prefix(at.as_str()));
            rests.any(|rest| rest.starts_with(['.', '[']))
        };
        // What a stateful set says of its template beside what a pod says of itself.
        let set = self.0.iter().any(|cause| cause.field == "spec.selector" && cause.message.ends_with('}'));
        let of_set = ["supported values: \"Always\"", "in StatefulSet is not Supported"];
        let stays = |message: &str| set && of_set.iter().any(|end| message.ends_with(end));
        self.0.retain(|cause| !below(&cause.field) || stays(&cause.message));
    }

    /// Of several things where one may be, the first is looked at: of the others, only that they are there is told.
    pub(crate) fn forget_below_refused(&mut self) {
        const MORE: &str = "Forbidden: may not specify more than 1 ";
        const INLINE: &str = "Forbidden: must specify exactly one of inlineVolume";
        const PLAIN: &str = "Forbidden: may not be set for init containers without restartPolicy=Always";
        const NIL: &str = "Forbidden: must be nil if limited.limitResponse.type is not Limited";
        const OTHER: &str = " is forbidden when subject kind is not '";
        const LATE: &str = "Forbidden: cannot be set for an Ephemeral Container";
        const UNREAD: [&str; 4] = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];
        self.forget_empty();
        // Two fields are told of under names that are not theirs.
        let at = |cause: &StatusCause| match cause.field.rsplit_once('.') {
            Some((at, "cephFS")) => format!("{at}.cephfs"),
            Some((at, "downwarAPI")) => format!("{at}.downwardAPI"),
            _ => cause.field.clone(),
        };
        let is_unread = |cause: &StatusCause| UNREAD.iter().any(|field| cause.field.ends_with(field));
        let refused = |cause: &&StatusCause| {
            let (message, unread) = (cause.message.as_str(), is_unread(cause));
            let first = [MORE, INLINE, NIL].iter().any(|begin| message.starts_with(begin));
            // Of what is projected, all is looked at.
            first && !message.ends_with(" per source")
                || message.contains(OTHER)
                || unread && (message == PLAIN || message == LATE)
        };
        let refused: Vec<String> = self.0.iter().filter(refused).map(at).collect();
        if refused.is_empty() {
            return;
        }
        let below = |field: &str| {
            let below = |at: &String| field.strip_prefix(at.as_str()).is_some_and(|rest| rest.starts_with('.'));
            refused.iter().any(below)
        };
        // What the pod says of a source, and not the source of itself.
        const OF_POD: &str = "Forbidden: must not be specified when serviceAccountName is not set";
        let alone = [MORE, INLINE, NIL, PLAIN, LATE, OF_POD];
        let told = |message: &str| alone.iter().any(|told| message.starts_with(told)) || message.contains(OTHER);
        let unread = |field: &String| below(field) || refused.contains(field);
        self.0.retain(|cause| !unread(&cause.field) || told(&cause.message) && !below_unread(&cause.field, &refused));
    }

    /// What must be there and is not is not told to be none of those there are, too (but for two fields, of which
    /// it is).
    fn forget_empty(&mut self) {
        let missing: HashSet<String> = self
            .0
            .iter()
            .filter(|cause| cause.message.starts_with("Required value"))
            .map(|cause| cause.field.clone())
            .filter(|field| !field.starts_with("spec.metrics[") && !field.ends_with(".azureDisk.diskURI"))
            .collect();
        let empty = |cause: &StatusCause| cause.message.starts_with("Unsupported value: \"\":");
        self.0.retain(|cause| !empty(cause) || !missing.contains(&cause.field));
    }

    /// Whether an expression is to be looked at: all together may be only so long. The one that is too much is told.
    pub(crate) fn may_read(&mut self, field: &str, expression: &str) -> bool {
        let before = self.2.length;
        self.2.length = before.saturating_add(expression.len());
        if before <= EXPRESSIONS_MAX && self.2.length > EXPRESSIONS_MAX {
            self.forbidden(field, &format!("all expressions together may not be longer than {EXPRESSIONS_MAX} bytes"));
        }
        self.2.length <= EXPRESSIONS_MAX
    }

    /// Counts an expression that was there before: it need not be looked at, but leaves less room for others.
    pub(crate) fn keep(&mut self, expression: &str) {
        self.2.length = self.2.length.saturating_add(expression.len()).min(EXPRESSIONS_MAX);
    }

    /// Whether no more are told of.
    pub(crate) fn is_full(&self) -> bool {
        let said = |cause: &StatusCause| cause.message.len() + cause.field.len();
        self.0.len() >= FAULTS_MAX || self.0.iter().map(said).sum::<usize>() >= SAID_MAX
    }

    /// Adds the faults that were found by themselves.
    pub(crate) fn extend(&mut self, found: Self) {
        for cause in found.0 {
            if self.is_full() {
                return;
            }
            self.0.push(cause);
        }
    }

    /// The message is not even written where it is not told.
    fn add(&mut self, reason: &str, field: &str, message: fmt::Arguments<'_>) {
        if self.is_full() {
            return;
        }
        self.0.push(StatusCause { reason: reason.to_owned(), message: message.to_string(), field: field.to_owned() });
    }

    /// A value that must be there is not.
    pub(crate) fn required(&mut self, field: &str, detail: &str) {
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        self.add("FieldValueRequired", field, format_args!("Required value{detail}"));
    }

    /// A value is not as it must be.
    pub(crate) fn invalid(&mut self, field: &str, value: &Value, why: &str) {
        self.add("FieldValueInvalid", field, format_args!("Invalid value: {value}: {why}"));
    }

    /// As [`invalid`](Self::invalid), for a value that messages show in a form of its own.
    pub(crate) fn invalid_text(&mut self, field: &str, value: &str, why: &str) {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        self.add("FieldValueInvalid", field, format_args!("Invalid value: {value}{why}"));
    }

    /// Something does not work that nobody sent.
    pub(crate) fn internal(&mut self, field: &str, why: &str) {
        self.add("InternalError", field, format_args!("Internal error: {why}"));
    }

    /// A value is there that must not be.
    pub(crate) fn forbidden(&mut self, field: &str, why: &str) {
        self.add("FieldValueForbidden", field, format_args!("Forbidden: {why}"));
    }

    /// A value stands twice.
    pub(crate) fn duplicate(&mut self, field: &str, value: &Value) {
        self.add("FieldValueDuplicate", field, format_args!("Duplicate value: {value}"));
    }

    /// As [`duplicate`](Self::duplicate), for a value that messages show in a form of its own.
    pub(crate) fn duplicate_text(&mut self, field: &str, value: &str) {
        self.add("FieldValueDuplicate", field, format_args!("Duplicate value: {value}"));
    }

    /// As [`duplicate`](Self::duplicate), for a value that messages do not show.
    pub(crate) fn duplicate_bare(&mut self, field: &str) {
        self.add("FieldValueDuplicate", field, format_args!("Duplicate value"));
    }

    /// As [`invalid`](Self::invalid), for a value that messages do not show.
    pub(crate) fn invalid_bare(&mut self, field: &str, why: &str) {
        self.add("FieldValueInvalid", field, format_args!("Invalid value: {why}"));
    }

    /// A value is none of those there are.
    pub(crate) fn not_supported(&mut self, field: &str, value: &Value, options: &[&str]) {
        self.not_supported_text(field, &value.to_string(), options);
    }

    /// As [`not_supported`](Self::not_supported), for a value that messages show in a form of its own.
    pub(crate) fn not_supported_text(&mut self, field: &str, value: &str, options: &[&str]) {
        let options: Vec<String> = options.iter().map(|option| format!("\"{option}\"")).collect();
        let options = options.join(", ");
        self.add(
            "FieldValueNotSupported",
            field,
            format_args!("Unsupported value: {value}: supported values: {options}"),
        );
    }

    /// A text is too long.
    pub(crate) fn too_long(&mut self, field: &str, most: usize) {
        let bytes = if most == 1 { "byte" } else { "bytes" };
        self.add("FieldValueTooLong", field, format_args!("Too long: may not be more than {most} {bytes}"));
    }

    /// A value is of the wrong type.
    pub(crate) fn wrong_type(&mut self, field: &str, value: &Value, why: &str) {
        self.add("FieldValueTypeInvalid", field, format_args!("Invalid value: {value}: {why}"));
    }

    /// There are more items than there may be.
    pub(crate) fn too_many(&mut self, field: &str, found: u64, most: u64) {
        let items = if most == 1 { "item" } else { "items" };
        self.add("FieldValueTooMany", field, format_args!("Too many: {found}: must have at most {most} {items}"));
    }

    /// As [`not_found`](Self::not_found), with what there is.
    pub(crate) fn not_found_text(&mut self, field: &str, value: &Value, detail: &str) {
        self.add("FieldValueNotFound", field, format_args!("Not found: {value}: {detail}"));
    }

    /// What a value names is not there.
    pub(crate) fn not_found(&mut self, field: &str, value: &Value) {
        self.add("FieldValueNotFound", field, format_args!("Not found: {value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_up_to_a_length_that_they_have_together() {
        let mut faults = Faults::default();
        let long = "x".repeat(60 * 1024);
        let read = (0..1000).filter(|at| faults.may_read(&format!("spec.variables[{at}]"), &long)).count();
        assert_eq!((read, faults.0.len()), (4, 1));
        assert_eq!(faults.0[0].field, "spec.variables[4]");
    }

    #[test]
    fn what_is_told_of_is_bounded_in_number_and_in_length() {
        let of = |value: Value| {
            let mut faults = Faults::default();
            (0..2 * FAULTS_MAX).for_each(|_| faults.invalid("spec", &value, "is wrong"));
            let mut again = Faults::default();
            (0..3).for_each(|_| again.extend(Faults(faults.0.clone(), Vec::new(), Looked::default())));
            assert_eq!(again.0.len(), faults.0.len());
            faults.0.len()
        };
        assert_eq!(of("short".into()), FAULTS_MAX);
        assert_eq!(of("x".repeat(SAID_MAX / 4).into()), 4);
        assert_eq!(of("x".repeat(2 * SAID_MAX).into()), 1);
    }
}
