//! Priorities of pods. (Priority)

use arktos_core::{GroupResource, Object, ObjectKey, Status};
use serde_json::Value;

use super::objects;
use crate::call::Call;

/// Gives a pod the number and preemption policy of its class.
///
/// # Errors
/// 403 when the class is not there, or the pod says something else.
pub(super) fn pod(call: &Call<'_>, pod: &mut Object) -> Result<(), Status> {
    let resource = GroupResource::core("pods");
    let refuse = |why: String| Err(Status::forbidden(&resource, pod.name(), why));
    let name = pod.str_at(&["spec", "priorityClassName"]).to_owned();
    let class = if name.is_empty() { default_class(call) } else { find(call, &name)? };
    if class.is_none() && !name.is_empty() {
        return refuse(format!("no PriorityClass with name {name} was found"));
    }
    let number = class.as_ref().and_then(|class| class.int_at(&["value"])).unwrap_or(0);
    let policy = class.as_ref().map_or("", |class| class.str_at(&["preemptionPolicy"]));
    let policy = if policy.is_empty() { "PreemptLowerPriority" } else { policy }.to_owned();
    if let Some(own) = pod.int_at(&["spec", "priority"]).filter(|own| *own != number) {
        return refuse(format!(
            "the integer value of priority ({own}) must not be provided in pod spec; priority admission controller \
             computed {number} from the given PriorityClass name"
        ));
    }
    let own = pod.str_at(&["spec", "preemptionPolicy"]);
    if pod.at(&["spec", "preemptionPolicy"]).is_some_and(|own| !own.is_null()) && own != policy {
        return refuse(format!(
            "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        ));
    }
    if let (true, Some(class)) = (name.is_empty(), &class) {
        pod.set(&["spec", "priorityClassName"], class.name().to_owned());
    }
    pod.set(&["spec", "priority"], number);
    pod.set(&["spec", "preemptionPolicy"], policy);
    Ok(())
}

/// What was computed stays where an update does not say it.
pub(super) fn keep(old: &Object, new: &mut Object) {
    for field in ["priority", "preemptionPolicy"] {
        if let (None, Some(value)) = (new.at(&["spec", field]), old.at(&["spec", field])) {
            let value = value.clone();
            new.set(&["spec", field], value);
        }
    }
}

/// At most one class is the default. A new one is refused whatever its name, a changed one may be the default already.
///
/// # Errors
/// 403.
pub(super) fn class(call: &Call<'_>, class: &Object, new: bool) -> Result<(), Status> {
    if class.at(&["globalDefault"]).and_then(Value::as_bool) != Some(true) {
        return Ok(());
    }
    match default_class(call) {
        Some(other) if new || other.name() != class.name() => {
            let why =
                format!("PriorityClass {} is already marked as default. Only one default can exist", other.name());
            Err(Status::forbidden(&call.kind.group_resource, class.name(), why))
        }
        _ => Ok(()),
    }
}

fn find(call: &Call<'_>, name: &str) -> Result<Option<Object>, Status> {
    if name.contains('/') {
        return Ok(None);
    }
    let resource = GroupResource::new("scheduling.k8s.io", "priorityclasses");
    let key = ObjectKey::tenant_scoped(resource, call.one_tenant()?, name);
    let stored = call.state.config.engine.snapshot().get(&key).or_else(|| call.state.shared.get(&key));
    Ok(stored.and_then(|stored| stored.object.decode(None).ok()))
}

fn default_class(call: &Call<'_>) -> Option<Object> {
    let is_default = |class: &Object| class.at(&["globalDefault"]).and_then(Value::as_bool) == Some(true);
    let lowest = |class: &Object| class.int_at(&["value"]).unwrap_or(0);
    objects(call, "scheduling.k8s.io", "priorityclasses").into_iter().filter(is_default).min_by_key(lowest)
}
