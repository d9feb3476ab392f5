//! The partition's side: gives claims back whose pods are gone, have finished, or are bound elsewhere.
//!
//! A plain state machine: told of every pod of the partition and of every claim in its name, it says which claims are
//! over. **Absence counts only when it is certain**: a claim whose pod was never seen is in doubt until a read of the
//! pod's newest state has settled it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arktos_core::ObjectPath;
use arktos_core::typed::ClaimRequest;
use smallvec::SmallVec;

use crate::hosts::ManagerId;
use crate::uid::Uid;

/// Which claim: its resource manager and its name.
pub type ClaimId = (ManagerId, Arc<str>);

/// The claims of a pod: hardly ever more than one.
pub(crate) type ClaimIds = SmallVec<[ClaimId; 1]>;

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
    pods: HashMap<Uid, PodFate>,
    claims: HashMap<ClaimId, Claimed>,
    by_pod: HashMap<Uid, ClaimIds>,
    over: BTreeSet<ClaimId>,
    doubtful: BTreeSet<ClaimId>,
}

/// What a doubt about a claim is settled by.
#[derive(Debug)]
struct Claimed {
    pod: ObjectPath,
    uid: Uid,
    epoch: i64,
}

impl Reaper {
    /// A pod is there, as `fate` says.
    pub fn pod(&mut self, uid: &str, fate: PodFate) {
        let uid = Uid::from(uid);
        for id in self.by_pod.get(&uid).cloned().unwrap_or_default() {
            self.judge(&id, Some(&fate));
        }
        self.pods.insert(uid, fate);
    }

    /// A pod that was there is gone. Its uid never comes back.
    pub fn pod_gone(&mut self, uid: &str) {
        let uid = Uid::from(uid);
        let seen = self.pods.remove(&uid).is_some();
        for id in self.by_pod.get(&uid).cloned().unwrap_or_default() {
            self.doubtful.remove(&id);
            if seen {
                self.over.insert(id)
            } else {
                self.doubtful.insert(id)
            };
        }
    }

    /// A claim of this partition, for a pod of this uid, is there.
    pub fn claim(&mut self, id: ClaimId, pod: ObjectPath, uid: &str, epoch: i64) {
        let uid = Uid::from(uid);
        let ids = self.by_pod.entry(uid.clone()).or_default();
        if !ids.contains(&id) {
            ids.push(id.clone());
        }
        let fate = self.pods.get(&uid).cloned();
        self.claims.insert(id.clone(), Claimed { pod, uid, epoch });
        self.judge(&id, fate.as_ref());
    }

