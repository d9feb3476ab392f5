//! The pods that wait for a place: who is next, who must wait a while, and who waits for something to change.
//!
//! Tenants take turns by their weights, whatever the number of their pods, and by what it takes to look for their
//! places; within a tenant the higher priority goes first, then the older pod. (Priorities do not reach across tenants:
//! a tenant may make its own.)
//!
//! ```text
//!              ┌──── retry ────► backing off ──┐ (after a while)
//!              │                               ▼
//!   add ──► active ──► pop ──► in flight ──► remove
//!              ▲                   │
//!              └── wake ── parked ◄┘ park     (by class: they fit nowhere)
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use arktos_core::{ObjectPath, Timestamp};

use crate::class::ClassId;
use crate::intern::Interner;

/// How long pods wait after attempts that failed.
#[derive(Debug, Clone)]
pub struct Backoff {
    /// After the first attempt; doubled with each further one. Default: 1 s.
    pub first: Duration,
    /// At most. Default: 10 s.
    pub most: Duration,
    /// How long a pod is parked at most before it is tried again without cause. Default: 5 min.
    pub parked_most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { first: seconds(1), most: seconds(10), parked_most: seconds(300) }
    }
}

/// A pod's turn: higher priority first, then first come.
type Turn = (Reverse<i32>, u64);

/// The pods that wait. Written by its owner, one call at a time.
#[derive(Debug, Default)]
pub struct Queue {
    backoff: Backoff,
    pods: HashMap<ObjectPath, Entry>,
    tenants: Interner,
    lines: Vec<Line>,
    /// The tenants with active pods, by how much each has had.
    order: BTreeSet<(u64, u32)>,
    /// The tenant that was served last, and how much it had had: where a tenant begins that comes back.
    served: u32,
    had: u64,
    backing_off: BTreeSet<(Timestamp, ObjectPath)>,
    parked: BTreeMap<ClassId, BTreeMap<Turn, ObjectPath>>,
    parked_since: BTreeSet<(Timestamp, ObjectPath)>,
    sequence: u64,
}

/// The active pods of one tenant.
#[derive(Debug)]
struct Line {
    pods: BTreeMap<Turn, ObjectPath>,
    weight: u32,
    had: u64,
}

#[derive(Debug)]
struct Entry {
    tenant: u32,
    class: ClassId,
    turn: Turn,
    attempts: u32,
    failed_at: Timestamp,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    InFlight,
    BackingOff(Timestamp),
    Parked(Timestamp),
}

