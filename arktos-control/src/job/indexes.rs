//! Sets of indexes, written as the API writes them: `0,2-4,7`.

use std::collections::BTreeSet;
use std::fmt;

/// The most indexes a text may stand for.
const MOST: usize = 100_000;

/// A set of indexes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Indexes(BTreeSet<usize>);

impl Indexes {
    /// Reads a set; what is not one is left out.
    pub(super) fn read(text: &str) -> Self {
        let mut indexes = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
                indexes.extend((first..=last).take(MOST.saturating_sub(indexes.len())));
            }
        }
        Self(indexes)
    }

    /// The set with more in it.
    pub(super) fn with(&self, more: impl IntoIterator<Item = usize>) -> Self {
        let mut all = self.0.clone();
        all.extend(more);
        Self(all)
    }

    /// The set without those beyond a number of completions.
    pub(super) fn below(&self, completions: usize) -> Self {
        Self(self.0.range(..completions).copied().collect())
    }

    /// How many indexes of the set are in another as well.
    pub(super) fn shared_with(&self, other: &Self) -> usize {
        self.0.intersection(&other.0).count()
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.0.contains(&index)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while rest.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
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
        assert_eq!(Indexes::read("0-99999999999").len(), MOST);
    }
}
