//! Label and field selectors: which objects a client means.

mod parse;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::header::Header;

/// So many labels are looked for one by one in a header, which is gone through for each; for more its labels are made a
/// map first.
pub(crate) const FEW: usize = 8;

/// What must hold for an object's labels: every requirement does. Empty selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold for its value.
    pub condition: Condition,
}

/// What must hold for the value of a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The label is there, with one of these values.
    In(Vec<String>),
    /// The label is not there, or with none of these values.
    NotIn(Vec<String>),
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// The label is an integer greater than this.
    GreaterThan(i64),
    /// The label is an integer less than this.
    LessThan(i64),
}

/// A selector that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// A selector as objects carry it (`matchLabels`, `matchExpressions`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelectorSpec {
    /// Labels that must have exactly these values.
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions.
    pub match_expressions: Vec<LabelSelectorExpression>,
}

/// One of the `matchExpressions` of a selector.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabelSelectorExpression {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`; node selectors also know `Gt` and `Lt`.
    pub operator: String,
    /// The values that `In` and `NotIn` look at.
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Selects everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// A selector that holds when all of these do.
    #[must_use]
    pub fn new(requirements: Vec<Requirement>) -> Self {
        Self { requirements }
    }

    /// Selects objects with exactly these values of these labels.
    #[must_use]
    pub fn equal_to(labels: &BTreeMap<String, String>) -> Self {
        let is = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            condition: Condition::In(vec![value.clone()]),
        };
        Self { requirements: labels.iter().map(is).collect() }
    }

    /// The conditions, all of which must hold.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether labels, looked up by `label`, fulfil it.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.condition.holds(label(&requirement.key)))
    }

    /// Whether the labels of an encoded object fulfil it.
    #[must_use]
    pub fn matches_header(&self, header: &Header) -> bool {
        if self.requirements.len() <= FEW {
            return self.matches(|key| header.label(key));
        }
        let labels: HashMap<&str, &str> = header.labels().collect();
        self.matches(|key| labels.get(key).copied())
    }

    /// Reads the `labelSelector` query parameter: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    ///
    /// # Errors
    /// [`SelectorError`] in the words of the API.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::requirements(text).map(|requirements| Self { requirements })
    }
}

impl Condition {
    /// Whether a label's value (or its absence) fulfils it.
    #[must_use]
    pub fn holds(&self, value: Option<&str>) -> bool {
        let number = |value: Option<&str>| value.and_then(|text| text.parse::<i64>().ok());
        match self {
            Self::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::GreaterThan(bound) => number(value).is_some_and(|value| value > *bound),
            Self::LessThan(bound) => number(value).is_some_and(|value| value < *bound),
        }
    }
}

impl LabelSelectorSpec {
    /// The selector it stands for. An empty one selects everything.
    ///
    /// # Errors
    /// [`SelectorError`] for an operator that is not one, or that lacks its values.
    pub fn selector(&self) -> Result<LabelSelector, SelectorError> {
        let mut selector = LabelSelector::equal_to(&self.match_labels);
        for expression in &self.match_expressions {
            selector.requirements.push(expression.requirement()?);
        }
        Ok(selector)
    }
}

impl LabelSelectorExpression {
    /// The condition it stands for.
    ///
    /// # Errors
    /// [`SelectorError`] for an operator that is not one, or that lacks its values.
    pub fn requirement(&self) -> Result<Requirement, SelectorError> {
        let bound = || {
            let text = self.values.first().map_or("", String::as_str);
            text.parse().map_err(|_| SelectorError(format!("{text:?} is not an integer")))
        };
        let condition = match self.operator.as_str() {
            "In" | "NotIn" if self.values.is_empty() => {
                return Err(SelectorError(format!("for '{}' operator, values set can't be empty", self.operator)));
            }
            "In" => Condition::In(self.values.clone()),
            "NotIn" => Condition::NotIn(self.values.clone()),
            "Exists" => Condition::Exists,
            "DoesNotExist" => Condition::DoesNotExist,
            "Gt" => Condition::GreaterThan(bound()?),
            "Lt" => Condition::LessThan(bound()?),
            other => return Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
        };
        Ok(Requirement { key: self.key.clone(), condition })
    }
}

/// The query form, as clients write it.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { key, condition }) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match condition {
                Condition::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Condition::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", values[0])?,
                Condition::In(values) => write!(f, "{key} in ({})", values.join(","))?,
                Condition::NotIn(values) => write!(f, "{key} notin ({})", values.join(","))?,
                Condition::Exists => f.write_str(key)?,
                Condition::DoesNotExist => write!(f, "!{key}")?,
                Condition::GreaterThan(bound) => write!(f, "{key}>{bound}")?,
                Condition::LessThan(bound) => write!(f, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}

