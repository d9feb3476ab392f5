//! The `disruption` controller: says in each disruption budget how many of its pods may be evicted now. The API takes
//! off what it grants (`status.disruptedPods`) until this controller has seen it happen.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{
    Condition, Deployment, IntOrString, KindOf, PodDisruptionBudget, PodDisruptionBudgetStatus, ReplicaSet,
    ReplicationController,
};
use arktos_core::{ObjectPath, OwnerRef, Status, Timestamp};
use arktos_store::{Client, Clock, Informer, Outcome, Stored};
use futures::future::BoxFuture;
use serde::Deserialize;

use crate::breath::Breath;
use crate::events::Teller;
use crate::kinds::{DEPLOYMENTS, POD_DISRUPTION_BUDGETS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS};
use crate::pod::PodView;
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::selecting::{self, Selecting};
use crate::setup::{Setup, beside, namespace_of};
use crate::write::{set_status, unreadable};

/// How long after its eviction was granted a pod must be seen to go; then the grant is void.
const GRANTED_FOR: Duration = Duration::from_secs(120);

pub(crate) struct Disruption {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    budgets: Informer<Stored>,
    pods: Informer<PodView>,
    deployments: Informer<Stored>,
    /// Replica sets, replication controllers, stateful sets: kind, group version, objects.
    holders: Vec<(&'static str, &'static str, Informer<Stored>)>,
    events: Teller,
}

/// What a budget's pods come to.
struct Count {
    expected: i32,
    desired: i32,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (budgets, pods) = (setup.informer(&POD_DISRUPTION_BUDGETS.resource), setup.pods());
    let deployments = setup.informer(&DEPLOYMENTS.resource);
    let mut holders = Vec::new();
    for (kind, version, resource) in [
        ("ReplicaSet", "apps/v1", &REPLICA_SETS),
        ("ReplicationController", "v1", &REPLICATION_CONTROLLERS),
        ("StatefulSet", "apps/v1", &STATEFUL_SETS),
    ] {
        holders.push((kind, version, setup.informer(&resource.resource)));
    }
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    budgets.handle(move |event| {
        adds.add(event.path().clone());
    });
    let selecting = Selecting::follow(&budgets, |budget: &Stored| selecting::selector(&budget.object));
    let adds = queue.clone();
    pods.handle(move |event| {
        let states = event.before().into_iter().chain(event.after()).map(|pod| pod.object().header());
        for budget in selecting.may_select(event.path(), states) {
            adds.add(budget);
        }
    });
    let mut informers = vec![synced(&budgets), synced(&pods), synced(&deployments)];
    for informer in holders.iter().map(|(_, _, informer)| informer).chain([&deployments]) {
        let (adds, known) = (queue.clone(), budgets.clone());
        informer.handle(move |event| {
            // How many pods there are to be may have changed. Budgets are few.
            for budget in known.store().within(&namespace_of(event.path())) {
                adds.add(budget.path.clone());
            }
        });
        informers.push(synced(informer));
    }
    let events = setup.events.teller("controllermanager");
    let (client, clock) = (setup.client.clone(), setup.clock.clone());
    let controller = Disruption { client, clock, budgets, pods, deployments, holders, events };
    run(controller, queue, setup.options.workers, informers)
}

fn is_about(budget: &PodDisruptionBudget, pod: &PodView) -> bool {
    budget.spec.selector.as_ref().is_some_and(|selector| selector.matches_header(pod.object().header()))
}

impl Reconcile for Disruption {
    type Key = ObjectPath;
    const NAME: &'static str = "disruption";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(stored) = self.budgets.store().get(path) else { return Ok(Outcome::Done) };
        let budget = PodDisruptionBudget::from_encoded(&stored.object, None).map_err(unreadable)?;
        if budget.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        let all = self.pods.store().within(&namespace_of(path));
        let (mut pods, mut breath) = (Vec::new(), Breath::default());
        for pod in all {
            breath.after(pod.weight()).await;
            if is_about(&budget, &pod) {
                pods.push(pod);
            }
        }
        if pods.is_empty() {
            self.events.normal(&stored, "NoPods", "No matching pods found");
        }
        let now = self.clock.now();
        let (granted, again) = still_granted(&budget, &pods, now);
        let mut status = budget.status.clone();
        match self.count(&stored, &budget, &pods).await {
            Ok(count) => {
                let healthy =
                    |pod: &Arc<PodView>| !pod.is_terminating() && !granted.contains_key(pod.name()) && pod.is_ready();
                let healthy = size(pods.iter().filter(|pod| healthy(pod)).count());
                write(&mut status, &budget, &count, healthy, now);
                status.disrupted_pods = granted;
            }
            Err(why) => {
                self.events.warning(&stored, "CalculateExpectedPodCountFailed", why.clone());
                status.disruptions_allowed = 0;
                say(&mut status, &budget, ("False", "SyncFailed", &why), now);
            }
        }
        if status != budget.status {
            set_status(&*self.client, &POD_DISRUPTION_BUDGETS.key(path), &stored, &status).await?;
        }
        Ok(again.map_or(Outcome::Done, Outcome::After))
    }
}

/// The evictions that were granted and that are not seen to have happened; and when to look at them again.
fn still_granted(
    budget: &PodDisruptionBudget,
    pods: &[Arc<PodView>],
    now: Timestamp,
) -> (BTreeMap<String, Timestamp>, Option<Duration>) {
    let mut granted = BTreeMap::new();
    let mut again: Option<Duration> = None;
    for pod in pods.iter().filter(|pod| !pod.is_terminating()) {
        let Some(since) = budget.status.disrupted_pods.get(pod.name()) else { continue };
        let left = GRANTED_FOR.saturating_sub(now.since(*since));
        if !left.is_zero() {
            granted.insert(pod.name().to_owned(), *since);
            again = Some(again.map_or(left, |again| again.min(left)));
        }
    }
    (granted, again)
}

