//! From a definition to the kinds that it defines, one a version.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::Value;

use super::json_path::JsonPath;
use super::patterns::Patterns;
use super::structural::{Structural, texts};
use super::{definition, shape_of};
use crate::catalog::{Column, Kind, SelectableField, Subresource};
use crate::encoded::NOTES;
use crate::kind::{Scope, TypeMeta};
use crate::media::go_printed;
use crate::object::Object;
use crate::rules::fault::Faults;
use crate::schema::{Schema, Shape, StructRef};

/// What can be done with objects of a custom kind.
const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// What is known of a custom kind beside what is known of all kinds.
#[derive(Debug)]
pub struct Own {
    /// The schema of this version.
    pub schema: Arc<Structural>,
    /// The schema as the definition writes it, for OpenAPI.
    pub written: Arc<Value>,
    /// Where the scale finds its values, if there is one.
    pub scale: Option<Scale>,
    /// What users of this version are warned of.
    pub deprecation: Option<String>,
    /// The webhook that converts between versions, where there is one.
    pub conversion: Option<Arc<Hook>>,
    /// A short name for the schema of the stored version.
    pub(crate) mark: Box<str>,
    /// The schemas of all versions, by name; the one that objects are stored in comes first.
    pub(crate) versions: Arc<[(Box<str>, Arc<Structural>)]>,
}

/// The webhook that converts between the versions of a custom kind.
#[derive(Debug)]
pub struct Hook {
    /// Where it is: the `clientConfig` of the definition.
    pub client: Value,
    /// The versions of `ConversionReview` that it speaks, the best first.
    pub review_versions: Vec<String>,
}

/// Where the scale of a custom kind finds its values.
#[derive(Debug, Clone)]
pub struct Scale {
    /// How many replicas are wanted.
    pub wanted: ScalePath,
    /// How many there are.
    pub found: ScalePath,
    /// Which objects are counted.
    pub selector: Option<ScalePath>,
}

/// A path of plain fields, and its text.
#[derive(Debug, Clone)]
pub struct ScalePath {
    /// As the definition writes it.
    pub text: String,
    /// The names of the fields.
    pub fields: Vec<String>,
}

impl ScalePath {
    fn parse(text: &str) -> Option<Self> {
        let path = JsonPath::parse(text).ok()?;
        let fields = path.fields()?.into_iter().map(str::to_owned).collect();
        Some(Self { text: text.to_owned(), fields })
    }

    /// The value that it leads to; nothing where that is not there. A value that has no fields and stands in the way is
    /// an error.
    fn reached<'a>(&self, value: &'a Value) -> Result<Option<&'a Value>, &'a Value> {
        let mut at = value;
        for field in &self.fields {
            match at {
                Value::Null => return Ok(None),
                Value::Object(fields) => match fields.get(field) {
                    Some(value) => at = value,
                    None => return Ok(None),
                },
                other => return Err(other),
            }
        }
        Ok(Some(at))
    }

    /// The value that it leads to.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.fields.iter().try_fold(value, |value, field| value.get(field))
    }
}

/// What upstream says of a value that is not what is looked for.
fn accessor_error(path: &str, value: &Value, expected: &str) -> String {
    let found = match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    format!("{path} accessor error: {} is of the type {found}, expected {expected}", go_printed(value))
}

impl Scale {
    fn of(version: &Value) -> Option<Self> {
        let scale = version.pointer("/subresources/scale")?;
        let path = |field: &str| scale.get(field).and_then(Value::as_str).and_then(ScalePath::parse);
        Some(Self {
            wanted: path("specReplicasPath")?,
            found: path("statusReplicasPath")?,
            selector: path("labelSelectorPath"),
        })
    }

    /// What stands where the scale looks must be what it looks for.
    pub(super) fn validate(&self, whole: &Value, faults: &mut Faults) {
        for path in [&self.wanted, &self.found] {
            let value = match path.reached(whole) {
                Ok(Some(value)) => value,
                Ok(None) => continue,
                Err(other) => {
                    let expected = "map[string]interface{}";
                    faults.invalid(&path.text, &0.into(), &accessor_error(&path.text, other, expected));
                    continue;
                }
            };
            match value.as_i64() {
                Some(count) if count < 0 => faults.invalid(&path.text, value, "should be a non-negative integer"),
                Some(count) if count > i64::from(i32::MAX) => {
                    faults.invalid(&path.text, value, &format!("should be less than or equal to {}", i32::MAX));
                }
                Some(_) => {}
                None => faults.invalid(&path.text, &0.into(), &accessor_error(&path.text, value, "int64")),
            }
        }
        if let Some(path) = &self.selector
            && let Some(value) = path.find(whole)
            && !value.is_string()
        {
            faults.invalid(&path.text, &"".into(), &accessor_error(&path.text, value, "string"));
        }
    }
}

