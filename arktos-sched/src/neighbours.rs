//! Pods and their neighbours: pod affinity and anti-affinity, and topology spread, as counters per (term, topology
//! domain).
//!
//! A *term* says which pods of one tenant count, and which label of hosts makes a domain. Each term keeps how many such
//! pods every domain has, and, as bits, the hosts of the domains that have any. A bind changes one counter of each term
//! that it concerns; a search reads the bits. What is only preferred makes [grades] of hosts.
//!
//! Counters are made when a pod of the tenant is next to be placed, some at a time: when a term is new, and when labels
//! of hosts or of namespaces have changed. That is the work of the tenant's own turn.

pub mod grades;
mod namespaces;
mod spread;
mod term;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arktos_core::Encoded;
use arktos_core::typed::{Affinity, PodAffinityTerm, PodSpec, TopologySpreadConstraint};

use self::grades::{Grades, Worth};
use self::namespaces::Namespaces;
use self::spread::{Spread, SpreadSpec, is_soft};
use self::term::{Term, TermSpec, Topology, together};
use crate::ask::Ask;
use crate::hosts::{HostId, ManagerId};
use crate::intern::{Interner, Marks};
use crate::plugin::Reason;
use crate::pool::Pool;
use crate::set::HostSet;
use crate::uid::Uid;

type TermId = u32;
type SpreadId = u32;

/// How many terms and spreads of a tenant are kept that no pod uses.
const IDLE_MAX: usize = 64;
/// How many kinds of pods of a tenant have their grades kept,
const GRADES_MAX: usize = 16;
/// and for how many pods that come and go without anybody asking for them.
const GRADES_REST: u32 = 1000;
/// What a pod that is required to be near others is worth to them, once it is on a host. Upstream's default.
const HARD_WEIGHT: i64 = 1;

/// What a pod asks of its neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    near: Vec<TermId>,
    far: Vec<TermId>,
    spread: Vec<SpreadId>,
    /// What it would rather have near, or far (below zero).
    preferred: Vec<(TermId, i64)>,
    /// Those of which it must have some near, one by one: it draws them, once it is on a host.
    draws: Vec<TermId>,
    /// The constraints that keep it off no host.
    even: Vec<SpreadId>,
}

impl Wishes {
    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms().next().is_none() && self.spread.is_empty() && self.even.is_empty()
    }

    /// The terms in it.
    fn terms(&self) -> impl Iterator<Item = TermId> {
        let preferred = self.preferred.iter().map(|(id, _)| id);
        self.near.iter().chain(&self.far).chain(&self.draws).chain(preferred).copied()
    }

    /// What it means to others once it is on a host.
    fn ties(&self) -> Ties {
        let draws = self.draws.iter().map(|id| (*id, HARD_WEIGHT));
        Ties { far: self.far.clone(), pulls: self.preferred.iter().copied().chain(draws).collect() }
    }
}

/// The pods that are on hosts, and the counters over them. Written by the scheduler's state, after the pool.
#[derive(Debug, Default)]
pub struct Neighbours {
    tenants: HashMap<Box<str>, Tenant>,
    topology: Topology,
    /// The state of the hosts' labels that the counters were made for.
    version: u64,
    /// The tenants that have counters.
    made: BTreeSet<Box<str>>,
}

/// Everything about neighbours stays inside a tenant.
#[derive(Debug, Default)]
struct Tenant {
    pods: HashMap<Uid, Placed>,
    terms: BTreeMap<TermId, Term>,
    spreads: BTreeMap<SpreadId, Spread>,
    /// Which they are: a tenant may have tens of thousands.
    by_term: HashMap<TermSpec, TermId>,
    by_spread: HashMap<SpreadSpec, SpreadId>,
    namespaces: Namespaces,
    grades: Vec<Grades>,
    /// The terms and spreads whose counters are yet to be made.
    unmade: Vec<u32>,
    /// How many terms, and how many spreads, no pod uses.
    idle: (usize, usize),
    last: u32,
}

/// A pod on a host.
#[derive(Debug, Clone)]
struct Placed {
    namespace: Box<str>,
    object: Encoded,
    manager: ManagerId,
    node: Box<str>,
    /// Nothing for most pods.
    ties: Option<Box<Ties>>,
}

