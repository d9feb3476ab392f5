//! The built-in plugins, under upstream's names and with its reasons.

use crate::ask::Ask;
use crate::hosts::{Effect, HostFacts, HostId, Hosts, TaintFacts};
use crate::intern::Interner;
use crate::plugin::{Filter, Fit, POINT, Preference, Reason, Score};
use crate::resources::{PODS, ResourceNames};
use crate::tree::Block;

/// Hosts that are cordoned take no new pods but those that tolerate it.
pub struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn admits(&self, ask: &Ask, host: &HostFacts, words: &Interner) -> Result<(), Reason> {
        if !host.unschedulable {
            return Ok(());
        }
        // A pod tolerates it as it tolerates the taint that the node life cycle puts there.
        let word = |text| words.find(text).unwrap_or(u32::MAX);
        let (key, value) = (word("node.kubernetes.io/unschedulable"), word(""));
        let taint = TaintFacts { key, value, effect: Effect::NoSchedule };
        if ask.tolerates(&taint) { Ok(()) } else { Err("node(s) were unschedulable".into()) }
    }
}

/// A pod that names its host goes there or nowhere.
pub struct NodeName;

impl NodeName {
    pub(crate) const REASON: &'static str = "node(s) didn't match the requested node name";
}

impl Filter for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn admits(&self, ask: &Ask, host: &HostFacts, _: &Interner) -> Result<(), Reason> {
        let named = ask.node_name.is_none_or(|name| name == host.name_word);
        if named { Ok(()) } else { Err(Self::REASON.into()) }
    }
}

/// Taints keep off pods that do not tolerate them, or make them prefer other hosts.
pub struct TaintToleration;

impl TaintToleration {
    const WEIGHT: i32 = 3;
}

impl Filter for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn admits(&self, ask: &Ask, host: &HostFacts, _: &Interner) -> Result<(), Reason> {
        let mut hard = host.taints.iter().filter(|taint| taint.effect != Effect::PreferNoSchedule);
        if hard.all(|taint| ask.tolerates(taint)) { Ok(()) } else { Err("node(s) had untolerated taint(s)".into()) }
    }
}

impl Preference for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    /// Half of the points are lost with one such taint, two thirds with two. (Upstream compares with the worst host
    /// that fits, which a bound cannot know ahead; the order among hosts is the same.)
    fn points(&self, ask: &Ask, host: &HostFacts, _: &Interner) -> i32 {
        let soft = host.taints.iter().filter(|taint| taint.effect == Effect::PreferNoSchedule);
        let disliked = soft.filter(|taint| !ask.tolerates(taint)).count();
        let all = Self::WEIGHT * 100 * POINT;
        let left = all / (1 + i32::try_from(disliked).unwrap_or(i32::MAX - 1));
        left - all
    }
}

/// A pod's node selector and node affinity.
pub struct NodeAffinity;

impl NodeAffinity {
    const WEIGHT: i32 = 2;
    /// What is said of all hosts that do not have the one name that a pod asks for.
    pub(crate) const OTHER_NAME: &'static str = "node(s) didn't satisfy plugin(s) [NodeAffinity]";
}

impl Filter for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn admits(&self, ask: &Ask, host: &HostFacts, words: &Interner) -> Result<(), Reason> {
        let required = ask.required.as_ref();
        let fits = ask.labels.holds(host, words)
            && required.is_none_or(|terms| terms.iter().any(|term| term.holds(host, words)));
        if fits { Ok(()) } else { Err("node(s) didn't match Pod's node affinity/selector".into()) }
    }
}

impl Preference for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    /// The part of all preferred weight that a host fulfils.
    fn points(&self, ask: &Ask, host: &HostFacts, words: &Interner) -> i32 {
        let all: i64 = ask.preferred.iter().map(|(weight, _)| i64::from(*weight)).sum();
        let held = ask.preferred.iter().filter(|(_, term)| term.holds(host, words));
        let held: i64 = held.map(|(weight, _)| i64::from(*weight)).sum();
        i32::try_from(i64::from(Self::WEIGHT * 100 * POINT) * held / all.max(1)).unwrap_or(0)
    }
}

/// Two pods of one host cannot have the same port of it.
pub struct NodePorts;

