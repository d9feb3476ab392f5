//! Long answers, compressed for who takes that.

use std::io::Write as _;

use arktos_store::tasks::give_way;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::body::Body;
use crate::negotiate::{JSON, PROTOBUF, YAML};

/// What is no longer than this goes out as it is, in bytes.
const SHORT: usize = 128 << 10;

/// How much is compressed before others are let on, in bytes.
const PIECE: usize = 64 << 10;

/// Whether a client takes what is compressed; weights say nothing, as upstream has it.
pub(crate) fn is_taken(headers: &HeaderMap) -> bool {
    let said = headers.get(ACCEPT_ENCODING).and_then(|said| said.to_str().ok()).unwrap_or_default();
    said.split(',').any(|one| one.trim() == "gzip")
}

/// The answer, compressed where it is objects, and long. Not for watches, of which each event goes out by itself.
pub(crate) async fn compressed(response: Response<Body>) -> Response<Body> {
    let is_short = response.body().size_hint().exact().is_some_and(|length| length <= SHORT as u64);
    if is_short || response.headers().contains_key(CONTENT_ENCODING) || !is_of_objects(response.headers()) {
        return response;
    }
    let (mut head, mut body) = response.into_parts();
    let (mut begin, mut length) = (Vec::new(), 0);
    while length <= SHORT {
        let Some(piece) = next(&mut body).await else {
            return Response::from_parts(head, Body::segments(begin));
        };
        length += piece.len();
        begin.push(piece);
    }
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    begin.reverse();
    let packer = Packer { begin, body, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) };
    let pieces = stream::unfold(packer, |mut packer| async move { Some((packer.next().await?, packer)) });
    Response::from_parts(head, Body::stream(pieces))
}

fn is_of_objects(headers: &HeaderMap) -> bool {
    let typed = headers.get(CONTENT_TYPE).and_then(|typed| typed.to_str().ok()).unwrap_or_default();
    [JSON, YAML, PROTOBUF].iter().any(|known| typed.starts_with(known))
}

async fn next(body: &mut Body) -> Option<Bytes> {
    loop {
        let Ok(frame) = body.frame().await?;
        if let Ok(data) = frame.into_data() {
            return Some(data);
        }
    }
}

/// What is left to be sent, and what is under way.
struct Packer {
    /// What was read to see how long it is, the last first.
    begin: Vec<Bytes>,
    body: Body,
    /// Absent when all has been sent.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Packer {
    /// The next bytes to be sent; none after the last ones.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let piece = match self.begin.pop() {
                Some(piece) => Some(piece),
                None if self.encoder.is_some() => next(&mut self.body).await,
                None => None,
            };
            let Some(mut piece) = piece else {
                // Nothing that is written to memory fails.
                return self.encoder.take()?.finish().ok().map(Bytes::from);
            };
            if piece.len() > PIECE {
                self.begin.push(piece.split_off(PIECE));
            }
            let encoder = self.encoder.as_mut()?;
            encoder.write_all(&piece).ok()?;
            let out = std::mem::take(encoder.get_mut());
            if !out.is_empty() {
                return Some(out.into());
            }
            give_way().await;
        }
    }
}
