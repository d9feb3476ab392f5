//! Which tenants ask for more than their share at a gateway, which forwards requests and has no seats.

use std::sync::Arc;

use arktos_core::TenantName;
use arktos_store::Clock;
use parking_lot::Mutex;

use super::lately::Lately;
use super::{Flow, PeerRank};

/// The shares of those whose requests are passed on: the connections of who asks for more than its share stand behind
/// those of others, as they do where the requests are answered. Cloning it shares it.
#[derive(Clone)]
pub struct Shares {
    clock: Arc<dyn Clock>,
    /// Written by each request.
    lately: Arc<Mutex<Lately>>,
}

impl Shares {
    /// Nobody has asked for anything yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, lately: Arc::default() }
    }

    /// A request of a tenant's, which is known to be its own, has come over a connection.
    pub fn note(&self, tenant: &TenantName, connection: &PeerRank) {
        let (flow, now) = (Flow::from(tenant.as_str()), self.clock.now());
        let beyond = {
            let mut lately = self.lately.lock();
            lately.note(&flow, 1, now);
            lately.is_beyond(&flow)
        };
        connection.note(&flow, beyond);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_core::Timestamp;
    use arktos_store::clock::ManualClock;

    #[test]
    fn who_asks_for_more_than_its_share_stands_behind_until_others_ask_for_as_much() {
        let clock = ManualClock::new(Timestamp::parse("2026-01-01T00:00:00Z").expect("a moment"));
        let shares = Shares::new(Arc::new(clock.clone()));
        let (noisy, quiet) = (PeerRank::default(), PeerRank::default());
        let ask = |tenant: &str, connection: &PeerRank, times: usize| {
            let tenant = TenantName::new(tenant).expect("a name");
            (0..times).for_each(|_| shares.note(&tenant, connection));
            connection.is_behind()
        };
        assert!(!ask("noisy", &noisy, 500), "nobody else asks");
        assert!(!ask("quiet", &quiet, 5));
        assert!(ask("noisy", &noisy, 1) && !ask("quiet", &quiet, 1));
        clock.advance(std::time::Duration::from_secs(5));
        ask("quiet", &quiet, 1);
        assert!(!ask("noisy", &noisy, 1), "that was long ago");
    }
}
