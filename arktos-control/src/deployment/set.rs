//! A replica set as its deployment sees it.

use arktos_core::typed::{KindOf, ReplicaSet};
use arktos_core::{Object, Status, Timestamp};
use arktos_store::Stored;

use crate::write::{tree, unreadable};

/// The label that tells the pods of a deployment's replica sets apart.
pub(super) const HASH: &str = "pod-template-hash";
/// The annotation that numbers a deployment's replica sets.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier numbers of a replica set that was rolled back to.
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// How many replicas the deployment had when the replica set was last scaled.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// How many it could have had with its surge.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// A replica set of a deployment. What is changed here is changed in the store when it is written.
#[derive(Clone)]
pub(super) struct Set {
    pub(super) stored: Stored,
    pub(super) object: ReplicaSet,
}

impl Set {
    pub(super) fn read(stored: &Stored) -> Result<Self, Status> {
        let object = ReplicaSet::from_encoded(&stored.object, Some(stored.revision)).map_err(unreadable)?;
        Ok(Self { stored: stored.clone(), object })
    }

    pub(super) fn name(&self) -> &str {
        self.stored.path.name()
    }

    pub(super) fn uid(&self) -> &str {
        self.stored.object.header().uid()
    }

    /// How many pods it is to have.
    pub(super) fn replicas(&self) -> i32 {
        self.object.spec.replicas.unwrap_or(1)
    }

    /// How many of its pods are available.
    pub(super) fn available(&self) -> i32 {
        self.object.status.available_replicas
    }

    pub(super) fn created(&self) -> Timestamp {
        self.object.metadata.creation_timestamp.unwrap_or_default()
    }

    /// Its number among the replica sets of its deployment.
    pub(super) fn revision(&self) -> i64 {
        self.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.object.metadata.annotations.get(key).map(String::as_str)
    }

    pub(super) fn number(&self, key: &str) -> Option<i32> {
        self.annotation(key)?.parse().ok()
    }

    /// The object as it is to be written: what was stored, with the replicas and annotations set here.
    pub(super) fn to_write(&self) -> Result<Object, Status> {
        let mut object = tree(&self.stored)?;
        object.set(&["spec", "replicas"], self.replicas());
        object.set(&["spec", "minReadySeconds"], self.object.spec.min_ready_seconds);
        let annotations = serde_json::to_value(&self.object.metadata.annotations).map_err(Status::internal)?;
        object.set(&["metadata", "annotations"], annotations);
        Ok(object)
    }
}

/// All replicas that these replica sets are to have.
pub(super) fn replicas<'a>(sets: impl IntoIterator<Item = &'a Set>) -> i32 {
    total(sets, Set::replicas)
}

/// All pods that these replica sets have.
pub(super) fn actual<'a>(sets: impl IntoIterator<Item = &'a Set>) -> i32 {
    total(sets, |set| set.object.status.replicas)
}

/// All available pods of these replica sets.
pub(super) fn available<'a>(sets: impl IntoIterator<Item = &'a Set>) -> i32 {
    total(sets, Set::available)
}

/// The sum of a number of all of these replica sets: their tenant may have written any numbers.
pub(super) fn total<'a>(sets: impl IntoIterator<Item = &'a Set>, number: impl Fn(&'a Set) -> i32) -> i32 {
    sets.into_iter().map(number).fold(0, i32::saturating_add)
}