/// The kinds that a definition defines, that of the stored version first. Those of versions that are not served have no
/// verbs.
///
/// `status.acceptedNames` says what they are called; a definition that is not established defines nothing.
#[must_use]
pub fn kinds_of(definition: &Object) -> Vec<Kind> {
    if !super::is_established(definition) {
        return Vec::new();
    }
    let empty = Vec::new();
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_array).unwrap_or(&empty);
    let stored = |version: &&Value| version["storage"] == true;
    let ordered: Vec<&Value> =
        versions.iter().filter(stored).chain(versions.iter().filter(|version| !stored(version))).collect();
    let patterns = Patterns::default();
    let schemas: Arc<[(Box<str>, Arc<Structural>)]> = ordered
        .iter()
        .map(|version| {
            let schema = version.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null);
            let mut schema = Structural::compile_with(schema, &patterns);
            let scale = Scale::of(version);
            schema.counts = scale.map(|scale| vec![scale.wanted.fields, scale.found.fields]).unwrap_or_default();
            (version["name"].as_str().unwrap_or_default().into(), Arc::new(schema))
        })
        .collect();
    ordered
        .iter()
        .zip(schemas.iter())
        .map(|(version, (_, schema))| kind(definition, version, schema, &schemas))
        .collect()
}

fn kind(
    definition: &Object,
    version: &Value,
    schema: &Arc<Structural>,
    versions: &Arc<[(Box<str>, Arc<Structural>)]>,
) -> Kind {
    let group = definition.str_at(&["spec", "group"]);
    let names = |field: &str| definition.str_at(&["status", "acceptedNames", field]);
    let lists = |field: &str| -> Vec<String> {
        texts(definition.at(&["status", "acceptedNames", field])).iter().map(ToString::to_string).collect()
    };
    let name = version["name"].as_str().unwrap_or_default();
    let namespaced = definition.str_at(&["spec", "scope"]) == "Namespaced";
    let scope = if namespaced { Scope::Namespace } else { Scope::Tenant };
    let mut kind = Kind::custom(group, name, names("kind"), names("plural"), scope);
    kind.singular = names("singular").to_owned();
    kind.list_kind = names("listKind").to_owned();
    (kind.short_names, kind.categories) = (lists("shortNames"), lists("categories"));
    kind.verbs = if version["served"] == true { VERBS.map(str::to_owned).to_vec() } else { Vec::new() };
    kind.storage = version["storage"] == true;
    kind.columns = columns(version);
    kind.fields = fields(definition, version);
    let scale = Scale::of(version);
    kind.subresources = subresources(&kind.type_meta, version, scale.is_some());
    let written = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default();
    kind.own = Some(Arc::new(Own {
        schema: schema.clone(),
        written: Arc::new(written),
        scale,
        deprecation: deprecation(definition, version),
        conversion: hook(definition).map(Arc::new),
        mark: mark(definition.at(&["spec", "versions"]).unwrap_or(&Value::Null)),
        versions: versions.clone(),
    }));
    kind.set_structure(schema.clone());
    kind
}

impl Kind {
    /// Whether objects are selected by fields that another version has as its own: a webhook alone knows their values,
    /// so they are noted beside what is stored.
    pub fn notes_fields_of(&self, version: &str) -> bool {
        self.noted().any(|(_, _, of)| of == version)
    }

