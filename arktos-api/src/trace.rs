//! Which trace a request belongs to, as its header `traceparent` says (W3C Trace Context).

use std::fmt;

use http::HeaderMap;

/// The header that names a request's trace.
pub const TRACEPARENT: &str = "traceparent";

/// A request's place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace. Never zero.
    pub trace_id: u128,
    /// What in the trace has sent the request. Never zero.
    pub parent_id: u64,
    /// Whether whoever began the trace wants it kept.
    pub sampled: bool,
}

impl TraceParent {
    /// The place that a request's headers name; nothing for headers that name none, several, or one that is malformed.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut named = headers.get_all(TRACEPARENT).iter();
        let first = named.next()?;
        if named.next().is_some() { None } else { Self::parse(first.as_bytes()) }
    }

    /// Reads `version-trace-parent-flags`. What a later version puts behind that is not looked at.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (fields, rest) = text.split_at_checked(55)?;
        let (version, trace, parent, flags) = (&fields[..2], &fields[3..35], &fields[36..52], &fields[53..]);
        if [2, 35, 52].iter().any(|at| fields[*at] != b'-') {
            return None;
        }
        match number(version)? {
            0xff => return None,
            0 if !rest.is_empty() => return None,
            _ if !rest.is_empty() && rest[0] != b'-' => return None,
            _ => {}
        }
        let (trace_id, parent_id) = (number(trace)?, u64::try_from(number(parent)?).ok()?);
        let sampled = number(flags)? & 1 == 1;
        (trace_id != 0 && parent_id != 0).then_some(Self { trace_id, parent_id, sampled })
    }
}

/// A number in hexadecimal digits, which are small letters.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| match digit {
        b'0'..=b'9' => Some(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(number << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_place_in_a_trace_is_read_and_written_alike() {
        let place = TraceParent::parse(GOOD.as_bytes()).expect("good");
        assert!(place.sampled);
        assert_eq!(place.to_string(), GOOD);
        let unsampled = TraceParent::parse(GOOD.replace("-01", "-02").as_bytes()).expect("good");
        assert!(!unsampled.sampled);
        let later = TraceParent::parse(format!("cc{}-what-else", &GOOD[2..]).as_bytes());
        assert_eq!(later, Some(place));
    }

    #[test]
    fn what_is_malformed_names_no_place() {
        let zero = |digits: &str| GOOD.replace(digits, &"0".repeat(digits.len()));
        for bad in [
            String::new(),
            "00".to_owned(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-more"),
            format!("{GOOD} "),
            format!("ff{}", &GOOD[2..]),
            format!("cc{}x", &GOOD[2..]),
            GOOD.to_uppercase(),
            GOOD.replace('-', "_"),
            GOOD.replace("-01", "-0g"),
            GOOD.replace("-01", "-+1"),
            zero("4bf92f3577b34da6a3ce929d0e0e4736"),
            zero("00f067aa0ba902b7"),
            "é".repeat(40),
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn of_two_headers_none_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceParent::of(&headers), None);
        headers.append(TRACEPARENT, http::HeaderValue::from_static(GOOD));
        assert!(TraceParent::of(&headers).is_some());
        headers.append(TRACEPARENT, http::HeaderValue::from_static(GOOD));
        assert_eq!(TraceParent::of(&headers), None);
    }
}
