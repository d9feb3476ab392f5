//! The `daemonset` controller: a pod of one template on each host that fits, of all resource managers.
//!
//! ```text
//!  hosts ──change──► Judges (what each set asks of hosts) ──► the sets to which it matters ──► one look at a set:
//!                    Failures ─┐
//!  its pods, by host ──────────┴─► plan (made, deleted, rolled) ─► pods · history (ControllerRevisions) · status
//! ```
//!
//! Pods are made for a host by its name, in their node affinity, and bound by the scheduler as any.
//!
//! **Unreachable is not gone.** A host is unknown until its resource manager has said that it is there. Until all have
//! said so once ([`Options::hosts`](crate::Options)), pods whose host is unknown are left alone, and so are the counts
//! in the status. What a resource manager has said stays while it does not answer.

mod failures;
mod fits;
mod hosts;
mod plan;
mod status;
mod template;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arktos_core::typed::{DaemonSet, KindOf};
use arktos_core::{ObjectPath, Revision, Status};
use arktos_store::client::Patch;
use arktos_store::informer::Event;
use arktos_store::{Client, Clock, Informer, Outcome, Stored, WorkQueue};
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use self::failures::Failures;
use self::fits::{Judge, Judges, Verdict};
use self::hosts::{Changes, Host};
use self::plan::{Newest, Place, Plan};
use crate::breath::Breath;
use crate::events::Teller;
use crate::history::{self, Draft, History, Kept, REVISION};
use crate::kinds::{CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS};
use crate::owner::controller_reference;
use crate::pod::{Phase, PodView};
use crate::pods::{BURST, PodControl};
use crate::reconcile::{Reconcile, resting_queue, run, shown, synced};
use crate::replicaset::OwnWrites;
use crate::selecting::{self, Selecting};
use crate::setup::{Setup, beside};
use crate::write::{found, is_terminating, set_status, tree, unreadable};

pub(crate) struct DaemonSets {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    sets: Informer<Stored>,
    pods: Informer<PodView>,
    hosts: Informer<Host>,
    history: History,
    control: PodControl,
    events: Teller,
    own: Arc<OwnWrites>,
    failures: Failures,
    /// Whether the hosts of all resource managers are known. Set once.
    all_hosts: Arc<AtomicBool>,
}

/// A daemon set in hand.
struct Work {
    stored: Arc<Stored>,
    set: DaemonSet,
    template: Value,
    pods: Vec<Arc<PodView>>,
    /// The hosts that are known and that have, or are to have, a pod of it.
    places: Vec<Place>,
    /// Pods that were made for a host that is not there, and so will never be on one.
    lost: Vec<Arc<PodView>>,
    newest: Newest,
    /// The revisions of older templates, oldest first.
    old: Vec<Kept>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (sets, revisions) = (setup.informer(&DAEMON_SETS.resource), setup.informer(&CONTROLLER_REVISIONS.resource));
    let (pods, hosts) = (setup.pods(), setup.views::<Host>(&NODES.resource));
    let queue = resting_queue(&setup.clock, setup.options.rest);
    let (judges, changes, own) = (Judges::default(), Changes::default(), Arc::new(OwnWrites::default()));
    let (adds, kept, said) = (queue.clone(), judges.clone(), own.clone());
    sets.handle(move |event| {
        if !said.are_told_by(event) {
            kept.put(event);
            adds.add(event.path().clone());
        }
    });
    // One without a selector selects nothing.
    let selecting =
        Selecting::follow(&sets, |set: &Stored| selecting::selector(&set.object).filter(|it| !it.is_empty()));
    let (adds, selects) = (queue.clone(), selecting.clone());
    pods.handle(move |event| pod_changed(&adds, &selects, event));
    let adds = queue.clone();
    revisions.handle(move |event| revision_changed(&adds, &selecting, event));
    let noted = changes.clone();
    hosts.handle(move |event| noted.note(event));
    let telling = changes.tell(hosts.clone(), judges, queue.clone());
    let shown = setup.options.hosts.clone();
    let all_hosts = Arc::new(AtomicBool::new(shown.is_none()));
    let knowing = know_all(shown, hosts.clone(), sets.clone(), queue.clone(), all_hosts.clone());
    let informers = vec![synced(&sets), synced(&pods), synced(&revisions), synced(&hosts)];
    let events = setup.events.teller("daemonset-controller");
    let (client, clock) = (setup.client.clone(), setup.clock.clone());
    let control = PodControl::new(client.clone(), pods.clone(), events.clone());
    let history = History::new(client.clone(), &DAEMON_SETS, REVISION, revisions);
    let failures = Failures::default();
    let controller =
        DaemonSets { client, clock, sets, pods, hosts, history, control, events, own, failures, all_hosts };
    let work = run(controller, queue, setup.options.workers, informers);
    Box::pin(async move {
        futures::future::join3(work, telling, knowing).await;
    })
}

