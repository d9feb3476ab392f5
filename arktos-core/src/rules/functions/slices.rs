//! Slices of devices: what a device is, what of it can be asked for, and where it is.

use serde_json::{Map, Value};

use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site, is_empty};
use super::Run;
use super::drivers::driver_name_faults;
use crate::name::{label_fault, subdomain_fault};
use crate::quantity::Quantity;
use crate::selector::label_value_fault;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("slice", slice),
    ("attribute_name", attribute_name),
    ("opaque_parameters", opaque_parameters),
    ("pool_generation", pool_generation),
    ("extended_resource", extended_resource),
];

/// How many devices a slice has at most; and of such as say more of themselves than their names and attributes.
const DEVICES_MAX: usize = 128;
const RICH_DEVICES_MAX: usize = 64;
/// How many sets of counters a slice has at most.
const COUNTER_SETS_MAX: usize = 8;
/// How many bytes the parameters for a device's driver have at most.
const PARAMETERS_MAX: usize = 10 * 1024;

/// Stands at the spec of a slice.
fn slice(site: &Site<'_>, faults: &mut Faults) {
    if site.map.get("nodeName").is_some_and(|name| *name == "") {
        let why = "must be either unset or set to a non-empty string";
        faults.invalid(&site.sub("nodeName"), &"".into(), why);
    }
    if let Some(fault) = subdomain_fault(site.text("nodeName")).filter(|_| site.has("nodeName")) {
        faults.invalid(&site.sub("nodeName"), &site.text("nodeName").into(), &fault);
    }
    for field in ["allNodes", "perDeviceNodeSelection"] {
        if site.map.get(field) == Some(&Value::Bool(false)) {
            faults.invalid(&site.sub(field), &Value::Bool(false), "must be either unset or set to true");
        }
    }
    if let Some(selector) = site.map.get("nodeSelector").filter(|selector| selector.is_object()) {
        let terms = &selector["nodeSelectorTerms"];
        if terms.as_array().is_none_or(|terms| terms.len() != 1) {
            let why = "must have exactly one node selector term";
            faults.invalid(&site.sub("nodeSelector.nodeSelectorTerms"), terms, why);
        }
    }
    pool(site, faults);
    if site.has("sharedCounters") && site.has("devices") {
        faults.invalid(&site.path(), &"".into(), "only one of `sharedCounters` or `devices` is allowed");
    }
    let devices = site.list("devices");
    let rich = devices.iter().any(|device| !is_empty(&device["taints"]) || !is_empty(&device["consumesCounters"]));
    let most = if rich { RICH_DEVICES_MAX } else { DEVICES_MAX };
    if devices.len() > most {
        faults.too_many(&site.sub("devices"), devices.len() as u64, most as u64);
    }
    let each = site.map.get("perDeviceNodeSelection") == Some(&Value::Bool(true));
    for (index, device) in devices.iter().enumerate() {
        let at = site.sub(&format!("devices[{index}]"));
        if devices[..index].iter().any(|other| other["name"] == device["name"]) {
            faults.duplicate(&at, &device["name"]);
        }
        one_device(&at, device, each, faults);
    }
    let sets = site.list("sharedCounters");
    if sets.len() > COUNTER_SETS_MAX {
        faults.too_many(&site.sub("sharedCounters"), sets.len() as u64, COUNTER_SETS_MAX as u64);
    }
    for (index, set) in sets.iter().enumerate() {
        let at = site.sub(&format!("sharedCounters[{index}]"));
        if sets[..index].iter().any(|other| other["name"] == set["name"]) {
            faults.duplicate(&at, &set["name"]);
        }
        counters(&at, set, "name", faults);
    }
}

fn pool_generation(site: &Site<'_>, faults: &mut Faults) {
    if let Some(generation) = site.value.filter(|value| value.as_i64().is_some_and(|value| value < 0)) {
        faults.invalid(&site.path(), generation, "must be greater than or equal to zero");
    }
}

