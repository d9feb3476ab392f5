//! The upstream conformance tests that need nothing that runs, written anew and named after what they are called there.
//! `cargo xtask conformance` counts them.

mod fields;
mod machinery;
mod operations;
mod watchers;

use http::Method;
use serde_json::{Value, json};

use crate::{Answer, World};

/// A kind, and how its objects are made.
pub struct Subject {
    /// Where its objects are.
    pub path: &'static str,
    /// The same, seen across namespaces, where it lives in some.
    pub everywhere: &'static str,
    /// What they have beside `metadata`.
    pub fields: Value,
    /// Whether it has a status of its own.
    pub status: bool,
    /// Whether the server reports on new objects by itself.
    pub settles: bool,
    /// Who asks.
    pub token: &'static str,
}

impl Subject {
    pub fn new(path: &'static str, fields: Value) -> Self {
        Self { path, everywhere: "", fields, status: false, settles: false, token: "acme" }
    }

    pub fn everywhere(self, everywhere: &'static str) -> Self {
        Self { everywhere, ..self }
    }

    pub fn with_status(self) -> Self {
        Self { status: true, ..self }
    }

    pub fn settling(self) -> Self {
        Self { settles: true, ..self }
    }

    pub fn by(self, token: &'static str) -> Self {
        Self { token, ..self }
    }

    pub fn object(&self, name: &str) -> Value {
        let mut object = self.fields.clone();
        object["metadata"] = json!({"name": name, "labels": {"test": "yes"}});
        object
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

pub fn fine(answer: Answer, code: u16) -> Value {
    assert_eq!(answer.code, code, "{}", answer.body);
    answer.body
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list").iter();
    items.map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
}

/// What every kind's objects can have done to them: created, read, listed, watched, patched, replaced, deleted, one and
/// many.
pub async fn operations(world: &World, subject: &Subject) {
    let token = subject.token;
    let selected = format!("{}?labelSelector=test%3Dyes", subject.path);
    let mut events = world.watch(token, &format!("{selected}&watch=1")).await;
    let made = fine(world.post(token, subject.path, subject.object("one")).await, 201);
    let (at, uid) = (subject.at("one"), made["metadata"]["uid"].clone());
    assert!(uid.is_string() && made["metadata"]["resourceVersion"].is_string());
    assert_eq!(fine(world.get(token, &at).await, 200)["metadata"]["uid"], uid);
    for name in ["two", "three"] {
        fine(world.post(token, subject.path, subject.object(name)).await, 201);
    }
    assert_eq!(names(&fine(world.get(token, &selected).await, 200)), ["one", "three", "two"]);
    if !subject.everywhere.is_empty() {
        let all = format!("{}?labelSelector=test%3Dyes", subject.everywhere);
        assert_eq!(names(&fine(world.get(token, &all).await, 200)).len(), 3);
    }
    for name in ["one", "two", "three"] {
        assert_eq!(events.short().await, format!("ADDED {name}"));
        if subject.settles {
            assert_eq!(events.short().await, format!("MODIFIED {name}"));
        }
    }
    let patched = fine(world.patch(token, &at, json!({"metadata": {"annotations": {"patched": "yes"}}})).await, 200);
    assert_eq!(patched["metadata"]["annotations"]["patched"], "yes");
    assert_eq!(events.short().await, "MODIFIED one");
    let mut replaced = fine(world.get(token, &at).await, 200);
    replaced["metadata"]["annotations"]["replaced"] = json!("yes");
    let replaced = fine(world.put(token, &at, replaced).await, 200);
    assert_eq!(replaced["metadata"]["annotations"]["replaced"], "yes");
    assert_eq!(events.short().await, "MODIFIED one");
    if subject.status {
        let path = format!("{at}/status");
        let shown = fine(world.get(token, &path).await, 200);
        assert_eq!(shown["metadata"]["uid"], uid);
        let annotated = json!({"metadata": {"annotations": {"status": "yes"}}});
        let answer = world.patch(token, &path, annotated).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
        if answer.body["metadata"]["annotations"]["status"] == "yes" {
            assert_eq!(events.short().await, "MODIFIED one");
        }
    }
    assert_eq!(world.delete(token, &at).await.code / 100, 2);
    assert_eq!(world.get(token, &at).await.code, 404);
    assert_eq!(events.short().await, "DELETED one");
    assert_eq!(world.send(token, Method::DELETE, &selected, None).await.code, 200);
    assert!(names(&fine(world.get(token, &selected).await, 200)).is_empty());
}
