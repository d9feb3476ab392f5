//! Where a persistent volume is, and what its spec says beside that.

use serde_json::{Map, Value};

use super::super::fault::{Faults, Site, is_empty};
use super::Run;
use super::storage::not_positive;
use super::volumes::{azure_faults, flex_faults, flocker_faults, is_iscsi_name, quobyte_faults};
use crate::name::{label_fault, subdomain_fault};
use crate::quantity::Quantity;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("volume_spec", volume_spec),
    ("volume_source_kept", volume_source_kept),
    ("volume_mode_kept", volume_mode_kept),
    ("volume_nodes_kept", volume_nodes_kept),
    ("volume_class_kept", volume_class_kept),
];

/// What a volume's spec says beside where the volume is.
const VOLUME_FIELDS: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// Where a volume can be, in the order in which it is looked for: the first is the one that counts.
const VOLUME_SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// Stands at the spec of a volume; an attachment may have one within it, which says less.
fn volume_spec(site: &Site<'_>, faults: &mut Faults) {
    let inline = site.root_kind == "VolumeAttachment";
    if inline {
        inline_spec(site, faults);
    } else {
        capacity(site, faults);
        if site.text("persistentVolumeReclaimPolicy") == "Recycle"
            && site.map.get("hostPath").is_some_and(|path| path["path"] == "/")
        {
            let why = "may not be 'recycle' for a hostPath mount of '/'";
            faults.forbidden(&site.sub("persistentVolumeReclaimPolicy"), why);
        }
        for fault in subdomain_fault(site.text("storageClassName")).iter().filter(|_| site.has("storageClassName")) {
            faults.invalid(&site.sub("storageClassName"), &Value::from(site.text("storageClassName")), fault);
        }
        if let Some(mode) = site.map.get("volumeMode").filter(|mode| *mode != "Block" && *mode != "Filesystem") {
            faults.not_supported(&site.sub("volumeMode"), mode, &["Block", "Filesystem"]);
        }
    }
    if !site.has("accessModes") {
        faults.required(&site.sub("accessModes"), "");
    }
    let mut found = false;
    for kind in VOLUME_SOURCES {
        let Some(source) = site.map.get(kind).filter(|source| !source.is_null()) else { continue };
        if found && kind != "flexVolume" {
            let named = if kind == "cephfs" { "cephFS" } else { kind };
            faults.forbidden(&site.sub(named), "may not specify more than 1 volume type");
            continue;
        }
        found = true;
        source_faults(kind, source, site, faults);
    }
    if !found {
        faults.required(&site.path(), "must specify a volume type");
    }
    class_of_attributes(site, faults);
}

fn class_of_attributes(site: &Site<'_>, faults: &mut Faults) {
    let Some(class) = site.map.get("volumeAttributesClassName").and_then(Value::as_str) else { return };
    let path = site.sub("volumeAttributesClassName");
    if class.is_empty() {
        faults.required(&path, "an empty string is disallowed");
    } else if let Some(fault) = subdomain_fault(class) {
        faults.invalid(&path, &Value::from(class), &fault);
    }
    if !site.sets("csi") {
        faults.required(&site.sub("csi"), "has to be specified when using volumeAttributesClassName");
    }
}

fn inline_spec(site: &Site<'_>, faults: &mut Faults) {
    const WHY: &str = "may not be specified in the context of inline volumes";
    for field in ["claimRef", "nodeAffinity"].into_iter().filter(|field| site.sets(field)) {
        faults.forbidden(&site.sub(field), WHY);
    }
    for field in ["capacity", "storageClassName"].into_iter().filter(|field| site.has(field)) {
        faults.forbidden(&site.sub(field), WHY);
    }
    if !site.sets("csi") {
        faults.required(&site.sub("csi"), "has to be specified in the context of inline volumes");
    }
    if !matches!(site.text("persistentVolumeReclaimPolicy"), "" | "Retain") {
        let why = "may only be Retain in the context of inline volumes";
        faults.forbidden(&site.sub("persistentVolumeReclaimPolicy"), why);
    }
    if site.map.get("volumeMode").is_some_and(|mode| *mode != "Filesystem") {
        let why = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        faults.forbidden(&site.sub("volumeMode"), why);
    }
}

fn capacity(site: &Site<'_>, faults: &mut Faults) {
    let path = site.sub("capacity");
    let none = Map::new();
    let amounts = site.map.get("capacity").and_then(Value::as_object).unwrap_or(&none);
    if amounts.is_empty() {
        faults.required(&path, "");
    }
    if !amounts.contains_key("storage") || amounts.len() > 1 {
        let sent = site.map.get("capacity").unwrap_or(&Value::Null);
        faults.not_supported(&path, sent, &["storage"]);
    }
    for (name, amount) in amounts {
        let path = format!("{path}[{name}]");
        let quantity = amount.as_str().and_then(|text| Quantity::parse(text).ok());
        if let Some(value) = quantity.map(|quantity| quantity.value()).filter(|value| *value < 0) {
            faults.invalid(&path, &Value::from(value), "must be a valid resource quantity");
        }
        if not_positive(amount) {
            faults.invalid(&path, amount, "must be greater than zero");
        }
    }
}

