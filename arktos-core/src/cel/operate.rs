//! Operators, and the functions that need not copy what they are given.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::common::ast::operators;
use kube_cel::cel::objects::{Key, Map as CelMap};
use kube_cel::cel::{ExecutionError, ResolveResult, Value as CelValue};

use super::convert;
use super::expand::{INSERT, SORT_BY};
use super::price::is_long;
use super::run::{of, optional};

pub(super) fn text(text: &str) -> CelValue {
    CelValue::String(Arc::new(text.to_owned()))
}

/// What the name of a type stands for.
pub(super) fn kind(name: &str) -> Option<CelValue> {
    const KINDS: [&str; 9] = ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type"];
    KINDS.contains(&name).then(|| text(name))
}

fn type_name(value: &CelValue) -> &'static str {
    match value {
        CelValue::List(_) => "list",
        CelValue::Map(_) => "map",
        CelValue::Int(_) => "int",
        CelValue::UInt(_) => "uint",
        CelValue::Float(_) => "double",
        CelValue::String(_) => "string",
        CelValue::Bytes(_) => "bytes",
        CelValue::Bool(_) => "bool",
        CelValue::Duration(_) => "google.protobuf.Duration",
        CelValue::Timestamp(_) => "google.protobuf.Timestamp",
        CelValue::Null => "null_type",
        CelValue::Function(..) | CelValue::Opaque(_) => "dyn",
    }
}

/// How large a value is: letters, bytes, items, fields; 1 for what has no size.
pub(super) fn size(value: &CelValue) -> u64 {
    match value {
        CelValue::List(list) => list.len() as u64,
        CelValue::Map(map) => map.map.len() as u64,
        CelValue::String(text) => text.chars().count() as u64,
        CelValue::Bytes(bytes) => bytes.len() as u64,
        _ => 1,
    }
}

/// A value as a key of a map.
pub(super) fn key(value: &CelValue) -> Result<Key, ExecutionError> {
    Ok(match value {
        CelValue::Int(number) => Key::Int(*number),
        CelValue::UInt(number) => Key::Uint(*number),
        CelValue::Bool(truth) => Key::Bool(*truth),
        CelValue::String(text) => Key::String(text.clone()),
        CelValue::Float(_) => match whole(value) {
            Some(number) => Key::Int(number),
            None => return Err(ExecutionError::NoSuchOverload),
        },
        _ => return Err(ExecutionError::NoSuchOverload),
    })
}

/// A number as a whole number, if it is one.
fn whole(value: &CelValue) -> Option<i64> {
    match value {
        CelValue::Int(number) => Some(*number),
        CelValue::UInt(number) => i64::try_from(*number).ok(),
        // Exact: the fraction is none, and the range within what both hold.
        #[allow(clippy::cast_possible_truncation)]
        CelValue::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i64),
        _ => None,
    }
}

/// A key as faults show it.
fn shown(key: &Key) -> String {
    match key {
        Key::String(name) => cut(name).to_owned(),
        key => key.to_string(),
    }
}

