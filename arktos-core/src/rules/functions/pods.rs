//! Pods and their templates as wholes.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::super::addresses::{cidr_faults, parse_cidr};
use super::super::armor;
use super::super::check::{check_labels, descending_faults, qualified_name_faults};
use super::super::fault::{Faults, Site};
use super::Run;
use crate::quantity::Quantity;
use crate::selector::label_value_fault;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("template_metadata", template_metadata),
    ("pod_annotations", pod_annotations),
    ("template_meta", template_meta),
    ("container_names", container_names),
    ("host_name", host_name),
    ("host_users", host_users),
    ("own_claims", own_claims),
    ("account_tokens", account_tokens),
    ("selector_operator", selector_operator),
    ("namespace_finalizer", namespace_finalizer),
    ("node_ranges", node_ranges),
    ("node_taints", node_taints),
    ("node_status", node_status),
    ("declared_features", declared_features),
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
    for (index, range) in ranges.iter().enumerate() {
        for fault in cidr_faults(range.as_str().unwrap_or_default()) {
            faults.invalid(&format!("{}[{index}]", site.path()), range, &fault);
        }
    }
    if ranges.len() < 2 {
        return;
    }
    if let Some(odd) = families.iter().position(Option::is_none) {
        let sent = ranges[odd].as_str().unwrap_or_default();
        let why = format!(
            "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{odd}]: <nil> (invalid CIDR \
             address: {sent})"
        );
        faults.internal(&site.path(), &why);
    }
    if ranges.len() > 2 || !matches!(families.as_slice(), [Some(first), Some(second)] if first != second) {
        let why = "may specify no more than one CIDR for each IP family";
        faults.invalid(&site.path(), &Value::from(ranges), why);
    }
}

/// The claims of devices of a pod that mirrors one of its node's own. Stands at the pod.
fn own_claims(site: &Site<'_>, faults: &mut Faults) {
    let mirrored = site.map.get("metadata").is_some_and(|metadata| metadata["annotations"].get(MIRROR).is_some());
    let claims = site.map.get("spec").and_then(|spec| spec["resourceClaims"].as_array());
    for _ in claims.into_iter().flatten().filter(|_| mirrored) {
        faults.forbidden("", "static pods do not support resource claims");
    }
}

/// Whoever has no account has no token of one. Stands at the pod.
fn account_tokens(site: &Site<'_>, faults: &mut Faults) {
    let Some(spec) = site.map.get("spec") else { return };
    if spec["serviceAccountName"].as_str().is_some_and(|name| !name.is_empty()) {
        return;
    }
    for (index, volume) in spec["volumes"].as_array().into_iter().flatten().enumerate() {
        for (at, source) in volume["projected"]["sources"].as_array().into_iter().flatten().enumerate() {
            if source["serviceAccountToken"].is_object() {
                let path = format!("spec.volumes[{index}].projected.sources[{at}].serviceAccountToken");
                faults.forbidden(&path, "must not be specified when serviceAccountName is not set");
            }
        }
    }
}

/// The name that a pod gives its host in place of its own. Stands at the spec.
fn host_name(site: &Site<'_>, faults: &mut Faults) {
    const LENGTH_MAX: usize = 64;
    let Some(name) = site.map.get("hostnameOverride").and_then(Value::as_str) else { return };
    let path = site.sub("hostnameOverride");
    for field in ["setHostnameAsFQDN", "hostNetwork"] {
        if site.map.get(field) == Some(&Value::Bool(true)) {
            faults.forbidden(&path, &format!("may not be specified when {field} is true"));
        }
    }
    if name.len() > LENGTH_MAX {
        faults.too_long(&path, LENGTH_MAX);
    }
    for fault in crate::name::subdomain_faults(name) {
        faults.invalid(&path, &Value::from(name), &fault);
    }
}

