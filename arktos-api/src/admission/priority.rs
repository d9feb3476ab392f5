//! Priorities of pods. (Priority)

use std::sync::LazyLock;

use arktos_core::{GroupResource, Object, ObjectKey, Status};
use serde::Deserialize;
use serde_json::Value;

use super::decoded::Declared;
use super::list;
use crate::call::Call;

static CLASSES: LazyLock<GroupResource> = LazyLock::new(|| GroupResource::new("scheduling.k8s.io", "priorityclasses"));

/// What is looked at of a class.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PriorityClass {
    metadata: ClassMeta,
    value: i64,
    global_default: bool,
    preemption_policy: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ClassMeta {
    name: String,
}

impl Declared for PriorityClass {}

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
    let number = class.as_ref().map_or(0, |class| class.value);
    let policy = class.as_ref().map_or("", |class| class.preemption_policy.as_str());
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
        pod.set(&["spec", "priorityClassName"], class.metadata.name.clone());
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
        Some(PriorityClass { metadata: other, .. }) if new || other.name != class.name() => {
            let why = format!("PriorityClass {} is already marked as default. Only one default can exist", other.name);
            Err(Status::forbidden(&call.kind.group_resource, class.name(), why))
        }
        _ => Ok(()),
    }
}

fn find(call: &Call<'_>, name: &str) -> Result<Option<PriorityClass>, Status> {
    if name.contains('/') {
        return Ok(None);
    }
    let key = ObjectKey::tenant_scoped(CLASSES.clone(), call.one_tenant()?, name);
    let stored = call.state.config.engine.snapshot().get(&key).or_else(|| call.state.shared.get(&key));
    Ok(stored.and_then(|stored| stored.object.parse().ok()))
}

fn default_class(call: &Call<'_>) -> Option<PriorityClass> {
    let classes = list::<PriorityClass>(call, &CLASSES, "");
    let default = classes.iter().filter(|class| class.global_default).min_by_key(|class| class.value)?;
    Some(PriorityClass::clone(default))
}
