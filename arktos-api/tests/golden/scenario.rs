//! The recorded scenarios, as they stand in the files.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// One recorded conversation with the real server. It shares nothing with any other.
#[derive(Deserialize)]
pub struct Scenario {
    pub name: String,
    pub topic: String,
    /// What the server must run beside the API.
    #[serde(default)]
    pub needs: Vec<String>,
    #[serde(default, rename = "managedFields")]
    pub managed_fields: bool,
    #[serde(default)]
    pub setup: Vec<Call>,
    pub steps: Vec<Step>,
}

/// A request.
#[derive(Deserialize)]
pub struct Call {
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(rename = "as")]
    pub user: Option<String>,
    /// As it stands in the file: the order of its fields counts.
    pub body: Option<Box<RawValue>>,
    #[serde(rename = "bodyText")]
    pub body_text: Option<String>,
}

/// A request with the answer it must get.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub name: String,
    pub request: Option<Call>,
    pub response: Option<Answer>,
    #[serde(default)]
    pub capture: BTreeMap<String, String>,
    #[serde(default)]
    pub compare: Compare,
    #[serde(default)]
    pub ignore: Vec<String>,
    /// For how many seconds the request may be repeated until its answer fits.
    #[serde(default)]
    pub eventually: f64,
    #[serde(default)]
    pub sleep: f64,
    pub watch: Option<Watch>,
}

/// What was answered.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Outer `None`: not compared. `Some(Null)`: an empty body.
    #[serde(default, deserialize_with = "present")]
    pub body: Option<Value>,
}

/// How strictly an answer is compared.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    #[default]
    Exact,
    Subset,
    Shape,
    Status,
}

/// A watch that a step opens, collects, or both.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    #[serde(default = "default_id")]
    pub id: String,
    #[serde(default)]
    pub phase: Phase,
    #[serde(default = "default_timeout")]
    pub timeout_seconds: f64,
    #[serde(default)]
    pub events: Vec<Value>,
    #[serde(default)]
    pub until_end: bool,
    #[serde(default)]
    pub keep_bookmarks: bool,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Open,
    Collect,
    #[default]
    Once,
}

fn default_id() -> String {
    "w".to_owned()
}

fn default_timeout() -> f64 {
    5.0
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// All scenarios below a folder, by name.
pub fn load(folder: &Path) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder of scenarios can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let text = std::fs::read(&path).expect("a scenario can be read");
                let scenario = serde_json::from_slice(&text);
                scenarios.push(scenario.unwrap_or_else(|error| panic!("{}: {error}", path.display())));
            }
        }
    }
    scenarios.sort_by(|one: &Scenario, other| one.name.cmp(&other.name));
    scenarios
}
