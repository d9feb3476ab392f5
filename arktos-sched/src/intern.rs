//! Words that recur (label keys and values, resource names, tenants) as small numbers.

use std::collections::HashMap;
use std::sync::Arc;

/// So few words are not worth looking for those that nobody uses.
const FEW: usize = 4096;

/// Gives every word one number, and the word back for it, until it is [swept](Self::sweep) out.
#[derive(Debug, Default)]
pub struct Interner {
    numbers: HashMap<Arc<str>, u32>,
    words: Vec<Option<Arc<str>>>,
    /// Numbers below the highest that no word has.
    vacant: Vec<u32>,
    /// How many words the last sweep has left.
    left: usize,
}

impl Interner {
    /// The number of a word, given out when it has none yet.
    pub fn intern(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let word = Arc::<str>::from(word);
        let number = match self.vacant.pop() {
            Some(number) => number,
            None => {
                self.words.push(None);
                u32::try_from(self.words.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(place) = self.words.get_mut(number as usize) {
            *place = Some(word.clone());
        }
        self.numbers.insert(word, number);
        number
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The number of a word that has one.
    #[must_use]
    pub fn find(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    /// The word of a number; empty for a number that no word has.
    #[must_use]
    pub fn word(&self, number: u32) -> &str {
        self.words.get(number as usize).and_then(Option::as_deref).unwrap_or("")
    }

    /// Whether so many words have come since the last sweep that another one is worth its while: then a sweep costs
    /// little for each of them.
    #[must_use]
    pub fn is_littered(&self) -> bool {
        self.len() > 2 * self.left.max(FEW)
    }

    /// Forgets the words that are not marked. Their numbers are given out again.
    pub fn sweep(&mut self, used: &Marks) {
        self.numbers.retain(|_, number| used.has(*number));
        for (number, word) in self.words.iter_mut().enumerate() {
            if !u32::try_from(number).is_ok_and(|number| used.has(number)) {
                *word = None;
            }
        }
        while self.words.pop_if(|word| word.is_none()).is_some() {}
        let vacant = self.words.iter().enumerate().filter(|(_, word)| word.is_none());
        self.vacant = vacant.filter_map(|(number, _)| u32::try_from(number).ok()).collect();
        self.words.shrink_to_fit();
        self.numbers.shrink_to_fit();
        self.left = self.len();
    }
}

/// Numbers that are in use.
#[derive(Debug, Default)]
pub struct Marks(Vec<u64>);

impl Marks {
    /// A number is in use.
    pub fn mark(&mut self, number: u32) {
        let at = number as usize / 64;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        self.0[at] |= 1 << (number % 64);
    }

    fn has(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_used_goes_and_its_number_is_given_out_again() {
        let mut words = Interner::default();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|word| words.intern(word));
        let mut used = Marks::default();
        [b, a].into_iter().for_each(|number| used.mark(number));
        words.sweep(&used);
        assert_eq!((words.len(), words.words.len(), words.word(a), words.word(b)), (2, 2, "a", "b"));
        assert_eq!((words.find("c"), words.word(c), words.word(d)), (None, "", ""));
        assert_eq!([words.intern("e"), words.intern("b"), words.intern("c")], [c, b, d]);
        words.sweep(&{
            let mut used = Marks::default();
            used.mark(d);
            used
        });
        assert_eq!((words.word(d), words.words.len()), ("c", 4), "a number stays what it is");
        assert!([words.intern("x"), words.intern("y"), words.intern("z")].iter().all(|number| *number < d));
    }

    #[test]
    fn words_are_many_when_they_are_twice_as_many_as_were_left() {
        let mut words = Interner::default();
        let mut used = Marks::default();
        let mut come = 0;
        let mut until_littered = |words: &mut Interner| {
            let before = come;
            while !words.is_littered() {
                come += 1;
                words.intern(&come.to_string());
            }
            come - before
        };
        assert_eq!(until_littered(&mut words), 8193);
        (0..6000).for_each(|number| used.mark(number));
        words.sweep(&used);
        assert_eq!((until_littered(&mut words), words.len()), (6001, 12_001));
    }
}
