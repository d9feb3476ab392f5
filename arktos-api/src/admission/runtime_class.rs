//! The class of a pod's sandbox: it must be there, and says what the sandbox takes and where it can run. (RuntimeClass)

use arktos_core::{GroupResource, Object, ObjectKey, Status, TenantName};
use serde_json::{Map, Value};

use crate::call::Call;

/// How many tolerations a pod and its class may have together: each is compared with all others.
const TOLERATIONS_MAX: usize = 1000;

const OVERHEAD: &[&str] = &["spec", "overhead"];

/// Gives a new pod what its class says.
///
/// # Errors
/// 403 for a class that is not there, and for a pod that says otherwise.
pub(super) fn pod(call: &Call<'_>, pod: &mut Object) -> Result<(), Status> {
    let Some(class) = class_of(call, pod)? else { return Ok(()) };
    let forbidden = |pod: &Object, why: &str| Err(Status::forbidden(&call.kind.group_resource, pod.name(), why));
    let wanted = class.at(&["scheduling", "nodeSelector"]).and_then(Value::as_object).cloned().unwrap_or_default();
    let own = pod.at(&["spec", "nodeSelector"]).and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in &wanted {
        if let Some(own) = own.get(key).filter(|own| *own != value) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(own)
            );
            return forbidden(pod, &why);
        }
    }
    if !wanted.is_empty() {
        pod.map_mut(&["spec", "nodeSelector"]).extend(wanted);
    }
    let list = |object: &Object, path: &[&str]| object.at(path).and_then(Value::as_array).cloned().unwrap_or_default();
    let more = list(&class, &["scheduling", "tolerations"]);
    if !more.is_empty() {
        let own = list(pod, &["spec", "tolerations"]);
        if own.len() + more.len() > TOLERATIONS_MAX {
            let why = format!("with those of its RuntimeClass it has more than {TOLERATIONS_MAX} tolerations");
            return forbidden(pod, &why);
        }
        let tolerations = merged(own, more);
        pod.set(&["spec", "tolerations"], tolerations);
    }
    if let Some(overhead) = overhead_of(&class) {
        if own_overhead(pod).is_some_and(|own| own != overhead) {
            return forbidden(pod, NO_MATCH);
        }
        pod.set(OVERHEAD, Value::Object(overhead.clone()));
    }
    Ok(())
}

const NO_MATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

/// A new pod's overhead is its class's, and it has none without one.
///
/// # Errors
/// 403.
pub(super) fn validate(call: &Call<'_>, pod: &Object) -> Result<(), Status> {
    let class = class_of(call, pod)?;
    let why = match (class.as_ref().and_then(overhead_of), own_overhead(pod)) {
        (Some(overhead), own) if own != Some(overhead) => NO_MATCH,
        (None, Some(_)) => "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        _ => return Ok(()),
    };
    Err(Status::forbidden(&call.kind.group_resource, pod.name(), why))
}

fn overhead_of(class: &Object) -> Option<&Map<String, Value>> {
    class.at(&["overhead", "podFixed"])?.as_object()
}

fn own_overhead(pod: &Object) -> Option<&Map<String, Value>> {
    pod.at(OVERHEAD)?.as_object()
}

/// The class that a pod names: the tenant's own, or the region's.
fn class_of(call: &Call<'_>, pod: &Object) -> Result<Option<Object>, Status> {
    let name = pod.str_at(&["spec", "runtimeClassName"]);
    if name.is_empty() {
        // What is there and says nothing cannot be looked up, and upstream says so in its own way.
        let is_said = pod.at(&["spec", "runtimeClassName"]).is_some_and(Value::is_string);
        return if is_said { Err(Status::unexplained("resource name may not be empty")) } else { Ok(None) };
    }
    let faults = arktos_core::name::path_segment_faults(name);
    if !faults.is_empty() {
        return Err(Status::unexplained(format!("invalid resource name {name:?}: [{}]", faults.join(" "))));
    }
    let snapshot = call.state.config.engine.snapshot();
    let of = |tenant: &TenantName| {
        let key = ObjectKey::tenant_scoped(GroupResource::new("node.k8s.io", "runtimeclasses"), tenant, name);
        snapshot.get(&key)
    };
    let found = if name.contains('/') { None } else { of(call.one_tenant()?).or_else(|| of(&TenantName::system())) };
    let Some(found) = found else {
        let why = format!("pod rejected: RuntimeClass {name:?} not found");
        return Err(Status::forbidden(&call.kind.group_resource, pod.name(), why));
    };
    found.object.decode(None).map(Some).map_err(Status::internal)
}

/// Tolerations of both lists, without those that another one covers.
fn merged(first: Vec<Value>, second: Vec<Value>) -> Vec<Value> {
    let all: Vec<Value> = first.into_iter().chain(second).collect();
    let mut merged: Vec<Value> = Vec::with_capacity(all.len());
    for (index, one) in all.iter().enumerate() {
        let before = merged.iter().any(|other| covers(other, one));
        // Of equal ones the first stays.
        let after = all.iter().skip(index + 1).any(|other| other != one && covers(other, one));
        if !before && !after {
            merged.push(one.clone());
        }
    }
    merged
}

/// Whether whatever `one` tolerates, `other` does as well.
fn covers(other: &Value, one: &Value) -> bool {
    let text = |toleration: &Value, field: &str| toleration[field].as_str().unwrap_or_default().to_owned();
    let exists = text(other, "operator") == "Exists";
    let same = |field: &str| text(other, field) == text(one, field);
    let any_key = text(other, "key").is_empty() && exists;
    let long_enough = match (other["tolerationSeconds"].as_i64(), one["tolerationSeconds"].as_i64()) {
        (Some(other), Some(one)) => one <= other,
        (Some(_), None) => text(other, "effect") != "NoExecute",
        (None, _) => true,
    };
    other == one
        || ((any_key || same("key"))
            && (text(other, "effect").is_empty() || same("effect"))
            && long_enough
            && (exists || (text(one, "operator") != "Exists" && same("value"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_toleration_that_another_covers_is_left_out() {
        let all = json!({"operator": "Exists"});
        let one = json!({"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"});
        let wider = json!({"key": "a", "operator": "Exists"});
        assert_eq!(merged(vec![one.clone()], vec![wider.clone()]), vec![wider.clone()]);
        assert_eq!(merged(vec![one.clone()], vec![one.clone()]), vec![one.clone()]);
        assert_eq!(merged(vec![all.clone()], vec![one.clone(), wider]), [all]);
        let short = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
        let long = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9});
        assert_eq!(merged(vec![short], vec![long.clone()]), vec![long.clone()]);
        assert_eq!(merged(vec![one.clone()], vec![long.clone()]), [one, long]);
    }
}
