//! The checker: sorts nothing, searches nothing but the place of a refusal, and replays.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arktos_store::Expect;

use super::{Entry, How, Key, Op, Outcome, Plan, PlannedWrite, Read, Seen, What, Written, resource_of};

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub why: Why,
    /// The operation, or what is known of it.
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The order's revisions do not rise.
    OrderFalls,
    /// Two writes were answered with the same revision.
    RevisionTwice,
    /// The order has a write that nobody made, or that was refused.
    NobodyWroteIt,
    /// A write that was answered is not in the order where it should be.
    Lost,
    /// A commit is in the order in part, or with something in between.
    Torn,
    /// A commit was accepted although what it asked for does not hold.
    WronglyAccepted,
    /// No state within the call explains a refusal.
    WronglyRefused,
    /// The order contradicts real time.
    OutOfTime,
    /// A read saw what was not so at its revision.
    WrongRead,
    /// A read is older than what had been answered or shown before, or than it asked for.
    StaleRead,
}

/// How much was checked.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counted {
    pub operations: usize,
    pub committed: usize,
    pub changed_nothing: usize,
    pub conflicts: usize,
    pub guarded: usize,
    pub limits: usize,
    pub refused: usize,
    pub unknown: usize,
    pub unknown_happened: usize,
    pub latest: usize,
    pub other_reads: usize,
    /// Operations during which another was under way.
    pub overlapping: usize,
}

impl Counted {
    pub fn add(&mut self, other: &Self) {
        let pairs: [(&mut usize, usize); 12] = [
            (&mut self.operations, other.operations),
            (&mut self.committed, other.committed),
            (&mut self.changed_nothing, other.changed_nothing),
            (&mut self.conflicts, other.conflicts),
            (&mut self.guarded, other.guarded),
            (&mut self.limits, other.limits),
            (&mut self.refused, other.refused),
            (&mut self.unknown, other.unknown),
            (&mut self.unknown_happened, other.unknown_happened),
            (&mut self.latest, other.latest),
            (&mut self.other_reads, other.other_reads),
            (&mut self.overlapping, other.overlapping),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
    }
}

/// Checks a history against the order that the store names. `shared` says that several engines are over one store,
/// whose snapshots may be behind.
pub fn check(history: &[Op], order: &[Entry], shared: bool) -> Result<Counted, Violation> {
    if let Some(pair) = order.windows(2).find(|pair| pair[0].revision >= pair[1].revision) {
        return Err(Violation { why: Why::OrderFalls, what: format!("{pair:?}") });
    }
    let mut checker = Checker { history, order, shared, places: vec![None; history.len()], ..Checker::default() };
    checker.answered_once()?;
    checker.attribute()?;
    checker.replay()?;
    checker.sweep()?;
    Ok(checker.count())
}

#[derive(Default)]
struct Checker<'a> {
    history: &'a [Op],
    order: &'a [Entry],
    shared: bool,
    /// Which part of the order each commit has made, if any: the places before and after.
    places: Vec<Option<(usize, usize)>>,
    /// What each object was, from which place on.
    objects: BTreeMap<Key, Vec<(usize, Option<Seen>)>>,
    counters: BTreeMap<u8, Vec<(usize, i64)>>,
}

