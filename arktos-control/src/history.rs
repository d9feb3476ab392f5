//! The templates that a workload has had, kept as ControllerRevisions: what `kubectl rollout history` shows and
//! `kubectl rollout undo` goes back to. Nothing here is about a particular kind of workload.

use std::sync::Arc;

use arktos_core::typed::LabelSelectorSpec;
use arktos_core::{Object, Status, Timestamp};
use arktos_store::{Client, Informer, Stored};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::breath::Breath;
use crate::kinds::{CONTROLLER_REVISIONS, Resource};
use crate::owner::{Claim, adopt, claim, controller_reference, disown};
use crate::reconcile::shown;
use crate::setup::{BY_OWNER, UNMANAGED, beside, namespace_key};
use crate::write::{amend, delete, unless_there, unreadable};

/// The label of a pod that names the revision that it is of.
pub(crate) const REVISION: &str = "controller-revision-hash";

/// The revisions of all workloads of a kind.
pub(crate) struct History {
    client: Arc<dyn Client>,
    owners: &'static Resource,
    /// The label of a revision that has the hash of its template.
    label: &'static str,
    revisions: Informer<Stored>,
}

/// A revision: a template that is kept.
pub(crate) struct Kept {
    stored: Stored,
    number: i64,
    created: Timestamp,
    hash: String,
    data: Arc<Value>,
}

/// A revision that is to be made.
pub(crate) struct Draft {
    /// The hash of the template, which makes up the name with the workload's.
    pub(crate) hash: String,
    pub(crate) number: i64,
    pub(crate) labels: Map<String, Value>,
    pub(crate) annotations: Map<String, Value>,
    pub(crate) data: Value,
}

/// What a revision says of a template: the patch that makes it the workload's again.
pub(crate) fn data(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.insert("$patch".to_owned(), Value::from("replace"));
    }
    json!({"spec": {"template": template}})
}

impl Kept {
    fn read(stored: &Stored, label: &str) -> Result<Self, Status> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Shape {
            metadata: Metadata,
            revision: i64,
            data: Value,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct Metadata {
            creation_timestamp: Option<Timestamp>,
        }
        let Shape { metadata, revision, data } = stored.object.parse().map_err(unreadable)?;
        let hash = stored.object.header().label(label).unwrap_or(stored.path.name()).to_owned();
        let created = metadata.creation_timestamp.unwrap_or_default();
        Ok(Self { stored: stored.clone(), number: revision, created, hash, data: Arc::new(data) })
    }

    /// Its name: that of the workload, and the hash of the template.
    pub(crate) fn name(&self) -> &str {
        self.stored.path.name()
    }

    /// Its place among the revisions of the workload: the greatest is the newest.
    pub(crate) fn number(&self) -> i64 {
        self.number
    }

    /// The hash of the template.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// What it keeps of the workload, as [`data`] makes it.
    pub(crate) fn data(&self) -> &Arc<Value> {
        &self.data
    }

    /// Whether it keeps this.
    pub(crate) fn keeps(&self, data: &Value) -> bool {
        same(&self.data, data)
    }
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

impl History {
    /// `label` is the label of a revision that has the hash of its template.
    pub(crate) fn new(
        client: Arc<dyn Client>,
        owners: &'static Resource,
        label: &'static str,
        revisions: Informer<Stored>,
    ) -> Self {
        Self { client, owners, label, revisions }
    }

    /// The revisions of a workload, oldest first, after those that nobody manages were taken and others let go.
    pub(crate) async fn claim(&self, owner: &Stored, selector: &LabelSelectorSpec) -> Result<Vec<Kept>, Status> {
        let (here, uid) = (namespace_key(&owner.path), owner.object.header().uid());
        let candidates: Vec<Arc<Stored>> = {
            let view = self.revisions.store().view();
            let unmanaged = view.by(UNMANAGED, &here).filter(|_| !selector.is_empty());
            let all = view.by(BY_OWNER, uid).chain(unmanaged);
            all.filter(|(path, _)| namespace_key(path) == here).map(|(_, revision)| revision.clone()).collect()
        };
        let (mut kept, mut breath) = (Vec::new(), Breath::default());
        for revision in candidates {
            breath.after(revision.object.tail_length()).await;
            match claim(owner, selector, revision.object.header()) {
                Claim::Mine => kept.push(Kept::read(&revision, self.label)?),
                Claim::Adopt => {
                    let adopted = adopt(&*self.client, self.owners, owner, &CONTROLLER_REVISIONS, &revision).await?;
                    if let Some(adopted) = adopted {
                        kept.push(self.shown(&adopted).await?);
                    }
                }
                Claim::Release => disown(&*self.client, &CONTROLLER_REVISIONS, &revision, &[uid]).await?,
                Claim::NotMine => {}
            }
        }
        kept.sort_by(|one, other| {
            (one.number, one.created, one.name()).cmp(&(other.number, other.created, other.name()))
        });
        Ok(kept)
    }

