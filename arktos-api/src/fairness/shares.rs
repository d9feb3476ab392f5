//! Which tenants ask for more than their share at a gateway, which forwards requests and has no seats.

use std::collections::HashMap;
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
    /// Written by each request, when it comes and when it is answered.
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lately: Lately,
    /// How many requests each has under way.
    under_way: HashMap<Flow, u32>,
}

/// A request that is passed on. It is under way until this is dropped.
#[must_use]
pub struct Passed {
    shares: Shares,
    flow: Flow,
}

impl Shares {
    /// Nobody has asked for anything yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// A request of a tenant's, which is known to be its own, has come over a connection. It counts as under way until
    /// what is given back is dropped.
    pub fn note(&self, tenant: &TenantName, connection: &PeerRank) -> Passed {
        let (flow, now) = (Flow::from(tenant.as_str()), self.clock.now());
        let beyond = {
            let State { lately, under_way } = &mut *self.state.lock();
            let many = under_way.entry(flow.clone()).or_default();
            *many += 1;
            lately.note(&flow, 1, *many, now);
            lately.is_beyond(&flow)
        };
        connection.note(&flow, beyond);
        Passed { shares: self.clone(), flow }
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        let State { under_way, .. } = &mut *self.shares.state.lock();
        match under_way.get_mut(&self.flow) {
            Some(many) if *many > 1 => *many -= 1,
            _ => drop(under_way.remove(&self.flow)),
        }
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
            let passed: Vec<_> = (0..times).map(|_| shares.note(&tenant, connection)).collect();
            drop(passed);
            connection.is_behind()
        };
        assert!(!ask("noisy", &noisy, 500), "nobody else asks");
        assert!(!ask("quiet", &quiet, 5));
        assert!(ask("noisy", &noisy, 1) && !ask("quiet", &quiet, 1));
        clock.advance(std::time::Duration::from_secs(5));
        ask("quiet", &quiet, 1);
        assert!(!ask("noisy", &noisy, 1), "that was long ago");
        assert!(shares.state.lock().under_way.is_empty());
    }
}
