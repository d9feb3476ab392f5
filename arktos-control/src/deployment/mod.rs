//! The `deployment` controller: pods of one template, rolled out anew when the template changes.
//!
//! ```text
//!  Deployment ──owns──► ReplicaSet (one a template) ──owns──► Pods
//! ```
//!
//! [`plan`] says how many pods each replica set is to have; this file reads, writes and tells.

mod newest;
mod plan;
mod set;
mod status;
pub(crate) mod template;

use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{Condition, Deployment, DeploymentStatus, KindOf};
use arktos_core::{ObjectPath, Status, Timestamp};
use arktos_store::informer::Event;
use arktos_store::{Client, Clock, Informer, Outcome, Stored, WorkQueue};
use futures::future::BoxFuture;

use self::plan::Bounds;
use self::set::{DESIRED, MAX, Set};
use crate::breath::Breath;
use crate::events::Teller;
use crate::kinds::{DEPLOYMENTS, REPLICA_SETS};
use crate::owner::{Claim, adopt, claim, disown};
use crate::pod::PodView;
use crate::reconcile::{Reconcile, resting_queue, run, shown, synced};
use crate::selecting::{self, Selecting};
use crate::setup::{BY_OWNER, Setup, UNMANAGED, beside, namespace_key};
use crate::write::{delete, set_status, unreadable};

pub(crate) struct Deployments {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    deployments: Informer<Stored>,
    sets: Informer<Stored>,
    pods: Informer<PodView>,
    events: Teller,
}

/// A deployment in hand, with its replica sets.
struct Work {
    stored: Stored,
    deployment: Deployment,
    bounds: Bounds,
    /// The replica set of the newest template, once it is there.
    new: Option<Set>,
    /// All others, oldest first.
    old: Vec<Set>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let deployments = setup.informer(&DEPLOYMENTS.resource);
    let (sets, pods) = (setup.informer(&REPLICA_SETS.resource), setup.pods());
    let queue = resting_queue(&setup.clock, setup.options.rest);
    let adds = queue.clone();
    deployments.handle(move |event| {
        adds.add(event.path().clone());
    });
    let selecting = Selecting::follow(&deployments, |it: &Stored| selecting::selector(&it.object));
    let adds = queue.clone();
    sets.handle(move |event| set_changed(&adds, &selecting, event));
    let (adds, known) = (queue.clone(), sets.clone());
    pods.handle(move |event| pod_gone(&adds, &known, event));
    let events = setup.events.teller("deployment-controller");
    let informers = vec![synced(&deployments), synced(&sets), synced(&pods)];
    let (client, clock) = (setup.client.clone(), setup.clock.clone());
    let controller = Deployments { client, clock, deployments, sets, pods, events };
    run(controller, queue, setup.options.workers, informers)
}

fn set_changed(queue: &WorkQueue<ObjectPath>, deployments: &Selecting, event: &Event<Stored>) {
    for set in event.before().into_iter().chain(event.after()) {
        if let Some(owner) = set.object.header().controller()
            && owner.kind == "Deployment"
        {
            queue.add(beside(event.path(), owner.name));
        }
    }
    let Some(orphan) = event.after().filter(|set| set.object.header().controller().is_none()) else { return };
    for deployment in deployments.may_select(event.path(), [orphan.object.header()]) {
        queue.add(deployment);
    }
}

/// A deployment that replaces all its pods at once waits for the last old one to be gone.
fn pod_gone(queue: &WorkQueue<ObjectPath>, sets: &Informer<Stored>, event: &Event<PodView>) {
    let Event::Removed { path, old } = event else { return };
    let Some(owner) = old.controller().filter(|owner| owner.kind == "ReplicaSet") else { return };
    if let Some(set) = sets.store().get(&beside(path, owner.name))
        && let Some(owner) = set.object.header().controller()
    {
        queue.add(beside(path, owner.name));
    }
}

impl Reconcile for Deployments {
    type Key = ObjectPath;
    const NAME: &'static str = "deployment";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(stored) = self.deployments.store().get(path) else { return Ok(Outcome::Done) };
        let deployment = Deployment::from_encoded(&stored.object, Some(stored.revision)).map_err(unreadable)?;
        if deployment.spec.selector.is_empty() {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.events.warning(&stored, "SelectingAll", message);
            return self.observe(&stored, &deployment).await;
        }
        let sets = self.claim(&stored, &deployment).await?;
        let bounds = Bounds::of(&deployment);
        let (new, old) = newest::split(&deployment, sets);
        let mut work = Work { stored: (*stored).clone(), deployment, bounds, new, old };
        if work.deployment.metadata.deletion_timestamp.is_some() {
            let status = status::counted(&work.deployment, work.new.as_ref(), &work.old(), self.clock.now());
            return self.write_status(&work, status).await;
        }
        if self.note_pause(&mut work).await? {
            return Ok(Outcome::After(Duration::ZERO));
        }
        if work.deployment.spec.paused || work.was_scaled() {
            return self.scale(&mut work).await;
        }
        if work.bounds.rolling { self.roll(&mut work).await } else { self.recreate(&mut work).await }
    }
}

