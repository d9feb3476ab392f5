//! Gives claims back that are over: asks the [`Reaper`](crate::claim::Reaper) and tells the resource managers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{ClaimRequest, ClaimReview, KindOf, Pod};
use arktos_core::{ObjectKey, ObjectPath, Reason, Timestamp};
use arktos_store::{Client, Clock, Informer, Stored};
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::managers::Managers;
use super::state::State;
use super::work::post_in_time;
use crate::claim::fence::{Fence, Held};
use crate::claim::reaper::{ClaimId, Doubt};
use crate::hosts::ManagerId;

/// How often it looks, at least, and how long what did not work is left alone.
const PERIOD: Duration = Duration::from_secs(5);
/// How many claims are given back, or looked at, at once.
const BATCH: usize = 256;
/// How often fences are swept, in periods.
const SWEEP: u32 = 120;

/// The future that gives claims back. Run by the scheduler's owner.
pub(super) struct Reaping {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) wanted: Arc<Notify>,
    pub(super) pods: Informer<Stored>,
    pub(super) partition: Arc<dyn Client>,
    pub(super) managers: Managers,
    pub(super) fence: Arc<Fence>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Reaping {
    pub(super) async fn run(self) {
        if self.pods.synced().await.is_err() {
            return; // the informer was dropped, and so are we
        }
        let (mut periods, mut unseen) = (0u32, HashMap::new());
        loop {
            self.settle(&mut unseen).await;
            let clean = self.release().await;
            if periods % SWEEP == SWEEP - 1
                && let Err(status) = self.fence.sweep().await
            {
                tracing::debug!(%status, "old fences stay for now");
            }
            periods = periods.wrapping_add(1);
            let period = self.clock.sleep(PERIOD);
            if clean {
                let wanted = std::pin::pin!(self.wanted.notified());
                futures::future::select(wanted, period).await;
            } else {
                period.await;
            }
        }
    }

    /// Gives back what is over. Says whether all of it was.
    async fn release(&self) -> bool {
        let owed = self.state.lock().reaper.owed();
        let each = owed.into_iter().map(|manager| self.release_all_at(manager));
        join_all(each).await.into_iter().all(|clean| clean)
    }

    /// The same at one resource manager: whether it answers is no concern of the others.
    async fn release_all_at(&self, manager: ManagerId) -> bool {
        loop {
            let names = self.state.lock().reaper.over(manager, BATCH);
            if names.is_empty() {
                return true;
            }
            if self.release_at(manager, &names).await == 0 {
                return false;
            }
        }
    }

    /// Gives claims back at one resource manager. Says how many it took.
    async fn release_at(&self, manager: ManagerId, names: &[Arc<str>]) -> usize {
        let Some((_, client)) = self.managers.get(manager) else { return 0 };
        let mut review = ClaimReview::default();
        review.spec.partition = self.state.lock().partition.clone();
        review.spec.releases = names.iter().map(|name| name.as_ref().to_owned()).collect();
        let results = match post_in_time(&*client, &review, &*self.clock).await {
            Ok(answer) => answer.releases,
            Err(status) => {
                tracing::info!(manager, %status, "claims could not be given back yet");
                return 0;
            }
        };
        let mut released = 0;
        let mut state = self.state.lock();
        for result in results {
            if result.accepted {
                released += 1;
                state.claim_gone(manager, &result.name);
            } else {
                tracing::warn!(claim = result.name, result.message, "a claim could not be given back");
            }
        }
        released
    }

    /// Looks at claims in doubt. Where a pod was not seen, it may be about to be made, already on its host, in the very
    /// request that has claimed: so it is left alone for a period. `unseen`: those, since when.
    async fn settle(&self, unseen: &mut HashMap<ClaimId, Timestamp>) {
        let (doubtful, now) = (self.state.lock().reaper.doubtful(BATCH), self.clock.now());
        let there: HashSet<&ClaimId> = doubtful.iter().map(|(id, ..)| id).collect();
        unseen.retain(|id, _| there.contains(id));
        for (id, request, doubt) in doubtful {
            let over = match doubt {
                Doubt::Unseen if now.since(*unseen.entry(id.clone()).or_insert(now)) < PERIOD => false,
                Doubt::Unseen => self.is_gone(&id, &request).await,
                Doubt::Unbound => self.is_ended(&id, &request).await,
            };
            if over {
                self.state.lock().reaper.settle(&id);
            }
        }
    }

    /// Whether a pod that was never seen is not there: its newest state says so, not our not having seen it. It may yet
    /// be made: so the claim is fenced as well.
    async fn is_gone(&self, id: &ClaimId, request: &ClaimRequest) -> bool {
        let path = ObjectPath::new(&request.tenant, &request.namespace, &request.pod);
        let gone = match self.partition.get(&ObjectKey { resource: Pod::resource(), path }).await {
            Ok(stored) => *stored.object.header().uid() != *request.pod_uid,
            Err(status) => status.is(Reason::NotFound),
        };
        gone && self.is_ended(id, request).await
    }

    async fn is_ended(&self, id: &ClaimId, request: &ClaimRequest) -> bool {
        let Some((name, _)) = self.managers.get(id.0) else { return false };
        self.fence.end(&name, request).await.is_ok_and(|held| held == Held::Ended)
    }
}
