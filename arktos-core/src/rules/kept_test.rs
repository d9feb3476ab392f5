//! What an object keeps when it is changed: its generation, and what may not change. A table, over all kinds.

use serde_json::{Value, json};

use super::tests::{Admit, changed, created, told};
use super::{admit_status, admit_update};
use crate::catalog::{Catalog, Kind};
use crate::object::Object;

const TABLE: &str = include_str!("kept_test.txt");

/// A row that is not done yet: what is changed, and what should come of it.
struct Row {
    line: &'static str,
    admit: Admit,
    change: Value,
    generation: &'static str,
    refused: Option<Vec<&'static str>>,
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|fault| panic!("{fault}: {text}"))
}

fn generation(object: &Object) -> String {
    object.int_at(&["metadata", "generation"]).map_or_else(|| "-".to_owned(), |generation| generation.to_string())
}

/// What is wrong with what comes of a change; absent where nothing is.
fn fault(old: &Object, row: &Row) -> Option<String> {
    let result = changed(row.admit, old, &row.change);
    let found = result.as_ref().map_or_else(|_| "refused".to_owned(), generation);
    let said = told(result);
    // What differs is shown behind the line, in words of upstream's own types.
    let mut told: Vec<&str> = said.iter().map(|said| said.lines().next().unwrap_or_default()).collect();
    told.sort_unstable();
    let mut wanted = row.refused.clone().unwrap_or_default();
    wanted.sort_unstable();
    let as_wanted = told.len() == wanted.len() && told.iter().zip(&wanted).all(|(told, wanted)| says(told, wanted));
    let fine = as_wanted && (row.refused.is_some() || found == row.generation);
    (!fine).then(|| format!("{}\n  generation {found}, told {told:#?}", row.line))
}

/// Whether something was told as it should be.
fn says(told: &str, wanted: &str) -> bool {
    match wanted.split_once('…') {
        Some((begin, end)) => told.starts_with(begin) && told.ends_with(end),
        None => told == wanted,
    }
}

/// A change of what is said about an object, and not of what is asked for.
fn about() -> Value {
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"});
    json!({"metadata": {"labels": {"x": "y"}, "annotations": {"x": "y"}, "finalizers": ["a.b/c"], "generation": 77,
        "ownerReferences": [owner]}})
}

/// Whether a kind is upstream's, and can be changed.
fn is_upstreams(kind: &Kind) -> bool {
    let own = kind.schema.as_struct().is_some_and(|schema| schema.name.starts_with("io.arktos."));
    kind.can("update") && kind.builtin && !own
}

#[test]
fn generations_grow_with_what_is_asked_for_and_some_of_it_does_not_change() {
    let mut wrong = Vec::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let mut object: Option<Object> = None;
    let mut rows: Vec<Row> = Vec::new();
    let mut count = 0;
    for line in TABLE.lines().chain(["+"]).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(why) = line.strip_prefix("    ") {
            rows.last_mut().expect("a row").refused.as_mut().expect("a refusal").push(why);
            continue;
        }
        let (mark, rest) = line.split_at(1);
        let rest = rest.trim_start();
        let row = |admit, generation, change, refused| Row { line, admit, change, generation, refused };
        match mark {
            "+" => {
                if let Some(old) = object.take() {
                    count += rows.len();
                    wrong.extend(rows.drain(..).filter_map(|row| fault(&old, &row)));
                }
                let mut parts = rest.splitn(4, ' ');
                let (Some(version), Some(kind), Some(generation), Some(body)) =
                    (parts.next(), parts.next(), parts.next(), parts.next())
                else {
                    continue; // the end
                };
                let mut body = json_of(body);
                (body["apiVersion"], body["kind"]) = (version.into(), kind.into());
                let made = created(&body).unwrap_or_else(|refused| panic!("{line}\n{}", refused.message));
                assert_eq!(self::generation(&made), generation, "{line}");
                seen.push((version, kind));
                rows.push(row(admit_update as Admit, generation, about(), None));
                object = Some(made);
            }
            "m" => rows[0].generation = rest,
            ">" | "s" => {
                let (generation, change) = rest.split_once(' ').expect("a change");
                let admit: Admit = if mark == "s" { admit_status } else { admit_update };
                rows.push(row(admit, generation, json_of(change), None));
            }
            "!" => rows.push(row(admit_update as Admit, "", json_of(rest), Some(Vec::new()))),
            _ => panic!("{line}"),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 200, "{count} changes were made");
    let catalog = Catalog::builtin();
    let stored = catalog.kinds().filter(|kind| is_upstreams(kind) && kind.storage);
    let missing: Vec<&str> = stored
        .filter(|kind| !seen.contains(&(kind.type_meta.api_version.as_str(), kind.kind.as_str())))
        .map(|kind| kind.kind.as_str())
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "all kinds are in the table");
}
