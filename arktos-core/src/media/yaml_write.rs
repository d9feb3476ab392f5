//! A tree as YAML, as the API's clients get it from a Kubernetes server: block style, keys in their natural order,
//! texts plain where they read back as texts, and folded where they pass the width of a line.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::yaml_words::reads_as_text;

/// Where a line is folded.
const WIDTH: usize = 80;
/// The longest key that stands before its colon on one line.
const SIMPLE_KEY_MAX: usize = 128;

/// Writes a tree as one YAML document.
#[must_use]
pub fn write(value: &Value) -> String {
    let mut writer = Writer { out: String::new(), column: 0 };
    match value {
        Value::Object(fields) if !fields.is_empty() => writer.map(fields, 0),
        Value::Array(items) if !items.is_empty() => writer.list(items, 0),
        scalar => writer.scalar(scalar, 0),
    }
    writer.end_line();
    writer.out
}

struct Writer {
    out: String,
    /// How many characters the line has so far.
    column: usize,
}

impl Writer {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn put_char(&mut self, letter: char) {
        self.out.push(letter);
        self.column += 1;
    }

    /// Ends the line, unless nothing stands on it.
    fn end_line(&mut self) {
        if self.column > 0 {
            self.break_line();
        }
    }

    fn break_line(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    /// Begins a line so far to the right.
    fn line(&mut self, indent: usize) {
        self.end_line();
        self.pad(indent);
    }

    fn pad(&mut self, indent: usize) {
        while self.column < indent {
            self.put_char(' ');
        }
    }

    /// A map, whose first key stands where the writer is: at the beginning of a line or after a dash.
    fn map(&mut self, fields: &Map<String, Value>, indent: usize) {
        let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
        sorted.sort_by(|one, other| natural_order(one.0, other.0));
        for (at, (key, value)) in sorted.into_iter().enumerate() {
            if at > 0 {
                self.line(indent);
            }
            if key.len() <= SIMPLE_KEY_MAX && !Shape::of(key).has_breaks {
                self.text(key, indent, true);
                self.put_char(':');
            } else {
                self.put("? ");
                self.text(key, indent + 2, false);
                self.line(indent);
                self.put_char(':');
            }
            self.value(value, indent);
        }
    }

    /// What a key has.
    fn value(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                self.line(indent + 2);
                self.map(fields, indent + 2);
            }
            Value::Array(items) if !items.is_empty() => {
                // The items of a key's list stand below the key.
                self.line(indent);
                self.list(items, indent);
            }
            scalar => {
                self.put_char(' ');
                self.scalar(scalar, indent + 2);
            }
        }
    }

    fn list(&mut self, items: &[Value], indent: usize) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.line(indent);
            }
            self.put("- ");
            match item {
                Value::Object(fields) if !fields.is_empty() => self.map(fields, indent + 2),
                Value::Array(items) if !items.is_empty() => self.list(items, indent + 2),
                scalar => self.scalar(scalar, indent + 2),
            }
        }
    }

    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(flag) => self.put(if *flag { "true" } else { "false" }),
            Value::Number(number) => self.put(&number_text(number)),
            Value::String(text) => self.text(text, indent, false),
            Value::Array(_) => self.put("[]"),
            Value::Object(_) => self.put("{}"),
        }
    }

    /// A text, in the first of the styles that can say it. Its further lines stand at `indent`.
    fn text(&mut self, text: &str, indent: usize, is_key: bool) {
        let shape = Shape::of(text);
        if text.contains('\n') {
            return match shape.block && !is_key {
                true => self.literal(text, indent),
                false => self.double_quoted(text, indent, is_key),
            };
        }
        if !reads_as_text(text) {
            return self.double_quoted(text, indent, is_key);
        }
        match shape {
            Shape { plain: true, .. } if !(text.is_empty() && is_key) => self.folded(text, indent, is_key, false),
            Shape { single_quoted: true, .. } => self.folded(text, indent, is_key, true),
            _ => self.double_quoted(text, indent, is_key),
        }
    }

    /// A text as it is, or between single quotes. None has line breaks of its own here but rare ones.
    fn folded(&mut self, text: &str, indent: usize, is_key: bool, quoted: bool) {
        if quoted {
            self.put_char('\'');
        }
        let letters: Vec<char> = text.chars().collect();
        let (mut after_space, mut after_break) = (false, false);
        for (at, letter) in letters.iter().enumerate() {
            let inside = !quoted || at > 0 && at + 1 < letters.len();
            if *letter == ' ' {
                let next_is_space = letters.get(at + 1) == Some(&' ');
                if !is_key && !after_space && self.column > WIDTH && inside && !next_is_space {
                    self.line(indent);
                } else {
                    self.put_char(' ');
                }
                (after_space, after_break) = (true, false);
            } else if is_break(*letter) {
                self.out.push(*letter);
                self.column = 0;
                (after_space, after_break) = (false, true);
            } else {
                if after_break {
                    self.pad(indent);
                }
                if quoted && *letter == '\'' {
                    self.put_char('\'');
                }
                self.put_char(*letter);
                (after_space, after_break) = (false, false);
            }
        }
        if quoted {
            self.put_char('\'');
        }
    }

    fn double_quoted(&mut self, text: &str, indent: usize, is_key: bool) {
        self.put_char('"');
        let letters: Vec<char> = text.chars().collect();
        let mut after_space = false;
        for (at, letter) in letters.iter().enumerate() {
            match letter {
                ' ' => {
                    let inside = at > 0 && at + 1 < letters.len();
                    if !is_key && !after_space && self.column > WIDTH && inside {
                        self.line(indent);
                        if letters.get(at + 1) == Some(&' ') {
                            self.put_char('\\');
                        }
                    } else {
                        self.put_char(' ');
                    }
                    after_space = true;
                }
                letter if !is_printable(*letter) || is_break(*letter) || matches!(letter, '"' | '\\') => {
                    self.put(&escaped(*letter));
                    after_space = false;
                }
                letter => {
                    self.put_char(*letter);
                    after_space = false;
                }
            }
        }
        self.put_char('"');
    }

    /// A text of several lines, as it is.
    fn literal(&mut self, text: &str, indent: usize) {
        self.put_char('|');
        if text.starts_with(|first| first == ' ' || is_break(first)) {
            self.put_char('2');
        }
        let body = text.trim_end_matches(is_break);
        match text[body.len()..].chars().count() {
            0 => self.put_char('-'),
            1 if !body.is_empty() => {}
            _ => self.put_char('+'),
        }
        self.break_line();
        for letter in text.chars() {
            if letter == '\n' {
                self.break_line();
            } else if is_break(letter) {
                self.out.push(letter);
                self.column = 0;
            } else {
                if self.column == 0 {
                    self.pad(indent);
                }
                self.put_char(letter);
            }
        }
    }
}