fn write(
    status: &mut PodDisruptionBudgetStatus,
    budget: &PodDisruptionBudget,
    count: &Count,
    healthy: i32,
    now: Timestamp,
) {
    let spare = healthy.saturating_sub(count.desired);
    status.disruptions_allowed = if count.expected <= 0 { 0 } else { spare.max(0) };
    status.current_healthy = healthy;
    status.desired_healthy = count.desired;
    status.expected_pods = count.expected;
    status.observed_generation = budget.metadata.generation;
    let said = match status.disruptions_allowed > 0 {
        true => ("True", "SufficientPods", ""),
        false => ("False", "InsufficientPods", ""),
    };
    say(status, budget, said, now);
}

fn say(status: &mut PodDisruptionBudgetStatus, budget: &PodDisruptionBudget, said: (&str, &str, &str), now: Timestamp) {
    let condition = Condition {
        reason: said.1.to_owned(),
        message: said.2.to_owned(),
        last_transition_time: Some(now),
        observed_generation: budget.metadata.generation,
        ..Condition::new("DisruptionAllowed", said.0)
    };
    condition.set(&mut status.conditions);
}

impl Disruption {
    /// How many pods there are to be, and how many of them must be healthy.
    async fn count(
        &self,
        stored: &Stored,
        budget: &PodDisruptionBudget,
        pods: &[Arc<PodView>],
    ) -> Result<Count, String> {
        let spec = &budget.spec;
        let scaled = |value: &IntOrString, total: i32| {
            value.scaled(total, true).ok_or_else(|| "invalid value for IntOrString".to_owned())
        };
        if let Some(value) = &spec.max_unavailable {
            let expected = self.expected(stored, pods).await?;
            let spare = scaled(value, expected)?;
            return Ok(Count { expected, desired: expected.saturating_sub(spare).max(0) });
        }
        match &spec.min_available {
            Some(IntOrString::Int(number)) => Ok(Count { expected: size(pods.len()), desired: *number }),
            Some(value) => {
                let expected = self.expected(stored, pods).await?;
                Ok(Count { expected, desired: scaled(value, expected)? })
            }
            None => Ok(Count { expected: size(pods.len()), desired: 0 }),
        }
    }

    /// How many pods the managers of these pods want, all together.
    async fn expected(&self, stored: &Stored, pods: &[Arc<PodView>]) -> Result<i32, String> {
        let mut scales: HashMap<String, i32> = HashMap::new();
        let (mut unmanaged, mut breath) = (Vec::new(), Breath::default());
        for pod in pods {
            let Some(owner) = pod.controller() else {
                unmanaged.push(pod.name());
                continue;
            };
            if scales.contains_key(owner.uid) {
                continue;
            }
            breath.after(self.weight(&pod.stored.path, &owner)).await;
            let (uid, scale) = self
                .scale(&pod.stored.path, &owner)
                .ok_or_else(|| format!("found no controllers for pod {:?}", pod.name()))?;
            scales.insert(uid, scale);
        }
        if !unmanaged.is_empty() {
            let text = format!(
                "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the \
                 status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account \
                 for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
                unmanaged.join(", ")
            );
            self.events.warning(stored, "UnmanagedPods", text);
        }
        Ok(scales.values().fold(0, |sum: i32, scale| sum.saturating_add(*scale)))
    }

    /// How much there is to read of a manager.
    fn weight(&self, pod: &ObjectPath, owner: &OwnerRef<'_>) -> usize {
        let path = beside(pod, owner.name);
        let found = self.holders.iter().find(|(kind, ..)| *kind == owner.kind).and_then(|it| it.2.store().get(&path));
        found.map_or(0, |found| found.object.tail_length())
    }

    /// How many pods a manager wants, and whose word that is: a replica set's deployment speaks for it.
    fn scale(&self, pod: &ObjectPath, owner: &OwnerRef<'_>) -> Option<(String, i32)> {
        let holder =
            self.holders.iter().find(|(kind, version, _)| *kind == owner.kind && *version == owner.api_version)?;
        let stored = holder.2.store().get(&beside(pod, owner.name))?;
        if stored.object.header().uid() != owner.uid {
            return None;
        }
        if let Some(deployment) = stored.object.header().controller().filter(|it| it.kind == "Deployment") {
            let found = self.deployments.store().get(&beside(pod, deployment.name))?;
            let wanted = Deployment::from_encoded(&found.object, None).ok()?.spec.replicas.unwrap_or(1);
            return (found.object.header().uid() == deployment.uid).then(|| (deployment.uid.to_owned(), wanted));
        }
        let wanted = match holder.0 {
            "ReplicaSet" => ReplicaSet::from_encoded(&stored.object, None).ok()?.spec.replicas,
            "ReplicationController" => ReplicationController::from_encoded(&stored.object, None).ok()?.spec.replicas,
            _ => stored.object.parse::<Scaled>().ok()?.spec.replicas,
        };
        Some((owner.uid.to_owned(), wanted.unwrap_or(1)))
    }
}

/// A kind of which no more is known than how many pods it wants.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Scaled {
    spec: ScaledSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ScaledSpec {
    replicas: Option<i32>,
}

fn size(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
