//! The pool: all hosts of the region as one scheduler sees them, and the search for a place.

use std::collections::BTreeMap;

use arktos_core::typed::{ClaimPort, ClaimSpec, Node, PodSpec, Requests};

use crate::ask::Ask;
use crate::builtin::{NodeAffinity, NodeName};
use crate::class::{Class, ClassId, Classes};
use crate::hosts::{HostFacts, HostId, Hosts, ManagerId, Usage};
use crate::intern::{Interner, Marks};
use crate::neighbours::Left;
use crate::neighbours::grades::{Grade, Scale};
use crate::plugin::{Plugins, Reason};
use crate::ports::Port;
use crate::resources::ResourceNames;
use crate::set::{DEPTH, HostSet, ones};
use crate::tree::Tree;

/// The hosts, the classes and the tree over them, kept in step. A plain state machine: its owner tells it what nodes
/// and claims do, and asks it for places.
#[derive(Default)]
pub struct Pool {
    words: Interner,
    names: ResourceNames,
    hosts: Hosts,
    tree: Tree,
    classes: Classes,
    plugins: Plugins,
    managers: Vec<Manager>,
    /// The hosts of managers that answer.
    usable: HostSet,
    /// Grows whenever labels, taints or the presence of hosts change.
    version: u64,
    /// Hosts that may have become a place for pods they were none for, since they were last asked after.
    improved: HostSet,
}

#[derive(Default)]
struct Manager {
    reachable: bool,
    hosts: HostSet,
}

/// A place that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The host.
    pub host: HostId,
    /// Its score, in thousandths of a point.
    pub score: i64,
}

/// To go through a block of the tree takes as long as to look at so many hosts.
const BLOCK: usize = 8;

/// What is looked for, through one descent of the tree.
struct Search<'a> {
    pool: &'a Pool,
    class: &'a Class,
    left: &'a Left<'a>,
    /// The hosts of one grade, where only these are looked at.
    grade: Option<&'a HostSet>,
    turn: u32,
    /// The probe of the tree for pods of this size.
    probe: Option<usize>,
    best: Option<Found>,
    /// How many blocks were gone through.
    blocks: usize,
}

impl Pool {
    /// An empty pool over so many resource managers, none of which answers yet.
    #[must_use]
    pub fn new(managers: usize, plugins: Plugins) -> Self {
        let managers = std::iter::repeat_with(Manager::default).take(managers).collect();
        Self { managers, plugins, ..Self::default() }
    }

    /// Takes in one more resource manager, which does not answer yet. None when there are no numbers left.
    pub fn add_manager(&mut self) -> Option<ManagerId> {
        let manager = ManagerId::try_from(self.managers.len()).ok()?;
        self.managers.push(Manager::default());
        Some(manager)
    }

    /// Forgets all hosts of a resource manager.
    pub fn remove_manager(&mut self, manager: ManagerId) {
        let known = self.managers.get(usize::from(manager));
        let hosts: Vec<HostId> = known.map(|known| known.hosts.iter().collect()).unwrap_or_default();
        for host in hosts {
            let name = self.hosts.facts(host).name.clone();
            self.remove_node(manager, &name);
        }
    }

    /// Takes in what a resource manager says of a host.
    pub fn set_node(&mut self, manager: ManagerId, node: &Node) {
        let Some(host) = self.hosts.place(manager, &node.metadata.name, &mut self.words) else { return };
        let news = self.hosts.describe(host, node, &mut self.words, &mut self.names);
        if let Some(manager) = self.managers.get_mut(usize::from(manager)) {
            manager.hosts.insert(host);
            self.usable.set(host, manager.reachable);
        }
        if news.facts {
            self.version += 1;
            self.classes.look_at(host, &self.hosts, &self.plugins, &self.words);
        }
        if news.facts || news.amounts {
            self.tree.refresh(&self.hosts, host);
            self.improved.insert(host);
        }
    }

    /// Forgets a host that its resource manager no longer has.
    pub fn remove_node(&mut self, manager: ManagerId, name: &str) {
        let Some(host) = self.hosts.find(manager, name) else { return };
        if let Some(manager) = self.managers.get_mut(usize::from(manager)) {
            manager.hosts.remove(host);
        }
        self.version += 1;
        self.usable.remove(host);
        self.improved.remove(host);
        self.hosts.forget(host);
        self.classes.look_at(host, &self.hosts, &self.plugins, &self.words);
        self.tree.refresh(&self.hosts, host);
    }

    /// Says whether a resource manager answers. The hosts of one that does not stay, and are not chosen.
    pub fn set_reachable(&mut self, manager: ManagerId, reachable: bool) {
        let Some(manager) = self.managers.get_mut(usize::from(manager)) else { return };
        if std::mem::replace(&mut manager.reachable, reachable) == reachable {
            return;
        }
        for host in manager.hosts.iter() {
            self.usable.set(host, reachable);
            self.improved.set(host, reachable);
        }
    }

