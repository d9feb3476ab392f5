//! Pods and their templates as wholes.

use serde_json::{Map, Value};

use super::super::check::{check_labels, parse_cidr, qualified_name_faults};
use super::super::fault::{Faults, Site};
use super::Run;
use crate::selector::label_value_fault;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("template_metadata", template_metadata),
    ("pod_annotations", pod_annotations),
    ("template_meta", template_meta),
    ("pod_os", pod_os),
    ("container_names", container_names),
    ("mounts", mounts),
    ("selector_operator", selector_operator),
    ("namespace_finalizer", namespace_finalizer),
    ("node_ranges", node_ranges),
    ("node_taints", node_taints),
    ("node_status", node_status),
    ("namespace_phase", namespace_phase),
    ("scheduling_gates", scheduling_gates),
    ("gated_node", gated_node),
    ("dns_config", dns_config),
    ("pod_ranges", pod_ranges),
    ("pod_claim", pod_claim),
];

/// The ranges that a node's pods have their addresses from: one of each family.
fn pod_ranges(site: &Site<'_>, faults: &mut Faults) {
    let ranges = site.items();
    let families: Vec<Option<bool>> =
        ranges.iter().map(|range| Some(parse_cidr(range.as_str().unwrap_or_default())?.0.is_ipv4())).collect();
    for (index, (range, _)) in ranges.iter().zip(&families).enumerate().filter(|(_, (_, family))| family.is_none()) {
        let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        faults.invalid(&format!("{}[{index}]", site.path()), range, why);
    }
    let alike = matches!(families.as_slice(), [Some(first), Some(second)] if first == second);
    if alike || ranges.len() > 2 {
        let why = "may specify no more than one CIDR for each IP family";
        faults.invalid(&site.path(), &Value::from(ranges), why);
    }
}

/// Stands at one of a pod's claims of devices.
fn pod_claim(site: &Site<'_>, faults: &mut Faults) {
    let Some(claim) = site.value else { return };
    let set = |field: &str| claim.get(field).is_some_and(|value| !value.is_null());
    let why = match (set("resourceClaimName"), set("resourceClaimTemplateName")) {
        (false, false) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
        (true, true) => "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
        _ => return,
    };
    faults.invalid(&site.path(), claim, why);
}

