//! Formats of texts.

use std::net::{IpAddr, Ipv6Addr};

use base64::Engine as _;
use serde_json::Value;

use crate::name::{label_fault, subdomain_fault};
use crate::rules::addresses::parse_ip;
use crate::time::Timestamp;

/// A format that is checked. Names that nobody knows are ignored, as upstream does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    name: &'static str,
    fits: fn(&str) -> bool,
}

const FORMATS: &[Format] = &[
    Format { name: "bsonobjectid", fits: |text| text.len() == 24 && hexadecimal(text) },
    Format { name: "uri", fits: uri },
    Format { name: "email", fits: email },
    Format { name: "hostname", fits: hostname },
    Format { name: "ipv4", fits: |text| parse_ip(text).is_some_and(|address| address.is_ipv4()) },
    Format { name: "k8s-short-name", fits: |text| label_fault(text).is_none() },
    Format { name: "k8s-long-name", fits: |text| subdomain_fault(text).is_none() },
    Format { name: "ipv6", fits: |text| text.parse::<Ipv6Addr>().is_ok() },
    Format { name: "cidr", fits: cidr },
    Format { name: "mac", fits: mac },
    Format { name: "uuid", fits: |text| uuid(text, None) },
    Format { name: "uuid3", fits: |text| uuid(text, Some(b'3')) },
    Format { name: "uuid4", fits: |text| uuid(text, Some(b'4')) },
    Format { name: "uuid5", fits: |text| uuid(text, Some(b'5')) },
    Format { name: "isbn", fits: |text| isbn10(text) || isbn13(text) },
    Format { name: "isbn10", fits: isbn10 },
    Format { name: "isbn13", fits: isbn13 },
    Format { name: "creditcard", fits: credit_card },
    Format { name: "ssn", fits: ssn },
    Format { name: "hexcolor", fits: hex_color },
    Format { name: "rgbcolor", fits: rgb_color },
    Format { name: "byte", fits: base64 },
    Format { name: "password", fits: |_| true },
    Format { name: "date", fits: |text| text.len() == 10 && Timestamp::parse(&format!("{text}T00:00:00Z")).is_some() },
    Format { name: "duration", fits: duration },
    Format { name: "date-time", fits: |text| text.len() > 19 && Timestamp::parse(text).is_some() },
    Format { name: "datetime", fits: |text| text.len() > 19 && Timestamp::parse(text).is_some() },
];

impl Format {
    /// A format by its name, written with or without dashes.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        let plain = name.replace('-', "");
        FORMATS.iter().find(|format| format.name == name || format.name.replace('-', "") == plain).copied()
    }

    pub(super) fn name(self) -> &'static str {
        self.name
    }

    pub(super) fn fits(self, text: &str) -> bool {
        (self.fits)(text)
    }
}

/// The formats in a schema that nobody knows for values of the type beside them, in the order in which they stand.
#[must_use]
pub fn unrecognized_formats(schema: &Value) -> Vec<&str> {
    let mut unknown = Vec::new();
    look_for_unrecognized(schema, &mut unknown);
    unknown
}

fn look_for_unrecognized<'a>(schema: &'a Value, unknown: &mut Vec<&'a str>) {
    let Some(map) = schema.as_object() else { return };
    let text = |keyword: &str| map.get(keyword).and_then(Value::as_str).unwrap_or("");
    let format = text("format");
    let is_known = match text("type") {
        "" | "string" => Format::by_name(format).is_some(),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    };
    if !format.is_empty() && !is_known {
        unknown.push(format);
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let list = map.get(keyword).and_then(Value::as_array).into_iter().flatten();
        list.for_each(|schema| look_for_unrecognized(schema, unknown));
    }
    let named = map.get("properties").and_then(Value::as_object).into_iter().flat_map(|fields| fields.values());
    let others = ["not", "items", "additionalProperties"].into_iter().filter_map(|keyword| map.get(keyword));
    others.chain(named).for_each(|schema| look_for_unrecognized(schema, unknown));
}

/// Something in base64: nothing is none.
fn base64(text: &str) -> bool {
    !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

fn hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn uri(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let named = !scheme.is_empty()
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let escaped = text.split('%').skip(1).all(|rest| rest.get(..2).is_some_and(hexadecimal));
    (named || text.starts_with('/')) && escaped && !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f)
}

/// A name of labels, the last of which has two letters at least.
fn hostname(text: &str) -> bool {
    let text = text.to_lowercase();
    let last = text.rsplit('.').next().unwrap_or_default();
    subdomain_fault(&text).is_none() && (!text.contains('.') || last.len() > 1)
}

fn email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    !local.is_empty()
        && local.bytes().all(plain)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && subdomain_fault(&domain.to_lowercase()).is_none()
}

fn cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u8>()) else { return false };
    length <= if address.is_ipv4() { 32 } else { 128 }
}

fn mac(text: &str) -> bool {
    let parts = |separator: char, width: usize| {
        let all: Vec<&str> = text.split(separator).collect();
        let fits = all.iter().all(|part| part.len() == width && hexadecimal(part));
        fits && matches!(all.len() * width / 2, 6 | 8 | 20)
    };
    parts(':', 2) || parts('-', 2) || parts('.', 4)
}

