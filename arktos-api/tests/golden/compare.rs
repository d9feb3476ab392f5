//! The comparison of an answer with the recorded one.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use crate::place::{Bindings, has_place};
use crate::value::{Variables, expand_text, text};

use crate::scenario::Compare;

static PLAIN_FIELD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[\w\-$]+$").expect("a fixed pattern"));
static BRACKETS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)^([^\[]*)\[(.*)\]([^\]]*)$").expect("a fixed pattern"));

/// Compares values, and keeps every difference it meets, by path.
pub struct Comparer<'a> {
    pub bindings: Bindings,
    pub differences: Vec<String>,
    variables: &'a Variables,
    mode: Compare,
}

impl<'a> Comparer<'a> {
    pub fn new(bindings: Bindings, variables: &'a Variables, mode: Compare) -> Self {
        Self { bindings, differences: Vec::new(), variables, mode }
    }

    pub fn add(&mut self, path: &str, what: impl AsRef<str>) {
        self.differences.push(format!("{path}: {}", what.as_ref()));
    }

    fn differ(&mut self, path: &str, expected: &Value, actual: &Value) {
        self.add(path, format!("expected {}, got {}", short(expected), short(actual)));
    }

    pub fn values(&mut self, expected: &Value, actual: &Value, path: &str) {
        if self.mode == Compare::Shape {
            return self.shapes(expected, actual, path);
        }
        match (expected, actual) {
            (Value::String(pattern), actual) if has_place(pattern) => match actual {
                Value::String(_) | Value::Number(_) => {
                    if let Some(why) = self.bindings.fault(pattern, &text(actual), self.variables) {
                        self.add(path, format!("expected {}, got {} ({why})", short(expected), short(actual)));
                    }
                }
                _ => self.differ(path, expected, actual),
            },
            (Value::Object(expected), Value::Object(actual)) => self.maps(expected, actual, path),
            (Value::Array(expected), Value::Array(actual)) => self.lists(expected, actual, path),
            (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => {}
            (expected, actual) if expected == actual => {}
            _ => self.differ(path, expected, actual),
        }
    }

    fn maps(&mut self, expected: &Map<String, Value>, actual: &Map<String, Value>, path: &str) {
        let is_status = expected.get("kind").is_some_and(|kind| kind == "Status");
        let causes = expected.get("details").and_then(|details| details.get("causes")).and_then(Value::as_array);
        let many_causes = is_status && causes.is_some_and(|causes| causes.len() > 1);
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in expected {
            let inner =
                if PLAIN_FIELD.is_match(name) { format!("{path}.{name}") } else { format!("{path}[\"{name}\"]") };
            let real = self.real_name(name, actual, &seen);
            seen.push(real.clone());
            let Some(found) = actual.get(&real) else {
                self.add(&inner, format!("missing (expected {})", short(value)));
                continue;
            };
            match name.as_str() {
                "message" if many_causes => {
                    let before = |value: &Value| {
                        Value::from(text(value).split(" is invalid:").next().unwrap_or_default().to_owned())
                    };
                    self.values(&before(value), &before(found), &inner);
                }
                "message" if is_status && same_but_order(&expand_text(&text(value), self.variables), &text(found)) => {}
                "causes" => self.sets(value, found, &inner, &["field", "reason", "message"]),
                "managedFields" => {
                    self.sets(value, found, &inner, &["manager", "operation", "subresource", "apiVersion"]);
                }
                _ => self.values(value, found, &inner),
            }
        }
        if self.mode != Compare::Subset {
            for (name, value) in actual.iter().filter(|(name, _)| !seen.contains(name)) {
                self.add(&format!("{path}.{name}"), format!("not expected (got {})", short(value)));
            }
        }
    }

    /// The name under which a recorded field is looked for: variables filled in, and a placeholder in it (as in
    /// managedFields, by uid) by the first field that fits.
    fn real_name(&mut self, name: &str, actual: &Map<String, Value>, seen: &[String]) -> String {
        let expanded = expand_text(name, self.variables);
        if !has_place(&expanded) {
            return expanded;
        }
        for candidate in actual.keys().filter(|candidate| !seen.contains(candidate)) {
            let mut trial = self.bindings.clone();
            if trial.fault(&expanded, candidate, self.variables).is_none() {
                self.bindings = trial;
                return candidate.clone();
            }
        }
        expanded
    }

    fn sets(&mut self, expected: &Value, actual: &Value, path: &str, keys: &[&str]) {
        let (Value::Array(expected), Value::Array(actual)) = (expected, actual) else {
            return self.values(expected, actual, path);
        };
        let key = |item: &Value| -> Vec<String> {
            keys.iter()
                .map(|key| item.get(key).map_or_else(String::new, |value| expand_text(&text(value), self.variables)))
                .collect()
        };
        let (mut expected, mut actual) = (expected.clone(), actual.clone());
        expected.sort_by_key(key);
        actual.sort_by_key(key);
        self.lists(&expected, &actual, path);
    }

    fn lists(&mut self, expected: &[Value], actual: &[Value], path: &str) {
        if self.mode == Compare::Subset {
            return self.sublist(expected, actual, path);
        }
        for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
            self.values(expected, actual, &format!("{path}[{index}]"));
        }
        for (index, value) in expected.iter().enumerate().skip(actual.len()) {
            self.add(&format!("{path}[{index}]"), format!("missing (expected {})", short(value)));
        }
        for (index, value) in actual.iter().enumerate().skip(expected.len()) {
            self.add(&format!("{path}[{index}]"), format!("not expected (got {})", short(value)));
        }
    }

