//! Amounts of resources as the API writes them: `250m`, `1536Mi`, `1e3`.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Nanos in one unit: no amount is finer.
const NANO: i128 = 1_000_000_000;
/// Larger amounts are cut down to this. It leaves room to add two of them.
const LIMIT: i128 = i128::MAX / 2;

/// How an amount was written, and is written again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `12M`, `5m`.
    #[default]
    DecimalSi,
    /// `12Mi`. At least 1024 and whole, else it is written as [`DecimalSi`](Self::DecimalSi).
    BinarySi,
    /// `12e6`.
    DecimalExponent,
}

/// An amount of a resource: exact down to a billionth, never a floating point number.
///
/// It compares by its amount, whatever its notation. Its text is the API's canonical one: the largest suffix that
/// leaves no fraction. As in Kubernetes, a text that is close enough to canonical (`1.234`, `+5`) is given back as it
/// came.
///
/// ```
/// use arktos_core::quantity::Quantity;
///
/// let memory = Quantity::parse("1.5Gi")?;
/// assert_eq!(memory.to_string(), "1536Mi");
/// assert_eq!(memory.value(), 1_610_612_736);
/// assert_eq!(Quantity::parse("0.25")?.milli(), 250);
/// # Ok::<(), arktos_core::quantity::QuantityError>(())
/// ```
#[derive(Clone, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
    /// The text it was read from, where Kubernetes would write that again.
    text: Option<Box<str>>,
}

/// Why a text is not a quantity. The messages are upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantityError {
    /// It is not a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number is out of range.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// There is no such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Reads an amount. What is finer than a billionth is rounded away from zero; binary amounts end at 2^63-1.
    ///
    /// # Errors
    /// When the text is not a quantity.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let parts = Parts::split(text)?;
        let suffix = Suffix::parse(parts.suffix).ok_or(QuantityError::Suffix)?;
        let digits: Vec<u8> = parts.whole.bytes().chain(parts.fraction.bytes()).map(|digit| digit - b'0').collect();
        let scale = suffix.exponent10 - i64::try_from(parts.fraction.len()).map_err(|_| QuantityError::Number)?;
        let mut nanos = scaled(&digits, suffix.exponent2, scale + 9);
        let mut format = suffix.format;
        if format == Format::BinarySi {
            nanos = nanos.min(i128::from(i64::MAX) * NANO);
            if nanos > 0 && nanos < NANO {
                format = Format::DecimalSi;
            }
        }
        if parts.negative {
            nanos = -nanos;
        }
        let kept = text == "0" || is_kept(&parts, &suffix, &digits, scale);
        let kept = kept.then(|| text.into());
        let large = nanos.abs() >= LIMIT && format != Format::BinarySi;
        Ok(Self { nanos, format, text: kept.or_else(|| large.then(|| large_text(&parts, &digits, scale, format))) })
    }

    /// A whole number, written in decimal.
    #[must_use]
    pub fn from_value(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANO, format: Format::DecimalSi, text: None }
    }

    /// Thousandths, written in decimal.
    #[must_use]
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * (NANO / 1000), format: Format::DecimalSi, text: None }
    }

    /// Bytes, written with binary suffixes.
    #[must_use]
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANO, format: Format::BinarySi, text: None }
    }

    /// The amount rounded up to whole units; saturates.
    #[must_use]
    pub fn value(&self) -> i64 {
        clamp(div_up(self.nanos, NANO))
    }

    /// The amount in thousandths, rounded up; saturates.
    #[must_use]
    pub fn milli(&self) -> i64 {
        clamp(div_up(self.nanos, NANO / 1000))
    }

    /// The amount in billionths.
    #[must_use]
    pub const fn nanos(&self) -> i128 {
        self.nanos
    }

    /// How the amount is written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Whether the amount is zero.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// The sum, in this amount's notation (or the other's when this is zero); saturates.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.combined(other, self.nanos.saturating_add(other.nanos))
    }

    /// The difference, in this amount's notation (or the other's when this is zero); saturates.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.combined(other, self.nanos.saturating_sub(other.nanos))
    }

    /// The amount rounded up (away from zero) to thousandths, as the API keeps the amounts in resource lists.
    #[must_use]
    pub fn rounded_to_milli(&self) -> Self {
        let milli = NANO / 1000;
        if self.nanos % milli == 0 || self.nanos.abs() >= LIMIT {
            return self.clone();
        }
        Self { nanos: div_away(self.nanos, milli) * milli, format: self.format, text: None }
    }

    fn combined(&self, other: &Self, nanos: i128) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: nanos.clamp(-LIMIT, LIMIT), format, text: None }
    }

    fn write_binary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        let mut number = self.nanos / NANO;
        let mut power = 0;
        while number % 1024 == 0 && power + 1 < SUFFIXES.len() {
            number /= 1024;
            power += 1;
        }
        write!(f, "{number}{}", SUFFIXES[power])
    }

    fn write_decimal(&self, f: &mut fmt::Formatter<'_>, exponential: bool) -> fmt::Result {
        const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
        let mut number = self.nanos;
        let mut thousands = 0;
        while number % 1000 == 0 {
            number /= 1000;
            thousands += 1;
        }
        match SUFFIXES.get(thousands) {
            Some(suffix) if !exponential => write!(f, "{number}{suffix}"),
            _ if thousands == 3 => write!(f, "{number}"),
            _ => write!(f, "{number}e{}", i64::try_from(thousands).unwrap_or(0) * 3 - 9),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let binary = self.nanos % NANO == 0 && self.nanos.abs() >= 1024 * NANO;
        match self.format {
            Format::BinarySi if binary => self.write_binary(f),
            Format::BinarySi | Format::DecimalSi => self.write_decimal(f, false),
            Format::DecimalExponent => self.write_decimal(f, true),
        }
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The API takes a bare number for a quantity too.
impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let parsed = match &value {
            serde_json::Value::String(text) => Self::parse(text.trim()),
            serde_json::Value::Number(number) => Self::parse(&number.to_string()),
            serde_json::Value::Null => Ok(Self::default()),
            _ => Err(QuantityError::Format),
        };
        parsed.map_err(de::Error::custom)
    }
}