impl Work {
    fn old(&self) -> Vec<&Set> {
        self.old.iter().collect()
    }

    fn all(&self) -> Vec<&Set> {
        self.old.iter().chain(&self.new).collect()
    }

    /// Whether the deployment's own number of replicas has changed since its replica sets were last sized.
    fn was_scaled(&self) -> bool {
        let differs = |set: &&Set| set.number(DESIRED).is_some_and(|desired| desired != self.bounds.replicas);
        self.all().iter().any(|set| set.replicas() > 0 && differs(set))
    }
}

impl Deployments {
    /// The replica sets of a deployment, after those that nobody manages were taken and others let go.
    async fn claim(&self, stored: &Stored, deployment: &Deployment) -> Result<Vec<Set>, Status> {
        let mut mine = Vec::new();
        let view = self.sets.store().view();
        let unmanaged = namespace_key(&stored.path);
        let owned = view.by(BY_OWNER, stored.object.header().uid()).chain(view.by(UNMANAGED, &unmanaged));
        let beside = |path: &ObjectPath| namespace_key(path) == unmanaged;
        let candidates: Vec<Arc<Stored>> = owned.filter(|(path, _)| beside(path)).map(|(_, set)| set.clone()).collect();
        let mut breath = Breath::default();
        for set in candidates {
            breath.after(set.object.tail_length()).await;
            match claim(stored, &deployment.spec.selector, set.object.header()) {
                Claim::Mine => mine.push(Set::read(&set)?),
                Claim::Adopt => {
                    if let Some(adopted) = adopt(&*self.client, &DEPLOYMENTS, stored, &REPLICA_SETS, &set).await? {
                        mine.push(Set::read(&adopted)?);
                    }
                }
                Claim::Release => disown(&*self.client, &REPLICA_SETS, &set, &[stored.object.header().uid()]).await?,
                Claim::NotMine => {}
            }
        }
        mine.sort_by(|one, other| (one.created(), one.name()).cmp(&(other.created(), other.name())));
        Ok(mine)
    }

    /// One step of a rolling update: the new grows as far as it may, then the old shrinks as far as it may.
    async fn roll(&self, work: &mut Work) -> Result<Outcome, Status> {
        self.make_newest(work).await?;
        let Some(new) = work.new.clone() else { return self.progress(work).await };
        let size = plan::new_size(work.bounds, new.replicas(), &work.all());
        if size != new.replicas() {
            work.new = Some(self.resize(work, &new, size).await?);
            return self.progress(work).await;
        }
        let sizes = plan::shrink_old(work.bounds, &new, &work.old());
        if self.resize_old(work, &sizes).await? {
            return self.progress(work).await;
        }
        self.finish(work).await
    }

    /// One step of a deployment that replaces all its pods at once.
    async fn recreate(&self, work: &mut Work) -> Result<Outcome, Status> {
        let nothing = vec![0; work.old.len()];
        if self.resize_old(work, &nothing).await? || self.old_pods_run(work) {
            return self.progress(work).await;
        }
        self.make_newest(work).await?;
        if let Some(new) = work.new.clone()
            && new.replicas() != work.bounds.replicas
        {
            work.new = Some(self.resize(work, &new, work.bounds.replicas).await?);
        }
        self.finish(work).await
    }

    /// Whether pods of an older template still run, or are still going.
    fn old_pods_run(&self, work: &Work) -> bool {
        let view = self.pods.store().view();
        work.old.iter().any(|set| view.by(BY_OWNER, set.uid()).any(|(_, pod)| !pod.is_finished()))
    }

    /// Sizes all replica sets after the deployment was scaled, or while it is paused.
    async fn scale(&self, work: &mut Work) -> Result<Outcome, Status> {
        let replicas = work.deployment.status.replicas;
        let sizes = plan::scale(work.bounds, replicas, work.new.as_ref(), &work.old());
        for (at, size) in sizes {
            if at < work.old.len() {
                let set = work.old[at].clone();
                work.old[at] = self.resize(work, &set, size).await?;
            } else if let Some(new) = work.new.clone() {
                work.new = Some(self.resize(work, &new, size).await?);
            }
        }
        if work.deployment.spec.paused {
            self.clean_up(work).await?;
        }
        let status = status::counted(&work.deployment, work.new.as_ref(), &work.old(), self.clock.now());
        self.write_status(work, status).await
    }

    async fn finish(&self, work: &mut Work) -> Result<Outcome, Status> {
        if status::is_complete(&work.deployment, &work.deployment.status) {
            self.clean_up(work).await?;
        }
        self.progress(work).await
    }

