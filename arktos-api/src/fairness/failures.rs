//! How many tokens from one address may fail before further new ones are not checked.
//!
//! To find out that a token does not count takes as much of a core as an answer that is of use, and whoever tries one
//! after another opens as many connections as it likes. So each address has so many tries. A token that has counted
//! here lately is looked at all the same: many clients may be at one address, behind a gateway of their own.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use arktos_core::{Reason, Status, Timestamp};
use parking_lot::Mutex;

/// How many may fail in a row.
const IN_A_ROW: u32 = 100;
/// After how long one more may.
const APART: Duration = Duration::from_millis(100);
/// How many addresses are told apart; further ones are taken together.
const ADDRESSES: usize = 10_000;
/// How many tokens that have counted are known; twice as many at most.
const KNOWN: usize = 1 << 14;

/// The failures of each address, and what has counted.
#[derive(Default)]
pub(crate) struct Failures {
    hasher: RandomState,
    /// Written by each answer about a token.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When all that failed from an address will be forgotten.
    forgotten: HashMap<IpAddr, Timestamp>,
    /// Hashes of tokens that have counted, and those before them. What is here by chance is looked at, and no more.
    counted: HashSet<u64>,
    before: HashSet<u64>,
}

impl Failures {
    /// Whether a token that comes from an address is looked at.
    ///
    /// # Errors
    /// 429 where it is not.
    pub(crate) fn may_try(&self, address: IpAddr, token: &str, now: Timestamp) -> Result<(), Status> {
        let state = self.state.lock();
        let forgotten = state.forgotten.get(&state.entry(address));
        if forgotten.is_none_or(|forgotten| forgotten.since(now) <= APART * (IN_A_ROW - 1)) {
            return Ok(());
        }
        let token = self.hasher.hash_one(token);
        if state.counted.contains(&token) || state.before.contains(&token) {
            return Ok(());
        }
        let text = "too many requests with credentials that do not count have come from your address: come back later";
        Err(Status::failure(Reason::TooManyRequests, text).retry_after(1))
    }

    /// One that came from an address did not count.
    pub(crate) fn failed(&self, address: IpAddr, now: Timestamp) {
        let mut state = self.state.lock();
        if state.forgotten.len() >= ADDRESSES {
            state.forgotten.retain(|_, forgotten| *forgotten > now);
        }
        let entry = state.entry(address);
        let forgotten = state.forgotten.entry(entry).or_insert(now);
        *forgotten = (*forgotten).max(now).later(APART).min(now.later(APART * IN_A_ROW));
    }

    /// One counted.
    pub(crate) fn counted(&self, token: &str) {
        let token = self.hasher.hash_one(token);
        let mut state = self.state.lock();
        if state.counted.insert(token) && state.counted.len() >= KNOWN {
            state.before = std::mem::take(&mut state.counted);
        }
    }
}

impl State {
    /// Under which address one is counted.
    fn entry(&self, address: IpAddr) -> IpAddr {
        let is_full = self.forgotten.len() >= ADDRESSES && !self.forgotten.contains_key(&address);
        if is_full { Ipv4Addr::UNSPECIFIED.into() } else { address }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_address_has_so_many_tries_and_more_later() {
        let failures = Failures::default();
        let fails = |address, now| {
            let may = failures.may_try(address, "a guess", now);
            may.map(|()| failures.failed(address, now)).map_err(|status| status.code)
        };
        for _ in 0..100 {
            assert_eq!(fails(at(1), START), Ok(()));
        }
        assert_eq!(fails(at(1), START), Err(429));
        assert_eq!(fails(at(2), START), Ok(()), "another address knows nothing of it");
        let later = START.later(Duration::from_millis(250));
        assert_eq!([fails(at(1), later), fails(at(1), later), fails(at(1), later)], [Ok(()), Ok(()), Err(429)]);
    }

    #[test]
    fn what_has_counted_is_looked_at_all_the_same() {
        let failures = Failures::default();
        failures.counted("good");
        (0..1000).for_each(|_| failures.failed(at(1), START));
        assert!(failures.may_try(at(1), "good", START).is_ok());
        assert!(failures.may_try(at(1), "new", START).is_err());
        (0..KNOWN).for_each(|number| failures.counted(&number.to_string()));
        assert!(failures.may_try(at(1), "good", START).is_ok(), "some that came later make nobody forget it");
    }

    #[test]
    fn many_addresses_take_bounded_room_and_share_what_is_beyond() {
        let failures = Failures::default();
        let address = |number: u32| IpAddr::from(Ipv4Addr::from_bits(number + 1));
        (0..20_000).for_each(|number| failures.failed(address(number), START));
        assert!(failures.state.lock().forgotten.len() <= ADDRESSES + 1);
        assert!(failures.may_try(address(20_001), "a guess", START).is_err());
        let later = START.later(Duration::from_secs(3600));
        failures.failed(address(20_001), later);
        assert_eq!(failures.state.lock().forgotten.len(), 1);
    }
}
