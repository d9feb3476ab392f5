//! From a body of a custom kind to an object.

use serde_json::Value;

use super::fill::TooManyDefaults;
use super::{Structural, fill, prune};
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
    crate::media::yaml::make_whole(&mut value);
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
    prune::embedded(schema, &mut value, &mut |path, map| {
        let Some(metadata) = map.get_mut("metadata").filter(|metadata| metadata.is_object()) else { return };
        let sent = metadata.to_string();
        match schema::metadata(metadata, Dialect::Plain) {
            Ok(unknown) => list.extend(unknown.into_iter().map(|name| format!("{path}.metadata.{name}"))),
            Err(why) => wrong = Some(format!("{path}.metadata: Invalid value: {sent}: {why}")),
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
