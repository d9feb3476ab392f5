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
        self.insert_word(host as usize / 64, 1 << (host % 64));
    }

    /// Takes a host out.
    pub fn remove(&mut self, host: u32) {
        self.remove_word(host as usize / 64, 1 << (host % 64));
    }

    /// Puts a host in, or takes it out.
    pub fn set(&mut self, host: u32, member: bool) {
        if member { self.insert(host) } else { self.remove(host) }
    }

    /// Puts hosts in, or takes them out.
    pub fn set_all(&mut self, hosts: &HostWords, member: bool) {
        for (at, word) in &hosts.0 {
            if member { self.insert_word(*at as usize, *word) } else { self.remove_word(*at as usize, *word) }
        }
    }

    /// Takes hosts out, and says which of them were in.
    pub fn take(&mut self, hosts: &HostWords) -> HostWords {
        let mut taken = HostWords::default();
        for (at, word) in &hosts.0 {
            let both = self.word(0, *at as usize) & word;
            if both != 0 {
                taken.0.push((*at, both));
                self.remove_word(*at as usize, both);
            }
        }
        taken
    }

    /// Leaves only those that are in another set, too.
    pub fn intersect(&mut self, other: &Self) {
        for at in 0..self.levels[0].len() {
            let away = self.levels[0][at] & !other.word(0, at);
            if away != 0 {
                self.remove_word(at, away);
            }
        }
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

    fn insert_word(&mut self, mut at: usize, mut hosts: u64) {
        for level in &mut self.levels {
            if level.len() <= at {
                level.resize(at + 1, 0);
            }
            let before = level[at];
            level[at] = before | hosts;
            if before != 0 {
                return; // the levels above know of this word
            }
            hosts = 1 << (at % 64);
            at /= 64;
        }
    }

    fn remove_word(&mut self, mut at: usize, mut hosts: u64) {
        for level in &mut self.levels {
            let Some(word) = level.get_mut(at) else { return };
            *word &= !hosts;
            if *word != 0 {
                return;
            }
            hosts = 1 << (at % 64);
            at /= 64;
        }
    }
}

/// Hosts as words of a set's lowest level: one word for up to 64 that stand together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostWords(Vec<(u32, u64)>);

impl HostWords {
    /// Puts a host in. Quick and small for hosts that come in order.
    pub fn push(&mut self, host: u32) {
        let (at, bit) = (host / 64, 1 << (host % 64));
        match self.0.last_mut() {
            Some((last, word)) if *last == at => *word |= bit,
            _ => self.0.push((at, bit)),
        }
    }

    /// Puts other hosts in.
    pub fn extend(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// Gives back memory that is not needed.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Whether there is no host.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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

    fn words(hosts: &BTreeSet<u32>) -> HostWords {
        let mut words = HostWords::default();
        hosts.iter().for_each(|host| words.push(*host));
        words
    }

    fn set(hosts: &BTreeSet<u32>) -> HostSet {
        let mut set = HostSet::new();
        hosts.iter().for_each(|host| set.insert(*host));
        set
    }

    proptest! {
        #[test]
        fn many_hosts_at_once_are_put_in_and_taken_out_as_one_by_one(
            one in prop::collection::btree_set(0u32..5_000, 0..200),
            other in prop::collection::btree_set(0u32..5_000, 0..200),
        ) {
            let mut all = set(&one);
            all.set_all(&words(&other), true);
            prop_assert_eq!(all.iter().collect::<Vec<_>>(), one.union(&other).copied().collect::<Vec<_>>());
            let (mut rest, mut both) = (set(&one), set(&one));
            let taken = rest.take(&words(&other));
            prop_assert_eq!(rest.iter().collect::<Vec<_>>(), one.difference(&other).copied().collect::<Vec<_>>());
            both.intersect(&set(&other));
            let mut moved = HostSet::new();
            moved.set_all(&taken, true);
            let shared = one.intersection(&other).copied().collect::<Vec<_>>();
            prop_assert_eq!(&both.iter().collect::<Vec<_>>(), &shared);
            prop_assert_eq!(&moved.iter().collect::<Vec<_>>(), &shared);
            prop_assert_eq!(rest.is_empty(), one.is_subset(&other));
            all.set_all(&words(&other), false);
            all.set_all(&words(&one), false);
            prop_assert!(all.is_empty());
        }

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
