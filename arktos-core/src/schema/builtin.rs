//! The built-in types: the data files' schemas, built when they are first asked for.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::model::{Field, ListKind, Merge, Schema, Shape, Struct, StructRef};
use crate::kind::TypeMeta;

/// One file a group version; `arktos.json` holds the project's own kinds, `facts.json` what schemas leave out.
const FILES: &[&str] = &[
    include_str!("../../data/schemas/meta.k8s.io_v1.json"),
    include_str!("../../data/schemas/core_v1.json"),
    include_str!("../../data/schemas/admissionregistration.k8s.io_v1.json"),
    include_str!("../../data/schemas/apiextensions.k8s.io_v1.json"),
    include_str!("../../data/schemas/apiregistration.k8s.io_v1.json"),
    include_str!("../../data/schemas/apps_v1.json"),
    include_str!("../../data/schemas/authentication.k8s.io_v1.json"),
    include_str!("../../data/schemas/authorization.k8s.io_v1.json"),
    include_str!("../../data/schemas/autoscaling_v1.json"),
    include_str!("../../data/schemas/autoscaling_v2.json"),
    include_str!("../../data/schemas/batch_v1.json"),
    include_str!("../../data/schemas/certificates.k8s.io_v1.json"),
    include_str!("../../data/schemas/coordination.k8s.io_v1.json"),
    include_str!("../../data/schemas/discovery.k8s.io_v1.json"),
    include_str!("../../data/schemas/events.k8s.io_v1.json"),
    include_str!("../../data/schemas/flowcontrol.apiserver.k8s.io_v1.json"),
    include_str!("../../data/schemas/networking.k8s.io_v1.json"),
    include_str!("../../data/schemas/node.k8s.io_v1.json"),
    include_str!("../../data/schemas/policy_v1.json"),
    include_str!("../../data/schemas/rbac.authorization.k8s.io_v1.json"),
    include_str!("../../data/schemas/resource.k8s.io_v1.json"),
    include_str!("../../data/schemas/scheduling.k8s.io_v1.json"),
    include_str!("../../data/schemas/storage.k8s.io_v1.json"),
    include_str!("../../data/arktos.json"),
];

/// A built-in type that is built when it is first asked for.
pub struct Lazy {
    name: &'static str,
    raw: &'static RawValue,
    /// Apart: most are never built, and the table has a place for each.
    built: OnceLock<Box<Struct>>,
}

/// All types of the data files, and the facts about their fields.
struct Builtin {
    types: HashMap<&'static str, Lazy>,
    /// What the schemas leave out of a type's fields, by type name.
    facts: HashMap<&'static str, Facts>,
    by_type: OnceLock<HashMap<TypeMeta, &'static str>>,
}

/// What a schema leaves out: how the upstream type writes its fields.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Facts {
    /// Fields that are left out when they have their zero value.
    #[serde(borrow)]
    zero: Vec<&'static str>,
    /// Fields that are written as `null` when they are absent.
    null: Vec<&'static str>,
    /// Fields whose type has a name of its own, as the Go decoder prints it.
    named: HashMap<&'static str, &'static str>,
    /// Fields that stand in an embedded struct, whose name the Go decoder prints as well.
    embedded: HashMap<&'static str, &'static str>,
}

#[derive(Deserialize)]
struct File {
    #[serde(borrow)]
    types: HashMap<&'static str, &'static RawValue>,
}

static BUILTIN: LazyLock<Builtin> = LazyLock::new(|| {
    let mut types = HashMap::with_capacity(640);
    for text in FILES {
        let file: File = serde_json::from_str(text).expect("the data files are JSON: a unit test reads each");
        for (name, raw) in file.types {
            types.entry(name).or_insert_with(|| Lazy { name, raw, built: OnceLock::new() });
        }
    }
    let facts = serde_json::from_str(include_str!("../../data/fields.json"))
        .expect("the data files are JSON: a unit test reads each");
    Builtin { types, facts, by_type: OnceLock::new() }
});

