//! YAML that is JSON on one line, as programs send configurations that they apply: read as that, since a reader of YAML
//! takes many times as long.
//!
//! Only where both readers surely say the same: what is longer or deeper, or has letters and numbers that the two may
//! take for something else, is left to the reader of YAML.

use serde_json::Value;

use crate::schema::read_json;

/// Shorter than any limit on values could matter.
const LENGTH_MAX: usize = 256 << 10;
/// How deep values may be nested: half of what the reader of YAML goes down.
const DEPTH_MAX: usize = 50;
/// How long a key may be: YAML allows for 1024 letters, quotes included.
const KEY_MAX: usize = 1000;
/// The letters that Go's encoder writes by their numbers.
const NUMBERED: [&[u8]; 3] = [b"u0026", b"u003c", b"u003e"];

/// Reads it. Absent where it is something else, where a key stands twice in its map, or where the two readers might
/// differ.
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if text.len() > LENGTH_MAX || text.first() != Some(&b'{') || !is_plain(text) {
        return None;
    }
    let (value, repeated) = read_json(text).ok()?;
    (repeated.is_empty() && fits(&value, 0)).then_some(value)
}

/// Whether there are but letters, in one line, that mean themselves in both, and escapes that both know.
fn is_plain(text: &[u8]) -> bool {
    if !text.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return false;
    }
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let escape = &rest[at + 1..];
        let plain = matches!(escape.first(), Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't'));
        if !plain && !NUMBERED.iter().any(|number| escape.starts_with(number)) {
            return false;
        }
        rest = escape.get(1..).unwrap_or_default();
    }
    true
}

/// Whether both readers make the same of it: fractions, and what merges another map, are left to the other one.
fn fits(value: &Value, depth: usize) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => depth < DEPTH_MAX && items.iter().all(|item| fits(item, depth + 1)),
        Value::Object(fields) => {
            let key = |key: &str| key.len() <= KEY_MAX && key != "<<";
            depth < DEPTH_MAX && fields.iter().all(|(name, field)| key(name) && fits(field, depth + 1))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::yaml;
    use super::*;

    /// What the reader of YAML makes of it.
    fn as_yaml(text: &str) -> Option<Value> {
        yaml::document(text.as_bytes()).ok().map(yaml::whole_numbers)
    }

    #[test]
    fn what_a_program_sends_is_read_as_json() {
        let config = json!({"apiVersion": "v1", "metadata": {"name": "a", "annotations": {"k": "<a> & \"b\"\n\t\\"}},
            "data": {"n": [1, -2, u64::MAX, i64::MIN, true, false, null, "", {}, []]}});
        let text = config.to_string();
        assert_eq!((read(text.as_bytes()), as_yaml(&text)), (Some(config.clone()), Some(config)));
        let escaped = r#"{"a":"\u003cb\u003e \u0026 \\u0041"}"#;
        assert_eq!(read(escaped.as_bytes()), as_yaml(escaped));
        assert_eq!(read(b"{\"a\": 1}\n"), Some(json!({"a": 1})));
    }

    #[test]
    fn what_may_mean_something_else_is_left_to_the_other_reader() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(60), "}".repeat(60));
        let key = format!(r#"{{"{}":1}}"#, "k".repeat(1001));
        let others = [
            "",
            "a: 1",
            "[1]",
            "{a: 1}",
            r#"{"a":1"#,
            r#"{"a":1} b"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":1.0}"#,
            r#"{"a":-0}"#,
            r#"{"a":1e3}"#,
            r#"{"<<":{"b":1}}"#,
            r#"{"a":"\/"}"#,
            r#"{"a":"\ud83d\ude00"}"#,
            r#"{"a":"\u0000"}"#,
            "{\"a\":\n1}",
            "{\t\"a\":1}",
            "{\"a\":\"\u{e9}\"}",
            "{\"a\":\"\u{7f}\"}",
            "{\"a\":\"\\",
            &deep,
            &key,
        ];
        for text in others {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn both_readers_say_the_same(
            text in r#"[ -~]{0,24}"#, key in r#"[ -~]{0,12}"#, number in any::<i64>(), large in any::<u64>(),
        ) {
            prop_assume!(key != "<<");
            let value = json!({key: [number, large, null, {"x": text}, true]});
            let written = value.to_string();
            prop_assert_eq!(read(written.as_bytes()), Some(value));
            prop_assert_eq!(read(written.as_bytes()), as_yaml(&written));
        }

        #[test]
        fn what_is_written_in_any_way_is_the_same_or_left(text in r#"[{}\[\]":, a0e.\\nu<&*!-]{0,40}"#) {
            let text = format!("{{{text}}}");
            if let Some(value) = read(text.as_bytes()) {
                prop_assert_eq!(Some(value), as_yaml(&text));
            }
        }
    }
}
