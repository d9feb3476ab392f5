//! Kinds of one's own: a schema for [`Kind::custom`], and a catalog with them.
//!
//! ```
//! use arktos_core::{Catalog, Kind, Scope};
//! use serde_json::json;
//!
//! let schema = json!({"properties": {"spec": {
//!     "type": "object",
//!     "required": ["dish"],
//!     "properties": {"dish": {"type": "string"}, "servings": {"type": "integer", "default": 2}},
//! }}});
//! let recipe = Kind::custom("example.org", "v1", "Recipe", "recipes", Scope::Namespace)
//!     .with_schema(&schema)?
//!     .with_column("Dish", "string", "spec.dish")
//!     .with_field("spec.dish");
//! let catalog = Catalog::builtin().with([recipe])?;
//! assert!(catalog.by_path("example.org", "v1", "recipes").is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Catalog;
use super::kind::{Column, Kind, SelectableField};
use crate::schema::{self, Field, ListKind, Merge, Schema, Shape, Struct, StructRef};

/// A schema that says something which would not be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schema at {path:?}: {what}")]
pub struct InvalidSchema {
    path: String,
    what: String,
}

/// A kind that cannot be added, because there is one with its group, version and resource, or its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is a kind {0} already")]
pub struct KindExists(String);

impl Catalog {
    /// This catalog and a few kinds more.
    ///
    /// # Errors
    /// [`KindExists`].
    pub fn with(&self, kinds: impl IntoIterator<Item = Kind>) -> Result<Arc<Self>, KindExists> {
        let mut catalog = Self::new(self.kinds().cloned());
        for kind in kinds {
            let taken = catalog.by_path(&kind.group, &kind.version, &kind.resource).is_some()
                || catalog.by_type(&kind.type_meta).is_some();
            if taken {
                return Err(KindExists(format!("{}, {}", kind.type_meta.api_version, kind.kind)));
            }
            catalog.add(Arc::new(kind));
        }
        Ok(Arc::new(catalog))
    }
}

impl Kind {
    /// Lets objects have the fields that a JSON schema of the whole object names, and no others: those are dropped, or
    /// refused, as `fieldValidation` asks. `apiVersion`, `kind` and `metadata` need not be named. There is a `status`
    /// subresource if the schema has a `status`.
    ///
    /// Understood are `type`, `properties`, `required`, `items`, `additionalProperties`, `enum` of texts, `default`,
    /// `format` where it says how wide an integer is, `x-kubernetes-preserve-unknown-fields`,
    /// `x-kubernetes-int-or-string`, `x-kubernetes-list-type`, `x-kubernetes-list-map-keys`, `x-kubernetes-map-type`,
    /// and what only describes.
    ///
    /// # Errors
    /// [`InvalidSchema`] when it says anything else: what is not understood would not be checked.
    pub fn with_schema(mut self, schema: &Value) -> Result<Self, InvalidSchema> {
        let mut root = structure("", schema)?;
        root.name = format!("{}.{}.{}", self.group, self.version, self.kind).into();
        root.type_meta = Some((*self.type_meta).clone());
        let has_status = root.field("status").is_some();
        let own = ["apiVersion", "kind", "metadata"];
        let mut fields: Vec<Field> = root.fields.into_iter().filter(|field| !own.contains(&&*field.name)).collect();
        fields.extend([
            Field::optional("apiVersion", Schema::of(Shape::String)),
            Field::optional("kind", Schema::of(Shape::String)),
        ]);
        let meta = schema::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        fields.extend(meta.map(|meta| Field::optional("metadata", meta)));
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        root.fields = fields.into();
        if !has_status {
            self.subresources.retain(|subresource| subresource.name != "status");
        }
        self.schema = Schema::of(Shape::Struct(StructRef::Own(Arc::new(root))));
        Ok(self)
    }

    /// Adds a column to the kind's table, which begins with the name: a heading, the type of the cells (`string`,
    /// `integer`, `number`, `boolean`, `date`) and where the value stands, as in `spec.servings`.
    #[must_use]
    pub fn with_column(mut self, name: &str, type_name: &str, path: &str) -> Self {
        if self.columns.is_empty() {
            self.columns.push(column("Name", "string", "name", "metadata.name"));
        }
        self.columns.push(column(name, type_name, "", path));
        self
    }

    /// Lets objects be selected by a field, such as `spec.dish`.
    #[must_use]
    pub fn with_field(mut self, name: &str) -> Self {
        let path = name.split('.').map(str::to_owned).collect();
        self.fields.push(SelectableField { name: name.to_owned(), path, otherwise: Vec::new(), absent: "" });
        self
    }

