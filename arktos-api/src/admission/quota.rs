//! What a namespace and a tenant may hold: a write is charged to their quotas in the same commit. (ResourceQuota)
//!
//! The quotas of a namespace are its tenant's own affair. That of the tenant, a `TenantQuota` of the tenant's name,
//! is the region's, and is about all that the tenant has, whatever the namespace.
//!
//! A quota's `status.used` is its account. The commit that makes an object also writes the quotas that are about it,
//! expecting them as they were read, so no two writers can spend the same rest. Who finds a quota changed reads it
//! anew and tries again. What is given back (deletions, pods that end) the controller of quotas counts.

use std::sync::Arc;

use arktos_core::quota::{self, Quota};
use arktos_core::{GroupResource, Object, ObjectKey, Scope, Status};
use arktos_store::{Change, Commit, Expect, Stored, Within, Write};

use super::Review;
use crate::call::Call;
use crate::verbs::modify::Part;

/// How often a charge is made anew when others spend of the same quotas.
pub(crate) const TRIES: usize = 256;

/// Whether a key is a quota's: what stands in the way of a commit is then tried anew.
pub(crate) fn is_quota(key: &ObjectKey) -> bool {
    matches!(key.resource.as_str(), "resourcequotas" | TENANT_QUOTAS)
}

/// Whether objects of a resource are tenants' quotas, which are named as their tenants are.
pub(super) fn is_of_tenants(resource: &GroupResource) -> bool {
    resource.as_str() == TENANT_QUOTAS
}

/// The resource of quotas of tenants.
const TENANT_QUOTAS: &str = "tenantquotas.region.arktos.io";

/// Adds to a commit what the write costs.
///
/// # Errors
/// 403 when a quota has not enough left, or is not told what it asks for.
pub(crate) fn charge(call: &Call<'_>, review: &Review<'_>, commit: &mut Commit) -> Result<(), Status> {
    let Some(new) = review.new else { return Ok(()) };
    let subresource = match review.part {
        Part::Whole => "",
        Part::Status => "status",
        Part::Other(name) => name,
    };
    let resource = &call.kind.storage_resource;
    if call.kind.scope == Scope::Region
        || !call.state.config.admission.runs("ResourceQuota")
        || !quota::handles(resource, subresource, review.old, new)
    {
        return Ok(());
    }
    for (stored, quota, object) in quotas(call)? {
        let now = call.state.config.clock.now();
        let used = Quota::of(&object)
            .charge(resource, review.old, new, now)
            .map_err(|why| Status::forbidden(&call.kind.group_resource, new.name(), why.to_string()))?;
        let Some(used) = used else { continue };
        let mut charged = object;
        charged.set(&["status", "used"], quota::to_value(&used));
        if call.options.dry_run {
            continue;
        }
        commit.writes.push(write(call, quota, &stored, &charged)?);
    }
    Ok(())
}

/// Waits until what the store has answered with can be read here.
///
/// # Errors
/// 503.
pub(crate) async fn caught_up(call: &Call<'_>) -> Result<(), Status> {
    let newest = call.state.config.engine.latest().await;
    newest.map(|_| ()).map_err(|error| crate::call::read_fault(&error))
}

/// The quotas that are about a write: those of its namespace, and that of its tenant.
fn quotas(call: &Call<'_>) -> Result<Vec<(Stored, GroupResource, Object)>, Status> {
    let tenant = call.one_tenant()?;
    let snapshot = call.state.config.engine.snapshot();
    let (own, of_tenant) = (GroupResource::core("resourcequotas"), GroupResource::from(TENANT_QUOTAS.to_owned()));
    let within = Within::Namespace(tenant.clone(), call.namespace.clone().into_owned());
    let in_namespace = !call.namespace.is_empty();
    let found = in_namespace.then(|| snapshot.range(&own, &within, None)).into_iter().flatten();
    let mut found: Vec<(GroupResource, Stored)> =
        found.map(|stored| (own.clone(), Arc::unwrap_or_clone(stored))).collect();
    let key = ObjectKey::region_scoped(of_tenant.clone(), tenant.as_str());
    found.extend(snapshot.get(&key).map(|stored| (of_tenant, stored)));
    let decoded = |stored: &Stored| stored.object.decode(Some(stored.revision)).ok();
    Ok(found
        .into_iter()
        .filter_map(|(resource, stored)| decoded(&stored).map(|quota| (stored, resource, quota)))
        .collect())
}

fn write(call: &Call<'_>, resource: GroupResource, stored: &Stored, object: &Object) -> Result<Write, Status> {
    let kind = call.state.kinds.stored(call.tenant.as_ref(), &resource);
    let kind = kind.ok_or_else(|| Status::internal(format!("{resource} are not known")))?;
    let encoded = kind.encode(object).map_err(Status::internal)?;
    let key = ObjectKey { resource, path: stored.path.clone() };
    Ok(Write { key, expect: Expect::At(stored.revision), change: Change::put(encoded) })
}
