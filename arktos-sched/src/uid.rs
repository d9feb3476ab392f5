//! Uids of pods in few bytes: a scheduler keeps those of all pods of its partition, several times.

use std::fmt;

/// A uid. What is written as a UUID is kept as its 16 bytes, and everything else as its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(Kept);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kept {
    Uuid([u8; 16]),
    Text(Box<str>),
}

/// The lengths of a UUID's parts, in digits.
const PARTS: [usize; 5] = [8, 4, 4, 4, 12];

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(uuid(text).map_or_else(|| Kept::Text(text.into()), Kept::Uuid))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match &self.0 {
            Kept::Text(text) => return f.write_str(text),
            Kept::Uuid(bytes) => u128::from_be_bytes(*bytes),
        };
        let digits = format!("{bytes:032x}");
        let mut rest = digits.as_str();
        for (at, length) in PARTS.into_iter().enumerate() {
            let (part, after) = rest.split_at(length);
            write!(f, "{}{part}", if at > 0 { "-" } else { "" })?;
            rest = after;
        }
        Ok(())
    }
}

/// The bytes of a UUID in the form in which we write them: small letters, and its dashes in their places.
fn uuid(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut number = 0u128;
    let mut parts = text.split('-');
    for length in PARTS {
        let part = parts.next().filter(|part| part.len() == length)?;
        for byte in part.bytes() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            number = number << 4 | u128::from(digit);
        }
    }
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_uuid(text: &str) -> bool {
        matches!(Uid::from(text).0, Kept::Uuid(_))
    }

    #[test]
    fn only_what_is_written_as_we_write_it_is_kept_as_bytes() {
        let uuid = "0b8ff20c-58a1-4d1c-a60b-1c8e5d5f0a01";
        assert!(is_uuid(uuid));
        for other in ["", "u", &uuid.to_uppercase(), &uuid.replace('-', "0"), "0b8ff20c-58a1-4d1c-a60b1-c8e5d5f0a01"] {
            assert!(!is_uuid(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_uid_reads_as_it_was_written(text in "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|.{0,40}") {
            prop_assert_eq!(Uid::from(text.as_str()).to_string(), text);
        }
    }
}
