//! Hard topology spread: no domain may have many more such pods than the emptiest.

use std::collections::{BTreeMap, HashMap};

use arktos_core::Encoded;
use arktos_core::typed::TopologySpreadConstraint;

use super::Placed;
use super::term::{Match, TermSpec, domains, selector};
use crate::ask::Ask;
use crate::hosts::{Effect, HostId};
use crate::intern::Interner;
use crate::pool::Pool;
use crate::selector::Term as NodeTerm;
use crate::set::HostSet;

/// A constraint as one kind of pods has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpreadSpec {
    counted: TermSpec,
    skew: i64,
    domains_least: usize,
    /// Whether the pod itself is such as it counts.
    counts_itself: bool,
    /// The labels of all hard constraints of the pod: hosts that lack one are not looked at.
    keys: Vec<u32>,
    /// The hosts that are looked at, by their labels; all of them when absent.
    labels: Option<(NodeTerm, Option<Box<[NodeTerm]>>)>,
    /// What the pod puts up with, where hosts with other taints are not looked at.
    tolerant: Option<Ask>,
}

impl SpreadSpec {
    pub(super) fn new(
        constraint: &TopologySpreadConstraint,
        all: &[&TopologySpreadConstraint],
        (namespace, pod): (&str, &Encoded),
        ask: &Ask,
        words: &mut Interner,
    ) -> Self {
        let keys = (&constraint.match_label_keys[..], &[][..]);
        let selector = constraint.label_selector.as_ref().map(|spec| selector(spec, keys, pod));
        let matches = vec![Match { namespaces: Some(vec![namespace.to_owned()]), selector }];
        let counted = TermSpec { matches, key: words.intern(&constraint.topology_key) };
        let honours_labels = constraint.node_affinity_policy.as_deref() != Some("Ignore");
        let honours_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
        Self {
            counts_itself: counted.counts(namespace, pod),
            keys: all.iter().map(|one| words.intern(&one.topology_key)).collect(),
            counted,
            skew: i64::from(constraint.max_skew).max(1),
            domains_least: constraint.min_domains.and_then(|least| usize::try_from(least).ok()).unwrap_or(0),
            labels: honours_labels.then(|| (ask.labels.clone(), ask.required.clone())),
            tolerant: honours_taints.then(|| ask.clone()),
        }
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
        labels && self.tolerant.as_ref().is_none_or(|ask| hard.all(|taint| ask.tolerates(taint)))
    }
}

/// A constraint with its counters.
#[derive(Debug)]
pub(super) struct Spread {
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
    hosts: Vec<HostId>,
    pods: i64,
}

impl Spread {
    pub(super) fn new(spec: SpreadSpec, pool: &Pool) -> Self {
        let found = domains(spec.counted.key, pool, |host| spec.looks_at(host, pool));
        let domains: HashMap<u32, Domain> =
            found.into_iter().map(|(domain, hosts)| (domain, Domain { hosts, pods: 0 })).collect();
        let heights = BTreeMap::from([(0, domains.len())]);
        let mut outside = HostSet::new();
        for host in pool.hosts().known().iter() {
            outside.set(host, pool.facts(host).label(spec.counted.key).is_none());
        }
        Self { spec, users: 0, denied: HostSet::new(), outside, domains, heights, least: None }
    }

    /// A pod comes to a host, or leaves it.
    pub(super) fn count(&mut self, placed: &Placed, pool: &Pool, sign: i64) {
        if !self.spec.counted.counts(&placed.namespace, &placed.object) {
            return;
        }
        let Some(host) = placed.host(pool) else { return };
        let looked_at = self.spec.looks_at(host, pool);
        let domain = pool.facts(host).label(self.spec.counted.key).filter(|_| looked_at);
        let Some(domain) = domain.and_then(|domain| self.domains.get_mut(&domain)) else { return };
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
    for host in &domain.hosts {
        denied.set(*host, more > spec.skew);
    }
}
