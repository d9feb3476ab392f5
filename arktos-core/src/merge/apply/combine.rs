//! Puts an applied value over the live one. Nothing goes away by it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::types::{Form, Items, Type};
use crate::fields::Element;

/// The live value with the applied one over it.
pub(super) fn combine(ty: Type<'_>, live: &Value, applied: &Value) -> Value {
    both(ty, Some(live), Some(applied)).unwrap_or(Value::Null)
}

fn both(ty: Type<'_>, live: Option<&Value>, applied: Option<&Value>) -> Option<Value> {
    let newest = applied.or(live)?;
    let form = match live {
        Some(live) if newest.is_null() => ty.form(live),
        _ => ty.form(newest),
    };
    match form {
        Form::Leaf => Some(newest.clone()),
        Form::Object(ty) => {
            let (old, new) = (live.and_then(Value::as_object), applied.and_then(Value::as_object));
            if old.is_none_or(Map::is_empty) && new.is_none_or(Map::is_empty) {
                return Some(newest.clone());
            }
            let merged = objects(ty, old, new);
            (!merged.is_empty()).then_some(Value::Object(merged))
        }
        Form::List(items) => {
            let (old, new) = (live.and_then(Value::as_array), applied.and_then(Value::as_array));
            if old.is_none_or(Vec::is_empty) && new.is_none_or(Vec::is_empty) {
                return Some(newest.clone());
            }
            let merged = lists(items, old.map(Vec::as_slice), new.map(Vec::as_slice));
            (!merged.is_empty()).then_some(Value::Array(merged))
        }
    }
}

fn objects(ty: Type<'_>, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut merged = Map::new();
    let mut put = |name: &String, old: Option<&Value>, new: Option<&Value>| {
        if let Some(value) = both(ty.field(name).unwrap_or(Type::Whole), old, new) {
            merged.insert(name.clone(), value);
        }
    };
    for (name, value) in old.into_iter().flatten() {
        put(name, Some(value), new.and_then(|new| new.get(name)));
    }
    for (name, value) in new.into_iter().flatten() {
        if !old.is_some_and(|old| old.contains_key(name)) {
            put(name, None, Some(value));
        }
    }
    merged
}

/// Shared items stand in the applied order; items that only one side has keep their place before the shared item that
/// follows them there, those of the live side first.
fn lists(items: Items<'_>, old: Option<&[Value]>, new: Option<&[Value]>) -> Vec<Value> {
    let (old, new) = (items.index(old), items.index(new));
    let mut live: BTreeMap<&Element, Option<&Value>> = BTreeMap::new();
    for (element, item) in &old {
        // An item that stands twice has no one value to go on from.
        live.entry(element).and_modify(|twice| *twice = None).or_insert(Some(item));
    }
    let applied: BTreeSet<&Element> = new.iter().map(|(element, _)| element).collect();
    let mut merged = Vec::with_capacity(old.len().max(new.len()));
    // For each applied item the first one, from there on, that is on both sides.
    let mut shared: Vec<Option<&Element>> = Vec::with_capacity(new.len());
    for (element, _) in new.iter().rev() {
        let next = if live.contains_key(element) { Some(element) } else { shared.last().copied().flatten() };
        shared.push(next);
    }
    let mut rest = old.iter().peekable();
    for ((element, item), next_shared) in new.iter().zip(shared.into_iter().rev()) {
        while let Some((only, item)) = rest.next_if(|(one, _)| Some(one) != next_shared) {
            if !applied.contains(only) {
                merged.push((*item).clone());
            }
        }
        merged.extend(both(items.item(), live.get(element).copied().flatten(), Some(item)));
        rest.next_if(|(one, _)| one == element);
    }
    merged.extend(rest.filter(|(element, _)| !applied.contains(element)).map(|(_, item)| (*item).clone()));
    merged
}
