//! The hosts of the region in columns: what each has, what is taken of it, and what is known of it otherwise.
//!
//! A host's identity is its resource manager and its name: two managers may each have a `node-7`.

use std::collections::HashMap;

use arktos_core::typed::Node;

use crate::intern::Interner;
use crate::ports::Port;
use crate::resources::{Amounts, CPU, MEMORY, NOWHERE, ResourceId, ResourceNames};
use crate::set::{HOSTS_MAX, HostSet};

/// A host's place in the columns. It is used again after the host is gone.
pub type HostId = u32;
/// A resource manager's place in the list the pool was made with.
pub type ManagerId = u16;

/// What is taken of a host by one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// The resources.
    pub amounts: Amounts,
    /// The ports.
    pub ports: Box<[Port]>,
}

/// A taint, in interned words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaintFacts {
    /// Its key.
    pub key: u32,
    /// Its value.
    pub value: u32,
    /// What it does.
    pub effect: Effect,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Keeps new ones away.
    NoSchedule,
    /// Keeps them away where there is another place.
    PreferNoSchedule,
    /// Keeps new ones away and sends those off that are there.
    NoExecute,
}

/// What is known of a host and seldom changes: what static filters look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Its resource manager.
    pub manager: ManagerId,
    /// Its name.
    pub name: Box<str>,
    /// Its name, interned.
    pub name_word: u32,
    /// Its labels, interned, sorted by key.
    pub labels: Box<[(u32, u32)]>,
    /// Its taints.
    pub taints: Box<[TaintFacts]>,
    /// Whether new pods are kept away.
    pub unschedulable: bool,
}

impl HostFacts {
    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: u32) -> Option<u32> {
        let at = self.labels.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        self.labels.get(at).map(|(_, value)| *value)
    }
}

/// What has changed of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    /// What static filters look at.
    pub facts: bool,
    /// How much it has.
    pub amounts: bool,
}

/// One resource of all hosts.
#[derive(Debug, Default)]
struct Column {
    allocatable: Vec<i64>,
    used: Vec<i64>,
}

/// How full a host is, as it is compared: parts of one, by processors and memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// The part of each that is taken.
    pub taken: [f64; 2],
    /// One divided by what there is of each; zero where there is nothing.
    pub unit: [f64; 2],
}

impl Load {
    /// A host that has nothing.
    pub const FULL: Self = Self { taken: [1.0; 2], unit: [0.0; 2] };

    /// The part that would be taken of the fuller of the two, with so much more.
    #[must_use]
    pub fn fuller_with(&self, weighed: [i64; 2]) -> f64 {
        let [one, other] = self.with(weighed);
        one.max(other)
    }

    /// The part that would be taken of the emptier of the two, with so much more.
    #[must_use]
    pub fn emptier_with(&self, weighed: [i64; 2]) -> f64 {
        let [one, other] = self.with(weighed);
        one.min(other)
    }

    fn with(&self, weighed: [i64; 2]) -> [f64; 2] {
        [0, 1].map(|at| self.taken[at] + weighed[at] as f64 * self.unit[at])
    }
}

/// The hosts, in columns. Written by the [`Pool`](crate::Pool) alone, which keeps its tree in step.
#[derive(Debug, Default)]
pub struct Hosts {
    places: HashMap<(ManagerId, Box<str>), HostId>,
    facts: Vec<HostFacts>,
    columns: Vec<Column>,
    /// What is taken as hosts are compared: a pod without requests counts for a little.
    weighed: Vec<[i64; 2]>,
    load: Vec<Load>,
    ports: HashMap<HostId, Vec<Port>>,
    /// How many pods are there. A host that is gone keeps its place while there are any.
    takers: Vec<u32>,
    known: HostSet,
    vacant: Vec<HostId>,
}

impl Hosts {
    /// A host's place, given out when it has none yet; `None` when the pool is full.
    pub fn place(&mut self, manager: ManagerId, name: &str, words: &mut Interner) -> Option<HostId> {
        if let Some(host) = self.find(manager, name) {
            return Some(host);
        }
        let host = match self.vacant.pop() {
            Some(host) => host,
            None if self.facts.len() >= HOSTS_MAX => return None,
            None => self.grow()?,
        };
        let facts = HostFacts { manager, name: name.into(), name_word: words.intern(name), ..HostFacts::default() };
        self.facts[host as usize] = facts;
        self.places.insert((manager, name.into()), host);
        Some(host)
    }

    /// A host's place, if it has one.
    #[must_use]
    pub fn find(&self, manager: ManagerId, name: &str) -> Option<HostId> {
        self.places.get(&(manager, Box::from(name))).copied()
    }

    /// Takes in what a node says of its host. Says what of it is news.
    pub fn describe(&mut self, host: HostId, node: &Node, words: &mut Interner, names: &mut ResourceNames) -> News {
        let at = host as usize;
        let allocatable = names.amounts(&node.status.allocatable);
        let columns = allocatable.iter().map(|(id, _)| id as usize + 1).max().unwrap_or(0);
        self.widen(columns);
        let mut news = News::default();
        for (id, column) in self.columns.iter_mut().enumerate() {
            let has = allocatable.get(ResourceId::try_from(id).unwrap_or(ResourceId::MAX));
            news.amounts |= std::mem::replace(&mut column.allocatable[at], has) != has;
        }
        self.weigh(host);
        let old = &self.facts[at];
        let new = HostFacts {
            manager: old.manager,
            name: old.name.clone(),
            name_word: old.name_word,
            labels: labels_of(node, words),
            taints: taints_of(node, words),
            unschedulable: node.spec.unschedulable,
        };
        news.facts = !self.known.contains(host) || new != *old;
        self.facts[at] = new;
        self.known.insert(host);
        news
    }

