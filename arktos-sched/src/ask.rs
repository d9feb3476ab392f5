//! What a pod asks of a host. Pods that ask for the same thing share one [`class`](crate::class).

use arktos_core::typed::{PodSpec, Toleration};

use crate::hosts::{Effect, TaintFacts, Usage};
use crate::intern::{Interner, Marks};
use crate::ports::ports_of;
use crate::resources::{ResourceNames, requests_of};
use crate::selector::Term;

/// What a pod asks of a host, whichever that is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ask {
    /// What it takes.
    pub usage: Usage,
    /// What it counts for when hosts are compared.
    pub weighed: [i64; 2],
    /// The name the host must have.
    pub node_name: Option<u32>,
    /// The labels the host must have.
    pub labels: Term,
    /// Terms of which one must hold. Absent where nothing is required; an empty list holds for no host.
    pub required: Option<Box<[Term]>>,
    /// Terms that should hold, with their weights.
    pub preferred: Box<[(u32, Term)]>,
    /// The taints that it puts up with.
    pub tolerations: Box<[Tolerated]>,
}

/// Which taints are put up with, in interned words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tolerated {
    /// Any key when absent.
    key: Option<u32>,
    /// Any value when absent.
    value: Option<u32>,
    /// Any effect when absent.
    effect: Option<Effect>,
}

impl Ask {
    /// What a pod asks for.
    pub fn new(spec: &PodSpec, words: &mut Interner, names: &mut ResourceNames) -> Self {
        let amounts = names.claimed(&requests_of(spec));
        let affinity = &spec.affinity.node_affinity;
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref();
        let preferred = &affinity.preferred_during_scheduling_ignored_during_execution;
        Self {
            weighed: amounts.weighed(),
            usage: Usage { amounts, ports: ports_of(spec) },
            node_name: (!spec.node_name.is_empty()).then(|| words.intern(&spec.node_name)),
            labels: Term::labels(&spec.node_selector, words),
            required: required
                .map(|selector| selector.node_selector_terms.iter().map(|term| Term::new(term, words)).collect()),
            preferred: preferred
                .iter()
                .map(|one| (u32::try_from(one.weight).unwrap_or(0), Term::new(&one.preference, words)))
                .collect(),
            tolerations: spec.tolerations.iter().filter_map(|one| Tolerated::new(one, words)).collect(),
        }
    }

    /// Whether it puts up with a taint.
    #[must_use]
    pub fn tolerates(&self, taint: &TaintFacts) -> bool {
        tolerate(&self.tolerations, taint)
    }

    /// The only name that its host may have, where it asks for one, as each pod of a daemon set does.
    pub(crate) fn only_name(&self) -> Option<u32> {
        let required = || match self.required.as_deref() {
            Some([term]) => term.only_name(),
            _ => None,
        };
        self.node_name.or_else(required)
    }

    /// How many things of a host are looked at for it.
    pub(crate) fn size(&self) -> usize {
        self.terms().map(Term::size).sum::<usize>() + self.tolerations.len()
    }

    /// Marks the words in it.
    pub(crate) fn mark(&self, words: &mut Marks) {
        self.node_name.iter().for_each(|name| words.mark(*name));
        self.terms().for_each(|term| term.mark(words));
        self.tolerations.iter().for_each(|one| one.mark(words));
    }

    fn terms(&self) -> impl Iterator<Item = &Term> {
        let required = self.required.iter().flat_map(|terms| terms.iter());
        required.chain(self.preferred.iter().map(|(_, term)| term)).chain([&self.labels])
    }
}

/// Whether a taint is put up with.
pub(crate) fn tolerate(all: &[Tolerated], taint: &TaintFacts) -> bool {
    all.iter().any(|one| one.covers(taint))
}

impl Tolerated {
    fn new(toleration: &Toleration, words: &mut Interner) -> Option<Self> {
        let effect = match toleration.effect.as_str() {
            "" => None,
            "NoSchedule" => Some(Effect::NoSchedule),
            "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
            "NoExecute" => Some(Effect::NoExecute),
            _ => return None,
        };
        let value = match toleration.operator.as_str() {
            "" | "Equal" => Some(words.intern(&toleration.value)),
            "Exists" => None,
            _ => return None, // an operator this version does not know tolerates nothing
        };
        Some(Self { key: (!toleration.key.is_empty()).then(|| words.intern(&toleration.key)), value, effect })
    }

    pub(crate) fn mark(&self, words: &mut Marks) {
        self.key.iter().chain(&self.value).for_each(|word| words.mark(*word));
    }

    fn covers(&self, taint: &TaintFacts) -> bool {
        self.key.is_none_or(|key| key == taint.key)
            && self.value.is_none_or(|value| value == taint.value)
            && self.effect.is_none_or(|effect| effect == taint.effect)
    }
}
