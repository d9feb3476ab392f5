//! Pods and their neighbours: required pod affinity and anti-affinity, and hard topology spread, as counters per (term,
//! topology domain).
//!
//! A *term* says which pods of one tenant count, and which label of hosts makes a domain. Each term keeps how many such
//! pods every domain has, and, as bits, the hosts of the domains that have any. A bind changes one counter of each term
//! that it concerns; a search reads the bits.

mod spread;
mod term;

use std::collections::{BTreeMap, HashMap};

use arktos_core::Encoded;
use arktos_core::typed::PodSpec;

use self::spread::{Spread, SpreadSpec};
use self::term::{Term, TermSpec, together};
use crate::ask::Ask;
use crate::hosts::{HostId, ManagerId};
use crate::plugin::Reason;
use crate::pool::Pool;
use crate::set::HostSet;
use crate::uid::Uid;

/// What a pod cannot ask for yet, in words for its owner.
pub use self::term::Unsupported;

type TermId = u32;
type SpreadId = u32;

/// How many terms and spreads of a tenant are kept that no pod uses.
const IDLE_MAX: usize = 64;

/// What a pod asks of its neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    near: Vec<TermId>,
    far: Vec<TermId>,
    spread: Vec<SpreadId>,
    /// Whether the pod is such as it wants near, so that the first of its kind may go anywhere.
    likes_itself: bool,
}

impl Wishes {
    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.near.is_empty() && self.far.is_empty() && self.spread.is_empty()
    }
}

/// The pods that are on hosts, and the counters over them. Written by the scheduler's state, after the pool.
#[derive(Debug, Default)]
pub struct Neighbours {
    tenants: HashMap<Box<str>, Tenant>,
    /// The state of the hosts' labels that the counters were made for.
    version: u64,
}

/// Everything about neighbours stays inside a tenant.
#[derive(Debug, Default)]
struct Tenant {
    pods: HashMap<Uid, Placed>,
    terms: BTreeMap<TermId, Term>,
    spreads: BTreeMap<SpreadId, Spread>,
    last: u32,
}

/// A pod on a host.
#[derive(Debug, Clone)]
struct Placed {
    namespace: Box<str>,
    object: Encoded,
    manager: ManagerId,
    node: Box<str>,
    /// The terms of its own that keep others away.
    far: Vec<TermId>,
}

/// The hosts that neighbours leave to a pod.
#[derive(Debug, Default)]
pub struct Left<'a> {
    /// Hosts it must be among, of each.
    pub allowed: Vec<&'a HostSet>,
    /// Hosts it must not be among, of any, and why.
    pub denied: Vec<(&'a HostSet, &'static str)>,
}

const NEAR: &str = "node(s) didn't match pod affinity rules";
const FAR: &str = "node(s) didn't match pod anti-affinity rules";
const HELD: &str = "node(s) didn't satisfy existing pods anti-affinity rules";
const SPREAD: &str = "node(s) didn't match pod topology spread constraints";
const OUTSIDE: &str = "node(s) didn't match pod topology spread constraints (missing required label)";

impl Left<'_> {
    /// Whether neighbours leave every host.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.allowed.is_empty() && self.denied.is_empty()
    }

    /// Why a host is not left, if it is not: the first reason in the order in which upstream looks.
    #[must_use]
    pub fn reason(&self, host: HostId) -> Option<Reason> {
        let denied = |early: bool| {
            let mut those = self.denied.iter().filter(|(_, reason)| early == reason.starts_with(SPREAD));
            those.find(|(set, _)| set.contains(host)).map(|(_, reason)| *reason)
        };
        let outside = || self.allowed.iter().any(|set| !set.contains(host)).then_some(NEAR);
        denied(true).or_else(outside).or_else(|| denied(false)).map(Into::into)
    }
}

impl Neighbours {
    /// Takes in what a waiting pod asks of its neighbours. What it gives back is to be [dropped](Self::forget_wishes).
    ///
    /// # Errors
    /// What of it cannot be done yet.
    pub fn wishes(
        &mut self,
        pool: &mut Pool,
        at: (&str, &str),
        object: &Encoded,
        spec: &PodSpec,
        ask: &Ask,
    ) -> Result<Wishes, Unsupported> {
        let (tenant, namespace) = at;
        let affinity = &spec.affinity;
        let mut read = |terms: &[arktos_core::typed::PodAffinityTerm]| -> Result<Vec<TermSpec>, Unsupported> {
            terms.iter().map(|term| TermSpec::new(term, namespace, object, pool.words_mut())).collect()
        };
        let near = together(read(&affinity.pod_affinity.required_during_scheduling_ignored_during_execution)?);
        let far = read(&affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution)?;
        let hard = spec.topology_spread_constraints.iter().filter(|one| one.when_unsatisfiable != "ScheduleAnyway");
        let hard: Vec<_> = hard.collect();
        let new = |one: &&_| SpreadSpec::new(one, &hard, (namespace, object), ask, pool.words_mut());
        let spread: Vec<SpreadSpec> = hard.iter().map(new).collect();
        if near.is_empty() && far.is_empty() && spread.is_empty() {
            return Ok(Wishes::default());
        }
        self.refresh(pool);
        let likes_itself = !near.is_empty() && near.iter().all(|term| term.counts(namespace, object));
        let tenant = self.tenants.entry(tenant.into()).or_default();
        let near = near.into_iter().map(|term| tenant.use_term(term, pool)).collect();
        let far = far.into_iter().map(|term| tenant.use_term(term, pool)).collect();
        let spread = spread.into_iter().map(|spread| tenant.use_spread(spread, pool)).collect();
        Ok(Wishes { near, far, spread, likes_itself })
    }

