//! The tournament tree over the hosts: free capacity and load, with bounds for every block of 64.
//!
//! Loads are compared as they would be *with* the pod, which depends on the sizes of hosts and pod alike. So that
//! bounds stay tight over hosts of different sizes, every block also keeps the least load for each of a few *probes*:
//! the sizes of pods that are asked for most recently. For those the bound is what the best host of the block has.
//!
//! A search goes down from the root and skips every block whose bounds say that no host in it fits, or that none can
//! beat the best found so far. A bind changes one host, and so one block of every level.
//!
//! ```text
//!   level 1   one entry for 64 entries below: the most that is free of each resource, the bounds of loads
//!   level 0   one entry for 64 hosts
//! ```

use crate::hosts::{Columns, HostId, Hosts, Load};
use crate::resources::{Amounts, ResourceId};
use crate::set::{DEPTH, ones};

/// How many sizes of pods have bounds of their own.
const PROBES_MAX: usize = 16;
/// A probe makes way for another when it was not asked for in so many rounds.
const PROBE_IDLE: u64 = 1000;

/// Between what the loads of a block are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadBounds {
    /// The least part taken, of each of the two.
    pub taken: [f64; 2],
    /// The least of what is the larger of the two on each host.
    pub fuller: f64,
    /// The least that one unit of each weighs.
    pub unit: [f64; 2],
    /// The most part taken, of each of the two.
    pub most: [f64; 2],
    /// The most of what is the smaller of the two on each host.
    pub emptier: f64,
    /// The most that one unit of each weighs.
    pub most_unit: [f64; 2],
}

impl LoadBounds {
    /// A block without hosts: every other one is wider.
    const NONE: Self = Self {
        taken: [f64::INFINITY; 2],
        fuller: f64::INFINITY,
        unit: [f64::INFINITY; 2],
        most: [f64::NEG_INFINITY; 2],
        emptier: f64::NEG_INFINITY,
        most_unit: [0.0; 2],
    };

    fn of(load: Load) -> Self {
        let [one, other] = load.taken;
        Self {
            taken: load.taken,
            fuller: one.max(other),
            unit: load.unit,
            most: load.taken,
            emptier: one.min(other),
            most_unit: load.unit,
        }
    }

    fn widen(&mut self, other: &Self) {
        for at in 0..2 {
            self.taken[at] = self.taken[at].min(other.taken[at]);
            self.unit[at] = self.unit[at].min(other.unit[at]);
            self.most[at] = self.most[at].max(other.most[at]);
            self.most_unit[at] = self.most_unit[at].max(other.most_unit[at]);
        }
        self.fuller = self.fuller.min(other.fuller);
        self.emptier = self.emptier.max(other.emptier);
    }
}

/// The bounds of all blocks. Written by the [`Pool`](crate::Pool) after every change of a host.
#[derive(Debug, Default)]
pub struct Tree {
    levels: [Level; DEPTH],
    probes: Vec<Probe>,
    round: u64,
}

/// A size of pods that has bounds of its own.
#[derive(Debug, Clone, Copy)]
struct Probe {
    weighed: [i64; 2],
    asked: u64,
}

#[derive(Debug, Default)]
struct Level {
    /// The most that is free, by column and block.
    free: Vec<Vec<i64>>,
    load: Vec<LoadBounds>,
    /// The least that the fuller half of a host would have, by probe and block.
    probed: Vec<Vec<f64>>,
}

/// What is known of all hosts of a block together.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    level: &'a Level,
    columns: &'a Columns,
    at: usize,
    probe: Option<usize>,
}

impl Block<'_> {
    /// The most that any host of the block has free of a resource.
    #[must_use]
    pub fn free(&self, id: ResourceId) -> i64 {
        let blocks = self.columns.place(id).and_then(|place| self.level.free.get(place));
        blocks.and_then(|blocks| blocks.get(self.at)).copied().unwrap_or(0)
    }

    /// Whether some host of the block may have all of this free.
    #[must_use]
    pub fn may_hold(&self, amounts: &Amounts) -> bool {
        amounts.iter().all(|(id, amount)| self.free(id) >= amount)
    }

    /// What the fuller half of none of its hosts is below, with a pod as large as the search's, where that is known.
    #[must_use]
    pub fn probed(&self) -> Option<f64> {
        self.level.probed.get(self.probe?)?.get(self.at).copied()
    }

    /// Between what the loads of its hosts are.
    #[must_use]
    pub fn load(&self) -> LoadBounds {
        self.level.load.get(self.at).copied().unwrap_or(LoadBounds::NONE)
    }
}

impl Tree {
    /// One block: number `at` of a level.
    #[must_use]
    pub fn block<'a>(&'a self, hosts: &'a Hosts, level: usize, at: usize, probe: Option<usize>) -> Block<'a> {
        Block { level: &self.levels[level.min(DEPTH - 1)], columns: hosts.columns(), at, probe }
    }

