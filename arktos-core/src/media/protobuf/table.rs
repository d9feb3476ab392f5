//! The table of messages: which field has which tag, and what Go calls it in JSON.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::kind::TypeMeta;

/// All messages. Built when first asked for, from the data file.
pub(super) static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::build(include_str!("../../../data/schemas/proto.json")));

pub(super) struct Table {
    messages: Vec<Message>,
    by_name: HashMap<&'static str, usize>,
}

/// A message.
pub(super) struct Message {
    pub(super) form: Form,
    /// Sorted by tag.
    pub(super) fields: Vec<Field>,
}

/// How a message stands in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As an object with the message's fields.
    Object,
    /// As a time with whole seconds.
    Time,
    /// As a time with microseconds.
    MicroTime,
    /// As text.
    Quantity,
    /// As a number or text.
    IntOrString,
    /// As the JSON (or the object) that its bytes hold.
    Raw,
    /// As the list in its only field.
    List,
    /// As a schema, or a list of them.
    SchemaOrList,
    /// As a schema, or true or false.
    SchemaOrBool,
    /// As a schema, or a list of names.
    SchemaOrNames,
}

pub(super) struct Field {
    pub(super) tag: u32,
    pub(super) json: Cow<'static, str>,
    pub(super) label: Label,
    pub(super) ty: Type,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    One,
    /// One message, whose fields stand among those of this one.
    Inline,
    Repeated,
    /// From text.
    Map,
}

#[derive(Clone, Copy)]
pub(super) enum Type {
    Bool,
    Int32,
    Int64,
    Double,
    String,
    Bytes,
    Message(usize),
}

/// Messages whose fields Go puts among those of the message around them, by the short name of that one.
const INLINE: &[(&str, &str)] = &[
    ("ConfigMapEnvSource", "localObjectReference"),
    ("ConfigMapKeySelector", "localObjectReference"),
    ("ConfigMapProjection", "localObjectReference"),
    ("ConfigMapVolumeSource", "localObjectReference"),
    ("SecretEnvSource", "localObjectReference"),
    ("SecretKeySelector", "localObjectReference"),
    ("SecretProjection", "localObjectReference"),
    ("Volume", "volumeSource"),
    ("PersistentVolumeSpec", "persistentVolumeSource"),
    ("Probe", "handler"),
    ("EphemeralContainer", "ephemeralContainerCommon"),
    ("NamedRuleWithOperations", "ruleWithOperations"),
    ("RuleWithOperations", "rule"),
    ("IngressRule", "ingressRuleValue"),
    ("DeviceAllocationConfiguration", "deviceConfiguration"),
    ("DeviceClaimConfiguration", "deviceConfiguration"),
    ("DeviceClassConfiguration", "deviceConfiguration"),
];

/// Tags that Arktos added.
const ARKTOS: &[(&str, &str, u32, &str)] = &[
    ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "tenant", 18, "string"),
    ("apimachinery.pkg.apis.meta.v1.ObjectMeta", "hashKey", 19, "int64"),
    ("apimachinery.pkg.apis.meta.v1.OwnerReference", "hashKey", 8, "int64"),
];

