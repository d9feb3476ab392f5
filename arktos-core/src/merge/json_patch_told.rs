//! Why a JSON patch does not apply, in the words of the library that upstream has.

use serde_json::{Map, Value};

use super::json_patch::{self, MAX_MOVED_VALUES, MAX_OPERATIONS, Work};

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patched {
    /// It is patched.
    Done,
    /// A `test` did not hold.
    Refused,
}

/// Applies the operations of a JSON patch.
///
/// # Errors
/// Why one of them does not apply.
pub fn json_patch_told(document: &mut Value, operations: Vec<Value>) -> Result<Patched, String> {
    if operations.len() > MAX_OPERATIONS {
        return Err(format!("the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}"));
    }
    let mut work = Work::default();
    for operation in operations {
        let Value::Object(fields) = operation else { return Err("Unexpected kind: unknown".to_owned()) };
        let told = fields.clone();
        if json_patch::apply(document, fields, &mut work).is_some() {
            continue;
        }
        if work.is_over() {
            return Err(format!("a JSON patch may move at most {MAX_MOVED_VALUES} values"));
        }
        if told.get("op").is_some_and(|op| op == "test")
            && text(&told, "path").is_some_and(|path| is_there(document, path))
        {
            return Ok(Patched::Refused);
        }
        return Err(why_not(document, &told));
    }
    Ok(Patched::Done)
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// Whether there is something that the last step of a path is a step in.
fn is_there(document: &Value, path: &str) -> bool {
    path.is_empty() || json_patch::above(&mut document.clone(), path).is_some()
}

/// Why what stands at a path cannot be had or set.
fn why_no_step(document: &Value, path: &str, sets: bool) -> Option<String> {
    let mut document = document.clone();
    let (above, step) = json_patch::above(&mut document, path)?;
    Some(match above {
        Value::Array(items) => match step.parse::<i64>() {
            Ok(index) => format!("Unable to access invalid index: {index}: invalid index referenced"),
            Err(_) if sets => {
                format!("value was not a proper array index: '{step}': strconv.Atoi: parsing {step:?}: invalid syntax")
            }
            Err(_) => format!("strconv.Atoi: parsing {step:?}: invalid syntax ({} items)", items.len()),
        },
        _ => format!("Unable to remove nonexistent key: {step}: missing value"),
    })
}

fn why_not(document: &Value, fields: &Map<String, Value>) -> String {
    const NO_PATH: &str = "operation missing path field: missing value";
    const NO_FROM: &str = "operation, missing from field: missing value";
    let op = text(fields, "op").unwrap_or("unknown");
    let (path, from) = (text(fields, "path"), text(fields, "from"));
    if !matches!(op, "add" | "remove" | "replace" | "move" | "copy" | "test") {
        return format!("Unexpected kind: {op}");
    }
    if matches!(op, "move" | "copy") {
        let Some(from) = from else { return format!("{op} operation failed to decode from: {NO_FROM}") };
        let last = from.rsplit('/').next().unwrap_or_default();
        if !is_there(document, from) {
            return format!("{op} operation does not apply: doc is missing from path: {from}: missing value");
        }
        if document.pointer(from).is_none()
            && let Some(why) = why_no_step(document, from, false)
        {
            return match op {
                "move" => format!("error in move for path: '{last}': {why}"),
                _ => format!("error in copy for from: '{from}': {why}"),
            };
        }
    }
    let Some(path) = path else {
        return match op {
            "add" | "remove" | "copy" => format!("{op} operation failed to decode path: missing value"),
            _ => format!("{op} operation failed to decode path: {NO_PATH}"),
        };
    };
    match (op, is_there(document, path)) {
        ("test", _) => format!("test operation does not apply: is missing path: {path}: missing value"),
        ("move" | "copy", false) => {
            format!("{op} operation does not apply: doc is missing destination path: {path}: missing value")
        }
        ("replace", false) => format!("replace operation does not apply: doc is missing path: {path}: missing value"),
        (_, false) => format!("{op} operation does not apply: doc is missing path: \"{path}\": missing value"),
        ("replace", true) => format!("replace operation does not apply: doc is missing key: {path}: missing value"),
        ("copy", true) => {
            let why = why_no_step(document, path, true).unwrap_or_default();
            format!("error while adding value during copy: {why}")
        }
        (_, true) => {
            let why = why_no_step(document, path, op != "remove").unwrap_or_default();
            format!("error in {op} for path: '{path}': {why}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn why_a_step_does_not_apply_is_told() {
        let patch = |steps: Value| {
            let mut document = json!({"data": {"a": "b"}, "list": [1]});
            let steps = steps.as_array().cloned().unwrap_or_default();
            json_patch_told(&mut document, steps).map(|done| (done, document))
        };
        let refused = patch(json!([{"op": "test", "path": "/data/a", "value": "c"}])).expect("is read");
        assert_eq!(refused.0, Patched::Refused);
        let done = patch(json!([{"op": "move", "from": "/data/a", "path": "/data/c"}])).expect("applies");
        assert_eq!(done, (Patched::Done, json!({"data": {"c": "b"}, "list": [1]})));
        for (step, why) in [
            (
                json!({"op": "remove", "path": "/data/zz"}),
                "error in remove for path: '/data/zz': Unable to remove nonexistent key: zz: missing value",
            ),
            (
                json!({"op": "remove", "path": "/list/5"}),
                "error in remove for path: '/list/5': Unable to access invalid index: 5: invalid index referenced",
            ),
            (
                json!({"op": "move", "from": "/data/zz", "path": "/data/c"}),
                "error in move for path: 'zz': Unable to remove nonexistent key: zz: missing value",
            ),
            (
                json!({"op": "copy", "path": "/data/c"}),
                "copy operation failed to decode from: operation, missing from field: missing value",
            ),
            (
                json!({"op": "add", "path": "/none/c", "value": 1}),
                "add operation does not apply: doc is missing path: \"/none/c\": missing value",
            ),
            (json!({"op": "bad", "path": "/data/c"}), "Unexpected kind: bad"),
            (json!({"op": "add", "value": 1}), "add operation failed to decode path: missing value"),
        ] {
            assert_eq!(patch(json!([step])), Err(why.to_owned()), "{step}");
        }
    }
}
