//! OpenAPI v2, for clients from before v3: kubectl up to 1.28 asks for nothing else, and only in protobuf.
//!
//! One document for all group versions, made from theirs.

use serde_json::{Map, Value, json};

use super::protobuf::Message;

const REFERENCE: &str = "#/components/schemas/";

/// The v2 document of these v3 documents.
pub(super) fn document<'a>(versions: impl Iterator<Item = &'a [u8]>) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for version in versions {
        // These bytes were made from a value right here.
        let mut version: Value = serde_json::from_slice(version).unwrap_or_default();
        if let Some(Value::Object(schemas)) = version.pointer_mut("/components/schemas").map(Value::take) {
            definitions.extend(schemas.into_iter().map(|(name, written)| (name, schema(written))));
        }
        if let Some(Value::Object(items)) = version.get_mut("paths").map(Value::take) {
            paths.extend(items.into_iter().map(|(path, item)| (path, path_item(item))));
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": paths,
        "definitions": definitions,
    })
}

fn path_item(item: Value) -> Value {
    let Value::Object(item) = item else { return item };
    let converted = item.into_iter().map(|(name, value)| {
        let value = if name == "parameters" { parameters(&value).into() } else { operation(value) };
        (name, value)
    });
    converted.collect::<Map<_, _>>().into()
}

fn operation(operation: Value) -> Value {
    let Value::Object(mut operation) = operation else { return operation };
    let mut all = operation.get("parameters").map(parameters).unwrap_or_default();
    if let Some(mut body) = operation.remove("requestBody") {
        let content = body.get_mut("content").and_then(Value::as_object_mut);
        let types: Vec<String> = content.iter().flat_map(|content| content.keys().cloned()).collect();
        let schema = content.and_then(|content| content.values_mut().next()).map(|one| schema(one["schema"].take()));
        all.push(json!({"name": "body", "in": "body", "required": body["required"] == true, "schema": schema}));
        operation.insert("consumes".to_owned(), Value::from(types));
    }
    if let Some(answer) = operation.get_mut("responses").and_then(|all| all.get_mut("200")) {
        let content = answer.get_mut("content").map(Value::take);
        let content = content.as_ref().and_then(Value::as_object);
        let types: Vec<&str> = content.iter().flat_map(|content| content.keys().map(String::as_str)).collect();
        let schema = content.and_then(|content| content.values().next()).map(|one| schema(one["schema"].clone()));
        *answer = json!({"description": "OK", "schema": schema});
        let types = Value::from(types);
        operation.insert("produces".to_owned(), types);
    }
    if !all.is_empty() {
        operation.insert("parameters".to_owned(), Value::from(all));
    }
    Value::Object(operation)
}

/// Parameters have their type beside their name in v2.
fn parameters(parameters: &Value) -> Vec<Value> {
    let flat = parameters.as_array().into_iter().flatten().map(|parameter| {
        json!({
            "name": parameter["name"], "in": parameter["in"], "required": parameter["required"] == true,
            "type": parameter["schema"]["type"], "uniqueItems": true,
        })
    });
    flat.collect()
}

/// Leaves out what clients of v2 misread: they take the fields that they are told of for all there are, and know
/// neither `null` nor lists of anything.
fn say_less(fields: &mut Map<String, Value>) {
    let is_set = |fields: &Value, word: &str| fields[word] == true;
    let open = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let nullable = fields.get("nullable") == Some(&Value::Bool(true));
    if open && fields.contains_key("x-kubernetes-group-version-kind") {
        let said = ["type", "x-kubernetes-group-version-kind", "x-kubernetes-selectable-fields"];
        fields.retain(|name, _| said.contains(&name.as_str()));
        return;
    }
    if nullable || open {
        fields.remove("items");
        fields.remove("properties");
    }
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    if nullable || open && kind == "object" || kind == "array" && !fields.contains_key("items") {
        fields.remove("type");
    }
    let known = fields.get("properties").and_then(Value::as_object).into_iter().flatten();
    let nullable: Vec<String> =
        known.filter(|(_, one)| is_set(one, "nullable")).map(|(name, _)| name.clone()).collect();
    if let Some(Value::Array(required)) = fields.get_mut("required") {
        required.retain(|name| !nullable.iter().any(|other| name == other));
        if required.is_empty() {
            fields.remove("required");
        }
    }
    if fields.get("additionalProperties").is_some_and(|values| is_set(values, "nullable")) {
        fields.remove("required");
    }
}

