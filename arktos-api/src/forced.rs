//! Definitions of `system` that all tenants have, whether they want them or not: those with the sharing label.
//!
//! A tenant sees a forced definition where its own are, in its own's place if there is one of the same name, and can
//! neither change nor delete it. The region's components see what is stored, so that they can clean up.

use std::sync::Arc;

use arktos_core::encoded::SHARED;
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Status, TenantName, custom};
use arktos_store::{Delivery, Selection, Snapshot, Stored, Within};

use crate::call::Call;
use crate::config::ApiConfig;
use crate::identity::COMPONENTS;
use crate::kinds::{DEFINITION, definition_key};

pub(crate) use arktos_core::custom::SHARING as LABEL;

/// Whether a definition of `system` is forced on all tenants.
pub(crate) fn is_forced(stored: &Stored) -> bool {
    stored.path.tenant() == TenantName::SYSTEM && custom::is_forced(stored.object.header())
}

/// The definition of this name that is forced on all tenants, as it is stored.
pub(crate) fn named(snapshot: &Snapshot, name: &str) -> Option<Stored> {
    snapshot.get(&definition_key(&TenantName::system(), name)).filter(is_forced)
}

/// Whether what is forced on a tenant stands in front of what it has.
fn concerns(call: &Call<'_>, resource: &GroupResource, tenant: &str) -> bool {
    let component = || call.identity.is_system() && call.identity.is_in(COMPONENTS);
    *resource == *DEFINITION && !matches!(tenant, "" | TenantName::SYSTEM) && !component()
}

/// What a tenant sees at a key because it is forced on it.
pub(crate) fn get(call: &Call<'_>, snapshot: &Snapshot, key: &ObjectKey) -> Option<Stored> {
    if !concerns(call, &key.resource, key.path.tenant()) {
        return None;
    }
    shown_in(&call.state.config, &named(snapshot, key.path.name())?, key.path.tenant())
}

/// What a selection within one tenant sees because it is forced on it, in order.
pub(crate) fn selected(call: &Call<'_>, selection: &Selection, snapshot: &Snapshot) -> Vec<Stored> {
    let Within::Tenant(tenant) = &selection.within else {
        let Within::Object(path) = &selection.within else { return Vec::new() };
        let key = ObjectKey { resource: selection.resource.clone(), path: path.clone() };
        let found = get(call, snapshot, &key);
        return found.into_iter().filter(|stored| selection.matches(&stored.path, &stored.object)).collect();
    };
    if !concerns(call, &selection.resource, tenant.as_str()) {
        return Vec::new();
    }
    let system = Within::Tenant(TenantName::system());
    let forced = snapshot.range(&DEFINITION, &system, None).filter(|stored| is_forced(stored));
    let shown = forced.filter_map(|stored| shown_in(&call.state.config, &stored, tenant.as_str()));
    shown.filter(|stored| selection.matches(&stored.path, &stored.object)).collect()
}

/// A forced definition, as a tenant sees it.
fn shown_in(config: &ApiConfig, forced: &Stored, tenant: &str) -> Option<Stored> {
    let mut object = forced.object.decode(None).ok()?;
    object.notes.insert(SHARED.to_owned(), "true".to_owned());
    let object = config.catalog.storage(&DEFINITION)?.encode(&object).ok()?;
    Some(Stored { path: ObjectPath::new(tenant, "", forced.path.name()), revision: forced.revision, object })
}

/// A tenant does not get in the way of a definition that is forced on it.
///
/// # Errors
/// 403, in Arktos's words.
pub(crate) fn check_write(call: &Call<'_>, name: &str, deletes: bool) -> Result<(), Status> {
    let tenant = call.tenant.as_ref().map_or("", |tenant| tenant.as_str());
    if !concerns(call, &call.kind.storage_resource, tenant) || named(&call.engine().snapshot(), name).is_none() {
        return Ok(());
    }
    let message = if deletes {
        format!("Forbidden: {name} is a system CRD, it can only be deleted by a cluster admin.")
    } else {
        format!("{name} is a system CRD, you cannot overwrite it.")
    };
    let mut status = Status::forbidden(&call.kind.group_resource, name, "it is shared by the system tenant");
    status.message = message;
    Err(status)
}

/// What is forced on tenants stays so: they have objects of it.
///
/// # Errors
/// 403.
pub(crate) fn check_label(call: &Call<'_>, old: &Stored, new: &Object) -> Result<(), Status> {
    let still = || new.str_at(&["metadata", "labels", LABEL]) == custom::FORCED;
    if call.kind.storage_resource != *DEFINITION || !is_forced(old) || still() {
        return Ok(());
    }
    let why = format!("the label {LABEL} cannot be taken back while tenants may have objects: delete the definition");
    Err(Status::forbidden(&call.kind.group_resource, old.path.name(), &why))
}

/// Whether a definition is about a tenant's objects: its own tenant's; one that is forced, also those of tenants that
/// have no definition of the name themselves.
pub(crate) fn rules(snapshot: &Snapshot, definition: &Stored, tenant: &str) -> bool {
    if tenant == definition.path.tenant() {
        return true;
    }
    let own = TenantName::new(tenant).map(|tenant| definition_key(&tenant, definition.path.name()));
    is_forced(definition) && own.is_ok_and(|own| snapshot.get(&own).is_none())
}

/// How a tenant's watch of definitions sees what happens to its own and to those of `system`.
pub(crate) struct Effective {
    config: Arc<ApiConfig>,
    tenant: TenantName,
}

impl Effective {
    /// The view of a watch, where what it selects may be forced on the tenant; and what of `system`'s must then be
    /// watched as well.
    pub(crate) fn of(call: &Call<'_>, selection: &Selection) -> Option<(Self, Selection)> {
        let (tenant, name) = match &selection.within {
            Within::Tenant(tenant) => (tenant.clone(), None),
            Within::Object(path) => (TenantName::new(path.tenant()).ok()?, Some(path.name().to_owned())),
            _ => return None,
        };
        if !concerns(call, &selection.resource, tenant.as_str()) {
            return None;
        }
        let mut forced = selection.clone();
        forced.within = match &name {
            Some(name) => Within::Object(ObjectPath::new(TenantName::SYSTEM, "", name)),
            None => Within::Tenant(TenantName::system()),
        };
        Some((Self { config: call.state.config.clone(), tenant }, forced))
    }

    /// What the watcher is told of a change.
    ///
    /// # Errors
    /// 410 where one definition stops hiding another: the watcher lists anew.
    pub(crate) fn told(&self, delivery: Delivery) -> Result<Option<Delivery>, Status> {
        let (stored, make): (&Stored, fn(Arc<Stored>) -> Delivery) = match &delivery {
            Delivery::Bookmark(_) => return Ok(Some(delivery)),
            Delivery::Added(stored) => (stored, Delivery::Added),
            Delivery::Modified(stored) => (stored, Delivery::Modified),
            Delivery::Deleted(stored) => (stored, Delivery::Deleted),
        };
        let name = stored.path.name();
        let snapshot = self.config.engine.snapshot();
        if stored.path.tenant() == self.tenant.as_str() {
            return Ok(named(&snapshot, name).is_none().then_some(delivery));
        }
        if !is_forced(stored) {
            return Ok(None);
        }
        let own = snapshot.get(&definition_key(&self.tenant, name)).is_some();
        if own && matches!(delivery, Delivery::Deleted(_)) {
            return Err(Status::expired("the definition that was forced on the tenant is gone: list anew"));
        }
        Ok(shown_in(&self.config, stored, self.tenant.as_str()).map(Arc::new).map(make))
    }
}
