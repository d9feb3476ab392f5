//! What the workers tell: what came of the placements they were given.

use arktos_core::Timestamp;

use super::{MANAGER_PAUSE, Placement, SHADOW, SILENT_MAX, State};
use crate::claim::reaper::ClaimId;
use crate::hosts::ManagerId;
use crate::uid::Uid;

impl State {
    /// A resource manager refused a claim.
    pub(in super::super) fn refused(
        &mut self,
        manager: ManagerId,
        placement: &Placement,
        reason: &str,
        now: Timestamp,
    ) {
        let id: ClaimId = (manager, placement.request.name.as_str().into());
        let expected = self.claims.get(&id).is_some_and(|held| !held.shown);
        self.tally.refused += 1;
        self.displace(placement.pod.tenant(), &placement.request.pod_uid);
        if expected && let Some(held) = self.forget_claim(&id) {
            // The host is fuller than it looks here: let it look so until its claims have shown.
            self.pool.take_at(held.host, &held.usage);
            self.turn = self.turn.wrapping_add(1);
            self.shadows.insert((now.later(SHADOW), self.turn), (held.host, held.usage));
        }
        if reason == "Taken" {
            self.next_epoch(placement);
        }
        match reason {
            "Insufficient" => self.queue.again(&placement.pod),
            _ => self.queue.retry(&placement.pod, now),
        }
    }

    /// A resource manager did not answer: what became of the claims is unknown, and will show. One that is `silent` has
    /// kept a worker waiting: it is left alone for longer each time. One that refuses may be back at any moment.
    pub(in super::super) fn unanswered(
        &mut self,
        manager: ManagerId,
        placements: &[Placement],
        silent: bool,
        now: Timestamp,
    ) {
        // Several jobs find it out at once: that is once.
        if !self.paused.contains_key(&manager) {
            let times = self.silent.entry(manager).or_default();
            *times = if silent { (*times + 1).min(SILENT_MAX) } else { 0 };
            self.paused.insert(manager, now.later(MANAGER_PAUSE * (1 << *times)));
        }
        self.reach(manager);
        self.tally.unanswered += placements.len() as u64;
        for placement in placements {
            let id: ClaimId = (manager, placement.request.name.as_str().into());
            if self.claims.get(&id).is_some_and(|held| !held.shown) {
                self.forget_claim(&id);
            }
            self.displace(placement.pod.tenant(), &placement.request.pod_uid);
            self.queue.again(&placement.pod);
        }
    }

    /// A resource manager has answered.
    pub(in super::super) fn answered(&mut self, manager: ManagerId) {
        self.silent.remove(&manager);
    }

    /// A pod was bound.
    pub(in super::super) fn bound(&mut self, placement: &Placement, now: Timestamp) {
        let (seen, begun) = placement.since;
        self.tally.bound += 1;
        self.tally.attempts.add(now.since(begun));
        self.tally.pods.add(now.since(seen));
    }

    /// A bind failed, but its claim holds: the next attempt uses it.
    pub(in super::super) fn unbound(&mut self, manager: ManagerId, placement: &Placement, now: Timestamp) {
        self.tally.unbound += 1;
        let id: ClaimId = (manager, placement.request.name.as_str().into());
        if let Some(held) = self.claims.get_mut(&id) {
            held.shown = true; // it was accepted
        }
        self.queue.retry(&placement.pod, now);
    }

    /// A claim has ended without the pod being bound under it: the next attempt makes another.
    pub(in super::super) fn ended(&mut self, manager: ManagerId, placement: &Placement, now: Timestamp) {
        let id: ClaimId = (manager, placement.request.name.as_str().into());
        if self.claims.get(&id).is_some_and(|held| !held.shown) {
            self.forget_claim(&id);
        }
        self.displace(placement.pod.tenant(), &placement.request.pod_uid);
        self.next_epoch(placement);
        self.queue.retry(&placement.pod, now);
    }

    /// A pod is gone. Claims for it that were only expected weigh on no host any more: one that is there after all will
    /// show, and one that came and went while its resource manager was not heard of never will.
    pub(super) fn forget_expected(&mut self, uid: &str) {
        for id in self.own.get(&Uid::from(uid)).cloned().unwrap_or_default() {
            if self.claims.get(&id).is_some_and(|held| !held.shown) {
                self.forget_claim(&id);
            }
        }
    }

    fn next_epoch(&mut self, placement: &Placement) {
        if let Some(waiting) = self.pods.get_mut(&placement.pod) {
            waiting.epoch = waiting.epoch.max(placement.request.epoch + 1);
        }
    }
}
