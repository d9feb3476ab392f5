//! The schema in memory: compiled once, shared by all who have the same.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::cel::Rule;
use super::declared;
use super::format::Format;
use super::patterns::{Pattern, Patterns};
use crate::schema::{ListKind, Path};

/// A structural schema, or a part of one.
#[derive(Debug, Default)]
pub struct Structural {
    /// The type; empty where the schema leaves it open.
    pub(super) type_name: Box<str>,
    pub(super) nullable: bool,
    pub(super) default: Option<Value>,
    pub(super) properties: BTreeMap<Box<str>, Structural>,
    pub(super) items: Option<Box<Structural>>,
    /// What the values of a map are like.
    pub(super) values: Values,
    /// Whether fields that it does not name are kept.
    pub(super) preserve: bool,
    /// Whether the value is an object with type and metadata of its own.
    pub(super) embedded: bool,
    pub(super) int_or_string: bool,
    pub(super) list: ListKind,
    pub(super) keys: Box<[Box<str>]>,
    /// Whether apply owns the object as one.
    pub(super) atomic: bool,
    pub(super) limits: Limits,
    pub(super) rules: Box<[Rule]>,
    /// Whether it, or anything in it, has a default.
    pub(super) fills: bool,
    /// Whether it, or anything in it, has rules in CEL.
    pub(super) ruled: bool,
    /// Whether rules in CEL see it.
    pub(super) seen: bool,
    /// The fewest bytes that a value takes as JSON.
    pub(super) smallest: u64,
    /// Of a whole object: where the numbers are that a scale looks at.
    pub(super) counts: Vec<Vec<String>>,
}

/// What the values of a map are like.
#[derive(Debug, Default)]
pub(super) enum Values {
    /// It is no map.
    #[default]
    None,
    /// Anything.
    Any,
    /// As a schema says.
    Schema(Box<Structural>),
}

/// What must hold of a value beside its type.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) format: Option<Format>,
    /// The format as it is written, whoever knows it.
    pub(super) format_name: Box<str>,
    pub(super) minimum: Option<(f64, bool)>,
    pub(super) maximum: Option<(f64, bool)>,
    pub(super) multiple_of: Option<f64>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) pattern: Option<Arc<Pattern>>,
    pub(super) min_items: Option<u64>,
    pub(super) max_items: Option<u64>,
    pub(super) min_properties: Option<u64>,
    pub(super) max_properties: Option<u64>,
    pub(super) required: Box<[Box<str>]>,
    pub(super) options: Options,
    pub(super) all_of: Box<[Structural]>,
    pub(super) any_of: Box<[Structural]>,
    pub(super) one_of: Box<[Structural]>,
    pub(super) not: Option<Box<Structural>>,
}

/// What a value may be.
#[derive(Debug, Default)]
pub(super) struct Options {
    list: Box<[Value]>,
    /// The same, where they are too many to be looked through for each value.
    known: HashSet<Value>,
}

impl Options {
    fn of(list: Option<&Value>) -> Self {
        const FEW: usize = 16;
        let list: Box<[Value]> = list.and_then(Value::as_array).cloned().unwrap_or_default().into();
        let known = if list.len() > FEW { list.iter().cloned().collect() } else { HashSet::new() };
        Self { list, known }
    }

    pub(super) fn list(&self) -> &[Value] {
        &self.list
    }

    /// Whether a value is one of them. Where none are said, any is.
    pub(super) fn allow(&self, value: &Value) -> bool {
        self.list.is_empty()
            || if self.known.is_empty() { self.list.contains(value) } else { self.known.contains(value) }
    }
}

impl Structural {
    /// Compiles a schema (`openAPIV3Schema`). What it says wrongly counts as not said: definitions are validated when
    /// they are written.
    #[must_use]
    pub fn compile(schema: &Value) -> Self {
        Self::compile_with(schema, &Patterns::default())
    }