fn source_faults(kind: &str, source: &Value, site: &Site<'_>, faults: &mut Faults) {
    // Upstream has two names for one of them.
    let at = site.sub(if kind == "gcePersistentDisk" { "persistentDisk" } else { kind });
    let text = |field: &str| source[field].as_str().unwrap_or_default();
    let needed: &[&str] = match kind {
        "gcePersistentDisk" => &["pdName"],
        "glusterfs" => &["endpoints", "path"],
        "rbd" => &["monitors", "image"],
        "cephfs" => &["monitors"],
        "cinder" => &["volumeID"],
        "flexVolume" => &["driver"],
        "azureFile" => &["secretName", "shareName"],
        "scaleIO" => &["gateway", "system", "volumeName"],
        "storageos" => &["volumeName"],
        _ => &[],
    };
    for field in needed.iter().filter(|field| is_empty(&source[**field])) {
        faults.required(&format!("{at}.{field}"), "");
    }
    match kind {
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            if let Some(part) = source["partition"].as_i64().filter(|part| !(0..=255).contains(part)) {
                let why = "must be between 1 and 255, inclusive";
                faults.invalid(&format!("{at}.partition"), &Value::from(part), why);
            }
        }
        "glusterfs" => {
            let (path, namespace) = (format!("{at}.endpointsNamespace"), &source["endpointsNamespace"]);
            if *namespace == "" {
                let why = "if the endpointnamespace is set, it must be a valid namespace name";
                faults.invalid(&path, namespace, why);
            } else if let Some(fault) = namespace.as_str().and_then(label_fault) {
                faults.invalid(&path, namespace, &fault);
            }
        }
        "flocker" => flocker_faults(&at, source, faults),
        "quobyte" => quobyte_faults(&at, source, faults),
        "cinder" | "storageos" => {
            for field in ["volumeName", "volumeNamespace"].into_iter().filter(|field| !text(field).is_empty()) {
                if let Some(fault) = label_fault(text(field)) {
                    faults.invalid(&format!("{at}.{field}"), &source[field], &fault);
                }
            }
            secret(&at, source, &["name", "namespace"], faults);
        }
        "flexVolume" => flex_faults(&format!("{at}.options"), &source["options"], faults),
        "azureFile" if source["secretNamespace"] == "" => faults.required(&format!("{at}.secretNamespace"), ""),
        "azureDisk" => azure_faults(&format!("{at}.diskURI"), source, faults),
        "iscsi" => iscsi(&at, source, site, faults),
        "local" if !site.sets("nodeAffinity") => {
            faults.required(&site.sub("nodeAffinity"), "Local volume requires node affinity");
        }
        _ => {}
    }
}

fn secret(at: &str, source: &Value, fields: &[&str], faults: &mut Faults) {
    let secret = &source["secretRef"];
    for field in fields.iter().filter(|field| secret.is_object() && is_empty(&secret[**field])) {
        faults.required(&format!("{at}.secretRef.{field}"), "");
    }
}

fn iscsi(at: &str, source: &Value, site: &Site<'_>, faults: &mut Faults) {
    let portal = source["targetPortal"].as_str().unwrap_or_default();
    if source["initiatorName"].is_string() && site.root_name.len() + 1 + portal.len() > 64 {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName \
                   is specified.";
        faults.invalid(&format!("{at}.targetportal"), &Value::from(portal), why);
    }
    let asks = ["chapAuthDiscovery", "chapAuthSession"].iter().any(|field| source[*field] == true);
    if asks && source["secretRef"].is_null() {
        faults.required(&format!("{at}.secretRef"), "");
    }
    secret(at, source, &["name"], faults);
    if let Some(name) = source["initiatorName"].as_str().filter(|name| !is_iscsi_name(name)) {
        faults.invalid(&format!("{at}.initiatorname"), &Value::from(name), "must be valid format");
    }
}

fn sources(volume: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let fields = volume.get("spec").and_then(Value::as_object).into_iter().flatten();
    fields.filter(|(field, _)| !VOLUME_FIELDS.contains(&field.as_str())).collect()
}

fn volume_source_kept(site: &Site<'_>, faults: &mut Faults) {
    let Some(old) = site.old_map else { return };
    let (before, mut after) = (sources(old), sources(site.map));
    // A secret for resizing may be named later.
    let without = |source: &Value| {
        let mut source = source.clone();
        source.as_object_mut().and_then(|source| source.remove("controllerExpandSecretRef"));
        source
    };
    let late = before.iter().find(|(kind, source)| *kind == "csi" && source["controllerExpandSecretRef"].is_null());
    let csi = after.iter().position(|(kind, _)| *kind == "csi").filter(|_| late.is_some());
    let trimmed = csi.map(|at| without(after[at].1));
    if let (Some(at), Some(trimmed)) = (csi, &trimmed) {
        after[at].1 = trimmed;
    }
    if before != after {
        let why = "spec.persistentvolumesource is immutable after creation\n";
        faults.forbidden("spec.persistentvolumesource", why);
    }
}

/// Where a volume can be used is said once.
fn volume_nodes_kept(site: &Site<'_>, faults: &mut Faults) {
    let affinity = |volume: &Map<String, Value>| volume.get("spec").map(|spec| spec["nodeAffinity"].clone());
    let before = site.old_map.and_then(affinity).filter(|affinity| !affinity.is_null());
    if before.is_some() && before != affinity(site.map) {
        let why = "field is immutable, except for updating from beta label to GA";
        faults.invalid("nodeAffinity", &affinity(site.map).unwrap_or_default(), why);
    }
}

fn volume_mode_kept(site: &Site<'_>, faults: &mut Faults) {
    let mode = |volume: &Map<String, Value>| volume.get("spec").and_then(|spec| spec.get("volumeMode")).cloned();
    if let Some(old) = site.old_map
        && mode(old) != mode(site.map)
    {
        faults.invalid("volumeMode", &mode(site.map).unwrap_or_default(), "field is immutable");
    }
}

/// A class may become another one, not none.
fn volume_class_kept(site: &Site<'_>, faults: &mut Faults) {
    let has = |volume: &Map<String, Value>| {
        volume.get("spec").is_some_and(|spec| !spec["volumeAttributesClassName"].is_null())
    };
    if site.old_map.is_some_and(has) && !has(site.map) {
        faults.forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden");
    }
}
