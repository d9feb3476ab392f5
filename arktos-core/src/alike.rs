//! Objects that are alike: one is kept as what it differs in from another.
//!
//! Two runs of JSON are read side by side. Where they part, what is left of the text on either side is left out and put
//! in its place, and both go on at the next quote. What the same hand made for several tenants, or from the same
//! template, differs in a few texts (a name, times, a namespace) and in nothing else. That each has a uid of its own is
//! no difference: whoever keeps these bytes knows it, and it is put where the sample has its own.
//!
//! ```text
//!   length │ place of the uid │ (bytes that are the same, bytes left out, bytes in their place)* │ the rest is same
//! ```

use std::ops::Range;

use crate::packed::{Input, write_bytes, write_length};

/// What objects are like: bytes, and the uid that is somewhere in them.
#[derive(Clone, Copy)]
pub(crate) struct Sample<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) uid: &'a str,
}

/// A sample with another uid at the place of its own.
#[derive(Clone, Copy)]
struct Renamed<'a> {
    bytes: &'a [u8],
    place: usize,
    uid: &'a [u8],
}

/// What the bytes of an object with a uid differ in from a sample; none where that is not much shorter.
pub(crate) fn differences(sample: Sample<'_>, bytes: &[u8], uid: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() / 4);
    write_length(&mut out, bytes.len());
    let place = sample.place(uid);
    write_length(&mut out, place);
    let mut renamed = Vec::with_capacity(sample.bytes.len());
    let all = 0..sample.bytes.len();
    Renamed { bytes: sample.bytes, place, uid: uid.as_bytes() }.write(&mut renamed, all);
    let (mut theirs, mut ours) = (&*renamed, bytes);
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

impl Sample<'_> {
    /// Where its uid is, for one of the same length to be put there; the end of its bytes where that cannot be.
    fn place(&self, uid: &str) -> usize {
        let end = self.bytes.len();
        if self.uid.len() != uid.len() {
            return end;
        }
        let is_uid = |at: &usize| self.bytes.get(*at..).is_some_and(|rest| rest.starts_with(self.uid.as_bytes()));
        let mut texts = self.bytes.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| at + 1);
        texts.find(is_uid).unwrap_or(end)
    }
}

impl Renamed<'_> {
    /// Writes a range of its bytes.
    fn write(&self, out: &mut Vec<u8>, range: Range<usize>) {
        let Range { start, end } = range;
        let within = |at: usize| at.min(end).max(start);
        let (first, last) = (within(self.place), within(self.place.saturating_add(self.uid.len())));
        out.extend_from_slice(self.bytes.get(start..first).unwrap_or_default());
        if first < last {
            let uid = self.uid.get(first - self.place..last - self.place);
            out.extend_from_slice(uid.unwrap_or_default());
        }
        out.extend_from_slice(self.bytes.get(last..end).unwrap_or_default());
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

/// Writes the bytes of the object of a uid that differ so from a sample.
pub(crate) fn write(out: &mut Vec<u8>, sample: &[u8], differences: &[u8], uid: &str) {
    let mut input = Input(differences);
    number(&mut input);
    let place = number(&mut input).unwrap_or(sample.len());
    let (sample, mut at) = (Renamed { bytes: sample, place, uid: uid.as_bytes() }, 0);
    while let Some((same, left_out, instead)) = next(&mut input) {
        sample.write(out, at..at + same);
        out.extend_from_slice(instead);
        at += same + left_out;
    }
    sample.write(out, at..sample.bytes.len());
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

    const UID: &str = "f3d0";
    const SAMPLE: &str = r#""name":"kube-root-ca.crt","uid":"f3d0"},"data":{"ca.crt":"-----BEGIN CERTIFICATE-----"}}"#;

    fn kept(sample: &str, text: &str, uid: &str) -> Option<Vec<u8>> {
        differences(Sample { bytes: sample.as_bytes(), uid: UID }, text.as_bytes(), uid)
    }

    fn again(sample: &str, text: &str, uid: &str) -> Option<String> {
        let differences = kept(sample, text, uid)?;
        assert_eq!(length(&differences), text.len());
        let mut out = Vec::new();
        write(&mut out, sample.as_bytes(), &differences, uid);
        Some(String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn what_is_alike_is_kept_as_its_differences() {
        for (uid, most) in [("a-longer-uid", 20), ("77b2", 3), (UID, 3)] {
            let other = SAMPLE.replace(UID, uid);
            let kept = kept(SAMPLE, &other, uid).expect("alike");
            assert!(kept.len() < most, "{uid}: {}", kept.len());
            assert_eq!(again(SAMPLE, &other, uid).as_deref(), Some(&*other));
        }
    }

    #[test]
    fn an_object_need_not_have_its_uid_where_the_sample_has_it() {
        for text in [SAMPLE, &SAMPLE.replace(UID, "f377"), &SAMPLE.replace(UID, "77d0"), &SAMPLE.replace(UID, "")] {
            assert_eq!(again(SAMPLE, text, "77b2").as_deref(), Some(text));
            assert_eq!(again(SAMPLE, text, "").as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_not_alike_is_not() {
        assert_eq!(again(SAMPLE, r#"["name","x"]"#, UID), None);
        assert_eq!(again(SAMPLE, &SAMPLE.replace(|letter: char| letter.is_alphabetic(), "x"), UID), None);
        assert_eq!(again(SAMPLE, "", UID), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(
            texts in proptest::collection::vec("[a-z\\\\]{0,40}|f3d0", 1..12),
            edits in any::<u16>(),
            uid in "[a-f0-9]{0,5}|77b2",
        ) {
            let sample = texts.join("\"");
            let edited = texts.iter().enumerate().map(|(at, text)| match edits >> at & 1 {
                1 if text == UID => uid.clone(),
                1 => format!("{text}é"),
                _ => text.clone(),
            });
            let edited = edited.collect::<Vec<_>>().join("\"");
            if let Some(found) = again(&sample, &edited, &uid) {
                prop_assert_eq!(found, edited);
            }
        }
    }
}
