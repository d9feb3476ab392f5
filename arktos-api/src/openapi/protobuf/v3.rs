//! OpenAPI v3 documents as protobuf: the messages of `openapi.v3`.

use serde_json::Value;

use super::{Message, any, named, wrapped};

/// The document of one path of `/openapi/v3`.
pub(in crate::openapi) fn document(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, &document["openapi"]);
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(6, &document["info"]["version"]);
    message.message(2, info);
    message.message(4, named(1, &document["paths"], path));
    let components = &document["components"];
    let mut parts = Message::default();
    if components["schemas"].is_object() {
        parts.message(1, named(1, &components["schemas"], schema_or_reference));
    }
    if components["securitySchemes"].is_object() {
        parts.message(7, named(1, &components["securitySchemes"], |scheme| wrapped(1, security(scheme))));
    }
    message.message(5, parts);
    message.into_bytes()
}

fn path(item: &Value) -> Message {
    let mut message = Message::default();
    let methods = [(4, "get"), (5, "put"), (6, "post"), (7, "delete"), (8, "options"), (9, "head"), (10, "patch")];
    for (field, method) in methods {
        if let Some(one) = item.get(method) {
            message.message(field, operation(one));
        }
    }
    parameters(&mut message, 13, item);
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.texts(1, &operation["tags"]);
    message.text(3, &operation["description"]);
    message.text(5, &operation["operationId"]);
    parameters(&mut message, 6, operation);
    if let Some(body) = operation.get("requestBody") {
        let mut inner = Message::default();
        inner.text(1, &body["description"]);
        content(&mut inner, 2, body);
        inner.flag(3, &body["required"]);
        message.message(7, wrapped(1, inner));
    }
    message.message(8, named(2, &operation["responses"], answer));
    message.extensions(13, operation, "x-");
    message
}

fn answer(answer: &Value) -> Message {
    let mut inner = Message::default();
    inner.text(1, &answer["description"]);
    content(&mut inner, 3, answer);
    wrapped(1, inner)
}

/// What a body may be, by media type.
fn content(message: &mut Message, field: u32, of: &Value) {
    if of["content"].is_object() {
        message.message(field, named(1, &of["content"], |media| wrapped(1, schema_or_reference(&media["schema"]))));
    }
}

fn parameters(message: &mut Message, field: u32, parent: &Value) {
    for one in parent["parameters"].as_array().into_iter().flatten() {
        let mut inner = Message::default();
        inner.text(1, &one["name"]);
        inner.text(2, &one["in"]);
        inner.text(3, &one["description"]);
        inner.flag(4, &one["required"]);
        if let Some(schema) = one.get("schema") {
            inner.message(10, schema_or_reference(schema));
        }
        message.message(field, wrapped(1, inner));
    }
}

fn security(scheme: &Value) -> Message {
    let mut message = Message::default();
    for (field, name) in [(1, "type"), (2, "description"), (3, "name"), (4, "in")] {
        message.text(field, &scheme[name]);
    }
    message
}

fn schema_or_reference(written: &Value) -> Message {
    if written["$ref"].is_string() {
        let mut reference = Message::default();
        reference.text(1, &written["$ref"]);
        return wrapped(2, reference);
    }
    wrapped(1, schema(written))
}

fn schema(written: &Value) -> Message {
    let mut message = Message::default();
    message.flag(1, &written["nullable"]);
    message.flag(3, &written["readOnly"]);
    if let Some(more) = written.get("externalDocs") {
        let mut item = Message::default();
        item.text(1, &more["description"]);
        item.text(2, &more["url"]);
        message.message(6, item);
    }
    if let Some(example) = written.get("example") {
        message.message(7, any(example));
    }
    message.text(9, &written["title"]);
    message.double(10, &written["multipleOf"]);
    message.double(11, &written["maximum"]);
    message.flag(12, &written["exclusiveMaximum"]);
    message.double(13, &written["minimum"]);
    message.flag(14, &written["exclusiveMinimum"]);
    message.whole(15, &written["maxLength"]);
    message.whole(16, &written["minLength"]);
    message.text(17, &written["pattern"]);
    message.whole(18, &written["maxItems"]);
    message.whole(19, &written["minItems"]);
    message.flag(20, &written["uniqueItems"]);
    message.whole(21, &written["maxProperties"]);
    message.whole(22, &written["minProperties"]);
    message.texts(23, &written["required"]);
    for option in written["enum"].as_array().into_iter().flatten() {
        message.message(24, any(option));
    }
    message.text(25, &written["type"]);
    for (field, name) in [(26, "allOf"), (27, "oneOf"), (28, "anyOf")] {
        for one in written[name].as_array().into_iter().flatten() {
            message.message(field, schema_or_reference(one));
        }
    }
    if let Some(not) = written.get("not") {
        message.message(29, schema(not));
    }
    if let Some(items) = written.get("items") {
        message.message(30, wrapped(1, schema_or_reference(items)));
    }
    if written["properties"].is_object() {
        message.message(31, named(1, &written["properties"], schema_or_reference));
    }
    match written.get("additionalProperties") {
        Some(Value::Bool(any)) => {
            let mut item = Message::default();
            item.choice(2, *any);
            message.message(32, item);
        }
        Some(values) => message.message(32, wrapped(1, schema_or_reference(values))),
        None => {}
    }
    if let Some(default) = written.get("default") {
        message.message(33, default_value(default));
    }
    message.text(34, &written["description"]);
    message.text(35, &written["format"]);
    message.extensions(36, written, "x-");
    message
}

/// A default: the message has no words for objects and lists.
fn default_value(value: &Value) -> Message {
    let mut message = Message::default();
    match value {
        Value::Number(number) => message.real(1, number.as_f64().unwrap_or_default()),
        Value::Bool(value) => message.choice(2, *value),
        Value::String(text) => message.bytes(3, text.as_bytes()),
        _ => {}
    }
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_keep_what_v2_has_no_words_for() {
        let written =
            json!({"nullable": true, "oneOf": [{"type": "string"}], "default": 0.0, "items": {"$ref": "#/a"}});
        let bytes = wrapped(1, schema(&written)).into_bytes();
        let wanted: &[&[u8]] = &[
            &[0x0a, 40, 0x08, 1],                                                          // nullable
            &[0xda, 0x01, 11, 0x0a, 9, 0xca, 0x01, 6, b's', b't', b'r', b'i', b'n', b'g'], // oneOf
            &[0xf2, 0x01, 9, 0x0a, 7, 0x12, 5, 0x0a, 3, b'#', b'/', b'a'],                 // items, a reference
            &[0x8a, 0x02, 9, 0x09, 0, 0, 0, 0, 0, 0, 0, 0],                                // a default that is zero
        ];
        assert_eq!(bytes, wanted.concat());
    }
}
