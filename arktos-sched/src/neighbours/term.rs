//! Terms: which pods count, and what makes a domain.

use std::collections::HashMap;
use std::sync::Arc;

use arktos_core::Encoded;
use arktos_core::selector::{Condition, LabelSelector, Requirement};
use arktos_core::typed::{LabelSelectorSpec, PodAffinityTerm};

use super::namespaces::{Namespaces, Within};
use super::{Placed, TermId};
use crate::hosts::HostId;
use crate::intern::Interner;
use crate::pool::Pool;
use crate::set::{HostSet, HostWords};

/// Which pods of a tenant count, and which label of hosts makes a domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TermSpec {
    /// A pod counts that each of these is about.
    matches: Vec<Match>,
    /// The label, interned.
    pub(super) key: u32,
}

/// Which pods of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Match {
    /// Those in these namespaces.
    within: Within,
    /// No pod when absent.
    selector: Option<LabelSelector>,
}

impl TermSpec {
    /// A term of a pod in a namespace.
    pub(super) fn new(term: &PodAffinityTerm, namespace: &str, pod: &Encoded, words: &mut Interner) -> Self {
        let keys = (&term.match_label_keys[..], &term.mismatch_label_keys[..]);
        let selector = term.label_selector.as_ref().map(|spec| selector(spec, keys, pod));
        let within = Within::of(term, namespace);
        Self { matches: vec![Match { within, selector }], key: words.intern(&term.topology_key) }
    }

    /// Whether a pod of a namespace counts.
    pub(super) fn counts(&self, namespaces: &Namespaces, namespace: &str, pod: &Encoded) -> bool {
        let selects = |selector: &LabelSelector| selector.matches_header(pod.header());
        self.matches
            .iter()
            .all(|one| one.within.has(namespace, namespaces) && one.selector.as_ref().is_some_and(selects))
    }

    /// Whether labels of namespaces decide which pods count.
    pub(super) fn reads_namespaces(&self) -> bool {
        self.matches.iter().any(|one| one.within.reads_labels())
    }
}

/// The terms that a pod wants to be near: a pod counts for any of them only if it counts for all, as upstream has it.
pub(super) fn together(mut terms: Vec<TermSpec>) -> Vec<TermSpec> {
    let all: Vec<Match> = terms.iter().flat_map(|term| term.matches.clone()).collect();
    for term in &mut terms {
        term.matches.clone_from(&all);
    }
    terms
}

/// What a selector requires.
pub(super) fn requirements(spec: &LabelSelectorSpec) -> Vec<Requirement> {
    let mut requirements: Vec<Requirement> = LabelSelector::equal_to(&spec.match_labels).requirements().to_vec();
    requirements.extend(spec.match_expressions.iter().map(|one| Requirement {
        key: one.key.clone(),
        condition: match one.operator.as_str() {
            "In" => Condition::In(one.values.clone()),
            "NotIn" => Condition::NotIn(one.values.clone()),
            "Exists" => Condition::Exists,
            "DoesNotExist" => Condition::DoesNotExist,
            _ => Condition::In(Vec::new()), // holds for nothing
        },
    }));
    requirements
}

/// The selector of a term, with the labels that must be equal to (or differ from) the incoming pod's own.
pub(super) fn selector(spec: &LabelSelectorSpec, keys: (&[String], &[String]), pod: &Encoded) -> LabelSelector {
    let mut requirements = requirements(spec);
    let own = |key: &String| pod.header().label(key).map(|value| (key.clone(), vec![value.to_owned()]));
    let equal = keys.0.iter().filter_map(own).map(|(key, values)| (key, Condition::In(values)));
    let differ = keys.1.iter().filter_map(own).map(|(key, values)| (key, Condition::NotIn(values)));
    requirements.extend(equal.chain(differ).map(|(key, condition)| Requirement { key, condition }));
    LabelSelector::new(requirements)
}

/// A term with its counters.
#[derive(Debug)]
pub(super) struct Term {
    /// Whether the counters are made.
    pub(super) made: bool,
    pub(super) spec: TermSpec,
    /// How many pods use it: waiting ones, and placed ones that draw others or keep them away by it.
    pub(super) users: usize,
    /// How many pods count, in all domains.
    pub(super) total: i64,
    /// The hosts of domains with pods that count.
    pub(super) present: HostSet,
    /// The hosts of domains with pods that keep others away by this term.
    pub(super) held: HostSet,
    pub(super) domains: Arc<Domains>,
    counts: HashMap<u32, i64>,
    holders: HashMap<u32, i64>,
    /// By how much the pods of a domain would rather have those that count near (or, below zero, far).
    pulls: HashMap<u32, i64>,
}

impl Term {
    /// A term whose counters are yet to be made.
    pub(super) fn unmade(spec: TermSpec, users: usize) -> Self {
        Self {
            made: false,
            spec,
            users,
            total: 0,
            present: HostSet::new(),
            held: HostSet::new(),
            domains: Arc::default(),
            counts: HashMap::new(),
            holders: HashMap::new(),
            pulls: HashMap::new(),
        }
    }

