//! Regular expressions as upstream's engine (RE2) reads them, each compiled once for a run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::{ExecutionError, ResolveResult, Value as CelValue};
use regex_automata::meta::{BuildError, Config, Regex};

/// The longest that is read, in bytes: before it is known how large it becomes, each letter can stand for a class of
/// kilobytes.
pub(super) const LENGTH_MAX: usize = 4096;
/// How large a compiled one may be, in bytes.
pub(crate) const SIZE_MAX: usize = 1024 * 1024;
/// How much one keeps of what it finds out while it runs, in bytes.
const KEPT_MAX: usize = 512 * 1024;

/// How many bytes of a compiled one are asked for the price of one step.
const PART: u64 = 256;

/// What it costs to compile one: some milliseconds at the most, by the size that it may have.
pub(super) fn compiled(pattern: &str) -> u64 {
    10_000 + 32 * pattern.len().min(LENGTH_MAX) as u64
}

/// The expressions that a run has come upon. Written by the run alone.
#[derive(Default)]
pub(super) struct Patterns(RefCell<HashMap<Arc<String>, Result<Regex, String>>>);

impl Patterns {
    /// Whether an expression is known.
    pub(super) fn know(&self, pattern: &String) -> bool {
        self.0.borrow().contains_key(pattern)
    }

    /// What it costs to go through a text with a pattern, beside what that costs upstream: at worst each letter asks
    /// all that the pattern is compiled to.
    pub(super) fn search(&self, values: &[CelValue]) -> u64 {
        let [CelValue::String(text), CelValue::String(pattern), ..] = values else { return 0 };
        let mut known = self.0.borrow_mut();
        let Ok(regex) = known.entry(pattern.clone()).or_insert_with(|| compile(pattern)) else { return 0 };
        let parts = (regex.memory_usage() as u64 / PART).saturating_sub(pattern.len() as u64 / 4);
        parts.saturating_mul(text.len() as u64 / 10)
    }

    /// What a function with a pattern comes to. None for other functions, and other values.
    pub(super) fn apply(&self, name: &str, values: &[CelValue]) -> Option<ResolveResult> {
        let [CelValue::String(text), CelValue::String(pattern), rest @ ..] = values else { return None };
        let mut known = self.0.borrow_mut();
        let compiled = known.entry(pattern.clone()).or_insert_with(|| compile(pattern));
        let regex = match compiled {
            Ok(regex) => regex,
            Err(why) => return Some(Err(ExecutionError::function_error(name, why.clone()))),
        };
        let part = |part: &str| CelValue::String(Arc::new(part.to_owned()));
        Some(Ok(match (name, rest) {
            ("matches", []) => CelValue::Bool(regex.is_match(text.as_str())),
            ("find", []) => part(regex.find(text.as_str()).map_or("", |found| &text[found.range()])),
            ("findAll", [] | [CelValue::Int(_)]) => {
                let most = match rest {
                    [CelValue::Int(most)] => usize::try_from(*most).unwrap_or(usize::MAX),
                    _ => usize::MAX,
                };
                let found = regex.find_iter(text.as_str()).take(most).map(|found| part(&text[found.range()]));
                CelValue::List(Arc::new(found.collect()))
            }
            _ => return None,
        }))
    }
}

/// The pattern that a function is called with, if it takes one.
pub(super) fn of<'v>(name: &str, values: &'v [CelValue]) -> Option<&'v Arc<String>> {
    match (name, values) {
        ("matches" | "find" | "findAll", [CelValue::String(_), CelValue::String(pattern), ..]) => Some(pattern),
        _ => None,
    }
}

/// Reads a pattern.
///
/// # Errors
/// Why it is none.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LENGTH_MAX {
        return Err(format!("invalid regex: longer than {LENGTH_MAX} bytes"));
    }
    built(pattern, KEPT_MAX).map_err(|why| format!("invalid regex: {}", told(&why)))
}

