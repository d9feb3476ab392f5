//! Creating and deleting the pods of a controller, and knowing when informers have seen those writes.

use std::collections::HashMap;
use std::sync::Arc;

use arktos_core::typed::LabelSelectorSpec;
use arktos_core::{Object, ObjectPath, OwnerReference, Reason, Revision, Status};
use arktos_store::informer::Stopped;
use arktos_store::{Client, Informer, Stored};
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::breath::Breath;
use crate::events::Teller;
use crate::kinds::{PODS, Resource};
use crate::owner::{Claim, adopt, claim, disown};
use crate::pod::PodView;
use crate::setup::{BY_OWNER, UNMANAGED, namespace_key};
use crate::write::{delete, is_terminating};

/// How many pods of one manager are made or deleted in one go.
pub(crate) const BURST: usize = 500;
/// How many writes of one manager are under way at a time: enough that they share a sync of the disk. All of them are
/// looked at in one turn of the worker's, and what else runs on the thread waits for that.
pub(crate) const AT_ONCE: usize = 16;
/// Of managers of more bytes fewer are: what is made of them has as many, and several times that while it is made.
const LARGE: usize = 1 << 20;

/// Makes and deletes pods. A manager's own writes count before it looks again: [`caught_up`](Self::caught_up) waits
/// until the informer shows them, so that nothing is made twice.
pub(crate) struct PodControl {
    client: Arc<dyn Client>,
    pods: Informer<PodView>,
    events: Teller,
    /// What each manager wrote and has not seen yet. Written by the worker that has the manager in hand.
    unseen: Mutex<HashMap<ObjectPath, Unseen>>,
}

#[derive(Default)]
struct Unseen {
    /// The last of the pods that were made and taken.
    written: Revision,
    deleted: Vec<(ObjectPath, String)>,
}

impl PodControl {
    pub(crate) fn new(client: Arc<dyn Client>, pods: Informer<PodView>, events: Teller) -> Self {
        Self { client, pods, events, unseen: Mutex::default() }
    }

    /// Waits until everything that was written for a manager shows in the informer.
    pub(crate) async fn caught_up(&self, manager: &ObjectPath) -> Result<(), Status> {
        let Some(unseen) = self.unseen.lock().remove(manager) else { return Ok(()) };
        let stopped = |_: Stopped| Status::failure(Reason::ServiceUnavailable, "the pods are no longer watched");
        self.pods.reached(unseen.written).await.map_err(stopped)?;
        let shows = |(path, uid): &(ObjectPath, String)| {
            self.pods.store().get(path).is_none_or(|pod| pod.uid() != uid || pod.is_terminating())
        };
        self.pods.until(|_| unseen.deleted.iter().all(shows)).await.map_err(stopped)
    }

    /// The pods of a manager, after those that nobody manages and that fit were taken, and those that no longer fit
    /// were let go. An empty selector fits what is managed already, and takes nothing.
    pub(crate) async fn claim(
        &self,
        managers: &Resource,
        manager: &Stored,
        selector: &LabelSelectorSpec,
    ) -> Result<Vec<Arc<PodView>>, Status> {
        let view = self.pods.store().view();
        let unmanaged = namespace_key(&manager.path);
        let owned = view.by(BY_OWNER, manager.object.header().uid());
        let unmanaged = view.by(UNMANAGED, &unmanaged).filter(|_| !selector.is_empty());
        let candidates: Vec<Arc<PodView>> = owned
            .chain(unmanaged)
            .filter(|(path, _)| path.tenant() == manager.path.tenant() && path.namespace() == manager.path.namespace())
            .map(|(_, pod)| pod.clone())
            .collect();
        let (mut mine, mut breath) = (Vec::new(), Breath::default());
        for pod in candidates {
            breath.after(pod.weight()).await;
            match claim(manager, selector, pod.object().header()) {
                Claim::Mine => mine.push(pod),
                Claim::Release => {
                    disown(&*self.client, &PODS, &pod.stored, &[manager.object.header().uid()]).await?;
                }
                Claim::Adopt if pod.is_active() => {
                    if let Some(taken) = adopt(&*self.client, managers, manager, &PODS, &pod.stored).await? {
                        self.written(&manager.path, &taken);
                        mine.push(pod);
                    }
                }
                Claim::Adopt | Claim::NotMine => {}
            }
        }
        Ok(mine)
    }