/// A schema: other references, nothing wrapped, no alternatives.
fn schema(written: Value) -> Value {
    let Value::Object(mut fields) = written else { return written };
    say_less(&mut fields);
    if fields.remove("oneOf").is_some() && !fields.contains_key("type") {
        fields.insert("type".to_owned(), Value::from("string"));
    }
    if let Some(wrapped) = fields.remove("allOf").as_mut().and_then(|all| all.get_mut(0)?.get_mut("$ref")) {
        fields.remove("default");
        fields.insert("$ref".to_owned(), wrapped.take());
    }
    // What v2 has no words for.
    ["anyOf", "not", "nullable"].iter().for_each(|word| drop(fields.remove(*word)));
    let converted = fields.into_iter().map(|(name, value)| {
        let value = match name.as_str() {
            "$ref" => value.as_str().map_or(Value::Null, |name| {
                Value::from(format!("#/definitions/{}", name.strip_prefix(REFERENCE).unwrap_or(name)))
            }),
            "items" | "additionalProperties" => schema(value),
            "properties" => match value {
                Value::Object(all) => {
                    all.into_iter().map(|(name, one)| (name, schema(one))).collect::<Map<_, _>>().into()
                }
                other => other,
            },
            _ => value,
        };
        (name, value)
    });
    converted.collect::<Map<_, _>>().into()
}

/// The document as protobuf: `openapi.v2.Document`.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, &document["swagger"]);
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    message.message(2, info);
    message.message(8, named(2, &document["paths"], encode_path));
    message.message(9, named(1, &document["definitions"], encode_schema));
    message.into_bytes()
}

/// A map as protobuf writes it here: a list of messages of a name and a value.
fn named(field: u32, map: &Value, encode: fn(&Value) -> Message) -> Message {
    let mut message = Message::default();
    for (name, value) in map.as_object().into_iter().flatten() {
        let mut entry = Message::default();
        entry.bytes(1, name.as_bytes());
        entry.message(2, encode(value));
        message.message(field, entry);
    }
    message
}

fn encode_path(item: &Value) -> Message {
    let mut message = Message::default();
    for (field, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(operation) = item.get(method) {
            message.message(field, encode_operation(operation));
        }
    }
    encode_parameters(&mut message, 9, item);
    message
}

fn encode_operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.text(5, &operation["operationId"]);
    message.texts(6, &operation["produces"]);
    message.texts(7, &operation["consumes"]);
    encode_parameters(&mut message, 8, operation);
    if let Some(answer) = operation.pointer("/responses/200") {
        let (mut response, mut item) = (Message::default(), Message::default());
        response.text(1, &answer["description"]);
        item.message(1, encode_schema(&answer["schema"]));
        response.message(2, item);
        let (mut value, mut entry, mut responses) = (Message::default(), Message::default(), Message::default());
        value.message(1, response);
        entry.bytes(1, b"200");
        entry.message(2, value);
        responses.message(1, entry);
        message.message(9, responses);
    }
    encode_extensions(&mut message, 13, operation);
    message
}

fn encode_parameters(message: &mut Message, field: u32, parent: &Value) {
    for parameter in parent["parameters"].as_array().into_iter().flatten() {
        let (mut inner, mut one, mut item) = (Message::default(), Message::default(), Message::default());
        if parameter["in"] == "body" {
            inner.text(2, &parameter["name"]);
            inner.text(3, &parameter["in"]);
            inner.flag(4, &parameter["required"]);
            inner.message(5, encode_schema(&parameter["schema"]));
            one.message(1, inner);
        } else {
            let (place, type_field, unique_field) = if parameter["in"] == "query" { (3, 6, 20) } else { (4, 5, 19) };
            inner.flag(1, &parameter["required"]);
            inner.text(2, &parameter["in"]);
            inner.text(4, &parameter["name"]);
            inner.text(type_field, &parameter["type"]);
            inner.flag(unique_field, &parameter["uniqueItems"]);
            let mut other = Message::default();
            other.message(place, inner);
            one.message(2, other);
        }
        item.message(1, one);
        message.message(field, item);
    }
}

fn encode_schema(schema: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, &schema["$ref"]);
    message.text(2, &schema["format"]);
    if let Some(default) = schema.get("default") {
        message.message(5, any(default));
    }
    message.texts(19, &schema["required"]);
    for option in schema["enum"].as_array().into_iter().flatten() {
        message.message(20, any(option));
    }
    if let Some(values) = schema.get("additionalProperties") {
        let mut item = Message::default();
        item.message(1, encode_schema(values));
        message.message(21, item);
    }
    if schema["type"].is_string() {
        let mut item = Message::default();
        item.text(1, &schema["type"]);
        message.message(22, item);
    }
    if let Some(items) = schema.get("items") {
        let mut item = Message::default();
        item.message(1, encode_schema(items));
        message.message(23, item);
    }
    if schema["properties"].is_object() {
        message.message(25, named(1, &schema["properties"], encode_schema));
    }
    encode_extensions(&mut message, 31, schema);
    message
}

fn encode_extensions(message: &mut Message, field: u32, parent: &Value) {
    let all = parent.as_object().into_iter().flatten();
    for (name, value) in all.filter(|(name, _)| name.starts_with("x-kubernetes-")) {
        let mut entry = Message::default();
        entry.bytes(1, name.as_bytes());
        entry.message(2, any(value));
        message.message(field, entry);
    }
}

/// Any value, as YAML: JSON is YAML.
fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.bytes(2, value.to_string().as_bytes());
    message
}