/// As much of a text as a fault shows: loops keep faults, and copy them.
fn cut(text: &str) -> &str {
    const MOST: usize = 4096;
    let mut end = text.len().min(MOST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A fault that is not large, whatever the values are that it is about: loops keep it, and whoever tells of it writes
/// the values out.
pub(super) fn short(fault: ExecutionError) -> ExecutionError {
    use ExecutionError as E;
    let large = match &fault {
        E::FunctionError { function, message } if message.len() > cut(message).len() => {
            return E::function_error(cut(function), cut(message));
        }
        E::NoSuchKey(name) if name.len() > cut(name).len() => return E::no_such_key(cut(name)),
        E::UndeclaredReference(name) if name.len() > cut(name).len() => return E::undeclared_reference(cut(name)),
        E::UnexpectedType { got, want } => got.len().max(want.len()) > 1000,
        E::UnsupportedTargetType { target: value }
        | E::NotSupportedAsMethod { target: value, .. }
        | E::UnsupportedKeyType(value)
        | E::UnsupportedUnaryOperator(_, value)
        | E::UnsupportedMapIndex(value)
        | E::UnsupportedListIndex(value) => is_long(value),
        E::ValuesNotComparable(one, other)
        | E::UnsupportedBinaryOperator(_, one, other)
        | E::UnsupportedIndex(one, other) => is_long(one) || is_long(other),
        _ => false,
    };
    if large { E::NoSuchOverload } else { fault }
}

/// What stands at an index or a key.
pub(super) fn at(target: &CelValue, index: &CelValue) -> ResolveResult {
    match target {
        CelValue::List(items) => {
            let odd = || {
                let why = format!("unsupported index type '{}' in list", type_name(index));
                ExecutionError::function_error("index", why)
            };
            let number = whole(index).ok_or_else(odd)?;
            let item = usize::try_from(number).ok().and_then(|number| items.get(number));
            item.cloned().ok_or_else(|| ExecutionError::IndexOutOfBounds(CelValue::Int(number)))
        }
        CelValue::Map(map) => {
            let key = key(index)?;
            map.get(&key).cloned().ok_or_else(|| ExecutionError::no_such_key(&shown(&key)))
        }
        _ => {
            let name = key(index).map_or_else(|_| type_name(index).to_owned(), |key| shown(&key));
            Err(ExecutionError::no_such_key(&name))
        }
    }
}

/// Adds a field to a map that does not have it.
pub(super) fn insert(map: &mut HashMap<Key, CelValue>, key: Key, value: CelValue) -> Result<(), ExecutionError> {
    if map.contains_key(&key) {
        let why = format!("insert failed: key {} already exists", shown(&key));
        return Err(ExecutionError::function_error("insert", why));
    }
    map.insert(key, value);
    Ok(())
}

/// Whether a name is an operator's between two values.
pub(super) fn is_binary(name: &str) -> bool {
    matches!(
        name,
        operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::IN
    )
}

/// An operator between two values.
pub(super) fn binary(name: &str, left: CelValue, right: CelValue) -> ResolveResult {
    let truth = |truth: bool| Ok(CelValue::Bool(truth));
    match name {
        operators::EQUALS => truth(left == right),
        operators::NOT_EQUALS => truth(left != right),
        operators::LESS => truth(compare(&left, &right)?.is_lt()),
        operators::GREATER => truth(compare(&left, &right)?.is_gt()),
        operators::LESS_EQUALS => truth(compare(&left, &right)?.is_le()),
        operators::GREATER_EQUALS => truth(compare(&left, &right)?.is_ge()),
        operators::IN => match &right {
            CelValue::List(items) => truth(items.contains(&left)),
            CelValue::Map(map) => truth(key(&left).is_ok_and(|key| map.get(&key).is_some())),
            _ => Err(ExecutionError::NoSuchOverload),
        },
        operators::ADD => match (left, right) {
            (CelValue::Bytes(mut left), CelValue::Bytes(right)) => {
                Arc::make_mut(&mut left).extend_from_slice(&right);
                Ok(CelValue::Bytes(left))
            }
            // Of these the crate looks at the range that way round alone.
            (left @ CelValue::Duration(_), right @ CelValue::Timestamp(_)) => small(right + left),
            (left, right) => small(left + right),
        },
        operators::SUBSTRACT => small(left - right),
        operators::MULTIPLY => small(left * right),
        operators::DIVIDE => small(left / right),
        operators::MODULO => small(left % right),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

/// A fault that does not hold the values: they can be large, and whoever tells of it writes them out.
fn small(found: ResolveResult) -> ResolveResult {
    found.map_err(|why| match why {
        ExecutionError::UnsupportedBinaryOperator(..) => ExecutionError::NoSuchOverload,
        why => why,
    })
}

fn compare(left: &CelValue, right: &CelValue) -> Result<Ordering, ExecutionError> {
    let number = |value: &CelValue| matches!(value, CelValue::Int(_) | CelValue::UInt(_) | CelValue::Float(_));
    match (left, right) {
        (CelValue::Bytes(left), CelValue::Bytes(right)) => Ok(left.cmp(right)),
        (CelValue::Null, _) | (_, CelValue::Null) => Err(ExecutionError::NoSuchOverload),
        _ => match left.partial_cmp(right) {
            None if number(left) && number(right) => {
                Err(ExecutionError::function_error("compare", "NaN values cannot be ordered"))
            }
            None => Err(ExecutionError::NoSuchOverload),
            Some(order) => Ok(order),
        },
    }
}

/// A function of values, the first of which it may be called on. None for those of the crate.
pub(super) fn function(name: &str, values: &[CelValue]) -> Option<ResolveResult> {
    let truth = |truth: bool| Ok(CelValue::Bool(truth));
    Some(match (name, values) {
        (operators::LOGICAL_NOT, [CelValue::Bool(value)]) => truth(!value),
        (operators::NEGATE, [CelValue::Int(number)]) => {
            let overflow = || ExecutionError::Overflow("minus", CelValue::Int(*number), CelValue::Null);
            number.checked_neg().map(CelValue::Int).ok_or_else(overflow)
        }
        (operators::NEGATE, [CelValue::Float(number)]) => Ok(CelValue::Float(-number)),
        (operators::LOGICAL_NOT | operators::NEGATE, _) => Err(ExecutionError::NoSuchOverload),
        (operators::INDEX, [target, index]) => match optional(target) {
            Some(there) => Ok(of(there.value().and_then(|target| at(target, index).ok()))),
            None => at(target, index),
        },
        (operators::OPT_INDEX, [target, index]) => {
            let target = optional(target).map_or(Some(target), |there| there.value());
            Ok(of(target.and_then(|target| at(target, index).ok())))
        }
        ("size", [CelValue::List(_) | CelValue::Map(_) | CelValue::String(_) | CelValue::Bytes(_)]) => {
            Ok(CelValue::Int(i64::try_from(size(&values[0])).unwrap_or(i64::MAX)))
        }
        ("size", _) => Err(ExecutionError::NoSuchOverload),
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(text(type_name(value))),
        ("sort", [CelValue::List(items)]) => sorted_by(items, items),
        ("sum", [CelValue::List(items)]) => {
            let mut items = items.iter().cloned();
            let first = items.next().unwrap_or(CelValue::Int(0));
            if matches!(first, CelValue::String(_) | CelValue::Bytes(_) | CelValue::List(_)) {
                return Some(Err(ExecutionError::NoSuchOverload));
            }
            items.try_fold(first, |sum, item| binary(operators::ADD, sum, item))
        }
        ("lists.range", [CelValue::Int(end)]) => Ok(CelValue::List(Arc::new((0..*end).map(CelValue::Int).collect()))),
        (SORT_BY, [CelValue::List(items), CelValue::List(keys)]) => sorted_by(items, keys),
        (INSERT, [CelValue::Map(map), rest @ ..]) => inserted(map, rest),
        _ => return optionals(name, values).or_else(|| convert::function(name, values)),
    })
}

fn optionals(name: &str, values: &[CelValue]) -> Option<ResolveResult> {
    Some(match (name, values) {
        ("optional.none", []) => Ok(of(None)),
        ("optional.of", [value]) => Ok(of(Some(value.clone()))),
        ("optional.ofNonZeroValue", [value]) => Ok(of((!is_zero(value)).then(|| value.clone()))),
        ("hasValue", [value]) => match optional(value) {
            Some(there) => Ok(CelValue::Bool(there.value().is_some())),
            None => Err(ExecutionError::NoSuchOverload),
        },
        ("value", [value]) => match optional(value) {
            Some(there) => there
                .value()
                .cloned()
                .ok_or_else(|| ExecutionError::function_error("value", "optional.none() dereference")),
            None => Err(ExecutionError::NoSuchOverload),
        },
        ("first", [CelValue::List(items)]) => Ok(of(items.first().cloned())),
        ("last", [CelValue::List(items)]) => Ok(of(items.last().cloned())),
        ("unwrapOpt" | "optional.unwrap", [CelValue::List(items)]) => {
            let there = items.iter().filter_map(|item| optional(item)?.value().cloned());
            Ok(CelValue::List(Arc::new(there.collect())))
        }
        _ => return None,
    })
}

fn is_zero(value: &CelValue) -> bool {
    match value {
        CelValue::Null => true,
        CelValue::Bool(truth) => !truth,
        CelValue::Int(number) => *number == 0,
        CelValue::UInt(number) => *number == 0,
        CelValue::Float(number) => *number == 0.0,
        CelValue::String(text) => text.is_empty(),
        CelValue::List(_) | CelValue::Map(_) | CelValue::Bytes(_) => size(value) == 0,
        CelValue::Duration(duration) => duration.is_zero(),
        _ => optional(value).is_some_and(|there| there.value().is_none()),
    }
}

fn sorted_by(items: &[CelValue], keys: &[CelValue]) -> ResolveResult {
    for pair in keys.windows(2) {
        compare(&pair[0], &pair[1])?;
    }
    let mut both: Vec<(&CelValue, &CelValue)> = keys.iter().zip(items).collect();
    both.sort_by(|one, other| total(one.0, other.0));
    Ok(CelValue::List(Arc::new(both.into_iter().map(|(_, item)| item.clone()).collect())))
}

/// The order of values of which neighbours can be compared: exact between whole numbers and others, so that it is one.
/// Nought is one number, whatever its sign, and what is no number comes last.
fn total(left: &CelValue, right: &CelValue) -> Ordering {
    let plain = |number: f64| if number.is_nan() { f64::NAN } else { number + 0.0 };
    // Beyond what it holds, the whole part is cut down to that: as far as two differ there, they are no whole numbers.
    #[allow(clippy::cast_possible_truncation)]
    let parts = |value: &CelValue| match value {
        CelValue::Int(number) => Some((i128::from(*number), 0.0)),
        CelValue::UInt(number) => Some((i128::from(*number), 0.0)),
        CelValue::Float(number) if number.is_nan() => Some((i128::MAX, 0.0)),
        CelValue::Float(number) => Some((number.floor() as i128, plain(number - number.floor()))),
        _ => None,
    };
    match (left, right, parts(left), parts(right)) {
        (CelValue::Float(left), CelValue::Float(right), ..) => plain(*left).total_cmp(&plain(*right)),
        (_, _, Some(left), Some(right)) => left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)),
        _ => compare(left, right).unwrap_or(Ordering::Equal),
    }
}

fn inserted(map: &CelMap, rest: &[CelValue]) -> ResolveResult {
    let mut fields = map.map.as_ref().clone();
    match rest {
        [CelValue::Map(more)] => {
            for (key, value) in more.map.iter() {
                insert(&mut fields, key.clone(), value.clone())?;
            }
        }
        [one, value] => insert(&mut fields, key(one)?, value.clone())?,
        _ => return Err(ExecutionError::NoSuchOverload),
    }
    Ok(CelValue::Map(CelMap { map: Arc::new(fields) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_types_have_one_order() {
        let floats = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            1e-300,
            -1e-300,
            9_007_199_254_740_992.0,
            9_223_372_036_854_775_808.0,
            1.8e19,
            1e300,
            -1e300,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            -f64::NAN,
            f64::MIN_POSITIVE,
        ];
        let ints = [0, 1, -1, 9_007_199_254_740_993, i64::MAX, i64::MIN];
        let mut all: Vec<CelValue> = floats.into_iter().map(CelValue::Float).collect();
        all.extend(ints.into_iter().map(CelValue::Int));
        all.extend([0, 1, u64::MAX, 1 << 63].into_iter().map(CelValue::UInt));
        for a in &all {
            for b in &all {
                assert_eq!(total(a, b), total(b, a).reverse(), "{a:?} {b:?}");
                for c in &all {
                    let steps = [total(a, b), total(b, c)];
                    if steps.iter().all(|step| step.is_le()) {
                        let strict = steps.iter().any(|step| step.is_lt());
                        let wanted = if strict { Ordering::Less } else { Ordering::Equal };
                        assert_eq!(total(a, c), wanted, "{a:?} {b:?} {c:?}");
                    }
                }
            }
        }
        assert_eq!(total(&CelValue::Float(-0.0), &CelValue::UInt(0)), Ordering::Equal);
        let odd = |at: u64| match at * 7 % 4 {
            0 => CelValue::Int(0),
            1 => CelValue::Float(-0.0),
            2 => CelValue::Float(0.0),
            _ => CelValue::UInt(0),
        };
        let many: Vec<CelValue> = (0..60).map(|at| odd(at * at + at / 3)).collect();
        assert!(sorted_by(&many, &many).is_ok());
    }
}