/// What a pod on a host means to others.
#[derive(Debug, Clone, Default, PartialEq)]
struct Ties {
    /// The terms by which it keeps others away.
    far: Vec<TermId>,
    /// The terms by which it would rather have others near, or far (below zero).
    pulls: Vec<(TermId, i64)>,
}

/// The hosts that neighbours leave to a pod.
#[derive(Debug, Default)]
pub struct Left<'a> {
    /// Hosts it must be among, of each.
    pub allowed: Vec<&'a HostSet>,
    /// Hosts it must not be among, of any, and why.
    pub denied: Vec<(&'a HostSet, &'static str)>,
    /// Which of them it would rather go to, where that makes a difference.
    pub grades: Option<&'a Grades>,
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
    pub fn wishes(&mut self, pool: &mut Pool, at: (&str, &str), object: &Encoded, spec: &PodSpec, ask: &Ask) -> Wishes {
        let (tenant, namespace) = at;
        let words = pool.words_mut();
        let asked = Asked::new(&spec.affinity, namespace, object, words);
        let (even, hard): (Vec<_>, Vec<_>) = spec.topology_spread_constraints.iter().partition(|one| is_soft(one));
        let mut spreads = |all: Vec<&TopologySpreadConstraint>| -> Vec<SpreadSpec> {
            all.iter().map(|one| SpreadSpec::new(one, &all, (namespace, object), ask, words)).collect()
        };
        let (even, hard) = (spreads(even), spreads(hard));
        if asked.is_empty() && even.is_empty() && hard.is_empty() {
            return Wishes::default();
        }
        let tenant = self.tenants.entry(tenant.into()).or_default();
        let mut used = |term| tenant.use_term(term);
        Wishes {
            near: together(asked.near.clone()).into_iter().map(&mut used).collect(),
            far: asked.far.into_iter().map(&mut used).collect(),
            draws: asked.near.into_iter().map(&mut used).collect(),
            preferred: asked.preferred.into_iter().map(|(term, by)| (used(term), by)).collect(),
            spread: hard.into_iter().map(|spread| tenant.use_spread(spread)).collect(),
            even: even.into_iter().map(|spread| tenant.use_spread(spread)).collect(),
        }
    }

    /// A pod that had wishes waits no longer.
    pub fn forget_wishes(&mut self, tenant: &str, wishes: &Wishes) {
        if wishes.is_empty() {
            return;
        }
        let Some(known) = self.tenants.get_mut(tenant) else { return };
        wishes.terms().for_each(|id| known.leave_term(id));
        wishes.spread.iter().chain(&wishes.even).for_each(|id| known.leave_spread(*id));
        known.tidy();
        self.forget_empty(tenant);
    }

    /// Makes counters that are yet to be made for a tenant, until so much was done, in looks at hosts and pods. Says
    /// how much was, and whether all are made.
    pub fn prepare(&mut self, pool: &Pool, tenant: &str, most: usize) -> (usize, bool) {
        self.refresh(pool);
        let Some(known) = self.tenants.get_mut(tenant) else { return (0, true) };
        if !known.unmade.is_empty() && !self.made.contains(tenant) {
            self.made.insert(tenant.into());
        }
        known.make(pool, &mut self.topology, most)
    }

    /// Marks the words that terms are about.
    pub fn mark(&self, words: &mut Marks) {
        for tenant in self.tenants.values() {
            tenant.terms.values().for_each(|term| words.mark(term.spec.key));
            tenant.spreads.values().for_each(|spread| spread.spec.mark(words));
        }
    }

    /// Forgets what is known of labels of hosts that no term is about any more. To be called before their words are
    /// given out for something else.
    pub fn forget_unused(&mut self) {
        self.topology.sweep();
    }

    /// A namespace has these labels; none when it is gone. Says whether that may make a difference to pods.
    pub fn namespace<'a>(
        &mut self,
        tenant: &str,
        name: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> bool {
        let labels = namespaces::kept(labels);
        if labels.is_empty() && !self.tenants.contains_key(tenant) {
            return false;
        }
        let known = self.tenants.entry(tenant.into()).or_default();
        let news = known.namespaces.set(name, labels) && known.terms.values().any(|one| one.spec.reads_namespaces());
        if news {
            known.unmake();
        }
        self.forget_empty(tenant);
        news
    }

    /// A pod is on a host. `spec` is given where it may ask for other pods near or far. Says whether that is news.
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
        let asked = spec.map(|spec| Asked::new(&spec.affinity, at.1, object, pool.words_mut())).unwrap_or_default();
        let tenant = self.tenants.entry(at.0.into()).or_default();
        let mut used = |term| tenant.use_term(term);
        let far = asked.far.into_iter().map(&mut used).collect();
        let near = asked.near.into_iter().map(|term| (term, HARD_WEIGHT));
        let pulls = near.chain(asked.preferred).map(|(term, by)| (used(term), by)).collect();
        self.put(pool, at, object, host, Ties { far, pulls });
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
        let ties = wishes.ties();
        if let Some(tenant) = self.tenants.get_mut(at.0) {
            ties.terms().for_each(|id| tenant.join_term(id));
        }
        self.put(pool, at, object, host, ties);
    }

    /// A pod is on no host any more. Says whether it was on one.
    pub fn displace(&mut self, pool: &Pool, tenant: &str, uid: &str) -> bool {
        self.refresh(pool);
        let Some(known) = self.tenants.get_mut(tenant) else { return false };
        let Some(placed) = known.pods.remove(&Uid::from(uid)) else { return false };
        known.count(&placed, pool, -1);
        for id in placed.ties.iter().flat_map(|ties| ties.terms()) {
            known.leave_term(id);
        }
        known.tidy();
        self.forget_empty(tenant);
        true
    }

    /// The hosts that neighbours leave to a waiting pod.
    pub fn left(&mut self, pool: &Pool, at: (&str, &str), object: &Encoded, wishes: &Wishes) -> Left<'_> {
        self.prepare(pool, at.0, usize::MAX);
        let mut left = Left::default();
        let Some(tenant) = self.tenants.get_mut(at.0) else { return left };
        for id in &wishes.spread {
            if let Some(spread) = tenant.spreads.get_mut(id) {
                spread.settle();
            }
        }
        let grades = tenant.grades_for(pool, at.1, object, wishes);
        let tenant = &*tenant;
        left.grades = grades.and_then(|at| tenant.grades.get(at)).filter(|grades| !grades.is_empty());
        let counts = |term: &Term| term.spec.counts(&tenant.namespaces, at.1, object);
        let spreads = wishes.spread.iter().filter_map(|id| tenant.spreads.get(id));
        left.denied.extend(spreads.flat_map(|spread| [(&spread.outside, OUTSIDE), (&spread.denied, SPREAD)]));
        let near = || wishes.near.iter().filter_map(|id| tenant.terms.get(id));
        // The first of those that want to be near their like may go anywhere.
        let first = near().all(|term| term.total == 0) && near().all(counts);
        left.allowed.extend(near().map(|term| if first { &term.domains.labelled } else { &term.present }));
        let far = wishes.far.iter().filter_map(|id| tenant.terms.get(id));
        left.denied.extend(far.map(|term| (&term.present, FAR)));
        let held = tenant.terms.values().filter(|term| term.holds_any() && counts(term));
        left.denied.extend(held.map(|term| (&term.held, HELD)));
        left
    }

    /// Whether a pod is known to be on a host, with these labels. Its newest state is kept: an older one would stay in
    /// memory for nothing.
    fn knows(&mut self, tenant: &str, object: &Encoded, host: (ManagerId, &str)) -> bool {
        let uid = Uid::from(object.header().uid());
        let placed = self.tenants.get_mut(tenant).and_then(|tenant| tenant.pods.get_mut(&uid));
        placed.is_some_and(|placed| {
            let (old, new) = (placed.object.header(), object.header());
            let alike = old.labels() == new.labels() && old.deletion().is_some() == new.deletion().is_some();
            let known = alike && placed.manager == host.0 && *placed.node == *host.1;
            if known {
                placed.object = object.clone();
            }
            known
        })
    }

    fn put(&mut self, pool: &Pool, at: (&str, &str), object: &Encoded, host: (ManagerId, &str), ties: Ties) {
        self.displace(pool, at.0, object.header().uid());
        let tenant = self.tenants.entry(at.0.into()).or_default();
        let (namespace, object) = (at.1.into(), object.clone());
        let ties = (ties != Ties::default()).then(|| Box::new(ties));
        let placed = Placed { namespace, object, manager: host.0, node: host.1.into(), ties };
        tenant.count(&placed, pool, 1);
        tenant.pods.insert(placed.object.header().uid().into(), placed);
    }

    /// Forgets all counters when the labels of hosts have changed.
    fn refresh(&mut self, pool: &Pool) {
        if std::mem::replace(&mut self.version, pool.version()) == pool.version() {
            return;
        }
        self.topology = Topology::default();
        for name in std::mem::take(&mut self.made) {
            if let Some(tenant) = self.tenants.get_mut(&name) {
                tenant.unmake();
            }
        }
    }

    /// Forgets a tenant of which there is nothing but terms that no pod uses.
    fn forget_empty(&mut self, tenant: &str) {
        if self.tenants.get(tenant).is_some_and(Tenant::is_empty) {
            self.tenants.remove(tenant);
            self.made.remove(tenant);
        }
    }
}

