//! YAML to a tree, with the meanings that Kubernetes gives to plain scalars (YAML 1.1: `yes` is true, `010` is eight),
//! and with limits.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy};
use serde_saphyr::{Budget, Options, Spanned};

use super::yaml_json;
use super::yaml_keys::{Json, Key};
use super::yaml_told;

/// How deep a document may be nested.
const MAX_DEPTH: usize = 100;
/// How many values a document may have, aliases expanded.
const MAX_NODES: usize = 500_000;
/// How many values aliases may add: a short text must not become a large tree.
const MAX_ALIASED: usize = 50_000;

/// Why a text is not YAML, or beyond the limits. The message says where.
#[derive(Debug, thiserror::Error)]
#[error("error converting YAML to JSON: yaml: {0}")]
pub struct YamlError(String);

/// Reads the first document. Of a key that stands twice in a map the last one counts. An empty document is `null`.
///
/// # Errors
/// When the text is not YAML, or is beyond the limits.
pub fn parse(bytes: &[u8]) -> Result<Value, YamlError> {
    no_tab(bytes)?;
    match yaml_json::read(bytes) {
        Some(value) => Ok(value),
        None => Ok(whole_numbers(document(bytes)?)),
    }
}

/// As [`parse`], with the keys that stand twice, as [`repeated_keys`] tells of them.
///
/// # Errors
/// As [`parse`].
pub fn parse_told(bytes: &[u8]) -> Result<(Value, Vec<String>), YamlError> {
    no_tab(bytes)?;
    match yaml_json::read(bytes) {
        Some(value) => Ok((value, Vec::new())), // what it reads has none
        None => Ok((whole_numbers(document(bytes)?), repeated_in(bytes).unwrap_or_default())),
    }
}

/// Upstream's reader takes no tab before anything else, JSON neither.
fn no_tab(bytes: &[u8]) -> Result<(), YamlError> {
    yaml_told::begins_with_tab(bytes).map_or(Ok(()), |why| Err(YamlError(why)))
}

/// The first document of a stream, as JSON.
pub(super) fn document(bytes: &[u8]) -> Result<Value, YamlError> {
    first(bytes).map(|Json(value)| value)
}

/// The first document of a stream.
fn first<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, YamlError> {
    let fault = match serde_saphyr::from_slice_with_options(bytes, options()) {
        Ok(value) => return Ok(value),
        Err(fault) => fault,
    };
    let all: Option<Vec<T>> = serde_saphyr::from_slice_multiple_with_options(bytes, options()).ok();
    all.and_then(|all| all.into_iter().next()).ok_or_else(|| YamlError(yaml_told::told(&fault.to_string(), bytes)))
}

/// The keys that stand twice in their map, in the API's words, such as `line 7: key "a" already set in map`.
///
/// # Errors
/// As [`parse`].
pub fn repeated_keys(bytes: &[u8]) -> Result<Vec<String>, YamlError> {
    if yaml_json::read(bytes).is_some() {
        return Ok(Vec::new()); // what it reads has none
    }
    repeated_in(bytes)
}

fn repeated_in(bytes: &[u8]) -> Result<Vec<String>, YamlError> {
    let tree: Tree = first(bytes)?;
    let mut repeated = Vec::new();
    tree.repeated(&mut repeated);
    Ok(repeated)
}

/// A document with nothing left out: maps as they stand.
enum Tree {
    Leaf,
    List(Vec<Tree>),
    Map(Vec<(Key, Spanned<Tree>)>),
}

impl Tree {
    fn repeated(&self, found: &mut Vec<String>) {
        match self {
            Self::Leaf => {}
            Self::List(items) => items.iter().for_each(|item| item.repeated(found)),
            Self::Map(entries) => {
                let mut seen = std::collections::HashSet::with_capacity(entries.len());
                for (key, value) in entries {
                    value.value.repeated(found);
                    if !seen.insert(key) {
                        found.push(format!("line {}: key {key:?} already set in map", value.referenced.line()));
                    }
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}

/// Reads a stream of documents divided by `---`; empty ones are left out.
///
/// # Errors
/// As [`parse`].
pub fn parse_all(bytes: &[u8]) -> Result<Vec<Value>, YamlError> {
    let documents: Vec<Json> = serde_saphyr::from_slice_multiple_with_options(bytes, options())
        .map_err(|error| YamlError(error.to_string()))?;
    let documents = documents.into_iter().map(|Json(value)| value);
    Ok(documents.filter(|value| !value.is_null()).map(whole_numbers).collect())
}

fn options() -> Options {
    let mut budget = Budget::default();
    budget.max_depth = MAX_DEPTH;
    budget.flow_nesting_limit = MAX_DEPTH;
    budget.max_nodes = MAX_NODES;
    budget.max_events = 2 * MAX_NODES;
    budget.max_aliases = 1000;
    budget.max_anchors = 1000;
    let mut aliases = AliasLimits::default();
    aliases.max_total_replayed_events = MAX_ALIASED;
    aliases.max_replay_stack_depth = 32;
    let mut options = Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    options.budget = Some(budget);
    options.alias_limits = aliases;
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    options
}

/// `1.0` is `1`, as Go writes it.
pub(super) fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(whole(number)),
        Value::Array(items) => Value::Array(items.into_iter().map(whole_numbers).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, field)| (name, whole_numbers(field))).collect())
        }
        other => other,
    }
}

