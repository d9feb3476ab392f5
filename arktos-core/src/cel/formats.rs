//! Texts that say how values are to be written (`'%d of %s'.format([1, 'a'])`): whether they can be, told from the
//! types of the values.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{EntryExpr, Expr};

use super::types::Type;

/// What is wrong with a format, or with one of the values that it is given (then the part is told, too).
pub(super) fn fault<'a>(
    format: &str,
    values: &[IdedExpr],
    type_of: &dyn Fn(&IdedExpr) -> Type<'a>,
) -> Option<(Option<u64>, String)> {
    let format = format.as_bytes();
    let (mut at, mut used) = (0, 0);
    while at < format.len() {
        if format[at] != b'%' {
            at += 1;
            continue;
        }
        at += 1;
        match format.get(at) {
            Some(b'%') => {
                at += 1;
                continue;
            }
            None => return Some((None, "unexpected end of string".to_owned())),
            Some(_) => {}
        }
        let Some(value) = values.get(used) else { return Some((None, format!("index {used} out of range"))) };
        used += 1;
        let clause = match clause(&format[at..]) {
            Ok((length, clause)) => {
                at += length;
                clause
            }
            Err(why) => return Some((None, format!("could not parse formatting clause: {why}"))),
        };
        if let Some((part, why)) = unfit(clause, value, type_of) {
            return Some((Some(part), format!("error during formatting: {why}")));
        }
    }
    (values.len() > used).then(|| {
        let given = values.len();
        (None, format!("too many arguments supplied to string.format (expected {used}, got {given})"))
    })
}

/// The letter that says how a value is written, and where the text goes on.
fn clause(text: &[u8]) -> Result<(usize, u8), String> {
    let mut at = 0;
    if text.first() == Some(&b'.') {
        let digits = text[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        at = digits + 1;
        let of = |why: &str| format!("error while parsing precision: {why}");
        if at == text.len() {
            return Err(of("could not find end of precision specifier"));
        }
        let number = String::from_utf8_lossy(&text[1..at]);
        if number.parse::<i64>().is_err() {
            let why = if digits == 0 { "invalid syntax" } else { "value out of range" };
            return Err(of(&format!(
                "error while converting precision to integer: strconv.Atoi: parsing \"{number}\": {why}"
            )));
        }
    }
    match text.get(at) {
        Some(letter @ (b's' | b'd' | b'f' | b'e' | b'b' | b'x' | b'X' | b'o')) => Ok((at + 1, *letter)),
        other => Err(format!("unrecognized formatting clause \"{}\"", char::from(other.copied().unwrap_or_default()))),
    }
}

/// The part that cannot be written so, and why.
fn unfit<'a>(clause: u8, value: &IdedExpr, type_of: &dyn Fn(&IdedExpr) -> Type<'a>) -> Option<(u64, String)> {
    let of = type_of(value);
    let fits = match (clause, &of) {
        (_, Type::Dyn | Type::Error) | (b'b' | b'd' | b'o' | b'x' | b'X', Type::Int | Type::Uint) => true,
        (b'f' | b'e', Type::Double | Type::String) => true,
        (b'b', Type::Bool) | (b'x' | b'X', Type::String | Type::Bytes) => true,
        (b's', Type::Optional(_) | Type::Named(_) | Type::Object(..) | Type::Variables) => false,
        (b's', _) => return parts(value).into_iter().find_map(|part| unfit(clause, part, type_of)),
        _ => false,
    };
    let what = match clause {
        b's' => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, \
             and timestamps"
        }
        b'd' => "decimal clause can only be used on integers",
        b'f' => "fixed-point clause can only be used on doubles",
        b'e' => "scientific clause can only be used on doubles",
        b'b' => "only integers and bools can be formatted as binary",
        b'o' => "octal clause can only be used on integers",
        _ => "only integers, byte buffers, and strings can be formatted as hex",
    };
    let told = of.told();
    // Nothing has another name here.
    let name = if matches!(of, Type::Null) { "null_type" } else { told.split('(').next().unwrap_or_default() };
    (!fits).then(|| (value.id, format!("{what}, was given {name}")))
}

/// What is in a list or a map that is written down.
fn parts(value: &IdedExpr) -> Vec<&IdedExpr> {
    match &value.expr {
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => {
            let pairs = map.entries.iter().filter_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(pair) => Some([&pair.key, &pair.value]),
                EntryExpr::StructField(_) => None,
            });
            pairs.flatten().collect()
        }
        _ => Vec::new(),
    }
}
