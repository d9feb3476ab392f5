//! Work queues: what a controller is still to look at, each key once, with back-off for what failed.
//!
//! ```text
//!           add ──────────────────────────────┐
//!                                             ▼      tenants in turn
//!     add_after ──► delayed, by time ───► ready ═══════════════════► a worker, one a key
//!                        │                    ▲                          │
//!         retry ─────────┘ back-off of the key│                          │ added meanwhile: ready again
//!                        ▼                    │ rate of all retries,     ▼
//!                       ripe ═════════════════┘ tenants in turn       finished
//! ```
//!
//! **Tenants take turns.** One queue serves all tenants. Of the tenants that have keys waiting, each gives one in turn:
//! whatever one has queued or failing, the next key of another is no further away than there are tenants. And of the
//! workers that [`run`](WorkQueue::run) has, a tenant takes another only while more are free than it has: work that
//! waits for what a tenant has made slow, its webhooks for one, leaves workers for the others. What the
//! informer before the queue has not read yet is in the order of its source, so a queue that is to be fair has room
//! for everything: as many keys as there are objects.

mod backlog;
mod bucket;
mod turns;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectKey, ObjectPath, Timestamp};
use futures::StreamExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use self::backlog::Backlog;
use self::bucket::Bucket;
use self::turns::Turns;
use crate::clock::Clock;
use crate::informer::Gate;

/// What can be a key of a work queue.
pub trait Key: Clone + Eq + Hash + Send + 'static {
    /// The tenant whose work it is: its keys take turns with those of other tenants. Empty for work that is no
    /// tenant's.
    fn tenant(&self) -> &str {
        ""
    }
}

impl Key for ObjectPath {
    fn tenant(&self) -> &str {
        Self::tenant(self)
    }
}

impl Key for ObjectKey {
    fn tenant(&self) -> &str {
        self.path.tenant()
    }
}

impl Key for String {}
impl Key for Arc<str> {}
impl Key for &'static str {}
impl Key for u32 {}
impl Key for u64 {}
impl Key for () {}

/// How a work queue behaves.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueOptions {
    /// The first wait of a key that failed; it doubles with each failure that follows. Default: 5 ms.
    pub backoff_first: Duration,
    /// The longest wait of a key that failed. Default: 1000 s.
    pub backoff_max: Duration,
    /// How many keys a second may be tried again after a failure, all keys together; those of several tenants in turn.
    /// One in a thousand seconds at the least. Default: 10.
    pub retries_per_second: f64,
    /// How many keys may be tried again at once before that rate counts; one at the least. Default: 100.
    pub retries_burst: u32,
    /// How long a key rests after work on it that went well: added meanwhile, it comes when the rest is over. So what
    /// happens to one key in quick succession is worked on together. The first of it is not held up. Default: not at
    /// all.
    pub rest: Duration,
    /// How many keys may be queued or delayed; what comes beyond is refused. Keys that a worker gives back to be tried
    /// again are never refused. Default: 1,048,576.
    pub capacity: usize,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_millis(5),
            backoff_max: Duration::from_secs(1000),
            retries_per_second: 10.0,
            retries_burst: 100,
            rest: Duration::ZERO,
            capacity: 1 << 20,
        }
    }
}

/// What became of the work on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is done; failures before it are forgotten.
    Done,
    /// It failed and is to be tried again, later with each failure in a row.
    Retry,
    /// It went well, and is to be looked at again after a while. Failures before it are forgotten.
    After(Duration),
}

/// Keys to work on. Cloning it shares it.
///
/// A key is handed to one worker at a time. Added while it is queued, it stays queued once; added while a worker has
/// it, it is queued again when the worker is done. So no change is missed, and no key is worked on twice at once.
///
/// ```
/// use std::sync::Arc;
///
/// use arktos_core::{ObjectPath, Timestamp};
/// use arktos_store::clock::ManualClock;
/// use arktos_store::{Outcome, WorkQueue};
///
/// # futures::executor::block_on(async {
/// let queue = WorkQueue::new(Arc::new(ManualClock::new(Timestamp::from_micros(0))));
/// for name in ["a", "b", "a"] {
///     queue.add(ObjectPath::new("acme", "default", name));
/// }
/// queue.add(ObjectPath::new("umbra", "default", "c"));
/// let mut order = Vec::new();
/// while !queue.is_empty() {
///     let Some(key) = queue.get().await else { break };
///     order.push(key.as_str().to_owned());
///     key.finish(Outcome::Done);
/// }
/// assert_eq!(order, ["acme/default/a", "umbra/default/c", "acme/default/b"]);
/// # });
/// ```
pub struct WorkQueue<K>(Arc<Shared<K>>);

