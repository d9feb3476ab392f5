//! Sets of indexes, written as the API writes them: `0,2-4,7`.

use std::collections::BTreeMap;
use std::fmt;

/// A set of indexes, as ranges: a job may have two thousand million, and its tenant writes its status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Indexes(BTreeMap<usize, usize>); // the last of each range, by its first; no two of them touch

impl Indexes {
    /// Reads a set; what is not one is left out.
    pub(super) fn read(text: &str) -> Self {
        let mut indexes = Self::default();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>())
                && first <= last
            {
                indexes.add(first, last);
            }
        }
        indexes
    }

    fn add(&mut self, mut first: usize, mut last: usize) {
        while let Some((from, to)) = self.0.range(..=last.saturating_add(1)).next_back().map(|(from, to)| (*from, *to))
            && to.saturating_add(1) >= first
        {
            (first, last) = (first.min(from), last.max(to));
            self.0.remove(&from);
        }
        self.0.insert(first, last);
    }

    /// The set with more in it.
    pub(super) fn with(&self, more: impl IntoIterator<Item = usize>) -> Self {
        let mut all = self.clone();
        more.into_iter().for_each(|index| all.add(index, index));
        all
    }

    /// The indexes of this set and of another.
    pub(super) fn and(mut self, other: &Self) -> Self {
        other.0.iter().for_each(|(first, last)| self.add(*first, *last));
        self
    }

    /// The set without those beyond a number of completions.
    pub(super) fn below(&self, completions: usize) -> Self {
        let Some(most) = completions.checked_sub(1) else { return Self::default() };
        Self(self.0.range(..=most).map(|(first, last)| (*first, *last.min(&most))).collect())
    }

    /// How many indexes of the set are in another as well.
    pub(super) fn shared_with(&self, other: &Self) -> usize {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut shared = 0;
        while let (Some(&(&from, &to)), Some(&(&begin, &end))) = (ours.peek(), theirs.peek()) {
            shared += to.min(end).saturating_add(1).saturating_sub(from.max(begin));
            if to < end {
                ours.next()
            } else {
                theirs.next()
            };
        }
        shared
    }

    /// The indexes below a number of completions that are not in the set, in order.
    pub(super) fn missing(&self, completions: usize) -> impl Iterator<Item = usize> {
        let ends = self.0.iter().map(|(first, last)| (*first, last.saturating_add(1)));
        let mut next = 0;
        ends.chain([(completions, completions)]).flat_map(move |(first, after)| {
            let gap = next..first.min(completions);
            next = after;
            gap
        })
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|(first, last)| (last - first).saturating_add(1)).fold(0, usize::saturating_add)
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (first, last) in &self.0 {
            match last - first {
                0 => write!(f, "{separator}{first}")?,
                1 => write!(f, "{separator}{first},{last}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_as_ranges() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7", "0,2,4"] {
            assert_eq!(Indexes::read(text).to_string(), text);
        }
        assert_eq!(Indexes::read("1-3").with([0, 7]).to_string(), "0-3,7");
        assert_eq!(Indexes::read("0-9").below(3).to_string(), "0-2");
        assert_eq!(Indexes::read("x,5-2,1").to_string(), "1");
        assert_eq!(Indexes::read("7,1-3,0,4-5,2-6").to_string(), "0-7");
        assert_eq!(Indexes::read("5,1-3").and(&Indexes::read("4,9-10")).to_string(), "1-5,9,10");
    }

    #[test]
    fn long_ranges_are_no_work() {
        let all = Indexes::read("0-18446744073709551615,3-2147483646");
        assert_eq!((all.len(), all.missing(2_147_483_647).next()), (usize::MAX, None));
        let most = Indexes::read("1-2147483645,5000000000-6000000000").below(2_147_483_647);
        assert_eq!((most.len(), most.to_string()), (2_147_483_645, "1-2147483645".to_owned()));
        assert_eq!(most.missing(2_147_483_647).collect::<Vec<_>>(), [0, 2_147_483_646]);
        assert_eq!(most.shared_with(&Indexes::read("0-2,2147483640-2147483646")), 8);
        assert_eq!(Indexes::default().missing(3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(Indexes::read("0-2").below(0), Indexes::default());
    }
}
