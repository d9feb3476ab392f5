//! Texts, times and amounts: what they are converted to and asked for, where the crate's functions are not upstream's.

use std::sync::Arc;

use chrono::SecondsFormat;
use kube_cel::cel::{ExecutionError, ResolveResult, Value as CelValue};

use super::operate::text;
use super::price::digits;
use super::run::of;
use crate::quantity::Quantity;
use crate::time::parse_duration;

/// The seconds that moments may be at: of the years 1 to 9999.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// The most digits that a format may ask for behind a point.
const DIGITS_MAX: u64 = 1000;

/// The longest URL and version, in bytes: they are gone through whenever they are asked for something.
const URL_MAX: usize = 64 * 1024;
const SEMVER_MAX: usize = 1024;

/// A function of values, the first of which it may be called on. None for those of the crate.
pub(super) fn function(name: &str, values: &[CelValue]) -> Option<ResolveResult> {
    let truth = |truth: bool| Ok(CelValue::Bool(truth));
    Some(match (name, values) {
        ("contains", [CelValue::String(all), CelValue::String(part)]) => truth(all.contains(part.as_str())),
        ("contains", _) => Err(ExecutionError::NoSuchOverload),
        ("startsWith", [CelValue::String(all), CelValue::String(part)]) => truth(all.starts_with(part.as_str())),
        ("endsWith", [CelValue::String(all), CelValue::String(part)]) => truth(all.ends_with(part.as_str())),
        ("split", [CelValue::String(all), CelValue::String(by)]) if by.is_empty() => {
            Ok(CelValue::List(Arc::new(all.chars().map(|one| text(one.encode_utf8(&mut [0; 4]))).collect())))
        }
        ("format", [CelValue::String(format), ..]) if digits(format).1 > DIGITS_MAX => {
            Err(ExecutionError::function_error("format", "invalid precision in format string"))
        }
        // The crate cuts them by bytes.
        ("validate", [_, CelValue::String(value)]) if !value.is_ascii() => {
            Ok(of(Some(CelValue::List(Arc::new(vec![text("must consist of ASCII characters")])))))
        }
        ("bool", [CelValue::Bool(value)]) => truth(*value),
        ("bool", [CelValue::String(value)]) => match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => truth(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => truth(false),
            _ => Err(ExecutionError::function_error("bool", "type conversion error from 'string' to 'bool'")),
        },
        ("isQuantity", [CelValue::String(value)]) => truth(Quantity::parse(value).is_ok()),
        ("isURL", [CelValue::String(value)]) if !is_written(value) => truth(false),
        ("url", [CelValue::String(value)]) if !is_written(value) => {
            Err(ExecutionError::function_error("url", "URL parse error during conversion from string"))
        }
        ("isSemver", [CelValue::String(value), ..]) if value.len() > SEMVER_MAX => truth(false),
        ("semver", [CelValue::String(value), ..]) if value.len() > SEMVER_MAX => {
            Err(ExecutionError::function_error("semver", "version is too long"))
        }
        ("string", [CelValue::Bool(value)]) => Ok(text(if *value { "true" } else { "false" })),
        ("string", [value @ CelValue::String(_)]) => Ok(value.clone()),
        _ => return moments(name, values),
    })
}