/// What pods may ask for in place of a claim: a resource of somebody's own.
fn extended_resource(site: &Site<'_>, faults: &mut Faults) {
    let Some(name) = site.value.and_then(Value::as_str) else { return };
    let domain = name.split_once('/').map(|(domain, _)| domain);
    let own = domain.is_some_and(|domain| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"));
    if !own || name.starts_with("requests.") || !qualified_name_faults(&format!("requests.{name}")).is_empty() {
        faults.invalid(&site.path(), &name.into(), "must be a valid extended resource name");
    }
}

fn pool(site: &Site<'_>, faults: &mut Faults) {
    let name = site.map.get("pool").and_then(|pool| pool["name"].as_str()).unwrap_or_default();
    pool_name_faults(&site.sub("pool.name"), name, faults);
}

pub(super) fn pool_name_faults(path: &str, name: &str, faults: &mut Faults) {
    if name.is_empty() {
        return faults.required(path, "");
    }
    if name.len() > 253 {
        faults.too_long(path, 253);
    }
    for part in name.split('/') {
        if let Some(fault) = subdomain_fault(part) {
            faults.invalid(path, &part.into(), &fault);
        }
    }
}

/// Sets of counters, and what devices take of them.
fn counters(at: &str, set: &Value, named: &str, faults: &mut Faults) {
    let name = set[named].as_str().unwrap_or_default();
    if name.is_empty() {
        faults.required(&format!("{at}.{named}"), "");
    } else if let Some(fault) = label_fault(name) {
        faults.invalid(&format!("{at}.{named}"), &name.into(), &fault);
    }
    let path = format!("{at}.counters");
    match set["counters"].as_object().filter(|counters| !counters.is_empty()) {
        None => faults.required(&path, ""),
        Some(counters) => {
            for name in counters.keys() {
                if let Some(fault) = label_fault(name) {
                    faults.invalid(&path, &name.as_str().into(), &fault);
                }
            }
        }
    }
}

fn one_device(at: &str, device: &Value, each: bool, faults: &mut Faults) {
    let map = |field: &str| device[field].as_object();
    let count = map("attributes").map_or(0, Map::len) + map("capacity").map_or(0, Map::len);
    if count > 32 {
        let why = "the total number of attributes and capacities must not exceed 32";
        faults.invalid(at, &Value::from(count), why);
    }
    for (name, attribute) in map("attributes").into_iter().flatten() {
        qualified(&format!("{at}.attributes"), name, faults);
        one_attribute(&format!("{at}.attributes[{name}]"), attribute, faults);
    }
    let shared = device["allowMultipleAllocations"] == true;
    for (name, capacity) in map("capacity").into_iter().flatten() {
        qualified(&format!("{at}.capacity"), name, faults);
        let (path, policy) = (format!("{at}.capacity[{name}].requestPolicy"), &capacity["requestPolicy"]);
        if policy.is_object() && shared {
            request_policy(&path, &amount(&capacity["value"]), policy, faults);
        } else if policy.is_object() {
            faults.forbidden(&path, "allowMultipleAllocations must be true");
        }
    }
    for (index, taint) in device["taints"].as_array().into_iter().flatten().enumerate() {
        one_taint(&format!("{at}.taints[{index}]"), taint, faults);
    }
    let taken = device["consumesCounters"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, set) in taken.iter().enumerate() {
        let at = format!("{at}.consumesCounters[{index}]");
        if taken[..index].iter().any(|other| other["counterSet"] == set["counterSet"]) {
            faults.duplicate(&at, &set["counterSet"]);
        }
        counters(&at, set, "counterSet", faults);
    }
    place(at, device, each, faults);
    conditions(at, device, faults);
}

fn one_attribute(at: &str, attribute: &Value, faults: &mut Faults) {
    let set = ["bool", "int", "string", "version"].iter().filter(|field| !attribute[**field].is_null()).count();
    let long = |path: &str, text: &str, faults: &mut Faults| {
        if text.len() > 64 {
            faults.too_long(path, 64);
        }
    };
    if let Some(text) = attribute["string"].as_str() {
        long(&format!("{at}.string"), text, faults);
    }
    if let Some(text) = attribute["version"].as_str() {
        let path = format!("{at}.version");
        if !is_version(text) {
            let why = "must be a string compatible with semver.org spec 2.0.0";
            faults.invalid(&path, &text.into(), why);
        }
        long(&path, text, faults);
    }
    match set {
        1 => {}
        0 => faults.invalid(at, &"".into(), "exactly one value must be specified"),
        _ => faults.invalid(at, attribute, "exactly one value must be specified"),
    }
}

/// Whether a text is a version: three numbers, and what is said of them behind `-` and `+`.
fn is_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, before) = text.split_once('-').map_or((text, None), |(core, before)| (core, Some(before)));
    let number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let plain = |part: &str| word(part) && (!part.bytes().all(|byte| byte.is_ascii_digit()) || number(part));
    core.split('.').count() == 3
        && core.split('.').all(number)
        && before.is_none_or(|before| before.split('.').all(plain))
        && build.is_none_or(|build| build.split('.').all(word))
}

