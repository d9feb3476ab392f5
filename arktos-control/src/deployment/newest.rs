//! The replica set of a deployment's newest template: finding it, making it, numbering it.

use arktos_core::typed::{Condition, Deployment};
use arktos_core::{Object, Status};
use arktos_store::Stored;
use arktos_store::client::Patch;
use serde_json::{Value, json};

use super::set::{DESIRED, HASH, MAX, REVISION, REVISION_HISTORY, Set};
use super::{Deployments, Work, plan, status, template};
use crate::kinds::{DEPLOYMENTS, REPLICA_SETS};
use crate::owner::controller_reference;
use crate::reconcile::shown;
use crate::write::{is_terminating, set_status, tree, unless_there};

/// Annotations of a deployment that its replica sets do not get.
const KEPT_BACK: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
/// The longest list of earlier numbers that is kept on a replica set.
const HISTORY_LENGTH_MAX: usize = 2000;

/// The replica set of the newest template, the oldest one where there are several, and the others.
pub(super) fn split(deployment: &Deployment, mut sets: Vec<Set>) -> (Option<Set>, Vec<Set>) {
    let newest = sets.iter().position(|set| template::same(&set.object.spec.template, &deployment.spec.template));
    let newest = newest.map(|at| sets.remove(at));
    (newest, sets)
}

impl Deployments {
    /// Makes the replica set of the newest template where it is not there, and sees to its number and annotations.
    pub(super) async fn make_newest(&self, work: &mut Work) -> Result<(), Status> {
        let revision = work.old.iter().map(Set::revision).max().unwrap_or(0).saturating_add(1);
        match work.new.clone() {
            Some(new) => self.renumber(work, new, revision).await,
            None => self.create(work, revision).await,
        }
    }

    async fn renumber(&self, work: &mut Work, mut new: Set, revision: i64) -> Result<(), Status> {
        let wait = work.deployment.spec.min_ready_seconds;
        let mut changed = annotate(&mut new, &work.deployment, revision);
        changed |= std::mem::replace(&mut new.object.spec.min_ready_seconds, wait) != wait;
        if changed {
            new = self.write_set(&new).await?;
        }
        let number = new.revision();
        let name = new.name().to_owned();
        work.new = Some(new);
        self.number(work, number).await?;
        self.found(work, "FoundNewReplicaSet", &format!("Found new replica set \"{name}\"")).await
    }

