//! The `nodelifecycle` controller of a resource manager: hosts that fall silent are marked, kept free of new pods, and
//! their pods are told to leave, each in the partition it belongs to. Pods of a host that was deleted are removed.
//!
//! **Unreachable is not gone.** A host counts as silent only when the API itself gave complete lists, pass after
//! pass, in which it was not heard of. A partition that does not answer loses nothing: its pods are looked at when it
//! does. Nor does it hold up what is done in the others ([`rounds`]). The time for which the resource manager itself
//! was away counts for nothing, either.

mod gone;
mod listening;
mod monitor;
mod rounds;
pub(crate) mod taints;
mod visits;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{Condition, KindOf, Node, Pod, Taint};
use arktos_core::{Object, ObjectPath, Status, Timestamp};
use arktos_store::{Client, Clock, Outcome, Roster, Stored};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use self::gone::Missing;
use self::listening::Listening;
use self::monitor::Monitor;
use self::rounds::Rounds;
use self::taints::{Readiness, keep_away, leaves_at, readiness, set_taints};
use self::visits::Seen;
use crate::events::tell_once;
use crate::kinds::{NODES, PODS};
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::setup::Setup;
use crate::write::{amend, delete, found, unreadable};

/// How often the pods of a host that drives them out are looked for anew: some may have been bound meanwhile, and
/// some be in a partition that did not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

pub(crate) struct Nodes {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    rounds: Rounds,
    resource_manager: Option<String>,
    listening: Listening,
    missing: Missing,
    undated: Undated,
}

/// Since when taints are seen that make pods go and do not say since when they are there, by host. Written by the
/// worker that has the host.
#[derive(Default)]
struct Undated(Mutex<HashMap<ObjectPath, Vec<(Taint, Timestamp)>>>);

impl Undated {
    /// Notes on such taints of a host since when they are seen.
    fn date(&self, host: &ObjectPath, node: &mut Node, now: Timestamp) {
        let mut seen = self.0.lock();
        let (known, mut kept) = (seen.remove(host).unwrap_or_default(), Vec::new());
        let all = node.spec.taints.iter_mut();
        for taint in all.filter(|taint| taint.effect == "NoExecute" && taint.time_added.is_none()) {
            let since = known.iter().find(|(one, _)| *one == *taint).map_or(now, |(_, since)| *since);
            kept.push((taint.clone(), since));
            taint.time_added = Some(since);
        }
        if !kept.is_empty() {
            seen.insert(host.clone(), kept);
        }
    }

    fn forget(&self, host: &ObjectPath) {
        self.0.lock().remove(host);
    }
}

pub(crate) fn start(setup: &mut Setup, partitions: Roster) -> BoxFuture<'static, ()> {
    let nodes = setup.informer(&NODES.resource);
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    nodes.handle(move |event| {
        adds.add(event.path().clone());
    });
    let (client, clock, listening) = (setup.client.clone(), setup.clock.clone(), Listening::default());
    let monitor = Monitor {
        client: client.clone(),
        clock: clock.clone(),
        events: setup.events.teller("node-controller"),
        grace: setup.options.node_monitor_grace_period,
        heard: HashMap::new(),
        next_eviction: HashMap::new(),
        listening: listening.clone(),
    };
    let resource_manager = setup.options.resource_manager.clone();
    let look = gone::look(client.clone(), clock.clone(), queue.clone());
    let missing = Missing::new(listening.clone());
    let rounds = Rounds::new(partitions, clock.clone());
    let undated = Undated::default();
    let controller = Nodes { client, clock, rounds, resource_manager, listening, missing, undated };
    let work = run(controller, queue, setup.options.workers, vec![synced(&nodes)]);
    Box::pin(async move {
        futures::future::join3(work, monitor.run(), look).await;
    })
}

impl Reconcile for Nodes {
    type Key = ObjectPath;
    const NAME: &'static str = "nodelifecycle";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let key = NODES.key(path);
        let now = self.clock.now();
        amend(&*self.client, &key, None, |object| {
            let Ok(mut node) = Node::from_object(object) else { return false };
            let changed = keep_away(&mut node, now);
            set_taints(object, &node);
            changed
        })
        .await?;
        let Some(stored) = found(self.client.get(&key).await)? else {
            self.undated.forget(path);
            return self.leave(path).await;
        };
        self.missing.forget(path);
        let mut node = Node::from_encoded(&stored.object, None).map_err(unreadable)?;
        self.undated.date(path, &mut node, now);
        let silent =
            readiness(&node) != Readiness::Ready && Condition::find(&node.status.conditions, "Ready").is_some();
        let drives_out = node.spec.taints.iter().any(|taint| taint.effect == "NoExecute");
        if !silent && !drives_out {
            return Ok(Outcome::Done);
        }
        let visits = self.rounds.each(path.name(), |client, pods| self.visit(client, pods, &node, silent)).await;
        let (mut next, mut again) = (None, false);
        for (partition, seen) in visits {
            let failure = match seen {
                Ok(seen) => {
                    next = next.into_iter().chain(seen.next).min();
                    seen.failure
                }
                Err(status) => Some(status),
            };
            if let Some(status) = failure {
                tracing::debug!(partition, %status, "a pod of a silent host could not be seen to");
                again = true;
            }
        }
        if !drives_out && !again {
            return Ok(Outcome::Done);
        }
        let wait = next.map_or(LOOK_AGAIN, |due: Timestamp| due.since(self.clock.now()).min(LOOK_AGAIN));
        Ok(Outcome::After(wait.max(Duration::from_secs(1))))
    }
}

