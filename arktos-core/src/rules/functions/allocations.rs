//! What claims of devices were given, for whom they are kept, and what drivers say of it.

use serde_json::{Value, json};

use super::super::addresses::interface_faults;
use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site};
use super::Run;
use super::conditions::condition_faults;
use super::drivers::driver_name_faults;
use super::slices::pool_name_faults;
use crate::name::label_fault;

pub(super) const CHECKS: &[(&str, Run)] = &[("device_claim_status", device_claim_status)];

/// How many may use a claim.
const CONSUMERS_MAX: usize = 256;
/// How many devices a claim is given.
const RESULTS_MAX: usize = 32;
/// How many configurations these have, of their class and of the claim.
const CONFIGURATIONS_MAX: usize = 64;
/// How many requests a configuration is for.
const REQUESTS_MAX: usize = 32;
/// How many conditions a device can be made to wait for, or fail by.
const BINDING_CONDITIONS_MAX: usize = 4;
/// How many conditions a driver reports of a device.
const CONDITIONS_MAX: usize = 8;
/// How many addresses a device has.
const ADDRESSES_MAX: usize = 16;

/// Stands at the status.
fn device_claim_status(site: &Site<'_>, faults: &mut Faults) {
    let Some(status) = site.value.filter(|_| site.updates) else { return };
    let given = status.get("allocation").filter(|given| given.is_object());
    let consumers = list(status, "reservedFor");
    reserved("status.reservedFor", consumers, faults);
    let results = given.map_or(&[][..], |given| list(&given["devices"], "results"));
    let known: Vec<Value> = results.iter().map(shown).collect();
    reported("status.devices", list(status, "devices"), &known, faults);
    let old = site.old;
    if !consumers.is_empty() {
        let before = old.map_or(&[][..], |old| list(old, "reservedFor"));
        let ends = site.map.get("metadata").is_some_and(|metadata| !metadata["deletionTimestamp"].is_null());
        if given.is_none() {
            faults.forbidden("status.reservedFor", "may not be specified when `allocated` is not set");
        } else if ends && consumers.iter().any(|consumer| !before.contains(consumer)) {
            let why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            faults.forbidden("status.reservedFor", why);
        }
    }
    let before = old.and_then(|old| old.get("allocation")).filter(|given| given.is_object());
    match (before, given) {
        (Some(before), Some(given)) if before != given => {
            faults.invalid("status.allocation", given, "field is immutable");
        }
        (None, Some(given)) => allocation(&given["devices"], &request_names(site), faults),
        _ => {}
    }
}

fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    of[field].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_default()
}

/// A device as messages show it.
fn shown(device: &Value) -> Value {
    json!({
        "Driver": text(device, "driver"), "Pool": text(device, "pool"), "Device": text(device, "device"),
        "ShareID": text(device, "shareID"),
    })
}

/// That, with the fields in their order.
fn shown_text(device: &Value) -> String {
    let fields = [("Driver", "driver"), ("Pool", "pool"), ("Device", "device"), ("ShareID", "shareID")];
    let fields = fields.map(|(shown, field)| format!("\"{shown}\":{}", Value::from(text(device, field))));
    format!("{{{}}}", fields.join(","))
}

fn reserved(path: &str, consumers: &[Value], faults: &mut Faults) {
    if consumers.len() > CONSUMERS_MAX {
        return faults.too_many(path, consumers.len() as u64, CONSUMERS_MAX as u64);
    }
    for (index, consumer) in consumers.iter().enumerate() {
        for field in ["resource", "name", "uid"].into_iter().filter(|field| text(consumer, field).is_empty()) {
            faults.required(&format!("{path}[{index}].{field}"), "");
        }
        if consumers.iter().take(index).any(|before| text(before, "uid") == text(consumer, "uid")) {
            faults.duplicate(&format!("{path}[{index}]"), &Value::from(text(consumer, "uid")));
        }
    }
}

