//! What is wrong with objects of many kinds, in upstream's words: a table, one fault or a few at a time.

use http::Method;
use serde_json::Value;

use crate::World;

/// `+ path object` makes an object. `@ POST path object` and `@ PATCH path` say what is asked from there on: with a
/// change at a pointer into the object (`- /spec/x value`), or with a patch (`- patch`). Below it stand the causes of
/// the refusal, `field: message` each, or `ok` and warnings (`! text`).
const TABLE: &str = include_str!("faults.txt");

#[tokio::test]
async fn objects_are_refused_and_warned_of_in_upstreams_words() {
    // Validation is asked, and its claims are bound to classes that nobody has made.
    let world = World::with(|config| {
        config.admission.disabled.insert("PersistentVolumeClaimResize".to_owned());
    })
    .await;
    let (mut asked, mut told, mut wanted) = (None, Vec::new(), Vec::new());
    let mut around: (Method, &str, Value) = (Method::POST, "", Value::Null);
    let (mut count, mut wrong) = (0, Vec::new());
    for line in TABLE.lines().chain(["@ POST / {}"]).filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        if let Some(text) = line.strip_prefix("    ") {
            wanted.push(text.to_owned());
            continue;
        }
        if let Some(request) = asked.take() {
            count += 1;
            told.sort();
            wanted.sort();
            if told != wanted {
                wrong.push(format!("{request}\n  told:   {told:#?}\n  wanted: {wanted:#?}"));
            }
            wanted.clear();
        }
        match line.split_at(2) {
            ("+ ", rest) => {
                let (path, object) = rest.split_once(' ').unwrap();
                let answer = world.post("acme", path, serde_json::from_str(object).unwrap()).await;
                assert_eq!(answer.code, 201, "{path}: {}", answer.body);
            }
            ("@ ", rest) => {
                let mut parts = rest.splitn(3, ' ');
                let method = parts.next().unwrap().parse().unwrap();
                let path = parts.next().unwrap();
                around =
                    (method, path, parts.next().map_or(Value::Null, |object| serde_json::from_str(object).unwrap()));
            }
            (_, change) => {
                let (method, path, object) = &around;
                let body = if *method == Method::PATCH {
                    serde_json::from_str(change).unwrap()
                } else {
                    let (at, value) = change.split_once(' ').unwrap();
                    changed(object.clone(), at, value)
                };
                told = ask(&world, method.clone(), path, body).await;
                asked = Some(format!("{method} {path} {change}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 150, "{count} requests were made");
}

async fn ask(world: &World, method: Method, path: &str, body: Value) -> Vec<String> {
    let path = if method == Method::POST { format!("{path}?dryRun=All") } else { path.to_owned() };
    let answer = world.send("acme", method, &path, Some(body)).await;
    if answer.code < 300 {
        let warnings = answer.warnings.iter().map(|warning| warning.strip_prefix("299 - ").unwrap());
        let told = warnings.map(|warning| format!("! {}", serde_json::from_str::<String>(warning).unwrap()));
        return std::iter::once("ok".to_owned()).chain(told).collect();
    }
    assert_eq!(answer.code, 422, "{path}: {}", answer.body);
    let causes = answer.body["details"]["causes"].as_array().unwrap().iter();
    let text = |cause: &Value, field: &str| cause[field].as_str().unwrap_or_default().to_owned();
    let mut told: Vec<String> =
        causes.map(|cause| format!("{}: {}", text(cause, "field"), text(cause, "message").trim_end())).collect();
    told.dedup();
    told
}

/// The object with another value at a pointer; what is on the way is made.
fn changed(mut object: Value, pointer: &str, value: &str) -> Value {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let mut at = &mut object;
    for part in parent.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[part],
        };
    }
    match (value, last.parse::<usize>()) {
        ("none", _) => drop(at.as_object_mut().unwrap().remove(last)),
        (value, Ok(index)) => at[index] = serde_json::from_str(value).unwrap(),
        (value, Err(_)) => at[last] = serde_json::from_str(value).unwrap(),
    }
    object
}
