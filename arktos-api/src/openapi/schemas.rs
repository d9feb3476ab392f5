//! Schemas of objects, as OpenAPI writes them.

use std::collections::BTreeMap;

use arktos_core::TypeMeta;
use arktos_core::catalog::Catalog;
use arktos_core::schema::{ListKind, Merge, Schema, Shape, Struct};
use serde_json::{Map, Value, json};

use super::words;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
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

    pub(super) fn finish(self) -> Value {
        self.schemas.into_iter().collect::<Map<_, _>>().into()
    }

    /// A reference to the whole object of a type; `None` when nothing is known of it.
    pub(super) fn object(&mut self, type_meta: &TypeMeta) -> Option<Value> {
        if let Some(kind) = self.catalog.by_type(type_meta)
            && let (Some(own), Some(object)) = (&kind.own, kind.schema.as_struct())
        {
            return Some(self.named(&object.name, |components| components.custom(&own.written, type_meta)));
        }
        let schema = self.catalog.schema(type_meta)?;
        Some(self.schema(&schema))
    }

    /// The schema of a custom kind: what its definition says, and what every object has.
    fn custom(&mut self, written: &Value, type_meta: &TypeMeta) -> Value {
        let mut written = written.clone();
        let meta = self.meta("ObjectMeta");
        if let Value::Object(schema) = &mut written {
            let properties = schema.entry("properties").or_insert_with(|| json!({}));
            properties["apiVersion"] = json!({"type": "string"});
            properties["kind"] = json!({"type": "string"});
            properties["metadata"] = meta;
            words::describe_object(properties);
            let extension = json!([kind_extension(type_meta)]);
            schema.insert("x-kubernetes-group-version-kind".to_owned(), extension);
        }
        written
    }

    /// A reference to the list of objects of a type.
    pub(super) fn list(&mut self, item: &TypeMeta) -> Option<Value> {
        let list_kind =
            self.catalog.by_type(item).map_or_else(|| format!("{}List", item.kind), |kind| kind.list_kind.clone());
        let list = TypeMeta { api_version: item.api_version.clone(), kind: list_kind };
        if let Some(known) = self.object(&list) {
            return Some(known);
        }
        let schema = self.catalog.schema(item)?;
        let object = &schema.as_struct()?.name;
        let name = format!("{}{}", object.strip_suffix(item.kind.as_str()).unwrap_or(object), list.kind);
        let items = self.object(item)?;
        let meta = self.builtin(&format!("{META}.ListMeta"));
        let schema = json!({
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": meta,
                "items": {"type": "array", "items": items},
            },
            "x-kubernetes-group-version-kind": [kind_extension(&list)],
        });
        Some(self.named(&name, |_| schema))
    }

    /// A reference to a type of the API's machinery.
    pub(super) fn meta(&mut self, name: &str) -> Value {
        self.builtin(&format!("{META}.{name}"))
    }

    fn builtin(&mut self, name: &str) -> Value {
        match arktos_core::schema::builtin(name) {
            Some(schema) if schema.as_struct().is_some() => self.schema(&schema),
            _ => self.named(name, |_| json!({"type": "object"})),
        }
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
        let moment = |name: &str| (format!("{META}.{name}"), json!({"type": "string", "format": "date-time"}));
        let written = match &schema.shape {
            Shape::Any => json!({}),
            Shape::Boolean => json!({"type": "boolean"}),
            Shape::Int32 => json!({"type": "integer", "format": "int32"}),
            Shape::Int64 => json!({"type": "integer", "format": "int64"}),
            Shape::Number => json!({"type": "number", "format": "double"}),
            Shape::String => json!({"type": "string"}),
            Shape::Bytes => json!({"type": "string", "format": "byte"}),
            Shape::Time | Shape::MicroTime => {
                let (name, time) = moment(if matches!(schema.shape, Shape::Time) { "Time" } else { "MicroTime" });
                self.named(&name, |_| time)
            }
            Shape::Quantity => self.named(QUANTITY, |_| json!({"oneOf": [{"type": "string"}, {"type": "number"}]})),
            Shape::IntOrString => self.named(
                INT_OR_STRING,
                |_| json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
            ),
            Shape::List(items) => json!({"type": "array", "items": self.schema(items)}),
            Shape::Map(values) => json!({"type": "object", "additionalProperties": self.schema(values)}),
            Shape::Struct(object) => {
                let object = object.get();
                if object.name.is_empty() {
                    self.structure(object)
                } else {
                    self.named(&object.name, |components| components.structure(object))
                }
            }
        };
        decorate(written, schema)
    }

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
            written["x-kubernetes-group-version-kind"] = json!([kind_extension(type_meta)]);
            if let Some(properties) = written.get_mut("properties") {
                words::describe_object(properties);
            }
        }
        if object.name.strip_prefix(META) == Some(".ObjectMeta") {
            words::describe_object_meta(&mut written);
        }
        written
    }
}

/// Adds what Arktos's own clients know of every object to the schemas of a document.
pub(super) fn add_tenant(schemas: &mut Value) {
    for (name, field, schema) in [
        ("ObjectMeta", "tenant", json!({"type": "string"})),
        ("ObjectMeta", "hashKey", json!({"type": "integer", "format": "int64"})),
        ("OwnerReference", "hashKey", json!({"type": "integer", "format": "int64"})),
    ] {
        let known = schemas.get_mut(format!("{META}.{name}"));
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
