//! The rules files: what no schema says of a type, one line a field.
//!
//! ```text
//! [core.v1.Container]                                        a type, without `io.k8s.api.`
//! name            required ; label                           checks of the field `name`
//! imagePullPolicy default by pull_policy                     a default that a function makes
//! strategy.type   default "RollingUpdate"                    a default
//! targetPort      default from port                          a default that another field has
//! data            derive by string_data                      a value that is made anew each time
//! stringData      drop                                       a field that is not kept (`when`, too)
//! status.phase    create "Pending"                           what creation sets, whatever was sent
//! selector        unchecked                                  a field that nobody looks into
//! spec.finalizers keep                                       what an update of the object cannot change
//! rollingUpdate   default {} when type = "RollingUpdate"     a default that depends on another field
//! ```
//!
//! Rules are looked up by the type of the object they stand in, wherever that type is used: those of a pod's
//! containers hold in every pod template.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde_json::{Map, Value};

use super::check::{self, Check};
use super::defaults;
use crate::schema::Struct;

const FILES: &[&str] = &[
    include_str!("../../data/rules/core.rules"),
    include_str!("../../data/rules/workloads.rules"),
    include_str!("../../data/rules/cluster.rules"),
];

/// The rules of one type.
#[derive(Debug, Default)]
pub struct TypeRules {
    /// Defaults, in the order in which they are set.
    pub(super) defaults: Vec<ValueRule>,
    /// What creation sets, whatever a client sent.
    pub(super) create: Vec<ValueRule>,
    /// What an update leaves as it was, whatever a client sent.
    pub(super) kept: Vec<FieldPath>,
    /// Lists that differ from absent ones when they are empty.
    pub(crate) keeps_empty: Vec<&'static str>,
    /// Fields that nobody looks into.
    pub(super) unchecked: Vec<&'static str>,
    /// What must hold.
    pub(super) checks: Vec<(FieldPath, Check)>,
}

/// Field names; `[]` stands for every item of a list.
pub(super) type FieldPath = Vec<&'static str>;

/// A value that is set where there is none.
#[derive(Debug)]
pub(super) struct ValueRule {
    path: FieldPath,
    source: Source,
    when: Option<When>,
    /// Whether the value is set even where there is one.
    replace: bool,
}

#[derive(Debug)]
enum Source {
    Value(Value),
    From(FieldPath),
    By(defaults::Function),
    Nothing,
}

/// On what a rule depends.
#[derive(Debug)]
pub(super) struct When {
    path: FieldPath,
    holds: Holds,
}

#[derive(Debug)]
enum Holds {
    Is(Value),
    IsNot(Value),
    Present,
    Absent,
}

/// The lines of a section, and what they say, once somebody has asked. Apart: most are never asked for.
type Section = (&'static str, OnceLock<Box<TypeRules>>);

/// The sections of the rules files, by type. Rules of types that nobody uses are never parsed.
static SECTIONS: LazyLock<HashMap<&'static str, Section>> = LazyLock::new(|| {
    let mut sections = HashMap::new();
    for file in FILES {
        for section in file.split("\n[").skip(1) {
            if let Some((name, lines)) = section.split_once(']') {
                sections.insert(name, (lines, OnceLock::new()));
            }
        }
    }
    sections
});

static NONE: TypeRules = TypeRules {
    defaults: Vec::new(),
    create: Vec::new(),
    kept: Vec::new(),
    keeps_empty: Vec::new(),
    unchecked: Vec::new(),
    checks: Vec::new(),
};

/// The rules of a type.
pub(crate) fn of(object: &Struct) -> &'static TypeRules {
    if object.own {
        return &NONE;
    }
    object.rules.get_or_init(|| {
        let name = object.name.strip_prefix("io.k8s.api.").unwrap_or(&object.name);
        let name = name.strip_prefix("io.k8s.").unwrap_or(name).trim_start_matches("io.");
        SECTIONS.get(name).map_or(&NONE, |(lines, rules)| rules.get_or_init(|| Box::new(parse(lines))))
    })
}

fn parse(lines: &'static str) -> TypeRules {
    let mut rules = TypeRules::default();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (field, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        for rule in rest.split(" ; ") {
            let added = add(&mut rules, field_path(field), rule.trim());
            debug_assert!(added.is_some(), "a rule that nobody understands: {line}");
        }
    }
    rules
}

fn add(rules: &mut TypeRules, path: FieldPath, rule: &'static str) -> Option<()> {
    let (word, rest) = rule.split_once(char::is_whitespace).unwrap_or((rule, ""));
    match word {
        "default" => rules.defaults.push(value_rule(path, rest.trim(), false)?),
        "derive" | "drop" => rules.defaults.push(value_rule(path, rest.trim(), true)?),
        "create" => rules.create.push(value_rule(path, rest.trim(), true)?),
        "keep" => rules.kept.push(path),
        "unchecked" => rules.unchecked.push(path.first()?),
        "keep-empty" => rules.keeps_empty.push(path.first()?),
        word => rules.checks.push((path, check::parse(word, rest.trim())?)),
    }
    Some(())
}

