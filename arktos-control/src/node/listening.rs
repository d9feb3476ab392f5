//! Since when hosts could be heard, without a break.
//!
//! What a host, or a pod on it, is given to come back in counts only while somebody listens: a resource manager that
//! was away, or held up, was not told of those that came back meanwhile.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::Timestamp;
use parking_lot::Mutex;

/// Longer between two passes is a break.
const BREAK: Duration = Duration::from_secs(15);

/// Since when, and when last. Written by the passes of the [`Monitor`](super::monitor::Monitor). Cloning it shares it.
#[derive(Clone, Default)]
pub(super) struct Listening(Arc<Mutex<Option<(Timestamp, Timestamp)>>>);

impl Listening {
    /// Hosts are being listened to. Says whether that goes on without a break since the last time.
    pub(super) fn go_on(&self, now: Timestamp) -> bool {
        let mut times = self.0.lock();
        let since = times.filter(|(_, last)| now.since(*last) <= BREAK).map(|(since, _)| since);
        *times = Some((since.unwrap_or(now), now));
        since.is_some()
    }

    /// Nobody could listen.
    pub(super) fn end(&self) {
        *self.0.lock() = None;
    }

    /// Since when somebody has been listening: since now, where nobody has lately.
    pub(super) fn since(&self, now: Timestamp) -> Timestamp {
        let times = self.0.lock().filter(|(_, last)| now.since(*last) <= BREAK);
        times.map_or(now, |(since, _)| since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_begins_anew() {
        let (listening, at) = (Listening::default(), |seconds: i64| Timestamp::from_micros(seconds * 1_000_000));
        assert_eq!(listening.since(at(5)), at(5), "nobody has listened yet");
        assert!(!listening.go_on(at(10)));
        assert!(listening.go_on(at(15)) && listening.go_on(at(30)));
        assert_eq!(listening.since(at(45)), at(10));
        assert_eq!(listening.since(at(46)), at(46), "whoever listens is held up");
        assert!(!listening.go_on(at(46)));
        listening.end();
        assert_eq!(listening.since(at(47)), at(47));
    }
}
