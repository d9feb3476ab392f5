//! Hosts that are no more. Who deletes a host says that its pods are gone.
//!
//! That there is no such host is taken from the resource manager's own store alone, and counts when it is still so
//! after a while: a host that registers anew in between keeps its pods.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::catalog::Catalog;
use arktos_core::typed::Condition;
use arktos_core::{Object, ObjectPath, Status, Timestamp};
use arktos_store::client::DeleteOptions;
use arktos_store::{Client, Clock, Outcome, Query, Stored, WorkQueue};
use parking_lot::Mutex;
use serde_json::json;

use super::listening::Listening;
use super::{LOOK_AGAIN, Nodes, visits};
use crate::kinds::{NODES, PODS};
use crate::write::{amend, found};

/// How long a host must be missing.
const QUARANTINE: Duration = Duration::from_secs(40);
/// How long after the start pods are looked for whose host went while nobody looked: they are shown here by then. Those
/// of a partition that was away come later: so they are looked for again, half as often each time, down to this.
const FIRST_LOOK: Duration = Duration::from_secs(60);
const LOOKS: Duration = Duration::from_secs(3600);

/// Since when hosts are missing.
pub(super) struct Missing {
    since: Mutex<HashMap<ObjectPath, Timestamp>>,
    listening: Listening,
}

impl Missing {
    pub(super) fn new(listening: Listening) -> Self {
        Self { since: Mutex::default(), listening }
    }

    /// For how long a host could have registered anew and has not.
    fn for_how_long(&self, host: &ObjectPath, now: Timestamp) -> Duration {
        let since = *self.since.lock().entry(host.clone()).or_insert(now);
        now.since(since.max(self.listening.since(now)))
    }

    /// It is there again, or its pods are gone.
    pub(super) fn forget(&self, host: &ObjectPath) {
        self.since.lock().remove(host);
    }
}

/// Looks now and then for hosts that pods are bound to here, and that are not there. Never ends.
pub(super) async fn look(client: Arc<dyn Client>, clock: Arc<dyn Clock>, queue: WorkQueue<ObjectPath>) {
    let kind = Catalog::builtin().storage(&PODS.resource);
    let Some(place) = kind.and_then(|kind| kind.field("spec.nodeName")) else { return };
    let mut pause = FIRST_LOOK;
    loop {
        clock.sleep(pause).await;
        match absent(&*client, place).await {
            Ok(hosts) => {
                for host in hosts {
                    queue.add(host);
                }
                pause = LOOKS.min(pause * 2);
            }
            Err(status) => tracing::debug!(%status, "pods of hosts that are gone cannot be looked for yet"),
        }
    }
}

async fn absent(client: &dyn Client, place: usize) -> Result<BTreeSet<ObjectPath>, Status> {
    let hosts = client.list(&Query::everywhere(NODES.resource.clone())).await?;
    let there: HashSet<&str> = hosts.items.iter().map(|host| host.path.name()).collect();
    let pods = client.list(&Query::everywhere(PODS.resource.clone())).await?;
    let named = pods.items.iter().map(|pod| pod.object.header().field(place));
    let absent = named.filter(|host| !host.is_empty() && !there.contains(host));
    Ok(absent.map(|host| ObjectPath::new("", "", host)).collect())
}

impl Nodes {
    /// Sees to the pods of a host that is not there, in all partitions.
    pub(super) async fn leave(&self, host: &ObjectPath) -> Result<Outcome, Status> {
        let missing = self.missing.for_how_long(host, self.clock.now());
        if let Some(wait) = QUARANTINE.checked_sub(missing).filter(|wait| !wait.is_zero()) {
            return Ok(Outcome::After(wait));
        }
        let visits = self.rounds.each(host.name(), |client, pods| self.remove(client, host.name(), pods)).await;
        let mut again = false;
        for (partition, removed) in visits {
            if let Err(status) = removed {
                tracing::debug!(partition, %status, "the pods of a deleted host could not be removed");
                again = true;
            }
        }
        if again {
            return Ok(Outcome::After(LOOK_AGAIN));
        }
        self.missing.forget(host);
        Ok(Outcome::Done)
    }

    async fn remove(&self, client: Arc<dyn Client>, host: &str, pods: Vec<Stored>) -> Result<(), Status> {
        let pods = pods.iter().filter(|pod| self.was_bound_here(pod)).collect();
        let remove = |pod| self.remove_one(&*client, host, pod);
        visits::each(&*self.clock, pods, remove).await.failure.map_or(Ok(()), Err)
    }

    async fn remove_one(&self, client: &dyn Client, host: &str, pod: &Stored) -> Result<Option<Timestamp>, Status> {
        if found(self.client.get(&NODES.key(&ObjectPath::new("", "", host))).await)?.is_some() {
            return Ok(None); // it is back, and keeps what is left
        }
        let (key, uid) = (PODS.key(&pod.path), pod.object.header().uid());
        let now = self.clock.now();
        amend(client, &key, Some("status"), |object| object.uid() == uid && fail(object, now)).await?;
        found(client.delete(&key, DeleteOptions::default().uid(uid).grace_period_seconds(0)).await)?;
        Ok(None)
    }

    /// Whether a pod was bound to a host of this resource manager: of nobody else's is it known here that it is gone.
    fn was_bound_here(&self, pod: &Stored) -> bool {
        let (ours, its) = (&self.resource_manager, pod.object.header().note("resource-manager"));
        ours.is_none() || its == ours.as_deref()
    }
}

/// Notes on a pod that has not ended what became of it.
fn fail(pod: &mut Object, now: Timestamp) -> bool {
    if matches!(pod.str_at(&["status", "phase"]), "Succeeded" | "Failed") {
        return false;
    }
    let conditions = pod.at(&["status", "conditions"]).cloned().unwrap_or_default();
    let mut conditions: Vec<Condition> = serde_json::from_value(conditions).unwrap_or_default();
    let target = Condition {
        reason: "DeletionByPodGC".to_owned(),
        message: "PodGC: node no longer exists".to_owned(),
        last_transition_time: Some(now),
        observed_generation: pod.int_at(&["metadata", "generation"]).unwrap_or(0),
        ..Condition::new("DisruptionTarget", "True")
    };
    target.set(&mut conditions);
    pod.set(&["status", "conditions"], json!(conditions));
    pod.set(&["status", "phase"], "Failed");
    true
}