/// A quantity's text, cut into its parts.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let negative = text.starts_with('-');
        let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, rest) = cut(rest, |byte| byte.is_ascii_digit());
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => cut(rest, |byte| byte.is_ascii_digit()),
            None => ("", rest),
        };
        let (_, exponent) = cut(suffix, |byte| b"eEinumkKMGTP".contains(&byte));
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if !exponent.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        let whole = whole.trim_start_matches('0');
        Ok(Self { negative, whole: if whole.is_empty() { "0" } else { whole }, fraction, suffix })
    }
}

/// An amount that is larger than any that is reckoned with, in its canonical form.
fn large_text(parts: &Parts<'_>, digits: &[u8], scale: i64, format: Format) -> Box<str> {
    let zeros = digits.iter().rev().take_while(|digit| **digit == 0).count();
    let digits: String =
        digits[..digits.len() - zeros].iter().skip_while(|digit| **digit == 0).map(u8::to_string).collect();
    let scale = scale.saturating_add(i64::try_from(zeros).unwrap_or(0));
    let exponent = scale.div_euclid(3) * 3;
    let more = "0".repeat(usize::try_from(scale - exponent).unwrap_or(0));
    let suffix = match (format, exponent) {
        (_, 0) => String::new(),
        (Format::DecimalSi, 3..=18) => {
            ["k", "M", "G", "T", "P", "E"][usize::try_from(exponent / 3 - 1).unwrap_or(0)].to_owned()
        }
        _ => format!("e{exponent}"),
    };
    format!("{}{digits}{more}{suffix}", if parts.negative { "-" } else { "" }).into()
}

