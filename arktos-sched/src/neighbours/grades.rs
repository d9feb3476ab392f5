//! Which hosts a pod would rather go to, as its neighbours have it: preferred pod affinity and anti-affinity, its own
//! and that of pods that are on hosts, and soft topology spread.
//!
//! Hosts that are worth the same make a *grade*. There are few: as many as there are different counts of pods, whatever
//! the number of hosts. A bind moves the hosts of one domain from grade to grade, 64 at a time; a search looks for the
//! best host of each grade, and then at the grades.

use std::collections::BTreeMap;

use super::spread::Spread;
use super::{SpreadId, Tenant, TermId};
use crate::hosts::HostId;
use crate::plugin::POINT;
use crate::pool::Pool;
use crate::set::{HostSet, HostWords};

/// How many words the sets of grades of one kind of pods may have (16 MiB). Pods that would need more, for which
/// neighbours make thousands of hosts worth something else each, are placed as if neighbours made no difference.
const WORDS_MAX: usize = 1 << 21;

/// What a pod's neighbours make a host worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grade {
    /// The weights of the terms that pods of the host's domains fulfil.
    affinity: i64,
    /// How crowded its domains are, where the pod is to be spread and the host is in domains of all its constraints.
    crowd: Option<i64>,
}

/// What makes hosts worth more or less to pods of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Worth {
    /// What every pod is worth that counts for a term, and whether what others would rather have by it counts, too.
    pub(super) terms: BTreeMap<TermId, (i64, bool)>,
    /// The constraints by which the pods are spread.
    pub(super) spreads: Vec<SpreadId>,
}

/// The hosts by grade, for pods of a kind.
#[derive(Debug)]
pub struct Grades {
    pub(super) worth: Worth,
    /// How many pods have come and gone since it was last asked for.
    pub(super) rest: u32,
    /// What a pod weighs, by constraint.
    each: Vec<(SpreadId, i64)>,
    /// How many words a set of any hosts has.
    pub(super) words: usize,
    /// Empty when there would be too many.
    hosts: BTreeMap<Grade, HostSet>,
}

impl Grades {
    pub(super) fn new(worth: Worth, tenant: &Tenant, pool: &Pool) -> Self {
        let known = pool.hosts().known();
        let spreads: Vec<(SpreadId, &Spread)> =
            worth.spreads.iter().filter_map(|id| Some((*id, tenant.spreads.get(id)?))).collect();
        let each = spreads.iter().map(|(id, spread)| (*id, spread.each())).collect();
        let words = pool.hosts().end() / 64 + 1;
        let mut grades = Self { worth, rest: 0, each, words, hosts: BTreeMap::new() };
        let (mut inside, mut outside) = (HostSet::new(), known.clone());
        if let Some((first, others)) = spreads.split_first() {
            inside = first.1.inside();
            others.iter().for_each(|(_, spread)| inside.intersect(&spread.inside()));
            inside.iter().for_each(|host| outside.remove(host));
        }
        let least = spreads.iter().map(|(_, spread)| spread.least()).sum();
        for (crowd, hosts) in [(Some(least), inside), (None, outside)] {
            if !hosts.is_empty() {
                grades.hosts.insert(Grade { affinity: 0, crowd }, hosts);
            }
        }
        for (id, (each, pulled)) in grades.worth.terms.clone() {
            let Some(term) = tenant.terms.get(&id) else { continue };
            let worth = term.worth(each, pulled).into_iter();
            let hosts = worth.filter_map(|(domain, worth)| Some((worth, term.hosts(domain)?)));
            grades.shift_by(hosts, |worth| (worth, 0));
        }
        for (_, spread) in spreads {
            grades.shift_by(spread.domains(), |pods| (0, pods * spread.each()));
        }
        grades
    }

    /// Whether no host has a grade: there are none, or too many that differ.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The grades that some host has, each with its hosts.
    pub fn iter(&self) -> impl Iterator<Item = (Grade, &HostSet)> {
        self.hosts.iter().map(|(grade, hosts)| (*grade, hosts))
    }