/// Compiles a pattern, which keeps at most so many bytes of what it finds out while it runs.
///
/// # Errors
/// What it cannot be read for, and that it is too large.
pub(crate) fn built(pattern: &str, kept: usize) -> Result<Regex, BuildError> {
    let config = Config::new().nfa_size_limit(Some(SIZE_MAX)).hybrid_cache_capacity(kept);
    Regex::builder().configure(config).build(&translated(pattern))
}

fn told(why: &BuildError) -> String {
    match (why.syntax_error(), why.size_limit()) {
        (Some(why), _) => why.to_string(),
        (None, Some(most)) => format!("compiled, it is larger than {most} bytes"),
        (None, None) => why.to_string(),
    }
}

/// A pattern as the engine here writes it: its classes are of ASCII, and a bracket in a class is one.
fn translated(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut letters = pattern.chars().peekable();
    let mut class = false; // between brackets
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('d') => text.push_str("[0-9]"),
                Some('D') => text.push_str("[^0-9]"),
                Some('w') => text.push_str("[0-9A-Za-z_]"),
                Some('W') => text.push_str("[^0-9A-Za-z_]"),
                Some('s') => text.push_str(r"[\t\n\f\r ]"),
                Some('S') => text.push_str(r"[^\t\n\f\r ]"),
                Some('b') if !class => text.push_str(r"(?-u:\b)"),
                Some(other) => text.extend(['\\', other]),
                None => text.push('\\'),
            },
            '[' if !class => {
                class = true;
                text.push('[');
                if letters.next_if_eq(&'^').is_some() {
                    text.push('^');
                }
                // The first one does not end it.
                if letters.next_if_eq(&']').is_some() {
                    text.push_str(r"\]");
                }
            }
            '[' if letters.peek() == Some(&':') => {
                // A class with a name, to its end.
                text.push('[');
                for letter in letters.by_ref() {
                    text.push(letter);
                    if letter == ']' {
                        break;
                    }
                }
            }
            '[' => text.push_str(r"\["),
            ']' => {
                class = false;
                text.push(']');
            }
            // Sets are not subtracted or met there.
            '&' | '~' if class => text.extend(['\\', letter]),
            '-' if class && letters.peek() == Some(&'-') => text.push_str(r"\-"),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_of_ascii_and_brackets_in_them_are_letters() {
        for (pattern, text, wanted) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^\w+$", "a_1", true),
            (r"^\w+$", "é", false),
            (r"^[\w.-]+$", "a.b-c", true),
            (r"^[^\s]+$", "a b", false),
            (r"\bfoo\b", "a foo.", true),
            (r"^[[a]+$", "[a[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]+$", "b", true),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^[[:alpha:]_-]+$", "a-b_", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^\[\d\]$", "[1]", true),
            (r"^é+$", "éé", true),
        ] {
            assert_eq!(compile(pattern).expect(pattern).is_match(text), wanted, "{pattern} {text}");
        }
        assert!(compile("(").is_err());
        assert!(compile("(x{999}){999}").is_err(), "too large");
        assert!(compile(&r"\pL".repeat(50_000)).is_err(), "too long to be looked at");
        assert!(compile("^[^ ]{1,128}$").is_ok() && compile(r"^\w{1,255}$").is_ok(), "what people write");
    }

    #[test]
    fn what_is_large_when_compiled_costs_more_to_search_with() {
        let cost = |pattern: &str, text: &str| {
            let values = [text, pattern].map(|text| CelValue::String(Arc::new(text.to_owned())));
            Patterns::default().search(&values)
        };
        let text = "ab".repeat(50_000);
        assert!(cost("[ab]*a[ab]{1000}c", &text) > 1_000_000);
        assert_eq!(cost("^[ab]*a([ab]{100}){100}c$", "ab"), 0, "a short text");
        assert!(cost("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", &text[..63]) < 200);
    }
}