/// Makes integers of all numbers without a fraction: `1.0` is `1`, as Go writes it.
pub fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => *number = whole(number.clone()),
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(fields) => fields.values_mut().for_each(make_whole),
        _ => {}
    }
}

/// A number without a fraction as an integer.
#[allow(clippy::cast_possible_truncation)] // checked to be whole and small
pub(super) fn whole(number: Number) -> Number {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => Number::from(float as i64),
        _ => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn plain_scalars_mean_what_they_mean_to_kubernetes() {
        for (text, expected) in [
            ("a: 1", json!(1)),
            ("a: -1", json!(-1)),
            ("a: +1", json!(1)),
            ("a: 0x1f", json!(31)),
            ("a: 0777", json!(511)),
            ("a: 0o777", json!(511)),
            ("a: 1_000", json!(1000)),
            ("a: 1.5", json!(1.5)),
            ("a: 1.0", json!(1)),
            ("a: yes", json!(true)),
            ("a: Off", json!(false)),
            ("a: true", json!(true)),
            ("a: 'yes'", json!("yes")),
            ("a: \"1\"", json!("1")),
            ("a: ~", json!(null)),
            ("a: null", json!(null)),
            ("a:", json!(null)),
            ("a: text", json!("text")),
            ("a: 100m", json!("100m")),
            ("a: 1.2.3", json!("1.2.3")),
            ("a: 2026-11-23", json!("2026-11-23")),
            ("a: 2026-11-23T10:11:12Z", json!("2026-11-23T10:11:12Z")),
            ("a: 12:30", json!("12:30")),
            ("a: !!str 1", json!("1")),
            ("a: |\n  x\n  y\n", json!("x\ny\n")),
            ("a: {b: [1, two]}", json!({"b": [1, "two"]})),
        ] {
            assert_eq!(read(text)["a"], expected, "{text}");
        }
    }

    #[test]
    fn keys_are_text() {
        assert_eq!(read("1: a\ntrue: b\n"), json!({"1": "a", "true": "b"}));
        for (written, key) in [
            ("y", "true"),
            ("N", "false"),
            ("yes", "true"),
            ("Off", "false"),
            ("'y'", "y"),
            ("\"no\"", "no"),
            ("!!str y", "y"),
            ("&a y", "true"),
            ("? y\n", "true"),
            ("0x1", "1"),
            ("1.5", "1.5"),
            ("2001-01-01", "2001-01-01"),
            ("x", "x"),
        ] {
            assert_eq!(read(&format!("{written}: a")), json!({key: "a"}), "{written}");
        }
        for bad in ["~: a", "null: a", "[y]: a"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(parse_all(b"y: a\n").expect("a stream"), [json!({"true": "a"})]);
    }

    #[test]
    fn json_is_yaml() {
        assert_eq!(read(r#"{"a": [1, "b", null, 1e3]}"#), json!({"a": [1, "b", null, 1000]}));
    }

    #[test]
    fn anchors_and_merge_keys_are_expanded() {
        assert_eq!(
            read("base: &b {x: 1, z: 2}\nuse:\n  <<: *b\n  z: 3\nsame: *b\n"),
            json!({"base": {"x": 1, "z": 2}, "use": {"x": 1, "z": 3}, "same": {"x": 1, "z": 2}})
        );
    }

    #[test]
    fn repeated_keys_are_seen_when_asked_for() {
        assert_eq!(read("a: 1\na: 2"), json!({"a": 2}));
        assert_eq!(
            repeated_keys(b"a: 1\nb: {c: 1, c: [x]}\na:\n  d: 1\n").expect("reads"),
            ["line 2: key \"c\" already set in map", "line 4: key \"a\" already set in map"]
        );
        assert_eq!(repeated_keys(b"y: a\ntrue: b\n").expect("reads"), ["line 2: key true already set in map"]);
        assert_eq!(read("y: a\non: b"), json!({"true": "b"}));
        assert!(repeated_keys(b"a: [{b: 1}, {b: 1}]\nyes: 1\n").expect("reads").is_empty());
    }

    #[test]
    fn streams_have_many_documents() {
        let documents = parse_all(b"a: 1\n---\n---\n# nothing\n---\nb: 2\n").expect("a stream");
        assert_eq!(documents, [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(parse(b"a: 1\n---\nb: 2\n").expect("a stream"), json!({"a": 1}));
    }

    #[test]
    fn what_is_beyond_the_limits_is_refused() {
        let deep = "[".repeat(500) + &"]".repeat(500);
        assert!(parse(deep.as_bytes()).is_err());
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let refs = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
        }
        assert!(parse(bomb.as_bytes()).is_err());
        for bad in ["a: [", "a: b: c", "a: 'x", "a: .inf", "%YAML"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(&[0xff, 0xfe, 0xfd]).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[ -~\n]{0,200}") {
            let _ = parse(&bytes);
            let _ = parse_all(text.as_bytes());
        }

        #[test]
        fn every_json_object_reads_back(text in "[a-zA-Z0-9 :#&*!|>%@`'\"{}\\[\\],-]{0,20}", number in any::<i64>()) {
            let value = json!({"a": text, "b": [number, null, true]});
            prop_assert_eq!(parse(value.to_string().as_bytes()).expect("JSON is YAML"), value);
        }
    }
}
