//! A stateful set in hand: which pods it has and is to have, what a new one looks like, what its status says.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{StatefulSet, StatefulSetStatus};
use arktos_core::{Object, Timestamp};
use arktos_store::{Outcome, Stored};

use super::identity::{self, Volume};
use super::revisions::Versions;
use crate::kinds::STATEFUL_SETS;
use crate::owner::controller_reference;
use crate::pod::{Phase, PodView};
use crate::pods::from_template;

pub(super) struct Work {
    pub(super) stored: Arc<Stored>,
    pub(super) set: StatefulSet,
    /// The pods whose numbers are wanted.
    pub(super) replicas: BTreeMap<i64, Arc<PodView>>,
    /// The other pods, those of the highest numbers first.
    pub(super) condemned: Vec<(i64, Arc<PodView>)>,
    /// The templates that pods are made from.
    pub(super) versions: Versions,
    pub(super) now: Timestamp,
}

impl Work {
    pub(super) fn new(
        stored: Arc<Stored>,
        set: StatefulSet,
        pods: Vec<(i64, Arc<PodView>)>,
        versions: Versions,
        now: Timestamp,
    ) -> Self {
        let mut work = Self { stored, set, replicas: BTreeMap::new(), condemned: Vec::new(), versions, now };
        let wanted = work.wanted();
        for (ordinal, pod) in pods {
            if wanted.contains(&ordinal) {
                work.replicas.insert(ordinal, pod);
            } else {
                work.condemned.push((ordinal, pod));
            }
        }
        work.condemned.sort_by_key(|(ordinal, _)| Reverse(*ordinal));
        work
    }

    pub(super) fn name(&self) -> &str {
        self.stored.path.name()
    }

    fn count(&self) -> i32 {
        self.set.spec.replicas.unwrap_or(1).max(0)
    }

    fn first(&self) -> i64 {
        self.set.spec.ordinals.as_ref().map_or(0, |range| range.start.into())
    }

    /// The numbers of the pods that there are to be.
    pub(super) fn wanted(&self) -> Range<i64> {
        self.first()..self.first() + i64::from(self.count())
    }

    /// Whether pods are made and deleted without waiting for each other.
    pub(super) fn is_parallel(&self) -> bool {
        self.set.spec.pod_management_policy == "Parallel"
    }

    /// Whether pods keep their template until somebody deletes them.
    pub(super) fn is_on_delete(&self) -> bool {
        self.set.spec.update_strategy.kind == "OnDelete"
    }

    /// How many pods keep the template before the newest, if the set says so.
    fn partition(&self) -> Option<i64> {
        let update = self.set.spec.update_strategy.rolling_update.as_ref()?;
        Some(update.partition.unwrap_or(0).into())
    }

    /// The numbers of the pods that are to have the newest template.
    pub(super) fn updated(&self) -> Range<i64> {
        let wanted = self.wanted();
        wanted.start + self.partition().unwrap_or(0)..wanted.end
    }

    /// Whether a new pod of a number is made from the template before the newest.
    fn is_held_back(&self, ordinal: i64) -> bool {
        let held = match self.partition() {
            Some(partition) => partition,
            None if self.is_on_delete() => 0,
            None => self.set.status.current_replicas.into(),
        };
        ordinal < self.first() + held
    }

    pub(super) fn pod_name(&self, ordinal: i64) -> String {
        format!("{}-{ordinal}", self.name())
    }

    /// What looking at a pod takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        256 * (1 + self.set.spec.volume_claim_templates.len())
    }

    /// The volumes of the claims of a number's pod.
    pub(super) fn volumes(&self, ordinal: i64) -> Vec<Volume> {
        let names = self.set.spec.volume_claim_templates.iter();
        let names = names.map(|template| template["metadata"]["name"].as_str().unwrap_or_default());
        let volume = |name: &str| Volume { name: name.to_owned(), claim: format!("{name}-{}-{ordinal}", self.name()) };
        names.map(volume).collect()
    }

    /// A new pod of a number.
    pub(super) fn draft(&self, ordinal: i64) -> Object {
        let version = if self.is_held_back(ordinal) { &self.versions.current } else { &self.versions.update };
        let owner = controller_reference(&STATEFUL_SETS, &self.stored);
        let mut pod = from_template(version.template(), self.name(), &owner);
        let name = self.pod_name(ordinal);
        pod.set(&["metadata", "name"], name.as_str());
        identity::label(&mut pod, &name, ordinal);
        identity::note_revision(&mut pod, &version.name);
        pod.set(&["spec", "hostname"], name);
        match self.set.spec.service_name.as_str() {
            "" => drop(pod.remove(&["spec", "subdomain"])),
            service => pod.set(&["spec", "subdomain"], service),
        }
        identity::put_volumes(&mut pod, &self.volumes(ordinal));
        pod
    }

    /// All its pods.
    pub(super) fn pods(&self) -> impl Iterator<Item = &Arc<PodView>> {
        self.replicas.values().chain(self.condemned.iter().map(|(_, pod)| pod))
    }

    fn min_ready_seconds(&self) -> u32 {
        u32::try_from(self.set.spec.min_ready_seconds).unwrap_or(0)
    }

    /// Whether a pod has been ready for long enough.
    pub(super) fn is_available(&self, pod: &PodView) -> bool {
        match self.min_ready_seconds() {
            0 => pod.is_ready(),
            wait => pod.available_at(wait).is_some_and(|available| available <= self.now),
        }
    }

    /// The status, after so many pods of the template before the newest were deleted for the sake of the newest.
    pub(super) fn status(&self, sent_away: i32) -> StatefulSetStatus {
        let count = |holds: &dyn Fn(&PodView) -> bool| {
            i32::try_from(self.pods().filter(|pod| holds(pod)).count()).unwrap_or(i32::MAX)
        };
        let (current, update) = (&self.versions.current.name, &self.versions.update.name);
        let made_from = |name: &str| count(&|pod| !pod.is_terminating() && identity::revision(pod) == name);
        let mut status = self.set.status.clone();
        status.observed_generation = self.set.metadata.generation;
        status.replicas = count(&|_| true);
        status.ready_replicas = count(&is_running_and_ready);
        status.available_replicas = count(&|pod| is_running_and_ready(pod) && self.is_available(pod));
        status.current_replicas = made_from(current).saturating_sub(sent_away).max(0);
        status.updated_replicas = made_from(update);
        status.current_revision.clone_from(current);
        status.update_revision.clone_from(update);
        status.collision_count = Some(self.versions.collisions);
        let all = [status.replicas, status.ready_replicas, status.updated_replicas];
        if !self.is_on_delete() && all == [self.count(); 3] {
            status.current_replicas = status.updated_replicas;
            status.current_revision.clone_from(&status.update_revision);
        }
        status
    }

    /// When to look again because a pod that is ready will have been for long enough.
    pub(super) fn next_look(&self, status: &StatefulSetStatus) -> Outcome {
        let wait = self.min_ready_seconds();
        if wait == 0 || status.ready_replicas == status.available_replicas {
            return Outcome::Done;
        }
        let moments = self.pods().filter_map(|pod| pod.available_at(wait)).filter(|moment| *moment > self.now);
        let next = moments.min().map(|moment| moment.since(self.now));
        Outcome::After(next.unwrap_or(Duration::from_secs(wait.into())))
    }
}

/// Whether a pod runs and is ready.
pub(super) fn is_running_and_ready(pod: &PodView) -> bool {
    pod.phase == Phase::Running && pod.is_ready()
}
