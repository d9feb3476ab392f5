//! What a definition must be like: its names, its versions, and how they are shown. (apiextensions' validation, in its
//! words.)

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::field_path;
use super::json_path::JsonPath;
use super::names::{APPROVED, is_protected};
use super::schema_faults;
use super::structural::{Structural, texts};
use crate::name::subdomain_fault;
use crate::object::Object;
use crate::rules::fault::Faults;
use crate::rules::{has_certificate, label_1035_fault, webhook_service_faults, webhook_url_faults};

/// The note in which a definition's selectable fields are kept, in the order in which it came to know them.
const SELECTABLE: &str = "selectable-fields";

/// What creation sets.
pub(crate) fn prepare_create(definition: &mut Object) {
    note_fields(definition, Vec::new());
}

/// What an update sets: the versions in which objects may be stored.
pub(crate) fn prepare_update(old: &Object, definition: &mut Object) {
    let mut stored =
        definition.at(&["status", "storedVersions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(version) = versions(definition).iter().find(|version| version["storage"] == true)
        && !stored.contains(&version["name"])
    {
        stored.push(version["name"].clone());
    }
    if !stored.is_empty() {
        definition.set(&["status", "storedVersions"], stored);
    }
    note_fields(definition, known_fields(old));
}

fn versions(definition: &Object) -> &[Value] {
    definition.at(&["spec", "versions"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A version's selectable fields, as the note lists them: by their paths, and where a webhook converts as fields of
/// this version alone (`v2=spec.host`), since no other version knows what they are there.
pub(super) fn selectable(definition: &Object, version: &Value) -> Vec<String> {
    let fields = version.get("selectableFields").and_then(Value::as_array).into_iter().flatten();
    let paths = fields.filter_map(|field| field.get("jsonPath")?.as_str());
    let paths = paths.map(|path| path.strip_prefix('.').unwrap_or(path));
    if definition.str_at(&["spec", "conversion", "strategy"]) != "Webhook" {
        return paths.map(str::to_owned).collect();
    }
    let version = version["name"].as_str().unwrap_or_default();
    paths.map(|path| format!("{version}={path}")).collect()
}

/// The version whose own field it is, if it is one's own, and the path, of a field as the note lists it.
pub(super) fn listed(field: &str) -> (Option<&str>, &str) {
    match field.split_once('=') {
        // A path with such a sign has it in brackets.
        Some((version, path)) if !version.contains(['.', '[']) => (Some(version), path),
        _ => (None, field),
    }
}

/// All selectable fields that a definition has, or had.
pub(super) fn known_fields(definition: &Object) -> Vec<String> {
    let noted = definition.notes.get(SELECTABLE).map_or("", String::as_str);
    with_own(definition, noted.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn with_own(definition: &Object, mut known: Vec<String>) -> Vec<String> {
    let mut seen: HashSet<String> = known.iter().cloned().collect();
    let own = versions(definition).iter().flat_map(|version| selectable(definition, version));
    known.extend(own.filter(|name| seen.insert(name.clone())));
    known
}

fn note_fields(definition: &mut Object, known: Vec<String>) {
    let known = with_own(definition, known);
    if known.is_empty() {
        definition.notes.remove(SELECTABLE);
    } else {
        definition.notes.insert(SELECTABLE.to_owned(), known.join(" "));
    }
}

/// The faults of a definition; `old` is what it replaces. Of a status, only the names are looked at: whoever writes it
/// says in which versions there are objects.
pub(crate) fn validate(definition: &Object, old: Option<&Object>, only_status: bool, faults: &mut Faults) {
    if only_status {
        return names(definition, &["status", "acceptedNames"], faults);
    }
    let text = |path: &[&str]| definition.str_at(path).to_owned();
    let (group, plural) = (text(&["spec", "group"]), text(&["spec", "names", "plural"]));
    let wanted = format!("{plural}.{group}");
    for field in ["generateName", "name"] {
        let said = definition.str_at(&["metadata", field]);
        if old.is_none() && !said.is_empty() && said != wanted {
            let why = "must be spec.names.plural+\".\"+spec.group";
            faults.invalid(&format!("metadata.{field}"), &said.into(), why);
        }
    }
    if group.is_empty() {
        faults.required("spec.group", "");
    } else if let Some(fault) = subdomain_fault(&group) {
        faults.invalid("spec.group", &group.as_str().into(), &fault);
    } else if !group.contains('.') {
        faults.invalid("spec.group", &group.as_str().into(), "should be a domain with at least one dot");
    }
    approval(definition, &group, faults);
    scope(definition, faults);
    names(definition, &["spec", "names"], faults);
    names(definition, &["status", "acceptedNames"], faults);
    all_versions(definition, old, faults);
    conversion(definition, old, faults);
    if definition.at(&["spec", "preserveUnknownFields"]) == Some(&Value::Bool(true)) {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        faults.invalid("spec.preserveUnknownFields", &Value::Bool(true), why);
    }
    stored_versions(definition, faults);
    if let Some(old) = old {
        immutable(definition, old, faults);
    }
}

fn approval(definition: &Object, group: &str, faults: &mut Faults) {
    if !is_protected(group) {
        return;
    }
    let said = definition.str_at(&["metadata", "annotations", APPROVED]);
    let field = format!("metadata.annotations[{APPROVED}]");
    let more = "protected groups must have approval annotation \"api-approved.kubernetes.io\", see \
                https://github.com/kubernetes/enhancements/pull/1111";
    if said.is_empty() {
        faults.required(&field, more);
    } else if !said.starts_with("unapproved") && !said.contains("://") {
        let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or \
                   a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111";
        faults.invalid(&field, &said.into(), why);
    }
}

fn scope(definition: &Object, faults: &mut Faults) {
    match definition.str_at(&["spec", "scope"]) {
        "" => faults.required("spec.scope", ""),
        // `Tenant` is Arktos's word for what has no namespace: here all of that is a tenant's, and `Cluster` means the
        // same.
        "Cluster" | "Tenant" | "Namespaced" => {}
        other => faults.not_supported("spec.scope", &other.into(), &["Cluster", "Namespaced"]),
    }
}

/// The faults of names, at a path: of a definition's own, some must be there.
fn names(definition: &Object, at: &[&str; 2], faults: &mut Faults) {
    let field = |name: &str| format!("{}.{name}", at.join("."));
    let name = |name: &str| definition.str_at(&[at[0], at[1], name]);
    for (one, mixed) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let said = name(one);
        if said.is_empty() {
            if at[0] == "spec" {
                faults.required(&field(one), "");
            }
            continue;
        }
        let plain = if mixed { said.to_lowercase() } else { said.to_owned() };
        if let Some(fault) = label_1035_fault(&plain) {
            let before = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            faults.invalid(&field(one), &said.into(), &format!("{before}{fault}"));
        }
    }
    for several in ["shortNames", "categories"] {
        for (index, said) in texts(definition.at(&[at[0], at[1], several])).iter().enumerate() {
            if let Some(fault) = label_1035_fault(said) {
                faults.invalid(&format!("{}[{index}]", field(several)), &(&**said).into(), &fault);
            }
        }
    }
    if !name("kind").is_empty() && name("kind") == name("listKind") {
        faults.invalid(&field("listKind"), &name("listKind").into(), "kind and listKind may not be the same");
    }
}

/// What all versions have alike stands at the definition itself, as upstream sees it.
struct Alike {
    schema: bool,
    subresources: bool,
    columns: bool,
    fields: bool,
}

impl Alike {
    fn of(versions: &[Value]) -> Self {
        let alike = |field: &str| versions.windows(2).all(|two| two[0].get(field) == two[1].get(field));
        Self {
            schema: alike("schema"),
            subresources: alike("subresources"),
            columns: alike("additionalPrinterColumns"),
            fields: alike("selectableFields"),
        }
    }
}

fn all_versions(definition: &Object, old: Option<&Object>, faults: &mut Faults) {
    let versions = versions(definition);
    let alike = Alike::of(versions);
    let (olds, bounds) = (old_schemas(old), schema_faults::Bounds::default());
    for (index, version) in versions.iter().enumerate() {
        let (name, at) = (version["name"].as_str().unwrap_or_default(), format!("spec.versions[{index}]"));
        if let Some(fault) = label_1035_fault(name) {
            faults.invalid(&format!("{at}.name"), &name.into(), &fault);
        }
        let place = |alike: bool| if alike { "spec".to_owned() } else { at.clone() };
        let first = |alike: bool| !alike || index == 0;
        if version.get("deprecationWarning").is_some_and(|said| !said.is_null()) {
            deprecation_warning(version, &at, faults);
        }
        if version.pointer("/schema/openAPIV3Schema").is_none_or(Value::is_null) {
            faults.required(&format!("{at}.schema.openAPIV3Schema"), "");
        } else if first(alike.schema) {
            let part = if alike.schema { "validation" } else { "schema" };
            let at = format!("{}.{part}.openAPIV3Schema", place(alike.schema));
            let has_status =
                |version: &Value| version.pointer("/subresources/status").is_some_and(|said| !said.is_null());
            let shared = if alike.schema { versions } else { std::slice::from_ref(version) };
            if shared.iter().any(has_status) {
                schema_faults::beside_status(&version["schema"]["openAPIV3Schema"], &at, faults);
            }
            schema_faults::of_version(version, olds.get(name).copied(), &at, &bounds, faults);
        }
        if first(alike.subresources) {
            subresources(version, &place(alike.subresources), faults);
        }
        if first(alike.columns) {
            columns(version, &place(alike.columns), faults);
        }
        if first(alike.fields) {
            selectable_fields(version, alike.schema == alike.fields, &place(alike.fields), faults);
        }
    }
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        let said = definition.at(&["spec", "versions"]).filter(|said| !said.is_null());
        let shown = said.map_or_else(|| "null".to_owned(), |_| internal_versions(versions, &alike));
        faults.invalid_text("spec.versions", &shown, why);
    }
    if let Some(first) = versions.first().and_then(|version| version["name"].as_str()).filter(|name| !name.is_empty())
        && let Some(fault) = label_1035_fault(first)
    {
        faults.invalid("spec.version", &first.into(), &fault);
    }
    let mut seen = HashSet::new();
    if !versions.iter().all(|version| seen.insert(&version["name"])) {
        let shown = internal_versions(versions, &alike);
        faults.invalid_text("spec.versions", &shown, "must contain unique version names");
    }
}

/// The schemas of the versions that there were.
fn old_schemas(old: Option<&Object>) -> HashMap<&str, &Value> {
    let mut schemas = HashMap::new();
    for version in old.map(versions).unwrap_or_default() {
        let schema = version.pointer("/schema/openAPIV3Schema");
        if let (Some(name), Some(schema)) = (version["name"].as_str(), schema) {
            schemas.entry(name).or_insert(schema);
        }
    }
    schemas
}

fn deprecation_warning(version: &Value, at: &str, faults: &mut Faults) {
    let (field, said) =
        (format!("{at}.deprecationWarning"), version["deprecationWarning"].as_str().unwrap_or_default());
    if version["deprecated"] != true {
        return faults.invalid(&field, &said.into(), "can only be set for deprecated versions");
    }
    if said.is_empty() {
        faults.invalid(&field, &said.into(), "must not be an empty string");
    }
    if said.len() > 256 {
        faults.invalid(&field, &said.into(), "must be <= 256 characters long");
    }
    if let Some((at, _)) = said.char_indices().find(|(_, letter)| !is_printable(*letter)) {
        let why = format!("must only contain printable UTF-8 characters; non-printable character found at index {at}");
        faults.invalid(&field, &said.into(), &why);
    }
}

/// The versions as upstream holds them, which is how its messages show them.
fn internal_versions(versions: &[Value], alike: &Alike) -> String {
    let unless =
        |alike: bool, value: Option<&Value>| if alike { Value::Null } else { value.cloned().unwrap_or_default() };
    let shown: Vec<String> = versions
        .iter()
        .map(|version| {
            let flag = |field: &str| version[field] == true;
            format!(
                "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":{},\"Schema\":{},\
                 \"Subresources\":{},\"AdditionalPrinterColumns\":{},\"SelectableFields\":{}}}",
                version["name"],
                flag("served"),
                flag("storage"),
                flag("deprecated"),
                version["deprecationWarning"],
                unless(alike.schema, version.get("schema")),
                unless(alike.subresources, version.get("subresources")),
                unless(alike.columns, version.get("additionalPrinterColumns")),
                unless(alike.fields, version.get("selectableFields")),
            )
        })
        .collect();
    format!("[{}]", shown.join(","))
}

fn subresources(version: &Value, at: &str, faults: &mut Faults) {
    let Some(scale) = version.pointer("/subresources/scale").filter(|scale| !scale.is_null()) else { return };
    for (field, below, required) in
        [("specReplicasPath", ".spec", true), ("statusReplicasPath", ".status", true), ("labelSelectorPath", "", false)]
    {
        let path = format!("{at}.subresources.scale.{field}");
        let said = scale.get(field).and_then(Value::as_str).unwrap_or("");
        if said.is_empty() {
            if required {
                faults.required(&path, "");
            }
            continue;
        }
        if !said.starts_with('.') {
            faults.invalid(&path, &said.into(), "must be a simple json path starting with .");
        } else if below.is_empty() && !said.starts_with(".spec.") && !said.starts_with(".status.") {
            faults.invalid(&path, &said.into(), "should be a json path under either .spec or .status");
        } else if !said.starts_with(&format!("{below}.")) {
            faults.invalid(&path, &said.into(), &format!("should be a json path under {below}"));
        }
    }
}

fn columns(version: &Value, at: &str, faults: &mut Faults) {
    let columns = version.get("additionalPrinterColumns").and_then(Value::as_array).into_iter().flatten();
    for (index, column) in columns.enumerate() {
        let at = format!("{at}.additionalPrinterColumns[{index}]");
        let text = |field: &str| column.get(field).and_then(Value::as_str).unwrap_or("");
        if text("name").is_empty() {
            faults.required(&format!("{at}.name"), "");
        }
        let known = ["boolean", "date", "integer", "number", "string"];
        match text("type") {
            "" => faults.required(&format!("{at}.type"), "must be one of boolean,date,integer,number,string"),
            said if !known.contains(&said) => {
                let why = format!("must be one of {}", known.join(","));
                faults.invalid(&format!("{at}.type"), &said.into(), &why);
            }
            _ => {}
        }
        let formats = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
        if !text("format").is_empty() && !formats.contains(&text("format")) {
            let why = format!("must be one of {}", formats.join(","));
            faults.invalid(&format!("{at}.format"), &text("format").into(), &why);
        }
        let field = format!("{at}.JSONPath");
        match text("jsonPath") {
            "" => faults.required(&field, ""),
            said if JsonPath::parse(said).is_err() => {
                faults.invalid(&field, &said.into(), "must be a simple json path starting with .");
            }
            _ => {}
        }
    }
}

/// How many selectable fields a version may have.
const SELECTABLE_MAX: usize = 8;

/// The schema that they are found in must stand beside them: both at the definition, or both at the version.
fn selectable_fields(version: &Value, beside: bool, at: &str, faults: &mut Faults) {
    let fields = version.get("selectableFields").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let schema = version.pointer("/schema/openAPIV3Schema");
    let Some(schema) = schema.filter(|schema| beside && !schema.is_null()) else {
        let why = match at {
            "spec" => "may only be set when validations.schema is included",
            _ => "may only be set when `version.schema.openAPIV3Schema` is not included",
        };
        if !fields.is_empty() {
            faults.invalid(&format!("{at}.selectableFields"), &json!(""), why);
        }
        return;
    };
    let schema = Structural::compile(schema);
    let mut seen: HashSet<Vec<String>> = HashSet::new();
    for (index, field) in fields.iter().enumerate() {
        let at = format!("{at}.selectableFields[{index}].jsonPath");
        let said = field.get("jsonPath").and_then(Value::as_str).unwrap_or("");
        if said.is_empty() {
            faults.required(&at, "");
            continue;
        }
        let found = match field_path::follow(&schema, said, false) {
            Ok(found) => found,
            Err(why) => {
                faults.invalid(&at, &said.into(), &format!("is an invalid path: {why}"));
                continue;
            }
        };
        if found.steps.first().is_some_and(|first| first == "metadata") {
            faults.invalid(&at, &said.into(), "must not point to fields in metadata");
        }
        let plain = |schema: &Structural| matches!(&*schema.type_name, "string" | "boolean" | "integer");
        if !found.schema.is_some_and(plain) {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                       formats are allowed.";
            faults.invalid(&at, &said.into(), why);
        }
        if !seen.insert(found.steps) {
            faults.duplicate(&at, &said.into());
        }
    }
    if seen.len() > SELECTABLE_MAX {
        faults.too_many(&format!("{at}.selectableFields"), seen.len() as u64, SELECTABLE_MAX as u64);
    }
}

/// Whether a letter is shown: spaces other than the plain one, and what only says how others are shown, are not.
fn is_printable(letter: char) -> bool {
    let hidden = matches!(letter,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}'
        | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..);
    letter == ' ' || !letter.is_control() && !letter.is_whitespace() && !hidden
}

fn conversion(definition: &Object, old: Option<&Object>, faults: &mut Faults) {
    let at =
        |path: &[&str]| definition.at(&[&["spec", "conversion"][..], path].concat()).filter(|value| !value.is_null());
    match definition.str_at(&["spec", "conversion", "strategy"]) {
        "" => faults.required("spec.conversion.strategy", ""),
        "None" => {
            let why = "should not be set when strategy is not set to Webhook";
            if at(&["webhook", "clientConfig"]).is_some() {
                faults.forbidden("spec.conversion.webhookClientConfig", why);
            }
            if !texts(at(&["webhook", "conversionReviewVersions"])).is_empty() {
                faults.forbidden("spec.conversion.conversionReviewVersions", why);
            }
        }
        "Webhook" => {
            let client = at(&["webhook", "clientConfig"]);
            match client {
                None => {
                    let why = "required when strategy is set to Webhook";
                    faults.required("spec.conversion.webhookClientConfig", why);
                }
                Some(client) => client_config(client, old, faults),
            }
            let reviews = texts(at(&["webhook", "conversionReviewVersions"]));
            let field = "spec.conversion.conversionReviewVersions";
            for (index, version) in reviews.iter().enumerate() {
                let (at, sent) = (format!("{field}[{index}]"), Value::from(&**version));
                if reviews[..index].contains(version) {
                    faults.invalid(&at, &sent, "duplicate version");
                } else if let Some(fault) = label_1035_fault(version) {
                    faults.invalid(&at, &sent, &fault);
                }
            }
            if reviews.is_empty() {
                faults.required(field, "");
            } else if !reviews.iter().any(|version| matches!(&**version, "v1" | "v1beta1")) {
                let said = Value::from(reviews.iter().map(ToString::to_string).collect::<Vec<_>>());
                faults.invalid(field, &said, "must include at least one of v1, v1beta1");
            }
        }
        other => faults.not_supported("spec.conversion.strategy", &other.into(), &["None", "Webhook"]),
    }
}

fn client_config(client: &Value, old: Option<&Object>, faults: &mut Faults) {
    let at = "spec.conversion.webhookClientConfig";
    let (url, service) =
        (client.get("url").and_then(Value::as_str), client.get("service").filter(|one| !one.is_null()));
    match (url, service) {
        (Some(_), Some(_)) | (None, None) => faults.required(at, "exactly one of url or service is required"),
        (Some(url), None) => webhook_url_faults(&format!("{at}.url"), url, faults),
        (None, Some(service)) => webhook_service_faults(&format!("{at}.service"), service, faults),
    }
    // One that was there before, and what is not served yet, may be as it is.
    let bundle = |client: &Value| client.get("caBundle").and_then(Value::as_str).unwrap_or_default().to_owned();
    let served = old.filter(|old| super::is_established(old));
    let before = served.map(|old| old.at(&["spec", "conversion", "webhook", "clientConfig"]).map(bundle));
    let fine = |bundle: &str| bundle.is_empty() || has_certificate(bundle);
    if before.is_some_and(|before| before.is_none_or(|before| fine(&before))) && !fine(&bundle(client)) {
        let why = "unable to load root certificates: unable to parse bytes as PEM block";
        faults.invalid(&format!("{at}.caBundle"), &bundle(client).into(), why);
    }
}

fn stored_versions(definition: &Object, faults: &mut Faults) {
    let stored = texts(definition.at(&["status", "storedVersions"]));
    if stored.is_empty() {
        faults.invalid("status.storedVersions", &Value::Null, "must have at least one stored version");
    }
    let said = || Value::from(stored.iter().map(ToString::to_string).collect::<Vec<_>>());
    // A version that stands there twice is found once.
    let mut left: HashSet<&str> = stored.iter().map(|name| &**name).collect();
    for version in versions(definition).iter().filter(|_| !stored.is_empty()) {
        let name = version["name"].as_str().unwrap_or_default();
        if !left.remove(name) && version["storage"] == true {
            faults.invalid("status.storedVersions", &said(), &format!("must have the storage version {name}"));
        }
    }
    for (index, name) in stored.iter().enumerate() {
        if !versions(definition).iter().any(|version| version["name"] == **name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
                 until a storage migration ensures no data remains persisted in {name} and removes {name} from \
                 status.storedVersions"
            );
            faults.invalid(&format!("status.storedVersions[{index}]"), &(&**name).into(), &why);
        }
    }
}

/// What may not change of a definition whose kind is served.
fn immutable(definition: &Object, old: &Object, faults: &mut Faults) {
    let mut kept: Vec<&[&str]> = vec![&["spec", "group"], &["spec", "names", "plural"]];
    if super::is_established(old) {
        kept.extend([&["spec", "scope"][..], &["spec", "names", "kind"]]);
    }
    for path in kept {
        let said = definition.at(path).cloned().unwrap_or_default();
        if old.at(path) != definition.at(path) {
            faults.invalid(&path.join("."), &said, "field is immutable");
        }
    }
}
