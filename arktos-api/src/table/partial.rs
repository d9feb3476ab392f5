//! Objects of which only the metadata is sent.

use arktos_core::{Dialect, Revision};
use arktos_store::Stored;

use super::partial_type;
use crate::negotiate::MetaVersion;

/// Writes an object's metadata, as a `PartialObjectMetadata`. Nothing is decoded.
pub fn write_partial(out: &mut Vec<u8>, stored: &Stored, version: MetaVersion, dialect: Dialect) {
    let (tail, start) = (stored.object.tail(), out.len());
    stored.object.head(out, Some(&partial_type(version)), stored.path.tenant(), stored.revision, dialect);
    if stored.revision == Revision::ZERO {
        without_revision(out, start); // a dry run has none
    }
    out.extend_from_slice(&tail[..metadata_length(&tail)]);
    out.push(b'}');
}

/// Takes the revision out of what begins at `start`.
fn without_revision(out: &mut Vec<u8>, start: usize) {
    const NONE: &[u8] = br#""resourceVersion":"0","#;
    if let Some(at) = out[start..].windows(NONE.len()).position(|window| window == NONE) {
        out.drain(start + at..start + at + NONE.len());
    }
}

/// How many of these bytes belong to an object that has been opened before them, its closing brace included.
fn metadata_length(tail: &[u8]) -> usize {
    let (mut depth, mut in_text, mut escaped) = (1_usize, false, false);
    for (at, byte) in tail.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tail.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_texts_do_not_count() {
        let tail = br#""name":"}","labels":{"a\"}":"\\"},"l":[{}]},"spec":{}}"#;
        let end = metadata_length(tail);
        assert_eq!(&tail[end..], br#","spec":{}}"#);
    }
}
