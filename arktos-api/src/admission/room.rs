//! How much there may be of what is read whole with the writes of a tenant: its webhooks, policies and classes, and the
//! limits, quotas and budgets of a namespace. With hundreds of megabytes of them each write would take more memory than
//! there is.

use arktos_core::{GroupResource, Object, ObjectKey, Status};
use arktos_store::Within;

use crate::call::Call;

/// What all objects of a kind of one tenant may take together, in bytes; of kinds in namespaces, those of one of these.
const MOST: [(&str, usize); 12] = [
    ("validatingwebhookconfigurations.admissionregistration.k8s.io", 4 << 20),
    ("mutatingwebhookconfigurations.admissionregistration.k8s.io", 4 << 20),
    ("validatingadmissionpolicies.admissionregistration.k8s.io", 4 << 20),
    ("validatingadmissionpolicybindings.admissionregistration.k8s.io", 4 << 20),
    ("mutatingadmissionpolicies.admissionregistration.k8s.io", 4 << 20),
    ("mutatingadmissionpolicybindings.admissionregistration.k8s.io", 4 << 20),
    ("priorityclasses.scheduling.k8s.io", 1 << 20),
    ("storageclasses.storage.k8s.io", 1 << 20),
    ("ingressclasses.networking.k8s.io", 1 << 20),
    ("poddisruptionbudgets.policy", 4 << 20),
    ("limitranges", 1 << 20),
    ("resourcequotas", 1 << 20),
];

/// Refuses an object for which there is no room beside the others. One that becomes no larger may stay.
///
/// # Errors
/// 403.
pub(super) fn check(call: &Call<'_>, old: Option<&Object>, new: &Object) -> Result<(), Status> {
    let resource = &call.kind.storage_resource;
    let Some((_, most)) = MOST.iter().find(|(kind, _)| *kind == resource.as_str()) else { return Ok(()) };
    let takes = size(new);
    if old.is_some_and(|old| takes <= size(old)) {
        return Ok(());
    }
    let others = others(call, resource, new.name())?;
    if others + takes <= *most {
        return Ok(());
    }
    let (most, why) = (most >> 20, "they are read with other writes");
    let whose = if call.namespace.is_empty() { "tenant" } else { "namespace" };
    let why = format!("the {} of a {whose} may take {most} MiB together: {why}", call.kind.resource);
    Err(Status::forbidden(&call.kind.group_resource, new.name(), why))
}

fn size(object: &Object) -> usize {
    serde_json::to_vec(&object.fields).map_or(usize::MAX, |text| text.len())
}

/// What the other objects of the kind take.
fn others(call: &Call<'_>, resource: &GroupResource, name: &str) -> Result<usize, Status> {
    let tenant = call.one_tenant()?;
    let (within, own) = match &*call.namespace {
        "" => (Within::Tenant(tenant.clone()), ObjectKey::tenant_scoped(resource.clone(), tenant, name)),
        namespace => (
            Within::Namespace(tenant.clone(), namespace.to_owned()),
            ObjectKey::namespaced(resource.clone(), tenant, namespace, name),
        ),
    };
    let snapshot = call.state.config.engine.snapshot();
    let others = snapshot.range(resource, &within, None).filter(|stored| stored.path != own.path);
    Ok(others.map(|stored| stored.object.tail_length()).sum())
}
