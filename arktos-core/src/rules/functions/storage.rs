//! Volumes, claims, storage classes, quotas, and what secrets and config maps hold.

use serde_json::{Map, Value};

use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site};
use super::Run;
use crate::quantity::Quantity;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("storage_capacity", storage_capacity),
    ("storage_request", storage_request),
    ("access_alone", access_alone),
    ("claim_update", claim_update),
    ("volume_source", volume_source),
    ("volume_source_kept", volume_source_kept),
    ("volume_mode_kept", volume_mode_kept),
    ("recycled_root", recycled_root),
    ("data_keys", data_keys),
    ("secret_type", secret_type),
    ("immutable_data", immutable_data),
    ("quota", quota),
    ("parameter_keys", parameter_keys),
    ("driver", driver),
    ("token_life", token_life),
    ("attach_source", attach_source),
    ("node_drivers", node_drivers),
    ("device_names", device_names),
    ("one_device", one_device),
    ("not_negative", not_negative),
    ("slice_place", slice_place),
];

/// Devices of a slice are on one host, on those that are selected, on all, or it is said for each.
fn slice_place(site: &Site<'_>, faults: &mut Faults) {
    let set: Vec<String> = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"]
        .into_iter()
        .filter(|field| {
            site.map.get(*field).is_some_and(|value| !super::super::fault::is_empty(value) && *value != false)
        })
        .map(|field| format!("`{field}`"))
        .collect();
    let why = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.as_slice() {
        [] => faults.required(&site.path(), why),
        [_] => {}
        several => {
            let shown = Value::from(format!("{{{}}}", several.join(", ")));
            faults.invalid(&site.path(), &shown, &format!("{why}, but multiple fields are set"));
        }
    }
}

fn not_negative(site: &Site<'_>, faults: &mut Faults) {
    if let Some(amount) = site.value.filter(|amount| amount.as_str().is_some_and(|text| text.starts_with('-'))) {
        faults.invalid(&site.path(), amount, "must be greater than or equal to 0");
    }
}

fn not_positive(amount: &Value) -> bool {
    amount.as_str().and_then(|text| Quantity::parse(text).ok()).is_none_or(|amount| amount <= Quantity::from_value(0))
}

fn storage_capacity(site: &Site<'_>, faults: &mut Faults) {
    let Some(storage) = site.value.and_then(|capacity| capacity.get("storage")) else {
        let shown = site.value.cloned().unwrap_or_else(|| Value::Object(Map::new()));
        return faults.not_supported(&site.path(), &shown, &["storage"]);
    };
    if not_positive(storage) {
        faults.invalid(&format!("{}[storage]", site.path()), storage, "must be greater than zero");
    }
}

fn storage_request(site: &Site<'_>, faults: &mut Faults) {
    let path = format!("{}[storage]", site.path());
    match site.value.and_then(|resources| resources.get("requests")).and_then(|requests| requests.get("storage")) {
        None => faults.required(&path, ""),
        Some(storage) if not_positive(storage) => faults.invalid(&path, storage, "must be greater than zero"),
        Some(_) => {}
    }
}

fn access_alone(site: &Site<'_>, faults: &mut Faults) {
    let modes = site.items();
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        faults.forbidden(&site.path(), "may not use ReadWriteOncePod with other access modes");
    }
}

/// A claim stays as it was made, but for the volume that it is bound to, and for what a bound one may ask for later.
fn claim_update(site: &Site<'_>, faults: &mut Faults) {
    const WHY: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                       claims\n";
    let (Some(old), Some(new), true) = (site.old, site.value, site.updates) else { return };
    let bound = site.map.get("status").is_some_and(|status| status["phase"] == "Bound");
    let (mut old, mut new) = (old.clone(), new.clone());
    let late = |old: &Value, field: &str| old[field].as_str().is_none_or(str::is_empty);
    let free = [
        ("volumeName", late(&old, "volumeName")),
        ("storageClassName", old["storageClassName"].is_null()),
        ("volumeAttributesClassName", bound),
    ];
    for spec in [&mut old, &mut new] {
        let Some(spec) = spec.as_object_mut() else { return };
        for (field, _) in free.iter().filter(|(_, free)| *free) {
            spec.remove(*field);
        }
        if bound {
            let requests = spec.get_mut("resources").and_then(|resources| resources.get_mut("requests"));
            requests.and_then(Value::as_object_mut).and_then(|requests| requests.remove("storage"));
        }
    }
    if old != new {
        faults.forbidden(&site.path(), WHY);
    }
}

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

fn sources(volume: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let fields = volume.get("spec").and_then(Value::as_object).into_iter().flatten();
    fields.filter(|(field, _)| !VOLUME_FIELDS.contains(&field.as_str())).collect()
}

fn volume_source(site: &Site<'_>, faults: &mut Faults) {
    match sources(site.map).as_slice() {
        [] => faults.required("spec", "must specify a volume type"),
        [_, others @ ..] => {
            for (field, _) in others {
                faults.forbidden(&format!("spec.{field}"), "may not specify more than 1 volume type");
            }
        }
    }
}