    /// Forgets a host. What is taken of it stays taken until it is given back.
    pub fn forget(&mut self, host: HostId) {
        self.known.remove(host);
        for column in &mut self.columns {
            column.allocatable[host as usize] = 0;
        }
        self.weigh(host);
        self.vacate(host);
    }

    /// Takes something of a host.
    pub fn take(&mut self, host: HostId, usage: &Usage) {
        self.change(host, usage, 1);
        if !usage.ports.is_empty() {
            self.ports.entry(host).or_default().extend(usage.ports.iter().cloned());
        }
    }

    /// Gives back what was taken of a host.
    pub fn give_back(&mut self, host: HostId, usage: &Usage) {
        self.change(host, usage, -1);
        if let Some(taken) = self.ports.get_mut(&host) {
            for port in &usage.ports {
                if let Some(at) = taken.iter().position(|one| one == port) {
                    taken.swap_remove(at);
                }
            }
            if taken.is_empty() {
                self.ports.remove(&host);
            }
        }
        self.vacate(host);
    }

    /// What is known of a host.
    #[must_use]
    pub fn facts(&self, host: HostId) -> &HostFacts {
        &self.facts[host as usize]
    }

    /// How much of a resource a host has left; below zero when more is taken than it has.
    #[must_use]
    pub fn free(&self, host: HostId, id: ResourceId) -> i64 {
        self.columns.get(id as usize).map_or(0, |column| column.free(host))
    }

    /// How full a host is.
    #[must_use]
    pub fn load(&self, host: HostId) -> Load {
        self.load[host as usize]
    }

    /// The ports that are taken of a host.
    #[must_use]
    pub fn ports(&self, host: HostId) -> &[Port] {
        self.ports.get(&host).map_or(&[], Vec::as_slice)
    }

    /// The hosts that a node stands for.
    #[must_use]
    pub fn known(&self) -> &HostSet {
        &self.known
    }

    /// How many resources the columns have.
    #[must_use]
    pub fn resources(&self) -> usize {
        self.columns.len()
    }

    /// One more than the highest place that was ever given out.
    #[must_use]
    pub fn end(&self) -> usize {
        self.facts.len()
    }

    fn grow(&mut self) -> Option<HostId> {
        let host = HostId::try_from(self.facts.len()).ok()?;
        self.facts.push(HostFacts::default());
        self.weighed.push([0; 2]);
        self.load.push(Load::FULL);
        self.takers.push(0);
        for column in &mut self.columns {
            column.allocatable.push(0);
            column.used.push(0);
        }
        Some(host)
    }

    fn widen(&mut self, columns: usize) {
        let hosts = self.facts.len();
        while self.columns.len() < columns {
            self.columns.push(Column { allocatable: vec![0; hosts], used: vec![0; hosts] });
        }
    }

    fn change(&mut self, host: HostId, usage: &Usage, sign: i64) {
        let known = || usage.amounts.iter().filter(|(id, _)| *id != NOWHERE);
        self.widen(known().map(|(id, _)| id as usize + 1).max().unwrap_or(0));
        let at = host as usize;
        for (id, amount) in known() {
            let used = &mut self.columns[id as usize].used[at];
            *used = used.saturating_add(sign * amount);
        }
        for (weighed, amount) in self.weighed[at].iter_mut().zip(usage.amounts.weighed()) {
            *weighed = weighed.saturating_add(sign * amount);
        }
        let takers = &mut self.takers[at];
        *takers = if sign > 0 { takers.saturating_add(1) } else { takers.saturating_sub(1) };
        self.weigh(host);
    }

    fn weigh(&mut self, host: HostId) {
        let at = host as usize;
        let mut load = Load::FULL;
        for (place, id) in [CPU, MEMORY].into_iter().enumerate() {
            let has = self.columns.get(id as usize).map_or(0, |column| column.allocatable[at]);
            if has > 0 {
                load.unit[place] = 1.0 / has as f64;
                load.taken[place] = self.weighed[at][place] as f64 * load.unit[place];
            }
        }
        self.load[at] = load;
    }

    fn vacate(&mut self, host: HostId) {
        let at = host as usize;
        let facts = &self.facts[at];
        let idle = self.takers[at] == 0 && !self.known.contains(host);
        if idle && self.places.remove(&(facts.manager, facts.name.clone())).is_some() {
            self.facts[at] = HostFacts::default();
            self.vacant.push(host);
        }
    }
}

impl Column {
    fn free(&self, host: HostId) -> i64 {
        let at = host as usize;
        self.allocatable[at].saturating_sub(self.used[at])
    }
}

fn labels_of(node: &Node, words: &mut Interner) -> Box<[(u32, u32)]> {
    let mut labels: Vec<(u32, u32)> =
        node.metadata.labels.iter().map(|(key, value)| (words.intern(key), words.intern(value))).collect();
    labels.sort_unstable();
    labels.into()
}

fn taints_of(node: &Node, words: &mut Interner) -> Box<[TaintFacts]> {
    let facts = |taint: &arktos_core::typed::Taint| {
        let effect = match taint.effect.as_str() {
            "NoSchedule" => Effect::NoSchedule,
            "PreferNoSchedule" => Effect::PreferNoSchedule,
            "NoExecute" => Effect::NoExecute,
            _ => return None,
        };
        Some(TaintFacts { key: words.intern(&taint.key), value: words.intern(&taint.value), effect })
    };
    node.spec.taints.iter().filter_map(facts).collect()
}
