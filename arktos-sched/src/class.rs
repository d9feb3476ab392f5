//! Classes: pods that ask for the same thing, and the hosts they may go to.
//!
//! What seldom changes of a host is asked once for each class and host and kept as bits; a search only reads them.
//!
//! The bits are made when a pod of the class is first to be placed, a part of the hosts at a time: that is the work
//! of whoever's turn it is, however many kinds of pods there are. They are kept up for the classes that were asked
//! for last; others are looked at anew when their turn comes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::ask::Ask;
use crate::hosts::{HostId, Hosts};
use crate::intern::{Interner, Marks};
use crate::plugin::{Plugins, Reason};
use crate::set::{DEPTH, HostSet};

/// A class's place in the table. It is used again after the class is gone.
pub type ClassId = u32;

/// How many classes without pods are kept, in case their like comes again.
const IDLE_MAX: usize = 512;
/// Of how many classes the bits are kept up when hosts change.
const READY_MAX: usize = 1024;
/// A class that looks at more things of a host is large: of few of these bits are kept up, and none is kept without
/// pods.
const LARGE: usize = 256;
const LARGE_READY_MAX: usize = 16;
/// A class that has begun to look at hosts is let go on, unless so many others were asked for since.
const REST: u64 = 4096;
/// To look at so many more things of a host takes as long as to look at it.
const THINGS: usize = 16;
/// It has looked at all hosts.
const ALL: HostId = HostId::MAX;

/// Pods that ask for the same thing.
#[derive(Debug)]
pub struct Class {
    /// What they ask for.
    pub ask: Arc<Ask>,
    /// The hosts they may go to, as far as static filters say, of those that were looked at.
    pub hosts: HostSet,
    /// How much they prefer each host, where they prefer any.
    pub points: Option<Points>,
    /// The hosts they may not go to, by the reason, where it takes long to find out.
    refused: BTreeMap<Reason, HostSet>,
    /// The hosts before this one were looked at, those aside that do not have the name it asks for.
    looked: HostId,
    /// What it is to look at one host.
    cost: usize,
    /// When it was last asked for.
    asked: u64,
    pods: usize,
    idle: bool,
}

/// All classes. Written by the [`Pool`](crate::Pool).
#[derive(Debug, Default)]
pub struct Classes {
    ids: HashMap<Arc<Ask>, ClassId>,
    table: Vec<Option<Class>>,
    vacant: Vec<ClassId>,
    idle: VecDeque<ClassId>,
    /// Those that have bits, small and large, the ones that were asked for last at the end.
    ready: BTreeMap<u64, ClassId>,
    large: BTreeMap<u64, ClassId>,
    round: u64,
}

impl Classes {
    /// The class of what a pod asks for, made when there is none; it stays until as many pods have left as came.
    pub fn enter(&mut self, ask: Ask) -> ClassId {
        if let Some(id) = self.ids.get(&ask).copied() {
            if let Some(class) = self.get_mut(id) {
                class.pods += 1;
            }
            return id;
        }
        let ask = Arc::new(ask);
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.table.push(None);
            ClassId::try_from(self.table.len() - 1).unwrap_or(ClassId::MAX)
        });
        self.table[id as usize] = Some(Class::new(ask.clone()));
        self.ids.insert(ask, id);
        id
    }

    /// A pod leaves its class. A class without pods is forgotten after a while; says which one now was.
    pub fn leave(&mut self, id: ClassId) -> Option<ClassId> {
        let class = self.get_mut(id)?;
        class.pods = class.pods.saturating_sub(1);
        if class.pods > 0 || class.idle {
            return None;
        }
        if class.is_large() {
            return self.forget(id);
        }
        class.idle = true;
        self.idle.push_back(id);
        let oldest = if self.idle.len() > IDLE_MAX { self.idle.pop_front()? } else { return None };
        let class = self.get_mut(oldest)?;
        class.idle = false;
        if class.pods > 0 { None } else { self.forget(oldest) }
    }

    fn forget(&mut self, id: ClassId) -> Option<ClassId> {
        let class = self.table.get_mut(id as usize)?.take()?;
        self.ids.remove(&class.ask);
        if class.is_large() { &mut self.large } else { &mut self.ready }.remove(&class.asked);
        self.vacant.push(id);
        Some(id)
    }

    /// A class.
    #[must_use]
    pub fn get(&self, id: ClassId) -> Option<&Class> {
        self.table.get(id as usize)?.as_ref()
    }

    /// Looks at all hosts for a class that has no bits, or goes on to, until so much was done. Says how much was, and
    /// whether that was all.
    pub fn prepare(
        &mut self,
        id: ClassId,
        most: usize,
        hosts: &Hosts,
        plugins: &Plugins,
        words: &Interner,
    ) -> (usize, bool) {
        if !self.note(id) {
            return (0, false);
        }
        let Some(class) = self.get_mut(id) else { return (0, true) };
        let mut looked = 0;
        if class.looked < ALL
            && let Some(named) = class.named(hosts, plugins, words)
        {
            // The others are none of its hosts, as those are that have not been looked at.
            for host in named {
                class.look_at(host, hosts, plugins, words);
                looked += class.cost;
            }
            class.looked = ALL;
        }
        if class.looked < ALL {
            let begin = class.looked;
            for host in hosts.known().iter().skip_while(|host| *host < begin) {
                if looked >= most {
                    return (looked, false);
                }
                class.looked = host + 1;
                class.look_at(host, hosts, plugins, words);
                looked += class.cost;
            }
            class.looked = ALL;
        }
        (looked, true)
    }

    /// A class is asked for: another one loses its bits, if there are too many. Says whether there is room for its own.
    fn note(&mut self, id: ClassId) -> bool {
        self.round += 1;
        let (table, round) = (&self.table, self.round);
        let of = |id: ClassId| table.get(id as usize).and_then(Option::as_ref);
        let Some((asked, large)) = of(id).map(|class| (class.asked, class.is_large())) else { return true };
        let (ready, most) = if large { (&mut self.large, LARGE_READY_MAX) } else { (&mut self.ready, READY_MAX) };
        let mut loses = None;
        if ready.remove(&asked).is_none() && ready.len() >= most {
            // Who has begun goes on: else two could take them from each other for ever.
            let gives = |(asked, id): &(&u64, &ClassId)| {
                **asked + REST < round || of(**id).is_none_or(|class| class.looked == ALL)
            };
            let Some((asked, other)) = ready.iter().find(gives).map(|(asked, id)| (*asked, *id)) else { return false };
            ready.remove(&asked);
            loses = Some(other);
        }
        ready.insert(round, id);
        if let Some(other) = loses.and_then(|id| self.get_mut(id)) {
            other.unlook();
        }
        if let Some(class) = self.get_mut(id) {
            class.asked = round;
        }
        true
    }

    /// Looks at a host again, in every class that has bits.
    pub fn look_at(&mut self, host: HostId, hosts: &Hosts, plugins: &Plugins, words: &Interner) {
        for id in self.ready.values().chain(self.large.values()) {
            if let Some(class) = self.table.get_mut(*id as usize).and_then(Option::as_mut)
                && host < class.looked
            {
                class.look_at(host, hosts, plugins, words);
            }
        }
    }

    /// Marks the words and the resources that classes ask for.
    pub(crate) fn mark(&self, words: &mut Marks, names: &mut Marks) {
        for class in self.table.iter().flatten() {
            class.ask.mark(words);
            class.ask.usage.amounts.iter().for_each(|(id, _)| names.mark(id));
        }
    }

    /// How many there are, and how many of them have bits.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize) {
        let has_bits = |class: &&Class| class.looked > 0;
        (self.table.iter().flatten().count(), self.table.iter().flatten().filter(has_bits).count())
    }

    fn get_mut(&mut self, id: ClassId) -> Option<&mut Class> {
        self.table.get_mut(id as usize)?.as_mut()
    }
}

