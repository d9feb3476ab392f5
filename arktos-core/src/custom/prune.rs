//! Pruning: fields that the schema does not know, and nulls that mean nothing, are removed from a body.

use serde_json::{Map, Value};

use super::structural::{Structural, Values};

/// Fields that every object has, at the root and where an object is embedded.
const OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// How many bytes of names are kept of what is taken away: each says where it stood, which can be long.
const NAMES_MAX: usize = 1 << 20;

/// The fields that were taken away.
#[derive(Default)]
struct Unknown {
    names: Vec<String>,
    bytes: usize,
}

impl Unknown {
    fn add(&mut self, path: &str, name: &str) {
        if self.bytes < NAMES_MAX {
            let name = joined(path, name);
            self.bytes += name.len() + size_of::<String>();
            self.names.push(name);
        }
    }
}

/// Takes away the fields that a schema does not know, and says which; where they are very many, the first of them.
/// `root` says whether the value is a whole object.
pub(super) fn prune(schema: &Structural, value: &mut Value, root: bool) -> Vec<String> {
    let mut unknown = Unknown::default();
    walk(schema, value, root, &mut String::new(), &mut unknown);
    unknown.names.sort();
    unknown.names
}

fn walk(schema: &Structural, value: &mut Value, object: bool, path: &mut String, unknown: &mut Unknown) {
    match value {
        Value::Object(map) => fields(schema, map, object || schema.embedded, path, unknown),
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (index, item) in list.iter_mut().enumerate() {
                below(path, &format!("[{index}]"), |path| walk(items, item, false, path, unknown));
            }
        }
        _ => {}
    }
}

fn fields(schema: &Structural, map: &mut Map<String, Value>, object: bool, path: &mut String, unknown: &mut Unknown) {
    let known = |name: &str| {
        schema.properties.contains_key(name)
            || schema.preserve
            || !matches!(schema.values, Values::None)
            || object && OBJECT.contains(&name)
    };
    map.retain(|name, _| {
        let keep = known(name);
        if !keep {
            unknown.add(path, name);
        }
        keep
    });
    for (name, value) in map.iter_mut() {
        if object && OBJECT.contains(&name.as_str()) {
            continue; // looked at by those who know metadata
        }
        let Some(field) = schema.field(name) else { continue };
        below(path, name, |path| walk(field, value, false, path, unknown));
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Does something with a longer path, which is as it was afterwards.
fn below(path: &mut String, step: &str, act: impl FnOnce(&mut String)) {
    let length = path.len();
    if !path.is_empty() && !step.starts_with('[') {
        path.push('.');
    }
    path.push_str(step);
    act(path);
    path.truncate(length);
}

/// Takes away nulls of fields that are not nullable and have no default.
pub(super) fn drop_nulls(schema: &Structural, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, value| {
                let field = schema.field(name);
                !(value.is_null() && field.is_some_and(|field| !field.nullable && field.default.is_none()))
            });
            for (name, value) in map.iter_mut() {
                if let Some(field) = schema.field(name) {
                    drop_nulls(field, value);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                list.iter_mut().for_each(|item| drop_nulls(items, item));
            }
        }
        _ => {}
    }
}

/// The objects embedded in a value, with where they stand.
pub(super) fn embedded(schema: &Structural, value: &mut Value, act: &mut dyn FnMut(&str, &mut Map<String, Value>)) {
    inner(schema, value, &mut String::new(), act);
}

fn inner(
    schema: &Structural,
    value: &mut Value,
    path: &mut String,
    act: &mut dyn FnMut(&str, &mut Map<String, Value>),
) {
    match value {
        Value::Object(map) => {
            if schema.embedded && !path.is_empty() {
                act(path, map);
            }
            for (name, value) in map.iter_mut() {
                if let Some(field) = schema.field(name) {
                    below(path, name, |path| inner(field, value, path, act));
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (index, item) in list.iter_mut().enumerate() {
                below(path, &format!("[{index}]"), |path| inner(items, item, path, act));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_very_many_unknown_fields_the_first_are_told() {
        let inner = json!({"type": "object"});
        let schema = Structural::compile(&json!({"type": "object", "additionalProperties": inner}));
        let fields: Map<String, Value> = (0..1000).map(|n| (format!("a{n}"), json!(1))).collect();
        let mut value = json!({"k".repeat(100_000): fields});
        let told = prune(&schema, &mut value, false);
        assert!((5..20).contains(&told.len()), "{}", told.len());
        assert_eq!(value["k".repeat(100_000)], json!({}), "all are taken away");
    }
}