    fn sublist(&mut self, expected: &[Value], actual: &[Value], path: &str) {
        for (index, value) in expected.iter().enumerate() {
            let key = element_key(value).map(|(field, key)| (field, expand_text(&key, self.variables)));
            let found = match &key {
                Some(_) => actual.iter().find(|candidate| element_key(candidate) == key),
                None => actual.iter().find(|candidate| {
                    let mut trial = Comparer::new(self.bindings.clone(), self.variables, self.mode);
                    trial.values(value, candidate, "$");
                    trial.differences.is_empty()
                }),
            };
            match (found, key) {
                (Some(found), Some((_, key))) => self.values(value, found, &format!("{path}[{key}]")),
                (Some(found), None) => self.values(value, found, &format!("{path}[{index}]")),
                (None, Some((_, key))) => self.add(&format!("{path}[{index}]"), format!("missing element {key}")),
                (None, None) => self.add(&format!("{path}[{index}]"), format!("missing element {}", short(value))),
            }
        }
    }

    fn shapes(&mut self, expected: &Value, actual: &Value, path: &str) {
        match (expected, actual) {
            (Value::Object(expected), Value::Object(actual)) => {
                for (name, value) in expected {
                    match actual.get(name) {
                        Some(found) => self.shapes(value, found, &format!("{path}.{name}")),
                        None => self.add(&format!("{path}.{name}"), "missing"),
                    }
                }
            }
            (Value::Array(expected), Value::Array(actual)) if !expected.is_empty() && actual.is_empty() => {
                self.add(path, "empty list");
            }
            _ if expected.is_string() != actual.is_string() || expected.is_boolean() != actual.is_boolean() => {
                self.add(path, format!("expected the type of {}, got {}", short(expected), short(actual)));
            }
            _ => {}
        }
    }
}

/// What identifies an element of a list in a subset comparison.
fn element_key(item: &Value) -> Option<(&'static str, String)> {
    const NAMES: [&str; 7] = ["name", "resource", "groupVersion", "group", "version", "subresource", "type"];
    match item {
        Value::Object(fields) => {
            for name in NAMES {
                if let Some(Value::String(value)) = fields.get(name) {
                    return Some((name, value.clone()));
                }
            }
            let metadata = fields.get("metadata").filter(|metadata| metadata.is_object())?;
            Some(("metadata.name", metadata.get("name").map_or_else(String::new, text)))
        }
        Value::Array(_) => None,
        other => Some(("value", text(other))),
    }
}

/// Whether texts differ only in the order of one list in brackets, as in `x is forbidden: [p, q]`.
fn same_but_order(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (BRACKETS.captures(one), BRACKETS.captures(other)) else { return false };
    let sorted = |list: &str| {
        let mut items: Vec<String> = list.split(", ").map(str::to_owned).collect();
        items.sort();
        items
    };
    one[1] == other[1] && one[3] == other[3] && sorted(&one[2]) == sorted(&other[2])
}

/// A value as text, cut where it is long.
pub fn short(value: &Value) -> String {
    let whole = text(value);
    if whole.chars().count() <= 300 { whole } else { whole.chars().take(297).collect::<String>() + "..." }
}

/// A media type and its parameters without the charset, in a form that can be compared.
pub fn media(content_type: &str) -> (String, Vec<String>) {
    let mut parts = content_type.split(';').map(|part| part.trim().to_lowercase());
    let main = parts.next().unwrap_or_default();
    let mut parameters: Vec<String> = parts.filter(|part| !part.is_empty() && !part.starts_with("charset")).collect();
    parameters.sort();
    (main, parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(mode: Compare, expected: &Value, actual: &Value) -> Vec<String> {
        let variables = Variables::from([("run".to_owned(), json!("zq7"))]);
        let mut comparer = Comparer::new(Bindings::default(), &variables, mode);
        comparer.values(expected, actual, "$");
        comparer.differences
    }

    #[test]
    fn exact_finds_what_is_missing_and_what_is_too_much() {
        let found = differences(
            Compare::Exact,
            &json!({"a": 1, "b": "x-${run}", "c": [1]}),
            &json!({"a": 1.0, "b": "x-zq7", "c": [1, 2], "d": true}),
        );
        assert_eq!(found, ["$.c[1]: not expected (got 2)", "$.d: not expected (got true)"]);
    }

    #[test]
    fn subset_finds_elements_by_name() {
        let expected = json!([{"name": "pods", "verbs": ["get"]}, {"name": "gone"}]);
        let actual = json!([{"name": "x"}, {"name": "pods", "verbs": ["list", "get"], "kind": "Pod"}]);
        assert_eq!(differences(Compare::Subset, &expected, &actual), ["$[1]: missing element gone"]);
    }

    #[test]
    fn causes_are_a_set_and_many_of_them_leave_the_message_open() {
        let status =
            |message: &str, causes: Value| json!({"kind": "Status", "message": message, "details": {"causes": causes}});
        let expected = status("P \"x\" is invalid: [a, b]", json!([{"field": "a"}, {"field": "b"}]));
        let actual = status("P \"x\" is invalid: [b, c]", json!([{"field": "b"}, {"field": "a"}]));
        assert!(differences(Compare::Exact, &expected, &actual).is_empty());
        assert!(same_but_order("x [p, q] y", "x [q, p] y"));
        assert!(!same_but_order("x [p, q] y", "x [q, r] y"));
    }
}
