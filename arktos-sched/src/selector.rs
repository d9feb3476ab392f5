//! What a pod asks of its node's labels and name, compiled to interned words.

use std::collections::BTreeMap;

use arktos_core::typed::{NodeSelectorRequirement, NodeSelectorTerm};

use crate::hosts::HostFacts;
use crate::intern::{Interner, Marks};

/// Requirements on a node that must all hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    requirements: Box<[Requirement]>,
    /// A term without any requirement holds for no node.
    never: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Requirement {
    /// The label; `None` is the node's name.
    key: Option<u32>,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Test {
    In(Box<[u32]>),
    NotIn(Box<[u32]>),
    Exists,
    DoesNotExist,
    Above(i64),
    Below(i64),
    Never,
}

impl Term {
    /// A term of a node selector.
    pub fn new(term: &NodeSelectorTerm, words: &mut Interner) -> Self {
        let labels = term.match_expressions.iter().map(|one| (false, one));
        let fields = term.match_fields.iter().map(|one| (true, one));
        let requirements: Box<[Requirement]> =
            labels.chain(fields).map(|(field, one)| Requirement::new(field, one, words)).collect();
        Self { never: requirements.is_empty(), requirements }
    }

    /// The labels of a pod's `nodeSelector`. No labels hold for every node.
    pub fn labels(labels: &BTreeMap<String, String>, words: &mut Interner) -> Self {
        let is = |(key, value): (&String, &String)| Requirement {
            key: Some(words.intern(key)),
            test: Test::In([words.intern(value)].into()),
        };
        Self { requirements: labels.iter().map(is).collect(), never: false }
    }

    /// Whether a host fulfils it.
    #[must_use]
    pub fn holds(&self, host: &HostFacts, words: &Interner) -> bool {
        !self.never && self.requirements.iter().all(|one| one.holds(host, words))
    }

    /// The only name that a host may have, where it asks for one.
    pub(crate) fn only_name(&self) -> Option<u32> {
        self.requirements.iter().find_map(|one| match &one.test {
            Test::In(values) if one.key.is_none() && values.len() == 1 => values.first().copied(),
            _ => None,
        })
    }

    /// How many things of a host it looks at.
    pub(crate) fn size(&self) -> usize {
        self.requirements.len()
    }

    /// Marks the words in it.
    pub(crate) fn mark(&self, words: &mut Marks) {
        for one in &self.requirements {
            one.key.iter().for_each(|key| words.mark(*key));
            if let Test::In(values) | Test::NotIn(values) = &one.test {
                values.iter().for_each(|value| words.mark(*value));
            }
        }
    }

    /// Whether it holds for every node.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        !self.never && self.requirements.is_empty()
    }
}

impl Requirement {
    fn new(field: bool, one: &NodeSelectorRequirement, words: &mut Interner) -> Self {
        let known_field = !field || one.key == "metadata.name";
        let mut values = || {
            let mut values: Vec<u32> = one.values.iter().map(|value| words.intern(value)).collect();
            values.sort_unstable();
            values.into_boxed_slice()
        };
        let bound = || one.values.first().and_then(|value| value.parse::<i64>().ok());
        let test = match one.operator.as_str() {
            _ if !known_field => Test::Never,
            "In" => Test::In(values()),
            "NotIn" => Test::NotIn(values()),
            "Exists" => Test::Exists,
            "DoesNotExist" => Test::DoesNotExist,
            "Gt" => bound().map_or(Test::Never, Test::Above),
            "Lt" => bound().map_or(Test::Never, Test::Below),
            _ => Test::Never,
        };
        Self { key: (!field).then(|| words.intern(&one.key)), test }
    }

    fn holds(&self, host: &HostFacts, words: &Interner) -> bool {
        let value = match self.key {
            Some(key) => host.label(key),
            None => Some(host.name_word),
        };
        let number = || value.and_then(|value| words.word(value).parse::<i64>().ok());
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.binary_search(&value).is_ok()),
            Test::NotIn(values) => value.is_none_or(|value| values.binary_search(&value).is_err()),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
            Test::Above(bound) => number().is_some_and(|number| number > *bound),
            Test::Below(bound) => number().is_some_and(|number| number < *bound),
            Test::Never => false,
        }
    }
}