/// Whose users are not the host's shares little else with it. Stands at the spec.
fn host_users(site: &Site<'_>, faults: &mut Faults) {
    const WHY: &str = "when `hostUsers` is false";
    let is = |field: &str, value: bool| site.map.get(field) == Some(&Value::Bool(value));
    let own = is("hostUsers", false);
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if own && is(field, true) {
            faults.forbidden(&site.sub(shown), WHY);
        }
    }
    for list in super::mounts::CONTAINERS {
        for (index, container) in site.list(list).iter().enumerate() {
            let at = |field: &str| site.sub(&format!("{list}[{index}].{field}"));
            if own && container["volumeDevices"].as_array().is_some_and(|devices| !devices.is_empty()) {
                faults.forbidden(&at("volumeDevices"), WHY);
            }
            let mount = &container["securityContext"]["procMount"];
            if !own && mount == "Unmasked" {
                let path = at("securityContext.procMount");
                faults.invalid(&path, mount, "`hostUsers` must be false to use `Unmasked`");
            }
        }
    }
}

/// Stands at one of a pod's claims of devices.
fn pod_claim(site: &Site<'_>, faults: &mut Faults) {
    let Some(claim) = site.value else { return };
    let names = ["resourceClaimName", "resourceClaimTemplateName"];
    let set: Vec<&str> = names.into_iter().filter(|field| !claim[*field].is_null()).collect();
    let why = match set.len() {
        0 => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
        2 => "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
        _ => "",
    };
    if !why.is_empty() {
        let name = claim["name"].as_str().unwrap_or_default();
        let [by_name, by_template] = names.map(|field| &claim[field]);
        let name = Value::from(name);
        let shown =
            format!("{{\"Name\":{name},\"ResourceClaimName\":{by_name},\"ResourceClaimTemplateName\":{by_template}}}");
        faults.invalid_text(&site.path(), &shown, why);
    }
    for field in set {
        for fault in crate::name::subdomain_faults(claim[field].as_str().unwrap_or_default()) {
            faults.invalid(&site.sub(field), &claim[field], &fault);
        }
    }
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
        armor_faults(annotations, site.map.get("spec").unwrap_or(&Value::Null), &site.sub("spec"), faults);
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
pub(super) fn annotation_keys(faults: &mut Faults, path: &str, annotations: &Map<String, Value>) {
    for key in annotations.keys() {
        for fault in qualified_name_faults(&key.to_lowercase()) {
            faults.invalid(path, &Value::from(key.as_str()), &fault);
        }
    }
}

pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// What is wrong with a profile of system calls as annotations have it, each with what it is said of.
fn seccomp_faults(profile: &str) -> Vec<(&str, String)> {
    match profile.strip_prefix("localhost/") {
        Some(local) => descending_faults(local).into_iter().map(|fault| (local, fault)).collect(),
        None if matches!(profile, "runtime/default" | "docker/default" | "unconfined") => Vec::new(),
        None => vec![(profile, "must be a valid seccomp profile".to_owned())],
    }
}

/// Annotations that say something to the control plane. Stands at the pod.
fn pod_annotations(site: &Site<'_>, faults: &mut Faults) {
    let annotations = site.map.get("metadata").and_then(|metadata| metadata["annotations"].as_object());
    if let Some(annotations) = annotations {
        own_annotations(faults, "metadata.annotations", annotations, site.map.get("spec"));
        if let Some(spec) = site.map.get("spec").filter(|_| !site.updates) {
            armor_faults(annotations, spec, "spec", faults);
        }
    }
}

/// What a new pod, or a template, says of the profiles of its containers, in fields and in annotations, is the same.
fn armor_faults(annotations: &Map<String, Value>, spec: &Value, at: &str, faults: &mut Faults) {
    if spec["os"]["name"] == "windows" {
        return;
    }
    let whole = &spec["securityContext"]["appArmorProfile"];
    for list in super::mounts::CONTAINERS {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            let own = &container["securityContext"]["appArmorProfile"];
            let profile = if own.is_object() { own } else { whole };
            let name = container["name"].as_str().unwrap_or_default();
            let key = format!("{}{name}", armor::ANNOTATION);
            let Some(text) = annotations.get(&key).and_then(Value::as_str) else { continue };
            let path = format!("{at}.{list}[{index}].securityContext.appArmorProfile");
            let local = text.strip_prefix("localhost/");
            let same = match profile["type"].as_str() {
                Some("Unconfined") => text == "unconfined",
                Some("RuntimeDefault") => text == "runtime/default",
                Some("Localhost") => local.is_some(),
                _ => continue,
            };
            if !same {
                faults.forbidden(&format!("{path}.type"), "apparmor type in annotation and field must match");
            } else if local.is_some_and(|local| profile["localhostProfile"].as_str() != Some(local)) {
                let path = format!("{path}.localhostProfile");
                faults.forbidden(&path, "apparmor profile in annotation and field must match");
            }
        }
    }
}

