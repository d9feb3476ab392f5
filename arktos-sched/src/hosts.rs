//! The hosts of the region in columns: what each has, what is taken of it, and what is known of it otherwise.
//!
//! A host's identity is its resource manager and its name: two managers may each have a `node-7`.

use std::collections::HashMap;

use arktos_core::typed::Node;

use crate::intern::{Interner, Marks};
use crate::ports::Port;
use crate::resources::{Amounts, CPU, MEMORY, PODS, ResourceId, ResourceNames};
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

    fn mark(&self, words: &mut Marks) {
        words.mark(self.name_word);
        let labels = self.labels.iter().flat_map(|(key, value)| [*key, *value]);
        let taints = self.taints.iter().flat_map(|taint| [taint.key, taint.value]);
        labels.chain(taints).for_each(|word| words.mark(word));
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

/// How many resources of hosts are taken in, beside what claims take of them.
const COLUMNS_MAX: usize = 2048;

/// One resource of all hosts: there while a host has any, or a pod takes any.
#[derive(Debug)]
pub(crate) struct Column {
    id: ResourceId,
    allocatable: Vec<i64>,
    used: Vec<i64>,
    /// How many hosts have any, and how many pods take any.
    hosts: usize,
    takers: usize,
}

/// The columns, and where each resource has its own.
#[derive(Debug)]
pub(crate) struct Columns {
    all: Vec<Option<Column>>,
    /// By resource; absent or [`NONE`] where there is none.
    places: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Default for Columns {
    fn default() -> Self {
        let mut columns = Self { all: Vec::new(), places: Vec::new() };
        for id in [CPU, MEMORY, PODS] {
            columns.open(id, 0);
        }
        columns
    }
}

impl Columns {
    /// The place of a resource's column.
    pub(crate) fn place(&self, id: ResourceId) -> Option<usize> {
        self.places.get(id as usize).filter(|place| **place != NONE).map(|place| *place as usize)
    }

    fn get(&self, id: ResourceId) -> Option<&Column> {
        self.at(self.place(id)?)
    }

    /// The column at a place.
    pub(crate) fn at(&self, place: usize) -> Option<&Column> {
        self.all.get(place)?.as_ref()
    }

    /// How many resources have a column.
    fn len(&self) -> usize {
        self.all.iter().flatten().count()
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Column> {
        self.all.iter_mut().flatten()
    }

    /// Makes a column for a resource that has none, over so many hosts.
    fn open(&mut self, id: ResourceId, hosts: usize) -> Option<&mut Column> {
        let place = match self.place(id) {
            Some(place) => place,
            None => {
                let vacant = self.all.iter().position(Option::is_none);
                let place = vacant.unwrap_or_else(|| {
                    self.all.push(None);
                    self.all.len() - 1
                });
                if self.places.len() <= id as usize {
                    self.places.resize(id as usize + 1, NONE);
                }
                self.places[id as usize] = u32::try_from(place).unwrap_or(NONE);
                let (allocatable, used) = (vec![0; hosts], vec![0; hosts]);
                self.all[place] = Some(Column { id, allocatable, used, hosts: 0, takers: 0 });
                place
            }
        };
        self.all.get_mut(place)?.as_mut()
    }

    /// Forgets the columns of which no host has anything, and nobody takes anything.
    fn close(&mut self) {
        for place in &mut self.all {
            let Some(column) = place else { continue };
            if column.id > PODS && column.hosts == 0 && column.takers == 0 {
                self.places[column.id as usize] = NONE;
                *place = None;
            }
        }
    }
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
    /// One more than the highest number of a resource manager that ever had a host.
    managers: usize,
    facts: Vec<HostFacts>,
    columns: Columns,
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
        self.managers = self.managers.max(usize::from(manager) + 1);
        Some(host)
    }

    /// A host's place, if it has one.
    #[must_use]
    pub fn find(&self, manager: ManagerId, name: &str) -> Option<HostId> {
        self.places.get(&(manager, Box::from(name))).copied()
    }

    /// The places of the hosts of a name: each resource manager may have one.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<HostId> {
        let managers = (0..self.managers).filter_map(|manager| ManagerId::try_from(manager).ok());
        managers.filter_map(|manager| self.find(manager, name)).collect()
    }

    /// Takes in what a node says of its host. Says what of it is news.
    pub fn describe(&mut self, host: HostId, node: &Node, words: &mut Interner, names: &mut ResourceNames) -> News {
        let at = host as usize;
        let allocatable = names.amounts(&node.status.allocatable);
        for (id, _) in allocatable.iter() {
            if self.columns.place(id).is_some() || self.columns.len() < COLUMNS_MAX {
                self.columns.open(id, self.facts.len());
            }
        }
        let mut news = News::default();
        for column in self.columns.iter_mut() {
            news.amounts |= column.has(at, allocatable.get(column.id));
        }
        if news.amounts {
            self.columns.close();
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
        for column in self.columns.iter_mut() {
            column.has(host as usize, 0);
        }
        self.columns.close();
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
        self.columns.get(id).map_or(0, |column| column.free(host))
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

    /// How many columns there are, those among them that no resource has now.
    #[must_use]
    pub fn resources(&self) -> usize {
        self.columns.all.len()
    }

    /// What there is of each resource.
    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Marks the words that are said of hosts, and the resources that have columns.
    pub(crate) fn mark(&self, words: &mut Marks, names: &mut Marks) {
        self.facts.iter().for_each(|facts| facts.mark(words));
        self.columns.all.iter().flatten().for_each(|column| names.mark(column.id));
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
        for column in self.columns.iter_mut() {
            column.allocatable.push(0);
            column.used.push(0);
        }
        Some(host)
    }

    fn change(&mut self, host: HostId, usage: &Usage, sign: i64) {
        let at = host as usize;
        let mut over = false;
        for (id, amount) in usage.amounts.iter() {
            let Some(column) = self.columns.open(id, self.facts.len()) else { continue };
            column.used[at] = column.used[at].saturating_add(sign * amount);
            column.takers = count(column.takers, sign);
            over |= column.takers == 0 && column.hosts == 0;
        }
        if over {
            self.columns.close();
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
            let has = self.columns.get(id).map_or(0, |column| column.allocatable[at]);
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
    /// How much a host has left.
    pub(crate) fn free(&self, host: HostId) -> i64 {
        let at = host as usize;
        self.allocatable[at].saturating_sub(self.used[at])
    }

    /// A host has so much. Says whether that is news.
    fn has(&mut self, at: usize, amount: i64) -> bool {
        let had = std::mem::replace(&mut self.allocatable[at], amount);
        self.hosts = self.hosts + usize::from(amount > 0) - usize::from(had > 0);
        had != amount
    }
}

/// One more, or one less.
fn count(of: usize, sign: i64) -> usize {
    if sign > 0 { of + 1 } else { of.saturating_sub(1) }
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
