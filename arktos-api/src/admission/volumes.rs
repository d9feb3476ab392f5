//! Volumes of the region's storage drivers: which one is whose only the region can say. And claims that grow: whether
//! they may their class says (PersistentVolumeClaimResize).

use arktos_core::{GroupResource, Object, ObjectKey, Quantity, Status, TenantName};
use serde_json::Value;

use super::Review;
use crate::call::Call;
use crate::verbs::modify::Part;

/// A tenant names no volume of a driver that `system` has a CSIDriver for, and so offers to several: whoever knows a
/// handle would have what is behind it. A provisioner of the region makes such volumes in the tenant.
///
/// # Errors
/// 403.
pub(super) fn validate(call: &Call<'_>, review: &Review<'_>) -> Result<(), Status> {
    let path: &[&str] = match call.kind.storage_resource.as_str() {
        "persistentvolumes" => &["spec", "csi", "driver"],
        "volumeattachments.storage.k8s.io" => &["spec", "source", "inlineVolumeSpec", "csi", "driver"],
        _ => return Ok(()),
    };
    // What a volume is does not change once it is made.
    let (None, Some(new)) = (review.old, review.new) else { return Ok(()) };
    let driver = new.str_at(path);
    if driver.is_empty() || call.identity.is_system() {
        return Ok(());
    }
    let drivers = GroupResource::new("storage.k8s.io", "csidrivers");
    let key = ObjectKey::tenant_scoped(drivers, &TenantName::system(), driver);
    match call.state.config.engine.snapshot().get(&key) {
        Some(_) => {
            let why =
                format!("the driver {driver:?} is the region's: its provisioner names volumes, tenants claim them");
            Err(Status::forbidden(&call.kind.group_resource, new.name(), why))
        }
        None => Ok(()),
    }
}

/// A claim grows once it is bound, if its class lets it.
///
/// # Errors
/// 403.
pub(super) fn validate_growth(call: &Call<'_>, review: &Review<'_>) -> Result<(), Status> {
    let (Part::Whole, Some(old), Some(new)) = (review.part, review.old, review.new) else { return Ok(()) };
    if call.kind.storage_resource.as_str() != "persistentvolumeclaims" {
        return Ok(());
    }
    let size = |claim: &Object| {
        let asked = claim.at(&["spec", "resources", "requests", "storage"]).and_then(Value::as_str);
        asked.and_then(|asked| Quantity::parse(asked).ok()).unwrap_or_default()
    };
    if size(new) <= size(old) {
        return Ok(());
    }
    let why = if old.str_at(&["status", "phase"]) != "Bound" {
        "Only bound persistent volume claims can be expanded"
    } else if class_of(old) != class_of(new) || !may_grow(call, class_of(new)) {
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support \
         resize"
    } else {
        return Ok(());
    };
    Err(Status::forbidden(&call.kind.group_resource, new.name(), why))
}

/// The class of a claim, in its older form or in today's.
fn class_of(claim: &Object) -> &str {
    let old = claim.at(&["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"]);
    old.and_then(Value::as_str).unwrap_or_else(|| claim.str_at(&["spec", "storageClassName"]))
}

fn may_grow(call: &Call<'_>, class: &str) -> bool {
    let Some(tenant) = call.tenant.as_ref().filter(|_| !class.is_empty()) else { return false };
    let key = ObjectKey::tenant_scoped(GroupResource::new("storage.k8s.io", "storageclasses"), tenant, class);
    let stored = call.state.config.engine.snapshot().get(&key);
    let class: Option<Object> = stored.and_then(|stored| stored.object.decode(None).ok());
    class.is_some_and(|class| class.at(&["allowVolumeExpansion"]) == Some(&Value::Bool(true)))
}
