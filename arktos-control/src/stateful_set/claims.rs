//! The volume claims of a stateful set's pods. They are made before their pod and outlive it; whom they go with is said
//! by their owners.

use std::collections::BTreeMap;

use arktos_core::{Object, OwnerRef, OwnerReference, Reason, Revision, Status};
use arktos_store::Stored;
use serde_json::{Value, json};

use super::StatefulSets;
use super::work::Work;
use crate::kinds::{PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS};
use crate::owner::controller_reference;
use crate::pod::{Phase, PodView};
use crate::reconcile::shown;
use crate::setup::beside;
use crate::write::{amend, is_terminating};

/// With what claims of a set go, as the set says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Policy {
    /// With the set.
    when_deleted: bool,
    /// With their pod, when its number is no longer wanted.
    when_scaled: bool,
}

/// Whom a pod's claims are to belong to.
struct Owners {
    set: OwnerReference,
    pod: OwnerReference,
    policy: Policy,
    /// Whether the pod's number is no longer wanted.
    is_surplus: bool,
}

impl Policy {
    fn of(work: &Work) -> Self {
        let Some(policy) = &work.set.spec.persistent_volume_claim_retention_policy else { return Self::default() };
        Self { when_deleted: policy.when_deleted == "Delete", when_scaled: policy.when_scaled == "Delete" }
    }
}

impl Owners {
    fn of(work: &Work, ordinal: i64, pod: &PodView) -> Self {
        Self {
            set: controller_reference(&STATEFUL_SETS, &work.stored),
            pod: controller_reference(&PODS, &pod.stored),
            policy: Policy::of(work),
            is_surplus: !work.wanted().contains(&ordinal),
        }
    }

    /// Whether the pod is to own them.
    fn by_pod(&self) -> bool {
        self.policy.when_scaled && self.is_surplus
    }

    /// Whether the set is to own them.
    fn by_set(&self) -> bool {
        self.policy.when_deleted && !self.by_pod()
    }

    /// Whether somebody else manages a claim that is to go with the set or the pod.
    fn are_contested(&self, owners: &[OwnerReference]) -> bool {
        let other = |owner: &OwnerReference| {
            let ours = [&self.set, &self.pod].into_iter().find(|one| is_name_of(owner, one));
            ours.map_or(owner.controller == Some(true), |one| owner.uid != one.uid)
        };
        self.policy != Policy::default() && owners.iter().any(other)
    }

    /// Whether a claim with these owners is to stay as it is.
    fn fit(&self, owners: &[OwnerReference]) -> bool {
        let is_stale = |one: &OwnerReference| {
            owners.iter().find(|owner| is_name_of(owner, one)).is_some_and(|owner| owner.uid != one.uid)
        };
        let has = |one: &OwnerReference| owners.iter().any(|owner| owner.uid == one.uid);
        if is_stale(&self.set) || is_stale(&self.pod) {
            return true; // it belongs to one that was here before, and goes with it
        }
        if self.are_contested(owners) {
            return !has(&self.set) && !has(&self.pod);
        }
        let is_ours = |owner: &OwnerReference| owner.uid == self.set.uid || owner.uid == self.pod.uid;
        let managed = owners.iter().filter(|owner| is_ours(owner)).all(|owner| owner.controller == Some(true));
        managed && has(&self.set) == self.by_set() && has(&self.pod) == self.by_pod()
    }

    /// The owners that a claim with these owners is to have.
    fn mended(&self, mut owners: Vec<OwnerReference>) -> Vec<OwnerReference> {
        let contested = self.are_contested(&owners);
        owners.retain(|owner| !is_name_of(owner, &self.set) && !is_name_of(owner, &self.pod));
        if !contested {
            owners.extend(self.by_set().then(|| self.set.clone()));
            owners.extend(self.by_pod().then(|| self.pod.clone()));
        }
        owners
    }
}

/// Whether an owner has the kind and the name of another, whatever its uid.
fn is_name_of(owner: &OwnerReference, other: &OwnerReference) -> bool {
    (&owner.api_version, &owner.kind, &owner.name) == (&other.api_version, &other.kind, &other.name)
}

