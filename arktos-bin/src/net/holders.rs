//! How many connections of a listener one tenant holds.
//!
//! All tenants' clients take from the same connections, so that none can have nearly all of them, each may hold a part,
//! and so may all those together who have not said who they are. Whose a connection is, its certificate says or, with
//! tokens, the first answer to a request that counted: what a client says of itself does not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arktos_api::{PeerCertificate, PeerRank};
use arktos_core::{Reason, Status, TenantName};
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::Full;
use parking_lot::Mutex;

/// Who has not said who they are.
const NAMELESS: &str = "";

/// Who holds how many.
pub(super) struct Holders {
    most: usize,
    /// They come with tokens or with nothing. There is always room for those with certificates.
    most_nameless: usize,
    held: Mutex<HashMap<Arc<str>, usize>>,
}

/// One that is held, until this is dropped.
struct Held {
    holders: Arc<Holders>,
    by: Arc<str>,
}

impl Holders {
    /// Each may hold this many; those who have not said who they are, three times as many together.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, most_nameless: 3 * most, held: Mutex::default() })
    }

    /// A new connection, of whoever its certificate is for; those of the region's own are not counted.
    pub(super) fn enter(self: &Arc<Self>, certificate: Option<&PeerCertificate>) -> Place {
        let whose = certificate.and_then(PeerCertificate::tenant);
        let (nameless, owned, full) = (Mutex::default(), OnceLock::new(), AtomicBool::default());
        let place = Place { holders: self.clone(), nameless, owned, full, asked: AtomicBool::default() };
        match whose {
            Some(tenant) => place.own(tenant.as_str()),
            None => place.nameless(),
        }
        place
    }

    fn hold(self: &Arc<Self>, by: &str, most: usize) -> Option<Held> {
        let mut held = self.held.lock();
        let (by, now) = match held.get_key_value(by) {
            Some((by, now)) => (by.clone(), *now),
            None => (by.into(), 0),
        };
        if now >= most {
            return None;
        }
        held.insert(by.clone(), now + 1);
        Some(Held { holders: self.clone(), by })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.holders.held.lock();
        match held.get_mut(&self.by) {
            Some(now) if *now > 1 => *now -= 1,
            _ => drop(held.remove(&self.by)),
        }
    }
}

/// The place of one connection.
pub(super) struct Place {
    holders: Arc<Holders>,
    /// What it holds among those who have not said who they are.
    nameless: Mutex<Option<Held>>,
    /// Set once it is known whose the connection is; there is nothing in it for who is not counted.
    owned: OnceLock<Option<Held>>,
    /// Whether there is none for it.
    full: AtomicBool,
    /// Whether a request came over the connection.
    asked: AtomicBool,
}

impl Place {
    fn nameless(&self) {
        let held = self.holders.hold(NAMELESS, self.holders.most_nameless);
        self.full.store(held.is_none(), Ordering::Relaxed);
        *self.nameless.lock() = held;
    }

    /// It is a tenant's. The region's own hold as many as they like: hosts, gateways, other roles.
    fn own(&self, whose: &str) {
        // Of several answers at once the first counts, and takes one place.
        self.owned.get_or_init(|| {
            if whose == TenantName::SYSTEM {
                return None;
            }
            let held = self.holders.hold(whose, self.holders.most);
            self.full.store(held.is_none(), Ordering::Relaxed);
            held
        });
    }

    /// Whether there is none for the connection: it is to end.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// A request has come over the connection. Whether it is refused.
    pub(super) fn asked(&self) -> bool {
        self.asked.store(true, Ordering::Relaxed);
        self.is_full()
    }

    /// Whether there is none for the connection, and a request has come over it: nothing more is to come.
    pub(super) fn is_over(&self) -> bool {
        self.is_full() && self.asked.load(Ordering::Relaxed)
    }

    /// A request that came over the connection was answered.
    pub(super) fn answered(&self, rank: &PeerRank) {
        if self.owned.get().is_none()
            && let Some(whose) = rank.whose()
        {
            self.own(whose);
            self.nameless.lock().take();
        }
    }
}

/// What is answered on a connection that there is no place for.
pub(super) fn refusal() -> Response<Full<Bytes>> {
    let text =
        "too many connections are open for one tenant, or for clients that have not said who they are: close some";
    let status = Status::failure(Reason::TooManyRequests, text).retry_after(1);
    let body = serde_json::to_vec(&status).unwrap_or_default();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tenant: &str) -> PeerRank {
        let rank = PeerRank::default();
        rank.answered_elsewhere(&TenantName::new(tenant).expect("a name"));
        rank
    }

    #[test]
    fn nobody_holds_more_than_a_part_and_what_is_let_go_can_be_held_anew() {
        let holders = Holders::new(2);
        let enter = |tenant: &str| {
            let place = holders.enter(None);
            place.answered(&of(tenant));
            place
        };
        let (first, second) = (enter("acme"), enter("acme"));
        assert!(!first.is_full() && !second.is_full());
        assert!(enter("acme").is_full());
        assert!(!enter("umbra").is_full());
        let own: Vec<Place> = (0..5).map(|_| enter("system")).collect();
        assert!(own.iter().all(|place| !place.is_full()));
        drop(first);
        assert!(!enter("acme").is_full());
        drop((second, own));
        assert!(holders.held.lock().is_empty());
    }

    #[test]
    fn those_who_have_not_said_who_they_are_hold_a_part_together() {
        let holders = Holders::new(1);
        let (first, second, third) = (holders.enter(None), holders.enter(None), holders.enter(None));
        second.answered(&PeerRank::default());
        assert!(!third.is_full());
        assert!(holders.enter(None).is_full());
        second.answered(&of("acme"));
        assert!(!holders.enter(None).is_full());
        drop((first, third));
    }
}
