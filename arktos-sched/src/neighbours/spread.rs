//! Topology spread: no domain may have many more such pods than the emptiest, or emptier ones are liked better.

use std::collections::{BTreeMap, HashMap};

use arktos_core::Encoded;
use arktos_core::selector::LabelSelector;
use arktos_core::typed::TopologySpreadConstraint;

use super::Placed;
use super::term::{domains, selector};
use crate::ask::{Ask, Tolerated, tolerate};
use crate::hosts::{Effect, HostId};
use crate::intern::{Interner, Marks};
use crate::pool::Pool;
use crate::selector::Term as NodeTerm;
use crate::set::{HostSet, HostWords};

/// A constraint as one kind of pods has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SpreadSpec {
    /// The pods that count: those of the pod's own namespace that this selects.
    namespace: Box<str>,
    selector: Option<LabelSelector>,
    /// The label that makes a domain.
    key: u32,
    /// Whether domains that have more are only liked less.
    soft: bool,
    skew: i64,
    domains_least: usize,
    /// Whether the pod itself is such as it counts.
    counts_itself: bool,
    /// The labels of all constraints of the pod that are as soft: hosts that lack one are not looked at.
    keys: Vec<u32>,
    /// The hosts that are looked at, by their labels; all of them when absent.
    labels: Option<(NodeTerm, Option<Box<[NodeTerm]>>)>,
    /// What the pod puts up with, where hosts with other taints are not looked at.
    tolerant: Option<Box<[Tolerated]>>,
}

/// Where a pod asks for so many things of a host, constraints look at all hosts: to look at one would take too long.
const THINGS_MAX: usize = 256;

impl SpreadSpec {
    /// A constraint of a pod, of which these are `all` that are as soft.
    pub(super) fn new(
        constraint: &TopologySpreadConstraint,
        all: &[&TopologySpreadConstraint],
        (namespace, pod): (&str, &Encoded),
        ask: &Ask,
        words: &mut Interner,
    ) -> Self {
        let keys = (&constraint.match_label_keys[..], &[][..]);
        let selector = constraint.label_selector.as_ref().map(|spec| selector(spec, keys, pod));
        let honours_labels = constraint.node_affinity_policy.as_deref() != Some("Ignore") && ask.size() <= THINGS_MAX;
        let honours_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
        Self {
            counts_itself: selector.as_ref().is_some_and(|selector| selector.matches_header(pod.header())),
            soft: is_soft(constraint),
            keys: all.iter().map(|one| words.intern(&one.topology_key)).collect(),
            namespace: namespace.into(),
            selector,
            key: words.intern(&constraint.topology_key),
            skew: i64::from(constraint.max_skew).max(1),
            domains_least: constraint.min_domains.and_then(|least| usize::try_from(least).ok()).unwrap_or(0),
            labels: honours_labels.then(|| (ask.labels.clone(), ask.required.clone())),
            tolerant: honours_taints.then(|| ask.tolerations.clone()),
        }
    }

    /// Marks the words in it.
    pub(super) fn mark(&self, words: &mut Marks) {
        self.keys.iter().chain([&self.key]).for_each(|key| words.mark(*key));
        if let Some((labels, required)) = &self.labels {
            required.iter().flat_map(|terms| terms.iter()).chain([labels]).for_each(|term| term.mark(words));
        }
        self.tolerant.iter().flat_map(|all| all.iter()).for_each(|one| one.mark(words));
    }

    /// Whether a pod counts. One that is being deleted does not.
    fn counts(&self, placed: &Placed) -> bool {
        let header = placed.object.header();
        placed.namespace == self.namespace
            && header.deletion().is_none()
            && self.selector.as_ref().is_some_and(|selector| selector.matches_header(header))
    }

    fn looks_at(&self, host: HostId, pool: &Pool) -> bool {
        let facts = pool.facts(host);
        if self.keys.iter().any(|key| facts.label(*key).is_none()) {
            return false;
        }
        let labels = self.labels.as_ref().is_none_or(|(labels, required)| {
            let any = |terms: &[NodeTerm]| terms.iter().any(|term| term.holds(facts, pool.words()));
            labels.holds(facts, pool.words()) && required.as_ref().is_none_or(|terms| any(terms))
        });
        let mut hard = facts.taints.iter().filter(|taint| taint.effect != Effect::PreferNoSchedule);
        labels && self.tolerant.as_ref().is_none_or(|all| hard.all(|taint| tolerate(all, taint)))
    }
}

/// Whether a constraint keeps no pod off any host.
pub(super) fn is_soft(constraint: &TopologySpreadConstraint) -> bool {
    constraint.when_unsatisfiable == "ScheduleAnyway"
}