struct Shared<K> {
    clock: Arc<dyn Clock>,
    options: QueueOptions,
    /// Written by whoever adds, takes or finishes.
    state: Mutex<State<K>>,
    changed: Notify,
    /// Told when a key was taken out.
    room: Notify,
}

struct State<K> {
    /// What is to be handed out, in order.
    ready: Turns<K>,
    /// What is to be worked on, be it in `ready` or still in a worker's hands.
    dirty: HashSet<K>,
    /// What workers have in hand, or rests.
    processing: HashSet<K>,
    /// How many keys of each tenant workers have in hand.
    held: HashMap<Box<str>, usize>,
    /// What rests, by when it has rested.
    resting: VecDeque<(Timestamp, K)>,
    /// What is to be added later, by when; and when each key is due.
    delayed: BTreeMap<(Timestamp, u64), Delayed<K>>,
    due: HashMap<K, (Timestamp, u64)>,
    /// What has failed and waited, and is still to wait for the rate of all retries; once a key.
    ripe: Turns<K>,
    ripe_keys: HashSet<K>,
    sequence: u64,
    failures: HashMap<K, u32>,
    retries: Bucket,
    closed: bool,
}

struct Delayed<K> {
    key: K,
    /// Whether it has failed, and counts against the rate of retries.
    failed: bool,
}

/// A key in a worker's hands. Dropping it tells the queue that the worker is done with it.
pub struct Taken<K: Key> {
    queue: WorkQueue<K>,
    key: K,
    went_well: bool,
}

