//! A kind: everything that is known of the objects of one resource in one version.

use std::sync::Arc;

use serde::Deserialize;

use crate::encoded::{EncodeError, Encoded, NOTES};
use crate::kind::{GroupResource, Scope, TypeMeta};
use crate::object::Object;
use crate::schema::{self, Field, Schema, Shape, Struct, StructRef};

/// A resource in one version: what the road needs to know to serve it.
#[derive(Debug, Clone)]
pub struct Kind {
    /// The group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind, in camel case.
    pub kind: String,
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
    pub path: Vec<String>,
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
        let meta = schema::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        let mut fields = vec![
            Field::optional("apiVersion", Schema::of(Shape::String)),
            Field::optional("kind", Schema::of(Shape::String)),
        ];
        fields.extend(meta.map(|meta| Field::optional("metadata", meta)));
        let object = Struct::new(&format!("{group}.{version}.{kind}"), fields, true);
        let group_resource = GroupResource::new(group, resource);
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
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
            schema: Schema::of(Shape::Struct(StructRef::Own(Arc::new(object)))),
            storage: true,
            storage_resource: group_resource.clone(),
            group_resource,
            type_meta: Arc::new(type_meta),
            builtin: false,
        }
    }

    /// Encodes an object of this kind, which must be in the stored version.
    ///
    /// # Errors
    /// As [`Encoded::encode`].
    pub fn encode(&self, object: &Object) -> Result<Encoded, EncodeError> {
        let values = self.fields.iter().map(|field| field.value(object)).collect();
        Encoded::encode_with(&self.type_meta, object, values)
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
    fn value(&self, object: &Object) -> Box<str> {
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