    /// Whether a resource manager answers.
    #[must_use]
    pub fn reachable(&self, manager: ManagerId) -> bool {
        self.managers.get(usize::from(manager)).is_some_and(|manager| manager.reachable)
    }

    /// Takes part of a host, known or not yet known. Gives back its place; `None` when the pool is full.
    pub fn take(&mut self, manager: ManagerId, name: &str, usage: &Usage) -> Option<HostId> {
        let host = self.hosts.place(manager, name, &mut self.words)?;
        self.take_at(host, usage);
        Some(host)
    }

    /// Takes part of a host that was found.
    pub fn take_at(&mut self, host: HostId, usage: &Usage) {
        self.hosts.take(host, usage);
        self.tree.refresh(&self.hosts, host);
    }

    /// Gives back part of a host.
    pub fn give_back(&mut self, host: HostId, usage: &Usage) {
        self.hosts.give_back(host, usage);
        self.tree.refresh(&self.hosts, host);
        if self.hosts.known().contains(host) {
            self.improved.insert(host);
        }
    }

    /// What a claim takes of its host.
    pub fn usage_of(&mut self, claim: &ClaimSpec) -> Usage {
        let mut ports: Vec<Port> = claim.ports.iter().map(Port::from).collect();
        ports.sort();
        Usage { amounts: self.names.claimed(&claim.requests), ports: ports.into() }
    }

    /// The class of a pod, ready to be searched for. The pod stays in it until it [leaves](Self::leave).
    pub fn enter(&mut self, spec: &PodSpec) -> ClassId {
        let class = self.note(spec);
        self.prepare(class, usize::MAX);
        class
    }

    /// The same, but for the look at all hosts that a new class takes: [`prepare`](Self::prepare) makes it up.
    pub fn note(&mut self, spec: &PodSpec) -> ClassId {
        let ask = Ask::new(spec, &mut self.words, &mut self.names);
        self.classes.enter(ask)
    }

    /// Makes a class ready to be searched for, or goes on to until so much was done, in looks at a host. Says how much
    /// was, and whether it is ready.
    pub fn prepare(&mut self, class: ClassId, most: usize) -> (usize, bool) {
        let Some(weighed) = self.classes.get(class).map(|class| class.ask.weighed) else { return (0, true) };
        let (looked, ready) = self.classes.prepare(class, most, &self.hosts, &self.plugins, &self.words);
        if !ready {
            return (looked, false);
        }
        let probed = if self.tree.probe(&self.hosts, weighed) { self.hosts.end() } else { 0 };
        (looked + probed, true)
    }

    /// A pod leaves its class. Says which class was forgotten over it, if one was.
    pub fn leave(&mut self, class: ClassId) -> Option<ClassId> {
        self.classes.leave(class)
    }

    /// What a claim for a pod of a class asks for.
    #[must_use]
    pub fn request(&self, class: ClassId) -> (Requests, Vec<ClaimPort>) {
        let Some(class) = self.classes.get(class) else { return Default::default() };
        let Usage { amounts, ports } = &class.ask.usage;
        (self.names.requests(amounts), ports.iter().map(ClaimPort::from).collect())
    }

    /// What a class asks for.
    #[must_use]
    pub fn class(&self, class: ClassId) -> Option<&Class> {
        self.classes.get(class)
    }

    /// The best place for a pod of a class, among the hosts that neighbours leave; `None` when it fits nowhere. No
    /// host scores higher than the one found. `turn` says which of several that score alike it is.
    #[must_use]
    pub fn find(&self, class: ClassId, left: &Left<'_>, turn: u32) -> Option<Found> {
        self.find_and_count(class, left, turn).0
    }

    /// The same, and how much it took, in looks at a host.
    #[must_use]
    pub fn find_and_count(&self, class: ClassId, left: &Left<'_>, turn: u32) -> (Option<Found>, usize) {
        let Some(class) = self.classes.get(class) else { return (None, 0) };
        let Some(grades) = left.grades else { return self.search(class, left, None, turn) };
        // What a grade is worth shows only when it is known of which of them a host fits.
        let (mut places, mut looked) = (Vec::new(), 0);
        for (grade, hosts) in grades.iter() {
            let (found, more) = self.search(class, left, Some(hosts), turn);
            places.extend(found.map(|found| (grade, found)));
            looked += more;
        }
        (best_graded(places), looked)
    }