    /// The probe for pods of a size: theirs, or else the largest that is not larger in either half.
    #[must_use]
    pub fn probe_for(&self, weighed: [i64; 2]) -> Option<usize> {
        let fits = |probe: &Probe| probe.weighed[0] <= weighed[0] && probe.weighed[1] <= weighed[1];
        let probes = self.probes.iter().enumerate().filter(|(_, probe)| fits(probe));
        probes
            .max_by_key(|(_, probe)| probe.weighed[0].saturating_mul(4 << 20).saturating_add(probe.weighed[1]))
            .map(|(at, _)| at)
    }

    /// Pods of a size are asked for: they get a probe, if there is room for one. Says whether all hosts were looked at
    /// for it.
    pub fn probe(&mut self, hosts: &Hosts, weighed: [i64; 2]) -> bool {
        self.round += 1;
        if let Some(probe) = self.probes.iter_mut().find(|probe| probe.weighed == weighed) {
            probe.asked = self.round;
            return false;
        }
        let new = Probe { weighed, asked: self.round };
        let idle = self.probes.iter().enumerate().min_by_key(|(_, probe)| probe.asked);
        let at = match idle {
            Some((at, probe)) if self.probes.len() >= PROBES_MAX => {
                if self.round - probe.asked < PROBE_IDLE {
                    return false;
                }
                self.probes[at] = new;
                at
            }
            _ => {
                self.probes.push(new);
                self.probes.len() - 1
            }
        };
        for level in 0..DEPTH {
            let (below, rest) = self.levels.split_at_mut(level);
            let Some(this) = rest.first_mut() else { break };
            this.reach(hosts.resources(), self.probes.len(), this.load.len());
            for block in 0..this.load.len() {
                this.probed[at][block] = match below.last() {
                    None => members(hosts, block)
                        .map(|host| hosts.load(host).fuller_with(weighed))
                        .fold(f64::INFINITY, f64::min),
                    Some(below) => least(below.probed.get(at), block),
                };
            }
        }
        true
    }

    /// Brings one path up to date after a host has changed.
    pub fn refresh(&mut self, hosts: &Hosts, host: HostId) {
        let mut at = host as usize / 64;
        for level in 0..DEPTH {
            let (below, rest) = self.levels.split_at_mut(level);
            let Some(this) = rest.first_mut() else { return };
            this.reach(hosts.resources(), self.probes.len(), at + 1);
            let changed = match below.last() {
                None => this.sum_up_hosts(hosts, &self.probes, at),
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
    fn reach(&mut self, resources: usize, probes: usize, blocks: usize) {
        if self.load.len() < blocks {
            self.load.resize(blocks, LoadBounds::NONE);
        }
        while self.probed.len() < probes {
            self.probed.push(Vec::new());
        }
        for probed in &mut self.probed {
            probed.resize(self.load.len(), f64::INFINITY);
        }
        while self.free.len() < resources {
            self.free.push(Vec::new());
        }
        let blocks = self.load.len();
        for free in &mut self.free {
            free.resize(blocks, 0);
        }
    }

    fn sum_up_hosts(&mut self, hosts: &Hosts, probes: &[Probe], at: usize) -> bool {
        let members = || members(hosts, at);
        let mut load = LoadBounds::NONE;
        for host in members() {
            load.widen(&LoadBounds::of(hosts.load(host)));
        }
        let mut changed = std::mem::replace(&mut self.load[at], load) != load;
        for (place, blocks) in self.free.iter_mut().enumerate() {
            let column = hosts.columns().at(place);
            let most = column.and_then(|column| members().map(|host| column.free(host)).max()).unwrap_or(0);
            changed |= std::mem::replace(&mut blocks[at], most) != most;
        }
        for (probe, blocks) in probes.iter().zip(&mut self.probed) {
            let fuller =
                members().map(|host| hosts.load(host).fuller_with(probe.weighed)).fold(f64::INFINITY, f64::min);
            changed |= std::mem::replace(&mut blocks[at], fuller) != fuller;
        }
        changed
    }

    fn sum_up(&mut self, below: &Self, at: usize) -> bool {
        let members = at * 64..below.load.len().min(at * 64 + 64);
        let mut load = LoadBounds::NONE;
        for member in below.load.get(members.clone()).unwrap_or_default() {
            load.widen(member);
        }
        let mut changed = std::mem::replace(&mut self.load[at], load) != load;
        for (blocks, below) in self.free.iter_mut().zip(&below.free) {
            let most = below.get(members.clone()).unwrap_or_default().iter().copied().max().unwrap_or(0);
            changed |= std::mem::replace(&mut blocks[at], most) != most;
        }
        for (blocks, below) in self.probed.iter_mut().zip(&below.probed) {
            let fuller = least(Some(below), at);
            changed |= std::mem::replace(&mut blocks[at], fuller) != fuller;
        }
        changed
    }
}

/// The hosts of a block that are there.
fn members(hosts: &Hosts, block: usize) -> impl Iterator<Item = HostId> {
    let known = hosts.known().word(0, block);
    ones(known).filter_map(move |bit| HostId::try_from(block * 64 + bit as usize).ok())
}

/// The least of 64 values of the level below.
fn least(below: Option<&Vec<f64>>, block: usize) -> f64 {
    let Some(below) = below else { return f64::INFINITY };
    let values = below.get(block * 64..below.len().min(block * 64 + 64)).unwrap_or_default();
    values.iter().copied().fold(f64::INFINITY, f64::min)
}
