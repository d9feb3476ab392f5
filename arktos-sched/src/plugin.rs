//! What decides where a pod may go and where it should: four small traits, and the set of those that are in use.
//!
//! | asks | of | answered |
//! |---|---|---|
//! | [`Filter`] | what seldom changes of a host | once for each class and host, kept as bits |
//! | [`Preference`] | the same | once for each class and host, kept as points |
//! | [`Fit`] | what every bind changes | during the search, for blocks first |
//! | [`Score`] | the same | during the search, for blocks first |
//!
//! A plugin of your own implements one of them and is added to [`Plugins`]:
//!
//! ```
//! use arktos_sched::ask::Ask;
//! use arktos_sched::hosts::HostFacts;
//! use arktos_sched::intern::Interner;
//! use arktos_sched::plugin::{POINT, Plugins, Preference};
//!
//! /// Prefers hosts with the label `disk=fast`.
//! struct FastDisks;
//!
//! impl Preference for FastDisks {
//!     fn name(&self) -> &'static str {
//!         "FastDisks"
//!     }
//!
//!     fn points(&self, _: &Ask, host: &HostFacts, words: &Interner) -> i32 {
//!         // Labels are interned: a key that no host has has no number.
//!         let value = words.find("disk").and_then(|key| host.label(key));
//!         if value.is_some_and(|value| words.word(value) == "fast") { 50 * POINT } else { 0 }
//!     }
//! }
//!
//! let mut plugins = Plugins::default();
//! plugins.preferences.push(Box::new(FastDisks));
//! ```
//!
//! It is given to [`Options::plugins`](crate::Options), or in process to `arktos::Builder::plugins`. Pods that ask for
//! the same thing share their answers ([`Ask`]), so a plugin sees what a pod asks for: requests, node name, selectors,
//! tolerations, affinity. It does not see the pod itself, its name or its labels.

use std::borrow::Cow;

use crate::ask::Ask;
use crate::builtin;
use crate::hosts::{HostFacts, HostId, Hosts};
use crate::intern::Interner;
use crate::resources::ResourceNames;
use crate::tree::Block;

/// Why a host is no place for a pod, in kube-scheduler's words where it has some.
pub type Reason = Cow<'static, str>;

/// A thousandth of a point; upstream's scores go from 0 to 100 points.
pub const POINT: i32 = 1000;

/// Keeps pods off hosts for what seldom changes of a host.
pub trait Filter: Send + Sync {
    /// Its name, as upstream calls it.
    fn name(&self) -> &'static str;

    /// Whether a pod may go to a host.
    ///
    /// # Errors
    /// The reason why not.
    fn admits(&self, ask: &Ask, host: &HostFacts, words: &Interner) -> Result<(), Reason>;
}

/// Prefers hosts for what seldom changes of a host.
pub trait Preference: Send + Sync {
    /// Its name, as upstream calls it.
    fn name(&self) -> &'static str;

    /// How much a pod prefers a host, in thousandths of a point; below zero when it would rather not. Zero for most
    /// hosts: a class keeps points only from the first host on that has any.
    fn points(&self, ask: &Ask, host: &HostFacts, words: &Interner) -> i32;
}

/// Keeps pods off hosts for what every bind changes.
pub trait Fit: Send + Sync {
    /// Its name, as upstream calls it.
    fn name(&self) -> &'static str;

    /// Whether some host of a block may do; `false` only when none does.
    fn may_fit(&self, ask: &Ask, block: Block<'_>) -> bool {
        let _ = (ask, block);
        true
    }

    /// Whether a pod fits on a host.
    fn fits(&self, ask: &Ask, hosts: &Hosts, host: HostId) -> bool;

    /// How many such pods fit on a host, one after the other.
    fn room(&self, ask: &Ask, hosts: &Hosts, host: HostId) -> usize {
        usize::from(self.fits(ask, hosts, host))
    }

    /// Why a pod does not fit on a host. Nothing when it does.
    fn reasons(&self, ask: &Ask, hosts: &Hosts, host: HostId, names: &ResourceNames) -> Vec<Reason>;
}

/// Compares hosts by what every bind changes.
pub trait Score: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// How good a place a host is, in thousandths of a point.
    fn score(&self, ask: &Ask, hosts: &Hosts, host: HostId) -> i32;

    /// What no host of a block exceeds.
    fn bound(&self, ask: &Ask, block: Block<'_>) -> i32;
}

/// The plugins in use, in the order in which reasons are given.
pub struct Plugins {
    /// Asked once for each class and host.
    pub filters: Vec<Box<dyn Filter>>,
    /// Asked once for each class and host.
    pub preferences: Vec<Box<dyn Preference>>,
    /// Asked during a search.
    pub fits: Vec<Box<dyn Fit>>,
    /// Asked during a search.
    pub scores: Vec<Box<dyn Score>>,
}

/// The built-in ones.
impl Default for Plugins {
    fn default() -> Self {
        Self {
            filters: vec![
                Box::new(builtin::NodeUnschedulable),
                Box::new(builtin::NodeName),
                Box::new(builtin::TaintToleration),
                Box::new(builtin::NodeAffinity),
            ],
            preferences: vec![Box::new(builtin::TaintToleration), Box::new(builtin::NodeAffinity)],
            fits: vec![Box::new(builtin::NodePorts), Box::new(builtin::NodeResourcesFit)],
            scores: vec![Box::new(builtin::EmptiestBalanced)],
        }
    }
}

impl Plugins {
    /// The built-in ones, but for the score: hosts are filled up one after the other, so that others stay empty.
    #[must_use]
    pub fn packing() -> Self {
        Self { scores: vec![Box::new(builtin::FullestBalanced)], ..Self::default() }
    }

    /// The first reason why a host is never a place for a pod, if there is one.
    #[must_use]
    pub fn refusal(&self, ask: &Ask, host: &HostFacts, words: &Interner) -> Option<Reason> {
        self.filters.iter().find_map(|filter| filter.admits(ask, host, words).err())
    }

    /// Whether a pod that asks for a host by its name goes nowhere else.
    pub(crate) fn keep_to_names(&self) -> bool {
        let has = |name: &str| self.filters.iter().any(|filter| filter.name() == name);
        has("NodeName") && has("NodeAffinity")
    }

    /// How much a pod prefers a host.
    #[must_use]
    pub fn points(&self, ask: &Ask, host: &HostFacts, words: &Interner) -> i32 {
        self.preferences.iter().map(|one| one.points(ask, host, words)).sum()
    }

    /// Whether some host of a block may fit.
    #[must_use]
    pub fn may_fit(&self, ask: &Ask, block: Block<'_>) -> bool {
        self.fits.iter().all(|fit| fit.may_fit(ask, block))
    }

    /// Whether a pod fits on a host now.
    #[must_use]
    pub fn fits(&self, ask: &Ask, hosts: &Hosts, host: HostId) -> bool {
        self.fits.iter().all(|fit| fit.fits(ask, hosts, host))
    }

    /// The sum of the scores of a host.
    #[must_use]
    pub fn score(&self, ask: &Ask, hosts: &Hosts, host: HostId) -> i32 {
        self.scores.iter().map(|score| score.score(ask, hosts, host)).sum()
    }

    /// What no host's sum of scores exceeds in a block.
    #[must_use]
    pub fn bound(&self, ask: &Ask, block: Block<'_>) -> i32 {
        self.scores.iter().map(|score| score.bound(ask, block)).sum()
    }
}