/// In which styles a text can be said.
struct Shape {
    plain: bool,
    single_quoted: bool,
    block: bool,
    has_breaks: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        if text.is_empty() {
            return Self { plain: false, single_quoted: true, block: false, has_breaks: false };
        }
        let letters: Vec<char> = text.chars().collect();
        let blank = |at: usize| letters.get(at).is_none_or(|letter| matches!(letter, ' ' | '\t') || is_break(*letter));
        let (mut indicator, mut special, mut has_breaks) = (false, false, false);
        let (mut break_space, mut space_break) = (false, false);
        indicator |= text.starts_with("---") || text.starts_with("...");
        for (at, letter) in letters.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| letters[before]);
            indicator |= match letter {
                '#' => at == 0 || blank(at - 1),
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => at == 0,
                '?' | '-' => at == 0 && blank(1),
                ':' => blank(at + 1),
                _ => false,
            };
            special |= !is_printable(*letter) || *letter != '\n' && is_break(*letter);
            if *letter == ' ' {
                break_space |= before.is_some_and(is_break);
            } else if is_break(*letter) {
                has_breaks = true;
                space_break |= before == Some(' ');
            }
        }
        let edge = |letter: Option<&char>| letter.is_some_and(|letter| *letter == ' ' || is_break(*letter));
        let trailing_space = letters.last() == Some(&' ');
        let unsayable = space_break || special;
        Self {
            plain: !(unsayable || indicator || has_breaks || edge(letters.first()) || edge(letters.last())),
            single_quoted: !(unsayable || break_space),
            block: !(unsayable || trailing_space),
            has_breaks,
        }
    }
}

