//! How long a refusal of bad credentials is delayed.
//!
//! Turning somebody away costs no less than an answer that is of use, and who tries one token after another, or does
//! not notice that its own has ended, asks again at once. So such answers are late, and those alone: credentials that
//! count are looked at without a wait, also on the same connection, which may be a gateway's for many.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arktos_core::Timestamp;

/// How many in a row are answered at once: whoever renews its token is refused once or twice.
const AT_ONCE: i64 = 10;
/// How far apart further ones are answered, in microseconds.
const APART: i64 = 100_000;
/// The longest that one waits, in microseconds.
const LONGEST: i64 = 1_000_000;

/// How often credentials that do not count have come over a connection, lately. Put into the request's extensions by
/// whoever owns the connection, and by nobody else; without it nobody waits. Cloning it shares it.
#[derive(Debug, Clone, Default)]
pub struct PeerRefusals(
    /// The moment when all will be forgotten, in microseconds. Written by each refusal.
    Arc<AtomicI64>,
);

impl PeerRefusals {
    /// Counts one more, and says how long its answer is to wait.
    pub(crate) fn count(&self, now: Timestamp) -> Duration {
        let now = now.as_micros();
        let free = now + AT_ONCE * APART;
        let after = |forgotten: i64| (forgotten.max(now) + APART).min(free + LONGEST);
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |forgotten| Some(after(forgotten)));
        let (Ok(before) | Err(before)) = before;
        Duration::from_micros(u64::try_from(after(before) - free).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn waits(peer: &PeerRefusals, now: Timestamp, times: usize) -> Vec<u128> {
        (0..times).map(|_| peer.count(now).as_millis()).collect()
    }

    #[test]
    fn the_first_are_answered_at_once_and_later_ones_later_and_later_up_to_a_second() {
        let peer = PeerRefusals::default();
        assert_eq!(waits(&peer, START, 10), [0; 10]);
        assert_eq!(waits(&peer, START, 3), [100, 200, 300]);
        assert_eq!(waits(&peer, START, 1000)[999], 1000);
        assert_eq!(waits(&PeerRefusals::default(), START, 1), [0], "another connection knows nothing of it");
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let peer = PeerRefusals::default();
        waits(&peer, START, 1000);
        assert_eq!(waits(&peer, START.later(Duration::from_millis(500)), 1), [600]);
        assert_eq!(waits(&peer, START.later(Duration::from_secs(3)), 11)[9..], [0, 100]);
    }
}
