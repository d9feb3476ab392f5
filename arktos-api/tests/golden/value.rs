//! Variables and paths in JSON values, and what no comparison looks at.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

/// The variables of a scenario: the run token, and what its steps have captured.
pub type Variables = BTreeMap<String, Value>;

static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\{([A-Za-z0-9_]+)(?::(\d+))?\}").expect("a fixed pattern"));
static WHOLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""\$\{([A-Za-z0-9_]+)\}""#).expect("a fixed pattern"));
static PATH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\.([A-Za-z0-9_\-$*]+)|\[(\d+|\*)\]|\["([^"]*)"\]"#).expect("a fixed pattern"));

/// One part of a path into a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Field(String),
    Index(usize),
    Every,
}

/// A value as text, without the quotes of a string.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `${variable}` replaced in a text; `${fill:N}` becomes N letters; unknown ones stay.
pub fn expand_text(template: &str, variables: &Variables) -> String {
    VARIABLE
        .replace_all(template, |found: &Captures<'_>| match (&found[1], found.get(2)) {
            ("fill", Some(count)) => "a".repeat(count.as_str().parse().expect("digits")),
            (name, _) => variables.get(name).map_or_else(|| found[0].to_owned(), text),
        })
        .into_owned()
}

/// As [`expand_text`], in a JSON text, whose order stays, spaced as the recorder sent it: its bytes show in some
/// answers. A string that is nothing but a variable takes its value's type.
pub fn expand_json(template: &str, variables: &Variables) -> String {
    let whole = WHOLE.replace_all(template, |found: &Captures<'_>| {
        variables.get(&found[1]).map_or_else(|| found[0].to_owned(), Value::to_string)
    });
    let quoted = |value: &Value| {
        let quoted = Value::from(text(value)).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let inner = |found: &Captures<'_>| match (&found[1], found.get(2)) {
        ("fill", Some(count)) => "a".repeat(count.as_str().parse().expect("digits")),
        (name, _) => variables.get(name).map_or_else(|| found[0].to_owned(), quoted),
    };
    respaced(&VARIABLE.replace_all(&whole, inner))
}

/// A JSON text on one line, with a space after each comma and colon.
fn respaced(json: &str) -> String {
    let (mut out, mut in_text, mut escaped) = (String::with_capacity(json.len()), false, false);
    for letter in json.chars() {
        if in_text {
            in_text = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if letter.is_whitespace() {
            continue;
        } else {
            in_text = letter == '"';
        }
        out.push(letter);
        if !in_text && (letter == ',' || letter == ':') {
            out.push(' ');
        }
    }
    out
}

/// `$.items[0].metadata["a.b"]` in parts; `*` stands for every child.
pub fn parts(path: &str) -> Vec<Part> {
    let field = |name: &str| if name == "*" { Part::Every } else { Part::Field(name.to_owned()) };
    PATH.captures_iter(path.strip_prefix('$').unwrap_or(path))
        .filter_map(|found| match (found.get(1), found.get(2), found.get(3)) {
            (Some(name), ..) => Some(field(name.as_str())),
            (_, Some(index), _) => Some(index.as_str().parse().map_or(Part::Every, Part::Index)),
            (_, _, Some(name)) => Some(Part::Field(name.as_str().to_owned())),
            _ => None,
        })
        .collect()
}

/// The value at a path; null when there is none.
pub fn look_up(value: &Value, path: &str) -> Value {
    let mut value = value;
    for part in parts(path) {
        let inner = match part {
            Part::Field(name) => value.get(name),
            Part::Index(index) => value.get(index),
            Part::Every => None,
        };
        let Some(inner) = inner else { return Value::Null };
        value = inner;
    }
    value.clone()
}

/// Takes what stands at a path away; in lists it becomes null.
pub fn remove(value: &mut Value, path: &[Part]) {
    let Some((first, rest)) = path.split_first() else { return };
    let children: Vec<Part> = match (first, &*value) {
        (Part::Every, Value::Object(fields)) => fields.keys().cloned().map(Part::Field).collect(),
        (Part::Every, Value::Array(items)) => (0..items.len()).map(Part::Index).collect(),
        (part, _) => vec![part.clone()],
    };
    for child in children {
        match (&child, &mut *value) {
            (Part::Field(name), Value::Object(fields)) if rest.is_empty() => {
                fields.remove(name);
            }
            (Part::Field(name), Value::Object(fields)) => {
                if let Some(inner) = fields.get_mut(name) {
                    remove(inner, rest);
                }
            }
            (Part::Index(index), Value::Array(items)) => match items.get_mut(*index) {
                Some(inner) if rest.is_empty() => *inner = Value::Null,
                Some(inner) => remove(inner, rest),
                None => {}
            },
            _ => {}
        }
    }
}

/// A copy without the parts that no comparison looks at.
pub fn clean(value: &Value, keep_managed: bool) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| clean(item, keep_managed)).collect(),
        Value::Object(fields) => {
            let mut cleaned = Map::new();
            for (name, value) in fields {
                if (name == "managedFields" && !keep_managed && value.is_array()) || name == "storageVersionHash" {
                    continue;
                }
                cleaned.insert(name.clone(), clean_field(name, clean(value, keep_managed)));
            }
            Value::Object(cleaned)
        }
        other => other.clone(),
    }
}

fn clean_field(name: &str, mut value: Value) -> Value {
    match (name, &mut value) {
        ("columnDefinitions", Value::Array(columns)) => {
            for column in columns {
                column.as_object_mut().map(|column| column.remove("description"));
            }
        }
        ("metadata", Value::Object(metadata)) => {
            for name in ["tenant", "hashKey", "selfLink"] {
                metadata.remove(name);
            }
            if metadata.get("creationTimestamp") == Some(&Value::Null) {
                metadata.remove("creationTimestamp");
            }
        }
        _ => {}
    }
    value
}

/// Percent-encodes what may not stand in a request line; what is encoded already stays.
pub fn quote(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte if b"_.-~/:?&=%+,;@!*'()$[]".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_string_that_is_a_variable_takes_its_type() {
        let variables = Variables::from([("n".to_owned(), json!(7)), ("run".to_owned(), json!("zq7"))]);
        assert_eq!(
            expand_json(r#"{"b-${run}": ["${n}", "n=${n}", "${who}", "${fill:3}"], "a":1}"#, &variables),
            r#"{"b-zq7": [7, "n=7", "${who}", "aaa"], "a": 1}"#
        );
    }

    #[test]
    fn paths_reach_into_lists_and_quoted_names() {
        let mut value = json!({"items": [{"a.b": 1, "c": 2}, {"c": 3}]});
        assert_eq!(look_up(&value, "$.items[0][\"a.b\"]"), json!(1));
        remove(&mut value, &parts("$.items.*.c"));
        assert_eq!(value, json!({"items": [{"a.b": 1}, {}]}));
    }
}
