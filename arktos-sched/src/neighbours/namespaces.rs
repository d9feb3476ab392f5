//! The labels of a tenant's namespaces, and in which of these a term looks for pods.

use std::collections::HashMap;

use arktos_core::selector::LabelSelector;
use arktos_core::typed::PodAffinityTerm;

use super::term::requirements;

/// The label that every namespace has: its name.
const NAME: &str = "kubernetes.io/metadata.name";

/// What is known of a tenant's namespaces. Most have no label but their name, and are not kept.
#[derive(Debug, Default)]
pub(super) struct Namespaces(HashMap<Box<str>, Labels>);

/// The labels of a namespace, but for its name.
pub(super) type Labels = Box<[(Box<str>, Box<str>)]>;

/// Those of labels that are to be kept.
pub(super) fn kept<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
    labels.filter(|(key, _)| *key != NAME).map(|(key, value)| (key.into(), value.into())).collect()
}

impl Namespaces {
    /// A namespace has these labels. Says whether that is news.
    pub(super) fn set(&mut self, name: &str, labels: Labels) -> bool {
        if self.0.get(name).map_or(&[][..], |known| known) == &*labels {
            return false;
        }
        if labels.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name.into(), labels);
        }
        true
    }

    /// Whether none has labels.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn label<'a>(&'a self, namespace: &'a str, key: &str) -> Option<&'a str> {
        if key == NAME {
            return Some(namespace);
        }
        let labels = self.0.get(namespace)?;
        labels.iter().find(|(known, _)| **known == *key).map(|(_, value)| &**value)
    }
}

/// The namespaces of a tenant in which a term looks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Within {
    /// Those with these names,
    names: Vec<String>,
    /// and those with these labels.
    labels: Option<LabelSelector>,
}

impl Within {
    /// One namespace.
    pub(super) fn only(name: &str) -> Self {
        Self { names: vec![name.to_owned()], labels: None }
    }

    /// Those of a term: its pod's own where it names and selects none.
    pub(super) fn of(term: &PodAffinityTerm, namespace: &str) -> Self {
        if term.namespaces.is_empty() && term.namespace_selector.is_none() {
            return Self::only(namespace);
        }
        let labels = term.namespace_selector.as_ref().map(|spec| LabelSelector::new(requirements(spec)));
        Self { names: term.namespaces.clone(), labels }
    }

    /// Whether a namespace is one of them.
    pub(super) fn has(&self, namespace: &str, known: &Namespaces) -> bool {
        let selects = |labels: &LabelSelector| labels.matches(|key| known.label(namespace, key));
        self.names.iter().any(|name| name == namespace) || self.labels.as_ref().is_some_and(selects)
    }

    /// Whether labels of namespaces decide.
    pub(super) fn reads_labels(&self) -> bool {
        self.labels.as_ref().is_some_and(|labels| !labels.is_everything())
    }
}