fn cut(text: &str, belongs: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|byte| !belongs(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

struct Suffix {
    exponent10: i64,
    exponent2: u32,
    format: Format,
}

impl Suffix {
    fn parse(text: &str) -> Option<Self> {
        let decimal = |exponent10| Some(Self { exponent10, exponent2: 0, format: Format::DecimalSi });
        let binary = |exponent2| Some(Self { exponent10: 0, exponent2, format: Format::BinarySi });
        match text {
            "n" => decimal(-9),
            "u" => decimal(-6),
            "m" => decimal(-3),
            "" => decimal(0),
            "k" => decimal(3),
            "M" => decimal(6),
            "G" => decimal(9),
            "T" => decimal(12),
            "P" => decimal(15),
            "E" => decimal(18),
            "Ki" => binary(10),
            "Mi" => binary(20),
            "Gi" => binary(30),
            "Ti" => binary(40),
            "Pi" => binary(50),
            "Ei" => binary(60),
            _ => {
                let exponent10 = i64::from(text.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?);
                Some(Self { exponent10, exponent2: 0, format: Format::DecimalExponent })
            }
        }
    }
}

/// Whether Kubernetes writes the text again as it came: amounts that fit its short form and look canonical to it.
fn is_kept(parts: &Parts<'_>, suffix: &Suffix, digits: &[u8], scale: i64) -> bool {
    let number = digits.iter().try_fold(0_i64, |sum, digit| sum.checked_mul(10)?.checked_add(i64::from(*digit)));
    let Some(number) = number else { return false };
    if suffix.format == Format::BinarySi {
        let room = 14 - i64::try_from(digits.len()).unwrap_or(i64::MAX) - i64::from(suffix.exponent2) * 3 / 10;
        return parts.fraction.is_empty() && room >= 0 && number & 7 != 0;
    }
    let fits = digits.len() <= 18 && scale >= -9;
    fits && scale % 3 == 0 && !digits.ends_with(&[0, 0, 0]) && digits.first() != Some(&0)
}

/// `digits * 2^exponent2 * 10^exponent10`, a fraction rounded up, cut at [`LIMIT`].
fn scaled(digits: &[u8], exponent2: u32, exponent10: i64) -> i128 {
    let binary = 1_i128 << exponent2;
    let dropped = usize::try_from(-exponent10).unwrap_or(0);
    let (left, right) = digits.split_at(digits.len().saturating_sub(dropped));
    let mut number = left.iter().fold(0, |number, digit| add(times(number, 10), i128::from(*digit)));
    number = times(number, binary);
    for _ in 0..exponent10.clamp(0, 40) {
        number = times(number, 10);
    }
    // The digits that are cut off: long division by 10^dropped, from the last digit on, so that no length of fraction
    // overflows. What the binary power carries over the cut is added, and what is left of it rounds up.
    let mut carry: i128 = 0;
    let mut exact = true;
    for digit in right.iter().rev() {
        let sum = i128::from(*digit) * binary + carry;
        exact &= sum % 10 == 0;
        carry = sum / 10;
    }
    for _ in 0..dropped.saturating_sub(digits.len()).min(40) {
        exact &= carry % 10 == 0;
        carry /= 10;
    }
    add(number, carry + i128::from(!exact))
}

/// Products and sums end at [`LIMIT`], and stay there.
fn times(number: i128, by: i128) -> i128 {
    number.checked_mul(by).map_or(LIMIT, |product| product.min(LIMIT))
}

fn add(number: i128, more: i128) -> i128 {
    number.saturating_add(more).min(LIMIT)
}

fn div_up(number: i128, by: i128) -> i128 {
    number.div_euclid(by) + i128::from(number.rem_euclid(by) != 0)
}

fn div_away(number: i128, by: i128) -> i128 {
    let up = div_up(number.abs(), by);
    if number < 0 { -up } else { up }
}

fn clamp(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        Quantity::parse(text).expect(text).to_string()
    }

    #[test]
    fn amounts_beyond_all_bounds_keep_their_size_in_text() {
        for (text, expected) in [("1e400", "10e399"), ("-1e400", "-10e399")] {
            let large = Quantity::parse(text).expect(text);
            assert_eq!(
                (large.to_string(), large.rounded_to_milli().to_string()),
                (expected.to_owned(), expected.to_owned())
            );
        }
    }

    #[test]
    fn amounts_are_written_with_the_largest_suffix_that_leaves_no_fraction() {
        for (text, expected) in [
            ("0", "0"),
            ("0Ki", "0"),
            ("-0", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("100m", "100m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("512Mi", "512Mi"),
            ("0.5Ki", "512"),
            ("0.3Gi", "322122547200m"),
            ("2000", "2k"),
            ("1000000", "1M"),
            ("1e3", "1e3"),
            ("10e2", "1e3"),
            ("10E5", "1e6"),
            ("1000e0", "1e3"),
            ("0.1n", "1n"),
            ("-0.1n", "-1n"),
            ("1000E", "1e21"),
            ("8Ei", "9223372036854775807"),
            ("-1Gi", "-1Gi"),
            ("12345678901234567890", "12345678901234567890"),
            ("0.000000000000000000001Gi", "1n"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn what_looks_canonical_to_kubernetes_is_kept() {
        for text in ["1.234", "+5", "007", "1E6", "1500Ki", "3", "250m"] {
            assert_eq!(canonical(text), text);
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("1.2.3", QuantityError::Format),
            ("1 Gi", QuantityError::Format),
            ("ä", QuantityError::Format),
            ("1ki", QuantityError::Suffix),
            ("1GB", QuantityError::Format),
            ("1e", QuantityError::Suffix),
            ("1mm", QuantityError::Suffix),
            ("1e99999999999", QuantityError::Suffix),
        ] {
            assert_eq!(Quantity::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn amounts_round_up() {
        let amount = Quantity::parse("1.0001").expect("a quantity");
        assert_eq!((amount.value(), amount.milli()), (2, 1001));
        assert_eq!(amount.rounded_to_milli().to_string(), "1001m");
        assert_eq!(Quantity::parse("-1500m").expect("a quantity").value(), -1);
        assert_eq!(Quantity::parse("1e300").expect("a quantity").value(), i64::MAX);
        assert_eq!(Quantity::parse("0e300").expect("a quantity").value(), 0);
        assert_eq!(Quantity::parse("1e-300").expect("a quantity").nanos(), 1);
    }

    #[test]
    fn sums_take_the_notation_of_the_first() {
        let gi = Quantity::parse("1Gi").expect("a quantity");
        let zero = Quantity::default();
        assert_eq!(zero.plus(&gi).to_string(), "1Gi");
        assert_eq!(gi.plus(&gi).to_string(), "2Gi");
        assert_eq!(gi.minus(&Quantity::parse("1Mi").expect("a quantity")).to_string(), "1023Mi");
        assert_eq!(gi.minus(&gi), zero);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
            let _ = Quantity::parse(&text);
        }

        #[test]
        fn canonical_text_reads_back_and_is_stable(
            sign in "[+-]?", whole in "[0-9]{0,25}", fraction in "(\\.[0-9]{0,15})?",
            suffix in "(n|u|m||k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[+-]?[0-9]{1,3})",
        ) {
            if let Ok(amount) = Quantity::parse(&format!("{sign}{whole}{fraction}{suffix}")) {
                let text = Quantity { text: None, nanos: amount.nanos, format: amount.format }.to_string();
                let again = Quantity::parse(&text).expect("canonical text is a quantity");
                if amount.nanos.abs() < i128::from(i64::MAX) * NANO {
                    prop_assert_eq!(&again, &amount, "{}", &text);
                    prop_assert_eq!(Quantity { text: None, ..again }.to_string(), text);
                }
            }
        }

        #[test]
        fn amounts_order_and_add_as_numbers(a in any::<i64>(), b in any::<i64>()) {
            let (x, y) = (Quantity::from_milli(a), Quantity::from_milli(b));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(&x.plus(&y).minus(&y), &x);
            prop_assert_eq!(Quantity::parse(&x.to_string()).expect("reads back").milli(), a);
        }
    }
}
