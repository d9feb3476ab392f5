//! What pods may ask of their host, by the labels of their namespace: enforcement refuses, warnings warn, and
//! workloads are warned of pods that would be refused. (PodSecurity)

use std::collections::{BTreeMap, HashSet};

use arktos_core::pod_security::{Level, Policy, Standard, Violation, violations};
use arktos_core::{GroupResource, Object, Status};
use arktos_store::Within;
use serde_json::{Map, Value};

use super::Review;
use crate::call::Call;
use crate::verbs::create::namespace_key;
use crate::verbs::modify::Part;

/// How many pods of a namespace are looked at when it becomes stricter.
const PODS_MAX: usize = 3000;
/// Under what the audit log says which standard a pod was held to, and what breaks the one for the log.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce-policy";
const VIOLATIONS: &str = "pod-security.kubernetes.io/audit-violations";

/// Judges a write of a pod, of a workload that makes pods, or of a namespace.
///
/// # Errors
/// 403 for pods that the namespace does not allow; 422 for labels that cannot be read.
pub(super) fn validate(call: &Call<'_>, review: &Review<'_>) -> Result<(), Status> {
    let Some(new) = review.new else { return Ok(()) };
    match call.kind.storage_resource.as_str() {
        "namespaces" if review.part == Part::Whole => namespace(call, review.old, new),
        "pods" => match review.part {
            Part::Whole | Part::Other("ephemeralcontainers" | "resize") => pod(call, review.old, new),
            _ => Ok(()),
        },
        _ if review.part == Part::Whole => workload(call, new),
        _ => Ok(()),
    }
}

fn pod(call: &Call<'_>, old: Option<&Object>, new: &Object) -> Result<(), Status> {
    let policy = policy_of(call)?;
    if policy.asks_nothing() || old.is_some_and(|old| !is_significant(old, new)) {
        return Ok(());
    }
    call.annotate(ENFORCED, &policy.enforce.to_string());
    note(call, policy.audit, &new.fields);
    let broken = violations(policy.enforce, &new.fields);
    if !broken.is_empty() {
        let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, listed(&broken));
        return Err(Status::forbidden(&call.kind.group_resource, new.name(), why));
    }
    warn(call, policy.warn, &new.fields);
    Ok(())
}

fn workload(call: &Call<'_>, new: &Object) -> Result<(), Status> {
    let Some(template) = template(&call.kind.storage_resource, new) else { return Ok(()) };
    let policy = policy_of(call)?;
    note(call, policy.audit, template);
    warn(call, policy.warn, template);
    Ok(())
}

/// What a workload makes pods from.
fn template<'a>(resource: &GroupResource, object: &'a Object) -> Option<&'a Map<String, Value>> {
    let path: &[&str] = match resource.as_str() {
        "podtemplates" => &["template"],
        "cronjobs.batch" => &["spec", "jobTemplate", "spec", "template"],
        "replicationcontrollers"
        | "replicasets.apps"
        | "deployments.apps"
        | "statefulsets.apps"
        | "daemonsets.apps"
        | "jobs.batch" => &["spec", "template"],
        _ => return None,
    };
    object.at(path)?.as_object()
}

/// Enters what breaks a standard in the audit log.
fn note(call: &Call<'_>, standard: Standard, pod: &Map<String, Value>) {
    let broken = if call.record.is_some() { violations(standard, pod) } else { Vec::new() };
    if !broken.is_empty() {
        call.annotate(VIOLATIONS, &format!("would violate PodSecurity \"{standard}\": {}", listed(&broken)));
    }
}

fn warn(call: &Call<'_>, standard: Standard, pod: &Map<String, Value>) {
    let broken = violations(standard, pod);
    if !broken.is_empty() {
        call.warn(format!("would violate PodSecurity \"{standard}\": {}", listed(&broken)));
    }
}

