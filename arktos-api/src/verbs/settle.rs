//! What the server itself writes to an object right after it is stored, as a controller would: in a second write.

use arktos_core::{GroupResource, ObjectKey};
use arktos_store::{Change, Commit, Expect, Stored};
use serde_json::{Value, json};

use crate::call::Call;
use crate::definitions;

/// Settles what was just written. Faults are left to the next write: nobody waits for this one.
pub(crate) async fn settle(call: &Call<'_>, stored: &Stored) {
    if definitions::is_definition(call) {
        return definitions::written(call, stored).await;
    }
    if call.options.dry_run || call.kind.storage_resource.as_str() != "flowschemas.flowcontrol.apiserver.k8s.io" {
        return;
    }
    let _ = dangling(call, stored).await;
}

/// Whether the priority level of a flow schema is there.
async fn dangling(call: &Call<'_>, stored: &Stored) -> Option<()> {
    let mut schema = stored.object.decode(Some(stored.revision)).ok()?;
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
    let conditions = schema.at(&["status", "conditions"]).and_then(Value::as_array);
    let settled = conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == "Dangling" && condition["status"] == status)
    });
    if settled {
        return None;
    }
    let text = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {end}");
    let now = call.state.config.clock.now().to_string();
    let condition = json!({
        "type": "Dangling", "status": status, "lastTransitionTime": now, "reason": reason, "message": text,
    });
    schema.set(&["status", "conditions"], json!([condition]));
    let encoded = call.stored_kind().encode(&schema).ok()?;
    let key = ObjectKey { resource: call.kind.storage_resource.clone(), path: stored.path.clone() };
    let commit = Commit::one(key, Expect::At(stored.revision), Change::put(encoded));
    engine.commit(commit).await.ok().map(|_| ())
}