    fn search(&self, class: &Class, left: &Left<'_>, grade: Option<&HostSet>, turn: u32) -> (Option<Found>, usize) {
        let probe = self.tree.probe_for(class.ask.weighed);
        let mut search = Search { pool: self, class, left, grade, turn, probe, best: None, blocks: 0 };
        search.descend(DEPTH - 1, 0);
        (search.best, search.blocks * BLOCK)
    }

    /// The same by looking at every host: what [`find`](Self::find) must not differ from.
    #[must_use]
    pub fn find_slowly(&self, class: ClassId, left: &Left<'_>) -> Option<Found> {
        let class = self.classes.get(class)?;
        let mut all = Vec::new();
        for host in self.usable.iter() {
            let facts = self.hosts.facts(host);
            let refused = self.plugins.refusal(&class.ask, facts, &self.words).is_some();
            if refused || left.reason(host).is_some() || !self.plugins.fits(&class.ask, &self.hosts, host) {
                continue;
            }
            let points = self.plugins.points(&class.ask, facts, &self.words);
            let score = i64::from(self.plugins.score(&class.ask, &self.hosts, host)) + i64::from(points);
            all.push((left.grades.map_or(Grade::default(), |grades| grades.of(host)), Found { host, score }));
        }
        match left.grades {
            Some(_) => best_graded(all),
            None => all.into_iter().map(|(_, found)| found).reduce(better),
        }
    }

    /// How many pods of a class one host has room for.
    #[must_use]
    pub fn room(&self, class: ClassId, host: HostId) -> usize {
        let Some(class) = self.classes.get(class).filter(|_| self.usable.contains(host)) else { return 0 };
        if class.refusal(host, &self.hosts, &self.plugins, &self.words).is_some() {
            return 0;
        }
        self.plugins.fits.iter().map(|fit| fit.room(&class.ask, &self.hosts, host)).min().unwrap_or(usize::MAX)
    }

    /// Whether hosts may have become a place for pods they were none for, since these were last taken.
    #[must_use]
    pub fn has_improved(&self) -> bool {
        !self.improved.is_empty()
    }

    /// The hosts that may have become a place for pods they were none for, since the last call.
    pub fn take_improved(&mut self) -> HostSet {
        std::mem::take(&mut self.improved)
    }

    /// What is known of a host.
    #[must_use]
    pub fn facts(&self, host: HostId) -> &HostFacts {
        self.hosts.facts(host)
    }

    /// Grows whenever labels, taints or the presence of hosts change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The hosts, in columns.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The words that labels and names were interned as.
    #[must_use]
    pub fn words(&self) -> &Interner {
        &self.words
    }

    /// The words, to intern more.
    pub fn words_mut(&mut self) -> &mut Interner {
        &mut self.words
    }

    /// Whether there are so many words that it is worth its while to [forget](Self::forget_unused) some.
    #[must_use]
    pub fn is_littered(&self) -> bool {
        self.words.is_littered() || self.names.is_littered()
    }

    /// Forgets the words, and the names of resources, that neither hosts nor pods use, nor `others` who mark theirs.
    pub fn forget_unused(&mut self, others: impl FnOnce(&mut Marks)) {
        let (mut words, mut names) = (Marks::default(), Marks::default());
        self.hosts.mark(&mut words, &mut names);
        self.classes.mark(&mut words, &mut names);
        others(&mut words);
        self.words.sweep(&words);
        self.names.sweep(names);
    }

    /// How many words there are, and how many names of resources.
    #[must_use]
    pub fn words_and_names(&self) -> (usize, usize) {
        (self.words.len(), self.names.len())
    }

    /// Why a pod of a class has no place, in kube-scheduler's words.
    #[must_use]
    pub fn explain(&self, class: ClassId, left: &Left<'_>) -> String {
        self.explain_and_count(class, left).0
    }

    /// The same, and how much it took, in looks at a host.
    #[must_use]
    pub fn explain_and_count(&self, class: ClassId, left: &Left<'_>) -> (String, usize) {
        let Some(class) = self.classes.get(class) else { return (String::new(), 0) };
        let (known, mut counts) = (self.hosts.known(), BTreeMap::<Reason, usize>::new());
        let total = known.len();
        if total == 0 {
            return ("no nodes available to schedule pods".to_owned(), 0);
        }
        let hosts: Vec<HostId> = match class.named(&self.hosts, &self.plugins, &self.words) {
            Some(named) => named.into_iter().filter(|host| known.contains(*host)).collect(),
            None => known.iter().collect(),
        };
        if hosts.len() < total {
            let named = class.ask.node_name.is_some();
            let reason = if named { NodeName::REASON } else { NodeAffinity::OTHER_NAME };
            counts.insert(reason.into(), total - hosts.len());
        }
        for host in &hosts {
            for reason in self.reasons(class, *host, left) {
                *counts.entry(reason).or_default() += 1;
            }
        }
        let mut parts: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        parts.sort();
        (format!("0/{total} nodes are available: {}.", parts.join(", ")), hosts.len())
    }

