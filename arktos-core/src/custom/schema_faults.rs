//! What is wrong with the schema of a definition. (apiextensions' validation and structural schemas, in their words.)

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::check::{Steps, default_faults};
use super::patterns::{Patterns, Unfit, regex_fault};
use super::structural::{Structural, texts};
use super::{embedded, prune, rule_faults};
use crate::rules::fault::Faults;

/// How many keys a list's items may be told apart by.
const KEYS_MAX: usize = 64;

/// What checking the schemas of a definition may take, all together.
#[derive(Default)]
pub(super) struct Bounds {
    patterns: Patterns,
    steps: Steps,
}

/// The faults of the schema of a version, which stands at a path; `old` is the schema that it replaces.
pub(super) fn of_version(version: &Value, old: Option<&Value>, at: &str, bounds: &Bounds, faults: &mut Faults) {
    let schema = version.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null);
    if check(schema, at, bounds, faults) {
        rule_faults::check(schema, old, at, faults);
    }
}

/// What may be said of the whole object where its status is a resource of its own.
const BESIDE_STATUS: [&str; 22] = [
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

/// The faults of a schema whose status is a resource of its own: what is said of the whole object must hold of either.
pub(super) fn beside_status(schema: &Value, at: &str, faults: &mut Faults) {
    let empty = Map::new();
    let map = schema.as_object().unwrap_or(&empty);
    let kind = text(map, "type");
    if !matches!(kind, "" | "object") {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        return faults.invalid(&format!("{at}.type"), &kind.into(), why);
    }
    let said = |value: &Value| !value.is_null() && *value != Value::Bool(false);
    if map.iter().any(|(word, value)| said(value) && !BESIDE_STATUS.contains(&word.as_str())) {
        let allowed = BESIDE_STATUS.map(|word| {
            let words = word.strip_prefix("x-kubernetes-").map_or(word.to_owned(), |rest| format!("x-{rest}"));
            words.split('-').map(capital).collect::<String>()
        });
        let why = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            allowed.join(" ")
        );
        faults.invalid(at, schema, &why);
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// The faults of a schema, but for those of its rules in CEL.
pub(crate) fn faults_of(schema: &Value, at: &str, faults: &mut Faults) {
    check(schema, at, &Bounds::default(), faults);
}

/// Checks a schema. Whether its rules are looked at: they are where it is structural, and its defaults fit.
fn check(schema: &Value, at: &str, bounds: &Bounds, faults: &mut Faults) -> bool {
    let empty = Map::new();
    let map = schema.as_object().unwrap_or(&empty);
    let mut found = Found::default();
    match text(map, "type") {
        "" => found.structure.required(&format!("{at}.type"), "must not be empty at the root"),
        "object" => {}
        other => found.structure.invalid(&format!("{at}.type"), &other.into(), "must be object at the root"),
    }
    if map.get("nullable") == Some(&Value::Bool(true)) {
        faults.forbidden(&format!("{at}.nullable"), "nullable cannot be true at the root");
    }
    let root = Node { map, at, level: Level::Root, bounds };
    root.words(false, &mut found);
    root.check(&mut found);
    let Found { structure, words, defaults, unfit } = found;
    let structure = if unfit { Faults::default() } else { structure };
    let defaults = if unfit || !structure.0.is_empty() { Faults::default() } else { defaults };
    let too_much = words.0.iter().any(|fault| fault.reason == "FieldValueTooMany");
    let takes_rules = !unfit && !too_much && structure.0.is_empty() && defaults.0.is_empty();
    [structure, defaults, words].into_iter().for_each(|found| faults.extend(found));
    takes_rules
}

/// What is wrong with a schema. Upstream looks at its words; whether it is structural, which cannot be told where some
/// words are in it; and whether its defaults fit, if it is.
#[derive(Default)]
struct Found {
    words: Faults,
    structure: Faults,
    defaults: Faults,
    /// Whether it has words with which there is no telling its structure.
    unfit: bool,
}

/// What a part of a schema is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
    Value,
}

/// A part of a schema.
struct Node<'a> {
    map: &'a Map<String, Value>,
    at: &'a str,
    level: Level,
    bounds: &'a Bounds,
}

fn text<'a>(map: &'a Map<String, Value>, keyword: &str) -> &'a str {
    map.get(keyword).and_then(Value::as_str).unwrap_or("")
}

fn flag(map: &Map<String, Value>, keyword: &str) -> bool {
    map.get(keyword) == Some(&Value::Bool(true))
}

