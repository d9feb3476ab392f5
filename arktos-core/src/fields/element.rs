//! The steps of a path into an object.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Value};

use super::FieldsFault;

/// One step of a path into an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A field of an object, or an entry of a map (`f:`).
    Field(Box<str>),
    /// The item of a list whose key fields have these values, sorted by field (`k:`).
    Key(Box<[(Box<str>, Scalar)]>),
    /// The item of a set that is this value (`v:`).
    Item(Scalar),
    /// The item of a list at a place (`i:`).
    Index(i64),
}

/// A JSON value that has an order.
#[derive(Debug, Clone)]
pub struct Scalar(pub Value);

impl Scalar {
    fn rank(&self) -> u8 {
        match self.0 {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Null => 3,
            Value::Array(_) => 4,
            Value::Object(_) => 5,
        }
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Number(one), Value::Number(other)) => match (one.as_i64(), other.as_i64()) {
                (Some(one), Some(other)) => one.cmp(&other),
                _ => one.as_f64().unwrap_or(0.0).total_cmp(&other.as_f64().unwrap_or(0.0)),
            },
            (Value::String(one), Value::String(other)) => one.cmp(other),
            (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
            (one, other_value) => self.rank().cmp(&other.rank()).then_with(|| {
                if one == other_value { Ordering::Equal } else { one.to_string().cmp(&other_value.to_string()) }
            }),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}

impl Element {
    /// A field by name.
    #[must_use]
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// The item of a list with these values of its key fields, in any order.
    #[must_use]
    pub fn key(mut keys: Vec<(Box<str>, Scalar)>) -> Self {
        keys.sort();
        Self::Key(keys.into())
    }

    /// Reads a step as `FieldsV1` writes it; `None` for a sort of step that is not known.
    ///
    /// # Errors
    /// When the text is no step at all.
    pub fn parse(text: &str) -> Result<Option<Self>, FieldsFault> {
        let fault = |why: &dyn fmt::Display| FieldsFault(format!("{text:?} is not a path element: {why}"));
        let Some((sort, rest)) = text.split_once(':') else { return Err(fault(&"there is no colon")) };
        match sort {
            "f" => Ok(Some(Self::field(rest))),
            "v" => serde_json::from_str(rest).map(|value| Some(Self::Item(Scalar(value)))).map_err(|why| fault(&why)),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).map_err(|why| fault(&why))?;
                Ok(Some(Self::key(keys.into_iter().map(|(name, value)| (name.into(), Scalar(value))).collect())))
            }
            "i" => rest.parse().map(|at| Some(Self::Index(at))).map_err(|why| fault(&why)),
            sort if sort.len() == 1 => Ok(None),
            _ => Err(fault(&"the colon is not the second character")),
        }
    }

    /// The step as `FieldsV1` writes it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Field(name) => ["f:", name].concat(),
            Self::Item(value) => format!("v:{}", value.0),
            Self::Index(at) => format!("i:{at}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> =
                    keys.iter().map(|(name, value)| (name.to_string(), value.0.clone())).collect();
                format!("k:{}", Value::Object(keys))
            }
        }
    }
}

/// The step as messages show it.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Item(value) => write!(f, "[={}]", value.0),
            Self::Index(at) => write!(f, "[{at}]"),
            Self::Key(keys) => {
                f.write_str("[")?;
                for (at, (name, value)) in keys.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{name}={}", value.0)?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A path into an object, as messages show it: `.spec.ports[port=80].name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(pub Vec<Element>);

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| element.fmt(f))
    }
}