impl StatefulSets {
    /// Makes the claims of a number's pod that are not there.
    pub(super) async fn make_claims(&self, work: &Work, ordinal: i64) -> Result<(), Status> {
        let (mut newest, mut failure) = (Revision::default(), None);
        let owner = Policy::of(work).when_deleted.then(|| controller_reference(&STATEFUL_SETS, &work.stored));
        let templates = work.set.spec.volume_claim_templates.iter().zip(work.volumes(ordinal));
        for (template, volume) in templates {
            let name = volume.claim;
            if let Some(claim) = self.claims.store().get(&beside(&work.stored.path, &name)) {
                if claim.object.header().deletion().is_some() {
                    let why = format!("pvc {name} is being deleted");
                    failure.get_or_insert(Status::failure(Reason::Conflict, why));
                }
                continue;
            }
            let claim = draft(template, &name, &work.set.spec.selector.match_labels, owner.as_ref());
            match self.make_claim(work, ordinal, &name, claim).await {
                Ok(created) => newest = newest.max(created.revision),
                Err(mut status) => {
                    status.message = format!("failed to create PVC {name}: {}", status.message);
                    failure.get_or_insert(status);
                }
            }
        }
        shown(&self.claims, newest).await?;
        failure.map_or(Ok(()), Err)
    }

    async fn make_claim(&self, work: &Work, ordinal: i64, name: &str, claim: Object) -> Result<Stored, Status> {
        let (path, resource) = (&work.stored.path, &PERSISTENT_VOLUME_CLAIMS.resource);
        let made = self.client.create(resource, path.tenant(), path.namespace(), claim).await;
        let (pod, set) = (work.pod_name(ordinal), work.name());
        match &made {
            Ok(_) => {
                let message = format!("Create Claim {name} Pod {pod} in StatefulSet {set} success");
                self.events.normal(&work.stored, "SuccessfulCreate", message);
            }
            Err(status) if status.is(Reason::AlreadyExists) || is_terminating(status) => {}
            Err(status) => {
                let message = format!("Create Claim {name} for Pod {pod} in StatefulSet {set} failed error: {status}");
                self.events.warning(&work.stored, "FailedCreate", message);
            }
        }
        made
    }

    /// Sees to it that a pod's claims go with whom the set says.
    pub(super) async fn keep_claims(&self, work: &Work, ordinal: i64, pod: &PodView) -> Result<(), Status> {
        let volumes = work.volumes(ordinal);
        if volumes.is_empty() {
            return Ok(());
        }
        let owners = Owners::of(work, ordinal, pod);
        for volume in volumes {
            let path = beside(&work.stored.path, &volume.claim);
            let Some(claim) = self.claims.store().get(&path) else { continue };
            let now = owners_of(&claim);
            let fits = owners.fit(&now);
            if owners.are_contested(&now) && (!fits || pod.phase == Phase::Pending) {
                let message = format!(
                    "PersistentVolumeClaim {} has a conflicting OwnerReference that acts as a manging controller, \
                     the retention policy is ignored for this claim",
                    volume.claim
                );
                self.events.warning(&work.stored, "ConflictingController", message);
            }
            if !fits {
                self.mend_claim(&claim, &owners).await?;
            }
        }
        Ok(())
    }

    async fn mend_claim(&self, claim: &Stored, owners: &Owners) -> Result<(), Status> {
        let (key, uid) = (PERSISTENT_VOLUME_CLAIMS.key(&claim.path), claim.object.header().uid());
        let written = amend(&*self.client, &key, None, |edited| {
            let Ok(meta) = edited.meta() else { return false };
            if meta.uid != uid || owners.fit(&meta.owner_references) {
                return false;
            }
            let mended = owners.mended(meta.owner_references);
            if mended.is_empty() {
                edited.meta_mut().remove("ownerReferences");
            } else {
                edited.set(&["metadata", "ownerReferences"], json!(mended));
            }
            true
        })
        .await?;
        match written {
            Some(written) => shown(&self.claims, written.revision).await,
            None => Ok(()),
        }
    }