/// Queues the daemon sets that a change of a pod concerns: its manager, as it was and as it is, or whoever might take
/// it.
fn pod_changed(queue: &WorkQueue<ObjectPath>, sets: &Selecting, event: &Event<PodView>) {
    for pod in event.before().into_iter().chain(event.after()) {
        if let Some(owner) = pod.controller()
            && owner.kind == DAEMON_SETS.type_meta.kind
            && owner.api_version == DAEMON_SETS.type_meta.api_version
        {
            queue.add(beside(event.path(), owner.name));
        }
    }
    let Some(orphan) = event.after().filter(|pod| pod.controller().is_none() && !pod.is_terminating()) else { return };
    for set in sets.may_select(event.path(), [orphan.object().header()]) {
        queue.add(set);
    }
}

/// The same for a revision. A new one that has a manager was made by it.
fn revision_changed(queue: &WorkQueue<ObjectPath>, sets: &Selecting, event: &Event<Stored>) {
    let is_new = event.before().is_none();
    for revision in event.before().into_iter().chain(event.after()) {
        if let Some(owner) = revision.object.header().controller()
            && owner.kind == DAEMON_SETS.type_meta.kind
            && !is_new
        {
            queue.add(beside(event.path(), owner.name));
        }
    }
    let Some(orphan) = event.after().filter(|it| it.object.header().controller().is_none()) else { return };
    for set in sets.may_select(event.path(), [orphan.object.header()]) {
        queue.add(set);
    }
}

/// Waits until the hosts of all resource managers are known, and has all daemon sets looked at then.
async fn know_all(
    shown: Option<watch::Receiver<Option<Revision>>>,
    hosts: Informer<Host>,
    sets: Informer<Stored>,
    queue: WorkQueue<ObjectPath>,
    all_hosts: Arc<AtomicBool>,
) {
    let Some(mut shown) = shown else { return };
    let known = shown.wait_for(Option::is_some).await.ok().and_then(|revision| *revision);
    let Some(revision) = known else { return }; // nobody will say
    if hosts.reached(revision).await.is_err() {
        return;
    }
    all_hosts.store(true, Ordering::Release);
    for set in sets.store().list() {
        queue.add(set.path.clone());
    }
}

impl Reconcile for DaemonSets {
    type Key = ObjectPath;
    const NAME: &'static str = "daemonset";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        self.control.caught_up(path).await?;
        let Some(stored) = self.sets.store().get(path) else {
            self.failures.forget(path);
            return Ok(Outcome::Done);
        };
        let set = DaemonSet::from_encoded(&stored.object, None).map_err(unreadable)?;
        if set.spec.selector.is_empty() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.events.warning(&stored, "SelectingAll", message);
            return Ok(Outcome::Done);
        }
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done); // its history may be gone already
        }
        let all_hosts = self.all_hosts.load(Ordering::Acquire); // asked before they are listed
        let Some(work) = self.take_up(stored, set).await? else { return Ok(Outcome::After(Duration::ZERO)) };
        let acted = self.act(&work, all_hosts).await;
        let status = status::status(&work.set, &work.places, &work.newest);
        if all_hosts && status != work.set.status {
            self.own.note(&set_status(&*self.client, &DAEMON_SETS.key(path), &work.stored, &status).await?);
        }
        let now = self.clock.now();
        self.failures.tidy(path, now);
        let left = acted?;
        let due = work.pods.iter().filter_map(|pod| work.newest.becomes_available(pod)).min();
        let due = due.map(|due| due.since(now));
        Ok(left.into_iter().chain(due).min().map_or(Outcome::Done, Outcome::After))
    }
}

