//! Time and randomness, handed in by whoever runs the program: a system clock at the edge, a clock of its own in a
//! test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::Timestamp;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Tells the time and waits.
pub trait Clock: Send + Sync + 'static {
    /// The time now. It may be set, but never runs backwards between two calls of one clock.
    fn now(&self) -> Timestamp;

    /// Completes when this much time has passed. Dropping the future cancels the wait.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Gives random bytes: uids, name suffixes, jitter.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// A random number.
    fn next(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A new uid: a random UUID (RFC 9562, version 4).
    fn uid(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let mut text = String::with_capacity(36);
        for (at, byte) in bytes.into_iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            for half in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
            }
        }
        text
    }

    /// A suffix for a generated name: five of the characters the API uses for them.
    fn suffix(&self) -> String {
        const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..5).map(|_| char::from(LETTERS[usize::try_from(self.next() % 27).unwrap_or(0)])).collect()
    }
}

/// A clock that stands still until it is moved: for tests, and for running a region from one seed.
#[derive(Clone)]
pub struct ManualClock {
    // Written by `advance` (time) and `sleep` (waiters).
    state: Arc<Mutex<ManualState>>,
}

struct ManualState {
    now: Timestamp,
    waiters: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    sequence: u64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { state: Arc::new(Mutex::new(ManualState { now, waiters: BTreeMap::new(), sequence: 0 })) }
    }

    /// Moves the clock forward and wakes whoever waited for a moment passed over.
    pub fn advance(&self, by: Duration) {
        let passed = {
            let mut state = self.state.lock();
            state.now = state.now.later(by);
            let after_now = state.now.later(Duration::from_micros(1));
            let later = state.waiters.split_off(&(after_now, 0));
            std::mem::replace(&mut state.waiters, later)
        };
        // Not under the lock: whoever is woken may look at the clock at once.
        for (_, waiter) in passed {
            let _ = waiter.send(()); // whoever stopped waiting does not mind
        }
    }

    /// When the next sleeper wakes, if anyone sleeps.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        let mut state = self.state.lock();
        state.waiters.retain(|_, waiter| !waiter.is_closed());
        state.waiters.keys().next().map(|(moment, _)| *moment)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        let mut state = self.state.lock();
        state.sequence += 1;
        let key = (state.now.later(duration), state.sequence);
        state.waiters.insert(key, wake);
        drop(state);
        Box::pin(async move {
            let _ = woken.await; // a clock that is gone wakes its sleepers
        })
    }
}

/// Randomness from a seed (SplitMix64): for tests, and for running a region from one seed. Not for secrets.
pub struct SeededRandom {
    // Written by whoever draws.
    state: Mutex<u64>,
}

impl SeededRandom {
    /// The sequence that belongs to a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new(seed) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.state.lock();
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_when_their_moment_has_come_and_not_before() {
        let clock = ManualClock::new(Timestamp::from_micros(0));
        let mut sleeper = clock.sleep(Duration::from_secs(10));
        clock.advance(Duration::from_secs(9));
        assert!(futures::poll!(&mut sleeper).is_pending());
        assert_eq!(clock.next_wake(), Some(Timestamp::from_micros(10_000_000)));
        clock.advance(Duration::from_secs(1));
        sleeper.await;
        assert_eq!(clock.next_wake(), None);
    }

    #[test]
    fn uids_are_version_4_and_do_not_repeat() {
        let random = SeededRandom::new(7);
        let (first, second) = (random.uid(), random.uid());
        assert_ne!(first, second);
        assert_eq!((first.len(), &first[14..15]), (36, "4"));
        assert_eq!(SeededRandom::new(7).uid(), first);
    }
}
