//! Who has asked for anything lately: how many share what there is.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use arktos_core::Timestamp;

use super::Flow;

/// Who has asked for nothing for so long, or at most for twice as long, does not count any more.
const LATELY: Duration = Duration::from_millis(250);
/// How far apart pieces of answers go out to one tenant, where others wait for the machine as well.
const APART: Duration = Duration::from_millis(1);
/// So many may go out together.
const TOGETHER: u32 = 4;

/// Who has asked lately, and how much of long answers has gone out to whom.
#[derive(Default)]
pub(super) struct Lately {
    since: Timestamp,
    /// Those who have asked since, and those before them.
    now: HashSet<Flow>,
    before: HashSet<Flow>,
    /// How many of those are not also among the ones before.
    new: usize,
    /// Until when pieces of answers are spoken for.
    sent: HashMap<Flow, Timestamp>,
}

impl Lately {
    /// Someone asks. Those who are nobody in particular are not counted: what there is is shared by tenants.
    pub(super) fn note(&mut self, flow: &Flow, now: Timestamp) {
        self.go_on(now);
        if !flow.is_empty() && !self.now.contains(flow) {
            self.new += usize::from(!self.before.contains(flow));
            self.now.insert(flow.clone());
        }
    }

    /// How many have asked.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.before.len() + self.new).unwrap_or(u32::MAX)
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
        self.before = if passed < 2 * LATELY { std::mem::take(&mut self.now) } else { HashSet::new() };
        self.now.clear();
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
            lately.note(flow, after(millis));
            lately.count()
        };
        assert_eq!([at(&one, 0), at(&one, 10), at(&two, 20)], [1, 1, 2]);
        assert_eq!([at(&one, 260), at(&one, 300)], [2, 2]);
        assert_eq!(at(&one, 520), 1, "two has not asked for half a second");
        assert_eq!(at(&two, 5000), 1);
        assert_eq!(at(&"".into(), 5000), 1, "nobody in particular");
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