/// What drivers say of the devices that a claim was given.
fn reported(path: &str, devices: &[Value], given: &[Value], faults: &mut Faults) {
    for (index, device) in devices.iter().enumerate() {
        let path = format!("{path}[{index}]");
        place(&path, device, faults);
        share(&path, device, faults);
        let own = shown(device);
        if !given.contains(&own) {
            faults.invalid_text(&path, &shown_text(device), "must be an allocated device in the claim");
        }
        let conditions = list(device, "conditions");
        if conditions.len() > CONDITIONS_MAX {
            let found = conditions.len() as u64;
            faults.too_many(&format!("{path}.conditions"), found, CONDITIONS_MAX as u64);
        }
        condition_faults(&format!("{path}.conditions"), conditions, faults);
        network(&format!("{path}.networkData"), &device["networkData"], faults);
        if devices.iter().take(index).any(|before| shown(before) == own) {
            faults.duplicate_text(&path, &shown_text(device));
        }
    }
}

/// Where a device is: whose it is, in which pool, and how it is called there.
fn place(path: &str, device: &Value, faults: &mut Faults) {
    driver_name_faults(&format!("{path}.driver"), text(device, "driver"), faults);
    pool_name_faults(&format!("{path}.pool"), text(device, "pool"), faults);
    let name = text(device, "device");
    if let Some(fault) = label_fault(name) {
        faults.invalid(&format!("{path}.device"), &Value::from(name), &fault);
    }
}

/// Which share of a device it is, if it is shared.
fn share(path: &str, device: &Value, faults: &mut Faults) {
    let Some(id) = device["shareID"].as_str() else { return };
    let why = if id.len() != 36 {
        format!("error validating uid: invalid UUID length: {}", id.len())
    } else if !id.char_indices().all(|(at, letter)| matches!(at, 8 | 13 | 18 | 23) == (letter == '-')) {
        "error validating uid: invalid UUID format".to_owned()
    } else if id.chars().any(|letter| letter != '-' && !matches!(letter, '0'..='9' | 'a'..='f')) {
        "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal \
         characters"
            .to_owned()
    } else {
        return;
    };
    faults.invalid(&format!("{path}.shareID"), &Value::from(id), &why);
}

fn network(path: &str, network: &Value, faults: &mut Faults) {
    for (field, most) in [("interfaceName", 256), ("hardwareAddress", 128)] {
        if text(network, field).len() > most {
            faults.too_long(&format!("{path}.{field}"), most);
        }
    }
    let (addresses, path) = (list(network, "ips"), format!("{path}.ips"));
    if addresses.len() > ADDRESSES_MAX {
        return faults.too_many(&path, addresses.len() as u64, ADDRESSES_MAX as u64);
    }
    for (index, address) in addresses.iter().enumerate() {
        for fault in interface_faults(address.as_str().unwrap_or_default()) {
            faults.invalid(&format!("{path}[{index}]"), address, &fault);
        }
        if addresses[..index].contains(address) {
            faults.duplicate(&format!("{path}[{index}]"), address);
        }
    }
}

/// What the requests of a claim are called; those that are for one of several, below that name, too.
fn request_names(site: &Site<'_>) -> Vec<String> {
    let mut names = Vec::new();
    let devices = site.map.get("spec").map_or(&Value::Null, |spec| &spec["devices"]);
    for request in list(devices, "requests") {
        let name = text(request, "name");
        names.push(name.to_owned());
        names.extend(list(request, "firstAvailable").iter().map(|one| format!("{name}/{}", text(one, "name"))));
    }
    names
}

fn request_name(path: &str, name: &Value, known: &[String], faults: &mut Faults) {
    const WHY: &str =
        "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let sent = name.as_str().unwrap_or_default();
    let parts: Vec<&str> = sent.split('/').collect();
    if parts.len() > 2 {
        return faults.invalid(path, &Value::from(sent), WHY);
    }
    for part in parts {
        if let Some(fault) = label_fault(part) {
            faults.invalid(path, &Value::from(part), &fault);
        }
    }
    if !known.iter().any(|known| known == sent) {
        faults.invalid(path, &Value::from(sent), WHY);
    }
}