fn below<'a>(map: &'a Map<String, Value>, keyword: &str) -> Option<&'a Map<String, Value>> {
    map.get(keyword).and_then(Value::as_object)
}

impl Node<'_> {
    fn child(&self, name: &str) -> String {
        format!("{}.{name}", self.at)
    }

    /// Checks a part of it.
    fn below(&self, map: &Map<String, Value>, at: &str, level: Level, found: &mut Found) {
        Node { map, at, level, bounds: self.bounds }.check(found);
    }

    /// Checks whether it is structural, and its defaults.
    fn check(&self, found: &mut Found) {
        self.pattern(&mut found.structure);
        self.type_of(&mut found.structure);
        self.default(&mut found.defaults);
        self.alternatives(&mut found.structure);
        let map = self.map;
        for (name, schema) in below(map, "properties").into_iter().flatten() {
            let at = self.child(&format!("properties[{name}]"));
            let root = self.level == Level::Root || flag(map, "x-kubernetes-embedded-resource");
            if root && matches!(name.as_str(), "metadata" | "apiVersion" | "kind") {
                self.of_object(name, schema, &at, found);
                continue;
            }
            if let Some(map) = schema.as_object() {
                self.below(map, &at, Level::Field, found);
            }
        }
        if let Some(items) = below(map, "items") {
            self.below(items, &self.child("items"), Level::Item, found);
        }
        if let Some(values) = below(map, "additionalProperties") {
            self.below(values, &self.child("additionalProperties"), Level::Value, found);
        }
    }

    /// Checks its words, and those of all that is in it.
    fn words(&self, in_metadata: bool, found: &mut Found) {
        self.keywords(found);
        self.lists(&mut found.words);
        self.objects(&mut found.words);
        if in_metadata && self.map.get("default").is_some_and(|default| !default.is_null()) {
            found.words.forbidden(&self.child("default"), "must not be set in top-level metadata");
        }
        let mut walk = |schema: Option<&Value>, place: &str, level: Level, in_metadata: bool| {
            if let Some(map) = schema.and_then(Value::as_object) {
                Node { map, at: &self.child(place), level, bounds: self.bounds }.words(in_metadata, found);
            }
        };
        for (name, schema) in below(self.map, "properties").into_iter().flatten() {
            let is_metadata = in_metadata || self.level == Level::Root && name == "metadata";
            walk(Some(schema), &format!("properties[{name}]"), Level::Field, is_metadata);
        }
        walk(self.map.get("items"), "items", Level::Item, in_metadata);
        walk(self.map.get("additionalProperties"), "additionalProperties", Level::Value, in_metadata);
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let list = self.map.get(keyword).and_then(Value::as_array).into_iter().flatten();
            for (index, schema) in list.enumerate() {
                walk(Some(schema), &format!("{keyword}[{index}]"), Level::Value, in_metadata);
            }
        }
        walk(self.map.get("not"), "not", Level::Value, in_metadata);
        // These may not be there at all; what is wrong in them is told nevertheless.
        for keyword in ["definitions", "dependencies"] {
            for (name, schema) in below(self.map, keyword).into_iter().flatten() {
                walk(Some(schema), &format!("{keyword}[{name}]"), Level::Value, in_metadata);
            }
        }
    }

    /// What may not be said at all.
    fn keywords(&self, found: &mut Found) {
        let (map, faults) = (self.map, &mut found.words);
        let said = |keyword: &str| {
            map.get(keyword).is_some_and(|value| match value {
                Value::Null => false,
                Value::String(text) => !text.is_empty(),
                // As upstream holds it, that one is there even when it says nothing.
                Value::Object(map) => !map.is_empty() || keyword == "additionalItems",
                _ => true,
            })
        };
        for keyword in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
            if said(keyword) {
                found.unfit = true;
                faults.forbidden(&self.child(keyword), &format!("{keyword} is not supported"));
            }
        }
        let known = ["", "array", "boolean", "integer", "number", "object", "string"];
        let type_name = text(map, "type");
        if !known.contains(&type_name) {
            faults.not_supported(&self.child("type"), &type_name.into(), &known[1..]);
        }
        if type_name == "null" {
            let why = "type cannot be set to null, use nullable as an alternative";
            faults.forbidden(&self.child("type"), why);
        }
        if flag(map, "uniqueItems") {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            faults.forbidden(&self.child("uniqueItems"), why);
        }
        if map.get("items").is_some_and(Value::is_array) {
            found.unfit = true;
            faults.forbidden(&self.child("items"), "items must be a schema object and not an array");
        }
        if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
            let why = "must be true or undefined";
            found.unfit = true;
            faults.invalid(&self.child("x-kubernetes-preserve-unknown-fields"), &Value::Bool(false), why);
        }
    }

    fn pattern(&self, faults: &mut Faults) {
        let pattern = text(self.map, "pattern");
        let Err(unfit) = self.bounds.patterns.check(pattern) else { return };
        let why = match unfit {
            Unfit::Unreadable => regex_fault(pattern),
            Unfit::TooLarge => format!("error parsing regexp: expression too large: `{pattern}`"),
            Unfit::TooLargeTogether => "the patterns of the definition are too large together".to_owned(),
        };
        let why = format!("must be a valid regular expression, but isn't: {why}");
        faults.invalid(&self.child("pattern"), &pattern.into(), &why);
    }

    fn type_of(&self, faults: &mut Faults) {
        let map = self.map;
        let (type_name, either) = (text(map, "type"), flag(map, "x-kubernetes-int-or-string"));
        for other in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
            if either && flag(map, other) {
                let why = "must be false if x-kubernetes-int-or-string is true";
                faults.invalid(&self.child(other), &Value::Bool(true), why);
            }
        }
        let embedded = flag(map, "x-kubernetes-embedded-resource");
        if type_name.is_empty() && !embedded && !either && !flag(map, "x-kubernetes-preserve-unknown-fields") {
            let what = match self.level {
                Level::Root => None,
                Level::Item => Some("specified array items"),
                Level::Field | Level::Value => Some("specified object fields"),
            };
            if let Some(what) = what {
                faults.required(&self.child("type"), &format!("must not be empty for {what}"));
            }
        }
        if embedded {
            if type_name != "object" {
                let why = "must be object if x-kubernetes-embedded-resource is true";
                self.wrong_type(type_name, why, faults);
            }
            let named = below(map, "properties").is_some_and(|fields| !fields.is_empty());
            if !named && !flag(map, "x-kubernetes-preserve-unknown-fields") {
                let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                           x-kubernetes-preserve-unknown-fields";
                faults.required(&self.child("properties"), why);
            }
        }
        if type_name == "array" && !map.contains_key("items") {
            faults.required(&self.child("items"), "must be specified");
        }
        let at = self.child("additionalProperties");
        if !matches!(map.get("additionalProperties"), Some(Value::Bool(_) | Value::Object(_))) {
            return;
        }
        if self.level == Level::Root {
            faults.forbidden(&at, "must not be used at the root");
        }
        if embedded {
            faults.forbidden(&at, "must not be used if x-kubernetes-embedded-resource is set");
        }
    }

    fn lists(&self, faults: &mut Faults) {
        let map = self.map;
        let (type_name, list) = (text(map, "type"), text(map, "x-kubernetes-list-type"));
        if !list.is_empty() {
            if type_name != "array" {
                self.wrong_type(type_name, "must be array if x-kubernetes-list-type is specified", faults);
            }
            if !["atomic", "map", "set"].contains(&list) {
                faults.not_supported(&self.child("x-kubernetes-list-type"), &list.into(), &["atomic", "set", "map"]);
            }
        }
        let keys = texts(map.get("x-kubernetes-list-map-keys"));
        if !keys.is_empty() && list != "map" {
            let (at, why) =
                (self.child("x-kubernetes-list-type"), "must be map if x-kubernetes-list-map-keys is non-empty");
            if list.is_empty() { faults.required(&at, why) } else { faults.invalid(&at, &list.into(), why) }
        }
        match list {
            "map" => self.keys(&keys, faults),
            "set" => self.set(faults),
            _ => {}
        }
    }

    fn wrong_type(&self, found: &str, why: &str, faults: &mut Faults) {
        let at = self.child("type");
        if found.is_empty() { faults.required(&at, why) } else { faults.invalid(&at, &found.into(), why) }
    }

    fn keys(&self, keys: &[Box<str>], faults: &mut Faults) {
        let at = self.child("x-kubernetes-list-map-keys");
        if keys.is_empty() {
            faults.required(&at, "must not be empty if x-kubernetes-list-type is map");
        }
        let Some(items) = below(self.map, "items") else {
            let why = "must have a schema if x-kubernetes-list-type is map";
            return faults.required(&self.child("items"), why);
        };
        if text(items, "type") != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            faults.invalid(&self.child("items.type"), &text(items, "type").into(), why);
        }
        let required = texts(items.get("required"));
        let required: HashSet<&str> = required.iter().map(|name| &**name).collect();
        let sent = Value::from(keys.iter().map(ToString::to_string).collect::<Vec<_>>());
        if items.get("nullable") == Some(&Value::Bool(true)) {
            faults.forbidden(&self.child("items.nullable"), "cannot be nullable when x-kubernetes-list-type is map");
        }
        if keys.len() > KEYS_MAX {
            return faults.too_many(&at, keys.len() as u64, KEYS_MAX as u64);
        }
        if keys.iter().enumerate().any(|(index, key)| keys[..index].contains(key)) {
            faults.invalid(&at, &sent, "must not contain duplicate entries");
        }
        if text(items, "type") != "object" {
            return;
        }
        for key in keys {
            let Some(field) = below(items, "properties").and_then(|fields| fields.get(&**key)) else {
                faults.invalid(&at, &sent, "entries must all be names of item properties");
                continue;
            };
            let field_at = self.child(&format!("items.properties[{key}]"));
            let type_name = field.get("type").and_then(Value::as_str).unwrap_or("");
            if matches!(type_name, "object" | "array") {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                faults.invalid(&format!("{field_at}.type"), &type_name.into(), why);
            }
            if field.get("nullable") == Some(&Value::Bool(true)) {
                let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                faults.forbidden(&format!("{field_at}.nullable"), why);
            }
            if !required.contains(&**key) && field.get("default").is_none_or(Value::is_null) {
                let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a \
                           required property";
                faults.required(&format!("{field_at}.default"), why);
            }
        }
    }

    /// The items of a set are plain, or owned as one.
    fn set(&self, faults: &mut Faults) {
        let Some(items) = below(self.map, "items") else { return };
        match text(items, "type") {
            "array" if !matches!(text(items, "x-kubernetes-list-type"), "" | "atomic") => {
                let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
                let said = text(items, "x-kubernetes-list-type");
                faults.invalid(&self.child("items.x-kubernetes-list-type"), &said.into(), why);
            }
            "object" if text(items, "x-kubernetes-map-type") != "atomic" => {
                let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
                faults.invalid(&self.child("items.x-kubernetes-map-type"), &Value::Null, why);
            }
            _ => {}
        }
        if items.get("nullable") == Some(&Value::Bool(true)) {
            faults.forbidden(&self.child("items.nullable"), "cannot be nullable when x-kubernetes-list-type is set");
        }
    }

    fn objects(&self, faults: &mut Faults) {
        let map = self.map;
        let kind = text(map, "x-kubernetes-map-type");
        if !kind.is_empty() {
            if text(map, "type") != "object" {
                self.wrong_type(text(map, "type"), "must be object if x-kubernetes-map-type is specified", faults);
            }
            if !["atomic", "granular"].contains(&kind) {
                faults.not_supported(&self.child("x-kubernetes-map-type"), &kind.into(), &["atomic", "granular"]);
            }
        }
        let named = below(map, "properties").is_some_and(|fields| !fields.is_empty());
        let others = map.get("additionalProperties");
        if named && matches!(others, Some(Value::Bool(false) | Value::Object(_))) {
            let why = "additionalProperties and properties are mutual exclusive";
            faults.forbidden(&self.child("additionalProperties"), why);
        }
    }

    fn default(&self, faults: &mut Faults) {
        let is_root = self.level == Level::Root;
        let Some(default) = self.map.get("default").filter(|default| !(is_root && default.is_null())) else { return };
        let at = self.child("default");
        let mut schema = Structural::compile_with(&Value::Object(self.map.clone()), &self.bounds.patterns);
        self.bounds.patterns.weigh();
        schema.embedded |= is_root;
        let mut read = default.clone();
        let odd = embedded::read_in(&schema, &mut read);
        if !odd.is_empty() {
            odd.into_iter().for_each(|(path, said, why)| faults.invalid(&format!("{at}{path}"), &said, &why));
            return;
        }
        if !prune::prune(&schema, &mut read, false).is_empty() {
            faults.invalid(&at, default, "must not have unknown fields");
        }
        default_faults(&schema, default, &at, &self.bounds.steps, faults);
    }

    /// `allOf` and its like may say what must hold, and not what there is.
    fn alternatives(&self, faults: &mut Faults) {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let list = self.map.get(keyword).and_then(Value::as_array).into_iter().flatten();
            for (index, schema) in list.enumerate() {
                if let Some(map) = schema.as_object() {
                    self.nested(map, self.map, &self.child(&format!("{keyword}[{index}]")), faults);
                }
            }
        }
        if let Some(not) = below(self.map, "not") {
            self.nested(not, self.map, &self.child("not"), faults);
        }
    }

    fn nested(&self, map: &Map<String, Value>, of: &Map<String, Value>, at: &str, faults: &mut Faults) {
        Node { map, at, level: Level::Value, bounds: self.bounds }.pattern(faults);
        let either = flag(of, "x-kubernetes-int-or-string");
        for keyword in [
            "type",
            "default",
            "title",
            "description",
            "nullable",
            "additionalProperties",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-int-or-string",
            "x-kubernetes-list-type",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-map-type",
            "x-kubernetes-validations",
        ] {
            // How an integer or a text is said the long way is the exception.
            let allowed = keyword == "type" && either;
            let said = map.get(keyword).is_some_and(|value| !value.is_null() && *value != Value::Bool(false));
            if said && !allowed {
                let why = match keyword {
                    "default" | "additionalProperties" | "x-kubernetes-list-type" | "x-kubernetes-map-type" => {
                        "must be undefined to be structural"
                    }
                    "nullable"
                    | "x-kubernetes-preserve-unknown-fields"
                    | "x-kubernetes-embedded-resource"
                    | "x-kubernetes-int-or-string" => "must be false to be structural",
                    _ => "must be empty to be structural",
                };
                faults.forbidden(&format!("{at}.{keyword}"), why);
            }
        }
        // Upstream asks of the whole object alone that there be what is spoken of.
        let (empty, is_root) = (Map::new(), self.level == Level::Root);
        for (name, schema) in below(map, "properties").into_iter().flatten() {
            let at = format!("{at}.properties[{name}]");
            let known = below(of, "properties").and_then(|fields| fields.get(name)).and_then(Value::as_object);
            if is_root && known.is_none() {
                let missing = self.child(&format!("properties[{name}]"));
                faults.required(&missing, &format!("because it is defined in {at}"));
            }
            if let Some(schema) = schema.as_object() {
                self.nested(schema, known.unwrap_or(&empty), &at, faults);
            }
        }
        if let Some(items) = below(map, "items") {
            let (known, at) = (below(of, "items"), format!("{at}.items"));
            if is_root && known.is_none() {
                faults.required(&self.child("items"), &format!("because it is defined in {at}"));
            }
            self.nested(items, known.unwrap_or(&empty), &at, faults);
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let list = map.get(keyword).and_then(Value::as_array).into_iter().flatten();
            for (index, schema) in list.enumerate() {
                if let Some(schema) = schema.as_object() {
                    self.nested(schema, of, &format!("{at}.{keyword}[{index}]"), faults);
                }
            }
        }
        if let Some(not) = below(map, "not") {
            self.nested(not, of, &format!("{at}.not"), faults);
        }
    }

    /// What every object has is not said again, but for the form of its name.
    fn of_object(&self, name: &str, schema: &Value, at: &str, found: &mut Found) {
        let faults = &mut found.structure;
        let empty = Map::new();
        let map = schema.as_object().unwrap_or(&empty);
        let wanted = if name == "metadata" { "object" } else { "string" };
        if text(map, "type") != wanted {
            faults.invalid(&format!("{at}.type"), &text(map, "type").into(), &format!("must be {wanted}"));
        }
        if name != "metadata" {
            return;
        }
        let only = |map: &Map<String, Value>| {
            map.keys().all(|keyword| matches!(keyword.as_str(), "type" | "properties" | "description" | "default"))
        };
        let fields = below(map, "properties").into_iter().flatten();
        let names = fields.clone().all(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
        if !only(map) || !names {
            let why =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            faults.forbidden(at, why);
        }
        for (name, schema) in fields.filter(|_| names) {
            if let Some(map) = schema.as_object() {
                self.below(map, &format!("{at}.properties[{name}]"), Level::Field, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn where_the_status_is_apart_little_may_be_said_of_the_whole() {
        let found = |schema: Value| {
            let mut faults = Faults::default();
            beside_status(&schema, "schema", &mut faults);
            faults.0.into_iter().map(|fault| (fault.field, fault.message)).next()
        };
        let fine =
            json!({"type": "object", "properties": {"a": {"nullable": true}}, "required": ["a"], "nullable": false});
        assert_eq!(found(fine), None);
        let (field, why) = found(json!({"type": "object", "oneOf": [{"required": ["a"]}]})).expect("a fault");
        assert_eq!(field, "schema");
        let told = "Example XPreserveUnknownFields XValidations] fields are allowed at the root of the schema";
        assert!(why.contains("only [Description Type Format Title Maximum ") && why.contains(told), "{why}");
        assert_eq!(found(json!({"type": "array"})).expect("a fault").0, "schema.type");
    }
}
