//! Limits on what one container, pod or volume claim may ask for, and what it asks for when it does not say.
//! (LimitRanger)

use std::collections::BTreeMap;

use arktos_core::{GroupResource, Object, Quantity, Status};
use arktos_store::Within;
use serde_json::{Map, Value};

use crate::call::Call;

/// The annotation that says what was filled in.
const SAID: &str = "kubernetes.io/limit-ranger";

type Amounts = BTreeMap<String, Quantity>;

/// Fills in and checks a new pod.
///
/// # Errors
/// 403 with every limit that is broken.
pub(super) fn pod(call: &Call<'_>, pod: &mut Object) -> Result<(), Status> {
    let ranges = ranges(call)?;
    if ranges.is_empty() {
        return Ok(());
    }
    let mut said = Vec::new();
    for range in &ranges {
        for limit in limits(range, "Container") {
            for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
                fill(pod, list, word, &limit, &mut said);
            }
        }
    }
    if !said.is_empty() {
        let text = format!("LimitRanger plugin set: {}", said.join("; "));
        pod.set(&["metadata", "annotations", SAID], text);
    }
    let mut faults = Vec::new();
    for limit in ranges.iter().flat_map(|range| limits(range, "Container")) {
        for container in containers(pod, "containers").chain(containers(pod, "initContainers")) {
            check("Container", &limit, &amounts(container, "requests"), &amounts(container, "limits"), &mut faults);
        }
    }
    for limit in ranges.iter().flat_map(|range| limits(range, "Pod")) {
        let sum = |kind: &str| total(pod, kind);
        check("Pod", &limit, &sum("requests"), &sum("limits"), &mut faults);
    }
    refuse(call, pod.name(), &faults)
}

/// Checks a new volume claim.
///
/// # Errors
/// As [`pod`].
pub(super) fn volume_claim(call: &Call<'_>, claim: &Object) -> Result<(), Status> {
    let mut faults = Vec::new();
    let requests = claim.at(&["spec", "resources"]).map(|resources| of(resources.get("requests"))).unwrap_or_default();
    for limit in ranges(call)?.iter().flat_map(|range| limits(range, "PersistentVolumeClaim")) {
        check("PersistentVolumeClaim", &limit, &requests, &Amounts::new(), &mut faults);
    }
    refuse(call, claim.name(), &faults)
}

fn refuse(call: &Call<'_>, name: &str, faults: &[String]) -> Result<(), Status> {
    match faults {
        [] => Ok(()),
        [one] => Err(Status::forbidden(&call.kind.group_resource, name, one)),
        many => Err(Status::forbidden(&call.kind.group_resource, name, format!("[{}]", many.join(", ")))),
    }
}

/// The limit ranges of the namespace.
fn ranges(call: &Call<'_>) -> Result<Vec<Object>, Status> {
    let within = Within::Namespace(call.one_tenant()?.clone(), call.namespace.clone().into_owned());
    let snapshot = call.state.config.engine.snapshot();
    let stored = snapshot.range(&GroupResource::core("limitranges"), &within, None);
    Ok(stored.filter_map(|stored| stored.object.decode(None).ok()).collect())
}

fn limits(range: &Object, kind: &str) -> Vec<Value> {
    let limits = range.at(&["spec", "limits"]).and_then(Value::as_array).into_iter().flatten();
    limits.filter(|limit| limit["type"] == kind).cloned().collect()
}

fn of(list: Option<&Value>) -> Amounts {
    let fields = list.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), Quantity::parse(value.as_str()?).ok()?))).collect()
}

fn containers<'a>(pod: &'a Object, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    pod.at(&["spec", list]).and_then(Value::as_array).into_iter().flatten()
}

fn amounts(container: &Value, kind: &str) -> Amounts {
    of(container.get("resources").and_then(|resources| resources.get(kind)))
}

