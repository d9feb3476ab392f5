//! What the steps of an expression cost when it runs.
//!
//! As upstream counts: a name, a selection, a call is one unit; a text that is gone through a tenth for each letter; a
//! question of rights more than a third of all that an expression may cost. Where upstream does not copy and this does
//! (lists that are added), or does not count what comes out (texts that become longer), items and letters are counted
//! too, before they are made: memory is what tenants must not get for nothing.

use kube_cel::cel::Value as CelValue;
use kube_cel::cel::common::ast::operators;

use super::operate::size;

/// A list that is written.
pub(super) const LIST: u64 = 10;
/// A map that is written.
pub(super) const MAP: u64 = 30;
/// A question of rights.
const QUESTION: u64 = 350_000;

/// A tenth, rounded up.
fn tenth(size: u64) -> u64 {
    size.div_ceil(10)
}

/// How many letters a value holds, at any depth.
fn letters(value: &CelValue) -> u64 {
    match value {
        CelValue::List(items) => items.iter().map(|item| 1 + letters(item)).fold(0, u64::saturating_add),
        CelValue::Map(map) => map.map.values().map(|item| 8 + letters(item)).fold(0, u64::saturating_add),
        CelValue::String(text) => text.len() as u64,
        CelValue::Bytes(bytes) => bytes.len() as u64,
        _ => 1,
    }
}

/// What a function costs, before it runs.
pub(super) fn of(name: &str, values: &[CelValue]) -> u64 {
    let first = || values.first().map_or(0, size);
    let second = || values.get(1).map_or(0, size);
    match name {
        operators::EQUALS | operators::NOT_EQUALS => match values {
            [one @ (CelValue::List(_) | CelValue::Map(_)), other] => tenth(letters(one).min(letters(other))).max(1),
            _ => tenth(first().min(second())).max(1),
        },
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
            tenth(first().min(second()))
        }
        operators::ADD => match values {
            [CelValue::List(_), _] => first().saturating_add(second()).max(1),
            [CelValue::String(_) | CelValue::Bytes(_), _] => tenth(first().saturating_add(second())),
            _ => 1,
        },
        operators::IN => match values {
            [_, CelValue::List(_)] => second(),
            _ => 1,
        },
        "check" => QUESTION,
        "fieldSelector" | "labelSelector" => tenth(second()).saturating_add(second().saturating_mul(25)).max(10),
        "contains" => tenth(first()).saturating_mul(tenth(second())),
        "matches" | "find" | "findAll" => tenth(first() + 1).saturating_mul(second().div_ceil(4)),
        "validate" => tenth(second() + 1).saturating_mul(64),
        "startsWith" | "endsWith" => tenth(second()),
        "sets.contains" | "sets.intersects" | "sets.equivalent" => first().saturating_mul(second()).max(1),
        "lists.range" => match values {
            [CelValue::Int(end)] => u64::try_from(*end).unwrap_or(0).saturating_add(LIST),
            _ => 1,
        },
        "distinct" => first().saturating_mul(first()).saturating_mul(2).saturating_add(LIST),
        "sort" | "@sortByAssociatedKeys" => {
            let sorts = u64::from(first().max(2).ilog2()) * 2;
            first().saturating_mul(sorts).saturating_add(LIST)
        }
        "replace" => replaced(values),
        "join" => tenth(values.first().map_or(0, letters))
            .saturating_add(tenth(first().saturating_mul(second())))
            .saturating_mul(2),
        "split" => tenth(first()).saturating_mul(2).saturating_add(1),
        "format" => tenth(values.iter().map(letters).fold(0, u64::saturating_add)).max(1),
        _ => values
            .iter()
            .fold(0, |sum: u64, value| {
                sum.saturating_add(match value {
                    CelValue::List(_) | CelValue::Map(_) if copied(name) => letters(value),
                    CelValue::String(_) | CelValue::Bytes(_) => tenth(size(value)),
                    _ => 0,
                })
            })
            .max(1),
    }
}

/// Whether a function is one of those that get copies of lists.
fn copied(name: &str) -> bool {
    !name.starts_with("optional.")
        && !matches!(
            name,
            "size" | "type" | "dyn" | "hasValue" | "value" | "first" | "last" | operators::INDEX | operators::OPT_INDEX
        )
}

/// A text in which something is replaced: as long as what comes out.
fn replaced(values: &[CelValue]) -> u64 {
    let [CelValue::String(all), CelValue::String(old), CelValue::String(new), ..] = values else { return 1 };
    let length = all.len() as u64;
    let times = if old.is_empty() { length + 1 } else { length / old.len() as u64 };
    let most = length.saturating_add(times.saturating_mul(new.len() as u64));
    if tenth(length.saturating_mul(2)) >= tenth(most) {
        return tenth(length.saturating_mul(2));
    }
    let times = if old.is_empty() { times } else { all.matches(old.as_str()).count() as u64 };
    tenth(length.saturating_add(times.saturating_mul(new.len() as u64)).max(length.saturating_mul(2)))
}

/// What a function costs once it is known what it came to.
pub(super) fn of_result(name: &str, found: &CelValue) -> u64 {
    match name {
        "flatten" | "split" | "findAll" | "slice" | "reverse" => size(found),
        _ => 0,
    }
}
