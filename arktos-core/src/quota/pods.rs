//! What pods use of a quota.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Amounts, Scope, amounts};
use crate::object::Object;
use crate::quantity::Quantity;
use crate::time::Timestamp;

/// Amounts that a container must state where a quota limits them.
const STATED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// Whether an amount that a quota limits is one that pods use.
pub(super) fn is_about(name: &str) -> bool {
    let (kind, resource) = name.split_once('.').unwrap_or(("", name));
    match (kind, resource) {
        ("", "pods" | "cpu" | "memory" | "ephemeral-storage")
        | ("requests" | "limits", "cpu" | "memory" | "ephemeral-storage") => true,
        ("", resource) => resource.starts_with("hugepages-"),
        ("requests", resource) => resource.starts_with("hugepages-") || is_extended(resource),
        _ => name.starts_with("hugepages-"),
    }
}

/// Whether a resource is none of Kubernetes' own, such as a device.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// Adds what a pod uses. One that has ended, or whose grace is over, uses nothing more.
pub(super) fn usage(pod: &Object, now: Timestamp, used: &mut Amounts) {
    if has_ended(pod, now) {
        return;
    }
    used.extend(named(&total(pod, "requests"), &total(pod, "limits")));
}

fn has_ended(pod: &Object, now: Timestamp) -> bool {
    if matches!(pod.str_at(&["status", "phase"]), "Succeeded" | "Failed") {
        return true;
    }
    // The deletion time of a pod is when its grace ends.
    Timestamp::parse(pod.str_at(&["metadata", "deletionTimestamp"])).is_some_and(|end| now > end)
}

/// Requests and limits by the names a quota has for them.
fn named(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut named = Amounts::from([("pods".to_owned(), Quantity::from_value(1))]);
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = requests.get(name) {
            named.insert(name.to_owned(), amount.clone());
            named.insert(format!("requests.{name}"), amount.clone());
        }
        if let Some(amount) = limits.get(name) {
            named.insert(format!("limits.{name}"), amount.clone());
        }
    }
    for (name, amount) in requests {
        if name.starts_with("hugepages-") {
            named.insert(name.clone(), amount.clone());
        }
        if name.starts_with("hugepages-") || is_extended(name) {
            named.insert(format!("requests.{name}"), amount.clone());
        }
    }
    named
}

fn containers<'a>(spec: &'a Map<String, Value>, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    spec.get(list).and_then(Value::as_array).into_iter().flatten()
}

fn of(container: &Value, kind: &str) -> Amounts {
    amounts(container.get("resources").and_then(|resources| resources.get(kind)))
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let total = sum.get(name).map_or_else(|| amount.clone(), |sum| sum.plus(amount));
        sum.insert(name.clone(), total);
    }
}

fn at_least(sum: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        if sum.get(name).is_none_or(|sum| sum < amount) {
            sum.insert(name.clone(), amount.clone());
        }
    }
}

/// What the containers of a pod ask for: the sum of them and the sidecars, or an init container with the sidecars
/// before it that needs more.
pub(crate) fn of_containers(spec: &Map<String, Value>, kind: &str) -> Amounts {
    let mut sum = Amounts::new();
    containers(spec, "containers").for_each(|container| add(&mut sum, &of(container, kind)));
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in containers(spec, "initContainers") {
        let mut own = of(container, kind);
        if container["restartPolicy"] == "Always" {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            own = sidecars.clone();
        } else {
            add(&mut own, &sidecars);
        }
        at_least(&mut starting, &own);
    }
    at_least(&mut sum, &starting);
    sum
}

/// What a pod asks for in all: what its containers do; what the pod says as a whole goes before; and what its sandbox
/// takes.
fn total(pod: &Object, kind: &str) -> Amounts {
    let spec = pod.at(&["spec"]).and_then(Value::as_object);
    let mut sum = spec.map(|spec| of_containers(spec, kind)).unwrap_or_default();
    for (name, amount) in amounts(pod.at(&["spec", "resources", kind])) {
        sum.insert(name, amount);
    }
    // A sandbox's overhead counts as a limit only where there is one.
    for (name, amount) in amounts(pod.at(&["spec", "overhead"])) {
        if kind == "requests" || sum.contains_key(&name) {
            add(&mut sum, &Amounts::from([(name, amount)]));
        }
    }
    sum
}

/// Whether every container states what a quota needs to know. Where the pod as a whole states something, none has to.
pub(super) fn says_all(pod: &Object, about: &[&str]) -> Result<(), String> {
    let of_all = |name: &String| name == "cpu" || name == "memory" || name.starts_with("hugepages-");
    let states = |kind: &str| amounts(pod.at(&["spec", "resources", kind])).keys().any(of_all);
    if states("requests") || states("limits") {
        return Ok(());
    }
    let needed: Vec<&str> = about.iter().copied().filter(|name| STATED.contains(name)).collect();
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let spec = pod.at(&["spec"]).and_then(Value::as_object).into_iter();
    for container in spec.flat_map(|spec| containers(spec, "containers").chain(containers(spec, "initContainers"))) {
        let stated = named(&of(container, "requests"), &of(container, "limits"));
        for name in needed.iter().filter(|name| !stated.contains_key(**name)) {
            missing.entry(name).or_default().push(container["name"].as_str().unwrap_or_default());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.into_iter().map(|(name, mut containers)| {
        containers.sort_unstable();
        containers.dedup();
        format!("{name} for: {}", containers.join(","))
    });
    Err(format!("must specify {}", missing.collect::<Vec<_>>().join("; ")))
}

/// Whether a pod has a deadline.
pub(super) fn is_terminating(pod: &Object) -> bool {
    pod.int_at(&["spec", "activeDeadlineSeconds"]).is_some_and(|seconds| seconds >= 0)
}

/// Whether a pod is in a quota's scope.
pub(super) fn in_scope(scope: &Scope, pod: &Object) -> bool {
    let best_effort = || {
        let spec = pod.at(&["spec"]).and_then(Value::as_object);
        spec.is_none_or(|spec| crate::rules::qos_class(spec) == "BestEffort")
    };
    match scope.name.as_str() {
        "Terminating" => is_terminating(pod),
        "NotTerminating" => !is_terminating(pod),
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => {
            let class = pod.str_at(&["spec", "priorityClassName"]);
            scope.admits(if class.is_empty() { &[] } else { std::slice::from_ref(&class) })
        }
        "CrossNamespacePodAffinity" => looks_elsewhere(pod),
        _ => false,
    }
}

/// Whether a pod's affinity looks at pods of other namespaces.
fn looks_elsewhere(pod: &Object) -> bool {
    let some = |value: &Value| value.as_array().is_some_and(|list| !list.is_empty());
    let elsewhere = |term: &Value| some(&term["namespaces"]) || term["namespaceSelector"].is_object();
    ["podAffinity", "podAntiAffinity"].into_iter().any(|kind| {
        let Some(affinity) = pod.at(&["spec", "affinity", kind]) else { return false };
        let terms = |list: &str| affinity[list].as_array().cloned().unwrap_or_default();
        terms("requiredDuringSchedulingIgnoredDuringExecution").iter().any(elsewhere)
            || terms("preferredDuringSchedulingIgnoredDuringExecution")
                .iter()
                .any(|weighted| elsewhere(&weighted["podAffinityTerm"]))
    })
}