/// The schema of a built-in type by its full name, such as `io.k8s.api.core.v1.Pod`.
#[must_use]
pub fn builtin(name: &str) -> Option<Schema> {
    BUILTIN.types.get(name).map(|lazy| lazy.schema())
}

/// A built-in type as the data files write it, by its full name: a JSON schema in which `ref` names another type.
#[must_use]
pub fn written(name: &str) -> Option<&'static str> {
    BUILTIN.types.get(name).map(|lazy| lazy.raw.get())
}

/// Whether a Go type, such as `v1.PathType`, is a text with a name of its own.
#[must_use]
pub fn is_named_text(go_type: &str) -> bool {
    let is_list = matches!(go_type, "v1.ExtraValue" | "v1.Verbs");
    !is_list && BUILTIN.facts.values().any(|facts| facts.named.values().any(|name| *name == go_type))
}

/// The schema of the whole object of a type, such as `v1` `Pod`. Knows also the types of subresources and lists.
#[must_use]
pub fn builtin_type(type_meta: &TypeMeta) -> Option<Schema> {
    let by_type = BUILTIN.by_type.get_or_init(|| {
        let raws = BUILTIN.types.iter().filter(|(_, lazy)| lazy.raw.get().contains("group-version-kind"));
        raws.flat_map(|(name, lazy)| type_metas(lazy.raw).into_iter().map(|type_meta| (type_meta, *name))).collect()
    });
    builtin(by_type.get(type_meta)?)
}

impl Lazy {
    /// The type.
    pub(super) fn get(&self) -> &Struct {
        self.built.get_or_init(|| Box::new(build_struct(self.name, self.raw)))
    }

