//! Classes: pods that ask for the same thing, and the hosts they may go to.
//!
//! What seldom changes of a host is asked once for each class and host and kept as bits; a search only reads them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::ask::Ask;
use crate::hosts::{HostId, Hosts};
use crate::intern::Interner;
use crate::plugin::Plugins;
use crate::set::{DEPTH, HostSet};

/// A class's place in the table. It is used again after the class is gone.
pub type ClassId = u32;

/// How many classes without pods are kept, in case their like comes again.
const IDLE_MAX: usize = 512;

/// Pods that ask for the same thing.
#[derive(Debug)]
pub struct Class {
    /// What they ask for.
    pub ask: Arc<Ask>,
    /// The hosts they may go to, as far as static filters say.
    pub hosts: HostSet,
    /// How much they prefer each host, where they prefer any.
    pub points: Option<Points>,
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
}

impl Classes {
    /// The class of what a pod asks for, made when there is none; it stays until as many pods have left as came.
    pub fn enter(&mut self, ask: Ask, hosts: &Hosts, plugins: &Plugins, words: &Interner) -> ClassId {
        if let Some(id) = self.ids.get(&ask).copied() {
            if let Some(class) = self.get_mut(id) {
                class.pods += 1;
            }
            return id;
        }
        let ask = Arc::new(ask);
        let mut class = Class { ask: ask.clone(), hosts: HostSet::new(), points: None, pods: 1, idle: false };
        for host in hosts.known().iter() {
            class.look_at(host, hosts, plugins, words);
        }
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.table.push(None);
            ClassId::try_from(self.table.len() - 1).unwrap_or(ClassId::MAX)
        });
        self.table[id as usize] = Some(class);
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
        class.idle = true;
        self.idle.push_back(id);
        let oldest = if self.idle.len() > IDLE_MAX { self.idle.pop_front()? } else { return None };
        let class = self.get_mut(oldest)?;
        class.idle = false;
        if class.pods > 0 {
            return None;
        }
        let class = self.table.get_mut(oldest as usize)?.take()?;
        self.ids.remove(&class.ask);
        self.vacant.push(oldest);
        Some(oldest)
    }

    /// A class.
    #[must_use]
    pub fn get(&self, id: ClassId) -> Option<&Class> {
        self.table.get(id as usize)?.as_ref()
    }

    /// Looks at a host again, in every class.
    pub fn look_at(&mut self, host: HostId, hosts: &Hosts, plugins: &Plugins, words: &Interner) {
        for class in self.table.iter_mut().flatten() {
            class.look_at(host, hosts, plugins, words);
        }
    }

    fn get_mut(&mut self, id: ClassId) -> Option<&mut Class> {
        self.table.get_mut(id as usize)?.as_mut()
    }
}

impl Class {
    fn look_at(&mut self, host: HostId, hosts: &Hosts, plugins: &Plugins, words: &Interner) {
        let facts = hosts.facts(host);
        let admitted = hosts.known().contains(host) && plugins.refusal(&self.ask, facts, words).is_none();
        self.hosts.set(host, admitted);
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
