//! OpenAPI v2, for clients from before v3: kubectl up to 1.28 asks for nothing else, and only in protobuf.
//!
//! One document for all group versions, made from theirs.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::protobuf::{self, Message};
use super::routes::ORDER;
use super::schemas::KINDS;
use super::{TITLE, VERSION, security, versions};
use crate::negotiate::{JSON, PROTOBUF, YAML};

const REFERENCE: &str = "#/components/schemas/";

/// The v2 document of some v3 documents. Its parts are written one by one: as a tree it would take many times as much.
#[derive(Default)]
pub(super) struct Whole {
    paths: Parts,
    definitions: Parts,
    parameters: Parts,
}

/// Parts of a document by name, as JSON and as protobuf.
#[derive(Default)]
struct Parts(BTreeMap<String, (String, Message)>);

impl Parts {
    fn add(&mut self, name: String, value: &Value, encode: fn(&Value) -> Message) {
        self.0.insert(name, (value.to_string(), encode(value)));
    }

    fn json(&self, text: &mut String) {
        for (place, (name, (value, _))) in self.0.iter().enumerate() {
            text.push(if place == 0 { '{' } else { ',' });
            text.push_str(&Value::from(name.as_str()).to_string());
            text.push(':');
            text.push_str(value);
        }
        text.push_str(if self.0.is_empty() { "{}" } else { "}" });
    }

    fn protobuf(&self, field: u32) -> Message {
        let mut message = Message::default();
        for (name, (_, value)) in &self.0 {
            let mut entry = Message::default();
            entry.bytes(1, name.as_bytes());
            entry.written(2, value);
            message.message(field, entry);
        }
        message
    }
}

impl Whole {
    /// The document of these v3 documents.
    pub(super) fn of(documents: impl Iterator<Item = Vec<u8>>) -> Self {
        let (mut whole, known) = (Self::default(), versions::known(false));
        for document in documents {
            // These bytes were made from a value right here.
            let mut document: Value = serde_json::from_slice(&document).unwrap_or_default();
            let custom = document["info"]["title"] != TITLE;
            if let Some(Value::Object(mut schemas)) = document.pointer_mut("/components/schemas").map(Value::take) {
                versions::say(&mut schemas, &known);
                for (name, written) in schemas {
                    if !whole.definitions.0.contains_key(&name) {
                        whole.definitions.add(name, &schema(written), protobuf::v2::schema);
                    }
                }
            }
            if let Some(Value::Object(items)) = document.get_mut("paths").map(Value::take) {
                for (path, item) in items {
                    let item = whole.path_item(item, custom);
                    whole.paths.add(path, &item, protobuf::v2::path);
                }
            }
        }
        whole
    }

    /// As JSON.
    pub(super) fn json(&self) -> String {
        let info = json!({"title": TITLE, "version": VERSION});
        let mut text = format!("{{\"swagger\":\"2.0\",\"info\":{info},\"paths\":");
        self.paths.json(&mut text);
        text.push_str(",\"definitions\":");
        self.definitions.json(&mut text);
        text.push_str(",\"parameters\":");
        self.parameters.json(&mut text);
        let security = security();
        text.push_str(&format!(",\"securityDefinitions\":{security},\"security\":[{{\"BearerToken\":[]}}]}}"));
        text
    }

    /// As protobuf: `openapi.v2.Document`.
    pub(super) fn protobuf(&self) -> Vec<u8> {
        let mut message = Message::default();
        message.text(1, &Value::from("2.0"));
        let mut info = Message::default();
        info.text(1, &Value::from(TITLE));
        info.text(2, &Value::from(VERSION));
        message.message(2, info);
        message.message(8, self.paths.protobuf(2));
        message.message(9, self.definitions.protobuf(1));
        message.message(10, self.parameters.protobuf(1));
        protobuf::v2::security(&mut message, &security());
        message.into_bytes()
    }

    fn path_item(&mut self, item: Value, custom: bool) -> Value {
        let Value::Object(item) = item else { return item };
        let converted = item.into_iter().map(|(name, value)| {
            let value =
                if name == "parameters" { self.shared(flat(&value)).into() } else { self.operation(value, custom) };
            (name, value)
        });
        converted.collect::<Map<_, _>>().into()
    }