fn volume_source_kept(site: &Site<'_>, faults: &mut Faults) {
    if let Some(old) = site.old_map
        && sources(old) != sources(site.map)
    {
        let why = "spec.persistentvolumesource is immutable after creation\n";
        faults.forbidden("spec.persistentvolumesource", why);
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

fn recycled_root(site: &Site<'_>, faults: &mut Faults) {
    let Some(spec) = site.map.get("spec") else { return };
    if spec["hostPath"]["path"] == "/" && spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        faults.forbidden("spec.persistentVolumeReclaimPolicy", why);
    }
}

/// The most that a secret or a config map may hold, in bytes.
const DATA_MAX: usize = 1024 * 1024;

fn data_keys(site: &Site<'_>, faults: &mut Faults) {
    let mut length = 0;
    for (key, value) in site.value.and_then(Value::as_object).into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let encoded = site.root_kind == "Secret" || site.field == "binaryData";
        let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
        length += if encoded { (text.len() / 4 * 3).saturating_sub(padding) } else { text.len() };
        for fault in key_faults(key) {
            faults.invalid(&format!("{}[{key}]", site.path()), &Value::from(key.as_str()), &fault);
        }
        if site.field == "binaryData" && site.map.get("data").is_some_and(|data| data.get(key).is_some()) {
            faults.invalid(&format!("data[{key}]"), &Value::from(key.as_str()), "duplicate of key present in data");
        }
    }
    if length > DATA_MAX {
        let path = if site.root_kind == "Secret" { "data" } else { "" };
        faults.too_long(path, DATA_MAX);
    }
}

fn key_faults(key: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if key.len() > 253 {
        faults.push("must be no more than 253 characters".to_owned());
    }
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        faults.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
             'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    if key == "." || key == ".." {
        faults.push(format!("must not be '{key}'"));
    } else if key.starts_with("..") {
        faults.push("must not start with '..'".to_owned());
    }
    faults
}

fn secret_type(site: &Site<'_>, faults: &mut Faults) {
    let has = |key: &str| site.map.get("data").is_some_and(|data| data.get(key).is_some());
    let needed: &[&str] = match site.text("type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => &["username", "password"],
        "kubernetes.io/service-account-token" => {
            let annotations = site.map.get("metadata").map(|metadata| &metadata["annotations"]);
            let account = annotations.and_then(|known| known["kubernetes.io/service-account.name"].as_str());
            if account.is_none_or(str::is_empty) {
                faults.required("metadata.annotations[kubernetes.io/service-account.name]", "");
            }
            &[]
        }
        _ => &[],
    };
    for key in needed.iter().filter(|key| !has(key)) {
        faults.required(&format!("data[{key}]"), "");
    }
}

fn immutable_data(site: &Site<'_>, faults: &mut Faults) {
    const WHY: &str = "field is immutable when `immutable` is set";
    let Some(old) = site.old_map.filter(|old| old.get("immutable") == Some(&Value::Bool(true))) else { return };
    if site.map.get("immutable") != Some(&Value::Bool(true)) {
        faults.forbidden("immutable", WHY);
    }
    for field in ["data", "binaryData"] {
        if site.map.get(field) != old.get(field) {
            faults.forbidden(field, WHY);
        }
    }
}

/// What a quota may count that is not of a form of its own.
const COUNTED: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

const WHOLE: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

fn quota(site: &Site<'_>, faults: &mut Faults) {
    let hard = site.map.get("hard").and_then(Value::as_object);
    for (name, amount) in hard.into_iter().flatten() {
        let path = site.sub(&format!("hard[{name}]"));
        let known = COUNTED.contains(&name.as_str()) || name.contains('/') || name.contains("hugepages-");
        if !known {
            let sent = Value::from(name.as_str());
            faults.invalid(&path, &sent, "must be a standard resource type or fully qualified");
            faults.invalid(&path, &sent, "must be a standard resource for quota");
        }
        let Some(quantity) = amount.as_str().and_then(|text| Quantity::parse(text).ok()) else { continue };
        if quantity < Quantity::from_value(0) {
            faults.invalid(&path, amount, "must be greater than or equal to 0");
        }
        let whole = WHOLE.contains(&name.as_str()) || name.starts_with("count/");
        if whole && quantity.milli() % 1000 != 0 {
            faults.invalid(&path, amount, "must be an integer");
        }
    }
    let scopes = site.list("scopes");
    if !scopes.is_empty() {
        quota_scopes(site, scopes, hard, faults);
    }
    let expressions = site.map.get("scopeSelector").and_then(|selector| selector["matchExpressions"].as_array());
    for expression in expressions.into_iter().flatten() {
        let path = site.sub("scopeSelector.matchExpressions");
        let scope = &expression["scopeName"];
        if !SCOPES.contains(&scope.as_str().unwrap_or_default()) {
            faults.invalid(&format!("{path}.scopeName"), scope, "unsupported scope");
        }
        let lists = matches!(expression["operator"].as_str(), Some("In" | "NotIn"));
        if lists && expression["values"].as_array().is_none_or(Vec::is_empty) {
            let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            faults.required(&format!("{path}.values"), why);
        }
    }
}