    /// As [`compile`](Self::compile), with the patterns that are known already.
    pub(super) fn compile_with(schema: &Value, patterns: &Patterns) -> Self {
        let empty = Map::new();
        let map = schema.as_object().unwrap_or(&empty);
        let flag = |keyword: &str| map.get(keyword) == Some(&Value::Bool(true));
        let text = |keyword: &str| map.get(keyword).and_then(Value::as_str).unwrap_or("");
        let properties: BTreeMap<Box<str>, Self> = map
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, schema)| (name.as_str().into(), Self::compile_with(schema, patterns)))
            .collect();
        let items = map
            .get("items")
            .filter(|items| items.is_object())
            .map(|items| Box::new(Self::compile_with(items, patterns)));
        let values = match map.get("additionalProperties") {
            Some(Value::Bool(true)) => Values::Any,
            Some(schema @ Value::Object(_)) => Values::Schema(Box::new(Self::compile_with(schema, patterns))),
            _ => Values::None,
        };
        let mut compiled = Self {
            type_name: text("type").into(),
            nullable: flag("nullable"),
            default: map.get("default").cloned(),
            properties,
            items,
            values,
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            list: match text("x-kubernetes-list-type") {
                "set" => ListKind::Set,
                "map" => ListKind::Map,
                _ => ListKind::Atomic,
            },
            keys: texts(map.get("x-kubernetes-list-map-keys")),
            atomic: text("x-kubernetes-map-type") == "atomic",
            limits: limits(map, patterns),
            rules: Rule::all(schema),
            fills: false,
            ruled: false,
            seen: false,
            smallest: 0,
            counts: Vec::new(),
        };
        compiled.seen = declared::is_seen(&compiled);
        compiled.smallest = declared::smallest(&compiled);
        compiled.fills = compiled.default.is_some() || compiled.children().any(|child| child.fills);
        compiled.ruled = !compiled.rules.is_empty() || compiled.children().any(|child| child.ruled);
        compiled
    }

    /// What it says of the fields, the items and the values in it.
    pub(super) fn children(&self) -> impl Iterator<Item = &Self> {
        let values = match &self.values {
            Values::Schema(values) => Some(&**values),
            _ => None,
        };
        self.properties.values().chain(self.items.as_deref()).chain(values)
    }

    /// What it says of a field.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.values {
            Values::Schema(values) => Some(values),
            _ => None,
        })
    }

    /// Where a field of an object stands, or a value of a map, as checks name it.
    pub(super) fn place_of<'a>(&self, path: &'a Path<'a>, name: &'a str) -> Path<'a> {
        if self.properties.contains_key(name) { Path::Field(path, name) } else { Path::Entry(path, name) }
    }
}

pub(super) fn texts(list: Option<&Value>) -> Box<[Box<str>]> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|text| text.as_str().map(Into::into)).collect()
}

fn limits(map: &Map<String, Value>, patterns: &Patterns) -> Limits {
    let number = |keyword: &str| map.get(keyword).and_then(Value::as_f64);
    let count = |keyword: &str| map.get(keyword).and_then(Value::as_u64);
    let flag = |keyword: &str| map.get(keyword) == Some(&Value::Bool(true));
    let all = |keyword: &str| {
        let list = map.get(keyword).and_then(Value::as_array).into_iter().flatten();
        list.map(|schema| Structural::compile_with(schema, patterns)).collect()
    };
    let format = map.get("format").and_then(Value::as_str).unwrap_or("");
    let pattern = map.get("pattern").and_then(Value::as_str).filter(|pattern| !pattern.is_empty());
    Limits {
        format: Format::by_name(format),
        format_name: format.into(),
        minimum: number("minimum").map(|least| (least, flag("exclusiveMinimum"))),
        maximum: number("maximum").map(|most| (most, flag("exclusiveMaximum"))),
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        pattern: pattern.map(|pattern| patterns.get(pattern)),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        required: texts(map.get("required")),
        options: Options::of(map.get("enum")),
        all_of: all("allOf"),
        any_of: all("anyOf"),
        one_of: all("oneOf"),
        not: map.get("not").filter(|not| not.is_object()).map(|not| Box::new(Structural::compile_with(not, patterns))),
    }
}
