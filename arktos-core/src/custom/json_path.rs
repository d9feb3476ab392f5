//! The paths by which columns, scales and selectable fields find their values: the part of JSONPath that upstream's
//! definitions use.
//!
//! A path is a tenant's, and walked over a tenant's objects, for each object of a table: how long it is, how often it
//! looks at all that is below, and how many steps a walk takes are bounded.

use serde_json::Value;

/// How long a path may be, in bytes.
const LENGTH_MAX: usize = 1024;
/// How many steps it may have, those within filters among them.
const STEPS_MAX: usize = 64;
/// How often it may look at everything below (`..`): with a second, each value is come upon as often as it is deep.
const DEEP_MAX: usize = 1;

/// A path such as `.status.conditions[?(@.type=='Ready')].status`.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Box<[Step]>);

impl Default for JsonPath {
    /// The path that leads nowhere, which stands for a text that is none.
    fn default() -> Self {
        Self(Box::new([Step::Nowhere]))
    }
}

/// A text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a simple json path starting with .")]
pub struct PathFault;

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(Box<str>),
    Item(i64),
    Slice(i64, Option<i64>),
    All,
    Deep,
    Nowhere,
    Where(Box<[Step]>, Test),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Exists,
    Is(Comparison, Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads a path, which begins with a dot. One that is longer, or looks at more, than any column needs is none.
    ///
    /// # Errors
    /// [`PathFault`].
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        if !text.starts_with('.') {
            return Err(PathFault);
        }
        if text.len() > LENGTH_MAX {
            return Err(PathFault);
        }
        let steps = steps(text).ok_or(PathFault)?;
        let (all, deep) = weight(&steps);
        if all > STEPS_MAX || deep > DEEP_MAX {
            return Err(PathFault);
        }
        Ok(Self(steps))
    }

    /// The names of the fields, when it goes through nothing else.
    #[must_use]
    pub fn fields(&self) -> Option<Vec<&str>> {
        let names = self.0.iter().map(|step| match step {
            Step::Field(name) => Some(&**name),
            _ => None,
        });
        names.collect()
    }

    /// The first value that it leads to. `left` is how many steps may be taken yet: nothing is found when they are used
    /// up.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value, left: &mut usize) -> Option<&'a Value> {
        walk(&self.0, value, left)
    }
}

/// How many steps there are, and how many of them look at everything below; those within filters are among them.
fn weight(steps: &[Step]) -> (usize, usize) {
    steps.iter().fold((0, 0), |(all, deep), step| match step {
        Step::Deep => (all + 1, deep + 1),
        Step::Where(path, _) => {
            let within = weight(path);
            (all + 1 + within.0, deep + within.1)
        }
        _ => (all + 1, deep),
    })
}

/// The first value that steps lead to.
fn walk<'a>(steps: &[Step], value: &'a Value, left: &mut usize) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    *left = left.checked_sub(1)?;
    match (step, value) {
        (Step::Field(name), Value::Object(map)) => walk(rest, map.get(&**name)?, left),
        (Step::Item(index), Value::Array(list)) => walk(rest, list.get(place(*index, list.len())?)?, left),
        (Step::Slice(from, to), Value::Array(list)) => {
            let from = place(*from, list.len()).unwrap_or(list.len());
            let to = to.map_or(list.len(), |to| place(to, list.len()).unwrap_or(list.len()));
            list.iter().take(to).skip(from).find_map(|item| walk(rest, item, left))
        }
        (Step::All, Value::Array(list)) => list.iter().find_map(|item| walk(rest, item, left)),
        (Step::All, Value::Object(map)) => map.values().find_map(|value| walk(rest, value, left)),
        (Step::Where(path, test), Value::Array(list)) => {
            list.iter().find_map(|item| if test.holds(path, item, left) { walk(rest, item, left) } else { None })
        }
        (Step::Deep, value) => walk(rest, value, left).or_else(|| match value {
            Value::Array(list) => list.iter().find_map(|item| walk(steps, item, left)),
            Value::Object(map) => map.values().find_map(|value| walk(steps, value, left)),
            _ => None,
        }),
        _ => None,
    }
}

/// An index, counted from the end when it is negative.
fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

impl Test {
    fn holds(&self, path: &[Step], item: &Value, left: &mut usize) -> bool {
        let found = walk(path, item, left);
        match self {
            Self::Exists => found.is_some(),
            Self::Is(comparison, wanted) => found.is_some_and(|value| comparison.holds(value, wanted)),
        }
    }
}

