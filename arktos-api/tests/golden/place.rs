//! Placeholders: what stands in a recorded answer for a value that changes from run to run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::value::{Variables, text};

static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"<(uid|rv|time|microtime|continue|jwt|gen|ip|nodeport|age|dump)(?::(\d+))?>|\$\{([A-Za-z0-9_]+)\}")
        .expect("a fixed pattern")
});

fn shape(kind: &str) -> &'static str {
    match kind {
        "uid" => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "rv" => "[1-9][0-9]*",
        "time" => "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
        "microtime" => r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z",
        "continue" => r"[A-Za-z0-9+/=_.\-]+",
        "jwt" => r"[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+",
        "gen" => "[a-z0-9]{5,10}",
        "ip" => r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-f:]+)",
        "nodeport" => "[0-9]{2,5}",
        "age" => "(?:[0-9]+[smhdy])+|<invalid>|<unknown>",
        _ => ".*",
    }
}

/// Whether a recorded string holds a placeholder or a variable.
pub fn has_place(text: &str) -> bool {
    (text.contains('<') || text.contains("${")) && PLACE.is_match(text)
}

/// The numbered placeholders of one scenario: each stands for one value, and no two for the same.
#[derive(Clone, Default)]
pub struct Bindings {
    value_of: HashMap<String, String>,
    name_of: HashMap<(String, String), String>,
}

impl Bindings {
    /// What is wrong with `actual` where `pattern` was recorded, if anything is.
    pub fn fault(&mut self, pattern: &str, actual: &str, variables: &Variables) -> Option<String> {
        let (expression, slots) = expression(pattern, variables);
        let Some(values) = captures(&expression, actual) else { return Some("differs".to_owned()) };
        for ((kind, number), value) in slots.into_iter().zip(values) {
            let Some(number) = number else { continue };
            let name = format!("{kind}:{number}");
            let before = self.value_of.entry(name.clone()).or_insert_with(|| value.clone());
            if *before != value {
                return Some(format!("<{name}> was {before} before"));
            }
            let known = self.name_of.entry((kind, value.clone())).or_insert_with(|| name.clone());
            if *known != name {
                return Some(format!("{value} is also <{known}>, should be a new value"));
            }
        }
        None
    }
}

/// The expression of a recorded string, and the kind and number of each of its placeholders.
fn expression(pattern: &str, variables: &Variables) -> (String, Vec<(String, Option<String>)>) {
    let (mut expression, mut slots, mut done) = ("(?s)^".to_owned(), Vec::new(), 0);
    for found in PLACE.captures_iter(pattern) {
        let whole = found.get(0).expect("the whole match");
        expression += &regex::escape(&pattern[done..whole.start()]);
        done = whole.end();
        if let Some(variable) = found.get(3) {
            let value = variables.get(variable.as_str()).map_or_else(|| whole.as_str().to_owned(), text);
            expression += &regex::escape(&value);
        } else {
            expression += &format!("({})", shape(&found[1]));
            slots.push((found[1].to_owned(), found.get(2).map(|number| number.as_str().to_owned())));
        }
    }
    expression += &regex::escape(&pattern[done..]);
    expression.push('$');
    (expression, slots)
}

fn captures(expression: &str, actual: &str) -> Option<Vec<String>> {
    thread_local! {
        // Written by this thread alone; most expressions are one placeholder and come again and again.
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    let regex = COMPILED.with_borrow_mut(|compiled| {
        let compile = || Regex::new(expression).expect("escaped text and fixed shapes");
        compiled.entry(expression.to_owned()).or_insert_with(compile).clone()
    });
    let found = regex.captures(actual)?;
    Some(found.iter().skip(1).map(|group| group.map_or("", |group| group.as_str()).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_placeholder_stands_for_one_value_and_no_other_does() {
        let (mut bindings, variables) = (Bindings::default(), Variables::new());
        assert_eq!(bindings.fault("<rv:1>", "12", &variables), None);
        assert_eq!(bindings.fault("v<rv:1>", "v12", &variables), None);
        assert_eq!(bindings.fault("<rv:1>", "13", &variables).as_deref(), Some("<rv:1> was 12 before"));
        assert_eq!(
            bindings.fault("<rv:2>", "12", &variables).as_deref(),
            Some("12 is also <rv:1>, should be a new value")
        );
        assert_eq!(bindings.fault("<rv>", "012", &variables).as_deref(), Some("differs"));
        assert_eq!(bindings.fault("<age> (x)", "3m5s (x)", &variables), None);
    }
}
