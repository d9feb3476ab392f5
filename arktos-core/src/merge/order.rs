//! The order of merged lists: what the patch says first, then what the list said.

use std::collections::HashMap;

use serde_json::Value;

use super::strategic::{Fault, no_key};
use crate::media::go_printed;

/// Where the items of a list stand, by what tells them apart.
#[derive(Default)]
pub(super) struct Keys(HashMap<String, usize>);

impl Keys {
    /// The first place of each item.
    pub(super) fn of(items: &[Value], key: Option<&str>) -> Result<Self, Fault> {
        let mut places = HashMap::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let id = identity(item, key).ok_or_else(|| no_key(item, key.unwrap_or_default()))?;
            places.entry(id).or_insert(place);
        }
        Ok(Self(places))
    }

    /// Where an item stands.
    pub(super) fn find(&self, item: &Value, key: Option<&str>) -> Option<usize> {
        self.0.get(&identity(item, key)?).copied()
    }

    /// Where an item stands; `end`, from now on, when it does not yet.
    pub(super) fn place(&mut self, item: &Value, key: &str, end: usize) -> Result<usize, Fault> {
        let id = identity(item, Some(key)).ok_or_else(|| no_key(item, key))?;
        Ok(*self.0.entry(id).or_insert(end))
    }
}

/// What tells an item from others: the value of its key, or the item itself.
pub(super) fn identity(item: &Value, key: Option<&str>) -> Option<String> {
    match key {
        Some(key) => item.as_object()?.get(key).map(Value::to_string),
        None => Some(item.to_string()),
    }
}

/// Whether the items of both lists are objects; `None` when there are none at all.
pub(super) fn kind_of_items(old: &[Value], patch: &[Value]) -> Result<Option<bool>, Fault> {
    let mut first = None;
    for item in old.iter().chain(patch) {
        if first.is_none() && item.is_array() {
            return Err(Fault::ListOfLists);
        }
        let kind = std::mem::discriminant(item);
        if *first.get_or_insert((kind, item.is_object())) != (kind, item.is_object()) {
            let lists = Value::Array(vec![Value::from(old), Value::from(patch)]);
            let lists = go_printed(&lists);
            return Err(Fault::Other(format!("list element types are not identical: {lists}")));
        }
    }
    Ok(first.map(|(_, is_object)| is_object))
}

/// Puts merged items in order: those that `wanted` names stand as it says; the others stand as they did `before`,
/// each in front of the first wanted item that it stood in front of.
pub(super) fn order(merged: Vec<Value>, wanted: &Keys, before: &Keys, key: Option<&str>) -> Result<Vec<Value>, Fault> {
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        let id = identity(&item, key).ok_or_else(|| no_key(&item, key.unwrap_or_default()))?;
        let stood = before.0.get(&id).copied();
        match wanted.0.get(&id) {
            Some(place) => named.push((*place, stood, item)),
            None => others.push((stood.unwrap_or(usize::MAX), item)),
        }
    }
    named.sort_by_key(|(place, ..)| *place);
    others.sort_by_key(|(stood, _)| *stood);
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, stood, item) in named {
        while let Some((_, other)) = others.next_if(|(other, _)| stood.is_some_and(|stood| *other < stood)) {
            out.push(other);
        }
        out.push(item);
    }
    out.extend(others.map(|(_, item)| item));
    Ok(out)
}
