//! The `replicaset` controller, and the `replicationcontroller` controller, which is the same for the older kind: as
//! many pods of a template as are wanted.

mod rank;
mod status;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use arktos_core::typed::{KindOf, LabelSelectorSpec, ReplicaSet, ReplicaSetSpec, ReplicationController};
use arktos_core::{Encoded, ObjectPath, Revision, Status};
use arktos_store::informer::Event;
use arktos_store::{Client, Clock, Informer, Outcome, Stored, WorkQueue};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::breath::Breath;
use crate::kinds::{REPLICA_SETS, REPLICATION_CONTROLLERS, Resource};
use crate::owner::controller_reference;
use crate::pod::PodView;
use crate::pods::{BURST, PodControl, from_template};
use crate::reconcile::{Reconcile, resting_queue, run, synced};
use crate::selecting::{self, Selecting};
use crate::setup::{BY_OWNER, Setup, beside};
use crate::write::{is_terminating, set_status, tree, unreadable};

/// The two kinds that hold a number of pods.
pub(crate) trait Holder: Send + Sync + 'static {
    const NAME: &'static str;
    /// Who events are said to come from.
    const COMPONENT: &'static str;
    /// Whether its status says how many pods are being deleted.
    const TELLS_GOING: bool;

    fn resource() -> &'static Resource;

    /// An object of the kind, read as a replica set.
    fn read(object: &Encoded) -> Result<ReplicaSet, serde_json::Error>;

    /// What an object of the kind selects.
    fn selector(object: &Encoded) -> Option<LabelSelectorSpec>;
}

pub(crate) struct Sets;

impl Holder for Sets {
    const NAME: &'static str = "replicaset";
    const COMPONENT: &'static str = "replicaset-controller";
    const TELLS_GOING: bool = true;

    fn resource() -> &'static Resource {
        &REPLICA_SETS
    }

    fn read(object: &Encoded) -> Result<ReplicaSet, serde_json::Error> {
        ReplicaSet::from_encoded(object, None)
    }

    fn selector(object: &Encoded) -> Option<LabelSelectorSpec> {
        selecting::selector(object)
    }
}

pub(crate) struct Controllers;

impl Holder for Controllers {
    const NAME: &'static str = "replicationcontroller";
    const COMPONENT: &'static str = "replication-controller";
    const TELLS_GOING: bool = false;

    fn resource() -> &'static Resource {
        &REPLICATION_CONTROLLERS
    }

    fn read(object: &Encoded) -> Result<ReplicaSet, serde_json::Error> {
        let controller = ReplicationController::from_encoded(object, None)?;
        let spec = controller.spec;
        let selector = LabelSelectorSpec { match_labels: spec.selector, ..LabelSelectorSpec::default() };
        let spec = ReplicaSetSpec {
            replicas: spec.replicas,
            min_ready_seconds: spec.min_ready_seconds,
            template: spec.template,
            selector,
            other: spec.other,
        };
        Ok(ReplicaSet { metadata: controller.metadata, spec, status: controller.status, other: controller.other })
    }

    fn selector(object: &Encoded) -> Option<LabelSelectorSpec> {
        selecting::plain_selector(object)
    }
}

pub(crate) struct Replicas<H> {
    kind: PhantomData<H>,
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    sets: Informer<Stored>,
    pods: Informer<PodView>,
    control: PodControl,
    own: Arc<OwnWrites>,
}

/// The status that a controller wrote last of each of its objects. To see it again is no reason to look anew: nothing
/// but the status has changed, and that is as it should be.
#[derive(Default)]
pub(crate) struct OwnWrites {
    /// Written by the worker that has the object in hand; taken out by the informer's handler.
    last: Mutex<HashMap<ObjectPath, Revision>>,
}

impl OwnWrites {
    pub(crate) fn note(&self, written: &Stored) {
        self.last.lock().insert(written.path.clone(), written.revision);
    }

    /// Whether an event tells of nothing but what was written here.
    pub(crate) fn are_told_by(&self, event: &Event<Stored>) -> bool {
        let mut last = self.last.lock();
        match event.after() {
            Some(now) if last.get(&now.path) == Some(&now.revision) => last.remove(&now.path).is_some(),
            Some(_) => false,
            None => {
                last.remove(event.path());
                false
            }
        }
    }
}