fn amount(value: &Value) -> Quantity {
    value.as_str().and_then(|text| Quantity::parse(text).ok()).unwrap_or_else(|| Quantity::from_value(0))
}

/// What may be asked of a capacity that several share.
fn request_policy(at: &str, most: &Quantity, policy: &Value, faults: &mut Faults) {
    for field in ["validValues", "validRange"] {
        if !is_empty(&policy[field]) && policy["default"].is_null() {
            return faults.required(&format!("{at}.default"), &format!("required when {field} is defined"));
        }
    }
    let default = amount(&policy["default"]);
    let mut tell = |path: String, shown: &Quantity, why: &str| faults.invalid(&path, &shown.to_string().into(), why);
    let values: Vec<Quantity> = policy["validValues"].as_array().into_iter().flatten().map(amount).collect();
    let range = &policy["validRange"];
    match (values.is_empty(), range.is_null()) {
        (false, false) => {
            let why = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same \
                       time";
            faults.forbidden(at, why);
        }
        (false, true) => {
            let path = format!("{at}.validValues");
            for (index, value) in values.iter().enumerate() {
                if index > 0 && values[index - 1] > *value {
                    tell(format!("{path}[{index}]"), value, "values must be sorted in ascending order");
                }
                if value > most {
                    tell(format!("{path}[{index}]"), value, &format!("option is larger than capacity value: {most}"));
                }
            }
            if !values.contains(&default) {
                tell(path, &default, "default value is not valid according to the requestPolicy");
            }
        }
        (true, false) if range["min"].is_null() => {
            faults.required(&format!("{at}.validRange.min"), "required when validRange is defined");
        }
        (true, false) => {
            let path = |field: &str| format!("{at}.validRange.{field}");
            let min = amount(&range["min"]);
            let max = Some(&range["max"]).filter(|max| !max.is_null()).map(amount);
            if min > *most {
                tell(path("min"), &min, &format!("min is larger than capacity value: {most}"));
            }
            if default < min {
                tell(path("min"), &default, &format!("default is less than min: {min}"));
            }
            if let Some(max) = &max {
                if min > *max {
                    tell(path("max"), &min, &format!("min is larger than max: {max}"));
                }
                if max > most {
                    tell(path("max"), max, &format!("max is larger than capacity value: {most}"));
                }
                if default > *max {
                    tell(path("max"), &default, &format!("default is more than max: {max}"));
                }
            }
            let step = Some(&range["step"]).filter(|step| !step.is_null()).map(amount);
            if let Some(step) = &step {
                step_faults(&path("step"), step, &min, [Some(&default), max.as_ref()], most, faults);
            }
        }
        (true, true) => {}
    }
}

/// What is asked for goes up in steps: of those at least one must fit, and the ends of the range must be at one.
fn step_faults(
    path: &str,
    step: &Quantity,
    min: &Quantity,
    ends: [Option<&Quantity>; 2],
    most: &Quantity,
    faults: &mut Faults,
) {
    let one = min.plus(step);
    if one > *most {
        let why = format!("one step {one} is larger than capacity value: {most}");
        faults.invalid(path, &step.to_string().into(), &why);
    }
    let each = step.value();
    for value in ends.into_iter().flatten().filter(|_| each != 0) {
        if value.value().wrapping_sub(min.value()).wrapping_rem(each) != 0 {
            let why = format!("value is not a multiple of a given step ({step}) from ({min})");
            faults.invalid(path, &value.to_string().into(), &why);
        }
    }
}

fn one_taint(at: &str, taint: &Value, faults: &mut Faults) {
    let text = |field: &str| taint[field].as_str().unwrap_or_default();
    for fault in qualified_name_faults(text("key")) {
        faults.invalid(&format!("{at}.key"), &text("key").into(), &fault);
    }
    if let Some(fault) = label_value_fault(text("value")) {
        faults.invalid(&format!("{at}.value"), &taint["value"], &fault);
    }
    if text("effect").is_empty() {
        faults.required(&format!("{at}.effect"), "");
    }
}