    /// The schema that refers to this type. Types that are not objects stand for themselves.
    fn schema(&'static self) -> Schema {
        let shape = match self.name {
            "io.k8s.apimachinery.pkg.api.resource.Quantity" => Shape::Quantity,
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => Shape::IntOrString,
            "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => Shape::Time,
            "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => Shape::MicroTime,
            _ if self.raw.get().contains("\"properties\"") => Shape::Struct(StructRef::Builtin(self)),
            _ => Shape::Any,
        };
        Schema::of(shape)
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct RawSchema {
    #[serde(rename = "type")]
    type_name: Option<String>,
    format: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    #[serde(deserialize_with = "some")]
    default: Option<Value>,
    #[serde(rename = "enum")]
    options: Vec<Value>,
    required: Vec<String>,
    properties: HashMap<String, RawSchema>,
    items: Option<Box<RawSchema>>,
    #[serde(rename = "additionalProperties")]
    values: Option<Box<RawSchema>>,
    #[serde(rename = "x-kubernetes-list-type")]
    list_type: Option<String>,
    #[serde(rename = "x-kubernetes-list-map-keys")]
    list_keys: Vec<String>,
    #[serde(rename = "x-kubernetes-map-type")]
    map_type: Option<String>,
    #[serde(rename = "x-kubernetes-patch-merge-key")]
    patch_key: Option<String>,
    #[serde(rename = "x-kubernetes-patch-strategy")]
    patch_strategy: Option<String>,
    #[serde(rename = "x-kubernetes-group-version-kind")]
    types: Vec<RawType>,
}

#[derive(Deserialize)]
struct RawType {
    group: String,
    version: String,
    kind: String,
}

/// Reads a `null` default as a value and not as absence.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn type_metas(raw: &RawValue) -> Vec<TypeMeta> {
    let schema: RawSchema = serde_json::from_str(raw.get()).unwrap_or_default();
    schema.types.iter().map(|ty| TypeMeta::new(&ty.group, &ty.version, &ty.kind)).collect()
}

fn build_struct(name: &'static str, raw: &RawValue) -> Struct {
    let raw: RawSchema = serde_json::from_str(raw.get()).unwrap_or_default();
    let none = Facts::default();
    let facts = BUILTIN.facts.get(name).unwrap_or(&none);
    let mut fields: Vec<Field> = raw
        .properties
        .into_iter()
        .map(|(field, schema)| {
            let of = |names: &[&str]| names.contains(&field.as_str());
            let holds_its_own = schema.reference.as_deref().is_some_and(|reference| {
                reference.strip_prefix(name).is_some_and(|rest| matches!(rest, "OrArray" | "OrBool"))
            });
            let schema = build(schema);
            let drops_zero = of(&facts.zero);
            let absent = match &schema.default {
                _ if of(&facts.null) => Some(Value::Null),
                Some(default) if drops_zero && is_zero(default) => None,
                default => default.clone(),
            };
            Field {
                required: raw.required.contains(&field),
                nullable: of(&facts.null) || schema.default.is_none() && !drops_zero,
                embedded: facts.embedded.get(field.as_str()).copied().unwrap_or_default(),
                go_type: facts.named.get(field.as_str()).copied().unwrap_or_default(),
                name: field.into(),
                schema,
                drops_zero,
                absent,
                holds_its_own,
            }
        })
        .collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    let type_meta = match raw.types.as_slice() {
        [one] => Some(TypeMeta::new(&one.group, &one.version, &one.kind)),
        _ => None,
    };
    Struct {
        name: name.into(),
        fields: fields.into(),
        open: false,
        own: false,
        type_meta,
        structural: None,
        rules: OnceLock::new(),
        blank: OnceLock::new(),
        places: OnceLock::new(),
    }
}

/// Whether a value is the zero value of its type.
pub(crate) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn build(raw: RawSchema) -> Schema {
    let merge = Merge {
        list: match raw.list_type.as_deref() {
            Some("set") => ListKind::Set,
            Some("map") => ListKind::Map,
            _ => ListKind::Atomic,
        },
        keys: raw.list_keys.iter().map(|key| key.as_str().into()).collect(),
        atomic: match raw.map_type.as_deref() {
            Some(kind) => kind == "atomic",
            None => raw.reference.as_deref().is_some_and(is_atomic),
        },
        patch_key: raw.patch_key.as_deref().map(Into::into),
        patch_merge: raw.patch_strategy.as_deref().is_some_and(|strategy| strategy.split(',').any(|s| s == "merge")),
        retain_keys: raw.patch_strategy.as_deref().is_some_and(|strategy| strategy.contains("retainKeys")),
        patch_replace: raw.patch_strategy.as_deref() == Some("replace"),
    };
    let options = raw.options.iter().filter_map(|option| option.as_str().map(Into::into)).collect();
    let default = raw.default.clone();
    Schema { shape: shape(raw), default, options, merge }
}

/// Whether a type says of itself that it is replaced as a whole; a field of the type may say otherwise.
fn is_atomic(name: &str) -> bool {
    if name == "io.k8s.apimachinery.pkg.runtime.RawExtension" {
        return true; // an object of a type that nobody here has to know
    }
    #[derive(Deserialize)]
    struct Only {
        #[serde(rename = "x-kubernetes-map-type")]
        map_type: Option<String>,
    }
    let raw = BUILTIN.types.get(name).map(|lazy| lazy.raw.get()).filter(|raw| raw.contains("x-kubernetes-map-type"));
    let only: Option<Only> = raw.and_then(|raw| serde_json::from_str(raw).ok());
    only.and_then(|only| only.map_type).as_deref() == Some("atomic")
}

fn shape(raw: RawSchema) -> Shape {
    if let Some(reference) = raw.reference {
        return BUILTIN.types.get(reference.as_str()).map_or(Shape::Any, |lazy| lazy.schema().shape);
    }
    match (raw.type_name.as_deref(), raw.format.as_deref()) {
        (Some("boolean"), _) => Shape::Boolean,
        (Some("integer"), Some("int32")) => Shape::Int32,
        (Some("integer"), _) => Shape::Int64,
        (Some("number"), _) => Shape::Number,
        (Some("string"), Some("byte")) => Shape::Bytes,
        (Some("string"), _) => Shape::String,
        (Some("array"), _) => {
            Shape::List(Box::new(raw.items.map_or_else(|| Schema::of(Shape::Any), |items| build(*items))))
        }
        (Some("object"), _) => match raw.values {
            Some(values) => Shape::Map(Box::new(build(*values))),
            None => Shape::Any,
        },
        _ => Shape::Any,
    }
}