pub(crate) fn start<H: Holder>(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (sets, pods) = (setup.informer(&H::resource().resource), setup.pods());
    let queue = resting_queue(&setup.clock, setup.options.rest);
    let (adds, own) = (queue.clone(), Arc::new(OwnWrites::default()));
    let said = own.clone();
    sets.handle(move |event| {
        if !said.are_told_by(event) {
            adds.add(event.path().clone());
        }
    });
    // One without a selector selects nothing.
    let selecting = Selecting::follow(&sets, |set: &Stored| H::selector(&set.object).filter(|it| !it.is_empty()));
    let adds = queue.clone();
    pods.handle(move |event| pod_changed::<H>(&adds, &selecting, event));
    let events = setup.events.teller(H::COMPONENT);
    let informers = vec![synced(&sets), synced(&pods)];
    let control = PodControl::new(setup.client.clone(), pods.clone(), events);
    let (client, clock) = (setup.client.clone(), setup.clock.clone());
    let controller = Replicas::<H> { kind: PhantomData, client, clock, sets, pods, control, own };
    run(controller, queue, setup.options.workers, informers)
}

/// Queues the replica sets that a change of a pod concerns: its manager, as it was and as it is, or whoever might take
/// it.
fn pod_changed<H: Holder>(queue: &WorkQueue<ObjectPath>, sets: &Selecting, event: &Event<PodView>) {
    for pod in event.before().into_iter().chain(event.after()) {
        if let Some(owner) = pod.controller()
            && owner.kind == H::resource().type_meta.kind
            && owner.api_version == H::resource().type_meta.api_version
        {
            queue.add(beside(event.path(), owner.name));
        }
    }
    let Some(orphan) = event.after().filter(|pod| pod.controller().is_none() && !pod.is_terminating()) else { return };
    for set in sets.may_select(event.path(), [orphan.object().header()]) {
        queue.add(set);
    }
}

impl<H: Holder> Reconcile for Replicas<H> {
    type Key = ObjectPath;
    const NAME: &'static str = H::NAME;

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        self.control.caught_up(path).await?;
        let Some(stored) = self.sets.store().get(path) else { return Ok(Outcome::Done) };
        let set = H::read(&stored.object).map_err(unreadable)?;
        let pods = self.control.claim(H::resource(), &stored, &set.spec.selector).await?;
        let active: Vec<Arc<PodView>> = pods.iter().filter(|pod| pod.is_active()).cloned().collect();
        let going = pods.iter().filter(|pod| pod.is_terminating() && !pod.is_finished()).count();
        let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
        let mut failure = None;
        if set.metadata.deletion_timestamp.is_none() {
            failure = self.manage(&stored, &active, wanted).await?;
        }
        let (mut labelled, mut breath) = (0, Breath::default());
        for pod in &active {
            breath.after(pod.weight()).await;
            labelled += usize::from(pod.has_labels(&set.spec.template.metadata.labels));
        }
        let (now, tells_going) = (self.clock.now(), H::TELLS_GOING);
        let observed = status::Observed { active: &active, labelled, going, now, tells_going };
        let status = observed.status(&set, wanted, failure.as_ref());
        if status != set.status {
            self.own.note(&set_status(&*self.client, &H::resource().key(path), &stored, &status).await?);
        }
        match failure {
            Some(status) if !is_terminating(&status) => Err(status),
            _ => Ok(observed.next_available(&set).map_or(Outcome::Done, Outcome::After)),
        }
    }
}

impl<H: Holder> Replicas<H> {
    /// Makes or deletes pods. Says why not all that was needed was done.
    async fn manage(&self, stored: &Stored, active: &[Arc<PodView>], wanted: usize) -> Result<Option<Status>, Status> {
        if active.len() < wanted {
            let object = tree(stored)?;
            let template = object.at(&["spec", "template"]).cloned().unwrap_or_default();
            let owner = controller_reference(H::resource(), stored);
            let pod = from_template(&template, stored.path.name(), &owner);
            let missing = (wanted - active.len()).min(BURST);
            let (made, failure) = self.control.create(stored, std::iter::repeat_n(pod, missing)).await;
            tracing::debug!(path = %stored.path, wanted, made, "pods were made");
            return Ok(failure);
        }
        if active.len() > wanted {
            let surplus = (active.len() - wanted).min(BURST);
            let doomed = rank::to_delete(active, &self.related(stored), surplus, self.clock.now());
            return Ok(self.control.delete(stored, &doomed).await);
        }
        Ok(None)
    }

    /// How many active pods there are on each host of this replica set and its siblings of the same deployment.
    fn related(&self, stored: &Stored) -> HashMap<Box<str>, usize> {
        let siblings = match stored.object.header().controller() {
            Some(owner) => self.sets.store().by(BY_OWNER, owner.uid),
            None => vec![Arc::new(stored.clone())],
        };
        let view = self.pods.store().view();
        let mut on_host = HashMap::new();
        for sibling in siblings {
            for (_, pod) in view.by(BY_OWNER, sibling.object.header().uid()) {
                if pod.is_active() {
                    *on_host.entry(pod.node.clone()).or_insert(0) += 1;
                }
            }
        }
        on_host
    }
}