    /// Adds a short form of the resource's name.
    #[must_use]
    pub fn with_short_name(mut self, name: &str) -> Self {
        self.short_names.push(name.to_owned());
        self
    }
}

fn column(name: &str, type_name: &str, format: &str, path: &str) -> Column {
    Column {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        format: format.to_owned(),
        priority: 0,
        about: String::new(),
        path: path.split('.').map(str::to_owned).collect(),
    }
}

/// What may stand in a schema, beside what only describes.
const KEYWORDS: [&str; 15] = [
    "type",
    "format",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "enum",
    "default",
    "description",
    "title",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
];

fn fault(path: &str, what: impl Into<String>) -> InvalidSchema {
    InvalidSchema { path: path.to_owned(), what: what.into() }
}

fn keywords<'a>(path: &str, schema: &'a Value) -> Result<&'a Map<String, Value>, InvalidSchema> {
    let map = schema.as_object().ok_or_else(|| fault(path, "not an object"))?;
    match map.keys().find(|keyword| !KEYWORDS.contains(&keyword.as_str())) {
        Some(keyword) => Err(fault(path, format!("{keyword:?} would not be checked: leave it out"))),
        None => Ok(map),
    }
}

fn texts<'a>(path: &str, map: &'a Map<String, Value>, keyword: &str) -> Result<Vec<&'a str>, InvalidSchema> {
    let Some(list) = map.get(keyword) else { return Ok(Vec::new()) };
    let texts = list.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
    texts.ok_or_else(|| fault(path, format!("{keyword:?} is not a list of texts")))
}

fn structure(path: &str, schema: &Value) -> Result<Struct, InvalidSchema> {
    let map = keywords(path, schema)?;
    let required = texts(path, map, "required")?;
    let mut fields = Vec::new();
    let none = Map::new();
    for (name, schema) in map.get("properties").and_then(Value::as_object).unwrap_or(&none) {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let schema = value(&below, schema)?;
        let absent = schema.default.clone();
        let required = required.contains(&name.as_str());
        fields.push(Field { required, absent, ..Field::optional(name, schema) });
    }
    if let Some(unknown) = required.iter().find(|name| !fields.iter().any(|field| *field.name == ***name)) {
        return Err(fault(path, format!("{unknown:?} is required and not among the properties")));
    }
    Ok(Struct::new("", fields, is_true(map, "x-kubernetes-preserve-unknown-fields")))
}

fn is_true(map: &Map<String, Value>, keyword: &str) -> bool {
    map.get(keyword) == Some(&Value::Bool(true))
}

fn value(path: &str, schema: &Value) -> Result<Schema, InvalidSchema> {
    let map = keywords(path, schema)?;
    let options = texts(path, map, "enum")?.into_iter().map(Into::into).collect();
    let text = |keyword: &str| map.get(keyword).and_then(Value::as_str);
    let merge = Merge {
        list: match text("x-kubernetes-list-type") {
            Some("set") => ListKind::Set,
            Some("map") => ListKind::Map,
            _ => ListKind::Atomic,
        },
        keys: texts(path, map, "x-kubernetes-list-map-keys")?.into_iter().map(Into::into).collect(),
        atomic: text("x-kubernetes-map-type") == Some("atomic"),
        ..Merge::default()
    };
    Ok(Schema { shape: shape(path, schema, map)?, default: map.get("default").cloned(), options, merge })
}

