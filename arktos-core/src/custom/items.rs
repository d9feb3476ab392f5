//! Lists whose items have keys: which are duplicates, and what an item was before an update.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::structural::Structural;
use crate::rules::fault::Faults;
use crate::schema::{ListKind, Path};

/// The values of an item's keys.
type Keys<'a> = Vec<Option<&'a Value>>;

fn keys_of<'a>(keys: &[Box<str>], item: &'a Value) -> Keys<'a> {
    keys.iter().map(|key| item.get(&**key)).collect()
}

/// The items of a list before an update, where they can be told apart.
pub(super) struct Before<'a> {
    keys: &'a [Box<str>],
    list: &'a [Value],
    /// The first item of each key, once one is looked for.
    known: OnceCell<HashMap<Keys<'a>, &'a Value>>,
}

impl<'a> Before<'a> {
    pub(super) fn of(schema: &'a Structural, old: Option<&'a Value>) -> Self {
        let list = old.and_then(Value::as_array).filter(|_| schema.list == ListKind::Map);
        Self { keys: &schema.keys, list: list.map_or(&[], Vec::as_slice), known: OnceCell::new() }
    }

    /// The item that had the same keys.
    pub(super) fn item(&self, item: &Value) -> Option<&'a Value> {
        if self.list.is_empty() {
            return None;
        }
        let known = self.known.get_or_init(|| {
            let mut known = HashMap::with_capacity(self.list.len());
            for item in self.list {
                known.entry(keys_of(self.keys, item)).or_insert(item);
            }
            known
        });
        known.get(&keys_of(self.keys, item)).copied()
    }
}

/// Whether an update has left a value as it was, as far as upstream can tell: a field that the schema does not name,
/// and an item of a map that it does not find, count as changed.
pub(super) fn is_kept(schema: &Structural, old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(was), Value::Object(is)) => {
            let kept = |(name, value): (&String, &Value)| {
                let (field, old) = (schema.field(name), was.get(name));
                field.zip(old).is_some_and(|(field, old)| is_kept(field, old, value))
            };
            was.len() == is.len() && is.iter().all(kept)
        }
        (Value::Array(was), Value::Array(is)) if schema.list == ListKind::Map => {
            let (Some(items), before) = (&schema.items, Before::of(schema, Some(old))) else { return old == new };
            let kept = |item: &Value| before.item(item).is_some_and(|old| is_kept(items, old, item));
            was.len() == is.len() && is.iter().all(kept)
        }
        _ => old == new,
    }
}

/// Sets and maps that are written as lists have each item once.
pub(super) fn repetitions(schema: &Structural, value: &Value, path: &Path<'_>, faults: &mut Faults) {
    match value {
        Value::Object(map) => {
            let below = schema.children().next().is_some();
            for (name, value) in map.iter().filter(|_| below) {
                if let Some(field) = schema.field(name) {
                    repetitions(field, value, &schema.place_of(path, name), faults);
                }
            }
        }
        Value::Array(list) => {
            let mut seen: HashSet<Keys<'_>> = HashSet::new();
            for (index, item) in list.iter().enumerate() {
                let keys = match schema.list {
                    ListKind::Atomic => break,
                    _ if faults.is_full() => return,
                    ListKind::Set => vec![Some(item)],
                    ListKind::Map if !item.is_object() && !item.is_null() => {
                        let why = "must be an object for an array of list-type map";
                        faults.invalid(&Path::Item(path, index).to_string(), item, why);
                        continue;
                    }
                    ListKind::Map => keys_of(&schema.keys, item),
                };
                if seen.insert(keys) {
                    continue;
                }
                let told = match schema.list {
                    ListKind::Map => {
                        let key = |key: &str| Some((key.to_owned(), item.get(key)?.clone()));
                        Value::Object(schema.keys.iter().filter_map(|name| key(name)).collect())
                    }
                    _ => item.clone(),
                };
                faults.duplicate(&Path::Item(path, index).to_string(), &told);
            }
            let Some(items) = &schema.items else { return };
            for (index, item) in list.iter().enumerate() {
                repetitions(items, item, &Path::Item(path, index), faults);
            }
        }
        _ => {}
    }
}
