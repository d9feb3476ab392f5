//! The schema as it is kept in memory.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::places::Places;
use crate::custom::Structural;
use crate::kind::TypeMeta;
use crate::rules::table::TypeRules;

/// What a value is.
#[derive(Debug, Clone)]
pub struct Schema {
    /// Its type.
    pub shape: Shape,
    /// What stands in its place when it is absent.
    pub default: Option<Value>,
    /// The only values it may have; empty when any will do.
    pub options: Box<[Box<str>]>,
    /// How patches and server-side apply treat it.
    pub merge: Merge,
}

/// The types of values.
#[derive(Debug, Clone)]
pub enum Shape {
    /// Anything: nothing in it is looked at.
    Any,
    /// `true` or `false`.
    Boolean,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// Any number.
    Number,
    /// Text.
    String,
    /// Bytes, written in base64.
    Bytes,
    /// A moment with whole seconds.
    Time,
    /// A moment with microseconds.
    MicroTime,
    /// A quantity such as `100m` or `1Gi`.
    Quantity,
    /// A whole number or text.
    IntOrString,
    /// A list.
    List(Box<Schema>),
    /// A map from text.
    Map(Box<Schema>),
    /// An object with named fields.
    Struct(StructRef),
}

/// How patches and server-side apply treat a value.
#[derive(Debug, Clone, Default)]
pub struct Merge {
    /// How the items of a list are told apart.
    pub list: ListKind,
    /// The fields that tell the items of a [`ListKind::Map`] apart.
    pub keys: Box<[Box<str>]>,
    /// Whether an object or map is replaced as a whole by server-side apply.
    pub atomic: bool,
    /// The field that tells items apart in a strategic merge patch.
    pub patch_key: Option<Box<str>>,
    /// Whether a strategic merge patch merges the list instead of replacing it.
    pub patch_merge: bool,
    /// Whether a strategic merge patch drops the fields that it does not name (`retainKeys`).
    pub retain_keys: bool,
    /// Whether a strategic merge patch replaces the object as a whole.
    pub patch_replace: bool,
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListKind {
    /// Not at all: the list is one value.
    #[default]
    Atomic,
    /// By value.
    Set,
    /// By some of their fields.
    Map,
}

/// An object with named fields.
#[derive(Debug)]
pub struct Struct {
    /// The full name, such as `io.k8s.api.core.v1.Pod`.
    pub name: Box<str>,
    /// The fields, sorted by name.
    pub fields: Box<[Field]>,
    /// Whether fields that it does not name are kept.
    pub open: bool,
    /// Whether it is no built-in type: its fields are kept as they were said, zero or not, and it has no rules.
    pub own: bool,
    /// The type this is the whole object of, when it is one.
    pub type_meta: Option<TypeMeta>,
    /// What a definition says of the whole object, when it is one of a custom kind: it is read and checked by that.
    pub structural: Option<Arc<Structural>>,
    /// What no schema says of it, looked up when it is first needed.
    pub(crate) rules: OnceLock<&'static TypeRules>,
    /// What a new object of it is compared with, made when it is first needed.
    pub(crate) blank: OnceLock<Value>,
    /// Where its fields are, made when one is first looked for.
    pub(super) places: OnceLock<Places>,
}

/// A field of an object.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: Box<str>,
    /// What it holds.
    pub schema: Schema,
    /// Whether the schema says that it must be there.
    pub required: bool,
    /// Whether the field is left out when it has its zero value (`omitempty` on a plain value in Go).
    pub drops_zero: bool,
    /// Whether absence differs from the zero value (a pointer, list or map in Go).
    pub nullable: bool,
    /// What is written when the field is absent: the schema's default, or `null`. Nothing for most fields.
    pub absent: Option<Value>,
    /// Whether it may hold objects of the type that it is a field of, among other things: a schema's `items`.
    pub holds_its_own: bool,
    /// The name of the field's type in messages, when it has one of its own.
    pub go_type: &'static str,
    /// The embedded struct that the upstream type has the field in, as messages name it.
    pub embedded: &'static str,
}

/// A handle to a [`Struct`]: built-in ones are looked up when they are first needed, so that types may contain
/// themselves.
#[derive(Clone)]
pub enum StructRef {
    /// A built-in type.
    Builtin(&'static super::builtin::Lazy),
    /// A type of its own.
    Own(Arc<Struct>),
}

impl Field {
    /// A field that may be absent, and then is not written.
    #[must_use]
    pub fn optional(name: &str, schema: Schema) -> Self {
        Self {
            name: name.into(),
            schema,
            required: false,
            drops_zero: false,
            nullable: true,
            absent: None,
            holds_its_own: false,
            go_type: "",
            embedded: "",
        }
    }
}

impl StructRef {
    /// The type.
    #[must_use]
    pub fn get(&self) -> &Struct {
        match self {
            Self::Builtin(lazy) => lazy.get(),
            Self::Own(own) => own,
        }
    }
}

impl fmt::Debug for StructRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.get().name)
    }
}

impl Struct {
    /// A type of one's own; `open` ones keep fields that they do not name.
    #[must_use]
    pub fn new(name: &str, mut fields: Vec<Field>, open: bool) -> Self {
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            name: name.into(),
            fields: fields.into(),
            open,
            own: true,
            type_meta: None,
            structural: None,
            rules: OnceLock::new(),
            blank: OnceLock::new(),
            places: OnceLock::new(),
        }
    }

    /// A field by name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.places.get_or_init(|| Places::of(&self.fields)).find(&self.fields, name)
    }

    /// The last part of the name, such as `Pod`.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

impl Schema {
    /// A value of a shape, without default, options or merge rules.
    #[must_use]
    pub fn of(shape: Shape) -> Self {
        Self { shape, default: None, options: Box::default(), merge: Merge::default() }
    }

    /// The object type, when the value is one.
    #[must_use]
    pub fn as_struct(&self) -> Option<&Struct> {
        match &self.shape {
            Shape::Struct(object) => Some(object.get()),
            _ => None,
        }
    }

    /// Whether it, or the items of it, may only have some values.
    pub(crate) fn lists_options(&self) -> bool {
        !self.options.is_empty() || self.items().is_some_and(|items| !items.options.is_empty())
    }

    /// Whether there are values inside it that have a schema of their own.
    pub(super) fn holds_more(&self) -> bool {
        matches!(self.shape, Shape::List(_) | Shape::Map(_) | Shape::Struct(_))
    }

    /// What a definition says of the whole object, when it is one of a custom kind.
    #[must_use]
    pub fn structural(&self) -> Option<&Structural> {
        self.as_struct()?.structural.as_deref()
    }

    /// The schema of a field of the object, or of the values of the map.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Schema> {
        match &self.shape {
            Shape::Struct(object) => object.get().field(name).map(|field| &field.schema),
            Shape::Map(values) => Some(values),
            _ => None,
        }
    }

    /// The schema of the items of the list.
    #[must_use]
    pub fn items(&self) -> Option<&Schema> {
        match &self.shape {
            Shape::List(items) => Some(items),
            _ => None,
        }
    }

    /// The schema at a path of field names, through lists and maps (`[]` stands for the items of a list).
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Schema> {
        path.iter().try_fold(self, |schema, step| if *step == "[]" { schema.items() } else { schema.field(step) })
    }
}
