//! The built-in kinds, from the data files.

use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use super::Catalog;
use super::kind::{Column, Kind, SelectableField, Subresource};
use crate::encoded::NOTES;
use crate::kind::{GroupResource, Scope, TypeMeta};
use crate::schema::{self, Schema, Shape};

/// The resources that belong to the region and not to a tenant.
const REGION: [(&str, &str); 11] = [
    ("", "nodes"),
    ("", "tenants"),
    ("storage.k8s.io", "csinodes"),
    ("region.arktos.io", "claims"),
    ("region.arktos.io", "claimfences"),
    ("region.arktos.io", "claimreviews"),
    ("region.arktos.io", "tenantquotas"),
    ("region.arktos.io", "tenantpartitions"),
    ("region.arktos.io", "resourcemanagers"),
    ("region.arktos.io", "tenantplacements"),
    ("region.arktos.io", "storageclusters"),
];

/// The name of the field by which components select pods of a resource manager; no tenant may use it.
pub(super) const RESOURCE_MANAGER_FIELD: &str = "arktos.resourceManager";

#[derive(Deserialize)]
struct File {
    resources: Vec<RawKind>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawKind {
    group: String,
    version: String,
    resource: String,
    singular: String,
    kind: String,
    namespaced: bool,
    verbs: Vec<String>,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    subresources: Vec<RawSubresource>,
    #[serde(default)]
    columns: Vec<Column>,
    #[serde(default)]
    field_selectors: Vec<String>,
}

#[derive(Deserialize)]
struct RawSubresource {
    name: String,
    verbs: Vec<String>,
    /// Group, version and kind as in `core/v1 Pod`.
    kind: String,
}

static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| {
    let own = kinds_of(include_str!("../../data/arktos.json"));
    let mut all = kinds_of(include_str!("../../data/schemas/resources.json"));
    all.extend(own);
    Arc::new(Catalog::new(all.into_iter().map(Arc::new)))
});

/// The catalog of built-in kinds.
pub(super) fn catalog() -> Arc<Catalog> {
    CATALOG.clone()
}

fn kinds_of(text: &str) -> Vec<Kind> {
    let file: File = serde_json::from_str(text).expect("the data files are JSON: a unit test reads each");
    let events = file.resources.iter().find(|raw| raw.group.is_empty() && raw.kind == "Event");
    let event_fields = events.map(fields).unwrap_or_default();
    file.resources.into_iter().map(|raw| kind(raw, &event_fields)).collect()
}

fn kind(raw: RawKind, event_fields: &[SelectableField]) -> Kind {
    let type_meta = TypeMeta::new(&raw.group, &raw.version, &raw.kind);
    let group_resource = GroupResource::new(&raw.group, &raw.resource);
    let renamed = raw.group == "events.k8s.io";
    let fields = if renamed { event_fields.iter().map(renamed_field).collect() } else { fields(&raw) };
    Kind {
        scope: match (raw.namespaced, REGION.contains(&(&raw.group, &raw.resource))) {
            (true, _) => Scope::Namespace,
            (false, true) => Scope::Region,
            (false, false) => Scope::Tenant,
        },
        subresources: raw.subresources.into_iter().map(subresource).collect(),
        schema: schema::builtin_type(&type_meta).unwrap_or_else(|| Schema::of(Shape::Any)),
        storage: !(renamed || raw.group == "autoscaling" && raw.version == "v1"),
        storage_resource: if renamed { GroupResource::core("events") } else { group_resource.clone() },
        type_meta: Arc::new(type_meta),
        group: raw.group,
        version: raw.version,
        list_kind: format!("{}List", raw.kind),
        kind: raw.kind,
        resource: raw.resource,
        singular: raw.singular,
        short_names: raw.short_names,
        categories: raw.categories,
        verbs: raw.verbs,
        columns: raw.columns,
        fields,
        group_resource,
        builtin: true,
        own: None,
    }
}

fn subresource(raw: RawSubresource) -> Subresource {
    let (group_version, kind) = raw.kind.split_once(' ').unwrap_or(("", &raw.kind));
    let api_version = group_version.strip_prefix("core/").unwrap_or(group_version).to_owned();
    Subresource { name: raw.name, verbs: raw.verbs, kind: TypeMeta { api_version, kind: kind.to_owned() } }
}

/// The selectable fields of a kind, as they stand in its stored form.
fn fields(raw: &RawKind) -> Vec<SelectableField> {
    let names =
        raw.field_selectors.iter().filter(|name| !matches!(name.as_str(), "metadata.name" | "metadata.namespace"));
    let mut fields: Vec<SelectableField> = names.map(|name| field(raw, name)).collect();
    if raw.group.is_empty() && raw.resource == "pods" {
        let path = vec![NOTES.to_owned(), "resource-manager".to_owned()];
        fields.push(SelectableField {
            name: RESOURCE_MANAGER_FIELD.to_owned(),
            path,
            otherwise: Vec::new(),
            absent: "",
        });
    }
    fields
}

fn field(raw: &RawKind, name: &str) -> SelectableField {
    let split = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (path, otherwise) = match (raw.resource.as_str(), name) {
        ("events", "source") => (split("source.component"), split("reportingComponent")),
        ("jobs", "status.successful") => (split("status.succeeded"), Vec::new()),
        _ => (split(name), Vec::new()),
    };
    let absent = match name {
        "spec.hostNetwork" | "spec.unschedulable" => "false",
        "status.replicas" | "status.successful" => "0",
        _ => "",
    };
    SelectableField { name: name.to_owned(), path, otherwise, absent }
}

/// A field of a core event as `events.k8s.io` names it.
fn renamed_field(field: &SelectableField) -> SelectableField {
    let name = match field.name.as_str() {
        "source" => String::new(),
        "reportingComponent" => "reportingController".to_owned(),
        name => name.replace("involvedObject.", "regarding."),
    };
    SelectableField { name, ..field.clone() }
}
