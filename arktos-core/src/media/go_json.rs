//! What the Go JSON decoder says of bytes that are not JSON: clients and recorded answers know its words.

/// Why bytes are not one JSON value, in the Go decoder's words; absent when they are one.
#[must_use]
pub fn go_json_fault(bytes: &[u8]) -> Option<String> {
    let mut scanner = Scanner { bytes, at: 0, depth: 0 };
    let scanned = scanner.value("looking for beginning of value").and_then(|()| {
        scanner.space();
        if scanner.at == bytes.len() { Ok(()) } else { Err(scanner.invalid("after top-level value")) }
    });
    scanned.err()
}

/// Nesting beyond which this one gives up (the decoder itself at 10,000; no body that deep is read).
const DEPTH_MAX: usize = 500;

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn invalid(&self, place: &str) -> String {
        match self.peek() {
            // What is begun is ended with a space.
            None if ["in literal", "in numeric", "in exponent", "after decimal", "in string escape", "in \\u"]
                .iter()
                .any(|begun| place.starts_with(begun)) =>
            {
                format!("invalid character ' ' {place}")
            }
            None => "unexpected end of JSON input".to_owned(),
            Some(b'\'') => format!(r"invalid character '\'' {place}"),
            Some(b'"') => format!("invalid character '\"' {place}"),
            Some(byte @ (0x20..0x7f | 0xa1..=0xac | 0xae..)) => {
                let shown = char::from(byte);
                format!(
                    "invalid character '{}' {place}",
                    if shown == '\\' { "\\\\".to_owned() } else { shown.to_string() }
                )
            }
            Some(byte) => {
                let shown = match byte {
                    b'\n' => "\\n".to_owned(),
                    b'\r' => "\\r".to_owned(),
                    b'\t' => "\\t".to_owned(),
                    0x07 => "\\a".to_owned(),
                    0x08 => "\\b".to_owned(),
                    0x0b => "\\v".to_owned(),
                    0x0c => "\\f".to_owned(),
                    0x80.. => format!("\\u{byte:04x}"),
                    _ => format!("\\x{byte:02x}"),
                };
                format!("invalid character '{shown}' {place}")
            }
        }
    }

    /// Takes one of these bytes.
    fn take(&mut self, wanted: &[u8], place: &str) -> Result<u8, String> {
        match self.peek().filter(|byte| wanted.contains(byte)) {
            Some(byte) => {
                self.at += 1;
                Ok(byte)
            }
            None => Err(self.invalid(place)),
        }
    }

    fn value(&mut self, place: &str) -> Result<(), String> {
        self.space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(byte) if byte == b'-' || byte.is_ascii_digit() => self.number(),
            _ => Err(self.invalid(place)),
        }
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Result<(), String>) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("exceeded max depth".to_owned());
        }
        self.at += 1;
        inner(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self) -> Result<(), String> {
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.invalid("looking for beginning of object key string"));
            }
            self.string()?;
            self.space();
            self.take(b":", "after object key")?;
            self.value("looking for beginning of value")?;
            self.space();
            if self.take(b",}", "after object key:value pair")? == b'}' {
                return Ok(());
            }
        }
    }

    fn array(&mut self) -> Result<(), String> {
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value("looking for beginning of value")?;
            self.space();
            if self.take(b",]", "after array element")? == b']' {
                return Ok(());
            }
        }
    }

    fn string(&mut self) -> Result<(), String> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    if self.take(b"bfnrt\\/\"u", "in string escape code")? == b'u' {
                        for _ in 0..4 {
                            self.take(b"0123456789abcdefABCDEF", "in \\u hexadecimal character escape")?;
                        }
                    }
                }
                Some(0..0x20) | None => return Err(self.invalid("in string literal")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), String> {
        self.at += 1;
        for expected in word.bytes().skip(1) {
            let place = format!("in literal {word} (expecting '{}')", char::from(expected));
            self.take(&[expected], &place)?;
        }
        Ok(())
    }

    fn digits(&mut self, place: &str) -> Result<(), String> {
        self.take(b"0123456789", place)?;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_in_the_decoders_words() {
        for (text, told) in [
            ("{", "unexpected end of JSON input"),
            ("", "unexpected end of JSON input"),
            ("[{]", "invalid character ']' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("trux", "invalid character 'x' in literal true (expecting 'e')"),
            ("hello", "invalid character 'h' looking for beginning of value"),
            ("-", "invalid character ' ' in numeric literal"),
            ("tru", "invalid character ' ' in literal true (expecting 'e')"),
            ("\"a", "unexpected end of JSON input"),
            ("\0", "invalid character '\\x00' looking for beginning of value"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ] {
            assert_eq!(go_json_fault(text.as_bytes()).as_deref(), Some(told), "{text}");
        }
        for text in ["{}", " [1, -2.5e+7, \"a\\u00e9\", null, {\"a\": [true]}] ", "0"] {
            assert_eq!(go_json_fault(text.as_bytes()), None, "{text}");
        }
        assert_eq!(go_json_fault("[".repeat(200_000).as_bytes()).as_deref(), Some("exceeded max depth"));
    }
}