    async fn progress(&self, work: &Work) -> Result<Outcome, Status> {
        let status = status::rolling(&work.deployment, work.new.as_ref(), &work.old(), self.clock.now());
        self.write_status(work, status).await
    }

    /// Writes the status where it changed; otherwise comes back when the deadline for progress has passed.
    async fn write_status(&self, work: &Work, status: DeploymentStatus) -> Result<Outcome, Status> {
        if status != work.deployment.status {
            set_status(&*self.client, &DEPLOYMENTS.key(&work.stored.path), &work.stored, &status).await?;
            return Ok(Outcome::Done);
        }
        let left = status::time_left(&work.deployment, self.clock.now());
        Ok(match left.filter(|left| !left.is_zero() && !status::is_complete(&work.deployment, &status)) {
            Some(left) => Outcome::After(left + Duration::from_secs(1)),
            None => Outcome::Done,
        })
    }

    async fn observe(&self, stored: &Stored, deployment: &Deployment) -> Result<Outcome, Status> {
        if deployment.status.observed_generation < deployment.metadata.generation {
            let mut status = deployment.status.clone();
            status.observed_generation = deployment.metadata.generation;
            set_status(&*self.client, &DEPLOYMENTS.key(&stored.path), stored, &status).await?;
        }
        Ok(Outcome::Done)
    }

    /// Notes on the `Progressing` condition that the roll-out is held, or goes on: the deadline does not count while it
    /// is held. Says whether anything was written.
    async fn note_pause(&self, work: &mut Work) -> Result<bool, Status> {
        if status::deadline(&work.deployment).is_none() {
            return Ok(false);
        }
        let progressing = Condition::find(&work.deployment.status.conditions, "Progressing");
        let held = progressing.is_some_and(|condition| condition.reason == "DeploymentPaused");
        if progressing.is_some_and(|condition| condition.reason == "ProgressDeadlineExceeded") {
            return Ok(false);
        }
        let now = self.clock.now();
        let condition = match (work.deployment.spec.paused, held) {
            (true, false) => {
                status::condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now)
            }
            (false, true) => {
                status::condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now)
            }
            _ => return Ok(false),
        };
        let mut status = work.deployment.status.clone();
        status::set(&mut status.conditions, condition);
        let written = set_status(&*self.client, &DEPLOYMENTS.key(&work.stored.path), &work.stored, &status).await?;
        shown(&self.deployments, written.revision).await?;
        Ok(true)
    }

    async fn resize_old(&self, work: &mut Work, sizes: &[i32]) -> Result<bool, Status> {
        let mut changed = false;
        for (at, size) in sizes.iter().enumerate() {
            let set = work.old[at].clone();
            if set.replicas() != *size {
                work.old[at] = self.resize(work, &set, *size).await?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Gives a replica set its size, and notes on it what the deployment asked for.
    async fn resize(&self, work: &Work, set: &Set, size: i32) -> Result<Set, Status> {
        let before = set.replicas();
        let mut changed = set.clone();
        let noted = changed.note_bounds(work.bounds);
        if before == size && !noted {
            return Ok(changed);
        }
        changed.object.spec.replicas = Some(size);
        let written = self.write_set(&changed).await?;
        if before != size {
            let direction = if size > before { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {} from {before} to {size}", set.name());
            self.events.normal(&work.stored, "ScalingReplicaSet", message);
        }
        Ok(written)
    }

    async fn write_set(&self, set: &Set) -> Result<Set, Status> {
        let written = self.client.update(&REPLICA_SETS.key(&set.stored.path), None, set.to_write()?).await?;
        shown(&self.sets, written.revision).await?;
        Set::read(&written)
    }

    /// Deletes the oldest replica sets beyond those that are kept for going back.
    async fn clean_up(&self, work: &Work) -> Result<(), Status> {
        let Some(limit) = work.deployment.spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok())
        else {
            return Ok(());
        };
        let mut kept: Vec<&Set> =
            work.old.iter().filter(|set| set.object.metadata.deletion_timestamp.is_none()).collect();
        kept.sort_by_key(|set| (set.revision(), set.created()));
        let surplus = kept.len().saturating_sub(limit);
        for set in kept.into_iter().take(surplus) {
            let status = &set.object.status;
            let idle = status.replicas == 0 && set.replicas() == 0;
            if idle && set.object.metadata.generation <= status.observed_generation {
                delete(&*self.client, &REPLICA_SETS.key(&set.stored.path), set.uid(), None).await?;
            }
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Set {
    /// Notes what the deployment asks for, for scaling in proportion later. Says whether anything changed.
    fn note_bounds(&mut self, bounds: Bounds) -> bool {
        let annotations = &mut self.object.metadata.annotations;
        let mut changed = false;
        for (key, number) in [(DESIRED, bounds.replicas), (MAX, bounds.most())] {
            changed |= annotations.insert(key.to_owned(), number.to_string()) != Some(number.to_string());
        }
        changed
    }
}
