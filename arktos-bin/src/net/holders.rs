//! How many connections of a listener one tenant may hold.
//!
//! All tenants' clients take from the same connections, so that none can have nearly all of them, each may hold a part;
//! how many there may be of which nobody knows yet whose they are, [`Strangers`] says. Whose a connection is, its
//! certificate says or, with tokens, the first answer to a request that counted: what a client says of itself does not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arktos_api::{PeerCertificate, PeerRank, network};
use arktos_core::{Reason, Status, TenantName};
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::strangers::{Stranger, Strangers};

/// Who holds how many.
pub(super) struct Holders {
    most: usize,
    held: Mutex<HashMap<Arc<str>, usize>>,
    strangers: Arc<Strangers>,
}

/// One that is held, until this is dropped.
struct Held {
    holders: Arc<Holders>,
    by: Arc<str>,
}

impl Holders {
    /// Each may hold this many, and an address those of whom nobody knows whose they are; of these there may be three
    /// times as many: there is always room for those with certificates.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default(), strangers: Strangers::new(3 * most, most) })
    }

    /// A new connection from an address.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Place {
        let (stranger, end) = self.strangers.enter(network(from));
        let stranger = Mutex::new(Some(Asking { stranger, under_way: 0 }));
        let (owned, full, asked) = (OnceLock::new(), AtomicBool::default(), AtomicBool::default());
        Place { holders: self.clone(), stranger, end, owned, full, asked }
    }

    /// Has a connection end, for a new one, if there is one of which nobody knows whose it is.
    pub(super) fn make_room(&self) {
        self.strangers.make_room();
    }

    fn hold(self: &Arc<Self>, by: &str) -> Option<Held> {
        let mut held = self.held.lock();
        let (by, now) = match held.get_key_value(by) {
            Some((by, now)) => (by.clone(), *now),
            None => (by.into(), 0),
        };
        if now >= self.most {
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
    /// What it is among those of which nobody knows whose they are.
    stranger: Mutex<Option<Asking>>,
    /// Told when it is to end for another one.
    end: Arc<Notify>,
    /// Set once it is known whose the connection is; there is nothing in it for who is not counted.
    owned: OnceLock<Option<Held>>,
    /// Whether there is none for it.
    full: AtomicBool,
    /// Whether a request came over the connection.
    asked: AtomicBool,
}

struct Asking {
    stranger: Stranger,
    /// How many requests are not answered yet.
    under_way: usize,
}

/// A request that came over a connection, until this is dropped.
pub(super) struct UnderWay(Arc<Place>);

impl Place {
    /// Whose the connection is, as the certificate says that it has shown. One that cannot be read says nothing.
    pub(super) fn shown(&self, certificate: Option<&PeerCertificate>) {
        if let Some(tenant) = certificate.and_then(PeerCertificate::tenant) {
            self.own(tenant.as_str());
        }
    }

    /// It is a tenant's. The region's own hold as many as they like: hosts, gateways, other roles.
    fn own(&self, whose: &str) {
        // Of several answers at once the first counts, and takes one place.
        self.owned.get_or_init(|| {
            if whose == TenantName::SYSTEM {
                return None;
            }
            let held = self.holders.hold(whose);
            self.full.store(held.is_none(), Ordering::Relaxed);
            held
        });
        self.stranger.lock().take();
    }

    /// Whether the connection is one of the region's own.
    pub(super) fn is_of_the_region(&self) -> bool {
        matches!(self.owned.get(), Some(None)) && !self.is_full()
    }

    /// Whether there is none for the connection: it is to end.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Whether a request has come over the connection.
    pub(super) fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// A request has come over the connection. With it, whether it is refused.
    pub(super) fn asked(self: &Arc<Self>) -> (UnderWay, bool) {
        self.asked.store(true, Ordering::Relaxed);
        self.count(|under_way| under_way + 1);
        (UnderWay(self.clone()), self.is_full())
    }

    /// Whether there is none for the connection, and a request has come over it: nothing more is to come.
    pub(super) fn is_over(&self) -> bool {
        self.is_full() && self.has_asked()
    }

    /// Completes when the connection is to end for a new one.
    pub(super) async fn given_up(&self) {
        self.end.notified().await;
    }

    fn count(&self, change: impl FnOnce(usize) -> usize) {
        if self.owned.get().is_some() {
            return;
        }
        if let Some(asking) = &mut *self.stranger.lock() {
            let before = asking.under_way;
            asking.under_way = change(before);
            if (before == 0) != (asking.under_way == 0) {
                asking.stranger.set_idle(asking.under_way == 0);
            }
        }
    }
}

impl UnderWay {
    /// It was answered.
    pub(super) fn answered(&self, rank: &PeerRank) {
        if self.0.owned.get().is_none()
            && let Some(whose) = rank.whose()
        {
            self.0.own(whose);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.count(|under_way| under_way.saturating_sub(1));
    }
}

/// What is answered on a connection that there is no place for.
pub(super) fn refusal() -> Response<Full<Bytes>> {
    let text = "too many connections are open for one tenant: close some";
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
    use futures::FutureExt;

    fn of(tenant: &str) -> PeerRank {
        let rank = PeerRank::default();
        rank.answered_elsewhere(&TenantName::new(tenant).expect("a name"));
        rank
    }

    fn enter(holders: &Arc<Holders>, last: u8) -> Arc<Place> {
        Arc::new(holders.enter(IpAddr::from([192, 0, 2, last])))
    }

    fn has_ended(place: &Arc<Place>) -> bool {
        place.given_up().now_or_never().is_some()
    }

    #[test]
    fn nobody_holds_more_than_a_part_and_what_is_let_go_can_be_held_anew() {
        let holders = Holders::new(2);
        let enter = |tenant: &str| {
            let place = enter(&holders, 1);
            place.asked().0.answered(&of(tenant));
            place
        };
        let (first, second) = (enter("acme"), enter("acme"));
        assert!(!first.is_full() && !second.is_full());
        assert!(enter("acme").is_full());
        assert!(!enter("umbra").is_full());
        let own: Vec<Arc<Place>> = (0..5).map(|_| enter("system")).collect();
        assert!(own.iter().all(|place| !place.is_full() && !has_ended(place)));
        drop(first);
        assert!(!enter("acme").is_full());
        drop((second, own));
        assert!(holders.held.lock().is_empty());
    }

    #[test]
    fn whose_it_is_known_to_be_does_not_end_for_a_new_one() {
        let holders = Holders::new(1);
        let (first, second, third) = (enter(&holders, 1), enter(&holders, 2), enter(&holders, 3));
        first.asked().0.answered(&of("acme"));
        let (asks, _) = second.asked();
        asks.answered(&PeerRank::default());
        let _fourth = enter(&holders, 4);
        assert!(!has_ended(&first) && !has_ended(&second) && !has_ended(&third));
        let _fifth = enter(&holders, 5);
        assert!(!has_ended(&second) && has_ended(&third), "something is under way over the older one");
        drop(asks);
        let _sixth = enter(&holders, 6);
        assert!(!has_ended(&first) && has_ended(&second));
    }
}
