//! A TLS connection that sends what its task has written when the task's turn is over, in one piece.
//!
//! HTTP/2 writes one frame after another and asks for each to be sent at once. Where hundreds of watches share a
//! connection, and each has a small frame for every event, the system calls cost more than all else. So what is written
//! is encrypted and kept until the connection's task has nothing more to do; where that is little, one turn longer, for
//! what other tasks that are ready to run have to say on the same connection. Nothing is kept for any time: a task that
//! is alone has its next turn at once.

use std::io::{IoSlice, Result, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// From so many bytes on, what was written in a turn does not wait for another.
const ENOUGH: usize = 16 << 10;
/// From so many bytes on, it does not wait for the turn to be over.
const MOST: usize = 64 << 10;
/// How many bytes there is room for: more than [`MOST`] by what is written at once, so that a frame is not cut in two.
const ROOM: usize = 2 * MOST;

/// What HTTP reads and writes.
pub(super) struct Gathered<I>(Arc<Mutex<Connection<I>>>);

/// What knows when a turn is over.
pub(super) struct Turns<I>(Arc<Mutex<Connection<I>>>);

/// Written by the one task that has both halves.
struct Connection<I> {
    tls: TlsStream<I>,
    /// How many bytes were written since all was sent.
    written: usize,
    /// What was written has waited for a turn.
    waited: bool,
}

/// The two halves of a connection, both for one task: whoever writes to the first is to say at the second, each time,
/// when its turn is [over](Turns::over).
pub(super) fn gathered<I>(mut tls: TlsStream<I>) -> (Gathered<I>, Turns<I>) {
    tls.get_mut().1.set_buffer_limit(Some(ROOM));
    let shared = Arc::new(Mutex::new(Connection { tls, written: 0, waited: false }));
    (Gathered(shared.clone()), Turns(shared))
}

impl<I: AsyncRead + AsyncWrite + Unpin> Turns<I> {
    /// Sends what was written, or sees to it that there is another turn. The task is woken when there is room for what
    /// could not be sent.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) fn over(&self, context: &mut Context<'_>) -> Result<()> {
        let mut connection = self.0.lock();
        if !connection.tls.get_ref().1.wants_write() {
            return Ok(());
        }
        if connection.written < ENOUGH && !connection.waited {
            connection.waited = true;
            context.waker().wake_by_ref();
            return Ok(());
        }
        match connection.poll_send(context) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Connection<I> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(Pin::new(&mut self.tls).poll_flush(context))?;
        (self.written, self.waited) = (0, false);
        Poll::Ready(Ok(()))
    }

    /// Takes as much as there is room for; when there is much already, that is sent first.
    fn poll_take(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        if self.written >= MOST {
            ready!(self.poll_send(context))?;
        }
        let mut taken = self.tls.get_mut().1.writer().write_vectored(slices)?;
        if taken == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            // Many small pieces take more room, encrypted, than they have bytes.
            ready!(self.poll_send(context))?;
            taken = self.tls.get_mut().1.writer().write_vectored(slices)?;
        }
        self.written += taken;
        Poll::Ready(Ok(taken))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0.lock().tls).poll_read(context, buffer)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gathered<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.0.lock().poll_take(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.0.lock().poll_take(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(())) // when the turn is over
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0.lock().tls).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_rustls::{TlsAcceptor, TlsConnector, client};

    use super::*;
    use crate::net::tls::{self, Credential};

    type Both = (Gathered<DuplexStream>, Turns<DuplexStream>, client::TlsStream<DuplexStream>);

    async fn connected(room: usize) -> Both {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["server".to_owned()]).expect("made");
        let credential = Credential { certificate: cert.pem(), key: signing_key.serialize_pem() };
        let server = tls::server(&credential, &credential.certificate).expect("a server");
        let client = Arc::new(tls::client(None, &credential.certificate).expect("a client"));
        let (one, other) = duplex(room);
        let name = ServerName::try_from("server").expect("a name");
        let (connector, acceptor) = (TlsConnector::from(client), TlsAcceptor::from(server));
        let (served, connected) = tokio::join!(acceptor.accept(one), connector.connect(name, other));
        let (io, turns) = gathered(served.expect("accepted"));
        (io, turns, connected.expect("connected"))
    }

    async fn turn_over(turns: &Turns<DuplexStream>) {
        poll_fn(|context| Poll::Ready(turns.over(context))).await.expect("sent");
    }

    async fn arrived(client: &mut client::TlsStream<DuplexStream>) -> usize {
        let mut bytes = [0; 256];
        let mut buffer = ReadBuf::new(&mut bytes);
        poll_fn(|context| {
            let _ = Pin::new(&mut *client).poll_read(context, &mut buffer);
            Poll::Ready(())
        })
        .await;
        buffer.filled().len()
    }

    #[tokio::test]
    async fn a_little_waits_for_one_turn_and_no_longer() {
        let (mut io, turns, mut client) = connected(1 << 20).await;
        for _ in 0..2 {
            turn_over(&turns).await; // what the handshake has left
        }
        arrived(&mut client).await;
        for _ in 0..3 {
            io.write_all(b"frame").await.expect("written");
            io.flush().await.expect("flushed");
        }
        assert_eq!(arrived(&mut client).await, 0);
        turn_over(&turns).await;
        assert_eq!(arrived(&mut client).await, 0);
        io.write_all(b"and another").await.expect("written");
        turn_over(&turns).await;
        let mut all = [0; 26];
        client.read_exact(&mut all).await.expect("it is there");
        assert_eq!(&all, b"frameframeframeand another");
        io.write_all(&[0; ENOUGH]).await.expect("written");
        turn_over(&turns).await;
        assert!(arrived(&mut client).await > 0, "enough does not wait");
    }

    #[tokio::test]
    async fn what_does_not_fit_waits_for_room_and_arrives_whole() {
        let (mut io, turns, mut client) = connected(1000).await;
        let sent: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        let writing = async {
            let mut rest = &sent[..];
            poll_fn(|context| {
                while !rest.is_empty() {
                    match Pin::new(&mut io).poll_write(context, rest) {
                        Poll::Ready(written) => rest = &rest[written.expect("written")..],
                        Poll::Pending => break,
                    }
                }
                turns.over(context).expect("sent");
                let all = rest.is_empty() && !turns.0.lock().tls.get_ref().1.wants_write();
                if all { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            io.shutdown().await.expect("closed");
        };
        let mut heard = Vec::new();
        let (_, read) = tokio::join!(writing, client.read_to_end(&mut heard));
        read.expect("read");
        assert!(heard == sent);
    }
}
