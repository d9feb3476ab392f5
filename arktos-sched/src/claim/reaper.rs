//! The partition's side: gives claims back whose pods are gone, have finished, or are bound elsewhere.
//!
//! A plain state machine: told of every pod of the partition and of every claim in its name, it says which claims are
//! over. **Absence counts only when it is certain**: a claim whose pod was never seen is in doubt until a read of the
//! pod's newest state has settled it.

use std::collections::{BTreeSet, HashMap};

use arktos_core::typed::ClaimRequest;

use crate::hosts::ManagerId;

/// Which claim: its resource manager and its name.
pub type ClaimId = (ManagerId, Box<str>);

/// What is known of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFate {
    /// Whether it has finished.
    pub finished: bool,
    /// The claim it is bound under, if it is bound under one.
    pub bound: Option<ClaimId>,
}

/// Why a claim is not simply kept or given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Its pod was never seen: it may be gone, or be yet to be seen.
    Unseen,
    /// Its pod has finished without being bound under it: it must be fenced first.
    Unbound,
}

/// Finds claims of a partition that are over. Written by the handlers of its informers, and by whoever settles doubts.
#[derive(Debug, Default)]
pub struct Reaper {
    pods: HashMap<Box<str>, PodFate>,
    claims: HashMap<ClaimId, ClaimRequest>,
    by_pod: HashMap<Box<str>, BTreeSet<ClaimId>>,
    over: BTreeSet<ClaimId>,
    doubtful: BTreeSet<ClaimId>,
}

impl Reaper {
    /// A pod is there, as `fate` says.
    pub fn pod(&mut self, uid: &str, fate: PodFate) {
        match self.pods.get_mut(uid) {
            Some(known) => *known = fate,
            None => drop(self.pods.insert(uid.into(), fate)),
        }
        self.judge_all(uid);
    }

    /// A pod that was there is gone. Its uid never comes back.
    pub fn pod_gone(&mut self, uid: &str) {
        let seen = self.pods.remove(uid).is_some();
        for id in self.by_pod.get(uid).cloned().unwrap_or_default() {
            self.doubtful.remove(&id);
            if seen {
                self.over.insert(id)
            } else {
                self.doubtful.insert(id)
            };
        }
    }

    /// A claim of this partition is there.
    pub fn claim(&mut self, id: ClaimId, request: ClaimRequest) {
        let uid: Box<str> = request.pod_uid.as_str().into();
        self.by_pod.entry(uid).or_default().insert(id.clone());
        self.claims.insert(id.clone(), request);
        self.judge(&id);
    }

    /// A claim is there no longer.
    pub fn claim_gone(&mut self, id: &ClaimId) {
        self.over.remove(id);
        self.doubtful.remove(id);
        let Some(request) = self.claims.remove(id) else { return };
        if let Some(ids) = self.by_pod.get_mut(&*request.pod_uid) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_pod.remove(&*request.pod_uid);
            }
        }
    }

    /// A resource manager was removed, and all claims on its hosts with it.
    pub fn manager_gone(&mut self, manager: ManagerId) {
        let ids: Vec<ClaimId> = self.claims.keys().filter(|(of, _)| *of == manager).cloned().collect();
        for id in &ids {
            self.claim_gone(id);
        }
    }

    /// Claims that are over, at most so many. They are given again until they are gone.
    #[must_use]
    pub fn over(&self, most: usize) -> Vec<ClaimId> {
        self.over.iter().take(most).cloned().collect()
    }

    /// Claims that are in doubt, at most so many.
    #[must_use]
    pub fn doubtful(&self, most: usize) -> Vec<(ClaimId, ClaimRequest, Doubt)> {
        let doubt = |request: &ClaimRequest| match self.pods.get(&*request.pod_uid) {
            Some(_) => Doubt::Unbound,
            None => Doubt::Unseen,
        };
        let ids = self.doubtful.iter().take(most);
        ids.filter_map(|id| self.claims.get(id).map(|request| (id.clone(), request.clone(), doubt(request)))).collect()
    }

    /// A doubt was settled: the claim is over for good.
    pub fn settle(&mut self, id: &ClaimId) {
        if self.claims.contains_key(id) && self.doubtful.remove(id) {
            self.over.insert(id.clone());
        }
    }

    /// Whether there is anything to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.over.is_empty() && self.doubtful.is_empty()
    }

    fn judge_all(&mut self, uid: &str) {
        let Some(ids) = self.by_pod.get_mut(uid).map(std::mem::take) else { return };
        for id in &ids {
            self.judge(id);
        }
        if let Some(place) = self.by_pod.get_mut(uid) {
            *place = ids;
        }
    }

    fn judge(&mut self, id: &ClaimId) {
        let Some(request) = self.claims.get(id) else { return };
        self.doubtful.remove(id);
        let Some(fate) = self.pods.get(&*request.pod_uid) else {
            if !self.over.contains(id) {
                self.doubtful.insert(id.clone());
            }
            return;
        };
        match &fate.bound {
            Some(bound) if bound == id && !fate.finished => {}
            Some(_) => {
                self.over.insert(id.clone()); // bound elsewhere, or finished: a binding is final
            }
            None if fate.finished => {
                self.doubtful.insert(id.clone());
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(manager: ManagerId, name: &str) -> ClaimId {
        (manager, name.into())
    }

    fn of(uid: &str) -> ClaimRequest {
        ClaimRequest { pod_uid: uid.to_owned(), ..ClaimRequest::default() }
    }

    fn fate(finished: bool, bound: Option<ClaimId>) -> PodFate {
        PodFate { finished, bound }
    }

    #[test]
    fn a_claim_is_over_when_its_pod_is_gone_has_finished_or_is_bound_elsewhere() {
        for (end, over) in [
            (Some(fate(false, None)), false),
            (Some(fate(false, Some(id(0, "c")))), false),
            (Some(fate(false, Some(id(1, "c")))), true),
            (Some(fate(false, Some(id(0, "c.1")))), true),
            (Some(fate(true, Some(id(0, "c")))), true),
            (None, true),
        ] {
            let mut reaper = Reaper::default();
            reaper.pod("u", fate(false, None));
            reaper.claim(id(0, "c"), of("u"));
            assert!(reaper.is_idle());
            match end.clone() {
                Some(fate) => reaper.pod("u", fate),
                None => reaper.pod_gone("u"),
            }
            assert_eq!(reaper.over(9), if over { vec![id(0, "c")] } else { vec![] }, "{end:?}");
            reaper.claim_gone(&id(0, "c"));
            assert!(reaper.is_idle());
        }
    }

    #[test]
    fn a_pod_that_was_never_seen_is_not_gone() {
        let mut reaper = Reaper::default();
        reaper.claim(id(0, "c"), of("u"));
        assert_eq!(reaper.over(9), []);
        assert_eq!(reaper.doubtful(9), [(id(0, "c"), of("u"), Doubt::Unseen)]);
        reaper.pod("u", fate(false, None));
        assert!(reaper.is_idle(), "seen at last, and it waits");
        reaper.claim(id(0, "d"), of("v"));
        reaper.settle(&id(0, "d"));
        assert_eq!(reaper.over(9), [id(0, "d")]);
    }

    #[test]
    fn a_pod_that_finished_unbound_is_fenced_first() {
        let mut reaper = Reaper::default();
        reaper.pod("u", fate(true, None));
        reaper.claim(id(0, "c"), of("u"));
        assert_eq!((reaper.over(9), reaper.doubtful(9)), (vec![], vec![(id(0, "c"), of("u"), Doubt::Unbound)]));
    }
}