impl DaemonSets {
    /// Takes in what there is of a daemon set. Nothing where something had to be put right first.
    async fn take_up(&self, stored: Arc<Stored>, set: DaemonSet) -> Result<Option<Work>, Status> {
        let template = tree(&stored)?.at(&["spec", "template"]).cloned().unwrap_or_default();
        let pods = self.control.claim(&DAEMON_SETS, &stored, &set.spec.selector).await?;
        let Some((current, old)) = self.revisions(&stored, &set, &template, &pods).await? else { return Ok(None) };
        let newest = Newest::new(&set, current.hash(), self.clock.now());
        let (places, lost) = self.places(&Judge::of(&set), &pods).await;
        Ok(Some(Work { stored, set, template, pods, places, lost, newest, old }))
    }

    /// The revision of a set's template, made where it is not there yet, and those of older templates.
    async fn revisions(
        &self,
        stored: &Stored,
        set: &DaemonSet,
        template: &Value,
        pods: &[Arc<PodView>],
    ) -> Result<Option<(Kept, Vec<Kept>)>, Status> {
        let all = self.history.claim(stored, &set.spec.selector).await?;
        let data = history::data(template);
        let (mut same, old): (Vec<Kept>, Vec<Kept>) = all.into_iter().partition(|kept| kept.keeps(&data));
        let number = old.last().map_or(0, Kept::number).max(0).saturating_add(1);
        let Some(current) = same.pop() else {
            let made = self.make_revision(stored, set, template, number, data).await?;
            return Ok(Some((made, old)));
        };
        if !same.is_empty() {
            self.merge(&current, &same, pods).await?;
            return Ok(None);
        }
        if current.number() >= number {
            return Ok(Some((current, old)));
        }
        Ok(Some((self.history.renumber(&current, number).await?, old)))
    }

    async fn make_revision(
        &self,
        stored: &Stored,
        set: &DaemonSet,
        template: &Value,
        number: i64,
        data: Value,
    ) -> Result<Kept, Status> {
        let hash = crate::deployment::template::hash(template, set.status.collision_count);
        let map = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
        let labels: Map<String, Value> = map(template.pointer("/metadata/labels"));
        let annotations = map(tree(stored)?.at(&["metadata", "annotations"]));
        let name = format!("{}-{hash}", stored.path.name());
        if let Some(kept) = self.history.keep(stored, Draft { hash, number, labels, annotations, data }).await? {
            return Ok(kept);
        }
        // Another template has the name, and the two must be told apart from now on.
        let mut status = set.status.clone();
        status.collision_count = Some(status.collision_count.unwrap_or(0).wrapping_add(1));
        let written = set_status(&*self.client, &DAEMON_SETS.key(&stored.path), stored, &status).await?;
        shown(&self.sets, written.revision).await?;
        Err(Status::already_exists(&CONTROLLER_REVISIONS.resource, &name))
    }

    /// Makes one of several revisions of the same template: the pods of all of them become those of one.
    async fn merge(&self, current: &Kept, others: &[Kept], pods: &[Arc<PodView>]) -> Result<(), Status> {
        let hashes: HashSet<&str> = others.iter().map(Kept::hash).collect();
        for pod in pods {
            let is_theirs = pod.object().header().label(REVISION).is_some_and(|hash| hashes.contains(hash));
            if !is_theirs {
                continue;
            }
            let patch = Patch::Merge(json!({"metadata": {"labels": {REVISION: current.hash()}}}));
            if let Some(written) = found(self.client.patch(&PODS.key(&pod.stored.path), None, patch).await)? {
                shown(&self.pods, written.revision).await?;
            }
        }
        for other in others {
            self.history.remove(other).await?;
        }
        Ok(())
    }

