//! Whether a connection is served after others, because its tenant asks for more than its share.
//!
//! Seats bound how many requests of a tenant are worked on, not what it takes to read them, to answer and to send. So
//! the connections of a tenant that asks for more than its share stand behind those of others as a whole, for as long
//! as it does: whoever owns the threads has them go on when the others leave a core. A connection that several tenants
//! share, which is a gateway's, stands behind nobody: it would take those with it who ask for little.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arktos_core::TenantName;

use super::Flow;

/// How a connection stands. Put into its requests' extensions by whoever owns the connection, and by nobody else;
/// without it, it stands behind nobody. Cloning it shares it.
#[derive(Debug, Clone, Default)]
pub struct PeerRank(Arc<Rank>);

/// Written by each request that comes over the connection.
#[derive(Debug, Default)]
struct Rank {
    /// Whose the first request was.
    first: OnceLock<Flow>,
    /// Whether there were others'.
    shared: AtomicBool,
    behind: AtomicBool,
}

impl PeerRank {
    /// Whether the connection stands behind others, by the last of its requests.
    pub fn is_behind(&self) -> bool {
        self.0.behind.load(Ordering::Relaxed)
    }

    /// The tenant whose requests come over the connection; none where none have come, or several tenants' have.
    pub fn whose(&self) -> Option<&str> {
        self.0.first.get().filter(|_| !self.0.shared.load(Ordering::Relaxed)).map(|flow| &**flow)
    }

    /// Another server has answered a request of a tenant's that came over the connection.
    pub fn answered_elsewhere(&self, tenant: &TenantName) {
        if **self.0.first.get_or_init(|| tenant.as_str().into()) != *tenant.as_str() {
            self.0.shared.store(true, Ordering::Relaxed);
        }
    }

    /// A request has come, of someone who asks for more than its share, or does not.
    pub(crate) fn note(&self, flow: &Flow, beyond: bool) {
        if flow.is_empty() {
            return; // who is nobody in particular shares it with nobody
        }
        let Rank { first, shared, behind } = &*self.0;
        if first.get_or_init(|| flow.clone()) != flow {
            shared.store(true, Ordering::Relaxed);
        }
        behind.store(beyond && !shared.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_of_one_tenant_stands_behind_while_that_is_beyond_its_share() {
        let (rank, flow) = (PeerRank::default(), Flow::from("acme"));
        assert!(!rank.is_behind());
        let after = |beyond| {
            rank.note(&flow, beyond);
            rank.is_behind()
        };
        assert_eq!([after(false), after(true), after(true), after(false)], [false, true, true, false]);
    }

    #[test]
    fn a_connection_is_of_the_tenant_whose_requests_come_over_it() {
        let (rank, umbra) = (PeerRank::default(), TenantName::new("umbra").expect("a name"));
        rank.note(&"".into(), false);
        assert_eq!(rank.whose(), None);
        rank.note(&"acme".into(), false);
        assert_eq!(rank.whose(), Some("acme"));
        rank.answered_elsewhere(&umbra);
        assert_eq!(rank.whose(), None);
        let rank = PeerRank::default();
        rank.answered_elsewhere(&umbra);
        assert_eq!(rank.whose(), Some("umbra"));
    }

    #[test]
    fn a_connection_that_tenants_share_stands_behind_nobody() {
        let rank = PeerRank::default();
        rank.note(&"noisy".into(), true);
        rank.note(&"".into(), false);
        assert!(rank.is_behind(), "a token that does not count is no tenant's");
        rank.note(&"noisy".into(), true);
        rank.note(&"quiet".into(), false);
        rank.note(&"noisy".into(), true);
        assert!(!rank.is_behind());
    }
}