impl<K: Key> WorkQueue<K> {
    /// A queue with the usual options.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_options(clock, QueueOptions::default())
    }

    /// A queue.
    #[must_use]
    pub fn with_options(clock: Arc<dyn Clock>, options: QueueOptions) -> Self {
        let retries = Bucket::full(clock.now(), &options);
        let state = State {
            ready: Turns::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            held: HashMap::new(),
            resting: VecDeque::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            ripe: Turns::new(),
            ripe_keys: HashSet::new(),
            sequence: 0,
            failures: HashMap::new(),
            retries,
            closed: false,
        };
        Self(Arc::new(Shared { clock, options, state: Mutex::new(state), changed: Notify::new(), room: Notify::new() }))
    }

    /// Adds a key, unless it is queued already. Says whether the queue will hand it out: not when it is full, or was
    /// shut down.
    pub fn add(&self, key: K) -> bool {
        let mut state = self.0.state.lock();
        let added = state.add(key, self.0.options.capacity);
        drop(state);
        if added {
            self.0.changed.notify_one();
        }
        added
    }

    /// Adds a key even when the queue is full: for feeders that look for room first, and have it already in hand.
    pub(crate) fn add_beyond(&self, key: K) {
        if self.0.state.lock().add(key, usize::MAX) {
            self.0.changed.notify_one();
        }
    }

    /// Adds a key once some time has passed. A key that is delayed already comes at the earlier moment. Says whether
    /// the queue will hand it out.
    pub fn add_after(&self, key: K, delay: Duration) -> bool {
        if delay.is_zero() {
            return self.add(key);
        }
        self.delay(Delayed { key, failed: false }, delay, self.0.options.capacity)
    }

    /// Adds a key that failed, after a wait that doubles with each failure and keeps the overall rate of retries. Says
    /// whether the queue will hand it out.
    pub fn retry(&self, key: K) -> bool {
        self.retry_within(key, self.0.options.capacity)
    }

    fn retry_within(&self, key: K, capacity: usize) -> bool {
        let options = &self.0.options;
        let mut state = self.0.state.lock();
        let failures = state.failures.entry(key.clone()).or_insert(0);
        let backoff = options.backoff_first.saturating_mul(1 << (*failures).min(31)).min(options.backoff_max);
        *failures = failures.saturating_add(1);
        drop(state);
        self.delay(Delayed { key, failed: true }, backoff, capacity)
    }

    fn delay(&self, what: Delayed<K>, delay: Duration, capacity: usize) -> bool {
        let mut state = self.0.state.lock();
        if state.closed || (!state.due.contains_key(&what.key) && state.is_full(capacity)) {
            return false;
        }
        let sooner = state.delay(what, self.0.clock.now().later(delay));
        drop(state);
        if sooner {
            self.0.changed.notify_waiters(); // all of them wait for the wrong moment
        }
        true
    }

    /// Forgets the failures of a key.
    pub fn forget(&self, key: &K) {
        self.0.state.lock().failures.remove(key);
    }

    /// How often a key has failed in a row.
    #[must_use]
    pub fn failures(&self, key: &K) -> u32 {
        self.0.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// How many keys wait to be handed out now, the delayed ones left out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.state.lock().ready.len()
    }

    /// Whether no key waits to be handed out now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing is queued, delayed or in anybody's hands.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let state = self.0.state.lock();
        state.dirty.is_empty()
            && state.processing.len() == state.resting.len()
            && state.delayed.is_empty()
            && state.ripe.is_empty()
    }

    /// The next key, when there is one; `None` once the queue is shut down. Cancel safe: a key is either given out or
    /// still queued.
    pub async fn get(&self) -> Option<Taken<K>> {
        self.get_within(usize::MAX).await
    }

    /// As [`get`](Self::get), for one of so many workers.
    async fn get_within(&self, workers: usize) -> Option<Taken<K>> {
        loop {
            let changed = self.0.changed.notified();
            let wait = {
                let mut state = self.0.state.lock();
                if state.closed {
                    return None;
                }
                let now = self.0.clock.now();
                let next = state.wake_delayed(now, &self.0.options);
                if let Some(key) = state.take(workers) {
                    let more = !state.ready.is_empty();
                    drop(state);
                    self.0.room.notify_waiters();
                    if more {
                        self.0.changed.notify_one(); // delayed keys become ready without anybody being told
                    }
                    return Some(Taken { queue: self.clone(), key, went_well: false });
                }
                next.map(|moment| moment.since(now))
            };
            match wait {
                None => changed.await,
                Some(wait) => match select(std::pin::pin!(changed), self.0.clock.sleep(wait)).await {
                    Either::Left(_) | Either::Right(_) => {}
                },
            }
        }
    }

    /// Works on keys, up to `workers` at once, until the queue is shut down and what is in hand is finished.
    ///
    /// Dropping the future drops the work in hand; its keys are handed out again to whoever gets from the queue next
    /// only if they are added again.
    pub async fn run<F>(&self, workers: usize, work: impl Fn(K) -> F)
    where
        F: Future<Output = Outcome>,
    {
        let mut in_hand = FuturesUnordered::new();
        let start = |taken: Taken<K>| {
            let working = work(taken.key.clone());
            async move { taken.finish(working.await) }
        };
        loop {
            if in_hand.len() >= workers.max(1) {
                in_hand.next().await;
                continue;
            }
            let next = std::pin::pin!(self.get_within(workers));
            let taken = if in_hand.is_empty() {
                next.await
            } else {
                match select(next, in_hand.next()).await {
                    Either::Left((taken, _)) => taken,
                    Either::Right(_) => continue,
                }
            };
            match taken {
                Some(taken) => in_hand.push(start(taken)),
                None => break,
            }
        }
        while in_hand.next().await.is_some() {}
    }

    /// Ends the queue: nothing is added or handed out any more. What workers have in hand they may finish.
    pub fn shut_down(&self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        state.ready.clear();
        state.dirty.clear();
        state.delayed.clear();
        state.due.clear();
        state.resting.clear();
        state.ripe.clear();
        state.ripe_keys.clear();
        drop(state);
        self.0.room.notify_waiters();
        self.0.changed.notify_waiters();
        self.0.changed.notify_one(); // whoever is between looking and waiting
    }

    fn done(&self, key: &K, rests: bool) {
        let mut state = self.0.state.lock();
        state.let_go(key);
        let rest = self.0.options.rest;
        if rests && !rest.is_zero() && !state.closed {
            state.resting.push_back((self.0.clock.now().later(rest), key.clone()));
            let first = state.resting.len() == 1;
            drop(state);
            if first {
                self.0.changed.notify_waiters(); // all of them wait for the wrong moment
            }
            return;
        }
        let again = state.release(key);
        drop(state);
        if again {
            self.0.changed.notify_one();
        }
    }
}

/// Open while the queue is not full.
impl<K: Key + Sync> Gate for WorkQueue<K> {
    fn is_open(&self) -> bool {
        let state = self.0.state.lock();
        state.closed || !state.is_full(self.0.options.capacity)
    }

    fn opened(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let room = self.0.room.notified();
            if !self.is_open() {
                room.await;
            }
        })
    }
}