    /// Counts from here on, in these domains, and so far nothing.
    pub(super) fn begin(&mut self, domains: Arc<Domains>) {
        *self = Self { made: true, domains, ..Self::unmade(self.spec.clone(), self.users) };
    }

    /// A pod comes to a host, or leaves it. Says which domain that is in, what it counts for there, and how it pulls.
    pub(super) fn weigh(
        &mut self,
        id: TermId,
        (placed, host): (&Placed, HostId),
        (namespaces, pool): (&Namespaces, &Pool),
        sign: i64,
    ) -> Option<(u32, i64, i64)> {
        let domain = pool.facts(host).label(self.spec.key)?;
        let count = if self.spec.counts(namespaces, &placed.namespace, &placed.object) { sign } else { 0 };
        if count != 0 {
            self.count(domain, count);
        }
        let ties = placed.ties.as_deref();
        if ties.is_some_and(|ties| ties.far.contains(&id)) {
            self.hold(domain, sign);
        }
        let pull = ties.map_or(0, |ties| sign * ties.pull(id));
        if pull != 0 {
            self.pull(domain, pull);
        }
        Some((domain, count, pull))
    }

    /// A pod that counts comes to a domain, or leaves it.
    fn count(&mut self, domain: u32, sign: i64) {
        self.total += sign;
        mark(&mut self.counts, &mut self.present, &self.domains, domain, sign);
    }

    /// A pod that keeps others away by this term comes to a domain, or leaves it.
    fn hold(&mut self, domain: u32, sign: i64) {
        mark(&mut self.holders, &mut self.held, &self.domains, domain, sign);
    }

    /// Whether any pod keeps others away by this term.
    pub(super) fn holds_any(&self) -> bool {
        !self.holders.is_empty()
    }

    /// A pod that would rather have others near comes to a domain, or leaves it.
    fn pull(&mut self, domain: u32, weight: i64) {
        let pull = self.pulls.entry(domain).or_default();
        *pull += weight;
        if *pull == 0 {
            self.pulls.remove(&domain);
        }
    }

    /// Whether pods anywhere would rather have those near or far that count.
    pub(super) fn pulls_any(&self) -> bool {
        !self.pulls.is_empty()
    }

    /// What each domain is worth to a pod that gives so much for every pod that counts, and for what others would
    /// rather have if it is one that counts itself.
    pub(super) fn worth(&self, each: i64, pulled: bool) -> HashMap<u32, i64> {
        let mut worth: HashMap<u32, i64> = if pulled { self.pulls.clone() } else { HashMap::new() };
        for (domain, count) in self.counts.iter().filter(|_| each != 0) {
            *worth.entry(*domain).or_default() += each * count;
        }
        worth
    }

    /// The hosts of a domain.
    pub(super) fn hosts(&self, domain: u32) -> Option<&HostWords> {
        self.domains.hosts.get(&domain)
    }
}

/// Changes a domain's counter, and the bits of its hosts when it comes from zero or goes back to it.
fn mark(counts: &mut HashMap<u32, i64>, set: &mut HostSet, domains: &Domains, domain: u32, sign: i64) {
    let count = counts.entry(domain).or_default();
    let before = *count;
    *count += sign;
    let after = *count;
    if after == 0 {
        counts.remove(&domain);
    }
    if (before > 0) != (after > 0)
        && let Some(hosts) = domains.hosts.get(&domain)
    {
        set.set_all(hosts, after > 0);
    }
}

/// The domains of labels, which all terms of all tenants share: of hosts' names there are as many as hosts.
#[derive(Debug, Default)]
pub(super) struct Topology(HashMap<u32, Arc<Domains>>);

/// The domains of a label.
#[derive(Debug, Default)]
pub(super) struct Domains {
    hosts: HashMap<u32, HostWords>,
    /// The hosts that are in any.
    pub(super) labelled: HostSet,
}

impl Topology {
    /// The domains of a label, and how many hosts were looked at for them.
    pub(super) fn domains(&mut self, key: u32, pool: &Pool) -> (Arc<Domains>, usize) {
        if let Some(known) = self.0.get(&key) {
            return (known.clone(), 0);
        }
        let (hosts, mut labelled) = (domains(key, pool, |_| true), HostSet::new());
        hosts.values().for_each(|hosts| labelled.set_all(hosts, true));
        let made = Arc::new(Domains { hosts, labelled });
        self.0.insert(key, made.clone());
        (made, pool.hosts().end())
    }

    /// Forgets the domains that no term uses.
    pub(super) fn sweep(&mut self) {
        self.0.retain(|_, domains| Arc::strong_count(domains) > 1);
    }
}

/// The hosts of every domain of a label, of those that `may`.
pub(super) fn domains(key: u32, pool: &Pool, may: impl Fn(HostId) -> bool) -> HashMap<u32, HostWords> {
    let mut domains: HashMap<u32, HostWords> = HashMap::new();
    for host in pool.hosts().known().iter().filter(|host| may(*host)) {
        if let Some(domain) = pool.facts(host).label(key) {
            domains.entry(domain).or_default().push(host);
        }
    }
    domains.values_mut().for_each(HostWords::shrink);
    domains
}
