//! Values with a form of their own.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// A number, or a text such as `25%` or a port's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A text.
    Text(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl IntOrString {
    /// The number it stands for when a percentage is taken of `total`; `None` when it is neither a number nor a
    /// percentage. A fraction is rounded up or down as asked.
    #[must_use]
    pub fn scaled(&self, total: i32, round_up: bool) -> Option<i32> {
        let text = match self {
            Self::Int(number) => return Some(*number),
            Self::Text(text) => text,
        };
        let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
        let hundredths = percent.checked_mul(i64::from(total))?;
        let rounded = if round_up { -(-hundredths).div_euclid(100) } else { hundredths.div_euclid(100) };
        i32::try_from(rounded).ok()
    }
}

/// A moment that is written with six digits after the second, as leases and events have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MicroTime(pub Timestamp);

impl Serialize for MicroTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_micro_string())
    }
}

impl<'de> Deserialize<'de> for MicroTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(Self)
    }
}