fn moments(name: &str, values: &[CelValue]) -> Option<ResolveResult> {
    Some(match (name, values) {
        ("int", [CelValue::Float(number)]) if number.is_nan() || number.abs() >= 9_223_372_036_854_775_808.0 => {
            Err(ExecutionError::function_error("int", "integer overflow"))
        }
        ("int", [CelValue::Timestamp(moment)]) => Ok(CelValue::Int(moment.timestamp())),
        ("timestamp", [CelValue::Timestamp(_)])
        | ("duration", [CelValue::Duration(_)])
        | ("bytes", [CelValue::Bytes(_)]) => Ok(values[0].clone()),
        ("timestamp", [CelValue::Int(seconds)]) => {
            let moment = chrono::DateTime::from_timestamp(*seconds, 0).filter(|_| TIMES.contains(seconds));
            let overflow = || ExecutionError::function_error("timestamp", "timestamp overflow");
            moment.map(|moment| CelValue::Timestamp(moment.fixed_offset())).ok_or_else(overflow)
        }
        ("duration", [CelValue::String(value)]) if value.len() > 256 || parse_duration(value).is_err() => {
            let why = "type conversion error from 'string' to 'google.protobuf.Duration'";
            Err(ExecutionError::function_error("duration", why))
        }
        ("getHours", [CelValue::Duration(time)]) => Ok(CelValue::Int(time.num_hours())),
        ("getMinutes", [CelValue::Duration(time)]) => Ok(CelValue::Int(time.num_minutes())),
        ("getSeconds", [CelValue::Duration(time)]) => Ok(CelValue::Int(time.num_seconds())),
        ("getMilliseconds", [CelValue::Duration(time)]) => Ok(CelValue::Int(time.num_milliseconds())),
        ("int", [CelValue::Duration(time)]) => {
            let overflow = || ExecutionError::function_error("int", "integer overflow");
            time.num_nanoseconds().map(CelValue::Int).ok_or_else(overflow)
        }
        ("string", [CelValue::Timestamp(moment)]) => Ok(text(&moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))),
        ("string", [CelValue::Duration(time)]) => {
            let nanos = time.num_nanoseconds().unwrap_or(i64::MAX);
            #[allow(clippy::cast_precision_loss)]
            Ok(text(&format!("{}s", nanos as f64 / 1e9)))
        }
        _ => return None,
    })
}

/// What the crate is given instead of some values, which it reads in a way of its own.
///
/// # Errors
/// For a place whose time nobody knows.
pub(super) fn given(name: &str, mut values: Vec<CelValue>) -> Result<Vec<CelValue>, ExecutionError> {
    match (name, values.as_mut_slice()) {
        // It multiplies amounts until they are too large.
        ("quantity", [CelValue::String(amount)]) => {
            let read = Quantity::parse(amount);
            *amount = Arc::new(plain(read.map_err(|why| ExecutionError::function_error("quantity", why.to_string()))?));
        }
        // It takes them as they are written.
        (name, [CelValue::Timestamp(moment), zone @ ..]) if name.starts_with("get") => {
            let shift = match zone {
                [CelValue::String(zone)] => offset(zone)
                    .ok_or_else(|| ExecutionError::function_error(name, format!("unknown time zone {zone}")))?,
                _ => 0,
            };
            *moment = match chrono::FixedOffset::east_opt(shift) {
                Some(zone) => moment.with_timezone(&zone),
                None => moment.to_utc().fixed_offset(),
            };
            values.truncate(1);
        }
        _ => {}
    }
    Ok(values)
}

/// An amount in digits alone; more than anybody has is as good as that.
fn plain(amount: Quantity) -> String {
    const NANO: i128 = 1_000_000_000;
    const MOST: i128 = 100_000_000_000_000_000_000 * NANO;
    let nanos = amount.nanos().clamp(-MOST, MOST);
    let sign = if nanos < 0 { "-" } else { "" };
    format!("{sign}{}.{:09}", (nanos / NANO).abs(), (nanos % NANO).abs())
}

/// How many seconds before (east of) Greenwich a time is that is said by its offset: `UTC`, `-08:00`.
fn offset(zone: &str) -> Option<i32> {
    if matches!(zone, "" | "UTC") {
        return Some(0);
    }
    let (sign, rest) = match zone.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, zone.strip_prefix('+').unwrap_or(zone)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    ((0..24).contains(&hours) && (0..60).contains(&minutes)).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Whether a text is not too long for a URL, and has nothing in it that has to be written otherwise there: blanks,
/// control characters.
fn is_written(url: &str) -> bool {
    url.len() <= URL_MAX && url.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}
