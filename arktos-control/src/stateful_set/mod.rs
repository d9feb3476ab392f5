//! The `statefulset` controller: pods of one template that have numbers, and so names and volume claims of their own.
//!
//! ```text
//!  StatefulSet ──owns──► Pods web-0, web-1, …      whose claims are data-web-0, data-web-1, …
//!              ──owns──► ControllerRevisions       one a template
//! ```
//!
//! [`steps`] says what is done in which order. Each write is waited for until the informers show it, so that the next
//! look is not behind it.

mod claims;
mod identity;
mod revisions;
mod steps;
mod work;

use std::sync::Arc;

use arktos_core::typed::{KindOf, LabelSelectorSpec, StatefulSet};
use arktos_core::{ObjectPath, Status};
use arktos_store::informer::Event;
use arktos_store::{Client, Clock, Informer, Outcome, Stored, WorkQueue};
use futures::future::BoxFuture;

use self::revisions::Versions;
use self::work::Work;
use crate::breath::Breath;
use crate::events::Teller;
use crate::history::History;
use crate::kinds::{CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS};
use crate::owner::{Claim, adopt, claim, disown};
use crate::pod::PodView;
use crate::reconcile::{Reconcile, queue, run, shown, synced};
use crate::selecting::{self, Selecting};
use crate::setup::{BY_OWNER, Setup, UNMANAGED, beside, namespace_key};
use crate::write::{is_terminating, set_status, unreadable};

pub(crate) struct StatefulSets {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    sets: Informer<Stored>,
    pods: Informer<PodView>,
    claims: Informer<Stored>,
    history: History,
    events: Teller,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (sets, pods) = (setup.informer(&STATEFUL_SETS.resource), setup.pods());
    let claims = setup.informer(&PERSISTENT_VOLUME_CLAIMS.resource);
    let revisions = setup.informer(&CONTROLLER_REVISIONS.resource);
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    sets.handle(move |event| {
        adds.add(event.path().clone());
    });
    // One without a selector selects nothing.
    let selecting = Selecting::follow(&sets, |set: &Stored| {
        selecting::selector(&set.object).filter(|selector| !selector.is_empty())
    });
    let adds = queue.clone();
    pods.handle(move |event| pod_changed(&adds, &selecting, event));
    let adds = queue.clone();
    claims.handle(move |event| claim_gone(&adds, event));
    let adds = queue.clone();
    revisions.handle(move |event| revision_gone(&adds, event));
    let events = setup.events.teller("statefulset-controller");
    let informers = vec![synced(&sets), synced(&pods), synced(&claims), synced(&revisions)];
    let (client, clock) = (setup.client.clone(), setup.clock.clone());
    let history = History::new(client.clone(), &STATEFUL_SETS, revisions::HASH, revisions);
    let controller = StatefulSets { client, clock, sets, pods, claims, history, events };
    run(controller, queue, setup.options.workers, informers)
}

/// Queues the sets that a change of a pod concerns: its manager, as it was and as it is, or whoever might take it.
fn pod_changed(queue: &WorkQueue<ObjectPath>, sets: &Selecting, event: &Event<PodView>) {
    for pod in event.before().into_iter().chain(event.after()) {
        if let Some(owner) = pod.controller()
            && owner.kind == "StatefulSet"
        {
            queue.add(beside(event.path(), owner.name));
        }
    }
    let Some(orphan) = event.after().filter(|pod| pod.controller().is_none() && !pod.is_terminating()) else { return };
    if identity::set_of(orphan.name()).is_none() {
        return;
    }
    for set in sets.may_select(event.path(), [orphan.object().header()]) {
        if identity::ordinal(set.name(), orphan.name()).is_some() {
            queue.add(set);
        }
    }
}

/// A pod may wait for a claim of the pod before it to be gone.
fn claim_gone(queue: &WorkQueue<ObjectPath>, event: &Event<Stored>) {
    let Event::Removed { path, old } = event else { return };
    for owner in old.object.header().owners() {
        let set = match owner.kind {
            "StatefulSet" => Some(owner.name),
            "Pod" => identity::set_of(owner.name),
            _ => None,
        };
        if let Some(set) = set {
            queue.add(beside(path, set));
        }
    }
}