    fn operation(&mut self, operation: Value, custom: bool) -> Value {
        let Value::Object(mut operation) = operation else { return operation };
        let mut all = operation.get("parameters").map(flat).unwrap_or_default();
        let answers = operation.get_mut("responses").and_then(Value::as_object_mut);
        let mut produces = Vec::new();
        for answer in answers.into_iter().flat_map(Map::values_mut) {
            if let Some(Value::Object(content)) = answer.get_mut("content").map(Value::take) {
                produces = in_order(&content);
                let schema = content.into_iter().next().map(|(_, mut one)| schema(one["schema"].take()));
                *answer = json!({"description": answer["description"], "schema": schema});
            }
        }
        let consumes = if let Some(mut body) = operation.remove("requestBody") {
            let content = body.get_mut("content").map(Value::take);
            let Some(Value::Object(content)) = content else { return Value::Object(operation) };
            let types = in_order(&content);
            let schema = content.into_iter().next().map(|(_, mut one)| schema(one["schema"].take()));
            let mut parameter = json!({"name": "body", "in": "body", "schema": schema});
            if body["required"] == true {
                parameter["required"] = Value::Bool(true);
            }
            all.push(parameter);
            types
        } else if operation.contains_key("x-kubernetes-action") {
            if custom { vec![JSON, YAML] } else { vec!["*/*"] }
        } else if produces.contains(&PROTOBUF) {
            produces.clone()
        } else if operation["responses"]["200"]["schema"].get("$ref").is_some() {
            vec![JSON]
        } else {
            Vec::new()
        };
        for (name, types) in [("consumes", consumes), ("produces", produces)] {
            if !types.is_empty() {
                operation.insert(name.to_owned(), Value::from(types));
            }
        }
        operation.insert("schemes".to_owned(), json!(["https"]));
        if !all.is_empty() {
            all.sort_by_cached_key(|one| one["name"].to_string());
            operation.insert("parameters".to_owned(), Value::from(self.shared(all)));
        }
        Value::Object(operation)
    }

    /// Parameters that many operations have are said once. Some are not: those that tell of a kind, and those by which
    /// kubectl finds out what the server can do.
    fn shared(&mut self, all: Vec<Value>) -> Vec<Value> {
        let one = |parameter: Value| {
            let name = parameter["name"].as_str().unwrap_or_default();
            let body = parameter["schema"]["$ref"].as_str();
            let of_kind = body.is_some_and(|body| !body.starts_with("#/definitions/io.k8s.apimachinery"));
            if matches!(name, "name" | "fieldValidation" | "dryRun") || of_kind {
                return parameter;
            }
            let hash = Sha256::digest(parameter.to_string());
            let name = format!("{name}-{}", BASE64_URL_SAFE_NO_PAD.encode(&hash[..6]));
            let reference = json!({"$ref": format!("#/parameters/{name}")});
            if !self.parameters.0.contains_key(&name) {
                self.parameters.add(name, &parameter, protobuf::v2::parameter);
            }
            reference
        };
        all.into_iter().map(one).collect()
    }
}

/// The media types of a body, in the order in which they are listed.
fn in_order(content: &Map<String, Value>) -> Vec<&'static str> {
    ORDER.into_iter().filter(|media| content.contains_key(*media)).collect()
}

/// Parameters have their type beside their name in v2.
fn flat(parameters: &Value) -> Vec<Value> {
    let flat = parameters.as_array().into_iter().flatten().map(|parameter| {
        let mut one = json!({
            "name": parameter["name"], "in": parameter["in"], "type": parameter["schema"]["type"], "uniqueItems": true,
        });
        if parameter["required"] == true {
            one["required"] = Value::Bool(true);
        }
        one
    });
    flat.collect()
}

/// Leaves out what clients of v2 misread: they take the fields that they are told of for all there are, and know
/// neither `null` nor lists of anything.
fn say_less(fields: &mut Map<String, Value>) {
    let is_set = |fields: &Value, word: &str| fields[word] == true;
    let open = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let nullable = fields.get("nullable") == Some(&Value::Bool(true));
    if open && fields.contains_key(KINDS) {
        let said = ["type", KINDS, "x-kubernetes-selectable-fields"];
        fields.retain(|name, _| said.contains(&name.as_str()));
        return;
    }
    let embedded = fields.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
    if nullable || open {
        fields.remove("items");
        // What is added to an object in the object is said of what may be null, and not of what is open.
        let of_objects = |name: &str| matches!(name, "apiVersion" | "kind" | "metadata");
        if nullable
            && embedded
            && !open
            && let Some(Value::Object(properties)) = fields.get_mut("properties")
        {
            properties.retain(|name, _| of_objects(name));
        } else {
            fields.remove("properties");
        }
    }
    if open
        && embedded
        && let Some(Value::Array(required)) = fields.get_mut("required")
    {
        required.retain(|name| name != "kind" && name != "apiVersion");
        if required.is_empty() {
            fields.remove("required");
        }
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
pub(super) fn schema(written: Value) -> Value {
    let Value::Object(mut fields) = written else { return written };
    let told = |word: &str| word == "type" || word.starts_with("x-kubernetes-");
    if fields.contains_key("oneOf") && !fields.keys().any(|word| told(word)) {
        fields.insert("type".to_owned(), Value::from("string"));
    }
    say_less(&mut fields);
    if let Some(wrapped) = fields.remove("allOf").as_mut().and_then(|all| all.get_mut(0)?.get_mut("$ref")) {
        fields.insert("$ref".to_owned(), wrapped.take());
    }
    // What v2 has no words for, and what would be taken for a value that somebody has set.
    ["oneOf", "anyOf", "not", "nullable", "default"].iter().for_each(|word| drop(fields.remove(*word)));
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
