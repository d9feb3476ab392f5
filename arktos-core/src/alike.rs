//! Objects that are alike: one is kept as what it differs in from another.
//!
//! Two runs of JSON are read side by side. Where they part, what is left of the text on either side is left out and put
//! in its place, and both go on at the next quote. What the same hand made for several tenants, or from the same
//! template, differs in a few texts (a name, a uid, times, a namespace) and in nothing else.
//!
//! ```text
//!   length │ (bytes that are the same, bytes that are left out, bytes in their place)*     the rest is the same
//! ```

use crate::packed::{Input, write_bytes, write_length};

/// What bytes differ in from a sample; none where that is not much shorter.
pub(crate) fn differences(sample: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() / 4);
    write_length(&mut out, bytes.len());
    let (mut theirs, mut ours) = (sample, bytes);
    loop {
        let same = common(theirs, ours);
        let (left_out, instead) = (theirs.get(same..)?, ours.get(same..)?);
        if left_out.is_empty() && instead.is_empty() {
            return Some(out);
        }
        // Where one has come to its end, all that is left of the other differs.
        let end = |rest: &[u8]| match left_out.is_empty() || instead.is_empty() {
            true => rest.len(),
            false => rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len()),
        };
        let (left_out, instead) = (end(left_out), instead.get(..end(instead))?);
        write_length(&mut out, same);
        write_length(&mut out, left_out);
        write_bytes(&mut out, instead);
        if out.len() > bytes.len() / 2 {
            return None;
        }
        (theirs, ours) = (theirs.get(same + left_out..)?, ours.get(same + instead.len()..)?);
    }
}

/// How many bytes two runs have in common from their beginning on.
fn common(one: &[u8], other: &[u8]) -> usize {
    const AT_ONCE: usize = 16;
    let chunks = one.chunks_exact(AT_ONCE).zip(other.chunks_exact(AT_ONCE));
    let whole = chunks.take_while(|(one, other)| one == other).count() * AT_ONCE;
    let rest = one.iter().zip(other).skip(whole);
    whole + rest.take_while(|(one, other)| one == other).count()
}

/// How many bytes they are.
pub(crate) fn length(differences: &[u8]) -> usize {
    number(&mut Input(differences)).unwrap_or(0)
}

/// Writes the bytes that differ so from a sample.
pub(crate) fn write(out: &mut Vec<u8>, sample: &[u8], differences: &[u8]) {
    let (mut input, mut rest) = (Input(differences), sample);
    number(&mut input);
    while let Some(next) = next(&mut input) {
        let (same, left_out, instead) = next;
        out.extend_from_slice(rest.get(..same).unwrap_or_default());
        out.extend_from_slice(instead);
        rest = rest.get(same + left_out..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

fn next<'a>(input: &mut Input<'a>) -> Option<(usize, usize, &'a [u8])> {
    Some((number(input)?, number(input)?, input.bytes()?))
}

fn number(input: &mut Input<'_>) -> Option<usize> {
    usize::try_from(input.number()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = r#""name":"kube-root-ca.crt","uid":"f3d0"},"data":{"ca.crt":"-----BEGIN CERTIFICATE-----"}}"#;

    fn again(sample: &str, text: &str) -> Option<String> {
        let differences = differences(sample.as_bytes(), text.as_bytes())?;
        assert_eq!(length(&differences), text.len());
        let mut out = Vec::new();
        write(&mut out, sample.as_bytes(), &differences);
        Some(String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn what_is_alike_is_kept_as_its_differences() {
        let other = SAMPLE.replace("f3d0", "a-longer-uid");
        let kept = differences(SAMPLE.as_bytes(), other.as_bytes()).expect("alike");
        assert!(kept.len() < 20, "{}", kept.len());
        assert_eq!(again(SAMPLE, &other).as_deref(), Some(&*other));
        assert_eq!(again(SAMPLE, SAMPLE).as_deref(), Some(SAMPLE));
    }

    #[test]
    fn what_is_not_alike_is_not() {
        assert_eq!(again(SAMPLE, r#"["name","x"]"#), None);
        assert_eq!(again(SAMPLE, &SAMPLE.replace(|letter: char| letter.is_alphabetic(), "x")), None);
        assert_eq!(again(SAMPLE, ""), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(texts in proptest::collection::vec("[a-z\\\\]{0,40}", 1..12), edits in any::<u16>()) {
            let sample = texts.join("\"");
            let edited = texts.iter().enumerate().map(|(at, text)| match edits >> at & 1 {
                1 => format!("{text}é"),
                _ => text.clone(),
            });
            let edited = edited.collect::<Vec<_>>().join("\"");
            if let Some(found) = again(&sample, &edited) {
                prop_assert_eq!(found, edited);
            }
        }
    }
}