    async fn create(&self, work: &mut Work, revision: i64) -> Result<(), Status> {
        let (name, object) = self.draft(work, revision)?;
        let path = &work.stored.path;
        let size = object.int_at(&["spec", "replicas"]).unwrap_or(0);
        let created = self.client.create(&REPLICA_SETS.resource, path.tenant(), path.namespace(), object).await;
        match unless_there(created) {
            Ok(Some(created)) => {
                shown(&self.sets, created.revision).await?;
                if size > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {size}");
                    self.events.normal(&work.stored, "ScalingReplicaSet", message);
                }
                work.new = Some(Set::read(&created)?);
                self.number(work, revision).await?;
                self.found(work, "NewReplicaSetCreated", &format!("Created new replica set \"{name}\"")).await
            }
            Ok(None) => self.taken(work, &name).await,
            Err(failure) if is_terminating(&failure) => Ok(()),
            Err(failure) => self.failed(work, &name, failure).await,
        }
    }

    /// The replica set to create.
    fn draft(&self, work: &Work, revision: i64) -> Result<(String, Object), Status> {
        let deployment = tree(&work.stored)?;
        let template = deployment.at(&["spec", "template"]).cloned().unwrap_or_default();
        let hash = template::hash(&template, work.deployment.status.collision_count);
        let name = format!("{}-{hash}", work.stored.path.name());
        let mut object = Object::new(&REPLICA_SETS.type_meta, &name);
        let mut labels = template["metadata"]["labels"].clone();
        put(&mut labels, HASH, &hash);
        object.set(&["metadata", "labels"], labels.clone());
        object.set(&["metadata", "ownerReferences"], json!([controller_reference(&DEPLOYMENTS, &work.stored)]));
        object.set(&["spec", "template"], template);
        object.set(&["spec", "template", "metadata", "labels"], labels);
        let mut selector = deployment.at(&["spec", "selector"]).cloned().unwrap_or_default();
        match selector.get_mut("matchLabels") {
            Some(labels) => put(labels, HASH, &hash),
            None => put_value(&mut selector, "matchLabels", json!({ HASH: hash })),
        }
        object.set(&["spec", "selector"], selector);
        if work.deployment.spec.min_ready_seconds != 0 {
            object.set(&["spec", "minReadySeconds"], work.deployment.spec.min_ready_seconds);
        }
        object.set(&["spec", "replicas"], plan::new_size(work.bounds, 0, &work.all()));
        let mut annotations: serde_json::Map<String, Value> = inherited(&work.deployment).collect();
        annotations.insert(REVISION.to_owned(), revision.to_string().into());
        annotations.insert(DESIRED.to_owned(), work.bounds.replicas.to_string().into());
        annotations.insert(MAX.to_owned(), work.bounds.most().to_string().into());
        object.set(&["metadata", "annotations"], annotations);
        Ok((name, object))
    }

    /// The name is taken: by this deployment's own replica set, which the informer does not show yet, or by another
    /// template of the same hash, which must be told apart from now on.
    async fn taken(&self, work: &mut Work, name: &str) -> Result<(), Status> {
        let path = crate::setup::beside(&work.stored.path, name);
        let set = Set::read(&self.client.get(&REPLICA_SETS.key(&path)).await?)?;
        let mine = set.object.metadata.controller().is_some_and(|owner| *owner.uid == *uid(&work.stored));
        if mine && template::same(&set.object.spec.template, &work.deployment.spec.template) {
            shown(&self.sets, set.stored.revision).await?;
            work.new = Some(set);
            return Ok(());
        }
        let mut status = work.deployment.status.clone();
        status.collision_count = Some(status.collision_count.unwrap_or(0).wrapping_add(1));
        let written = set_status(&*self.client, &DEPLOYMENTS.key(&work.stored.path), &work.stored, &status).await?;
        shown(&self.deployments, written.revision).await?;
        Err(Status::already_exists(&REPLICA_SETS.resource, name))
    }

    async fn failed(&self, work: &mut Work, name: &str, failure: Status) -> Result<(), Status> {
        let message = format!("Failed to create new replica set \"{name}\": {failure}");
        if status::deadline(&work.deployment).is_some() {
            let now = self.now();
            let condition = status::condition("Progressing", "False", "ReplicaSetCreateError", &message, now);
            let mut status = work.deployment.status.clone();
            status::set(&mut status.conditions, condition);
            if status != work.deployment.status {
                set_status(&*self.client, &DEPLOYMENTS.key(&work.stored.path), &work.stored, &status).await?;
            }
        }
        self.events.warning(&work.stored, "ReplicaSetCreateError", message);
        Err(failure)
    }

    /// Numbers the deployment as its newest replica set is numbered.
    async fn number(&self, work: &mut Work, revision: i64) -> Result<(), Status> {
        let number = revision.to_string();
        if revision == 0 || work.deployment.metadata.annotations.get(REVISION) == Some(&number) {
            return Ok(());
        }
        let patch = Patch::Merge(json!({"metadata": {"annotations": {REVISION: number}}}));
        let written = self.client.patch(&DEPLOYMENTS.key(&work.stored.path), None, patch).await?;
        self.reread(work, written).await
    }

    /// Notes on the `Progressing` condition that there is a replica set to roll out.
    async fn found(&self, work: &mut Work, reason: &str, message: &str) -> Result<(), Status> {
        let created = reason == "NewReplicaSetCreated";
        let has = Condition::find(&work.deployment.status.conditions, "Progressing").is_some();
        if status::deadline(&work.deployment).is_none() || (has && !created) {
            return Ok(());
        }
        let mut status = work.deployment.status.clone();
        status::set(&mut status.conditions, status::condition("Progressing", "True", reason, message, self.now()));
        let written = set_status(&*self.client, &DEPLOYMENTS.key(&work.stored.path), &work.stored, &status).await?;
        self.reread(work, written).await
    }

    async fn reread(&self, work: &mut Work, written: Stored) -> Result<(), Status> {
        use arktos_core::typed::KindOf;
        shown(&self.deployments, written.revision).await?;
        work.deployment =
            Deployment::from_encoded(&written.object, Some(written.revision)).map_err(crate::write::unreadable)?;
        work.stored = written;
        Ok(())
    }
}

/// Gives a replica set the deployment's annotations and its number; says whether anything changed.
fn annotate(set: &mut Set, deployment: &Deployment, revision: i64) -> bool {
    let before = set.object.metadata.annotations.clone();
    let number = set.revision();
    let annotations = &mut set.object.metadata.annotations;
    for (key, value) in inherited(deployment) {
        annotations.insert(key, value.as_str().unwrap_or_default().to_owned());
    }
    if number < revision {
        if number > 0 {
            let history = annotations.get(REVISION_HISTORY).filter(|history| !history.is_empty());
            let history = history.map_or_else(|| number.to_string(), |history| format!("{history},{number}"));
            if history.len() <= HISTORY_LENGTH_MAX {
                annotations.insert(REVISION_HISTORY.to_owned(), history);
            }
        }
        annotations.insert(REVISION.to_owned(), revision.to_string());
    }
    *annotations != before
}

fn inherited(deployment: &Deployment) -> impl Iterator<Item = (String, Value)> + '_ {
    let annotations = deployment.metadata.annotations.iter();
    annotations
        .filter(|(key, _)| !KEPT_BACK.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
}

fn uid(stored: &Stored) -> &str {
    stored.object.header().uid()
}

fn put(map: &mut Value, key: &str, value: &str) {
    put_value(map, key, Value::from(value));
}

fn put_value(map: &mut Value, key: &str, value: Value) {
    if !map.is_object() {
        *map = json!({});
    }
    map[key] = value;
}
