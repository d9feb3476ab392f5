//! Pods and their templates as wholes.

use serde_json::Value;

use super::super::check::check_labels;
use super::super::fault::{Faults, Site};
use super::Run;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("only_later", only_later),
    ("pod_update", pod_update),
    ("template_metadata", template_metadata),
    ("pod_os", pod_os),
    ("container_names", container_names),
    ("mounts", mounts),
    ("one_volume_source", one_volume_source),
    ("spread_twice", spread_twice),
    ("toleration", toleration),
    ("selector_operator", selector_operator),
    ("namespace_finalizer", namespace_finalizer),
    ("node_ranges", node_ranges),
];

fn only_later(site: &Site<'_>, faults: &mut Faults) {
    if !site.updates && !site.items().is_empty() {
        faults.forbidden(&site.path(), "cannot be set on create");
    }
}

/// Of a pod's spec, an update may change images, the deadline, and what has been opened since.
fn pod_update(site: &Site<'_>, faults: &mut Faults) {
    const WHY: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
                       `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
                       existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                       previously negative)";
    let (Some(old), Some(new)) = (site.old_map.and_then(|old| old.get("spec")), site.map.get("spec")) else { return };
    gates_only_open(old, new, faults);
    let gated = old["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty());
    let (mut before, mut after) = (old.clone(), new.clone());
    for spec in [&mut before, &mut after] {
        let Some(spec) = spec.as_object_mut() else { return };
        for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers"] {
            spec.remove(field);
        }
        if gated {
            spec.remove("nodeSelector");
            spec.remove("affinity");
        }
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container.as_object_mut().and_then(|container| container.remove("image"));
            }
        }
    }
    if before != after {
        faults.forbidden("spec", &format!("{WHY}\n"));
    }
}

fn gates_only_open(old: &Value, new: &Value, faults: &mut Faults) {
    let gates = |spec: &Value| spec["schedulingGates"].as_array().cloned().unwrap_or_default();
    let before = gates(old);
    for (index, gate) in gates(new).iter().enumerate() {
        if !before.iter().any(|known| known["name"] == gate["name"]) {
            let why = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                gate["name"].as_str().unwrap_or_default()
            );
            faults.forbidden(&format!("spec.schedulingGates[{index}].name"), &why);
        }
    }
}

fn template_metadata(site: &Site<'_>, faults: &mut Faults) {
    let labels = site.map.get("metadata").and_then(|metadata| metadata["labels"].as_object());
    if let Some(labels) = labels {
        check_labels(faults, &site.sub("labels"), labels);
    }
}

fn pod_os(site: &Site<'_>, faults: &mut Faults) {
    let Some(name) = site.value.and_then(|os| os.get("name")) else { return };
    if !matches!(name.as_str(), Some("linux" | "windows")) {
        faults.not_supported(&site.path(), name, &["linux", "windows"]);
    }
}

/// The containers of a pod have names of their own, whatever list they stand in.
fn container_names(site: &Site<'_>, faults: &mut Faults) {
    let mut seen: Vec<&Value> = Vec::new();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (index, container) in site.list(list).iter().enumerate() {
            let Some(name) = container.get("name").filter(|name| *name != "") else { continue };
            if seen.contains(&name) {
                faults.duplicate(&site.sub(&format!("{list}[{index}].name")), name);
            }
            seen.push(name);
        }
    }
}

/// What containers mount are volumes of the pod.
fn mounts(site: &Site<'_>, faults: &mut Faults) {
    let volumes = site.list("volumes");
    // A stateful set's claim templates are volumes of its pods, and templates do not see them.
    let known = |name: &Value| site.root_kind == "StatefulSet" || volumes.iter().any(|volume| volume["name"] == *name);
    for list in ["containers", "initContainers"] {
        for (index, container) in site.list(list).iter().enumerate() {
            for field in ["volumeMounts", "volumeDevices"] {
                for (at, mount) in container[field].as_array().into_iter().flatten().enumerate() {
                    if let Some(name) = mount.get("name").filter(|name| *name != "" && !known(name)) {
                        faults.not_found(&site.sub(&format!("{list}[{index}].{field}[{at}].name")), name);
                    }
                }
            }
        }
    }
    for (index, volume) in volumes.iter().enumerate() {
        let name = &volume["name"];
        if volumes.iter().take(index).any(|other| other["name"] == *name) {
            faults.duplicate(&site.sub(&format!("volumes[{index}].name")), name);
        }
    }
}

fn one_volume_source(site: &Site<'_>, faults: &mut Faults) {
    let sources: Vec<&String> = site.map.iter().filter(|(field, _)| *field != "name").map(|(field, _)| field).collect();
    for source in sources.iter().skip(1) {
        faults.forbidden(&site.sub(source), "may not specify more than 1 volume type");
    }
}

fn spread_twice(site: &Site<'_>, faults: &mut Faults) {
    let items = site.items();
    let pair = |item: &Value| (item["topologyKey"].clone(), item["whenUnsatisfiable"].clone());
    for (index, item) in items.iter().enumerate() {
        if items.iter().skip(index + 1).any(|other| pair(other) == pair(item)) {
            let text = |field: &str| item[field].as_str().unwrap_or_default();
            let both = format!("{{{}, {}}}", text("topologyKey"), text("whenUnsatisfiable"));
            let path = format!("{}[{index}].{{topologyKey, whenUnsatisfiable}}", site.path());
            faults.duplicate(&path, &Value::from(both));
        }
    }
}

fn toleration(site: &Site<'_>, faults: &mut Faults) {
    let (key, operator) = (site.text("key"), site.text("operator"));
    let path = site.sub("operator");
    if key.is_empty() && operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        faults.invalid(&path, &Value::from(operator), why);
    }
    if operator == "Exists" && site.has("value") {
        faults.invalid(&path, &site.map["value"], "value must be empty when `operator` is 'Exists'");
    }
    if site.sets("tolerationSeconds") && site.text("effect") != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        faults.invalid(&site.sub("effect"), &Value::from(site.text("effect")), why);
    }
}

fn selector_operator(site: &Site<'_>, faults: &mut Faults) {
    match site.text("operator") {
        "In" | "NotIn" if !site.has("values") => {
            faults.required(&site.sub("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if site.has("values") => {
            faults.forbidden(&site.sub("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => faults.invalid(&site.sub("operator"), &Value::from(other), "not a valid selector operator"),
    }
}

fn namespace_finalizer(site: &Site<'_>, faults: &mut Faults) {
    let (name, sent) = (site.value_text(), Value::from(site.value_text()));
    for fault in super::super::check::qualified_name_faults(name) {
        faults.invalid("spec.finalizers", &sent, &fault);
    }
    if !name.contains('/') && name != "kubernetes" {
        faults.invalid("spec.finalizers", &sent, "name is neither a standard finalizer name nor is it fully qualified");
    }
}

/// The address ranges of a node's pods are given once.
fn node_ranges(site: &Site<'_>, faults: &mut Faults) {
    let ranges = |node: Option<&Value>| {
        node.and_then(|spec| spec.get("podCIDRs")).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let before = ranges(site.old_map.and_then(|old| old.get("spec")));
    let single = |spec: Option<&Value>| spec.and_then(|spec| spec.get("podCIDR")).cloned();
    let changed = ranges(site.map.get("spec")) != before
        || single(site.map.get("spec")) != single(site.old_map.and_then(|old| old.get("spec")));
    if site.updates && !before.is_empty() && changed {
        faults.forbidden("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid");
    }
}
