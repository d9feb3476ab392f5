//! Revisions: the templates that a stateful set has had, each kept as a ControllerRevision.
//!
//! What is kept is a patch that puts the template in place of another one: `kubectl rollout undo` sends it as it is.

use std::collections::HashSet;
use std::sync::Arc;

use arktos_core::typed::{LabelSelectorSpec, StatefulSet};
use arktos_core::{Object, ObjectPath, Reason, Status, Timestamp};
use arktos_store::Stored;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::work::Work;
use super::{StatefulSets, identity, wait_for};
use crate::breath::Breath;
use crate::deployment::template::hash;
use crate::kinds::{CONTROLLER_REVISIONS, STATEFUL_SETS};
use crate::owner::{adopt, controller_reference};
use crate::setup::{BY_OWNER, UNMANAGED, beside, namespace_key};
use crate::write::{amend, delete, unless_there, unreadable};

/// The label that has the hash of a revision.
const HASH: &str = "controller.kubernetes.io/hash";
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

/// A revision of a stateful set, as it is stored.
pub(super) struct Kept {
    path: ObjectPath,
    uid: String,
    number: i64,
    created: Timestamp,
    data: Arc<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Shape {
    metadata: Metadata,
    data: Value,
    revision: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    creation_timestamp: Option<Timestamp>,
}

impl Version {
    pub(super) fn template(&self) -> &Value {
        &self.data["spec"]["template"]
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

impl Kept {
    fn read(stored: &Stored) -> Result<Self, Status> {
        let Shape { metadata, data, revision } = stored.object.parse().map_err(unreadable)?;
        Ok(Self {
            path: stored.path.clone(),
            uid: stored.object.header().uid().to_owned(),
            number: revision,
            created: metadata.creation_timestamp.unwrap_or_default(),
            data: Arc::new(data),
        })
    }

    fn name(&self) -> &str {
        self.path.name()
    }

    fn version(&self) -> Version {
        Version { name: self.name().to_owned(), data: self.data.clone() }
    }
}

impl StatefulSets {
    /// The revisions of a stateful set, the newest one last, after those that nobody manages and that fit were taken.
    pub(super) async fn kept(&self, stored: &Stored, selector: &LabelSelectorSpec) -> Result<Vec<Kept>, Status> {
        let (mut kept, mut breath) = (Vec::new(), Breath::default());
        for revision in self.revisions_of(stored, selector) {
            breath.after(revision.object.tail_length()).await;
            if revision.object.header().controller().is_some() {
                kept.push(Kept::read(&revision)?);
            } else if let Some(adopted) =
                adopt(&*self.client, &STATEFUL_SETS, stored, &CONTROLLER_REVISIONS, &revision).await?
            {
                wait_for(&self.revisions, adopted.revision).await?;
                kept.push(Kept::read(&adopted)?);
            }
        }
        kept.sort_by(|one, other| {
            (one.number, one.created, one.name()).cmp(&(other.number, other.created, other.name()))
        });
        Ok(kept)
    }

    /// The revisions that a stateful set manages, and those that it may take.
    fn revisions_of(&self, stored: &Stored, selector: &LabelSelectorSpec) -> Vec<Arc<Stored>> {
        let (here, uid) = (namespace_key(&stored.path), stored.object.header().uid());
        let view = self.revisions.store().view();
        let owned = view.by(BY_OWNER, uid).filter(|(path, revision)| {
            namespace_key(path) == here && revision.object.header().controller().is_some_and(|owner| owner.uid == uid)
        });
        let unmanaged = view.by(UNMANAGED, &here);
        let unmanaged = unmanaged.filter(|(_, it)| !selector.is_empty() && it.object.header().deletion().is_none());
        let all = owned.chain(unmanaged).filter(|(_, revision)| selector.matches_header(revision.object.header()));
        all.map(|(_, revision)| revision.clone()).collect()
    }

    /// The templates to make pods from. The newest is recorded where it is not yet, and becomes the last one again
    /// where it was before.
    pub(super) async fn versions(&self, stored: &Stored, set: &StatefulSet, kept: &[Kept]) -> Result<Versions, Status> {
        let data = data(&set.spec.template);
        let number = kept.last().map_or(1, |last| last.number.saturating_add(1));
        let mut collisions = set.status.collision_count.unwrap_or(0);
        let update = match kept.iter().rposition(|revision| same(&revision.data, &data)) {
            Some(at) if at + 1 == kept.len() => kept[at].version(),
            Some(at) => self.raise(&kept[at], number).await?,
            None => self.record(stored, set, data, number, &mut collisions).await?,
        };
        let current = kept.iter().find(|revision| revision.name() == set.status.current_revision);
        let current = current.map_or_else(|| update.clone(), Kept::version);
        Ok(Versions { current, update, collisions })
    }

    /// Gives a revision a higher number: its template is the newest one again.
    async fn raise(&self, revision: &Kept, number: i64) -> Result<Version, Status> {
        let key = CONTROLLER_REVISIONS.key(&revision.path);
        let raised = amend(&*self.client, &key, None, |edited| {
            edited.set(&["revision"], number);
            edited.uid() == revision.uid
        })
        .await?;
        let Some(raised) = raised else {
            return Err(Status::not_found(&CONTROLLER_REVISIONS.resource, revision.name()));
        };
        wait_for(&self.revisions, raised.revision).await?;
        Ok(revision.version())
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
        let (path, data) = (&stored.path, Arc::new(data));
        for _ in 0..NAMES {
            let hash = hash(&data, (*collisions != 0).then_some(*collisions));
            let name = format!("{}-{hash}", path.name());
            let revision = draft(stored, set, &data, number, &name, &hash);
            let resource = &CONTROLLER_REVISIONS.resource;
            let created = self.client.create(resource, path.tenant(), path.namespace(), revision).await;
            if let Some(created) = unless_there(created)? {
                wait_for(&self.revisions, created.revision).await?;
                return Ok(Version { name, data });
            }
            let there = self.client.get(&CONTROLLER_REVISIONS.key(&beside(path, &name))).await?;
            let there = Kept::read(&there)?;
            if same(&there.data, &data) {
                return Ok(there.version());
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
            delete(&*self.client, &CONTROLLER_REVISIONS.key(&revision.path), &revision.uid, None).await?;
        }
        Ok(())
    }
}

/// A new revision.
fn draft(stored: &Stored, set: &StatefulSet, data: &Value, number: i64, name: &str, hash: &str) -> Object {
    let mut revision = Object::new(&CONTROLLER_REVISIONS.type_meta, name);
    if let Some(labels) = set.spec.template["metadata"].get("labels") {
        revision.set(&["metadata", "labels"], labels.clone());
    }
    revision.set(&["metadata", "labels", HASH], hash);
    if !set.metadata.annotations.is_empty() {
        revision.set(&["metadata", "annotations"], json!(set.metadata.annotations));
    }
    revision.set(&["metadata", "ownerReferences"], json!([controller_reference(&STATEFUL_SETS, stored)]));
    revision.set(&["data"], data.clone());
    revision.set(&["revision"], number);
    revision
}

/// What a revision keeps of a set: a patch that puts the template in place of another one.
fn data(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.insert("$patch".to_owned(), Value::from("replace"));
    }
    json!({"spec": {"template": template}})
}

/// Whether two values say the same. A field that is `null` says as little as one that is not there: what other programs
/// recorded has some.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let said = |fields: &Map<String, Value>| fields.values().filter(|value| !value.is_null()).count();
            let mut fields = one.iter().filter(|(_, value)| !value.is_null());
            said(one) == said(other) && fields.all(|(name, value)| other.get(name).is_some_and(|it| same(value, it)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_keeps_a_patch_that_replaces_the_template() {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}});
        let kept = data(&template);
        assert_eq!(kept["spec"]["template"]["$patch"], "replace");
        assert_eq!(kept["spec"]["template"]["spec"], template["spec"]);
        assert_eq!(kept.as_object().map(Map::len), Some(1));
    }

    #[test]
    fn what_is_null_says_nothing() {
        let one = json!({"metadata": {"creationTimestamp": null, "labels": {"a": "1"}}, "spec": [{"x": 1}]});
        let other = json!({"spec": [{"x": 1, "y": null}], "metadata": {"labels": {"a": "1"}}});
        assert!(same(&one, &other) && same(&other, &one));
        for different in [
            json!({"metadata": {"labels": {"a": "1"}}, "spec": [{"x": 2}]}),
            json!({"metadata": {"labels": {"a": "1"}}, "spec": [{"x": 1}, {}]}),
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": [{"x": 1}]}),
            json!({"metadata": {"labels": {}}, "spec": [{"x": 1}]}),
        ] {
            assert!(!same(&one, &different) && !same(&different, &one), "{different}");
        }
    }
}
