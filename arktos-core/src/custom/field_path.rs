//! Paths that name a field of a schema (`.spec.labels['a.b']`), as rules and selectable fields have them.

use super::structural::{Structural, Values};

/// A path that leads to something.
pub(super) struct FieldPath<'a> {
    /// What it goes through: each path is written in one way.
    pub(super) steps: Vec<String>,
    /// What the schema says of the field; nothing where any value may be there.
    pub(super) schema: Option<&'a Structural>,
}

const NOWHERE: &str = "does not refer to a valid field";

/// Follows a path; `brackets` may be in it, or not.
///
/// # Errors
/// Why it leads nowhere.
pub(super) fn follow<'a>(schema: &'a Structural, path: &str, brackets: bool) -> Result<FieldPath<'a>, String> {
    let end = || "unexpected end of JSON path".to_owned();
    let mut tokens = tokens(path).into_iter();
    let mut found = FieldPath { steps: Vec::new(), schema: Some(schema) };
    while let Some(token) = tokens.next() {
        match token {
            "." => found = found.step(tokens.next().ok_or_else(end)?)?,
            "[" if !brackets => return Err("array notation is not allowed".to_owned()),
            "[" => {
                let name = tokens.next().ok_or_else(end)?;
                let inner = name.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                let inner = inner.ok_or_else(|| format!("expected single quoted string but got {name}"))?;
                found = found.step(&inner.replace("\\'", "'").replace("\\\\", "\\"))?;
                match tokens.next() {
                    Some("]") => {}
                    Some(other) => return Err(format!("expected ] but got {other}")),
                    None => return Err(end()),
                }
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        }
    }
    Ok(found)
}

impl<'a> FieldPath<'a> {
    fn step(mut self, name: &str) -> Result<Self, String> {
        let schema = self.schema.ok_or(NOWHERE)?;
        self.schema = match &schema.values {
            _ if !schema.properties.is_empty() => Some(schema.properties.get(name).ok_or(NOWHERE)?),
            Values::Schema(values) => Some(&**values),
            Values::Any => None,
            Values::None => return Err(NOWHERE.to_owned()),
        };
        self.steps.push(name.to_owned());
        Ok(self)
    }
}

/// The parts of a path: `.`, `[`, `]`, names, and what is quoted.
fn tokens(path: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '.' | '[' | ']' => 1,
            '\'' => {
                let ends = |(at, _): &(usize, &str)| *at > 0 && !rest[..*at].ends_with('\\');
                rest.match_indices('\'').find(ends).map_or(rest.len(), |(at, _)| at + 1)
            }
            _ => rest.find(['.', '[', ']']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        all.push(token);
        rest = after;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_through_fields_and_values_and_are_told_why_not() {
        let text = json!({"type": "string"});
        let labels = json!({"type": "object", "additionalProperties": text});
        let schema = Structural::compile(&json!({"type": "object", "properties": {"a.b": labels, "c": text}}));
        let steps = |path: &str, brackets| follow(&schema, path, brackets).map(|found| found.steps);
        assert_eq!(steps("['a.b'].x", true), Ok(vec!["a.b".to_owned(), "x".to_owned()]));
        assert_eq!(steps(".c", false), steps("['c']", true));
        for (path, why) in [
            ("c", "expected [ or . but got: c"),
            (".d", NOWHERE),
            (".c.d", NOWHERE),
            (".", "unexpected end of JSON path"),
            ("[c]", "expected single quoted string but got c"),
            ("['c'", "unexpected end of JSON path"),
            ("['c'.", "expected ] but got ."),
        ] {
            assert_eq!(steps(path, true), Err(why.to_owned()), "{path}");
        }
        assert_eq!(steps("['c']", false), Err("array notation is not allowed".to_owned()));
    }
}
