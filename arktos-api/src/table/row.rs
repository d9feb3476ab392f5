//! What printers read an object with, and the words they have in common.

use std::cell::Cell;

use arktos_core::Timestamp;
use arktos_core::catalog::Column;
use arktos_store::Stored;
use serde_json::{Map, Value};

use super::age;

/// The cells of a row, one for each of the kind's columns.
pub type Cells = Vec<Value>;

/// What stands where there is nothing.
pub const NONE: &str = "<none>";
/// How many steps and bytes the columns of a kind of a definition may take of one object, all together. What is looked
/// for later is not found.
const OWN_CELLS_MAX: usize = 1 << 19;
/// What stands where nothing was set.
pub const UNSET: &str = "<unset>";

/// Cells from whatever has a JSON form.
macro_rules! cells {
    ($($cell:expr),* $(,)?) => { vec![$(serde_json::Value::from($cell)),*] };
}
pub(super) use cells;

/// An object as its printer sees it. Paths are JSON pointers.
pub struct Row<'a> {
    pub now: Timestamp,
    name: &'a str,
    object: Value,
    /// What columns of definitions may take yet.
    left: Cell<usize>,
}

impl<'a> Row<'a> {
    pub fn new(stored: &'a Stored, now: Timestamp) -> Self {
        // The bytes are JSON that this server wrote; if they ever were not, the cells would be empty.
        Self {
            now,
            name: stored.path.name(),
            object: stored.object.parse().unwrap_or_default(),
            left: OWN_CELLS_MAX.into(),
        }
    }

    /// An object that has no name.
    pub fn of(object: Value, now: Timestamp) -> Self {
        Self { now, name: "", object, left: OWN_CELLS_MAX.into() }
    }

    pub fn name(&self) -> Value {
        Value::from(self.name)
    }

    pub fn at(&self, path: &str) -> Option<&Value> {
        self.object.pointer(path).filter(|value| !value.is_null())
    }

    pub fn text(&self, path: &str) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or("")
    }

    /// The text at a path, or what stands in its place.
    pub fn text_or<'b>(&'b self, path: &str, absent: &'b str) -> &'b str {
        Some(self.text(path)).filter(|text| !text.is_empty()).unwrap_or(absent)
    }

    pub fn int(&self, path: &str) -> i64 {
        self.at(path).and_then(Value::as_i64).unwrap_or(0)
    }

    pub fn bool(&self, path: &str) -> bool {
        self.at(path).and_then(Value::as_bool).unwrap_or(false)
    }

    pub fn list(&self, path: &str) -> &[Value] {
        self.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub fn map(&self, path: &str) -> Option<&Map<String, Value>> {
        self.at(path).and_then(Value::as_object)
    }

    /// How many entries the map or list at a path has.
    pub fn count(&self, path: &str) -> usize {
        match self.at(path) {
            Some(Value::Array(items)) => items.len(),
            Some(Value::Object(fields)) => fields.len(),
            _ => 0,
        }
    }

    /// The value that a column of a kind of its own shows; null where there is none.
    pub fn cell(&self, column: &Column) -> Value {
        let mut left = self.left.get();
        let found = column.path.find(&self.object, &mut left).filter(|value| !value.is_null());
        self.left.set(left);
        let Some(value) = found else { return Value::Null };
        match (column.type_name.as_str(), value) {
            ("date", Value::String(moment)) if Timestamp::parse(moment).is_none() => Value::from("<invalid>"),
            ("date", Value::String(moment)) => Value::from(age::since(self.now, moment)),
            ("string", _) if left == 0 => Value::Null,
            ("string", value) => {
                let text = plain(value);
                self.left.set(left.saturating_sub(text.len()));
                Value::from(text)
            }
            #[allow(clippy::cast_possible_truncation)] // as upstream shows it
            ("integer", Value::Number(number)) => {
                number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)).into()
            }
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
            _ => Value::Null,
        }
    }

    /// How long ago the object was made.
    pub fn age(&self) -> String {
        self.since("/metadata/creationTimestamp")
    }

    /// How long ago the moment at a path was.
    pub fn since(&self, path: &str) -> String {
        age::since(self.now, self.text(path))
    }

    pub fn is_deleted(&self) -> bool {
        self.at("/metadata/deletionTimestamp").is_some()
    }

    /// The status of a condition in `status.conditions`, when it is there.
    pub fn condition(&self, name: &str) -> Option<&Value> {
        self.list("/status/conditions").iter().find(|condition| text(condition, "/type") == name)
    }

    pub fn is_true(&self, condition: &str) -> bool {
        self.condition(condition).is_some_and(|condition| text(condition, "/status") == "True")
    }

    /// The names and the images of the containers of a pod's spec.
    pub fn containers(&self, spec: &str) -> (String, String) {
        let containers = self.list(&format!("{spec}/containers"));
        let all = |field: &str| containers.iter().map(|one| text(one, field)).collect::<Vec<_>>().join(",");
        (all("/name"), all("/image"))
    }
}