    fn reasons(&self, class: &Class, host: HostId, left: &Left<'_>) -> Vec<Reason> {
        if !self.usable.contains(host) {
            return vec!["node(s) had a resource manager that does not answer".into()];
        }
        if let Some(reason) = class.refusal(host, &self.hosts, &self.plugins, &self.words) {
            return vec![reason];
        }
        for fit in &self.plugins.fits {
            let reasons = fit.reasons(&class.ask, &self.hosts, host, &self.names);
            if !reasons.is_empty() {
                return reasons;
            }
        }
        left.reason(host).into_iter().collect()
    }
}

impl Search<'_> {
    /// Looks through block `at` of a level: the words of every set at this place stand for what is in it.
    fn descend(&mut self, level: usize, at: usize) {
        let word = self.word(level, at);
        self.blocks += 1;
        if level == 0 {
            let denied = self.left.denied.iter().fold(0, |denied, (set, _)| denied | set.word(0, at));
            return self.compare(word & !denied, at);
        }
        let mut bounds = [i64::MIN; 64];
        for bit in ones(word) {
            // The hosts of several sets are often in one block without being the same.
            if self.grade.is_some() && self.word(level - 1, at * 64 + bit as usize) == 0 {
                continue;
            }
            if let Some(bound) = self.bound(level - 1, at * 64 + bit as usize) {
                bounds[bit as usize] = bound;
            }
        }
        let turn = self.turn_of(level);
        while let Some((bit, bound)) = best_of(&bounds, turn) {
            if self.best.is_some_and(|best| bound <= best.score) {
                return;
            }
            bounds[bit] = i64::MIN;
            self.descend(level - 1, at * 64 + bit);
        }
    }

    /// What all the sets have of a block that a host must be in.
    fn word(&self, level: usize, at: usize) -> u64 {
        let within = [&self.class.hosts, &self.pool.usable].into_iter().chain(self.left.allowed.iter().copied());
        within.chain(self.grade).fold(u64::MAX, |word, set| word & set.word(level, at))
    }

    /// What no host of a block exceeds; `None` when none of them fits.
    fn bound(&self, level: usize, at: usize) -> Option<i64> {
        let (plugins, ask) = (&self.pool.plugins, &self.class.ask);
        let block = self.pool.tree.block(&self.pool.hosts, level, at, self.probe);
        if !plugins.may_fit(ask, block) {
            return None;
        }
        let points = self.class.points.as_ref().map_or(0, |points| points.most(level, at));
        Some(i64::from(plugins.bound(ask, block)) + i64::from(points))
    }

    /// Compares the hosts of one block.
    fn compare(&mut self, word: u64, at: usize) {
        let (plugins, ask, hosts) = (&self.pool.plugins, &self.class.ask, &self.pool.hosts);
        let turn = self.turn_of(0);
        let word = word.rotate_right(turn);
        for bit in ones(word) {
            let Ok(host) = HostId::try_from(at * 64 + ((bit + turn) % 64) as usize) else { continue };
            let points = self.class.points.as_ref().map_or(0, |points| points.of(host));
            let score = i64::from(plugins.score(ask, hosts, host)) + i64::from(points);
            let better = self.best.is_none_or(|best| score > best.score);
            if better && plugins.fits(ask, hosts, host) {
                self.best = Some(Found { host, score });
            }
        }
    }

    /// Where among 64 a search begins: another place on each level and with each turn, so that schedulers that see the
    /// same hosts do not all run for the same one.
    fn turn_of(&self, level: usize) -> u32 {
        self.turn.rotate_right(6 * u32::try_from(level).unwrap_or(0)) % 64
    }
}

/// The better of two places; the later when they are equal.
fn better(one: Found, other: Found) -> Found {
    if other.score >= one.score { other } else { one }
}

/// The best of the best places of all grades.
fn best_graded(places: Vec<(Grade, Found)>) -> Option<Found> {
    let scale = Scale::of(places.iter().map(|(grade, _)| *grade));
    let graded = places.into_iter().map(|(grade, found)| Found { score: found.score + scale.points(grade), ..found });
    graded.reduce(better)
}

/// The highest bound, the first of several from `turn` on.
fn best_of(bounds: &[i64; 64], turn: u32) -> Option<(usize, i64)> {
    let mut best: Option<(usize, i64)> = None;
    for step in 0..64 {
        let bit = (step + turn as usize) % 64;
        if bounds[bit] != i64::MIN && best.is_none_or(|(_, bound)| bounds[bit] > bound) {
            best = Some((bit, bounds[bit]));
        }
    }
    best
}

#[cfg(test)]
mod tests;