fn is_break(letter: char) -> bool {
    matches!(letter, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether a letter is said as it is. Those beyond the first plane are not.
fn is_printable(letter: char) -> bool {
    matches!(letter, '\n' | ' '..='~' | '\u{a0}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

fn escaped(letter: char) -> String {
    let name = match letter {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        letter => {
            return match u32::from(letter) {
                code @ ..=0xff => format!("\\x{code:02X}"),
                code @ ..=0xffff => format!("\\u{code:04X}"),
                code => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{name}")
}

/// A number as Go's shortest form says it. What is whole was read back as such.
fn number_text(number: &Number) -> String {
    /// Beyond what 64 bits hold.
    const HUGE: f64 = 18_446_744_073_709_551_616.0;
    if number.is_i64() || number.is_u64() {
        return number.to_string();
    }
    let Some(float) = number.as_f64() else { return number.to_string() };
    if float.fract() == 0.0 && float.abs() < HUGE {
        return format!("{:.0}", float + 0.0); // no "-0"
    }
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(power @ (..-4 | 6..)) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", power.unsigned_abs())
        }
        _ => format!("{float}"),
    }
}

/// The order of keys: letters by their code, numbers in them by their value, and letters behind all else.
fn natural_order(one: &str, other: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut in_number = false;
    for at in 0..left.len().min(right.len()) {
        let (a, b) = (left[at], right[at]);
        if a == b {
            in_number = a.is_ascii_digit();
            continue;
        }
        return match (a.is_alphabetic(), b.is_alphabetic()) {
            (true, true) => a.cmp(&b),
            // A number goes on, so the one that has ended is the smaller one.
            (a_letter, b_letter) if a_letter != b_letter => {
                if a_letter == in_number {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            _ => by_number(&left, &right, at),
        };
    }
    left.len().cmp(&right.len())
}

/// Compares what follows as numbers, however long, and else letter by letter.
fn by_number(left: &[char], right: &[char], at: usize) -> Ordering {
    let is_digit = |letter: &&char| letter.is_ascii_digit();
    let begun = left[..at].iter().rev().take_while(is_digit).any(|letter| *letter != '0');
    let number = |letters: &[char]| -> (Vec<char>, usize) {
        let digits: Vec<char> = letters[at..].iter().take_while(is_digit).copied().collect();
        let zeros = if begun { 0 } else { digits.iter().take_while(|digit| **digit == '0').count() };
        (digits[zeros..].to_vec(), digits.len())
    };
    let ((one, length), (other, other_length)) = (number(left), number(right));
    let by_value = one.len().cmp(&other.len()).then_with(|| one.cmp(&other));
    by_value.then(length.cmp(&other_length)).then_with(|| left[at].cmp(&right[at]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_have_one_order_however_long_their_numbers_are() {
        let mut seed = 7_u64;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap_or(0) % below
        };
        let letters: Vec<char> = "0019ab.-Ⅳ٣".chars().collect();
        let keys: Vec<String> =
            (0..80).map(|_| (0..=next(30)).map(|_| letters[next(letters.len())]).collect()).collect();
        for (a, b, c) in keys.iter().flat_map(|a| keys.iter().map(move |b| (a, b))).flat_map(|(a, b)| {
            let all = &keys;
            all.iter().map(move |c| (a, b, c))
        }) {
            assert_eq!(natural_order(a, b), natural_order(b, a).reverse(), "{a} {b}");
            let rises = natural_order(a, b).is_le() && natural_order(b, c).is_le();
            assert!(!rises || natural_order(a, c).is_le(), "{a} {b} {c}");
        }
        assert!(natural_order("a2", "a10").is_lt() && natural_order("a01", "a2").is_lt());
    }

    #[test]
    fn trees_are_written_in_blocks() {
        let tree = json!({
            "kind": "Pod",
            "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}], "command": ["sh", "-c"]}], "n": {}},
            "a": [[1, 2], [], [{"x": 1, "y": [true]}]],
        });
        let written = "a:\n- - 1\n  - 2\n- []\n- - x: 1\n    \"y\":\n    - true\nkind: Pod\nspec:\n  containers:\n  - command:\n    \
                       - sh\n    - -c\n    name: a\n    ports:\n    - containerPort: 80\n  \"n\": {}\n";
        assert_eq!(write(&tree), written);
        assert_eq!(super::super::yaml::parse(written.as_bytes()).expect("YAML"), tree);
    }

    #[test]
    fn texts_are_quoted_where_they_would_be_read_as_something_else() {
        for (text, written) in [
            ("true", "\"true\""),
            ("0x1f", "\"0x1f\""),
            ("2001-01-01", "\"2001-01-01\""),
            ("1:30", "\"1:30\""),
            ("", "\"\""),
            ("x: y", "'x: y'"),
            ("it's #1 ", "'it''s #1 '"),
            ("a:b", "a:b"),
            ("a #b", "'a #b'"),
            ("\t", "\"\\t\""),
            ("\u{7}\u{1f389}", "\"\\a\\U0001F389\""),
            ("a\nb\n", "|\n  a\n  b"),
            ("a\nb", "|-\n  a\n  b"),
            ("a\n\n", "|+\n  a\n"),
            (" a\nb", "|2-\n   a\n  b"),
            ("a \nb", "\"a \\nb\""),
        ] {
            assert_eq!(write(&json!({"v": text})), format!("v: {written}\n"), "{text:?}");
            let read = super::super::yaml::parse(write(&json!({"v": text})).as_bytes()).expect("YAML");
            assert_eq!(read, json!({"v": text}));
        }
    }

    #[test]
    fn long_lines_are_folded_at_spaces() {
        let long = "word ".repeat(20) + "end";
        let written = write(&json!({ "v": long }));
        assert_eq!(written.lines().map(str::len).collect::<Vec<_>>(), [82, 25]);
        assert_eq!(super::super::yaml::parse(written.as_bytes()).expect("YAML"), json!({ "v": long }));
    }

    #[test]
    fn keys_stand_in_their_natural_order() {
        let written = write(&json!({"a10": 0, "a9": 0, "a": 0, ".": 0, "f:b": 0, "Z": 0, "k:{\"a\":1}": 0}));
        let keys: Vec<&str> = written.lines().map(|line| line.trim_end_matches(": 0")).collect();
        assert_eq!(keys, [".", "Z", "a", "a9", "a10", "f:b", "k:{\"a\":1}"]);
    }

    #[test]
    fn numbers_are_written_shortest() {
        for (number, written) in [
            (json!(1.5), "1.5"),
            (json!(1e21), "1e+21"),
            (json!(1e-7), "1e-07"),
            (json!(3), "3"),
            (json!(-0.0), "0"),
            (json!(1e6), "1000000"),
            (json!(1_234_567.5), "1.2345675e+06"),
        ] {
            assert_eq!(write(&number), format!("{written}\n"));
        }
    }
}
