//! JSON for people to read.

/// What a level is moved in by.
const STEP: &[u8] = b"  ";

/// JSON without any space between its parts, indented: the order of fields stays, and what is empty stays on its line.
pub(super) fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        (0..depth).for_each(|_| out.extend_from_slice(STEP));
    };
    for (at, &byte) in json.iter().enumerate() {
        if in_text {
            out.push(byte);
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        let is_empty = |end: u8| json.get(at + 1) == Some(&end);
        match byte {
            b'"' => {
                in_text = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                out.push(byte);
                if is_empty(byte + 2) {
                    continue;
                }
                depth += 1;
                line(&mut out, depth);
            }
            b'}' | b']' => {
                if at.checked_sub(1).and_then(|before| json.get(before)) != Some(&(byte - 2)) {
                    depth = depth.saturating_sub(1);
                    line(&mut out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            b'\n' => {}
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_texts_what_they_say() {
        let json = br#"{"kind":"A","b":{},"a":[1,{"x":"{[\",:"},[]],"c":"\\"}"#;
        let text = String::from_utf8(indented(json)).expect("text");
        let wanted = [
            "{",
            r#"  "kind": "A","#,
            r#"  "b": {},"#,
            r#"  "a": ["#,
            "    1,",
            "    {",
            r#"      "x": "{[\",:""#,
            "    },",
            "    []",
            "  ],",
            r#"  "c": "\\""#,
            "}",
        ];
        assert_eq!(text, wanted.join("\n"));
        let read = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).expect("JSON");
        assert_eq!(read(json), read(text.as_bytes()));
    }
}
