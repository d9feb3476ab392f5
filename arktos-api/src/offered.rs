//! Definitions that `system` offers to all tenants, and that a tenant has where it says so: those with the sharing
//! label `optional`.
//!
//! A tenant takes one by a definition of its own of the same name with the same label, and leaves it by deleting that
//! or taking the label back. Such a definition is like any other of the tenant, but for its `spec`, which is the
//! offer's: from the write on that makes it, and again whenever the offer changes. So whatever reads definitions
//! finds one view, and an offer that is withdrawn takes nothing from anybody: who took it keeps it as it was last.

use std::sync::Arc;

use arktos_core::{Object, ObjectKey, ObjectPath, Status, TenantName, custom, rules};
use arktos_store::{Snapshot, Stored, Within};

use crate::call::Call;
use crate::definitions::put;
use crate::forced::LABEL;
use crate::kinds::{DEFINITION, definition_key};
use crate::server::State;

/// The value of the label, on both sides.
const OPTIONAL: &str = "optional";

/// Whether a definition is an offer, where it is `system`'s, and whether it takes one, where it is a tenant's.
pub(crate) fn takes_part(stored: &Stored) -> bool {
    stored.object.header().label(LABEL) == Some(OPTIONAL) && stored.object.header().deletion().is_none()
}

/// What `system` offers under a name.
fn offer(snapshot: &Snapshot, name: &str) -> Option<Stored> {
    snapshot.get(&definition_key(&TenantName::system(), name)).filter(takes_part)
}

/// Gives a definition that takes an offer the offer's `spec`, whatever it says itself. One that took it `before`
/// keeps what it has: it is brought up by [`follow`], which no other change has to wait for.
pub(crate) fn fill(call: &Call<'_>, before: Option<&Object>, definition: &mut Object) {
    let of_tenant = call.tenant.as_ref().is_some_and(|tenant| !tenant.is_system());
    let takes = |definition: &Object| definition.str_at(&["metadata", "labels", LABEL]) == OPTIONAL;
    if call.kind.storage_resource != *DEFINITION || !of_tenant || !takes(definition) {
        return;
    }
    let Some(offer) = offer(&call.engine().snapshot(), definition.name()) else { return };
    let spec = match before.filter(|before| takes(before)) {
        Some(before) => before.at(&["spec"]).cloned(),
        None => offer.object.decode(None).ok().and_then(|offer| offer.at(&["spec"]).cloned()),
    };
    if let Some(spec) = spec {
        definition.set(&["spec"], spec);
    }
}

/// Brings those who took an offer up to it, or one of them.
///
/// # Errors
/// What the store answers: to be tried again.
pub(crate) async fn follow(state: &State, path: &ObjectPath) -> Result<(), Status> {
    let snapshot = state.config.engine.snapshot();
    let Some(offer) = offer(&snapshot, path.name()) else { return Ok(()) };
    let takers: Vec<Stored> = if path.tenant() == TenantName::SYSTEM {
        let all = snapshot.range(&DEFINITION, &Within::Everywhere, None);
        all.filter(|stored| stored.path.name() == path.name() && stored.path != *path && takes_part(stored))
            .map(Arc::unwrap_or_clone)
            .collect()
    } else {
        let key = ObjectKey { resource: DEFINITION.clone(), path: path.clone() };
        snapshot.get(&key).filter(takes_part).into_iter().collect()
    };
    let offer = offer.object.decode(None).map_err(Status::internal)?;
    let mut outcome = Ok(());
    for taker in takers {
        // One that cannot be written holds up none of those after it.
        outcome = bring_up(state, &offer, &taker).await.and(outcome);
    }
    outcome
}

/// Writes the offer's `spec` into a definition that takes it; where its objects stand against that, its conditions
/// say so.
async fn bring_up(state: &State, offer: &Object, taker: &Stored) -> Result<(), Status> {
    let kind =
        state.kinds.builtin().storage(&DEFINITION).ok_or_else(|| Status::internal("there are no definitions"))?;
    let old = taker.object.decode(Some(taker.revision)).map_err(Status::internal)?;
    let offered = offer.at(&["spec"]).filter(|spec| old.at(&["spec"]) != Some(spec)).map(|spec| {
        let mut new = old.clone();
        new.set(&["spec"], spec.clone());
        rules::admit_update(&kind, &old, new)
    });
    let (mut new, fault) = match offered {
        None => (old.clone(), None),
        Some(Ok(new)) => (new, None),
        Some(Err(status)) => (old.clone(), Some(status.message)),
    };
    custom::follows(&mut new, fault.as_deref(), state.config.clock.now());
    if new == old { Ok(()) } else { put(state, taker, &new).await }
}