    /// A pod that had wishes waits no longer.
    pub fn forget_wishes(&mut self, tenant: &str, wishes: &Wishes) {
        let Some(tenant) = self.tenants.get_mut(tenant) else { return };
        for id in wishes.near.iter().chain(&wishes.far) {
            tenant.leave_term(*id);
        }
        for id in &wishes.spread {
            if let Some(spread) = tenant.spreads.get_mut(id) {
                spread.users = spread.users.saturating_sub(1);
            }
        }
        tenant.tidy();
    }

    /// A pod is on a host. `spec` is given where it may ask for other pods to stay away. Says whether that is news.
    pub fn place(
        &mut self,
        pool: &mut Pool,
        at: (&str, &str),
        object: &Encoded,
        host: (ManagerId, &str),
        spec: Option<&PodSpec>,
    ) -> bool {
        if self.knows(at.0, object, host) {
            return false;
        }
        let keeps_away = spec.map(|spec| &spec.affinity.pod_anti_affinity);
        let terms = keeps_away.map_or(&[][..], |one| &one.required_during_scheduling_ignored_during_execution);
        let read = |term| TermSpec::new(term, at.1, object, pool.words_mut()).ok();
        let specs: Vec<TermSpec> = terms.iter().filter_map(read).collect();
        self.refresh(pool);
        let tenant = self.tenants.entry(at.0.into()).or_default();
        let far = specs.into_iter().map(|term| tenant.use_term(term, pool)).collect();
        self.put(pool, at, object, host, far);
        true
    }

    /// A waiting pod is about to be on a host.
    pub fn expect(
        &mut self,
        pool: &Pool,
        at: (&str, &str),
        object: &Encoded,
        host: (ManagerId, &str),
        wishes: &Wishes,
    ) {
        if self.knows(at.0, object, host) {
            return;
        }
        if let Some(tenant) = self.tenants.get_mut(at.0) {
            for id in &wishes.far {
                tenant.terms.entry(*id).and_modify(|term| term.users += 1);
            }
        }
        self.put(pool, at, object, host, wishes.far.clone());
    }

    /// A pod is on no host any more. Says whether it was on one.
    pub fn displace(&mut self, pool: &Pool, tenant: &str, uid: &str) -> bool {
        self.refresh(pool);
        let Some(tenant) = self.tenants.get_mut(tenant) else { return false };
        let Some(placed) = tenant.pods.remove(&Uid::from(uid)) else { return false };
        tenant.count(&placed, pool, -1);
        for id in &placed.far {
            tenant.leave_term(*id);
        }
        tenant.tidy();
        true
    }

