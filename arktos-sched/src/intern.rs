//! Words that recur (label keys and values, resource names, tenants) as small numbers.

use std::collections::HashMap;
use std::sync::Arc;

/// Gives every word one number, and the word back for it. Never forgets: the words of a pool are few.
#[derive(Debug, Default)]
pub struct Interner {
    numbers: HashMap<Arc<str>, u32>,
    words: Vec<Arc<str>>,
}

impl Interner {
    /// The number of a word, given out when it has none yet.
    pub fn intern(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let (number, word) = (u32::try_from(self.words.len()).unwrap_or(u32::MAX), Arc::<str>::from(word));
        self.words.push(word.clone());
        self.numbers.insert(word, number);
        number
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The number of a word that has one.
    #[must_use]
    pub fn find(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    /// The word of a number; empty for a number that was never given out.
    #[must_use]
    pub fn word(&self, number: u32) -> &str {
        self.words.get(number as usize).map_or("", |word| word)
    }
}
