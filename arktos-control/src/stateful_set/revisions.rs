//! Which of the templates that a stateful set has had its pods are made from.

use std::collections::HashSet;
use std::sync::Arc;

use arktos_core::typed::StatefulSet;
use arktos_core::{Reason, Status};
use arktos_store::Stored;
use serde_json::{Map, Value};

use super::work::Work;
use super::{StatefulSets, identity};
use crate::deployment::template::hash;
use crate::history::{self, Draft, Kept};

/// The label of a revision that has the hash of its template.
pub(super) const HASH: &str = "controller.kubernetes.io/hash";
/// How many names are tried that other templates have already.
const NAMES: usize = 100;

/// A template that pods are made from, as a revision keeps it.
#[derive(Clone)]
pub(super) struct Version {
    /// The revision's name.
    pub(super) name: String,
    data: Arc<Value>,
}

/// The templates that pods are made from now.
pub(super) struct Versions {
    /// The one before the newest; the newest when all pods have it.
    pub(super) current: Version,
    /// The newest.
    pub(super) update: Version,
    /// How often a name was taken by another template.
    pub(super) collisions: i32,
}

impl Version {
    pub(super) fn template(&self) -> &Value {
        &self.data["spec"]["template"]
    }

    fn of(kept: &Kept) -> Self {
        Self { name: kept.name().to_owned(), data: kept.data().clone() }
    }

    /// One of which only the name is known: nothing is made from it.
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), data: Arc::new(Value::Null) }
    }
}

impl Versions {
    /// Those that a status names.
    pub(super) fn named(set: &StatefulSet) -> Self {
        let (current, update) = (&set.status.current_revision, &set.status.update_revision);
        let collisions = set.status.collision_count.unwrap_or(0);
        Self { current: Version::named(current), update: Version::named(update), collisions }
    }
}

impl StatefulSets {
    /// The templates to make pods from. The newest is recorded where it is not yet, and becomes the last one again
    /// where it was before.
    pub(super) async fn versions(&self, stored: &Stored, set: &StatefulSet, kept: &[Kept]) -> Result<Versions, Status> {
        let data = history::data(&set.spec.template);
        let number = kept.last().map_or(1, |last| last.number().saturating_add(1));
        let mut collisions = set.status.collision_count.unwrap_or(0);
        let update = match kept.iter().rposition(|revision| revision.keeps(&data)) {
            Some(at) if at + 1 == kept.len() => Version::of(&kept[at]),
            Some(at) => Version::of(&self.history.renumber(&kept[at], number).await?),
            None => self.record(stored, set, data, number, &mut collisions).await?,
        };
        let current = kept.iter().find(|revision| revision.name() == set.status.current_revision);
        let current = current.map_or_else(|| update.clone(), Version::of);
        Ok(Versions { current, update, collisions })
    }

    /// Makes a revision of a template that has none.
    async fn record(
        &self,
        stored: &Stored,
        set: &StatefulSet,
        data: Value,
        number: i64,
        collisions: &mut i32,
    ) -> Result<Version, Status> {
        let labels = set.spec.template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        let annotations = set.metadata.annotations.iter();
        let annotations: Map<String, Value> =
            annotations.map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect();
        for _ in 0..NAMES {
            let hash = hash(&data, (*collisions != 0).then_some(*collisions));
            let (labels, annotations, data) = (labels.clone(), annotations.clone(), data.clone());
            if let Some(kept) = self.history.keep(stored, Draft { hash, number, labels, annotations, data }).await? {
                return Ok(Version::of(&kept));
            }
            *collisions = collisions.saturating_add(1);
        }
        Err(Status::failure(Reason::AlreadyExists, "all names of a revision are taken by other templates"))
    }

    /// Deletes the oldest revisions, of those that neither pods nor the status name, beyond those that are kept for
    /// going back.
    pub(super) async fn forget(&self, work: &Work, kept: &[Kept]) -> Result<(), Status> {
        let Ok(limit) = usize::try_from(work.set.spec.revision_history_limit.unwrap_or(10)) else { return Ok(()) };
        let mut live: HashSet<&str> = work.pods().map(|pod| identity::revision(pod)).collect();
        live.extend([work.versions.current.name.as_str(), work.versions.update.name.as_str()]);
        let past: Vec<&Kept> = kept.iter().filter(|revision| !live.contains(revision.name())).collect();
        let surplus = past.len().saturating_sub(limit);
        for revision in past.into_iter().take(surplus) {
            self.history.remove(revision).await?;
        }
        Ok(())
    }
}
