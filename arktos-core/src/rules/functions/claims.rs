//! Claims of volumes: what they ask for, where their content comes from, and what stays once they are made.

use serde_json::{Map, Value};

use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site};
use super::Run;
use super::storage::not_positive;
use crate::quantity::Quantity;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("storage_request", storage_request),
    ("access_alone", access_alone),
    ("claim_update", claim_update),
    ("data_source", data_source),
    ("same_source", same_source),
    ("claim_status", claim_status),
    ("allocated_resources", allocated_resources),
    ("resized_resources", resized_resources),
    ("request_kept", request_kept),
];

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
    if modes.iter().any(|mode| *mode != modes[0]) && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
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
    let mode = |claim: Option<&Value>| claim.and_then(|spec| spec.get("volumeMode")).cloned().unwrap_or_default();
    if mode(site.old) != mode(site.value) {
        faults.invalid("volumeMode", &mode(site.value), "field is immutable");
    }
}

/// What a volume's content comes from: a claim, or an object of a group of its own.
fn data_source(site: &Site<'_>, faults: &mut Faults) {
    let Some(source) = site.value.filter(|source| source.is_object()) else { return };
    let text = |field: &str| source[field].as_str().unwrap_or_default();
    for field in ["name", "kind"] {
        if text(field).is_empty() {
            faults.required(&site.sub(field), "");
        }
    }
    let group = text("apiGroup");
    if group.is_empty() {
        if text("kind") != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            faults.invalid(&site.path(), &Value::from(text("kind")), why);
        }
    } else if let Some(fault) = crate::name::subdomain_fault(group) {
        faults.invalid(&site.sub("apiGroup"), &Value::from(group), &fault);
    }
}

/// Who says where a claim's content comes from in both ways says the same. Stands at the spec.
fn same_source(site: &Site<'_>, faults: &mut Faults) {
    let [old, new] = ["dataSource", "dataSourceRef"].map(|field| site.map.get(field).filter(|one| one.is_object()));
    let (Some(old), Some(new)) = (old, new) else { return };
    let differs = |field: &str| old[field].as_str().unwrap_or_default() != new[field].as_str().unwrap_or_default();
    if ["apiGroup", "kind", "name"].into_iter().any(differs) {
        faults.invalid_text(&site.path(), "{}", "must match dataSourceRef");
    }
}

/// How large a claim's volume is. Stands at the capacity of the status.
fn claim_status(site: &Site<'_>, faults: &mut Faults) {
    for (name, amount) in site.value.and_then(Value::as_object).into_iter().flatten() {
        let quantity = amount.as_str().and_then(|text| Quantity::parse(text).ok());
        if let Some(value) = quantity.map(|quantity| quantity.value()).filter(|value| *value < 0) {
            let path = format!("{}[{name}]", site.path());
            let sent = Value::from(value);
            faults.invalid(&path, &sent, "must be a valid resource quantity");
        }
    }
}

/// Whether what a claim's volume is said to have can be had of one: storage, or what somebody else defines.
fn is_of_volume(path: &str, name: &str, faults: &mut Faults) -> bool {
    let malformed = qualified_name_faults(name);
    for fault in &malformed {
        faults.invalid(path, &Value::from(name), fault);
    }
    let own = !name.contains('/') || name.contains("kubernetes.io/");
    let known = !own || name == "storage";
    if malformed.is_empty() && !known {
        faults.not_supported(path, &Value::from(name), &["storage"]);
    }
    malformed.is_empty() && known
}

/// How much of its volume a claim is being given. Stands at these amounts.
fn allocated_resources(site: &Site<'_>, faults: &mut Faults) {
    for (name, amount) in site.value.and_then(Value::as_object).into_iter().flatten() {
        let quantity = amount.as_str().and_then(|text| Quantity::parse(text).ok());
        if is_of_volume(&site.path(), name, faults)
            && let Some(value) = quantity.map(|quantity| quantity.value()).filter(|value| *value < 0)
        {
            let path = format!("{}[{name}]", site.path());
            faults.invalid(&path, &Value::from(value), "must be a valid resource quantity");
        }
    }
}

/// How far giving a claim more has come. Stands at the states.
fn resized_resources(site: &Site<'_>, faults: &mut Faults) {
    const STATES: [&str; 5] = [
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "NodeResizePending",
    ];
    for (name, state) in site.value.and_then(Value::as_object).into_iter().flatten() {
        is_of_volume(&site.path(), name, faults);
        if !STATES.iter().any(|known| state == known) {
            faults.not_supported(&site.path(), &Value::from(name.as_str()), &STATES);
        }
    }
}

/// A bound claim does not ask for less than its volume has. Stands at the claim.
fn request_kept(site: &Site<'_>, faults: &mut Faults) {
    let Some(old) = site.old_map else { return };
    let amount = |claim: &Map<String, Value>, part: &str, path: &str| {
        let text = claim.get(part).and_then(|part| part.pointer(path)).and_then(Value::as_str);
        text.and_then(|text| Quantity::parse(text).ok())
    };
    let asked = "/resources/requests/storage";
    let (before, after) = (amount(old, "spec", asked), amount(site.map, "spec", asked));
    let has = amount(old, "status", "/capacity/storage");
    let [before, after, has] = [before, after, has].map(|amount| amount.unwrap_or_else(|| Quantity::from_value(0)));
    if after < before && after <= has {
        faults.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::tests::{changed, created, told};
    use super::super::super::{admit_status, admit_update};

    #[test]
    fn what_a_claim_is_being_given_is_storage() {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        let claim = created(&claim).expect("a good claim");
        let report = |status| told(changed(admit_status, &claim, &json!({"status": status})));
        let at = "status.allocatedResource";
        assert_eq!(
            report(json!({"allocatedResources": {"pods": "1"}, "allocatedResourceStatuses": {"storage": "odd"}})),
            [
                format!(
                    "{at}Statuses: Unsupported value: \"storage\": supported values: \"ControllerResizeInProgress\", \
                     \"ControllerResizeInfeasible\", \"NodeResizeInProgress\", \"NodeResizeInfeasible\", \
                     \"NodeResizePending\""
                ),
                format!("{at}s: Unsupported value: \"pods\": supported values: \"storage\""),
            ]
        );
        let good = json!({"allocatedResources": {"storage": "2Gi", "a.b/c": "1"}});
        assert_eq!(report(good), Vec::<String>::new());
        let block = told(changed(admit_update, &claim, &json!({"spec": {"volumeMode": "Block"}})));
        assert_eq!(block.last().map(String::as_str), Some("volumeMode: Invalid value: \"Block\": field is immutable"));
    }
}