fn value_rule(path: FieldPath, rest: &'static str, replace: bool) -> Option<ValueRule> {
    let (source, when) = match rest.split_once("when ") {
        Some((source, when)) => (source.trim(), Some(parse_when(when.trim())?)),
        None => (rest, None),
    };
    let source = if let Some(name) = source.strip_prefix("by ") {
        Source::By(defaults::function(name.trim())?)
    } else if let Some(from) = source.strip_prefix("from ") {
        Source::From(field_path(from.trim()))
    } else if source.is_empty() {
        Source::Nothing
    } else {
        Source::Value(serde_json::from_str(source).ok()?)
    };
    Some(ValueRule { path, source, when, replace })
}

/// Parses a condition: `path`, `no path`, `path = json`, `path != json`.
pub(super) fn parse_when(text: &'static str) -> Option<When> {
    let (path, holds) = if let Some((path, value)) = text.split_once(" != ") {
        (path, Holds::IsNot(serde_json::from_str(value.trim()).ok()?))
    } else if let Some((path, value)) = text.split_once(" = ") {
        (path, Holds::Is(serde_json::from_str(value.trim()).ok()?))
    } else if let Some(path) = text.strip_prefix("no ") {
        (path, Holds::Absent)
    } else {
        (text, Holds::Present)
    };
    Some(When { path: field_path(path.trim()), holds })
}

/// A path such as `spec.ports[].name`.
pub(super) fn field_path(text: &'static str) -> FieldPath {
    let parts = text.split('.').filter(|part| *part != "self");
    parts.flat_map(|part| part.strip_suffix("[]").map_or(vec![part], |list| vec![list, "[]"])).collect()
}

impl When {
    /// Whether the condition holds for an object of the type.
    pub(super) fn holds(&self, map: &Map<String, Value>) -> bool {
        let value = get(map, &self.path).filter(|value| !value.is_null());
        match &self.holds {
            Holds::Is(wanted) => value == Some(wanted),
            Holds::IsNot(wanted) => value != Some(wanted),
            Holds::Present => value.is_some(),
            Holds::Absent => value.is_none(),
        }
    }
}

impl TypeRules {
    /// Sets what is absent and has a default.
    pub(crate) fn set_defaults(&self, map: &mut Map<String, Value>) {
        for rule in &self.defaults {
            rule.apply(map);
        }
    }

    /// Whether a field is never kept.
    pub(crate) fn drops(&self, field: &str) -> bool {
        let drops = |rule: &ValueRule| matches!(rule.source, Source::Nothing) && rule.when.is_none();
        self.defaults.iter().any(|rule| drops(rule) && rule.path == [field])
    }

    /// Sets what creation sets.
    pub(super) fn set_created(&self, map: &mut Map<String, Value>) {
        for rule in &self.create {
            rule.apply(map);
        }
    }
}

impl ValueRule {
    fn apply(&self, map: &mut Map<String, Value>) {
        if self.when.as_ref().is_some_and(|when| !when.holds(map)) {
            return;
        }
        let present = get(map, &self.path).is_some_and(|value| !value.is_null());
        if present && !self.replace {
            return;
        }
        let value = match &self.source {
            Source::Value(value) => Some(value.clone()),
            Source::From(path) => get(map, path).cloned(),
            Source::By(function) => function.make(map),
            Source::Nothing => {
                self.path.first().and_then(|field| map.remove(*field));
                None
            }
        };
        if let (Some(value), Some((last, parents))) = (value, self.path.split_last()) {
            let mut at = map;
            for parent in parents {
                let inner = at.entry(*parent).or_insert_with(|| Value::Object(Map::new()));
                let Value::Object(inner) = inner else { return };
                at = inner;
            }
            at.insert((*last).to_owned(), value);
        }
    }
}

/// The value at a path without lists.
pub(super) fn get<'a>(map: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(map.get(*first)?, |value, field| value.get(*field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn every_rule_is_understood_and_stands_at_a_type_and_field_that_exist() {
        for (name, (lines, _)) in SECTIONS.iter() {
            let full = ["io.k8s.api.", "io.k8s.", "io."].map(|prefix| format!("{prefix}{name}"));
            let schema = full.iter().find_map(|full| schema::builtin(full));
            let schema = schema.unwrap_or_else(|| panic!("no type {name}"));
            for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
                let (field, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
                for rule in rest.split(" ; ") {
                    let added = add(&mut TypeRules::default(), field_path(field), rule.trim());
                    assert!(added.is_some(), "{name}: {line}");
                }
                assert!(schema.at(&field_path(field)).is_some(), "{name} has no field {field}");
            }
        }
    }
}
