//! Replays the recorded answers of a real API server against the rules alone: what a create, an update or a patch makes
//! of a body, and what is refused. Nothing is stored; what admission plugins and allocators add is left out.
//!
//! Without the recordings (they belong to another crate's tests) there is nothing to check.

use std::collections::BTreeMap;
use std::path::Path;

use arktos_core::catalog::{Catalog, Kind};
use arktos_core::{Dialect, Object, Status, rules, schema};
use serde_json::{Map, Value};

const TIME: &str = "2026-01-02T03:04:05Z";
const UID: &str = "11111111-2222-3333-4444-555555555555";
const MICRO_TIME: &str = "2026-01-02T03:04:05.000000Z";

/// How many of the recorded writes of a topic come out as recorded, at least.
const FLOORS: &[(&str, usize)] = &[
    ("apply", 13),
    ("crud", 114),
    ("defaults", 64),
    ("delete", 23),
    ("errors", 50),
    ("fieldvalidation", 39),
    ("generatename", 10),
    ("metadata-only", 5),
    ("pagination", 4),
    ("patch", 50),
    ("quota", 23),
    ("rbac-denied", 4),
    ("services", 21),
    ("subresources", 73),
    ("table", 79),
    ("validation", 416),
    ("versions", 3),
    ("watch", 46),
];

#[derive(Default)]
struct Tally {
    right: usize,
    wrong: Vec<String>,
}

#[test]
fn recorded_writes_come_out_as_recorded() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../arktos-api/tests/golden/dev");
    let mut topics: BTreeMap<String, Tally> = BTreeMap::new();
    let only = std::env::var("ONLY").unwrap_or_default();
    for topic in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(topic.path()).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(file.path()).expect("readable");
            let scenario: Value = serde_json::from_str(&text).expect("json");
            let name = scenario["name"].as_str().unwrap_or_default();
            if name.contains(&only) {
                let topic = topics.entry(topic.file_name().to_string_lossy().into_owned()).or_default();
                play(&scenario, topic);
            }
        }
    }
    for (topic, tally) in &topics {
        println!("{topic}: {} of {}", tally.right, tally.right + tally.wrong.len());
    }
    if std::env::var("SHOW").is_ok() {
        for wrong in topics.values().flat_map(|tally| &tally.wrong) {
            println!("{wrong}");
        }
    }
    for (topic, floor) in FLOORS {
        let right = topics.get(*topic).map_or(*floor, |tally| tally.right);
        assert!(
            right >= *floor || !only.is_empty(),
            "{topic}: {right} writes come out as recorded, {floor} did before"
        );
    }
}

/// Plays the writes of a scenario, each against the recorded state before it.
fn play(scenario: &Value, tally: &mut Tally) {
    let catalog = Catalog::builtin();
    let mut state: BTreeMap<String, Value> = BTreeMap::new();
    let setup = scenario["setup"].as_array().into_iter().flatten().map(|request| (request.clone(), Value::Null));
    let steps = scenario["steps"].as_array().into_iter().flatten();
    let steps = steps.map(|step| (step["request"].clone(), step["response"].clone()));
    for (request, response) in setup.chain(steps) {
        let request = known(request);
        let response = known(response);
        let path = request["path"].as_str().unwrap_or_default().to_owned();
        let (plain, query) = path.split_once('?').unwrap_or((&path, ""));
        let method = request["method"].as_str().unwrap_or_default();
        let Some((kind, name, subresource)) = resolve(&catalog, plain) else { continue };
        if !response.is_null() && subresource.is_none_or(|subresource| subresource == "status") {
            let admin = request.get("as").is_none();
            if let Some(result) = write(&kind, method, &request, &name, subresource, &state, plain).filter(|_| admin) {
                let about = format!("{} {method} {path} {}", scenario["name"], request["body"]);
                judge(&kind, result, &response, &about, tally);
            }
        }
        if let (Some(body), Some(200 | 201)) = (response.get("body"), response["status"].as_u64())
            && body["kind"] == kind.kind.as_str()
            && !query.contains("dryRun")
        {
            let whole = if method == "POST" {
                format!("{plain}/{}", body["metadata"]["name"].as_str().unwrap_or_default())
            } else {
                plain.trim_end_matches("/status").to_owned()
            };
            if subresource.is_none_or(|subresource| subresource == "status") {
                state.insert(whole, body.clone());
            }
        }
    }
}