impl Tenant {
    fn use_term(&mut self, spec: TermSpec) -> TermId {
        if let Some(id) = self.by_term.get(&spec).copied() {
            self.join_term(id);
            return id;
        }
        self.last += 1;
        self.by_term.insert(spec.clone(), self.last);
        self.terms.insert(self.last, Term::unmade(spec, 1));
        self.unmade.push(self.last);
        self.last
    }

    fn use_spread(&mut self, spec: SpreadSpec) -> SpreadId {
        if let Some(id) = self.by_spread.get(&spec).copied() {
            if let Some(spread) = self.spreads.get_mut(&id) {
                self.idle.1 -= usize::from(spread.users == 0);
                spread.users += 1;
            }
            return id;
        }
        self.last += 1;
        self.by_spread.insert(spec.clone(), self.last);
        self.spreads.insert(self.last, Spread::unmade(spec, 1));
        self.unmade.push(self.last);
        self.last
    }

    fn join_term(&mut self, id: TermId) {
        if let Some(term) = self.terms.get_mut(&id) {
            self.idle.0 -= usize::from(term.users == 0);
            term.users += 1;
        }
    }

    fn leave_term(&mut self, id: TermId) {
        if let Some(term) = self.terms.get_mut(&id) {
            self.idle.0 += usize::from(term.users == 1);
            term.users = term.users.saturating_sub(1);
        }
    }

