//! How much work a request is, in seats.

use std::ops::ControlFlow;

use arktos_core::{Scope, TenantName};
use arktos_store::Within;
use http::Method;

use crate::request::{ResourceInfo, TenantPart};
use crate::resource::Verb;
use crate::server::{Head, State};

/// The objects that one seat is for.
const OBJECTS_A_SEAT: u32 = 100;
/// The most seats that a request takes, as upstream has it.
const MOST: u32 = 10;

/// What a write is, beside a read of one object: about so much more of a core's time (BENCHMARKS.md, "The API").
const WRITE: u32 = 8;

/// What a piece of a long answer is beside it: to make it, to encrypt it and to send it.
pub(super) const PIECE: u32 = 8;

/// So many bytes of a body are as much work as such a read.
const BYTES: usize = 1 << 10;

/// A watch whose query, or whose headers, have so many bytes counts as one more.
const QUERY: usize = 1 << 10;
const HEADERS: usize = 16 << 10;

/// Bodies from here on are large, in bytes: to read one takes about a millisecond.
const LARGE: u64 = 64 << 10;

/// Whether a request's body is large, or does not say how large it is. Whoever owns the threads may work on such
/// requests behind others: how long they wait says nothing about the machine.
pub fn is_large(body: &impl http_body::Body) -> bool {
    body.size_hint().upper().is_none_or(|length| length >= LARGE)
}

/// The seats that a request takes: one, and for what reads many objects one more for every hundred.
pub(crate) fn seats(state: &State, head: &Head) -> u32 {
    let Some(resource) = &head.info.resource else { return 1 };
    let verb = Verb::on(resource, &head.method, &head.query);
    let reads_many = matches!(verb, Some(Verb::List | Verb::Watch | Verb::DeleteCollection));
    // A watch that goes on from where another one ended reads nothing first.
    let goes_on = verb == Some(Verb::Watch) && !matches!(head.query.get("resourceVersion"), "" | "0");
    if !reads_many || (goes_on && !head.query.flag("sendInitialEvents")) {
        return 1;
    }
    // Who takes any state has all of it, whatever the limit.
    let cut = head.query.get("limit").parse().ok().filter(|limit| *limit > 0);
    let limit = cut.filter(|_| head.query.get("resourceVersion") != "0").unwrap_or(u32::MAX);
    let most = limit.min(OBJECTS_A_SEAT * (MOST - 1));
    1 + (objects(state, head, resource, most) / OBJECTS_A_SEAT).min(MOST - 1)
}

/// How much of a tenant's share a request takes that has so many seats.
pub(crate) fn weight(method: &Method, seats: u32) -> u32 {
    if matches!(*method, Method::GET | Method::HEAD) { seats } else { seats * WRITE }
}

/// How many watches one counts as: what it selects by, and what says who it acts as, is kept while it is open, in many
/// times as much room.
pub(crate) fn watches(head: &Head) -> u32 {
    let query = head.raw_query.as_ref().map_or(0, String::len);
    let headers: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    u32::try_from(1 + query / QUERY + headers / HEADERS).unwrap_or(u32::MAX)
}

/// How much of it a body of so many bytes takes that was read.
pub(super) fn weight_of_body(length: usize) -> u32 {
    u32::try_from(length / BYTES).unwrap_or(u32::MAX)
}

/// How many objects there are to read, counted up to a number.
fn objects(state: &State, head: &Head, resource: &ResourceInfo, most: u32) -> u32 {
    let tenant = match &head.info.tenant {
        TenantPart::Named(tenant) => Some(tenant),
        TenantPart::Own => head.identity.tenant.as_ref(),
        TenantPart::All => None,
    };
    // Of another tenant's objects not even the number is looked at: the answer will be that they may not.
    if !head.identity.is_system() && tenant != head.identity.tenant.as_ref() {
        return 0;
    }
    let known = tenant.cloned().unwrap_or_else(TenantName::system);
    let Some(kind) = state.kinds.find(&known, &resource.group, &resource.version, &resource.resource) else { return 0 };
    let within = match (tenant, kind.scope) {
        (_, Scope::Region) | (None, _) => Within::Everywhere,
        (Some(tenant), Scope::Namespace) if !resource.namespace.is_empty() => {
            Within::Namespace(tenant.clone(), resource.namespace.clone())
        }
        (Some(tenant), _) => Within::Tenant(tenant.clone()),
    };
    let mut found = 0;
    let _ = state.config.engine.snapshot().walk(&kind.storage_resource, &within, None, |_| {
        found += 1;
        if found < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::{Empty, Full, StreamBody};

    #[test]
    fn bodies_of_64_kib_are_large_and_those_without_a_length() {
        let full = |length: usize| Full::new(Bytes::from(vec![0; length]));
        assert!(!is_large(&Empty::<Bytes>::new()));
        assert!(!is_large(&full(65_535)));
        assert!(is_large(&full(65_536)));
        let endless = futures::stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
        assert!(is_large(&StreamBody::new(endless)));
    }
}