    /// A claim is there no longer.
    pub fn claim_gone(&mut self, id: &ClaimId) {
        self.over.remove(id);
        self.doubtful.remove(id);
        let Some(claimed) = self.claims.remove(id) else { return };
        if let Some(ids) = self.by_pod.get_mut(&claimed.uid) {
            ids.retain(|known| known != id);
            if ids.is_empty() {
                self.by_pod.remove(&claimed.uid);
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

    /// The resource managers at which claims are over.
    #[must_use]
    pub fn owed(&self) -> Vec<ManagerId> {
        let mut managers = Vec::new();
        let mut next = self.over.first();
        while let Some((manager, _)) = next {
            managers.push(*manager);
            let after = manager.checked_add(1).map(|after| (after, Arc::from("")));
            next = after.and_then(|after| self.over.range(after..).next());
        }
        managers
    }

    /// Claims at a resource manager that are over, at most so many. They are given again until they are gone.
    #[must_use]
    pub fn over(&self, manager: ManagerId, most: usize) -> Vec<Arc<str>> {
        let own = self.over.range((manager, Arc::from(""))..).take_while(|(of, _)| *of == manager);
        own.take(most).map(|(_, name)| name.clone()).collect()
    }

    /// Claims that are in doubt, at most so many, with what a [`Fence`](super::Fence) asks of them: not what they take.
    #[must_use]
    pub fn doubtful(&self, most: usize) -> Vec<(ClaimId, ClaimRequest, Doubt)> {
        let ids = self.doubtful.iter().take(most);
        let found = ids.filter_map(|id| Some((id, self.claims.get(id)?)));
        let doubt = |(id, claimed): (&ClaimId, &Claimed)| {
            let doubt = if self.pods.contains_key(&claimed.uid) { Doubt::Unbound } else { Doubt::Unseen };
            (id.clone(), claimed.request(&id.1), doubt)
        };
        found.map(doubt).collect()
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

    fn judge(&mut self, id: &ClaimId, fate: Option<&PodFate>) {
        self.doubtful.remove(id);
        let Some(fate) = fate else {
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

impl Claimed {
    fn request(&self, name: &str) -> ClaimRequest {
        let (tenant, namespace, pod) = self.pod.parts();
        ClaimRequest {
            name: name.to_owned(),
            tenant: tenant.to_owned(),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            pod_uid: self.uid.to_string(),
            epoch: self.epoch,
            ..ClaimRequest::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(manager: ManagerId, name: &str) -> ClaimId {
        (manager, name.into())
    }

    fn web() -> ObjectPath {
        ObjectPath::new("acme", "default", "web")
    }

    fn request(name: &str, uid: &str) -> ClaimRequest {
        Claimed { pod: web(), uid: uid.into(), epoch: 3 }.request(name)
    }

    fn fate(finished: bool, bound: Option<ClaimId>) -> PodFate {
        PodFate { finished, bound }
    }

    fn over(reaper: &Reaper) -> Vec<ClaimId> {
        let at = |manager: ManagerId| reaper.over(manager, 9).into_iter().map(move |name| (manager, name));
        reaper.owed().into_iter().flat_map(at).collect()
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
            reaper.claim(id(0, "c"), web(), "u", 3);
            assert!(reaper.is_idle());
            match end.clone() {
                Some(fate) => reaper.pod("u", fate),
                None => reaper.pod_gone("u"),
            }
            assert_eq!(self::over(&reaper), if over { vec![id(0, "c")] } else { vec![] }, "{end:?}");
            reaper.claim_gone(&id(0, "c"));
            assert!(reaper.is_idle());
        }
    }

    #[test]
    fn a_pod_that_was_never_seen_is_not_gone() {
        let mut reaper = Reaper::default();
        reaper.claim(id(0, "c"), web(), "u", 3);
        assert_eq!(over(&reaper), []);
        assert_eq!(reaper.doubtful(9), [(id(0, "c"), request("c", "u"), Doubt::Unseen)]);
        reaper.pod("u", fate(false, None));
        assert!(reaper.is_idle(), "seen at last, and it waits");
        reaper.claim(id(0, "d"), web(), "v", 3);
        reaper.settle(&id(0, "d"));
        assert_eq!(over(&reaper), [id(0, "d")]);
    }

    #[test]
    fn what_is_over_at_one_resource_manager_keeps_nothing_of_the_others_back() {
        let mut reaper = Reaper::default();
        for (manager, name) in [(0, "a"), (0, "b"), (0, "c"), (7, "d"), (ManagerId::MAX, "e")] {
            reaper.claim(id(manager, name), web(), "u", 3);
        }
        reaper.pod("u", fate(true, Some(id(0, "x"))));
        assert_eq!(reaper.owed(), [0, 7, ManagerId::MAX]);
        assert_eq!(reaper.over(0, 2), ["a".into(), "b".into()]);
        assert_eq!((reaper.over(7, 2), reaper.over(1, 2)), (vec!["d".into()], vec![]));
        assert_eq!(reaper.over(ManagerId::MAX, 2), ["e".into()]);
    }

    #[test]
    fn a_pod_that_finished_unbound_is_fenced_first() {
        let mut reaper = Reaper::default();
        reaper.pod("u", fate(true, None));
        reaper.claim(id(0, "c"), web(), "u", 3);
        assert_eq!(
            (over(&reaper), reaper.doubtful(9)),
            (vec![], vec![(id(0, "c"), request("c", "u"), Doubt::Unbound)])
        );
    }
}