    /// Makes pods from these objects: one, then twice as many, and so on, so that what fails fails cheaply. Says how
    /// many were made, and what went wrong. Each object is asked for when its turn has come: a template has megabytes
    /// where its tenant likes.
    pub(crate) async fn create(
        &self,
        manager: &Stored,
        mut objects: impl Iterator<Item = Object> + Send,
    ) -> (usize, Option<Status>) {
        let at_once = at_once(manager);
        let (mut made, mut batch) = (0, 1);
        loop {
            let (mut tried, mut failure) = (0, None);
            while tried < batch && failure.is_none() {
                let next: Vec<Object> = objects.by_ref().take(at_once.min(batch - tried)).collect();
                if next.is_empty() {
                    return (made, None);
                }
                tried += next.len();
                let writes: Vec<_> = next.into_iter().map(|pod| self.create_one(manager, pod).boxed()).collect();
                for outcome in futures::future::join_all(writes).await {
                    match outcome {
                        Ok(()) => made += 1,
                        Err(status) => failure = Some(status),
                    }
                }
            }
            if failure.is_some() {
                return (made, failure);
            }
            batch *= 2;
        }
    }

    async fn create_one(&self, manager: &Stored, pod: Object) -> Result<(), Status> {
        let path = &manager.path;
        match self.client.create(&PODS.resource, path.tenant(), path.namespace(), pod).await {
            Ok(created) => {
                self.events.normal(manager, "SuccessfulCreate", format!("Created pod: {}", created.path.name()));
                self.written(path, &created);
                Ok(())
            }
            Err(status) => {
                if !is_terminating(&status) {
                    self.events.warning(manager, "FailedCreate", format!("Error creating: {status}"));
                }
                Err(status)
            }
        }
    }

    /// Notes that a pod was written for a manager: one that does not show as taken yet could not be taken again, and
    /// would count as none of the manager's.
    fn written(&self, manager: &ObjectPath, pod: &Stored) {
        let mut unseen = self.unseen.lock();
        let unseen = unseen.entry(manager.clone()).or_default();
        unseen.written = unseen.written.max(pod.revision);
    }

    /// Deletes pods, some at a time, and says what went wrong.
    pub(crate) async fn delete(&self, manager: &Stored, pods: &[Arc<PodView>]) -> Option<Status> {
        let writes: Vec<_> = pods.iter().map(|pod| self.delete_one(manager, pod).boxed()).collect();
        let outcomes: Vec<_> = futures::stream::iter(writes).buffered(AT_ONCE).collect().await;
        outcomes.into_iter().find_map(Result::err)
    }

    async fn delete_one(&self, manager: &Stored, pod: &PodView) -> Result<(), Status> {
        match delete(&*self.client, &PODS.key(&pod.stored.path), pod.uid(), None).await {
            Ok(()) => {
                self.events.normal(manager, "SuccessfulDelete", format!("Deleted pod: {}", pod.name()));
                let mut unseen = self.unseen.lock();
                let unseen = unseen.entry(manager.path.clone()).or_default();
                unseen.deleted.push((pod.stored.path.clone(), pod.uid().to_owned()));
                Ok(())
            }
            Err(status) => {
                self.events.warning(manager, "FailedDelete", format!("Error deleting: {status}"));
                Err(status)
            }
        }
    }
}

/// How many writes of a manager may be under way at a time that are made of what it says.
pub(crate) fn at_once(manager: &Stored) -> usize {
    (LARGE / manager.object.tail_length().max(1)).clamp(1, AT_ONCE)
}

/// A pod made from a template: its labels, annotations, finalizers and spec; a generated name; a manager.
pub(crate) fn from_template(template: &Value, manager: &str, owner: &OwnerReference) -> Object {
    let mut metadata = Map::new();
    metadata.insert("generateName".to_owned(), Value::from(format!("{manager}-")));
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    metadata.insert("ownerReferences".to_owned(), json!([owner]));
    let mut pod = Object::default();
    pod.fields.insert("apiVersion".to_owned(), Value::from("v1"));
    pod.fields.insert("kind".to_owned(), Value::from("Pod"));
    pod.fields.insert("metadata".to_owned(), Value::Object(metadata));
    pod.fields.insert("spec".to_owned(), template["spec"].clone());
    pod
}
