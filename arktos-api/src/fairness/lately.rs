//! Which tenants have asked for something lately, and for how much: how many share the server, and which of them take
//! more than their share.
//!
//! How much is counted in reads of one object.

use std::collections::HashMap;
use std::time::Duration;

use arktos_core::Timestamp;

use super::Flow;

/// Who has asked for nothing for so long, or at most for twice as long, does not count any more.
const LATELY: Duration = Duration::from_millis(250);
/// Who has asked for less lately is never beyond its share.
const MUCH: u64 = 100;
/// How far apart pieces of answers go out to one tenant, where others wait for the machine as well.
const APART: Duration = Duration::from_millis(1);
/// So many may go out together.
const TOGETHER: u32 = 4;

/// Who has asked lately for how much, and how much of long answers has gone out to whom.
#[derive(Default)]
pub(super) struct Lately {
    since: Timestamp,
    /// Those who have asked since, and those before them.
    now: Asked,
    before: Asked,
    /// How many of those are not also among the ones before.
    new: usize,
    /// Until when pieces of answers are spoken for.
    sent: HashMap<Flow, Timestamp>,
}

#[derive(Default)]
struct Asked {
    of: HashMap<Flow, u64>,
    all: u64,
}

impl Asked {
    fn by(&self, flow: &Flow) -> u64 {
        self.of.get(flow).copied().unwrap_or(0)
    }
}

impl Lately {
    /// Someone asks for so much. Those who are nobody in particular are not counted: tenants share what there is.
    pub(super) fn note(&mut self, flow: &Flow, weight: u32, now: Timestamp) {
        self.go_on(now);
        if flow.is_empty() {
            return;
        }
        let weight = u64::from(weight);
        self.now.all += weight;
        if let Some(asked) = self.now.of.get_mut(flow) {
            *asked += weight;
        } else {
            self.new += usize::from(!self.before.of.contains_key(flow));
            self.now.of.insert(flow.clone(), weight);
        }
    }

    /// Whether someone has asked for much, and for a tenth more than those who have asked have on average. So of two
    /// who ask for all they can get, each gets nine tenths of its half.
    pub(super) fn is_beyond(&self, flow: &Flow) -> bool {
        let (asked, count) = (self.now.by(flow) + self.before.by(flow), u64::from(self.count()));
        count > 1 && asked >= MUCH && 10 * asked * count > 11 * (self.now.all + self.before.all)
    }

    /// How many have asked.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.before.of.len() + self.new).unwrap_or(u32::MAX)
    }

    /// How long one more piece of an answer to someone waits, so that they go out evenly.
    pub(super) fn piece(&mut self, flow: &Flow, now: Timestamp) -> Duration {
        self.go_on(now);
        let until = self.sent.entry(flow.clone()).or_insert(now);
        *until = (*until).max(now).later(APART);
        until.since(now.later(APART * TOGETHER))
    }

    fn go_on(&mut self, now: Timestamp) {
        let passed = now.since(self.since);
        if passed < LATELY {
            return;
        }
        let last = std::mem::take(&mut self.now);
        self.before = if passed < 2 * LATELY { last } else { Asked::default() };
        (self.since, self.new) = (now, 0);
        self.sent.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn after(millis: u64) -> Timestamp {
        START.later(Duration::from_millis(millis))
    }

    #[test]
    fn who_has_asked_counts_for_a_while_and_once() {
        let mut lately = Lately::default();
        let (one, two): (Flow, Flow) = ("one".into(), "two".into());
        let mut at = |flow: &Flow, millis| {
            lately.note(flow, 1, after(millis));
            lately.count()
        };
        assert_eq!([at(&one, 0), at(&one, 10), at(&two, 20)], [1, 1, 2]);
        assert_eq!([at(&one, 260), at(&one, 300)], [2, 2]);
        assert_eq!(at(&one, 520), 1, "two has not asked for half a second");
        assert_eq!(at(&two, 5000), 1);
        assert_eq!(at(&"".into(), 5000), 1, "nobody in particular");
    }

    #[test]
    fn who_asks_for_much_more_than_others_is_beyond_its_share_for_a_while() {
        let mut lately = Lately::default();
        let (noisy, quiet, other): (Flow, Flow, Flow) = ("noisy".into(), "quiet".into(), "other".into());
        lately.note(&noisy, 1000, START);
        assert!(!lately.is_beyond(&noisy), "nobody else is there");
        lately.note(&quiet, 99, START);
        assert!(lately.is_beyond(&noisy) && !lately.is_beyond(&quiet) && !lately.is_beyond(&other));
        lately.note(&quiet, 720, after(260));
        assert!(!lately.is_beyond(&noisy), "1000 is less than eleven tenths of 910");
        lately.note(&other, 1, after(260));
        assert!(lately.is_beyond(&noisy), "and more than those of 607");
        lately.note(&other, 1, after(520));
        assert!(!lately.is_beyond(&noisy) && lately.is_beyond(&quiet), "the one has long stopped");
        lately.note(&other, 99, after(5000));
        lately.note(&noisy, 1, after(5000));
        assert!(!lately.is_beyond(&other), "it is little");
    }

    #[test]
    fn a_few_pieces_go_out_at_once_and_further_ones_evenly() {
        let mut lately = Lately::default();
        let (one, two): (Flow, Flow) = ("one".into(), "two".into());
        let waits: Vec<_> = (0..7).map(|_| lately.piece(&one, START).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 3]);
        assert_eq!(lately.piece(&two, START), Duration::ZERO);
        assert_eq!(lately.piece(&one, after(6)).as_millis(), 0);
        assert_eq!(lately.piece(&one, after(1000)).as_millis(), 0);
    }
}
