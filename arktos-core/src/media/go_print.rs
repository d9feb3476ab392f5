//! How Go prints values: messages that show values show them so.

use serde_json::{Number, Value};

/// JSON text with what HTML has a use for as escapes, as Go writes it.
pub fn go_escaped(text: &str) -> String {
    let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// A text in quotes, with escapes for what is not shown.
pub fn go_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' | '\r' | '\t' => quoted.extend(letter.escape_default()),
            '\0'..' ' | '\u{7f}' => quoted.push_str(&format!("\\x{:02x}", u32::from(letter))),
            '\u{80}'..'\u{a0}' => quoted.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// Where a text stops to be base64, as Go's decoder tells it. It passes over the ends of lines.
pub fn go_base64_fault(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let next = |mut at: usize| {
        while matches!(bytes.get(at), Some(b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    let (mut at, mut place) = (0, 0);
    loop {
        at = next(at);
        let Some(byte) = bytes.get(at).copied() else { return (place > 0).then(|| at - place) };
        match (byte, place) {
            (byte, _) if letter(byte) => {
                place = (place + 1) % 4;
                at += 1;
            }
            (b'=', 2) => {
                let second = next(at + 1);
                match bytes.get(second) {
                    None => return Some(bytes.len()),
                    Some(b'=') => at = next(second + 1),
                    Some(_) => return Some(second),
                }
                return (at < bytes.len()).then_some(at);
            }
            (b'=', 3) => {
                at = next(at + 1);
                return (at < bytes.len()).then_some(at);
            }
            _ => return Some(at),
        }
    }
}

/// A value as `%v` prints it.
#[must_use]
pub fn go_printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => plain(number),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_printed).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields = sorted(fields.iter().map(|(name, value)| (name, go_printed(value))));
            format!(
                "map[{}]",
                fields.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(" ")
            )
        }
    }
}

/// A value as `%#v` prints it.
#[must_use]
pub fn go_spelled(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_spelled).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = sorted(fields.iter().map(|(name, value)| (name, go_spelled(value))));
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        other => go_printed(other),
    }
}

/// What the Go decoder calls a value in its messages.
#[must_use]
pub const fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn sorted<'a>(fields: impl Iterator<Item = (&'a String, String)>) -> Vec<(&'a String, String)> {
    let mut fields: Vec<_> = fields.collect();
    fields.sort();
    fields
}

/// A number without a fraction has no point.
fn plain(number: &Number) -> String {
    let text = number.to_string();
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_printed_as_go_prints_them() {
        let value = json!({"b": [1, "x", null, 1.5, 2.0], "a": {"c": true}, "e": {}, "f": []});
        assert_eq!(go_printed(&value), "map[a:map[c:true] b:[1 x <nil> 1.5 2] e:map[] f:[]]");
        assert_eq!(
            go_spelled(&json!({"b": [1, "x", null], "a": {}})),
            "map[string]interface {}{\"a\":map[string]interface {}{}, \
             \"b\":[]interface {}{1, \"x\", interface {}(nil)}}"
        );
    }
}

#[cfg(test)]
mod base64_tests {
    use super::go_base64_fault;

    #[test]
    fn base64_breaks_off_where_go_says() {
        for (text, at) in [
            ("YQ==", None),
            ("", None),
            ("YW\nJj", None),
            ("YQ==x", Some(4)),
            ("YQ=x", Some(3)),
            ("YQ=", Some(3)),
            ("!", Some(0)),
            ("YWJj!", Some(4)),
            ("YWJjZ", Some(4)),
            ("=", Some(0)),
        ] {
            assert_eq!(go_base64_fault(text), at, "{text}");
        }
    }
}
