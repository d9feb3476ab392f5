//! A kind: everything that is known of the objects of one resource in one version.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Catalog;
use crate::custom::{JsonPath, Own, Structural};
use crate::encoded::{EncodeError, Encoded, NOTES};
use crate::kind::{GroupResource, Scope, TypeMeta};
use crate::object::Object;
use crate::schema::{Schema, Shape};

/// As a note: the schema that an object of a custom kind was written under. What has another is looked at when it is
/// read: defaults may have been added since, or fields dropped.
const SCHEMA: &str = "schema";

/// A resource in one version: what the road needs to know to serve it.
#[derive(Debug, Clone)]
pub struct Kind {
    /// The group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind, in camel case.
    pub kind: String,
    /// The kind of lists of it.
    pub list_kind: String,
    /// The resource: plural, lower case.
    pub resource: String,
    /// The resource in the singular.
    pub singular: String,
    /// Short forms of the resource.
    pub short_names: Vec<String>,
    /// Groups of resources it belongs to, such as `all`.
    pub categories: Vec<String>,
    /// Where its objects live.
    pub scope: Scope,
    /// What can be done with it.
    pub verbs: Vec<String>,
    /// Its subresources.
    pub subresources: Vec<Subresource>,
    /// The columns of its table.
    pub columns: Vec<Column>,
    /// The fields it can be selected by beside `metadata.name` and `metadata.namespace`, in stored order.
    pub fields: Vec<SelectableField>,
    /// What its objects look like.
    pub schema: Schema,
    /// Whether objects are stored in this version. Those of other versions are converted: [`crate::rules::convert`].
    pub storage: bool,
    /// As paths, messages and authorization name it.
    pub group_resource: GroupResource,
    /// Under which its objects are stored. Differs from `group_resource` for `events.events.k8s.io`: they are `events`.
    pub storage_resource: GroupResource,
    /// `apiVersion` and `kind`.
    pub type_meta: Arc<TypeMeta>,
    /// Whether it is built in. Objects of other kinds keep what their schema leaves open.
    pub builtin: bool,
    /// What is known of a custom kind beside.
    pub own: Option<Arc<Own>>,
}

/// A part of a resource with a path of its own.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// The last part of the path, such as `status`.
    pub name: String,
    /// The type of the bodies.
    pub kind: TypeMeta,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

/// A column of a table.
#[derive(Debug, Clone, Deserialize)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// The type of the cells.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The format of the cells.
    pub format: String,
    /// Zero for columns that are always shown.
    pub priority: i32,
    /// What the column shows.
    #[serde(default)]
    pub about: String,
    /// Where the value stands, for kinds that no printer knows.
    #[serde(skip)]
    pub path: JsonPath,
}

/// A field that objects can be selected by.
#[derive(Debug, Clone)]
pub struct SelectableField {
    /// The name in a field selector; empty when this version has no name for it.
    pub name: String,
    /// Where the value stands in the stored object.
    pub path: Vec<String>,
    /// Where it stands when that field is empty.
    pub otherwise: Vec<String>,
    /// The value of an object that does not have the field.
    pub absent: &'static str,
}

impl Kind {
    /// A kind of one's own: `metadata` is as of any object, and all other fields are kept as they come. It can be read,
    /// written and watched like any other, and has a `status` subresource. Set `schema` to say more.
    #[must_use]
    pub fn custom(group: &str, version: &str, kind: &str, resource: &str, scope: Scope) -> Self {
        let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        let type_meta = TypeMeta::new(group, version, kind);
        let group_resource = GroupResource::new(group, resource);
        let mut kind = Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            list_kind: format!("{kind}List"),
            resource: resource.to_owned(),
            singular: kind.to_lowercase(),
            short_names: Vec::new(),
            categories: Vec::new(),
            scope,
            verbs: verbs.map(str::to_owned).to_vec(),
            subresources: vec![Subresource {
                name: "status".to_owned(),
                kind: type_meta.clone(),
                verbs: ["get", "patch", "update"].map(str::to_owned).to_vec(),
            }],
            columns: Vec::new(),
            fields: Vec::new(),
            schema: Schema::of(Shape::Any),
            storage: true,
            storage_resource: group_resource.clone(),
            group_resource,
            type_meta: Arc::new(type_meta),
            builtin: false,
            own: None,
        };
        kind.set_schema(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        kind
    }

    /// Takes what a schema says of the whole object.
    pub(super) fn set_schema(&mut self, schema: &Value) {
        let compiled = Structural::compile(schema);
        let own = Own::of_program(&self.version, compiled, schema.clone());
        let compiled = own.schema.clone();
        self.own = Some(Arc::new(own));
        self.set_structure(compiled);
    }

    /// Encodes an object of this kind, which must be in the stored version.
    ///
    /// # Errors
    /// As [`Encoded::encode`].
    pub fn encode(&self, object: &Object) -> Result<Encoded, EncodeError> {
        let values = self.fields.iter().map(|field| field.value(object)).collect();
        let Some(own) = &self.own else { return Encoded::encode_with(&self.type_meta, object, values) };
        let mut object = object.clone();
        object.notes.insert(SCHEMA.to_owned(), own.mark.to_string());
        Encoded::encode_with(&self.type_meta, &object, values)
    }

    /// Whether an object is shown in this version as it is stored: in the form that its schema wants, and no other.
    #[must_use]
    pub fn shows_as_stored(&self, stored: &Encoded) -> bool {
        let header = stored.header();
        match &self.own {
            None => self.storage,
            Some(own) => **header.type_meta() == *self.type_meta && header.note(SCHEMA) == Some(&*own.mark),
        }
    }

    /// Whether it is a version that only Arktos's own clients ask for: [`Catalog::with_old_versions`].
    #[must_use]
    pub fn is_old(&self) -> bool {
        self.builtin && !self.storage && Catalog::builtin().by_type(&self.type_meta).is_none()
    }

    /// The position of a selectable field among the values of [`Header::fields`](crate::Header::fields).
    #[must_use]
    pub fn field(&self, name: &str) -> Option<usize> {
        if name.is_empty() { None } else { self.fields.iter().position(|field| field.name == name) }
    }

    /// A subresource by name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// Whether status is written through a path of its own.
    #[must_use]
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Whether a verb can be used on the resource itself.
    #[must_use]
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// Whether objects live in a namespace.
    #[must_use]
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespace
    }
}

impl SelectableField {
    pub(crate) fn value(&self, object: &Object) -> Box<str> {
        let text = value_at(object, &self.path);
        let text = if text.is_empty() && !self.otherwise.is_empty() { value_at(object, &self.otherwise) } else { text };
        if text.is_empty() { self.absent.into() } else { text }
    }
}

fn value_at(object: &Object, path: &[String]) -> Box<str> {
    let path: smallvec::SmallVec<[&str; 4]> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        [NOTES, note] => object.notes.get(*note).map_or("", String::as_str).into(),
        path => crate::encoded::field_text(object.at(path)),
    }
}
