//! What the steps of an expression cost when it runs.
//!
//! As upstream counts: a name, a selection, a call is one unit; a text that is gone through a tenth for each letter; a
//! question of rights more than a third of all that an expression may cost. Where upstream does not copy and this does
//! (lists that are added, what the crate's functions are given), or does not count what comes out (texts that become
//! longer), items and letters are counted too, before they are made: memory is what tenants must not get for nothing.
//!
//! Values are shared: a list can hold one ten times over and take no more room. Whoever walks or copies it finds it ten
//! times all the same. So what is put into lists and maps is paid by its letters, and no value is larger, written out,
//! than what was paid for it and what was there before.

use kube_cel::cel::Value as CelValue;
use kube_cel::cel::common::ast::{LiteralValue, operators};
use kube_cel::cel::objects::{Key, OptionalValue};

use super::authorizer;
use super::expand::INSERT;
use super::operate::size;
use super::run::{CALL_LIMIT, optional};

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

/// What it costs to look something up by a name: it is gone through as fast as memory, and no more than that.
pub(super) fn name(name: &str) -> u64 {
    1 + name.len() as u64 / 100
}

/// As [`name`], for a value that is one.
pub(super) fn key(value: &CelValue) -> u64 {
    if let CelValue::String(text) = value { name(text) } else { 1 }
}

/// How many letters a key holds that is put into a map.
pub(super) fn key_letters(key: &Key) -> u64 {
    if let Key::String(name) = key { name.len() as u64 } else { 8 }
}

/// What it costs to read what is written in an expression, in hundredths: it is copied.
pub(super) fn literal(literal: &LiteralValue) -> u64 {
    10 + match literal {
        LiteralValue::String(text) => text.inner().len() as u64,
        LiteralValue::Bytes(bytes) => bytes.inner().len() as u64,
        _ => 0,
    }
}

/// Where counting letters ends: a tenth of it is more than an expression may cost.
const COUNT_MAX: u64 = 10 * CALL_LIMIT + 20;
/// How deep values are walked: deeper ones cost more than there is.
const DEPTH_MAX: usize = 1000;

/// How many letters a value holds, at any depth; as far as anybody can pay.
fn letters(value: &CelValue) -> u64 {
    letters_within(value, COUNT_MAX)
}

/// How many letters a value holds, but at most this many: no more are gone through.
fn letters_within(value: &CelValue, most: u64) -> u64 {
    let mut left = most;
    count(value, &mut left, DEPTH_MAX);
    most - left
}

fn count(value: &CelValue, left: &mut u64, depth: usize) {
    let own = match value {
        CelValue::String(text) => text.len() as u64,
        CelValue::Bytes(bytes) => bytes.len() as u64,
        CelValue::Opaque(_) => 1 + authorizer::letters(value),
        _ => 1,
    };
    *left = if depth == 0 { 0 } else { left.saturating_sub(own) };
    match value {
        CelValue::List(items) => {
            for item in items.iter() {
                if *left == 0 {
                    return;
                }
                count(item, left, depth - 1);
            }
        }
        CelValue::Map(map) => {
            for (key, item) in map.map.iter() {
                if *left == 0 {
                    return;
                }
                *left = left.saturating_sub(key_letters(key));
                count(item, left, depth - 1);
            }
        }
        _ => {
            if let Some(inner) = optional(value).and_then(OptionalValue::value).filter(|_| *left > 0) {
                count(inner, left, depth - 1);
            }
        }
    }
}

/// What it costs to compare two values: no more of them is looked at than the smaller one has.
fn comparison(one: &CelValue, other: &CelValue) -> u64 {
    let mut most = 64;
    loop {
        let less = letters_within(one, most).min(letters_within(other, most));
        if less < most || most == COUNT_MAX {
            return tenth(less);
        }
        most = (most * 8).min(COUNT_MAX);
    }
}

/// What it costs to look for a value among others.
fn search(items: &[CelValue], one: &CelValue) -> u64 {
    let mut sum = 0;
    for item in items {
        sum += comparison(item, one).max(1);
        if sum > CALL_LIMIT {
            break;
        }
    }
    sum
}

/// What it costs to look for each of some values among others.
fn searches(items: &[CelValue], ones: &[CelValue]) -> u64 {
    let mut sum = 0;
    for one in ones {
        sum += search(items, one);
        if sum > CALL_LIMIT {
            break;
        }
    }
    sum
}

/// What it costs to give values to a function that copies them.
pub(super) fn copies<'v>(values: impl IntoIterator<Item = &'v CelValue>) -> u64 {
    tenth(values.into_iter().map(letters).fold(0, u64::saturating_add))
}

/// What it costs to put values into a list or a map, beside what that costs itself.
pub(super) fn kept<'v>(values: impl IntoIterator<Item = &'v CelValue>) -> u64 {
    values.into_iter().map(letters).fold(0, u64::saturating_add) / 10
}

/// Whether a value is larger, or deeper, than any that an object could hold.
pub(super) fn is_too_large(value: &CelValue) -> bool {
    const LARGEST: u64 = 8 << 20;
    letters_within(value, LARGEST) == LARGEST
}

