//! Brief requests to a backend: they share one connection.
//!
//! Over HTTP/1.1, a request costs a write and a read at both ends. Where many are under way, those that are brief, and
//! have brief answers, go over one connection of HTTP/2, many in each write. Where there are few, nothing would be
//! written together, and each is quicker over a connection of its own. That is also what may be long or last has
//! (lists, watches, large bodies): so nobody's reading holds up what others ask for.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, header};
use http_body::Body;
use hyper_util::client::legacy::Client;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::route::{Home, Route};
use crate::roles::gateway::RequestBody;

/// How many of them are under way at a time: half of what a server lets one connection have. Further ones go as others
/// do.
const PLACES: usize = 500;
/// So many of them have a connection each.
const FEW: usize = 4;
/// How long their bodies are at most, in bytes.
const BODY_MAX: u64 = 16 << 10;
/// How many bytes of bodies that nobody has read yet a server of the region takes from another: those of all.
pub(super) const UNREAD_MAX: u32 = (PLACES as u32) * (BODY_MAX as u32);
/// How much of an answer is under way that its client has not read, in bytes.
const STREAM_WINDOW: u32 = 64 << 10;
/// How much of all answers is: so much that those which nobody reads never hold up others.
const CONNECTION_WINDOW: u32 = (PLACES as u32) * STREAM_WINDOW;
/// When, and for how long, a connection that says nothing is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// The connection that they share, and their places. Cloning it shares them.
#[derive(Clone)]
pub(super) struct Brief {
    http: Client<Route, RequestBody>,
    places: Arc<Semaphore>,
}

/// The place of one of them, until its answer has been read.
pub(super) type Place = OwnedSemaphorePermit;

impl Brief {
    /// One over a route that speaks HTTP/2.
    pub(super) fn over(route: Route) -> Self {
        let home = Home::here();
        let http = Client::builder(home.clone())
            .timer(home.clone())
            .pool_timer(home)
            .http2_only(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .http2_keep_alive_timeout(KEEPALIVE)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .build(route);
        Self { http, places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// The place of a request among those that are brief, if it is and there is one; and what they share, where it is
    /// to go over that.
    pub(super) fn place(&self, request: &Request<RequestBody>) -> Option<(Place, Option<&Client<Route, RequestBody>>)> {
        if !is_brief(request) {
            return None;
        }
        let place = self.places.clone().try_acquire_owned().ok()?;
        let many = PLACES - self.places.available_permits() > FEW;
        Some((place, many.then_some(&self.http)))
    }
}

fn is_brief(request: &Request<RequestBody>) -> bool {
    request.body().size_hint().upper().is_some_and(|length| length <= BODY_MAX)
        && !request.headers().contains_key(header::UPGRADE)
        && is_about_one(request.method(), request.uri().path())
}

/// Whether a request is about one object. What it has of its own to say (the log of a pod, say) may be long.
fn is_about_one(method: &Method, path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    let mut first = parts.next();
    if first == Some("tenants") {
        parts.next();
        first = parts.next();
    }
    match first {
        Some("api") => drop(parts.next()),
        Some("apis") => drop((parts.next(), parts.next())),
        _ => return false,
    }
    for scope in ["tenants", "namespaces"] {
        if parts.peek() == Some(&scope) {
            let (resource, _name) = (parts.next(), parts.next());
            if parts.peek().is_none() {
                return resource.is_some() && *method != Method::GET;
            }
        }
    }
    let (resource, name, part) = (parts.next(), parts.next(), parts.next());
    match (resource, name, part) {
        (Some("watch" | "proxy"), ..) => false,
        (Some(_), None, _) => *method == Method::POST,
        (Some(_), Some(_), None | Some("status" | "scale" | "binding" | "eviction")) => true,
        _ => false,
    }
}
