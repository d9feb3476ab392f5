//! Volumes: where their files come from, what they are called and who may read them.

use serde_json::{Value, json};

use super::super::check::steps_up_faults;
use super::super::fault::{Faults, Site};
use super::Run;
use super::environment::{pod_field, resource_field};

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("one_volume_source", one_volume_source),
    ("file_mode", file_mode),
    ("local_path", local_path),
    ("downward_files", downward_files),
    ("inner_directory", inner_directory),
    ("projected_paths", projected_paths),
    ("fibre_channel", fibre_channel),
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
    for source in SOURCES.iter().filter(|source| site.sets(source)).skip(1) {
        faults.forbidden(&site.sub(source), "may not specify more than 1 volume type");
    }
}

/// As `one_volume_source`, for one of the sources that are projected into one volume.
fn one_projection(site: &Site<'_>, faults: &mut Faults) {
    if site.map.len() > 1 {
        faults.forbidden(&site.path(), "may not specify more than 1 volume type per source");
    }
}

/// Paths within one volume differ, whatever they come from. Stands at the volume.
fn projected_paths(site: &Site<'_>, faults: &mut Faults) {
    let mut seen: Vec<&str> = Vec::new();
    for source in site.list("sources") {
        for (kind, name) in [("secret", "name"), ("configMap", "name"), ("downwardAPI", "path")] {
            for item in source[kind]["items"].as_array().into_iter().flatten() {
                let path = item["path"].as_str().unwrap_or_default();
                if !path.is_empty() && seen.contains(&path) {
                    let shown = if name == "path" { &item["path"] } else { &source[kind][name] };
                    faults.invalid(&site.path(), shown, "conflicting duplicate paths");
                }
                seen.push(path);
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
    if path.starts_with("..") && !path.starts_with("../") && path != ".." {
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
            (Value::Null, resource) => {
                if resource["containerName"].as_str().is_none_or(str::is_empty) {
                    faults.required(&at("resourceFieldRef.containerName"), "");
                }
                resource_field(&at("resourceFieldRef"), resource, faults);
            }
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
    let hex = |prefix: &str, length: usize| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() == length + 1 && rest.bytes().skip(1).all(|byte| byte.is_ascii_alphanumeric())
        })
    };
    if !["iqn", "eui", "naa"].iter().any(|prefix| name.starts_with(prefix)) {
        // Volumes and what pods mount of them are told in different words.
        let why = if site.root_kind == "PersistentVolume" {
            "must be valid format"
        } else {
            "must be valid format starting with iqn, eui, or naa"
        };
        faults.invalid(&site.path(), &Value::from(name), why);
    } else if !(is_iqn(name) || hex("eui", 16) || hex("naa", 32)) {
        faults.invalid(&site.path(), &Value::from(name), "must be valid format");
    }
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
