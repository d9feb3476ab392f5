//! The schema of a whole object in one piece: what refers to other types has them in its place.

use serde_json::{Map, Value, json};

use super::structural::Structural;
use crate::catalog::Kind;
use crate::schema;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// What the objects of a kind look like, as policies see them; none where nothing is known of that.
pub(crate) fn resolved(kind: &Kind) -> Option<Structural> {
    let whole = match &kind.own {
        Some(own) => whole((*own.written).clone()),
        None => in_place(referring(&kind.schema.as_struct()?.name), &mut Vec::new()),
    };
    Some(Structural::compile(&whole))
}

fn referring(name: &str) -> Value {
    json!({ "ref": name })
}

/// A part of a schema, with the types in it that it refers to. A type in itself is any object.
fn in_place(written: Value, open: &mut Vec<String>) -> Value {
    let Value::Object(mut fields) = written else { return written };
    if let Some(Value::String(name)) = fields.remove("ref") {
        let read = || serde_json::from_str(schema::written(&name)?).ok();
        let any = || json!({"type": "object"});
        if open.contains(&name) {
            return any();
        }
        let Some(found) = read() else { return any() };
        open.push(name);
        let found = in_place(found, open);
        open.pop();
        return found;
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(word) {
            *inner = in_place(inner.take(), open);
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(|inner| *inner = in_place(inner.take(), open));
    }
    if fields.get("format").is_some_and(|format| format == "int-or-string") {
        fields.insert("x-kubernetes-int-or-string".to_owned(), Value::Bool(true));
    }
    Value::Object(fields)
}

/// What a definition says of objects, with what every object has.
fn whole(written: Value) -> Value {
    let Value::Object(mut fields) = embedding(written) else { return Value::Null };
    add_object(&mut fields);
    Value::Object(fields)
}

/// A part of it: what is an object with type and metadata of its own has these.
fn embedding(written: Value) -> Value {
    let Value::Object(mut fields) = written else { return written };
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(word) {
            *inner = embedding(inner.take());
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(|inner| *inner = embedding(inner.take()));
    }
    if fields.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        add_object(&mut fields);
    }
    Value::Object(fields)
}

fn add_object(fields: &mut Map<String, Value>) {
    let properties = fields.entry("properties").or_insert_with(|| json!({}));
    properties["apiVersion"] = json!({"type": "string"});
    properties["kind"] = json!({"type": "string"});
    properties["metadata"] = in_place(referring(META), &mut Vec::new());
}