/// What soft constraints are weighed in: a pod weighs the logarithm of how many domains there are.
const UNIT: f64 = 1e6;

/// A constraint with its counters.
#[derive(Debug)]
pub(super) struct Spread {
    /// Whether the counters are made.
    pub(super) made: bool,
    pub(super) spec: SpreadSpec,
    pub(super) users: usize,
    /// The hosts of domains that have too many already.
    pub(super) denied: HostSet,
    /// The hosts that are in no domain.
    pub(super) outside: HostSet,
    domains: HashMap<u32, Domain>,
    /// How many domains have so many pods.
    heights: BTreeMap<i64, usize>,
    /// The least that a domain had when `denied` was made; absent when it must be made anew.
    least: Option<i64>,
}

#[derive(Debug)]
struct Domain {
    hosts: HostWords,
    pods: i64,
}

impl Spread {
    /// A constraint whose counters are yet to be made.
    pub(super) fn unmade(spec: SpreadSpec, users: usize) -> Self {
        let (denied, outside) = (HostSet::new(), HostSet::new());
        let (domains, heights) = (HashMap::new(), BTreeMap::new());
        Self { made: false, spec, users, denied, outside, domains, heights, least: None }
    }

    /// Counts from here on, on the hosts there are, and so far nothing.
    pub(super) fn begin(&mut self, pool: &Pool) {
        let spec = &self.spec;
        let found = domains(spec.key, pool, |host| spec.looks_at(host, pool));
        self.domains = found.into_iter().map(|(domain, hosts)| (domain, Domain { hosts, pods: 0 })).collect();
        self.heights = BTreeMap::from([(0, self.domains.len())]);
        (self.denied, self.outside) = (HostSet::new(), HostSet::new());
        for host in pool.hosts().known().iter().filter(|_| !spec.soft) {
            self.outside.set(host, pool.facts(host).label(spec.key).is_none());
        }
        (self.made, self.least) = (true, None);
    }

    /// A pod comes to a host, or leaves it. Says which hosts that concerns, if any.
    pub(super) fn count(&mut self, placed: &Placed, host: HostId, pool: &Pool, sign: i64) -> Option<&HostWords> {
        if !self.spec.counts(placed) || !self.spec.looks_at(host, pool) {
            return None;
        }
        let domain = self.domains.get_mut(&pool.facts(host).label(self.spec.key)?)?;
        if self.spec.soft {
            domain.pods += sign;
            return Some(&domain.hosts);
        }
        if let Some(height) = self.heights.get_mut(&domain.pods) {
            *height -= 1;
            if *height == 0 {
                self.heights.remove(&domain.pods);
            }
        }
        domain.pods += sign;
        *self.heights.entry(domain.pods).or_default() += 1;
        match (self.least, least(&self.heights, &self.spec)) {
            (Some(before), now) if before == now => deny(&mut self.denied, domain, now, &self.spec),
            _ => self.least = None,
        }
        Some(&domain.hosts)
    }

    /// What a pod weighs in a domain: the more, the more domains there are, so that constraints over few domains do not
    /// drown those over many.
    pub(super) fn each(&self) -> i64 {
        (UNIT * (self.domains.len() as f64 + 2.0).ln()).round() as i64 // the logarithm of a length is small
    }

    /// What every domain weighs to begin with: differences matter less where more skew is put up with.
    pub(super) fn least(&self) -> i64 {
        UNIT as i64 * (self.spec.skew - 1)
    }

    /// The hosts that are looked at.
    pub(super) fn inside(&self) -> HostSet {
        let mut inside = HostSet::new();
        self.domains.values().for_each(|domain| inside.set_all(&domain.hosts, true));
        inside
    }

    /// How many pods count in each domain, and its hosts.
    pub(super) fn domains(&self) -> impl Iterator<Item = (i64, &HostWords)> {
        self.domains.values().map(|domain| (domain.pods, &domain.hosts))
    }

    /// Brings the denied hosts up to date.
    pub(super) fn settle(&mut self) {
        let now = least(&self.heights, &self.spec);
        if self.least.replace(now) != Some(now) {
            for domain in self.domains.values() {
                deny(&mut self.denied, domain, now, &self.spec);
            }
        }
    }
}

/// The pods of the emptiest domain; none while there are fewer domains than there should be.
fn least(heights: &BTreeMap<i64, usize>, spec: &SpreadSpec) -> i64 {
    let domains: usize = heights.values().sum();
    if domains < spec.domains_least { 0 } else { heights.keys().next().copied().unwrap_or(0) }
}

fn deny(denied: &mut HostSet, domain: &Domain, least: i64, spec: &SpreadSpec) {
    let more = domain.pods + i64::from(spec.counts_itself) - least;
    denied.set_all(&domain.hosts, more > spec.skew);
}
