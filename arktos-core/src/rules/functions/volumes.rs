//! Volumes: where their files come from, what they are called and who may read them.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::check::steps_up_faults;
use super::super::fault::{Faults, Site};
use super::Run;
use super::environment::{pod_field, resource_field};
use crate::name::subdomain_faults;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("one_volume_source", one_volume_source),
    ("image_reference", image_reference),
    ("volume_details", volume_details),
    ("file_mode", file_mode),
    ("local_path", local_path),
    ("downward_files", downward_files),
    ("inner_directory", inner_directory),
    ("projected_paths", projected_paths),
    ("fibre_channel", fibre_channel),
    ("iscsi_secret", iscsi_secret),
    ("iscsi_name", iscsi_name),
    ("one_projection", one_projection),
    ("token_seconds", token_seconds),
    ("size_limit", size_limit),
];

/// The sources of a volume, in the order in which they are looked for: the first is the one that counts.
const SOURCES: [&str; 31] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "local",
    "csi",
    "ephemeral",
    "image",
];

fn one_volume_source(site: &Site<'_>, faults: &mut Faults) {
    let mut set = SOURCES.iter().filter(|source| site.sets(source));
    if set.next().is_none() {
        faults.required(&site.path(), "must specify a volume type");
    }
    for source in set {
        // Two fields have other names in messages than in the API.
        let shown = match *source {
            "cephfs" => "cephFS",
            "downwardAPI" => "downwarAPI",
            source => source,
        };
        faults.forbidden(&site.sub(shown), "may not specify more than 1 volume type");
    }
}

/// What kinds of volumes ask for beside what stands in the rules files. Stands at the volume.
fn volume_details(site: &Site<'_>, faults: &mut Faults) {
    let name = site.text("name");
    let source = |field: &str| site.map.get(field).filter(|source| source.is_object());
    if let Some(disk) = source("iscsi")
        && disk["initiatorName"].is_string()
        && name.len() + 1 + disk["targetPortal"].as_str().map_or(0, str::len) > 64
    {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                   iscsi.initiatorName is specified.";
        faults.invalid(&site.sub("name"), &Value::from(name), why);
    }
    if source("ephemeral").is_some() && site.root_kind == "Pod" && !site.root_name.is_empty() && !name.is_empty() {
        let claim = format!("{}-{name}", site.root_name);
        for fault in subdomain_faults(&claim) {
            faults.invalid(&site.sub("name"), &Value::from(name), &format!("PVC name \"{claim}\": {fault}"));
        }
    }
    for (field, shown) in [("awsElasticBlockStore", "awsElasticBlockStore"), ("gcePersistentDisk", "persistentDisk")] {
        let partition = source(field).map(|disk| &disk["partition"]);
        let is_odd = |number: &&Value| number.as_i64().is_some_and(|number| !(0..=255).contains(&number));
        if let Some(partition) = partition.filter(is_odd) {
            let path = site.sub(&format!("{shown}.partition"));
            faults.invalid(&path, partition, "must be between 1 and 255, inclusive");
        }
    }
    // Of several sources the first is looked at.
    let first = ["emptyDir", "hostPath", "gitRepo"].iter().all(|before| source(before).is_none());
    let nameless = |disk: &Value| disk["pdName"].as_str().is_none_or(str::is_empty);
    if first && source("gcePersistentDisk").is_some_and(nameless) {
        faults.required(&site.sub("persistentDisk.pdName"), "");
    }
    if let Some(flocker) = source("flocker") {
        flocker_faults(&site.sub("flocker"), flocker, faults);
    }
    if let Some(quobyte) = source("quobyte") {
        quobyte_faults(&site.sub("quobyte"), quobyte, faults);
    }
    if let Some(flex) = source("flexVolume") {
        flex_faults(&site.sub("flexVolume.options"), &flex["options"], faults);
    }
    if let Some(disk) = source("azureDisk") {
        azure_faults(&site.sub("azureDisk.diskURI"), disk, faults);
    }
    secret_names(site, faults);
}

/// A data set is named in one way.
pub(super) fn flocker_faults(path: &str, flocker: &Value, faults: &mut Faults) {
    let text = |field: &str| flocker[field].as_str().unwrap_or_default();
    match (text("datasetName"), text("datasetUUID")) {
        ("", "") => faults.required(path, "one of datasetName and datasetUUID is required"),
        ("", _) | (_, "") => {}
        _ => {
            let why = "datasetName and datasetUUID can not be specified simultaneously";
            faults.invalid(path, &json!("resource"), why);
        }
    }
    if text("datasetName").contains('/') {
        faults.invalid(&format!("{path}.datasetName"), &flocker["datasetName"], "must not contain '/'");
    }
}

/// Options of a driver are its own, and not Kubernetes's.
pub(super) fn flex_faults(at: &str, options: &Value, faults: &mut Faults) {
    for key in options.as_object().into_iter().flat_map(|options| options.keys()) {
        let domain = format!(".{}", key.split('/').next().unwrap_or(key).to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            faults.invalid(&format!("{at}[{key}]"), &Value::from(key.as_str()), why);
        }
    }
}