fn shape(path: &str, schema: &Value, map: &Map<String, Value>) -> Result<Shape, InvalidSchema> {
    let text = |keyword: &str| map.get(keyword).and_then(Value::as_str);
    if is_true(map, "x-kubernetes-int-or-string") {
        return Ok(Shape::IntOrString);
    }
    Ok(match (text("type"), text("format")) {
        (Some("boolean"), _) => Shape::Boolean,
        (Some("integer"), Some("int32")) => Shape::Int32,
        (Some("integer"), _) => Shape::Int64,
        (Some("number"), _) => Shape::Number,
        (Some("string"), Some("date-time")) => Shape::Time,
        (Some("string"), Some("byte")) => Shape::Bytes,
        (Some("string"), None) => Shape::String,
        (Some("string"), Some(format)) => {
            return Err(fault(path, format!("the format {format:?} would not be checked")));
        }
        (Some("array"), _) => match map.get("items") {
            Some(items) => Shape::List(Box::new(value(&format!("{path}[]"), items)?)),
            None => return Err(fault(path, "an array needs \"items\"")),
        },
        (Some("object"), _) => match map.get("additionalProperties") {
            Some(Value::Bool(true)) => Shape::Map(Box::new(Schema::of(Shape::Any))),
            Some(values @ Value::Object(_)) => Shape::Map(Box::new(value(&format!("{path}.*"), values)?)),
            _ => Shape::Struct(StructRef::Own(Arc::new(structure(path, schema)?))),
        },
        (None, _) if is_true(map, "x-kubernetes-preserve-unknown-fields") => Shape::Any,
        (other, _) => return Err(fault(path, format!("no such type: {}", other.unwrap_or("none")))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoded::Dialect;
    use crate::kind::Scope;
    use crate::{rules, schema};
    use serde_json::json;

    fn recipe() -> Kind {
        let schema = json!({"properties": {
            "spec": {"type": "object", "required": ["dish"], "properties": {
                "dish": {"type": "string"},
                "servings": {"type": "integer", "default": 2},
                "vegan": {"type": "boolean", "default": true},
                "course": {"type": "string", "enum": ["main", "dessert"], "default": "main"},
                "steps": {"type": "array", "items": {"type": "object", "required": ["do"], "properties": {
                    "do": {"type": "string"}, "minutes": {"type": "integer", "default": 5},
                }}},
                "notes": {"type": "object", "additionalProperties": {"type": "string"}},
            }},
        }});
        let kind = Kind::custom("example.org", "v1", "Recipe", "recipes", Scope::Namespace);
        kind.with_schema(&schema).expect("a schema").with_column("Dish", "string", "spec.dish").with_field("spec.dish")
    }

    fn read(body: Value) -> Result<schema::Decoded, crate::Status> {
        schema::read(&recipe(), body.to_string().as_bytes(), Dialect::Plain)
    }

    #[test]
    fn defaults_are_set_at_every_level_and_what_was_said_is_kept() {
        let body = json!({"metadata": {"name": "a"}, "spec": {
            "dish": "", "servings": 0, "vegan": false, "notes": {}, "steps": [{"do": "stir"}], "bogus": 1,
        }});
        let decoded = read(body).expect("reads");
        let spec = json!({
            "dish": "", "servings": 0, "vegan": false, "course": "main", "notes": {},
            "steps": [{"do": "stir", "minutes": 5}],
        });
        assert_eq!(decoded.object.at(&["spec"]), Some(&spec));
        assert_eq!(decoded.faults.strict_text(), "strict decoding error: unknown field \"spec.bogus\"");
    }

    #[test]
    fn what_is_missing_or_not_among_the_options_is_refused() {
        let body = json!({"metadata": {"name": "a"}, "spec": {"course": "snack", "steps": [{}]}});
        let object = read(body).expect("reads").object;
        let status = rules::admit_create(&recipe(), object).expect_err("refused");
        let causes = status.details.expect("details").causes;
        let told: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!((status.code, told), (422, vec!["spec.course", "spec.dish", "spec.steps[0].do"]));
    }

    #[test]
    fn values_of_the_wrong_type_are_refused() {
        let status = read(json!({"spec": {"dish": "a", "servings": "many"}})).expect_err("refused");
        assert_eq!(
            (status.code, status.message.as_str()),
            (
                400,
                "Recipe in version \"v1\" cannot be handled as a Recipe: spec.servings in body must be of type \
                 integer: \"string\""
            )
        );
    }

    #[test]
    fn a_schema_that_would_not_be_checked_is_refused() {
        for (schema, path) in [
            (json!({"type": "integer", "minimum": 1}), "spec"),
            (json!({"type": "string", "format": "uuid"}), "spec"),
            (json!({"type": "object", "properties": {"a": {"type": "array"}}}), "spec.a"),
            (json!({"type": "object", "required": ["b"]}), "spec"),
            (json!({"type": "text"}), "spec"),
            (json!({"type": "integer", "enum": [1, 2]}), "spec"),
        ] {
            let kind = Kind::custom("example.org", "v1", "Recipe", "recipes", Scope::Tenant);
            let refused = kind.with_schema(&json!({"properties": {"spec": schema}})).expect_err("refused");
            assert_eq!(refused.path, path, "{refused}");
        }
    }

    #[test]
    fn a_catalog_takes_a_kind_once() {
        let catalog = Catalog::builtin().with([recipe()]).expect("is added");
        assert!(catalog.by_path("example.org", "v1", "recipes").is_some_and(|kind| !kind.has_status()));
        assert_eq!(catalog.kinds().count(), Catalog::builtin().kinds().count() + 1);
        assert!(catalog.with([recipe()]).is_err());
        assert!(Catalog::builtin().by_path("example.org", "v1", "recipes").is_none());
    }
}