    fn leave_spread(&mut self, id: SpreadId) {
        if let Some(spread) = self.spreads.get_mut(&id) {
            self.idle.1 += usize::from(spread.users == 1);
            spread.users = spread.users.saturating_sub(1);
        }
    }

    /// Forgets what nobody uses, once there is much of it.
    fn tidy(&mut self) {
        if self.idle.0 > IDLE_MAX {
            self.idle.0 = 0;
            self.terms.retain(|_, term| term.users > 0);
            self.by_term.retain(|_, id| self.terms.contains_key(id));
        }
        if self.idle.1 > IDLE_MAX {
            self.idle.1 = 0;
            self.spreads.retain(|_, spread| spread.users > 0);
            self.by_spread.retain(|_, id| self.spreads.contains_key(id));
        }
        if self.unmade.len() > 2 * (self.terms.len() + self.spreads.len() + IDLE_MAX) {
            self.unmade.retain(|id| self.terms.contains_key(id) || self.spreads.contains_key(id));
        }
    }

    fn is_empty(&self) -> bool {
        let used = (self.terms.len(), self.spreads.len()) != self.idle;
        self.pods.is_empty() && !used && self.namespaces.is_empty()
    }

    /// Forgets all counters: they are to be made anew.
    fn unmake(&mut self) {
        self.grades.clear();
        for term in self.terms.values_mut().filter(|term| term.made) {
            *term = Term::unmade(term.spec.clone(), term.users);
        }
        for spread in self.spreads.values_mut().filter(|spread| spread.made) {
            *spread = Spread::unmade(spread.spec.clone(), spread.users);
        }
        self.unmade = self.terms.keys().chain(self.spreads.keys()).copied().collect();
    }

    /// Makes counters, until so much was done. Says how much was, and whether that was all.
    fn make(&mut self, pool: &Pool, topology: &mut Topology, most: usize) -> (usize, bool) {
        let mut looked = 0;
        while looked < most {
            let Some(id) = self.unmade.pop() else { return (looked, true) };
            looked += self.make_one(id, pool, topology);
        }
        (looked, self.unmade.is_empty())
    }