impl Nodes {
    /// Sees to the pods of a host in one partition; says when the next one must leave.
    async fn visit(
        &self,
        client: Arc<dyn Client>,
        pods: Vec<Stored>,
        node: &Node,
        silent: bool,
    ) -> Result<Seen, Status> {
        let pods = pods.iter().filter(|pod| self.is_ours(pod)).collect();
        let now = self.clock.now();
        let since = self.listening.since(now);
        let see_to = |stored| see_to(&*client, node, silent, stored, (since, now));
        Ok(visits::each(&*self.clock, pods, see_to).await)
    }

    /// Whether a pod is bound to a host of this resource manager, and not to one of the same name elsewhere.
    fn is_ours(&self, pod: &Stored) -> bool {
        let (ours, its) = (&self.resource_manager, pod.object.header().note("resource-manager"));
        ours.is_none() || its.is_none() || its == ours.as_deref()
    }
}

/// Sees to a pod; says when it must leave, if it must and need not yet.
async fn see_to(
    client: &dyn Client,
    node: &Node,
    silent: bool,
    stored: &Stored,
    (since, now): (Timestamp, Timestamp),
) -> Result<Option<Timestamp>, Status> {
    let pod = Pod::from_encoded(&stored.object, None).map_err(unreadable)?;
    let marked = match silent && Condition::is_true(&pod.status.conditions, "Ready") {
        true => mark_not_ready(client, stored, now).await,
        false => Ok(()),
    };
    if pod.metadata.deletion_timestamp.is_some() || pod.status.is_finished() {
        return marked.map(|()| None);
    }
    let scheduled = Condition::find(&pod.status.conditions, "PodScheduled").filter(|it| it.status == "True");
    let there = scheduled.and_then(|it| it.last_transition_time).or(pod.metadata.creation_timestamp);
    match leaves_at(&node.spec.taints, &pod.spec.tolerations, (since, there.unwrap_or_default()), now) {
        Some(due) if due <= now => evict(client, stored, now).await.and(marked.map(|()| None)),
        due => marked.map(|()| due),
    }
}

/// Notes on a pod that it is not ready, as its host is not.
async fn mark_not_ready(client: &dyn Client, pod: &Stored, now: Timestamp) -> Result<(), Status> {
    set_condition(client, pod, |conditions, _| {
        let ready = conditions.iter_mut().find(|condition| condition.kind == "Ready" && condition.status == "True");
        let Some(ready) = ready else { return false };
        ready.status = "False".to_owned();
        ready.last_transition_time = Some(now);
        true
    })
    .await
}

/// Deletes a pod that may no longer stay on its host.
async fn evict(client: &dyn Client, pod: &Stored, now: Timestamp) -> Result<(), Status> {
    let (namespace, name) = (pod.path.namespace(), pod.path.name());
    let message = format!("Marking for deletion Pod {namespace}/{name}");
    tell_once(client, now, "taint-eviction-controller", pod, "TaintManagerEviction", message).await;
    set_condition(client, pod, |conditions, generation| {
        let target = Condition {
            reason: "DeletionByTaintManager".to_owned(),
            message: "Taint manager: deleting due to NoExecute taint".to_owned(),
            last_transition_time: Some(now),
            observed_generation: generation,
            ..Condition::new("DisruptionTarget", "True")
        };
        target.set(conditions)
    })
    .await?;
    delete(client, &PODS.key(&pod.path), pod.object.header().uid(), None).await
}

/// Changes what is said of a pod, whose generation `edit` is told as well.
async fn set_condition(
    client: &dyn Client,
    pod: &Stored,
    mut edit: impl FnMut(&mut Vec<Condition>, i64) -> bool + Send,
) -> Result<(), Status> {
    let uid = pod.object.header().uid();
    amend(client, &PODS.key(&pod.path), Some("status"), |object: &mut Object| {
        let Ok(mut pod) = Pod::from_object(object) else { return false };
        let changed = edit(&mut pod.status.conditions, pod.metadata.generation);
        object.set(&["status", "conditions"], serde_json::json!(pod.status.conditions));
        changed && object.uid() == uid
    })
    .await
    .map(drop)
}