    /// Whether a claim of a pod that is not there is to go with the pod of this name that was there before: until it
    /// has gone, the pod cannot be made.
    pub(super) fn has_stale_claim(&self, work: &Work, ordinal: i64) -> bool {
        let pod = work.pod_name(ordinal);
        let of_pod = |claim: &Stored| {
            let is_pod = |owner: OwnerRef<'_>| (owner.api_version, owner.kind, owner.name) == ("v1", "Pod", &*pod);
            claim.object.header().owners().any(is_pod)
        };
        Policy::of(work).when_scaled
            && work.volumes(ordinal).iter().any(|volume| {
                let claim = self.claims.store().get(&beside(&work.stored.path, &volume.claim));
                claim.is_some_and(|claim| of_pod(&claim))
            })
    }
}

fn owners_of(claim: &Stored) -> Vec<OwnerReference> {
    claim.object.header().owners().map(|owner| owner.to_reference()).collect()
}

/// A claim made from its template.
fn draft(template: &Value, name: &str, labels: &BTreeMap<String, String>, owner: Option<&OwnerReference>) -> Object {
    let mut claim = Object::from_value(template.clone()).unwrap_or_default();
    let kind = &PERSISTENT_VOLUME_CLAIMS.type_meta;
    claim.set(&["apiVersion"], kind.api_version.as_str());
    claim.set(&["kind"], kind.kind.as_str());
    claim.set(&["metadata", "name"], name);
    claim.remove(&["metadata", "namespace"]);
    claim.remove(&["status"]);
    for (key, value) in labels {
        claim.set(&["metadata", "labels", key.as_str()], value.as_str());
    }
    if let Some(owner) = owner {
        claim.set(&["metadata", "ownerReferences"], json!([owner]));
    }
    claim
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn reference(kind: &str, name: &str, uid: &str) -> OwnerReference {
        let api_version = if kind == "StatefulSet" { "apps/v1" } else { "v1" };
        OwnerReference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    fn owners(when_deleted: bool, when_scaled: bool, is_surplus: bool) -> Owners {
        let (set, pod) = (reference("StatefulSet", "web", "s"), reference("Pod", "web-1", "p"));
        Owners { set, pod, policy: Policy { when_deleted, when_scaled }, is_surplus }
    }

    #[test]
    fn claims_go_with_whom_the_set_says() {
        for (when_deleted, when_scaled, is_surplus, expected) in [
            (false, false, false, None),
            (false, false, true, None),
            (true, false, false, Some("s")),
            (true, false, true, Some("s")),
            (false, true, false, None),
            (false, true, true, Some("p")),
            (true, true, false, Some("s")),
            (true, true, true, Some("p")),
        ] {
            let owners = owners(when_deleted, when_scaled, is_surplus);
            for before in [vec![], vec![owners.set.clone()], vec![owners.pod.clone()]] {
                let fits = before.first().map(|owner| owner.uid.as_str()) == expected;
                assert_eq!(owners.fit(&before), fits, "{before:?} {expected:?}");
                let after = owners.mended(before);
                assert_eq!(after.iter().map(|owner| owner.uid.as_str()).collect::<Vec<_>>(), Vec::from_iter(expected));
                assert!(owners.fit(&after));
            }
        }
    }

    #[test]
    fn what_belongs_to_somebody_else_is_left_to_him() {
        let owners = owners(true, true, false);
        let stale = [reference("StatefulSet", "web", "before")];
        assert!(owners.fit(&stale), "it goes with the set that was here before");
        let foreign = reference("Backup", "b", "b");
        let alone = from_ref(&foreign);
        assert!(owners.are_contested(alone) && owners.fit(alone));
        let both = vec![foreign.clone(), owners.set.clone()];
        assert!(!owners.fit(&both));
        assert_eq!(owners.mended(both), alone);
        let retained = self::owners(false, false, false);
        assert!(!retained.are_contested(alone) && retained.fit(alone));
        let loose = OwnerReference { controller: None, ..owners.set.clone() };
        assert!(!owners.fit(from_ref(&loose)));
        assert_eq!(owners.mended(vec![loose]), from_ref(&owners.set));
    }
}