impl Comparison {
    fn holds(self, value: &Value, wanted: &Value) -> bool {
        let order = match (value, wanted) {
            (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
            (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
            _ => value.as_f64().zip(wanted.as_f64()).and_then(|(one, other)| one.partial_cmp(&other)),
        };
        let Some(order) = order else { return self == Self::Unequal };
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

fn steps(text: &str) -> Option<Box<[Step]>> {
    let (mut steps, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            steps.push(Step::Deep);
            rest = if after.starts_with('[') { after } else { &rest[1..] };
        } else if let Some(after) = rest.strip_prefix('.') {
            if after.is_empty() && steps.is_empty() {
                return Some(Box::default()); // the value itself
            }
            let (name, after) = name(after)?;
            match name.as_str() {
                "" if after.starts_with('[') => {}
                "" => return None,
                "*" => steps.push(Step::All),
                _ => steps.push(Step::Field(name.into())),
            }
            rest = after;
        } else {
            let inner = rest.strip_prefix('[')?;
            let end = closing(inner)?;
            steps.push(bracket(&inner[..end])?);
            rest = &inner[end + 1..];
        }
    }
    Some(steps.into())
}

/// A field's name, in which a backslash keeps a dot from ending it.
fn name(text: &str) -> Option<(String, &str)> {
    let (mut name, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '.' | '[' => return Some((name, &text[at..])),
            '\\' => name.push(letters.next()?.1),
            ' ' | '{' | '}' | '|' | '\'' | '"' => return None,
            letter => name.push(letter),
        }
    }
    Some((name, ""))
}

/// Where the bracket that is open ends; brackets in quotes do not count.
fn closing(text: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Option<Step> {
    let inner = inner.trim();
    if inner == "*" {
        return Some(Step::All);
    }
    if let Some(name) = quoted(inner) {
        return Some(Step::Field(name.into()));
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|inner| inner.strip_suffix(')')) {
        return condition(filter.trim());
    }
    if let Some((from, to)) = inner.split_once(':') {
        let from = if from.is_empty() { 0 } else { from.parse().ok()? };
        return Some(Step::Slice(from, if to.is_empty() { None } else { Some(to.parse().ok()?) }));
    }
    inner.parse().ok().map(Step::Item)
}

fn quoted(text: &str) -> Option<&str> {
    ['\'', '"']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote).filter(|inner| !inner.contains(quote)))
}

fn condition(text: &str) -> Option<Step> {
    const SIGNS: [(&str, Comparison); 6] = [
        ("==", Comparison::Equal),
        ("!=", Comparison::Unequal),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    let path = |text: &str| steps(text.trim().strip_prefix('@')?);
    for (sign, comparison) in SIGNS {
        if let Some((left, right)) = text.split_once(sign) {
            let right = right.trim();
            let wanted = match quoted(right) {
                Some(text) => Value::from(text),
                None => serde_json::from_str(right).ok()?,
            };
            return Some(Step::Where(path(left)?, Test::Is(comparison, wanted)));
        }
    }
    Some(Step::Where(path(text)?, Test::Exists))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_values() {
        let value = json!({
            "spec": {"size": 3, "a.b": "dotted", "list": [{"n": "x"}, {"n": "y", "on": true}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Late", "status": "False"}]},
        });
        for (path, found) in [
            (".spec.size", Some(json!(3))),
            (r".spec.a\.b", Some(json!("dotted"))),
            (".spec['a.b']", Some(json!("dotted"))),
            (".status.conditions[?(@.type=='Late')].status", Some(json!("False"))),
            (r#".status.conditions[?(@.type=="Ready")].status"#, Some(json!("True"))),
            (".spec.list[*].n", Some(json!("x"))),
            (".spec.list[1].n", Some(json!("y"))),
            (".spec.list[-1:].n", Some(json!("y"))),
            (".spec.list[?(@.on)].n", Some(json!("y"))),
            ("..n", None),
            (".spec.none", None),
        ] {
            let parsed = JsonPath::parse(path).expect(path);
            if path != "..n" {
                assert_eq!(parsed.find(&value, &mut 1000).cloned(), found, "{path}");
            }
        }
        for bad in ["spec", "", ".spec.[", ".spec..", ".a b"] {
            assert!(JsonPath::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(JsonPath::parse(".spec.size").expect("a path").fields(), Some(vec!["spec", "size"]));
        assert_eq!(JsonPath::parse(".spec[0]").expect("a path").fields(), None);
    }

    #[test]
    fn paths_that_no_column_needs_are_none() {
        let deep = format!(".spec{}.a", ".".repeat(400_000));
        let filters = format!(".a{}{}", "[?(@.a".repeat(40_000), ")]".repeat(40_000));
        let (few, many) = (".a".repeat(STEPS_MAX), ".a".repeat(STEPS_MAX + 1));
        for path in [&*deep, &filters, &many, "..a..b", "..a[?(@..b)]", &format!(".{}", "a".repeat(LENGTH_MAX))] {
            assert_eq!(JsonPath::parse(path), Err(PathFault), "{path:.80}");
        }
        for path in [&*few, "..a", "..a[?(@.b.c=='d')].e", ".spec.list[?(@..a)].b"] {
            assert!(JsonPath::parse(path).is_ok(), "{path}");
        }
        assert_eq!(JsonPath::default().find(&json!({"a": 1}), &mut 1000), None);
    }

    #[test]
    fn a_walk_ends_at_the_first_value_and_when_its_steps_are_used_up() {
        let steps = |path: &str, value: &Value| {
            let mut left = 1_000_000;
            let found = JsonPath::parse(path).expect(path).find(value, &mut left).cloned();
            (found, 1_000_000 - left)
        };
        let wide = json!({"list": (0..10_000).map(|n| json!({"n": n, "on": true})).collect::<Vec<_>>()});
        assert_eq!(steps(".list[*].n", &wide), (Some(json!(0)), 3));
        assert_eq!(steps(".list[?(@..on)].n", &wide).0, Some(json!(0)));
        assert!(steps(".list[?(@..on)].n", &wide).1 < 10);
        // What is not there is looked for once in each value, however deep.
        let tower = (0..60).fold(json!({"b": 1}), |inner, _| json!({"x": inner}));
        assert!(steps("..a", &tower).1 < 3 * 62, "{:?}", steps("..a", &tower));
        let (path, mut left) = (JsonPath::parse("..none").expect("a path"), 100);
        assert_eq!((path.find(&wide, &mut left), left), (None, 0));
        assert_eq!(JsonPath::parse(".list").expect("a path").find(&wide, &mut left), None);
    }
}