fn template_metadata(site: &Site<'_>, faults: &mut Faults) {
    let labels = site.map.get("metadata").and_then(|metadata| metadata["labels"].as_object());
    if let Some(labels) = labels {
        check_labels(faults, &site.sub("labels"), labels);
    }
    let annotations = site.map.get("metadata").and_then(|metadata| metadata["annotations"].as_object());
    if let Some(annotations) = annotations {
        annotation_keys(faults, &site.sub("annotations"), annotations);
        own_annotations(faults, &site.sub("annotations"), annotations, site.map.get("spec"));
    }
    if site
        .map
        .get("spec")
        .is_some_and(|spec| spec["ephemeralContainers"].as_array().is_some_and(|list| !list.is_empty()))
    {
        faults.forbidden(&site.sub("spec.ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}

/// Keys of annotations are qualified names, without regard to case.
fn annotation_keys(faults: &mut Faults, path: &str, annotations: &Map<String, Value>) {
    for key in annotations.keys() {
        for fault in qualified_name_faults(&key.to_lowercase()) {
            faults.invalid(path, &Value::from(key.as_str()), &fault);
        }
    }
}

pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Annotations that say something to the control plane. Stands at the pod.
fn pod_annotations(site: &Site<'_>, faults: &mut Faults) {
    let annotations = site.map.get("metadata").and_then(|metadata| metadata["annotations"].as_object());
    if let Some(annotations) = annotations {
        own_annotations(faults, "metadata.annotations", annotations, site.map.get("spec"));
    }
}

fn own_annotations(faults: &mut Faults, path: &str, annotations: &Map<String, Value>, spec: Option<&Value>) {
    let unbound = spec.is_none_or(|spec| spec["nodeName"].as_str().is_none_or(str::is_empty));
    if let Some(value) = annotations.get(MIRROR).filter(|_| unbound) {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        faults.invalid(&format!("{path}[{MIRROR}]"), value, why);
    }
    if let Some(cost) = annotations.get(DELETION_COST) {
        let text = cost.as_str().unwrap_or_default();
        let plain = text == "0" || !text.strip_prefix('-').unwrap_or(text).starts_with(['0', '+']);
        if !plain || text.parse::<i32>().is_err() {
            faults.invalid(&format!("{path}[{DELETION_COST}]"), cost, "must be a 32bit integer");
        }
    }
}

/// Metadata of a template: what becomes of it has its labels and annotations.
fn template_meta(site: &Site<'_>, faults: &mut Faults) {
    let map = |field: &str| site.value.and_then(|metadata| metadata[field].as_object());
    if let Some(labels) = map("labels") {
        check_labels(faults, &site.sub("labels"), labels);
    }
    if let Some(annotations) = map("annotations") {
        annotation_keys(faults, &site.sub("annotations"), annotations);
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
    for (index, value) in site.list("values").iter().enumerate() {
        if let Some(fault) = label_value_fault(value.as_str().unwrap_or_default()) {
            faults.invalid(&site.sub(&format!("values[{index}]")), value, &fault);
        }
    }
}

fn namespace_finalizer(site: &Site<'_>, faults: &mut Faults) {
    namespace_finalizer_faults("spec.finalizers", site.value_text(), faults);
}

/// The faults of the name of a namespace's finalizer, which stands at a path.
pub(in crate::rules) fn namespace_finalizer_faults(path: &str, name: &str, faults: &mut Faults) {
    let sent = Value::from(name);
    for fault in qualified_name_faults(name) {
        faults.invalid(path, &sent, &fault);
    }
    if !name.contains('/') && name != "kubernetes" {
        faults.invalid(path, &sent, "name is neither a standard finalizer name nor is it fully qualified");
    }
}

/// Taints of a node differ in key or effect.
fn node_taints(site: &Site<'_>, faults: &mut Faults) {
    let mut seen: Vec<(&Value, &Value)> = Vec::new();
    for (index, taint) in site.items().iter().enumerate() {
        let pair = (&taint["key"], &taint["effect"]);
        if seen.contains(&pair) {
            let text = |field: &str| taint[field].as_str().unwrap_or_default();
            let shown = format!(
                "{{\"Key\":{:?},\"Value\":{:?},\"Effect\":{:?},\"TimeAdded\":{}}}: taints must be unique by key and \
                 effect pair",
                text("key"),
                text("value"),
                text("effect"),
                taint["timeAdded"]
            );
            faults.duplicate_text(&format!("{}[{index}]", site.path()), &shown);
        }
        seen.push(pair);
    }
}

fn scheduling_gates(site: &Site<'_>, faults: &mut Faults) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, gate) in site.items().iter().enumerate() {
        let (name, path) = (gate["name"].as_str().unwrap_or_default(), format!("{}[{index}]", site.path()));
        for fault in qualified_name_faults(name) {
            faults.invalid(&path, &Value::from(name), &fault);
        }
        if seen.contains(&name) {
            faults.duplicate(&path, &Value::from(name));
        }
        seen.push(name);
    }
}

/// What is not to be placed yet has no place. Stands at the spec.
fn gated_node(site: &Site<'_>, faults: &mut Faults) {
    if site.has("schedulingGates") && site.has("nodeName") {
        faults.forbidden(&site.sub("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
}

/// How many name servers and search paths a pod may have, and how many characters these together.
const NAME_SERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_LENGTH_MAX: usize = 2048;

fn dns_config(site: &Site<'_>, faults: &mut Faults) {
    let list = |field: &str| -> Vec<Value> {
        site.value.and_then(|config| config[field].as_array()).cloned().unwrap_or_default()
    };
    let (servers, searches) = (list("nameservers"), list("searches"));
    if servers.len() > NAME_SERVERS_MAX {
        let why = format!("must not have more than {NAME_SERVERS_MAX} nameservers");
        faults.invalid(&site.sub("nameservers"), &Value::from(servers), &why);
    }
    if searches.len() > SEARCHES_MAX {
        let why = format!("must not have more than {SEARCHES_MAX} search paths");
        faults.invalid(&site.sub("searches"), &Value::from(searches.clone()), &why);
    }
    let texts: Vec<&str> = searches.iter().filter_map(Value::as_str).collect();
    if texts.join(" ").len() > SEARCH_LENGTH_MAX {
        let why =
            format!("must not have more than {SEARCH_LENGTH_MAX} characters (including spaces) in the search list");
        faults.invalid(&site.sub("searches"), &Value::from(searches.clone()), &why);
    }
    for (index, search) in texts.iter().enumerate() {
        let name = if *search == "." { "" } else { search.strip_suffix('.').unwrap_or(search) };
        // Underscores are let through in search paths.
        if let Some(fault) = crate::name::subdomain_fault(&name.replace('_', "-")).filter(|_| *search != ".") {
            faults.invalid(&site.sub(&format!("searches[{index}]")), &Value::from(*search), &fault);
        }
    }
    for (index, option) in list("options").iter().enumerate() {
        if option["name"].as_str().is_none_or(str::is_empty) {
            faults.required(&site.sub(&format!("options[{index}]")), "must not be empty");
        }
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

/// What a node says of itself. Stands at the status.
fn node_status(site: &Site<'_>, faults: &mut Faults) {
    let Some(status) = site.value else { return };
    for list in ["capacity", "allocatable"] {
        for (name, amount) in status[list].as_object().into_iter().flatten() {
            if amount.as_str().is_some_and(|text| text.starts_with('-')) {
                let path = site.sub(&format!("{list}.{name}"));
                faults.invalid(&path, amount, "must be greater than or equal to 0");
            }
        }
    }
    let addresses = status["addresses"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, address) in addresses.iter().enumerate().filter(|_| site.updates) {
        if addresses.iter().take(index).any(|other| other == address) {
            faults.duplicate(&site.sub(&format!("addresses[{index}]")), address);
        }
    }
}

/// A namespace is active until it is deleted, and no longer. Stands at the namespace.
fn namespace_phase(site: &Site<'_>, faults: &mut Faults) {
    let deleted = site.map.get("metadata").is_some_and(|metadata| !metadata["deletionTimestamp"].is_null());
    let phase = site.map.get("status").map_or(&Value::Null, |status| &status["phase"]);
    let (wanted, why) = if deleted {
        ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
    } else {
        ("Active", "may only be 'Active' if `deletionTimestamp` is empty")
    };
    if site.updates && phase != wanted {
        faults.invalid("status.Phase", &Value::from(phase.as_str().unwrap_or_default()), why);
    }
}
