//! Why a text is not a moment, as the Go library that the API reads them with says it.

/// What a moment is made of: how the layout names a part, how many digits it has, and the lowest and the highest value.
const PARTS: [(&str, usize, u32, u32, &str); 6] = [
    ("2006", 4, 0, 9999, "year"),
    ("01", 2, 1, 12, "month"),
    ("02", 2, 1, 31, "day"),
    ("15", 2, 0, 23, "hour"),
    ("04", 2, 0, 59, "minute"),
    ("05", 2, 0, 59, "second"),
];

/// What follows each of them.
const BETWEEN: [&str; 5] = ["-", "-", "T", ":", ":"];

/// The fault of a text, which may be fine. Where `micros` is set, the seconds have six digits behind the point.
pub(super) fn fault(text: &str, micros: bool) -> Option<String> {
    let layout = if micros { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    let begin = format!("parsing time \"{text}\"");
    let cannot =
        |rest: &str, part: &str| Some(format!("{begin} as \"{layout}\": cannot parse \"{rest}\" as \"{part}\""));
    let mut rest = text;
    for (index, (part, digits, low, high, name)) in PARTS.into_iter().enumerate() {
        let Some((number, after)) = rest.split_at_checked(digits) else { return cannot(rest, part) };
        let Some(value) = number.parse::<u32>().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            return cannot(rest, part);
        };
        if !(low..=high).contains(&value) {
            return Some(format!("{begin}: {name} out of range"));
        }
        rest = after;
        if let Some(between) = BETWEEN.get(index) {
            let Some(after) = rest.strip_prefix(between) else { return cannot(rest, between) };
            rest = after;
        }
    }
    let fraction = rest.strip_prefix('.').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    if micros && fraction < 6 {
        return cannot(rest, ".000000");
    }
    let taken = if micros { 7 } else { fraction + usize::from(fraction > 0) };
    rest = rest.get(taken..).unwrap_or_default();
    let shifted = |rest: &str| {
        let bytes = rest.as_bytes();
        bytes.len() >= 6
            && matches!(bytes[0], b'+' | b'-')
            && bytes[3] == b':'
            && [1, 2, 4, 5].iter().all(|at| bytes[*at].is_ascii_digit())
    };
    match rest.strip_prefix('Z').or_else(|| rest.get(6..).filter(|_| shifted(rest))) {
        None => cannot(rest, "Z07:00"),
        Some("") => None,
        Some(extra) => Some(format!("{begin}: extra text: \"{extra}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_told_where_it_ceases_to_be_a_moment() {
        let odd = |text: &str, rest: &str, part: &str| {
            let as_layout = "as \"2006-01-02T15:04:05Z07:00\": cannot parse";
            (text.to_owned(), Some(format!("parsing time \"{text}\" {as_layout} \"{rest}\" as \"{part}\"")))
        };
        for (text, why) in [
            odd("x", "x", "2006"),
            odd("", "", "2006"),
            odd("2024-01-01", "", "T"),
            odd("2024-01-01T00:00:00", "", "Z07:00"),
            (
                "2024-13-01T00:00:00Z".to_owned(),
                Some("parsing time \"2024-13-01T00:00:00Z\": month out of range".to_owned()),
            ),
            ("2024-01-01T00:00:00Z".to_owned(), None),
            ("2024-01-01T00:00:00.5+02:00".to_owned(), None),
        ] {
            assert_eq!(fault(&text, false), why, "{text}");
        }
        let whole = fault("2024-01-01T00:00:00Z", true).unwrap_or_default();
        assert!(whole.ends_with("cannot parse \"Z\" as \".000000\""), "{whole}");
        assert_eq!(fault("2024-01-01T00:00:00.000000Z", true), None);
    }
}
