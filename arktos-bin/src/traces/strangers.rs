//! How many requests of strangers are sampled because they say so.
//!
//! What samples a request costs every role that it reaches, and the collector. So what the region's own components say
//! is followed, and what anybody else says as often as this.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How many at once.
const AT_ONCE: u64 = 100;
/// How far apart further ones are, in microseconds.
const APART: u64 = 100_000;

/// Whether one more is sampled now, in this process.
pub(super) fn may() -> bool {
    static ALL: LazyLock<(Instant, Allowance)> = LazyLock::new(|| (Instant::now(), Allowance::default()));
    let (begun, allowance) = &*ALL;
    allowance.take(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// When all that were sampled will be forgotten, in microseconds. Written by each.
#[derive(Default)]
struct Allowance(AtomicU64);

impl Allowance {
    fn take(&self, now: u64) -> bool {
        let after = |forgotten: u64| {
            let after = forgotten.max(now).saturating_add(APART);
            (after <= now.saturating_add(AT_ONCE * APART)).then_some(after)
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_at_once_and_further_ones_in_time() {
        let allowance = Allowance::default();
        let at = |now: u64| (0..1000).filter(|_| allowance.take(now)).count();
        assert_eq!([at(0), at(0), at(APART), at(5 * APART), at(1000 * APART)], [100, 0, 1, 4, 100]);
    }
}
