//! Which plain words YAML 1.1 reads as something else than a text.

/// Whether a text that stands without quotes is read back as a text.
pub(super) fn reads_as_text(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    match first {
        'y' | 'Y' | 'n' | 'N' | 't' | 'T' | 'f' | 'F' | 'o' | 'O' | '~' => !is_word(text),
        '.' => !is_special_float(text) && !is_float(text),
        '+' | '-' | '0'..='9' => !(is_special_float(text) || is_number(text) || is_moment(text) || is_base_60(text)),
        _ => true,
    }
}

fn is_word(text: &str) -> bool {
    let capital = |word: &str| {
        let rest = text.get(1..).unwrap_or_default();
        let is_cased =
            rest.bytes().all(|byte| byte.is_ascii_lowercase()) || text.bytes().all(|byte| byte.is_ascii_uppercase());
        is_cased && text.eq_ignore_ascii_case(word)
    };
    text == "~" || ["y", "n", "yes", "no", "on", "off", "true", "false", "null"].into_iter().any(capital)
}

fn is_special_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

fn is_number(text: &str) -> bool {
    let plain = text.replace('_', "");
    is_whole(&plain) || is_float(&plain)
}

/// A whole number, in any base that has a prefix, that 64 bits hold.
fn is_whole(text: &str) -> bool {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (digits, base) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (&lower[..], 10),
    };
    if digits.starts_with(['+', '-']) {
        return false;
    }
    match u64::from_str_radix(digits, base) {
        Ok(value) if negative => value <= 1 << 63,
        Ok(value) => !text.starts_with('+') || i64::try_from(value).is_ok(),
        Err(_) => false,
    }
}

/// A decimal number with a point or an exponent, or more digits than 64 bits hold.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
    has_digits
        && digits(whole)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

/// A date, alone or with a time: of four digits of a year, and one or two of whatever else.
fn is_moment(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((&text[at..=at], &text[at + 1..]))),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let is_date = year.len() == 4 && number(year, 9999).is_some() && number(month, 12).is_some_and(|month| month > 0);
    let is_day = || {
        let (Some(year), Some(month), Some(day)) = (number(year, 9999), number(month, 12), number(day, 31)) else {
            return false;
        };
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        (1..=days).contains(&day)
    };
    is_date
        && is_day()
        && time.is_none_or(|(mark, time)| {
            let zoned = time.strip_suffix('Z').or_else(|| {
                let at = time.rfind(['+', '-'])?;
                let (hours, minutes) = time[at + 1..].split_once(':')?;
                let two = |text: &str, max| text.len() == 2 && number(text, max).is_some();
                (two(hours, 24) && two(minutes, 60)).then_some(&time[..at])
            });
            let clock = if mark == " " { Some(time) } else { zoned };
            clock.is_some_and(is_clock)
        })
}

fn is_clock(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
    let parts: Vec<&str> = whole.split(':').collect();
    let limits = [23, 59, 59];
    parts.len() == limits.len()
        && parts.iter().zip(limits).all(|(part, max)| number(part, max).is_some())
        && fraction.is_none_or(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A number of one to four digits, up to a limit.
fn number(text: &str, max: u32) -> Option<u32> {
    let is_short = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = is_short && (max > 99 || text.len() <= 2);
    is_short.then(|| text.parse().ok())?.filter(|value| *value <= max)
}

/// Numbers to the base of sixty, which nobody reads as such any more.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let first = parts.next().unwrap_or_default();
    let is_first = first.starts_with(|digit: char| digit.is_ascii_digit())
        && first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let sixty = |part: &str| number(part, 59).is_some();
    let (whole, fraction) = last.split_once('.').map_or((*last, ""), |(whole, fraction)| (whole, fraction));
    is_first
        && middle.iter().all(|part| sixty(part))
        && sixty(whole)
        && fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::reads_as_text;

    #[test]
    fn words_numbers_and_moments_are_no_texts() {
        for text in [
            "",
            "y",
            "No",
            "TRUE",
            "off",
            "~",
            "null",
            "1",
            "-1",
            "+1",
            "1_000",
            "012",
            "0o7",
            "0b1",
            "0x1f",
            "1.",
            ".5",
            "1e3",
            "12e03",
            ".inf",
            "-.Inf",
            ".nan",
            "2001-1-1",
            "2001-01-01T00:00:00Z",
            "2001-01-01 1:2:3",
            "1:30",
            "190:20:30",
            "99999999999999999999",
        ] {
            assert!(!reads_as_text(text), "{text:?}");
        }
        for text in
            ["yess", "tRue", "1e", "0x", "2001-13-01", "a1", "1.2.3.4", "1:99", "10m", "-", "+", ".", "v1", "<<", "="]
        {
            assert!(reads_as_text(text), "{text:?}");
        }
    }
}