    /// Notes beside an object, as this version stores it, the values of the fields that other versions have as their
    /// own, given its form in each of these. What was noted before goes.
    pub fn note_fields(&self, object: &mut Object, forms: &[(Arc<Kind>, Object)]) {
        object.notes.retain(|note, _| definition::listed(note).0.is_none());
        for (at, note, version) in self.noted() {
            let form = forms.iter().find(|(kind, _)| kind.version == version);
            let value = form.and_then(|(kind, form)| Some(kind.fields.get(at)?.value(form)));
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                object.notes.insert(note.to_owned(), value.into());
            }
        }
    }

    /// The fields whose values are noted: their places, their notes, and whose own they are.
    fn noted(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        self.fields.iter().enumerate().filter_map(|(at, field)| match field.path.as_slice() {
            [first, note] if first == NOTES => Some((at, note.as_str(), definition::listed(note).0?)),
            _ => None,
        })
    }

    /// Makes the schema that patches and apply use from a structural one.
    pub(crate) fn set_structure(&mut self, schema: Arc<Structural>) {
        let mut root = shape_of(&schema);
        // As upstream names types: the group's parts from the last to the first.
        let group: Vec<&str> = self.group.rsplit('.').collect();
        root.name = format!("{}.{}.{}", group.join("."), self.version, self.kind).into();
        root.type_meta = Some((*self.type_meta).clone());
        root.structural = Some(schema);
        self.schema = Schema::of(Shape::Struct(StructRef::Own(Arc::new(root))));
    }
}

fn columns(version: &Value) -> Vec<Column> {
    let column = |name: &str, type_name: &str, format: &str, path: &str| Column {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        format: format.to_owned(),
        priority: 0,
        about: String::new(),
        path: JsonPath::parse(path).unwrap_or_default(),
    };
    let mut columns = vec![column("Name", "string", "name", ".metadata.name")];
    let said = version.get("additionalPrinterColumns").and_then(Value::as_array).filter(|columns| !columns.is_empty());
    let Some(said) = said else {
        columns.push(column("Age", "date", "", ".metadata.creationTimestamp"));
        return columns;
    };
    columns.extend(said.iter().map(|said| {
        let text = |field: &str| said.get(field).and_then(Value::as_str).unwrap_or("");
        let priority = said.get("priority").and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
        Column {
            priority: priority.unwrap_or(0),
            about: text("description").to_owned(),
            ..column(text("name"), text("type"), text("format"), text("jsonPath"))
        }
    }));
    columns
}

/// The selectable fields: in every version those of all, in the order in which the definition has come to know them, so
/// that what is stored stays where it is. Those that other versions have as their own are looked for in notes.
fn fields(definition: &Object, version: &Value) -> Vec<SelectableField> {
    let here = definition::selectable(definition, version);
    let field = |known: &str| {
        let (own, path) = definition::listed(known);
        let steps = |path: JsonPath| Some(path.fields()?.into_iter().map(str::to_owned).collect());
        SelectableField {
            name: if here.iter().any(|here| here == known) { path.to_owned() } else { String::new() },
            path: if own.is_some_and(|own| version["name"] != own) {
                vec![NOTES.to_owned(), known.to_owned()]
            } else {
                JsonPath::parse(&format!(".{path}")).ok().and_then(steps).unwrap_or_default()
            },
            otherwise: Vec::new(),
            absent: "",
        }
    };
    definition::known_fields(definition).iter().map(|known| field(known)).collect()
}

fn subresources(type_meta: &TypeMeta, version: &Value, scale: bool) -> Vec<Subresource> {
    let part = |name: &str, kind: TypeMeta| Subresource {
        name: name.to_owned(),
        kind,
        verbs: ["get", "patch", "update"].map(str::to_owned).to_vec(),
    };
    let mut parts = Vec::new();
    if version.pointer("/subresources/status").is_some_and(|status| !status.is_null()) {
        parts.push(part("status", type_meta.clone()));
    }
    if scale {
        parts.push(part("scale", TypeMeta::new("autoscaling", "v1", "Scale")));
    }
    parts
}

/// What users of a deprecated version are told: to use the next better one that is served.
fn deprecation(definition: &Object, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(said) = version.get("deprecationWarning").and_then(Value::as_str) {
        return Some(said.to_owned());
    }
    let (group, kind) = (definition.str_at(&["spec", "group"]), definition.str_at(&["spec", "names", "kind"]));
    let name = version["name"].as_str().unwrap_or_default();
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_array)?;
    let better = versions
        .iter()
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .filter_map(|other| other["name"].as_str())
        .filter(|other| version_order(other) > version_order(name))
        .max_by_key(|other| version_order(other));
    Some(match better {
        Some(better) => format!("{group}/{name} {kind} is deprecated; use {group}/{better} {kind}"),
        None => format!("{group}/{name} {kind} is deprecated"),
    })
}

