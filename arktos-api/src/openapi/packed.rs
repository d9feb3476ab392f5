//! Documents as they are kept: compressed. They are large, say the same again and again, and few ask for them.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG};
use http::{HeaderMap, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::{empty, set};
use crate::body::Body;
use crate::discovery::response;
use crate::{etag, negotiate};

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
        let encodings = negotiate::header_text(headers, ACCEPT_ENCODING);
        let mut answer = if etag::is_listed(headers, &etag) {
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

/// Whether an `Accept-Encoding` takes what is compressed: what it says of that goes before what it says of all else.
fn takes_gzip(header: &str) -> bool {
    let weight = |wanted: &str| {
        header.split(',').find_map(|one| {
            let (name, parameters) = one.split_once(';').unwrap_or((one, ""));
            let mut said = parameters.split(';').filter_map(|part| part.split_once('='));
            let weight = said.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
            let weight = weight.map_or(1.0, |(_, weight)| weight.trim().parse::<f32>().unwrap_or(0.0));
            name.trim().eq_ignore_ascii_case(wanted).then_some(weight)
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::IF_NONE_MATCH;

    #[test]
    fn a_document_is_there_compressed_and_not() {
        let packed = Packed::new(b"a document");
        assert_eq!(packed.body(), b"a document");
        let ask = |name: http::HeaderName, value: &str| {
            packed.answer("text/plain", &HeaderMap::from_iter([(name, value.parse().expect("a value"))]))
        };
        for (header, compressed) in [
            ("gzip, br", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; Q=0, *", false),
            ("*;q=0", false),
            ("br", false),
            ("", false),
        ] {
            let answer = ask(ACCEPT_ENCODING, header);
            assert_eq!(answer.headers().contains_key(CONTENT_ENCODING), compressed, "{header}");
        }
        let tag = format!("\"0\", \"{}\"", packed.hash());
        assert_eq!(ask(IF_NONE_MATCH, &tag).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask(IF_NONE_MATCH, "\"0\"").status(), StatusCode::OK);
    }
}
