//! Walks over one value: which fields are in it, what is wrong with it, and the value without some of them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::types::{Form, Type};
use crate::fields::{Element, FieldSet};
use crate::media::{go_kind, go_printed, go_spelled};
use crate::schema::{ListKind, Shape};

/// Every field and item that a value mentions.
pub(super) fn fields_of(ty: Type<'_>, value: &Value) -> FieldSet {
    mentioned(ty, value).1
}

/// Whether the value is owned as one, and else what is owned in it.
fn mentioned(ty: Type<'_>, value: &Value) -> (bool, FieldSet) {
    let mut set = FieldSet::default();
    match (ty.form(value), value) {
        (Form::Leaf, _) => return (true, set),
        (Form::Object(ty), Value::Object(map)) => {
            for (name, value) in map {
                let (whole, below) = mentioned(ty.field(name).unwrap_or(Type::Whole), value);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                set.add(Element::field(name), whole || empty || !ty.names(name), below);
            }
        }
        (Form::List(items), Value::Array(list)) => {
            let mut index = items.index(Some(list));
            index.sort_by(|(one, _), (other, _)| one.cmp(other)); // a set is made in order
            let mut seen = BTreeSet::new();
            let twice: BTreeSet<&Element> =
                index.iter().map(|(element, _)| element).filter(|element| !seen.insert(*element)).collect();
            for (element, item) in &index {
                let below = if twice.contains(element) { FieldSet::default() } else { mentioned(items.item(), item).1 };
                set.add(element.clone(), true, below);
            }
        }
        _ => {}
    }
    (false, set)
}

/// What is wrong with an applied value: fields that do not exist, values of the wrong type, items that stand twice.
pub(super) fn faults_of(ty: Type<'_>, value: &Value) -> Vec<String> {
    let mut faults = Faults { twice: true, nulls: false, told: Vec::new() };
    faults.check(ty, value, "");
    faults.told
}

/// What is wrong with an object that is there: as with an applied value, but items may stand twice.
pub(super) fn faults_of_live(ty: Type<'_>, value: &Value) -> Vec<String> {
    let mut faults = Faults { twice: false, nulls: false, told: Vec::new() };
    faults.check(ty, value, "");
    faults.told
}

/// What is wrong with a value that an expression made: as with an applied one, but nothing is nobody's value.
pub(super) fn faults_of_made(ty: Type<'_>, value: &Value) -> Vec<String> {
    let mut faults = Faults { twice: true, nulls: true, told: Vec::new() };
    faults.check(ty, value, "");
    faults.told
}

/// The places of lists and objects in a value that are owned as one, and no more than anybody reads.
pub(super) fn wholes_of(ty: Type<'_>, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    wholes(ty, value, "", &mut found);
    found
}