/// How good a version is: `v2` before `v1` before `v1beta2` before `v1alpha1` before any other.
#[must_use]
pub fn version_order(name: &str) -> (u8, u64, u64, std::cmp::Reverse<String>) {
    let other = || (0, 0, 0, std::cmp::Reverse(name.to_owned()));
    let Some(rest) = name.strip_prefix('v') else { return other() };
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(digits);
    let Ok(major) = major.parse::<u64>() else { return other() };
    let level = |word: &str, level: u8| {
        let minor = rest.strip_prefix(word)?;
        let minor = if minor.is_empty() { 0 } else { minor.parse::<u64>().ok()? };
        Some((level, major, minor, std::cmp::Reverse(String::new())))
    };
    if rest.is_empty() {
        return (3, major, 0, std::cmp::Reverse(String::new()));
    }
    level("beta", 2).or_else(|| level("alpha", 1)).unwrap_or_else(other)
}

/// A short name for what is written. Should two ever have the same, objects show defaults late.
fn mark(written: &Value) -> Box<str> {
    let mut hasher = DefaultHasher::new();
    written.to_string().hash(&mut hasher);
    format!("{:016x}", hasher.finish()).into()
}

fn hook(definition: &Object) -> Option<Hook> {
    if definition.str_at(&["spec", "conversion", "strategy"]) != "Webhook" {
        return None;
    }
    let webhook = definition.at(&["spec", "conversion", "webhook"])?;
    let versions = texts(webhook.get("conversionReviewVersions"));
    Some(Hook {
        client: webhook.get("clientConfig").cloned().unwrap_or_default(),
        review_versions: versions.iter().map(ToString::to_string).collect(),
    })
}

/// What a webhook has made of an object, as this version's schema wants it.
pub fn received(kind: &Kind, object: &mut Object) {
    let Some(own) = &kind.own else { return };
    super::drop_unknown(&own.schema, object);
    // What has more defaults than it may have is shown without the rest of them.
    let _ = super::complete(&own.schema, object);
}

/// A stored object as a version of its custom kind shows it, and whether that differs from what is stored. Where its
/// schema has come to have more defaults for it than an object may be given, the rest is left out: it can still be read
/// and deleted.
#[must_use]
pub fn stored_form(kind: &Kind, object: &mut Object) -> bool {
    let Some(own) = &kind.own else { return false };
    let said = object.type_meta();
    let mut changed = said != *kind.type_meta;
    let stored = own.versions.iter().find(|(name, _)| **name == *said.version());
    if let Some((_, schema)) = stored {
        changed |= super::complete(schema, object).unwrap_or(true);
    }
    if said.version() != kind.version {
        super::drop_unknown(&own.schema, object);
    }
    object.set(&["apiVersion"], kind.type_meta.api_version.as_str());
    object.set(&["kind"], kind.type_meta.kind.as_str());
    changed
}

/// An object of a version of its custom kind in the version that objects are stored in.
pub(crate) fn to_stored(kind: &Kind, object: &mut Object) {
    let Some(own) = &kind.own else { return };
    let Some((version, schema)) = own.versions.first().filter(|(version, _)| **version != *kind.version) else {
        return;
    };
    super::drop_unknown(schema, object);
    let _ = super::complete(schema, object);
    object.set(&["apiVersion"], TypeMeta::new(&kind.group, version, &kind.kind).api_version);
}

impl Own {
    /// A kind whose definition is a program's: it has one version.
    pub(crate) fn of_program(version: &str, schema: Structural, written: Value) -> Self {
        let schema = Arc::new(schema);
        Self {
            mark: mark(&written),
            versions: Arc::from([(version.into(), schema.clone())]),
            schema,
            written: Arc::new(written),
            scale: None,
            deprecation: None,
            conversion: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::version_order;

    #[test]
    fn versions_are_ordered_by_how_stable_they_are() {
        let mut versions = ["v1alpha1", "foo", "v10", "v2beta1", "v1", "v11beta2", "bar", "v2", "v1beta10", "v1beta2"];
        versions.sort_by_key(|version| std::cmp::Reverse(version_order(version)));
        let sorted = ["v10", "v2", "v1", "v11beta2", "v2beta1", "v1beta10", "v1beta2", "v1alpha1", "bar", "foo"];
        assert_eq!(versions, sorted);
    }
}
