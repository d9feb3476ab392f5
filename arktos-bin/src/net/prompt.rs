//! A connection whose client must say in time which protocol it speaks.
//!
//! Until that is known, neither HTTP/1 nor HTTP/2 looks at the time: whoever connects and says nothing, or no more than
//! the first of the words with which HTTP/2 begins, would be held for ever.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What a client of HTTP/2 says first; nothing else begins like this.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection, and for how long it is still waited for.
pub(super) struct Prompt<I> {
    io: I,
    waiting: Option<Waiting>,
}

struct Waiting {
    /// How much of [`PREFACE`] has come.
    seen: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<I> Prompt<I> {
    /// Reads from it fail once the time is over, unless the protocol is known by then.
    pub(super) fn within(time: Duration, io: I) -> Self {
        Self { io, waiting: Some(Waiting { seen: 0, deadline: Box::pin(tokio::time::sleep(time)) }) }
    }
}

/// How much of [`PREFACE`] is there, if what has been said leaves open what it will be.
fn still_open(seen: usize, said: &[u8]) -> Option<usize> {
    let now = seen + said.len();
    (now < PREFACE.len() && PREFACE.get(seen..now) == Some(said)).then_some(now)
}

impl<I: AsyncRead + Unpin> AsyncRead for Prompt<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.io).poll_read(context, buffer);
        let Some(waiting) = &mut this.waiting else { return read };
        if read.is_ready() {
            match still_open(waiting.seen, &buffer.filled()[before..]) {
                Some(seen) => waiting.seen = seen,
                None => this.waiting = None,
            }
            return read;
        }
        let late = Error::new(ErrorKind::TimedOut, "the client did not say in time what it speaks");
        waiting.deadline.as_mut().poll(context).map(|()| Err(late))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Prompt<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const SOON: Duration = Duration::from_millis(20);
    const NEVER: Duration = Duration::from_secs(3600);

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(test)
    }

    #[test]
    fn who_leaves_open_what_it_speaks_is_given_up() {
        for said in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            run(async {
                let (mut client, server) = tokio::io::duplex(64);
                client.write_all(said).await.expect("written");
                let mut heard = Vec::new();
                let ended = Prompt::within(SOON, server).read_to_end(&mut heard).await;
                assert_eq!(ended.map_err(|error| error.kind()), Err(ErrorKind::TimedOut));
                assert_eq!(heard, said);
            });
        }
    }

    #[test]
    fn whoever_has_said_it_may_take_its_time() {
        for said in [&b"G"[..], b"PO", b"PRI * HTTP/1", PREFACE] {
            run(async {
                let (mut client, server) = tokio::io::duplex(64);
                let mut server = Prompt::within(NEVER, server);
                let mut heard = vec![0; said.len()];
                for (byte, heard) in said.iter().zip(heard.chunks_mut(1)) {
                    client.write_all(&[*byte]).await.expect("written");
                    server.read_exact(heard).await.expect("read");
                }
                assert_eq!((heard.as_slice(), server.waiting.is_none()), (said, true));
            });
        }
    }
}
