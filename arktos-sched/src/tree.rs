//! The tournament tree over the hosts: free capacity and load, with bounds for every block of 64.
//!
//! A search goes down from the root and skips every block whose bounds say that no host in it fits, or that none can
//! beat the best found so far. A bind changes one host, and so one block of every level.
//!
//! ```text
//!   level 1   one entry for 64 entries below: the most that is free of each resource, the least load
//!   level 0   one entry for 64 hosts
//! ```

use crate::hosts::{HostId, Hosts, Load};
use crate::resources::{Amounts, ResourceId};
use crate::set::DEPTH;

/// The least loads of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeastLoad {
    /// The least part taken, of each of the two.
    pub taken: [f64; 2],
    /// The least of what is the larger of the two on each host.
    pub fuller: f64,
    /// The least that one unit of each weighs.
    pub unit: [f64; 2],
}

impl LeastLoad {
    /// A block without hosts: nothing beats it less.
    const NONE: Self = Self { taken: [f64::INFINITY; 2], fuller: f64::INFINITY, unit: [f64::INFINITY; 2] };

    fn of(load: Load) -> Self {
        Self { taken: load.taken, fuller: load.taken[0].max(load.taken[1]), unit: load.unit }
    }

    fn lower(&mut self, other: &Self) {
        for at in 0..2 {
            self.taken[at] = self.taken[at].min(other.taken[at]);
            self.unit[at] = self.unit[at].min(other.unit[at]);
        }
        self.fuller = self.fuller.min(other.fuller);
    }
}

/// The bounds of all blocks. Written by the [`Pool`](crate::Pool) after every change of a host.
#[derive(Debug, Default)]
pub struct Tree {
    levels: [Level; DEPTH],
}

#[derive(Debug, Default)]
struct Level {
    /// The most that is free, by resource and block.
    free: Vec<Vec<i64>>,
    load: Vec<LeastLoad>,
}

/// What is known of all hosts of a block together.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    level: &'a Level,
    at: usize,
}

impl Block<'_> {
    /// The most that any host of the block has free of a resource.
    #[must_use]
    pub fn free(&self, id: ResourceId) -> i64 {
        self.level.free.get(id as usize).and_then(|blocks| blocks.get(self.at)).copied().unwrap_or(0)
    }

    /// Whether some host of the block may have all of this free.
    #[must_use]
    pub fn may_hold(&self, amounts: &Amounts) -> bool {
        amounts.iter().all(|(id, amount)| self.free(id) >= amount)
    }

    /// The least loads of its hosts.
    #[must_use]
    pub fn load(&self) -> LeastLoad {
        self.level.load.get(self.at).copied().unwrap_or(LeastLoad::NONE)
    }
}

impl Tree {
    /// One block: number `at` of a level.
    #[must_use]
    pub fn block(&self, level: usize, at: usize) -> Block<'_> {
        Block { level: &self.levels[level.min(DEPTH - 1)], at }
    }

    /// Brings one path up to date after a host has changed.
    pub fn refresh(&mut self, hosts: &Hosts, host: HostId) {
        let mut at = host as usize / 64;
        for level in 0..DEPTH {
            let (below, rest) = self.levels.split_at_mut(level);
            let Some(this) = rest.first_mut() else { return };
            this.reach(hosts.resources(), at);
            let changed = match below.last() {
                None => this.sum_up_hosts(hosts, at),
                Some(below) => this.sum_up(below, at),
            };
            if !changed {
                return; // what is above looks only at this block's bounds
            }
            at /= 64;
        }
    }
}

impl Level {
    fn reach(&mut self, resources: usize, at: usize) {
        if self.load.len() <= at {
            self.load.resize(at + 1, LeastLoad::NONE);
        }
        while self.free.len() < resources {
            self.free.push(Vec::new());
        }
        let blocks = self.load.len();
        for free in &mut self.free {
            free.resize(blocks, 0);
        }
    }

    fn sum_up_hosts(&mut self, hosts: &Hosts, at: usize) -> bool {
        let end = hosts.end().min(at * 64 + 64);
        let known = |host| hosts.known().contains(host);
        let members = || (at * 64..end).filter_map(|host| HostId::try_from(host).ok()).filter(|host| known(*host));
        let mut load = LeastLoad::NONE;
        for host in members() {
            load.lower(&LeastLoad::of(hosts.load(host)));
        }
        let mut changed = std::mem::replace(&mut self.load[at], load) != load;
        for (id, blocks) in self.free.iter_mut().enumerate() {
            let id = ResourceId::try_from(id).unwrap_or(ResourceId::MAX);
            let most = members().map(|host| hosts.free(host, id)).max().unwrap_or(0);
            changed |= std::mem::replace(&mut blocks[at], most) != most;
        }
        changed
    }

    fn sum_up(&mut self, below: &Self, at: usize) -> bool {
        let members = at * 64..below.load.len().min(at * 64 + 64);
        let mut load = LeastLoad::NONE;
        for member in below.load.get(members.clone()).unwrap_or_default() {
            load.lower(member);
        }
        let mut changed = std::mem::replace(&mut self.load[at], load) != load;
        for (blocks, below) in self.free.iter_mut().zip(&below.free) {
            let most = below.get(members.clone()).unwrap_or_default().iter().copied().max().unwrap_or(0);
            changed |= std::mem::replace(&mut blocks[at], most) != most;
        }
        changed
    }
}
