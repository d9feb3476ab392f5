//! What a real API server said of objects and patches, asked the same.

#![allow(missing_docs, clippy::unwrap_used)] // a test fails by panicking

mod definitions;
mod kinds;
mod pods;
mod policies;

use std::sync::Arc;

use arktos_core::catalog::{Catalog, Kind};
use arktos_core::rules::{admit_create, admit_status};
use arktos_core::{Dialect, Object, Status, TypeMeta, schema};
use serde_json::Value;

fn read(object: &Value) -> (Arc<Kind>, Object) {
    let text = |field: &str| object[field].as_str().expect("a text").to_owned();
    let type_meta = TypeMeta { api_version: text("apiVersion"), kind: text("kind") };
    let kind = Catalog::builtin().by_type(&type_meta).expect("a built-in kind");
    let read = schema::read(&kind, object.to_string().as_bytes(), Dialect::Plain).expect("fits its type").object;
    (kind, read)
}

fn created(object: &Value) -> Result<Object, Status> {
    let (kind, mut new) = read(object);
    if new.name().is_empty() {
        new.set(&["metadata", "name"], "a");
    }
    new.set(&["metadata", "uid"], "11111111-2222-3333-4444-555555555555");
    new.set(&["metadata", "creationTimestamp"], "2026-01-02T03:04:05Z");
    admit_create(&kind, new)
}

fn with_status(old: &Object, status: &Value) -> Result<Object, Status> {
    let mut new = old.clone().into_value();
    new["status"] = status.clone();
    let (kind, new) = read(&new);
    admit_status(&kind, old, new)
}

fn told(result: Result<Object, Status>) -> Vec<String> {
    let Err(status) = result else { return Vec::new() };
    let causes = status.details.unwrap_or_default().causes;
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

fn said(object: &Value) -> Vec<String> {
    told(created(object))
}