    fn make_one(&mut self, id: u32, pool: &Pool, topology: &mut Topology) -> usize {
        let on_hosts = self.pods.values().filter_map(|placed| Some((placed, placed.host(pool)?)));
        if let Some(term) = self.terms.get_mut(&id) {
            let (domains, looked) = topology.domains(term.spec.key, pool);
            term.begin(domains);
            for at in on_hosts {
                term.weigh(id, at, (&self.namespaces, pool), 1);
            }
            return looked + self.pods.len();
        }
        let Some(spread) = self.spreads.get_mut(&id) else { return 0 };
        spread.begin(pool);
        for (placed, host) in on_hosts {
            spread.count(placed, host, pool, 1);
        }
        self.pods.len() + pool.hosts().end()
    }

    fn count(&mut self, placed: &Placed, pool: &Pool, sign: i64) {
        let Some(host) = placed.host(pool) else { return };
        for (id, term) in self.terms.iter_mut().filter(|(_, term)| term.made) {
            let weighed = term.weigh(*id, (placed, host), (&self.namespaces, pool), sign);
            let Some((domain, count, pull)) = weighed else { continue };
            if let Some(hosts) = term.hosts(domain) {
                self.grades.iter_mut().for_each(|grades| grades.shift_term(*id, hosts, count, pull));
            }
        }
        for (id, spread) in self.spreads.iter_mut().filter(|(_, spread)| spread.made) {
            if let Some(hosts) = spread.count(placed, host, pool, sign) {
                self.grades.iter_mut().for_each(|grades| grades.shift_spread(*id, hosts, sign));
            }
        }
        self.grades.retain_mut(|grades| {
            grades.rest += 1;
            grades.rest <= GRADES_REST
        });
    }

    /// The place of the grades of hosts for a waiting pod, where its neighbours make one host worth more than another.
    fn grades_for(&mut self, pool: &Pool, namespace: &str, object: &Encoded, wishes: &Wishes) -> Option<usize> {
        let mut worth = Worth { spreads: wishes.even.clone(), ..Worth::default() };
        for (id, by) in &wishes.preferred {
            worth.terms.entry(*id).or_default().0 += by;
        }
        let pulling = self.terms.iter().filter(|(_, term)| term.pulls_any());
        for (id, _) in pulling.filter(|(_, term)| term.spec.counts(&self.namespaces, namespace, object)) {
            worth.terms.entry(*id).or_default().1 = true;
        }
        if worth == Worth::default() {
            return None;
        }
        if let Some(at) = self.grades.iter().position(|grades| grades.worth == worth) {
            self.grades[at].rest = 0;
            return Some(at);
        }
        if self.grades.len() >= GRADES_MAX {
            let oldest = self.grades.iter().enumerate().max_by_key(|(_, grades)| grades.rest)?.0;
            self.grades.swap_remove(oldest);
        }
        let grades = Grades::new(worth, self, pool);
        self.grades.push(grades);
        Some(self.grades.len() - 1)
    }
}

/// What a pod asks of other pods, one term at a time.
#[derive(Default)]
struct Asked {
    near: Vec<TermSpec>,
    far: Vec<TermSpec>,
    /// What it would rather have near, or far (below zero).
    preferred: Vec<(TermSpec, i64)>,
}

impl Asked {
    fn new(affinity: &Affinity, namespace: &str, object: &Encoded, words: &mut Interner) -> Self {
        let (near, far) = (&affinity.pod_affinity, &affinity.pod_anti_affinity);
        let mut term = |one: &PodAffinityTerm| TermSpec::new(one, namespace, object, words);
        let mut preferred = Vec::new();
        for (side, sign) in [(near, 1), (far, -1)] {
            for one in &side.preferred_during_scheduling_ignored_during_execution {
                preferred.push((term(&one.pod_affinity_term), sign * i64::from(one.weight)));
            }
        }
        Self {
            near: near.required_during_scheduling_ignored_during_execution.iter().map(&mut term).collect(),
            far: far.required_during_scheduling_ignored_during_execution.iter().map(&mut term).collect(),
            preferred,
        }
    }

    fn is_empty(&self) -> bool {
        self.near.is_empty() && self.far.is_empty() && self.preferred.is_empty()
    }
}

impl Ties {
    /// The terms in it.
    fn terms(&self) -> impl Iterator<Item = TermId> {
        self.far.iter().copied().chain(self.pulls.iter().map(|(id, _)| *id))
    }

    /// How it pulls by a term.
    fn pull(&self, id: TermId) -> i64 {
        self.pulls.iter().filter(|(of, _)| *of == id).map(|(_, by)| by).sum()
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