    /// The hosts that neighbours leave to a waiting pod.
    pub fn left(&mut self, pool: &Pool, at: (&str, &str), object: &Encoded, wishes: &Wishes) -> Left<'_> {
        self.refresh(pool);
        let mut left = Left::default();
        let Some(tenant) = self.tenants.get_mut(at.0) else { return left };
        for id in &wishes.spread {
            if let Some(spread) = tenant.spreads.get_mut(id) {
                spread.settle();
            }
        }
        let tenant = &*tenant;
        let spreads = wishes.spread.iter().filter_map(|id| tenant.spreads.get(id));
        left.denied.extend(spreads.flat_map(|spread| [(&spread.outside, OUTSIDE), (&spread.denied, SPREAD)]));
        let near = || wishes.near.iter().filter_map(|id| tenant.terms.get(id));
        let first = wishes.likes_itself && near().all(|term| term.total == 0);
        left.allowed.extend(near().map(|term| if first { &term.labelled } else { &term.present }));
        let far = wishes.far.iter().filter_map(|id| tenant.terms.get(id));
        left.denied.extend(far.map(|term| (&term.present, FAR)));
        let held = tenant.terms.values().filter(|term| term.holds_any() && term.spec.counts(at.1, object));
        left.denied.extend(held.map(|term| (&term.held, HELD)));
        left
    }

    /// Whether a tenant's pods have any wishes that a change of neighbours could fulfil or spoil.
    #[must_use]
    pub fn concern(&self, tenant: &str) -> bool {
        self.tenants.get(tenant).is_some_and(|tenant| !tenant.terms.is_empty() || !tenant.spreads.is_empty())
    }

    /// Whether a pod is known to be on a host, with these labels. Its newest state is kept: an older one would stay in
    /// memory for nothing.
    fn knows(&mut self, tenant: &str, object: &Encoded, host: (ManagerId, &str)) -> bool {
        let uid = Uid::from(object.header().uid());
        let placed = self.tenants.get_mut(tenant).and_then(|tenant| tenant.pods.get_mut(&uid));
        placed.is_some_and(|placed| {
            let labels = placed.object.header().labels() == object.header().labels();
            let known = labels && placed.manager == host.0 && *placed.node == *host.1;
            if known {
                placed.object = object.clone();
            }
            known
        })
    }

    fn put(&mut self, pool: &Pool, at: (&str, &str), object: &Encoded, host: (ManagerId, &str), far: Vec<TermId>) {
        self.displace(pool, at.0, object.header().uid());
        let tenant = self.tenants.entry(at.0.into()).or_default();
        let (namespace, object) = (at.1.into(), object.clone());
        let placed = Placed { namespace, object, manager: host.0, node: host.1.into(), far };
        tenant.count(&placed, pool, 1);
        tenant.pods.insert(placed.object.header().uid().into(), placed);
    }

    /// Makes all counters anew when the labels of hosts have changed.
    fn refresh(&mut self, pool: &Pool) {
        if std::mem::replace(&mut self.version, pool.version()) == pool.version() {
            return;
        }
        for tenant in self.tenants.values_mut() {
            tenant.recount(pool);
        }
    }
}

impl Tenant {
    fn use_term(&mut self, spec: TermSpec, pool: &Pool) -> TermId {
        if let Some((id, term)) = self.terms.iter_mut().find(|(_, term)| term.spec == spec) {
            term.users += 1;
            return *id;
        }
        self.last += 1;
        let mut term = Term::new(spec, pool);
        for placed in self.pods.values() {
            if let Some(host) = placed.host(pool) {
                term.count(placed, host, pool, 1);
            }
        }
        term.users = 1;
        self.terms.insert(self.last, term);
        self.last
    }

    fn use_spread(&mut self, spec: SpreadSpec, pool: &Pool) -> SpreadId {
        if let Some((id, spread)) = self.spreads.iter_mut().find(|(_, spread)| spread.spec == spec) {
            spread.users += 1;
            return *id;
        }
        self.last += 1;
        let mut spread = Spread::new(spec, pool);
        for placed in self.pods.values() {
            spread.count(placed, pool, 1);
        }
        spread.users = 1;
        self.spreads.insert(self.last, spread);
        self.last
    }

    fn leave_term(&mut self, id: TermId) {
        if let Some(term) = self.terms.get_mut(&id) {
            term.users = term.users.saturating_sub(1);
        }
    }

    /// Forgets what nobody uses, once there is much of it.
    fn tidy(&mut self) {
        if self.terms.values().filter(|term| term.users == 0).count() > IDLE_MAX {
            self.terms.retain(|_, term| term.users > 0);
        }
        if self.spreads.values().filter(|spread| spread.users == 0).count() > IDLE_MAX {
            self.spreads.retain(|_, spread| spread.users > 0);
        }
    }

    fn count(&mut self, placed: &Placed, pool: &Pool, sign: i64) {
        let Some(host) = placed.host(pool) else { return };
        for (id, term) in &mut self.terms {
            term.count(placed, host, pool, sign);
            if placed.far.contains(id) {
                term.hold(host, pool, sign);
            }
        }
        for spread in self.spreads.values_mut() {
            spread.count(placed, pool, sign);
        }
    }

    fn recount(&mut self, pool: &Pool) {
        for term in self.terms.values_mut() {
            let users = term.users;
            *term = Term::new(term.spec.clone(), pool);
            term.users = users;
        }
        for spread in self.spreads.values_mut() {
            let users = spread.users;
            *spread = Spread::new(spread.spec.clone(), pool);
            spread.users = users;
        }
        let pods = std::mem::take(&mut self.pods);
        for placed in pods.values() {
            self.count(placed, pool, 1);
        }
        self.pods = pods;
    }
}

impl Placed {
    /// Its host. A host whose node is gone is in no domain, though pods may still be there.
    fn host(&self, pool: &Pool) -> Option<HostId> {
        pool.hosts().find(self.manager, &self.node).filter(|host| pool.hosts().known().contains(*host))
    }
}

#[cfg(test)]
mod tests;