impl Class {
    fn new(ask: Arc<Ask>) -> Self {
        Self {
            cost: 1 + ask.size() / THINGS,
            ask,
            hosts: HostSet::new(),
            points: None,
            refused: BTreeMap::new(),
            looked: 0,
            asked: 0,
            pods: 1,
            idle: false,
        }
    }

    fn is_large(&self) -> bool {
        self.cost > LARGE / THINGS
    }

    /// What it is to look at one host, where one thing of it is one.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// All hosts that may do, where its pods ask for one by its name.
    pub(crate) fn named(&self, hosts: &Hosts, plugins: &Plugins, words: &Interner) -> Option<Vec<HostId>> {
        let name = self.ask.only_name().filter(|_| !self.is_large() && plugins.keep_to_names())?;
        Some(hosts.named(words.word(name)))
    }

    /// Why its pods may never go to a host, if so.
    pub(crate) fn refusal(&self, host: HostId, hosts: &Hosts, plugins: &Plugins, words: &Interner) -> Option<Reason> {
        if host < self.looked {
            if self.hosts.contains(host) {
                return None;
            }
            if let Some((reason, _)) = self.refused.iter().find(|(_, hosts)| hosts.contains(host)) {
                return Some(reason.clone());
            }
        }
        plugins.refusal(&self.ask, hosts.facts(host), words)
    }

    /// Forgets its bits.
    fn unlook(&mut self) {
        (self.hosts, self.points, self.looked) = (HostSet::new(), None, 0);
        self.refused.clear();
    }

    fn look_at(&mut self, host: HostId, hosts: &Hosts, plugins: &Plugins, words: &Interner) {
        let facts = hosts.facts(host);
        let known = hosts.known().contains(host);
        let refusal = if known { plugins.refusal(&self.ask, facts, words) } else { None };
        let admitted = known && refusal.is_none();
        self.hosts.set(host, admitted);
        if self.is_large() {
            self.refused.values_mut().for_each(|hosts| hosts.remove(host));
            if let Some(reason) = refusal {
                self.refused.entry(reason).or_default().insert(host);
            }
        }
        let points = if admitted { plugins.points(&self.ask, facts, words) } else { 0 };
        match &mut self.points {
            Some(known) => known.set(host, points),
            None if points != 0 => self.points.get_or_insert_default().set(host, points),
            None => {}
        }
    }
}

/// Points of hosts, and the most of every block of them. A host that was never given any has none.
#[derive(Debug, Default)]
pub struct Points {
    hosts: Vec<i32>,
    blocks: [Vec<i32>; DEPTH],
}

impl Points {
    /// The points of a host.
    #[must_use]
    pub fn of(&self, host: HostId) -> i32 {
        self.hosts.get(host as usize).copied().unwrap_or(0)
    }

    /// The most points of a host of a block.
    #[must_use]
    pub fn most(&self, level: usize, at: usize) -> i32 {
        self.blocks.get(level).and_then(|blocks| blocks.get(at)).copied().unwrap_or(0)
    }

    fn set(&mut self, host: HostId, points: i32) {
        let mut at = host as usize;
        let mut below = &mut self.hosts;
        put(below, at, points);
        for level in &mut self.blocks {
            at /= 64;
            let end = below.len().min(at * 64 + 64);
            let most = below.get(at * 64..end).unwrap_or_default().iter().copied().max().unwrap_or(0);
            put(level, at, most);
            below = level;
        }
    }
}

fn put(values: &mut Vec<i32>, at: usize, value: i32) {
    if values.len() <= at {
        values.resize(at + 1, 0);
    }
    values[at] = value;
}
