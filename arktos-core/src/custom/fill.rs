//! What a body gains: defaults.

use serde_json::Value;

use super::structural::Structural;

/// Sets the defaults of what is absent, and of nulls that are not nullable. Says whether anything was set.
pub(super) fn fill(schema: &Structural, value: &mut Value) -> bool {
    if !schema.fills {
        return false;
    }
    let mut set = false;
    match value {
        Value::Object(map) => {
            for (name, field) in &schema.properties {
                let Some(default) = &field.default else { continue };
                let absent = map.get(&**name).is_none_or(|value| value.is_null() && !field.nullable);
                if absent {
                    map.insert(name.to_string(), default.clone());
                    set = true;
                }
            }
            for (name, value) in map.iter_mut() {
                let Some(field) = schema.field(name) else { continue };
                // The values of a map and the items of a list have no default by being absent, but a null has.
                if let (true, false, Some(default)) = (value.is_null(), field.nullable, &field.default) {
                    *value = default.clone();
                    set = true;
                }
                set |= fill(field, value);
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                for item in list {
                    if let (true, false, Some(default)) = (item.is_null(), items.nullable, &items.default) {
                        *item = default.clone();
                        set = true;
                    }
                    set |= fill(items, item);
                }
            }
        }
        _ => {}
    }
    set
}