type Raw = HashMap<&'static str, HashMap<&'static str, (u32, &'static str)>>;

impl Table {
    fn build(text: &'static str) -> Self {
        let mut raw: Raw =
            serde_json::from_str(text).expect("the data file is JSON of this shape: a unit test reads it");
        for (message, field, tag, ty) in ARKTOS {
            raw.entry(message).or_default().insert(field, (*tag, ty));
        }
        let mut names: Vec<&'static str> = raw.keys().copied().collect();
        names.sort_unstable();
        let by_name: HashMap<&'static str, usize> = names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let messages = names.iter().filter_map(|name| Some(message(name, raw.get(name)?, &by_name))).collect();
        Self { messages, by_name }
    }

    /// The message of a type.
    pub(super) fn message(&self, type_meta: &TypeMeta) -> Option<&Message> {
        let (group, version, kind) = (type_meta.group(), type_meta.version(), type_meta.kind.as_str());
        let package = match group {
            "" => "api.core".to_owned(),
            "apiextensions.k8s.io" => "apiextensions_apiserver.pkg.apis.apiextensions".to_owned(),
            "apiregistration.k8s.io" => "kube_aggregator.pkg.apis.apiregistration".to_owned(),
            "internal.apiserver.k8s.io" => "api.apiserverinternal".to_owned(),
            "meta.k8s.io" => "apimachinery.pkg.apis.meta".to_owned(),
            _ if group.contains('.') && !group.ends_with(".k8s.io") => return None,
            _ => format!("api.{}", group.split('.').next().unwrap_or_default()),
        };
        let shared = format!("apimachinery.pkg.apis.meta.v1.{kind}");
        let exact = self.by_name.get(format!("{package}.{version}.{kind}").as_str());
        let at = exact.or_else(|| is_shared(group, kind).then(|| self.by_name.get(shared.as_str())).flatten())?;
        self.messages.get(*at)
    }

    /// A message by its place.
    pub(super) fn get(&self, at: usize) -> Option<&Message> {
        self.messages.get(at)
    }
}

/// Whether a kind belongs to the shared machinery: the options of requests go by the version of any group, the others
/// by `v1`.
fn is_shared(group: &str, kind: &str) -> bool {
    match kind {
        "DeleteOptions" | "ListOptions" | "GetOptions" | "CreateOptions" | "UpdateOptions" | "PatchOptions" => true,
        "Status" | "APIGroup" | "APIGroupList" | "APIResourceList" | "APIVersions" => group.is_empty(),
        _ => group == "meta.k8s.io",
    }
}

fn message(
    name: &str,
    fields: &HashMap<&'static str, (u32, &'static str)>,
    by_name: &HashMap<&'static str, usize>,
) -> Message {
    let short = name.rsplit('.').next().unwrap_or(name);
    let mut fields: Vec<Field> = fields
        .iter()
        .filter_map(|(field, (tag, ty))| {
            let (label, ty) = match ty.strip_prefix("repeated ") {
                Some(item) => (Label::Repeated, item),
                None => match ty.strip_prefix("map<string,").and_then(|rest| rest.strip_suffix('>')) {
                    Some(value) => (Label::Map, value),
                    None if INLINE.contains(&(short, field)) => (Label::Inline, *ty),
                    None => (Label::One, *ty),
                },
            };
            Some(Field { tag: *tag, json: json_name(short, field), label, ty: parse_type(ty.trim(), by_name)? })
        })
        .collect();
    fields.sort_by_key(|field| field.tag);
    Message { form: form(name, short), fields }
}

fn parse_type(text: &str, by_name: &HashMap<&'static str, usize>) -> Option<Type> {
    Some(match text {
        "bool" => Type::Bool,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        message => Type::Message(*by_name.get(message)?),
    })
}

fn form(name: &str, short: &str) -> Form {
    match name {
        "apimachinery.pkg.apis.meta.v1.Time" => Form::Time,
        "apimachinery.pkg.apis.meta.v1.MicroTime" => Form::MicroTime,
        "apimachinery.pkg.api.resource.Quantity" => Form::Quantity,
        "apimachinery.pkg.util.intstr.IntOrString" => Form::IntOrString,
        "apimachinery.pkg.runtime.RawExtension" | "apimachinery.pkg.apis.meta.v1.FieldsV1" => Form::Raw,
        "apimachinery.pkg.apis.meta.v1.Verbs" => Form::List,
        _ => match short {
            "JSON" => Form::Raw,
            "ExtraValue" => Form::List,
            "JSONSchemaPropsOrArray" => Form::SchemaOrList,
            "JSONSchemaPropsOrBool" => Form::SchemaOrBool,
            "JSONSchemaPropsOrStringArray" => Form::SchemaOrNames,
            _ => Form::Object,
        },
    }
}

/// What Go calls a field in JSON, where the message calls it something else.
fn json_name(message: &str, field: &'static str) -> Cow<'static, str> {
    match (message, field) {
        ("JSONSchemaProps", "ref") => "$ref".into(),
        ("JSONSchemaProps", "schema") => "$schema".into(),
        ("DaemonEndpoint", "Port") => "Port".into(), // the one name that begins with a capital letter
        ("JSONSchemaProps", _) if field.starts_with("xKubernetes") => {
            let mut out = String::with_capacity(field.len() + 6);
            for letter in field.chars() {
                if letter.is_ascii_uppercase() {
                    out.push('-');
                }
                out.push(letter.to_ascii_lowercase());
            }
            out.into()
        }
        (_, "uID") => "uid".into(),
        (_, "aPIGroup") => "apiGroup".into(),
        _ => match field.chars().next() {
            Some(first) if first.is_ascii_uppercase() => {
                format!("{}{}", first.to_ascii_lowercase(), field.get(1..).unwrap_or_default()).into()
            }
            _ => field.into(),
        },
    }
}