fn uuid(text: &str, version: Option<u8>) -> bool {
    let plain = text.replace('-', "");
    let fits = plain.len() == 32 && hexadecimal(&plain);
    // What came after the third version says of which variant it is.
    let variant = || matches!(plain.as_bytes()[16].to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b');
    fits && version.is_none_or(|version| plain.as_bytes()[12] == version && (version < b'4' || variant()))
}

fn digits(text: &str) -> String {
    text.chars().filter(|letter| !matches!(letter, '-' | ' ')).collect()
}

fn isbn10(text: &str) -> bool {
    let text = digits(text);
    let sum: Option<u32> = text
        .chars()
        .enumerate()
        .map(|(at, letter)| {
            let value = if letter == 'X' && at == 9 { Some(10) } else { letter.to_digit(10) };
            value.map(|value| value * (10 - u32::try_from(at.min(10)).unwrap_or(10)))
        })
        .sum();
    text.len() == 10 && sum.is_some_and(|sum| sum % 11 == 0)
}

fn isbn13(text: &str) -> bool {
    let text = digits(text);
    let sum: Option<u32> = text
        .chars()
        .enumerate()
        .map(|(at, letter)| letter.to_digit(10).map(|value| if at % 2 == 0 { value } else { value * 3 }))
        .sum();
    text.len() == 13 && sum.is_some_and(|sum| sum % 10 == 0)
}

fn credit_card(text: &str) -> bool {
    let text = digits(text);
    let sum: Option<u32> = text
        .chars()
        .rev()
        .enumerate()
        .map(|(at, letter)| {
            let value = letter.to_digit(10)?;
            let value = if at % 2 == 0 { value } else { value * 2 };
            Some(if value > 9 { value - 9 } else { value })
        })
        .sum();
    (12..=19).contains(&text.len()) && sum.is_some_and(|sum| sum % 10 == 0)
}

fn ssn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', ' ']).collect();
    let numbers = parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    numbers && matches!(parts.as_slice(), [a, b, c] if (a.len(), b.len(), c.len()) == (3, 2, 4))
}

fn hex_color(text: &str) -> bool {
    let text = text.strip_prefix('#').unwrap_or(text);
    matches!(text.len(), 3 | 6) && hexadecimal(text)
}

fn rgb_color(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|text| text.strip_suffix(')'));
    let parts: Vec<&str> = inner.unwrap_or("").split(',').map(str::trim).collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok())
}

/// A duration as Go writes it (`1h30m`, `250ms`), or a number and a unit of time.
fn duration(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut rest = rest.trim();
    if rest == "0" {
        return true;
    }
    let mut any = false;
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (value, after) = rest.split_at(number);
        let after = after.trim_start();
        let unit = after.find(|letter: char| letter.is_ascii_digit() || letter == ' ').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        const UNITS: [&str; 19] = [
            "ns", "us", "µs", "ms", "s", "m", "h", "d", "w", "sec", "secs", "second", "seconds", "minutes", "minute",
            "hours", "hour", "days", "day",
        ];
        if value.parse::<f64>().is_err() || !UNITS.contains(&unit) {
            return false;
        }
        any = true;
        rest = after.trim_start();
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn formats_know_what_fits_them() {
        for (format, fits, does_not) in [
            ("date-time", "2020-01-01T00:00:00Z", "yesterday"),
            ("date", "2020-02-29", "2020-02-30"),
            ("ipv4", "1.2.3.4", "1.2.3"),
            ("ipv6", "::1", "1.2.3.4"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("mac", "00:1b:44:11:3a:b7", "00:1b:44"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
            ("duration", "1h30m", "soon"),
            ("byte", "YQ==", "%"),
            ("byte", "YQ==", ""),
            ("email", "a@example.com", "a"),
            ("uri", "https://example.com/x", "not a uri"),
            ("hexcolor", "#ff00AA", "#ff"),
            ("isbn10", "0-306-40615-2", "0-306-40615-1"),
            ("isbn13", "978-0-306-40615-7", "978-0-306-40615-8"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
        ] {
            let format = Format::by_name(format).expect(format);
            assert!(format.fits(fits), "{fits} is {}", format.name());
            assert!(!format.fits(does_not), "{does_not} is not {}", format.name());
        }
        assert!(Format::by_name("nobody-knows").is_none());
        for other in ["k8sshortname", "k8s-longname", "d-a-t-e", "datetime"] {
            assert!(Format::by_name(other).is_some(), "{other}");
        }
    }

    #[test]
    fn a_format_is_known_for_a_type() {
        let found = |type_name: &str, format: &str| {
            !unrecognized_formats(&json!({"type": type_name, "format": format})).is_empty()
        };
        for (type_name, format) in [("string", "byte"), ("", "byte"), ("integer", "int64"), ("number", "double")] {
            assert!(!found(type_name, format), "{type_name}: {format}");
        }
        for (type_name, format) in
            [("string", "int32"), ("", "int32"), ("integer", "double"), ("object", "byte"), ("string", "DATE")]
        {
            assert!(found(type_name, format), "{type_name}: {format}");
        }
        let nested = json!({"type": "object", "properties": {"z": {"type": "string", "format": "bb",
            "not": {"format": "no"}, "allOf": [{"format": "all"}], "oneOf": [{"format": "one"}]}}});
        assert_eq!(unrecognized_formats(&nested), ["bb", "all", "one", "no"]);
    }
}