/// What the rules make of a write; `None` when it is none, or needs more than the rules.
fn write(
    kind: &Kind,
    method: &str,
    request: &Value,
    name: &str,
    subresource: Option<&str>,
    state: &BTreeMap<String, Value>,
    path: &str,
) -> Option<Result<Object, Status>> {
    let body = match (request.get("body"), request.get("bodyText")) {
        (Some(body), _) => body.to_string(),
        (None, Some(Value::String(text))) => text.clone(),
        _ => return None,
    };
    let strict = path.contains("Strict");
    match method {
        "POST" if name.is_empty() => Some(create(kind, &body)),
        "PUT" | "PATCH" => {
            let old = Object::from_value(state.get(path.trim_end_matches("/status"))?.clone())?;
            let new = if method == "PUT" {
                body
            } else {
                let content = request.pointer("/headers/Content-Type").and_then(Value::as_str).unwrap_or_default();
                let patch: Value = serde_json::from_str(&body).ok()?;
                let merges = content.contains("merge-patch") && !(content.contains("strategic") && body.contains('['));
                if !merges || !patch.is_object() || strict {
                    return None;
                }
                let mut patched = old.clone().into_value();
                json_patch::merge(&mut patched, &patch);
                patched.to_string()
            };
            let decoded = match schema::read(kind, new.as_bytes(), Dialect::Plain) {
                Ok(decoded) => decoded,
                Err(status) => return Some(Err(status)),
            };
            if method == "PATCH"
                && let Err(status) = rules::refuse_patched(kind, &noted(&old), &decoded.object)
            {
                return Some(Err(status));
            }
            if let Err(status) = rules::refuse_unconditional(kind, &decoded.object) {
                return Some(Err(status));
            }
            Some(match subresource {
                None => rules::admit_update(kind, &old, decoded.object),
                Some(_) => rules::admit_status(kind, &old, decoded.object),
            })
        }
        _ => None,
    }
}

/// An object as the recording's client wrote it: with spaces in its data.
fn noted(object: &Object) -> Object {
    let mut object = object.clone();
    object.notes.insert(rules::DATA_AS_WRITTEN.to_owned(), "true".to_owned());
    object
}

fn create(kind: &Kind, body: &str) -> Result<Object, Status> {
    let mut object = schema::read(kind, body.as_bytes(), Dialect::Plain)?.object;
    if object.name().is_empty() && !object.str_at(&["metadata", "generateName"]).is_empty() {
        let name = format!("{}<gen>", object.str_at(&["metadata", "generateName"]));
        object.set(&["metadata", "name"], name.replace("<gen>", "bcdfg"));
    }
    object.set(&["metadata", "uid"], UID);
    object.set(&["metadata", "creationTimestamp"], TIME);
    rules::admit_create(kind, object)
}

/// Compares with what was recorded.
fn judge(kind: &Kind, result: Result<Object, Status>, response: &Value, about: &str, tally: &mut Tally) {
    let status = response["status"].as_u64().unwrap_or_default();
    let wrong = match (result, status) {
        (Ok(object), 200 | 201) if response["body"]["kind"] == kind.kind.as_str() => {
            differences(&left_out(object.into_value(), kind), &left_out(response["body"].clone(), kind), "$")
        }
        (Err(refused), 422) if response["body"]["details"]["causes"].is_array() => {
            let cause = |cause: &Value| {
                let text = |field: &str| cause[field].as_str().unwrap_or_default().to_owned();
                format!("{} {}: {}", text("reason"), text("field"), text("message"))
            };
            let causes = serde_json::to_value(refused.details.unwrap_or_default().causes).expect("json");
            let mut ours: Vec<String> = causes.as_array().into_iter().flatten().map(cause).collect();
            let mut theirs: Vec<String> =
                response["body"]["details"]["causes"].as_array().into_iter().flatten().map(cause).collect();
            ours.sort();
            theirs.sort();
            same_causes(&ours, &theirs)
        }
        (Err(refused), 400)
            if response["body"]["message"].as_str().is_some_and(|text| text.contains("cannot be handled")) =>
        {
            let theirs = response["body"]["message"].as_str().unwrap_or_default();
            (refused.message != theirs)
                .then(|| format!("{} instead of {theirs}", refused.message))
                .into_iter()
                .collect()
        }
        (Ok(_), 422) => vec![format!("not refused: {}", response["body"]["message"])],
        (Err(refused), 200 | 201) => vec![format!("refused: {}", refused.message)],
        _ => return,
    };
    if wrong.is_empty() {
        tally.right += 1;
    } else {
        tally.wrong.push(format!("\n{about}\n  {}", wrong.join("\n  ")));
    }
}

