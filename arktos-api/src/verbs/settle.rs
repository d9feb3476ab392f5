//! What the server itself writes to an object right after it is stored, as a controller would: in a second write.

use arktos_core::{GroupResource, Object, ObjectKey};
use arktos_store::{Change, Commit, Expect, Stored};
use serde_json::{Value, json};

use crate::call::Call;
use crate::definitions;

/// Settles what was just written. Faults are left to the next write: nobody waits for this one.
pub(crate) async fn settle(call: &Call<'_>, stored: &Stored) {
    if definitions::is_definition(call) {
        return definitions::written(call, stored).await;
    }
    if call.options.dry_run {
        return;
    }
    let _ = match call.kind.storage_resource.as_str() {
        "flowschemas.flowcontrol.apiserver.k8s.io" => dangling(call, stored).await,
        "apiservices.apiregistration.k8s.io" => available(call, stored).await,
        _ => None,
    };
}

/// Whether a version of a group is to be had: what is served here is, and what a service has that is missing is not.
async fn available(call: &Call<'_>, stored: &Stored) -> Option<()> {
    let version = stored.object.decode(Some(stored.revision)).ok()?;
    let condition = if version.at(&["spec", "service"]).is_some() {
        let said = |field: &str| version.str_at(&["spec", "service", field]).to_owned();
        let (namespace, name) = (said("namespace"), said("name"));
        if namespace.contains('/') || name.contains('/') {
            return None;
        }
        let key = ObjectKey::namespaced(GroupResource::core("services"), call.tenant.as_ref()?, &namespace, &name);
        if call.state.config.engine.snapshot().get(&key).is_some() {
            return None;
        }
        let text = format!("service/{name} in {namespace:?} is not present");
        json!({"type": "Available", "status": "False", "reason": "ServiceNotFound", "message": text})
    } else {
        let text = "Local APIServices are always available";
        json!({"type": "Available", "status": "True", "reason": "Local", "message": text})
    };
    note(call, stored, version, condition).await
}

/// Whether the priority level of a flow schema is there.
async fn dangling(call: &Call<'_>, stored: &Stored) -> Option<()> {
    let schema = stored.object.decode(Some(stored.revision)).ok()?;
    let level = schema.str_at(&["spec", "priorityLevelConfiguration", "name"]).to_owned();
    let resource = GroupResource::new("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations");
    if level.contains('/') {
        return None;
    }
    let key = ObjectKey::tenant_scoped(resource, call.tenant.as_ref()?, &level);
    let engine = &call.state.config.engine;
    let there = engine.snapshot().get(&key).is_some() || call.state.shared.get(&key).is_some();
    let (status, reason, end) =
        if there { ("False", "Found", "and it exists") } else { ("True", "NotFound", "but there is no such object") };
    let text = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {end}");
    note(call, stored, schema, json!({"type": "Dangling", "status": status, "reason": reason, "message": text})).await
}

/// Writes a condition of an object, unless it says so already.
async fn note(call: &Call<'_>, stored: &Stored, mut object: Object, mut condition: Value) -> Option<()> {
    condition["lastTransitionTime"] = call.state.config.clock.now().to_string().into();
    let known = object.at(&["status", "conditions"]).and_then(Value::as_array);
    let mut conditions = known.cloned().unwrap_or_default();
    match conditions.iter_mut().find(|known| known["type"] == condition["type"]) {
        Some(known) if known["status"] == condition["status"] => return None,
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
    object.set(&["status", "conditions"], conditions);
    let encoded = call.stored_kind().encode(&object).ok()?;
    let key = ObjectKey { resource: call.kind.storage_resource.clone(), path: stored.path.clone() };
    let commit = Commit::one(key, Expect::At(stored.revision), Change::put(encoded));
    call.state.config.engine.commit(commit).await.ok().map(|_| ())
}
