//! Whether a client says that it has a document already (`If-None-Match`), as upstream reads it: of discovery and of
//! OpenAPI it does so in different ways.

use http::HeaderMap;
use http::header::IF_NONE_MATCH;

/// Whether the header is this tag, letter by letter: so it is for discovery.
pub(crate) fn is(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes())
}

/// Whether this tag is among those that the header lists, be they weak or strong, or `*` is, as RFC 9110 says: so it is
/// for OpenAPI. What stands behind something that is no tag counts for nothing.
pub(crate) fn is_listed(headers: &HeaderMap, etag: &str) -> bool {
    let Some(mut rest) = headers.get(IF_NONE_MATCH).map(http::HeaderValue::as_bytes) else { return false };
    loop {
        rest = rest.trim_ascii_start();
        match rest {
            [b',', after @ ..] => rest = after,
            [b'*', ..] => return true,
            _ => match tag(rest) {
                Some((found, _)) if found == etag.as_bytes() => return true,
                Some((_, after)) => rest = after,
                None => return false,
            },
        }
    }
}

/// The tag that bytes begin with, in its quotes and without saying that it is weak, and what is behind it.
fn tag(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let strong = bytes.strip_prefix(b"W/").unwrap_or(bytes);
    let inside = strong.strip_prefix(b"\"")?;
    let length = inside.iter().position(|byte| !matches!(*byte, 0x21 | 0x23..=0x7e | 0x80..))?;
    (inside.get(length) == Some(&b'"')).then(|| strong.split_at(length + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_whole_header_or_one_of_a_list() {
        for (header, whole, listed) in [
            ("\"a\"", true, true),
            ("\"b\"", false, false),
            ("W/\"a\"", false, true),
            ("\"b\", \"a\"", false, true),
            (" ,\"b\",,W/\"a\"", false, true),
            ("\"b,\"a\"", false, false),
            ("b, \"a\"", false, false),
            ("\"b c\", \"a\"", false, false),
            ("*", false, true),
            ("\"b\", *", false, true),
            ("a", false, false),
            ("\"a", false, false),
            ("w/\"a\"", false, false),
            ("", false, false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, header.parse().expect("a value"))]);
            assert_eq!((is(&headers, "\"a\""), is_listed(&headers, "\"a\"")), (whole, listed), "{header}");
        }
        assert!(!is(&HeaderMap::new(), "\"a\"") && !is_listed(&HeaderMap::new(), "\"a\""));
    }
}
