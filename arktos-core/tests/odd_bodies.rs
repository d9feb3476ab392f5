//! Bodies that clients should not send: each part of a good body is replaced by values of every other type. Nothing may
//! panic, and what is taken must be complete: reading it once more changes nothing.
//!
//! Without the recordings (they belong to another crate's tests) there is nothing to check.

use std::collections::BTreeMap;
use std::path::Path;

use arktos_core::catalog::{Catalog, Kind};
use arktos_core::{Dialect, Object, TypeMeta, rules, schema};
use serde_json::{Value, json};

/// One good body of each kind that the recordings create.
fn good_bodies() -> BTreeMap<String, Value> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../arktos-api/tests/golden/dev");
    let mut bodies = BTreeMap::new();
    for topic in ["defaults", "crud", "table"] {
        for file in std::fs::read_dir(dir.join(topic)).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(file.path()).expect("readable");
            let scenario: Value = serde_json::from_str(&text.replace("${run}", "zq7")).expect("json");
            for step in scenario["steps"].as_array().into_iter().flatten() {
                let body = &step["request"]["body"];
                if step["request"]["method"] == "POST" && step["response"]["status"] == 201 {
                    bodies.entry(format!("{} {}", body["apiVersion"], body["kind"])).or_insert_with(|| body.clone());
                }
            }
        }
    }
    bodies
}

/// The JSON pointers of all parts of a value.
fn parts(value: &Value, at: &str, all: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in inner {
        let path = format!("{at}/{key}");
        parts(value, &path, all);
        all.push(path);
    }
}

fn write(kind: &Kind, body: &Value, old: Option<&Object>) -> Option<Object> {
    let mut object = schema::read(kind, body.to_string().as_bytes(), Dialect::Plain).ok()?.object;
    object.set(&["metadata", "uid"], "11111111-2222-3333-4444-555555555555");
    object.set(&["metadata", "resourceVersion"], "1");
    let written = match old {
        None => rules::admit_create(kind, object).ok()?,
        Some(old) => {
            let _ = rules::admit_status(kind, old, object.clone());
            rules::admit_update(kind, old, object).ok()?
        }
    };
    Some(written)
}

#[test]
fn odd_bodies_are_refused_or_made_complete() {
    let catalog = Catalog::builtin();
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("-/:*%"),
        json!([]),
        json!([null]),
        json!({}),
        json!({"": {}}),
    ];
    let bodies = good_bodies();
    assert!(bodies.is_empty() || bodies.len() > 40, "only {} kinds are recorded", bodies.len());
    for body in bodies.into_values() {
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        let Some(kind) = catalog.by_type(&TypeMeta { api_version: text("apiVersion"), kind: text("kind") }) else {
            continue;
        };
        let good = write(&kind, &body, None).unwrap_or_else(|| panic!("{} is good", kind.kind));
        let mut pointers = Vec::new();
        parts(&body, "", &mut pointers);
        for (pointer, value) in pointers.iter().flat_map(|pointer| odd.iter().map(move |value| (pointer, value))) {
            let mut changed = body.clone();
            *changed.pointer_mut(pointer).expect("a part of the body") = value.clone();
            let created = write(&kind, &changed, None);
            let updated = write(&kind, &changed, Some(&good));
            for object in [created, updated].into_iter().flatten() {
                let mut again = object.clone();
                schema::complete(&kind, &mut again).expect("what was taken fits its type");
                assert_eq!(again, object, "{} with {value} at {pointer}", kind.kind);
            }
        }
    }
}