    /// Makes a revision, or finds that it is there. Nothing where its name is another template's.
    pub(crate) async fn keep(&self, owner: &Stored, draft: Draft) -> Result<Option<Kept>, Status> {
        let (path, mut labels) = (&owner.path, draft.labels);
        let name = format!("{}-{}", path.name(), draft.hash);
        labels.insert(self.label.to_owned(), Value::from(draft.hash));
        let mut object = Object::new(&CONTROLLER_REVISIONS.type_meta, &name);
        object.set(&["metadata", "labels"], labels);
        if !draft.annotations.is_empty() {
            object.set(&["metadata", "annotations"], draft.annotations);
        }
        object.set(&["metadata", "ownerReferences"], json!([controller_reference(self.owners, owner)]));
        object.set(&["data"], draft.data.clone());
        object.set(&["revision"], draft.number);
        let resource = &CONTROLLER_REVISIONS.resource;
        let created = self.client.create(resource, path.tenant(), path.namespace(), object).await;
        if let Some(created) = unless_there(created)? {
            return self.shown(&created).await.map(Some);
        }
        let there = self.client.get(&CONTROLLER_REVISIONS.key(&beside(path, &name))).await?;
        let there = self.shown(&there).await?;
        Ok(Some(there).filter(|there| there.keeps(&draft.data)))
    }

    /// Gives a revision another number: what was gone back to is the newest.
    pub(crate) async fn renumber(&self, kept: &Kept, number: i64) -> Result<Kept, Status> {
        let (key, uid) = (CONTROLLER_REVISIONS.key(&kept.stored.path), kept.stored.object.header().uid());
        let written = amend(&*self.client, &key, None, |object| {
            object.set(&["revision"], number);
            object.uid() == uid
        });
        match written.await? {
            Some(written) => self.shown(&written).await,
            None => Err(Status::not_found(&CONTROLLER_REVISIONS.resource, kept.stored.path.name())),
        }
    }

    /// Deletes a revision.
    pub(crate) async fn remove(&self, kept: &Kept) -> Result<(), Status> {
        let key = CONTROLLER_REVISIONS.key(&kept.stored.path);
        delete(&*self.client, &key, kept.stored.object.header().uid(), None).await
    }

    /// A revision as it was written, once the informer shows it: the next look at them is not behind it.
    async fn shown(&self, written: &Stored) -> Result<Kept, Status> {
        shown(&self.revisions, written.revision).await?;
        Kept::read(written, self.label)
    }
}

#[cfg(test)]
mod tests {
    use arktos_core::{Encoded, ObjectPath, Revision};

    use super::*;

    #[test]
    fn a_revision_is_the_patch_of_its_template() {
        let template = json!({"metadata": {"labels": {"app": "logs"}}, "spec": {"containers": [{"name": "c"}]}});
        let said = data(&template);
        assert_eq!(said["spec"]["template"]["$patch"], "replace");
        assert_eq!(said["spec"]["template"]["spec"], template["spec"]);
        let object = json!({
            "metadata": {"name": "logs-abc", "labels": {REVISION: "abc"}}, "revision": 4,
            "data": {"spec": {"template": {
                "$patch": "replace", "metadata": {"creationTimestamp": null, "labels": {"app": "logs"}},
                "spec": {"containers": [{"name": "c"}]},
            }}},
        });
        let object = Object::from_value(object).expect("an object");
        let type_meta = Arc::new(CONTROLLER_REVISIONS.type_meta.clone());
        let object = Encoded::encode(&type_meta, &object, &[]).expect("encodes");
        let stored = Stored { path: ObjectPath::new("t", "n", "logs-abc"), revision: Revision(1), object };
        let kept = Kept::read(&stored, REVISION).expect("a revision");
        assert_eq!((kept.number(), kept.hash()), (4, "abc"));
        assert!(kept.keeps(&said));
        assert!(!kept.keeps(&data(&json!({"spec": {}}))));
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