impl<K: Key> Taken<K> {
    /// Says what became of the work, and gives the key back. A key that is to come again is kept even when the queue is
    /// full: its place was taken while the worker had it.
    pub fn finish(mut self, outcome: Outcome) {
        self.went_well = outcome != Outcome::Retry;
        let (queue, key) = (&self.queue, self.key.clone());
        if outcome == Outcome::Retry {
            queue.retry_within(key, usize::MAX);
            return;
        }
        queue.forget(&key);
        match outcome {
            Outcome::After(delay) if delay.is_zero() => queue.add_beyond(key),
            Outcome::After(delay) => {
                queue.delay(Delayed { key, failed: false }, delay, usize::MAX);
            }
            Outcome::Done | Outcome::Retry => {}
        }
    }
}

impl<K: Key> State<K> {
    fn is_full(&self, capacity: usize) -> bool {
        self.dirty.len() + self.delayed.len() + self.ripe.len() >= capacity
    }

    fn add(&mut self, key: K, capacity: usize) -> bool {
        if self.closed {
            return false;
        }
        if self.dirty.contains(&key) {
            return true;
        }
        if self.is_full(capacity) {
            return false;
        }
        self.admit(key);
        true
    }

    fn admit(&mut self, key: K) {
        if self.dirty.insert(key.clone()) && !self.processing.contains(&key) {
            self.ready.push(key);
        }
    }

    /// Delays a key, and says whether it is now the first that will be due.
    fn delay(&mut self, what: Delayed<K>, due: Timestamp) -> bool {
        if let Some(before) = self.due.get(&what.key).copied() {
            if before.0 <= due {
                return false;
            }
            self.delayed.remove(&before);
        }
        self.sequence += 1;
        let place = (due, self.sequence);
        self.due.insert(what.key.clone(), place);
        self.delayed.insert(place, what);
        self.delayed.keys().next() == Some(&place)
    }

    /// Makes ready what is due by now, as far as the rate of retries allows. Gives back when there may be more.
    fn wake_delayed(&mut self, now: Timestamp, options: &QueueOptions) -> Option<Timestamp> {
        while !self.ripe.is_empty() && self.retries.draw(now, options) {
            let Some(key) = self.ripe.pop() else { break };
            self.ripe_keys.remove(&key);
            self.admit(key);
        }
        while self.resting.front().is_some_and(|(until, _)| *until <= now)
            && let Some((_, key)) = self.resting.pop_front()
        {
            self.release(&key);
        }
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let Delayed { key, failed } = entry.remove();
            self.due.remove(&key);
            // The ripe ones go first: there are none, or there was nothing left for them.
            if !failed || self.retries.draw(now, options) {
                self.admit(key);
            } else if self.ripe_keys.insert(key.clone()) {
                self.ripe.push(key);
            }
        }
        let turn = (!self.ripe.is_empty()).then(|| self.retries.next(now, options));
        let due = self.delayed.keys().next().map(|(moment, _)| *moment);
        let rested = self.resting.front().map(|(until, _)| *until);
        due.into_iter().chain(turn).chain(rested).min()
    }

    /// Lets go of a key that was in hand; says whether it is to be worked on again.
    fn release(&mut self, key: &K) -> bool {
        self.processing.remove(key);
        let again = self.dirty.contains(key);
        if again {
            self.ready.push(key.clone());
        }
        again
    }

    /// The next key for one of so many workers. A tenant is given another only while more are free than it has: one
    /// alone gets half of them, and the next one still half of the rest. What is no tenant's is held back for nobody.
    fn take(&mut self, workers: usize) -> Option<K> {
        let free = workers.saturating_sub(self.held.values().sum());
        let held = |tenant: &str| self.held.get(tenant).copied().unwrap_or(0);
        let key = self.ready.pop_of(|tenant| tenant.is_empty() || held(tenant) < free.max(1))?;
        *self.held.entry(key.tenant().into()).or_default() += 1;
        self.dirty.remove(&key);
        self.processing.insert(key.clone());
        Some(key)
    }
}

impl<K: Key> State<K> {
    /// A worker has a key in hand no longer.
    fn let_go(&mut self, key: &K) {
        if let Some(held) = self.held.get_mut(key.tenant()) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(key.tenant());
            }
        }
    }
}

impl<K: Key> Drop for Taken<K> {
    fn drop(&mut self) {
        self.queue.done(&self.key, self.went_well);
    }
}

impl<K: Key> Deref for Taken<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.key
    }
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> fmt::Debug for WorkQueue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue").field("ready", &self.0.state.lock().ready.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