fn quota_scopes(site: &Site<'_>, scopes: &[Value], hard: Option<&Map<String, Value>>, faults: &mut Faults) {
    let (path, sent) = (site.sub("scopes"), Value::Array(scopes.to_vec()));
    let has = |name: &str| scopes.iter().any(|scope| scope == name);
    if scopes.iter().any(|scope| !SCOPES.contains(&scope.as_str().unwrap_or_default())) {
        faults.invalid(&path, &sent, "unsupported scope");
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if has(one) && has(other) {
            faults.invalid(&path, &sent, "conflicting scopes");
        }
    }
    let counts_pods = |name: &str| {
        name == "pods"
            || name == "count/pods"
            || (!has("BestEffort")
                && (matches!(name, "cpu" | "memory") || name.starts_with("requests.") || name.starts_with("limits.")))
    };
    let known = scopes.iter().filter(|scope| SCOPES.contains(&scope.as_str().unwrap_or_default())).count() > 0;
    if known && hard.is_some_and(|hard| hard.keys().any(|name| !counts_pods(name))) {
        faults.invalid(&path, &sent, "unsupported scope applied to resource");
    }
}

fn parameter_keys(site: &Site<'_>, faults: &mut Faults) {
    let parameters = site.value.and_then(Value::as_object);
    if parameters.is_some_and(|parameters| parameters.contains_key("")) {
        faults.invalid(&site.path(), &Value::from(""), "field can not be empty.");
    }
}

/// Drivers are named without regard to case.
fn driver(site: &Site<'_>, faults: &mut Faults) {
    let name = site.value_text().to_lowercase();
    for fault in qualified_name_faults(&name).into_iter().filter(|_| !name.is_empty()) {
        faults.invalid(&site.path(), &Value::from(name.as_str()), &fault);
    }
}

fn token_life(site: &Site<'_>, faults: &mut Faults) {
    let Some(value) = site.value else { return };
    let Some(seconds) = value.as_i64() else { return };
    if seconds < 600 {
        faults.invalid(&site.path(), value, "may not specify a duration less than 10 minutes");
    } else if seconds > 1 << 32 {
        faults.invalid(&site.path(), value, "may not specify a duration larger than 2^32 seconds");
    }
}

fn attach_source(site: &Site<'_>, faults: &mut Faults) {
    const WHY: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let source = site.map.get("source").and_then(Value::as_object);
    let sets = |field: &str| source.is_some_and(|source| source.contains_key(field));
    match (sets("persistentVolumeName"), sets("inlineVolumeSpec")) {
        (false, false) => faults.required(&site.sub("source"), WHY),
        (true, true) => faults.forbidden(&site.sub("source"), WHY),
        (true, false) => {
            let path = site.sub("source.persistentVolumeName");
            let name = source.and_then(|source| source["persistentVolumeName"].as_str()).unwrap_or_default();
            if name.is_empty() {
                faults.required(&path, "must specify non empty persistentVolumeName");
            }
            if let Some(fault) = crate::name::subdomain_fault(name) {
                faults.invalid(&path, &Value::from(name), &fault);
            }
        }
        (false, true) => {}
    }
}

/// A node's drivers come and go; what one says stays.
fn node_drivers(site: &Site<'_>, faults: &mut Faults) {
    let without_room = |driver: &Value| {
        let mut driver = driver.clone();
        driver.as_object_mut().and_then(|driver| driver.remove("allocatable"));
        driver
    };
    for old in site.old.and_then(Value::as_array).into_iter().flatten() {
        let new = site.items().iter().find(|new| new["name"] == old["name"]);
        if new.is_some_and(|new| without_room(new) != without_room(old)) {
            faults.invalid(&site.path(), &Value::Array(site.items().to_vec()), "field is immutable");
        }
    }
    for driver in site.items() {
        let name = driver["name"].as_str().unwrap_or_default();
        for fault in qualified_name_faults(&name.to_lowercase()).into_iter().filter(|_| !name.is_empty()) {
            faults.invalid(&format!("{}.name", site.path()), &Value::from(name), &fault);
        }
    }
}

fn device_names(site: &Site<'_>, faults: &mut Faults) {
    let items = site.items();
    for (index, item) in items.iter().enumerate() {
        if items.iter().take(index).any(|other| other["name"] == item["name"]) {
            faults.duplicate(&format!("{}[{index}]", site.path()), &item["name"]);
        }
    }
}

fn one_device(site: &Site<'_>, faults: &mut Faults) {
    match (site.sets("exactly"), site.has("firstAvailable")) {
        (false, false) => {
            faults.required(&site.path(), "exactly one of `exactly` or `firstAvailable` is required");
        }
        (true, true) => {
            let sent = Value::Object(site.map.clone());
            faults.invalid(
                &site.path(),
                &sent,
                "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
            );
        }
        _ => {}
    }
}