pub(super) fn azure_faults(path: &str, disk: &Value, faults: &mut Faults) {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let uri = disk["diskURI"].as_str().unwrap_or_default();
    let form = match disk["kind"].as_str() {
        Some("Managed") if !uri.starts_with("/subscriptions/") => MANAGED,
        Some(kind) if kind != "Managed" && !uri.starts_with("https://") => BLOB,
        _ => return,
    };
    faults.not_supported(path, &Value::from(uri), &[form]);
}

/// Secrets that a volume's source names have names. Stands at the volume.
fn secret_names(site: &Site<'_>, faults: &mut Faults) {
    let source = |field: &str| site.map.get(field).filter(|source| source.is_object());
    for (field, reference, path) in [
        ("cinder", "secretRef", "cinder.secretRef.name"),
        ("storageos", "secretRef", "storageos.secretRef.name"),
        ("csi", "nodePublishSecretRef", "csi.nodePublishSecretRef.name"),
    ] {
        let Some(secret) = source(field).map(|source| &source[reference]).filter(|secret| secret.is_object()) else {
            continue;
        };
        let name = secret["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            faults.required(&site.sub(path), "");
        } else if field == "csi" {
            // Upstream says that the name is the volume's.
            for fault in subdomain_faults(name) {
                faults.invalid(&site.sub("csi.name"), &Value::from(name), &fault);
            }
        }
    }
}

/// Templates may leave open which image a volume is of.
fn image_reference(site: &Site<'_>, faults: &mut Faults) {
    if site.root_kind == "Pod" && site.value_text().is_empty() {
        faults.required(&site.path(), "");
    }
}

pub(super) fn quobyte_faults(at: &str, quobyte: &Value, faults: &mut Faults) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let text = |field: &str| quobyte[field].as_str().unwrap_or_default();
    let registry = format!("{at}.registry");
    if text("registry").is_empty() {
        faults.required(&registry, PAIRS);
    } else if text("tenant").len() >= 65 {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        faults.required(&format!("{at}.tenant"), why);
    } else {
        // A port, and before it a name without colons, or an address in brackets.
        let is_pair = |pair: &str| match pair.rsplit_once(':') {
            Some((host, _)) if host.starts_with('[') => host.ends_with(']'),
            Some((host, port)) => !host.contains([':', '[', ']']) && !port.contains(['[', ']']),
            None => false,
        };
        for _ in text("registry").split(',').filter(|pair| !is_pair(pair)) {
            faults.invalid(&registry, &quobyte["registry"], PAIRS);
        }
    }
    if text("volume").is_empty() {
        faults.required(&format!("{at}.volume"), "");
    }
}

/// As `one_volume_source`, for one of the sources that are projected into one volume.
fn one_projection(site: &Site<'_>, faults: &mut Faults) {
    const SOURCES: [&str; 5] = ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle"];
    if SOURCES.iter().filter(|source| site.sets(source)).count() > 1 {
        faults.forbidden(&site.path(), "may not specify more than 1 volume type per source");
    }
}

/// Paths within one volume differ, whatever they come from. Stands at the volume.
fn projected_paths(site: &Site<'_>, faults: &mut Faults) {
    let mut seen: HashSet<&str> = HashSet::new();
    for source in site.list("sources") {
        for (kind, name) in [("secret", "name"), ("configMap", "name"), ("downwardAPI", "path")] {
            for item in source[kind]["items"].as_array().into_iter().flatten() {
                let path = item["path"].as_str().unwrap_or_default();
                if !seen.insert(path) && !path.is_empty() {
                    let shown = if name == "path" { &item["path"] } else { &source[kind][name] };
                    let shown = Value::from(shown.as_str().unwrap_or_default());
                    faults.invalid(&site.path(), &shown, "conflicting duplicate paths");
                }
            }
        }
        let token = &source["serviceAccountToken"];
        if token.is_object() {
            // Upstream says that the path is the volume's.
            path_faults(&site.sub("path"), token["path"].as_str().unwrap_or_default(), true, faults);
        }
    }
}

fn file_mode(site: &Site<'_>, faults: &mut Faults) {
    if let Some(mode) = site.value.filter(|mode| mode.as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode))) {
        faults.invalid(&site.path(), mode, MODE);
    }
}

/// A path within a volume, which does not lead out of it and is no name of the volume's own.
fn local_path(site: &Site<'_>, faults: &mut Faults) {
    path_faults(&site.path(), site.value_text(), false, faults);
}

fn path_faults(at: &str, path: &str, required: bool, faults: &mut Faults) {
    let sent = Value::from(path);
    if path.is_empty() && required {
        faults.required(at, "");
    }
    if path.starts_with('/') {
        faults.invalid(at, &sent, "must be a relative path");
    }
    for fault in steps_up_faults(path) {
        faults.invalid(at, &sent, &fault);
    }
    if path.starts_with("..") && !path.starts_with("../") {
        faults.invalid(at, &sent, "must not start with '..'");
    }
}

