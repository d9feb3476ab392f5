//! Which tenants ask for how much: the ones that ask for most have a name, all others are one.
//!
//! However many tenants there are, [`NAMED`] have series of their own. Others are counted together, and who asks most
//! among them is found with as many counters as [`CANDIDATES`] (Misra and Gries): whoever makes more than a thousandth
//! of a round's requests is seen. At the end of a round who asks for more than a named one takes its name's place.
//! A series only grows while it is there: a tenant that is given a name is counted from then on, and what it had asked
//! for before stays with the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// How many tenants have series of their own.
pub(super) const NAMED: usize = 50;
/// How many tenants without a name are counted one by one.
const CANDIDATES: usize = 1000;
/// How many requests of tenants make a round.
const ROUND: u32 = 100_000;
/// What all tenants without a name are called. No tenant can be called that.
pub(super) const OTHERS: &str = "(other)";
/// The classes of answers that are told apart.
pub(super) const CODES: [&str; 5] = ["2xx", "3xx", "4xx", "429", "5xx"];

/// What was answered to a tenant.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// How many requests, by [`CODES`].
    pub(super) codes: [u64; CODES.len()],
    /// The seats that they had, times how long.
    pub(super) seat_time: Duration,
}

/// A tenant's name, and what was answered to it.
pub(super) type Shown = (Arc<str>, Counts);

/// What a role has answered to which tenants.
#[derive(Default)]
pub(super) struct Tenants(Mutex<Table>); // written with each answer

#[derive(Default)]
struct Table {
    named: HashMap<Arc<str>, Named>,
    others: Counts,
    candidates: HashMap<Arc<str>, u32>,
    /// How many requests the round has had.
    round: u32,
}

#[derive(Default)]
struct Named {
    counts: Counts,
    /// The requests of this round, and half of what there was of those before.
    recent: u32,
}

impl Counts {
    fn add(&mut self, code: u16, seat_time: Duration) {
        let class = match code {
            429 => 3,
            400..500 => 2,
            300..400 => 1,
            500.. => 4,
            _ => 0,
        };
        self.codes[class] += 1;
        self.seat_time += seat_time;
    }
}

impl Tenants {
    /// Counts a request.
    pub(super) fn count(&self, tenant: &str, code: u16, seat_time: Duration) {
        let mut table = self.0.lock();
        table.take_in(tenant, code, seat_time);
        table.round += 1;
        if table.round >= ROUND {
            table.end_round();
        }
    }

    /// Who asked for how much, by name, and all others.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let table = self.0.lock();
        let mut shown: Vec<Shown> = table.named.iter().map(|(name, named)| (name.clone(), named.counts)).collect();
        shown.sort_by(|one, other| one.0.cmp(&other.0));
        if table.others != Counts::default() {
            shown.push((OTHERS.into(), table.others));
        }
        shown
    }
}

impl Table {
    fn take_in(&mut self, tenant: &str, code: u16, seat_time: Duration) {
        if let Some(named) = self.named.get_mut(tenant) {
            named.recent = named.recent.saturating_add(1);
            return named.counts.add(code, seat_time);
        }
        if self.named.len() < NAMED {
            let named = self.named.entry(tenant.into()).or_default();
            named.recent = 1;
            return named.counts.add(code, seat_time);
        }
        self.others.add(code, seat_time);
        if let Some(candidate) = self.candidates.get_mut(tenant) {
            *candidate += 1;
        } else if self.candidates.len() < CANDIDATES {
            self.candidates.insert(tenant.into(), 1);
        } else {
            // One less of each: so many requests came before that this costs each of them one step at most.
            self.candidates.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
    }

    /// Names who asks for more than somebody who has a name.
    fn end_round(&mut self) {
        self.round = 0;
        let mut candidates: Vec<(Arc<str>, u32)> = self.candidates.drain().collect();
        candidates.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        let mut named: Vec<(u32, Arc<str>)> = self.named.iter().map(|(name, it)| (it.recent, name.clone())).collect();
        named.sort();
        for ((recent, old), (new, count)) in named.into_iter().zip(candidates) {
            if count <= recent {
                break;
            }
            self.named.remove(&old);
            self.named.insert(new, Named { recent: count, ..Named::default() });
        }
        self.named.values_mut().for_each(|named| named.recent /= 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tenants: &Tenants) -> Vec<String> {
        tenants.shown().into_iter().map(|(name, _)| name.to_string()).collect()
    }

    fn all(tenants: &Tenants) -> u64 {
        tenants.shown().iter().map(|(_, counts)| counts.codes.iter().sum::<u64>()).sum()
    }

    #[test]
    fn who_asks_for_much_gets_a_name_however_late_it_comes_and_what_is_kept_is_bounded() {
        let tenants = Tenants::default();
        let mut before = HashMap::<Arc<str>, u64>::new();
        for turn in 0..300_000_u32 {
            let tenant =
                if turn > 50_000 && turn % 10 == 0 { "noisy".to_owned() } else { format!("t-{}", turn % 10_000) };
            tenants.count(&tenant, 200, Duration::ZERO);
            if turn % 10_000 == 0 {
                let now: HashMap<_, _> =
                    tenants.shown().into_iter().map(|(it, counts)| (it, counts.codes[0])).collect();
                for (name, count) in &now {
                    assert!(before.get(name).is_none_or(|before| before <= count), "{name} has become less");
                }
                before = now;
                let table = tenants.0.lock();
                assert!(table.named.len() <= NAMED && table.candidates.len() <= CANDIDATES);
            }
        }
        let names = names(&tenants);
        assert_eq!(names.len(), NAMED + 1);
        assert!(names.iter().any(|name| name == "noisy") && names.iter().any(|name| name == OTHERS), "{names:?}");
    }

    #[test]
    fn with_few_tenants_all_have_names_and_all_is_counted() {
        let tenants = Tenants::default();
        for code in [200, 201, 101, 304, 404, 429, 503] {
            tenants.count("acme", code, Duration::from_millis(5));
            tenants.count("globex", code, Duration::ZERO);
        }
        assert_eq!(names(&tenants), ["acme", "globex"]);
        let (_, counts) = &tenants.shown()[0];
        assert_eq!((counts.codes, counts.seat_time), ([3, 1, 1, 1, 1], Duration::from_millis(35)));
        assert_eq!(all(&tenants), 14);
    }
}