fn same_causes(ours: &[String], theirs: &[String]) -> Vec<String> {
    let fits = |ours: &String, theirs: &String| match theirs.split_once("<dump>") {
        Some((start, end)) => {
            ours.starts_with(start.trim_end_matches('"')) && ours.ends_with(end.trim_start_matches('"'))
        }
        None => ours == theirs,
    };
    let missing = theirs.iter().filter(|theirs| !ours.iter().any(|ours| fits(ours, theirs)));
    let extra = ours.iter().filter(|ours| !theirs.iter().any(|theirs| fits(ours, theirs)));
    missing.map(|cause| format!("missing {cause}")).chain(extra.map(|cause| format!("too much {cause}"))).collect()
}

/// Where two values differ; placeholders fit anything.
fn differences(ours: &Value, theirs: &Value, path: &str) -> Vec<String> {
    match (ours, theirs) {
        (_, Value::String(text)) if text.contains('<') && text.contains('>') => Vec::new(),
        (Value::Object(ours), Value::Object(theirs)) => {
            let keys: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            keys.into_iter()
                .flat_map(|key| match (ours.get(key), theirs.get(key)) {
                    (Some(ours), Some(theirs)) => differences(ours, theirs, &format!("{path}.{key}")),
                    (Some(ours), None) => vec![format!("{path}.{key}: too much {ours}")],
                    (None, Some(theirs)) => vec![format!("{path}.{key}: missing {theirs}")],
                    (None, None) => Vec::new(),
                })
                .collect()
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            let items = ours.iter().zip(theirs).enumerate();
            items.flat_map(|(at, (ours, theirs))| differences(ours, theirs, &format!("{path}[{at}]"))).collect()
        }
        _ if ours == theirs => Vec::new(),
        _ => vec![format!("{path}: {ours} instead of {theirs}")],
    }
}

/// The object without what the road, admission plugins and allocators set.
fn left_out(mut object: Value, kind: &Kind) -> Value {
    let none = Map::new();
    let mut metadata = object["metadata"].as_object().unwrap_or(&none).clone();
    for field in ["uid", "resourceVersion", "namespace", "creationTimestamp", "managedFields", "finalizers"] {
        metadata.remove(field);
    }
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.remove("kubernetes.io/metadata.name");
        if labels.is_empty() {
            metadata.remove("labels");
        }
    }
    object["metadata"] = Value::Object(metadata);
    let admitted: &[&str] = match kind.kind.as_str() {
        "Pod" => &["tolerations", "priority", "preemptionPolicy", "overhead", "nodeSelector"],
        "Service" => &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"],
        "PersistentVolumeClaim" => &["storageClassName"],
        "CertificateSigningRequest" => &["username", "groups", "uid", "extra"],
        "Node" => &["taints"],
        _ => &[],
    };
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|field, _| !admitted.contains(&field.as_str()));
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            port.as_object_mut().and_then(|port| port.remove("nodePort"));
        }
    }
    object
}

/// The kind, name and subresource of a path.
fn resolve<'a>(catalog: &Catalog, path: &'a str) -> Option<(std::sync::Arc<Kind>, String, Option<&'a str>)> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let rest = match rest {
        ["namespaces", _, resource, rest @ ..] if !matches!(*resource, "status" | "finalize") => (*resource, rest),
        [resource, rest @ ..] => (*resource, rest),
        [] => return None,
    };
    let kind = catalog.by_path(group, version, rest.0)?;
    Some((kind, rest.1.first().copied().unwrap_or_default().to_owned(), rest.1.get(1).copied()))
}

/// A recorded value with its placeholders replaced where they would be read.
fn known(value: Value) -> Value {
    let text = value.to_string();
    let mut text =
        text.replace("\"<time>\"", &format!("\"{TIME}\"")).replace("\"<microtime>\"", &format!("\"{MICRO_TIME}\""));
    for (start, with) in [("\"<nodeport", "30001"), ("\"<ip", "\"10.0.0.9\""), ("<uid", UID)] {
        while let Some(at) = text.find(start) {
            let end = text[at..].find('>').map_or(text.len(), |end| at + end + 1);
            let end = if start.starts_with('"') { end + 1 } else { end };
            text.replace_range(at..end, with);
        }
    }
    while let Some(at) = text.find("${") {
        let end = text[at..].find('}').map_or(text.len(), |end| at + end + 1);
        let with = match &text[at + 2..end - 1] {
            fill if fill.starts_with("fill:") => "x".repeat(fill[5..].parse().unwrap_or(1)),
            "run" => "zq7".to_owned(),
            other => other.to_lowercase().replace('_', "-"),
        };
        text.replace_range(at..end, &with);
    }
    serde_json::from_str(&text).expect("still json")
}