/// A directory within a volume.
fn inner_directory(site: &Site<'_>, faults: &mut Faults) {
    if site.value_text().starts_with('/') {
        faults.invalid(&site.path(), &Value::from(site.value_text()), "must be a relative path");
    }
    for fault in steps_up_faults(site.value_text()) {
        faults.invalid(&site.path(), &Value::from(site.value_text()), &fault);
    }
}

/// What files of a volume say of their pod. Stands at the files, and tells of the volume, as upstream does.
fn downward_files(site: &Site<'_>, faults: &mut Faults) {
    let path = site.path();
    let path = path.strip_suffix(".items").unwrap_or(&path);
    let at = |field: &str| format!("{path}.{field}");
    for file in site.items() {
        path_faults(&at("path"), file["path"].as_str().unwrap_or_default(), true, faults);
        match (&file["fieldRef"], &file["resourceFieldRef"]) {
            (Value::Null, Value::Null) => faults.required(path, "one of fieldRef and resourceFieldRef is required"),
            (Value::Null, resource) => resource_field(&at("resourceFieldRef"), resource, true, faults),
            (field, resource) => {
                pod_field(&at("fieldRef"), field, &FILE_FIELDS, faults);
                if !resource.is_null() {
                    let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                    faults.invalid(path, &json!("resource"), why);
                }
            }
        }
        if let Some(mode) = file["mode"].as_i64().filter(|mode| !(0..=0o777).contains(mode)) {
            faults.invalid(&at("mode"), &Value::from(mode), MODE);
        }
    }
}

/// The fields of a pod that a file may have.
const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Fibre channel: the disk is named in one of two ways.
fn fibre_channel(site: &Site<'_>, faults: &mut Faults) {
    let (targets, ids) = (site.has("targetWWNs"), site.has("wwids"));
    let path = site.sub("targetWWNs");
    if !targets && !ids {
        faults.required(&path, "must specify either targetWWNs or wwids, but not both");
    }
    if targets && ids {
        let why = "targetWWNs and wwids can not be specified simultaneously";
        faults.invalid(&path, &Value::from(site.list("targetWWNs")), why);
    }
    if targets && !site.sets("lun") {
        faults.required(&site.sub("lun"), "lun is required if targetWWNs is specified");
    }
}

/// The name of an iSCSI disk.
fn iscsi_name(site: &Site<'_>, faults: &mut Faults) {
    let name = site.value_text();
    if name.is_empty() {
        return;
    }
    if !["iqn", "eui", "naa"].iter().any(|prefix| name.starts_with(prefix)) {
        // Volumes and what pods mount of them are told in different words.
        let why = if matches!(site.root_kind, "PersistentVolume" | "VolumeAttachment") {
            "must be valid format"
        } else {
            "must be valid format starting with iqn, eui, or naa"
        };
        faults.invalid(&iscsi_path(site), &Value::from(name), why);
    } else if !is_iscsi_name(name) {
        faults.invalid(&iscsi_path(site), &Value::from(name), "must be valid format");
    }
}

/// Who has to prove who they are need something to do it with. Stands at the source.
fn iscsi_secret(site: &Site<'_>, faults: &mut Faults) {
    let asks = ["chapAuthDiscovery", "chapAuthSession"].iter().any(|field| site.map.get(*field) == Some(&true.into()));
    if asks && !site.sets("secretRef") {
        faults.required(&site.sub("secretRef"), "");
    }
}

/// Whether a text names an iSCSI disk, or who asks for it.
pub(super) fn is_iscsi_name(name: &str) -> bool {
    let hex = |prefix: &str, length: usize| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() == length + 1 && rest.bytes().skip(1).all(|byte| byte.is_ascii_alphanumeric())
        })
    };
    is_iqn(name) || hex("eui", 16) || hex("naa", 32)
}

/// Where a name stands, as messages have it.
fn iscsi_path(site: &Site<'_>) -> String {
    site.path().replace(".initiatorName", ".initiatorname")
}

/// `iqn.2001-04.com.example:disk`
fn is_iqn(name: &str) -> bool {
    let Some((authority, disk)) = name.strip_prefix("iqn.").and_then(|rest| rest.split_once(':')) else { return false };
    let (date, domain) = authority.split_at_checked(8).unwrap_or_default();
    let date = date.bytes().enumerate().all(|(at, byte)| match at {
        4 => byte == b'-',
        7 => byte == b'.',
        _ => byte.is_ascii_digit(),
    });
    let domain =
        domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.') && !domain.is_empty();
    date && domain
        && !disk.is_empty()
        && !disk.chars().any(|letter| ",;*&$|".contains(letter) || letter.is_whitespace())
}

fn token_seconds(site: &Site<'_>, faults: &mut Faults) {
    let Some((value, seconds)) = site.value.and_then(|value| Some((value, value.as_i64()?))) else { return };
    if seconds < 600 {
        faults.invalid(&site.path(), value, "may not specify a duration less than 10 minutes");
    }
    if seconds > 1 << 32 {
        faults.invalid(&site.path(), value, "may not specify a duration larger than 2^32 seconds");
    }
}

fn size_limit(site: &Site<'_>, faults: &mut Faults) {
    if site.value_text().starts_with('-') {
        faults.forbidden(&site.path(), "SizeLimit field must be a valid resource quantity");
    }
}
