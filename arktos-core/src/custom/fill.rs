//! Defaulting: what the schema adds to a body.

use serde_json::{Map, Value};

use super::structural::Structural;
use crate::merge::size;

/// How many bytes of defaults an object is given, about: a list of items that say nothing multiplies what a default
/// says.
const FILLED_MAX: usize = 3 << 20;
/// What each default counts as beside what it says, in bytes.
const EACH: usize = 16;

/// An object whose schema has more defaults for it than it may be given. Those that there was room for are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the defaults of the object are more than {FILLED_MAX} bytes")]
pub(crate) struct TooManyDefaults;

/// Sets the defaults of what is absent, and of nulls that are not nullable. Says whether anything was set.
///
/// # Errors
/// [`TooManyDefaults`].
pub(super) fn fill(schema: &Structural, value: &mut Value) -> Result<bool, TooManyDefaults> {
    let mut room = Room { left: FILLED_MAX };
    room.fill(schema, value)?;
    Ok(room.left < FILLED_MAX)
}

/// How many bytes may be set yet.
struct Room {
    left: usize,
}

impl Room {
    fn default(&mut self, default: &Value) -> Result<Value, TooManyDefaults> {
        let taken = size(default, self.left).map(|size| size + EACH);
        self.left = taken.and_then(|taken| self.left.checked_sub(taken)).ok_or(TooManyDefaults)?;
        Ok(default.clone())
    }

    fn fill(&mut self, schema: &Structural, value: &mut Value) -> Result<(), TooManyDefaults> {
        if !schema.fills {
            return Ok(());
        }
        match value {
            Value::Object(map) => self.fields(schema, map),
            Value::Array(list) => {
                let Some(items) = &schema.items else { return Ok(()) };
                list.iter_mut().try_for_each(|item| self.item(items, item))
            }
            _ => Ok(()),
        }
    }

    fn fields(&mut self, schema: &Structural, map: &mut Map<String, Value>) -> Result<(), TooManyDefaults> {
        for (name, field) in &schema.properties {
            let Some(default) = &field.default else { continue };
            let absent = map.get(&**name).is_none_or(|value| value.is_null() && !field.nullable);
            if absent {
                map.insert(name.to_string(), self.default(default)?);
            }
        }
        for (name, value) in map.iter_mut() {
            if let Some(field) = schema.field(name) {
                self.item(field, value)?;
            }
        }
        Ok(())
    }

    /// The values of a map and the items of a list have no default by being absent, but a null has.
    fn item(&mut self, schema: &Structural, value: &mut Value) -> Result<(), TooManyDefaults> {
        if let (true, false, Some(default)) = (value.is_null(), schema.nullable, &schema.default) {
            *value = self.default(default)?;
        }
        self.fill(schema, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(default: &str) -> Structural {
        let item = json!({"type": "object", "properties": {"a": {"type": "string", "default": default}}});
        Structural::compile(&json!({"type": "object", "properties": {"list": {"type": "array", "items": item}}}))
    }

    #[test]
    fn defaults_do_not_multiply_without_end() {
        let mut value = json!({"list": vec![json!({}); 4000]});
        assert_eq!(fill(&schema(&"x".repeat(100_000)), &mut value), Err(TooManyDefaults));
        let bytes = value.to_string().len();
        assert!((2 << 20..4 << 20).contains(&bytes), "what there was room for is set: {bytes}");
        // Short ones count as well, for each is a value of its own.
        let mut value = json!({"list": vec![json!({}); 200_000]});
        assert_eq!(fill(&schema(""), &mut value), Err(TooManyDefaults));
        let mut value = json!({"list": vec![json!({}); 4000]});
        assert_eq!(fill(&schema(&"x".repeat(500)), &mut value), Ok(true));
        assert_eq!(fill(&schema(&"x".repeat(500)), &mut value), Ok(false));
    }
}
