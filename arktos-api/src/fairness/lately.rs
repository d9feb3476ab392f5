//! Which tenants have asked for something lately, and for how much: how many share the server, and which of them take
//! more than their share.
//!
//! How much is counted in reads of one object. What a tenant has asked for is what was read of it: where there is more
//! than can be worked on, that says who was served, not who wants the most. That is told by how much is under way at a
//! time. So who is beyond its share has asked for more than others, and has more under way than they have.

use std::collections::HashMap;
use std::time::Duration;

use arktos_core::Timestamp;

use super::Flow;

/// Who has asked for nothing for so long, or at most for twice as long, does not count any more.
const LATELY: Duration = Duration::from_millis(250);
/// Who has asked for less lately is never beyond its share.
const MUCH: u64 = 100;
/// So many requests under way are as many as anybody's count: who only holds more cannot make others seem modest.
const MANY: u32 = 64;
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
    of: HashMap<Flow, Share>,
    all: Share,
}

/// What somebody has asked for.
#[derive(Default, Clone, Copy)]
struct Share {
    /// How much.
    asked: u64,
    /// How much was under way at most, as far as it counts.
    under_way: u64,
}

impl Share {
    fn with(self, other: Self) -> Self {
        Self { asked: self.asked + other.asked, under_way: self.under_way + other.under_way }
    }
}

impl Asked {
    fn by(&self, flow: &Flow) -> Share {
        self.of.get(flow).copied().unwrap_or_default()
    }
}

impl Lately {
    /// Someone, who has so many requests under way, asks for so much. Those who are nobody in particular are not
    /// counted: tenants share what there is.
    pub(super) fn note(&mut self, flow: &Flow, weight: u32, under_way: u32, now: Timestamp) {
        self.go_on(now);
        if flow.is_empty() {
            return;
        }
        if !self.now.of.contains_key(flow) {
            self.new += usize::from(!self.before.of.contains_key(flow));
            self.now.of.insert(flow.clone(), Share::default());
        }
        let Asked { of, all } = &mut self.now;
        if let Some(share) = of.get_mut(flow) {
            let more = u64::from(under_way.min(MANY)).saturating_sub(share.under_way);
            let added = Share { asked: u64::from(weight), under_way: more };
            (*share, *all) = (share.with(added), all.with(added));
        }
    }

    /// Whether someone has asked for much, and for a tenth more than those who have asked have on average, and has had
    /// a tenth more under way.
    pub(super) fn is_beyond(&self, flow: &Flow) -> bool {
        let (own, all) = (self.now.by(flow).with(self.before.by(flow)), self.now.all.with(self.before.all));
        let count = u64::from(self.count());
        let more = |own: u64, all: u64| 10 * own * count > 11 * all;
        count > 1 && own.asked >= MUCH && more(own.asked, all.asked) && more(own.under_way, all.under_way)
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
            lately.note(flow, 1, 1, after(millis));
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
        lately.note(&noisy, 1000, 9, START);
        assert!(!lately.is_beyond(&noisy), "nobody else is there");
        lately.note(&quiet, 99, 1, START);
        assert!(lately.is_beyond(&noisy) && !lately.is_beyond(&quiet) && !lately.is_beyond(&other));
        lately.note(&quiet, 720, 3, after(260));
        assert!(!lately.is_beyond(&noisy), "1000 is less than eleven tenths of 910");
        lately.note(&other, 1, 1, after(260));
        assert!(lately.is_beyond(&noisy), "and more than those of 607");
        lately.note(&other, 1, 1, after(520));
        assert!(!lately.is_beyond(&noisy) && lately.is_beyond(&quiet), "the one has long stopped");
        lately.note(&other, 99, 9, after(5000));
        lately.note(&noisy, 1, 1, after(5000));
        assert!(!lately.is_beyond(&other), "it is little");
    }

    #[test]
    fn who_is_served_more_than_one_who_wants_more_is_not_beyond_its_share() {
        let mut lately = Lately::default();
        let (noisy, quiet): (Flow, Flow) = ("noisy".into(), "quiet".into());
        lately.note(&noisy, 1000, 160, START);
        lately.note(&quiet, 3000, 16, START);
        assert!(!lately.is_beyond(&noisy) && !lately.is_beyond(&quiet));
        lately.note(&noisy, 4000, 5, START);
        assert!(lately.is_beyond(&noisy), "what was under way counts for a while");
        lately.note(&"holds".into(), 1, 5000, START);
        assert!(lately.is_beyond(&noisy), "whoever holds more");
        lately.note(&quiet, 9000, 60, START);
        assert!(!lately.is_beyond(&noisy) && !lately.is_beyond(&quiet), "all want as much");
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
