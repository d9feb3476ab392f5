//! What containers mount of their pod's volumes, and which devices they are given.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::check::{descending_faults, steps_up_faults};
use super::super::fault::{Faults, Site};
use super::Run;

pub(super) const CHECKS: &[(&str, Run)] = &[("mounts", mounts)];

/// The lists of a pod's containers.
pub(super) const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// What containers mount are volumes of the pod that are as they must be. Stands at the spec, and comes last.
fn mounts(site: &Site<'_>, faults: &mut Faults) {
    let known = volumes(site, faults);
    for list in CONTAINERS {
        for (index, container) in site.list(list).iter().enumerate() {
            let at = site.sub(&format!("{list}[{index}]"));
            let of = |list: &str| container[list].as_array().map_or(&[][..], Vec::as_slice);
            let privileged = container["securityContext"]["privileged"] == true;
            paths(&at, of("volumeMounts"), of("volumeDevices"), &known, privileged, faults);
            devices(&at, of("volumeDevices"), of("volumeMounts"), &known, faults);
        }
    }
    file_keys(site, faults);
}

/// The volumes that can be mounted, by name. A name that stands twice counts where it is first right.
fn volumes<'a>(site: &'a Site<'_>, faults: &mut Faults) -> HashMap<&'a str, Option<&'a Value>> {
    let mut known = HashMap::new();
    let templates: HashSet<&str> =
        site.templates.iter().filter_map(|claim| claim["metadata"]["name"].as_str()).collect();
    let list = site.list("volumes");
    let created: HashSet<String> = list
        .iter()
        .filter(|volume| volume["ephemeral"].is_object())
        .map(|volume| format!("{}-{}", site.root_name, volume["name"].as_str().unwrap_or_default()))
        .collect();
    let wrong = items_at_fault(&site.sub("volumes"), faults);
    for (index, volume) in list.iter().enumerate() {
        let name = volume["name"].as_str().unwrap_or_default();
        let at = site.sub(&format!("volumes[{index}]"));
        if known.contains_key(name) {
            faults.duplicate(&format!("{at}.name"), &Value::from(name));
        } else if !wrong.contains(&index) && !templates.contains(name) {
            known.insert(name, Some(volume));
        }
        let claim = &volume["persistentVolumeClaim"]["claimName"];
        if site.root_kind == "Pod" && claim.as_str().is_some_and(|claim| created.contains(claim)) {
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            faults.invalid(&format!("{at}.persistentVolumeClaim.claimName"), claim, why);
        }
    }
    known.extend(templates.into_iter().map(|name| (name, None)));
    known
}

/// Which items of a list have faults already.
fn items_at_fault(list: &str, faults: &Faults) -> HashSet<usize> {
    let index = |field: &str| field.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?.0.parse().ok();
    faults.0.iter().filter_map(|fault| index(&fault.field)).collect()
}

/// What a field says in all items of a list.
fn texts<'a>(list: &'a [Value], field: &str) -> HashSet<&'a str> {
    list.iter().map(|item| text(item, field)).collect()
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_default()
}

fn paths(
    at: &str,
    mounts: &[Value],
    devices: &[Value],
    known: &HashMap<&str, Option<&Value>>,
    privileged: bool,
    faults: &mut Faults,
) {
    let mut seen = HashSet::new();
    let (device_names, device_paths) = (texts(devices, "name"), texts(devices, "devicePath"));
    let list = format!("{at}.volumeMounts");
    for (index, mount) in mounts.iter().enumerate() {
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        let at = |field: &str| format!("{list}[{index}].{field}");
        if !known.contains_key(name) {
            faults.not_found(&at("name"), &Value::from(name));
        }
        if !seen.insert(path) {
            faults.invalid(&at("mountPath"), &Value::from(path), "must be unique");
        }
        if device_names.contains(name) {
            faults.invalid(&at("name"), &Value::from(name), "must not already exist in volumeDevices");
        }
        if device_paths.contains(path) {
            let why = "must not already exist as a path in volumeDevices";
            faults.invalid(&at("mountPath"), &Value::from(path), why);
        }
        for field in ["subPath", "subPathExpr"] {
            for fault in descending_faults(text(mount, field)) {
                faults.invalid(&format!("{list}.{field}"), &mount[field], &fault);
            }
        }
        if !text(mount, "subPath").is_empty() && !text(mount, "subPathExpr").is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            faults.invalid(&at("subPathExpr"), &mount["subPathExpr"], why);
        }
        propagation(&list, mount, privileged, faults);
        read_only(&list, mount, faults);
    }
}