impl Fit for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn fits(&self, ask: &Ask, hosts: &Hosts, host: HostId) -> bool {
        let collides = |port| hosts.ports(host).iter().any(|taken| taken.collides(port));
        !ask.usage.ports.iter().any(collides)
    }

    fn room(&self, ask: &Ask, hosts: &Hosts, host: HostId) -> usize {
        match (ask.usage.ports.is_empty(), self.fits(ask, hosts, host)) {
            (true, _) => usize::MAX,
            (false, fits) => usize::from(fits),
        }
    }

    fn reasons(&self, ask: &Ask, hosts: &Hosts, host: HostId, _: &ResourceNames) -> Vec<Reason> {
        if self.fits(ask, hosts, host) {
            return Vec::new();
        }
        vec!["node(s) didn't have free ports for the requested pod ports".into()]
    }
}

/// A host must have what a pod asks for.
pub struct NodeResourcesFit;

impl Fit for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn may_fit(&self, ask: &Ask, block: Block<'_>) -> bool {
        block.may_hold(&ask.usage.amounts)
    }

    fn fits(&self, ask: &Ask, hosts: &Hosts, host: HostId) -> bool {
        ask.usage.amounts.iter().all(|(id, amount)| hosts.free(host, id) >= amount)
    }

    fn room(&self, ask: &Ask, hosts: &Hosts, host: HostId) -> usize {
        let each = ask.usage.amounts.iter().map(|(id, amount)| hosts.free(host, id).max(0) / amount.max(1));
        each.min().map_or(usize::MAX, |room| usize::try_from(room).unwrap_or(0))
    }

    fn reasons(&self, ask: &Ask, hosts: &Hosts, host: HostId, names: &ResourceNames) -> Vec<Reason> {
        let short = ask.usage.amounts.iter().filter(|(id, amount)| hosts.free(host, *id) < *amount);
        short
            .map(|(id, _)| match id {
                PODS => "Too many pods".into(),
                _ => format!("Insufficient {}", names.name(id)).into(),
            })
            .collect()
    }
}

/// Upstream's two default scores in one, `LeastAllocated` and `NodeResourcesBalancedAllocation`, each of weight 1.
///
/// With `c` and `m` the parts of processors and memory that would be taken, the first is `100 - 50 (c + m)` and the
/// second `100 - 50 |c - m|`. Their sum is `200 - 100 max(c, m)`: a host is as good as its fuller half. That is what
/// makes the bound of a block tight.
pub struct EmptiestBalanced;

impl EmptiestBalanced {
    /// What rounding may cost at most.
    const SLACK: f64 = 1e-9;

    fn points(fuller: f64) -> i32 {
        let points = (2.0 - fuller.clamp(0.0, 2.0)) * f64::from(100 * POINT);
        points as i32 // between 0 and 200 points by the clamp
    }
}

impl Score for EmptiestBalanced {
    fn name(&self) -> &'static str {
        "NodeResourcesFit+NodeResourcesBalancedAllocation"
    }

    fn score(&self, ask: &Ask, hosts: &Hosts, host: HostId) -> i32 {
        Self::points(hosts.load(host).fuller_with(ask.weighed))
    }

    fn bound(&self, ask: &Ask, block: Block<'_>) -> i32 {
        let least = block.load();
        let adds = |at: usize| ask.weighed[at] as f64 * least.unit[at];
        let fuller = (least.taken[0] + adds(0)).max(least.taken[1] + adds(1)).max(least.fuller + adds(0).min(adds(1)));
        Self::points(fuller.max(block.probed().unwrap_or(0.0)) - Self::SLACK)
    }
}

/// Upstream's `MostAllocated` and `NodeResourcesBalancedAllocation` in one, each of weight 1: fills hosts up one after
/// the other.
///
/// With `c` and `m` as above, the first is `50 (c + m)` and the second `100 - 50 |c - m|`. Their sum is
/// `100 + 100 min(c, m)`: a host is as good as its emptier half.
pub struct FullestBalanced;

impl FullestBalanced {
    fn points(emptier: f64) -> i32 {
        let points = (1.0 + emptier.clamp(0.0, 1.0)) * f64::from(100 * POINT);
        points as i32 // between 100 and 200 points by the clamp
    }
}

impl Score for FullestBalanced {
    fn name(&self) -> &'static str {
        "NodeResourcesFit+NodeResourcesBalancedAllocation"
    }

    fn score(&self, ask: &Ask, hosts: &Hosts, host: HostId) -> i32 {
        Self::points(hosts.load(host).emptier_with(ask.weighed))
    }

    fn bound(&self, ask: &Ask, block: Block<'_>) -> i32 {
        let load = block.load();
        let adds = |at: usize| ask.weighed[at] as f64 * load.most_unit[at];
        let emptier = (load.most[0] + adds(0)).min(load.most[1] + adds(1)).min(load.emptier + adds(0).max(adds(1)));
        Self::points(emptier + EmptiestBalanced::SLACK)
    }
}
