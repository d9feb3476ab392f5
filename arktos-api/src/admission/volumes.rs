//! Volumes of the region's storage drivers: which one is whose only the region can say.

use arktos_core::{GroupResource, ObjectKey, Status, TenantName};

use super::Review;
use crate::call::Call;

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
