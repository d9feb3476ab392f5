//! Schemas of objects, as OpenAPI writes them.

use std::collections::BTreeMap;

use arktos_core::TypeMeta;
use arktos_core::catalog::{Catalog, Kind};
use arktos_core::schema::{self, ListKind, Merge, Schema, Shape, Struct};
use serde_json::{Map, Value, json};

use super::{versions, words};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
/// Where a schema says of which types it is.
pub(super) const KINDS: &str = "x-kubernetes-group-version-kind";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// The schemas that a document refers to. Each type is written once, by its name.
pub(super) struct Components<'a> {
    catalog: &'a Catalog,
    schemas: BTreeMap<String, Value>,
}

impl<'a> Components<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        Self { catalog, schemas: BTreeMap::new() }
    }

    /// All of them. What every version has under its own name is said to be of these versions.
    pub(super) fn finish(self, versions: &[(&str, &str)]) -> Map<String, Value> {
        let mut schemas: Map<String, Value> = self.schemas.into_iter().collect();
        versions::say(&mut schemas, versions);
        schemas
    }

    /// A reference to the whole object of a type; `None` when nothing is known of it.
    pub(super) fn object(&mut self, type_meta: &TypeMeta) -> Option<Value> {
        if let Some(kind) = self.catalog.by_type(type_meta)
            && let (Some(own), Some(object)) = (&kind.own, kind.schema.as_struct())
        {
            return Some(self.named(&object.name, |components| components.custom(&own.written, &kind)));
        }
        let schema = self.catalog.schema(type_meta)?;
        Some(self.schema(&schema))
    }

    /// The schema of a custom kind: what its definition says, and what every object has.
    fn custom(&mut self, written: &Value, kind: &Kind) -> Value {
        let mut written = written.clone();
        self.complete(&mut written);
        if let Value::Object(schema) = &mut written {
            self.add_object(schema);
            add_extensions(schema, &kind.type_meta, kind);
        }
        written
    }

    /// Adds to what a definition says what follows from it: the fields of objects in the object, and which types a
    /// number or text has.
    fn complete(&mut self, written: &mut Value) {
        let Value::Object(fields) = written else { return };
        for name in ["items", "additionalProperties"] {
            if let Some(inner) = fields.get_mut(name) {
                self.complete(inner);
            }
        }
        if let Some(Value::Object(properties)) = fields.get_mut("properties") {
            properties.values_mut().for_each(|inner| self.complete(inner));
        }
        let is_set = |fields: &Map<String, Value>, word: &str| fields.get(word) == Some(&Value::Bool(true));
        if is_set(fields, "x-kubernetes-int-or-string") {
            let types = json!([{"type": "integer"}, {"type": "string"}]);
            let said = fields.get("anyOf") == Some(&types)
                || fields.get("allOf").and_then(|all| all.get(0)?.get("anyOf")) == Some(&types);
            if !said && !fields.contains_key("anyOf") {
                fields.insert("anyOf".to_owned(), types);
            } else if !said && let Value::Array(all) = fields.entry("allOf").or_insert_with(|| json!([])) {
                all.insert(0, json!({"anyOf": types}));
            }
        }
        if is_set(fields, "x-kubernetes-embedded-resource") {
            self.add_object(fields);
            if let Value::Array(required) = fields.entry("required").or_insert_with(|| json!([])) {
                for name in ["kind", "apiVersion"] {
                    if !required.iter().any(|known| known == name) {
                        required.push(Value::from(name));
                    }
                }
            }
        }
    }

    /// Sets the fields that every object has.
    fn add_object(&mut self, schema: &mut Map<String, Value>) {
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        properties["apiVersion"] = json!({"type": "string"});
        properties["kind"] = json!({"type": "string"});
        properties["metadata"] = self.meta("ObjectMeta");
        words::describe_object(properties);
    }

    /// A reference to the list of objects of a type.
    pub(super) fn list(&mut self, item: &TypeMeta) -> Option<Value> {
        let kind = self.catalog.by_type(item);
        let list_kind = kind.as_ref().map_or_else(|| format!("{}List", item.kind), |kind| kind.list_kind.clone());
        let list = TypeMeta { api_version: item.api_version.clone(), kind: list_kind };
        if let Some(known) = self.object(&list) {
            return Some(known);
        }
        let schema = self.catalog.schema(item)?;
        let object = &schema.as_struct()?.name;
        let name = format!("{}{}", object.strip_suffix(item.kind.as_str()).unwrap_or(object), list.kind);
        let items = self.object(item)?;
        let meta = self.builtin(&format!("{META}.ListMeta"));
        let mut schema = Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("required".to_owned(), json!(["items"])),
            (
                "properties".to_owned(),
                json!({
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": meta,
                    "items": {"type": "array", "items": items},
                }),
            ),
        ]);
        match kind {
            Some(kind) => add_extensions(&mut schema, &list, &kind),
            None => drop(schema.insert(KINDS.to_owned(), json!([kind_extension(&list)]))),
        }
        Some(self.named(&name, |_| Value::Object(schema)))
    }

    /// A reference to a type of the API's machinery.
    pub(super) fn meta(&mut self, name: &str) -> Value {
        self.builtin(&format!("{META}.{name}"))
    }

    /// A reference to a type of the data files, which is written as it stands there.
    pub(super) fn builtin(&mut self, name: &str) -> Value {
        self.named(name, |components| {
            let written = schema::written(name).and_then(|text| serde_json::from_str(text).ok());
            let mut written = written.map_or_else(|| json!({"type": "object"}), |one| components.referring(one));
            if written.get(KINDS).is_some()
                && let Some(properties) = written.get_mut("properties")
            {
                words::describe_object(properties);
            }
            if name.strip_prefix(META) == Some(".ObjectMeta") {
                words::describe_object_meta(&mut written);
            }
            written
        })
    }

    /// What the data files say, with references as documents have them. Nothing may stand beside one: it is wrapped.
    fn referring(&mut self, written: Value) -> Value {
        let Value::Object(fields) = written else { return written };
        let referring = fields.into_iter().map(|(name, value)| {
            let value = match (name.as_str(), value) {
                ("items" | "additionalProperties", inner) => self.referring(inner),
                ("properties", Value::Object(all)) => {
                    let all = all.into_iter().map(|(name, one)| (name, self.referring(one)));
                    all.collect::<Map<_, _>>().into()
                }
                (_, value) => value,
            };
            (name, value)
        });
        let mut fields: Map<String, Value> = referring.collect();
        if let Some(Value::String(target)) = fields.remove("ref") {
            let reference = self.builtin(&target);
            if fields.is_empty() {
                return reference;
            }
            fields.insert("allOf".to_owned(), Value::Array(vec![reference]));
        }
        Value::Object(fields)
    }

    /// A reference to a type, which is written when it is met for the first time.
    fn named(&mut self, name: &str, write: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.schemas.contains_key(name) {
            self.schemas.insert(name.to_owned(), Value::Null); // so that a type may contain itself
            let written = write(self);
            self.schemas.insert(name.to_owned(), written);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// A value's schema, or a reference to it.
    fn schema(&mut self, schema: &Schema) -> Value {
        let written = match &schema.shape {
            Shape::Any => json!({}),
            Shape::Boolean => json!({"type": "boolean"}),
            Shape::Int32 => json!({"type": "integer", "format": "int32"}),
            Shape::Int64 => json!({"type": "integer", "format": "int64"}),
            Shape::Number => json!({"type": "number", "format": "double"}),
            Shape::String => json!({"type": "string"}),
            Shape::Bytes => json!({"type": "string", "format": "byte"}),
            Shape::Time => self.meta("Time"),
            Shape::MicroTime => self.meta("MicroTime"),
            Shape::Quantity => self.builtin(QUANTITY),
            Shape::IntOrString => self.builtin(INT_OR_STRING),
            Shape::List(items) => json!({"type": "array", "items": self.schema(items)}),
            Shape::Map(values) => json!({"type": "object", "additionalProperties": self.schema(values)}),
            Shape::Struct(object) => {
                let object = object.get();
                if object.name.is_empty() {
                    self.structure(object)
                } else if schema::written(&object.name).is_some() {
                    self.builtin(&object.name)
                } else {
                    self.named(&object.name, |components| components.structure(object))
                }
            }
        };
        decorate(written, schema)
    }

    /// A type that the data files do not have: an old form of one that they have, or an embedder's.
    fn structure(&mut self, object: &Struct) -> Value {
        let properties: Map<String, Value> =
            object.fields.iter().map(|field| (field.name.to_string(), self.schema(&field.schema))).collect();
        let mut written = json!({"type": "object"});
        if !properties.is_empty() {
            written["properties"] = Value::Object(properties);
        }
        let required: Vec<&str> =
            object.fields.iter().filter(|field| field.required).map(|field| &*field.name).collect();
        if !required.is_empty() {
            written["required"] = Value::from(required);
        }
        if object.open {
            written["x-kubernetes-preserve-unknown-fields"] = Value::Bool(true);
        }
        if let Some(type_meta) = &object.type_meta {
            written[KINDS] = json!([kind_extension(type_meta)]);
            if let Some(properties) = written.get_mut("properties") {
                words::describe_object(properties);
            }
        }
        written
    }
}

/// Says of a custom kind, or its list, which type it is and which fields of its own it is selected by.
fn add_extensions(schema: &mut Map<String, Value>, type_meta: &TypeMeta, kind: &Kind) {
    schema.insert(KINDS.to_owned(), json!([kind_extension(type_meta)]));
    let fields = kind.fields.iter().filter(|field| kind.own.is_some() && !field.name.is_empty());
    let fields: Vec<Value> = fields.map(|field| json!({"fieldPath": field.name})).collect();
    if !fields.is_empty() {
        schema.insert("x-kubernetes-selectable-fields".to_owned(), Value::from(fields));
    }
}

/// Adds what Arktos's own clients know of every object to the schemas of a document.
pub(super) fn add_tenant(schemas: &mut Map<String, Value>) {
    for (name, field, schema) in [
        ("ObjectMeta", "tenant", json!({"type": "string"})),
        ("ObjectMeta", "hashKey", json!({"type": "integer", "format": "int64"})),
        ("OwnerReference", "hashKey", json!({"type": "integer", "format": "int64"})),
    ] {
        let known = schemas.get_mut(&format!("{META}.{name}"));
        if let Some(Value::Object(properties)) = known.and_then(|known| known.get_mut("properties")) {
            properties.insert(field.to_owned(), schema);
        }
    }
}

/// A type, as `x-kubernetes-group-version-kind` names it.
pub(super) fn kind_extension(type_meta: &TypeMeta) -> Value {
    json!({"group": type_meta.group(), "version": type_meta.version(), "kind": type_meta.kind})
}

/// Adds what is said of a value beside its type. Nothing may stand beside a `$ref`, so that is wrapped.
fn decorate(written: Value, schema: &Schema) -> Value {
    let mut extra = Map::new();
    if let Some(default) = &schema.default {
        extra.insert("default".to_owned(), default.clone());
    }
    if !schema.options.is_empty() {
        extra.insert("enum".to_owned(), schema.options.iter().map(|option| &**option).collect());
    }
    merge_extensions(&mut extra, &schema.shape, &schema.merge);
    if extra.is_empty() {
        return written;
    }
    let mut whole = match written {
        Value::Object(fields) if !fields.contains_key("$ref") => fields,
        reference => Map::from_iter([("allOf".to_owned(), Value::Array(vec![reference]))]),
    };
    whole.extend(extra);
    Value::Object(whole)
}

fn merge_extensions(extra: &mut Map<String, Value>, shape: &Shape, merge: &Merge) {
    let mut add = |name: &str, value: Value| extra.insert(format!("x-kubernetes-{name}"), value);
    if matches!(shape, Shape::List(_)) {
        match merge.list {
            ListKind::Atomic => add("list-type", Value::from("atomic")),
            ListKind::Set => add("list-type", Value::from("set")),
            ListKind::Map => {
                add("list-map-keys", merge.keys.iter().map(|key| &**key).collect());
                add("list-type", Value::from("map"))
            }
        };
    }
    if merge.atomic {
        add("map-type", Value::from("atomic"));
    }
    if let Some(key) = &merge.patch_key {
        add("patch-merge-key", Value::from(&**key));
    }
    let strategies =
        [("merge", merge.patch_merge), ("retainKeys", merge.retain_keys), ("replace", merge.patch_replace)];
    let strategies: Vec<&str> = strategies.iter().filter(|(_, holds)| *holds).map(|(name, _)| *name).collect();
    if !strategies.is_empty() {
        add("patch-strategy", Value::from(strategies.join(",")));
    }
}