fn listed(broken: &[Violation]) -> String {
    broken.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What the namespace of the call asks for.
fn policy_of(call: &Call<'_>) -> Result<Policy, Status> {
    let key = namespace_key(call.one_tenant()?, &call.namespace);
    let found = call.state.config.engine.snapshot().get(&key);
    let Some(found) = found else { return Ok(Policy::of(None).0) };
    let labels = found.object.header().labels();
    let labels = labels.map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    Ok(Policy::of(Some(&labels)).0)
}

/// Whether an update changes what containers there are, or what runs in them.
fn is_significant(old: &Object, new: &Object) -> bool {
    let list = |pod: &Object, list: &str| -> Vec<Value> {
        pod.at(&["spec", list]).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let fixed = ["containers", "initContainers"].into_iter().any(|name| {
        let (old, new) = (list(old, name), list(new, name));
        old.len() != new.len() || old.iter().zip(&new).any(|(old, new)| old["image"] != new["image"])
    });
    let before = list(old, "ephemeralContainers");
    fixed
        || list(new, "ephemeralContainers").iter().any(|new| {
            before.iter().find(|old| old["name"] == new["name"]).is_none_or(|old| old["image"] != new["image"])
        })
}

fn namespace(call: &Call<'_>, old: Option<&Object>, new: &Object) -> Result<(), Status> {
    let read = |namespace: &Object| Policy::of(namespace.at(&["metadata", "labels"]).and_then(Value::as_object));
    let (policy, faults) = read(new);
    let before = old.map(read);
    if !faults.is_empty() && before.as_ref().is_none_or(|(_, before)| *before != faults) {
        return Err(Status::invalid("", "Namespace", new.name(), faults));
    }
    let Some((before, _)) = before else { return Ok(()) };
    let (was, now) = (before.enforce, policy.enforce);
    let no_stricter =
        was == now || now.level == Level::Privileged || (was.version == now.version && now.level <= was.level);
    if !no_stricter {
        existing(call, new.name(), now)?.into_iter().for_each(|warning| call.warn(warning));
    }
    Ok(())
}

/// What is said of pods that are there when their namespace becomes stricter: they stay.
fn existing(call: &Call<'_>, namespace: &str, standard: Standard) -> Result<Vec<String>, Status> {
    let within = Within::Namespace(call.one_tenant()?.clone(), namespace.to_owned());
    let snapshot = call.state.config.engine.snapshot();
    let pods = snapshot.range(&GroupResource::core("pods"), &within, None);
    let pods: Vec<Object> = pods.filter_map(|stored| stored.object.decode(None).ok()).collect();
    // Pods that one controller has made are alike: one of each is looked at first.
    let mut controllers = HashSet::new();
    let (first, alike): (Vec<Object>, Vec<Object>) =
        pods.into_iter().partition(|pod| controller(pod).is_none_or(|uid| controllers.insert(uid)));
    let all = first.len() + alike.len();
    let mut broken: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in first.iter().chain(&alike).take(PODS_MAX) {
        let found = violations(standard, &pod.fields);
        if !found.is_empty() {
            let reasons: Vec<&str> = found.iter().map(|violation| violation.reason.as_str()).collect();
            broken.entry(reasons.join(", ")).or_default().push(pod.name().to_owned());
        }
    }
    let mut warnings = Vec::new();
    if all > PODS_MAX {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {all} existing pods"
        ));
    }
    if !broken.is_empty() {
        warnings.push(format!(
            "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{standard}\""
        ));
    }
    let mut pods: Vec<String> = broken.into_iter().map(|(reasons, names)| one_line(&reasons, names)).collect();
    pods.sort();
    warnings.append(&mut pods);
    Ok(warnings)
}

fn controller(pod: &Object) -> Option<String> {
    let owners = pod.at(&["metadata", "ownerReferences"])?.as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    owner["uid"].as_str().map(str::to_owned)
}

fn one_line(reasons: &str, mut names: Vec<String>) -> String {
    names.sort_unstable();
    let others = match names.len() {
        0 | 1 => String::new(),
        2 => " (and 1 other pod)".to_owned(),
        many => format!(" (and {} other pods)", many - 1),
    };
    format!("{}{others}: {reasons}", names.first().map_or("", String::as_str))
}