/// The text at a path of any value.
pub fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or("")
}

/// Numbers and texts as they are read.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The texts of a list, joined.
pub fn joined(list: &[Value], separator: &str) -> String {
    list.iter().map(plain).collect::<Vec<_>>().join(separator)
}

/// Labels as `a=b,c=d`.
pub fn labels(map: Option<&Map<String, Value>>) -> String {
    let mut pairs: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={}", plain(value))).collect();
    pairs.sort();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

/// A label selector (`matchLabels`, `matchExpressions`) as text; empty when it says nothing.
pub fn selector_text(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return String::new() };
    let equals = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let mut terms: Vec<(String, String)> =
        equals.map(|(key, value)| (key.clone(), format!("{key}={}", plain(value)))).collect();
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = text(expression, "/key");
        let mut values: Vec<String> =
            expression.get("values").and_then(Value::as_array).into_iter().flatten().map(plain).collect();
        values.sort();
        let values = values.join(",");
        let term = match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".to_owned(),
        };
        terms.push((key.to_owned(), term));
    }
    terms.sort_by(|one, other| one.0.cmp(&other.0));
    terms.into_iter().map(|(_, term)| term).collect::<Vec<_>>().join(",")
}

/// A label selector as Go prints its type.
pub fn printed_selector(selector: &Value) -> String {
    let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let labels: String = labels.map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or(""))).collect();
    let expressions = selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
    let expressions = expressions.map(|expression| {
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        let values = values.filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
        let (key, operator) = (text(expression, "/key"), text(expression, "/operator"));
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
    });
    let expressions: String = expressions.collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

/// As [`selector_text`], with a word for nothing.
pub fn selector(selector: Option<&Value>) -> String {
    Some(selector_text(selector)).filter(|text| !text.is_empty()).unwrap_or_else(|| NONE.to_owned())
}

/// The first `most` of some texts, and how many more there are.
pub fn first_of(all: &[String], most: usize, separator: &str) -> String {
    let shown = all.iter().take(most).cloned().collect::<Vec<_>>().join(separator);
    if all.len() > most { format!("{shown} + {} more...", all.len() - most) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_written_by_key() {
        let spec = json!({
            "matchLabels": {"b": "1"},
            "matchExpressions": [
                {"key": "a", "operator": "In", "values": ["y", "x"]},
                {"key": "c", "operator": "DoesNotExist"},
            ],
        });
        assert_eq!(selector(Some(&spec)), "a in (x,y),b=1,!c");
        assert_eq!(selector(Some(&json!({}))), NONE);
        assert_eq!(selector(None), NONE);
    }

    #[test]
    fn long_lists_are_cut() {
        let all: Vec<String> = (1..=5).map(|number| number.to_string()).collect();
        assert_eq!(first_of(&all, 3, ","), "1,2,3 + 2 more...");
        assert_eq!(first_of(&all[..3], 3, ","), "1,2,3");
    }
}
