//! A connection that yields to others now and then.
//!
//! A long answer to a client that reads quickly is written in one go, megabytes of it, encrypted piece by piece: until
//! its socket is full, a connection has no reason to stop. What else is ready on the same thread waits for that long.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read and written until others go on, in bytes.
const AT_ONCE: usize = 128 << 10;

/// A connection, and how much has been read and written since others went on.
pub(super) struct GivingWay<I> {
    io: I,
    done: usize,
}

impl<I> GivingWay<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, done: 0 }
    }

    /// Whether others go on first. Whoever asks is woken again at once, behind them.
    fn gives_way(&mut self, context: &Context<'_>) -> bool {
        let gives = self.done >= AT_ONCE;
        if gives {
            self.done = 0;
            context.waker().wake_by_ref();
        }
        gives
    }

    fn count(&mut self, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if let Poll::Ready(Ok(count)) = written {
            self.done += count;
        }
        written
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for GivingWay<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.gives_way(context) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        self.done += buffer.filled().len() - before;
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for GivingWay<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.gives_way(context) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if self.gives_way(context) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LONG: usize = 4 << 20;

    /// How often others can go on until this has ended.
    async fn turns_of_others(work: impl Future<Output = Result<()>>) -> usize {
        let mut work = std::pin::pin!(work);
        let mut turns = 0;
        loop {
            match futures::poll!(&mut work) {
                Poll::Ready(done) => break done.expect("it is done"),
                Poll::Pending => turns += 1,
            }
            tokio::task::yield_now().await;
        }
        turns
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(tokio::task::unconstrained(test))
    }

    #[test]
    fn who_writes_much_lets_others_go_on_meanwhile() {
        let written = run(async {
            let mut io = GivingWay::new(Vec::new());
            let bytes: Vec<u8> = (0..LONG).map(|at| (at % 251) as u8).collect();
            let write = async {
                for piece in bytes.chunks(16 << 10) {
                    io.write_all(piece).await?;
                }
                Ok(())
            };
            assert!(turns_of_others(write).await >= LONG / AT_ONCE - 1);
            assert!(io.io == bytes, "all of it, in order");
            io.io.len()
        });
        assert_eq!(written, LONG);
    }

    #[test]
    fn who_reads_much_lets_others_go_on_meanwhile_and_who_reads_little_does_not() {
        run(async {
            let mut io = GivingWay::new(tokio::io::repeat(7).take(LONG as u64));
            let mut buffer = vec![0; 16 << 10];
            let little = async { io.read_exact(&mut buffer).await.map(drop) };
            assert_eq!(turns_of_others(little).await, 0);
            let read = async {
                while io.read(&mut buffer).await? > 0 {}
                Ok(())
            };
            assert!(turns_of_others(read).await >= LONG / AT_ONCE - 2);
        });
    }
}