/// Why a string is not a label's key (`[prefix/]name`), in the API's words; `None` when it is one.
#[must_use]
pub fn label_key_fault(key: &str) -> Option<String> {
    const FORM: &str = "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                        character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                        '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let (prefix, name) = match key.split_once('/') {
        None => (None, key),
        Some((_, rest)) if rest.contains('/') => {
            return Some(format!(
                "a valid label key must {FORM} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
        }
        Some((prefix, name)) => (Some(prefix), name),
    };
    match prefix {
        Some("") => return Some("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            if let Some(fault) = crate::name::subdomain_fault(prefix) {
                return Some(format!("prefix part {fault}"));
            }
        }
        None => {}
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    if name.len() > crate::name::LABEL_LENGTH_MAX {
        return Some(format!("name part must be no more than {} bytes", crate::name::LABEL_LENGTH_MAX));
    }
    (!is_label_text(name)).then(|| format!("name part must {FORM}"))
}

/// Why a string is not a label's value, in the API's words; `None` when it is one.
#[must_use]
pub fn label_value_fault(value: &str) -> Option<String> {
    if value.len() > crate::name::LABEL_LENGTH_MAX {
        return Some(format!("must be no more than {} bytes", crate::name::LABEL_LENGTH_MAX));
    }
    (!value.is_empty() && !is_label_text(value)).then(|| {
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and \
         end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
         '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            .to_owned()
    })
}

fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric()
                && last.is_ascii_alphanumeric()
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        }
        _ => false,
    }
}

/// What must hold for an object's fields: every term does. Empty selects everything.
///
/// Which fields a kind can be selected by is part of the kind; this only knows their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldSelector {
    /// The terms, all of which must hold.
    pub terms: Vec<FieldTerm>,
}

/// One term of a field selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldTerm {
    /// The field, such as `spec.nodeName`.
    pub field: String,
    /// The value.
    pub value: String,
    /// Whether the field must have the value, or must not.
    pub equal: bool,
}

impl FieldSelector {
    /// Selects everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects objects whose field has a value.
    #[must_use]
    pub fn equal(field: &str, value: &str) -> Self {
        Self { terms: vec![FieldTerm { field: field.to_owned(), value: value.to_owned(), equal: true }] }
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that a field must have, when the selector asks for one.
    #[must_use]
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// Reads the `fieldSelector` query parameter: `a=b,c!=d`; `\,`, `\=` and `\\` stand for themselves in values.
    ///
    /// # Errors
    /// [`SelectorError`] in the words of the API.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for term in split_unescaped(text) {
            if term.is_empty() {
                continue;
            }
            let invalid = || SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'"));
            let operator = |at: &usize| ["!=", "="].iter().any(|operator| term[*at..].starts_with(operator));
            let at = term.match_indices(['=', '!']).map(|(at, _)| at).find(operator).ok_or_else(invalid)?;
            let (field, rest) = term.split_at(at);
            let (equal, value) = if let Some(value) = rest.strip_prefix("!=") {
                (false, value)
            } else if let Some(value) = rest.strip_prefix("==") {
                (true, value)
            } else if let Some(value) = rest.strip_prefix('=') {
                (true, value)
            } else {
                return Err(invalid());
            };
            terms.push(FieldTerm { field: field.to_owned(), value: unescape(value)?, equal });
        }
        Ok(Self { terms })
    }
}

/// The query form, as clients write it.
impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, term) in self.terms.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            let value = term.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{}{}{value}", term.field, if term.equal { "=" } else { "!=" })?;
        }
        Ok(())
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(text: &str) -> Result<String, SelectorError> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => value.push(escaped),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(SelectorError(format!("invalid field selector: invalid escape sequence: {sequence}")));
                }
            },
            ',' | '=' => {
                // Upstream prints the character's number.
                let code = u32::from(c);
                return Err(SelectorError(format!("invalid field selector: unescaped character in value: {code}")));
            }
            _ => value.push(c),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels<'a>(of: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<&'a str> {
        move |key| of.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    #[test]
    fn each_operator_selects() {
        let object = [("app", "web"), ("tier", "2")];
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app == web", true),
            ("app!=web", false),
            ("missing!=web", true),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("app", true),
            ("!app", false),
            ("!missing,app=web", true),
            ("tier>1", true),
            ("tier<2", false),
            ("app=", false),
        ] {
            let selector = LabelSelector::parse(text).expect(text);
            assert_eq!(selector.matches(labels(&object)), expected, "{text}");
            assert_eq!(LabelSelector::parse(&selector.to_string()).expect("reads back"), selector);
        }
    }

    #[test]
    fn what_is_not_a_selector_is_refused() {
        for text in ["=a", "a=b,", "a in b", "a in (b", "a b", "a=b c", "a>x", "-a=b", "a=b=c", "a/b/c=d", "a=-"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fields_can_be_escaped() {
        let selector = FieldSelector::parse(r"metadata.name=a\,b,status.phase!=Running").expect("a selector");
        assert_eq!(selector.required("metadata.name"), Some("a,b"));
        assert!(!selector.terms[1].equal);
        assert_eq!(FieldSelector::parse(&selector.to_string()).expect("reads back"), selector);
        assert!(FieldSelector::parse("nothing").is_err());
        assert!(FieldSelector::parse("a=b=c").is_err());
    }
}