/// How many pods are woken at a time of which it is not known that they use the room that there is.
const OTHERS_MAX: usize = 4096;
/// What one pod of a tenant of weight 1 costs, beside the looks at hosts that it takes.
const STRIDE: u64 = 1 << 20;
/// So many looks at a host cost as much.
const LOOKS: u64 = 32;

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, ..Self::default() }
    }

    /// How large a tenant's share is beside the others'. Default: 1. Zero counts as 1.
    pub fn set_weight(&mut self, tenant: &str, weight: u32) {
        let tenant = self.tenant(tenant);
        self.lines[tenant as usize].weight = weight.max(1);
    }

    /// A pod comes to wait. One that waits already keeps its turn, unless its priority or class has changed.
    pub fn add(&mut self, path: ObjectPath, priority: i32, class: ClassId) {
        if let Some(entry) = self.pods.get(&path) {
            if entry.turn.0 == Reverse(priority) && entry.class == class {
                return;
            }
            self.remove(&path);
        }
        self.sequence += 1;
        let entry = Entry {
            tenant: self.tenant(path.tenant()),
            class,
            turn: (Reverse(priority), self.sequence),
            attempts: 0,
            failed_at: Timestamp::default(),
            state: State::Active,
        };
        self.pods.insert(path.clone(), entry);
        self.activate(&path);
    }

    /// A pod waits no longer. Says whether it did.
    pub fn remove(&mut self, path: &ObjectPath) -> bool {
        self.withdraw(path);
        self.pods.remove(path).is_some()
    }

    /// The next pod, which is in flight from now on.
    pub fn pop(&mut self, now: Timestamp) -> Option<(ObjectPath, ClassId)> {
        self.end_waits(now);
        let (had, tenant) = self.order.pop_first()?;
        let line = &mut self.lines[tenant as usize];
        let (_, path) = line.pods.pop_first()?;
        line.had = had + STRIDE / u64::from(line.weight);
        (self.served, self.had) = (tenant, had);
        if !line.pods.is_empty() {
            self.order.insert((line.had, tenant));
        }
        let entry = self.pods.get_mut(&path)?;
        entry.state = State::InFlight;
        Some((path, entry.class))
    }

    /// To look for a place of the pod that was popped last took so many looks at a host: the next ones of its tenant
    /// come so much later.
    pub fn charge(&mut self, looks: usize) {
        let Some(line) = self.lines.get_mut(self.served as usize) else { return };
        let cost = (looks as u64).saturating_mul(STRIDE / LOOKS) / u64::from(line.weight);
        let waits = self.order.remove(&(line.had, self.served));
        line.had = line.had.saturating_add(cost);
        if waits {
            self.order.insert((line.had, self.served));
        }
    }

    /// A pod in flight failed for a reason that may pass by itself: it waits a while, longer each time.
    pub fn retry(&mut self, path: &ObjectPath, now: Timestamp) {
        let backoff = self.backoff.clone();
        if let Some(entry) = self.fail(path, now) {
            let until = entry.until(&backoff);
            entry.state = State::BackingOff(until);
            self.backing_off.insert((until, path.clone()));
        }
    }

    /// A pod in flight is to be tried again at once, through no fault of its own.
    pub fn again(&mut self, path: &ObjectPath) {
        if self.pods.get(path).is_some_and(|entry| entry.state == State::InFlight) {
            self.activate(path);
        }
    }

    /// A pod in flight fits nowhere: it waits until its class is woken.
    pub fn park(&mut self, path: &ObjectPath, now: Timestamp) {
        if let Some(entry) = self.fail(path, now) {
            entry.state = State::Parked(now);
            let (class, turn) = (entry.class, entry.turn);
            self.parked.entry(class).or_default().insert(turn, path.clone());
            self.parked_since.insert((now, path.clone()));
        }
    }

    /// The classes with parked pods.
    pub fn parked_classes(&self) -> impl Iterator<Item = ClassId> + '_ {
        self.parked.keys().copied()
    }

    /// How many pods of a class are parked.
    #[must_use]
    pub fn parked(&self, class: ClassId) -> usize {
        self.parked.get(&class).map_or(0, BTreeMap::len)
    }

    /// Something has changed that may give room to so many pods of a class: as many parked ones, in their turns, are
    /// active again, or back off for what is left of their wait. So are those among them of which it is not known that
    /// they `use` the room: they take it from nobody.
    pub fn wake(&mut self, class: ClassId, pods: usize, now: Timestamp, uses: impl Fn(&ObjectPath) -> bool) {
        let Some(parked) = self.parked.get(&class) else { return };
        let (mut left, mut others) = (pods, OTHERS_MAX);
        let woken = parked.values().take_while(|&path| {
            if left == 0 || others == 0 {
                return false;
            }
            *(if uses(path) { &mut left } else { &mut others }) -= 1;
            true
        });
        let woken: Vec<ObjectPath> = woken.cloned().collect();
        for path in woken {
            self.unpark(&path, now);
        }
    }

    /// Something has changed for one pod alone: if it is parked, it is active again, or backs off for what is left of
    /// its wait.
    pub fn wake_pod(&mut self, path: &ObjectPath, now: Timestamp) {
        if self.pods.get(path).is_some_and(|entry| matches!(entry.state, State::Parked(_))) {
            self.unpark(path, now);
        }
    }

    /// When the next pod is to be taken up again without anybody's call, if any is.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let backing_off = self.backing_off.first().map(|(until, _)| *until);
        let parked = self.parked_since.first().map(|(since, _)| since.later(self.backoff.parked_most));
        [backing_off, parked].into_iter().flatten().min()
    }

    /// Whether a pod can be popped right away.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.order.is_empty()
    }

    /// How many pods are active, back off, and are parked.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let active = self.lines.iter().map(|line| line.pods.len()).sum();
        (active, self.backing_off.len(), self.parked_since.len())
    }

    fn end_waits(&mut self, now: Timestamp) {
        while let Some((until, path)) = self.backing_off.first().cloned() {
            if until > now {
                break;
            }
            self.withdraw(&path);
            self.activate(&path);
        }
        while let Some((since, path)) = self.parked_since.first().cloned() {
            if since.later(self.backoff.parked_most) > now {
                break;
            }
            self.unpark(&path, now);
        }
    }

    fn unpark(&mut self, path: &ObjectPath, now: Timestamp) {
        self.withdraw(path);
        let Some(entry) = self.pods.get_mut(path) else { return };
        let until = entry.until(&self.backoff);
        if until <= now {
            return self.activate(path);
        }
        entry.state = State::BackingOff(until);
        self.backing_off.insert((until, path.clone()));
    }

    fn fail(&mut self, path: &ObjectPath, now: Timestamp) -> Option<&mut Entry> {
        let entry = self.pods.get_mut(path).filter(|entry| entry.state == State::InFlight)?;
        entry.attempts = entry.attempts.saturating_add(1);
        entry.failed_at = now;
        Some(entry)
    }

    /// Takes a pod out of whatever it waits in. Its entry stays.
    fn withdraw(&mut self, path: &ObjectPath) {
        let Some(entry) = self.pods.get_mut(path) else { return };
        match std::mem::replace(&mut entry.state, State::InFlight) {
            State::InFlight => {}
            State::Active => {
                let line = &mut self.lines[entry.tenant as usize];
                line.pods.remove(&entry.turn);
                if line.pods.is_empty() {
                    self.order.remove(&(line.had, entry.tenant));
                }
            }
            State::BackingOff(until) => {
                self.backing_off.remove(&(until, path.clone()));
            }
            State::Parked(since) => {
                self.parked_since.remove(&(since, path.clone()));
                if let Some(parked) = self.parked.get_mut(&entry.class) {
                    parked.remove(&entry.turn);
                    if parked.is_empty() {
                        self.parked.remove(&entry.class);
                    }
                }
            }
        }
    }

    fn activate(&mut self, path: &ObjectPath) {
        let Some(entry) = self.pods.get_mut(path) else { return };
        entry.state = State::Active;
        let line = &mut self.lines[entry.tenant as usize];
        if line.pods.is_empty() {
            line.had = line.had.max(self.had); // who was away saves nothing up
            self.order.insert((line.had, entry.tenant));
        }
        line.pods.insert(entry.turn, path.clone());
    }

    fn tenant(&mut self, name: &str) -> u32 {
        let tenant = self.tenants.intern(name);
        while self.lines.len() <= tenant as usize {
            self.lines.push(Line { pods: BTreeMap::new(), weight: 1, had: 0 });
        }
        tenant
    }
}

impl Entry {
    fn until(&self, backoff: &Backoff) -> Timestamp {
        let doubled = backoff.first.saturating_mul(1 << self.attempts.saturating_sub(1).min(20));
        if self.attempts == 0 { self.failed_at } else { self.failed_at.later(doubled.min(backoff.most)) }
    }
}

#[cfg(test)]
mod tests;
