//! The strategic merge patch: a merge patch that knows which lists are to be merged, and by which key.
//!
//! | directive | in | means |
//! |---|---|---|
//! | `$patch: replace` | an object | put the patch in its place |
//! | `$patch: delete` | an object | empty it |
//! | `$patch: replace` | an item of a merged list | put the patch's other items in the list's place |
//! | `$patch: delete` | an item of a merged list | take the item with this key away |
//! | `$retainKeys: [...]` | an object | take all fields away that are not named |
//! | `$setElementOrder/<list>: [...]` | an object | put the list into this order |
//! | `$deleteFromPrimitiveList/<list>: [...]` | an object | take these values out of the list |

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::merge_patch::GO_MAP;
use super::order::{Keys, identity, kind_of_items, order};
use super::{MergeSchema, Strategy};
use crate::media::{go_kind, go_printed};
use crate::status::{Reason, Status, StatusDetails};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder";
const DELETE_VALUES: &str = "$deleteFromPrimitiveList";

/// Applies a strategic merge patch. `schema` is that of the document.
///
/// # Errors
/// 400 when the patch or a directive has the wrong form, 422 for lists of lists, 500 (as upstream) for items without
/// their merge key, for lists of mixed items and for unknown directives.
pub fn strategic<S: MergeSchema>(schema: &S, document: &mut Value, patch: Value) -> Result<(), Status> {
    let patch = match patch {
        Value::Object(fields) => fields,
        Value::Null => return Ok(()),
        other => {
            let found = go_kind(&other);
            let message = format!("json: cannot unmarshal {found} into Go value of type {GO_MAP}");
            return Err(Status::bad_request(message));
        }
    };
    match document {
        Value::Object(fields) => Ok(merge_map(fields, patch, Some(schema))?),
        _ => Err(Status::bad_request("Invalid JSON document")),
    }
}

/// Why a patch cannot be applied.
pub(super) enum Fault {
    /// A directive has the wrong form.
    Directive(&'static str),
    ListOfLists,
    /// The rest: upstream answers 500 with a message of its own.
    Other(String),
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Directive(message) => Self::bad_request(message),
            Fault::ListOfLists => {
                Self::failure(Reason::Invalid, "the server rejected our request due to an error in our request")
                    .with_details(StatusDetails::default())
            }
            Fault::Other(message) => {
                let mut status = Self::failure(Reason::InternalError, message);
                status.reason = None;
                status
            }
        }
    }
}

const BAD_RETAIN_KEYS: Fault = Fault::Directive("invalid patch format of retainKeys");
const BAD_ORDER: Fault = Fault::Directive("invalid patch format of setElementOrder list");
const BAD_DELETE: Fault = Fault::Directive("invalid patch format of primitive list");

pub(super) fn no_key(item: &Value, key: &str) -> Fault {
    Fault::Other(format!("map: {} does not contain declared merge key: {key}", go_printed(item)))
}

/// An object whose `$patch` says what nobody knows.
fn unknown_type(patch: &Value) -> Fault {
    Fault::Other(format!("unknown patch type: {} in map: {}", go_printed(&patch[PATCH]), go_printed(patch)))
}

fn merge_map<S: MergeSchema>(
    target: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
    schema: Option<&S>,
) -> Result<(), Fault> {
    match patch.get(PATCH).map(Value::as_str) {
        None => {}
        Some(Some("replace")) => {
            patch.remove(PATCH);
            *target = patch;
            return Ok(());
        }
        Some(Some("delete")) => {
            target.clear();
            return Ok(());
        }
        Some(_) => return Err(unknown_type(&Value::Object(patch))),
    }
    retain_keys(target, &mut patch)?;
    set_orders(target, &mut patch, schema)?;
    for (name, value) in patch {
        match name.strip_prefix(DELETE_VALUES) {
            Some(list) => {
                let list = list.strip_prefix('/').ok_or(BAD_DELETE)?;
                merge_field(target, list, value, schema.and_then(|schema| schema.field(list)), true)?;
            }
            None => merge_field(target, &name, value, schema.and_then(|schema| schema.field(&name)), false)?,
        }
    }
    Ok(())
}

