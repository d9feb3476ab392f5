//! Requests of one role to another, and their answers, as they were recorded.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// What differs each time: of these it counts only that they are there, and of which sort they are.
const VOLATILE: [&str; 7] =
    ["uid", "creationTimestamp", "resourceVersion", "managedFields", "continue", "lastTransitionTime", "claim"];
/// What no version knows so far.
const UNKNOWN: &str = "arktosOfLater";

/// A request of one role to another.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exchange {
    /// What it is, for people.
    pub about: String,
    /// Who is asked.
    pub to: To,
    /// Whose certificate is shown.
    #[serde(rename = "as")]
    pub who: Who,
    pub method: String,
    pub path: String,
    pub headers: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
    pub answer: Answer,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum To {
    Partition,
    Manager,
    Directory,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Who {
    /// The gateway, which speaks for others.
    Gateway,
    /// Another role, which speaks for itself.
    Member,
}

/// What was answered, byte by byte: one object or list, or the lines of a watch's initial state.
#[derive(Serialize, Deserialize, Default)]
pub struct Answer {
    pub code: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Box<RawValue>>,
}

impl Answer {
    /// Whether no more than its code is known.
    pub fn is_unknown(&self) -> bool {
        self.body.is_none() && self.lines.is_empty()
    }

    /// All of it.
    pub fn text(&self) -> String {
        let lines: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        self.body.as_ref().map_or(lines, |body| body.get().to_owned())
    }

    /// The same as trees: the body, or the lines.
    pub fn value(&self) -> Value {
        let read = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).expect("JSON");
        match &self.body {
            Some(body) => read(body),
            None => self.lines.iter().map(|line| read(line)).collect(),
        }
    }
}

/// All that is recorded, in the order in which it happened.
pub fn recorded() -> Vec<(PathBuf, Exchange)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/skew/recorded/0.1");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("readable");
        let exchange = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, exchange)
    };
    files.into_iter().map(read).collect()
}

/// The recorded exchange of a name.
pub fn named(name: &str) -> Exchange {
    let mut all = recorded().into_iter();
    let found = all.find(|(path, _)| path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(name)));
    found.unwrap_or_else(|| panic!("{name} is not recorded")).1
}

/// Whether who reads one thing can read another in its place: it has all the same, and maybe more. If not, where.
pub fn lacks(now: &Value, recorded: &Value, at: &str) -> Option<String> {
    match (now, recorded) {
        (Value::Object(now), Value::Object(recorded)) => recorded.iter().find_map(|(field, value)| {
            let at = format!("{at}.{field}");
            match now.get(field) {
                None => Some(format!("{at} is gone")),
                Some(now) if VOLATILE.contains(&field.as_str()) => {
                    let alike = std::mem::discriminant(now) == std::mem::discriminant(value);
                    (!alike).then(|| format!("{at} is of another sort: {now}"))
                }
                Some(now) => lacks(now, value, &at),
            }
        }),
        (Value::Array(now), Value::Array(recorded)) if now.len() == recorded.len() => {
            now.iter().zip(recorded).enumerate().find_map(|(place, (now, recorded))| {
                lacks(now, recorded, &format!("{at}[{place}]")) //
            })
        }
        (now, recorded) => (now != recorded).then(|| format!("{at} was {recorded} and is {now}")),
    }
}

/// The same, as a later version may write it: with more in every object of it that is the roles' own.
pub fn of_later(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut later: Map<String, Value> =
                fields.iter().map(|(name, it)| (name.clone(), within(name, it))).collect();
            later.insert(UNKNOWN.to_owned(), json!({"more": [1]}));
            Value::Object(later)
        }
        Value::Array(items) => items.iter().map(of_later).collect(),
        other => other.clone(),
    }
}

/// Maps whose keys are names, and not fields, take no further ones.
fn within(name: &str, value: &Value) -> Value {
    match name {
        "labels" | "annotations" | "arktosNotes" | "capacity" | "allocatable" | "requests" | "limits" | "data"
        | "other" | "managedFields" => value.clone(),
        _ => of_later(value),
    }
}