impl Checker<'_> {
    fn broken<R>(&self, why: Why, op: usize) -> Result<R, Violation> {
        let place = self.places[op];
        Err(Violation { why, what: format!("operation {op} (places {place:?}): {:?}", self.history[op]) })
    }

    fn commits(&self) -> impl Iterator<Item = (usize, &Plan, &Outcome)> {
        self.history.iter().enumerate().filter_map(|(op, it)| match &it.what {
            What::Commit(plan, outcome) => Some((op, plan, outcome)),
            What::Read(_) => None,
        })
    }

    /// No revision is given to two writes. (A deletion of what is not there is answered with one that another has.)
    fn answered_once(&self) -> Result<(), Violation> {
        let mut given = BTreeSet::new();
        for (op, plan, outcome) in self.commits() {
            let Outcome::Committed { revisions, revision } = outcome else { continue };
            if revisions.len() != plan.writes.len() || revisions.last().is_some_and(|last| last != revision) {
                return self.broken(Why::Lost, op);
            }
            let certain = |write: &PlannedWrite| write.value.is_some() || !may_be_nothing(write, plan);
            for (_, revision) in plan.writes.iter().zip(revisions).filter(|(write, _)| certain(write)) {
                if !given.insert(*revision) {
                    return self.broken(Why::RevisionTwice, op);
                }
            }
        }
        Ok(())
    }

    /// Finds out who made which part of the order.
    fn attribute(&mut self) -> Result<(), Violation> {
        let mut writers: HashMap<u64, usize> = HashMap::new();
        for (op, plan, _) in self.commits() {
            let first = plan.writes.first();
            assert!(plan.writes.len() < 2 || first.is_some_and(|write| write.value.is_some()), "begins with a put");
            writers.extend(plan.writes.iter().filter_map(|write| Some((write.value?, op))));
        }
        let mut at = 0;
        let mut now: BTreeMap<Key, Seen> = BTreeMap::new();
        while at < self.order.len() {
            let entry = self.order[at];
            let op = match entry.change {
                Written::Put(value) => writers.get(&value).copied(),
                Written::Deleted(_) => self.deleter(at, &now),
            };
            let Some(op) = op else {
                return Err(Violation { why: Why::NobodyWroteIt, what: format!("{entry:?}") });
            };
            let What::Commit(plan, outcome) = &self.history[op].what else { unreachable!("a read writes nothing") };
            if matches!(outcome, Outcome::Committed { .. } | Outcome::Unknown) && self.places[op].is_none() {
                let part = self.order.get(at..at + plan.writes.len()).unwrap_or_default();
                if part.is_empty() || !part.iter().zip(&plan.writes).all(|(entry, write)| made(entry, write)) {
                    return self.broken(Why::Torn, op);
                }
                self.places[op] = Some((at, at + part.len()));
                at += part.len();
                for entry in part {
                    match entry.change {
                        Written::Put(value) => now.insert(entry.key, Seen { revision: entry.revision, value }),
                        Written::Deleted(_) => now.remove(&entry.key),
                    };
                }
            } else {
                let why = if self.places[op].is_some() { Why::Torn } else { Why::NobodyWroteIt };
                return self.broken(why, op);
            }
        }
        Ok(())
    }

    /// Who made the deletion at a place, of those for whom it fits what they asked for and real time: best, a commit
    /// that was answered its revision and cannot have found nothing; then one that may have; and only then one whose
    /// outcome is unknown, as another deletion may need it, and first the one that fits nowhere else. Whoever was
    /// answered the revision and is not chosen found nothing, after it.
    fn deleter(&self, place: usize, before: &BTreeMap<Key, Seen>) -> Option<usize> {
        let entry = self.order[place];
        let is = |key: Key, expect: Expect| holds(expect, before.get(&key).copied());
        let may = |write: &PlannedWrite, plan: &Plan| {
            is(write.key, write.expect) && plan.guards.iter().all(|(key, expect)| is(*key, *expect))
        };
        let mut candidates = Vec::new();
        for (op, plan, outcome) in self.commits() {
            let [write] = plan.writes.as_slice() else { continue };
            if write.key != entry.key || write.value.is_some() || self.places[op].is_some() || !may(write, plan) {
                continue;
            }
            let rank = match outcome {
                Outcome::Committed { revision, .. } if *revision != entry.revision => continue,
                Outcome::Committed { .. } if !may_be_nothing(write, plan) => 0,
                Outcome::Committed { .. } if self.told_before(op) <= place => 1,
                Outcome::Unknown if self.told_before(op) > place => continue,
                Outcome::Unknown if matches!(write.expect, Expect::At(_)) => 2,
                Outcome::Unknown => 3,
                Outcome::Committed { .. } => 4,
                _ => continue,
            };
            candidates.push((rank, self.history[op].call, op));
        }
        candidates.into_iter().min().map(|(_, _, op)| op)
    }

    /// The place that an operation cannot be before, by what is certain of those that had ended before it began.
    fn told_before(&self, op: usize) -> usize {
        let call = self.history[op].call;
        let ended = self.history.iter().filter(|other| other.ended.is_some_and(|ended| ended < call));
        let told = ended.filter_map(|other| match &other.what {
            What::Read(read) => Some(read.revision),
            What::Commit(_, Outcome::Committed { revision, .. }) => Some(*revision),
            What::Commit(_, Outcome::Conflict { found, .. } | Outcome::Guarded { found, .. }) => {
                found.map(|found| found.revision)
            }
            What::Commit(..) => None,
        });
        told.max().map_or(0, |revision| self.at(revision))
    }

    /// Replays the order: each commit finds what it asked for.
    fn replay(&mut self) -> Result<(), Violation> {
        let mut makers: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (op, place) in self.places.iter().enumerate() {
            makers.extend(place.map(|(before, after)| (before, (op, after))));
        }
        for (before, (op, after)) in makers {
            let What::Commit(plan, outcome) = &self.history[op].what else { unreachable!("a read writes nothing") };
            if !self.allowed(plan, before) {
                return self.broken(Why::WronglyAccepted, op);
            }
            if let Outcome::Committed { revisions, .. } = outcome
                && self.order[before..after].iter().map(|entry| &entry.revision).ne(revisions)
            {
                return self.broken(Why::Lost, op);
            }
            for (counter, delta, _) in &plan.counters {
                let value = self.counter(*counter, before) + delta;
                self.counters.entry(*counter).or_default().push((after, value));
            }
            for (at, entry) in self.order.iter().enumerate().take(after).skip(before) {
                let known = self.object(entry.key, before);
                let is = match entry.change {
                    Written::Put(value) => Some(Seen { revision: entry.revision, value }),
                    Written::Deleted(value) if known.is_some_and(|known| known.value == value) => None,
                    Written::Deleted(_) => return self.broken(Why::WronglyAccepted, op),
                };
                self.objects.entry(entry.key).or_default().push((at + 1, is));
            }
        }
        Ok(())
    }

    /// Goes through time: at each call, what had ended before it is the least place it can have.
    fn sweep(&mut self) -> Result<(), Violation> {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (op, it) in self.history.iter().enumerate() {
            moments.push((it.call, true, op));
            moments.extend(it.ended.map(|ended| (ended, false, op)));
        }
        moments.sort_unstable();
        let mut told = 0; // by anybody
        let mut told_by: BTreeMap<usize, usize> = BTreeMap::new(); // by each engine
        let mut after = vec![0; self.history.len()];
        for (_, begins, op) in moments {
            let engine = self.history[op].engine;
            if begins {
                let own = told_by.get(&engine).copied().unwrap_or(0);
                after[op] = self.place(op, told, own)?;
            } else {
                told = told.max(after[op]);
                let own = told_by.entry(engine).or_default();
                *own = self.has_come(op, after[op]).max(*own);
            }
        }
        Ok(())
    }

    /// The least place an operation can have, given what was told before it began.
    fn place(&self, op: usize, told: usize, own: usize) -> Result<usize, Violation> {
        match &self.history[op].what {
            What::Read(read) => self.place_of_read(op, read, told, own),
            What::Commit(plan, outcome) => match (self.places[op], outcome) {
                (Some((before, _)), _) if before < told => self.broken(Why::OutOfTime, op),
                (Some((_, after)), _) => Ok(after),
                (None, Outcome::Committed { revision, .. }) => {
                    let at = self.at(*revision);
                    if plan.writes.iter().any(|write| !may_be_nothing(write, plan) || write.value.is_some()) {
                        return self.broken(Why::Lost, op);
                    }
                    if at < told {
                        return self.broken(Why::OutOfTime, op);
                    }
                    let nothing = plan.writes.iter().all(|write| self.object(write.key, at).is_none());
                    if nothing && self.allowed(plan, at) { Ok(at) } else { self.broken(Why::WronglyAccepted, op) }
                }
                (None, Outcome::Refused | Outcome::Unknown) => Ok(told),
                (None, _) => match self.explained(plan, outcome, told) {
                    Some(at) => Ok(at),
                    None => self.broken(Why::WronglyRefused, op),
                },
            },
        }
    }

    fn place_of_read(&self, op: usize, read: &Read, told: usize, own: usize) -> Result<usize, Violation> {
        let at = self.at(read.revision);
        let least = if self.shared && read.how != How::Latest { own } else { told };
        let asked = if let How::NotOlderThan(asked) = read.how { asked } else { 0 };
        if at < least || read.revision < asked {
            return self.broken(Why::StaleRead, op);
        }
        let objects = read.objects.iter().all(|(key, found)| self.object(*key, at) == *found);
        let counters = read.counters.iter().all(|(counter, value)| self.counter(*counter, at) == *value);
        let count = read.count.is_none_or(|(resource, count)| {
            let keys = self.objects.keys().filter(|key| resource_of(**key) == resource);
            keys.filter(|key| self.object(**key, at).is_some()).count() == count
        });
        if objects && counters && count { Ok(at) } else { self.broken(Why::WrongRead, op) }
    }

    /// The first place, from one on, that explains a refusal.
    fn explained(&self, plan: &Plan, outcome: &Outcome, from: usize) -> Option<usize> {
        let keys = plan.guards.iter().map(|(key, _)| key).chain(plan.writes.iter().map(|write| &write.key));
        let objects = keys.filter_map(|key| self.objects.get(key)).flatten().map(|(at, _)| *at);
        let counters = plan.counters.iter().filter_map(|(counter, _, _)| self.counters.get(counter)).flatten();
        let changes = objects.chain(counters.map(|(at, _)| *at)).filter(|at| *at > from);
        let places: BTreeSet<usize> = std::iter::once(from).chain(changes).collect();
        places.into_iter().find(|at| match outcome {
            Outcome::Guarded { key, found } => {
                let asked = plan.guards.iter().find(|(guard, _)| guard == key);
                self.object(*key, *at) == *found && asked.is_some_and(|(_, expect)| !holds(*expect, *found))
            }
            Outcome::Conflict { key, found } => {
                let asked = plan.writes.iter().find(|write| write.key == *key);
                self.object(*key, *at) == *found
                    && asked.is_some_and(|write| !holds(write.expect, *found))
                    && self.guards_hold(plan, *at)
            }
            Outcome::Limit { counter, value } => {
                self.counter(*counter, *at) == *value
                    && !self.counters_hold(plan, *at)
                    && self.guards_hold(plan, *at)
                    && self.writes_hold(plan, *at)
            }
            _ => false,
        })
    }

    /// Up to where the engine that was asked shows the order once an operation has ended. A refusal of a shared store
    /// has come to it as far as the refusal names a revision.
    fn has_come(&self, op: usize, after: usize) -> usize {
        match &self.history[op].what {
            What::Commit(_, Outcome::Conflict { found, .. } | Outcome::Guarded { found, .. }) if self.shared => {
                found.map_or(0, |found| self.at(found.revision))
            }
            What::Commit(_, Outcome::Limit { .. }) if self.shared => 0,
            _ => after,
        }
    }

    fn guards_hold(&self, plan: &Plan, at: usize) -> bool {
        plan.guards.iter().all(|(key, expect)| holds(*expect, self.object(*key, at)))
    }

    fn writes_hold(&self, plan: &Plan, at: usize) -> bool {
        plan.writes.iter().all(|write| holds(write.expect, self.object(write.key, at)))
    }

    fn counters_hold(&self, plan: &Plan, at: usize) -> bool {
        plan.counters.iter().all(|(counter, delta, limit)| {
            let after = self.counter(*counter, at) + delta;
            after >= 0 && (*delta <= 0 || limit.is_none_or(|limit| after <= limit))
        })
    }

    fn allowed(&self, plan: &Plan, at: usize) -> bool {
        self.guards_hold(plan, at) && self.writes_hold(plan, at) && self.counters_hold(plan, at)
    }

    /// The place after all writes up to a revision.
    fn at(&self, revision: u64) -> usize {
        self.order.partition_point(|entry| entry.revision <= revision)
    }

    fn object(&self, key: Key, at: usize) -> Option<Seen> {
        let versions = self.objects.get(&key)?;
        let known = versions.partition_point(|(from, _)| *from <= at).checked_sub(1)?;
        versions[known].1
    }

    fn counter(&self, counter: u8, at: usize) -> i64 {
        let Some(versions) = self.counters.get(&counter) else { return 0 };
        let known = versions.partition_point(|(from, _)| *from <= at);
        known.checked_sub(1).map_or(0, |known| versions[known].1)
    }

    fn count(&self) -> Counted {
        let mut counted = Counted { operations: self.history.len(), ..Counted::default() };
        for (op, it) in self.history.iter().enumerate() {
            let happened = self.places[op].is_some();
            let sort = match &it.what {
                What::Read(read) if read.how == How::Latest => &mut counted.latest,
                What::Read(_) => &mut counted.other_reads,
                What::Commit(_, Outcome::Committed { .. }) if happened => &mut counted.committed,
                What::Commit(_, Outcome::Committed { .. }) => &mut counted.changed_nothing,
                What::Commit(_, Outcome::Conflict { .. }) => &mut counted.conflicts,
                What::Commit(_, Outcome::Guarded { .. }) => &mut counted.guarded,
                What::Commit(_, Outcome::Limit { .. }) => &mut counted.limits,
                What::Commit(_, Outcome::Refused) => &mut counted.refused,
                What::Commit(_, Outcome::Unknown) => &mut counted.unknown,
            };
            *sort += 1;
            let unknown = matches!(it.what, What::Commit(_, Outcome::Unknown));
            counted.unknown_happened += usize::from(unknown && happened);
            // Tickets are dense: who ends two after the call was alone.
            counted.overlapping += usize::from(it.ended.is_none_or(|ended| ended > it.call + 1));
        }
        counted
    }
}

/// Whether a write may change nothing and be accepted all the same: the deletion of what is not there, unless a guard
/// of the same commit asks that it is.
fn may_be_nothing(write: &PlannedWrite, plan: &Plan) -> bool {
    let guards = || plan.guards.iter().filter(|(key, _)| *key == write.key);
    write.value.is_none() && holds(write.expect, None) && guards().all(|(_, expect)| holds(*expect, None))
}

fn made(entry: &Entry, write: &PlannedWrite) -> bool {
    entry.key == write.key
        && match entry.change {
            Written::Put(value) => write.value == Some(value),
            Written::Deleted(_) => write.value.is_none(),
        }
}

/// As [`Expect::holds`], written anew: no object here is marked for deletion.
fn holds(expect: Expect, found: Option<Seen>) -> bool {
    match expect {
        Expect::Anything => true,
        Expect::Absent => found.is_none(),
        Expect::Present | Expect::Live => found.is_some(),
        Expect::At(revision) => found.is_some_and(|found| found.revision == revision.0),
    }
}
