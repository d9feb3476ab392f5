//! `metadata`: what names look like, and what of it may change.

/// The characters of generated names: no vowels, and no digits that look like letters.
pub const NAME_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A name from a prefix (`metadata.generateName`) and random bytes.
#[must_use]
pub fn generated_name(prefix: &str, random: [u8; 5]) -> String {
    let prefix: String = prefix.chars().take(58).collect();
    let suffix = random.iter().map(|byte| char::from(NAME_LETTERS[usize::from(*byte) % NAME_LETTERS.len()]));
    prefix.chars().chain(suffix).collect()
}
