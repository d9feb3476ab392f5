//! The documents themselves.

use std::collections::HashMap;

use arktos_core::catalog::{Catalog, Group, Kind, Subresource};
use arktos_core::{Scope, TypeMeta};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Aggregated, Documents, View};
use crate::health;

/// The version of Kubernetes whose API this is.
const KUBERNETES: (&str, &str, &str) = ("1", "36", "2");

/// Paths of the root document that do not follow from the catalog.
const OTHER_PATHS: [&str; 13] = [
    "/.well-known/openid-configuration",
    "/api",
    "/apis",
    "/apis/",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/openid/v1/jwks",
    "/readyz",
    "/version",
];

/// All documents of a view. `tenanted`: whether resources are said to be a tenant's.
pub(super) fn build(catalog: &Catalog, view: View, address: &str, tenanted: bool) -> Documents {
    let groups: Vec<Shown<'_>> = catalog.groups().iter().filter_map(|group| Shown::of(group, view)).collect();
    let mut plain: HashMap<String, Value> = HashMap::new();
    for group in &groups {
        for (version, kinds) in &group.versions {
            let mut resources = resource_list(group.name, version, kinds);
            if tenanted {
                say_tenanted(&mut resources, kinds);
            }
            plain.insert(format!("{}/{version}", group.path()), resources);
        }
        if !group.name.is_empty() {
            plain.insert(group.path(), with_type("APIGroup", group_entry(group)));
        }
    }
    let named = || groups.iter().filter(|group| !group.name.is_empty());
    plain.insert(
        "/apis".to_owned(),
        json!({
            "kind": "APIGroupList", "apiVersion": "v1", "groups": named().map(group_entry).collect::<Value>(),
        }),
    );
    plain.insert(
        "/api".to_owned(),
        json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        }),
    );
    let mut paths: Vec<String> =
        plain.keys().cloned().chain(OTHER_PATHS.map(str::to_owned)).chain(health::paths()).collect();
    paths.sort_unstable();
    paths.dedup();
    let root = json!({"paths": paths});
    plain.insert("/".to_owned(), root);
    plain.insert("/version".to_owned(), version());
    let mut aggregated = HashMap::new();
    aggregated.insert("api", aggregate(groups.iter().filter(|group| group.name.is_empty())));
    aggregated.insert("apis", aggregate(named()));
    Documents { plain: plain.into_iter().map(|(path, body)| (path, bytes(&body))).collect(), aggregated }
}

/// What a view shows of a group.
struct Shown<'a> {
    name: &'a str,
    versions: Vec<(&'a str, Vec<&'a Kind>)>,
}

impl<'a> Shown<'a> {
    fn of(group: &'a Group, view: View) -> Option<Self> {
        let versions: Vec<(&str, Vec<&Kind>)> = group
            .versions
            .iter()
            .map(|version| {
                let kinds = version.kinds.iter().map(AsRef::as_ref).filter(|kind| view.shows(kind));
                (version.name.as_str(), kinds.collect())
            })
            .filter(|(_, kinds): &(_, Vec<&Kind>)| !kinds.is_empty())
            .collect();
        (!versions.is_empty()).then_some(Self { name: &group.name, versions })
    }

    fn path(&self) -> String {
        if self.name.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.name) }
    }
}

fn bytes(document: &Value) -> Bytes {
    Bytes::from(document.to_string() + "\n")
}

fn with_type(kind: &str, mut document: Value) -> Value {
    document["kind"] = Value::from(kind);
    document["apiVersion"] = Value::from("v1");
    document
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn group_entry(group: &Shown<'_>) -> Value {
    let entry = |version: &str| json!({"groupVersion": group_version(group.name, version), "version": version});
    let versions: Vec<Value> = group.versions.iter().map(|(version, _)| entry(version)).collect();
    json!({"name": group.name, "preferredVersion": versions.first(), "versions": versions})
}

fn resource_list(group: &str, version: &str, kinds: &[&Kind]) -> Value {
    let mut resources = Vec::new();
    for kind in kinds {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|part| subresource(kind, part)));
    }
    let mut list = json!({
        "kind": "APIResourceList", "groupVersion": group_version(group, version), "resources": resources,
    });
    if !group.is_empty() {
        list["apiVersion"] = Value::from("v1");
    }
    list
}

