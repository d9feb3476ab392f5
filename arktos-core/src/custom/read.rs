//! From a body of a custom kind to an object.

use serde_json::Value;

use super::fill::TooManyDefaults;
use super::{Structural, embedded, fill, prune};
use crate::encoded::Dialect;
use crate::kind::TypeMeta;
use crate::object::Object;
use crate::schema::{self, Decoded, Faults};
use crate::status::{Reason, Status};

/// Reads a body: metadata is checked as that of any object, what nobody knows is dropped, defaults are set. Values of
/// the wrong type are left for validation to find, as upstream does.
pub(crate) fn decode(
    schema: &Structural,
    type_meta: &TypeMeta,
    value: Value,
    dialect: Dialect,
) -> Result<Decoded, Status> {
    decode_with(schema, type_meta, value, dialect, false)
}

/// As [`decode`], of what an apply has made: nulls that no value may be stay, for validation to find.
pub(crate) fn decode_applied(
    schema: &Structural,
    type_meta: &TypeMeta,
    value: Value,
    dialect: Dialect,
) -> Result<Decoded, Status> {
    decode_with(schema, type_meta, value, dialect, true)
}

fn decode_with(
    schema: &Structural,
    type_meta: &TypeMeta,
    mut value: Value,
    dialect: Dialect,
    keeps_nulls: bool,
) -> Result<Decoded, Status> {
    let mut list = Vec::new();
    make_whole(schema, &mut value);
    match value.get_mut("metadata") {
        Some(metadata) if metadata.is_null() => {}
        Some(metadata) => {
            let unknown =
                schema::metadata(metadata, dialect).map_err(|why| schema::cannot_be_handled(type_meta, &why))?;
            list.extend(unknown.into_iter().map(|name| format!("metadata.{name}")));
        }
        None => {}
    }
    list.extend(prune::prune(schema, &mut value, true));
    let mut wrong = None;
    prune::embedded(schema, &mut value, &mut |path, map| match embedded::read(map) {
        Ok(unknown) => list.extend(unknown.into_iter().map(|name| format!("{path}.metadata.{name}"))),
        Err((field, said, why)) => {
            wrong.get_or_insert(format!("{path}.{field}: Invalid value: {said}: {why}"));
        }
    });
    if let Some(why) = wrong {
        return Err(schema::cannot_be_handled(type_meta, &why));
    }
    if !keeps_nulls {
        prune::drop_nulls(schema, &mut value);
    }
    fill::fill(schema, &mut value).map_err(too_large)?;
    let list = list.into_iter().map(|path| format!("unknown field \"{path}\"")).collect();
    let mut object = Object::from_value(value).ok_or_else(|| Status::bad_request("the body is not an object"))?;
    for (field, text) in [("apiVersion", &type_meta.api_version), ("kind", &type_meta.kind)] {
        if object.str_at(&[field]).is_empty() {
            object.set(&[field], text.as_str());
        }
    }
    Ok(Decoded { object, faults: Faults { list } })
}

/// Makes integers of all numbers without a fraction, but where a scale looks: what it counts must be written as one.
fn make_whole(schema: &Structural, value: &mut Value) {
    let counts: Vec<Option<Value>> = schema.counts.iter().map(|path| count(path, value).cloned()).collect();
    crate::media::yaml::make_whole(value);
    for (path, written) in schema.counts.iter().zip(counts) {
        let place = path.iter().try_fold(&mut *value, |value, field| value.get_mut(field));
        if let (Some(place), Some(written)) = (place, written) {
            *place = written;
        }
    }
}

/// The number that stands at a path.
fn count<'a>(path: &[String], value: &'a Value) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, field| value.get(field)).filter(|value| value.is_number())
}

/// The refusal of what has more defaults than it may have.
pub(crate) fn too_large(why: TooManyDefaults) -> Status {
    Status::failure(Reason::RequestEntityTooLarge, format!("Request entity too large: {why}"))
}

/// Brings an object into the form that a schema wants: what nobody knows is dropped, defaults are set. Says whether
/// anything has changed.
///
/// # Errors
/// [`TooManyDefaults`]; those that there was room for are set.
pub(crate) fn complete(schema: &Structural, object: &mut Object) -> Result<bool, TooManyDefaults> {
    let mut value = Value::Object(std::mem::take(&mut object.fields));
    let pruned = !prune::prune(schema, &mut value, true).is_empty();
    let filled = fill::fill(schema, &mut value);
    if let Value::Object(fields) = value {
        object.fields = fields;
    }
    Ok(filled? || pruned)
}

/// Takes away what a schema does not know.
pub(crate) fn drop_unknown(schema: &Structural, object: &mut Object) {
    let mut value = Value::Object(std::mem::take(&mut object.fields));
    prune::prune(schema, &mut value, true);
    if let Value::Object(fields) = value {
        object.fields = fields;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_within_another_says_what_it_is_in_texts_and_has_metadata() {
        let any = json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true});
        let schema = Structural::compile(&json!({"type": "object", "properties": {"a": any}}));
        let type_meta = TypeMeta::new("example.org", "v1", "Thing");
        let read = |embedded: Value| {
            let value = json!({"metadata": {"name": "x"}, "a": embedded});
            decode(&schema, &type_meta, value, Dialect::Plain).map_err(|refusal| refusal.message)
        };
        let into = "into Go value of type v1.ObjectMeta";
        for (embedded, why) in [
            (
                json!({"apiVersion": 5, "kind": 7, "metadata": 9}),
                "a.apiVersion: Invalid value: 5: must be a string".to_owned(),
            ),
            (
                json!({"apiVersion": null, "kind": "P"}),
                "a.apiVersion: Invalid value: null: must be a string".to_owned(),
            ),
            (json!({"apiVersion": "v1", "kind": 7}), "a.kind: Invalid value: 7: must be a string".to_owned()),
            (json!({"metadata": 5}), format!("a.metadata: Invalid value: 5: json: cannot unmarshal number {into}")),
            (
                json!({"metadata": "x"}),
                format!("a.metadata: Invalid value: \"x\": json: cannot unmarshal string {into}"),
            ),
            (json!({"metadata": []}), format!("a.metadata: Invalid value: []: json: cannot unmarshal array {into}")),
            (
                json!({"metadata": {"name": 5}}),
                "a.metadata: Invalid value: {\"name\":5}: json: cannot unmarshal number into Go struct field \
                 ObjectMeta.name of type string"
                    .to_owned(),
            ),
        ] {
            let refused = read(embedded).expect_err("refused");
            assert_eq!(refused, format!("Thing in version \"v1\" cannot be handled as a Thing: {why}"));
        }
        let read = read(json!({"apiVersion": "v1", "kind": "P", "metadata": null})).expect("reads");
        assert_eq!(read.object.at(&["a", "metadata"]), Some(&json!({})));
    }
}