fn wholes(ty: Type<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    const MOST: usize = 100;
    let Type::Known(schema, own) = ty else { return };
    if found.len() >= MOST {
        return;
    }
    match (&schema.shape, value) {
        (Shape::Struct(_), Value::Object(map)) => {
            if schema.merge.atomic {
                found.push(path.to_owned());
            }
            for (name, value) in map.iter().filter(|(name, _)| ty.names(name)) {
                if let Some(ty) = ty.field(name) {
                    wholes(ty, value, &format!("{path}.{name}"), found);
                }
            }
        }
        (Shape::Map(_), Value::Object(_)) if schema.merge.atomic => found.push(path.to_owned()),
        (Shape::List(items), Value::Array(list)) => {
            if schema.merge.list == ListKind::Atomic {
                found.push(path.to_owned());
            }
            for (at, item) in list.iter().enumerate() {
                wholes(Type::Known(items, own), item, &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}

/// Faults as one text.
pub(super) fn told(faults: &[String]) -> String {
    match faults {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    }
}

struct Faults {
    /// Whether an item that stands twice is one.
    twice: bool,
    /// Whether `null` is a value, and so one of the wrong type.
    nulls: bool,
    told: Vec<String>,
}

impl Faults {
    fn check(&mut self, ty: Type<'_>, value: &Value, path: &str) {
        if value.is_null() && !self.nulls {
            return;
        }
        if let Some(wanted) = expected(ty, value) {
            let none = Value::from(0); // as upstream prints it
            let value = if value.is_null() { &none } else { value };
            let got = match (wanted, value) {
                ("string", value) => format!("&value.valueUnstructured{{Value:{}}}", go_spelled(value)),
                ("numeric (int or float)", Value::Array(_)) => "[]interface {}".to_owned(),
                ("numeric (int or float)", Value::Object(_)) => "map[string]interface {}".to_owned(),
                ("numeric (int or float)", value) => go_kind(value).to_owned(),
                (_, value) => format!("&{{{}}}", go_printed(value)),
            };
            self.told.push(format!("{path}: expected {wanted}, got {got}"));
            return;
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let path = format!("{path}.{name}");
                    match ty.field(name) {
                        Some(ty) => self.check(ty, value, &path),
                        None => self.told.push(format!("{path}: field not declared in schema")),
                    }
                }
            }
            Value::Array(list) => self.check_list(ty, list, path),
            _ => {}
        }
    }

    fn check_list(&mut self, ty: Type<'_>, list: &[Value], path: &str) {
        let Type::Known(schema, own) = ty else { return };
        let Some(items) = schema.items() else { return };
        let Form::List(told) = ty.form(&Value::Null) else {
            for (at, item) in list.iter().enumerate() {
                let item_type = if matches!(items.shape, Shape::Any) { Type::Whole } else { Type::Known(items, own) };
                self.check(item_type, item, &format!("{path}[{at}]"));
            }
            return;
        };
        let mut seen = BTreeSet::new();
        for (at, item) in list.iter().enumerate() {
            match told.element(item) {
                Err(why) => {
                    self.told.push(format!("{path}: element {at}: {why}"));
                    return;
                }
                Ok(element) => {
                    self.check(told.item(), item, &format!("{path}{element}"));
                    let text = element.to_string();
                    if !seen.insert(element) && self.twice {
                        self.told.push(format!("{path}: duplicate entries for key {text}"));
                    }
                }
            }
        }
    }
}

/// What was expected, when the value is something else.
fn expected(ty: Type<'_>, value: &Value) -> Option<&'static str> {
    let Type::Known(schema, own) = ty else { return None };
    let (fits, wanted) = match schema.shape {
        Shape::Any => (true, ""),
        Shape::Struct(_) | Shape::Map(_) => (value.is_object(), "map"),
        Shape::List(_) => (value.is_array(), "list"),
        Shape::Boolean => (value.is_boolean(), "boolean"),
        Shape::Int32 | Shape::Int64 | Shape::Number => (value.is_number(), "numeric (int or float)"),
        Shape::String | Shape::Bytes | Shape::Time | Shape::MicroTime => (value.is_string(), "string"),
        Shape::IntOrString if own => (true, ""),
        Shape::Quantity | Shape::IntOrString => (!value.is_object() && !value.is_array(), "any scalar"),
    };
    (!fits).then_some(wanted)
}

/// What is left of a value from which something was taken: where that is nothing, it is empty.
fn emptied(was: &Value, left: Value) -> Value {
    match (was, left) {
        (Value::Object(_), Value::Null) => Value::Object(Map::new()),
        (Value::Array(_), Value::Null) => Value::Array(Vec::new()),
        (_, left) => left,
    }
}

/// The value without the fields and items of a set. What has nothing left is `null`, unless something was taken from
/// within what it held: then it is empty.
pub(super) fn without(ty: Type<'_>, value: &Value, gone: &FieldSet) -> Value {
    match (ty.form(value), value) {
        (Form::Object(ty), Value::Object(map)) => {
            let (mut kept, mut within) = (Map::new(), false);
            for (name, value) in map {
                let step = Element::field(name);
                if gone.has(&step) {
                    continue;
                }
                let value = match gone.below(&step) {
                    Some(below) => {
                        within = true;
                        emptied(value, without(ty.field(name).unwrap_or(Type::Whole), value, below))
                    }
                    None => value.clone(),
                };
                kept.insert(name.clone(), value);
            }
            if kept.is_empty() && !within { Value::Null } else { Value::Object(kept) }
        }
        (Form::List(items), Value::Array(list)) => {
            let kept: Vec<Value> = list
                .iter()
                .filter_map(|item| match items.element(item) {
                    Ok(element) if gone.has(&element) => None,
                    Ok(element) => Some(match gone.below(&element) {
                        Some(below) => emptied(item, without(items.item(), item, below)),
                        None => item.clone(),
                    }),
                    Err(_) => Some(item.clone()),
                })
                .collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        (Form::Leaf, value) if !value.is_object() && !value.is_array() => value.clone(),
        _ => Value::Null,
    }
}