pub(super) fn own_annotations(faults: &mut Faults, path: &str, annotations: &Map<String, Value>, spec: Option<&Value>) {
    let unbound = spec.is_none_or(|spec| spec["nodeName"].as_str().is_none_or(str::is_empty));
    if let Some(value) = annotations.get(MIRROR).filter(|_| unbound) {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        faults.invalid(&format!("{path}[{MIRROR}]"), value, why);
    }
    for (key, profile) in annotations {
        let (text, at) = (profile.as_str().unwrap_or_default(), format!("{path}[{key}]"));
        if key == SECCOMP_OF_POD || key.starts_with(SECCOMP_OF_CONTAINER) {
            for fault in seccomp_faults(text) {
                faults.invalid(&format!("{path}.{key}"), &Value::from(fault.0), &fault.1);
            }
        }
        let Some(container) = key.strip_prefix(armor::ANNOTATION) else { continue };
        let lists = super::mounts::CONTAINERS.iter().filter_map(|list| spec?[*list].as_array()).flatten();
        if !lists.into_iter().any(|known| known["name"] == container) {
            faults.invalid(&at, &Value::from(container), "container not found");
        }
        if !matches!(text, "" | "runtime/default" | "unconfined") && !text.starts_with("localhost/") {
            faults.invalid(&at, profile, &format!("invalid AppArmor profile name: {profile}"));
        }
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
    // What is left of it is told of by the names that it has within the API server.
    for (field, value) in site.value.and_then(Value::as_object).into_iter().flatten() {
        let shown = match field.as_str() {
            "labels" | "annotations" => continue,
            field if field != "deletionGracePeriodSeconds" && super::super::fault::is_empty(value) => continue,
            "uid" => "uID",
            field => field,
        };
        faults.forbidden(&site.sub(shown), "cannot be set");
    }
}

/// The containers of a pod have names of their own, whatever list they stand in.
fn container_names(site: &Site<'_>, faults: &mut Faults) {
    let mut seen: HashSet<&str> = HashSet::new();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (index, container) in site.list(list).iter().enumerate() {
            let name = container["name"].as_str().unwrap_or_default();
            if !seen.insert(name) {
                faults.duplicate(&site.sub(&format!("{list}[{index}].name")), &Value::from(name));
            }
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
/// Stands at a node, whose taints upstream looks for in `metadata`, and at an update twice.
fn node_taints(site: &Site<'_>, faults: &mut Faults) {
    for _ in 0..if site.updates { 2 } else { 1 } {
        taints(site, faults);
    }
}

fn taints(site: &Site<'_>, faults: &mut Faults) {
    let taints = site.map.get("spec").and_then(|spec| spec["taints"].as_array()).map_or(&[][..], Vec::as_slice);
    let mut seen: Vec<(&Value, &Value)> = Vec::new();
    for (index, taint) in taints.iter().enumerate() {
        let at = |field: &str| format!("metadata.taints[{index}]{field}");
        let text = |field: &str| taint[field].as_str().unwrap_or_default();
        for fault in qualified_name_faults(text("key")) {
            faults.invalid(&at(".key"), &Value::from(text("key")), &fault);
        }
        if let Some(fault) = label_value_fault(text("value")) {
            faults.invalid(&at(".value"), &taint["value"], &fault);
        }
        match text("effect") {
            "" => faults.required(&at(".effect"), ""),
            "NoSchedule" | "PreferNoSchedule" | "NoExecute" => {}
            _ => {
                let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
                faults.not_supported(&at(".effect"), &taint["effect"], &known);
            }
        }
        let pair = (&taint["key"], &taint["effect"]);
        if seen.contains(&pair) {
            let shown = format!(
                "{{\"Key\":{:?},\"Value\":{:?},\"Effect\":{:?},\"TimeAdded\":{}}}: taints must be unique by key and \
                 effect pair",
                text("key"),
                text("value"),
                text("effect"),
                taint["timeAdded"]
            );
            faults.duplicate_text(&at(""), &shown);
        }
        seen.push(pair);
    }
}

fn scheduling_gates(site: &Site<'_>, faults: &mut Faults) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (index, gate) in site.items().iter().enumerate() {
        let (name, path) = (gate["name"].as_str().unwrap_or_default(), format!("{}[{index}]", site.path()));
        for fault in qualified_name_faults(name) {
            faults.invalid(&path, &Value::from(name), &fault);
        }
        if !seen.insert(name) {
            faults.duplicate(&path, &Value::from(name));
        }
    }
}

/// What is not to be placed yet has no place. Stands at the spec.
fn gated_node(site: &Site<'_>, faults: &mut Faults) {
    if site.root_kind == "Pod" && !site.updates && site.has("schedulingGates") && site.has("nodeName") {
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
    if site.text("dnsPolicy") == "None" && servers.is_empty() && site.sets("dnsConfig") {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        return faults.required(&site.sub("nameservers"), why);
    }
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
    for (index, search) in texts.iter().enumerate().filter(|(_, search)| **search != ".") {
        let name = search.strip_suffix('.').unwrap_or(search);
        for fault in search_faults(name) {
            faults.invalid(&site.sub(&format!("searches[{index}]")), &Value::from(name), &fault);
        }
    }
    for (index, option) in list("options").iter().enumerate() {
        if option["name"].as_str().is_none_or(str::is_empty) {
            faults.required(&site.sub(&format!("options[{index}]")), "must not be empty");
        }
    }
}

/// What keeps a text from being a path in which names are looked up: its labels may have underscores.
fn search_faults(text: &str) -> Vec<String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.strip_prefix('_').unwrap_or(label).as_bytes();
        [bytes.first(), bytes.last()].iter().all(|end| end.is_some_and(|end| plain(*end)))
            && bytes.iter().all(|byte| plain(*byte) || matches!(byte, b'-' | b'_'))
    };
    let long = (text.len() > 253).then(|| "must be no more than 253 characters".to_owned());
    let form = (!text.split('.').all(label)).then(|| {
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must \
         start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
         '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
            .to_owned()
    });
    long.into_iter().chain(form).collect()
}

/// The address ranges of a node's pods are given once.
fn node_ranges(site: &Site<'_>, faults: &mut Faults) {
    let named = |node: Option<&Value>| node.map(|spec| spec["externalID"].clone()).unwrap_or_default();
    if site.updates && named(site.map.get("spec")) != named(site.old_map.and_then(|old| old.get("spec"))) {
        faults.forbidden("spec.externalID", "may not be updated");
    }
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
            let quantity = amount.as_str().and_then(|text| Quantity::parse(text).ok());
            let whole = name == "pods" || name.contains('/') && !name.contains("kubernetes.io/");
            if whole && quantity.is_some_and(|quantity| quantity.milli() % 1000 != 0) {
                faults.invalid(&site.sub(&format!("{list}.{name}")), amount, "must be an integer");
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

/// What a node says that it can. Stands at the list, which is sorted.
fn declared_features(site: &Site<'_>, faults: &mut Faults) {
    const LENGTH_MAX: usize = 253;
    let names: Vec<&str> = site.items().iter().map(|name| name.as_str().unwrap_or_default()).collect();
    let word = |word: &str, first: fn(char) -> bool| {
        word.starts_with(first) && word.chars().all(|letter| letter.is_ascii_alphanumeric())
    };
    for (index, name) in names.iter().enumerate() {
        let path = |index: usize| format!("{}[{index}]", site.path());
        let mut words = name.split('/');
        let camel = words.next().is_some_and(|first| word(first, |letter| letter.is_ascii_uppercase()))
            && words.all(|rest| word(rest, |letter| letter.is_ascii_alphabetic()));
        if name.len() > LENGTH_MAX {
            let why = format!("invalid feature name {name:?}: must be no more than {LENGTH_MAX} characters");
            faults.invalid(&path(index), &Value::from(*name), &why);
        } else if !camel {
            let why = format!(
                "invalid feature name {name:?}: must start with an UpperCamelCase segment, with subsequent segments \
                 separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters \
                 and slashes"
            );
            faults.invalid(&path(index), &Value::from(*name), &why);
        }
        match names.get(index + 1) {
            Some(next) if next == name => faults.duplicate(&path(index + 1), &Value::from(*next)),
            Some(next) if next < name => {
                faults.invalid(&path(index + 1), &Value::from(*next), "list must be sorted alphabetically");
            }
            _ => {}
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