fn resource(kind: &Kind) -> Value {
    let mut entry = json!({
        "name": kind.resource,
        "singularName": kind.singular,
        "namespaced": kind.scope == Scope::Namespace,
        "kind": kind.kind,
        "verbs": kind.verbs,
    });
    add_names(&mut entry, kind);
    // What is answered and not stored has no version that it is stored in.
    if kind.can("list") && kind.storage_resource.as_str() != "componentstatuses" {
        entry["storageVersionHash"] = Value::from(storage_version_hash(kind));
    }
    entry
}

/// Says of each resource, and its parts, that it is a tenant's, where it is.
fn say_tenanted(list: &mut Value, kinds: &[&Kind]) {
    for entry in list["resources"].as_array_mut().into_iter().flatten() {
        let name = entry["name"].as_str().and_then(|name| name.split('/').next()).unwrap_or_default();
        let of_tenant = kinds.iter().any(|kind| kind.resource == name && kind.scope != Scope::Region);
        if of_tenant {
            entry["tenanted"] = Value::Bool(true);
        }
    }
}

fn add_names(entry: &mut Value, kind: &Kind) {
    if !kind.short_names.is_empty() {
        entry["shortNames"] = Value::from(kind.short_names.clone());
    }
    if !kind.categories.is_empty() {
        entry["categories"] = Value::from(kind.categories.clone());
    }
}

/// A short name for the version that objects are stored in: it changes when that does.
fn storage_version_hash(kind: &Kind) -> String {
    let hash = Sha256::digest(format!("{}/{}/{}", kind.group, kind.version, kind.kind));
    BASE64_STANDARD.encode(&hash[..8])
}

fn subresource(kind: &Kind, part: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", kind.resource, part.name),
        "singularName": "",
        "namespaced": kind.scope == Scope::Namespace,
        "kind": part.kind.kind,
        "verbs": part.verbs,
    });
    if part.kind.api_version != kind.type_meta.api_version {
        entry["group"] = Value::from(part.kind.group());
        entry["version"] = Value::from(part.kind.version());
    }
    entry
}

fn aggregate<'a>(groups: impl Iterator<Item = &'a Shown<'a>>) -> Aggregated {
    let items: Vec<Value> = groups
        .map(|group| {
            let versions = group.versions.iter().map(|(version, kinds)| {
                let resources: Vec<Value> = kinds.iter().map(|kind| aggregated_resource(kind)).collect();
                json!({"version": version, "resources": resources, "freshness": "Current"})
            });
            let versions: Vec<Value> = versions.collect();
            let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let body = bytes(&json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }));
    let hash: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02X}")).collect();
    Aggregated { body, etag: format!("\"{hash}\"") }
}

fn aggregated_resource(kind: &Kind) -> Value {
    // As upstream has it: built-in kinds leave out the group and version that the document says already.
    let response_kind = |types: &TypeMeta| {
        let here = kind.builtin && types.api_version == kind.type_meta.api_version;
        let (group, version) = if here { ("", "") } else { (types.group(), types.version()) };
        json!({"group": group, "version": version, "kind": types.kind})
    };
    let mut entry = json!({
        "resource": kind.resource,
        "responseKind": response_kind(&kind.type_meta),
        "scope": if kind.scope == Scope::Namespace { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    add_names(&mut entry, kind);
    if !kind.subresources.is_empty() {
        let parts = kind.subresources.iter().map(
            |part| json!({"subresource": part.name, "responseKind": response_kind(&part.kind), "verbs": part.verbs}),
        );
        entry["subresources"] = parts.collect();
    }
    entry
}

/// The `/version` document: the version of the API that is spoken here, and which build speaks it.
fn version() -> Value {
    let (major, minor, patch) = KUBERNETES;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": "35",
        "gitVersion": format!("v{major}.{minor}.{patch}+arktos-{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": option_env!("ARKTOS_GIT_COMMIT").unwrap_or("unknown"),
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{architecture}", std::env::consts::OS),
    })
}
