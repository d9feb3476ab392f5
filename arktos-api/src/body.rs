//! Response bodies.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use http_body::{Frame, SizeHint};

/// The body of a response: bytes that are there, segments that are there, or a stream that makes them as they go out.
pub struct Body(Inner);

enum Inner {
    Segments(VecDeque<Bytes>, u64),
    Stream(BoxStream<'static, Bytes>),
}

impl Body {
    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self(Inner::Segments(VecDeque::new(), 0))
    }

    /// Bytes.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::segments([bytes.into()])
    }

    /// Bytes in pieces, so that shared ones need no copy.
    #[must_use]
    pub fn segments(segments: impl IntoIterator<Item = Bytes>) -> Self {
        let segments: VecDeque<Bytes> = segments.into_iter().filter(|segment| !segment.is_empty()).collect();
        let length = segments.iter().map(|segment| segment.len() as u64).sum();
        Self(Inner::Segments(segments, length))
    }

    /// Bytes that are made as they go out. Each item is sent as one piece.
    #[must_use]
    pub fn stream(stream: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self(Inner::Stream(Box::pin(stream)))
    }

    /// The bytes, when all of them are there already.
    /// # Errors
    /// The body itself, when it is a stream.
    pub fn into_bytes(self) -> Result<Bytes, Self> {
        match self.0 {
            Inner::Segments(mut segments, _) if segments.len() <= 1 => Ok(segments.pop_front().unwrap_or_default()),
            Inner::Segments(segments, length) => {
                let mut whole = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
                segments.iter().for_each(|segment| whole.extend_from_slice(segment));
                Ok(whole.into())
            }
            stream @ Inner::Stream(_) => Err(Self(stream)),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.0 {
            Inner::Segments(segments, length) => {
                let next = segments.pop_front();
                *length -= next.as_ref().map_or(0, |segment| segment.len() as u64);
                Poll::Ready(next.map(|segment| Ok(Frame::data(segment))))
            }
            Inner::Stream(stream) => {
                stream.as_mut().poll_next(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Inner::Segments(segments, _) if segments.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Segments(_, length) => SizeHint::with_exact(*length),
            Inner::Stream(_) => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Inner::Segments(_, length) => write!(f, "Body({length} bytes)"),
            Inner::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}
