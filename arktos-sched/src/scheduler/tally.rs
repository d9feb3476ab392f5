//! Counters of what a scheduler has done.

use std::time::Duration;

/// What a scheduler has done since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Claims that were asked for.
    pub asked: u64,
    /// Claims that were refused, because another scheduler was first or the host had changed.
    pub refused: u64,
    /// Claims whose fate was not told.
    pub unanswered: u64,
    /// Pods that were bound.
    pub bound: u64,
    /// Binds that failed.
    pub unbound: u64,
    /// Attempts that found no place.
    pub unschedulable: u64,
    /// From when a pod was taken up until it was bound.
    pub attempts: Latencies,
    /// From when a pod was first seen until it was bound, all its attempts and waits included.
    pub pods: Latencies,
}

/// How long things took: how many within each power of two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latencies {
    /// How many took at most [`Latencies::bound`] of their place, and longer than the place before.
    pub counts: [u64; Latencies::BOUNDS],
    /// How many there were.
    pub count: u64,
    /// How long all of them took together.
    pub sum: Duration,
}

impl Latencies {
    /// How many bounds there are.
    pub const BOUNDS: usize = 18;

    /// The bound of a place: a millisecond, and twice as much at each further place.
    #[must_use]
    pub fn bound(place: usize) -> Duration {
        Duration::from_millis(1 << place.min(Self::BOUNDS))
    }

    /// Counts one.
    pub(super) fn add(&mut self, took: Duration) {
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
        let place = (0..Self::BOUNDS).find(|place| took <= Self::bound(*place));
        if let Some(count) = place.and_then(|place| self.counts.get_mut(place)) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_longer_than_every_bound_is_in_the_sum_alone() {
        let mut latencies = Latencies::default();
        for millis in [0, 1, 2, 3, 1_000_000] {
            latencies.add(Duration::from_millis(millis));
        }
        assert_eq!(latencies.counts[..3], [2, 1, 1]);
        assert_eq!((latencies.counts.iter().sum::<u64>(), latencies.count), (4, 5));
        assert_eq!(latencies.sum, Duration::from_millis(1_000_006));
    }
}
