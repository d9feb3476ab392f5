//! The rate of all retries.

use std::time::Duration;

use arktos_core::Timestamp;

use super::QueueOptions;

/// A token bucket.
pub(super) struct Bucket {
    tokens: f64,
    filled: Timestamp,
}

impl Bucket {
    pub(super) fn full(now: Timestamp, options: &QueueOptions) -> Self {
        Self { tokens: f64::from(options.retries_burst.max(1)), filled: now }
    }

    /// Draws one token, if there is one.
    pub(super) fn draw(&mut self, now: Timestamp, options: &QueueOptions) -> bool {
        let fresh = now.since(self.filled).as_secs_f64() * Self::rate(options);
        self.tokens = (self.tokens + fresh).min(f64::from(options.retries_burst.max(1)));
        self.filled = now;
        let drawn = self.tokens >= 1.0;
        if drawn {
            self.tokens -= 1.0;
        }
        drawn
    }

    /// When there will be a token, if nobody draws before.
    pub(super) fn next(&self, now: Timestamp, options: &QueueOptions) -> Timestamp {
        let seconds = (1.0 - self.tokens).max(0.0) / Self::rate(options);
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(options.backoff_max);
        // Never a moment too early for the clock's resolution, which would be looked at in vain.
        now.later(wait + Duration::from_micros(1))
    }

    fn rate(options: &QueueOptions) -> f64 {
        options.retries_per_second.max(0.001)
    }
}
