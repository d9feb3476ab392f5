//! What expressions in CEL see of a schema: of which type values are, which fields they have, and how large they
//! may be. (apiserver's declarations of types.)

use std::sync::LazyLock;

use super::structural::{Structural, Values};
use crate::cel::types::Type;

/// The size of what has no limit: a request's.
const REQUEST: u64 = 3 << 20;

/// What an object has whatever its schema says, unless that says all of it.
static TEXT: LazyLock<Structural> = LazyLock::new(|| Structural::compile(&serde_json::json!({"type": "string"})));
static META: LazyLock<Structural> = LazyLock::new(|| {
    let text = serde_json::json!({"type": "string"});
    Structural::compile(&serde_json::json!({"type": "object", "properties": {"name": text, "generateName": text}}))
});

/// The type of what a schema describes; of a whole object, where `root`.
pub(crate) fn cel_type(schema: &Structural, root: bool) -> Type<'_> {
    if schema.int_or_string {
        return Type::Dyn;
    }
    match (&*schema.type_name, &*schema.limits.format_name) {
        ("string", "date-time" | "date") => Type::Timestamp,
        ("string", "duration") => Type::Duration,
        ("string", "byte") => Type::Bytes,
        ("string", _) => Type::String,
        ("boolean", _) => Type::Bool,
        ("integer", _) => Type::Int,
        ("number", _) => Type::Double,
        ("array", _) => Type::list(schema.items.as_deref().map_or(Type::Dyn, |items| cel_type(items, items.embedded))),
        ("object", _) => match &schema.values {
            Values::Schema(values) => Type::map(Type::String, cel_type(values, values.embedded)),
            Values::Any | Values::None => Type::Object(schema, root || schema.embedded),
        },
        _ => Type::Dyn,
    }
}

/// The type of a field of what a schema describes; of a whole object, where `whole`.
pub(crate) fn cel_field<'a>(schema: &'a Structural, whole: bool, field: &str) -> Option<Type<'a>> {
    seen_field(schema, whole, field).map(|field| cel_type(field, field.embedded))
}

fn seen_field<'a>(schema: &'a Structural, whole: bool, field: &str) -> Option<&'a Structural> {
    let name = super::cel::unescaped(field)?;
    property(schema, whole, &name).filter(|found| found.seen)
}

fn property<'a>(schema: &'a Structural, whole: bool, name: &str) -> Option<&'a Structural> {
    match name {
        "apiVersion" | "kind" if whole && !says_all(schema) => Some(&TEXT),
        "metadata" if whole && !says_all(schema) => Some(&META),
        _ => schema.properties.get(name),
    }
}

/// Whether a schema itself says what every object has.
fn says_all(schema: &Structural) -> bool {
    let is = |schema: Option<&Structural>, of: &str| schema.is_some_and(|schema| &*schema.type_name == of);
    let metadata = schema.properties.get("metadata");
    let in_metadata = |name: &str| metadata.and_then(|metadata| metadata.properties.get(name));
    is(schema.properties.get("kind"), "string")
        && is(schema.properties.get("apiVersion"), "string")
        && is(metadata, "object")
        && is(in_metadata("name"), "string")
        && is(in_metadata("generateName"), "string")
}

/// Whether expressions see what a schema describes: not where nobody knows of which type it is.
pub(super) fn is_seen(schema: &Structural) -> bool {
    schema.int_or_string
        || match &*schema.type_name {
            "array" => schema.items.as_ref().is_some_and(|items| items.seen),
            "object" => !matches!(&schema.values, Values::Schema(values) if !values.seen),
            "string" | "boolean" | "integer" | "number" => true,
            _ => false,
        }
}

/// The fewest bytes that a value takes as JSON.
pub(super) fn smallest(schema: &Structural) -> u64 {
    if schema.int_or_string {
        return 1;
    }
    match (&*schema.type_name, &*schema.limits.format_name) {
        ("string", "duration") => 3,
        ("string", "date") => 12,
        ("string", "date-time") => 21,
        ("boolean", _) => 4,
        ("integer" | "number", _) => 1,
        ("object", _) if !matches!(schema.values, Values::Schema(_)) => {
            let mut required: Vec<&str> = schema.limits.required.iter().map(|name| &**name).collect();
            required.sort_unstable();
            required.dedup();
            let fields = required.into_iter().filter_map(|name| {
                let field = property(schema, schema.embedded, name)?;
                (field.seen && field.default.is_none()).then_some(name.len() as u64 + field.smallest + 4)
            });
            2 + fields.sum::<u64>()
        }
        _ => 2,
    }
}

/// How often a value may be in a request of which a schema gives no limit to what is around it.
pub(super) fn times(schema: &Structural) -> u64 {
    REQUEST / (schema.smallest + 1)
}

/// A value that expressions see.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    /// What a schema describes; of a whole object, where `true`.
    Value(&'a Structural, bool),
    /// A key of a map.
    Key,
}

/// A step into a value.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A field, as expressions write it.
    Field(&'a str),
    /// The items of a list.
    Items,
    /// The values of a map.
    Values,
    /// The keys of a map.
    Keys,
    /// The indices of a list.
    Indices,
}

impl<'a> Seen<'a> {
    /// What is a step below.
    pub(crate) fn below(self, step: &Step<'_>) -> Option<Self> {
        let Self::Value(schema, whole) = self else { return None };
        let of = |schema: &'a Structural| Some(Self::Value(schema, schema.embedded));
        if schema.int_or_string {
            return None;
        }
        match (&*schema.type_name, &schema.values, step) {
            ("array", _, Step::Items | Step::Values) => of(schema.items.as_deref()?),
            ("object", Values::Schema(values), Step::Items | Step::Values) => of(values),
            ("object", Values::Schema(_), Step::Keys) => Some(Self::Key),
            ("object", Values::Any | Values::None, Step::Field(name)) => of(seen_field(schema, whole, name)?),
            _ => None,
        }
    }

    /// How many letters, bytes, items or entries it has at most. Upstream counts none for what has none.
    pub(crate) fn most(self) -> u64 {
        let Self::Value(schema, _) = self else { return 0 };
        let limits = &schema.limits;
        let text = limits.max_length.map(|letters| letters.saturating_mul(4));
        if schema.int_or_string {
            return text.unwrap_or(REQUEST - 2);
        }
        match (&*schema.type_name, &*limits.format_name, &schema.values) {
            ("string", "byte", _) => limits.max_length.unwrap_or(REQUEST - 2),
            ("string", "duration" | "date-time", _) => 32,
            ("string", "date", _) => 12,
            ("string", _, _) => text.unwrap_or_else(|| {
                let longest = limits.options.list().iter().filter_map(|option| option.as_str()).map(str::len).max();
                match longest {
                    Some(longest) => longest as u64,
                    None if limits.options.list().is_empty() => REQUEST - 2,
                    None => 0,
                }
            }),
            ("array", _, _) => limits
                .max_items
                .unwrap_or_else(|| (REQUEST - 2) / (schema.items.as_ref().map_or(0, |items| items.smallest) + 1)),
            ("object", _, Values::Schema(values)) => {
                limits.max_properties.unwrap_or((REQUEST - 2) / (values.smallest + 6))
            }
            _ => 0,
        }
    }
}
