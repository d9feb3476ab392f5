//! Pods and their templates as wholes.

use serde_json::Value;

use super::super::check::{check_labels, parse_cidr};
use super::super::fault::{Faults, Site};
use super::Run;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("only_later", only_later),
    ("pod_update", pod_update),
    ("template_metadata", template_metadata),
    ("pod_os", pod_os),
    ("container_names", container_names),
    ("mounts", mounts),
    ("spread_twice", spread_twice),
    ("toleration", toleration),
    ("selector_operator", selector_operator),
    ("namespace_finalizer", namespace_finalizer),
    ("node_ranges", node_ranges),
    ("node_taints", node_taints),
    ("scheduling_gates", scheduling_gates),
    ("gated_node", gated_node),
    ("dns_config", dns_config),
    ("spread", spread),
    ("pod_ranges", pod_ranges),
    ("pod_claim", pod_claim),
    ("node_operator", node_operator),
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

fn node_operator(site: &Site<'_>, faults: &mut Faults) {
    match site.value_text() {
        "Gt" | "Lt" if site.list("values").len() != 1 => {
            let path = site.path().replace("operator", "values");
            faults.required(&path, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => faults.invalid(&site.path(), &Value::from(other), "not a valid selector operator"),
    }
}

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
    if old == new {
        return;
    }
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
        for fault in super::super::check::qualified_name_faults(name) {
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

/// Stands at one constraint of how pods are spread.
fn spread(site: &Site<'_>, faults: &mut Faults) {
    if let (Some(count), how) = (site.map.get("minDomains"), site.text("whenUnsatisfiable"))
        && how != "DoNotSchedule"
        && !count.is_null()
    {
        let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {how}");
        faults.invalid(&site.sub("minDomains"), count, &why);
    }
    if site.has("matchLabelKeys") && !site.sets("labelSelector") {
        faults.forbidden(&site.sub("matchLabelKeys"), "must not be specified when labelSelector is not set");
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
