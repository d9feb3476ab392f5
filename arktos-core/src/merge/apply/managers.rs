//! Who owns what: `metadata.managedFields`, read and written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::to_raw_value;

use crate::fields::{FieldSet, FieldsFault};
use crate::managed::{Entry, Managed, Name};

/// How many managers of updates an object keeps apart; older ones become one.
const MAX_UPDATERS: usize = 10;
/// The manager that older ones become.
const ANCIENT: &str = "ancient-changes";

/// One manager of one object. Of one that applies, the version is not part of its identity, and empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) applies: bool,
    pub(super) api_version: String,
    pub(super) subresource: String,
}

/// What a manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) set: FieldSet,
    /// The version that the set is of.
    pub(super) api_version: String,
    /// When it last changed something. Absent for one that never did.
    pub(super) time: Option<String>,
}

/// All managers of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Managers(pub(super) BTreeMap<Manager, Owned>);

impl Manager {
    /// The manager as messages name it.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.applies {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

impl Managers {
    /// Reads `managedFields`.
    ///
    /// # Errors
    /// When an entry is not one.
    pub(super) fn parse(entries: Option<&Value>) -> Result<Self, FieldsFault> {
        let fault = |why: &str| Err(FieldsFault(why.to_owned()));
        let mut managers = Self::default();
        for (at, entry) in entries.and_then(Value::as_array).into_iter().flatten().enumerate() {
            let text = |field: &str| text(entry, field).to_owned();
            let operation = text("operation");
            if operation != "Apply" && operation != "Update" {
                return fault("operation must be `Apply` or `Update`");
            }
            let api_version = text("apiVersion");
            if api_version.is_empty() {
                return fault("apiVersion must not be empty");
            }
            match text("fieldsType").as_str() {
                "FieldsV1" => {}
                "" => return fault(&format!("missing fieldsType in managed fields entry {at}")),
                other => return fault(&format!("invalid fieldsType {other:?} in managed fields entry {at}")),
            }
            let applies = operation == "Apply";
            let manager = Manager {
                name: text("manager"),
                applies,
                api_version: if applies { String::new() } else { api_version.clone() },
                subresource: text("subresource"),
            };
            let set = entry.get("fieldsV1").map_or_else(|| Ok(FieldSet::default()), FieldSet::parse)?;
            let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
            managers.0.insert(manager, Owned { set, api_version, time });
        }
        Ok(managers)
    }

    /// Writes `managedFields`; nothing when there are no managers, or a set is nested too deep to be read again.
    pub(super) fn print(&self) -> Option<Managed> {
        let sets = self.0.values().map(|owned| to_raw_value(&owned.set)).collect::<Result<Vec<_>, _>>().ok()?;
        let entries = self.0.iter().zip(&sets).map(|((manager, owned), set)| Entry {
            api_version: &owned.api_version,
            fields_type: "FieldsV1",
            fields_v1: set,
            manager: Some(manager.name.as_str()).filter(|name| !name.is_empty()).map(|name| Name(Cow::Borrowed(name))),
            operation: if manager.applies { "Apply" } else { "Update" },
            subresource: Some(manager.subresource.as_str()).filter(|name| !name.is_empty()),
            time: owned.time.as_deref(),
        });
        (!sets.is_empty()).then(|| Managed::of_entries(entries.collect()))
    }

    /// Makes one manager of the oldest managers of updates, when there are too many.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<(String, Manager)> = self
            .0
            .iter()
            .filter(|(manager, _)| !manager.applies)
            .map(|(manager, owned)| (owned.time.clone().unwrap_or_default(), manager.clone()))
            .collect();
        let mut over = updaters.len().saturating_sub(MAX_UPDATERS);
        updaters.sort();
        let mut first: BTreeMap<String, Manager> = BTreeMap::new();
        for (_, manager) in updaters {
            if over == 0 {
                return;
            }
            let Some(oldest) = first.get(&manager.api_version) else {
                first.insert(manager.api_version.clone(), manager);
                continue;
            };
            let bucket = Manager {
                name: ANCIENT.to_owned(),
                applies: false,
                api_version: manager.api_version.clone(),
                subresource: String::new(),
            };
            if !self.0.contains_key(&bucket)
                && let Some(owned) = self.0.remove(oldest)
            {
                self.0.insert(bucket.clone(), owned);
            }
            if manager == bucket {
                continue;
            }
            if let Some(newer) = self.0.remove(&manager)
                && let Some(owned) = self.0.get_mut(&bucket)
            {
                owned.set.extend(newer.set);
                owned.time = newer.time;
            }
            over -= 1;
        }
    }
}

/// A field of an entry; empty where there is none.
fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or("")
}

/// Whether `managedFields` asks for forgetting all managers: it is there and empty, or its one item says nothing.
pub(super) fn is_reset(entries: Option<&Value>) -> bool {
    match entries.and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(one)]) => one.values().all(crate::schema::builtin::is_zero),
        _ => false,
    }
}
