//! The `replicaset` controller: as many pods of a template as are wanted.

mod rank;
mod status;

use std::collections::HashMap;
use std::sync::Arc;

use arktos_core::typed::{KindOf, ReplicaSet};
use arktos_core::{ObjectPath, Status};
use arktos_store::informer::Event;
use arktos_store::{Client, Clock, Informer, Outcome, Stored, WorkQueue};
use futures::future::BoxFuture;

use crate::kinds::REPLICA_SETS;
use crate::owner::controller_reference;
use crate::pod::PodView;
use crate::pods::{BURST, PodControl, from_template};
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::setup::{BY_OWNER, Setup, beside, namespace_of};
use crate::write::{is_terminating, set_status, tree, unreadable};

pub(crate) struct ReplicaSets {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    sets: Informer<Stored>,
    pods: Informer<PodView>,
    control: PodControl,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (sets, pods) = (setup.informer(&REPLICA_SETS.resource), setup.pods());
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    sets.handle(move |event| {
        adds.add(event.path().clone());
    });
    let (adds, known) = (queue.clone(), sets.clone());
    pods.handle(move |event| pod_changed(&adds, &known, event));
    let events = setup.events.teller("replicaset-controller");
    let informers = vec![synced(&sets), synced(&pods)];
    let control = PodControl::new(setup.client.clone(), pods.clone(), events);
    let (client, clock) = (setup.client.clone(), setup.clock.clone());
    run(ReplicaSets { client, clock, sets, pods, control }, queue, setup.options.workers, informers)
}

/// Queues the replica sets that a change of a pod concerns: its manager, as it was and as it is, or whoever might take
/// it.
fn pod_changed(queue: &WorkQueue<ObjectPath>, sets: &Informer<Stored>, event: &Event<PodView>) {
    for pod in event.before().into_iter().chain(event.after()) {
        if let Some(owner) = pod.controller()
            && owner.kind == "ReplicaSet"
            && owner.api_version.starts_with("apps/")
        {
            queue.add(beside(event.path(), owner.name));
        }
    }
    let Some(orphan) = event.after().filter(|pod| pod.controller().is_none() && !pod.is_terminating()) else { return };
    for set in sets.store().within(&namespace_of(event.path())) {
        let header = orphan.object().header();
        if ReplicaSet::from_encoded(&set.object, None).is_ok_and(|it| it.spec.selector.matches(|key| header.label(key)))
        {
            queue.add(set.path.clone());
        }
    }
}

impl Reconcile for ReplicaSets {
    type Key = ObjectPath;
    const NAME: &'static str = "replicaset";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        self.control.caught_up(path).await?;
        let Some(stored) = self.sets.store().get(path) else { return Ok(Outcome::Done) };
        let set = ReplicaSet::from_encoded(&stored.object, Some(stored.revision)).map_err(unreadable)?;
        let pods = self.control.claim(&REPLICA_SETS, &stored, &set.spec.selector).await?;
        let active: Vec<Arc<PodView>> = pods.iter().filter(|pod| pod.is_active()).cloned().collect();
        let going = pods.iter().filter(|pod| pod.is_terminating() && !pod.is_finished()).count();
        let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
        let mut failure = None;
        if set.metadata.deletion_timestamp.is_none() {
            failure = self.manage(&stored, &active, wanted).await?;
        }
        let observed = status::Observed { active: &active, going, now: self.clock.now() };
        let status = observed.status(&set, wanted, failure.as_ref());
        if status != set.status {
            set_status(&*self.client, &REPLICA_SETS.key(path), &stored, &status).await?;
        }
        match failure {
            Some(status) if !is_terminating(&status) => Err(status),
            _ => Ok(observed.next_available(&set).map_or(Outcome::Done, Outcome::After)),
        }
    }
}

impl ReplicaSets {
    /// Makes or deletes pods. Says why not all that was needed was done.
    async fn manage(&self, stored: &Stored, active: &[Arc<PodView>], wanted: usize) -> Result<Option<Status>, Status> {
        if active.len() < wanted {
            let object = tree(stored)?;
            let template = object.at(&["spec", "template"]).cloned().unwrap_or_default();
            let owner = controller_reference(&REPLICA_SETS, stored);
            let pod = from_template(&template, stored.path.name(), &owner);
            let missing = (wanted - active.len()).min(BURST);
            let (made, failure) = self.control.create(stored, vec![pod; missing]).await;
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
