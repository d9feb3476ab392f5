//! Time as the API writes it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, in microseconds since 1970 (UTC). The API writes `Time` fields with whole seconds and `MicroTime` fields
/// with six digits; both are read here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `micros` microseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment, `by` later. Saturates at the end of time.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|moment| Self(moment.as_microsecond()))
    }

    /// As `MicroTime` fields write it: six digits after the second.
    #[must_use]
    pub fn to_micro_string(self) -> String {
        self.civil().map_or_else(String::new, |civil| {
            let (micros, mut text) = (civil.subsec_nanosecond() / 1000, self.to_string());
            text.truncate(text.len() - 1);
            text + &format!(".{micros:06}Z")
        })
    }

    fn civil(self) -> Option<jiff::civil::DateTime> {
        jiff::Timestamp::from_microsecond(self.0).ok().map(|moment| jiff::tz::Offset::UTC.to_datetime(moment))
    }
}

/// Whole seconds, as `Time` fields write it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(civil) = self.civil() else { return f.write_str("1970-01-01T00:00:00Z") };
        let (date, time) = (civil.date(), civil.time());
        let sign = if date.year() < 0 { "-" } else { "" };
        write!(f, "{sign}{:04}-{:02}-{:02}", date.year().unsigned_abs(), date.month(), date.day())?;
        write!(f, "T{:02}:{:02}:{:02}Z", time.hour(), time.minute(), time.second())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is not an RFC 3339 time")))
    }
}

/// How long something takes, as Go writes it: `1h30m`, `1.5h`, `300ms`. What is less than nothing is nothing.
///
/// # Errors
/// What Go says of a text that is not a duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut left = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut seconds = 0.0;
    if left == "0" {
        return Ok(Duration::ZERO);
    }
    if left.is_empty() {
        return Err(invalid());
    }
    let of_number = |letter: char| letter.is_ascii_digit() || letter == '.';
    while !left.is_empty() {
        let (number, rest) = left.split_at(left.find(|letter| !of_number(letter)).unwrap_or(left.len()));
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let (unit, rest) = rest.split_at(rest.find(of_number).unwrap_or(rest.len()));
        seconds += number
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                "" => return Err(format!("time: missing unit in duration {text:?}")),
                _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
            };
        left = rest;
    }
    if text.starts_with('-') {
        return Ok(Duration::ZERO);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in [("1h30m", 5_400_000), ("1.5s", 1500), (".5s", 500), ("0", 0), ("-3s", 0), ("+2ms", 2)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, why) in [
            ("", "invalid duration \"\""),
            ("invalid", "invalid duration \"invalid\""),
            ("1.2.3s", "invalid duration \"1.2.3s\""),
            ("5", "missing unit in duration \"5\""),
            ("5x", "unknown unit \"x\" in duration \"5x\""),
        ] {
            assert_eq!(parse_duration(text), Err(format!("time: {why}")), "{text}");
        }
    }

    #[test]
    fn times_are_written_with_whole_seconds() {
        let moment = Timestamp::parse("2026-11-23T10:11:12.345678Z").expect("a time");
        assert_eq!(moment.to_string(), "2026-11-23T10:11:12Z");
        assert_eq!(moment.to_micro_string(), "2026-11-23T10:11:12.345678Z");
        assert_eq!(moment.later(Duration::from_secs(48)).to_string(), "2026-11-23T10:12:00Z");
        assert_eq!(Timestamp::parse("2026-11-23T12:11:12+02:00").expect("a time").to_string(), "2026-11-23T10:11:12Z");
    }
}
