//! Tenants and namespaces must exist, and not be terminating, for anything to be created in them. (NamespaceLifecycle)

use arktos_core::{GroupResource, Object, ObjectKey, Scope, Status, TenantName};
use arktos_store::{Commit, CommitError, Expect, Guard, Stored};

use super::quota;
use crate::call::Call;
use crate::query::cause;
use crate::verbs::create::{namespace_key, tenant_key};

/// Namespaces that last as long as their tenant.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// The place of a new object must be there and live: looked at now, and guarded in the commit.
///
/// # Errors
/// 404 and 403.
pub(crate) fn guard_place(call: &Call<'_>, object: &Object, commit: &mut Commit) -> Result<(), Status> {
    let mut guards = match call.kind.scope {
        // Who limits a tenant must mean one that there is: what is left behind would limit the next of its name.
        Scope::Region if quota::is_of_tenants(&call.kind.storage_resource) => {
            vec![ObjectKey::region_scoped(GroupResource::core("tenants"), object.name())]
        }
        Scope::Region => return Ok(()),
        _ => vec![tenant_key(call.one_tenant()?)],
    };
    let snapshot = call.state.config.engine.snapshot();
    if call.kind.scope == Scope::Namespace && call.state.config.admission.runs("NamespaceLifecycle") {
        guards.push(namespace_key(call.one_tenant()?, &call.namespace));
    }
    if call.kind.scope != Scope::Region {
        crate::definitions::guard(call, object.name(), commit)?;
    }
    for key in guards {
        let found = snapshot.get(&key);
        if !Expect::Live.holds(found.as_ref()) {
            return Err(refused(call, object.name(), &key, found.as_ref()));
        }
        commit.guards.push(Guard { key, expect: Expect::Live });
    }
    Ok(())
}

/// Something is about to be made for an object that is there: its namespace must live.
///
/// # Errors
/// 403.
pub(crate) fn lives(call: &Call<'_>) -> Result<(), Status> {
    let key = namespace_key(call.one_tenant()?, &call.namespace);
    let found = call.state.config.engine.snapshot().get(&key);
    if call.state.config.admission.runs("NamespaceLifecycle") && !Expect::Live.holds(found.as_ref()) {
        return Err(refused(call, &call.name, &key, found.as_ref()));
    }
    Ok(())
}

/// What a client is told when a guard of [`guard_place`] did not hold.
pub(crate) fn refusal(call: &Call<'_>, name: &str, error: &CommitError) -> Option<Status> {
    let CommitError::Guarded { key, found } = error else { return None };
    match key.resource.as_str() {
        "namespaces" | "tenants" => Some(refused(call, name, key, found.as_ref())),
        "customresourcedefinitions.apiextensions.k8s.io" => Some(crate::definitions::terminating(call, name)),
        "claimfences.region.arktos.io" => {
            let why = format!("the claim {:?} has ended", key.path.name());
            Some(Status::conflict(&call.kind.group_resource, name, why))
        }
        _ => None,
    }
}

fn refused(call: &Call<'_>, name: &str, key: &ObjectKey, found: Option<&Stored>) -> Status {
    let place = key.path.name();
    if found.is_none() {
        return Status::not_found(&key.resource, place);
    }
    let what = if key.resource.as_str() == "tenants" { "tenant" } else { "namespace" };
    let why = format!("unable to create new content in {what} {place} because it is being terminated");
    let mut status = Status::forbidden(&call.kind.group_resource, name, why);
    let reason = if what == "tenant" { "TenantTerminating" } else { "NamespaceTerminating" };
    let text = format!("{what} {place} is being terminated");
    status.details.get_or_insert_default().causes.push(cause(reason, &format!("metadata.{what}"), &text));
    status
}

/// A tenant's name must be one that paths can name: `all` stands for every tenant.
///
/// # Errors
/// 422.
pub(super) fn tenant_name(tenant: &Object) -> Result<(), Status> {
    let name = tenant.name();
    TenantName::new(name).map(drop).map_err(|why| {
        let text = format!("Invalid value: {name:?}: {why}");
        Status::invalid("", "Tenant", name, vec![cause("FieldValueInvalid", "metadata.name", &text)])
    })
}

/// What may not be deleted.
///
/// # Errors
/// 403.
pub(crate) fn delete(call: &Call<'_>, old: &Stored) -> Result<(), Status> {
    let name = old.path.name();
    let shown = crate::compat::name(call, name);
    let refuse = |why: &str| Err(Status::forbidden(&call.kind.group_resource, &shown, why));
    match call.kind.storage_resource.as_str() {
        "tenants" if name == TenantName::SYSTEM => refuse("this tenant may not be deleted"),
        "namespaces" if IMMORTAL.contains(&name) && tenant_lives(call) => refuse("this namespace may not be deleted"),
        "priorityclasses.scheduling.k8s.io" if name.starts_with("system-") => {
            refuse("this is a system priority class and cannot be deleted")
        }
        _ => Ok(()),
    }
}

fn tenant_lives(call: &Call<'_>) -> bool {
    call.tenant.as_ref().is_some_and(|tenant| {
        let key = ObjectKey::region_scoped(GroupResource::core("tenants"), tenant.as_str());
        Expect::Live.holds(call.state.config.engine.snapshot().get(&key).as_ref())
    })
}
