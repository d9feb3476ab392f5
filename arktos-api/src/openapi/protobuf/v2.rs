//! Parts of an OpenAPI v2 document as protobuf: the messages of `openapi.v2`.

use serde_json::Value;

use super::{Message, any, named, wrapped};

/// A path.
pub(in crate::openapi) fn path(item: &Value) -> Message {
    let mut message = Message::default();
    let methods = [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")];
    for (field, method) in methods {
        if let Some(one) = item.get(method) {
            message.message(field, operation(one));
        }
    }
    parameters(&mut message, 9, item);
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.texts(1, &operation["tags"]);
    message.text(5, &operation["operationId"]);
    message.texts(6, &operation["produces"]);
    message.texts(7, &operation["consumes"]);
    parameters(&mut message, 8, operation);
    message.message(9, named(1, &operation["responses"], answer));
    message.texts(10, &operation["schemes"]);
    message.extensions(13, operation, "x-kubernetes-");
    message
}

fn answer(answer: &Value) -> Message {
    let mut response = Message::default();
    response.text(1, &answer["description"]);
    if let Some(of) = answer.get("schema") {
        response.message(2, wrapped(1, schema(of)));
    }
    wrapped(1, response)
}

fn parameters(message: &mut Message, field: u32, parent: &Value) {
    for one in parent["parameters"].as_array().into_iter().flatten() {
        let item = if one["$ref"].is_string() {
            let mut reference = Message::default();
            reference.text(1, &one["$ref"]);
            wrapped(2, reference)
        } else {
            wrapped(1, parameter(one))
        };
        message.message(field, item);
    }
}

/// A parameter.
pub(in crate::openapi) fn parameter(parameter: &Value) -> Message {
    let mut inner = Message::default();
    if parameter["in"] == "body" {
        inner.text(2, &parameter["name"]);
        inner.text(3, &parameter["in"]);
        inner.flag(4, &parameter["required"]);
        inner.message(5, schema(&parameter["schema"]));
        return wrapped(1, inner);
    }
    let (place, type_field, unique_field) = if parameter["in"] == "query" { (3, 6, 20) } else { (4, 5, 19) };
    inner.flag(1, &parameter["required"]);
    inner.text(2, &parameter["in"]);
    inner.text(4, &parameter["name"]);
    inner.text(type_field, &parameter["type"]);
    inner.flag(unique_field, &parameter["uniqueItems"]);
    wrapped(2, wrapped(place, inner))
}

/// A schema.
pub(in crate::openapi) fn schema(written: &Value) -> Message {
    let mut message = Message::default();
    for (field, name) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description")] {
        message.text(field, &written[name]);
    }
    if let Some(default) = written.get("default") {
        message.message(5, any(default));
    }
    message.double(6, &written["multipleOf"]);
    message.double(7, &written["maximum"]);
    message.flag(8, &written["exclusiveMaximum"]);
    message.double(9, &written["minimum"]);
    message.flag(10, &written["exclusiveMinimum"]);
    message.whole(11, &written["maxLength"]);
    message.whole(12, &written["minLength"]);
    message.text(13, &written["pattern"]);
    message.whole(14, &written["maxItems"]);
    message.whole(15, &written["minItems"]);
    message.flag(16, &written["uniqueItems"]);
    message.whole(17, &written["maxProperties"]);
    message.whole(18, &written["minProperties"]);
    message.texts(19, &written["required"]);
    for option in written["enum"].as_array().into_iter().flatten() {
        message.message(20, any(option));
    }
    match written.get("additionalProperties") {
        Some(Value::Bool(any)) => {
            let mut item = Message::default();
            item.choice(2, *any);
            message.message(21, item);
        }
        Some(values) => message.message(21, wrapped(1, schema(values))),
        None => {}
    }
    if written["type"].is_string() {
        let mut item = Message::default();
        item.text(1, &written["type"]);
        message.message(22, item);
    }
    if let Some(items) = written.get("items") {
        message.message(23, wrapped(1, schema(items)));
    }
    if written["properties"].is_object() {
        message.message(25, named(1, &written["properties"], schema));
    }
    if let Some(more) = written.get("externalDocs") {
        let mut item = Message::default();
        item.text(1, &more["description"]);
        item.text(2, &more["url"]);
        message.message(29, item);
    }
    if let Some(example) = written.get("example") {
        message.message(30, any(example));
    }
    message.extensions(31, written, "x-kubernetes-");
    message
}

/// Adds to a document how clients say who they are, all of whom may.
pub(in crate::openapi) fn security(document: &mut Message, schemes: &Value) {
    document.message(12, named(1, schemes, |_| Message::default()));
    let scheme = |scheme: &Value| {
        let mut key = Message::default();
        for (field, name) in [(1, "type"), (2, "name"), (3, "in"), (4, "description")] {
            key.text(field, &scheme[name]);
        }
        wrapped(2, key)
    };
    document.message(13, named(1, schemes, scheme));
}