    /// The grade of a host.
    #[must_use]
    pub fn of(&self, host: HostId) -> Grade {
        self.iter().find(|(_, hosts)| hosts.contains(host)).map(|(grade, _)| grade).unwrap_or_default()
    }

    /// Pods that count for a term, or that would rather have others near, have come to hosts or left them.
    pub(super) fn shift_term(&mut self, id: TermId, hosts: &HostWords, count: i64, pull: i64) {
        if let Some((each, pulled)) = self.worth.terms.get(&id) {
            self.shift(hosts, each * count + if *pulled { pull } else { 0 }, 0);
        }
    }

    /// Pods that a constraint counts have come to hosts or left them.
    pub(super) fn shift_spread(&mut self, id: SpreadId, hosts: &HostWords, count: i64) {
        let weight: i64 = self.each.iter().filter(|(known, _)| *known == id).map(|(_, each)| each * count).sum();
        self.shift(hosts, 0, weight);
    }

    /// The same for many domains at once, those of like value together.
    fn shift_by<'a>(&mut self, domains: impl Iterator<Item = (i64, &'a HostWords)>, by: impl Fn(i64) -> (i64, i64)) {
        let mut alike: BTreeMap<i64, HostWords> = BTreeMap::new();
        for (value, hosts) in domains {
            alike.entry(value).or_default().extend(hosts);
        }
        for (value, hosts) in alike {
            let (affinity, crowd) = by(value);
            self.shift(&hosts, affinity, crowd);
        }
    }

    fn shift(&mut self, hosts: &HostWords, affinity: i64, crowd: i64) {
        if (affinity, crowd) == (0, 0) {
            return;
        }
        let mut moved: Vec<(Grade, HostWords)> = Vec::new();
        for (grade, set) in &mut self.hosts {
            let to = Grade { affinity: grade.affinity + affinity, crowd: grade.crowd.map(|known| known + crowd) };
            let taken = if to == *grade { HostWords::default() } else { set.take(hosts) };
            if !taken.is_empty() {
                moved.push((to, taken));
            }
        }
        for (to, hosts) in moved {
            self.hosts.entry(to).or_default().set_all(&hosts, true);
        }
        self.hosts.retain(|_, hosts| !hosts.is_empty());
        if self.hosts.len().saturating_mul(self.words) > WORDS_MAX {
            self.hosts.clear();
        }
    }
}

/// Makes points of grades as upstream does: by comparison with the best and the worst grade of which a host fits.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    affinity: (i64, i64),
    crowd: Option<(i64, i64)>,
}

impl Scale {
    /// What `InterPodAffinity` and `PodTopologySpread` count for by default, each.
    const WEIGHT: i32 = 2;

    /// The scale for the grades of which a host fits.
    #[must_use]
    pub fn of(grades: impl Iterator<Item = Grade> + Clone) -> Self {
        let span = |values: &mut dyn Iterator<Item = i64>| {
            values.fold(None, |span: Option<(i64, i64)>, value| {
                Some(span.map_or((value, value), |(least, most)| (least.min(value), most.max(value))))
            })
        };
        let affinity = span(&mut grades.clone().map(|grade| grade.affinity));
        Self { affinity: affinity.unwrap_or_default(), crowd: span(&mut grades.filter_map(|grade| grade.crowd)) }
    }

    /// The points of a grade, in thousandths.
    #[must_use]
    pub fn points(&self, grade: Grade) -> i64 {
        let (least, most) = self.affinity;
        let affinity = if most > least { (grade.affinity - least) as f64 / (most - least) as f64 } else { 0.0 };
        let spread = match (grade.crowd, self.crowd) {
            (Some(crowd), Some((least, most))) if most > 0 => (most + least - crowd) as f64 / most as f64,
            (Some(_), _) => 1.0,
            (None, _) => 0.0,
        };
        let all = f64::from(Self::WEIGHT * 100 * POINT);
        (all * affinity) as i64 + (all * spread) as i64 // both parts are between zero and one
    }
}