/// A revision is made anew where somebody deleted it, or it went with the set of its name that was here before.
fn revision_gone(queue: &WorkQueue<ObjectPath>, event: &Event<Stored>) {
    if let Event::Removed { path, old } = event
        && let Some(owner) = old.object.header().controller()
        && owner.kind == "StatefulSet"
    {
        queue.add(beside(path, owner.name));
    }
}

impl Reconcile for StatefulSets {
    type Key = ObjectPath;
    const NAME: &'static str = "statefulset";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(stored) = self.sets.store().get(path) else { return Ok(Outcome::Done) };
        match self.look_at(stored).await {
            Err(status) if is_terminating(&status) => Ok(Outcome::Done),
            outcome => outcome,
        }
    }
}

impl StatefulSets {
    async fn look_at(&self, stored: Arc<Stored>) -> Result<Outcome, Status> {
        let set = StatefulSet::from_encoded(&stored.object, Some(stored.revision)).map_err(unreadable)?;
        let going = set.metadata.deletion_timestamp.is_some();
        // One that is being deleted makes nothing, and nothing of it is put in order.
        let kept = if going { Vec::new() } else { self.history.claim(&stored, &set.spec.selector).await? };
        let versions = if going { Versions::named(&set) } else { self.versions(&stored, &set, &kept).await? };
        let pods = self.claim(&stored, &set.spec.selector).await?;
        let work = Work::new(stored, set, pods, versions, self.clock.now());
        let outcome = if going { Ok(0) } else { self.advance(&work).await };
        let status = work.status(*outcome.as_ref().unwrap_or(&0));
        if status != work.set.status {
            let key = STATEFUL_SETS.key(&work.stored.path);
            let written = set_status(&*self.client, &key, &work.stored, &status).await?;
            shown(&self.sets, written.revision).await?;
        }
        if !going {
            self.forget(&work, &kept).await?;
        }
        outcome?;
        Ok(work.next_look(&status))
    }

    /// The pods of a set and their numbers, after those that nobody manages and that fit were taken, and those that no
    /// longer fit were let go. A pod fits by its labels and its name.
    async fn claim(&self, stored: &Stored, selector: &LabelSelectorSpec) -> Result<Vec<(i64, Arc<PodView>)>, Status> {
        let going = stored.object.header().deletion().is_some();
        let (mut mine, mut breath) = (Vec::new(), Breath::default());
        for pod in self.candidates(stored, selector) {
            breath.after(pod.weight()).await;
            let ordinal = identity::ordinal(stored.path.name(), pod.name());
            match (claim(stored, selector, pod.object().header()), ordinal) {
                (Claim::Mine, Some(ordinal)) => mine.push((ordinal, pod)),
                (Claim::Adopt, Some(ordinal)) => {
                    if let Some(taken) = adopt(&*self.client, &STATEFUL_SETS, stored, &PODS, &pod.stored).await? {
                        shown(&self.pods, taken.revision).await?;
                        mine.push((ordinal, pod));
                    }
                }
                (Claim::Release, _) | (Claim::Mine, None) if !going => {
                    disown(&*self.client, &PODS, &pod.stored, &[stored.object.header().uid()]).await?;
                }
                _ => {}
            }
        }
        Ok(mine)
    }

    /// The pods that a set manages, and those that it may take.
    fn candidates(&self, stored: &Stored, selector: &LabelSelectorSpec) -> Vec<Arc<PodView>> {
        let here = namespace_key(&stored.path);
        let view = self.pods.store().view();
        let owned = view.by(BY_OWNER, stored.object.header().uid());
        let unmanaged = view.by(UNMANAGED, &here).filter(|_| !selector.is_empty());
        let all = owned.chain(unmanaged).filter(|(path, _)| namespace_key(path) == here);
        all.map(|(_, pod)| pod.clone()).collect()
    }
}
