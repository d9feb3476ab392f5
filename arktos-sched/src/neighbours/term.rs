//! Terms: which pods count, and what makes a domain.

use std::collections::HashMap;

use arktos_core::selector::{Condition, LabelSelector, Requirement};
use arktos_core::typed::{LabelSelectorSpec, PodAffinityTerm};
use arktos_core::{Encoded, Status};

use super::Placed;
use crate::hosts::HostId;
use crate::intern::Interner;
use crate::pool::Pool;
use crate::set::HostSet;

/// What a pod asks of its neighbours that cannot be done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub &'static str);

impl From<Unsupported> for Status {
    fn from(unsupported: Unsupported) -> Self {
        Self::failure(arktos_core::Reason::NotImplemented, unsupported.0)
    }
}

/// Which pods of a tenant count, and which label of hosts makes a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TermSpec {
    /// A pod counts that each of these is about.
    pub(super) matches: Vec<Match>,
    /// The label, interned.
    pub(super) key: u32,
}

/// Which pods of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Match {
    /// Every namespace when absent.
    pub(super) namespaces: Option<Vec<String>>,
    /// No pod when absent.
    pub(super) selector: Option<LabelSelector>,
}

impl TermSpec {
    /// A term of a pod in a namespace.
    pub(super) fn new(
        term: &PodAffinityTerm,
        namespace: &str,
        pod: &Encoded,
        words: &mut Interner,
    ) -> Result<Self, Unsupported> {
        let namespaces = match &term.namespace_selector {
            Some(selector) if selector.is_empty() => None,
            Some(_) => {
                return Err(Unsupported("namespaceSelector of pod affinity is not supported by this scheduler yet"));
            }
            None if term.namespaces.is_empty() => Some(vec![namespace.to_owned()]),
            None => Some(term.namespaces.clone()),
        };
        let keys = (&term.match_label_keys[..], &term.mismatch_label_keys[..]);
        let selector = term.label_selector.as_ref().map(|spec| selector(spec, keys, pod));
        Ok(Self { matches: vec![Match { namespaces, selector }], key: words.intern(&term.topology_key) })
    }

    /// Whether a pod of a namespace counts.
    pub(super) fn counts(&self, namespace: &str, pod: &Encoded) -> bool {
        self.matches.iter().all(|one| one.is_about(namespace, pod))
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

impl Match {
    fn is_about(&self, namespace: &str, pod: &Encoded) -> bool {
        let within = self.namespaces.as_ref().is_none_or(|names| names.iter().any(|name| name == namespace));
        within && self.selector.as_ref().is_some_and(|selector| selector.matches_header(pod.header()))
    }
}

/// The selector of a term, with the labels that must be equal to (or differ from) the incoming pod's own.
pub(super) fn selector(spec: &LabelSelectorSpec, keys: (&[String], &[String]), pod: &Encoded) -> LabelSelector {
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
    let own = |key: &String| pod.header().label(key).map(|value| (key.clone(), vec![value.to_owned()]));
    let equal = keys.0.iter().filter_map(own).map(|(key, values)| (key, Condition::In(values)));
    let differ = keys.1.iter().filter_map(own).map(|(key, values)| (key, Condition::NotIn(values)));
    requirements.extend(equal.chain(differ).map(|(key, condition)| Requirement { key, condition }));
    LabelSelector::new(requirements)
}

/// A term with its counters.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) spec: TermSpec,
    /// How many pods use it: waiting ones, and placed ones that keep others away by it.
    pub(super) users: usize,
    /// How many pods count, in all domains.
    pub(super) total: i64,
    /// The hosts of domains with pods that count.
    pub(super) present: HostSet,
    /// The hosts of domains with pods that keep others away by this term.
    pub(super) held: HostSet,
    /// The hosts that are in any domain.
    pub(super) labelled: HostSet,
    counts: HashMap<u32, i64>,
    holders: HashMap<u32, i64>,
    domains: HashMap<u32, Vec<HostId>>,
}

impl Term {
    pub(super) fn new(spec: TermSpec, pool: &Pool) -> Self {
        let mut labelled = HostSet::new();
        let domains = domains(spec.key, pool, |_| true);
        domains.values().flatten().for_each(|host| labelled.insert(*host));
        let (present, held) = (HostSet::new(), HostSet::new());
        Self {
            spec,
            users: 0,
            total: 0,
            present,
            held,
            labelled,
            counts: HashMap::new(),
            holders: HashMap::new(),
            domains,
        }
    }

    /// A pod comes to a host, or leaves it.
    pub(super) fn count(&mut self, placed: &Placed, host: HostId, pool: &Pool, sign: i64) {
        if !self.spec.counts(&placed.namespace, &placed.object) {
            return;
        }
        if let Some(domain) = pool.facts(host).label(self.spec.key) {
            self.total += sign;
            mark(&mut self.counts, &mut self.present, &self.domains, domain, sign);
        }
    }

    /// A pod that keeps others away by this term comes to a host, or leaves it.
    pub(super) fn hold(&mut self, host: HostId, pool: &Pool, sign: i64) {
        if let Some(domain) = pool.facts(host).label(self.spec.key) {
            mark(&mut self.holders, &mut self.held, &self.domains, domain, sign);
        }
    }

    /// Whether any pod keeps others away by this term.
    pub(super) fn holds_any(&self) -> bool {
        !self.holders.is_empty()
    }
}

/// Changes a domain's counter, and the bits of its hosts when it comes from zero or goes back to it.
fn mark(
    counts: &mut HashMap<u32, i64>,
    hosts: &mut HostSet,
    domains: &HashMap<u32, Vec<HostId>>,
    domain: u32,
    sign: i64,
) {
    let count = counts.entry(domain).or_default();
    let before = *count;
    *count += sign;
    let after = *count;
    if after == 0 {
        counts.remove(&domain);
    }
    if (before > 0) != (after > 0) {
        for host in domains.get(&domain).into_iter().flatten() {
            hosts.set(*host, after > 0);
        }
    }
}

/// The hosts of every domain of a label, of those that `may`.
pub(super) fn domains(key: u32, pool: &Pool, may: impl Fn(HostId) -> bool) -> HashMap<u32, Vec<HostId>> {
    let mut domains: HashMap<u32, Vec<HostId>> = HashMap::new();
    for host in pool.hosts().known().iter().filter(|host| may(*host)) {
        if let Some(domain) = pool.facts(host).label(key) {
            domains.entry(domain).or_default().push(host);
        }
    }
    domains
}
