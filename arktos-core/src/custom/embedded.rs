//! Objects within objects: what they say of themselves.

use serde_json::{Map, Value};

use super::prune;
use super::structural::Structural;
use crate::encoded::Dialect;
use crate::media::go_kind;
use crate::rules::fault::Faults;
use crate::rules::label_1035_fault;
use crate::schema::{self, Path};

/// A field that has the wrong type, what it says, and why that is wrong.
pub(super) type Odd<Field> = (Field, Value, String);

/// Reads what an object within another says of itself. Gives the names of the fields of its metadata that nobody knows.
///
/// # Errors
/// The first field that has the wrong type.
pub(super) fn read(map: &mut Map<String, Value>) -> Result<Vec<String>, Odd<&'static str>> {
    for field in ["apiVersion", "kind"] {
        if let Some(said) = map.get(field).filter(|said| !said.is_string()) {
            return Err((field, said.clone(), "must be a string".to_owned()));
        }
    }
    let Some(metadata) = map.get_mut("metadata") else { return Ok(Vec::new()) };
    let sent = metadata.clone();
    let done = match metadata {
        Value::Object(_) => schema::metadata(metadata, Dialect::Plain),
        Value::Null => {
            *metadata = Value::Object(Map::new());
            Ok(Vec::new())
        }
        other => Err(format!("json: cannot unmarshal {} into Go value of type v1.ObjectMeta", go_kind(other))),
    };
    done.map_err(|why| ("metadata", sent, why))
}

/// Reads what the objects in a value, and it itself if it is one, say of themselves. Gives the fields that have the
/// wrong type, with a dot or a bracket in front.
pub(super) fn read_in(schema: &Structural, value: &mut Value) -> Vec<Odd<String>> {
    let mut all = Vec::new();
    if schema.embedded
        && let Value::Object(map) = &mut *value
        && let Err((field, said, why)) = read(map)
    {
        all.push((format!(".{field}"), said, why));
    }
    prune::embedded(schema, value, &mut |path, map| {
        if let Err((field, said, why)) = read(map) {
            let dot = if path.starts_with('[') { "" } else { "." };
            all.push((format!("{dot}{path}.{field}"), said, why));
        }
    });
    all
}

/// The types of a default, and of the objects in it.
pub(super) fn default_types(schema: &Structural, default: &Value, faults: &mut Faults) {
    if let Value::Object(map) = default
        && schema.embedded
    {
        type_of(map, &Path::Root, faults);
    }
    types(schema, default, &Path::Root, faults);
}

/// An object that is embedded says what it is.
fn type_of(map: &Map<String, Value>, path: &Path<'_>, faults: &mut Faults) {
    for name in ["apiVersion", "kind"] {
        let path = Path::Field(path, name).to_string();
        match map.get(name).and_then(Value::as_str) {
            None => faults.required(&path, ""),
            Some("") => faults.invalid(&path, &"".into(), "must not be empty"),
            Some(said) if name == "apiVersion" && said.matches('/').count() > 1 => {
                faults.invalid(&path, &said.into(), &format!("unexpected GroupVersion string: {said}"));
            }
            Some(kind) if name == "kind" => {
                if let Some(fault) = label_1035_fault(&kind.to_lowercase()) {
                    let why = format!("may have mixed case, but should otherwise match: {fault}");
                    faults.invalid(&path, &kind.into(), &why);
                }
            }
            Some(_) => {}
        }
    }
}

/// Objects that are embedded say what they are.
pub(super) fn types(schema: &Structural, value: &Value, path: &Path<'_>, faults: &mut Faults) {
    match value {
        Value::Object(map) => {
            if schema.embedded && !path.is_root() {
                type_of(map, path, faults);
            }
            for (name, value) in map {
                if let Some(field) = schema.field(name) {
                    types(field, value, &schema.place_of(path, name), faults);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (index, item) in list.iter().enumerate() {
                types(items, item, &Path::Item(path, index), faults);
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
    fn the_kind_of_an_object_within_is_a_name() {
        let said = |value: Value| {
            let mut faults = Faults::default();
            type_of(value.as_object().expect("an object"), &Path::Root, &mut faults);
            faults.0.into_iter().map(|fault| fault.field).collect::<Vec<_>>()
        };
        assert!(said(json!({"apiVersion": "v1", "kind": "Pod"})).is_empty());
        assert_eq!(said(json!({"apiVersion": "a/b/c", "kind": "bad kind"})), ["apiVersion", "kind"]);
    }
}