/// Whether a value is longer than what is told of one.
pub(super) fn is_long(value: &CelValue) -> bool {
    const LONG: u64 = 4096;
    letters_within(value, LONG) == LONG
}

/// How many digits a format asks for: altogether, and the most for one value.
pub(super) fn digits(format: &str) -> (u64, u64) {
    format.split("%.").skip(1).fold((0, 0), |(all, most): (u64, u64), rest| {
        let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let own = if end == 0 { 0 } else { rest[..end].parse().unwrap_or(u64::MAX) };
        (all.saturating_add(own), most.max(own))
    })
}

/// What a function costs, before it runs: never nothing.
pub(super) fn of(name: &str, values: &[CelValue]) -> u64 {
    of_text(name, values).max(1).saturating_add(name.len() as u64 / 100)
}

fn of_text(name: &str, values: &[CelValue]) -> u64 {
    let first = || values.first().map_or(0, length);
    let second = || values.get(1).map_or(0, length);
    match name {
        operators::EQUALS | operators::NOT_EQUALS => match values {
            [one, other] => comparison(one, other).max(1),
            _ => 1,
        },
        operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => match values {
            [one, other] => comparison(one, other),
            _ => 1,
        },
        operators::ADD => match values {
            [CelValue::List(_), _] => first().saturating_add(second()).saturating_add(copies(values)).max(1),
            [CelValue::String(_) | CelValue::Bytes(_), _] => tenth(first().saturating_add(second())),
            _ => 1,
        },
        operators::IN => match values {
            [one, CelValue::List(items)] => search(items, one),
            [one, CelValue::Map(_)] => key(one),
            _ => 1,
        },
        operators::INDEX | operators::OPT_INDEX => values.get(1).map_or(1, key),
        "url" | "isURL" | "quantity" | "isQuantity" => tenth(first()),
        "size" => match values {
            [CelValue::String(text)] => 1 + text.len() as u64 / 1000,
            _ => 1,
        },
        "check" => QUESTION,
        "fieldSelector" | "labelSelector" => tenth(second()).saturating_add(second().saturating_mul(25)).max(10),
        "contains" => tenth(first()).saturating_mul(tenth(second())).max(1),
        "matches" | "find" | "findAll" => tenth(first() + 1).saturating_mul(second().div_ceil(4)),
        "validate" => tenth(second() + 1).saturating_mul(64),
        "startsWith" | "endsWith" => tenth(second()),
        "replace" => replaced(values),
        "join" => tenth(values.first().map_or(0, letters))
            .saturating_add(tenth(first().saturating_mul(second())))
            .saturating_mul(2),
        "split" => match values {
            [CelValue::String(all), CelValue::String(by), ..] => {
                let parts = if by.is_empty() { all.len() as u64 } else { all.matches(by.as_str()).count() as u64 };
                tenth(first()).saturating_mul(2).saturating_add(parts + 1)
            }
            _ => 1,
        },
        "format" => match values {
            [CelValue::String(format), ..] => tenth(digits(format).0).saturating_add(copies(values)).max(1),
            _ => 1,
        },
        INSERT => copies(values),
        _ => of_lists(name, values),
    }
}

fn of_lists(name: &str, values: &[CelValue]) -> u64 {
    let first = || values.first().map_or(0, length);
    match name {
        "sets.contains" | "sets.intersects" | "sets.equivalent" => match values {
            [CelValue::List(one), CelValue::List(other)] => searches(one, other).saturating_mul(2).max(1),
            _ => 1,
        },
        "lists.range" => match values {
            [CelValue::Int(end)] => u64::try_from(*end).unwrap_or(0).saturating_add(LIST),
            _ => 1,
        },
        "distinct" => match values {
            [CelValue::List(items)] => searches(items, items).saturating_mul(2).saturating_add(LIST),
            _ => 1,
        },
        "indexOf" | "lastIndexOf" => match values {
            [CelValue::String(_), CelValue::String(part), ..] => {
                tenth(first()).saturating_mul(tenth(part.len() as u64)).max(1)
            }
            [CelValue::List(items), one, ..] => search(items, one).max(1),
            _ => 1,
        },
        "sort" | "@sortByAssociatedKeys" => {
            let sorts = u64::from(first().max(2).ilog2()) * 2;
            // Long texts are compared letter by letter.
            let compared = values.last().map_or(0, letters) / 100;
            first().saturating_add(compared).saturating_mul(sorts).saturating_add(LIST)
        }
        "sum" | "unwrapOpt" | "optional.unwrap" => first().max(1),
        _ => 1,
    }
}

/// How much a value has: bytes of a text, which need not be gone through for that as its letters do; items, fields.
fn length(value: &CelValue) -> u64 {
    match value {
        CelValue::String(text) => text.len() as u64,
        value => size(value),
    }
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
        "flatten" | "findAll" | "slice" | "reverse" => size(found),
        // A URL does not say how long it is.
        "getHost" | "getHostname" | "getEscapedPath" | "getQuery" => letters(found),
        _ => 0,
    }
}
