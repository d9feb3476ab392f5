//! Documents as they are kept: compressed. They are large, say the same again and again, and few ask for them.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::{empty, set};
use crate::body::Body;
use crate::discovery::response;
use crate::negotiate;

/// A document.
#[derive(Clone)]
pub(super) struct Packed {
    gzip: Bytes,
    hash: String,
}

impl Packed {
    /// A document, named by its hash.
    pub(super) fn new(body: &[u8]) -> Self {
        Self::named(body, Sha256::digest(body).iter().map(|byte| format!("{byte:02X}")).collect())
    }

    /// A document that is named by another's hash.
    pub(super) fn named(body: &[u8], hash: String) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Memory takes whatever is written.
        let written = encoder.write_all(body).and_then(|()| encoder.finish()).unwrap_or_default();
        Self { gzip: Bytes::from(written), hash }
    }

    /// Its name.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// What it says.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        // What was packed right here is whole.
        drop(GzDecoder::new(&*self.gzip).read_to_end(&mut body));
        body
    }

    /// The document, unless the client says that it has it.
    pub(super) fn answer(&self, content_type: &str, headers: &HeaderMap) -> Response<Body> {
        let etag = format!("\"{}\"", self.hash);
        let known = negotiate::header_text(headers, IF_NONE_MATCH);
        let encodings = negotiate::header_text(headers, ACCEPT_ENCODING);
        let mut answer = if known.split(',').any(|tag| matches!(tag.trim(), "*") || tag.trim() == etag) {
            empty(StatusCode::NOT_MODIFIED)
        } else if takes_gzip(&encodings) {
            let mut answer = response(StatusCode::OK, content_type, self.gzip.clone());
            set(&mut answer, CONTENT_ENCODING, "gzip");
            answer
        } else {
            response(StatusCode::OK, content_type, self.body())
        };
        set(&mut answer, ETAG, &etag);
        answer
    }
}

/// Whether an `Accept-Encoding` takes what is compressed.
fn takes_gzip(header: &str) -> bool {
    header.split(',').any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.trim().parse::<f32>().ok());
        matches!(name.trim(), "gzip" | "*") && weight.is_some_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_there_compressed_and_not() {
        let packed = Packed::new(b"a document");
        assert_eq!(packed.body(), b"a document");
        let ask = |name: http::HeaderName, value: &str| {
            packed.answer("text/plain", &HeaderMap::from_iter([(name, value.parse().expect("a value"))]))
        };
        for (header, compressed) in [("gzip, br", true), ("*", true), ("gzip;q=0", false), ("br", false), ("", false)] {
            let answer = ask(ACCEPT_ENCODING, header);
            assert_eq!(answer.headers().contains_key(CONTENT_ENCODING), compressed, "{header}");
        }
        let tag = format!("\"0\", \"{}\"", packed.hash());
        assert_eq!(ask(IF_NONE_MATCH, &tag).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask(IF_NONE_MATCH, "\"0\"").status(), StatusCode::OK);
    }
}