    /// The hosts that matter, with the pods there, and the pods that were made for hosts that are not there.
    async fn places(&self, judge: &Judge, pods: &[Arc<PodView>]) -> (Vec<Place>, Vec<Arc<PodView>>) {
        let (mut by_host, mut breath) = (HashMap::<Box<str>, Vec<Arc<PodView>>>::new(), Breath::default());
        for pod in pods {
            breath.after(pod.weight()).await;
            if pod.is_terminating() && pod.is_finished() {
                continue; // somebody else lets it go
            }
            if let Some(host) = template::target(pod) {
                by_host.entry(host).or_default().push(pod.clone());
            }
        }
        let mut places = Vec::new();
        for host in self.hosts.store().list() {
            breath.after(judge.weight()).await;
            let (verdict, pods) = (judge.verdict(&host), by_host.remove(host.name()).unwrap_or_default());
            if verdict == Verdict::Run || !pods.is_empty() {
                places.push(Place { host: host.name().into(), verdict, pods });
            }
        }
        let unbound = |pod: &Arc<PodView>| pod.node.is_empty() && !pod.is_terminating();
        let mut lost: Vec<Arc<PodView>> = by_host.into_values().flatten().filter(unbound).collect();
        lost.sort_by(|one, other| one.name().cmp(other.name()));
        (places, lost)
    }

    /// Makes and deletes pods, and forgets old templates. Says when a failed pod is to be looked at again.
    async fn act(&self, work: &Work, all_hosts: bool) -> Result<Option<Duration>, Status> {
        let mut plan = plan::manage(&work.places, &work.newest);
        let left = self.see_to_ended(work, &mut plan);
        if all_hosts {
            plan.delete.extend(work.lost.iter().cloned());
        }
        if plan.is_empty() && work.newest.rolls() {
            plan = plan::roll(&work.places, &work.newest);
        }
        self.carry_out(work, plan).await?;
        self.clean_up(work).await?;
        Ok(left)
    }

    /// Has pods that have ended deleted, those that failed not too often. Says how long the next one is left.
    fn see_to_ended(&self, work: &Work, plan: &mut Plan) -> Option<Duration> {
        let (now, observed) = (self.clock.now(), work.set.status.observed_generation);
        let mut left: Option<Duration> = None;
        for (host, pod) in std::mem::take(&mut plan.ended) {
            let who = format!("daemon pod {}/{} on node {host}", pod.stored.path.namespace(), pod.name());
            if pod.phase == Phase::Failed {
                if let Some(wait) = self.failures.wait(&work.stored, observed, &host, now) {
                    left = Some(left.map_or(wait, |left| left.min(wait)));
                    continue;
                }
                let message = format!("Found failed {who}, will try to kill it");
                self.events.warning(&work.stored, "FailedDaemonPod", message);
            } else {
                let message = format!("Found succeeded {who}, will try to delete it");
                self.events.normal(&work.stored, "SucceededDaemonPod", message);
            }
            plan.delete.push(pod);
        }
        left
    }

    async fn carry_out(&self, work: &Work, plan: Plan) -> Result<(), Status> {
        let mut failure = None;
        if !plan.create.is_empty() {
            let owner = controller_reference(&DAEMON_SETS, &work.stored);
            let draft = template::draft(&work.set, &work.template, &owner, work.newest.hash());
            let pods = plan.create.into_iter().take(BURST).map(move |host| {
                let mut pod = draft.clone();
                template::bind(&mut pod, &host);
                pod
            });
            let (made, failed) = self.control.create(&work.stored, pods).await;
            tracing::debug!(path = %work.stored.path, made, "pods were made");
            failure = failed.filter(|failed| !is_terminating(failed));
        }
        let doomed = &plan.delete[..plan.delete.len().min(BURST)];
        let failed = self.control.delete(&work.stored, doomed).await;
        failure.or(failed).map_or(Ok(()), Err)
    }

    /// Deletes the oldest revisions beyond those that are kept for going back. Those of pods that are there stay.
    async fn clean_up(&self, work: &Work) -> Result<(), Status> {
        let limit = work.set.spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok());
        let Some(surplus) = limit.and_then(|limit| work.old.len().checked_sub(limit)) else { return Ok(()) };
        let live: HashSet<&str> = work.pods.iter().filter_map(|pod| pod.object().header().label(REVISION)).collect();
        let idle = work.old.iter().filter(|kept| !live.contains(kept.hash()));
        for kept in idle.take(surplus).collect::<Vec<_>>() {
            self.history.remove(kept).await?;
        }
        Ok(())
    }
}