fn place(at: &str, device: &Value, each: bool, faults: &mut Faults) {
    let sets = |field: &str| !device[field].is_null();
    if !each {
        if ["nodeName", "nodeSelector", "allNodes"].into_iter().any(sets) {
            let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to \
                       true in the ResourceSlice spec";
            faults.invalid(at, &Value::Null, why);
        }
        return;
    }
    let name = device["nodeName"].as_str();
    if name == Some("") {
        faults.invalid(&format!("{at}.nodeName"), &"".into(), "must not be empty");
    } else if let Some(fault) = name.and_then(subdomain_fault) {
        faults.invalid(&format!("{at}.nodeName"), &device["nodeName"], &fault);
    }
    if device["allNodes"] == false {
        faults.invalid(&format!("{at}.allNodes"), &Value::Bool(false), "must be either unset or set to true");
    }
    let set: Vec<String> = ["nodeName", "nodeSelector", "allNodes"]
        .into_iter()
        .filter(|field| sets(field) && device[*field] != "" && device[*field] != false)
        .map(|field| format!("`{field}`"))
        .collect();
    let why = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set \
               to true in the ResourceSlice spec";
    match set.len() {
        0 => faults.required(at, why),
        1 => {}
        _ => faults.invalid(at, &Value::from(format!("{{{}}}", set.join(", "))), why),
    }
}

/// What must have come about before a pod is bound to what has the device, and what must not.
fn conditions(at: &str, device: &Value, faults: &mut Faults) {
    let list = |field: &str| device[field].as_array().map_or(&[][..], Vec::as_slice);
    let (wanted, failures) = (list("bindingConditions"), list("bindingFailureConditions"));
    for (field, list) in [("bindingConditions", wanted), ("bindingFailureConditions", failures)] {
        for (index, condition) in list.iter().enumerate() {
            let path = format!("{at}.{field}[{index}]");
            for fault in qualified_name_faults(condition.as_str().unwrap_or_default()) {
                faults.invalid(&path, condition, &fault);
            }
            if list[..index].contains(condition) {
                faults.duplicate(&path, condition);
            }
            if field == "bindingFailureConditions" && wanted.contains(condition) {
                faults.invalid(&path, condition, "bindingFailureConditions must not overlap with bindingConditions");
            }
        }
    }
    let mut lacks = |field: &str, other: &str| {
        let why = format!("{field} are required to use {other}");
        faults.invalid(&format!("{at}.{field}"), &Value::Null, &why);
    };
    match (wanted.is_empty(), failures.is_empty()) {
        (true, false) => lacks("bindingConditions", "bindingFailureConditions"),
        (false, true) => lacks("bindingFailureConditions", "bindingConditions"),
        _ => {}
    }
}

/// A name with or without the domain that it is of.
fn qualified(path: &str, name: &str, faults: &mut Faults) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [name] => identifier(path, name, faults),
        [domain, name] => {
            if domain.is_empty() {
                faults.invalid(path, &"".into(), "the domain must not be empty");
            } else {
                driver_name_faults(path, domain, faults);
            }
            if name.is_empty() {
                faults.invalid(path, &"".into(), "the name must not be empty");
            } else {
                identifier(path, name, faults);
            }
        }
        _ => {}
    }
}

fn identifier(path: &str, name: &str, faults: &mut Faults) {
    if name.len() > 32 {
        faults.too_long(path, 32);
    }
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if !fits {
        let why = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric \
                   characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is \
                   '[A-Za-z_][A-Za-z0-9_]*')";
        faults.invalid(path, &name.into(), why);
    }
}

/// The name of an attribute, with its domain.
fn attribute_name(site: &Site<'_>, faults: &mut Faults) {
    let Some(name) = site.value.and_then(Value::as_str) else { return };
    qualified(&site.path(), name, faults);
    if !name.contains('/') {
        let why = "a fully qualified name must be a domain and a name separated by a slash";
        faults.invalid(&site.path(), &name.into(), why);
    }
}

/// What only a driver understands is an object.
fn opaque_parameters(site: &Site<'_>, faults: &mut Faults) {
    match site.value {
        None | Some(Value::Null) => faults.required(&site.path(), ""),
        Some(sent) if !site.updates && sent.to_string().len() > PARAMETERS_MAX => {
            faults.too_long(&site.path(), PARAMETERS_MAX);
        }
        Some(Value::Object(_)) => {}
        Some(_) => faults.invalid(&site.path(), &"<value omitted>".into(), "must be a valid JSON object"),
    }
}
