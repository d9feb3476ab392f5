//! Work queues: what a controller is still to look at, each key once, with back-off for what failed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::Timestamp;
use futures::StreamExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::informer::Gate;

/// What can be a key of a work queue.
pub trait Key: Clone + Eq + Hash + Send + 'static {}

impl<K: Clone + Eq + Hash + Send + 'static> Key for K {}

/// How a work queue behaves.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueOptions {
    /// The first wait of a key that failed; it doubles with each failure that follows. Default: 5 ms.
    pub backoff_first: Duration,
    /// The longest wait of a key that failed. Default: 1000 s.
    pub backoff_max: Duration,
    /// How many keys a second may be tried again after a failure, all keys together. Default: 10.
    pub retries_per_second: f64,
    /// How many keys may be tried again at once before that rate counts. Default: 100.
    pub retries_burst: u32,
    /// How many keys may be queued or delayed; what comes beyond is refused. Default: 1,048,576.
    pub capacity: usize,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_millis(5),
            backoff_max: Duration::from_secs(1000),
            retries_per_second: 10.0,
            retries_burst: 100,
            capacity: 1 << 20,
        }
    }
}

/// What became of the work on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    ready: VecDeque<K>,
    /// What is to be worked on, be it in `ready` or still in a worker's hands.
    dirty: HashSet<K>,
    /// What workers have in hand.
    processing: HashSet<K>,
    /// What is to be added later, by when; and when each key is due.
    delayed: BTreeMap<(Timestamp, u64), K>,
    due: HashMap<K, (Timestamp, u64)>,
    sequence: u64,
    failures: HashMap<K, u32>,
    retries: Bucket,
    closed: bool,
}

/// A token bucket that may be overdrawn: who overdraws it waits.
struct Bucket {
    tokens: f64,
    filled: Timestamp,
}

/// A key in a worker's hands. Dropping it tells the queue that the worker is done with it.
pub struct Taken<K: Key> {
    queue: WorkQueue<K>,
    key: K,
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
        let retries = Bucket { tokens: f64::from(options.retries_burst), filled: clock.now() };
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
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
        let mut state = self.0.state.lock();
        if state.closed || state.is_full(self.0.options.capacity) {
            return false;
        }
        let sooner = state.delay(key, self.0.clock.now().later(delay));
        drop(state);
        if sooner {
            self.0.changed.notify_waiters(); // all of them wait for the wrong moment
        }
        true
    }

    /// Adds a key that failed, after a wait that doubles with each failure and keeps the overall rate of retries. Says
    /// whether the queue will hand it out.
    pub fn retry(&self, key: K) -> bool {
        let options = &self.0.options;
        let mut state = self.0.state.lock();
        let failures = state.failures.entry(key.clone()).or_insert(0);
        let backoff = options.backoff_first.saturating_mul(1 << (*failures).min(31)).min(options.backoff_max);
        *failures = failures.saturating_add(1);
        let turn = state.retries.draw(self.0.clock.now(), options);
        drop(state);
        self.add_after(key, backoff.max(turn))
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
        state.dirty.is_empty() && state.processing.is_empty() && state.delayed.is_empty()
    }

    /// The next key, when there is one; `None` once the queue is shut down. Cancel safe: a key is either given out or
    /// still queued.
    pub async fn get(&self) -> Option<Taken<K>> {
        loop {
            let changed = self.0.changed.notified();
            let wait = {
                let mut state = self.0.state.lock();
                if state.closed {
                    return None;
                }
                let now = self.0.clock.now();
                state.wake_delayed(now);
                if let Some(key) = state.take() {
                    let more = !state.ready.is_empty();
                    drop(state);
                    self.0.room.notify_waiters();
                    if more {
                        self.0.changed.notify_one(); // delayed keys become ready without anybody being told
                    }
                    return Some(Taken { queue: self.clone(), key });
                }
                state.delayed.keys().next().map(|(moment, _)| moment.since(now))
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
            let next = std::pin::pin!(self.get());
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
        drop(state);
        self.0.room.notify_waiters();
        self.0.changed.notify_waiters();
        self.0.changed.notify_one(); // whoever is between looking and waiting
    }

    fn done(&self, key: &K) {
        let mut state = self.0.state.lock();
        state.processing.remove(key);
        let again = state.dirty.contains(key);
        if again {
            state.ready.push_back(key.clone());
        }
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
    /// Says what became of the work, and gives the key back.
    pub fn finish(self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.queue.forget(&self.key),
            Outcome::Retry => {
                self.queue.retry(self.key.clone());
            }
            Outcome::After(delay) => {
                self.queue.forget(&self.key);
                self.queue.add_after(self.key.clone(), delay);
            }
        }
    }
}

impl<K: Key> State<K> {
    fn is_full(&self, capacity: usize) -> bool {
        self.dirty.len() + self.delayed.len() >= capacity
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
            self.ready.push_back(key);
        }
    }

    /// Delays a key, and says whether it is now the first that will be due.
    fn delay(&mut self, key: K, due: Timestamp) -> bool {
        if let Some(before) = self.due.get(&key).copied() {
            if before.0 <= due {
                return false;
            }
            self.delayed.remove(&before);
        }
        self.sequence += 1;
        let place = (due, self.sequence);
        self.due.insert(key.clone(), place);
        self.delayed.insert(place, key);
        self.delayed.keys().next() == Some(&place)
    }

    fn wake_delayed(&mut self, now: Timestamp) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.admit(key);
        }
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.processing.insert(key.clone());
        Some(key)
    }
}

impl Bucket {
    /// Draws one token, and says how long to wait for it.
    fn draw(&mut self, now: Timestamp, options: &QueueOptions) -> Duration {
        let fresh = now.since(self.filled).as_secs_f64() * options.retries_per_second;
        self.tokens = (self.tokens + fresh).min(f64::from(options.retries_burst)) - 1.0;
        self.filled = now;
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.tokens / options.retries_per_second).unwrap_or(options.backoff_max)
    }
}

impl<K: Key> Drop for Taken<K> {
    fn drop(&mut self) {
        self.queue.done(&self.key);
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