fn merge_field<S: MergeSchema>(
    target: &mut Map<String, Value>,
    name: &str,
    patch: Value,
    schema: Option<&S>,
    delete: bool,
) -> Result<(), Fault> {
    let strategy = schema.map(MergeSchema::strategy).unwrap_or_default();
    if patch.is_null() {
        target.remove(name);
        return Ok(());
    }
    match (target.get_mut(name), patch) {
        (Some(Value::Object(fields)), Value::Object(patch)) if strategy.replace => *fields = patch,
        (Some(Value::Object(fields)), Value::Object(patch)) => merge_map(fields, patch, schema)?,
        (Some(Value::Array(items)), Value::Array(patch)) => {
            let old = std::mem::take(items);
            *items = merge_list(old, patch, schema.and_then(MergeSchema::items), strategy, delete)?;
        }
        (_, patch) if !delete => match without_directives(patch) {
            Some(value) => drop(target.insert(name.to_owned(), value)),
            None => drop(target.remove(name)),
        },
        _ => {}
    }
    Ok(())
}

/// `$retainKeys`: what it does not name goes, and the patch may name nothing else.
fn retain_keys(target: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), Fault> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(BAD_RETAIN_KEYS) };
    let keys: HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let is_directive = |name: &str| name.starts_with(SET_ORDER) || name.starts_with(DELETE_VALUES);
    let named = |(name, value): (&String, &Value)| value.is_null() || is_directive(name) || keys.contains(&**name);
    if !patch.iter().all(named) {
        return Err(BAD_RETAIN_KEYS);
    }
    target.retain(|name, _| keys.contains(&**name));
    Ok(())
}

/// `$setElementOrder`: merges the lists it names, and orders them.
fn set_orders<S: MergeSchema>(
    target: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    schema: Option<&S>,
) -> Result<(), Fault> {
    let directives: Vec<String> = patch.keys().filter(|name| name.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let Some(Value::Array(wanted)) = patch.remove(&directive) else { return Err(BAD_ORDER) };
        let name = directive.strip_prefix(SET_ORDER).and_then(|rest| rest.strip_prefix('/')).ok_or(BAD_ORDER)?;
        let field = schema.and_then(|schema| schema.field(name));
        let strategy = field.map(MergeSchema::strategy).unwrap_or_default();
        let old = target.get(name).map(as_list).transpose()?;
        let new = patch.remove(name).map(into_list).transpose()?;
        if let Some(new) = &new {
            check_order(new, &wanted, strategy.merge_key)?;
        }
        let before = old.map_or_else(|| Ok(Keys::default()), |old| Keys::of(old, strategy.merge_key))?;
        let merged = match (old, new) {
            (Some(old), None) => old.clone(),
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(old), Some(new)) => {
                merge_list(old.clone(), new, field.and_then(MergeSchema::items), strategy, false)?
            }
            (None, None) => continue,
        };
        let wanted = Keys::of(&wanted, strategy.merge_key)?;
        target.insert(name.to_owned(), Value::Array(order(merged, &wanted, &before, strategy.merge_key)?));
    }
    Ok(())
}

fn as_list(value: &Value) -> Result<&Vec<Value>, Fault> {
    value.as_array().ok_or_else(|| Fault::Other(format!("expected a list, but received {}", go_kind(value))))
}

fn into_list(value: Value) -> Result<Vec<Value>, Fault> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(Fault::Other(format!("expected a list, but received {}", go_kind(&other)))),
    }
}

