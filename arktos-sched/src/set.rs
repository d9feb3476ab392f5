//! A set of hosts as bits, with a summary above: one word of every level stands for one block of the
//! [`tree`](crate::tree), so that a search asks "any host of this set below here?" with one load.

/// How many levels a set and the tree have: 64 hosts a block, 64 blocks a block, four times: room for 16 million.
pub const DEPTH: usize = 4;
/// The most hosts a pool can hold.
pub const HOSTS_MAX: usize = 1 << (6 * DEPTH);

/// A set of hosts.
///
/// ```text
///   level 1   bit b of word w: is word 64 w + b of level 0 not empty
///   level 0   bit b of word w: is host 64 w + b in the set
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSet {
    levels: [Vec<u64>; DEPTH],
}

impl HostSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a host in.
    pub fn insert(&mut self, host: u32) {
        let mut at = host as usize;
        for level in &mut self.levels {
            let word = at / 64;
            if level.len() <= word {
                level.resize(word + 1, 0);
            }
            let before = level[word];
            level[word] = before | (1 << (at % 64));
            if before != 0 {
                return; // the levels above know of this word
            }
            at = word;
        }
    }

    /// Takes a host out.
    pub fn remove(&mut self, host: u32) {
        let mut at = host as usize;
        for level in &mut self.levels {
            let Some(word) = level.get_mut(at / 64) else { return };
            *word &= !(1 << (at % 64));
            if *word != 0 {
                return;
            }
            at /= 64;
        }
    }

    /// Puts a host in, or takes it out.
    pub fn set(&mut self, host: u32, member: bool) {
        if member { self.insert(host) } else { self.remove(host) }
    }

    /// Whether a host is in the set.
    #[must_use]
    pub fn contains(&self, host: u32) -> bool {
        let at = host as usize;
        self.word(0, at / 64) >> (at % 64) & 1 == 1
    }

    /// One word of one level; zero beyond the end.
    #[must_use]
    pub fn word(&self, level: usize, at: usize) -> u64 {
        self.levels.get(level).and_then(|words| words.get(at)).copied().unwrap_or(0)
    }

    /// Whether no host is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.word(DEPTH - 1, 0) == 0
    }

    /// The hosts, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.levels[0].iter().enumerate().flat_map(|(at, word)| {
            ones(*word).map(move |bit| u32::try_from(at * 64).unwrap_or(u32::MAX).saturating_add(bit))
        })
    }

    /// How many hosts are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.levels[0].iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// The places of the ones of a word.
pub fn ones(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_and_every_level_sums_up_the_one_below(
            steps in prop::collection::vec((any::<bool>(), 0u32..300_000), 0..200)
        ) {
            let (mut set, mut model) = (HostSet::new(), BTreeSet::new());
            for (insert, host) in steps {
                set.set(host, insert);
                if insert { model.insert(host); } else { model.remove(&host); }
            }
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
            for level in 1..DEPTH {
                let shift = 6 * u32::try_from(level).expect("small");
                let above: BTreeSet<u32> = model.iter().map(|host| host >> shift).collect();
                for at in 0..(300_000usize >> (shift + 6)) + 1 {
                    let expected = above.iter().filter(|bit| **bit as usize / 64 == at);
                    let expected = expected.fold(0u64, |word, bit| word | 1 << (bit % 64));
                    prop_assert_eq!(set.word(level, at), expected);
                }
            }
        }
    }
}
