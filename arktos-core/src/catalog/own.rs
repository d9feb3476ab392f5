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

use serde_json::Value;

use super::Catalog;
use super::kind::{Column, Kind, SelectableField};
use crate::custom::{self, JsonPath};
use crate::rules::fault::Faults;

/// A schema that is not structural.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schema at {path:?}: {what}")]
pub struct InvalidSchema {
    path: String,
    what: String,
}

/// A kind that cannot be added, because there is one with its group, version and resource, or its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kind {0} exists already")]
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
    /// It is a structural schema, as custom resource definitions have them: types, limits, defaults, list types,
    /// rules in CEL. The type of the whole object, which is one, may be left out.
    ///
    /// # Errors
    /// [`InvalidSchema`] when it is not structural.
    pub fn with_schema(mut self, schema: &Value) -> Result<Self, InvalidSchema> {
        let mut schema = schema.clone();
        if let Value::Object(map) = &mut schema {
            map.entry("type").or_insert_with(|| "object".into());
        }
        let mut faults = Faults::default();
        custom::schema_faults(&schema, "", &mut faults);
        if let Some(fault) = faults.0.into_iter().next() {
            return Err(InvalidSchema { path: fault.field.trim_start_matches('.').to_owned(), what: fault.message });
        }
        self.set_schema(&schema);
        if schema.pointer("/properties/status").is_none() {
            self.subresources.retain(|subresource| subresource.name != "status");
        }
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
        path: JsonPath::parse(&format!(".{path}")).unwrap_or_default(),
    }
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
        assert_eq!((status.code, told), (422, vec!["spec.dish", "spec.course", "spec.steps[0].do"]));
    }

    #[test]
    fn values_of_the_wrong_type_are_refused() {
        let object =
            read(json!({"metadata": {"name": "a"}, "spec": {"dish": "a", "servings": "many"}})).expect("reads").object;
        let causes = rules::admit_create(&recipe(), object).expect_err("refused").details.expect("details").causes;
        let told: Vec<&str> = causes.iter().map(|cause| cause.message.as_str()).collect();
        let why = "Invalid value: \"string\": spec.servings in body must be of type integer: \"string\"";
        assert_eq!(told, [why]);
    }

    #[test]
    fn a_schema_that_is_not_structural_is_refused() {
        for (schema, path) in [
            (json!({"type": "array"}), "properties[spec].items"),
            (json!({}), "properties[spec].type"),
            (json!({"type": "text"}), "properties[spec].type"),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false}),
                "properties[spec].additionalProperties",
            ),
            (json!({"type": "integer", "default": "x"}), "properties[spec].default"),
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