/// What a claim is given.
fn allocation(devices: &Value, known: &[String], faults: &mut Faults) {
    const AT: &str = "status.allocation.devices";
    let (results, path) = (list(devices, "results"), format!("{AT}.results"));
    if results.len() > RESULTS_MAX {
        faults.too_many(&path, results.len() as u64, RESULTS_MAX as u64);
    } else {
        for (index, result) in results.iter().enumerate() {
            let path = format!("{path}[{index}]");
            request_name(&format!("{path}.request"), &result["request"], known, faults);
            place(&path, result, faults);
            bindings(&path, result, faults);
            share(&path, result, faults);
        }
    }
    let (configurations, path) = (list(devices, "config"), format!("{AT}.config"));
    if configurations.len() > CONFIGURATIONS_MAX {
        return faults.too_many(&path, configurations.len() as u64, CONFIGURATIONS_MAX as u64);
    }
    for (index, one) in configurations.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let requests = list(one, "requests");
        if requests.len() > REQUESTS_MAX {
            faults.too_many(&format!("{path}.requests"), requests.len() as u64, REQUESTS_MAX as u64);
            continue;
        }
        for (at, name) in requests.iter().enumerate() {
            let path = format!("{path}.requests[{at}]");
            request_name(&path, name, known, faults);
            if requests[..at].contains(name) {
                faults.duplicate(&path, name);
            }
        }
    }
}

/// What a device can be made to wait for, or fail by: both, or neither.
fn bindings(path: &str, result: &Value, faults: &mut Faults) {
    for (field, other) in
        [("bindingConditions", "bindingFailureConditions"), ("bindingFailureConditions", "bindingConditions")]
    {
        let (names, path) = (list(result, field), format!("{path}.{field}"));
        if names.is_empty() && !list(result, other).is_empty() {
            faults.invalid(&path, &Value::Null, &format!("{field} are required to use {other}"));
        }
        if names.len() > BINDING_CONDITIONS_MAX {
            faults.too_many(&path, names.len() as u64, BINDING_CONDITIONS_MAX as u64);
        }
        for (index, name) in names.iter().enumerate() {
            let path = format!("{path}[{index}]");
            for fault in qualified_name_faults(name.as_str().unwrap_or_default()) {
                faults.invalid(&path, name, &fault);
            }
            if names[..index].contains(name) {
                faults.duplicate(&path, name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::admit_status;
    use super::super::super::tests::{changed, created, told};
    use super::*;

    #[test]
    fn what_a_claim_was_given_is_what_it_asked_for() {
        const WHY: &str =
            "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        let request = json!({"name": "r", "exactly": {"deviceClassName": "c"}});
        let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
            "spec": {"devices": {"requests": [request]}}});
        let claim = created(&claim).expect("a good claim");
        let device = json!({"driver": "d.e", "pool": "p", "device": "x"});
        let given = |request: &str| {
            let mut result = device.clone();
            result["request"] = json!(request);
            json!({"devices": {"results": [result]}})
        };
        let consumer = json!({"resource": "pods", "name": "p", "uid": "u"});
        let report = |status: Value| told(changed(admit_status, &claim, &json!({ "status": status })));
        assert_eq!(
            report(json!({"reservedFor": [consumer]})),
            ["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]
        );
        assert_eq!(
            report(json!({"allocation": given("q")})),
            [format!("status.allocation.devices.results[0].request: Invalid value: \"q\": {WHY}")]
        );
        let alone = report(json!({"devices": [device]}));
        let shown = "{\"Driver\":\"d.e\",\"Pool\":\"p\",\"Device\":\"x\",\"ShareID\":\"\"}";
        assert_eq!(
            alone,
            [format!("status.devices[0]: Invalid value: {shown}: must be an allocated device in the claim")]
        );
        let good = json!({"allocation": given("r"), "devices": [device], "reservedFor": [consumer]});
        let given_now = changed(admit_status, &claim, &json!({ "status": good })).expect("a good report");
        let other = changed(admit_status, &given_now, &json!({"status": {"allocation": given("q")}}));
        assert!(told(other)[0].ends_with("field is immutable"));
    }
}
