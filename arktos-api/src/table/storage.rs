//! The rows of volumes and of what provides them.

use serde_json::Value;

use super::row::{Cells, NONE, Row, UNSET, cells, joined, plain, text};

pub fn volume(row: &Row<'_>) -> Cells {
    let claim = row
        .at("/spec/claimRef")
        .map_or_else(String::new, |claim| format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")));
    cells![
        row.name(),
        row.at("/spec/capacity/storage").map_or_else(|| "0".to_owned(), plain),
        access_modes(row.list("/spec/accessModes")),
        row.text("/spec/persistentVolumeReclaimPolicy"),
        phase(row),
        claim,
        class(row),
        row.text_or("/spec/volumeAttributesClassName", UNSET),
        row.text("/status/reason"),
        row.age(),
        row.text_or("/spec/volumeMode", UNSET),
    ]
}

pub fn volume_claim(row: &Row<'_>) -> Cells {
    let volume = row.text("/spec/volumeName");
    let (capacity, modes) = if volume.is_empty() {
        (String::new(), String::new())
    } else {
        let capacity = row.at("/status/capacity/storage").map_or_else(|| "0".to_owned(), plain);
        (capacity, access_modes(row.list("/status/accessModes")))
    };
    cells![
        row.name(),
        phase(row),
        volume,
        capacity,
        modes,
        class(row),
        row.text_or("/spec/volumeAttributesClassName", UNSET),
        row.age(),
        row.text_or("/spec/volumeMode", UNSET),
    ]
}

fn phase<'a>(row: &'a Row<'_>) -> &'a str {
    if row.is_deleted() { "Terminating" } else { row.text("/status/phase") }
}

/// The storage class: the annotation of old came first.
fn class<'a>(row: &'a Row<'_>) -> &'a str {
    row.text_or("/metadata/annotations/volume.beta.kubernetes.io~1storage-class", row.text("/spec/storageClassName"))
}

fn access_modes(modes: &[Value]) -> String {
    const SHORT: [(&str, &str); 4] =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| modes.iter().any(|known| known == mode);
    SHORT.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

pub fn storage_class(row: &Row<'_>) -> Cells {
    const DEFAULT: [&str; 2] = [
        "/metadata/annotations/storageclass.kubernetes.io~1is-default-class",
        "/metadata/annotations/storageclass.beta.kubernetes.io~1is-default-class",
    ];
    cells![
        with_default_mark(row, &DEFAULT),
        row.text("/provisioner"),
        row.text_or("/reclaimPolicy", "Delete"),
        row.text_or("/volumeBindingMode", "Immediate"),
        row.bool("/allowVolumeExpansion"),
        row.age(),
    ]
}

pub fn csi_driver(row: &Row<'_>) -> Cells {
    let or = |path: &str, absent: bool| row.at(path).and_then(Value::as_bool).unwrap_or(absent);
    let tokens: Vec<&str> = row.list("/spec/tokenRequests").iter().map(|token| text(token, "/audience")).collect();
    let modes = joined(row.list("/spec/volumeLifecycleModes"), ",");
    cells![
        row.name(),
        or("/spec/attachRequired", true),
        or("/spec/podInfoOnMount", false),
        or("/spec/storageCapacity", false),
        if tokens.is_empty() { UNSET.to_owned() } else { tokens.join(",") },
        or("/spec/requiresRepublish", false),
        if modes.is_empty() { NONE.to_owned() } else { modes },
        row.age(),
    ]
}

pub fn csi_node(row: &Row<'_>) -> Cells {
    cells![row.name(), row.count("/spec/drivers"), row.age()]
}

pub fn volume_attachment(row: &Row<'_>) -> Cells {
    cells![
        row.name(),
        row.text("/spec/attacher"),
        row.text("/spec/source/persistentVolumeName"),
        row.text("/spec/nodeName"),
        row.bool("/status/attached"),
        row.age(),
    ]
}

pub fn volume_attributes_class(row: &Row<'_>) -> Cells {
    const DEFAULT: [&str; 1] = ["/metadata/annotations/volumeattributesclass.alpha.kubernetes.io~1is-default-class"];
    cells![with_default_mark(row, &DEFAULT), row.text("/driverName"), row.age()]
}

/// The name, marked when one of these annotations says that the class is the default.
fn with_default_mark(row: &Row<'_>, annotations: &[&str]) -> String {
    let is_default = annotations.iter().any(|annotation| row.text(annotation) == "true");
    plain(&row.name()) + if is_default { " (default)" } else { "" }
}