fn propagation(list: &str, mount: &Value, privileged: bool, faults: &mut Faults) {
    const KNOWN: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];
    let how = &mount["mountPropagation"];
    let path = format!("{list}.mountPropagation");
    if how.as_str().is_some_and(|how| !KNOWN.contains(&how)) {
        faults.not_supported(&path, how, &KNOWN);
    }
    if how == "Bidirectional" && !privileged {
        faults.forbidden(&path, "Bidirectional mount propagation is available only to privileged containers");
    }
}

/// Whether what is mounted below a mount can be written to.
fn read_only(list: &str, mount: &Value, faults: &mut Faults) {
    const KNOWN: [&str; 3] = ["Disabled", "Enabled", "IfPossible"];
    let path = format!("{list}.recursiveReadOnly");
    match mount["recursiveReadOnly"].as_str() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount["readOnly"] != true {
                faults.forbidden(&path, "may only be specified when readOnly is true");
            }
            if mount["mountPropagation"].as_str().is_some_and(|how| how != "None") {
                faults.forbidden(&path, "may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(_) => faults.not_supported(&path, &mount["recursiveReadOnly"], &KNOWN),
    }
}

/// Volumes that are given to a container as devices are claims.
fn devices(at: &str, devices: &[Value], mounts: &[Value], known: &HashMap<&str, Option<&Value>>, faults: &mut Faults) {
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    let (mounted, mount_paths) = (texts(mounts, "name"), texts(mounts, "mountPath"));
    for (index, device) in devices.iter().enumerate() {
        let (name, path) = (text(device, "name"), text(device, "devicePath"));
        let at = |field: &str| format!("{at}.volumeDevices[{index}].{field}");
        let mut wrong = |field: &str, value: &str, why: &str| faults.invalid(&at(field), &Value::from(value), why);
        if names.contains(name) {
            wrong("name", name, "must be unique");
        }
        let is_claim = |volume: &Value| volume["persistentVolumeClaim"].is_object() || volume["ephemeral"].is_object();
        match known.get(name) {
            None => faults.not_found(&at("name"), &Value::from(name)),
            Some(Some(volume)) if !is_claim(volume) => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                wrong("name", name, why);
            }
            Some(_) => {}
        }
        let mut wrong = |field: &str, value: &str, why: &str| faults.invalid(&at(field), &Value::from(value), why);
        if paths.contains(path) {
            wrong("devicePath", path, "must be unique");
        }
        if steps_up_faults(path).is_empty() {
            paths.insert(path);
        } else {
            wrong("devicePath", path, "can not contain backsteps ('..')");
        }
        if mounted.contains(name) {
            wrong("name", name, "must not already exist in volumeMounts");
        }
        if mount_paths.contains(path) {
            wrong("devicePath", path, "must not already exist as a path in volumeMounts");
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}

/// Files that variables come from are in empty directories of the pod.
fn file_keys(site: &Site<'_>, faults: &mut Faults) {
    // The last of a name counts.
    let volumes: HashMap<&str, &Value> =
        site.list("volumes").iter().map(|volume| (text(volume, "name"), volume)).collect();
    for list in CONTAINERS {
        for (index, container) in site.list(list).iter().enumerate() {
            for (at, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
                let source = &variable["valueFrom"]["fileKeyRef"];
                if !source.is_object() {
                    continue;
                }
                let name = text(source, "volumeName");
                let path = site.sub(&format!("{list}[{index}].env[{at}].valueFrom.fileKeyRef.volumeName"));
                match volumes.get(name) {
                    None => faults.not_found(&path, &Value::from(name)),
                    Some(volume) if volume["emptyDir"].is_null() => {
                        faults.invalid(&path, &Value::from(name), "referenced volume must be of type emptyDir");
                    }
                    Some(_) => {}
                }
            }
        }
    }
}