/// What a pod asks for in all: the sum of its containers, or an init container that needs more.
fn total(pod: &Object, kind: &str) -> Amounts {
    let mut sum = Amounts::new();
    for (name, amount) in containers(pod, "containers").flat_map(|container| amounts(container, kind)) {
        let total = sum.get(&name).map_or_else(|| amount.clone(), |total| total.plus(&amount));
        sum.insert(name, total);
    }
    for (name, amount) in containers(pod, "initContainers").flat_map(|container| amounts(container, kind)) {
        if sum.get(&name).is_none_or(|total| total.milli() < amount.milli()) {
            sum.insert(name, amount);
        }
    }
    sum
}

/// Gives containers that say nothing the defaults, and notes what was given.
fn fill(pod: &mut Object, list: &str, word: &str, limit: &Value, said: &mut Vec<String>) {
    let Some(containers) = pod.map_mut(&["spec"]).get_mut(list).and_then(Value::as_array_mut) else { return };
    for container in containers.iter_mut().filter_map(Value::as_object_mut) {
        let name = container.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
        for (kind, defaults, one) in [("requests", "defaultRequest", "request"), ("limits", "default", "limit")] {
            let given = give(container, kind, limit.get(defaults).and_then(Value::as_object));
            if !given.is_empty() {
                said.push(format!("{} {one} for {word} {name}", given.join(", ")));
            }
        }
    }
}

fn give(container: &mut Map<String, Value>, kind: &str, defaults: Option<&Map<String, Value>>) -> Vec<String> {
    let Some(defaults) = defaults else { return Vec::new() };
    let resources = container.entry("resources").or_insert_with(|| Value::Object(Map::new()));
    let Some(resources) = resources.as_object_mut() else { return Vec::new() };
    let mut own = resources.get(kind).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut given = Vec::new();
    for (name, value) in defaults {
        if !own.contains_key(name) {
            own.insert(name.clone(), value.clone());
            given.push(name.clone());
        }
    }
    if !given.is_empty() {
        resources.insert(kind.to_owned(), Value::Object(own));
    }
    given
}

/// Checks amounts against one limit: at least, at most, and how far a limit may be above its request.
fn check(what: &str, limit: &Value, requests: &Amounts, limits: &Amounts, faults: &mut Vec<String>) {
    let claim = what == "PersistentVolumeClaim";
    for (name, least) in of(limit.get("min")) {
        match (requests.get(&name), limits.get(&name)) {
            (None, _) => faults.push(format!("minimum {name} usage per {what} is {least}.  No request is specified")),
            (Some(request), _) if request.milli() < least.milli() => {
                faults.push(format!("minimum {name} usage per {what} is {least}, but request is {request}"));
            }
            (_, Some(top)) if top.milli() < least.milli() => {
                faults.push(format!("minimum {name} usage per {what} is {least}, but limit is {top}"));
            }
            _ => {}
        }
    }
    for (name, most) in of(limit.get("max")) {
        match (requests.get(&name), limits.get(&name)) {
            (Some(request), _) if claim && request.milli() > most.milli() => {
                faults.push(format!("maximum {name} usage per {what} is {most}, but request is {request}"));
            }
            _ if claim => {}
            (_, None) => faults.push(format!("maximum {name} usage per {what} is {most}.  No limit is specified")),
            (_, Some(top)) if top.milli() > most.milli() => {
                faults.push(format!("maximum {name} usage per {what} is {most}, but limit is {top}"));
            }
            (Some(request), _) if request.milli() > most.milli() => {
                faults.push(format!("maximum {name} usage per {what} is {most}, but request is {request}"));
            }
            _ => {}
        }
    }
    for (name, ratio) in of(limit.get("maxLimitRequestRatio")) {
        let (Some(request), Some(top)) = (requests.get(&name), limits.get(&name)) else {
            let why = "but no request is specified or request is 0";
            faults.push(format!("{name} max limit to request ratio per {what} is {ratio}, {why}"));
            continue;
        };
        #[allow(clippy::cast_precision_loss)] // as upstream compares them
        let found = top.milli() as f64 / (request.milli().max(1)) as f64;
        #[allow(clippy::cast_precision_loss)]
        if found * 1000.0 > ratio.milli() as f64 {
            faults.push(format!(
                "{name} max limit to request ratio per {what} is {ratio}, but provided ratio is {found:.6}"
            ));
        }
    }
}