/// The items of the patch must stand in the order that the directive asks for, and none may be missing there.
fn check_order(patch: &[Value], wanted: &[Value], key: Option<&str>) -> Result<(), Fault> {
    if patch.is_empty() || wanted.is_empty() {
        return Ok(());
    }
    let all = wanted;
    let mut wanted = wanted.iter();
    for item in patch.iter().filter(|item| item.get(PATCH).is_none()) {
        let id = identity(item, key).ok_or_else(|| no_key(item, key.unwrap_or_default()))?;
        let is_next = |other: &Value| match identity(other, key) {
            Some(other) => Ok(other == id),
            None if !other.is_object() => {
                let found = go_kind(other);
                Err(Fault::Other(format!("expected a map[string]interface {{}}, but received a {found}")))
            }
            None => Ok(false),
        };
        let mut found = false;
        while !found && let Some(other) = wanted.next() {
            found = is_next(other)?;
        }
        if !found {
            let shown = |list: &[Value]| go_printed(&Value::from(list));
            return Err(Fault::Other(format!(
                "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                shown(patch),
                shown(all)
            )));
        }
    }
    Ok(())
}

fn merge_list<S: MergeSchema>(
    old: Vec<Value>,
    patch: Vec<Value>,
    items: Option<&S>,
    strategy: Strategy<'_>,
    delete: bool,
) -> Result<Vec<Value>, Fault> {
    if !strategy.merge_list {
        return Ok(patch);
    }
    let Some(are_maps) = kind_of_items(&old, &patch)? else { return Ok(old) };
    if !are_maps {
        return merge_values(old, patch, delete);
    }
    let Some(key) = strategy.merge_key else {
        return Err(Fault::Other("cannot merge lists without merge key for type map".to_owned()));
    };
    let (old, patch) = apply_item_directives(old, patch, key)?;
    let before = Keys::of(&old, Some(key))?;
    let wanted = Keys::of(&patch, Some(key))?;
    let merged = merge_items(old, patch, key, items)?;
    order(merged, &wanted, &before, Some(key))
}

fn merge_values(old: Vec<Value>, patch: Vec<Value>, delete: bool) -> Result<Vec<Value>, Fault> {
    let (before, wanted) = (Keys::of(&old, None)?, Keys::of(&patch, None)?);
    if delete {
        return Ok(old.into_iter().filter(|value| wanted.find(value, None).is_none()).collect());
    }
    let mut seen = HashSet::new();
    let both = old.into_iter().chain(patch).filter(|value| seen.insert(value.to_string())).collect();
    order(both, &wanted, &before, None)
}

/// Items with a `$patch`: gives back what is left of the list, and of the patch.
fn apply_item_directives(mut old: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>), Fault> {
    let mut replace = false;
    let mut deleted = HashSet::new();
    let mut rest = Vec::with_capacity(patch.len());
    for item in patch {
        match item.get(PATCH) {
            None => rest.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    deleted.insert(identity(&item, Some(key)).ok_or_else(|| no_key(&item, key))?);
                }
                Some("replace") => replace = true,
                Some("merge") => {
                    return Err(Fault::Other("merging lists cannot yet be specified in the patch".to_owned()));
                }
                _ => return Err(unknown_type(&item)),
            },
        }
    }
    if replace {
        return Ok((rest, Vec::new()));
    }
    old.retain(|item| identity(item, Some(key)).is_none_or(|id| !deleted.contains(&id)));
    Ok((old, rest))
}

fn merge_items<S: MergeSchema>(
    mut merged: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
    items: Option<&S>,
) -> Result<Vec<Value>, Fault> {
    let mut places = Keys::of(&merged, Some(key))?;
    for item in patch {
        let place = places.place(&item, key, merged.len())?;
        match (merged.get_mut(place), item) {
            (Some(Value::Object(fields)), Value::Object(patch)) => merge_map(fields, patch, items)?,
            // As upstream, a directive within it stays, and is a field that nobody knows.
            (_, mut item) => {
                drop_nulls(&mut item);
                merged.push(item);
            }
        }
    }
    Ok(merged)
}

/// Takes fields that are null out of a value.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A value of the patch that has nothing to be merged into: without nulls, and without objects that are directives.
fn without_directives(value: Value) -> Option<Value> {
    Some(match value {
        Value::Object(fields) if fields.contains_key(PATCH) => return None,
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, field)| !field.is_null())
                .filter_map(|(name, field)| Some((name, without_directives(field)?)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().filter_map(without_directives).collect()),
        other => other,
    })
}
